//! The emergency switch over a real store.

use std::sync::mpsc;

use doorward_core::ask::Verdict;
use doorward_core::audit::{Actor, Deny, Event};
use doorward_core::id::{FirmCode, SessionId};
use doorward_core::identity::halt::HaltScope;
use doorward_core::identity::policy::AuthSystem;

use super::fix::EndOf;
use super::key_tests::center;
use super::testing::{GOOD, origin, world};
use crate::hashing::HashParams;

const LOCAL: Actor = Actor::Local { uid: 0 };

#[tokio::test]
async fn a_thrown_switch_keeps_out_whom_it_covers_over_a_restart_until_it_is_taken_back() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    let firm = HaltScope::Firm(FirmCode::parse("ACME").unwrap());
    world.gate.throw_halt(firm.clone(), "an order loop", false, LOCAL).await.unwrap();
    assert!(matches!(world.login("julian", GOOD, None).await, Verdict::Refused));
    assert_eq!(world.entries(1)[0].reason, Some(Deny::Halted));
    let again = world.gate.throw_halt(firm.clone(), "an order loop", false, LOCAL).await;
    assert!(again.is_err(), "it is thrown already");
    let world = world.reopened(HashParams::tiny());
    assert_eq!(world.gate.halts().len(), 1);
    assert!(matches!(world.login("julian", GOOD, None).await, Verdict::Refused));
    world.gate.lift_halt(firm.clone(), "the loop is mended", LOCAL).await.unwrap();
    let entry = world.entries(1).remove(0);
    assert_eq!((entry.event, entry.firm.unwrap().as_str()), (Event::Resumed, "ACME"));
    assert!(matches!(world.login("julian", GOOD, None).await, Verdict::Granted(_)));
    assert!(world.gate.lift_halt(firm, "once more", LOCAL).await.is_err());
    let nobody = HaltScope::Firm(FirmCode::parse("NOBODY").unwrap());
    assert!(world.gate.throw_halt(nobody, "nobody there", false, LOCAL).await.is_err());
}

#[tokio::test]
async fn a_signed_logon_is_refused_as_long_as_its_session_is_covered() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let world = &center.world;
    let session = SessionId::parse(b"B08").unwrap();
    let scopes =
        [HaltScope::Venue, HaltScope::Firm(FirmCode::parse("ACME").unwrap()), HaltScope::Session(session)];
    for scope in scopes {
        world.gate.throw_halt(scope.clone(), "maintenance", false, LOCAL).await.unwrap();
        let judged = world.gate.judge_logon(&client.logon(world.now()), &origin(1));
        assert!(judged.verdict.is_err(), "{scope}");
        assert_eq!(judged.record.entry.reason, Some(Deny::Halted), "{scope}");
        world.gate.lift_halt(scope, "over", LOCAL).await.unwrap();
    }
    world.gate.advance_clock(std::time::Duration::from_secs(1));
    let judged = world.gate.judge_logon(&client.logon(world.now()), &origin(1));
    assert!(judged.verdict.is_ok(), "{:?}", judged.record.entry);
}

#[tokio::test]
async fn s8_an_end_to_all_reaches_every_door() {
    let world = world();
    world.person("julian", AuthSystem::Password, false).await;
    super::logon_tests::add_session(&world, "B08").await;
    let open = origin(3);
    let password = world.encrypted(GOOD, doorward_core::ask::Padding::OaepSha256);
    let password = doorward_core::ask::GivenPassword::Encrypted(password);
    let ask = doorward_core::ask::Ask::Login { userid: "julian".to_owned(), password, code: None };
    let Verdict::Granted(who) = world.gate.ask(ask, &open).await else { panic!("no login") };
    let (told, ended) = mpsc::channel();
    world.gate.on_end(Box::new(move |what| told.send(what).unwrap()));
    world.gate.throw_halt(HaltScope::Venue, "no new ones", false, LOCAL).await.unwrap();
    assert!(!open.connection.is_ended(), "a switch alone ends nothing");
    world.gate.throw_halt(HaltScope::Venue, "all out", true, LOCAL).await.unwrap();
    assert!(open.connection.is_ended());
    let ended: Vec<EndOf> = ended.try_iter().collect();
    assert!(ended.contains(&EndOf::Person(who.person)), "{ended:?}");
    assert!(ended.contains(&EndOf::Session(SessionId::parse(b"B08").unwrap())), "{ended:?}");
}

#[tokio::test]
async fn a_switch_whose_write_failed_is_as_the_book_has_it_a_second_later() {
    let world = world();
    world.disk_full(true);
    assert!(world.gate.throw_halt(HaltScope::Venue, "now", false, LOCAL).await.is_err());
    assert!(world.gate.halts().is_empty());
    world.disk_full(false);
    world.gate.tick().await;
    assert!(world.gate.halts().is_empty());
}
