//! Makes a backup, beside a running node or without one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use doorward_core::time::Wall;

use super::check::{check_made, summary};
use super::content::{self, END_BYTES};
use super::sealed::{CHUNK_BYTES, Sealer, sealed_bytes};
use super::source::{self, Bytes, Piece};
use super::{BOOK, CONFIG, Header, JOURNAL, Progress, STREAMS, header};
use crate::book::sqlite::{self, Looked};
use crate::fault::Fault;
use crate::journal::{DirLock, Head};
use crate::vault::Vault;

/// Folder in the data directory in which the copy of the book, and second names of what is never changed, lie until they are
/// in the backup. Nobody else has use for such a name.
const WORK: &str = ".backup-work";
/// How often it is begun anew where old records are dropped meanwhile.
const TRIES: usize = 5;

/// Of what a backup is made.
#[derive(Clone, Copy, Debug)]
pub struct From<'a> {
    /// The data directory.
    pub data_dir: &'a Path,
    /// The configuration file.
    pub config: &'a Path,
    /// The node's name.
    pub node: &'a str,
    /// Whether it is made although what is in it does not verify; it says so then.
    pub damaged: bool,
    /// Room in bytes that stays free on the data directory's disk: where it is full, a node decides nothing.
    pub reserve_bytes: u64,
}

/// Makes a backup. Under its name there is a whole one or none; one that is there already is never touched.
pub fn make(
    from: From<'_>,
    vault: &dyn Vault,
    now: &dyn Fn() -> Wall,
    file: &Path,
    progress: Progress<'_>,
) -> Result<Header, Fault> {
    if file.exists() {
        let file = file.display();
        return Err(Fault::Disk(format!("{file}: is there already; move it away, or name another")));
    }
    check_is_outside(from.data_dir, file)?;
    let work = Work::begin(from.data_dir)?;
    let all = gather_steady(from, &work, now)?;
    let beside = beside(file);
    let made = write_verified(from, &all, vault, &beside, progress).and_then(|header| {
        put_in_place(&beside, file).map_err(|error| Fault::disk(file, &error))?;
        Ok(header)
    });
    if made.is_err() {
        // It is of no use to anybody; where it stays, the next backup of this name takes its place.
        let _ = fs::remove_file(&beside);
    }
    made
}

/// A backup among the data would be lost with them, and is in the way of what reads them.
fn check_is_outside(data_dir: &Path, file: &Path) -> Result<(), Fault> {
    let place = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    let folder = folder_of(file).canonicalize().map_err(|error| Fault::disk(folder_of(file), &error))?;
    let inside = [data_dir.to_owned(), data_dir.join(JOURNAL), data_dir.join(STREAMS), data_dir.join(WORK)];
    let inside: Vec<_> = inside.iter().filter_map(|path| place(path)).collect();
    if folder.ancestors().filter_map(place).any(|of| inside.contains(&of)) {
        return Err(Fault::Disk(format!(
            "{}: lies in the data directory {}, with which it would be lost: name a place elsewhere",
            file.display(),
            data_dir.display()
        )));
    }
    Ok(())
}

/// Writes a backup and looks at what was written, so that whoever makes one knows whether it comes back.
fn write_verified(
    from: From<'_>,
    all: &Gathered,
    vault: &dyn Vault,
    to: &Path,
    progress: Progress<'_>,
) -> Result<Header, Fault> {
    let (header, bytes) = write_new(from, all, (None, None), vault, to, progress)?;
    let found = check_made(to, vault, &all.looked)?;
    let damaged = summary(&[all.findings.clone(), found.texts].concat());
    let (header, bytes) = match (damaged, summary(&found.book)) {
        (None, None) => (header, bytes),
        // Under a key of its own: none closes two.
        found if from.damaged => write_new(from, all, found, vault, to, progress)?,
        (Some(what), _) => {
            return Err(Fault::Damaged(format!(
                "no backup was made, as it would not come back: {what}; run `doorward audit verify`, keep the backups \
                 that are there, and make one with --damaged"
            )));
        }
        (None, Some(what)) => {
            return Err(Fault::Damaged(format!(
                "no backup was made, as the book does not verify: {what}; the journal does: stop the node and run \
                 `doorward book rebuild`, or make one with --damaged, of which a restore makes the book anew"
            )));
        }
    };
    progress(bytes, bytes);
    Ok(header)
}

/// How much room a copy of the book takes at most.
fn book_bytes(data_dir: &Path) -> u64 {
    let length = |name| fs::metadata(data_dir.join(name)).map_or(0, |data| data.len());
    length(BOOK.to_owned()).saturating_add(length(format!("{BOOK}-wal")))
}

/// Whether what is written into a folder leaves a reserve free on its disk.
fn check_room(folder: &Path, bytes: u64, reserve: u64) -> Result<(), Fault> {
    let disk = rustix::fs::statvfs(folder).map_err(|error| Fault::disk(folder, &error.into()))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needed = bytes.saturating_add(reserve);
    if free >= needed {
        return Ok(());
    }
    Err(Fault::Disk(format!(
        "{}: {free} bytes are free on this disk, and {needed} are needed: {bytes} for the backup, {reserve} that stay free \
         for the node",
        folder.display()
    )))
}

/// Whether a backup has room; on the node's own disk it leaves the node's reserve.
fn check_room_for(from: From<'_>, file: &Path, bytes: u64) -> Result<(), Fault> {
    let folder = folder_of(file);
    let device = |path: &Path| fs::metadata(path).map(|data| data.dev());
    let is_same = device(folder).ok().is_some_and(|there| device(from.data_dir).ok() == Some(there));
    check_room(folder, bytes, if is_same { from.reserve_bytes } else { 0 })
}

/// Writes a backup under a new key; how long the file is.
fn write_new(
    from: From<'_>,
    all: &Gathered,
    (damaged, book_damaged): (Option<String>, Option<String>),
    vault: &dyn Vault,
    to: &Path,
    progress: Progress<'_>,
) -> Result<(Header, u64), Fault> {
    let mut id = [0; 16];
    vault.random(&mut id)?;
    let id = HEXLOWER.encode(&id);
    let (wrapped, key) = vault.new_backup_key(&id)?;
    let pieces = all.pieces.iter();
    let content_bytes = pieces.fold(END_BYTES, |sum, piece| sum.saturating_add(piece.file.bytes()));
    let already = fs::metadata(to).map_or(0, |data| data.len());
    check_room_for(from, to, sealed_bytes(content_bytes).saturating_sub(already))?;
    let header = Header {
        id,
        node: from.node.to_owned(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: all.made_at,
        first: all.first,
        head: all.head,
        book: all.book,
        content_bytes,
        damaged,
        book_damaged,
        key: wrapped,
    };
    let bytes = write(to, &header, key.expose(), &all.pieces, progress)?;
    Ok((header, bytes))
}

struct Gathered {
    pieces: Vec<Piece>,
    made_at: Wall,
    first: u64,
    head: Head,
    book: Option<u64>,
    /// What the book was found to be.
    looked: Looked,
    /// What is damaged in what is not in it whole.
    findings: Vec<String>,
}

/// Once more where old records were dropped meanwhile: signed heads and segments would not be of one moment.
fn gather_steady(from: From<'_>, work: &Work, now: &dyn Fn() -> Wall) -> Result<Gathered, Fault> {
    for _ in 0..TRIES {
        let begins = source::first_record(from.data_dir)?;
        work.clear().map_err(|error| Fault::disk(&work.dir, &error))?;
        match gather(from, work, now) {
            Ok(all) if all.first == begins => return Ok(all),
            Ok(_) | Err(Fault::Busy(_)) => {}
            Err(fault) => return Err(fault),
        }
    }
    Err(Fault::Busy("old records are being dropped: try again"))
}

/// In this order, so that each is never behind one before it: book, signed heads, stream log, journal.
fn gather(from: From<'_>, work: &Work, now: &dyn Fn() -> Wall) -> Result<Gathered, Fault> {
    let config = fs::read(from.config).map_err(|error| Fault::disk(from.config, &error))?;
    let mut pieces = vec![Piece::here(CONFIG.to_owned(), config)];
    let copy = work.dir.join(BOOK);
    check_room(&work.dir, book_bytes(from.data_dir), from.reserve_bytes)?;
    let (mark, looked) = copy_book(from, &copy)?;
    if mark.is_some() {
        pieces.push(Piece::lying(BOOK.to_owned(), copy)?);
    }
    pieces.extend(source::beside(from.data_dir, &work.dir)?);
    let made_at = now();
    let streams = source::streams(from.data_dir, &work.dir, from.node)?;
    pieces.extend(streams.pieces);
    let journal = source::journal(from.data_dir, &work.dir, from.node)?;
    let (first, head) = (journal.first, journal.head);
    pieces.extend(journal.pieces);
    let findings = [streams.findings, journal.findings].concat();
    match mark {
        Some(mark) if mark.no > head.no => Err(Fault::Damaged(format!(
            "book.db shows record {}, the journal ends with {}: it is not this journal's, or the journal lost its end; \
             run `doorward audit verify`",
            mark.no, head.no
        ))),
        None if first > 1 && !pieces.iter().any(|piece| piece.file.name.ends_with(".book")) => {
            Err(Fault::Damaged(format!(
                "there is no book.db that reads, and the journal begins with record {first}: nothing could be made of \
                 this backup"
            )))
        }
        mark => {
            Ok(Gathered { pieces, made_at, first, head, book: mark.map(|mark| mark.no), looked, findings })
        }
    }
}

/// Copies the book and looks at the copy: up to which record it is, where there is one. What does not even copy is left out.
fn copy_book(from: From<'_>, copy: &Path) -> Result<(Option<Head>, Looked), Fault> {
    match sqlite::copy_beside(from.data_dir, copy) {
        Ok(None) => Ok((None, Looked::default())),
        Ok(mark) => Ok((mark, sqlite::look(copy)?)),
        Err(Fault::Book(what)) if !from.damaged => Err(Fault::Book(format!(
            "{what}; where that does not pass, --damaged makes a backup without the book, which the journal makes anew"
        ))),
        Err(Fault::Damaged(what) | Fault::Book(what)) => {
            Ok((None, Looked { mark: None, findings: vec![what] }))
        }
        Err(fault) => Err(fault),
    }
}

/// The folder for copies; one backup at a time.
struct Work {
    dir: PathBuf,
    _lock: DirLock,
}

impl Work {
    /// Takes the folder, and removes what a backup left that was killed.
    fn begin(data_dir: &Path) -> Result<Self, Fault> {
        let dir = data_dir.join(WORK);
        if !data_dir.is_dir() {
            return Err(Fault::Disk(format!("{}: there is no data to back up", data_dir.display())));
        }
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        let kind =
            made.and_then(|()| fs::symlink_metadata(&dir)).map_err(|error| Fault::disk(&dir, &error))?;
        if !kind.is_dir() {
            let dir = dir.display();
            return Err(Fault::Disk(format!(
                "{dir}: is a link: a backup works in a directory there; remove it"
            )));
        }
        let lock = DirLock::acquire(&dir)?;
        let work = Self { dir, _lock: lock };
        work.clear().map_err(|error| Fault::disk(&work.dir, &error))?;
        Ok(work)
    }

    /// Removes what a backup lays there, and nothing else.
    fn clear(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(is_ours) && !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Whether a name is one that a backup gives in its folder: of the copy of the book, or a second name of what may be dropped.
fn is_ours(name: &str) -> bool {
    let is_second = |(folder, file): (&str, &str)| {
        let endings: &[&str] = if folder == JOURNAL { &[".seg", ".book"] } else { &[".str"] };
        let number = endings.iter().find_map(|ending| file.strip_suffix(ending));
        let is_number = |number: &str| number.len() == 20 && number.bytes().all(|byte| byte.is_ascii_digit());
        (folder == JOURNAL || folder == STREAMS) && number.is_some_and(is_number)
    };
    let is_book = |rest: &str| ["", "-journal", "-wal", "-shm"].contains(&rest);
    name.strip_prefix(BOOK).is_some_and(is_book) || name.split_once('-').is_some_and(is_second)
}

impl Drop for Work {
    fn drop(&mut self) {
        // Where it fails, the next backup clears it.
        let _ = self.clear();
    }
}

/// Where a backup is written before it has its name.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    file.with_file_name(name)
}

fn write(
    to: &Path,
    header: &Header,
    key: &[u8; 32],
    pieces: &[Piece],
    progress: Progress<'_>,
) -> Result<u64, Fault> {
    let failed = |error: io::Error| Fault::disk(to, &error);
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(to);
    let mut out = BufWriter::with_capacity(4 * CHUNK_BYTES, opened.map_err(failed)?);
    let (bound, head_bytes) = header::write(header, &mut out).map_err(failed)?;
    let total = head_bytes.saturating_add(sealed_bytes(header.content_bytes));
    let mut sealer = Sealer::new(out, key, bound)?;
    let mut done = head_bytes;
    progress(done, total);
    for piece in pieces {
        content::begin(&mut sealer, &piece.file).map_err(failed)?;
        put(&mut sealer, piece, to, &mut |bytes| {
            done = done.saturating_add(bytes);
            progress(done, total);
        })?;
    }
    content::end(&mut sealer).map_err(failed)?;
    let out = sealer.finish().map_err(failed)?;
    let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(total)
}

fn put(
    out: &mut Sealer<impl Write>,
    piece: &Piece,
    to: &Path,
    done: &mut dyn FnMut(u64),
) -> Result<(), Fault> {
    match &piece.bytes {
        Bytes::Here(bytes) => {
            out.put(bytes).map_err(|error| Fault::disk(to, &error))?;
            done(bytes.len() as u64);
        }
        Bytes::In(path) => {
            let failed = |error: io::Error| Fault::disk(path, &error);
            let file = File::open(path).map_err(|error| source::missing(path, &error))?;
            let mut file = file.take(piece.file.stored);
            let mut left = piece.file.stored;
            let mut buffer = vec![0; 4 * CHUNK_BYTES];
            while left > 0 {
                let read = file.read(&mut buffer).map_err(failed)?;
                if read == 0 {
                    return Err(Fault::Disk(format!("{}: became shorter meanwhile", path.display())));
                }
                out.put(&buffer[..read]).map_err(|error| Fault::disk(to, &error))?;
                left -= read as u64;
                done(read as u64);
            }
        }
    }
    Ok(())
}

/// Gives a whole backup its name, durably.
fn put_in_place(beside: &Path, file: &Path) -> io::Result<()> {
    if file.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(beside, file)?;
    sync_folder(file)
}

/// Makes the name of a file durable.
pub(super) fn sync_folder(of: &Path) -> io::Result<()> {
    File::open(folder_of(of))?.sync_all()
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
