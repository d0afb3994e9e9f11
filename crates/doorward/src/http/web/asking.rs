//! Extractors that say who asks: [`SignedIn`], [`OnConsole`], [`AtDesk`], [`Watching`] and [`Underway`].

use axum::extract::FromRequestParts;
use axum::http::Method;
use axum::http::request::Parts;
use doorward_core::identity::person::Kind;

use super::WebState;
use super::reply::{Oops, sign_in_path};
use super::visit::Visit;
use crate::gate::web::{Asker, Present, Session};

/// Somebody who is signed in; anybody else is sent to the sign-in page.
#[derive(Clone, Debug)]
pub struct SignedIn(pub Asker);

/// An administrator or desk operator who is signed in; to others there is no such page (Q1).
#[derive(Clone, Debug)]
pub struct OnConsole(pub Asker);

/// An operator of the desk who is signed in; to others there is no such page (Q1).
#[derive(Clone, Debug)]
pub struct AtDesk(pub Asker);

/// Somebody whose page asks by itself: the session is not used by it, so that it ends on time all the same (S7). Where
/// nobody is signed in the page is loaded anew.
#[derive(Clone, Debug)]
pub struct Watching(pub Asker);

/// Somebody between the right password and being signed in; anybody else is sent to the sign-in page.
#[derive(Clone, Debug)]
pub struct Underway(pub Session);

impl SignedIn {
    /// Who is signed in after a step that changed the session, such as [`Form::step_up`](super::form::Form::step_up).
    pub async fn anew(web: &WebState, visit: &Visit) -> Result<Self, Oops> {
        match web.gate.present(&visit.token(), visit.browser(), true).await? {
            Present::SignedIn(asker) => Ok(Self(*asker)),
            Present::Stranger | Present::Underway(_) => Err(Oops::Go(sign_in_path(None))),
        }
    }
}

impl FromRequestParts<WebState> for SignedIn {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, web: &WebState) -> Result<Self, Oops> {
        let visit = Visit::from_request_parts(parts, web).await?;
        match web.gate.present(&visit.token(), visit.browser(), true).await? {
            Present::SignedIn(asker) => Ok(Self(*asker)),
            Present::Stranger | Present::Underway(_) => Err(to_sign_in(parts, &visit)),
        }
    }
}

impl FromRequestParts<WebState> for OnConsole {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, web: &WebState) -> Result<Self, Oops> {
        let SignedIn(asker) = SignedIn::from_request_parts(parts, web).await?;
        if asker.is_console() { Ok(Self(asker)) } else { Err(not_for(&asker, parts, web).await?) }
    }
}

impl FromRequestParts<WebState> for AtDesk {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, web: &WebState) -> Result<Self, Oops> {
        let SignedIn(asker) = SignedIn::from_request_parts(parts, web).await?;
        match asker.kind {
            Kind::Desk => Ok(Self(asker)),
            Kind::Administrator | Kind::Trader | Kind::Service => Err(not_for(&asker, parts, web).await?),
        }
    }
}

impl FromRequestParts<WebState> for Watching {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, web: &WebState) -> Result<Self, Oops> {
        let visit = Visit::from_request_parts(parts, web).await?;
        match web.gate.present(&visit.token(), visit.browser(), false).await? {
            Present::SignedIn(asker) => Ok(Self(*asker)),
            Present::Stranger | Present::Underway(_) => Err(Oops::Reload),
        }
    }
}

impl FromRequestParts<WebState> for Underway {
    type Rejection = Oops;

    async fn from_request_parts(parts: &mut Parts, web: &WebState) -> Result<Self, Oops> {
        let visit = Visit::from_request_parts(parts, web).await?;
        match web.gate.present(&visit.token(), visit.browser(), true).await? {
            Present::Underway(session) => Ok(Self(*session)),
            Present::SignedIn(_) | Present::Stranger => Err(Oops::Go("/signin".to_owned())),
        }
    }
}

/// A page that is not for whoever asks; that they did is written down.
async fn not_for(asker: &Asker, parts: &mut Parts, web: &WebState) -> Result<Oops, Oops> {
    let visit = Visit::from_request_parts(parts, web).await?;
    web.gate.not_for(asker, visit.browser()).await?;
    Ok(Oops::NotFound)
}

/// A page that was to be seen is come back to; a form that was sent is not.
fn to_sign_in(parts: &Parts, visit: &Visit) -> Oops {
    let next = (parts.method == Method::GET).then(|| visit.path_and_query());
    Oops::Go(sign_in_path(next))
}
