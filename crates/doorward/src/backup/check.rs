//! Looks into a backup where it lies: what it says of itself, whether all of it opens, and whether what it holds verifies.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::Arc;

use super::content;
use super::header::{self, Header, Opened};
use super::sealed::{CHUNK_BYTES, Chunks, Opener, sealed_bytes};
use super::within::{Contents, Forgetting, Place, Within};
use super::{BOOK, JOURNAL, Progress, STREAMS};
use crate::book::sqlite::{Looked, Nameless};
use crate::fault::Fault;
use crate::journal::{Disk, HEAD_KEYS_FILE, Head, HeadKey, Noted, has_head, read_from, verify_anchored};
use crate::streams::{self, StreamLog};
use crate::vault::Vault;

/// What a wrong key looks like.
const OTHER_KEY: &str = "sealed by another key";
/// Longest text of a finding in a summary, in characters.
const FINDING_CHARS_MAX: usize = 400;

/// What a backup was found to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What it says of itself; true, as it opened.
    pub header: Header,
    /// How many files are in it.
    pub files: u64,
    /// What keeps it from being restored without more ado: none in a good one.
    pub findings: Vec<String>,
}

/// What a backup says of itself; whether it is true only [`check`] shows.
pub fn inspect(file: &Path) -> Result<Header, Fault> {
    header::read(file, &mut open_file(file)?).map(|opened| opened.header)
}

/// Opens all of a backup and verifies the journal, the stream log and the book in it. Nothing is left of it on a disk: the book
/// is looked at in a file without a name among the system's temporary ones.
pub fn check(file: &Path, vault: &dyn Vault, progress: Progress<'_>) -> Result<Check, Fault> {
    let (header, files, found) = look(file, vault, None, progress)?;
    Ok(Check { header, files, findings: [found.texts, found.book].concat() })
}

/// The same of one that was just made of a book that was looked at already.
pub(super) fn check_made(file: &Path, vault: &dyn Vault, book: &Looked) -> Result<Found, Fault> {
    look(file, vault, Some(book), &mut |_, _| {}).map(|(_, _, found)| found)
}

fn look(
    file: &Path,
    vault: &dyn Vault,
    looked: Option<&Looked>,
    progress: Progress<'_>,
) -> Result<(Header, u64, Found), Fault> {
    let Unsealed { opened, mut opener, size, chunks } = unseal(file, vault)?;
    let mut book = None;
    let (mut files, mut at, mut done) = (BTreeMap::new(), 0_u64, opened.end);
    while let Some(entry) = content::next(&mut opener)? {
        if entry.name == BOOK && looked.is_none() {
            book = Some(Nameless::begin(&std::env::temp_dir(), &opened.header.id)?);
        }
        let is_book = entry.name == BOOK;
        each_piece(&mut opener, entry.stored, |bytes| {
            done = done.saturating_add(bytes.len() as u64);
            progress(done, size);
            book.as_mut().filter(|_| is_book).map_or(Ok(()), |book| book.add(bytes))
        })?;
        let (end, stored, length) = (at.saturating_add(entry.bytes()), entry.stored, entry.length);
        files.insert(entry.name, Place { at: end - stored, stored, length });
        at = end;
    }
    opener.finish()?;
    let looked = match looked {
        Some(looked) => looked.clone(),
        None => book.map(Nameless::look).transpose()?.unwrap_or_default(),
    };
    let count = files.len() as u64;
    let contents = Arc::new(Contents { name: file.to_owned(), chunks, files });
    let within = |folder| Within { contents: Arc::clone(&contents), folder };
    let found = findings(Arc::new(within(JOURNAL)), within(STREAMS), looked, &opened.header, vault)?;
    progress(size, size);
    Ok((opened.header, count, found))
}

/// What no crash explains.
#[derive(Default)]
pub(super) struct Found {
    /// All of it, in words; but for the book.
    pub(super) texts: Vec<String>,
    /// What is wrong with the book, in words. Where there is nothing else, the journal makes it anew.
    pub(super) book: Vec<String>,
    /// In which files of the journal.
    pub(super) journal: Vec<String>,
    /// Whether the stream log does not open.
    pub(super) streams: bool,
}

impl Found {
    /// In one line; `None` where there is nothing.
    pub(super) fn summary(&self) -> Option<String> {
        summary(&self.texts)
    }
}

/// Findings in one line; `None` where there are none.
pub(super) fn summary(texts: &[String]) -> Option<String> {
    let first: String = texts.first()?.chars().take(FINDING_CHARS_MAX).collect();
    Some(format!("{} findings, the first: {first}", texts.len()))
}

/// Whether there is a file of this name that is not empty.
fn holds(disk: &dyn Disk, name: &str) -> Result<bool, Fault> {
    let empty = match disk.open(name) {
        Ok(file) => file.is_empty(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => Err(error),
    };
    empty.map(|empty| !empty).map_err(|error| Fault::Disk(format!("{}/{name}: {error}", disk.place())))
}

/// What would meet whoever goes on from a journal, a stream log and a book.
pub(super) fn findings(
    journal: Arc<dyn Disk>,
    streams: impl Disk + 'static,
    book: Looked,
    header: &Header,
    vault: &dyn Vault,
) -> Result<Found, Fault> {
    let names =
        |disk: &dyn Disk| disk.list().map_err(|error| Fault::Disk(format!("{}: {error}", disk.place())));
    // A node that has not signed a head yet has none in its file: the backup's own head stands for all, as it was closed.
    let signs = has_head(&*journal)? || holds(&*journal, HEAD_KEYS_FILE)?;
    let keys = if signs { vault.audit_keys()? } else { Vec::new() };
    let keys: Vec<HeadKey> = keys.into_iter().map(HeadKey::new).collect();
    let (report, _) = verify_anchored(&*journal, &[Noted::Plain(header.head)], &keys)?;
    let mut found = Found {
        texts: report.findings.iter().map(ToString::to_string).collect(),
        book: book.findings,
        journal: report.findings.into_iter().map(|finding| finding.segment).collect(),
        streams: false,
    };
    if report.more > 0 {
        found.texts.push(format!("and {} more in the journal", report.more));
    }
    if found.texts.is_empty() && report.head != header.head {
        found.texts.push(format!("the journal ends with {}, not with {}", report.head, header.head));
    }
    found.book.extend(book.mark.and_then(|mark| astray(journal, mark, header)));
    if header.book.is_none() {
        // It is not in there.
        found.book.extend(header.book_damaged.clone());
    }
    let settings = streams::Settings { ahead: false, ..streams::Settings::new(&header.node) };
    let has_log = !names(&streams)?.is_empty();
    match has_log.then(|| StreamLog::open(Arc::new(Forgetting(streams)), settings)) {
        None | Some(Ok(_)) => {}
        Some(Err(Fault::Damaged(what))) => {
            found.texts.push(what);
            found.streams = true;
        }
        Some(Err(fault)) => return Err(fault),
    }
    if found.texts.is_empty() {
        // What was left out of it, as it did not read.
        found.texts.extend(header.damaged.clone());
    }
    Ok(found)
}

/// What is wrong with where a book stands.
fn astray(journal: Arc<dyn Disk>, mark: Head, header: &Header) -> Option<String> {
    let there = match mark.no {
        no if no == header.head.no => header.head.hash,
        no if no > header.head.no => [0; 32],
        // Where it does not read, the journal's own findings say so.
        no if no >= header.first => read_from(journal, no, no).next()?.ok()?.hash,
        _ => return None,
    };
    let no = mark.no;
    (there != mark.hash).then(|| format!("book.db: it stands at record {no} of another journal"))
}

/// A backup whose key was found.
pub(super) struct Unsealed {
    pub(super) opened: Opened,
    /// From the first chunk on.
    pub(super) opener: Opener<BufReader<File>>,
    /// How long the file is.
    pub(super) size: u64,
    /// The same in any order.
    pub(super) chunks: Chunks,
}

fn open_file(file: &Path) -> Result<BufReader<File>, Fault> {
    let opened = File::open(file).map_err(|error| Fault::disk(file, &error))?;
    Ok(BufReader::with_capacity(4 * CHUNK_BYTES, opened))
}

/// Reads the header and has the vault open the key.
pub(super) fn unseal(file: &Path, vault: &dyn Vault) -> Result<Unsealed, Fault> {
    let mut from = open_file(file)?;
    let failed = |error: std::io::Error| Fault::disk(file, &error);
    let opened = header::read(file, &mut from)?;
    let length = from.get_ref().metadata().map_err(failed)?.len();
    let sealed = sealed_bytes(opened.header.content_bytes);
    let size = opened.end.saturating_add(sealed);
    let (name, key) = (file.display(), &opened.header.key.key);
    if length != size {
        let what = if length < size { "it is cut off" } else { "bytes follow on its end" };
        let at = length.min(size);
        return Err(Fault::Damaged(format!("{name}: at byte {at}: {what}: {length} bytes, not {size}")));
    }
    let key = vault.backup_key(&opened.header.id, &opened.header.key).map_err(|fault| match fault {
        Fault::Vault(_) => Fault::Vault(format!(
            "{name}: {OTHER_KEY}: it needs {key}, which is not in this key file; give the key file of the node that \
             made it (vault.key_file, or --key-file)"
        )),
        Fault::Damaged(_) => Fault::Damaged(format!(
            "{name}: at byte 16: {OTHER_KEY}, or its header is not as it was written: the wrapped key does not open \
             with {key}"
        )),
        other @ (Fault::Disk(_) | Fault::Book(_) | Fault::Busy(_) | Fault::Stopping) => other,
    })?;
    let again = from.get_ref().try_clone().map_err(failed)?;
    let place = (opened.end, opened.header.content_bytes);
    let chunks = Chunks::new(again, key.expose(), opened.bound, place)?;
    let opener = Opener::new(from, file, key.expose(), opened.bound, (opened.end, sealed))?;
    Ok(Unsealed { opened, opener, size, chunks })
}

/// Shows so many bytes of the content, piece after piece.
pub(super) fn each_piece(
    from: &mut Opener<BufReader<File>>,
    mut left: u64,
    mut each: impl FnMut(&[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let bytes = from.some(most)?;
        if bytes.is_empty() {
            return Err(from.damaged("the content ends too early"));
        }
        left -= bytes.len() as u64;
        each(bytes)?;
    }
    Ok(())
}
