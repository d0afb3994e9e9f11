//! A folder instead of a mail server: each mail is a file. For trials.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use doorward_core::identity::mail::Mail;

use super::message::Posted;
use crate::fault::Fault;

/// A folder for mails, mode 0700. A mail that is written twice is one file: its name is made of when it was queued, so
/// that names are in the order of time, and of its id.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens a folder, making it if need be.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|error| Fault::disk(path, &error))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a mail, whole or not at all.
    pub(super) fn write(&self, mail: &Mail, posted: &Posted) -> Result<(), Fault> {
        let path = self.path.join(format!("{:016}-{}.eml", mail.queued_at.as_us(), mail.id));
        let aside = path.with_extension("tmp");
        let written = (|| {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
            file.write_all(&posted.bytes)?;
            file.sync_all()?;
            std::fs::rename(&aside, &path)
        })();
        written.map_err(|error| Fault::disk(&path, &error))
    }
}
