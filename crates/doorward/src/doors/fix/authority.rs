//! What the door needs of whoever decides.

use std::sync::Arc;

use doorward_core::ask::{Ask, Judged, SignedLogon, Verdict};
use doorward_core::audit::{Event, Record};
use doorward_core::fix::session::Note;
use doorward_core::machine;
use doorward_core::stream::{Numbers, StreamKey};
use futures_util::future::BoxFuture;

use crate::fault::Fault;
use crate::gate::fix::LogonSave;
use crate::gate::{Gate, Origin};

/// Decides who comes in: the gate.
pub trait Authority: Send + Sync {
    /// Judges a signed Logon at once; nothing is durable yet.
    fn judge(&self, logon: &SignedLogon, origin: &Origin) -> Judged;

    /// Writes records down; `done` hears whether all of them are durable.
    fn save(&self, saves: Vec<LogonSave>, done: Box<dyn FnOnce(bool) + Send>);

    /// The record of what a machine saw and nobody decided, to be saved; `None` where there were too many already.
    fn record(&self, note: Note, origin: &Origin) -> Option<Record>;

    /// Decides what a Logon with a password asks.
    fn ask(self: Arc<Self>, ask: Ask, origin: Origin) -> BoxFuture<'static, Verdict>;

    /// A connection on which something was asked has gone.
    fn left(&self, origin: &Origin);

    /// The numbers of streams as the book has them.
    ///
    /// # Errors
    /// Where the book fails.
    fn streams(&self) -> Result<Vec<(StreamKey, Numbers)>, Fault>;

    /// Whether the wall clock can be trusted, so that a week may begin or end by it.
    fn clock_good(&self) -> bool;

    /// Logons are taken from now on; what was signed before is refused.
    fn listens_now(&self);
}

impl Authority for Gate {
    fn judge(&self, logon: &SignedLogon, origin: &Origin) -> Judged {
        self.judge_logon(logon, origin)
    }

    fn save(&self, saves: Vec<LogonSave>, done: Box<dyn FnOnce(bool) + Send>) {
        self.save_logons(saves, move |saved| done(saved.is_ok()));
    }

    fn record(&self, note: Note, origin: &Origin) -> Option<Record> {
        self.note_of_session(note, origin)
    }

    fn ask(self: Arc<Self>, ask: Ask, origin: Origin) -> BoxFuture<'static, Verdict> {
        Box::pin(async move {
            let _work = self.begin();
            let verdict = Self::ask(&self, ask, &origin).await;
            // The connection may have gone meanwhile; then so has the login.
            if origin.connection.is_gone() {
                self.left(&origin);
                if let Verdict::Granted(granted) = &verdict {
                    let who = Some((granted.person, granted.userid.clone()));
                    self.note(machine::Note { event: Event::LoggedOut, who, reason: None }, &origin).await;
                }
            }
            verdict
        })
    }

    fn left(&self, origin: &Origin) {
        Self::left(self, origin);
    }

    fn streams(&self) -> Result<Vec<(StreamKey, Numbers)>, Fault> {
        Self::streams(self)
    }

    fn clock_good(&self) -> bool {
        Self::clock_good(self)
    }

    fn listens_now(&self) {
        Self::listens_now(self);
    }
}
