//! The WebSocket door: takes connections, shakes hands, and hands each to its driver.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::ws::WebSocket;
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
    // In a box of its own: what the handshake needs is given back before the long quiet life of the connection.
    let shaken = Box::pin(shake_hands(&door, stream, peer, &slot, opened)).await;
    match shaken {
        Ok((socket, source)) => drive(Driven { door, origin: origin_of(source), slot, opened }, socket).await,
        Err(Some((source, reason))) => Box::pin(note_refusal(&door, source, reason)).await,
        Err(None) => {} // the node stops
    }
}

/// What comes of a handshake: the WebSocket, or why there is none; `Err(None)` where the node stops.
type Shaken = Result<(WebSocket, Source), Option<(Source, Deny)>>;

async fn shake_hands(
    door: &Arc<WsDoor>,
    stream: TcpStream,
    peer: SocketAddr,
    slot: &Slot,
    opened: Mono,
) -> Shaken {
    let from = Source::new(peer.ip());
    let entered = tokio::select! {
        entered = door.entrance.enter(stream, peer) => entered,
        () = slot.evicted() => return Err(Some((from, Deny::Evicted))),
        () = stopped(door.stopping.clone()) => return Err(None),
    };
    let (link, source) = entered.map_err(|refusal| {
        metrics::connection_refused(Door::WebSocket.id(), refusal.reason());
        let reason = match refusal {
            Refusal::Tls(_) => Deny::TlsFailed,
            Refusal::ProxyHeader(_) | Refusal::ProxySlow => Deny::ProxyHeader,
        };
        Some((from, reason))
    })?;
    let until = door.clock.until(opened + door.settings.login_max);
    tokio::select! {
        upgraded = upgraded(door, link, source) => upgraded.map_err(|reason| Some((source, reason))),
        () = tokio::time::sleep(until) => Err(Some((source, Deny::TooSlow))),
        () = slot.evicted() => Err(Some((source, Deny::Evicted))),
        () = stopped(door.stopping.clone()) => Err(None),
    }
}

/// Serves HTTP until the upgrade.
async fn upgraded(door: &Arc<WsDoor>, link: Link, source: Source) -> Result<(WebSocket, Source), Deny> {
    let (sender, mut driven) = tokio::sync::mpsc::channel(1);
    let reason = Arc::new(Mutex::new(Deny::NoHandshake));
    let (answering, told) = (Arc::clone(door), Arc::clone(&reason));
    // The service owns the sender: once HTTP is over, only an upgrade under way still holds one.
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let (door, sender, told) = (Arc::clone(&answering), sender.clone(), Arc::clone(&told));
        async move {
            let mut response = answer(&door, request, source, sender, &told).await;
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
    // A peer that breaks HTTP has gone.
    let _ = served.await;
    let socket = driven.recv().await;
    socket.ok_or_else(|| *reason.lock().unwrap_or_else(PoisonError::into_inner))
}

type Upgraded = tokio::sync::mpsc::Sender<(WebSocket, Source)>;

/// Answers one HTTP request: the upgrade, or a word on what this listener is for.
async fn answer(
    door: &Arc<WsDoor>,
    request: hyper::Request<hyper::body::Incoming>,
    source: Source,
    upgraded: Upgraded,
    reason: &Mutex<Deny>,
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
        *reason.lock().unwrap_or_else(PoisonError::into_inner) = Deny::OriginNotAllowed;
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
