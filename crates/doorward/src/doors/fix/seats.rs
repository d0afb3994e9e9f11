//! Who holds which stream.

use std::collections::HashMap;

use doorward_core::ask::AskId;
use doorward_core::fix::session::StreamState;
use doorward_core::stream::StreamKey;

use super::slab::Token;

/// A connection that wants a stream which another one holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Challenger {
    pub(super) token: Token,
    pub(super) ask: AskId,
}

/// Where a stream is.
#[derive(Debug)]
pub(super) enum Seat {
    /// Here: nobody is logged on.
    Free(Box<StreamState>),
    /// With a connection.
    Held {
        token: Token,
        /// Waits whether that one is still there.
        challenger: Option<Challenger>,
    },
}

/// Streams by their keys. Only Logons that were found good name one, so strangers add none.
#[derive(Debug, Default)]
pub(super) struct Seats {
    all: HashMap<StreamKey, Seat>,
}

impl Seats {
    pub(super) fn get_mut(&mut self, stream: &StreamKey) -> Option<&mut Seat> {
        self.all.get_mut(stream)
    }

    /// The connection that holds a stream.
    pub(super) fn holder(&self, stream: &StreamKey) -> Option<Token> {
        match self.all.get(stream)? {
            Seat::Free(_) => None,
            Seat::Held { token, .. } => Some(*token),
        }
    }

    /// Keeps a stream that nobody holds; returns who was waiting for it.
    pub(super) fn keep(&mut self, stream: StreamKey, state: StreamState) -> Option<Challenger> {
        match self.all.insert(stream, Seat::Free(Box::new(state))) {
            Some(Seat::Held { challenger, .. }) => challenger,
            Some(Seat::Free(_)) | None => None,
        }
    }

    /// Gives a stream to a connection; `fresh` makes one that was never used. `None` where another one holds it.
    pub(super) fn take(
        &mut self,
        stream: StreamKey,
        token: Token,
        fresh: impl FnOnce() -> StreamState,
    ) -> Option<StreamState> {
        let held = Seat::Held { token, challenger: None };
        match self.all.get_mut(&stream) {
            Some(Seat::Held { .. }) => None,
            Some(seat) => match std::mem::replace(seat, held) {
                Seat::Free(state) => Some(*state),
                Seat::Held { .. } => None,
            },
            None => {
                self.all.insert(stream, held);
                Some(fresh())
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&StreamKey, &Seat)> {
        self.all.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

#[cfg(test)]
mod tests {
    use doorward_core::stream::{Epoch, Numbers};

    use super::super::slab::Slab;
    use super::*;

    #[test]
    fn a_stream_has_one_holder_and_comes_back_with_its_numbers() {
        let mut slab = Slab::default();
        let one = slab.vacant();
        slab.insert(one, ());
        let two = slab.vacant();
        slab.insert(two, ());
        let stream = StreamKey::parse("cgw/ABC/001").unwrap();
        let mut seats = Seats::default();
        let fresh = || StreamState::with(Numbers::new(Epoch::default()));
        let mut state = seats.take(stream, one, fresh).unwrap();
        assert_eq!(seats.take(stream, two, fresh), None);
        assert_eq!(seats.holder(&stream), Some(one));
        let waiting = Challenger { token: two, ask: AskId(7) };
        if let Some(Seat::Held { challenger, .. }) = seats.get_mut(&stream) {
            *challenger = Some(waiting);
        }
        state.numbers.next_in = 44;
        assert_eq!(seats.keep(stream, state), Some(waiting));
        assert_eq!(seats.take(stream, two, fresh).unwrap().numbers.next_in, 44);
        assert_eq!((seats.len(), seats.holder(&stream)), (1, Some(two)));
    }
}
