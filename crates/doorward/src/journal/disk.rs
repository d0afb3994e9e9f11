//! The disk as the journal sees it: a flat directory of files of fixed length.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use doorward_core::limits::Limit;

use super::lock::DirLock;
use super::walk::used;
use crate::fault::Fault;

const MIB: u64 = 1 << 20;
/// How much of a file is read at once.
const READ_BYTES: usize = 256 * 1024;

/// A directory of files. What is written is durable only after the syncs.
pub trait Disk: Send + Sync {
    /// Names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file that is there, for reading and (where the disk allows it) writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Makes an empty file; an error where one of that name is there.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes files made and removed so far durable as entries of the directory.
    fn sync_dir(&self) -> io::Result<()>;
    /// Room left for us, in bytes.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Where this is, for the operator's texts.
    fn place(&self) -> String;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Send + Sync {
    /// Reads into `buffer` from `offset` on; less than asked for only at the end of the file.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`, the file growing as needed.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable, with the length.
    fn sync_data(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }
}

/// A directory of the machine: mode 0700, files 0600, written with `fdatasync`.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    dir: File,
    /// Held while this disk may write; `None`: for reading only.
    lock: Option<DirLock>,
}

impl RealDisk {
    /// Opens a directory for writing, making it if need be, and locks it against every other instance.
    ///
    /// The lock lasts as long as this value. The fault names the instance that holds it.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        make_dir(path).map_err(|error| Fault::disk(path, &error))?;
        let lock = Some(DirLock::acquire(path)?);
        let dir = File::open(path).map_err(|error| Fault::disk(path, &error))?;
        Ok(Self { path: path.to_owned(), dir, lock })
    }

    /// Opens a directory for reading beside the instance that writes it (`doorward audit verify`).
    pub fn open_to_read(path: &Path) -> Result<Self, Fault> {
        let dir = File::open(path).map_err(|error| Fault::disk(path, &error))?;
        Ok(Self { path: path.to_owned(), dir, lock: None })
    }

    fn writable(&self) -> io::Result<()> {
        if self.lock.is_some() { Ok(()) } else { Err(io::ErrorKind::ReadOnlyFilesystem.into()) }
    }
}

/// Makes the directory durably; one that is there keeps its mode.
fn make_dir(path: &Path) -> io::Result<()> {
    let made = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()).count();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for dir in path.ancestors().skip(1).take(made) {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir)?.sync_all()?;
    }
    Ok(())
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| entry.map(|e| e.file_name().into_string()));
        // A name that is not UTF-8 is none of ours.
        names.filter_map(|name| name.map(Result::ok).transpose()).collect()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let write = self.lock.is_some();
        Ok(Box::new(OpenOptions::new().read(true).write(write).open(self.path.join(name))?))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.writable()?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        Ok(Box::new(options.open(self.path.join(name))?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.writable()?;
        fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.dir.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.dir)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

impl DiskFile for File {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match FileExt::read_at(self, &mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// A disk that reports "no space left" while a switch is on (the demo's fault `disk-full`).
pub struct FullDisk {
    inner: Arc<dyn Disk>,
    full: Arc<AtomicBool>,
}

impl FullDisk {
    /// Wraps a disk; `full` may be switched at any time.
    pub fn new(inner: Arc<dyn Disk>, full: Arc<AtomicBool>) -> Self {
        Self { inner, full }
    }

    fn wrap(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FullFile { inner: file, full: Arc::clone(&self.full) })
    }
}

fn refuse_if(full: &AtomicBool) -> io::Result<()> {
    if full.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
}

impl Disk for FullDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.inner.open(name).map(|file| self.wrap(file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        refuse_if(&self.full)?;
        self.inner.create(name).map(|file| self.wrap(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        if self.full.load(Ordering::Relaxed) { Ok(0) } else { self.inner.free_bytes() }
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}

struct FullFile {
    inner: Box<dyn DiskFile>,
    full: Arc<AtomicBool>,
}

impl DiskFile for FullFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        refuse_if(&self.full)?;
        self.inner.write_at(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

/// Room left for us on the file system of a path, in bytes.
pub fn free_bytes_at(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Refuses what would take the room below which the journal's disk counts as nearly full; whoever copies much asks first,
/// for nobody logs on once the journal takes nothing more.
pub fn room_for(place: &str, free_bytes: u64, bytes: u64) -> Result<(), Fault> {
    let spare = Limit::DiskFreeMiB.max();
    if bytes.saturating_add(spare * MIB) <= free_bytes {
        return Ok(());
    }
    let (needed, free) = (bytes.div_ceil(MIB), free_bytes / MIB);
    Err(Fault::Disk(format!(
        "{place}: {needed} MiB are needed beside the {spare} MiB that stay free, and {free} MiB are free: make room there"
    )))
}

/// A disk fault that names the file.
pub(crate) fn fault(disk: &dyn Disk, name: &str, error: &io::Error) -> Fault {
    Fault::disk(&Path::new(&disk.place()).join(name), error)
}

/// Reads a file whole, at most `limit` bytes and one more.
///
/// Of a segment most are zero, as the memory is that it is read into: only what is not is copied there, so that the
/// rest costs no memory.
pub(crate) fn read_whole(disk: &dyn Disk, name: &str, limit: u64) -> Result<Vec<u8>, Fault> {
    let read = || {
        let file = disk.open(name)?;
        // A file that a crash left longer than any segment is judged by its first part.
        let length = usize::try_from(file.len()?.min(limit.saturating_add(1))).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        let mut chunk = vec![0; length.min(READ_BYTES)];
        let mut at = 0;
        while at < length {
            let wanted = chunk.len().min(length - at);
            let read = file.read_at(at as u64, &mut chunk[..wanted])?;
            let used = used(&chunk[..read]);
            bytes[at..at + used].copy_from_slice(&chunk[..used]);
            at += read;
            if read < wanted {
                break;
            }
        }
        bytes.truncate(at);
        Ok(bytes)
    };
    read().map_err(|error| fault(disk, name, &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_read_whole_wherever_it_is_zero() {
        let base = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(&base.path().join("journal")).unwrap();
        let file = disk.create("x").unwrap();
        let mut expected = vec![0; 3 * READ_BYTES + 77];
        for at in [0, READ_BYTES - 1, READ_BYTES + 1, 3 * READ_BYTES, 3 * READ_BYTES + 70] {
            expected[at] = b'x';
        }
        file.write_at(0, &expected).unwrap();
        for limit in [0, 1, READ_BYTES - 1, READ_BYTES, 3 * READ_BYTES + 76, usize::MAX - 1] {
            let read = read_whole(&disk, "x", limit as u64).unwrap();
            assert!(read == expected[..expected.len().min(limit + 1)], "{limit}: {}", read.len());
        }
        disk.create("empty").unwrap();
        assert!(read_whole(&disk, "empty", 9).unwrap().is_empty());
    }

    #[test]
    fn files_are_the_owners_alone() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("a/journal");
        let disk = RealDisk::open(&path).unwrap();
        disk.create("x.seg").unwrap().write_at(0, b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        for name in ["x.seg", "lock"] {
            let mode = fs::metadata(path.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(disk.free_bytes().unwrap() > 0);
    }

    #[test]
    fn q10_what_would_make_the_disk_nearly_full_is_refused_with_the_room_it_needs() {
        room_for("here", 612 * MIB, 100 * MIB).unwrap();
        let refused = room_for("here", 612 * MIB - 1, 100 * MIB).unwrap_err().to_string();
        assert!(refused.contains("here: 100 MiB are needed beside the 512 MiB"), "{refused}");
        assert!(refused.contains("611 MiB are free"), "{refused}");
        assert!(room_for("here", 0, 0).is_err());
        assert!(free_bytes_at(tempfile::tempdir().unwrap().path()).unwrap() > 0);
    }

    #[test]
    fn a_disk_opened_to_read_writes_nothing() {
        let base = tempfile::tempdir().unwrap();
        let writer = RealDisk::open(base.path()).unwrap();
        writer.create("x.seg").unwrap().write_at(0, b"x").unwrap();
        let reader = RealDisk::open_to_read(base.path()).unwrap();
        assert!(reader.create("y.seg").is_err());
        assert!(reader.remove("x.seg").is_err());
        let file = reader.open("x.seg").unwrap();
        assert!(file.write_at(0, b"y").is_err());
        let mut read = [0; 4];
        assert_eq!(file.read_at(0, &mut read).unwrap(), 1);
        assert_eq!(read[0], b'x');
    }
}
