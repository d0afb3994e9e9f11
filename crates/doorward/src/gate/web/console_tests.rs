//! Steps at the console, over the real store and vault.

use std::collections::BTreeSet;
use std::sync::mpsc;

use doorward_client::totp::Totp;
use doorward_core::ask::Verdict;
use doorward_core::audit::{Actor, Deny, Event};
use doorward_core::id::{FirmCode, PersonId};
use doorward_core::identity::decide::serve::Act;
use doorward_core::identity::decide::{MisuseKind, Reason};
use doorward_core::identity::halt::HaltScope;
use doorward_core::identity::link::{Handed, LinkState};
use doorward_core::identity::mail::MailKind;
use doorward_core::identity::notice::Notice;
use doorward_core::identity::person::{Grant, Kind, Profile, Right, Standing};
use doorward_core::identity::policy::{AuthSystem, Policy};

use super::events::{EventQuery, Start};
use super::flow_tests::{
    asker, browser, code, enveloped, mailed, person, registered, site, somebody, trader, userid,
};
use super::people::{Flag, PeopleQuery};
use super::sign_in::SteppedUp;
use super::steps::{FirstPassword, NewAdministrator, NewTrader};
use super::{Asker, Entered, Token, Unserved};
use crate::gate::fix::EndOf;
use crate::gate::testing::{GOOD, TEST_MAX, World, secret};
use doorward_core::identity::decide::person::Edit;
use std::time::Duration;

const STEP: Duration = Duration::from_secs(30);

fn why() -> Reason {
    Reason::parse("asked for by telephone").unwrap()
}

fn acme() -> FirmCode {
    FirmCode::parse("ACME").unwrap()
}

/// A world with a firm ACME, its trader julian and its administrator anna, who is signed in with a fresh code.
struct Console {
    world: World,
    totp: Totp,
    token: Token,
    anna: Asker,
    julian: PersonId,
}

/// Gives an administrator all rights but some.
async fn give(world: &World, name: &str, without: &[Right]) {
    let rights = Right::ADMINISTRATOR.iter().copied().filter(|right| !without.contains(right)).collect();
    let grant = Some(Grant { rights, ..Grant::default() });
    let profile = Profile { grant, ..person(world, name).profile };
    let edit = Edit { profile: Some(profile), ..Edit::default() };
    world.gate.edit_person(&userid(name), edit, &Actor::Node).await.unwrap();
}

/// Registers somebody and steps up, so that they have a fresh code.
async fn signed_in(world: &World, name: &str) -> (Totp, Token, Asker) {
    let (totp, _, _) = registered(world, name).await;
    world.gate.advance_clock(STEP);
    let (token, asker) = sign_in(world, &totp, name).await;
    (totp, token, asker)
}

async fn sign_in(world: &World, totp: &Totp, name: &str) -> (Token, Asker) {
    let gate = &world.gate;
    let entered = gate.sign_in(name, enveloped(world, GOOD), None, &browser(1)).await;
    let Entered::CodeDue(token) = entered else { panic!("{entered:?}") };
    let entered = gate.sign_in_code(&token, &secret(&code(world, totp)), &browser(1)).await;
    let Entered::In { token, .. } = entered else { panic!("{entered:?}") };
    let asker = asker(world, &token).await;
    (token, asker)
}

async fn console() -> Console {
    let world = site();
    let julian = trader(&world, "julian", true).await.id;
    somebody(&world, "anna", Kind::Administrator).await;
    give(&world, "anna", &[]).await;
    let (totp, token, anna) = signed_in(&world, "anna").await;
    assert!(anna.factor_fresh);
    Console { world, totp, token, anna, julian }
}

impl Console {
    /// The asker as they are now.
    async fn again(&self) -> Asker {
        asker(&self.world, &self.token).await
    }
}

/// One step by its name.
async fn step(world: &World, name: &str, by: &Asker, id: PersonId) -> Result<(), Unserved> {
    let (gate, web, why) = (&world.gate, browser(1), why());
    match name {
        "see" => gate.person_page(by, id, &web).await.map(drop),
        "change-email" => gate.change_email(by, id, Some("new@acme.example".to_owned()), &web).await,
        "send-link" => gate.send_link(by, id, &web).await,
        "show-link" => gate.show_link(by, id, &why, &web).await.map(drop),
        "revoke-link" => gate.revoke_link(by, id, &web).await,
        "reset-authenticator" => gate.reset_authenticator(by, id, &why, None, &web).await.map(drop),
        "reset-all" => gate.reset_all(by, id, FirstPassword::Generated, &why, None, &web).await.map(drop),
        "unlock" => gate.unlock_person(by, id, &why, &web).await,
        "disable" => gate.leave(by, id, &why, &web).await,
        "enable" => gate.enable(by, id, &why, &web).await,
        "raise-auth-system" => gate.change_auth_system(by, id, AuthSystem::Otp, None, &web).await,
        "lower-auth-system" => gate.change_auth_system(by, id, AuthSystem::Password, Some(&why), &web).await,
        "set-rights" => gate.set_rights(by, id, [Right::ViewPeople].into(), &why, &web).await,
        "set-notices" => gate.set_notices(by, id, [Notice::Locked].into(), &web).await,
        other => panic!("no step {other}"),
    }
}

/// All steps on somebody.
fn steps() -> impl Iterator<Item = Act> {
    // Whom `add` is about is not there yet; `edit` has no page of its own.
    Act::ALL.iter().copied().filter(|act| !matches!(act, Act::Add | Act::Edit))
}

#[tokio::test]
async fn q1_to_an_administrator_another_firms_people_are_not_there_whatever_is_asked() {
    let console = console().await;
    let world = &console.world;
    let other = FirmCode::parse("OTHER").unwrap();
    world.gate.add_firm(other.clone(), "Other", Actor::Node).await.unwrap();
    let foreign = crate::gate::admin::NewPerson {
        userid: userid("eve"),
        kind: Kind::Administrator,
        firm: Some(other.clone()),
        auth_system: Some(AuthSystem::Otp),
        password: crate::gate::admin::NewPassword::Clear(secret(GOOD)),
        initial: true,
        profile: Profile { email: Some("eve@other.example".to_owned()), ..Profile::default() },
    };
    let foreign = world.gate.add_person(foreign, Actor::Node).await.unwrap().0;
    let operator = somebody(world, "olga", Kind::Desk).await;
    let nobody = PersonId::from_random(0x1234_5678);
    for act in steps() {
        for id in [foreign.id, operator.id, nobody] {
            let result = step(world, act.id(), &console.anna, id).await;
            assert!(matches!(result, Err(Unserved::NotFound)), "{act}: {result:?}");
            let entry = &world.entries(1)[0];
            assert_eq!((entry.event, entry.reason), (Event::StepRefused, Some(Deny::RightMissing)), "{act}");
            assert_eq!(
                (&entry.subject, &entry.firm),
                (&None, &Some(acme())),
                "{act}: it says nothing of them"
            );
        }
    }
    assert_eq!(person(world, "eve"), foreign);
    let gate = &world.gate;
    let query = PeopleQuery { firm: Some(other.clone()), ..PeopleQuery::default() };
    assert!(matches!(gate.people_page(&console.anna, &query, None, 50), Err(Unserved::NotFound)));
    let bulk = gate.send_to_all_unregistered(&console.anna, &query, None, &browser(1)).await;
    assert!(matches!(bulk, Err(Unserved::NotFound)), "{bulk:?}");
    for query in [
        EventQuery { firm: Some(other.clone()), ..EventQuery::default() },
        EventQuery { person: Some(foreign.id), ..EventQuery::default() },
        EventQuery { person: Some(nobody), ..EventQuery::default() },
    ] {
        let events = gate.events(&console.anna, &query, Start::Newest, 10);
        assert!(matches!(events, Err(Unserved::NotFound)), "{events:?}");
    }
    let of_other =
        gate.audit(&crate::book::AuditFilter { firm: Some(other.clone()), ..Default::default() }, None, 9);
    for (no, _) in of_other.unwrap() {
        assert!(matches!(gate.event(&console.anna, no), Err(Unserved::NotFound)));
    }
    let rights: BTreeSet<Right> = [Right::ViewPeople].into();
    for firm in [Some(other.clone()), None] {
        let new = NewAdministrator {
            userid: userid("mallory"),
            email: None,
            firm,
            rights: rights.clone(),
            password: FirstPassword::Generated,
        };
        let added = gate.add_administrator(&console.anna, new, &browser(1)).await;
        assert!(matches!(added, Err(Unserved::NotFound)), "{added:?}");
    }
}

#[tokio::test]
async fn q1_what_is_the_desks_is_not_there_for_administrators() {
    let console = console().await;
    let (gate, anna, web, why) = (&console.world.gate, &console.anna, browser(1), why());
    let policy = Policy::default();
    let results = [
        gate.desk_firms(anna).map(drop),
        gate.desk_firm(anna, &acme()).map(drop),
        gate.desk_policy(anna, Some(&acme())).map(drop),
        gate.desk_policy(anna, None).map(drop),
        gate.desk_halts(anna).map(drop),
        gate.desk_add_firm(anna, FirmCode::parse("NEW").unwrap(), "New", &web).await,
        gate.desk_set_policy(anna, Some(&acme()), &policy, &why, &web).await,
        gate.desk_set_policy(anna, None, &policy, &why, &web).await,
        gate.desk_set_closed(anna, &acme(), true, &why, &web).await,
        gate.desk_throw(anna, HaltScope::Venue, true, &why, &web).await,
        gate.desk_lift(anna, HaltScope::Venue, &why, &web).await,
    ];
    for (at, result) in results.iter().enumerate() {
        assert!(matches!(result, Err(Unserved::NotFound)), "{at}: {result:?}");
    }
    assert!(gate.halts().is_empty() && !gate.firm(&acme()).unwrap().closed);
}

#[tokio::test]
async fn q2_dangerous_steps_take_a_fresh_code_and_nobody_does_them_to_themselves() {
    let console = console().await;
    let world = &console.world;
    for act in steps().filter(|act| !act.on_oneself()) {
        let result = step(world, act.id(), &console.anna, console.anna.person).await;
        assert!(matches!(result, Err(Unserved::Oneself)), "{act}: {result:?}");
    }
    // The session's own clock is the monotonic one, which does not move in a test.
    let mut stale = console.again().await;
    stale.factor_at = Some(world.now() - Duration::from_secs(301));
    let before = person(world, "julian");
    for act in steps().filter(|act| act.is_dangerous() && *act != Act::SetRights) {
        let result = step(world, act.id(), &stale, console.julian).await;
        assert!(matches!(result, Err(Unserved::Stale)), "{act}: {result:?}");
        assert_eq!(world.entries(1)[0].reason, Some(Deny::FactorStale), "{act}");
    }
    assert_eq!(person(world, "julian"), before);
    world.gate.advance_clock(STEP);
    let given = secret(&code(world, &console.totp));
    let stepped = world.gate.step_up(&console.token, &stale, &given, &browser(1)).await;
    let SteppedUp::Proved(token) = stepped else { panic!("{stepped:?}") };
    let fresh = asker(world, &token).await;
    world.gate.unlock_person(&fresh, console.julian, &why(), &browser(1)).await.unwrap();
    assert_eq!(world.entries(1)[0].detail.as_deref(), Some("asked for by telephone"));
}

#[tokio::test]
async fn each_step_takes_its_right() {
    let console = console().await;
    let world = &console.world;
    for right in [Right::ViewPeople, Right::EditPeople, Right::ResetAuthenticator, Right::EditNotices] {
        give(world, "anna", &[right]).await;
        let anna = console.again().await;
        for act in steps().filter(|act| act.right() == right) {
            let result = step(world, act.id(), &anna, console.julian).await;
            assert!(matches!(result, Err(Unserved::Right(missing)) if missing == right), "{act}: {result:?}");
        }
    }
    give(world, "anna", &[Right::ViewAudit, Right::ViewPeople]).await;
    let anna = console.again().await;
    let events = world.gate.events(&anna, &EventQuery::default(), Start::Newest, 10);
    assert!(matches!(events, Err(Unserved::Right(Right::ViewAudit))));
    let people = world.gate.people_page(&anna, &PeopleQuery::default(), None, 10);
    assert!(matches!(people, Err(Unserved::Right(Right::ViewPeople))));
}

#[tokio::test]
async fn a_trader_is_added_and_mailed_a_link_and_the_password_is_shown_once_to_its_maker() {
    let console = console().await;
    let (gate, anna) = (&console.world.gate, &console.anna);
    let new = NewTrader {
        userid: userid("kim"),
        email: Some("kim@acme.example".to_owned()),
        auth_system: AuthSystem::Otp,
        password: FirstPassword::Generated,
    };
    let added = gate.add_trader(anna, new, &browser(1)).await.unwrap();
    let entry = console.world.entries(1).remove(0);
    assert_eq!(
        (entry.event, entry.firm, entry.factor.id()),
        (Event::PersonAdded, Some(acme()), "password-and-code")
    );
    let page = gate.person_page(anna, added.person, &browser(1)).await.unwrap();
    assert!(page.password.by_asker && page.may(Act::Disable) && page.no_mail.is_none(), "{page:?}");
    assert_eq!(page.row.flags, [Flag::NotRegistered, Flag::NeverSignedIn, Flag::InitialPassword]);
    assert_eq!(page.no_show.as_deref(), Some("The desk has not switched it on for this firm."));
    gate.send_link(anna, added.person, &browser(1)).await.unwrap();
    assert_eq!(mailed(&console.world, MailKind::SetupLink).last().unwrap(), "kim@acme.example");
    let row =
        &gate.people_page(anna, &PeopleQuery { text: Some("kim".to_owned()), ..Default::default() }, None, 9);
    let link = row.as_ref().unwrap().people[0].link.clone().unwrap();
    assert!(link.is_live && link.by == Some(userid("anna")), "{link:?}");
    let password = added.password.unwrap();
    let verdict = console.world.login("kim", password.expose(), None).await;
    assert!(matches!(verdict, Verdict::RegistrationNeeded { .. }), "{verdict:?}");
    let again = NewTrader {
        userid: userid("kim"),
        email: None,
        auth_system: AuthSystem::Otp,
        password: FirstPassword::Typed(enveloped(&console.world, GOOD)),
    };
    match gate.add_trader(anna, again, &browser(1)).await {
        Err(Unserved::Misuse(misuse)) => {
            assert_eq!((misuse.kind, misuse.field), (MisuseKind::Conflict, "userid"));
        }
        other => panic!("{other:?}"),
    }
}

/// Lets administrators of ACME see links, and splits the handover where asked for.
async fn show_links(world: &World, split: bool) {
    let present = world.gate.firm_policy(&acme()).unwrap().0;
    let policy = Policy { show_setup_link: Some(true), split_handover: Some(split), ..present };
    world.gate.set_firm_policy(&acme(), &policy, Actor::Node).await.unwrap();
}

#[tokio::test]
async fn k6_a_link_is_shown_where_the_desk_lets_it_and_written_down_with_its_viewer() {
    let console = console().await;
    let (gate, anna, world) = (&console.world.gate, &console.anna, &console.world);
    let refused = gate.show_link(anna, console.julian, &why(), &browser(1)).await;
    assert!(matches!(refused, Err(Unserved::Refused(Deny::LinkNotShown))), "{refused:?}");
    show_links(world, false).await;
    let shown = gate.show_link(anna, console.julian, &why(), &browser(1)).await.unwrap();
    assert!(shown.url.expose().starts_with("https://portal.example/setup#"), "{shown:?}");
    let entry = world.entries(1).remove(0);
    assert_eq!((entry.event, entry.actor.person()), (Event::LinkMade, Some(anna.person)));
    let detail = entry.detail.unwrap();
    assert!(detail.starts_with("shown") && detail.ends_with("asked for by telephone"), "{detail}");
    let token = shown.url.expose().split('#').nth(1).unwrap().to_owned();
    assert!(!format!("{:?}", world.entries(50)).contains(&token), "the token is in no record");
    // Who made the password does not see the link, once the handover is split.
    show_links(world, true).await;
    let reset = gate
        .reset_all(anna, console.julian, FirstPassword::Generated, &why(), Some(Handed::Shown), &browser(1))
        .await;
    assert!(matches!(reset, Err(Unserved::Refused(Deny::LinkNotShown))), "{reset:?}");
    assert!(person(world, "julian").link.unwrap().state == LinkState::Live, "nothing was reset");
    let mailed = Some(Handed::Mailed);
    let reset =
        gate.reset_all(anna, console.julian, FirstPassword::Generated, &why(), mailed, &browser(1)).await;
    let reset = reset.unwrap();
    assert!(reset.password.is_some() && reset.link.is_none());
    let shown = gate.show_link(anna, console.julian, &why(), &browser(1)).await;
    assert!(matches!(shown, Err(Unserved::Refused(Deny::LinkNotShown))), "{shown:?}");
}

#[tokio::test]
async fn k7_bulk_mails_who_has_to_register_once_and_says_who_was_left_out() {
    let console = console().await;
    let (gate, world) = (&console.world.gate, &console.world);
    trader(world, "kim", true).await;
    trader(world, "lea", true).await;
    world.person("mute", AuthSystem::Otp, true).await;
    world.person("plain", AuthSystem::Password, true).await;
    gate.leave(&console.anna, person(world, "lea").id, &why(), &browser(1)).await.unwrap();
    let query = PeopleQuery::default();
    let bulk =
        gate.send_to_all_unregistered(&console.again().await, &query, None, &browser(1)).await.unwrap();
    assert_eq!((bulk.sent, &bulk.next), (2, &None), "{bulk:?}");
    let skipped: Vec<String> = bulk.skipped.iter().map(|(id, why)| format!("{id}: {why}")).collect();
    assert_eq!(skipped, ["lea: disabled", "mute: no mail address"], "plain needs no authenticator");
    let bulk =
        gate.send_to_all_unregistered(&console.again().await, &query, None, &browser(1)).await.unwrap();
    assert_eq!((bulk.sent, bulk.skipped.len()), (0, 4), "a second click mails nobody twice");
    for _ in 0..4 {
        gate.send_link(&console.anna, console.julian, &browser(1)).await.unwrap();
    }
    let sixth = gate.send_link(&console.anna, console.julian, &browser(1)).await;
    assert!(matches!(sixth, Err(Unserved::Refused(Deny::LinksUsedUp))), "{sixth:?}");
}

#[tokio::test]
async fn t15_a_reset_ends_sessions_takes_the_link_along_and_tells_the_owner() {
    let console = console().await;
    let (gate, world) = (&console.world.gate, &console.world);
    trader(world, "kim", false).await;
    let (_, token, _) = registered(world, "kim").await;
    let kim = person(world, "kim").id;
    let mailed_before = mailed(world, MailKind::SetupLink).len();
    gate.reset_authenticator(&console.anna, kim, &why(), Some(Handed::Mailed), &browser(1)).await.unwrap();
    assert!(!person(world, "kim").authenticator.is_registered());
    assert_eq!(person(world, "kim").link.unwrap().state, LinkState::Live);
    assert_eq!(mailed(world, MailKind::SetupLink).len(), mailed_before + 1);
    assert_eq!(mailed(world, MailKind::AuthenticatorReset), ["kim@acme.example"]);
    let present = gate.present(&token, &browser(1), true).await.unwrap();
    assert!(matches!(present, super::Present::Stranger), "{present:?}");
}

#[tokio::test]
async fn the_last_who_can_serve_others_stays() {
    let console = console().await;
    let (gate, world) = (&console.world.gate, &console.world);
    somebody(world, "olga", Kind::Desk).await;
    let (_, _, olga) = signed_in(world, "olga").await;
    let anna = console.anna.person;
    for result in [
        gate.leave(&olga, anna, &why(), &browser(1)).await,
        gate.set_rights(&olga, anna, [Right::ViewPeople].into(), &why(), &browser(1)).await,
    ] {
        let Err(Unserved::Misuse(misuse)) = result else { panic!("{result:?}") };
        assert_eq!(misuse.kind, MisuseKind::Conflict);
    }
    somebody(world, "bert", Kind::Administrator).await;
    give(world, "bert", &[]).await;
    // Both at once: one stays.
    let (bert, web) = (person(world, "bert").id, browser(1));
    let reason = why();
    let (one, two) =
        tokio::join!(gate.leave(&olga, anna, &reason, &web), gate.leave(&olga, bert, &reason, &web));
    assert_eq!([one.is_ok(), two.is_ok()].iter().filter(|ok| **ok).count(), 1, "{one:?} {two:?}");
    // To the desk a trader is not there, and the administrator's own firm has the record.
    let result = step(world, "unlock", &olga, console.julian).await;
    assert!(matches!(result, Err(Unserved::NotFound)), "{result:?}");
    let disabled = world.entries(20).into_iter().find(|entry| entry.event == Event::PersonDisabled).unwrap();
    assert_eq!((disabled.firm, disabled.actor.person()), (Some(acme()), Some(olga.person)));
}

#[tokio::test]
async fn s8_what_the_desk_does_to_a_firm_ends_what_is_open_at_once() {
    let console = console().await;
    let (gate, world) = (&console.world.gate, &console.world);
    somebody(world, "olga", Kind::Desk).await;
    let (_, desk_token, olga) = signed_in(world, "olga").await;
    world.person("plain", AuthSystem::Password, false).await;
    let open = crate::gate::testing::origin(7);
    let password = world.encrypted(GOOD, doorward_core::ask::Padding::OaepSha256);
    let password = doorward_core::ask::GivenPassword::Encrypted(password);
    let ask = doorward_core::ask::Ask::Login { userid: "plain".to_owned(), password, code: None };
    assert!(matches!(gate.ask(ask, &open).await, Verdict::Granted(_)));
    let (told, ended) = mpsc::channel();
    gate.on_end(Box::new(move |what| told.send(what).unwrap()));
    gate.desk_throw(&olga, HaltScope::Firm(acme()), true, &why(), &browser(1)).await.unwrap();
    tokio::time::timeout(TEST_MAX, open.connection.ended()).await.unwrap();
    let ended: Vec<EndOf> = ended.try_iter().collect();
    assert!(ended.contains(&EndOf::Firm(acme())), "{ended:?}");
    assert!(matches!(
        console.world.gate.present(&console.token, &browser(1), true).await.unwrap(),
        super::Present::Stranger
    ));
    assert!(matches!(
        gate.present(&desk_token, &browser(1), true).await.unwrap(),
        super::Present::SignedIn(_)
    ));
    assert!(matches!(world.login("plain", GOOD, None).await, Verdict::Refused));
    assert_eq!(world.entries(1)[0].reason, Some(Deny::Halted));
    gate.desk_lift(&olga, HaltScope::Firm(acme()), &why(), &browser(1)).await.unwrap();
    assert!(matches!(world.login("plain", GOOD, None).await, Verdict::Granted(_)));
    gate.desk_set_closed(&olga, &acme(), true, &why(), &browser(1)).await.unwrap();
    assert!(matches!(world.login("plain", GOOD, None).await, Verdict::Refused));
    let view = gate.desk_firm(&olga, &acme()).unwrap();
    assert!(view.firm.closed && view.halt.is_none());
}

#[tokio::test]
async fn the_desk_sets_policies_with_a_reason_and_never_over_anothers() {
    let console = console().await;
    let (gate, world) = (&console.world.gate, &console.world);
    somebody(world, "olga", Kind::Desk).await;
    let (_, _, olga) = signed_in(world, "olga").await;
    let present = gate.desk_policy(&olga, Some(&acme())).unwrap();
    let policy = Policy { setup_link_min: Some(60), otp_demanded: Some(true), ..present.given };
    gate.desk_set_policy(&olga, Some(&acme()), &policy, &why(), &browser(1)).await.unwrap();
    let entry = world.entries(1).remove(0);
    assert_eq!((entry.event, entry.firm), (Event::PolicySet, Some(acme())));
    assert!(entry.detail.unwrap().ends_with(": asked for by telephone"));
    let after = gate.desk_policy(&olga, Some(&acme())).unwrap();
    assert!(after.in_force.otp_demanded && after.in_force.setup_link_min == 60 && !after.above.otp_demanded);
    let late = gate.desk_set_policy(&olga, Some(&acme()), &policy, &why(), &browser(1)).await;
    assert!(matches!(late, Err(Unserved::Misuse(_))), "{late:?}");
}

#[tokio::test]
async fn events_are_walked_both_ways_and_newer_ones_are_told() {
    let console = console().await;
    let (gate, world) = (&console.world.gate, &console.world);
    for _ in 0..5 {
        gate.unlock_person(&console.anna, console.julian, &why(), &browser(1)).await.unwrap();
    }
    let query = EventQuery { event: Some(Event::AuthenticatorUnlocked), ..EventQuery::default() };
    let query = if gate.events(&console.anna, &query, Start::Newest, 9).unwrap().items.is_empty() {
        EventQuery { event: Some(Event::AttemptsForgotten), ..EventQuery::default() }
    } else {
        query
    };
    let page = |start, limit| gate.events(&console.anna, &query, start, limit).unwrap();
    let all: Vec<u64> = page(Start::Newest, 9).items.iter().map(|item| item.no).collect();
    assert_eq!(all.len(), 5);
    let first = page(Start::Newest, 2);
    let second = page(Start::Before(first.older.unwrap()), 2);
    let third = page(Start::Before(second.older.unwrap()), 2);
    assert_eq!((third.items.len(), third.older), (1, None));
    let back = page(Start::After(second.newer), 2);
    assert_eq!(back.items, first.items, "back to where we came from");
    let live = page(Start::Newest, 9);
    assert!(page(Start::After(live.newer), 9).items.is_empty());
    gate.unlock_person(&console.anna, console.julian, &why(), &browser(1)).await.unwrap();
    let news = page(Start::After(live.newer), 9);
    assert_eq!(news.items.len(), 1);
    assert!(page(Start::After(news.newer), 9).items.is_empty(), "told once");
    world.login("julian", "a wrong one it is", None).await;
    let attempts = EventQuery { person: Some(console.julian), attempts: true, ..EventQuery::default() };
    let attempts = gate.events(&console.anna, &attempts, Start::Newest, 9).unwrap();
    assert_eq!(attempts.items.len(), 1);
    assert_eq!(attempts.items[0].words, "The password was wrong.");
    assert_eq!(gate.event(&console.anna, attempts.items[0].no).unwrap(), attempts.items[0]);
}

#[tokio::test]
async fn leaving_and_coming_back_and_another_address() {
    let console = console().await;
    let (gate, world, anna) = (&console.world.gate, &console.world, &console.anna);
    gate.send_link(anna, console.julian, &browser(1)).await.unwrap();
    assert_eq!(mailed(world, MailKind::EmailChanged), ["julian@acme.example"], "the first address is told");
    gate.change_email(anna, console.julian, Some("j@acme.example".to_owned()), &browser(1)).await.unwrap();
    let told = ["j@acme.example", "julian@acme.example", "julian@acme.example"];
    assert_eq!(mailed(world, MailKind::EmailChanged), told, "old and new are told");
    assert!(matches!(person(world, "julian").link.unwrap().state, LinkState::Revoked { .. }));
    gate.leave(anna, console.julian, &why(), &browser(1)).await.unwrap();
    assert_eq!(person(world, "julian").standing, Standing::Disabled);
    let page = gate.person_page(anna, console.julian, &browser(1)).await.unwrap();
    assert_eq!(page.no_mail.as_deref(), Some("The account is disabled."));
    gate.enable(anna, console.julian, &why(), &browser(1)).await.unwrap();
    assert_eq!(person(world, "julian").standing, Standing::Active);
    gate.change_auth_system(anna, console.julian, AuthSystem::Password, Some(&why()), &browser(1))
        .await
        .unwrap();
    let page = gate.person_page(anna, console.julian, &browser(1)).await.unwrap();
    assert_eq!(page.no_mail.as_deref(), Some("The account uses a password alone."));
}
