//! The one thread that owns the journal and the writer's side of the database.
//!
//! It takes all batches that wait, as one group: check and apply in an open transaction, append with one sync, COMMIT,
//! answer. A group that changes nothing versioned has no transaction: its records wait here, already durable, and are
//! applied many at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::apply::{Refusal, Writer};
use super::job::{Dropped, Encoded, Job, Shared, State, Submitted};
use super::replay::replay;
use crate::book::{CommitError, Committed};
use crate::fault::Fault;
use crate::journal::{Disk, Head, Journal};

/// Batches in one group, at most.
const GROUP_BATCHES: usize = 512;
/// Bytes of records after which a group takes no further batch.
const GROUP_BYTES: usize = 1024 * 1024;
/// Records that wait to be applied, at most.
const WAITING: usize = 2_000;
/// After so long without a batch they are applied.
const IDLE: Duration = Duration::from_millis(50);

/// After so long without a batch no memory is kept for the next one.
const QUIET: Duration = Duration::from_millis(500);

/// See the module.
pub(super) struct Committer<'c> {
    writer: Writer<'c>,
    journal: Journal,
    disk: Arc<dyn Disk>,
    shared: Arc<Shared>,
    /// Received, but not for the present group.
    held: VecDeque<Job>,
    /// Acknowledged, but not applied; contiguous up to the journal's head.
    waiting: Vec<(u64, Encoded)>,
    /// The last applied record.
    mark: u64,
    /// A transaction failed: what the book lacks is in the journal, not in `waiting`.
    behind: bool,
    failing: Option<Fault>,
    /// The journal lost what it had acknowledged: there is no way on.
    lost: Option<Fault>,
    #[cfg(test)]
    commits_fail: Arc<std::sync::atomic::AtomicU32>,
}

impl<'c> Committer<'c> {
    /// Brings the book up to the journal.
    pub(super) fn start(
        writer: Writer<'c>,
        journal: Journal,
        disk: Arc<dyn Disk>,
        shared: Arc<Shared>,
        #[cfg(test)] commits_fail: Arc<std::sync::atomic::AtomicU32>,
    ) -> Result<Self, Fault> {
        let mut committer = Self {
            writer,
            journal,
            disk,
            shared,
            held: VecDeque::new(),
            waiting: Vec::new(),
            mark: 0,
            behind: true,
            failing: None,
            lost: None,
            #[cfg(test)]
            commits_fail,
        };
        committer.replay()?;
        committer.publish();
        Ok(committer)
    }

    /// Works until it is stopped, or nobody is left to ask.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        while let Some(job) = self.held.pop_front().or_else(|| self.receive(jobs)) {
            match job {
                Job::Commit(first) => {
                    let group = self.gather(first, jobs);
                    self.commit(group);
                    if self.waiting.len() >= WAITING {
                        self.flush_aside();
                    }
                }
                Job::Drain(done) => {
                    let flushed = self.flush();
                    self.note(&flushed);
                    // Whoever asked may have gone away.
                    let _ = done.send(flushed);
                }
                Job::Drop { upto, done } => {
                    let dropped = self.drop_piece(upto);
                    let _ = done.send(dropped);
                }
                Job::Stop => break,
                #[cfg(test)]
                Job::Crash => return,
            }
        }
        self.flush_aside();
    }

    fn receive(&mut self, jobs: &Receiver<Job>) -> Option<Job> {
        if !self.waiting.is_empty() {
            match jobs.recv_timeout(IDLE) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.flush_aside(),
            }
            match jobs.recv_timeout(QUIET) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.rest(),
            }
        }
        jobs.recv().ok()
    }

    /// Gives back the room that the last burst took.
    fn rest(&mut self) {
        self.waiting.shrink_to(0);
        self.journal.rest();
        self.writer.give_back();
    }

    /// All that waits behind a batch, as far as it fits one group.
    fn gather(&mut self, first: Submitted, jobs: &Receiver<Job>) -> Vec<Submitted> {
        let mut bytes = first.size();
        let mut group = vec![first];
        while group.len() < GROUP_BATCHES && bytes < GROUP_BYTES {
            match self.held.pop_front().or_else(|| jobs.try_recv().ok()) {
                Some(Job::Commit(batch)) => {
                    bytes = bytes.saturating_add(batch.size());
                    group.push(batch);
                }
                Some(other) => {
                    self.held.push_front(other);
                    break;
                }
                None => break,
            }
        }
        self.cut_to_frame(group)
    }

    /// Puts back what one append does not take; a batch that never fits is refused.
    fn cut_to_frame(&mut self, mut group: Vec<Submitted>) -> Vec<Submitted> {
        loop {
            let records: Vec<&Encoded> = group.iter().flat_map(|batch| &batch.records).collect();
            let mut left = self.journal.fitting(&records);
            let whole = group.iter().take_while(|batch| {
                let fits = batch.records.len() <= left;
                left = left.saturating_sub(batch.records.len());
                fits
            });
            let whole = whole.count();
            if whole > 0 || group.is_empty() {
                for batch in group.drain(whole..).rev() {
                    self.held.push_front(Job::Commit(batch));
                }
                return group;
            }
            let batch = group.remove(0);
            let count = batch.records.len();
            let fault =
                Fault::Book(format!("a batch of {count} records does not fit one write of the journal"));
            batch.answer(Err(CommitError::Fault(fault)));
        }
    }

    fn commit(&mut self, mut group: Vec<Submitted>) {
        let done = self.ready().and_then(|()| self.commit_ready(&mut group));
        match done {
            Ok(answers) => {
                self.failing = None;
                self.publish();
                for (batch, with) in group.into_iter().zip(answers) {
                    batch.answer(with);
                }
            }
            Err(fault) => {
                self.failing = Some(fault.clone());
                self.publish();
                for batch in group {
                    batch.answer(Err(CommitError::Fault(fault.clone())));
                }
            }
        }
    }

    /// Goes on after a failure, as far as that is possible now.
    fn ready(&mut self) -> Result<(), Fault> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        if self.journal.stopped().is_some() {
            let acknowledged = self.journal.head();
            let head = self.journal.reopen()?.head;
            if head != acknowledged {
                // The frame that failed is there whole; nobody was told so, but it is true.
                self.forget_waiting();
            }
            if head.no < acknowledged.no {
                let lost = Fault::Damaged(format!(
                    "journal: ends with record {}, but {} was acknowledged: run `doorward audit verify`",
                    head.no, acknowledged.no
                ));
                self.lost = Some(lost.clone());
                return Err(lost);
            }
        }
        if self.behind { self.replay() } else { Ok(()) }
    }

    /// One group: what each batch is to be answered. A fault answers them all.
    fn commit_ready(
        &mut self,
        group: &mut [Submitted],
    ) -> Result<Vec<Result<Committed, CommitError>>, Fault> {
        let eager = group.iter().any(|batch| batch.eager);
        let decided = self.decide_all(group, eager).inspect_err(|_| {
            self.writer.rollback();
            self.forget_waiting();
        })?;
        let durable: Vec<&Encoded> = group
            .iter()
            .zip(&decided)
            .filter(|(_, decision)| decision.is_ok())
            .flat_map(|(batch, _)| &batch.records)
            .collect();
        // From here on the records are true, whatever becomes of the book.
        let head = self.journal.append(&durable).inspect_err(|_| self.writer.rollback())?;
        if eager {
            self.commit_book(head)?;
        } else {
            let kept = group.iter_mut().zip(&decided).filter(|(_, decision)| decision.is_ok());
            for (batch, decision) in kept {
                let first = decision.as_ref().map_or(0, |committed| committed.first);
                self.waiting.extend((first..).zip(batch.records.drain(..)));
            }
        }
        Ok(decided)
    }

    /// Checks every batch and, in an eager group, applies it on top of what waits. A fault leaves the transaction open.
    fn decide_all(
        &mut self,
        group: &[Submitted],
        eager: bool,
    ) -> Result<Vec<Result<Committed, CommitError>>, Fault> {
        if eager {
            self.writer.begin()?;
            self.apply_waiting()?;
        }
        let mut first = self.journal.head().no.saturating_add(1);
        let mut decided = Vec::with_capacity(group.len());
        for batch in group {
            decided.push(match self.decide(batch, first, eager) {
                Ok(()) => {
                    let next = first.saturating_add(batch.records.len() as u64);
                    let committed = Committed { first, last: next.saturating_sub(1) };
                    first = next;
                    Ok(committed)
                }
                Err(Refusal::Taken(what)) => Err(CommitError::Conflict(what)),
                Err(Refusal::Missing(what)) => Err(CommitError::Fault(Fault::Book(what))),
                Err(Refusal::Fault(fault)) => return Err(fault),
            });
        }
        Ok(decided)
    }

    fn decide(&mut self, batch: &Submitted, first: u64, apply: bool) -> Result<(), Refusal> {
        for expect in &batch.expects {
            self.writer.check(expect)?;
        }
        if batch.eager {
            self.writer.versioned(batch.records.iter().map(|encoded| &encoded.record))?;
        }
        if apply {
            for (no, encoded) in (first..).zip(&batch.records) {
                self.writer.rest(no, &encoded.record, encoded.entry())?;
            }
        }
        Ok(())
    }

    /// Ends the transaction of an eager group; where that fails, the journal has it.
    fn commit_book(&mut self, head: Head) -> Result<(), Fault> {
        #[cfg(test)]
        let committed = self.test_commit(head);
        #[cfg(not(test))]
        let committed = self.writer.commit(head);
        match committed {
            Ok(()) => {
                self.waiting.clear();
                self.mark = head.no;
                Ok(())
            }
            Err(_) => {
                self.writer.rollback();
                self.forget_waiting();
                self.replay()
            }
        }
    }

    #[cfg(test)]
    fn test_commit(&mut self, head: Head) -> Result<(), Fault> {
        self.test_failure()?;
        self.writer.commit(head)
    }

    #[cfg(test)]
    fn test_failure(&self) -> Result<(), Fault> {
        use std::sync::atomic::Ordering::SeqCst;
        match self.commits_fail.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err(Fault::Book("a test makes COMMIT fail".to_owned())),
            Err(_) => Ok(()),
        }
    }

    /// What waits will come from the journal instead.
    fn forget_waiting(&mut self) {
        self.waiting.clear();
        self.behind = true;
    }

    fn apply_waiting(&mut self) -> Result<(), Fault> {
        self.writer.rest_of_all(&self.waiting)
    }

    /// Brings the book to the head. Works also while the journal takes nothing more.
    fn flush(&mut self) -> Result<(), Fault> {
        if self.behind {
            return self.replay();
        }
        if self.waiting.is_empty() {
            return Ok(());
        }
        let head = self.journal.head();
        let flushed = self
            .writer
            .begin()
            .and_then(|()| self.apply_waiting())
            .and_then(|()| self.writer.commit(head))
            .inspect_err(|_| self.writer.rollback());
        if flushed.is_err() {
            self.forget_waiting();
        } else {
            self.waiting.clear();
            self.mark = head.no;
        }
        flushed
    }

    /// Drops one segment or, once there is none to drop, some rows; what others have handed in comes in between.
    fn drop_piece(&mut self, upto: u64) -> Result<Dropped, Fault> {
        if self.journal.drop_oldest(upto)? {
            return Ok(Dropped::Segment);
        }
        match self.writer.drop_audits(upto)? {
            0 => Ok(Dropped::All),
            _ => Ok(Dropped::Rows),
        }
    }

    /// The same where nobody waits for it: a fault shows in the status, and the next batch tries again.
    fn flush_aside(&mut self) {
        let flushed = self.flush();
        self.note(&flushed);
    }

    fn note(&mut self, flushed: &Result<(), Fault>) {
        match flushed {
            Err(fault) => self.failing = Some(fault.clone()),
            Ok(()) if self.journal.stopped().is_none() => self.failing = None,
            Ok(()) => {}
        }
        self.publish();
    }

    fn replay(&mut self) -> Result<(), Fault> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        #[cfg(test)]
        self.test_failure()?;
        let head = self.journal.head();
        replay(&mut self.writer, &self.disk, head)?;
        self.waiting.clear();
        self.mark = head.no;
        self.behind = false;
        Ok(())
    }

    fn publish(&self) {
        self.shared.set(State {
            head: self.journal.head(),
            mark: self.mark,
            behind: self.behind,
            failing: self.failing.clone(),
        });
    }
}
