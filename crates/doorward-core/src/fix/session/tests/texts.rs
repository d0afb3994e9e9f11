//! Every row of the table of texts, on the wire.

use std::collections::BTreeSet;

use super::{LOGGED_ON, Script, opened, trader};
use crate::fix::refusal::Refusal;
use crate::time::Wall;

/// Which row, what is played on a new connection, and the text.
const TEXTS: &[(Refusal, &str, &str)] = &[
    (
        Refusal::MissingTag,
        "logon -1400\n judged refused\n saved",
        "Invalid Logon. All Required Fields are not Present. Missing Tag 1400. Logout Forced",
    ),
    (
        Refusal::MissingTag,
        "logon -1604\n judged refused\n saved",
        "Invalid Logon. All Required Fields are not Present. Missing Tag 1604. Logout Forced",
    ),
    (
        Refusal::InvalidLogon,
        "logon -354|-355|-1400|-1401|-1402\n judged refused\n saved",
        "Invalid Logon. Logout Forced",
    ),
    (Refusal::InvalidLogon, "logon 49=ABC001U\n judged refused\n saved", "Invalid Logon. Logout Forced"),
    (Refusal::InvalidLogon, "logon 34=1\n judged refused\n saved", "Invalid Logon. Logout Forced"),
    (
        Refusal::WrongScheme,
        "logon 1400=CME-1-SHA-1\n judged refused\n saved",
        "Invalid Logon. Invalid EncryptedPasswordMethod(tag 1400). Logout Forced",
    ),
    (
        Refusal::InProgress,
        "logon 34=1\n judged ok\n in-progress\n saved",
        "Invalid Logon. Logon Already in Progress. Logout Forced",
    ),
    (
        Refusal::InProgress,
        "logon 34=1\n logon 34=1\n judged ok\n saved",
        "Invalid Logon. Logon Already in Progress. Logout Forced",
    ),
    (
        Refusal::TryAgainLater,
        "logon 34=1\n judged later\n saved",
        "Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced",
    ),
    (
        Refusal::TryAgainLater,
        "logon 34=1\n wait 5",
        "Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced",
    ),
    (
        Refusal::TryAgainLater,
        "logon 34=1\n judged ok\n unavailable\n saved",
        "Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced",
    ),
    (
        Refusal::FirstOfWeek,
        "logon 34=2\n judged ok\n yours 1/1\n saved",
        "Failed to reset sequence numbers at beginning of the week. Logout forced.",
    ),
    (
        Refusal::ResetFlag,
        "logon 34=1|141=Y\n judged ok\n yours 1/1\n saved",
        "Invalid Logon. ResetSeqNumFlag (141) must not be Y. Logout Forced",
    ),
    (
        Refusal::TooLow,
        "logon 34=4\n judged ok\n yours 7/12\n saved",
        "MsgSeqNum too low, expecting 7 but received 4. Logout forced.",
    ),
    (
        Refusal::InSessionSequence,
        "LOGGED_ON\n logon 34=2|141=Y\n judged ok\n saved",
        "In session logon message must have 34=1. Logout forced.",
    ),
    (
        Refusal::InSessionReset,
        "LOGGED_ON\n logon 34=1|141=N\n judged ok\n saved",
        "In session logon message must have 141=Y. Logout forced.",
    ),
    (
        Refusal::InitialIndicator,
        "logon 49=ABC001P\n judged refused\n saved",
        "Received initial logon message with Primary Indication = P + Expected U or N",
    ),
    (
        Refusal::InitialIndicator,
        "logon 49=ABC001B\n judged refused\n saved",
        "Received initial logon message with Primary Indication = B + Expected U or N",
    ),
    (
        Refusal::WrongIndicator,
        "LOGGED_ON\n 35=D|34=2|49=ABC001B|",
        "Received invalid fault tolerance indicator = (B) Logout forced.",
    ),
    (
        Refusal::AlreadyLoggedOn,
        "logon 34=1\n judged ok\n live\n saved",
        "Invalid Logon. Already logged on. Logout forced.",
    ),
    (
        Refusal::HeartBtIntMissing,
        "logon -108\n judged refused\n saved",
        "Error during logon. Heartbeat tag invalid.",
    ),
    (
        Refusal::HeartBtIntRange,
        "logon 108=4\n judged refused\n saved",
        "Error during logon. Heartbeat value invalid. Received: 4, expected value in range 5-60",
    ),
    (
        Refusal::HeartBtIntRange,
        "logon 108=61\n judged refused\n saved",
        "Error during logon. Heartbeat value invalid. Received: 61, expected value in range 5-60",
    ),
    (Refusal::NotPresent, "logon -50\n judged refused\n saved", "SenderSubID (50) tag is not present"),
    (Refusal::NotPresent, "logon 57=\n judged refused\n saved", "TargetSubID (57) tag is not present"),
    (Refusal::NotPresent, "logon -142\n judged refused\n saved", "SenderLocationID (142) tag is not present"),
    (
        Refusal::IncorrectValue,
        "logon 57=92\n judged refused\n saved",
        "TargetSubID (57) has an incorrect value: 92 should be G",
    ),
    (Refusal::Closed, "LOGGED_ON\n end week-closed", "Session closed. Logout forced."),
    (Refusal::Stopping, "LOGGED_ON\n end stopping", "Server is stopping. Please reconnect. Logout forced."),
    (
        Refusal::PortClosed,
        "logon 34=1\n judged closed\n saved",
        "(1000) CME Administered Port Closure Due to Invalid Number of Login Attempts Being Exceeded",
    ),
    (Refusal::Ended, "LOGGED_ON\n end key", "Session ended. Logout forced."),
    (Refusal::Ended, "LOGGED_ON\n end session", "Session ended. Logout forced."),
    (Refusal::Ended, "LOGGED_ON\n end operator", "Session ended. Logout forced."),
    (Refusal::Garbled, "LOGGED_ON\n GARBLED", "Too many garbled messages. Logout forced."),
    (Refusal::TooLong, "LOGGED_ON\n raw 8=FIX.4.2|9=99999|", "Message too long. Logout forced."),
    (
        Refusal::ResendInProgress,
        "LOGGED_ON\n 35=2|34=2|7=1|16=0|\n 35=2|34=3|7=1|16=0|",
        "Resend in progress",
    ),
];

/// The same for traders.
const TRADERS_TEXTS: &[(Refusal, &str, &str)] = &[
    (Refusal::PasswordMustChange, "LOGON\n verdict must-change", "password must be changed"),
    (Refusal::CodeRequired, "LOGON\n verdict code-needed", "one-time password required"),
    (
        Refusal::RegisterFirst,
        "LOGON\n verdict register",
        "register an authenticator first: https://portal.example",
    ),
    (Refusal::InvalidCode, "LOGON\n verdict code-refused", "invalid one-time password"),
    (Refusal::InvalidUser, "LOGON\n verdict refused", "invalid user or password"),
    (Refusal::Ended, "LOGON\n verdict granted\n yours 1/1\n end person", "Session ended. Logout forced."),
];

const TRADER: &str = "trader 34=1|49=julian|52=NOW|56=CME|98=0|108=30|554=secret|20030=123456|";

fn says(mut s: Script, lines: &str, text: &str) {
    let garbled = "raw 8=FIX.4.2|9=5|35=0|10=000|\n".repeat(11);
    let lines = lines.replace("LOGGED_ON", LOGGED_ON).replace("GARBLED", &garbled).replace("LOGON", TRADER);
    s.feed(&lines);
    let last = s.sent.last().unwrap();
    let kind = last.starts_with("35=5|") || last.starts_with("35=3|");
    assert!(kind && last.contains(&format!("|58={text}|")), "{last}\n instead of {text}");
}

#[test]
fn h6_every_row_of_the_table_of_texts_is_sent_where_it_is_due() {
    let mut seen: BTreeSet<Refusal> = BTreeSet::new();
    for (row, lines, text) in TEXTS {
        says(opened(), lines, text);
        seen.insert(*row);
    }
    for (row, lines, text) in TRADERS_TEXTS {
        says(trader(), lines, text);
        seen.insert(*row);
    }
    // Saturday noon, US Central.
    let mut saturday = opened();
    saturday.now.wall = Wall::parse("2026-11-28T18:00:00Z").unwrap();
    let text = "Session closed until 2026-11-29T16:30:00.000Z. Logout forced.";
    says(saturday, "logon 34=1\n judged ok\n saved", text);
    seen.insert(Refusal::ClosedUntil);
    let missing: Vec<_> = Refusal::ALL.iter().filter(|row| !seen.contains(row)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn h6_the_texts_are_the_pages_to_the_letter() {
    for (row, _, text) in TEXTS.iter().chain(TRADERS_TEXTS) {
        let mut rest = *text;
        // What stands between the placeholders, in order.
        for (at, part) in row.id().split('<').enumerate() {
            let fixed = if at == 0 { part } else { part.split_once('>').unwrap().1 };
            let found = rest.find(fixed).unwrap_or_else(|| panic!("{fixed} in {text}"));
            rest = &rest[found + fixed.len()..];
        }
    }
}
