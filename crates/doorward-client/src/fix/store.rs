//! The sequence numbers of a session, kept over connections and restarts.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// MsgSeqNum (34) of the next message each way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Numbers {
    /// What our next message gets.
    pub next_out: u64,
    /// What the server's next message should have.
    pub next_in: u64,
}

impl Numbers {
    /// The beginning of a week.
    pub const FIRST: Self = Self { next_out: 1, next_in: 1 };
}

impl Default for Numbers {
    fn default() -> Self {
        Self::FIRST
    }
}

/// Why numbers could not be read or kept.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("sequence numbers{}: {why}", .path.as_ref().map_or_else(String::new, |path| format!(" {}", path.display())))]
pub struct StoreError {
    /// The file, where there is one.
    pub path: Option<PathBuf>,
    /// What went wrong.
    pub why: String,
}

/// Keeps the numbers of one session.
///
/// [`save`](Self::save) is called before a message with the number goes out, and once a message that came in has been
/// handed over; it should be quick. What it was given must be there after the process was killed.
pub trait SequenceStore: Send {
    /// The numbers that were saved last; [`Numbers::FIRST`] where none were.
    ///
    /// # Errors
    /// [`StoreError`] where they cannot be read, or are not as they were written.
    fn load(&mut self) -> Result<Numbers, StoreError>;

    /// Keeps these numbers from now on.
    ///
    /// # Errors
    /// [`StoreError`] where that fails; the session ends then, since its numbers would be lost.
    fn save(&mut self, numbers: Numbers) -> Result<(), StoreError>;
}

/// Numbers that live as long as the value: for sessions that begin anew with each process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MemoryStore(Numbers);

impl MemoryStore {
    /// Goes on with these numbers.
    pub const fn new(numbers: Numbers) -> Self {
        Self(numbers)
    }
}

impl SequenceStore for MemoryStore {
    fn load(&mut self) -> Result<Numbers, StoreError> {
        Ok(self.0)
    }

    fn save(&mut self, numbers: Numbers) -> Result<(), StoreError> {
        self.0 = numbers;
        Ok(())
    }
}

/// Length of one slot: two numbers of 20 digits, a counter, a checksum, each with a separator.
const SLOT_BYTES: usize = 80;

/// Numbers in a file of two lines that are written in turn, so that a torn write spoils only the newer one.
///
/// Survives a kill of the process at any point. [`FileStore::with_sync`] makes every number survive a power cut too,
/// at the cost of a sync a message; without it a session whose machine lost power may be told by the server which
/// number it expects ([`Refusal::next_expected`](super::Refusal::next_expected)).
///
/// One process at a time: the file is locked while it is open.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    file: File,
    sync: bool,
    /// Counts the saves; the slot with the greater one holds.
    revision: u64,
}

impl FileStore {
    /// Opens the file, or makes it (readable by its owner alone).
    ///
    /// # Errors
    /// [`StoreError`] where it cannot be opened or read, or another process has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let fail = |why: String| StoreError { path: Some(path.to_owned()), why };
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = opened.map_err(|error| fail(error.to_string()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(fail(String::from("another process has this session")));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(fail(error.to_string())),
        }
        let mut store = Self { path: path.to_owned(), file, sync: false, revision: 0 };
        store.load()?;
        Ok(store)
    }

    /// Syncs the file with every save.
    #[must_use]
    pub const fn with_sync(mut self) -> Self {
        self.sync = true;
        self
    }

    fn fail(&self, why: &impl ToString) -> StoreError {
        StoreError { path: Some(self.path.clone()), why: why.to_string() }
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 2 * SLOT_BYTES];
        let mut length = 0;
        while length < bytes.len() {
            match self.file.read_at(&mut bytes[length..], length as u64)? {
                0 => break,
                count => length += count,
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }
}

impl SequenceStore for FileStore {
    fn load(&mut self) -> Result<Numbers, StoreError> {
        let bytes = self.read().map_err(|error| self.fail(&error))?;
        let newest = bytes.chunks(SLOT_BYTES).filter_map(read_slot).max_by_key(|(revision, _)| *revision);
        match newest {
            Some((revision, numbers)) => {
                self.revision = revision;
                Ok(numbers)
            }
            // A kill during the first save ever leaves less than one slot.
            None if bytes.len() < SLOT_BYTES => Ok(Numbers::FIRST),
            None => Err(self.fail(&"not a file of sequence numbers, or damaged")),
        }
    }

    fn save(&mut self, numbers: Numbers) -> Result<(), StoreError> {
        self.revision += 1;
        let at = (self.revision % 2) * SLOT_BYTES as u64;
        // The first save of a new file fills both slots: a file has no hole.
        let written = if self.revision == 1 {
            self.file.write_all_at(&[slot(0, numbers), slot(1, numbers)].concat(), 0)
        } else {
            self.file.write_all_at(&slot(self.revision, numbers), at)
        };
        let synced = written.and_then(|()| if self.sync { self.file.sync_data() } else { Ok(()) });
        synced.map_err(|error| self.fail(&error))
    }
}

fn slot(revision: u64, numbers: Numbers) -> Vec<u8> {
    let text = format!("{revision:020} {:020} {:020} ", numbers.next_out, numbers.next_in);
    let mut line = format!("{text}{:015x}", checksum(text.as_bytes())).into_bytes();
    line.resize(SLOT_BYTES - 1, b' ');
    line.push(b'\n');
    line
}

fn read_slot(line: &[u8]) -> Option<(u64, Numbers)> {
    let text = std::str::from_utf8(line).ok()?;
    let (body, sum) = text.split_at_checked(63)?;
    if u64::from_str_radix(sum.trim(), 16).ok()? != checksum(body.as_bytes()) {
        return None;
    }
    let mut words = body.split(' ').map(str::parse);
    let (revision, next_out, next_in) = (words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?);
    Some((revision, Numbers { next_out, next_in }))
}

/// FNV-1a of 64 bits, without its top four: it has to find a torn line, not an enemy.
fn checksum(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash >> 4
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("doorward-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn numbers(next_out: u64, next_in: u64) -> Numbers {
        Numbers { next_out, next_in }
    }

    #[test]
    fn numbers_are_there_when_the_file_is_opened_again() {
        let scratch = Scratch::new("numbers-again");
        for n in 1..6 {
            let mut store = FileStore::open(&scratch.0).unwrap();
            let expected = if n == 1 { Numbers::FIRST } else { numbers(n, n * 10 - 10) };
            assert_eq!(store.load().unwrap(), expected);
            store.save(numbers(n + 1, n * 10)).unwrap();
        }
        let mut store = FileStore::open(&scratch.0).unwrap().with_sync();
        store.load().unwrap();
        store.save(numbers(u64::MAX, u64::MAX)).unwrap();
        assert_eq!(store.load().unwrap(), numbers(u64::MAX, u64::MAX));
    }

    #[test]
    fn a_torn_write_leaves_the_numbers_before_it() {
        let scratch = Scratch::new("numbers-torn");
        let mut store = FileStore::open(&scratch.0).unwrap();
        store.load().unwrap();
        store.save(numbers(8, 8)).unwrap();
        for revision in 2..6 {
            let before = store.load().unwrap();
            let mut whole = store.read().unwrap();
            let torn = slot(revision, numbers(1_000 + revision, 2_000));
            let at = (revision % 2) as usize * SLOT_BYTES;
            for length in 0..SLOT_BYTES {
                let mut bytes = whole.clone();
                bytes[at..at + length].copy_from_slice(&torn[..length]);
                store.file.write_all_at(&bytes, 0).unwrap();
                let read = store.load().unwrap();
                let newer = length > 60 && read == numbers(1_000 + revision, 2_000);
                assert!(read == before || newer, "{revision} torn at {length}: {read:?}");
                store.revision = revision - 1;
            }
            whole[at..at + SLOT_BYTES].copy_from_slice(&torn);
            store.file.write_all_at(&whole, 0).unwrap();
            assert_eq!(store.load().unwrap(), numbers(1_000 + revision, 2_000));
        }
    }

    #[test]
    fn one_process_has_a_session() {
        let scratch = Scratch::new("numbers-lock");
        let store = FileStore::open(&scratch.0).unwrap();
        let error = FileStore::open(&scratch.0).unwrap_err();
        assert_eq!(error.why, "another process has this session");
        drop(store);
        assert!(FileStore::open(&scratch.0).is_ok());
    }

    #[test]
    fn a_file_of_something_else_is_left_alone() {
        let scratch = Scratch::new("numbers-else");
        std::fs::write(&scratch.0, "x".repeat(500)).unwrap();
        let error = FileStore::open(&scratch.0).unwrap_err().to_string();
        assert!(error.ends_with("not a file of sequence numbers, or damaged"), "{error}");
    }
}
