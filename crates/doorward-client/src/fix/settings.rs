//! Who logs on, where, and how.

use std::time::Duration;

use doorward_core::id::{CompId, OperatorId};
use doorward_core::secret::Secret;
use doorward_core::stream::Gateway;

use super::Misuse;
use super::key::KeyPair;

/// Everything that a session needs to know before it begins.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who logs on, and with what.
    pub credentials: Credentials,
    /// The venue's name, TargetCompID (56): `CME`.
    pub venue: String,
    /// HeartBtInt (108), in seconds: 30.
    pub heartbeat_s: u16,
    /// What becomes of application messages that the server asks for again.
    pub resend: Resend,
    /// Limit for the answer to a Logon, and to a Logout: 10 s.
    pub answer_limit: Duration,
    /// Longest message taken from the server, in bytes: 64 KiB.
    pub message_bytes_max: usize,
}

impl Settings {
    /// The usual settings with these credentials.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            venue: String::from("CME"),
            heartbeat_s: 30,
            resend: Resend::default(),
            answer_limit: Duration::from_secs(10),
            message_bytes_max: 64 * 1024,
        }
    }

    /// Looks at what can be seen without a server.
    pub(super) fn check(&self) -> Result<(), Misuse> {
        if self.heartbeat_s == 0 {
            return Err(Misuse::Setting("heartbeat_s: 0 is out of range 1..=65535"));
        }
        if self.message_bytes_max < 1_024 {
            return Err(Misuse::Setting("message_bytes_max: below 1024"));
        }
        check_text("venue", &self.venue)?;
        match &self.credentials {
            Credentials::Secure(secure) => {
                check_text("location", &secure.location)?;
                check_text("application name", &secure.application.name)?;
                check_text("application version", &secure.application.version)?;
                check_text("application vendor", &secure.application.vendor)
            }
            Credentials::Trader(trader) => {
                check_text("user", &trader.user)?;
                check_text("password", trader.password.expose())?;
                for text in [&trader.new_password, &trader.code].into_iter().flatten() {
                    check_text("new password or code", text.expose())?;
                }
                Ok(())
            }
        }
    }
}

fn check_text(what: &'static str, text: &str) -> Result<(), Misuse> {
    if text.is_empty() || text.bytes().any(|byte| byte < b' ') {
        return Err(Misuse::Setting(match what {
            "venue" => "venue: empty, or with a control character",
            "location" => "location: empty, or with a control character",
            "user" => "user: empty, or with a control character",
            "password" => "password: empty, or with a control character",
            "new password or code" => "new password or code: empty, or with a control character",
            _ => "application: a part is empty, or with a control character",
        }));
    }
    Ok(())
}

/// Who logs on.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A trading system with a key pair: the signed Logon of profile `cme-secure`.
    Secure(SecureLogon),
    /// A person with password and one-time password: profile `trader-otp`.
    Trader(TraderLogon),
}

/// What a signed Logon is made of.
#[derive(Clone, Debug)]
pub struct SecureLogon {
    /// SenderCompID (49): Session ID, Firm ID, indicator `N`.
    pub comp_id: CompId,
    /// The operator, SenderSubID (50).
    pub operator: OperatorId,
    /// The kind of gateway, TargetSubID (57).
    pub gateway: Gateway,
    /// SenderLocationID (142), such as `US,IL`.
    pub location: String,
    /// The system that logs on, 1603 to 1605.
    pub application: Application,
    /// What signs.
    pub key: KeyPair,
}

/// The program that logs on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Application {
    /// ApplicationSystemName (1603).
    pub name: String,
    /// ApplicationSystemVersion (1604).
    pub version: String,
    /// ApplicationSystemVendor (1605).
    pub vendor: String,
}

impl Default for Application {
    fn default() -> Self {
        Self {
            name: String::from("Doorward"),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            vendor: String::from("Doorward"),
        }
    }
}

/// What a person's Logon is made of.
#[derive(Clone, Debug)]
pub struct TraderLogon {
    /// FIX.4.2 or FIX.4.4.
    pub version: Version,
    /// The user id, SenderCompID (49).
    pub user: String,
    /// The password, RawData (96).
    pub password: Secret<String>,
    /// The password from now on, NewPassword (925).
    pub new_password: Option<Secret<String>>,
    /// The one-time password.
    pub code: Option<Secret<String>>,
    /// The tag of the one-time password: 20030 unless the venue says otherwise.
    pub code_tag: u32,
    /// Begins both sequences anew: ResetSeqNumFlag (141) = Y.
    pub reset: bool,
}

impl TraderLogon {
    /// A logon by password alone, in FIX 4.4.
    pub fn new(user: impl Into<String>, password: Secret<String>) -> Self {
        Self {
            version: Version::default(),
            user: user.into(),
            password,
            new_password: None,
            code: None,
            code_tag: 20_030,
            reset: false,
        }
    }
}

/// BeginString (8).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// FIX 4.2, the only one of `cme-secure`.
    Fix42,
    /// FIX 4.4.
    #[default]
    Fix44,
}

impl Version {
    /// As it stands in tag 8.
    pub const fn begin_string(self) -> &'static str {
        match self {
            Self::Fix42 => "FIX.4.2",
            Self::Fix44 => "FIX.4.4",
        }
    }
}

/// What becomes of application messages that the server asks for again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Resend {
    /// They go out again with PossDupFlag (43) = Y: nothing is lost, and an order may arrive late.
    ///
    /// The last 10,000 messages of this connection's lifetime and of those before it are kept in memory as long as
    /// the [`FixClient`](super::FixClient) lives; older ones are passed over as with [`Self::PassOver`].
    #[default]
    Again,
    /// They are passed over by a Sequence Reset, and an [`Event::NotResent`](super::Event::NotResent) says so.
    PassOver,
}
