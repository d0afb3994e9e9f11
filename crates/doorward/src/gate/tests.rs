//! The gate over real parts: store, vault and hash pool.

use std::time::Duration;

use doorward_core::ask::{Ask, Encrypted, Padding, Verdict};
use doorward_core::audit::{Actor, Deny, Event, Outcome};
use doorward_core::id::UserId;
use doorward_core::identity::decide::person::Edit;
use doorward_core::identity::person::Standing;
use doorward_core::identity::policy::AuthSystem;
use doorward_core::trace::{Check, Step};

use super::testing::{GOOD, origin, secret, world, world_with};
use super::{Settings, verdict_of};
use crate::fault::Fault;
use crate::hashing::HashParams;

fn userid(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

#[tokio::test]
async fn a_login_leaves_one_record_with_all_that_q4_asks_for() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    assert!(matches!(world.login("Julian", GOOD, None).await, Verdict::Granted(_)));
    let entry = &world.entries(1)[0];
    assert_eq!((entry.event, entry.outcome), (Event::LoginGranted, Outcome::Allowed));
    assert_eq!(entry.firm.as_ref().unwrap().as_str(), "ACME");
    assert_eq!(entry.source.unwrap().to_string(), "127.0.0.1");
    assert_eq!((entry.door.id(), entry.factor.id(), entry.node.as_str()), ("websocket", "password", "node1"));
    assert!(entry.trace.as_ref().unwrap().failed.is_none());
}

#[tokio::test]
async fn s1_all_that_must_not_be_told_apart_is_one_verdict_and_one_hash() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    world.person("jane", AuthSystem::Password, false).await;
    let edit = Edit { standing: Some(Standing::Disabled), ..Edit::default() };
    world.gate.edit_person(&userid("jane"), edit, &Actor::Node).await.unwrap();
    let replayed = world.encrypted(GOOD, Padding::OaepSha256);
    let mut broken = world.encrypted(GOOD, Padding::Pkcs1);
    broken.ciphertext[7] ^= 1;
    let login = |userid: &str, password: Encrypted| Ask::Login {
        userid: userid.to_owned(),
        password: password.into(),
        code: None,
    };
    assert!(matches!(world.ask(1, login("julian", replayed.clone())).await, Verdict::Granted(_)));
    let good = || world.encrypted(GOOD, Padding::OaepSha256);
    let cases = [
        (login("julian", world.encrypted("not the password", Padding::OaepSha256)), Deny::WrongPassword),
        (login("julian", replayed), Deny::ReplayedCiphertext),
        (login("julian", broken), Deny::BadCiphertext),
        (login("nobody", good()), Deny::UnknownUser),
        (login("no body", good()), Deny::UnknownUser),
        (login("jane", good()), Deny::Disabled),
    ];
    for (ask, reason) in cases {
        let before = world.gate.hashes.compared();
        assert_eq!(world.ask(1, ask).await, Verdict::Refused, "{reason}");
        assert_eq!(world.gate.hashes.compared() - before, 1, "{reason}: one hash, no more and no less");
        assert_eq!(world.entries(1)[0].reason, Some(reason));
    }
}

#[tokio::test]
async fn s2_two_hundred_parallel_guesses_hash_at_most_five_times() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    let before = world.gate.hashes.compared();
    let guesses = (0..200).map(|n| {
        let (gate, guess) =
            (world.gate.clone(), world.encrypted(&format!("guess number {n}"), Padding::OaepSha256));
        let ask = Ask::Login { userid: "julian".to_owned(), password: guess.into(), code: None };
        tokio::spawn(async move { gate.ask(ask, &origin(1)).await })
    });
    for guess in guesses.collect::<Vec<_>>() {
        assert_eq!(guess.await.unwrap(), Verdict::Refused);
    }
    assert_eq!(world.gate.hashes.compared() - before, 5);
    assert_eq!(world.login("julian", GOOD, None).await, Verdict::Refused, "the source waits");
    let there = world.login_from(2, "julian", GOOD, None).await;
    assert!(matches!(there, Verdict::Granted(_)), "S3: a stranger locks nobody out");
}

#[tokio::test]
async fn t6_of_a_hundred_parallel_posts_of_one_code_exactly_one_is_good() {
    let world = world();
    world.person("julian", AuthSystem::Otp, false).await;
    let totp = world.seed("julian").await;
    let before = totp.code(world.now()).to_string();
    assert!(matches!(world.login("julian", GOOD, Some(&before)).await, Verdict::Granted(_)));
    world.next_step();
    let code = totp.code(world.now()).to_string();
    let posts = (0..100).map(|_| {
        let (gate, password) = (world.gate.clone(), world.encrypted(GOOD, Padding::OaepSha256));
        let ask =
            Ask::Login { userid: "julian".to_owned(), password: password.into(), code: Some(secret(&code)) };
        tokio::spawn(async move { gate.ask(ask, &origin(1)).await })
    });
    let mut granted = 0;
    for post in posts.collect::<Vec<_>>() {
        granted += usize::from(matches!(post.await.unwrap(), Verdict::Granted(_)));
    }
    assert_eq!(granted, 1);
}

#[tokio::test]
async fn t4_a_clock_that_steps_stops_code_checks_and_says_so() {
    let world = world();
    world.person("julian", AuthSystem::Otp, false).await;
    let totp = world.seed("julian").await;
    world.clock.advance(Duration::from_secs(3600));
    world.gate.tick().await;
    assert_eq!(world.entries(1)[0].event, Event::ClockSuspect);
    let code = totp.code(world.now()).to_string();
    let verdict = world.login("julian", GOOD, Some(&code)).await;
    assert!(matches!(verdict, Verdict::TryAgainLater { .. }), "{verdict:?}");
    assert!(world.gate.ready().unwrap_err().contains("clock"));
    let asked = world.login("julian", GOOD, None).await;
    assert!(matches!(asked, Verdict::CodeNeeded(_)), "a password alone is still looked at");
}

#[tokio::test]
async fn t4_an_agreed_move_of_the_demos_clock_stops_nothing() {
    let world = world();
    world.person("julian", AuthSystem::Otp, false).await;
    let totp = world.seed("julian").await;
    world.clock.advance(Duration::from_secs(3600));
    world.gate.clock_moved();
    world.gate.tick().await;
    let code = totp.code(world.now()).to_string();
    assert!(matches!(world.login("julian", GOOD, Some(&code)).await, Verdict::Granted(_)));
}

#[tokio::test]
async fn p9_raised_parameters_hash_anew_at_the_next_login_and_only_then() {
    let world = world();
    let before = world.person("julian", AuthSystem::Password, false).await;
    let world = world.reopened(HashParams::FLOOR);
    assert!(matches!(world.login("julian", "not the password", None).await, Verdict::Refused));
    assert_eq!(world.gate.person(&userid("julian")).unwrap().password, before.password);
    assert!(matches!(world.login("julian", GOOD, None).await, Verdict::Granted(_)));
    let after = world.gate.person(&userid("julian")).unwrap();
    assert!(after.password.phc().0.contains("m=19456,t=2,p=1"), "{}", after.password.phc().0);
    assert!(matches!(world.login("julian", GOOD, None).await, Verdict::Granted(_)));
    assert_eq!(world.gate.person(&userid("julian")).unwrap().version, after.version, "once");
}

#[tokio::test]
async fn p11_an_initial_password_must_be_changed_and_expires() {
    let world = world();
    world.person("julian", AuthSystem::Password, true).await;
    let Verdict::Granted(granted) = world.login("julian", GOOD, None).await else { panic!("not granted") };
    assert!(granted.must_change);
    world.clock.advance(Duration::from_secs(72 * 3600));
    world.gate.clock_moved();
    assert_eq!(world.login("julian", GOOD, None).await, Verdict::Refused);
    assert_eq!(world.entries(1)[0].reason, Some(Deny::PasswordExpired));
}

#[tokio::test]
async fn s5_a_change_of_the_password_goes_through_the_attempt_gate_too() {
    let world = world();
    let person = world.person("julian", AuthSystem::Password, false).await.id;
    let change = |present: &str, new: &str| Ask::PasswordChange {
        person,
        present: world.encrypted(present, Padding::OaepSha256).into(),
        new: world.encrypted(new, Padding::OaepSha256).into(),
    };
    for n in 0..5 {
        let verdict = world.ask(1, change(&format!("wrong one {n}"), "amber harbour 62 kites")).await;
        assert_eq!(verdict, Verdict::PasswordIssue { reason: "present-password" });
    }
    let before = world.gate.hashes.compared();
    let verdict = world.ask(1, change(GOOD, "amber harbour 62 kites")).await;
    assert_eq!(verdict, Verdict::PasswordIssue { reason: "present-password" }, "the source waits");
    assert_eq!(world.gate.hashes.compared(), before, "nothing is hashed");
    let verdict = world.ask(2, change(GOOD, "amber harbour 62 kites")).await;
    assert!(matches!(verdict, Verdict::PasswordChanged { .. }), "{verdict:?}");
    assert!(matches!(
        world.login_from(3, "julian", "amber harbour 62 kites", None).await,
        Verdict::Granted(_)
    ));
    assert_eq!(world.login_from(3, "julian", GOOD, None).await, Verdict::Refused);
}

#[tokio::test]
async fn p5_a_new_password_is_refused_with_its_rule() {
    let world = world();
    let person = world.person("julian", AuthSystem::Password, false).await.id;
    for (new, reason) in [
        ("too short", "too-short"),
        ("the julian passphrase", "contains-user-id"),
        ("the acme passphrase 1", "contains-firm"),
        ("passwordpassword", "common"),
        (GOOD, "same-as-present"),
        (&"éa".repeat(60), "too-long"),
    ] {
        let present = world.encrypted(GOOD, Padding::Pkcs1);
        let new = world.encrypted(new, Padding::OaepSha256);
        let verdict =
            world.ask(1, Ask::PasswordChange { person, present: present.into(), new: new.into() }).await;
        assert_eq!(verdict, Verdict::PasswordIssue { reason });
    }
}

#[tokio::test]
async fn p2_a_new_password_that_is_too_long_for_any_is_told_so() {
    let world = world();
    let person = world.person("julian", AuthSystem::Password, false).await.id;
    let challenge = world.gate.challenge().unwrap();
    let present = world.encrypted(GOOD, Padding::OaepSha256);
    // 191 bytes: more than our own client would encrypt, and what PKCS#1 v1.5 still carries.
    let key = aws_lc_rs::rsa::PublicEncryptingKey::from_der(
        &data_encoding::BASE64.decode(challenge.spki_base64.as_bytes()).unwrap(),
    );
    let key = aws_lc_rs::rsa::Pkcs1PublicEncryptingKey::new(key.unwrap()).unwrap();
    let mut ciphertext = vec![0; key.ciphertext_size()];
    key.encrypt(&[b'x'; 191], &mut ciphertext).unwrap();
    let new = doorward_core::ask::Encrypted { key: challenge.key, padding: Padding::Pkcs1, ciphertext };
    let verdict =
        world.ask(1, Ask::PasswordChange { person, present: present.into(), new: new.into() }).await;
    assert_eq!(verdict, Verdict::PasswordIssue { reason: "too-long" });
}

#[tokio::test]
async fn s8_a_weaker_authentication_system_ends_open_connections() {
    let world = world();
    world.person("julian", AuthSystem::Otp, false).await;
    world.seed("julian").await;
    let origin = origin(1);
    let password = world.encrypted(GOOD, Padding::OaepSha256);
    let ask = Ask::Login { userid: "julian".to_owned(), password: password.into(), code: None };
    assert!(matches!(world.gate.ask(ask, &origin).await, Verdict::CodeNeeded(_)));
    let edit = Edit { auth_system: Some(AuthSystem::Password), ..Edit::default() };
    world.gate.edit_person(&userid("julian"), edit, &Actor::Node).await.unwrap();
    origin.connection.ended().await;
}

#[tokio::test]
async fn s2_an_attempt_that_cannot_be_written_down_is_not_counted() {
    let world = world();
    let id = world.person("julian", AuthSystem::Password, false).await.id;
    world.disk_full(true);
    let verdict = world.login("julian", "not the password", None).await;
    assert!(matches!(verdict, Verdict::TryAgainLater { .. }), "{verdict:?}");
    assert_eq!(world.gate.access(id).wrong, 0);
    world.disk_full(false);
    assert_eq!(world.login("julian", "not the password", None).await, Verdict::Refused);
    assert_eq!(world.gate.access(id).wrong, 1);
}

#[tokio::test]
async fn s2_an_attempt_whose_second_try_fails_is_not_counted() {
    let world = world();
    let id = world.person("julian", AuthSystem::Password, false).await.id;
    let change = |present: &str| Ask::PasswordChange {
        person: id,
        present: world.encrypted(present, Padding::OaepSha256).into(),
        new: world.encrypted("amber harbour 62 kites", Padding::OaepSha256).into(),
    };
    assert_eq!(world.login("julian", "not the password", None).await, Verdict::Refused);
    let before = world.gate.access(id);
    assert_eq!(before.wrong, 1);
    // Somebody was faster, and then the book does not answer.
    for password in ["not the password", GOOD] {
        world.plant_rival();
        let verdict = world.login("julian", password, None).await;
        assert!(matches!(verdict, Verdict::TryAgainLater { .. }), "{verdict:?}");
        assert_eq!(world.gate.access(id), before);
        world.plant_rival();
        let verdict = world.ask(1, change(password)).await;
        assert!(matches!(verdict, Verdict::TryAgainLater { .. }), "{verdict:?}");
        assert_eq!(world.gate.access(id), before);
    }
    assert_eq!(world.login("julian", "not the password", None).await, Verdict::Refused);
    assert_eq!(world.gate.access(id).wrong, 2);
}

#[tokio::test]
async fn s8_a_login_that_was_decided_while_its_firm_was_closed_ends_as_it_begins() {
    let world = world();
    let firm = world.person("julian", AuthSystem::Password, false).await.firm.unwrap();
    world.gate.live.end_firm(&firm);
    let origin = origin(1);
    let password = world.encrypted(GOOD, Padding::OaepSha256);
    let ask = Ask::Login { userid: "julian".to_owned(), password: password.into(), code: None };
    assert!(matches!(world.gate.ask(ask, &origin).await, Verdict::Granted(_)));
    origin.connection.ended().await;
}

#[tokio::test]
async fn e5_where_pkcs1_is_off_it_is_not_offered_and_lets_nobody_in() {
    let world = world_with(Settings { pkcs1: false, ..Settings::default() });
    world.person("julian", AuthSystem::Password, false).await;
    assert_eq!(world.gate.challenge().unwrap().paddings, [Padding::OaepSha256]);
    let password = world.encrypted(GOOD, Padding::Pkcs1);
    let ask = Ask::Login { userid: "julian".to_owned(), password: password.into(), code: None };
    assert_eq!(world.ask(1, ask).await, Verdict::Refused);
    assert!(matches!(world.login("julian", GOOD, None).await, Verdict::Granted(_)));
}

#[tokio::test]
async fn e5_a_firm_can_switch_pkcs1_off_for_its_own_people() {
    let world = world();
    let person = world.person("julian", AuthSystem::Password, false).await;
    let policy = doorward_core::identity::policy::Policy { pkcs1_allowed: Some(false), ..Default::default() };
    world.gate.set_firm_policy(person.firm.as_ref().unwrap(), &policy, Actor::Node).await.unwrap();
    let password = world.encrypted(GOOD, Padding::Pkcs1);
    let ask = Ask::Login { userid: "julian".to_owned(), password: password.into(), code: None };
    assert_eq!(world.ask(1, ask).await, Verdict::Refused);
    assert_eq!(world.entries(1)[0].reason, Some(Deny::PaddingOff));
}

#[tokio::test]
async fn a_vault_that_is_down_counts_no_attempt() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    let password = world.encrypted(GOOD, Padding::OaepSha256);
    world.vault_down(true);
    for _ in 0..20 {
        let ask = Ask::Login { userid: "julian".to_owned(), password: password.clone().into(), code: None };
        assert!(matches!(world.ask(1, ask).await, Verdict::TryAgainLater { .. }));
    }
    world.vault_down(false);
    assert!(matches!(world.login("julian", GOOD, None).await, Verdict::Granted(_)));
}

#[tokio::test]
async fn s8_disabling_ends_open_connections() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    let origin = origin(1);
    let password = world.encrypted(GOOD, Padding::OaepSha256);
    let ask = Ask::Login { userid: "julian".to_owned(), password: password.into(), code: None };
    assert!(matches!(world.gate.ask(ask, &origin).await, Verdict::Granted(_)));
    assert_eq!(world.gate.sessions(), 1);
    let edit = Edit { standing: Some(Standing::Disabled), ..Edit::default() };
    world.gate.edit_person(&userid("julian"), edit, &Actor::Node).await.unwrap();
    origin.connection.ended().await;
    world.gate.left(&origin);
    assert_eq!(world.gate.sessions(), 0);
}

#[tokio::test]
async fn the_trace_of_a_refusal_says_which_check_failed_and_what_was_not_reached() {
    let world = world();
    world.person("julian", AuthSystem::Otp, false).await;
    world.next_step();
    let slow = world.seed("julian").await.code(world.now() - Duration::from_secs(150)).to_string();
    let verdict = world.login("julian", GOOD, Some(&slow)).await;
    assert!(matches!(verdict, Verdict::CodeRefused(_)));
    let entry = &world.entries(1)[0];
    let trace = entry.trace.as_ref().unwrap();
    let failed = trace.steps().find_map(|(check, step)| match step {
        Step::Failed(failure) => Some((check, failure.seen.clone())),
        Step::Passed | Step::NotNeeded | Step::NotReached => None,
    });
    let (check, seen) = failed.unwrap();
    assert_eq!(check, Check::CodeMatches);
    assert!(seen.contains("150 s") && seen.contains("slow"), "{seen}");
    assert!(trace.steps().any(|(check, step)| check == Check::CodeUnused && step == Step::NotReached));
}

#[test]
fn a_full_queue_is_busy_and_every_other_fault_is_try_again_later() {
    assert!(matches!(verdict_of(&Fault::Busy("full")), Verdict::Busy { .. }));
    for fault in [Fault::Vault("v".into()), Fault::Book("b".into()), Fault::Disk("d".into()), Fault::Stopping]
    {
        assert!(matches!(verdict_of(&fault), Verdict::TryAgainLater { .. }));
    }
}

#[tokio::test]
async fn e4_what_was_not_decided_may_be_sent_again_and_what_was_may_not() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    let password = world.encrypted(GOOD, Padding::OaepSha256);
    let ask = || Ask::Login { userid: "julian".to_owned(), password: password.clone().into(), code: None };
    world.gate.hashes.stop();
    assert!(matches!(world.ask(1, ask()).await, Verdict::TryAgainLater { .. }));
    let world = world.reopened(HashParams::tiny());
    assert!(matches!(world.ask(1, ask()).await, Verdict::Granted(_)), "the very same bytes");
    assert_eq!(world.ask(1, ask()).await, Verdict::Refused);
    assert_eq!(world.entries(1)[0].reason, Some(Deny::ReplayedCiphertext));
}

#[tokio::test]
async fn p1_whoever_loses_the_second_factor_must_choose_a_longer_password() {
    let world = world();
    world.person("julian", AuthSystem::Otp, false).await;
    let edit = Edit { auth_system: Some(AuthSystem::Password), ..Edit::default() };
    world.gate.edit_person(&userid("julian"), edit, &Actor::Node).await.unwrap();
    let Verdict::Granted(granted) = world.login("julian", GOOD, None).await else { panic!("not granted") };
    assert!(granted.must_change);
}

#[tokio::test]
async fn t15_a_reset_between_the_two_steps_ends_the_login() {
    let world = world();
    world.person("julian", AuthSystem::Otp, false).await;
    world.seed("julian").await;
    let origin = origin(1);
    let password = world.encrypted(GOOD, Padding::OaepSha256);
    let ask = Ask::Login { userid: "julian".to_owned(), password: password.into(), code: None };
    assert!(matches!(world.gate.ask(ask, &origin).await, Verdict::CodeNeeded(_)));
    assert_eq!(world.gate.sessions(), 0, "not logged in yet");
    world
        .gate
        .set_password(&userid("julian"), &super::admin::NewPassword::Generated, Actor::Node)
        .await
        .unwrap();
    origin.connection.ended().await;
}

#[tokio::test]
async fn whoever_asks_for_the_first_challenge_key_waits_for_it_and_nobody_else_does() {
    let world = world();
    let order = std::sync::Mutex::new(Vec::new());
    let ask = async |name| {
        let challenge = world.gate.challenge_when_made().await.unwrap();
        order.lock().unwrap().push(name);
        challenge.key
    };
    // All on one thread: whoever made a key on it would end first.
    let (first, second, ()) = tokio::join!(ask("asked"), ask("asked"), async {
        tokio::task::yield_now().await;
        order.lock().unwrap().push("went on");
    });
    assert_eq!(*order.lock().unwrap(), ["went on", "asked", "asked"]);
    assert_eq!(first, second);
    let third = tokio::join!(ask("asked"), async { order.lock().unwrap().push("went on") }).0;
    assert_eq!((third, order.lock().unwrap()[3..].to_vec()), (first, vec!["asked", "went on"]));
}
