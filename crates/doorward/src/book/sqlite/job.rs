//! What goes between the committer and everybody else.

use std::ops::Range;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, PoisonError};

use doorward_core::audit::Record;
use tokio::sync::oneshot;

use crate::book::{Callback, CommitError, Committed, Expect};
use crate::fault::Fault;
use crate::journal::Head;

/// What the thread is asked for.
pub(super) enum Job {
    /// Commit this.
    Commit(Submitted),
    /// Bring the book to the head.
    Drain(SyncSender<Result<(), Fault>>),
    /// Drop the next piece of the records up to this one.
    Drop { upto: u64, done: SyncSender<Result<Dropped, Fault>> },
    /// Apply what waits, and end.
    Stop,
    /// End as a crash would.
    #[cfg(test)]
    Crash,
}

/// What a piece of dropping was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dropped {
    /// A segment went.
    Segment,
    /// Rows of the book went; there may be more.
    Rows,
    /// There is nothing left to drop.
    All,
}

impl Job {
    /// Answers a batch that the thread will not see.
    pub(super) fn refuse(self, fault: Fault) {
        match self {
            Self::Commit(batch) => batch.answer(Err(CommitError::Fault(fault))),
            Self::Drain(_) | Self::Drop { .. } | Self::Stop => {}
            #[cfg(test)]
            Self::Crash => {}
        }
    }
}

/// A batch, ready to be appended.
pub(super) struct Submitted {
    pub(super) expects: Vec<Expect>,
    pub(super) records: Vec<Encoded>,
    /// It changes something versioned.
    pub(super) eager: bool,
    pub(super) answer: Answerer,
}

/// A record and its bytes. One that changes something versioned is as it reads back from them: what is applied now is
/// what a replay will apply.
pub(super) struct Encoded {
    pub(super) record: Record,
    pub(super) bytes: Box<[u8]>,
    /// Where in the bytes the entry stands.
    pub(super) entry: Range<usize>,
}

impl Encoded {
    /// The entry's JSON.
    pub(super) fn entry(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.entry.clone()]).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Encoded {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Whom to answer, and how.
pub(super) enum Answerer {
    /// Somebody waits.
    Waiting(oneshot::Sender<Result<Committed, CommitError>>),
    /// Somebody is called; also where the thread ends before there is an answer.
    Called(Called),
}

/// A callback that is called exactly once.
pub(super) struct Called(Option<Callback>);

impl Called {
    pub(super) fn new(callback: Callback) -> Self {
        Self(Some(callback))
    }

    fn call(mut self, with: Result<Committed, CommitError>) {
        if let Some(callback) = self.0.take() {
            callback(with);
        }
    }
}

impl Drop for Called {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            callback(Err(CommitError::Fault(Fault::Stopping)));
        }
    }
}

impl Answerer {
    pub(super) fn answer(self, with: Result<Committed, CommitError>) {
        match self {
            // Whoever asked may have gone away; what was done stays done.
            Self::Waiting(sender) => drop(sender.send(with)),
            Self::Called(called) => called.call(with),
        }
    }
}

impl Submitted {
    /// Bytes of all its records.
    pub(super) fn size(&self) -> usize {
        self.records.iter().map(|record| record.bytes.len()).sum()
    }

    pub(super) fn answer(self, with: Result<Committed, CommitError>) {
        self.answer.answer(with);
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
pub(super) struct Shared {
    state: Mutex<State>,
    /// Who is told when a record of this number is acknowledged.
    awaiting: Mutex<Option<(u64, oneshot::Sender<()>)>>,
}

impl Shared {
    pub(super) fn new() -> Self {
        let state = State { head: Head::EMPTY, mark: 0, behind: true, failing: None };
        Self { state: Mutex::new(state), awaiting: Mutex::default() }
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.tell();
    }

    /// Resolves when a record of this number is acknowledged; takes the place of whoever waited before.
    pub(super) fn reached(&self, no: u64) -> oneshot::Receiver<()> {
        let (wake, woken) = oneshot::channel();
        *self.awaiting.lock().unwrap_or_else(PoisonError::into_inner) = Some((no, wake));
        // It may be there already.
        self.tell();
        woken
    }

    fn tell(&self) {
        let last = self.read(|state| state.head.no);
        let mut awaiting = self.awaiting.lock().unwrap_or_else(PoisonError::into_inner);
        if awaiting.as_ref().is_some_and(|(no, _)| *no <= last)
            && let Some((_, wake)) = awaiting.take()
        {
            // Whoever asked may have gone away.
            let _ = wake.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stands_at(shared: &Shared, no: u64) {
        let head = Head { no, hash: [0; 32] };
        shared.set(State { head, mark: 0, behind: false, failing: None });
    }

    #[test]
    fn who_waits_for_a_number_is_told_once_it_is_reached() {
        let shared = Shared::new();
        let mut at_three = shared.reached(3);
        stands_at(&shared, 2);
        assert_eq!(at_three.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        stands_at(&shared, 5);
        assert_eq!(at_three.try_recv(), Ok(()));
        assert_eq!(shared.reached(5).try_recv(), Ok(()), "there already");
        let mut replaced = shared.reached(9);
        let _later = shared.reached(10);
        assert_eq!(replaced.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
