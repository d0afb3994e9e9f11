//! Puts a backup into a new directory: whole and verified, or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use doorward_core::audit::{Actor, Context, Door, Factor};
use doorward_core::identity::mail::{Mail, MailId, MailKind};
use doorward_core::identity::person::Standing;
use doorward_core::identity::restore::{Reach, UnsurePair, firms_of, pairs_in_words, restored, unsure_pairs};
use doorward_core::stream::Numbers;
use doorward_core::time::Wall;

use super::check::{Found, Unsealed, each_piece, findings, summary, unseal};
use super::content;
use super::header::Header;
use super::make::sync_folder;
use super::sealed::Opener;
use super::{BOOK, CONFIG, JOURNAL, Progress, STREAMS};
use crate::book::sqlite::{self, Looked};
use crate::book::{Batch, Store};
use crate::fault::Fault;
use crate::gate::new_attempt;
use crate::journal::{Checkpoint, DirLock, Disk, HEADS_FILE, HeadKey, HeadKind, Heads, RealDisk, SignedHead};
use crate::streams::{self, StreamLog};
use crate::vault::Vault;

/// Says in a directory that it is one of a restore under way.
const MARKER: &str = "restore-under-way";
/// What [`DirLock`] lays in a directory.
const LOCK: &str = "lock";
/// Where what is damaged beyond opening is kept.
const ASIDE: &str = "damaged";

/// Longest time after a backup that is not asked about: a clock that is ahead would use up everybody's next passwords.
const LATE: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Where and how a backup is put back.
#[derive(Clone, Copy, Debug)]
pub struct To<'a> {
    /// The new data directory; it is not there yet, or empty.
    pub into: &'a Path,
    /// How many numbers of each FIX stream are left out, as they may have been used since.
    pub numbers_ahead: u64,
    /// Which user of this machine does it.
    pub uid: u32,
    /// Whether what does not verify is taken too: the book as it is, with what reads of the rest.
    pub damaged: bool,
    /// The newest instant that is known of from elsewhere, such as an export.
    pub known: Option<Wall>,
    /// Whether the clock is right although it is long after the backup.
    pub late: bool,
    /// Whether the clock is right although it is before the backup, or before what is known of: the node's was ahead.
    pub early: bool,
}

/// What was put back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restored {
    /// What the backup says of itself; true, as it opened.
    pub header: Header,
    /// When; up to here one-time passwords are void.
    pub at: Wall,
    /// What the clock said, where it stood before that.
    pub clock: Option<Wall>,
    /// The number of the record that says so; the last, where the mails took more than one.
    pub record: u64,
    /// Key pairs that may not be as they were.
    pub unsure: Vec<UnsurePair>,
    /// How many administrators are told of them by mail.
    pub mails: usize,
    /// How many FIX streams go on at higher numbers.
    pub streams: usize,
    /// What did not verify, where it was taken all the same.
    pub damaged: Option<String>,
    /// What was wrong with the book, where the journal made it anew.
    pub made_anew: Option<String>,
}

/// Whether a clock can be believed by what is known: what may have been used is void up to where it stands. The error says
/// what is wrong with it.
pub fn clock_fits(header: &Header, to: To<'_>, at: Wall) -> Result<(), String> {
    let made_at = header.made_at;
    let clock = format!("this machine's clock says {at}, and the backup was made at {made_at}");
    let void_to = void_to(header, to, at);
    if at < void_to && !to.early {
        let known = to.known.filter(|&known| known > made_at);
        let but = known.map(|known| format!(", but something was decided at {known}")).unwrap_or_default();
        return Err(format!(
            "{clock}{but}: set the clock, or one-time passwords that were used are good again; if it is right and the \
             node's was ahead, say --early: then none is good before {void_to}"
        ));
    }
    if at.since(made_at) > LATE && !to.late {
        let days = at.since(made_at).as_secs() / (24 * 3_600);
        return Err(format!(
            "{clock}, {days} days before: a clock that is ahead would refuse everybody's one-time passwords until then; \
             if it is right, say --late"
        ));
    }
    Ok(())
}

/// The instant up to which something may have been used: that of the clock or, where the node's was ahead, the newest known.
fn void_to(header: &Header, to: To<'_>, clock: Wall) -> Wall {
    clock.max(header.made_at).max(to.known.unwrap_or(clock))
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
    let into = real_place(to.into).map_err(|error| Fault::disk(to.into, &error))?;
    let to = To { into: &into, ..to };
    check_is_empty(to.into)?;
    let Unsealed { opened, opener, size, .. } = unseal(file, vault)?;
    clock_fits(&opened.header, to, now()).map_err(Fault::Disk)?;
    let partial = Partial::begin(to.into)?;
    unpack(opener, &partial.dir, (opened.end, size), progress)?;
    let done = settle(&partial.dir, opened.header, to, vault, now())?;
    partial.put_in_place(to.into)?;
    Ok(done)
}

/// Where a directory is or will be; that of a symbolic link is what it leads to.
fn real_place(into: &Path) -> io::Result<PathBuf> {
    if into.is_symlink() { into.canonicalize() } else { std::path::absolute(into) }
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
    _lock: DirLock,
}

impl Partial {
    fn begin(into: &Path) -> Result<Self, Fault> {
        let mut name = into.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        let dir = into.with_file_name(name);
        let failed = |error: io::Error| Fault::disk(&dir, &error);
        if dir.exists() {
            // A restore was killed here, maybe before it could say so.
            let is_empty = fs::read_dir(&dir).is_ok_and(|mut entries| entries.next().is_none());
            if !is_empty && !dir.join(MARKER).exists() {
                return Err(Fault::Disk(format!("{}: is no work of a restore; move it away", dir.display())));
            }
            // One that still runs holds it.
            let _lock = DirLock::acquire(&dir)?;
            fs::remove_dir_all(&dir).map_err(failed)?;
        }
        let place = into.display();
        if into.exists() {
            // Whether its name can be taken in the end: better known now than then.
            let renamed = fs::rename(into, &dir).and_then(|()| fs::rename(&dir, into));
            renamed.map_err(|error| {
                Fault::Disk(format!(
                    "{place}: cannot be replaced: {error}: it is a mount point, or what holds it is not to be written \
                     to; name a directory that is not there yet, such as {place}/data"
                ))
            })?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|error| {
            let dir = dir.display();
            Fault::Disk(format!(
                "{dir}: {error}: a restore works beside {place} until it is done, and must be able to write there"
            ))
        })?;
        File::create_new(dir.join(MARKER)).map_err(failed)?;
        let lock = DirLock::acquire(&dir)?;
        Ok(Self { dir, in_place: false, _lock: lock })
    }

    fn put_in_place(mut self, into: &Path) -> Result<(), Fault> {
        let place = || {
            sync_all(&self.dir)?;
            fs::rename(&self.dir, into)?;
            sync_folder(into)
        };
        place().map_err(|error| Fault::disk(into, &error))?;
        self.in_place = true;
        // Words for nobody from here on.
        let remove = |name| fs::remove_file(into.join(name)).map_err(|error| Fault::disk(into, &error));
        remove(LOCK).and_then(|()| remove(MARKER))
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
fn settle(dir: &Path, header: Header, to: To<'_>, vault: &dyn Vault, clock: Wall) -> Result<Restored, Fault> {
    let at = void_to(&header, to, clock);
    let found = verify(dir, &header, to, vault)?;
    let made_anew = make_book_anew(dir, &header, &found)?;
    let (disk, store) = open_store(dir, &header, &found)?;
    let reach = Reach { reach: header.made_at, restored_at: at };
    let sessions: Vec<_> = store.sessions()?.into_iter().map(|(session, _)| session).collect();
    let unsure: Vec<_> = sessions.iter().flat_map(|session| unsure_pairs(session, reach)).collect();
    let mails = match sends_mail(dir)? {
        true => mails(&store, vault, &firms_of(sessions.iter(), reach), &unsure, (reach, clock))?,
        false => Vec::new(),
    };
    let told = mails.len();
    let streams = raise_numbers(&store, dir, &header.node, to.numbers_ahead)?;
    let context = Context { at, door: Door::Local, source: None, attempt: new_attempt() };
    let damaged = found.summary();
    let mut words = format!(
        "from backup {} of record {}; {streams} FIX streams go on {} numbers later",
        header.id, header.head.no, to.numbers_ahead
    );
    if let Some(what) = &damaged {
        words.push_str(&format!("; taken though damaged: {what}"));
    }
    if let Some(what) = &made_anew {
        words.push_str(&format!("; the book was made anew from the journal: {what}"));
    }
    let clock = (clock < at).then_some(clock);
    if let Some(clock) = clock {
        words.push_str(&format!("; the clock said {clock}"));
    }
    let mut records = restored(header.made_at, &words, mails, &Actor::Local { uid: to.uid }, &context);
    records.iter_mut().for_each(|record| record.entry.factor = Factor::LocalUser);
    let record = commit(&store, Batch { expects: Vec::new(), records })?;
    let heads = open_heads(dir, &disk, &found)?;
    sign(heads, vault, Checkpoint::new(&header.node, 0, HeadKind::At, store.head(), at))?;
    Ok(Restored { header, at, clock, record, unsure, mails: told, streams, damaged, made_anew })
}

/// What is wrong in what was unpacked; a fault where that is not to be taken.
fn verify(dir: &Path, header: &Header, to: To<'_>, vault: &dyn Vault) -> Result<Found, Fault> {
    let [journal, streams] = [JOURNAL, STREAMS].map(|folder| RealDisk::open_to_read(&dir.join(folder)));
    let book = dir.join(BOOK);
    let looked = if book.exists() { sqlite::look(&book)? } else { Looked::default() };
    let found = findings(Arc::new(journal?), streams?, looked, header, vault)?;
    match found.summary() {
        Some(what) if !to.damaged => Err(Fault::Damaged(format!(
            "what is in the backup is not as it was written, and was not when the backup was made: {what}; take another \
             backup, or with --damaged the book of this one and what reads of the rest"
        ))),
        Some(_) | None => Ok(found),
    }
}

/// Makes a book that does not verify anew from the journal, which is the truth; what was wrong with it, where that was done.
fn make_book_anew(dir: &Path, header: &Header, found: &Found) -> Result<Option<String>, Fault> {
    let Some(what) = summary(&found.book) else { return Ok(None) };
    if !dir.join(BOOK).exists() {
        // It was left out: opening makes it.
        return Ok(Some(what));
    }
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&dir.join(JOURNAL))?);
    match sqlite::rebuild(dir, &disk, header.node.clone(), &sqlite::Settings::default()) {
        Ok(_) => Ok(Some(what)),
        Err(fault) if found.texts.is_empty() => Err(fault),
        // As it is, with what reads of the rest.
        Err(_) => Ok(None),
    }
}

/// Opens what was unpacked; segments that keep it from opening are set aside, and with them those before.
fn open_store(
    dir: &Path,
    header: &Header,
    found: &Found,
) -> Result<(Arc<dyn Disk>, sqlite::SqliteStore), Fault> {
    let open = || {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&dir.join(JOURNAL))?);
        let settings = sqlite::Settings::default();
        let store = sqlite::open(dir, Arc::clone(&disk), header.node.clone(), &settings)?;
        Ok((disk, store))
    };
    if found.streams {
        set_aside(dir, STREAMS)?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(dir.join(STREAMS))
            .map_err(|error| Fault::disk(dir, &error))?;
    }
    match open() {
        Err(Fault::Damaged(_)) if !found.journal.is_empty() => {
            for segment in bad_segments(dir, found)? {
                set_aside(dir, &segment)?;
            }
            open()
        }
        opened => opened,
    }
}

/// Paths of the journal's segments up to the last one with a finding, but not the newest: it reads up to its end.
fn bad_segments(dir: &Path, found: &Found) -> Result<Vec<String>, Fault> {
    let journal = dir.join(JOURNAL);
    let names = RealDisk::open_to_read(&journal)?.list().map_err(|error| Fault::disk(&journal, &error))?;
    let mut segments: Vec<_> = names.into_iter().filter(|name| name.ends_with(".seg")).collect();
    segments.sort_unstable();
    segments.pop();
    let last = found.journal.iter().filter(|name| name.ends_with(".seg")).max();
    segments.retain(|name| last.is_some_and(|last| name <= last));
    Ok(segments.into_iter().map(|name| format!("{JOURNAL}/{name}")).collect())
}

/// Moves what is damaged into a folder where nothing reads it.
fn set_aside(dir: &Path, path: &str) -> Result<(), Fault> {
    let to = dir.join(ASIDE).join(path);
    let folder = to.parent().unwrap_or(dir);
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.and_then(|()| fs::rename(dir.join(path), &to)).map_err(|error| Fault::disk(&to, &error))
}

fn open_heads(dir: &Path, disk: &Arc<dyn Disk>, found: &Found) -> Result<Heads, Fault> {
    match Heads::open(Arc::clone(disk)) {
        Err(Fault::Damaged(_)) if !found.texts.is_empty() => {
            set_aside(dir, &format!("{JOURNAL}/{HEADS_FILE}"))?;
            Heads::open(Arc::clone(disk))
        }
        opened => opened,
    }
}

/// Signs where the journal stands now, so that nothing of what was put back can be changed unseen.
fn sign(mut heads: Heads, vault: &dyn Vault, mut checkpoint: Checkpoint) -> Result<(), Fault> {
    let keys = vault.audit_keys()?;
    let newest = keys.last().ok_or_else(|| Fault::Vault("there is no audit key".to_owned()))?;
    let key = HeadKey::new(*newest);
    checkpoint.count = heads.next_count();
    let signature = vault.audit_sign(newest, checkpoint.text(&key).as_bytes())?;
    heads.append(SignedHead::new(checkpoint, &key, signature))
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
    (reach, now): (Reach, Wall),
) -> Result<Vec<Mail>, Fault> {
    let sessions = store.sessions()?;
    let mut mails = Vec::new();
    for firm in firms {
        let of_firm = |pair: &&UnsurePair| {
            sessions.iter().any(|(session, _)| session.id == pair.session && session.firm == *firm)
        };
        let pairs = pairs_in_words(&unsure.iter().filter(of_firm).collect::<Vec<_>>());
        for person in store.administrators(Some(firm))? {
            let Some(to) = person.profile.email.filter(|_| person.standing == Standing::Active) else {
                continue;
            };
            let mut id = [0; 8];
            vault.random(&mut id)?;
            let values = [
                ("at_us", reach.restored_at.as_us().to_string()),
                ("detail", format!("{pairs}. The data reach to {}.", reach.reach)),
            ];
            mails.push(Mail {
                id: MailId::from_random(u64::from_be_bytes(id)),
                to,
                kind: MailKind::PairsUnsure,
                queued_at: now,
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
