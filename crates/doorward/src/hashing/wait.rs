//! Waiting until an instant to the microsecond: timers of the runtime count whole milliseconds, by which a refusal that
//! was not hashed could be told from one that was (S1).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// How long before an instant the thread stops sleeping, which the kernel may draw out by half as much, and looks at the
/// clock instead.
const CLOSE: Duration = Duration::from_micros(100);

/// One thread on which any number of tasks wait, the earliest first.
pub(super) struct Waiter {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    due: Mutex<Due>,
    wake: Condvar,
}

#[derive(Default)]
struct Due {
    waiting: BinaryHeap<Reverse<Wait>>,
    stopping: bool,
}

struct Wait {
    until: Instant,
    reply: oneshot::Sender<()>,
}

impl PartialEq for Wait {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}

impl Eq for Wait {}

impl PartialOrd for Wait {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Wait {
    fn cmp(&self, other: &Self) -> Ordering {
        self.until.cmp(&other.until)
    }
}

impl Waiter {
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("hash-wait".to_owned()).spawn(move || own.work())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Waits until an instant, or until the waiter goes.
    pub(super) async fn until(&self, until: Instant) {
        let (reply, over) = oneshot::channel();
        self.shared.locked().waiting.push(Reverse(Wait { until, reply }));
        self.shared.wake.notify_one();
        // Fails only where the waiter has gone.
        let _ = over.await;
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.shared.locked().stopping = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // Nothing in it panics.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut due = self.locked();
        while !due.stopping {
            let left = due
                .waiting
                .peek()
                .map(|Reverse(first)| first.until.saturating_duration_since(Instant::now()));
            due = match left {
                None => self.wake.wait(due).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left > CLOSE => {
                    let waited = self.wake.wait_timeout(due, left - CLOSE);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                Some(_) => {
                    let first = due.waiting.pop();
                    drop(due);
                    if let Some(Reverse(Wait { until, reply })) = first {
                        while Instant::now() < until {
                            std::hint::spin_loop();
                        }
                        // Whoever waited may be gone.
                        let _ = reply.send(());
                    }
                    self.locked()
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn s1_nobody_is_let_go_before_the_instant_and_the_earliest_goes_first() {
        let waiter = Waiter::start().unwrap();
        let now = Instant::now();
        let order = std::cell::RefCell::new(Vec::new());
        let wait = |ms: u64| {
            let (waiter, order) = (&waiter, &order);
            async move {
                waiter.until(now + Duration::from_millis(ms)).await;
                assert!(now.elapsed() >= Duration::from_millis(ms));
                order.borrow_mut().push(ms);
            }
        };
        tokio::join!(wait(30), wait(10), wait(0), wait(20));
        assert_eq!(order.into_inner(), [0, 10, 20, 30]);
    }

    #[tokio::test]
    async fn who_is_gone_holds_nobody_up_and_a_waiter_that_goes_lets_all_go() {
        let waiter = Waiter::start().unwrap();
        let far = Instant::now() + Duration::from_secs(3_600);
        drop(waiter.until(far));
        waiter.until(Instant::now()).await;
        let (reply, over) = oneshot::channel();
        waiter.shared.locked().waiting.push(Reverse(Wait { until: far, reply }));
        drop(waiter);
        assert!(over.await.is_err());
    }
}
