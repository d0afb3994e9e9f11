//! Sends each application message back to where it came from, for tests.

use doorward_core::fix::message::{Message, body};
use doorward_core::stream::{LeftBehind, StreamKey};

use super::{Backend, From, Replies};

/// The echo.
#[derive(Debug, Default)]
pub struct Echo;

impl Backend for Echo {
    fn deliver(&mut self, from: &From<'_>, message: &Message<'_>, replies: &mut Replies) {
        replies.to(from.stream, message.msg_type()).raw(body(message.bytes())).say();
    }

    fn left_behind(&mut self, _: &StreamKey, _: &LeftBehind) {}

    fn restart(&mut self) {}
}
