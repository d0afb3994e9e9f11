//! Signed Logons over a real store and the soft vault.

use std::sync::mpsc;

use aws_lc_rs::hmac;
use doorward_core::ask::{Judged, LogonRefusal, SignedLogon};
use doorward_core::audit::{Actor, Deny, Door, Event, Outcome, Record};
use doorward_core::fix::session::Note;
use doorward_core::id::{AccessKeyId, CompId, CompStem, FirmCode, OperatorId, SessionId};
use doorward_core::identity::decide::fix_session::{Edit, New};
use doorward_core::identity::fix_session::SessionKind;
use doorward_core::identity::key_pair::Environment;
use doorward_core::identity::net::Network;
use doorward_core::identity::person::Standing;
use doorward_core::stream::{Epoch, Gateway, LeftBehind, Numbers};
use doorward_core::time::Wall;
use doorward_core::trace::Check;
use std::time::Duration;

use super::fix::{EndOf, LogonSave};
use super::key_tests::{Center, center};
use super::testing::{TEST_MAX, World, origin};
use super::{Origin, Settings};
use crate::hashing::HashParams;

/// A key pair as a client has it.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) comp: &'static str,
    pub(super) key: AccessKeyId,
    pub(super) secret: Vec<u8>,
}

impl Client {
    /// A Logon that is right in all.
    pub(super) fn logon(&self, at: Wall) -> SignedLogon {
        let canonical = format!("1\n{}\n{}", self.comp, at.as_us()).into_bytes();
        let mut logon = SignedLogon {
            sender_comp_id: self.comp.into(),
            operator_id: b"0J4L".to_vec(),
            gateway: Gateway::Cgw,
            access_key_id: self.key.as_bytes().to_vec(),
            canonical,
            signature: None,
            sending_time: Some(at),
            seq_num: 1,
            received: at,
            flaw: None,
            in_session: None,
        };
        self.sign(&mut logon);
        logon
    }

    fn sign(&self, logon: &mut SignedLogon) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        logon.signature = hmac::sign(&key, &logon.canonical).as_ref().try_into().ok();
    }
}

fn from(source: u8) -> Origin {
    Origin { door: Door::Fix, ..origin(source) }
}

impl World {
    fn judge(&self, logon: &SignedLogon) -> Judged {
        self.gate.judge_logon(logon, &from(1))
    }

    /// Judges and saves; the refusal, or `None` where it was accepted.
    fn log_on(&self, logon: &SignedLogon) -> Option<LogonRefusal> {
        let judged = self.judge(logon);
        self.save(vec![LogonSave { record: judged.record, numbers: None }]).unwrap();
        judged.verdict.err()
    }

    fn save(&self, saves: Vec<LogonSave>) -> Result<(), crate::fault::Fault> {
        let (told, hear) = mpsc::channel();
        self.gate.save_logons(saves, move |answer| told.send(answer).unwrap());
        hear.recv_timeout(TEST_MAX).unwrap()
    }

    fn session(&self, id: &str) -> super::session_admin::SessionNow {
        self.gate.fix_session(SessionId::parse(id.as_bytes()).unwrap()).unwrap()
    }
}

fn reason(record: &Record) -> Deny {
    record.entry.reason.unwrap()
}

pub(super) async fn add_session(world: &World, id: &str) -> SessionId {
    add_session_for(world, id, Environment::Test).await
}

pub(super) async fn add_session_for(world: &World, id: &str, environment: Environment) -> SessionId {
    let session = SessionId::parse(id.as_bytes()).unwrap();
    let new = New {
        id: session,
        kind: SessionKind::Order,
        environment,
        sender_comp_ids: [CompStem::parse(format!("{id}004").as_bytes()).unwrap()].into(),
        operator_ids: [OperatorId::parse(b"0J4L").unwrap()].into(),
        sources: Vec::new(),
    };
    let firm = FirmCode::parse("ACME").unwrap();
    world.gate.add_fix_session(&firm, new, Actor::Local { uid: 0 }).await.unwrap();
    session
}

#[tokio::test]
async fn a_good_logon_is_one_record_with_the_use_of_its_key_and_both_numbers() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let world = &center.world;
    let judged = world.judge(&client.logon(world.now()));
    let grant = judged.verdict.unwrap();
    assert_eq!((grant.stream.to_string(), grant.access_key), ("cgw/B08/004".to_owned(), client.key));
    let numbers = Numbers { next_in: 2, ..Numbers::new(Epoch { week: 7, reset: 0 }) };
    let (before, stream) = (world.gate.describe().unwrap().head_no, grant.stream);
    world.save(vec![LogonSave { record: judged.record, numbers: Some((stream, numbers)) }]).unwrap();
    assert_eq!(world.gate.describe().unwrap().head_no, before + 1);
    let entry = &world.entries(1)[0];
    assert_eq!((entry.event, entry.outcome, entry.door), (Event::LogonGranted, Outcome::Allowed, Door::Fix));
    assert_eq!((entry.session.unwrap().to_string(), entry.factor.id()), ("B08".to_owned(), "signature"));
    assert_eq!(world.session("B08").usage.keys[&client.key].source.to_string(), "127.0.0.1");
    assert_eq!(world.gate.streams().unwrap(), [(stream, numbers)]);
}

#[tokio::test]
async fn f3_whatever_fails_first_one_hmac_is_computed_and_one_refusal_heard() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let other = center.client("C09", "C09004N").await;
    type Change = fn(&mut SignedLogon);
    let cases: Vec<(Deny, Client, Change)> = vec![
        (Deny::RepeatedTag, client.clone(), |logon| {
            logon.flaw = Some((Check::LogonWellFormed, Deny::RepeatedTag));
        }),
        (Deny::UnknownCompId, client.clone(), |logon| logon.sender_comp_id = b"ZZZ004N".to_vec()),
        (Deny::UnknownCompId, client.clone(), |logon| logon.sender_comp_id = b"B08005N".to_vec()),
        (Deny::UnknownCompId, client.clone(), |logon| logon.sender_comp_id = vec![0xff; 2000]),
        (Deny::WrongIndicator, center.client("G13", "G13004U").await, |_| {}),
        (Deny::UnknownAccessKey, client.clone(), |logon| {
            logon.access_key_id = b"oNDxM33uE81ohWuVRtWT".to_vec();
        }),
        (Deny::UnknownAccessKey, client.clone(), |logon| logon.access_key_id = Vec::new()),
        (Deny::UnknownAccessKey, Client { comp: "B08004N", ..other.clone() }, |_| {}),
        (Deny::OperatorNotPermitted, other.clone(), |logon| logon.operator_id = b"NOBODY".to_vec()),
        (Deny::SendingTimeStale, other.clone(), |logon| {
            logon.received = logon.received + Duration::from_millis(5_001);
        }),
        (Deny::SendingTimeAhead, other.clone(), |logon| {
            logon.received = logon.received - Duration::from_millis(1_001);
        }),
        (Deny::SendingTimeAhead, center.client("D10", "D10004N").await, |logon| logon.sending_time = None),
        (Deny::SignatureDiffers, center.client("E11", "E11004N").await, |logon| logon.canonical.push(b'x')),
        (Deny::SignatureDiffers, center.client("F12", "F12004N").await, |logon| logon.signature = None),
    ];
    let world = &center.world;
    for (expected, client, change) in cases {
        let mut logon = client.logon(world.now());
        change(&mut logon);
        let before = world.macs();
        let judged = world.judge(&logon);
        assert_eq!(world.macs() - before, 1, "{expected}: one HMAC, no more and no less");
        assert_eq!((reason(&judged.record), judged.verdict), (expected, Err(LogonRefusal::Refused)));
        world.save(vec![LogonSave { record: judged.record, numbers: None }]).unwrap();
        let entry = &world.entries(1)[0];
        assert_eq!((entry.event, entry.reason), (Event::LogonRefused, Some(expected)));
    }
}

#[tokio::test]
async fn f5_a_replayed_logon_is_refused_and_f9_one_from_before_this_process_too() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let world = &center.world;
    let logon = client.logon(world.now());
    assert_eq!(world.log_on(&logon), None);
    let replayed = world.judge(&logon);
    assert_eq!(
        (reason(&replayed.record), replayed.verdict),
        (Deny::ReplayedLogon, Err(LogonRefusal::Refused))
    );
    assert_eq!(world.log_on(&client.logon(world.now())), None, "another one is good");

    let before = client.logon(world.now());
    world.gate.listens_now();
    let mut earlier = client.logon(before.sending_time.unwrap() - Duration::from_secs(1));
    earlier.received = world.now();
    let judged = world.judge(&earlier);
    assert_eq!(reason(&judged.record), Deny::BeforeListening);
}

#[tokio::test]
async fn f5_a_clock_that_is_set_back_makes_no_logon_good_twice_over_a_restart_either() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let mut world = center.world;
    let signed = world.now();
    let logon = client.logon(signed);
    assert_eq!(world.log_on(&logon), None);
    for restarts in [false, true] {
        world.clock.set(signed - Duration::from_secs(60));
        if restarts {
            world = world.reopened(HashParams::tiny());
        }
        world.gate.listens_now();
        world.clock.set(signed + Duration::from_secs(1));
        let again = world.judge(&logon);
        assert!(again.verdict.is_err(), "{again:?}");
        world.clock.set(signed + Duration::from_secs(if restarts { 10 } else { 5 }));
        assert_eq!(world.log_on(&client.logon(world.now())), None, "one that is signed later is good");
    }
}

#[tokio::test]
async fn f4_the_fifth_refusal_that_names_a_key_locks_the_session_and_strangers_cannot() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let world = &center.world;
    let ended = center.ends();
    // A stranger knows the SenderCompID, but no key.
    for n in 0..20 {
        let mut logon = client.logon(world.now());
        logon.access_key_id = format!("T{n:019}").into_bytes();
        logon.signature = Some([n; 32]);
        assert_eq!(world.log_on(&logon), Some(LogonRefusal::Refused));
    }
    assert_eq!(world.log_on(&client.logon(world.now())), None);
    let mut wrong = client.logon(world.now());
    wrong.signature = Some([0; 32]);
    for _ in 0..4 {
        assert_eq!(world.log_on(&wrong), Some(LogonRefusal::Refused));
    }
    assert_eq!(world.session("B08").usage.locked, None);
    assert_eq!(world.log_on(&client.logon(world.now())), None, "a good one meanwhile forgives nothing");
    assert_eq!(world.log_on(&wrong), Some(LogonRefusal::PortClosed), "the fifth is told");
    assert!(world.session("B08").usage.locked.is_some());
    let entry = world.entries(1).remove(0);
    assert_eq!(
        (entry.event, entry.session.unwrap().to_string()),
        (Event::FixSessionLocked, "B08".to_owned())
    );
    assert_eq!(world.log_on(&wrong), Some(LogonRefusal::Refused), "later ones are not");
    assert_eq!(
        world.log_on(&client.logon(world.now())),
        Some(LogonRefusal::PortClosed),
        "but for a good one"
    );
    assert_eq!(ended.try_iter().count(), 0, "open connections are left alone");

    let world = center.world.reopened(HashParams::tiny());
    assert_eq!(world.log_on(&client.logon(world.now())), Some(LogonRefusal::PortClosed), "and for ever");
    let id = SessionId::parse(b"B08").unwrap();
    world.gate.reopen_fix_session(id, "asked by phone", Actor::Local { uid: 0 }).await.unwrap();
    assert_eq!(world.log_on(&client.logon(world.now())), None);
    for _ in 0..4 {
        assert_eq!(world.log_on(&wrong), Some(LogonRefusal::Refused), "the count began anew");
    }
}

#[tokio::test]
async fn f4_five_refusals_in_one_turn_lock_as_well_and_one_of_them_is_told() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let world = &center.world;
    let mut wrong = client.logon(world.now());
    wrong.signature = Some([0; 32]);
    let judged: Vec<Judged> = (0..8).map(|_| world.judge(&wrong)).collect();
    let told: Vec<bool> =
        judged.iter().map(|judged| judged.verdict == Err(LogonRefusal::PortClosed)).collect();
    assert_eq!(told, [false, false, false, false, true, false, false, false]);
    let saves = judged.into_iter().map(|judged| LogonSave { record: judged.record, numbers: None }).collect();
    world.save(saves).unwrap();
    let locks = world.entries(20).iter().filter(|entry| entry.event == Event::FixSessionLocked).count();
    assert_eq!(locks, 1);
}

#[tokio::test]
async fn f4_a_sequence_that_is_wrong_after_a_good_signature_counts_too_and_a_closed_week_does_not() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let world = &center.world;
    let refuse = |deny: Deny| {
        let judged = world.judge(&client.logon(world.now()));
        assert!(judged.verdict.is_ok());
        let mut record = judged.record;
        record.refuse_logon(Check::SequenceRight, deny, "the next number", "a lower one");
        world.save(vec![LogonSave { record, numbers: None }]).unwrap();
        judged.strikes
    };
    for _ in 0..9 {
        refuse(Deny::WeekClosed);
        refuse(Deny::AlreadyLoggedOn);
    }
    let strikes: Vec<u8> = (0..5).map(|_| refuse(Deny::SequenceTooLow)).collect();
    assert_eq!(strikes, [0, 1, 2, 3, 4]);
    assert!(world.session("B08").usage.locked.is_some());
}

#[tokio::test]
async fn q5_a_lock_whose_record_is_lost_holds_and_is_written_later() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let world = &center.world;
    let mut wrong = client.logon(world.now());
    wrong.signature = Some([0; 32]);
    world.disk_full(true);
    for _ in 0..5 {
        let judged = world.judge(&wrong);
        assert!(world.save(vec![LogonSave { record: judged.record, numbers: None }]).is_err());
    }
    assert_eq!(world.judge(&client.logon(world.now())).verdict, Err(LogonRefusal::PortClosed));
    world.disk_full(false);
    world.gate.tick().await;
    assert!(world.entries(9).iter().any(|entry| entry.event == Event::FixSessionLocked));
    let world = center.world.reopened(HashParams::tiny());
    assert!(world.session("B08").usage.locked.is_some());
}

#[tokio::test]
async fn q10_refusals_of_one_source_become_a_count() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let world = &center.world;
    let mut stranger = client.logon(world.now());
    stranger.access_key_id = b"oNDxM33uE81ohWuVRtWT".to_vec();
    let before = world.gate.describe().unwrap().head_no;
    for _ in 0..100 {
        assert_eq!(world.log_on(&stranger), Some(LogonRefusal::Refused));
    }
    assert_eq!(world.gate.describe().unwrap().head_no - before, 20);
    world.gate.record_start(false).await;
    let counted = world.entries(9).into_iter().find(|entry| entry.event == Event::RefusalsCounted).unwrap();
    assert!(counted.detail.unwrap().starts_with("80 more"));
}

/// A Logon that the machine refused on its own, from somebody who says that B08 is theirs.
fn refused_by_the_machine() -> Note {
    let actor = Actor::FixSession {
        id: SessionId::parse(b"B08").unwrap(),
        sender_comp_id: None,
        operator: None,
        access_key: None,
    };
    let reason = Some(Deny::LogonInProgress);
    Note { event: Event::LogonRefused, actor, firm: None, stream: None, reason, left: None }
}

#[tokio::test]
async fn q10_logons_that_the_machine_refuses_on_its_own_are_refusals_and_become_a_count() {
    let mut center = center().await;
    center.client("B08", "B08004N").await;
    let world = &center.world;
    let before = world.gate.describe().unwrap().head_no;
    for _ in 0..100 {
        let record = world.gate.note_of_session(refused_by_the_machine(), &from(1)).unwrap();
        world.save(vec![LogonSave { record: Box::new(record), numbers: None }]).unwrap();
    }
    assert_eq!(world.gate.describe().unwrap().head_no - before, 20);
    let entry = &world.entries(1)[0];
    assert_eq!((entry.event, entry.outcome), (Event::LogonRefused, Outcome::Refused));
    assert_eq!((entry.firm.as_ref().unwrap().as_str(), entry.session.is_some()), ("ACME", true));
    assert_eq!(world.session("B08").usage.locked, None, "they name no key: nothing is locked");
    world.gate.record_start(false).await;
    let counted = world.entries(9).into_iter().find(|entry| entry.event == Event::RefusalsCounted).unwrap();
    assert!(counted.detail.unwrap().starts_with("80 more"));
}

#[tokio::test]
async fn q4_what_is_noted_of_a_stream_is_found_by_the_firm_that_it_concerns() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let world = &center.world;
    let stream = world.judge(&client.logon(world.now())).verdict.unwrap().stream;
    let note = Note { event: Event::UndeliveredLeft, actor: Actor::Node, ..refused_by_the_machine() };
    let left = LeftBehind { epoch: Epoch { week: 12, reset: 0 }, first: 5, last: 9, count: 3 };
    let note = Note { stream: Some(stream), reason: None, left: Some(left), ..note };
    let entry = world.gate.note_of_session(note, &from(1)).unwrap().entry;
    assert_eq!((entry.firm.unwrap().as_str(), entry.outcome), ("ACME", Outcome::Allowed));
    assert_eq!(entry.detail.unwrap(), "cgw/B08/004: 3 messages, among the numbers 5 to 9 of epoch 12.0");
}

#[tokio::test]
async fn q5_what_the_door_noted_while_the_disk_was_full_is_written_later_as_it_was_noted() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let world = &center.world;
    let before = world.gate.describe().unwrap().head_no;
    let granted = world.judge(&client.logon(world.now()));
    let note = Note { event: Event::LoggedOut, reason: None, ..refused_by_the_machine() };
    let record = world.gate.note_of_session(note, &from(1)).unwrap();
    let mut expected = record.entry.clone();
    expected.node = "node1".into();
    world.disk_full(true);
    let saves = [granted.record, Box::new(record)].map(|record| LogonSave { record, numbers: None });
    assert!(world.save(saves.into()).is_err());
    world.gate.write_notes().await;
    assert_eq!(world.gate.describe().unwrap().head_no, before);
    world.disk_full(false);
    world.gate.write_notes().await;
    assert_eq!(world.entries(1), [expected]);
    assert_eq!(world.gate.describe().unwrap().head_no, before + 1, "nobody was let in");
    world.gate.write_notes().await;
    assert_eq!(world.gate.describe().unwrap().head_no, before + 1, "once");
}

#[tokio::test]
async fn a_vault_that_is_down_refuses_for_now_and_counts_nothing() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let world = &center.world;
    world.vault_down(true);
    for _ in 0..9 {
        assert_eq!(world.log_on(&client.logon(world.now())), Some(LogonRefusal::TryAgainLater));
    }
    world.vault_down(false);
    assert_eq!(world.log_on(&client.logon(world.now())), None);
}

#[tokio::test]
async fn v1_a_secret_moved_to_another_session_opens_for_nobody() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let other = center.client("C09", "C09004N").await;
    let world = &center.world;
    // Somebody who can write to the database swaps the sealed secrets of two pairs.
    let sealed = |id: &str| world.session(id).session.pairs[0].secret.clone();
    let mut thief = world.session("C09").session;
    thief.pairs[0].secret = sealed("B08");
    world.gate.sessions.set(&*world.gate.vault, thief);
    let forged = Client { secret: client.secret.clone(), ..other };
    assert_eq!(world.log_on(&forged.logon(world.now())), Some(LogonRefusal::TryAgainLater));
    assert_eq!(world.log_on(&client.logon(world.now())), None);
}

#[tokio::test]
async fn s8_disabling_a_session_or_closing_its_firm_refuses_and_ends_it() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let id = SessionId::parse(b"B08").unwrap();
    let ended = center.ends();
    let world = &center.world;
    let desk = Actor::Local { uid: 0 };
    let standing = |standing| Edit { standing: Some(standing), ..Edit::default() };
    world.gate.edit_fix_session(id, |_| Ok(standing(Standing::Disabled)), &desk).await.unwrap();
    assert_eq!(ended.try_iter().collect::<Vec<_>>(), [EndOf::Session(id)]);
    let judged = world.judge(&client.logon(world.now()));
    assert_eq!(reason(&judged.record), Deny::SessionDisabled);
    world.gate.edit_fix_session(id, |_| Ok(standing(Standing::Active)), &desk).await.unwrap();
    assert_eq!(world.log_on(&client.logon(world.now())), None);

    let firm = FirmCode::parse("ACME").unwrap();
    world.gate.set_firm_closed(&firm, true, desk.clone()).await.unwrap();
    assert_eq!(ended.try_iter().collect::<Vec<_>>(), [EndOf::Firm(firm.clone())]);
    assert_eq!(reason(&world.judge(&client.logon(world.now())).record), Deny::FirmClosed);
    world.gate.set_firm_closed(&firm, false, desk.clone()).await.unwrap();
    assert_eq!(world.log_on(&client.logon(world.now())), None);

    world.gate.lock_fix_session(id, "too loud", desk.clone()).await.unwrap();
    assert_eq!(ended.try_iter().collect::<Vec<_>>(), [EndOf::Session(id)]);
    assert_eq!(world.log_on(&client.logon(world.now())), Some(LogonRefusal::PortClosed));
    assert!(world.gate.reopen_fix_session(id, "", desk.clone()).await.is_err(), "a reason is asked for");
    world.gate.reopen_fix_session(id, "quiet again", desk.clone()).await.unwrap();
    world.gate.end_fix_session(id, "maintenance", desk).await.unwrap();
    assert_eq!(ended.try_iter().collect::<Vec<_>>(), [EndOf::Session(id)]);
    assert_eq!(world.log_on(&client.logon(world.now())), None);
}

#[tokio::test]
async fn s8_a_session_that_permits_less_ends_who_would_not_be_let_in() {
    let mut center = center().await;
    let client = center.client("B08", "B08004N").await;
    let id = SessionId::parse(b"B08").unwrap();
    let ended = center.ends();
    let world = &center.world;
    let desk = Actor::Local { uid: 0 };
    let before = world.session("B08").session;
    let networks = |text: &str| Some(vec![Network::parse(text).unwrap()]);
    let mut wider = before.operator_ids.clone();
    wider.insert(OperatorId::parse(b"WIDER").unwrap());
    let wider = Edit { operator_ids: Some(wider), ..Edit::default() };
    let edit = |edit: Edit| world.gate.edit_fix_session(id, |_| Ok(edit), &desk);
    edit(wider).await.unwrap();
    assert_eq!(ended.try_iter().count(), 0, "who permits more ends nobody");
    let narrow = Edit { operator_ids: Some(before.operator_ids.clone()), ..Edit::default() };
    let sources = Edit { sources: networks("192.0.2.0/24"), ..Edit::default() };
    let comps =
        Edit { sender_comp_ids: Some([CompStem::parse(b"B08009").unwrap()].into()), ..Edit::default() };
    for less in [narrow, sources, comps] {
        let after = edit(less).await.unwrap().session;
        assert_eq!(ended.try_iter().collect::<Vec<_>>(), [EndOf::Narrowed(Box::new(after))]);
    }
    let (session, key) = (world.session("B08").session, before.pairs[0].id);
    let comp = CompId::parse(b"B08004N").unwrap();
    let (operator, source) = (before.operator_ids.first(), "192.0.2.9".parse().unwrap());
    assert!(before.keeps(Some(comp), operator, Some(&key), source));
    assert!(!session.keeps(Some(comp), operator, Some(&key), source));
    assert!(world.log_on(&client.logon(world.now())).is_some());
}

#[tokio::test]
async fn the_week_is_rolled_to_once_over_restarts_and_t4_not_by_a_clock_that_steps() {
    let Center { world, .. } = center().await;
    let rolls =
        |world: &World| world.entries(500).iter().filter(|entry| entry.event == Event::WeekRolled).count();
    world.gate.tick().await;
    world.gate.tick().await;
    assert_eq!(rolls(&world), 1, "the first one");
    let week = world.gate.week();
    assert_eq!(week, Settings::default().calendar.week(world.now()));
    let world = world.reopened(HashParams::tiny());
    world.gate.tick().await;
    assert_eq!((rolls(&world), world.gate.week()), (1, week));

    world.clock.advance(Duration::from_secs(7 * 24 * 3600));
    world.gate.tick().await;
    assert_eq!((rolls(&world), world.gate.week()), (1, week), "the clock stepped");
    let world = world.reopened(HashParams::tiny());
    world.gate.tick().await;
    assert_eq!((rolls(&world), world.gate.week()), (2, week + 1));
    world.gate.tick().await;
    assert_eq!(rolls(&world), 2);
}
