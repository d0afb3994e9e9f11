//! Letters, messages, the schedule, and the outbox over a gate with a folder as its post.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::audit::Event;
use doorward_core::id::{FirmCode, UserId};
use doorward_core::identity::link::{Handed, LinkState, SetupLink};
use doorward_core::identity::mail::{Mail, MailId, MailKind, MailState};
use doorward_core::identity::notice::Notice;
use doorward_core::identity::policy::AuthSystem;
use doorward_core::time::Wall;
use tokio::sync::watch;

use super::letter::{Letter, Letterhead, Part, value};
use super::message::{address, message};
use super::outbox::{Office, Outbox, after};
use super::{Failure, Folder, Post};
use crate::gate::link_hash;
use crate::gate::testing::{World, world};

const LINK: &str = "https://portal.example.com/setup#dG9rZW4tb2YtdGhlLWxpbms";

fn head() -> Letterhead {
    Letterhead { sender: "Doorward".to_owned(), portal: Some("https://portal.example.com".to_owned()) }
}

fn mail(kind: MailKind, values: &[(&str, &str)]) -> Mail {
    Mail {
        id: MailId::from_random(0x2468),
        to: "Ana <ana@example.com>".to_owned(),
        kind,
        queued_at: Wall::parse("2026-11-22T03:30:00Z").unwrap(),
        firm: FirmCode::parse("ACME").ok(),
        about: None,
        userid: UserId::parse("ana.müller").ok(),
        values: values.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect(),
        secret: None,
    }
}

/// Every kind, with all that its letter can show.
fn every_letter() -> Vec<(Mail, Letter)> {
    let expires = Wall::parse("2026-11-25T03:30:00Z").unwrap().as_us().to_string();
    let values = [
        (value::EXPIRES, expires.as_str()),
        (value::BY, "desk"),
        (value::REASON, "lost <b>phone</b> & \"tablet\""),
        (value::FIRM, "Acme & Sons"),
        (value::NOTICE, Notice::Locked.id()),
        (value::DONE, "used"),
        (value::LEFT, "7"),
        (value::OLD, "old@example.com"),
        (value::NEW, "new@example.com"),
        (value::SOURCE, "192.0.2.7"),
        (value::DETAIL, "S01"),
    ];
    let one = |kind: &MailKind| {
        let mail = mail(*kind, &values);
        let letter = Letter::of(&mail, &head(), (*kind == MailKind::SetupLink).then_some(LINK));
        (mail, letter)
    };
    let mut all: Vec<_> = MailKind::ALL.iter().map(one).collect();
    for notice in Notice::ALL {
        let mail = mail(MailKind::Notice, &[(value::NOTICE, notice.id())]);
        let letter = Letter::of(&mail, &head(), None);
        all.push((mail, letter));
    }
    all
}

#[test]
fn the_mail_of_a_setup_link_says_all_that_is_needed_and_no_password() {
    let all = every_letter();
    let (_, letter) = all.iter().find(|(mail, _)| mail.kind == MailKind::SetupLink).unwrap();
    for text in [letter.plain().unwrap(), letter.html().unwrap()] {
        for word in [
            "ana.müller",
            LINK,
            "25 November 2026, 03:30 UTC",
            "authenticator app",
            "Google Authenticator",
            "Microsoft Authenticator",
            "FreeOTP",
            "is done once",
            "It is not in this mail",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
    assert!(
        letter.plain().unwrap().contains("Acme & Sons") && letter.html().unwrap().contains("Acme &#38; Sons")
    );
}

#[test]
fn no_letter_runs_or_fetches_anything_and_values_stay_text() {
    for (mail, letter) in every_letter() {
        let (plain, html) = (letter.plain().unwrap(), letter.html().unwrap());
        let kind = mail.kind;
        let lower = html.to_lowercase();
        for word in
            ["<script", "javascript:", "<img", "<link", "<iframe", "@import", "url(", "onclick", "<b>phone"]
        {
            assert!(!lower.contains(word), "{kind}: {word} in {html}");
        }
        let elsewhere = lower
            .match_indices("http")
            .find(|(at, _)| !lower[*at..].starts_with("https://portal.example.com"));
        assert!(elsewhere.is_none(), "{kind}: {html}");
        assert!(!plain.contains("&#") && !plain.contains("\n\n\n"), "{kind}: {plain}");
        assert!(letter.subject.starts_with("Doorward: ") && !letter.subject.contains('\n'), "{kind}");
        assert!(letter.parts.iter().all(|part| *part != Part::Text(String::new())), "{kind}");
        assert!(!plain.contains("news"), "{kind} has words of its own: {plain}");
    }
}

#[test]
fn what_values_hold_cannot_break_a_header_or_a_line() {
    let mut evil =
        mail(MailKind::Disabled, &[(value::REASON, "x\r\nBcc: eve@example.com\r\n\r\n\u{202e}bye")]);
    let from = address("Börse Süd <no-reply@example.com>").unwrap();
    let letter = Letter::of(&evil, &head(), None);
    assert!(
        letter.plain().unwrap().contains("Reason: x Bcc: eve@example.com"),
        "{}",
        letter.plain().unwrap()
    );
    let posted = message(&evil, &letter, &from, None).unwrap();
    let text = String::from_utf8(posted.bytes).unwrap();
    assert!(text.is_ascii(), "RFC 2047 and quoted-printable leave ASCII");
    let headers = text.split("\r\n\r\n").next().unwrap();
    assert!(headers.contains("From: =?utf-8?") && !headers.to_lowercase().contains("bcc"), "{headers}");
    for to in [
        "ana@example.com\r\nBcc: eve@example.com",
        "ana",
        "",
        "a@b\0.example",
        "ana@example.com, eve@example.com",
    ] {
        to.clone_into(&mut evil.to);
        assert!(message(&evil, &letter, &from, None).is_err(), "{to:?}");
    }
}

#[test]
fn a_mail_tried_again_has_the_same_id_and_date_and_says_that_a_program_wrote_it() {
    let mail = mail(MailKind::Unlocked, &[]);
    let letter = Letter::of(&mail, &head(), None);
    let from = address("no-reply@venue.example").unwrap();
    let reply = address("help@venue.example").unwrap();
    for _ in 0..2 {
        let posted = message(&mail, &letter, &from, Some(&reply)).unwrap();
        let text = String::from_utf8(posted.bytes).unwrap();
        for header in [
            "Message-ID: <m0000000000001234@venue.example>\r\n",
            "Date: Sun, 22 Nov 2026 03:30:00 +0000\r\n",
            "To: Ana <ana@example.com>\r\n",
            "Reply-To: help@venue.example\r\n",
            "Auto-Submitted: auto-generated\r\n",
        ] {
            assert!(text.contains(header), "{header}{text}");
        }
        assert!(
            text.contains("multipart/alternative")
                && text.contains("text/plain")
                && text.contains("text/html")
        );
    }
}

#[test]
fn pauses_double_to_a_quarter_of_an_hour_and_end_after_three_days() {
    let queued = Wall::from_s(1_000_000);
    let later = Failure::Later { code: Some(451), text: "later".to_owned() };
    let (mut now, mut tries, mut pauses) = (queued, 0, Vec::new());
    let error = loop {
        match after(tries, queued, now, &later) {
            MailState::Waiting { tries: next, next_us, error } => {
                assert_eq!((next, error.as_deref()), (tries + 1, Some("later")));
                pauses.push(next_us.since(now).as_secs());
                (tries, now) = (next, next_us);
            }
            MailState::GivenUp { error, .. } => break error,
            MailState::Sent { .. } => panic!("not sent"),
        }
    };
    assert_eq!(pauses[..10], [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
    assert!(pauses[8..].iter().all(|pause| *pause == 900));
    let waited = now.since(queued);
    assert!(
        waited <= Duration::from_secs(259_200) && waited > Duration::from_secs(259_200 - 900),
        "{waited:?}"
    );
    assert_eq!(error, "it waited for 3 days: later");
    let never = Failure::Never { code: Some(550), text: "nobody".to_owned() };
    assert_eq!(after(0, queued, now, &never), MailState::GivenUp { at_us: now, error: "nobody".to_owned() });
}

fn outbox(world: &World, folder: &Path) -> Outbox {
    let post = Post::Folder(Folder::open(folder).unwrap());
    let office =
        Office { head: head(), from: address("no-reply@example.com").unwrap(), reply_to: None, post };
    Outbox::new(Arc::clone(&world.gate), office)
}

fn going() -> watch::Receiver<bool> {
    watch::channel(false).1
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    names.sort();
    names.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

#[tokio::test]
async fn a_queued_mail_leaves_once_and_that_is_written_down() {
    let world = world();
    let base = tempfile::tempdir().unwrap();
    let outbox = outbox(&world, base.path());
    world.queue(Mail { queued_at: world.now(), ..mail(MailKind::Unlocked, &[]) }).await;
    for _ in 0..3 {
        outbox.round(&going()).await;
    }
    let there = files(base.path());
    assert!(there.len() == 1 && there[0].contains("It is open again"), "{there:?}");
    let sent =
        world.entries(9).into_iter().filter(|entry| entry.event == Event::MailSent).collect::<Vec<_>>();
    assert_eq!(sent.len(), 1);
    let detail = sent[0].detail.clone().unwrap();
    assert!(detail.starts_with("unlocked m0000000000001234, try 1") && sent[0].firm.is_some(), "{detail}");
    let state = world.gate.mail(MailId::from_random(0x2468)).unwrap().unwrap().state;
    assert!(matches!(state, MailState::Sent { .. }), "{state:?}");
}

#[tokio::test]
async fn a_mail_does_not_leave_twice_because_the_disk_is_full() {
    let world = world();
    let base = tempfile::tempdir().unwrap();
    let outbox = outbox(&world, base.path());
    world.queue(Mail { queued_at: world.now(), ..mail(MailKind::Unlocked, &[]) }).await;
    world.disk_full(true);
    outbox.round(&going()).await;
    for file in std::fs::read_dir(base.path()).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    outbox.round(&going()).await;
    world.disk_full(false);
    for _ in 0..2 {
        outbox.round(&going()).await;
    }
    assert_eq!(files(base.path()), [""; 0], "it was sent before");
    assert_eq!(world.gate.mails_waiting().unwrap(), 0);
}

#[tokio::test]
async fn k1_a_setup_link_is_in_the_mail_alone_and_a_dead_one_is_not_sent() {
    let world = world();
    let base = tempfile::tempdir().unwrap();
    let outbox = outbox(&world, base.path());
    let ana = world.person("ana", AuthSystem::Otp, true).await;
    let token = "dG9rZW4tb2YtdGhlLWxpbmstb2YtYW5h";
    let link = SetupLink {
        hash: link_hash(token),
        made_at: world.now(),
        expires_at: world.now() + Duration::from_secs(3_600),
        handed: Handed::Mailed,
        by: None,
        wrong: 0,
        state: LinkState::Live,
    };
    let with_link = |n: u64, token: &str| {
        let id = MailId::from_random(n);
        let sealed = world.gate.seal_mail_token(id, ana.firm.as_ref(), token).unwrap();
        let (about, secret) = (Some(ana.id), Some(sealed));
        Mail { id, about, secret, queued_at: world.now(), ..mail(MailKind::SetupLink, &[]) }
    };
    world.set_link(&ana, link).await;
    world.queue(with_link(0x100, token)).await;
    world.queue(with_link(0x200, "the-token-of-an-earlier-link")).await;
    outbox.round(&going()).await;
    let there = files(base.path());
    assert_eq!(there.len(), 1);
    // Quoted-printable breaks lines.
    assert!(there[0].replace("=\r\n", "").contains(&format!("https://portal.example.com/setup#{token}")));
    let dead = world.gate.mail(MailId::from_random(0x200)).unwrap().unwrap();
    let MailState::GivenUp { error, .. } = dead.state else { panic!("{dead:?}") };
    assert!(error.contains("replaced"), "{error}");
    for (_, entry) in world.gate.audit(&crate::book::AuditFilter::default(), None, 99).unwrap() {
        assert!(!serde_json::to_string(&entry).unwrap().contains(token), "{entry:?}");
    }
}

#[tokio::test]
async fn the_outbox_is_woken_by_the_commit_of_a_mail() {
    let world = world();
    world.queue(Mail { queued_at: world.now(), ..mail(MailKind::Unlocked, &[]) }).await;
    tokio::time::timeout(crate::gate::testing::TEST_MAX, world.gate.mail_queued()).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_leaves_mails_waiting() {
    let world = world();
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("mails");
    let outbox = outbox(&world, &folder);
    std::fs::remove_dir(&folder).unwrap();
    std::fs::write(&folder, "a file is in the way").unwrap();
    for n in 1..=3 {
        let id = MailId::from_random(n << 1);
        world.queue(Mail { id, queued_at: world.now(), ..mail(MailKind::Unlocked, &[]) }).await;
    }
    outbox.round(&going()).await;
    assert_eq!(world.gate.mails_waiting().unwrap(), 3);
    let delayed = world.entries(9).iter().filter(|entry| entry.event == Event::MailDelayed).count();
    assert_eq!(delayed, 1, "one mail asks for all while the post is away");
}
