//! Tables of every walk: what is refused and why, what the peer sees of it, and what it does to the counts.

mod acting;
mod administration;
mod claim;
mod code;
mod enrol;
mod fix_session;
mod key_pair;
mod link;
mod login;
mod password;
mod recovery;
mod restore;
mod serve;
mod sign_in;
mod signed_logon;

use std::net::IpAddr;
use std::time::Duration;

use super::login::{Facts, Opened, login};
use super::{CodeFact, Decision, Reason, Ruling, Settle, View};
use crate::ask::{Granted, Padding, Verdict};
use crate::audit::{Actor, AttemptId, Context, Deny, Door, Event, Factor, Outcome, Record};
use crate::id::{FirmCode, PersonId, UserId};
use crate::identity::attempt::Admission;
use crate::identity::change::Change;
use crate::identity::enrolment::{Authenticator, Enrolment, EnrolmentId, Factor as Registered, Seed};
use crate::identity::firm::Firm;
use crate::identity::link::{Handed, LinkHash, LinkState, SetupLink};
use crate::identity::net::Network;
use crate::identity::person::{Grant, KeyCodes, Kind, Password, Person, Phc, Profile, Right, Standing};
use crate::identity::policy::{AuthSystem, Effective, Policy};
use crate::identity::recovery::{CodeHash, RecoveryCodes};
use crate::identity::sealed::Sealed;
use crate::identity::token::Tokens;
use crate::identity::totp::Parameters;
use crate::time::Wall;
use crate::trace::{Check, Step, Trace};

const NOW: Wall = Wall::from_s(1_800_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

/// What must never be in a record; the password itself never comes near a decision.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";
const USERID: &str = "julian@example.com";

fn phc() -> Phc {
    Phc(HASH.to_owned())
}

fn own_password() -> Password {
    Password::Own { phc: phc(), set_us: NOW - HOUR }
}

fn initial_password(expires_us: Wall) -> Password {
    Password::Initial { phc: phc(), set_us: NOW - HOUR, expires_us, by: None }
}

fn seed() -> Seed {
    let sealed = Sealed { key: "k1".into(), blob: "c2VhbGVk".into() };
    Seed { sealed, version: 1, parameters: Parameters::default() }
}

fn registered() -> Registered {
    let (since, used_at) = (NOW - HOUR, NOW - HOUR);
    let last_step = Parameters::default().step_at(used_at);
    Registered { seed: seed(), since, last_step, drift: 0, wrong: 0, used_at }
}

fn active() -> Authenticator {
    Authenticator::Active(registered())
}

fn pending() -> Authenticator {
    Authenticator::Pending { seed: seed(), issued_us: NOW - HOUR, wrong: 0, enrolment: None }
}

fn locked() -> Authenticator {
    Authenticator::Locked { factor: registered(), since_us: NOW - HOUR }
}

fn firm() -> Firm {
    let (code, name) = (FirmCode::parse("FINT").unwrap(), "Fundamental Traders".to_owned());
    let policy = Policy::default();
    Firm { code, name, added_at: NOW - HOUR, closed: false, policy, key_hours_until: None, version: 3 }
}

fn person(kind: Kind) -> Person {
    Person {
        id: PersonId::from_random(84),
        userid: UserId::parse(USERID).unwrap(),
        firm: (kind != Kind::Desk).then(|| firm().code),
        kind,
        added_at: NOW - HOUR,
        standing: Standing::Active,
        auth_system: AuthSystem::Password,
        password: own_password(),
        authenticator: Authenticator::None,
        seeds: 0,
        key_codes: KeyCodes::default(),
        link: None,
        links_made: Vec::new(),
        recovery: None,
        notices: std::collections::BTreeSet::new(),
        tokens: Tokens::default(),
        profile: Profile::default(),
        version: 7,
    }
}

fn administrator() -> Actor {
    Actor::Person { id: PersonId::from_random(2), userid: UserId::parse("desk").unwrap() }
}

/// A login that goes well, for a test to spoil.
struct Situation {
    person: Option<Person>,
    firm: Firm,
    policy: Effective,
    clock_good: bool,
    halted: bool,
    source: Option<IpAddr>,
    facts: Facts<'static>,
}

fn trader() -> Situation {
    Situation {
        person: Some(person(Kind::Trader)),
        firm: firm(),
        policy: Effective::default(),
        clock_good: true,
        halted: false,
        source: Some(IpAddr::from([192, 0, 2, 7])),
        facts: Facts {
            userid: USERID,
            admission: Admission::Go,
            opened: Opened::Good,
            padding: Some(Padding::Pkcs1),
            password_matches: true,
            code: CodeFact::NotGiven,
            register_url: Some("https://portal.example/register"),
        },
    }
}

/// A trader with a registered authenticator, and a good code.
fn with_code() -> Situation {
    let mut s = trader();
    s.who().auth_system = AuthSystem::Otp;
    s.who().authenticator = active();
    s.facts.code = CodeFact::Given { offset: Some(0) };
    s
}

fn service(sources: &[&str]) -> Situation {
    let mut s = trader();
    let sources = sources.iter().map(|text| Network::parse(text).unwrap()).collect();
    s.person = Some(person(Kind::Service));
    s.who().profile.grant = Some(Grant { sources, ..Grant::default() });
    s
}

impl Situation {
    fn who(&mut self) -> &mut Person {
        self.person.as_mut().unwrap()
    }

    fn view(&self) -> View<'_> {
        let person = self.person.as_ref();
        let firm = person.and_then(|person| person.firm.as_ref()).map(|_| &self.firm);
        View { person, firm, policy: self.policy, clock_good: self.clock_good, halted: self.halted }
    }

    fn context(&self) -> Context {
        Context { at: NOW, door: Door::WebSocket, source: self.source, attempt: AttemptId(0xabcd) }
    }

    /// Applies a record to the person.
    fn then(&mut self, record: &Record) {
        sound(record);
        record.changes.iter().for_each(|change| self.who().apply(change));
    }

    fn looks_at_code(&self) -> bool {
        super::login::looks_at_code(&self.view(), self.person.as_ref().unwrap(), &self.context())
    }

    fn login(&self) -> Decision {
        let decision = login(&self.view(), &self.facts, &self.context());
        sound(&decision.record);
        decision
    }
}

const TOKEN: LinkHash = LinkHash([7; 32]);

fn reason() -> Reason {
    Reason::parse("lost the device").unwrap()
}

fn link_in(state: LinkState) -> SetupLink {
    let (made_at, expires_at) = (NOW - HOUR, NOW + HOUR);
    SetupLink { hash: TOKEN, made_at, expires_at, handed: Handed::Mailed, by: None, wrong: 0, state }
}

fn enrolment(id: u64, link: Option<LinkHash>) -> Enrolment {
    Enrolment { id: EnrolmentId::from_random(id), link }
}

/// Begun in a browser a minute ago.
fn enrolling(id: u64, link: Option<LinkHash>) -> Authenticator {
    let issued_us = NOW - Duration::from_secs(60);
    Authenticator::Pending { seed: seed(), issued_us, wrong: 0, enrolment: Some(enrolment(id, link)) }
}

fn codes(left: usize) -> RecoveryCodes {
    let unused = (0..left).map(|n| CodeHash { key: "k1".into(), mac: format!("{n:064x}") }).collect();
    RecoveryCodes { made_at: NOW - HOUR, unused }
}

/// Somebody who is to register with a link.
fn newcomer() -> Situation {
    let mut s = trader();
    s.who().auth_system = AuthSystem::Otp;
    s.who().link = Some(link_in(LinkState::Live));
    s.facts.padding = Some(Padding::OaepSha256);
    s
}

/// Every state of an authenticator, every state of a link, every standing, the switch thrown and not.
fn every_state() -> impl Iterator<Item = Situation> {
    let factor = registered();
    let authenticators = [
        Authenticator::None,
        pending(),
        enrolling(1, None),
        enrolling(1, Some(TOKEN)),
        active(),
        Authenticator::BackedOff { factor: factor.clone(), until_us: NOW + HOUR },
        Authenticator::BackedOff { factor, until_us: NOW },
        locked(),
        Authenticator::Revoked { at_us: NOW - HOUR },
    ];
    let at_us = NOW - HOUR;
    let links = [
        None,
        Some(link_in(LinkState::Live)),
        Some(SetupLink { expires_at: NOW, ..link_in(LinkState::Live) }),
        Some(SetupLink { hash: LinkHash([8; 32]), ..link_in(LinkState::Live) }),
        Some(link_in(LinkState::Used { at_us })),
        Some(link_in(LinkState::Revoked { at_us })),
        Some(link_in(LinkState::Expired { at_us })),
    ];
    let kinds = [Kind::Trader, Kind::Desk, Kind::Service];
    let rest = [Standing::Active, Standing::Disabled]
        .into_iter()
        .flat_map(|standing| [false, true].map(|halted| (standing, halted)))
        .flat_map(move |(standing, halted)| kinds.map(|kind| (standing, halted, kind)));
    rest.flat_map(move |(standing, halted, kind)| {
        let links = links.clone();
        authenticators.clone().into_iter().flat_map(move |authenticator| {
            links.clone().into_iter().map(move |link| {
                let mut s = newcomer();
                s.halted = halted;
                let authenticator = authenticator.clone();
                s.person = Some(Person { authenticator, link, standing, ..person(kind) });
                s.who().auth_system = AuthSystem::Otp;
                s
            })
        })
    })
}

/// Let in with a good code, just now.
fn granted_by_code(must_change: bool) -> Granted {
    Granted { factor_at: Some(NOW), ..granted(must_change) }
}

fn granted(must_change: bool) -> Granted {
    let (person, userid) = (person(Kind::Trader).id, UserId::parse(USERID).unwrap());
    Granted { person, userid, must_change, serves: false, factor_at: None }
}

/// What holds of every record: it reads back as it was, its entry has no secret, its trace tells the whole walk.
fn sound(record: &Record) {
    let text = serde_json::to_string(record).unwrap();
    assert_eq!(&serde_json::from_str::<Record>(&text).unwrap(), record, "{text}");
    let entry = serde_json::to_string(&record.entry).unwrap();
    for secret in [HASH, "argon2", "c2VhbGVk", "123456"] {
        assert!(!entry.contains(secret), "{secret} in {entry}");
    }
    assert_eq!(record.entry.outcome == Outcome::Refused, record.entry.reason.is_some() && !asks(record));
    if let Some(trace) = &record.entry.trace {
        assert_eq!(trace.steps().count(), trace.walk.checks().len());
        assert!(trace.not_needed.iter().all(|check| trace.walk.checks().contains(check)));
        assert_eq!(trace.failed.is_some(), record.entry.outcome != Outcome::Allowed, "{trace:?}");
    }
}

/// What holds of every ruling: its record is sound, and refused if the ruling is, for its reason.
fn ruled(ruling: Ruling) -> (Option<Deny>, Record) {
    sound(&ruling.record);
    assert_eq!(ruling.result.err(), ruling.record.entry.reason);
    (ruling.result.err(), ruling.record)
}

fn asks(record: &Record) -> bool {
    record.entry.outcome == Outcome::Asked
}

/// The trace ends at a check: what was before it passed or was not needed, nothing after it was reached.
fn ends_at(trace: Option<&Trace>, check: Check) {
    let trace = trace.expect("a trace");
    let mut before = true;
    for (at, step) in trace.steps() {
        match step {
            Step::Failed(failure) => {
                assert_eq!(at, check);
                assert!(!failure.expected.is_empty() && !failure.seen.is_empty(), "{failure:?}");
                before = false;
            }
            Step::NotReached => assert!(!before, "{at} was not reached before {check}"),
            Step::Passed | Step::NotNeeded => assert!(before, "{at} after the end"),
        }
    }
    assert!(!before, "{check} did not end {trace:?}");
}
