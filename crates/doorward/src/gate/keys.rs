//! Key pairs of FIX sessions: made, shown and deleted for an administrator of the firm. Making and showing take a fresh
//! one-time password each time, under the same rules as at every door (H4, T6).

use doorward_core::audit::{Actor, Record};
use doorward_core::id::{AccessKeyId, SessionId, UserId};
use doorward_core::identity::decide::Misuse;
use doorward_core::identity::decide::key_pair::{self, KeyDecision, KeyView, NewPair, ShownPair};
use doorward_core::identity::fix_session::FixSession;
use doorward_core::identity::key_pair::{KeyPair, access_key_id, secret_place};
use doorward_core::identity::person::Person;
use doorward_core::limits::Limit;
use doorward_core::secret::Secret;
use doorward_core::time::Wall;

use super::admin::Refused;
use super::fix::EndOf;
use super::session_admin::SessionNow;
use super::{Gate, expect_person};
use crate::book::{Expect, Load, Snapshot};
use crate::fault::Fault;
use crate::metrics;

/// Who asks for something about a key pair.
#[derive(Debug)]
pub struct Asker {
    /// In whose name.
    pub userid: UserId,
    /// Their one-time password.
    pub code: Option<Secret<String>>,
    /// The process that asks.
    pub actor: Actor,
}

/// A key pair with its secret, to be shown to whoever may see it.
#[derive(Debug)]
pub struct OpenPair {
    /// The session.
    pub session: FixSession,
    /// The pair.
    pub pair: KeyPair,
    /// The Secret Key: base64url without padding, as clients decode it.
    pub secret_key: Secret<String>,
}

/// What a decision is made from, all of it locked.
struct Asked {
    person: Person,
    who: Snapshot,
    session: FixSession,
}

impl Gate {
    /// The key pairs of a FIX session, newest first; never a secret.
    pub fn key_pairs(&self, id: SessionId) -> Result<(FixSession, Vec<ShownPair>), Refused> {
        let SessionNow { session, usage, .. } = self.fix_session(id)?;
        let shown = key_pair::shown(&session, &usage, self.clock.now().wall);
        Ok((session, shown))
    }

    /// When key pairs are made and shown again; `None` where they are now.
    pub fn key_hours_begin(&self) -> Option<Wall> {
        self.settings.calendar.customer_center_opens(self.clock.now().wall)
    }

    /// Makes a key pair. Where two are good, `delete` names the one that goes at once, with its connections.
    pub async fn create_key(
        &self,
        session: SessionId,
        delete: Option<AccessKeyId>,
        asker: &Asker,
    ) -> Result<OpenPair, Refused> {
        let mut bytes = [0; 16];
        self.vault.random(&mut bytes)?;
        let random = u128::from_be_bytes(bytes);
        let mut made = None;
        let (session, pair) = self
            .decide_key(session, asker, |view, code, context| {
                let id = access_key_id(view.session.environment, random);
                let (sealed, secret) = self.vault.new_mac_key(&secret_place(&id, &view.session.firm))?;
                made = Some(secret);
                Ok(key_pair::create(view, NewPair { id, sealed }, delete, code, context)?)
            })
            .await?;
        if let Some(deleted) = delete {
            self.fix.end(EndOf::Key(deleted));
        }
        let secret = made.ok_or_else(|| Fault::Vault("a key pair without a secret".to_owned()))?;
        Ok(OpenPair { session, pair, secret_key: shown(&secret) })
    }

    /// Shows a secret key again.
    pub async fn download_key(
        &self,
        session: SessionId,
        id: AccessKeyId,
        asker: &Asker,
    ) -> Result<OpenPair, Refused> {
        let mut opened = None;
        let (session, pair) = self
            .decide_key(session, asker, |view, code, context| {
                // Opened before the one-time password is used up: a vault that fails takes none.
                if let Some(sealed) = view.session.pair(&id).and_then(KeyPair::sealed) {
                    opened = Some(self.vault.open(&secret_place(&id, &view.session.firm), sealed)?);
                }
                Ok(key_pair::download(view, &id, code, context)?)
            })
            .await?;
        let secret = opened.ok_or_else(|| Misuse::not_found(format!("{id}: its secret key is gone")))?;
        Ok(OpenPair { session, pair, secret_key: shown(&secret) })
    }

    /// Deletes a key pair: it is out of every cache before this returns, and its connections end (H7).
    pub async fn delete_key(
        &self,
        session: SessionId,
        id: AccessKeyId,
        reason: &str,
        asker: &Asker,
    ) -> Result<FixSession, Refused> {
        let delete = |view: &KeyView<'_>, _, context: &_| Ok(key_pair::delete(view, &id, reason, context)?);
        let (session, ()) = self.decide_key(session, asker, delete).await?;
        self.fix.end(EndOf::Key(id));
        Ok(session)
    }

    /// Decides with person and session locked, and again with fresh snapshots where somebody else was faster.
    async fn decide_key<T>(
        &self,
        id: SessionId,
        asker: &Asker,
        mut decide: impl FnMut(
            &KeyView<'_>,
            doorward_core::identity::decide::CodeFact,
            &doorward_core::audit::Context,
        ) -> Result<KeyDecision<T>, Refused>,
    ) -> Result<(FixSession, T), Refused> {
        let held = self.hold(&asker.userid).await?;
        let _edit = self.session_edits.lock().await;
        for _ in 0..Limit::ConflictRetries.max() {
            let who = self.store.load(&Load::Person(held.person.id))?;
            let person = who.person.clone().ok_or_else(|| unknown(&asker.userid))?;
            let asked = Asked { person, who, session: self.fix_session(id)?.session };
            let context = self.local_context();
            let code = self.code_fact(&asked.person, asker.code.as_ref(), context.at)?;
            let view = KeyView {
                who: self.view(&asked.who),
                person: &asked.person,
                session: &asked.session,
                calendar: &self.settings.calendar,
            };
            let KeyDecision { result, mut records } = decide(&view, code, &context)?;
            records.iter_mut().for_each(|record| name_process(record, &asker.actor));
            match self.commit_session(id, expects(&asked), records).await {
                Ok(()) => {}
                Err(Refused::Misuse(misuse))
                    if misuse.kind == doorward_core::identity::decide::MisuseKind::Conflict =>
                {
                    metrics::book_conflict();
                    continue;
                }
                Err(refused) => return Err(refused),
            }
            let done = result.map_err(Refused::Denied)?;
            return Ok((self.fix_session(id)?.session, done));
        }
        Err(Fault::Book("too many conflicts".to_owned()).into())
    }
}

/// The versions that a decision about a key pair rests on.
fn expects(asked: &Asked) -> Vec<Expect> {
    let Asked { who, session, .. } = asked;
    let mut expects = expect_person(who);
    expects.push(Expect::FixSession(session.id, session.version));
    expects.extend(who.firm.iter().map(|firm| Expect::Firm(firm.code.clone(), firm.version)));
    expects
}

/// Says in a record of somebody's own decision which process spoke for them (N1).
fn name_process(record: &mut Record, actor: &Actor) {
    let Actor::Local { uid } = actor else { return };
    let before = record.entry.detail.take().map(|detail| format!("{detail}; ")).unwrap_or_default();
    record.entry.detail = Some(format!("{before}by a process of user {uid}"));
}

fn shown(secret: &Secret<Vec<u8>>) -> Secret<String> {
    Secret::new(data_encoding::BASE64URL_NOPAD.encode(secret.expose()))
}

fn unknown(userid: &UserId) -> Misuse {
    Misuse::not_found(format!("user {userid} is not known"))
}
