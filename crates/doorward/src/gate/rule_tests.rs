//! Rules of `security.md` that need the whole gate.

use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use data_encoding::{BASE32_NOPAD, BASE64};
use doorward_client::totp::Totp;
use doorward_core::ask::{Ask, Encrypted, GivenPassword, Padding, Verdict};
use doorward_core::audit::{Actor, Deny, Door};
use doorward_core::id::{FirmCode, UserId};
use doorward_core::identity::policy::{AuthSystem, Effective, Policy};
use doorward_core::identity::totp::Algorithm;
use doorward_core::trace::Check;

use super::Origin;
use super::testing::{GOOD, World, behind_a_long_step, origin, secret, world};
use crate::hashing::{HashParams, PRETENDED_AT_START};

/// Any bytes in PKCS#1 v1.5, encrypted with the present challenge key.
pub(super) fn encrypted_bytes(world: &World, message: &[u8]) -> Encrypted {
    let challenge = world.gate.challenge().unwrap();
    let spki = BASE64.decode(challenge.spki_base64.as_bytes()).unwrap();
    let key = Pkcs1PublicEncryptingKey::new(PublicEncryptingKey::from_der(&spki).unwrap()).unwrap();
    let mut ciphertext = vec![0; key.ciphertext_size()];
    key.encrypt(message, &mut ciphertext).unwrap();
    Encrypted { key: challenge.key, padding: Padding::Pkcs1, ciphertext }
}

#[tokio::test]
async fn e3_every_bad_ciphertext_costs_one_password_hash_and_is_refused_alike() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    let login = |password: Encrypted| Ask::Login {
        userid: "julian".to_owned(),
        password: password.into(),
        code: None,
    };
    let replayed = encrypted_bytes(&world, GOOD.as_bytes());
    assert!(matches!(world.ask(1, login(replayed.clone())).await, Verdict::Granted(_)));
    let with = |ciphertext: Vec<u8>| Encrypted { ciphertext, ..encrypted_bytes(&world, b"x") };
    let cases = [
        ("well-formed", encrypted_bytes(&world, b"not the password"), Deny::WrongPassword),
        ("padding", with(vec![7; 256]), Deny::BadCiphertext),
        ("short", with(vec![7; 255]), Deny::BadCiphertext),
        ("long", with(vec![7; 257]), Deny::BadCiphertext),
        ("out of range", with(vec![0xff; 256]), Deny::BadCiphertext),
        ("not UTF-8", encrypted_bytes(&world, b"broken \xff utf-8"), Deny::BadCiphertext),
        ("replay", replayed, Deny::ReplayedCiphertext),
    ];
    for (source, (what, password, reason)) in (2..).zip(cases) {
        let before = world.gate.hashes.compared();
        assert_eq!(world.ask(source, login(password)).await, Verdict::Refused, "{what}");
        assert_eq!(world.gate.hashes.compared() - before, 1, "{what}: one hash");
        assert_eq!(world.entries(1)[0].reason, Some(reason), "{what}");
    }
}

#[tokio::test]
async fn t3_the_parameters_of_an_authenticator_are_frozen_and_new_ones_follow_the_policy() {
    let world = world();
    world.person("julian", AuthSystem::Otp, false).await;
    world.person("jane", AuthSystem::Otp, false).await;
    let old = world.seed("julian").await;
    let register = old.code(world.now()).to_string();
    assert!(matches!(world.login("julian", GOOD, Some(&register)).await, Verdict::Granted(_)));
    world.next_step();

    let acme = FirmCode::parse("ACME").unwrap();
    let (present, _) = world.gate.firm_policy(&acme).unwrap();
    let stricter = Policy { totp_digits: Some(8), totp_algorithm: Some(Algorithm::Sha256), ..present };
    let (_, in_force) = world.gate.set_firm_policy(&acme, &stricter, Actor::Node).await.unwrap();
    assert_eq!((in_force.totp_digits, in_force.totp_algorithm), (8, Algorithm::Sha256));

    let six = old.code(world.now()).to_string();
    assert_eq!(six.len(), 6);
    let verdict = world.login("julian", GOOD, Some(&six)).await;
    assert!(matches!(verdict, Verdict::Granted(_)), "registered before: {verdict:?}");

    let issued = world.gate.issue_authenticator(&UserId::parse("jane").unwrap(), Actor::Node).await.unwrap();
    let uri = issued.uri.expose();
    assert!(uri.contains("&algorithm=SHA256&digits=8&"), "{uri}");
    let new = Totp::parse(uri).unwrap();
    let eight = new.code(world.now()).to_string();
    assert_eq!(eight.len(), 8);
    let verdict = world.login("jane", GOOD, Some(&eight)).await;
    assert!(matches!(verdict, Verdict::Granted(_)), "registered after: {verdict:?}");
}

#[tokio::test]
async fn s5_a_password_in_clear_goes_through_the_same_gate_and_has_no_ciphertext_to_check() {
    let world = world();
    let person = world.person("julian", AuthSystem::Password, false).await.id;
    let clear = |text: &str| GivenPassword::Clear(secret(text));
    let login = |text: &str| Ask::Login { userid: "julian".to_owned(), password: clear(text), code: None };
    assert!(matches!(world.ask(1, login(GOOD)).await, Verdict::Granted(_)));
    let trace = world.entries(1)[0].trace.clone().unwrap();
    let ciphertext = [Check::KeyLive, Check::CiphertextFresh, Check::CiphertextOpens, Check::PaddingAllowed];
    assert_eq!(trace.not_needed[..4], ciphertext, "{trace:?}");
    for _ in 0..5 {
        assert_eq!(world.ask(1, login("not the password")).await, Verdict::Refused);
        assert_eq!(world.entries(1)[0].reason, Some(Deny::WrongPassword));
    }
    assert_eq!(world.ask(1, login(GOOD)).await, Verdict::Refused);
    assert_eq!(world.entries(1)[0].reason, Some(Deny::BackedOff), "counted like any other");
    let new = "quite another long password";
    let change = Ask::PasswordChange { person, present: clear(GOOD), new: clear(new) };
    assert!(matches!(world.ask(2, change).await, Verdict::PasswordChanged { .. }));
    assert!(matches!(world.ask(2, login(new)).await, Verdict::Granted(_)));
}

#[tokio::test]
async fn t2_a_seed_that_is_given_out_is_as_long_as_its_hash() {
    let world = world();
    let acme = FirmCode::parse("ACME").unwrap();
    let lengths = [(Algorithm::Sha1, 20), (Algorithm::Sha256, 32), (Algorithm::Sha512, 64)];
    for (algorithm, bytes) in lengths {
        let userid = format!("julian-{}", algorithm.name().to_ascii_lowercase());
        world.person(&userid, AuthSystem::Otp, false).await;
        let (present, _) = world.gate.firm_policy(&acme).unwrap();
        let policy = Policy { totp_algorithm: Some(algorithm), ..present };
        world.gate.set_firm_policy(&acme, &policy, Actor::Node).await.unwrap();
        let userid = UserId::parse(&userid).unwrap();
        let issued = world.gate.issue_authenticator(&userid, Actor::Node).await.unwrap();
        let seed = BASE32_NOPAD.decode(issued.base32.expose().as_bytes()).unwrap();
        assert_eq!(seed.len(), bytes, "{}", algorithm.name());
    }
}

#[tokio::test]
async fn s4_past_a_hundred_wrong_over_all_sources_and_doors_only_known_sources_get_in() {
    const PER_SOURCE: u8 = 5;
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    let known = world.login_from(1, "julian", GOOD, None).await;
    assert!(matches!(known, Verdict::Granted(_)), "{known:?}");
    let guess = async |source: u8, text: &str| {
        // Half of them come to the FIX door, where a password comes in clear.
        if source.is_multiple_of(2) {
            return world.login_from(source, "julian", text, None).await;
        }
        let (userid, password) = ("julian".to_owned(), GivenPassword::Clear(secret(text)));
        let fix = Origin { door: Door::Fix, ..origin(source) };
        world.gate.ask(Ask::Login { userid, password, code: None }, &fix).await
    };
    let wrong_max = u8::try_from(Effective::default().wrong_passwords_person_max).unwrap();
    assert_eq!(wrong_max, 100);
    let strangers = 2..2 + wrong_max / PER_SOURCE;
    for source in strangers.clone() {
        for _ in 0..PER_SOURCE {
            assert_eq!(guess(source, "not the password").await, Verdict::Refused);
            assert_eq!(world.entries(1)[0].reason, Some(Deny::WrongPassword), "source {source}");
        }
    }
    for source in [strangers.end, strangers.end + 1] {
        assert_eq!(guess(source, GOOD).await, Verdict::Refused, "a right password of an unknown source");
        assert_eq!(world.entries(1)[0].reason, Some(Deny::PersonLimit));
    }
    let known = world.login_from(1, "julian", GOOD, None).await;
    assert!(matches!(known, Verdict::Granted(_)), "the person's own source: {known:?}");
    let stranger = guess(strangers.end, GOOD).await;
    assert!(matches!(stranger, Verdict::Granted(_)), "a right one ended the row: {stranger:?}");
}

#[tokio::test]
async fn s1_what_back_off_refuses_is_answered_after_the_time_of_a_hash_and_without_one() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    for _ in 0..5 {
        assert_eq!(world.login("julian", "not the password", None).await, Verdict::Refused);
    }
    // A pool that has hashed nothing yet takes hashes for far slower than those of this test are.
    let world = world.reopened(HashParams::tiny());
    let at_start = PRETENDED_AT_START;
    let password = GivenPassword::Encrypted(world.encrypted(GOOD, Padding::OaepSha256));
    let ask = Ask::Login { userid: "julian".to_owned(), password, code: None };
    let (compared, began) = (world.gate.hashes.compared(), std::time::Instant::now());
    assert_eq!(world.ask(1, ask).await, Verdict::Refused);
    let took = began.elapsed();
    assert!(took >= at_start, "answered after {took:?}, a hash takes {at_start:?}");
    assert_eq!(world.gate.hashes.compared(), compared);
    assert_eq!(world.entries(1)[0].reason, Some(Deny::BackedOff));
}

#[tokio::test]
async fn e4_an_own_password_is_not_changed_any_more_when_its_owner_was_told_that_it_was_not() {
    let world = world();
    let before = world.person("julian", AuthSystem::Password, false).await;
    let (present, new) =
        (encrypted_bytes(&world, GOOD.as_bytes()), encrypted_bytes(&world, b"quite another long password"));
    let wanted = || {
        let (present, new) = (present.clone().into(), new.clone().into());
        Ask::PasswordChange { person: before.id, present, new }
    };
    let verdict = behind_a_long_step(&world, before.id, world.ask(1, wanted())).await;
    assert!(matches!(verdict, Verdict::Busy { .. }));
    assert_eq!(
        (world.gate.person(&before.userid).unwrap(), world.gate.access(before.id).wrong),
        (before.clone(), 0)
    );
    assert!(matches!(world.ask(1, wanted()).await, Verdict::PasswordChanged { .. }));
}
