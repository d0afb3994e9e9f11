//! The messages of a peer that is logged on, in their order: what is due, what is missing, what is wrong.

use std::cmp::Ordering;

use super::gap::{Gap, Waiting};
use super::live::{Cx, Live, Then};
use super::stream::Settings;
use crate::audit::Deny;
use crate::fix::message::{Fields, Message, seq_num};
use crate::fix::profile::LowerReset;
use crate::fix::refusal::Refusal;
use crate::fix::tag;
use crate::limits::Limit;

impl Live {
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
        self.heard_of(cx.now);
        if message.msg_type() == b"A" {
            // Its header is looked at with the rest of it, and judged.
            return Then::Renew;
        }
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
        match message.msg_type() {
            b"5" => {
                if number == self.state.numbers.next_in {
                    self.state.numbers.next_in += 1;
                }
                return Then::Confirm;
            }
            b"4" if message.get(tag::GAP_FILL_FLAG) != Some(b"Y") => {
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
                    None => cx.out.save_inbound(self.state.numbers.epoch, number, message),
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
