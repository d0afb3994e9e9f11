//! The FIX sessions that `doorward load fix` logs on with, and the messages that they send.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use doorward_client::fix::KeyPair;
use doorward_core::fix::build::Builder;
use doorward_core::fix::tag;
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use serde_json::Value;

use super::CliError;

/// Which gateway is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum GatewayKind {
    /// Convenience Gateway
    Cgw,
    /// Market Segment Gateway
    Msgw,
}

/// What a ready file says of the FIX door.
#[derive(Debug)]
pub(super) struct Ready {
    path: PathBuf,
    json: Value,
}

impl Ready {
    /// Reads the demo's ready file.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let fail = |why: String| CliError::usage(format!("--ready {}: {why}", path.display()));
        let text = std::fs::read(path).map_err(|error| fail(error.to_string()))?;
        let json = serde_json::from_slice(&text).map_err(|error| fail(format!("no JSON: {error}")))?;
        Ok(Self { path: path.to_owned(), json })
    }

    fn fail(&self, why: &str) -> CliError {
        CliError::usage(format!("--ready {}: {why}", self.path.display()))
    }

    /// The process of the server.
    pub(super) fn pid(&self) -> Option<u32> {
        self.json["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }

    /// The venue's name.
    pub(super) fn venue(&self) -> String {
        self.json["venue"].as_str().unwrap_or("CME").to_owned()
    }

    /// Host, port and TargetSubID (57) of a gateway.
    pub(super) fn gateway(&self, kind: GatewayKind) -> Result<(String, u16, String), CliError> {
        let (name, sub_id) = match kind {
            GatewayKind::Cgw => ("cgw", Some("G")),
            GatewayKind::Msgw => ("msgw", self.json["fix"]["msgw"]["segment"].as_str()),
        };
        let row = &self.json["fix"][name];
        let port = row["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        match (row["host"].as_str(), port, sub_id) {
            (Some(host), Some(port), Some(sub_id)) => Ok((host.to_owned(), port, sub_id.to_owned())),
            _ => Err(self.fail(&format!("no 'fix.{name}' with host, port and segment in it"))),
        }
    }

    /// The rows of `fix_sessions`.
    pub(super) fn sessions(&self) -> Result<Vec<SessionRow>, CliError> {
        let rows = self.json["fix_sessions"].as_array().filter(|rows| !rows.is_empty());
        let rows = rows.ok_or_else(|| self.fail("no list 'fix_sessions' in it"))?;
        let texts = |value: &Value| -> Vec<String> {
            value
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|text| text.as_str().map(str::to_owned))
                .collect()
        };
        let mut sessions = Vec::new();
        for row in rows.iter().filter(|row| row["kind"].as_str().unwrap_or("order") == "order") {
            let (Some(id), Some(secret)) = (row["access_key_id"].as_str(), row["secret_key"].as_str()) else {
                continue;
            };
            let key = KeyPair::new(id, &Secret::new(secret.to_owned()));
            sessions.push(SessionRow {
                sender_comp_ids: texts(&row["sender_comp_ids"]),
                operator_ids: texts(&row["operator_ids"]),
                key: key.map_err(|error| self.fail(&error.to_string()))?,
            });
        }
        Ok(sessions)
    }

    /// One seat for each SenderCompID.
    pub(super) fn seats(&self, sub_id: &str) -> Result<Vec<Seat>, CliError> {
        let mut seats = Vec::new();
        for row in self.sessions()? {
            let operator = row.operator_ids.first().map_or("LOAD", String::as_str);
            for comp_id in &row.sender_comp_ids {
                seats.push(Seat::new(comp_id, operator, sub_id, row.key.clone()));
            }
        }
        if seats.is_empty() { Err(self.fail("no order session with a key pair in it")) } else { Ok(seats) }
    }

    /// Host and port of the traders' listener.
    pub(super) fn trader(&self) -> Result<(String, u16), CliError> {
        let row = &self.json["fix"]["trader"];
        let port = row["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        match (row["host"].as_str(), port) {
            (Some(host), Some(port)) => Ok((host.to_owned(), port)),
            _ => Err(self.fail("no 'fix.trader' with host and port in it")),
        }
    }

    /// Where `doorward fix` keeps the numbers of one session.
    pub(super) fn sequence_path(&self, session: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{session}.seq"));
        name.into()
    }

    /// Where the numbers are kept between runs.
    pub(super) fn numbers_path(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".load-numbers");
        name.into()
    }
}

/// One order session of a ready file.
#[derive(Debug)]
pub(super) struct SessionRow {
    pub(super) sender_comp_ids: Vec<String>,
    pub(super) operator_ids: Vec<String>,
    pub(super) key: KeyPair,
}

/// One stream that can be logged on, and its numbers.
#[derive(Debug)]
pub(super) struct Seat {
    comp_id: String,
    operator: String,
    sub_id: String,
    key: KeyPair,
    /// MsgSeqNum (34) of our next message.
    pub(super) next_out: u64,
    /// MsgSeqNum (34) of the last message of the server.
    pub(super) last_in: u64,
}

/// What all seats have in common.
#[derive(Clone, Debug)]
pub(super) struct Common {
    pub(super) venue: String,
    pub(super) heartbeat_s: u16,
}

const LOCATION: &str = "US,IL";
const APPLICATION: [(u32, &str); 3] = [
    (tag::APPLICATION_SYSTEM_NAME, "doorward load"),
    (tag::APPLICATION_SYSTEM_VERSION, env!("CARGO_PKG_VERSION")),
    (tag::APPLICATION_SYSTEM_VENDOR, "Doorward"),
];

impl Seat {
    fn new(comp_id: &str, operator: &str, sub_id: &str, key: KeyPair) -> Self {
        Self {
            comp_id: comp_id.to_owned(),
            operator: operator.to_owned(),
            sub_id: sub_id.to_owned(),
            key,
            next_out: 1,
            last_in: 0,
        }
    }

    /// Names the stream in the file of numbers.
    fn name(&self) -> String {
        format!("{}/{}/{}", self.sub_id, self.comp_id, self.key.access_key_id())
    }

    /// Writes the beginning of a message and counts it.
    pub(super) fn begin<'b>(
        &mut self,
        out: &'b mut Vec<u8>,
        common: &Common,
        msg_type: &[u8],
        at: &Stamp,
    ) -> Builder<'b> {
        let number = self.next_out;
        self.next_out += 1;
        Builder::begin(out, b"FIX.4.2", msg_type)
            .number(tag::MSG_SEQ_NUM, number)
            .field(tag::SENDER_COMP_ID, &self.comp_id)
            .field(tag::SENDER_SUB_ID, &self.operator)
            .field(tag::SENDING_TIME, at.text)
            .field(tag::TARGET_COMP_ID, &common.venue)
            .field(tag::TARGET_SUB_ID, &self.sub_id)
            .field(tag::SENDER_LOCATION_ID, LOCATION)
            .number(tag::LAST_MSG_SEQ_NUM_PROCESSED, self.last_in)
    }

    /// Writes a signed Logon.
    pub(super) fn logon(&mut self, out: &mut Vec<u8>, common: &Common, at: &Stamp) {
        let canonical = self.canonical(common, at);
        let signature = self.key.sign(canonical.as_bytes());
        let id = self.key.access_key_id();
        let mut builder =
            self.begin(out, common, b"A", at).number(tag::HEART_BT_INT, common.heartbeat_s.into());
        for (tag, value) in APPLICATION {
            builder = builder.field(tag, value);
        }
        builder
            .data(tag::ENCODED_TEXT_LEN, id.as_bytes())
            .field(tag::ENCRYPTED_PASSWORD_METHOD, "CME-1-SHA-256")
            .data(tag::ENCRYPTED_PASSWORD_LEN, signature.as_bytes())
            .finish();
    }

    fn canonical(&self, common: &Common, at: &Stamp) -> String {
        let time = std::str::from_utf8(&at.text).unwrap_or_default();
        let [name, version, vendor] = APPLICATION.map(|(_, value)| value);
        format!(
            "{}\n{}\n{}\n{time}\n{}\n{}\n{LOCATION}\n{}\n{name}\n{version}\n{vendor}",
            self.next_out, self.comp_id, self.operator, self.sub_id, common.heartbeat_s, self.last_in
        )
    }

    /// Passes over everything from a number on that the server asks for again.
    pub(super) fn fill(&mut self, out: &mut Vec<u8>, common: &Common, at: &Stamp, from: u64) {
        let next = self.next_out;
        self.next_out = from;
        self.begin(out, common, b"4", at)
            .field(tag::POSS_DUP_FLAG, "Y")
            .field(tag::ORIG_SENDING_TIME, at.text)
            .field(tag::GAP_FILL_FLAG, "Y")
            .number(tag::NEW_SEQ_NO, next)
            .finish();
        self.next_out = next;
    }
}

/// An instant as SendingTime (52) has it, written anew only when the millisecond has changed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    ms: i64,
    pub(super) text: [u8; 21],
}

impl Stamp {
    pub(super) const fn new() -> Self {
        Self { ms: i64::MIN, text: *b"19700101-00:00:00.000" }
    }

    pub(super) fn set(&mut self, wall: Wall) {
        if wall.as_ms() == self.ms {
            return;
        }
        self.ms = wall.as_ms();
        // 2026-11-21T20:00:00.000Z
        let text = wall.to_string().into_bytes();
        if let Some(&[y1, y2, y3, y4, _, m1, m2, _, d1, d2, _, ref time @ ..]) = text.get(..23) {
            self.text[..8].copy_from_slice(&[y1, y2, y3, y4, m1, m2, d1, d2]);
            self.text[9..].copy_from_slice(time);
        }
    }
}

/// Takes the numbers of an earlier run.
pub(super) fn load_numbers(path: &Path, seats: &mut [Seat]) {
    let Ok(text) = std::fs::read(path) else { return };
    let Ok(numbers) = serde_json::from_slice::<BTreeMap<String, (u64, u64)>>(&text) else { return };
    for seat in seats {
        if let Some((next_out, last_in)) = numbers.get(&seat.name()) {
            (seat.next_out, seat.last_in) = (*next_out, *last_in);
        }
    }
}

/// Keeps the numbers for the next run, beside those of other seats.
pub(super) fn save_numbers(path: &Path, seats: &[Seat]) -> Result<(), CliError> {
    let fail = |why: String| CliError::usage(format!("{}: {why}", path.display()));
    let mut numbers: BTreeMap<String, (u64, u64)> =
        std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    numbers.extend(seats.iter().map(|seat| (seat.name(), (seat.next_out, seat.last_in))));
    let text = serde_json::to_vec(&numbers).map_err(|error| fail(error.to_string()))?;
    std::fs::write(path, text).map_err(|error| fail(error.to_string()))
}

/// A message of the server, as far as load needs to understand it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'m> {
    pub(super) bytes: &'m [u8],
    /// The first character of MsgType (35).
    pub(super) msg_type: u8,
}

impl<'m> Frame<'m> {
    /// The value of the first field that begins with these bytes, such as `\x0134=`.
    pub(super) fn value(&self, begins: &[u8]) -> Option<&'m [u8]> {
        let at = self.bytes.windows(begins.len()).position(|window| window == begins)?;
        let rest = self.bytes.get(at + begins.len()..)?;
        rest.get(..rest.iter().position(|byte| *byte == 1)?)
    }

    pub(super) fn number(&self, begins: &[u8]) -> Option<u64> {
        digits(self.value(begins)?)
    }
}

fn digits(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The first message in the bytes; `Ok(None)` where more bytes are needed. It trusts BodyLength and looks at no checksum.
pub(super) fn frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, ()> {
    let head = bytes.get(..bytes.len().min(32)).unwrap_or_default();
    let ends: [Option<usize>; 2] = {
        let mut at = head.iter().enumerate().filter(|(_, byte)| **byte == 1).map(|(at, _)| at);
        [at.next(), at.next()]
    };
    let [Some(first), Some(second)] = ends else {
        return if head.len() < 32 && b"8=FIX".iter().zip(head).all(|(a, b)| a == b) {
            Ok(None)
        } else {
            Err(())
        };
    };
    let length = head.get(first + 1..second).and_then(|field| field.strip_prefix(b"9="));
    let length = length.and_then(digits).and_then(|length| usize::try_from(length).ok()).ok_or(())?;
    if length > 1 << 20 {
        return Err(());
    }
    let whole = second + 1 + length + 7;
    let Some(message) = bytes.get(..whole) else { return Ok(None) };
    match message.get(second + 1..second + 5) {
        Some([b'3', b'5', b'=', msg_type]) => Ok(Some(Frame { bytes: message, msg_type: *msg_type })),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use doorward_core::fix::message::Fields;
    use doorward_core::fix::signature;

    use super::*;

    const SECRET: &str = "2HlZ7exg8jTKltXnURjKvm3GS5iF5n4ClzHiEm_ocv4";

    fn seat() -> Seat {
        let key = KeyPair::new("oNDxM33uE81ohWuVRtWT", &Secret::new(SECRET.to_owned())).unwrap();
        Seat::new("B08004N", "OP1", "G", key)
    }

    #[test]
    fn a_logon_is_signed_over_what_it_says() {
        let common = Common { venue: "CME".to_owned(), heartbeat_s: 60 };
        let mut at = Stamp::new();
        at.set(Wall::from_us(1_795_291_200_250_999));
        let (mut seat, mut out) = (seat(), Vec::new());
        (seat.next_out, seat.last_in) = (7, 3);
        seat.logon(&mut out, &common, &at);
        let mut fields = Fields::new();
        let message = fields.read(&out).unwrap();
        assert_eq!(message.get(52), Some(&b"20261121-20:00:00.250"[..]));
        let mut canonical = Vec::new();
        signature::canonical(&signature::CME_1_SHA_256, &message, &mut canonical);
        assert_eq!(message.get(1402), Some(seat.key.sign(&canonical).as_bytes()));
        assert_eq!(seat.next_out, 8);
    }

    #[test]
    fn messages_are_found_in_any_pieces() {
        let mut bytes = Vec::new();
        for number in 1..4 {
            Builder::begin(&mut bytes, b"FIX.4.2", b"8").number(34, number).field(11, "x").finish();
        }
        for cut in 0..bytes.len() {
            let mut rest = &bytes[..cut];
            let mut seen = 0;
            while let Some(message) = frame(rest).unwrap() {
                seen += 1;
                assert_eq!((message.msg_type, message.number(b"\x0134=")), (b'8', Some(seen)));
                rest = &rest[message.bytes.len()..];
            }
        }
        assert!(frame(b"HTTP/1.1 400 Bad Request, which is no FIX at all").is_err());
        assert!(frame(b"8=FIX.4.2\x019=x\x0135=8\x01").is_err());
    }

    #[test]
    fn numbers_go_on_with_the_next_run() {
        let path = std::env::temp_dir().join(format!("doorward-load-numbers-{}", std::process::id()));
        let mut seats = [seat()];
        load_numbers(&path, &mut seats);
        assert_eq!(seats[0].next_out, 1);
        (seats[0].next_out, seats[0].last_in) = (42, 41);
        save_numbers(&path, &seats).unwrap();
        let mut again = [seat()];
        load_numbers(&path, &mut again);
        std::fs::remove_file(&path).unwrap();
        assert_eq!((again[0].next_out, again[0].last_in), (42, 41));
    }
}
