//! A node in an operator's hands: first start, second instance, stop, restart, damage, drills.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "support/node.rs"]
mod node;

use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use node::{Demo, Process, Serving, doorward_at, flip, page, soon, told, write_config};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Runs a command that must end well; what it printed on standard output.
fn done(folder: &Path, args: &[&str]) -> String {
    let output = doorward_at(folder, args);
    assert!(output.status.success(), "doorward {}: {}", args.join(" "), told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must fail with this code; what it said.
fn fails(folder: &Path, args: &[&str], code: i32) -> String {
    let output = doorward_at(folder, args);
    assert_eq!(output.status.code(), Some(code), "doorward {}: {}", args.join(" "), told(&output));
    told(&output)
}

/// One login by the command line; its exit code and what it printed.
fn login(folder: &Path, url: &str, user: &str, password: &str, more: &[&str]) -> (i32, String) {
    let file = folder.join("password.txt");
    std::fs::write(&file, password).unwrap();
    let mut args =
        vec!["ws", "login", "--json", "--url", url, "--user", user, "--password-file", "password.txt"];
    args.extend_from_slice(more);
    let output = doorward_at(folder, &args);
    (output.status.code().unwrap(), told(&output))
}

/// Whether an answer to a login, among all that was printed, lets in.
fn lets_in(answers: &str) -> bool {
    let answers = answers.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    answers.into_iter().any(|answer| answer["type"] == "login" && answer["result"] == "OK")
}

/// Adds a program, which needs no change of its password; the password.
fn add_program(folder: &Path, userid: &str) -> String {
    let added = done(
        folder,
        &[
            "user",
            "add",
            userid,
            "--kind",
            "service",
            "--not-initial",
            "--grant-sources",
            "127.0.0.0/8",
            "--json",
        ],
    );
    let added: Value = serde_json::from_str(&added).unwrap();
    added["password"].as_str().unwrap().to_owned()
}

/// Everything in the book, table by table.
fn dump(folder: &Path) -> Vec<String> {
    let path = folder.join("data/book.db");
    let book = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut rows = Vec::new();
    for table in ["venue", "firm", "person", "access", "audit", "mark"] {
        let mut statement = book.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).unwrap();
        let columns = statement.column_count();
        let found = statement
            .query_map([], |row| {
                let values: Result<Vec<_>, _> =
                    (0..columns).map(|at| row.get_ref(at).map(|value| format!("{value:?}"))).collect();
                Ok(format!("{table}: {}", values?.join(" | ")))
            })
            .unwrap();
        rows.extend(found.map(Result::unwrap));
    }
    rows
}

/// A node that has run, with a program whose password is given back; it is stopped.
fn with_history(folder: &Path) -> String {
    write_config(folder, "");
    let mut serving = Serving::start(folder);
    done(folder, &["firm", "add", "NORTH", "--name", "Northwind"]);
    let password = add_program(folder, "web");
    assert_eq!(login(folder, &serving.url, "web", &password, &[]).0, 0);
    assert_eq!(login(folder, &serving.url, "web", "no such word at all", &[]).0, 1);
    assert!(serving.process.stop().0.success());
    password
}

#[test]
fn a_new_user_gets_from_nothing_to_a_desk_by_what_init_prints() {
    let dir = folder();
    let folder = dir.path();
    let printed = done(folder, &["init"]);
    for next in ["doorward serve --config doorward.toml", "doorward user add desk --kind desk"] {
        assert!(printed.contains(next), "{printed}");
    }
    fails(folder, &["init"], 2);
    let text = std::fs::read_to_string(folder.join("doorward.toml")).unwrap();
    let own_ports = text
        .replace("#listen = [\"127.0.0.1:7402\"]", "listen = [\"127.0.0.1:0\"]")
        .replace("#listen = \"127.0.0.1:7490\"", "listen = \"127.0.0.1:0\"")
        .replace("#format = \"human\"", "format = \"json\"");
    std::fs::write(folder.join("doorward.toml"), own_ports).unwrap();
    let serving = Serving::start(folder);
    let added: Value =
        serde_json::from_str(&done(folder, &["user", "add", "desk", "--kind", "desk", "--json"])).unwrap();
    let password = added["password"].as_str().unwrap();
    let (_, answer) = login(folder, &serving.url, "desk", password, &[]);
    assert!(answer.contains("2fa registration required") || answer.contains("change required"), "{answer}");
}

#[test]
fn n1_the_administration_socket_is_for_its_owner_alone() {
    let dir = folder();
    write_config(dir.path(), "");
    let serving = Serving::start(dir.path());
    let mode = std::fs::metadata(&serving.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_second_instance_is_refused_by_the_first_ones_process_id() {
    let dir = folder();
    write_config(dir.path(), "");
    let first = Serving::start(dir.path());
    let text = fails(dir.path(), &["serve", "--config", "doorward.toml"], 1);
    assert!(text.contains(&format!("in use by process {}", first.process.pid())), "{text}");
    let text = fails(dir.path(), &["book", "rebuild", "--config", "doorward.toml"], 1);
    assert!(text.contains(&format!("in use by process {}", first.process.pid())), "{text}");
    assert_eq!(page(&first.metrics, "/readyz").0, 200, "the first one goes on");
}

#[test]
fn sigterm_drains_and_ends_well_within_the_limit() {
    let dir = folder();
    write_config(dir.path(), "[shutdown]\ndrain_s = 5\n");
    let mut serving = Serving::start(dir.path());
    let password = add_program(dir.path(), "web");
    let url = serving.url.clone();
    let file = dir.path().join("password.txt");
    std::fs::write(&file, password).unwrap();
    // One who is logged in and stays, and one who never says anything.
    let mut held = Process::spawn(
        dir.path(),
        &[
            "ws",
            "login",
            "--json",
            "--hold",
            "--url",
            &url,
            "--user",
            "web",
            "--password-file",
            "password.txt",
        ],
    );
    held.read_until("the login's answer", |line| line.contains("\"type\":\"login\"").then_some(()));
    let _silent =
        std::net::TcpStream::connect(url.trim_start_matches("ws://").trim_end_matches('/')).unwrap();
    let (status, took) = serving.process.stop();
    assert!(status.success(), "{status}: {}", serving.process.log().join("\n"));
    assert!(took < Duration::from_secs(5 + 3), "{took:?}");
    assert!(!serving.socket.exists(), "the socket is left behind");
    held.ended();
}

#[test]
fn config_check_names_the_nearest_key_and_the_range() {
    let dir = folder();
    write_config(dir.path(), "[ws]\nlisten = [\"127.0.0.1:0\"]\nlogin_s_mx = 30\nping_s = 601\n");
    let text = fails(dir.path(), &["config", "check"], 2);
    assert!(text.contains("ws.login_s_max"), "{text}");
    assert!(text.contains("601") && text.contains("1..=600"), "{text}");
    // A node does not start with it, either.
    fails(dir.path(), &["serve", "--config", "doorward.toml"], 2);
}

#[test]
fn e6_challenge_keys_of_1024_bits_need_the_switch() {
    let dir = folder();
    write_config(dir.path(), "[vault]\nchallenge_bits = 1024\n");
    let text = fails(dir.path(), &["serve", "--config", "doorward.toml"], 2);
    assert!(text.contains("vault.legacy_rsa_1024"), "{text}");
    write_config(dir.path(), "[vault]\nchallenge_bits = 1024\nlegacy_rsa_1024 = true\n");
    let serving = Serving::start(dir.path());
    let warned = serving.process.log().iter().any(|line| line.contains("WARN") && line.contains("1024"));
    assert!(warned, "{:#?}", serving.process.log());
}

/// An address of this machine that is not loopback.
fn off_loopback() -> Option<IpAddr> {
    // Nothing is sent: a connected datagram socket only asks the routing table.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().unwrap().ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[test]
fn e7_off_loopback_a_door_without_tls_keeps_the_node_from_starting() {
    let dir = folder();
    // An address of documentation (RFC 5737): the refusal comes before anything is bound.
    for (more, key) in [
        ("[ws]\nlisten = [\"192.0.2.1:7402\"]\n", "ws.tls.certificate"),
        ("[ws]\nlisten = [\"0.0.0.0:0\"]\n", "ws.tls.certificate"),
    ] {
        write_config(dir.path(), more);
        let text = fails(dir.path(), &["serve", "--config", "doorward.toml"], 2);
        assert!(text.contains(key) && text.contains("insecure_off_loopback"), "{text}");
        assert!(!dir.path().join("data").exists(), "something was made");
    }
    let path = write_config(dir.path(), "");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("[metrics]\nlisten = \"127.0.0.1:0\"", "[metrics]\nlisten = \"0.0.0.0:0\""),
    )
    .unwrap();
    let text = fails(dir.path(), &["serve", "--config", "doorward.toml"], 2);
    assert!(
        text.contains("metrics.tls.certificate") && text.contains("metrics.insecure_off_loopback"),
        "{text}"
    );
}

#[test]
fn e7_with_a_certificate_the_door_speaks_tls_and_nothing_else() {
    let dir = folder();
    let ip = off_loopback().unwrap_or(IpAddr::from([127, 0, 0, 1]));
    let names = vec![ip.to_string(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    std::fs::write(dir.path().join("chain.pem"), made.cert.pem()).unwrap();
    let key = dir.path().join("key.pem");
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    write_config(
        dir.path(),
        &format!("[ws]\nlisten = [\"{ip}:0\"]\n[ws.tls]\ncertificate = \"chain.pem\"\nkey = \"key.pem\"\n"),
    );
    let serving = Serving::start(dir.path());
    assert!(serving.url.starts_with("wss://"), "{}", serving.url);
    let password = add_program(dir.path(), "web");
    // Logged in from an address that the program's grant does not hold: encrypted all the way, and refused.
    let (code, answer) = login(dir.path(), &serving.url, "web", &password, &["--ca", "chain.pem"]);
    let granted = ip.is_loopback();
    assert_eq!(code, i32::from(!granted), "{answer}");
    assert!(lets_in(&answer) == granted, "{answer}");
    let (code, answer) = login(dir.path(), &serving.url.replace("wss", "ws"), "web", &password, &[]);
    assert_eq!(code, 3, "plain bytes at a TLS door: {answer}");
    let other = rcgen::generate_simple_self_signed(vec![ip.to_string()]).unwrap();
    std::fs::write(dir.path().join("other.pem"), other.cert.pem()).unwrap();
    let (code, answer) = login(dir.path(), &serving.url, "web", &password, &["--ca", "other.pem"]);
    assert_eq!(code, 3, "a certificate of somebody else: {answer}");
    std::fs::copy(dir.path().join("other.pem"), dir.path().join("chain.pem")).unwrap();
    std::fs::write(&key, other.signing_key.serialize_pem()).unwrap();
    serving.process.signal(rustix::process::Signal::HUP);
    soon("the renewed certificate", || {
        serving.process.log().iter().any(|line| line.contains("taken over") && line.contains("ws.tls"))
    });
    let (code, answer) = login(dir.path(), &serving.url, "web", &password, &["--ca", "other.pem"]);
    assert_eq!(code, i32::from(!granted), "renewed: {answer}");
}

#[test]
fn a_rebuilt_book_equals_the_book() {
    let dir = folder();
    with_history(dir.path());
    let before = dump(dir.path());
    assert!(before.len() > 8, "{before:#?}");
    done(dir.path(), &["book", "rebuild", "--config", "doorward.toml"]);
    assert_eq!(dump(dir.path()), before);
}

#[test]
fn a_deleted_database_is_made_anew_at_the_start() {
    let dir = folder();
    let password = with_history(dir.path());
    let before = dump(dir.path());
    for name in ["book.db", "book.db-wal", "book.db-shm"] {
        let path = dir.path().join("data").join(name);
        if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
    }
    let mut serving = Serving::start(dir.path());
    assert_eq!(login(dir.path(), &serving.url, "web", &password, &[]).0, 0);
    assert!(serving.process.stop().0.success());
    let after = dump(dir.path());
    for row in before.iter().filter(|row| row.starts_with("audit") || row.starts_with("firm")) {
        assert!(after.contains(row), "{row}");
    }
}

#[test]
fn q7_audit_verify_finds_an_edited_byte_and_forgives_a_torn_tail() {
    let dir = folder();
    with_history(dir.path());
    let verify = ["audit", "verify", "--config", "doorward.toml"];
    let intact = done(dir.path(), &verify);
    assert!(intact.contains("intact"), "{intact}");
    let segment = dir.path().join("data/journal/00000000000000000001.seg");
    let whole = std::fs::read(&segment).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for offset in [600, end / 2] {
        flip(&segment, offset);
        let text = fails(dir.path(), &verify, 2);
        assert!(text.contains("TAMPERED"), "{text}");
        std::fs::write(&segment, &whole).unwrap();
    }
    // The last batch half written, as a power cut leaves it; but a head of it was signed, which a power cut never leaves.
    let mut torn = whole;
    torn[end - 20..=end].fill(0);
    std::fs::write(&segment, &torn).unwrap();
    let text = fails(dir.path(), &verify, 2);
    assert!(text.contains("torn tail") && text.contains("anchor"), "{text}");
    for name in ["heads", "heads.pem"] {
        std::fs::remove_file(dir.path().join("data/journal").join(name)).unwrap();
    }
    let text = done(dir.path(), &verify);
    assert!(text.contains("torn tail") && text.contains("anchored: nothing"), "{text}");
    // That batch was acknowledged, and the book knows: a node does not go on as if it had never been.
    let text = fails(dir.path(), &["serve", "--config", "doorward.toml"], 1);
    assert!(text.contains("doorward book rebuild"), "{text}");
}

#[test]
fn audit_and_logs_tell_the_same_attempt() {
    let dir = folder();
    write_config(dir.path(), "");
    let mut serving = Serving::start(dir.path());
    let password = add_program(dir.path(), "web");
    assert_eq!(login(dir.path(), &serving.url, "web", &password, &[]).0, 0);
    let listed = done(dir.path(), &["audit", "list", "--event", "login-granted", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let attempt = listed["items"][0]["attempt"].as_str().unwrap().to_owned();
    serving.process.stop();
    let log = serving.process.log();
    let lines: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["attempt"] == attempt.as_str()), "{attempt}: {log:#?}");
    assert!(!log.iter().any(|line| line.contains(&password)), "q3: a password in a log");
}

#[test]
fn a_vault_that_is_down_refuses_everybody_and_says_so() {
    let dir = folder();
    let demo = Demo::start(dir.path(), &["--fault", "vault-down"]);
    let user = demo.user("plain@north.example");
    let (code, answer) = login(
        dir.path(),
        &demo.text("websocket"),
        "plain@north.example",
        user["password"].as_str().unwrap(),
        &[],
    );
    assert_ne!(code, 0, "{answer}");
    assert!(!lets_in(&answer), "{answer}");
    let (status, body) = page(&demo.text("metrics"), "/readyz");
    assert_eq!(status, 503, "{body}");
    assert_eq!(page(&demo.text("metrics"), "/healthz").0, 200);
}

#[test]
fn q5_a_full_disk_lets_nobody_in_and_is_survived() {
    let dir = folder();
    let mut demo = Demo::start(dir.path(), &["--data", "demo", "--fault", "disk-full"]);
    let password = demo.user("plain@north.example")["password"].as_str().unwrap().to_owned();
    let (code, answer) = login(dir.path(), &demo.text("websocket"), "plain@north.example", &password, &[]);
    assert_ne!(code, 0, "{answer}");
    assert!(!lets_in(&answer), "{answer}");
    soon("/readyz says 503", || page(&demo.text("metrics"), "/readyz").0 == 503);
    assert!(demo.process.stop().0.success());
    // Room again: the same data, the same people.
    let demo = Demo::start(dir.path(), &["--data", "demo"]);
    assert_eq!(login(dir.path(), &demo.text("websocket"), "plain@north.example", &password, &[]).0, 0);
    assert_eq!(page(&demo.text("metrics"), "/readyz").0, 200);
}

#[test]
fn a_demo_keeps_its_people_through_stop_and_kill_until_it_is_to_be_fresh() {
    let dir = folder();
    let mut first = Demo::start(dir.path(), &["--data", "demo"]);
    assert!(first.process.stop().0.success());
    let second = Demo::start(dir.path(), &["--data", "demo"]);
    assert_eq!(second.ready["users"], first.ready["users"]);
    second.process.kill();
    let third = Demo::start(dir.path(), &["--data", "demo"]);
    assert_eq!(third.ready["users"], first.ready["users"]);
    let password = third.user("plain@north.example")["password"].as_str().unwrap().to_owned();
    assert_eq!(login(dir.path(), &third.text("websocket"), "plain@north.example", &password, &[]).0, 0);
    let text = fails(dir.path(), &["demo", "--data", "demo", "--fresh"], 1);
    assert!(text.contains("in use by process"), "a running demo is not emptied: {text}");
    third.process.kill();
    let fresh = Demo::start(dir.path(), &["--data", "demo", "--fresh"]);
    assert_ne!(fresh.ready["users"], first.ready["users"]);
}

#[test]
fn a_demos_clock_starts_where_it_is_told_and_moves_forward() {
    let dir = folder();
    let demo = Demo::start(dir.path(), &["--clock", "2030-01-01T00:00:00Z"]);
    let socket = demo.text("admin_socket");
    let now = done(dir.path(), &["demo-clock", "show", "--socket", &socket]);
    assert!(now.contains("2030-01-01T00:0"), "{now}");
    done(dir.path(), &["demo-clock", "advance", "1d", "--socket", &socket]);
    let now = done(dir.path(), &["demo-clock", "show", "--socket", &socket]);
    assert!(now.contains("2030-01-02T00:0"), "{now}");
    let text = fails(dir.path(), &["demo-clock", "set", "2029-01-01T00:00:00Z", "--socket", &socket], 1);
    assert!(text.contains("forward"), "{text}");
    assert_eq!(page(&demo.text("metrics"), "/readyz").0, 200, "t4: a move by its owner is no suspicion");
}
