//! Key pairs: making, showing and deleting them, and telling of their ends.

use super::{CodeFact, Failed, Misuse, View, check_reason, failed, own_entry, standing, take_code, words};
use crate::audit::{Actor, Context, Deny, Door, Entry, Event, Factor, Outcome, Record};
use crate::calendar::Calendar;
use crate::id::AccessKeyId;
use crate::identity::change::Change;
use crate::identity::enrolment::Authenticator;
use crate::identity::fix_session::{FixSession, SessionUse};
use crate::identity::key_pair::{Kept, KeyPair, KeyState, LastUse, Notice};
use crate::identity::person::{KeyCodes, Kind, Person, Right};
use crate::identity::sealed::Sealed;
use crate::time::Wall;
use crate::trace::{Check, Trace, Walk};
use std::time::Duration;

/// Key pairs of a session that are good together.
const PAIRS_MAX: usize = 2;
/// One-time passwords that are accepted for key pairs on one day of the venue.
pub const CODES_PER_DAY: u8 = 10;
/// A pair that was not used for so long is not in use: systems log on at least once a trading week.
const UNUSED_FOR: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What is known when somebody asks for a key pair.
#[derive(Clone, Copy, Debug)]
pub struct KeyView<'a> {
    /// Who asks, their firm, policy and clock.
    pub who: View<'a>,
    /// The administrator.
    pub person: &'a Person,
    /// The session.
    pub session: &'a FixSession,
    /// The venue's hours.
    pub calendar: &'a Calendar,
}

/// Why it was refused, for whoever asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyRefusal {
    /// The reason.
    pub deny: Deny,
    /// In words, with what to do.
    pub text: String,
}

/// A decision about a key pair: what comes of it, and the records that make it true, in one batch. A refusal has a
/// record too: a wrong code counts.
#[derive(Clone, PartialEq, Debug)]
pub struct KeyDecision<T> {
    /// For whoever asked.
    pub result: Result<T, KeyRefusal>,
    /// For the store.
    pub records: Vec<Record>,
}

/// A pair that the vault has made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewPair {
    /// Never used before.
    pub id: AccessKeyId,
    /// Its secret key.
    pub sealed: Sealed,
}

/// What a good code has proved.
struct Proved {
    trace: Trace,
    changes: Vec<Change>,
}

impl KeyView<'_> {
    fn entry(&self, event: Event, context: &Context) -> Entry {
        let session = Some(self.session.id);
        Entry { firm: Some(self.session.firm.clone()), session, ..own_entry(context, event, self.person) }
    }

    fn refuse<T>(&self, trace: Trace, deny: Deny, changes: Vec<Change>, context: &Context) -> KeyDecision<T> {
        let words = trace.failed.as_ref().map(|failure| (failure.expected.as_str(), failure.seen.as_str()));
        let (expected, seen) = words.unwrap_or_default();
        let text = format!("{deny}: expected {expected}, there is {seen}");
        let entry = self.entry(Event::KeyPairRefused, context).refused(deny);
        let entry = Entry { trace: Some(trace), ..entry };
        KeyDecision { result: Err(KeyRefusal { deny, text }), records: vec![Record { entry, changes }] }
    }

    fn fail<T>(&self, trace: Trace, failed: Failed, context: &Context) -> KeyDecision<T> {
        let Failed { check, deny, expected, seen } = failed;
        self.refuse(trace.fail(check, expected, seen), deny, Vec::new(), context)
    }

    /// Whether the person may have to do with the session's pairs at all. The desk may not.
    fn check_right(&self, context: &Context, trace: &mut Trace) -> Result<(), Failed> {
        standing(&self.who, self.person, context, trace).map_err(Failed::of_standing)?;
        let person = self.person;
        let right =
            || failed(Check::RightHeld, Deny::RightMissing, "an administrator of the session's firm", "");
        if person.kind != Kind::Administrator || person.firm.as_ref() != Some(&self.session.firm) {
            return Err(Failed { seen: format!("a {} who is not", person.kind), ..right() });
        }
        let grant = person.profile.grant.as_ref();
        if !grant.is_some_and(|grant| grant.rights.contains(&Right::ManageKeyPairs)) {
            let (expected, seen) = ("the right manage-key-pairs", "an administrator without it");
            return Err(Failed { expected, seen: seen.to_owned(), ..right() });
        }
        Ok(())
    }

    fn check_hours(&self, context: &Context) -> Result<(), Failed> {
        let opened = self.who.firm.and_then(|firm| firm.key_hours_until);
        if opened.is_some_and(|until| context.at < until) {
            return Ok(());
        }
        match self.calendar.customer_center_opens(context.at) {
            None => Ok(()),
            Some(opens) => {
                let seen = format!("closed hours until {opens}");
                Err(failed(Check::HoursOpen, Deny::HoursClosed, "the hours of the Customer Center", seen))
            }
        }
    }

    /// Takes a fresh one-time password: it counts once, on all doors, and ten of them a day.
    fn take_code<T>(
        &self,
        code: CodeFact,
        trace: Trace,
        context: &Context,
    ) -> Result<Proved, KeyDecision<T>> {
        let today = self.calendar.day(context.at);
        let accepted = Some(self.person.key_codes).filter(|codes| codes.day == today);
        let accepted = accepted.map_or(0, |codes| codes.accepted);
        let fail = |trace, failed| Err(self.fail(trace, failed, context));
        if accepted >= CODES_PER_DAY {
            let seen = format!("{accepted} of them; more from tomorrow on");
            let expected = "fewer than ten accepted one-time passwords a day";
            return fail(trace, failed(Check::CodesLeft, Deny::CodesUsedUp, expected, seen));
        }
        if matches!(self.person.authenticator, Authenticator::Locked { .. }) {
            let check = Check::AuthenticatorUnlocked;
            let (expected, seen) = words(check);
            return fail(trace, failed(check, Deny::Locked, expected, seen));
        }
        if !self.person.authenticator.is_registered() {
            let seen = self.person.authenticator.state();
            let check = Check::AuthenticatorRegistered;
            return fail(trace, failed(check, Deny::NotRegistered, "a registered authenticator", seen));
        }
        let CodeFact::Given { offset } = code else {
            let expected = "a fresh one-time password";
            return fail(trace, failed(Check::CodeGiven, Deny::WrongCode, expected, "none"));
        };
        let outcome = take_code(&self.who, self.person, offset, context, trace);
        if let Some(deny) = outcome.reason {
            return Err(self.refuse(outcome.trace, deny, outcome.changes, context));
        }
        let codes = KeyCodes { day: today, accepted: accepted + 1 };
        let mut changes = outcome.changes;
        changes.push(Change::KeyCodes { person: self.person.id, codes });
        Ok(Proved { trace: outcome.trace, changes })
    }
}

/// The factor that a good code makes at a door.
const fn factor(context: &Context) -> Factor {
    match context.door {
        Door::Local => Factor::LocalUserAndCode,
        Door::WebSocket | Door::Fix | Door::Portal | Door::Console | Door::Node => Factor::Code,
    }
}

fn set(session: FixSession) -> Change {
    Change::FixSession { session: Box::new(session) }
}

/// Makes a key pair. Where two are good already, `delete` says which of them goes, at once.
pub fn create(
    view: &KeyView<'_>,
    new: NewPair,
    delete: Option<AccessKeyId>,
    code: CodeFact,
    context: &Context,
) -> Result<KeyDecision<KeyPair>, Misuse> {
    let live: Vec<&KeyPair> = view.session.live(context.at).collect();
    let doomed = doomed(view.session, &live, delete)?;
    let mut trace = Trace::of(Walk::KeyCreate);
    let before_code = view.check_right(context, &mut trace).and_then(|()| {
        if view.session.standing == crate::identity::person::Standing::Disabled {
            let (expected, seen) = ("an active FIX session", "a disabled one");
            return Err(failed(Check::SessionActive, Deny::SessionDisabled, expected, seen));
        }
        view.check_hours(context)?;
        if live.len() >= PAIRS_MAX && doomed.is_none() {
            let ids: Vec<_> = live.iter().map(|pair| pair.id.to_string()).collect();
            let seen = format!("none; there are {}", ids.join(" and "));
            return Err(failed(Check::PairsAdmitted, Deny::PairsFull, "the pair to delete", seen));
        }
        Ok(())
    });
    if let Err(failed) = before_code {
        return Ok(view.fail(trace, failed, context));
    }
    let Proved { trace, mut changes } = match view.take_code(code, trace, context) {
        Ok(proved) => proved,
        Err(refused) => return Ok(refused),
    };
    let entry = |event| Entry { factor: factor(context), ..view.entry(event, context) };
    let (mut records, mut session) = (Vec::new(), view.session.clone());
    if let Some(pair) = doomed {
        session = session.with_changed(&deleted(pair, context.at));
        let detail = format!("{}: makes room for {}", pair.id, new.id);
        changes.push(set(session.clone()));
        let entry = entry(Event::KeyPairDeleted).with_detail(detail);
        records.push(Record { entry, changes: std::mem::take(&mut changes) });
    }
    let pair = KeyPair {
        id: new.id,
        made_at: context.at,
        ends_at: view.calendar.key_life_end(context.at),
        replaced: false,
        noted_at: context.at,
        secret: Kept::Secret { sealed: new.sealed },
    };
    session = session.with_pair(pair.clone(), view.calendar);
    let others = session.live(context.at).filter(|other| other.id != pair.id);
    let ends: String = others.map(|other| format!("; {} ends {}", other.id, other.ends_at)).collect();
    let detail = format!("{}: ends {}{ends}", pair.id, pair.ends_at);
    changes.push(set(session));
    let entry = Entry { trace: Some(trace), ..entry(Event::KeyPairCreated).with_detail(detail) };
    records.push(Record { entry, changes });
    Ok(KeyDecision { result: Ok(pair), records })
}

/// The pair that makes room, where one is named.
fn doomed<'a>(
    session: &FixSession,
    live: &[&'a KeyPair],
    delete: Option<AccessKeyId>,
) -> Result<Option<&'a KeyPair>, Misuse> {
    let Some(id) = delete else { return Ok(None) };
    let Some(pair) = live.iter().find(|pair| pair.id == id) else {
        return Err(Misuse::not_found(format!("{id}: no key pair of {} that is good", session.id)));
    };
    if live.len() < PAIRS_MAX {
        let text = format!("{id}: nothing need be deleted, {} has room for another key pair", session.id);
        return Err(Misuse::conflict("delete", text));
    }
    Ok(Some(pair))
}

fn deleted(pair: &KeyPair, at: Wall) -> KeyPair {
    KeyPair { secret: Kept::Deleted { at_us: at }, ..pair.clone() }
}

/// Shows a secret key again.
pub fn download(
    view: &KeyView<'_>,
    id: &AccessKeyId,
    code: CodeFact,
    context: &Context,
) -> Result<KeyDecision<KeyPair>, Misuse> {
    let Some(pair) = view.session.pair(id) else { return Err(unknown(view.session, id)) };
    let mut trace = Trace::of(Walk::KeyDownload);
    let before_code = view.check_right(context, &mut trace).and_then(|()| {
        view.check_hours(context)?;
        let state = pair.state(context.at);
        let deny = match state {
            KeyState::Active | KeyState::Expiring { .. } => return Ok(()),
            KeyState::Expired { .. } => Deny::AccessKeyExpired,
            KeyState::Deleted { .. } => Deny::AccessKeyDeleted,
        };
        Err(failed(Check::AccessKeyLive, deny, "a key pair that is good", state.name()))
    });
    if let Err(failed) = before_code {
        return Ok(view.fail(trace, failed, context));
    }
    let Proved { trace, changes } = match view.take_code(code, trace, context) {
        Ok(proved) => proved,
        Err(refused) => return Ok(refused),
    };
    let entry = view.entry(Event::KeyPairDownloaded, context).with_detail(id.to_string());
    let entry = Entry { factor: factor(context), trace: Some(trace), ..entry };
    Ok(KeyDecision { result: Ok(pair.clone()), records: vec![Record { entry, changes }] })
}

/// Deletes a key pair, at all hours: it is good no more, and its connections end.
pub fn delete(
    view: &KeyView<'_>,
    id: &AccessKeyId,
    reason: &str,
    context: &Context,
) -> Result<KeyDecision<()>, Misuse> {
    check_reason(reason)?;
    let Some(pair) = view.session.pair(id) else { return Err(unknown(view.session, id)) };
    if !pair.state(context.at).is_live() {
        let text = format!("{id}: is {} already", pair.state(context.at).name());
        return Err(Misuse::conflict("access_key", text));
    }
    let mut trace = Trace::of(Walk::KeyDelete);
    if let Err(failed) = view.check_right(context, &mut trace) {
        return Ok(view.fail(trace, failed, context));
    }
    let session = view.session.with_changed(&deleted(pair, context.at));
    let local = if context.door == Door::Local { Factor::LocalUser } else { Factor::Nothing };
    let entry = view.entry(Event::KeyPairDeleted, context).with_detail(format!("{id}: {reason}"));
    let entry = Entry { factor: local, trace: Some(trace), ..entry };
    Ok(KeyDecision { result: Ok(()), records: vec![Record { entry, changes: vec![set(session)] }] })
}

fn unknown(session: &FixSession, id: &AccessKeyId) -> Misuse {
    Misuse::not_found(format!("{id}: no key pair of {}", session.id))
}

/// What is to be told of the ends of a session's pairs by now, one record each, every one of them exactly once.
/// The secret of a pair that has ended is dropped with its record.
pub fn notices(session: &FixSession, now: &Context) -> Vec<Record> {
    let mut session = session.clone();
    let mut records = Vec::new();
    for mut pair in session.pairs.clone() {
        let due: Vec<_> = pair.notices_due(now.at).collect();
        for (noted_at, notice) in due {
            pair.noted_at = noted_at;
            let (event, detail) = match notice {
                Notice::Days(days) => {
                    let plural = if days == 1 { "" } else { "s" };
                    (Event::KeyPairExpiring, format!("{days} day{plural} before the end, {}", pair.ends_at))
                }
                Notice::Ended => {
                    pair.secret = Kept::Expired;
                    (Event::KeyPairExpired, format!("ended {}", pair.ends_at))
                }
            };
            session = session.with_changed(&pair);
            let entry = Entry::new(now, event, Actor::Node).with_detail(format!("{}: {detail}", pair.id));
            let entry = Entry { firm: Some(session.firm.clone()), session: Some(session.id), ..entry };
            debug_assert_eq!(entry.outcome, Outcome::Allowed);
            records.push(Record { entry, changes: vec![set(session.clone())] });
        }
    }
    records
}

/// When [`notices`] has something to tell next.
pub fn next_notice(session: &FixSession) -> Option<Wall> {
    session.pairs.iter().filter_map(KeyPair::next_notice).min()
}

/// A key pair as it is shown to those who may see it; never its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShownPair {
    /// Its name.
    pub id: AccessKeyId,
    /// Where it stands.
    pub state: KeyState,
    /// Since when it was good.
    pub made_at: Wall,
    /// When it ends at the latest.
    pub ends_at: Wall,
    /// Its last use.
    pub last_use: Option<LastUse>,
    /// Whether nothing seems to need it: it is good no more, or a newer pair was used after it and it rests for a week.
    pub safe_to_retire: bool,
}

/// The key pairs of a session, newest first.
pub fn shown(session: &FixSession, used: &SessionUse, at: Wall) -> Vec<ShownPair> {
    let last = |pair: &KeyPair| used.keys.get(&pair.id).copied();
    let show = |pair: &KeyPair| {
        let state = pair.state(at);
        let last_use = last(pair);
        let rests = last_use.is_none_or(|last| at.since(last.at) >= UNUSED_FOR);
        let mut newer = session.live(at).filter(|other| other.made_at > pair.made_at);
        let replaced = newer.any(|other| last(other).is_some_and(|o| last_use.is_none_or(|l| l.at < o.at)));
        let safe_to_retire = !state.is_live() || (rests && replaced);
        let KeyPair { id, made_at, ends_at, .. } = *pair;
        ShownPair { id, state, made_at, ends_at, last_use, safe_to_retire }
    };
    session.pairs.iter().rev().map(show).collect()
}
