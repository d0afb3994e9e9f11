//! The live server over closes and opens of the week, four weeks and twelve months, by the demo's clock.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "support/fix_peer.rs"]
mod fix_peer;
#[path = "support/node.rs"]
mod node;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use doorward::clock::Clock;
use doorward_client::totp::Totp;
use doorward_core::time::Wall;
use fix_peer::{FixPeer, Seat, get};
use node::{Chance, Demo, Process, doorward_at, soon, told};
use serde_json::Value;

const NORTH: &str = "admin@north.example";
const SOUTH: &str = "admin@south.example";
const REFUSED: &str = "|58=Invalid Logon. Logout Forced|";

/// A demo whose clock is moved.
struct World {
    folder: tempfile::TempDir,
    demo: Demo,
    /// How far its clock is ahead of this machine's.
    ahead: Duration,
}

impl World {
    fn at(clock: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("dw").tempdir().unwrap();
        let demo = started(folder.path(), clock);
        let mut world = Self { folder, demo, ahead: Duration::ZERO };
        world.look();
        world
    }

    /// Killed, and started again over the same data with its clock at `clock`.
    fn again(self, clock: &str) -> Self {
        let Self { folder, demo, .. } = self;
        demo.process.kill();
        let demo = started(folder.path(), clock);
        let mut world = Self { folder, demo, ahead: Duration::ZERO };
        world.look();
        world
    }

    fn run(&self, args: &[&str]) -> Output {
        let socket = self.demo.text("admin_socket");
        let mut all = args.to_vec();
        all.extend(["--json", "--socket", &socket]);
        doorward_at(self.folder.path(), &all)
    }

    fn done(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        assert!(output.status.success(), "doorward {}: {}", args.join(" "), told(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "doorward {}: {}", args.join(" "), told(&output));
        told(&output)
    }

    fn look(&mut self) {
        let shown = self.done(&["demo-clock", "show"]);
        self.follow(&shown);
    }

    fn set(&mut self, clock: &str) {
        let shown = self.done(&["demo-clock", "set", clock]);
        self.follow(&shown);
    }

    fn follow(&mut self, shown: &Value) {
        let now = Wall::parse(shown["now"].as_str().unwrap()).unwrap();
        self.ahead = now.since(Clock::system().now().wall);
    }

    /// The one-time password of a step that was not used yet: the clock moves on to the next one.
    fn code(&mut self, userid: &str) -> String {
        let shown = self.done(&["demo-clock", "advance", "30s"]);
        self.follow(&shown);
        let user = self.demo.user(userid);
        let totp = Totp::parse(user["otp_seed"].as_str().unwrap()).unwrap();
        totp.code(Clock::system().now().wall + self.ahead)
    }

    fn create(&mut self, seat: &Seat, delete: &[&str]) -> Value {
        let code = self.code(NORTH);
        let mut args = vec!["key", "create", "--session", seat.session(), "--as", NORTH, "--code", &code];
        args.extend_from_slice(delete);
        self.done(&args)
    }

    /// Downloads the only pair of a session; what it said where it was refused.
    fn download(&mut self, session: &str, userid: &str) -> Result<Value, String> {
        let code = self.code(userid);
        let output = self.run(&["key", "download", "--session", session, "--as", userid, "--code", &code]);
        if output.status.success() {
            Ok(serde_json::from_slice(&output.stdout).unwrap())
        } else {
            Err(told(&output))
        }
    }

    /// State and end of a key pair.
    fn key(&self, seat: &Seat) -> (String, String) {
        let keys = self.done(&["key", "list", "--session", seat.session()]);
        let keys = keys["items"].as_array().unwrap().clone();
        let key = keys.iter().find(|key| key["access_key_id"] == seat.access_key.as_str()).unwrap();
        (key["state"].as_str().unwrap().to_owned(), key["expires"].as_str().unwrap().to_owned())
    }

    /// Entries of an event, the oldest first.
    fn audit(&self, event: &str) -> Vec<Value> {
        let listed = self.done(&["audit", "list", "--event", event, "--limit", "1000"]);
        let mut items = listed["items"].as_array().unwrap().clone();
        items.reverse();
        items
    }

    /// Details of an event of one FIX session, the oldest first.
    fn details(&self, event: &str, seat: &Seat) -> Vec<String> {
        let entries = self.audit(event);
        let of_it = entries.iter().filter(|entry| entry["session"] == seat.session());
        of_it.map(|entry| entry["detail"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn connect(&self, seat: &Seat, next: u64) -> FixPeer {
        let mut peer = FixPeer::connect(&self.demo.ready, seat);
        (peer.next, peer.ahead) = (next, self.ahead);
        peer
    }

    fn log_on(&self, seat: &Seat, next: u64) -> FixPeer {
        let mut peer = self.connect(seat, next);
        peer.log_on();
        peer
    }

    /// The answer to a Logon.
    fn answer(&self, seat: &Seat, next: u64) -> String {
        let mut peer = self.connect(seat, next);
        let logon = peer.logon();
        peer.stream.write_all(&logon).unwrap();
        peer.hear()
    }
}

fn started(folder: &Path, clock: &str) -> Demo {
    Demo::start(folder, &["--data", "d", "--clock", clock])
}

/// The weeks whose roll is written down.
fn rolled(world: &World) -> Vec<String> {
    world.audit("week-rolled").iter().map(|entry| entry["detail"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_week_closes_and_opens_for_those_who_are_there_and_those_who_are_not() {
    // Friday, two minutes before 17:00 in Chicago.
    let mut world = World::at("2027-02-05T22:58:00Z");
    let (away, there) = (Seat::of(&world.demo.ready, 0), Seat::of(&world.demo.ready, 1));
    let mut client = world.log_on(&away, 1);
    client.say("D", "11=o1|21=1|55=ES|54=1|38=10|40=2|44=100|60=20270205-22:58:00|");
    client.hear_type("8");
    let next = client.log_out();
    let mut live = world.log_on(&there, 1);
    let sent = world.done(&["venue", "send", "--stream", &away.stream(), "--count", "5"]);
    assert_eq!(sent["count"], 5);

    world.set("2027-02-05T23:00:00Z");
    let logout = live.hear_type("5");
    assert!(logout.contains("|58=Session closed. Logout forced.|"), "{logout}");
    live.say("5", "");
    while live.hear_or_end().is_some() {}
    let answer = world.answer(&there, live.next);
    assert!(
        answer.contains("|35=5|")
            && answer.contains("|58=Session closed until 2027-02-07T16:30:00.000Z. Logout forced.|"),
        "{answer}"
    );

    let before = rolled(&world).len();
    world.set("2027-02-07T16:29:50Z");
    assert!(world.answer(&there, 1).contains("|58=Session closed until "));
    assert_eq!(rolled(&world).len(), before);
    world.set("2027-02-07T16:30:00Z");
    assert_eq!(rolled(&world).len(), before + 1);
    let answer = world.answer(&away, next);
    let first = "|58=Failed to reset sequence numbers at beginning of the week. Logout forced.|";
    assert!(answer.contains("|35=5|") && answer.contains(first), "{answer}");
    let answer = world.answer(&away, 1);
    assert_eq!((get(&answer, "35"), get(&answer, "34")), (Some("A"), Some("1")), "{answer}");
    // What was not fetched is counted, and gone for the wire: the first message of the week is the Logon.
    soon("the undelivered messages are counted", || !world.details("undelivered-left", &away).is_empty());
    let told = world.details("undelivered-left", &away);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with(&format!("{}: 5 messages, ", away.stream())), "{told:?}");
    let mut other = world.log_on(&there, 1);
    other.assert_live();
    other.log_out();
    assert!(world.details("undelivered-left", &there).is_empty());
}

#[test]
fn f8_the_week_is_rolled_once_whenever_the_node_is_killed() {
    let seed = Clock::system().now().wall.as_us().unsigned_abs();
    println!("seed {seed}");
    let mut chance = Chance::new(seed);
    let mut world = World::at("2027-02-02T16:00:00Z");
    let seat = Seat::of(&world.demo.ready, 0);
    let mut next = world.log_on(&seat, 1).log_out();
    let (mut weeks, mut before_the_kill) = (rolled(&world).len(), 0);
    for day in ["2027-02-07", "2027-02-14", "2027-02-21", "2027-02-28", "2027-03-07"] {
        world = world.again(&format!("{day}T16:29:30Z"));
        let (folder, socket) = (world.folder.path().to_owned(), world.demo.text("admin_socket"));
        let open = format!("{day}T16:30:00Z");
        let mover = Process::spawn(&folder, &["demo-clock", "set", &open, "--socket", &socket]);
        let World { folder, demo, .. } = world;
        demo.process.kill_after(Duration::from_millis(chance.between(0, 80)));
        drop(mover);
        let demo = started(folder.path(), &format!("{day}T16:31:00Z"));
        world = World { folder, demo, ahead: Duration::ZERO };
        world.look();
        weeks += 1;
        let rolled = rolled(&world);
        let once: BTreeSet<&String> = rolled.iter().collect();
        assert_eq!((rolled.len(), once.len()), (weeks, weeks), "{rolled:?}");
        let last = world.audit("week-rolled").pop().unwrap();
        before_the_kill += u64::from(last["at"].as_str().unwrap() < format!("{day}T16:31").as_str());
        let answer = world.answer(&seat, next);
        assert!(
            answer.contains("|58=Failed to reset sequence numbers at beginning of the week."),
            "{answer}"
        );
        let mut client = world.log_on(&seat, 1);
        client.assert_live();
        next = client.log_out();
    }
    println!("5 rolls, {before_the_kill} of them written before the kill");
}

#[test]
fn h2_h7_a_new_pair_ends_the_other_four_weeks_on_and_a_third_takes_ones_place_at_once() {
    // Tuesday 09:00 in Chicago; summer time begins on 14 March.
    let mut world = World::at("2027-02-16T15:00:00Z");
    let first = Seat::of(&world.demo.ready, 0);
    let made = world.create(&first, &[]);
    let second = first.with_key(&made);
    assert_eq!(world.key(&first), ("expiring".to_owned(), "2027-03-16T21:00:00.000Z".to_owned()));
    assert_eq!(world.key(&second).0, "active");

    world.set("2027-03-16T20:59:00Z");
    let mut client = world.log_on(&first, 1);
    world.set("2027-03-16T21:00:00Z");
    client.assert_live();
    assert_eq!(world.key(&first).0, "expired");
    let next = client.next;
    let answer = world.answer(&first, next);
    assert!(answer.contains("|35=5|") && answer.contains(REFUSED), "{answer}");
    let reasons = world.audit("logon-refused");
    assert_eq!(reasons.last().unwrap()["reason"], "access-key-expired");
    client.assert_live();
    let next = client.log_out();
    let mut client = world.log_on(&second, next);

    let made = world.create(&first, &[]);
    let third = first.with_key(&made);
    let (state, ends) = world.key(&second);
    assert_eq!((state.as_str(), ends.as_str()), ("expiring", "2027-04-14T21:00:00.000Z"));
    let code = world.code(NORTH);
    let create = ["key", "create", "--session", first.session(), "--as", NORTH, "--code", &code];
    let text = world.refused(&create);
    assert!(text.contains(&second.access_key) && text.contains(&third.access_key), "{text}");
    client.assert_live();
    let made = world.create(&first, &["--delete", &second.access_key]);
    let fourth = first.with_key(&made);
    let logout = client.hear_type("5");
    assert!(logout.contains("|58=Session ended. Logout forced.|"), "{logout}");
    client.say("5", "");
    while client.hear_or_end().is_some() {}
    let answer = world.answer(&second, client.next);
    assert!(answer.contains(REFUSED), "h7: {answer}");
    assert_eq!(world.audit("logon-refused").last().unwrap()["reason"], "access-key-deleted");
    assert_eq!(world.key(&second).0, "deleted");
    assert_eq!((world.key(&third).0.as_str(), world.key(&fourth).0.as_str()), ("expiring", "active"));
    let mut client = world.log_on(&fourth, client.next);

    // Deleted without another in its place: the same, at any hour.
    let used = fourth.access_key.clone();
    let delete = ["key", "delete", &used, "--session", first.session(), "--as", NORTH, "--reason", "lost"];
    world.done(&delete);
    let answer = world.answer(&fourth, client.next + 1);
    assert!(answer.contains(REFUSED), "h7: {answer}");
    assert!(client.hear_type("5").contains("|58=Session ended. Logout forced.|"));
    client.say("5", "");
    while client.hear_or_end().is_some() {}
    world.log_on(&third, client.next).log_out();
}

#[test]
fn h2_h3_a_pair_lives_twelve_months_and_each_notice_comes_once_over_restarts() {
    let mut world = World::at("2027-01-12T15:00:00Z");
    let seat = Seat::of(&world.demo.ready, 0);
    let (state, ends) = world.key(&seat);
    assert_eq!(state, "active");
    assert!(ends.starts_with("2028-01-12T1"), "{ends}");
    let days = ["60 days", "30 days", "14 days", "7 days", "1 day "];
    for (clock, told) in [
        ("2027-11-10T12:00:00Z", 0),
        ("2027-11-20T12:00:00Z", 1),
        ("2027-12-10T12:00:00Z", 1),
        ("2027-12-20T12:00:00Z", 2),
        ("2028-01-06T12:00:00Z", 4),
        ("2028-01-11T17:00:00Z", 5),
        ("2028-01-12T17:00:00Z", 5),
    ] {
        world.set(clock);
        soon(clock, || world.details("key-pair-expiring", &seat).len() >= told);
        // The same again: nothing is told a second time.
        world = world.again(clock);
        let details = world.details("key-pair-expiring", &seat);
        assert_eq!(details.len(), told, "{clock}: {details:?}");
        for (detail, days) in details.iter().zip(days) {
            assert!(detail.contains(&format!(": {days}")), "{clock}: {detail}");
        }
    }
    assert_eq!(world.key(&seat), ("expired".to_owned(), ends));
    assert_eq!(world.details("key-pair-expired", &seat).len(), 1);
    assert!(world.answer(&seat, 1).contains(REFUSED));
    // Nothing is left that could be shown; a new pair can be made.
    let text = world.download(seat.session(), NORTH).unwrap_err();
    assert!(text.contains("no key pair is good"), "{text}");
    let made = world.create(&seat, &[]);
    world.log_on(&seat.with_key(&made), 1).log_out();
}

#[test]
fn h4_ten_codes_a_day_of_the_venues_zone_each_used_once() {
    // The demo's own six pairs of the firm took six of them.
    let mut world = World::at("2027-02-16T15:00:00Z");
    for n in 7..=10 {
        assert!(world.download("NA1", NORTH).is_ok(), "{n}");
    }
    let text = world.download("NA1", NORTH).unwrap_err();
    assert!(text.contains("one-time passwords of the day") || text.contains("codes-used-up"), "{text}");
    world.set("2027-02-17T05:58:00Z");
    assert!(world.download("NA1", NORTH).is_err(), "it is still Tuesday in Chicago");
    world.set("2027-02-17T06:00:00Z");
    assert!(world.download("NA1", NORTH).is_ok());
    // The same code again, and a wrong one.
    let code = world.code(NORTH);
    let again = ["key", "download", "--session", "NA1", "--as", NORTH, "--code", &code];
    world.done(&again);
    world.refused(&again);
    // Others have their own ten.
    assert!(world.download("SA1", SOUTH).is_ok());
    assert!(world.download("SA1", NORTH).is_err(), "another firm's");

    let count = |event: &str| world.audit(event).len();
    assert_eq!((count("key-pair-created"), count("key-pair-downloaded")), (12, 7));
    let refusals = world.audit("key-pair-refused");
    let reasons: Vec<&str> = refusals.iter().filter_map(|entry| entry["reason"].as_str()).collect();
    assert_eq!(reasons, ["codes-used-up", "codes-used-up", "used-code", "right-missing"]);
}

#[test]
fn h4_the_customer_center_is_closed_from_friday_to_sunday_but_for_the_desks_hour() {
    let mut world = World::at("2027-02-16T15:00:00Z");
    world.set("2027-02-19T22:29:00Z");
    assert!(world.download("NA1", NORTH).is_ok(), "Friday 16:29:30");
    world.set("2027-02-19T22:30:00Z");
    let text = world.download("NA1", NORTH).unwrap_err();
    assert!(text.contains("2027-02-21T16:00:00"), "it says when it opens: {text}");
    world.set("2027-02-21T15:59:00Z");
    assert!(world.download("NA1", NORTH).is_err(), "Sunday 09:59:30");
    world.set("2027-02-21T16:00:00Z");
    assert!(world.download("NA1", NORTH).is_ok());

    world.set("2027-02-27T12:00:00Z");
    assert!(world.download("NA1", NORTH).is_err());
    world.done(&["key", "hours", "--firm", "NORTH", "--reason", "a lost key"]);
    assert!(world.download("NA1", NORTH).is_ok());
    assert!(world.download("SA1", SOUTH).is_err(), "one firm only");
    world.set("2027-02-27T13:05:00Z");
    assert!(world.download("NA1", NORTH).is_err(), "for an hour");
    assert_eq!(world.audit("key-hours-opened").last().unwrap()["firm"], "NORTH");
    // Deleting is possible at all hours.
    let key = Seat::of(&world.demo.ready, 0).access_key;
    world.done(&["key", "delete", &key, "--session", "NA1", "--as", NORTH, "--reason", "lost"]);
}
