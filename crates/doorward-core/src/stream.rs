//! Streams: pairs of sequence series that outlive connections, restarts and nodes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{FirmId, PersonId, SessionId};

/// Which kind of gateway a FIX listener is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Gateway {
    /// Convenience Gateway: all market segments, 57 = `G`.
    Cgw,
    /// Market Segment Gateway: one segment of two digits, which is its 57.
    Msgw([u8; 2]),
}

impl Gateway {
    /// A Market Segment Gateway; `None` where the segment is not two digits.
    pub fn msgw(segment: &str) -> Option<Self> {
        let digits: [u8; 2] = segment.as_bytes().try_into().ok()?;
        digits.iter().all(u8::is_ascii_digit).then_some(Self::Msgw(digits))
    }

    /// What a client writes into TargetSubID (57), and we into SenderSubID (50).
    pub fn sub_id(&self) -> &[u8] {
        match self {
            Self::Cgw => b"G",
            Self::Msgw(segment) => segment,
        }
    }
}

/// Names a stream. Printed as `cgw/ABC/001`, `msgw-92/ABC/001` or `trader/p0123456789abcdef`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StreamKey {
    /// Of a FIX session behind one kind of gateway.
    Session {
        /// The gateway.
        gateway: Gateway,
        /// The Session ID.
        session: SessionId,
        /// The Firm ID.
        firm: FirmId,
    },
    /// Of a person who logs on over FIX.
    Person(PersonId),
}

impl StreamKey {
    /// Reads what [`Display`](fmt::Display) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(person) = text.strip_prefix("trader/") {
            return PersonId::parse(person).map(Self::Person);
        }
        let (gateway, rest) = text.split_once('/')?;
        let (session, firm) = rest.split_once('/')?;
        let gateway = match gateway.strip_prefix("msgw-") {
            Some(segment) => Gateway::msgw(segment)?,
            None => (gateway == "cgw").then_some(Gateway::Cgw)?,
        };
        let (session, firm) = (SessionId::parse(session.as_bytes())?, FirmId::parse(firm.as_bytes())?);
        Some(Self::Session { gateway, session, firm })
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session { gateway: Gateway::Cgw, session, firm } => write!(f, "cgw/{session}/{firm}"),
            Self::Session { gateway: Gateway::Msgw([a, b]), session, firm } => {
                write!(f, "msgw-{}{}/{session}/{firm}", char::from(*a), char::from(*b))
            }
            Self::Person(person) => write!(f, "trader/{person}"),
        }
    }
}

impl Serialize for StreamKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format_args!("no stream: {text:?}")))
    }
}

/// Which incarnation of a stream its numbers belong to: each reset begins the next. Later ones compare greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Epoch {
    /// The trading week, counted by the calendar.
    pub week: u32,
    /// In-session resets within that week.
    pub reset: u32,
}

impl Epoch {
    /// Reads what [`Display`](fmt::Display) wrote: week and reset, `12.0`.
    pub fn parse(text: &str) -> Option<Self> {
        let (week, reset) = text.split_once('.')?;
        let number =
            |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        Some(Self { week: number(week)?, reset: number(reset)? })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.week, self.reset)
    }
}

/// Messages to a client that it had not fetched when its numbers began anew: those that are stored in this range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LeftBehind {
    /// The incarnation that is over; the messages stay readable in it.
    pub epoch: Epoch,
    /// The first number.
    pub first: u64,
    /// The last number.
    pub last: u64,
    /// How many they are: the whole range, until whoever stores them has counted.
    pub count: u64,
}

impl fmt::Display for LeftBehind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { epoch, first, last, count } = self;
        write!(f, "{count} messages, among the numbers {first} to {last} of epoch {epoch}")
    }
}

/// The numbers of a stream at one moment. Of two statements the one with the greater `(epoch, rev)` holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Numbers {
    /// The incarnation.
    pub epoch: Epoch,
    /// Counts the statements within the epoch.
    pub rev: u32,
    /// MsgSeqNum (34) that the client's next message must have. 1: nobody has logged on in this epoch.
    pub next_in: u64,
    /// MsgSeqNum (34) that our next message gets.
    pub next_out: u64,
    /// No number at or above this one is sent before a statement with a higher ceiling, or the application message
    /// of that number itself, is durable. After a crash the stream goes on here.
    pub ceiling: u64,
    /// The first outbound number of those that were stored while the client was away and not sent since.
    pub unsent_from: u64,
    /// The first outbound number behind them; equal to `unsent_from` where there are none.
    pub unsent_to: u64,
}

impl Numbers {
    /// Numbers reserved ahead of [`Self::next_out`] when the ceiling is moved.
    pub const RESERVED: u64 = 64;

    /// A stream that begins.
    pub const fn new(epoch: Epoch) -> Self {
        Self { epoch, rev: 0, next_in: 1, next_out: 1, ceiling: 1, unsent_from: 1, unsent_to: 1 }
    }

    /// Whether nobody has logged on in this epoch.
    pub const fn is_unused(&self) -> bool {
        self.next_in == 1
    }

    /// The messages that were stored while the client was away and not sent since; there may be other numbers among
    /// them. `None` where there are none.
    pub const fn unfetched(&self) -> Option<LeftBehind> {
        if self.unsent_from >= self.unsent_to {
            return None;
        }
        let (epoch, first, last) = (self.epoch, self.unsent_from, self.unsent_to - 1);
        Some(LeftBehind { epoch, first, last, count: self.unsent_to - self.unsent_from })
    }

    /// Whether this statement is later than another.
    pub fn supersedes(&self, other: &Self) -> bool {
        (self.epoch, self.rev) > (other.epoch, other.rev)
    }

    /// How the stream goes on after a crash: at the ceiling.
    #[must_use]
    pub fn after_crash(mut self) -> Self {
        self.next_out = self.next_out.max(self.ceiling);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_reads_back_as_it_prints() {
        for text in ["cgw/ABC/001", "msgw-92/ABC/001", "trader/p00000000000000ff"] {
            assert_eq!(StreamKey::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "cgw/ABC", "cgw/abc/001", "msgw-9/ABC/001", "dropcopy/ABC/001", "trader/ff"] {
            assert_eq!(StreamKey::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_epoch_reads_back_as_it_prints() {
        let epoch = Epoch { week: 12, reset: 3 };
        assert_eq!(Epoch::parse(&epoch.to_string()), Some(epoch));
        for text in ["", "12", "12.", ".3", "12.3.4", "+12.3", "12.-3", "12.99999999999"] {
            assert_eq!(Epoch::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_reset_begins_a_later_epoch_whatever_the_revision() {
        let old = Numbers { rev: 900, ..Numbers::new(Epoch { week: 7, reset: 0 }) };
        let new = Numbers::new(Epoch { week: 7, reset: 1 });
        assert!(new.supersedes(&old) && !old.supersedes(&new) && !old.supersedes(&old));
        assert!(Numbers::new(Epoch { week: 8, reset: 0 }).supersedes(&new));
    }
}
