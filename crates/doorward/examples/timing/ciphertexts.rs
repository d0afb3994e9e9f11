//! E3: the vault on malformed ciphertexts and on well-formed ones of a wrong password.

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use doorward::clock::Clock;
use doorward::vault::unpad::mgf1;
use doorward::vault::{ChallengeSettings, CiphertextFact, Label, OpenPassword, SoftVault, Vault};
use doorward_core::ask::{KeyId, Padding};

use super::modulus::{BYTES, Modulus};
use super::{Chance, Fallible, Tries, plant};

/// Tries that are prepared at a time, of each kind: the making of a ciphertext leaves the caches alike for all.
const AHEAD: usize = 16;
/// SHA-256.
const HASH: usize = 32;

/// What is wrong with a ciphertext.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Wrong,
    Again,
    Planted,
    FirstByte,
    /// PKCS#1: the block type; OAEP: the hash of the label.
    Marker,
    /// PKCS#1: seven bytes of padding; OAEP: no 01 behind the zeros.
    Separator,
    /// PKCS#1: no zero byte at all; OAEP: nothing but zeros.
    Endless,
    Chance,
    Empty,
    NotUtf8,
    TooLong,
    Short,
    AboveModulus,
    Half,
    Replayed,
}

const KINDS: [(Kind, &str); 15] = [
    (Kind::Wrong, "wrong password"),
    (Kind::Again, "wrong password again"),
    (Kind::Planted, "wrong password + 5 µs"),
    (Kind::FirstByte, "first byte not 0"),
    (Kind::Marker, "wrong block type or label"),
    (Kind::Separator, "padding too short, or no 01"),
    (Kind::Endless, "no message"),
    (Kind::Chance, "a number by chance"),
    (Kind::Empty, "empty password"),
    (Kind::NotUtf8, "not UTF-8"),
    (Kind::TooLong, "password too long"),
    (Kind::Short, "a byte short"),
    (Kind::AboveModulus, "above the modulus"),
    (Kind::Half, "half as long"),
    (Kind::Replayed, "seen before"),
];

/// A block before the public operation, for one padding.
struct Maker {
    chance: Chance,
    modulus: Modulus,
    padding: Padding,
}

impl Maker {
    fn make(&mut self, kind: Kind) -> Vec<u8> {
        match kind {
            Kind::Short => {
                let mut bytes = self.make(Kind::Wrong);
                bytes.pop();
                bytes
            }
            Kind::AboveModulus => vec![0xff; BYTES - 8].into_iter().chain(self.random::<8>()).collect(),
            Kind::Half => self.random::<{ BYTES / 2 }>().to_vec(),
            Kind::Chance => {
                let mut block: [u8; BYTES] = self.random();
                block[0] = 0;
                self.modulus.encrypt(&block)
            }
            Kind::Wrong
            | Kind::Again
            | Kind::Planted
            | Kind::FirstByte
            | Kind::Marker
            | Kind::Separator
            | Kind::Endless
            | Kind::Empty
            | Kind::NotUtf8
            | Kind::TooLong
            | Kind::Replayed => {
                let message = self.message(kind);
                let block = match self.padding {
                    Padding::Pkcs1 => self.pkcs1(kind, &message),
                    Padding::OaepSha256 => self.oaep(kind, &message),
                };
                self.modulus.encrypt(&block)
            }
        }
    }

    /// A password of 20 characters that nobody has, or what the kind says.
    fn message(&mut self, kind: Kind) -> Vec<u8> {
        let len = match (kind, self.padding) {
            (Kind::Empty, _) => 0,
            // More than any password may have, where the padding holds as much.
            (Kind::TooLong, Padding::Pkcs1) => 240,
            (Kind::TooLong, Padding::OaepSha256) => 190,
            (_, _) => 20, // as a usual password
        };
        let mut message: Vec<u8> = (0..len).map(|_| b'!' + self.chance.byte() % 64).collect();
        if kind == Kind::NotUtf8 {
            message[10] = 0xff;
        }
        message
    }

    fn pkcs1(&mut self, kind: Kind, message: &[u8]) -> [u8; BYTES] {
        let mut block = [0; BYTES];
        block[1] = 2;
        for byte in &mut block[2..] {
            *byte = 1 + self.chance.byte() % 255;
        }
        let at = BYTES - message.len();
        block[at..].copy_from_slice(message);
        block[at - 1] = 0;
        // Each of the others is well-formed.
        let flaws = [
            (Kind::FirstByte, 0, 1),
            (Kind::Marker, 1, 1),
            (Kind::Separator, 9, 0),
            (Kind::Endless, at - 1, 7),
        ];
        if let Some((_, at, byte)) = flaws.into_iter().find(|(flawed, _, _)| *flawed == kind) {
            block[at] = byte;
        }
        block
    }

    fn oaep(&mut self, kind: Kind, message: &[u8]) -> [u8; BYTES] {
        let label: &[u8] = if kind == Kind::Marker { b"portal" } else { b"" };
        let mut data = digest(&SHA256, label).as_ref().to_vec();
        data.resize(BYTES - HASH - 2 - message.len(), 0);
        data.push(if kind == Kind::Separator { 2 } else { 1 });
        data.extend_from_slice(message);
        if kind == Kind::Endless {
            data[HASH..].fill(0);
        }
        let mut seed: [u8; HASH] = self.random();
        let mask = mgf1(&seed, data.len());
        data.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
        let mask = mgf1(&data, HASH);
        seed.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
        let mut block = [0; BYTES];
        block[0] = u8::from(kind == Kind::FirstByte);
        block[1..=HASH].copy_from_slice(&seed);
        block[1 + HASH..].copy_from_slice(&data);
        block
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.chance.byte())
    }
}

/// What the vault must find, so that each kind is what it is called.
const fn fact(kind: Kind, padding: Padding) -> Option<CiphertextFact> {
    match (kind, padding) {
        (Kind::Wrong | Kind::Again | Kind::Planted | Kind::Empty, _) => Some(CiphertextFact::Good),
        (Kind::FirstByte | Kind::Marker | Kind::Separator | Kind::Endless, _) => {
            Some(CiphertextFact::BadPadding)
        }
        (Kind::NotUtf8, _) => Some(CiphertextFact::NotUtf8),
        // OAEP holds no more than is allowed.
        (Kind::TooLong, Padding::Pkcs1) => Some(CiphertextFact::TooLong),
        (Kind::TooLong, Padding::OaepSha256) => Some(CiphertextFact::Good),
        (Kind::Short | Kind::Half, _) => Some(CiphertextFact::BadLength),
        (Kind::AboveModulus, _) => Some(CiphertextFact::OutOfRange),
        (Kind::Replayed, _) => Some(CiphertextFact::Replayed),
        (Kind::Chance, _) => None,
    }
}

/// Tries each kind so often, with both paddings.
pub(crate) fn measure(tries: usize, out: &mut Tries) -> Fallible<()> {
    // One pair for all: its set of seen ciphertexts holds every try.
    let settings = ChallengeSettings { replay_max: usize::MAX / 4, ..ChallengeSettings::default() };
    let vault = SoftVault::in_memory(settings)?;
    // The clock stands, so that the pair lives.
    let now = Clock::system().now();
    let challenge = vault.challenge(now)?;
    let mut chance = Chance::new();
    for (padding, name) in [(Padding::Pkcs1, "PKCS1"), (Padding::OaepSha256, "OAEP")] {
        let modulus = Modulus::of(&challenge.spki_der).ok_or("no RSA-2048")?;
        let mut maker = Maker { chance: Chance::new(), modulus, padding };
        let open = |ciphertext: &[u8]| {
            let key_id: &KeyId = &challenge.key_id;
            let request =
                OpenPassword { key_id, padding, label: Label::WebSocket, pkcs1_allowed: true, ciphertext };
            vault.open_password(&request, now)
        };
        let mut left = tries;
        while left > 0 {
            let count = left.min(AHEAD);
            left -= count;
            let mut batch: Vec<(Kind, &str, Vec<u8>)> = KINDS
                .iter()
                .flat_map(|(kind, what)| (0..count).map(|_| (*kind, *what)).collect::<Vec<_>>())
                .map(|(kind, what)| (kind, what, maker.make(kind)))
                .collect();
            for (_, _, bytes) in batch.iter().filter(|(kind, _, _)| *kind == Kind::Replayed) {
                open(bytes).map_err(|_| "the key has gone")?;
            }
            chance.shuffle(&mut batch);
            for (kind, what, bytes) in &batch {
                let began = Instant::now();
                let opened = black_box(open(black_box(bytes)));
                if *kind == Kind::Planted {
                    plant();
                }
                let took = began.elapsed();
                let found = opened.map_err(|_| "the key has gone")?.fact;
                if fact(*kind, padding).is_some_and(|due| due != found) {
                    return Err(format!("{name}, {what}: the vault found {found:?}").into());
                }
                out.tell(&format!("{name}: {what}"), took, None)?;
            }
        }
    }
    Ok(())
}
