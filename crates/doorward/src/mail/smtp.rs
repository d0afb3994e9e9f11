//! Mail by SMTP (RFC 5321), with STARTTLS or TLS from the first byte.

use std::time::Duration;

use doorward_core::secret::Secret;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};

use super::message::Posted;
use super::post::Failure;

/// How a connection is protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    /// Plain at first, TLS before anything is said; without it nothing is sent.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// None: this machine only.
    None,
}

/// What a mail server is reached with.
#[derive(Clone, Debug)]
pub struct SmtpSettings {
    /// Its name or address.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// User and password, where it asks for them.
    pub credentials: Option<(String, Secret<String>)>,
    /// PEM of root certificates to trust besides the machine's own.
    pub roots: Option<Vec<u8>>,
    /// The sender in the envelope.
    pub sender: lettre::Address,
    /// Longest time for connecting, and for one mail.
    pub wait_max: Duration,
}

/// A mail server.
#[derive(Clone)]
pub struct Smtp {
    settings: SmtpSettings,
    tls: Option<TlsParameters>,
    hello: ClientId,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// An open connection.
pub(super) struct Connected {
    connection: AsyncSmtpConnection,
    /// A mail was given up half-way: the connection is of no more use.
    broken: bool,
    used: bool,
}

impl Connected {
    pub(super) fn is_broken(&self) -> bool {
        self.broken || self.connection.has_broken()
    }
}

impl Smtp {
    /// Gets ready; nothing is connected yet. The error is about a root certificate that does not read.
    pub fn new(settings: SmtpSettings) -> Result<Self, String> {
        let failed = |error: lettre::transport::smtp::Error| format!("mail.tls_ca: {}", chain(&error));
        let tls = match settings.security {
            Security::None => None,
            Security::StartTls | Security::Tls => {
                let mut builder = TlsParameters::builder(settings.server.clone());
                if let Some(pem) = &settings.roots {
                    builder = builder.add_root_certificate(Certificate::from_pem(pem).map_err(failed)?);
                }
                Some(builder.build_rustls().map_err(failed)?)
            }
        };
        let hello = ClientId::Domain(settings.sender.domain().to_owned());
        Ok(Self { settings, tls, hello })
    }

    /// Connects, protects the connection, and logs in.
    pub(super) async fn connect(&self) -> Result<Connected, Failure> {
        match tokio::time::timeout(self.settings.wait_max, self.connect_now()).await {
            Ok(connected) => connected,
            Err(_) => Err(Failure::server("the mail server did not answer in time")),
        }
    }

    async fn connect_now(&self) -> Result<Connected, Failure> {
        let SmtpSettings { server, port, security, credentials, wait_max, .. } = &self.settings;
        let down = |error: lettre::transport::smtp::Error| Failure::server(&chain(&error));
        let at_once = self.tls.clone().filter(|_| *security == Security::Tls);
        let address = (server.as_str(), *port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(*wait_max), &self.hello, at_once, None)
                .await
                .map_err(down)?;
        if let (Security::StartTls, Some(tls)) = (security, &self.tls) {
            connection.starttls(tls.clone(), &self.hello).await.map_err(down)?;
        }
        if let Some((user, password)) = credentials {
            let credentials = Credentials::new(user.clone(), password.expose().clone());
            connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(down)?;
        }
        Ok(Connected { connection, broken: false, used: false })
    }

    /// Sends one mail.
    pub(super) async fn send(&self, connected: &mut Connected, posted: &Posted) -> Result<(), Failure> {
        // Whatever cuts this short leaves the connection in the middle of a mail.
        connected.broken = true;
        let sent = tokio::time::timeout(self.settings.wait_max, self.send_now(connected, posted)).await;
        match sent {
            Ok(Ok(())) => {
                connected.broken = false;
                connected.used = true;
                Ok(())
            }
            Ok(Err(failure)) => {
                // A server that answered is ready for the next mail, unless it said goodbye (421).
                connected.broken = !matches!(
                    failure,
                    Failure::Later { code: Some(400..=420 | 422..=599), .. } | Failure::Never { code: Some(_), .. }
                );
                connected.used = true;
                Err(failure)
            }
            Err(_) => Err(Failure::later(None, "the mail server did not take the mail in time")),
        }
    }

    async fn send_now(&self, connected: &mut Connected, posted: &Posted) -> Result<(), Failure> {
        let Connected { connection, used, .. } = connected;
        if *used {
            connection.command(Rset).await.map_err(|error| now_or_later(&error))?;
        }
        let mut options = Vec::new();
        let is_ascii = |address: &lettre::Address| address.to_string().is_ascii();
        let ascii = is_ascii(&posted.to) && is_ascii(&self.settings.sender);
        if !ascii {
            if !connection.server_info().supports_feature(Extension::SmtpUtfEight) {
                return Err(Failure::never(None, "the mail server takes no address beyond ASCII"));
            }
            options.push(MailParameter::SmtpUtfEight);
        }
        let sender = Mail::new(Some(self.settings.sender.clone()), options);
        // A sender that is not taken is our own fault, not the recipient's: it is mended, and the mail goes out then.
        connection.command(sender).await.map_err(|error| now_or_later(&error))?;
        connection.command(Rcpt::new(posted.to.clone(), Vec::new())).await.map_err(|error| judged(&error))?;
        connection.command(Data).await.map_err(|error| judged(&error))?;
        connection.message(&posted.bytes).await.map(drop).map_err(|error| judged(&error))
    }

    /// Says goodbye; nobody minds if that fails.
    pub(super) async fn close(&self, mut connected: Connected) {
        let _ = tokio::time::timeout(Duration::from_secs(2), connected.connection.quit()).await;
    }
}

fn now_or_later(error: &lettre::transport::smtp::Error) -> Failure {
    Failure::later(error.status().map(u16::from), &chain(error))
}

/// RFC 5321, 4.2.1: a code of 500 and more is for good.
fn judged(error: &lettre::transport::smtp::Error) -> Failure {
    if error.is_permanent() {
        Failure::never(error.status().map(u16::from), &chain(error))
    } else {
        now_or_later(error)
    }
}

/// An error with all that is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(behind) = source {
        let words = behind.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = behind.source();
    }
    text
}
