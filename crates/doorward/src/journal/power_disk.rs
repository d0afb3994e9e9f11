//! A disk in memory whose power can be cut at any operation. For tests: here, in the book, in the simulation.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskFile};

const SECTOR: usize = 512;

/// A disk for tests: it forgets what was not synced, at the operation that the test names.
///
/// Writes, syncs, and files made and removed are counted as operations. The one at which the power is cut
/// fails, and all later ones do until [`PowerDisk::restore`]. A cut leaves each 512-byte sector of the unsynced
/// writes as it was, or as after any of those writes; in one sector the last write may stop at any byte. Files
/// made or removed since the last [`Disk::sync_dir`] are there or not, each for itself. All of it is chosen
/// from the seed. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct PowerDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<u64, Content>,
    /// Names as the running system sees them, and as they are on the platter.
    names: BTreeMap<String, u64>,
    names_durable: BTreeMap<String, u64>,
    last_id: u64,
    operations: u64,
    cut_at: Option<u64>,
    off: bool,
    /// Counts restarts: a file opened before one is dead after it.
    boot: u64,
    full: bool,
    /// What is answered where it is asked for room; `None`: more than anybody needs.
    free_bytes: Option<u64>,
    syncs_fail: bool,
}

#[derive(Debug, Default, Clone)]
struct Content {
    durable: Vec<u8>,
    cached: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

impl PowerDisk {
    /// An empty disk with power.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cuts the power at the operation with this number (from 1, see [`PowerDisk::operations`]); that one
    /// fails too, but what it wrote may survive.
    pub fn cut_at(&self, operation: u64) {
        self.lock().cut_at = Some(operation);
    }

    /// How many operations were counted since the disk was made.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Whether the power is cut.
    pub fn is_off(&self) -> bool {
        self.lock().off
    }

    /// Cuts the power if it is still on, forgets what `seed` chooses, and switches it on again.
    ///
    /// Switches and scheduled cuts are off afterwards; files opened before answer with errors.
    pub fn restore(&self, seed: u64) {
        let mut state = self.lock();
        let mut random = Random(seed);
        for content in state.files.values_mut() {
            content.lose(&mut random);
        }
        let State { names, names_durable, .. } = &mut *state;
        let every: Vec<String> = names.keys().chain(names_durable.keys()).cloned().collect();
        for name in every {
            let (new, old) = (names.get(&name).copied(), names_durable.get(&name).copied());
            match if random.chance(2) { new } else { old } {
                Some(id) => names_durable.insert(name, id),
                None => names_durable.remove(&name),
            };
        }
        names.clone_from(names_durable);
        let kept: Vec<u64> = state.names.values().copied().collect();
        state.files.retain(|id, _| kept.contains(id));
        state.boot += 1;
        (state.cut_at, state.off, state.full, state.syncs_fail) = (None, false, false, false);
    }

    /// While on, writes and new files answer "no space left".
    pub fn full(&self, on: bool) {
        self.lock().full = on;
    }

    /// Says that so much room is left, in bytes; nothing is refused for it.
    pub fn free(&self, bytes: u64) {
        self.lock().free_bytes = Some(bytes);
    }

    /// While on, syncs fail, and as on real systems what they failed to write counts as clean afterwards: it
    /// reads back, but no later sync makes it durable unless it is written again.
    pub fn syncs_fail(&self, on: bool) {
        self.lock().syncs_fail = on;
    }

    /// The bytes of a file as the running system sees them, for a test to look at or tamper with.
    pub fn bytes_of(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        let id = state.names.get(name)?;
        state.files.get(id).map(|content| content.cached.clone())
    }

    /// Sets a file's bytes durably, behind the back of whoever has it open.
    pub fn tamper(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.lock();
        let id = state.names.get(name).copied().unwrap_or_else(|| state.add(name));
        state.names_durable.insert(name.to_owned(), id);
        state.files.insert(id, Content { durable: bytes.clone(), cached: bytes, pending: Vec::new() });
    }

    /// Removes a file durably.
    pub fn lose(&self, name: &str) {
        let mut state = self.lock();
        state.names.remove(name);
        state.names_durable.remove(name);
    }

    /// Another disk with the same durable and cached content, with power.
    pub fn copy(&self) -> Self {
        let state = self.lock();
        let copy = State {
            files: state.files.clone(),
            names: state.names.clone(),
            names_durable: state.names_durable.clone(),
            last_id: state.last_id,
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(copy)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, id: u64, boot: u64) -> Box<dyn DiskFile> {
        Box::new(PowerFile { disk: self.clone(), id, boot })
    }
}

impl State {
    fn add(&mut self, name: &str) -> u64 {
        self.last_id += 1;
        self.names.insert(name.to_owned(), self.last_id);
        self.files.insert(self.last_id, Content::default());
        self.last_id
    }

    /// Counts an operation; true when the power goes at this one.
    fn operation(&mut self) -> io::Result<bool> {
        self.powered()?;
        self.operations += 1;
        self.off = self.cut_at.is_some_and(|at| self.operations >= at);
        Ok(self.off)
    }

    fn powered(&self) -> io::Result<()> {
        if self.off { Err(power_cut()) } else { Ok(()) }
    }

    fn room(&self) -> io::Result<()> {
        if self.full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn power_cut() -> io::Error {
    io::Error::other("power cut")
}

fn done_unless(cut: bool) -> io::Result<()> {
    if cut { Err(power_cut()) } else { Ok(()) }
}

impl Content {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.cached, offset, bytes);
        self.pending.push((offset, bytes.to_vec()));
    }

    fn sync(&mut self) {
        for (offset, bytes) in self.pending.drain(..) {
            put(&mut self.durable, offset, &bytes);
        }
    }

    fn lose(&mut self, random: &mut Random) {
        let pending = std::mem::take(&mut self.pending);
        let end = pending.iter().map(|(offset, bytes)| offset + bytes.len()).max().unwrap_or(0);
        for sector in 0..end.div_ceil(SECTOR) {
            let range = sector * SECTOR..(sector + 1) * SECTOR;
            let touching: Vec<_> = pending.iter().filter_map(|write| part_in(write, &range)).collect();
            let survive = random.below(touching.len() + 1);
            for (nth, (offset, bytes)) in touching.iter().take(survive).enumerate() {
                let cut_short = nth + 1 == survive && random.chance(4);
                let length = if cut_short { random.below(bytes.len() + 1) } else { bytes.len() };
                put(&mut self.durable, *offset, &bytes[..length]);
            }
        }
        if self.durable.len() < self.cached.len() && random.chance(2) {
            self.durable.resize(self.cached.len(), 0);
        }
        self.cached.clone_from(&self.durable);
    }
}

/// The part of a write that falls into a sector.
fn part_in<'a>(write: &'a (usize, Vec<u8>), sector: &std::ops::Range<usize>) -> Option<(usize, &'a [u8])> {
    let (offset, bytes) = write;
    let from = sector.start.max(*offset);
    let to = sector.end.min(offset + bytes.len());
    (from < to).then(|| (from, &bytes[from - offset..to - offset]))
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

impl Disk for PowerDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.powered()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let state = self.lock();
        state.powered()?;
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.file(id, state.boot))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        let cut = state.operation()?;
        state.room()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.add(name);
        done_unless(cut)?;
        Ok(self.file(id, state.boot))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        let cut = state.operation()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        done_unless(cut)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock();
        done_unless(state.operation()?)?;
        if state.syncs_fail {
            return Err(io::Error::other("sync failed"));
        }
        state.names_durable = state.names.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.lock();
        Ok(if state.full { 0 } else { state.free_bytes.unwrap_or(1 << 40) })
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }
}

struct PowerFile {
    disk: PowerDisk,
    id: u64,
    boot: u64,
}

impl PowerFile {
    /// Runs on the content while there is power and the file is not from before a restart.
    fn with<T>(&self, run: impl FnOnce(&mut State, u64) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.lock();
        if state.boot != self.boot {
            return Err(io::Error::other("opened before the power cut"));
        }
        run(&mut state, self.id)
    }
}

fn content(state: &mut State, id: u64) -> io::Result<&mut Content> {
    state.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
}

impl DiskFile for PowerFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.with(|state, id| {
            state.powered()?;
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            let rest = content(state, id)?.cached.get(offset..).unwrap_or_default();
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|state, id| {
            let cut = state.operation()?;
            state.room()?;
            content(state, id)?.write(usize::try_from(offset).map_err(io::Error::other)?, bytes);
            done_unless(cut)
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state, id| {
            done_unless(state.operation()?)?;
            let fail = state.syncs_fail;
            let content = content(state, id)?;
            if fail {
                content.pending.clear();
                return Err(io::Error::other("sync failed"));
            }
            content.sync();
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|state, id| {
            state.powered()?;
            Ok(content(state, id)?.cached.len() as u64)
        })
    }
}

/// SplitMix64: small, seeded, the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    /// True once in `n` times.
    fn chance(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_synced_survives_and_the_rest_in_whole_sectors_or_one_torn() {
        let mut outcomes = std::collections::BTreeSet::new();
        for seed in 0..64 {
            let disk = PowerDisk::new();
            let file = disk.create("a").unwrap();
            file.write_at(0, &[1; 2048]).unwrap();
            file.sync_data().unwrap();
            disk.sync_dir().unwrap();
            file.write_at(256, &[2; 1024]).unwrap();
            disk.create("b").unwrap();
            disk.restore(seed);
            assert!(file.len().is_err(), "a file from before the cut is dead");
            let bytes = disk.bytes_of("a").unwrap();
            assert!(bytes[..256].iter().chain(&bytes[1280..]).all(|&b| b == 1));
            outcomes.insert((bytes[256], bytes[512], bytes[1024], disk.bytes_of("b").is_some()));
        }
        assert_eq!(outcomes.len(), 16, "every combination comes up");
    }

    #[test]
    fn a_failed_sync_leaves_what_reads_back_but_does_not_last() {
        let disk = PowerDisk::new();
        let file = disk.create("a").unwrap();
        disk.sync_dir().unwrap();
        file.write_at(0, b"x").unwrap();
        disk.syncs_fail(true);
        assert!(file.sync_data().is_err());
        disk.syncs_fail(false);
        file.sync_data().unwrap();
        assert_eq!(disk.bytes_of("a").unwrap(), b"x");
        disk.restore(1);
        assert_ne!(disk.bytes_of("a").unwrap(), b"x");
    }
}
