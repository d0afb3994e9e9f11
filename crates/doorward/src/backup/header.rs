//! The clear head of a backup: what it is of, and which key closes it.

use std::io::{self, Read, Write};
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use doorward_core::identity::sealed::Sealed;
use doorward_core::time::Wall;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::journal::Head;

const MAGIC: [u8; 8] = *b"\xF5DWBKUP\n";
const VERSION: u16 = 1;
const FIXED_BYTES: usize = 16;
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// What a backup says of itself to everybody. Only opening its first chunk shows that it is true.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// Names the backup: 32 hexadecimal digits.
    pub id: String,
    /// Of which node.
    pub node: String,
    /// By which release of Doorward.
    pub release: String,
    /// All that was acknowledged before this instant is in it.
    #[serde(rename = "made_us")]
    pub made_at: Wall,
    /// The first record of the journal in it.
    pub first: u64,
    /// The last record of the journal in it, and the hash that stands for all.
    #[serde(with = "head_as_text")]
    pub head: Head,
    /// The last record that the book in it shows; absent: there is none, it is made from the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub book: Option<u64>,
    /// Bytes of the content before it was closed.
    pub content_bytes: u64,
    /// What in it did not verify when it was made, where it was made all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<String>,
    /// What was wrong with the book, where it was made all the same: the journal makes it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub book_damaged: Option<String>,
    /// The key that closes it, wrapped.
    pub key: Sealed,
}

mod head_as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::Head;

    pub(super) fn serialize<S: Serializer>(head: &Head, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(head)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Head, D::Error> {
        let text = String::deserialize(deserializer)?;
        Head::parse(&text).ok_or_else(|| D::Error::custom("not NUMBER:HASH"))
    }
}

/// A header with what ties the chunks to it.
pub(super) struct Opened {
    pub(super) header: Header,
    /// SHA-256 of all bytes before the first chunk.
    pub(super) bound: [u8; 32],
    /// Where the first chunk begins.
    pub(super) end: u64,
}

/// Writes a header; what ties the chunks to it.
pub(super) fn write(header: &Header, out: &mut impl Write) -> io::Result<([u8; 32], u64)> {
    let json = serde_json::to_vec(header).map_err(io::Error::other)?;
    let mut bytes = Vec::with_capacity(FIXED_BYTES + json.len() + 4);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&u32::try_from(json.len()).map_err(io::Error::other)?.to_be_bytes());
    bytes.extend_from_slice(&json);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_be_bytes());
    out.write_all(&bytes)?;
    Ok((bound(&bytes), bytes.len() as u64))
}

/// Reads a header; `name` is the file's in the texts.
pub(super) fn read(name: &Path, from: &mut impl Read) -> Result<Opened, Fault> {
    let damaged = |at: usize, what: &str| Fault::Damaged(format!("{}: at byte {at}: {what}", name.display()));
    let mut bytes = Vec::new();
    take(name, from, FIXED_BYTES, &mut bytes)?;
    if bytes.len() < FIXED_BYTES || bytes[..8] != MAGIC {
        return Err(damaged(0, "this is no backup of Doorward"));
    }
    let version = u16::from_be_bytes([bytes[8], bytes[9]]);
    if version != VERSION {
        return Err(damaged(
            8,
            &format!(
                "the format version is {version}, this release reads {VERSION}: restore with the release that made it"
            ),
        ));
    }
    let length = u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) as usize;
    if length > HEADER_BYTES_MAX {
        return Err(damaged(
            12,
            &format!("a header of {length} bytes, above the limit of {HEADER_BYTES_MAX}"),
        ));
    }
    take(name, from, length + 4, &mut bytes)?;
    if bytes.len() < FIXED_BYTES + length + 4 {
        return Err(damaged(bytes.len(), "the file ends within its header"));
    }
    let (head, crc) = bytes.split_at(FIXED_BYTES + length);
    if crc != crc32fast::hash(head).to_be_bytes() {
        return Err(damaged(FIXED_BYTES, "the header is not as it was written: its checksum is wrong"));
    }
    let header = serde_json::from_slice(&head[FIXED_BYTES..])
        .map_err(|error| damaged(FIXED_BYTES, &format!("the header does not read: {error}")))?;
    Ok(Opened { header, bound: bound(&bytes), end: bytes.len() as u64 })
}

fn bound(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

fn take(name: &Path, from: &mut impl Read, count: usize, into: &mut Vec<u8>) -> Result<(), Fault> {
    let read = from.by_ref().take(count as u64).read_to_end(into);
    read.map(drop).map_err(|error| Fault::disk(name, &error))
}
