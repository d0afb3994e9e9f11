//! Challenge keys: short-lived RSA pairs, their turn-over, the replay set and implicit rejection.
//!
//! A pair is served for a while, accepted a while longer and then destroyed, by the monotonic clock. The next
//! one is made ahead of time. Where the private operation runs is behind [`RawPair`], so that an HSM shares all
//! of this.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use doorward_core::ask::{KeyId, Padding};
use doorward_core::limits::Limit;
use doorward_core::secret::Secret;
use doorward_core::time::{Mono, Now};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use zeroize::Zeroizing;

use super::unpad::{self, StandIn};
use super::{Challenge, CiphertextFact, Label, OpenError, OpenPassword, Opened, PASSWORD_LEN_MAX};
use crate::fault::Fault;

/// Seen ciphertexts of one pair, at which the next pair takes over early; at twice as many the pair is dead.
pub const REPLAY_MAX: usize = Limit::Replays.max() as usize;
/// What a ciphertext that is too short is filled with where it is hashed: the largest modulus is as long, in bytes.
const FILLING: [u8; 384] = [0; 384];

/// Life and size of challenge keys.
#[derive(Clone, Copy, Debug)]
pub struct ChallengeSettings {
    /// How long a pair is handed out; 60 s.
    pub serve: Duration,
    /// How much longer ciphertexts for it are opened; 35 s.
    pub accept_more: Duration,
    /// Size of the modulus: 2048 or 3072, and 1024 with the legacy switch.
    pub bits: u32,
    /// Allows 1024 bits (E6).
    pub legacy_rsa_1024: bool,
    /// Seen ciphertexts at which the next pair takes over early; [`REPLAY_MAX`].
    pub replay_max: usize,
}

impl Default for ChallengeSettings {
    fn default() -> Self {
        Self {
            serve: Duration::from_secs(60),
            accept_more: Duration::from_secs(35),
            bits: 2048,
            legacy_rsa_1024: false,
            replay_max: REPLAY_MAX,
        }
    }
}

impl ChallengeSettings {
    /// Whether pairs of this size may be made (E6); the text names the size, what is allowed, and the switch.
    pub fn check(&self) -> Result<(), Fault> {
        match (self.bits, self.legacy_rsa_1024) {
            (2048 | 3072, _) | (1024, true) => Ok(()),
            (1024, false) => Err(Fault::Vault(String::from(
                "challenge keys of 1024 bits are allowed by the switch legacy_rsa_1024 only, which is off",
            ))),
            (bits, _) => {
                Err(Fault::Vault(format!("challenge keys of {bits} bits: 2048 or 3072 are possible")))
            }
        }
    }
}

/// The private half of a pair, wherever it lies.
pub trait RawPair: Send + Sync {
    /// The modulus, big-endian, without leading zeros.
    fn modulus(&self) -> &[u8];
    /// The public half as X.509 `SubjectPublicKeyInfo`, DER.
    fn spki_der(&self) -> Result<Vec<u8>, Fault>;
    /// The private operation on a number in `2..=n-2`; input and output are as long as the modulus.
    fn private_raw(&self, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault>;
}

/// Makes a pair of so many bits; may take some 100 ms.
pub type MakePair = Box<dyn Fn(u32) -> Result<Box<dyn RawPair>, Fault> + Send + Sync>;

/// All pairs of a node.
pub struct ChallengeKeys {
    settings: ChallengeSettings,
    make: MakePair,
    state: Mutex<State>,
    /// Held while a pair is made, so that two are never made at once.
    making: Mutex<()>,
}

#[derive(Default)]
struct State {
    current: Option<(Arc<Pair>, Mono)>,
    next: Option<Arc<Pair>>,
    /// No longer handed out, with the instant of their end.
    retired: Vec<(Arc<Pair>, Mono)>,
}

struct Pair {
    id: KeyId,
    raw: Box<dyn RawPair>,
    spki_der: Arc<[u8]>,
    spki_base64: Arc<str>,
    /// Makes stand-ins and the names of seen ciphertexts; made with the pair and destroyed with it.
    rejection: hmac::Key,
    seen: Mutex<HashSet<[u8; 16]>>,
}

impl ChallengeKeys {
    /// No pair yet; the first [`Self::challenge`] or [`Self::tick`] makes it.
    pub fn new(settings: ChallengeSettings, make: MakePair) -> Result<Self, Fault> {
        settings.check()?;
        Ok(Self { settings, make, state: Mutex::default(), making: Mutex::new(()) })
    }

    /// Size of the pairs in bits.
    pub const fn bits(&self) -> u32 {
        self.settings.bits
    }

    /// See [`super::Vault::challenge`].
    pub fn challenge(&self, now: Now) -> Result<Challenge, Fault> {
        if let Some(challenge) = self.ready(now) {
            return Ok(challenge);
        }
        // None is ready: the first of all, or ticks have stopped. One caller makes it, the others wait for it.
        let _alone = locked(&self.making);
        if let Some(challenge) = self.ready(now) {
            return Ok(challenge);
        }
        let pair = self.make()?;
        locked(&self.state).next = Some(pair);
        self.ready(now).ok_or_else(|| Fault::Vault(String::from("no challenge key")))
    }

    /// See [`super::Vault::is_live`].
    pub fn is_live(&self, key: &KeyId, now: Now) -> bool {
        self.live(key, now).is_some()
    }

    /// See [`super::Vault::tick`].
    pub fn tick(&self, now: Now) -> Result<(), Fault> {
        let lacks_next = {
            let mut state = locked(&self.state);
            self.turn_over(&mut state, now);
            state.next.is_none()
        };
        if lacks_next && let Ok(_alone) = self.making.try_lock() {
            let pair = self.make()?;
            let mut state = locked(&self.state);
            state.next = Some(pair);
            self.turn_over(&mut state, now);
        }
        Ok(())
    }

    /// See [`super::Vault::open_password`].
    pub fn open_password(&self, request: &OpenPassword<'_>, now: Now) -> Result<Opened, OpenError> {
        let pair = self.live(request.key_id, now).ok_or(OpenError::NoSuchKey)?;
        let fresh = pair.see(request.ciphertext, self.seen_max()).ok_or(OpenError::NoSuchKey)?;
        pair.open(request, fresh).map_err(|fault| {
            if fresh {
                locked(&pair.seen).remove(&pair.name_of(request.ciphertext));
            }
            OpenError::Fault(fault)
        })
    }

    /// See [`super::Vault::forget_ciphertext`].
    pub fn forget_ciphertext(&self, key: &KeyId, ciphertext: &[u8]) {
        let state = locked(&self.state);
        let current = state.current.iter().chain(&state.retired);
        if let Some((pair, _)) = current.into_iter().find(|(pair, _)| pair.id == *key) {
            let name = pair.name_of(ciphertext);
            locked(&pair.seen).remove(&name);
        }
    }

    const fn seen_max(&self) -> usize {
        self.settings.replay_max.saturating_mul(2)
    }

    fn make(&self) -> Result<Arc<Pair>, Fault> {
        let raw = (self.make)(self.settings.bits)?;
        Pair::new(raw).map(Arc::new)
    }

    /// See [`super::Vault::ready_challenge`].
    pub fn ready(&self, now: Now) -> Option<Challenge> {
        let mut state = locked(&self.state);
        self.turn_over(&mut state, now);
        let (pair, since) = state.current.as_ref()?;
        let served = now.mono.since(*since);
        if !self.serves(pair, served) {
            return None;
        }
        let left = self.settings.serve.saturating_sub(served);
        Some(Challenge {
            key_id: pair.id.clone(),
            spki_der: Arc::clone(&pair.spki_der),
            spki_base64: Arc::clone(&pair.spki_base64),
            serve_until: now.wall + left,
            accept_until: now.wall + left + self.settings.accept_more,
            bits: self.settings.bits,
        })
    }

    fn serves(&self, pair: &Pair, served: Duration) -> bool {
        served < self.settings.serve && locked(&pair.seen).len() < self.settings.replay_max
    }

    /// Destroys what is dead and lets the next pair take over where it is due and ready.
    fn turn_over(&self, state: &mut State, now: Now) {
        state.retired.retain(|(_, end)| now.mono < *end);
        let due =
            state.current.as_ref().is_none_or(|(pair, since)| !self.serves(pair, now.mono.since(*since)));
        if !due {
            return;
        }
        // A current pair without a successor stays where it is: it is not handed out, only accepted to its end.
        let Some(next) = state.next.take() else { return };
        if let Some((pair, since)) = state.current.replace((next, now.mono)) {
            let end = now.mono.min(since + self.settings.serve) + self.settings.accept_more;
            if now.mono < end {
                state.retired.push((pair, end));
            }
        }
    }

    fn live(&self, key: &KeyId, now: Now) -> Option<Arc<Pair>> {
        let state = locked(&self.state);
        let life = self.settings.serve + self.settings.accept_more;
        let current = state.current.iter().map(|(pair, since)| (pair, *since + life));
        let retired = state.retired.iter().map(|(pair, end)| (pair, *end));
        let (pair, _) = current.chain(retired).find(|(pair, end)| pair.id == *key && now.mono < *end)?;
        (locked(&pair.seen).len() < self.seen_max()).then(|| Arc::clone(pair))
    }
}

impl Pair {
    fn new(raw: Box<dyn RawPair>) -> Result<Self, Fault> {
        let mut name = [0_u8; 12];
        let mut rejection = Zeroizing::new([0_u8; 32]);
        rand::fill(&mut name)
            .and_then(|()| rand::fill(&mut *rejection))
            .map_err(|_| Fault::Vault(String::from("no random bytes")))?;
        let id = KeyId::parse(&BASE64URL_NOPAD.encode(&name))
            .ok_or_else(|| Fault::Vault(String::from("a challenge key could not be named")))?;
        let der = raw.spki_der()?;
        Ok(Self {
            id,
            spki_base64: BASE64.encode(&der).into(),
            spki_der: der.into(),
            raw,
            rejection: hmac::Key::new(hmac::HMAC_SHA256, &*rejection),
            seen: Mutex::default(),
        })
    }

    /// Notes a ciphertext: whether it is new, or `None` where the set is full.
    fn see(&self, ciphertext: &[u8], max: usize) -> Option<bool> {
        let name = self.name_of(ciphertext);
        let mut seen = locked(&self.seen);
        if seen.len() >= max && !seen.contains(&name) {
            return None;
        }
        Some(seen.insert(name))
    }

    /// What a ciphertext is remembered by.
    fn name_of(&self, ciphertext: &[u8]) -> [u8; 16] {
        let mac = self.keyed(b"seen", ciphertext);
        let mut name = [0_u8; 16];
        name.copy_from_slice(&mac.as_ref()[..16]);
        name
    }

    /// Opens a ciphertext or makes the stand-in; the same work either way (E2).
    fn open(&self, request: &OpenPassword<'_>, fresh: bool) -> Result<Opened, Fault> {
        let size = self.raw.modulus().len();
        let fits_length = request.ciphertext.len() == size;
        let in_range = fits_length && is_in_range(request.ciphertext, self.raw.modulus());
        let allowed = match (request.padding, request.label) {
            (Padding::OaepSha256, Label::WebSocket | Label::Portal | Label::Api) => true,
            (Padding::Pkcs1, Label::WebSocket) => request.pkcs1_allowed,
            (Padding::Pkcs1, Label::Portal | Label::Api) => false,
        };
        // Made in any case, so that it takes as long.
        let instead = self.number_instead(request.ciphertext, size);
        let block = self.raw.private_raw(if in_range { request.ciphertext } else { &instead })?;
        let unpadded = match request.padding {
            Padding::Pkcs1 => unpad::pkcs1(&block),
            Padding::OaepSha256 => unpad::oaep(&block, request.label.bytes()),
        };
        let stand_in = self.stand_in(request.ciphertext);
        // The last that is assigned counts, so the order is the reverse of `CiphertextFact`.
        let facts = [
            (CiphertextFact::NotUtf8, !unpadded.is_utf8()),
            (CiphertextFact::TooLong, unpadded.is_too_long()),
            (CiphertextFact::BadPadding, !unpadded.good),
            (CiphertextFact::OutOfRange, public(!in_range)),
            (CiphertextFact::BadLength, public(!fits_length)),
            (CiphertextFact::PaddingNotAllowed, public(!allowed)),
            (CiphertextFact::Replayed, public(!fresh)),
        ];
        let mut fact = CiphertextFact::Good as u8;
        for (candidate, holds) in facts {
            fact.conditional_assign(&(candidate as u8), holds);
        }
        let good = fact.ct_eq(&(CiphertextFact::Good as u8));
        let password = Secret::new(unpad::choose(&unpadded, &stand_in, good));
        let fact = CiphertextFact::ALL.get(usize::from(fact)).copied().unwrap_or(CiphertextFact::BadPadding);
        Ok(Opened { password, fact })
    }

    /// A password that nobody has: 12 to 27 printable characters that depend on the ciphertext alone.
    fn stand_in(&self, ciphertext: &[u8]) -> StandIn {
        let mac = self.keyed(b"stand-in", ciphertext);
        let (length, characters) = (mac.as_ref()[0], &mac.as_ref()[1..]);
        let mut bytes = Zeroizing::new([0_u8; PASSWORD_LEN_MAX]);
        for (to, from) in bytes.iter_mut().zip(characters) {
            *to = b'!' + (from & 0x3f);
        }
        StandIn { bytes, len: 12 + u32::from(length & 0x0f) }
    }

    /// A number for the private operation where the ciphertext is none: in range, as the modulus has its top bit set.
    fn number_instead(&self, ciphertext: &[u8], size: usize) -> Zeroizing<Vec<u8>> {
        let mut number = unpad::mgf1(self.keyed(b"instead", ciphertext).as_ref(), size);
        if let Some(top) = number.first_mut() {
            *top = (*top & 0x7f) | 0x40;
        }
        number
    }

    /// What depends on a ciphertext and on this pair; one that is too short takes as long as one of the right length.
    fn keyed(&self, purpose: &[u8], ciphertext: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.rejection);
        context.update(purpose);
        context.update(&[0]);
        context.update(ciphertext);
        let missing = self.raw.modulus().len().saturating_sub(ciphertext.len());
        context.update(FILLING.get(..missing).unwrap_or(&FILLING));
        context.update(&ciphertext.len().to_be_bytes());
        context.sign()
    }
}

/// What the peer knows anyway, as a choice.
fn public(holds: bool) -> Choice {
    Choice::from(u8::from(holds))
}

/// Whether a number as long as the modulus lies in `2..=n-2`; both are the peer's own knowledge.
fn is_in_range(number: &[u8], modulus: &[u8]) -> bool {
    let (Some((last, upper)), Some((modulus_last, modulus_upper))) =
        (number.split_last(), modulus.split_last())
    else {
        return false;
    };
    let is_above_one = *last > 1 || upper.iter().any(|byte| *byte != 0);
    // The modulus is odd, so n - 1 differs from it in the last byte only.
    is_above_one && (upper, *last) < (modulus_upper, modulus_last.saturating_sub(1))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
