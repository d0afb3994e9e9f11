//! The WebSocket door: takes connections, shakes hands, and hands each to its driver.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts as _, WebSocketUpgrade};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use doorward_core::audit::{Deny, Door, Event};
use doorward_core::limits::Limit;
use doorward_core::machine::Note;
use doorward_core::time::Mono;
use doorward_core::ws::login::Settings;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::accept::accept;
use super::admission::{Admission, Slot};
use super::drive::{Driven, drive};
use super::link::{Entrance, Link, Refusal};
use super::origin::origin_allowed;
use super::source::Source;
use crate::clock::Clock;
use crate::config::{OriginRule, PublicUrl};
use crate::gate::{Connection, Gate, Origin, new_attempt};
use crate::metrics;

/// Buffer for the handshake's header, in bytes; hyper takes no less than 8 KiB.
const HEADER_BYTES_MAX: usize = 8 * 1024;
/// Longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = Limit::WsMessageBytes.max() as usize;
/// Time for the handshake's header.
const HEADER_MAX: Duration = Duration::from_secs(10);

/// What all connections of the door share.
pub struct WsDoor {
    /// Decides.
    pub gate: Arc<Gate>,
    /// Both clocks.
    pub clock: Arc<Clock>,
    /// TLS and trusted proxies.
    pub entrance: Entrance,
    /// Pages of these origins may come in.
    pub origins: Vec<OriginRule>,
    /// The portal, whose pages may come in too.
    pub portal: Option<PublicUrl>,
    /// Times of the machine.
    pub settings: Settings,
    /// Most bytes that wait for a peer that does not read.
    pub outbound_bytes_max: usize,
    /// Becomes true when the node stops.
    pub stopping: watch::Receiver<bool>,
}

/// Serves one listener until the node stops; returns when its last connection has gone.
pub async fn serve(door: Arc<WsDoor>, listener: TcpListener, admission: Arc<Admission>) {
    let mut connections = JoinSet::new();
    let stopping = stopped(door.stopping.clone());
    accept(&listener, &admission, stopping, |stream, peer, slot| {
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(Arc::clone(&door), stream, peer, Arc::new(slot)));
    })
    .await;
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits until the node stops.
pub async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender has gone: the node stops, too.
    let _ = stopping.wait_for(|stops| *stops).await;
}

async fn connection(door: Arc<WsDoor>, stream: TcpStream, peer: SocketAddr, slot: Arc<Slot>) {
    let opened = door.clock.now().mono;
    let entered = tokio::select! {
        entered = door.entrance.enter(stream, peer) => entered,
        () = slot.evicted() => return,
        () = stopped(door.stopping.clone()) => return,
    };
    match entered {
        Ok((link, source)) => handshake(&door, link, source, slot, opened).await,
        Err(refusal) => {
            metrics::connection_refused(Door::WebSocket.id(), refusal.reason());
            let reason = match refusal {
                Refusal::Tls(_) => Deny::TlsFailed,
                Refusal::ProxyHeader(_) | Refusal::ProxySlow => Deny::ProxyHeader,
            };
            note_refusal(&door, Source::new(peer.ip()), reason).await;
        }
    }
}

/// Serves HTTP until the upgrade, then drives the WebSocket to its end.
async fn handshake(door: &Arc<WsDoor>, link: Link, source: Source, slot: Arc<Slot>, opened: Mono) {
    let (upgraded, mut driven) = tokio::sync::mpsc::channel(1);
    let answering = Arc::clone(door);
    // The service owns the sender: once HTTP is over, only an upgrade under way still holds one.
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (door, upgraded) = (Arc::clone(&answering), upgraded.clone());
        async move {
            let mut response = answer(&door, request, source, upgraded).await;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                // One request a connection; hyper's own switch for that would forbid the upgrade as well.
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(link), service)
        .with_upgrades();
    let until = door.clock.until(opened + door.settings.login_max);
    let upgrade = async {
        // A peer that breaks HTTP has gone.
        let _ = served.await;
        driven.recv().await
    };
    let upgraded = tokio::select! {
        upgraded = upgrade => upgraded,
        () = tokio::time::sleep(until) => return note_refusal(door, source, Deny::TooSlow).await,
        () = slot.evicted() => return note_refusal(door, source, Deny::Evicted).await,
        () = stopped(door.stopping.clone()) => return,
    };
    match upgraded {
        Some((socket, source)) => {
            drive(Driven { door: Arc::clone(door), origin: origin_of(source), slot, opened }, socket).await;
        }
        None => note_refusal(door, source, Deny::NoHandshake).await,
    }
}

type Upgraded = tokio::sync::mpsc::Sender<(axum::extract::ws::WebSocket, Source)>;

/// Answers one HTTP request: the upgrade, or a word on what this listener is for.
async fn answer(
    door: &Arc<WsDoor>,
    request: hyper::Request<hyper::body::Incoming>,
    source: Source,
    upgraded: Upgraded,
) -> Response {
    let (parts, _) = request.into_parts();
    let source = match behind_proxies(door, &parts.headers, source) {
        Ok(source) => source,
        Err(response) => return *response,
    };
    if !matches!(parts.uri.path(), "/" | "/ws") {
        return (StatusCode::NOT_FOUND, "the WebSocket door is at / and /ws\n").into_response();
    }
    let field = |name| parts.headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let (origin, host) = (field(header::ORIGIN), field(header::HOST));
    if !origin_allowed(origin, host, door.portal.as_ref(), &door.origins) {
        metrics::connection_refused(Door::WebSocket.id(), "origin");
        note_refusal(door, source, Deny::OriginNotAllowed).await;
        return (StatusCode::FORBIDDEN, "this origin may not open the door: see ws.origins\n")
            .into_response();
    }
    upgrade(door, parts, source, upgraded).await
}

async fn upgrade(door: &WsDoor, mut parts: Parts, source: Source, upgraded: Upgraded) -> Response {
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        // Buffers grow as needed: an idle connection keeps next to nothing.
        Ok(upgrade) => upgrade
            .read_buffer_size(512)
            .write_buffer_size(0)
            .max_write_buffer_size(door.outbound_bytes_max.saturating_add(64 * 1024))
            .max_message_size(MESSAGE_BYTES_MAX)
            .max_frame_size(MESSAGE_BYTES_MAX)
            .on_upgrade(move |socket| async move {
                // The receiver waits for exactly this; where it has gone, so has the connection.
                let _ = upgraded.send((socket, source)).await;
            }),
        Err(_) => {
            let text = "this is a WebSocket door: connect with ws:// or wss://\n";
            (StatusCode::UPGRADE_REQUIRED, [(header::UPGRADE, "websocket")], text).into_response()
        }
    }
}

/// Where a request behind trusted proxies comes from, by its `Forwarded` fields.
fn behind_proxies(door: &WsDoor, headers: &HeaderMap, source: Source) -> Result<Source, Box<Response>> {
    let fields = headers.get_all(header::FORWARDED).iter().map(HeaderValue::as_bytes);
    source.forwarded(&door.entrance.trusted, fields).map_err(|malformed| {
        tracing::warn!(proxy = %source, "Forwarded: {}", malformed.0);
        Box::new((StatusCode::BAD_REQUEST, "malformed Forwarded field\n").into_response())
    })
}

fn origin_of(source: Source) -> Origin {
    let connection = Arc::new(Connection::default());
    Origin { door: Door::WebSocket, source: source.addr, attempt: new_attempt(), connection }
}

async fn note_refusal(door: &WsDoor, source: Source, reason: Deny) {
    let note = Note { event: Event::ConnectionRefused, who: None, reason: Some(reason) };
    door.gate.note(note, &origin_of(source)).await;
}
