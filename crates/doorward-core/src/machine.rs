//! The contract between a door's machine and the shell that drives it.
//!
//! One input (`receive`, `verdict`, `timeout`, …), then `poll` until it is empty. The shell carries out the outputs in
//! order, brings the answer to each ask back by its id, and calls `timeout` when `deadline` has come. A machine never
//! waits and never fails: a peer's bytes end in outputs, at worst in `Close`.

use crate::ask::{Ask, AskId, Verdict};
use crate::audit::{Deny, Event};
use crate::id::{PersonId, UserId};
use crate::time::{Mono, Now};

/// A door's machine: one connection of one protocol.
pub trait Machine {
    /// Takes what the peer sent: one whole text message on a door that has messages.
    fn receive(&mut self, bytes: &[u8], now: Now);

    /// Takes the answer to an ask. The first answer counts; one that nobody waits for is dropped.
    fn verdict(&mut self, id: AskId, verdict: Verdict, now: Now);

    /// Tells that the time of [`Self::deadline`] has come; harmless before.
    fn timeout(&mut self, now: Now);

    /// When `timeout` is to be called; `None` when nothing is waited for.
    fn deadline(&self) -> Option<Mono>;

    /// The next thing to do, in order; `None` when there is nothing left.
    fn poll(&mut self) -> Option<Output>;
}

/// Something for the shell to do.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub enum Output {
    /// Send these bytes: one text message on a door that has messages.
    Send(Vec<u8>),
    /// Ping the peer.
    Ping,
    /// Ask the gate; the answer comes back with this id.
    Ask(AskId, Ask),
    /// Write something down that needed no decision.
    Note(Note),
    /// Close the connection; nothing follows.
    Close(Close),
}

/// Something that a machine saw and the gate did not decide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// What happened.
    pub event: Event,
    /// Who was logged in.
    pub who: Option<(PersonId, UserId)>,
    /// Why, where it was a refusal.
    pub reason: Option<Deny>,
}

/// Why a connection is closed. On the wire only the code is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close {
    /// RFC 6455, 7.4.1.
    pub code: u16,
    /// A few fixed words for the peer; empty where the page says that it is closed without a word.
    pub words: &'static str,
}
