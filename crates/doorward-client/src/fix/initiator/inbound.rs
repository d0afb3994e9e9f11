//! What the server's messages do to the session.

use std::cmp::Ordering;

use doorward_core::fix::message::seq_num;
use doorward_core::fix::tag;
use doorward_core::time::{Mono, Wall};

use super::{Ahead, Event, GAP_TRIES, Gap, Initiator, On, Output, Phase, Sent, State};
use crate::fix::message::Inbound;
use crate::fix::settings::{Credentials, Resend};
use crate::fix::store::Numbers;
use crate::fix::{Ending, PeerFault, Refusal};

/// Messages that a server sends again for one request, at most.
const RESEND_MAX: u64 = 2_500;
/// Messages that are kept behind a gap, at most; later ones are asked for again.
const AHEAD_MAX: usize = 5_000;
/// Their bytes, at most.
const AHEAD_BYTES_MAX: usize = 8 << 20;

impl Initiator {
    /// Takes one message of the server.
    pub(super) fn take_in(&mut self, message: Inbound) {
        match &mut self.state {
            State::Off => {}
            State::LoggingOn { .. } => self.answered(&message),
            State::On(on) => {
                on.last_in = self.now.mono;
                on.probed = None;
                self.in_session(message);
            }
        }
    }

    /// The first message after our Logon.
    fn answered(&mut self, message: &Inbound) {
        match message.msg_type() {
            b"A" => self.logged_on(message),
            b"5" => self.end(Ending::Refused(refusal(message))),
            // A session Reject of the Logon: the Logout that ends it follows.
            b"3" => {}
            other => self.fail(PeerFault::NoLogon(other.escape_ascii().to_string())),
        }
    }

    fn logged_on(&mut self, message: &Inbound) {
        let venue = message.get(tag::SENDER_COMP_ID) == Some(self.settings.venue.as_bytes());
        let named = message.get(tag::TARGET_COMP_ID).unwrap_or_default();
        if !venue || !self.wire.adopt(named) {
            return self.fail(PeerFault::CompId(comp_ids(message)));
        }
        let Some(number) = message.get(tag::MSG_SEQ_NUM).and_then(seq_num) else {
            return self.fail(PeerFault::NoMsgSeqNum);
        };
        let asked = match &self.settings.credentials {
            Credentials::Secure(_) => false,
            Credentials::Trader(trader) => trader.reset,
        };
        let reset = message.get(tag::RESET_SEQ_NUM_FLAG) == Some(b"Y");
        if reset && !asked {
            return self.fail(PeerFault::UnexpectedLogon);
        }
        if reset {
            self.numbers = Numbers { next_out: 2, next_in: 1 };
            self.sent = Sent::new(1);
        } else {
            self.numbers.next_out += 1;
        }
        let at = self.now.mono;
        self.state = State::On(Box::new(On {
            last_in: at,
            last_out: at,
            probed: None,
            gap: None,
            ahead: Ahead::default(),
            phase: Phase::Open,
        }));
        self.save();
        if number < self.numbers.next_in {
            return self.fail(PeerFault::TooLow { expected: self.numbers.next_in, received: number });
        }
        self.out.push_back(Output::Event(Event::LoggedOn {
            comp_id: String::from_utf8_lossy(self.wire.comp_id()).into_owned(),
            session_status: message.get(tag::SESSION_STATUS).and_then(seq_num),
        }));
        if number > self.numbers.next_in {
            self.set_aside(number, None, 0);
        } else {
            self.advance(number + 1);
        }
    }

    fn in_session(&mut self, message: Inbound) {
        let venue = message.get(tag::SENDER_COMP_ID) == Some(self.settings.venue.as_bytes());
        if !venue || message.get(tag::TARGET_COMP_ID) != Some(self.wire.comp_id()) {
            return self.fail(PeerFault::CompId(comp_ids(&message)));
        }
        let Some(number) = message.get(tag::MSG_SEQ_NUM).and_then(seq_num).filter(|number| *number > 0)
        else {
            return self.fail(PeerFault::NoMsgSeqNum);
        };
        match message.msg_type() {
            b"A" => return self.began_anew(&message, number),
            b"5" => return self.logged_out(&message, number),
            b"4" if message.get(tag::GAP_FILL_FLAG) != Some(b"Y") => {
                return self.sequence_reset(&message, number);
            }
            _ => {}
        }
        match number.cmp(&self.numbers.next_in) {
            Ordering::Less if message.is_poss_dup() => {}
            Ordering::Less => {
                self.fail(PeerFault::TooLow { expected: self.numbers.next_in, received: number });
            }
            Ordering::Greater => self.ahead(message, number),
            Ordering::Equal => self.in_turn(message, number),
        }
    }

    /// A message whose turn it is.
    fn in_turn(&mut self, message: Inbound, number: u64) {
        let mut next = number + 1;
        if message.msg_type() == b"4" {
            match message.get(tag::NEW_SEQ_NO).and_then(seq_num) {
                Some(new) if new > number => next = new,
                Some(_) | None => self.reject(number, tag::NEW_SEQ_NO, "4", "NewSeqNo too low"),
            }
        } else {
            self.act(message);
        }
        self.advance(next);
    }

    /// Goes on to a number, and on over what was kept behind it.
    pub(super) fn advance(&mut self, next: u64) {
        self.numbers.next_in = next;
        self.save();
        while let State::On(on) = &mut self.state {
            on.ahead.forget_below(self.numbers.next_in);
            let Some(kept) = on.ahead.take(self.numbers.next_in) else { break };
            let number = self.numbers.next_in;
            self.numbers.next_in += 1;
            match kept {
                Some(message) if message.msg_type() == b"4" => {
                    let new = message.get(tag::NEW_SEQ_NO).and_then(seq_num);
                    self.numbers.next_in = new.filter(|new| *new > number).unwrap_or(number + 1);
                }
                Some(message) => self.act(message),
                None => {}
            }
            self.save();
        }
        let at = self.now.mono;
        let next_in = self.numbers.next_in;
        let State::On(on) = &mut self.state else { return };
        if next_in > on.ahead.highest {
            on.gap = None;
            return self.reset_if_ready();
        }
        match &mut on.gap {
            Some(gap) if next_in <= gap.to => (gap.since, gap.tries) = (at, 1),
            Some(_) | None => self.ask(at, 1),
        }
    }

    /// A message behind a gap. What does not wait for its turn is done at once.
    fn ahead(&mut self, message: Inbound, number: u64) {
        let bytes = message.bytes().len();
        if matches!(message.msg_type(), b"0" | b"1" | b"2" | b"3") {
            self.act(message);
            self.set_aside(number, None, 0);
        } else {
            self.set_aside(number, Some(message), bytes);
        }
    }

    pub(super) fn set_aside(&mut self, number: u64, message: Option<Inbound>, bytes: usize) {
        let at = self.now.mono;
        let State::On(on) = &mut self.state else { return };
        on.ahead.highest = on.ahead.highest.max(number);
        if on.ahead.messages.len() < AHEAD_MAX && on.ahead.bytes + bytes <= AHEAD_BYTES_MAX {
            on.ahead.bytes += bytes;
            if let Some(Some(before)) = on.ahead.messages.insert(number, message) {
                on.ahead.bytes -= before.bytes().len();
            }
        }
        if on.gap.is_none() {
            self.ask(at, 1);
        }
    }

    /// Asks for what is missing before the first message that is kept.
    fn ask(&mut self, at: Mono, tries: u32) {
        let from = self.numbers.next_in;
        let State::On(on) = &mut self.state else { return };
        let hole_to = on.ahead.messages.first_key_value().map_or(on.ahead.highest, |(first, _)| first - 1);
        let to = hole_to.min(from + RESEND_MAX - 1).max(from);
        on.gap = Some(Gap { to, since: at, tries });
        self.emit(b"2", |builder| builder.number(tag::BEGIN_SEQ_NO, from).number(tag::END_SEQ_NO, to));
    }

    /// Asks again for what did not come, a few times.
    pub(super) fn ask_again(&mut self, at: Mono) {
        let due = self.heartbeat();
        let State::On(on) = &self.state else { return };
        let Some(gap) = on.gap else { return };
        if at < gap.since + due {
            return;
        }
        if gap.tries >= GAP_TRIES {
            self.fail(PeerFault::GapNotFilled { from: self.numbers.next_in });
        } else {
            self.ask(at, gap.tries + 1);
        }
    }

    fn act(&mut self, message: Inbound) {
        match message.msg_type() {
            b"0" => {
                if let State::On(on) = &mut self.state
                    && let Phase::Probing { id, answered, .. } = &mut on.phase
                    && message.get(tag::TEST_REQ_ID) == Some(id.as_bytes())
                {
                    *answered = true;
                }
            }
            b"1" if !self.is_resetting() => {
                let id = message.get(tag::TEST_REQ_ID).map(<[u8]>::to_vec);
                self.emit(b"0", |builder| builder.maybe(tag::TEST_REQ_ID, id));
            }
            b"2" if !self.is_resetting() => self.resend(&message),
            b"1" | b"2" => {}
            b"3" => self.out.push_back(Output::Event(Event::Rejected(message))),
            _ => self.out.push_back(Output::Event(Event::Message(message))),
        }
    }

    /// While our Logon with 141=Y is out no message with an old number makes sense.
    fn is_resetting(&self) -> bool {
        matches!(&self.state, State::On(on) if matches!(on.phase, Phase::Resetting { .. }))
    }

    /// Answers a Resend Request.
    fn resend(&mut self, message: &Inbound) {
        let number = message.seq_num();
        let last = self.numbers.next_out - 1;
        let from = message.get(tag::BEGIN_SEQ_NO).and_then(seq_num).filter(|from| (1..=last).contains(from));
        let Some(from) = from else {
            return self.reject(number, tag::BEGIN_SEQ_NO, "2", "BeginSeqNo out of range");
        };
        let to = match message.get(tag::END_SEQ_NO).and_then(seq_num) {
            Some(0) => last,
            Some(to) if to >= from => to.min(last),
            Some(_) | None => return self.reject(number, tag::END_SEQ_NO, "2", "EndSeqNo out of range"),
        };
        match self.settings.resend {
            Resend::Again => {
                if let Some(unknown_to) = self.sent.unknown_to(from, to) {
                    self.out.push_back(Output::Event(Event::NotResent { from, to: unknown_to }));
                }
                self.send_again(from, to);
            }
            Resend::PassOver => {
                if self.sent.unknown_to(from, to).is_some() || self.sent.range(from, to).next().is_some() {
                    self.out.push_back(Output::Event(Event::NotResent { from, to }));
                }
                self.fill(from, to + 1, self.now.wall);
            }
        }
    }

    fn send_again(&mut self, from: u64, to: u64) {
        let count = usize::try_from(RESEND_MAX).unwrap_or(usize::MAX);
        let kept: Vec<_> =
            self.sent.range(from, to).take(count).map(|(number, kept)| (number, kept.clone())).collect();
        let complete = kept.len() < count;
        let mut at = from;
        for (number, kept) in kept {
            if number > at {
                self.fill(at, number, kept.at);
            }
            let stamp = self.stamp(number, Some(kept.at));
            let again =
                self.wire.message(&self.settings, &kept.msg_type, stamp, |builder| builder.raw(&kept.body));
            self.push(again);
            at = number + 1;
        }
        // Where the limit cut it short the server asks for the rest.
        if complete && at <= to {
            self.fill(at, to + 1, self.now.wall);
        }
    }

    /// Passes over numbers that need not be sent again.
    fn fill(&mut self, from: u64, next: u64, first_at: Wall) {
        let stamp = self.stamp(from, Some(first_at));
        let fill = self.wire.message(&self.settings, b"4", stamp, |builder| {
            builder.field(tag::GAP_FILL_FLAG, "Y").number(tag::NEW_SEQ_NO, next)
        });
        self.push(fill);
    }

    fn reject(&mut self, number: u64, about: u32, msg_type: &str, text: &str) {
        self.emit(b"3", |builder| {
            builder
                .number(tag::REF_SEQ_NUM, number)
                .number(tag::REF_TAG_ID, about.into())
                .field(tag::REF_MSG_TYPE, msg_type)
                .number(tag::SESSION_REJECT_REASON, 5)
                .field(tag::TEXT, text)
        });
    }

    /// A Sequence Reset in reset mode: whatever its own number is, it sets the next one.
    fn sequence_reset(&mut self, message: &Inbound, number: u64) {
        match message.get(tag::NEW_SEQ_NO).and_then(seq_num) {
            Some(new) if new >= self.numbers.next_in => self.advance(new),
            Some(_) | None => self.reject(number, tag::NEW_SEQ_NO, "4", "NewSeqNo too low"),
        }
    }

    /// A Logon in the middle of the session: good only as the answer to our own.
    fn began_anew(&mut self, message: &Inbound, number: u64) {
        if message.is_poss_dup() && number < self.numbers.next_in {
            return;
        }
        let reset = message.get(tag::RESET_SEQ_NUM_FLAG) == Some(b"Y") && number == 1;
        match &mut self.state {
            State::On(on) if reset && matches!(on.phase, Phase::Resetting { .. }) => {
                self.numbers = Numbers { next_out: 2, next_in: 2 };
                self.sent = Sent::new(1);
                (on.gap, on.ahead, on.phase) = (None, Ahead::default(), Phase::Open);
                self.save();
                self.out.push_back(Output::Event(Event::Reset));
            }
            State::On(_) | State::LoggingOn { .. } | State::Off => self.fail(PeerFault::UnexpectedLogon),
        }
    }

    /// Sends the Logon that begins both sequences anew, once the Test Request is answered and nothing is missing.
    fn reset_if_ready(&mut self) {
        let State::On(on) = &mut self.state else { return };
        if !matches!(on.phase, Phase::Probing { answered: true, .. }) || on.gap.is_some() {
            return;
        }
        on.phase = Phase::Resetting { since: self.now.mono };
        // What is kept of the numbers must be right whether or not the server takes it.
        self.save();
        let stamp = self.stamp(1, None);
        let logon = self.wire.logon(&self.settings, stamp, true);
        self.push(logon);
    }

    fn logged_out(&mut self, message: &Inbound, number: u64) {
        if message.is_poss_dup() && number < self.numbers.next_in {
            return;
        }
        if number == self.numbers.next_in {
            self.numbers.next_in += 1;
            self.save();
        }
        let said = refusal(message);
        let asked = matches!(&self.state, State::On(on) if matches!(on.phase, Phase::LoggingOut { .. }));
        if asked {
            self.end(Ending::LoggedOut(said));
        } else {
            self.emit(b"5", |builder| builder);
            self.end(Ending::ByServer(said));
        }
    }
}

impl Ahead {
    fn forget_below(&mut self, next: u64) {
        while let Some(entry) = self.messages.first_entry()
            && *entry.key() < next
        {
            if let Some(message) = entry.remove() {
                self.bytes -= message.bytes().len();
            }
        }
    }

    fn take(&mut self, number: u64) -> Option<Option<Inbound>> {
        let taken = self.messages.remove(&number)?;
        if let Some(message) = &taken {
            self.bytes -= message.bytes().len();
        }
        Some(taken)
    }
}

fn refusal(message: &Inbound) -> Refusal {
    Refusal {
        text: message.text(tag::TEXT).unwrap_or_default(),
        next_expected: message.get(tag::NEXT_EXPECTED_MSG_SEQ_NUM).and_then(seq_num),
    }
}

fn comp_ids(message: &Inbound) -> String {
    let of = |tag| message.text(tag).unwrap_or_default();
    format!("49={} 56={}", of(tag::SENDER_COMP_ID), of(tag::TARGET_COMP_ID))
}
