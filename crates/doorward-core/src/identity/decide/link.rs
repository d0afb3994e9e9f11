//! Setup links: made, looked at, taken back, expired.

use std::time::Duration;

use super::{Failed, Misuse, Reason, Ruling, View, allow, entry_on, failed, standing};
use crate::audit::{Actor, Context, Deny, Event, Record};
use crate::identity::change::Change;
use crate::identity::link::{Handed, LinkHash, LinkState, SetupLink};
use crate::identity::person::{Password, Person};
use crate::identity::policy::Effective;
use crate::time::Wall;
use crate::trace::{Check, Trace, Walk};

/// Links that are made for a person within [`MADE_WITHIN`] (K7).
pub const MADE_MAX: usize = 5;
/// How long a link counts (K7).
pub const MADE_WITHIN: Duration = Duration::from_secs(3_600);
/// The wrong password that takes a link back (K8).
pub const WRONG_MAX: u8 = 5;

/// A link that is to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewLink {
    /// SHA-256 of its fresh token.
    pub hash: LinkHash,
    /// How it is handed over.
    pub handed: Handed,
    /// Why, where whoever asks had to say so.
    pub reason: Option<Reason>,
}

/// Makes a setup link for somebody who has to register. It takes the place of a live one (K2) and works for the time
/// that the desk gives (K5). Whoever mails it adds the mail to the record.
pub fn make(
    view: &View<'_>,
    person: &Person,
    new: &NewLink,
    mail_is_set_up: bool,
    actor: Actor,
    context: &Context,
) -> Ruling {
    let mut trace = Trace::of(Walk::LinkMake);
    let refused = entry_on(context, Event::LinkRefused, person, actor.clone());
    if let Err(failed) = may_make(view, person, new, mail_is_set_up, &actor, context, &mut trace) {
        return failed.refuse(refused, trace, Vec::new());
    }
    let valid = Duration::from_secs(60 * u64::from(view.policy.setup_link_min));
    let expires_at = context.at + valid;
    let reason = new.reason.as_ref().map(|reason| format!(": {}", reason.as_str())).unwrap_or_default();
    let detail = format!("{}, until {expires_at}{reason}", new.handed.name());
    let link = SetupLink {
        hash: new.hash,
        made_at: context.at,
        expires_at,
        handed: new.handed,
        by: actor.person(),
        wrong: 0,
        state: LinkState::Live,
    };
    let mut made = made_lately(person, context.at);
    made.push(context.at);
    let change = Change::Link { person: person.id, link: Some(link), made };
    allow(entry_on(context, Event::LinkMade, person, actor).with_detail(detail), trace, vec![change])
}

fn may_make(
    view: &View<'_>,
    person: &Person,
    new: &NewLink,
    mail_is_set_up: bool,
    actor: &Actor,
    context: &Context,
    trace: &mut Trace,
) -> Result<(), Failed> {
    standing(view, person, context, trace).map_err(Failed::of_standing)?;
    may_register(person, &view.policy)?;
    if made_lately(person, context.at).len() >= MADE_MAX {
        let (check, deny) = (Check::LinkAdmitted, Deny::LinksUsedUp);
        return Err(failed(check, deny, "fewer than five links within an hour", "five"));
    }
    match new.handed {
        Handed::Mailed => trace.skip(Check::LinkShown),
        Handed::Shown => {
            trace.skip(Check::AddressGiven);
            let not_shown =
                |expected, seen| Err(failed(Check::LinkShown, Deny::LinkNotShown, expected, seen));
            if !view.policy.show_setup_link {
                return not_shown(
                    "links that the desk lets administrators see",
                    "links that are mailed only",
                );
            }
            if view.policy.split_handover && knows_password(person, actor) {
                return not_shown("an asker who does not know the password", "one who set or saw it");
            }
            return Ok(());
        }
    }
    let missing =
        |seen| Err(failed(Check::AddressGiven, Deny::NoAddress, "an address, and mail that is set up", seen));
    match (mail_is_set_up, &person.profile.email) {
        (true, Some(_)) => Ok(()),
        (true, None) => missing("no address"),
        (false, _) => missing("no mail server"),
    }
}

/// Whether somebody is to register an authenticator at all (T13).
pub(super) fn may_register(person: &Person, policy: &Effective) -> Result<(), Failed> {
    if !person.needs_otp(policy) {
        let (check, deny) = (Check::OtpChosen, Deny::OtpNotChosen);
        return Err(failed(check, deny, "the authentication system otp", "password"));
    }
    if person.authenticator.is_registered() {
        let (check, deny) = (Check::AuthenticatorFree, Deny::AlreadyRegistered);
        return Err(failed(check, deny, "no registered authenticator", person.authenticator.state()));
    }
    Ok(())
}

/// Whether an actor set somebody's initial password, or saw it when it was made.
pub(super) fn knows_password(person: &Person, actor: &Actor) -> bool {
    match &person.password {
        Password::Own { .. } => false,
        Password::Initial { by, .. } => *by == actor.person(),
    }
}

/// When links were made within the last hour.
fn made_lately(person: &Person, now: Wall) -> Vec<Wall> {
    person.links_made.iter().copied().filter(|made| now.since(*made) < MADE_WITHIN).collect()
}

/// The change that takes somebody's live link back, where there is one (K2).
pub fn revoke_live(person: &Person, at: Wall) -> Option<Change> {
    let link = person.link.as_ref()?;
    match link.state {
        LinkState::Live => Some(with_link(person, link.revoked(at))),
        LinkState::Used { .. } | LinkState::Revoked { .. } | LinkState::Expired { .. } => None,
    }
}

/// The change to another state of somebody's link.
pub(super) fn with_link(person: &Person, link: SetupLink) -> Change {
    Change::Link { person: person.id, link: Some(link), made: person.links_made.clone() }
}

/// Takes somebody's live link back by hand.
pub fn revoke(person: &Person, actor: Actor, context: &Context) -> Result<Record, Misuse> {
    let live = person.link.as_ref().is_some_and(|link| link.is_live(context.at));
    match revoke_live(person, context.at) {
        Some(change) if live => {
            Ok(Record { entry: entry_on(context, Event::LinkRevoked, person, actor), changes: vec![change] })
        }
        Some(_) | None => {
            let text = format!("{}: there is no setup link that works", person.userid);
            Err(Misuse::conflict("link", text))
        }
    }
}

/// Writes down that somebody's link came to its end unused; once.
pub fn expire(person: &Person, context: &Context) -> Option<Record> {
    let link = person.link.as_ref()?;
    match link.state {
        LinkState::Live if context.at >= link.expires_at => {
            let state = LinkState::Expired { at_us: context.at };
            let change = with_link(person, SetupLink { state, ..link.clone() });
            let entry = entry_on(context, Event::LinkExpired, person, Actor::Node);
            Some(Record { entry, changes: vec![change] })
        }
        LinkState::Live | LinkState::Used { .. } | LinkState::Revoked { .. } | LinkState::Expired { .. } => {
            None
        }
    }
}

/// Whether a token lets its person go on; looking changes nothing (K3).
pub fn look(view: &View<'_>, hash: &LinkHash, now: Wall) -> Result<(), Deny> {
    link_live(view.person, hash, now).map(|_| ()).map_err(|failed| failed.deny)
}

/// The person's link of this hash, as long as it works for them.
pub(super) fn link_live<'a>(
    person: Option<&'a Person>,
    hash: &LinkHash,
    now: Wall,
) -> Result<&'a SetupLink, Failed> {
    let dead = |deny, seen| failed(Check::LinkLive, deny, "a setup link that works", seen);
    let Some(person) = person else { return Err(dead(Deny::LinkUnknown, "an unknown one")) };
    let link = person.link.as_ref().filter(|link| link.hash == *hash);
    let Some(link) = link else { return Err(dead(Deny::LinkUnknown, "an unknown one")) };
    if !link.is_live(now) {
        return Err(dead(Deny::LinkEnded, link.state_name(now)));
    }
    if person.authenticator.is_registered() {
        return Err(dead(Deny::AlreadyRegistered, "one of somebody who is registered"));
    }
    Ok(link)
}

/// Counts a wrong password that came with a link; the fifth takes it back (K8).
pub(super) fn wrong_password(person: &Person, link: &SetupLink, at: Wall) -> Change {
    let counted = SetupLink { wrong: link.wrong.saturating_add(1), ..link.clone() };
    with_link(person, if counted.wrong >= WRONG_MAX { counted.revoked(at) } else { counted })
}
