//! An order, and how one is read from a message.

use std::io::Write as _;

use doorward_core::fix::build::push_number;
use doorward_core::fix::message::Message;
use doorward_core::fix::tag;
use doorward_core::stream::{Epoch, StreamKey};

use super::super::From;
use super::decimal::{Price, quantity};
use super::text::{ClientKey, Text};

/// Buy or sell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Buy,
    Sell,
}

impl Side {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Buy => "1",
            Self::Sell => "2",
        }
    }
}

/// How long an order stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Until it is filled or cancelled, this week (TimeInForce 0 and 1).
    Day,
    /// What is not filled at once is cancelled (3).
    ImmediateOrCancel,
    /// Filled at once as a whole, or cancelled (4).
    FillOrKill,
}

/// Which words the client understands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Version {
    Fix42,
    Fix44,
}

impl Version {
    pub(super) fn of(message: &Message<'_>) -> Self {
        if message.begin_string() == b"FIX.4.2" { Self::Fix42 } else { Self::Fix44 }
    }
}

/// Names the message that something came of, for ever: the same after every crash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    stream: StreamKey,
    epoch: Epoch,
    number: u64,
}

impl Origin {
    pub(super) const fn of(from: &From<'_>) -> Self {
        Self { stream: *from.stream, epoch: from.epoch, number: from.number }
    }

    /// Writes it: `ABC001G-9.0-2`.
    pub(super) fn push(&self, out: &mut Vec<u8>) {
        match &self.stream {
            StreamKey::Session { gateway, session, firm } => {
                out.extend_from_slice(session.as_bytes());
                out.extend_from_slice(firm.as_bytes());
                out.extend_from_slice(gateway.sub_id());
            }
            StreamKey::Person(person) => {
                // Writing to a vector never fails.
                let _ = write!(out, "{person}");
            }
        }
        out.push(b'-');
        push_number(out, u64::from(self.epoch.week));
        out.push(b'.');
        push_number(out, u64::from(self.epoch.reset));
        out.push(b'-');
        push_number(out, self.number);
    }
}

/// An order, from its acceptance on.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) stream: StreamKey,
    pub(super) version: Version,
    /// OrderID (37): of the message that made it.
    pub(super) id: Origin,
    /// ClOrdID (11) in force.
    pub(super) client_id: Text,
    pub(super) account: Option<Text>,
    pub(super) symbol: Text,
    pub(super) side: Side,
    /// `None`: at any price.
    pub(super) limit: Option<Price>,
    pub(super) quantity: u64,
    pub(super) filled: u64,
    /// What was filled, times its prices.
    pub(super) value: i128,
}

impl Order {
    pub(super) const fn open(&self) -> u64 {
        self.quantity - self.filled
    }

    /// What its client calls it.
    pub(super) fn key(&self) -> ClientKey {
        ClientKey { stream: self.stream, id: self.client_id.clone() }
    }
}

/// Why a message made no order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrong {
    /// A field without which not even a rejected order can be reported.
    Missing(u32),
    /// OrdRejReason (103) in FIX 4.2, and in words.
    Rejected(u32, &'static str),
}

/// Why there is no order, and what of it can be reported.
type Refused = (Wrong, Option<Box<Order>>);

/// Reads a New Order (D).
pub(super) fn read(from: &From<'_>, message: &Message<'_>) -> Result<(Order, Standing), Refused> {
    let needed = |tag: u32| message.get(tag).filter(|value| !value.is_empty()).ok_or(Wrong::Missing(tag));
    let first = || {
        let needed_all = (needed(tag::CL_ORD_ID)?, needed(tag::SYMBOL)?, needed(tag::SIDE)?);
        needed(tag::ORD_TYPE)?;
        Ok(needed_all)
    };
    let (client_id, symbol, side) = first().map_err(|wrong| (wrong, None))?;
    let mut order = Order {
        stream: *from.stream,
        version: Version::of(message),
        id: Origin::of(from),
        client_id: client_id.into(),
        account: message.get(tag::ACCOUNT).map(Text::from),
        symbol: symbol.into(),
        side: Side::Buy,
        limit: None,
        quantity: 0,
        filled: 0,
        value: 0,
    };
    let fault = match terms(message, side, &mut order) {
        Ok(standing) => return Ok((order, standing)),
        Err(fault) => fault,
    };
    Err((fault, Some(Box::new(order))))
}

fn terms(message: &Message<'_>, side: &[u8], order: &mut Order) -> Result<Standing, Wrong> {
    const OTHER: u32 = 0;
    const CHARACTERISTIC: u32 = 11;
    order.side = match side {
        b"1" => Side::Buy,
        b"2" => Side::Sell,
        _ => return Err(Wrong::Rejected(CHARACTERISTIC, "Side (54) must be 1 or 2")),
    };
    let given = message.get(tag::ORDER_QTY).ok_or(Wrong::Rejected(OTHER, "OrderQty (38) is missing"))?;
    order.quantity = quantity(given)
        .ok_or(Wrong::Rejected(OTHER, "OrderQty (38) must be a whole number from 1 to 999999999"))?;
    order.limit = match message.get(tag::ORD_TYPE) {
        Some(b"1") => None,
        Some(b"2") => Some(limit(message)?),
        Some(_) | None => return Err(Wrong::Rejected(CHARACTERISTIC, "OrdType (40) must be 1 or 2")),
    };
    match message.get(tag::TIME_IN_FORCE) {
        None | Some(b"0" | b"1") => Ok(Standing::Day),
        Some(b"3") => Ok(Standing::ImmediateOrCancel),
        Some(b"4") => Ok(Standing::FillOrKill),
        Some(_) => Err(Wrong::Rejected(CHARACTERISTIC, "TimeInForce (59) must be 0, 1, 3 or 4")),
    }
}

/// The Price (44) of a limit order.
pub(super) fn limit(message: &Message<'_>) -> Result<Price, Wrong> {
    let price = message.get(tag::PRICE).ok_or(Wrong::Rejected(0, "Price (44) is missing"))?;
    Price::parse(price).ok_or(Wrong::Rejected(0, "Price (44) is no price"))
}
