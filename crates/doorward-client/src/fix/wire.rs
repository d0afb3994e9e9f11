//! How our messages are written: the header of each profile, and the Logon with its credentials.

use doorward_core::fix::build::Builder;
use doorward_core::fix::message::Fields;
use doorward_core::fix::{signature, tag};
use doorward_core::secret::Secret;
use doorward_core::time::Wall;

use super::settings::{Credentials, SecureLogon, Settings, TraderLogon};

/// What the header of one message says beside who sends it to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// MsgSeqNum (34).
    pub(super) number: u64,
    /// The last message that we have from the server, LastMsgSeqNumProcessed (369).
    pub(super) processed: u64,
    /// SendingTime (52).
    pub(super) at: Wall,
    /// When it was sent first, OrigSendingTime (122), for what goes out again.
    pub(super) first_at: Option<Wall>,
}

/// Writes the messages of one session.
#[derive(Debug)]
pub(super) struct Wire {
    /// SenderCompID (49) in force.
    comp_id: Vec<u8>,
}

impl Wire {
    pub(super) fn new(credentials: &Credentials) -> Self {
        let comp_id = match credentials {
            Credentials::Secure(secure) => secure.comp_id.to_bytes().to_vec(),
            Credentials::Trader(trader) => trader.user.clone().into_bytes(),
        };
        Self { comp_id }
    }

    /// Who we are now.
    pub(super) fn comp_id(&self) -> &[u8] {
        &self.comp_id
    }

    /// Takes the name that the server's Logon calls us by; whether it may.
    ///
    /// A client that asked (indicator `U`) is told what it is; everybody else keeps the name.
    pub(super) fn adopt(&mut self, named: &[u8]) -> bool {
        let asked = match self.comp_id.split_last() {
            Some((b'U', rest)) if self.comp_id.len() == 7 => {
                matches!(named.split_last(), Some((b'P' | b'B', told)) if told == rest)
            }
            Some(_) | None => false,
        };
        if asked {
            self.comp_id = named.to_vec();
        }
        asked || self.comp_id == named
    }

    /// Writes one message.
    pub(super) fn message(
        &self,
        settings: &Settings,
        msg_type: &[u8],
        stamp: Stamp,
        body: impl FnOnce(Builder<'_>) -> Builder<'_>,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let begin_string = match &settings.credentials {
            Credentials::Secure(_) => "FIX.4.2",
            Credentials::Trader(trader) => trader.version.begin_string(),
        };
        let mut builder = Builder::begin(&mut out, begin_string.as_bytes(), msg_type);
        builder = builder.number(tag::MSG_SEQ_NUM, stamp.number);
        if stamp.first_at.is_some() {
            builder = builder.field(tag::POSS_DUP_FLAG, "Y");
        }
        builder = builder.field(tag::SENDER_COMP_ID, &self.comp_id);
        if let Credentials::Secure(secure) = &settings.credentials {
            builder = builder.field(tag::SENDER_SUB_ID, secure.operator.as_str());
        }
        builder = builder.time(tag::SENDING_TIME, stamp.at).field(tag::TARGET_COMP_ID, &settings.venue);
        if let Credentials::Secure(secure) = &settings.credentials {
            builder = builder.field(tag::TARGET_SUB_ID, secure.gateway.sub_id());
        }
        if let Some(first_at) = stamp.first_at {
            builder = builder.time(tag::ORIG_SENDING_TIME, first_at);
        }
        if let Credentials::Secure(secure) = &settings.credentials {
            builder = builder.field(tag::SENDER_LOCATION_ID, &secure.location);
            builder = builder.number(tag::LAST_MSG_SEQ_NUM_PROCESSED, stamp.processed);
        }
        body(builder).finish();
        out
    }

    /// Writes a Logon, signed where the profile signs.
    pub(super) fn logon(&self, settings: &Settings, stamp: Stamp, reset: bool) -> Vec<u8> {
        match &settings.credentials {
            Credentials::Secure(secure) => self.signed(settings, secure, stamp, reset),
            Credentials::Trader(trader) => {
                self.message(settings, b"A", stamp, |builder| trader_fields(builder, settings, trader, reset))
            }
        }
    }

    fn signed(&self, settings: &Settings, secure: &SecureLogon, stamp: Stamp, reset: bool) -> Vec<u8> {
        let unsigned =
            self.message(settings, b"A", stamp, |builder| secure_fields(builder, settings, secure, reset));
        let mut canonical = Vec::new();
        let mut fields = Fields::new();
        if let Ok(message) = fields.read(&unsigned) {
            signature::canonical(&signature::CME_1_SHA_256, &message, &mut canonical);
        }
        let signature = secure.key.sign(&canonical);
        let id = secure.key.access_key_id();
        self.message(settings, b"A", stamp, |builder| {
            secure_fields(builder, settings, secure, reset)
                .number(tag::ENCODED_TEXT_LEN, id.as_bytes().len() as u64)
                .field(tag::ENCODED_TEXT, id.as_bytes())
                .field(tag::ENCRYPTED_PASSWORD_METHOD, signature::CME_1_SHA_256.name)
                .number(tag::ENCRYPTED_PASSWORD_LEN, signature.len() as u64)
                .field(tag::ENCRYPTED_PASSWORD, &signature)
        })
    }
}

fn secure_fields<'b>(
    builder: Builder<'b>,
    settings: &Settings,
    secure: &SecureLogon,
    reset: bool,
) -> Builder<'b> {
    let builder = builder.number(tag::HEART_BT_INT, settings.heartbeat_s.into());
    let builder = if reset { builder.field(tag::RESET_SEQ_NUM_FLAG, "Y") } else { builder };
    builder
        .field(tag::APPLICATION_SYSTEM_NAME, &secure.application.name)
        .field(tag::APPLICATION_SYSTEM_VERSION, &secure.application.version)
        .field(tag::APPLICATION_SYSTEM_VENDOR, &secure.application.vendor)
}

fn trader_fields<'b>(
    builder: Builder<'b>,
    settings: &Settings,
    trader: &TraderLogon,
    reset: bool,
) -> Builder<'b> {
    let builder =
        builder.number(tag::ENCRYPT_METHOD, 0).number(tag::HEART_BT_INT, settings.heartbeat_s.into());
    let builder = builder
        .number(tag::RAW_DATA_LENGTH, trader.password.expose().len() as u64)
        .field(tag::RAW_DATA, trader.password.expose());
    let builder = if reset { builder.field(tag::RESET_SEQ_NUM_FLAG, "Y") } else { builder };
    builder
        .maybe(tag::NEW_PASSWORD, trader.new_password.as_ref().map(Secret::expose))
        .maybe(trader.code_tag, trader.code.as_ref().map(Secret::expose))
}
