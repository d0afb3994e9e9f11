//! Everything at once on loopback, with sample people, for whoever wants to see it work.

mod fix_sessions;
mod people;
mod ready;
mod tour;

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use doorward_core::calendar::Mode;
use doorward_core::time::Wall;

use crate::clock::Clock;
use crate::config::Config;
use crate::fault::Fault;
use crate::serve::{Node, Options, StartError};

pub use fix_sessions::FixSample;
pub use people::Sample;

/// Marks a directory as the demo's own, which `--fresh` may empty.
const MARK: &str = "doorward-demo";

/// The mails' folder, below the demo's data.
const MAILBOX: &str = "mailbox";

/// Names of the demo's FIX listeners.
const CGW: &str = "cgw";
const MSGW: &str = "msgw";
const TRADER: &str = "trader";
/// The market segment of the second one.
const SEGMENT: &str = "92";

/// A fault for a drill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Drill {
    /// Each decision waits so long.
    GateDelay(Duration),
    /// The vault fails every call.
    VaultDown,
    /// The journal's disk is full.
    DiskFull,
}

impl Drill {
    /// Reads `gate-delay=SECONDS`, `vault-down` or `disk-full`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("gate-delay", seconds)) => seconds
                .parse::<f64>()
                .ok()
                .filter(|seconds| (0.0..=60.0).contains(seconds))
                .map(|seconds| Self::GateDelay(Duration::from_secs_f64(seconds)))
                .ok_or_else(|| format!("gate-delay: {seconds:?} is not a number of seconds from 0 to 60")),
            None if text == "vault-down" => Ok(Self::VaultDown),
            None if text == "disk-full" => Ok(Self::DiskFull),
            Some(_) | None => {
                Err(format!("no fault {text:?}; there are gate-delay=SECONDS, vault-down, disk-full"))
            }
        }
    }
}

/// How a demo is to run.
#[derive(Clone, Debug, Default)]
pub struct DemoOptions {
    /// Where to keep its data; `None`: in a temporary directory that goes with it.
    pub data: Option<PathBuf>,
    /// Where to write what a program needs to know, once all doors listen.
    pub ready_file: Option<PathBuf>,
    /// Begin with nothing, whatever an earlier demo left there.
    pub fresh: bool,
    /// Where the wall clock begins.
    pub clock: Option<Wall>,
    /// A drill.
    pub fault: Option<Drill>,
}

/// A running demo.
pub struct Demo {
    node: Node,
    data: DataDir,
    /// The folder of the mails.
    mailbox: PathBuf,
    samples: Vec<Sample>,
    sessions: Vec<FixSample>,
}

impl Demo {
    /// Starts everything; returns once all doors listen and the sample people are there.
    pub async fn start(options: &DemoOptions) -> Result<Self, StartError> {
        let data = DataDir::prepare(options)?;
        // The demo never closes, unless it is to show what happens then.
        let mode = if options.clock.is_some() { Mode::Weekly } else { Mode::Always };
        let config = config(&data.path, mode)?;
        let mailbox = absolute(&data.path)?.join(MAILBOX);
        let clock = match (options.clock, fix_sessions::are_missing(&data.path)) {
            (Some(wall), false) => Clock::starting_at(wall),
            (None, false) => Clock::system(),
            // The key pairs take a one-time password each: the clock catches up while they are made.
            (wall, true) => {
                let wall = wall.unwrap_or_else(|| Clock::system().now().wall);
                Clock::starting_at(wall - fix_sessions::TAKES)
            }
        };
        let clock = Arc::new(clock);
        let gate_delay = match options.fault {
            Some(Drill::GateDelay(span)) => span,
            Some(Drill::VaultDown | Drill::DiskFull) | None => Duration::ZERO,
        };
        let node = Node::start(&config, Options { clock, demo: true, gate_delay }).await?;
        let samples = people::load_or_create(&node.gate, &data.path).await?;
        let sessions = fix_sessions::load_or_create(&node.gate, &data.path, &samples).await?;
        match options.fault {
            Some(Drill::VaultDown) => node.switches.vault_down(),
            Some(Drill::DiskFull) => node.switches.disk_full(),
            Some(Drill::GateDelay(_)) | None => {}
        }
        if let Some(path) = &options.ready_file {
            ready::write(path, &node, &mailbox, &samples, &sessions)?;
        }
        Ok(Self { node, data, mailbox, samples, sessions })
    }

    /// The tour to print.
    pub fn tour(&self) -> String {
        tour::text(&self.node, &self.mailbox, &self.samples, &self.sessions)
    }

    /// Stops everything; temporary data go.
    pub async fn stop(self) {
        self.node.stop().await;
        self.data.discard();
    }
}

/// The directory of a demo's data, and of the vault's keys beside it.
struct DataDir {
    path: PathBuf,
    temporary: bool,
}

impl DataDir {
    fn prepare(options: &DemoOptions) -> Result<Self, StartError> {
        let Some(path) = &options.data else { return Self::temporary(&std::env::temp_dir()) };
        let path = path.clone();
        let mark = path.join(MARK);
        if options.fresh && path.exists() {
            if !mark.exists() {
                let text =
                    format!("--fresh: {} is no demo's directory (it has no file {MARK})", path.display());
                return Err(StartError::Config(text));
            }
            // A running demo holds the journal's lock: its data are not taken away.
            drop(crate::journal::RealDisk::open(&path.join("store").join("journal"))?);
            std::fs::remove_dir_all(&path).map_err(|error| Fault::disk(&path, &error))?;
        }
        let occupied = path.read_dir().is_ok_and(|mut entries| entries.next().is_some());
        if occupied && !mark.exists() {
            let text = format!("--data: {} is not empty and no demo's directory", path.display());
            return Err(StartError::Config(text));
        }
        make_private(&path)?;
        std::fs::write(&mark, b"").map_err(|error| Fault::disk(&mark, &error))?;
        Ok(Self { path, temporary: false })
    }

    /// A new directory of our own: one that is there already may be somebody else's trap.
    fn temporary(below: &Path) -> Result<Self, StartError> {
        let suffix = RandomState::new().build_hasher().finish();
        let path = below.join(format!("{MARK}-{}-{suffix:016x}", std::process::id()));
        make_new(&path)?;
        let mark = path.join(MARK);
        std::fs::write(&mark, b"").map_err(|error| Fault::disk(&mark, &error))?;
        Ok(Self { path, temporary: true })
    }

    fn discard(self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "temporary data stay");
        }
    }
}

/// Fails where there is anything already, and where what it lies in is not there.
fn make_new(path: &Path) -> Result<(), Fault> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(path);
    made.map_err(|error| Fault::disk(path, &error))
}

fn make_private(path: &Path) -> Result<(), Fault> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| Fault::disk(path, &error))
}

fn absolute(path: &Path) -> Result<PathBuf, Fault> {
    std::path::absolute(path).map_err(|error| Fault::disk(path, &error))
}

/// The demo's configuration: free ports of loopback, everything below one directory.
fn config(data: &Path, mode: Mode) -> Result<Config, StartError> {
    let any_port = format!("{}:0", IpAddr::V4(Ipv4Addr::LOCALHOST));
    let text = format!(
        "data_dir = \"store\"\n\
         [node]\n\
         name = \"demo\"\n\
         [ws]\n\
         listen = [\"{any_port}\"]\n\
         origins = [\"http://127.0.0.1:*\", \"http://localhost:*\"]\n\
         [web]\n\
         listen = [\"{any_port}\"]\n\
         [mail]\n\
         folder = \"{MAILBOX}\"\n\
         from = \"Doorward demo <no-reply@venue.example>\"\n\
         [[fix.listeners]]\n\
         name = \"{CGW}\"\n\
         listen = \"{any_port}\"\n\
         [[fix.listeners]]\n\
         name = \"{MSGW}\"\n\
         listen = \"{any_port}\"\n\
         kind = \"msgw\"\n\
         segment = \"{SEGMENT}\"\n\
         [[fix.listeners]]\n\
         name = \"{TRADER}\"\n\
         listen = \"{any_port}\"\n\
         profile = \"trader-otp\"\n\
         [metrics]\n\
         listen = \"{any_port}\"\n\
         [vault]\n\
         key_file = \"keys/vault.key\"\n\
         [calendar]\n\
         mode = \"{mode}\"\n"
    );
    let folder = absolute(data)?;
    make_private(&folder.join("keys"))?;
    Config::parse(&text, "the demo's configuration", &folder, &|_| None)
        .map_err(|errors| StartError::Config(errors.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drills_read_as_they_are_written_in_the_help() {
        assert_eq!(Drill::parse("gate-delay=1.5"), Ok(Drill::GateDelay(Duration::from_millis(1_500))));
        assert_eq!(Drill::parse("vault-down"), Ok(Drill::VaultDown));
        assert_eq!(Drill::parse("disk-full"), Ok(Drill::DiskFull));
        for text in ["", "gate-delay", "gate-delay=-1", "gate-delay=soon", "vault-down=1", "fire"] {
            assert!(Drill::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_demos_configuration_is_a_good_one() {
        let folder = tempfile::tempdir().unwrap();
        config(folder.path(), Mode::Always).unwrap();
    }

    #[test]
    fn temporary_data_lie_in_a_new_directory_of_nobody_elses() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let one = DataDir::temporary(folder.path()).unwrap();
        let other = DataDir::temporary(folder.path()).unwrap();
        assert_ne!(one.path, other.path);
        assert_eq!(one.path.metadata().unwrap().permissions().mode() & 0o7777, 0o700);
        assert!(make_new(&one.path).is_err(), "what is there already is not taken");
        assert!(DataDir::temporary(&folder.path().join("none")).is_err());
        one.discard();
        assert!(folder.path().read_dir().unwrap().count() == 1, "temporary data go");
    }

    #[test]
    fn fresh_empties_only_a_demos_own_directory() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.txt"), "five years of work").unwrap();
        let data = Some(folder.path().to_owned());
        for fresh in [true, false] {
            let options = DemoOptions { data: data.clone(), fresh, ..DemoOptions::default() };
            assert!(DataDir::prepare(&options).is_err());
        }
        assert!(folder.path().join("thesis.txt").exists());
    }
}
