//! Traders whom programs add and change, over real parts (rules 10 to 12).

use doorward_core::ask::{
    Acting, Ask, Declined, Encrypted, GivenPassword, NewSecret, NewTrader, Padding, StepDone, TraderChange,
    TraderDetails, Verdict, VerifyLogin,
};
use doorward_core::audit::{Actor, Deny, Event, Outcome};
use doorward_core::id::{FirmCode, PersonId};
use doorward_core::identity::decide::person::Edit;
use doorward_core::identity::mail::{Mail, MailKind};
use doorward_core::identity::person::{Grant, Kind, Password, Profile, Right, Standing};
use doorward_core::identity::policy::{AuthSystem, Policy};

use super::acting_tests::{ALL, BACK_END, known, lock, program, registered, userid};
use super::admin::{NewPassword, NewPerson};
use super::rule_tests::encrypted_bytes;
use super::testing::{GOOD, World, behind_a_long_step, secret, world, world_with};
use super::{Seat, Settings};
use crate::book::MailFilter;

const NEW: &str = "quite another long password";

fn clear(text: &str) -> GivenPassword {
    GivenPassword::Clear(secret(text))
}

fn adding(asker: Acting, name: &str, details: TraderDetails) -> NewTrader {
    NewTrader { asker, userid: name.to_owned(), firm: None, password: clear(GOOD), sent_as: "pass", details }
}

async fn add(world: &World, new: NewTrader) -> Verdict {
    world.ask(BACK_END, Ask::AddTrader(Box::new(new))).await
}

fn changing(asker: Acting, name: &str, password: Option<NewSecret>, details: TraderDetails) -> TraderChange {
    TraderChange { asker, userid: name.to_owned(), firm: None, password, details }
}

async fn change(world: &World, wanted: TraderChange) -> Verdict {
    world.ask(BACK_END, Ask::ChangeTrader(Box::new(wanted))).await
}

fn nothing() -> TraderDetails {
    TraderDetails::default()
}

fn seed() -> TraderDetails {
    TraderDetails { otp: Some(true), ..nothing() }
}

fn done(verdict: Verdict) -> StepDone {
    match verdict {
        Verdict::StepDone(done) => *done,
        other => panic!("{other:?}"),
    }
}

fn denied(field: Option<&'static str>) -> Verdict {
    Verdict::Declined(Declined::NotPermitted { field })
}

fn reset(text: &str) -> Option<NewSecret> {
    Some(NewSecret::Reset(clear(text)))
}

async fn verify(world: &World, asker: Acting, name: &str, code: &str) -> Verdict {
    let code = Some(secret(code));
    let (userid, password) = (name.to_owned(), clear(GOOD));
    let asked = VerifyLogin { asker, userid, password, code, wants_token: false, source: None };
    world.ask(BACK_END, Ask::Verify(Box::new(asked))).await
}

async fn somebody(world: &World, name: &str, kind: Kind, firm: Option<&str>) -> PersonId {
    let firm = firm.map(|code| FirmCode::parse(code).unwrap());
    if let Some(code) = firm.as_ref().filter(|code| world.gate.firm(code).is_err()) {
        world.gate.add_firm(code.clone(), "Another Firm", Actor::Node).await.unwrap();
    }
    let rights = Right::ADMINISTRATOR.iter().copied().collect();
    let grant = (kind == Kind::Administrator).then(|| Grant { rights, ..Grant::default() });
    let new = NewPerson {
        userid: userid(name),
        kind,
        firm,
        auth_system: None,
        password: NewPassword::Clear(secret(GOOD)),
        initial: false,
        profile: Profile { grant, ..Profile::default() },
    };
    world.gate.add_person(new, Actor::Node).await.unwrap().0.id
}

/// Whoever did the newest thing, and to whom.
fn newest(world: &World) -> (Event, Option<PersonId>, Option<String>) {
    let entry = world.entries(1).remove(0);
    (entry.event, entry.actor.person(), entry.subject.map(|subject| subject.userid.to_string()))
}

#[tokio::test]
async fn rule_10_a_trader_whom_a_program_adds_must_change_the_password_first() {
    let world = world();
    let program = program(&world, "shop", &[Right::Add]).await;
    let attr = serde_json::json!({"branch": 7}).as_object().cloned();
    let details = TraderDetails { roles: Some("XXSSS".to_owned()), attr: attr.clone(), ..nothing() };
    let head = world.gate.describe().unwrap().head_no;
    assert_eq!(done(add(&world, adding(program, "Andrea", details)).await), StepDone::default());
    assert_eq!(world.gate.describe().unwrap().head_no - head, 1, "Q4: one record");
    assert_eq!(newest(&world), (Event::PersonAdded, Some(program.person), Some("andrea".to_owned())));
    let andrea = known(&world, "andrea");
    assert_eq!((andrea.kind, andrea.firm.unwrap().as_str()), (Kind::Trader, "ACME"));
    assert_eq!((andrea.profile.roles.as_deref(), andrea.profile.attr), (Some("XXSSS"), attr));
    assert!(matches!(andrea.password, Password::Initial { by: Some(by), .. } if by == program.person), "P11");
    let Verdict::Granted(granted) = world.login("andrea", GOOD, None).await else { panic!() };
    assert!(granted.must_change);
    let again = add(&world, adding(program, "ANDREA", nothing())).await;
    assert_eq!(again, Verdict::Declined(Declined::UserExists));
    assert_eq!(newest(&world), (Event::StepRefused, Some(program.person), None), "Q4: who looks is seen");
    let firm = |code: &str| NewTrader { firm: Some(code.to_owned()), ..adding(program, "bert", nothing()) };
    somebody(&world, "olaf", Kind::Trader, Some("OTHER")).await;
    for code in ["OTHER", "NONE"] {
        assert_eq!(add(&world, firm(code)).await, Verdict::Declined(Declined::UnknownFirm), "{code}");
        assert_eq!(newest(&world).0, Event::StepRefused);
    }
    done(add(&world, firm("acme")).await);
    let weak = NewTrader { password: clear("short"), ..adding(program, "carl", nothing()) };
    assert_eq!(add(&world, weak).await, Verdict::PasswordIssue { reason: "too-short" });
    assert!(world.gate.person(&userid("carl")).is_err());
}

#[tokio::test]
async fn rule_10_of_two_who_add_the_same_trader_at_once_one_does() {
    let world = world();
    let program = program(&world, "shop", &[Right::Add]).await;
    let (one, other) = tokio::join!(
        add(&world, adding(program, "andrea", nothing())),
        add(&world, adding(program, "andrea", nothing()))
    );
    let added = [&one, &other].into_iter().filter(|verdict| matches!(verdict, Verdict::StepDone(_))).count();
    assert_eq!(added, 1, "{one:?} {other:?}");
    assert!([one, other].contains(&Verdict::Declined(Declined::UserExists)));
    let entries = world.entries(2);
    let refused = entries.iter().find(|entry| entry.reason == Some(Deny::UserIdTaken)).unwrap();
    assert_eq!((refused.event, refused.actor.person()), (Event::StepRefused, Some(program.person)), "Q4");
}

#[tokio::test]
async fn rule_11_what_the_desk_demands_meanwhile_holds_for_a_step_on_a_second_factor() {
    let world = world();
    let program = program(&world, "shop", &ALL).await;
    let id = world.person("julian", AuthSystem::Otp, false).await.id;
    let underway = world.gate.person_lock(id).await;
    let off = TraderDetails { otp: Some(false), ..nothing() };
    let mut switched = Box::pin(change(&world, changing(program, "julian", None, off)));
    tokio::select! {
        biased;
        verdict = &mut switched => panic!("{verdict:?} beside another step"),
        () = std::future::ready(()) => {}
    }
    let demanded = Policy { otp_demanded: Some(true), ..Policy::default() };
    world.gate.set_venue_policy(&demanded, Actor::Node).await.unwrap();
    drop(underway);
    assert_eq!(switched.await, denied(Some("use2fa")));
    assert_eq!(known(&world, "julian").auth_system, AuthSystem::Otp);
}

#[tokio::test]
async fn rule_10_the_desk_administrators_and_programs_are_not_touched() {
    let world = world();
    let program = program(&world, "shop", &ALL).await;
    somebody(&world, "olga", Kind::Desk, None).await;
    somebody(&world, "anna", Kind::Administrator, Some("ACME")).await;
    somebody(&world, "robot", Kind::Service, Some("ACME")).await;
    somebody(&world, "olaf", Kind::Trader, Some("OTHER")).await;
    let unknown = Verdict::Declined(Declined::UnknownUser);
    for (name, verdict, named) in [
        ("olga", &unknown, false),
        ("olaf", &unknown, false),
        ("nobody", &unknown, false),
        ("shop", &unknown, false),
        ("anna", &denied(None), true),
        ("robot", &denied(None), true),
    ] {
        let before = world.gate.person(&userid(name)).ok();
        for (password, details) in [
            (None, TraderDetails { roles: Some("X".to_owned()), ..nothing() }),
            (None, seed()),
            (reset(NEW), nothing()),
            (Some(NewSecret::Changed { present: clear(GOOD), new: clear(NEW) }), nothing()),
        ] {
            let hashed = world.gate.hashes.compared();
            assert_eq!(change(&world, changing(program, name, password, details)).await, *verdict, "{name}");
            assert_eq!(world.gate.hashes.compared(), hashed, "{name}: nothing is compared");
            let (event, actor, subject) = newest(&world);
            assert_eq!((event, actor), (Event::StepRefused, Some(program.person)), "{name}");
            assert_eq!(subject.is_some(), named, "Q1: {name}");
        }
        assert_eq!(world.gate.person(&userid(name)).ok(), before, "{name}");
        let seen = Ask::Person { asker: program, userid: Some(name.to_owned()) };
        if name != "shop" {
            assert_eq!(world.ask(BACK_END, seen).await, *verdict, "{name}");
        }
    }
}

#[tokio::test]
async fn rule_10_rights_firms_and_addresses_are_looked_up_each_time() {
    let world = world();
    let program = program(&world, "shop", &ALL).await;
    world.person("julian", AuthSystem::Password, false).await;
    let wanted = || {
        let details = TraderDetails { reason: Some("as asked".to_owned()), ..nothing() };
        changing(program, "julian", None, details)
    };
    done(change(&world, wanted()).await);
    let granted = known(&world, "shop").profile.grant.unwrap();
    let set = async |grant: Option<Grant>, standing: Standing| {
        let profile = Profile { grant, ..Profile::default() };
        let edit = Edit { profile: Some(profile), standing: Some(standing), ..Edit::default() };
        world.gate.edit_person(&userid("shop"), edit, &Actor::Node).await.unwrap();
    };
    let cases = [
        (
            Some(Grant { rights: [Right::Verify].into(), ..granted.clone() }),
            Standing::Active,
            Deny::RightMissing,
        ),
        (Some(Grant { sources: Vec::new(), ..granted.clone() }), Standing::Active, Deny::SourceNotPermitted),
        (None, Standing::Active, Deny::SourceNotPermitted),
        (Some(granted.clone()), Standing::Disabled, Deny::Disabled),
    ];
    for (grant, standing, reason) in cases {
        set(grant, standing).await;
        assert_eq!(change(&world, wanted()).await, denied(None), "{reason}");
        assert_eq!(world.entries(1)[0].reason, Some(reason));
        assert_eq!(world.entries(1)[0].outcome, Outcome::Refused);
    }
    set(Some(Grant { firms: std::collections::BTreeSet::new(), ..granted.clone() }), Standing::Active).await;
    assert_eq!(change(&world, wanted()).await, Verdict::Declined(Declined::UnknownUser));
    set(Some(granted), Standing::Active).await;
    done(change(&world, wanted()).await);
}

#[tokio::test]
async fn rule_10_an_administrator_serves_traders_of_the_own_firm_and_resets_no_password_here() {
    let world = world();
    let person = somebody(&world, "anna", Kind::Administrator, Some("ACME")).await;
    somebody(&world, "olaf", Kind::Trader, Some("OTHER")).await;
    let stale = Acting { person, factor_at: None };
    let fresh = Acting { person, factor_at: Some(world.now()) };
    done(add(&world, adding(stale, "andrea", nothing())).await);
    assert_eq!(add(&world, adding(stale, "bert", seed())).await, denied(Some("use2fa")), "T14");
    assert_eq!(world.entries(1)[0].reason, Some(Deny::FactorStale));
    assert_eq!(add(&world, adding(fresh, "bert", seed())).await, denied(Some("use2fa")));
    assert_eq!(world.entries(1)[0].reason, Some(Deny::LinkNotShown), "as a setup link");
    let shown = Policy { show_setup_link: Some(true), ..Policy::default() };
    let acme = FirmCode::parse("ACME").unwrap();
    world.gate.set_firm_policy(&acme, &shown, Actor::Node).await.unwrap();
    done(add(&world, adding(fresh, "bert", seed())).await);
    assert_eq!(
        change(&world, changing(fresh, "bert", reset(NEW), nothing())).await,
        denied(Some("resetpass"))
    );
    let rate = TraderDetails { broker_comm_rate: Some("0.1".to_owned()), ..nothing() };
    assert_eq!(change(&world, changing(fresh, "bert", None, rate)).await, denied(Some("broker_comm_rate")));
    let unknown = Verdict::Declined(Declined::UnknownUser);
    assert_eq!(change(&world, changing(fresh, "olaf", None, nothing())).await, unknown, "Q1");
    let elsewhere = NewTrader { firm: Some("OTHER".to_owned()), ..adding(fresh, "carl", nothing()) };
    assert_eq!(add(&world, elsewhere).await, Verdict::Declined(Declined::UnknownFirm));
    let denied = denied(None);
    let code = secret("000000");
    let asked = VerifyLogin {
        asker: fresh,
        userid: "andrea".to_owned(),
        password: clear(GOOD),
        code: Some(code),
        wants_token: false,
        source: None,
    };
    assert_eq!(world.ask(1, Ask::Verify(Box::new(asked))).await, denied, "rule 9: a superuser only");
}

#[tokio::test]
async fn rule_11_a_seed_waits_for_its_first_code_and_another_voids_it() {
    let world = world();
    let program = program(&world, "shop", &[Right::Verify, Right::Add, Right::Change]).await;
    let lasting = self::program(&world, "desk", &ALL).await;
    let details = TraderDetails { initial: Some(false), ..seed() };
    let shown = done(add(&world, adding(lasting, "andrea", details)).await).seed.unwrap();
    assert!(shown.uri.expose().starts_with("otpauth://totp/"), "{}", shown.uri.expose());
    let first = doorward_client::totp::Totp::parse(shown.base32.expose()).unwrap();
    assert_eq!(known(&world, "andrea").authenticator.state(), "pending");
    assert!(matches!(world.login("andrea", GOOD, None).await, Verdict::CodeNeeded(_)), "rule 6");
    let again = done(change(&world, changing(program, "andrea", None, seed())).await).seed.unwrap();
    assert_ne!(again, shown);
    let second = doorward_client::totp::Totp::parse(again.base32.expose()).unwrap();
    let old = verify(&world, program, "andrea", &first.code(world.now()).to_string()).await;
    assert_eq!(old, Verdict::Declined(Declined::InvalidToken), "void");
    let code = second.code(world.now()).to_string();
    let Verdict::Verified(told) = verify(&world, program, "andrea", &code).await else { panic!() };
    assert_eq!((told.level, told.must_register), (1, false));
    assert_eq!(newest(&world).0, Event::AuthenticatorConfirmed);
    assert_eq!(known(&world, "andrea").authenticator.state(), "active");
    let used = verify(&world, program, "andrea", &code).await;
    assert_eq!(used, Verdict::Declined(Declined::InvalidToken), "T7: used up");
    // To replace it now is a reset.
    assert_eq!(change(&world, changing(program, "andrea", None, seed())).await, denied(Some("use2fa")));
    done(change(&world, changing(lasting, "andrea", None, seed())).await);
    let events: Vec<Event> = world.entries(2).into_iter().map(|entry| entry.event).collect();
    assert_eq!(events, [Event::AuthenticatorIssued, Event::AuthenticatorRevoked]);
    assert_eq!(known(&world, "andrea").authenticator.state(), "pending");
}

/// A seat for somebody, as if they were logged in, and whether it was ended.
fn logged_in(world: &World, id: PersonId) -> std::sync::Arc<super::Connection> {
    let origin = super::testing::origin(9);
    let seat = Seat { door: origin.door, source: origin.source, since: world.now(), token: None };
    world.gate.live.enter(id, FirmCode::parse("ACME").ok(), &origin.connection, true, seat);
    origin.connection
}

#[tokio::test]
async fn s8_what_takes_a_proof_away_ends_what_is_open_and_the_rest_does_not() {
    let world = world();
    let program = program(&world, "shop", &ALL).await;
    let rate = TraderDetails { broker_comm_rate: Some("0.1".to_owned()), ..nothing() };
    let off = TraderDetails { otp: Some(false), ..nothing() };
    let changed = || Some(NewSecret::Changed { present: clear(GOOD), new: clear(NEW) });
    let cases = [
        ("rate", None, rate, false),
        ("seed", None, seed(), false),
        ("reset", reset(NEW), nothing(), true),
        ("changed", changed(), nothing(), true),
        ("off", None, off, true),
    ];
    for (name, password, details, ends) in cases {
        let system = if name == "off" { AuthSystem::Otp } else { AuthSystem::Password };
        let person = world.person(name, system, false).await;
        let connection = logged_in(&world, person.id);
        done(change(&world, changing(program, name, password, details)).await);
        assert_eq!(connection.is_ended(), ends, "{name}");
    }
}

#[tokio::test]
async fn s2_the_present_password_of_a_customer_is_counted_before_it_is_hashed() {
    let world = world();
    let program = program(&world, "shop", &[Right::Change]).await;
    let id = world.person("julian", AuthSystem::Password, false).await.id;
    let hashed = world.gate.hashes.compared();
    let guesses = (0..50).map(|n| {
        let present = clear(&format!("guess number {n} of many"));
        let wanted =
            changing(program, "julian", Some(NewSecret::Changed { present, new: clear(NEW) }), nothing());
        let gate = world.gate.clone();
        let origin = super::testing::origin(BACK_END);
        tokio::spawn(async move { gate.ask(Ask::ChangeTrader(Box::new(wanted)), &origin).await })
    });
    for guess in guesses.collect::<Vec<_>>() {
        assert_eq!(guess.await.unwrap(), Verdict::PasswordIssue { reason: "present-password" });
    }
    assert_eq!((world.gate.hashes.compared() - hashed, world.gate.access(id).wrong), (5, 5));
    let right = Some(NewSecret::Changed { present: clear(GOOD), new: clear(NEW) });
    let verdict = change(&world, changing(program, "julian", right, nothing())).await;
    assert_eq!(verdict, Verdict::PasswordIssue { reason: "present-password" }, "the right one waits, too");
    assert_eq!(world.entries(1)[0].reason, Some(Deny::BackedOff));
}

#[tokio::test]
async fn e3_the_right_password_of_somebody_who_may_not_come_in_costs_what_a_wrong_one_costs() {
    let world = world();
    let program = program(&world, "shop", &ALL).await;
    for name in ["julian", "mary"] {
        world.person(name, AuthSystem::Password, name == "mary").await;
    }
    registered(&world, "lena").await;
    lock(&world, "lena").await;
    let edit = Edit { standing: Some(Standing::Disabled), ..Edit::default() };
    world.gate.edit_person(&userid("julian"), edit, &Actor::Node).await.unwrap();
    let expired = std::time::Duration::from_secs(73 * 3_600);
    world.clock.advance(expired);
    world.gate.clock_moved();
    for (name, reason) in
        [("julian", Deny::Disabled), ("mary", Deny::PasswordExpired), ("lena", Deny::Locked)]
    {
        for (present, reason) in [("not the password of his", Deny::WrongPassword), (GOOD, reason)] {
            let both = Some(NewSecret::Changed { present: clear(present), new: clear(NEW) });
            let (compared, hashed) = (world.gate.hashes.compared(), world.gate.hashes.hashed());
            let verdict = change(&world, changing(program, name, both, nothing())).await;
            assert_eq!(verdict, Verdict::PasswordIssue { reason: "present-password" }, "{name}");
            assert_eq!(world.entries(1)[0].reason, Some(reason), "{name}");
            assert_eq!(world.gate.hashes.compared() - compared, 1, "{name}: {reason}");
            assert_eq!(world.gate.hashes.hashed() - hashed, 0, "{name}: {reason}: nothing is hashed anew");
        }
    }
}

#[tokio::test]
async fn e3_a_new_password_tells_nothing_of_a_ciphertext_that_does_not_open() {
    let world = world();
    let program = program(&world, "shop", &ALL).await;
    world.person("julian", AuthSystem::Password, false).await;
    let broken = |ciphertext: Vec<u8>| Encrypted { ciphertext, ..encrypted_bytes(&world, b"x") };
    // A ciphertext counts once: another one for each way.
    let cases: [(&str, &dyn Fn(u8) -> Encrypted); 5] = [
        ("padding", &|n| broken(vec![n; 256])),
        ("short", &|n| broken(vec![n; 255])),
        ("out of range", &|n| broken(vec![0xff - n; 256])),
        ("not UTF-8", &|_| encrypted_bytes(&world, b"broken \xff utf-8")),
        ("too long", &|_| encrypted_bytes(&world, &[b'a'; 200])),
    ];
    let before = known(&world, "julian");
    for (what, made) in cases {
        let hashes = || (world.gate.hashes.compared(), world.gate.hashes.hashed());
        let costs = hashes();
        let refused = |verdict: Verdict| {
            assert_eq!(verdict, Verdict::PasswordIssue { reason: "too-long" }, "{what}");
            assert_eq!(hashes(), costs, "{what}");
            assert_eq!(
                world.entries(1)[0].reason,
                Some(Deny::BadCiphertext),
                "{what}: the trail has the truth"
            );
        };
        let sent = GivenPassword::from(made(7));
        refused(change(&world, changing(program, "julian", Some(NewSecret::Reset(sent)), nothing())).await);
        let new = NewTrader { password: made(8).into(), ..adding(program, "andrea", nothing()) };
        refused(add(&world, new).await);
        assert!(world.gate.person(&userid("andrea")).is_err(), "{what}");
    }
    assert_eq!(known(&world, "julian"), before);
    // E4: a ciphertext counts once.
    let sent = world.encrypted(NEW, Padding::OaepSha256);
    let wanted = || changing(program, "julian", Some(NewSecret::Reset(sent.clone().into())), nothing());
    done(change(&world, wanted()).await);
    assert_eq!(change(&world, wanted()).await, Verdict::Declined(Declined::Invalid { field: "newpass" }));
    assert_eq!(world.entries(1)[0].reason, Some(Deny::ReplayedCiphertext));
    for sent_as in ["pass", "newpass"] {
        let new = adding(program, "andrea", nothing());
        let again = NewTrader { password: sent.clone().into(), sent_as, ..new };
        assert_eq!(add(&world, again).await, Verdict::Declined(Declined::Invalid { field: sent_as }));
        assert_eq!(world.entries(1)[0].reason, Some(Deny::ReplayedCiphertext));
    }
}

#[tokio::test]
async fn e4_a_step_is_not_done_any_more_when_its_asker_was_told_that_nothing_was() {
    let world = world();
    let program = program(&world, "shop", &ALL).await;
    let id = world.person("julian", AuthSystem::Password, false).await.id;
    let before = known(&world, "julian");
    let (present, new) =
        (world.encrypted(GOOD, Padding::OaepSha256), world.encrypted(NEW, Padding::OaepSha256));
    let wanted = || {
        let both = NewSecret::Changed { present: present.clone().into(), new: new.clone().into() };
        changing(program, "julian", Some(both), nothing())
    };
    let verdict = behind_a_long_step(&world, id, change(&world, wanted())).await;
    assert!(matches!(verdict, Verdict::Busy { .. }));
    assert_eq!((known(&world, "julian"), world.gate.access(id).wrong), (before, 0));
    done(change(&world, wanted()).await);
}

fn mails(world: &World) -> Vec<Mail> {
    let mut all = world.gate.store.mails(&MailFilter::default(), None, 1_000).unwrap();
    all.reverse();
    all.into_iter().map(|queued| queued.mail).collect()
}

#[tokio::test]
async fn p6_q2_owners_are_mailed_and_the_program_is_named_as_who_did_it() {
    let world = world_with(Settings { mail: true, ..Settings::default() });
    let program = program(&world, "shop", &ALL).await;
    let owner = world.person("julian", AuthSystem::Password, false).await.id;
    let address = "julian@acme.example";
    let profile = Profile { email: Some(address.to_owned()), ..Profile::default() };
    let edit = Edit { profile: Some(profile), ..Edit::default() };
    world.gate.edit_person(&userid("julian"), edit, &Actor::Node).await.unwrap();
    let mut known = mails(&world).len();
    let mut news = || {
        let all = mails(&world);
        let news = all[known..].to_vec();
        known = all.len();
        news
    };
    let reason = |text: &str| TraderDetails { reason: Some(text.to_owned()), ..nothing() };
    let changed = Some(NewSecret::Changed { present: clear(GOOD), new: clear(NEW) });
    done(change(&world, changing(program, "julian", changed, nothing())).await);
    let changed = news();
    done(change(&world, changing(program, "julian", reset(GOOD), reason("by telephone"))).await);
    let set = news();
    let lasting = TraderDetails { initial: Some(false), ..nothing() };
    done(change(&world, changing(program, "julian", reset(GOOD), lasting)).await);
    let lasting = news();
    let shown = done(change(&world, changing(program, "julian", None, seed())).await).seed.unwrap();
    let system = news();
    let totp = doorward_client::totp::Totp::parse(shown.base32.expose()).unwrap();
    let code = totp.code(world.now()).to_string();
    assert!(matches!(verify(&world, program, "julian", &code).await, Verdict::Verified(_)));
    let registered = news();
    let off = TraderDetails { otp: Some(false), ..reason("lost it") };
    done(change(&world, changing(program, "julian", None, off)).await);
    let taken = news();
    for (mails, kind, why) in [
        (changed, MailKind::PasswordChanged, None),
        (set, MailKind::PasswordSet, Some("by telephone")),
        (lasting, MailKind::PasswordSet, None),
        (system, MailKind::AuthSystemChanged, None),
        (registered, MailKind::Registered, None),
        (taken, MailKind::AuthSystemChanged, Some("authentication system: lost it")),
    ] {
        let [mail] = &mails[..] else { panic!("{kind}: {mails:?}") };
        assert_eq!((mail.kind, mail.to.as_str(), mail.about), (kind, address, Some(owner)), "{kind}");
        assert_eq!(mail.userid.as_ref().unwrap().as_str(), "julian", "{kind}: not the program");
        assert_eq!(mail.values["by"], "shop", "{kind}");
        assert_eq!(mail.values.get("reason").map(String::as_str), why, "{kind}");
    }
}
