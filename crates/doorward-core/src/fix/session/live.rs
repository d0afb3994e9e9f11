//! A session that is logged on: its messages in their order, heartbeats, silence.

use std::cmp::Ordering;
use std::time::Duration;

use super::gap::{Gap, Waiting};
use super::output::{Note, Outbox};
use super::resend::Resend;
use super::stream::{Settings, StreamState};
use super::write::{Head, Party};
use crate::audit::{Actor, Deny, Event};
use crate::fix::build::Builder;
use crate::fix::message::{Fields, Message, seq_num};
use crate::fix::profile::LowerReset;
use crate::fix::refusal::Refusal;
use crate::fix::tag;
use crate::id::FirmCode;
use crate::limits::Limit;
use crate::stream::{Numbers, StreamKey};
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
    /// Numbers below this one may be used: a statement with this ceiling is durable, or will be before the next turn.
    secure: u64,
    heart_bt_int: Duration,
    last_in: Mono,
    last_out: Mono,
    silence: Silence,
    pub(super) gap: Option<Box<Gap>>,
    pub(super) resend: Option<Box<Resend>>,
    garbled: u8,
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
        self.state = state;
        self.party = party;
        self.heart_bt_int = heart_bt_int;
        self.gap = None;
        self.resend = None;
    }

    /// To be called with each input: what was stated in an earlier one is durable.
    pub(super) const fn begin_turn(&mut self) {
        self.secure = self.state.numbers.ceiling;
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
        if !is_covered || (left < Numbers::RESERVED / 2 && numbers.ceiling == self.secure) {
            numbers.ceiling = numbers.next_out + Numbers::RESERVED;
            numbers.rev += 1;
            cx.out.save_numbers(*numbers, !is_covered);
            if !is_covered {
                self.secure = numbers.ceiling;
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

    pub(super) fn note(&self, cx: &mut Cx<'_>, event: Event, reason: Option<Deny>, count: Option<u64>) {
        cx.out.note(Note {
            event,
            actor: self.who.actor.clone(),
            firm: self.who.firm.clone(),
            stream: Some(self.stream),
            reason,
            count,
        });
    }

    // --- the peer's messages ---

    /// A garbled message came: it is dropped and not counted.
    pub(super) fn on_garbled(&mut self) -> Then {
        if u64::from(self.garbled) < Limit::FixGarbled.max() {
            self.garbled += 1;
            return Then::Stay;
        }
        Then::LogOut(Refusal::Garbled.text(&[]), Deny::Garbled)
    }

    /// A good message came.
    pub(super) fn on_message(&mut self, message: &Message<'_>, cx: &mut Cx<'_>) -> Then {
        self.last_in = cx.now.mono;
        self.silence = Silence::None;
        self.garbled = 0;
        if let Some(text) = self.misaddressed(message, cx.settings) {
            return Then::LogOut(text, Deny::WrongHeader);
        }
        let number = message.get(tag::MSG_SEQ_NUM);
        let Some(number) = number.and_then(seq_num) else {
            return Then::LogOut(
                missing_or_wrong_number(number, self.state.numbers.next_in),
                Deny::WrongHeader,
            );
        };
        let is_gap_fill = message.get(tag::GAP_FILL_FLAG) == Some(b"Y");
        match message.msg_type() {
            b"A" => return Then::Renew,
            b"5" => {
                if number == self.state.numbers.next_in {
                    self.state.numbers.next_in += 1;
                }
                return Then::Confirm;
            }
            b"4" if !is_gap_fill => {
                return match self.on_reset(message, cx) {
                    Then::Stay => self.drain(cx),
                    other => other,
                };
            }
            _ => {}
        }
        match number.cmp(&self.state.numbers.next_in) {
            Ordering::Less if message.get(tag::POSS_DUP_FLAG) == Some(b"Y") => Then::Stay,
            Ordering::Less => Then::LogOut(self.too_low(number), Deny::SequenceTooLow),
            Ordering::Greater => {
                self.on_gap(number, message, cx);
                Then::Stay
            }
            Ordering::Equal => match self.take(message, cx) {
                Then::Stay => self.drain(cx),
                other => other,
            },
        }
    }

    /// The text for a message that is not from this peer or not for us.
    fn misaddressed(&self, message: &Message<'_>, settings: &Settings) -> Option<Vec<u8>> {
        let wrong = incorrect;
        let begin_string = self.party.begin_string.as_bytes();
        if message.begin_string() != begin_string {
            return Some(wrong(tag::BEGIN_STRING, message.begin_string(), begin_string));
        }
        let own = &*self.party.comp;
        let sender = message.get(tag::SENDER_COMP_ID).unwrap_or_default();
        if sender != own {
            if settings.profile.indicator
                && let (Some((stem, seen)), Some((own_stem, _))) =
                    (sender.split_at_checked(6), own.split_at_checked(6))
                && stem == own_stem
            {
                return Some(Refusal::WrongIndicator.text(&[seen]));
            }
            return Some(wrong(tag::SENDER_COMP_ID, sender, own));
        }
        let venue = settings.venue.as_bytes();
        match message.get(tag::TARGET_COMP_ID) {
            Some(target) if target == venue => {}
            target => return Some(wrong(tag::TARGET_COMP_ID, target.unwrap_or_default(), venue)),
        }
        let sub_id = settings.gateway.sub_id();
        match message.get(tag::TARGET_SUB_ID) {
            Some(target) if settings.profile.sub_ids && target != sub_id => {
                Some(wrong(tag::TARGET_SUB_ID, target, sub_id))
            }
            Some(_) | None => None,
        }
    }

    fn too_low(&self, number: u64) -> Vec<u8> {
        let expected = self.state.numbers.next_in.to_string();
        Refusal::TooLow.text(&[expected.as_bytes(), number.to_string().as_bytes()])
    }

    /// A message came whose number is higher than the next one.
    fn on_gap(&mut self, number: u64, message: &Message<'_>, cx: &mut Cx<'_>) {
        let kept: &[u8] = match message.msg_type() {
            // Answered at once, or both sides could wait for each other.
            b"2" => {
                self.on_resend_request(message, cx);
                &[]
            }
            b"0" | b"3" => &[],
            _ => message.bytes(),
        };
        self.open_gap(number, cx);
        if let Some(gap) = &mut self.gap {
            gap.keep(number, kept);
        }
    }

    /// Asks for what is missing before `number`, unless it was asked for lately.
    pub(super) fn open_gap(&mut self, number: u64, cx: &mut Cx<'_>) {
        let now = cx.now.mono;
        let to = match &mut self.gap {
            Some(gap) if now.since(gap.asked) < self.heart_bt_int => return,
            Some(gap) => {
                gap.asked = now;
                gap.to
            }
            None => {
                self.gap = Some(Box::new(Gap::new(number - 1, now)));
                number - 1
            }
        };
        self.resend_request(cx, to);
    }

    /// Deals with the messages behind a gap that the last one may have filled.
    fn drain(&mut self, cx: &mut Cx<'_>) -> Then {
        while let Some(gap) = &mut self.gap {
            match gap.take(self.state.numbers.next_in) {
                Waiting::Done => self.state.numbers.next_in += 1,
                Waiting::Message(bytes) => {
                    let mut fields = Fields::new();
                    // holds: it was read when it came.
                    let Ok(message) = fields.read(&bytes) else { return Then::Stay };
                    match self.take(&message, cx) {
                        Then::Stay => {}
                        other => return other,
                    }
                }
                Waiting::Nothing => {
                    let next = self.state.numbers.next_in;
                    if next <= gap.to {
                        return Then::Stay;
                    }
                    let Some(first) = gap.first() else {
                        self.gap = None;
                        return Then::Stay;
                    };
                    gap.to = first - 1;
                    gap.asked = cx.now.mono;
                    self.resend_request(cx, first - 1);
                    return Then::Stay;
                }
            }
        }
        Then::Stay
    }

    /// Deals with the message whose turn it is.
    fn take(&mut self, message: &Message<'_>, cx: &mut Cx<'_>) -> Then {
        let number = self.state.numbers.next_in;
        self.state.numbers.next_in += 1;
        match message.msg_type() {
            b"0" | b"3" => {}
            b"1" => match message.get(tag::TEST_REQ_ID).filter(|id| !id.is_empty()) {
                Some(id) => self.send(cx, b"0", |builder| builder.field(tag::TEST_REQ_ID, id)),
                None => self.missing(message, tag::TEST_REQ_ID, cx),
            },
            b"2" => self.on_resend_request(message, cx),
            b"4" => return self.on_gap_fill(number, message, cx),
            _ => {
                let needed = cx.settings.profile.application_header.iter();
                let missing = needed.copied().find(|tag| message.get(*tag).is_none_or(<[u8]>::is_empty));
                match missing {
                    Some(tag) => self.missing(message, tag, cx),
                    None => cx.out.save_inbound(self.state.numbers.epoch, number, message.bytes()),
                }
            }
        }
        Then::Stay
    }

    /// Rejects a message for a tag that it must have (373=1).
    pub(super) fn missing(&mut self, message: &Message<'_>, tag: u32, cx: &mut Cx<'_>) {
        let text = not_present(tag);
        self.reject(cx, message, (Some(tag), Some(1)), &text);
    }

    /// A Sequence Reset that fills a gap; its own number was the next one.
    fn on_gap_fill(&mut self, number: u64, message: &Message<'_>, cx: &mut Cx<'_>) -> Then {
        match message.get(tag::NEW_SEQ_NO).map(seq_num) {
            None => self.missing(message, tag::NEW_SEQ_NO, cx),
            Some(Some(new)) if new > number => self.state.numbers.next_in = new,
            Some(_) => {
                let lower = self.lower_reset(message, number + 1, cx);
                if matches!(lower, Then::LogOut(..)) {
                    self.state.numbers.next_in = number;
                }
                return lower;
            }
        }
        Then::Stay
    }

    /// A Sequence Reset that is none for a gap: its own number does not count.
    fn on_reset(&mut self, message: &Message<'_>, cx: &mut Cx<'_>) -> Then {
        let next = self.state.numbers.next_in;
        match message.get(tag::NEW_SEQ_NO).map(seq_num) {
            None => self.missing(message, tag::NEW_SEQ_NO, cx),
            Some(Some(new)) if new >= next => self.state.numbers.next_in = new,
            Some(_) => return self.lower_reset(message, next, cx),
        }
        Then::Stay
    }

    fn lower_reset(&mut self, message: &Message<'_>, least: u64, cx: &mut Cx<'_>) -> Then {
        let seen = message.get(tag::NEW_SEQ_NO).unwrap_or_default();
        let text = incorrect(tag::NEW_SEQ_NO, seen, format!("at least {least}").as_bytes());
        match cx.settings.profile.lower_reset {
            LowerReset::Logout => Then::LogOut(text, Deny::SequenceTooLow),
            LowerReset::Reject => {
                self.reject(cx, message, (Some(tag::NEW_SEQ_NO), Some(5)), &text);
                Then::Stay
            }
        }
    }

    /// A Logout came while ours waited for it.
    pub(super) fn count_logout(&mut self, message: &Message<'_>) {
        if message.get(tag::MSG_SEQ_NUM).and_then(seq_num) == Some(self.state.numbers.next_in) {
            self.state.numbers.next_in += 1;
        }
    }

    // --- time ---

    /// Another connection wants the stream: the peer must show that it is there.
    pub(super) fn probe(&mut self, cx: &mut Cx<'_>) {
        if !self.is_probed() {
            self.silence = Silence::Probed { until: cx.now.mono + PROBE_MAX };
            self.test_request(cx);
        }
    }

    pub(super) fn deadline(&self, settings: &Settings) -> Mono {
        let heartbeat = self.last_out + self.heart_bt_int;
        let silence = match self.silence {
            Silence::Tested { until } | Silence::Probed { until } => Some(until),
            Silence::None if self.resend.is_some() => None,
            Silence::None => Some(self.last_in + settings.profile.silence(self.heart_bt_int)),
        };
        silence.map_or(heartbeat, |silence| silence.min(heartbeat))
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
                let silence = cx.settings.profile.silence(self.heart_bt_int);
                if self.resend.is_none() && now >= self.last_in + silence {
                    self.silence = Silence::Tested { until: now + silence };
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

/// `<Name> (<tag>) tag is not present`.
pub(super) fn not_present(tag: u32) -> Vec<u8> {
    let name = tag::name(tag).unwrap_or_default().as_bytes();
    Refusal::NotPresent.text(&[name, tag.to_string().as_bytes()])
}

/// `<Name> (<tag>) has an incorrect value: <v> should be <w>`.
pub(super) fn incorrect(tag: u32, seen: &[u8], expected: &[u8]) -> Vec<u8> {
    let name = tag::name(tag).unwrap_or_default().as_bytes();
    Refusal::IncorrectValue.text(&[name, tag.to_string().as_bytes(), seen, expected])
}

/// The text for a message whose MsgSeqNum (34) is missing or no number.
fn missing_or_wrong_number(seen: Option<&[u8]>, next: u64) -> Vec<u8> {
    match seen {
        None | Some([]) => not_present(tag::MSG_SEQ_NUM),
        Some(seen) => incorrect(tag::MSG_SEQ_NUM, seen, next.to_string().as_bytes()),
    }
}
