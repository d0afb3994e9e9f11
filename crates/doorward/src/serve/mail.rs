//! What mails leave by, as the configuration says.

use std::path::PathBuf;
use std::time::Duration;

use super::StartError;
use crate::config::{Config, MailWay, PublicUrl};
use crate::gate::Settings;
use crate::mail::letter::Letterhead;
use crate::mail::outbox::Office;
use crate::mail::{Folder, Post, Smtp, SmtpSettings};

/// Longest time for reaching the mail server, and for one mail.
const MAIL_WAIT_MAX: Duration = Duration::from_secs(30);

/// What mails are made with, where they leave at all.
pub(super) fn mail_office(
    config: &Config,
    public_url: Option<&PublicUrl>,
) -> Result<Option<Office>, StartError> {
    let Some(mail) = &config.mail else { return Ok(None) };
    let post = match &mail.by {
        MailWay::Folder(folder) => Post::Folder(Folder::open(folder)?),
        MailWay::Server { .. } => match mail_server(config)? {
            Some(smtp) => Post::Smtp(smtp),
            None => return Ok(None),
        },
    };
    let head = Letterhead {
        sender: Settings::default().issuer,
        portal: public_url.map(|url| url.as_str().trim_end_matches('/').to_owned()),
    };
    Ok(Some(Office { head, from: mail.from.clone(), reply_to: mail.reply_to.clone(), post }))
}

/// The mail server, where mails leave by one; nothing is connected yet.
pub(super) fn mail_server(config: &Config) -> Result<Option<Smtp>, StartError> {
    let Some(mail) = &config.mail else { return Ok(None) };
    let MailWay::Server { server, port, security, tls_ca, credentials } = &mail.by else { return Ok(None) };
    let read = |path: &PathBuf| {
        std::fs::read(path)
            .map_err(|error| StartError::Config(format!("mail.tls_ca: {}: {error}", path.display())))
    };
    let settings = SmtpSettings {
        server: server.clone(),
        port: *port,
        security: *security,
        credentials: credentials.clone(),
        roots: tls_ca.as_ref().map(read).transpose()?,
        sender: mail.from.email.clone(),
        wait_max: MAIL_WAIT_MAX,
    };
    Ok(Some(Smtp::new(settings).map_err(StartError::Config)?))
}
