//! Section `mail`.

use std::path::PathBuf;

use doorward_core::secret::Secret;

use super::check::Faults;
use super::value::is_loopback_host;
use super::{Config, Typed};
use crate::mail::{Address, Security, address};

/// How mails leave.
#[derive(Clone, Debug)]
pub struct Mail {
    /// `mail.from`.
    pub from: Address,
    /// `mail.reply_to`.
    pub reply_to: Option<Address>,
    /// By which way.
    pub by: MailWay,
}

/// By which way mails leave.
#[derive(Clone, Debug)]
pub enum MailWay {
    /// By a mail server.
    Server {
        /// `mail.server`.
        server: String,
        /// `mail.port`.
        port: u16,
        /// `mail.security`.
        security: Security,
        /// `mail.tls_ca`.
        tls_ca: Option<PathBuf>,
        /// `mail.user` and `mail.password`.
        credentials: Option<(String, Secret<String>)>,
    },
    /// `mail.folder`.
    Folder(PathBuf),
}

/// The section, where mails leave at all; what is wrong with it is told by [`check`].
pub(super) fn mail(all: &Typed<'_>) -> Option<Mail> {
    let from = address(&all.text_value("mail.from")?).ok()?;
    let reply_to = all.text_value("mail.reply_to").and_then(|text| address(&text).ok());
    let by = match all.path("mail.folder") {
        Some(folder) => MailWay::Folder(folder),
        None => server(all)?,
    };
    Some(Mail { from, reply_to, by })
}

fn server(all: &Typed<'_>) -> Option<MailWay> {
    Some(MailWay::Server {
        server: all.text_value("mail.server")?,
        port: u16::try_from(all.number("mail.port")).unwrap_or(u16::MAX),
        security: security(&all.text("mail.security")),
        tls_ca: all.path("mail.tls_ca"),
        credentials: all.text_value("mail.user").zip(all.secret("mail.password")),
    })
}

fn security(word: &str) -> Security {
    match word {
        "tls" => Security::Tls,
        "none" => Security::None,
        _ => Security::StartTls,
    }
}

pub(super) fn check(config: &Config, faults: &mut Faults<'_>) {
    let all = Typed(&config.settings);
    let (server, folder) = (all.text_value("mail.server"), all.path("mail.folder"));
    for key in ["mail.from", "mail.reply_to"] {
        if let Some(text) = all.text_value(key) {
            match address(&text) {
                Err(why) => faults.blame(&[key], format!("{key}: {text:?} is no mail address: {why}")),
                Ok(read) if !read.email.to_string().is_ascii() => {
                    faults
                        .blame(&[key], format!("{key}: {text:?} has characters beyond ASCII in its address"));
                }
                Ok(_) => {}
            }
        }
    }
    if (server.is_some() || folder.is_some()) && all.text_value("mail.from").is_none() {
        faults
            .blame(&["mail.server", "mail.folder"], "mail.from: is not set; mails need a sender".to_owned());
    }
    if let Some(server) = &server
        && security(&all.text("mail.security")) == Security::None
        && !is_loopback_host(server)
    {
        let text =
            format!("mail.security: none is for this machine only, not for {server:?}; use starttls or tls");
        faults.blame(&["mail.security"], text);
    }
    for (one, other) in [("mail.user", "mail.password"), ("mail.password", "mail.user")] {
        let has = |key| config.settings.contains_key(key);
        if has(one) && !has(other) {
            faults.blame(&[one], format!("{one}: needs {other} as well"));
        }
    }
}

pub(super) fn warnings(config: &Config) -> Vec<String> {
    let Some(mail) = &config.mail else { return Vec::new() };
    let mut warnings = Vec::new();
    if config.public_url.is_none() && config.web.listen.is_empty() {
        warnings.push("portal.public_url: is not set; setup links cannot be mailed".to_owned());
    }
    if let MailWay::Folder(folder) = &mail.by {
        warnings.push(format!("mail.folder: mails are not sent, they are written to {}", folder.display()));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        let env = |name: &str| (name == "MAIL_PASS").then(|| "correct horse".to_owned());
        Config::parse(text, "f", Path::new("/etc"), &env).map_err(|errors| errors.to_string())
    }

    const FROM: &str = "mail.from = \"Börse <no-reply@example.com>\"\n";

    #[test]
    fn the_port_is_that_of_the_protection_unless_it_is_given() {
        for (more, expected) in [
            ("", 587),
            ("mail.security = \"tls\"\n", 465),
            ("mail.security = \"none\"\n", 25),
            ("mail.port = 2525\n", 2_525),
        ] {
            let config = parse(&format!("{FROM}mail.server = \"localhost\"\n{more}")).unwrap();
            let MailWay::Server { port, .. } = config.mail.unwrap().by else { panic!("no server") };
            assert_eq!(port, expected, "{more}");
        }
    }

    #[test]
    fn e7_mail_leaves_this_machine_over_tls_only() {
        let refused = parse(&format!("{FROM}mail.server = \"smtp.example.com\"\nmail.security = \"none\""));
        assert!(refused.unwrap_err().contains("use starttls or tls"));
    }

    #[test]
    fn a_mail_way_needs_a_sender_and_a_user_a_password() {
        for (text, words) in [
            ("mail.server = \"localhost\"", "mails need a sender"),
            ("mail.folder = \"mails\"", "mails need a sender"),
            ("mail.from = \"nobody\"", "no mail address"),
            ("mail.from = \"a@bücher.example\"", "beyond ASCII"),
            ("mail.user = \"x\"", "needs mail.password"),
            ("mail.password_env = \"MAIL_PASS\"", "needs mail.user"),
        ] {
            let refused = parse(text).unwrap_err();
            assert!(refused.contains(words), "{text}: {refused}");
        }
        let both = format!(
            "{FROM}mail.server = \"localhost\"\nmail.user = \"x\"\nmail.password_env = \"MAIL_PASS\""
        );
        let MailWay::Server { credentials, .. } = parse(&both).unwrap().mail.unwrap().by else { panic!() };
        assert_eq!(credentials.unwrap().1.expose(), "correct horse");
        assert!(parse("").unwrap().mail.is_none());
    }

    #[test]
    fn a_folder_takes_the_place_of_a_server_and_is_warned_about() {
        let config =
            parse(&format!("{FROM}mail.server = \"smtp.example.com\"\nmail.folder = \"mails\"")).unwrap();
        let warnings = config.warnings().join("\n");
        assert!(warnings.contains("mails are not sent") && warnings.contains("setup links cannot be mailed"));
        let MailWay::Folder(folder) = config.mail.unwrap().by else { panic!("no folder") };
        assert_eq!(folder, Path::new("/etc/mails"));
    }
}
