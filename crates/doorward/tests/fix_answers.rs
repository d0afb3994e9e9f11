//! Every text of the FIX page, the three logon scenarios and what follows them, from a real server over a real socket.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;

use doorward_core::fix::refusal::Refusal;
use serde_json::{Value, json};
use support::fix::{Fields, FixPeer, Gateway, Heard, frame};
use support::{Server, shared_demo, until};

/// The rows of the table that came.
type Seen = BTreeSet<&'static str>;

/// The row whose text this is, placeholders filled in.
fn row(text: &str) -> &'static str {
    let fits = |pattern: &str| {
        let mut rest = text;
        for (at, part) in pattern.split('<').enumerate() {
            let literal = if at == 0 { part } else { part.split_once('>').unwrap().1 };
            let found = if at == 0 { rest.strip_prefix(literal) } else { behind(rest, literal) };
            match found {
                Some(behind) => rest = behind,
                None => return false,
            }
        }
        rest.is_empty()
    };
    let rows = Refusal::ALL.iter().map(|row| row.id()).filter(|id| fits(id));
    // A text without placeholders stands for itself before any other row that would fit.
    rows.min_by_key(|id| id.matches('<').count()).unwrap_or_else(|| panic!("no row has the text {text:?}"))
}

/// What follows the next occurrence of a literal; all of it for the empty one at the end.
fn behind<'t>(text: &'t str, literal: &str) -> Option<&'t str> {
    if literal.is_empty() {
        return Some("");
    }
    text.char_indices().skip(1).find_map(|(at, _)| text[at..].strip_prefix(literal))
}

/// Collects rows and asserts texts.
#[derive(Default)]
struct Table(Seen);

impl Table {
    fn saw(&mut self, seen: &str, expected: &str) {
        assert_eq!(seen, expected);
        self.0.insert(row(seen));
    }

    /// A Logon that an unknown key signed: the text comes and nobody is locked.
    async fn strange(&mut self, demo: &Server, expected: &str, change: impl FnOnce(Fields) -> Fields) {
        let seat = demo.seat(0, Gateway::Cgw);
        let mut peer = demo.fix(&seat).await;
        let logon = change(peer.strange_logon());
        let text = peer.refused_logon(&logon).await;
        self.saw(&text, expected);
    }
}

/// Texts that need no good signature.
async fn of_strangers(demo: &Server) -> Seen {
    let mut table = Table::default();
    for tag in [354, 355, 1400, 1401, 1402, 34, 52, 1603, 1604, 1605] {
        let text =
            format!("Invalid Logon. All Required Fields are not Present. Missing Tag {tag}. Logout Forced");
        table.strange(demo, &text, |logon| logon.without(tag)).await;
    }
    let all = |logon: Fields| [354, 355, 1400, 1401, 1402].into_iter().fold(logon, Fields::without);
    table.strange(demo, "Invalid Logon. Logout Forced", all).await;
    let scheme = "Invalid Logon. Invalid EncryptedPasswordMethod(tag 1400). Logout Forced";
    for name in ["CME-1-SHA-512", "cme-1-sha-256", "CME-1-SHA-2566"] {
        table.strange(demo, scheme, |logon| logon.set(1400, name)).await;
    }
    let missing = "Error during logon. Heartbeat tag invalid.";
    table.strange(demo, missing, |logon| logon.without(108)).await;
    for (tag, name) in
        [(50, "SenderSubID"), (56, "TargetCompID"), (57, "TargetSubID"), (142, "SenderLocationID")]
    {
        let text = format!("{name} ({tag}) tag is not present");
        table.strange(demo, &text, |logon| logon.without(tag)).await;
    }
    let wrong = |tag, value: &'static str| move |logon: Fields| logon.set(tag, value);
    table
        .strange(demo, "TargetCompID (56) has an incorrect value: ICE should be CME", wrong(56, "ICE"))
        .await;
    table.strange(demo, "TargetSubID (57) has an incorrect value: 92 should be G", wrong(57, "92")).await;
    let begin = |logon| Fields { begin_string: "FIX.4.4".to_owned(), ..logon };
    table.strange(demo, "BeginString (8) has an incorrect value: FIX.4.4 should be FIX.4.2", begin).await;
    for (value, shown) in [("4", "4"), ("61", "61"), ("0", "0"), ("-5", "-5"), ("3O", "3O")] {
        let text = format!(
            "Error during logon. Heartbeat value invalid. Received: {shown}, expected value in range 5-60"
        );
        table.strange(demo, &text, |logon| logon.set(108, value)).await;
    }
    for indicator in ["P", "B"] {
        let text =
            format!("Received initial logon message with Primary Indication = {indicator} + Expected U or N");
        let comp = format!("{}{indicator}", &demo.seat(0, Gateway::Cgw).comp[..6]);
        table.strange(demo, &text, |logon| logon.set(49, comp)).await;
    }
    table.0
}

/// Rules of numbers: only whoever signed well hears of them.
async fn of_numbers(demo: &Server) -> Seen {
    let mut table = Table::default();
    let seat = demo.own_session(Gateway::Cgw);
    let mut peer = demo.fix(&seat).await;
    peer.next = 7;
    let first = peer.logon();
    let text = peer.refused_logon(&first).await;
    table.saw(&text, "Failed to reset sequence numbers at beginning of the week. Logout forced.");

    let mut peer = demo.fix(&seat).await;
    let reset = peer.sign(peer.unsigned_logon().with(141, "Y"));
    let text = peer.refused_logon(&reset).await;
    table.saw(&text, "Invalid Logon. ResetSeqNumFlag (141) must not be Y. Logout Forced");

    let mut live = demo.logged_on(&seat, 1).await;
    let mut peer = demo.fix(&seat).await;
    peer.next = 99;
    let second = peer.logon();
    let text = peer.refused_logon(&second).await;
    table.saw(&text, "Invalid Logon. Already logged on. Logout forced.");
    live.ping("still").await;
    live.log_out().await;

    let mut peer = demo.fix(&seat).await;
    peer.next = 3;
    let low = peer.logon();
    peer.send(&low).await;
    let logout = peer.refused().await;
    table.saw(&logout.at(58), "MsgSeqNum too low, expecting 5 but received 3. Logout forced.");
    logout.assert(&[(789, Some("5"))]);
    table.0
}

/// What is done to a Logon before it is signed.
type Change = fn(Fields) -> Fields;

/// What ends an in-session Logon, and other sessions that are logged on.
async fn in_session(demo: &Server) -> Seen {
    let mut table = Table::default();
    let seat = demo.own_session(Gateway::Msgw);
    let mut number = 1;
    let cases: [(&str, Change); 3] = [
        ("In session logon message must have 34=1. Logout forced.", |logon| {
            logon.set(34, "2").with(141, "Y")
        }),
        ("In session logon message must have 141=Y. Logout forced.", |logon| logon.set(34, "1")),
        ("Received invalid fault tolerance indicator = (U) Logout forced.", |logon| {
            let comp = format!("{}U", String::from_utf8_lossy(&logon.get(49)[..6]));
            logon.set(34, "1").with(141, "Y").set(49, comp)
        }),
    ];
    for (expected, change) in cases {
        let mut peer = demo.logged_on(&seat, number).await;
        let logon = peer.sign(change(peer.unsigned_logon()));
        let text = peer.refused_logon(&logon).await;
        table.saw(&text, expected);
        number = demo.numbers(&seat).await.0;
    }

    let mut peer = demo.logged_on(&seat, number).await;
    let no_142 = peer.head("D").without(142).with(11, "x");
    peer.say(no_142).await;
    let reject = peer.expect("3").await;
    reject.assert(&[(371, Some("142")), (372, Some("D")), (373, Some("1"))]);
    table.saw(&reject.at(58), "SenderLocationID (142) tag is not present");
    let requests = [peer.head("2").with(7, "1").with(16, "0"), {
        peer.next += 1;
        peer.head("2").with(7, "1").with(16, "0")
    }];
    peer.next += 1;
    peer.send_bytes(&requests.map(|request| request.bytes()).concat()).await;
    let reject = peer.hear_type("3").await;
    table.saw(&reject.at(58), "Resend in progress");
    peer.log_out().await;
    table.0
}

/// What logs out somebody who is logged on.
async fn ended(demo: &Server) -> Seen {
    let mut table = Table::default();
    let seat = demo.own_session(Gateway::Cgw);
    let mut peer = demo.logged_on(&seat, 1).await;
    for _ in 0..=10 {
        let mut garbled = peer.head("0").bytes();
        let at = garbled.len() - 2;
        garbled[at] = if garbled[at] == b'0' { b'1' } else { b'0' };
        peer.send_bytes(&garbled).await;
    }
    let logout = peer.refused().await;
    table.saw(&logout.at(58), "Too many garbled messages. Logout forced.");

    let mut peer = demo.logged_on(&seat, demo.numbers(&seat).await.0).await;
    peer.send_bytes(b"8=FIX.4.2\x019=70000\x0135=B\x01").await;
    let logout = peer.refused().await;
    table.saw(&logout.at(58), "Message too long. Logout forced.");

    let mut peer = demo.logged_on(&seat, demo.numbers(&seat).await.0).await;
    let path = format!("/api/v1/sessions/{}/end", seat.session);
    demo.api().post(&path, &json!({"reason": "a test"})).await.unwrap();
    let logout = peer.expect("5").await;
    table.saw(&logout.at(58), "Session ended. Logout forced.");
    let answer = peer.head("5");
    peer.send(&answer).await;
    peer.expect_end().await;
    table.0
}

/// The fifth refusal within a minute closes the port of the session, on all its listeners.
async fn port_closure(demo: &Server) -> Seen {
    const CLOSED: &str =
        "(1000) CME Administered Port Closure Due to Invalid Number of Login Attempts Being Exceeded";
    let mut table = Table::default();
    let seat = demo.own_session(Gateway::Cgw);
    let msgw = seat.on(Gateway::Msgw);
    let mut open = demo.logged_on(&seat, 1).await;
    for n in 1..=5 {
        let mut peer = demo.fix(if n % 2 == 0 { &seat } else { &msgw }).await;
        let bad = peer.logon().set(142, "US,NY");
        let text = peer.refused_logon(&bad).await;
        table.saw(&text, if n < 5 { "Invalid Logon. Logout Forced" } else { CLOSED });
    }
    assert!(demo.session(&seat).await["locked"].is_string(), "{}", demo.session(&seat).await);
    assert_eq!(demo.audit(&format!("session={}&event=fix-session-locked", seat.session)).await.len(), 1);
    open.ping("untouched").await;
    for gateway in [Gateway::Cgw, Gateway::Msgw] {
        let mut peer = demo.fix(&seat.on(gateway)).await;
        let bad = peer.logon().set(142, "US,NY");
        let text = peer.refused_logon(&bad).await;
        table.saw(&text, "Invalid Logon. Logout Forced");
        let mut peer = demo.fix(&seat.on(gateway)).await;
        let good = peer.logon();
        let text = peer.refused_logon(&good).await;
        table.saw(&text, CLOSED);
    }
    demo.reopen(&seat).await;
    demo.logged_on(&msgw, 1).await.log_out().await;
    open.ping("untouched still").await;
    // Opened again, it counts from the beginning.
    let mut peer = demo.fix(&msgw).await;
    let bad = peer.logon().set(142, "US,NY");
    let text = peer.refused_logon(&bad).await;
    table.saw(&text, "Invalid Logon. Logout Forced");
    table.0
}

/// Traders: each text, and that no number of the stream moves with a refusal.
async fn of_traders(demo: &Server) -> Seen {
    let mut table = Table::default();
    let trader = demo.registered().await;
    let right = trader.password.as_str();
    let text = demo.trader_refused(&trader, "quite another password", None).await;
    table.saw(&text, "invalid user or password");
    let text = demo.trader_refused(&trader, right, None).await;
    table.saw(&text, "one-time password required");
    let text = demo.trader_refused(&trader, right, Some(&trader.wrong_code())).await;
    table.saw(&text, "invalid one-time password");
    let newcomer = demo.sample("newcomer@north.example");
    let text = demo.trader_refused(&newcomer, &newcomer.password, None).await;
    assert!(text.starts_with("register an authenticator first: http://127.0.0.1:"), "{text}");
    table.0.insert(row(&text));
    let fresh = demo.person(json!({"auth_system": "password"})).await;
    let text = demo.trader_refused(&fresh, &fresh.password, None).await;
    table.saw(&text, "password must be changed");
    table.0
}

/// Two Logons at once for one stream, and one that cannot be verified in time.
async fn delayed() -> Seen {
    const IN_PROGRESS: &str = "Invalid Logon. Logon Already in Progress. Logout Forced";
    let mut table = Table::default();
    let demo = Server::demo(&["--fault", "gate-delay=3"]).await;
    let seat = demo.own_stream();
    let (mut first, mut second) = (demo.fix(&seat).await, demo.fix(&seat).await);
    let logons = [first.logon(), second.sign(second.unsigned_logon().set(142, "US,NY"))];
    first.send(&logons[0]).await;
    second.send(&logons[1]).await;
    // Whoever came first goes on.
    let (winner, loser) = tokio::join!(first.hear(), second.hear());
    let (mut winner, loser) = if winner.is("A") { (first, loser) } else { (second, winner) };
    table.saw(&loser.at(58), IN_PROGRESS);
    winner.next = 2;
    let test = winner.expect("1").await;
    let heartbeat = winner.head("0").with(112, test.at(112));
    winner.say(heartbeat).await;
    winner.ping("the first goes on").await;

    // On one connection both end.
    let other = demo.own_stream();
    let mut peer = demo.fix(&other).await;
    let twice = [peer.logon().bytes(), peer.logon().bytes()].concat();
    peer.send_bytes(&twice).await;
    let logout = peer.refused().await;
    table.saw(&logout.at(58), IN_PROGRESS);
    let mut peer = demo.fix(&other).await;
    let logon = peer.sign(peer.unsigned_logon().set(142, "US,NY"));
    peer.send(&logon).await;
    peer.welcomed().await.assert(&[(369, Some("1"))]);
    peer.log_out().await;

    demo.terminate();
    let logout = winner.expect("5").await;
    table.saw(&logout.at(58), "Server is stopping. Please reconnect. Logout forced.");
    table.0
}

async fn too_slow() -> Seen {
    let mut table = Table::default();
    let demo = Server::demo(&["--fault", "gate-delay=6"]).await;
    let mut peer = demo.fix(&demo.own_stream()).await;
    let logon = peer.logon();
    let text = peer.refused_logon(&logon).await;
    let expected = "Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced";
    table.saw(&text, expected);
    table.0
}

/// The close of the week, what is said behind it, and the open.
async fn over_the_week() -> Seen {
    let mut table = Table::default();
    // A Wednesday; the close is on Friday, 17:00 in Chicago, and the open on Sunday, 10:30.
    let demo = Server::demo(&["--clock", "2026-11-25T18:00:00Z"]).await;
    let seat = demo.own_stream();
    let mut peer = demo.logged_on(&seat, 1).await;
    peer.order("a1").await;
    let next = peer.next;
    demo.clock("2026-11-27T22:59:59Z").await;
    peer.ping("a second before the close").await;
    demo.clock("2026-11-27T23:00:00Z").await;
    let logout = peer.hear_type("5").await;
    table.saw(&logout.at(58), "Session closed. Logout forced.");
    let answer = peer.head("5");
    peer.send(&answer).await;
    peer.expect_end().await;

    let mut peer = demo.fix(&seat).await;
    peer.next = next + 1;
    let logon = peer.logon();
    let text = peer.refused_logon(&logon).await;
    table.saw(&text, "Session closed until 2026-11-29T16:30:00.000Z. Logout forced.");

    demo.clock("2026-11-29T16:30:00Z").await;
    let mut peer = demo.fix(&seat).await;
    peer.next = next + 1;
    let logon = peer.logon();
    let text = peer.refused_logon(&logon).await;
    table.saw(&text, "Failed to reset sequence numbers at beginning of the week. Logout forced.");
    let mut peer = demo.fix(&seat).await;
    let logon = peer.logon();
    peer.send(&logon).await;
    peer.welcomed().await.assert(&[(34, Some("1")), (369, Some("1"))]);
    peer.log_out().await;
    table.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_text_of_the_table_comes_over_the_wire() {
    let demo = shared_demo().await;
    let (strangers, numbers, session, ended, closure, traders, delayed, slow, week) = tokio::join!(
        of_strangers(demo),
        of_numbers(demo),
        in_session(demo),
        ended(demo),
        port_closure(demo),
        of_traders(demo),
        delayed(),
        too_slow(),
        over_the_week(),
    );
    let seen: Seen = [strangers, numbers, session, ended, closure, traders, delayed, slow, week]
        .into_iter()
        .flatten()
        .collect();
    let all: Seen = Refusal::ALL.iter().map(|row| row.id()).collect();
    assert_eq!(all.difference(&seen).collect::<Vec<_>>(), Vec::<&&str>::new(), "rows that never came");
}

#[tokio::test]
async fn the_four_error_texts_of_the_seed_are_its_own() {
    let demo = shared_demo().await;
    let seat = demo.seat(1, Gateway::Cgw);
    let refused = async |change: fn(Fields) -> Fields| {
        let mut peer = demo.fix(&seat).await;
        let logon = change(peer.strange_logon());
        peer.refused_logon(&logon).await
    };
    let missing = refused(|logon| logon.without(1402)).await;
    assert_eq!(
        missing,
        "Invalid Logon. All Required Fields are not Present. Missing Tag 1402. Logout Forced"
    );
    let scheme = refused(|logon| logon.set(1400, "HMAC")).await;
    assert_eq!(scheme, "Invalid Logon. Invalid EncryptedPasswordMethod(tag 1400). Logout Forced");
    let encoding = refused(|logon| logon.set(1402, "+".repeat(43))).await;
    assert_eq!(encoding, "Invalid Logon. Logout Forced");
    let unknown = refused(|logon| logon).await;
    assert_eq!(unknown, "Invalid Logon. Logout Forced");
}

/// Fields that no message of ours may have in `cme-secure`.
const NEVER: [(u32, Option<&str>); 8] =
    [(98, None), (354, None), (355, None), (1400, None), (1401, None), (1402, None), (43, None), (142, None)];

fn assert_header(heard: &Heard, peer: &FixPeer, number: u64, processed: u64) {
    let (number, processed) = (number.to_string(), processed.to_string());
    heard.assert(&[
        (8, Some("FIX.4.2")),
        (34, Some(&number)),
        (49, Some("CME")),
        (50, Some(peer.seat.gateway.sub_id())),
        (56, Some(&peer.seat.comp)),
        (57, Some(&peer.seat.operator.to_uppercase())),
        (369, Some(&processed)),
    ]);
    heard.assert(&NEVER);
    let at = heard.at(52);
    let form = at.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    assert_eq!(form, "00000000-00:00:00.000");
}

#[tokio::test]
async fn at_the_beginning_of_the_week_a_logon_is_answered_and_tested() {
    let demo = shared_demo().await;
    let mut seat = demo.own_stream();
    // Our messages have it in upper case.
    seat.operator = seat.operator.to_lowercase();
    let mut peer = demo.fix(&seat).await;
    let permits_lower = {
        let logon = peer.sign(peer.unsigned_logon().with(141, "N").set(108, "45"));
        peer.send(&logon).await;
        let logon = peer.expect("A").await;
        assert_header(&logon, &peer, 1, 1);
        logon.assert(&[
            (108, Some("45")),
            (141, Some("N")),
            (1603, Some("Test Suite")),
            (1604, Some("1.0")),
            (1605, Some("Example")),
        ]);
        let tags: Vec<u32> = logon.fields().iter().map(|(tag, _)| *tag).collect();
        assert_eq!(tags, [8, 9, 35, 34, 49, 50, 52, 56, 57, 369, 108, 141, 1603, 1604, 1605, 10]);
        let test = peer.expect("1").await;
        assert_header(&test, &peer, 2, 1);
        test.at(112)
    };
    peer.next = 2;
    let heartbeat = peer.head("0").with(112, permits_lower);
    peer.say(heartbeat).await;
    let report = peer.order("first").await;
    assert_header(&report, &peer, 3, 3);
    let logout = peer.log_out().await;
    assert_header(&logout, &peer, 4, 4);
    logout.assert(&[(789, Some("5")), (58, None)]);
    assert_eq!(demo.numbers(&seat).await, (5, 5));
}

#[tokio::test]
async fn mid_week_the_numbers_go_on() {
    let demo = shared_demo().await;
    let seat = demo.own_stream();
    let mut peer = demo.logged_on(&seat, 1).await;
    peer.order("m1").await;
    peer.log_out().await;
    assert_eq!(demo.numbers(&seat).await, (5, 5));

    // The next one.
    let mut peer = demo.fix(&seat).await;
    peer.next = 5;
    let logon = peer.log_on().await;
    assert_header(&logon, &peer, 5, 5);
    logon.assert(&[(141, None)]);
    // Dropped without a Logout.
    drop(peer);
    until("the stream to be free", async || {
        demo.stream_of(&seat).await.filter(|stream| stream["live"].is_null())
    })
    .await;
    let (next_in, next_out) = demo.numbers(&seat).await;
    assert_eq!(next_in, 7);

    // 1 is too low, and moves nothing.
    let mut peer = demo.fix(&seat).await;
    let logon = peer.logon();
    peer.send(&logon).await;
    let logout = peer.refused().await;
    assert_eq!(logout.at(58), "MsgSeqNum too low, expecting 7 but received 1. Logout forced.");
    logout.assert(&[(789, Some("7")), (34, Some(&next_out.to_string()))]);
    assert_eq!(demo.numbers(&seat).await, (next_in, next_out));

    // Too high: logged on, and asked for what is missing.
    let mut peer = demo.fix(&seat).await;
    peer.next = 10;
    let logon = peer.logon();
    peer.send(&logon).await;
    peer.expect("A").await;
    let test = peer.expect("1").await;
    let ask = peer.expect("2").await;
    ask.assert(&[(7, Some("7")), (16, Some("9"))]);
    peer.next = 11;
    let heartbeat = peer.head("0").with(112, test.at(112));
    peer.say(heartbeat).await;
    let fill =
        peer.head("4").set(34, "7").with(43, "Y").with(122, peer.time(0)).with(36, "10").with(123, "Y");
    peer.send(&fill).await;
    peer.order("m2").await;
    peer.log_out().await;
    assert_eq!(demo.numbers(&seat).await.0, 14);
}

#[tokio::test]
async fn in_session_both_sides_begin_again() {
    let demo = shared_demo().await;
    let seat = demo.own_stream();
    let mut peer = demo.logged_on(&seat, 1).await;
    peer.order("before").await;
    peer.ping("no gap").await;
    peer.next = 1;
    let logon = peer.sign(peer.unsigned_logon().with(141, "Y"));
    peer.say(logon).await;
    let answer = peer.expect("A").await;
    assert_header(&answer, &peer, 1, 1);
    answer.assert(&[(141, Some("Y")), (108, Some("30"))]);
    assert_eq!(peer.next, 2);
    peer.order("behind").await.assert(&[(34, Some("2"))]);
    // What was sent before cannot be had again.
    let ask = peer.head("2").with(7, "1").with(16, "0");
    peer.say(ask).await;
    let fill = peer.expect("4").await;
    fill.assert(&[(34, Some("1")), (36, Some("2")), (43, Some("Y")), (123, Some("Y"))]);
    peer.expect("8").await.assert(&[(11, Some("behind")), (34, Some("2")), (43, Some("Y"))]);
    peer.log_out().await;
    let stream = demo.stream_of(&seat).await.unwrap();
    assert_eq!((&stream["reset"], &stream["next_in"]), (&json!(1), &json!(5)), "{stream}");
}

#[tokio::test]
async fn a_thousand_undelivered_messages_are_fetched() {
    const COUNT: u64 = 1_000;
    let demo = shared_demo().await;
    let seat = demo.own_stream();
    let mut peer = demo.logged_on(&seat, 1).await;
    peer.log_out().await;
    let (next_in, next_out) = demo.numbers(&seat).await;
    let first = demo.venue_sends(&seat, COUNT, "while you were away").await;
    assert_eq!(first, next_out);
    assert_eq!(demo.stream_of(&seat).await.unwrap()["undelivered"], COUNT);

    let mut peer = demo.fix(&seat).await;
    peer.next = next_in;
    let logon = peer.log_on().await;
    assert_eq!(logon.number(34), first + COUNT, "higher than expected");
    let ask = peer.head("2").with(7, first.to_string()).with(16, "0");
    peer.say(ask).await;
    for n in 0..COUNT {
        let news = peer.expect("B").await;
        assert_eq!(news.number(34), first + n);
        news.assert(&[(43, Some("Y")), (56, Some(&seat.comp)), (49, Some("CME"))]);
        assert!(news.at(122) <= news.at(52), "{news:?}");
        let body =
            [(148, format!("{} of {COUNT}", n + 1)), (33, "1".into()), (58, "while you were away".into())];
        assert_eq!(news.body(), body);
    }
    // The Logon and the Test Request are filled, and nothing else comes.
    let fill = peer.expect("4").await;
    assert_eq!((fill.number(34), fill.number(36)), (first + COUNT, first + COUNT + 2), "{fill:?}");
    fill.assert(&[(43, Some("Y")), (123, Some("Y"))]);
    assert!(fill.get(122).is_some());
    assert_eq!(demo.stream_of(&seat).await.unwrap()["undelivered"], 0);

    // Once more, the same bytes behind the header.
    let ask = peer.head("2").with(7, first.to_string()).with(16, first.to_string());
    peer.say(ask).await;
    let again = peer.expect("B").await;
    let at = |heard: &Heard| heard.0.windows(5).position(|window| window == b"\x01148=").unwrap();
    let body = &again.0[at(&again)..again.0.len() - 7];
    assert_eq!(body, b"\x01148=1 of 1000\x0133=1\x0158=while you were away\x01");
    peer.log_out().await;
}

#[tokio::test]
async fn a_resend_request_beyond_what_was_sent_is_rejected() {
    let demo = shared_demo().await;
    let mut peer = demo.logged_on(&demo.own_stream(), 1).await;
    let ask = peer.head("2").with(7, "3").with(16, "0");
    peer.say(ask).await;
    let reject = peer.expect("3").await;
    reject.assert(&[(45, Some("3")), (371, Some("7")), (372, Some("2")), (373, Some("5"))]);
    peer.log_out().await;
}

#[tokio::test]
async fn a_half_open_connection_is_probed() {
    let demo = shared_demo().await;
    let seat = demo.own_stream();
    let mut live = demo.logged_on(&seat, 1).await;

    // It answers: the new one is refused, and it is unharmed.
    let mut other = demo.fix(&seat).await;
    other.next = live.next;
    let logon = other.logon();
    other.send(&logon).await;
    let test = live.expect("1").await;
    let heartbeat = live.head("0").with(112, test.at(112));
    live.say(heartbeat).await;
    let logout = other.refused().await;
    assert_eq!(logout.at(58), "Invalid Logon. Already logged on. Logout forced.");
    logout.assert(&[(789, None), (34, Some("1"))]);
    live.order("unharmed").await;

    // It is silent: it is dropped, and the new one goes on.
    let mut other = demo.fix(&seat).await;
    other.next = live.next;
    let logon = other.sign(other.unsigned_logon().set(142, "US,NY"));
    other.send(&logon).await;
    live.expect("1").await;
    other.welcomed().await;
    live.expect_end().await;
    other.order("taken over").await;
    other.log_out().await;
}

#[tokio::test]
async fn of_many_logons_at_once_one_gets_the_stream() {
    let demo = shared_demo().await;
    let seat = demo.own_stream();
    let mut peers = Vec::new();
    for n in 0..8 {
        let mut peer = demo.fix(&seat).await;
        let logon = peer.sign(peer.unsigned_logon().set(142, format!("US,{n}")));
        peer.send(&logon).await;
        peers.push(peer);
    }
    let mut winners = Vec::new();
    for mut peer in peers {
        let heard = peer.hear().await;
        if heard.is("A") {
            winners.push(peer);
            continue;
        }
        let text = heard.at(58);
        let expected = [
            "Invalid Logon. Already logged on. Logout forced.",
            "Invalid Logon. Logon Already in Progress. Logout Forced",
        ];
        assert!(expected.contains(&text.as_str()), "{text}");
        peer.expect_end().await;
    }
    assert_eq!(winners.len(), 1);
    let locked = demo.session(&seat).await["locked"].clone();
    assert_eq!(locked, Value::Null, "nobody guessed anything");
}

#[tokio::test]
async fn what_a_trader_hears_of_a_change_of_the_password() {
    let demo = shared_demo().await;
    let fresh = demo.person(json!({"auth_system": "password"})).await;
    let seat = Server::trader_seat(&fresh);
    // A new one that is not good.
    let mut peer = demo.fix(&seat).await;
    let short = peer.trader_logon(&fresh.password, None).with(925, "short");
    peer.send(&short).await;
    let logout = peer.refused().await;
    logout.assert(&[(58, Some("password must be changed")), (1409, Some("3")), (925, None), (96, None)]);
    // A good one.
    let mut peer = demo.fix(&seat).await;
    let change = peer.trader_logon(&fresh.password, None).with(925, "a quite new passphrase");
    peer.send(&change).await;
    let logon = peer.expect("A").await;
    logon.assert(&[
        (98, Some("0")),
        (108, Some("30")),
        (1409, Some("1")),
        (925, None),
        (96, None),
        (50, None),
    ]);
    peer.next = 2;
    peer.order("t1").await;
    peer.log_out().await;
    // The numbers go on, and 141=Y begins anew.
    let mut peer = demo.fix(&seat).await;
    peer.next = 4;
    let logon = peer.trader_logon("a quite new passphrase", None);
    peer.send(&logon).await;
    peer.expect("A").await.assert(&[(1409, None), (34, Some("4"))]);
    peer.next = 5;
    peer.log_out().await;
    let mut peer = demo.fix(&seat).await;
    let logon = peer.trader_logon("a quite new passphrase", None).with(141, "Y");
    peer.send(&logon).await;
    peer.expect("A").await.assert(&[(141, Some("Y")), (34, Some("1"))]);
    peer.next = 2;
    peer.log_out().await;
}

#[tokio::test]
async fn a_garbled_message_is_dropped_and_not_counted() {
    let demo = shared_demo().await;
    let mut peer = demo.logged_on(&demo.own_stream(), 1).await;
    for _ in 0..10 {
        peer.send_bytes(&frame("FIX.4.2", b"35=0\x0134=x")).await;
    }
    peer.ping("still counted from where it was").await;
    peer.log_out().await;
}
