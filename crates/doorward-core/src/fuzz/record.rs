//! Records of the journal, from any bytes.

use crate::audit::Record;
use crate::identity::attempt::Access;
use crate::identity::change::Change;
use crate::identity::notice::Notice;

/// Reads bytes as a record and applies it: what was read is written in one way only, and no change that can be written
/// down is too much for those it touches.
pub fn record(bytes: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(bytes) else { return };
    let written = bytes_of(&record);
    match serde_json::from_slice::<Record>(&written) {
        Ok(again) => {
            assert_eq!(again, record, "another record");
            assert_eq!(bytes_of(&again), written, "written in two ways");
        }
        Err(error) => panic!("written and not read: {error}"),
    }
    let mut access = Access::default();
    let mut person = None;
    for change in &record.changes {
        if let Change::PersonAdded { person: added } = change {
            person = Some(added.as_ref().clone());
        }
        access.apply(change);
        if let Some(person) = &mut person {
            let version = person.version;
            // A person of the highest version cannot be changed; nobody gets there.
            if version < u64::from(u32::MAX) {
                person.apply(change);
            }
        }
    }
    // What its owner and others are told of it.
    let _ = Notice::of(&record);
}

fn bytes_of(record: &Record) -> Vec<u8> {
    match serde_json::to_vec(record) {
        Ok(bytes) => bytes,
        Err(error) => panic!("read and not written: {error}"),
    }
}
