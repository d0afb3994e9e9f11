//! One connection: its transport, its machine, and what waits to be written.

use std::io;
use std::panic::AssertUnwindSafe;

use doorward_core::fix::session::Session;
use doorward_core::id::{AccessKeyId, CompId, FirmCode, OperatorId, SessionId};
use doorward_core::limits::Limit;
use doorward_core::stream::{Numbers, StreamKey};
use doorward_core::time::{Mono, Wall};

use super::silent::Rank;
use super::transport::Transport;
use crate::doors::proxy_header::Pending;
use crate::gate::Origin;

/// The largest buffer that is kept for another connection.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// Spare buffers that are kept.
const SPARE_MAX: usize = Limit::FixSpareBuffers.max() as usize;

/// Buffers of connections that have nothing to write, for those that will.
#[derive(Debug, Default)]
pub(super) struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// Puts bytes behind what a buffer holds; one without memory gets a spare one's.
    pub(super) fn append(&mut self, buffer: &mut Vec<u8>, bytes: &[u8]) {
        if buffer.capacity() == 0 {
            *buffer = self.0.pop().unwrap_or_default();
        }
        buffer.extend_from_slice(bytes);
    }

    /// Takes a buffer back, unless there are enough or it is large.
    pub(super) fn give(&mut self, mut buffer: Vec<u8>) {
        if (1..=KEPT_BYTES_MAX).contains(&buffer.capacity()) && self.0.len() < SPARE_MAX {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

/// What is expected of the peer next.
#[derive(Debug)]
pub(super) enum Stage {
    /// The header of a proxy.
    Proxy(Pending),
    /// The TLS handshake.
    Handshake,
    /// Messages.
    Open,
    /// We have ended our side; what the peer still says is not listened to.
    Lingering,
}

/// Who is logged on.
#[derive(Debug, Default)]
pub(super) struct LoggedOn {
    pub(super) since: Wall,
    pub(super) comp: Option<CompId>,
    pub(super) operator: Option<OperatorId>,
    pub(super) access_key: Option<AccessKeyId>,
    pub(super) firm: Option<FirmCode>,
    pub(super) session: Option<SessionId>,
}

/// One connection.
pub(super) struct Connection {
    pub(super) transport: Transport,
    pub(super) session: Session,
    /// Place of its listener.
    pub(super) listener: usize,
    pub(super) rank: Rank,
    pub(super) origin: Origin,
    pub(super) stage: Stage,
    /// When the stage ends by itself, other than [`Stage::Open`].
    pub(super) stage_until: Mono,
    /// Bytes to be written; `written` of them have been.
    pub(super) out: Vec<u8>,
    pub(super) written: usize,
    /// The poller tells when it can be written.
    pub(super) wants_write: bool,
    /// What was said in this turn waits for the commit of the stream log.
    pub(super) waits: bool,
    /// It is among those of this turn.
    pub(super) touched: bool,
    /// More may be there to be read.
    pub(super) again: bool,
    /// The peer has ended its side.
    pub(super) read_closed: bool,
    /// Nothing follows what is in `out`; `Some(true)`: with a lingering end.
    pub(super) closing: Option<bool>,
    /// Somebody waits whether this one is still there.
    pub(super) challenged: bool,
    /// When the timer wakes for it.
    pub(super) armed: Option<Mono>,
    /// The stream that it holds.
    pub(super) stream: Option<StreamKey>,
    /// The stream's numbers as the machine stated them last.
    pub(super) stated: Option<Numbers>,
    /// Its numbers from before a reset that waits for the commit.
    pub(super) before: Option<Box<Numbers>>,
    /// Who is logged on, or about to be.
    pub(super) logging_on: Option<Box<LoggedOn>>,
    /// Logged on by the listener's count.
    pub(super) counted: bool,
    /// Watches for the end of the person who is logging on.
    pub(super) watch: Option<tokio::task::JoinHandle<()>>,
    /// Something was asked of the gate: it is told when the connection goes.
    pub(super) asked: bool,
    /// Its machine broke off: it is asked nothing more.
    pub(super) is_broken: bool,
}

/// What became of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wrote {
    /// Everything.
    All,
    /// The socket is full.
    Some,
}

impl Connection {
    /// Gives its machine something. One that breaks off harms nobody else: it only ever changes itself, and what it was
    /// about to say is not carried out.
    pub(super) fn tell(&mut self, input: impl FnOnce(&mut Session)) {
        let told = std::panic::catch_unwind(AssertUnwindSafe(|| input(&mut self.session)));
        self.is_broken |= told.is_err();
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    /// Writes as much as the socket takes.
    pub(super) fn write(&mut self) -> io::Result<Wrote> {
        if self.written < self.out.len() {
            self.written += self.transport.write(&self.out[self.written..])?;
        }
        let flushed = self.transport.flush()?;
        if self.written < self.out.len() {
            // What was written makes room once it is the greater part.
            if self.written > self.out.len() / 2 {
                self.out.drain(..self.written);
                self.written = 0;
            }
            return Ok(Wrote::Some);
        }
        self.out.clear();
        self.written = 0;
        Ok(if flushed { Wrote::All } else { Wrote::Some })
    }

    /// When it has to be looked at again.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let stage = match self.stage {
            Stage::Open => None,
            Stage::Proxy(_) | Stage::Handshake | Stage::Lingering => Some(self.stage_until),
        };
        match (stage, self.session.deadline()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_as_many_buffers_are_kept_as_there_may_be_and_none_that_is_large() {
        let mut pool = Pool::default();
        for _ in 0..SPARE_MAX + 5 {
            pool.give(Vec::with_capacity(100));
        }
        assert_eq!(pool.0.len(), SPARE_MAX);
        pool.0.clear();
        pool.give(Vec::with_capacity(KEPT_BYTES_MAX + 1));
        pool.give(Vec::new());
        assert!(pool.0.is_empty());
    }
}
