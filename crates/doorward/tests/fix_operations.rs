//! A node with FIX sessions in an operator's hands: a disk that fills up, damage, a book made anew, a second instance.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "support/fix_peer.rs"]
mod fix_peer;
#[path = "support/node.rs"]
mod node;

use std::io::Write as _;
use std::path::Path;

use doorward::config::Config;
use doorward::serve::{Node, Options};
use fix_peer::{FixPeer, Seat, get};
use node::{Demo, doorward_at, flip, page, told};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

const SEGMENT: &str = "d/store/streams/00000000000000000001.str";

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dw").tempdir().unwrap()
}

fn started(folder: &Path) -> Demo {
    Demo::start(folder, &["--data", "d"])
}

fn order(id: &str) -> String {
    format!("11={id}|21=1|55=ES|54=1|38=10|40=2|44=100|60=20261121-00:00:00|")
}

/// A configuration for the data that a demo made.
fn write_config(folder: &Path) -> String {
    let text = "data_dir = \"d/store\"\n\
                [node]\nname = \"demo\"\n\
                [ws]\nlisten = [\"127.0.0.1:0\"]\n\
                [[fix.listeners]]\nname = \"cgw\"\nlisten = \"127.0.0.1:0\"\n\
                [metrics]\nlisten = \"127.0.0.1:0\"\n\
                [vault]\nkey_file = \"d/keys/vault.key\"\n\
                [calendar]\nmode = \"always\"\n";
    std::fs::write(folder.join("doorward.toml"), text).unwrap();
    text.to_owned()
}

/// Runs a command over that configuration that must fail; what it said.
fn fails(folder: &Path, args: &[&str]) -> String {
    write_config(folder);
    let mut all = args.to_vec();
    all.extend(["--config", "doorward.toml"]);
    let output = doorward_at(folder, &all);
    assert!(!output.status.success(), "doorward {}: {}", args.join(" "), told(&output));
    told(&output)
}

fn show(folder: &Path, demo: &Demo, what: &[&str]) -> Value {
    let socket = demo.text("admin_socket");
    let mut all = what.to_vec();
    all.extend(["--json", "--socket", &socket]);
    let output = doorward_at(folder, &all);
    assert!(output.status.success(), "doorward {}: {}", what.join(" "), told(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A demo that has traded and was stopped; the client's next number.
fn with_history(folder: &Path) -> (Seat, u64) {
    let mut demo = started(folder);
    let seat = Seat::of(&demo.ready, 0);
    let mut client = FixPeer::logged_on(&demo.ready, &seat, 1);
    for n in 0..20 {
        client.say("D", &order(&format!("o{n}")));
        client.hear_type("8");
    }
    let next = client.log_out();
    show(folder, &demo, &["venue", "send", "--stream", &seat.stream(), "--count", "3"]);
    let other = Seat::of(&demo.ready, 1);
    show(folder, &demo, &["session", "lock", other.session(), "--reason", "a drill"]);
    assert!(demo.process.stop().0.success());
    (seat, next)
}

#[test]
fn f8_a_disk_that_fills_up_under_live_sessions_acknowledges_nothing_and_is_survived() {
    let folder = folder();
    let folder = folder.path();
    let (seat, next) = with_history(folder);
    let config = Config::parse(&write_config(folder), "test", folder, &|_| None).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let node = runtime.block_on(Node::start(&config, Options::default())).unwrap();
    let at = node.fix[0].address;
    let ready = json!({ "fix": { "cgw": { "host": at.ip(), "port": at.port() } } });
    let mut client = FixPeer::logged_on(&ready, &seat, next);
    client.say("D", &order("before"));
    let report = client.hear_type("8");
    node.switches.disk_full();
    client.say("D", &order("behind"));
    // No report: the connection ends without a word of what could not be stored.
    while let Some(message) = client.hear_or_end() {
        assert!(!message.contains("|11=behind|"), "{message}");
    }
    let mut again = FixPeer::connect(&ready, &seat);
    again.next = client.next;
    let logon = again.logon();
    again.stream.write_all(&logon).unwrap();
    if let Some(answer) = again.hear_or_end() {
        assert!(answer.contains("|58=Logon Could not be Authenticated at This Time."), "{answer}");
    }
    let (status, text) = page(&node.metrics.to_string(), "/readyz");
    assert_eq!(status, 503, "{text}");
    runtime.block_on(node.stop());

    // Room again: what was answered is there, the order that was not is asked for again.
    let demo = started(folder);
    let mut client = FixPeer::connect(&demo.ready, &seat);
    // Its number and that of the Logon that was refused were used up on our side.
    client.next = again.next;
    let logon = client.logon();
    client.stream.write_all(&logon).unwrap();
    let answer = client.hear();
    assert!(answer.contains("|35=A|"), "{answer}");
    let asked = client.hear_type("2");
    let missing = again.next - 2;
    assert_eq!(get(&asked, "7"), Some(missing.to_string().as_str()), "{asked}");
    let after = client.next;
    client.next = missing;
    client.say("D", &format!("43=Y|122=20261121-00:00:00.000|{}", order("behind")));
    client.say("4", &format!("43=Y|122=20261121-00:00:00.000|123=Y|36={after}|"));
    client.next = after;
    let late = client.hear_type("8");
    assert!(late.contains("|11=behind|") && late.contains("|150=0|"), "{late}");
    let number = get(&report, "34").unwrap().to_owned();
    client.say("2", &format!("7={number}|16={number}|"));
    let same = client.hear_type("8");
    let body =
        |message: &str| message[message.find("|37=").unwrap()..message.rfind("|10=").unwrap()].to_owned();
    assert_eq!(body(&same), body(&report));
    client.log_out();
}

#[test]
fn a_damaged_stream_log_keeps_the_node_from_starting_and_is_named() {
    let folder = folder();
    let folder = folder.path();
    let (seat, next) = with_history(folder);
    let segment = folder.join(SEGMENT);
    let whole = std::fs::read(&segment).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for offset in [700, end / 2] {
        flip(&segment, offset);
        let text = fails(folder, &["serve"]);
        assert!(text.contains("00000000000000000001.str at offset"), "{text}");
        assert!(text.contains("put the stream log back from a good one"), "{text}");
        let mut damaged = whole.clone();
        damaged[offset] ^= 1;
        assert!(std::fs::read(&segment).unwrap() == damaged, "a damaged log was changed");
        std::fs::write(&segment, &whole).unwrap();
    }
    let demo = started(folder);
    FixPeer::logged_on(&demo.ready, &seat, next).log_out();
}

/// Everything in the book, table by table.
fn dump(folder: &Path) -> Vec<String> {
    let path = folder.join("d/store/book.db");
    let book = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut rows = Vec::new();
    for table in [
        "fix_session",
        "access_key",
        "session_lock",
        "key_use",
        "stream",
        "week",
        "firm",
        "person",
        "audit",
        "mark",
    ] {
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

#[test]
fn a_rebuilt_book_has_the_same_sessions_keys_locks_and_numbers() {
    let folder = folder();
    let folder = folder.path();
    let (seat, next) = with_history(folder);
    let before = dump(folder);
    for table in ["fix_session", "access_key", "session_lock", "key_use", "stream", "week"] {
        assert!(before.iter().any(|row| row.starts_with(table)), "nothing in {table}: no test");
    }
    write_config(folder);
    let rebuilt = doorward_at(folder, &["book", "rebuild", "--config", "doorward.toml"]);
    assert!(rebuilt.status.success(), "{}", told(&rebuilt));
    assert_eq!(dump(folder), before);
    // Deleted, it is made anew at the start.
    for name in ["book.db", "book.db-wal", "book.db-shm"] {
        let path = folder.join("d/store").join(name);
        if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
    }
    let demo = started(folder);
    let streams = show(folder, &demo, &["venue", "streams"]);
    let is_its = |row: &&Value| row["stream"] == seat.stream();
    let row = streams["items"].as_array().unwrap().iter().find(is_its).unwrap().clone();
    assert_eq!((row["next_in"].as_u64(), row["undelivered"].as_u64()), (Some(next), Some(3)), "{row}");
    let locked = show(folder, &demo, &["session", "show", Seat::of(&demo.ready, 1).session()]);
    assert!(locked["locked"].is_string(), "{locked}");
    let mut client = FixPeer::logged_on(&demo.ready, &seat, next);
    client.assert_live();
    client.log_out();
}

#[test]
fn what_a_client_left_behind_at_the_roll_of_the_week_is_told_and_can_be_read_afterwards() {
    let folder = folder();
    let folder = folder.path();
    let mut demo = started(folder);
    let seat = Seat::of(&demo.ready, 0);
    let stream = seat.stream();
    let client = FixPeer::logged_on(&demo.ready, &seat, 1);
    client.log_out();
    let list = ["venue", "list", "--stream", &stream];
    show(folder, &demo, &["venue", "send", "--stream", &stream, "--count", "3", "--text", "kept"]);
    let present = show(folder, &demo, &list);
    assert_eq!(
        (present["items"].as_array().unwrap().len(), &present["next"]),
        (3, &Value::Null),
        "{present}"
    );
    let epoch = present["epoch"].as_str().unwrap().to_owned();
    let page = show(folder, &demo, &[&list[..], &["--limit", "2"]].concat());
    assert_eq!((page["items"].as_array().unwrap().len(), page["next"].is_u64()), (2, true), "{page}");

    show(folder, &demo, &["demo-clock", "advance", "8d"]);
    let mut tries = 0;
    let told_of = loop {
        let listed = show(folder, &demo, &["audit", "list", "--event", "undelivered-left"]);
        if let Some(entry) = listed["items"].as_array().unwrap().first() {
            break entry["detail"].as_str().unwrap().to_owned();
        }
        tries += 1;
        assert!(tries < 100, "nobody is told");
    };
    assert!(told_of.starts_with(&format!("{stream}: 3 messages, ")), "{told_of}");
    assert!(told_of.ends_with(&format!(" of epoch {epoch}")), "{told_of}");
    let row = |row: &&Value| row["stream"] == stream;
    let streams = show(folder, &demo, &["venue", "streams"]);
    let row = streams["items"].as_array().unwrap().iter().find(row).unwrap().clone();
    assert_eq!((row["undelivered"].as_u64(), row["next_out"].as_u64()), (Some(0), Some(1)), "{row}");
    let now = show(folder, &demo, &list);
    assert_eq!((&now["items"], &now["epochs"]), (&json!([]), &json!([epoch])), "{now}");

    for restarted in [false, true] {
        if restarted {
            assert!(demo.process.stop().0.success());
            demo = started(folder);
        }
        let socket = demo.text("admin_socket");
        let of_it = [&list[..], &["--epoch", &epoch, "--socket", &socket]].concat();
        let output = doorward_at(folder, &of_it);
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(output.status.success() && lines.len() == 3, "{text}");
        for (n, line) in (1..).zip(lines) {
            assert!(line.contains(&format!("|148={n} of 3|33=1|58=kept|")), "{line}");
        }
        let wrong = doorward_at(folder, &[&list[..], &["--epoch", "12", "--socket", &socket]].concat());
        assert!(!wrong.status.success() && told(&wrong).contains("no epoch"), "{}", told(&wrong));
    }
}

#[test]
fn a_second_instance_is_refused_and_harms_no_session_of_the_first() {
    let folder = folder();
    let folder = folder.path();
    let demo = started(folder);
    let mut client = FixPeer::logged_on(&demo.ready, &Seat::of(&demo.ready, 0), 1);
    let text = fails(folder, &["serve"]);
    assert!(text.contains(&format!("in use by process {}", demo.process.pid())), "{text}");
    let output = doorward_at(folder, &["demo", "--data", "d"]);
    assert!(!output.status.success() && told(&output).contains("in use by process"), "{}", told(&output));
    client.say("D", &order("o1"));
    assert!(client.hear_type("8").contains("|150=0|"));
    client.log_out();
}
