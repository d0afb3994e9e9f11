//! The row of files within a backup.

use std::io::{self, Read, Write};

use super::sealed::{Opener, Sealer};
use super::{BOOK, CONFIG, JOURNAL, STREAMS};
use crate::fault::Fault;

/// Longest name of a file, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// What stands before a file's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct File {
    /// Its path in the data directory.
    pub(super) name: String,
    /// How many bytes are stored.
    pub(super) stored: u64,
    /// How long it is; the rest of it is zeros.
    pub(super) length: u64,
}

impl File {
    /// Bytes of the content that this takes.
    pub(super) fn bytes(&self) -> u64 {
        (2 + self.name.len() as u64 + 16).saturating_add(self.stored)
    }
}

/// Bytes of the end of the row.
pub(super) const END_BYTES: u64 = 2;

/// Begins a file; its bytes follow.
pub(super) fn begin<W: Write>(out: &mut Sealer<W>, file: &File) -> io::Result<()> {
    let length = u16::try_from(file.name.len()).map_err(io::Error::other)?;
    out.put(&length.to_be_bytes())?;
    out.put(file.name.as_bytes())?;
    out.put(&file.stored.to_be_bytes())?;
    out.put(&file.length.to_be_bytes())
}

/// Ends the row.
pub(super) fn end<W: Write>(out: &mut Sealer<W>) -> io::Result<()> {
    out.put(&[0; END_BYTES as usize])
}

/// The next file; `None` at the end of the row.
pub(super) fn next<R: Read>(from: &mut Opener<R>) -> Result<Option<File>, Fault> {
    let mut length = [0; 2];
    from.take(&mut length)?;
    let length = usize::from(u16::from_be_bytes(length));
    if length == 0 {
        return Ok(None);
    }
    if length > NAME_BYTES_MAX {
        return Err(from.damaged("a file's name is too long"));
    }
    let mut name = vec![0; length];
    from.take(&mut name)?;
    let name = String::from_utf8(name).ok().filter(|name| is_known(name));
    let Some(name) = name else { return Err(from.damaged("a file that has no place in a data directory")) };
    let mut lengths = [0; 16];
    from.take(&mut lengths)?;
    let [stored, length] = [&lengths[..8], &lengths[8..]]
        .map(|bytes| bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte)));
    if stored > length {
        return Err(from.damaged("a file that is shorter than what is stored of it"));
    }
    Ok(Some(File { name, stored, length }))
}

/// Whether a path is that of a file of a data directory: so nothing is ever written beside it.
pub(super) fn is_known(name: &str) -> bool {
    let is_plain = |file: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        !file.is_empty() && !file.starts_with('.') && file.bytes().all(allowed)
    };
    match name.split_once('/') {
        None => name == BOOK || name == CONFIG,
        Some((folder, file)) => (folder == JOURNAL || folder == STREAMS) && is_plain(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_data_directory_have_a_place() {
        for name in ["book.db", "doorward.toml", "journal/heads", "streams/00000000000000000001.str"] {
            assert!(is_known(name), "{name}");
        }
        for name in [
            "",
            "/",
            "book.db/x",
            "vault.key",
            "../x",
            "journal/",
            "journal/..",
            "journal/../x",
            "journal/a/b",
            "/etc/passwd",
            "other/x",
            "journal/.hidden",
            "journal/a b",
            "./book.db",
        ] {
            assert!(!is_known(name), "{name}");
        }
    }
}
