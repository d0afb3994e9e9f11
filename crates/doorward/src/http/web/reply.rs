//! Answers: pages, fragments, ways on, and what is said when something is not to be had.

use askama::Template;
use axum::http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use doorward_core::audit::AttemptId;
use doorward_core::identity::decide::{Misuse, MisuseKind};
use doorward_core::text::percent_encoded;

use super::shell::Shell;
use super::visit::{By, Visit};
use crate::fault::Fault;
use crate::gate::admin::Refused;

/// What a handler gives back.
pub type Answer = Result<Response, Oops>;

/// Tells our script where to go on.
const DW_GO: HeaderName = HeaderName::from_static("dw-go");
/// Tells our script that the key of a password is not held any more: it encrypts again, unseen.
const DW_CHALLENGE: HeaderName = HeaderName::from_static("dw-challenge");
const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
const HX_REFRESH: HeaderName = HeaderName::from_static("hx-refresh");
const HX_RETARGET: HeaderName = HeaderName::from_static("hx-retarget");
const HX_RESWAP: HeaderName = HeaderName::from_static("hx-reswap");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// Longest path that is come back to after signing in, in bytes.
const NEXT_BYTES_MAX: usize = 512;

/// Why a page is not to be had. The guard makes a page of it, a fragment for htmx.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Oops {
    /// 404: it is not there, or not for who asks; the two are not told apart (Q1).
    NotFound,
    /// 405.
    Method,
    /// 403, with the reason.
    Forbidden(String),
    /// 403: the form is not of this visitor.
    StaleForm,
    /// 408.
    TooSlow,
    /// 409, with what happened.
    Conflict(String),
    /// 409: a password must be encrypted again; the script does so.
    ChallengeNeeded,
    /// 413.
    TooLarge,
    /// 415.
    MediaType,
    /// 422, with what is wrong.
    Invalid(String),
    /// 500.
    Internal,
    /// 503: nothing was decided; again in so many milliseconds.
    Later(u32),
    /// Not here: go on at this path of ours.
    Go(String),
    /// The page is to be loaded anew.
    Reload,
}

impl Oops {
    const fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Forbidden(_) | Self::StaleForm => StatusCode::FORBIDDEN,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) | Self::ChallengeNeeded => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Later(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Go(_) | Self::Reload => StatusCode::SEE_OTHER,
        }
    }

    /// Title and text, where there is something to say.
    fn words(&self) -> Option<(&'static str, String)> {
        let (title, text) = match self {
            Self::NotFound => ("Nothing here", "This page does not exist, or it is not for you."),
            Self::Method => ("Not possible", "This address does not take what your browser sent."),
            Self::Forbidden(text) => return Some(("Not allowed", text.clone())),
            Self::StaleForm => (
                "The form is out of date",
                "Nothing was changed. Go back, load the page anew and send the form again.",
            ),
            Self::TooSlow => {
                ("Too slow", "What you sent did not arrive in time. Nothing was changed; try again.")
            }
            Self::Conflict(text) => return Some(("Changed meanwhile", text.clone())),
            Self::ChallengeNeeded => {
                ("Once more, please", "The key for your password was replaced. Send the form again.")
            }
            Self::TooLarge => ("Too much", "What you sent is larger than any form here."),
            Self::MediaType => ("Not a form", "This address takes forms only."),
            Self::Invalid(text) => return Some(("Something is missing", text.clone())),
            Self::Internal => {
                ("Our mistake", "Something went wrong on our side. Nothing you did caused it; try again.")
            }
            Self::Later(_) => ("Busy just now", "Nothing was decided. Try again in a moment."),
            Self::Go(_) | Self::Reload => return None,
        };
        Some((title, text.to_owned()))
    }
}

impl From<Fault> for Oops {
    fn from(fault: Fault) -> Self {
        match &fault {
            Fault::Busy(_) => Self::Later(500),
            Fault::Stopping => Self::Later(5_000),
            Fault::Disk(_) | Fault::Damaged(_) | Fault::Book(_) | Fault::Vault(_) => {
                tracing::error!(%fault, "a page could not be made");
                Self::Later(2_000)
            }
        }
    }
}

impl From<Misuse> for Oops {
    fn from(misuse: Misuse) -> Self {
        match misuse.kind {
            MisuseKind::NotFound => Self::NotFound,
            MisuseKind::Conflict => Self::Conflict(misuse.text),
            MisuseKind::Invalid => Self::Invalid(misuse.text),
        }
    }
}

impl From<Refused> for Oops {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Misuse(misuse) => misuse.into(),
            Refused::Rule(rule) => Self::Invalid(rule.doc().to_owned()),
            Refused::Denied(refusal) => Self::Forbidden(refusal.text),
            Refused::ChallengeNeeded => Self::ChallengeNeeded,
            Refused::Fault(fault) => fault.into(),
        }
    }
}

impl IntoResponse for Oops {
    /// Without a body: the guard, which knows the visit, fills it in.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if let Self::Later(retry_ms) = &self {
            response.headers_mut().insert(RETRY_AFTER, retry_ms.div_ceil(1_000).into());
        }
        if self == Self::ChallengeNeeded {
            response.headers_mut().insert(DW_CHALLENGE, HeaderValue::from_static("gone"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Sends the browser on to a path of ours, whichever way it asks.
pub fn go(path: impl Into<String>) -> Response {
    Oops::Go(path.into()).into_response()
}

/// A page or fragment with status 200.
pub fn page(template: &impl Template) -> Answer {
    page_with(StatusCode::OK, template)
}

/// A page or fragment. A form that is shown again with what is wrong with it has status 422.
pub fn page_with(status: StatusCode, template: &impl Template) -> Answer {
    match template.render() {
        Ok(html) => Ok((status, [(CONTENT_TYPE, HTML)], html).into_response()),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            Err(Oops::Internal)
        }
    }
}

/// A form that is shown again.
pub fn again(template: &impl Template) -> Answer {
    page_with(StatusCode::UNPROCESSABLE_ENTITY, template)
}

/// Where to sign in, and where to go on then.
pub fn sign_in_path(next: Option<&str>) -> String {
    match next.and_then(own_path) {
        Some(next) if next != "/" => format!("/signin?next={}", percent_encoded(next)),
        Some(_) | None => "/signin".to_owned(),
    }
}

/// A path that may be gone on to after signing in: one of ours, written so that no browser takes it for another site
/// (open redirects).
pub fn own_path(text: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~?=&%+,:@".contains(&b);
    let fits = text.len() <= NEXT_BYTES_MAX
        && stays_here(text)
        && text.bytes().all(plain)
        && !["/signin", "/signout", "/challenge", "/assets"].iter().any(|own| text.starts_with(own));
    fits.then_some(text)
}

/// Whether browsers take it for a path of this site: two slashes, of either kind, would name another.
pub(super) fn stays_here(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| !rest.starts_with(['/', '\\']))
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    shell: Shell,
    text: String,
    attempt: AttemptId,
}

#[derive(Template)]
#[template(path = "error_fragment.html")]
struct ErrorFragment {
    title: &'static str,
    text: String,
    attempt: AttemptId,
}

/// Puts into an answer what only the guard knows.
pub(super) fn complete(mut response: Response, visit: &Visit) -> Response {
    let Some(oops) = response.extensions_mut().remove::<Oops>() else { return response };
    let Some((title, text)) = oops.words() else { return on_the_way(response, oops, visit) };
    let attempt = visit.attempt();
    let html = match visit.by() {
        By::Htmx => ErrorFragment { title, text, attempt }.render(),
        By::Browser | By::Script => ErrorPage { shell: Shell::bare(title), text, attempt }.render(),
    };
    if visit.by() == By::Htmx {
        response.headers_mut().insert(HX_RETARGET, HeaderValue::from_static("#notice"));
        response.headers_mut().insert(HX_RESWAP, HeaderValue::from_static("innerHTML"));
    }
    response.headers_mut().insert(CONTENT_TYPE, HTML);
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, html.unwrap_or_default().into())
}

/// A way on, in the form that the asking side understands.
fn on_the_way(mut response: Response, oops: Oops, visit: &Visit) -> Response {
    if oops == Oops::Reload && visit.by() == By::Htmx {
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(HX_REFRESH, HeaderValue::from_static("true"));
        return response;
    }
    let path = if let Oops::Go(path) = oops { path } else { sign_in_path(None) };
    // Paths are ours, or went through `own_path`.
    let Ok(value) = HeaderValue::try_from(path) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let (status, name) = match visit.by() {
        By::Browser => (StatusCode::SEE_OTHER, LOCATION),
        By::Script => (StatusCode::NO_CONTENT, DW_GO),
        By::Htmx => (StatusCode::NO_CONTENT, HX_REDIRECT),
    };
    *response.status_mut() = status;
    response.headers_mut().insert(name, value);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_redirect_only_paths_of_ours_are_gone_on_to() {
        for path in ["/", "/account", "/console/people?q=a%20b&after=julian", "/console/people/j.smith@acme"]
        {
            assert_eq!(own_path(path), Some(path), "{path}");
        }
        for path in [
            "",
            "account",
            "//evil.test",
            "///evil.test",
            "/\\evil.test",
            "\\/evil.test",
            "https://evil.test",
            "javascript:alert(1)",
            "/\t/evil.test",
            "/a\r\nset-cookie: x",
            "/a b",
            "/a#b",
            "/\u{e9}",
            "/signin?next=/signin",
            "/signout",
        ] {
            assert_eq!(own_path(path), None, "{path:?}");
        }
        assert_eq!(own_path(&format!("/{}", "a".repeat(NEXT_BYTES_MAX))), None);
        assert_eq!(sign_in_path(Some("/console?x=1")), "/signin?next=%2Fconsole%3Fx%3D1");
        assert_eq!(sign_in_path(Some("//evil.test")), "/signin");
    }
}
