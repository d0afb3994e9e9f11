//! What a backend has to say: bodies of application messages, one behind the other in one buffer that is used again.

use std::ops::Range;

use doorward_core::fix::SOH;
use doorward_core::fix::build::{push_field, push_number, push_tag, push_time};
use doorward_core::stream::StreamKey;
use doorward_core::time::Wall;

/// A reply that was said.
#[derive(Clone, Debug)]
struct Reply {
    to: StreamKey,
    msg_type: Range<usize>,
    body: Range<usize>,
}

/// Replies in the order in which they are to be sent.
#[derive(Debug, Default)]
pub struct Replies {
    bytes: Vec<u8>,
    all: Vec<Reply>,
}

impl Replies {
    /// A buffer that holds no more than this is kept for the next use.
    const KEPT_BYTES_MAX: usize = 256 * 1024;

    /// Begins a message to a stream; it is said once the body is dropped.
    pub fn to(&mut self, stream: &StreamKey, msg_type: &[u8]) -> Body<'_> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(msg_type);
        let at = self.bytes.len();
        self.all.push(Reply { to: *stream, msg_type: start..at, body: at..at });
        Body { replies: self }
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Stream, MsgType (35) and body of a message: fields with their SOH, header and trailer apart.
    pub fn at(&self, index: usize) -> Option<(StreamKey, &[u8], &[u8])> {
        let reply = self.all.get(index)?;
        Some((reply.to, &self.bytes[reply.msg_type.clone()], &self.bytes[reply.body.clone()]))
    }

    /// Forgets all messages; the memory is kept for the next ones.
    pub fn clear(&mut self) {
        self.all.clear();
        self.bytes.clear();
        self.bytes.shrink_to(Self::KEPT_BYTES_MAX);
    }
}

/// The body of a message that is being said.
#[must_use = "a message without fields says nothing"]
pub struct Body<'a> {
    replies: &'a mut Replies,
}

impl Body<'_> {
    /// A field with this value; none where it is empty. A SOH in it becomes a space.
    #[inline]
    pub fn field(self, tag: u32, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        if !value.is_empty() {
            push_field(&mut self.replies.bytes, tag, value);
        }
        self
    }

    /// A field with this value, where there is one.
    pub fn maybe(self, tag: u32, value: Option<impl AsRef<[u8]>>) -> Self {
        match value {
            Some(value) => self.field(tag, value),
            None => self,
        }
    }

    /// A field with a number.
    #[inline]
    pub fn number(self, tag: u32, value: u64) -> Self {
        self.written(tag, |out| push_number(out, value))
    }

    /// A field whose value is written by another; it has no SOH.
    #[inline]
    pub fn written(self, tag: u32, value: impl FnOnce(&mut Vec<u8>)) -> Self {
        let out = &mut self.replies.bytes;
        push_tag(out, tag);
        value(out);
        out.push(SOH);
        self
    }

    /// A field with an instant, `YYYYMMDD-HH:MM:SS.sss`.
    pub fn time(self, tag: u32, value: Wall) -> Self {
        self.written(tag, |out| push_time(out, value))
    }

    /// Fields as they are, each with its SOH.
    pub fn raw(self, fields: &[u8]) -> Self {
        self.replies.bytes.extend_from_slice(fields);
        self
    }

    /// The message is whole.
    pub fn say(self) {}
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        let end = self.replies.bytes.len();
        if let Some(reply) = self.replies.all.last_mut() {
            reply.body.end = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_come_out_in_order_and_their_memory_is_used_again() {
        let stream = StreamKey::parse("cgw/ABC/001").unwrap();
        let mut replies = Replies::default();
        replies
            .to(&stream, b"8")
            .field(37, "o\x011")
            .number(38, 5)
            .maybe(58, None::<&str>)
            .field(58, "")
            .say();
        replies.to(&stream, b"j").raw(b"380=3\x01").say();
        assert_eq!(replies.len(), 2);
        assert_eq!(replies.at(0), Some((stream, &b"8"[..], &b"37=o 1\x0138=5\x01"[..])));
        assert_eq!(replies.at(1), Some((stream, &b"j"[..], &b"380=3\x01"[..])));
        assert_eq!(replies.at(2), None);
        replies.clear();
        assert!(replies.is_empty() && replies.bytes.capacity() > 0);
    }
}
