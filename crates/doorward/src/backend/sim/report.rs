//! What the simulated venue says: Execution Report (8), Order Cancel Reject (9), Business Message Reject (j).

use doorward_core::fix::build::push_number;
use doorward_core::fix::message::Message;
use doorward_core::fix::tag;

use super::super::{Body, From, Replies};
use super::decimal::Price;
use super::order::{Order, Origin, Version};

/// What happened to an order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exec {
    New,
    Filled { quantity: u64, price: Price },
    Cancelled,
    Replaced,
}

/// Why an order was neither cancelled nor replaced.
#[derive(Clone, Copy, Debug)]
pub(super) enum CancelRejected {
    TooLate,
    Unknown,
    Duplicate(&'static str),
    Wrong(&'static str),
}

/// Writes the reports that come of one message.
pub(super) struct Reporter<'a> {
    from: &'a From<'a>,
    replies: &'a mut Replies,
    count: u32,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(from: &'a From<'a>, replies: &'a mut Replies) -> Self {
        Self { from, replies, count: 0 }
    }

    /// Begins an Execution Report with an id of its own.
    fn report(&mut self, order: &Order, exec_type: &str, status: &str, before: Option<&[u8]>) -> Body<'_> {
        self.count += 1;
        let (origin, count) = (Origin::of(self.from), u64::from(self.count));
        let trans_type = (order.version == Version::Fix42).then_some("0");
        self.replies
            .to(&order.stream, b"8")
            .written(tag::ORDER_ID, |out| order.id.push(out))
            .field(tag::CL_ORD_ID, &order.client_id)
            .maybe(tag::ORIG_CL_ORD_ID, before)
            .written(tag::EXEC_ID, |out| {
                origin.push(out);
                out.push(b'-');
                push_number(out, count);
            })
            .maybe(tag::EXEC_TRANS_TYPE, trans_type)
            .field(tag::EXEC_TYPE, exec_type)
            .field(tag::ORD_STATUS, status)
            .maybe(tag::ACCOUNT, order.account.as_ref())
            .field(tag::SYMBOL, &order.symbol)
    }

    /// Tells what happened to an order; `before` is its former ClOrdID.
    pub(super) fn executed(&mut self, order: &Order, exec: Exec, before: Option<&[u8]>) {
        let at = self.from.at;
        let old = order.version == Version::Fix42;
        let (exec_type, status) = match (exec, order.filled, order.open()) {
            (Exec::New, _, _) => ("0", "0"),
            (Exec::Filled { .. }, _, 0) => (if old { "2" } else { "F" }, "2"),
            (Exec::Filled { .. }, _, _) => (if old { "1" } else { "F" }, "1"),
            (Exec::Cancelled, _, _) => ("4", "4"),
            (Exec::Replaced, 0, _) => ("5", if old { "5" } else { "0" }),
            (Exec::Replaced, _, _) => ("5", "1"),
        };
        let leaves = match exec {
            Exec::Cancelled => 0,
            Exec::New | Exec::Filled { .. } | Exec::Replaced => order.open(),
        };
        let mut body = self
            .report(order, exec_type, status, before)
            .field(tag::SIDE, order.side.code())
            .number(tag::ORDER_QTY, order.quantity)
            .field(tag::ORD_TYPE, if order.limit.is_some() { "2" } else { "1" });
        if let Some(limit) = order.limit {
            body = body.written(tag::PRICE, |out| limit.push(out));
        }
        if let Exec::Filled { quantity, price } = exec {
            body = body.number(tag::LAST_SHARES, quantity).written(tag::LAST_PX, |out| price.push(out));
        }
        body.number(tag::LEAVES_QTY, leaves)
            .number(tag::CUM_QTY, order.filled)
            .written(tag::AVG_PX, |out| Price::average(order.value, order.filled).push(out))
            .time(tag::TRANSACT_TIME, at)
            .say();
    }

    /// An order was not accepted; `reason` is OrdRejReason (103).
    pub(super) fn rejected(&mut self, order: &Order, reason: u32, why: &str) {
        let at = self.from.at;
        // FIX 4.2 has no reason for anything else but 0, the broker's option; 4.4 has 99.
        let reason = match (order.version, reason) {
            (Version::Fix44, 0) => 99,
            (Version::Fix42, 11) => 0,
            (_, reason) => reason,
        };
        self.report(order, "8", "8", None)
            .field(tag::SIDE, order.side.code())
            .number(tag::ORDER_QTY, order.quantity)
            .number(tag::LEAVES_QTY, 0)
            .number(tag::CUM_QTY, 0)
            .number(tag::AVG_PX, 0)
            .number(tag::ORD_REJ_REASON, u64::from(reason))
            .field(tag::TEXT, why)
            .time(tag::TRANSACT_TIME, at)
            .say();
    }

    /// A cancel or replace was not carried out; `order` where it is known.
    pub(super) fn cancel_rejected(
        &mut self,
        message: &Message<'_>,
        order: Option<&Order>,
        why: CancelRejected,
    ) {
        let old = Version::of(message) == Version::Fix42;
        // 4.2 has 0 to 3 only.
        let (reason, text) = match why {
            CancelRejected::TooLate => (0, "the order is over"),
            CancelRejected::Unknown => (1, "no open order has this OrigClOrdID (41)"),
            CancelRejected::Duplicate(why) => (if old { 2 } else { 6 }, why),
            CancelRejected::Wrong(why) => (if old { 2 } else { 99 }, why),
        };
        let status = match (why, order) {
            (_, Some(order)) if order.filled > 0 => "1",
            (_, Some(_)) => "0",
            (CancelRejected::TooLate, None) => "2",
            (_, None) => "8",
        };
        let response_to = if message.msg_type() == b"F" { "1" } else { "2" };
        self.replies
            .to(self.from.stream, b"9")
            .written(tag::ORDER_ID, |out| match order {
                Some(order) => order.id.push(out),
                None => out.extend_from_slice(b"NONE"),
            })
            .maybe(tag::CL_ORD_ID, message.get(tag::CL_ORD_ID))
            .maybe(tag::ORIG_CL_ORD_ID, message.get(tag::ORIG_CL_ORD_ID))
            .field(tag::ORD_STATUS, status)
            .field(tag::CXL_REJ_RESPONSE_TO, response_to)
            .number(tag::CXL_REJ_REASON, reason)
            .field(tag::TEXT, text)
            .time(tag::TRANSACT_TIME, self.from.at)
            .say();
    }

    /// A message of a type that the venue does not know.
    pub(super) fn unknown_type(&mut self, message: &Message<'_>) {
        self.business_reject(message, 3, "the simulated venue does not know this MsgType (35)");
    }

    /// A message without a field that it needs.
    pub(super) fn missing(&mut self, message: &Message<'_>, tag: u32) {
        let text = format!("{} ({tag}) is missing", tag::name(tag).unwrap_or("tag"));
        self.business_reject(message, 5, &text);
    }

    fn business_reject(&mut self, message: &Message<'_>, reason: u64, text: &str) {
        self.replies
            .to(self.from.stream, b"j")
            .number(tag::REF_SEQ_NUM, self.from.number)
            .field(tag::REF_MSG_TYPE, message.msg_type())
            .maybe(tag::BUSINESS_REJECT_REF_ID, message.get(tag::CL_ORD_ID))
            .number(tag::BUSINESS_REJECT_REASON, reason)
            .field(tag::TEXT, text)
            .say();
    }
}
