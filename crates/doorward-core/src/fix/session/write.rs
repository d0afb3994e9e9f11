//! The header of our messages, which differs by profile.

use crate::fix::build::Builder;
use crate::fix::tag;
use crate::id::OperatorId;
use crate::time::Wall;

use super::stream::Settings;

/// To whom our messages go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Party {
    /// BeginString (8).
    pub(super) begin_string: &'static str,
    /// TargetCompID (56): the client's own name, with the indicator in force where it has one.
    pub(super) comp: Box<[u8]>,
    /// TargetSubID (57), in upper case.
    pub(super) operator: Option<OperatorId>,
}

/// What is in the header of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    /// MsgSeqNum (34).
    pub(super) number: u64,
    /// LastMsgSeqNumProcessed (369), where it is known.
    pub(super) processed: Option<u64>,
    /// OrigSendingTime (122) of a message that goes out again.
    pub(super) orig: Option<&'a [u8]>,
    /// SendingTime (52).
    pub(super) at: Wall,
}

impl Party {
    /// Begins a message: its header.
    pub(super) fn begin<'b>(
        &self,
        settings: &Settings,
        out: &'b mut Vec<u8>,
        msg_type: &[u8],
        head: &Head<'_>,
    ) -> Builder<'b> {
        let profile = settings.profile;
        let operator = self.operator.as_ref().map(OperatorId::as_str);
        Builder::begin(out, self.begin_string.as_bytes(), msg_type)
            .number(tag::MSG_SEQ_NUM, head.number)
            .maybe(tag::POSS_DUP_FLAG, head.orig.map(|_| "Y"))
            .field(tag::SENDER_COMP_ID, &settings.venue)
            .maybe(tag::SENDER_SUB_ID, profile.sub_ids.then(|| settings.gateway.sub_id()))
            .time(tag::SENDING_TIME, head.at)
            .field(tag::TARGET_COMP_ID, &self.comp)
            .maybe(tag::TARGET_SUB_ID, operator.filter(|_| profile.sub_ids))
            .maybe(tag::ORIG_SENDING_TIME, head.orig)
            .maybe_number(tag::LAST_MSG_SEQ_NUM_PROCESSED, head.processed.filter(|_| profile.last_processed))
    }
}
