//! Where and as whom `doorward fix` logs on: options, the ready file, questions.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use doorward_client::ClientError;
use doorward_client::fix::{
    Application, Credentials, KeyPair, Resend, SecureLogon, Settings, TraderLogon, Version,
};
use doorward_client::totp::Totp;
use doorward_client::ws::{tls_from_ca_file, tls_with_certificate};
use doorward_core::id::{AccessKeyId, CompId, OperatorId};
use doorward_core::stream::Gateway;
use doorward_core::time::Wall;
use rustls::ClientConfig;

use super::CliError;
use super::fix::Ask;
use super::load_fix_seats::{GatewayKind, Ready, Stamp};
use super::sign::parse_access_key_id;
use super::terminal::{PasswordFrom, Question, SecretKeyFrom, secret_env, secret_file};

/// What the venue expects of a Logon.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Profile {
    /// A signed Logon with a key pair
    CmeSecure,
    /// A person with password and one-time password
    TraderOtp,
}

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(Args, Debug)]
pub(super) struct ConnectArgs {
    /// How to log on
    #[arg(long, value_enum, default_value = "cme-secure")]
    profile: Profile,
    /// Host and port of the FIX listener [default: of the ready file]
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// The ready file of a demo: address, sessions and their key pairs
    #[arg(long, value_name = "FILE")]
    ready: Option<PathBuf>,
    /// Which gateway of the ready file
    #[arg(long, value_enum, default_value = "cgw")]
    gateway: GatewayKind,
    /// TargetSubID (57) without a ready file: G, or the two digits of a market segment
    #[arg(long, default_value = "G", value_parser = parse_gateway)]
    segment: Gateway,
    /// The Session ID to take from the ready file [default: the first]
    #[arg(long, value_name = "ABC", conflicts_with = "sender")]
    session: Option<String>,
    /// SenderCompID (49): Session ID, Firm ID and N
    #[arg(long, value_name = "COMPID")]
    sender: Option<String>,
    /// The operator, SenderSubID (50) [default: the first of the session in the ready file]
    #[arg(long, value_name = "ID")]
    operator: Option<String>,
    /// The access key ID (355)
    #[arg(long, value_name = "ID", value_parser = parse_access_key_id)]
    access_key_id: Option<AccessKeyId>,
    #[command(flatten)]
    secret_key: SecretKeyFrom,
    /// SenderLocationID (142)
    #[arg(long, default_value = "US,IL")]
    location: String,
    /// The venue's name, TargetCompID (56) [default: of the ready file, or CME]
    #[arg(long)]
    venue: Option<String>,
    /// The trader's user id [default: asked]
    #[arg(long, value_name = "USERID")]
    user: Option<String>,
    #[command(flatten)]
    password: PasswordFrom,
    /// The trader's one-time password [default: asked where the server wants one]
    #[arg(long, conflicts_with = "seed_env")]
    code: Option<String>,
    /// Make the one-time password from the seed in this environment variable
    #[arg(long, value_name = "NAME")]
    seed_env: Option<String>,
    /// The tag of the one-time password
    #[arg(long, value_name = "TAG", default_value_t = 20_030)]
    code_tag: u32,
    /// Change the trader's password to the one in this file
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// The trader's version of FIX
    #[arg(long, default_value = "4.4", value_parser = parse_version)]
    fix_version: Version,
    /// Begin the trader's sequences anew with the Logon (141=Y)
    #[arg(long)]
    reset_on_logon: bool,
    /// HeartBtInt (108)
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    heartbeat: u16,
    /// Keep the sequence numbers in this file [default: beside the ready file; without one they are forgotten]
    #[arg(long, value_name = "FILE")]
    sequence_file: Option<PathBuf>,
    /// Log on only with the numbers that are kept, even where the server names another one
    #[arg(long)]
    strict: bool,
    /// Do not send orders again that the server asks for again
    #[arg(long)]
    no_resend: bool,
    /// Use TLS, and trust the root certificates of this PEM file
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Show this certificate (PEM, the own one first) to a server that asks for one
    #[arg(long, value_name = "FILE", requires = "ca", requires = "certificate_key")]
    certificate: Option<PathBuf>,
    /// The private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "certificate")]
    certificate_key: Option<PathBuf>,
}

fn parse_version(text: &str) -> Result<Version, String> {
    match text.trim_start_matches("FIX.") {
        "4.2" => Ok(Version::Fix42),
        "4.4" => Ok(Version::Fix44),
        _ => Err(String::from("neither 4.2 nor 4.4")),
    }
}

fn parse_gateway(text: &str) -> Result<Gateway, String> {
    if text == "G" {
        return Ok(Gateway::Cgw);
    }
    Gateway::msgw(text).ok_or_else(|| String::from("neither G nor two digits"))
}

const USER: Question = Question { prompt: "User: ", option: "--user", hidden: false };
const PASSWORD: Question =
    Question { prompt: "Password: ", option: "--password-file or --password-env", hidden: true };
const SECRET_KEY: Question =
    Question { prompt: "Secret key: ", option: "--secret-key-file or --secret-key-env", hidden: true };

/// Everything that a connection needs.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) settings: Settings,
    pub(super) sequence_file: Option<PathBuf>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) strict: bool,
}

/// What of a session is in the ready file.
struct Known {
    comp_id: String,
    operator: Option<String>,
    key: KeyPair,
}

impl ConnectArgs {
    /// Puts together what is given, what the ready file says, and what the person answers.
    pub(super) fn prepare(&self, ask: Ask, now: Wall) -> Result<Prepared, CliError> {
        let ready = self.ready.as_deref().map(Ready::read).transpose()?;
        let (host, port, gateway) = self.place(ready.as_ref())?;
        let credentials = match self.profile {
            Profile::CmeSecure => Credentials::Secure(self.secure(ready.as_ref(), gateway, ask)?),
            Profile::TraderOtp => Credentials::Trader(self.trader(ask, now)?),
        };
        let name = match &credentials {
            Credentials::Secure(secure) => {
                format!("{}-{}", secure.comp_id, String::from_utf8_lossy(gateway.sub_id()))
            }
            // A user id may have any characters, and a file name may not.
            Credentials::Trader(trader) => trader.user.bytes().map(|byte| format!("{byte:02x}")).collect(),
        };
        let mut settings = Settings::new(credentials);
        settings.heartbeat_s = self.heartbeat;
        settings.venue = match (&self.venue, &ready) {
            (Some(venue), _) => venue.clone(),
            (None, Some(ready)) => ready.venue(),
            (None, None) => settings.venue,
        };
        if self.no_resend {
            settings.resend = Resend::PassOver;
        }
        let beside = ready.as_ref().map(|ready| ready.sequence_path(&name));
        Ok(Prepared {
            host,
            port,
            settings,
            sequence_file: self.sequence_file.clone().or(beside),
            tls: self.tls().transpose()?,
            strict: self.strict,
        })
    }

    fn tls(&self) -> Option<Result<Arc<ClientConfig>, ClientError>> {
        let roots = self.ca.as_deref()?;
        Some(match self.certificate.as_deref().zip(self.certificate_key.as_deref()) {
            Some((certificate, key)) => tls_with_certificate(roots, certificate, key),
            None => tls_from_ca_file(roots),
        })
    }

    fn place(&self, ready: Option<&Ready>) -> Result<(String, u16, Gateway), CliError> {
        let told = match ready {
            Some(ready) if self.profile == Profile::TraderOtp => Some((ready.trader()?, self.segment)),
            Some(ready) => {
                let (host, port, sub_id) = ready.gateway(self.gateway)?;
                let gateway = parse_gateway(&sub_id).map_err(CliError::usage)?;
                Some(((host, port), gateway))
            }
            None => None,
        };
        let gateway = told.as_ref().map_or(self.segment, |(_, gateway)| *gateway);
        match (&self.address, told) {
            (Some(address), _) => {
                let wrong = || CliError::usage(format!("--address: {address}: not HOST:PORT"));
                let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
                let host = host.trim_start_matches('[').trim_end_matches(']');
                Ok((host.to_owned(), port.parse().map_err(|_| wrong())?, gateway))
            }
            (None, Some(((host, port), _))) => Ok((host, port, gateway)),
            (None, None) => Err(CliError::usage("where to? give --address, or --ready")),
        }
    }

    fn secure(&self, ready: Option<&Ready>, gateway: Gateway, ask: Ask) -> Result<SecureLogon, CliError> {
        let known = match ready {
            Some(ready) => self.known(ready)?,
            None => None,
        };
        let text = match (&self.sender, &known) {
            (Some(sender), _) => sender.clone(),
            (None, Some(known)) => known.comp_id.clone(),
            (None, None) => return Err(CliError::usage("who? give --sender, or --ready")),
        };
        let comp_id = CompId::parse(text.as_bytes()).ok_or_else(|| {
            CliError::usage(format!(
                "--sender: {text}: not a Session ID (3), a Firm ID (3) and an indicator (1)"
            ))
        })?;
        let operator = match (&self.operator, &known) {
            (Some(operator), _) => operator.clone(),
            (None, Some(Known { operator: Some(operator), .. })) => operator.clone(),
            (None, _) => return Err(CliError::usage("which operator? give --operator")),
        };
        let operator = OperatorId::parse(operator.as_bytes()).ok_or_else(|| {
            CliError::usage(format!(
                "--operator: {operator}: not 1 to 18 printable characters without a space"
            ))
        })?;
        let given = match (self.access_key_id, self.secret_key.read()?, known) {
            (None, None, Some(known)) => known.key,
            (Some(id), secret_key, _) => {
                let secret_key = match secret_key {
                    Some(secret_key) => secret_key,
                    None => ask(SECRET_KEY)?,
                };
                KeyPair::new(&id.to_string(), &secret_key)
                    .map_err(|error| CliError::usage(error.to_string()))?
            }
            (None, Some(secret_key), Some(known)) => {
                let id = known.key.access_key_id().to_string();
                KeyPair::new(&id, &secret_key).map_err(|error| CliError::usage(error.to_string()))?
            }
            (None, _, None) => {
                return Err(CliError::usage(
                    "which key pair? give --access-key-id and --secret-key-env or --secret-key-file",
                ));
            }
        };
        let application = Application { name: String::from("doorward fix"), ..Application::default() };
        Ok(SecureLogon {
            comp_id,
            operator,
            gateway,
            location: self.location.clone(),
            application,
            key: given,
        })
    }

    /// The session of the ready file that is meant.
    fn known(&self, ready: &Ready) -> Result<Option<Known>, CliError> {
        for row in ready.sessions()? {
            for comp_id in &row.sender_comp_ids {
                let meant = match (&self.sender, &self.session) {
                    (Some(sender), _) => comp_id == sender,
                    (None, Some(session)) => comp_id.starts_with(session.as_str()),
                    (None, None) => true,
                };
                if meant {
                    let operator = row.operator_ids.first().cloned();
                    return Ok(Some(Known { comp_id: comp_id.clone(), operator, key: row.key.clone() }));
                }
            }
        }
        match &self.session {
            Some(session) => Err(CliError::usage(format!("--session: {session} is not in the ready file"))),
            None => Ok(None),
        }
    }

    fn trader(&self, ask: Ask, now: Wall) -> Result<TraderLogon, CliError> {
        let user = match &self.user {
            Some(user) => user.clone(),
            None => ask(USER)?.expose().clone(),
        };
        let password = match self.password.read()? {
            Some(password) => password,
            None => ask(PASSWORD)?,
        };
        let mut trader = TraderLogon::new(user, password);
        trader.version = self.fix_version;
        trader.code_tag = self.code_tag;
        trader.reset = self.reset_on_logon;
        trader.code = match (&self.code, &self.seed_env) {
            (Some(code), _) => Some(code.clone().into()),
            (None, Some(name)) => {
                let totp = Totp::parse(secret_env("--seed-env", name)?.expose())?;
                Some(totp.code(now).into())
            }
            (None, None) => None,
        };
        if let Some(path) = &self.new_password_file {
            trader.new_password = Some(secret_file("--new-password-file", path)?);
        }
        Ok(trader)
    }
}

/// An instant as UTCTimestamp fields have it, with milliseconds.
pub(super) fn utc_timestamp(at: Wall) -> String {
    let mut stamp = Stamp::new();
    stamp.set(at);
    String::from_utf8_lossy(&stamp.text).into_owned()
}
