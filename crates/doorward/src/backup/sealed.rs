//! The closed part of a backup: chunks under AES-256-GCM that can neither be changed, cut, moved nor left out.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::fault::Fault;

/// Bytes of the content in one chunk.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of a tag (NIST SP 800-38D, 5.2.1.2).
const TAG_BYTES: usize = 16;

/// How many bytes so much content takes when it is closed.
pub(super) const fn sealed_bytes(content: u64) -> u64 {
    let chunks = content.div_ceil(CHUNK_BYTES as u64);
    let chunks = if chunks == 0 { 1 } else { chunks };
    content.saturating_add(chunks.saturating_mul(TAG_BYTES as u64))
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, Fault> {
    let key = UnboundKey::new(&AES_256_GCM, key);
    key.map(LessSafeKey::new).map_err(|_| Fault::Vault(String::from("no AES-256-GCM key")))
}

/// A key closes one backup only, so a counter never repeats under it.
fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

/// Closes what is written into it. [`Sealer::finish`] ends it; without, nothing of it opens as a whole.
pub(super) struct Sealer<W: Write> {
    out: W,
    cipher: LessSafeKey,
    bound: [u8; 32],
    number: u64,
    chunk: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    pub(super) fn new(out: W, key: &[u8; 32], bound: [u8; 32]) -> Result<Self, Fault> {
        let chunk = Vec::with_capacity(CHUNK_BYTES + TAG_BYTES);
        Ok(Self { out, cipher: cipher(key)?, bound, number: 0, chunk })
    }

    pub(super) fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.chunk.len() == CHUNK_BYTES {
                self.close(false)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Closes the last chunk.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.close(true)?;
        Ok(self.out)
    }

    fn close(&mut self, last: bool) -> io::Result<()> {
        let nonce = nonce(self.number, last);
        let tag = self
            .cipher
            .seal_in_place_separate_tag(nonce, Aad::from(self.bound), &mut self.chunk)
            .map_err(|_| io::Error::other("sealing failed"))?;
        self.out.write_all(&self.chunk)?;
        self.out.write_all(tag.as_ref())?;
        self.chunk.clear();
        self.number += 1;
        Ok(())
    }
}

/// Opens chunk after chunk.
pub(super) struct Opener<R: Read> {
    from: R,
    name: PathBuf,
    cipher: LessSafeKey,
    bound: [u8; 32],
    number: u64,
    /// Where the next chunk begins in the file.
    at: u64,
    /// Bytes of chunks that are still to come.
    left: u64,
    chunk: Vec<u8>,
    /// What of the chunk was given out.
    given: usize,
}

impl<R: Read> Opener<R> {
    /// From where the first chunk begins; `left` is how many bytes of chunks there must be.
    pub(super) fn new(
        from: R,
        name: &Path,
        key: &[u8; 32],
        bound: [u8; 32],
        (at, left): (u64, u64),
    ) -> Result<Self, Fault> {
        let (chunk, name) = (Vec::new(), name.to_owned());
        Ok(Self { from, name, cipher: cipher(key)?, bound, number: 0, at, left, chunk, given: 0 })
    }

    /// Fills a buffer.
    pub(super) fn take(&mut self, mut into: &mut [u8]) -> Result<(), Fault> {
        while !into.is_empty() {
            let here = self.some(into.len())?;
            if here.is_empty() {
                return Err(self.damaged("the content ends too early"));
            }
            let (now, later) = into.split_at_mut(here.len());
            now.copy_from_slice(here);
            into = later;
        }
        Ok(())
    }

    /// The next bytes of the content, at most so many; none at its end.
    pub(super) fn some(&mut self, most: usize) -> Result<&[u8], Fault> {
        if self.given == self.chunk.len() && self.left > 0 {
            self.open()?;
        }
        let begin = self.given;
        self.given = self.chunk.len().min(begin.saturating_add(most));
        Ok(&self.chunk[begin..self.given])
    }

    /// Opens what is left, so that all of it was looked at.
    pub(super) fn finish(mut self) -> Result<(), Fault> {
        if self.given < self.chunk.len() || self.left > 0 && !self.some(1)?.is_empty() {
            return Err(self.damaged("the content goes on behind its end"));
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), Fault> {
        let most = (CHUNK_BYTES + TAG_BYTES) as u64;
        let (here, last) = (self.left.min(most), self.left <= most);
        self.chunk.clear();
        self.given = 0;
        let read = self.from.by_ref().take(here).read_to_end(&mut self.chunk);
        read.map_err(|error| Fault::disk(&self.name, &error))?;
        if (self.chunk.len() as u64) < here {
            let end = self.at.saturating_add(self.chunk.len() as u64);
            return Err(Fault::Damaged(format!(
                "{}: the file is cut off at byte {end}",
                self.name.display()
            )));
        }
        let nonce = nonce(self.number, last);
        let opened = self.cipher.open_in_place(nonce, Aad::from(self.bound), &mut self.chunk);
        let Ok(length) = opened.map(|plain| plain.len()) else {
            self.chunk.clear();
            return Err(self.damaged("the chunk that begins here, or the header, is not as it was written"));
        };
        self.chunk.truncate(length);
        self.number += 1;
        self.at = self.at.saturating_add(here);
        self.left -= here;
        Ok(())
    }

    pub(super) fn damaged(&self, what: &str) -> Fault {
        Fault::Damaged(format!("{}: at byte {}: {what}", self.name.display(), self.at))
    }
}

/// Opens chunks in any order.
pub(super) struct Chunks {
    file: File,
    cipher: LessSafeKey,
    bound: [u8; 32],
    /// Where the first chunk begins in the file.
    begin: u64,
    /// Bytes of the content.
    content: u64,
    /// The chunk opened last, with its number.
    held: Mutex<Option<(u64, Vec<u8>)>>,
}

impl Chunks {
    /// Of chunks that begin at a place of a file and hold so many bytes of content.
    pub(super) fn new(
        file: File,
        key: &[u8; 32],
        bound: [u8; 32],
        (begin, content): (u64, u64),
    ) -> Result<Self, Fault> {
        Ok(Self { file, cipher: cipher(key)?, bound, begin, content, held: Mutex::new(None) })
    }

    /// Fills a buffer with the content from `at` on.
    pub(super) fn read_at(&self, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        while !into.is_empty() {
            let number = at / CHUNK_BYTES as u64;
            let chunk = match held.take() {
                Some((opened, chunk)) if opened == number => chunk,
                Some(_) | None => self.open(number)?,
            };
            let here = chunk.get((at % CHUNK_BYTES as u64) as usize..).unwrap_or_default();
            if here.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (now, later) = into.split_at_mut(here.len().min(into.len()));
            now.copy_from_slice(&here[..now.len()]);
            at += now.len() as u64;
            into = later;
            *held = Some((number, chunk));
        }
        Ok(())
    }

    fn open(&self, number: u64) -> io::Result<Vec<u8>> {
        let left = self.content.saturating_sub(number.saturating_mul(CHUNK_BYTES as u64));
        let (here, last) = (left.min(CHUNK_BYTES as u64) as usize, left <= CHUNK_BYTES as u64);
        let mut chunk = vec![0; here + TAG_BYTES];
        let at = number.saturating_mul((CHUNK_BYTES + TAG_BYTES) as u64).saturating_add(self.begin);
        self.file.read_exact_at(&mut chunk, at)?;
        let opened = self.cipher.open_in_place(nonce(number, last), Aad::from(self.bound), &mut chunk);
        let Ok(length) = opened.map(|plain| plain.len()) else {
            return Err(io::Error::other(format!("the chunk at byte {at} is not as it was written")));
        };
        chunk.truncate(length);
        Ok(chunk)
    }
}
