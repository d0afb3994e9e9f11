//! The simulated venue: takes orders and fills them against each other, by price and then by time.
//!
//! Everything follows from the messages and their names alone: after a restart the same messages make the same book and
//! the same reports, with the same ids.

mod book;
mod decimal;
mod order;
mod report;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use doorward_core::fix::message::Message;
use doorward_core::fix::tag;
use doorward_core::limits::Limit;
use doorward_core::stream::{LeftBehind, StreamKey};

use super::{Backend, From, Replies};
use book::{Book, OrderNo};
use decimal::{Price, quantity};
use order::{Order, Standing, Version, Wrong};
use report::{CancelRejected, Exec, Reporter};
use text::{ClientKey, Counted, Text};

/// Most open orders.
const ORDERS_MAX: usize = Limit::SimOrders.max() as usize;
/// Orders that are over and still known, so that a late cancel hears so.
const DONE_MAX: usize = Limit::SimOrdersDone.max() as usize;

/// The simulated venue.
#[derive(Debug, Default)]
pub struct Sim {
    next: OrderNo,
    orders: HashMap<OrderNo, Order, Counted>,
    by_client: HashMap<ClientKey, OrderNo>,
    books: BTreeMap<Text, Book>,
    done: VecDeque<ClientKey>,
    done_keys: HashSet<ClientKey>,
}

impl Backend for Sim {
    fn deliver(&mut self, from: &From<'_>, message: &Message<'_>, replies: &mut Replies) {
        let mut report = Reporter::new(from, replies);
        match message.msg_type() {
            b"D" => self.new_order(from, message, &mut report),
            b"F" => self.cancel(from, message, &mut report),
            b"G" => self.replace(from, message, &mut report),
            _ => report.unknown_type(message),
        }
    }

    fn left_behind(&mut self, stream: &StreamKey, left: &LeftBehind) {
        let LeftBehind { epoch, first, last, count } = left;
        tracing::warn!(%stream, %epoch, first, last, count, "a client left messages of the venue behind");
    }

    fn restart(&mut self) {
        *self = Self::default();
    }
}

impl Sim {
    fn new_order(&mut self, from: &From<'_>, message: &Message<'_>, report: &mut Reporter<'_>) {
        let (order, standing) = match order::read(from, message) {
            Ok(read) => read,
            Err((Wrong::Missing(tag), _) | (Wrong::Rejected(tag, _), None)) => {
                return report.missing(message, tag);
            }
            Err((Wrong::Rejected(reason, why), Some(order))) => return report.rejected(&order, reason, why),
        };
        let key = order.key();
        if self.by_client.contains_key(&key) {
            return report.rejected(&order, 6, "an open order has this ClOrdID (11)");
        }
        if self.orders.len() >= ORDERS_MAX {
            return report.rejected(&order, 3, "the simulated venue holds as many orders as it may");
        }
        report.executed(&order, Exec::New, None);
        self.enter(order, key, standing, report);
    }

    /// Fills what can be filled; the rest stands or is cancelled.
    fn enter(&mut self, mut order: Order, key: ClientKey, standing: Standing, report: &mut Reporter<'_>) {
        if standing != Standing::FillOrKill || self.available(&order) >= order.open() {
            self.fill(&mut order, report);
        }
        match (order.open(), order.limit, standing) {
            (0, _, _) => self.forget(key),
            (_, Some(limit), Standing::Day) => self.stand(order, key, limit),
            (_, None, _) | (_, _, Standing::ImmediateOrCancel | Standing::FillOrKill) => {
                report.executed(&order, Exec::Cancelled, None);
                self.forget(key);
            }
        }
    }

    fn stand(&mut self, order: Order, key: ClientKey, limit: Price) {
        self.next += 1;
        match self.books.get_mut(&order.symbol) {
            Some(book) => book.insert(order.side, limit, self.next),
            None => {
                self.books.entry(order.symbol.clone()).or_default().insert(order.side, limit, self.next);
            }
        }
        self.by_client.insert(key, self.next);
        self.orders.insert(self.next, order);
    }

    /// How much of an order could be filled now.
    fn available(&self, order: &Order) -> u64 {
        let Some(book) = self.books.get(&order.symbol) else { return 0 };
        let mut sum = 0_u64;
        for no in book.opposites(order.side, order.limit) {
            sum += self.orders.get(&no).map_or(0, Order::open);
            if sum >= order.open() {
                break;
            }
        }
        sum
    }

    fn fill(&mut self, order: &mut Order, report: &mut Reporter<'_>) {
        while order.open() > 0 {
            let Some(book) = self.books.get_mut(&order.symbol) else { return };
            let Some((no, price)) = book.opposite(order.side, order.limit) else { return };
            let Some(other) = self.orders.get_mut(&no) else { return };
            let filled = order.open().min(other.open());
            for one in [&mut *order, &mut *other] {
                one.filled += filled;
                one.value += price.times(filled);
            }
            report.executed(order, Exec::Filled { quantity: filled, price }, None);
            report.executed(other, Exec::Filled { quantity: filled, price }, None);
            if other.open() == 0 {
                self.take_out(no);
            }
        }
    }

    /// Takes an order out of its book; it is over.
    fn take_out(&mut self, no: OrderNo) -> Option<Order> {
        let order = self.orders.remove(&no)?;
        if let (Some(book), Some(limit)) = (self.books.get_mut(&order.symbol), order.limit) {
            book.remove(order.side, limit, no);
            if book.is_empty() {
                self.books.remove(&order.symbol);
            }
        }
        let key = order.key();
        self.by_client.remove(&key);
        self.forget(key);
        Some(order)
    }

    /// Remembers for a while that an order is over.
    fn forget(&mut self, key: ClientKey) {
        if self.done_keys.insert(key.clone()) {
            self.done.push_back(key);
        }
        if self.done.len() > DONE_MAX
            && let Some(oldest) = self.done.pop_front()
        {
            self.done_keys.remove(&oldest);
        }
    }

    /// The open order that a cancel or replace names.
    fn named(&self, from: &From<'_>, message: &Message<'_>) -> Result<OrderNo, CancelRejected> {
        let client_id = message.get(tag::ORIG_CL_ORD_ID).unwrap_or_default();
        let key = ClientKey { stream: *from.stream, id: client_id.into() };
        match self.by_client.get(&key) {
            Some(no) => Ok(*no),
            None if self.done_keys.contains(&key) => Err(CancelRejected::TooLate),
            None => Err(CancelRejected::Unknown),
        }
    }

    fn cancel(&mut self, from: &From<'_>, message: &Message<'_>, report: &mut Reporter<'_>) {
        let needed = [tag::CL_ORD_ID, tag::ORIG_CL_ORD_ID];
        if let Some(tag) = needed.into_iter().find(|tag| message.get(*tag).is_none_or(<[u8]>::is_empty)) {
            return report.missing(message, tag);
        }
        let order = match self.named(from, message) {
            Ok(no) => self.take_out(no),
            Err(why) => return report.cancel_rejected(message, None, why),
        };
        let Some(mut order) = order else { return };
        let before = std::mem::replace(&mut order.client_id, new_id(message));
        report.executed(&order, Exec::Cancelled, Some(before.as_bytes()));
    }

    fn replace(&mut self, from: &From<'_>, message: &Message<'_>, report: &mut Reporter<'_>) {
        let needed = [tag::CL_ORD_ID, tag::ORIG_CL_ORD_ID];
        if let Some(tag) = needed.into_iter().find(|tag| message.get(*tag).is_none_or(<[u8]>::is_empty)) {
            return report.missing(message, tag);
        }
        let no = match self.named(from, message) {
            Ok(no) => no,
            Err(why) => return report.cancel_rejected(message, None, why),
        };
        let Some(present) = self.orders.get(&no) else { return };
        let (more, limit) = match wanted(message, present) {
            Ok(wanted) => wanted,
            Err(why) => return report.cancel_rejected(message, Some(present), CancelRejected::Wrong(why)),
        };
        let new_key = ClientKey { stream: *from.stream, id: new_id(message) };
        if self.by_client.get(&new_key).is_some_and(|other| *other != no) {
            let why = "an open order has this ClOrdID (11)";
            return report.cancel_rejected(message, Some(present), CancelRejected::Duplicate(why));
        }
        // Who asks for no more at the same price keeps the place.
        let keeps_place = more <= present.quantity && Some(limit) == present.limit;
        let present = if keeps_place { self.orders.get(&no).cloned() } else { self.take_out(no) };
        let Some(mut order) = present else { return };
        order.version = Version::of(message);
        order.quantity = more;
        order.limit = Some(limit);
        let before = std::mem::replace(&mut order.client_id, new_key.id.clone());
        report.executed(&order, Exec::Replaced, Some(before.as_bytes()));
        if keeps_place {
            self.by_client.remove(&ClientKey { stream: order.stream, id: before });
            self.by_client.insert(new_key, no);
            self.orders.insert(no, order);
        } else {
            self.enter(order, new_key, Standing::Day, report);
        }
    }
}

fn new_id(message: &Message<'_>) -> Text {
    message.get(tag::CL_ORD_ID).unwrap_or_default().into()
}

/// Quantity and limit that a replace asks for; what it does not name stays.
fn wanted(message: &Message<'_>, present: &Order) -> Result<(u64, Price), &'static str> {
    let wrong = |wrong: Wrong| match wrong {
        Wrong::Rejected(_, why) => why,
        Wrong::Missing(_) => "Price (44) is missing",
    };
    let limit = match (message.get(tag::PRICE), present.limit) {
        (None, Some(limit)) => limit,
        (Some(_), _) | (None, None) => order::limit(message).map_err(wrong)?,
    };
    let total = match message.get(tag::ORDER_QTY) {
        None => present.quantity,
        Some(text) => quantity(text).ok_or("OrderQty (38) must be a whole number from 1 to 999999999")?,
    };
    if total <= present.filled {
        return Err("OrderQty (38) is not more than what is filled already");
    }
    Ok((total, limit))
}
