//! Drives one machine over one WebSocket: carries out its outputs, brings back verdicts, calls at its deadlines.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use doorward_core::ask::{AskId, Verdict};
use doorward_core::audit::{Deny, Door, Event};
use doorward_core::machine::{Close, Machine as _, Note, Output};
use doorward_core::time::Mono;
use doorward_core::ws::login::WsLogin;
use futures_util::{Sink as _, StreamExt as _};
use tokio::sync::{oneshot, watch};
use tokio_tungstenite::tungstenite;

use super::admission::Slot;
use super::ws::{WsDoor, stopped};
use crate::gate::Origin;
use crate::metrics;

/// How long a close waits for the peer to read what was sent and to close, too.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// The same where the connection makes room for another.
const MAKE_ROOM_MAX: Duration = Duration::from_millis(50);

/// A connection to be driven.
pub(super) struct Driven {
    pub(super) door: Arc<WsDoor>,
    pub(super) origin: Origin,
    pub(super) slot: Arc<Slot>,
    pub(super) opened: Mono,
}

/// The driver's side of one connection.
struct Driver {
    driven: Driven,
    machine: WsLogin,
    socket: WebSocket,
    outbound: VecDeque<Message>,
    outbound_bytes: usize,
    answer: Option<(AskId, oneshot::Receiver<Verdict>)>,
    entered: bool,
    spoke: bool,
}

/// What the driver woke up for.
enum Wake {
    Received(Option<Result<Message, axum::Error>>),
    Verdict(AskId, Option<Verdict>),
    Deadline,
    Ended,
    Evicted,
    Stopping,
    SendFailed,
}

/// Drives a connection to its end.
pub(super) async fn drive(driven: Driven, socket: WebSocket) {
    let now = driven.door.clock.now();
    let machine = WsLogin::new(driven.door.settings, driven.opened, now);
    let mut driver = Driver {
        driven,
        machine,
        socket,
        outbound: VecDeque::new(),
        outbound_bytes: 0,
        answer: None,
        entered: false,
        spoke: false,
    };
    if driver.driven.slot.must_refuse() {
        driver.machine.fail(Deny::Full);
    }
    driver.run().await;
    driver.driven.door.gate.left(&driver.driven.origin);
}

impl Driver {
    async fn run(&mut self) {
        let stopping = self.driven.door.stopping.clone();
        let mut told_to_stop = false;
        loop {
            if let Some(close) = self.carry_out().await {
                return Box::pin(self.close(close)).await;
            }
            if self.machine.is_closed() {
                return;
            }
            let wake = self.wait(&stopping, told_to_stop).await;
            match wake {
                Wake::Received(Some(Ok(message))) => self.received(message),
                Wake::Received(Some(Err(error))) => match reason_of(error) {
                    Some(reason) => self.machine.fail(reason),
                    None => self.machine.lost(),
                },
                Wake::Received(None) | Wake::SendFailed => self.machine.lost(),
                Wake::Verdict(id, verdict) => self.verdict(id, verdict),
                Wake::Deadline => self.machine.timeout(self.driven.door.clock.now()),
                Wake::Ended => self.machine.fail(Deny::SessionEnded),
                Wake::Evicted => self.machine.fail(Deny::Evicted),
                Wake::Stopping => {
                    told_to_stop = true;
                    self.machine.stop();
                }
            }
        }
    }

    async fn wait(&mut self, stopping: &watch::Receiver<bool>, told_to_stop: bool) -> Wake {
        let Self { driven, machine, socket, outbound, outbound_bytes, answer, .. } = self;
        let until = machine.deadline().map_or(Duration::from_secs(3600), |at| driven.door.clock.until(at));
        let verdict = async {
            match answer {
                Some((id, receiver)) => (*id, receiver.await.ok()),
                None => std::future::pending().await,
            }
        };
        // Sending and receiving share the socket: both are polled here, none is cut in the middle.
        let traffic = std::future::poll_fn(|cx| {
            if pump(socket, outbound, outbound_bytes, cx).is_err() {
                return Poll::Ready(Wake::SendFailed);
            }
            socket.poll_next_unpin(cx).map(Wake::Received)
        });
        tokio::select! {
            biased;
            () = driven.origin.connection.ended() => Wake::Ended,
            () = stopped(stopping.clone()), if !told_to_stop => Wake::Stopping,
            (id, verdict) = verdict => Wake::Verdict(id, verdict),
            wake = traffic => wake,
            () = driven.slot.evicted() => Wake::Evicted,
            () = tokio::time::sleep(until) => Wake::Deadline,
        }
    }

    fn received(&mut self, message: Message) {
        if !self.spoke {
            self.spoke = true;
            self.driven.slot.spoke();
        }
        match message {
            Message::Text(text) => self.machine.receive(text.as_bytes(), self.driven.door.clock.now()),
            Message::Binary(_) => self.machine.fail(Deny::BinaryFrame),
            Message::Pong(_) => self.machine.pong(),
            Message::Ping(_) => {} // answered by the protocol layer
            Message::Close(_) => self.machine.lost(),
        }
    }

    fn verdict(&mut self, id: AskId, verdict: Option<Verdict>) {
        self.answer = None;
        // A decision that broke off is a fault of ours; the peer may try again.
        let verdict = verdict.unwrap_or(Verdict::TryAgainLater { retry_ms: 1_000 });
        self.machine.verdict(id, verdict, self.driven.door.clock.now());
        if !self.entered && self.machine.who().is_some() {
            self.entered = true;
            if !self.driven.slot.logged_in() {
                self.machine.fail(Deny::Evicted);
            }
        }
    }

    /// Carries out what the machine wants; the close, when it has come to that.
    async fn carry_out(&mut self) -> Option<Close> {
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send(bytes) => self.send(bytes),
                Output::Ping => self.queue(Message::Ping(axum::body::Bytes::new())),
                Output::Ask(id, ask) => {
                    let (reply, answer) = oneshot::channel();
                    let (gate, origin) = (Arc::clone(&self.driven.door.gate), self.driven.origin.clone());
                    let work = gate.begin();
                    // On its own task: an attempt is decided and written down even if the peer goes away.
                    tokio::spawn(async move {
                        let _work = work;
                        let verdict = gate.ask(ask, &origin).await;
                        // The connection may have gone meanwhile; then so has the login.
                        if let Err(late) = reply.send(verdict)
                            && origin.connection.is_gone()
                        {
                            gate.left(&origin);
                            if let Verdict::Granted(granted) = late {
                                let who = Some((granted.person, granted.userid));
                                gate.note(Note { event: Event::LoggedOut, who, reason: None }, &origin).await;
                            }
                        }
                    });
                    self.answer = Some((id, answer));
                }
                // In a box: it is rare, and the connection's own memory is not to hold it for good.
                Output::Note(note) => Box::pin(self.driven.door.gate.note(note, &self.driven.origin)).await,
                Output::Close(close) => return Some(close),
            }
        }
        None
    }

    fn send(&mut self, bytes: Vec<u8>) {
        match Utf8Bytes::try_from(bytes) {
            Ok(text) => self.queue(Message::Text(text)),
            Err(_) => self.machine.fail(Deny::BrokenProtocol), // never: answers are JSON of valid strings
        }
    }

    fn queue(&mut self, message: Message) {
        self.outbound_bytes += size(&message);
        self.outbound.push_back(message);
        if self.outbound_bytes > self.driven.door.outbound_bytes_max {
            self.machine.fail(Deny::NotReading);
        }
    }

    /// Sends what waits and the close, and gives the peer a moment to close, too.
    async fn close(&mut self, close: Close) {
        metrics::connection_closed(Door::WebSocket.id(), code_label(close.code));
        let frame = CloseFrame { code: close.code, reason: Utf8Bytes::from_static(close.words) };
        self.outbound.push_back(Message::Close(Some(frame)));
        let Self { socket, outbound, outbound_bytes, .. } = self;
        let farewell = std::future::poll_fn(|cx| {
            loop {
                if pump(socket, outbound, outbound_bytes, cx).is_err() {
                    return Poll::Ready(());
                }
                match socket.poll_next_unpin(cx) {
                    Poll::Ready(Some(Ok(_))) => {} // what the peer still says is not listened to
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        // Somebody waits for the place of a connection that makes room: it is not waited for.
        let patience = if close.code == 1013 { MAKE_ROOM_MAX } else { CLOSE_MAX };
        // Slow or not: what the peer has not read by then is lost.
        let _ = tokio::time::timeout(patience, farewell).await;
    }
}

/// Sends as much of what waits as the socket takes now.
fn pump(
    socket: &mut WebSocket,
    outbound: &mut VecDeque<Message>,
    outbound_bytes: &mut usize,
    cx: &mut std::task::Context<'_>,
) -> Result<(), axum::Error> {
    loop {
        if outbound.is_empty() {
            return match Pin::new(&mut *socket).poll_flush(cx) {
                Poll::Ready(flushed) => flushed,
                Poll::Pending => Ok(()),
            };
        }
        match Pin::new(&mut *socket).poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => return Ok(()),
        }
        if let Some(message) = outbound.pop_front() {
            *outbound_bytes = outbound_bytes.saturating_sub(size(&message));
            Pin::new(&mut *socket).start_send(message)?;
        }
    }
}

fn size(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    }
}

/// What a failed read means; `None` where the peer has just gone.
fn reason_of(error: axum::Error) -> Option<Deny> {
    let error = error.into_inner().downcast::<tungstenite::Error>().ok()?;
    match *error {
        tungstenite::Error::Capacity(_) => Some(Deny::TooLong),
        tungstenite::Error::Utf8(_) => Some(Deny::NotUtf8),
        tungstenite::Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => None,
        tungstenite::Error::Protocol(_) => Some(Deny::BrokenProtocol),
        _ => None, // the stream ended, or broke: nothing can be told to the peer
    }
}

/// Close codes as a metric label, by a fixed set of names.
const fn code_label(code: u16) -> &'static str {
    match code {
        1000 => "1000",
        1001 => "1001",
        1002 => "1002",
        1003 => "1003",
        1007 => "1007",
        1009 => "1009",
        1013 => "1013",
        _ => "1008",
    }
}
