//! What the FIX door noted and could not write down: kept until the journal takes it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use doorward_core::audit::{Event, Record};

/// Most records that are kept; later ones are counted only.
const KEPT_MAX: usize = 4_096;
/// Records that are handed in at once.
const BATCH: usize = 64;

/// Records that nobody waits for and that a failed write left behind.
#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<Record>,
    beyond: u64,
}

/// Whether a record is true whatever became of its write: it changes nothing, and lets nobody in.
pub(super) fn stays_true(record: &Record) -> bool {
    record.changes.is_empty() && record.entry.event != Event::LogonGranted
}

impl Notes {
    /// Keeps records for later, behind those that are kept.
    pub(super) fn keep(&self, records: Vec<Record>) {
        let mut kept = self.kept();
        let room = KEPT_MAX - kept.records.len();
        kept.beyond += records.len().saturating_sub(room) as u64;
        kept.records.extend(records.into_iter().take(room));
    }

    /// Takes the oldest ones; none where none are kept.
    pub(super) fn take(&self) -> Vec<Record> {
        let mut kept = self.kept();
        let count = kept.records.len().min(BATCH);
        kept.records.drain(..count).collect()
    }

    /// Gives back what [`Self::take`] took.
    pub(super) fn give_back(&self, records: Vec<Record>) {
        let mut kept = self.kept();
        records.into_iter().rev().for_each(|record| kept.records.push_front(record));
        let over = kept.records.len().saturating_sub(KEPT_MAX);
        kept.records.truncate(KEPT_MAX);
        kept.beyond += over as u64;
    }

    /// How many were not kept since this was asked last.
    pub(super) fn take_beyond(&self) -> u64 {
        std::mem::take(&mut self.kept().beyond)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use doorward_core::audit::{Actor, AttemptId, Context, Door, Entry};
    use doorward_core::time::Wall;

    use super::*;

    fn notes(first: u64, count: u64) -> Vec<Record> {
        let of = |n| {
            let at = Wall::from_s(0);
            let context = Context { at, door: Door::Fix, source: None, attempt: AttemptId(n) };
            Record { entry: Entry::new(&context, Event::LoggedOut, Actor::Nobody), changes: Vec::new() }
        };
        (first..first + count).map(of).collect()
    }

    #[test]
    fn l1_notes_are_kept_in_order_and_those_beyond_are_counted() {
        let kept = Notes::default();
        kept.keep(notes(0, 4_090));
        kept.keep(notes(4_090, 10));
        assert_eq!((kept.take_beyond(), kept.take_beyond()), (4, 0));
        let taken = kept.take();
        assert_eq!(taken, notes(0, 64));
        kept.give_back(taken);
        let mut all = Vec::new();
        while let Some(some) = Some(kept.take()).filter(|some| !some.is_empty()) {
            all.extend(some);
        }
        assert_eq!(all, notes(0, 4_096));
    }
}
