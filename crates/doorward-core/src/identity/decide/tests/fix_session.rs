//! FIX sessions: what may be set, and the lock.

use super::key_pair::session;
use super::*;
use crate::id::CompStem;
use crate::identity::decide::MisuseKind;
use crate::identity::decide::fix_session::{Edit, New, add, edit, lock, lock_after_refusals, reopen};
use crate::identity::fix_session::{FixSession, SessionKind, SessionUse};
use crate::identity::key_pair::Environment;
use crate::limits::Limit;

fn context() -> Context {
    Context { at: NOW, door: Door::Local, source: None, attempt: AttemptId(9) }
}

fn new() -> New {
    let FixSession { id, sender_comp_ids, operator_ids, sources, .. } = session();
    let (kind, environment) = (SessionKind::Order, Environment::Live);
    New { id, kind, environment, sender_comp_ids, operator_ids, sources }
}

fn stem(text: &str) -> CompStem {
    CompStem::parse(text.as_bytes()).unwrap()
}

#[test]
fn a_session_is_added_to_a_firm() {
    let record = add(new(), &firm(), administrator(), &context()).unwrap();
    sound(&record);
    let [Change::FixSession { session: added }] = &record.changes[..] else { panic!("{record:?}") };
    assert_eq!((added.version, &added.firm, added.added_at), (1, &firm().code, NOW));
    assert_eq!(record.entry.session, Some(added.id));
    assert_eq!(record.entry.event, Event::FixSessionAdded);
}

#[test]
fn a_session_that_nobody_could_use_is_refused_with_the_field() {
    type Spoil = fn(&mut New);
    let spoiled: [(&str, Spoil); 5] = [
        ("sender_comp_ids", |new| new.sender_comp_ids.clear()),
        ("sender_comp_ids", |new| {
            new.sender_comp_ids.insert(stem("XYZ001"));
        }),
        ("operator_ids", |new| new.operator_ids.clear()),
        ("operator_ids", |new| {
            let many = 0..=Limit::SessionNames.max();
            new.operator_ids = many.map(|n| format!("OP{n}").try_into().unwrap()).collect();
        }),
        ("sources", |new| {
            let network = Network::parse("192.0.2.0/24").unwrap();
            new.sources = vec![network; Limit::SessionNames.max() as usize + 1];
        }),
    ];
    for (field, spoil) in spoiled {
        let mut given = new();
        spoil(&mut given);
        let misuse = add(given, &firm(), administrator(), &context()).unwrap_err();
        assert_eq!((misuse.field, misuse.kind), (field, MisuseKind::Invalid));
    }
}

#[test]
fn a_change_is_one_record_for_the_standing_and_one_for_the_rest() {
    let there = session();
    let change = Edit {
        standing: Some(Standing::Disabled),
        sender_comp_ids: Some([stem("ABC001")].into_iter().collect()),
        sources: Some(vec![Network::parse("192.0.2.0/24").unwrap()]),
        ..Edit::default()
    };
    let records = edit(&there, change.clone(), &administrator(), &context()).unwrap();
    let events: Vec<_> = records.iter().map(|record| record.entry.event).collect();
    assert_eq!(events, [Event::FixSessionDisabled, Event::FixSessionChanged]);
    let versions: Vec<_> = records
        .iter()
        .map(|record| {
            sound(record);
            let [Change::FixSession { session }] = &record.changes[..] else { panic!("{record:?}") };
            session.version
        })
        .collect();
    assert_eq!(versions, [2, 3]);
    let Change::FixSession { session: last } = &records[1].changes[0] else { panic!("no session") };
    assert_eq!((last.standing, last.sender_comp_ids.len(), last.sources.len()), (Standing::Disabled, 1, 1));
    assert!(edit(last, change, &administrator(), &context()).unwrap().is_empty(), "nothing is different");
    let enabled = Edit { standing: Some(Standing::Active), ..Edit::default() };
    let records = edit(last, enabled, &administrator(), &context()).unwrap();
    assert_eq!(records[0].entry.event, Event::FixSessionEnabled);
    let empty = Edit { operator_ids: Some(Default::default()), ..Edit::default() };
    assert_eq!(edit(&there, empty, &administrator(), &context()).unwrap_err().field, "operator_ids");
}

#[test]
fn f4_a_locked_session_is_opened_by_an_administrator_with_a_reason() {
    let (there, mut used) = (session(), SessionUse::default());
    let misuse = reopen(&there, &used, "why not", administrator(), &context()).unwrap_err();
    assert_eq!(misuse.kind, MisuseKind::Conflict);
    let locked = lock_after_refusals(&there, &context());
    sound(&locked);
    assert_eq!((locked.entry.event, &locked.entry.actor), (Event::FixSessionLocked, &Actor::Node));
    locked.changes.iter().for_each(|change| used.apply(change));
    assert_eq!(used.locked, Some(NOW));
    let misuse = lock(&there, &used, "too", administrator(), &context()).unwrap_err();
    assert_eq!(misuse.kind, MisuseKind::Conflict);
    assert_eq!(reopen(&there, &used, " ", administrator(), &context()).unwrap_err().field, "reason");
    let opened = reopen(&there, &used, "client called", administrator(), &context()).unwrap();
    sound(&opened);
    assert_eq!((opened.entry.event, opened.entry.session), (Event::FixSessionReopened, Some(there.id)));
    opened.changes.iter().for_each(|change| used.apply(change));
    assert_eq!(used, SessionUse::default());
    let by_hand = lock(&there, &used, "as asked", administrator(), &context()).unwrap();
    assert_eq!(by_hand.changes, [Change::SessionLock { session: there.id, locked: Some(NOW) }]);
}
