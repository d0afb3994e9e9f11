//! What a request says, read strictly: every fault names its field.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{CONTENT_TYPE, IF_MATCH};
use axum::http::request::Parts;
use doorward_core::audit::Actor;
use doorward_core::id::{AccessKeyId, FirmCode, SessionId, UserId};
use doorward_core::text::shortened;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::BODY_BYTES_MAX;
use crate::http::problem::Problem;

/// How long a body may take.
const BODY_MAX: Duration = Duration::from_secs(10);
/// Most words that are listed where one of them is meant.
const LISTED_MAX: usize = 12;

/// Who asks, as the listener says.
pub(super) struct Caller(pub(super) Actor);

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let actor = parts.extensions.get::<Actor>().cloned();
        actor.map(Self).ok_or_else(|| Problem::forbidden("nobody is known to ask"))
    }
}

/// The firm that the path names.
pub(super) struct FirmPath(pub(super) FirmCode);

impl<S: Send + Sync> FromRequestParts<S> for FirmPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        firm_code("code", &segment("code", parts, state).await?).map(Self)
    }
}

/// The person that the path names.
pub(super) struct UserPath(pub(super) UserId);

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        user_id("userid", &segment("userid", parts, state).await?).map(Self)
    }
}

/// The FIX session that the path names.
pub(super) struct SessionPath(pub(super) SessionId);

impl<S: Send + Sync> FromRequestParts<S> for SessionPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        session_id("id", &segment("id", parts, state).await?).map(Self)
    }
}

/// The key pair that the path names, with its session.
pub(super) struct KeyPath(pub(super) SessionId, pub(super) AccessKeyId);

impl<S: Send + Sync> FromRequestParts<S> for KeyPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(Path((id, key))) = Path::<(String, String)>::from_request_parts(parts, state).await else {
            return Err(Problem::invalid("key", "not UTF-8 in percent-encoding"));
        };
        Ok(Self(session_id("id", &id)?, access_key("key", &key)?))
    }
}

async fn segment<S: Send + Sync>(field: &str, parts: &mut Parts, state: &S) -> Result<String, Problem> {
    match Path::<String>::from_request_parts(parts, state).await {
        Ok(Path(text)) => Ok(text),
        Err(_) => Err(Problem::invalid(field, "not UTF-8 in percent-encoding")),
    }
}

/// The version that `If-Match` names; `None` where any will do.
pub(super) struct IfMatch(pub(super) Option<u64>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(IF_MATCH) else { return Ok(Self(None)) };
        let tag = value.to_str().unwrap_or_default().trim();
        if tag == "*" {
            return Ok(Self(None));
        }
        let version =
            tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
        let wrong = || Problem::invalid("If-Match", "not an entity tag such as \"3\"");
        version.map(|version| Self(Some(version))).ok_or_else(wrong)
    }
}

/// A JSON object as the body; nothing at all is an empty one. Every field of `T` has a default.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let is_json = request.headers().get(CONTENT_TYPE).is_some_and(|value| {
            let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        });
        let bytes = body(request).await?;
        if bytes.is_empty() {
            return object(b"{}").map(Self);
        }
        if !is_json {
            return Err(Problem::not_json("the body must come with content-type: application/json"));
        }
        object(&bytes).map(Self)
    }
}

/// A body without any field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

async fn body(request: Request) -> Result<Bytes, Problem> {
    let whole = to_bytes(request.into_body(), BODY_BYTES_MAX);
    match tokio::time::timeout(BODY_MAX, whole).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_long(&error) => {
            Err(Problem::too_long(format!("the body is longer than {BODY_BYTES_MAX} bytes")))
        }
        Ok(Err(_)) => Err(Problem::malformed("the body broke off")),
        Err(_) => Err(Problem::too_slow(format!("no whole body within {} s", BODY_MAX.as_secs()))),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Reads an object; where it does not fit, the field that does not is found by reading each alone.
fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let error = match serde_json::from_slice::<T>(bytes) {
        // A list of values in the order of the fields would do for serde.
        Ok(read) if bytes.trim_ascii_start().starts_with(b"{") => return Ok(read),
        Ok(_) => return Err(Problem::malformed("the body is JSON, but no object")),
        Err(error) => error,
    };
    let fields = match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(Problem::malformed("the body is JSON, but no object")),
        Err(error) => return Err(Problem::malformed(format!("the body is not JSON: {error}"))),
    };
    for (name, value) in fields {
        let alone = Map::from_iter([(name.clone(), value)]);
        if let Err(error) = serde_json::from_value::<T>(Value::Object(alone)) {
            return Err(Problem::invalid(shortened(&name, 64), plain(&error)));
        }
    }
    Err(Problem::malformed(plain(&error)))
}

/// What is wrong, without the place in the text.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// Reads a field that may be given as `null`: absent is `None`, `null` is `Some(None)`.
pub(super) fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

/// The parameters behind the question mark, each at most once.
pub(super) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(_) => Err(Problem::malformed("the parameters in the address cannot be read")),
        }
    }
}

impl Params {
    /// Takes a parameter out; an empty one is as good as none.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let Some(at) = self.0.iter().position(|(known, _)| known == name) else { return Ok(None) };
        let (_, value) = self.0.remove(at);
        if self.0.iter().any(|(known, _)| known == name) {
            return Err(Problem::invalid(name, "given twice"));
        }
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    /// How many items to list: 100 unless told, 1 to 500.
    pub(super) fn limit(&mut self) -> Result<usize, Problem> {
        let Some(text) = self.take("limit")? else { return Ok(100) };
        let limit = text.parse().ok().filter(|limit| (1..=500).contains(limit));
        limit.ok_or_else(|| {
            Problem::invalid("limit", format!("{:?} is out of range 1..=500", shortened(&text, 32)))
        })
    }

    /// Refuses what was not taken.
    pub(super) fn end(self, known: &[&str]) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::invalid(
                shortened(name, 64),
                format!("no such parameter, expected one of {}", known.join(", ")),
            )),
        }
    }
}

/// Reads a firm's code.
pub(super) fn firm_code(field: &'static str, text: &str) -> Result<FirmCode, Problem> {
    FirmCode::parse(text)
        .map_err(|why| Problem::invalid(field, format!("{:?} is {why}", shortened(text, 32))))
}

/// Reads a Session ID.
pub(super) fn session_id(field: &'static str, text: &str) -> Result<SessionId, Problem> {
    SessionId::parse(text.as_bytes()).ok_or_else(|| {
        Problem::invalid(field, format!("{:?} is not 3 characters of A-Z and 0-9", shortened(text, 32)))
    })
}

/// Reads an Access Key ID.
pub(super) fn access_key(field: &'static str, text: &str) -> Result<AccessKeyId, Problem> {
    AccessKeyId::parse(text.as_bytes()).ok_or_else(|| {
        let shown = shortened(text, 32);
        Problem::invalid(field, format!("{shown:?} is not 20 characters of A-Z, a-z and 0-9"))
    })
}

/// Reads names of one kind.
pub(super) fn names<T: Ord>(
    field: &'static str,
    texts: &[String],
    parse: impl Fn(&[u8]) -> Option<T>,
    allowed: &str,
) -> Result<BTreeSet<T>, Problem> {
    let read = |text: &String| {
        let wrong = || Problem::invalid(field, format!("{:?} is not {allowed}", shortened(text, 32)));
        parse(text.as_bytes()).ok_or_else(wrong)
    };
    texts.iter().map(read).collect()
}

/// Reads a user id.
pub(super) fn user_id(field: &'static str, text: &str) -> Result<UserId, Problem> {
    UserId::parse(text).map_err(|why| Problem::invalid(field, why))
}

/// Reads a word of a table.
pub(super) fn word<T>(
    field: &'static str,
    text: &str,
    known: impl Fn(&str) -> Option<T>,
    words: impl Iterator<Item = &'static str>,
) -> Result<T, Problem> {
    known(text).ok_or_else(|| {
        let words: Vec<_> = words.collect();
        let shown = shortened(text, 64);
        let text = if words.len() <= LISTED_MAX {
            format!("{shown:?} is none of {}", words.join(", "))
        } else {
            let nearest = words.iter().min_by_key(|word| strsim::damerau_levenshtein(word, &shown));
            format!("{shown:?} is not known; did you mean {}?", nearest.copied().unwrap_or_default())
        };
        Problem::invalid(field, text)
    })
}

/// What must be there.
pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, Problem> {
    value.ok_or_else(|| Problem::invalid(field, "missing"))
}
