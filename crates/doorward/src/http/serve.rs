//! One HTTP/1.1 connection: a router on any stream, with limits that a peer cannot stretch.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::metrics;

/// Most header fields of a request.
const HEADERS_MAX: usize = 64;
/// Largest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long a connection may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timing {
    /// For the head of each request, idle time before it included.
    pub head: Duration,
    /// In all; then it is ended as if the server were stopping. An upgraded connection is no longer held to it.
    pub whole: Duration,
    /// For what is being answered when it ends.
    pub last_answer: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            whole: Duration::from_secs(120),
            last_answer: Duration::from_secs(5),
        }
    }
}

/// Serves a router on a stream until the peer goes, time is over or `stopping` is; what is being answered then is
/// finished first. Returns early where the connection was upgraded.
pub async fn serve<S>(stream: S, router: Router, timing: Timing, stopping: impl Future<Output = ()>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(timing.head);
    builder.max_headers(HEADERS_MAX).max_header_size(HEAD_BYTES_MAX);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stopping => None,
        () = tokio::time::sleep(timing.whole) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(timing.last_answer, connection).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!("http: the last answer was not taken in time"),
            }
        }
    };
    if let Err(error) = ended {
        // A peer that breaks off or sends no HTTP; hyper has answered what can be answered.
        tracing::debug!(%error, "http: connection broken off");
    }
}

/// The router with its answers counted under a listener's name.
pub fn counted(router: Router, listener: &'static str) -> Router {
    router.layer(middleware::from_fn(move |request: Request, next: Next| count(listener, request, next)))
}

async fn count(listener: &'static str, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let class = match response.status().as_u16() / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    };
    metrics::http_answered(listener, class);
    response
}
