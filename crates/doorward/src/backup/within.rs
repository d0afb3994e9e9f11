//! The files of a backup as a disk: whatever reads a journal or a stream log reads them where they are.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::sealed::Chunks;
use crate::journal::{Disk, DiskFile};

/// Where a file lies in the content.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) at: u64,
    /// How many bytes are stored.
    pub(super) stored: u64,
    /// How long it is; the rest of it is zeros.
    pub(super) length: u64,
}

/// All files of a backup.
pub(super) struct Contents {
    /// The backup.
    pub(super) name: PathBuf,
    pub(super) chunks: Chunks,
    /// By their paths in the data directory.
    pub(super) files: BTreeMap<String, Place>,
}

/// One folder of a backup, for reading.
pub(super) struct Within {
    pub(super) contents: Arc<Contents>,
    pub(super) folder: &'static str,
}

fn only_read<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for Within {
    fn list(&self) -> io::Result<Vec<String>> {
        let files = self.contents.files.keys().filter_map(|name| name.split_once('/'));
        Ok(files.filter(|(folder, _)| *folder == self.folder).map(|(_, file)| file.to_owned()).collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let place = self.contents.files.get(&format!("{}/{name}", self.folder));
        let place = *place.ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Part { contents: Arc::clone(&self.contents), place }))
    }

    fn create(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        only_read()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        only_read()
    }

    fn sync_dir(&self) -> io::Result<()> {
        only_read()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn place(&self) -> String {
        format!("{}: {}", self.contents.name.display(), self.folder)
    }
}

struct Part {
    contents: Arc<Contents>,
    place: Place,
}

impl DiskFile for Part {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let Place { at, stored, length } = self.place;
        let most = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = most.min(buffer.len());
        let here = usize::try_from(stored.saturating_sub(offset)).unwrap_or(usize::MAX).min(count);
        let (kept, zeros) = buffer[..count].split_at_mut(here);
        self.contents.chunks.read_at(at.saturating_add(offset), kept)?;
        zeros.fill(0);
        Ok(count)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        only_read()
    }

    fn sync_data(&self) -> io::Result<()> {
        only_read()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.place.length)
    }
}

/// A disk that takes whatever is written and forgets it: opening a log on it says what opening the log would say.
pub(super) struct Forgetting<D>(pub(super) D);

impl<D: Disk> Disk for Forgetting<D> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(ForgettingFile(Some(self.0.open(name)?))))
    }

    fn create(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(ForgettingFile(None)))
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.0.free_bytes()
    }

    fn place(&self) -> String {
        self.0.place()
    }
}

/// `None`: made, and forgotten.
struct ForgettingFile(Option<Box<dyn DiskFile>>);

impl DiskFile for ForgettingFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.as_ref().map_or(Ok(0), |file| file.read_at(offset, buffer))
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.as_ref().map_or(Ok(0), |file| file.len())
    }
}
