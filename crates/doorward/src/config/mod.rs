//! The configuration: one TOML file, every key of it in one table ([`keys`]).

mod calendar;
mod check;
pub mod docs;
mod fix;
pub mod keys;
mod mail;
pub mod network;
mod read;
mod show;
#[cfg(test)]
mod tests;
pub mod value;
mod web;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use doorward_core::calendar::Calendar;
use doorward_core::secret::Secret;

pub use fix::{Fix, FixBackend, FixListener, FixProfile};
pub use mail::{Mail, MailWay};
pub use network::Network;
pub use read::{ConfigError, Env, Origin, Setting, Settings};
pub use value::{OriginRule, PublicUrl};
pub use web::Web;

use value::{Row, Value};

/// Longest configuration file, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The configuration in force, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `data_dir`.
    pub data_dir: PathBuf,
    /// `trusted_proxies`.
    pub trusted_proxies: Vec<Network>,
    /// `node.name`.
    pub node: String,
    /// Section `log`.
    pub log: Log,
    /// Section `ws`.
    pub ws: Ws,
    /// Section `fix`.
    pub fix: Fix,
    /// Section `web`.
    pub web: Web,
    /// `portal.public_url`.
    pub public_url: Option<PublicUrl>,
    /// Section `mail`; absent: mails wait.
    pub mail: Option<Mail>,
    /// Section `admin`.
    pub admin: Admin,
    /// Section `metrics`.
    pub metrics: Metrics,
    /// Section `vault`.
    pub vault: Vault,
    /// Section `hashing`.
    pub hashing: Hashing,
    /// Section `passwords`.
    pub passwords: Passwords,
    /// Sections `calendar` and `customer_center`.
    pub calendar: Arc<Calendar>,
    /// `journal.segment_bytes`.
    pub segment_bytes: u64,
    /// `journal.stream_segment_bytes`.
    pub stream_segment_bytes: u64,
    /// `journal.keep_days`.
    pub keep_days: u32,
    /// `journal.keep_records_days`; `None`: for ever.
    pub keep_records: Option<Duration>,
    /// `shutdown.drain_s`.
    pub drain: Duration,
    settings: Settings,
}

/// What is written to standard error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Log {
    /// `log.format`.
    pub format: LogFormat,
    /// `log.level`.
    pub level: tracing::Level,
}

/// Form of a log line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// One line of text an event.
    Human,
    /// One JSON object an event.
    Json,
}

/// The WebSocket door.
#[derive(Clone, Debug)]
pub struct Ws {
    /// `ws.listen`.
    pub listen: Vec<SocketAddr>,
    /// `ws.tls.…`.
    pub tls: Option<TlsFiles>,
    /// `ws.insecure_off_loopback`.
    pub insecure_off_loopback: bool,
    /// `ws.origins`.
    pub origins: Vec<OriginRule>,
    /// `ws.login_s_max`.
    pub login_max: Duration,
    /// `ws.token_valid_s`.
    pub token_valid: Duration,
    /// `ws.outbound_bytes_max`.
    pub outbound_bytes_max: usize,
    /// `ws.ping_s`.
    pub ping: Duration,
    /// `ws.connections_max`; `None` takes what the descriptors allow.
    pub connections_max: Option<usize>,
    /// `ws.proxy_protocol`.
    pub proxy_protocol: bool,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// What is asked of clients; `None`: nothing.
    pub clients: Option<ClientCertificates>,
}

/// Certificates of clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificates {
    /// The authorities that they must come from, as a PEM file.
    pub authorities: PathBuf,
    /// Who has none is not let in.
    pub required: bool,
}

/// The local administration socket.
#[derive(Clone, Debug)]
pub struct Admin {
    /// `admin.socket`.
    pub socket: PathBuf,
}

/// The listener of measurements and health.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `metrics.listen`.
    pub listen: SocketAddr,
    /// `metrics.tls.…`.
    pub tls: Option<TlsFiles>,
    /// `metrics.insecure_off_loopback`.
    pub insecure_off_loopback: bool,
}

/// Keys and what they protect.
#[derive(Clone, Debug)]
pub struct Vault {
    /// `vault.provider`.
    pub provider: VaultProvider,
    /// `vault.key_file`.
    pub key_file: PathBuf,
    /// `vault.passphrase`.
    pub passphrase: Option<Secret<String>>,
    /// `vault.challenge_s`.
    pub challenge: Duration,
    /// `vault.challenge_grace_s`.
    pub challenge_grace: Duration,
    /// `vault.challenge_bits`: 1024 (with the legacy switch only), 2048 or 3072.
    pub challenge_bits: u32,
    /// `vault.legacy_rsa_1024`.
    pub legacy_rsa_1024: bool,
    /// `vault.pkcs1`.
    pub pkcs1: bool,
}

/// Who keeps the keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VaultProvider {
    /// A sealed key file.
    Soft,
}

/// Argon2id and its pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hashing {
    /// `hashing.memory_kib`.
    pub memory_kib: u32,
    /// `hashing.passes`.
    pub passes: u32,
    /// `hashing.lanes`.
    pub lanes: u32,
    /// `hashing.threads`.
    pub threads: usize,
    /// `hashing.queue_max`.
    pub queue_max: usize,
    /// `hashing.queue_ms_max`.
    pub queue_wait_max: Duration,
}

/// What a password may not be.
#[derive(Clone, Debug)]
pub struct Passwords {
    /// `passwords.breach_list`.
    pub breach_list: Option<PathBuf>,
    /// `passwords.product_names`.
    pub product_names: Vec<String>,
}

/// Every fault of a configuration, one line each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors {
    file: String,
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The faults, by line.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.errors.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            match error.line {
                Some(line) => write!(f, "{end}{}:{line}: {}", self.file, error.text)?,
                None => write!(f, "{end}{}: {}", self.file, error.text)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl Config {
    /// Reads a file and checks it, with every rule that spans keys.
    ///
    /// `env` reads environment variables; only those that the file names are asked for.
    ///
    /// # Errors
    /// All faults at once.
    pub fn load(path: &Path, env: Env<'_>) -> Result<Self, ConfigErrors> {
        let whole = |text: String| ConfigErrors {
            file: path.display().to_string(),
            errors: vec![ConfigError { line: None, text }],
        };
        let bytes = std::fs::read(path).map_err(|error| whole(error.to_string()))?;
        if bytes.len() > FILE_BYTES_MAX {
            return Err(whole(format!("has {} bytes, at most {FILE_BYTES_MAX} are read", bytes.len())));
        }
        let text = String::from_utf8(bytes).map_err(|_| whole("is not UTF-8".to_owned()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, &path.display().to_string(), folder, env)
    }

    /// The same for a text: `name` stands in the errors, relative paths start at `folder`.
    ///
    /// # Errors
    /// All faults at once.
    pub fn parse(text: &str, name: &str, folder: &Path, env: Env<'_>) -> Result<Self, ConfigErrors> {
        let (settings, mut errors) = read::read(text, folder, env);
        let config = Self::typed(settings);
        if errors.is_empty() {
            errors = config.check();
        }
        if errors.is_empty() { Ok(config) } else { Err(ConfigErrors { file: name.to_owned(), errors }) }
    }

    /// The rules that span keys; empty where all hold.
    pub fn check(&self) -> Vec<ConfigError> {
        check::check(self)
    }

    /// What is allowed, but should be known to whoever starts the server.
    pub fn warnings(&self) -> Vec<String> {
        check::warnings(self)
    }

    /// The values in force with where they come from, as TOML; secrets as `***`.
    pub fn show(&self) -> String {
        show::text(&self.settings)
    }

    /// The same as one JSON object: path → value and origin.
    pub fn show_json(&self) -> serde_json::Value {
        show::json(&self.settings)
    }

    /// The values in force, by path.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn typed(settings: Settings) -> Self {
        let all = Typed(&settings);
        Self {
            data_dir: all.path("data_dir").unwrap_or_default(),
            trusted_proxies: all.networks("trusted_proxies"),
            node: all.text("node.name"),
            log: Log {
                format: log_format(&all.text("log.format")),
                level: log_level(&all.text("log.level")),
            },
            ws: ws(&all),
            fix: fix::fix(&all),
            web: web::web(&all),
            public_url: all.url("portal.public_url"),
            mail: mail::mail(&all),
            admin: Admin { socket: all.path("admin.socket").unwrap_or_default() },
            metrics: Metrics {
                listen: all.address("metrics.listen"),
                tls: all.tls("metrics.tls.certificate", "metrics.tls.key"),
                insecure_off_loopback: all.bool("metrics.insecure_off_loopback"),
            },
            vault: vault(&all),
            hashing: hashing(&all),
            passwords: Passwords {
                breach_list: all.path("passwords.breach_list"),
                product_names: all.texts("passwords.product_names"),
            },
            calendar: calendar::calendar(&settings).unwrap_or_else(|_| Arc::new(crate::gate::never_closed())),
            segment_bytes: all.number("journal.segment_bytes"),
            stream_segment_bytes: all.number("journal.stream_segment_bytes"),
            keep_days: all.small("journal.keep_days"),
            keep_records: keep_records(all.number("journal.keep_records_days")),
            drain: all.seconds("shutdown.drain_s"),
            settings,
        }
    }
}

fn keep_records(days: u64) -> Option<Duration> {
    (days > 0).then(|| Duration::from_secs(days * 86_400))
}

fn ws(all: &Typed<'_>) -> Ws {
    Ws {
        listen: all.addresses("ws.listen"),
        tls: all.tls("ws.tls.certificate", "ws.tls.key"),
        insecure_off_loopback: all.bool("ws.insecure_off_loopback"),
        origins: all.origins("ws.origins"),
        login_max: all.seconds("ws.login_s_max"),
        token_valid: all.seconds("ws.token_valid_s"),
        outbound_bytes_max: all.size("ws.outbound_bytes_max"),
        ping: all.seconds("ws.ping_s"),
        connections_max: Some(all.size("ws.connections_max")).filter(|max| *max > 0),
        proxy_protocol: all.bool("ws.proxy_protocol"),
    }
}

fn vault(all: &Typed<'_>) -> Vault {
    Vault {
        // The kind allows this one word.
        provider: VaultProvider::Soft,
        key_file: all.path("vault.key_file").unwrap_or_default(),
        passphrase: all.secret("vault.passphrase"),
        challenge: all.seconds("vault.challenge_s"),
        challenge_grace: all.seconds("vault.challenge_grace_s"),
        challenge_bits: all.small("vault.challenge_bits"),
        legacy_rsa_1024: all.bool("vault.legacy_rsa_1024"),
        pkcs1: all.bool("vault.pkcs1"),
    }
}

fn hashing(all: &Typed<'_>) -> Hashing {
    Hashing {
        memory_kib: all.small("hashing.memory_kib"),
        passes: all.small("hashing.passes"),
        lanes: all.small("hashing.lanes"),
        threads: all.size("hashing.threads"),
        queue_max: all.size("hashing.queue_max"),
        queue_wait_max: Duration::from_millis(all.number("hashing.queue_ms_max")),
    }
}

fn log_format(word: &str) -> LogFormat {
    if word == "json" { LogFormat::Json } else { LogFormat::Human }
}

fn log_level(word: &str) -> tracing::Level {
    word.parse().unwrap_or(tracing::Level::INFO)
}

/// Values by path and type. The table gives every key a kind and every key read here a default; the test
/// `every_key_is_read_as_its_kind` shows that none is asked for under another type.
struct Typed<'a>(&'a Settings);

/// One reader for each variant of [`Value`]: the value, or `None` where the key is not set.
macro_rules! readers {
    ($($name:ident -> $type:ty = $variant:ident;)+) => { impl Typed<'_> { $(
        fn $name(&self, path: &'static str) -> Option<$type> {
            match self.0.get(path).map(|setting| &setting.value) {
                None => None,
                Some(Value::$variant(value)) => Some(value.clone()),
                Some(other) => mistyped(path, other),
            }
        }
    )+ } };
}

readers! {
    bool_value -> bool = Bool;
    number_value -> u64 = Number;
    text_value -> String = Text;
    path -> PathBuf = Path;
    url -> PublicUrl = Url;
    secret -> Secret<String> = Secret;
    address_value -> SocketAddr = Address;
    addresses_value -> Vec<SocketAddr> = Addresses;
    networks_value -> Vec<Network> = Networks;
    origins_value -> Vec<OriginRule> = Origins;
    texts_value -> Vec<String> = Texts;
    rows -> Vec<Row> = Tables;
}

/// A mistake of ours in this file, never of the operator's; the tests load every key.
fn mistyped<T>(path: &str, value: &Value) -> Option<T> {
    debug_assert!(false, "{path} is read as another kind than {value:?}");
    None
}

impl Typed<'_> {
    fn bool(&self, path: &'static str) -> bool {
        self.bool_value(path).unwrap_or_default()
    }

    fn number(&self, path: &'static str) -> u64 {
        self.number_value(path).unwrap_or_default()
    }

    fn small(&self, path: &'static str) -> u32 {
        u32::try_from(self.number(path)).unwrap_or(u32::MAX)
    }

    fn size(&self, path: &'static str) -> usize {
        usize::try_from(self.number(path)).unwrap_or(usize::MAX)
    }

    fn seconds(&self, path: &'static str) -> Duration {
        Duration::from_secs(self.number(path))
    }

    fn text(&self, path: &'static str) -> String {
        self.text_value(path).unwrap_or_default()
    }

    fn texts(&self, path: &'static str) -> Vec<String> {
        self.texts_value(path).unwrap_or_default()
    }

    fn networks(&self, path: &'static str) -> Vec<Network> {
        self.networks_value(path).unwrap_or_default()
    }

    fn origins(&self, path: &'static str) -> Vec<OriginRule> {
        self.origins_value(path).unwrap_or_default()
    }

    fn addresses(&self, path: &'static str) -> Vec<SocketAddr> {
        self.addresses_value(path).unwrap_or_default()
    }

    fn address(&self, path: &'static str) -> SocketAddr {
        self.address_value(path).unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// The pair, where both are given; one without the other is a fault that `check` tells.
    fn tls(&self, certificate: &'static str, key: &'static str) -> Option<TlsFiles> {
        Some(TlsFiles { certificate: self.path(certificate)?, key: self.path(key)?, clients: None })
    }
}

/// Body for fuzzing: any text is a configuration that shows itself as one, or faults that can be looked at.
pub fn fuzz(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let parse = |text: &str| Config::parse(text, "doorward.toml", Path::new("."), &|_| None);
    match parse(text) {
        Ok(config) => {
            let _ = (config.warnings(), config.show_json());
            let shown = config.show();
            assert!(shown.parse::<toml::Table>().is_ok(), "what is shown is no TOML: {shown}");
        }
        Err(errors) => {
            let told = errors.to_string();
            assert!(!told.is_empty() && errors.errors.iter().all(|error| !error.text.is_empty()));
            let unseen = told.chars().find(|c| *c != '\n' && doorward_core::text::is_unseen(*c));
            assert!(unseen.is_none(), "{told:?}");
        }
    }
}
