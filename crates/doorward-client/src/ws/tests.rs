//! The client against a small server that speaks what the WebSocket page documents.

mod serving;

use std::collections::VecDeque;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;
use crate::password::tests::{answer as challenge_answer, decrypt};

/// What the server does with the next message that is no challenge.
enum Act {
    /// Answers, echoing the `id`.
    Answer(Value),
    /// Answers exactly this.
    Text(&'static str),
    /// Answers, then closes.
    AnswerAndClose(Value, u16, &'static str),
    /// Closes.
    Close(u16, &'static str),
    /// Sends bytes.
    Binary,
    /// Breaks the connection without a close frame.
    Drop,
    /// Says nothing.
    Silence,
}

/// Serves one connection by a script; gives the messages that it got, in order.
async fn serve(tcp: TcpStream, script: Vec<Act>) -> Vec<Value> {
    let mut script = VecDeque::from(script);
    let mut ws = accept_async(tcp).await.unwrap();
    let mut seen = Vec::new();
    while let Some(Ok(message)) = ws.next().await {
        let Message::Text(text) = message else { continue };
        let request: Value = serde_json::from_str(&text).unwrap();
        seen.push(request.clone());
        let act = match request["type"].as_str().unwrap() {
            "challenge" => Act::Answer(challenge_answer()),
            "logout" => Act::Close(1000, "logout"),
            _ => script.pop_front().expect("a message past the script"),
        };
        let echo = |mut answer: Value| {
            answer["id"] = request["id"].clone();
            Message::text(answer.to_string())
        };
        let closing =
            |code: u16, reason: &'static str| Some(CloseFrame { code: code.into(), reason: reason.into() });
        match act {
            Act::Answer(answer) => ws.send(echo(answer)).await.unwrap(),
            Act::Text(text) => ws.send(Message::text(text)).await.unwrap(),
            Act::AnswerAndClose(answer, code, reason) => {
                ws.send(echo(answer)).await.unwrap();
                ws.close(closing(code, reason)).await.unwrap();
            }
            Act::Close(code, reason) => ws.close(closing(code, reason)).await.unwrap(),
            Act::Binary => ws.send(Message::binary(vec![1, 2, 3])).await.unwrap(),
            Act::Drop => break,
            Act::Silence => {}
        }
    }
    seen
}

async fn start(script: Vec<Act>) -> (String, JoinHandle<Vec<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { serve(listener.accept().await.unwrap().0, script).await });
    (url, server)
}

async fn connect(script: Vec<Act>) -> (WsClient, JoinHandle<Vec<Value>>) {
    let (url, server) = start(script).await;
    (WsClient::connect(&url, &ConnectOptions::default()).await.unwrap(), server)
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

fn opened(message: &Value, field: &str) -> Option<String> {
    let padding = Padding::from_name(message["padding"].as_str().unwrap()).unwrap();
    decrypt(padding, b"", &BASE64.decode(message[field].as_str().unwrap().as_bytes()).unwrap())
}

#[tokio::test]
async fn every_login_answer_is_told_apart() {
    let url = String::from("https://portal.example/register");
    let rows = [
        (json!({"result": "OK"}), LoginAnswer::In { must_change: false }),
        (json!({"result": "OK", "password": "change required"}), LoginAnswer::In { must_change: true }),
        (json!({"result": "OK", "2fa": "required"}), LoginAnswer::CodeRequired),
        (json!({"result": "invalid user/password"}), LoginAnswer::Refused),
        (json!({"result": "invalid token", "2fa": "required"}), LoginAnswer::InvalidToken),
        (
            json!({"result": "2fa registration required", "register_url": url}),
            LoginAnswer::RegistrationRequired { url: Some(url.clone()) },
        ),
        (json!({"result": "2fa registration required"}), LoginAnswer::RegistrationRequired { url: None }),
        (json!({"result": "challenge required"}), LoginAnswer::ChallengeRequired),
        (json!({"result": "busy", "retry_ms": 250}), LoginAnswer::Busy { retry_ms: 250 }),
        (json!({"result": "try again later"}), LoginAnswer::TryAgainLater { retry_ms: 1_000 }),
        (json!({"result": "already logged in"}), LoginAnswer::Other("already logged in".into())),
        (json!({"result": 7}), LoginAnswer::Other(String::new())),
    ];
    for (mut raw, expected) in rows {
        raw["type"] = json!("login");
        let (mut client, server) = connect(vec![Act::Answer(raw.clone())]).await;
        let reply = client.login("trader", &secret("pässwörd"), None).await.unwrap();
        assert_eq!(reply.answer, expected);
        assert_eq!(reply.raw["result"], raw["result"]);
        drop(client);
        assert_eq!(opened(&server.await.unwrap()[1], "pass").as_deref(), Some("pässwörd"));
    }
}

#[tokio::test]
async fn a_login_carries_what_the_page_documents() {
    for padding in [None, Some(Padding::Pkcs1)] {
        let (url, server) = start(vec![Act::Answer(json!({"result": "OK"}))]).await;
        let options = ConnectOptions { padding, ..ConnectOptions::default() };
        let mut client = WsClient::connect(&url, &options).await.unwrap();
        client.login("trader", &secret("pw"), Some("123456")).await.unwrap();
        drop(client);
        let seen = server.await.unwrap();
        assert_eq!(seen[0], json!({"type": "challenge", "id": 1}));
        let login = &seen[1];
        assert_eq!(
            (&login["type"], &login["userid"], &login["2fatoken"]),
            (&json!("login"), &json!("trader"), &json!("123456"))
        );
        assert_eq!(login["keyid"], "k-1");
        assert_eq!(login["padding"], padding.unwrap_or(Padding::OaepSha256).name());
        assert_eq!(opened(login, "pass").as_deref(), Some("pw"));
    }
}

#[tokio::test]
async fn a_code_follows_in_a_second_step() {
    let (mut client, server) = connect(vec![
        Act::Answer(json!({"result": "OK", "2fa": "required"})),
        Act::Answer(json!({"result": "invalid token", "2fa": "required"})),
        Act::Answer(json!({"result": "OK"})),
    ])
    .await;
    assert_eq!(client.login("t", &secret("pw"), None).await.unwrap().answer, LoginAnswer::CodeRequired);
    assert_eq!(client.send_code("000000").await.unwrap().answer, LoginAnswer::InvalidToken);
    assert_eq!(client.send_code("111111").await.unwrap().answer, LoginAnswer::In { must_change: false });
    let closing = client.logout().await.unwrap();
    assert_eq!(closing, Closing { code: Some(1000), reason: "logout".into() });
    let seen = server.await.unwrap();
    assert_eq!(seen[3], json!({"type": "send2fatoken", "2fatoken": "111111", "id": 4}));
}

#[tokio::test]
async fn a_refusal_is_read_before_the_close_that_follows_it() {
    let refusal = json!({"result": "invalid user/password", "type": "login"});
    let (mut client, _server) = connect(vec![Act::AnswerAndClose(refusal, 1008, "refused")]).await;
    assert_eq!(client.login("t", &secret("pw"), None).await.unwrap().answer, LoginAnswer::Refused);
    assert_eq!(client.closed().await, Closing { code: Some(1008), reason: "refused".into() });
    let error = client.ping().await.unwrap_err();
    assert_eq!(error.to_string(), "the server closed the connection: code 1008 (refused)");
    assert_eq!(client.closed().await.code, Some(1008), "told as often as asked");
    assert_eq!(client.logout().await.unwrap().code, Some(1008));
}

#[tokio::test]
async fn every_close_code_comes_with_its_reason() {
    for (code, reason) in
        [(1000, ""), (1001, "stopping"), (1003, "binary"), (1008, "too slow"), (1013, "full")]
    {
        let (mut client, _server) = connect(vec![Act::Close(code, reason)]).await;
        let Err(ClientError::Closed(closing)) = client.ping().await else { panic!("code {code}") };
        assert_eq!(closing, Closing { code: Some(code), reason: reason.into() });
    }
}

#[tokio::test]
async fn a_connection_that_breaks_has_no_close_code() {
    let (mut client, _server) = connect(vec![Act::Drop]).await;
    let Err(ClientError::Closed(closing)) = client.ping().await else { panic!("still open") };
    assert_eq!(closing.code, None);
    assert!(closing.reason.starts_with("connection lost"), "{closing}");
}

#[tokio::test]
async fn a_dead_challenge_is_renewed_once() {
    let gone = || Act::Answer(json!({"result": "challenge required"}));
    let (mut client, server) = connect(vec![gone(), Act::Answer(json!({"result": "OK"}))]).await;
    client.challenge().await.unwrap();
    let reply = client.login("t", &secret("pw"), None).await.unwrap();
    assert_eq!(reply.answer, LoginAnswer::In { must_change: false });
    drop(client);
    let types: Vec<_> =
        server.await.unwrap().iter().map(|m| m["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(types, ["challenge", "login", "challenge", "login"]);

    let (mut client, _server) = connect(vec![gone(), gone()]).await;
    client.challenge().await.unwrap();
    let reply = client.login("t", &secret("pw"), None).await.unwrap();
    assert_eq!(reply.answer, LoginAnswer::ChallengeRequired, "and no more than once");
}

#[tokio::test]
async fn a_server_without_a_key_to_give_says_why() {
    let (mut client, _server) = connect(vec![]).await;
    let raw = json!({"result": "try again later", "type": "challenge", "retry_ms": 500});
    assert!(matches!(Challenge::from_answer(&raw), Err(ClientError::Unexpected(_))));
    client.challenge().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = async {
        let mut ws = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        ws.next().await.unwrap().unwrap();
        ws.send(Message::text(raw.to_string())).await.unwrap();
    };
    let login = async {
        let mut client = WsClient::connect(&url, &ConnectOptions::default()).await.unwrap();
        client.login("t", &secret("pw"), None).await.unwrap_err().to_string()
    };
    let ((), error) = tokio::join!(server, login);
    assert_eq!(error, "no challenge key: try again later");
}

#[tokio::test]
async fn every_answer_to_a_password_change_is_told_apart() {
    let issue = json!({"result": "password issue", "reason": "holds the user id"});
    let rows = [
        (json!({"result": "OK"}), ChangeAnswer::Changed),
        (issue, ChangeAnswer::PasswordIssue { reason: "holds the user id".into() }),
        (json!({"result": "invalid user/password"}), ChangeAnswer::Refused),
        (json!({"result": "challenge required"}), ChangeAnswer::ChallengeRequired),
        (json!({"result": "busy", "retry_ms": 5}), ChangeAnswer::Busy { retry_ms: 5 }),
        (json!({"result": "try again later", "retry_ms": 6}), ChangeAnswer::TryAgainLater { retry_ms: 6 }),
        (json!({"result": "permission denied"}), ChangeAnswer::Other("permission denied".into())),
    ];
    for (raw, expected) in rows {
        let (mut client, server) = connect(vec![Act::Answer(raw)]).await;
        let reply = client.change_password(&secret("old one"), &secret("new one")).await.unwrap();
        assert_eq!(reply.answer, expected);
        drop(client);
        let change = &server.await.unwrap()[1];
        assert_eq!((&change["type"], &change["updateprof"]), (&json!("adduser"), &json!(true)));
        assert_eq!(opened(change, "pass").as_deref(), Some("old one"));
        assert_eq!(opened(change, "newpass").as_deref(), Some("new one"));
        assert_ne!(change["pass"], change["newpass"]);
    }
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_and_its_late_answer_is_skipped() {
    let late = Act::Text(r#"{"result":"OK","type":"ping","time":1,"id":1}"#);
    let (mut client, _server) = connect(vec![Act::Silence, late, Act::Answer(json!({"time": 3}))]).await;
    client.answer_limit = Duration::ZERO;
    let error = client.ping().await.unwrap_err();
    assert_eq!(error.to_string(), "no answer to ping within 0 ms");
    let error = client.ping().await.unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    client.answer_limit = Duration::from_secs(30);
    assert_eq!(client.ping().await.unwrap()["time"], 3);
}

#[tokio::test]
async fn an_answer_without_an_id_is_taken() {
    let (mut client, _server) =
        connect(vec![Act::Text(r#"{"result":"login required","type":"ping"}"#)]).await;
    assert_eq!(client.ping().await.unwrap()["result"], "login required");
}

#[tokio::test]
async fn what_is_no_json_text_is_unexpected_and_panics_nothing() {
    for act in [Act::Text("{“type”"), Act::Text(""), Act::Binary] {
        let (mut client, _server) = connect(vec![act]).await;
        assert!(matches!(client.ping().await, Err(ClientError::Unexpected(_))));
    }
    for text in ["null", "[]", "\"OK\"", "3"] {
        let (mut client, _server) = connect(vec![Act::Text(text)]).await;
        let reply = client.login("t", &secret("pw"), None).await.unwrap();
        assert_eq!(reply.answer, LoginAnswer::Other(String::new()), "{text}");
    }
}

#[tokio::test]
async fn a_message_that_nobody_asked_for_does_not_end_the_wait_for_the_close() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut ws = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        ws.send(Message::binary(vec![1])).await.unwrap();
        ws.send(Message::text("not json")).await.unwrap();
        ws.send(Message::text("{}")).await.unwrap();
        ws.close(Some(CloseFrame { code: 1001.into(), reason: "stopping".into() })).await.unwrap();
    });
    let mut client = WsClient::connect(&url, &ConnectOptions::default()).await.unwrap();
    assert_eq!(client.closed().await, Closing { code: Some(1001), reason: "stopping".into() });
}

#[tokio::test]
async fn a_password_that_is_too_long_never_leaves() {
    let (mut client, server) = connect(vec![]).await;
    let error = client.login("t", &secret(&"x".repeat(191)), None).await.unwrap_err();
    assert!(matches!(error, ClientError::PasswordTooLong { bytes: 191, limit: 190 }));
    drop(client);
    assert_eq!(server.await.unwrap().len(), 1, "the challenge alone");
}

#[tokio::test]
async fn pings_are_answered_while_waiting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut ws = accept_async(listener.accept().await.unwrap().0).await.unwrap();
        ws.send(Message::Ping(vec![7].into())).await.unwrap();
        let answer = ws.next().await.unwrap().unwrap();
        ws.close(None).await.unwrap();
        answer
    });
    let mut client = WsClient::connect(&url, &ConnectOptions::default()).await.unwrap();
    assert_eq!(client.closed().await, Closing { code: None, reason: String::new() });
    assert_eq!(server.await.unwrap(), Message::Pong(vec![7].into()));
}

#[tokio::test]
async fn addresses_that_lead_nowhere_are_told_apart() {
    let options = ConnectOptions::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for (url, why) in [
        ("not an address", "url not an address: not an address such as ws://127.0.0.1:7402/".to_owned()),
        ("http://127.0.0.1/", "url http://127.0.0.1/: must begin with ws:// or wss://".to_owned()),
        ("127.0.0.1:7402", "url 127.0.0.1:7402: must begin with ws:// or wss://".to_owned()),
        (
            "wss://127.0.0.1:1/",
            "url wss://127.0.0.1:1/: wss:// needs root certificates to trust: give a CA file".to_owned(),
        ),
    ] {
        assert_eq!(WsClient::connect(url, &options).await.unwrap_err().to_string(), why);
    }

    let hurried = ConnectOptions { connect_limit: Duration::ZERO, ..ConnectOptions::default() };
    let error = WsClient::connect(&format!("ws://{address}/"), &hurried).await.unwrap_err();
    assert_eq!(error.to_string(), format!("no answer to the connection to {address} within 0 ms"));

    drop(listener);
    let error = WsClient::connect(&format!("ws://{address}/"), &options).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot connect to {address}: ")), "{error}");
}

#[tokio::test]
async fn a_refused_handshake_says_its_status() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            tcp.read_buf(&mut asked).await.unwrap();
        }
        tcp.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(asked).unwrap()
    });
    let options = ConnectOptions { origin: Some("https://evil.example".into()), ..ConnectOptions::default() };
    let error = WsClient::connect(&format!("ws://{address}/ws"), &options).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{address} refused the websocket handshake: http status 403 Forbidden")
    );
    let asked = server.await.unwrap();
    assert!(asked.starts_with("GET /ws HTTP/1.1\r\n"), "{asked}");
    assert!(asked.to_lowercase().contains("origin: https://evil.example\r\n"), "{asked}");
}

mod tls {
    use std::path::PathBuf;

    use rustls::pki_types::PrivateKeyDer;
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A TLS server for `localhost`; gives its address and the path of the certificate to trust.
    async fn start(name: &str) -> (u16, PathBuf, JoinHandle<()>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let path = std::env::temp_dir().join(format!("doorward-tls-{name}-{}.pem", std::process::id()));
        std::fs::write(&path, made.cert.pem()).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (tcp, _) = listener.accept().await.unwrap();
            let Ok(tls) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await else { return };
            let mut ws = accept_async(tls).await.unwrap();
            let closing = CloseFrame { code: 1001.into(), reason: "stopping".into() };
            ws.close(Some(closing)).await.unwrap();
        });
        (port, path, server)
    }

    #[tokio::test]
    async fn wss_trusts_the_given_root_and_nothing_else() {
        let (port, path, _server) = start("good").await;
        let options =
            ConnectOptions { tls: Some(tls_from_ca_file(&path).unwrap()), ..ConnectOptions::default() };
        let mut client = WsClient::connect(&format!("wss://localhost:{port}/"), &options).await.unwrap();
        assert_eq!(client.closed().await, Closing { code: Some(1001), reason: "stopping".into() });

        let (port, other, _server) = start("other").await;
        let error = WsClient::connect(&format!("wss://localhost:{port}/"), &options).await.unwrap_err();
        assert!(error.to_string().contains("tls: "), "{error}");
        for file in [path, other] {
            std::fs::remove_file(file).unwrap();
        }
    }

    #[test]
    fn a_ca_file_that_is_none_is_named() {
        let error = tls_from_ca_file("/nonexistent/ca.pem".as_ref()).unwrap_err().to_string();
        assert!(error.starts_with("root certificates /nonexistent/ca.pem: "), "{error}");
        let empty = std::env::temp_dir().join(format!("doorward-tls-empty-{}.pem", std::process::id()));
        std::fs::write(&empty, "hello").unwrap();
        let error = tls_from_ca_file(&empty).unwrap_err().to_string();
        std::fs::remove_file(&empty).unwrap();
        assert!(error.ends_with("no certificate in it (a PEM file is needed)"), "{error}");
    }
}
