//! Bad input at the FIX door: the page's text or a silent close, bounded memory, a record that says what was wrong, and
//! somebody else who trades on meanwhile.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use support::fix::{Fields, FixPeer, Gateway, Seat, frame};
use support::{Server, WAIT_MAX, shared_demo, source, until};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;

const REFUSED: &str = "Invalid Logon. Logout Forced";

/// Somebody who trades while others send nonsense.
struct Bystander {
    peer: FixPeer,
    orders: u32,
}

impl Bystander {
    async fn new(demo: &Server) -> Self {
        Self { peer: demo.logged_on(&demo.own_stream(), 1).await, orders: 0 }
    }

    async fn trades(&mut self) {
        self.orders += 1;
        self.peer.order(&format!("o{}", self.orders)).await;
    }
}

/// Makes the bytes of a first message.
type First = Box<dyn Fn(&FixPeer) -> Vec<u8>>;

/// Does something to a trader's Logon.
type Change = Box<dyn Fn(Fields) -> Fields>;

/// What is to become of a first message.
#[derive(Clone, Copy)]
enum Fate {
    /// A Logout with this text; the reason in the audit trail.
    Text(&'static str, &'static str),
    /// The end of the connection and nothing else; the reason.
    Silence(&'static str),
}

/// Resident memory of the server, in KiB.
fn resident_kib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Reason of the latest record about a refused peer from an address.
async fn recorded(server: &Server, from: IpAddr) -> (String, Value) {
    until("the record of a refusal", async || {
        let entries = server.audit_from(from).await;
        let entry = entries.into_iter().find(|entry| !entry["reason"].is_null())?;
        Some((entry["reason"].as_str().unwrap().to_owned(), entry))
    })
    .await
}

/// Sends first messages, each on a connection of its own.
async fn first_messages(cases: Vec<(&str, First, Fate)>) {
    let demo = shared_demo().await;
    let seat = demo.own_session(Gateway::Cgw);
    let mut bystander = Bystander::new(demo).await;
    let before = resident_kib(demo);
    for (what, bytes, fate) in cases {
        let from = source();
        let mut peer = demo.fix_from(&seat, from).await;
        peer.send_bytes(&bytes(&peer)).await;
        let answer = peer.hear_or_end().await;
        let reason = match fate {
            Fate::Text(text, reason) => {
                let answer = answer.unwrap_or_else(|| panic!("{what}: closed without a word"));
                answer.assert(&[(35, Some("5"))]);
                assert_eq!(answer.at(58), text, "{what}");
                peer.expect_end().await;
                let (check, _) = demo.failed_check(from).await;
                assert!(!check.is_empty(), "{what}: no check is named");
                reason
            }
            Fate::Silence(reason) => {
                assert!(answer.is_none(), "{what}: {answer:?}");
                reason
            }
        };
        let (seen, entry) = recorded(demo, from).await;
        assert_eq!(seen, reason, "{what}: {entry}");
        bystander.trades().await;
        demo.forgive(&seat).await;
    }
    let grown = resident_kib(demo).saturating_sub(before);
    assert!(grown < 64 * 1_024, "{grown} KiB more");
    // Nothing of it moved the stream or locked the session.
    let mut peer = demo.logged_on(&seat, 1).await;
    peer.log_out().await;
}

/// A good Logon with something done to its fields.
fn with(change: impl Fn(Fields) -> Fields + 'static) -> First {
    Box::new(move |peer| change(peer.logon()).bytes())
}

/// A Logon that was changed before it was signed.
fn signed(change: impl Fn(Fields) -> Fields + 'static) -> First {
    Box::new(move |peer| peer.sign(change(peer.unsigned_logon())).bytes())
}

/// A good Logon with something done to its bytes.
fn raw(change: impl Fn(Vec<u8>) -> Vec<u8> + 'static) -> First {
    Box::new(move |peer| change(peer.logon().bytes()))
}

/// The body of a message: between BodyLength and CheckSum.
fn body(bytes: &[u8]) -> &[u8] {
    let begin = bytes.windows(4).position(|window| window == b"\x0135=").unwrap() + 1;
    &bytes[begin..bytes.len() - 7]
}

/// The message with another BodyLength (9), and a CheckSum that is right for it.
fn of_length(bytes: &[u8], length: &str) -> Vec<u8> {
    let mut out = format!("8=FIX.4.2\u{1}9={length}\u{1}").into_bytes();
    out.extend(body(bytes));
    let sum = out.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    out.extend(format!("10={sum:03}\u{1}").into_bytes());
    out
}

const GARBLED: Fate = Fate::Silence("no-logon");

#[tokio::test]
async fn frames_that_are_none() {
    first_messages(vec![
        (
            "a wrong checksum",
            raw(|mut bytes| {
                let at = bytes.len() - 2;
                bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
                bytes
            }),
            GARBLED,
        ),
        (
            "a checksum of two digits",
            raw(|bytes| {
                let len = bytes.len();
                [&bytes[..len - 4], &bytes[len - 3..], &bytes].concat()
            }),
            GARBLED,
        ),
        ("a body length that is too small", raw(|bytes| of_length(&bytes, "200")), GARBLED),
        (
            "a body length that is too great",
            raw(|bytes| {
                let length = (body(&bytes).len() + 5).to_string();
                [of_length(&bytes, &length), bytes].concat()
            }),
            GARBLED,
        ),
        ("a body length beyond the limit", raw(|bytes| of_length(&bytes, "4096")), Fate::Silence("too-long")),
        ("a huge body length", raw(|bytes| of_length(&bytes, "999999999")), Fate::Silence("too-long")),
        ("a body length of 20 digits", raw(|bytes| of_length(&bytes, "18446744073709551615")), GARBLED),
        ("a negative body length", raw(|bytes| of_length(&bytes, "-1")), GARBLED),
        ("a body length of 0", raw(|bytes| of_length(&bytes, "0")), GARBLED),
        ("no body length", raw(|bytes| [b"8=FIX.4.2\x01", body(&bytes), b"10=000\x01"].concat()), GARBLED),
        (
            "no SOH before the checksum",
            raw(|bytes| {
                let body = body(&bytes);
                frame("FIX.4.2", &body[..body.len() - 1])
            }),
            GARBLED,
        ),
        (
            "no SOH at the end",
            raw(|mut bytes| {
                bytes.pop();
                bytes.push(b'|');
                bytes
            }),
            GARBLED,
        ),
        (
            "bars for SOH",
            raw(|bytes| bytes.into_iter().map(|byte| if byte == 1 { b'|' } else { byte }).collect()),
            GARBLED,
        ),
        ("another protocol", Box::new(|_| b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec()), GARBLED),
        (
            "a TLS handshake",
            Box::new(|_| vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03]),
            GARBLED,
        ),
    ])
    .await;
}

#[tokio::test]
async fn fields_that_are_none() {
    let in_body = |field: &'static [u8]| raw(move |bytes| frame("FIX.4.2", &[body(&bytes), field].concat()));
    first_messages(vec![
        ("tag 0", in_body(b"0=x\x01"), GARBLED),
        ("a tag with a leading 0", in_body(b"0999=x\x01"), GARBLED),
        ("a tag of 20 digits", in_body(b"18446744073709551616=x\x01"), GARBLED),
        ("a tag of 30 digits that wraps around", in_body(b"340282366920938463463374607431=x\x01"), GARBLED),
        ("a negative tag", in_body(b"-58=x\x01"), GARBLED),
        ("a field without =", in_body(b"58\x01"), GARBLED),
        ("a field without a tag", in_body(b"=x\x01"), GARBLED),
        ("an empty field", in_body(b"\x01"), GARBLED),
        (
            "a SOH that is missing between two fields",
            with(|logon| {
                let operator = String::from_utf8(logon.get(50).to_vec()).unwrap();
                let comp = String::from_utf8(logon.get(49).to_vec()).unwrap();
                logon.without(50).set(49, format!("{comp}50={operator}"))
            }),
            Fate::Text("SenderSubID (50) tag is not present", "wrong-header"),
        ),
        (
            "a header field twice",
            with(|logon| logon.with(49, "ZZZ001N")),
            Fate::Text(REFUSED, "repeated-tag"),
        ),
        (
            "an unknown tag twice",
            with(|logon| logon.with(9_999, "a").with(9_999, "b")),
            Fate::Text(REFUSED, "repeated-tag"),
        ),
        ("an order before the Logon", Box::new(|peer| peer.an_order("early").bytes()), GARBLED),
        ("a heartbeat before the Logon", Box::new(|peer| peer.head("0").bytes()), GARBLED),
        ("a Logon without 49", with(|logon| logon.without(49)), GARBLED),
        (
            "a Logon of more than 4 KiB",
            with(|logon| logon.with(58, "x".repeat(4_096))),
            Fate::Silence("too-long"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn numbers_and_times_that_are_none() {
    const RANGE: [&str; 3] = [
        "Error during logon. Heartbeat value invalid. Received: 0, expected value in range 5-60",
        "Error during logon. Heartbeat value invalid. Received: 1000000000, expected value in range 5-60",
        "Error during logon. Heartbeat value invalid. Received: 30.5, expected value in range 5-60",
    ];
    let number = |value: &'static str| signed(move |logon| logon.set(34, value));
    let time = |value: &'static str| signed(move |logon| logon.set(52, value));
    let heart = |value: &'static str| signed(move |logon| logon.set(108, value));
    let wrong_number = Fate::Text(REFUSED, "missing-tag");
    let wrong_time = Fate::Text(REFUSED, "sending-time-ahead");
    let next_year = support::fix::time(365 * 86_400_000);
    let form = |fraction: &'static str| {
        signed(move |logon| {
            let time = String::from_utf8(logon.get(52).to_vec()).unwrap();
            logon.set(52, format!("{}{fraction}", &time[..17]))
        })
    };
    first_messages(vec![
        ("34=0", number("0"), wrong_number),
        ("34 negative", number("-1"), wrong_number),
        ("34=10^18", number("1000000000000000000"), wrong_number),
        ("34=2^64+1", number("18446744073709551617"), wrong_number),
        ("34=+1", number("+1"), wrong_number),
        ("34=1.0", number("1.0"), wrong_number),
        (
            "34=10^18-1",
            number("999999999999999999"),
            Fate::Text(
                "Failed to reset sequence numbers at beginning of the week. Logout forced.",
                "first-of-week",
            ),
        ),
        ("108=0", heart("0"), Fate::Text(RANGE[0], "wrong-heart-bt-int")),
        ("108=10^9", heart("1000000000"), Fate::Text(RANGE[1], "wrong-heart-bt-int")),
        ("108=30.5", heart("30.5"), Fate::Text(RANGE[2], "wrong-heart-bt-int")),
        ("52 without milliseconds", form(""), wrong_time),
        ("52 with microseconds", form(".123456"), wrong_time),
        ("52 with a zone", form(".000Z"), wrong_time),
        ("52 in RFC 3339", time("2026-11-21T20:00:00.000Z"), wrong_time),
        ("52 of the 32nd", time("20261132-20:00:00.000"), wrong_time),
        ("52 of no month", time("20261321-20:00:00.000"), wrong_time),
        ("52 at 24 o'clock", time("20261121-24:00:00.000"), wrong_time),
        ("52 of next year", signed(move |logon| logon.set(52, &next_year)), wrong_time),
        ("52 of 1970", time("19700101-00:00:00.000"), Fate::Text(REFUSED, "sending-time-stale")),
    ])
    .await;
}

#[tokio::test]
async fn credentials_that_are_none() {
    let signature = |value: fn(&str) -> String| {
        with(move |logon| {
            let value = value(std::str::from_utf8(logon.get(1402)).unwrap());
            logon.set(1401, value.len().to_string()).set(1402, value)
        })
    };
    let bad = Fate::Text(REFUSED, "bad-signature");
    let differs = Fate::Text(REFUSED, "length-differs");
    let length = |value: &'static str| with(move |logon| logon.set(354, value));
    first_messages(vec![
        ("1402 with padding", signature(|value| format!("{value}=")), bad),
        ("1402 in the standard alphabet", signature(|value| format!("+/{}", &value[2..])), bad),
        ("1402 of 42 characters", signature(|value| value[..42].to_owned()), bad),
        ("1402 of 44 characters", signature(|value| format!("{value}A")), bad),
        (
            "1402 of 43 characters that stand for more than 256 bits",
            signature(|value| format!("{}_", &value[..42])),
            bad,
        ),
        ("1402 with a space", signature(|value| format!("{} ", &value[..42])), bad),
        ("1402 in hexadecimal", signature(|_| "ab".repeat(32)), bad),
        (
            "355 with a SOH inside",
            with(|logon| logon.set(355, "oNDxM33uE8\u{1}1ohWuVRtW")),
            Fate::Text(REFUSED, "unknown-access-key"),
        ),
        (
            "355 with a field inside",
            with(|logon| {
                let inside = "x\u{1}49=ZZZ001N\u{1}58=evil";
                logon.set(354, inside.len().to_string()).set(355, inside)
            }),
            Fate::Text(REFUSED, "unknown-access-key"),
        ),
        ("354 that is too small", length("19"), differs),
        ("354 that is too great", length("21"), differs),
        ("354=0", length("0"), differs),
        ("354 beyond the message", length("1000000"), differs),
        ("354 negative", length("-20"), differs),
        ("354 that is no number", length("twenty"), differs),
        ("354=10^19", length("10000000000000000000"), differs),
        ("1401 that lies", with(|logon| logon.set(1401, "42")), differs),
        ("1401 beyond the message", with(|logon| logon.set(1401, "999999999")), differs),
    ])
    .await;
}

#[tokio::test]
async fn a_logon_in_pieces_of_one_byte_is_a_logon() {
    let demo = shared_demo().await;
    let mut bystander = Bystander::new(demo).await;
    let mut peer = demo.fix(&demo.own_stream()).await;
    let logon = peer.logon().bytes();
    for byte in logon {
        peer.send_bytes(&[byte]).await;
        peer.stream.flush().await.unwrap();
    }
    peer.welcomed().await;
    for byte in peer.head("1").with(112, "in pieces").bytes() {
        peer.send_bytes(&[byte]).await;
    }
    peer.next += 1;
    peer.expect("0").await.assert(&[(112, Some("in pieces"))]);
    bystander.trades().await;
    peer.log_out().await;
}

#[tokio::test]
async fn what_comes_behind_a_pending_logon_is_held_within_a_limit() {
    let demo = Server::demo(&["--fault", "gate-delay=3"]).await;
    let mut bystander = Bystander::new(&demo).await;
    // A second Logon on the same connection: both end.
    let seat = demo.own_session(Gateway::Cgw);
    let from = source();
    let mut peer = demo.fix_from(&seat, from).await;
    let logon = peer.logon().bytes();
    peer.send_bytes(&[&logon[..], &logon[..]].concat()).await;
    let logout = peer.refused().await;
    assert_eq!(logout.at(58), "Invalid Logon. Logon Already in Progress. Logout Forced");
    assert_eq!(recorded(&demo, from).await.0, "logon-in-progress");
    // More than 64 KiB behind it.
    let from = source();
    let mut peer = demo.fix_from(&demo.own_session(Gateway::Cgw), from).await;
    let logon = peer.logon().bytes();
    let order = peer.an_order("held").bytes();
    peer.send_bytes(&[logon, order.repeat(70_000 / order.len() + 1)].concat()).await;
    peer.expect_end().await;
    assert_eq!(recorded(&demo, from).await.0, "held-too-much");
    bystander.trades().await;
}

/// A live session gets all of it: what is garbled is dropped and not counted.
#[tokio::test]
async fn garbled_messages_in_session_are_dropped_and_not_counted() {
    let demo = shared_demo().await;
    let mut bystander = Bystander::new(demo).await;
    let mut peer = demo.logged_on(&demo.own_stream(), 1).await;
    let good = peer.an_order("g").bytes();
    let fields = |field: &[u8]| frame("FIX.4.2", &[body(&good), field].concat());
    let mut flipped = good.clone();
    let at = flipped.len() - 2;
    flipped[at] = if flipped[at] == b'0' { b'1' } else { b'0' };
    let all = [
        flipped,
        of_length(&good, "100"),
        of_length(&good, "18446744073709551615"),
        fields(b"0=x\x01"),
        fields(b"18446744073709551616=x\x01"),
        fields(b"58\x01"),
        fields(b"354=4000\x01355=x\x01"),
        b"nonsense\x01\x01\x01".to_vec(),
    ];
    for (n, garbled) in all.iter().enumerate() {
        peer.send_bytes(garbled).await;
        peer.ping(&format!("behind the {n}th")).await;
    }
    bystander.trades().await;
    peer.log_out().await;
}

#[tokio::test]
async fn numbers_in_session_that_are_none_log_out() {
    let demo = shared_demo().await;
    let mut bystander = Bystander::new(demo).await;
    let seat = demo.own_stream();
    let mut next = 1;
    let cases = [
        ("0", "MsgSeqNum too low, expecting <n> but received 0. Logout forced."),
        ("-1", "MsgSeqNum (34) has an incorrect value: -1 should be <n>"),
        ("1000000000000000000", "MsgSeqNum (34) has an incorrect value: 1000000000000000000 should be <n>"),
    ];
    for (number, text) in cases {
        let mut peer = demo.logged_on(&seat, next).await;
        let order = peer.an_order("x").set(34, number);
        peer.send(&order).await;
        let logout = peer.refused().await;
        assert_eq!(logout.at(58), text.replace("<n>", &peer.next.to_string()));
        logout.assert(&[(789, Some(&peer.next.to_string()))]);
        next = peer.next;
        assert_eq!(demo.numbers(&seat).await.0, next, "nothing moved");
    }
    // The highest number there is: a gap, asked for once, and nothing is kept for it but the message.
    let mut peer = demo.logged_on(&seat, next).await;
    for _ in 0..3 {
        let order = peer.an_order("far").set(34, "999999999999999999");
        peer.send(&order).await;
    }
    let ask = peer.expect("2").await;
    ask.assert(&[(7, Some(&peer.next.to_string())), (16, Some("999999999999999998"))]);
    peer.ping("nothing else").await;
    bystander.trades().await;
    peer.log_out().await;
}

/// A connection with next to no room for what comes from the server.
async fn deaf(demo: &Server, seat: &Seat) -> FixPeer {
    let mut peer = demo.fix(seat).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.bind(SocketAddr::new(peer.from, 0)).unwrap();
    peer.stream = socket.connect(demo.fix_address(seat.gateway)).await.unwrap();
    peer
}

#[tokio::test]
async fn a_burst_of_100_000_messages_without_reading_ends_in_bounded_memory() {
    const COUNT: u64 = 100_000;
    let demo = Server::demo(&[]).await;
    let mut bystander = Bystander::new(&demo).await;
    let seat = demo.own_session(Gateway::Cgw);
    let mut peer = deaf(&demo, &seat).await;
    peer.log_on().await;
    let before = resident_kib(&demo);
    let name = "x".repeat(200);
    let mut burst = Vec::new();
    for _ in 0..COUNT {
        burst.extend(peer.head("1").with(112, &name).bytes());
        peer.next += 1;
    }
    let from = peer.from;
    let mut stream = peer.stream;
    // Until it is closed, or all is written: nothing is ever read.
    let writing = tokio::spawn(async move {
        let written = stream.write_all(&burst).await;
        (stream, written)
    });
    let mut most = 0;
    let entry = until("the end of a client that does not read", async || {
        bystander.trades().await;
        most = most.max(resident_kib(&demo));
        let entries = demo.audit_from(from).await;
        entries.into_iter().find(|entry| entry["event"] == "logged-out")
    })
    .await;
    assert_eq!(entry["reason"], "not-reading", "{entry}");
    let (_stream, written) = tokio::time::timeout(WAIT_MAX, writing).await.unwrap().unwrap();
    assert!(written.is_err(), "nobody takes all of it");
    assert!(most.saturating_sub(before) < 32 * 1_024, "{before} KiB, then {most} KiB");
    // What it missed is numbered, and the session goes on.
    let (next_in, _) = demo.numbers(&seat).await;
    let mut again = demo.logged_on(&seat, next_in).await;
    again.ping("back").await;
    again.log_out().await;
    bystander.trades().await;
}

#[tokio::test]
async fn bad_input_of_traders() {
    let demo = shared_demo().await;
    let mut bystander = Bystander::new(demo).await;
    let trader = demo.trader().await;
    let seat = Server::trader_seat(&trader);
    let long = "x".repeat(3_000);
    let cases: [(&str, Change); 9] = [
        ("invalid user or password", Box::new(|logon| logon.set(95, "4"))),
        ("invalid user or password", Box::new(|logon| logon.set(95, "4000"))),
        ("invalid user or password", Box::new(|logon| logon.without(96).without(95))),
        ("invalid user or password", Box::new(|logon| logon.with(553, "nobody").with(553, "nobody"))),
        ("invalid user or password", Box::new(move |logon| logon.without(96).without(95).with(554, &long))),
        (
            "invalid user or password",
            Box::new(|logon| logon.without(96).without(95).with(554, b"\xff\xfe\x00")),
        ),
        ("EncryptMethod (98) tag is not present", Box::new(|logon| logon.without(98))),
        ("EncryptMethod (98) has an incorrect value: 1 should be 0", Box::new(|logon| logon.set(98, "1"))),
        (
            "Error during logon. Heartbeat value invalid. Received: 9, expected value in range 10-3600",
            Box::new(|logon| logon.set(108, "9")),
        ),
    ];
    for (text, change) in cases {
        let from = source();
        let mut peer = demo.fix_from(&seat, from).await;
        let logon = change(peer.trader_logon(&trader.password, None));
        assert_eq!(peer.refused_logon(&logon).await, text);
        recorded(demo, from).await;
        bystander.trades().await;
    }
    let mut peer = demo.fix(&seat).await;
    let logon = peer.trader_logon(&trader.password, None);
    peer.send(&logon).await;
    peer.expect("A").await;
}
