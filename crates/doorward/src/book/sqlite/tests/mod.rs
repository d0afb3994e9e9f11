//! The embedded store by the common suite, and what only it has: replay, crashes, rebuilding.

mod aside;
mod failure;
mod plans;
mod rebuilt;

use rusqlite::types::Value;

use super::*;
use crate::book::conformance::conforms;
use crate::journal::PowerDisk;

const NODE: &str = "node-a";

fn small() -> Settings {
    Settings { segment_bytes: 16 * 1024, ..Settings::default() }
}

/// A directory for databases, in memory where there is such a place: what SQLite itself syncs proves nothing here, and
/// hundreds of databases are made.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open_on(dir: &Path, disk: &PowerDisk) -> Result<SqliteStore, Fault> {
    open(dir, Arc::new(disk.clone()), NODE.to_owned(), &small())
}

fn rebuild_on(dir: &Path, disk: &PowerDisk) -> Result<Rebuilt, Fault> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    rebuild(dir, &disk, NODE.to_owned(), &small())
}

/// Every row of every table, but for when migrations were made.
fn dump(dir: &Path) -> Vec<String> {
    let conn = open_to_read(&dir.join(FILE)).unwrap();
    let mut rows = Vec::new();
    let tables = [
        "venue",
        "firm",
        "person",
        "access",
        "fix_session",
        "access_key",
        "session_lock",
        "key_use",
        "stream",
        "week",
        "last_login",
        "token",
        "outbox",
        "halt",
        "audit",
        "mark",
    ];
    for table in tables {
        let mut query = conn.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap();
        let columns = query.column_count();
        let read = query.query_map([], |row| (0..columns).map(|nth| row.get(nth)).collect());
        for row in read.unwrap() {
            let row: Vec<Value> = row.unwrap();
            rows.push(format!("{table} {row:?}"));
        }
    }
    rows
}

#[test]
fn the_embedded_store_conforms() {
    let base = scratch();
    let made = std::sync::atomic::AtomicU32::new(0);
    conforms(|| {
        let dir = base.path().join(made.fetch_add(1, std::sync::atomic::Ordering::SeqCst).to_string());
        open_on(&dir, &PowerDisk::new()).unwrap()
    });
}
