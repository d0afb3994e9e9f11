//! The client asks for messages again: application messages go out once more, all else is filled.

use super::live::{Cx, Live};
use super::output::ReadRange;
use super::peer::incorrect;
use crate::ask::AskId;
use crate::fix::message::{Fields, Message, body, seq_num};
use crate::fix::refusal::Refusal;
use crate::fix::tag;
use crate::limits::Limit;

/// A Resend Request that is being answered.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Resend {
    /// What is being read.
    ask: AskId,
    /// The next number to send or to fill.
    next: u64,
    /// The last one.
    to: u64,
}

impl Live {
    /// A Resend Request came; its number is dealt with elsewhere.
    pub(super) fn on_resend_request(&mut self, message: &Message<'_>, cx: &mut Cx<'_>) {
        if message.get(tag::POSS_DUP_FLAG) == Some(b"Y") {
            // A duplicate of a request, which was or is being answered.
            return;
        }
        let last = self.state.numbers.next_out - 1;
        let (begin, end) = (message.get(tag::BEGIN_SEQ_NO), message.get(tag::END_SEQ_NO));
        let (Some(begin_text), Some(end_text)) = (begin, end) else {
            let tag = if begin.is_none() { tag::BEGIN_SEQ_NO } else { tag::END_SEQ_NO };
            return self.missing(message, tag, cx);
        };
        let begin = match seq_num(begin_text) {
            Some(begin) if (1..=last).contains(&begin) => begin,
            Some(_) | None => {
                let text = incorrect(tag::BEGIN_SEQ_NO, begin_text, format!("1 to {last}").as_bytes());
                return self.reject(cx, message, (Some(tag::BEGIN_SEQ_NO), Some(5)), &text);
            }
        };
        let end = match seq_num(end_text) {
            Some(0) => last,
            Some(end) if end >= begin => end.min(last),
            Some(_) | None => {
                let text = incorrect(tag::END_SEQ_NO, end_text, format!("0, or at least {begin}").as_bytes());
                return self.reject(cx, message, (Some(tag::END_SEQ_NO), Some(5)), &text);
            }
        };
        if self.resend.is_some() {
            return self.reject(cx, message, (None, None), &Refusal::ResendInProgress.text(&[]));
        }
        let to = end.min(begin + cx.settings.profile.resend_max - 1);
        let ask = self.read_on(begin, to, cx);
        self.resend = Some(Box::new(Resend { ask, next: begin, to }));
    }

    fn read_on(&self, from: u64, to: u64, cx: &mut Cx<'_>) -> AskId {
        cx.out.read(ReadRange {
            stream: self.stream,
            epoch: self.state.numbers.epoch,
            from,
            to,
            count_max: u32::try_from(Limit::FixResendRead.max()).unwrap_or(u32::MAX),
        })
    }

    /// Stored messages came, in the order of their numbers.
    pub(super) fn on_stored(
        &mut self,
        id: AskId,
        messages: &mut dyn Iterator<Item = &[u8]>,
        cx: &mut Cx<'_>,
    ) {
        let Some(mut resend) = self.resend.take_if(|resend| resend.ask == id) else { return };
        let mut fields = Fields::new();
        let mut came = false;
        for bytes in messages {
            let Ok(message) = fields.read(bytes) else { continue };
            let number = message.get(tag::MSG_SEQ_NUM).and_then(seq_num).unwrap_or(0);
            if !(resend.next..=resend.to).contains(&number) {
                continue;
            }
            came = true;
            if number > resend.next {
                self.gap_fill(resend.next, number, cx);
            }
            self.send_again(number, &message, cx);
            resend.next = number + 1;
        }
        if came && resend.next <= resend.to {
            resend.ask = self.read_on(resend.next, resend.to, cx);
            self.resend = Some(resend);
        } else if resend.next <= resend.to {
            self.gap_fill(resend.next, resend.to + 1, cx);
        }
    }

    fn send_again(&mut self, number: u64, message: &Message<'_>, cx: &mut Cx<'_>) {
        let orig = message.get(tag::SENDING_TIME).unwrap_or_default();
        let head = self.head(number, Some(orig), cx.now);
        let builder = self.party.begin(cx.settings, &mut cx.out.arena, message.msg_type(), &head);
        let range = builder.raw(body(message.bytes())).finish();
        cx.out.send(&range);
        self.sent(number, cx);
    }

    /// Fills the numbers from `from` up to `new`, without it.
    fn gap_fill(&mut self, from: u64, new: u64, cx: &mut Cx<'_>) {
        let mut orig = Vec::with_capacity(21);
        crate::fix::build::push_time(&mut orig, cx.now.wall);
        let head = self.head(from, Some(&orig), cx.now);
        let builder = self.party.begin(cx.settings, &mut cx.out.arena, b"4", &head);
        let range = builder.number(tag::NEW_SEQ_NO, new).field(tag::GAP_FILL_FLAG, "Y").finish();
        cx.out.send(&range);
        self.sent(new - 1, cx);
    }
}
