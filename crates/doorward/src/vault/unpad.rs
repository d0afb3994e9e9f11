//! Takes the padding off an RSA block in constant time, and picks what to go on with.
//!
//! No branch and no index here depends on the block's bytes. What is found is carried as [`Choice`] and numbers
//! until [`choose`] has picked between the message and its stand-in; only the length of what was picked shows.

use aws_lc_rs::digest::{SHA256, digest};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater, ConstantTimeLess};
use zeroize::Zeroizing;

use super::PASSWORD_LEN_MAX;

/// Length of a SHA-256 digest.
const HASH_LEN: usize = 32;

/// Fewest bytes of non-zero padding that PKCS#1 v1.5 allows (RFC 8017, 7.2.1).
const PS_LEN_MIN: usize = 8;

/// What was under the padding, or might have been.
pub struct Unpadded {
    /// Whether the padding is right.
    pub good: Choice,
    /// Length of the message in bytes; 0 where the padding is not right.
    len: u32,
    /// The message from the left, with zeros or rests behind it; at least [`PASSWORD_LEN_MAX`] bytes.
    message: Zeroizing<Vec<u8>>,
}

impl Unpadded {
    /// Whether the message has more than [`PASSWORD_LEN_MAX`] bytes.
    pub fn is_too_long(&self) -> Choice {
        self.len.ct_gt(&(PASSWORD_LEN_MAX as u32))
    }

    /// Whether the message is UTF-8; meaningless where it is too long.
    pub fn is_utf8(&self) -> Choice {
        utf8(&self.message[..PASSWORD_LEN_MAX], self.len)
    }
}

/// A password that stands in for one that is not there.
pub struct StandIn {
    /// The password from the left.
    pub bytes: Zeroizing<[u8; PASSWORD_LEN_MAX]>,
    /// Its length in bytes.
    pub len: u32,
}

/// The message where `good`, the stand-in otherwise. The length of what is returned is the first thing to show.
pub fn choose(unpadded: &Unpadded, stand_in: &StandIn, good: Choice) -> Vec<u8> {
    let len = u32::conditional_select(&stand_in.len, &unpadded.len, good);
    let mut out = Vec::with_capacity(PASSWORD_LEN_MAX);
    for (stand_in, message) in stand_in.bytes.iter().zip(unpadded.message.iter()) {
        out.push(u8::conditional_select(stand_in, message, good));
    }
    // The rest is wiped too: it lies behind the length of a vector that its owner wipes to its capacity.
    out.truncate(len as usize);
    out
}

/// PKCS#1 v1.5 (RFC 8017, 7.2.2): `00 02 PS 00 M` with at least 8 non-zero bytes of *PS*.
pub fn pkcs1(block: &[u8]) -> Unpadded {
    let byte = |at: usize| block.get(at).copied().unwrap_or(0xff);
    let mut good = byte(0).ct_eq(&0) & byte(1).ct_eq(&2);
    let (found, zero_at) = first(block, 2, |byte| byte.ct_eq(&0));
    good &= found & zero_at.ct_gt(&((2 + PS_LEN_MIN - 1) as u32));
    from_right(block, zero_at, good)
}

/// OAEP with SHA-256 and MGF1-SHA-256 (RFC 8017, 7.1.2): `00 maskedSeed maskedDB`.
///
/// The block must be at least 66 bytes long, which every modulus here is.
pub fn oaep(block: &[u8], label: &[u8]) -> Unpadded {
    let Some((&lead, rest)) = block.split_first().filter(|(_, rest)| rest.len() > 2 * HASH_LEN) else {
        return from_right(&[], 0, Choice::from(0));
    };
    let (masked_seed, masked_data) = rest.split_at(HASH_LEN);
    let seed = xor(masked_seed, &mgf1(masked_data, HASH_LEN));
    let data = xor(masked_data, &mgf1(&seed, masked_data.len()));
    let label_hash = digest(&SHA256, label);
    let mut good = lead.ct_eq(&0) & data[..HASH_LEN].ct_eq(label_hash.as_ref());
    // The first byte that is not zero must be 01; what follows it is the message.
    let (found, mark_at) = first(&data, HASH_LEN, |byte| !byte.ct_eq(&0));
    let mut mark = 0_u8;
    for (at, byte) in (0_u32..).zip(data.iter()) {
        mark.conditional_assign(byte, at.ct_eq(&mark_at));
    }
    good &= found & mark.ct_eq(&1);
    from_right(&data, mark_at, good)
}

/// MGF1 with SHA-256 (RFC 8017, B.2.1): `len` bytes.
pub fn mgf1(seed: &[u8], len: usize) -> Zeroizing<Vec<u8>> {
    let mut mask = Zeroizing::new(Vec::with_capacity(len + HASH_LEN));
    let mut input = Zeroizing::new(Vec::with_capacity(seed.len() + 4));
    for counter in 0_u32.. {
        if mask.len() >= len {
            break;
        }
        input.clear();
        input.extend_from_slice(seed);
        input.extend_from_slice(&counter.to_be_bytes());
        mask.extend_from_slice(digest(&SHA256, &input).as_ref());
    }
    mask.truncate(len);
    mask
}

/// Whether a byte from `from` on fits, and where the first such byte is.
fn first(bytes: &[u8], from: usize, fits: impl Fn(&u8) -> Choice) -> (Choice, u32) {
    let mut found = Choice::from(0);
    let mut at = 0_u32;
    for (index, byte) in (0_u32..).zip(bytes.iter()).skip(from) {
        let here = fits(byte) & !found;
        at.conditional_assign(&index, here);
        found |= here;
    }
    (found, at)
}

/// The bytes behind `mark_at`, moved to the left without showing how far.
fn from_right(bytes: &[u8], mark_at: u32, good: Choice) -> Unpadded {
    let size = bytes.len() as u32;
    let shift = u32::conditional_select(&size, &mark_at.wrapping_add(1), good);
    let len = u32::conditional_select(&0, &size.wrapping_sub(shift), good);
    let mut message = Zeroizing::new(Vec::with_capacity(bytes.len().max(PASSWORD_LEN_MAX)));
    message.extend_from_slice(bytes);
    let mut step = 1_usize;
    while step <= bytes.len() {
        let moves = !((shift & step as u32).ct_eq(&0));
        for to in 0..message.len() {
            // Ascending, so that what is read was not yet written in this round.
            let from = message.get(to + step).copied().unwrap_or(0);
            message[to].conditional_assign(&from, moves);
        }
        step *= 2;
    }
    let size = message.len().max(PASSWORD_LEN_MAX);
    message.resize(size, 0);
    Unpadded { good, len, message }
}

fn xor(left: &[u8], right: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(left.iter().zip(right).map(|(left, right)| left ^ right).collect())
}

/// Whether the first `len` of the bytes are UTF-8 (RFC 3629), without showing where they are not.
fn utf8(bytes: &[u8], len: u32) -> Choice {
    let within = |byte: u8, low: u8, high: u8| !byte.ct_lt(&low) & !byte.ct_gt(&high);
    let mut good = Choice::from(1);
    // How many bytes the character still needs, and between which two the next must lie.
    let (mut need, mut low, mut high) = (0_u8, 0x80_u8, 0xbf_u8);
    for (at, &byte) in (0_u32..).zip(bytes) {
        let inside = at.ct_lt(&len);
        let starts = need.ct_eq(&0);
        let (two, three, four) =
            (within(byte, 0xc2, 0xdf), within(byte, 0xe0, 0xef), within(byte, 0xf0, 0xf4));
        let start_fits = byte.ct_lt(&0x80) | two | three | four;
        let fits = (starts & start_fits) | (!starts & within(byte, low, high));
        good &= !inside | fits;

        let mut next_need = need.wrapping_sub(1);
        next_need.conditional_assign(&0, starts);
        next_need.conditional_assign(&1, starts & two);
        next_need.conditional_assign(&2, starts & three);
        next_need.conditional_assign(&3, starts & four);
        need.conditional_assign(&next_need, inside);
        // Overlong forms, surrogates and what lies above U+10FFFF show in the second byte.
        low = u8::conditional_select(&0x80, &0xa0, starts & byte.ct_eq(&0xe0));
        low.conditional_assign(&0x90, starts & byte.ct_eq(&0xf0));
        high = u8::conditional_select(&0xbf, &0x9f, starts & byte.ct_eq(&0xed));
        high.conditional_assign(&0x8f, starts & byte.ct_eq(&0xf4));
    }
    good & need.ct_eq(&0)
}

/// Body for fuzzing: what is found without showing it is what RFC 8017 says in plain words. The first byte says which
/// padding; of OAEP the block is made from the unmasked data that follow.
pub fn fuzz(bytes: &[u8]) {
    let Some((&kind, content)) = bytes.split_first() else { return };
    let (unpadded, plainly) = if kind & 1 == 0 {
        let plainly = content.strip_prefix(&[0, 2]).and_then(|rest| {
            let zero = rest.iter().position(|byte| *byte == 0)?;
            (zero >= PS_LEN_MIN).then(|| &rest[zero + 1..])
        });
        (pkcs1(content), plainly)
    } else {
        let Some((&lead, rest)) = content.split_first() else { return };
        // The hash of the label in front, so that chance need not find it.
        let label_hash = digest(&SHA256, b"label");
        let data = [label_hash.as_ref(), rest].concat();
        let seed = mgf1(content, HASH_LEN);
        let masked_data = xor(&data, &mgf1(&seed, data.len()));
        let masked_seed = xor(&seed, &mgf1(&masked_data, HASH_LEN));
        let block = [&[lead][..], &masked_seed, &masked_data].concat();
        let mark = rest.iter().position(|byte| *byte != 0).filter(|at| rest[*at] == 1);
        (oaep(&block, b"label"), mark.filter(|_| lead == 0).map(|at| &rest[at + 1..]))
    };
    assert_eq!(bool::from(unpadded.good), plainly.is_some(), "another judgement");
    let stand_in = StandIn { bytes: Zeroizing::new([b'x'; PASSWORD_LEN_MAX]), len: 12 };
    let Some(message) = plainly else {
        assert_eq!(choose(&unpadded, &stand_in, unpadded.good), [b'x'; 12]);
        return;
    };
    assert_eq!(bool::from(unpadded.is_too_long()), message.len() > PASSWORD_LEN_MAX);
    if message.len() <= PASSWORD_LEN_MAX {
        assert_eq!(bool::from(unpadded.is_utf8()), std::str::from_utf8(message).is_ok(), "{message:?}");
        assert_eq!(choose(&unpadded, &stand_in, unpadded.good), message, "another message");
    }
}

#[cfg(test)]
mod tests;
