//! What a new password must be (P1-P5).

use unicode_normalization::UnicodeNormalization;

use super::known;
use crate::id::{FirmCode, UserId};
use crate::limits::Limit;
use crate::secret::Secret;
use crate::table::table;

table! {
    /// A rule that a new password breaks. The id is the `reason` on the wire; the sentence is for people.
    pub enum Rule {
        TooShort = "too-short", "The password has too few characters.";
        TooLong = "too-long", "More than 128 characters or 150 bytes after NFKC, or more than the key carries.";
        Control = "control-character", "The password has a control character.";
        Common = "common", "The password is among the common or breached ones, or is a simple pattern.";
        HasUserId = "contains-user-id", "The password holds the user id.";
        HasFirm = "contains-firm", "The password holds the firm's name or code.";
        HasProduct = "contains-product", "The password holds the product's name.";
        SameAsPresent = "same-as-present", "The password is the present one.";
        PresentWrong = "present-password", "The present password is wrong.";
    }
}

/// Shortest part of a user id, firm or product name that a password must not hold, in characters.
const PART_CHARS_MIN: usize = 4;

/// Words of many firms' names: they give nobody away.
const COMMON_IN_NAMES: [&str; 22] = [
    "bank",
    "broker",
    "brokers",
    "capital",
    "commodities",
    "company",
    "derivatives",
    "exchange",
    "finance",
    "financial",
    "futures",
    "global",
    "group",
    "holding",
    "holdings",
    "international",
    "limited",
    "markets",
    "partners",
    "securities",
    "trading",
    "traders",
];

/// What a new password is held against.
#[derive(Clone, Debug)]
pub struct Against<'a> {
    /// Fewest code points (P1).
    pub chars_min: u16,
    /// Most bytes that the challenge key in use carries with either padding; 62 with a legacy RSA-1024 key.
    pub bytes_max: u64,
    /// Whose password it is to be.
    pub userid: &'a UserId,
    /// Their firm: code and name.
    pub firm: Option<(&'a FirmCode, &'a str)>,
    /// Names of products that a password must not hold.
    pub products: &'a [String],
}

/// Brings a password into the one form that is hashed (P3): NFKC. The same on every door.
pub fn normalise(password: &str) -> Secret<String> {
    Secret::new(gathered(password.nfkc()))
}

/// The characters in one piece of memory: a text that grows leaves copies of a secret behind.
fn gathered(chars: impl Iterator<Item = char> + Clone) -> String {
    let mut text = String::with_capacity(chars.clone().map(char::len_utf8).sum());
    text.extend(chars);
    text
}

/// Whether a normalised password can be anybody's at all; what cannot is never compared.
pub fn fits(normal: &str) -> bool {
    normal.len() as u64 <= Limit::PasswordBytes.max()
        && normal.chars().count() as u64 <= Limit::PasswordChars.max()
}

/// Holds a normalised new password against the rules; `breached` looks it up in the site's own list (P5).
pub fn check(normal: &str, against: &Against<'_>, breached: &dyn Fn(&str) -> bool) -> Result<(), Rule> {
    if !fits(normal) || normal.len() as u64 > against.bytes_max {
        return Err(Rule::TooLong);
    }
    if normal.chars().any(char::is_control) {
        return Err(Rule::Control);
    }
    if normal.chars().count() < usize::from(against.chars_min) {
        return Err(Rule::TooShort);
    }
    let folded = Secret::new(gathered(normal.chars().flat_map(char::to_lowercase)));
    check_folded(folded.expose(), against, breached)
}

fn check_folded(folded: &str, against: &Against<'_>, breached: &dyn Fn(&str) -> bool) -> Result<(), Rule> {
    let userid = against.userid.as_str();
    let local = userid.split('@').next().unwrap_or(userid);
    if holds(folded, userid) || holds(folded, local) {
        return Err(Rule::HasUserId);
    }
    if let Some((code, name)) = against.firm
        && (holds(folded, code.as_str()) || holds_any_word(folded, name))
    {
        return Err(Rule::HasFirm);
    }
    if holds(folded, "doorward") || against.products.iter().any(|product| holds(folded, product)) {
        return Err(Rule::HasProduct);
    }
    if known::is_common(folded) || breached(folded) { Err(Rule::Common) } else { Ok(()) }
}

fn holds(folded: &str, part: &str) -> bool {
    let part: String = part.nfkc().flat_map(char::to_lowercase).collect();
    part.chars().count() >= PART_CHARS_MIN && folded.contains(&part)
}

fn holds_any_word(folded: &str, name: &str) -> bool {
    let words = name.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
    holds(folded, name)
        || words.filter(|word| !COMMON_IN_NAMES.contains(&word.as_str())).any(|word| holds(folded, &word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judge(password: &str, chars_min: u16) -> Result<(), Rule> {
        let userid = UserId::parse("julian@example.com").unwrap();
        let code = FirmCode::parse("FINT").unwrap();
        let firm = Some((&code, "Fundamental Traders Ltd"));
        let products = ["Quotron".to_owned()];
        let against = Against { chars_min, bytes_max: 150, userid: &userid, firm, products: &products };
        check(normalise(password).expose(), &against, &|folded| folded == "the breached passphrase")
    }

    #[test]
    fn p1_the_shortest_password_depends_on_the_second_factor() {
        assert_eq!(judge("lumen-quart-9", 15), Err(Rule::TooShort));
        assert_eq!(judge("lumen-quart-9", 12), Ok(()));
        assert_eq!(judge("lumen-quart-9xy", 15), Ok(()));
        assert_eq!(judge("ümläut-quört-9", 15), Err(Rule::TooShort), "code points count, not bytes");
    }

    #[test]
    fn p2_longer_than_128_code_points_or_150_bytes_is_refused_never_cut() {
        let long: String = ('a'..='z').cycle().step_by(7).take(128).collect();
        assert_eq!(judge(&long, 15), Ok(()));
        assert_eq!(judge(&format!("{long}x"), 15), Err(Rule::TooLong));
        let wide: String = ["lüß", "çøå"].concat().repeat(13);
        assert!(wide.chars().count() <= 128 && wide.len() > 150 - 12);
        let fifty: String = (0..50).map(|n| char::from_u32(0x4E00 + n * 37).unwrap()).collect();
        assert_eq!((fifty.len(), judge(&fifty, 15)), (150, Ok(())));
        assert_eq!(judge(&format!("{fifty}x"), 15), Err(Rule::TooLong), "151 bytes");
    }

    #[test]
    fn p2_any_printing_character_is_taken_and_controls_are_not() {
        assert_eq!(judge("日本語 🦀 пароль 2 señor", 15), Ok(()));
        for control in ['\u{0}', '\n', '\u{7f}', '\u{85}', '\u{1b}'] {
            assert_eq!(
                judge(&format!("lumen quart{control}obsidian"), 15),
                Err(Rule::Control),
                "{control:?}"
            );
        }
    }

    #[test]
    fn p3_spellings_of_one_text_are_one_password() {
        assert_eq!(normalise("e\u{301}").expose(), normalise("é").expose());
        assert_eq!(normalise("ｐａｓｓ").expose(), "pass");
    }

    #[test]
    fn p4_no_composition_is_asked_for() {
        assert_eq!(judge("lumenquartobsidianferry", 15), Ok(()));
    }

    #[test]
    fn p5_names_and_known_passwords_are_refused_with_the_reason() {
        assert_eq!(judge("xx julian@example.com xx", 15), Err(Rule::HasUserId));
        assert_eq!(judge("JULIAN and the whale", 15), Err(Rule::HasUserId));
        assert_eq!(judge("lumen-FINT-obsidian", 15), Err(Rule::HasFirm));
        assert_eq!(judge("fundamental-obsidian", 15), Err(Rule::HasFirm));
        assert_eq!(judge("my-doorward-obsidian", 15), Err(Rule::HasProduct));
        assert_eq!(judge("my-quotron-obsidian", 15), Err(Rule::HasProduct));
        assert_eq!(judge("The Breached Passphrase", 15), Err(Rule::Common));
        assert_eq!(judge("passwordpassword", 15), Err(Rule::Common));
    }

    #[test]
    fn a_normalised_password_never_grew() {
        for text in ["", "plain", "e\u{301}", "ﷺ", "ｐａｓｓ"] {
            let normal = normalise(text);
            assert_eq!(normal.expose().capacity(), normal.expose().len(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn p3_normalising_twice_is_normalising_once(text in "\\PC{0,80}") {
            let once = normalise(&text);
            let twice = normalise(once.expose());
            prop_assert_eq!(once.expose(), twice.expose());
        }

        #[test]
        fn no_text_makes_the_rules_panic(text in any::<String>(), chars_min in 0u16..130) {
            let _ = judge(&text, chars_min);
        }
    }
}
