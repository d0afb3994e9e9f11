//! Setup links: their tokens, the mail that carries one, and their end when nobody used them.

use std::collections::BTreeMap;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use doorward_core::audit::Actor;
use doorward_core::id::{PersonId, UserId};
use doorward_core::identity::change::Change;
use doorward_core::identity::decide::Misuse;
use doorward_core::identity::decide::link::{self, NewLink};
use doorward_core::identity::link::{Handed, LinkHash};
use doorward_core::identity::mail::{Mail, MailId, MailKind};
use doorward_core::identity::person::Person;
use doorward_core::secret::Secret;
use doorward_core::time::Wall;

use crate::book::{Batch, CommitError, Load};
use crate::fault::Fault;
use crate::gate::admin::Refused;
use crate::gate::{Gate, effective, error_text, expect_person, link_hash, random_u64};
use crate::metrics;
use crate::vault::Vault;

/// Random bytes of a token (K1).
const TOKEN_BYTES: usize = 24;
/// Links whose end is written down at once; the next ones a second later.
const EXPIRED_AT_ONCE: usize = 64;

/// The secret part of a setup link. It is shown or mailed once and kept nowhere (K1).
#[derive(Clone, Debug)]
pub struct LinkToken(Secret<String>);

impl LinkToken {
    /// A new one: 192 random bits, base64url without padding.
    pub fn random(vault: &dyn Vault) -> Result<Self, Fault> {
        let mut bytes = zeroize::Zeroizing::new([0; TOKEN_BYTES]);
        vault.random(&mut *bytes)?;
        Ok(Self(Secret::new(BASE64URL_NOPAD.encode(&*bytes))))
    }

    /// What is kept of it.
    pub fn hash(&self) -> LinkHash {
        link_hash(self.0.expose())
    }

    /// The text, for the link.
    pub const fn secret(&self) -> &Secret<String> {
        &self.0
    }

    /// The link, at a portal: the token is behind the `#`, which browsers send nowhere.
    pub fn url(&self, portal: &str) -> Secret<String> {
        Secret::new(format!("{}/setup#{}", portal.trim_end_matches('/'), self.0.expose()))
    }
}

impl Gate {
    /// A token for a new setup link.
    pub fn link_token(&self) -> Result<LinkToken, Fault> {
        LinkToken::random(&*self.vault)
    }

    /// Makes a setup link for somebody and mails it, as a process of this machine.
    pub async fn mail_setup_link(&self, userid: &UserId, actor: Actor) -> Result<(), Refused> {
        let held = self.hold(userid).await?;
        let (person, token, context) = (&held.person, self.link_token()?, self.local_context());
        let new = NewLink { hash: token.hash(), handed: Handed::Mailed, reason: None };
        let view = self.view(&held.snapshot);
        let ruling = link::make(&view, person, &new, self.settings.mail, actor, &context);
        let mut record = ruling.record;
        if ruling.result.is_ok() {
            let valid = Duration::from_secs(60 * u64::from(effective(&held.snapshot).setup_link_min));
            record.changes.push(self.link_mail(person, &token, valid, context.at)?);
        }
        self.commit_as_local(expect_person(&held.snapshot), record).await?;
        ruling.result.map_err(|deny| Misuse::invalid("userid", format!("{userid}: {}", deny.doc())).into())
    }

    /// The mail that carries a setup link, to be put into the record that makes the link. `valid` is for how long it
    /// works from now on.
    pub fn link_mail(
        &self,
        person: &Person,
        token: &LinkToken,
        valid: Duration,
        at: Wall,
    ) -> Result<Change, Fault> {
        let to = person.profile.email.clone();
        let to = to.ok_or_else(|| Fault::Book(format!("{} has no address", person.id)))?;
        let firm = match &person.firm {
            Some(code) => self.store.load(&Load::Firm(code.clone()))?.firm,
            None => None,
        };
        let mut values = BTreeMap::from([("expires_us".to_owned(), (at + valid).as_us().to_string())]);
        values.extend(firm.map(|firm| ("firm".to_owned(), firm.name)));
        let id = MailId::from_random(random_u64());
        let secret = Some(self.seal_mail_token(id, person.firm.as_ref(), token.secret().expose())?);
        let mail = Mail {
            id,
            to,
            kind: MailKind::SetupLink,
            queued_at: at,
            firm: person.firm.clone(),
            about: Some(person.id),
            userid: Some(person.userid.clone()),
            values,
            secret,
        };
        Ok(Change::MailQueued { mail: Box::new(mail) })
    }

    /// Writes down, once, that links came to their end unused. Not while the clock is suspect (T4).
    pub(in crate::gate) async fn expire_links(&self) {
        if !self.clock_good() {
            return;
        }
        let past = match self.store.links_past(self.clock.now().wall, EXPIRED_AT_ONCE) {
            Ok(past) => past,
            Err(fault) => {
                tracing::error!(%fault, "setup links could not be looked up");
                return;
            }
        };
        for id in past {
            if let Err(error) = self.expire_link(id).await {
                tracing::error!(person = %id, error = %error_text(&error), "the end of a setup link could not be written");
            }
        }
    }

    async fn expire_link(&self, id: PersonId) -> Result<(), CommitError> {
        let _lock = self.person_lock(id).await;
        let snapshot = self.store.load(&Load::Person(id))?;
        let context = self.node_context(self.clock.now().wall);
        let Some(record) = snapshot.person.as_ref().and_then(|person| link::expire(person, &context)) else {
            return Ok(()); // somebody used it, took it back, or wrote its end down meanwhile
        };
        let batch = Batch { expects: expect_person(&snapshot), records: vec![record] };
        match self.commit(batch).await {
            Ok(_) => Ok(()),
            // Looked at again in a second.
            Err(CommitError::Conflict(_)) => {
                metrics::book_conflict();
                Ok(())
            }
            Err(error @ CommitError::Fault(_)) => Err(error),
        }
    }
}
