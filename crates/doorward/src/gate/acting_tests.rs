//! What programs have verified and let in, over real parts (rule 9).

use std::net::IpAddr;
use std::time::Duration;

use doorward_core::ask::{
    Acting, Ask, Declined, Encrypted, GivenPassword, Padding, Verdict, Verified, VerifyLogin,
};
use doorward_core::audit::{Actor, Deny, Entry, Event, Factor, Record};
use doorward_core::id::{FirmCode, PersonId, UserId};
use doorward_core::identity::change::Change;
use doorward_core::identity::decide::person::Edit;
use doorward_core::identity::net::Network;
use doorward_core::identity::person::{Grant, Kind, Person, Profile, Right, Standing};
use doorward_core::identity::policy::AuthSystem;
use doorward_core::identity::token::Tokens;
use doorward_core::secret::Secret;

use super::admin::{NewPassword, NewPerson};
use super::rule_tests::encrypted_bytes;
use super::testing::{GOOD, World, origin, secret, world};
use crate::book::Load;

pub(super) const ALL: [Right; 8] = [
    Right::Verify,
    Right::Token,
    Right::Add,
    Right::Change,
    Right::ResetPassword,
    Right::ResetAuthenticator,
    Right::LastingPassword,
    Right::TokenOnPassword,
];
/// From where programs come in these tests.
pub(super) const BACK_END: u8 = 200;
const INVALID: Verdict = Verdict::Declined(Declined::InvalidToken);

pub(super) fn userid(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

pub(super) fn known(world: &World, name: &str) -> Person {
    world.gate.person(&userid(name)).unwrap()
}

/// A program for the firm ACME, from the addresses of loopback; its login has proved a password alone.
pub(super) async fn program(world: &World, name: &str, rights: &[Right]) -> Acting {
    let acme = FirmCode::parse("ACME").unwrap();
    if world.gate.firm(&acme).is_err() {
        world.gate.add_firm(acme.clone(), "Acme Derivatives", Actor::Node).await.unwrap();
    }
    let grant = Grant {
        firms: [acme].into(),
        rights: rights.iter().copied().collect(),
        sources: vec![Network::parse("127.0.0.0/8").unwrap()],
    };
    let new = NewPerson {
        userid: userid(name),
        kind: Kind::Service,
        firm: None,
        auth_system: None,
        password: NewPassword::Clear(secret(GOOD)),
        initial: false,
        profile: Profile { grant: Some(grant), ..Profile::default() },
    };
    let person = world.gate.add_person(new, Actor::Node).await.unwrap().0.id;
    Acting { person, factor_at: None }
}

/// A customer's login as a program sends it.
fn asked(asker: Acting, name: &str, password: GivenPassword) -> VerifyLogin {
    let userid = name.to_owned();
    VerifyLogin { asker, userid, password, code: None, wants_token: false, source: None }
}

fn clear(text: &str) -> GivenPassword {
    GivenPassword::Clear(secret(text))
}

fn given(asker: Acting, name: &str, code: Option<&str>, wants_token: bool) -> VerifyLogin {
    VerifyLogin { code: code.map(secret), wants_token, ..asked(asker, name, clear(GOOD)) }
}

async fn verify(world: &World, asked: VerifyLogin) -> Verdict {
    world.ask(BACK_END, Ask::Verify(Box::new(asked))).await
}

fn told(verdict: Verdict) -> Verified {
    match verdict {
        Verdict::Verified(told) => *told,
        other => panic!("{other:?}"),
    }
}

/// A token that a program has made for somebody.
pub(super) async fn token(world: &World, asker: Acting, name: &str, code: Option<&str>) -> String {
    let told = told(verify(world, given(asker, name, code, true)).await);
    told.token.unwrap().token.expose().clone()
}

pub(super) async fn by_token(world: &World, name: &str, token: &str) -> Verdict {
    world.ask(1, Ask::TokenLogin { userid: name.to_owned(), token: secret(token) }).await
}

pub(super) async fn look(world: &World, asker: Acting, token: &str, revoke: bool) -> Verdict {
    let (token, userid) = (secret(token), None);
    world.ask(BACK_END, Ask::Token { asker, token, userid, revoke }).await
}

/// Somebody of ACME with a registered authenticator, and the next code.
pub(super) async fn registered(world: &World, name: &str) -> (doorward_client::totp::Totp, PersonId) {
    let person = world.person(name, AuthSystem::Otp, false).await;
    let totp = world.seed(name).await;
    let first = totp.code(world.now()).to_string();
    assert!(matches!(world.login(name, GOOD, Some(&first)).await, Verdict::Granted(_)));
    world.next_step();
    (totp, person.id)
}

async fn disable(world: &World, name: &str) {
    let edit = Edit { standing: Some(Standing::Disabled), ..Edit::default() };
    world.gate.edit_person(&userid(name), edit, &Actor::Node).await.unwrap();
}

async fn wait(world: &World, span: Duration) {
    world.clock.advance(span);
    world.gate.clock_moved();
}

#[tokio::test]
async fn t6_of_a_hundred_parallel_verifications_of_one_code_exactly_one_is_level_1() {
    let world = world();
    let (totp, _) = registered(&world, "julian").await;
    let programs =
        [program(&world, "one", &[Right::Verify]).await, program(&world, "two", &[Right::Verify]).await];
    let code = totp.code(world.now()).to_string();
    let posts = (0..100).map(|n| {
        let (gate, asked) = (world.gate.clone(), given(programs[n % 2], "julian", Some(&code), false));
        tokio::spawn(async move { gate.ask(Ask::Verify(Box::new(asked)), &origin(BACK_END)).await })
    });
    let mut good = 0;
    for post in posts.collect::<Vec<_>>() {
        match post.await.unwrap() {
            Verdict::Verified(told) => good += u32::from(told.level),
            other => assert_eq!(other, INVALID),
        }
    }
    assert_eq!(good, 1);
    let verified = world.entries(120).into_iter().filter(|entry| entry.event == Event::LoginVerified);
    assert_eq!(verified.count(), 1);
}

#[tokio::test]
async fn s2_two_hundred_parallel_guesses_through_a_program_hash_at_most_five_times() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    let program = program(&world, "shop", &[Right::Verify]).await;
    let before = world.gate.hashes.compared();
    let guesses = (0..200).map(|n| {
        let (gate, asked) =
            (world.gate.clone(), asked(program, "julian", clear(&format!("guess number {n} of many"))));
        tokio::spawn(async move { gate.ask(Ask::Verify(Box::new(asked)), &origin(BACK_END)).await })
    });
    for guess in guesses.collect::<Vec<_>>() {
        assert_eq!(guess.await.unwrap(), Verdict::Refused);
    }
    assert_eq!(world.gate.hashes.compared() - before, 5);
    assert_eq!(world.gate.access(known(&world, "julian").id).wrong, 5);
}

#[tokio::test]
async fn s3_back_off_counts_by_the_customers_address_that_the_program_names() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    let program = program(&world, "shop", &[Right::Verify]).await;
    let from = |source: Option<&str>, password: &str| VerifyLogin {
        source: source.map(|source| source.parse::<IpAddr>().unwrap()),
        ..asked(program, "julian", clear(password))
    };
    for _ in 0..5 {
        let guess = from(Some("198.51.100.7"), "not the password of his");
        assert_eq!(verify(&world, guess).await, Verdict::Refused);
    }
    assert_eq!(verify(&world, from(Some("198.51.100.7"), GOOD)).await, Verdict::Refused, "he waits there");
    assert_eq!(world.entries(1)[0].reason, Some(Deny::BackedOff));
    assert!(world.entries(1)[0].detail.as_ref().unwrap().contains("198.51.100.7"));
    for other in [Some("198.51.100.8"), None] {
        assert!(told(verify(&world, from(other, GOOD)).await).active, "nobody else waits: {other:?}");
    }
    assert!(matches!(world.login("julian", GOOD, None).await, Verdict::Granted(_)));
    // Of an IPv6 customer the whole network waits, as at the door.
    for n in 0..5 {
        let guess = from(Some(&format!("2001:db8::{n}")), "not the password of his");
        assert_eq!(verify(&world, guess).await, Verdict::Refused);
    }
    assert_eq!(verify(&world, from(Some("2001:db8::99"), GOOD)).await, Verdict::Refused);
    assert_eq!(world.entries(1)[0].reason, Some(Deny::BackedOff));
}

#[tokio::test]
async fn s4_a_hundred_wrong_ones_over_all_addresses_are_the_end_of_strange_ones() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    let program = program(&world, "shop", &[Right::Verify]).await;
    let from = |n: u8, password: &str| VerifyLogin {
        source: Some(IpAddr::from([198, 51, 100, n])),
        ..asked(program, "julian", clear(password))
    };
    assert!(told(verify(&world, from(250, GOOD)).await).active, "he was there");
    for n in 0..100 {
        assert_eq!(verify(&world, from(n, "not the password of his")).await, Verdict::Refused);
    }
    assert_eq!(verify(&world, from(200, GOOD)).await, Verdict::Refused);
    assert_eq!(world.entries(1)[0].reason, Some(Deny::PersonLimit));
    assert!(told(verify(&world, from(250, GOOD)).await).active);
}

#[tokio::test]
async fn s1_what_must_not_be_told_apart_is_one_answer_one_hash_and_one_record_of_the_programs() {
    let world = world();
    let program = program(&world, "shop", &[Right::Verify]).await;
    world.person("julian", AuthSystem::Password, false).await;
    world.person("jane", AuthSystem::Password, false).await;
    disable(&world, "jane").await;
    let (_, mary) = registered(&world, "mary").await;
    lock(&world, "mary").await;
    let replayed = encrypted_bytes(&world, GOOD.as_bytes());
    assert!(told(verify(&world, asked(program, "julian", replayed.clone().into())).await).active);
    let good = || encrypted_bytes(&world, GOOD.as_bytes());
    let wrong = || encrypted_bytes(&world, b"not the password of anybody");
    let bad = Encrypted { ciphertext: vec![7; 256], ..good() };
    let cases = [
        ("julian", wrong(), Deny::WrongPassword, true),
        ("julian", replayed, Deny::ReplayedCiphertext, true),
        ("julian", bad, Deny::BadCiphertext, true),
        ("jane", wrong(), Deny::WrongPassword, true),
        ("mary", good(), Deny::Locked, true),
        ("mary", wrong(), Deny::WrongPassword, true),
        ("nobody", good(), Deny::UnknownUser, false),
        ("no body", good(), Deny::UnknownUser, false),
        ("shop", good(), Deny::UnknownUser, false),
    ];
    for (name, password, reason, is_known) in cases {
        let (hashed, head) = (world.gate.hashes.compared(), world.gate.describe().unwrap().head_no);
        let verdict = verify(&world, asked(program, name, password.into())).await;
        assert_eq!(verdict, Verdict::Refused, "{name}: {reason}");
        assert_eq!(world.gate.hashes.compared() - hashed, 1, "{name}: {reason}: one hash");
        assert_eq!(world.gate.describe().unwrap().head_no - head, 1, "{name}: {reason}: one record");
        let entry = world.entries(1).remove(0);
        assert_eq!((entry.event, entry.reason), (Event::VerifyRefused, Some(reason)), "{name}");
        assert_eq!(entry.actor.person(), Some(program.person), "Q4");
        assert_eq!(entry.subject.is_some(), is_known, "{name}: {reason}");
        let named = entry.named.map(|named| (named.begins, named.chars));
        assert_eq!(named, (!is_known).then(|| (name[..3].to_owned(), name.len())), "{name}: whom it tried");
    }
    assert_eq!(world.gate.access(mary).wrong, 1, "the right password of a locked one does not count");
    // Apart from this, which rule 9 wants told.
    let told = told(verify(&world, given(program, "jane", None, false)).await);
    assert_eq!((told.active, told.level, told.token), (false, 0, None));
}

/// Wrong codes until the authenticator is locked.
pub(super) async fn lock(world: &World, name: &str) {
    for _ in 0..60 {
        if known(world, name).authenticator.state() == "locked" {
            return;
        }
        world.login(name, GOOD, Some("000000")).await;
        wait(world, Duration::from_secs(60)).await;
    }
    panic!("{name} is not locked: {:?}", known(world, name).authenticator.state());
}

#[tokio::test]
async fn e4_a_ciphertext_counts_once_and_again_where_nothing_was_decided() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    let program = program(&world, "shop", &[Right::Verify]).await;
    let password = world.encrypted(GOOD, Padding::OaepSha256);
    let login = Ask::Login { userid: "julian".to_owned(), password: password.clone().into(), code: None };
    assert!(matches!(world.ask(1, login).await, Verdict::Granted(_)));
    let again = verify(&world, asked(program, "julian", password.into())).await;
    assert_eq!(again, Verdict::Refused, "seen at another door");
    assert_eq!(world.entries(1)[0].reason, Some(Deny::ReplayedCiphertext));
    let password = world.encrypted(GOOD, Padding::OaepSha256);
    let asked = || asked(program, "julian", password.clone().into());
    world.disk_full(true);
    assert!(matches!(verify(&world, asked()).await, Verdict::TryAgainLater { .. }));
    world.disk_full(false);
    wait(&world, Duration::from_secs(2)).await;
    assert_eq!(world.gate.access(known(&world, "julian").id).wrong, 1, "the replay alone was counted");
    let verdict = match verify(&world, asked()).await {
        Verdict::TryAgainLater { .. } => verify(&world, asked()).await,
        other => other,
    };
    assert!(told(verdict).active);
    assert_eq!(verify(&world, asked()).await, Verdict::Refused);
}

#[tokio::test]
async fn e4_t6_what_the_door_has_given_up_is_not_decided_and_takes_no_code() {
    let world = world();
    let program = program(&world, "shop", &[Right::Verify, Right::Token]).await;
    let (totp, id) = registered(&world, "julian").await;
    for (name, verified) in [("julian", true), ("julian", false), ("nobody", true), ("nobody", false)] {
        world.next_step();
        let password = world.encrypted(GOOD, Padding::OaepSha256);
        let (password, code) = (|| password.clone().into(), || Some(totp.code(world.now()).to_string()));
        let ask = || {
            let (userid, code) = (name.to_owned(), code().map(Secret::new));
            let given = VerifyLogin { code, wants_token: true, ..asked(program, name, password()) };
            match verified {
                true => Ask::Verify(Box::new(given)),
                false => Ask::Login { userid, password: password(), code: given.code },
            }
        };
        let head = world.gate.describe().unwrap().head_no;
        let underway = match name {
            "julian" => world.gate.person_lock(id).await,
            _ => world.gate.nobody_lock(name).await,
        };
        let mut late = Box::pin(world.ask(BACK_END, ask()));
        tokio::select! {
            biased;
            verdict = &mut late => panic!("{name}: {verdict:?} beside another"),
            () = std::future::ready(()) => {}
        }
        world.clock.wait(doorward_core::ws::login::ASK_MAX);
        world.gate.clock_moved();
        drop(underway);
        assert!(matches!(late.await, Verdict::Busy { .. }), "{name} {verified}");
        assert_eq!(world.gate.describe().unwrap().head_no, head, "{name} {verified}");
        assert_eq!(world.gate.access(id).wrong, 0, "{name} {verified}");
        match (name, world.ask(BACK_END, ask()).await) {
            ("julian", Verdict::Verified(told)) => assert_eq!((told.level, told.token.is_some()), (1, true)),
            ("julian", Verdict::Granted(_)) | (_, Verdict::Refused) => {}
            (_, other) => panic!("{name}: {other:?}"),
        }
        let reason = world.entries(1)[0].reason;
        assert_eq!(reason, (name != "julian").then_some(Deny::UnknownUser), "{name}: a fresh ciphertext");
    }
}

/// What a customer is when the login is verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    PasswordOnly,
    Registered,
    Pending,
    MustRegister,
    Initial,
    Disabled,
}

const STATES: [State; 6] = [
    State::PasswordOnly,
    State::Registered,
    State::Pending,
    State::MustRegister,
    State::Initial,
    State::Disabled,
];

/// What rule 9 says of a right password: level, token, what is lacking; or the refusal.
fn expected(
    state: State,
    code: Option<bool>,
    wants_token: bool,
    on_password: bool,
) -> Result<(u8, bool, bool, bool), Declined> {
    match (state, code) {
        (State::Disabled, _) => Ok((0, false, false, false)),
        (State::MustRegister, _) => Ok((0, false, true, false)),
        (State::Initial, _) => Ok((0, false, false, true)),
        (State::PasswordOnly, _) if wants_token && !on_password => Err(Declined::CodeMissing),
        (State::PasswordOnly, _) => Ok((0, wants_token, false, false)),
        (State::Registered | State::Pending, None) if wants_token => Err(Declined::CodeMissing),
        (State::Registered | State::Pending, None) => Ok((0, false, false, false)),
        (State::Registered | State::Pending, Some(false)) => Err(Declined::InvalidToken),
        (State::Registered | State::Pending, Some(true)) => Ok((1, wants_token, false, false)),
    }
}

#[tokio::test]
async fn rule_9_every_combination_of_customer_code_and_wish() {
    let world = world();
    let plain = program(&world, "plain", &[Right::Verify, Right::Token]).await;
    let trusted = program(&world, "trusted", &ALL).await;
    let mut n = 0;
    for state in STATES {
        for code in [None, Some(false), Some(true)] {
            for (wants_token, on_password) in [(false, false), (true, false), (true, true)] {
                n += 1;
                let name = format!("customer{n}");
                let good = customer(&world, &name, state).await;
                let sent = code.map(|is_good| if is_good { good.clone() } else { "000000".to_owned() });
                let program = if on_password { trusted } else { plain };
                let head = world.gate.describe().unwrap().head_no;
                let verdict = verify(&world, given(program, &name, sent.as_deref(), wants_token)).await;
                let what = format!("{state:?} {code:?} {wants_token} {on_password}");
                let seen = match verdict {
                    Verdict::Verified(told) => {
                        assert_eq!(told.active, state != State::Disabled, "{what}");
                        assert_eq!(told.userid.as_str(), name, "{what}");
                        Ok((told.level, told.token.is_some(), told.must_register, told.must_change))
                    }
                    Verdict::Declined(declined) => Err(declined),
                    other => panic!("{what}: {other:?}"),
                };
                assert_eq!(seen, expected(state, code, wants_token, on_password), "{what}");
                assert_eq!(world.gate.describe().unwrap().head_no - head, 1, "Q4: {what}");
                let entry = world.entries(1).remove(0);
                assert_eq!(entry.actor.person(), Some(program.person), "{what}");
                assert_eq!(entry.subject.unwrap().userid.as_str(), name, "{what}");
                assert_eq!(
                    known(&world, &name).tokens.iter().count(),
                    usize::from(matches!(seen, Ok((_, true, _, _))))
                );
            }
        }
    }
}

/// A new customer, and a code that is good of theirs, or would be.
async fn customer(world: &World, name: &str, state: State) -> String {
    match state {
        State::PasswordOnly => {
            world.person(name, AuthSystem::Password, false).await;
            "123456".to_owned()
        }
        State::MustRegister => {
            world.person(name, AuthSystem::Otp, false).await;
            "123456".to_owned()
        }
        State::Registered => registered(world, name).await.0.code(world.now()).to_string(),
        State::Pending | State::Initial | State::Disabled => {
            world.person(name, AuthSystem::Otp, state == State::Initial).await;
            let totp = world.seed(name).await;
            if state == State::Disabled {
                disable(world, name).await;
            }
            totp.code(world.now()).to_string()
        }
    }
}

#[tokio::test]
async fn rule_9_a_token_lets_its_customer_in_and_is_nobody_elses() {
    let world = world();
    let program = program(&world, "shop", &[Right::Verify, Right::Token]).await;
    let (totp, julian) = registered(&world, "julian").await;
    registered(&world, "mary").await;
    let code = totp.code(world.now()).to_string();
    let token = token(&world, program, "julian", Some(&code)).await;
    assert_eq!(token.len(), 43, "256 bits in base64url");
    let Verdict::Granted(granted) = by_token(&world, "Julian", &token).await else { panic!() };
    assert_eq!((granted.person, granted.must_change, granted.serves), (julian, false, false));
    let entry = world.entries(1).remove(0);
    assert_eq!((entry.event, entry.factor), (Event::LoginGranted, Factor::Token));
    let looked = look(&world, program, &token, false).await;
    assert!(
        matches!(&looked, Verdict::TokenKnown { userid, .. } if userid.as_str() == "julian"),
        "{looked:?}"
    );
    for (name, token) in [("mary", token.as_str()), ("nobody", &token), ("no body", &token), ("julian", "x")]
    {
        let head = world.gate.describe().unwrap().head_no;
        assert_eq!(by_token(&world, name, token).await, INVALID, "{name}");
        assert_eq!(world.gate.describe().unwrap().head_no - head, 1, "{name}");
    }
    assert_eq!(look(&world, program, "x", false).await, INVALID);
    let other = self::program(&world, "other", &[Right::Verify]).await;
    let denied = Verdict::Declined(Declined::NotPermitted { field: None });
    assert_eq!(look(&world, other, &token, true).await, denied);
    assert!(matches!(look(&world, program, &token, true).await, Verdict::TokenKnown { .. }));
    let entry = world.entries(1).remove(0);
    assert_eq!((entry.event, entry.actor.person()), (Event::TokenRevoked, Some(program.person)));
    assert_eq!(by_token(&world, "julian", &token).await, INVALID);
    assert_eq!(look(&world, program, &token, false).await, INVALID);
}

#[tokio::test]
async fn s3_s5_wrong_tokens_are_counted_and_held_back_like_wrong_passwords() {
    let world = world();
    let program = program(&world, "shop", &[Right::Verify, Right::Token]).await;
    let (totp, _) = registered(&world, "julian").await;
    let code = totp.code(world.now()).to_string();
    let token = token(&world, program, "julian", Some(&code)).await;
    for _ in 0..5 {
        assert_eq!(by_token(&world, "julian", "a guess").await, INVALID);
    }
    assert_eq!(by_token(&world, "julian", &token).await, INVALID, "the source waits");
    assert_eq!(world.entries(1)[0].reason, Some(Deny::BackedOff));
    let login = Ask::TokenLogin { userid: "julian".to_owned(), token: secret(&token) };
    assert!(matches!(world.ask(2, login).await, Verdict::Granted(_)), "another does not");
}

#[tokio::test]
async fn rule_9_tokens_end_with_password_factor_lock_disabling_and_time() {
    type End = (&'static str, bool);
    let world = world();
    let program = program(&world, "shop", &[Right::Verify, Right::Token]).await;
    let ends: [End; 9] = [
        ("own password", true),
        ("reset password", true),
        ("disable", true),
        ("lock", true),
        ("reset authenticator", true),
        ("no second factor", true),
        ("time", true),
        ("profile", false),
        ("wrong password and code", false),
    ];
    for (n, (end, is_end)) in ends.into_iter().enumerate() {
        let name = format!("customer{n}");
        let (totp, id) = registered(&world, &name).await;
        let code = totp.code(world.now()).to_string();
        let token = token(&world, program, &name, Some(&code)).await;
        assert!(matches!(by_token(&world, &name, &token).await, Verdict::Granted(_)), "{end}");
        let (gate, of) = (&world.gate, userid(&name));
        match end {
            "own password" => {
                let (present, new) = (clear(GOOD), clear("quite another long password"));
                let change = Ask::PasswordChange { person: id, present, new };
                assert!(matches!(world.ask(1, change).await, Verdict::PasswordChanged { .. }));
            }
            "reset password" => {
                let new = NewPassword::Clear(secret("quite another long password"));
                gate.set_password(&of, &new, Actor::Node).await.unwrap();
            }
            "disable" => {
                disable(&world, &name).await;
                let edit = Edit { standing: Some(Standing::Active), ..Edit::default() };
                gate.edit_person(&of, edit, &Actor::Node).await.unwrap();
            }
            "lock" => {
                lock(&world, &name).await;
                gate.unlock(&of, Actor::Node).await.unwrap();
            }
            "reset authenticator" => drop(gate.revoke_authenticator(&of, Actor::Node).await.unwrap()),
            "no second factor" => {
                let edit = Edit { auth_system: Some(AuthSystem::Password), ..Edit::default() };
                gate.edit_person(&of, edit, &Actor::Node).await.unwrap();
            }
            "time" => {
                wait(&world, Duration::from_secs(12 * 3_600) - Duration::from_secs(5)).await;
                assert!(matches!(look(&world, program, &token, false).await, Verdict::TokenKnown { .. }));
                wait(&world, Duration::from_secs(6)).await;
            }
            "profile" => {
                let profile = Profile { roles: Some("XX".to_owned()), ..Profile::default() };
                let edit = Edit { profile: Some(profile), ..Edit::default() };
                gate.edit_person(&of, edit, &Actor::Node).await.unwrap();
            }
            _ => {
                world.login_from(3, &name, "not the password at all", None).await;
                world.login_from(3, &name, GOOD, Some("000000")).await;
            }
        }
        let looked = look(&world, program, &token, false).await;
        assert_eq!(looked == INVALID, is_end, "{end}: {looked:?}");
        assert_eq!(by_token(&world, &name, &token).await == INVALID, is_end, "{end}");
    }
}

#[tokio::test]
async fn p9_a_hash_that_is_made_anew_ends_no_token() {
    let world = world();
    let program = program(&world, "shop", &ALL).await;
    world.person("julian", AuthSystem::Password, false).await;
    let token = token(&world, program, "julian", None).await;
    let before = known(&world, "julian").password;
    let world = world.reopened(crate::hashing::HashParams::FLOOR);
    assert!(matches!(world.login("julian", GOOD, None).await, Verdict::Granted(_)));
    assert_ne!(known(&world, "julian").password, before);
    assert!(matches!(by_token(&world, "julian", &token).await, Verdict::Granted(_)), "over a restart");
    let world = world.reopened(crate::hashing::HashParams::tiny());
    world.person("jane", AuthSystem::Password, false).await;
    let world = world.reopened(crate::hashing::HashParams::FLOOR);
    let before = known(&world, "jane").password;
    assert!(told(verify(&world, given(program, "jane", None, true)).await).token.is_some());
    assert_ne!(known(&world, "jane").password, before, "by a program, too");
    let entry = world.entries(1).remove(0);
    assert_eq!((entry.event, entry.actor.person()), (Event::PasswordRehashed, Some(program.person)));
    assert_eq!(entry.subject.unwrap().userid.as_str(), "jane");
    assert!(!known(&world, "jane").tokens.is_empty());
}

#[tokio::test]
async fn s1_a_login_by_token_looks_nobody_up_as_often_as_somebody() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    let mut looked = Vec::new();
    for name in ["julian", "nobody"] {
        let before = world.people_loaded();
        assert_eq!(by_token(&world, name, "a guess").await, INVALID);
        looked.push(world.people_loaded() - before);
    }
    assert_eq!(looked, [2, 2]);
}

#[tokio::test]
async fn q10_of_many_refusals_that_change_nothing_twenty_are_written_and_the_rest_counted() {
    let world = world();
    let program = program(&world, "shop", &[Right::Verify]).await;
    let julian = world.person("julian", AuthSystem::Password, false).await.id;
    let written = async |refuse: &dyn Fn(usize) -> (u8, Ask)| {
        let head = world.gate.describe().unwrap().head_no;
        for n in 0..30 {
            let (source, ask) = refuse(n);
            world.ask(source, ask).await;
        }
        world.gate.describe().unwrap().head_no - head
    };
    let token = |userid: String| Ask::TokenLogin { userid, token: secret("a guess") };
    assert_eq!(written(&|n| (11, token(format!("nobody{n}")))).await, 20);
    let known = (Event::LoginRefused, Some(Deny::TokenUnknown));
    for _ in 0..5 {
        assert_eq!(world.ask(11, token("julian".to_owned())).await, INVALID);
        let entry = world.entries(1).remove(0);
        assert_eq!((entry.event, entry.reason), known, "S5: what is counted against somebody is written");
    }
    assert_eq!(world.gate.access(julian).wrong, 5);
    assert_eq!(written(&|_| (12, token("julian".to_owned()))).await, 25, "five wrong ones, and held back");
    let password = || encrypted_bytes(&world, b"not the password of anybody").into();
    let login = |userid: String| Ask::Login { userid, password: password(), code: None };
    assert_eq!(written(&|n| (13, login(format!("nobody{n}")))).await, 20);
    let verify = |n: usize| Ask::Verify(Box::new(asked(program, &format!("nobody{n}"), password())));
    assert_eq!(written(&|n| (14, verify(n))).await, 20);
    let see = |n: usize| Ask::Person { asker: program, userid: Some(format!("nobody{n}")) };
    assert_eq!(written(&|n| (15, see(n))).await, 20);
    world.gate.record_start(false).await;
    let counted = world.entries(12).into_iter().filter(|entry| entry.event == Event::RefusalsCounted);
    let mut counted: Vec<_> = counted.map(|entry| (entry.source.unwrap(), entry.detail.unwrap())).collect();
    counted.sort();
    let more = [(11, 10), (12, 5), (13, 10), (14, 10), (15, 10)];
    let more = more.map(|(n, more)| (IpAddr::from([127, 0, 0, n]), format!("{more} more within a minute")));
    assert_eq!(counted, more);
}

#[tokio::test]
async fn rule_9_who_logs_in_while_the_token_is_ended_is_decided_before_or_after() {
    let world = world();
    let program = program(&world, "shop", &[Right::Verify, Right::Token]).await;
    let (totp, julian) = registered(&world, "julian").await;
    let token = token(&world, program, "julian", Some(&totp.code(world.now()).to_string())).await;
    let login_underway = world.gate.person_lock(julian).await;
    let mut ended = Box::pin(look(&world, program, &token, true));
    for n in 0..3 {
        tokio::select! {
            biased;
            verdict = &mut ended => panic!("{n}: {verdict:?} beside a login"),
            () = std::future::ready(()) => {}
        }
        // Behind this, whatever was to be written down before it is.
        let code = FirmCode::parse(&format!("FIRM{n}")).unwrap();
        world.gate.add_firm(code, "Another Firm", Actor::Node).await.unwrap();
    }
    drop(login_underway);
    assert!(matches!(ended.await, Verdict::TokenKnown { .. }));
    assert_eq!(by_token(&world, "julian", &token).await, INVALID);
}

#[tokio::test]
async fn rule_9_a_token_is_made_for_a_program_as_it_was_decided_on() {
    let world = world();
    let asker = program(&world, "shop", &ALL).await.person;
    let julian = world.person("julian", AuthSystem::Password, false).await.id;
    let load = |id| world.gate.store.load(&Load::Person(id)).unwrap();
    let (customer, asker) = (load(julian), load(asker));
    let context = world.gate.context(&origin(BACK_END));
    let record = |changes| Record { entry: Entry::new(&context, Event::LoginVerified, Actor::Node), changes };
    let none = super::acting::batch_by(&customer, &asker, record(Vec::new()));
    assert_eq!(none.expects, []);
    let tokens = Change::Tokens { person: julian, tokens: Tokens::default() };
    let made = super::acting::batch_by(&customer, &asker, record(vec![tokens]));
    let both = [&customer, &asker].into_iter().flat_map(super::expect_person).collect::<Vec<_>>();
    assert_eq!(made.expects, both);
}
