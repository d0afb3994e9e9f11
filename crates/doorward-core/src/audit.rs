//! What is written down of every decision (Q4).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::{AccessKeyId, CompId, FirmCode, OperatorId, PersonId, SessionId, UserId};
use crate::identity::change::Change;
use crate::table::table;
use crate::time::Wall;
use crate::trace::{Check, Trace, Walk};

table! {
    /// What happened.
    pub enum Event {
        ServerStarted = "server-started", "A node opened its doors.";
        ServerStopped = "server-stopped", "A node closed its doors in order.";
        Restored = "restored", "The data were put back from a backup; what may have been used since is void.";
        ClockSuspect = "clock-suspect", "The wall clock stepped; one-time passwords are not checked until it agrees again.";
        ClockGood = "clock-good", "The wall clock agreed long enough; one-time passwords are checked again.";
        RecordsDropped = "records-dropped", "Records older than they are kept were dropped from the journal.";
        LoginGranted = "login-granted", "A person or program was let in.";
        LoginRefused = "login-refused", "A login was refused.";
        LoginVerified = "login-verified", "A program had a customer's login verified; nobody was let in by it.";
        VerifyRefused = "verify-refused", "A customer's login that a program wanted verified was refused.";
        TokenRevoked = "token-revoked", "A program ended a token.";
        CodeAsked = "code-asked", "The password was right; a one-time password is awaited.";
        RegistrationAsked = "registration-asked", "The password was right, but no authenticator is registered.";
        CodeRefused = "code-refused", "A one-time password was refused after a right password.";
        LoggedOut = "logged-out", "A login ended.";
        ConnectionRefused = "connection-refused", "A connection was closed before anybody had logged in on it.";
        RefusalsCounted = "refusals-counted", "Further closed connections or bare refusals of one source within a minute, as a count.";
        PasswordChanged = "password-changed", "A person changed the own password.";
        PasswordChangeRefused = "password-change-refused", "A change of the own password was refused.";
        PasswordSet = "password-set", "An initial password was set for somebody.";
        AuthenticatorIssued = "authenticator-issued", "A new seed was made; it waits for its first good code.";
        AuthenticatorConfirmed = "authenticator-confirmed", "The first good code registered an authenticator.";
        AuthenticatorRevoked = "authenticator-revoked", "An authenticator was taken away.";
        AuthenticatorUnlocked = "authenticator-unlocked", "A locked or backed-off authenticator was opened again.";
        AttemptsForgotten = "attempts-forgotten", "The counts of wrong passwords of a person were set to zero.";
        LinkMade = "link-made", "A setup link was made, to be mailed or shown.";
        LinkRevoked = "link-revoked", "A setup link was taken back.";
        LinkExpired = "link-expired", "A setup link came to its end unused.";
        LinkRefused = "link-refused", "A setup link was not made, or did not let anybody go on.";
        EnrolmentRefused = "enrolment-refused", "An authenticator could not be registered, or the desk not be claimed.";
        EnrolmentBegun = "enrolment-begun", "A seed was made for somebody who registers an authenticator.";
        RecoveryCodesMade = "recovery-codes-made", "Recovery codes were made and shown once.";
        RecoveryCodeUsed = "recovery-code-used", "A recovery code let somebody in.";
        StepRefused = "step-refused", "A step on somebody, or on the own factors, was refused.";
        FactorProved = "factor-proved", "A one-time password was given for a step that asks for a fresh one.";
        SessionEnded = "session-ended", "A browser session was ended.";
        RightsChanged = "rights-changed", "What an administrator or a program may do was changed.";
        NoticesChanged = "notices-changed", "What an administrator is told of by mail was changed.";
        EmailChanged = "email-changed", "Somebody's mail address was changed.";
        MailQueued = "mail-queued", "A mail waits to be sent.";
        MailSent = "mail-sent", "The mail server took a mail.";
        MailDelayed = "mail-delayed", "The mail server did not take a mail; it is tried again.";
        MailGivenUp = "mail-given-up", "A mail was not sent: the mail server refused it, or it waited too long.";
        Halted = "halted", "The emergency switch was thrown: no new logons.";
        Resumed = "resumed", "The emergency switch was taken back.";
        OperatorClaimed = "operator-claimed", "The first operator of the desk was added by the claim link.";
        OperatorRecovered = "operator-recovered", "An operator of the desk was recovered at the machine.";
        FirmAdded = "firm-added", "A firm was added.";
        FirmClosed = "firm-closed", "A firm was closed: its people are refused.";
        FirmOpened = "firm-opened", "A closed firm was opened again.";
        PolicySet = "policy-set", "The policy of the venue or of a firm was set.";
        PersonAdded = "person-added", "A person or program was added.";
        PasswordRehashed = "password-rehashed", "A password was hashed anew with the present parameters, at a login.";
        PersonChanged = "person-changed", "What is known of a person was changed.";
        PersonDisabled = "person-disabled", "A person was disabled; open connections end.";
        PersonEnabled = "person-enabled", "A disabled person was enabled again.";
        LogonGranted = "logon-granted", "A signed Logon was accepted.";
        LogonRefused = "logon-refused", "A signed Logon was refused.";
        StreamReset = "stream-reset", "Both sequence series of a stream began again at 1, as its client asked.";
        UndeliveredLeft = "undelivered-left", "A stream began again at 1; what its client had not fetched is kept, and not sent again.";
        FixSessionAdded = "fix-session-added", "A FIX session was added.";
        FixSessionChanged = "fix-session-changed", "What a FIX session may do was changed.";
        FixSessionDisabled = "fix-session-disabled", "A FIX session was disabled; its connections end.";
        FixSessionEnabled = "fix-session-enabled", "A disabled FIX session was enabled again.";
        FixSessionLocked = "fix-session-locked", "A FIX session was locked: too many refused Logons, or an administrator did it.";
        FixSessionEnded = "fix-session-ended", "An administrator ended the connections of a FIX session.";
        SequenceSet = "sequence-set", "An administrator set the numbers of a stream.";
        FixSessionReopened = "fix-session-reopened", "A locked FIX session was opened again.";
        KeyPairCreated = "key-pair-created", "A key pair was made.";
        KeyPairDownloaded = "key-pair-downloaded", "A secret key was shown to an administrator.";
        KeyPairDeleted = "key-pair-deleted", "A key pair was deleted; its connections end.";
        KeyPairRefused = "key-pair-refused", "A key pair was not made or shown.";
        KeyPairExpiring = "key-pair-expiring", "A key pair will end in some days.";
        KeyPairExpired = "key-pair-expired", "A key pair has come to its end.";
        WeekRolled = "week-rolled", "A trading week began; all streams start again at 1.";
        KeyHoursOpened = "key-hours-opened", "The desk opened the making and showing of key pairs for one firm for an hour.";
        AdministrationRefused = "administration-refused", "A process of another user spoke to the administration socket.";
    }
}

table! {
    /// Why the answer was no: the reason inside. The words outside are a door's refusal.
    pub enum Deny {
        BackedOff = "backed-off", "Too many wrong passwords from this source; it must wait.";
        PersonLimit = "person-limit", "Too many wrong passwords for this person over all sources; only known sources get through.";
        BadCiphertext = "bad-ciphertext", "The ciphertext did not open to well-formed text.";
        ReplayedCiphertext = "replayed-ciphertext", "The ciphertext was seen before.";
        PaddingOff = "padding-off", "PKCS#1 v1.5 is switched off for the site or the firm.";
        UnknownUser = "unknown-user", "Nobody has this user id.";
        WrongPassword = "wrong-password", "The password is not the person's.";
        Disabled = "disabled", "The person is disabled.";
        FirmClosed = "firm-closed", "The firm is closed.";
        SourceNotPermitted = "source-not-permitted", "The service user or FIX session may not come from this address.";
        RepeatedTag = "repeated-tag", "A tag came twice in a Logon.";
        ControlCharacter = "control-character", "A signed value had a control character.";
        TagNotPermitted = "tag-not-permitted", "PossDupFlag, PossResend or OrigSendingTime came in a Logon.";
        LengthDiffers = "length-differs", "A length field of a Logon was not the length of its data field.";
        MissingTag = "missing-tag", "A tag that a Logon must have was not there.";
        WrongHeader = "wrong-header", "A header field of a Logon was empty, or not what this listener expects.";
        WrongHeartBtInt = "wrong-heart-bt-int", "HeartBtInt was missing or out of range.";
        WrongScheme = "wrong-scheme", "EncryptedPasswordMethod is not the name of the scheme.";
        BadSignature = "bad-signature", "The signature is not base64url of 32 bytes.";
        UnknownCompId = "unknown-comp-id", "The SenderCompID is no session's, or the session does not permit it.";
        WrongIndicator = "wrong-indicator", "The fault tolerance indicator is not one that is taken here.";
        SessionDisabled = "session-disabled", "The FIX session is disabled.";
        UnknownAccessKey = "unknown-access-key", "The access key is none of this session's.";
        AccessKeyExpired = "access-key-expired", "The key pair has come to its end.";
        AccessKeyDeleted = "access-key-deleted", "The key pair was deleted.";
        SessionLocked = "session-locked", "The FIX session is locked; an administrator reopens it.";
        OperatorNotPermitted = "operator-not-permitted", "The session does not permit the operator ID.";
        SendingTimeStale = "sending-time-stale", "SendingTime lies too long before the receipt.";
        SendingTimeAhead = "sending-time-ahead", "SendingTime lies too far behind the receipt, or is no time.";
        SignatureDiffers = "signature-differs", "The signature is not that of the canonical message with the secret key.";
        ReplayedLogon = "replayed-logon", "The same Logon was seen before.";
        BeforeListening = "before-listening", "SendingTime lies before this process listened or took the stream.";
        WeekClosed = "week-closed", "The trading week is closed.";
        FirstOfWeek = "first-of-week", "The first Logon of the week did not begin with 34=1.";
        ResetNotPermitted = "reset-not-permitted", "ResetSeqNumFlag must not be Y on an initial Logon, and must be Y in session.";
        SequenceTooLow = "sequence-too-low", "MsgSeqNum is lower than the next one of the stream.";
        InSessionSequence = "in-session-sequence", "An in-session Logon did not begin with 34=1.";
        LogonInProgress = "logon-in-progress", "Another Logon for the stream was being verified.";
        AlreadyLoggedOn = "already-logged-on", "Another connection holds the stream.";
        NotVerified = "not-verified", "The Logon could not be verified in time.";
        RightMissing = "right-missing", "The person does not serve whom or what it is about, or lacks the right for it.";
        HoursClosed = "hours-closed", "Key pairs are not made or shown at this time of the week.";
        PairsFull = "pairs-full", "There are two key pairs; which one to delete was not said.";
        CodesUsedUp = "codes-used-up", "The one-time passwords of the day for key pairs are used up.";
        TokenUnknown = "token-unknown", "The token is none of the person's, has ended, or proved less than is asked of them.";
        UserIdTaken = "user-id-taken", "Somebody has this user id already.";
        LinkUnknown = "link-unknown", "Nobody's live setup link has this token.";
        LinkEnded = "link-ended", "The setup link has expired, was used or was taken back.";
        AlreadyRegistered = "already-registered", "An authenticator is registered; an administrator takes it away before another one.";
        OtpNotChosen = "otp-not-chosen", "The person proves themselves with a password alone.";
        InitialPassword = "initial-password", "The initial password must be changed before an authenticator is registered.";
        EnrolmentEnded = "enrolment-ended", "The enrolment belongs to another browser session, or was begun more than 15 minutes ago.";
        RecoveryOff = "recovery-off", "The firm's people have no recovery codes.";
        Oneself = "oneself", "Nobody does this to themselves.";
        DeskClaimed = "desk-claimed", "There is an operator of the desk already.";
        LinkNeeded = "link-needed", "The firm's people register with a setup link only.";
        LinksUsedUp = "links-used-up", "Five setup links were made for the person within an hour.";
        LinkNotShown = "link-not-shown", "The firm's administrators see no setup links, or the asker knows the password.";
        NoAddress = "no-address", "The person has no mail address, or mail is not set up.";
        Halted = "halted", "The emergency switch is thrown.";
        WrongRecoveryCode = "wrong-recovery-code", "The recovery code is none of the person's, or was used.";
        FactorStale = "factor-stale", "The step asks for a one-time password that was given at most 5 minutes ago.";
        WrongKind = "wrong-kind", "A program does not sign in with a browser.";
        Locked = "locked", "The authenticator is locked after wrong codes; an administrator unlocks it.";
        PasswordExpired = "password-expired", "The initial password was not used in time.";
        NotRegistered = "not-registered", "No authenticator is registered and one is needed.";
        CodeBackedOff = "code-backed-off", "Too many wrong codes; the authenticator must wait.";
        WrongCode = "wrong-code", "The one-time password is not that of a step within the window.";
        UsedCode = "used-code", "The one-time password, or a later one, was used before.";
        ClockSuspect = "clock-suspect", "The server's clock cannot be trusted for one-time passwords.";
        PasswordRule = "password-rule", "The new password breaks a rule.";
        TooSlow = "too-slow", "Nobody had logged in when the time for it was over.";
        TooManyMalformed = "too-many-malformed", "Too many malformed messages before a login.";
        TooManyCodes = "too-many-codes", "Too many wrong codes on one connection.";
        BinaryFrame = "binary-frame", "A binary frame came where text was due.";
        NoLogon = "no-logon", "The first message was garbled, no Logon, or without SenderCompID.";
        Garbled = "garbled", "Too many garbled messages came in a row.";
        HeldTooMuch = "held-too-much", "Too many bytes came behind a Logon that was being verified.";
        NotUtf8 = "not-utf8", "A text frame was not UTF-8.";
        TooLong = "too-long", "A message was longer than the limit.";
        NotReading = "not-reading", "The peer did not read what was sent.";
        NotAnswering = "not-answering", "The peer did not answer pings.";
        BrokenProtocol = "broken-protocol", "The peer broke the WebSocket protocol or went away without a close.";
        NoHandshake = "no-handshake", "The connection ended without a WebSocket handshake.";
        TlsFailed = "tls-failed", "The TLS handshake failed or took too long.";
        ProxyHeader = "proxy-header", "A trusted proxy sent no good PROXY protocol header.";
        OriginNotAllowed = "origin-not-allowed", "A page of an origin that is not listed opened the connection.";
        ServerFault = "server-fault", "The server's own code broke off while it served the connection.";
        Full = "full", "The node holds as many connections as it may.";
        Evicted = "evicted", "The oldest silent connection made room for a newer one.";
        SessionIdle = "session-idle", "A browser session was not used for too long.";
        SessionOver = "session-over", "A browser session had lasted as long as one may.";
        SessionSuperseded = "session-superseded", "A browser session made room for a newer one, or was signed in anew.";
        SessionDismissed = "session-dismissed", "The person ended the browser session from another one.";
        SessionEnded = "session-ended", "The person was disabled, or lost password, authenticator or token, while logged in.";
        Stopping = "stopping", "The node was stopping.";
    }
}

table! {
    /// How a decision ended.
    pub enum Outcome {
        Allowed = "allowed", "It was done.";
        Asked = "asked", "Something more is needed first.";
        Refused = "refused", "It was refused.";
    }
}

table! {
    /// Where somebody came in.
    pub enum Door {
        WebSocket = "websocket", "The WebSocket door.";
        Fix = "fix", "The FIX door.";
        Portal = "portal", "The web pages for traders, and of everybody's own account.";
        Console = "console", "The web pages of administrators and of the desk.";
        Local = "local", "The administration socket on this machine.";
        Node = "node", "The node itself.";
    }
}

table! {
    /// What somebody proved to be who they say.
    pub enum Factor {
        Nothing = "none", "Nothing.";
        Password = "password", "A password.";
        Code = "code", "A one-time password, after a password in an earlier request.";
        RecoveryCode = "recovery-code", "A recovery code, after a password in an earlier request.";
        PasswordAndCode = "password-and-code", "A password and a one-time password.";
        Token = "token", "A token that a program had made for a verified customer.";
        Signature = "signature", "A message signed with a secret key.";
        LocalUserAndCode = "local-user-and-code", "A process of a permitted user on this machine, and a one-time password.";
        LocalUser = "local-user", "A process of a permitted user on this machine.";
    }
}

/// Correlates everything that belongs to one attempt: records, logs, answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct AttemptId(pub u64);

impl std::fmt::Display for AttemptId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for AttemptId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AttemptId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Who did it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    /// Somebody who is known.
    Person {
        /// The person.
        id: PersonId,
        /// The user id at that time.
        userid: UserId,
    },
    /// A user id that nobody has: its first characters and its length, for it may be a password in the wrong field.
    Unknown {
        /// At most three characters.
        begins: String,
        /// Length of the whole, in characters.
        chars: usize,
    },
    /// A FIX session, as a Logon named it.
    FixSession {
        /// The session that owns the access key or, where nobody does, that of the SenderCompID.
        id: SessionId,
        /// The SenderCompID (49), where it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sender_comp_id: Option<CompId>,
        /// The operator (50), where it can be one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operator: Option<OperatorId>,
        /// The access key, where there is one of that name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        access_key: Option<AccessKeyId>,
    },
    /// A process on this machine.
    Local {
        /// Its user.
        uid: u32,
    },
    /// The node itself.
    Node,
    /// A peer that gave no name.
    Nobody,
}

impl Actor {
    /// The person, where it is somebody who is known.
    pub const fn person(&self) -> Option<PersonId> {
        match self {
            Self::Person { id, .. } => Some(*id),
            Self::Unknown { .. }
            | Self::FixSession { .. }
            | Self::Local { .. }
            | Self::Node
            | Self::Nobody => None,
        }
    }

    /// An actor for a user id that nobody has.
    pub fn unknown(userid: &str) -> Self {
        Self::Unknown { begins: userid.chars().take(3).collect(), chars: userid.chars().count() }
    }
}

/// The circumstances of a decision, as the gate knows them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Context {
    /// Now.
    pub at: Wall,
    /// Where the request came in.
    pub door: Door,
    /// From which address; `None` for the node itself and for local processes.
    pub source: Option<IpAddr>,
    /// The id that ties everything together.
    pub attempt: AttemptId,
}

/// The audit part of a record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When, by the node's wall clock.
    #[serde(rename = "at_us")]
    pub at: Wall,
    /// Which node; set by the store.
    #[serde(default)]
    pub node: String,
    /// What happened.
    pub event: Event,
    /// How it ended.
    pub outcome: Outcome,
    /// Who did it.
    pub actor: Actor,
    /// On whom, where that is somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Whom the actor named, where that is nobody, or nobody of whom the actor may know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<Named>,
    /// Whose firm it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firm: Option<FirmCode>,
    /// Which FIX session it concerns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// Where it came in.
    pub door: Door,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// What was proved.
    pub factor: Factor,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Deny>,
    /// The attempt it belongs to.
    pub attempt: AttemptId,
    /// The checks behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// A few words more, free of secrets and of a peer's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A user id that somebody named for another: its first characters and its length, for it may be a password in the wrong
/// field.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Named {
    /// At most three characters.
    pub begins: String,
    /// Length of the whole, in characters.
    pub chars: usize,
}

/// Somebody on whom something was done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Subject {
    /// The person.
    pub id: PersonId,
    /// The user id at that time.
    pub userid: UserId,
}

impl Entry {
    /// An entry for an event that went well.
    pub fn new(context: &Context, event: Event, actor: Actor) -> Self {
        Self {
            at: context.at,
            node: String::new(),
            event,
            outcome: Outcome::Allowed,
            actor,
            subject: None,
            named: None,
            firm: None,
            session: None,
            door: context.door,
            source: context.source,
            factor: Factor::Nothing,
            reason: None,
            attempt: context.attempt,
            trace: None,
            detail: None,
        }
    }

    /// The same, refused for a reason.
    #[must_use]
    pub fn refused(mut self, reason: Deny) -> Self {
        self.outcome = Outcome::Refused;
        self.reason = Some(reason);
        self
    }

    /// The same, with the user id that was named, where it says of nobody that it was done on them.
    #[must_use]
    pub fn naming(mut self, userid: &str) -> Self {
        if self.subject.is_none() {
            let (begins, chars) = (userid.chars().take(3).collect(), userid.chars().count());
            self.named = Some(Named { begins, chars });
        }
        self
    }

    /// The same, with a few words more.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// One decision: what is written down of it and what it changes. Atomic: both or neither (Q5).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The audit part.
    pub entry: Entry,
    /// What it does to the book, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

impl Record {
    /// Turns the record of a Logon whose credentials were good into that of a refused one: nothing is changed.
    pub fn refuse_logon(
        &mut self,
        check: Check,
        reason: Deny,
        expected: impl Into<String>,
        seen: impl Into<String>,
    ) {
        self.entry.event = Event::LogonRefused;
        self.entry.outcome = Outcome::Refused;
        self.entry.reason = Some(reason);
        let trace = self.entry.trace.take().unwrap_or(Trace::of(Walk::SignedLogon));
        self.entry.trace = Some(trace.fail(check, expected, seen));
        self.changes.clear();
    }
}
