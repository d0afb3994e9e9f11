//! One request of a browser: where it comes from, its cookie, and the cookie that it is to have from now on.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, USER_AGENT};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use doorward_core::audit::AttemptId;
use doorward_core::text::{escape_untrusted, shortened};

use super::reply::Oops;
use super::site::Site;
use crate::fault::Fault;
use crate::gate::new_attempt;
use crate::gate::web::{Browser, Token};

/// Characters that are kept of what a browser calls itself.
const AGENT_CHARS_MAX: usize = 160;

/// How the browser asks: for a whole page, or by a script of ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// A link or a form.
    Browser,
    /// The script that encrypts passwords (`Dw-Fetch: 1`): it takes a whole page and puts the main part in.
    Script,
    /// htmx (`HX-Request: true`): it takes fragments.
    Htmx,
}

/// One request; an extractor for every handler.
#[derive(Clone, Debug)]
pub struct Visit(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    browser: Browser,
    by: By,
    path_and_query: String,
    cookie: Mutex<Cookie>,
}

/// The cookie of a request, and what becomes of it.
#[derive(Debug)]
struct Cookie {
    token: Token,
    /// Whether the browser has it already.
    known: bool,
}

impl Visit {
    pub(super) fn new(parts: &Parts, site: &Site, source: IpAddr) -> Result<Self, Fault> {
        let headers = &parts.headers;
        let sent = token_of(headers, site.cookie_name());
        let known = sent.is_some();
        let token = sent.map_or_else(Token::random, Ok)?;
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let agent = escape_untrusted(&shortened(agent, AGENT_CHARS_MAX)).into_owned();
        let has = |name: &str, value: &str| headers.get(name).is_some_and(|field| field == value);
        let by = if has("hx-request", "true") {
            By::Htmx
        } else if has("dw-fetch", "1") {
            By::Script
        } else {
            By::Browser
        };
        let path_and_query = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let browser = Browser { source, agent, attempt: new_attempt() };
        let cookie = Mutex::new(Cookie { token, known });
        Ok(Self(Arc::new(Inner { browser, by, path_and_query, cookie })))
    }

    /// The circumstances, for the gate.
    pub fn browser(&self) -> &Browser {
        &self.0.browser
    }

    /// Ties together what belongs to this request.
    pub fn attempt(&self) -> AttemptId {
        self.0.browser.attempt
    }

    /// How the browser asks.
    pub fn by(&self) -> By {
        self.0.by
    }

    /// The path with what is behind the question mark.
    pub fn path_and_query(&self) -> &str {
        &self.0.path_and_query
    }

    /// The token of the cookie: that of the request, or the one that goes back with the answer.
    pub fn token(&self) -> Token {
        self.cookie().token.clone()
    }

    /// Gives the browser another token with the answer.
    pub fn set_token(&self, token: Token) {
        *self.cookie() = Cookie { token, known: false };
    }

    /// The field that gives the browser its cookie, where it has another one or none.
    pub(super) fn set_cookie(&self, site: &Site) -> Option<HeaderValue> {
        let cookie = self.cookie();
        if cookie.known {
            return None;
        }
        let secure = if site.is_secure() { "; Secure" } else { "" };
        let (name, token) = (site.cookie_name(), cookie.token.expose());
        let text = format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict{secure}");
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn cookie(&self) -> MutexGuard<'_, Cookie> {
        self.0.cookie.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token that a request brings; of two cookies of the name neither is believed.
pub(super) fn token_of(headers: &HeaderMap, name: &str) -> Option<Token> {
    let mut found = None;
    for field in headers.get_all(COOKIE) {
        for pair in field.to_str().ok()?.split(';') {
            let Some((key, value)) = pair.trim().split_once('=') else { continue };
            if key != name {
                continue;
            }
            if found.is_some() {
                return None;
            }
            found = Some(value);
        }
    }
    found.and_then(Token::parse)
}

/// Body for fuzzing: of any `Cookie` fields, one a line, a token comes that one of them holds, and that alone.
pub fn fuzz(bytes: &[u8]) {
    const NAME: &str = "__Host-dw_session";
    let mut headers = HeaderMap::new();
    for field in bytes.split(|byte| *byte == b'\n').filter_map(|field| HeaderValue::from_bytes(field).ok()) {
        headers.append(COOKIE, field);
    }
    if let Some(token) = token_of(&headers, NAME) {
        let pair = format!("{NAME}={}", token.expose());
        let times = String::from_utf8_lossy(bytes).matches(&pair).count();
        assert!(times >= 1, "a token from nowhere");
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visit {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // The guard puts one into every request before any handler sees it.
        parts.extensions.get::<Self>().cloned().ok_or(Oops::Internal)
    }
}
