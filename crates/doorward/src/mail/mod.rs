//! Mail: what is said ([`letter`]), how it is put into a message (`message`), by which way it leaves (`post`), and
//! when ([`outbox`]).
//!
//! A mail is queued by a change in the record of what it tells of, so neither is without the other. The outbox asks the
//! gate for what is due and has the gate write down what came of it: after a crash a mail may be sent twice, with one
//! Message-ID, and is never lost.

mod folder;
pub mod letter;
mod message;
pub mod outbox;
mod post;
mod smtp;

#[cfg(test)]
mod tests;

pub use folder::Folder;
pub use message::{Address, address};
pub use post::{Failure, Post};
pub use smtp::{Security, Smtp, SmtpSettings};
