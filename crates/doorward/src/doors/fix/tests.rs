//! The thread of the FIX door against real sockets, with a gate of its own that lets everybody in.

mod tls;
mod turns;

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use doorward_core::ask::{Ask, Judged, LogonRefusal, SessionGrant, SignedLogon, Verdict};
use doorward_core::audit::{Actor, Context, Deny, Door as DoorKind, Entry, Event, Record};
use doorward_core::calendar::{Calendar, Hours, Mode};
use doorward_core::fix::build::Builder;
use doorward_core::fix::frame::{Cut, Cutter};
use doorward_core::fix::message::Message;
use doorward_core::fix::session::Note;
use doorward_core::id::{AccessKeyId, CompId, CompStem, FirmCode, OperatorId, SessionId};
use doorward_core::identity::fix_session::{FixSession, SessionKind};
use doorward_core::identity::key_pair::Environment;
use doorward_core::identity::net::Network;
use doorward_core::identity::person::Standing;
use doorward_core::stream::{Gateway, LeftBehind, Numbers, StreamKey};
use doorward_core::time::Wall;
use futures_util::future::BoxFuture;

use super::*;
use crate::backend::sim::Sim;
use crate::backend::{Backend, From, Replies};
use crate::clock::Clock;
use crate::config::{FixListener, FixProfile};
use crate::fault::Fault;
use crate::gate::fix::{EndOf, FixControl as _, LogonSave, SetNext};
use crate::gate::{Origin, new_attempt};
use crate::journal::{Disk, FullDisk, PowerDisk, RealDisk};
use crate::streams::{Settings as LogSettings, StreamLog};

/// Longest that anything here takes.
const SOON: Duration = Duration::from_secs(30);

type Done = Box<dyn FnOnce(bool) + Send>;

/// Lets everybody in whose access key is not `BAD…`, and remembers what it was told.
#[derive(Default)]
struct Open {
    granted: AtomicUsize,
    booked: Mutex<HashMap<StreamKey, Numbers>>,
    cannot_save: AtomicBool,
    /// The next answer about something saved is held back.
    hold: AtomicBool,
    held: Mutex<Vec<Done>>,
    notes: Mutex<Vec<(Event, Option<Deny>)>>,
    /// Asking for the numbers in the book waits for this.
    book: Mutex<()>,
    asked_book: AtomicUsize,
    /// What is done when a Logon with access key `BOOM…` is judged.
    boom: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Authority for Open {
    fn judge(&self, logon: &SignedLogon, _: &Origin) -> Judged {
        if logon.access_key_id.starts_with(b"BOOM") {
            let boom = self.boom.lock().unwrap().take();
            boom.into_iter().for_each(|boom| boom());
        }
        let record = Box::new(record(Event::LogonGranted));
        let known = CompId::parse(&logon.sender_comp_id).zip(OperatorId::parse(&logon.operator_id));
        let verdict = match known {
            Some((comp, operator)) if !logon.access_key_id.starts_with(b"BAD") => Ok(SessionGrant {
                comp,
                stream: StreamKey::Session { gateway: logon.gateway, session: comp.session, firm: comp.firm },
                firm_code: FirmCode::parse("NORTH").unwrap(),
                operator,
                access_key: AccessKeyId::parse(&logon.access_key_id).unwrap(),
            }),
            Some(_) | None => Err(LogonRefusal::Refused),
        };
        Judged { verdict, strikes: 0, record }
    }

    fn save(&self, saves: Vec<LogonSave>, done: Done) {
        let can_save = !self.cannot_save.load(Ordering::Relaxed);
        for LogonSave { record, numbers } in saves {
            let granted = record.entry.event == Event::LogonGranted;
            self.granted.fetch_add(usize::from(granted && can_save), Ordering::Relaxed);
            self.notes.lock().unwrap().push((record.entry.event, record.entry.reason));
            self.booked.lock().unwrap().extend(numbers.filter(|_| can_save));
        }
        if self.hold.swap(false, Ordering::Relaxed) {
            return self.held.lock().unwrap().push(done);
        }
        done(can_save);
    }

    fn ask(self: Arc<Self>, _: Ask, _: Origin) -> BoxFuture<'static, Verdict> {
        Box::pin(std::future::ready(Verdict::Refused))
    }

    fn record(&self, note: Note, _: &Origin) -> Option<Record> {
        let mut record = record(note.event);
        record.entry.reason = note.reason;
        Some(record)
    }

    fn left(&self, _: &Origin) {}

    fn streams(&self) -> Result<Vec<(StreamKey, Numbers)>, Fault> {
        self.asked_book.fetch_add(1, Ordering::Relaxed);
        let _book = self.book.lock().unwrap();
        Ok(self.booked.lock().unwrap().iter().map(|(stream, numbers)| (*stream, *numbers)).collect())
    }

    fn clock_good(&self) -> bool {
        true
    }

    fn listens_now(&self) {}
}

fn record(event: Event) -> Record {
    let context = Context { at: now(), door: DoorKind::Fix, source: None, attempt: new_attempt() };
    Record { entry: Entry::new(&context, event, Actor::Nobody), changes: Vec::new() }
}

/// What a client left behind, as the venue was told of it.
type Told = Arc<Mutex<Vec<(StreamKey, LeftBehind)>>>;

/// The simulated venue, and what it was told.
struct Venue(Sim, Told);

impl Backend for Venue {
    fn deliver(&mut self, from: &From<'_>, message: &Message<'_>, replies: &mut Replies) {
        self.0.deliver(from, message, replies);
    }

    fn left_behind(&mut self, stream: &StreamKey, left: &LeftBehind) {
        self.1.lock().unwrap().push((*stream, *left));
    }

    fn restart(&mut self) {
        self.0.restart();
    }
}

/// A door on loopback.
struct World {
    told: Told,
    running: Option<Running>,
    runtime: tokio::runtime::Runtime,
    authority: Arc<Open>,
    disk_full: Arc<AtomicBool>,
    /// Instead of a real disk.
    power: Option<PowerDisk>,
    folder: tempfile::TempDir,
    clock: Arc<Clock>,
}

fn listener(connections_max: usize) -> FixListener {
    FixListener {
        name: "cgw".to_owned(),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        profile: FixProfile::CmeSecure,
        gateway: Gateway::Cgw,
        connections_max: Some(connections_max),
        tls: None,
        insecure_off_loopback: false,
        proxy_protocol: false,
    }
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut FixSettings)) -> Self {
        Self::on(None, change)
    }

    fn on(power: Option<PowerDisk>, change: impl FnOnce(&mut FixSettings)) -> Self {
        let mut world = Self::closed();
        world.power = power;
        world.open(change);
        world
    }

    fn closed() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self {
            running: None,
            runtime,
            told: Arc::default(),
            authority: Arc::default(),
            disk_full: Arc::default(),
            power: None,
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(Clock::system()),
        }
    }

    fn open(&mut self, change: impl FnOnce(&mut FixSettings)) {
        let (fix, parts) = self.parts(change);
        let _inside = self.runtime.enter();
        self.running = Some(start(fix, parts).unwrap());
    }

    fn parts(&self, change: impl FnOnce(&mut FixSettings)) -> (FixSettings, Parts) {
        let disk: Arc<dyn Disk> = match &self.power {
            Some(disk) => Arc::new(disk.clone()),
            None => Arc::new(RealDisk::open(self.folder.path()).unwrap()),
        };
        let disk: Arc<dyn Disk> = Arc::new(FullDisk::new(disk, Arc::clone(&self.disk_full)));
        let settings = LogSettings { segment_bytes: 1 << 20, ..LogSettings::new("test") };
        let mut fix = FixSettings {
            listeners: vec![(listener(100), None)],
            venue: "CME".to_owned(),
            portal: None,
            code_tag: 20_030,
            outbound_bytes_max: 1 << 20,
            trusted: Vec::new(),
            descriptors: 4_096,
            keep: Duration::from_secs(86_400),
            calendar: Arc::new(Calendar::new(always()).unwrap()),
            delay: Duration::ZERO,
        };
        change(&mut fix);
        let parts = Parts {
            authority: Arc::clone(&self.authority) as Arc<dyn Authority>,
            clock: Arc::clone(&self.clock),
            log: StreamLog::open(disk, settings).unwrap(),
            backend: Box::new(Venue(Sim::default(), Arc::clone(&self.told))),
            runtime: self.runtime.handle().clone(),
        };
        (fix, parts)
    }

    fn handle(&self) -> FixHandle {
        self.running.as_ref().unwrap().handle.clone()
    }

    fn connect(&self) -> Client {
        Client::connect(self.running.as_ref().unwrap().bound[0].address)
    }

    /// Logged on, with our Test Request answered.
    fn logged_on(&self, comp: &str, seq_num: u64) -> Client {
        let mut client = self.connect();
        client.log_on(comp, seq_num);
        client
    }

    /// Logged on as soon as the log is open again.
    fn log_on_soon(&self, comp: &str, seq_num: u64) -> Client {
        loop {
            let mut client = self.connect();
            let logon = client.logon(comp, seq_num);
            client.stream.write_all(&logon).unwrap();
            if client.hear().contains("|35=A|") {
                client.hear_type("1");
                return client;
            }
        }
    }

    fn close(&mut self) {
        let running = self.running.take().unwrap();
        self.runtime.block_on(running.stop(Duration::from_secs(5)));
    }

    /// Waits until an answer is held back.
    fn wait_until_held(&self) {
        let began = std::time::Instant::now();
        while self.authority.held.lock().unwrap().is_empty() {
            assert!(began.elapsed() < SOON, "nothing was saved");
            std::thread::yield_now();
        }
    }

    /// Gives the answers that were held back.
    fn let_go(&self) {
        let held = std::mem::take(&mut *self.authority.held.lock().unwrap());
        held.into_iter().for_each(|done| done(true));
    }

    /// All streams, once everything that came before was carried out.
    fn shown(&self) -> Vec<crate::gate::fix::StreamInfo> {
        self.runtime.block_on(self.handle().streams()).unwrap()
    }

    fn send(&self, stream: StreamKey, text: &str) -> Result<Vec<u64>, Unfit> {
        let news = (b"B".to_vec(), format!("148={text}\x0133=1\x0158=text\x01").into_bytes());
        self.runtime.block_on(self.handle().send(stream, vec![news]))
    }

    fn noted(&self) -> Vec<Deny> {
        self.authority.notes.lock().unwrap().iter().filter_map(|(_, reason)| *reason).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.close();
        }
    }
}

/// A client that says what it is told to say.
struct Client {
    stream: TcpStream,
    heard: Vec<u8>,
    comp: String,
    next: u64,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, heard: Vec::new(), comp: String::new(), next: 1 }
    }

    /// A message with the usual header and these fields, written `11=a|55=ES|`.
    fn build(&mut self, msg_type: &str, body: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = Builder::begin(&mut out, b"FIX.4.2", msg_type.as_bytes())
            .number(34, self.next)
            .field(49, &self.comp)
            .field(50, "OPER")
            .time(52, now())
            .field(56, "CME")
            .field(57, "G")
            .field(142, "US,IL")
            .raw(body.replace('|', "\x01").as_bytes())
            .finish();
        self.next += 1;
        out
    }

    fn say(&mut self, msg_type: &str, body: &str) {
        let bytes = self.build(msg_type, body);
        self.stream.write_all(&bytes).unwrap();
    }

    fn logon(&mut self, comp: &str, seq_num: u64) -> Vec<u8> {
        self.logon_with(comp, seq_num, "")
    }

    fn logon_with(&mut self, comp: &str, seq_num: u64, more: &str) -> Vec<u8> {
        self.comp = comp.to_owned();
        self.next = seq_num;
        let signature = "A".repeat(43);
        let key = match &comp[..3] {
            "BAD" => "BADxM33uE81ohWuVRtWT",
            "BOO" => "BOOMM33uE81ohWuVRtWT",
            _ => "oNDxM33uE81ohWuVRtWT",
        };
        self.build(
            "A",
            &format!(
                "108=30|354=20|355={key}|1400=CME-1-SHA-256|1401=43|1402={signature}|1603=Test|1604=1|1605=Us|{more}"
            ),
        )
    }

    fn log_on(&mut self, comp: &str, seq_num: u64) {
        let logon = self.logon(comp, seq_num);
        self.stream.write_all(&logon).unwrap();
        let answer = self.hear();
        assert!(answer.contains("|35=A|"), "{answer}");
        let test = self.hear();
        assert!(test.contains("|35=1|"), "{test}");
        let id = get(&test, "112").unwrap().to_owned();
        self.say("0", &format!("112={id}|"));
    }

    /// The next message; fails where the connection ends instead.
    fn hear(&mut self) -> String {
        self.hear_or_end().expect("the connection ended")
    }

    /// The next message, or `None` where the connection has ended.
    fn hear_or_end(&mut self) -> Option<String> {
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
    fn hear_type(&mut self, msg_type: &str) -> String {
        loop {
            let message = self.hear();
            if get(&message, "35") == Some(msg_type) {
                return message;
            }
        }
    }
}

fn now() -> Wall {
    Clock::system().now().wall
}

fn get<'a>(message: &'a str, tag: &str) -> Option<&'a str> {
    message.split('|').find_map(|field| field.strip_prefix(tag)?.strip_prefix('='))
}

const ORDER: &str = "11=o1|21=1|55=ES|54=1|38=10|40=2|44=100|60=20261121-00:00:00|";

#[test]
fn a_logon_an_order_and_a_logout() {
    let mut world = World::new();
    let mut client = world.logged_on("ABC001N", 1);
    client.say("D", ORDER);
    let report = client.hear_type("8");
    assert!(report.contains("|150=0|39=0|") && report.contains("|11=o1|"), "{report}");
    assert_eq!(
        (get(&report, "49"), get(&report, "56"), get(&report, "57")),
        (Some("CME"), Some("ABC001N"), Some("OPER"))
    );
    client.say("5", "");
    client.hear_type("5");
    assert_eq!(client.hear_or_end(), None);
    assert_eq!(world.authority.granted.load(Ordering::Relaxed), 1);
    world.close();
    // Numbers go on where they were, exactly.
    world.open(|_| {});
    let shown = world.runtime.block_on(world.handle().streams()).unwrap();
    assert_eq!((shown.len(), shown[0].numbers.next_in, shown[0].live.is_none()), (1, client.next, true));
    let mut again = world.connect();
    again.log_on("ABC001N", client.next);
}

#[test]
fn f6_a_logon_in_pieces_of_one_byte_is_a_logon() {
    let world = World::new();
    let mut client = world.connect();
    for byte in client.logon("ABC001N", 1) {
        client.stream.write_all(&[byte]).unwrap();
    }
    assert!(client.hear().contains("|35=A|"));
}

#[test]
fn what_a_crash_cuts_off_goes_on_and_the_venue_knows_its_orders() {
    let mut world = World::new();
    let mut client = world.logged_on("ABC001N", 1);
    client.say("D", ORDER);
    client.hear_type("8");
    drop(client);
    world.close();
    world.open(|_| {});
    let mut client = world.connect();
    client.log_on("ABC001N", 4);
    client.say("F", "11=c1|41=o1|55=ES|54=1|60=20261121-00:00:00|");
    let report = client.hear_type("8");
    assert!(report.contains("|150=4|") && report.contains("|41=o1|"), "{report}");
}

#[test]
fn what_the_venue_sends_to_somebody_who_is_away_waits_and_is_fetched_whole() {
    let world = World::new();
    let mut client = world.logged_on("ABC001N", 1);
    client.say("5", "");
    while client.hear_or_end().is_some() {}
    let stream = StreamKey::parse("cgw/ABC/001").unwrap();
    let news = |n: u64| (b"B".to_vec(), format!("148=news {n}\x0133=1\x0158=text\x01").into_bytes());
    let messages: Vec<_> = (0..1_000).map(news).collect();
    let numbers = world.runtime.block_on(world.handle().send(stream, messages)).unwrap();
    assert_eq!(numbers.len(), 1_000);
    let mut back = world.connect();
    back.log_on("ABC001N", client.next);
    back.say("2", &format!("7={}|16=0|", numbers[0]));
    for (n, number) in numbers.iter().enumerate() {
        let message = back.hear_type("B");
        assert_eq!(get(&message, "34"), Some(number.to_string().as_str()));
        assert!(
            message.contains(&format!("|148=news {n}|33=1|58=text|")) && message.contains("|43=Y|"),
            "{message}"
        );
    }
}

#[test]
fn the_second_of_two_logons_for_a_stream_is_refused_and_the_first_is_unharmed() {
    let world = World::with(|settings| settings.delay = Duration::from_millis(300));
    let (mut one, mut two) = (world.connect(), world.connect());
    let logon = one.logon("ABC001N", 1);
    one.stream.write_all(&logon).unwrap();
    let logon = two.logon("ABC001N", 1);
    two.stream.write_all(&logon).unwrap();
    let answers = [one.hear(), two.hear()];
    let refused = "58=Invalid Logon. Logon Already in Progress. Logout Forced|";
    assert_eq!(answers.iter().filter(|answer| answer.contains("|35=A|")).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.contains(refused)).count(), 1, "{answers:?}");
}

#[test]
fn q4_a_judgement_that_comes_too_late_for_its_connection_is_written_down() {
    let world = World::with(|settings| settings.delay = Duration::from_millis(100));
    let mut client = world.connect();
    let logon = client.logon("ABC001N", 1);
    client.stream.write_all(&logon).unwrap();
    drop(client);
    let began = std::time::Instant::now();
    let told = (Event::LogonRefused, Some(Deny::NotVerified));
    while !world.authority.notes.lock().unwrap().contains(&told) {
        assert!(began.elapsed() < SOON, "nothing was written down");
        std::thread::yield_now();
    }
    assert_eq!(world.authority.granted.load(Ordering::Relaxed), 0);
    drop(world.logged_on("ABC001N", 1));
}

#[test]
fn a_live_session_that_answers_the_probe_stays() {
    let world = World::new();
    let mut live = world.logged_on("ABC001N", 1);
    live.say("1", "112=mark|");
    live.hear_type("0");
    let mut second = world.connect();
    let next = live.next;
    let logon = second.logon("ABC001N", next);
    second.stream.write_all(&logon).unwrap();
    let probe = live.hear_type("1");
    let id = get(&probe, "112").unwrap().to_owned();
    live.say("0", &format!("112={id}|"));
    let answer = second.hear();
    assert!(answer.contains("58=Invalid Logon. Already logged on. Logout forced.|"), "{answer}");
    live.say("1", "112=still|");
    assert!(live.hear_type("0").contains("112=still"));
}

#[test]
fn a_live_session_that_is_silent_makes_room_for_its_successor() {
    let world = World::new();
    let mut live = world.logged_on("ABC001N", 1);
    live.say("1", "112=mark|");
    live.hear_type("0");
    let mut second = world.connect();
    second.log_on("ABC001N", live.next);
    live.hear_type("1");
    while live.hear_or_end().is_some() {}
}

#[test]
fn a_logon_while_the_holder_renews_its_own_hears_so_at_once() {
    let world = World::new();
    let mut live = world.logged_on("ABC001N", 1);
    live.say("1", "112=mark|");
    live.hear_type("0");
    world.authority.hold.store(true, Ordering::Relaxed);
    let (next, mut second) = (live.next, world.connect());
    let logon = live.logon_with("ABC001N", 1, "141=Y|");
    live.stream.write_all(&logon).unwrap();
    world.wait_until_held();
    let logon = second.logon("ABC001N", next);
    second.stream.write_all(&logon).unwrap();
    let answer = second.hear();
    assert!(answer.contains("58=Invalid Logon. Logon Already in Progress. Logout Forced|"), "{answer}");
    world.let_go();
    live.hear_type("A");
}

#[test]
fn s8_a_session_that_ends_lets_nobody_in_who_waits_for_its_stream() {
    let world = World::new();
    let mut live = world.logged_on("ABC001N", 1);
    live.say("1", "112=mark|");
    live.hear_type("0");
    let mut waiting = world.connect();
    let logon = waiting.logon("ABC001N", live.next);
    waiting.stream.write_all(&logon).unwrap();
    live.hear_type("1");
    world.handle().end(EndOf::Session(doorward_core::id::SessionId::parse(b"ABC").unwrap()));
    live.hear_type("5");
    drop(live);
    let answer = waiting.hear();
    assert_eq!(get(&answer, "35"), Some("5"), "{answer}");
    assert_eq!(waiting.hear_or_end(), None);
}

#[test]
fn s8_a_session_that_permits_less_ends_the_connections_that_it_would_not_let_in() {
    let world = World::new();
    let all = |change: &dyn Fn(&mut FixSession)| {
        let mut session = FixSession {
            id: SessionId::parse(b"ABC").unwrap(),
            firm: FirmCode::parse("NORTH").unwrap(),
            kind: SessionKind::Order,
            environment: Environment::Test,
            added_at: Wall::default(),
            standing: Standing::Active,
            sender_comp_ids: ["ABC001", "ABC002"]
                .map(|stem| CompStem::parse(stem.as_bytes()).unwrap())
                .into(),
            operator_ids: [OperatorId::parse(b"OPER").unwrap()].into(),
            sources: Vec::new(),
            pairs: Vec::new(),
            version: 2,
        };
        change(&mut session);
        world.handle().end(EndOf::Narrowed(Box::new(session)));
    };
    let goes_on = |client: &mut Client| {
        client.say("1", "112=still|");
        assert!(client.hear_type("0").contains("112=still"));
    };
    let ended = |client: &mut Client| {
        client.hear_type("5");
        client.say("5", "");
        assert_eq!(client.hear_or_end(), None);
    };
    let (mut one, mut two) = (world.logged_on("ABC001N", 1), world.logged_on("ABC002N", 1));
    let mut other = world.logged_on("XYZ001N", 1);
    all(&|session| session.sources = vec![Network::parse("127.0.0.0/8").unwrap()]);
    goes_on(&mut two);
    all(&|session| session.sender_comp_ids.retain(|stem| stem.to_string() == "ABC001"));
    ended(&mut two);
    goes_on(&mut one);
    all(&|session| session.sources = vec![Network::parse("192.0.2.0/24").unwrap()]);
    ended(&mut one);
    let mut one = world.logged_on("ABC001N", one.next);
    all(&|session| session.operator_ids = [OperatorId::parse(b"ELSE").unwrap()].into());
    ended(&mut one);
    goes_on(&mut other);
}

#[test]
fn a_stream_is_free_again_whatever_its_connection_ends_with() {
    let world = World::new();
    let mut client = world.logged_on("ABC001N", 1);
    let logon = client.logon("ABC001N", 3);
    let mut out = Vec::new();
    let _ = Builder::begin(&mut out, b"FIX.4.2", b"A").number(34, 3).finish();
    assert!(out.len() < logon.len(), "one without a SenderCompID (49)");
    client.stream.write_all(&out).unwrap();
    drop(client);
    let mut back = world.connect();
    let logon = back.logon("ABC001N", 4);
    back.stream.write_all(&logon).unwrap();
    back.hear_type("A");
    world.send(StreamKey::parse("cgw/ABC/001").unwrap(), "there").unwrap();
    assert!(back.hear_type("B").contains("|148=there|"));
}

#[test]
fn f6_s10_silent_connections_make_room_and_a_logon_gets_through() {
    let world = World::with(|settings| settings.listeners = vec![(listener(10), None)]);
    let mut silent: Vec<Client> = (0..30).map(|_| world.connect()).collect();
    let mut client = world.logged_on("ABC001N", 1);
    for gone in &mut silent[..20] {
        assert_eq!(gone.hear_or_end(), None);
    }
    client.say("1", "112=there|");
    assert!(client.hear_type("0").contains("112=there"));
    assert!(world.noted().contains(&Deny::Evicted));
}

#[test]
fn l1_a_client_that_does_not_read_is_closed_at_the_limit_and_others_are_unharmed() {
    let world = World::with(|settings| settings.outbound_bytes_max = 64 * 1024);
    let mut deaf = world.logged_on("ABC001N", 1);
    let mut other = world.logged_on("ABC002N", 1);
    let mut burst = Vec::new();
    for n in 0..100_000 {
        burst.extend(deaf.build("1", &format!("112=burst-{n}|")));
    }
    // It may be closed before it has said everything.
    let _ = deaf.stream.write_all(&burst);
    other.say("1", "112=there|");
    assert!(other.hear_type("0").contains("112=there"));
    while deaf.hear_or_end().is_some() {}
    assert!(world.noted().contains(&Deny::NotReading));
}

#[test]
fn f8_a_reset_that_was_written_down_and_not_answered_leaves_the_old_numbers() {
    let mut world = World::new();
    let mut live = world.logged_on("ABC001N", 1);
    live.say("D", ORDER);
    live.hear_type("8");
    let next = live.next;
    world.authority.hold.store(true, Ordering::Relaxed);
    let logon = live.logon_with("ABC001N", 1, "141=Y|");
    live.stream.write_all(&logon).unwrap();
    world.wait_until_held();
    drop(live);
    world.close();
    world.open(|_| {});
    let mut back = world.logged_on("ABC001N", next);
    back.say("1", "112=nothing is asked for again|");
    let answer = back.hear();
    assert!(answer.contains("|35=0|"), "{answer}");
    assert_eq!(world.shown()[0].numbers.epoch.reset, 0);
}

#[test]
fn f8_a_reset_that_could_not_be_stored_and_is_there_all_the_same_leaves_the_old_numbers() {
    let disk = PowerDisk::new();
    let world = World::on(Some(disk.clone()), |_| {});
    let mut live = world.logged_on("ABC001N", 1);
    live.say("D", ORDER);
    let report = live.hear_type("8");
    let next = live.next;
    disk.syncs_fail(true);
    let logon = live.logon_with("ABC001N", 1, "141=Y|");
    live.stream.write_all(&logon).unwrap();
    assert_eq!(live.hear_or_end(), None, "not a word of what is not stored");
    disk.syncs_fail(false);
    let mut back = world.log_on_soon("ABC001N", next);
    back.say("1", "112=nothing is asked for again|");
    let answer = back.hear();
    assert!(answer.contains("|35=0|"), "{answer}");
    assert_eq!(world.shown()[0].numbers.epoch.reset, 2, "the reset itself never holds again");
    let number = get(&report, "34").unwrap();
    back.say("2", &format!("7={number}|16={number}|"));
    let again = back.hear_type("8");
    assert!(again.contains("|43=Y|") && again.contains(&format!("|34={number}|")), "{again}");
}

#[test]
fn f8_a_first_logon_that_could_not_be_stored_leaves_nothing() {
    let world = World::new();
    world.disk_full.store(true, Ordering::Relaxed);
    world.authority.cannot_save.store(true, Ordering::Relaxed);
    world.send(StreamKey::parse("cgw/ABC/001").unwrap(), "lost").unwrap_err();
    world.disk_full.store(false, Ordering::Relaxed);
    world.authority.cannot_save.store(false, Ordering::Relaxed);
    let back = world.log_on_soon("ABC001N", 1);
    assert_eq!(world.shown()[0].numbers.next_out, 3, "our Logon was the first message");
    drop(back);
}

#[test]
fn f8_without_a_disk_nobody_hears_of_what_is_not_stored_and_logons_wait_for_it() {
    let world = World::new();
    let mut client = world.logged_on("ABC001N", 1);
    let mut idle = world.logged_on("ABC002N", 1);
    world.disk_full.store(true, Ordering::Relaxed);
    client.say("D", ORDER);
    while let Some(message) = client.hear_or_end() {
        assert_ne!(get(&message, "35"), Some("8"), "{message}");
    }
    let mut refused = world.connect();
    let logon = refused.logon("ABC001N", 3);
    refused.stream.write_all(&logon).unwrap();
    let answer = refused.hear();
    assert!(answer.contains("Logon Could not be Authenticated at This Time."), "{answer}");
    idle.say("1", "112=still|");
    assert!(idle.hear_type("0").contains("112=still"), "who stores nothing goes on");
    world.disk_full.store(false, Ordering::Relaxed);
    // It is opened again within a second or so.
    let mut back = loop {
        let mut back = world.connect();
        let logon = back.logon("ABC001N", 3);
        back.stream.write_all(&logon).unwrap();
        if back.hear().contains("|35=A|") {
            break back;
        }
    };
    // What was not written down has to come again: here only a Heartbeat, whose place is filled.
    let resend = back.hear_type("2");
    let (begin, next) = (get(&resend, "7").unwrap().parse().unwrap(), back.next);
    back.next = begin;
    back.say("4", &format!("43=Y|122=20261121-00:00:00.000|123=Y|36={next}|"));
    back.next = next;
    back.say("D", ORDER);
    assert!(back.hear_type("8").contains("|150=0|"), "the order that was lost is no duplicate");
}

#[test]
fn while_the_log_is_opened_again_whoever_is_logged_on_is_served() {
    let world = World::new();
    let (mut client, mut idle) = (world.logged_on("ABC001N", 1), world.logged_on("ABC002N", 1));
    let asked = world.authority.asked_book.load(Ordering::Relaxed);
    let book = world.authority.book.lock().unwrap();
    world.disk_full.store(true, Ordering::Relaxed);
    client.say("D", ORDER);
    while client.hear_or_end().is_some() {}
    world.disk_full.store(false, Ordering::Relaxed);
    let began = std::time::Instant::now();
    while world.authority.asked_book.load(Ordering::Relaxed) == asked {
        assert!(began.elapsed() < SOON, "the log was not opened again");
        std::thread::yield_now();
    }
    // The book does not answer yet.
    idle.say("1", "112=still|");
    assert!(idle.hear_type("0").contains("112=still"));
    drop(book);
    while !world.handle().is_storing() {
        assert!(began.elapsed() < SOON, "the log stayed closed");
        std::thread::yield_now();
    }
    idle.say("D", ORDER);
    assert!(idle.hear_type("8").contains("|150=0|"));
}

#[test]
fn a_thread_that_breaks_off_says_so_and_leaves_no_connection_hanging() {
    let world = World::new();
    let mut live = world.logged_on("ABC001N", 1);
    *world.authority.boom.lock().unwrap() = Some(Box::new(|| panic!("planted")));
    let mut client = world.connect();
    let logon = client.logon("BOO001N", 1);
    client.stream.write_all(&logon).unwrap();
    assert_eq!(client.hear_or_end(), None);
    assert_eq!(live.hear_or_end(), None);
    let handle = world.handle();
    world.runtime.block_on(async { tokio::time::timeout(SOON, handle.broken()).await }).unwrap();
    assert!(!handle.is_storing());
}

#[test]
fn f8_without_a_disk_nobody_gets_a_stream_whose_numbers_are_not_stored() {
    let world = World::new();
    let mut live = world.logged_on("ABC001N", 1);
    live.say("1", "112=mark|");
    live.hear_type("0");
    let mut waiting = world.connect();
    let logon = waiting.logon("ABC001N", live.next);
    waiting.stream.write_all(&logon).unwrap();
    live.hear_type("1");
    world.disk_full.store(true, Ordering::Relaxed);
    world.send(StreamKey::parse("cgw/ABC/001").unwrap(), "lost").unwrap_err();
    assert_eq!(live.hear_or_end(), None);
    let answer = waiting.hear();
    assert!(answer.contains("Logon Could not be Authenticated at This Time."), "{answer}");
}

#[test]
fn f8_who_counts_on_numbers_that_could_not_be_stored_is_closed() {
    let world = World::new();
    let mut client = world.logged_on("ABC001N", 1);
    world.disk_full.store(true, Ordering::Relaxed);
    // Enough for numbers to be reserved ahead.
    let burst: Vec<u8> = (0..50).flat_map(|n| client.build("1", &format!("112=burst-{n}|"))).collect();
    client.stream.write_all(&burst).unwrap();
    while client.hear_or_end().is_some() {}
}

#[test]
fn a_stop_logs_everybody_out() {
    let mut world = World::new();
    let mut client = world.logged_on("ABC001N", 1);
    let stopping = world.running.take().unwrap();
    let stopped = world.runtime.spawn(stopping.stop(Duration::from_secs(10)));
    let logout = client.hear_type("5");
    assert!(logout.contains("58=Server is stopping. Please reconnect. Logout forced.|"), "{logout}");
    client.say("5", "");
    assert_eq!(client.hear_or_end(), None);
    world.runtime.block_on(stopped).unwrap();
}

#[test]
fn numbers_are_set_while_nobody_is_logged_on() {
    let world = World::new();
    let stream = StreamKey::parse("cgw/ABC/001").unwrap();
    let mut client = world.logged_on("ABC001N", 1);
    let set = |stream, next_in, next_out| {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let record = Box::new(record(Event::FixSessionChanged));
        world.handle().set_next(SetNext { stream, next_in, next_out, record }, answer);
        world.runtime.block_on(answered).unwrap().map_err(|misuse| misuse.field)
    };
    assert_eq!(set(stream, Some(9), None), Err("stream"), "somebody is logged on");
    world.handle().end(EndOf::Session(doorward_core::id::SessionId::parse(b"ABC").unwrap()));
    client.hear_type("5");
    client.say("5", "");
    assert_eq!(client.hear_or_end(), None);
    let numbers = set(stream, Some(50), Some(70)).unwrap();
    assert_eq!((numbers.next_in, numbers.next_out), (50, 70));
    assert_eq!(set(stream, Some(0), None), Err("next_in"));
    assert_eq!(set(stream, None, Some(7)), Err("next_out"));
    let other = StreamKey::parse("msgw-92/ABC/001").unwrap();
    assert_eq!(set(other, Some(1), None), Err("stream"), "no such listener");
    world.logged_on("ABC001N", 50);
}

#[test]
fn f8_what_the_venue_sends_while_numbers_are_set_is_kept_under_numbers_of_its_own() {
    let stream = StreamKey::parse("cgw/ABC/001").unwrap();
    for next_in in [2, 50] {
        let world = World::new();
        let mut client = world.logged_on("ABC001N", 1);
        client.say("5", "");
        while client.hear_or_end().is_some() {}
        let next_out = world.shown()[0].numbers.next_out;
        world.authority.hold.store(true, Ordering::Relaxed);
        let (answer, answered) = tokio::sync::oneshot::channel();
        let record = Box::new(record(Event::FixSessionChanged));
        let ask = SetNext { stream, next_in: Some(next_in), next_out: None, record };
        world.handle().set_next(ask, answer);
        world.wait_until_held();
        assert_eq!(world.send(stream, "meanwhile").unwrap(), [next_out]);
        world.let_go();
        let set = world.runtime.block_on(answered).unwrap().unwrap();
        assert_eq!((set.next_in, set.next_out), (next_in, next_out + 1));
        let mut back = world.logged_on("ABC001N", next_in);
        back.say("2", &format!("7={next_out}|16=0|"));
        let message = back.hear_type("B");
        assert!(message.contains("|148=meanwhile|"), "{message}");
        assert_eq!(get(&message, "34"), Some(next_out.to_string().as_str()));
    }
}

/// Two messages behind a first session and one behind a second, none of them fetched; the number of the first.
fn with_undelivered(world: &World) -> (u64, u64) {
    let stream = StreamKey::parse("cgw/ABC/001").unwrap();
    let mut client = world.logged_on("ABC001N", 1);
    client.say("5", "");
    while client.hear_or_end().is_some() {}
    let first = world.send(stream, "one").unwrap()[0];
    world.send(stream, "two").unwrap();
    let mut client = world.logged_on("ABC001N", client.next);
    client.say("5", "");
    while client.hear_or_end().is_some() {}
    let last = world.send(stream, "three").unwrap()[0];
    assert!(last > first + 2, "there are other numbers among them");
    let shown = world.shown();
    assert_eq!((shown[0].undelivered, shown[0].numbers.unsent_to), (3, last + 1));
    (first, client.next)
}

#[test]
fn what_was_not_fetched_before_the_week_rolls_is_counted_told_to_the_venue_once_and_can_be_read() {
    let mut world = World::new();
    let stream = StreamKey::parse("cgw/ABC/001").unwrap();
    let (first, _) = with_undelivered(&world);
    let epoch = world.shown()[0].numbers.epoch;
    let week = Calendar::new(always()).unwrap().week_at(world.clock.now().wall);
    world.clock.set(week.next_open + Duration::from_secs(1));
    world.handle().clock_moved();
    let shown = world.shown();
    assert!(shown[0].numbers.epoch.week > epoch.week && shown[0].undelivered == 0, "{shown:?}");
    world.close();
    world.open(|_| {});
    drop(world.logged_on("ABC001N", 1));
    let told = world.told.lock().unwrap().clone();
    let [(of, left)] = told[..] else { panic!("{told:?}") };
    assert_eq!((of, left.epoch, left.first, left.count), (stream, epoch, first, 3));
    let events = world.authority.notes.lock().unwrap().clone();
    assert_eq!(events.iter().filter(|(event, _)| *event == Event::UndeliveredLeft).count(), 1);

    let stored = |epoch, from, limit| {
        let wanted = StoredWanted { stream, epoch, from, limit };
        world.runtime.block_on(world.handle().stored(wanted)).unwrap()
    };
    let two = stored(Some(epoch), 1, 2);
    let text = |n: usize| String::from_utf8(two.messages[n].bytes.clone()).unwrap();
    assert!(text(0).contains("148=one") && text(1).contains("148=two"), "{two:?}");
    assert_eq!((two.messages[0].number, two.next, &two.epochs), (first, Some(first + 2), &vec![epoch]));
    let last = stored(Some(epoch), first + 2, 2);
    assert_eq!((last.messages.len(), last.next), (1, None));
    assert!(stored(None, 1, 9).messages.is_empty(), "the present epoch has none");
    let other = StreamKey::parse("cgw/XYZ/001").unwrap();
    let wanted = StoredWanted { stream: other, epoch: None, from: 1, limit: 1 };
    assert!(matches!(world.runtime.block_on(world.handle().stored(wanted)), Err(Unfit::Unknown(_))));
}

#[test]
fn what_was_not_fetched_before_an_in_session_reset_is_counted_and_told_to_the_venue() {
    let world = World::new();
    let (_, next) = with_undelivered(&world);
    let mut client = world.logged_on("ABC001N", next);
    let logon = client.logon_with("ABC001N", 1, "141=Y|");
    client.stream.write_all(&logon).unwrap();
    client.hear_type("A");
    let told = world.told.lock().unwrap().clone();
    assert_eq!(told.iter().map(|(_, left)| left.count).collect::<Vec<_>>(), [3]);
}

#[test]
fn the_week_rolls_under_a_live_session() {
    let world = World::new();
    let mut client = world.logged_on("ABC001N", 1);
    let week = Calendar::new(always()).unwrap().week_at(world.clock.now().wall);
    world.clock.set(week.next_open + Duration::from_secs(1));
    world.handle().clock_moved();
    let logout = client.hear_type("5");
    assert!(logout.contains("58=Session closed. Logout forced.|"), "{logout}");
}

#[test]
fn who_waits_for_the_open_may_log_on_at_the_open() {
    let calendar = Arc::new(Calendar::new(Hours::default()).unwrap());
    let world = World::with(|settings| settings.calendar = Arc::clone(&calendar));
    let week = calendar.week_at(world.clock.now().wall);
    world.clock.set(week.closes.unwrap() + Duration::from_secs(1));
    world.handle().clock_moved();
    world.shown();
    let mut client = world.connect();
    // It was taken, and has heard nothing.
    world.shown();
    world.clock.set(week.next_open + Duration::from_secs(1));
    world.handle().clock_moved();
    world.shown();
    client.log_on("ABC001N", 1);
    client.say("1", "112=in|");
    assert!(client.hear_type("0").contains("112=in"));
}

#[test]
fn a_refused_logon_is_told_so_and_closed() {
    let world = World::new();
    let mut client = world.connect();
    let logon = client.logon("BAD001N", 1);
    client.stream.write_all(&logon).unwrap();
    let answer = client.hear();
    assert!(answer.contains("58=Invalid Logon. Logout Forced|"), "{answer}");
    assert_eq!(client.hear_or_end(), None);
    let unwritten = World::new();
    unwritten.authority.cannot_save.store(true, Ordering::Relaxed);
    let mut client = unwritten.connect();
    let logon = client.logon("ABC001N", 1);
    client.stream.write_all(&logon).unwrap();
    let answer = client.hear();
    assert!(answer.contains("Could not be Authenticated"), "{answer}");
}

fn always() -> Hours {
    Hours { mode: Mode::Always, ..Hours::default() }
}
