//! Puts a backup into a new directory: whole and verified, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use doorward_core::audit::{Actor, Context, Door, Factor};
use doorward_core::identity::change::Change;
use doorward_core::identity::mail::{Mail, MailId, MailKind};
use doorward_core::identity::person::Standing;
use doorward_core::identity::restore::{Reach, UnsurePair, firms_of, restored, unsure_pairs};
use doorward_core::stream::Numbers;
use doorward_core::time::Wall;

use super::content;
use super::header::{self, Header, Opened};
use super::make::sync_folder;
use super::sealed::{CHUNK_BYTES, Opener, sealed_bytes};
use super::{CONFIG, JOURNAL, Progress, STREAMS};
use crate::book::{Batch, Store, sqlite};
use crate::fault::Fault;
use crate::gate::new_attempt;
use crate::journal::{
    Checkpoint, Disk, HEAD_KEYS_FILE, HEADS_FILE, HeadKey, HeadKind, Heads, Noted, RealDisk, SignedHead,
    verify_anchored,
};
use crate::streams::{self, StreamLog};
use crate::vault::Vault;

/// Says in a directory that it is one of a restore under way.
const MARKER: &str = "restore-under-way";
/// What a wrong key looks like.
const OTHER_KEY: &str = "sealed by another key";

/// Where and how a backup is put back.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// The new data directory; it is not there yet, or empty.
    pub into: &'a Path,
    /// How many numbers of each FIX stream are left out, as they may have been used since.
    pub numbers_ahead: u64,
    /// Which user of this machine does it.
    pub uid: u32,
}

/// What was put back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// What the backup says of itself; true, as it opened.
    pub header: Header,
    /// When.
    pub at: Wall,
    /// The number of the record that says so.
    pub record: u64,
    /// Key pairs that may not be as they were.
    pub unsure: Vec<UnsurePair>,
    /// How many administrators are told of them by mail.
    pub mails: usize,
    /// How many FIX streams go on at higher numbers.
    pub streams: usize,
}

/// What a backup was found to hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// What it says of itself.
    pub header: Header,
    /// How many files are in it.
    pub files: u64,
}

/// What a backup says of itself; whether it is true only [`check`] shows.
pub fn inspect(file: &Path) -> Result<Header, Fault> {
    header::read(file, &mut open_file(file)?).map(|opened| opened.header)
}

/// Opens all of a backup and writes nothing.
pub fn check(file: &Path, vault: &dyn Vault, progress: Progress<'_>) -> Result<Check, Fault> {
    let (opened, mut opener, size) = unseal(file, vault)?;
    let (mut files, mut done) = (0, opened.end);
    while let Some(entry) = content::next(&mut opener)? {
        each_piece(&mut opener, entry.stored, |bytes| {
            done = done.saturating_add(bytes.len() as u64);
            progress(done, size);
            Ok(())
        })?;
        files += 1;
    }
    opener.finish()?;
    progress(size, size);
    Ok(Check { header: opened.header, files })
}

/// Puts a backup into a new directory, verifies it, and voids what may have been used since (V8).
///
/// Under the directory's name there is all of it or nothing.
pub fn restore(
    file: &Path,
    to: To<'_>,
    vault: &dyn Vault,
    now: &dyn Fn() -> Wall,
    progress: Progress<'_>,
) -> Result<Restored, Fault> {
    let into = std::path::absolute(to.into).map_err(|error| Fault::disk(to.into, &error))?;
    let to = To { into: &into, ..to };
    check_is_empty(to.into)?;
    let (opened, opener, size) = unseal(file, vault)?;
    let partial = Partial::begin(to.into)?;
    unpack(opener, &partial.dir, (opened.end, size), progress)?;
    let done = settle(&partial.dir, opened.header, to, vault, now())?;
    partial.put_in_place(to.into)?;
    Ok(done)
}

fn open_file(file: &Path) -> Result<BufReader<File>, Fault> {
    let opened = File::open(file).map_err(|error| Fault::disk(file, &error))?;
    Ok(BufReader::with_capacity(4 * CHUNK_BYTES, opened))
}

/// The header, what opens the chunks behind it, and how long the file is.
fn unseal(file: &Path, vault: &dyn Vault) -> Result<(Opened, Opener<BufReader<File>>, u64), Fault> {
    let mut from = open_file(file)?;
    let opened = header::read(file, &mut from)?;
    let length = from.get_ref().metadata().map_err(|error| Fault::disk(file, &error))?.len();
    let chunks = sealed_bytes(opened.header.content_bytes);
    let size = opened.end.saturating_add(chunks);
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
    let opener = Opener::new(from, file, key.expose(), opened.bound, (opened.end, chunks))?;
    Ok((opened, opener, size))
}

fn each_piece(
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

fn check_is_empty(into: &Path) -> Result<(), Fault> {
    let refused = |what: &str| Fault::Disk(format!("{}: {what}: name a new directory", into.display()));
    match fs::read_dir(into) {
        Ok(mut entries) => entries.next().map_or(Ok(()), |_| Err(refused("is not empty"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(refused("is a file")),
        Err(error) => Err(Fault::disk(into, &error)),
    }
}

/// A directory that is being filled; removed where it does not get its name.
struct Partial {
    dir: PathBuf,
    in_place: bool,
}

impl Partial {
    fn begin(into: &Path) -> Result<Self, Fault> {
        let mut name = into.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let dir = into.with_file_name(name);
        let failed = |error: io::Error| Fault::disk(&dir, &error);
        if dir.exists() {
            if !dir.join(MARKER).exists() {
                return Err(Fault::Disk(format!("{}: is no work of a restore; move it away", dir.display())));
            }
            // A restore was killed here.
            fs::remove_dir_all(&dir).map_err(failed)?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
        File::create_new(dir.join(MARKER)).map_err(failed)?;
        Ok(Self { dir, in_place: false })
    }

    fn put_in_place(mut self, into: &Path) -> Result<(), Fault> {
        let place = || {
            sync_all(&self.dir)?;
            fs::rename(&self.dir, into)?;
            sync_folder(into)
        };
        place().map_err(|error| Fault::disk(into, &error))?;
        self.in_place = true;
        // A word for nobody from here on.
        fs::remove_file(into.join(MARKER)).map_err(|error| Fault::disk(into, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.in_place {
            // Where it stays, the next restore into this place removes it.
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Makes all that lies in a directory durable.
fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?;
        } else {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(dir)?.sync_all()
}

fn unpack(
    mut opener: Opener<BufReader<File>>,
    dir: &Path,
    (mut done, size): (u64, u64),
    progress: Progress<'_>,
) -> Result<(), Fault> {
    for folder in [JOURNAL, STREAMS] {
        let made = fs::DirBuilder::new().mode(0o700).create(dir.join(folder));
        made.map_err(|error| Fault::disk(dir, &error))?;
    }
    while let Some(entry) = content::next(&mut opener)? {
        let path = dir.join(&entry.name);
        let failed = |error: io::Error| Fault::disk(&path, &error);
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        each_piece(&mut opener, entry.stored, |bytes| {
            file.write_all(bytes).map_err(failed)?;
            done = done.saturating_add(bytes.len() as u64);
            progress(done, size);
            Ok(())
        })?;
        file.set_len(entry.length).map_err(failed)?;
    }
    opener.finish()?;
    progress(size, size);
    Ok(())
}

/// Verifies what was unpacked, brings the book to the journal's end, and writes down that it was restored.
fn settle(dir: &Path, header: Header, to: To<'_>, vault: &dyn Vault, at: Wall) -> Result<Restored, Fault> {
    verify(dir, &header, vault)?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&dir.join(JOURNAL))?);
    let store = sqlite::open(dir, Arc::clone(&disk), header.node.clone(), &sqlite::Settings::default())?;
    let reach = Reach { reach: header.made_at, restored_at: at };
    let sessions: Vec<_> = store.sessions()?.into_iter().map(|(session, _)| session).collect();
    let unsure: Vec<_> = sessions.iter().flat_map(|session| unsure_pairs(session, reach)).collect();
    let mails = match sends_mail(dir)? {
        true => mails(&store, vault, &firms_of(sessions.iter(), reach), &unsure, reach)?,
        false => Vec::new(),
    };
    let told = mails.len();
    let streams = raise_numbers(&store, dir, &header.node, to.numbers_ahead)?;
    let context = Context { at, door: Door::Local, source: None, attempt: new_attempt() };
    let words = format!(
        "from backup {} of record {}; {streams} FIX streams go on {} numbers later",
        header.id, header.head.no, to.numbers_ahead
    );
    let mut record = restored(header.made_at, &words, mails, Actor::Local { uid: to.uid }, &context);
    record.entry.factor = Factor::LocalUser;
    debug_assert!(record.changes.iter().any(|change| matches!(change, Change::Restored { .. })));
    let record = commit(&store, Batch { expects: Vec::new(), records: vec![record] })?;
    sign(&disk, vault, Checkpoint::new(&header.node, 0, HeadKind::At, store.head(), at))?;
    Ok(Restored { header, at, record, unsure, mails: told, streams })
}

/// Signs where the journal stands now, so that nothing of what was put back can be changed unseen.
fn sign(disk: &Arc<dyn Disk>, vault: &dyn Vault, mut checkpoint: Checkpoint) -> Result<(), Fault> {
    let keys = vault.audit_keys()?;
    let newest = keys.last().ok_or_else(|| Fault::Vault("there is no audit key".to_owned()))?;
    let (key, mut heads) = (HeadKey::new(*newest), Heads::open(Arc::clone(disk))?);
    checkpoint.count = heads.next_count();
    let signature = vault.audit_sign(newest, checkpoint.text(&key).as_bytes())?;
    heads.append(SignedHead::new(checkpoint, &key, signature))
}

fn verify(dir: &Path, header: &Header, vault: &dyn Vault) -> Result<(), Fault> {
    let journal = dir.join(JOURNAL);
    // Of a node that has not signed a head yet there are none: the backup's own head stands for all, as it was closed.
    let signs = [HEADS_FILE, HEAD_KEYS_FILE].iter().any(|name| journal.join(name).exists());
    let keys = if signs { vault.audit_keys()? } else { Vec::new() };
    let keys: Vec<HeadKey> = keys.into_iter().map(HeadKey::new).collect();
    let disk = RealDisk::open_to_read(&journal)?;
    let (report, _) = verify_anchored(&disk, &[Noted::Plain(header.head)], &keys)?;
    let wrong = match report.findings.first() {
        Some(finding) => Some(format!("{} at {}: {}", finding.segment, finding.offset, finding.text)),
        None if report.head != header.head => {
            Some(format!("it ends with {}, not with {}", report.head, header.head))
        }
        None => None,
    };
    match wrong {
        Some(what) => Err(Fault::Damaged(format!(
            "the journal in the backup is not as it was written, and was not when the backup was made: {what}"
        ))),
        None => Ok(()),
    }
}

fn commit(store: &impl Store, batch: Batch) -> Result<u64, Fault> {
    let (done, committed) = sync_channel(1);
    store.submit_then(batch, Box::new(move |answer| drop(done.send(answer))));
    let answer = committed.recv().map_err(|_| Fault::Stopping)?;
    answer.map(|committed| committed.last).map_err(|error| Fault::Book(error.to_string()))
}

/// Whether the node that was backed up sends mails at all.
fn sends_mail(dir: &Path) -> Result<bool, Fault> {
    let path = dir.join(CONFIG);
    let text = fs::read_to_string(&path).map_err(|error| Fault::disk(&path, &error))?;
    Ok(text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("mail")))
}

/// A mail to each administrator of a firm that has unsure key pairs.
fn mails(
    store: &impl Store,
    vault: &dyn Vault,
    firms: &std::collections::BTreeSet<doorward_core::id::FirmCode>,
    unsure: &[UnsurePair],
    reach: Reach,
) -> Result<Vec<Mail>, Fault> {
    let sessions = store.sessions()?;
    let mut mails = Vec::new();
    for firm in firms {
        let of_firm = |pair: &&UnsurePair| {
            sessions.iter().any(|(session, _)| session.id == pair.session && session.firm == *firm)
        };
        let pairs: Vec<String> = unsure.iter().filter(of_firm).map(words).collect();
        for person in store.administrators(Some(firm))? {
            let Some(to) = person.profile.email.filter(|_| person.standing == Standing::Active) else {
                continue;
            };
            let mut id = [0; 8];
            vault.random(&mut id)?;
            let values = [
                ("at_us", reach.restored_at.as_us().to_string()),
                ("detail", format!("{}. The data reach to {}.", pairs.join("; "), reach.reach)),
            ];
            mails.push(Mail {
                id: MailId::from_random(u64::from_be_bytes(id)),
                to,
                kind: MailKind::PairsUnsure,
                queued_at: reach.restored_at,
                firm: Some(firm.clone()),
                about: None,
                userid: None,
                values: values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
                secret: None,
            });
        }
    }
    Ok(mails)
}

fn words(pair: &UnsurePair) -> String {
    let UnsurePair { session, id, at, deleted } = pair;
    let done = if *deleted { "deleted" } else { "made" };
    format!("FIX session {session}, key pair {id}, {done} {at}")
}

/// Has each FIX stream go on behind numbers that may have been used since; what is not there is a gap that is filled.
fn raise_numbers(store: &impl Store, dir: &Path, node: &str, ahead: u64) -> Result<usize, Fault> {
    let path = dir.join(STREAMS);
    let has_log = fs::read_dir(&path).map_err(|error| Fault::disk(&path, &error))?.next().is_some();
    let booked = store.streams()?;
    if ahead == 0 || (!has_log && booked.is_empty()) {
        return Ok(0);
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&path)?);
    let settings = streams::Settings { ahead: false, ..streams::Settings::new(node) };
    let (mut log, recovered) = StreamLog::open(disk, settings)?;
    let mut all = recovered.streams;
    for (stream, numbers) in booked {
        let known = all.entry(stream).or_insert(numbers);
        if numbers.supersedes(known) {
            *known = if numbers.epoch == known.epoch { joined(*known, numbers) } else { numbers };
        }
    }
    let used = all.into_iter().filter(|(_, numbers)| !numbers.is_unused() || numbers.next_out > 1);
    let mut raised = 0;
    for (stream, numbers) in used {
        let ceiling = numbers.after_crash().next_out.saturating_add(ahead);
        log.numbers(&stream, &Numbers { rev: numbers.rev.saturating_add(1), ceiling, ..numbers });
        raised += 1;
    }
    log.commit()?;
    Ok(raised)
}

/// Two accounts of one epoch: within it numbers only grow.
fn joined(one: Numbers, later: Numbers) -> Numbers {
    let (next_in, next_out) = (one.next_in.max(later.next_in), one.next_out.max(later.next_out));
    Numbers { next_in, next_out, ceiling: later.ceiling.max(one.ceiling), ..later }
}
