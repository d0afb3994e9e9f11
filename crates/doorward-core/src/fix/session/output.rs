//! What a session hands out, and the queue in which it waits for `poll`.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use crate::ask::{Ask, AskId, SignedLogon};
use crate::audit::{Actor, Deny, Event, Record};
use crate::fix::message::{Indexed, Indexes, Message};
use crate::id::FirmCode;
use crate::stream::{Epoch, LeftBehind, Numbers, StreamKey};

/// Something for the shell to do, in order.
#[derive(Debug)]
pub enum Output<'a> {
    /// Have a signed Logon judged; the answer comes to [`Session::judged`](super::Session::judged).
    Judge(AskId, Box<SignedLogon>),
    /// Ask the gate about a Logon with a password; the answer comes to [`Session::verdict`](super::Session::verdict).
    Ask(AskId, Box<Ask>),
    /// Take the stream for this connection; the answer comes to [`Session::claimed`](super::Session::claimed).
    Claim(AskId, Claim),
    /// Commit the record of a Logon, accepted or refused, with the stream's numbers where they move; the answer comes
    /// to [`Session::saved`](super::Session::saved). One in session moves none: a [`Self::SaveNumbers`] does, before
    /// its answer.
    SaveLogon(AskId, Box<Record>, Option<Numbers>),
    /// An application message from the client: durable before its `Deliver`.
    SaveInbound {
        /// The incarnation of the stream.
        epoch: Epoch,
        /// Its MsgSeqNum (34).
        number: u64,
        /// The whole message.
        message: &'a [u8],
    },
    /// An application message to the client: durable before the `Send` that follows, if one does.
    SaveOutbound {
        /// The incarnation of the stream.
        epoch: Epoch,
        /// Its MsgSeqNum (34).
        number: u64,
        /// The whole message.
        message: &'a [u8],
    },
    /// Where the stream stands.
    SaveNumbers {
        /// The statement.
        numbers: Numbers,
        /// Whether it must be durable before the next `Send`; where not, it is durable before any output of a later
        /// turn is acted on.
        durable: bool,
    },
    /// An application message to the back end.
    Deliver {
        /// The incarnation of the stream.
        epoch: Epoch,
        /// Its MsgSeqNum (34).
        number: u64,
        /// The whole message, as it was read when it came.
        message: Message<'a>,
    },
    /// Send these bytes to the peer.
    Send(&'a [u8]),
    /// Read stored outbound messages, those that were saved before in this turn too; the answer comes to
    /// [`Session::stored`](super::Session::stored), when the peer has read what was sent before.
    Read(AskId, ReadRange),
    /// Write something down that needed no decision.
    Note(Box<Note>),
    /// Close the connection when all is sent; nothing follows.
    Close(Close),
}

/// A stream that a Logon wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// Which one.
    pub stream: StreamKey,
    /// MsgSeqNum (34) of the Logon.
    pub seq_num: u64,
    /// How the Logon wants to go on.
    pub wants: Wants,
}

/// How a Logon wants to go on with its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wants {
    /// Where it stands.
    ToGoOn,
    /// At 1 again.
    ToBegin,
    /// It will be refused whoever holds the stream.
    Nothing,
}

impl Claim {
    /// Whether a connection that holds the stream with these numbers is to be probed for this claim's sake.
    pub const fn deserves_probe(&self, held: &Numbers) -> bool {
        match self.wants {
            Wants::ToGoOn => self.seq_num == held.next_in,
            Wants::ToBegin => true,
            Wants::Nothing => false,
        }
    }
}

/// Stored outbound messages, by MsgSeqNum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadRange {
    /// The stream.
    pub stream: StreamKey,
    /// Its incarnation.
    pub epoch: Epoch,
    /// The first number.
    pub from: u64,
    /// The last number.
    pub to: u64,
    /// Most messages to give at once. Fewer may be given; none means that none is stored in the range.
    pub count_max: u32,
}

/// Something that the machine saw and the gate did not decide.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// What happened.
    pub event: Event,
    /// Who it was, as far as that is known.
    pub actor: Actor,
    /// Whose firm it concerns.
    pub firm: Option<FirmCode>,
    /// The stream that was held.
    pub stream: Option<StreamKey>,
    /// Why, where it was a refusal.
    pub reason: Option<Deny>,
    /// Which messages, for [`Event::UndeliveredLeft`]: the shell, which has them, counts those that are stored.
    pub left: Option<LeftBehind>,
}

/// Why a connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Close {
    /// `None` after an orderly Logout.
    pub reason: Option<Deny>,
}

/// Bytes in the arena.
#[derive(Clone, Debug)]
struct Span {
    start: u32,
    end: u32,
}

/// An output whose bytes lie in the arena.
#[derive(Clone, Debug)]
enum Item {
    Judge(AskId, Box<SignedLogon>),
    Ask(AskId, Box<Ask>),
    Claim(AskId, Box<Claim>),
    SaveLogon(AskId, Box<(Box<Record>, Option<Numbers>)>),
    SaveInbound(Epoch, u64, Span),
    SaveOutbound(Epoch, u64, Span),
    SaveNumbers(Box<Numbers>, bool),
    Deliver(Epoch, u64, Span, Indexed),
    Send(Span),
    Read(AskId, Box<ReadRange>),
    Note(Box<Note>),
    Close(Close),
}

/// Outputs in their order, and the one buffer that holds their bytes: it is used again once all are taken.
#[derive(Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Outbox {
    items: VecDeque<Item>,
    /// Where messages are built.
    pub(super) arena: Vec<u8>,
    /// Of the messages to the back end.
    indexes: Indexes,
    asks: u64,
    /// The memory is given back once all are taken.
    give_back: bool,
}

/// What an idle session's buffer may keep, in bytes.
const IDLE_BYTES_MAX: usize = 256;
/// What an idle session's queue may keep, in outputs.
const IDLE_ITEMS_MAX: usize = 8;

impl fmt::Debug for Outbox {
    /// How much waits, and none of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("outputs", &self.items.len())
            .field("bytes", &self.arena.len())
            .finish_non_exhaustive()
    }
}

impl Outbox {
    fn span(range: &Range<usize>) -> Span {
        // holds: inputs and what they lead to are bounded far below 4 GiB; a wrong span would only be an empty one.
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { start: narrow(range.start), end: narrow(range.end) }
    }

    fn ask(&mut self) -> AskId {
        self.asks += 1;
        AskId(self.asks)
    }

    pub(super) fn judge(&mut self, logon: Box<SignedLogon>) -> AskId {
        let id = self.ask();
        self.items.push_back(Item::Judge(id, logon));
        id
    }

    pub(super) fn ask_gate(&mut self, ask: Ask) -> AskId {
        let id = self.ask();
        self.items.push_back(Item::Ask(id, Box::new(ask)));
        id
    }

    pub(super) fn claim(&mut self, claim: Claim) -> AskId {
        let id = self.ask();
        self.items.push_back(Item::Claim(id, Box::new(claim)));
        id
    }

    pub(super) fn save_logon(&mut self, record: Box<Record>, numbers: Option<Numbers>) -> AskId {
        let id = self.ask();
        self.items.push_back(Item::SaveLogon(id, Box::new((record, numbers))));
        id
    }

    pub(super) fn read(&mut self, range: ReadRange) -> AskId {
        let id = self.ask();
        self.items.push_back(Item::Read(id, Box::new(range)));
        id
    }

    pub(super) fn save_inbound(&mut self, epoch: Epoch, number: u64, message: &Message<'_>) {
        let start = self.arena.len();
        self.arena.extend_from_slice(message.bytes());
        let indexed = self.indexes.keep(message);
        let span = Self::span(&(start..self.arena.len()));
        self.items.push_back(Item::SaveInbound(epoch, number, span.clone()));
        self.items.push_back(Item::Deliver(epoch, number, span, indexed));
    }

    pub(super) fn save_outbound(&mut self, epoch: Epoch, number: u64, range: &Range<usize>) {
        self.items.push_back(Item::SaveOutbound(epoch, number, Self::span(range)));
    }

    pub(super) fn save_numbers(&mut self, numbers: Numbers, durable: bool) {
        self.items.push_back(Item::SaveNumbers(Box::new(numbers), durable));
    }

    pub(super) fn send(&mut self, range: &Range<usize>) {
        self.items.push_back(Item::Send(Self::span(range)));
    }

    pub(super) fn note(&mut self, note: Note) {
        self.items.push_back(Item::Note(Box::new(note)));
    }

    pub(super) fn close(&mut self, reason: Option<Deny>) {
        self.items.push_back(Item::Close(Close { reason }));
    }

    pub(super) fn poll(&mut self) -> Option<Output<'_>> {
        let Some(item) = self.items.pop_front() else {
            self.arena.clear();
            self.indexes.clear();
            if std::mem::take(&mut self.give_back) {
                (self.items, self.arena) = (VecDeque::new(), Vec::new());
                self.indexes = Indexes::default();
            }
            return None;
        };
        let arena = &self.arena;
        let bytes = |span: Span| arena.get(span.start as usize..span.end as usize).unwrap_or_default();
        Some(match item {
            Item::Judge(id, logon) => Output::Judge(id, logon),
            Item::Ask(id, ask) => Output::Ask(id, ask),
            Item::Claim(id, claim) => Output::Claim(id, *claim),
            Item::SaveLogon(id, saved) => {
                let (record, numbers) = *saved;
                Output::SaveLogon(id, record, numbers)
            }
            Item::SaveInbound(epoch, number, span) => {
                Output::SaveInbound { epoch, number, message: bytes(span) }
            }
            Item::SaveOutbound(epoch, number, span) => {
                Output::SaveOutbound { epoch, number, message: bytes(span) }
            }
            Item::SaveNumbers(numbers, durable) => Output::SaveNumbers { numbers: *numbers, durable },
            Item::Deliver(epoch, number, span, indexed) => {
                let message = self.indexes.message(bytes(span), indexed);
                Output::Deliver { epoch, number, message }
            }
            Item::Send(span) => Output::Send(bytes(span)),
            Item::Read(id, range) => Output::Read(id, *range),
            Item::Note(note) => Output::Note(note),
            Item::Close(close) => Output::Close(close),
        })
    }

    /// The outputs of a Logon wait here, which are more than those of most inputs that follow: their memory is given
    /// back with the last one.
    pub(super) fn last_of_logon(&mut self) {
        self.give_back = true;
    }

    /// Gives memory back that an idle connection does not need.
    pub(super) fn shrink(&mut self) {
        if self.items.is_empty() && self.items.capacity() > IDLE_ITEMS_MAX {
            self.items = VecDeque::new();
        }
        if self.items.is_empty() && self.arena.capacity() > IDLE_BYTES_MAX {
            self.arena = Vec::new();
        }
        if self.items.is_empty() {
            self.indexes = Indexes::default();
        }
    }

    /// Bytes of memory in use.
    pub(super) fn memory(&self) -> usize {
        self.arena.capacity() + self.items.capacity() * size_of::<Item>() + self.indexes.memory()
    }
}
