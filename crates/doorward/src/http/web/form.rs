//! Forms: read within limits, and only from pages of ours (CSRF).

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts as _, Request};
use axum::http::header::CONTENT_TYPE;
use data_encoding::BASE64;
use doorward_core::ask::{Encrypted, Enveloped, KeyId, Padding};
use doorward_core::limits::Limit;
use doorward_core::secret::Secret;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use zeroize::Zeroizing;

use super::WebState;
use super::reply::Oops;
use super::visit::Visit;
use crate::gate::web::{Asker, CodeRefusal, SteppedUp};

/// Largest body, in bytes.
const BODY_BYTES_MAX: usize = Limit::WebBodyBytes.max() as usize;
/// Most fields.
const FIELDS_MAX: usize = Limit::WebFields.max() as usize;
/// Longest time for a body to come.
const BODY_MAX: Duration = Duration::from_secs(10);
/// Longest ciphertext in base64: that of an RSA modulus of 4096 bits.
const CIPHERTEXT_CHARS_MAX: usize = 684;
/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 256;
/// Longest one-time password as typed, in characters.
const CODE_CHARS_MAX: usize = 16;

/// What a form sent. To take it as an argument is to demand the visitor's CSRF token: without it the handler is not
/// called. It reads the body, so it comes last.
#[derive(Debug)]
pub struct Form {
    fields: Vec<(String, Secret<String>)>,
}

impl Form {
    /// Takes a body apart.
    fn read(body: &[u8]) -> Result<Self, Oops> {
        let mut fields = Vec::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields.len() == FIELDS_MAX {
                return Err(Oops::Invalid("The form has too many fields.".to_owned()));
            }
            fields.push((name.into_owned(), Secret::new(value.into_owned())));
        }
        Ok(Self { fields })
    }

    /// A field as it was sent; empty where it was not.
    pub fn text(&self, name: &str) -> &str {
        self.optional(name).unwrap_or_default()
    }

    /// A field, if it was sent.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.expose().as_str())
    }

    /// Every value of a field that comes more than once, such as check boxes.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.expose().as_str())
    }

    /// Whether a check box was ticked.
    pub fn is_on(&self, name: &str) -> bool {
        self.optional(name).is_some()
    }

    /// A one-time password: digits, without the spaces that people put in.
    pub fn code(&self) -> Secret<String> {
        let digits = self.text("code").chars().filter(|c| !c.is_whitespace());
        Secret::new(digits.take(CODE_CHARS_MAX).collect())
    }

    /// The reason for a dangerous action, trimmed: 1 to 256 characters.
    pub fn reason(&self) -> Result<&str, &'static str> {
        let reason = self.text("reason").trim();
        match reason.chars().count() {
            0 => Err("Say why: it stands in the audit beside what you do."),
            1..=REASON_CHARS_MAX => Ok(reason),
            _ => Err("The reason is too long: at most 256 characters."),
        }
    }

    /// The password that the page's script put into `<name>.ciphertext`, with what must stand before it for this
    /// visitor, the action (the path of the form) and the user id as the form has it.
    ///
    /// # Errors
    /// 422 where the script did not run.
    pub fn envelope(
        &self,
        web: &WebState,
        visit: &Visit,
        page: &str,
        userid: &str,
        name: &str,
    ) -> Result<Enveloped, Oops> {
        let lacking =
            || Oops::Invalid("Passwords are encrypted in your browser, which needs JavaScript.".to_owned());
        let ciphertext = self.optional(&format!("{name}.ciphertext")).ok_or_else(lacking)?;
        let key = KeyId::parse(self.text("keyid")).ok_or_else(lacking)?;
        // What is no base64 is a ciphertext of a wrong length: told apart by nobody.
        let ciphertext = match ciphertext.len() {
            0..=CIPHERTEXT_CHARS_MAX => BASE64.decode(ciphertext.as_bytes()).unwrap_or_default(),
            _ => Vec::new(),
        };
        let expected = web.tokens.expected(web.gate.binding(&visit.token()), page, &key, userid);
        Ok(Enveloped { encrypted: Encrypted { key, padding: Padding::OaepSha256, ciphertext }, expected })
    }

    /// Demands a one-time password that was proved in this session at most 5 minutes ago, or a good one in the form's
    /// field `code` (T14). `Err` is what to show at that field.
    pub async fn step_up(
        &self,
        web: &WebState,
        visit: &Visit,
        asker: &Asker,
    ) -> Result<Result<(), &'static str>, Oops> {
        if asker.factor_fresh {
            return Ok(Ok(()));
        }
        let code = self.code();
        if code.expose().is_empty() {
            return Ok(Err("Enter the code that your authenticator shows now."));
        }
        match web.gate.step_up(&visit.token(), asker, &code, visit.browser()).await {
            SteppedUp::Proved(token) => {
                visit.set_token(token);
                Ok(Ok(()))
            }
            SteppedUp::CodeRefused(refusal) => Ok(Err(code_text(refusal))),
            SteppedUp::Refused => Err(Oops::Go("/signin".to_owned())),
            SteppedUp::Later(retry_ms) => Err(Oops::Later(retry_ms)),
        }
    }
}

/// What somebody hears of a code that was not taken.
pub const fn code_text(refusal: CodeRefusal) -> &'static str {
    match refusal {
        CodeRefusal::Wrong => "That code is not right. Wait for the next one and enter it.",
        CodeRefusal::Used => "That code was used already. Wait for the next one and enter it.",
        CodeRefusal::BackedOff => "Too many wrong codes. Wait a few minutes, then try again.",
        CodeRefusal::ClockSuspect => "Codes cannot be checked at the moment. Try again in a minute.",
    }
}

impl FromRequest<WebState> for Form {
    type Rejection = Oops;

    async fn from_request(request: Request, web: &WebState) -> Result<Self, Oops> {
        let (mut parts, body) = request.into_parts();
        let visit = Visit::from_request_parts(&mut parts, web).await?;
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|field| field.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Oops::MediaType);
        }
        let read = tokio::time::timeout(BODY_MAX, Limited::new(body, BODY_BYTES_MAX).collect());
        let bytes = match read.await {
            Ok(Ok(collected)) => Zeroizing::new(collected.to_bytes().to_vec()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Oops::TooLarge),
            Ok(Err(_)) | Err(_) => return Err(Oops::TooSlow),
        };
        let form = Self::read(&bytes)?;
        if web.tokens.is_csrf(web.gate.binding(&visit.token()), form.text("csrf")) {
            Ok(form)
        } else {
            Err(Oops::StaleForm)
        }
    }
}

/// Body for fuzzing: any body is fields within their limits, or is refused; what is taken of them keeps its own.
pub fn fuzz(bytes: &[u8]) {
    let Ok(form) = Form::read(bytes) else { return };
    assert!(form.fields.len() <= FIELDS_MAX);
    let code = form.code();
    let code = code.expose();
    assert!(code.chars().count() <= CODE_CHARS_MAX && !code.contains(char::is_whitespace));
    if let Ok(reason) = form.reason() {
        assert!((1..=REASON_CHARS_MAX).contains(&reason.chars().count()) && reason.trim() == reason);
    }
    for (name, _) in &form.fields {
        assert!(form.is_on(name) && form.all(name).next() == form.optional(name));
    }
    let shown = format!("{form:?}");
    let secret = form.fields.iter().find(|(name, value)| {
        value.expose().len() > 20 && shown.contains(value.expose()) && !name.contains(value.expose())
    });
    assert!(secret.is_none(), "a value was printed");
}
