//! Runs the real binary and talks to it over real sockets. The only place of the tests that waits by looking again.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

pub(crate) mod acting;
pub(crate) mod fix;
pub(crate) mod peer;
pub(crate) mod search;
pub(crate) mod web;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use doorward_client::api::AdminClient;
use doorward_client::totp::Totp;
use doorward_core::time::Wall;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

pub(crate) use peer::Peer;

/// The binary under test.
pub(crate) const DOORWARD: &str = env!("CARGO_BIN_EXE_doorward");

/// Longest that anything here is waited for.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);

/// Runs a program until it is told to end by the end of its input, so that it goes with the test process however that
/// ends; then takes its directory away.
const KEEPER: &str = r#"
dir=$1; shift
"$@" >"$dir/stdout" 2>"$dir/stderr" &
child=$!
echo $child
read -r _
kill -TERM $child 2>/dev/null
( sleep 15; kill -KILL $child 2>/dev/null ) & killer=$!
wait $child
kill $killer 2>/dev/null
rm -rf "$dir"
"#;

/// A server of its own: data, ports and process.
pub(crate) struct Server {
    /// Where the WebSocket door listens.
    pub(crate) door: SocketAddr,
    /// The process.
    pub(crate) pid: i32,
    /// Everything that it writes is below.
    pub(crate) dir: PathBuf,
    admin: PathBuf,
    metrics: SocketAddr,
    /// The demo's ready file.
    pub(crate) ready: Value,
    seats: AtomicUsize,
    streams: AtomicUsize,
    keeper: Child,
}

/// Somebody who can log in.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) userid: String,
    pub(crate) password: String,
    pub(crate) seed: Option<String>,
}

impl User {
    /// The one-time password of now.
    pub(crate) fn code(&self) -> String {
        self.code_at(Wall::from_us(now_us()))
    }

    /// The one-time password of so many steps from now.
    pub(crate) fn code_in(&self, steps: i64) -> String {
        self.code_at(Wall::from_us(now_us() + steps * 30_000_000))
    }

    fn code_at(&self, at: Wall) -> String {
        Totp::parse(self.seed.as_ref().unwrap()).unwrap().code(at)
    }

    /// Six digits that are nobody's code for minutes around now.
    pub(crate) fn wrong_code(&self) -> String {
        let near: Vec<String> = (-6..=6).map(|steps| self.code_in(steps)).collect();
        (0..100).map(|n| format!("{n:06}")).find(|code| !near.contains(code)).unwrap()
    }
}

fn now_us() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap()
}

/// A loopback address that no other test connects from: what is counted by source is then this test's own.
pub(crate) fn source() -> IpAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed) + 2;
    IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 0)) + n))
}

/// Looks again and again until there is something, or fails after [`WAIT_MAX`].
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < WAIT_MAX, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Sends a byte now and again, slower than anybody types, until the other side ends it; how long that took.
pub(crate) async fn drip(stream: &mut TcpStream, bytes: &[u8]) -> Duration {
    let begun = Instant::now();
    let mut bytes = bytes.iter().cycle();
    let mut heard = [0; 256];
    while begun.elapsed() < WAIT_MAX {
        let pause = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut heard));
        match pause.await {
            Ok(Ok(0) | Err(_)) => return begun.elapsed(),
            Ok(Ok(_)) => {}
            Err(_) => {
                if stream.write_all(&[*bytes.next().unwrap()]).await.is_err() {
                    return begun.elapsed();
                }
            }
        }
    }
    panic!("a slow peer is borne with");
}

async fn wait_for<T>(what: &str, dir: &Path, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < WAIT_MAX, "waited in vain for {what}; the server said: {}", logged(dir));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A directory that the keeper takes away; short, since a socket's path must fit.
fn directory() -> PathBuf {
    TempDir::with_prefix("dw").unwrap().keep()
}

fn keep(dir: &Path, args: &[&str]) -> (Child, i32) {
    let mut keeper = Command::new("sh")
        .args(["-c", KEEPER, "sh"])
        .arg(dir)
        .arg(DOORWARD)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (keeper, line.trim().parse().unwrap())
}

/// A demo that the tests of a file share; it goes with the process.
pub(crate) async fn shared_demo() -> &'static Server {
    static DEMO: tokio::sync::OnceCell<Server> = tokio::sync::OnceCell::const_new();
    DEMO.get_or_init(|| Server::demo(&[])).await
}

impl Server {
    /// A demo.
    pub(crate) async fn demo(args: &[&str]) -> Self {
        let dir = directory();
        let (ready, data) = (dir.join("ready.json"), dir.join("d"));
        let mut all = vec!["demo", "--data", data.to_str().unwrap(), "--ready-file", ready.to_str().unwrap()];
        all.extend(args);
        let (keeper, pid) = keep(&dir, &all);
        let json: Value =
            wait_for("the ready file", &dir, || serde_json::from_slice(&std::fs::read(&ready).ok()?).ok())
                .await;
        let address = |name: &str, scheme: &str| {
            let url = json[name].as_str().unwrap().strip_prefix(scheme).unwrap().trim_end_matches('/');
            url.parse().unwrap()
        };
        Self {
            door: address("websocket", "ws://"),
            pid,
            dir,
            admin: PathBuf::from(json["admin_socket"].as_str().unwrap()),
            metrics: address("metrics", "http://"),
            ready: json,
            seats: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            keeper,
        }
    }

    /// A node with these lines of configuration, on free ports of loopback; it has one firm, `NORTH`.
    pub(crate) async fn serve(more: &str) -> Self {
        let dir = directory();
        let config = dir.join("doorward.toml");
        let text = format!(
            "data_dir = \"s\"\nws.listen = [\"127.0.0.1:0\"]\nmetrics.listen = \"127.0.0.1:0\"\n\
             vault.key_file = \"k/vault.key\"\n{more}\n"
        );
        std::fs::create_dir(dir.join("k")).unwrap();
        std::fs::write(&config, text).unwrap();
        let (keeper, pid) = keep(&dir, &["serve", "--config", config.to_str().unwrap()]);
        let address = |log: &str, name: &str| log.split_once(name)?.1.split_whitespace().next()?.parse().ok();
        let (door, metrics) = wait_for("open doors", &dir, || {
            let log = logged(&dir);
            Some((address(&log, "address=")?, address(&log, "metrics=")?))
        })
        .await;
        let admin = dir.join("s/admin.sock");
        let (seats, streams) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let server = Self { door, pid, dir, admin, metrics, ready: Value::Null, seats, streams, keeper };
        let firm = json!({"code": "NORTH", "name": "Northwind Futures"});
        server.api().post("/api/v1/firms", &firm).await.unwrap();
        server
    }

    /// The data of a demo that was told to stop, served again with these lines of configuration and the same listeners.
    pub(crate) async fn serve_again(demo: &Self, more: &str) -> Self {
        let (dir, data) = (directory(), demo.dir.join("d"));
        let mut text = String::from(
            "data_dir = \"store\"\nmetrics.listen = \"127.0.0.1:0\"\nvault.key_file = \"keys/vault.key\"\n\
             node.name = \"demo\"\nws.listen = [\"127.0.0.1:0\"]\ncalendar.mode = \"always\"\n",
        );
        text.push_str(more);
        for (name, kind) in [
            ("cgw", "kind = \"cgw\""),
            ("msgw", "kind = \"msgw\"\nsegment = \"92\""),
            ("trader", "profile = \"trader-otp\""),
        ] {
            let listen = "listen = \"127.0.0.1:0\"";
            text.push_str(&format!("\n[[fix.listeners]]\nname = \"{name}\"\n{listen}\n{kind}\n"));
        }
        let config = data.join("serve.toml");
        std::fs::write(&config, text).unwrap();
        wait_for("the demo's end", &demo.dir, || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", demo.pid)).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        })
        .await;
        let (keeper, pid) = keep(&dir, &["serve", "--config", config.to_str().unwrap()]);
        let address = |log: &str, name: &str| log.split_once(name)?.1.split_whitespace().next()?.parse().ok();
        let mut ready = demo.ready.clone();
        let (door, metrics) = wait_for("open doors", &dir, || {
            let log = logged(&dir);
            let fix = log.split(" fix=").skip(1).zip(["cgw", "msgw", "trader"]);
            for (line, name) in fix {
                let at: SocketAddr = line.split_whitespace().next()?.parse().ok()?;
                ready["fix"][name]["port"] = at.port().into();
            }
            Some((address(&log, " address=")?, address(&log, " metrics=")?))
        })
        .await;
        let (seats, streams) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { door, pid, dir, admin: data.join("store/admin.sock"), metrics, ready, seats, streams, keeper }
    }

    /// A sample person of the demo.
    pub(crate) fn sample(&self, userid: &str) -> User {
        let user =
            self.ready["users"].as_array().unwrap().iter().find(|user| user["userid"] == userid).unwrap();
        let text = |name: &str| user[name].as_str().map(str::to_owned);
        User { userid: userid.to_owned(), password: text("password").unwrap(), seed: text("otp_seed") }
    }

    /// A new trader of firm `NORTH` with a password alone, changed already.
    pub(crate) async fn trader(&self) -> User {
        let user = self.person(json!({"auth_system": "password"})).await;
        self.settled(user).await
    }

    /// A new trader of firm `NORTH` with a registered authenticator, whose present code is not used yet.
    pub(crate) async fn registered(&self) -> User {
        let user = self.pending().await;
        self.settled(user).await
    }

    /// A new trader of firm `NORTH` with an initial password and a seed that waits for its first good code.
    pub(crate) async fn pending(&self) -> User {
        let user = self.person(json!({"auth_system": "otp"})).await;
        self.new_seed(&user).await
    }

    /// A new trader of firm `NORTH` with an initial password.
    pub(crate) async fn person(&self, mut fields: Value) -> User {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let userid = format!("t{}@north.example", NEXT.fetch_add(1, Ordering::Relaxed));
        for (name, value) in [("userid", userid.as_str()), ("kind", "trader"), ("firm", "NORTH")] {
            fields[name] = Value::from(value);
        }
        let added = self.api().post("/api/v1/people", &fields).await.unwrap();
        User { userid, password: added["password"].as_str().unwrap().to_owned(), seed: None }
    }

    /// Does what everybody does first: proves the code, changes the initial password.
    async fn settled(&self, user: User) -> User {
        let mut peer = self.connect(source()).await;
        peer.challenge().await;
        let mut answer = peer.login(&user.userid, &user.password, None).await;
        // The step may end between making the code and its arrival: then the code before is too old.
        for _ in 0..2 {
            if user.seed.is_some() && answer["2fa"] == "required" {
                answer = peer.code(&user.code_in(-1)).await;
            }
        }
        assert_eq!(answer["password"], "change required", "{answer}");
        let password = format!("changed {}", user.password);
        let answer = peer.change_password(&user.password, &password).await;
        assert_eq!(answer["result"], "OK", "{answer}");
        User { password, ..user }
    }

    /// What the server knows of somebody.
    pub(crate) async fn known(&self, user: &User) -> Value {
        self.api().get(&path(user)).await.unwrap()
    }

    /// Changes somebody, such as `{"standing": "disabled"}`.
    pub(crate) async fn edit(&self, user: &User, changes: Value) -> Value {
        self.api().patch(&path(user), &changes).await.unwrap()
    }

    /// The administration socket.
    pub(crate) fn api(&self) -> AdminClient {
        AdminClient::new(&self.admin)
    }

    /// Audit records that a query finds, newest first: `userid=…`, `event=…`, joined by `&`.
    pub(crate) async fn audit(&self, query: &str) -> Vec<Value> {
        let page = self.api().get(&format!("/api/v1/audit?limit=500&{query}")).await.unwrap();
        page["items"].as_array().unwrap().clone()
    }

    /// Audit records of what came from an address, newest first.
    pub(crate) async fn audit_from(&self, source: IpAddr) -> Vec<Value> {
        let all = self.audit("").await;
        all.into_iter().filter(|entry| entry["source"] == source.to_string()).collect()
    }

    /// Reasons of the closed connections from an address, newest first; waits until there are so many.
    pub(crate) async fn closed_for(&self, source: IpAddr, count: usize) -> Vec<String> {
        until("the records of closed connections", async || {
            let entries = self.audit_from(source).await;
            let closed = entries.iter().filter(|entry| entry["event"] == "connection-refused");
            let reasons: Vec<String> =
                closed.map(|entry| entry["reason"].as_str().unwrap().to_owned()).collect();
            (reasons.len() >= count).then_some(reasons)
        })
        .await
    }

    /// The exposition of all measurements.
    pub(crate) async fn measurements(&self) -> String {
        let mut stream = TcpStream::connect(self.metrics).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.metrics);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body.to_owned()
    }

    /// The sum of the samples whose line begins so.
    pub(crate) async fn measured(&self, begins: &str) -> f64 {
        let text = self.measurements().await;
        let lines = text.lines().filter(|line| line.starts_with(begins));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    /// Passwords compared so far, with somebody's hash or with nobody's.
    pub(crate) async fn hashes(&self) -> u64 {
        self.measured("doorward_hash_seconds_count").await as u64
    }

    /// Moves the demo's clock forward.
    pub(crate) async fn advance(&self, seconds: u64) {
        self.api().post("/api/v1/demo/clock", &json!({"advance_s": seconds})).await.unwrap();
    }

    /// Sets the demo's clock, not back.
    pub(crate) async fn clock(&self, to: &str) {
        self.api().post("/api/v1/demo/clock", &json!({"set": to})).await.unwrap();
    }

    /// Sets fields of a policy: the venue's at `/api/v1/policy`, a firm's at `/api/v1/firms/CODE/policy`.
    pub(crate) async fn set_policy(&self, path: &str, fields: &Value) {
        let mut policy = self.api().get(path).await.unwrap()["policy"].clone();
        for (name, value) in fields.as_object().unwrap() {
            policy[name] = value.clone();
        }
        self.api().put(path, &policy).await.unwrap();
    }

    /// Unlocks somebody's authenticator and forgets their attempts.
    pub(crate) async fn unlock(&self, user: &User) {
        self.api().post(&format!("{}/unlock", path(user)), &json!({})).await.unwrap();
    }

    /// A new seed for somebody, in place of the one before.
    pub(crate) async fn new_seed(&self, user: &User) -> User {
        let seed = self.api().post(&format!("{}/authenticator", path(user)), &json!({})).await.unwrap();
        User { seed: Some(seed["seed"].as_str().unwrap().to_owned()), ..user.clone() }
    }

    /// What it wrote to its log.
    pub(crate) fn log(&self) -> String {
        logged(&self.dir)
    }

    /// Tells it to stop.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// A TCP connection to the door from an address.
    pub(crate) async fn tcp(&self, from: IpAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        socket.connect(self.door).await.unwrap()
    }

    /// A WebSocket connection from an address.
    pub(crate) async fn connect(&self, from: IpAddr) -> Peer {
        Peer::shake_hands(self.tcp(from).await, self.door).await
    }

    /// The answer to a login on a connection of its own.
    pub(crate) async fn login(&self, from: IpAddr, user: &User, code: Option<&str>) -> Value {
        let mut peer = self.connect(from).await;
        peer.challenge().await;
        peer.login(&user.userid, &user.password, code).await
    }

    /// Others are served as ever: somebody new logs in on a connection of their own.
    pub(crate) async fn assert_serves(&self) {
        let user = self.trader().await;
        assert_eq!(self.login(source(), &user, None).await["result"], "OK", "others are harmed");
    }

    /// Everything that it wrote, log included, file by file.
    pub(crate) fn written(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut files, mut folders) = (Vec::new(), vec![self.dir.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let (kind, path) = (entry.file_type().unwrap(), entry.path());
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    let mut bytes = Vec::new();
                    std::fs::File::open(&path).unwrap().read_to_end(&mut bytes).unwrap();
                    files.push((path, bytes));
                }
            }
        }
        files
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The keeper ends the server, takes its directory away and ends, within its own limit.
        drop(self.keeper.stdin.take());
    }
}

fn path(user: &User) -> String {
    format!("/api/v1/people/{}", user.userid.replace('@', "%40"))
}

fn logged(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("stderr")).unwrap_or_default()
}
