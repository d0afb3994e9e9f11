//! Takes connections from a listener, and never spins (S10).

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;

use super::admission::{Admission, Full, Slot};
use crate::metrics;

/// Connections that the kernel keeps until they are taken.
const BACKLOG: u32 = 1024;
/// How long an evicted connection may take to leave before the next one is let go instead.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(2);

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {address}: {error}; give another address in {key}, or end the program that has it")]
pub struct ListenFault {
    /// The configuration key to change.
    pub key: &'static str,
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub error: io::Error,
}

/// Listens on an address; `key` is the configuration key that names it. Port 0 takes a free one.
///
/// # Errors
/// Where the system refuses, such as for an address in use.
pub fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, ListenFault> {
    let try_listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        // Connections inherit it.
        socket.set_nodelay(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    try_listen().map_err(|error| ListenFault { key, address, error })
}

/// Takes connections until `stopping` is over, and hands each with its place to `serve`, which must not wait.
pub async fn accept(
    listener: &TcpListener,
    admission: &Arc<Admission>,
    stopping: impl Future<Output = ()>,
    mut serve: impl FnMut(TcpStream, SocketAddr, Slot),
) {
    let door = admission.door();
    let mut failures = Failures::default();
    tokio::pin!(stopping);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stopping => return,
            accepted = listener.accept() => accepted,
        };
        let pause = match accepted {
            Ok((stream, peer)) => {
                failures = Failures::default();
                metrics::connections_accepted(door, 1);
                let slot = tokio::select! {
                    biased;
                    () = &mut stopping => return,
                    slot = place(admission) => slot,
                };
                match slot {
                    Some(slot) => serve(stream, peer, slot),
                    None => metrics::connection_refused(door, "full"),
                }
                continue;
            }
            Err(error) => failures.pause(&error, admission),
        };
        tokio::select! {
            biased;
            () = &mut stopping => return,
            () = sleep(pause.span) => {}
            () = admission.freed(), if pause.until_freed => {}
        }
    }
}

/// A place for a connection, once those who were told to go have gone; `None` where there is none.
async fn place(admission: &Arc<Admission>) -> Option<Slot> {
    let mut waited = false;
    loop {
        match admission.admit() {
            Ok(slot) => return Some(slot),
            Err(Full::Everybody) => return None,
            Err(Full::MakingRoom) if waited => return None,
            Err(Full::MakingRoom) => {
                metrics::accept_paused(admission.door(), "full");
                waited = tokio::time::timeout(ROOM_WAIT_MAX, admission.freed()).await.is_err();
            }
        }
    }
}

/// What to wait for before the next try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pause {
    pub(super) span: Duration,
    /// A connection that closes ends the pause.
    pub(super) until_freed: bool,
}

/// Failures in a row.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Failures(u32);

impl Failures {
    /// Failures of single connections in a row that are not waited for: each took one from the queue.
    const FREE: u32 = 16;
    const SPAN_MIN: Duration = Duration::from_millis(20);
    const SPAN_MAX: Duration = Duration::from_secs(1);

    fn pause(&mut self, error: &io::Error, admission: &Admission) -> Pause {
        let pause = self.told(error, admission.door());
        if pause.until_freed {
            admission.evict_oldest();
        }
        pause
    }

    /// The next pause, measured and logged.
    pub(super) fn told(&mut self, error: &io::Error, door: &'static str) -> Pause {
        let pause = self.next(error);
        if pause.until_freed {
            metrics::accept_paused(door, "descriptors");
        } else if !pause.span.is_zero() {
            metrics::accept_paused(door, "error");
        }
        // The first says it; a flood says it no more often.
        if self.0 == 1 || self.0.is_multiple_of(100) {
            tracing::warn!(door, failures = self.0, %error, "connections cannot be taken");
        }
        pause
    }

    fn next(&mut self, error: &io::Error) -> Pause {
        self.0 = self.0.saturating_add(1);
        let grown = |failures: u32| {
            let factor = 1_u32 << failures.saturating_sub(1).min(10);
            (Self::SPAN_MIN * factor).min(Self::SPAN_MAX)
        };
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                Pause { span: grown(self.0), until_freed: true }
            }
            Some(_) | None if self.0 <= Self::FREE => Pause { span: Duration::ZERO, until_freed: false },
            Some(_) | None => Pause { span: grown(self.0 - Self::FREE), until_freed: false },
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::super::admission::Limits;
    use super::*;

    const TEST_MAX: Duration = Duration::from_secs(20);

    #[test]
    fn s10_without_descriptors_the_pauses_grow_to_a_second_and_end_when_one_is_freed() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS] {
            let mut failures = Failures::default();
            let spans: Vec<u128> = (0..100)
                .map(|_| failures.next(&errno.into()))
                .inspect(|pause| assert!(pause.until_freed))
                .map(|pause| pause.span.as_millis())
                .collect();
            assert_eq!(spans[..8], [20, 40, 80, 160, 320, 640, 1000, 1000]);
            assert!(spans[8..].iter().all(|span| *span == 1000));
        }
    }

    #[test]
    fn s10_a_lost_connection_delays_nobody_but_a_broken_listener_does_not_spin() {
        let mut failures = Failures::default();
        for at in 1..=200_u32 {
            let pause = failures.next(&Errno::CONNABORTED.into());
            assert_eq!(pause.span.is_zero(), at <= Failures::FREE, "{at}");
            assert!(!pause.until_freed);
        }
    }

    #[tokio::test]
    async fn s10_the_oldest_silent_connection_is_closed_for_a_new_one() {
        let listener = listen("ws.listen", ([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let admission = Admission::new("test", Limits { open_max: 5, silent_max: 3 });
        let serving = accept(&listener, &admission, std::future::pending(), |stream, _, slot| {
            tokio::spawn(async move {
                slot.evicted().await;
                drop((stream, slot));
            });
        });
        let clients = async {
            let mut streams = Vec::new();
            for _ in 0..43 {
                streams.push(TcpStream::connect(address).await.unwrap());
            }
            for stream in &mut streams[..40] {
                assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
            }
            // The last three are still there: they have their places.
            assert_eq!(admission.counts().1, 3);
        };
        tokio::select! {
            () = serving => panic!("the loop ended"),
            done = tokio::time::timeout(TEST_MAX, clients) => done.unwrap(),
        }
    }

    #[tokio::test]
    async fn the_loop_ends_when_the_server_stops() {
        let listener = listen("ws.listen", ([127, 0, 0, 1], 0).into()).unwrap();
        let admission = Admission::new("test", Limits { open_max: 2, silent_max: 1 });
        let stopped = accept(&listener, &admission, std::future::ready(()), |_, _, _| {});
        tokio::time::timeout(TEST_MAX, stopped).await.unwrap();
    }

    #[tokio::test]
    async fn an_address_in_use_names_the_key_to_change() {
        let first = listen("ws.listen", ([127, 0, 0, 1], 0).into()).unwrap();
        let fault = listen("ws.listen", first.local_addr().unwrap()).unwrap_err().to_string();
        assert!(fault.starts_with("ws.listen: 127.0.0.1:") && fault.contains("in use"), "{fault}");
    }
}
