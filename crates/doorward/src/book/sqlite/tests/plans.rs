//! Lists stay flat: each filter of few among many is walked by an index, in the order of its pages.

use doorward_core::audit::{Actor, Deny, Entry, Event, Record};
use doorward_core::id::FirmCode;
use doorward_core::identity::person::{Kind, Standing};
use doorward_core::time::Wall;

use super::*;
use crate::book::{LinkIs, MailStage};

#[test]
fn a_page_of_people_is_read_without_sorting_and_by_the_index_of_its_filter() {
    let base = scratch();
    drop(open_on(base.path(), &PowerDisk::new()).unwrap());
    let conn = open_to_read(&base.path().join(FILE)).unwrap();
    let all = || PeopleFilter { firm: FirmCode::parse("ACME").ok(), ..PeopleFilter::default() };
    let now = Wall::from_s(5);
    let after = UserId::parse("bea").unwrap();
    let cases = [
        (PeopleFilter::default(), "sqlite_autoindex_person_1"),
        (all(), "person_by_firm"),
        (PeopleFilter { kind: Some(Kind::Administrator), ..all() }, "person_by_kind"),
        (PeopleFilter { kind: Some(Kind::Administrator), ..PeopleFilter::default() }, "person_of_kind"),
        (PeopleFilter { kind: Some(Kind::Trader), registered: Some(false), ..all() }, "person_unregistered"),
        (PeopleFilter { kind: Some(Kind::Trader), locked: true, ..all() }, "person_locked"),
        (PeopleFilter { kind: Some(Kind::Administrator), locked: true, ..all() }, "person_by_kind"),
        (
            PeopleFilter {
                kind: Some(Kind::Administrator),
                registered: Some(false),
                ..PeopleFilter::default()
            },
            "person_of_kind",
        ),
        (PeopleFilter { never_signed_in: true, ..all() }, "person_never"),
        (PeopleFilter { link: Some((LinkIs::Live, now)), ..all() }, "person_linked"),
        (PeopleFilter { link: Some((LinkIs::Expired, now)), ..all() }, "person_linked"),
        (PeopleFilter { standing: Some(Standing::Disabled), ..all() }, "person_disabled"),
    ];
    for (filter, index) in cases {
        for after in [None, Some(&after)] {
            let plan = plan(&conn, read::people_sql(&filter, after));
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
        }
        let plan = plan(&conn, read::people_count_sql(&filter));
        assert!(plan.contains("INDEX") || filter == PeopleFilter::default(), "{filter:?}: {plan}");
    }
}

#[test]
fn s1_a_user_id_is_looked_up_by_its_index_and_the_row_beside_it_by_the_key() {
    let base = scratch();
    drop(open_on(base.path(), &PowerDisk::new()).unwrap());
    let conn = open_to_read(&base.path().join(FILE)).unwrap();
    let mut query = conn.prepare(&format!("EXPLAIN QUERY PLAN {}", read::BY_USERID)).unwrap();
    let rows = query.query_map(["anna"], |row| row.get::<_, String>(3)).unwrap();
    let plan = rows.map(Result::unwrap).collect::<Vec<_>>().join("; ");
    assert!(plan.contains("SEARCH p USING INTEGER PRIMARY KEY"), "{plan}");
    assert!(plan.contains("COVERING INDEX sqlite_autoindex_person_1 (userid>?)"), "{plan}");
    assert!(!plan.contains("SCAN p "), "{plan}");
}

#[test]
fn s1_a_refused_login_writes_as_many_rows_whether_it_is_counted_or_not_and_changes_none() {
    use crate::book::conformance::{add, attempt, batch, commit, entry, id, person, record};

    let base = scratch();
    let disk = PowerDisk::new();
    let store = open_on(base.path(), &disk).unwrap();
    for (no, name) in [(1, "alice"), (2, "bob")] {
        commit(&store, add(&person(no, name))).unwrap();
        commit(&store, batch(Vec::new(), vec![attempt(id(no), 1, 3)])).unwrap();
    }
    let before = store.accesses().unwrap();
    drop(store);
    let conn = schema::open_to_write(&base.path().join(FILE), MIGRATIONS).unwrap();
    let mut writer = apply::Writer::new(&conn).unwrap();
    let refused = |actor, changes| {
        let told = Entry { actor, ..entry(Event::LoginRefused, 20).refused(Deny::WrongPassword) };
        Record { entry: told, ..record(changes) }
    };
    let alice = Actor::Person { id: id(1), userid: UserId::parse("alice").unwrap() };
    let records = [
        refused(alice.clone(), vec![attempt(id(1), 1, 3)]),
        refused(Actor::unknown("mallory"), Vec::new()),
        refused(alice, Vec::new()),
    ];
    let mut written = Vec::new();
    for (no, record) in (100..).zip(&records) {
        let begun = conn.total_changes();
        writer.begin().unwrap();
        writer.rest(no, record, "{}").unwrap();
        let mark = writer.mark().unwrap();
        writer.commit(mark).unwrap();
        written.push(conn.total_changes() - begun);
    }
    assert!(written.iter().all(|rows| *rows == written[0]), "{written:?}");
    assert_eq!(read::accesses(&conn).unwrap(), before);

    // What is not to be read of somebody else's is no reason to refuse this one otherwise.
    conn.execute("UPDATE access SET doc = 'damaged'", []).unwrap();
    writer.begin().unwrap();
    writer.rest(200, &records[1], "{}").unwrap();
    let mark = writer.mark().unwrap();
    writer.commit(mark).unwrap();
}

#[test]
fn the_records_of_somebody_are_walked_by_their_own_index_and_not_by_the_firms() {
    let base = scratch();
    drop(open_on(base.path(), &PowerDisk::new()).unwrap());
    let conn = open_to_read(&base.path().join(FILE)).unwrap();
    let all = || AuditFilter { firm: FirmCode::parse("ACME").ok(), ..AuditFilter::default() };
    let of = Some(crate::book::conformance::id(3));
    let cases = [
        (all(), vec!["audit_by_firm"]),
        (AuditFilter { person: of, ..all() }, vec!["audit_by_person", "audit_by_subject"]),
        (AuditFilter { userid: Some("nobody".to_owned()), ..all() }, vec!["audit_by_name"]),
    ];
    for (filter, indexes) in cases {
        let sql = read::audit_sql(&conn, &filter, read::Way::Down { before: None }, 9).unwrap().unwrap();
        let plan = plan(&conn, sql);
        for index in ["audit_by_firm", "audit_by_person", "audit_by_subject", "audit_by_name"] {
            assert_eq!(plan.contains(index), indexes.contains(&index), "{filter:?}: {plan}");
        }
    }
}

#[test]
fn a_page_of_mails_is_read_without_sorting() {
    let base = scratch();
    drop(open_on(base.path(), &PowerDisk::new()).unwrap());
    let conn = open_to_read(&base.path().join(FILE)).unwrap();
    let all = || MailFilter { firm: FirmCode::parse("ACME").ok(), ..MailFilter::default() };
    let cases = [
        (MailFilter::default(), "outbox_by_time"),
        (all(), "outbox_by_firm"),
        (MailFilter { failed: true, ..all() }, "outbox_unsent_of"),
        (MailFilter { unsent: true, ..all() }, "outbox_unsent_of"),
        (MailFilter { unsent: true, ..MailFilter::default() }, "outbox_unsent"),
        (MailFilter { stage: Some(MailStage::Sent), ..all() }, "outbox_by_firm"),
        (MailFilter { about: Some(crate::book::conformance::id(3)), ..all() }, "outbox_by_about"),
    ];
    for (filter, index) in cases {
        let plan = plan(&conn, outbox::mails_sql(&filter, None));
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{filter:?}: {plan}");
    }
    let due = outbox::due_sql();
    assert!(plan(&conn, (due, vec![Value::Integer(1)])).contains("outbox_due"));
}

/// How SQLite would go about a statement whose last value, the limit, is still lacking.
fn plan(conn: &Connection, (sql, mut values): (String, Vec<Value>)) -> String {
    values.push(Value::Integer(9));
    let mut query = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let rows = query.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
    rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
}
