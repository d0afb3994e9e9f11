//! The way by which mails leave.

use doorward_core::identity::mail::Mail;
use doorward_core::text::{escape_untrusted, shortened};

use super::folder::Folder;
use super::message::Posted;
use super::smtp::{Connected, Smtp};

/// Longest text of a mail server that is kept, in characters.
const SAID_CHARS_MAX: usize = 300;

/// Why a mail did not leave. Texts are free of control characters; codes are those of RFC 5321.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The mail server cannot be talked to at all: no mail would leave now.
    Server(String),
    /// This mail was not taken now.
    Later {
        /// The server's code, if it gave one.
        code: Option<u16>,
        /// What it said.
        text: String,
    },
    /// This mail will never be taken.
    Never {
        /// The server's code, if it gave one.
        code: Option<u16>,
        /// What it said.
        text: String,
    },
}

impl Failure {
    pub(super) fn server(text: &str) -> Self {
        Self::Server(said(text))
    }

    pub(super) fn later(code: Option<u16>, text: &str) -> Self {
        Self::Later { code, text: said(text) }
    }

    pub(super) fn never(code: Option<u16>, text: &str) -> Self {
        Self::Never { code, text: said(text) }
    }
}

/// What a server said, harmless and not too long.
fn said(text: &str) -> String {
    let line: Vec<&str> = text.split_whitespace().collect();
    shortened(&escape_untrusted(&line.join(" ")), SAID_CHARS_MAX).into_owned()
}

/// By which way mails leave.
#[derive(Clone, Debug)]
pub enum Post {
    /// By a mail server.
    Smtp(Smtp),
    /// Into a folder.
    Folder(Folder),
}

/// A way that is open for several mails, one after the other.
pub(super) enum Open<'p> {
    Smtp { smtp: &'p Smtp, connected: Option<Box<Connected>> },
    Folder(&'p Folder),
}

impl Post {
    /// Gets ready for several mails; nothing is connected yet.
    pub(super) fn open(&self) -> Open<'_> {
        match self {
            Self::Smtp(smtp) => Open::Smtp { smtp, connected: None },
            Self::Folder(folder) => Open::Folder(folder),
        }
    }
}

impl Open<'_> {
    /// Sends one mail; returns once it is the other side's.
    pub(super) async fn send(&mut self, mail: &Mail, posted: &Posted) -> Result<(), Failure> {
        match self {
            Self::Folder(folder) => {
                folder.write(mail, posted).map_err(|fault| Failure::server(&fault.to_string()))
            }
            Self::Smtp { smtp, connected } => {
                let mut connection = match connected.take() {
                    Some(connection) => connection,
                    None => Box::new(smtp.connect().await?),
                };
                let sent = smtp.send(&mut connection, posted).await;
                if !connection.is_broken() {
                    *connected = Some(connection);
                }
                sent
            }
        }
    }

    /// Says goodbye.
    pub(super) async fn close(self) {
        if let Self::Smtp { smtp, connected: Some(connection) } = self {
            smtp.close(*connection).await;
        }
    }
}
