//! A signed Logon: checks 5 to 8 of the FIX page. What a peer must not tell apart ends in one refusal (F3).

use std::time::Duration;

use crate::ask::{Judged, LogonRefusal, SessionGrant, SignedLogon};
use crate::audit::{Actor, Context, Deny, Entry, Event, Factor, Record};
use crate::id::{AccessKeyId, CompId, FaultTolerance, OperatorId};
use crate::identity::change::Change;
use crate::identity::fix_session::FixSession;
use crate::identity::key_pair::{KeyPair, KeyState, LastUse};
use crate::identity::person::Standing;
use crate::stream::StreamKey;
use crate::time::Wall;
use crate::trace::{Check, Trace, Walk};

use super::fix_session::struck;

/// How old SendingTime (52) may be at the receipt.
pub const AGE_MAX: Duration = Duration::from_secs(5);
/// How far ahead of the receipt SendingTime (52) may lie.
pub const AHEAD_MAX: Duration = Duration::from_secs(1);
/// The refusal within [`STRIKES_WITHIN`] that locks the session.
pub const STRIKES_MAX: u8 = 5;
/// How long a refusal counts.
pub const STRIKES_WITHIN: Duration = Duration::from_secs(60);
/// Longest part of a canonical message that is written down, in bytes.
const CANONICAL_BYTES_SHOWN: usize = 1_024;

/// What is known when a signed Logon is judged.
#[derive(Clone, Copy, Debug)]
pub struct LogonView<'a> {
    /// The session of the SenderCompID, if there is one.
    pub session: Option<&'a FixSession>,
    /// Whether that session's firm is closed.
    pub firm_closed: bool,
    /// Whether the emergency switch is thrown for the venue, the firm or the session.
    pub halted: bool,
    /// Since when that session is locked.
    pub locked: Option<Wall>,
    /// The key pair of this name and the session that owns it, whichever that is.
    pub key: Option<(&'a FixSession, &'a KeyPair)>,
}

/// What was found out about a signed Logon. All of it is found out for each (F3): with a dummy secret where there is
/// no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogonFacts {
    /// Whether the signature is that of the canonical message.
    pub signature_matches: bool,
    /// Whether the same access key, 52, 34 and signature were seen within the window.
    pub replayed: bool,
    /// Since when this process listens, or has the stream's claim; the later of both.
    pub listening_since: Wall,
    /// Refusals of the last [`STRIKES_WITHIN`] that named a key of the session that owns this one.
    pub strikes: u8,
}

/// A failed check.
struct Failure {
    check: Check,
    deny: Deny,
    expected: &'static str,
    seen: String,
}

fn failure(check: Check, deny: Deny, expected: &'static str, seen: impl Into<String>) -> Failure {
    Failure { check, deny, expected, seen: seen.into() }
}

/// Judges a signed Logon. The record is that of a Logon that is accepted, as far as this goes; what fails later is
/// written into it by the machine ([`Record::refuse_logon`]).
pub fn signed_logon(
    view: &LogonView<'_>,
    logon: &SignedLogon,
    facts: &LogonFacts,
    context: &Context,
) -> Judged {
    let comp = CompId::parse(&logon.sender_comp_id);
    let operator = OperatorId::parse(&logon.operator_id);
    // In the page's order; all are made, whichever fails first.
    let checks = [
        logon.flaw.map(flaw),
        comp_id_known(view, comp),
        indicator_permitted(comp, logon.in_session),
        session_active(view),
        doors_open(view, logon),
        key_known(view, comp),
        key_live(view, context.at),
        session_unlocked(view),
        operator_permitted(view, operator.as_ref()),
        source_permitted(view, context),
        sending_time_fresh(logon),
        signature_matches(logon, facts),
        unseen(facts),
        after_listening(logon, facts),
    ];
    let signed = facts.signature_matches && !facts.replayed && sending_time_fresh(logon).is_none();
    let entry = entry(view, comp, operator.clone(), context);
    let first = checks.into_iter().flatten().next();
    match (first, granted(view, logon, comp, operator)) {
        (None, Some(grant)) => accepted(grant, entry, facts, context),
        (Some(failure), _) => refused(failure, signed, logon, entry, facts),
        // Not reached: a grant is what the checks above have made sure of.
        (None, None) => {
            let failure =
                failure(Check::CompIdKnown, Deny::UnknownCompId, "a permitted SenderCompID", "none");
            refused(failure, signed, logon, entry, facts)
        }
    }
}

/// A Logon that could not be verified: nothing is counted, and the peer may try again.
pub fn unavailable(view: &LogonView<'_>, logon: &SignedLogon, strikes: u8, context: &Context) -> Judged {
    let comp = CompId::parse(&logon.sender_comp_id);
    let entry = entry(view, comp, OperatorId::parse(&logon.operator_id), context).refused(Deny::NotVerified);
    let trace = Trace::of(Walk::SignedLogon);
    let trace = trace.fail(Check::SignatureMatches, "a vault that answers in time", "none");
    let entry = Entry { event: Event::LogonRefused, trace: Some(trace), ..entry };
    let record = Box::new(Record { entry, changes: Vec::new() });
    Judged { verdict: Err(LogonRefusal::TryAgainLater), strikes, record }
}

fn accepted(grant: SessionGrant, entry: Entry, facts: &LogonFacts, context: &Context) -> Judged {
    // The numbers of the stream come behind it.
    let mut changes = Vec::with_capacity(2);
    changes.extend(context.source.map(|source| {
        let used = LastUse { at: context.at, source, sender_comp_id: grant.comp };
        Change::KeyUsed { session: grant.comp.session, access_key: grant.access_key, used }
    }));
    let trace = Some(Trace::of(Walk::SignedLogon));
    let entry = Entry { factor: Factor::Signature, trace, ..entry }.with_detail(grant.stream.to_string());
    let record = Box::new(Record { entry, changes });
    Judged { verdict: Ok(grant), strikes: facts.strikes, record }
}

fn refused(
    failure: Failure,
    signed: bool,
    logon: &SignedLogon,
    mut entry: Entry,
    facts: &LogonFacts,
) -> Judged {
    let Failure { check, deny, expected, seen } = failure;
    if deny == Deny::SignatureDiffers {
        let shown = &logon.canonical[..logon.canonical.len().min(CANONICAL_BYTES_SHOWN)];
        entry = entry.with_detail(format!("canonical message: {}", shown.escape_ascii()));
    }
    entry.event = Event::LogonRefused;
    let mut entry = entry.refused(deny);
    entry.trace = Some(Trace::of(Walk::SignedLogon).fail(check, expected, seen));
    let record = Box::new(Record { entry, changes: Vec::new() });
    let locks = struck(&record).is_some() && facts.strikes + 1 == STRIKES_MAX;
    let closed = deny == Deny::SessionLocked && signed;
    let refusal = if locks || closed { LogonRefusal::PortClosed } else { LogonRefusal::Refused };
    Judged { verdict: Err(refusal), strikes: facts.strikes, record }
}

/// The entry of an accepted Logon. Whoever owns the key is told, or else whoever owns the session.
fn entry(
    view: &LogonView<'_>,
    comp: Option<CompId>,
    operator: Option<OperatorId>,
    context: &Context,
) -> Entry {
    let of = view.key.map(|(owner, _)| owner).or(view.session);
    let Some(session) = of else {
        return Entry::new(context, Event::LogonGranted, Actor::Nobody);
    };
    let access_key = view.key.map(|(_, pair)| pair.id);
    let actor = Actor::FixSession { id: session.id, sender_comp_id: comp, operator, access_key };
    let (firm, id) = (Some(session.firm.clone()), Some(session.id));
    Entry { firm, session: id, ..Entry::new(context, Event::LogonGranted, actor) }
}

fn granted(
    view: &LogonView<'_>,
    logon: &SignedLogon,
    comp: Option<CompId>,
    operator: Option<OperatorId>,
) -> Option<SessionGrant> {
    let (comp, session, access_key) = (comp?, view.session?, AccessKeyId::parse(&logon.access_key_id)?);
    let stream = StreamKey::Session { gateway: logon.gateway, session: comp.session, firm: comp.firm };
    Some(SessionGrant { comp, stream, firm_code: session.firm.clone(), operator: operator?, access_key })
}

/// What the door found wrong, in words that hold nothing of the message.
fn flaw((check, deny): (Check, Deny)) -> Failure {
    failure(check, deny, "a Logon that this listener takes", deny.id())
}

fn comp_id_known(view: &LogonView<'_>, comp: Option<CompId>) -> Option<Failure> {
    let wrong =
        |seen| Some(failure(Check::CompIdKnown, Deny::UnknownCompId, "a permitted SenderCompID", seen));
    let Some(comp) = comp else { return wrong("none of Session ID, Firm ID and indicator") };
    let Some(session) = view.session else { return wrong("one of no FIX session") };
    if session.sender_comp_ids.contains(&comp.stem()) { None } else { wrong("another one") }
}

fn indicator_permitted(comp: Option<CompId>, in_session: Option<CompId>) -> Option<Failure> {
    let fits = match (comp, in_session) {
        (Some(comp), Some(in_force)) => comp == in_force,
        (Some(comp), None) => match comp.indicator {
            FaultTolerance::Without => true,
            FaultTolerance::Undefined | FaultTolerance::Primary | FaultTolerance::Backup => false,
        },
        (None, _) => false,
    };
    let expected = if in_session.is_some() { "the SenderCompID in force" } else { "the indicator N" };
    let wrong = || failure(Check::IndicatorPermitted, Deny::WrongIndicator, expected, "another one");
    (!fits).then(wrong)
}

fn session_active(view: &LogonView<'_>) -> Option<Failure> {
    let disabled = view.session.is_some_and(|session| session.standing == Standing::Disabled);
    if disabled {
        let (check, deny) = (Check::SessionActive, Deny::SessionDisabled);
        return Some(failure(check, deny, "an active FIX session", "a disabled one"));
    }
    let wrong = || failure(Check::FirmActive, Deny::FirmClosed, "an open firm", "a closed one");
    view.firm_closed.then(wrong)
}

/// A Logon in session is no new one.
fn doors_open(view: &LogonView<'_>, logon: &SignedLogon) -> Option<Failure> {
    let wrong = || failure(Check::DoorsOpen, Deny::Halted, "no emergency switch", "one that is thrown");
    (view.halted && logon.in_session.is_none()).then(wrong)
}

fn key_known(view: &LogonView<'_>, comp: Option<CompId>) -> Option<Failure> {
    let wrong = |seen| {
        let expected = "an access key of the session";
        Some(failure(Check::AccessKeyKnown, Deny::UnknownAccessKey, expected, seen))
    };
    match (view.key, comp) {
        (Some((owner, _)), Some(comp)) if owner.id == comp.session => None,
        (Some(_), _) => wrong("one of another session"),
        (None, _) => wrong("an unknown one"),
    }
}

fn key_live(view: &LogonView<'_>, at: Wall) -> Option<Failure> {
    let (_, pair) = view.key?;
    let deny = match pair.state(at) {
        KeyState::Active | KeyState::Expiring { .. } => return None,
        KeyState::Expired { .. } => Deny::AccessKeyExpired,
        KeyState::Deleted { .. } => Deny::AccessKeyDeleted,
    };
    Some(failure(Check::AccessKeyLive, deny, "a key pair that is good", pair.state(at).name()))
}

fn session_unlocked(view: &LogonView<'_>) -> Option<Failure> {
    let since = view.locked?;
    let seen = format!("locked since {since}");
    Some(failure(Check::SessionUnlocked, Deny::SessionLocked, "a session that is not locked", seen))
}

fn operator_permitted(view: &LogonView<'_>, operator: Option<&OperatorId>) -> Option<Failure> {
    let session = view.session?;
    let permitted = operator.is_some_and(|operator| session.operator_ids.contains(operator));
    let (check, deny) = (Check::OperatorPermitted, Deny::OperatorNotPermitted);
    (!permitted).then(|| failure(check, deny, "a listed operator ID", "another one"))
}

fn source_permitted(view: &LogonView<'_>, context: &Context) -> Option<Failure> {
    let session = view.session?;
    let permitted = context.source.is_some_and(|source| session.permits_source(source));
    let (check, deny) = (Check::SourcePermitted, Deny::SourceNotPermitted);
    (!permitted).then(|| failure(check, deny, "a listed source address", "another one"))
}

fn sending_time_fresh(logon: &SignedLogon) -> Option<Failure> {
    const EXPECTED: &str = "at most 5.000 s before the receipt and 1.000 s behind it";
    let wrong = |deny, seen: String| Some(failure(Check::SendingTimeFresh, deny, EXPECTED, seen));
    let Some(sent) = logon.sending_time else {
        return wrong(Deny::SendingTimeAhead, "no UTC time".to_owned());
    };
    let (age, ahead) = (logon.received.since(sent), sent.since(logon.received));
    if age > AGE_MAX {
        wrong(Deny::SendingTimeStale, format!("{:.3} s before it", age.as_secs_f64()))
    } else if ahead > AHEAD_MAX {
        wrong(Deny::SendingTimeAhead, format!("{:.3} s behind it", ahead.as_secs_f64()))
    } else {
        None
    }
}

fn signature_matches(logon: &SignedLogon, facts: &LogonFacts) -> Option<Failure> {
    let matches = facts.signature_matches && logon.signature.is_some();
    let (check, deny) = (Check::SignatureMatches, Deny::SignatureDiffers);
    (!matches).then(|| failure(check, deny, "the signature of the canonical message", "another one"))
}

fn unseen(facts: &LogonFacts) -> Option<Failure> {
    let (check, deny) = (Check::LogonUnseen, Deny::ReplayedLogon);
    facts.replayed.then(|| failure(check, deny, "a Logon that was not seen before", "one that was"))
}

fn after_listening(logon: &SignedLogon, facts: &LogonFacts) -> Option<Failure> {
    let before = logon.sending_time.is_some_and(|sent| sent < facts.listening_since);
    let (check, deny) = (Check::AfterListening, Deny::BeforeListening);
    let seen = || format!("SendingTime before {}", facts.listening_since);
    before.then(|| failure(check, deny, "SendingTime since this process listens", seen()))
}
