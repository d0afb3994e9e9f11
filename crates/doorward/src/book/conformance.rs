//! What every store must do. A store's tests call [`conforms`] with a way to make an empty one.

pub(crate) mod post;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Barrier};

use doorward_core::audit::{Actor, AttemptId, Context, Deny, Door, Entry, Event, Outcome, Record, Subject};
use doorward_core::id::{
    AccessKeyId, CompId, CompStem, FirmCode, FirmId, OperatorId, PersonId, SessionId, UserId,
};
use doorward_core::identity::attempt::{Access, Tally};
use doorward_core::identity::change::Change;
use doorward_core::identity::enrolment::{Authenticator, Factor, Seed};
use doorward_core::identity::firm::Firm;
use doorward_core::identity::fix_session::{FixSession, SessionKind, SessionUse};
use doorward_core::identity::key_pair::{Environment, Kept, KeyPair, LastUse};
use doorward_core::identity::person::{KeyCodes, Kind, Password, Person, Phc, Profile, Standing};
use doorward_core::identity::policy::{AuthSystem, Policy};
use doorward_core::identity::sealed::Sealed;
use doorward_core::identity::token::{Token, TokenHash, Tokens};
use doorward_core::identity::totp::Parameters;
use doorward_core::stream::{Epoch, Numbers, StreamKey};
use doorward_core::time::Wall;

use super::{AuditFilter, Batch, CommitError, Committed, Expect, Load, PeopleFilter, Snapshot, Store};

/// Runs the whole suite; `fresh` makes an empty store.
pub(crate) fn conforms<S: Store>(fresh: impl Fn() -> S) {
    an_empty_store_knows_a_venue_without_a_policy(&fresh());
    what_was_committed_is_read_and_counted(&fresh());
    a_conflict_leaves_nothing_behind(&fresh());
    a_batch_of_several_records_is_whole_or_not_there(&fresh());
    of_many_with_one_expectation_exactly_one_wins(&Arc::new(fresh()));
    numbers_have_no_gaps(&Arc::new(fresh()));
    user_ids_are_unique_in_any_script(&fresh());
    attempts_wait_but_queries_see_them(&fresh());
    audit_is_filtered_and_newest_first(&fresh());
    people_are_listed_in_pages(&fresh());
    somebody_is_found_by_each_of_their_tokens_until_it_ends(&fresh());
    sessions_are_versioned_and_their_keys_unique_for_ever(&fresh());
    what_logons_do_waits_but_queries_see_it(&fresh());
    the_week_is_rolled_to_once(&fresh());
    a_callback_hears_the_answer_once(&fresh());
    q6_who_waits_for_a_record_is_told_once_it_is_there(&fresh());
    post::conforms(fresh);
}

pub(crate) fn commit(store: &dyn Store, batch: Batch) -> Result<Committed, CommitError> {
    store.submit(batch).blocking_recv().unwrap()
}

pub(crate) fn id(n: u64) -> PersonId {
    PersonId::from_random(n << 1)
}

pub(crate) fn firm(code: &str) -> Firm {
    let code = FirmCode::parse(code).unwrap();
    let policy = Policy::default();
    let name = format!("Firm {code}");
    Firm { name, code, added_at: Wall::from_s(1), closed: false, policy, key_hours_until: None, version: 1 }
}

pub(crate) fn person(n: u64, userid: &str) -> Person {
    Person {
        id: id(n),
        userid: UserId::parse(userid).unwrap(),
        firm: Some(FirmCode::parse("ACME").unwrap()),
        kind: Kind::Trader,
        added_at: Wall::from_s(1),
        standing: Standing::Active,
        auth_system: AuthSystem::Otp,
        password: password("first"),
        authenticator: Authenticator::None,
        seeds: 0,
        key_codes: KeyCodes::default(),
        link: None,
        links_made: Vec::new(),
        recovery: None,
        notices: std::collections::BTreeSet::new(),
        tokens: Tokens::default(),
        profile: Profile::default(),
        version: 1,
    }
}

/// The FIX session `S0n` of ACME with one key pair.
pub(crate) fn fix_session(n: u8, key: u8) -> FixSession {
    let sealed = Sealed { key: "k1".to_owned(), blob: "AAAA".to_owned() };
    let pair = KeyPair {
        id: access_key(key),
        made_at: Wall::from_s(5),
        ends_at: Wall::from_s(500),
        replaced: false,
        noted_at: Wall::from_s(5),
        secret: Kept::Secret { sealed },
    };
    let id = SessionId::parse(format!("S0{n}").as_bytes()).unwrap();
    let stem = CompStem { session: id, firm: FirmId::parse(b"001").unwrap() };
    FixSession {
        id,
        firm: FirmCode::parse("ACME").unwrap(),
        kind: SessionKind::Order,
        environment: Environment::Test,
        added_at: Wall::from_s(1),
        standing: Standing::Active,
        sender_comp_ids: BTreeSet::from([stem]),
        operator_ids: BTreeSet::from([OperatorId::parse(b"0J4L").unwrap()]),
        sources: Vec::new(),
        pairs: vec![pair],
        version: 1,
    }
}

pub(crate) fn access_key(n: u8) -> AccessKeyId {
    AccessKeyId::parse(format!("T{n:019}").as_bytes()).unwrap()
}

pub(crate) fn key_used(session: u8, n: u8) -> Change {
    let session = fix_session(session, 1);
    let sender_comp_id = CompId::parse(format!("{}001N", session.id).as_bytes()).unwrap();
    let used = LastUse { at: Wall::from_s(n.into()), source: IpAddr::from([192, 0, 2, n]), sender_comp_id };
    Change::KeyUsed { session: session.id, access_key: access_key(n % 3), used }
}

pub(crate) fn stream(n: u8) -> StreamKey {
    StreamKey::parse(&format!("cgw/S0{n}/001")).unwrap()
}

pub(crate) fn numbers(rev: u8, next_in: u64) -> Numbers {
    Numbers { rev: rev.into(), next_in, ..Numbers::new(Epoch { week: 7, reset: 0 }) }
}

pub(crate) fn password(text: &str) -> Password {
    Password::Own { phc: Phc(text.to_owned()), set_us: Wall::from_s(2) }
}

/// So many tokens of somebody, all good until 9 seconds.
pub(crate) fn tokens(person: PersonId, count: u8) -> Tokens {
    let with = |tokens: Tokens, n: u8| {
        let (made_at, expires_at, by) = (Wall::from_s(4), Wall::from_s(9), id(77));
        tokens.with(Token { hash: token_hash(person, n), made_at, expires_at, by, level: n % 2 }, made_at)
    };
    (0..count).fold(Tokens::default(), with)
}

/// The hash of somebody's token of this number; no two are the same.
pub(crate) fn token_hash(person: PersonId, n: u8) -> TokenHash {
    let mut hash = [n; 32];
    hash[..8].copy_from_slice(&person.as_u64().to_be_bytes());
    TokenHash(hash)
}

pub(crate) fn registered() -> Authenticator {
    let sealed = Sealed { key: "k1".to_owned(), blob: "AAAA".to_owned() };
    let seed = Seed { sealed, version: 1, parameters: Parameters::default() };
    let at = Wall::from_s(3);
    Authenticator::Active(Factor { seed, since: at, last_step: 7, drift: 0, wrong: 0, used_at: at })
}

pub(crate) fn entry(event: Event, at_s: i64) -> Entry {
    let attempt = AttemptId(u64::MAX - at_s.unsigned_abs());
    let context = Context { at: Wall::from_s(at_s), door: Door::WebSocket, source: None, attempt };
    Entry::new(&context, event, Actor::Node)
}

pub(crate) fn by(entry: Entry, person: &Person) -> Entry {
    let actor = Actor::Person { id: person.id, userid: person.userid.clone() };
    Entry { actor, firm: person.firm.clone(), ..entry }
}

pub(crate) fn record(changes: Vec<Change>) -> Record {
    Record { entry: entry(Event::PersonChanged, 10), changes }
}

pub(crate) fn batch(expects: Vec<Expect>, changes: Vec<Change>) -> Batch {
    Batch { expects, records: vec![record(changes)] }
}

pub(crate) fn add(person: &Person) -> Batch {
    let expects = vec![Expect::NoUserId(person.userid.clone())];
    batch(expects, vec![Change::PersonAdded { person: Box::new(person.clone()) }])
}

pub(crate) fn attempt(person: PersonId, last: u8, wrong: u16) -> Change {
    let source = IpAddr::from([192, 0, 2, last]);
    let tally = Tally { wrong, last_at: Wall::from_s(20), ..Tally::default() };
    Change::Attempt { person, source, tally, wrong }
}

fn conflict(result: Result<Committed, CommitError>) -> String {
    match result {
        Err(CommitError::Conflict(what)) => what,
        Err(CommitError::Fault(_)) | Ok(_) => panic!("no conflict: {result:?}"),
    }
}

fn loaded(store: &dyn Store, person: PersonId) -> Person {
    store.load(&Load::Person(person)).unwrap().person.unwrap()
}

fn an_empty_store_knows_a_venue_without_a_policy(store: &dyn Store) {
    let nobody = UserId::parse("nobody").unwrap();
    for what in [Load::Venue, Load::Person(id(1)), Load::UserId(nobody)] {
        assert_eq!(store.load(&what).unwrap(), super::Snapshot::default());
    }
    assert_eq!(store.head().no, 0);
    assert_eq!(store.audit(&AuditFilter::default(), None, 10).unwrap(), []);
    let committed = commit(store, Batch::default()).unwrap();
    assert_eq!(committed, Committed { first: 1, last: 0 });
}

fn what_was_committed_is_read_and_counted(store: &dyn Store) {
    let (acme, alice) = (firm("ACME"), person(1, "alice"));
    let new = batch(vec![Expect::NoFirm(acme.code.clone())], vec![Change::Firm { firm: acme.clone() }]);
    assert_eq!(commit(store, new).unwrap(), Committed { first: 1, last: 1 });
    commit(store, add(&alice)).unwrap();
    let snapshot = store.load(&Load::UserId(alice.userid.clone())).unwrap();
    assert_eq!((snapshot.person, snapshot.firm), (Some(alice.clone()), Some(acme.clone())));
    // Whatever is read for somebody who is not there (S1), nothing of others comes of it but who it was.
    let nobody = store.load(&Load::UserId(UserId::parse("nobody").unwrap())).unwrap();
    assert_eq!(nobody, super::Snapshot { instead: Some(alice.id), ..super::Snapshot::default() });
    assert_eq!(store.load(&Load::Person(id(9))).unwrap(), super::Snapshot::default());

    let changed = batch(
        vec![Expect::Person(alice.id, 1), Expect::Firm(acme.code.clone(), 1), Expect::Venue(0)],
        vec![
            Change::Password { person: alice.id, password: password("second") },
            Change::Standing { person: alice.id, standing: Standing::Disabled },
        ],
    );
    commit(store, changed).unwrap();
    let after = loaded(store, alice.id);
    assert_eq!((after.version, after.standing), (3, Standing::Disabled), "each change counts");
    assert_eq!(after.password, password("second"));

    let policy = Policy { version: 1, otp_demanded: Some(true), ..Policy::default() };
    let set = batch(vec![Expect::Venue(0)], vec![Change::VenuePolicy { policy: policy.clone() }]);
    commit(store, set.clone()).unwrap();
    assert_eq!(store.load(&Load::Venue).unwrap().venue, policy);
    assert_eq!(conflict(commit(store, set)), "venue policy at version 0: it is at 1");

    let closed = Firm { closed: true, version: 2, ..acme.clone() };
    let close = batch(vec![Expect::Firm(acme.code.clone(), 1)], vec![Change::Firm { firm: closed.clone() }]);
    commit(store, close).unwrap();
    assert_eq!(store.load(&Load::Firm(acme.code)).unwrap().firm, Some(closed.clone()));
    assert_eq!(store.firms().unwrap(), [closed]);
    assert_eq!(store.head().no, 5);
}

fn a_conflict_leaves_nothing_behind(store: &dyn Store) {
    let (acme, alice) = (firm("ACME"), person(1, "alice"));
    commit(store, batch(Vec::new(), vec![Change::Firm { firm: acme.clone() }])).unwrap();
    commit(store, add(&alice)).unwrap();
    let change = || vec![Change::Password { person: alice.id, password: password("x") }];
    let cases = [
        (Expect::Person(alice.id, 2), "at version 2: it is at 1"),
        (Expect::Person(id(9), 1), "it is not there"),
        (Expect::Firm(acme.code.clone(), 2), "firm ACME at version 2: it is at 1"),
        (Expect::Firm(FirmCode::parse("NONE").unwrap(), 1), "it is not there"),
        (Expect::NoFirm(acme.code.clone()), "no firm ACME: it is there"),
        (Expect::NoUserId(alice.userid.clone()), "it is there"),
        (Expect::Venue(1), "at version 1: it is at 0"),
    ];
    for (expect, words) in cases {
        let what = conflict(commit(store, batch(vec![expect.clone()], change())));
        assert!(what.ends_with(words), "{what}");
        // Also where nothing versioned is changed.
        let lazy = batch(vec![expect], vec![attempt(alice.id, 1, 1)]);
        assert!(conflict(commit(store, lazy)).ends_with(words));
    }
    assert_eq!(loaded(store, alice.id), alice);
    assert_eq!(store.accesses().unwrap(), []);
    assert_eq!(store.head().no, 2, "refused records have no number");
    assert_eq!(store.audit(&AuditFilter::default(), None, 10).unwrap().len(), 2);
}

fn a_batch_of_several_records_is_whole_or_not_there(store: &dyn Store) {
    let (alice, bob) = (person(1, "alice"), person(2, "bob"));
    commit(store, add(&alice)).unwrap();
    let add_bob = Change::PersonAdded { person: Box::new(bob.clone()) };
    let again = Change::PersonAdded { person: Box::new(person(3, "alice")) };
    let half = Batch {
        expects: Vec::new(),
        records: vec![
            record(vec![add_bob.clone(), attempt(bob.id, 1, 1)]),
            record(vec![Change::Password { person: alice.id, password: password("x") }]),
            record(vec![again]),
        ],
    };
    conflict(commit(store, half));
    assert_eq!(store.load(&Load::Person(bob.id)).unwrap().person, None);
    assert_eq!((loaded(store, alice.id), store.accesses().unwrap()), (alice.clone(), Vec::new()));

    let unknown = batch(Vec::new(), vec![Change::Standing { person: id(9), standing: Standing::Active }]);
    assert!(matches!(commit(store, unknown), Err(CommitError::Fault(_))), "a change of nobody is a mistake");

    let whole = Batch {
        expects: vec![Expect::Person(alice.id, 1)],
        records: vec![
            record(vec![add_bob]),
            record(vec![Change::Password { person: bob.id, password: password("y") }]),
            record(Vec::new()),
        ],
    };
    assert_eq!(commit(store, whole).unwrap(), Committed { first: 2, last: 4 });
    assert_eq!((loaded(store, bob.id).version, store.head().no), (2, 4));
}

fn of_many_with_one_expectation_exactly_one_wins<S: Store>(store: &Arc<S>) {
    let alice = person(1, "alice");
    commit(store.as_ref(), add(&alice)).unwrap();
    for version in 1..=20 {
        let barrier = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|n| {
                let (store, barrier) = (Arc::clone(store), Arc::clone(&barrier));
                std::thread::spawn(move || {
                    let mine = format!("{version}-{n}");
                    let change = Change::Password { person: id(1), password: password(&mine) };
                    barrier.wait();
                    let answers: Vec<_> = (0..4)
                        .map(|_| {
                            store.submit(batch(vec![Expect::Person(id(1), version)], vec![change.clone()]))
                        })
                        .collect();
                    let won = answers.into_iter().map(|a| a.blocking_recv().unwrap());
                    (mine, won.filter(Result::is_ok).count())
                })
            })
            .collect();
        let won: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let winners: Vec<_> = won.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(winners.iter().map(|(_, count)| count).sum::<usize>(), 1, "{won:?}");
        let after = loaded(store.as_ref(), id(1));
        assert_eq!((after.version, after.password), (version + 1, password(&winners[0].0)));
    }
}

fn numbers_have_no_gaps<S: Store>(store: &Arc<S>) {
    let threads: Vec<_> = (0..4u8)
        .map(|n| {
            let store = Arc::clone(store);
            std::thread::spawn(move || {
                let mine = (0..50u64).map(|nth| {
                    let who = person(1 + u64::from(n) * 100 + nth, &format!("user{n}-{nth}"));
                    // Eager, lazy, refused, and of two records, in turn.
                    let batch = match nth % 4 {
                        0 => add(&who),
                        1 => batch(Vec::new(), vec![attempt(who.id, n, 1)]),
                        2 => batch(vec![Expect::Venue(9)], Vec::new()),
                        _ => Batch { records: vec![record(Vec::new()); 2], expects: Vec::new() },
                    };
                    commit(store.as_ref(), batch).ok()
                });
                mine.flatten().collect::<Vec<_>>()
            })
        })
        .collect();
    let all = threads.into_iter().flat_map(|thread| thread.join().unwrap());
    let numbers: Vec<u64> = all.flat_map(|committed| committed.first..=committed.last).collect();
    let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
    assert_eq!(numbers.len(), distinct.len(), "no number is given twice");
    assert_eq!(distinct.last(), Some(&(numbers.len() as u64)));
    let listed = store.audit(&AuditFilter::default(), None, 1_000).unwrap();
    let listed: Vec<u64> = listed.into_iter().map(|(no, _)| no).collect();
    assert_eq!(listed, distinct.into_iter().rev().collect::<Vec<_>>());
}

fn user_ids_are_unique_in_any_script(store: &dyn Store) {
    for (n, userid) in ["Ålice", "アリス", "али́са", "𝒶lice", "ﬁne", "o'hara;--", "a%_b"].iter().enumerate()
    {
        let who = person(n as u64 + 1, userid);
        commit(store, add(&who)).unwrap();
        let snapshot = store.load(&Load::UserId(UserId::parse(userid).unwrap())).unwrap();
        assert_eq!(snapshot.person, Some(who.clone()));
        let twin = Person { id: id(100), ..who };
        conflict(commit(store, add(&twin)));
        let unchecked = Batch { expects: Vec::new(), ..add(&twin) };
        conflict(commit(store, unchecked));
    }
    assert_eq!(store.head().no, 7);
}

fn attempts_wait_but_queries_see_them(store: &dyn Store) {
    commit(store, add(&person(1, "alice"))).unwrap();
    for wrong in 1..=5 {
        let mut failed = record(vec![attempt(id(1), 1, wrong)]);
        failed.entry = entry(Event::LoginRefused, 20).refused(Deny::WrongPassword);
        commit(store, Batch { expects: vec![Expect::Person(id(1), 1)], records: vec![failed] }).unwrap();
        let known = store.accesses().unwrap();
        assert_eq!((known.len(), known[0].0, known[0].1.wrong), (1, id(1), wrong));
        let filter = AuditFilter { event: Some(Event::LoginRefused), ..AuditFilter::default() };
        assert_eq!(store.audit(&filter, None, 100).unwrap().len(), usize::from(wrong));
    }
    assert_eq!(loaded(store, id(1)).version, 1, "attempts change no version");
    // A versioned change shows what came before it.
    commit(store, batch(Vec::new(), vec![attempt(id(1), 2, 6)])).unwrap();
    let standing = Standing::Disabled;
    commit(store, batch(Vec::new(), vec![Change::Standing { person: id(1), standing }])).unwrap();
    let snapshot = store.load(&Load::Person(id(1))).unwrap();
    assert_eq!(snapshot.access.map(|access| (access.wrong, access.sources.len())), Some((6, 2)));

    commit(store, batch(Vec::new(), vec![Change::AttemptsForgotten { person: id(1) }])).unwrap();
    let known = store.accesses().unwrap();
    assert_eq!(known.iter().map(|(_, access)| access.wrong).collect::<Vec<_>>(), [0]);
    commit(store, batch(Vec::new(), vec![Change::AttemptsForgotten { person: id(2) }])).unwrap();
    assert_eq!(store.accesses().unwrap().len(), 1, "nothing to remember of somebody never tried");
    assert!(store.accesses().unwrap().iter().all(|(_, access)| *access != Access::default()));
}

fn audit_is_filtered_and_newest_first(store: &dyn Store) {
    let (alice, bob) = (person(1, "alice"), Person { firm: None, ..person(2, "bob") });
    commit(store, add(&alice)).unwrap();
    commit(store, add(&bob)).unwrap();
    let on_alice = Subject { id: alice.id, userid: alice.userid.clone() };
    let stranger = Entry { actor: Actor::unknown("Mallory"), ..entry(Event::LoginRefused, 60) };
    let entries = [
        by(entry(Event::LoginGranted, 30), &alice),
        by(entry(Event::LoginRefused, 40), &bob).refused(Deny::WrongPassword),
        Entry { subject: Some(on_alice), ..by(entry(Event::AuthenticatorUnlocked, 50), &bob) },
        Entry { door: Door::Local, ..stranger.refused(Deny::UnknownUser) },
        by(entry(Event::VerifyRefused, 70), &bob).refused(Deny::UnknownUser).naming("Trudy"),
    ];
    for entry in entries.clone() {
        commit(store, Batch { expects: Vec::new(), records: vec![Record { entry, changes: Vec::new() }] })
            .unwrap();
    }
    let all = AuditFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let cases: Vec<(AuditFilter, &[u64])> = vec![
        (all(), &[7, 6, 5, 4, 3, 2, 1]),
        (AuditFilter { person: Some(alice.id), ..all() }, &[5, 3]),
        (AuditFilter { userid: text("ALICE"), ..all() }, &[5, 3]),
        (AuditFilter { userid: text("bob"), ..all() }, &[7, 5, 4]),
        (AuditFilter { userid: text("trudy"), ..all() }, &[7]),
        (AuditFilter { userid: text("mallory"), ..all() }, &[6]),
        (AuditFilter { userid: text("malice"), ..all() }, &[]),
        (AuditFilter { person: Some(alice.id), userid: text("alice"), ..all() }, &[5, 3]),
        (AuditFilter { person: Some(alice.id), userid: text("bob"), ..all() }, &[5]),
        (AuditFilter { person: Some(alice.id), userid: text("eve"), ..all() }, &[]),
        (AuditFilter { firm: alice.firm.clone(), ..all() }, &[3]),
        (AuditFilter { event: Some(Event::LoginRefused), ..all() }, &[6, 4]),
        (AuditFilter { outcome: Some(Outcome::Refused), person: Some(bob.id), ..all() }, &[7, 4]),
        (AuditFilter { door: Some(Door::Local), ..all() }, &[6]),
        (AuditFilter { attempt: Some(entries[1].attempt), ..all() }, &[4]),
        (AuditFilter { since: Some(Wall::from_s(30)), until: Some(Wall::from_s(50)), ..all() }, &[4, 3]),
    ];
    for (filter, expected) in cases {
        let listed = store.audit(&filter, None, 100).unwrap();
        let numbers: Vec<u64> = listed.iter().map(|(no, _)| *no).collect();
        assert_eq!(numbers, expected, "{filter:?}");
        // The same in pages of one.
        let (mut before, mut paged) = (None, Vec::new());
        while let Some((no, _)) = store.audit(&filter, before, 1).unwrap().first() {
            paged.push(*no);
            before = Some(*no);
        }
        assert_eq!(paged, expected, "{filter:?}");
        // And the other way round.
        let (mut after, mut paged) = (0, Vec::new());
        while let Some((no, _)) = store.audit_after(&filter, after, 1).unwrap().first() {
            paged.push(*no);
            after = *no;
        }
        paged.reverse();
        assert_eq!(paged, expected, "{filter:?}");
        let upwards = store.audit_after(&filter, 0, 100).unwrap();
        assert!(upwards.iter().rev().eq(&listed), "{filter:?}");
    }
    let listed = store.audit(&all(), None, 5).unwrap();
    for ((_, read), written) in listed.into_iter().rev().zip(entries) {
        assert!(!read.node.is_empty(), "the store says which node it was");
        assert_eq!(Entry { node: String::new(), ..read }, written);
    }
}

fn people_are_listed_in_pages(store: &dyn Store) {
    let names = ["ana", "anabel", "anton", "bea", "émile", "zoë", "アリス"];
    for (n, name) in (1..).zip(names) {
        let mut who = person(n, name);
        who.firm = (n % 2 == 0).then(|| FirmCode::parse("ACME").unwrap());
        who.kind = if n == 7 { Kind::Service } else { Kind::Trader };
        commit(store, add(&who)).unwrap();
    }
    let standing = Change::Standing { person: id(3), standing: Standing::Disabled };
    let enrolled = Change::Authenticator { person: id(4), authenticator: registered(), seeds: 1 };
    commit(store, batch(Vec::new(), vec![standing, enrolled])).unwrap();
    let all = PeopleFilter::default;
    let text = |text: &str| Some(text.to_owned());
    let cases: Vec<(PeopleFilter, &[&str])> = vec![
        (all(), &names),
        (PeopleFilter { firm: FirmCode::parse("acme").ok(), ..all() }, &["anabel", "bea", "zoë"]),
        (PeopleFilter { kind: Some(Kind::Service), ..all() }, &["アリス"]),
        (PeopleFilter { standing: Some(Standing::Disabled), ..all() }, &["anton"]),
        (PeopleFilter { auth_system: Some(AuthSystem::Otp), ..all() }, &names),
        (PeopleFilter { auth_system: Some(AuthSystem::Password), ..all() }, &[]),
        (PeopleFilter { registered: Some(true), ..all() }, &["bea"]),
        (PeopleFilter { registered: Some(false), text: text("b"), ..all() }, &[]),
        (PeopleFilter { text: text("ANA"), ..all() }, &["ana", "anabel"]),
        (PeopleFilter { text: text("É"), ..all() }, &["émile"]),
        (
            PeopleFilter { text: text(""), standing: Some(Standing::Active), ..all() },
            &["ana", "anabel", "bea", "émile", "zoë", "アリス"],
        ),
        (PeopleFilter { text: text("a%"), ..all() }, &[]),
    ];
    for (filter, expected) in cases {
        let mut expected: Vec<UserId> = expected.iter().map(|name| UserId::parse(name).unwrap()).collect();
        expected.sort();
        let whole = store.people(&filter, None, 100).unwrap();
        let whole: Vec<Person> = whole.into_iter().map(|listed| listed.person).collect();
        assert_eq!(whole.iter().map(|p| p.userid.clone()).collect::<Vec<_>>(), expected, "{filter:?}");
        let (mut after, mut paged) = (None, Vec::new());
        loop {
            let page = store.people(&filter, after.as_ref(), 2).unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.person.userid.clone());
            paged.extend(page.into_iter().map(|listed| listed.person.userid));
        }
        assert_eq!(paged, expected, "{filter:?}");
    }
}

fn somebody_is_found_by_each_of_their_tokens_until_it_ends(store: &dyn Store) {
    let (acme, alice, bob) = (firm("ACME"), person(1, "alice"), person(2, "bob"));
    commit(store, batch(Vec::new(), vec![Change::Firm { firm: acme.clone() }])).unwrap();
    commit(store, add(&alice)).unwrap();
    commit(store, add(&bob)).unwrap();
    let found = |of: &Person, n: u8| store.load(&Load::Token(token_hash(of.id, n))).unwrap();
    let set = |of: &Person, tokens: Tokens| {
        commit(store, batch(Vec::new(), vec![Change::Tokens { person: of.id, tokens }])).unwrap();
    };
    assert_eq!(found(&alice, 0).person, None);
    set(&alice, tokens(alice.id, 3));
    set(&bob, tokens(bob.id, 1));
    for n in 0..3 {
        let snapshot = found(&alice, n);
        let person = snapshot.person.unwrap();
        assert_eq!((person.id, snapshot.firm), (alice.id, Some(acme.clone())));
        assert_eq!(person.tokens, tokens(alice.id, 3));
    }
    assert_eq!(found(&alice, 3), Snapshot { person: None, firm: None, ..found(&alice, 3) });
    assert_eq!(found(&bob, 0).person.unwrap().id, bob.id);
    set(&alice, tokens(alice.id, 3).without(&token_hash(alice.id, 1)));
    let there = |of: &Person| -> Vec<u8> { (0..4).filter(|n| found(of, *n).person.is_some()).collect() };
    assert_eq!(there(&alice), [0, 2]);
    // What ends them is no change of their own.
    let standing = Standing::Disabled;
    commit(store, batch(Vec::new(), vec![Change::Standing { person: alice.id, standing }])).unwrap();
    assert_eq!((there(&alice), there(&bob)), (Vec::new(), vec![0]));
    assert!(loaded(store, alice.id).tokens.is_empty());
}

fn sessions_are_versioned_and_their_keys_unique_for_ever(store: &dyn Store) {
    commit(store, batch(Vec::new(), vec![Change::Firm { firm: firm("ACME") }])).unwrap();
    let (one, two) = (fix_session(1, 1), fix_session(2, 2));
    let set = |session: &FixSession| vec![Change::FixSession { session: Box::new(session.clone()) }];
    for session in [&two, &one] {
        commit(store, batch(vec![Expect::NoFixSession(session.id)], set(session))).unwrap();
    }
    let snapshot = store.load(&Load::FixSession(one.id)).unwrap();
    assert_eq!((snapshot.session.as_ref(), snapshot.firm), (Some(&one), Some(firm("ACME"))));
    assert_eq!(snapshot.session_use, Some(SessionUse::default()));
    assert_eq!(store.load(&Load::FixSession(fix_session(3, 3).id)).unwrap(), super::Snapshot::default());
    assert_eq!(store.load(&Load::AccessKey(access_key(2))).unwrap().session, Some(two.clone()));

    let changed = FixSession { version: 2, standing: Standing::Disabled, pairs: Vec::new(), ..one.clone() };
    commit(store, batch(vec![Expect::FixSession(one.id, 1)], set(&changed))).unwrap();
    let late = conflict(commit(store, batch(vec![Expect::FixSession(one.id, 1)], set(&one))));
    assert_eq!(late, "FIX session S01 at version 1: it is at 2");
    assert!(
        conflict(commit(store, batch(vec![Expect::NoFixSession(one.id)], set(&one))))
            .ends_with("it is there")
    );
    let unknown = Expect::FixSession(fix_session(3, 3).id, 1);
    assert!(conflict(commit(store, batch(vec![unknown], Vec::new()))).ends_with("it is not there"));

    // The pair is gone from its session, and its name is still nobody else's.
    let thief = FixSession { version: 2, ..fix_session(2, 1) };
    let taken = conflict(commit(store, batch(vec![Expect::FixSession(two.id, 1)], set(&thief))));
    assert!(taken.contains("is one of session S01"), "{taken}");
    assert_eq!(store.load(&Load::AccessKey(access_key(1))).unwrap().session, Some(changed.clone()));
    let listed: Vec<FixSession> = store.sessions().unwrap().into_iter().map(|(session, _)| session).collect();
    assert_eq!(listed, [changed, two]);
}

fn what_logons_do_waits_but_queries_see_it(store: &dyn Store) {
    for n in [1, 2] {
        let session = Box::new(fix_session(n, n));
        commit(store, batch(Vec::new(), vec![Change::FixSession { session }])).unwrap();
    }
    let lock = |n: u8, s: Option<i64>| Change::SessionLock {
        session: fix_session(n, n).id,
        locked: s.map(Wall::from_s),
    };
    let say = |numbers| Change::Stream { stream: stream(1), numbers };
    let later = Numbers { rev: 1, ..Numbers::new(Epoch { week: 7, reset: 1 }) };
    for changes in [
        vec![key_used(1, 3), say(numbers(9, 40)), lock(1, Some(3))],
        vec![key_used(1, 6), say(numbers(8, 39)), lock(2, Some(4))],
        vec![key_used(2, 1), say(later), lock(2, None)],
        vec![say(numbers(200, 90))],
    ] {
        commit(store, batch(Vec::new(), changes)).unwrap();
    }
    let expected = |n: u8, used: &Change, locked| {
        let Change::KeyUsed { access_key, used, .. } = used else { panic!("{used:?}") };
        (fix_session(n, n), SessionUse { locked, keys: [(*access_key, *used)].into() })
    };
    let (first, second) =
        (expected(1, &key_used(1, 6), Some(Wall::from_s(3))), expected(2, &key_used(2, 1), None));
    assert_eq!(store.sessions().unwrap(), [first.clone(), second]);
    assert_eq!(store.load(&Load::FixSession(first.0.id)).unwrap().session_use, Some(first.1));
    assert_eq!(store.streams().unwrap(), [(stream(1), later)], "the later statement, whatever came last");
    let mut entry = entry(Event::LogonGranted, 30);
    entry.session = Some(fix_session(1, 1).id);
    let logon = Batch { expects: Vec::new(), records: vec![Record { entry, changes: Vec::new() }] };
    let no = commit(store, logon).unwrap().first;
    for filter in [
        AuditFilter { session: Some(fix_session(1, 1).id), ..AuditFilter::default() },
        AuditFilter { event: Some(Event::LogonGranted), ..AuditFilter::default() },
    ] {
        let listed = store.audit(&filter, None, 9).unwrap();
        assert_eq!(listed.iter().map(|(no, _)| *no).collect::<Vec<_>>(), [no], "{filter:?}");
    }
}

fn the_week_is_rolled_to_once(store: &dyn Store) {
    assert_eq!(store.week().unwrap(), 0);
    let roll = |from, week| batch(vec![Expect::Week(from)], vec![Change::Week { week }]);
    commit(store, roll(0, 2_900)).unwrap();
    assert_eq!(conflict(commit(store, roll(0, 2_900))), "trading week 0: it is at 2900");
    commit(store, roll(2_900, 2_901)).unwrap();
    assert_eq!(store.week().unwrap(), 2_901);
}

fn q6_who_waits_for_a_record_is_told_once_it_is_there(store: &dyn Store) {
    use tokio::sync::oneshot::error::TryRecvError;

    let mut third = store.reached(3);
    for _ in 0..2 {
        commit(store, batch(Vec::new(), Vec::new())).unwrap();
    }
    assert_eq!(third.try_recv(), Err(TryRecvError::Empty));
    commit(store, batch(Vec::new(), vec![attempt(id(1), 1, 1)])).unwrap();
    third.blocking_recv().unwrap();
    store.reached(2).blocking_recv().unwrap();
    let mut replaced = store.reached(9);
    let _later = store.reached(10);
    assert_eq!(replaced.try_recv(), Err(TryRecvError::Closed), "one waits at a time");
}

fn a_callback_hears_the_answer_once(store: &dyn Store) {
    let (told, hear) = std::sync::mpsc::channel();
    for batch in [add(&person(1, "alice")), add(&person(2, "alice")), add(&person(3, "bob"))] {
        let told = told.clone();
        store.submit_then(batch, Box::new(move |answer| told.send(answer.is_ok()).unwrap()));
    }
    drop(told);
    assert_eq!(hear.iter().collect::<Vec<_>>(), [true, false, true]);
}
