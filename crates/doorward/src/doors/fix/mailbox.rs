//! How everybody else talks to the thread of the FIX door.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use doorward_core::ask::{AskId, Verdict};
use doorward_core::fix::session::End;
use doorward_core::id::{AccessKeyId, FirmCode, PersonId, SessionId};
use doorward_core::identity::decide::Misuse;
use doorward_core::identity::fix_session::FixSession;
use doorward_core::stream::{Numbers, StreamKey};
use tokio::sync::{oneshot, watch};

use super::recovery::Reopened;
use super::slab::Token;
use super::stored::{Stored, StoredWanted};
use crate::gate::fix::{EndOf, FixControl, SetNext, StreamInfo};

/// The FIX door has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the FIX door is closed")]
pub struct Gone;

/// Why a command was not carried out.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    /// The FIX door has ended, or there is none.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// No listener serves such a stream, or it was never used.
    #[error("{0}")]
    Unknown(String),
    /// Somebody is logged on to it, or is about to be.
    #[error("{0}")]
    LoggedOn(String),
    /// It could not be made durable.
    #[error("the stream log failed: {0}")]
    NotSaved(String),
    /// Stored messages could not be read.
    #[error("the stream log cannot be read: {0}")]
    NotRead(String),
}

/// Which connections are to end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// Those of a FIX session.
    Session(SessionId),
    /// Those of a FIX session that would not be let in as it is now.
    Narrowed(Box<FixSession>),
    /// Those that a key pair opened.
    Key(AccessKeyId),
    /// Those of a firm's FIX sessions.
    Firm(FirmCode),
    /// Those of a person.
    Person(PersonId),
    /// One connection.
    Connection(Token),
}

pub(super) type Answer<T> = oneshot::Sender<Result<T, Unfit>>;

/// What the thread is told or asked.
#[derive(Debug)]
pub(super) enum Command {
    Verdict(Token, AskId, Verdict),
    Saved(Vec<(Token, AskId)>, bool),
    End(Whose, End),
    SetNext(SetNext, oneshot::Sender<Result<Numbers, Misuse>>),
    /// The numbers that were to be set are durable, or could not be written.
    NumbersSaved {
        stream: StreamKey,
        numbers: Numbers,
        saved: bool,
        answer: oneshot::Sender<Result<Numbers, Misuse>>,
    },
    Send {
        stream: StreamKey,
        messages: Vec<(Vec<u8>, Vec<u8>)>,
        answer: Answer<Vec<u64>>,
    },
    /// Stored messages.
    Stored(StoredWanted, Answer<Stored>),
    /// All streams, or those of a FIX session.
    List(Option<SessionId>, oneshot::Sender<Vec<StreamInfo>>),
    /// The log was opened again, or could not be.
    Reopened(Box<Reopened>),
    /// What was done beside the thread broke off.
    Broken,
    /// The wall clock was moved.
    Look,
    Stop {
        drain: std::time::Duration,
    },
}

struct Inner {
    commands: mpsc::Sender<Command>,
    waker: mio::Waker,
    /// Whether the thread will look into its mailbox anyway.
    woken: Arc<AtomicBool>,
    /// Whether FIX messages can be stored.
    storing: AtomicBool,
    /// The thread has ended although nobody told it to.
    broken: watch::Sender<bool>,
}

/// Reaches the thread of the FIX door from anywhere.
#[derive(Clone)]
pub struct FixHandle(Arc<Inner>);

impl fmt::Debug for FixHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FixHandle")
    }
}

/// The thread's side.
pub(super) struct Mailbox {
    commands: mpsc::Receiver<Command>,
    woken: Arc<AtomicBool>,
}

pub(super) fn mailbox(waker: mio::Waker) -> (FixHandle, Mailbox) {
    let (sender, commands) = mpsc::channel();
    let woken = Arc::new(AtomicBool::new(false));
    let inner = Inner {
        commands: sender,
        waker,
        woken: Arc::clone(&woken),
        storing: AtomicBool::new(true),
        broken: watch::Sender::new(false),
    };
    (FixHandle(Arc::new(inner)), Mailbox { commands, woken })
}

impl Mailbox {
    /// Everything that came; to be called in every turn.
    pub(super) fn open(&self) -> impl Iterator<Item = Command> + '_ {
        // First, so that what comes from here on wakes the thread again.
        self.woken.store(false, Ordering::Release);
        self.commands.try_iter()
    }
}

impl FixHandle {
    pub(super) fn tell(&self, command: Command) -> Result<(), Gone> {
        self.0.commands.send(command).map_err(|_| Gone)?;
        if !self.0.woken.swap(true, Ordering::AcqRel) {
            // It fails only where the descriptor is gone, and then so is the thread.
            self.0.waker.wake().map_err(|_| Gone)?;
        }
        Ok(())
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Gone> {
        let (answer, answered) = oneshot::channel();
        self.tell(command(answer))?;
        answered.await.map_err(|_| Gone)
    }

    /// Has the venue send messages to a stream, logged on or not: MsgType (35) and the fields of the body. The numbers
    /// that they got, once all of them are durable.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub async fn send(
        &self,
        stream: StreamKey,
        messages: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Vec<u64>, Unfit> {
        self.ask(|answer| Command::Send { stream, messages, answer }).await?
    }

    /// Every stream that was ever used, with its numbers and who is logged on.
    ///
    /// # Errors
    /// Where the door is closed.
    pub async fn streams(&self) -> Result<Vec<StreamInfo>, Gone> {
        self.ask(|answer| Command::List(None, answer)).await
    }

    /// Messages to a client as they are stored, those of epochs that are over too.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub async fn stored(&self, wanted: StoredWanted) -> Result<Stored, Unfit> {
        self.ask(|answer| Command::Stored(wanted, answer)).await?
    }

    /// Ends the connections that the gate says; does not wait for it.
    pub fn end(&self, what: EndOf) {
        let (whose, why) = match what {
            EndOf::Session(session) => (Whose::Session(session), End::SessionEnded),
            EndOf::Narrowed(session) => (Whose::Narrowed(session), End::SessionEnded),
            EndOf::Key(key) => (Whose::Key(key), End::KeyEnded),
            EndOf::Firm(firm) => (Whose::Firm(firm), End::SessionEnded),
            EndOf::Person(person) => (Whose::Person(person), End::PersonEnded),
            EndOf::Week(_) => return self.clock_moved(),
        };
        // Where the door is closed, there are none.
        let _ = self.tell(Command::End(whose, why));
    }

    /// Whether FIX messages can be stored, and so people log on.
    pub fn is_storing(&self) -> bool {
        self.0.storing.load(Ordering::Relaxed)
    }

    pub(super) fn set_storing(&self, storing: bool) {
        self.0.storing.store(storing, Ordering::Relaxed);
    }

    /// Resolves when the thread has ended although nobody told it to: the node cannot go on.
    pub async fn broken(&self) {
        // The sender is here, so it does not fail.
        let _ = self.0.broken.subscribe().wait_for(|broken| *broken).await;
    }

    pub(super) fn set_broken(&self) {
        self.0.broken.send_replace(true);
    }

    /// Tells that the wall clock was moved (demo and tests only).
    pub fn clock_moved(&self) {
        let _ = self.tell(Command::Look);
    }

    /// Logs everybody out and ends the thread, within so long.
    pub(super) fn stop(&self, drain: std::time::Duration) {
        let _ = self.tell(Command::Stop { drain });
    }

    /// The person who is logged on, or about to be, has to go.
    pub(super) fn end_person(&self, token: Token) {
        let _ = self.tell(Command::End(Whose::Connection(token), End::PersonEnded));
    }
}

impl FixControl for FixHandle {
    fn set_next(&self, ask: SetNext, answer: oneshot::Sender<Result<Numbers, Misuse>>) {
        // Where the door is closed, the answer is dropped, which says so.
        let _ = self.tell(Command::SetNext(ask, answer));
    }

    fn streams(&self, session: SessionId, answer: oneshot::Sender<Vec<StreamInfo>>) {
        let _ = self.tell(Command::List(Some(session), answer));
    }
}
