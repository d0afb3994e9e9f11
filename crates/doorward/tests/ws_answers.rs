//! Every answer text and every close code of the WebSocket page, from a real server over a real socket.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;

use doorward_core::ws::answer::Refusal;
use serde_json::json;
use support::{Server, source};

/// The `result`s that came.
type Seen = BTreeSet<String>;

/// A right password, no challenge yet and a key that nobody has; then two steps, and what follows a login.
async fn on_the_way_in(demo: &Server) -> Seen {
    let trader = demo.registered().await;
    let mut peer = demo.connect(source()).await;
    assert_eq!(peer.ask(json!({"type": "neworder"})).await["result"], "login required");
    let early = json!({"type": "login", "userid": trader.userid, "pass": "AAAA", "id": "early"});
    let answer = peer.ask(early).await;
    assert_eq!(answer, json!({"result": "challenge required", "type": "login", "id": "early"}));
    peer.challenge().await;
    let mut of_nobody = peer.login_message(&trader.userid, &trader.password, None);
    of_nobody["keyid"] = "nobodys".into();
    assert_eq!(peer.ask(of_nobody).await["result"], "challenge required");
    assert_eq!(demo.known(&trader).await["attempts"]["wrong"], 0, "no attempt is counted");

    let answer = peer.login(&trader.userid, &trader.password, None).await;
    assert_eq!(answer, json!({"result": "OK", "type": "login", "2fa": "required"}));
    assert_eq!(peer.ask(json!({"type": "neworder"})).await["result"], "2fa token required");
    let answer = peer.code(&trader.wrong_code()).await;
    assert_eq!(answer, json!({"result": "invalid token", "type": "send2fatoken", "2fa": "required"}));
    let answer = peer.code(&trader.code()).await;
    assert_eq!(answer, json!({"result": "OK", "type": "send2fatoken"}));
    let again = peer.login_message(&trader.userid, &trader.password, None);
    assert_eq!(peer.ask(again).await["result"], "already logged in");
    let answer = peer.ask(json!({"type": "neworder", "id": 7})).await;
    assert_eq!(answer, json!({"result": "unknown message type", "type": "neworder", "id": 7}));
    assert!(peer.ask(json!({"type": "ping"})).await["time"].is_i64());
    peer.send(&json!({"type": "logout"})).await;
    assert_eq!(peer.closed().await, 1000);
    peer.into_results()
}

async fn refused(demo: &Server) -> Seen {
    let plain = demo.sample("plain@north.example");
    let mut peer = demo.connect(source()).await;
    peer.challenge().await;
    let answer = peer.login(&plain.userid, "quite another password", None).await;
    assert_eq!(answer, json!({"result": "invalid user/password", "type": "login"}));
    assert_eq!(peer.closed().await, 1008);
    peer.into_results()
}

async fn registration_required(demo: &Server) -> Seen {
    let newcomer = demo.sample("newcomer@north.example");
    let mut peer = demo.connect(source()).await;
    peer.challenge().await;
    let answer = peer.login(&newcomer.userid, &newcomer.password, None).await;
    assert_eq!(answer["result"], "2fa registration required");
    assert!(answer["register_url"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{answer}");
    assert_eq!(peer.closed().await, 1008);
    peer.into_results()
}

/// What a program that serves others hears beside.
async fn by_a_program(demo: &Server) -> Seen {
    let mut web = demo.enter(&demo.service(&["verify", "token", "add", "change"]).await).await;
    let customer = demo.trader().await;
    let missing = web.verify(&customer, json!({"gentoken": true})).await;
    assert_eq!(missing, json!({"result": "2fa token missing", "type": "verifylogin"}));
    let there = web.step(json!({"userid": customer.userid}), &[("pass", "handed over on paper")]).await;
    assert_eq!(there, json!({"result": "user already exists", "type": "adduser"}));
    let foreign = json!({"userid": "new@south.example", "firm": "SOUTH"});
    let unknown = web.step(foreign, &[("pass", "handed over on paper")]).await;
    assert_eq!(unknown, json!({"result": "unknown firm", "type": "adduser"}));
    let unknown = web.ask(json!({"type": "getuser", "userid": "plain@south.example"})).await;
    assert_eq!(unknown, json!({"result": "unknown user", "type": "getuser"}));
    let reset = json!({"userid": customer.userid, "updateprof": true, "resetpass": true});
    let denied = web.step(reset, &[("newpass", "handed over on paper")]).await;
    assert_eq!(denied, json!({"result": "permission denied", "type": "adduser", "field": "resetpass"}));
    let moved = json!({"userid": customer.userid, "updateprof": true, "firm": "SOUTH"});
    let invalid = web.step(moved, &[]).await;
    assert_eq!(invalid, json!({"result": "invalid field", "type": "adduser", "field": "firm"}));
    web.into_results()
}

/// P11: an initial password lets nobody do anything but change it.
async fn initial_password(demo: &Server) -> Seen {
    let trader = demo.person(json!({"auth_system": "password"})).await;
    let mut peer = demo.connect(source()).await;
    peer.challenge().await;
    let answer = peer.login(&trader.userid, &trader.password, None).await;
    assert_eq!(answer, json!({"result": "OK", "type": "login", "password": "change required"}));
    assert_eq!(peer.ask(json!({"type": "neworder"})).await["result"], "password change required");
    let again = peer.login_message(&trader.userid, &trader.password, None);
    assert_eq!(peer.ask(again).await["result"], "password change required");

    let present = peer.encrypted(&trader.password);
    let change = json!({"type": "adduser", "updateprof": "Y", "pass": present, "padding": "OAEP-SHA256"});
    let answer = peer.ask(change.clone()).await;
    assert_eq!(answer, json!({"result": "missing field", "type": "adduser", "field": "newpass"}));
    let mut of_another = change;
    of_another["userid"] = "plain@north.example".into();
    assert_eq!(peer.ask(of_another).await["result"], "password change required");
    let answer = peer.change_password(&trader.password, "short").await;
    assert_eq!(answer["result"], "password issue");
    assert!(answer["reason"].is_string(), "{answer}");
    let answer = peer.change_password(&trader.password, "a wholly new pass phrase").await;
    let expected = json!({"result": "OK", "type": "adduser", "updateprof": true, "broker_comm_rate": "0"});
    assert_eq!(answer, expected);
    assert_eq!(peer.ask(json!({"type": "neworder"})).await["result"], "unknown message type");
    let results = peer.into_results();

    let mut old = demo.connect(source()).await;
    old.challenge().await;
    assert_eq!(old.login(&trader.userid, &trader.password, None).await["result"], "invalid user/password");
    results
}

async fn with_faults() -> Seen {
    let vault_down = Server::demo(&["--fault", "vault-down"]).await;
    let mut peer = vault_down.connect(source()).await;
    let answer = peer.ask(json!({"type": "challenge"})).await;
    assert_eq!(answer["result"], "try again later");
    assert!(answer["retry_ms"].as_u64().unwrap() > 0, "{answer}");
    let results = peer.into_results();
    drop(vault_down);

    let disk_full = Server::demo(&["--fault", "disk-full"]).await;
    let plain = disk_full.sample("plain@north.example");
    let mut peer = disk_full.connect(source()).await;
    peer.challenge().await;
    let answer = peer.login(&plain.userid, &plain.password, None).await;
    assert_eq!(answer["result"], "try again later", "Q5: what cannot be written down is not done");
    assert!(answer["retry_ms"].as_u64().unwrap() > 0, "{answer}");
    assert_eq!(peer.ask(json!({"type": "neworder"})).await["result"], "login required");
    results
}

/// A queue of one hash: most of eight logins at once are busy, and may try again on the same connection.
async fn busy() -> Seen {
    let server = Server::serve("hashing.threads = 1\nhashing.queue_max = 1\n").await;
    let trader = server.trader().await;
    let from = source();
    let mut peers = Vec::new();
    for _ in 0..8 {
        let mut peer = server.connect(from).await;
        peer.challenge().await;
        peers.push(peer);
    }
    for (n, peer) in peers.iter_mut().enumerate() {
        let message = peer.login_message(&format!("nobody{n}"), "whatever it may be", None);
        peer.send(&message).await;
    }
    let mut seen = Seen::new();
    let mut turned_away = None;
    for mut peer in peers {
        let answer = peer.answer().await;
        seen.insert(answer["result"].as_str().unwrap().to_owned());
        if answer["result"] == "busy" {
            assert!(answer["retry_ms"].as_u64().unwrap() > 0, "{answer}");
            turned_away = Some(peer);
        }
    }
    let mut peer = turned_away.expect("one of eight is busy");
    assert_eq!(peer.login(&trader.userid, &trader.password, None).await["result"], "OK");
    seen
}

/// A login that takes two seconds: another is refused meanwhile, and a server that is told to stop still answers it.
async fn slow_gate() -> Seen {
    let demo = Server::demo(&["--fault", "gate-delay=2"]).await;
    let plain = demo.sample("plain@north.example");
    let mut idle = demo.connect(source()).await;
    let mut peer = demo.connect(source()).await;
    peer.challenge().await;
    let message = peer.login_message(&plain.userid, &plain.password, None);
    peer.send(&message).await;
    let answer = peer.ask(json!({"type": "login", "userid": "x", "pass": "AAAA", "id": 2})).await;
    assert_eq!(answer, json!({"result": "login in progress", "type": "login", "id": 2}));
    demo.terminate();
    assert_eq!(idle.closed().await, 1001);
    assert_eq!(peer.answer().await["result"], "OK", "a login during the shutdown is answered");
    assert_eq!(peer.closed().await, 1001);
    peer.into_results()
}

#[tokio::test]
async fn every_answer_of_the_table_comes_over_the_wire() {
    let demo = Server::demo(&[]).await;
    let at_the_demo = async {
        let (a, b, c, d, e) = tokio::join!(
            on_the_way_in(&demo),
            refused(&demo),
            registration_required(&demo),
            initial_password(&demo),
            by_a_program(&demo)
        );
        [a, b, c, d, e]
    };
    let (some, faults, busy, slow) = tokio::join!(at_the_demo, with_faults(), busy(), slow_gate());
    let seen: Seen = some.into_iter().chain([faults, busy, slow]).flatten().collect();
    let missing: Vec<&str> =
        Refusal::ALL.iter().map(|row| row.id()).filter(|text| !seen.contains(*text)).collect();
    assert!(missing.is_empty(), "never seen on the wire: {missing:?}");
    assert!(seen.contains("OK"));
}

#[tokio::test]
async fn e4_a_key_dies_on_time_and_then_a_challenge_is_required() {
    let server = Server::serve("vault.challenge_s = 5\nvault.challenge_grace_s = 0\n").await;
    let trader = server.trader().await;
    let mut peer = server.connect(source()).await;
    peer.challenge().await;
    let message = peer.login_message(&trader.userid, &trader.password, None);
    let first = peer.challenge().await["keyid"].clone();
    let mut other = server.connect(source()).await;
    support::until("the next challenge key", async || {
        (other.challenge().await["keyid"] != first).then_some(())
    })
    .await;
    assert_eq!(peer.ask(message).await["result"], "challenge required");
    assert_eq!(server.known(&trader).await["attempts"]["wrong"], 0, "no attempt is counted");
    peer.challenge().await;
    assert_eq!(peer.login(&trader.userid, &trader.password, None).await["result"], "OK");
}

#[tokio::test]
async fn a_full_door_closes_with_1013() {
    let server = Server::serve("ws.connections_max = 1\n").await;
    let trader = server.trader().await;
    let open = "doorward_connections{door=\"websocket\"}";
    support::until("an empty door", async || (server.measured(open).await == 0.0).then_some(())).await;
    let mut inside = server.connect(source()).await;
    inside.challenge().await;
    assert_eq!(inside.login(&trader.userid, &trader.password, None).await["result"], "OK");
    let late = source();
    assert_eq!(server.connect(late).await.closed().await, 1013);
    assert_eq!(server.closed_for(late, 1).await, ["full"]);
    assert_eq!(inside.ask(json!({"type": "ping"})).await["result"], "OK", "who is inside stays");
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_is_told_how() {
    let server = Server::serve("").await;
    let cases: [(u16, &str, u8, &[u8]); 4] = [
        (1002, "broken-protocol", 0x80 | 0x40 | 0x1, b"{}"), // a reserved bit
        (1003, "binary-frame", 0x80 | 0x2, b"{}"),
        (1007, "not-utf8", 0x80 | 0x1, b"{\"type\":\"\xff\"}"),
        (1009, "too-long", 0x80 | 0x1, &[b' '; 16 * 1024 + 1]),
    ];
    for (code, reason, first, payload) in cases {
        let from = source();
        let mut peer = server.connect(from).await;
        peer.send_frame(first, payload).await;
        assert_eq!(peer.closed().await, code);
        assert_eq!(server.closed_for(from, 1).await, [reason]);
    }
    let from = source();
    let mut peer = server.connect(from).await;
    for _ in 0..3 {
        assert_eq!(peer.ask_text("[]").await["type"], "error");
    }
    assert_eq!(peer.closed().await, 1008);
    assert_eq!(server.closed_for(from, 1).await, ["too-many-malformed"]);
    server.assert_serves().await;
}
