//! Recovery codes: made and shown once, kept as HMACs under the vault's pepper, good once each (T16).

use aws_lc_rs::digest::{Context as Digest, SHA256};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use doorward_core::id::PersonId;
use doorward_core::identity::recovery::{CODES, CodeHash, RecoveryCodes};
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use subtle::ConstantTimeEq as _;

use crate::fault::Fault;
use crate::vault::Vault;

/// Letters of a code: 50 bits in base32.
const LETTERS: usize = 10;

/// Codes just made: what is shown, and what is kept.
pub(super) struct Made {
    pub(super) shown: Vec<Secret<String>>,
    pub(super) kept: RecoveryCodes,
}

/// Makes codes for somebody.
pub(super) fn make(vault: &dyn Vault, person: PersonId, at: Wall) -> Result<Made, Fault> {
    let (mut shown, mut unused) = (Vec::with_capacity(CODES), Vec::with_capacity(CODES));
    for _ in 0..CODES {
        // 56 bits, of which the first 50 are taken.
        let mut bytes = zeroize::Zeroizing::new([0; 7]);
        vault.random(&mut *bytes)?;
        let mut letters = BASE32_NOPAD.encode(&*bytes);
        letters.truncate(LETTERS);
        let letters = Secret::new(letters);
        let peppered = vault.pepper(&bare(person, letters.expose()))?;
        unused.push(CodeHash { key: peppered.key, mac: HEXLOWER.encode(&peppered.mac) });
        let (one, two) = letters.expose().split_at(LETTERS / 2);
        shown.push(Secret::new(format!("{one}-{two}")));
    }
    Ok(Made { shown, kept: RecoveryCodes { made_at: at, unused } })
}

/// Which of somebody's unused codes was given, if any. All are compared, whatever was given.
pub(super) fn find(
    vault: &dyn Vault,
    person: PersonId,
    codes: Option<&RecoveryCodes>,
    given: &Secret<String>,
) -> Result<Option<usize>, Fault> {
    let letters = letters_of(given.expose());
    let bare = bare(person, letters.expose());
    let mut found = None;
    let mut under: Option<(&str, String)> = None;
    for (at, code) in codes.iter().flat_map(|codes| &codes.unused).enumerate() {
        // One HMAC for all codes under the same key: they were made together.
        if under.as_ref().is_none_or(|(key, _)| *key != code.key) {
            under = Some((&code.key, HEXLOWER.encode(&vault.pepper_with(&code.key, &bare)?)));
        }
        let mac = under.as_ref().map(|(_, mac)| mac.as_bytes()).unwrap_or_default();
        if bool::from(mac.ct_eq(code.mac.as_bytes())) {
            found = Some(at);
        }
    }
    Ok(found)
}

/// What the pepper is laid over: bound to its owner, so that equal codes of two people differ.
fn bare(person: PersonId, letters: &str) -> [u8; 32] {
    let mut digest = Digest::new(&SHA256);
    digest.update(b"recovery code\0");
    digest.update(&person.as_u64().to_be_bytes());
    digest.update(letters.as_bytes());
    let mut bare = [0; 32];
    bare.copy_from_slice(digest.finish().as_ref());
    bare
}

/// The letters of a code however it was typed; base32 has no 0, 1 and 8, which stand for what they look like.
fn letters_of(given: &str) -> Secret<String> {
    let mut letters = String::with_capacity(given.len());
    let bare = given.chars().filter(|c| !c.is_whitespace() && *c != '-').take(LETTERS + 1);
    letters.extend(bare.map(|c| match c.to_ascii_uppercase() {
        '0' => 'O',
        '1' => 'I',
        '8' => 'B',
        c => c,
    }));
    Secret::new(letters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{ChallengeSettings, SoftVault};

    #[test]
    fn t16_codes_are_ten_of_fifty_bits_kept_as_hmacs_and_found_however_they_are_typed() {
        let vault = SoftVault::in_memory(ChallengeSettings::default()).unwrap();
        let julian = PersonId::from_random(2);
        let Made { shown, kept } = make(&vault, julian, Wall::from_s(1)).unwrap();
        assert_eq!((shown.len(), kept.unused.len()), (10, 10));
        let stored = serde_json::to_string(&kept).unwrap();
        for (at, code) in shown.iter().enumerate() {
            let text = code.expose();
            assert_eq!(text.len(), 11, "{text}");
            assert!(!stored.contains(&text[..5]) && !stored.contains(&text[6..]));
            for typed in [
                text.clone(),
                text.to_lowercase(),
                text.replace('-', ""),
                format!(" {} ", text.replace('-', " ")),
            ] {
                let found = find(&vault, julian, Some(&kept), &Secret::new(typed)).unwrap();
                assert_eq!(found, Some(at));
            }
            let other = find(&vault, PersonId::from_random(4), Some(&kept), code).unwrap();
            assert_eq!(other, None, "it is its owner's only");
        }
        for wrong in ["", "-", "AAAAA-AAAAA", "AAAAAAAAAAAAAAAAAAAAAA", "💥💥💥💥💥💥💥💥💥💥"]
        {
            assert_eq!(
                find(&vault, julian, Some(&kept), &Secret::new(wrong.to_owned())).unwrap(),
                None,
                "{wrong}"
            );
        }
        assert_eq!(find(&vault, julian, None, &shown[0]).unwrap(), None);
    }

    #[test]
    fn t16_digits_that_look_like_letters_are_taken_for_them() {
        assert_eq!(letters_of("0l18o-abc2z").expose(), "OLIBOABC2Z");
    }
}
