//! Errors as problem details (RFC 9457), each with a remedy where there is one.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use doorward_core::audit::Deny;
use doorward_core::identity::decide::key_pair::KeyRefusal;
use doorward_core::identity::decide::{Misuse, MisuseKind};
use serde::Serialize;

use crate::fault::Fault;
use crate::gate::admin::Refused;

/// What the body of a problem says it is.
pub const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// An answer that says what was wrong and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem(Box<Details>);

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Details {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    #[serde(serialize_with = "status_code")]
    status: StatusCode,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    #[serde(skip)]
    retry_after_s: Option<u32>,
}

fn status_code<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

macro_rules! kinds {
    ($($(#[$meta:meta])* $name:ident = $status:ident, $id:literal, $title:literal;)+) => { impl Problem { $(
        $(#[$meta])*
        pub fn $name(detail: impl Into<String>) -> Self {
            Self(Box::new(Details {
                kind: concat!("urn:doorward:problem:", $id),
                title: $title,
                status: StatusCode::$status,
                detail: detail.into(),
                field: None,
                rule: None,
                remedy: None,
                retry_after_s: None,
            }))
        }
    )+ } };
}

kinds! {
    /// Who asks may not.
    forbidden = FORBIDDEN, "forbidden", "forbidden";
    /// There is no such thing, or no such route.
    not_found = NOT_FOUND, "not-found", "not found";
    /// The route does not take this method.
    wrong_method = METHOD_NOT_ALLOWED, "method-not-allowed", "method not allowed";
    /// The request did not come whole in time.
    too_slow = REQUEST_TIMEOUT, "too-slow", "request too slow";
    /// It exists already, or was changed meanwhile.
    conflict = CONFLICT, "conflict", "conflict";
    /// The key that a password was encrypted with is not held any more.
    challenge_needed = CONFLICT, "challenge-needed", "challenge needed";
    /// What `If-Match` names is not in force.
    not_the_version = PRECONDITION_FAILED, "version", "another version is in force";
    /// The body is longer than the limit.
    too_long = PAYLOAD_TOO_LARGE, "too-long", "body too long";
    /// The body is said to be something else than JSON.
    not_json = UNSUPPORTED_MEDIA_TYPE, "media-type", "media type not supported";
    /// The request is wrong as a whole.
    malformed = UNPROCESSABLE_ENTITY, "malformed", "malformed request";
    /// A field is wrong.
    invalid_field = UNPROCESSABLE_ENTITY, "invalid-field", "invalid field";
    /// A new password breaks a rule.
    password_rule = UNPROCESSABLE_ENTITY, "password-rule", "password not allowed";
    /// A mistake of ours.
    internal = INTERNAL_SERVER_ERROR, "internal", "internal error";
    /// Too much work is waiting.
    busy = SERVICE_UNAVAILABLE, "busy", "busy";
    /// Something that the answer depends on is not there.
    unavailable = SERVICE_UNAVAILABLE, "unavailable", "not available";
}

impl Problem {
    /// A field with a value that is not allowed; `detail` need not repeat the field's name.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid_field(detail).at(field)
    }

    /// The same, with the field that was wrong.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// The same, with what to do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.0.remedy = Some(remedy.into());
        self
    }

    /// Whether the request collides with what is there.
    pub fn is_conflict(&self) -> bool {
        self.0.status == StatusCode::CONFLICT
    }

    /// Whether it is about something that does not exist.
    pub fn is_not_found(&self) -> bool {
        self.0.status == StatusCode::NOT_FOUND
    }

    /// Whether this field was wrong.
    pub fn is_at(&self, field: &str) -> bool {
        self.0.field.as_deref() == Some(field)
    }

    /// What was wrong this time.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    fn after(mut self, retry_after_s: u32) -> Self {
        self.0.retry_after_s = Some(retry_after_s);
        self
    }
}

impl From<Misuse> for Problem {
    fn from(misuse: Misuse) -> Self {
        let Misuse { kind, field, text } = misuse;
        // The field stands beside the text here; a person would read it twice.
        let prefix = format!("{field}: ");
        let detail = text.strip_prefix(&prefix).filter(|_| !field.is_empty()).unwrap_or(&text).to_owned();
        let problem = match kind {
            MisuseKind::NotFound => Self::not_found(detail),
            MisuseKind::Conflict => Self::conflict(detail),
            MisuseKind::Invalid => Self::invalid_field(detail),
        };
        if field.is_empty() { problem } else { problem.at(field) }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        match &fault {
            Fault::Busy(_) => {
                Self::busy(fault.to_string()).after(1).with_remedy("send the request again in a second")
            }
            Fault::Stopping => Self::unavailable("the server is stopping").after(5),
            Fault::Disk(_) | Fault::Damaged(_) | Fault::Book(_) | Fault::Vault(_) => {
                tracing::error!(%fault, "a request of an administrator failed");
                Self::unavailable(fault.to_string()).after(5).with_remedy("see the server's log and /readyz")
            }
        }
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Misuse(misuse) => misuse.into(),
            Refused::Rule(rule) => {
                let detail = format!("{}: {}", rule.id(), rule.doc());
                let mut problem = Self::password_rule(detail).at("password");
                problem.0.rule = Some(rule.id());
                problem
            }
            // Nothing was decided for good: the clock must agree with itself for a minute first.
            Refused::Denied(KeyRefusal { deny: Deny::ClockSuspect, text }) => {
                Self::unavailable(text).after(60)
            }
            Refused::Denied(KeyRefusal { deny, text }) => {
                let mut problem = Self::forbidden(text);
                problem.0.rule = Some(deny.id());
                problem
            }
            Refused::ChallengeNeeded => Self::challenge_needed("the key of this keyid is not held any more")
                .at("password")
                .with_remedy("encrypt the password again with the key of GET /api/v1/challenge"),
            Refused::Fault(fault) => fault.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, retry_after_s) = (self.0.status, self.0.retry_after_s);
        let mut response = (status, Json(*self.0)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, PROBLEM_JSON);
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Answers what no route is for.
pub(super) async fn no_route(request: axum::extract::Request) -> Problem {
    Problem::not_found(format!("there is nothing at {:?}", request.uri().path()))
}

/// Answers a method that a route does not take; `Allow` names those that it does.
pub(super) async fn no_method(request: axum::extract::Request) -> Problem {
    Problem::wrong_method(format!("{:?} does not take {}", request.uri().path(), request.method()))
}
