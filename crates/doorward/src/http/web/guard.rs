//! What every request passes: the names that are taken, who may post, the cookie, and the fields that keep browsers
//! from doing what no page of ours asks for.

use askama::Template;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, FORWARDED, HOST, ORIGIN, REFERRER_POLICY, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::WebState;
use super::reply::{Oops, complete, page, stays_here};
use super::shell::Shell;
use super::visit::{By, Visit, token_of};
use crate::doors::source::Source;

/// Nothing but our own files, no inline script or style, in nobody's frame.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
);
const PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), camera=(), geolocation=(), gyroscope=(), microphone=(), payment=(), usb=(), \
     clipboard-write=(self)",
);
const ONE_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

#[derive(Template)]
#[template(path = "bounce.html")]
struct Bounce {
    shell: Shell,
    here: String,
}

/// Takes a request and completes its answer.
pub(super) async fn guard(State(web): State<WebState>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let source = source_of(&web, &mut parts);
    let Ok(visit) = Visit::new(&parts, &web.site, source.addr) else {
        return Oops::Internal.into_response();
    };
    let (refused, bounced) = match admitted(&web, &parts) {
        Err(oops) => (Some(oops), false),
        Ok(()) => (None, comes_without_its_cookie(&web, &parts, &visit)),
    };
    // Assets need no cookie, and an answer to a page of another site must not take the place of one.
    let keeps_cookie = refused.is_some() || bounced || parts.uri.path().starts_with("/assets/");
    let response = if let Some(oops) = refused {
        oops.into_response()
    } else if bounced {
        let bounce = Bounce { shell: Shell::bare("One moment"), here: visit.path_and_query().to_owned() };
        page(&bounce).into_response()
    } else {
        parts.extensions.insert(visit.clone());
        to_the_end(&web, Request::from_parts(parts, body), next).await
    };
    let mut response = complete(response, &visit);
    if !keeps_cookie && let Some(cookie) = visit.set_cookie(&web.site) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    protect(response.headers_mut(), web.site.is_secure());
    response
}

/// Where a request comes from, behind trusted proxies too. A field that cannot be read names nobody.
fn source_of(web: &WebState, parts: &mut Parts) -> Source {
    let peer = parts.extensions.get::<Source>().copied();
    let peer = peer.unwrap_or_else(|| Source::new(std::net::Ipv4Addr::UNSPECIFIED.into()));
    let fields = parts.headers.get_all(FORWARDED).iter().map(HeaderValue::as_bytes);
    peer.forwarded(&web.entrance.trusted, fields).unwrap_or_else(|malformed| {
        tracing::warn!(proxy = %peer, "Forwarded: {}", malformed.0);
        peer
    })
}

/// Whether a request is meant for us and, where it changes something, comes from a page of ours (S13).
fn admitted(web: &WebState, parts: &Parts) -> Result<(), Oops> {
    let not_here = || Oops::Forbidden("This server is not reached by that name.".to_owned());
    let host = only(&parts.headers, &HOST).ok_or_else(not_here)?;
    let named = parts.uri.authority().is_none_or(|authority| authority.as_str() == host);
    if !named || !web.site.takes_host(host) {
        return Err(not_here());
    }
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let elsewhere = || Oops::Forbidden("The form was sent by a page of another site.".to_owned());
    let field = HeaderName::from_static("sec-fetch-site");
    // One that comes twice is nothing that a browser sends.
    let fetch_site =
        parts.headers.contains_key(&field).then(|| only(&parts.headers, &field).unwrap_or("twice"));
    // Browsers name the origin of everything that is posted; what names none is no browser.
    let origin = only(&parts.headers, &ORIGIN).ok_or_else(elsewhere)?;
    let is_own = match fetch_site {
        // As our pages send no Referer, the origin of their forms is "null"; this field no page can forge.
        Some("same-origin") => origin == "null" || web.site.is_own_origin(origin, host),
        Some(_) => false,
        None => web.site.is_own_origin(origin, host),
    };
    if is_own { Ok(()) } else { Err(elsewhere()) }
}

/// A field that comes once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?.to_str().ok()?;
    all.next().is_none().then_some(first)
}

/// Whether a link from elsewhere, such as a mail in a web mailbox, led here: a browser keeps a SameSite=Strict cookie
/// back then. The page goes on to itself, this time from our own site, and brings the cookie.
fn comes_without_its_cookie(web: &WebState, parts: &Parts, visit: &Visit) -> bool {
    let field = |name| only(&parts.headers, &HeaderName::from_static(name));
    parts.method == Method::GET
        && visit.by() == By::Browser
        && stays_here(visit.path_and_query())
        && !parts.uri.path().starts_with("/assets/")
        && token_of(&parts.headers, web.site.cookie_name()).is_none()
        && matches!(field("sec-fetch-site"), Some("cross-site" | "same-site"))
        && field("sec-fetch-mode") == Some("navigate")
}

/// What changes something is done to its end once begun, whoever has gone meanwhile. A node that stops waits for it.
async fn to_the_end(web: &WebState, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let working = web.gate.begin();
    let done = tokio::spawn(async move {
        let response = next.run(request).await;
        drop(working);
        response
    });
    done.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a form was not dealt with");
        Oops::Internal.into_response()
    })
}

fn protect(headers: &mut HeaderMap, secure: bool) {
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("permissions-policy"), PERMISSIONS);
    for name in ["cross-origin-opener-policy", "cross-origin-resource-policy"] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static("same-origin"));
    }
    if secure {
        headers.insert(STRICT_TRANSPORT_SECURITY, ONE_YEAR);
    }
    headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
}
