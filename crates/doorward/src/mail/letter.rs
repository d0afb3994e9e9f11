//! The words of mails: one text a kind, shown both as plain text and as HTML, so the two never differ.

use askama::Template;
use doorward_core::identity::mail::{Mail, MailKind};
use doorward_core::identity::notice::Notice;
use doorward_core::text::escape_untrusted;
use doorward_core::time::Wall;

/// Keys of [`Mail::values`]; what is absent is left out of the mail.
pub mod value {
    /// When it happened, in microseconds since 1970; absent: when the mail was queued.
    pub const AT: &str = "at_us";
    /// User id of who did it.
    pub const BY: &str = "by";
    /// Why, in the words of who did it.
    pub const REASON: &str = "reason";
    /// From which address.
    pub const SOURCE: &str = "source";
    /// When a setup link ends, in microseconds since 1970.
    pub const EXPIRES: &str = "expires_us";
    /// Name of the firm.
    pub const FIRM: &str = "firm";
    /// The address or system before.
    pub const OLD: &str = "old";
    /// The address or system from now on.
    pub const NEW: &str = "new";
    /// What a notice is of: an id of [`super::Notice`].
    pub const NOTICE: &str = "notice";
    /// What was done with recovery codes: `made` or `used`; `lasting`: a password was set that need not be changed.
    pub const DONE: &str = "done";
    /// How many recovery codes are left.
    pub const LEFT: &str = "left";
    /// A few words more about a notice, such as which key pair.
    pub const DETAIL: &str = "detail";
}

/// What is the same in all mails of a site.
#[derive(Clone, Debug)]
pub struct Letterhead {
    /// Who writes, such as `Doorward`.
    pub sender: String,
    /// Where people reach the portal, without a slash at its end.
    pub portal: Option<String>,
}

impl Letterhead {
    /// The address of a setup link: the token is in the fragment, which no server and no log ever sees.
    pub fn setup_link(&self, token: &str) -> Option<String> {
        self.portal.as_ref().map(|portal| format!("{portal}/setup#{token}"))
    }
}

/// A piece of a letter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// A paragraph.
    Text(String),
    /// A title above what follows.
    Title(&'static str),
    /// Something to open.
    Link {
        /// What it does.
        label: &'static str,
        /// Where it leads.
        url: String,
    },
    /// Steps, in order.
    Steps(Vec<&'static str>),
    /// Names and values.
    Facts(Vec<(&'static str, String)>),
}

/// A mail in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Letter {
    /// The subject, on one line.
    pub subject: String,
    /// The title of the HTML form.
    pub title: &'static str,
    /// Whom it greets.
    pub name: String,
    /// What it says.
    pub parts: Vec<Part>,
    sender: String,
    portal: Option<String>,
}

#[derive(Template)]
#[template(path = "mail/letter.txt", escape = "none")]
struct Plain<'a> {
    letter: &'a Letter,
}

#[derive(Template)]
#[template(path = "mail/letter.html")]
struct Html<'a> {
    letter: &'a Letter,
}

impl Letter {
    /// The letter as plain text.
    pub fn plain(&self) -> Result<String, askama::Error> {
        Plain { letter: self }.render()
    }

    /// The letter as an HTML page without script, image or anything from elsewhere.
    pub fn html(&self) -> Result<String, askama::Error> {
        Html { letter: self }.render()
    }

    fn new(head: &Letterhead, name: &str, title: &'static str, parts: Vec<Part>) -> Self {
        let Letterhead { sender, portal } = head.clone();
        let subject = format!("{sender}: {title}");
        Self { subject, title, name: one_line(name), parts, sender, portal }
    }

    /// The title as a sentence begins.
    fn heading(&self) -> String {
        let mut chars = self.title.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
    }

    /// What a mail says. `link` is the address of a setup link.
    pub fn of(mail: &Mail, head: &Letterhead, link: Option<&str>) -> Self {
        let facts = Facts { mail };
        let name = mail.userid.as_ref().map_or("", doorward_core::id::UserId::as_str);
        match mail.kind {
            MailKind::SetupLink => {
                setup(head, name, link, facts.instant(value::EXPIRES), facts.text(value::FIRM))
            }
            MailKind::Notice => notice(&facts, head),
            MailKind::OperatorRecovered => recovered(&facts, head),
            MailKind::PairsUnsure => unsure(&facts, head),
            MailKind::Registered
            | MailKind::AuthenticatorReset
            | MailKind::PasswordChanged
            | MailKind::PasswordSet
            | MailKind::AuthSystemChanged
            | MailKind::RecoveryCodes
            | MailKind::EmailChanged
            | MailKind::Unlocked
            | MailKind::Disabled => told(&facts, head, name),
        }
    }
}

/// The letter of a setup link; also the text that an administrator copies to hand it over by other means.
pub fn setup(
    head: &Letterhead,
    name: &str,
    link: Option<&str>,
    expires: Option<Wall>,
    firm: Option<String>,
) -> Letter {
    let from = firm.map_or_else(
        || "You have an account".to_owned(),
        |firm| format!("{firm} has opened an account for you"),
    );
    let mut parts = vec![
        Part::Text(format!("{from} with the user name {}.", one_line(name))),
        Part::Text(
            "One step is left: register an authenticator app. It takes about two minutes and is done once."
                .to_owned(),
        ),
    ];
    if let Some(url) = link {
        parts.push(Part::Link { label: "Register my authenticator", url: url.to_owned() });
    }
    if let Some(expires) = expires {
        parts.push(Part::Text(format!("The link works once, until {}.", spoken(expires))));
    }
    parts.extend([
        Part::Title("What an authenticator app is"),
        Part::Text(
            "It is an app on your phone that shows a new short code every half minute, even without a network. You \
             type that code beside your password, so that a stolen password alone lets nobody in. Any app for \
             one-time passwords will do, for example Google Authenticator, Microsoft Authenticator or FreeOTP."
                .to_owned(),
        ),
        Part::Title("What you will do"),
        Part::Steps(vec![
            "Install one of these apps, if you have none yet.",
            "Open the link and type the initial password that your administrator gave you. It is not in this mail.",
            "Choose a password of your own.",
            "Scan the picture with the app, or type the text below it.",
            "Type the code that the app shows. Done.",
        ]),
        Part::Text(
            "Only one app can be registered. If you change phones later, your administrator resets it for you."
                .to_owned(),
        ),
        Part::Text(
            "You did not expect this mail? Leave the link alone and tell your administrator.".to_owned(),
        ),
    ]);
    Letter::new(head, name, "register your authenticator", parts)
}

/// The letters that tell the owner what was done.
fn told(facts: &Facts<'_>, head: &Letterhead, name: &str) -> Letter {
    let (title, text): (&'static str, String) = match facts.mail.kind {
        MailKind::Registered => (
            "your authenticator is registered",
            "An authenticator app was registered for your account. From now on you need a code from it to sign in."
                .to_owned(),
        ),
        MailKind::AuthenticatorReset => (
            "your authenticator was reset",
            "The authenticator app of your account was taken away. You cannot sign in with a code from it any more. \
             You can register an app again with a setup link or as your administrator tells you."
                .to_owned(),
        ),
        MailKind::PasswordChanged => (
            "your password was changed",
            "The password of your account was changed. If you did it, there is nothing to do.".to_owned(),
        ),
        MailKind::PasswordSet if facts.text(value::DONE).as_deref() == Some("lasting") => (
            "your password was set",
            "Somebody who may do so has set another password for your account. Who is named below.".to_owned(),
        ),
        MailKind::PasswordSet => (
            "an initial password was set",
            "An administrator has set an initial password for your account. You get it from them, never by mail, and \
             choose your own when you first sign in."
                .to_owned(),
        ),
        MailKind::AuthSystemChanged => (
            "how you sign in was changed",
            "An administrator has changed how you prove who you are when you sign in.".to_owned(),
        ),
        MailKind::RecoveryCodes => recovery_codes(facts),
        MailKind::EmailChanged => (
            "your mail address was changed",
            "The mail address of your account was changed. Setup links that were sent before do not work any more."
                .to_owned(),
        ),
        MailKind::Unlocked => (
            "your account was unlocked",
            "Your account was locked after wrong passwords or codes. It is open again.".to_owned(),
        ),
        MailKind::Disabled => (
            "your account was disabled",
            "Your account was disabled. You cannot sign in, and what was open has been ended.".to_owned(),
        ),
        MailKind::SetupLink | MailKind::Notice | MailKind::OperatorRecovered | MailKind::PairsUnsure => {
            ("news", String::new())
        }
    };
    let last = "If you did not expect this, tell your administrator at once.".to_owned();
    let parts = vec![Part::Text(text), facts.part(), Part::Text(last)];
    Letter::new(head, name, title, parts)
}

fn recovery_codes(facts: &Facts<'_>) -> (&'static str, String) {
    let left = facts.text(value::LEFT).map(|left| format!(" {left} are left.")).unwrap_or_default();
    if facts.text(value::DONE).as_deref() == Some("used") {
        let text =
            format!("One of your recovery codes let somebody in to your account. It is used up.{left}");
        ("a recovery code was used", text)
    } else {
        let text = "New recovery codes were made for your account. Codes from before do not work any more."
            .to_owned();
        ("new recovery codes were made", text)
    }
}

fn notice(facts: &Facts<'_>, head: &Letterhead) -> Letter {
    let known = facts.text(value::NOTICE).and_then(|id| Notice::from_id(&id));
    let (title, text) = match known {
        Some(Notice::Registered) => ("an authenticator was registered", known),
        Some(Notice::AuthenticatorReset) => ("an authenticator was reset", known),
        Some(Notice::Locked) => ("an authenticator was locked", known),
        Some(Notice::Unlocked) => ("somebody was unlocked", known),
        Some(Notice::LinkSent) => ("a setup link was handed out", known),
        Some(Notice::LinkExpired) => ("a setup link expired unused", known),
        Some(Notice::PasswordChanged) => ("a password was changed", known),
        Some(Notice::PasswordSet) => ("an initial password was set", known),
        Some(Notice::NewAdministrator) => ("a new administrator", known),
        Some(Notice::RightsChanged) => ("rights were changed", known),
        Some(Notice::KeyPairCreated) => ("a key pair was made", known),
        Some(Notice::KeyPairDownloaded) => ("a secret key was shown", known),
        Some(Notice::KeyPairDeleted) => ("a key pair was deleted", known),
        Some(Notice::KeyPairExpiring) => ("a key pair is ending", known),
        Some(Notice::SessionLocked) => ("a FIX session was locked", known),
        None => ("something happened in your firm", None),
    };
    let text =
        text.map_or_else(|| "Something happened in your firm.".to_owned(), |notice| notice.doc().to_owned());
    let mut about = Vec::new();
    if let Some(userid) = &facts.mail.userid {
        about.push(("User", one_line(userid.as_str())));
    }
    let parts = vec![
        Part::Text(text),
        facts.part_after(about),
        Part::Text(
            "You are told because you asked for it in the console, where you can also end it.".to_owned(),
        ),
    ];
    Letter::new(head, "administrator", title, parts)
}

fn recovered(facts: &Facts<'_>, head: &Letterhead) -> Letter {
    let mut about = Vec::new();
    if let Some(userid) = &facts.mail.userid {
        about.push(("Operator", one_line(userid.as_str())));
    }
    let text = "An operator of the desk was recovered at the machine itself: somebody with access to the server has \
                given them a new way to sign in.";
    let parts = vec![
        Part::Text(text.to_owned()),
        facts.part_after(about),
        Part::Text(
            "If nobody of you asked for it, act at once: disable the operator and look at the server."
                .to_owned(),
        ),
    ];
    Letter::new(head, "operator", "an operator was recovered", parts)
}

fn unsure(facts: &Facts<'_>, head: &Letterhead) -> Letter {
    let text = "The data of the server were put back from a backup. Key pairs of your FIX sessions were made or deleted \
                shortly before the instant that the backup reaches: they may not be as you left them.";
    let parts = vec![
        Part::Text(text.to_owned()),
        facts.part(),
        Part::Text(
            "Make new key pairs for these sessions and delete those that you do not know. Whatever your firm changed \
             after that instant has to be done again."
                .to_owned(),
        ),
    ];
    Letter::new(head, "administrator", "key pairs are unsure after a restore", parts)
}

/// What a mail's values say.
struct Facts<'a> {
    mail: &'a Mail,
}

impl Facts<'_> {
    fn text(&self, key: &str) -> Option<String> {
        self.mail.values.get(key).map(|text| one_line(text)).filter(|text| !text.is_empty())
    }

    fn instant(&self, key: &str) -> Option<Wall> {
        self.mail.values.get(key)?.parse().ok().map(Wall::from_us)
    }

    fn part(&self) -> Part {
        self.part_after(Vec::new())
    }

    fn part_after(&self, mut facts: Vec<(&'static str, String)>) -> Part {
        facts.push(("When", spoken(self.instant(value::AT).unwrap_or(self.mail.queued_at))));
        let rest = [
            ("By", value::BY),
            ("Reason", value::REASON),
            ("From", value::SOURCE),
            ("Before", value::OLD),
            ("Now", value::NEW),
            ("Details", value::DETAIL),
        ];
        facts.extend(rest.into_iter().filter_map(|(name, key)| Some((name, self.text(key)?))));
        Part::Facts(facts)
    }
}

/// A text on one line, in which nothing unseen is left.
fn one_line(text: &str) -> String {
    let joined: Vec<&str> = text.split_whitespace().collect();
    escape_untrusted(&joined.join(" ")).into_owned()
}

/// An instant in words, such as `24 November 2026, 03:30 UTC`.
fn spoken(at: Wall) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let text = at.to_string();
    let pieces = || {
        let (date, time) = text.split_once('T')?;
        let mut date = date.splitn(3, '-');
        let (year, month, day) = (date.next()?, date.next()?, date.next()?);
        let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
        Some(format!("{} {month} {year}, {} UTC", day.trim_start_matches('0'), time.get(..5)?))
    };
    pieces().unwrap_or_else(|| text.clone())
}
