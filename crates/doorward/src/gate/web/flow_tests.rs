//! Registration, the own account, the claim and the mails, over the real store and vault.

use std::time::Duration;

use doorward_client::password::{Challenge, encrypt_labelled};
use doorward_client::totp::Totp;
use doorward_core::ask::{Ask, ENVELOPE_BYTES, Encrypted, Enveloped, GivenPassword, Padding, Verdict};
use doorward_core::audit::{Actor, Deny, Door, Event};
use doorward_core::id::{FirmCode, UserId};
use doorward_core::identity::change::Change;
use doorward_core::identity::decide::link::{self, NewLink};
use doorward_core::identity::decide::person::Edit;
use doorward_core::identity::link::{Handed, LinkState};
use doorward_core::identity::mail::{Mail, MailKind};
use doorward_core::identity::notice::Notice;
use doorward_core::identity::password::Rule;
use doorward_core::identity::person::{Kind, Password, Person, Profile, Standing};
use doorward_core::identity::policy::{AuthSystem, Policy};
use doorward_core::trace::Check;

use super::account::{PasswordChanged, RecoveryMade};
use super::claim::{ClaimGiven, Claimed};
use super::explain::StepState;
use super::links::LinkToken;
use super::register::{Chosen, Confirmed, Enrolling};
use super::sign_in::{CodeRefusal, Entered, SteppedUp};
use super::{Asker, Browser, Present, Token};
use crate::book::{Batch, Load, MailFilter};
use crate::gate::admin::{NewPassword, NewPerson};
use crate::gate::testing::{GOOD, World, origin, secret, world_with};
use crate::gate::{MailLink, Settings, expect_person, new_attempt};
use crate::hashing::HashParams;

/// Another password that keeps every rule.
pub(super) const OWN: &str = "amber harbour 62 kites";
const STEP: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

pub(super) fn settings() -> Settings {
    Settings { mail: true, portal_url: Some("https://portal.example".to_owned()), ..Settings::default() }
}

pub(super) fn site() -> World {
    world_with(settings())
}

pub(super) fn browser(source: u8) -> Browser {
    let source = origin(source).source;
    Browser { source, agent: "Firefox".to_owned(), attempt: new_attempt() }
}

pub(super) fn userid(text: &str) -> UserId {
    UserId::parse(text).unwrap()
}

/// A password as a page sends it.
pub(super) fn enveloped(world: &World, password: &str) -> Enveloped {
    let expected = [b'n'; ENVELOPE_BYTES];
    let challenge = world.gate.challenge().unwrap();
    let answer = serde_json::json!({ "key": challenge.spki_base64, "keyid": challenge.key.as_str() });
    let client = Challenge::from_answer(&answer).unwrap();
    let plain = secret(&format!("{}{password}", "n".repeat(ENVELOPE_BYTES)));
    let ciphertext = encrypt_labelled(&client, Padding::OaepSha256, b"portal", &plain).unwrap();
    let encrypted = Encrypted { key: challenge.key, padding: Padding::OaepSha256, ciphertext };
    Enveloped { encrypted, expected }
}

pub(super) fn person(world: &World, name: &str) -> Person {
    world.gate.person(&userid(name)).unwrap()
}

/// A trader of ACME with the password [`GOOD`] and an address.
pub(super) async fn trader(world: &World, name: &str, initial: bool) -> Person {
    world.person(name, AuthSystem::Otp, initial).await;
    let profile = Profile { email: Some(format!("{name}@acme.example")), ..Profile::default() };
    let edit = Edit { profile: Some(profile), ..Edit::default() };
    world.gate.edit_person(&userid(name), edit, &Actor::Node).await.unwrap()
}

pub(super) async fn somebody(world: &World, name: &str, kind: Kind) -> Person {
    let new = NewPerson {
        userid: userid(name),
        kind,
        firm: (kind == Kind::Administrator).then(|| FirmCode::parse("ACME").unwrap()),
        auth_system: Some(AuthSystem::Otp),
        password: NewPassword::Clear(secret(GOOD)),
        initial: false,
        profile: Profile { email: Some(format!("{name}@acme.example")), ..Profile::default() },
    };
    world.gate.add_person(new, Actor::Node).await.unwrap().0
}

/// A setup link, mailed, as the console makes one.
pub(super) async fn make_link(world: &World, name: &str) -> LinkToken {
    let gate = &world.gate;
    let token = gate.link_token().unwrap();
    let snapshot = gate.store.load(&Load::UserId(userid(name))).unwrap();
    let person = snapshot.person.as_ref().unwrap();
    let new = NewLink { hash: token.hash(), handed: Handed::Mailed, reason: None };
    let context = gate.local_context();
    let ruling = link::make(&gate.view(&snapshot), person, &new, true, Actor::Node, &context);
    ruling.result.unwrap();
    let mut record = ruling.record;
    record.changes.push(gate.link_mail(person, &token, HOUR, context.at).unwrap());
    let batch = Batch { expects: expect_person(&snapshot), records: vec![record] };
    gate.commit(batch).await.unwrap();
    token
}

async fn by_link(world: &World, token: &LinkToken, name: &str, password: &str, source: u8) -> Entered {
    let password = enveloped(world, password);
    world.gate.link_sign_in(token.secret().expose(), name, password, None, &browser(source)).await
}

async fn by_name(world: &World, name: &str, password: &str) -> Entered {
    world.gate.sign_in(name, enveloped(world, password), None, &browser(1)).await
}

fn registering(entered: Entered) -> Token {
    let Entered::Register(token) = entered else { panic!("{entered:?}") };
    token
}

async fn begin(world: &World, token: &Token) -> Totp {
    match world.gate.begin_enrolment(token, &browser(1)).await {
        Enrolling::Shown(seed) => Totp::parse(seed.uri.expose()).unwrap(),
        other => panic!("{other:?}"),
    }
}

async fn confirm(world: &World, token: &Token, code: &str) -> Confirmed {
    world.gate.confirm_enrolment(token, &secret(code), &browser(1)).await
}

pub(super) fn code(world: &World, totp: &Totp) -> String {
    totp.code(world.now()).to_string()
}

/// Registers somebody who has chosen a password: their authenticator, the session and the recovery codes.
pub(super) async fn registered(world: &World, name: &str) -> (Totp, Token, Vec<String>) {
    let link = make_link(world, name).await;
    let token = registering(by_link(world, &link, name, GOOD, 1).await);
    let totp = begin(world, &token).await;
    match confirm(world, &token, &code(world, &totp)).await {
        Confirmed::In { token, recovery, .. } => {
            (totp, token, recovery.iter().map(|code| code.expose().clone()).collect())
        }
        other => panic!("{other:?}"),
    }
}

pub(super) async fn asker(world: &World, token: &Token) -> Asker {
    match world.gate.present(token, &browser(1), true).await.unwrap() {
        Present::SignedIn(asker) => *asker,
        other => panic!("{other:?}"),
    }
}

/// All mails, oldest first.
pub(super) fn mails(world: &World) -> Vec<Mail> {
    let mut all = world.gate.store.mails(&MailFilter::default(), None, 1_000).unwrap();
    all.reverse();
    all.into_iter().map(|queued| queued.mail).collect()
}

/// Of a kind: to whom.
pub(super) fn mailed(world: &World, kind: MailKind) -> Vec<String> {
    let mut to: Vec<String> =
        mails(world).into_iter().filter(|mail| mail.kind == kind).map(|mail| mail.to).collect();
    to.sort();
    to
}

#[tokio::test]
async fn t12_a_link_the_initial_password_an_own_one_and_a_code_register() {
    let world = site();
    trader(&world, "julian", true).await;
    let link = make_link(&world, "julian").await;
    let token = registering(by_link(&world, &link, "Julian", GOOD, 1).await);
    let gate = &world.gate;
    let first = gate.begin_enrolment(&token, &browser(1)).await;
    assert!(matches!(first, Enrolling::ChangeFirst), "P11: {first:?}");
    let short = gate.choose_password(&token, &enveloped(&world, "too short"), &browser(1)).await;
    assert!(matches!(short, Chosen::Rule(Rule::TooShort)), "{short:?}");
    let same = gate.choose_password(&token, &enveloped(&world, GOOD), &browser(1)).await;
    assert!(matches!(same, Chosen::Rule(Rule::SameAsPresent)), "{same:?}");
    let chosen = gate.choose_password(&token, &enveloped(&world, OWN), &browser(1)).await;
    let Chosen::Register(token) = chosen else { panic!("{chosen:?}") };
    let totp = begin(&world, &token).await;
    assert!(!person(&world, "julian").authenticator.is_registered(), "nothing counts before the code");
    let waiting = world.login("julian", OWN, Some(&code(&world, &totp))).await;
    assert!(
        matches!(waiting, Verdict::RegistrationNeeded { .. }),
        "K9: no door takes its codes: {waiting:?}"
    );
    let wrong = confirm(&world, &token, "000000").await;
    assert!(matches!(wrong, Confirmed::CodeRefused(CodeRefusal::Wrong)), "{wrong:?}");
    let used = code(&world, &totp);
    let confirmed = confirm(&world, &token, &used).await;
    let Confirmed::In { token: signed_in, kind, recovery } = confirmed else { panic!("{confirmed:?}") };
    assert_eq!((kind, recovery.len()), (Kind::Trader, 10));
    assert!(
        matches!(gate.present(&token, &browser(1), true).await.unwrap(), Present::Stranger),
        "S6: a new token"
    );
    assert!(asker(&world, &signed_in).await.factor_fresh);
    let julian = person(&world, "julian");
    assert!(julian.authenticator.is_registered());
    assert!(matches!(julian.password, Password::Own { .. }));
    assert!(matches!(julian.link.unwrap().state, LinkState::Used { .. }));
    let again = world.login("julian", OWN, Some(&used)).await;
    assert!(matches!(again, Verdict::CodeRefused(_)), "T7: the confirming code is used up: {again:?}");
    let next = totp.code(world.now() + STEP).to_string();
    assert!(matches!(world.login("julian", OWN, Some(&next)).await, Verdict::Granted(_)));
    assert_eq!(mailed(&world, MailKind::Registered), ["julian@acme.example"]);
    assert_eq!(mailed(&world, MailKind::PasswordChanged), ["julian@acme.example"]);
}

#[tokio::test]
async fn k4_links_that_do_not_work_and_wrong_passwords_look_and_cost_alike() {
    let world = site();
    for name in ["julian", "jane", "joan", "june", "jack"] {
        trader(&world, name, false).await;
    }
    let never = LinkToken::random(&*world.gate.vault).unwrap();
    let taken_back = make_link(&world, "jane").await;
    make_link(&world, "jane").await;
    let expired = make_link(&world, "joan").await;
    world.gate.advance_clock(HOUR * 73);
    let live = make_link(&world, "julian").await;
    let used = make_link(&world, "june").await;
    let token = registering(by_link(&world, &used, "june", GOOD, 1).await);
    let totp = begin(&world, &token).await;
    assert!(matches!(confirm(&world, &token, &code(&world, &totp)).await, Confirmed::In { .. }));
    let disabled = make_link(&world, "jack").await;
    let edit = Edit { standing: Some(Standing::Disabled), ..Edit::default() };
    world.gate.edit_person(&userid("jack"), edit, &Actor::Node).await.unwrap();
    let cases = [
        (&never, "julian", GOOD, Deny::LinkUnknown),
        (&taken_back, "jane", GOOD, Deny::LinkUnknown),
        (&expired, "joan", GOOD, Deny::LinkEnded),
        (&used, "june", GOOD, Deny::LinkEnded),
        (&disabled, "jack", GOOD, Deny::LinkEnded),
        (&live, "julian", "not the password", Deny::WrongPassword),
        (&live, "jane", GOOD, Deny::WrongPassword),
        (&live, "no body", GOOD, Deny::WrongPassword),
    ];
    for (token, name, password, reason) in cases {
        let before = world.gate.hashes.compared();
        let entered = by_link(&world, token, name, password, 7).await;
        assert!(matches!(entered, Entered::Refused), "{reason}: {entered:?}");
        assert_eq!(world.gate.hashes.compared() - before, 1, "{reason}: one hash, no more and no less");
        let entry = &world.entries(1)[0];
        assert_eq!((entry.reason, entry.door), (Some(reason), Door::Portal));
    }
    assert_eq!(person(&world, "julian").link.unwrap().wrong, 3, "K8: whatever of the two was wrong counts");
}

#[tokio::test]
async fn k8_five_wrong_passwords_take_a_link_back_and_go_through_the_attempt_gate() {
    let world = site();
    let julian = trader(&world, "julian", false).await;
    let link = make_link(&world, "julian").await;
    for n in 0..5u8 {
        let guess = format!("wrong guess number {n}");
        let entered = by_link(&world, &link, "julian", &guess, n + 1).await;
        assert!(matches!(entered, Entered::Refused));
        assert_eq!(world.gate.access(julian.id).wrong, u16::from(n) + 1, "S5");
    }
    assert!(matches!(person(&world, "julian").link.unwrap().state, LinkState::Revoked { .. }));
    assert!(matches!(by_link(&world, &link, "julian", GOOD, 9).await, Entered::Refused));
    let link = make_link(&world, "julian").await;
    for n in 0..5 {
        by_link(&world, &link, "julian", &format!("another wrong guess {n}"), 20).await;
    }
    let link = make_link(&world, "julian").await;
    let before = world.gate.hashes.compared();
    assert!(
        matches!(by_link(&world, &link, "julian", GOOD, 20).await, Entered::Refused),
        "S3: the source waits"
    );
    assert_eq!(world.gate.hashes.compared(), before, "and nothing is hashed");
}

#[tokio::test]
async fn s5_every_page_that_takes_a_password_goes_through_the_attempt_gate() {
    let world = site();
    let julian = trader(&world, "julian", false).await;
    let (_, token, _) = registered(&world, "julian").await;
    let jane = trader(&world, "jane", false).await;
    let link = make_link(&world, "jane").await;
    let wrong = |person: &Person| world.gate.access(person.id).wrong;
    let guess = || enveloped(&world, "a wrong guess of mine");
    world.gate.sign_in("julian", guess(), None, &browser(3)).await;
    assert_eq!(wrong(&julian), 1, "sign-in");
    let me = asker(&world, &token).await;
    world.gate.change_own_password(&me, guess(), enveloped(&world, OWN), false, &browser(3)).await;
    assert_eq!(wrong(&julian), 2, "change of the own password");
    world.gate.link_sign_in(link.secret().expose(), "jane", guess(), None, &browser(3)).await;
    assert_eq!(wrong(&jane), 1, "setup link");
}

#[tokio::test]
async fn k9_an_enrolment_is_confirmed_in_the_browser_session_that_began_it() {
    let world = site();
    trader(&world, "julian", false).await;
    let link = make_link(&world, "julian").await;
    let one = registering(by_link(&world, &link, "julian", GOOD, 1).await);
    let other = registering(by_link(&world, &link, "julian", GOOD, 1).await);
    let of_one = begin(&world, &one).await;
    let foreign = confirm(&world, &other, &code(&world, &of_one)).await;
    assert!(matches!(foreign, Confirmed::Over), "{foreign:?}");
    let of_other = begin(&world, &other).await;
    assert_ne!(code(&world, &of_one), code(&world, &of_other), "T11: another seed each time");
    let old = confirm(&world, &one, &code(&world, &of_one)).await;
    assert!(matches!(old, Confirmed::Over), "the earlier one is gone: {old:?}");
    let done = confirm(&world, &other, &code(&world, &of_other)).await;
    assert!(matches!(done, Confirmed::In { .. }), "{done:?}");
    let late = world.gate.begin_enrolment(&one, &browser(1)).await;
    assert!(matches!(late, Enrolling::Refused(Deny::AlreadyRegistered)), "T13: {late:?}");
}

#[tokio::test]
async fn k3_closing_the_page_half_way_loses_nothing_and_gives_nothing() {
    let world = site();
    trader(&world, "julian", false).await;
    let link = make_link(&world, "julian").await;
    let left = registering(by_link(&world, &link, "julian", GOOD, 1).await);
    let lost = begin(&world, &left).await;
    world.gate.sign_out(&left, &browser(1)).await;
    assert!(matches!(confirm(&world, &left, &code(&world, &lost)).await, Confirmed::Nowhere));
    let token = registering(by_link(&world, &link, "julian", GOOD, 1).await);
    let wrong = confirm(&world, &token, &code(&world, &lost)).await;
    assert!(matches!(wrong, Confirmed::Over), "the seed that was shown before is of no use: {wrong:?}");
    let totp = begin(&world, &token).await;
    assert!(matches!(confirm(&world, &token, &code(&world, &totp)).await, Confirmed::In { .. }));
}

#[tokio::test]
async fn t10_wrong_confirming_codes_end_an_enrolment() {
    let world = site();
    trader(&world, "julian", false).await;
    let link = make_link(&world, "julian").await;
    let token = registering(by_link(&world, &link, "julian", GOOD, 1).await);
    let totp = begin(&world, &token).await;
    for n in 1..5 {
        let wrong = confirm(&world, &token, "12345").await;
        assert!(matches!(wrong, Confirmed::CodeRefused(_)), "{n}: {wrong:?}");
    }
    assert!(matches!(confirm(&world, &token, "12345").await, Confirmed::Over));
    assert!(matches!(confirm(&world, &token, &code(&world, &totp)).await, Confirmed::Over));
    let totp = begin(&world, &token).await;
    assert!(matches!(confirm(&world, &token, &code(&world, &totp)).await, Confirmed::In { .. }), "anew");
}

#[tokio::test]
async fn registration_needs_a_link_where_mail_is_set_up_or_the_policy_says_so() {
    let world = site();
    trader(&world, "julian", false).await;
    let token = registering(by_name(&world, "julian", GOOD).await);
    let refused = world.gate.begin_enrolment(&token, &browser(1)).await;
    assert!(matches!(refused, Enrolling::Refused(Deny::LinkNeeded)), "{refused:?}");
    let policy = Policy { registration_needs_link: Some(false), ..Policy::default() };
    world.gate.set_venue_policy(&policy, Actor::Node).await.unwrap();
    let totp = begin(&world, &token).await;
    assert!(matches!(confirm(&world, &token, &code(&world, &totp)).await, Confirmed::In { .. }));
}

#[tokio::test]
async fn s8_a_disabled_person_loses_the_session_in_which_they_register() {
    let world = site();
    trader(&world, "julian", false).await;
    let link = make_link(&world, "julian").await;
    let token = registering(by_link(&world, &link, "julian", GOOD, 1).await);
    let totp = begin(&world, &token).await;
    let edit = Edit { standing: Some(Standing::Disabled), ..Edit::default() };
    world.gate.edit_person(&userid("julian"), edit, &Actor::Node).await.unwrap();
    let after = confirm(&world, &token, &code(&world, &totp)).await;
    assert!(matches!(after, Confirmed::Nowhere), "{after:?}");
}

#[tokio::test]
async fn s8_an_initial_password_set_anew_ends_the_session_that_would_change_it() {
    let world = site();
    trader(&world, "julian", true).await;
    let link = make_link(&world, "julian").await;
    let token = registering(by_link(&world, &link, "julian", GOOD, 1).await);
    world.gate.set_password(&userid("julian"), &NewPassword::Generated, Actor::Node).await.unwrap();
    let chosen = world.gate.choose_password(&token, &enveloped(&world, OWN), &browser(1)).await;
    assert!(matches!(chosen, Chosen::Nowhere), "{chosen:?}");
    assert!(matches!(person(&world, "julian").password, Password::Initial { .. }));
}

#[tokio::test]
async fn t16_a_recovery_code_signs_in_once_and_is_told_to_its_owner() {
    let world = site();
    trader(&world, "julian", false).await;
    let (_, _, codes) = registered(&world, "julian").await;
    let Entered::CodeDue(token) = by_name(&world, "julian", GOOD).await else { panic!() };
    let given = secret(&codes[3].to_lowercase());
    let wrong = world.gate.sign_in_recovery(&token, &secret("AAAAA-AAAAA"), &browser(1)).await;
    assert!(matches!(wrong, Entered::CodeRefused(CodeRefusal::Wrong)), "{wrong:?}");
    let entered = world.gate.sign_in_recovery(&token, &given, &browser(1)).await;
    let Entered::In { token, .. } = entered else { panic!("{entered:?}") };
    let asker = asker(&world, &token).await;
    assert!(!asker.factor_fresh, "T14: it is no one-time password");
    assert_eq!(world.gate.recovery_codes_left(asker.person).unwrap(), Some(9));
    let Entered::CodeDue(token) = by_name(&world, "julian", GOOD).await else { panic!() };
    let again = world.gate.sign_in_recovery(&token, &given, &browser(1)).await;
    assert!(matches!(again, Entered::CodeRefused(CodeRefusal::Wrong)), "once: {again:?}");
    assert_eq!(mailed(&world, MailKind::RecoveryCodes), ["julian@acme.example"]);
    let at_door = world.login("julian", GOOD, Some(&codes[4])).await;
    assert!(matches!(at_door, Verdict::CodeRefused(_)), "portal and console only: {at_door:?}");
}

#[tokio::test]
async fn t14_recovery_codes_anew_take_a_fresh_one_time_password() {
    let world = site();
    trader(&world, "julian", false).await;
    let (totp, token, codes) = registered(&world, "julian").await;
    world.gate.advance_clock(Duration::from_secs(301));
    // The session's own clock is the monotonic one, which does not move in a test: it is signed in by a recovery code.
    let Entered::CodeDue(due) = by_name(&world, "julian", GOOD).await else { panic!() };
    let entered = world.gate.sign_in_recovery(&due, &secret(&codes[0]), &browser(1)).await;
    let Entered::In { token: stale, .. } = entered else { panic!("{entered:?}") };
    let old = asker(&world, &stale).await;
    let refused = world.gate.make_recovery_codes(&old, &browser(1)).await;
    assert!(matches!(refused, RecoveryMade::Stale), "{refused:?}");
    let given = secret(&code(&world, &totp));
    let stepped = world.gate.step_up(&stale, &old, &given, &browser(1)).await;
    let SteppedUp::Proved(fresh) = stepped else { panic!("{stepped:?}") };
    assert_eq!(world.entries(1)[0].event, Event::FactorProved);
    assert!(matches!(world.gate.present(&stale, &browser(1), true).await.unwrap(), Present::Stranger), "S6");
    let fresh = asker(&world, &fresh).await;
    let made = world.gate.make_recovery_codes(&fresh, &browser(1)).await;
    let RecoveryMade::Codes(made) = made else { panic!("{made:?}") };
    assert_eq!(made.len(), 10);
    assert!(made.iter().all(|code| !codes.contains(code.expose())));
    assert_eq!(world.gate.recovery_codes_left(fresh.person).unwrap(), Some(10));
    drop(token);
}

#[tokio::test]
async fn p6_a_change_of_the_own_password_takes_the_old_one_ends_the_rest_and_tells_the_owner() {
    let world = site();
    trader(&world, "julian", false).await;
    let (totp, token, _) = registered(&world, "julian").await;
    let me = asker(&world, &token).await;
    world.gate.advance_clock(STEP);
    let elsewhere = origin(9);
    let ask = doorward_core::ask::Ask::Login {
        userid: "julian".to_owned(),
        password: world.encrypted(GOOD, Padding::OaepSha256).into(),
        code: Some(secret(&code(&world, &totp))),
    };
    assert!(matches!(world.gate.ask(ask, &elsewhere).await, Verdict::Granted(_)));
    let seats = world.gate.own_connections(me.person);
    assert_eq!(
        seats.iter().map(|(_, seat)| (seat.door, seat.source)).collect::<Vec<_>>(),
        [(Door::WebSocket, elsewhere.source)]
    );
    world.gate.advance_clock(STEP);
    let Entered::CodeDue(other) = by_name(&world, "julian", GOOD).await else { panic!() };
    let entered = world.gate.sign_in_code(&other, &secret(&code(&world, &totp)), &browser(2)).await;
    let Entered::In { token: other, .. } = entered else { panic!("{entered:?}") };
    let change = async |present: &str, end_others| {
        let (present, new) = (enveloped(&world, present), enveloped(&world, OWN));
        world.gate.change_own_password(&me, present, new, end_others, &browser(1)).await
    };
    assert_eq!(change("not the present one", true).await, PasswordChanged::Rule(Rule::PresentWrong));
    assert!(!elsewhere.connection.is_ended());
    assert_eq!(change(GOOD, true).await, PasswordChanged::Done(2));
    assert!(elsewhere.connection.is_ended(), "S9");
    assert!(matches!(world.gate.present(&other, &browser(2), true).await.unwrap(), Present::Stranger));
    asker(&world, &token).await;
    assert_eq!(mailed(&world, MailKind::PasswordChanged), ["julian@acme.example"]);
}

#[tokio::test]
async fn the_own_attempts_are_told_in_plain_words() {
    let world = site();
    trader(&world, "julian", false).await;
    let (totp, token, _) = registered(&world, "julian").await;
    let slow = totp.code(world.now() - Duration::from_secs(120)).to_string();
    assert!(matches!(world.login("julian", GOOD, Some(&slow)).await, Verdict::CodeRefused(_)));
    world.login("julian", "not the password", None).await;
    let me = asker(&world, &token).await.person;
    let page = world.gate.own_attempts(me, None, 2).unwrap();
    assert_eq!(page.items[0].words, "The password was wrong.");
    assert!(page.items[1].words.contains("about 120 s slow"), "{}", page.items[1].words);
    let failed = page.items[1].steps.iter().find(|step| step.state == StepState::Failed).unwrap();
    assert_eq!(failed.check, Check::CodeMatches);
    let rest = world.gate.own_attempts(me, page.before, 100).unwrap();
    assert!(rest.before.is_none() && rest.items.iter().all(|item| item.no < page.items[1].no));
    assert_eq!(world.gate.own_logins(me, 5).unwrap()[0].event, Event::AuthenticatorConfirmed);
}

#[tokio::test]
async fn s11_the_first_operator_is_made_by_the_claim_link_and_nobody_is_after() {
    let world = site();
    let gate = &world.gate;
    let link = gate.open_claim().await.unwrap().unwrap();
    let token = link.expose().strip_prefix("https://portal.example/claim#").unwrap().to_owned();
    assert!(token.len() >= 22, "K1: 128 bits at least");
    let visitor = Token::random().unwrap();
    let claim = async |token: &str, name: &str, email: &str, password: &str| {
        let password = enveloped(&world, password);
        gate.claim(&visitor, ClaimGiven { token, userid: name, email, password }, &browser(1)).await
    };
    assert!(matches!(claim("anything else", "dora", "", GOOD).await, Claimed::NoLink));
    assert_eq!(world.entries(1)[0].reason, Some(Deny::LinkUnknown));
    assert!(matches!(claim(&token, "dora", "", "too short").await, Claimed::Rule(Rule::TooShort)));
    assert!(matches!(claim(&token, "dora", "no address", GOOD).await, Claimed::Misuse(_)));
    assert!(matches!(claim(&token, "d ra", "", GOOD).await, Claimed::Misuse(_)));
    let claimed = claim(&token, "dora", "dora@desk.example", GOOD).await;
    let Claimed::Shown(seed) = claimed else { panic!("{claimed:?}") };
    let totp = Totp::parse(seed.uri.expose()).unwrap();
    let confirm =
        async |visitor: &Token, code: &str| gate.confirm_claim(visitor, &secret(code), &browser(1)).await;
    let foreign = confirm(&Token::random().unwrap(), &code(&world, &totp)).await;
    assert!(matches!(foreign, Confirmed::Nowhere), "K9: {foreign:?}");
    assert!(matches!(confirm(&visitor, "123").await, Confirmed::CodeRefused(CodeRefusal::Wrong)));
    assert!(gate.store.administrators(None).unwrap().is_empty(), "nothing is kept before the code");
    let confirmed = confirm(&visitor, &code(&world, &totp)).await;
    let Confirmed::In { token: session, kind: Kind::Desk, recovery } = confirmed else {
        panic!("{confirmed:?}")
    };
    assert_eq!(recovery.len(), 10);
    assert!(asker(&world, &session).await.factor_fresh);
    let dora = person(&world, "dora");
    assert!(dora.authenticator.is_registered() && matches!(dora.password, Password::Own { .. }));
    assert!(matches!(claim(&token, "mallory", "", GOOD).await, Claimed::NoLink), "once");
    assert!(gate.open_claim().await.unwrap().is_none());
    world.gate.advance_clock(STEP);
    let Entered::CodeDue(due) = by_name(&world, "dora", GOOD).await else { panic!() };
    let entered = gate.sign_in_code(&due, &secret(&code(&world, &totp)), &browser(1)).await;
    assert!(matches!(entered, Entered::In { kind: Kind::Desk, .. }), "{entered:?}");
}

#[tokio::test]
async fn s11_five_wrong_codes_and_a_restart_end_a_claim() {
    let world = site();
    let link = world.gate.open_claim().await.unwrap().unwrap();
    let token = link.expose().split_once('#').unwrap().1;
    let visitor = Token::random().unwrap();
    let claim = async |world: &World, token: &str| {
        let given = ClaimGiven { token, userid: "dora", email: "", password: enveloped(world, GOOD) };
        world.gate.claim(&visitor, given, &browser(1)).await
    };
    let Claimed::Shown(seed) = claim(&world, token).await else { panic!() };
    let totp = Totp::parse(seed.uri.expose()).unwrap();
    for _ in 1..5 {
        let wrong = world.gate.confirm_claim(&visitor, &secret("12345"), &browser(1)).await;
        assert!(matches!(wrong, Confirmed::CodeRefused(_)), "{wrong:?}");
    }
    let fifth = world.gate.confirm_claim(&visitor, &secret("12345"), &browser(1)).await;
    assert!(matches!(fifth, Confirmed::Over), "{fifth:?}");
    let good = world.gate.confirm_claim(&visitor, &secret(&code(&world, &totp)), &browser(1)).await;
    assert!(matches!(good, Confirmed::Nowhere), "{good:?}");
    assert!(matches!(claim(&world, token).await, Claimed::Shown(_)), "the link still works");
    let world = world.reopened(HashParams::tiny());
    assert!(matches!(claim(&world, token).await, Claimed::NoLink), "a new start has a new link");
}

#[tokio::test]
async fn s11_an_operator_is_recovered_at_the_machine_and_all_are_told() {
    let world = site();
    trader(&world, "julian", false).await;
    somebody(&world, "dora", Kind::Desk).await;
    somebody(&world, "dirk", Kind::Desk).await;
    let (_, session, _) = registered(&world, "dora").await;
    let gate = &world.gate;
    assert!(gate.recover_operator(&userid("julian"), "lost it all", Actor::Local { uid: 0 }).await.is_err());
    assert!(gate.recover_operator(&userid("dora"), "", Actor::Local { uid: 0 }).await.is_err());
    let recovered =
        gate.recover_operator(&userid("dora"), "phone and codes lost", Actor::Local { uid: 0 }).await;
    let recovered = recovered.unwrap();
    assert!(matches!(gate.present(&session, &browser(1), true).await.unwrap(), Present::Stranger), "S8");
    assert_eq!(mailed(&world, MailKind::OperatorRecovered), ["dirk@acme.example", "dora@acme.example"]);
    let token = recovered.link.expose().strip_prefix("https://portal.example/setup#").unwrap();
    let password = enveloped(&world, recovered.password.expose());
    let entered = gate.link_sign_in(token, "dora", password, None, &browser(1)).await;
    let token = registering(entered);
    let chosen = gate.choose_password(&token, &enveloped(&world, OWN), &browser(1)).await;
    let Chosen::Register(token) = chosen else { panic!("{chosen:?}") };
    let totp = begin(&world, &token).await;
    assert!(matches!(confirm(&world, &token, &code(&world, &totp)).await, Confirmed::In { .. }));
}

async fn tick_notices(world: &World, name: &str, notices: &[Notice]) {
    let gate = &world.gate;
    let snapshot = gate.store.load(&Load::UserId(userid(name))).unwrap();
    let id = snapshot.person.as_ref().unwrap().id;
    let context = gate.local_context();
    let entry = doorward_core::audit::Entry::new(&context, Event::NoticesChanged, Actor::Node);
    let changes = vec![Change::Notices { person: id, notices: notices.iter().copied().collect() }];
    let record = doorward_core::audit::Record { entry, changes };
    gate.commit(Batch { expects: expect_person(&snapshot), records: vec![record] }).await.unwrap();
}

#[tokio::test]
async fn q5_owner_and_administrators_are_mailed_in_the_record_of_what_happened() {
    let world = site();
    trader(&world, "julian", false).await;
    for name in ["anna", "arno", "abel"] {
        somebody(&world, name, Kind::Administrator).await;
    }
    tick_notices(&world, "anna", &[Notice::Registered, Notice::AuthenticatorReset]).await;
    tick_notices(&world, "arno", &[Notice::AuthenticatorReset]).await;
    tick_notices(&world, "abel", &[Notice::Registered]).await;
    let edit = Edit { standing: Some(Standing::Disabled), ..Edit::default() };
    world.gate.edit_person(&userid("abel"), edit, &Actor::Node).await.unwrap();
    registered(&world, "julian").await;
    world.gate.mail_queued().await;
    assert_eq!(mailed(&world, MailKind::Registered), ["julian@acme.example"]);
    assert_eq!(mailed(&world, MailKind::Notice), ["anna@acme.example"], "who ticked it, and is active");
    world.gate.revoke_authenticator(&userid("julian"), Actor::Node).await.unwrap();
    assert_eq!(mailed(&world, MailKind::AuthenticatorReset), ["julian@acme.example"]);
    assert_eq!(mailed(&world, MailKind::Notice).len(), 3);
    // A write that fails leaves neither the effect nor the mail.
    let before = mails(&world).len();
    world.disk_full(true);
    let edit = Edit { standing: Some(Standing::Disabled), ..Edit::default() };
    assert!(world.gate.edit_person(&userid("julian"), edit, &Actor::Node).await.is_err());
    world.disk_full(false);
    assert_eq!(mails(&world).len(), before);
}

#[tokio::test]
async fn without_a_mail_server_no_mail_is_queued() {
    let world = world_with(Settings::default());
    trader(&world, "julian", false).await;
    let token = registering(by_name(&world, "julian", GOOD).await);
    let totp = begin(&world, &token).await;
    assert!(matches!(confirm(&world, &token, &code(&world, &totp)).await, Confirmed::In { .. }));
    assert_eq!(mails(&world), []);
}

#[tokio::test]
async fn no_mail_holds_a_secret_in_clear() {
    let world = site();
    trader(&world, "jane", false).await;
    trader(&world, "julian", false).await;
    let link = make_link(&world, "julian").await;
    let token = registering(by_link(&world, &link, "julian", GOOD, 1).await);
    let totp = begin(&world, &token).await;
    let confirmed = confirm(&world, &token, &code(&world, &totp)).await;
    let Confirmed::In { recovery, .. } = confirmed else { panic!("{confirmed:?}") };
    let text = serde_json::to_string(&mails(&world)).unwrap();
    assert!(!text.contains(link.secret().expose().as_str()), "K1");
    assert!(recovery.iter().all(|code| !text.contains(code.expose().as_str())));
    let all = mails(&world);
    let mail = all.iter().find(|mail| mail.kind == MailKind::SetupLink).unwrap();
    assert!(matches!(world.gate.mail_link(mail).unwrap(), MailLink::Gone), "it was used");
    let link = make_link(&world, "jane").await;
    let mail = mails(&world).pop().unwrap();
    let opened = world.gate.mail_link(&mail).unwrap();
    assert!(matches!(opened, MailLink::Token(token) if token.expose() == link.secret().expose()));
}

#[tokio::test]
async fn l1_a_flood_of_notices_is_twenty_mails_and_one_that_counts_the_rest() {
    let world = site();
    trader(&world, "julian", false).await;
    somebody(&world, "anna", Kind::Administrator).await;
    tick_notices(&world, "anna", &[Notice::Unlocked]).await;
    for _ in 0..30 {
        world.gate.unlock(&userid("julian"), Actor::Node).await.unwrap();
    }
    assert_eq!(mailed(&world, MailKind::Notice).len(), 20);
    world.gate.tick().await;
    assert_eq!(mailed(&world, MailKind::Notice).len(), 20, "the hour is not over");
    world.gate.record_start(false).await;
    let last = mails(&world).pop().unwrap();
    assert_eq!(last.to, "anna@acme.example");
    assert!(last.values["detail"].starts_with("10 more"), "{:?}", last.values);
}

#[tokio::test]
async fn a_link_that_nobody_used_expires_once_over_restarts() {
    let world = site();
    trader(&world, "julian", false).await;
    make_link(&world, "julian").await;
    let expiries =
        |world: &World| world.entries(100).iter().filter(|e| e.event == Event::LinkExpired).count();
    world.gate.tick().await;
    assert_eq!(expiries(&world), 0);
    world.gate.advance_clock(HOUR * 73);
    world.gate.tick().await;
    world.gate.tick().await;
    assert_eq!(expiries(&world), 1);
    assert!(matches!(person(&world, "julian").link.unwrap().state, LinkState::Expired { .. }));
    let world = world.reopened(HashParams::tiny());
    world.gate.tick().await;
    assert_eq!(expiries(&world), 1);
}

#[tokio::test]
async fn p3_one_password_in_any_spelling_lets_in_at_every_door() {
    let world = site();
    let composed = "caf\u{e9} lumi\u{e8}re ferry 31";
    let spellings = [
        composed,
        "cafe\u{301} lumie\u{300}re ferry 31",
        "\u{ff43}\u{ff41}\u{ff46}\u{e9} lumi\u{e8}re ferry \u{ff13}\u{ff11}",
    ];
    for (at, set) in spellings.into_iter().enumerate() {
        let name = format!("julian{at}");
        let person = world.person(&name, AuthSystem::Password, false).await.id;
        let present = GivenPassword::Encrypted(world.encrypted(GOOD, Padding::OaepSha256));
        let new = GivenPassword::Encrypted(world.encrypted(set, Padding::OaepSha256));
        let changed = world.ask(1, Ask::PasswordChange { person, present, new }).await;
        assert!(matches!(changed, Verdict::PasswordChanged { .. }), "{changed:?}");
        for given in spellings {
            let websocket = world.login(&name, given, None).await;
            assert!(matches!(websocket, Verdict::Granted(_)), "{set} by {given}: {websocket:?}");
            let clear = GivenPassword::Clear(secret(given));
            let fix = world.ask(1, Ask::Login { userid: name.clone(), password: clear, code: None }).await;
            assert!(matches!(fix, Verdict::Granted(_)), "{set} by {given}: {fix:?}");
            let portal = by_name(&world, &name, given).await;
            assert!(matches!(portal, Entered::In { .. }), "{set} by {given}: {portal:?}");
        }
    }
}
