//! Signed heads: where the chain stood at a time, in a file beside the segments and in the log.
//!
//! # Format, version 1
//!
//! `heads` is text: one line a head, only ever appended to; empty lines are nothing. Fields are separated by one space:
//!
//! | field | |
//! |-------|-|
//! | `doorward-head-1` | the format |
//! | node | the node's name, percent-encoded (RFC 3986) |
//! | count | number of this head in the file, from 1 without gaps |
//! | kind | `at`: the journal stands here; `dropped-to:` and the SHA-256 of the book set aside: retention dropped all records
//! up to here |
//! | head | number of the record, `:`, its hash in hexadecimal digits |
//! | time | of the node's wall clock, RFC 3339 in UTC with milliseconds |
//! | key | the first 16 hexadecimal digits of the SHA-256 of the public key (RFC 8410, DER) |
//! | signature | Ed25519 over all before the space in front of it, in base64url without padding |
//!
//! A head's hash stands for all records up to it. A line is synced before it is told to the log, and only a head
//! that is durable is signed: so of two copies the file is never behind the log, and the journal never behind either.
//! A crash may leave the last line unfinished; opening overwrites it with line feeds.

use std::fmt;
use std::io;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use doorward_core::text::percent_encoded;
use doorward_core::time::Wall;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use super::disk::{Disk, DiskFile, fault};
use super::recover::damaged;
use super::{Hash, Head};
use crate::fault::Fault;

/// The file of signed heads.
pub const HEADS_FILE: &str = "heads";
/// Public keys of those who signed them, as the node knows them.
pub const HEAD_KEYS_FILE: &str = "heads.pem";
/// How a line begins.
const FORMAT: &str = "doorward-head-1";
/// Longest line with its end, in bytes: 520 with the longest name and numbers.
pub(crate) const LINE_BYTES_MAX: u64 = 640;
/// RFC 8410, 4: what comes before the 32 bytes of an Ed25519 key.
const SPKI_BEFORE: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// Who signed: the public half of an Ed25519 key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadKey([u8; KEY_BYTES]);

impl HeadKey {
    /// From the 32 bytes of RFC 8032.
    pub const fn new(public: [u8; KEY_BYTES]) -> Self {
        Self(public)
    }

    /// The 32 bytes of RFC 8032.
    pub const fn public(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    fn spki(&self) -> Vec<u8> {
        [&SPKI_BEFORE[..], &self.0].concat()
    }

    /// What a line calls it.
    pub fn id(&self) -> String {
        HEXLOWER.encode(&digest(&SHA256, &self.spki()).as_ref()[..8])
    }

    /// As others read it: `-----BEGIN PUBLIC KEY-----`.
    pub fn pem(&self) -> String {
        let body = BASE64.encode(&self.spki());
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")
    }

    /// All keys in a file; the error says what is wrong with it.
    pub fn parse_all(pem: &[u8]) -> Result<Vec<Self>, String> {
        let mut keys = Vec::new();
        for der in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
            let der = der.map_err(|error| format!("not PEM: {error}"))?;
            let public = der.as_ref().strip_prefix(&SPKI_BEFORE[..]).and_then(|key| key.try_into().ok());
            keys.push(Self(public.ok_or("a public key that is not Ed25519")?));
        }
        if keys.is_empty() { Err("no public key in it".to_owned()) } else { Ok(keys) }
    }
}

/// What a head says of the journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeadKind {
    /// It stands here.
    At,
    /// Retention dropped all records up to here.
    DroppedTo {
        /// SHA-256 of the book that was set aside for it.
        book: Hash,
    },
}

const AT: &str = "at";
const DROPPED_TO: &str = "dropped-to:";

impl HeadKind {
    fn parse(word: &str) -> Option<Self> {
        if word == AT {
            return Some(Self::At);
        }
        let book = HEXLOWER.decode(word.strip_prefix(DROPPED_TO)?.as_bytes()).ok()?;
        Some(Self::DroppedTo { book: book.try_into().ok()? })
    }
}

impl fmt::Display for HeadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At => f.write_str(AT),
            Self::DroppedTo { book } => write!(f, "{DROPPED_TO}{}", HEXLOWER.encode(book)),
        }
    }
}

/// What is signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The node's name, percent-encoded.
    node: String,
    /// Number of the head in its file, from 1 without gaps.
    pub count: u64,
    /// What it says of the journal.
    pub kind: HeadKind,
    /// Where the chain stood.
    pub head: Head,
    /// When, in whole milliseconds.
    pub at: Wall,
}

impl Checkpoint {
    /// Of a node; the time is cut to milliseconds.
    pub fn new(node: &str, count: u64, kind: HeadKind, head: Head, at: Wall) -> Self {
        let at = Wall::from_us(at.as_ms().saturating_mul(1_000));
        Self { node: percent_encoded(node), count, kind, head, at }
    }

    /// The node's name, percent-encoded.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Whether it is of this node.
    pub fn is_of(&self, node: &str) -> bool {
        self.node == percent_encoded(node)
    }

    /// The bytes to be signed with a key.
    pub fn text(&self, key: &HeadKey) -> String {
        self.text_by(&key.id())
    }

    fn text_by(&self, key: &str) -> String {
        let Self { node, count, kind, head, at } = self;
        format!("{FORMAT} {node} {count} {kind} {head} {at} {key}")
    }
}

/// A head and who vouches for it. [`Display`](fmt::Display) is its line, without the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedHead {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// Names the key; see [`HeadKey::id`].
    pub key: String,
    signature: [u8; SIGNATURE_BYTES],
}

impl SignedHead {
    /// A checkpoint with the signature of [`Checkpoint::text`].
    pub fn new(checkpoint: Checkpoint, key: &HeadKey, signature: [u8; SIGNATURE_BYTES]) -> Self {
        Self { checkpoint, key: key.id(), signature }
    }

    /// Reads a line; `None` unless it is just as [`Display`](fmt::Display) writes it.
    pub fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ').skip(1);
        let node = fields.next()?.to_owned();
        let count = fields.next()?.parse().ok()?;
        let kind = HeadKind::parse(fields.next()?)?;
        let head = Head::parse(fields.next()?)?;
        let at = Wall::parse(fields.next()?)?;
        let key = fields.next()?.to_owned();
        let signature = BASE64URL_NOPAD.decode(fields.next()?.as_bytes()).ok()?.try_into().ok()?;
        let read = Self { checkpoint: Checkpoint { node, count, kind, head, at }, key, signature };
        (read.to_string() == line).then_some(read)
    }

    /// Finds one within a line of a log.
    pub fn find_in(line: &str) -> Option<Self> {
        let begin = line.find(FORMAT)?;
        let of_line = |c: char| c.is_ascii_alphanumeric() || " -._~%:".contains(c);
        let rest = &line[begin..];
        let rest = &rest[..rest.find(|c: char| !of_line(c)).unwrap_or(rest.len())];
        let fields: Vec<&str> = rest.splitn(9, ' ').take(8).collect();
        Self::parse(&fields.join(" "))
    }

    /// Whether this key signed it.
    pub fn is_signed_by(&self, key: &HeadKey) -> bool {
        let text = self.checkpoint.text_by(&self.key);
        let signed = UnparsedPublicKey::new(&ED25519, key.public()).verify(text.as_bytes(), &self.signature);
        self.key == key.id() && signed.is_ok()
    }
}

impl fmt::Display for SignedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = BASE64URL_NOPAD.encode(&self.signature);
        write!(f, "{} {signature}", self.checkpoint.text_by(&self.key))
    }
}

/// Body for fuzzing: any bytes are lines and keys that are written as they were read, or none.
pub fn fuzz_heads(bytes: &[u8]) {
    let key = HeadKey::new([7; KEY_BYTES]);
    for line in String::from_utf8_lossy(bytes).lines() {
        if let Some(head) = SignedHead::parse(line) {
            assert_eq!(head.to_string(), line, "two forms of a line");
            assert!(!head.is_signed_by(&key), "signed by nobody");
        }
        if let Some(head) = SignedHead::find_in(line) {
            let text = head.to_string();
            assert!(line.contains(&text), "a head that is not in the line");
            assert_eq!(SignedHead::parse(&text), Some(head));
        }
    }
    if let Ok(keys) = HeadKey::parse_all(bytes) {
        let text: String = keys.iter().map(HeadKey::pem).collect();
        assert_eq!(HeadKey::parse_all(text.as_bytes()), Ok(keys), "keys that do not read back");
    }
}

/// The file of signed heads, open for appending. It has one owner; readers need only the disk.
pub struct Heads {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    /// Where the next line goes.
    end: u64,
    last: Option<SignedHead>,
    /// The last that says where the journal stood.
    last_at: Option<SignedHead>,
}

impl fmt::Debug for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Heads({}, at {})", self.disk.place(), self.end)
    }
}

impl Heads {
    /// Opens the file on a journal's disk, or makes it, and overwrites an unfinished last line.
    ///
    /// [`Fault::Damaged`] where more than a crash leaves does not read back; lines before the last are not looked at.
    pub fn open(disk: Arc<dyn Disk>) -> Result<Self, Fault> {
        let failed = |error: io::Error| fault(&*disk, HEADS_FILE, &error);
        let file = match disk.open(HEADS_FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = disk.create(HEADS_FILE).map_err(failed)?;
                disk.sync_dir().map_err(failed)?;
                file
            }
            opened => opened.map_err(failed)?,
        };
        let tail = Tail::read(&*file).map_err(failed)?;
        let torn = tail.torn_to.saturating_sub(tail.torn_from);
        if torn > LINE_BYTES_MAX {
            return Err(damaged(&*disk, HEADS_FILE, tail.torn_from, "lines that are no signed heads"));
        }
        let mend = || {
            if let Some((at, line)) = &tail.last {
                // Written again, not only synced: if the last sync failed, the disk may lack what reads back well.
                file.write_at(*at, format!("{line}\n").as_bytes())?;
            }
            if torn > 0 {
                file.write_at(tail.torn_from, &vec![b'\n'; torn as usize])?;
            }
            file.sync_data()?;
            disk.sync_dir()
        };
        mend().map_err(failed)?;
        let (end, last_at) = (tail.end, tail.last_at);
        Ok(Self { end, last: tail.last.map(|(_, line)| line), last_at, disk, file })
    }

    /// The last head in the file.
    pub fn last(&self) -> Option<&SignedHead> {
        self.last.as_ref()
    }

    /// The last head in the file that says where the journal stood.
    pub fn last_at(&self) -> Option<&SignedHead> {
        self.last_at.as_ref()
    }

    /// Number of the next head.
    pub fn next_count(&self) -> u64 {
        self.last.as_ref().map_or(1, |last| last.checkpoint.count.saturating_add(1))
    }

    /// Appends a head durably. After a failure the next one takes its place.
    pub fn append(&mut self, head: SignedHead) -> Result<(), Fault> {
        let line = format!("{head}\n");
        let written = self.file.write_at(self.end, line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| fault(&*self.disk, HEADS_FILE, &error))?;
        self.end = self.end.saturating_add(line.len() as u64);
        if head.checkpoint.kind == HeadKind::At {
            self.last_at = Some(head.clone());
        }
        self.last = Some(head);
        Ok(())
    }
}

/// Whether there is a signed head beside a journal. Empty lines are none: a first head that was cut off leaves them.
pub fn has_head(disk: &dyn Disk) -> Result<bool, Fault> {
    let read = match disk.open(HEADS_FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.and_then(|file| Tail::read(&*file)),
    };
    read.map(|tail| tail.last.is_some()).map_err(|error| fault(disk, HEADS_FILE, &error))
}

/// How the file ends.
struct Tail {
    /// The last line that reads back, and where it begins.
    last: Option<(u64, SignedHead)>,
    last_at: Option<SignedHead>,
    /// What stands behind it and is neither a head nor empty; both the same where there is nothing.
    torn_from: u64,
    torn_to: u64,
    end: u64,
}

impl Tail {
    /// Reads backwards until there is a line that reads back.
    fn read(file: &dyn DiskFile) -> io::Result<Self> {
        let end = file.len()?;
        let mut window = 8 * LINE_BYTES_MAX;
        loop {
            let from = end.saturating_sub(window);
            let mut bytes = vec![0; usize::try_from(end - from).map_err(io::Error::other)?];
            let read = file.read_at(from, &mut bytes)?;
            bytes.truncate(read);
            let tail = Self::of(&bytes, from, end);
            if tail.last_at.is_some() || from == 0 || window > 1 << 20 {
                return Ok(tail);
            }
            window *= 8;
        }
    }

    fn of(bytes: &[u8], from: u64, end: u64) -> Self {
        let mut tail = Self { last: None, last_at: None, torn_from: end, torn_to: end, end };
        let mut at = 0;
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let place = from + at as u64;
            at += piece.len();
            match line_of(piece) {
                Line::Head(head) => {
                    if head.checkpoint.kind == HeadKind::At {
                        tail.last_at = Some(SignedHead::clone(&head));
                    }
                    tail.last = Some((place, *head));
                    (tail.torn_from, tail.torn_to) = (end, end);
                }
                Line::Empty => {}
                Line::Unreadable => {
                    tail.torn_from = tail.torn_from.min(place);
                    tail.torn_to = from + at as u64;
                }
            }
        }
        tail
    }
}

/// What a piece of the file up to and with a line feed is.
pub(super) enum Line {
    Head(Box<SignedHead>),
    Empty,
    /// No head, or without its end.
    Unreadable,
}

pub(super) fn line_of(piece: &[u8]) -> Line {
    if piece == b"\n" {
        return Line::Empty;
    }
    let line = piece.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
    line.and_then(SignedHead::parse).map_or(Line::Unreadable, |head| Line::Head(Box::new(head)))
}
