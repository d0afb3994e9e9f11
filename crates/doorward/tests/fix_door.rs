//! The FIX door of a real node: killed, stopped, flooded, starved, and used.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "support/fix_peer.rs"]
mod fix_peer;
#[path = "support/node.rs"]
mod node;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use doorward::doors::admission::raise_descriptors;
use fix_peer::{FixPeer, Seat, get};
use node::{Demo, Serving, doorward_at, page, soon, told, write_config};
use serde_json::Value;

const ORDER: &str = "11=o1|21=1|55=ES|54=1|38=10|40=2|44=100|60=20261121-00:00:00|";

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dw").tempdir().unwrap()
}

/// Runs a command that must end well; what it printed.
fn done(folder: &Path, args: &[&str]) -> String {
    let output = doorward_at(folder, args);
    assert!(output.status.success(), "doorward {}: {}", args.join(" "), told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The value of a measurement.
fn measured(metrics: &str, begins: &str) -> f64 {
    let (_, text) = page(metrics, "/metrics");
    let lines = text.lines().filter(|line| line.starts_with(begins));
    lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
}

/// Reasons of the refused connections so far.
fn refused(folder: &Path, demo: &Demo) -> Vec<String> {
    let socket = demo.text("admin_socket");
    let list =
        done(folder, &["audit", "list", "--event", "connection-refused", "--json", "--socket", &socket]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let items = list["items"].as_array().unwrap();
    items.iter().filter_map(|entry| entry["reason"].as_str().map(str::to_owned)).collect()
}

/// Posts to the messages of a stream over the administration socket; the status and the answer.
fn post(socket: &str, stream: &str, body: &str) -> (u16, String) {
    let mut connection = UnixStream::connect(socket).unwrap();
    let path = format!("/api/v1/streams/{}/messages", stream.replace('/', "%2F"));
    write!(
        connection,
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    (answer.split(' ').nth(1).unwrap().parse().unwrap(), answer)
}

#[test]
fn f8_a_killed_node_goes_on_where_it_was_and_what_waits_is_fetched_whole() {
    let folder = folder();
    let demo = Demo::start(folder.path(), &["--data", "d"]);
    let seat = Seat::of(&demo.ready, 0);
    let mut client = FixPeer::logged_on(&demo.ready, &seat, 1);
    client.say("D", ORDER);
    let report = client.hear_type("8");
    assert!(report.contains("|150=0|39=0|"), "{report}");
    demo.process.kill();
    while client.hear_or_end().is_some() {}

    let demo = Demo::start(folder.path(), &["--data", "d"]);
    let socket = demo.text("admin_socket");
    let stream = seat.stream();
    let sent = done(
        folder.path(),
        &["venue", "send", "--stream", &stream, "--count", "1000", "--json", "--socket", &socket],
    );
    let sent: Value = serde_json::from_str(&sent).unwrap();
    let first = sent["first"].as_u64().unwrap();
    let before: u64 = get(&report, "34").unwrap().parse().unwrap();
    assert!(first > before, "{first} was used before");
    let (status, problem) = post(&socket, &stream, r#"{"count":10001}"#);
    assert!(status == 422 && problem.contains("10001 is out of range 1..=10000"), "l1: {problem}");
    let (status, problem) = post(&socket, "cgw/ZZZ/001", "{}");
    assert!(status == 404, "a stream of nobody's: {problem}");
    let mut back = FixPeer::logged_on(&demo.ready, &seat, client.next);
    back.say("2", &format!("7={first}|16=0|"));
    for n in 0..1_000 {
        let message = back.hear_type("B");
        assert_eq!(get(&message, "34"), Some((first + n).to_string().as_str()));
        assert!(
            message.contains(&format!("|148={} of 1000|", n + 1)) && message.contains("|43=Y|"),
            "{message}"
        );
    }
    back.say("F", "11=c1|41=o1|55=ES|54=1|60=20261121-00:00:00|");
    let report = back.hear_type("8");
    assert!(report.contains("|150=4|") && report.contains("|41=o1|"), "the venue knows its orders: {report}");
    back.log_out();
}

#[test]
fn f6_bad_input_harms_nobody_else() {
    let folder = folder();
    let demo = Demo::start(folder.path(), &[]);
    let (seat, other) = (Seat::of(&demo.ready, 0), Seat::of(&demo.ready, 1));
    let mut live = FixPeer::logged_on(&demo.ready, &other, 1);

    let mut pieces = FixPeer::connect(&demo.ready, &seat);
    for byte in pieces.logon() {
        pieces.stream.write_all(&[byte]).unwrap();
    }
    assert!(pieces.hear().contains("|35=A|"), "a Logon in pieces of one byte");
    pieces.answer_test();
    let next = pieces.log_out();

    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"8=FIX.4.2\x019=5\x0135=0\x0110=161\x01",
        b"8=FIX.4.2\x019=99999\x0135=A\x01",
        b"8=FIX.4.2\x019=5\x0135=A\x0110=000\x01",
        &[0; 5_000],
    ] {
        let mut stranger = FixPeer::connect(&demo.ready, &seat);
        stranger.stream.write_all(bytes).unwrap();
        assert_eq!(stranger.hear_or_end(), None, "{}", bytes.escape_ascii());
    }
    live.assert_live();

    let mut deaf = FixPeer::logged_on(&demo.ready, &seat, next);
    let burst: Vec<u8> = (0..100_000).flat_map(|n| deaf.build("1", &format!("112=burst-{n:06}|"))).collect();
    // It may be closed before it has said everything.
    let _ = deaf.stream.write_all(&burst);
    live.assert_live();
    while deaf.hear_or_end().is_some() {}
    let mut back = FixPeer::connect(&demo.ready, &seat);
    // Nobody but the server knows how many of them it took.
    back.next = 1_000_000;
    let logon = back.logon();
    back.stream.write_all(&logon).unwrap();
    assert!(back.hear().contains("|35=A|"), "the stream goes on");
    live.assert_live();

    let mut slow = FixPeer::connect(&demo.ready, &seat);
    let logon = slow.logon();
    let took = slow.drip(&logon);
    assert!((8..20).contains(&took.as_secs()), "{took:?}");
    live.assert_live();
    soon("the reasons in the audit", || {
        let reasons = refused(folder.path(), &demo);
        ["too-slow", "no-logon", "too-long"].iter().all(|reason| reasons.iter().any(|known| known == reason))
    });
    let logged_out = done(
        folder.path(),
        &["audit", "list", "--event", "logged-out", "--json", "--socket", &demo.text("admin_socket")],
    );
    assert!(logged_out.contains("\"not-reading\""), "{logged_out}");
}

#[test]
fn f6_ten_thousand_silent_connections_take_little_memory_and_others_log_on() {
    const SILENT: usize = 10_000;
    const BYTES_MAX: f64 = 8.0 * 1024.0;
    raise_descriptors();
    let folder = folder();
    let demo = Demo::start(folder.path(), &[]);
    let (metrics, cgw) = (demo.text("metrics"), &demo.ready["fix"]["cgw"]);
    let address = format!("{}:{}", cgw["host"].as_str().unwrap(), cgw["port"]);
    let before = measured(&metrics, "process_resident_memory_bytes");
    let silent: Vec<TcpStream> = (0..SILENT).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let name = "doorward_connections_not_logged_in{door=\"fix\"}";
    let mut most: f64 = 0.0;
    let mut each: f64 = 0.0;
    // They have 10 s to log on; the first may be gone when the last one comes.
    soon("thousands of silent connections", || {
        let open = measured(&metrics, name);
        if open > most {
            most = open;
            each = (measured(&metrics, "process_resident_memory_bytes") - before) / open;
        }
        open >= SILENT as f64 / 2.0
    });
    let mut client = FixPeer::logged_on(&demo.ready, &Seat::of(&demo.ready, 0), 1);
    println!("{each:.0} bytes for each of {most} silent connections");
    assert!(each < BYTES_MAX, "{each:.0} bytes for each of {most} silent connections");
    soon("no silent connections", || measured(&metrics, name) == 0.0);
    drop(silent);
    client.assert_live();
}

#[test]
fn a_stop_logs_everybody_out_and_the_numbers_go_on_exactly() {
    let folder = folder();
    let mut demo = Demo::start(folder.path(), &["--data", "d"]);
    let seat = Seat::of(&demo.ready, 0);
    let mut client = FixPeer::logged_on(&demo.ready, &seat, 1);
    demo.process.signal(rustix::process::Signal::TERM);
    let logout = client.hear_type("5");
    assert!(logout.contains("|58=Server is stopping. Please reconnect. Logout forced.|"), "{logout}");
    let ours: u64 = get(&logout, "34").unwrap().parse().unwrap();
    client.say("5", "");
    assert_eq!(client.hear_or_end(), None);
    assert!(demo.process.ended().success());

    let demo = Demo::start(folder.path(), &["--data", "d"]);
    let mut back = FixPeer::connect(&demo.ready, &seat);
    back.next = client.next;
    let logon = back.logon();
    back.stream.write_all(&logon).unwrap();
    let answer = back.hear();
    assert_eq!((get(&answer, "35"), get(&answer, "34")), (Some("A"), Some((ours + 1).to_string().as_str())));
}

#[test]
fn f8_a_full_disk_refuses_logons_and_says_so() {
    let folder = folder();
    let demo = Demo::start(folder.path(), &["--fault", "disk-full"]);
    let mut client = FixPeer::connect(&demo.ready, &Seat::of(&demo.ready, 0));
    let logon = client.logon();
    client.stream.write_all(&logon).unwrap();
    let answer = client.hear();
    let told = "|58=Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced|";
    assert!(answer.contains(told), "{answer}");
    assert_eq!(client.hear_or_end(), None);
    let (socket, stream) = (demo.text("admin_socket"), Seat::of(&demo.ready, 1).stream());
    let output = doorward_at(folder.path(), &["venue", "send", "--stream", &stream, "--socket", &socket]);
    assert!(!output.status.success() && told_of_disk(&output), "{}", self::told(&output));
    let (status, text) = page(&demo.text("metrics"), "/readyz");
    assert_eq!(status, 503, "{text}");
}

fn told_of_disk(output: &std::process::Output) -> bool {
    told(output).contains("the stream log failed")
}

#[test]
fn the_second_logon_for_a_stream_under_verification_is_told_so() {
    let folder = folder();
    let demo = Demo::start(folder.path(), &["--fault", "gate-delay=1"]);
    let seat = Seat::of(&demo.ready, 0);
    let (mut one, mut two) = (FixPeer::connect(&demo.ready, &seat), FixPeer::connect(&demo.ready, &seat));
    // Another instant, or it would be the same Logon again.
    two.ahead = Duration::from_millis(7);
    for peer in [&mut one, &mut two] {
        let logon = peer.logon();
        peer.stream.write_all(&logon).unwrap();
    }
    let answers = [one.hear(), two.hear()];
    let count = |part: &str| answers.iter().filter(|answer| answer.contains(part)).count();
    assert_eq!(count("|35=A|"), 1, "{answers:?}");
    assert_eq!(count("|58=Invalid Logon. Logon Already in Progress. Logout Forced|"), 1, "{answers:?}");
}

#[test]
fn the_week_rolls_under_a_live_session_and_both_begin_at_1() {
    let folder = folder();
    let demo = Demo::start(folder.path(), &[]);
    let (seat, socket) = (Seat::of(&demo.ready, 0), demo.text("admin_socket"));
    let mut client = FixPeer::logged_on(&demo.ready, &seat, 1);
    done(folder.path(), &["demo-clock", "advance", "8d", "--socket", &socket]);
    let logout = client.hear_type("5");
    assert!(logout.contains("|58=Session closed. Logout forced.|"), "{logout}");
    client.say("5", "");
    while client.hear_or_end().is_some() {}
    let mut back = FixPeer::connect(&demo.ready, &seat);
    back.ahead = Duration::from_secs(8 * 86_400);
    let logon = back.logon();
    back.stream.write_all(&logon).unwrap();
    let answer = back.hear();
    assert_eq!((get(&answer, "35"), get(&answer, "34")), (Some("A"), Some("1")), "{answer}");
}

#[test]
fn e7_a_listener_with_a_certificate_speaks_tls_and_nothing_else() {
    let folder = folder();
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.path().join("chain.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.path().join("secret"), "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE").unwrap();
    write_config(
        folder.path(),
        "[[fix.listeners]]\nname = \"cgw\"\nlisten = \"127.0.0.1:0\"\ntls.certificate = \"chain.pem\"\n\
         tls.key = \"key.pem\"\n",
    );
    let serving = Serving::start(folder.path());
    let opened = |line: &String| serde_json::from_str::<Value>(line).ok()?["fix"].as_str().map(str::to_owned);
    let address = serving.process.log().iter().find_map(opened).unwrap();
    let output = doorward_at(
        folder.path(),
        &[
            "fix",
            "logon",
            "--address",
            &address,
            "--ca",
            "chain.pem",
            "--sender",
            "ABC001N",
            "--operator",
            "OPER",
            "--access-key-id",
            "oNDxM33uE81ohWuVRtWT",
            "--secret-key-file",
            "secret",
        ],
    );
    assert!(told(&output).contains("Invalid Logon. Logout Forced"), "{}", told(&output));
    let mut plain = TcpStream::connect(&address).unwrap();
    plain.set_read_timeout(Some(fix_peer::SOON)).unwrap();
    plain.write_all(b"8=FIX.4.2\x019=5\x0135=A\x01").unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard);
    assert!(!heard.windows(5).any(|part| part == b"8=FIX"), "{}", heard.escape_ascii());
}

#[test]
fn certificates_are_renewed_on_sighup_a_broken_one_changes_nothing_and_clients_show_theirs() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let make = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(path(&format!("{name}.pem")), made.cert.pem()).unwrap();
        std::fs::write(path(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    };
    ["one", "two", "client", "foreign"].into_iter().for_each(make);
    let take = |name: &str| {
        std::fs::copy(path(&format!("{name}.pem")), path("chain.pem")).unwrap();
        std::fs::copy(path(&format!("{name}.key")), path("key.pem")).unwrap();
    };
    take("one");
    std::fs::write(path("secret"), "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE").unwrap();
    write_config(
        folder.path(),
        "[[fix.listeners]]\nname = \"cgw\"\nlisten = \"127.0.0.1:0\"\ntls.certificate = \"chain.pem\"\n\
         tls.key = \"key.pem\"\ntls.client_ca = \"client.pem\"\n",
    );
    let serving = Serving::start(folder.path());
    let opened = |line: &String| serde_json::from_str::<Value>(line).ok()?["fix"].as_str().map(str::to_owned);
    let address = serving.process.log().iter().find_map(opened).unwrap();
    let gets_through = |ca: &str, client: &str| {
        let (certificate, key) = (format!("{client}.pem"), format!("{client}.key"));
        let asked =
            ["fix", "logon", "--sender", "ABC001N", "--operator", "OPER", "--secret-key-file", "secret"];
        let by = ["--address", &address, "--access-key-id", "oNDxM33uE81ohWuVRtWT", "--ca", ca];
        let shown = ["--certificate", &certificate, "--certificate-key", &key];
        let output = doorward_at(folder.path(), &[&asked[..], &by, &shown].concat());
        told(&output).contains("Invalid Logon. Logout Forced")
    };
    assert!(gets_through("one.pem", "client") && !gets_through("one.pem", "foreign"));
    let reloads = |file: &str, text: &str| {
        serving.process.signal(rustix::process::Signal::HUP);
        soon(text, || serving.process.log().iter().any(|line| line.contains(text) && line.contains(file)));
    };
    take("two");
    reloads("fix.listeners.tls of cgw", "a certificate was taken over");
    assert!(gets_through("two.pem", "client") && !gets_through("one.pem", "client"));
    std::fs::write(path("chain.pem"), "nothing").unwrap();
    reloads("chain.pem", "the certificate stays as it was");
    assert!(gets_through("two.pem", "client"));
}

#[test]
fn a_trusted_proxy_names_the_client() {
    let folder = folder();
    write_config(
        folder.path(),
        "[[fix.listeners]]\nname = \"cgw\"\nlisten = \"127.0.0.1:0\"\nproxy_protocol = true\n",
    );
    let path = folder.path().join("doorward.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("trusted_proxies = [\"127.0.0.0/8\"]\n{text}")).unwrap();
    let serving = Serving::start(folder.path());
    let opened = |line: &String| serde_json::from_str::<Value>(line).ok()?["fix"].as_str().map(str::to_owned);
    let address = serving.process.log().iter().find_map(opened).unwrap();
    let mut stream = TcpStream::connect(&address).unwrap();
    let header = [0x21, 0x11, 0, 12, 203, 0, 113, 5, 192, 0, 2, 1, 0xc0, 0, 0x1c, 0xea];
    let signed = b"\r\n\r\n\0\r\nQUIT\n";
    stream.write_all(&[&signed[..], &header, b"8=FIX.4.2\x019=5\x0135=0\x0110=161\x01"].concat()).unwrap();
    let socket = serving.socket.to_str().unwrap().to_owned();
    soon("the client's address in the audit", || {
        done(folder.path(), &["audit", "list", "--json", "--socket", &socket]).contains("\"203.0.113.5\"")
    });
    let serves = TcpStream::connect(&address).unwrap();
    drop(serves);
}
