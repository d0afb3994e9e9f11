//! Stored messages of a stream, for whoever operates the node: those of epochs that are over, too.

use doorward_core::limits::Limit;
use doorward_core::stream::{Epoch, Numbers, StreamKey};

use super::door::Door;
use super::mailbox::Unfit;
use super::seats::Seat;
use crate::streams::StoredMessage;

/// Messages that are read for one answer.
const COUNT_MAX: usize = Limit::MessagesShown.max() as usize;
/// The same in bytes.
const BYTES_MAX: usize = 1 << 20;

/// Which messages of a stream are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoredWanted {
    /// The stream.
    pub stream: StreamKey,
    /// The incarnation; the present one where it is `None`.
    pub epoch: Option<Epoch>,
    /// The first MsgSeqNum (34).
    pub from: u64,
    /// Most messages; no more than [`Limit::MessagesShown`] come at once, and no more than 1 MiB.
    pub limit: usize,
}

/// Messages to the client as they are stored, ascending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// The incarnation that they are of.
    pub epoch: Epoch,
    /// The messages.
    pub messages: Vec<StoredMessage>,
    /// Where the next ones begin, if there are more.
    pub next: Option<u64>,
    /// All incarnations of which messages are there.
    pub epochs: Vec<Epoch>,
}

impl Door {
    pub(super) fn show_stored(&mut self, wanted: &StoredWanted) -> Result<Stored, Unfit> {
        let StoredWanted { stream, epoch, from, limit } = wanted;
        let numbers = self.numbers_of(stream).ok_or_else(|| {
            Unfit::Unknown(format!("{stream}: nobody has used it yet, or it is no stream of this node"))
        })?;
        let epoch = epoch.unwrap_or(numbers.epoch);
        let failed = |fault: crate::fault::Fault| Unfit::NotRead(fault.to_string());
        let log = &self.shared.log;
        let limit = (*limit).min(COUNT_MAX);
        let messages = log.read(stream, epoch, *from..=u64::MAX, limit, BYTES_MAX).map_err(failed)?;
        let behind = messages.last().map(|last| last.number + 1);
        let next = match behind {
            Some(next) if log.count(stream, epoch, next..=u64::MAX).map_err(failed)? > 0 => Some(next),
            Some(_) | None => None,
        };
        Ok(Stored { epoch, messages, next, epochs: log.epochs(stream) })
    }

    /// Where a stream stands, whoever holds it.
    fn numbers_of(&mut self, stream: &StreamKey) -> Option<Numbers> {
        match self.shared.seats.get_mut(stream) {
            Some(Seat::Free(state)) => Some(state.numbers),
            Some(Seat::Held { token, .. }) => {
                let held = self.connections.get(*token).and_then(|connection| connection.session.numbers());
                held.or_else(|| self.shared.log.numbers_of(stream))
            }
            None => None,
        }
    }
}
