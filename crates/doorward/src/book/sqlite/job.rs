//! What goes between the committer and everybody else.

use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};

use doorward_core::audit::Record;
use tokio::sync::oneshot;

use crate::book::{CommitError, Committed, Expect};
use crate::fault::Fault;
use crate::journal::Head;

/// What the thread is asked for.
pub(super) enum Job {
    /// Commit this.
    Commit(Submitted),
    /// Bring the book to the head.
    Drain(SyncSender<Result<(), Fault>>),
    /// Apply what waits, and end.
    Stop,
    /// End as a crash would.
    #[cfg(test)]
    Crash,
}

impl Job {
    /// Answers a batch that the thread will not see.
    pub(super) fn refuse(self, fault: Fault) {
        match self {
            Self::Commit(batch) => batch.answer(Err(CommitError::Fault(fault))),
            Self::Drain(_) | Self::Stop => {}
            #[cfg(test)]
            Self::Crash => {}
        }
    }
}

/// A batch, ready to be appended.
pub(super) struct Submitted {
    pub(super) expects: Vec<Expect>,
    /// The records as they read back from `bytes`: what is applied now is what a replay will apply.
    pub(super) records: Vec<Record>,
    pub(super) bytes: Vec<Vec<u8>>,
    /// It changes something versioned.
    pub(super) eager: bool,
    pub(super) answer: oneshot::Sender<Result<Committed, CommitError>>,
}

impl Submitted {
    /// Bytes of all its records.
    pub(super) fn size(&self) -> usize {
        self.bytes.iter().map(Vec::len).sum()
    }

    pub(super) fn answer(self, with: Result<Committed, CommitError>) {
        // Whoever asked may have gone away; what was done stays done.
        let _ = self.answer.send(with);
    }
}

/// What everybody may know of the thread's state.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) head: Head,
    pub(super) mark: u64,
    /// The book lacks changes of versioned entities: nothing is to be read before it has caught up.
    pub(super) behind: bool,
    pub(super) failing: Option<Fault>,
}

/// The state, shared with readers.
#[derive(Debug)]
pub(super) struct Shared(Mutex<State>);

impl Shared {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { head: Head::EMPTY, mark: 0, behind: true, failing: None }))
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}
