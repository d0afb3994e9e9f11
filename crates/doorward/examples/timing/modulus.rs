//! The public RSA operation on blocks of any content, which no library offers for good reasons: here malformed
//! paddings are made with it.

/// Limbs of 2048 bits.
const LIMBS: usize = 32;
/// Bytes of a modulus, a block and a ciphertext.
pub(crate) const BYTES: usize = LIMBS * 8;
/// How a public key of the exponent 65537 ends in DER.
const EXPONENT: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];

type Number = [u64; LIMBS];

/// A modulus of 2048 bits, with what Montgomery's multiplication needs.
pub(crate) struct Modulus {
    n: Number,
    /// -1/n modulo 2^64.
    inverse: u64,
    /// 2^4096 modulo n.
    square: Number,
}

impl Modulus {
    /// Of a key's `SubjectPublicKeyInfo`; `None` unless it is RSA-2048 with the exponent 65537.
    pub(crate) fn of(spki: &[u8]) -> Option<Self> {
        let before = spki.strip_suffix(&EXPONENT)?;
        let bytes: &[u8; BYTES] = before.last_chunk()?;
        let n = number(bytes);
        // Newton's iteration doubles the bits that are right.
        let mut inverse = 1_u64;
        for _ in 0..6 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(n[0].wrapping_mul(inverse)));
        }
        let mut square = [0; LIMBS];
        square[0] = 1;
        for _ in 0..2 * 64 * LIMBS {
            square = doubled(&square, &n);
        }
        (n[0] & 1 == 1 && n[LIMBS - 1] >> 63 == 1).then_some(Self {
            n,
            inverse: inverse.wrapping_neg(),
            square,
        })
    }

    /// `block ^ 65537 mod n`; the block must be below n.
    pub(crate) fn encrypt(&self, block: &[u8; BYTES]) -> Vec<u8> {
        let base = self.product(&number(block), &self.square);
        let mut power = base;
        for _ in 0..16 {
            power = self.product(&power, &power);
        }
        power = self.product(&power, &base);
        let mut one = [0; LIMBS];
        one[0] = 1;
        let out = self.product(&power, &one);
        out.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
    }

    /// `a * b / 2^2048 mod n`.
    fn product(&self, a: &Number, b: &Number) -> Number {
        let mut sum = [0_u64; LIMBS + 2];
        for limb in a {
            let mut carry = 0;
            for at in 0..LIMBS {
                (sum[at], carry) = step(sum[at], *limb, b[at], carry);
            }
            carry_into(&mut sum, carry);
            let factor = sum[0].wrapping_mul(self.inverse);
            let (_, mut carry) = step(sum[0], factor, self.n[0], 0);
            for at in 1..LIMBS {
                (sum[at - 1], carry) = step(sum[at], factor, self.n[at], carry);
            }
            let (low, over) = sum[LIMBS].overflowing_add(carry);
            sum[LIMBS - 1] = low;
            sum[LIMBS] = sum[LIMBS + 1] + u64::from(over);
            sum[LIMBS + 1] = 0;
        }
        let mut out = [0; LIMBS];
        out.copy_from_slice(&sum[..LIMBS]);
        if sum[LIMBS] != 0 || !is_less(&out, &self.n) { minus(&out, &self.n) } else { out }
    }
}

/// `sum + a * b + carry`, low and high.
fn step(sum: u64, a: u64, b: u64, carry: u64) -> (u64, u64) {
    let all = u128::from(sum) + u128::from(a) * u128::from(b) + u128::from(carry);
    (all as u64, (all >> 64) as u64)
}

fn carry_into(sum: &mut [u64; LIMBS + 2], carry: u64) {
    let (low, over) = sum[LIMBS].overflowing_add(carry);
    sum[LIMBS] = low;
    sum[LIMBS + 1] += u64::from(over);
}

fn number(bytes: &[u8; BYTES]) -> Number {
    let mut limbs = [0; LIMBS];
    let (chunks, _) = bytes.as_chunks::<8>();
    for (limb, chunk) in limbs.iter_mut().rev().zip(chunks) {
        *limb = u64::from_be_bytes(*chunk);
    }
    limbs
}

fn doubled(number: &Number, n: &Number) -> Number {
    let mut out = [0; LIMBS];
    let mut carry = 0;
    for (to, from) in out.iter_mut().zip(number) {
        *to = from << 1 | carry;
        carry = from >> 63;
    }
    if carry == 1 || !is_less(&out, n) { minus(&out, n) } else { out }
}

fn is_less(a: &Number, b: &Number) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

fn minus(a: &Number, b: &Number) -> Number {
    let mut out = [0; LIMBS];
    let mut borrow = false;
    for at in 0..LIMBS {
        let (less, one) = a[at].overflowing_sub(b[at]);
        let (less, two) = less.overflowing_sub(u64::from(borrow));
        out[at] = less;
        borrow = one || two;
    }
    out
}
