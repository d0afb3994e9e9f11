//! The embedded store by the common suite, and what only it has: replay, crashes, rebuilding.

use crate::book::conformance::conforms;
use crate::journal::PowerDisk;

use super::*;

const NODE: &str = "node-a";

fn small() -> Settings {
    Settings { segment_bytes: 16 * 1024, ..Settings::default() }
}

fn open_on(dir: &Path, disk: &PowerDisk) -> Result<SqliteStore, Fault> {
    open(dir, Arc::new(disk.clone()), NODE.to_owned(), &small())
}

#[test]
fn the_embedded_store_conforms() {
    let base = tempfile::tempdir().unwrap();
    let made = std::sync::atomic::AtomicU32::new(0);
    conforms(|| {
        let dir = base.path().join(made.fetch_add(1, std::sync::atomic::Ordering::SeqCst).to_string());
        open_on(&dir, &PowerDisk::new()).unwrap()
    });
}
