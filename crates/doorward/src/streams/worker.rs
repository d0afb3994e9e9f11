//! What need not be done while a commit waits: the next segment, and the index of a full one.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::beside;
use super::index::Index;
use super::segment::{Extent, Segment};
use crate::fault::Fault;
use crate::journal::Disk;

pub(super) enum Job {
    /// Makes a segment ahead of its use.
    Prepare { node: String, sequence: u64, size: u64 },
    /// Writes the index of a full segment.
    Index { sequence: u64, extent: Extent, index: Arc<Index> },
}

pub(super) enum Done {
    Prepared(Result<Segment, Fault>),
    Indexed { sequence: u64, result: Result<(), Fault> },
}

impl Job {
    fn run(self, disk: &dyn Disk) -> Done {
        match self {
            Self::Prepare { node, sequence, size } => {
                Done::Prepared(Segment::prepare(disk, &node, sequence, size))
            }
            Self::Index { sequence, extent, index } => {
                let result = beside::write(disk, sequence, &extent, &index);
                Done::Indexed { sequence, result }
            }
        }
    }
}

/// Does jobs one after the other, on a thread of its own or at once.
pub(super) struct Worker {
    disk: Arc<dyn Disk>,
    thread: Option<Thread>,
    /// Jobs whose outcome was not taken yet.
    waiting: usize,
    /// Outcomes of jobs that were done at once.
    done: Vec<Done>,
}

struct Thread {
    jobs: Sender<Job>,
    outcomes: Receiver<Done>,
    handle: JoinHandle<()>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Worker({} waiting)", self.waiting)
    }
}

impl Worker {
    /// A worker with a thread; where none can be had, or it is not wanted, jobs are done at once.
    pub(super) fn new(disk: &Arc<dyn Disk>, ahead: bool) -> Self {
        let thread = if ahead { Thread::begin(Arc::clone(disk)) } else { None };
        Self { disk: Arc::clone(disk), thread, waiting: 0, done: Vec::new() }
    }

    pub(super) fn give(&mut self, job: Job) {
        self.waiting += 1;
        let refused = match &self.thread {
            Some(thread) => thread.jobs.send(job).err().map(|error| error.0),
            None => Some(job),
        };
        if let Some(job) = refused {
            self.done.push(job.run(&*self.disk));
        }
    }

    /// An outcome that is there; `wait`: one that will be, if any will.
    pub(super) fn take(&mut self, wait: bool) -> Option<Done> {
        let done = self.done.pop().or_else(|| {
            let thread = self.thread.as_ref().filter(|_| self.waiting > 0)?;
            if wait { thread.outcomes.recv().ok() } else { thread.outcomes.try_recv().ok() }
        })?;
        self.waiting = self.waiting.saturating_sub(1);
        Some(done)
    }

    /// Whether outcomes are to come.
    pub(super) fn is_busy(&self) -> bool {
        self.waiting > 0
    }

    /// Lets the thread finish what it was given and ends it.
    pub(super) fn stop(&mut self) {
        if let Some(Thread { jobs, outcomes, handle }) = self.thread.take() {
            drop(jobs);
            // A job that panicked leaves an unfinished file, which the next opening makes anew.
            let _ = handle.join();
            drop(outcomes);
        }
    }
}

impl Thread {
    fn begin(disk: Arc<dyn Disk>) -> Option<Self> {
        let (jobs, given) = channel::<Job>();
        let (put, outcomes) = channel();
        let work = move || {
            for job in given {
                if put.send(job.run(&*disk)).is_err() {
                    break;
                }
            }
        };
        let handle = std::thread::Builder::new().name("streams".to_owned()).spawn(work).ok()?;
        Some(Self { jobs, outcomes, handle })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}
