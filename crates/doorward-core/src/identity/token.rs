//! Tokens: what a program gets for a customer whose login it had verified, and what lets that customer in for some hours.

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::change::Change;
use super::enrolment::Authenticator;
use super::person::{Password, Person, Standing};
use crate::id::PersonId;
use crate::limits::Limit;
use crate::time::Wall;

/// Random bytes of a token.
pub const TOKEN_BYTES: usize = 32;

/// SHA-256 of a token as it was shown. The token itself is kept nowhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenHash(pub [u8; 32]);

impl TokenHash {
    /// Reads 64 hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for TokenHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no SHA-256 in hexadecimal"))
    }
}

/// A token of somebody. It lets its person in, and changes neither password nor factor.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Token {
    /// Of the token as it was shown.
    pub hash: TokenHash,
    /// When it was made.
    #[serde(rename = "made_us")]
    pub made_at: Wall,
    /// From when on it is not good.
    #[serde(rename = "expires_us")]
    pub expires_at: Wall,
    /// Which program had it made.
    pub by: PersonId,
    /// What was proved: 0, a password; 1, a one-time password as well.
    pub level: u8,
}

/// Somebody's tokens, oldest first; at most [`Limit::TokensPerPerson`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that are kept, good or over.
    pub fn iter(&self) -> impl Iterator<Item = &Token> {
        self.0.iter()
    }

    /// The token of a hash, while it is good.
    pub fn live(&self, hash: &TokenHash, now: Wall) -> Option<&Token> {
        self.0.iter().find(|token| token.hash == *hash && now < token.expires_at)
    }

    /// With one more. What is over goes, and where there is no place left the oldest.
    #[must_use]
    pub fn with(&self, token: Token, now: Wall) -> Self {
        let mut tokens: Vec<Token> = self.0.iter().filter(|token| now < token.expires_at).cloned().collect();
        tokens.push(token);
        let most = usize::try_from(Limit::TokensPerPerson.max()).unwrap_or(usize::MAX);
        let beyond = tokens.len().saturating_sub(most);
        tokens.drain(..beyond);
        Self(tokens)
    }

    /// Without the token of a hash.
    #[must_use]
    pub fn without(&self, hash: &TokenHash) -> Self {
        Self(self.0.iter().filter(|token| token.hash != *hash).cloned().collect())
    }
}

/// Whether a change of somebody ends their tokens: another password, another factor or none, a lock, another
/// authentication system, disabling. Asked as the change is applied, so that no way to make it can forget them.
pub fn ends(person: &Person, change: &Change) -> bool {
    match change {
        Change::Password { password, .. } => !is_rehash(&person.password, password),
        Change::Authenticator { authenticator, .. } => is_another(&person.authenticator, authenticator),
        Change::Standing { standing, .. } => *standing == Standing::Disabled,
        Change::AuthSystem { auth_system, .. } => *auth_system != person.auth_system,
        Change::VenuePolicy { .. }
        | Change::Firm { .. }
        | Change::PersonAdded { .. }
        | Change::Profile { .. }
        | Change::KeyCodes { .. }
        | Change::Link { .. }
        | Change::Recovery { .. }
        | Change::Notices { .. }
        | Change::Tokens { .. }
        | Change::MailQueued { .. }
        | Change::MailState { .. }
        | Change::Halt { .. }
        | Change::FixSession { .. }
        | Change::SessionLock { .. }
        | Change::KeyUsed { .. }
        | Change::Stream { .. }
        | Change::Week { .. }
        | Change::Attempt { .. }
        | Change::AttemptsForgotten { .. }
        // It voids them itself, with all else that may have been used since.
        | Change::Restored { .. } => false,
    }
}

/// Whether it is the same password with its hash made anew (P9).
fn is_rehash(before: &Password, after: &Password) -> bool {
    before.rehashed(after.phc().clone()) == *after
}

/// Whether another authenticator is in force, or none any more; use of one, and waiting after wrong codes, is not that.
fn is_another(before: &Authenticator, after: &Authenticator) -> bool {
    let in_force = |authenticator: &Authenticator| match authenticator {
        Authenticator::Active(factor) | Authenticator::BackedOff { factor, .. } => {
            Some((factor.seed.version, factor.since))
        }
        Authenticator::None
        | Authenticator::Pending { .. }
        | Authenticator::Locked { .. }
        | Authenticator::Revoked { .. } => None,
    };
    match (in_force(before), in_force(after)) {
        (None, None) => {
            before.has_seed() != after.has_seed() || matches!(after, Authenticator::Locked { .. })
        }
        (before, after) => before != after,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::identity::enrolment::{Factor, Seed};
    use crate::identity::person::Phc;
    use crate::identity::sealed::Sealed;
    use crate::identity::totp::Parameters;

    const NOW: Wall = Wall::from_s(1_800_000_000);

    fn token(nth: u8, expires_at: Wall) -> Token {
        let by = PersonId::from_random(2);
        Token { hash: TokenHash([nth; 32]), made_at: NOW, expires_at, by, level: 1 }
    }

    fn factor(version: u32, wrong: u8) -> Factor {
        let sealed = Sealed { key: "k".into(), blob: "b".into() };
        let seed = Seed { sealed, version, parameters: Parameters::default() };
        Factor { seed, since: NOW, last_step: 1, drift: 0, wrong, used_at: NOW }
    }

    fn pending(version: u32) -> Authenticator {
        Authenticator::Pending { seed: factor(version, 0).seed, issued_us: NOW, wrong: 0, enrolment: None }
    }

    #[test]
    fn rule_9_a_token_is_good_until_its_end_and_only_its_own_hash_finds_it() {
        let end = NOW + Duration::from_secs(12 * 3_600);
        let tokens = Tokens::default().with(token(1, end), NOW);
        assert_eq!(tokens.live(&TokenHash([1; 32]), end - Duration::from_micros(1)).unwrap().level, 1);
        assert_eq!(tokens.live(&TokenHash([1; 32]), end), None);
        assert_eq!(tokens.live(&TokenHash([2; 32]), NOW), None);
        assert!(tokens.without(&TokenHash([1; 32])).is_empty());
        assert_eq!(tokens.without(&TokenHash([2; 32])), tokens);
    }

    #[test]
    fn l1_a_person_has_so_many_tokens_and_the_oldest_goes() {
        let end = NOW + Duration::from_secs(60);
        let tokens = (0..20).fold(Tokens::default(), |tokens, nth| tokens.with(token(nth, end), NOW));
        assert_eq!(tokens.iter().count() as u64, Limit::TokensPerPerson.max());
        assert!(tokens.live(&TokenHash([3; 32]), NOW).is_none());
        assert!(tokens.live(&TokenHash([4; 32]), NOW).is_some());
        let later = tokens.with(token(99, end + Duration::from_secs(60)), end);
        assert_eq!(later.iter().count(), 1, "what is over goes first");
    }

    #[test]
    fn rule_9_a_token_is_stored_as_its_hash_and_reads_back() {
        let tokens = Tokens::default().with(token(7, NOW + Duration::from_secs(60)), NOW);
        let text = serde_json::to_string(&tokens).unwrap();
        assert!(text.contains(&"07".repeat(32)), "{text}");
        assert_eq!(serde_json::from_str::<Tokens>(&text).unwrap(), tokens);
    }

    #[test]
    fn rule_9_another_factor_none_or_a_lock_ends_tokens_and_use_does_not() {
        let active = |version, wrong| Authenticator::Active(factor(version, wrong));
        let backed_off = Authenticator::BackedOff { factor: factor(1, 5), until_us: NOW };
        let locked = Authenticator::Locked { factor: factor(1, 10), since_us: NOW };
        let revoked = Authenticator::Revoked { at_us: NOW };
        for (before, after) in [
            (active(1, 0), active(1, 1)),
            (active(1, 5), backed_off.clone()),
            (backed_off.clone(), active(1, 0)),
            (pending(1), pending(2)),
            (Authenticator::None, Authenticator::None),
        ] {
            assert!(!is_another(&before, &after), "{} to {}", before.state(), after.state());
        }
        for (before, after) in [
            (active(1, 0), active(2, 0)),
            (active(1, 0), revoked.clone()),
            (active(1, 0), Authenticator::None),
            (active(1, 0), pending(2)),
            (backed_off, locked.clone()),
            (locked, active(1, 0)),
            (pending(1), active(1, 0)),
            (pending(1), revoked.clone()),
            (Authenticator::None, pending(1)),
            (revoked, pending(2)),
        ] {
            assert!(is_another(&before, &after), "{} to {}", before.state(), after.state());
        }
    }

    #[test]
    fn rule_9_a_hash_made_anew_is_no_change_of_the_password() {
        let own = |phc: &str, set_us| Password::Own { phc: Phc(phc.to_owned()), set_us };
        assert!(is_rehash(&own("a", NOW), &own("b", NOW)));
        assert!(!is_rehash(&own("a", NOW), &own("a", NOW + Duration::from_secs(1))));
        let initial = Password::Initial { phc: Phc("a".into()), set_us: NOW, expires_us: NOW, by: None };
        assert!(!is_rehash(&own("a", NOW), &initial));
    }
}
