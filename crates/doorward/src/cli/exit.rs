//! How a command ends: its exit code and, where it fails, one line that says why and what to do.

use std::fmt;
use std::process::ExitCode;

use doorward_client::api::ApiError;
use doorward_client::{ClientError, printable};

/// The exit codes of every command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Done as asked.
    Done = 0,
    /// The server said no.
    Refused = 1,
    /// The command was wrong, or needs something that was not given.
    Usage = 2,
    /// The server cannot be reached, or broke off.
    Unreachable = 3,
    /// What was verified is not as it was written; left with 2, as `doorward audit verify` documents.
    Tampered = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Tampered => Self::from(2),
            Exit::Done | Exit::Refused | Exit::Usage | Exit::Unreachable => Self::from(exit as u8),
        }
    }
}

/// Why a command failed.
#[derive(Clone, Debug)]
pub struct CliError {
    exit: Exit,
    text: String,
    lines: bool,
}

impl CliError {
    /// Several faults of one file, a line each.
    pub fn lines(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: text.into(), lines: true }
    }

    /// The command was wrong; the text names the option to change.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, text: text.into(), lines: false }
    }

    /// The server said no.
    pub fn refused(text: impl Into<String>) -> Self {
        Self { exit: Exit::Refused, text: text.into(), lines: false }
    }

    /// The server cannot be reached, or broke off.
    pub fn unreachable(text: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, text: text.into(), lines: false }
    }

    /// The same left with 1, of a command whose 2 means something else.
    #[must_use]
    pub fn as_refused(self) -> Self {
        Self { exit: Exit::Refused, ..self }
    }

    /// The exit code to leave with.
    pub const fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A peer's words may be in it: one line, and nothing that a terminal would act on.
        if !self.lines {
            return f.write_str(&printable(&self.text));
        }
        for (at, line) in self.text.lines().enumerate() {
            write!(f, "{}{}", if at == 0 { "" } else { "\n" }, printable(line))?;
        }
        Ok(())
    }
}

impl std::error::Error for CliError {}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Url { .. }
            | ClientError::Roots { .. }
            | ClientError::Certificate { .. }
            | ClientError::PasswordTooLong { .. }
            | ClientError::Seed(_) => Exit::Usage,
            ClientError::NoChallenge { .. } => Exit::Refused,
            ClientError::Connect { .. }
            | ClientError::Handshake { .. }
            | ClientError::Timeout { .. }
            | ClientError::Closed(_)
            | ClientError::Unexpected(_)
            | ClientError::Key => Exit::Unreachable,
        };
        Self { exit, text: error.to_string(), lines: false }
    }
}

impl From<ApiError> for CliError {
    fn from(error: ApiError) -> Self {
        let exit = match &error {
            ApiError::Problem(_) => Exit::Refused,
            ApiError::Unreachable { .. } | ApiError::Timeout { .. } | ApiError::Unexpected { .. } => {
                Exit::Unreachable
            }
        };
        Self { exit, text: error.to_string(), lines: false }
    }
}

/// What this program prints cannot be written: the reader has gone.
impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        Self { exit: Exit::Usage, text: format!("output: {error}"), lines: false }
    }
}
