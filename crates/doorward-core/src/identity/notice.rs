//! What administrators can be told of by mail.

use crate::audit::Event;
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
        RightsChanged = "rights-changed", "The rights or notices of an administrator were changed.";
        KeyPairCreated = "key-pair-created", "A key pair was made.";
        KeyPairDownloaded = "key-pair-downloaded", "A secret key was shown.";
        KeyPairDeleted = "key-pair-deleted", "A key pair was deleted.";
        KeyPairExpiring = "key-pair-expiring", "A key pair will end in some days, or has ended.";
        SessionLocked = "session-locked", "A FIX session was locked.";
    }
}

impl Notice {
    /// The kind that an event is of; `None`: nobody is told of it.
    pub const fn of(event: Event) -> Option<Self> {
        match event {
            Event::AuthenticatorConfirmed => Some(Self::Registered),
            Event::AuthenticatorRevoked => Some(Self::AuthenticatorReset),
            Event::AuthenticatorUnlocked | Event::AttemptsForgotten => Some(Self::Unlocked),
            Event::PasswordChanged => Some(Self::PasswordChanged),
            Event::PasswordSet => Some(Self::PasswordSet),
            Event::KeyPairCreated => Some(Self::KeyPairCreated),
            Event::KeyPairDownloaded => Some(Self::KeyPairDownloaded),
            Event::KeyPairDeleted => Some(Self::KeyPairDeleted),
            Event::KeyPairExpiring | Event::KeyPairExpired => Some(Self::KeyPairExpiring),
            Event::FixSessionLocked => Some(Self::SessionLocked),
            Event::LinkMade => Some(Self::LinkSent),
            Event::LinkExpired => Some(Self::LinkExpired),
            Event::RightsChanged => Some(Self::RightsChanged),
            _ => None,
        }
    }
}
