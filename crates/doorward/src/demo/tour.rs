//! What the demo prints: where everything is, who is who, and what to try.

use std::fmt::Write as _;
use std::path::Path;

use doorward_core::identity::totp::Parameters;

use super::fix_sessions::FixSample;
use super::people::Sample;
use crate::serve::Node;

/// The tour.
pub(super) fn text(node: &Node, mailbox: &Path, samples: &[Sample], sessions: &[FixSample]) -> String {
    let url = node.ws.first().map(|at| format!("ws://{at}/")).unwrap_or_default();
    let socket = node.admin_socket.display();
    let mut out = String::from("Doorward demo: everything on loopback, no HSM, sample people.\n\n");
    let _ = writeln!(out, "  WebSocket door   {url}");
    for bound in &node.fix {
        let name = format!("FIX {}", bound.name);
        let _ = writeln!(out, "  {name:<16} {}", bound.address);
    }
    if let Some(url) = &node.public_url {
        let _ = writeln!(out, "  pages            {url}");
        let _ = writeln!(out, "  mailbox          {}", mailbox.display());
    }
    let _ = writeln!(out, "  administration   {socket}");
    let _ = writeln!(out, "  metrics          http://{}/metrics\n", node.metrics);
    let _ = writeln!(out, "  {:<26} {:<8} {:<24} one-time password", "user id", "kind", "password");
    for sample in samples {
        let otp = match (&sample.otp_seed, sample.auth_system.as_str(), sample.disabled) {
            (_, _, true) => "- (disabled)".to_owned(),
            (Some(seed), _, _) => seed.clone(),
            (None, _, _) if sample.is_joiner() => {
                "not registered yet; the setup link is in the mailbox".to_owned()
            }
            (None, "otp", _) => "not registered yet".to_owned(),
            (None, _, _) => "-".to_owned(),
        };
        let _ = writeln!(out, "  {:<26} {:<8} {:<24} {otp}", sample.userid, sample.kind, sample.password);
    }
    let trader = samples.iter().find(|sample| sample.kind == "trader" && sample.otp_seed.is_some());
    if let Some((trader, seed)) = trader.and_then(|sample| Some((sample, sample.otp_seed.as_ref()?))) {
        let _ = writeln!(out, "\nThe authenticator of {}, for an app on your phone:\n", trader.userid);
        let uri = Parameters::default().uri("Doorward demo", &trader.userid, seed);
        let _ = writeln!(out, "{}", crate::qr::drawn(&uri));
        let _ = writeln!(out, "Try:\n");
        let _ = writeln!(out, "  1. log in as the trader (password and seed from the table above)");
        let _ = writeln!(out, "     DOORWARD_PASSWORD='{}' DOORWARD_SEED={seed} \\", trader.password);
        let _ = writeln!(
            out,
            "       doorward ws login --url {url} --user {} --password-env DOORWARD_PASSWORD --seed-env DOORWARD_SEED",
            trader.userid
        );
        let _ = writeln!(out, "  2. see what was written down of it");
        let _ = writeln!(out, "     doorward audit list --socket {socket}");
        let _ = writeln!(out, "  3. put the trader out, and watch an open login end");
        let _ = writeln!(out, "     doorward user disable {} --socket {socket}", trader.userid);
    }
    fix(&mut out, node, samples, sessions);
    pages(&mut out, node, mailbox, samples);
    back_end(&mut out, &url, samples);
    out.push_str("\nStop with Ctrl-C.\n");
    out
}

/// What to try with a browser.
fn pages(out: &mut String, node: &Node, mailbox: &Path, samples: &[Sample]) {
    let Some(url) = &node.public_url else { return };
    let first = |kind: &str| {
        let mut all = samples.iter().filter(|sample| sample.kind == kind && sample.otp_seed.is_some());
        all.next().map(|sample| sample.userid.as_str()).unwrap_or_default()
    };
    // Writing to a string never fails.
    let _ = writeln!(out, "  7. sign in with a browser: {url}");
    for (kind, what) in [("desk", "desk operator"), ("admin", "administrator"), ("trader", "trader")] {
        let _ = writeln!(out, "     as {what:<14} {}", first(kind));
    }
    let _ = writeln!(out, "     with the password from the table, and a code of the seed beside it:");
    let _ = writeln!(out, "       oathtool --totp --base32 SEED      (or an authenticator app)");
    if let Some(joiner) = samples.iter().find(|sample| sample.is_joiner()) {
        let _ = writeln!(
            out,
            "  8. register as {}: open the setup link of the mail to them, below",
            joiner.userid
        );
        let _ = writeln!(out, "     {}", mailbox.display());
    }
}

/// What to try as a web site's back end.
fn back_end(out: &mut String, url: &str, samples: &[Sample]) {
    let first = |kind: &str| samples.iter().find(|sample| sample.kind == kind && !sample.disabled);
    let customer = samples.iter().find(|sample| sample.kind == "trader" && sample.otp_seed.is_some());
    let (Some(service), Some(customer)) = (first("service"), customer) else { return };
    let seed = customer.otp_seed.as_deref().unwrap_or_default();
    // Writing to a string never fails.
    let _ = writeln!(out, "  9. have a customer's login verified and get a token, as a web back end does");
    let _ = writeln!(
        out,
        "     DOORWARD_PASSWORD='{}' CUSTOMER='{}' SEED={seed} \\",
        service.password, customer.password
    );
    let _ = writeln!(
        out,
        "       doorward ws verify {} --token --url {url} --user {} --password-env DOORWARD_PASSWORD \\",
        customer.userid, service.userid
    );
    let _ = writeln!(out, "       --customer-password-env CUSTOMER --customer-seed-env SEED");
}

/// What to try at the FIX door.
fn fix(out: &mut String, node: &Node, samples: &[Sample], sessions: &[FixSample]) {
    let at = |name: &str| node.fix.iter().find(|bound| bound.name == name).map(|bound| bound.address);
    let socket = node.admin_socket.display();
    // Writing to a string never fails.
    if let (Some(session), Some(cgw)) = (sessions.first(), at(super::CGW)) {
        let comp = session.sender_comp_ids.first().map(String::as_str).unwrap_or_default();
        let operator = session.operator_ids.first().map(String::as_str).unwrap_or_default();
        let _ = writeln!(out, "  4. log on over FIX with a signed Logon, and send an order");
        let _ = writeln!(
            out,
            "     DOORWARD_SECRET_KEY='{}' doorward fix order --address {cgw} --sender {comp} \\",
            session.secret_key
        );
        let _ = writeln!(
            out,
            "       --operator {operator} --access-key-id {} --secret-key-env DOORWARD_SECRET_KEY",
            session.access_key_id
        );
        let _ =
            writeln!(out, "  5. have the venue send messages while nobody is logged on, then log on again");
        let stream = format!("cgw/{}/{}", session.session_id, session.firm_id);
        let _ = writeln!(out, "     doorward venue send --stream {stream} --count 10 --socket {socket}");
    }
    let trader = samples.iter().find(|sample| sample.kind == "trader" && sample.otp_seed.is_some());
    if let (Some(trader), Some(address)) = (trader, at(super::TRADER)) {
        let _ = writeln!(out, "  6. log on over FIX as the trader; the one-time password is asked for");
        let _ = writeln!(
            out,
            "     DOORWARD_PASSWORD='{}' doorward fix logon --profile trader-otp --address {address} --user {} \\",
            trader.password, trader.userid
        );
        let _ = writeln!(out, "       --password-env DOORWARD_PASSWORD");
    }
}
