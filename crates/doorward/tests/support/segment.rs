//! A segment of a real journal taken apart and put together again, by the byte layout that `src/journal/mod.rs` tells: what
//! somebody can do who may write every file of the machine.
#![allow(dead_code, clippy::unwrap_used, reason = "test code; each file of tests uses its part of this")]

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

const SECTOR: usize = 512;
const FRAME_HEAD: usize = 56;

/// A batch.
#[derive(Clone)]
pub(crate) struct Frame {
    /// Number of its first record.
    pub(crate) first: u64,
    /// What was appended.
    pub(crate) records: Vec<Vec<u8>>,
    /// The chain's hash of its last record.
    pub(crate) hash: [u8; 32],
}

/// A segment without a seal.
#[derive(Clone)]
pub(crate) struct Segment {
    folder: PathBuf,
    header: Vec<u8>,
    size: usize,
    /// Its batches.
    pub(crate) frames: Vec<Frame>,
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn name(first: u64) -> String {
    format!("{first:020}.seg")
}

fn chained(before: [u8; 32], no: u64, record: &[u8]) -> [u8; 32] {
    let text = [&before[..], &no.to_be_bytes(), record].concat();
    digest(&SHA256, &text).as_ref().try_into().unwrap()
}

impl Segment {
    /// Reads the segment that begins with record 1.
    pub(crate) fn read(folder: &Path) -> Self {
        let bytes = std::fs::read(folder.join(name(1))).unwrap();
        let (header, mut at, mut frames) = (bytes[..SECTOR].to_vec(), SECTOR, Vec::new());
        while bytes[at..at + 4] == *b"\xF5DWF" {
            let length = number(&bytes[at + 4..at + 8]) as usize;
            let mut body = &bytes[at + FRAME_HEAD..at + FRAME_HEAD + length];
            let mut records = Vec::new();
            while let Some((length, rest)) = body.split_first_chunk::<4>() {
                let (record, rest) = rest.split_at(number(length) as usize);
                records.push(record.to_vec());
                body = rest;
            }
            let hash = bytes[at + 24..at + 56].try_into().unwrap();
            frames.push(Frame { first: number(&bytes[at + 16..at + 24]), records, hash });
            at += FRAME_HEAD + length.next_multiple_of(8);
        }
        Self { folder: folder.to_owned(), header, size: bytes.len(), frames }
    }

    /// Writes it in place of what is there, with every checksum right.
    pub(crate) fn write(&self) {
        let salt = &self.header[SECTOR - 4..];
        let mut bytes = self.header.clone();
        for Frame { first, records, hash } in &self.frames {
            let mut body = Vec::new();
            for record in records {
                body.extend_from_slice(&u32::try_from(record.len()).unwrap().to_be_bytes());
                body.extend_from_slice(record);
            }
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            let count = u32::try_from(records.len()).unwrap().to_be_bytes();
            body.resize(body.len().next_multiple_of(8), 0);
            let before = [&b"\xF5DWF"[..], &length].concat();
            let behind = [&count[..], &first.to_be_bytes(), hash, &body].concat();
            let crc = crc32fast::hash(&[salt, &before, &behind].concat());
            bytes.extend([before, crc.to_be_bytes().to_vec(), behind].concat());
        }
        bytes.resize(self.size, 0);
        let first = number(&self.header[24..32]);
        std::fs::remove_file(self.folder.join(name(1))).unwrap();
        std::fs::write(self.folder.join(name(first)), bytes).unwrap();
    }

    /// Changes a word in the first record that has it, to one as long; the place of its batch.
    pub(crate) fn edit(&mut self, word: &str, other: &str) -> usize {
        let has = |record: &[u8]| record.windows(word.len()).position(|part| part == word.as_bytes());
        for (nth, frame) in self.frames.iter_mut().enumerate() {
            for record in &mut frame.records {
                if let Some(at) = has(record) {
                    record[at..at + word.len()].copy_from_slice(other.as_bytes());
                    return nth;
                }
            }
        }
        panic!("no record has {word}");
    }

    /// Numbers and chains all records anew.
    pub(crate) fn chain_anew(&mut self) {
        let mut no = number(&self.header[24..32]);
        let mut hash: [u8; 32] = self.header[32..64].try_into().unwrap();
        for frame in &mut self.frames {
            frame.first = no;
            for record in &frame.records {
                hash = chained(hash, no, record);
                no += 1;
            }
            frame.hash = hash;
        }
    }

    /// The hash of a record, as the batches are chained now.
    pub(crate) fn hash_of(&self, wanted: u64) -> [u8; 32] {
        let mut hash: [u8; 32] = self.header[32..64].try_into().unwrap();
        let records = self.frames.iter().flat_map(|frame| &frame.records);
        for (no, record) in (number(&self.header[24..32])..=wanted).zip(records) {
            hash = chained(hash, no, record);
        }
        hash
    }

    /// Takes the first batch away, and has the segment say that it begins behind it.
    pub(crate) fn behead(&mut self) {
        let frame = self.frames.remove(0);
        self.header[24..32].copy_from_slice(&self.frames[0].first.to_be_bytes());
        self.header[32..64].copy_from_slice(&frame.hash);
        let salt = crc32fast::hash(&self.header[..SECTOR - 4]);
        self.header[SECTOR - 4..].copy_from_slice(&salt.to_be_bytes());
    }
}
