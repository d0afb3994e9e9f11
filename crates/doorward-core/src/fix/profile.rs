//! Profiles: what differs between kinds of FIX listeners, as values.

use std::time::Duration;

use super::signature::{CME_1_SHA_256, Scheme};
use super::tag;
use crate::limits::Limit;

/// What a header field of a Logon must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// Anything but nothing.
    Given,
    /// The venue's name.
    Venue,
    /// What the listener's gateway is called: `G` or the market segment.
    Gateway,
}

/// How somebody proves who it is.
#[derive(Clone, Copy, Debug)]
pub enum Credentials {
    /// A signature over the Logon.
    Signature(&'static Scheme),
    /// User name, password and one-time password.
    Password,
}

/// What 141=Y on an initial Logon does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InitialReset {
    /// It is refused.
    Refused,
    /// Both series begin at 1 again.
    Honoured,
}

/// What answers a Sequence Reset to a lower number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LowerReset {
    /// A Logout.
    Logout,
    /// A Reject.
    Reject,
}

/// What differs between kinds of FIX listeners.
#[derive(Debug)]
pub struct Profile {
    /// What configuration calls it.
    pub name: &'static str,
    /// BeginString (8): what is accepted. Answers have the peer's.
    pub begin_strings: &'static [&'static str],
    /// How somebody proves who it is.
    pub credentials: Credentials,
    /// Tags of which at least one must be there; the first missing one is named.
    pub credential_tags: &'static [u32],
    /// Tags that must be there besides; the first missing one is named after the credentials'.
    pub required_tags: &'static [u32],
    /// The text when none of the credentials' tags is there. Seed 002 prints it without its last letter.
    pub text_without_credentials: &'static str,
    /// Header fields of a Logon, in the order in which they are checked.
    pub header: &'static [(u32, Expected)],
    /// Header fields that an application message must have.
    pub application_header: &'static [u32],
    /// EncryptMethod (98): whether `0` is required, and sent.
    pub encrypt_method: bool,
    /// HeartBtInt (108), in seconds: least and most.
    pub heart_bt_int_s: (u64, u64),
    /// Time for the first message to be a whole Logon.
    pub logon_max: Duration,
    /// How long a verification may take.
    pub verify_max: Duration,
    /// Refusals within a minute with which a FIX session is locked.
    pub refusals_max: u8,
    /// 141=Y on an initial Logon.
    pub initial_reset: InitialReset,
    /// Whether a Logon in session resets the stream; where not, it is refused.
    pub in_session_logon: bool,
    /// Whether streams follow the trading week: closed outside of it, and back to 1 at its open.
    pub weekly: bool,
    /// Whether SenderCompID (49) ends with a fault tolerance indicator.
    pub indicator: bool,
    /// Fields of a Logon that ours repeats.
    pub echo: &'static [u32],
    /// Whether a Test Request follows our Logon.
    pub test_request_at_logon: bool,
    /// After which share of HeartBtInt without a message a Test Request is sent, in percent.
    pub test_request_percent: u32,
    /// Messages of one Resend Request that are answered; the rest is to be asked for again.
    pub resend_max: u64,
    /// What answers a Sequence Reset to a lower number.
    pub lower_reset: LowerReset,
    /// Whether our messages have SenderSubID (50) and TargetSubID (57).
    pub sub_ids: bool,
    /// Whether our messages have LastMsgSeqNumProcessed (369).
    pub last_processed: bool,
    /// Whether our Logout has NextExpectedMsgSeqNum (789).
    pub next_expected: bool,
}

impl Profile {
    /// Every profile.
    pub const ALL: &[&'static Self] = &[&CME_SECURE, &TRADER_OTP];

    /// The profile that configuration calls so.
    pub fn from_name(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().copied().find(|profile| profile.name == name)
    }

    /// How long without a message before a Test Request is sent, and again before the connection is closed.
    pub fn silence(&self, heart_bt_int: Duration) -> Duration {
        heart_bt_int * self.test_request_percent / 100
    }
}

/// Trading systems that sign their Logon (seed 002). The default.
pub static CME_SECURE: Profile = Profile {
    name: "cme-secure",
    begin_strings: &["FIX.4.2"],
    credentials: Credentials::Signature(&CME_1_SHA_256),
    credential_tags: &[
        tag::ENCODED_TEXT_LEN,
        tag::ENCODED_TEXT,
        tag::ENCRYPTED_PASSWORD_METHOD,
        tag::ENCRYPTED_PASSWORD_LEN,
        tag::ENCRYPTED_PASSWORD,
    ],
    required_tags: &[
        tag::MSG_SEQ_NUM,
        tag::SENDING_TIME,
        tag::APPLICATION_SYSTEM_NAME,
        tag::APPLICATION_SYSTEM_VERSION,
        tag::APPLICATION_SYSTEM_VENDOR,
    ],
    text_without_credentials: "Invalid Logon. Logout Forced",
    header: &[
        (tag::SENDER_SUB_ID, Expected::Given),
        (tag::TARGET_COMP_ID, Expected::Venue),
        (tag::TARGET_SUB_ID, Expected::Gateway),
        (tag::SENDER_LOCATION_ID, Expected::Given),
    ],
    application_header: &[tag::SENDER_SUB_ID, tag::TARGET_SUB_ID, tag::SENDER_LOCATION_ID],
    encrypt_method: false,
    heart_bt_int_s: (5, 60),
    logon_max: Duration::from_secs(10),
    verify_max: Duration::from_secs(5),
    refusals_max: 5,
    initial_reset: InitialReset::Refused,
    in_session_logon: true,
    weekly: true,
    indicator: true,
    echo: &[tag::APPLICATION_SYSTEM_NAME, tag::APPLICATION_SYSTEM_VERSION, tag::APPLICATION_SYSTEM_VENDOR],
    test_request_at_logon: true,
    test_request_percent: 100,
    resend_max: Limit::FixResend.max(),
    lower_reset: LowerReset::Logout,
    sub_ids: true,
    last_processed: true,
    next_expected: true,
};

/// People who log on with password and one-time password (seed 000).
pub static TRADER_OTP: Profile = Profile {
    name: "trader-otp",
    begin_strings: &["FIX.4.2", "FIX.4.4"],
    credentials: Credentials::Password,
    credential_tags: &[],
    required_tags: &[tag::MSG_SEQ_NUM, tag::SENDING_TIME],
    text_without_credentials: "invalid user or password",
    header: &[(tag::TARGET_COMP_ID, Expected::Venue)],
    application_header: &[],
    encrypt_method: true,
    heart_bt_int_s: (10, 3_600),
    logon_max: Duration::from_secs(10),
    // A password is hashed in a queue that has its own deadline.
    verify_max: Duration::from_secs(15),
    refusals_max: u8::MAX,
    initial_reset: InitialReset::Honoured,
    in_session_logon: false,
    weekly: false,
    indicator: false,
    echo: &[],
    test_request_at_logon: false,
    test_request_percent: 120,
    resend_max: Limit::FixResend.max(),
    lower_reset: LowerReset::Reject,
    sub_ids: false,
    last_processed: false,
    next_expected: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_found_by_its_name() {
        for profile in Profile::ALL {
            assert!(std::ptr::eq(Profile::from_name(profile.name).unwrap(), *profile));
        }
        assert!(Profile::from_name("fix-generic").is_none());
    }

    #[test]
    fn silence_is_counted_in_shares_of_the_heartbeat() {
        assert_eq!(CME_SECURE.silence(Duration::from_secs(30)), Duration::from_secs(30));
        assert_eq!(TRADER_OTP.silence(Duration::from_secs(30)), Duration::from_secs(36));
    }
}
