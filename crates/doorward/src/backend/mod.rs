//! Behind the door: the venue that takes application messages and sends its own.
//!
//! What a backend is given was journalled before, or lies in the batch that is journalled next; if that fails, the
//! backend begins anew from the journal ([`Backend::restart`], then every message of the week again).

mod echo;
mod replies;
pub mod sim;

use doorward_core::fix::message::Message;
use doorward_core::stream::{Epoch, StreamKey};
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

    /// Forgets everything: the messages of the week are given again, or a new week begins.
    fn restart(&mut self);
}
