//! A backup is whole or none, opens with its own key only, and nothing of it can be changed, cut or moved.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use doorward_core::audit::{Actor, AttemptId, Context, Door, Entry, Event, Record};
use doorward_core::identity::change::Change;
use doorward_core::identity::restore::Reach;
use doorward_core::stream::{Epoch, Numbers, StreamKey};
use doorward_core::time::Wall;

use super::sealed::{CHUNK_BYTES, Opener, Sealer, sealed_bytes};
use super::*;
use crate::book::{AuditFilter, Batch, Store, sqlite};
use crate::fault::Fault;
use crate::journal::{Disk, HeadKey, RealDisk, verify_anchored};
use crate::streams::{self, StreamLog};
use crate::vault::{ChallengeSettings, SoftVault, Vault};

mod sound;

const NODE: &str = "node1";
const NOW: Wall = Wall::from_s(1_800_000_000);

struct World {
    base: tempfile::TempDir,
    vault: SoftVault,
}

impl World {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        fs::write(base.path().join("doorward.toml"), "data_dir = \"data\"\n[mail]\nfolder = \"mails\"\n")
            .unwrap();
        Self { base, vault: SoftVault::in_memory(ChallengeSettings::default()).unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    fn store(&self, dir: &str) -> sqlite::SqliteStore {
        let dir = self.path(dir);
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&dir.join(JOURNAL)).unwrap());
        let settings = sqlite::Settings { segment_bytes: 16 * 1024, ..sqlite::Settings::default() };
        sqlite::open(&dir, disk, NODE.to_owned(), &settings).unwrap()
    }

    fn make(&self, name: &str) -> Result<Header, Fault> {
        self.make_of(name, false)
    }

    fn make_of(&self, name: &str, damaged: bool) -> Result<Header, Fault> {
        let (data, config) = (self.path("data"), self.path("doorward.toml"));
        let from = From { data_dir: &data, config: &config, node: NODE, damaged, reserve_bytes: 0 };
        super::make(from, &self.vault, &|| NOW, &self.path(name), &mut |done, of| assert!(done <= of))
    }

    fn restore(&self, name: &str, into: &str) -> Result<Restored, Fault> {
        self.restore_with(&self.vault, name, into)
    }

    fn restore_with(&self, vault: &dyn Vault, name: &str, into: &str) -> Result<Restored, Fault> {
        self.restore_at(NOW, to(&self.path(into)), vault, name)
    }

    fn restore_damaged(&self, name: &str, into: &str) -> Result<Restored, Fault> {
        let into = self.path(into);
        self.restore_at(NOW, To { damaged: true, ..to(&into) }, &self.vault, name)
    }

    fn restore_at(&self, now: Wall, to: To<'_>, vault: &dyn Vault, name: &str) -> Result<Restored, Fault> {
        super::restore(&self.path(name), to, vault, &|| now, &mut |done, of| assert!(done <= of))
    }

    fn flip(&self, name: &str, at: usize) {
        let path = self.path(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
    }

    /// What is damaged is not backed up and not put back, unless somebody asks for it; then all of the book is there.
    fn comes_back_damaged(&self, place: &str) -> Restored {
        let fault = self.make("b").unwrap_err().to_string();
        assert!(fault.contains(place) && fault.contains("--damaged"), "{fault}");
        assert!(!self.path("b").exists() && !self.path("b.partial").exists());
        let header = self.make_of("b", true).unwrap();
        assert!(header.damaged.as_ref().is_some_and(|what| what.contains(place)), "{header:?}");
        assert_eq!(inspect(&self.path("b")).unwrap(), header);
        let check = check(&self.path("b"), &self.vault, &mut |_, _| {}).unwrap();
        assert!(check.findings[0].contains(place), "{check:?}");
        let fault = self.restore("b", "new").unwrap_err().to_string();
        assert!(fault.contains(place) && fault.contains("--damaged"), "{fault}");
        assert!(!self.path("new").exists() && !self.path("new.partial").exists());
        let done = self.restore_damaged("b", "new").unwrap();
        let rows = self.store("new").audit(&AuditFilter::default(), None, 1_000).unwrap();
        assert_eq!((done.record, rows.len()), (201, 201));
        let detail = rows[0].1.detail.as_deref().unwrap();
        assert!(detail.contains("taken though damaged") && detail.contains(place), "{detail}");
        done
    }

    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.base.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn to(into: &Path) -> To<'_> {
    To { into, numbers_ahead: 500, uid: 7, damaged: false, known: None, late: false, early: false }
}

fn record(n: u64) -> Record {
    let context = Context { at: NOW, door: Door::Node, source: None, attempt: AttemptId(n) };
    let entry = Entry::new(&context, Event::ClockGood, Actor::Node).with_detail("x".repeat(500));
    Record { entry, changes: Vec::new() }
}

fn write(store: &impl Store, count: u64) {
    for n in 0..count {
        store
            .submit(Batch { expects: Vec::new(), records: vec![record(n)] })
            .blocking_recv()
            .unwrap()
            .unwrap();
    }
}

fn stream() -> StreamKey {
    StreamKey::parse("cgw/ABC/001").unwrap()
}

fn log(dir: &Path) -> (StreamLog, streams::Recovered) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&dir.join(STREAMS)).unwrap());
    let settings =
        streams::Settings { segment_bytes: 16 * 1024, ahead: false, ..streams::Settings::new(NODE) };
    StreamLog::open(disk, settings).unwrap()
}

fn fill_log(dir: &Path, messages: u64) {
    let (mut log, _) = log(dir);
    let epoch = Epoch { week: 7, reset: 0 };
    log.numbers(&stream(), &Numbers { rev: 1, next_in: 4, ceiling: 65, ..Numbers::new(epoch) });
    for number in 1..=messages {
        log.outbound(&stream(), epoch, number, NOW, &[b'm'; 300]);
        log.commit().unwrap();
    }
}

#[test]
fn v7_a_backup_beside_a_writer_comes_back_whole_with_one_record_more() {
    let world = World::new();
    let store = world.store("data");
    write(&store, 200);
    fill_log(&world.path("data"), 120);
    let header = world.make("b").unwrap();
    assert_eq!((header.node.as_str(), header.first, header.head.no), (NODE, 1, 200));
    write(&store, 5);
    assert_eq!(inspect(&world.path("b")).unwrap(), header);
    let check = check(&world.path("b"), &world.vault, &mut |_, _| {}).unwrap();
    assert!(check.files > 10 && check.header == header, "{check:?}");

    let done = world.restore("b", "new").unwrap();
    assert_eq!((done.record, done.streams, done.mails), (201, 1, 0));
    assert_eq!(world.left(), ["b", "data", "doorward.toml", "new"]);
    let restored = world.store("new");
    let newest = restored.audit(&AuditFilter::default(), None, 2).unwrap();
    assert_eq!(newest.iter().map(|(no, _)| *no).collect::<Vec<_>>(), [201, 200]);
    assert_eq!(Reach::of(&newest[0].1), Some(Reach { reach: NOW, restored_at: NOW }));
    assert_eq!(restored.audit(&AuditFilter::default(), Some(201), 1_000).unwrap().len(), 200);
    let (log, recovered) = log(&world.path("new"));
    let numbers = recovered.streams[&stream()];
    assert_eq!((numbers.next_in, numbers.next_out, numbers.ceiling), (4, 121, 621), "500 behind 121");
    assert_eq!(recovered.messages, 120);
    drop(log);
    let disk = RealDisk::open_to_read(&world.path("new/journal")).unwrap();
    let keys = world.vault.audit_keys().unwrap().into_iter().map(HeadKey::new).collect::<Vec<_>>();
    let (report, anchoring) = verify_anchored(&disk, &[], &keys).unwrap();
    assert!(report.intact, "{:?}", report.findings);
    assert_eq!((report.anchored, anchoring.good), (Some(201), 1), "the restore is signed for");
    assert!(!world.path("new/restore-under-way").exists() && world.path("new/doorward.toml").exists());
    write(&restored, 3);
}

#[test]
fn a_backup_while_records_and_messages_come_is_one_moment_of_them() {
    let world = World::new();
    let store = Arc::new(world.store("data"));
    write(&*store, 20);
    let data = world.path("data");
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let writing = scope.spawn(|| {
            let stopped = stopped;
            let mut n = 0;
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                write(&*store, 1);
                n += 1;
            }
            n
        });
        let messages = scope.spawn(|| fill_log(&data, 600));
        for nth in 0..6 {
            let before = store.head();
            let header = world.make(&format!("b{nth}")).unwrap();
            assert!(header.head.no >= before.no, "all that was acknowledged before is there");
            assert!(header.book.is_some_and(|mark| mark <= header.head.no));
        }
        drop(stop);
        assert!(writing.join().unwrap() > 0);
        messages.join().unwrap();
    });
    for nth in 0..6 {
        let done = world.restore(&format!("b{nth}"), &format!("new{nth}")).unwrap();
        assert_eq!(done.record, done.header.head.no + 1);
    }
}

#[test]
fn a_segment_that_was_only_just_begun_follows_on_a_sealed_one() {
    let world = World::new();
    write(&world.store("data"), 60);
    let journal = world.path("data/journal");
    let names = fs::read_dir(&journal).unwrap().map(|entry| entry.unwrap().path());
    let last = names.filter(|name| name.extension().is_some_and(|ending| ending == "seg")).max().unwrap();
    let first: u64 = last.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert!(first > 1);
    // As it is between its making and its first batch.
    let mut bytes = fs::read(&last).unwrap();
    bytes[512..].fill(0);
    fs::write(&last, bytes).unwrap();
    fs::remove_file(world.path("data/book.db")).unwrap();
    let header = world.make("b").unwrap();
    assert_eq!((header.head.no, header.book), (first - 1, None));
    assert_eq!(world.restore("b", "new").unwrap().record, first);
}

#[test]
fn v9_every_changed_byte_cut_and_addition_is_found() {
    let world = World::new();
    write(&world.store("data"), 30);
    world.make("b").unwrap();
    let whole = fs::read(world.path("b")).unwrap();
    let refused = |bytes: &[u8], case: &str| {
        fs::write(world.path("bad"), bytes).unwrap();
        let fault = world.restore("bad", "new").unwrap_err();
        assert!(matches!(fault, Fault::Damaged(_) | Fault::Vault(_)), "{case}: {fault}");
        assert!(fault.to_string().contains("bad: "), "{case}: {fault}");
        assert!(!world.path("new").exists() && !world.path("new.partial").exists(), "{case}");
        fault.to_string()
    };
    let step = whole.len() / 40;
    for at in (0..whole.len()).step_by(step).chain([0, 8, 13, 16, 40, whole.len() - 1]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        refused(&bytes, &format!("byte {at}"));
    }
    for len in (0..whole.len()).step_by(step).chain([whole.len() - 1]) {
        let text = refused(&whole[..len], &format!("cut to {len}"));
        assert!(text.contains("at byte"), "{text}");
    }
    let longer = [whole.as_slice(), &[0; 16]].concat();
    assert!(refused(&longer, "longer").contains(&format!("at byte {}", whole.len())));
    // A header that was changed with its checksum made right.
    let text = String::from_utf8_lossy(&whole[16..600]).into_owned();
    let at = 16 + text.find("\"node\":\"node1\"").unwrap() + 8;
    let length = u32::from_be_bytes(whole[12..16].try_into().unwrap()) as usize;
    let mut forged = whole.clone();
    forged[at] = b'N';
    let crc = crc32fast::hash(&forged[..16 + length]).to_be_bytes();
    forged[16 + length..20 + length].copy_from_slice(&crc);
    assert!(refused(&forged, "forged header").contains("or the header, is not as it was written"));
}

#[test]
fn v9_a_backup_is_unreadable_without_its_key_and_holds_no_clear_text() {
    let world = World::new();
    write(&world.store("data"), 3);
    world.make("b").unwrap();
    let other = SoftVault::in_memory(ChallengeSettings::default()).unwrap();
    let fault = world.restore_with(&other, "b", "new").unwrap_err().to_string();
    assert!(fault.contains("sealed by another key"), "{fault}");
    assert!(!world.path("new").exists());
    let bytes = fs::read(world.path("b")).unwrap();
    for text in ["clock-good", "SQLite format", "DWJRNL", "data_dir", &"x".repeat(20)] {
        assert!(!bytes.windows(text.len()).any(|at| at == text.as_bytes()), "{text}");
    }
}

#[test]
fn a_backup_never_takes_the_place_of_a_file_and_a_restore_never_that_of_data() {
    let world = World::new();
    write(&world.store("data"), 3);
    // What a backup that was killed left: it is of no harm to the next one.
    fs::write(world.path("b.partial"), "half").unwrap();
    fs::create_dir_all(world.path("data/.backup-work")).unwrap();
    fs::write(world.path("data/.backup-work/book.db"), "half").unwrap();
    world.make("b").unwrap();
    assert_eq!(world.left(), ["b", "data", "doorward.toml"]);
    assert!(!world.path("data/.backup-work/book.db").exists());
    let before = fs::read(world.path("b")).unwrap();
    assert!(world.make("b").unwrap_err().to_string().contains("is there already"));
    assert_eq!(fs::read(world.path("b")).unwrap(), before);
    assert!(world.restore("b", "data").unwrap_err().to_string().contains("is not empty"));
    assert!(world.restore("b", "b").unwrap_err().to_string().contains("is a file"));
    // A restore that was killed left its work, which goes; anything else of that name stays.
    fs::create_dir(world.path("new.partial")).unwrap();
    fs::write(world.path("new.partial/mine"), "kept").unwrap();
    assert!(world.restore("b", "new").unwrap_err().to_string().contains("no work of a restore"));
    fs::write(world.path("new.partial/restore-under-way"), "").unwrap();
    fs::create_dir(world.path("new")).unwrap();
    world.restore("b", "new").unwrap();
    assert!(world.path("new/book.db").exists() && !world.path("new.partial").exists());
}

const FIRST: &str = "00000000000000000001.seg";

#[test]
fn v7_a_rotten_record_is_told_when_the_backup_is_made_and_the_book_comes_back() {
    let world = World::new();
    write(&world.store("data"), 200);
    world.flip(&format!("data/journal/{FIRST}"), 2_000);
    let done = world.comes_back_damaged(FIRST);
    assert!(
        done.damaged.is_some() && !world.path("new/damaged").exists(),
        "it opens: all of it is kept in place"
    );
}

#[test]
fn v7_a_node_that_has_signed_nothing_yet_is_backed_up_without_a_finding() {
    let world = World::new();
    write(&world.store("data"), 3);
    // As a node leaves it that was stopped before the first head was due, or whose first head a power cut took.
    for (nth, heads) in ["", "\n\n\n", "doorward-head-1 node1 1 at 3:"].into_iter().enumerate() {
        fs::write(world.path("data/journal/heads"), heads).unwrap();
        let name = format!("b{nth}");
        assert_eq!(world.make(&name).unwrap().damaged, None);
        assert_eq!(world.restore(&name, &format!("new{nth}")).unwrap().record, 4);
    }
}

#[test]
fn v7_a_segment_that_does_not_open_is_set_aside_and_the_book_comes_back() {
    let world = World::new();
    write(&world.store("data"), 200);
    let first = format!("data/journal/{FIRST}");
    let end = fs::metadata(world.path(&first)).unwrap().len() as usize;
    world.flip(&first, end - 500);
    world.comes_back_damaged(FIRST);
    assert!(world.path(&format!("new/damaged/journal/{FIRST}")).exists());
    assert!(!world.path(&format!("new/journal/{FIRST}")).exists());
}

#[test]
fn v7_a_rotten_message_is_told_when_the_backup_is_made_and_the_book_comes_back() {
    let world = World::new();
    write(&world.store("data"), 200);
    fill_log(&world.path("data"), 120);
    world.flip("data/streams/00000000000000000001.str", 2_000);
    world.comes_back_damaged("00000000000000000001.str");
    assert!(world.path("new/damaged/streams/00000000000000000001.str").exists());
}

#[test]
fn v7_damage_in_a_segment_that_grows_is_told_and_not_cut_off_silently() {
    let world = World::new();
    write(&world.store("data"), 3);
    fill_log(&world.path("data"), 9);
    let [journal, streams] =
        [format!("data/journal/{FIRST}"), "data/streams/00000000000000000001.str".into()];
    fs::remove_file(world.path("data/book.db")).unwrap();
    world.make("good").unwrap();
    for name in [journal, streams] {
        for at in [100, 600] {
            world.flip(&name, at);
            let fault = world.make("b").unwrap_err().to_string();
            assert!(
                fault.contains("00000000000000000001") || fault.contains("no journal"),
                "{name}: {fault}"
            );
            world.flip(&name, at);
        }
    }
    world.make("b").unwrap();
}

#[test]
fn v9_chunks_neither_move_nor_go_missing_nor_come_from_elsewhere() {
    let seal = |content: &[u8], key: u8, bound: u8| {
        let mut sealer = Sealer::new(Vec::new(), &[key; 32], [bound; 32]).unwrap();
        for piece in content.chunks(10_000) {
            sealer.put(piece).unwrap();
        }
        sealer.finish().unwrap()
    };
    let open = |sealed: &[u8], bound: u8| {
        let mut opener =
            Opener::new(sealed, Path::new("b"), &[7; 32], [bound; 32], (0, sealed.len() as u64)).unwrap();
        let mut content = Vec::new();
        loop {
            match opener.some(9_999)? {
                [] => break,
                some => content.extend_from_slice(some),
            }
        }
        opener.finish().map(|()| content)
    };
    let part = CHUNK_BYTES + 16;
    for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 9]
    {
        let content: Vec<u8> = (0..length).map(|at| (at / 7) as u8).collect();
        let sealed = seal(&content, 7, 1);
        assert_eq!(sealed.len() as u64, sealed_bytes(length as u64), "{length}");
        assert_eq!(open(&sealed, 1).unwrap(), content);
        assert!(open(&sealed, 2).is_err() && open(&seal(&content, 8, 1), 1).is_err());
        if length > part {
            assert!(open(&sealed[..part], 1).is_err(), "cut behind a chunk");
            assert!(open(&sealed[part..], 1).is_err(), "the first left out");
            let swapped = [&sealed[part..2 * part], &sealed[..part], &sealed[2 * part..]].concat();
            assert!(open(&swapped, 1).is_err(), "swapped");
            let twice = [&sealed[..part], &sealed].concat();
            assert!(open(&twice, 1).is_err(), "twice");
        }
    }
}

#[test]
fn v8_the_record_of_a_restore_voids_everybodys_tokens() {
    let world = World::new();
    write(&world.store("data"), 1);
    world.make("b").unwrap();
    world.restore("b", "new").unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open_to_read(&world.path("new/journal")).unwrap());
    let entry = crate::journal::read_from(disk, 2, 2).next().unwrap().unwrap();
    let record: Record = serde_json::from_slice(&entry.bytes).unwrap();
    assert_eq!(record.changes, [Change::Restored { at: NOW }]);
}

#[test]
fn v8_a_clock_that_cannot_be_right_restores_nothing() {
    let world = World::new();
    write(&world.store("data"), 1);
    world.make("b").unwrap();
    let into = world.path("new");
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3_600));
    let known = To { known: Some(NOW + day), ..to(&into) };
    for (now, to, says) in [
        (NOW - second, to(&into), "set the clock"),
        (NOW + day - second, known, "something was decided at"),
        (NOW + 30 * day + second, to(&into), "if it is right, say --late"),
    ] {
        let fault = world.restore_at(now, to, &world.vault, "b").unwrap_err().to_string();
        assert!(fault.contains(says) && fault.contains(&now.to_string()), "{fault}");
        assert!(!into.exists() && !world.path("new.partial").exists(), "{says}");
    }
    let late = To { late: true, ..to(&into) };
    assert_eq!(world.restore_at(NOW + 31 * day, late, &world.vault, "b").unwrap().at, NOW + 31 * day);
    let other = world.path("other");
    for (to, now) in [(known, NOW + day), (to(&into), NOW), (to(&into), NOW + 30 * day)] {
        world.restore_at(now, To { into: &other, ..to }, &world.vault, "b").unwrap();
        fs::remove_dir_all(&other).unwrap();
    }
}

#[test]
fn v7_what_is_dropped_while_a_backup_is_written_is_in_it() {
    let world = World::new();
    write(&world.store("data"), 200);
    fill_log(&world.path("data"), 120);
    let (data, config) = (world.path("data"), world.path("doorward.toml"));
    let from = From { data_dir: &data, config: &config, node: NODE, damaged: false, reserve_bytes: 0 };
    let mut drop_oldest = |_, _| {
        for oldest in ["streams/00000000000000000001.str", "journal/00000000000000000001.seg"] {
            let _ = fs::remove_file(data.join(oldest));
        }
    };
    super::make(from, &world.vault, &|| NOW, &world.path("b"), &mut drop_oldest).unwrap();
    assert!(!data.join("streams/00000000000000000001.str").exists());
    assert_eq!(world.restore("b", "new").unwrap().record, 201);
    assert_eq!(log(&world.path("new")).1.messages, 120);
    assert_eq!(fs::read_dir(data.join(".backup-work")).unwrap().count(), 1, "only its lock");
}

#[test]
fn v7_messages_of_before_the_instant_that_a_backup_reaches_are_in_it() {
    let world = World::new();
    write(&world.store("data"), 1);
    let (data, config) = (world.path("data"), world.path("doorward.toml"));
    let from = From { data_dir: &data, config: &config, node: NODE, damaged: false, reserve_bytes: 0 };
    let until = || {
        fill_log(&data, 7);
        NOW
    };
    super::make(from, &world.vault, &until, &world.path("b"), &mut |_, _| {}).unwrap();
    world.restore("b", "new").unwrap();
    assert_eq!(log(&world.path("new")).1.messages, 7);
}

#[test]
fn v7_an_empty_place_is_taken_where_it_really_is() {
    let world = World::new();
    write(&world.store("data"), 1);
    world.make("b").unwrap();
    // A restore that was killed before it could say whose the folder is.
    fs::create_dir(world.path("new.partial")).unwrap();
    world.restore("b", "new").unwrap();
    assert!(!world.path("new.partial").exists());
    // A usual place is a link to a larger disk.
    fs::create_dir_all(world.path("disk/place")).unwrap();
    std::os::unix::fs::symlink(world.path("disk/place"), world.path("link")).unwrap();
    world.restore("b", "link").unwrap();
    assert!(world.path("link").is_symlink() && world.path("disk/place/book.db").exists());
    assert!(!world.path("link.partial").exists() && !world.path("disk/place.partial").exists());
    // Where its work cannot have its name: that is told, with what to do, and before anything is unpacked.
    let long = "n".repeat(250);
    let fault = world.restore("b", &long).unwrap_err().to_string();
    assert!(fault.contains("a restore works beside"), "{fault}");
    fs::create_dir(world.path(&long)).unwrap();
    let fault = world.restore("b", &long).unwrap_err().to_string();
    assert!(fault.contains("cannot be replaced") && fault.contains(&format!("{long}/data")), "{fault}");
}

#[test]
fn v8_where_the_nodes_clock_was_ahead_codes_are_void_up_to_the_newest_known_instant() {
    let world = World::new();
    write(&world.store("data"), 1);
    world.make("b").unwrap();
    let (into, day) = (world.path("new"), Duration::from_secs(24 * 3_600));
    let now = NOW - day;
    for (known, void_to) in [(None, NOW), (Some(now), NOW), (Some(NOW + day), NOW + day)] {
        let to = To { known, ..to(&into) };
        let fault = world.restore_at(now, to, &world.vault, "b").unwrap_err().to_string();
        assert!(fault.contains("say --early") && fault.contains(&format!("before {void_to}")), "{fault}");
        let done = world.restore_at(now, To { early: true, ..to }, &world.vault, "b").unwrap();
        assert_eq!((done.at, done.clock), (void_to, Some(now)));
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open_to_read(&world.path("new/journal")).unwrap());
        let entry = crate::journal::read_from(disk, 2, 2).next().unwrap().unwrap();
        let record: Record = serde_json::from_slice(&entry.bytes).unwrap();
        assert_eq!(record.changes, [Change::Restored { at: void_to }]);
        assert!(record.entry.detail.unwrap().contains(&format!("the clock said {now}")));
        fs::remove_dir_all(&into).unwrap();
    }
    let early = To { early: true, ..to(&into) };
    let done = world.restore_at(NOW + day, early, &world.vault, "b").unwrap();
    assert_eq!((done.at, done.clock), (NOW + day, None), "a clock that is right is believed");
}

#[test]
fn v7_a_backup_among_the_data_is_refused_and_what_is_not_of_a_backup_stays() {
    let world = World::new();
    write(&world.store("data"), 3);
    for folder in ["data/backup/old", "data/.backup-work/lost+found", "elsewhere"] {
        fs::create_dir_all(world.path(folder)).unwrap();
    }
    for (link, to) in [("link", "data/backup"), ("elsewhere/journal", "data/journal")] {
        std::os::unix::fs::symlink(world.path(to), world.path(link)).unwrap();
    }
    let mine = ["data/backup/n.dwb", "data/.backup-work/n.dwb", "data/.backup-work/journal-old.seg"];
    mine.iter().for_each(|name| fs::write(world.path(name), "kept").unwrap());
    for folder in ["data", "data/backup", "data/journal", "data/.backup-work", "link", "elsewhere/journal"] {
        let file = format!("{folder}/b");
        let fault = world.make(&file).unwrap_err().to_string();
        assert!(fault.contains("lies in the data directory"), "{file}: {fault}");
        assert!(!world.path(&file).exists() && !world.path(&format!("{file}.partial")).exists(), "{file}");
    }
    world.make("b").unwrap();
    mine.iter().for_each(|name| assert_eq!(fs::read(world.path(name)).unwrap(), b"kept", "{name}"));
    // A link there leads to something else.
    fs::remove_dir_all(world.path("data/.backup-work")).unwrap();
    fs::write(world.path("elsewhere/book.db"), "kept").unwrap();
    std::os::unix::fs::symlink(world.path("elsewhere"), world.path("data/.backup-work")).unwrap();
    let fault = world.make("c").unwrap_err().to_string();
    assert!(fault.contains("is a link"), "{fault}");
    assert_eq!(fs::read(world.path("elsewhere/book.db")).unwrap(), b"kept");
}

#[test]
fn a_second_restore_into_a_place_leaves_the_first_ones_work() {
    let world = World::new();
    write(&world.store("data"), 1);
    world.make("b").unwrap();
    fs::create_dir(world.path("new.partial")).unwrap();
    fs::write(world.path("new.partial/restore-under-way"), "").unwrap();
    fs::write(world.path("new.partial/book.db"), "half").unwrap();
    let first = crate::journal::DirLock::acquire(&world.path("new.partial")).unwrap();
    let fault = world.restore("b", "new").unwrap_err().to_string();
    assert!(fault.contains("in use by process"), "{fault}");
    assert_eq!(fs::read(world.path("new.partial/book.db")).unwrap(), b"half");
    drop(first);
    world.restore("b", "new").unwrap();
    assert!(!world.path("new.partial").exists() && !world.path("new/lock").exists());
}

#[test]
fn q10_a_backup_leaves_the_room_that_the_node_needs() {
    let world = World::new();
    write(&world.store("data"), 3);
    let (data, config) = (world.path("data"), world.path("doorward.toml"));
    let book = fs::metadata(data.join("book.db")).unwrap().len();
    let from = From { data_dir: &data, config: &config, node: NODE, damaged: false, reserve_bytes: 1 << 60 };
    let made = super::make(from, &world.vault, &|| NOW, &world.path("b"), &mut |_, _| {});
    let fault = made.unwrap_err().to_string();
    assert!(
        fault.contains("bytes are free on this disk") && fault.contains(&format!("{book} for")),
        "{fault}"
    );
    assert_eq!(world.left(), ["data", "doorward.toml"]);
    assert_eq!(fs::read_dir(data.join(".backup-work")).unwrap().count(), 1, "nothing was copied");
}
