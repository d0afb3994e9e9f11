//! What administrators do, whoever speaks for them: the local socket now, the console later.

use std::net::{IpAddr, Ipv4Addr};

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use doorward_core::ask::{Encrypted, Enveloped, GivenPassword};
use doorward_core::audit::{Actor, Context, Door, Entry, Event, Factor, Record};
use doorward_core::id::{FirmCode, PersonId, UserId};
use doorward_core::identity::decide::key_pair::KeyRefusal;
use doorward_core::identity::decide::login::Opened;
use doorward_core::identity::decide::{Misuse, authenticator, firm, password_set, person};
use doorward_core::identity::enrolment::Seed;
use doorward_core::identity::firm::Firm;
use doorward_core::identity::password::{self, Rule};
use doorward_core::identity::person::{Kind, Password, Person, Profile, Standing};
use doorward_core::identity::policy::{AuthSystem, Effective, Policy};
use doorward_core::identity::totp::Parameters;
use doorward_core::secret::Secret;

use super::facts::{NotOpened, OpenedPassword, drafted, seed_place};
use super::fix::EndOf;
use super::{Gate, effective, expect_person, new_attempt, random_u64};
pub use crate::book::{AuditFilter, PeopleFilter};
use crate::book::{Batch, CommitError, Expect, Load, Snapshot};
use crate::fault::Fault;
use crate::hashing::SourceKey;
use crate::vault::Label;

/// Where hashing for administrators queues: as one source of its own.
const ADMIN_SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Letters of generated passwords: no two look alike.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Why an administrator's request was not carried out.
#[derive(Debug)]
pub enum Refused {
    /// The request is wrong.
    Misuse(Misuse),
    /// A password breaks a rule.
    Rule(Rule),
    /// Somebody may not have what was asked for; this is written down.
    Denied(KeyRefusal),
    /// The challenge key is not held any more.
    ChallengeNeeded,
    /// Something failed.
    Fault(Fault),
}

impl From<Misuse> for Refused {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<CommitError> for Refused {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Fault(fault) => Self::Fault(fault),
            CommitError::Conflict(what) => Self::Misuse(Misuse::conflict(
                "",
                format!("{what}: exists already, or was changed meanwhile"),
            )),
        }
    }
}

/// A password for somebody else.
#[derive(Debug)]
pub enum NewPassword {
    /// Made here and shown once.
    Generated,
    /// Encrypted by whoever asks, with the label of the API.
    Encrypted(Encrypted),
    /// Typed into a page, which encrypted it.
    Enveloped(Enveloped),
    /// In clear: only from within this process (the demo).
    Clear(Secret<String>),
}

/// Somebody to be added.
#[derive(Debug)]
pub struct NewPerson {
    /// The name to log in with.
    pub userid: UserId,
    /// What they are.
    pub kind: Kind,
    /// Their firm.
    pub firm: Option<FirmCode>,
    /// How they prove themselves; `None`: a one-time password for people, a password for programs.
    pub auth_system: Option<AuthSystem>,
    /// Their first password.
    pub password: NewPassword,
    /// Whether it must be changed. Only a service user's may stay.
    pub initial: bool,
    /// The rest.
    pub profile: Profile,
}

/// Somebody who can be added.
pub(super) struct Prepared {
    pub(super) id: PersonId,
    pub(super) expects: Vec<Expect>,
    pub(super) record: Record,
    pub(super) generated: Option<Secret<String>>,
}

/// Somebody who is locked, as they are.
pub(super) struct Held<'a> {
    _lock: tokio::sync::MutexGuard<'a, ()>,
    pub(super) person: Person,
    pub(super) snapshot: Snapshot,
}

/// A seed just made: shown once (T11).
#[derive(Debug)]
pub struct IssuedSeed {
    /// Base32 without padding.
    pub base32: Secret<String>,
    /// The `otpauth` URI.
    pub uri: Secret<String>,
}

/// How a node is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStatus {
    /// Number of the last acknowledged record.
    pub head_no: u64,
    /// Its hash, in hexadecimal.
    pub head_hash: String,
    /// The last record that the book shows.
    pub mark: u64,
    /// How many acknowledged records are not yet in the book.
    pub waiting: u64,
    /// How many segments the journal has.
    pub segments: u64,
    /// Why nothing can be committed at present.
    pub failing: Option<String>,
    /// How many connections have somebody logged in.
    pub sessions: usize,
    /// Who keeps the keys.
    pub vault_provider: &'static str,
    /// Whether they lie in hardware.
    pub hsm: bool,
    /// Size of the challenge keys in bits.
    pub challenge_bits: u32,
    /// Whether one-time passwords are checked.
    pub clock_good: bool,
}

impl Gate {
    /// How the node is doing.
    pub fn describe(&self) -> Result<NodeStatus, Fault> {
        let status = self.store.status()?;
        let vault = self.vault.describe();
        Ok(NodeStatus {
            head_no: status.head.no,
            head_hash: HEXLOWER.encode(&status.head.hash),
            mark: status.mark,
            waiting: status.waiting,
            segments: status.segments,
            failing: status.failing.map(|fault| fault.to_string()),
            sessions: self.sessions(),
            vault_provider: vault.provider,
            hsm: vault.hsm,
            challenge_bits: vault.challenge_bits,
            clock_good: self.clock_good(),
        })
    }

    /// The circumstances of a request on the local socket.
    pub fn local_context(&self) -> Context {
        Context { at: self.clock.now().wall, door: Door::Local, source: None, attempt: new_attempt() }
    }

    /// Writes down that a process of another user spoke to the local socket (N1).
    pub async fn refuse_local(&self, uid: u32) {
        let context = self.local_context();
        let entry = Entry::new(&context, Event::AdministrationRefused, Actor::Local { uid });
        let entry = entry.refused(doorward_core::audit::Deny::SourceNotPermitted);
        let record = Record { entry, changes: Vec::new() };
        if let Err(error) = self.commit(Batch { expects: Vec::new(), records: vec![record] }).await {
            tracing::error!(error = %super::error_text(&error), "a refusal could not be written");
        }
    }

    /// Adds a firm.
    pub async fn add_firm(&self, code: FirmCode, name: &str, actor: Actor) -> Result<Firm, Refused> {
        let record = firm::add(code.clone(), name, actor, &self.local_context())?;
        self.commit_as_local(vec![Expect::NoFirm(code.clone())], record).await?;
        self.firm(&code)
    }

    /// One firm.
    pub fn firm(&self, code: &FirmCode) -> Result<Firm, Refused> {
        let found = self.store.load(&Load::Firm(code.clone()))?.firm;
        found.ok_or_else(|| Misuse::not_found(format!("firm {code} is not known")).into())
    }

    /// All firms, by code.
    pub fn firms(&self) -> Result<Vec<Firm>, Fault> {
        self.store.firms()
    }

    /// Closes a firm and ends its people's connections, or opens it again.
    pub async fn set_firm_closed(
        &self,
        code: &FirmCode,
        closed: bool,
        actor: Actor,
    ) -> Result<Firm, Refused> {
        let present = self.firm(code)?;
        let record = firm::set_closed(&present, closed, actor, &self.local_context());
        self.commit_as_local(vec![Expect::Firm(code.clone(), present.version)], record).await?;
        self.carry_out_closing(code, closed);
        self.firm(code)
    }

    /// Brings what is in memory up to the closing or opening of a firm, and ends what is open of a closed one.
    pub(super) fn carry_out_closing(&self, code: &FirmCode, closed: bool) {
        self.sessions.write().set_closed(code, closed);
        if closed {
            for person in self.live.end_firm(code) {
                self.fix.end(EndOf::Person(person));
            }
            self.fix.end(EndOf::Firm(code.clone()));
        } else {
            self.live.firm_opened(code);
        }
    }

    /// Opens the making and showing of key pairs for one firm for an hour.
    pub async fn open_key_hours(&self, code: &FirmCode, reason: &str, actor: Actor) -> Result<Firm, Refused> {
        let present = self.firm(code)?;
        let record = firm::open_key_hours(&present, reason, actor, &self.local_context())?;
        self.commit_as_local(vec![Expect::Firm(code.clone(), present.version)], record).await?;
        self.firm(code)
    }

    /// The venue's policy, and what is in force under it.
    pub fn venue_policy(&self) -> Result<(Policy, Effective), Fault> {
        let venue = self.store.load(&Load::Venue)?.venue;
        let in_force = Effective::of(&venue, None);
        Ok((venue, in_force))
    }

    /// A firm's policy, and what is in force under it.
    pub fn firm_policy(&self, code: &FirmCode) -> Result<(Policy, Effective), Refused> {
        let snapshot = self.store.load(&Load::Firm(code.clone()))?;
        let in_force = effective(&snapshot);
        let firm = snapshot.firm.ok_or_else(|| Misuse::not_found(format!("firm {code} is not known")))?;
        Ok((firm.policy, in_force))
    }

    /// Sets the venue's policy.
    pub async fn set_venue_policy(
        &self,
        given: &Policy,
        actor: Actor,
    ) -> Result<(Policy, Effective), Refused> {
        let present = self.store.load(&Load::Venue)?.venue;
        let record = firm::set_venue_policy(&present, given, actor, &self.local_context())?;
        self.commit_as_local(vec![Expect::Venue(present.version)], record).await?;
        Ok(self.venue_policy()?)
    }

    /// Sets a firm's policy.
    pub async fn set_firm_policy(
        &self,
        code: &FirmCode,
        given: &Policy,
        actor: Actor,
    ) -> Result<(Policy, Effective), Refused> {
        let venue = self.store.load(&Load::Venue)?.venue;
        let present = self.firm(code)?;
        let record = firm::set_firm_policy(&venue, &present, given, actor, &self.local_context())?;
        let expects = vec![Expect::Firm(code.clone(), present.version), Expect::Venue(venue.version)];
        self.commit_as_local(expects, record).await?;
        self.firm_policy(code)
    }

    /// Adds somebody; the generated password, where one was asked for.
    pub async fn add_person(
        &self,
        new: NewPerson,
        actor: Actor,
    ) -> Result<(Person, Option<Secret<String>>), Refused> {
        let snapshot = match &new.firm {
            Some(code) => self.store.load(&Load::Firm(code.clone()))?,
            None => self.store.load(&Load::Venue)?,
        };
        if let Some(code) = new.firm.as_ref().filter(|_| snapshot.firm.is_none()) {
            return Err(Misuse::not_found(format!("firm {code} is not known")).into());
        }
        let in_process = matches!(new.password, NewPassword::Clear(_));
        if !new.initial && new.kind != Kind::Service && !in_process {
            let text =
                "initial: false is for service users only; people change the password at the first login";
            return Err(Misuse::invalid("initial", text).into());
        }
        let Prepared { id, expects, record, generated } =
            self.prepare_person(new, &snapshot, actor, &self.local_context()).await?;
        self.commit_as_local(expects, record).await?;
        Ok((self.person_by_id(id)?, generated))
    }

    /// The record that adds somebody, and what it expects.
    pub(super) async fn prepare_person(
        &self,
        new: NewPerson,
        snapshot: &Snapshot,
        actor: Actor,
        context: &Context,
    ) -> Result<Prepared, Refused> {
        let policy = effective(snapshot);
        let auth_system = new.auth_system.unwrap_or(match new.kind {
            Kind::Service => AuthSystem::Password,
            Kind::Desk | Kind::Administrator | Kind::Trader => AuthSystem::Otp,
        });
        let id = PersonId::from_random(random_u64());
        let mut add = person::New {
            id,
            userid: new.userid.clone(),
            kind: new.kind,
            firm: new.firm,
            auth_system,
            password: Password::Own {
                phc: doorward_core::identity::person::Phc(String::new()),
                set_us: context.at,
            },
            profile: new.profile,
        };
        // Decided once without the password, so that a wrong request costs no hash and shows its own fault first.
        let draft = person::add(add.clone(), &policy, actor.clone(), context)?;
        let draft = drafted(&draft);
        let (phc, generated) = self.hash_for(&new.password, &draft, snapshot).await?;
        add.password = if new.initial {
            password_set::initial(phc, &policy, actor.person(), context)
        } else {
            Password::Own { phc, set_us: context.at }
        };
        let record = person::add(add, &policy, actor, context)?;
        let mut expects = vec![Expect::NoUserId(new.userid)];
        expects.extend(snapshot.firm.iter().map(|firm| Expect::Firm(firm.code.clone(), firm.version)));
        Ok(Prepared { id, expects, record, generated })
    }

    /// One person.
    pub fn person(&self, userid: &UserId) -> Result<Person, Refused> {
        let found = self.store.load(&Load::UserId(userid.clone()))?.person;
        found.ok_or_else(|| Misuse::not_found(format!("user {userid} is not known")).into())
    }

    fn person_by_id(&self, id: PersonId) -> Result<Person, Refused> {
        let found = self.store.load(&Load::Person(id))?.person;
        found.ok_or_else(|| Misuse::not_found(format!("{id} is not known")).into())
    }

    /// People by user id, after a given one.
    pub fn people(
        &self,
        filter: &PeopleFilter,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<Person>, Fault> {
        Ok(self.store.people(filter, after, limit)?.into_iter().map(|listed| listed.person).collect())
    }

    /// What is counted of a person's attempts now.
    pub fn access(&self, id: PersonId) -> doorward_core::identity::attempt::Access {
        self.attempts.of(id)
    }

    /// Audit entries, newest first, before a given number.
    pub fn audit(
        &self,
        filter: &AuditFilter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Entry)>, Fault> {
        self.store.audit(filter, before, limit)
    }

    /// Locks somebody, so that nothing else is decided about them on this node meanwhile, and loads them.
    pub(super) async fn hold(&self, userid: &UserId) -> Result<Held<'_>, Refused> {
        let id = self.person(userid)?.id;
        let lock = self.person_lock(id).await;
        let snapshot = self.store.load(&Load::Person(id))?;
        let person = snapshot.person.clone();
        let person = person.ok_or_else(|| Misuse::not_found(format!("user {userid} is not known")))?;
        Ok(Held { _lock: lock, person, snapshot })
    }

    /// Changes somebody; disabling, and a weaker authentication system, end their connections.
    pub async fn edit_person(
        &self,
        userid: &UserId,
        edit: person::Edit,
        actor: &Actor,
    ) -> Result<Person, Refused> {
        self.edit_person_with(userid, |_| Ok(edit), actor).await
    }

    /// Changes somebody in a way that depends on how they are; nobody else changes them meanwhile.
    pub async fn edit_person_with(
        &self,
        userid: &UserId,
        edit: impl FnOnce(&Person) -> Result<person::Edit, Misuse> + Send,
        actor: &Actor,
    ) -> Result<Person, Refused> {
        let Held { _lock, person: present, snapshot } = self.hold(userid).await?;
        let edit = edit(&present)?;
        let records = person::edit(&present, edit, &effective(&snapshot), actor, &self.local_context())?;
        if !records.is_empty() {
            self.commit_records(expect_person(&snapshot), records).await?;
        }
        let after = self.person_by_id(present.id)?;
        if after.standing == Standing::Disabled || after.auth_system < present.auth_system {
            self.end_person(present.id);
        }
        Ok(after)
    }

    /// Ends every connection of a person, at all doors.
    pub(super) fn end_person(&self, person: PersonId) {
        self.live.end_person(person);
        self.fix.end(EndOf::Person(person));
    }

    /// Sets somebody's password to an initial one; their connections end. The generated one, where asked for.
    pub async fn set_password(
        &self,
        userid: &UserId,
        new: &NewPassword,
        actor: Actor,
    ) -> Result<Option<Secret<String>>, Refused> {
        let person = self.person(userid)?;
        let snapshot = self.store.load(&Load::Person(person.id))?;
        let (phc, generated) = self.hash_for(new, &person, &snapshot).await?;
        let _lock = self.person_lock(person.id).await;
        let snapshot = self.store.load(&Load::Person(person.id))?;
        let record =
            password_set::password_set(&person, phc, &effective(&snapshot), actor, &self.local_context());
        self.commit_as_local(expect_person(&snapshot), record).await?;
        self.end_person(person.id);
        Ok(generated)
    }

    /// Makes a new seed for somebody, pending until its first good code; shown once (T11).
    pub async fn issue_authenticator(&self, userid: &UserId, actor: Actor) -> Result<IssuedSeed, Refused> {
        let Held { _lock, person, snapshot } = self.hold(userid).await?;
        let policy = effective(&snapshot);
        let parameters = Parameters {
            algorithm: policy.totp_algorithm,
            digits: policy.totp_digits,
            ..Parameters::default()
        };
        let version = person.seeds + 1;
        let place = seed_place(&person, version);
        let (sealed, clear) = self.vault.new_seed(&place, parameters.algorithm.seed_len())?;
        let seed = Seed { sealed, version, parameters };
        let record = authenticator::issue(&person, seed, actor, &self.local_context())?;
        self.commit_as_local(expect_person(&snapshot), record).await?;
        let base32 = BASE32_NOPAD.encode(clear.expose());
        let uri = parameters.uri(&self.settings.issuer, userid.as_str(), &base32);
        Ok(IssuedSeed { base32: Secret::new(base32), uri: Secret::new(uri) })
    }

    /// Takes somebody's authenticator away; their connections end (T15).
    pub async fn revoke_authenticator(&self, userid: &UserId, actor: Actor) -> Result<Person, Refused> {
        let Held { _lock, person, snapshot } = self.hold(userid).await?;
        let record = authenticator::revoke(&person, actor, &self.local_context())?;
        self.commit_as_local(expect_person(&snapshot), record).await?;
        self.end_person(person.id);
        self.person_by_id(person.id)
    }

    /// Unlocks somebody: the authenticator and all counts of wrong passwords.
    pub async fn unlock(&self, userid: &UserId, actor: Actor) -> Result<Person, Refused> {
        let Held { _lock, person, snapshot } = self.hold(userid).await?;
        let record = authenticator::unlock(&person, actor, &self.local_context());
        self.commit_as_local(expect_person(&snapshot), record).await?;
        self.attempts.forget(person.id);
        self.person_by_id(person.id)
    }

    /// Opens and checks a password for somebody, or makes one; its hash.
    pub(super) async fn hash_for(
        &self,
        new: &NewPassword,
        person: &Person,
        snapshot: &Snapshot,
    ) -> Result<(doorward_core::identity::person::Phc, Option<Secret<String>>), Refused> {
        let (normal, generated) = match new {
            NewPassword::Generated => {
                let mut made = self.generate()?;
                // By chance it may hold a piece of a name; then another one is made.
                for _ in 0..8 {
                    if self.check_new(&password::normalise(made.expose()), person, snapshot).is_ok() {
                        break;
                    }
                    made = self.generate()?;
                }
                (password::normalise(made.expose()), Some(made))
            }
            NewPassword::Clear(clear) => (password::normalise(clear.expose()), None),
            NewPassword::Encrypted(encrypted) => {
                let text = "password: the ciphertext does not open; encrypt with OAEP-SHA256 and the label api, \
                            and send each ciphertext once";
                (good(self.open(encrypted, Label::Api), text)?, None)
            }
            NewPassword::Enveloped(enveloped) => {
                let given = GivenPassword::Enveloped(enveloped.clone());
                let text = "password: it could not be read; load the page anew and type it again";
                (good(self.open_given(&given, Label::Portal), text)?, None)
            }
        };
        self.check_new(&normal, person, snapshot).map_err(Refused::Rule)?;
        let phc = self.hash(&normal, SourceKey::from(ADMIN_SOURCE)).await?;
        Ok((phc, generated))
    }

    /// Twenty letters of 32, in groups: 100 bits.
    pub(crate) fn generate(&self) -> Result<Secret<String>, Fault> {
        let mut bytes = [0u8; 20];
        self.vault.random(&mut bytes)?;
        let letters = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte & 31)]));
        let mut text = String::with_capacity(23);
        for (at, letter) in letters.enumerate() {
            if at > 0 && at % 5 == 0 {
                text.push('-');
            }
            text.push(letter);
        }
        Ok(Secret::new(text))
    }

    pub(super) async fn commit_as_local(&self, expects: Vec<Expect>, record: Record) -> Result<(), Refused> {
        self.commit_records(expects, vec![record]).await
    }

    pub(super) async fn commit_records(
        &self,
        expects: Vec<Expect>,
        mut records: Vec<Record>,
    ) -> Result<(), Refused> {
        for record in &mut records {
            record.entry.factor = Factor::LocalUser;
        }
        self.commit(Batch { expects, records }).await?;
        Ok(())
    }
}

/// A password that opened; what to say where it did not.
fn good(opened: Result<OpenedPassword, NotOpened>, text: &str) -> Result<Secret<String>, Refused> {
    match opened {
        Ok(opened) if opened.opened == Opened::Good => Ok(opened.normal),
        Ok(_) => Err(Misuse::invalid("password", text).into()),
        Err(NotOpened::ChallengeNeeded) => Err(Refused::ChallengeNeeded),
        Err(NotOpened::Fault(fault)) => Err(fault.into()),
    }
}
