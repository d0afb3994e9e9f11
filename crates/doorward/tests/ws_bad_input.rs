//! Bad input of every kind, over real sockets: the documented answer or close, a record, and others served as ever.
//!
//! A login during a shutdown, and two logins at once while the gate is slow, are in `ws_answers.rs`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};
use support::{DOORWARD, Peer, Server, User, drip, shared_demo, source, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

const TEXT: u8 = 0x80 | 0x1;

#[tokio::test]
async fn broken_utf8_and_binary_frames_close_at_once() {
    let demo = shared_demo().await;
    let cases: [(u8, &[u8], u16, &str); 5] = [
        (TEXT, b"{\"type\":\"\xc3\x28\"}", 1007, "not-utf8"),
        (TEXT, b"\xed\xa0\x80", 1007, "not-utf8"), // half of a surrogate pair
        (TEXT, b"{\"type\":\"ping\"}\xf0\x9f", 1007, "not-utf8"), // cut off
        (0x80 | 0x2, b"{\"type\":\"ping\"}", 1003, "binary-frame"),
        (0x80 | 0x2, b"", 1003, "binary-frame"),
    ];
    for (first, payload, code, reason) in cases {
        let from = source();
        let mut peer = demo.connect(from).await;
        peer.send_frame(first, payload).await;
        assert_eq!(peer.closed().await, code, "{payload:?}");
        assert_eq!(demo.closed_for(from, 1).await, [reason]);
    }
    demo.assert_serves().await;
}

#[tokio::test]
async fn what_is_no_message_is_answered_twice_and_closed_the_third_time() {
    let demo = shared_demo().await;
    let deep = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let cases = [
        (deep(9), "JSON deeper than 8"),
        ("[".repeat(16_000), "JSON deeper than 8"),
        (deep(8), "missing field: type"),
        (String::new(), "malformed JSON: it ends too early"),
        (String::from("{\"type\":"), "malformed JSON: it ends too early"),
        (String::from("{“type”:“ping”}"), "malformed JSON at line 1 column 2"),
        (String::from("\"ping\""), "not a JSON object"),
        (String::from("{\"type\":7}"), "field type: not a string"),
        (String::from("{\"type\":\"ping\",\"type\":\"ping\"}"), "repeated field: type"),
        (format!("{{\"type\":\"{}\"}}", "x".repeat(65)), "field type: longer than 64 bytes"),
    ];
    for (text, what) in cases {
        let from = source();
        let mut peer = demo.connect(from).await;
        for _ in 0..3 {
            assert_eq!(peer.ask_text(&text).await, json!({"result": what, "type": "error"}), "{text:.40}");
        }
        assert_eq!(peer.closed().await, 1008, "{text:.40}");
        assert_eq!(demo.closed_for(from, 1).await, ["too-many-malformed"]);
    }
    demo.assert_serves().await;
}

#[tokio::test]
async fn unknown_fields_are_ignored_and_repeated_ones_refused() {
    let demo = shared_demo().await;
    let trader = demo.trader().await;
    let mut peer = demo.connect(source()).await;
    peer.challenge().await;
    let mut message = peer.login_message(&trader.userid, &trader.password, None);
    let mut twice = message.to_string();
    twice.insert_str(1, "\"userid\":\"admin@north.example\",");
    let answer = peer.ask_text(&twice).await;
    assert_eq!(answer, json!({"result": "repeated field: userid", "type": "login"}));
    message["colour"] = json!({"of": ["the", {"sky": "blue"}]});
    message["__proto__"] = json!(null);
    assert_eq!(peer.ask(message).await, json!({"result": "OK", "type": "login"}));
}

#[tokio::test]
async fn frames_past_16_kib_close_before_they_are_read() {
    let demo = shared_demo().await;
    let mut peer = demo.connect(source()).await;
    let largest = format!("{{\"type\":\"ping\",\"pad\":\"{}\"}}", "x".repeat(16 * 1024 - 24));
    assert_eq!(largest.len(), 16 * 1024);
    assert_eq!(peer.ask_text(&largest).await["result"], "OK", "16 KiB are a message");

    let before = demo.measured("process_resident_memory_bytes").await;
    for announced in [16 * 1024 + 1, 1 << 40, u64::MAX >> 1] {
        let from = source();
        let mut peer = demo.connect(from).await;
        let mut head = vec![TEXT, 0x80 | 127];
        head.extend(announced.to_be_bytes());
        head.extend([0; 4]);
        peer.send_bytes(&head).await;
        assert_eq!(peer.closed().await, 1009, "{announced} bytes");
        assert_eq!(demo.closed_for(from, 1).await, ["too-long"]);
    }
    // The same in fragments, each of them short.
    let from = source();
    let mut peer = demo.connect(from).await;
    peer.send_frame(0x1, &[b' '; 8 * 1024]).await;
    peer.send_frame(0x0, &[b' '; 8 * 1024]).await;
    peer.send_frame(0x80, b" ").await;
    assert_eq!(peer.closed().await, 1009);
    assert_eq!(demo.closed_for(from, 1).await, ["too-long"]);
    let grown = demo.measured("process_resident_memory_bytes").await - before;
    assert!(grown < f64::from(64 << 20), "{grown} bytes more");
    demo.assert_serves().await;
}

/// The answer to a login with this in place of the password, and the reason in the audit trail where it was decided.
async fn login_with(demo: &Server, user: &User, pass: Value) -> (Value, Option<String>) {
    let from = source();
    let mut peer = demo.connect(from).await;
    peer.challenge().await;
    let mut message = peer.login_message(&user.userid, &user.password, None);
    message["pass"] = pass;
    let answer = peer.ask(message).await;
    let entries = demo.audit_from(from).await;
    let refused = entries.iter().find(|entry| entry["event"] == "login-refused");
    (answer, refused.map(|entry| entry["reason"].as_str().unwrap().to_owned()))
}

#[tokio::test]
async fn bad_ciphertexts_are_refused_like_wrong_passwords() {
    let demo = shared_demo().await;
    let trader = demo.trader().await;
    let refused = json!({"result": "invalid user/password", "type": "login"});
    let ciphertexts: [&[u8]; 7] =
        [&[0], &[7; 128], &[7; 255], &[7; 257], &[0xff; 256], &[0; 256], &[7; 4096]];
    for bytes in ciphertexts {
        let trader = demo.trader().await; // five would make one source wait, as they should
        let (answer, reason) = login_with(demo, &trader, BASE64.encode(bytes).into()).await;
        assert_eq!(answer, refused, "{} bytes of {}", bytes.len(), bytes[0]);
        assert_eq!(reason.as_deref(), Some("bad-ciphertext"), "{} bytes", bytes.len());
    }
    let texts = [
        (json!("AAAAA"), "field pass: not base64"),
        (json!("A"), "field pass: not base64"),
        (json!("****"), "field pass: not base64"),
        (json!("AAAA===="), "field pass: not base64"),
        (json!(""), "missing field: pass"),
        (json!(null), "missing field: pass"),
        (json!(7), "field pass: not a string"),
    ];
    for (pass, what) in texts {
        let (answer, decided) = login_with(demo, &trader, pass.clone()).await;
        assert_eq!(answer, json!({"result": what, "type": "login"}), "{pass}");
        assert_eq!(decided, None, "nothing is decided, nothing counted");
    }
    assert_eq!(demo.login(source(), &trader, None).await["result"], "OK");
}

#[tokio::test]
async fn p2_passwords_of_0_150_and_151_bytes() {
    let demo = shared_demo().await;
    let trader = demo.trader().await;
    let longest: String = ('а'..='я').cycle().step_by(7).take(75).collect();
    assert_eq!(longest.len(), 150);
    let mut peer = demo.connect(source()).await;
    peer.challenge().await;
    assert_eq!(peer.login(&trader.userid, &trader.password, None).await["result"], "OK");
    for bad in [String::new(), format!("{longest}x"), "x".repeat(129)] {
        let answer = peer.change_password(&trader.password, &bad).await;
        assert_eq!(answer["result"], "password issue", "{} bytes: {answer}", bad.len());
    }
    assert_eq!(peer.change_password(&trader.password, &longest).await["result"], "OK");
    for (password, result) in [
        (longest.clone(), "OK"),
        (format!("{longest}x"), "invalid user/password"),
        (longest[..148].to_owned(), "invalid user/password"),
        (String::new(), "invalid user/password"),
        ("x".repeat(190), "invalid user/password"),
    ] {
        let user = User { password, ..trader.clone() };
        assert_eq!(demo.login(source(), &user, None).await["result"], result, "{}", user.password.len());
    }
}

#[tokio::test]
async fn q8_user_ids_of_control_characters_or_10_kb_reach_no_log_as_they_are() {
    let demo = Server::serve("log.level = \"debug\"\n").await;
    let long = "x".repeat(10 * 1024);
    // A word that chance does not write.
    let ids = [
        "\u{1b}[31mzqxwvkj\u{7}",
        "a\r\nzqxwvkj ok",
        "a\0zqxwvkj",
        "\u{202e}zqxwvkj",
        "",
        "=1+zqxwvkj()",
        &long,
    ];
    for userid in ids {
        let from = source();
        let user = User { userid: userid.to_owned(), password: "whatever it may be".to_owned(), seed: None };
        let answer = demo.login(from, &user, None).await;
        assert_eq!(answer, json!({"result": "invalid user/password", "type": "login"}), "{userid:.20?}");
        let entry = &demo.audit_from(from).await[0];
        assert_eq!((&entry["event"], &entry["reason"]), (&json!("login-refused"), &json!("unknown-user")));
        assert_eq!(entry["actor"]["chars"], userid.chars().count());
        assert!(entry["actor"]["begins"].as_str().unwrap().chars().count() <= 3, "{entry}");
    }
    let told = [demo.log(), demo.measurements().await].concat();
    assert!(!told.contains("zqxwvkj") && !told.contains(&long), "{told}");
    assert!(!told.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'));
    let listed =
        Command::new(DOORWARD).args(["audit", "list", "--help"]).stdout(Stdio::null()).status().unwrap();
    assert!(listed.success());
    demo.assert_serves().await;
}

#[tokio::test]
async fn of_two_logins_at_once_on_one_connection_one_is_decided() {
    let demo = shared_demo().await;
    let trader = demo.trader().await;
    let from = source();
    let mut peer = demo.connect(from).await;
    peer.challenge().await;
    let messages = [(); 2].map(|()| peer.login_message(&trader.userid, &trader.password, None));
    for message in &messages {
        peer.send(message).await;
    }
    let mut results = [peer.answer().await, peer.answer().await].map(|answer| answer["result"].clone());
    results.sort_by_key(|result| result != "OK");
    assert_eq!(results[0], "OK");
    assert!(["login in progress", "already logged in"].iter().any(|text| results[1] == *text), "{results:?}");
    let granted = demo.audit(&format!("event=login-granted&userid={}", trader.userid)).await;
    let here = granted.iter().filter(|entry| entry["source"] == from.to_string()).count();
    assert_eq!(here, 1, "{granted:?}");
    assert_eq!(peer.ask(json!({"type": "ping"})).await["result"], "OK");
}

/// Half a handshake, a slow one, silence and slow messages: 30 s in all as a rule, 2 s here.
#[tokio::test]
async fn slow_and_silent_peers_are_closed_when_the_time_for_the_login_is_over() {
    let server = Server::serve("ws.login_s_max = 2\n").await;
    let half = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: Upgr";
    let slack = Duration::from_secs(8);

    let silent = async {
        let from = source();
        let mut stream = server.tcp(from).await;
        assert_eq!(stream.read(&mut [0; 64]).await.unwrap_or(0), 0);
        from
    };
    let half_a_handshake = async {
        let from = source();
        let mut stream = server.tcp(from).await;
        stream.write_all(half).await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 101"));
        from
    };
    let slow_handshake = async {
        let from = source();
        let mut stream = server.tcp(from).await;
        assert!(drip(&mut stream, half).await < slack);
        from
    };
    let slow_messages = async {
        let from = source();
        let mut peer = server.connect(from).await;
        peer.send_bytes(&[TEXT, 0x80 | 126, 0x10, 0, 0, 0, 0, 0]).await;
        assert!(drip(peer.tcp(), b" ").await < slack);
        from
    };
    let only_pings = async {
        let from = source();
        let mut peer = server.connect(from).await;
        for _ in 0..10 {
            assert_eq!(peer.ask(json!({"type": "ping"})).await["result"], "OK");
        }
        assert_eq!(peer.closed().await, 1008, "pings do not prolong it");
        from
    };
    let (a, b, c, d, e) = tokio::join!(silent, half_a_handshake, slow_handshake, slow_messages, only_pings);
    for from in [a, b, c, d, e] {
        assert_eq!(server.closed_for(from, 1).await, ["too-slow"], "{from}");
    }
    server.assert_serves().await;
}

#[tokio::test]
async fn what_is_no_handshake_is_turned_away() {
    let server = Server::serve("").await;
    let long = format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(64 * 1024));
    let cases: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a client of another kind\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST /ws HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999999\r\n\r\n",
        b"GET /elsewhere HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n",
        long.as_bytes(),
    ];
    for bytes in cases {
        let mut stream = server.tcp(source()).await;
        // It may close before everything is written.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(support::WAIT_MAX, stream.read_to_end(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    // Nor does any of them keep its place.
    until("an empty door", async || {
        let open = server.measured("doorward_connections{door=\"websocket\"}").await;
        (open == 0.0).then_some(())
    })
    .await;
    server.assert_serves().await;
}

#[tokio::test]
async fn l1_a_peer_that_never_reads_is_closed_past_1_mib() {
    let demo = shared_demo().await;
    let before = demo.measured("process_resident_memory_bytes").await;
    let from = source();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind((from, 0).into()).unwrap();
    let mut peer = Peer::shake_hands(socket.connect(demo.door).await.unwrap(), demo.door).await;
    let ping = format!("{{\"type\":\"ping\",\"id\":\"{}\"}}", "x".repeat(128));
    let flood = async {
        for _ in 0..200_000 {
            peer.send_frame(TEXT, ping.as_bytes()).await;
        }
        panic!("it is read for and kept for without end");
    };
    tokio::select! {
        () = flood => {}
        reasons = demo.closed_for(from, 1) => assert_eq!(reasons, ["not-reading"]),
    }
    let grown = demo.measured("process_resident_memory_bytes").await - before;
    assert!(grown < f64::from(32 << 20), "{grown} bytes more");
    demo.assert_serves().await;
}

/// Silent connections, held by a process of their own.
const SILENT: u32 = 10_000;

#[tokio::test]
async fn s10_ten_thousand_silent_connections_take_little_memory_and_others_log_in() {
    let server = Server::serve("ws.login_s_max = 60\n").await;
    let trader = server.trader().await;
    let before = server.measured("process_resident_memory_bytes").await;
    let url = format!("ws://{}/", server.door);
    let mut load = Command::new(DOORWARD)
        .args(["load", "ws", "--mode", "idle", "--hold-s", "60", "--url", &url])
        .args(["--connections", &SILENT.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let silent = "doorward_connections_not_logged_in{door=\"websocket\"}";
    until("ten thousand silent connections", async || {
        (server.measured(silent).await >= f64::from(SILENT)).then_some(())
    })
    .await;
    let each = (server.measured("process_resident_memory_bytes").await - before) / f64::from(SILENT);
    let answer = server.login(source(), &trader, None).await;
    // Ours, and waited for: nothing of it is left.
    load.kill().unwrap();
    load.wait().unwrap();
    println!("{each:.0} bytes for each silent connection");
    assert_eq!(answer["result"], "OK");
    assert!(each < 32.0 * 1024.0, "{each:.0} bytes for each silent connection");
    until("an empty door", async || (server.measured(silent).await == 0.0).then_some(())).await;
    server.assert_serves().await;
}
