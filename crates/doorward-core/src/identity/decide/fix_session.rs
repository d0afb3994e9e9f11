//! FIX sessions: adding, changing, locking, opening again.

use std::collections::BTreeSet;

use super::{Misuse, check_reason};
use crate::audit::{Actor, Context, Deny, Entry, Event, Record};
use crate::id::{CompStem, OperatorId, SessionId};
use crate::identity::change::Change;
use crate::identity::firm::Firm;
use crate::identity::fix_session::{FixSession, SessionKind, SessionUse};
use crate::identity::key_pair::Environment;
use crate::identity::net::Network;
use crate::identity::person::Standing;
use crate::limits::Limit;
use crate::stream::StreamKey;

/// Largest MsgSeqNum that an administrator may set.
const SEQ_NUM_MAX: u64 = 999_999_999;

/// A FIX session that is to be added.
#[derive(Clone, Debug)]
pub struct New {
    /// Its Session ID.
    pub id: SessionId,
    /// What it is for.
    pub kind: SessionKind,
    /// Whether it is for trading.
    pub environment: Environment,
    /// What SenderCompID (49) may begin with.
    pub sender_comp_ids: BTreeSet<CompStem>,
    /// Which operators (50) it permits.
    pub operator_ids: BTreeSet<OperatorId>,
    /// From where a Logon may come; empty: from everywhere.
    pub sources: Vec<Network>,
}

/// Adds a FIX session to a firm.
pub fn add(new: New, firm: &Firm, actor: Actor, context: &Context) -> Result<Record, Misuse> {
    let session = FixSession {
        id: new.id,
        firm: firm.code.clone(),
        kind: new.kind,
        environment: new.environment,
        added_at: context.at,
        standing: Standing::Active,
        sender_comp_ids: new.sender_comp_ids,
        operator_ids: new.operator_ids,
        sources: new.sources,
        pairs: Vec::new(),
        version: 1,
    };
    check(&session)?;
    Ok(record(Event::FixSessionAdded, session, actor, context))
}

fn check(session: &FixSession) -> Result<(), Misuse> {
    let id = session.id;
    if session.sender_comp_ids.is_empty() {
        return Err(Misuse::invalid("sender_comp_ids", "sender_comp_ids: empty; nobody could log on"));
    }
    if let Some(foreign) = session.sender_comp_ids.iter().find(|stem| stem.session != id) {
        let text = format!("sender_comp_ids: {foreign} does not begin with {id}");
        return Err(Misuse::invalid("sender_comp_ids", text));
    }
    if session.operator_ids.is_empty() {
        return Err(Misuse::invalid("operator_ids", "operator_ids: empty; nobody could log on"));
    }
    for (field, count) in [
        ("sender_comp_ids", session.sender_comp_ids.len()),
        ("operator_ids", session.operator_ids.len()),
        ("sources", session.sources.len()),
    ] {
        if count as u64 > Limit::SessionNames.max() {
            let text = format!("{field}: {count} are more than {}", Limit::SessionNames.max());
            return Err(Misuse::invalid(field, text));
        }
    }
    Ok(())
}

/// Changes to a FIX session; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// Whether anybody may log on.
    pub standing: Option<Standing>,
    /// What SenderCompID (49) may begin with.
    pub sender_comp_ids: Option<BTreeSet<CompStem>>,
    /// Which operators (50) it permits.
    pub operator_ids: Option<BTreeSet<OperatorId>>,
    /// From where a Logon may come.
    pub sources: Option<Vec<Network>>,
}

/// Changes a FIX session. One record for its standing and one for all else; none where nothing is different.
pub fn edit(
    session: &FixSession,
    edit: Edit,
    actor: &Actor,
    context: &Context,
) -> Result<Vec<Record>, Misuse> {
    let mut records = Vec::new();
    let mut last = session.clone();
    let standing = edit.standing.unwrap_or(session.standing);
    if standing != session.standing {
        let event = match standing {
            Standing::Active => Event::FixSessionEnabled,
            Standing::Disabled => Event::FixSessionDisabled,
        };
        last = FixSession { standing, version: last.version + 1, ..last };
        records.push(record(event, last.clone(), actor.clone(), context));
    }
    let changed = FixSession {
        sender_comp_ids: edit.sender_comp_ids.unwrap_or_else(|| last.sender_comp_ids.clone()),
        operator_ids: edit.operator_ids.unwrap_or_else(|| last.operator_ids.clone()),
        sources: edit.sources.unwrap_or_else(|| last.sources.clone()),
        ..last.clone()
    };
    if changed != last {
        check(&changed)?;
        let changed = FixSession { version: last.version + 1, ..changed };
        records.push(record(Event::FixSessionChanged, changed, actor.clone(), context));
    }
    Ok(records)
}

fn record(event: Event, session: FixSession, actor: Actor, context: &Context) -> Record {
    let entry = entry(event, &session, actor, context);
    Record { entry, changes: vec![Change::FixSession { session: Box::new(session) }] }
}

fn entry(event: Event, session: &FixSession, actor: Actor, context: &Context) -> Entry {
    let (firm, id) = (Some(session.firm.clone()), Some(session.id));
    Entry { firm, session: id, ..Entry::new(context, event, actor) }
}

fn lock_record(session: &FixSession, entry: Entry, context: &Context) -> Record {
    let change = Change::SessionLock { session: session.id, locked: Some(context.at) };
    Record { entry, changes: vec![change] }
}

/// Locks a FIX session on all its listeners after the refusal that was one too many; its open connections stay.
pub fn lock_after_refusals(session: &FixSession, context: &Context) -> Record {
    let entry = entry(Event::FixSessionLocked, session, Actor::Node, context)
        .with_detail("refused Logons with a key of the session: five within 60 s");
    lock_record(session, entry, context)
}

/// Locks a FIX session by hand.
pub fn lock(
    session: &FixSession,
    used: &SessionUse,
    reason: &str,
    actor: Actor,
    context: &Context,
) -> Result<Record, Misuse> {
    check_reason(reason)?;
    if let Some(since) = used.locked {
        return Err(Misuse::conflict("locked", format!("{}: is locked since {since}", session.id)));
    }
    let entry = entry(Event::FixSessionLocked, session, actor, context).with_detail(reason);
    Ok(lock_record(session, entry, context))
}

/// Opens a locked FIX session again.
pub fn reopen(
    session: &FixSession,
    used: &SessionUse,
    reason: &str,
    actor: Actor,
    context: &Context,
) -> Result<Record, Misuse> {
    check_reason(reason)?;
    if used.locked.is_none() {
        return Err(Misuse::conflict("locked", format!("{}: is not locked", session.id)));
    }
    let entry = entry(Event::FixSessionReopened, session, actor, context).with_detail(reason);
    let change = Change::SessionLock { session: session.id, locked: None };
    Ok(Record { entry, changes: vec![change] })
}

/// Ends the connections of a FIX session; it may log on again at once.
pub fn end(session: &FixSession, reason: &str, actor: Actor, context: &Context) -> Result<Record, Misuse> {
    check_reason(reason)?;
    let entry = entry(Event::FixSessionEnded, session, actor, context).with_detail(reason);
    Ok(Record { entry, changes: Vec::new() })
}

/// Sets the numbers of a stream of a FIX session. Whoever has the numbers puts them into the record, before it counts.
pub fn set_next(
    session: &FixSession,
    stream: &StreamKey,
    next_in: Option<u64>,
    next_out: Option<u64>,
    reason: &str,
    actor: Actor,
    context: &Context,
) -> Result<Record, Misuse> {
    check_reason(reason)?;
    let fits = match stream {
        StreamKey::Session { session: of, .. } => *of == session.id,
        StreamKey::Person(_) => false,
    };
    if !fits {
        return Err(Misuse::invalid("stream", format!("stream: {stream} is none of session {}", session.id)));
    }
    let numbers = [("next_in", next_in), ("next_out", next_out)];
    for (field, number) in numbers {
        if number.is_some_and(|number| !(1..=SEQ_NUM_MAX).contains(&number)) {
            return Err(Misuse::invalid(field, format!("{field}: out of range 1..={SEQ_NUM_MAX}")));
        }
    }
    let given: Vec<String> = numbers
        .iter()
        .filter_map(|(field, number)| Some(format!("{} {}", field.replace('_', " "), (*number)?)))
        .collect();
    if given.is_empty() {
        return Err(Misuse::invalid("next_in", "next_in: give it, or next_out, or both"));
    }
    let detail = format!("{stream}: {}: {reason}", given.join(", "));
    let entry = entry(Event::SequenceSet, session, actor, context).with_detail(detail);
    Ok(Record { entry, changes: Vec::new() })
}

/// Which session a refused Logon counts against: the one that owns the access key that it named. What the peer has
/// no part in does not count.
pub fn struck(record: &Record) -> Option<SessionId> {
    let Actor::FixSession { id, access_key: Some(_), .. } = record.entry.actor else { return None };
    let innocent = [
        Deny::WeekClosed,
        Deny::Halted,
        Deny::Stopping,
        Deny::NotVerified,
        Deny::LogonInProgress,
        Deny::AlreadyLoggedOn,
        Deny::SessionLocked,
    ];
    let counts = record.entry.event == Event::LogonRefused
        && record.entry.reason.is_some_and(|reason| !innocent.contains(&reason));
    counts.then_some(id)
}
