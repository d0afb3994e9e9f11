//! What programs and administrators ask for others at a door, and logins with the tokens that programs had made.

use std::net::IpAddr;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE64URL_NOPAD;
use doorward_core::ask::{Acting, OnceShown, Verdict, VerifyLogin};
use doorward_core::audit::Record;
use doorward_core::id::{PersonId, UserId};
use doorward_core::identity::attempt::Admission;
use doorward_core::identity::change::{Change, Target};
use doorward_core::identity::decide::acting::{Agent, see};
use doorward_core::identity::decide::login::{self, Opened};
use doorward_core::identity::decide::verify::{Facts, NewToken, looks_at_code, may_verify, verify};
use doorward_core::identity::decide::{CodeFact, Decision, token};
use doorward_core::identity::net::source_group;
use doorward_core::identity::person::Phc;
use doorward_core::identity::policy::Effective;
use doorward_core::identity::token::{TOKEN_BYTES, TokenHash};
use doorward_core::limits::Limit;
use doorward_core::secret::Secret;
use doorward_core::time::Mono;

use super::attempts::{Settled, Ticket, Who};
use super::facts::{NotOpened, OpenedPassword};
use super::login::{batch_of, with_changes};
use super::refusals::is_bare;
use super::{Gate, Origin, effective, expect_person};
use crate::book::{Batch, CommitError, Load, Snapshot};
use crate::fault::Fault;
use crate::hashing::{HashOutcome, SourceKey};
use crate::metrics;
use crate::vault::Label;

/// The hash under which a token is kept: SHA-256 of the token as it was shown.
pub(super) fn token_hash(token: &str) -> TokenHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    TokenHash(hash)
}

/// A customer's login on its way to a decision.
struct Attempt<'a> {
    asked: &'a VerifyLogin,
    password: OpenedPassword,
    token: Option<NewToken>,
    /// By which wrong passwords are counted.
    source: IpAddr,
    /// Until when it is decided, or not at all.
    until: Mono,
    origin: &'a Origin,
}

impl Attempt<'_> {
    fn facts(&self, admission: Admission, password_matches: bool, code: CodeFact) -> Facts<'_> {
        let login = login::Facts {
            userid: &self.asked.userid,
            admission,
            opened: self.password.opened,
            padding: self.asked.password.padding(),
            password_matches,
            code,
            register_url: None,
        };
        Facts { login, source: self.asked.source, token: self.token.clone() }
    }
}

/// Whoever asks, as they were just loaded.
pub(super) fn agent(asker: &Snapshot, acting: Acting) -> Result<Agent<'_>, Fault> {
    let person = asker.person.as_ref();
    let person = person.ok_or_else(|| Fault::Book(format!("{} has gone", acting.person)))?;
    Ok(Agent { person, firm: asker.firm.as_ref(), factor_at: acting.factor_at })
}

/// A verified login; where it makes a token, only if whoever asked is as they were loaded, too.
pub(super) fn batch_by(snapshot: &Snapshot, asker: &Snapshot, record: Record) -> Batch {
    let makes_token = record.changes.iter().any(|change| matches!(change, Change::Tokens { .. }));
    let mut batch = batch_of(snapshot, record);
    batch.expects.extend(makes_token.then(|| expect_person(asker)).into_iter().flatten());
    batch
}

/// Who is changed by a batch, whichever way.
pub(super) fn changed_people(batch: &Batch) -> Vec<PersonId> {
    let changes = batch.records.iter().flat_map(|record| &record.changes);
    changes
        .filter_map(|change| if let Target::Person(id) = change.target() { Some(id) } else { None })
        .collect()
}

impl Gate {
    /// Has a customer's login verified for a program (rule 9).
    pub(super) async fn verify_login(&self, asked: &VerifyLogin, origin: &Origin) -> Verdict {
        let began = Instant::now();
        match self.verify_asked(asked, origin).await {
            Ok(verdict) => self.on_a_beat(verdict, began).await,
            Err(fault) => self.fault(&fault, origin),
        }
    }

    async fn verify_asked(&self, asked: &VerifyLogin, origin: &Origin) -> Result<Verdict, Fault> {
        let until = self.decided_until();
        let asker = self.store.load(&Load::Person(asked.asker.person))?;
        let may = may_verify(&agent(&asker, asked.asker)?, asked.wants_token, &self.context(origin));
        if let Err(refused) = may {
            let source = source_group(origin.source);
            return self.finish_counted(refused.verdict, vec![refused.record], source, origin).await;
        }
        let token = if asked.wants_token { Some(self.new_token()?) } else { None };
        let password = match self.open_given(&asked.password, Label::WebSocket) {
            Ok(opened) => opened,
            Err(NotOpened::ChallengeNeeded) => return Ok(Verdict::ChallengeNeeded),
            Err(NotOpened::Fault(fault)) => return Err(fault),
        };
        let fresh = password.opened != Opened::Replayed;
        let source = source_group(asked.source.unwrap_or(origin.source));
        let attempt = Attempt { asked, password, token, source, until, origin };
        let decided = self.attempt_verify(&attempt, &asker).await;
        let undecided = match &decided {
            Ok(verdict) => matches!(verdict, Verdict::Busy { .. } | Verdict::TryAgainLater { .. }),
            Err(_) => true,
        };
        // Nothing was decided: the program may send the very same message again.
        if fresh && undecided {
            self.forget_given(&asked.password);
        }
        decided
    }

    async fn attempt_verify(&self, attempt: &Attempt<'_>, asker: &Snapshot) -> Result<Verdict, Fault> {
        let known = UserId::parse(&attempt.asked.userid);
        let snapshot = match &known {
            Ok(userid) => self.store.load(&Load::UserId(userid.clone()))?,
            Err(_) => self.store.load(&Load::Venue)?,
        };
        let agent = agent(asker, attempt.asked.asker)?;
        // Whom the program does not serve is nobody to it: nobody's password is compared, nothing of theirs is counted.
        let served = snapshot.person.as_ref().filter(|person| agent.serves(person));
        let (who, policy) = match (served, known) {
            (Some(person), _) => (Who::Person(person.id), effective(&snapshot)),
            (None, Ok(userid)) => {
                (Who::Nobody(userid.as_str().to_owned()), Effective::of(&snapshot.venue, None))
            }
            (None, Err(_)) => (Who::Nobody(String::new()), Effective::of(&snapshot.venue, None)),
        };
        let now = || self.clock.now().wall;
        let ticket = match self.attempts.admit(who, attempt.source, &policy, now).await {
            Ok(ticket) => ticket,
            Err(Admission::Wait) => return Err(Fault::Busy("attempts of the same source")),
            Err(refused) => {
                self.hashes.pretend(SourceKey::from(attempt.origin.source)).await?;
                self.in_time(attempt.until)?;
                let facts = attempt.facts(refused, false, CodeFact::NotGiven);
                let decision = verify(&agent, &self.view(&snapshot), &facts, &self.context(attempt.origin));
                let (verdict, records) = (decision.verdict, vec![decision.record]);
                return self.finish_counted(verdict, records, attempt.source, attempt.origin).await;
            }
        };
        let against = served.map(|person| person.password.phc().clone());
        let hash_source = attempt.origin.source;
        let compared = self.verify(&attempt.password.normal, hash_source, against.as_ref()).await?;
        let mut settled = None;
        let decided = match (served.map(|person| person.id), against) {
            (Some(id), Some(phc)) => {
                self.verify_known(attempt, id, (phc, compared), ticket, &mut settled).await
            }
            (Some(_) | None, _) => {
                let _lock = self.nobody_lock(&attempt.asked.userid).await;
                // With the same steps as on somebody (S1): what the first says is known already.
                let like = snapshot.person.as_ref().map(|person| person.id).or(snapshot.instead);
                let _ = self.store.load(&like.map_or(Load::Venue, Load::Person))?;
                let asker = self.store.load(&Load::Person(attempt.asked.asker.person))?;
                let agent = self::agent(&asker, attempt.asked.asker)?;
                let facts = attempt.facts(Admission::Go, false, CodeFact::NotGiven);
                let decision = verify(&agent, &self.view(&snapshot), &facts, &self.context(attempt.origin));
                settled = Some(ticket.settle(decision.settle, &policy, self.clock.now().wall));
                let (verdict, records) = (decision.verdict, vec![decision.record]);
                match self.in_time(attempt.until) {
                    Ok(()) => self.finish_counted(verdict, records, attempt.source, attempt.origin).await,
                    Err(late) => Err(late),
                }
            }
        };
        // Wherever it failed: what came to no decision is not counted.
        if let (Err(_), Some(settled)) = (&decided, settled) {
            settled.undo();
        }
        decided
    }

    /// Decides with the customer locked, and again with a fresh snapshot where somebody was faster.
    async fn verify_known<'t>(
        &self,
        attempt: &Attempt<'_>,
        id: PersonId,
        (mut against, mut compared): (Phc, HashOutcome),
        ticket: Ticket<'t>,
        settled: &mut Option<Settled<'t>>,
    ) -> Result<Verdict, Fault> {
        let mut ticket = Some(ticket);
        let mut lock = self.person_lock(id).await;
        for _ in 0..Limit::ConflictRetries.max() {
            let snapshot = self.store.load(&Load::Person(id))?;
            let Some(person) = &snapshot.person else { return Err(Fault::Book(format!("{id} has gone"))) };
            if against != *person.password.phc() {
                // The password was set meanwhile: compare with that one, without holding others up.
                drop(lock);
                against = person.password.phc().clone();
                let (normal, source) = (&attempt.password.normal, attempt.origin.source);
                compared = self.verify(normal, source, Some(&against)).await?;
                lock = self.person_lock(id).await;
                continue;
            }
            let asker = self.store.load(&Load::Person(attempt.asked.asker.person))?;
            let (view, context) = (self.view(&snapshot), self.context(attempt.origin));
            let code = if compared.matches && looks_at_code(&view, person, &context) {
                self.code_fact(person, attempt.asked.code.as_ref(), context.at)?
            } else {
                CodeFact::NotGiven
            };
            let facts = attempt.facts(Admission::Go, compared.matches, code);
            let decision = verify(&agent(&asker, attempt.asked.asker)?, &view, &facts, &context);
            if let Some(ticket) = ticket.take() {
                *settled = Some(ticket.settle(decision.settle, &effective(&snapshot), self.clock.now().wall));
            }
            let record = with_changes(decision.record, settled.as_ref().and_then(Settled::change));
            self.in_time(attempt.until)?;
            match self.commit(batch_by(&snapshot, &asker, record)).await {
                Ok(_) => {
                    drop(lock);
                    if compared.needs_rehash
                        && self.hashes.waiting() == 0
                        && matches!(&decision.verdict, Verdict::Verified(told) if told.active)
                    {
                        let (normal, by) = (&attempt.password.normal, asker.person.as_ref());
                        self.renew_hash(normal, person, by, attempt.origin).await;
                    }
                    return Ok(decision.verdict);
                }
                Err(CommitError::Conflict(_)) => metrics::book_conflict(),
                Err(CommitError::Fault(fault)) => return Err(fault),
            }
        }
        drop(lock);
        Err(Fault::Book("too many conflicts".to_owned()))
    }

    fn new_token(&self) -> Result<NewToken, Fault> {
        let mut bytes = [0u8; TOKEN_BYTES];
        self.vault.random(&mut bytes)?;
        let text = BASE64URL_NOPAD.encode(&bytes);
        let hash = token_hash(&text);
        Ok(NewToken { hash, shown: OnceShown::new(Secret::new(text)), valid: self.settings.token_valid })
    }

    /// Decides a login with a token.
    pub(super) async fn login_by_token(
        &self,
        userid: &str,
        given: &Secret<String>,
        origin: &Origin,
    ) -> Verdict {
        let began = Instant::now();
        match self.decide_token(userid, token_hash(given.expose()), origin).await {
            Ok(verdict) => self.on_a_beat(verdict, began).await,
            Err(fault) => self.fault(&fault, origin),
        }
    }

    async fn decide_token(&self, userid: &str, hash: TokenHash, origin: &Origin) -> Result<Verdict, Fault> {
        let known = UserId::parse(userid);
        let snapshot = match &known {
            Ok(userid) => self.store.load(&Load::UserId(userid.clone()))?,
            Err(_) => self.store.load(&Load::Venue)?,
        };
        let who = match (&snapshot.person, known) {
            (Some(person), _) => Who::Person(person.id),
            (None, Ok(userid)) => Who::Nobody(userid.as_str().to_owned()),
            (None, Err(_)) => Who::Nobody(String::new()),
        };
        let (source, policy) = (source_group(origin.source), effective(&snapshot));
        let now = || self.clock.now().wall;
        let (ticket, admission) = match self.attempts.admit(who, source, &policy, now).await {
            Ok(ticket) => (Some(ticket), Admission::Go),
            Err(Admission::Wait) => return Err(Fault::Busy("attempts of the same source")),
            Err(refused) => (None, refused),
        };
        let lock = match &snapshot.person {
            Some(person) => self.person_lock(person.id).await,
            None => self.nobody_lock(userid).await,
        };
        // As they are now: what ended the token meanwhile has ended it. On a user id that nobody has with the same steps,
        // so that it is not told from the outside (S1).
        let snapshot = match (&snapshot.person, snapshot.instead) {
            (Some(person), _) => self.store.load(&Load::Person(person.id))?,
            (None, instead) => {
                let _ = self.store.load(&instead.map_or(Load::Venue, Load::Person))?;
                snapshot
            }
        };
        let facts = token::Facts { userid, admission, hash };
        let Decision { verdict, settle, record } =
            token::login(&self.view(&snapshot), &facts, &self.context(origin));
        let settled = ticket.map(|ticket| ticket.settle(settle, &policy, self.clock.now().wall));
        let record = with_changes(record, settled.as_ref().and_then(Settled::change));
        let committed = self.finish_counted(verdict, vec![record], source, origin).await;
        if let (Err(_), Some(settled)) = (&committed, settled) {
            settled.undo();
        }
        let verdict = committed?;
        if let (Verdict::Granted(_), Some(person)) = (&verdict, &snapshot.person) {
            let token = person.tokens.iter().find(|token| token.hash == hash);
            self.enter_live(person, origin, true, token);
        }
        drop(lock);
        Ok(verdict)
    }

    /// Ends connections that were opened with tokens which somebody has no more; `changed`: who may have fewer.
    pub(super) fn end_by_token(&self, changed: &[PersonId]) {
        for id in changed.iter().filter(|id| self.live.has_token(**id)) {
            // Where it cannot be known which are left, none is.
            let person = self.store.load(&Load::Person(*id)).ok().and_then(|snapshot| snapshot.person);
            let tokens = person.map(|person| person.tokens).unwrap_or_default();
            let is_left = |hash: TokenHash| tokens.iter().any(|token| token.hash == hash);
            self.live.end_some(*id, |_, seat| seat.token.is_some_and(|(hash, _)| !is_left(hash)));
        }
    }

    /// Tells a program whose a token is, or ends it.
    pub(super) async fn token(
        &self,
        acting: Acting,
        given: &Secret<String>,
        userid: Option<&str>,
        revoke: bool,
        origin: &Origin,
    ) -> Verdict {
        match self.token_asked(acting, token_hash(given.expose()), userid, revoke, origin).await {
            Ok(verdict) => verdict,
            Err(fault) => self.fault(&fault, origin),
        }
    }

    async fn token_asked(
        &self,
        acting: Acting,
        hash: TokenHash,
        userid: Option<&str>,
        revoke: bool,
        origin: &Origin,
    ) -> Result<Verdict, Fault> {
        // A login with the token is decided before or after, not beside: what is ended lets nobody in any more.
        let holder = if revoke { self.store.load(&Load::Token(hash))?.person } else { None };
        let _lock = match holder {
            Some(person) => Some(self.person_lock(person.id).await),
            None => None,
        };
        for _ in 0..Limit::ConflictRetries.max() {
            let asker = self.store.load(&Load::Person(acting.person))?;
            let agent = agent(&asker, acting)?;
            let snapshot = self.store.load(&Load::Token(hash))?;
            let (view, context) = (self.view(&snapshot), self.context(origin));
            let decide = if revoke { token::revoke } else { token::check };
            let (verdict, record) = decide(&agent, &view, &hash, userid, &context);
            let Some(record) = record else { return Ok(verdict) };
            if is_bare(&record) {
                let source = source_group(origin.source);
                return self.finish_counted(verdict, vec![record], source, origin).await;
            }
            match self.commit(batch_of(&snapshot, record)).await {
                Ok(_) => return Ok(verdict),
                Err(CommitError::Conflict(_)) => metrics::book_conflict(),
                Err(CommitError::Fault(fault)) => return Err(fault),
            }
        }
        Err(Fault::Book("too many conflicts".to_owned()))
    }

    /// Tells somebody what is known of a person.
    pub(super) async fn see_person(&self, acting: Acting, userid: Option<&str>, origin: &Origin) -> Verdict {
        let seen = async {
            let asker = self.store.load(&Load::Person(acting.person))?;
            let snapshot = match userid.map(UserId::parse) {
                None => asker.clone(),
                Some(Ok(userid)) => self.store.load(&Load::UserId(userid))?,
                Some(Err(_)) => self.store.load(&Load::Venue)?,
            };
            let agent = agent(&asker, acting)?;
            let (verdict, record) = see(&agent, &self.view(&snapshot), userid, &self.context(origin));
            match record {
                None => Ok(verdict),
                Some(record) => {
                    let source = source_group(origin.source);
                    self.finish_counted(verdict, vec![record], source, origin).await
                }
            }
        };
        match seen.await {
            Ok(verdict) => verdict,
            Err(fault) => self.fault(&fault, origin),
        }
    }
}
