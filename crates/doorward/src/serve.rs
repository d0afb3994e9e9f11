//! A node from its configuration: vault, store, gate and doors are opened in order, and closed in the reverse one.

mod listener_tls;
mod mail;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorward_core::limits::Limit;
use doorward_core::secret::Secret;
use doorward_core::ws::login;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::listener_tls::{OpenTls, open_tls};
use self::mail::{mail_office, mail_server};
use crate::backend::sim::Sim;
use crate::backend::{Backend, Echo};
use crate::book::{Store, sqlite};
use crate::clock::Clock;
use crate::config::value::is_loopback;
use crate::config::{Config, FixBackend, PublicUrl, VaultProvider};
use crate::doors::accept::listen;
use crate::doors::admission::{Admission, Limits, raise_descriptors};
use crate::doors::certificates::Certificates;
use crate::doors::fix::{self, Bound, FixHandle, FixSettings};
use crate::doors::link::Entrance;
use crate::doors::tls::Tls;
use crate::doors::ws::{WsDoor, serve, stopped};
use crate::fault::Fault;
use crate::gate::{BreachList, Gate, Settings};
use crate::hashing::{HashParams, HashPool, HashSettings};
use crate::http::api::{ApiState, router};
use crate::http::local::LocalSocket;
use crate::http::ops::{Ops, serve_listener};
use crate::http::web::site::Site;
use crate::http::web::tokens::Tokens;
use crate::http::web::{self, WebState};
use crate::journal::{Disk, FullDisk, RealDisk, is_begun};
use crate::mail::outbox::Outbox;
use crate::metrics;
use crate::streams;
use crate::vault::{ChallengeSettings, FaultyVault, Protection, SoftVault, Vault};

/// Share of the hash queue that one source may take, as a divisor.
const QUEUE_SHARE: usize = 4;
/// Names the folder in which a service manager hands credentials over (systemd's `LoadCredential=`).
const CREDENTIALS_ENV: &str = "CREDENTIALS_DIRECTORY";
/// The credential under which the key file is sealed.
const CREDENTIAL: &str = "doorward-vault";
/// How often the node looks after itself.
const TICK: Duration = Duration::from_secs(1);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Something that it needs failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The configuration names something that is not so.
    #[error("{0}")]
    Config(String),
}

/// What only the demo sets.
pub struct Options {
    /// Both clocks.
    pub clock: Arc<Clock>,
    /// The clock can be moved over the local socket.
    pub demo: bool,
    /// Each decision waits so long.
    pub gate_delay: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { clock: Arc::new(Clock::system()), demo: false, gate_delay: Duration::ZERO }
    }
}

/// Faults that the demo can switch on while the node runs.
#[derive(Clone)]
pub struct Switches {
    vault: Arc<FaultyVault>,
    disk_full: Arc<AtomicBool>,
}

impl Switches {
    /// Every call of the vault fails from now on.
    pub fn vault_down(&self) {
        self.vault.set_down(true);
    }

    /// The journal's disk is full from now on.
    pub fn disk_full(&self) {
        self.disk_full.store(true, Ordering::Relaxed);
    }
}

/// A running node.
pub struct Node {
    /// Decides.
    pub gate: Arc<Gate>,
    /// Where the WebSocket door listens, as bound.
    pub ws: Vec<SocketAddr>,
    /// Where portal and console are served, as bound.
    pub web: Vec<SocketAddr>,
    /// Where people reach them.
    pub public_url: Option<PublicUrl>,
    /// The link by which the desk's first operator makes themselves; `None` where there is one (S11).
    pub claim: Option<Secret<String>>,
    /// Where `/metrics` is served, as bound.
    pub metrics: SocketAddr,
    /// The administration socket.
    pub admin_socket: PathBuf,
    /// Faults to be switched on.
    pub switches: Switches,
    /// The listeners of the FIX door.
    pub fix: Vec<Bound>,
    /// Reaches the FIX door, where there is one.
    pub fix_door: Option<FixHandle>,
    running_fix: Option<fix::Running>,
    certificates: Arc<Certificates>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    drain: Duration,
}

impl Node {
    /// Opens everything that a configuration names; returns once all doors listen.
    pub async fn start(config: &Config, options: Options) -> Result<Self, StartError> {
        for warning in config.warnings() {
            tracing::warn!("{warning}");
        }
        let descriptors = raise_descriptors();
        let handle = metrics::install();
        let disk_full = Arc::new(AtomicBool::new(false));
        let disk = open_disk(&config.data_dir.join("journal"), &disk_full)?;
        let vault = Arc::new(FaultyVault::new(open_vault(config, &*disk)?, false));
        let switches = Switches { vault: Arc::clone(&vault), disk_full: Arc::clone(&disk_full) };
        let pages = bind_web(config)?;
        let public_url = public_url(config, &pages);
        let clock = Arc::clone(&options.clock);
        let gate = open_gate(config, &options, public_url.as_ref(), disk, vault)?;
        gate.keep_up().await; // the first challenge key is made meanwhile: whoever needs it waits for it
        let (stop, stopping) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let tls = OpenTls::open(config, &clock)?;
        let public = public_url.as_ref();
        let ws = Self::open_ws(config, (tls.ws, public), descriptors, &gate, &clock, &stopping, &mut tasks)?;
        let fix_parts = (tls.fix, public, descriptors, options.gate_delay);
        let running_fix = open_fix(config, fix_parts, &gate, &clock, &disk_full)?;
        let fix_door = running_fix.as_ref().map(|running| running.handle.clone());
        let demo_clock = options.demo.then(|| Arc::clone(&clock));
        let api = ApiState {
            gate: Arc::clone(&gate),
            node: config.node.as_str().into(),
            demo_clock,
            fix: fix_door.clone(),
        };
        let socket = LocalSocket::bind(&config.admin.socket).await.map_err(config_fault)?;
        tasks.spawn(socket.serve(router(api), Arc::clone(&gate), stopped(stopping.clone())));
        let ops = Ops {
            gate: Arc::clone(&gate),
            measured: handle.clone(),
            fix: fix_door.clone(),
            stopping: stopping.clone(),
        };
        let metrics_at = Self::open_ops(config, ops, tls.metrics, &stopping, &mut tasks)?;
        let web = match &public_url {
            Some(url) => Self::open_web(config, (pages, tls.web), url, &gate, &stopping, &mut tasks)?,
            None => Vec::new(),
        };
        let outbox = mail_office(config, public)?.map(|office| Outbox::new(Arc::clone(&gate), office));
        outbox.into_iter().for_each(|outbox| drop(tasks.spawn(outbox.run(stopping.clone()))));
        let certificates = Arc::new(tls.all);
        tasks.spawn(Arc::clone(&certificates).keep(clock, stopped(stopping.clone())));
        tasks.spawn(look_after(Arc::clone(&gate), handle, stopping));
        let claim = if web.is_empty() { None } else { gate.open_claim().await? };
        gate.record_start(true).await;
        metrics::ready(1);
        let admin_socket = config.admin.socket.clone();
        Ok(Self {
            gate,
            ws,
            web,
            claim,
            public_url,
            metrics: metrics_at,
            admin_socket,
            switches,
            fix: running_fix.as_ref().map(|running| running.bound.clone()).unwrap_or_default(),
            fix_door,
            running_fix,
            certificates,
            stop,
            tasks,
            drain: config.drain,
        })
    }

    /// Resolves when a door has broken off, so that the node cannot go on: it is to be stopped and started again.
    pub async fn broken(&self) {
        match &self.fix_door {
            Some(door) => door.broken().await,
            None => std::future::pending().await,
        }
    }

    /// Has certificates read again whose files have changed.
    pub fn renew_certificates(&self) {
        self.certificates.renew();
    }

    fn open_ws(
        config: &Config,
        (tls, public_url): (Option<Tls>, Option<&PublicUrl>),
        descriptors: u64,
        gate: &Arc<Gate>,
        clock: &Arc<Clock>,
        stopping: &watch::Receiver<bool>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Vec<SocketAddr>, StartError> {
        let entrance = Entrance {
            tls,
            trusted: config.trusted_proxies.clone(),
            proxy_protocol: config.ws.proxy_protocol,
        };
        let door = Arc::new(WsDoor {
            gate: Arc::clone(gate),
            clock: Arc::clone(clock),
            entrance,
            origins: config.ws.origins.clone(),
            portal: public_url.cloned(),
            settings: login::Settings { login_max: config.ws.login_max, ping_every: config.ws.ping },
            outbound_bytes_max: config.ws.outbound_bytes_max,
            stopping: stopping.clone(),
        });
        let admission = Admission::new("websocket", Limits::new(descriptors, config.ws.connections_max));
        let mut bound = Vec::new();
        for address in &config.ws.listen {
            let listener: TcpListener = listen("ws.listen", *address).map_err(config_fault)?;
            let at = listener.local_addr().map_err(config_fault)?;
            bound.push(at);
            tasks.spawn(serve(Arc::clone(&door), listener, Arc::clone(&admission)));
        }
        Ok(bound)
    }

    /// Serves portal and console on listeners that are bound already.
    fn open_web(
        config: &Config,
        (pages, tls): (Vec<TcpListener>, Option<Tls>),
        public_url: &PublicUrl,
        gate: &Arc<Gate>,
        stopping: &watch::Receiver<bool>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Vec<SocketAddr>, StartError> {
        let tokens = Tokens::new()?;
        let mut bound = Vec::new();
        for listener in pages {
            let at = listener.local_addr().map_err(config_fault)?;
            bound.push(at);
            let entrance = Entrance {
                tls: tls.clone(),
                trusted: config.trusted_proxies.clone(),
                proxy_protocol: config.web.proxy_protocol,
            };
            let site = Site::new(public_url.clone(), is_loopback(at.ip()));
            let state = WebState::new(Arc::clone(gate), site, tokens.clone(), entrance);
            let limits = Limits { open_max: web::CONNECTIONS_MAX, silent_max: web::CONNECTIONS_MAX };
            tasks.spawn(web::serve_listener(listener, state, limits, stopped(stopping.clone())));
        }
        Ok(bound)
    }

    fn open_ops(
        config: &Config,
        ops: Ops,
        tls: Option<Tls>,
        stopping: &watch::Receiver<bool>,
        tasks: &mut JoinSet<()>,
    ) -> Result<SocketAddr, StartError> {
        let listener = listen("metrics.listen", config.metrics.listen).map_err(config_fault)?;
        let at = listener.local_addr().map_err(config_fault)?;
        tasks.spawn(serve_listener(listener, ops, tls, stopped(stopping.clone())));
        Ok(at)
    }

    /// Closes the doors in order: what is being decided is answered, within `shutdown.drain_s`.
    pub async fn stop(mut self) {
        metrics::ready(0);
        // Nobody listens any more where this fails.
        let _ = self.stop.send(true);
        let (running_fix, drain) = (self.running_fix.take(), self.drain);
        let fix = async move {
            if let Some(running) = running_fix {
                running.stop(drain).await;
            }
        };
        let drained = tokio::time::timeout(self.drain, async {
            while self.tasks.join_next().await.is_some() {}
            // What a peer did not wait for is decided and written down all the same.
            self.gate.idle().await;
        });
        let (drained, ()) = tokio::join!(drained, fix);
        if drained.is_err() {
            tracing::warn!(drain_s = self.drain.as_secs(), "connections were cut: they did not end in time");
        }
        self.tasks.shutdown().await;
        self.gate.stop();
        self.gate.record_start(false).await;
    }
}

/// The gate over the store and the vault; the doors are opened behind it.
fn open_gate(
    config: &Config,
    options: &Options,
    public_url: Option<&PublicUrl>,
    disk: Arc<dyn Disk>,
    vault: Arc<dyn Vault>,
) -> Result<Arc<Gate>, StartError> {
    let heads = Arc::clone(&disk);
    let store = open_store(config, disk)?;
    let hashes = HashPool::new(Arc::clone(&vault), hash_settings(config)?)?;
    let breached = breach_list(config)?;
    let settings = gate_settings(config, public_url, options.gate_delay);
    let settings = Settings { demo_clock: options.demo, ..settings };
    let gate = Gate::new(store, vault, hashes, Arc::clone(&options.clock), breached, settings)?;
    gate.keep_heads(&heads, &config.node)?;
    Ok(Arc::new(gate))
}

/// The store, in the data folder.
fn open_store(config: &Config, disk: Arc<dyn Disk>) -> Result<Arc<dyn Store>, Fault> {
    let settings = sqlite::Settings { segment_bytes: config.segment_bytes, ..sqlite::Settings::default() };
    Ok(Arc::new(sqlite::open(&config.data_dir, disk, config.node.clone(), &settings)?))
}

/// A directory of the node, which a drill can make full.
fn open_disk(path: &Path, full: &Arc<AtomicBool>) -> Result<Arc<dyn Disk>, Fault> {
    Ok(Arc::new(FullDisk::new(Arc::new(RealDisk::open(path)?), Arc::clone(full))))
}

/// Opens the FIX door, where there are listeners for it, and makes it known to the gate.
fn open_fix(
    config: &Config,
    (tls, public_url, descriptors, delay): (Vec<Option<Tls>>, Option<&PublicUrl>, u64, Duration),
    gate: &Arc<Gate>,
    clock: &Arc<Clock>,
    disk_full: &Arc<AtomicBool>,
) -> Result<Option<fix::Running>, StartError> {
    if config.fix.listeners.is_empty() {
        return Ok(None);
    }
    let listeners = config.fix.listeners.iter().cloned().zip(tls).collect();
    let disk = open_disk(&config.data_dir.join("streams"), disk_full)?;
    let log_settings = streams::Settings {
        segment_bytes: config.stream_segment_bytes,
        ..streams::Settings::new(&config.node)
    };
    let log = streams::StreamLog::open(disk, log_settings)?;
    let backend: Box<dyn Backend> = match config.fix.backend {
        FixBackend::Sim => Box::new(Sim::default()),
        FixBackend::Echo => Box::new(Echo),
    };
    let settings = FixSettings {
        listeners,
        venue: config.fix.venue.clone(),
        portal: public_url.map(|url| url.as_str().to_owned()),
        code_tag: config.fix.code_tag,
        outbound_bytes_max: config.fix.outbound_bytes_max,
        trusted: config.trusted_proxies.clone(),
        descriptors,
        keep: Duration::from_secs(u64::from(config.keep_days) * 86_400),
        calendar: Arc::clone(&config.calendar),
        delay,
    };
    let parts = fix::Parts {
        authority: Arc::clone(gate) as Arc<dyn fix::Authority>,
        clock: Arc::clone(clock),
        log,
        backend,
        runtime: tokio::runtime::Handle::current(),
    };
    let running = fix::start(settings, parts).map_err(|fault| match fault {
        fix::StartFault::Fault(fault) => StartError::Fault(fault),
        other => StartError::Config(other.to_string()),
    })?;
    let handle = running.handle.clone();
    gate.on_end(Box::new(move |what| handle.end(what)));
    gate.fix_control(Arc::new(running.handle.clone()));
    Ok(Some(running))
}

/// Ticks each second, signs heads and drops old records, until the node stops.
async fn look_after(gate: Arc<Gate>, handle: PrometheusHandle, stopping: watch::Receiver<bool>) {
    tokio::join!(
        gate.checkpoint_by_count(stopped(stopping.clone())),
        gate.drop_old_records_hourly(stopped(stopping.clone())),
        tick(&gate, &handle, stopping)
    );
}

async fn tick(gate: &Gate, handle: &PrometheusHandle, stopping: watch::Receiver<bool>) {
    let stopped = stopped(stopping);
    tokio::pin!(stopped);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut upkeep = tokio::time::interval(metrics::UPKEEP);
    loop {
        tokio::select! {
            biased;
            () = &mut stopped => return,
            _ = ticks.tick() => gate.tick().await,
            _ = upkeep.tick() => handle.run_upkeep(),
        }
    }
}

/// Listens for portal and console before anything is served, so that their address is known to all doors.
fn bind_web(config: &Config) -> Result<Vec<TcpListener>, StartError> {
    let bind = |address: &SocketAddr| listen("web.listen", *address).map_err(config_fault);
    config.web.listen.iter().map(bind).collect()
}

/// Where people reach portal and console: as the configuration says, else at the first listener.
fn public_url(config: &Config, pages: &[TcpListener]) -> Option<PublicUrl> {
    let first = || config.web.url_of(pages.first()?.local_addr().ok()?);
    config.public_url.clone().or_else(first)
}

fn config_fault(fault: impl std::fmt::Display) -> StartError {
    StartError::Config(fault.to_string())
}

/// What a start with this configuration would refuse that lies in the files it names; a line each, with the key.
///
/// Nothing is opened for good, and the key file and the data are not looked at.
pub fn faults_of_files(config: &Config) -> Vec<String> {
    let clock = Clock::system();
    let results = [
        open_tls("ws.tls", config.ws.tls.as_ref(), &clock).err(),
        open_tls("metrics.tls", config.metrics.tls.as_ref(), &clock).err(),
        open_tls("web.tls", config.web.tls.as_ref(), &clock).err(),
        config
            .fix
            .listeners
            .iter()
            .find_map(|listener| open_tls("fix.listeners.tls", listener.tls.as_ref(), &clock).err()),
        mail_server(config).err(),
        breach_list(config).err(),
        hash_settings(config).err(),
    ];
    results.into_iter().flatten().map(|error| error.to_string()).collect()
}

fn breach_list(config: &Config) -> Result<BreachList, StartError> {
    let Some(path) = &config.passwords.breach_list else { return Ok(BreachList::default()) };
    BreachList::read(path).map_err(|fault| StartError::Config(format!("passwords.breach_list: {fault}")))
}

/// How a key file is protected: by the configuration, else by the service manager's credential, else by the file
/// beside it.
pub fn protection(config: &Config) -> Protection {
    protection_of(config.vault.passphrase.as_ref())
}

/// The same by a passphrase, where there is one.
pub fn protection_of(passphrase: Option<&Secret<String>>) -> Protection {
    protection_by(passphrase, |name| std::env::var_os(name))
}

fn protection_by(passphrase: Option<&Secret<String>>, env: impl Fn(&str) -> Option<OsString>) -> Protection {
    if let Some(passphrase) = passphrase {
        return Protection::Passphrase(passphrase.clone());
    }
    let folder = env(CREDENTIALS_ENV).filter(|folder| !folder.is_empty());
    match folder.map(|folder| Path::new(&folder).join(CREDENTIAL)).filter(|file| file.exists()) {
        Some(file) => Protection::Credential(file),
        None => Protection::UnlockFile,
    }
}

/// The challenge keys, by the configuration.
pub fn challenge_settings(config: &Config) -> ChallengeSettings {
    ChallengeSettings {
        serve: config.vault.challenge,
        accept_more: config.vault.challenge_grace,
        bits: config.vault.challenge_bits,
        legacy_rsa_1024: config.vault.legacy_rsa_1024,
        ..ChallengeSettings::default()
    }
}

/// Keys are made for a node without data alone: what there is opens with its own (V9).
fn open_vault(config: &Config, journal: &dyn Disk) -> Result<Arc<dyn Vault>, Fault> {
    match config.vault.provider {
        VaultProvider::Soft => {
            let (key_file, data) = (&config.vault.key_file, config.data_dir.display());
            if !key_file.exists() && is_begun(journal)? {
                return Err(Fault::Vault(format!(
                    "the key file {} is not there, but {data} holds a node's data, which its own keys open and no \
                     others: put that file back, or name it in vault.key_file",
                    key_file.display()
                )));
            }
            let vault = SoftVault::open_or_create(key_file, &protection(config), challenge_settings(config))?;
            tracing::warn!(key_file = %key_file.display(), "no HSM: keys lie in a sealed file");
            Ok(Arc::new(vault))
        }
    }
}

fn hash_settings(config: &Config) -> Result<HashSettings, StartError> {
    let hashing = config.hashing;
    let params = HashParams::new(hashing.memory_kib, hashing.passes, hashing.lanes)
        .map_err(|error| StartError::Config(format!("hashing: {error}")))?;
    Ok(HashSettings {
        threads: hashing.threads,
        queue_max: hashing.queue_max,
        queue_per_source_max: (hashing.queue_max / QUEUE_SHARE).max(1),
        queue_deadline: hashing.queue_wait_max,
        params,
    })
}

fn gate_settings(config: &Config, public_url: Option<&PublicUrl>, delay: Duration) -> Settings {
    // RFC 8017: OAEP with SHA-256 takes 66 bytes of the modulus, PKCS#1 v1.5 takes 11.
    let carried = u64::from(config.vault.challenge_bits / 8).saturating_sub(66);
    Settings {
        pkcs1: config.vault.pkcs1,
        register_url: public_url.map(|url| register_url(url.as_str())),
        mail: config.mail.is_some(),
        token_valid: config.ws.token_valid,
        portal_url: public_url.map(|url| url.as_str().trim_end_matches('/').to_owned()),
        product_names: config.passwords.product_names.clone(),
        password_bytes_max: carried.min(Limit::PasswordBytes.max()),
        calendar: Arc::clone(&config.calendar),
        keep_records: config.keep_records,
        delay,
        ..Settings::default()
    }
}

/// Where somebody registers an authenticator, at a portal.
fn register_url(portal: &str) -> String {
    format!("{}/register", portal.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_file_is_protected_by_passphrase_then_credential_then_the_file_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str| (name == CREDENTIALS_ENV).then(|| folder.path().as_os_str().to_owned());
        assert!(matches!(protection_by(None, |_| None), Protection::UnlockFile));
        assert!(matches!(protection_by(None, named), Protection::UnlockFile), "no such credential");
        assert!(matches!(protection_by(None, |_| Some(OsString::new())), Protection::UnlockFile));
        let file = folder.path().join(CREDENTIAL);
        std::fs::write(&file, "handed over by the manager").unwrap();
        assert!(matches!(protection_by(None, named), Protection::Credential(found) if found == file));
        let passphrase = Secret::new("written by the operator".to_owned());
        assert!(matches!(protection_by(Some(&passphrase), named), Protection::Passphrase(_)));
    }

    #[test]
    fn what_a_start_would_refuse_is_told_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let parse = |text: &str| Config::parse(text, "doorward.toml", folder.path(), &|_| None).unwrap();
        assert!(faults_of_files(&parse("")).is_empty());
        let lost = "passwords.breach_list = \"none.txt\"\nws.tls.certificate = \"none.pem\"\n\
                    ws.tls.key = \"none.key\"\nmetrics.tls.certificate = \"none.pem\"\nmetrics.tls.key = \"none.key\"";
        let faults = faults_of_files(&parse(lost));
        let keys: Vec<&str> = faults.iter().filter_map(|fault| Some(fault.split_once(": ")?.0)).collect();
        assert_eq!(keys, ["ws.tls", "metrics.tls", "passwords.breach_list"], "{faults:?}");
    }

    #[test]
    fn the_register_url_is_below_the_portals() {
        assert_eq!(register_url("https://portal.example.com"), "https://portal.example.com/register");
        assert_eq!(register_url("https://example.com/portal/"), "https://example.com/portal/register");
    }
}
