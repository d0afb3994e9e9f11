//! What holds after data were put back from a backup: whatever may have been used since the backup is void (V8).

use std::collections::BTreeSet;
use std::time::Duration;

use super::enrolment::{Authenticator, Factor};
use super::fix_session::FixSession;
use super::key_pair::{Kept, KeyPair};
use super::person::Person;
use super::token::Tokens;
use super::totp::window;
use crate::audit::{Actor, Context, Entry, Event, Record};
use crate::id::{AccessKeyId, FirmCode, SessionId};
use crate::identity::change::Change;
use crate::identity::mail::Mail;
use crate::time::Wall;

/// How long before the instant that data reach a change of key pairs is unsure.
pub const UNSURE_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Most mails in one record, which has a largest size.
const MAILS_MAX: usize = 100;
/// Most key pairs that one text names.
const PAIRS_MAX: usize = 25;

/// How the detail of a record of [`Event::Restored`] begins.
const REACH: &str = "data reach to ";

impl Person {
    /// Voids what may have been used since a backup: tokens, a live setup link, a seed that waits for its first code,
    /// recovery codes, and all one-time passwords that could have been accepted up to now. Whether anything was.
    pub(super) fn restored(&mut self, at: Wall) -> bool {
        let before = self.clone();
        self.tokens = Tokens::default();
        self.recovery = None;
        self.link = self.link.as_ref().map(|link| link.revoked(at));
        self.authenticator = used_up(&before.authenticator, at);
        *self != before
    }
}

fn used_up(authenticator: &Authenticator, at: Wall) -> Authenticator {
    let of = |factor: &Factor| Factor { last_step: last_step(factor, at), ..factor.clone() };
    match authenticator {
        Authenticator::None => Authenticator::None,
        Authenticator::Pending { .. } => Authenticator::Revoked { at_us: at },
        Authenticator::Active(factor) => Authenticator::Active(of(factor)),
        Authenticator::BackedOff { factor, until_us } => {
            Authenticator::BackedOff { factor: of(factor), until_us: *until_us }
        }
        Authenticator::Locked { factor, since_us } => {
            Authenticator::Locked { factor: of(factor), since_us: *since_us }
        }
        Authenticator::Revoked { at_us } => Authenticator::Revoked { at_us: *at_us },
    }
}

/// The last step of which a code can have been good by now, as far as the drift is known.
fn last_step(factor: &Factor, at: Wall) -> u64 {
    let ahead = u64::try_from(*window(factor.drift).end()).unwrap_or(0);
    factor.last_step.max(factor.seed.parameters.step_at(at).saturating_add(ahead))
}

/// The record that a restored journal gets; where there are many mails, more records with what the first has no room for.
///
/// `reach` is the instant up to which the data reach, `words` say more of the backup; `mails` tell administrators of
/// unsure key pairs.
pub fn restored(reach: Wall, words: &str, mails: Vec<Mail>, actor: &Actor, context: &Context) -> Vec<Record> {
    let count = mails.len().div_ceil(MAILS_MAX).max(1);
    let mut mails = mails.into_iter().map(|mail| Change::MailQueued { mail: Box::new(mail) });
    let record = |nth: usize| {
        let (words, void) = match nth {
            1 => (words.to_owned(), Some(Change::Restored { at: context.at })),
            _ => (format!("mails of the same, {nth} of {count}"), None),
        };
        let entry = Entry::new(context, Event::Restored, actor.clone());
        let changes = void.into_iter().chain(mails.by_ref().take(MAILS_MAX)).collect();
        Record { entry: entry.with_detail(format!("{REACH}{reach}; {words}")), changes }
    };
    (1..=count).map(record).collect()
}

/// Unsure key pairs in a text of limited length.
pub fn pairs_in_words(pairs: &[&UnsurePair]) -> String {
    let words: Vec<String> = pairs.iter().take(PAIRS_MAX).map(|pair| pair.in_words()).collect();
    let words = words.join("; ");
    match pairs.len().saturating_sub(PAIRS_MAX) {
        0 => words,
        more => format!("{words}; and {more} more, see the console"),
    }
}

/// A key pair that may not be as it was: made or deleted shortly before the instant that data reach.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UnsurePair {
    /// Of which FIX session.
    pub session: SessionId,
    /// Its Access Key ID.
    pub id: AccessKeyId,
    /// When it was made or deleted.
    pub at: Wall,
    /// Whether it was deleted then.
    pub deleted: bool,
}

impl UnsurePair {
    /// For people.
    pub fn in_words(&self) -> String {
        let Self { session, id, at, deleted } = self;
        format!("FIX session {session}, key pair {id}, {} {at}", if *deleted { "deleted" } else { "made" })
    }
}

/// How far data reach since a restore.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    /// All that was decided before this instant is there.
    pub reach: Wall,
    /// When the data were put back.
    pub restored_at: Wall,
}

impl Reach {
    /// By an entry of [`restored`].
    pub fn of(entry: &Entry) -> Option<Self> {
        let (reach, _) = entry.detail.as_ref()?.strip_prefix(REACH)?.split_once(';')?;
        let reach = Wall::parse(reach).filter(|_| entry.event == Event::Restored)?;
        Some(Self { reach, restored_at: entry.at })
    }

    /// Whether something of this instant is unsure.
    fn makes_unsure(self, at: Wall) -> bool {
        at < self.restored_at && self.reach.since(at) <= UNSURE_WITHIN
    }
}

/// The unsure key pairs of a session, oldest first.
pub fn unsure_pairs(session: &FixSession, reach: Reach) -> Vec<UnsurePair> {
    session.pairs.iter().filter_map(|pair| unsure(session.id, pair, reach)).collect()
}

fn unsure(session: SessionId, pair: &KeyPair, reach: Reach) -> Option<UnsurePair> {
    let (at, deleted) = match pair.secret {
        Kept::Deleted { at_us } => (at_us, true),
        Kept::Secret { .. } | Kept::Expired => (pair.made_at, false),
    };
    reach.makes_unsure(at).then_some(UnsurePair { session, id: pair.id, at, deleted })
}

/// Whose administrators are to be told of unsure pairs.
pub fn firms_of<'a>(sessions: impl Iterator<Item = &'a FixSession>, reach: Reach) -> BTreeSet<FirmCode> {
    let unsure = sessions.filter(|session| !unsure_pairs(session, reach).is_empty());
    unsure.map(|session| session.firm.clone()).collect()
}
