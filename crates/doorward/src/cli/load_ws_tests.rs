//! The load generator against a small server.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use data_encoding::BASE64;
use doorward_core::secret::Secret;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

use super::super::Exit;
use super::super::load_users::User;
use super::*;

/// Base64 of one public key for all tests here, since making one takes a while.
static KEY: LazyLock<String> = LazyLock::new(|| {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    BASE64.encode(der.as_ref())
});

/// Serves any number of connections: a challenge, then `answers` in turn to the logins of all.
async fn start(answers: Vec<Value>) -> String {
    let challenge = json!({"result": "OK", "type": "challenge", "key": *KEY});
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let (answers, logins) = (Arc::new(answers), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (challenge, answers, logins) = (challenge.clone(), Arc::clone(&answers), Arc::clone(&logins));
            tokio::spawn(async move {
                let mut ws = accept_async(tcp).await.unwrap();
                while let Some(Ok(Message::Text(text))) = ws.next().await {
                    let request: Value = serde_json::from_str(&text).unwrap();
                    let mut answer = match request["type"].as_str().unwrap() {
                        "challenge" => challenge.clone(),
                        "login" => answers[logins.fetch_add(1, Ordering::Relaxed) % answers.len()].clone(),
                        _ => {
                            let frame = CloseFrame { code: 1000.into(), reason: "logout".into() };
                            ws.close(Some(frame)).await.unwrap();
                            continue;
                        }
                    };
                    answer["id"] = request["id"].clone();
                    ws.send(Message::text(answer.to_string())).await.unwrap();
                }
            });
        }
    });
    url
}

fn plan(url: String, mode: Mode, total: u64) -> Plan {
    let users = vec![User::new("u".into(), Secret::new("pw".into()), None)];
    Plan {
        url,
        mode,
        pool: (mode == Mode::Login).then(|| Pool::new(users)),
        at_once: 5,
        total,
        rate: 0,
        hold: Duration::ZERO,
        duration: None,
        sources: Vec::new(),
        options: ConnectOptions::default(),
    }
}

#[tokio::test]
async fn logins_are_counted_by_their_answer() {
    let url = start(vec![json!({"result": "OK"}), json!({"result": "busy"}), json!({"result": "OK"})]).await;
    let report = run(plan(url, Mode::Login, 30)).await;
    let json = report.json();
    assert_eq!((&json["started"], &json["succeeded"], &json["failed"]), (&json!(30), &json!(20), &json!(10)));
    assert_eq!(json["failures"], json!({"busy": 10}));
    assert_eq!(json["latency_us"]["login"]["count"], 20);
    assert_eq!(json["latency_us"]["challenge"]["count"], 30);
    assert!(json["open_max"].as_u64().unwrap() <= 5, "{json}");
    assert_eq!(json["closed_by_server"], json!({}));
    assert_eq!(report.exit(), Exit::Done);
    let text = report.text();
    assert!(text.contains("30 started, 20 ok") && text.contains("failed: 10 x busy\n"), "{text}");
}

#[tokio::test]
async fn idle_connections_are_all_held_at_once() {
    let url = start(Vec::new()).await;
    let json = run(plan(url, Mode::Idle, 5)).await.json();
    assert_eq!((&json["connected"], &json["open_max"], &json["failed"]), (&json!(5), &json!(5), &json!(0)));
}

#[tokio::test]
async fn several_source_addresses_are_used() {
    let url = start(Vec::new()).await;
    let sources = vec!["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()];
    let json = run(Plan { sources, ..plan(url, Mode::Connect, 8) }).await.json();
    assert_eq!(json["succeeded"], 8, "{json}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_exit_code_3() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    let report = run(plan(url, Mode::Connect, 3)).await;
    assert_eq!((report.exit(), report.tally.failed), (Exit::Unreachable, 3));
    assert_eq!(report.tally.failures.len(), 1, "counted by text");
}

#[tokio::test]
async fn no_connection_begins_past_the_duration() {
    let url = start(Vec::new()).await;
    let at_once = Plan { duration: Some(Duration::ZERO), at_once: 0, ..plan(url, Mode::Connect, u64::MAX) };
    assert_eq!(run(at_once).await.tally.started, 0);
}
