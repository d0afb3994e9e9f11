//! Mails: what is due, what came of it, and who is woken when one is queued.

use aws_lc_rs::digest::{SHA256, digest};
use doorward_core::audit::{Actor, Context, Door, Entry, Event, Outcome, Record, Subject};
use doorward_core::id::FirmCode;
use doorward_core::identity::change::Change;
use doorward_core::identity::link::LinkHash;
use doorward_core::identity::mail::{Mail, MailId, MailState};
use doorward_core::identity::sealed::{Place, Sealed};
use doorward_core::secret::Secret;
use doorward_core::time::Wall;

use super::{Gate, error_text, new_attempt};
use crate::book::{Batch, CommitError, Load, MailFilter, Queued};
use crate::fault::Fault;
use crate::metrics;

/// The setup link of a mail.
pub enum MailLink {
    /// The mail has none.
    None,
    /// Its token; the link works now.
    Token(Secret<String>),
    /// The link does not work any more.
    Gone,
}

/// The hash under which a setup link is kept: SHA-256 of its token as it stands in the link.
pub fn link_hash(token: &str) -> LinkHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    LinkHash(hash)
}

impl Queued {
    /// How often it was tried.
    pub fn tries(&self) -> u16 {
        match &self.state {
            MailState::Waiting { tries, .. } => *tries,
            MailState::Sent { .. } | MailState::GivenUp { .. } => 0,
        }
    }
}

impl Gate {
    /// Mails that are to be sent now, the longest due first.
    pub fn mails_due(&self, limit: usize) -> Result<Vec<Queued>, Fault> {
        self.store.mails_due(self.clock.now().wall, limit)
    }

    /// When the next mail is to be sent, if one waits.
    pub fn next_mail_due(&self) -> Result<Option<Wall>, Fault> {
        self.store.next_mail_due()
    }

    /// How many mails wait to be sent.
    pub fn mails_waiting(&self) -> Result<u64, Fault> {
        self.store.mails_waiting()
    }

    /// A mail.
    pub fn mail(&self, id: MailId) -> Result<Option<Queued>, Fault> {
        self.store.mail(id)
    }

    /// Mails, newest first, from before the one of this time and id on.
    pub fn mails(
        &self,
        filter: &MailFilter,
        before: Option<(Wall, MailId)>,
        limit: usize,
    ) -> Result<Vec<Queued>, Fault> {
        self.store.mails(filter, before, limit)
    }

    /// Waits until a mail was queued since this was asked last.
    pub async fn mail_queued(&self) {
        self.outbox.notified().await;
    }

    /// Wakes the sender, where a batch that was committed has a mail.
    pub(super) fn wake_outbox(&self, has_mail: bool) {
        if has_mail {
            self.outbox.notify_one();
        }
    }

    /// Seals the token of a setup link for the mail that will carry it.
    pub fn seal_mail_token(
        &self,
        mail: MailId,
        firm: Option<&FirmCode>,
        token: &str,
    ) -> Result<Sealed, Fault> {
        self.vault.seal(&token_place(mail, firm), token.as_bytes())
    }

    /// Opens the token of a mail's setup link, if the link still works: nobody is sent a dead one.
    pub fn mail_link(&self, mail: &Mail) -> Result<MailLink, Fault> {
        let Some(sealed) = &mail.secret else { return Ok(MailLink::None) };
        let opened = self.vault.open(&token_place(mail.id, mail.firm.as_ref()), sealed)?;
        let Ok(token) = std::str::from_utf8(opened.expose()) else {
            return Err(Fault::Damaged(format!("mail {}: its token is no text", mail.id)));
        };
        let holder = self.store.load(&Load::Link(link_hash(token)))?.person;
        let now = self.clock.now().wall;
        let works = holder.and_then(|person| person.link).is_some_and(|link| link.is_live(now));
        Ok(if works { MailLink::Token(Secret::new(token.to_owned())) } else { MailLink::Gone })
    }

    /// Writes down what came of a mail. `code` is the mail server's.
    pub async fn mail_came_to(
        &self,
        queued: &Queued,
        state: &MailState,
        code: Option<u16>,
    ) -> Result<(), Fault> {
        let record = self.mail_record(queued, state, code);
        let label = record.entry.event.id();
        match self.commit(Batch { expects: Vec::new(), records: vec![record] }).await {
            Ok(_) => {
                metrics::mail(label);
                Ok(())
            }
            Err(CommitError::Fault(fault)) => Err(fault),
            Err(error @ CommitError::Conflict(_)) => Err(Fault::Book(error_text(&error))),
        }
    }

    fn mail_record(&self, queued: &Queued, state: &MailState, code: Option<u16>) -> Record {
        let (mail, at) = (&queued.mail, self.clock.now().wall);
        let context = Context { at, door: Door::Node, source: None, attempt: new_attempt() };
        let (event, outcome) = match state {
            MailState::Sent { .. } => (Event::MailSent, Outcome::Allowed),
            MailState::Waiting { .. } => (Event::MailDelayed, Outcome::Refused),
            MailState::GivenUp { .. } => (Event::MailGivenUp, Outcome::Refused),
        };
        // The server's words are in the outbox; here are only ours.
        let said = code.map(|code| format!(", the mail server said {code}")).unwrap_or_default();
        let next = match state {
            MailState::Waiting { next_us, .. } => format!(", again at {next_us}"),
            MailState::Sent { .. } | MailState::GivenUp { .. } => String::new(),
        };
        let detail =
            format!("{} {}, try {}{said}{next}", mail.kind, mail.id, queued.tries().saturating_add(1));
        let subject = mail.about.zip(mail.userid.clone()).map(|(id, userid)| Subject { id, userid });
        let entry = Entry {
            outcome,
            subject,
            firm: mail.firm.clone(),
            ..Entry::new(&context, event, Actor::Node).with_detail(detail)
        };
        Record { entry, changes: vec![Change::MailState { mail: mail.id, state: state.clone() }] }
    }
}

/// Where a link's token lives; it opens nowhere else (V1).
fn token_place(mail: MailId, firm: Option<&FirmCode>) -> Place {
    Place {
        table: "outbox",
        row: mail.to_string(),
        column: "token",
        firm: firm.map(|code| code.as_str().to_owned()).unwrap_or_default(),
        version: 1,
    }
}

/// Whether a batch queues a mail.
pub(super) fn has_mail(batch: &Batch) -> bool {
    let mut changes = batch.records.iter().flat_map(|record| &record.changes);
    changes.any(|change| matches!(change, Change::MailQueued { .. }))
}
