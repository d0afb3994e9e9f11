//! What can go wrong in a FIX session, by whose doing.

use std::fmt;

use super::key::KeyError;
use super::store::StoreError;
use crate::{ClientError, printable};

/// What the server said when it did not let us in, or logged us out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Refusal {
    /// Text (58); may be empty.
    pub text: String,
    /// NextExpectedMsgSeqNum (789): the number that the server wants next. It comes only where the signature was good.
    pub next_expected: Option<u64>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "without a word" } else { "" })?;
        f.write_str(&printable(&self.text))?;
        match self.next_expected {
            Some(number) => write!(f, " (next expected: {number})"),
            None => Ok(()),
        }
    }
}

/// What the server did that no server may do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeerFault {
    /// SenderCompID (49) or TargetCompID (56) are not those of this session.
    #[error("a message of another session: {0}")]
    CompId(String),
    /// MsgSeqNum (34) is missing or no number.
    #[error("a message without MsgSeqNum (34)")]
    NoMsgSeqNum,
    /// Something else than a Logon or a Logout answered our Logon.
    #[error("a message of type {0} instead of a Logon")]
    NoLogon(String),
    /// A Logon in the middle of the session that we did not ask for, or that does not begin anew.
    #[error("an unexpected Logon")]
    UnexpectedLogon,
    /// MsgSeqNum (34) is lower than it may be.
    #[error("MsgSeqNum too low, expecting {expected} but received {received}")]
    TooLow {
        /// The lowest that is good.
        expected: u64,
        /// What came.
        received: u64,
    },
    /// Messages are missing and do not come although they were asked for.
    #[error("messages from {from} on are missing and were not sent again")]
    GapNotFilled {
        /// The first one that is missing.
        from: u64,
    },
    /// A message is longer than the limit.
    #[error("a message of more than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Too many garbled messages in a row.
    #[error("garbled bytes")]
    Garbled,
}

/// How a session ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The server refused the Logon; no number has moved.
    Refused(Refusal),
    /// The server logged us out.
    ByServer(Refusal),
    /// We logged out, and the server confirmed.
    LoggedOut(Refusal),
    /// We logged out, and the server did not confirm in time.
    Unconfirmed,
    /// The server did not answer our Logon in time.
    NoAnswer,
    /// Nothing came from the server, not even an answer to our Test Request.
    Silent,
    /// The connection broke without a Logout.
    Closed(String),
    /// The server did what it may not do.
    Peer(PeerFault),
    /// The numbers could not be kept.
    Store(StoreError),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the server refused the logon: {refusal}"),
            Self::ByServer(refusal) => write!(f, "the server logged us out: {refusal}"),
            Self::LoggedOut(refusal) if refusal.text.is_empty() => f.write_str("logged out"),
            Self::LoggedOut(refusal) => write!(f, "logged out: {refusal}"),
            Self::Unconfirmed => f.write_str("logged out, which the server did not confirm"),
            Self::NoAnswer => f.write_str("the server did not answer the Logon in time"),
            Self::Silent => f.write_str("nothing came from the server any more"),
            Self::Closed(why) if why.is_empty() => f.write_str("the connection was closed without a Logout"),
            Self::Closed(why) => write!(f, "the connection broke: {}", printable(why)),
            Self::Peer(fault) => write!(f, "the server broke the session: {}", printable(&fault.to_string())),
            Self::Store(error) => write!(f, "{error}"),
        }
    }
}

/// A failure of a call.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FixError {
    /// No connection could be made.
    #[error(transparent)]
    Connection(#[from] ClientError),
    /// The session has ended.
    #[error("{0}")]
    Ended(Ending),
    /// The numbers cannot be read or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key pair cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The caller asked for what cannot be done, or not now; nothing was sent.
    #[error(transparent)]
    Misuse(#[from] Misuse),
}

/// What the caller got wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Misuse {
    /// Before the Logon was answered, or after the end.
    #[error("not logged on")]
    NotLoggedOn,
    /// Between the beginning and the end of an in-session reset, or after a Logout was sent.
    #[error("a {0} is under way")]
    UnderWay(&'static str),
    /// A setting is out of its range.
    #[error("{0}")]
    Setting(&'static str),
    /// A message type that is none, or belongs to the session layer.
    #[error("message type: not 1 to 8 letters and digits, or one of the session layer (0-5, A)")]
    MsgType,
    /// A field that cannot be sent.
    #[error("field {tag}: {why}")]
    Field {
        /// Its tag.
        tag: u32,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The message would be longer than the limit.
    #[error("message: {bytes} bytes, at most {limit} fit")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}
