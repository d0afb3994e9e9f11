//! Mails that a record brings about: to whom it happened, and to administrators who ticked the notice. They are queued
//! in that very record, so that neither is without the other (Q5).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorward_core::audit::{Actor, Entry, Event, Record};
use doorward_core::id::{FirmCode, PersonId};
use doorward_core::identity::change::Change;
use doorward_core::identity::mail::{Mail, MailId, MailKind};
use doorward_core::identity::notice::Notice;
use doorward_core::identity::person::{Password, Person, Standing};
use doorward_core::limits::Limit;
use doorward_core::time::{Mono, Wall};

use crate::book::{Batch, Load};
use crate::fault::Fault;
use crate::gate::{Gate, error_text, random_u64};

/// Over which time mails are counted.
const HOUR: Duration = Duration::from_secs(3_600);

/// What the owner of an account is told of.
const OWNER: [(Event, MailKind); 9] = [
    (Event::AuthenticatorConfirmed, MailKind::Registered),
    (Event::AuthenticatorRevoked, MailKind::AuthenticatorReset),
    (Event::PasswordChanged, MailKind::PasswordChanged),
    (Event::PasswordSet, MailKind::PasswordSet),
    (Event::RecoveryCodesMade, MailKind::RecoveryCodes),
    (Event::RecoveryCodeUsed, MailKind::RecoveryCodes),
    (Event::EmailChanged, MailKind::EmailChanged),
    (Event::AuthenticatorUnlocked, MailKind::Unlocked),
    (Event::PersonDisabled, MailKind::Disabled),
];

/// What a mail is counted as.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum About {
    /// To the owner.
    Owner(MailKind),
    /// To somebody who ticked it.
    Notice(Notice),
}

impl About {
    const fn kind(self) -> MailKind {
        match self {
            Self::Owner(kind) => kind,
            Self::Notice(_) => MailKind::Notice,
        }
    }
}

/// One count: of a kind, to one recipient.
type Key = (PersonId, About);

/// Mails of one kind to one recipient within an hour.
#[derive(Debug)]
struct Count {
    began: Mono,
    queued: u64,
    more: u64,
}

/// How many mails were queued lately, so that a flood of events is no flood of mails.
#[derive(Debug, Default)]
pub(in crate::gate) struct Mails {
    counts: Mutex<BTreeMap<Key, Count>>,
}

/// The counts that the mails of a batch took; to be given back where it was not committed.
#[derive(Debug, Default)]
#[must_use = "give it back where the batch is not committed"]
pub(in crate::gate) struct Taken(Vec<(Key, bool)>);

impl Mails {
    /// Counts a mail; whether it is to be queued.
    fn take(&self, key: Key, now: Mono, taken: &mut Taken) -> bool {
        let mut counts = self.counts();
        let count = counts.entry(key).or_insert(Count { began: now, queued: 0, more: 0 });
        if now.since(count.began) >= HOUR {
            (count.began, count.queued) = (now, 0);
        }
        let fits = count.queued < Limit::MailsPerHour.max();
        if fits {
            count.queued += 1;
        } else {
            count.more += 1;
        }
        taken.0.push((key, fits));
        fits
    }

    /// Gives back what a batch took that was not committed.
    pub(in crate::gate) fn give_back(&self, taken: Taken) {
        let mut counts = self.counts();
        for (key, fits) in taken.0 {
            let Some(count) = counts.get_mut(&key) else { continue };
            let given_back = if fits { &mut count.queued } else { &mut count.more };
            *given_back = given_back.saturating_sub(1);
        }
    }

    /// Takes what is over: how many more there were of each kind for each recipient.
    fn take_over(&self, over: impl Fn(&Count) -> bool) -> Vec<(Key, u64)> {
        let mut counts = self.counts();
        let mut more = Vec::new();
        counts.retain(|key, count| {
            let is_over = over(count);
            if is_over && count.more > 0 {
                more.push((*key, count.more));
            }
            !is_over
        });
        more
    }

    /// Counts again what could not be told.
    fn put_back(&self, (key, more): (Key, u64), now: Mono) {
        let mut counts = self.counts();
        counts.entry(key).or_insert(Count { began: now, queued: 0, more: 0 }).more += more;
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<Key, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// Adds to each record the mails that it brings about. Without a mail server there are none.
    pub(in crate::gate) fn add_mails(&self, records: &mut [Record]) -> Result<Taken, Fault> {
        let mut taken = Taken::default();
        if !self.settings.mail {
            return Ok(taken);
        }
        for record in records {
            if let Err(fault) = self.add_mails_of(record, &mut taken) {
                self.web.mails.give_back(taken);
                return Err(fault);
            }
        }
        Ok(taken)
    }

    fn add_mails_of(&self, record: &mut Record, taken: &mut Taken) -> Result<(), Fault> {
        let (owner, notice) = (owner_mail(record), Notice::of(record));
        let recovered = record.entry.event == Event::OperatorRecovered;
        if owner.is_none() && notice.is_none() && !recovered {
            return Ok(()); // as good as always
        }
        let mut mails = Vec::new();
        let mut told = BTreeSet::new();
        if let Some((id, kind)) = owner
            && let Some(person) = self.store.load(&Load::Person(id))?.person
        {
            let fits = self.web.mails.take((id, About::Owner(kind)), self.clock.now().mono, taken);
            let addresses = addresses(&person, &record.changes);
            if fits && !addresses.is_empty() {
                told.insert(id);
            }
            for to in addresses.into_iter().filter(|_| fits) {
                mails.push(mail(to, About::Owner(kind), record));
            }
        }
        let firm = record.entry.firm.as_ref();
        let listeners = match notice {
            Some(notice) => self.people_told(firm, |person| person.notices.contains(&notice))?,
            None if recovered => self.people_told(None, |_| true)?,
            None => Vec::new(),
        };
        let about = notice.map_or(About::Owner(MailKind::OperatorRecovered), About::Notice);
        for (id, to) in listeners.into_iter().filter(|(id, _)| !told.contains(id)) {
            if self.web.mails.take((id, about), self.clock.now().mono, taken) {
                mails.push(mail(to, about, record));
            }
        }
        record.changes.extend(mails.into_iter().map(|mail| Change::MailQueued { mail: Box::new(mail) }));
        Ok(())
    }

    /// Administrators of a firm, or operators of the desk, who are to be told: with their addresses.
    fn people_told(
        &self,
        firm: Option<&FirmCode>,
        is_told: impl Fn(&Person) -> bool,
    ) -> Result<Vec<(PersonId, String)>, Fault> {
        let people = self.store.administrators(firm)?;
        let wanted =
            people.into_iter().filter(|person| person.standing == Standing::Active && is_told(person));
        Ok(wanted.filter_map(|person| Some((person.id, person.profile.email?))).collect())
    }

    /// Tells recipients whose hour is over how many more there were; `all`: as the node stops, the others too.
    pub(in crate::gate) async fn tell_of_more(&self, all: bool) {
        let now = self.clock.now();
        for (key, more) in self.web.mails.take_over(|count| all || now.mono.since(count.began) >= HOUR) {
            let queued = match self.mail_of_more(key, more, now.wall) {
                Ok(Some(record)) => {
                    let batch = Batch { expects: Vec::new(), records: vec![record] };
                    self.commit(batch).await.map(|_| ()).map_err(|error| error_text(&error))
                }
                Ok(None) => Ok(()), // the address has gone
                Err(fault) => Err(fault.to_string()),
            };
            if let Err(error) = queued {
                tracing::warn!(error, "a count of mails that were not queued still waits");
                self.web.mails.put_back((key, more), now.mono);
            }
        }
    }

    fn mail_of_more(&self, (id, about): Key, more: u64, at: Wall) -> Result<Option<Record>, Fault> {
        let Some(person) = self.store.load(&Load::Person(id))?.person else { return Ok(None) };
        let Some(to) = person.profile.email else { return Ok(None) };
        let entry = Entry::new(&self.node_context(at), Event::MailQueued, Actor::Node);
        let entry = Entry { firm: person.firm, ..entry };
        let detail = format!("{more} more of this kind within the hour: {}", words(about));
        let mut record = Record { entry: entry.with_detail(detail), changes: Vec::new() };
        let mail = mail(to, about, &record);
        record.changes.push(Change::MailQueued { mail: Box::new(mail) });
        Ok(Some(record))
    }
}

/// Whom a record happened to, and what they are told of it.
fn owner_mail(record: &Record) -> Option<(PersonId, MailKind)> {
    let entry = &record.entry;
    let owner = entry.subject.as_ref().map(|subject| subject.id).or_else(|| entry.actor.person())?;
    let listed = OWNER.iter().find(|(event, _)| *event == entry.event).map(|(_, kind)| *kind);
    let is_of_system = |change: &Change| matches!(change, Change::AuthSystem { .. });
    let other = record.changes.iter().any(is_of_system).then_some(MailKind::AuthSystemChanged);
    Some((owner, listed.or(other)?))
}

/// Where the owner's mail goes: with a new address to the old one, too.
fn addresses(person: &Person, changes: &[Change]) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = person.profile.email.iter().cloned().collect();
    for change in changes {
        if let Change::Profile { profile, .. } = change {
            all.extend(profile.email.clone());
        }
    }
    all
}

/// A mail with what its template needs; all of it is escaped where it is rendered (Q8).
fn mail(to: String, about: About, record: &Record) -> Mail {
    let entry = &record.entry;
    let (id, userid) = match (&entry.subject, &entry.actor) {
        (Some(subject), _) => (Some(subject.id), Some(subject.userid.clone())),
        (None, Actor::Person { id, userid }) => (Some(*id), Some(userid.clone())),
        (
            None,
            Actor::Unknown { .. }
            | Actor::FixSession { .. }
            | Actor::Local { .. }
            | Actor::Node
            | Actor::Nobody,
        ) => (None, None),
    };
    Mail {
        id: MailId::from_random(random_u64()),
        to,
        kind: about.kind(),
        queued_at: entry.at,
        firm: entry.firm.clone(),
        about: id,
        userid,
        values: values(about, record),
        secret: None,
    }
}

/// What a mail says beside its template's words.
fn values(about: About, record: &Record) -> BTreeMap<String, String> {
    let entry = &record.entry;
    let mut values = BTreeMap::new();
    let mut set = |name: &str, value: Option<String>| {
        values.extend(value.map(|value| (name.to_owned(), value)));
    };
    set("at_us", Some(entry.at.as_us().to_string()));
    set("by", Some(actor_words(&entry.actor)));
    set("source", entry.source.map(|source| source.to_string()));
    let session = entry.session.map(|session| format!("FIX session {session}"));
    match about {
        // What a program's verification says of itself is no reason.
        About::Owner(MailKind::Registered) => {}
        About::Owner(_) if entry.event != Event::MailQueued => set("reason", entry.detail.clone()),
        About::Owner(_) => set("detail", entry.detail.clone()),
        About::Notice(notice) => {
            set("notice", Some(notice.id().to_owned()));
            let told: Vec<String> = session.into_iter().chain(entry.detail.clone()).collect();
            set("detail", Some(told.join(", ")).filter(|told| !told.is_empty()));
        }
    }
    for change in &record.changes {
        if let Change::Recovery { codes, .. } = change {
            let done = if entry.event == Event::RecoveryCodeUsed { "used" } else { "made" };
            set("done", Some(done.to_owned()));
            set("left", Some(codes.as_ref().map_or(0, |codes| codes.unused.len()).to_string()));
        } else if let Change::AuthSystem { auth_system, .. } = change {
            set("new", Some(auth_system.name().to_owned()));
        } else if let Change::Password { password: Password::Own { .. }, .. } = change {
            set("done", Some("lasting".to_owned()));
        }
    }
    values
}

/// Who did it, in a few words.
pub(super) fn actor_words(actor: &Actor) -> String {
    match actor {
        Actor::Person { userid, .. } => userid.to_string(),
        Actor::Unknown { .. } | Actor::Nobody => "somebody unknown".to_owned(),
        Actor::FixSession { id, .. } => format!("FIX session {id}"),
        Actor::Local { .. } => "the operator of the server".to_owned(),
        Actor::Node => "the server".to_owned(),
    }
}

const fn words(about: About) -> &'static str {
    match about {
        About::Owner(kind) => kind.id(),
        About::Notice(notice) => notice.id(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l1_a_flood_of_one_kind_becomes_twenty_mails_and_a_count() {
        let mails = Mails::default();
        let key = (PersonId::from_random(2), About::Notice(Notice::SessionLocked));
        let other = (PersonId::from_random(2), About::Notice(Notice::Locked));
        let begin = Mono::from_ns(5);
        let mut taken = Taken::default();
        let queued = (0..10_000).filter(|_| mails.take(key, begin, &mut taken)).count();
        assert_eq!(queued as u64, Limit::MailsPerHour.max());
        assert!(mails.take(other, begin, &mut taken), "another kind has its own count");
        let over = |now: Mono| move |count: &Count| now.since(count.began) >= HOUR;
        assert_eq!(mails.take_over(over(begin)), []);
        assert_eq!(mails.take_over(over(begin + HOUR)), [(key, 9_980)]);
        assert!(mails.counts().is_empty(), "what is over is forgotten");
    }

    #[test]
    fn what_a_failed_batch_took_is_given_back() {
        let mails = Mails::default();
        let key = (PersonId::from_random(2), About::Owner(MailKind::Registered));
        let mut taken = Taken::default();
        for _ in 0..25 {
            mails.take(key, Mono::default(), &mut taken);
        }
        mails.give_back(taken);
        let mut taken = Taken::default();
        assert_eq!((0..25).filter(|_| mails.take(key, Mono::default(), &mut taken)).count(), 20);
        assert_eq!(mails.take_over(|_| true), [(key, 5)]);
    }
}
