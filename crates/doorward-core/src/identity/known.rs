//! Passwords that many people use, as far as they are long enough to be allowed at all (P5).
//!
//! `common_passwords.txt` and `common_words.txt` are taken from the list of common passwords that Django 5 carries
//! (`django/contrib/auth/common-passwords.txt.gz`, BSD-3-Clause, compiled by Royce Williams): its entries of twelve
//! characters and more, and the plain words among its first 6,000. A site adds its own list with
//! `passwords.breach_list`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use zeroize::Zeroizing;

static PASSWORDS: LazyLock<BTreeSet<&str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").lines().collect());
static WORDS: LazyLock<BTreeSet<&str>> = LazyLock::new(|| include_str!("common_words.txt").lines().collect());

/// Rows of keys and other runs that people type along, forwards or backwards.
const RUNS: [&str; 9] = [
    "01234567890123456789",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop[]",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "qazwsxedcrfvtgbyhnujmik,ol.p;/",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
    "1q2w3e4r5t6y7u8i9o0p",
    "!@#$%^&*()",
];

/// Shortest piece that counts as a run.
const RUN_LEN_MIN: usize = 3;

/// Most digits around a common word that do not make a password of it: a date has eight.
const DIGITS_MAX: usize = 8;

/// Whether a folded password is in the list, is one short unit over and over, a few runs of keys, or one common word
/// (however often) with nothing but a few digits and signs, or a run of them, around it.
pub(super) fn is_common(folded: &str) -> bool {
    let bare = Zeroizing::new(folded.chars().filter(|c| c.is_alphanumeric()).collect::<String>());
    PASSWORDS.contains(folded)
        || [folded, bare.as_str()].into_iter().any(|text| is_repetition(text) || is_runs(text))
        || is_one_word(folded)
}

/// One unit of at most seven characters, at least twice.
fn is_repetition(folded: &str) -> bool {
    let chars: Zeroizing<Vec<char>> = Zeroizing::new(folded.chars().collect());
    (1..=7).any(|unit| chars.len() >= 2 * unit && chars.iter().zip(&chars[unit..]).all(|(a, b)| a == b))
}

/// At most four runs, end to end.
fn is_runs(folded: &str) -> bool {
    let mut rest = folded;
    for _ in 0..4 {
        let longest = longest_run(rest);
        if longest < RUN_LEN_MIN {
            return false;
        }
        rest = &rest[longest..];
        if rest.is_empty() {
            return true;
        }
    }
    false
}

/// Length in bytes of the longest run that the text begins with; runs are ASCII.
fn longest_run(text: &str) -> usize {
    let fits = |len: usize| {
        text.get(..len).is_some_and(|piece| {
            let backwards: Zeroizing<String> = Zeroizing::new(piece.chars().rev().collect());
            RUNS.iter().any(|run| run.contains(piece) || run.contains(backwards.as_str()))
        })
    };
    (RUN_LEN_MIN..=text.len()).take_while(|len| fits(*len)).last().unwrap_or(0)
}

fn is_one_word(folded: &str) -> bool {
    let digits = Zeroizing::new(folded.chars().filter(|c| c.is_numeric()).collect::<String>());
    if digits.chars().count() > DIGITS_MAX && !is_runs(&digits) && !is_repetition(&digits) {
        return false;
    }
    let mut words = folded.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return false };
    let Some(unit) = unit_of(first) else { return false };
    words.all(|word| unit_of(word) == Some(unit))
}

/// The common word that a text consists of, once or over and over.
fn unit_of(text: &str) -> Option<&str> {
    (5..=text.len()).filter(|len| text.len().is_multiple_of(*len)).find_map(|len| {
        let unit = text.get(..len)?;
        (WORDS.contains(unit) && text.len() == len * text.matches(unit).count()).then_some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p5_what_many_people_use_is_common() {
        for text in [
            "password12345678",
            "passwordpassword",
            "password-password-1",
            "123456789012345",
            "qwertyuiopasdfghjkl",
            "abcabcabcabcabc",
            "aaaaaaaaaaaaaaa",
            "1qaz2wsx3edc4rfv",
            "liverpool2024!!",
            "dragon19841225!",
            "monkey 123 456 789",
            "monkey777777777777",
            "dragon!!!!!!!!!!!!",
            "dragon-dragon-dragon-1",
            "!!!password!!!1",
            "12345 12345 12345",
            "1-2-3-4-5-6-7-8-9-0",
            "qwerty asdfgh zxcvbn",
            "x7lumenx7lumenx7lumen",
            "987654321987654321",
        ] {
            assert!(is_common(text), "{text}");
        }
    }

    #[test]
    fn p5_a_passphrase_of_several_words_is_not() {
        for text in [
            "dragon monkey lumen",
            "correct horse battery",
            "lumenquartobsidian",
            "mustang 83749 20475 11837",
            "dragon-7203-9415-6628",
            "liverpool to amsterdam",
            "a liverpool sunrise",
            "the-weather-is-fine",
            "my dog has fleas 42",
            "orange purple green yellow",
            "sunshine sunrise sunset",
            "abcissa-def-ghi-jklm",
            "was it a rat i saw?",
            "qwertz lumen quarto",
            "83749 20475 11837 5",
            "sunday-lumen-sunday",
            "1913 was not 1931 at all",
            "tomorrow tomorrow and tomorrow",
            "xk3-ferry-19-quartz",
            "пароль-океан-луна",
        ] {
            assert!(!is_common(text), "{text}");
        }
    }
}
