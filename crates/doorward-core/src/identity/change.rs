//! What a decision does to the book. Each change sets values as a whole; the mark in the book sees to it that each is
//! applied once.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::attempt::{Access, Tally};
use super::enrolment::Authenticator;
use super::firm::Firm;
use super::fix_session::FixSession;
use super::halt::{Halt, HaltScope};
use super::key_pair::LastUse;
use super::link::SetupLink;
use super::mail::{Mail, MailId, MailState};
use super::notice::Notice;
use super::person::{KeyCodes, Password, Person, Profile, Standing};
use super::policy::{AuthSystem, Policy};
use super::recovery::RecoveryCodes;
use super::token::{self, Tokens};
use crate::audit::Record;
use crate::id::{AccessKeyId, FirmCode, PersonId, SessionId};
use crate::stream::{Numbers, StreamKey};
use crate::time::Wall;

/// One change. The book, its rebuilding and the tables in memory all go through the same `apply`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "set", rename_all = "kebab-case")]
pub enum Change {
    /// The venue's policy.
    VenuePolicy {
        /// As it is from now on.
        policy: Policy,
    },
    /// A firm, new or changed, as a whole.
    Firm {
        /// As it is from now on.
        firm: Firm,
    },
    /// A new person, as a whole.
    PersonAdded {
        /// As they begin.
        person: Box<Person>,
    },
    /// A password.
    Password {
        /// Whose.
        person: PersonId,
        /// As it is from now on.
        password: Password,
    },
    /// An authenticator.
    Authenticator {
        /// Whose.
        person: PersonId,
        /// As it is from now on.
        authenticator: Authenticator,
        /// How many seeds were ever made for them.
        seeds: u32,
    },
    /// Whether somebody may come in.
    Standing {
        /// Who.
        person: PersonId,
        /// As it is from now on.
        standing: Standing,
    },
    /// How somebody proves themselves.
    AuthSystem {
        /// Who.
        person: PersonId,
        /// As it is from now on.
        auth_system: AuthSystem,
    },
    /// The rest of what is known of somebody.
    Profile {
        /// Of whom.
        person: PersonId,
        /// As it is from now on.
        profile: Box<Profile>,
    },
    /// One-time passwords that were accepted for key pairs on one day.
    KeyCodes {
        /// Whose.
        person: PersonId,
        /// As they are from now on.
        codes: KeyCodes,
    },
    /// A setup link, made, used, expired or taken back.
    Link {
        /// Whose.
        person: PersonId,
        /// As it is from now on; absent: there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<SetupLink>,
        /// When links were made for them within the last hour (K7).
        #[serde(default, rename = "made_us", skip_serializing_if = "Vec::is_empty")]
        made: Vec<Wall>,
    },
    /// Recovery codes.
    Recovery {
        /// Whose.
        person: PersonId,
        /// As they are from now on; absent: there are none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        codes: Option<RecoveryCodes>,
    },
    /// What an administrator is told of by mail.
    Notices {
        /// Which administrator.
        person: PersonId,
        /// As ticked from now on.
        notices: BTreeSet<Notice>,
    },
    /// Tokens, made, ended or over.
    Tokens {
        /// Whose.
        person: PersonId,
        /// As they are from now on.
        tokens: Tokens,
    },
    /// A mail to be sent.
    MailQueued {
        /// As it begins.
        mail: Box<Mail>,
    },
    /// What became of a mail.
    MailState {
        /// Which.
        mail: MailId,
        /// Where it stands from now on.
        state: MailState,
    },
    /// The emergency switch.
    Halt {
        /// For whom.
        scope: HaltScope,
        /// As it is thrown; absent: it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        halt: Option<Halt>,
    },
    /// A FIX session, new or changed, as a whole, with its key pairs.
    FixSession {
        /// As it is from now on.
        session: Box<FixSession>,
    },
    /// A FIX session was locked or opened again.
    SessionLock {
        /// Which.
        session: SessionId,
        /// Since when it is locked; absent: it is not.
        #[serde(default, rename = "locked_us", skip_serializing_if = "Option::is_none")]
        locked: Option<Wall>,
    },
    /// A key pair was used.
    KeyUsed {
        /// Of which FIX session.
        session: SessionId,
        /// Which.
        access_key: AccessKeyId,
        /// When, whence and by whom.
        used: LastUse,
    },
    /// The numbers of a stream; of two statements the one that supersedes the other holds.
    Stream {
        /// Which.
        stream: StreamKey,
        /// As they are from now on.
        numbers: Numbers,
    },
    /// A trading week began: all streams start again at 1 in it.
    Week {
        /// Which, as the calendar counts.
        week: u32,
    },
    /// Attempts from one source.
    Attempt {
        /// On whom.
        person: PersonId,
        /// From where.
        source: IpAddr,
        /// As it is from now on.
        tally: Tally,
        /// Wrong passwords in a row over all sources, from now on.
        wrong: u16,
    },
    /// All counts of attempts on somebody are forgotten; their sources stay known.
    AttemptsForgotten {
        /// On whom.
        person: PersonId,
    },
    /// The data were put back from a backup: of all people, what may have been used since is void (V8).
    Restored {
        /// When.
        #[serde(rename = "at_us")]
        at: Wall,
    },
}

/// What a change touches.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Target {
    /// The venue's policy.
    Venue,
    /// A firm.
    Firm(FirmCode),
    /// A person; versioned.
    Person(PersonId),
    /// The attempts on a person; not versioned, the gate's table in memory is ahead of the book.
    Access(PersonId),
    /// A FIX session and its key pairs; versioned.
    FixSession(SessionId),
    /// The lock of a FIX session and the last use of its keys; not versioned.
    SessionUse(SessionId),
    /// The numbers of a stream; not versioned.
    Stream(StreamKey),
    /// The trading week; it is its own version.
    Week,
    /// A mail; not versioned, only the sender changes it.
    Mail(MailId),
    /// An emergency switch; not versioned, the last word holds.
    Halt(HaltScope),
    /// All people at once; versioned each, and only while no node serves.
    Everybody,
}

impl Change {
    /// What this change touches.
    pub fn target(&self) -> Target {
        match self {
            Self::VenuePolicy { .. } => Target::Venue,
            Self::Firm { firm } => Target::Firm(firm.code.clone()),
            Self::PersonAdded { person } => Target::Person(person.id),
            Self::Password { person, .. }
            | Self::Authenticator { person, .. }
            | Self::Standing { person, .. }
            | Self::AuthSystem { person, .. }
            | Self::Profile { person, .. }
            | Self::KeyCodes { person, .. }
            | Self::Link { person, .. }
            | Self::Recovery { person, .. }
            | Self::Notices { person, .. }
            | Self::Tokens { person, .. } => Target::Person(*person),
            Self::MailQueued { mail } => Target::Mail(mail.id),
            Self::MailState { mail, .. } => Target::Mail(*mail),
            Self::Halt { scope, .. } => Target::Halt(scope.clone()),
            Self::FixSession { session } => Target::FixSession(session.id),
            Self::SessionLock { session, .. } | Self::KeyUsed { session, .. } => Target::SessionUse(*session),
            Self::Stream { stream, .. } => Target::Stream(*stream),
            Self::Week { .. } => Target::Week,
            Self::Attempt { person, .. } | Self::AttemptsForgotten { person } => Target::Access(*person),
            Self::Restored { .. } => Target::Everybody,
        }
    }
}

impl Person {
    /// The person as a record leaves them: what a second decision of the same batch judges.
    #[must_use]
    pub fn after(&self, record: &Record) -> Self {
        let mut next = self.clone();
        let own = record.changes.iter().filter(|change| change.target() == Target::Person(self.id));
        own.for_each(|change| next.apply(change));
        next
    }

    /// Applies a change that touches this person, and counts it. Changes of others are none of its business.
    pub fn apply(&mut self, change: &Change) {
        if token::ends(self, change) {
            self.tokens = Tokens::default();
        }
        match change {
            Change::PersonAdded { person } => {
                *self = person.as_ref().clone();
                return;
            }
            Change::Password { password, .. } => self.password = password.clone(),
            Change::Authenticator { authenticator, seeds, .. } => {
                self.authenticator = authenticator.clone();
                self.seeds = *seeds;
            }
            Change::Standing { standing, .. } => self.standing = *standing,
            Change::AuthSystem { auth_system, .. } => self.auth_system = *auth_system,
            Change::Profile { profile, .. } => self.profile = profile.as_ref().clone(),
            Change::KeyCodes { codes, .. } => self.key_codes = *codes,
            Change::Link { link, made, .. } => {
                self.link.clone_from(link);
                self.links_made.clone_from(made);
            }
            Change::Recovery { codes, .. } => self.recovery.clone_from(codes),
            Change::Notices { notices, .. } => self.notices.clone_from(notices),
            Change::Tokens { tokens, .. } => self.tokens.clone_from(tokens),
            Change::Restored { at } => {
                if !self.restored(*at) {
                    return;
                }
            }
            Change::VenuePolicy { .. }
            | Change::Firm { .. }
            | Change::FixSession { .. }
            | Change::SessionLock { .. }
            | Change::KeyUsed { .. }
            | Change::Stream { .. }
            | Change::Week { .. }
            | Change::MailQueued { .. }
            | Change::MailState { .. }
            | Change::Halt { .. }
            | Change::Attempt { .. }
            | Change::AttemptsForgotten { .. } => return,
        }
        self.version += 1;
    }
}

impl Access {
    /// Applies a change that touches these attempts.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Attempt { source, tally, wrong, .. } => self.set(*source, *tally, *wrong),
            Change::AttemptsForgotten { .. } => {
                self.wrong = 0;
                for tally in self.sources.values_mut() {
                    tally.wrong = 0;
                    tally.until = None;
                }
            }
            Change::VenuePolicy { .. }
            | Change::Firm { .. }
            | Change::PersonAdded { .. }
            | Change::Password { .. }
            | Change::Authenticator { .. }
            | Change::Standing { .. }
            | Change::AuthSystem { .. }
            | Change::Profile { .. }
            | Change::KeyCodes { .. }
            | Change::FixSession { .. }
            | Change::SessionLock { .. }
            | Change::KeyUsed { .. }
            | Change::Stream { .. }
            | Change::Week { .. }
            | Change::Link { .. }
            | Change::Recovery { .. }
            | Change::Notices { .. }
            | Change::Tokens { .. }
            | Change::MailQueued { .. }
            | Change::MailState { .. }
            | Change::Halt { .. }
            | Change::Restored { .. } => {}
        }
    }
}
