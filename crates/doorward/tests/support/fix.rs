//! The other end of one FIX connection, byte for byte of its own making.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;

use doorward_client::fix::KeyPair;
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{Server, User, WAIT_MAX, now_us, source};

/// The tags whose values are signed, in their order.
const SIGNED: [u32; 11] = [34, 49, 50, 52, 57, 108, 142, 369, 1603, 1604, 1605];

/// A listener of the demo.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Gateway {
    Cgw,
    Msgw,
    Trader,
}

impl Gateway {
    const fn name(self) -> &'static str {
        match self {
            Self::Cgw => "cgw",
            Self::Msgw => "msgw",
            Self::Trader => "trader",
        }
    }

    /// TargetSubID (57).
    pub(crate) const fn sub_id(self) -> &'static str {
        match self {
            Self::Cgw => "G",
            Self::Msgw => "92",
            Self::Trader => "",
        }
    }
}

/// One stream of a sample FIX session, with what it takes to log on to it.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) session: String,
    /// SenderCompID (49).
    pub(crate) comp: String,
    pub(crate) operator: String,
    pub(crate) gateway: Gateway,
    pub(crate) key_id: String,
    pub(crate) secret: String,
    pub(crate) key: KeyPair,
    pub(crate) firm: String,
}

impl Seat {
    fn of(json: &Value, comp: usize, gateway: Gateway) -> Self {
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        let (key_id, secret) = (text("access_key_id"), text("secret_key"));
        Self {
            session: text("session_id"),
            comp: json["sender_comp_ids"][comp].as_str().unwrap().to_owned(),
            operator: json["operator_ids"][0].as_str().unwrap().to_owned(),
            gateway,
            key: KeyPair::new(&key_id, &Secret::new(secret.clone())).unwrap(),
            key_id,
            secret,
            firm: text("firm"),
        }
    }

    /// The same session on another listener.
    pub(crate) fn on(&self, gateway: Gateway) -> Self {
        Self { gateway, ..self.clone() }
    }

    /// What the API calls the stream.
    pub(crate) fn stream(&self) -> String {
        let gateway = if self.gateway == Gateway::Msgw { "msgw-92" } else { "cgw" };
        format!("{gateway}/{}/{}", self.session, &self.comp[3..6])
    }
}

/// The fields of a message, without 8, 9 and 10.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fields {
    pub(crate) begin_string: String,
    pub(crate) all: Vec<(u32, Vec<u8>)>,
}

impl Fields {
    pub(crate) fn new() -> Self {
        Self { begin_string: "FIX.4.2".to_owned(), all: Vec::new() }
    }

    /// One more field, at the end.
    pub(crate) fn with(mut self, tag: u32, value: impl AsRef<[u8]>) -> Self {
        self.all.push((tag, value.as_ref().to_vec()));
        self
    }

    /// One more field, in front of the first of that tag.
    pub(crate) fn before(mut self, other: u32, tag: u32, value: &str) -> Self {
        let at = self.all.iter().position(|(of, _)| *of == other).unwrap();
        self.all.insert(at, (tag, value.as_bytes().to_vec()));
        self
    }

    /// Another value of a field, which stays where it is; at the end where there was none.
    pub(crate) fn set(mut self, tag: u32, value: impl AsRef<[u8]>) -> Self {
        match self.all.iter_mut().find(|(of, _)| *of == tag) {
            Some((_, present)) => *present = value.as_ref().to_vec(),
            None => self.all.push((tag, value.as_ref().to_vec())),
        }
        self
    }

    pub(crate) fn without(mut self, tag: u32) -> Self {
        self.all.retain(|(of, _)| *of != tag);
        self
    }

    pub(crate) fn get(&self, tag: u32) -> &[u8] {
        self.all.iter().find(|(of, _)| *of == tag).map_or(&[], |(_, value)| value)
    }

    /// The five tags of the credentials at the end, signed by this key pair.
    pub(crate) fn signed(mut self, id: &str, key: &KeyPair) -> Self {
        for tag in [354, 355, 1400, 1401, 1402] {
            self = self.without(tag);
        }
        let canonical: Vec<&[u8]> = SIGNED.iter().map(|tag| self.get(*tag)).collect();
        let signature = key.sign(&canonical.join(&b'\n'));
        self.with(354, id.len().to_string())
            .with(355, id)
            .with(1400, "CME-1-SHA-256")
            .with(1401, signature.len().to_string())
            .with(1402, signature)
    }

    /// The message with BodyLength and CheckSum.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (tag, value) in &self.all {
            body.extend(format!("{tag}=").into_bytes());
            body.extend(value);
            body.push(1);
        }
        frame(&self.begin_string, &body)
    }
}

/// A whole message of these fields.
pub(crate) fn frame(begin_string: &str, body: &[u8]) -> Vec<u8> {
    let mut out = format!("8={begin_string}\u{1}9={}\u{1}", body.len()).into_bytes();
    out.extend(body);
    let sum = out.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    out.extend(format!("10={sum:03}\u{1}").into_bytes());
    out
}

/// A message of the server.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Heard(pub(crate) Vec<u8>);

impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Heard {
    /// With `|` for SOH.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.0).replace('\u{1}', "|")
    }

    pub(crate) fn fields(&self) -> Vec<(u32, String)> {
        let shown = self.shown();
        let fields = shown.split_terminator('|').map(|field| field.split_once('=').unwrap());
        fields.map(|(tag, value)| (tag.parse().unwrap(), value.to_owned())).collect()
    }

    pub(crate) fn get(&self, tag: u32) -> Option<String> {
        self.fields().into_iter().find(|(of, _)| *of == tag).map(|(_, value)| value)
    }

    /// A value that must be there.
    pub(crate) fn at(&self, tag: u32) -> String {
        self.get(tag).unwrap_or_else(|| panic!("no {tag} in {self:?}"))
    }

    pub(crate) fn number(&self, tag: u32) -> u64 {
        self.at(tag).parse().unwrap_or_else(|_| panic!("{tag} in {self:?}"))
    }

    pub(crate) fn is(&self, msg_type: &str) -> bool {
        self.get(35).as_deref() == Some(msg_type)
    }

    /// Asserts that these tags have these values, and that those with `None` are not there.
    pub(crate) fn assert(&self, expected: &[(u32, Option<&str>)]) -> &Self {
        for (tag, value) in expected {
            assert_eq!(self.get(*tag).as_deref(), *value, "{tag} of {self:?}");
        }
        self
    }

    /// All fields but those that the standard header and trailer have: what a resend must not change.
    pub(crate) fn body(&self) -> Vec<(u32, String)> {
        const HEADER: [u32; 14] = [8, 9, 10, 34, 35, 43, 49, 50, 52, 56, 57, 122, 142, 369];
        self.fields().into_iter().filter(|(tag, _)| !HEADER.contains(tag)).collect()
    }
}

/// A connection.
pub(crate) struct FixPeer {
    pub(crate) stream: TcpStream,
    heard: Vec<u8>,
    pub(crate) seat: Seat,
    /// MsgSeqNum of the next message.
    pub(crate) next: u64,
    /// How far the server's clock is ahead.
    ahead_us: i64,
    /// From where it came.
    pub(crate) from: IpAddr,
    /// Every byte that came.
    pub(crate) all: Vec<u8>,
}

impl FixPeer {
    /// Now, as the server sees it, and so many milliseconds later.
    pub(crate) fn time(&self, later_ms: i64) -> String {
        utc(now_us() + self.ahead_us + later_ms * 1_000)
    }

    /// The usual header of a message.
    pub(crate) fn head(&self, msg_type: &str) -> Fields {
        let head = Fields::new().with(35, msg_type).with(34, self.next.to_string());
        let head = head.with(49, &self.seat.comp);
        if self.seat.gateway == Gateway::Trader {
            return head.with(52, self.time(0)).with(56, "CME");
        }
        let head = head.with(50, &self.seat.operator).with(52, self.time(0)).with(56, "CME");
        head.with(57, self.seat.gateway.sub_id()).with(142, "US,IL")
    }

    /// A Logon that has all it needs but its signature.
    pub(crate) fn unsigned_logon(&self) -> Fields {
        let head = self.head("A").with(108, "30").with(369, "0");
        head.with(1603, "Test Suite").with(1604, "1.0").with(1605, "Example")
    }

    /// A good Logon.
    pub(crate) fn logon(&self) -> Fields {
        self.sign(self.unsigned_logon())
    }

    pub(crate) fn sign(&self, fields: Fields) -> Fields {
        fields.signed(&self.seat.key_id, &self.seat.key)
    }

    /// A Logon with another access key, of nobody: it counts for no session.
    pub(crate) fn strange_logon(&self) -> Fields {
        self.unsigned_logon().signed("AbCdEfGhIjKlMnOpQrSt", &self.seat.key)
    }

    /// A trader's Logon with the password in 96 and, where there is one, the one-time password in 20030.
    pub(crate) fn trader_logon(&self, password: &str, code: Option<&str>) -> Fields {
        let head = self.head("A").with(98, "0").with(108, "30");
        let logon = head.with(95, password.len().to_string()).with(96, password);
        match code {
            Some(code) => logon.with(20030, code),
            None => logon,
        }
    }

    pub(crate) async fn send(&mut self, fields: &Fields) {
        self.send_bytes(&fields.bytes()).await;
    }

    /// The same, with the next number used up.
    pub(crate) async fn say(&mut self, fields: Fields) {
        self.send(&fields).await;
        self.next += 1;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        // What the server said before it closed is still to be heard.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next message, or `None` where the connection has ended.
    pub(crate) async fn hear_or_end(&mut self) -> Option<Heard> {
        loop {
            if let Some(len) = whole(&self.heard) {
                let message: Vec<u8> = self.heard.drain(..len).collect();
                return Some(Heard(message));
            }
            let mut bytes = [0; 16_384];
            let read = timeout(WAIT_MAX, self.stream.read(&mut bytes)).await;
            match read.expect("the server says nothing") {
                Ok(0) | Err(_) => {
                    assert!(self.heard.is_empty(), "half a message: {}", self.heard.escape_ascii());
                    return None;
                }
                Ok(read) => {
                    self.heard.extend_from_slice(&bytes[..read]);
                    self.all.extend_from_slice(&bytes[..read]);
                }
            }
        }
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        self.hear_or_end().await.expect("the connection ended instead of a message")
    }

    /// The next message, which must be of this type.
    pub(crate) async fn expect(&mut self, msg_type: &str) -> Heard {
        let heard = self.hear().await;
        assert!(heard.is(msg_type), "{heard:?} instead of 35={msg_type}");
        heard
    }

    /// The next message of this type.
    pub(crate) async fn hear_type(&mut self, msg_type: &str) -> Heard {
        loop {
            let heard = self.hear().await;
            if heard.is(msg_type) {
                return heard;
            }
        }
    }

    /// The connection ends, without another word.
    pub(crate) async fn expect_end(&mut self) {
        if let Some(heard) = self.hear_or_end().await {
            panic!("{heard:?} instead of the end");
        }
    }

    /// The Logout that refuses, and the end behind it.
    pub(crate) async fn refused(&mut self) -> Heard {
        let logout = self.expect("5").await;
        self.expect_end().await;
        logout
    }

    /// What refuses a Logon.
    pub(crate) async fn refused_shown(&mut self, logon: &Fields) -> Heard {
        self.send(logon).await;
        self.refused().await
    }

    /// The text of a Logon's refusal.
    pub(crate) async fn refused_logon(&mut self, logon: &Fields) -> String {
        self.send(logon).await;
        self.refused().await.at(58)
    }

    /// Hears our Logon and the Test Request behind it, and answers it.
    pub(crate) async fn welcomed(&mut self) -> Heard {
        self.next += 1;
        let logon = self.expect("A").await;
        let test = self.expect("1").await;
        let heartbeat = self.head("0").with(112, test.at(112));
        self.say(heartbeat).await;
        logon
    }

    /// Logs on.
    pub(crate) async fn log_on(&mut self) -> Heard {
        let logon = self.logon();
        self.send(&logon).await;
        self.welcomed().await
    }

    /// Logs out; the answer.
    pub(crate) async fn log_out(&mut self) -> Heard {
        let logout = self.head("5");
        self.say(logout).await;
        let answer = self.hear_type("5").await;
        self.expect_end().await;
        answer
    }

    /// A new order, and its report.
    pub(crate) async fn order(&mut self, id: &str) -> Heard {
        let order = self.an_order(id);
        self.say(order).await;
        let report = self.hear_type("8").await;
        report.assert(&[(11, Some(id))]);
        report
    }

    pub(crate) fn an_order(&self, id: &str) -> Fields {
        let order = self.head("D").with(11, id).with(21, "1").with(55, "ES").with(54, "1").with(38, "1");
        order.with(40, "2").with(44, "100").with(60, self.time(0))
    }

    /// A Test Request is answered: the session is alive and nothing stands before the answer.
    pub(crate) async fn ping(&mut self, id: &str) -> Heard {
        let request = self.head("1").with(112, id);
        self.say(request).await;
        let answer = self.expect("0").await;
        answer.assert(&[(112, Some(id))]);
        answer
    }
}

/// The bytes of the message at the front, where it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let at = bytes.windows(4).position(|window| window == b"\x0110=")?;
    let len = at + 8;
    (bytes.len() >= len).then_some(len)
}

/// An instant so many milliseconds from now, as SendingTime (52) has it.
pub(crate) fn time(later_ms: i64) -> String {
    utc(now_us() + later_ms * 1_000)
}

/// An instant as SendingTime (52) has it.
pub(crate) fn time_of(at: std::time::SystemTime) -> String {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap();
    utc(i64::try_from(since.as_micros()).unwrap())
}

impl User {
    /// The one-time password of now, as the server sees it.
    pub(crate) async fn code_of(&self, server: &Server) -> String {
        self.code_at(Wall::from_us(now_us() + server.ahead_us().await))
    }
}

fn utc(us: i64) -> String {
    // 2026-11-21T20:00:00.250Z becomes 20261121-20:00:00.250.
    let text = Wall::from_us(us).to_string();
    let (date, time) = text.split_once('T').unwrap();
    let mut out = date.replace('-', "");
    let (seconds, _) = time.split_at(8);
    write!(out, "-{seconds}.{:03}", us.rem_euclid(1_000_000) / 1_000).unwrap();
    out
}

impl Server {
    /// The sample FIX session of this number, from 0 to 11, with the first of its SenderCompIDs.
    pub(crate) fn seat(&self, number: usize, gateway: Gateway) -> Seat {
        Seat::of(&self.ready["fix_sessions"][number], 0, gateway)
    }

    /// A FIX session that no other test has: what counts against it is this test's own.
    pub(crate) fn own_session(&self, gateway: Gateway) -> Seat {
        let number = self.seats.fetch_add(1, Ordering::Relaxed);
        assert!(number < 8, "sample FIX sessions are used up");
        self.seat(number, gateway)
    }

    /// A stream that no other test has; others may use other streams of its FIX session.
    pub(crate) fn own_stream(&self) -> Seat {
        let number = self.streams.fetch_add(1, Ordering::Relaxed);
        assert!(number < 16, "sample streams are used up");
        let gateway = if number.is_multiple_of(2) { Gateway::Cgw } else { Gateway::Msgw };
        Seat::of(&self.ready["fix_sessions"][8 + number / 4], number / 2 % 2, gateway)
    }

    /// Where a FIX listener listens.
    pub(crate) fn fix_address(&self, gateway: Gateway) -> SocketAddr {
        let listener = &self.ready["fix"][gateway.name()];
        let port = listener["port"].as_u64().unwrap() as u16;
        SocketAddr::new(listener["host"].as_str().unwrap().parse().unwrap(), port)
    }

    /// Where a person logs on over FIX.
    pub(crate) fn trader_seat(user: &User) -> Seat {
        let secret = "A".repeat(43);
        Seat {
            session: String::new(),
            comp: user.userid.clone(),
            operator: String::new(),
            gateway: Gateway::Trader,
            key_id: "AbCdEfGhIjKlMnOpQrSt".to_owned(),
            key: KeyPair::new("AbCdEfGhIjKlMnOpQrSt", &Secret::new(secret.clone())).unwrap(),
            secret,
            firm: "NORTH".to_owned(),
        }
    }

    /// The text (58) that refuses a trader's Logon, on a connection of its own.
    pub(crate) async fn trader_refused(&self, user: &User, password: &str, code: Option<&str>) -> String {
        let mut peer = self.fix(&Self::trader_seat(user)).await;
        let logon = peer.trader_logon(password, code);
        peer.refused_logon(&logon).await
    }

    /// A connection to the FIX listener of a stream, from an address of its own.
    pub(crate) async fn fix(&self, seat: &Seat) -> FixPeer {
        self.fix_from(seat, source()).await
    }

    pub(crate) async fn fix_from(&self, seat: &Seat, from: IpAddr) -> FixPeer {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let stream = socket.connect(self.fix_address(seat.gateway)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        FixPeer {
            stream,
            heard: Vec::new(),
            seat: seat.clone(),
            next: 1,
            ahead_us: self.ahead_us().await,
            from,
            all: Vec::new(),
        }
    }

    /// A connection that is logged on, its next number being `next`.
    pub(crate) async fn logged_on(&self, seat: &Seat, next: u64) -> FixPeer {
        let mut peer = self.fix(seat).await;
        peer.next = next;
        peer.log_on().await;
        peer
    }

    /// How far the server's clock is ahead of ours.
    async fn ahead_us(&self) -> i64 {
        // Only a demo has a clock of its own.
        let Ok(now) = self.api().get("/api/v1/demo/clock").await else { return 0 };
        let now = Wall::parse(now["now"].as_str().unwrap()).unwrap();
        let ahead = now.as_us() - now_us();
        // What is less was the way of the answer.
        if ahead.abs() < 200_000 { 0 } else { ahead }
    }

    /// What the API knows of a FIX session.
    pub(crate) async fn session(&self, seat: &Seat) -> Value {
        self.api().get(&format!("/api/v1/sessions/{}", seat.session)).await.unwrap()
    }

    /// What the API knows of a stream.
    pub(crate) async fn stream_of(&self, seat: &Seat) -> Option<Value> {
        let streams = self.api().get("/api/v1/streams").await.unwrap();
        let mut streams = streams["items"].as_array().unwrap().iter();
        streams.find(|stream| stream["stream"] == seat.stream()).cloned()
    }

    /// Both next numbers of a stream, inbound first.
    pub(crate) async fn numbers(&self, seat: &Seat) -> (u64, u64) {
        let stream = self.stream_of(seat).await.unwrap();
        (stream["next_in"].as_u64().unwrap(), stream["next_out"].as_u64().unwrap())
    }

    /// Has the venue send messages to a stream; the first of their numbers.
    pub(crate) async fn venue_sends(&self, seat: &Seat, count: u64, text: &str) -> u64 {
        let path = format!("/api/v1/streams/{}/messages", seat.stream().replace('/', "%2F"));
        let sent = self.api().post(&path, &json!({"count": count, "text": text})).await.unwrap();
        sent["first"].as_u64().unwrap()
    }

    /// Opens a locked session again.
    pub(crate) async fn reopen(&self, seat: &Seat) {
        let path = format!("/api/v1/sessions/{}/reopen", seat.session);
        self.api().post(&path, &json!({"reason": "a test"})).await.unwrap();
    }

    /// Lets a session's refusals be forgotten: it is locked and opened again, which ends its connections.
    pub(crate) async fn forgive(&self, seat: &Seat) {
        let path = format!("/api/v1/sessions/{}/lock", seat.session);
        self.api().post(&path, &json!({"reason": "a test"})).await.unwrap();
        self.reopen(seat).await;
    }

    /// The check and the reason of the latest refused Logon from an address.
    pub(crate) async fn failed_check(&self, from: IpAddr) -> (String, String) {
        let entries = self.audit_from(from).await;
        let entry = entries.iter().find(|entry| entry["event"] == "logon-refused");
        let entry = entry.unwrap_or_else(|| panic!("no refused Logon in {entries:?}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut steps = entry["trace"]["steps"].as_array().into_iter().flatten();
        let failed = steps.find(|step| step["result"] == "failed");
        (failed.map(|step| text(&step["check"])).unwrap_or_default(), text(&entry["reason"]))
    }
}
