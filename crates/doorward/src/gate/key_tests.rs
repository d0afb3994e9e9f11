//! Key pairs over a real store and the soft vault.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use doorward_client::totp::Totp;
use doorward_core::audit::{Actor, Deny, Event, Factor};
use doorward_core::calendar::{Calendar, Hours};
use doorward_core::id::{AccessKeyId, FirmCode, SessionId, UserId};
use doorward_core::identity::decide::person::Edit;
use doorward_core::identity::key_pair::Environment;
use doorward_core::identity::person::{Grant, Kind, Profile, Right};
use doorward_core::identity::policy::AuthSystem;
use doorward_core::time::Wall;

use super::Settings;
use super::admin::{NewPassword, NewPerson, Refused};
use super::fix::EndOf;
use super::keys::{Asker, OpenPair};
use super::logon_tests::{Client, add_session, add_session_for};
use super::testing::{GOOD, World, secret, world_with};
use crate::hashing::HashParams;

/// A firm with an administrator who may have to do with key pairs, and an authenticator.
pub(super) struct Center {
    pub(super) world: World,
    totp: Totp,
    ended: Arc<Mutex<Option<mpsc::Sender<EndOf>>>>,
}

pub(super) async fn center() -> Center {
    center_with(Settings::default()).await
}

async fn center_with(settings: Settings) -> Center {
    let world = world_with(settings);
    let firm = FirmCode::parse("ACME").unwrap();
    world.gate.add_firm(firm.clone(), "Acme Derivatives", Actor::Node).await.unwrap();
    add_admin(&world, "anna", &firm, true).await;
    let totp = world.seed("anna").await;
    // The first code registers.
    let code = totp.code(world.now()).to_string();
    assert!(matches!(world.login("anna", GOOD, Some(&code)).await, doorward_core::ask::Verdict::Granted(_)));
    let ended: Arc<Mutex<Option<mpsc::Sender<EndOf>>>> = Arc::default();
    let sender = Arc::clone(&ended);
    world.gate.on_end(Box::new(move |what| {
        if let Some(sender) = &*sender.lock().unwrap() {
            sender.send(what).unwrap();
        }
    }));
    Center { world, totp, ended }
}

async fn add_admin(world: &World, userid: &str, firm: &FirmCode, right: bool) {
    let rights: BTreeSet<Right> = if right { [Right::ManageKeyPairs].into() } else { BTreeSet::new() };
    let grant = Grant { rights, ..Grant::default() };
    let new = NewPerson {
        userid: UserId::parse(userid).unwrap(),
        kind: Kind::Administrator,
        firm: Some(firm.clone()),
        auth_system: Some(AuthSystem::Otp),
        password: NewPassword::Clear(secret(GOOD)),
        initial: false,
        profile: Profile { grant: Some(grant), ..Profile::default() },
    };
    world.gate.add_person(new, Actor::Node).await.unwrap();
}

impl Center {
    /// Moves the clock on so that the authenticator has a code that was not used, and gives it.
    fn fresh_code(&self) -> String {
        self.world.next_step();
        self.totp.code(self.world.now()).to_string()
    }

    fn asker(&self, code: Option<&str>) -> Asker {
        Asker {
            userid: UserId::parse("anna").unwrap(),
            code: code.map(secret),
            actor: Actor::Local { uid: 0 },
        }
    }

    async fn create(&self, id: SessionId, delete: Option<AccessKeyId>) -> Result<OpenPair, Refused> {
        let code = self.fresh_code();
        self.world.gate.create_key(id, delete, &self.asker(Some(&code))).await
    }

    /// A new session with a key pair, as its client has it.
    pub(super) async fn client(&mut self, id: &str, comp: &'static str) -> Client {
        let session = add_session(&self.world, id).await;
        self.world.clock.advance(Duration::from_secs(24 * 3600));
        let made = self.create(session, None).await.unwrap();
        client(&made, comp)
    }

    /// What ends from now on.
    pub(super) fn ends(&self) -> mpsc::Receiver<EndOf> {
        let (told, hear) = mpsc::channel();
        *self.ended.lock().unwrap() = Some(told);
        hear
    }
}

fn client(made: &OpenPair, comp: &'static str) -> Client {
    let secret = data_encoding::BASE64URL_NOPAD.decode(made.secret_key.expose().as_bytes()).unwrap();
    Client { comp, key: made.pair.id, secret }
}

fn denied(result: Result<OpenPair, Refused>) -> Deny {
    match result {
        Err(Refused::Denied(refusal)) => refusal.deny,
        Err(other) => panic!("{other:?}"),
        Ok(made) => panic!("made {}", made.pair.id),
    }
}

#[tokio::test]
async fn h1_a_secret_key_has_256_bits_and_is_shown_with_a_fresh_code_each_time_h4() {
    let center = center().await;
    let id = add_session(&center.world, "B08").await;
    let made = center.create(id, None).await.unwrap();
    let secret = data_encoding::BASE64URL_NOPAD.decode(made.secret_key.expose().as_bytes()).unwrap();
    assert_eq!(secret.len(), 32);
    let (gate, key) = (&center.world.gate, made.pair.id);
    assert!(key.to_string().starts_with('T'), "the mark of test");
    let live = add_session_for(&center.world, "L01", Environment::Live).await;
    assert!(
        center.create(live, None).await.unwrap().pair.id.to_string().starts_with('L'),
        "the mark of live"
    );
    let entry = center.world.entries(1).remove(0);
    assert_eq!((entry.event, entry.factor), (Event::KeyPairCreated, Factor::LocalUserAndCode));
    assert!(matches!(&entry.actor, Actor::Person { userid, .. } if userid.as_str() == "anna"), "{entry:?}");
    assert!(entry.detail.unwrap().ends_with("by a process of user 0"), "N1");

    let code = center.fresh_code();
    let shown = gate.download_key(id, key, &center.asker(Some(&code))).await.unwrap();
    assert_eq!(shown.secret_key.expose(), made.secret_key.expose());
    assert_eq!(center.world.entries(1)[0].event, Event::KeyPairDownloaded);
    let again = gate.download_key(id, key, &center.asker(Some(&code))).await;
    assert_eq!(denied(again), Deny::UsedCode, "T6");
    assert_eq!(denied(gate.download_key(id, key, &center.asker(None)).await), Deny::WrongCode);
    let entry = center.world.entries(1).remove(0);
    assert_eq!((entry.event, entry.reason), (Event::KeyPairRefused, Some(Deny::WrongCode)));
    let text = format!("{:?}", center.world.entries(99));
    assert!(!text.contains(made.secret_key.expose()), "Q3");
}

#[tokio::test]
async fn h4_ten_codes_a_day_are_accepted_and_each_once_by_parallel_requests() {
    let center = center().await;
    let id = add_session(&center.world, "B08").await;
    center.world.clock.set(Wall::parse("2027-03-01T06:00:00Z").unwrap());
    center.world.gate.clock_moved();
    let key = center.create(id, None).await.unwrap().pair.id;
    let code = center.fresh_code();
    let asks = (0..20).map(|_| {
        let (gate, asker) = (Arc::clone(&center.world.gate), center.asker(Some(&code)));
        tokio::spawn(async move { gate.download_key(id, key, &asker).await.is_ok() })
    });
    let mut good = 0;
    for ask in asks.collect::<Vec<_>>() {
        good += usize::from(ask.await.unwrap());
    }
    assert_eq!(good, 1, "T6");
    // Nineteen used codes have locked the authenticator (T10).
    center.world.gate.unlock(&UserId::parse("anna").unwrap(), Actor::Node).await.unwrap();
    for _ in 2..10 {
        let code = center.fresh_code();
        center.world.gate.download_key(id, key, &center.asker(Some(&code))).await.unwrap();
    }
    let code = center.fresh_code();
    let asker = center.asker(Some(&code));
    assert_eq!(denied(center.world.gate.download_key(id, key, &asker).await), Deny::CodesUsedUp);
    center.world.clock.set(Wall::parse("2027-03-02T00:01:00Z").unwrap());
    center.world.gate.clock_moved();
    let code = center.fresh_code();
    center.world.gate.download_key(id, key, &center.asker(Some(&code))).await.unwrap();
}

#[tokio::test]
async fn h2_a_third_pair_asks_which_one_to_delete_and_h7_that_one_is_dead_at_once() {
    let center = center().await;
    let id = add_session(&center.world, "B08").await;
    let one = center.create(id, None).await.unwrap();
    let two = center.create(id, None).await.unwrap();
    assert_eq!(denied(center.create(id, None).await), Deny::PairsFull);
    let world = &center.world;
    let (first, second) = (client(&one, "B08004N"), client(&two, "B08004N"));
    let judge = |client: &Client| {
        let judged = world.gate.judge_logon(&client.logon(world.now()), &super::testing::origin(1));
        judged.record.entry.reason
    };
    assert_eq!((judge(&first), judge(&second)), (None, None));
    let ended = center.ends();
    let three = center.create(id, Some(first.key)).await.unwrap();
    assert_eq!(judge(&first), Some(Deny::AccessKeyDeleted), "H7: out of every cache at once");
    assert_eq!(ended.try_iter().collect::<Vec<_>>(), [EndOf::Key(first.key)]);
    assert_eq!((judge(&second), judge(&client(&three, "B08004N"))), (None, None));

    world.gate.delete_key(id, second.key, "leaked", &center.asker(None)).await.unwrap();
    assert_eq!(judge(&second), Some(Deny::AccessKeyDeleted));
    assert_eq!(ended.try_iter().collect::<Vec<_>>(), [EndOf::Key(second.key)]);
    let states: Vec<&str> =
        world.gate.key_pairs(id).unwrap().1.iter().map(|pair| pair.state.name()).collect();
    assert_eq!(states, ["active", "deleted", "deleted"]);
    let again = world.gate.delete_key(id, second.key, "leaked", &center.asker(None)).await;
    assert!(matches!(again, Err(Refused::Misuse(_))), "{again:?}");
    let code = center.fresh_code();
    let shown = world.gate.download_key(id, second.key, &center.asker(Some(&code))).await;
    assert_eq!(denied(shown), Deny::AccessKeyDeleted);
}

#[tokio::test]
async fn h7_a_deletion_whose_answer_was_lost_reaches_the_table_with_the_next_tick() {
    let center = center().await;
    let id = add_session(&center.world, "B08").await;
    let one = center.create(id, None).await.unwrap();
    let world = &center.world;
    let mut session = world.gate.fix_session(id).unwrap().session;
    // As if the write had failed for whoever asked, and was in the journal all the same.
    world.gate.delete_key(id, one.pair.id, "leaked", &center.asker(None)).await.unwrap();
    session.version -= 1;
    world.gate.sessions.set(&*world.gate.vault, session);
    world.gate.unsure.lock().unwrap().insert(id);
    world.gate.tick().await;
    let table = world.gate.sessions.read();
    assert!(table.get(id).unwrap().mac_key(&one.pair.id).is_none());
}

#[tokio::test]
async fn only_an_administrator_of_the_firm_with_the_right_has_to_do_with_key_pairs() {
    let center = center().await;
    let id = add_session(&center.world, "B08").await;
    let world = &center.world;
    let other = FirmCode::parse("OTHER").unwrap();
    world.gate.add_firm(other.clone(), "Other", Actor::Node).await.unwrap();
    add_admin(world, "eve", &other, true).await;
    add_admin(world, "bert", &FirmCode::parse("ACME").unwrap(), false).await;
    world.person("julian", AuthSystem::Otp, false).await;
    for userid in ["eve", "bert", "julian"] {
        let asker = Asker { userid: UserId::parse(userid).unwrap(), ..center.asker(Some("123456")) };
        assert_eq!(denied(world.gate.create_key(id, None, &asker).await), Deny::RightMissing, "{userid}");
    }
    let edit = Edit { profile: Some(Profile::default()), ..Edit::default() };
    world.gate.edit_person(&UserId::parse("anna").unwrap(), edit, &Actor::Node).await.unwrap();
    assert_eq!(denied(center.create(id, None).await), Deny::RightMissing);
}

#[tokio::test]
async fn key_pairs_are_made_in_the_hours_of_the_customer_center_unless_the_desk_opens_it() {
    let calendar = Arc::new(Calendar::new(Hours::default()).unwrap());
    let center = center_with(Settings { calendar, ..Settings::default() }).await;
    let id = add_session(&center.world, "B08").await;
    let world = &center.world;
    let at = |text: &str| {
        world.clock.set(Wall::parse(text).unwrap());
        world.gate.clock_moved();
    };
    // A Saturday noon, US Central.
    at("2027-03-06T18:00:00Z");
    assert_eq!(denied(center.create(id, None).await), Deny::HoursClosed);
    assert_eq!(world.gate.key_hours_begin(), Wall::parse("2027-03-07T16:00:00Z"));
    let firm = FirmCode::parse("ACME").unwrap();
    world.gate.open_key_hours(&firm, "key leaked", Actor::Local { uid: 0 }).await.unwrap();
    let made = center.create(id, None).await.unwrap();
    at("2027-03-06T19:30:00Z");
    assert_eq!(denied(center.create(id, None).await), Deny::HoursClosed, "an hour later");
    world.gate.delete_key(id, made.pair.id, "leaked too", &center.asker(None)).await.unwrap();
}

#[tokio::test]
async fn h3_ends_are_told_exactly_once_over_restarts_and_h7_an_expired_secret_is_dropped() {
    let center = center().await;
    let id = add_session(&center.world, "B08").await;
    let made = center.create(id, None).await.unwrap();
    let told = |world: &World| -> Vec<String> {
        let mut entries = world.entries(500);
        entries.retain(|entry| matches!(entry.event, Event::KeyPairExpiring | Event::KeyPairExpired));
        entries.into_iter().rev().map(|entry| entry.event.id().to_owned()).collect()
    };
    let world = center.world;
    world.gate.tick().await;
    assert_eq!(told(&world), [""; 0]);
    world.clock.set(made.pair.ends_at - Duration::from_secs(20 * 24 * 3600));
    world.gate.tick().await;
    assert_eq!(told(&world), [""; 0], "T4: a clock that stepped tells of nothing");
    let world = world.reopened(HashParams::tiny());
    world.gate.tick().await;
    world.gate.tick().await;
    assert_eq!(told(&world), ["key-pair-expiring"; 2], "60 and 30 days before");
    world.clock.set(made.pair.ends_at);
    let world = world.reopened(HashParams::tiny());
    let client = client(&made, "B08004N");
    let judged = world.gate.judge_logon(&client.logon(world.now()), &super::testing::origin(1));
    assert_eq!(judged.record.entry.reason, Some(Deny::AccessKeyExpired), "before anything was told");
    world.gate.tick().await;
    world.gate.tick().await;
    let expected = ["key-pair-expiring"; 5].into_iter().chain(["key-pair-expired"]).collect::<Vec<_>>();
    assert_eq!(told(&world), expected);
    assert!(world.gate.sessions.read().get(id).unwrap().mac_key(&made.pair.id).is_none());
    assert!(world.gate.fix_session(id).unwrap().session.pairs[0].sealed().is_none());
}
