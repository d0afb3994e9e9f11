//! Writes people and records into a store in bulk, while no server has it open.
#![allow(dead_code, reason = "each program takes what it needs")]

use std::path::Path;
use std::sync::{Arc, mpsc};

use doorward::book::sqlite::SqliteStore;
use doorward::book::{Batch, Store, sqlite};
use doorward::gate::new_attempt;
use doorward::journal::RealDisk;
use doorward_core::audit::{Actor, Context, Door, Entry, Event, Record};
use doorward_core::identity::change::Change;
use doorward_core::identity::person::Person;
use doorward_core::time::Wall;

use super::server::NODE;

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Records that are written at once.
pub(crate) const BATCH: usize = 1_000;

/// Opens the store of a node's folder.
pub(crate) fn open(data: &Path) -> Fallible<SqliteStore> {
    let disk = Arc::new(RealDisk::open(&data.join("journal"))?);
    Ok(sqlite::open(data, disk, NODE.to_owned(), &sqlite::Settings::default())?)
}

/// Commits records, and waits until they are durable.
pub(crate) fn commit(store: &dyn Store, records: Vec<Record>) -> Fallible<()> {
    let (told, hear) = mpsc::channel();
    let done = Box::new(move |answer: Result<_, _>| {
        // Whoever listens waits below.
        let _ = told.send(answer.is_ok());
    });
    store.submit_then(Batch { expects: Vec::new(), records }, done);
    if hear.recv()? { Ok(()) } else { Err("not committed".into()) }
}

/// Something that the node itself did at an instant.
pub(crate) fn by_node(at: Wall) -> Context {
    Context { at, door: Door::Node, source: None, attempt: new_attempt() }
}

/// The record that adds somebody.
pub(crate) fn added(person: Person) -> Record {
    let context = by_node(person.added_at);
    let entry = Entry { firm: person.firm.clone(), ..Entry::new(&context, Event::PersonAdded, Actor::Node) };
    Record { entry, changes: vec![Change::PersonAdded { person: Box::new(person) }] }
}
