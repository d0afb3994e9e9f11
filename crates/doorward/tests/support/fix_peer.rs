//! The other end of one FIX connection, well-behaved or not, that signs its Logon with a key pair of the demo.
#![allow(dead_code, clippy::unwrap_used, reason = "test code; each file of tests uses its part of this")]

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use doorward_client::fix::KeyPair;
use doorward_core::fix::build::Builder;
use doorward_core::fix::frame::{Cut, Cutter};
use doorward_core::fix::message::Fields;
use doorward_core::fix::signature::{CME_1_SHA_256, canonical};
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use serde_json::Value;

/// How long anything may take that ought to come at once.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Who logs on: a row of `fix_sessions` of a ready file.
#[derive(Clone)]
pub(crate) struct Seat {
    /// SenderCompID.
    pub(crate) comp: String,
    /// Operator.
    pub(crate) operator: String,
    /// The access key.
    pub(crate) access_key: String,
    pair: KeyPair,
}

impl Seat {
    /// The nth session of a ready file.
    pub(crate) fn of(ready: &Value, nth: usize) -> Self {
        let row = &ready["fix_sessions"][nth];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let access_key = text(&row["access_key_id"]);
        let pair = KeyPair::new(&access_key, &Secret::new(text(&row["secret_key"]))).unwrap();
        let (comp, operator) = (text(&row["sender_comp_ids"][0]), text(&row["operator_ids"][0]));
        Self { comp, operator, access_key, pair }
    }

    /// The same session with another key pair: an answer of `doorward key`.
    pub(crate) fn with_key(&self, made: &Value) -> Self {
        let text = |field: &str| made[field].as_str().unwrap().to_owned();
        let access_key = text("access_key_id");
        let pair = KeyPair::new(&access_key, &Secret::new(text("secret_key"))).unwrap();
        Self { access_key, pair, ..self.clone() }
    }

    /// The Session ID.
    pub(crate) fn session(&self) -> &str {
        &self.comp[..3]
    }

    /// The stream at the Convenience Gateway.
    pub(crate) fn stream(&self) -> String {
        format!("cgw/{}/{}", &self.comp[..3], &self.comp[3..6])
    }
}

/// A connection.
pub(crate) struct FixPeer {
    pub(crate) stream: TcpStream,
    pub(crate) seat: Seat,
    /// MsgSeqNum of the next message.
    pub(crate) next: u64,
    heard: Vec<u8>,
    /// Ahead of this machine's clock, as the demo's is.
    pub(crate) ahead: Duration,
}

impl FixPeer {
    /// Connects to the Convenience Gateway of a demo.
    pub(crate) fn connect(ready: &Value, seat: &Seat) -> Self {
        Self::try_connect(ready, seat).unwrap()
    }

    /// The same, of a demo that may be gone.
    pub(crate) fn try_connect(ready: &Value, seat: &Seat) -> std::io::Result<Self> {
        let cgw = &ready["fix"]["cgw"];
        let address = format!("{}:{}", cgw["host"].as_str().unwrap(), cgw["port"]);
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, seat: seat.clone(), next: 1, heard: Vec::new(), ahead: Duration::ZERO })
    }

    /// The same, logged on with this number, and our Test Request answered.
    pub(crate) fn logged_on(ready: &Value, seat: &Seat, next: u64) -> Self {
        let mut peer = Self::connect(ready, seat);
        peer.next = next;
        peer.log_on();
        peer
    }

    pub(crate) fn log_on(&mut self) {
        let logon = self.logon();
        self.stream.write_all(&logon).unwrap();
        let answer = self.hear();
        assert!(answer.contains("|35=A|"), "{answer}");
        self.answer_test();
    }

    /// Answers the next Test Request.
    pub(crate) fn answer_test(&mut self) {
        let test = self.hear_type("1");
        let id = get(&test, "112").unwrap().to_owned();
        self.say("0", &format!("112={id}|"));
    }

    fn header<'b>(&mut self, out: &'b mut Vec<u8>, msg_type: &str) -> Builder<'b> {
        let number = self.next;
        self.next += 1;
        Builder::begin(out, b"FIX.4.2", msg_type.as_bytes())
            .number(34, number)
            .field(49, &self.seat.comp)
            .field(50, &self.seat.operator)
            .time(52, now() + self.ahead)
            .field(56, "CME")
            .field(57, "G")
            .field(142, "US,IL")
    }

    /// A message with these fields, written `11=a|55=ES|`.
    pub(crate) fn build(&mut self, msg_type: &str, body: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = self.header(&mut out, msg_type).raw(body.replace('|', "\x01").as_bytes()).finish();
        out
    }

    /// A signed Logon.
    pub(crate) fn logon(&mut self) -> Vec<u8> {
        let known = "108=30|1603=Test|1604=1|1605=Us|".replace('|', "\x01");
        let mut unsigned = Vec::new();
        let number = self.next;
        let _ = self.header(&mut unsigned, "A").raw(known.as_bytes()).finish();
        let (mut fields, mut signed) = (Fields::new(), Vec::new());
        canonical(&CME_1_SHA_256, &fields.read(&unsigned).unwrap(), &mut signed);
        let signature = self.seat.pair.sign(&signed);
        // The same header again, with the same SendingTime.
        let head = unsigned.windows(4).position(|part| part == b"108=").unwrap();
        let start = unsigned.windows(4).position(|part| part == b"\x0134=").unwrap() + 1;
        let key = &self.seat.access_key;
        let rest =
            format!("354=20|355={key}|1400=CME-1-SHA-256|1401=43|1402={signature}|").replace('|', "\x01");
        let mut out = Vec::new();
        let _ = Builder::begin(&mut out, b"FIX.4.2", b"A")
            .raw(&unsigned[start..head])
            .raw(known.as_bytes())
            .raw(rest.as_bytes())
            .finish();
        assert_eq!(self.next, number + 1);
        out
    }

    pub(crate) fn say(&mut self, msg_type: &str, body: &str) {
        let bytes = self.build(msg_type, body);
        self.stream.write_all(&bytes).unwrap();
    }

    /// The next message; fails where the connection ends instead.
    pub(crate) fn hear(&mut self) -> String {
        self.hear_or_end().expect("the connection ended")
    }

    /// The next message, or `None` where the connection has ended.
    pub(crate) fn hear_or_end(&mut self) -> Option<String> {
        loop {
            match Cutter::new(1 << 16).cut(&self.heard) {
                Cut::Message { len } => {
                    let message: Vec<u8> = self.heard.drain(..len).collect();
                    return Some(String::from_utf8(message).unwrap().replace('\x01', "|"));
                }
                Cut::Incomplete => {}
                other => panic!("{other:?}: {}", self.heard.escape_ascii()),
            }
            let mut bytes = [0; 65_536];
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(read) => self.heard.extend_from_slice(&bytes[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return None;
                }
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    /// The next message of this type.
    pub(crate) fn hear_type(&mut self, msg_type: &str) -> String {
        loop {
            let message = self.hear();
            if get(&message, "35") == Some(msg_type) {
                return message;
            }
        }
    }

    /// The server still answers on this connection.
    pub(crate) fn assert_live(&mut self) {
        self.say("1", "112=are you there|");
        while !self.hear_type("0").contains("|112=are you there|") {}
    }

    /// Logs out in order.
    pub(crate) fn log_out(mut self) -> u64 {
        self.say("5", "");
        self.hear_type("5");
        assert_eq!(self.hear_or_end(), None);
        self.next
    }

    /// Sends a byte now and again until the other side ends it without a word; how long that took.
    pub(crate) fn drip(&mut self, bytes: &[u8]) -> Duration {
        let begun = Instant::now();
        self.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        for byte in bytes.iter().cycle() {
            let mut heard = [0; 1];
            match self.stream.read(&mut heard) {
                Ok(0) => return begun.elapsed(),
                Ok(_) => panic!("a word for somebody who has not logged on"),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return begun.elapsed(),
            }
            if self.stream.write_all(&[*byte]).is_err() || begun.elapsed() > SOON {
                break;
            }
        }
        begun.elapsed()
    }
}

/// The value of the first field with this tag in a printed message.
pub(crate) fn get<'a>(message: &'a str, tag: &str) -> Option<&'a str> {
    message.split('|').find_map(|field| field.strip_prefix(tag)?.strip_prefix('='))
}

fn now() -> Wall {
    Wall::from_us(i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap())
}
