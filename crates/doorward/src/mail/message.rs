//! A letter as a message of RFC 5322: text and HTML side by side, headers that no value can break out of.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use doorward_core::identity::mail::Mail;
use lettre::Message;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};

use super::letter::Letter;

/// A mail address, perhaps with a name.
pub type Address = Mailbox;

/// Reads an address such as `ana@example.com` or `Doorward <no-reply@example.com>`; the error says what is wrong.
///
/// Control characters are refused: what is read here can be put into a header.
pub fn address(text: &str) -> Result<Address, String> {
    if text.chars().any(char::is_control) {
        return Err("a control character in a mail address".to_owned());
    }
    text.trim().parse::<Mailbox>().map_err(|error| error.to_string())
}

/// A message, ready to be handed over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Posted {
    /// Whom to.
    pub(super) to: lettre::Address,
    /// All of it, lines ended by CR LF.
    pub(super) bytes: Vec<u8>,
}

/// Puts a mail's letter into a message. Tried again, it is the same message but for the boundary of its parts.
pub(super) fn message(
    mail: &Mail,
    letter: &Letter,
    from: &Address,
    reply_to: Option<&Address>,
) -> Result<Posted, String> {
    let to = address(&mail.to)?;
    let failed = |error: askama::Error| error.to_string();
    let (plain, html) = (letter.plain().map_err(failed)?, letter.html().map_err(failed)?);
    let id = format!("<{}@{}>", mail.id, from.email.domain());
    let mut message = Message::builder()
        .message_id(Some(id))
        .date(system_time(mail.queued_at.as_us()))
        .from(from.clone())
        .to(to.clone())
        .subject(letter.subject.clone())
        // RFC 3834: no absence notes, please.
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ));
    if let Some(reply_to) = reply_to {
        message = message.reply_to(reply_to.clone());
    }
    let message = message
        .multipart(MultiPart::alternative_plain_html(plain, html))
        .map_err(|error| error.to_string())?;
    Ok(Posted { to: to.email, bytes: message.formatted() })
}

fn system_time(us: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(us).unwrap_or(0))
}
