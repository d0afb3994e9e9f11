//! The book as a file of its own, and records that are dropped (Q9): whatever a crash leaves, nothing that they made is lost.

use doorward_core::audit::Event;

use super::*;
use crate::book::conformance::{add, attempt, batch, commit, entry, firm, id, person};
use crate::journal::{
    Checkpoint, HeadKey, HeadKind, Heads, SignedHead, first_record, last_dropped, verify_anchored,
};

const YOUNG: Wall = Wall::from_s(1_000);

/// Nobody stops.
fn going_on() -> AtomicBool {
    AtomicBool::new(false)
}

/// A firm and four people with attempts, old records of some length, then young ones: several segments.
fn fill(store: &SqliteStore) {
    commit(store, batch(Vec::new(), vec![Change::Firm { firm: firm("ACME") }])).unwrap();
    for n in 1..=4 {
        commit(store, add(&person(n, &format!("user{n}")))).unwrap();
        commit(store, batch(Vec::new(), vec![attempt(id(n), 1, 1)])).unwrap();
    }
    for nth in 0..60_i64 {
        let at_s = if nth < 40 { nth } else { 1_000 + nth };
        let mut entry = entry(Event::LoginRefused, at_s);
        entry.detail = Some(format!("{nth:<900}"));
        let changes = vec![attempt(id(1 + nth.unsigned_abs() % 4), 1, 2)];
        commit(store, Batch { expects: Vec::new(), records: vec![Record { entry, changes }] }).unwrap();
    }
}

/// Says in the file of heads what the gate would say; whose signature it is proves nothing here.
fn say(disk: &PowerDisk, kind: HeadKind, head: Head) -> Result<(), Fault> {
    let mut heads = Heads::open(Arc::new(disk.clone()))?;
    let checkpoint = Checkpoint::new(NODE, heads.next_count(), kind, head, Wall::from_s(9));
    heads.append(SignedHead::new(checkpoint, &HeadKey::new([1; 32]), [0; 64]))
}

/// Drops all that is older than [`YOUNG`], or ends what was begun; how many segments went.
fn drop_old(store: &SqliteStore, disk: &PowerDisk) -> Result<u64, Fault> {
    let shown = store.audit_after(&AuditFilter::default(), 0, 1)?[0].0;
    if let Some(said) = last_dropped(disk)?
        && first_record(disk)?.min(shown) <= said.checkpoint.head.no
    {
        return store.drop_to(said.checkpoint.head.no, &said.book().unwrap(), &going_on());
    }
    let Some(head) = store.droppable(YOUNG, Duration::ZERO, &going_on())? else { return Ok(0) };
    say(disk, HeadKind::At, store.head())?;
    let book = store.set_aside(head.no, &going_on())?;
    say(disk, HeadKind::DroppedTo { book }, head)?;
    store.drop_to(head.no, &book, &going_on())
}

fn is_audit(row: &str) -> bool {
    row.starts_with("audit ")
}

/// The rows of a book without what is known of single records, and how many of those there are.
fn without_audit(dir: &Path) -> (Vec<String>, u64) {
    let rows = dump(dir);
    let audits = rows.iter().filter(|row| is_audit(row)).count() as u64;
    (rows.into_iter().filter(|row| !is_audit(row)).collect(), audits)
}

#[test]
fn a_snapshot_is_of_one_moment_while_others_write() {
    let base = scratch();
    let (dir, copy) = (base.path().join("now"), base.path().join("copy"));
    std::fs::create_dir(&copy).unwrap();
    let disk = PowerDisk::new();
    let store = open_on(&dir, &disk).unwrap();
    fill(&store);
    let mark = std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200 {
                commit(&store, batch(Vec::new(), vec![attempt(id(1), 3, 3)])).unwrap();
            }
        });
        store.snapshot(&copy.join(FILE)).unwrap()
    });
    assert!(mark.no >= 69 && mark.no <= store.head().no, "{mark}");
    assert_eq!(without_audit(&copy).1, mark.no);
    let refused = store.snapshot(&copy.join(FILE)).unwrap_err();
    assert!(matches!(refused, Fault::Disk(_)), "a file that is there is left alone: {refused}");
    let mode = std::os::unix::fs::PermissionsExt::mode(&copy.join(FILE).metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    drop(store);
    // With the journal behind it, it is the book.
    drop(open_on(&copy, &disk.copy()).unwrap());
    assert_eq!(dump(&copy), dump(&dir));
}

#[test]
fn q9_only_whole_segments_go_all_of_whose_records_are_old() {
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    fill(&store);
    assert_eq!(store.droppable(Wall::from_s(0), Duration::ZERO, &going_on()).unwrap(), None);
    let upto = store.droppable(YOUNG, Duration::ZERO, &going_on()).unwrap().unwrap();
    let old = |no| store.audit(&AuditFilter::default(), Some(no + 1), 1).unwrap()[0].1.at < YOUNG;
    assert!(upto.no < 50 && old(upto.no), "{upto}");
    let segments = store.status().unwrap().segments;
    let dropped = drop_old(&store, &disk).unwrap();
    assert!(dropped >= 2, "{dropped}");
    assert_eq!(store.status().unwrap().segments, segments - dropped);
    assert_eq!(first_record(&disk).unwrap(), upto.no + 1);
    assert_eq!(store.audit_after(&AuditFilter::default(), 0, 1).unwrap()[0].0, upto.no + 1);
    assert_eq!(drop_old(&store, &disk).unwrap(), 0, "nothing more");
    // All goes on, and later more goes, for which another book is set aside in place of the first.
    commit(&store, add(&person(9, "later"))).unwrap();
    let further = store.droppable(Wall::from_s(9_999), Duration::ZERO, &going_on()).unwrap().unwrap();
    assert!(further.no > upto.no);
    say(&disk, HeadKind::At, store.head()).unwrap();
    let book = store.set_aside(further.no, &going_on()).unwrap();
    say(&disk, HeadKind::DroppedTo { book }, further).unwrap();
    let other = [7; 32];
    assert!(matches!(store.drop_to(further.no, &other, &going_on()), Err(Fault::Damaged(_))));
    assert_eq!(first_record(&disk).unwrap(), upto.no + 1, "nothing went by a book that was not signed");
    store.drop_to(further.no, &book, &going_on()).unwrap();
    let books = disk.list().unwrap().into_iter().filter(|name| name.ends_with(".book")).count();
    assert_eq!(books, 1);
    drop(store);
    let as_it_was = dump(base.path());
    let rebuilt = rebuild_on(base.path(), &disk).unwrap();
    assert_eq!((rebuilt.set_aside, rebuilt.records), (Some(70), 0));
    assert_eq!(dump(base.path()), as_it_was);
}

#[test]
fn q9_on_a_full_disk_nothing_is_set_aside_and_nothing_left_behind() {
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    fill(&store);
    let upto = store.droppable(YOUNG, Duration::ZERO, &going_on()).unwrap().unwrap().no;
    let files = || {
        let beside = std::fs::read_dir(base.path()).unwrap().map(|entry| entry.unwrap().file_name());
        (disk.list().unwrap(), beside.filter(|name| name.to_string_lossy().contains("copy")).count())
    };
    let before = files();
    for broken in [PowerDisk::full, PowerDisk::syncs_fail] {
        broken(&disk, true);
        assert!(matches!(store.set_aside(upto, &going_on()), Err(Fault::Disk(_))));
        broken(&disk, false);
        assert_eq!(files(), before);
    }
    assert!(drop_old(&store, &disk).unwrap() > 0, "with room again it goes");
}

/// Files beside the book that are not SQLite's own of it.
fn others_in(dir: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != FILE && name != "book.db-wal" && name != "book.db-shm").collect()
}

#[test]
fn q9_q10_where_the_room_is_scarce_the_book_is_not_set_aside() {
    const MIB: u64 = 1 << 20;
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    fill(&store);
    let upto = store.droppable(YOUNG, Duration::ZERO, &going_on()).unwrap().unwrap().no;
    let before = disk.list().unwrap();
    disk.free(512 * MIB);
    let refused = store.set_aside(upto, &going_on()).unwrap_err().to_string();
    assert!(refused.contains("1 MiB are needed beside the 512 MiB that stay free"), "{refused}");
    assert_eq!((disk.list().unwrap(), others_in(base.path())), (before, vec![]));
    disk.free(513 * MIB);
    store.set_aside(upto, &going_on()).unwrap();
    assert_eq!(others_in(base.path()), [""; 0]);
}

#[test]
fn q9_who_is_told_to_stop_sets_nothing_aside_and_drops_nothing_more() {
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    fill(&store);
    let stop = AtomicBool::new(true);
    let is_stopping = |fault: Fault| matches!(fault, Fault::Stopping);
    assert!(is_stopping(store.droppable(YOUNG, Duration::ZERO, &stop).unwrap_err()));
    let head = store.droppable(YOUNG, Duration::ZERO, &going_on()).unwrap().unwrap();
    let before = disk.list().unwrap();
    assert!(is_stopping(store.set_aside(head.no, &stop).unwrap_err()));
    assert_eq!((disk.list().unwrap(), others_in(base.path())), (before, vec![]));
    let book = store.set_aside(head.no, &going_on()).unwrap();
    assert!(is_stopping(store.drop_to(head.no, &book, &stop).unwrap_err()));
    assert_eq!(first_record(&disk).unwrap(), 1);
    store.drop_to(head.no, &book, &going_on()).unwrap();
    assert_eq!(first_record(&disk).unwrap(), head.no + 1);
}

#[test]
fn q9_t4_a_jump_of_the_clock_between_records_counts_as_a_week() {
    const DAY: Duration = Duration::from_secs(86_400);
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    fill(&store);
    // Ten years on, four times; and a day on, and back, and on again.
    for at_s in
        [315_000_000, 630_000_000, 945_000_000, 1_260_000_000, 1_260_000_100, 1_260_086_500, 200, 86_600]
    {
        commit(&store, Batch { expects: Vec::new(), records: vec![record_at(at_s)] }).unwrap();
    }
    let all_old = Wall::from_s(1_400_000_000);
    let lived = |lived| store.droppable(all_old, lived, &going_on()).unwrap();
    assert_eq!(lived(Duration::ZERO), lived(30 * DAY), "four weeks, and two days that were lived");
    assert!(lived(Duration::ZERO).is_some());
    assert_eq!(lived(31 * DAY), None);
}

#[test]
fn q9_t4_where_records_are_kept_for_days_a_jump_of_the_clock_counts_as_a_quarter_of_that() {
    const DAY: Duration = Duration::from_secs(86_400);
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    fill(&store);
    let all_old = Wall::from_s(400_000_000);
    for (nth, at_s) in [315_000_000, 200, 315_000_000, 200, 315_000_000, 200, 315_000_000].iter().enumerate()
    {
        for days in [1, 7] {
            assert_eq!(
                store.droppable(all_old, days * DAY, &going_on()).unwrap(),
                None,
                "{nth} records, {days} days"
            );
        }
        commit(&store, Batch { expects: Vec::new(), records: vec![record_at(*at_s)] }).unwrap();
    }
    assert!(store.droppable(all_old, 7 * DAY, &going_on()).unwrap().is_some(), "four jumps");
}

fn record_at(at_s: i64) -> Record {
    Record { entry: entry(Event::LoginRefused, at_s), changes: Vec::new() }
}

#[test]
fn q9_nothing_of_dropped_records_is_left_in_any_file() {
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    fill(&store);
    drop_old(&store, &disk).unwrap();
    drop(store);
    // Between its pages SQLite may have left parts of rows that it moved, until these are written over.
    rebuild_on(base.path(), &disk).unwrap();
    // The first of the long details; in the journal, in the book, and in the one set aside.
    let canary = format!("{:<900}", 0);
    let mut files: Vec<Vec<u8>> =
        disk.list().unwrap().iter().map(|name| disk.bytes_of(name).unwrap()).collect();
    for entry in std::fs::read_dir(base.path()).unwrap() {
        files.push(std::fs::read(entry.unwrap().path()).unwrap());
    }
    assert!(files.len() >= 5);
    let holds = |text: &str| {
        let text = format!("\"{text}\"");
        files.iter().filter(|bytes| bytes.windows(text.len()).any(|w| w == text.as_bytes())).count()
    };
    assert_eq!(holds(&canary), 0);
    assert!(holds(&format!("{:<900}", 59)) >= 2, "what is kept is found so");
}

#[test]
fn q9_a_power_cut_at_any_step_of_dropping_loses_nothing() {
    let whole = scratch();
    let disk = PowerDisk::new();
    let store = open_on(whole.path(), &disk).unwrap();
    fill(&store);
    let before = disk.operations();
    drop_old(&store, &disk).unwrap();
    let steps = disk.operations() - before;
    let end = first_record(&disk).unwrap();
    drop(store);
    let (expected, _) = without_audit(whole.path());
    assert!(steps > 12, "{steps}");
    for cut in 1..=steps {
        for seed in 0..3 {
            let case = format!("cut {cut} of {steps} seed {seed}");
            let base = scratch();
            let disk = PowerDisk::new();
            let store = open_on(base.path(), &disk).unwrap();
            fill(&store);
            disk.cut_at(disk.operations() + cut);
            assert!(drop_old(&store, &disk).is_err(), "{case}");
            store.crash();
            disk.restore(seed * 1_000 + cut);

            let (report, _) = verify_anchored(&disk, &[], &[]).unwrap();
            assert!(report.intact, "{case}: {:?}", report.findings);
            // Without the book, and with it.
            let anew = scratch();
            drop(open_on(anew.path(), &disk.copy()).unwrap_or_else(|fault| panic!("{case}: {fault}")));
            let first = first_record(&disk).unwrap();
            let (rows, audits) = without_audit(anew.path());
            assert_eq!(rows, expected, "{case}");
            assert!(audits >= 70 - end && audits <= 70 - first, "{case}: {audits} from {first}");
            let store = open_on(base.path(), &disk).unwrap_or_else(|fault| panic!("{case}: {fault}"));
            drop_old(&store, &disk).unwrap();
            drop(store);
            assert_eq!(first_record(&disk).unwrap(), end, "{case}");
            assert_eq!(without_audit(base.path()), (expected.clone(), 70 - end), "{case}");
            let as_it_was = dump(base.path());
            rebuild_on(base.path(), &disk).unwrap();
            assert_eq!(dump(base.path()), as_it_was, "{case}");
            let (report, _) = verify_anchored(&disk, &[], &[]).unwrap();
            assert!(report.intact, "{case}: {:?}", report.findings);
        }
    }
}

#[test]
fn q9_a_book_that_a_power_cut_set_back_before_the_first_record_begins_with_the_one_set_aside() {
    let base = scratch();
    let (dir, earlier) = (base.path().join("now"), base.path().join("earlier"));
    std::fs::create_dir(&earlier).unwrap();
    let disk = PowerDisk::new();
    let store = open_on(&dir, &disk).unwrap();
    store.snapshot(&earlier.join(FILE)).unwrap();
    fill(&store);
    drop_old(&store, &disk).unwrap();
    drop(store);
    drop(open_on(&earlier, &disk).unwrap());
    assert_eq!(dump(&earlier), dump(&dir));
    // Nor does it begin with one that is not the one that was signed.
    std::fs::remove_file(earlier.join(FILE)).unwrap();
    let name = disk.list().unwrap().into_iter().find(|name| name.ends_with(".book")).unwrap();
    let mut bytes = disk.bytes_of(&name).unwrap();
    bytes[5_000] ^= 1;
    disk.tamper(&name, bytes);
    let refused = open_on(&earlier, &disk).err().unwrap();
    assert!(
        matches!(&refused, Fault::Damaged(text) if text.contains("not the book that was signed")),
        "{refused}"
    );
    assert!(!earlier.join(FILE).exists() && !earlier.join(NEW_FILE).exists());
}
