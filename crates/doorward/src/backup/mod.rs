//! Backups: one sealed file that holds a node's data, made while the node runs or without it; and the way back.
//!
//! What is in it is what a crash at one moment would have left: the journal up to a record, the book at that record or
//! before (replaying completes it), signed heads, the stream log, the configuration file. Neither the vault's key file
//! nor what opens it. [`make`] reads the files beside their owner; [`restore`] puts them into a new directory and voids
//! what may have been used since.
//!
//! # Format, version 1
//!
//! All integers are big-endian. A clear header, then chunks:
//!
//! | offset | bytes | field |
//! |-------:|------:|-------|
//! | 0 | 8 | magic: `F5` `DWBKUP` `0A` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | reserved, zero |
//! | 12 | 4 | length of the header, at most 64 KiB |
//! | 16 | | the header: [`Header`] as JSON |
//! | | 4 | CRC-32 (IEEE 802.3) of all before |
//! | | | chunks |
//!
//! A chunk is AES-256-GCM over 65,536 bytes of the content, the last one over the rest (0 to 65,536), with a tag of 16
//! bytes behind it. The key is random, of this backup alone, and wrapped by the vault in the header. The nonce is 3 zero
//! bytes, the chunk's number from 0 in 8 bytes, and 1 for the last chunk, else 0; associated data is the SHA-256 of all
//! bytes before the first chunk. So a header or chunk that was changed, cut off, left out, repeated, moved or taken from
//! another backup does not open.
//!
//! The content is a row of files: 2 bytes length of the name, the name, 8 bytes length of what is stored, 8 bytes length
//! of the file (the rest of it is zeros), what is stored. A name of length 0 ends it.

mod check;
mod content;
mod header;
mod make;
mod restore;
mod sealed;
mod source;
mod within;

#[cfg(test)]
mod tests;

pub use check::{Check, check, inspect};
pub use header::Header;
pub use make::{From, make};
pub use restore::{Restored, To, clock_fits, restore};

/// Told of progress: bytes done, and of how many.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Name of the configuration in a backup.
const CONFIG: &str = "doorward.toml";
/// Name of the book in a backup.
const BOOK: &str = "book.db";
/// Folder of the journal in a backup, as in the data directory.
const JOURNAL: &str = "journal";
/// Folder of the stream log in a backup, as in the data directory.
const STREAMS: &str = "streams";
