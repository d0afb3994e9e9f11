//! The rules by their ids, each with a short title.

use std::collections::BTreeSet;

use super::Test;

/// A chapter: its title and its rules.
pub(super) struct Chapter {
    pub(super) title: &'static str,
    pub(super) rules: &'static [Rule],
}

/// A rule: its id, its title, and what is said of it beside its tests.
pub(super) struct Rule {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) note: &'static str,
}

const fn rule(id: &'static str, title: &'static str) -> Rule {
    Rule { id, title, note: "" }
}

/// A rule of which something is still to come, or is shown by something else than a test.
const fn noted(id: &'static str, title: &'static str, note: &'static str) -> Rule {
    Rule { id, title, note }
}

/// How many rules there are.
pub(super) fn count() -> usize {
    CHAPTERS.iter().map(|chapter| chapter.rules.len()).sum()
}

/// The id that this word of a name is.
pub(super) fn known(word: &str) -> Option<&'static str> {
    rules().map(|rule| rule.id).find(|id| id.eq_ignore_ascii_case(word))
}

/// The ids that no test bears.
pub(super) fn without(tests: &[Test]) -> impl Iterator<Item = &'static str> {
    let borne: BTreeSet<&str> = tests.iter().flat_map(Test::ids).collect();
    rules().map(|rule| rule.id).filter(move |id| !borne.contains(id))
}

fn rules() -> impl Iterator<Item = &'static Rule> {
    CHAPTERS.iter().flat_map(|chapter| chapter.rules)
}

/// All rules, in order.
pub(super) const CHAPTERS: &[Chapter] = &[
    Chapter { title: "Passwords", rules: PASSWORDS },
    Chapter { title: "One-time passwords", rules: CODES },
    Chapter { title: "Setup links", rules: LINKS },
    Chapter { title: "Attempts and sessions", rules: SESSIONS },
    Chapter { title: "Encrypted passwords", rules: ENCRYPTION },
    Chapter { title: "FIX", rules: FIX },
    Chapter { title: "Key pairs", rules: KEYS },
    Chapter { title: "Vault", rules: VAULT },
    Chapter { title: "Audit and administration", rules: AUDIT },
];

const PASSWORDS: &[Rule] = &[
    rule(
        "P1",
        "15 characters as the only factor, 12 beside a second one; a firm asks for more, never for less",
    ),
    rule("P2", "128 characters and 150 bytes at most, any that prints; what is longer is refused, not cut"),
    rule("P3", "one normal form before the hash, at all doors"),
    rule("P4", "no rule of composition, no change by age"),
    rule("P5", "common passwords, those of the site's list, and names in them are refused with the reason"),
    rule("P6", "a change takes the old one, can end other sessions, and is mailed to the owner"),
    rule("P7", "Argon2id at 19 MiB and two passes at least, calibrated upwards"),
    rule("P8", "hashes are peppered by the vault"),
    rule("P9", "raised parameters are taken over at the next login"),
    rule("P10", "hashing is bounded: who waits too long hears that the node is busy"),
    rule("P11", "an initial password is good once, must be changed at every door, and expires"),
    rule("P12", "pasting and password managers work"),
];

const CODES: &[Rule] = &[
    noted(
        "T1",
        "the vectors of RFC 6238 and 4226",
        "In software; in an HSM with PKCS#11, which is not there yet.",
    ),
    rule("T2", "seeds are as long as their hash"),
    rule("T3", "an authenticator keeps the parameters it was made with"),
    rule(
        "T4",
        "the server's clock only; one that steps stops codes, the weekly roll and expiry, and says so",
    ),
    rule("T5", "one step either side of the drift that is known"),
    noted("T6", "a step is used once, and no older one after it", "Two nodes on one store come later."),
    rule("T7", "the code that confirms is used up"),
    rule("T8", "exactly so many ASCII digits, compared in constant time"),
    rule("T9", "drift is learnt a step a login, ten at most"),
    rule("T10", "wrong and used codes count after a right password: a pause after 5, locked at 10"),
    rule("T11", "a seed is shown once"),
    rule("T12", "an unconfirmed seed lets in with its confirming code only, once"),
    rule("T13", "no second enrolment without an administrator"),
    rule("T14", "a factor is changed with fresh authentication only, and its owner is told"),
    noted(
        "T15",
        "a reset takes effect within a second and ends sessions",
        "On one node; several come later.",
    ),
    rule("T16", "recovery codes count once, are kept hashed, and a firm can switch them off"),
    rule("T17", "that a code was used is told after a right password only"),
];

const LINKS: &[Rule] = &[
    rule("K1", "128 random bits, kept as a hash, in no log and no Referer"),
    rule("K2", "one live link a person; re-issue, new address, disabling and reset end it"),
    rule("K3", "looking at a link does not use it up"),
    rule("K4", "a link without the password shows nothing"),
    rule("K5", "a link lives as long as the desk says, an enrolment 15 minutes"),
    rule("K6", "each look at a link is audited"),
    rule("K7", "five links an hour a person"),
    rule("K8", "five wrong passwords end a link"),
    rule("K9", "an enrolment belongs to the browser that began it"),
];

const SESSIONS: &[Rule] = &[
    noted(
        "S1",
        "what fails at a login looks and costs alike",
        "How far the times can be told apart is measured by statistics, beside the tests.",
    ),
    rule("S2", "an attempt counts before its hash is computed"),
    rule("S3", "a stranger locks nobody out: pauses are per user and source, and end no session"),
    rule("S4", "a hundred wrong ones in a row over all sources leave known sources only"),
    rule("S5", "one gate for all attempts"),
    rule("S6", "session tokens: 256 bits, kept hashed, new at each step up, in a strict cookie"),
    rule("S7", "sessions end by idleness and by age"),
    noted("S8", "disabling, reset and logout end all that is open within a second", "On one node."),
    rule("S9", "people see and end their own sessions"),
    rule("S10", "connections that are not logged in are bounded, and the oldest silent one makes room"),
    rule("S11", "no default account: a claim link makes the first operator"),
    rule("S12", "the queue for hashing is fair to every source"),
    rule("S13", "Origin and Host are checked"),
];

const ENCRYPTION: &[Rule] = &[
    noted(
        "E1",
        "the private key cannot be read out of the module",
        "Comes with PKCS#11, which is not there yet.",
    ),
    rule("E2", "a ciphertext that is wrong opens to a password that is wrong, never to an error"),
    noted(
        "E3",
        "malformed and well-formed wrong ciphertexts cost the same",
        "How far the times can be told apart is measured by statistics, beside the tests.",
    ),
    rule("E4", "a ciphertext counts once, keys die on time"),
    rule("E5", "PKCS#1 v1.5 can be switched off for a site and a firm"),
    rule("E6", "keys below 2048 bits take the legacy switch"),
    rule("E7", "off loopback a door speaks TLS or is not opened"),
    rule("E8", "a ciphertext of one door fails at the others"),
];

const FIX: &[Rule] = &[
    rule("F1", "a Logon that was not authenticated changes nothing that lasts"),
    rule("F2", "nothing is sent before the answer to the Logon"),
    rule("F3", "credentials of all kinds fail alike"),
    rule("F4", "the fifth refusal that names a key locks its session; strangers cannot"),
    rule("F5", "a replayed Logon is refused"),
    rule("F6", "bad bytes, slow bytes and 10,000 silent connections harm nobody else"),
    rule("F7", "credentials reach no log, record or back end"),
    rule("F8", "a power cut at any write loses nothing acknowledged and reuses no number"),
    rule("F9", "a Logon from before this process listened is refused"),
    rule("F10", "a repeated tag or a control character is refused before the signature"),
    rule("F11", "each unsigned tag added, stripped or changed"),
];

const KEYS: &[Rule] = &[
    rule("H1", "secret keys have 256 bits"),
    rule("H2", "two pairs at most, four weeks beside each other, twelve months each, by the calendar"),
    rule("H3", "owners are told before a key ends"),
    rule("H4", "a fresh code for each key made or shown, ten a day, each audited"),
    rule("H5", "stale and replayed Logons are refused"),
    rule("H6", "a refused Logon hears the contract's texts and no more"),
    rule("H7", "a deleted or expired key is dead within a second"),
];

const VAULT: &[Rule] = &[
    rule("V1", "a sealed field does not open in another row, firm or version"),
    rule("V2", "nonces never repeat"),
    noted("V3", "rotation of the key survives a crash at any point", "Rotation is not there yet."),
    noted(
        "V4",
        "an HSM that hangs or restarts: closed within 2 s, open again by itself",
        "Comes with PKCS#11.",
    ),
    noted("V5", "the PIN is in no log, argument or dump", "Comes with PKCS#11."),
    rule("V6", "planted canaries are found nowhere"),
    rule("V7", "a restore drill"),
    rule("V8", "a restore voids sessions, tokens and links, and no used code lives again"),
    rule("V9", "a backup without the key cannot be read"),
];

const AUDIT: &[Rule] = &[
    rule("Q1", "an administrator sees and changes the own firm only"),
    rule("Q2", "resets: fresh factor, not oneself, own firm, sessions ended, mail to the owner"),
    rule("Q3", "nobody sees a seed, a code, a password or another's secret"),
    rule("Q4", "each decision is written down with all that belongs to it"),
    rule("Q5", "a record and its effect are one"),
    rule("Q6", "records are chained and numbered, checkpoints signed, heads kept elsewhere"),
    rule("Q7", "`doorward audit verify` finds all kinds of tampering"),
    rule("Q8", "what a stranger writes is escaped wherever it is shown"),
    rule("Q9", "retention drops whole segments and keeps their heads"),
    rule("Q10", "floods of refusals are condensed; with little disk they are only counted"),
    rule("L1", "all that a stranger can grow has a limit, and a test that fills it"),
    noted(
        "W1",
        "webhooks reach https addresses that are allowed, and no others",
        "Webhooks are not there yet.",
    ),
    rule("N1", "the local socket knows who asks, and writes it down"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_there_once_and_in_order() {
        let ids: Vec<&str> = rules().map(|rule| rule.id).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        assert_eq!(count(), 99);
        assert_eq!(known("t17"), Some("T17"));
        assert_eq!(known("t18"), None);
    }
}
