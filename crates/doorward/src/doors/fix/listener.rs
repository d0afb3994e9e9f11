//! One listening socket: its settings, its TLS, and who may stay on it.

use std::net::SocketAddr;
use std::sync::Arc;

use doorward_core::fix::session::Settings as SessionSettings;
use doorward_core::time::Mono;

use super::silent::Silent;
use crate::config::{FixListener, FixProfile, Network};
use crate::doors::accept::{Failures, ListenFault, listen};
use crate::doors::admission::Limits;
use crate::doors::tls::Tls;

/// The configuration key that names the address.
const KEY: &str = "fix.listeners.listen";

/// A listening socket.
pub(super) struct Listener {
    /// `fix.listeners.name`.
    pub(super) name: String,
    /// What is listened on, as bound.
    pub(super) address: SocketAddr,
    pub(super) profile: FixProfile,
    pub(super) socket: mio::net::TcpListener,
    /// What each of its sessions is made with.
    pub(super) settings: Arc<SessionSettings>,
    pub(super) tls: Option<Tls>,
    /// Who may send a PROXY protocol header; `None`: nobody.
    pub(super) proxies: Option<Vec<Network>>,
    pub(super) silent: Silent,
    pub(super) failures: Failures,
    /// No connection is taken before.
    pub(super) paused_until: Option<Mono>,
    /// Connections may be waiting to be taken.
    pub(super) ready: bool,
}

impl Listener {
    /// Listens. Must be called within the runtime, as every door's listeners.
    ///
    /// # Errors
    /// Where the system refuses the address.
    pub(super) fn open(
        config: &FixListener,
        settings: Arc<SessionSettings>,
        tls: Option<&Tls>,
        trusted: &[Network],
        descriptors: u64,
    ) -> Result<Self, ListenFault> {
        let fault = |error| ListenFault { key: KEY, address: config.listen, error };
        let socket = listen(KEY, config.listen)?.into_std().map_err(fault)?;
        let address = socket.local_addr().map_err(fault)?;
        let limits = Limits::by("fix.listeners.connections_max", descriptors, config.connections_max);
        Ok(Self {
            name: config.name.clone(),
            address,
            profile: config.profile,
            socket: mio::net::TcpListener::from_std(socket),
            settings,
            tls: tls.cloned(),
            proxies: config.proxy_protocol.then(|| trusted.to_vec()),
            silent: Silent::new(limits),
            failures: Failures::default(),
            paused_until: None,
            ready: true,
        })
    }

    /// Whether a peer is a proxy whose connections begin with a header.
    pub(super) fn is_proxy(&self, peer: SocketAddr) -> bool {
        let proxies = self.proxies.iter().flatten();
        proxies.into_iter().any(|network| network.contains(peer.ip()))
    }
}
