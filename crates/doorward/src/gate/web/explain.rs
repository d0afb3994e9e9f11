//! Logon attempts in plain words: every check of a trace as a sentence, for whoever may see it.

use std::net::IpAddr;

use doorward_core::audit::{Door, Entry, Event, Factor, Named, Outcome};
use doorward_core::text::escape_untrusted;
use doorward_core::time::Wall;
use doorward_core::trace::{Check, Failure, Step, Trace, Walk};

use super::notify::actor_words;

/// One entry of the audit, to be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryView {
    /// Its number in the journal.
    pub no: u64,
    /// When.
    pub at: Wall,
    /// What happened.
    pub event: Event,
    /// How it ended.
    pub outcome: Outcome,
    /// Where it came in.
    pub door: Door,
    /// From which address.
    pub source: Option<IpAddr>,
    /// What was proved.
    pub factor: Factor,
    /// Who did it.
    pub actor: String,
    /// On whom, where that is somebody else; or how the user id begins that was named, where that is nobody.
    pub subject: Option<String>,
    /// What happened, in a sentence; of a refusal, why.
    pub words: String,
    /// The reason that was given, and whatever more is known.
    pub detail: Option<String>,
    /// The checks, in order; empty where there was no decision with checks.
    pub steps: Vec<StepView>,
}

/// One check, to be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepView {
    /// Which.
    pub check: Check,
    /// How it went.
    pub state: StepState,
    /// The same, in a sentence.
    pub words: String,
}

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StepState {
    /// It held.
    Passed,
    /// It did not apply.
    NotNeeded,
    /// It did not hold: the decision ended here.
    Failed,
    /// The decision had ended before.
    NotReached,
}

impl StepState {
    /// The name, for style sheets.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::NotNeeded => "not-needed",
            Self::Failed => "failed",
            Self::NotReached => "not-reached",
        }
    }
}

impl EntryView {
    /// An entry with its number.
    pub fn of(no: u64, entry: Entry) -> Self {
        let steps = entry.trace.as_ref().map(steps).unwrap_or_default();
        let failed = steps.iter().find(|step| step.state == StepState::Failed);
        let words = match (failed, entry.reason) {
            (Some(step), _) => step.words.clone(),
            (None, Some(reason)) => reason.doc().to_owned(),
            (None, None) => entry.event.doc().to_owned(),
        };
        Self {
            no,
            at: entry.at,
            event: entry.event,
            outcome: entry.outcome,
            door: entry.door,
            source: entry.source,
            factor: entry.factor,
            actor: actor_words(&entry.actor),
            subject: match (entry.subject, entry.named) {
                (Some(subject), _) => Some(subject.userid.to_string()),
                (None, named) => named.as_ref().map(named_words),
            },
            words,
            detail: entry.detail,
            steps,
        }
    }
}

/// A user id of which little is kept; a stranger's characters that are not seen are written out.
fn named_words(named: &Named) -> String {
    format!("{}… ({} characters)", escape_untrusted(&named.begins), named.chars)
}

/// Whether an entry is about somebody who tried to come in or to prove something.
pub(super) fn is_attempt(entry: &Entry) -> bool {
    entry.trace.as_ref().is_some_and(|trace| match trace.walk {
        Walk::Login
        | Walk::Code
        | Walk::SignIn
        | Walk::StepUp
        | Walk::Enrol
        | Walk::EnrolConfirm
        | Walk::Recovery
        | Walk::PasswordChange
        | Walk::TokenLogin
        | Walk::Verify
        | Walk::SignedLogon => true,
        Walk::LinkMake
        | Walk::RecoveryMake
        | Walk::Serve
        | Walk::Act
        | Walk::Claim
        | Walk::KeyCreate
        | Walk::KeyDownload
        | Walk::KeyDelete => false,
    })
}

/// Every check of a trace in plain words.
pub fn steps(trace: &Trace) -> Vec<StepView> {
    let view = |(check, step): (Check, Step<'_>)| {
        let (good, bad) = phrases(check);
        let (state, words) = match step {
            Step::Passed => (StepState::Passed, good.to_owned()),
            Step::NotNeeded => (StepState::NotNeeded, "This was not needed.".to_owned()),
            Step::Failed(failure) => (StepState::Failed, failed_words(trace.walk, failure, bad)),
            Step::NotReached => (StepState::NotReached, "This was not looked at any more.".to_owned()),
        };
        StepView { check, state, words }
    };
    trace.steps().map(view).collect()
}

/// Why a check failed, as exactly as it is known.
fn failed_words(walk: Walk, failure: &Failure, bad: &str) -> String {
    let mut words = match failure.check {
        Check::CodeMatches => off_words(&failure.seen).unwrap_or_else(|| bad.to_owned()),
        Check::AttemptAdmitted if failure.expected == "a known source" => {
            "After many wrong passwords only addresses from which the person came lately get through."
                .to_owned()
        }
        _ if walk == Walk::SignedLogon && !failure.seen.is_empty() => {
            format!("{bad} Expected: {}. There was: {}.", failure.expected, failure.seen)
        }
        _ => bad.to_owned(),
    };
    // As the decisions write it beside a code that counted.
    for (state, told) in [
        ("now locked", " The authenticator is locked now: an administrator unlocks it."),
        ("now backed-off", " Further codes must wait a little."),
        ("now revoked", " The registration has to begin anew."),
    ] {
        if failure.seen.ends_with(state) {
            words.push_str(told);
        }
    }
    words
}

/// "a step 120 s behind: …" → how far off the device is.
fn off_words(seen: &str) -> Option<String> {
    let (seconds, rest) = seen.strip_prefix("a step ")?.split_once(" s ")?;
    let seconds: u32 = seconds.parse().ok()?;
    let way = if rest.starts_with("behind") { "slow" } else { "fast" };
    Some(format!("The code was right, but the device is about {seconds} s {way}: its clock must be set."))
}

/// What is said where a check held, and where it did not.
fn phrases(check: Check) -> (&'static str, &'static str) {
    let found = PHRASES.iter().find(|(of, ..)| *of == check);
    found.map_or((check.doc(), check.doc()), |(_, good, bad)| (good, bad))
}

const PHRASES: &[(Check, &str, &str)] = &[
    (
        Check::KeyLive,
        "The password came encrypted with a key that is held.",
        "The key of the encrypted password was gone.",
    ),
    (
        Check::AttemptAdmitted,
        "Not too many wrong passwords came before.",
        "Too many wrong passwords came from this address: it had to wait.",
    ),
    (
        Check::CiphertextOpens,
        "The encrypted password could be read.",
        "The encrypted password could not be read.",
    ),
    (
        Check::CiphertextFresh,
        "The encrypted password was sent for the first time.",
        "The very same encrypted password had been sent before.",
    ),
    (Check::PaddingAllowed, "The way of encryption is allowed.", "The way of encryption is switched off."),
    (Check::PersonKnown, "The user name is known.", "Nobody has this user name."),
    (Check::PasswordMatches, "The password was right.", "The password was wrong."),
    (Check::PersonActive, "The account is active.", "The account is disabled."),
    (Check::FirmActive, "The firm is open.", "The firm is closed."),
    (Check::SourcePermitted, "The address is a permitted one.", "It did not come from a permitted address."),
    (
        Check::AuthenticatorUnlocked,
        "The authenticator is not locked.",
        "The authenticator is locked: an administrator unlocks it.",
    ),
    (
        Check::PasswordInForce,
        "The password has not expired.",
        "The initial password has expired: an administrator sets a new one.",
    ),
    (
        Check::AuthenticatorRegistered,
        "An authenticator is registered.",
        "The password was right, but no authenticator is registered.",
    ),
    (Check::CodeGiven, "A code came along.", "The password was right; a code was asked for."),
    (
        Check::ClockGood,
        "The server's clock is good.",
        "The server's clock had stepped: codes could not be checked.",
    ),
    (Check::CodeAdmitted, "No wait after wrong codes was due.", "After too many wrong codes it had to wait."),
    (Check::CodeMatches, "The code was right.", "The code was wrong."),
    (
        Check::CodeUnused,
        "The code was new.",
        "The code was right, but it or a later one had been used already.",
    ),
    (Check::NewPasswordGood, "The new password keeps the rules.", "The new password breaks a rule."),
    (Check::LogonWellFormed, "The Logon is well formed.", "The Logon is not well formed."),
    (
        Check::CredentialsGiven,
        "The Logon carries its credentials.",
        "The Logon does not carry all credentials.",
    ),
    (Check::FieldsGiven, "The Logon has all fields.", "The Logon lacks a field."),
    (Check::HeaderRight, "The header is right.", "The header is not as it must be."),
    (Check::HeartBtIntRight, "The heartbeat interval is right.", "The heartbeat interval is out of range."),
    (Check::SchemeNamed, "The scheme is named.", "Another scheme is named."),
    (Check::SignatureDecodes, "The signature can be read.", "The signature cannot be read."),
    (Check::CompIdKnown, "The SenderCompID is known.", "The SenderCompID is not known, or not permitted."),
    (
        Check::IndicatorPermitted,
        "The fault tolerance indicator is permitted.",
        "The fault tolerance indicator is not permitted.",
    ),
    (Check::SessionActive, "The FIX session is active.", "The FIX session is disabled."),
    (Check::AccessKeyKnown, "The access key is the session's.", "The access key is none of the session's."),
    (Check::AccessKeyLive, "The key pair is good.", "The key pair has expired or was deleted."),
    (
        Check::SessionUnlocked,
        "The FIX session is not locked.",
        "The FIX session is locked: an administrator opens it again.",
    ),
    (Check::OperatorPermitted, "The operator is permitted.", "The operator is not permitted."),
    (
        Check::SendingTimeFresh,
        "The sending time is that of now.",
        "The sending time is too far from now: the sender's clock must be set.",
    ),
    (
        Check::SignatureMatches,
        "The signature is right.",
        "The signature is wrong: another secret key, or another message.",
    ),
    (Check::LogonUnseen, "The Logon came for the first time.", "The very same Logon had come before."),
    (
        Check::AfterListening,
        "The Logon was sent after the server began to listen.",
        "The Logon was sent before the server began to listen.",
    ),
    (Check::StreamFree, "Nobody else is logged on.", "Somebody else is logged on, or is just logging on."),
    (Check::WeekOpen, "The trading week is open.", "The trading week is closed."),
    (Check::ResetFlagRight, "The reset flag is right.", "The reset flag is not as it must be."),
    (Check::SequenceRight, "The sequence number is right.", "The sequence number is too low."),
    (Check::RightHeld, "The right for it was given.", "The right for it was not given."),
    (
        Check::HoursOpen,
        "Key pairs are made and shown now.",
        "Key pairs are not made or shown at this time of the week.",
    ),
    (Check::PairsAdmitted, "There is room for a key pair.", "There are two key pairs already."),
    (
        Check::DoorsOpen,
        "No emergency switch is thrown.",
        "The emergency switch is thrown: nobody is let in at present.",
    ),
    (Check::KindPermitted, "It is a person.", "A program does not sign in with a browser."),
    (Check::LinkLive, "The setup link works.", "The setup link has expired, was used or was taken back."),
    (
        Check::LinkGiven,
        "No setup link is needed, or one came along.",
        "A setup link is needed, and none came along.",
    ),
    (Check::OtpChosen, "A one-time password is to be used.", "The account uses a password alone."),
    (
        Check::AuthenticatorFree,
        "No authenticator is registered yet.",
        "An authenticator is registered already: an administrator resets it first.",
    ),
    (Check::PasswordOwn, "The password is one's own.", "The initial password must be changed first."),
    (
        Check::EnrolmentLive,
        "The registration belongs to this browser.",
        "The registration was begun in another browser, or more than 15 minutes ago.",
    ),
    (
        Check::LinkAdmitted,
        "Not too many links were made within the hour.",
        "Five setup links were made within the hour.",
    ),
    (Check::LinkShown, "The link may be shown.", "The link may not be shown: it is mailed."),
    (
        Check::AddressGiven,
        "There is an address to mail to.",
        "There is no address to mail to, or mail is not set up.",
    ),
    (Check::RecoveryOn, "Recovery codes are switched on.", "Recovery codes are switched off."),
    (
        Check::RecoveryCodeMatches,
        "The recovery code was right.",
        "The recovery code was wrong, or used before.",
    ),
    (Check::AskerAllowed, "The asker may do this.", "The asker may not do this."),
    (Check::NotOneself, "It was done to somebody else.", "Nobody does this to themselves."),
    (Check::FactorFresh, "A fresh code was given.", "A fresh code was missing."),
    (Check::TokenLive, "The token is good.", "The token is not good: it has ended, or is another's."),
    (Check::DeskUnclaimed, "There was no operator yet.", "There is an operator already."),
    (Check::CodesLeft, "Codes were left for this day.", "The codes for key pairs of this day are used up."),
];

#[cfg(test)]
mod tests {
    use doorward_core::audit::{Actor, AttemptId, Context};

    use super::*;

    #[test]
    fn every_check_has_its_sentences_and_none_has_two() {
        for check in Check::ALL {
            assert_eq!(PHRASES.iter().filter(|(of, ..)| of == check).count(), 1, "{check}");
        }
    }

    #[test]
    fn q4_q8_what_was_named_in_the_place_of_somebody_is_shown_there() {
        let origin = Context { at: Wall::from_s(1), door: Door::Node, source: None, attempt: AttemptId(1) };
        let view = |entry: Entry| EntryView::of(1, entry).subject;
        let entry = Entry::new(&origin, Event::VerifyRefused, Actor::Node);
        assert_eq!(view(entry.clone()), None);
        assert_eq!(view(entry.clone().naming("plato of Athens")).unwrap(), "pla… (15 characters)");
        assert_eq!(view(entry.naming("\u{1b}[2J")).unwrap(), "\\u{1b}[2… (4 characters)");
    }

    #[test]
    fn a_slow_device_is_told_in_plain_words() {
        let seen = "a step 120 s behind: the device is slow; the authenticator is now active";
        let trace = Trace::of(Walk::Code).fail(Check::CodeMatches, "a step within the window, unused", seen);
        let steps = steps(&trace);
        let failed = steps.iter().find(|step| step.state == StepState::Failed).unwrap();
        assert_eq!(
            failed.words,
            "The code was right, but the device is about 120 s slow: its clock must be set."
        );
        assert_eq!(steps.last().unwrap().state, StepState::NotReached);
        let seen = "no step nearby; the authenticator is now locked";
        let trace = Trace::of(Walk::Code).fail(Check::CodeMatches, "a step within the window, unused", seen);
        let words =
            &super::steps(&trace).into_iter().find(|step| step.state == StepState::Failed).unwrap().words;
        assert_eq!(
            words,
            "The code was wrong. The authenticator is locked now: an administrator unlocks it."
        );
    }
}
