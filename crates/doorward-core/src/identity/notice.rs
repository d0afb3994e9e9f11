//! What administrators can be told of by mail.

use super::change::Change;
use super::enrolment::Authenticator;
use super::person::Kind;
use crate::audit::{Event, Record};
use crate::table::table;

table! {
    /// A kind of events of a firm that an administrator ticks, to be told of each by mail.
    pub enum Notice {
        Registered = "registered", "An authenticator was registered.";
        AuthenticatorReset = "authenticator-reset", "An authenticator was taken away.";
        Locked = "locked", "An authenticator was locked after wrong codes.";
        Unlocked = "unlocked", "Somebody was unlocked.";
        LinkSent = "link-sent", "A setup link was mailed or shown.";
        LinkExpired = "link-expired", "A setup link came to its end unused.";
        PasswordChanged = "password-changed", "Somebody changed the own password.";
        PasswordSet = "password-set", "An initial password was set for somebody.";
        NewAdministrator = "new-administrator", "An administrator was added.";
        RightsChanged = "rights-changed", "The rights or notices of an administrator, or the rights of a program, were changed.";
        KeyPairCreated = "key-pair-created", "A key pair was made.";
        KeyPairDownloaded = "key-pair-downloaded", "A secret key was shown.";
        KeyPairDeleted = "key-pair-deleted", "A key pair was deleted.";
        KeyPairExpiring = "key-pair-expiring", "A key pair will end in some days, or has ended.";
        SessionLocked = "session-locked", "A FIX session was locked.";
    }
}

impl Notice {
    /// The kind that a record is of; `None`: nobody is told of it.
    pub fn of(record: &Record) -> Option<Self> {
        match record.entry.event {
            Event::AuthenticatorConfirmed => Some(Notice::Registered),
            Event::AuthenticatorRevoked => Some(Notice::AuthenticatorReset),
            Event::AuthenticatorUnlocked | Event::AttemptsForgotten => Some(Notice::Unlocked),
            Event::PasswordChanged => Some(Notice::PasswordChanged),
            Event::PasswordSet => Some(Notice::PasswordSet),
            Event::KeyPairCreated => Some(Notice::KeyPairCreated),
            Event::KeyPairDownloaded => Some(Notice::KeyPairDownloaded),
            Event::KeyPairDeleted => Some(Notice::KeyPairDeleted),
            Event::KeyPairExpiring | Event::KeyPairExpired => Some(Notice::KeyPairExpiring),
            Event::FixSessionLocked => Some(Notice::SessionLocked),
            Event::LinkMade => Some(Notice::LinkSent),
            Event::LinkExpired => Some(Notice::LinkExpired),
            Event::RightsChanged | Event::NoticesChanged => Some(Notice::RightsChanged),
            // The wrong code that was one too many.
            Event::CodeRefused | Event::KeyPairRefused => {
                record.changes.iter().any(locks).then_some(Notice::Locked)
            }
            Event::PersonAdded => {
                record.changes.iter().any(adds_administrator).then_some(Notice::NewAdministrator)
            }
            #[rustfmt::skip]
            Event::ServerStarted | Event::ServerStopped | Event::Restored | Event::ClockSuspect | Event::ClockGood
            | Event::RecordsDropped
            | Event::LoginGranted | Event::CodeAsked | Event::RegistrationAsked | Event::LoggedOut
            | Event::ConnectionRefused | Event::RefusalsCounted | Event::PasswordChangeRefused
            | Event::AuthenticatorIssued | Event::LinkRevoked | Event::LinkRefused | Event::EnrolmentRefused
            | Event::EnrolmentBegun | Event::RecoveryCodesMade | Event::RecoveryCodeUsed | Event::StepRefused
            | Event::FactorProved | Event::SessionEnded | Event::EmailChanged | Event::MailQueued
            | Event::MailSent | Event::MailDelayed | Event::MailGivenUp | Event::Halted | Event::Resumed
            | Event::OperatorClaimed | Event::OperatorRecovered | Event::FirmAdded | Event::FirmClosed
            | Event::FirmOpened | Event::PolicySet | Event::PasswordRehashed | Event::PersonChanged
            | Event::PersonDisabled | Event::PersonEnabled | Event::LogonGranted | Event::LogonRefused
            | Event::StreamReset | Event::UndeliveredLeft | Event::FixSessionAdded | Event::FixSessionChanged
            | Event::FixSessionDisabled | Event::FixSessionEnabled | Event::FixSessionEnded | Event::SequenceSet
            | Event::FixSessionReopened | Event::LoginRefused | Event::WeekRolled | Event::KeyHoursOpened
            | Event::AdministrationRefused | Event::LoginVerified | Event::VerifyRefused | Event::TokenRevoked => None,
        }
    }
}

fn locks(change: &Change) -> bool {
    matches!(change, Change::Authenticator { authenticator: Authenticator::Locked { .. }, .. })
}

fn adds_administrator(change: &Change) -> bool {
    matches!(change, Change::PersonAdded { person } if person.kind == Kind::Administrator)
}
