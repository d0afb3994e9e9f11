//! Behind the door: the venue that takes application messages and sends its own.
//!
//! What a backend is given was journalled before, or lies in the batch that is journalled next; if that fails, the
//! backend begins anew from the journal ([`Backend::restart`], then every message of the week again).

mod echo;
mod replies;
pub mod sim;

use doorward_core::fix::message::Message;
use doorward_core::stream::{Epoch, LeftBehind, StreamKey};
use doorward_core::time::Wall;

pub use echo::Echo;
pub use replies::{Body, Replies};

/// Where an application message comes from.
#[derive(Clone, Copy, Debug)]
pub struct From<'a> {
    /// Its stream.
    pub stream: &'a StreamKey,
    /// The incarnation of the stream.
    pub epoch: Epoch,
    /// Its MsgSeqNum (34): with stream and epoch it names the message for ever.
    pub number: u64,
    /// When it was journalled.
    pub at: Wall,
}

/// A venue.
pub trait Backend: Send {
    /// Takes one application message; what it has to say to this or other streams goes to `replies`.
    ///
    /// The same messages in the same order give the same replies, so that a crash is made good by giving them again.
    fn deliver(&mut self, from: &From<'_>, message: &Message<'_>, replies: &mut Replies);

    /// Is told of messages that it sent to a stream and that the client had not fetched when its numbers began anew, at
    /// a new week or a reset. They are not sent again, but kept for `journal.keep_days`, to be read by stream and epoch.
    ///
    /// Told once; again only where a crash comes before the new numbers are durable. Stream and epoch name it. It is no
    /// part of what [`Backend::restart`] has given again.
    fn left_behind(&mut self, stream: &StreamKey, left: &LeftBehind);

    /// Forgets everything: the messages of the week are given again, or a new week begins.
    fn restart(&mut self);
}
