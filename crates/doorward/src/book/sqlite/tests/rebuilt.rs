//! The book equals what the journal says, however it came about.

use std::sync::atomic::Ordering::SeqCst;

use doorward_core::audit::{Actor, Event};
use doorward_core::identity::enrolment::Authenticator;
use doorward_core::identity::mail::MailState;
use doorward_core::identity::person::{Profile, Standing};
use doorward_core::identity::policy::{AuthSystem, Policy};
use doorward_core::identity::recovery::RecoveryCodes;
use doorward_core::time::Wall;
use proptest::prelude::*;

use super::*;
use crate::book::conformance::post::{halt, link, link_is, mail, mail_state, scope};
use crate::book::conformance::{
    add, attempt, batch, by, commit, entry, firm, fix_session, id, key_used, numbers, password, person,
    record, registered, stream, tokens,
};
use crate::book::{AuditFilter, Batch, Committed, Expect};

/// One thing that happens to a store.
#[derive(Debug, Clone)]
enum Step {
    Commit(Batch),
    /// Wait for all answers.
    Settle,
    /// Have everything applied.
    Drain,
    /// End and begin again, in order or not.
    Restart {
        crash: bool,
    },
    /// The next transaction fails at its end.
    CommitFails,
}

fn any_change() -> impl Strategy<Value = Change> {
    (0u8..23, 1u64..6, any::<u8>(), any::<f64>()).prop_map(|(kind, who, n, number)| {
        let who = id(who);
        let attr = serde_json::json!({ "x": number, "ü": [n, null, "\u{202e}"] });
        match kind {
            0 => Change::VenuePolicy { policy: Policy { version: n.into(), ..Policy::default() } },
            1 => Change::Firm { firm: firm(&format!("F{}", n % 3)) },
            2 => {
                Change::PersonAdded { person: Box::new(person(u64::from(n % 6), &format!("user{}", n % 7))) }
            }
            3 => Change::Password { person: who, password: password(&n.to_string()) },
            4 => {
                let authenticator = if n % 2 == 0 { registered() } else { Authenticator::None };
                Change::Authenticator { person: who, authenticator, seeds: n.into() }
            }
            5 => Change::Standing { person: who, standing: Standing::Disabled },
            6 => Change::AuthSystem { person: who, auth_system: AuthSystem::Password },
            7 => {
                let attr = attr.as_object().cloned();
                Change::Profile { person: who, profile: Box::new(Profile { attr, ..Profile::default() }) }
            }
            8 => Change::AttemptsForgotten { person: who },
            9 => Change::FixSession { session: Box::new(fix_session(n % 3, n % 5)) },
            10 => {
                let locked = (n % 2 == 0).then(|| Wall::from_s(n.into()));
                Change::SessionLock { session: fix_session(n % 3, 1).id, locked }
            }
            11 => key_used(n % 3, n),
            12 => Change::Stream { stream: stream(n % 2), numbers: numbers(n, who.as_u64()) },
            13 => Change::Week { week: n.into() },
            14 => Change::Link { person: who, link: link(n), made: vec![Wall::from_s(n.into())] },
            15 => Change::MailQueued { mail: Box::new(mail(u64::from(n % 4), n.into())) },
            16 | 17 => Change::MailState { mail: mail(u64::from(n % 4), 0).id, state: mail_state(n) },
            18 => Change::Halt { scope: scope(n), halt: halt(n) },
            19 => {
                let codes = RecoveryCodes { made_at: Wall::from_s(n.into()), unused: Vec::new() };
                Change::Recovery { person: who, codes: (n % 2 == 0).then_some(codes) }
            }
            20 | 21 => Change::Tokens { person: who, tokens: tokens(who, n % 20) },
            _ => attempt(who, n, u16::from(n)),
        }
    })
}

fn any_batch() -> impl Strategy<Value = Batch> {
    let changes = proptest::collection::vec(any_change(), 0..3);
    let records = proptest::collection::vec((changes, any::<bool>()), 0..4);
    (records, proptest::option::weighted(0.2, 1u64..4)).prop_map(|(records, version)| Batch {
        expects: version.map(|version| Expect::Person(id(1), version)).into_iter().collect(),
        records: records
            .into_iter()
            .map(|(changes, known)| {
                let unknown = Actor::unknown("Grüße");
                let entry = entry(Event::LoginGranted, changes.len() as i64);
                let entry =
                    if known { by(entry, &person(3, "x")) } else { Entry { actor: unknown, ..entry } };
                Record { entry, changes }
            })
            .collect(),
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any_batch().prop_map(Step::Commit),
        3 => any_change().prop_map(|change| Step::Commit(batch(Vec::new(), vec![change]))),
        3 => Just(Step::Settle),
        1 => Just(Step::Drain),
        1 => any::<bool>().prop_map(|crash| Step::Restart { crash }),
        1 => Just(Step::CommitFails),
    ]
}

/// Takes the steps; the answer is how many batches were committed.
fn walk(dir: &Path, disk: &PowerDisk, steps: &[Step]) -> usize {
    let settings = small();
    let open = || open(dir, Arc::new(disk.clone()), NODE.to_owned(), &settings).unwrap();
    let mut store = open();
    let (mut answers, mut committed) = (Vec::new(), 0);
    let mut settle = |answers: &mut Vec<Answer>| {
        for answer in answers.drain(..) {
            committed += usize::from(answer.blocking_recv().unwrap().is_ok());
        }
    };
    for step in steps {
        match step {
            Step::Commit(batch) => answers.push(store.submit(batch.clone())),
            Step::Settle => settle(&mut answers),
            Step::Drain => drop(store.accesses().unwrap()),
            Step::Restart { crash } => {
                settle(&mut answers);
                settings.commits_fail.store(0, SeqCst);
                if *crash {
                    store.crash();
                } else {
                    drop(store);
                }
                store = open();
            }
            Step::CommitFails => settings.commits_fail.store(1, SeqCst),
        }
    }
    settle(&mut answers);
    settings.commits_fail.store(0, SeqCst);
    committed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_rebuilt_book_equals_the_book(
        before in proptest::collection::vec(any_step(), 0..20),
        after in proptest::collection::vec(any_step(), 0..20),
    ) {
        let base = scratch();
        let (dir, earlier) = (base.path().join("now"), base.path().join("earlier"));
        let disk = PowerDisk::new();
        std::fs::create_dir(&earlier).unwrap();

        walk(&dir, &disk, &before);
        std::fs::copy(dir.join(FILE), earlier.join(FILE)).unwrap();
        let then = dump(&earlier);
        walk(&dir, &disk, &after);
        let book = dump(&dir);

        // From a copy of an earlier moment, which the journal has gone past.
        prop_assert_eq!(&dump(&earlier), &then);
        drop(open_on(&earlier, &disk).unwrap());
        prop_assert_eq!(&dump(&earlier), &book);

        let rebuilt = rebuild_on(&dir, &disk).unwrap();
        prop_assert_eq!(rebuilt.records, rebuilt.head.no);
        prop_assert_eq!(&dump(&dir), &book);

        // Nothing that was sent or given up is due once more, and nothing that waits is forgotten.
        let store = open_on(&dir, &disk).unwrap();
        let due = store.mails_due(Wall::from_s(1_000), 100).unwrap().len();
        let mails = store.mails(&MailFilter::default(), None, 100).unwrap();
        let waits = |queued: &&Queued| matches!(queued.state, MailState::Waiting { .. });
        prop_assert_eq!(due, mails.iter().filter(waits).count());
        drop(store);

        // And documents say what columns say.
        let store = open_on(&dir, &disk).unwrap();
        prop_assert_eq!(store.head(), rebuilt.head);
        let people = store.people(&PeopleFilter::default(), None, 100).unwrap();
        for Listed { person: who, last_login } in people {
            prop_assert_eq!(store.last_login(who.id).unwrap(), last_login);
            let expects = vec![Expect::Person(who.id, who.version)];
            commit(&store, Batch { expects, records: Vec::new() }).unwrap();
            let same = PeopleFilter {
                firm: who.firm.clone(),
                kind: Some(who.kind),
                standing: Some(who.standing),
                auth_system: Some(who.auth_system),
                registered: Some(who.authenticator.is_registered()),
                text: Some(who.userid.as_str().to_owned()),
                locked: false,
                never_signed_in: last_login.is_none(),
                link: Some((link_is(&who, Wall::from_s(100)), Wall::from_s(100))),
            };
            let found = store.people(&same, None, 100).unwrap();
            prop_assert!(found.iter().any(|listed| listed.person == who), "{:?}", found);
            if let Some(link) = &who.link {
                let by_link = store.load(&Load::Link(link.hash)).unwrap().person;
                prop_assert_eq!(by_link.unwrap().link.unwrap().hash, link.hash);
            }
        }
    }
}

/// Batches whose records tell which batch they are of: attempts only, versioned changes, several records, refusals.
fn workload() -> Vec<Batch> {
    let mut batches = vec![batch(Vec::new(), vec![Change::Firm { firm: firm("ACME") }])];
    for n in 1..=4 {
        batches.push(add(&person(n, &format!("user{n}"))));
        batches.push(batch(Vec::new(), vec![attempt(id(n), 1, 1)]));
        batches.push(batch(vec![Expect::Person(id(n), 7)], Vec::new()));
        let change = Change::Password { person: id(n), password: password("new") };
        batches.push(Batch {
            expects: vec![Expect::Person(id(n), 1)],
            records: vec![record(vec![change]), record(vec![attempt(id(n), 2, 2)]), record(Vec::new())],
        });
        let registered = Change::Authenticator { person: id(n), authenticator: registered(), seeds: 1 };
        batches.push(batch(Vec::new(), vec![registered, attempt(id(n), 3, 0)]));
    }
    for (nth, batch) in batches.iter_mut().enumerate() {
        for record in &mut batch.records {
            // Long enough that the run crosses segments.
            record.entry.detail = Some(format!("{nth:<600}"));
        }
    }
    batches
}

/// Commits the workload, in waves of up to three batches; the answers, as far as there were any.
fn commit_workload(store: &SqliteStore) -> Vec<Option<Committed>> {
    let mut answers = Vec::new();
    let batches = workload();
    for wave in batches.chunks(3) {
        let wave: Vec<_> = wave.iter().map(|batch| store.submit(batch.clone())).collect();
        answers.extend(wave.into_iter().map(|answer| answer.blocking_recv().unwrap().ok()));
    }
    answers
}

/// What must hold of a store after any crash: all that was acknowledged is there, and nothing by halves.
fn check_whole(store: &SqliteStore, acknowledged: &[Option<Committed>], case: &str) {
    let mut records = store.audit(&AuditFilter::default(), None, 10_000).unwrap();
    records.reverse();
    assert!((1..).zip(&records).all(|(no, (listed, _))| no == *listed), "{case}: no gaps");
    let batches = workload();
    for (nth, batch) in batches.iter().enumerate() {
        let numbers: Vec<u64> = records
            .iter()
            .filter(|(_, entry)| {
                entry.detail.as_deref().and_then(|text| text.trim().parse().ok()) == Some(nth)
            })
            .map(|(no, _)| *no)
            .collect();
        match acknowledged.get(nth).copied().flatten() {
            Some(committed) => {
                let expected: Vec<u64> = (committed.first..=committed.last).collect();
                assert_eq!(numbers, expected, "{case}: batch {nth}");
            }
            None => assert!(
                numbers.is_empty() || numbers.len() == batch.records.len(),
                "{case}: half of batch {nth}"
            ),
        }
    }
}

/// Opens what a crash left, with the database and without, checks it, and goes on.
fn check_after_crash(dir: &Path, disk: &PowerDisk, acknowledged: &[Option<Committed>], case: &str) {
    let store = open_on(dir, disk).unwrap_or_else(|fault| panic!("{case}: {fault}"));
    check_whole(&store, acknowledged, case);
    drop(store);
    let as_it_was = dump(dir);
    let anew = scratch();
    let store = open_on(anew.path(), &disk.copy()).unwrap();
    check_whole(&store, acknowledged, case);
    drop(store);
    assert_eq!(dump(anew.path()), as_it_was, "{case}");
    let store = open_on(dir, disk).unwrap();
    let more = commit(&store, add(&person(99, "more"))).unwrap();
    assert_eq!(more.first, store.head().no, "{case}");
}

#[test]
fn f8_a_power_cut_at_any_write_loses_no_acknowledged_batch() {
    let whole = scratch();
    let disk = PowerDisk::new();
    let store = open_on(whole.path(), &disk).unwrap();
    let answers = commit_workload(&store);
    assert_eq!(
        answers.iter().filter(|answer| answer.is_none()).count(),
        4,
        "only those expected to be refused"
    );
    assert!(store.status().unwrap().segments >= 2, "the run crosses segments");
    drop(store);
    // Groups vary with the threads' timing, and with them the count of operations.
    for cut in 1..=disk.operations() + 4 {
        for seed in 0..3 {
            let case = format!("cut {cut} seed {seed}");
            let base = scratch();
            let disk = PowerDisk::new();
            disk.cut_at(cut);
            let acknowledged = match open_on(base.path(), &disk) {
                Ok(store) => {
                    let answers = commit_workload(&store);
                    if seed == 0 {
                        drop(store);
                    } else {
                        store.crash();
                    }
                    answers
                }
                Err(_) => Vec::new(),
            };
            disk.restore(seed * 1_000 + cut);
            check_after_crash(base.path(), &disk, &acknowledged, &case);
        }
    }
}

#[test]
fn a_killed_process_loses_no_acknowledged_batch() {
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    let acknowledged = commit_workload(&store);
    store.crash();
    check_after_crash(base.path(), &disk, &acknowledged, "killed");
}

#[test]
fn a_database_deleted_without_its_log_is_made_anew() {
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    let acknowledged = commit_workload(&store);
    // A reader that is still open keeps SQLite from tidying up, as a killed process would.
    let open = open_to_read(&base.path().join(FILE)).unwrap();
    open.query_row("SELECT no FROM mark", [], |_| Ok(())).unwrap();
    let log = std::fs::read(base.path().join("book.db-wal")).unwrap();
    drop((open, store));
    assert!(!log.is_empty());
    std::fs::write(base.path().join("book.db-wal"), log).unwrap();
    std::fs::remove_file(base.path().join(FILE)).unwrap();
    check_after_crash(base.path(), &disk, &acknowledged, "deleted");
}

#[test]
fn a_crash_between_sync_and_commit_is_made_good_at_the_next_start() {
    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    commit(&store, add(&person(1, "alice"))).unwrap();
    drop(store);
    // The journal went on, the book did not.
    let settings = journal::Settings { node: NODE.to_owned(), segment_bytes: small().segment_bytes };
    let (mut journal, _) = Journal::open(Arc::new(disk.clone()), settings).unwrap();
    let standing = Change::Standing { person: id(1), standing: Standing::Disabled };
    let records = [record(vec![standing]), record(vec![attempt(id(1), 1, 3)])];
    let bytes: Vec<_> = records.iter().map(|record| serde_json::to_vec(record).unwrap()).collect();
    journal.append(&bytes).unwrap();
    drop(journal);
    let store = open_on(base.path(), &disk).unwrap();
    let snapshot = store.load(&Load::Person(id(1))).unwrap();
    assert_eq!(snapshot.person.unwrap().standing, Standing::Disabled);
    assert_eq!(snapshot.access.unwrap().wrong, 3);
    assert_eq!(store.status().unwrap().mark, 3);
}
