//! What `security.md` asks of one-time passwords, attempts and the door, from outside: real processes, real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::process::{Child, Command, Stdio};

use doorward_core::ask::Ask;
use serde_json::{Value, json};
use support::{Peer, Server, User, shared_demo, source};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What tells this program that it is one of the two clients of T6.
const T6: &str = "DOORWARD_TEST_T6";
/// Posts of one code by each of the two clients.
const T6_POSTS: usize = 50;

/// One of two client processes: brings many connections to the second step, then posts one code on all of them at once.
#[tokio::test]
async fn t6_client_process() {
    let Ok(told) = std::env::var(T6) else { return }; // run by the test below
    let told: Value = serde_json::from_str(&told).unwrap();
    let text = |name: &str| told[name].as_str().unwrap();
    let (door, from): (_, IpAddr) = (text("door").parse().unwrap(), text("from").parse().unwrap());
    let mut peers = Vec::new();
    for _ in 0..T6_POSTS {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut peer = Peer::shake_hands(socket.connect(door).await.unwrap(), door).await;
        peer.challenge().await;
        assert_eq!(peer.login(text("userid"), text("password"), None).await["2fa"], "required");
        peers.push(peer);
    }
    println!("\nready");
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    let posts = peers.iter_mut().map(|peer| peer.code(text("code")));
    let answers = futures_util::future::join_all(posts).await;
    let count = |result: &str| answers.iter().filter(|answer| answer["result"] == result).count();
    println!("\nposted {}", json!([count("OK"), count("invalid token")]));
}

fn t6_client(demo: &Server, user: &User, code: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let told = json!({
        "door": demo.door.to_string(), "from": source().to_string(),
        "userid": user.userid, "password": user.password, "code": code,
    });
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "t6_client_process", "--nocapture"])
        .env(T6, told.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn line_with(out: &mut impl std::io::BufRead, begins: &str) -> String {
    let mut lines = out.lines().map_while(Result::ok);
    lines.find_map(|line| line.strip_prefix(begins).map(str::to_owned)).expect("the client process failed")
}

#[tokio::test]
async fn t6_one_code_from_two_processes_100_times_at_once_lets_in_exactly_once() {
    let demo = shared_demo().await;
    let trader = demo.registered().await;
    let code = trader.code(); // good for at least the 30 s that follow
    let mut clients = [(); 2].map(|()| t6_client(demo, &trader, &code));
    for (_, out) in &mut clients {
        line_with(out, "ready");
    }
    for (child, _) in &mut clients {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    let mut sums = [0, 0];
    for (mut child, mut out) in clients {
        let counts: [usize; 2] = serde_json::from_str(&line_with(&mut out, "posted ")).unwrap();
        sums = [sums[0] + counts[0], sums[1] + counts[1]];
        std::io::copy(&mut out, &mut std::io::sink()).unwrap();
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(sums, [1, 2 * T6_POSTS - 1], "let in, refused");
    let granted = demo.audit(&format!("event=login-granted&userid={}", trader.userid)).await;
    assert_eq!(granted.len(), 1, "{granted:?}");
    assert_eq!((&granted[0]["factor"], &granted[0]["door"]), (&json!("code"), &json!("websocket")));
}

/// The login of somebody up to the second step.
async fn second_step(server: &Server, user: &User) -> Peer {
    let mut peer = server.connect(source()).await;
    peer.challenge().await;
    let answer = peer.login(&user.userid, &user.password, None).await;
    assert_eq!(answer["2fa"], "required", "{answer}");
    peer
}

#[tokio::test]
async fn t10_wrong_codes_count_only_after_a_right_password_wait_after_5_and_lock_after_10() {
    let demo = Server::demo(&[]).await;
    let trader = demo.registered().await;
    let state = async || demo.known(&trader).await["authenticator"].clone();
    let wrong = trader.wrong_code();
    let mut peer = demo.connect(source()).await;
    peer.challenge().await;
    let refused = peer.login(&trader.userid, "not the password at all", Some(&wrong)).await;
    assert_eq!(refused["result"], "invalid user/password");
    assert_eq!(state().await["wrong"], 0, "a code beside a wrong password is not looked at");

    let mut peer = second_step(&demo, &trader).await;
    for _ in 0..3 {
        assert_eq!(peer.code(&wrong).await["result"], "invalid token");
    }
    assert_eq!(peer.closed().await, 1008, "the third in one connection closes it");
    let mut peer = second_step(&demo, &trader).await;
    for _ in 0..2 {
        assert_eq!(state().await["state"], "active");
        assert_eq!(peer.code(&wrong).await["result"], "invalid token");
    }
    assert_eq!(state().await["state"], "backed-off");
    let answer = second_step(&demo, &trader).await.code(&trader.code()).await;
    assert_eq!(answer["result"], "invalid token", "a right code waits, too");
    for _ in 0..5 {
        assert_ne!(state().await["state"], "locked");
        demo.advance(30).await;
        assert_eq!(second_step(&demo, &trader).await.code(&wrong).await["result"], "invalid token");
    }
    assert_eq!(state().await["state"], "locked");
    let refused = demo.login(source(), &trader, None).await;
    assert_eq!(refused, json!({"result": "invalid user/password", "type": "login"}), "no oracle");
    let entry = &demo.audit(&format!("userid={}", trader.userid)).await[0];
    assert_eq!(entry["reason"], "locked");

    demo.unlock(&trader).await;
    let mut peer = second_step(&demo, &trader).await;
    // The demo's clock is five steps ahead by now.
    assert_eq!(peer.code(&trader.code_in(5)).await["result"], "OK");
}

#[tokio::test]
async fn p11_an_initial_password_expires_after_72_hours() {
    let demo = Server::demo(&[]).await;
    let trader = demo.person(json!({"auth_system": "password"})).await;
    demo.advance(72 * 3600 - 60).await;
    assert_eq!(demo.login(source(), &trader, None).await["password"], "change required");
    demo.advance(60).await;
    let refused = demo.login(source(), &trader, None).await;
    assert_eq!(refused, json!({"result": "invalid user/password", "type": "login"}));
    let entry = &demo.audit(&format!("userid={}&event=login-refused", trader.userid)).await[0];
    assert_eq!(entry["reason"], "password-expired");
}

#[tokio::test]
async fn t12_a_pending_seed_lets_in_only_with_its_code_after_the_password_and_once() {
    let demo = shared_demo().await;
    let pending = demo.pending().await;
    let mut peer = second_step(demo, &pending).await;
    assert_eq!(peer.ask(json!({"type": "neworder"})).await["result"], "2fa token required");
    assert_eq!(peer.code(&pending.wrong_code()).await["result"], "invalid token");
    assert_eq!(demo.known(&pending).await["authenticator"]["state"], "pending");
    let code = pending.code();
    assert_eq!(peer.code(&code).await["result"], "OK");
    assert_eq!(demo.known(&pending).await["authenticator"]["state"], "active");
    let mut again = second_step(demo, &pending).await;
    assert_eq!(again.code(&code).await["result"], "invalid token", "T7: the confirming code is used up");
    let entry = &demo.audit(&format!("userid={}", pending.userid)).await[0];
    assert_eq!(entry["reason"], "used-code");
}

#[tokio::test]
async fn t13_who_registers_anew_needs_an_administrators_step_and_the_old_seed_is_void() {
    let demo = shared_demo().await;
    let trader = demo.registered().await;
    let authenticator = format!("/api/v1/people/{}/authenticator", trader.userid);
    assert!(demo.api().post(&authenticator, &json!({})).await.is_err(), "one is registered already");
    demo.api().delete(&authenticator, None).await.unwrap();
    let answer = demo.login(source(), &trader, Some(&trader.code())).await;
    assert_eq!(answer["result"], "2fa registration required", "nobody registers on their own");
    let renewed = demo.new_seed(&trader).await;
    let mut peer = second_step(demo, &renewed).await;
    assert_eq!(peer.code(&trader.code()).await["result"], "invalid token", "the old seed is void");
    assert_eq!(peer.code(&renewed.code()).await["result"], "OK");
}

#[tokio::test]
async fn s1_rule_4_refusals_are_alike_in_text_and_in_work() {
    let server = Server::serve("").await;
    let (trader, disabled) = (server.trader().await, server.trader().await);
    server.edit(&disabled, json!({"standing": "disabled"})).await;
    let mut first = server.connect(source()).await;
    let keyid = first.challenge().await["keyid"].clone();
    let mut replayed = first.login_message(&trader.userid, &trader.password, None);
    replayed["keyid"] = keyid;
    let before = server.hashes().await;
    assert_eq!(first.ask(replayed.clone()).await["result"], "OK");
    let one_login = server.hashes().await - before;
    assert_eq!(one_login, 1);

    let cases = ["unknown-user", "wrong-password", "bad-ciphertext", "replayed-ciphertext", "disabled"];
    for reason in cases {
        let from = source();
        let mut peer = server.connect(from).await;
        peer.challenge().await;
        let message = match reason {
            "unknown-user" => peer.login_message("nobody@north.example", &trader.password, None),
            "wrong-password" => peer.login_message(&trader.userid, "not the password at all", None),
            "bad-ciphertext" => {
                let mut message = peer.login_message(&trader.userid, &trader.password, None);
                message["pass"] = data_encoding::BASE64.encode(&[0x11; 256]).into();
                message
            }
            "replayed-ciphertext" => replayed.clone(),
            _ => peer.login_message(&disabled.userid, &disabled.password, None),
        };
        let before = server.hashes().await;
        let answer = peer.ask(message).await;
        assert_eq!(answer, json!({"result": "invalid user/password", "type": "login"}), "{reason}");
        assert_eq!(peer.closed().await, 1008, "{reason}");
        assert_eq!(server.hashes().await - before, one_login, "{reason}");
        let entries = server.audit_from(from).await;
        let refused = entries.iter().find(|entry| entry["event"] == "login-refused").unwrap();
        assert_eq!(refused["reason"], reason, "the true reason is in the audit trail");
    }
}

#[tokio::test]
async fn s2_200_guesses_at_once_hash_at_most_5() {
    let server = Server::serve("").await;
    let trader = server.trader().await;
    let from = source();
    let mut peers = Vec::new();
    for _ in 0..200 {
        let mut peer = server.connect(from).await;
        peer.challenge().await;
        peers.push(peer);
    }
    let before = server.hashes().await;
    for peer in &mut peers {
        let message = peer.login_message(&trader.userid, "a guess like any other", None);
        peer.send(&message).await;
    }
    for mut peer in peers {
        let answer = peer.answer().await;
        let result = answer["result"].as_str().unwrap();
        assert!(["invalid user/password", "busy"].contains(&result), "{answer}");
    }
    let hashed = server.hashes().await - before;
    assert!((1..=5).contains(&hashed), "{hashed} guesses were hashed");
    assert_eq!(server.known(&trader).await["attempts"]["wrong"], hashed);
}

#[tokio::test]
async fn s3_a_stranger_is_held_back_and_the_trader_is_not() {
    let demo = shared_demo().await;
    let trader = demo.trader().await;
    let (own, strange) = (source(), source());
    let mut inside = demo.connect(own).await;
    inside.challenge().await;
    assert_eq!(inside.login(&trader.userid, &trader.password, None).await["result"], "OK");
    let guess = User { password: "a guess like any other".to_owned(), ..trader.clone() };
    for _ in 0..5 {
        assert_eq!(demo.login(strange, &guess, None).await["result"], "invalid user/password");
    }
    let answer = demo.login(strange, &trader, None).await;
    assert_eq!(answer["result"], "invalid user/password", "even the right password waits there");
    assert_eq!(demo.audit_from(strange).await[0]["reason"], "backed-off");
    assert_eq!(demo.login(own, &trader, None).await["result"], "OK");
    assert_eq!(demo.login(source(), &trader, None).await["result"], "OK", "nor is another address");
    assert_eq!(inside.ask(json!({"type": "ping"})).await["result"], "OK", "the open session stays");
}

/// Every way to have a secret verified over this door; a new one must be listed to compile, and tried below.
fn s5_verifies(ask: &Ask) -> Option<&'static str> {
    match ask {
        Ask::ChallengeKey => None,
        Ask::Login { .. } => Some("login"),
        Ask::Code { .. } => Some("code"),
        Ask::PasswordChange { .. } => Some("password change"),
        Ask::TokenLogin { .. } => Some("login with a token"),
        Ask::Verify(_) => Some("verified login"),
        Ask::ChangeTrader(_) => Some("password change for another"),
        // A program's question about a token of 256 bits: whoever guesses them is not held back by counting.
        Ask::Token { .. } => None,
        Ask::Person { .. } | Ask::AddTrader(_) => None,
    }
}

#[tokio::test]
async fn s5_every_path_that_verifies_a_secret_is_counted_and_held_back() {
    assert_eq!(s5_verifies(&Ask::ChallengeKey), None);
    let demo = shared_demo().await;
    let waiting = async |user: &User, from: IpAddr| {
        let attempts = demo.known(user).await["attempts"].clone();
        let waiting = attempts["waiting"].as_array().unwrap();
        waiting.iter().any(|source| source["source"] == from.to_string() && source["wrong"] == 5)
    };
    // login
    let (trader, from) = (demo.trader().await, source());
    let guess = User { password: "a guess like any other".to_owned(), ..trader.clone() };
    for _ in 0..5 {
        demo.login(from, &guess, None).await;
    }
    assert!(waiting(&trader, from).await);
    // password change
    let (trader, from) = (demo.trader().await, source());
    let mut peer = demo.connect(from).await;
    peer.challenge().await;
    assert_eq!(peer.login(&trader.userid, &trader.password, None).await["result"], "OK");
    for _ in 0..5 {
        let answer = peer.change_password("a guess like any other", "a wholly new pass phrase").await;
        assert_eq!(answer["result"], "password issue", "{answer}");
    }
    assert!(waiting(&trader, from).await);
    let answer = peer.change_password(&trader.password, "a wholly new pass phrase").await;
    assert_ne!(answer["result"], "OK", "the right one waits, too: {answer}");
    // code
    let trader = demo.registered().await;
    for _ in 0..5 {
        assert_eq!(
            second_step(demo, &trader).await.code(&trader.wrong_code()).await["result"],
            "invalid token"
        );
    }
    assert_eq!(demo.known(&trader).await["authenticator"]["state"], "backed-off");
    let answer = second_step(demo, &trader).await.code(&trader.code()).await;
    assert_eq!(answer["result"], "invalid token", "the right one waits, too");
}

/// A program of the firm NORTH, logged in from an address of its own.
async fn program(demo: &Server, from: IpAddr) -> Peer {
    let grant = json!({
        "firms": ["NORTH"], "rights": ["verify", "token", "change", "token-on-password"], "sources": ["127.0.0.0/8"]
    });
    let userid = format!("program-{from}");
    let new = json!({"userid": userid, "kind": "service", "initial": false, "grant": grant});
    let added = demo.api().post("/api/v1/people", &new).await.unwrap();
    let mut peer = demo.connect(from).await;
    peer.challenge().await;
    let answer = peer.login(&userid, added["password"].as_str().unwrap(), None).await;
    assert_eq!(answer["result"], "OK", "{answer}");
    peer
}

#[tokio::test]
async fn s5_what_programs_ask_with_a_customers_secret_is_counted_and_held_back() {
    let demo = shared_demo().await;
    let waiting = async |user: &User, from: &str| {
        let attempts = demo.known(user).await["attempts"].clone();
        let waiting = attempts["waiting"].as_array().unwrap();
        waiting.iter().any(|source| source["source"] == from && source["wrong"] == 5)
    };
    let from = source();
    let mut program = program(demo, from).await;
    // verified login: by the customer's address
    let trader = demo.trader().await;
    let verify = |peer: &Peer, password: &str| {
        let (pass, padding) = (peer.encrypted(password), peer.padding.name());
        json!({"type": "verifylogin", "userid": trader.userid, "pass": pass, "padding": padding,
            "source": "198.51.100.7", "gentoken": true})
    };
    let message = verify(&program, &trader.password);
    let token = program.ask(message).await["token"].as_str().unwrap().to_owned();
    for _ in 0..5 {
        let message = verify(&program, "a guess like any other");
        assert_eq!(program.ask(message).await["result"], "invalid user/password");
    }
    assert!(waiting(&trader, "198.51.100.7").await);
    let message = verify(&program, &trader.password);
    let answer = program.ask(message).await;
    assert_eq!(answer["result"], "invalid user/password", "the right one waits, too");
    // login with a token
    let strange = source();
    let by_token = async |token: &str| {
        let mut peer = demo.connect(strange).await;
        peer.ask(json!({"type": "login", "userid": trader.userid, "token": token})).await
    };
    for _ in 0..5 {
        assert_eq!(by_token("a guess").await["result"], "invalid token");
    }
    assert!(waiting(&trader, &strange.to_string()).await);
    assert_eq!(by_token(&token).await["result"], "invalid token", "the right one waits, too");
    // password change for another: by the program's address
    let trader = demo.trader().await;
    let change = async |peer: &mut Peer, present: &str| {
        let (pass, newpass) = (peer.encrypted(present), peer.encrypted("a wholly new pass phrase"));
        let padding = peer.padding.name();
        peer.ask(json!({"type": "adduser", "userid": trader.userid, "updateprof": true, "pass": pass,
            "newpass": newpass, "padding": padding}))
            .await
    };
    for _ in 0..5 {
        assert_eq!(change(&mut program, "a guess like any other").await["result"], "password issue");
    }
    assert!(waiting(&trader, &from.to_string()).await);
    let answer = change(&mut program, &trader.password).await;
    assert_ne!(answer["result"], "OK", "the right one waits, too: {answer}");
}

#[tokio::test]
async fn s12_one_address_floods_and_another_logs_in_within_2_s() {
    const FLOOD: usize = 120;
    let server = Server::serve("hashing.threads = 1\n").await;
    let trader = server.trader().await;
    let flooding = source();
    let mut flood = Vec::new();
    for _ in 0..FLOOD {
        let mut peer = server.connect(flooding).await;
        peer.challenge().await;
        flood.push(peer);
    }
    let mut other = server.connect(source()).await;
    other.challenge().await;
    let before = server.hashes().await;
    for (n, peer) in flood.iter_mut().enumerate() {
        let message = peer.login_message(&format!("nobody{n}"), "a guess like any other", None);
        peer.send(&message).await;
    }
    let message = other.login_message(&trader.userid, &trader.password, None);
    assert_eq!(other.ask(message).await["result"], "OK");
    let hashed = server.hashes().await - before;
    // By count and not by the clock, which a busy machine would stretch: at 50 ms a hash these are 2 s.
    assert!(hashed < 40, "it waited for {hashed} hashes of the flood");
}

/// What the server answers to a request for an upgrade with these fields.
async fn s13_status(demo: &Server, from: IpAddr, fields: &str) -> u16 {
    let mut stream = demo.tcp(from).await;
    let request = format!(
        "GET /ws HTTP/1.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
async fn s13_pages_of_other_origins_and_requests_without_a_host_stay_out() {
    let demo = shared_demo().await;
    let host = format!("host: {}\r\n", demo.door);
    let status = async |fields: &str| s13_status(demo, source(), &format!("{host}{fields}")).await;
    assert_eq!(status("").await, 101, "programs send no origin");
    assert_eq!(status("origin: http://127.0.0.1:5173\r\n").await, 101);
    for origin in ["https://evil.example", "null", "", "http://127.0.0.1.evil.example"] {
        let from = source();
        assert_eq!(s13_status(demo, from, &format!("{host}origin: {origin}\r\n")).await, 403, "{origin}");
        assert_eq!(demo.closed_for(from, 1).await, ["origin-not-allowed"], "{origin}");
    }
    for fields in ["", "host: \r\n", "host: a b\r\n"] {
        let status = s13_status(demo, source(), fields).await;
        assert!([400, 403].contains(&status), "{fields:?}: {status}");
    }
}
