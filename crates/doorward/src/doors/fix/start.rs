//! Opens the listeners, finds the streams where they were left, and starts the thread.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::calendar::Calendar;
use doorward_core::fix::profile::Profile;
use doorward_core::fix::session::Settings;
use doorward_core::stream::Gateway;
use mio::Interest;

use super::authority::Authority;
use super::connection::Pool;
use super::door::{Counts, Door, MAILBOX, READ_BYTES, Shared};
use super::listener::Listener;
use super::mailbox::{FixHandle, mailbox};
use super::recovery::{merged, states};
use super::seats::Seats;
use super::slab::Slab;
use super::timers::Timers;
use crate::backend::{Backend, Replies};
use crate::clock::Clock;
use crate::config::{FixListener, FixProfile, Network};
use crate::doors::accept::ListenFault;
use crate::doors::tls::Tls;
use crate::fault::Fault;
use crate::streams::{Recovered, StreamLog};

/// A batch of the stream log is committed in the middle of a turn where it grows beyond this, in bytes.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Connections that go on sending after the door was told to end get this long to be told so.
const EXTRA: Duration = Duration::from_secs(1);

/// Why the door does not open.
#[derive(Debug, thiserror::Error)]
pub enum StartFault {
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenFault),
    /// The log or the book failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The system refused what the thread needs.
    #[error("fix: {0}")]
    System(#[from] std::io::Error),
}

/// What differs between sites.
pub struct FixSettings {
    /// `fix.listeners`, each with its TLS.
    pub listeners: Vec<(FixListener, Option<Tls>)>,
    /// `fix.venue`.
    pub venue: String,
    /// `portal.public_url`.
    pub portal: Option<String>,
    /// `fix.code_tag`.
    pub code_tag: u32,
    /// `fix.outbound_bytes_max`.
    pub outbound_bytes_max: usize,
    /// `trusted_proxies`.
    pub trusted: Vec<Network>,
    /// File descriptors of the process.
    pub descriptors: u64,
    /// `journal.keep_days`.
    pub keep: Duration,
    /// The trading week.
    pub calendar: Arc<Calendar>,
    /// Each judgement of a Logon waits so long (drills only).
    pub delay: Duration,
}

/// What the door stands on.
pub struct Parts {
    /// Decides.
    pub authority: Arc<dyn Authority>,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// The stream log, and what was found in it.
    pub log: (StreamLog, Recovered),
    /// The venue.
    pub backend: Box<dyn Backend>,
    /// Where questions about passwords are asked.
    pub runtime: tokio::runtime::Handle,
}

/// A listener as it was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound {
    /// `fix.listeners.name`.
    pub name: String,
    /// The address, as bound.
    pub address: SocketAddr,
    /// What is spoken.
    pub profile: FixProfile,
    /// Which gateway it is.
    pub gateway: Gateway,
    /// Whether it is behind TLS.
    pub tls: bool,
}

/// A door that is open.
pub struct Running {
    /// Reaches its thread.
    pub handle: FixHandle,
    /// Its listeners, in the order of the configuration.
    pub bound: Vec<Bound>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    /// Logs everybody out and closes the door, within so long and a little.
    pub async fn stop(self, drain: Duration) {
        self.handle.stop(drain);
        let ended = tokio::task::spawn_blocking(move || self.thread.join().is_ok());
        match tokio::time::timeout(drain + EXTRA, ended).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false) | Err(_)) => tracing::error!("the thread of the FIX door broke off"),
            Err(_) => tracing::warn!("the FIX door did not end in time"),
        }
    }
}

/// Opens the door. Must be called within the runtime.
///
/// # Errors
/// Where an address, the log or the system refuses.
pub fn start(settings: FixSettings, parts: Parts) -> Result<Running, StartFault> {
    let (door, bound) = open(settings, parts)?;
    let handle = door.shared.handle.clone();
    let ends = Ends { handle: handle.clone(), told: false };
    let thread = std::thread::Builder::new().name("fix".to_owned()).spawn(move || {
        let mut ends = ends;
        ends.told = door.run();
    })?;
    Ok(Running { handle, bound, thread })
}

/// The door as it is before its first turn.
pub(super) fn open(settings: FixSettings, parts: Parts) -> Result<(Door, Vec<Bound>), StartFault> {
    let poll = mio::Poll::new()?;
    let (handle, mailbox) = mailbox(mio::Waker::new(poll.registry(), MAILBOX)?);
    // Before the first one is bound: from then on the kernel takes connections, whose Logons are good.
    parts.authority.listens_now();
    let listeners = open_listeners(&settings, &poll)?;
    let bound = listeners.iter().map(Listener::bound).collect();
    let (log, recovered) = parts.log;
    let now = parts.clock.now();
    let mut seats = Seats::default();
    for (stream, state) in states(merged(&recovered.streams, parts.authority.streams()?)) {
        seats.keep(stream, state);
    }
    let shared = Shared {
        authority: parts.authority,
        handle,
        runtime: parts.runtime,
        log,
        failing: None,
        retry_at: now.mono,
        unsaid: Vec::new(),
        batch_bytes_max: BATCH_BYTES_MAX,
        reopening: None,
        booked_since: false,
        seats,
        backend: parts.backend,
        replies: Replies::default(),
        decided: Vec::new(),
        deciding: Vec::new(),
        jobs: VecDeque::new(),
        touched: Vec::new(),
        waiting: Vec::new(),
        lazily: Vec::new(),
        reads: Vec::new(),
        delay: settings.delay,
        delayed: VecDeque::new(),
        setting: Vec::new(),
        overtaken: Vec::new(),
        pool: Pool::default(),
        outbound_bytes_max: settings.outbound_bytes_max,
        counts: Counts::default(),
        scratch: Vec::new(),
    };
    let week = settings.calendar.week_at(now.wall);
    let mut door = Door {
        poll,
        clock: parts.clock,
        calendar: settings.calendar,
        listeners,
        connections: Slab::default(),
        timers: Timers::default(),
        shaking: VecDeque::new(),
        again: Vec::new(),
        mailbox,
        shared,
        counts: Counts::default(),
        buffer: vec![0; READ_BYTES],
        told_closed: !week.is_open(now.wall),
        week,
        look_at: now.mono,
        prune_at: now.mono,
        keep: settings.keep,
        is_broken: false,
        stopping: None,
    };
    door.begin(now)?;
    Ok((door, bound))
}

/// Listens on every address, with the places of the listeners as the poller's tokens.
fn open_listeners(settings: &FixSettings, poll: &mio::Poll) -> Result<Vec<Listener>, StartFault> {
    let mut listeners = Vec::new();
    for (at, (config, tls)) in settings.listeners.iter().enumerate() {
        let session = Arc::new(session_settings(settings, config));
        let mut listener =
            Listener::open(config, session, tls.as_ref(), &settings.trusted, settings.descriptors)?;
        poll.registry().register(&mut listener.socket, mio::Token(at), Interest::READABLE)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// However the thread ends, `/readyz` says so; one that nobody told to takes the node with it.
struct Ends {
    handle: FixHandle,
    told: bool,
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.handle.set_storing(false);
        if !self.told {
            self.handle.set_broken();
        }
    }
}

fn session_settings(settings: &FixSettings, listener: &FixListener) -> Settings {
    let profile: &'static Profile = match listener.profile {
        FixProfile::CmeSecure => &doorward_core::fix::profile::CME_SECURE,
        FixProfile::TraderOtp => &doorward_core::fix::profile::TRADER_OTP,
    };
    Settings {
        profile,
        gateway: listener.gateway,
        venue: settings.venue.clone(),
        portal: settings.portal.clone(),
        calendar: Arc::clone(&settings.calendar),
        code_tag: settings.code_tag,
    }
}

impl Listener {
    fn bound(&self) -> Bound {
        Bound {
            name: self.name.clone(),
            address: self.address,
            profile: self.profile,
            gateway: self.settings.gateway,
            tls: self.tls.is_some(),
        }
    }
}
