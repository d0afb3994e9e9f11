//! What the poller tells of a connection, and the bytes that came.

use doorward_core::audit::Deny;
use doorward_core::fix::profile::Credentials;
use doorward_core::time::Now;
use mio::Interest;
use mio::event::Event;
use zeroize::Zeroize as _;

use super::connection::{Connection, Stage};
use super::door::{DOOR, Door, READ_BYTES};
use super::slab::Token;
use super::transport::{Got, Transport};
use crate::doors::proxy_header::HeaderFault;
use crate::doors::source::Source;
use crate::metrics;

/// Bytes of one connection in one turn; the others get their turn first.
const TURN_BYTES_MAX: usize = 4 * READ_BYTES;
/// Connections that go on with their TLS handshakes in one turn: each costs up to a signature, and whoever is logged on
/// waits for it.
const HANDSHAKES_MAX: usize = 8;

impl Door {
    pub(super) fn connection_event(&mut self, token: Token, event: &Event, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.read_closed |= event.is_read_closed() || event.is_error();
        if event.is_writable() && connection.wants_write {
            self.touch(token);
        }
        let Some(connection) = self.connections.get_mut(token) else { return };
        if (event.is_readable() || connection.read_closed) && !connection.again {
            if matches!(connection.stage, Stage::Handshake) {
                self.shake_later(token);
            } else {
                self.read(token, now);
            }
        }
    }

    fn shake_later(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token) {
            connection.again = true;
            self.shaking.push_back(token);
        }
    }

    /// Goes on with some TLS handshakes; the others have to wait for the next turn.
    pub(super) fn shake_hands(&mut self, now: Now) {
        let mut left = HANDSHAKES_MAX;
        while left > 0 {
            let Some(token) = self.shaking.pop_front() else { return };
            let Some(connection) = self.connections.get_mut(token) else { continue };
            connection.again = false;
            left -= 1;
            self.read(token, now);
            self.settle_if_much(now);
        }
    }

    /// Reads what is there and gives it to the machine.
    pub(super) fn read(&mut self, token: Token, now: Now) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let has_passwords = self.has_passwords(token);
        let (mut taken, mut most) = (0, 0);
        while let Some(connection) = self.connections.get_mut(token) {
            let room = match &connection.stage {
                // Not one byte of what follows the header.
                Stage::Proxy(pending) => pending.lacks().unwrap_or(0).min(READ_BYTES),
                Stage::Handshake | Stage::Open | Stage::Lingering => READ_BYTES,
            };
            let got = match &mut connection.stage {
                Stage::Proxy(_) => connection.transport.read_raw(&mut buffer[..room]),
                Stage::Handshake | Stage::Open | Stage::Lingering => {
                    connection.transport.read(&mut buffer[..room])
                }
            };
            let (bytes, more) = match got {
                Ok(Got::More(read)) => (read, true),
                Ok(Got::Last(read)) => (read, read > 0 && connection.read_closed),
                Ok(Got::Closed) => {
                    self.closed_by_peer(token, now);
                    break;
                }
                Err(error) => {
                    tracing::debug!(%error, source = %connection.origin.source, "tls");
                    self.tls_failed(token, now);
                    break;
                }
            };
            let is_header = matches!(connection.stage, Stage::Proxy(_));
            taken += bytes;
            most = most.max(bytes);
            self.take_bytes(token, &buffer[..bytes], now);
            let begins = |connection: &Connection| is_header && matches!(connection.stage, Stage::Handshake);
            if self.connections.get(token).is_some_and(begins) {
                // What follows the header may be there already.
                self.shake_later(token);
                break;
            }
            if !more {
                break;
            }
            if taken >= TURN_BYTES_MAX {
                self.read_again(token);
                break;
            }
        }
        if has_passwords {
            buffer[..most].zeroize();
        }
        self.buffer = buffer;
        self.arm(token);
    }

    /// Whether what comes may hold a password, which must not stay in the buffer (rule 9).
    fn has_passwords(&self, token: Token) -> bool {
        let Some(connection) = self.connections.get(token) else { return false };
        let profile = self.listeners[connection.listener].settings.profile;
        matches!(profile.credentials, Credentials::Password)
    }

    fn read_again(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token) {
            connection.again = true;
            self.again.push(token);
        }
    }

    fn take_bytes(&mut self, token: Token, bytes: &[u8], now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        if bytes.is_empty() && !matches!(connection.stage, Stage::Handshake) {
            return;
        }
        if !matches!(connection.stage, Stage::Lingering) {
            self.listeners[connection.listener].silent.spoke(&mut connection.rank);
        }
        match &mut connection.stage {
            Stage::Proxy(pending) => {
                pending.take(bytes);
                self.proxy_header(token, now);
            }
            Stage::Handshake => {
                if !connection.transport.is_shaking_hands() {
                    connection.stage = Stage::Open;
                    if !bytes.is_empty() {
                        connection.tell(|session| session.receive(bytes, now));
                        self.drain(token, now);
                    }
                }
            }
            Stage::Open if connection.closing.is_none() => {
                connection.tell(|session| session.receive(bytes, now));
                self.drain(token, now);
                self.heard_of(token, now);
            }
            Stage::Open | Stage::Lingering => {}
        }
    }

    fn proxy_header(&mut self, token: Token, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let Stage::Proxy(pending) = &connection.stage else { return };
        let address = match pending.lacks() {
            Ok(0) => pending.address(),
            Ok(_) => return,
            Err(fault) => Err(fault),
        };
        match address {
            Ok(address) => {
                if let Some(address) = address {
                    connection.origin.source = Source::new(address).addr;
                }
                let shakes = connection.transport.is_shaking_hands();
                connection.stage = if shakes { Stage::Handshake } else { Stage::Open };
            }
            Err(fault) => {
                let fault = HeaderFault::from(fault);
                tracing::warn!(proxy = %connection.origin.source, "connection refused: {fault}");
                metrics::connection_refused(DOOR, "proxy-header");
                connection.session.fail(Deny::ProxyHeader, now);
                self.drain(token, now);
            }
        }
    }

    fn tls_failed(&mut self, token: Token, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        if matches!(connection.stage, Stage::Handshake) {
            metrics::connection_refused(DOOR, "tls");
        }
        connection.session.fail(Deny::TlsFailed, now);
        self.drain(token, now);
        self.forget(token, now);
    }

    fn closed_by_peer(&mut self, token: Token, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.session.closed_by_peer(now);
        self.drain(token, now);
        // What waits to be written has no reader any more, but what waits for the disk is to be settled first.
        if let Some(connection) = self.connections.get_mut(token) {
            connection.closing = Some(false);
            connection.written = connection.out.len();
        }
        self.touch(token);
    }

    /// Header, handshake or the last farewell took too long.
    pub(super) fn stage_over(&mut self, token: Token, now: Now) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        let reason = match connection.stage {
            Stage::Proxy(_) => Deny::ProxyHeader,
            Stage::Handshake => Deny::TlsFailed,
            Stage::Open => return,
            Stage::Lingering => return self.forget(token, now),
        };
        metrics::connection_refused(DOOR, if reason == Deny::TlsFailed { "tls" } else { "proxy-header" });
        connection.session.fail(reason, now);
        self.drain(token, now);
        self.forget(token, now);
    }

    /// A connection has something to be written or to be closed.
    pub(super) fn touch(&mut self, token: Token) {
        if let Some(connection) = self.connections.get_mut(token)
            && !connection.touched
        {
            connection.touched = true;
            self.shared.touched.push(token);
        }
    }

    /// Has the poller tell when a connection can be written, or no more.
    pub(super) fn want_write(&mut self, token: Token, wanted: bool) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        if connection.wants_write == wanted {
            return;
        }
        connection.wants_write = wanted;
        let interest = if wanted { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let stream = connection.transport.stream();
        if let Err(error) = self.poll.registry().reregister(stream, token.to_poller(), interest) {
            tracing::warn!(%error, "a connection cannot be waited for");
            connection.closing = Some(false);
        }
    }
}

impl Transport {
    /// Reads below TLS.
    pub(super) fn read_raw(&mut self, buffer: &mut [u8]) -> Result<Got, rustls::Error> {
        if buffer.is_empty() {
            return Ok(Got::Last(0));
        }
        Ok(super::transport::read_plain(self.stream(), buffer))
    }
}
