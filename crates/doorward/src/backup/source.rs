//! What goes into a backup, read beside the instance that writes it.
//!
//! Segments only ever grow at the end of the newest one, and a full one never changes. So the newest is read first, up to
//! where its frames end; those before it are then complete as they lie there.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::content::File;
use super::{JOURNAL, STREAMS};
use crate::fault::Fault;
use crate::journal::parts::{
    Frames, HEADER_BYTES, Header, LINE_BYTES_MAX, Tail, files, is_blank, numbered, read_whole,
};
use crate::journal::{Disk, HEAD_KEYS_FILE, HEADS_FILE, Head, RealDisk, SEGMENT_BYTES_MAX};

/// How the name of a book ends that was set aside for dropped records.
const ASIDE: &str = ".book";
/// How often a segment is read anew that a batch was written into meanwhile.
const TRIES: usize = 4;

/// A file of the backup and where its bytes are.
pub(super) struct Piece {
    pub(super) file: File,
    pub(super) bytes: Bytes,
}

pub(super) enum Bytes {
    /// Read already, as the file grows.
    Here(Vec<u8>),
    /// At the beginning of a file, which does not change any more.
    In(PathBuf),
}

impl Piece {
    /// A file whose bytes are read already.
    pub(super) fn here(name: String, bytes: Vec<u8>) -> Self {
        let stored = bytes.len() as u64;
        Self { file: File { name, stored, length: stored }, bytes: Bytes::Here(bytes) }
    }

    /// A file that does not change any more.
    pub(super) fn lying(name: String, path: PathBuf) -> Result<Self, Fault> {
        let length = fs::metadata(&path).map_err(|error| missing(&path, &error))?.len();
        Ok(Self { file: File { name, stored: length, length }, bytes: Bytes::In(path) })
    }

    /// The same of one that may be dropped meanwhile: a second name in `work` keeps it.
    fn kept(name: String, path: PathBuf, work: &Path) -> Result<Self, Fault> {
        let second = work.join(name.replace('/', "-"));
        match fs::hard_link(&path, &second) {
            Ok(()) => Self::lying(name, second),
            // Not there any more; or another disk, or one without second names.
            Err(_) => Self::lying(name, path),
        }
    }
}

/// Where a file is not there any more, the backup is to be begun anew.
pub(super) fn missing(path: &Path, error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound => Fault::Busy("old records or messages are being dropped: try again"),
        _ => Fault::disk(path, error),
    }
}

/// Number of the journal's first record.
pub(super) fn first_record(data_dir: &Path) -> Result<u64, Fault> {
    crate::journal::first_record(&RealDisk::open_to_read(&data_dir.join(JOURNAL))?)
}

/// The journal as it stands.
pub(super) struct Journal {
    pub(super) pieces: Vec<Piece>,
    pub(super) first: u64,
    pub(super) head: Head,
    /// What no crash explains where its pieces end.
    pub(super) findings: Vec<String>,
}

/// Segments, oldest first.
#[derive(Default)]
pub(super) struct Segments {
    pub(super) pieces: Vec<Piece>,
    /// Where the newest one that can be read ends.
    head: Option<Head>,
    /// What no crash explains where they end.
    pub(super) findings: Vec<String>,
}

/// What lies beside the journal's segments: signed heads, their keys. To be read before the journal, which is never behind them.
pub(super) fn beside(data_dir: &Path, work: &Path) -> Result<Vec<Piece>, Fault> {
    let dir = data_dir.join(JOURNAL);
    let mut pieces = Vec::new();
    pieces.extend(heads(&dir)?);
    let keys = dir.join(HEAD_KEYS_FILE);
    match fs::read(&keys) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(Fault::disk(&keys, &error)),
        Ok(bytes) => pieces.push(Piece::here(format!("{JOURNAL}/{HEAD_KEYS_FILE}"), bytes)),
    }
    // Behind the heads: the book that one of them names is there already.
    for number in files(&RealDisk::open_to_read(&dir)?, ASIDE)? {
        let file = numbered(number, ASIDE);
        pieces.push(Piece::kept(format!("{JOURNAL}/{file}"), dir.join(file), work)?);
    }
    Ok(pieces)
}

/// The signed heads as long as they are now, which may be much: lines that are there do not change.
fn heads(dir: &Path) -> Result<Option<Piece>, Fault> {
    let path = dir.join(HEADS_FILE);
    let failed = |error: io::Error| Fault::disk(&path, &error);
    let file = match fs::File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let length = file.metadata().map_err(failed)?.len();
    let from = length.saturating_sub(LINE_BYTES_MAX);
    let mut end = Vec::new();
    (&file).seek(SeekFrom::Start(from)).map_err(failed)?;
    (&file).take(length - from).read_to_end(&mut end).map_err(failed)?;
    let stored = match end.iter().rposition(|&byte| byte == b'\n') {
        Some(last) => from + last as u64 + 1,
        None if from == 0 => 0,
        // No unfinished line is as long: what it is shows when the backup is looked at.
        None => length,
    };
    let file = File { name: format!("{JOURNAL}/{HEADS_FILE}"), stored, length: stored };
    Ok(Some(Piece { file, bytes: Bytes::In(path) }))
}

/// The journal's segments, up to the last record that is whole.
pub(super) fn journal(data_dir: &Path, work: &Path, node: &str) -> Result<Journal, Fault> {
    let disk = RealDisk::open_to_read(&data_dir.join(JOURNAL))?;
    let numbers = files(&disk, ".seg")?;
    let Segments { pieces, head, findings } =
        segments(&disk, (data_dir, work), (JOURNAL, ".seg"), &numbers, node)?;
    let (Some(&first), Some(head)) = (numbers.first(), head) else {
        return Err(Fault::Disk(format!("{}: there is no journal to back up", disk.place())));
    };
    Ok(Journal { pieces, first, head, findings })
}

/// The stream log's segments, where there are any.
pub(super) fn streams(data_dir: &Path, work: &Path, node: &str) -> Result<Segments, Fault> {
    let dir = data_dir.join(STREAMS);
    if !dir.is_dir() {
        return Ok(Segments::default());
    }
    let disk = RealDisk::open_to_read(&dir)?;
    let numbers = files(&disk, ".str")?;
    segments(&disk, (data_dir, work), (STREAMS, ".str"), &numbers, node)
}

/// Segments in order: the newest that has frames up to their end, those before it whole, those behind it not at all.
fn segments(
    disk: &RealDisk,
    (data_dir, work): (&Path, &Path),
    (folder, ending): (&str, &str),
    numbers: &[u64],
    node: &str,
) -> Result<Segments, Fault> {
    let mut all = Segments::default();
    let mut is_growing = true;
    for &number in numbers.iter().rev() {
        let file = numbered(number, ending);
        let name = format!("{folder}/{file}");
        if !is_growing {
            all.pieces.push(Piece::kept(name, data_dir.join(folder).join(&file), work)?);
            continue;
        }
        let newest = match Newest::read_settled(disk, &file, node)? {
            Read::Segment(newest) => newest,
            Read::BeingMade => continue,
            Read::Damaged(what) => {
                all.findings.push(format!("{name}: {what}"));
                continue;
            }
        };
        all.findings
            .extend(newest.damaged.map(|what| format!("{name} at offset {}: {what}", newest.bytes.len())));
        all.head = all.head.or(Some(newest.head));
        // A segment of the stream log is made ahead; one of the journal only when the one before it is sealed.
        is_growing = newest.frames == 0 && folder == STREAMS;
        let mut piece = Piece::here(name, newest.bytes);
        piece.file.length = newest.length;
        all.pieces.push(piece);
    }
    all.pieces.reverse();
    Ok(all)
}

/// A segment that may grow while it is read: what of it is whole.
struct Newest {
    bytes: Vec<u8>,
    length: u64,
    frames: u64,
    head: Head,
    /// What no crash explains where the frames end.
    damaged: Option<&'static str>,
}

enum Read {
    Segment(Newest),
    BeingMade,
    /// Nothing of it is to be read.
    Damaged(&'static str),
}

impl Newest {
    /// What looks damaged because it was read while batches came is read again.
    fn read_settled(disk: &RealDisk, name: &str, node: &str) -> Result<Read, Fault> {
        let mut ended = None;
        for _ in 1..TRIES {
            let read = Self::read(disk, name, node)?;
            let damaged_at = match &read {
                Read::Segment(newest) => newest.damaged.map(|_| newest.bytes.len()),
                Read::BeingMade => None,
                Read::Damaged(_) => Some(0),
            };
            if damaged_at.is_none() || damaged_at == ended {
                return Ok(read);
            }
            ended = damaged_at;
        }
        Self::read(disk, name, node)
    }

    fn read(disk: &RealDisk, name: &str, node: &str) -> Result<Read, Fault> {
        let mut bytes = read_whole(disk, name, SEGMENT_BYTES_MAX)?;
        let blank = is_blank(bytes.get(HEADER_BYTES..).unwrap_or_default());
        let unfinished = |what| if blank { Read::BeingMade } else { Read::Damaged(what) };
        let (header, salt) = match Header::parse(&bytes) {
            Ok(parsed) => parsed,
            Err(what) => return Ok(unfinished(what)),
        };
        if header.node != node {
            let place = disk.place();
            return Err(Fault::Disk(format!(
                "{place}/{name}: of node {:?}, not {node:?}: see node.name",
                header.node
            )));
        }
        let length = bytes.len() as u64;
        if length != header.size {
            return Ok(unfinished("not as long as its header says"));
        }
        let mut head = Head { no: header.first.saturating_sub(1), hash: header.before };
        let (mut at, mut frames) = (Frames::BEGIN, 0);
        let all = Frames::new(&bytes, salt);
        while let Ok((frame, _)) = all.at(at) {
            head = frame.head();
            at += frame.bytes();
            frames += 1;
        }
        let damaged = match all.tail(at) {
            Tail::Damaged { why, .. } => Some(why),
            Tail::Clean | Tail::Torn { .. } => None,
        };
        // The seal of a segment that is full, where it is there already: opening would write the same one again.
        bytes.truncate(at);
        Ok(Read::Segment(Self { bytes, length, frames, head, damaged }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v7_of_what_lies_beside_the_journal_only_what_a_node_makes_is_taken_and_heads_are_not_held_in_memory() {
        let base = tempfile::tempdir().unwrap();
        let (data, work) = (base.path().join("data"), base.path().join("work"));
        let journal = data.join(JOURNAL);
        fs::create_dir_all(&journal).unwrap();
        fs::create_dir(&work).unwrap();
        assert_eq!(beside(&data, &work).unwrap().len(), 0);
        for (name, text) in [("lock", "1"), ("heads.pem", "keys"), ("collected.log", "log"), ("old.dwb", "x")]
        {
            fs::write(journal.join(name), text).unwrap();
        }
        let long = "x".repeat(2_000);
        for (heads, stored) in [
            ("", 0),
            ("one", 0),
            ("one\n", 4),
            ("one\ntwo", 4),
            ("one\ntwo\n\0\0", 8),
            // No crash leaves that: it is looked at with the rest.
            (&long, 2_000),
        ] {
            fs::write(journal.join(HEADS_FILE), heads).unwrap();
            let pieces = beside(&data, &work).unwrap();
            let names: Vec<&str> = pieces.iter().map(|piece| piece.file.name.as_str()).collect();
            assert_eq!(names, ["journal/heads", "journal/heads.pem"]);
            assert_eq!((pieces[0].file.stored, pieces[0].file.length), (stored, stored), "{heads:?}");
            assert!(matches!(pieces[0].bytes, Bytes::In(_)));
        }
    }
}
