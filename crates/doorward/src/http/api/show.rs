//! What answers look like. Of a person no hash, no seed and nothing sealed is ever in them (Q3).

use doorward_core::audit::{Actor, Entry};
use doorward_core::identity::attempt::Access;
use doorward_core::identity::decide::key_pair::{ShownPair, shown};
use doorward_core::identity::enrolment::{Authenticator, Seed};
use doorward_core::identity::firm::Firm;
use doorward_core::identity::fix_session::{FixSession, SessionUse};
use doorward_core::identity::link::SetupLink;
use doorward_core::identity::person::{Password, Person, Standing};
use doorward_core::identity::policy::{Effective, Policy};
use doorward_core::time::Wall;
use doorward_core::trace::{Step, Trace};
use serde_json::{Map, Value, json};

use crate::gate::fix::StreamInfo;
use crate::gate::keys::OpenPair;

/// An instant: RFC 3339.
pub(super) fn instant(at: Wall) -> Value {
    Value::String(at.to_string())
}

pub(super) fn firm(firm: &Firm) -> Value {
    json!({
        "code": firm.code,
        "name": firm.name,
        "added": instant(firm.added_at),
        "closed": firm.closed,
        "key_hours_until": firm.key_hours_until.map(instant),
        "policy": firm.policy,
        "version": firm.version,
    })
}

/// A FIX session; never a secret key.
pub(super) fn fix_session(session: &FixSession, usage: &SessionUse, now: Wall) -> Value {
    let FixSession {
        id,
        firm,
        kind,
        environment,
        added_at,
        standing: may,
        sender_comp_ids,
        operator_ids,
        sources,
        pairs: _,
        version,
    } = session;
    json!({
        "session_id": id,
        "firm": firm,
        "kind": kind,
        "environment": environment,
        "added": instant(*added_at),
        "standing": standing(*may),
        "locked": usage.locked.map(instant),
        "sender_comp_ids": sender_comp_ids,
        "operator_ids": operator_ids,
        "sources": sources,
        "keys": keys(&shown(session, usage, now)),
        "version": version,
    })
}

/// Key pairs, newest first.
pub(super) fn keys(pairs: &[ShownPair]) -> Value {
    let show = |pair: &ShownPair| {
        let ShownPair { id, state, made_at, ends_at, last_use, safe_to_retire } = pair;
        let used = last_use.map(|used| {
            json!({ "at": instant(used.at), "source": used.source, "sender_comp_id": used.sender_comp_id })
        });
        json!({
            "access_key_id": id,
            "state": state.name(),
            "created": instant(*made_at),
            "expires": instant(*ends_at),
            "last_used": used,
            "safe_to_retire": safe_to_retire,
        })
    };
    pairs.iter().map(show).collect()
}

/// A key pair with its secret, for whoever has just proved to be an administrator of the firm.
pub(super) fn open_pair(open: &OpenPair) -> Value {
    json!({
        "session_id": open.session.id,
        "access_key_id": open.pair.id,
        "secret_key": open.secret_key.expose(),
        "created": instant(open.pair.made_at),
        "expires": instant(open.pair.ends_at),
        "environment": open.session.environment,
    })
}

/// A stream with the connection that holds it.
pub(super) fn stream(info: &StreamInfo) -> Value {
    let live = info.live.as_ref().map(|live| {
        json!({
            "source": live.source,
            "since": instant(live.since),
            "operator_id": live.operator,
            "access_key_id": live.access_key,
        })
    });
    json!({
        "stream": info.stream,
        "week": info.numbers.epoch.week,
        "next_in": info.numbers.next_in,
        "next_out": info.numbers.next_out,
        "unsent": info.undelivered,
        "live": live,
    })
}

pub(super) fn policy((policy, in_force): &(Policy, Effective)) -> Value {
    json!({ "policy": policy, "in_force": effective(*in_force) })
}

fn effective(in_force: Effective) -> Value {
    let Effective {
        password_chars_min,
        password_chars_min_with_otp,
        otp_demanded,
        pkcs1_allowed,
        initial_password_h,
        wrong_passwords_source_max,
        wrong_passwords_person_max,
        wrong_codes_back_off,
        wrong_codes_lock,
        totp_digits,
        totp_algorithm,
        setup_link_min,
        show_setup_link,
        split_handover,
        registration_needs_link,
        recovery_codes,
        password_alone,
        portal_idle_min,
    } = in_force;
    json!({
        "password_chars_min": password_chars_min,
        "password_chars_min_with_otp": password_chars_min_with_otp,
        "otp_demanded": otp_demanded,
        "pkcs1_allowed": pkcs1_allowed,
        "initial_password_h": initial_password_h,
        "wrong_passwords_source_max": wrong_passwords_source_max,
        "wrong_passwords_person_max": wrong_passwords_person_max,
        "wrong_codes_back_off": wrong_codes_back_off,
        "wrong_codes_lock": wrong_codes_lock,
        "totp_digits": totp_digits,
        "totp_algorithm": totp_algorithm,
        "setup_link_min": setup_link_min,
        "show_setup_link": show_setup_link,
        "split_handover": split_handover,
        "registration_needs_link": registration_needs_link,
        "recovery_codes": recovery_codes,
        "password_alone": password_alone,
        "portal_idle_min": portal_idle_min,
    })
}

pub(super) const fn standing(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Disabled => "disabled",
    }
}

pub(super) fn person(person: &Person, access: &Access, now: Wall) -> Value {
    // Taken apart by name: a new field is a decision here, too.
    let Person {
        id,
        userid,
        firm,
        kind,
        added_at,
        standing: stands,
        auth_system,
        password: secret,
        authenticator: factor,
        seeds: _,
        key_codes: _,
        link,
        links_made: _,
        recovery,
        notices,
        tokens: _,
        profile,
        version,
    } = person;
    json!({
        "userid": userid,
        "id": id,
        "kind": kind,
        "firm": firm,
        "standing": standing(*stands),
        "added": instant(*added_at),
        "auth_system": auth_system.name(),
        "password": password(secret),
        "authenticator": authenticator(factor),
        "setup_link": link.as_ref().map(|link| setup_link(link, now)),
        "recovery_codes": recovery.as_ref().map_or(0, |codes| codes.unused.len()),
        "notices": notices,
        "email": profile.email,
        "roles": profile.roles,
        "broker_comm_rate": profile.broker_comm_rate,
        "attr": profile.attr,
        "grant": profile.grant,
        "attempts": attempts(access, now),
        "version": version,
    })
}

fn setup_link(link: &SetupLink, now: Wall) -> Value {
    json!({
        "state": link.state_name(now),
        "handed": link.handed,
        "made": instant(link.made_at),
        "expires": instant(link.expires_at),
    })
}

fn password(password: &Password) -> Value {
    match password {
        Password::Own { phc: _, set_us } => json!({ "origin": "own", "set": instant(*set_us) }),
        Password::Initial { phc: _, set_us, expires_us, by: _ } => {
            json!({ "origin": "initial", "set": instant(*set_us), "expires": instant(*expires_us) })
        }
    }
}

fn authenticator(authenticator: &Authenticator) -> Value {
    let mut shown = Map::new();
    let mut put = |name: &str, value: Value| shown.insert(name.to_owned(), value);
    put("state", authenticator.state().into());
    if let Some((Seed { sealed: _, version: _, parameters }, _)) = authenticator.comparable() {
        put("algorithm", parameters.algorithm.name().into());
        put("digits", parameters.digits.into());
        put("period_s", parameters.period_s.into());
    }
    let factor = match authenticator {
        Authenticator::None => None,
        Authenticator::Pending { issued_us, wrong, .. } => {
            put("since", instant(*issued_us));
            put("wrong", (*wrong).into());
            None
        }
        Authenticator::Active(factor) => Some(factor),
        Authenticator::BackedOff { factor, until_us } => {
            put("until", instant(*until_us));
            Some(factor)
        }
        Authenticator::Locked { factor, since_us } => {
            put("locked", instant(*since_us));
            Some(factor)
        }
        Authenticator::Revoked { at_us } => {
            put("since", instant(*at_us));
            None
        }
    };
    if let Some(factor) = factor {
        put("since", instant(factor.since));
        put("last_used", instant(factor.used_at));
        put("wrong", factor.wrong.into());
        put("drift_steps", factor.drift.into());
    }
    Value::Object(shown)
}

fn attempts(access: &Access, now: Wall) -> Value {
    let waiting = access.sources.iter().filter_map(|(source, tally)| {
        let until = tally.until.filter(|until| now < *until)?;
        Some(json!({ "source": source, "wrong": tally.wrong, "until": instant(until) }))
    });
    json!({ "wrong": access.wrong, "waiting": waiting.collect::<Vec<_>>() })
}

pub(crate) fn entry(no: u64, entry: &Entry) -> Value {
    let Entry {
        at,
        node,
        event,
        outcome,
        actor: who,
        subject,
        named,
        firm,
        session,
        door,
        source,
        factor,
        reason,
        attempt,
        trace: checks,
        detail,
    } = entry;
    json!({
        "no": no,
        "at": instant(*at),
        "node": node,
        "event": event,
        "outcome": outcome,
        "actor": actor(who),
        "subject": subject,
        "named": named,
        "firm": firm,
        "session": session,
        "door": door,
        "source": source,
        "factor": factor,
        "reason": reason,
        "attempt": attempt,
        "trace": checks.as_ref().map(trace),
        "detail": detail,
    })
}

fn actor(actor: &Actor) -> Value {
    match actor {
        Actor::Person { id, userid } => json!({ "kind": "person", "id": id, "userid": userid }),
        Actor::Unknown { begins, chars } => json!({ "kind": "unknown", "begins": begins, "chars": chars }),
        Actor::FixSession { id, sender_comp_id, operator, access_key } => json!({
            "kind": "fix-session", "id": id, "sender_comp_id": sender_comp_id, "operator": operator,
            "access_key": access_key,
        }),
        Actor::Local { uid } => json!({ "kind": "local", "uid": uid }),
        Actor::Node => json!({ "kind": "node" }),
        Actor::Nobody => json!({ "kind": "nobody" }),
    }
}

fn trace(trace: &Trace) -> Value {
    let steps = trace.steps().map(|(check, step)| match step {
        Step::Passed => json!({ "check": check, "result": "passed" }),
        Step::NotNeeded => json!({ "check": check, "result": "not-needed" }),
        Step::NotReached => json!({ "check": check, "result": "not-reached" }),
        Step::Failed(failure) => json!({
            "check": check, "result": "failed", "expected": failure.expected, "seen": failure.seen,
        }),
    });
    json!({ "walk": trace.walk, "steps": steps.collect::<Vec<_>>() })
}
