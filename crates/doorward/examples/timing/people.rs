//! On whom logins are tried: people of each kind, so many that none of their counts comes to its limit, and sources of
//! their own.

use std::net::{IpAddr, Ipv4Addr};

use doorward::book::Store;
use doorward_core::audit::{Actor, Entry, Event, Record};
use doorward_core::id::{PersonId, UserId};
use doorward_core::identity::attempt::Tally;
use doorward_core::identity::change::Change;
use doorward_core::identity::person::{Person, Standing};
use doorward_core::time::Wall;

use super::Fallible;
use super::seed::{added, by_node, commit};

/// Tries on one person: fewer than the 100 wrong ones that a person has (S4).
const TRIES_EACH: usize = 80;
/// Tries from one source: fewer than the five wrong ones that a source has (S3).
const TRIES_FROM_SOURCE: usize = 4;
/// Longer than any measurement.
const FOR_LONG_S: i64 = 400 * 24 * 3_600;

/// What is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Wrong,
    Again,
    Planted,
    Unknown,
    Disabled,
    DisabledRight,
    BadCiphertext,
    BackedOff,
    PersonLimit,
    TokenWrong,
    TokenAgain,
    TokenUnknown,
}

impl Kind {
    /// Whether it is a login by token, which has no hash and is held against its own.
    pub(crate) const fn is_by_token(self) -> bool {
        matches!(self, Self::TokenWrong | Self::TokenAgain | Self::TokenUnknown)
    }

    const fn is_nobody(self) -> bool {
        matches!(self, Self::Unknown | Self::TokenUnknown)
    }
}

/// Every kind, with what it is called. The first three are the judge's own.
pub(crate) const KINDS: [(Kind, &str); 12] = [
    (Kind::Wrong, "wrong password"),
    (Kind::Again, "wrong password again"),
    (Kind::Planted, "wrong password + 5 µs"),
    (Kind::Unknown, "unknown user"),
    (Kind::Disabled, "disabled, wrong password"),
    (Kind::DisabledRight, "disabled, right password"),
    (Kind::BadCiphertext, "bad ciphertext"),
    (Kind::BackedOff, "backed off"),
    (Kind::PersonLimit, "at the person's limit"),
    (Kind::TokenWrong, "by token: wrong password"),
    (Kind::TokenAgain, "by token: wrong password again"),
    (Kind::TokenUnknown, "by token: unknown user"),
];

/// Who is tried when.
#[derive(Clone, Copy)]
pub(crate) struct People {
    each: usize,
}

impl People {
    pub(crate) const fn for_tries(tries: usize) -> Self {
        Self { each: tries.div_ceil(TRIES_EACH) }
    }

    /// The user id of a kind's n-th try; all are equally long.
    pub(crate) fn userid(self, kind: usize, attempt: usize) -> String {
        format!("person{kind:x}{:05}", attempt % self.each)
    }

    /// Where a kind's n-th try comes from: below a network of 256 x 256 x 256.
    pub(crate) fn source(self, network: u8, kind: usize, attempt: usize) -> IpAddr {
        let (kind_now, _) = KINDS[kind];
        // Who is backed off is so at one source.
        let turn = if kind_now == Kind::BackedOff { 0 } else { attempt / self.each / TRIES_FROM_SOURCE };
        let sources = TRIES_EACH / TRIES_FROM_SOURCE;
        let n = (kind * self.each + attempt % self.each) * sources + turn;
        // Neither .0 nor .255 at the end.
        let [high, middle, low] = [n / (200 * 250), n / 200 % 250, n % 200].map(|byte| byte as u8 + 1);
        IpAddr::V4(Ipv4Addr::new(network, high, middle, low))
    }

    /// Adds them all to a store; all have the password of the one that is given.
    pub(crate) fn add(self, store: &dyn Store, like: &Person, network: u8, now: Wall) -> Fallible<()> {
        for (number, (kind, _)) in KINDS.iter().enumerate().filter(|(_, (kind, _))| !kind.is_nobody()) {
            let mut records = Vec::new();
            for turn in 0..self.each {
                let id = PersonId::from_random(((number * self.each + turn + 1) as u64) << 20);
                let userid = UserId::parse(&self.userid(number, turn))?;
                let disabled = matches!(kind, Kind::Disabled | Kind::DisabledRight);
                let standing = if disabled { Standing::Disabled } else { Standing::Active };
                records.push(added(Person { id, userid, standing, version: 1, ..like.clone() }));
                let source = self.source(network, number, turn);
                match kind {
                    Kind::BackedOff => {
                        let until = Some(Wall::from_s(now.as_us() / 1_000_000 + FOR_LONG_S));
                        records.push(counted(
                            id,
                            source,
                            Tally { wrong: 5, until, good_at: None, last_at: now },
                            5,
                        ));
                    }
                    Kind::PersonLimit => {
                        let other = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
                        records.push(counted(
                            id,
                            other,
                            Tally { wrong: 4, last_at: now, ..Tally::default() },
                            100,
                        ));
                    }
                    Kind::Wrong
                    | Kind::Again
                    | Kind::Planted
                    | Kind::Unknown
                    | Kind::Disabled
                    | Kind::DisabledRight
                    | Kind::BadCiphertext
                    | Kind::TokenWrong
                    | Kind::TokenAgain
                    | Kind::TokenUnknown => {}
                }
            }
            commit(store, records)?;
        }
        Ok(())
    }
}

fn counted(person: PersonId, source: IpAddr, tally: Tally, wrong: u16) -> Record {
    let entry = Entry::new(&by_node(tally.last_at), Event::LoginRefused, Actor::Node);
    Record { entry, changes: vec![Change::Attempt { person, source, tally, wrong }] }
}
