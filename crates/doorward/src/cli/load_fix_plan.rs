//! What `doorward load fix` is to run, and the order that it sends.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use doorward_core::fix::tag;

use super::load_fix_seats::{Common, Seat, Stamp};

/// What each connection does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Mode {
    /// Connect, log on, log out, again and again
    Cycles,
    /// All sessions log on at once; how long until the last one is in
    Storm,
    /// All sessions log on and stay; memory of the server for each
    Idle,
    /// Orders to execution reports, so many in flight on each session
    Orders,
    /// Test Request to Heartbeat, or order to report: one in flight on one session
    Ping,
}

impl Mode {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cycles => "cycles",
            Self::Storm => "storm",
            Self::Idle => "idle",
            Self::Orders => "orders",
            Self::Ping => "ping",
        }
    }
}

/// What becomes of the orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Orders {
    /// They stay in the book: one report each, until the venue holds as many as it may
    Day,
    /// They are cancelled at once: two reports each
    Ioc,
    /// An order, then its cancel, in turn: one report each, and the book stays empty
    Cancel,
}

/// What to run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) mode: Mode,
    pub(super) address: SocketAddr,
    pub(super) common: Common,
    pub(super) seats: Vec<Seat>,
    /// Connections at once.
    pub(super) at_once: usize,
    /// Orders in flight on each session.
    pub(super) in_flight: usize,
    pub(super) orders: Orders,
    /// In ping mode: orders instead of Test Requests.
    pub(super) ping_orders: bool,
    /// Operations after which to stop.
    pub(super) total: u64,
    pub(super) duration: Duration,
    /// The time before the measurement begins, under the same load.
    pub(super) warm_up: Duration,
    /// The process whose time and memory are read.
    pub(super) pid: Option<u32>,
}

/// Writes one limit order that nothing will fill; or, where it is the turn of one, the cancel of the order before.
pub(super) fn order(
    seat: &mut Seat,
    out: &mut Vec<u8>,
    common: &Common,
    at: &Stamp,
    (run_id, id): (&str, u64),
    orders: Orders,
) {
    let cancels = orders == Orders::Cancel && !id.is_multiple_of(2);
    let builder = seat.begin(out, common, if cancels { b"F" } else { b"D" }, at);
    let builder = builder.field(tag::CL_ORD_ID, Name::new(run_id, id).as_bytes());
    if cancels {
        builder
            .field(tag::ORIG_CL_ORD_ID, Name::new(run_id, id - 1).as_bytes())
            .field(tag::SYMBOL, "ESZ6")
            .field(tag::SIDE, "1")
            .field(tag::TRANSACT_TIME, at.text)
            .finish();
        return;
    }
    builder
        .field(tag::HANDL_INST, "1")
        .field(tag::SYMBOL, "ESZ6")
        .field(tag::SIDE, "1")
        .field(tag::TRANSACT_TIME, at.text)
        .field(tag::ORDER_QTY, "10")
        .field(tag::ORD_TYPE, "2")
        .field(tag::PRICE, "4500.25")
        .field(tag::TIME_IN_FORCE, if orders == Orders::Ioc { "3" } else { "0" })
        .finish();
}

/// ClOrdID (11): the run and a number.
struct Name {
    bytes: [u8; 48],
    length: usize,
}

impl Name {
    fn new(run_id: &str, id: u64) -> Self {
        let mut bytes = [0; 48];
        let mut rest = &mut bytes[..];
        let fits = write!(rest, "{run_id}-{id}").is_ok();
        let left = rest.len();
        Self { bytes, length: if fits { 48 - left } else { 0 } }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
