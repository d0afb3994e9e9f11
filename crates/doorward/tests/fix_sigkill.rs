//! SIGKILL at random moments while FIX sessions trade: nothing that was acknowledged is ever missing, and no number is
//! used twice (F8).
//!
//! This process is the clients and the venue's operator; the node is a process of its own. What was acknowledged is
//! written down here, and held against the node after each kill. `DOORWARD_FIX_SIGKILL_KILLS` sets the number of kills
//! (200), `DOORWARD_FIX_SIGKILL_SEED` the seed of the moments, which is printed.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "support/fix_peer.rs"]
mod fix_peer;
#[path = "support/node.rs"]
mod node;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use doorward::clock::Clock;
use doorward::journal::{RealDisk, verify};
use doorward_client::api::AdminClient;
use doorward_core::text::percent_encoded;
use doorward_core::time::Wall;
use fix_peer::{FixPeer, Seat, get};
use node::{Chance, Demo};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

/// Kills, unless `DOORWARD_FIX_SIGKILL_KILLS` names another number.
const KILLS: u64 = 200;
/// The kills end after so long, however many there were.
const SPAN_MAX: Duration = Duration::from_secs(1_200);
/// From the moment when all doors listen to the kill, in milliseconds.
const KILL_AFTER_MS: (u64, u64) = (5, 150);
/// Clients that trade; one stream more only hears from the venue and is first logged on to at the end.
const CLIENTS: usize = 4;
/// Messages that one Resend Request is answered with at most.
const RESEND_MAX: u64 = 2_500;
/// Fields of header and trailer: all else is the body.
const HEADER: [&str; 13] = ["8", "9", "10", "34", "43", "49", "50", "52", "56", "57", "122", "142", "369"];

/// The connection is gone.
struct Gone;

/// The clock of a demo over its restarts: this machine's, so much ahead that it is far from the close and the open of a
/// week.
struct DemoClock {
    ahead: Duration,
}

impl DemoClock {
    /// Begins at noon (UTC) of the next Wednesday.
    fn new() -> Self {
        let real = Clock::system().now().wall;
        let day = real.as_s().div_euclid(86_400);
        // The Unix epoch is a Thursday.
        let wednesday = day + 7 - (day + 1) % 7;
        Self { ahead: Wall::from_s(wednesday * 86_400 + 43_200).since(real) }
    }

    fn start(&self, folder: &Path) -> Demo {
        let now = (Clock::system().now().wall + self.ahead).to_string();
        Demo::start(folder, &["--data", "d", "--clock", &now])
    }
}

/// One honest client: what it sent, and what it was told.
struct Client {
    seat: Seat,
    /// The clock of the demo is so far ahead of this machine's.
    ahead: Duration,
    /// MsgSeqNum of its next message, and of the next one it expects.
    next: u64,
    next_in: u64,
    /// Application messages that it sent: type and body.
    sent: BTreeMap<u64, (&'static str, String)>,
    /// Application messages that it received, each body with its type.
    seen: BTreeMap<u64, String>,
    /// Numbers of session messages that it received.
    session: BTreeSet<u64>,
    /// Orders that wait for their first report.
    waiting: BTreeSet<String>,
    /// Orders that were told to be new.
    answered: BTreeSet<String>,
    orders: u64,
    logons: u64,
    fetched_again: u64,
    /// The range that it asked for because of a gap: where it begins, and the number that showed the gap.
    asked: Option<(u64, u64)>,
    /// The next number of a range that it fetches once more.
    again: Option<u64>,
    violations: Vec<String>,
}

impl Client {
    fn new(seat: Seat, ahead: Duration) -> Self {
        Self {
            seat,
            ahead,
            next: 1,
            next_in: 1,
            sent: BTreeMap::new(),
            seen: BTreeMap::new(),
            session: BTreeSet::new(),
            waiting: BTreeSet::new(),
            answered: BTreeSet::new(),
            orders: 0,
            logons: 0,
            fetched_again: 0,
            asked: None,
            again: None,
            violations: Vec::new(),
        }
    }

    fn violation(&mut self, what: impl std::fmt::Display) {
        self.violations.push(format!("{}: {what}", self.seat.comp));
    }

    fn send(&mut self, peer: &mut FixPeer, msg_type: &'static str, body: &str) -> Result<(), Gone> {
        let bytes = peer.build(msg_type, body);
        if msg_type == "D" {
            self.sent.insert(self.next, (msg_type, body.to_owned()));
        }
        self.next = peer.next;
        peer.stream.write_all(&bytes).map_err(|_| Gone)
    }

    /// Logs on and off and trades until the node is gone.
    fn trade(&mut self, ready: &Value, chance: &mut Chance) -> Result<(), Gone> {
        while self.violations.is_empty() {
            let mut peer = self.log_on(ready)?;
            for _ in 0..chance.between(1, 12) {
                let orders = chance.between(1, 3);
                for _ in 0..orders {
                    self.order(&mut peer, chance)?;
                }
                self.until_answered(&mut peer)?;
                if chance.between(0, 3) == 0 {
                    let from = self.next_in.saturating_sub(chance.between(1, 60)).max(1);
                    self.fetch_again(&mut peer, from)?;
                }
            }
            // Half of the sessions end in order, the others break off.
            if chance.between(0, 1) == 0 {
                self.log_out(peer)?;
            }
        }
        Ok(())
    }

    fn log_on(&mut self, ready: &Value) -> Result<FixPeer, Gone> {
        let mut peer = FixPeer::try_connect(ready, &self.seat).map_err(|_| Gone)?;
        (peer.next, peer.ahead) = (self.next, self.ahead);
        (self.asked, self.again) = (None, None);
        let logon = peer.logon();
        self.next = peer.next;
        peer.stream.write_all(&logon).map_err(|_| Gone)?;
        let answer = peer.hear_or_end().ok_or(Gone)?;
        if get(&answer, "35") != Some("A") {
            self.violation(format_args!("an honest Logon was answered {answer}"));
            return Err(Gone);
        }
        self.logons += 1;
        self.take(&mut peer, &answer)?;
        Ok(peer)
    }

    fn log_out(&mut self, mut peer: FixPeer) -> Result<(), Gone> {
        self.send(&mut peer, "5", "58=done|")?;
        while let Some(message) = peer.hear_or_end() {
            let last = get(&message, "35") == Some("5");
            self.take(&mut peer, &message)?;
            if last {
                return Ok(());
            }
        }
        Err(Gone)
    }

    fn order(&mut self, peer: &mut FixPeer, chance: &mut Chance) -> Result<(), Gone> {
        self.orders += 1;
        let id = format!("{}-{}", self.seat.comp, self.orders);
        let (side, price) = (chance.between(1, 2), chance.between(99, 101));
        self.waiting.insert(id.clone());
        let body = format!("11={id}|21=1|55=ES|54={side}|38=5|40=2|44={price}|60=20261121-00:00:00|");
        self.send(peer, "D", &body)
    }

    fn until_answered(&mut self, peer: &mut FixPeer) -> Result<(), Gone> {
        while !self.waiting.is_empty() || self.asked.is_some() {
            let message = peer.hear_or_end().ok_or(Gone)?;
            self.take(peer, &message)?;
        }
        Ok(())
    }

    /// Fetches everything from a number on once more: each body must be what it was.
    fn fetch_again(&mut self, peer: &mut FixPeer, from: u64) -> Result<(), Gone> {
        let to = (self.next_in - 1).min(from + RESEND_MAX - 1);
        self.again = Some(from);
        self.send(peer, "2", &format!("7={from}|16={to}|"))?;
        while self.again.is_some_and(|at| at <= to) {
            let message = peer.hear_or_end().ok_or(Gone)?;
            self.take(peer, &message)?;
        }
        self.again = None;
        self.fetched_again += self.seen.range(from..=to).count() as u64;
        Ok(())
    }

    /// One message of the node.
    fn take(&mut self, peer: &mut FixPeer, message: &str) -> Result<(), Gone> {
        let n = number(message, "34");
        let is_resent = get(message, "43") == Some("Y");
        let msg_type = get(message, "35").unwrap().to_owned();
        let mut after = n + 1;
        match msg_type.as_str() {
            "4" => {
                after = number(message, "36");
                let lost: Vec<u64> = self.seen.range(n..after).map(|(n, _)| *n).collect();
                if !lost.is_empty() {
                    self.violation(format_args!("{lost:?} were received, and are filled now: {message}"));
                }
            }
            "0" | "1" | "2" | "3" | "5" | "A" => {
                if self.seen.contains_key(&n) || !self.session.insert(n) {
                    self.violation(format_args!("number {n} is used twice: {message}"));
                }
            }
            _ => self.application(n, is_resent, message),
        }
        if let Some(at) = self.again.filter(|_| is_resent) {
            if n != at {
                self.violation(format_args!("{at} was due again, not {message}"));
            }
            self.again = Some(after);
        }
        if n <= self.next_in {
            self.next_in = self.next_in.max(after);
        }
        self.close_gap(peer, n)?;
        match msg_type.as_str() {
            "1" => self.send(peer, "0", &format!("112={}|", get(message, "112").unwrap())),
            "2" => self.resend(peer, number(message, "7"), number(message, "16")),
            "3" => {
                self.violation(format_args!("a Reject: {message}"));
                Err(Gone)
            }
            _ => Ok(()),
        }
    }

    /// Asks for what is missing before message `n`, and goes on behind it once all of that has come.
    fn close_gap(&mut self, peer: &mut FixPeer, n: u64) -> Result<(), Gone> {
        let (from, gap) = match self.asked {
            None if n <= self.next_in => return Ok(()),
            None => (0, n),
            Some(asked) => asked,
        };
        if self.next_in >= gap {
            self.asked = None;
            while self.seen.contains_key(&self.next_in) || self.session.contains(&self.next_in) {
                self.next_in += 1;
            }
        } else if from == 0 || self.next_in >= from + RESEND_MAX {
            self.asked = Some((self.next_in, gap));
            let range = format!("7={}|16={}|", self.next_in, gap - 1);
            self.send(peer, "2", &range)?;
        }
        Ok(())
    }

    fn application(&mut self, n: u64, is_resent: bool, message: &str) {
        let body = body(message);
        if self.session.contains(&n) {
            self.violation(format_args!("number {n} was a session message: {message}"));
        }
        match self.seen.get(&n) {
            Some(before) if *before != body => {
                let text = format!("number {n} was {before} and is {body} now");
                self.violation(text);
            }
            Some(_) if !is_resent => self.violation(format_args!("number {n} came twice without 43=Y")),
            Some(_) => return,
            None => {}
        }
        if get(&body, "35") == Some("8") && get(&body, "150") == Some("0") {
            let order = get(&body, "11").unwrap().to_owned();
            self.waiting.remove(&order);
            if !self.answered.insert(order.clone()) {
                self.violation(format_args!("{order} was told to be new a second time, with number {n}"));
            }
        }
        self.seen.insert(n, body);
    }

    /// Answers a Resend Request.
    fn resend(&mut self, peer: &mut FixPeer, from: u64, to: u64) -> Result<(), Gone> {
        let to = if to == 0 { self.next - 1 } else { to.min(self.next - 1) };
        let mut n = from;
        while n <= to {
            peer.next = n;
            let bytes = if let Some((msg_type, body)) = self.sent.get(&n) {
                n += 1;
                peer.build(msg_type, &format!("43=Y|122=20261121-00:00:00.000|{body}"))
            } else {
                n = self.sent.range(n..=to).next().map_or(to + 1, |(next, _)| *next);
                peer.build("4", &format!("43=Y|122=20261121-00:00:00.000|123=Y|36={n}|"))
            };
            peer.stream.write_all(&bytes).map_err(|_| Gone)?;
        }
        peer.next = self.next;
        Ok(())
    }
}

fn number(message: &str, tag: &str) -> u64 {
    get(message, tag).and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {tag}: {message}"))
}

fn body(message: &str) -> String {
    let is_body = |field: &&str| field.split_once('=').is_some_and(|(tag, _)| !HEADER.contains(&tag));
    let fields: Vec<&str> = message.split('|').filter(is_body).collect();
    format!("|{}|", fields.join("|"))
}

/// What the venue was told to send to a stream.
struct Sent {
    stream: String,
    count: u64,
    text: String,
    /// The first number, where the node acknowledged.
    first: Option<u64>,
}

/// Has the venue send until the node is gone.
fn send_from_venue(socket: &str, streams: &[String], chance: &mut Chance, sent: &mut Vec<Sent>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let admin = AdminClient::new(socket);
        loop {
            let at = chance.between(0, streams.len() as u64 - 1) as usize;
            let (stream, count) = (streams[at].clone(), chance.between(1, 5));
            let text = format!("venue {}", sent.len());
            let path = format!("/api/v1/streams/{}/messages", percent_encoded(&stream));
            let answer = admin.post(&path, &json!({ "count": count, "text": text })).await;
            let first = answer.as_ref().ok().map(|answer| answer["first"].as_u64().unwrap());
            sent.push(Sent { stream, count, text, first });
            if first.is_none() {
                return;
            }
        }
    });
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[test]
fn f8_what_fix_acknowledged_outlives_a_kill_at_any_moment() {
    let kills = setting("DOORWARD_FIX_SIGKILL_KILLS").unwrap_or(KILLS);
    let seed = setting("DOORWARD_FIX_SIGKILL_SEED")
        .unwrap_or_else(|| Clock::system().now().wall.as_us().unsigned_abs());
    println!("{kills} kills, DOORWARD_FIX_SIGKILL_SEED={seed}");
    let mut chance = Chance::new(seed);
    let dir = tempfile::Builder::new().prefix("dw").tempdir().unwrap();
    let folder = dir.path();
    let clock = DemoClock::new();
    let first = clock.start(folder);
    let mut clients: Vec<Client> =
        (0..=CLIENTS).map(|nth| Client::new(Seat::of(&first.ready, nth), clock.ahead)).collect();
    let streams: Vec<String> = clients.iter().map(|client| client.seat.stream()).collect();
    // The first Logon of the week begins at 1, and must be answered: who does not know whether it was heard has to ask.
    for client in &mut clients[..CLIENTS] {
        let begun = client.log_on(&first.ready).and_then(|peer| client.log_out(peer));
        assert!(begun.is_ok(), "{:?}", client.violations);
    }
    first.process.kill();

    let (began, mut killed, mut sent) = (Instant::now(), 0, Vec::new());
    while killed < kills && began.elapsed() < SPAN_MAX {
        let demo = clock.start(folder);
        let socket = demo.text("admin_socket");
        let (from, to) = KILL_AFTER_MS;
        let span = Duration::from_millis(chance.between(from, to));
        std::thread::scope(|scope| {
            for client in &mut clients[..CLIENTS] {
                let (mut chance, ready) = (Chance::new(chance.next()), &demo.ready);
                scope.spawn(move || client.trade(ready, &mut chance));
            }
            let (mut chance, streams, sent) = (Chance::new(chance.next()), &streams, &mut sent);
            scope.spawn(move || send_from_venue(&socket, streams, &mut chance, sent));
            demo.process.kill_after(span);
        });
        killed += 1;
        let violations: Vec<&String> = clients.iter().flat_map(|client| &client.violations).collect();
        assert!(violations.is_empty(), "after kill {killed} (seed {seed}): {violations:#?}");
        if killed % 20 == 0 {
            journal_is_whole(folder, killed);
        }
    }
    let took = began.elapsed();
    assert_eq!(killed, kills, "only so many kills in {} s", took.as_secs());

    everything_is_fetched(clock.start(folder), &mut clients);
    journal_is_whole(folder, killed);
    let messages = venue_messages_are_there_once(&clients, &sent);
    let fills = trades_agree(&clients);
    logons_are_in_the_audit(folder, &clients);
    let sum = |count: fn(&Client) -> u64| clients.iter().map(count).sum::<u64>();
    let orders = sum(|client| client.answered.len() as u64);
    println!(
        "{killed} kills in {} s; acknowledged: {} logons, {orders} orders, {fills} fills, {messages} messages of the \
         venue, {} messages received, {} of them fetched once more while it was killed; all there, byte for byte, \
         none twice",
        took.as_secs(),
        sum(|client| client.logons),
        sum(|client| client.seen.len() as u64),
        sum(|client| client.fetched_again),
    );
    assert!(orders > kills, "too little load for a test: {orders} orders");
}

/// Each client fetches all that it was ever sent; every order is answered.
fn everything_is_fetched(mut demo: Demo, clients: &mut [Client]) {
    // First the orders that nobody has heard yet: they may be filled against those of a client that was here before.
    for client in clients.iter_mut() {
        let answered = (|| {
            let mut peer = client.log_on(&demo.ready)?;
            client.until_answered(&mut peer)?;
            client.log_out(peer)
        })();
        assert!(answered.is_ok(), "{}: the node went away: {:?}", client.seat.comp, client.violations);
    }
    for client in clients.iter_mut() {
        let fetched = (|| {
            let mut peer = client.log_on(&demo.ready)?;
            client.until_answered(&mut peer)?;
            let mut from = 1;
            while from < client.next_in {
                client.fetch_again(&mut peer, from)?;
                from += RESEND_MAX;
            }
            client.log_out(peer)
        })();
        assert!(fetched.is_ok(), "{}: the node went away: {:?}", client.seat.comp, client.violations);
    }
    assert!(demo.process.stop().0.success());
    let violations: Vec<&String> = clients.iter().flat_map(|client| &client.violations).collect();
    assert!(violations.is_empty(), "{violations:#?}");
    for client in clients {
        assert_eq!(
            client.answered.len() as u64,
            client.orders,
            "{}: orders without an answer",
            client.seat.comp
        );
    }
}

/// What the venue sent and the node acknowledged is there under its number, all of it once; the number of messages.
fn venue_messages_are_there_once(clients: &[Client], sent: &[Sent]) -> u64 {
    let mut acknowledged = 0;
    for Sent { stream, count, text, first } in sent {
        let client = clients.iter().find(|client| client.seat.stream() == *stream).unwrap();
        let field = format!("|58={text}|");
        let found: Vec<u64> =
            client.seen.iter().filter(|(_, body)| body.contains(&field)).map(|(n, _)| *n).collect();
        match first {
            Some(first) => {
                let expected: Vec<u64> = (*first..first + count).collect();
                assert_eq!(found, expected, "{stream}: {text}");
                acknowledged += count;
            }
            None => assert!(found.len() as u64 <= *count, "{stream}: {text}: {found:?}"),
        }
        for (at, n) in (1..).zip(&found) {
            assert!(client.seen[n].contains(&format!("|148={at} of {count}|")), "{}", client.seen[n]);
        }
    }
    acknowledged
}

/// What one side of a trade was told, the other was told as well; no report came twice. The number of fills.
fn trades_agree(clients: &[Client]) -> u64 {
    let (mut ids, mut bought, mut sold, mut fills) = (BTreeSet::new(), 0, 0, 0);
    for report in clients.iter().flat_map(|client| client.seen.values()) {
        if get(report, "35") != Some("8") {
            continue;
        }
        assert!(ids.insert(get(report, "17").unwrap()), "an ExecID came twice: {report}");
        if matches!(get(report, "150"), Some("1" | "2" | "F")) {
            fills += 1;
            let side = if get(report, "54") == Some("1") { &mut bought } else { &mut sold };
            *side += number(report, "32");
        }
    }
    assert_eq!(bought, sold, "one side of a trade is missing");
    assert!(fills > 0, "nothing was traded");
    fills
}

fn logons_are_in_the_audit(folder: &Path, clients: &[Client]) {
    let path = folder.join("d/store/book.db");
    let book = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    for client in clients {
        let sql = "SELECT count(*) FROM audit WHERE event = 'logon-granted' AND name = ?1";
        let count: i64 = book.query_row(sql, [&client.seat.comp[..3]], |row| row.get(0)).unwrap();
        let told = client.logons;
        assert!(
            count.unsigned_abs() >= told,
            "{}: {told} Logons answered, {count} written",
            client.seat.comp
        );
    }
}

fn journal_is_whole(folder: &Path, kill: u64) {
    let disk = RealDisk::open_to_read(&folder.join("d/store/journal")).unwrap();
    let report = verify(&disk, &[]).unwrap();
    assert!(report.intact, "kill {kill}: {:#?}", report.findings);
}
