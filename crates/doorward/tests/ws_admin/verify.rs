//! `verifylogin`, as a web back end uses it (rules 3, 4, 8, 9).

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use doorward_core::ask::Padding;
use serde_json::{Value, json};

use crate::support::acting::ALL_RIGHTS;
use crate::support::{Peer, Server, User, shared_demo, source};

fn refused(userid: &str) -> Value {
    json!({"result": "invalid user/password", "type": "verifylogin", "userid": userid})
}

fn verified(userid: &str, level: u8) -> Value {
    json!({"result": "OK", "type": "verifylogin", "active": "Y", "userid": userid, "verify_level": level})
}

#[tokio::test]
async fn rule_9_every_answer_of_verifylogin_and_the_connection_stays() {
    let demo = shared_demo().await;
    let mut web = demo.enter(&demo.service(&["verify", "token"]).await).await;
    let trader = demo.registered().await;
    let plain = demo.trader().await;

    assert_eq!(web.verify(&trader, json!({"id": "a"})).await, {
        let mut expected = verified(&trader.userid, 0);
        expected["id"] = "a".into();
        expected
    });
    assert_eq!(web.verify(&plain, json!({})).await, verified(&plain.userid, 0));
    for customer in [&trader, &plain] {
        let missing = json!({"result": "2fa token missing", "type": "verifylogin"});
        assert_eq!(web.verify(customer, json!({"gentoken": true})).await, missing);
    }
    let wrong = trader.wrong_code();
    let invalid = json!({"result": "invalid token", "type": "verifylogin"});
    for more in [json!({"2fatoken": wrong}), json!({"2fatoken": wrong, "gentoken": "Y"})] {
        assert_eq!(web.verify(&trader, more).await, invalid);
    }
    // An empty code is none; a code of somebody without an authenticator is not looked at.
    assert_eq!(web.verify(&trader, json!({"2fatoken": ""})).await, verified(&trader.userid, 0));
    assert_eq!(web.verify(&plain, json!({"2fatoken": "123456"})).await, verified(&plain.userid, 0));

    let code = trader.code();
    let answer = web.verify(&trader, json!({"2fatoken": code, "gentoken": true})).await;
    assert_eq!((&answer["verify_level"], &answer["active"]), (&json!(1), &json!("Y")), "{answer}");
    let token = answer["token"].as_str().unwrap();
    assert_eq!(token.len(), 43, "256 bits in base64url");
    assert!(answer["expires"].is_i64(), "{answer}");
    assert_eq!(web.verify(&trader, json!({"2fatoken": code})).await, invalid, "rule 8: a code counts once");

    let wrong = User { password: "not the password at all".to_owned(), ..plain.clone() };
    assert_eq!(web.verify(&wrong, json!({})).await, refused(&plain.userid));
    assert_eq!(web.ask(json!({"type": "ping"})).await["result"], "OK", "it stays open whatever the answer");
    let granted = demo.audit(&format!("event=login-granted&userid={}", trader.userid)).await;
    assert!(granted.iter().all(|entry| entry["detail"] != "level 1"), "nobody is logged in by it");
}

#[tokio::test]
async fn rule_9_who_may_not_come_in_yet_is_told_after_the_right_password_only() {
    let demo = shared_demo().await;
    let mut web = demo.enter(&demo.service(&ALL_RIGHTS).await).await;
    let disabled = demo.trader().await;
    demo.edit(&disabled, json!({"standing": "disabled"})).await;
    let initial = demo.person(json!({"auth_system": "password"})).await;
    let unregistered = demo.person(json!({"auth_system": "otp"})).await;
    for (customer, field, value) in [
        (&disabled, "active", "N"),
        (&initial, "password", "change required"),
        (&unregistered, "2fa", "registration required"),
    ] {
        let mut expected = verified(&customer.userid, 0);
        expected[field] = value.into();
        if field == "2fa" {
            expected["password"] = "change required".into();
        }
        for more in [json!({}), json!({"gentoken": true}), json!({"gentoken": true, "2fatoken": "123456"})] {
            assert_eq!(web.verify(customer, more).await, expected, "never a token");
        }
        let wrong = User { password: "not the password at all".to_owned(), ..customer.clone() };
        assert_eq!(web.verify(&wrong, json!({})).await, refused(&customer.userid));
    }
}

#[tokio::test]
async fn rule_9_attr_and_the_canonical_user_id_come_back() {
    let demo = shared_demo().await;
    let mut web = demo.enter(&demo.service(&["verify"]).await).await;
    let plain = demo.trader().await;
    demo.edit(&plain, json!({"attr": {"desk": [1, "a"]}})).await;
    let shouted = User { userid: plain.userid.to_uppercase(), ..plain.clone() };
    let answer = web.verify(&shouted, json!({})).await;
    assert_eq!((&answer["userid"], &answer["attr"]), (&json!(plain.userid), &json!({"desk": [1, "a"]})));
    let wrong = User { password: "not the password at all".to_owned(), ..shouted.clone() };
    assert_eq!(web.verify(&wrong, json!({})).await, refused(&shouted.userid), "a refusal echoes it as sent");
}

#[tokio::test]
async fn rule_9_a_pending_seed_is_confirmed_by_its_first_code() {
    let demo = shared_demo().await;
    let mut web = demo.enter(&demo.service(&["verify", "token"]).await).await;
    let plain = demo.trader().await;
    let pending = demo.new_seed(&plain).await;
    assert_eq!(web.verify(&pending, json!({})).await, verified(&pending.userid, 0));
    assert_eq!(demo.known(&pending).await["authenticator"]["state"], "pending");
    let code = pending.code();
    let answer = web.verify(&pending, json!({"2fatoken": code, "gentoken": true})).await;
    assert_eq!(answer["verify_level"], 1, "{answer}");
    assert_eq!(demo.known(&pending).await["authenticator"]["state"], "active");
    assert_eq!(
        web.token_state(answer["token"].as_str().unwrap()).await,
        "OK",
        "the token outlives the change"
    );
    let again = web.verify(&pending, json!({"2fatoken": code})).await;
    assert_eq!(again["result"], "invalid token", "T7: the confirming code is used up");
}

#[tokio::test]
async fn s1_rule_4_refusals_of_verifylogin_are_alike_in_text_and_in_work() {
    let server = Server::demo(&[]).await;
    let mut web = server.enter(&server.service(&["verify"]).await).await;
    let (trader, disabled) = (server.trader().await, server.trader().await);
    server.edit(&disabled, json!({"standing": "disabled"})).await;
    let foreign = server.sample("plain@south.example");
    let desk = server.sample("desk");
    let mut replayed = web.verify_message(&trader, &json!({}));
    replayed["keyid"] = web.challenge().await["keyid"].clone();
    replayed["pass"] = web.encrypted(&trader.password).into();
    let before = server.hashes().await;
    assert_eq!(web.ask(replayed.clone()).await["result"], "OK");
    let one = server.hashes().await - before;
    let wrong = |user: &User| User { password: "not the password at all".to_owned(), ..user.clone() };
    let nobody = User { userid: "nobody@north.example".to_owned(), ..trader.clone() };
    let mut bad = web.verify_message(&trader, &json!({}));
    bad["pass"] = data_encoding::BASE64.encode(&[0x11; 256]).into();
    let cases = [
        ("unknown-user", web.verify_message(&nobody, &json!({}))),
        ("wrong-password", web.verify_message(&wrong(&trader), &json!({}))),
        ("wrong-password", web.verify_message(&wrong(&disabled), &json!({}))),
        ("bad-ciphertext", bad),
        ("replayed-ciphertext", replayed),
        // The right password of somebody whom the program does not serve.
        ("unknown-user", web.verify_message(&foreign, &json!({}))),
        ("unknown-user", web.verify_message(&desk, &json!({}))),
    ];
    for (n, (reason, mut message)) in cases.into_iter().enumerate() {
        message["source"] = format!("192.0.2.{n}").into();
        let before = server.hashes().await;
        let answer = web.ask(message.clone()).await;
        assert_eq!(answer, refused(message["userid"].as_str().unwrap()), "{reason}");
        assert_eq!(server.hashes().await - before, one, "{reason}");
        let entry = &server.audit("event=verify-refused").await[0];
        assert_eq!(entry["reason"], reason, "the true reason is in the audit trail");
        assert!(entry["detail"].as_str().unwrap().contains(&format!("192.0.2.{n}")), "{entry}");
    }
    assert_eq!(server.known(&foreign).await["attempts"]["wrong"], 0, "nothing of theirs is counted");
}

#[tokio::test]
async fn s3_wrong_passwords_are_counted_by_the_customers_address() {
    let demo = shared_demo().await;
    let service = demo.service(&["verify"]).await;
    let mut web = demo.enter(&service).await;
    let trader = demo.trader().await;
    let wrong = User { password: "not the password at all".to_owned(), ..trader.clone() };
    for _ in 0..5 {
        let answer = web.verify(&wrong, json!({"source": "192.0.2.99"})).await;
        assert_eq!(answer, refused(&trader.userid));
    }
    let held_back = web.verify(&trader, json!({"source": "192.0.2.99"})).await;
    assert_eq!(held_back, refused(&trader.userid), "even the right password waits there");
    for more in [json!({"source": "192.0.2.100"}), json!({"source": "2001:db8::1"}), json!({})] {
        assert_eq!(web.verify(&trader, more).await, verified(&trader.userid, 0), "no other address does");
    }
    assert_eq!(demo.login(source(), &trader, None).await["result"], "OK", "nor does another door");
    let attempts = demo.known(&trader).await["attempts"].clone();
    let waiting: Vec<&Value> =
        attempts["waiting"].as_array().unwrap().iter().map(|at| &at["source"]).collect();
    assert_eq!(waiting, ["192.0.2.99"], "{attempts}");
}

#[tokio::test]
async fn rule_3_e4_a_ciphertext_of_a_login_is_not_taken_again_by_verifylogin() {
    let demo = shared_demo().await;
    let mut web = demo.enter(&demo.service(&["verify"]).await).await;
    let trader = demo.trader().await;
    for padding in Padding::ALL {
        let mut own = demo.connect(source()).await;
        own.padding = padding;
        let keyid = own.challenge().await["keyid"].clone();
        let message = own.login_message(&trader.userid, &trader.password, None);
        assert_eq!(own.ask(message.clone()).await["result"], "OK");
        let mut stolen = message;
        stolen["type"] = "verifylogin".into();
        stolen["keyid"] = keyid;
        assert_eq!(web.ask(stolen).await, refused(&trader.userid));
    }
    let early = json!({"type": "verifylogin", "userid": trader.userid, "pass": "AAAA", "keyid": "nobodys"});
    assert_eq!(web.ask(early).await["result"], "challenge required");
}

#[tokio::test]
async fn what_is_missing_or_malformed_is_named() {
    let demo = shared_demo().await;
    let mut web = demo.enter(&demo.service(&["verify", "token"]).await).await;
    let missing = |message_type: &str, field: &str| json!({"result": "missing field", "type": message_type, "field": field});
    assert_eq!(web.ask(json!({"type": "verifylogin"})).await, missing("verifylogin", "userid"));
    assert_eq!(web.ask(json!({"type": "verifylogin", "userid": "x"})).await, missing("verifylogin", "pass"));
    assert_eq!(web.ask(json!({"type": "checktoken"})).await, missing("checktoken", "token"));
    assert_eq!(web.ask(json!({"type": "revoketoken", "token": ""})).await, missing("revoketoken", "token"));
    assert_eq!(
        web.ask(json!({"type": "adduser", "userid": "x", "updateprof": true, "pass": "AAAA"})).await,
        missing("adduser", "newpass")
    );
    for (fields, named) in [
        (json!({"source": "somewhere"}), "source"),
        (json!({"source": 7}), "source"),
        (json!({"gentoken": "yes"}), "gentoken"),
        (json!({"2fatoken": 123_456}), "2fatoken"),
        (json!({"pass": "%"}), "pass"),
    ] {
        let message = crate::support::acting::with(
            json!({"type": "verifylogin", "userid": "x", "pass": "AAAA"}),
            &fields,
        );
        let answer = web.ask(message).await;
        assert!(answer["result"].as_str().unwrap().contains(named), "{answer}");
        assert_eq!(answer["type"], "verifylogin");
    }
}

/// A queue of one hash: after `busy` nothing was decided, and the very same message may be sent again.
#[tokio::test]
async fn p10_busy_decides_nothing_and_the_same_message_counts_later() {
    let server = Server::serve("hashing.threads = 1\nhashing.queue_max = 1\n").await;
    let service = server.service(&["verify"]).await;
    let trader = server.trader().await;
    let mut webs = Vec::new();
    for n in 0..8 {
        let web = server.enter(&service).await;
        let message = web.verify_message(&trader, &json!({"source": format!("192.0.2.{n}")}));
        webs.push((web, message));
    }
    for (web, message) in &mut webs {
        web.send(message).await;
    }
    let mut busy = 0;
    for (web, message) in &mut webs {
        let mut answer = web.answer().await;
        while answer["result"] == "busy" {
            busy += 1;
            assert!(answer["retry_ms"].as_u64().unwrap() > 0, "{answer}");
            answer = web.ask(message.clone()).await;
        }
        assert_eq!(answer, verified(&trader.userid, 0));
    }
    assert!(busy > 0, "none of eight was busy");
    assert_eq!(server.known(&trader).await["attempts"]["wrong"], 0, "nothing is counted");
}

/// What tells this program that it is one of the two clients of T6.
const T6: &str = "DOORWARD_TEST_T6_VERIFY";
/// Posts of one code by each of the two clients.
const T6_POSTS: usize = 50;

/// One of two client processes: 50 connections of a web back end, which then post one code at once.
#[tokio::test]
async fn t6_verify_process() {
    let Ok(told) = std::env::var(T6) else { return }; // run by the test below
    let told: Value = serde_json::from_str(&told).unwrap();
    let text = |name: &str| told[name].as_str().unwrap();
    let (door, from): (_, IpAddr) = (text("door").parse().unwrap(), text("from").parse().unwrap());
    let customer =
        User { userid: text("userid").to_owned(), password: text("password").to_owned(), seed: None };
    let mut posts = Vec::new();
    for n in 0..T6_POSTS {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let mut peer = Peer::shake_hands(socket.connect(door).await.unwrap(), door).await;
        peer.challenge().await;
        assert_eq!(peer.login(text("service"), text("service_password"), None).await["result"], "OK");
        // As many customers' addresses: what is counted by source does not stand in the way.
        let more = json!({"2fatoken": text("code"), "gentoken": true, "source": format!("192.0.2.{n}")});
        let message = peer.verify_message(&customer, &more);
        posts.push((peer, message));
    }
    println!("\nready");
    std::io::stdin().lock().read_line(&mut String::new()).unwrap();
    let answers = futures_util::future::join_all(posts.iter_mut().map(|(peer, message)| async {
        loop {
            let answer = peer.ask(message.clone()).await;
            // Nothing was decided: the very same message may be sent again.
            if answer["result"] != "busy" {
                return answer;
            }
        }
    }))
    .await;
    let mut counts: HashMap<String, usize> = HashMap::new();
    for answer in answers {
        *counts.entry(answer["result"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    println!("\nposted {}", json!(counts));
}

fn t6_client(demo: &Server, service: &User, user: &User, code: &str) -> (Child, BufReader<ChildStdout>) {
    let told = json!({
        "door": demo.door.to_string(), "from": source().to_string(), "code": code,
        "service": service.userid, "service_password": service.password,
        "userid": user.userid, "password": user.password,
    });
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "verify::t6_verify_process", "--nocapture"])
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
async fn t6_one_code_verified_by_two_processes_100_times_at_once_succeeds_exactly_once() {
    let demo = Server::demo(&[]).await;
    let service = demo.service(&["verify", "token"]).await;
    let trader = demo.registered().await;
    let code = trader.code(); // good for at least the 30 s that follow, and the demo's clock does not move
    let mut clients = [(); 2].map(|()| t6_client(&demo, &service, &trader, &code));
    for (_, out) in &mut clients {
        line_with(out, "ready");
    }
    for (child, _) in &mut clients {
        child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }
    let (mut good, mut used) = (0, 0);
    for (mut child, mut out) in clients {
        let counts: HashMap<String, usize> = serde_json::from_str(&line_with(&mut out, "posted ")).unwrap();
        let of = |result: &str| counts.get(result).copied().unwrap_or(0);
        assert_eq!(of("OK") + of("invalid token"), T6_POSTS, "{counts:?}");
        (good, used) = (good + of("OK"), used + of("invalid token"));
        std::io::copy(&mut out, &mut std::io::sink()).unwrap();
        assert!(child.wait().unwrap().success());
    }
    assert_eq!((good, used), (1, 2 * T6_POSTS - 1), "verified, refused");
    let made = demo.audit(&format!("event=login-verified&userid={}", trader.userid)).await;
    assert_eq!(made.len(), 1, "{made:?}");
}
