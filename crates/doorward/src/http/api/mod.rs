//! The HTTP API under `/api/v1`: firms, policies, people, audit, the node.
//!
//! Whoever listens puts an [`Actor`](doorward_core::audit::Actor) into the extensions of each request; without one
//! nothing is served.

mod audit;
mod firms;
mod halts;
mod keys;
mod node;
mod people;
mod read;
mod sessions;
mod show;
#[cfg(test)]
mod tests;
mod venue;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, ETAG};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{AppendHeaders, IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::Value;

use super::problem::{self, Problem};
use crate::clock::Clock;
use crate::doors::fix::FixHandle;
use crate::fault::Fault;
use crate::gate::Gate;

/// A record of the audit trail as the API shows it.
pub(crate) use self::show::entry as audit_entry;

/// Largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = doorward_core::limits::Limit::ApiBodyBytes.max() as usize;

/// What the API stands on.
#[derive(Clone)]
pub struct ApiState {
    /// Decides.
    pub gate: Arc<Gate>,
    /// `node.name`.
    pub node: Arc<str>,
    /// The gate's clock, where it may be moved (demo only); without it there are no such routes.
    pub demo_clock: Option<Arc<Clock>>,
    /// The FIX door, where one is open.
    pub fix: Option<FixHandle>,
}

/// The API. It says who may do what once it is told who asks.
pub fn router(state: ApiState) -> Router {
    let mut plain = Router::new()
        .route("/api/v1/challenge", get(node::challenge))
        .route("/api/v1/status", get(node::status))
        .route("/api/v1/firms", get(firms::list).post(firms::add))
        .route("/api/v1/firms/{code}", get(firms::show))
        .route("/api/v1/firms/{code}/close", post(firms::close))
        .route("/api/v1/firms/{code}/open", post(firms::open))
        .route("/api/v1/firms/{code}/policy", get(firms::policy).put(firms::set_policy))
        .route("/api/v1/firms/{code}/key-hours", post(keys::open_hours))
        .route("/api/v1/policy", get(firms::venue_policy).put(firms::set_venue_policy))
        .route("/api/v1/people", post(people::add))
        .route("/api/v1/people/{userid}", get(people::show).patch(people::edit))
        .route("/api/v1/people/{userid}/password", post(people::set_password))
        .route(
            "/api/v1/people/{userid}/authenticator",
            post(people::issue_authenticator).delete(people::revoke_authenticator),
        )
        .route("/api/v1/people/{userid}/unlock", post(people::unlock))
        .route("/api/v1/people/{userid}/recover", post(people::recover))
        .route("/api/v1/sessions", post(sessions::add))
        .route("/api/v1/sessions/{id}", get(sessions::show).patch(sessions::edit))
        .route("/api/v1/sessions/{id}/lock", post(sessions::lock))
        .route("/api/v1/sessions/{id}/reopen", post(sessions::reopen))
        .route("/api/v1/sessions/{id}/end", post(sessions::end))
        .route("/api/v1/sessions/{id}/set-next", post(sessions::set_next))
        .route("/api/v1/sessions/{id}/keys", get(keys::list).post(keys::create))
        .route("/api/v1/sessions/{id}/keys/{key}", delete(keys::delete))
        .route("/api/v1/sessions/{id}/keys/{key}/download", post(keys::download));
    plain = plain
        .route("/api/v1/halts", get(halts::list).post(halts::throw))
        .route("/api/v1/halts/lift", post(halts::lift))
        .route("/api/v1/streams", get(venue::streams))
        .route("/api/v1/streams/{stream}/messages", post(venue::send));
    if state.demo_clock.is_some() {
        plain = plain.route("/api/v1/demo/clock", get(node::clock).post(node::move_clock));
    }
    // Of these alone there are parameters behind the question mark.
    let listing = Router::new()
        .route("/api/v1/people", get(people::list))
        .route("/api/v1/sessions", get(sessions::list))
        .route("/api/v1/streams/{stream}/messages", get(venue::messages))
        .route("/api/v1/audit", get(audit::list));
    plain
        .route_layer(middleware::from_fn(no_parameters))
        .merge(listing)
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(middleware::map_response(not_stored))
        .layer(middleware::from_fn_with_state(Arc::clone(&state.gate), to_the_end))
        .with_state(state)
}

/// An answer with the version of what it shows, for `If-Match`.
type Tagged = (AppendHeaders<[(HeaderName, String); 1]>, Json<Value>);

fn tagged(version: u64, shown: Value) -> Tagged {
    (AppendHeaders([(ETAG, format!("\"{version}\""))]), Json(shown))
}

/// What changes something is done to its end once begun, whoever has gone meanwhile: what is in the journal is in
/// memory, too (S8, H7). A node that stops waits for it.
async fn to_the_end(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    if request.method().is_safe() {
        return next.run(request).await;
    }
    let working = gate.begin();
    let done = tokio::spawn(async move {
        let response = next.run(request).await;
        drop(working);
        response
    });
    match done.await {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Problem::from(Fault::Stopping).into_response(),
        },
    }
}

async fn no_parameters(request: Request, next: Next) -> Response {
    match request.uri().query() {
        None | Some("") => next.run(request).await,
        Some(_) => Problem::malformed("this route takes no parameters in its address").into_response(),
    }
}

/// Answers hold what is shown once; nothing between here and the reader keeps them.
async fn not_stored(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
