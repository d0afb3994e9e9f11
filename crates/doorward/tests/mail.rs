//! Mails of a node of its own to a real mail server: at once, once, through failures and kills.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "support/node.rs"]
mod node;
#[path = "support/smtp.rs"]
mod smtp;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use doorward::book::{Batch, Store as _, sqlite};
use doorward::clock::Clock;
use doorward::journal::RealDisk;
use doorward::vault::{ChallengeSettings, Protection, SoftVault};
use doorward_core::audit::{Actor, AttemptId, Context, Door, Entry, Event, Record};
use doorward_core::identity::change::Change;
use doorward_core::identity::mail::{Mail, MailId, MailKind, MailState};
use node::{Serving, doorward_at, told, write_config};
use smtp::{SmtpServer, left_out};

fn config(folder: &Path, port: u16, more: &str) {
    let security = if more.contains("security") { "" } else { "security = \"none\"\n" };
    let mail = format!(
        "[mail]\nserver = \"localhost\"\nport = {port}\nfrom = \"Doorward <no-reply@venue.example>\"\n{security}{more}"
    );
    write_config(folder, &mail);
    // Mails are queued before the node first starts, which has data then and begins with no new keys.
    let key_file = folder.join("data.keys/vault.key");
    SoftVault::open_or_create(&key_file, &Protection::UnlockFile, ChallengeSettings::default()).unwrap();
}

/// The data of a node that does not run.
fn store(folder: &Path) -> sqlite::SqliteStore {
    let data = folder.join("data");
    let disk = Arc::new(RealDisk::open(&data.join("journal")).unwrap());
    sqlite::open(&data, disk, "node1".to_owned(), &sqlite::Settings::default()).unwrap()
}

/// Queues mails to `n@example.com` while the node does not run.
fn queue(folder: &Path, numbers: impl IntoIterator<Item = u64>) {
    let store = store(folder);
    let at = Clock::system().now().wall;
    for n in numbers {
        let mail = Mail {
            id: MailId::from_random(n << 1),
            to: format!("{n}@example.com"),
            kind: MailKind::PasswordChanged,
            queued_at: at,
            firm: None,
            about: None,
            userid: None,
            values: [].into(),
            secret: None,
        };
        let context = Context { at, door: Door::Node, source: None, attempt: AttemptId(n) };
        let record = Record {
            entry: Entry::new(&context, Event::MailQueued, Actor::Node),
            changes: vec![Change::MailQueued { mail: Box::new(mail) }],
        };
        let answer = store.submit(Batch { expects: Vec::new(), records: vec![record] });
        answer.blocking_recv().unwrap().unwrap();
    }
}

/// What became of a mail, once the node has ended.
fn state(folder: &Path, n: u64) -> MailState {
    store(folder).mail(MailId::from_random(n << 1)).unwrap().unwrap().state
}

fn is_sent(folder: &Path, n: u64) -> bool {
    matches!(state(folder, n), MailState::Sent { .. })
}

/// Waits for an audit event in the node's log.
fn wait_for(serving: &Serving, event: &str) {
    serving.process.read_until(event, |line| line.contains(event).then_some(()));
}

fn stop(mut serving: Serving) {
    assert!(serving.process.stop().0.success(), "{}", serving.process.log().join("\n"));
}

#[test]
fn each_mail_leaves_at_once_and_once_whatever_is_restarted_or_rebuilt() {
    if left_out() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = SmtpServer::start(&[]);
    config(dir.path(), server.port, "");
    queue(dir.path(), 1..=9);
    let serving = Serving::start(dir.path());
    let mails: Vec<_> = (0..9).map(|_| server.mail()).collect();
    let to: BTreeSet<String> = mails.iter().flat_map(|mail| mail.to.clone()).collect();
    assert_eq!(to.len(), 9, "{to:?}");
    assert!(mails.iter().all(|mail| mail.from == "no-reply@venue.example" && mail.to.len() == 1));
    let ids: BTreeSet<String> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    assert!(ids.len() == 9 && ids.iter().all(|id| id.ends_with("@venue.example>")), "{ids:?}");
    stop(serving);
    for n in 1..=9 {
        assert!(is_sent(dir.path(), n));
    }
    let rebuilt = doorward_at(dir.path(), &["book", "rebuild", "--config", "doorward.toml"]);
    assert!(rebuilt.status.success(), "{}", told(&rebuilt));
    // Whatever would leave twice leaves before this one.
    queue(dir.path(), [10]);
    let serving = Serving::start(dir.path());
    assert_eq!(server.mail().to, ["10@example.com"]);
    stop(serving);
}

#[test]
fn a_mail_waits_for_a_mail_server_that_is_down() {
    if left_out() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let port = SmtpServer::start(&[]).end();
    config(dir.path(), port, "");
    queue(dir.path(), 1..=3);
    let serving = Serving::start(dir.path());
    wait_for(&serving, "mail-delayed");
    let server = SmtpServer::start(&["--port", &port.to_string()]);
    let to: BTreeSet<_> = (0..3).map(|_| server.mail().to).collect();
    assert_eq!(to.len(), 3, "{to:?}");
    stop(serving);
    assert!((1..=3).all(|n| is_sent(dir.path(), n)));
}

#[test]
fn an_address_refused_for_good_is_given_up_and_a_busy_one_is_tried_again() {
    if left_out() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut server = SmtpServer::start(&[]);
    server.command("refuse 1@example.com");
    server.command("busy 2@example.com");
    config(dir.path(), server.port, "");
    queue(dir.path(), 1..=3);
    let serving = Serving::start(dir.path());
    assert_eq!(server.mail().to, ["3@example.com"], "the others hold nobody up");
    wait_for(&serving, "mail-delayed");
    server.command("release");
    assert_eq!(server.mail().to, ["2@example.com"]);
    stop(serving);
    let MailState::GivenUp { error, .. } = state(dir.path(), 1) else { panic!("{:?}", state(dir.path(), 1)) };
    assert!(error.contains("nobody of this name lives here"), "{error}");
    assert!(is_sent(dir.path(), 2) && is_sent(dir.path(), 3));
}

#[test]
fn over_starttls_with_a_user_or_not_at_all() {
    if left_out() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(at("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(at("secret"), "correct horse").unwrap();
    rustix::fs::chmod(at("secret"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let user = "user = \"doorward\"\npassword_file = \"secret\"\nsecurity = \"starttls\"\n";

    // Nothing is said to a server without TLS, nor to one whose certificate nobody vouches for.
    let plain = SmtpServer::start(&[]);
    let tls = ["--tls", at("cert.pem").to_str().unwrap(), at("key.pem").to_str().unwrap()].map(str::to_owned);
    let mut arguments: Vec<&str> = tls.iter().map(String::as_str).collect();
    arguments.extend(["--user", "doorward", "correct horse"]);
    let server = SmtpServer::start(&arguments);
    queue(dir.path(), [1]);
    for port in [plain.port, server.port] {
        config(dir.path(), port, user);
        let serving = Serving::start(dir.path());
        wait_for(&serving, "mail-delayed");
        stop(serving);
        let MailState::Waiting { error, .. } = state(dir.path(), 1) else { panic!("it does not wait") };
        let error = error.unwrap();
        assert!(error.contains("STARTTLS") || error.contains("certificate"), "{error}");
    }
    config(dir.path(), server.port, &format!("{user}tls_ca = \"cert.pem\"\n"));
    let serving = Serving::start(dir.path());
    let mail = server.mail();
    assert!(mail.tls && mail.user.as_deref() == Some("doorward"), "{mail:?}");
    stop(serving);
    assert!(is_sent(dir.path(), 1));
}

#[test]
fn a_kill_between_commit_and_sending_loses_no_mail() {
    if left_out() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut server = SmtpServer::start(&[]);
    server.command("deaf");
    config(dir.path(), server.port, "");
    queue(dir.path(), [1]);
    let serving = Serving::start(dir.path());
    serving.process.kill();
    server.command("release");
    let serving = Serving::start(dir.path());
    assert_eq!(server.mail().to, ["1@example.com"]);
    stop(serving);
    assert!(is_sent(dir.path(), 1));
}

#[test]
fn a_kill_between_sending_and_writing_it_down_sends_the_same_mail_again() {
    if left_out() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut server = SmtpServer::start(&[]);
    server.command("hold");
    config(dir.path(), server.port, "");
    queue(dir.path(), [1]);
    let serving = Serving::start(dir.path());
    let first = server.mail();
    serving.process.kill();
    server.command("release");
    let serving = Serving::start(dir.path());
    let again = server.mail();
    assert_eq!(first.header("Message-ID"), again.header("Message-ID"));
    assert_eq!(first.header("Date"), again.header("Date"));
    stop(serving);
    assert!(is_sent(dir.path(), 1));
}

#[test]
fn a_slow_mail_server_holds_up_nothing_but_its_mails() {
    if left_out() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut server = SmtpServer::start(&[]);
    server.command("hold");
    config(dir.path(), server.port, "");
    queue(dir.path(), 1..=6);
    let serving = Serving::start(dir.path());
    // Several are on their way at once, though none is answered, and the node serves on.
    let held: BTreeSet<_> = (0..3).map(|_| server.mail().to).collect();
    assert_eq!(held.len(), 3);
    let (status, page) = node::page(&serving.metrics, "/metrics");
    assert!(status == 200 && page.contains("doorward_events_total"), "{page}");
    server.command("release");
    let rest: BTreeSet<_> = (0..3).map(|_| server.mail().to).collect();
    assert!(rest.len() == 3 && rest.is_disjoint(&held), "{rest:?} {held:?}");
    stop(serving);
    assert!((1..=6).all(|n| is_sent(dir.path(), n)));
}

/// Killed again and again while mails leave: each arrives, what arrives twice is the same mail, and nothing is sent
/// anew by a book that was built again.
#[test]
fn kills_at_any_moment_lose_no_mail_and_doubles_have_one_message_id() {
    const MAILS: u64 = 60;
    if left_out() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = SmtpServer::start(&[]);
    config(dir.path(), server.port, "");
    queue(dir.path(), 1..=MAILS);
    let (mut got, mut kills, doubles) = (BTreeMap::new(), 0, std::cell::Cell::new(0));
    let mut take = |mail: smtp::Received| {
        let id = (mail.header("Message-ID"), mail.header("Date"));
        match got.insert(mail.to.clone(), id.clone()) {
            Some(before) => {
                assert_eq!(before, id, "{:?}", mail.to);
                doubles.set(doubles.get() + 1);
            }
            None => assert_eq!(mail.to.len(), 1),
        }
        got.len() as u64
    };
    let mut chance = node::Chance::new(7);
    let mut there = 0;
    while there < MAILS {
        let serving = Serving::start(dir.path());
        // So many more, then the end without a warning; the last node is left to finish.
        let until = there + chance.between(1, 12);
        while there < until.min(MAILS) {
            there = take(server.mail());
        }
        if there < MAILS {
            serving.process.kill();
            kills += 1;
        } else {
            stop(serving);
        }
        // What was under way as the node ended.
        while let Some(mail) = server.mail_at_hand() {
            there = take(mail);
        }
    }
    println!("{kills} kills, {} doubles of {MAILS} mails", doubles.get());
    assert!(kills > 3);
    // Whatever the last kill left unwritten leaves now; then all of it is done.
    let serving = Serving::start(dir.path());
    node::soon("everything is written down", || {
        let (_, page) = node::page(&serving.metrics, "/metrics");
        page.lines().any(|line| line.starts_with("doorward_mails_waiting") && line.ends_with(" 0"))
    });
    stop(serving);
    while let Some(mail) = server.mail_at_hand() {
        take(mail);
    }
    assert!((1..=MAILS).all(|n| is_sent(dir.path(), n)));
    let rebuilt = doorward_at(dir.path(), &["book", "rebuild", "--config", "doorward.toml"]);
    assert!(rebuilt.status.success(), "{}", told(&rebuilt));
    queue(dir.path(), [MAILS + 1]);
    let serving = Serving::start(dir.path());
    assert_eq!(server.mail().to, [format!("{}@example.com", MAILS + 1)], "nothing leaves twice");
    stop(serving);
}
