//! A real mail server (aiosmtpd) as a process of its own.
#![allow(dead_code, clippy::unwrap_used, reason = "test code; each file of tests uses its part of this")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use data_encoding::BASE64;
use serde_json::Value;

use super::node::SOON;

/// A mail as the server was handed it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Sender and recipients of the envelope.
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    /// Whether it came over TLS, and who was logged in.
    pub(crate) tls: bool,
    pub(crate) user: Option<String>,
    /// Headers and body, as they came.
    pub(crate) text: String,
}

impl Received {
    /// The value of a header that stands on one line.
    pub(crate) fn header(&self, name: &str) -> String {
        let start = format!("{name}: ");
        let line = self.text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.text)).to_owned()
    }
}

/// A mail server that runs; ended when dropped.
pub(crate) struct SmtpServer {
    child: Child,
    commands: ChildStdin,
    told: Receiver<Value>,
    /// Where it listens, on 127.0.0.1.
    pub(crate) port: u16,
}

/// Whether this run leaves out what samples/prepare installs (`./test quick`).
pub(crate) fn left_out() -> bool {
    let quick = std::env::var_os("DOORWARD_TEST_QUICK").is_some();
    if quick {
        println!("left out: it needs the mail server that samples/prepare installs");
    }
    quick
}

fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = target.join("samples/venv/bin/python");
    assert!(python.exists(), "{} is not there: run samples/prepare first", python.display());
    python
}

impl SmtpServer {
    /// Starts one with more arguments of `smtp_server.py`.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/smtp_server.py");
        let mut child = Command::new(python())
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let commands = child.stdin.take().unwrap();
        let (tell, told) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Nobody listens once the test is over.
                let _ = tell.send(serde_json::from_str::<Value>(&line).unwrap());
            }
        });
        let mut server = Self { child, commands, told, port: 0 };
        server.port = server.next()["port"].as_u64().unwrap().try_into().unwrap();
        server
    }

    fn next(&self) -> Value {
        self.told.recv_timeout(SOON).expect("the mail server said nothing")
    }

    /// Gives a command; returns once it is in force. Mails that came meanwhile are lost to the test: ask before.
    pub(crate) fn command(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
        let answer = self.next();
        assert_eq!(answer["done"], command, "{answer}");
    }

    /// The next mail.
    pub(crate) fn mail(&self) -> Received {
        Self::received(&self.next())
    }

    /// A mail that has come already.
    pub(crate) fn mail_at_hand(&self) -> Option<Received> {
        self.told.try_recv().ok().map(|told| Self::received(&told))
    }

    fn received(told: &Value) -> Received {
        let text = |field: &str| told[field].as_str().map(str::to_owned);
        let bytes =
            BASE64.decode(text("data").unwrap_or_else(|| panic!("no mail: {told}")).as_bytes()).unwrap();
        Received {
            from: text("from").unwrap(),
            to: told["to"].as_array().unwrap().iter().map(|to| to.as_str().unwrap().to_owned()).collect(),
            tls: told["tls"] == true,
            user: text("user"),
            text: String::from_utf8(bytes).unwrap(),
        }
    }

    /// Ends it and gives its port free.
    pub(crate) fn end(mut self) -> u16 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.port
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
