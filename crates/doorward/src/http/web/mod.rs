//! Portal and console: pages for people, on a listener of their own.
//!
//! The [`guard`] takes each request: its `Host`, where it comes from, its cookie; what posts must be a page of ours. A
//! handler asks who it is by an extractor of [`asking`], demands the CSRF token by taking a [`form::Form`], and
//! answers by [`reply`]. Templates extend `base.html` and have a field `shell` ([`shell::Shell`]).

pub mod asking;
pub mod assets;
mod challenge;
mod console;
pub mod form;
pub mod guard;
mod pages;
mod portal;
pub mod reply;
pub mod shell;
mod sign_in;
pub mod site;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod visit;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use doorward_core::audit::Door;
use doorward_core::limits::Limit;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::serve::{Timing, counted, serve};
use crate::doors::accept::accept;
use crate::doors::admission::{Admission, Limits};
use crate::doors::link::Entrance;
use crate::doors::source::Source;
use crate::gate::Gate;
use crate::metrics;
use pages::Pages;
use reply::Oops;
use site::Site;
use tokens::Tokens;

/// Most connections at one time; past it the oldest makes room (S10).
pub const CONNECTIONS_MAX: usize = Limit::WebConnections.max() as usize;

/// What all pages stand on.
#[derive(Clone)]
pub struct WebState(Arc<Web>);

impl std::ops::Deref for WebState {
    type Target = Web;

    fn deref(&self) -> &Web {
        &self.0
    }
}

/// See [`WebState`].
pub struct Web {
    /// Decides.
    pub gate: Arc<Gate>,
    /// Where the pages are reached.
    pub site: Site,
    /// Makes CSRF tokens and nonces.
    pub tokens: Tokens,
    /// TLS and trusted proxies of the listener.
    pub entrance: Entrance,
}

impl WebState {
    /// Pages over a gate, reached at a site. All listeners of a node share the key of `tokens`.
    pub fn new(gate: Arc<Gate>, site: Site, tokens: Tokens, entrance: Entrance) -> Self {
        Self(Arc::new(Web { gate, site, tokens, entrance }))
    }
}

/// All pages. The connection puts a [`Source`] into the extensions of each request.
pub fn router(web: WebState) -> Router {
    around(routes().into_router(), web)
}

/// The paths of all pages, as they are served: whatever is to hold for each of them is proved with this list.
pub fn paths() -> Vec<&'static str> {
    routes().into_paths()
}

/// The pages alone; each set of pages is merged in here.
fn routes() -> Pages {
    Pages::new()
        .route("/", get(sign_in::home))
        .route("/signin", get(sign_in::show).post(sign_in::password))
        .route("/signin/code", get(sign_in::show_code).post(sign_in::code))
        .route("/signout", post(sign_in::sign_out))
        .route("/challenge", get(challenge::challenge))
        .route("/assets/{name}", get(assets::serve))
        .merge(console::routes())
        .merge(portal::routes())
}

/// Pages with what every request passes.
fn around(routes: Router<WebState>, web: WebState) -> Router {
    let pages = routes
        .fallback(async || Oops::NotFound)
        .method_not_allowed_fallback(async || Oops::Method)
        .layer(middleware::from_fn_with_state(web.clone(), guard::guard))
        .with_state(web);
    counted(pages, Door::Portal.id())
}

/// Serves the pages on a listener until `stopping` is over, then finishes what is being answered.
pub async fn serve_listener(
    listener: TcpListener,
    web: WebState,
    limits: Limits,
    stopping: impl Future<Output = ()>,
) {
    let pages = router(web.clone());
    serve_pages(listener, web, pages, limits, stopping).await;
}

async fn serve_pages(
    listener: TcpListener,
    web: WebState,
    pages: Router,
    limits: Limits,
    stopping: impl Future<Output = ()>,
) {
    let admission = Admission::new(Door::Portal.id(), limits);
    let (stop, stopped) = watch::channel(false);
    let mut serving = JoinSet::new();
    accept(&listener, &admission, stopping, |stream, peer, slot| {
        while serving.try_join_next().is_some() {}
        let (pages, web, mut stopped) = (pages.clone(), web.clone(), stopped.clone());
        serving.spawn(async move {
            // An error means that the sender is gone: that is a stop, too.
            let stopped = async { drop(stopped.wait_for(|stop| *stop).await) };
            tokio::select! {
                () = slot.evicted() => {}
                () = connection(stream, peer, web, pages, stopped) => {}
            }
        });
    })
    .await;
    drop(listener);
    stop.send_replace(true);
    while serving.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    web: WebState,
    pages: Router,
    stopped: impl Future<Output = ()>,
) {
    match web.entrance.enter(stream, peer).await {
        Ok((link, source)) => {
            let pages = pages.layer(axum::Extension::<Source>(source));
            serve(link, pages, Timing::default(), stopped).await;
        }
        Err(refusal) => metrics::connection_refused(Door::Portal.id(), refusal.reason()),
    }
}
