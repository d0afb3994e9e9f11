//! The portal: registration, the own password, the own account, and the claim of a new node.
//!
//! `/setup` or the sign-in page → `/password`, where it is an initial one → `/register` → the recovery codes. A page
//! that is closed on the way loses nothing: its first step leads back to where it was. No GET changes anything (K3).

mod account;
mod attempts;
mod claim;
mod password;
mod recovery;
mod register;
mod seed;
mod setup;
#[cfg(test)]
mod tests;
mod words;

use axum::routing::{get, post};

use super::pages::Pages;

/// The pages of the portal.
pub(super) fn routes() -> Pages {
    Pages::new()
        .route("/setup", get(setup::show).post(setup::enter))
        .route("/password", get(password::show).post(password::change))
        .route("/register", get(register::show).post(register::begin))
        .route("/register/code", get(register::show).post(register::confirm))
        .route("/signin/recovery", get(recovery::show).post(recovery::enter))
        .route("/claim", get(claim::show).post(claim::begin))
        .route("/claim/code", get(claim::show).post(claim::confirm))
        .route("/account", get(account::show))
        .route("/account/attempts", get(attempts::show))
        .route("/account/recovery-codes", get(recovery::show_codes).post(recovery::make_codes))
        .route("/account/sessions/end", post(account::end_session))
        .route("/account/sessions/end-others", post(account::end_others))
        .route("/account/connections/end", post(account::end_connection))
}
