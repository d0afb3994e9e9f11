//! Every set that a peer can grow, and every size that it can choose, has a maximum (L1).

use crate::table::table;

table! {
    /// A limit; [`Limit::max`] is its value, the sentence says what happens at it.
    pub enum Limit {
        WsMessageBytes = "ws-message-bytes", "Bytes of one WebSocket message; a longer one closes with 1009.";
        WsJsonDepth = "ws-json-depth", "Depth of the JSON of a message; a deeper one is malformed.";
        WsMalformed = "ws-malformed", "Malformed messages before a login; the last of them closes with 1008.";
        WsWrongCodes = "ws-wrong-codes", "Wrong codes on one connection; the last of them closes with 1008.";
        WsHeld = "ws-held", "Messages kept while a challenge or a password change is being decided; one more is answered with busy.";
        WsIdChars = "ws-id-chars", "Characters of a message's id; a longer one is malformed.";
        UserIdBytes = "userid-bytes", "Bytes of a user id as sent; a longer one belongs to nobody.";
        PasswordBytesSent = "password-bytes-sent", "Bytes of a password as sent; a longer one does not open.";
        PasswordBytes = "password-bytes", "Bytes of a password after NFKC; a longer one is refused when set.";
        PasswordChars = "password-chars", "Code points of a password after NFKC; a longer one is refused when set.";
        AttrBytes = "attr-bytes", "Bytes of a person's attr as JSON; more is refused.";
        SourcesPerPerson = "sources-per-person", "Sources remembered for a person; the least recently good one is forgotten.";
        UnknownNames = "unknown-names", "User ids of nobody whose attempts are counted; the oldest is forgotten.";
        ConflictRetries = "conflict-retries", "Times that a decision is made again after a conflict; then try again later.";
        Connections = "connections", "Open connections of a door, where the descriptors allow as many; one more is told 1013.";
        ConnectionsSilentPercent = "connections-silent-percent", "Share of them not logged in, in percent; the oldest makes room.";
        ConnectionsLeaving = "connections-leaving", "Evicted connections on their way out; new ones wait for them.";
        ConnectionsTurnedAway = "connections-turned-away", "Connections let in to be told 1013; one more is closed at once.";
        ProxyHeaderBytes = "proxy-header-bytes", "Bytes of a PROXY protocol header; a longer one ends the connection.";
        ForwardedBytes = "forwarded-bytes", "Bytes of one Forwarded field; a longer one is malformed.";
        ForwardedHops = "forwarded-hops", "Hops in all Forwarded fields; more are malformed.";
        Replays = "replays", "Ciphertexts remembered for a challenge key; then the next key takes over early.";
        LocalConnections = "local-connections", "Connections of the administration socket; one more waits.";
        OpsConnections = "ops-connections", "Connections of the listener of measurements; one more waits.";
        WebConnections = "web-connections", "Connections of the listeners of portal and console; the oldest makes room.";
        WebBodyBytes = "web-body-bytes", "Bytes of a form sent to portal or console; more are answered with 413.";
        WebFields = "web-fields", "Fields of a form sent to portal or console; more are malformed.";
        BrowserSessionsPerPerson = "browser-sessions-per-person", "Browser sessions of one person; one more ends the oldest.";
        BrowserSessions = "browser-sessions", "Browser sessions of all people; one more ends the one that was not used for longest.";
        ApiBodyBytes = "api-body-bytes", "Bytes of a request to the HTTP API; more are answered with 413.";
        RefusalsPerMinute = "refusals-per-minute", "Records of closed connections and bare refusals a source and minute; more are counted.";
        FixSpareBuffers = "fix-spare-buffers", "Buffers kept for FIX connections that have something to say; more are given back.";
        VenueMessages = "venue-messages", "Messages that the venue is made to send by one request; more are refused.";
        MessagesShown = "messages-shown", "Stored messages that one request shows, of 1 MiB at most; the next one goes on.";
        SimOrders = "sim-orders", "Open orders of the simulated venue; one more is rejected.";
        SimOrdersDone = "sim-orders-done", "Orders that are over and still known to the simulated venue; the oldest is forgotten.";
        KeyPairsShown = "key-pairs-shown", "Ended key pairs that a FIX session remembers; older ones are in the audit only.";
        SessionNames = "session-names", "SenderCompIDs, operators and networks that a FIX session lists, of each.";
        FixLogonBytes = "fix-logon-bytes", "Bytes of the first message of a FIX connection; a longer one closes without a word.";
        FixMessageBytes = "fix-message-bytes", "Bytes of one FIX message after the Logon; a longer one logs out.";
        FixHeldBytes = "fix-held-bytes", "Bytes held behind a Logon that is being verified; more close the connection.";
        FixGarbled = "fix-garbled", "Garbled messages in a row that are dropped; one more logs out.";
        FixQueued = "fix-queued", "Messages kept behind a gap; later ones are dropped and asked for again.";
        FixQueuedBytes = "fix-queued-bytes", "Bytes of messages kept behind a gap; later ones are dropped and asked for again.";
        FixResend = "fix-resend", "Messages of one Resend Request that are answered; the rest is to be asked for again.";
        FixResendRead = "fix-resend-read", "Stored messages read at once for a resend; the next are read when these are on their way.";
        LogonsSeen = "logons-seen", "Good signatures remembered, for 10 s or over a step of the clock; one more Logon must wait.";
        TokensPerPerson = "tokens-per-person", "Tokens of one person that are good; one more ends the oldest.";
        MailsPerHour = "mails-per-hour", "Mails of one kind to one recipient an hour; more become one mail with a count.";
        DiskFreeMiB = "disk-free-mib", "MiB free on the journal's disk; below, bare refusals are only counted, and /readyz warns.";
        RefusalSources = "refusal-sources", "Sources whose bare refusals are counted apart; beyond, they are counted together.";
    }
}

impl Limit {
    /// The value, in the unit that the name says.
    pub const fn max(self) -> u64 {
        match self {
            Self::WsMessageBytes => 16 * 1024,
            Self::WsJsonDepth => 8,
            Self::WsMalformed | Self::WsWrongCodes => 3,
            Self::WsHeld => 4,
            Self::WsIdChars => 128,
            Self::UserIdBytes | Self::DiskFreeMiB => 512,
            Self::PasswordBytesSent => 190,
            Self::PasswordBytes => 150,
            Self::PasswordChars => 128,
            Self::AttrBytes => 4096,
            Self::SourcesPerPerson => 64,
            Self::UnknownNames => 100_000,
            Self::ConflictRetries => 16,
            Self::Connections | Self::Replays => 100_000,
            Self::ConnectionsSilentPercent => 60,
            Self::ConnectionsLeaving | Self::ConnectionsTurnedAway | Self::ForwardedHops => 32,
            Self::ProxyHeaderBytes => 2048,
            Self::ForwardedBytes => 4096,
            Self::LocalConnections | Self::OpsConnections => 64,
            Self::ApiBodyBytes | Self::WebBodyBytes => 64 * 1024,
            Self::WebConnections => 1_024,
            Self::WebFields => 512,
            Self::BrowserSessionsPerPerson => 32,
            Self::BrowserSessions => 100_000,
            Self::RefusalsPerMinute | Self::MailsPerHour => 20,
            Self::FixSpareBuffers => 256,
            Self::SimOrders => 100_000,
            Self::RefusalSources | Self::SimOrdersDone | Self::VenueMessages => 10_000,
            Self::KeyPairsShown | Self::TokensPerPerson => 16,
            Self::SessionNames => 256,
            Self::FixLogonBytes => 4 * 1024,
            Self::FixMessageBytes | Self::FixHeldBytes | Self::FixQueuedBytes => 64 * 1024,
            Self::FixGarbled => 10,
            Self::FixQueued | Self::MessagesShown => 1_000,
            Self::FixResend => 2_500,
            Self::FixResendRead => 64,
            Self::LogonsSeen => 1_000_000,
        }
    }
}
