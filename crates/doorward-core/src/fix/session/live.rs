//! A session that is logged on: its messages in their order, heartbeats, silence.

use std::time::Duration;

use super::gap::Gap;
use super::output::{Note, Outbox};
use super::resend::Resend;
use super::stream::{Settings, StreamState};
use super::write::{Head, Party};
use crate::audit::{Actor, Deny, Event};
use crate::fix::build::Builder;
use crate::fix::message::{Message, seq_num};
use crate::fix::tag;
use crate::id::FirmCode;
use crate::stream::{LeftBehind, Numbers, StreamKey};
use crate::time::{Mono, Now};

/// What every step needs.
#[derive(Debug)]
pub(super) struct Cx<'a> {
    pub(super) settings: &'a Settings,
    pub(super) out: &'a mut Outbox,
    pub(super) now: Now,
}

/// What a step leads to.
#[derive(Debug)]
#[must_use]
pub(super) enum Then {
    /// The session goes on.
    Stay,
    /// A Logon came in session.
    Renew,
    /// The peer logs out.
    Confirm,
    /// The peer is logged out with a text.
    LogOut(Vec<u8>, Deny),
    /// The peer is gone.
    Close(Deny),
}

/// Who is logged on.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Who {
    pub(super) actor: Actor,
    pub(super) firm: Option<FirmCode>,
}

/// What is made of the peer's silence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Silence {
    /// It was heard of lately.
    None,
    /// A Test Request waits for an answer.
    Tested { until: Mono },
    /// Another connection wants the stream: the peer must answer soon.
    Probed { until: Mono },
}

/// How long a probed connection may stay silent.
const PROBE_MAX: Duration = Duration::from_secs(2);

/// A session that is logged on.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Live {
    pub(super) party: Party,
    pub(super) who: Box<Who>,
    pub(super) stream: StreamKey,
    pub(super) state: StreamState,
    /// Numbers below this one may be used: a statement with this ceiling is durable.
    secure: u64,
    /// When a higher ceiling was stated that is durable by the next turn.
    stated: Option<Mono>,
    pub(super) heart_bt_int: Duration,
    last_in: Mono,
    last_out: Mono,
    silence: Silence,
    pub(super) gap: Option<Box<Gap>>,
    pub(super) resend: Option<Box<Resend>>,
    pub(super) garbled: u8,
}

impl Live {
    pub(super) const fn new(
        party: Party,
        who: Box<Who>,
        stream: StreamKey,
        state: StreamState,
        heart_bt_int: Duration,
        now: Now,
    ) -> Self {
        let secure = state.numbers.ceiling;
        Self {
            party,
            who,
            stream,
            state,
            secure,
            stated: None,
            heart_bt_int,
            last_in: now.mono,
            last_out: now.mono,
            silence: Silence::None,
            gap: None,
            resend: None,
            garbled: 0,
        }
    }

    /// Begins both series anew with numbers that are durable; what was asked for in the old ones is forgotten.
    pub(super) fn renew(&mut self, state: StreamState, party: Party, heart_bt_int: Duration) {
        self.secure = state.numbers.ceiling;
        self.stated = None;
        self.state = state;
        self.party = party;
        self.heart_bt_int = heart_bt_int;
        self.gap = None;
        self.resend = None;
    }

    /// To be called with each input: what was stated in an earlier turn of the shell, at an earlier time, is durable.
    pub(super) fn begin_turn(&mut self, now: Now) {
        if self.stated.take_if(|stated| *stated < now.mono).is_some() {
            self.secure = self.state.numbers.ceiling;
        }
    }

    pub(super) const fn is_probed(&self) -> bool {
        matches!(self.silence, Silence::Probed { .. })
    }

    // --- our messages ---

    /// A number for a message that only needs one below the ceiling.
    fn number(&mut self, cx: &mut Cx<'_>) -> u64 {
        let numbers = &mut self.state.numbers;
        let number = numbers.next_out;
        numbers.next_out += 1;
        let left = self.secure.saturating_sub(numbers.next_out);
        let is_covered = number < self.secure;
        if !is_covered || (left < Numbers::RESERVED / 2 && self.stated.is_none()) {
            numbers.ceiling = numbers.next_out + Numbers::RESERVED;
            numbers.rev += 1;
            cx.out.save_numbers(*numbers, !is_covered);
            if is_covered {
                self.stated = Some(cx.now.mono);
            } else {
                self.secure = numbers.ceiling;
                self.stated = None;
            }
        }
        number
    }

    /// Sends a session-level message.
    pub(super) fn send(
        &mut self,
        cx: &mut Cx<'_>,
        msg_type: &[u8],
        body: impl FnOnce(Builder<'_>) -> Builder<'_>,
    ) {
        let number = self.number(cx);
        let head = self.head(number, None, cx.now);
        let builder = self.party.begin(cx.settings, &mut cx.out.arena, msg_type, &head);
        let range = body(builder).finish();
        cx.out.send(&range);
        self.last_out = cx.now.mono;
    }

    pub(super) const fn head<'h>(&self, number: u64, orig: Option<&'h [u8]>, now: Now) -> Head<'h> {
        Head { number, processed: Some(self.state.numbers.next_in - 1), orig, at: now.wall }
    }

    /// Stores an application message, and sends it where the session is not yet ending; its number.
    pub(super) fn application(
        &mut self,
        cx: &mut Cx<'_>,
        msg_type: &[u8],
        body: &[u8],
        send_now: bool,
    ) -> u64 {
        let number = if send_now {
            let numbers = &mut self.state.numbers;
            let number = numbers.next_out;
            numbers.next_out += 1;
            numbers.ceiling = numbers.ceiling.max(numbers.next_out);
            number
        } else {
            self.state.number_unsent()
        };
        // The message itself makes its number durable.
        self.secure = self.secure.max(self.state.numbers.next_out);
        let head = self.head(number, None, cx.now);
        let builder = self.party.begin(cx.settings, &mut cx.out.arena, msg_type, &head);
        let range = builder.raw(body).finish();
        cx.out.save_outbound(self.state.numbers.epoch, number, &range);
        if send_now {
            cx.out.send(&range);
            self.last_out = cx.now.mono;
        }
        number
    }

    /// What has the numbers up to this one went out again.
    pub(super) const fn sent(&mut self, number: u64, cx: &Cx<'_>) {
        self.state.sent_up_to(number);
        self.last_out = cx.now.mono;
    }

    pub(super) fn test_request(&mut self, cx: &mut Cx<'_>) {
        let number = self.state.numbers.next_out;
        self.send(cx, b"1", |builder| builder.number(tag::TEST_REQ_ID, number));
    }

    /// Logs out with or without a text.
    pub(super) fn log_out(&mut self, cx: &mut Cx<'_>, text: Option<&[u8]>) {
        let expected = cx.settings.profile.next_expected.then_some(self.state.numbers.next_in);
        self.send(cx, b"5", |builder| {
            builder.maybe(tag::TEXT, text).maybe_number(tag::NEXT_EXPECTED_MSG_SEQ_NUM, expected)
        });
    }

    pub(super) fn resend_request(&mut self, cx: &mut Cx<'_>, to: u64) {
        let from = self.state.numbers.next_in;
        self.send(cx, b"2", |builder| builder.number(tag::BEGIN_SEQ_NO, from).number(tag::END_SEQ_NO, to));
    }

    /// Rejects a message: which tag (371) and why (373), where FIX has a number for it.
    pub(super) fn reject(
        &mut self,
        cx: &mut Cx<'_>,
        message: &Message<'_>,
        (ref_tag, reason): (Option<u32>, Option<u64>),
        text: &[u8],
    ) {
        let number = message.get(tag::MSG_SEQ_NUM).and_then(seq_num).unwrap_or(0);
        let msg_type = message.msg_type();
        self.send(cx, b"3", |builder| {
            builder
                .number(tag::REF_SEQ_NUM, number)
                .field(tag::TEXT, text)
                .maybe_number(tag::REF_TAG_ID, ref_tag.map(u64::from))
                .field(tag::REF_MSG_TYPE, msg_type)
                .maybe_number(tag::SESSION_REJECT_REASON, reason)
        });
    }

    /// The last words: where the stream stands, and that the login ended.
    pub(super) fn farewell(&mut self, cx: &mut Cx<'_>, reason: Option<Deny>) {
        let numbers = &mut self.state.numbers;
        numbers.ceiling = numbers.next_out;
        numbers.rev += 1;
        cx.out.save_numbers(*numbers, false);
        self.note(cx, Event::LoggedOut, reason, None);
        cx.out.close(reason);
    }

    pub(super) fn note(&self, cx: &mut Cx<'_>, event: Event, reason: Option<Deny>, left: Option<LeftBehind>) {
        cx.out.note(Note {
            event,
            actor: self.who.actor.clone(),
            firm: self.who.firm.clone(),
            stream: Some(self.stream),
            reason,
            left,
        });
    }

    // --- time ---

    /// A good message of the peer came.
    pub(super) const fn heard_of(&mut self, now: Now) {
        self.last_in = now.mono;
        self.silence = Silence::None;
        self.garbled = 0;
    }

    /// Another connection wants the stream: the peer must show that it is there.
    pub(super) fn probe(&mut self, cx: &mut Cx<'_>) {
        if !self.is_probed() {
            self.silence = Silence::Probed { until: cx.now.mono + PROBE_MAX };
            self.test_request(cx);
        }
    }

    /// How long the peer may be silent before something is done: no Test Request goes out while a resend runs, but the
    /// close comes no later for it.
    fn silence_max(&self, settings: &Settings) -> Duration {
        let silence = settings.profile.silence(self.heart_bt_int);
        if self.resend.is_some() { 2 * silence } else { silence }
    }

    pub(super) fn deadline(&self, settings: &Settings) -> Mono {
        let heartbeat = self.last_out + self.heart_bt_int;
        let silence = match self.silence {
            Silence::Tested { until } | Silence::Probed { until } => until,
            Silence::None => self.last_in + self.silence_max(settings),
        };
        silence.min(heartbeat)
    }

    pub(super) fn timeout(&mut self, cx: &mut Cx<'_>) -> Then {
        let now = cx.now.mono;
        match self.silence {
            Silence::Tested { until } | Silence::Probed { until } => {
                if now >= until {
                    return Then::Close(Deny::NotAnswering);
                }
            }
            Silence::None => {
                if now >= self.last_in + self.silence_max(cx.settings) {
                    if self.resend.is_some() {
                        return Then::Close(Deny::NotAnswering);
                    }
                    let until = now + cx.settings.profile.silence(self.heart_bt_int);
                    self.silence = Silence::Tested { until };
                    self.test_request(cx);
                }
            }
        }
        if now >= self.last_out + self.heart_bt_int {
            self.send(cx, b"0", |builder| builder);
        }
        Then::Stay
    }
}
