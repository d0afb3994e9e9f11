//! What `security.md` asks of encrypted passwords and of the audit trail, from outside.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::process::{Command, Output};

use data_encoding::BASE64;
use doorward_client::password::{API_LABEL, Challenge, encrypt_labelled};
use doorward_core::ask::Padding;
use doorward_core::secret::Secret;
use serde_json::{Value, json};
use support::search::Secrets;
use support::{DOORWARD, Server, User, shared_demo, source};

#[tokio::test]
async fn e4_a_ciphertext_counts_once_whoever_sends_it() {
    let demo = shared_demo().await;
    let trader = demo.trader().await;
    for padding in Padding::ALL {
        let mut peer = demo.connect(source()).await;
        peer.padding = padding;
        let keyid = peer.challenge().await["keyid"].clone();
        let mut message = peer.login_message(&trader.userid, &trader.password, None);
        message["keyid"] = keyid;
        assert_eq!(peer.ask(message.clone()).await["result"], "OK");
        let from = source();
        let mut thief = demo.connect(from).await;
        assert_eq!(thief.ask(message).await["result"], "invalid user/password");
        assert_eq!(demo.audit_from(from).await[0]["reason"], "replayed-ciphertext");
    }
}

#[tokio::test]
async fn e5_pkcs1_is_switched_off_for_a_firm_and_for_the_site() {
    let demo = Server::demo(&[]).await;
    let login = async |server: &Server, user: &User, padding| {
        let mut peer = server.connect(source()).await;
        peer.padding = padding;
        peer.challenge().await;
        peer.login(&user.userid, &user.password, None).await["result"].clone()
    };
    let (north, south) = (demo.sample("plain@north.example"), demo.sample("plain@south.example"));
    assert_eq!(login(&demo, &south, Padding::Pkcs1).await, "OK");
    demo.set_policy("/api/v1/firms/SOUTH/policy", &json!({"pkcs1_allowed": false})).await;
    assert_eq!(login(&demo, &south, Padding::Pkcs1).await, "invalid user/password");
    let refused = &demo.audit(&format!("userid={}&event=login-refused", south.userid)).await[0];
    assert_eq!(refused["reason"], "padding-off");
    assert_eq!(login(&demo, &south, Padding::OaepSha256).await, "OK");
    assert_eq!(login(&demo, &north, Padding::Pkcs1).await, "OK", "the other firm is as before");

    let site = Server::serve("vault.pkcs1 = false\n").await;
    let trader = site.trader().await;
    let challenge = site.connect(source()).await.challenge().await;
    assert_eq!(challenge["padding"], json!(["OAEP-SHA256"]));
    assert_eq!(login(&site, &trader, Padding::Pkcs1).await, "invalid user/password");
    assert_eq!(login(&site, &trader, Padding::OaepSha256).await, "OK");
}

/// What a server says that does not start with these lines of configuration.
fn refused_start(more: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("doorward.toml");
    let text = format!(
        "data_dir = \"s\"\nmetrics.listen = \"127.0.0.1:0\"\nvault.key_file = \"k/vault.key\"\n{more}\n"
    );
    std::fs::write(&config, text).unwrap();
    let Output { status, stderr, .. } =
        Command::new(DOORWARD).args(["serve", "--config"]).arg(&config).output().unwrap();
    assert!(!status.success());
    String::from_utf8(stderr).unwrap()
}

#[tokio::test]
async fn e6_short_keys_need_the_legacy_switch_and_are_warned_about() {
    let said = refused_start("ws.listen = [\"127.0.0.1:0\"]\nvault.challenge_bits = 1024\n");
    assert!(said.contains("vault.legacy_rsa_1024"), "{said}");
    let legacy = Server::serve("vault.challenge_bits = 1024\nvault.legacy_rsa_1024 = true\n").await;
    assert!(legacy.log().contains("1024"), "{}", legacy.log());
    let short = legacy.connect(source()).await.challenge().await["key"].as_str().unwrap().len();
    let long = shared_demo().await.connect(source()).await.challenge().await["key"].as_str().unwrap().len();
    assert!(short < 230 && long > 380, "{short} and {long} characters of base64");
}

#[test]
fn e7_off_loopback_a_door_without_tls_does_not_open() {
    for (more, key) in [
        ("ws.listen = [\"0.0.0.0:0\"]\n", "ws.listen"),
        ("ws.listen = [\"127.0.0.1:0\", \"[::]:0\"]\n", "ws.listen"),
    ] {
        let said = refused_start(more);
        assert!(said.contains(key) && said.contains("tls"), "{said}");
    }
}

#[tokio::test]
async fn e8_a_ciphertext_for_the_api_does_not_open_here() {
    let demo = shared_demo().await;
    let trader = demo.trader().await;
    let from = source();
    let mut peer = demo.connect(from).await;
    let challenge = Challenge::from_answer(&peer.challenge().await).unwrap();
    let password = Secret::new(trader.password.clone());
    let foreign = encrypt_labelled(&challenge, Padding::OaepSha256, API_LABEL, &password).unwrap();
    let mut message = peer.login_message(&trader.userid, &trader.password, None);
    message["pass"] = BASE64.encode(&foreign).into();
    assert_eq!(peer.ask(message).await["result"], "invalid user/password");
    assert_eq!(demo.audit_from(from).await[0]["reason"], "bad-ciphertext");
}

/// Logins of every outcome; what was secret about them.
async fn every_outcome(server: &Server) -> Vec<String> {
    let mut secrets = Vec::new();
    let plain = server.trader().await;
    assert_eq!(server.login(source(), &plain, None).await["result"], "OK");
    let guess = User { password: "canary of a wrong guess".to_owned(), ..plain.clone() };
    assert_eq!(server.login(source(), &guess, None).await["result"], "invalid user/password");
    let misplaced = User { userid: "canary of a password in the wrong field".to_owned(), ..guess.clone() };
    assert_eq!(server.login(source(), &misplaced, None).await["result"], "invalid user/password");
    secrets.extend([plain.password.clone(), guess.password.clone(), misplaced.userid.clone()]);

    let trader = server.registered().await;
    let code = trader.code();
    let mut peer = server.connect(source()).await;
    peer.challenge().await;
    let message = peer.login_message(&trader.userid, &trader.password, None);
    secrets.push(message["pass"].as_str().unwrap().to_owned());
    assert_eq!(peer.ask(message).await["2fa"], "required");
    for (code, result) in [("canary-of-a-code", "invalid token"), (&*code, "OK")] {
        assert_eq!(peer.code(code).await["result"], result);
    }
    let mut used = server.connect(source()).await;
    used.challenge().await;
    let answer = used.login(&trader.userid, &trader.password, Some(&code)).await;
    assert_eq!(answer["result"], "invalid token");
    assert_eq!(peer.change_password(&trader.password, "qz-canary").await["result"], "password issue");
    let new = "canary of a new pass phrase";
    assert_eq!(peer.change_password(&trader.password, new).await["result"], "OK");
    secrets.extend(["canary-of-a-code", "qz-canary", new].map(str::to_owned));
    secrets.extend([trader.password.clone(), trader.seed.clone().unwrap()]);

    let initial = server.person(json!({"auth_system": "password"})).await;
    assert_eq!(server.login(source(), &initial, None).await["password"], "change required");
    let newcomer = server.person(json!({"auth_system": "otp"})).await;
    let answer = server.login(source(), &newcomer, None).await;
    assert_eq!(answer["result"], "2fa registration required");
    server.edit(&plain, json!({"standing": "disabled"})).await;
    assert_eq!(server.login(source(), &plain, None).await["result"], "invalid user/password");
    secrets.extend([initial.password, newcomer.password]);
    secrets
}

#[tokio::test]
async fn q3_v6_no_password_code_or_seed_is_written_told_or_measured() {
    let server = Server::serve("log.level = \"trace\"\njournal.segment_bytes = 1048576\n").await;
    let secrets = Secrets::of(every_outcome(&server).await);
    let told = [
        ("the audit trail", Value::from(server.audit("").await).to_string()),
        ("the people", server.api().get("/api/v1/people").await.unwrap().to_string()),
        ("the measurements", server.measurements().await),
    ];
    let mut places: Vec<(String, Vec<u8>)> =
        told.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    places.extend(server.written().into_iter().map(|(path, bytes)| (path.display().to_string(), bytes)));
    for (place, text) in
        [("/journal/", "login-granted"), ("the people", "north.example"), ("stderr", "WebSocket")]
    {
        let known = Secrets::of([text]);
        let seen = places.iter().any(|(name, bytes)| name.contains(place) && known.found(bytes).is_some());
        assert!(seen, "the search does not find what is in {place}");
    }
    for (name, bytes) in &places {
        assert_eq!(secrets.found(bytes), None, "{name}");
    }
}

#[tokio::test]
async fn q4_every_decision_leaves_a_record_with_who_where_what_and_why() {
    let server = Server::serve("node.name = \"west-1\"\n").await;
    every_outcome(&server).await;
    let trail = server.audit("").await;
    let events = [
        ("login-granted", "allowed", "password"),
        ("login-granted", "allowed", "code"),
        ("login-refused", "refused", "none"),
        ("code-asked", "asked", "password"),
        ("code-refused", "refused", "password"),
        ("registration-asked", "asked", "password"),
        ("password-changed", "allowed", "password"),
        ("password-change-refused", "refused", "password"),
        ("person-disabled", "allowed", "local-user"),
    ];
    for (event, outcome, factor) in events {
        let of_event: Vec<&Value> = trail.iter().filter(|entry| entry["event"] == event).collect();
        assert!(
            of_event.iter().any(|entry| entry["outcome"] == outcome && entry["factor"] == factor),
            "{event} {outcome} {factor}: {of_event:?}"
        );
    }
    for entry in &trail {
        assert_eq!(entry["node"], "west-1", "{entry}");
        assert!(entry["at"].as_str().unwrap().ends_with('Z'), "UTC: {entry}");
        assert_eq!(entry["attempt"].as_str().unwrap().len(), 16, "{entry}");
        assert!(entry["actor"]["kind"].is_string(), "{entry}");
        if entry["door"] == "websocket" {
            assert!(entry["source"].as_str().unwrap().starts_with("127.1."), "{entry}");
        }
        if entry["outcome"] == "refused" {
            assert!(entry["reason"].is_string(), "{entry}");
        }
        if entry["actor"]["kind"] == "person" {
            assert_eq!(entry["firm"], "NORTH", "{entry}");
        }
    }
    let numbers: Vec<u64> = trail.iter().rev().map(|entry| entry["no"].as_u64().unwrap()).collect();
    let gapless: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, gapless, "nothing is missing between the first and the last");
}

/// Those that stopped it are written down as well: what was said on the wire and what is in the trail agree.
#[tokio::test]
async fn q4_one_connection_is_one_attempt_from_the_password_to_the_logout() {
    let demo = shared_demo().await;
    let trader = demo.registered().await;
    let from = source();
    let mut peer = demo.connect(from).await;
    peer.challenge().await;
    peer.login(&trader.userid, &trader.password, None).await;
    assert_eq!(peer.code(&trader.code()).await["result"], "OK");
    peer.send(&json!({"type": "logout"})).await;
    assert_eq!(peer.closed().await, 1000);
    let entries = support::until("the record of the logout", async || {
        let entries = demo.audit_from(from).await;
        (entries.len() >= 3).then_some(entries)
    })
    .await;
    let events: Vec<&Value> = entries.iter().rev().map(|entry| &entry["event"]).collect();
    assert_eq!(events, ["code-asked", "login-granted", "logged-out"]);
    assert!(entries.iter().all(|entry| entry["attempt"] == entries[0]["attempt"]), "{entries:?}");
}
