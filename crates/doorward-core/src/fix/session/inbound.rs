//! The peer's bytes: cut into messages, held while something is waited for, and where each message leads.

use std::cell::Cell;

use zeroize::{Zeroize, Zeroizing};

use super::enter::ANOTHER;
use super::live::{Cx, Then};
use super::logon::{Logon, Place};
use super::peer::not_present;
use super::trader::Purpose;
use super::{Asking, Deny, IDLE_BYTES_MAX, Judging, Live, Session, State, usize_of};
use crate::fix::frame::Cut;
use crate::fix::message::{Fields, Flaw, Message};
use crate::fix::profile::Credentials;
use crate::fix::refusal::Refusal;
use crate::fix::tag;
use crate::id::CompId;
use crate::limits::Limit;
use crate::time::Now;

thread_local! {
    /// The index of the message that is being read: one for all connections that a thread drives, as an idle one needs
    /// none. It holds places, no values.
    static FIELDS: Cell<Fields> = const { Cell::new(Fields::new()) };
}

impl Session {
    /// Whether bytes are kept until something that is waited for has come.
    pub(super) const fn is_holding(&self) -> bool {
        match &self.state {
            State::Judging(_) | State::Asking(_) | State::Claiming(_) | State::Saving(_) => true,
            State::AwaitLogon { .. } | State::Live(_) | State::LoggingOut { .. } | State::Closed => false,
        }
    }

    /// Deals with the bytes that were kept.
    pub(super) fn go_on(&mut self, now: Now) {
        if self.is_holding() {
            return self.look_at_held(now);
        }
        let mut bytes = std::mem::take(&mut self.inbound);
        let used = self.consume(&bytes, now);
        drop_front(&mut bytes, used, self.wipes());
        self.inbound = bytes;
        self.after_consuming(now);
    }

    /// Whether there may be a password among the peer's bytes.
    fn wipes(&self) -> bool {
        matches!(self.settings.profile.credentials, Credentials::Password)
    }

    /// Keeps bytes. Where a password may be among those that are there, growing leaves none of them behind.
    pub(super) fn hold(&mut self, bytes: &[u8]) {
        let len = self.inbound.len() + bytes.len();
        if self.wipes() && len > self.inbound.capacity() {
            let mut grown = Vec::with_capacity(len.max(2 * self.inbound.capacity()));
            grown.extend_from_slice(&self.inbound);
            self.inbound = Zeroizing::new(grown);
        }
        self.inbound.extend_from_slice(bytes);
    }

    pub(super) fn after_consuming(&mut self, now: Now) {
        if self.is_closed() || (self.inbound.is_empty() && self.inbound.capacity() > IDLE_BYTES_MAX) {
            self.inbound = Zeroizing::default();
        }
        if self.is_holding() {
            let mut cutter = self.cutter;
            cutter.set_len_max(usize_of(Limit::FixMessageBytes));
            self.searched = (0, cutter);
            self.look_at_held(now);
        }
    }

    /// Deals with message after message until bytes are missing or something is waited for; how many bytes are done.
    pub(super) fn consume(&mut self, bytes: &[u8], now: Now) -> usize {
        let mut at = 0;
        while at < bytes.len() && !self.is_holding() && !self.is_closed() {
            match self.cutter.cut(&bytes[at..]) {
                Cut::Message { len } => {
                    self.on_frame(&bytes[at..at + len], now);
                    at += len;
                }
                Cut::Garbled { skip, .. } => {
                    self.on_garbled(now);
                    at += skip;
                }
                Cut::Skip { len } => at += len,
                Cut::Incomplete => break,
                Cut::TooLong => {
                    self.on_too_long(now);
                    return bytes.len();
                }
            }
        }
        if self.is_closed() { bytes.len() } else { at }
    }

    /// Looks for another Logon in what is held, and for too much of it.
    pub(super) fn look_at_held(&mut self, now: Now) {
        if self.inbound.len() > usize_of(Limit::FixHeldBytes) {
            return self.finish(Some(Deny::HeldTooMuch), now);
        }
        if matches!(self.state, State::Saving(_)) {
            // Verified already: what comes next is in session.
            return;
        }
        let (mut at, mut cutter) = self.searched;
        let found = loop {
            match cutter.cut(&self.inbound[at..]) {
                Cut::Message { len } if is_logon(&self.inbound[at..at + len]) => break true,
                Cut::Message { len } | Cut::Skip { len } | Cut::Garbled { skip: len, .. } => at += len,
                Cut::Incomplete | Cut::TooLong => break false,
            }
        };
        self.searched = (at, cutter);
        if found {
            self.in_progress(now);
        }
    }

    /// Another Logon on this connection while one is being verified: both end.
    fn in_progress(&mut self, now: Now) {
        let (text, reason) = (Refusal::InProgress.text(&[]), Deny::LogonInProgress);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Judging(mut judging) => {
                judging.another = true;
                self.state = State::Judging(judging);
            }
            State::Asking(asking) => self.refuse_now(&asking.logon, &text, reason, now),
            State::Claiming(claiming) => self.refuse_claiming(*claiming, text, reason, ANOTHER, now),
            other @ (State::AwaitLogon { .. }
            | State::Saving(_)
            | State::Live(_)
            | State::LoggingOut { .. }
            | State::Closed) => self.state = other,
        }
    }

    fn on_frame(&mut self, bytes: &[u8], now: Now) {
        let mut fields = FIELDS.take();
        let mut lengths_lie = false;
        let mut read = fields.read(bytes).map_err(|malformed| malformed.flaw);
        if matches!(read, Err(Flaw::DataLength)) && is_logon(bytes) {
            // Refused in any case, but with all the work of a good one.
            lengths_lie = true;
            read = fields.read_despite_lengths(bytes).map_err(|malformed| malformed.flaw);
        }
        match read {
            Ok(message) => self.on_message(&message, lengths_lie, now),
            Err(_) => self.on_garbled(now),
        }
        FIELDS.set(fields);
    }

    fn on_message(&mut self, message: &Message<'_>, lengths_lie: bool, now: Now) {
        let cx = &mut Cx { settings: &self.settings, out: &mut self.out, now };
        match &mut self.state {
            State::AwaitLogon { .. } => match message.msg_type() {
                b"A" => self.on_logon(message, None, lengths_lie, now),
                _ => self.finish(Some(Deny::NoLogon), now),
            },
            State::Live(live) => match live.on_message(message, cx) {
                Then::Renew => self.on_in_session_logon(message, lengths_lie, now),
                then => self.follow(then, now),
            },
            State::LoggingOut { live, .. } => {
                if message.msg_type() == b"5" {
                    live.count_logout(message);
                    self.finish(None, now);
                }
            }
            State::Judging(_) | State::Asking(_) | State::Claiming(_) | State::Saving(_) | State::Closed => {}
        }
    }

    /// Carries out what a step of the live session led to.
    pub(super) fn follow(&mut self, then: Then, now: Now) {
        if matches!(then, Then::Stay) {
            return;
        }
        let mut live = match std::mem::replace(&mut self.state, State::Closed) {
            State::Live(live) => live,
            other @ (State::AwaitLogon { .. }
            | State::Judging(_)
            | State::Asking(_)
            | State::Claiming(_)
            | State::Saving(_)
            | State::LoggingOut { .. }
            | State::Closed) => {
                self.state = other;
                return;
            }
        };
        match then {
            Then::Stay | Then::Renew => self.state = State::Live(live),
            Then::Confirm => {
                live.log_out(&mut Cx { settings: &self.settings, out: &mut self.out, now }, None);
                self.part(*live, None, now);
            }
            Then::LogOut(text, reason) => self.log_out_now(live, &text, reason, now),
            Then::Close(reason) => self.part(*live, Some(reason), now),
        }
    }

    fn on_garbled(&mut self, now: Now) {
        match &mut self.state {
            State::AwaitLogon { .. } => self.finish(Some(Deny::NoLogon), now),
            State::Live(live) => {
                let then = live.on_garbled();
                self.follow(then, now);
            }
            State::Judging(_)
            | State::Asking(_)
            | State::Claiming(_)
            | State::Saving(_)
            | State::LoggingOut { .. }
            | State::Closed => {}
        }
    }

    fn on_too_long(&mut self, now: Now) {
        match &self.state {
            State::Live(_) => self.follow(Then::LogOut(Refusal::TooLong.text(&[]), Deny::TooLong), now),
            State::AwaitLogon { .. }
            | State::Judging(_)
            | State::Asking(_)
            | State::Claiming(_)
            | State::Saving(_)
            | State::LoggingOut { .. }
            | State::Closed => self.finish(Some(Deny::TooLong), now),
        }
    }

    fn on_in_session_logon(&mut self, message: &Message<'_>, lengths_lie: bool, now: Now) {
        if !self.settings.profile.in_session_logon {
            let text = Refusal::AlreadyLoggedOn.text(&[]);
            return self.follow(Then::LogOut(text, Deny::AlreadyLoggedOn), now);
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Live(live) => self.on_logon(message, Some(live), lengths_lie, now),
            other @ (State::AwaitLogon { .. }
            | State::Judging(_)
            | State::Asking(_)
            | State::Claiming(_)
            | State::Saving(_)
            | State::LoggingOut { .. }
            | State::Closed) => self.state = other,
        }
    }

    /// A Logon came, on a new connection or in session.
    fn on_logon(&mut self, message: &Message<'_>, live: Option<Box<Live>>, lengths_lie: bool, now: Now) {
        self.cutter.set_len_max(usize_of(Limit::FixMessageBytes));
        let own = live.as_ref().and_then(|live| CompId::parse(&live.party.comp));
        let place = own.map_or(Place::Initial, Place::InSession);
        let settings = &*self.settings;
        let Some(logon) = Logon::read(message, settings, place, lengths_lie) else {
            match live {
                Some(live) => {
                    self.log_out_now(live, &not_present(tag::SENDER_COMP_ID), Deny::WrongHeader, now);
                }
                None => self.finish(Some(Deny::NoLogon), now),
            }
            return;
        };
        let until = now.mono + settings.profile.verify_max;
        self.state = match settings.profile.credentials {
            Credentials::Signature(scheme) => {
                let signed = logon.signed(message, settings, place, scheme, now);
                let ask = self.out.judge(Box::new(signed));
                State::Judging(Box::new(Judging { ask, until, logon, live, another: false }))
            }
            Credentials::Password => {
                if let Some(flaw) = &logon.flaw {
                    return self.refuse_now(&logon, &flaw.text, flaw.deny, now);
                }
                let (login, purpose) = Purpose::of(message, settings.code_tag);
                let ask = self.out.ask_gate(login);
                State::Asking(Box::new(Asking { ask, until, logon, purpose }))
            }
        };
    }
}

/// Drops the first `used` bytes; where `wipes`, nothing of them stays in the memory behind the others.
fn drop_front(bytes: &mut Vec<u8>, used: usize, wipes: bool) {
    if wipes {
        let left = move_down(bytes, used);
        bytes.truncate(left);
    } else {
        bytes.drain(..used);
    }
}

/// Moves what lies behind the first `used` bytes to the front and wipes all behind it; its length.
fn move_down(bytes: &mut [u8], used: usize) -> usize {
    let left = bytes.len() - used;
    bytes.copy_within(used.., 0);
    bytes[left..].zeroize();
    left
}

/// Whether a whole frame is a Logon: its third field, MsgType (35), is `A`.
fn is_logon(frame: &[u8]) -> bool {
    frame.split(|byte| *byte == crate::fix::SOH).nth(2) == Some(b"35=A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v6_of_bytes_that_are_dealt_with_nothing_stays_behind_the_others() {
        let mut bytes = *b"554=secret|35=0|";
        let left = move_down(&mut bytes, 11);
        assert_eq!((left, &bytes), (5, b"35=0|\0\0\0\0\0\0\0\0\0\0\0"));
        for wipes in [true, false] {
            let mut bytes = b"554=secret|35=0|".to_vec();
            drop_front(&mut bytes, 11, wipes);
            assert_eq!(bytes, b"35=0|");
            drop_front(&mut bytes, 5, wipes);
            assert!(bytes.is_empty());
        }
    }
}
