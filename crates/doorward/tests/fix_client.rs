//! Our own FIX client, as a library and as commands, against a real server.
#![allow(clippy::unwrap_used, reason = "test code")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use doorward_client::fix::{
    Application, Body, ConnectOptions, Credentials, Ending, Event, FileStore, FixClient, FixError, KeyPair,
    MemoryStore, Numbers, SecureLogon, SequenceStore, Settings,
};
use doorward_core::id::{CompId, OperatorId};
use doorward_core::secret::Secret;
use doorward_core::stream::Gateway;
use serde_json::Value;
use support::{DOORWARD, Server, shared_demo};

fn ready_path(server: &Server) -> PathBuf {
    server.dir.join("ready.json")
}

fn ready(server: &Server) -> Value {
    serde_json::from_slice(&std::fs::read(ready_path(server)).unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// One of the demo's FIX sessions: each test has one of its own.
struct Seat {
    comp_id: String,
    settings: Settings,
    port: u16,
}

fn seat(server: &Server, number: usize) -> Seat {
    let ready = ready(server);
    let row = &ready["fix_sessions"][number];
    let comp_id = text(&row["sender_comp_ids"][0]);
    let key = KeyPair::new(&text(&row["access_key_id"]), &Secret::new(text(&row["secret_key"]))).unwrap();
    let settings = Settings::new(Credentials::Secure(SecureLogon {
        comp_id: CompId::parse(comp_id.as_bytes()).unwrap(),
        operator: OperatorId::parse(text(&row["operator_ids"][0]).as_bytes()).unwrap(),
        gateway: Gateway::Cgw,
        location: String::from("US,IL"),
        application: Application::default(),
        key,
    }));
    let port = ready["fix"]["cgw"]["port"].as_u64().unwrap().try_into().unwrap();
    Seat { comp_id, settings, port }
}

impl Seat {
    async fn try_connect(&self, store: Box<dyn SequenceStore>, strict: bool) -> Result<FixClient, FixError> {
        let options = ConnectOptions { strict, ..ConnectOptions::default() };
        FixClient::connect("127.0.0.1", self.port, self.settings.clone(), store, options).await
    }

    /// Logs on with these numbers and no others.
    async fn connect(&self, next_out: u64, next_in: u64) -> FixClient {
        let store = MemoryStore::new(Numbers { next_out, next_in });
        let mut client = self.try_connect(Box::new(store), true).await.unwrap();
        assert!(matches!(client.next().await, Ok(Event::LoggedOn { .. })));
        client
    }

    /// `cgw/ABC/001`.
    fn stream(&self) -> String {
        format!("cgw/{}/{}", &self.comp_id[..3], &self.comp_id[3..6])
    }
}

fn order(id: &str) -> Body {
    let fields =
        [(21, "1"), (55, "ESZ6"), (54, "1"), (60, "20261121-20:00:00.000"), (38, "1"), (40, "2"), (44, "1")];
    fields.iter().fold(Body::new().field(11, id), |body, (tag, value)| body.field(*tag, value))
}

async fn message(client: &mut FixClient) -> doorward_client::fix::Inbound {
    loop {
        match client.next().await.unwrap() {
            Event::Message(message) => return message,
            Event::Ended(ending) => panic!("{ending}"),
            Event::LoggedOn { .. } | Event::Rejected(_) | Event::NotResent { .. } | Event::Reset => {}
        }
    }
}

fn command(server: &Server, args: &[&str]) -> Output {
    let ready = ready_path(server);
    let ready = ["--ready", ready.to_str().unwrap()];
    Command::new(DOORWARD).args(args).args(ready).stdin(Stdio::null()).output().unwrap()
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn venue_sends(server: &Server, stream: &str, count: usize) {
    let socket = text(&ready(server)["admin_socket"]);
    let count = count.to_string();
    let args = ["venue", "send", "--stream", stream, "--count", &count, "--socket", &socket];
    let output = Command::new(DOORWARD).args(args).output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
}

#[tokio::test]
async fn the_three_ways_to_log_on() {
    let server = shared_demo().await;
    let seat = seat(server, 0);
    // The beginning of the week.
    let mut client = seat.connect(1, 1).await;
    assert_eq!(client.send("D", &order("A1")).await.unwrap(), 2, "the Test Request is not yet answered");
    let report = message(&mut client).await;
    assert_eq!((report.msg_type(), report.get(11)), (&b"8"[..], Some(&b"A1"[..])));
    // In session.
    client.reset().await.unwrap();
    while client.next().await.unwrap() != Event::Reset {}
    assert_eq!(client.numbers(), Numbers { next_out: 2, next_in: 2 });
    assert_eq!(client.send("D", &order("A2")).await.unwrap(), 2);
    assert_eq!(message(&mut client).await.seq_num(), 2);
    let ending = client.log_out().await.unwrap();
    assert!(matches!(ending, Ending::LoggedOut(_)), "{ending}");
    // In the middle of the week, with the next number; one that was used is refused and the next one named.
    let error = seat.try_connect(Box::new(MemoryStore::new(Numbers { next_out: 3, next_in: 4 })), true).await;
    let FixError::Ended(Ending::Refused(refusal)) = error.unwrap_err() else { panic!("not refused") };
    assert_eq!(refusal.next_expected, Some(4), "{refusal}");
    let client = seat.connect(4, 4).await;
    client.log_out().await.unwrap();
}

#[tokio::test]
async fn a_thousand_undelivered_messages_are_fetched_in_order() {
    let server = shared_demo().await;
    let seat = seat(server, 1);
    let mut client = seat.connect(1, 1).await;
    client.send("D", &order("B1")).await.unwrap();
    message(&mut client).await;
    let numbers = client.numbers();
    client.log_out().await.unwrap();
    venue_sends(server, &seat.stream(), 1_000);
    // Our Logout and the server's had a number each.
    let mut client = seat.connect(numbers.next_out + 1, numbers.next_in + 1).await;
    for n in 0..1_000 {
        let stored = message(&mut client).await;
        assert_eq!(stored.seq_num(), numbers.next_in + 1 + n);
        assert!(stored.is_poss_dup() && stored.get(122).is_some());
    }
    client.send("D", &order("B2")).await.unwrap();
    assert_eq!(message(&mut client).await.get(11), Some(&b"B2"[..]));
    client.log_out().await.unwrap();
}

#[tokio::test]
async fn what_was_not_heard_before_a_crash_comes_again() {
    let server = shared_demo().await;
    let seat = seat(server, 2);
    let file = server.dir.join("crash.seq");
    let store = || Box::new(FileStore::open(&file).unwrap());
    let client = seat.try_connect(store(), true).await.unwrap();
    client.log_out().await.unwrap();
    venue_sends(server, &seat.stream(), 30);
    let mut client = seat.try_connect(store(), true).await.unwrap();
    let first = message(&mut client).await.seq_num();
    for n in 1..10 {
        assert_eq!(message(&mut client).await.seq_num(), first + n);
    }
    // Without a Logout, in the middle of it: the tenth was given out and nothing was asked for since.
    drop(client);
    let mut client = loop {
        match seat.try_connect(store(), true).await {
            Ok(client) => break client,
            // The server has not noticed yet that the connection before is gone.
            Err(FixError::Ended(Ending::Refused(refusal))) => {
                assert!(refusal.text.contains("on"), "{refusal}");
            }
            Err(error) => panic!("{error}"),
        }
    };
    for n in 9..30 {
        assert_eq!(message(&mut client).await.seq_num(), first + n);
    }
    client.log_out().await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_killed_comes_back_with_good_numbers() {
    let server = shared_demo().await;
    let seat = seat(server, 3);
    let ready = ready_path(server);
    for round in 1..=5 {
        let id = format!("K{round}-");
        let mut child = Command::new(DOORWARD)
            .args(["fix", "order", "--price", "1", "--count", "100000", "--id", &id, "--strict"])
            .args(["--sender", &seat.comp_id, "--ready", ready.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let orders = lines.by_ref().map_while(Result::ok).filter(|line| line.contains("|35=D|"));
        assert_eq!(orders.take(20 * round).count(), 20 * round, "round {round}: the logon was refused");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let output = command(server, &["fix", "logon", "--strict", "--sender", &seat.comp_id, "--stay", "1"]);
    assert!(output.status.success(), "{}", told(&output));
}

#[tokio::test]
async fn a_trader_logs_on_with_a_code_that_counts_once() {
    let server = shared_demo().await;
    let trader = server.sample("trader@south.example");
    let password = server.dir.join("trader-password");
    std::fs::write(&password, &trader.password).unwrap();
    let args = ["fix", "logon", "--profile", "trader-otp", "--user", &trader.userid, "--stay", "1"];
    let password = ["--password-file", password.to_str().unwrap()];
    let code = trader.code();
    let output = command(server, &[&args[..], &password, &["--code", &code]].concat());
    assert!(output.status.success(), "{}", told(&output));
    assert!(!told(&output).contains(&code) && !told(&output).contains(&trader.password), "{}", told(&output));
    let output = command(server, &[&args[..], &password, &["--code", &code]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("the server refused the logon: invalid one-time password"),
        "{}",
        told(&output)
    );
    let output = command(server, &[&args[..], &password].concat());
    assert!(told(&output).contains("|58=one-time password required|"), "{}", told(&output));
    assert!(told(&output).contains("give --code or --seed-env"), "{}", told(&output));
}

#[tokio::test]
async fn load_runs_in_every_mode() {
    let server = Server::demo(&[]).await;
    for words in [
        &["--mode", "cycles", "--total", "100"][..],
        &["--mode", "storm"],
        &["--mode", "orders", "--total", "500"],
        &["--mode", "orders", "--total", "500", "--orders", "ioc"],
        &["--mode", "orders", "--total", "500", "--orders", "cancel", "--gateway", "msgw"],
        &["--mode", "ping", "--total", "100"],
        &["--mode", "ping", "--total", "50", "--ping-orders"],
        &["--mode", "idle", "--duration-s", "1"],
    ] {
        let output = command(&server, &[&["load", "fix", "--json"], words].concat());
        let result: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", told(&output)));
        assert!(output.status.success() && result["operations"].as_u64().unwrap() > 0, "{words:?}: {result}");
        assert_eq!(
            (&result["failed"], &result["renumbered"], &result["rejected"]),
            (&0.into(), &0.into(), &0.into())
        );
        assert_eq!(result["closed_by_server"], serde_json::json!({}), "{words:?}");
    }
}

#[test]
fn the_signature_that_the_seed_prints_comes_out_of_the_command() {
    let logon = "8=FIX.4.2|9=0|35=A|34=1|49=B08004N|50=MSG|52=20170623-14:48:42.855|56=CME|57=92|108=60|142=US,NY\
                 |369=0|1603=BRIO|1604=8.0|1605=ABC|355=oNDxM33uE81ohWuVRtWT|10=000|";
    let mut child = Command::new(DOORWARD)
        .args(["sign", "--secret-key-env", "SIGN_WITH"])
        .env("SIGN_WITH", "2HlZ7exg8jTKltXnURjKvm3GS5iF5n4ClzHiEm_ocv4")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(logon.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = told(&output);
    assert!(text.contains("signature (1402): oHZ2Dx1ihFAp7kHOFcJPkijm27xfApJFp-ZhsSCxr3s\n"), "{text}");
    assert!(text.contains("|1401=43|1402=oHZ2Dx1ihFAp7kHOFcJPkijm27xfApJFp-ZhsSCxr3s|10="), "{text}");
}
