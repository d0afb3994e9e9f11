//! A server in a process of its own, for measurements.
#![allow(dead_code, reason = "each program takes what it needs")]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use doorward_client::api::AdminClient;
use serde_json::Value;

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Kernel ticks a second, in which `/proc` counts processor time (USER_HZ is 100 on Linux).
const TICKS_PER_S: f64 = 100.0;
/// The core of servers; clients take the other.
pub(crate) const SERVER_CORE: &str = "0";
/// The core of clients.
pub(crate) const CLIENT_CORE: &str = "1";
/// The node in every configuration here.
pub(crate) const NODE: &str = "node1";

/// A process on the servers' core; killed when dropped.
pub(crate) struct Pinned {
    child: Child,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Pinned {
    /// Starts a program on a core.
    pub(crate) fn start<S: AsRef<OsStr>>(
        core: &str,
        words: impl IntoIterator<Item = S>,
        set_up: impl FnOnce(&mut Command),
    ) -> Fallible<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", core]).args(words);
        set_up(&mut command);
        Ok(Self { child: command.spawn()? })
    }

    /// The program's output or log, as lines.
    pub(crate) fn lines(&mut self) -> Fallible<Box<dyn Iterator<Item = String> + Send>> {
        if let Some(out) = self.child.stdout.take() {
            return Ok(Box::new(BufReader::new(out).lines().map_while(Result::ok)));
        }
        let log = self.child.stderr.take().ok_or("neither output nor log")?;
        Ok(Box::new(BufReader::new(log).lines().map_while(Result::ok)))
    }

    /// Processor time so far, in user and kernel mode.
    pub(crate) fn cpu_s(&self) -> Fallible<f64> {
        cpu_s(&self.child.id().to_string())
    }

    /// The same to the nanosecond, of the threads that there are: for a short while in which none ends.
    pub(crate) fn cpu_fine_s(&self) -> Fallible<f64> {
        let mut ns = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
            ns += text.split_whitespace().next().ok_or("schedstat")?.parse::<u64>()?;
        }
        Ok(ns as f64 / 1e9)
    }

    /// A line of `/proc/PID/status` in KiB: `VmRSS`, `RssAnon`.
    pub(crate) fn memory_kib(&self, what: &str) -> Fallible<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(what)).ok_or("no such memory")?;
        Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) -> Fallible<()> {
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&self.child),
            rustix::process::Signal::TERM,
        )?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
    }
}

/// Processor time of a process so far, in user and kernel mode.
pub(crate) fn cpu_s(pid: &str) -> Fallible<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').ok_or("stat")?.1.split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / TICKS_PER_S)
}

/// `doorward serve` on a folder.
pub(crate) struct Server {
    pub(crate) process: Pinned,
    /// Where its WebSocket door is.
    pub(crate) url: String,
    /// From the start of the process until the last listener was open.
    pub(crate) listening_after: Duration,
    folder: PathBuf,
}

impl Server {
    /// Starts the server that lies beside this program, with more configuration than what every one has here.
    pub(crate) fn start(folder: &Path, more: &str) -> Fallible<Self> {
        let text = format!(
            "data_dir = \"data\"\n[node]\nname = \"{NODE}\"\n[log]\nformat = \"json\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n{more}"
        );
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("doorward.toml"), text)?;
        // target/release/examples/NAME, beside target/release/doorward.
        let binary = std::env::current_exe()?.with_file_name("../doorward");
        let words = [binary.as_os_str(), "serve".as_ref(), "--config".as_ref(), "doorward.toml".as_ref()];
        let began = Instant::now();
        let mut process = Pinned::start(SERVER_CORE, words, |command| {
            command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::piped());
        })?;
        let mut lines = process.lines()?;
        let (mut url, mut listens) = (String::new(), false);
        for line in lines.by_ref() {
            let line: Value = serde_json::from_str(&line).map_err(|_| line)?;
            if let (Some(address), "") = (line["address"].as_str(), url.as_str()) {
                url = format!("ws://{address}/");
            }
            if line["metrics"].is_string() {
                listens = true;
                break;
            }
        }
        if !listens || url.is_empty() {
            return Err("the server did not open its doors".into());
        }
        let listening_after = began.elapsed();
        // The log goes on; somebody has to take it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { process, url, listening_after, folder: folder.to_owned() })
    }

    /// Its administration.
    pub(crate) fn api(&self) -> AdminClient {
        AdminClient::new(self.folder.join("data/admin.sock"))
    }
}

/// `--name VALUE`, or what is preset.
pub(crate) fn option<T: std::str::FromStr>(name: &str, preset: T) -> T {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|arg| arg == name);
    at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(preset)
}
