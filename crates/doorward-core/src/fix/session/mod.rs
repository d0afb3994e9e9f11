//! The machine of one FIX connection, from the first byte to the close.
//!
//! A Logon is awaited, judged by the gate, claims its stream, is written down, and only then answered; from then on the
//! session is live. A Logon in session goes the same way, with the live session inside of the waiting state. While
//! something is waited for, the peer's bytes are held. What differs between listeners is in the
//! [`Profile`](super::profile::Profile).

mod enter;
mod gap;
mod inbound;
mod live;
mod logon;
mod output;
mod peer;
mod resend;
mod stream;
mod trader;
mod write;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use self::enter::{AfterSave, From, Proof};
use self::live::{Cx, Live};
use self::logon::Logon;
use self::output::Outbox;
pub use self::output::{Claim, Close, Note, Output, ReadRange, Wants};
pub use self::stream::{Claimed, End, Settings, StreamState};
use self::trader::Purpose;
use super::frame::Cutter;
use super::refusal::Refusal;
use crate::ask::{AskId, Judged, Verdict};
use crate::audit::{Actor, Deny, Event};
use crate::limits::Limit;
use crate::stream::{Numbers, StreamKey};
use crate::time::{Mono, Now};

/// How long our Logout waits for the peer's.
const LOGOUT_MAX: Duration = Duration::from_secs(2);
/// What an idle connection's buffer of bytes may keep.
const IDLE_BYTES_MAX: usize = 1_024;

/// Where a connection stands. Each state owns what belongs to it.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum State {
    /// Nothing but a Logon is taken.
    AwaitLogon { until: Mono },
    /// The gate judges a signed Logon.
    Judging(Box<Judging>),
    /// The gate looks at a password.
    Asking(Box<Asking>),
    /// The stream is being claimed.
    Claiming(Box<Claiming>),
    /// The Logon's record is being written.
    Saving(Box<Saving>),
    /// Logged on.
    Live(Box<Live>),
    /// Our Logout waits for the peer's.
    LoggingOut { live: Box<Live>, until: Mono, reason: Deny },
    /// Nothing is taken or sent any more.
    Closed,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Judging {
    ask: AskId,
    until: Mono,
    logon: Logon,
    /// The session that the Logon came in; `None` for an initial one.
    live: Option<Box<Live>>,
    /// Another Logon came behind it: both end, once it is judged, so that the judgement is written down.
    another: bool,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Asking {
    ask: AskId,
    until: Mono,
    logon: Logon,
    purpose: Purpose,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Claiming {
    ask: AskId,
    until: Mono,
    logon: Logon,
    stream: StreamKey,
    proof: Proof,
}

#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Saving {
    ask: AskId,
    /// `None` where only the disk can say how it goes on.
    until: Option<Mono>,
    then: AfterSave,
}

/// One FIX connection.
#[cfg_attr(test, derive(Clone))]
pub struct Session {
    settings: Arc<Settings>,
    state: State,
    cutter: Cutter,
    /// Bytes that are not dealt with yet: the first part of a message, or what waits behind a Logon. There may be a
    /// password among them.
    inbound: Zeroizing<Vec<u8>>,
    /// How far the bytes behind a Logon were searched for another one.
    searched: (usize, Cutter),
    out: Outbox,
    /// The stream of a connection that has ended.
    left: Option<Box<(StreamKey, StreamState)>>,
    /// An end that came while a Logon was being written down.
    ending: Option<End>,
    /// What was claimed last, for an answer that comes too late.
    claim: Option<(AskId, StreamKey)>,
    /// The session is live since the last output was taken.
    entered: bool,
}

impl Session {
    /// A connection that has just been opened.
    pub fn new(settings: Arc<Settings>, now: Now) -> Self {
        let until = now.mono + settings.profile.logon_max;
        let cutter = Cutter::new(usize_of(Limit::FixLogonBytes));
        Self {
            settings,
            state: State::AwaitLogon { until },
            cutter,
            inbound: Zeroizing::default(),
            searched: (0, cutter),
            out: Outbox::default(),
            left: None,
            ending: None,
            claim: None,
            entered: false,
        }
    }

    // --- inputs ---

    /// Takes bytes of the peer, in whatever pieces.
    pub fn receive(&mut self, bytes: &[u8], now: Now) {
        self.begin_turn(now);
        if self.is_holding() {
            self.hold(bytes);
            self.look_at_held(now);
        } else if self.inbound.is_empty() {
            let used = self.consume(bytes, now);
            self.hold(&bytes[used..]);
            self.after_consuming(now);
        } else {
            self.hold(bytes);
            self.go_on(now);
        }
    }

    /// The peer has gone, in order or not.
    pub fn closed_by_peer(&mut self, now: Now) {
        self.finish(None, now);
    }

    /// Ends the connection without a word for something that the shell saw: a peer that does not read, a full node.
    pub fn fail(&mut self, reason: Deny, now: Now) {
        self.finish(Some(reason), now);
    }

    /// Takes the gate's judgement of a signed Logon. The first answer counts; one that nobody waits for is dropped.
    pub fn judged(&mut self, id: AskId, judged: Judged, now: Now) {
        self.begin_turn(now);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Judging(judging) if judging.ask == id => self.on_judged(*judging, judged, now),
            other => self.state = other,
        }
        self.go_on(now);
    }

    /// Takes the gate's answer about a password. The first answer counts; one that nobody waits for is dropped.
    pub fn verdict(&mut self, id: AskId, verdict: Verdict, now: Now) {
        self.begin_turn(now);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Asking(asking) if asking.ask == id => self.on_verdict(*asking, verdict, now),
            other => self.state = other,
        }
        self.go_on(now);
    }

    /// Takes the answer to a claim. A stream that is given to a connection that has ended is to be released at once.
    pub fn claimed(&mut self, id: AskId, claimed: Claimed, now: Now) {
        self.begin_turn(now);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Claiming(claiming) if claiming.ask == id => self.on_claimed(*claiming, claimed, now),
            other => {
                self.state = other;
                self.claimed_late(id, claimed);
            }
        }
        self.go_on(now);
    }

    /// A stream came for which nobody waits any more: it goes back.
    fn claimed_late(&mut self, id: AskId, claimed: Claimed) {
        if let (Claimed::Yours(state), Some((ask, stream))) = (claimed, self.claim)
            && ask == id
        {
            self.claim = None;
            self.left = Some(Box::new((stream, state)));
        }
    }

    /// Takes whether the record of a Logon is durable, or could not be written.
    pub fn saved(&mut self, id: AskId, ok: bool, now: Now) {
        self.begin_turn(now);
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Saving(saving) if saving.ask == id => self.on_saved(saving.then, ok, now),
            other => self.state = other,
        }
        self.go_on(now);
    }

    /// Takes stored outbound messages, whole and in the order of their numbers.
    pub fn stored(&mut self, id: AskId, messages: &mut dyn Iterator<Item = &[u8]>, now: Now) {
        self.begin_turn(now);
        let cx = &mut Cx { settings: &self.settings, out: &mut self.out, now };
        if let Some(live) = live_of(&mut self.state) {
            live.on_stored(id, messages, cx);
        }
    }

    /// Takes an application message from the back end: its type (35) and the fields of its body, each with its SOH.
    /// The number that it got; `None` where this connection holds no stream.
    pub fn send_application(&mut self, msg_type: &[u8], body: &[u8], now: Now) -> Option<u64> {
        self.begin_turn(now);
        let cx = &mut Cx { settings: &self.settings, out: &mut self.out, now };
        match &mut self.state {
            State::Live(live) => Some(live.application(cx, msg_type, body, true)),
            State::Judging(judging) => {
                judging.live.as_mut().map(|live| live.application(cx, msg_type, body, true))
            }
            State::LoggingOut { live, .. } => Some(live.application(cx, msg_type, body, false)),
            State::Saving(saving) => saving.then.application(cx, msg_type, body),
            State::AwaitLogon { .. } | State::Asking(_) | State::Claiming(_) | State::Closed => None,
        }
    }

    /// Another good Logon for this stream came: the peer must show within 2 s that it is there.
    pub fn probe(&mut self, now: Now) {
        self.begin_turn(now);
        let cx = &mut Cx { settings: &self.settings, out: &mut self.out, now };
        if let State::Live(live) = &mut self.state {
            live.probe(cx);
        }
    }

    /// Ends the session, with the words that go with the reason.
    pub fn end(&mut self, why: End, now: Now) {
        self.begin_turn(now);
        if why == End::WeekClosed && !self.settings.profile.weekly {
            return;
        }
        let Some((refusal, reason)) = words_of(why) else {
            return self.finish(Some(Deny::NotVerified), now);
        };
        match std::mem::replace(&mut self.state, State::Closed) {
            state @ (State::AwaitLogon { .. } | State::Closed) => {
                self.state = state;
                self.finish(Some(reason), now);
            }
            State::Judging(judging) => match judging.live {
                Some(live) => self.log_out(live, &refusal.text(&[]), reason, now),
                None => self.refuse_now(&judging.logon, &refusal.text(&[]), reason, now),
            },
            State::Asking(asking) => self.refuse_now(&asking.logon, &refusal.text(&[]), reason, now),
            State::Claiming(claiming) => {
                self.refuse_claiming(*claiming, refusal.text(&[]), reason, "a session that ends", now);
            }
            State::Saving(saving) => {
                self.state = State::Saving(saving);
                self.ending = Some(why);
            }
            State::Live(live) => self.log_out(live, &refusal.text(&[]), reason, now),
            state @ State::LoggingOut { .. } => self.state = state,
        }
    }

    /// Tells that the time of [`Self::deadline`] has come; harmless before.
    pub fn timeout(&mut self, now: Now) {
        self.begin_turn(now);
        if self.inbound.is_empty() {
            self.shrink();
        }
        if let State::Live(live) = &mut self.state {
            let cx = &mut Cx { settings: &self.settings, out: &mut self.out, now };
            let then = live.timeout(cx);
            return self.follow(then, now);
        }
        if self.deadline().is_none_or(|deadline| now.mono < deadline) {
            return;
        }
        match std::mem::replace(&mut self.state, State::Closed) {
            state @ (State::AwaitLogon { .. } | State::Live(_) | State::Closed) => {
                self.state = state;
                self.finish(Some(Deny::TooSlow), now);
            }
            State::Judging(judging) => match judging.live {
                Some(live) => self.log_out_now(live, &later(), Deny::NotVerified, now),
                None => self.refuse_now(&judging.logon, &later(), Deny::NotVerified, now),
            },
            State::Asking(asking) => self.refuse_now(&asking.logon, &later(), Deny::NotVerified, now),
            State::Claiming(claiming) => {
                let Claiming { logon, proof, .. } = *claiming;
                self.drop_proved(&logon, proof, Some(Deny::NotVerified), "no answer in time");
                self.send_refusal(&From::Stranger(logon.party), &later(), now);
                self.close(Some(Deny::NotVerified));
            }
            State::Saving(saving) => self.on_saved(saving.then, false, now),
            State::LoggingOut { live, reason, .. } => self.part(*live, Some(reason), now),
        }
    }

    // --- what the shell may look at ---

    /// When [`Self::timeout`] is to be called; `None` when nothing is waited for.
    pub fn deadline(&self) -> Option<Mono> {
        match &self.state {
            State::AwaitLogon { until } | State::LoggingOut { until, .. } => Some(*until),
            State::Judging(judging) => Some(judging.until),
            State::Asking(asking) => Some(asking.until),
            State::Claiming(claiming) => Some(claiming.until),
            State::Saving(saving) => saving.until,
            State::Live(live) => Some(live.deadline(&self.settings)),
            State::Closed => None,
        }
    }

    /// The next thing to do, in order; `None` when there is nothing left. To be drained after each input.
    pub fn poll(&mut self) -> Option<Output<'_>> {
        if std::mem::take(&mut self.entered) {
            self.out.last_of_logon();
        }
        self.out.poll()
    }

    /// The numbers of the stream that this connection holds.
    pub fn numbers(&self) -> Option<Numbers> {
        self.held().map(|(_, state)| state.numbers)
    }

    /// The stream that this connection holds.
    pub fn stream(&self) -> Option<StreamKey> {
        self.held().map(|(stream, _)| stream)
    }

    fn held(&self) -> Option<(StreamKey, &StreamState)> {
        let of = |live: &'_ Live| live.stream;
        match &self.state {
            State::Live(live) | State::LoggingOut { live, .. } => Some((of(live), &live.state)),
            State::Judging(judging) => judging.live.as_ref().map(|live| (of(live), &live.state)),
            State::Saving(saving) => saving.then.held(),
            State::AwaitLogon { .. } | State::Asking(_) | State::Claiming(_) | State::Closed => None,
        }
    }

    /// Whether the peer has still to show that it is there, after [`Self::probe`].
    pub fn is_probed(&self) -> bool {
        match &self.state {
            State::Live(live) => live.is_probed(),
            State::AwaitLogon { .. }
            | State::Judging(_)
            | State::Asking(_)
            | State::Claiming(_)
            | State::Saving(_)
            | State::LoggingOut { .. }
            | State::Closed => false,
        }
    }

    /// Whether somebody is logged on.
    pub fn is_live(&self) -> bool {
        match &self.state {
            State::Live(_) | State::LoggingOut { .. } => true,
            State::Judging(judging) => judging.live.is_some(),
            State::Saving(saving) => saving.then.is_in_session(),
            State::AwaitLogon { .. } | State::Asking(_) | State::Claiming(_) | State::Closed => false,
        }
    }

    /// Whether a Logon in session is being decided: [`Self::probe`] asks nothing then.
    pub fn is_renewing(&self) -> bool {
        match &self.state {
            State::Judging(judging) => judging.live.is_some(),
            State::Saving(saving) => saving.then.is_in_session(),
            State::AwaitLogon { .. }
            | State::Asking(_)
            | State::Claiming(_)
            | State::Live(_)
            | State::LoggingOut { .. }
            | State::Closed => false,
        }
    }

    /// Whether a judgement is waited for, and so written down.
    pub fn awaits(&self, id: AskId) -> bool {
        matches!(&self.state, State::Judging(judging) if judging.ask == id)
    }

    /// Whether nothing follows any more.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// After the close: the stream goes back to the shell, once.
    pub fn release(&mut self) -> Option<(StreamKey, StreamState)> {
        self.left.take().map(|left| *left)
    }

    /// Bytes of memory that this connection takes, itself included.
    pub fn memory(&self) -> usize {
        let state = match &self.state {
            State::Live(_) | State::LoggingOut { .. } => size_of::<Live>() + size_of::<live::Who>() + 32,
            State::Judging(_) | State::Asking(_) | State::Claiming(_) | State::Saving(_) => 4_096,
            State::AwaitLogon { .. } | State::Closed => 0,
        };
        size_of::<Self>() + state + self.inbound.capacity() + self.out.memory()
    }

    // --- ends ---

    /// Closes without a word.
    fn finish(&mut self, reason: Option<Deny>, now: Now) {
        self.inbound = Zeroizing::default();
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Closed => {}
            State::Live(live) => self.part(*live, reason, now),
            State::LoggingOut { live, reason: why, .. } => self.part(*live, reason.or(Some(why)), now),
            State::Saving(saving) => match saving.then.into_held() {
                Ok(live) => self.part(*live, reason, now),
                Err(left) => {
                    // What was claimed too late may still lie there.
                    self.left = left.or(self.left.take());
                    self.out.close(reason);
                }
            },
            State::Judging(judging) => match judging.live {
                Some(live) => self.part(*live, reason, now),
                None => self.turn_away(Some(&judging.logon), reason),
            },
            State::Asking(asking) => self.turn_away(Some(&asking.logon), reason),
            State::Claiming(claiming) => {
                let Claiming { logon, proof, .. } = *claiming;
                self.drop_proved(&logon, proof, reason, "the connection ended");
                self.out.close(reason);
            }
            State::AwaitLogon { .. } => self.turn_away(None, reason),
        }
    }

    /// Closes on somebody who is not logged on.
    fn turn_away(&mut self, logon: Option<&Logon>, reason: Option<Deny>) {
        self.refused_note(logon, reason);
        self.out.close(reason);
    }

    /// The last words of a session; its stream goes back.
    fn part(&mut self, mut live: Live, reason: Option<Deny>, now: Now) {
        live.farewell(&mut Cx { settings: &self.settings, out: &mut self.out, now }, reason);
        self.left = Some(Box::new((live.stream, live.state)));
        self.inbound = Zeroizing::default();
        self.state = State::Closed;
    }

    /// Sends a Logout and waits for the peer's.
    fn log_out(&mut self, mut live: Box<Live>, text: &[u8], reason: Deny, now: Now) {
        live.log_out(&mut Cx { settings: &self.settings, out: &mut self.out, now }, Some(text));
        self.state = State::LoggingOut { live, until: now.mono + LOGOUT_MAX, reason };
    }

    /// Sends a Logout and closes.
    fn log_out_now(&mut self, mut live: Box<Live>, text: &[u8], reason: Deny, now: Now) {
        live.log_out(&mut Cx { settings: &self.settings, out: &mut self.out, now }, Some(text));
        self.part(*live, Some(reason), now);
    }

    /// Refuses a Logon about which nothing is to be committed.
    fn refuse_now(&mut self, logon: &Logon, text: &[u8], reason: Deny, now: Now) {
        self.send_refusal(&From::Stranger(logon.party.clone()), text, now);
        self.refused_note(Some(logon), Some(reason));
        self.close(Some(reason));
    }

    /// Notes that nobody came in.
    fn refused_note(&mut self, logon: Option<&Logon>, reason: Option<Deny>) {
        let (event, actor) = match logon {
            Some(logon) => (Event::LogonRefused, logon.actor()),
            None => (Event::ConnectionRefused, Actor::Nobody),
        };
        // A peer that went away on its own was refused nothing.
        if reason.is_some() {
            self.out.note(Note { event, actor, firm: None, stream: None, reason, left: None });
        }
    }

    fn close(&mut self, reason: Option<Deny>) {
        self.out.close(reason);
        self.inbound = Zeroizing::default();
        self.state = State::Closed;
    }

    fn begin_turn(&mut self, now: Now) {
        if let Some(live) = live_of(&mut self.state) {
            live.begin_turn(now);
        }
    }

    fn shrink(&mut self) {
        self.out.shrink();
        self.inbound = Zeroizing::default();
    }
}

impl fmt::Debug for Session {
    /// Where it stands; of the bytes of either side only how many.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::AwaitLogon { .. } => "awaits a Logon",
            State::Judging(_) => "judging",
            State::Asking(_) => "asking",
            State::Claiming(_) => "claiming",
            State::Saving(_) => "saving",
            State::Live(_) => "live",
            State::LoggingOut { .. } => "logging out",
            State::Closed => "closed",
        };
        f.debug_struct("Session")
            .field("profile", &self.settings.profile.name)
            .field("state", &state)
            .field("stream", &self.stream())
            .field("numbers", &self.numbers())
            .field("inbound_bytes", &self.inbound.len())
            .field("out", &self.out)
            .finish_non_exhaustive()
    }
}

/// The session that is logged on, in whatever state.
fn live_of(state: &mut State) -> Option<&mut Live> {
    match state {
        State::Live(live) => Some(live),
        State::Judging(judging) => judging.live.as_deref_mut(),
        State::Saving(saving) => saving.then.live_mut(),
        State::AwaitLogon { .. }
        | State::Asking(_)
        | State::Claiming(_)
        | State::LoggingOut { .. }
        | State::Closed => None,
    }
}

/// What is said and recorded when the shell ends a session; `None` where nothing may be said.
const fn words_of(why: End) -> Option<(Refusal, Deny)> {
    Some(match why {
        End::WeekClosed => (Refusal::Closed, Deny::WeekClosed),
        End::Stopping => (Refusal::Stopping, Deny::Stopping),
        End::KeyEnded => (Refusal::Ended, Deny::AccessKeyDeleted),
        End::SessionEnded => (Refusal::Ended, Deny::SessionDisabled),
        End::PersonEnded | End::ByOperator => (Refusal::Ended, Deny::SessionEnded),
        End::NotSaved => return None,
    })
}

/// The words for a Logon that could not be verified in time.
fn later() -> Vec<u8> {
    Refusal::TryAgainLater.text(&[])
}

/// A limit as a length.
fn usize_of(limit: Limit) -> usize {
    usize::try_from(limit.max()).unwrap_or(usize::MAX)
}
