//! One instance per directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::fault::Fault;

/// An exclusive lock on a directory, held until dropped or until the process ends, however it ends.
///
/// It is an advisory lock on the file `lock` in it, which holds the owner's process id for the texts.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Locks a directory; the fault names the process that holds it already.
    pub fn acquire(dir: &Path) -> Result<Self, Fault> {
        let path = dir.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(|error| Fault::disk(&path, &error))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(in_use(dir, &mut file)),
            Err(error) => return Err(Fault::disk(&path, &error.into())),
        }
        let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        noted.map_err(|error| Fault::disk(&path, &error))?;
        Ok(Self { _file: file })
    }
}

fn in_use(dir: &Path, file: &mut File) -> Fault {
    let mut text = String::new();
    let noted = file.take(20).read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok());
    let holder = noted.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    let dir = dir.display();
    Fault::Disk(format!("{dir}: in use by {holder}: stop that instance, or give this one its own directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_instance_is_refused_and_told_who_is_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::acquire(dir.path()).unwrap();
        let refused = DirLock::acquire(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("in use by process {}:", std::process::id())), "{refused}");
        drop(first);
        DirLock::acquire(dir.path()).unwrap();
    }
}
