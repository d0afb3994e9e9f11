//! The book within a backup: SQLite has no checksums, and the journal is the truth.

use std::sync::atomic::AtomicBool;

use rusqlite::Connection;

use super::*;
use crate::book::Load;
use crate::book::conformance::{add, commit, id, person};
use crate::journal::{Checkpoint, Head, HeadKind, Heads, SignedHead};

/// A node with somebody in it, which is stopped.
fn stopped() -> World {
    let world = World::new();
    let store = world.store("data");
    commit(&store, add(&person(1, "ana"))).unwrap();
    write(&store, 30);
    drop(store);
    world
}

fn has_ana(world: &World, dir: &str) -> bool {
    let loaded = world.store(dir).load(&Load::Person(id(1))).unwrap();
    loaded.person.is_some_and(|person| person.userid.as_str() == "ana")
}

/// It is told with exit 1, made when asked for, and comes back whole without being asked for.
fn is_told_and_made_anew(world: &World, what: &str, is_in_it: bool) {
    let fault = world.make("b").unwrap_err().to_string();
    assert!(fault.contains(what) && fault.contains("book rebuild"), "{fault}");
    assert!(fault.contains("--damaged") && !world.path("b").exists(), "{fault}");
    let header = world.make_of("b", true).unwrap();
    assert_eq!((header.damaged.as_deref(), header.book.is_some()), (None, is_in_it), "{header:?}");
    assert!(header.book_damaged.as_ref().is_some_and(|text| text.contains(what)), "{header:?}");
    let check = check(&world.path("b"), &world.vault, &mut |_, _| {}).unwrap();
    assert!(check.findings[0].contains(what), "{check:?}");
    let done = world.restore("b", "new").unwrap();
    assert_eq!(done.damaged, None);
    assert!(done.made_anew.as_ref().is_some_and(|text| text.contains(what)), "{done:?}");
    assert!(has_ana(world, "new"));
    let rows = world.store("new").audit(&AuditFilter::default(), None, 1).unwrap();
    let detail = rows[0].1.detail.as_deref().unwrap();
    assert!(detail.contains("the book was made anew from the journal") && detail.contains(what), "{detail}");
}

#[test]
fn v7_a_byte_that_changed_in_the_book_is_told_and_the_journal_makes_it_anew() {
    for (sql, what) in [
        ("UPDATE person SET doc = replace(doc, 'otp', 'otq')", "table person, row 1"),
        ("UPDATE person SET doc = 'x' || substr(doc, 2)", "table person, row 1"),
        ("UPDATE person SET userid = 'anb'", "table person, row 1"),
        ("UPDATE person SET doc = CAST(x'7bff7d' AS TEXT)", "table person, row 1"),
        ("UPDATE audit SET entry = substr(entry, 2) WHERE no = 7", "table audit, row 7"),
        ("UPDATE venue SET doc = ''", "table venue, row 1"),
        ("UPDATE mark SET hash = zeroblob(32)", "of another journal"),
        ("UPDATE mark SET no = no - 3", "of another journal"),
        ("DROP TABLE halt", "halt"),
    ] {
        let world = stopped();
        assert!(world.make("good").is_ok());
        Connection::open(world.path("data/book.db")).unwrap().execute_batch(sql).unwrap();
        is_told_and_made_anew(&world, what, true);
    }
}

#[test]
fn v7_a_book_that_does_not_even_copy_is_left_out_and_the_journal_makes_it() {
    for at in [0, 4_096 * 3] {
        let world = stopped();
        let path = world.path("data/book.db");
        let mut bytes = fs::read(&path).unwrap();
        bytes[at..at + 2_000].fill(0xA5);
        fs::write(&path, bytes).unwrap();
        is_told_and_made_anew(&world, "book.db", false);
    }
}

#[test]
fn v7_a_book_that_fails_is_left_out_where_that_is_asked_for() {
    let world = stopped();
    Connection::open(world.path("data/book.db")).unwrap().execute_batch("DELETE FROM mark").unwrap();
    let fault = world.make("b").unwrap_err().to_string();
    assert!(fault.contains("--damaged makes a backup without the book"), "{fault}");
    let header = world.make_of("b", true).unwrap();
    assert!(header.book.is_none() && header.book_damaged.is_some(), "{header:?}");
    assert!(world.restore("b", "new").unwrap().made_anew.is_some() && has_ana(&world, "new"));
}

/// Says in the file of heads what the gate would say.
fn say(world: &World, disk: &Arc<dyn Disk>, kind: HeadKind, head: Head) {
    let mut heads = Heads::open(Arc::clone(disk)).unwrap();
    let key = *world.vault.audit_keys().unwrap().last().unwrap();
    let checkpoint = Checkpoint::new(NODE, heads.next_count(), kind, head, NOW);
    let signature = world.vault.audit_sign(&key, checkpoint.text(&HeadKey::new(key)).as_bytes()).unwrap();
    heads.append(SignedHead::new(checkpoint, &HeadKey::new(key), signature)).unwrap();
}

#[test]
fn v7_where_records_were_dropped_the_book_is_made_anew_from_the_one_set_aside() {
    let world = stopped();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&world.path("data/journal")).unwrap());
    let settings = sqlite::Settings { segment_bytes: 16 * 1024, ..sqlite::Settings::default() };
    let store = sqlite::open(&world.path("data"), Arc::clone(&disk), NODE.to_owned(), &settings).unwrap();
    write(&store, 60);
    let on = AtomicBool::new(false);
    let upto = store.droppable(NOW + Duration::from_secs(1), Duration::ZERO, &on).unwrap().unwrap();
    say(&world, &disk, HeadKind::At, store.head());
    let book = store.set_aside(upto.no, &on).unwrap();
    say(&world, &disk, HeadKind::DroppedTo { book }, upto);
    assert!(store.drop_to(upto.no, &book, &on).unwrap() > 0);
    drop((store, disk));
    let sql = "UPDATE person SET doc = 'x' || substr(doc, 2)";
    Connection::open(world.path("data/book.db")).unwrap().execute_batch(sql).unwrap();
    is_told_and_made_anew(&world, "table person, row 1", true);
    assert_eq!(inspect(&world.path("b")).unwrap().first, upto.no + 1);
}

#[test]
fn v7_a_book_and_a_journal_that_are_both_damaged_come_back_as_they_are_or_not_at_all() {
    let world = stopped();
    world.flip(&format!("data/journal/{FIRST}"), 2_000);
    let sql = "UPDATE audit SET entry = substr(entry, 2) WHERE no = 7";
    Connection::open(world.path("data/book.db")).unwrap().execute_batch(sql).unwrap();
    let header = world.make_of("b", true).unwrap();
    assert!(header.damaged.is_some() && header.book_damaged.is_some(), "{header:?}");
    assert!(world.restore("b", "new").unwrap_err().to_string().contains("--damaged"));
    let done = world.restore_damaged("b", "new").unwrap();
    assert_eq!((done.made_anew, has_ana(&world, "new")), (None, true));
}
