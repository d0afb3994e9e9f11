//! Sends each application message back to where it came from, for tests.

use doorward_core::fix::message::{Message, body};

use super::{Backend, From, Replies};

/// The echo.
#[derive(Debug, Default)]
pub struct Echo;

impl Backend for Echo {
    fn deliver(&mut self, from: &From<'_>, message: &Message<'_>, replies: &mut Replies) {
        replies.to(from.stream, message.msg_type()).raw(body(message.bytes())).say();
    }

    fn restart(&mut self) {}
}
