//! Disks that fill up, transactions that fail, databases and records that do not belong here.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;

use doorward_core::audit::Event;
use doorward_core::identity::person::Standing;

use super::*;
use crate::book::conformance::{add, attempt, batch, commit, entry, id, password, person, record};
use crate::book::{Committed, Expect};

fn fault(result: Result<Committed, CommitError>) -> Fault {
    match result {
        Err(CommitError::Fault(fault)) => fault,
        Err(CommitError::Conflict(_)) | Ok(_) => panic!("no fault: {result:?}"),
    }
}

fn change(text: &str) -> Batch {
    batch(Vec::new(), vec![Change::Password { person: id(1), password: password(text) }])
}

fn password_of(store: &SqliteStore) -> doorward_core::identity::person::Password {
    store.load(&Load::Person(id(1))).unwrap().person.unwrap().password
}

fn audit_count(store: &SqliteStore) -> usize {
    store.audit(&AuditFilter::default(), None, 10_000).unwrap().len()
}

#[test]
fn q5_a_full_disk_refuses_everything_and_when_there_is_room_it_goes_on() {
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    commit(&store, add(&person(1, "alice"))).unwrap();
    commit(&store, batch(Vec::new(), vec![attempt(id(1), 1, 1)])).unwrap();
    for round in 0..3u64 {
        disk.full(true);
        for batch in [change("lost"), batch(Vec::new(), vec![attempt(id(1), 2, 9)])] {
            assert!(matches!(fault(commit(&store, batch)), Fault::Disk(_)));
        }
        assert!(store.status().unwrap().failing.is_some());
        // What is known is still told, with what waited to be applied.
        assert_eq!(audit_count(&store) as u64, 2 + 2 * round);
        assert_eq!(store.accesses().unwrap()[0].1.wrong, 1);
        disk.full(false);
        let kept = format!("kept {round}");
        let committed = commit(&store, change(&kept)).unwrap();
        assert_eq!(committed.first, 3 + 2 * round, "nothing of what failed has a number");
        assert_eq!(password_of(&store), password(&kept));
        assert!(store.status().unwrap().failing.is_none());
        commit(&store, batch(Vec::new(), vec![attempt(id(1), 1, 1)])).unwrap();
    }
}

#[test]
fn q5_after_a_failed_sync_the_batch_is_there_whole_or_not_at_all() {
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    commit(&store, add(&person(1, "alice"))).unwrap();
    commit(&store, batch(Vec::new(), vec![attempt(id(1), 1, 1)])).unwrap();
    disk.syncs_fail(true);
    fault(commit(&store, change("in doubt")));
    disk.syncs_fail(false);
    assert_eq!(password_of(&store), password("first"), "not shown while it is in doubt");
    commit(&store, batch(vec![], vec![attempt(id(1), 1, 2)])).unwrap();
    // The journal found the frame whole, so it is true, and the book follows.
    assert_eq!(password_of(&store), password("in doubt"));
    assert_eq!((audit_count(&store), store.accesses().unwrap()[0].1.wrong), (4, 2));
    drop(store);
    disk.restore(1);
    let store = open_on(base.path(), &disk).unwrap();
    assert_eq!(audit_count(&store), 4);
}

#[test]
fn a_failed_commit_is_answered_only_when_the_book_has_caught_up() {
    let base = scratch();
    let settings = small();
    let disk = Arc::new(PowerDisk::new());
    let store = open(base.path(), disk, NODE.to_owned(), &settings).unwrap();
    commit(&store, add(&person(1, "alice"))).unwrap();
    commit(&store, batch(Vec::new(), vec![attempt(id(1), 1, 1)])).unwrap();
    settings.commits_fail.store(1, Ordering::SeqCst);
    assert_eq!(commit(&store, change("second")).unwrap(), Committed { first: 3, last: 3 });
    assert_eq!(password_of(&store), password("second"));

    settings.commits_fail.store(2, Ordering::SeqCst);
    fault(commit(&store, change("third")));
    assert_eq!(settings.commits_fail.load(Ordering::SeqCst), 0);
    assert_eq!(password_of(&store), password("third"), "what is true is served, or nothing is");
    let stale = batch(vec![Expect::Person(id(1), 2)], Vec::new());
    assert!(matches!(commit(&store, stale), Err(CommitError::Conflict(_))));
    settings.commits_fail.store(3, Ordering::SeqCst);
    fault(commit(&store, change("fourth")));
    assert!(store.load(&Load::Venue).is_err(), "the repetition fails too");
    assert_eq!(commit(&store, change("fifth")).unwrap().first, 6);
    assert_eq!(audit_count(&store), 6);
}

#[test]
fn a_book_of_another_journal_is_refused() {
    let base = scratch();
    let (mine, other, empty) = (PowerDisk::new(), PowerDisk::new(), PowerDisk::new());
    let store = open_on(base.path(), &mine).unwrap();
    commit(&store, add(&person(1, "alice"))).unwrap();
    drop(store);
    let elsewhere = scratch();
    for n in 2..4 {
        let store = open_on(elsewhere.path(), &other).unwrap();
        commit(&store, add(&person(n, &format!("user{n}")))).unwrap();
        drop(store);
        let refused = open_on(base.path(), &other).err().unwrap();
        assert!(
            matches!(refused, Fault::Damaged(_)) && refused.to_string().contains("book rebuild"),
            "{refused}"
        );
    }
    assert!(matches!(open_on(base.path(), &empty).err().unwrap(), Fault::Damaged(_)));
    assert_eq!(rebuild_on(base.path(), &other).unwrap().records, 2);
    let store = open_on(base.path(), &other).unwrap();
    assert_eq!(store.people(&PeopleFilter::default(), None, 9).unwrap().len(), 2);
}

#[test]
fn a_record_that_cannot_be_applied_stops_the_replay_and_is_named() {
    let base = scratch();
    let of = |record: &Record| serde_json::to_vec(record).unwrap();
    let standing = Change::Standing { person: id(5), standing: Standing::Active };
    let twice = Change::PersonAdded { person: Box::new(person(1, "alice")) };
    for last in [of(&record(vec![standing])), of(&record(vec![twice.clone()])), b"{}".to_vec()] {
        let disk = PowerDisk::new();
        let settings = journal::Settings { node: NODE.to_owned(), segment_bytes: small().segment_bytes };
        let (mut journal, _) = Journal::open(Arc::new(disk.clone()), settings).unwrap();
        journal.append(&[of(&record(Vec::new())), of(&record(vec![twice.clone()])), last]).unwrap();
        drop(journal);
        let refused = open_on(&base.path().join("x"), &disk).err().unwrap();
        assert!(matches!(refused, Fault::Damaged(_)), "{refused}");
        assert!(refused.to_string().contains("record 3 cannot be applied"), "{refused}");
        assert!(rebuild_on(&base.path().join("x"), &disk).is_err());
    }
}

#[test]
fn a_database_that_is_none_is_told_from_a_failing_disk() {
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    commit(&store, add(&person(1, "alice"))).unwrap();
    drop(store);
    std::fs::write(base.path().join(FILE), vec![7; 8192]).unwrap();
    let refused = open_on(base.path(), &disk).err().unwrap();
    assert!(
        matches!(refused, Fault::Damaged(_)) && refused.to_string().contains("book rebuild"),
        "{refused}"
    );
    rebuild_on(base.path(), &disk).unwrap();
    assert_eq!(password_of(&open_on(base.path(), &disk).unwrap()), password("first"));
    let mode = std::fs::metadata(base.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_too_large_is_refused_and_harms_nobody() {
    let base = scratch();
    let store = open_on(base.path(), &PowerDisk::new()).unwrap();
    let sized = |bytes: usize| Record {
        entry: entry(Event::PersonChanged, 1).with_detail("x".repeat(bytes)),
        changes: Vec::new(),
    };
    let of = |records: Vec<Record>| Batch { expects: Vec::new(), records };
    let answers: Vec<_> = [
        of(vec![sized(RECORD_BYTES_MAX)]),
        of(vec![sized(10_000)]),
        of(vec![sized(10_000); 2]),
        of(vec![sized(20_000)]),
        of(vec![sized(5_000); 2]),
    ]
    .map(|batch| store.submit(batch))
    .map(|answer| answer.blocking_recv().unwrap())
    .into();
    let good: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(good, [false, true, false, false, true], "{answers:?}");
    assert_eq!(audit_count(&store), 3);
}

#[test]
fn l1_when_too_many_wait_the_answer_is_busy_at_once() {
    let base = scratch();
    let settings = Settings { queue: 8, ..small() };
    let store = open(base.path(), Arc::new(PowerDisk::new()), NODE.to_owned(), &settings).unwrap();
    // The thread cannot go on before somebody takes this answer.
    let (done, drained) = sync_channel(0);
    store.jobs.send(Job::Drain(done)).unwrap();
    let answers: Vec<_> = (0..20).map(|n| store.submit(add(&person(n, &format!("user{n}"))))).collect();
    drained.recv().unwrap().unwrap();
    let results: Vec<_> = answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect();
    let done = results.iter().filter(|result| result.is_ok()).count();
    assert!(done == 7 || done == 8, "{done}");
    for result in results.into_iter().filter(Result::is_err) {
        assert!(matches!(fault(result), Fault::Busy(_)));
    }
    assert_eq!(audit_count(&store), done);
}

#[test]
fn whoever_waits_for_a_store_that_ended_is_told() {
    let base = scratch();
    let store = open_on(base.path(), &PowerDisk::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.commit(add(&person(1, "alice")))).unwrap();
    store.jobs.send(Job::Crash).unwrap();
    for _ in 0..3 {
        let ended = runtime.block_on(store.commit(change("late")));
        assert!(matches!(fault(ended), Fault::Stopping));
    }
    assert_eq!(password_of(&store), password("first"), "what is known can still be read");
}

#[test]
fn what_waits_is_applied_when_nothing_else_happens_and_at_the_end() {
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    commit(&store, batch(Vec::new(), vec![attempt(id(1), 1, 1)])).unwrap();
    while store.status().unwrap().waiting > 0 {
        std::thread::yield_now();
    }
    commit(&store, batch(Vec::new(), vec![attempt(id(1), 1, 2)])).unwrap();
    drop(store);
    let rows = dump(base.path());
    assert!(rows.iter().any(|row| row.starts_with("mark [Integer(1), Integer(2)")), "{rows:?}");
}
