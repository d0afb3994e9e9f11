//! Sends what is due, and has the gate write down what came of it.
//!
//! A mail leaves at once: the gate wakes the outbox when one is queued. What is not taken is tried again with growing
//! pauses for three days. Where the mail server cannot be reached at all, one mail tries it for all.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorward_core::identity::mail::{Mail, MailKind, MailState};
use doorward_core::time::{Mono, Wall};
use futures_util::future::join_all;
use tokio::sync::watch;

use super::letter::{Letter, Letterhead};
use super::message::{Address, message};
use super::post::{Failure, Open, Post};
use crate::gate::{Gate, MailLink, QueuedMail};
use crate::metrics;

/// First pause before a mail is tried again; each one after it is twice as long.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(15 * 60);
/// A mail that has waited so long is given up.
const WAIT_MAX: Duration = Duration::from_secs(3 * 86_400);
/// Mails that are taken up at once.
const ROUND: usize = 64;
/// Connections that are used at once, so that one slow recipient does not hold up the rest.
const LANES: usize = 4;
/// Without being woken, the outbox looks after so long: the wall clock may have been moved.
const LOOK: Duration = Duration::from_secs(5);
/// A mail server that was away is not asked more often than this, however many mails are queued.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How long to wait behind the `tries`-th vain try.
fn pause(tries: u16) -> Duration {
    let doublings = u32::from(tries.saturating_sub(1)).min(16);
    PAUSE_FIRST.saturating_mul(1 << doublings).min(PAUSE_MAX)
}

/// What becomes of a mail that did not leave.
pub fn after(tries_before: u16, queued_at: Wall, now: Wall, failure: &Failure) -> MailState {
    let tries = tries_before.saturating_add(1);
    let (Failure::Server(text) | Failure::Later { text, .. } | Failure::Never { text, .. }) = failure;
    if matches!(failure, Failure::Never { .. }) {
        return MailState::GivenUp { at_us: now, error: text.clone() };
    }
    let next_us = now + pause(tries);
    if next_us.since(queued_at) > WAIT_MAX {
        return MailState::GivenUp { at_us: now, error: format!("it waited for 3 days: {text}") };
    }
    MailState::Waiting { tries, next_us, error: Some(text.clone()) }
}

/// What mails are made with.
#[derive(Clone, Debug)]
pub struct Office {
    /// What is the same in all mails.
    pub head: Letterhead,
    /// Who they are from.
    pub from: Address,
    /// Where answers go, if elsewhere.
    pub reply_to: Option<Address>,
    /// By which way they leave.
    pub post: Post,
}

/// The sender of mails of one node.
pub struct Outbox {
    gate: Arc<Gate>,
    office: Office,
    /// What came of mails that could not be written down: it is tried again before anything else is sent, so that no
    /// mail leaves twice because a disk is full.
    unwritten: Mutex<Vec<(QueuedMail, MailState, Option<u16>)>>,
    away: Mutex<Away>,
}

/// For how long the mail server is left alone.
#[derive(Debug, Default)]
struct Away {
    failures: u16,
    asked: Mono,
    until: Mono,
}

impl Outbox {
    /// An outbox over a gate.
    pub fn new(gate: Arc<Gate>, office: Office) -> Self {
        Self { gate, office, unwritten: Mutex::default(), away: Mutex::default() }
    }

    /// Works until the node stops; a mail that is on its way then is finished first.
    pub async fn run(self, mut stopping: watch::Receiver<bool>) {
        loop {
            let wait = self.round(&stopping).await;
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => return,
                () = self.gate.mail_queued() => self.hurry(),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Sends what is due now; the answer is how long to wait for the next look.
    pub(super) async fn round(&self, stopping: &watch::Receiver<bool>) -> Duration {
        if !self.write_unwritten().await {
            return ASK_AGAIN;
        }
        let now = self.gate.now();
        let until = self.away().until;
        if now.mono < until {
            return until.since(now.mono).min(LOOK);
        }
        let due = match self.gate.mails_due(ROUND) {
            Ok(due) => due,
            Err(fault) => {
                tracing::warn!(%fault, "mails that are due could not be looked up");
                return ASK_AGAIN;
            }
        };
        if due.is_empty() {
            self.measure();
            return self.until_next(now.wall);
        }
        let down = AtomicBool::new(false);
        let lanes = due.chunks(due.len().div_ceil(LANES)).map(|mails| self.lane(mails, &down, stopping));
        join_all(lanes).await;
        if down.load(Ordering::Relaxed) {
            self.give_up_old(&due).await;
        }
        self.measure();
        Duration::ZERO
    }

    fn until_next(&self, now: Wall) -> Duration {
        match self.gate.next_mail_due() {
            Ok(Some(next)) => next.since(now).min(LOOK),
            Ok(None) | Err(_) => LOOK,
        }
    }

    fn measure(&self) {
        if let Ok(waiting) = self.gate.mails_waiting() {
            metrics::mails_waiting(waiting);
        }
        metrics::mail_up(u64::from(self.away().failures == 0));
    }

    /// Mails one after the other over one connection.
    async fn lane(&self, mails: &[QueuedMail], down: &AtomicBool, stopping: &watch::Receiver<bool>) {
        let mut open = self.office.post.open();
        for queued in mails {
            if down.load(Ordering::Relaxed) || *stopping.borrow() {
                break;
            }
            let sent = self.send(&mut open, &queued.mail).await;
            if let Err(Failure::Server(text)) = &sent {
                if down.swap(true, Ordering::Relaxed) {
                    break;
                }
                tracing::warn!(text, "the mail server cannot be reached; mails wait");
                self.server_away();
            } else {
                self.server_answers();
            }
            self.came_to(queued, sent).await;
        }
        open.close().await;
    }

    async fn send(&self, open: &mut Open<'_>, mail: &Mail) -> Result<(), Failure> {
        let link = match self.gate.mail_link(mail) {
            Ok(MailLink::None) if mail.kind == MailKind::SetupLink => {
                return Err(Failure::never(None, "there is no link to send"));
            }
            Ok(MailLink::Gone) => {
                return Err(Failure::never(
                    None,
                    "the link was used, replaced or taken back before the mail left",
                ));
            }
            Ok(MailLink::None) => None,
            Ok(MailLink::Token(token)) => match self.office.head.setup_link(token.expose()) {
                Some(link) => Some(link),
                None => {
                    return Err(Failure::later(None, "portal.public_url is not set: the link leads nowhere"));
                }
            },
            Err(fault) => return Err(Failure::later(None, &fault.to_string())),
        };
        let letter = Letter::of(mail, &self.office.head, link.as_deref());
        let posted = message(mail, &letter, &self.office.from, self.office.reply_to.as_ref())
            .map_err(|why| Failure::never(None, &why))?;
        open.send(mail, &posted).await
    }

    async fn came_to(&self, queued: &QueuedMail, sent: Result<(), Failure>) {
        let now = self.gate.now().wall;
        let (state, code) = match sent {
            Ok(()) => (MailState::Sent { at_us: now }, None),
            Err(failure) => {
                let code = match &failure {
                    Failure::Server(_) => None,
                    Failure::Later { code, .. } | Failure::Never { code, .. } => *code,
                };
                (after(queued.tries(), queued.mail.queued_at, now, &failure), code)
            }
        };
        self.write(queued.clone(), state, code).await;
    }

    /// While the server is away only one mail tries it; the others are given up in their time all the same.
    async fn give_up_old(&self, due: &[QueuedMail]) {
        let now = self.gate.now().wall;
        for queued in due.iter().filter(|queued| now.since(queued.mail.queued_at) > WAIT_MAX) {
            // What was tried itself has its state already.
            if let Ok(Some(there)) = self.gate.mail(queued.mail.id)
                && matches!(there.state, MailState::Waiting { .. })
            {
                let error = "it waited for 3 days: the mail server cannot be reached".to_owned();
                self.write(there, MailState::GivenUp { at_us: now, error }, None).await;
            }
        }
    }

    async fn write(&self, queued: QueuedMail, state: MailState, code: Option<u16>) {
        if let Err(fault) = self.gate.mail_came_to(&queued, &state, code).await {
            tracing::error!(mail = %queued.mail.id, %fault, "what came of a mail could not be written down");
            self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).push((queued, state, code));
        }
    }

    /// Writes down what could not be written; whether nothing is left of it.
    async fn write_unwritten(&self) -> bool {
        let unwritten = std::mem::take(&mut *self.unwritten.lock().unwrap_or_else(PoisonError::into_inner));
        for (queued, state, code) in unwritten {
            self.write(queued, state, code).await;
        }
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn away(&self) -> std::sync::MutexGuard<'_, Away> {
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server_away(&self) {
        let now = self.gate.now().mono;
        let mut away = self.away();
        away.failures = away.failures.saturating_add(1);
        away.asked = now;
        away.until = now + pause(away.failures);
    }

    fn server_answers(&self) {
        *self.away() = Away::default();
    }

    /// A new mail asks the server sooner than its pause ends.
    fn hurry(&self) {
        let mut away = self.away();
        away.until = away.until.min(away.asked + ASK_AGAIN);
    }
}
