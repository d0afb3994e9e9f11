//! The public key for passwords, for our script: `GET /challenge?page=/signin`.

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::WebState;
use super::reply::Oops;
use super::visit::Visit;

/// Longest path of an action, in bytes.
const PAGE_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
pub(super) struct Wanted {
    /// The path of the form that the password is for.
    page: String,
}

/// The present key, the nonce of this visitor for the action, and the CSRF token: the page may be older than the
/// process.
pub(super) async fn challenge(
    State(web): State<WebState>,
    visit: Visit,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Oops> {
    let Ok(Query(Wanted { page })) = wanted else {
        return Err(Oops::Invalid("The action is not named.".to_owned()));
    };
    if page.len() > PAGE_BYTES_MAX || !page.starts_with('/') {
        return Err(Oops::Invalid("The action is no path.".to_owned()));
    }
    let challenge = web.gate.challenge_when_made().await?;
    let visitor = web.gate.binding(&visit.token());
    let answer = json!({
        "keyid": challenge.key.as_str(),
        "spki": challenge.spki_base64,
        "nonce": web.tokens.nonce(visitor, &page, &challenge.key),
        "csrf": web.tokens.csrf(visitor),
    });
    Ok(Json(answer).into_response())
}
