//! What went wrong outside: disk, vault, network. A fault is nobody's bad input and closes no door.

/// A failure of something that Doorward depends on. The peer hears "try again later"; the operator reads this.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// The disk or file system refused; the text names the file.
    #[error("disk: {0}")]
    Disk(String),
    /// What is stored does not read back as it was written; the text names where.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The book (the database) failed.
    #[error("book: {0}")]
    Book(String),
    /// The vault failed or is not there.
    #[error("vault: {0}")]
    Vault(String),
    /// Too much work is waiting; try again after so many milliseconds.
    #[error("busy: {0}")]
    Busy(&'static str),
    /// The server is stopping.
    #[error("stopping")]
    Stopping,
}

impl Fault {
    /// A disk fault at a path.
    pub fn disk(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::Disk(format!("{}: {error}", path.display()))
    }
}
