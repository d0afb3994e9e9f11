//! Takes connections, as many as may stay, and never spins (S10).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::audit::{Deny, Door as DoorKind};
use doorward_core::fix::session::Session;
use doorward_core::time::Now;
use mio::Interest;
use mio::net::TcpStream;

use super::connection::{Connection, Stage};
use super::door::{DOOR, Door};
use super::silent::{Rank, Room};
use super::transport::Transport;
use crate::doors::proxy_header::Pending;
use crate::doors::source::Source;
use crate::doors::tls::{HANDSHAKE_MAX, Tls};
use crate::gate::{Connection as GateConnection, Origin, new_attempt};
use crate::metrics;

/// Connections that one listener takes in one turn; the others get their turn first.
const TURN_MAX: usize = 256;
/// Longest time for a PROXY protocol header.
const HEADER_MAX: Duration = Duration::from_secs(5);

impl Door {
    /// Takes connections from every listener that may have some.
    pub(super) fn take_connections(&mut self, now: Now) {
        for at in 0..self.listeners.len() {
            let listener = &mut self.listeners[at];
            if listener.paused_until.is_some_and(|until| now.mono < until) || !listener.ready {
                continue;
            }
            listener.paused_until = None;
            for _ in 0..TURN_MAX {
                if !self.take_connection(at, now) {
                    break;
                }
            }
        }
    }

    /// Takes one; whether there may be more.
    fn take_connection(&mut self, at: usize, now: Now) -> bool {
        let listener = &mut self.listeners[at];
        match listener.socket.accept() {
            Ok((stream, peer)) => {
                listener.failures = crate::doors::accept::Failures::default();
                self.counts.accepted += 1;
                self.admit(at, stream, peer, now);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                listener.ready = false;
                false
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) => {
                let pause = listener.failures.told(&error, DOOR);
                if pause.span.is_zero() {
                    return true;
                }
                listener.paused_until = Some(now.mono + pause.span);
                let oldest = listener.silent.oldest().filter(|_| pause.until_freed);
                if let Some(oldest) = oldest {
                    self.evict(oldest, now);
                }
                false
            }
        }
    }

    fn admit(&mut self, at: usize, stream: TcpStream, peer: SocketAddr, now: Now) {
        match self.listeners[at].silent.room() {
            Room::Free => {}
            Room::InPlaceOf(oldest) => self.evict(oldest, now),
            Room::None => return metrics::connection_refused(DOOR, "full"),
        }
        let listener = &mut self.listeners[at];
        let transport = match Transport::new(stream, listener.tls.as_ref().map(Tls::plain_protocol)) {
            Ok(transport) => transport,
            Err(error) => {
                tracing::error!(%error, listener = listener.name, "tls");
                return metrics::connection_refused(DOOR, "tls");
            }
        };
        let (stage, limit) = if listener.is_proxy(peer) {
            (Stage::Proxy(Pending::default()), HEADER_MAX)
        } else if transport.is_shaking_hands() {
            (Stage::Handshake, HANDSHAKE_MAX)
        } else {
            (Stage::Open, Duration::ZERO)
        };
        let origin = Origin {
            door: DoorKind::Fix,
            source: Source::new(peer.ip()).addr,
            attempt: new_attempt(),
            connection: Arc::new(GateConnection::default()),
        };
        let token = self.connections.vacant();
        let connection = Connection {
            transport,
            session: Session::new(Arc::clone(&listener.settings), now),
            listener: at,
            rank: Rank::LoggedOn,
            origin,
            stage,
            stage_until: now.mono + limit,
            out: Vec::new(),
            written: 0,
            wants_write: false,
            waits: false,
            touched: false,
            again: false,
            read_closed: false,
            closing: None,
            challenged: false,
            armed: None,
            stream: None,
            stated: None,
            before: None,
            logging_on: None,
            counted: false,
            watch: None,
            asked: false,
            is_broken: false,
        };
        self.connections.insert(token, connection);
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.rank = self.listeners[at].silent.enter(token);
        let registered = self.poll.registry().register(
            connection.transport.stream(),
            token.to_poller(),
            Interest::READABLE,
        );
        if let Err(error) = registered {
            tracing::warn!(%error, "a connection cannot be waited for");
            return self.forget(token, now);
        }
        self.arm(token);
    }

    /// Closes the oldest silent connection without a word, to make room.
    fn evict(&mut self, token: super::slab::Token, now: Now) {
        metrics::connection_evicted(DOOR);
        if let Some(connection) = self.connections.get_mut(token) {
            connection.session.fail(Deny::Evicted, now);
        }
        self.drain(token, now);
        self.forget(token, now);
    }
}
