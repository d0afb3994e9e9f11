//! Backup and restore with real binaries: a drill from a backup under load to a whole working day behind the restore,
//! kills at any moment, and what is in a backup that must not be.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "support/fix_peer.rs"]
mod fix_peer;
#[path = "support/node.rs"]
mod node;
#[path = "support/search.rs"]
mod search;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use doorward::clock::Clock;
use doorward_client::totp::Totp;
use doorward_client::ws::{ConnectOptions, LoginAnswer, WsClient};
use doorward_core::secret::Secret;
use fix_peer::{FixPeer, Seat, get};
use node::{Chance, Demo, Process, Serving, doorward_at, page, soon, told};
use rusqlite::{Connection, OpenFlags};
use search::Secrets;
use serde_json::Value;
use tokio::runtime::Runtime;

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dw").tempdir().unwrap()
}

/// A configuration for the data that a demo made.
fn write_config(folder: &Path, data: &str) {
    let text = format!(
        "data_dir = \"{data}/store\"\n\
         [node]\nname = \"demo\"\n\
         [ws]\nlisten = [\"127.0.0.1:0\"]\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n\
         [vault]\nkey_file = \"d/keys/vault.key\"\n\
         [mail]\nfolder = \"mails\"\nfrom = \"Doorward <no-reply@venue.example>\"\n"
    );
    std::fs::write(folder.join("doorward.toml"), text).unwrap();
}

fn run(folder: &Path, args: &[&str]) -> Output {
    let output = doorward_at(folder, args);
    assert!(output.status.success(), "doorward {}: {}", args.join(" "), told(&output));
    output
}

fn json(folder: &Path, args: &[&str]) -> Value {
    let mut all = args.to_vec();
    all.push("--json");
    serde_json::from_slice(&run(folder, &all).stdout).unwrap()
}

fn fails(folder: &Path, args: &[&str]) -> String {
    let output = doorward_at(folder, args);
    assert!(!output.status.success(), "doorward {}: {}", args.join(" "), told(&output));
    told(&output)
}

/// On a running demo.
fn on(folder: &Path, demo: &Demo, args: &[&str]) -> Value {
    let socket = demo.text("admin_socket");
    let mut all = args.to_vec();
    all.extend(["--socket", &socket]);
    json(folder, &all)
}

/// Everything of a demo but its data, as another machine has it that keeps the key file.
fn copy_but_the_data(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        if name == "store" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy_but_the_data(&entry.path(), &to.join(name));
        } else {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(to, mode).unwrap();
}

/// Somebody of the demo.
struct User {
    userid: String,
    password: Secret<String>,
    totp: Option<Totp>,
}

impl User {
    fn of(demo: &Demo, userid: &str) -> Self {
        let user = demo.user(userid);
        let totp = user["otp_seed"].as_str().map(|seed| Totp::parse(seed).unwrap());
        let password = Secret::new(user["password"].as_str().unwrap().to_owned());
        Self { userid: userid.to_owned(), password, totp }
    }

    /// The code of so many seconds from now.
    fn code(&self, later_s: i64) -> String {
        let now = Clock::system().now().wall;
        let at = doorward_core::time::Wall::from_us(now.as_us() + later_s * 1_000_000);
        self.totp.as_ref().unwrap().code(at)
    }

    async fn login(&self, url: &str, code: Option<&str>) -> Option<LoginAnswer> {
        let mut client = WsClient::connect(url, &ConnectOptions::default()).await.ok()?;
        Some(client.login(&self.userid, &self.password, code).await.ok()?.answer)
    }
}

fn is_in(answer: Option<&LoginAnswer>) -> bool {
    matches!(answer, Some(LoginAnswer::In { .. }))
}

/// Waits until the present time step has some seconds left, so that a code is that of the step it was made in.
fn early_in_a_step(user: &User) {
    let totp = user.totp.as_ref().unwrap();
    soon("a young time step", || totp.good_for(Clock::system().now().wall) > Duration::from_secs(15));
}

fn order(id: &str) -> String {
    format!("11={id}|21=1|55=ES|54=1|38=10|40=2|44=100|60=20261121-00:00:00|")
}

/// Logins of somebody without a code, as many as there can be, until it is told to stop.
fn load(runtime: &Runtime, url: &str, user: User) -> (Arc<AtomicBool>, Arc<AtomicU64>) {
    let (stop, logins) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (stopped, counted, url) = (Arc::clone(&stop), Arc::clone(&logins), url.to_owned());
    runtime.spawn(async move {
        while !stopped.load(Ordering::Relaxed) {
            match user.login(&url, None).await {
                Some(answer) => {
                    assert!(is_in(Some(&answer)), "{answer:?}");
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                None => return, // killed
            }
        }
    });
    (stop, logins)
}

#[test]
fn v7_v8_a_whole_working_day_goes_on_after_a_restore_and_nothing_used_lives_again() {
    let folder = folder();
    let folder = folder.path();
    write_config(folder, "d");
    let runtime = Runtime::new().unwrap();
    let demo = Demo::start(folder, &["--data", "d"]);
    let url = demo.text("websocket");
    let trader = User::of(&demo, "trader@north.example");
    let seat = Seat::of(&demo.ready, 0);

    // A day's work before, and a backup in the middle of it.
    early_in_a_step(&trader);
    let (before, behind) = (trader.code(-30), trader.code(0));
    assert!(is_in(runtime.block_on(trader.login(&url, Some(&before))).as_ref()));
    let mut client = FixPeer::logged_on(&demo.ready, &seat, 1);
    for n in 0..5 {
        client.say("D", &order(&format!("a{n}")));
        client.hear_type("8");
    }
    let admin = User::of(&demo, "admin@north.example");
    let args =
        ["key", "create", "--session", seat.session(), "--as", &admin.userid, "--code", &admin.code(0)];
    let key = on(folder, &demo, &args);
    let (_stop, logins) = load(&runtime, &url, User::of(&demo, "plain@north.example"));
    soon("some load", || logins.load(Ordering::Relaxed) > 3);
    let done = run(folder, &["backup", "b.dwb"]);
    let (under_load, text) = (logins.load(Ordering::Relaxed), told(&done));
    assert!(text.contains("100 %") && text.contains("node:    demo"), "{text}");
    let header = json(folder, &["backup", "--inspect", "b.dwb"]);
    // The node goes on.
    soon("load behind the backup", || logins.load(Ordering::Relaxed) > under_load);
    assert!(
        is_in(runtime.block_on(trader.login(&url, Some(&behind))).as_ref()),
        "a code used after the backup"
    );
    let mut last = String::new();
    for n in 0..7 {
        client.say("D", &order(&format!("b{n}")));
        last = client.hear_type("8");
    }
    let sent: u64 = get(&last, "34").unwrap().parse().unwrap();
    on(folder, &demo, &["user", "disable", "plain@south.example"]);
    let export = run(folder, &["audit", "export"]).stdout;
    std::fs::write(folder.join("export.jsonl"), export).unwrap();
    let next = client.next;
    demo.process.kill();
    // What a kill left is backed up as well, with all that was acknowledged.
    run(folder, &["backup", "killed.dwb", "--quiet"]);
    run(folder, &["restore", "killed.dwb", "--into", "after-the-kill", "--quiet", "--since", "export.jsonl"]);

    // Another machine, with the key file.
    copy_but_the_data(&folder.join("d"), &folder.join("e"));
    let args = ["restore", "b.dwb", "--into", "e/store", "--since", "export.jsonl"];
    let restored = json(folder, &args);
    assert_eq!(restored["head"], header["head"]);
    assert_eq!(restored["since"]["same_journal"], true);
    assert_eq!(restored["key_file"], "d/keys/vault.key");
    let events: Vec<&str> = restored["since"]["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    assert!(events.contains(&"person-disabled") && events.contains(&"login-granted"), "{events:?}");
    let unsure = restored["unsure"].as_array().unwrap();
    assert!(unsure.iter().any(|pair| pair["access_key"] == key["access_key_id"]), "{restored}");
    assert!(restored["mails"].as_u64().unwrap() > 0, "the firm's administrators: {restored}");
    let verified = told(&run(folder, &["audit", "verify", "--journal", "e/store/journal"]));
    assert!(verified.contains("journal: intact"), "{verified}");

    let demo = Demo::start(folder, &["--data", "e"]);
    let url = demo.text("websocket");
    let (status, ready) = page(&demo.text("metrics"), "/readyz");
    assert!(status == 200 && ready.contains("the data reach to 20"), "{ready}");
    for code in [&before, &behind] {
        let answer = runtime.block_on(trader.login(&url, Some(code)));
        assert_eq!(answer, Some(LoginAnswer::InvalidToken), "a used code");
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let book = Connection::open_with_flags(folder.join("e/store/book.db"), flags).unwrap();
    let live =
        "SELECT count(*), coalesce(sum(link_state = 'live'), 0) FROM person WHERE link_hash IS NOT NULL";
    let links = book.query_row(live, [], |row| Ok((row.get(0)?, row.get(1)?)));
    assert!(matches!(links.unwrap(), (1.., 0)), "setup links are void");
    soon("the mail of the unsure key pair", || {
        mails(&folder.join("e")).iter().any(|mail| {
            mail.contains("key pairs are unsure")
                && mail.replace("=\r\n", "").contains(key["access_key_id"].as_str().unwrap())
        })
    });

    // The day goes on: a new code, FIX, a reset with a registration.
    on(folder, &demo, &["demo-clock", "advance", "2m"]);
    assert!(is_in(runtime.block_on(trader.login(&url, Some(&trader.code(120)))).as_ref()));
    let mut client = FixPeer::connect(&demo.ready, &seat);
    (client.next, client.ahead) = (next, Duration::from_secs(120));
    let logon = client.logon();
    std::io::Write::write_all(&mut client.stream, &logon).unwrap();
    let answer = client.hear();
    let number: u64 = get(&answer, "34").unwrap().parse().unwrap();
    assert!(answer.contains("|35=A|") && number > sent, "{answer}: a number behind {sent}");
    let asked = client.hear_type("2");
    let from: u64 = get(&asked, "7").unwrap().parse().unwrap();
    assert!(from < next, "what it has lost of ours: {asked}");
    let to = std::mem::replace(&mut client.next, from);
    client.say("4", &format!("43=Y|122=20261121-00:00:00.000|123=Y|36={to}|"));
    client.next = to;
    client.assert_live();
    client.say("D", &order("c0"));
    assert!(client.hear_type("8").contains("|11=c0|"));
    client.log_out();
    let made = on(folder, &demo, &["user", "otp", "newcomer@north.example"]);
    let newcomer = User {
        totp: Some(Totp::parse(made["seed"].as_str().unwrap()).unwrap()),
        ..User::of(&demo, "newcomer@north.example")
    };
    assert!(is_in(runtime.block_on(newcomer.login(&url, Some(&newcomer.code(120)))).as_ref()));
    run(folder, &["audit", "verify", "--journal", "e/store/journal"]);
    let listed = on(folder, &demo, &["audit", "list", "--event", "restored"]);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
}

fn mails(data: &Path) -> Vec<String> {
    let folder = std::fs::read_dir(data.join("mailbox")).into_iter().flatten().map(Result::unwrap);
    folder.map(|mail| String::from_utf8_lossy(&std::fs::read(mail.path()).unwrap()).into_owned()).collect()
}

/// A demo's folder with a backup in it; the demo is stopped.
fn backed_up(folder: &Path) -> Value {
    write_config(folder, "d");
    let mut demo = Demo::start(folder, &["--data", "d"]);
    run(folder, &["backup", "b.dwb"]);
    assert!(demo.process.stop().0.success());
    demo.ready
}

#[test]
fn v9_a_node_with_data_starts_with_its_own_keys_alone() {
    let folder = folder();
    let folder = folder.path();
    backed_up(folder);
    let config = std::fs::read_to_string(folder.join("doorward.toml")).unwrap();
    let text = told(&run(folder, &["restore", "b.dwb", "--into", "again/store", "--quiet"]));
    assert!(
        text.contains("set data_dir = \"again/store\" and vault.key_file = \"d/keys/vault.key\""),
        "{text}"
    );
    let before = std::fs::read(folder.join("again/store/journal/heads")).unwrap();

    // The new data_dir alone: the key file is looked for beside it.
    let moved = config.replace("\"d/store\"", "\"again/store\"");
    let follows = moved.replace("key_file = \"d/keys/vault.key\"", "");
    std::fs::write(folder.join("doorward.toml"), &follows).unwrap();
    let text = fails(folder, &["serve"]);
    assert!(text.contains("again/store.keys/vault.key is not there, but again/store holds"), "{text}");
    assert!(!folder.join("again/store.keys").exists(), "no keys were made");

    run(folder, &["init", "--config", "other.toml", "--data-dir", "other"]);
    std::fs::write(folder.join("doorward.toml"), moved.replace("d/keys/", "other.keys/")).unwrap();
    let text = fails(folder, &["serve"]);
    assert!(text.contains("no key of this vault has signed the last head"), "{text}");
    assert_eq!(
        std::fs::read(folder.join("again/store/journal/heads")).unwrap(),
        before,
        "nothing was written"
    );

    std::fs::write(folder.join("doorward.toml"), format!("{moved}[log]\nformat = \"json\"\n")).unwrap();
    run(folder, &["audit", "verify"]);
    let serving = Serving::start(folder);
    let socket = serving.socket.to_str().unwrap();
    let listed = json(folder, &["audit", "list", "--event", "restored", "--socket", socket]);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
}

#[test]
fn v6_v9_no_secret_lies_in_a_backup_and_without_its_key_nothing_is_read() {
    let folder = folder();
    let folder = folder.path();
    let ready = backed_up(folder);
    // Without the node, too.
    run(folder, &["backup", "stopped.dwb"]);
    let mut secrets = Secrets::default();
    for user in ready["users"].as_array().unwrap() {
        for field in ["password", "otp_seed"] {
            user[field].as_str().into_iter().for_each(|secret| secrets.add(secret));
        }
    }
    for session in ready["fix_sessions"].as_array().unwrap() {
        secrets.add(session["secret_key"].as_str().unwrap());
    }
    let unlock = std::fs::read_to_string(folder.join("d/keys/vault.key.unlock")).unwrap();
    secrets.add(unlock.trim());
    let key_file: Value =
        serde_json::from_slice(&std::fs::read(folder.join("d/keys/vault.key")).unwrap()).unwrap();
    secrets.add(&key_file["body"]["sealed"].as_str().unwrap()[..64]);
    // Also once it is opened: what is restored is as sealed as it was.
    run(folder, &["restore", "b.dwb", "--into", "out", "--quiet"]);
    for path in ["b.dwb", "stopped.dwb", "out", "d/store"].map(|path| folder.join(path)) {
        for file in files(&path) {
            assert_eq!(secrets.found(&std::fs::read(&file).unwrap()), None, "{}", file.display());
        }
    }
    let clear = Secrets::of(["trader@north.example", "SQLite format", "login-granted"]);
    assert_eq!(clear.found(&std::fs::read(folder.join("b.dwb")).unwrap()), None);
    assert!(clear.found(&std::fs::read(folder.join("out/book.db")).unwrap()).is_some(), "the search finds");

    // No key file, one that is another node's, and a backup that was changed.
    std::fs::rename(folder.join("d/keys"), folder.join("d/away")).unwrap();
    assert!(fails(folder, &["restore", "b.dwb", "--into", "new"]).contains("vault.key"));
    run(folder, &["init", "--config", "other.toml", "--data-dir", "other"]);
    let text = fails(folder, &["restore", "b.dwb", "--into", "new", "--config", "other.toml"]);
    assert!(text.contains("sealed by another key"), "{text}");
    std::fs::rename(folder.join("d/away"), folder.join("d/keys")).unwrap();
    node::flip(&folder.join("b.dwb"), 20_000);
    let text = fails(folder, &["restore", "b.dwb", "--into", "new"]);
    assert!(text.contains("b.dwb: at byte ") && text.contains("not as it was written"), "{text}");
    assert!(fails(folder, &["restore", "b.dwb", "--check"]).contains("at byte"));
    assert!(fails(folder, &["restore", "stopped.dwb", "--into", "out"]).contains("is not empty"));
    assert!(!folder.join("new").exists() && !folder.join("new.partial").exists());
    // The configuration was lost, the key file is there.
    run(folder, &["restore", "stopped.dwb", "--into", "new", "--key-file", "d/keys/vault.key"]);
    assert!(std::fs::read_to_string(folder.join("new/doorward.toml")).unwrap().contains("data_dir"));
}

/// What a core file of a process would hold: all that it may write to, without pages of zeros.
fn memory(pid: u32) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    const PAGE: usize = 4096;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let file = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw")))
    {
        let (from, to) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let mut page = [0; PAGE];
        for at in (from..to).step_by(PAGE) {
            // Some regions are the kernel's, and are not read.
            if file.read_exact_at(&mut page, at).is_ok() && page != [0; PAGE] {
                all.extend_from_slice(&page);
            }
        }
    }
    all
}

#[test]
fn v6_no_password_seed_or_secret_key_stays_in_the_memory_of_a_node_that_uses_them() {
    let folder = folder();
    let folder = folder.path();
    let ready = backed_up(folder);
    std::fs::remove_file(folder.join("d/store/admin.sock")).ok();
    let more = "[[fix.listeners]]\nname = \"cgw\"\nlisten = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n";
    let text = std::fs::read_to_string(folder.join("doorward.toml")).unwrap();
    std::fs::write(folder.join("doorward.toml"), text + more).unwrap();
    let serving = Serving::start(folder);
    let runtime = Runtime::new().unwrap();
    let mut secrets = Secrets::default();
    for row in ready["users"].as_array().unwrap() {
        let user = User {
            userid: row["userid"].as_str().unwrap().to_owned(),
            password: Secret::new(row["password"].as_str().unwrap().to_owned()),
            totp: None,
        };
        // The password is opened and hashed and, with a code, the seed opened.
        let code = row["otp_seed"].as_str().map(|_| "000000");
        runtime.block_on(user.login(&serving.url, code)).unwrap();
        secrets.add(user.password.expose());
        row["otp_seed"].as_str().into_iter().for_each(|seed| secrets.add(seed));
    }
    for session in ready["fix_sessions"].as_array().unwrap() {
        secrets.add(session["secret_key"].as_str().unwrap());
    }
    let memory = memory(serving.process.pid());
    let known = Secrets::of(["trader@north.example"]);
    assert!(known.found(&memory).is_some(), "the search finds what is there, in {} bytes", memory.len());
    assert_eq!(secrets.found(&memory), None);
}

fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    std::fs::read_dir(path).unwrap().flat_map(|entry| files(&entry.unwrap().path())).collect()
}

#[test]
fn a_kill_at_any_moment_leaves_no_half_backup_and_no_half_restore() {
    let folder = folder();
    let folder = folder.path();
    backed_up(folder);
    let seed = std::env::var("DOORWARD_SIGKILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| Clock::system().now().wall.as_us().unsigned_abs());
    println!("DOORWARD_SIGKILL_SEED={seed}");
    let mut chance = Chance::new(seed);
    let (mut whole, mut none) = (0, 0);
    for kill in 0..24 {
        let is_backup = kill % 2 == 0;
        let place = if is_backup { "k.dwb" } else { "k" };
        let args: &[&str] = match is_backup {
            true => &["backup", "k.dwb", "--quiet"],
            false => &["restore", "b.dwb", "--into", "k", "--quiet"],
        };
        Process::spawn(folder, args).kill_after(Duration::from_millis(chance.between(1, 400)));
        let path = folder.join(place);
        if !path.exists() {
            none += 1;
            continue;
        }
        whole += 1;
        if is_backup {
            run(folder, &["restore", "k.dwb", "--check", "--quiet"]);
            std::fs::remove_file(&path).unwrap();
        } else {
            run(folder, &["audit", "verify", "--journal", "k/journal"]);
            let events = run(folder, &["audit", "export", "--journal", "k/journal"]).stdout;
            assert!(String::from_utf8(events).unwrap().contains("\"restored\""), "the last record is there");
            std::fs::remove_dir_all(&path).unwrap();
        }
    }
    println!("{whole} whole, {none} not there");
    // What the kills left is in nobody's way.
    run(folder, &["backup", "last.dwb", "--quiet"]);
    run(folder, &["restore", "b.dwb", "--into", "k", "--quiet"]);
    assert!(
        !folder.join("k.partial").exists() && files(&folder.join("d/store/.backup-work")).len() == 1,
        "only its lock"
    );
}

#[test]
fn v5_the_passphrase_of_the_vault_is_in_no_log_argument_environment_nor_backup() {
    let folder = folder();
    let folder = folder.path();
    let passphrase = "nine-copper-herons-over-the-quarry";
    node::write_config(folder, "[vault]\npassphrase_file = \"passphrase\"\n");
    std::fs::write(folder.join("passphrase"), format!("{passphrase}\n")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.join("passphrase"), mode).unwrap();
    let mut serving = Serving::start(folder);
    run(folder, &["backup", "b.dwb"]);
    let canary = Secrets::of([passphrase]);
    let of_process = |name: &str| std::fs::read(format!("/proc/{}/{name}", serving.process.pid())).unwrap();
    let shown = run(folder, &["config", "show"]).stdout;
    let places = [
        ("arguments", of_process("cmdline")),
        ("environment", of_process("environ")),
        ("log", serving.process.log().join("\n").into_bytes()),
        ("configuration shown", shown.clone()),
        ("what audit key prints", run(folder, &["audit", "key"]).stdout),
    ];
    for (name, bytes) in places {
        assert_eq!(canary.found(&bytes), None, "{name}");
    }
    assert!(String::from_utf8(shown).unwrap().contains("***"));
    assert!(serving.process.stop().0.success());
    for place in ["data", "b.dwb", "data.keys"].map(|place| folder.join(place)) {
        for file in files(&place) {
            assert_eq!(canary.found(&std::fs::read(&file).unwrap()), None, "{}", file.display());
        }
    }
    // With another passphrase nothing of it is read.
    std::fs::write(folder.join("passphrase"), "another one, as long\n").unwrap();
    assert!(fails(folder, &["restore", "b.dwb", "--into", "new"]).contains("wrong passphrase"));
    std::fs::write(folder.join("passphrase"), passphrase).unwrap();
    let args = ["restore", "b.dwb", "--into", "new", "--key-file", "data.keys/vault.key"];
    let with_passphrase = [&args[..], &["--passphrase-file", "passphrase"]].concat();
    assert!(fails(folder, &args).contains("is opened by a passphrase"));
    run(folder, &with_passphrase);
}

#[test]
fn v7_what_does_not_verify_is_told_by_every_command_and_comes_back_when_asked_for() {
    let folder = folder();
    let folder = folder.path();
    backed_up(folder);
    node::flip(&folder.join("d/store/journal/heads"), 3);
    let leaves_with_1 = |args: &[&str]| {
        let output = doorward_at(folder, args);
        assert_eq!(output.status.code(), Some(1), "doorward {}: {}", args.join(" "), told(&output));
        told(&output)
    };
    let text = leaves_with_1(&["backup", "bad.dwb"]);
    assert!(text.contains("heads at offset 0") && text.contains("--damaged"), "{text}");
    assert!(!folder.join("bad.dwb").exists());
    assert!(told(&run(folder, &["backup", "bad.dwb", "--damaged"])).contains("DAMAGED: "));
    assert!(json(folder, &["backup", "--inspect", "bad.dwb"])["damaged"].is_string());
    assert!(leaves_with_1(&["restore", "bad.dwb", "--check"]).contains("bad.dwb: DAMAGED"));
    assert!(leaves_with_1(&["restore", "bad.dwb", "--into", "new"]).contains("--damaged"));
    let restored = told(&run(folder, &["restore", "bad.dwb", "--into", "new", "--damaged"]));
    assert!(restored.contains("new: restored, DAMAGED") && restored.contains("restored at 20"), "{restored}");
    run(folder, &["restore", "b.dwb", "--check"]);
}

#[test]
fn v7_a_book_that_does_not_read_is_told_by_every_command_and_made_anew_by_a_restore() {
    let folder = folder();
    let folder = folder.path();
    backed_up(folder);
    let text = fails(folder, &["backup", "d/store/n.dwb"]);
    assert!(text.contains("lies in the data directory") && !folder.join("d/store/n.dwb").exists(), "{text}");
    let book = Connection::open(folder.join("d/store/book.db")).unwrap();
    book.execute_batch(
        "UPDATE person SET doc = 'x' || substr(doc, 2) WHERE id = (SELECT max(id) FROM person)",
    )
    .unwrap();
    drop(book);
    let text = fails(folder, &["backup", "bad.dwb"]);
    assert!(text.contains("table person, row ") && text.contains("doorward book rebuild"), "{text}");
    assert!(!folder.join("bad.dwb").exists());
    assert!(told(&run(folder, &["backup", "bad.dwb", "--damaged"])).contains("the book is DAMAGED: "));
    assert!(json(folder, &["backup", "--inspect", "bad.dwb"])["book_damaged"].is_string());
    assert!(fails(folder, &["restore", "bad.dwb", "--check"]).contains("table person, row "));
    let restored = told(&run(folder, &["restore", "bad.dwb", "--into", "new"]));
    assert!(restored.contains("new: restored and verified"), "{restored}");
    assert!(restored.contains("it was made anew from the journal"), "{restored}");
}
