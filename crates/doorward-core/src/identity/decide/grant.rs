//! What the desk lets a program do: rights, the firms whose traders it serves, and from where it may come.

use super::person::{Edit, edit};
use super::{Misuse, MisuseKind};
use crate::audit::{Actor, Context, Record};
use crate::identity::person::{Grant, Kind, Person, Profile, Right};
use crate::identity::policy::Effective;

/// Most firms and most addresses of one program.
pub const GRANT_PLACES_MAX: usize = 256;

/// Sets what a program may do; it holds from its next request on.
pub fn set_grant(target: &Person, grant: Grant, actor: &Actor, context: &Context) -> Result<Record, Misuse> {
    match target.kind {
        Kind::Service => {}
        Kind::Desk | Kind::Administrator | Kind::Trader => {
            let text = format!("grant: {} is a {}, no service user", target.userid, target.kind);
            return Err(Misuse::invalid("grant", text));
        }
    }
    let profile = Some(Profile { grant: Some(grant), ..target.profile.clone() });
    let records = edit(target, Edit { profile, ..Edit::default() }, &Effective::default(), actor, context)?;
    records
        .into_iter()
        .next()
        .ok_or_else(|| Misuse::conflict("grant", format!("{}: grant: it is so already", target.userid)))
}

/// Whether a grant can be somebody's of a kind.
pub(super) fn check(kind: Kind, grant: &Grant) -> Result<(), Misuse> {
    let foreign = |rights: &[Right]| grant.rights.iter().find(|right| !rights.contains(right)).copied();
    for (field, count) in [("grant.firms", grant.firms.len()), ("grant.sources", grant.sources.len())] {
        if count > GRANT_PLACES_MAX {
            let text = format!("{field}: {count} are more than {GRANT_PLACES_MAX}");
            return Err(Misuse { kind: MisuseKind::Invalid, field, text });
        }
    }
    match kind {
        Kind::Service => match foreign(Right::PROGRAM) {
            Some(right) => {
                let text = format!("grant.rights: {right} is for administrators, not for service users");
                Err(Misuse::invalid("grant.rights", text))
            }
            None => Ok(()),
        },
        Kind::Administrator if !grant.firms.is_empty() || !grant.sources.is_empty() => {
            let text =
                "grant: an administrator serves the own firm, from everywhere; leave firms and sources out";
            Err(Misuse::invalid("grant", text))
        }
        Kind::Administrator => match foreign(Right::ADMINISTRATOR) {
            Some(right) => {
                let text = format!("grant.rights: {right} is for service users, not for administrators");
                Err(Misuse::invalid("grant.rights", text))
            }
            None => Ok(()),
        },
        Kind::Desk | Kind::Trader => {
            let text = format!("grant: only service users and administrators have one, not a {kind}");
            Err(Misuse::invalid("grant", text))
        }
    }
}

/// A grant in words, for the record: all of it, so that each record says what holds from then on.
pub(super) fn words(kind: Kind, grant: Option<&Grant>) -> String {
    let list = |texts: Vec<String>| if texts.is_empty() { "none".to_owned() } else { texts.join(", ") };
    let Some(grant) = grant else { return "none".to_owned() };
    let rights = list(grant.rights.iter().map(ToString::to_string).collect());
    match kind {
        Kind::Service => {
            let firms = list(grant.firms.iter().map(ToString::to_string).collect());
            let sources = list(grant.sources.iter().map(ToString::to_string).collect());
            format!("rights: {rights}; firms: {firms}; from: {sources}")
        }
        Kind::Desk | Kind::Administrator | Kind::Trader => rights,
    }
}
