//! Logins and their second steps.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use doorward_core::ask::{GivenPassword, Padding, Verdict};
use doorward_core::audit::{Actor, Context, Deny, Door, Entry, Event, Factor, Record, Subject};
use doorward_core::id::{PersonId, UserId};
use doorward_core::identity::attempt::Admission;
use doorward_core::identity::change::Change;
use doorward_core::identity::decide::login::{Facts, Opened};
use doorward_core::identity::decide::{CodeFact, Decision, Settle, View, code, login, sign_in};
use doorward_core::identity::link::LinkHash;
use doorward_core::identity::net::source_group;
use doorward_core::identity::person::{Person, Phc};
use doorward_core::identity::token::Token;
use doorward_core::limits::Limit;
use doorward_core::secret::Secret;
use doorward_core::time::Mono;
use doorward_core::ws::login::ASK_MAX;

use super::attempts::{Settled, Ticket, Who};
use super::facts::{NotOpened, OpenedPassword};
use super::live::Seat;
use super::{Gate, Origin, effective, error_text, expect_person, verdict_of};
use crate::book::{Batch, CommitError, Load, Snapshot};
use crate::fault::Fault;
use crate::hashing::{HashOutcome, SourceKey};
use crate::metrics;
use crate::vault::Label;

/// After so long nothing is decided any more: the door tells, or is about to tell, that nothing was. What is left of its
/// patience is for the disk.
const DECIDE_MAX: Duration = ASK_MAX.saturating_sub(Duration::from_secs(3));

/// A login on its way to a decision.
struct Attempt<'a> {
    userid: &'a str,
    password: OpenedPassword,
    padding: Option<Padding>,
    code: Option<Secret<String>>,
    /// The setup link that came along, at a page.
    link: Option<LinkHash>,
    /// Until when it is decided, or not at all.
    until: Mono,
    origin: &'a Origin,
}

impl Attempt<'_> {
    /// Whether the attempt is on somebody: with a link, they must be named beside it.
    fn names(&self, person: &Person) -> bool {
        self.link.is_none() || UserId::parse(self.userid).is_ok_and(|userid| userid == person.userid)
    }
}

/// What came of comparing a password.
struct Compared {
    /// Against which hash; `None` where there was none.
    against: Option<Phc>,
    matches: bool,
    needs_rehash: bool,
}

impl Gate {
    /// Decides a login (rules 1-8 of the WebSocket page).
    pub(super) async fn login(
        &self,
        userid: &str,
        password: &GivenPassword,
        code: Option<Secret<String>>,
        origin: &Origin,
    ) -> Verdict {
        self.login_with(userid, password, code, None, origin).await
    }

    /// The same for somebody who may come with a setup link.
    pub(super) async fn login_with(
        &self,
        userid: &str,
        password: &GivenPassword,
        code: Option<Secret<String>>,
        link: Option<LinkHash>,
        origin: &Origin,
    ) -> Verdict {
        let began = Instant::now();
        let (padding, until) = (password.padding(), self.decided_until());
        let given = password;
        let password = match self.open_given(given, Label::WebSocket) {
            Ok(opened) => opened,
            Err(NotOpened::ChallengeNeeded) => return Verdict::ChallengeNeeded,
            Err(NotOpened::Fault(fault)) => return self.fault(&fault, origin),
        };
        let fresh = password.opened != Opened::Replayed;
        let attempt = Attempt { userid, password, padding, code, link, until, origin };
        let verdict = match self.attempt_login(attempt).await {
            Ok(verdict) => verdict,
            Err(fault) => self.fault(&fault, origin),
        };
        // Nothing was decided: the peer may send the very same message again.
        if fresh && matches!(verdict, Verdict::Busy { .. } | Verdict::TryAgainLater { .. }) {
            self.forget_given(given);
        }
        self.on_a_beat(verdict, began).await
    }

    /// Until when what is asked now is decided, or not at all.
    pub(super) fn decided_until(&self) -> Mono {
        self.clock.now().mono + DECIDE_MAX
    }

    /// Whether a decision may still be written down.
    pub(super) fn in_time(&self, until: Mono) -> Result<(), Fault> {
        let late = self.clock.now().mono >= until;
        if late { Err(Fault::Busy("a decision that took too long")) } else { Ok(()) }
    }

    /// Logs a fault and says what the peer hears of it.
    pub(super) fn fault(&self, fault: &Fault, origin: &Origin) -> Verdict {
        match fault {
            Fault::Busy(what) => tracing::info!(attempt = %origin.attempt, what, "busy"),
            Fault::Disk(_) | Fault::Damaged(_) | Fault::Book(_) | Fault::Vault(_) | Fault::Stopping => {
                tracing::error!(attempt = %origin.attempt, %fault, "a decision could not be made");
            }
        }
        verdict_of(fault)
    }

    async fn attempt_login(&self, attempt: Attempt<'_>) -> Result<Verdict, Fault> {
        let known = UserId::parse(attempt.userid);
        let snapshot = match (attempt.link, &known) {
            (Some(link), _) => self.store.load(&Load::Link(link))?,
            (None, Ok(userid)) => self.store.load(&Load::UserId(userid.clone()))?,
            (None, Err(_)) => self.store.load(&Load::Venue)?,
        };
        let who = match (&snapshot.person, known) {
            (Some(person), _) => Who::Person(person.id),
            (None, Ok(userid)) if attempt.link.is_none() => Who::Nobody(userid.as_str().to_owned()),
            (None, Ok(_) | Err(_)) => Who::Nobody(String::new()),
        };
        let source = source_group(attempt.origin.source);
        let policy = effective(&snapshot);
        let now = || self.clock.now().wall;
        let ticket = match self.attempts.admit(who, source, &policy, now).await {
            Ok(ticket) => ticket,
            Err(Admission::Wait) => return Err(Fault::Busy("attempts of the same source")),
            Err(refused) => return self.refuse_unhashed(&attempt, &snapshot, refused).await,
        };
        let compared = self.compare(&attempt.password.normal, source, snapshot.person.as_ref()).await?;
        match snapshot.person {
            None => self.decide_unknown(&attempt, snapshot, ticket).await,
            Some(person) => self.decide_known(&attempt, person.id, compared, ticket).await,
        }
    }

    /// An attempt that back-off or the person's limit refuses: no hash is computed, the answer takes as long (S1).
    async fn refuse_unhashed(
        &self,
        attempt: &Attempt<'_>,
        snapshot: &Snapshot,
        admission: Admission,
    ) -> Result<Verdict, Fault> {
        self.hashes.pretend(SourceKey::from(attempt.origin.source)).await?;
        self.in_time(attempt.until)?;
        let decision = self.decide(attempt, snapshot, admission, false, CodeFact::NotGiven);
        let source = source_group(attempt.origin.source);
        self.finish_counted(decision.verdict, vec![decision.record], source, attempt.origin).await
    }

    /// Decides on a user id that nobody has, with the same steps as on one that somebody has (S1).
    async fn decide_unknown(
        &self,
        attempt: &Attempt<'_>,
        snapshot: Snapshot,
        ticket: Ticket<'_>,
    ) -> Result<Verdict, Fault> {
        let _lock = self.nobody_lock(attempt.userid).await;
        // What it says is known already; that it is not asked is not to be told from the outside.
        let _ = self.store.load(&snapshot.instead.map_or(Load::Venue, Load::Person))?;
        let decision = self.decide(attempt, &snapshot, Admission::Go, false, CodeFact::NotGiven);
        let settled = ticket.settle(decision.settle, &effective(&snapshot), self.clock.now().wall);
        let source = source_group(attempt.origin.source);
        let finished = match self.in_time(attempt.until) {
            Ok(()) => {
                let records = vec![decision.record];
                self.finish_counted(decision.verdict, records, source, attempt.origin).await
            }
            Err(late) => Err(late),
        };
        if finished.is_err() {
            settled.undo();
        }
        finished
    }

    /// Decides on somebody; an attempt that comes to no decision is not counted, wherever it fails.
    async fn decide_known(
        &self,
        attempt: &Attempt<'_>,
        id: PersonId,
        compared: Compared,
        ticket: Ticket<'_>,
    ) -> Result<Verdict, Fault> {
        let mut settled = None;
        let decided = self.decide_locked(attempt, id, compared, ticket, &mut settled).await;
        if let (Err(_), Some(settled)) = (&decided, settled) {
            settled.undo();
        }
        decided
    }

    /// Decides with the person locked, and again with a fresh snapshot where another node was faster.
    async fn decide_locked<'t>(
        &self,
        attempt: &Attempt<'_>,
        id: PersonId,
        mut compared: Compared,
        ticket: Ticket<'t>,
        settled: &mut Option<Settled<'t>>,
    ) -> Result<Verdict, Fault> {
        let source = source_group(attempt.origin.source);
        let mut ticket = Some(ticket);
        let mut lock = self.person_lock(id).await;
        for _ in 0..Limit::ConflictRetries.max() {
            let snapshot = self.store.load(&Load::Person(id))?;
            let Some(person) = &snapshot.person else { return Err(Fault::Book(format!("{id} has gone"))) };
            if compared.against.as_ref() != Some(person.password.phc()) {
                // The password was set meanwhile: compare with that one, without holding others up.
                drop(lock);
                compared = self.compare(&attempt.password.normal, source, Some(person)).await?;
                lock = self.person_lock(id).await;
                continue;
            }
            let matches = compared.matches && attempt.names(person);
            let code = self.code_to_judge(attempt, &snapshot, person, matches)?;
            let decision = self.decide(attempt, &snapshot, Admission::Go, matches, code);
            if let Some(ticket) = ticket.take() {
                *settled = Some(ticket.settle(decision.settle, &effective(&snapshot), self.clock.now().wall));
            }
            let counted = settled.as_ref().and_then(Settled::change);
            let batch = batch_of(&snapshot, with_changes(decision.record, counted));
            self.in_time(attempt.until)?;
            match self.commit(batch).await {
                Ok(_) => {
                    let verdict = self.granted(decision.verdict, person, attempt.origin);
                    drop(lock);
                    if compared.needs_rehash && may_be_renewed(&verdict) && self.hashes.waiting() == 0 {
                        self.renew_hash(&attempt.password.normal, person, None, attempt.origin).await;
                    }
                    return Ok(verdict);
                }
                Err(CommitError::Conflict(_)) => metrics::book_conflict(),
                Err(CommitError::Fault(fault)) => return Err(fault),
            }
        }
        Err(Fault::Book("too many conflicts".to_owned()))
    }

    /// The one-time password as the vault finds it, where it matters at all.
    fn code_to_judge(
        &self,
        attempt: &Attempt<'_>,
        snapshot: &Snapshot,
        person: &Person,
        password_matches: bool,
    ) -> Result<CodeFact, Fault> {
        let context = self.context(attempt.origin);
        if password_matches && login::looks_at_code(&self.view(snapshot), person, &context) {
            self.code_fact(person, attempt.code.as_ref(), context.at)
        } else {
            Ok(CodeFact::NotGiven)
        }
    }

    /// Hashes a password anew with the present parameters (P9), for somebody who was just found to be its owner. A
    /// login does not fail because of it: the next one tries again, also where other passwords wait to be compared.
    /// `program`: which one had it verified.
    pub(super) async fn renew_hash(
        &self,
        normal: &Secret<String>,
        owner: &Person,
        program: Option<&Person>,
        origin: &Origin,
    ) {
        let id = owner.id;
        let renewed = async {
            let phc = self.hash(normal, SourceKey::from(origin.source)).await?;
            let snapshot = self.store.load(&Load::Person(id))?;
            let Some(person) = snapshot.person.as_ref().filter(|now| now.password == owner.password) else {
                return Ok(()); // another one was set meanwhile
            };
            let by = program.unwrap_or(person);
            let actor = Actor::Person { id: by.id, userid: by.userid.clone() };
            let subject = program.map(|_| Subject { id, userid: person.userid.clone() });
            let entry = Entry::new(&self.context(origin), Event::PasswordRehashed, actor);
            let entry = Entry { subject, firm: person.firm.clone(), factor: Factor::Password, ..entry };
            let password = person.password.rehashed(phc);
            let record = Record { entry, changes: vec![Change::Password { person: id, password }] };
            self.commit(batch_of(&snapshot, record)).await.map(|_| ())
        };
        if let Err(error) = renewed.await {
            tracing::warn!(attempt = %origin.attempt, error = %error_text(&error), "a hash could not be renewed");
        }
    }

    fn decide(
        &self,
        attempt: &Attempt<'_>,
        snapshot: &Snapshot,
        admission: Admission,
        password_matches: bool,
        code: CodeFact,
    ) -> Decision {
        let facts = Facts {
            userid: attempt.userid,
            admission,
            opened: attempt.password.opened,
            padding: attempt.padding,
            password_matches,
            code,
            register_url: self.settings.register_url.as_deref(),
        };
        let (view, context) = (self.view(snapshot), self.context(attempt.origin));
        let decision = match attempt.origin.door {
            Door::Portal | Door::Console => sign_in::sign_in(&view, &facts, attempt.link.as_ref(), &context),
            Door::WebSocket | Door::Fix | Door::Local | Door::Node => login::login(&view, &facts, &context),
        };
        let entry = &decision.record.entry;
        let reason = entry.reason.map_or("none", |reason| reason.id());
        metrics::login(attempt.origin.door.id(), entry.outcome.id(), reason);
        decision
    }

    /// Compares a password with a person's, or with nobody's at the same cost (S1).
    async fn compare(
        &self,
        normal: &Secret<String>,
        source: IpAddr,
        person: Option<&Person>,
    ) -> Result<Compared, Fault> {
        let against = person.map(|person| person.password.phc().clone());
        let outcome = self.verify(normal, source, against.as_ref()).await?;
        Ok(Compared { against, matches: outcome.matches, needs_rehash: outcome.needs_rehash })
    }

    /// Verifies a normalised password against a stored hash in the pool.
    pub(super) async fn verify(
        &self,
        normal: &Secret<String>,
        source: IpAddr,
        against: Option<&Phc>,
    ) -> Result<HashOutcome, Fault> {
        let fits = doorward_core::identity::password::fits(normal.expose());
        let stored = match against.filter(|_| fits) {
            Some(phc) => Some(
                crate::hashing::Phc::parse(&phc.0)
                    .map_err(|error| Fault::Damaged(format!("a stored password: {error}")))?,
            ),
            None => None,
        };
        let password = Secret::new(normal.expose().as_bytes().to_vec());
        self.hashes.verify(SourceKey::from(source), password, stored).await
    }

    /// Decides the second step of a login (rule 5).
    pub(super) async fn code(&self, id: PersonId, given: &Secret<String>, origin: &Origin) -> Verdict {
        match self.decide_code(id, given, code::code, origin).await {
            Ok((verdict, _)) => verdict,
            Err(fault) => self.fault(&fault, origin),
        }
    }

    /// The verdict on a one-time password, and why it was no: for its owner, who gave the right password before (T17).
    /// `decide` says for what it was given.
    pub(super) async fn decide_code(
        &self,
        id: PersonId,
        given: &Secret<String>,
        decide: fn(&View<'_>, &Person, Option<i8>, &Context) -> Decision,
        origin: &Origin,
    ) -> Result<(Verdict, Option<Deny>), Fault> {
        self.decide_step(id, origin, |view, person, context| {
            let offset = match self.code_fact(person, Some(given), context.at)? {
                CodeFact::Given { offset } => offset,
                CodeFact::NotGiven => None,
            };
            Ok(decide(view, person, offset, context))
        })
        .await
    }

    /// Decides a second step with the person locked, and again with a fresh snapshot where another node was faster.
    pub(super) async fn decide_step(
        &self,
        id: PersonId,
        origin: &Origin,
        decide: impl Fn(&View<'_>, &Person, &Context) -> Result<Decision, Fault>,
    ) -> Result<(Verdict, Option<Deny>), Fault> {
        let _lock = self.person_lock(id).await;
        for _ in 0..Limit::ConflictRetries.max() {
            let snapshot = self.store.load(&Load::Person(id))?;
            let Some(person) = &snapshot.person else { return Err(Fault::Book(format!("{id} has gone"))) };
            let decision = decide(&self.view(&snapshot), person, &self.context(origin))?;
            debug_assert_eq!(decision.settle, Settle::Neutral);
            let reason = decision.record.entry.reason;
            match self.commit(batch_of(&snapshot, decision.record)).await {
                Ok(_) => return Ok((self.granted(decision.verdict, person, origin), reason)),
                Err(CommitError::Conflict(_)) => metrics::book_conflict(),
                Err(CommitError::Fault(fault)) => return Err(fault),
            }
        }
        Err(Fault::Book("too many conflicts".to_owned()))
    }

    /// Enters whoever was let in, or has only a second step left, among the live ones, while the person is still
    /// locked: what an administrator does from now on ends the connection.
    pub(super) fn granted(&self, verdict: Verdict, person: &Person, origin: &Origin) -> Verdict {
        let logged_in = matches!(verdict, Verdict::Granted(_));
        let underway = matches!(
            verdict,
            Verdict::CodeNeeded(_) | Verdict::CodeRefused(_) | Verdict::RegistrationNeeded { .. }
        );
        if logged_in || underway {
            self.enter_live(person, origin, logged_in, None);
        }
        verdict
    }

    /// Makes somebody's connection known, whom an administrator may end from now on; `token`: what opened it, if one did.
    pub(super) fn enter_live(
        &self,
        person: &Person,
        origin: &Origin,
        logged_in: bool,
        token: Option<&Token>,
    ) {
        let token = token.map(|token| (token.hash, token.expires_at));
        let seat = Seat { door: origin.door, source: origin.source, since: self.clock.now().wall, token };
        self.live.enter(person.id, person.firm.clone(), &origin.connection, logged_in, seat);
    }

    pub(super) fn view<'a>(&self, snapshot: &'a Snapshot) -> View<'a> {
        View {
            person: snapshot.person.as_ref(),
            firm: snapshot.firm.as_ref(),
            policy: effective(snapshot),
            clock_good: self.clock_good(),
            halted: snapshot.person.as_ref().is_some_and(|person| self.halts.covers_person(person)),
        }
    }

    /// Commits records that change nobody, and gives the verdict.
    pub(super) async fn finish(
        &self,
        verdict: Verdict,
        records: Vec<Record>,
        origin: &Origin,
    ) -> Result<Verdict, Fault> {
        match self.commit(Batch { expects: Vec::new(), records }).await {
            Ok(_) => Ok(verdict),
            Err(CommitError::Fault(fault)) => Err(fault),
            Err(error @ CommitError::Conflict(_)) => {
                tracing::error!(attempt = %origin.attempt, error = %error_text(&error), "a record without changes");
                Err(Fault::Book(error_text(&error)))
            }
        }
    }
}

/// Whether a verdict says that its owner gave the password.
const fn may_be_renewed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Granted(_) | Verdict::CodeNeeded(_) | Verdict::CodeRefused(_))
}

/// A record with the counts of attempts among its changes.
pub(super) fn with_changes(mut record: Record, more: Option<Change>) -> Record {
    record.changes.extend(more);
    record
}

/// One record; where it changes the person, only if they are as they were loaded.
pub(super) fn batch_of(snapshot: &Snapshot, record: Record) -> Batch {
    let changes_person = record.changes.iter().any(|change| !matches!(change, Change::Attempt { .. }));
    let expects = if changes_person { expect_person(snapshot) } else { Vec::new() };
    Batch { expects, records: vec![record] }
}
