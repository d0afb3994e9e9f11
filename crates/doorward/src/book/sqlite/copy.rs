//! A copy of the database, beside the instance that writes it.

use std::path::Path;

use super::FILE;
use super::apply::unsigned;
use super::schema::{fault, open_to_read};
use crate::fault::Fault;
use crate::journal::Head;

/// Copies the book in `dir` as it is at one moment to a file that is not there yet; whoever writes it goes on meanwhile.
///
/// The answer is up to which record of the journal the copy is; `None` where there is no book. The file is durable only
/// where its reader makes it so.
pub fn copy(dir: &Path, to: &Path) -> Result<Option<Head>, Fault> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let name =
        to.to_str().ok_or_else(|| Fault::Book(format!("{}: a path that is not UTF-8", to.display())))?;
    let from = open_to_read(&path)?;
    from.execute("VACUUM INTO ?1", [name]).map_err(|error| fault(&error))?;
    let copy = open_to_read(to)?;
    let mark = copy.query_row("SELECT no, hash FROM mark", [], |row| {
        Ok(Head { no: unsigned(row.get(0)?), hash: row.get(1)? })
    });
    mark.map(Some).map_err(|error| fault(&error))
}
