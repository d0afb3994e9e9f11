//! A session over a socket: the machine with tokio around it.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use doorward_core::time::{Mono, Now, Wall};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::initiator::{Event, Initiator, Output};
use super::message::Body;
use super::settings::{Credentials, Settings};
use super::store::{Numbers, SequenceStore};
use super::{Ending, FixError, Misuse};
use crate::ClientError;
use crate::net::{Host, Stream};

/// Which way a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To the server.
    Out,
    /// From the server.
    In,
}

/// Sees every message that goes over the wire, with its credentials: see [`super::shown`].
pub type Watch = Box<dyn FnMut(Direction, &[u8]) + Send>;

/// How to connect.
#[derive(Default)]
pub struct ConnectOptions {
    /// TLS: see [`crate::ws::tls_from_ca_file`] and [`crate::ws::tls_with_roots`]. `None` for plain TCP.
    pub tls: Option<Arc<ClientConfig>>,
    /// The local address to connect from.
    pub source: Option<IpAddr>,
    /// Logs on only with the numbers that are kept.
    ///
    /// Otherwise a refusal that names the number to go on with is followed once: after the week began anew (both
    /// sequences at 1), and where the server has more of our messages than we remember (its NextExpectedMsgSeqNum).
    pub strict: bool,
    /// Sees every message.
    pub watch: Option<Watch>,
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("source", &self.source)
            .field("strict", &self.strict)
            .finish_non_exhaustive()
    }
}

/// Limit for name, TCP and TLS together.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Limit for handing bytes to a server that does not read.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Bytes that are written at once, about.
const WRITE_BYTES: usize = 64 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;
/// Limit for what a server said before it closed.
const LAST_WORDS_LIMIT: Duration = Duration::from_millis(200);
/// How the server says that the week began anew.
const NEW_WEEK: &str = "Failed to reset sequence numbers at beginning of the week";
/// How the server says that our number is too low.
const TOO_LOW: &str = "MsgSeqNum too low";

/// How far the outputs of the machine are carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Until there is an event: what follows it waits until it was heard.
    Event,
    /// All of them; messages that nobody has heard of do not count as received yet.
    Done,
}

fn unread() -> String {
    format!("the server did not read for {} s", WRITE_LIMIT.as_secs())
}

/// One FIX session. Heartbeats, Test Requests and resends are seen to while [`Self::next`] is awaited.
///
/// Every method may be dropped while it waits, as `select!` does, and called again: nothing is lost.
pub struct FixClient {
    host: Host,
    options: ConnectOptions,
    machine: Initiator,
    store: Box<dyn SequenceStore>,
    stream: Option<Stream>,
    /// Bytes to write, and how many of them are written.
    out: Vec<u8>,
    written: usize,
    read: Vec<u8>,
    /// Whether written bytes may still lie in the TLS layer.
    unflushed: bool,
    /// Events that nobody has heard of yet.
    events: VecDeque<Event>,
    /// A message that was dropped unheard: it and what follows does not count as received.
    dropped_from: Option<u64>,
    /// Numbers of the machine that are ahead of those that are kept, because of unheard messages.
    owed: Option<Numbers>,
    ended: Option<Ending>,
    origin: Instant,
}

impl fmt::Debug for FixClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixClient")
            .field("host", &self.host)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl FixClient {
    /// Connects, and logs on with the numbers of the store.
    ///
    /// # Errors
    /// [`FixError::Connection`], [`FixError::Store`], [`FixError::Misuse`] for settings out of range, and
    /// [`FixError::Ended`] with [`Ending::Refused`] where the server does not let us in.
    pub async fn connect(
        host: &str,
        port: u16,
        settings: Settings,
        mut store: Box<dyn SequenceStore>,
        options: ConnectOptions,
    ) -> Result<Self, FixError> {
        let mut machine = Initiator::new(settings, store.load()?)?;
        machine.show_received(options.watch.is_some());
        let mut client = Self {
            host: Host { name: host.to_owned(), port },
            options,
            machine,
            store,
            stream: None,
            out: Vec::new(),
            written: 0,
            read: vec![0; READ_BYTES],
            unflushed: false,
            events: VecDeque::new(),
            dropped_from: None,
            owed: None,
            ended: None,
            origin: Instant::now(),
        };
        client.log_on().await?;
        Ok(client)
    }

    /// Connects and logs on again after the session ended, with what was sent before at hand for the server.
    ///
    /// # Errors
    /// As [`Self::connect`]; [`Misuse::UnderWay`] while the session goes on.
    pub async fn reconnect(&mut self) -> Result<(), FixError> {
        if self.stream.is_some() {
            return Err(Misuse::UnderWay("session").into());
        }
        self.log_on().await
    }

    /// Changes what the next [`Self::reconnect`] logs on with: a one-time password counts once.
    ///
    /// # Errors
    /// [`Misuse`] where the session goes on, or a setting is out of its range.
    pub fn set_credentials(&mut self, credentials: Credentials) -> Result<(), Misuse> {
        self.machine.set_credentials(credentials)
    }

    async fn log_on(&mut self) -> Result<(), FixError> {
        match self.log_on_once().await {
            Err(FixError::Ended(Ending::Refused(refusal))) if !self.options.strict => {
                let numbers = self.machine.numbers();
                let other = if refusal.text.starts_with(NEW_WEEK) && numbers.next_out > 1 {
                    Some(Numbers::FIRST)
                } else if refusal.text.starts_with(TOO_LOW) {
                    let higher = refusal.next_expected.filter(|expected| *expected > numbers.next_out);
                    higher.map(|next_out| Numbers { next_out, ..numbers })
                } else {
                    None
                };
                let Some(other) = other else { return Err(FixError::Ended(Ending::Refused(refusal))) };
                self.machine.set_numbers(other);
                self.log_on_once().await
            }
            result => result,
        }
    }

    async fn log_on_once(&mut self) -> Result<(), FixError> {
        let limit = CONNECT_LIMIT;
        let opened = timeout(limit, self.host.open(self.options.source, self.options.tls.as_ref())).await;
        let late =
            |_| ClientError::Timeout { what: format!("the connection to {}", self.host.address()), limit };
        self.stream = Some(opened.map_err(late)??);
        (self.ended, self.dropped_from, self.owed, self.unflushed) = (None, None, None, false);
        self.events.clear();
        self.forget_out();
        let now = self.now();
        self.machine.log_on(now);
        // Nothing but this comes before the Logon is answered.
        match self.next().await? {
            logged_on @ Event::LoggedOn { .. } => {
                self.events.push_front(logged_on);
                Ok(())
            }
            Event::Ended(ending) => Err(FixError::Ended(ending)),
            other => {
                Err(FixError::Connection(ClientError::Unexpected(format!("before the Logon: {other:?}"))))
            }
        }
    }

    /// The next event, for as long as it takes. The first one is [`Event::LoggedOn`], the last [`Event::Ended`].
    ///
    /// # Errors
    /// [`FixError::Ended`] after the last event.
    pub async fn next(&mut self) -> Result<Event, FixError> {
        loop {
            if self.events.is_empty() {
                if let Some(ending) = &self.ended {
                    return Err(FixError::Ended(ending.clone()));
                }
                self.settle();
                self.carry_out(Until::Event);
            }
            if self.has_to_write() {
                self.write().await;
            } else if let Some(event) = self.events.pop_front() {
                return Ok(self.hand_over(event));
            } else {
                self.wait().await;
            }
        }
    }

    fn hand_over(&mut self, event: Event) -> Event {
        if let Event::Ended(ending) = &event {
            self.ended = Some(ending.clone());
            self.stream = None;
        }
        event
    }

    /// Sends an application message, and gives its MsgSeqNum (34) as soon as it is handed to the operating system.
    ///
    /// # Errors
    /// [`FixError::Misuse`] where it cannot be sent, [`FixError::Ended`] where the session is over. A message that was
    /// numbered and could not be sent goes out when the server asks for it, see [`super::Resend`].
    pub async fn send(&mut self, msg_type: &str, body: &Body) -> Result<u64, FixError> {
        if let Some(ending) = &self.ended {
            return Err(FixError::Ended(ending.clone()));
        }
        let now = self.now();
        let number = self.machine.send(msg_type.as_bytes(), body, now)?;
        self.flush().await?;
        Ok(number)
    }

    /// Sends a Test Request.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn test(&mut self) -> Result<(), FixError> {
        let now = self.now();
        self.machine.test(now)?;
        self.flush().await
    }

    /// Begins both sequences anew; [`Event::Reset`] comes when that is done.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn reset(&mut self) -> Result<(), FixError> {
        let now = self.now();
        self.machine.reset(now)?;
        self.flush().await
    }

    /// Sends a Logout; events go on until [`Event::Ended`].
    ///
    /// # Errors
    /// [`FixError::Ended`] where the session is over already.
    pub async fn begin_log_out(&mut self) -> Result<(), FixError> {
        let now = self.now();
        self.machine.log_out(now);
        self.flush().await
    }

    /// Logs out and waits until the session has ended. Messages that come meanwhile do not count as received: the next
    /// Logon brings them.
    ///
    /// # Errors
    /// [`FixError::Ended`] where the session had ended before.
    pub async fn log_out(mut self) -> Result<Ending, FixError> {
        self.begin_log_out().await?;
        loop {
            match self.next().await? {
                Event::Ended(ending) => return Ok(ending),
                Event::Message(message) => {
                    self.dropped_from.get_or_insert(message.seq_num());
                }
                Event::LoggedOn { .. } | Event::Rejected(_) | Event::NotResent { .. } | Event::Reset => {}
            }
        }
    }

    /// The numbers as they stand.
    pub const fn numbers(&self) -> Numbers {
        self.machine.numbers()
    }

    /// Carries out what the machine wants.
    fn carry_out(&mut self, until: Until) {
        while self.out.len() - self.written < WRITE_BYTES {
            match self.machine.poll() {
                None => return,
                Some(Output::Send(bytes)) => {
                    if let Some(watch) = &mut self.options.watch {
                        watch(Direction::Out, &bytes);
                    }
                    self.out.extend_from_slice(&bytes);
                }
                Some(Output::Received(bytes)) => {
                    if let Some(watch) = &mut self.options.watch {
                        watch(Direction::In, &bytes);
                    }
                }
                Some(Output::Save(numbers)) => self.save(numbers),
                Some(Output::Event(event)) => {
                    self.events.push_back(event);
                    if until == Until::Event {
                        return;
                    }
                }
            }
        }
    }

    /// Keeps numbers, without counting messages that nobody has heard of.
    fn save(&mut self, numbers: Numbers) {
        let waiting = self.events.iter().find_map(|event| match event {
            Event::Message(message) => Some(message.seq_num()),
            Event::LoggedOn { .. }
            | Event::Rejected(_)
            | Event::NotResent { .. }
            | Event::Reset
            | Event::Ended(_) => None,
        });
        let unheard = [waiting, self.dropped_from].into_iter().flatten().min().unwrap_or(u64::MAX);
        let heard = Numbers { next_in: numbers.next_in.min(unheard), ..numbers };
        self.owed = (heard != numbers).then_some(numbers);
        if let Err(error) = self.store.save(heard) {
            // What bears a number that is not kept must not go out.
            self.forget_out();
            let ending = Ending::Store(error);
            self.ended = Some(ending.clone());
            self.events.push_back(Event::Ended(ending));
            self.stream = None;
        }
    }

    /// Keeps what was owed, now that all has been heard.
    fn settle(&mut self) {
        if let Some(numbers) = self.owed.take() {
            self.save(numbers);
        }
    }

    const fn has_to_write(&self) -> bool {
        self.written < self.out.len() || self.unflushed
    }

    fn forget_out(&mut self) {
        self.out.clear();
        (self.written, self.unflushed) = (0, false);
    }

    /// Writes all there is; a stream that fails is told to the machine.
    async fn flush(&mut self) -> Result<(), FixError> {
        loop {
            self.carry_out(Until::Done);
            if let Some(ending) = &self.ended {
                return Err(FixError::Ended(ending.clone()));
            }
            if !self.has_to_write() {
                return Ok(());
            }
            self.write().await;
        }
    }

    async fn write(&mut self) {
        let now = self.now();
        let Some(stream) = &mut self.stream else { return self.forget_out() };
        let rest = self.out.get(self.written..).unwrap_or_default();
        let why = if rest.is_empty() {
            match timeout(WRITE_LIMIT, stream.flush()).await {
                Ok(Ok(())) => return self.forget_out(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => unread(),
            }
        } else {
            match timeout(WRITE_LIMIT, stream.write(rest)).await {
                Ok(Ok(count)) if count > 0 => {
                    self.written += count;
                    self.unflushed = true;
                    return;
                }
                Ok(Ok(_)) => String::from("nothing can be written"),
                Ok(Err(error)) => error.to_string(),
                Err(_) => unread(),
            }
        };
        // What the server said before is still to be read, and says more than a broken pipe.
        while let Ok(Ok(count @ 1..)) = timeout(LAST_WORDS_LIMIT, stream.read(&mut self.read)).await {
            self.machine.receive(self.read.get(..count).unwrap_or_default(), now);
        }
        self.forget_out();
        self.machine.closed(&why, now);
    }

    /// Waits for bytes or the next deadline.
    async fn wait(&mut self) {
        let deadline = self.machine.deadline();
        let now = self.now();
        let Some(stream) = &mut self.stream else {
            self.machine.closed("", now);
            return;
        };
        let due = deadline.map_or(Duration::from_secs(3_600), |deadline| deadline.since(now.mono));
        let read = tokio::select! {
            read = stream.read(&mut self.read) => Some(read),
            () = sleep(due) => None,
        };
        let now = self.now();
        match read {
            Some(Ok(0)) => self.machine.closed("", now),
            Some(Ok(count)) => self.machine.receive(self.read.get(..count).unwrap_or_default(), now),
            Some(Err(error)) => self.machine.closed(&error.to_string(), now),
            None => self.machine.timeout(now),
        }
    }

    fn now(&self) -> Now {
        let wall_us = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(_) => 0,
        };
        let mono_ns = u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Now { wall: Wall::from_us(wall_us), mono: Mono::from_ns(mono_ns) }
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
