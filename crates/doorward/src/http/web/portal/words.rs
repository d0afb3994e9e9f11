//! What people read in place of the names of the inside.

use doorward_core::audit::{Deny, Factor};
use doorward_core::identity::password::Rule;

use crate::gate::web::own::Own;

/// What was proved, in a few words.
pub(super) const fn factor(factor: Factor) -> &'static str {
    match factor {
        Factor::Nothing => "Nothing",
        Factor::Password => "Password",
        Factor::Code | Factor::PasswordAndCode => "Password and code",
        Factor::RecoveryCode => "Password and recovery code",
        Factor::Token => "Token",
        Factor::Signature => "Signature",
        Factor::LocalUser => "User of the server",
        Factor::LocalUserAndCode => "User of the server, and code",
    }
}

/// A rule that a new password breaks, and what would be better.
pub(super) fn rule(rule: Rule, own: Option<&Own>) -> String {
    let text = match rule {
        Rule::TooShort => {
            return match own {
                Some(own) => format!("Too short: it needs at least {} characters.", own.password_chars_min),
                None => "Too short: it needs more characters.".to_owned(),
            };
        }
        Rule::TooLong => "Too long: at most 128 characters, or 150 bytes.",
        Rule::Control => "It holds a character that cannot be typed everywhere. Leave it out.",
        Rule::Common => "Too easy to guess: it is a common or leaked password, or a simple pattern.",
        Rule::HasUserId => "It holds your user name. Choose one without it.",
        Rule::HasFirm => "It holds the name of your firm. Choose one without it.",
        Rule::HasProduct => "It holds the name of this system. Choose one without it.",
        Rule::SameAsPresent => "That is the password that you have now. Choose another one.",
        Rule::PresentWrong => "Your present password is not right.",
    };
    text.to_owned()
}

/// Why a registration does not go on, for who gave the right password.
pub(super) fn not_registered(deny: Deny) -> &'static str {
    const ROWS: &[(Deny, &str)] = &[
        (
            Deny::AlreadyRegistered,
            "An authenticator is registered for you already. Sign in with its code. If you do not have it any more, \
             ask your administrator to reset it.",
        ),
        (
            Deny::LinkNeeded,
            "You register an authenticator with a setup link. Ask your administrator to send you one.",
        ),
        (
            Deny::LinkEnded,
            "Your setup link has expired or was taken back meanwhile. Ask your administrator for a new one.",
        ),
        (
            Deny::ClockSuspect,
            "Codes cannot be checked at the moment. Nothing is lost: try again in a minute.",
        ),
        (Deny::OtpNotChosen, "Your account uses a password alone; there is nothing to register."),
        (Deny::DeskClaimed, "There is a desk operator already. Sign in, or ask them for an account."),
    ];
    ROWS.iter().find(|(row, _)| *row == deny).map_or(
        "You may not register an authenticator now. Your administrator can tell you more.",
        |(_, text)| text,
    )
}

/// Browser and system in a few words, as far as the browser's name for itself tells.
pub(super) fn agent(agent: &str) -> String {
    let first = |names: &[(&str, &'static str)]| {
        names.iter().find(|(sign, _)| agent.contains(sign)).map(|(_, name)| *name)
    };
    // The order matters: most browsers name others, too.
    let browser = first(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) => "Another browser".to_owned(),
    }
}
