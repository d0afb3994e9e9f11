//! Nodes and demos as processes of their own: started, read, killed and stopped.
#![allow(dead_code, clippy::unwrap_used, reason = "test code; each file of tests uses its part of this")]

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take that ought to happen at once. Far more than is needed: machines may be loaded.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// Between two looks at something that will come.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Runs `doorward` to its end.
pub(crate) fn doorward(args: &[&str]) -> Output {
    doorward_at(Path::new("."), args)
}

/// Runs `doorward` in a folder to its end.
pub(crate) fn doorward_at(folder: &Path, args: &[&str]) -> Output {
    command(args).current_dir(folder).output().unwrap()
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doorward"));
    command.args(args).stdin(Stdio::null());
    command
}

/// What a command printed on both outputs, and how it ended.
pub(crate) fn told(output: &Output) -> String {
    format!(
        "{}{}[{}]",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        output.status
    )
}

/// A configuration on free ports of loopback with JSON logs; `more` is appended, so it begins with a section.
pub(crate) fn write_config(folder: &Path, more: &str) -> PathBuf {
    let text = format!(
        "data_dir = \"data\"\n\
         [log]\nformat = \"json\"\nlevel = \"debug\"\n\
         [journal]\nsegment_bytes = 1048576\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n\
         {more}"
    );
    let listen = if more.contains("[ws]") { "" } else { "\n[ws]\nlisten = [\"127.0.0.1:0\"]\n" };
    let path = folder.join("doorward.toml");
    std::fs::write(&path, text + listen).unwrap();
    path
}

/// A `doorward` that runs; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    lines: mpsc::Receiver<String>,
}

impl Process {
    /// Starts `doorward` in a folder.
    pub(crate) fn spawn(folder: &Path, args: &[&str]) -> Self {
        let mut child =
            command(args).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sender, lines) = mpsc::channel();
        let err = BufReader::new(child.stderr.take().unwrap());
        let out = BufReader::new(child.stdout.take().unwrap());
        read(err, Arc::clone(&log), sender.clone());
        read(out, Arc::clone(&log), sender);
        Self { child, log, lines }
    }

    /// The process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it printed so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Reads what it prints until `wanted` finds something in a line.
    pub(crate) fn read_until<T>(&self, what: &str, mut wanted: impl FnMut(&str) -> Option<T>) -> T {
        let until = Instant::now() + SOON;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(found) = wanted(&line) {
                        return found;
                    }
                }
                Err(_) => panic!("{what} did not come:\n{}", self.log().join("\n")),
            }
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGKILL, and its end.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGKILL so long from now.
    pub(crate) fn kill_after(self, span: Duration) {
        std::thread::sleep(span);
        self.kill();
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let until = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it did not end:\n{}", self.log().join("\n"));
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// SIGTERM, its end, and how long that took.
    pub(crate) fn stop(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        self.signal(rustix::process::Signal::TERM);
        (self.ended(), began.elapsed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(
    from: impl std::io::BufRead + Send + 'static,
    log: Arc<Mutex<Vec<String>>>,
    to: mpsc::Sender<String>,
) {
    std::thread::spawn(move || {
        for line in from.lines().map_while(Result::ok) {
            log.lock().unwrap().push(line.clone());
            // Nobody reads on once what was awaited has come.
            let _ = to.send(line);
        }
    });
}

/// A node that serves.
pub(crate) struct Serving {
    /// The process.
    pub(crate) process: Process,
    /// The WebSocket door.
    pub(crate) url: String,
    /// The administration socket.
    pub(crate) socket: PathBuf,
    /// Where `/metrics` is.
    pub(crate) metrics: String,
}

impl Serving {
    /// Starts `doorward serve` in the folder of a configuration by [`write_config`] and waits until all doors listen.
    pub(crate) fn start(folder: &Path) -> Self {
        let process = Process::spawn(folder, &["serve", "--config", "doorward.toml"]);
        let mut url = None;
        let (socket, metrics) = process.read_until("\"serves\"", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            if let Some(address) = line["address"].as_str() {
                let scheme = if line["tls"] == true { "wss" } else { "ws" };
                url = Some(format!("{scheme}://{address}/"));
            }
            let text = |field: &str| line[field].as_str().map(str::to_owned);
            Some((folder.join(text("socket")?), text("metrics")?))
        });
        Self { process, url: url.unwrap(), socket, metrics }
    }
}

/// A demo that runs, with what its ready file tells.
pub(crate) struct Demo {
    /// The process.
    pub(crate) process: Process,
    /// The ready file.
    pub(crate) ready: Value,
}

impl Demo {
    /// Starts `doorward demo` and waits for its ready file.
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        let file = folder.join("ready.json");
        // Another demo's may be there.
        let _ = std::fs::remove_file(&file);
        let mut all = vec!["demo", "--ready-file", "ready.json"];
        all.extend_from_slice(args);
        let mut process = Process::spawn(folder, &all);
        let until = Instant::now() + SOON;
        while !file.exists() {
            let over = process.child.try_wait().unwrap();
            assert!(over.is_none() && Instant::now() < until, "no ready file:\n{}", process.log().join("\n"));
            std::thread::sleep(LOOK_AGAIN);
        }
        let ready = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        Self { process, ready }
    }

    /// A text of the ready file.
    pub(crate) fn text(&self, field: &str) -> String {
        self.ready[field].as_str().unwrap().to_owned()
    }

    /// The sample person with this name.
    pub(crate) fn user(&self, userid: &str) -> Value {
        let users = self.ready["users"].as_array().unwrap();
        users.iter().find(|user| user["userid"] == userid).unwrap().clone()
    }
}

/// Asks a page of the metrics listener; the status and the body.
pub(crate) fn page(address: &str, path: &str) -> (u16, String) {
    use std::io::Read as _;
    let mut stream = std::net::TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Looks again and again until it is so.
pub(crate) fn soon(what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + SOON;
    while !so() {
        assert!(Instant::now() < until, "{what}: not within {} s", SOON.as_secs());
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Overwrites one byte of a file.
pub(crate) fn flip(path: &Path, offset: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[offset] ^= 0x01;
    File::create(path).unwrap().write_all(&bytes).unwrap();
}

/// Chance by a printed seed (SplitMix64).
pub(crate) struct Chance(u64);

impl Chance {
    /// From a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub(crate) const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }
}
