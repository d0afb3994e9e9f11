//! Measurements and health, on a listener of their own: `/metrics`, `/healthz`, `/readyz`.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::problem::{self, Problem};
use super::serve::{Timing, counted, serve};
use crate::doors::accept::accept;
use crate::doors::admission::{Admission, Limits};
use crate::doors::fix::FixHandle;
use crate::doors::origin::host_is_loopback;
use crate::doors::tls::Tls;
use crate::gate::Gate;
use crate::metrics;

/// Most connections at one time; past it the oldest makes room (S10).
const CONNECTIONS_MAX: usize = doorward_core::limits::Limit::OpsConnections.max() as usize;
/// The listener's name in measurements.
const DOOR: &str = "metrics";

/// What measurements and health are taken from.
#[derive(Clone)]
pub struct Ops {
    /// Says whether it is ready.
    pub gate: Arc<Gate>,
    /// What was measured; see [`metrics::install`].
    pub measured: PrometheusHandle,
    /// The FIX door, where there is one.
    pub fix: Option<FixHandle>,
    /// Becomes true when the server begins to stop: from then on it is not ready.
    pub stopping: watch::Receiver<bool>,
}

/// The three pages. Where the listener is on loopback, `Host` must name this machine.
pub fn router(ops: Ops, on_loopback: bool) -> Router {
    let pages = Router::new()
        .route("/metrics", get(measurements))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .with_state(ops);
    let pages = if on_loopback { pages.layer(middleware::from_fn(this_machine)) } else { pages };
    counted(pages, DOOR)
}

/// Serves the pages until `stopping` is over, then finishes what is being answered.
pub async fn serve_listener(
    listener: TcpListener,
    ops: Ops,
    tls: Option<Tls>,
    stopping: impl Future<Output = ()>,
) {
    let on_loopback = listener.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback());
    let pages = router(ops, on_loopback);
    let limits = Limits { open_max: CONNECTIONS_MAX, silent_max: CONNECTIONS_MAX };
    let admission = Admission::new(DOOR, limits);
    let (stop, stopped) = watch::channel(false);
    let mut serving = JoinSet::new();
    accept(&listener, &admission, stopping, |stream: TcpStream, _: SocketAddr, slot| {
        while serving.try_join_next().is_some() {}
        let (pages, tls, mut stopped) = (pages.clone(), tls.clone(), stopped.clone());
        serving.spawn(async move {
            // An error means that the sender is gone: that is a stop, too.
            let stopped = async { drop(stopped.wait_for(|stop| *stop).await) };
            tokio::select! {
                () = slot.evicted() => {}
                () = connection(stream, tls, pages, stopped) => {}
            }
        });
    })
    .await;
    stop.send_replace(true);
    while serving.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, tls: Option<Tls>, pages: Router, stopped: impl Future<Output = ()>) {
    match tls {
        None => serve(stream, pages, Timing::default(), stopped).await,
        Some(tls) => match tls.handshake(stream).await {
            Ok(stream) => serve(stream, pages, Timing::default(), stopped).await,
            Err(_) => metrics::connection_refused(DOOR, "tls"),
        },
    }
}

async fn this_machine(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    if host_is_loopback(host) {
        return next.run(request).await;
    }
    metrics::connection_refused(DOOR, "host");
    Problem::forbidden("this listener is on loopback, and the Host field names another machine")
        .with_remedy("ask for 127.0.0.1 or localhost")
        .into_response()
}

async fn measurements(State(ops): State<Ops>) -> Response {
    metrics::sample_process();
    text(StatusCode::OK, metrics::CONTENT_TYPE, ops.measured.render())
}

async fn health() -> Response {
    text(StatusCode::OK, PLAIN, "ok\n".to_owned())
}

async fn readiness(State(ops): State<Ops>) -> Response {
    let gate = Arc::clone(&ops.gate);
    let ready = if *ops.stopping.borrow() {
        Err("stopping".to_owned())
    } else {
        // The vault may be asked over a wire.
        let asked = tokio::task::spawn_blocking(move || gate.ready().map(|()| told(&gate))).await;
        let asked = asked.unwrap_or_else(|error| Err(format!("the question was broken off: {error}")));
        let storing = ops.fix.as_ref().is_none_or(FixHandle::is_storing);
        asked.and_then(|told| {
            if storing { Ok(told) } else { Err("FIX door degraded: messages cannot be stored".to_owned()) }
        })
    };
    metrics::ready(u64::from(ready.is_ok()));
    match ready {
        Ok(told) => text(StatusCode::OK, PLAIN, format!("ready\n{told}")),
        Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("not ready: {why}\n")),
    }
}

/// What an operator ought to know of a node that is ready, a line each.
fn told(gate: &Gate) -> String {
    let warning = gate.warning().map(|warning| format!("warning: {warning}\n")).unwrap_or_default();
    let reach = gate
        .reach()
        .map(|reach| format!("restored: at {}, the data reach to {}\n", reach.restored_at, reach.reach));
    warning + &reach.unwrap_or_default()
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tower::ServiceExt as _;

    use super::super::testing::{TEST_MAX, World, world};
    use super::*;
    use crate::doors::accept::listen;

    fn ops(world: &World, stopping: watch::Receiver<bool>) -> Ops {
        Ops { gate: Arc::clone(&world.gate), measured: metrics::install(), fix: None, stopping }
    }

    async fn ask(router: &Router, method: &str, path: &str, host: &str) -> (u16, String) {
        let request =
            Request::builder().method(method).uri(path).header(HOST, host).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn the_three_pages_answer_and_nothing_else_does() {
        let world = world();
        let (stop, stopping) = watch::channel(false);
        let router = router(ops(&world, stopping), true);
        let local = "127.0.0.1:7403";
        assert_eq!(ask(&router, "GET", "/healthz", local).await, (200, "ok\n".to_owned()));
        assert_eq!(ask(&router, "GET", "/readyz", local).await, (200, "ready\n".to_owned()));
        assert_eq!(ask(&router, "HEAD", "/healthz", "localhost").await, (200, String::new()));
        let (status, body) = ask(&router, "GET", "/metrics", local).await;
        assert_eq!(status, 200);
        assert!(body.contains("doorward_build_info") && body.contains("process_open_fds"), "{body}");
        assert_eq!(ask(&router, "POST", "/metrics", local).await.0, 405);
        assert_eq!(ask(&router, "GET", "/", local).await.0, 404);

        world.vault_down(true);
        let (status, body) = ask(&router, "GET", "/readyz", local).await;
        assert_eq!(status, 503);
        assert!(body.starts_with("not ready: vault degraded"), "{body}");
        assert_eq!(ask(&router, "GET", "/healthz", local).await.0, 200, "alive all the same");
        world.vault_down(false);
        stop.send_replace(true);
        assert_eq!(ask(&router, "GET", "/readyz", local).await, (503, "not ready: stopping\n".to_owned()));
    }

    #[tokio::test]
    async fn s13_a_name_that_was_bound_to_loopback_is_refused_there_only() {
        let world = world();
        let (_stop, stopping) = watch::channel(false);
        let ops = ops(&world, stopping);
        let near = router(ops.clone(), true);
        assert_eq!(ask(&near, "GET", "/metrics", "rebound.example").await.0, 403);
        assert_eq!(ask(&near, "GET", "/metrics", "[::1]:7403").await.0, 200);
        assert_eq!(ask(&router(ops, false), "GET", "/metrics", "node1.example").await.0, 200);
    }

    #[tokio::test]
    async fn l1_s10_silent_connections_make_room_and_a_stop_waits_for_nobody() {
        let world = world();
        let (_stop, stopping) = watch::channel(false);
        let listener = listen("metrics.listen", ([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ending) = tokio::sync::oneshot::channel::<()>();
        let serving = serve_listener(listener, ops(&world, stopping), None, async { drop(ending.await) });
        let asking = async {
            let mut silent = Vec::new();
            for _ in 0..CONNECTIONS_MAX + 8 {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            let mut asking = TcpStream::connect(address).await.unwrap();
            let request = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
            asking.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            asking.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok\n"), "{answer}");
            drop(end);
        };
        let both = async { tokio::join!(serving, asking) };
        tokio::time::timeout(TEST_MAX, both).await.unwrap();
    }
}
