//! What the door needs of whoever decides.

use std::sync::Arc;

use doorward_core::ask::{Ask, Judged, SignedLogon, Verdict};
use doorward_core::audit::Record;
use doorward_core::fix::session::Note;
use doorward_core::stream::{Numbers, StreamKey};
use futures_util::future::BoxFuture;

use crate::fault::Fault;
use crate::gate::Origin;

/// A Logon that is decided, accepted or refused, to be written down.
#[derive(Debug)]
pub struct Decided {
    /// The record.
    pub record: Box<Record>,
    /// The numbers of its stream, where they move.
    pub numbers: Option<Numbers>,
}

/// Decides who comes in: the gate.
pub trait Authority: Send + Sync {
    /// Judges a signed Logon at once; nothing is durable yet.
    fn judge(&self, logon: &SignedLogon, origin: &Origin) -> Judged;

    /// Writes down decided Logons; `done` hears whether all of them are durable.
    fn save(&self, logons: Vec<Decided>, done: Box<dyn FnOnce(bool) + Send>);

    /// Decides what a Logon with a password asks.
    fn ask(self: Arc<Self>, ask: Ask, origin: Origin) -> BoxFuture<'static, Verdict>;

    /// Writes down what a machine saw and nobody decided.
    fn note(self: Arc<Self>, note: Box<Note>, origin: Origin);

    /// A connection on which something was asked has gone.
    fn left(&self, origin: &Origin);

    /// The numbers of streams as the book has them.
    ///
    /// # Errors
    /// Where the book fails.
    fn streams(&self) -> Result<Vec<(StreamKey, Numbers)>, Fault>;

    /// Whether the wall clock can be trusted, so that a week may begin or end by it.
    fn clock_good(&self) -> bool;
}
