//! People as administrators see those of their firm, and the desk administrators and operators (workflow 5): lists by
//! cursor, and all that is known of one of them.

use std::collections::{BTreeMap, BTreeSet};

use doorward_core::audit::Event;
use doorward_core::id::{FirmCode, PersonId, UserId};
use doorward_core::identity::decide::serve::{self, Act, Denied};
use doorward_core::identity::enrolment::Authenticator;
use doorward_core::identity::link::Handed;
use doorward_core::identity::mail::MailId;
use doorward_core::identity::notice::Notice;
use doorward_core::identity::person::{Grant, Kind, Password, Person, Right, Standing};
use doorward_core::identity::policy::{AuthSystem, Effective};
use doorward_core::time::Wall;

use super::explain::EntryView;
use super::serving::Unserved;
use super::{Asker, Browser};
use crate::book::{AuditFilter, Load, MailFilter, PeopleFilter};
pub use crate::book::{LastLogin, LinkIs, Queued};
use crate::fault::Fault;
use crate::gate::{Gate, effective};

/// Most people of one page.
pub const PEOPLE_MAX: usize = 200;
/// Up to how many people are counted.
pub const COUNT_MAX: usize = 250;
/// Mails that are shown of a person.
const MAILS: usize = 5;
/// Events that are shown of a person.
const EVENTS: usize = 10;

/// Which people to list; what is absent does not matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PeopleQuery {
    /// Whose user name begins so, whatever the case.
    pub text: Option<String>,
    /// What they are. Without it an administrator sees all, the desk administrators.
    pub kind: Option<Kind>,
    /// Of this firm: for the desk; an administrator sees the own one whatever stands here.
    pub firm: Option<FirmCode>,
    /// With this standing.
    pub standing: Option<Standing>,
    /// Only those who need an authenticator and have not registered one.
    pub not_registered: bool,
    /// Only those whose authenticator is locked.
    pub locked: bool,
    /// Only those who were never let in.
    pub never_signed_in: bool,
    /// Whose last setup link stands so.
    pub link: Option<LinkIs>,
}

/// A page of people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeoplePage {
    /// By user name.
    pub people: Vec<PersonRow>,
    /// From behind whom there is more; `None`: there is not.
    pub next: Option<UserId>,
}

/// How many there are, as far as was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// So many.
    pub count: usize,
    /// Or more.
    pub is_more: bool,
}

impl Tally {
    /// What was found, one beyond the most at the utmost.
    pub(super) const fn of(found: usize, most: usize) -> Self {
        if found > most { Self { count: most, is_more: true } } else { Self { count: found, is_more: false } }
    }

    /// Whether there is nobody.
    pub const fn is_none(self) -> bool {
        self.count == 0
    }
}

/// What stands out about somebody.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Flag {
    /// They may not come in.
    Disabled,
    /// They need an authenticator and have none.
    NotRegistered,
    /// Wrong codes have locked the authenticator.
    Locked,
    /// After wrong codes the authenticator waits a little.
    BackedOff,
    /// They were never let in.
    NeverSignedIn,
    /// The password was set by somebody else, and works once.
    InitialPassword,
    /// The initial password has expired.
    PasswordExpired,
    /// There is no address for mail.
    NoAddress,
}

impl Flag {
    /// The flag in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::NotRegistered => "authenticator not registered",
            Self::Locked => "locked",
            Self::BackedOff => "waits after wrong codes",
            Self::NeverSignedIn => "never signed in",
            Self::InitialPassword => "initial password",
            Self::PasswordExpired => "initial password expired",
            Self::NoAddress => "no mail address",
        }
    }

    /// The name, for style sheets.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::NotRegistered => "not-registered",
            Self::Locked => "locked",
            Self::BackedOff => "backed-off",
            Self::NeverSignedIn => "never-signed-in",
            Self::InitialPassword => "initial-password",
            Self::PasswordExpired => "password-expired",
            Self::NoAddress => "no-address",
        }
    }
}

/// Somebody in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PersonRow {
    /// Names their page.
    pub id: PersonId,
    /// The user name.
    pub userid: UserId,
    /// What they are.
    pub kind: Kind,
    /// Of which firm.
    pub firm: Option<FirmCode>,
    /// Where mail goes.
    pub email: Option<String>,
    /// How they prove themselves, as chosen for them.
    pub auth_system: AuthSystem,
    /// What stands out.
    pub flags: Vec<Flag>,
    /// The last setup link.
    pub link: Option<LinkView>,
    /// When they were let in last, and where.
    pub last_login: Option<LastLogin>,
}

/// A setup link, without its token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkView {
    /// `live`, `expired`, `used` or `revoked`.
    pub state: &'static str,
    /// Whether it works.
    pub is_live: bool,
    /// How it was handed over.
    pub handed: Handed,
    /// When.
    pub made_at: Wall,
    /// From when on it does not work.
    pub expires_at: Wall,
    /// By whom; `None`: by the operator of the server.
    pub by: Option<UserId>,
}

/// Somebody's authenticator, without its seed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuthenticatorView {
    /// `none`, `pending`, `active`, `backed-off`, `locked` or `revoked`.
    pub state: &'static str,
    /// Since when it is registered.
    pub since: Option<Wall>,
    /// When a code was good last.
    pub used_at: Option<Wall>,
    /// Wrong codes in a row.
    pub wrong: u8,
    /// Since when it is locked, until when it waits, or when it was taken away.
    pub changed_at: Option<Wall>,
    /// How many recovery codes are left; `None`: none were made.
    pub recovery_left: Option<usize>,
}

/// Somebody's password, without its hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PasswordView {
    /// Since when.
    pub set_at: Wall,
    /// Until when an initial one works; `None`: it is their own.
    pub expires_at: Option<Wall>,
    /// Whether the asker set or saw it.
    pub by_asker: bool,
}

/// All that is known of somebody.
#[derive(Clone, PartialEq, Debug)]
pub struct PersonPage {
    /// As in the list.
    pub row: PersonRow,
    /// Since when they are known.
    pub added_at: Wall,
    /// Whether they must prove themselves with a one-time password, whatever was chosen.
    pub otp_demanded: bool,
    /// The password.
    pub password: PasswordView,
    /// The authenticator.
    pub authenticator: AuthenticatorView,
    /// What an administrator may do.
    pub rights: BTreeSet<Right>,
    /// What a program may do, for whom and from where.
    pub grant: Option<Grant>,
    /// What an administrator is told of by mail.
    pub notices: BTreeSet<Notice>,
    /// Connections and browser sessions that are open.
    pub open_connections: usize,
    /// The last mails to or about them, newest first.
    pub mails: Vec<Queued>,
    /// The last events about them, newest first; empty where the asker may not see events.
    pub events: Vec<EntryView>,
    /// Why no link can be mailed to them now, in words; `None`: one can.
    pub no_mail: Option<String>,
    /// Why no link can be shown, in words; `None`: one can.
    pub no_show: Option<String>,
    /// Whether the desk lets links be shown at all.
    pub links_shown: bool,
    /// Counts changes of the person.
    pub version: u64,
    denied: BTreeMap<&'static str, Denied>,
}

impl PersonPage {
    /// Whether the asker may do a step, once a fresh one-time password is given where it asks for one.
    pub fn may(&self, act: Act) -> bool {
        self.denied.get(act.id()).is_none_or(|denied| *denied == Denied::Stale)
    }

    /// Why the asker may not do a step.
    pub fn denied(&self, act: Act) -> Option<Denied> {
        self.denied.get(act.id()).copied().filter(|denied| *denied != Denied::Stale)
    }
}

/// People of a list with the policy in force for each.
pub(super) struct Listing {
    pub(super) people: Vec<(Person, Effective)>,
    last_logins: Vec<Option<LastLogin>>,
    pub(super) next: Option<UserId>,
}

impl Gate {
    /// People by user name, from behind `after` on: those whom the asker serves. Blocks for the look-up.
    pub fn people_page(
        &self,
        asker: &Asker,
        query: &PeopleQuery,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<PeoplePage, Unserved> {
        let Listing { people, last_logins, next } =
            self.listed_people(asker, query, after, limit, Right::ViewPeople)?;
        let now = self.clock.now().wall;
        let rows = people.iter().zip(last_logins);
        let rows = rows.map(|((person, policy), last_login)| self.row(person, policy, last_login, now));
        Ok(PeoplePage { people: rows.collect::<Result<_, Fault>>()?, next })
    }

    /// How many people a list has, counted up to [`COUNT_MAX`].
    pub fn people_tally(&self, asker: &Asker, query: &PeopleQuery) -> Result<Tally, Unserved> {
        let filter = self.people_filter(asker, query, Right::ViewPeople)?;
        Ok(Tally::of(self.store.people_count(&filter, COUNT_MAX + 1)?, COUNT_MAX))
    }

    /// What the asker may see of what was asked for.
    fn people_filter(
        &self,
        asker: &Asker,
        query: &PeopleQuery,
        right: Right,
    ) -> Result<PeopleFilter, Unserved> {
        let (kind, firm) = match asker.kind {
            Kind::Desk => (Some(query.kind.unwrap_or(Kind::Administrator)), query.firm.clone()),
            Kind::Administrator | Kind::Trader | Kind::Service => {
                if query.firm.as_ref().is_some_and(|firm| asker.firm.as_ref() != Some(firm)) {
                    return Err(Unserved::NotFound);
                }
                (query.kind, asker.firm.clone())
            }
        };
        // Without a kind an administrator asks for all of the own firm, traders as well.
        self.may_look(asker, kind.unwrap_or(Kind::Trader), firm.as_ref(), right)?;
        // Who needs no authenticator is not missing one.
        let demanded = query.not_registered && self.policy_of(firm.as_ref())?.otp_demanded;
        Ok(PeopleFilter {
            auth_system: (query.not_registered && !demanded).then_some(AuthSystem::Otp),
            firm,
            kind,
            standing: query.standing,
            text: query.text.clone().filter(|text| !text.trim().is_empty()),
            registered: query.not_registered.then_some(false),
            locked: query.locked,
            never_signed_in: query.never_signed_in,
            link: query.link.map(|link| (link, self.clock.now().wall)),
        })
    }

    pub(super) fn listed_people(
        &self,
        asker: &Asker,
        query: &PeopleQuery,
        after: Option<&UserId>,
        limit: usize,
        right: Right,
    ) -> Result<Listing, Unserved> {
        let filter = self.people_filter(asker, query, right)?;
        let limit = limit.clamp(1, PEOPLE_MAX);
        let mut listed = self.store.people(&filter, after, limit + 1)?;
        let more = listed.len() > limit;
        listed.truncate(limit);
        let next = listed.last().filter(|_| more).map(|listed| listed.person.userid.clone());
        let mut policies = BTreeMap::new();
        let mut listing = Listing { people: Vec::new(), last_logins: Vec::new(), next };
        for listed in listed {
            let firm = listed.person.firm.clone();
            let policy = match policies.get(&firm) {
                Some(policy) => *policy,
                None => *policies.entry(firm.clone()).or_insert(self.policy_of(firm.as_ref())?),
            };
            listing.people.push((listed.person, policy));
            listing.last_logins.push(listed.last_login);
        }
        Ok(listing)
    }

    /// What is in force for the people of a firm, or of none.
    fn policy_of(&self, firm: Option<&FirmCode>) -> Result<Effective, Fault> {
        let what = firm.map_or(Load::Venue, |code| Load::Firm(code.clone()));
        Ok(effective(&self.store.load(&what)?))
    }

    fn row(
        &self,
        person: &Person,
        policy: &Effective,
        last_login: Option<LastLogin>,
        now: Wall,
    ) -> Result<PersonRow, Fault> {
        Ok(PersonRow {
            id: person.id,
            userid: person.userid.clone(),
            kind: person.kind,
            firm: person.firm.clone(),
            email: person.profile.email.clone(),
            auth_system: person.auth_system,
            flags: flags(person, policy, last_login.is_some(), now),
            link: self.link_view(person, now)?,
            last_login,
        })
    }

    fn link_view(&self, person: &Person, now: Wall) -> Result<Option<LinkView>, Fault> {
        let Some(link) = &person.link else { return Ok(None) };
        let by = link.by.map(|id| self.name_of(id)).transpose()?.flatten();
        Ok(Some(LinkView {
            state: link.state_name(now),
            is_live: link.is_live(now),
            handed: link.handed,
            made_at: link.made_at,
            expires_at: link.expires_at,
            by,
        }))
    }

    /// All that the asker may know of somebody; looking at another's people is written down, and finds nobody (Q1).
    pub async fn person_page(
        &self,
        asker: &Asker,
        id: PersonId,
        browser: &Browser,
    ) -> Result<PersonPage, Unserved> {
        let by = self.asking(asker)?;
        let asking = serve::Asker { person: &by, factor_at: asker.factor_at };
        let now = self.clock.now().wall;
        let snapshot = self.store.load(&Load::Person(id))?;
        let denied = match &snapshot.person {
            Some(target) => serve::may(&asking, Act::See, target, now).err(),
            None => Some(Denied::NotFound),
        };
        let (Some(person), None) = (&snapshot.person, denied) else {
            let denied = denied.unwrap_or(Denied::NotFound);
            let context = self.asking_context(asker, browser);
            let record = serve::refusal(&asking, Act::See, snapshot.person.as_ref(), denied, &context);
            self.write_refusal(record).await?;
            return Err(denied.into());
        };
        let policy = effective(&snapshot);
        let last_login = self.store.last_login(id)?;
        let may = |act: &Act| Some((act.id(), serve::may(&asking, *act, person, now).err()?));
        let seen = asking.holds(Right::ViewAudit);
        let mails = MailFilter { about: Some(id), ..MailFilter::default() };
        Ok(PersonPage {
            row: self.row(person, &policy, last_login, now)?,
            added_at: person.added_at,
            otp_demanded: policy.otp_demanded,
            password: password_view(person, asker.person),
            authenticator: authenticator_view(person),
            rights: person.profile.grant.as_ref().map(|grant| grant.rights.clone()).unwrap_or_default(),
            grant: person.profile.grant.clone().filter(|_| person.kind == Kind::Service),
            notices: person.notices.clone(),
            open_connections: self.live.seats(id).len(),
            mails: self.store.mails(&mails, None, MAILS)?,
            events: if seen { self.events_on(person)? } else { Vec::new() },
            no_mail: self.no_mail(person, &policy),
            no_show: no_show(person, &policy, asker.person),
            links_shown: policy.show_setup_link,
            version: person.version,
            denied: Act::ALL.iter().filter_map(may).collect(),
        })
    }

    fn events_on(&self, person: &Person) -> Result<Vec<EntryView>, Fault> {
        let filter =
            AuditFilter { person: Some(person.id), firm: person.firm.clone(), ..AuditFilter::default() };
        // The mails are listed by themselves.
        let is_mail =
            |event: Event| matches!(event, Event::MailQueued | Event::MailSent | Event::MailDelayed);
        let entries = self.store.audit(&filter, None, 2 * EVENTS)?;
        let shown = entries.into_iter().filter(|(_, entry)| !is_mail(entry.event)).take(EVENTS);
        Ok(shown.map(|(no, entry)| EntryView::of(no, entry)).collect())
    }

    /// Why no link can be mailed to somebody; the button says it.
    fn no_mail(&self, person: &Person, policy: &Effective) -> Option<String> {
        if let Some(why) = no_link(person, policy) {
            return Some(why.to_owned());
        }
        match (&person.profile.email, self.settings.mail) {
            (_, false) => Some("Mail is not set up on this server.".to_owned()),
            (None, true) => Some("There is no mail address.".to_owned()),
            (Some(_), true) => None,
        }
    }

    /// Mails that wait or did not go through, newest first, from before the one of this time and id on: an
    /// administrator's own firm's; all for the desk.
    pub fn unsent_mails(
        &self,
        asker: &Asker,
        before: Option<(Wall, MailId)>,
        limit: usize,
    ) -> Result<Vec<Queued>, Unserved> {
        let filter = MailFilter { unsent: true, ..self.mail_filter(asker)? };
        Ok(self.store.mails(&filter, before, limit.clamp(1, PEOPLE_MAX))?)
    }

    /// The mails that the asker may see.
    pub(super) fn mail_filter(&self, asker: &Asker) -> Result<MailFilter, Unserved> {
        match asker.kind {
            Kind::Desk => {}
            Kind::Administrator | Kind::Trader | Kind::Service => {
                self.may_look(asker, Kind::Trader, asker.firm.as_ref(), Right::ViewPeople)?;
            }
        }
        Ok(MailFilter { firm: asker.firm.clone(), ..MailFilter::default() })
    }
}

/// Why no link can be made for somebody at all.
fn no_link(person: &Person, policy: &Effective) -> Option<&'static str> {
    if person.standing == Standing::Disabled {
        Some("The account is disabled.")
    } else if !person.needs_otp(policy) {
        Some("The account uses a password alone.")
    } else if person.authenticator.is_registered() {
        Some("An authenticator is registered: reset it first.")
    } else {
        None
    }
}

/// Why no link can be shown to the asker.
fn no_show(person: &Person, policy: &Effective, asker: PersonId) -> Option<String> {
    if let Some(why) = no_link(person, policy) {
        return Some(why.to_owned());
    }
    if !policy.show_setup_link {
        return Some("The desk has not switched it on for this firm.".to_owned());
    }
    (policy.split_handover && password_view(person, asker).by_asker)
        .then(|| "Whoever knows the initial password may not see the link: it is mailed.".to_owned())
}

fn password_view(person: &Person, asker: PersonId) -> PasswordView {
    match &person.password {
        Password::Own { set_us, .. } => PasswordView { set_at: *set_us, expires_at: None, by_asker: false },
        Password::Initial { set_us, expires_us, by, .. } => {
            PasswordView { set_at: *set_us, expires_at: Some(*expires_us), by_asker: *by == Some(asker) }
        }
    }
}

fn authenticator_view(person: &Person) -> AuthenticatorView {
    let state = person.authenticator.state();
    let recovery_left = person.recovery.as_ref().map(|codes| codes.unused.len());
    let (factor, changed_at) = match &person.authenticator {
        Authenticator::None => (None, None),
        Authenticator::Pending { issued_us, .. } => (None, Some(*issued_us)),
        Authenticator::Active(factor) => (Some(factor), None),
        Authenticator::BackedOff { factor, until_us } => (Some(factor), Some(*until_us)),
        Authenticator::Locked { factor, since_us } => (Some(factor), Some(*since_us)),
        Authenticator::Revoked { at_us } => (None, Some(*at_us)),
    };
    AuthenticatorView {
        state,
        since: factor.map(|factor| factor.since),
        used_at: factor.map(|factor| factor.used_at),
        wrong: factor.map_or(0, |factor| factor.wrong),
        changed_at,
        recovery_left,
    }
}

fn flags(person: &Person, policy: &Effective, was_in: bool, now: Wall) -> Vec<Flag> {
    let mut flags = Vec::new();
    let mut raise = |flag: Flag, is_so: bool| {
        if is_so {
            flags.push(flag);
        }
    };
    raise(Flag::Disabled, person.standing == Standing::Disabled);
    raise(Flag::NotRegistered, person.needs_otp(policy) && !person.authenticator.is_registered());
    match &person.authenticator {
        Authenticator::Locked { .. } => raise(Flag::Locked, true),
        Authenticator::BackedOff { until_us, .. } => raise(Flag::BackedOff, now < *until_us),
        Authenticator::None
        | Authenticator::Pending { .. }
        | Authenticator::Active(_)
        | Authenticator::Revoked { .. } => {}
    }
    raise(Flag::NeverSignedIn, !was_in);
    match &person.password {
        Password::Own { .. } => {}
        Password::Initial { expires_us, .. } if now >= *expires_us => raise(Flag::PasswordExpired, true),
        Password::Initial { .. } => raise(Flag::InitialPassword, true),
    }
    raise(Flag::NoAddress, person.profile.email.is_none() && person.kind != Kind::Service);
    flags
}
