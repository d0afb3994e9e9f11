//! Open orders of one instrument, by price and then by time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::decimal::Price;
use super::order::Side;

/// Names an open order; later ones are greater.
pub(super) type OrderNo = u64;

/// Both sides of an instrument.
#[derive(Debug, Default)]
pub(super) struct Book {
    bids: BTreeMap<Reverse<Price>, VecDeque<OrderNo>>,
    asks: BTreeMap<Price, VecDeque<OrderNo>>,
}

impl Book {
    /// Puts an order behind those of its price.
    pub(super) fn insert(&mut self, side: Side, price: Price, order: OrderNo) {
        match side {
            Side::Buy => self.bids.entry(Reverse(price)).or_default().push_back(order),
            Side::Sell => self.asks.entry(price).or_default().push_back(order),
        }
    }

    /// Takes an order out.
    pub(super) fn remove(&mut self, side: Side, price: Price, order: OrderNo) {
        match side {
            Side::Buy => take(&mut self.bids, &Reverse(price), order),
            Side::Sell => take(&mut self.asks, &price, order),
        }
    }

    /// The order that one of this side and limit would meet first, and its price.
    pub(super) fn opposite(&self, side: Side, limit: Option<Price>) -> Option<(OrderNo, Price)> {
        let (price, orders) = match side {
            Side::Buy => self.asks.first_key_value().map(|(price, orders)| (*price, orders)),
            Side::Sell => self.bids.first_key_value().map(|(price, orders)| (price.0, orders)),
        }?;
        let meets = limit.is_none_or(|limit| match side {
            Side::Buy => price <= limit,
            Side::Sell => price >= limit,
        });
        orders.front().filter(|_| meets).map(|order| (*order, price))
    }

    /// Orders that one of this side and limit would meet, the first one first.
    pub(super) fn opposites(&self, side: Side, limit: Option<Price>) -> impl Iterator<Item = OrderNo> + '_ {
        let (asks, bids) = match side {
            Side::Buy => (Some(self.asks.iter()), None),
            Side::Sell => (None, Some(self.bids.iter())),
        };
        let asks =
            asks.into_iter().flatten().filter(move |(price, _)| limit.is_none_or(|limit| **price <= limit));
        let bids =
            bids.into_iter().flatten().filter(move |(price, _)| limit.is_none_or(|limit| price.0 >= limit));
        let asks = asks.flat_map(|(_, orders)| orders.iter().copied());
        asks.chain(bids.flat_map(|(_, orders)| orders.iter().copied()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bids.is_empty() && self.asks.is_empty()
    }
}

fn take<P: Ord>(side: &mut BTreeMap<P, VecDeque<OrderNo>>, price: &P, order: OrderNo) {
    let Some(orders) = side.get_mut(price) else { return };
    // Found from the front: those that are filled stand there. Numbers grow, so it is searched by halves.
    if let Ok(at) = orders.binary_search(&order) {
        orders.remove(at);
    }
    if orders.is_empty() {
        side.remove(price);
    }
}
