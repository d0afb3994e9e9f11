//! Why a decision fell as it did: the ordered checks of a walk, without a secret in them.

use serde::{Deserialize, Serialize};

use crate::table::table;

table! {
    /// One check that a decision can make.
    pub enum Check {
        KeyLive = "key-live", "The challenge key of the ciphertext is still held.";
        AttemptAdmitted = "attempt-admitted", "Neither the source's back-off nor the person's limit refuses the attempt.";
        CiphertextOpens = "ciphertext-opens", "The ciphertext has the modulus' length and opens to well-formed text.";
        CiphertextFresh = "ciphertext-fresh", "The same ciphertext was not seen before within its key's life.";
        PaddingAllowed = "padding-allowed", "The site and the firm accept the padding of the ciphertext.";
        PersonKnown = "person-known", "The user id belongs to somebody.";
        PasswordMatches = "password-matches", "The password is the person's.";
        PersonActive = "person-active", "The person is not disabled.";
        FirmActive = "firm-active", "The person's firm is not closed.";
        SourcePermitted = "source-permitted", "The source address is among those listed for a service user or FIX session.";
        AuthenticatorUnlocked = "authenticator-unlocked", "The authenticator is not locked.";
        PasswordInForce = "password-in-force", "An initial password is used before it expires.";
        AuthenticatorRegistered = "authenticator-registered", "A person who needs an authenticator has one.";
        CodeGiven = "code-given", "A one-time password came with the request.";
        ClockGood = "clock-good", "The server's clock can be trusted for one-time passwords.";
        CodeAdmitted = "code-admitted", "The authenticator is not backed off after wrong codes.";
        CodeMatches = "code-matches", "The one-time password is that of a step within the window.";
        CodeUnused = "code-unused", "The step is later than the last one that was used.";
        NewPasswordGood = "new-password-good", "The new password keeps the rules.";
        LogonWellFormed = "logon-well-formed", "No tag twice, no signed control character, lengths that are right, no 43, 97, 122.";
        CredentialsGiven = "credentials-given", "354, 355, 1400, 1401 and 1402 are there.";
        FieldsGiven = "fields-given", "All other tags that a Logon must have are there.";
        HeaderRight = "header-right", "8, 50, 56, 57 and 142 have values that this listener expects.";
        HeartBtIntRight = "heart-bt-int-right", "HeartBtInt (108) is within its range.";
        SchemeNamed = "scheme-named", "EncryptedPasswordMethod (1400) is the scheme's name.";
        SignatureDecodes = "signature-decodes", "EncryptedPassword (1402) is base64url of 32 bytes.";
        CompIdKnown = "comp-id-known", "The SenderCompID is one that a known FIX session permits.";
        IndicatorPermitted = "indicator-permitted", "The fault tolerance indicator may be asked for; in session, it is the one in force.";
        SessionActive = "session-active", "The FIX session is not disabled.";
        AccessKeyKnown = "access-key-known", "The Session ID owns the access key.";
        AccessKeyLive = "access-key-live", "The key pair is neither expired nor deleted.";
        SessionUnlocked = "session-unlocked", "The FIX session is not locked.";
        OperatorPermitted = "operator-permitted", "The session permits the operator ID.";
        SendingTimeFresh = "sending-time-fresh", "SendingTime lies at most 5 s before and 1 s behind the receipt.";
        SignatureMatches = "signature-matches", "The signature is that of the canonical message with the secret key.";
        LogonUnseen = "logon-unseen", "The same Logon was not seen before within the window.";
        AfterListening = "after-listening", "SendingTime is not before this process listened or took the stream.";
        StreamFree = "stream-free", "No other connection holds the stream, and no other Logon for it is being verified.";
        WeekOpen = "week-open", "The trading week is open.";
        ResetFlagRight = "reset-flag-right", "ResetSeqNumFlag (141) is as it must be.";
        SequenceRight = "sequence-right", "MsgSeqNum (34) is not lower than the next one; 1 at the beginning of a week and in session.";
        RightHeld = "right-held", "The person is an administrator of the session's firm with the right to manage key pairs.";
        HoursOpen = "hours-open", "Key pairs may be made and shown at this time of the week.";
        PairsAdmitted = "pairs-admitted", "There is room for another key pair, or one to delete was named.";
        DoorsOpen = "doors-open", "The emergency switch is thrown neither for the venue nor for the firm or FIX session.";
        KindPermitted = "kind-permitted", "It is a person, not a program, that comes with a browser.";
        LinkLive = "link-live", "The setup link that came along is the person's, unused, not taken back and not expired.";
        LinkGiven = "link-given", "Where the firm's people register with a setup link only, one came along.";
        OtpChosen = "otp-chosen", "The person proves themselves with a one-time password, or must.";
        AuthenticatorFree = "authenticator-free", "No authenticator is registered for the person.";
        PasswordOwn = "password-own", "The person has chosen the own password.";
        EnrolmentLive = "enrolment-live", "The seed was made in this browser session, at most 15 minutes ago.";
        LinkAdmitted = "link-admitted", "Fewer than five setup links were made for the person within an hour.";
        LinkShown = "link-shown", "The asker may see the setup link.";
        AddressGiven = "address-given", "Mail is set up and the person has an address.";
        RecoveryOn = "recovery-on", "The firm's people have recovery codes.";
        RecoveryCodeMatches = "recovery-code-matches", "The recovery code is one of the person's, unused.";
        AskerAllowed = "asker-allowed", "The asker serves the person, and has the right for it.";
        NotOneself = "not-oneself", "The step is not on the asker themselves, where that is not allowed.";
        FactorFresh = "factor-fresh", "A one-time password was given in this session at most 5 minutes ago, where the step asks for one.";
        TokenLive = "token-live", "The token is the person's, has not ended, and proved as much as is asked of them.";
        DeskUnclaimed = "desk-unclaimed", "There is no operator of the desk yet.";
        CodesLeft = "codes-left", "Fewer than ten one-time passwords were accepted for key pairs this day.";
    }
}

table! {
    /// A decision with its checks in order.
    pub enum Walk {
        Login = "login", "A login with a password, with or without a one-time password.";
        Code = "code", "The second step of a login: the one-time password alone.";
        SignIn = "sign-in", "Somebody signs in with a browser, with or without a setup link.";
        StepUp = "step-up", "Somebody who is signed in gives a fresh one-time password.";
        LinkMake = "link-make", "A setup link is made for somebody.";
        Enrol = "enrol", "Somebody begins to register an authenticator.";
        EnrolConfirm = "enrol-confirm", "The first code of an authenticator registers it.";
        Recovery = "recovery", "The second step of a sign-in: a recovery code in place of a one-time password.";
        RecoveryMake = "recovery-make", "Somebody has the own recovery codes made anew.";
        Serve = "serve", "An administrator or operator does something to somebody.";
        Verify = "verify", "A program has a customer's login verified.";
        TokenLogin = "token-login", "A login with a token.";
        Act = "act", "A program or administrator does something for others at a door.";
        Claim = "claim", "The first operator of the desk is made.";
        PasswordChange = "password-change", "A person changes the own password.";
        SignedLogon = "signed-logon", "A Logon that a secret key signed, on a new connection or in session.";
        KeyCreate = "key-create", "An administrator has a key pair made.";
        KeyDownload = "key-download", "An administrator has a secret key shown.";
        KeyDelete = "key-delete", "An administrator deletes a key pair.";
    }
}

use Check::{
    AccessKeyKnown, AccessKeyLive, AddressGiven, AfterListening, AskerAllowed, AttemptAdmitted,
    AuthenticatorFree, AuthenticatorRegistered, AuthenticatorUnlocked, CiphertextFresh, CiphertextOpens,
    ClockGood, CodeAdmitted, CodeGiven, CodeMatches, CodeUnused, CodesLeft, CompIdKnown, CredentialsGiven,
    DeskUnclaimed, DoorsOpen, EnrolmentLive, FactorFresh, FieldsGiven, FirmActive, HeaderRight,
    HeartBtIntRight, HoursOpen, IndicatorPermitted, KeyLive, KindPermitted, LinkAdmitted, LinkGiven,
    LinkLive, LinkShown, LogonUnseen, LogonWellFormed, NewPasswordGood, NotOneself, OperatorPermitted,
    OtpChosen, PaddingAllowed, PairsAdmitted, PasswordInForce, PasswordMatches, PasswordOwn, PersonActive,
    PersonKnown, RecoveryCodeMatches, RecoveryOn, ResetFlagRight, RightHeld, SchemeNamed, SendingTimeFresh,
    SequenceRight, SessionActive, SessionUnlocked, SignatureDecodes, SignatureMatches, SourcePermitted,
    StreamFree, TokenLive, WeekOpen,
};

/// Checks 1 to 9 of the FIX page.
const SIGNED_LOGON: &[Check] = &[
    LogonWellFormed,
    CredentialsGiven,
    FieldsGiven,
    HeaderRight,
    HeartBtIntRight,
    SchemeNamed,
    SignatureDecodes,
    CompIdKnown,
    IndicatorPermitted,
    SessionActive,
    FirmActive,
    DoorsOpen,
    AccessKeyKnown,
    AccessKeyLive,
    SessionUnlocked,
    OperatorPermitted,
    SourcePermitted,
    SendingTimeFresh,
    SignatureMatches,
    LogonUnseen,
    AfterListening,
    WeekOpen,
    StreamFree,
    ResetFlagRight,
    SequenceRight,
];

/// What a password proves, then what a code does.
const LOGIN: &[Check] = &[
    KeyLive,
    AttemptAdmitted,
    CiphertextFresh,
    CiphertextOpens,
    PersonKnown,
    PaddingAllowed,
    PasswordMatches,
    PersonActive,
    FirmActive,
    DoorsOpen,
    SourcePermitted,
    AuthenticatorUnlocked,
    PasswordInForce,
    AuthenticatorRegistered,
    CodeGiven,
    ClockGood,
    CodeAdmitted,
    CodeMatches,
    CodeUnused,
];

/// As a second step, without the emergency switch: it ends no session.
const STEP_UP: &[Check] = &[
    PersonActive,
    FirmActive,
    AuthenticatorUnlocked,
    AuthenticatorRegistered,
    ClockGood,
    CodeAdmitted,
    CodeMatches,
    CodeUnused,
];

/// Whether there is somebody to register, then how the link goes to them.
const LINK_MAKE: &[Check] = &[
    PersonActive,
    FirmActive,
    KindPermitted,
    OtpChosen,
    AuthenticatorFree,
    LinkAdmitted,
    LinkShown,
    AddressGiven,
];

/// Before a seed is made, all that can be known.
const ENROL: &[Check] = &[
    PersonActive,
    FirmActive,
    DoorsOpen,
    KindPermitted,
    OtpChosen,
    AuthenticatorFree,
    PasswordOwn,
    LinkLive,
    LinkGiven,
];

/// What may have changed since the begin, then the code.
const ENROL_CONFIRM: &[Check] =
    &[PersonActive, FirmActive, DoorsOpen, EnrolmentLive, LinkLive, ClockGood, CodeMatches];

/// As a second step, with another kind of code.
const RECOVERY: &[Check] = &[
    PersonActive,
    FirmActive,
    DoorsOpen,
    KindPermitted,
    AuthenticatorUnlocked,
    AuthenticatorRegistered,
    CodeAdmitted,
    RecoveryOn,
    RecoveryCodeMatches,
];

/// Of oneself alone.
const RECOVERY_MAKE: &[Check] = &[PersonActive, FirmActive, FactorFresh, AuthenticatorRegistered, RecoveryOn];

/// Whoever asks, before anything else.
const SERVE: &[Check] = &[AskerAllowed, NotOneself, FactorFresh];

/// The program first, then its customer as at a login.
const VERIFY: &[Check] = &[
    AskerAllowed,
    KeyLive,
    AttemptAdmitted,
    CiphertextFresh,
    CiphertextOpens,
    PersonKnown,
    PaddingAllowed,
    PasswordMatches,
    PersonActive,
    FirmActive,
    DoorsOpen,
    AuthenticatorUnlocked,
    PasswordInForce,
    AuthenticatorRegistered,
    CodeGiven,
    ClockGood,
    CodeAdmitted,
    CodeMatches,
    CodeUnused,
];

/// A token stands for what was proved when it was made.
const TOKEN_LOGIN: &[Check] = &[
    AttemptAdmitted,
    PersonKnown,
    TokenLive,
    PersonActive,
    FirmActive,
    DoorsOpen,
    KindPermitted,
    AuthenticatorUnlocked,
    PasswordOwn,
];

/// Whoever asks, then passwords where any came along.
const ACT: &[Check] = &[
    AskerAllowed,
    FactorFresh,
    KeyLive,
    AttemptAdmitted,
    CiphertextFresh,
    CiphertextOpens,
    PaddingAllowed,
    PasswordMatches,
    PersonActive,
    FirmActive,
    AuthenticatorUnlocked,
    PasswordInForce,
    NewPasswordGood,
];

/// Once for each venue.
const CLAIM: &[Check] = &[DeskUnclaimed, ClockGood, CodeMatches];

/// What may have changed since the password, then the code.
const CODE: &[Check] = &[
    PersonActive,
    FirmActive,
    DoorsOpen,
    AuthenticatorUnlocked,
    AuthenticatorRegistered,
    ClockGood,
    CodeAdmitted,
    CodeMatches,
    CodeUnused,
];

/// The present password proves who asks.
const PASSWORD_CHANGE: &[Check] = &[
    KeyLive,
    AttemptAdmitted,
    CiphertextFresh,
    CiphertextOpens,
    PaddingAllowed,
    PasswordMatches,
    PersonActive,
    FirmActive,
    PasswordInForce,
    NewPasswordGood,
];

/// A login's, with the setup link before and without a program's addresses.
const SIGN_IN: &[Check] = &[
    LinkLive,
    KeyLive,
    AttemptAdmitted,
    CiphertextFresh,
    CiphertextOpens,
    PersonKnown,
    PaddingAllowed,
    PasswordMatches,
    PersonActive,
    FirmActive,
    DoorsOpen,
    KindPermitted,
    AuthenticatorUnlocked,
    PasswordInForce,
    AuthenticatorRegistered,
    CodeGiven,
    ClockGood,
    CodeAdmitted,
    CodeMatches,
    CodeUnused,
];

/// Before the code, all that can be known without one.
const KEY_CREATE: &[Check] = &[
    PersonActive,
    FirmActive,
    RightHeld,
    SessionActive,
    HoursOpen,
    PairsAdmitted,
    CodesLeft,
    AuthenticatorUnlocked,
    AuthenticatorRegistered,
    CodeGiven,
    ClockGood,
    CodeAdmitted,
    CodeMatches,
    CodeUnused,
];

/// As for a new pair.
const KEY_DOWNLOAD: &[Check] = &[
    PersonActive,
    FirmActive,
    RightHeld,
    HoursOpen,
    AccessKeyLive,
    CodesLeft,
    AuthenticatorUnlocked,
    AuthenticatorRegistered,
    CodeGiven,
    ClockGood,
    CodeAdmitted,
    CodeMatches,
    CodeUnused,
];

impl Walk {
    /// The checks, in the order in which they are made.
    pub const fn checks(self) -> &'static [Check] {
        match self {
            Self::Login => LOGIN,
            Self::SignIn => SIGN_IN,
            Self::StepUp => STEP_UP,
            Self::LinkMake => LINK_MAKE,
            Self::Enrol => ENROL,
            Self::EnrolConfirm => ENROL_CONFIRM,
            Self::Recovery => RECOVERY,
            Self::RecoveryMake => RECOVERY_MAKE,
            Self::Serve => SERVE,
            Self::Verify => VERIFY,
            Self::TokenLogin => TOKEN_LOGIN,
            Self::Act => ACT,
            Self::Claim => CLAIM,
            Self::Code => CODE,
            Self::PasswordChange => PASSWORD_CHANGE,
            Self::SignedLogon => SIGNED_LOGON,
            Self::KeyCreate => KEY_CREATE,
            Self::KeyDelete => &[PersonActive, FirmActive, RightHeld],
            Self::KeyDownload => KEY_DOWNLOAD,
        }
    }
}

/// The check that ended a walk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// Which check.
    pub check: Check,
    /// What would have passed.
    pub expected: String,
    /// What was there instead.
    pub seen: String,
}

/// How one check of a walk went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step<'a> {
    /// It held.
    Passed,
    /// It did not apply to this person or request.
    NotNeeded,
    /// It did not hold; the walk ended here.
    Failed(&'a Failure),
    /// An earlier check had ended the walk.
    NotReached,
}

/// The checks of one decision. What is stored is compact: checks that passed are implied by the walk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Trace {
    /// Which walk.
    pub walk: Walk,
    /// Checks that did not apply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_needed: Vec<Check>,
    /// The check that ended the walk; absent when all passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Failure>,
}

impl Trace {
    /// A walk in which nothing has failed yet.
    pub const fn of(walk: Walk) -> Self {
        Self { walk, not_needed: Vec::new(), failed: None }
    }

    /// Marks a check as not applying.
    pub fn skip(&mut self, check: Check) {
        debug_assert!(self.walk.checks().contains(&check), "{check} is no check of {}", self.walk);
        self.not_needed.push(check);
    }

    /// Ends the walk at a check; the first failure is the recorded one.
    #[must_use]
    pub fn fail(mut self, check: Check, expected: impl Into<String>, seen: impl Into<String>) -> Self {
        debug_assert!(self.walk.checks().contains(&check), "{check} is no check of {}", self.walk);
        if self.failed.is_none() {
            self.failed = Some(Failure { check, expected: expected.into(), seen: seen.into() });
        }
        self
    }

    /// Every check of the walk with its result, in order.
    pub fn steps(&self) -> impl Iterator<Item = (Check, Step<'_>)> {
        let mut ended = false;
        self.walk.checks().iter().map(move |&check| {
            if ended {
                return (check, Step::NotReached);
            }
            match &self.failed {
                Some(failure) if failure.check == check => {
                    ended = true;
                    (check, Step::Failed(failure))
                }
                Some(_) | None if self.not_needed.contains(&check) => (check, Step::NotNeeded),
                Some(_) | None => (check, Step::Passed),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_lists_what_passed_what_failed_and_what_was_not_reached() {
        let mut trace = Trace::of(Walk::Code);
        trace.skip(Check::FirmActive);
        let trace = trace.fail(Check::ClockGood, "a clock in agreement", "a step of 3 s");
        let steps: Vec<_> = trace.steps().collect();
        assert_eq!(steps[0], (Check::PersonActive, Step::Passed));
        assert_eq!(steps[1], (Check::FirmActive, Step::NotNeeded));
        assert!(matches!(steps[5], (Check::ClockGood, Step::Failed(_))));
        assert_eq!(steps[6], (Check::CodeAdmitted, Step::NotReached));
        assert_eq!(steps.len(), Walk::Code.checks().len());
    }

    #[test]
    fn a_trace_in_which_all_passed_is_stored_as_the_name_of_its_walk() {
        let text = serde_json::to_string(&Trace::of(Walk::Login)).unwrap();
        assert_eq!(text, r#"{"walk":"login"}"#);
        assert_eq!(serde_json::from_str::<Trace>(&text).unwrap(), Trace::of(Walk::Login));
    }
}
