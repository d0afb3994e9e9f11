//! A small venue for tests: it believes every signature, keeps numbers, and answers as the FIX page says.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use doorward_core::fix::build::Builder;
use doorward_core::fix::frame::{Cut, Cutter};
use doorward_core::fix::message::{Fields, Message, seq_num};

/// Next number each way, by SenderCompID.
type Streams = Arc<Mutex<BTreeMap<Vec<u8>, (u64, u64)>>>;

/// A venue on a port of its own, which serves until the process ends.
pub(super) struct TestVenue {
    pub(super) address: SocketAddr,
    pub(super) streams: Streams,
    /// Every message that came, as text with `|`.
    pub(super) heard: Arc<Mutex<Vec<String>>>,
}

impl TestVenue {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (streams, heard) = (Streams::default(), Arc::<Mutex<Vec<String>>>::default());
        let (kept, ears) = (Arc::clone(&streams), Arc::clone(&heard));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (streams, heard) = (Arc::clone(&kept), Arc::clone(&ears));
                std::thread::spawn(move || {
                    let buffers = (Vec::new(), Vec::new());
                    Peer { stream: stream.unwrap(), streams, heard, out: buffers.0, name: buffers.1 }.serve();
                });
            }
        });
        Self { address, streams, heard }
    }

    /// A ready file for this venue, with so many sessions.
    pub(super) fn ready_file(&self, name: &str, sessions: usize) -> PathBuf {
        let path = std::env::temp_dir().join(format!("doorward-{name}-{}.json", std::process::id()));
        let host = self.address.ip().to_string();
        let port = self.address.port();
        let rows: Vec<_> = (0..sessions)
            .map(|n| {
                serde_json::json!({
                    "session_id": format!("S{n:02}"), "firm_id": "001", "kind": "order",
                    "sender_comp_ids": [format!("S{n:02}001N")], "operator_ids": ["OP1"],
                    "access_key_id": format!("oNDxM33uE81ohWuV{n:04}"),
                    "secret_key": "2HlZ7exg8jTKltXnURjKvm3GS5iF5n4ClzHiEm_ocv4",
                })
            })
            .collect();
        let ready = serde_json::json!({
            "pid": std::process::id(), "venue": "CME", "fix_sessions": rows,
            "fix": {
                "cgw": {"host": host, "port": port},
                "msgw": {"host": host, "port": port, "segment": "92"},
                "trader": {"host": host, "port": port},
            },
        });
        std::fs::write(&path, ready.to_string()).unwrap();
        path
    }
}

struct Peer {
    stream: TcpStream,
    streams: Streams,
    heard: Arc<Mutex<Vec<String>>>,
    out: Vec<u8>,
    name: Vec<u8>,
}

impl Peer {
    fn serve(&mut self) {
        let mut cutter = Cutter::new(64 * 1024);
        let (mut input, mut buffer, mut fields) = (Vec::new(), [0; 4_096], Fields::new());
        while let Ok(count @ 1..) = self.stream.read(&mut buffer) {
            input.extend_from_slice(&buffer[..count]);
            while let Cut::Message { len } = cutter.cut(&input) {
                let bytes: Vec<u8> = input.drain(..len).collect();
                let text = String::from_utf8_lossy(&bytes).replace('\u{1}', "|");
                self.heard.lock().unwrap().push(text);
                let goes_on = self.message(&fields.read(&bytes).unwrap());
                if self.stream.write_all(&self.out).is_err() || !goes_on {
                    return;
                }
                self.out.clear();
            }
        }
    }

    /// Answers; false where the connection is to be closed.
    fn message(&mut self, message: &Message<'_>) -> bool {
        let number = message.get(34).and_then(seq_num).unwrap();
        self.name = message.get(49).unwrap().to_vec();
        let (expected, _) = *self.streams.lock().unwrap().entry(self.name.clone()).or_insert((1, 1));
        match message.msg_type() {
            b"A" if self.name.starts_with(b"trader") && message.get(20_030) != Some(b"123456") => {
                let text = if message.get(20_030).is_none() {
                    "one-time password required"
                } else {
                    "invalid one-time password"
                };
                self.say(message, b"5", &[(58, text.into())]);
                return false;
            }
            b"A" if message.get(141) == Some(b"Y") => {
                self.streams.lock().unwrap().insert(self.name.clone(), (2, 1));
                self.say(message, b"A", &[(108, "30".into()), (141, "Y".into())]);
            }
            b"A" if number < expected => {
                let text =
                    format!("MsgSeqNum too low, expecting {expected} but received {number}. Logout forced.");
                let mut out = Vec::new();
                let builder = self.header(message, &mut out, b"5", 1);
                builder.field(58, text).number(789, expected).finish();
                self.out = out;
                return false;
            }
            b"A" => {
                self.count(number);
                self.say(message, b"A", &[(108, "30".into())]);
                self.say(message, b"1", &[(112, "hello".into())]);
            }
            b"5" => {
                self.count(number);
                self.say(message, b"5", &[(789, (number + 1).to_string())]);
                return false;
            }
            b"1" => {
                self.count(number);
                let id = String::from_utf8_lossy(message.get(112).unwrap()).into_owned();
                self.say(message, b"0", &[(112, id)]);
            }
            b"D" | b"F" => {
                self.count(number);
                let id = String::from_utf8_lossy(message.get(11).unwrap()).into_owned();
                let status = if message.get(55) == Some(b"NONE") { "8" } else { "0" };
                self.say(message, b"8", &[(11, id), (39, status.into()), (58, "no such symbol".into())]);
            }
            _ => self.count(number),
        }
        true
    }

    fn count(&self, number: u64) {
        self.streams.lock().unwrap().entry(self.name.clone()).or_insert((1, 1)).0 = number + 1;
    }

    fn say(&mut self, to: &Message<'_>, msg_type: &[u8], fields: &[(u32, String)]) {
        let number = {
            let mut streams = self.streams.lock().unwrap();
            let stream = streams.entry(self.name.clone()).or_insert((1, 1));
            stream.1 += 1;
            stream.1 - 1
        };
        let mut out = std::mem::take(&mut self.out);
        let mut builder = self.header(to, &mut out, msg_type, number);
        for (tag, value) in fields {
            builder = builder.field(*tag, value);
        }
        builder.finish();
        self.out = out;
    }

    fn header<'b>(
        &self,
        to: &Message<'_>,
        out: &'b mut Vec<u8>,
        msg_type: &[u8],
        number: u64,
    ) -> Builder<'b> {
        Builder::begin(out, to.begin_string(), msg_type)
            .number(34, number)
            .field(49, "CME")
            .field(56, &self.name)
    }
}
