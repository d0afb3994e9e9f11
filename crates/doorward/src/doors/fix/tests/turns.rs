//! The door turn by turn, without a thread of its own: what one turn may do at most.

use rustls::pki_types::ServerName;

use super::super::door::Door;
use super::super::slab::Token;
use super::super::start::open;
use super::tls::Authority as Certifies;
use super::*;

struct Turns {
    door: Door,
    events: mio::Events,
    bound: Vec<Bound>,
    world: World,
}

impl Turns {
    fn new(change: impl FnOnce(&mut FixSettings)) -> Self {
        let world = World::closed();
        let (fix, parts) = world.parts(change);
        let inside = world.runtime.enter();
        let (door, bound) = open(fix, parts).unwrap();
        drop(inside);
        Self { door, events: mio::Events::with_capacity(1024), bound, world }
    }

    /// One turn with what is there by now.
    fn turn(&mut self) {
        self.door.poll.poll(&mut self.events, Some(Duration::from_millis(5))).unwrap();
        self.door.turn(&self.events, self.world.clock.now());
    }

    fn connect(&self) -> Client {
        Client::connect(self.bound[0].address)
    }

    /// Turns until a client has something to read, or its connection has ended.
    fn wait_for(&mut self, client: &Client) {
        let began = std::time::Instant::now();
        while !has_heard(&client.stream) {
            assert!(began.elapsed() < SOON, "nothing came");
            self.turn();
        }
    }

    fn hear_type(&mut self, client: &mut Client, msg_type: &str) -> String {
        loop {
            if client.heard.is_empty() {
                self.wait_for(client);
            }
            let message = client.hear();
            if get(&message, "35") == Some(msg_type) {
                return message;
            }
        }
    }

    fn logged_on(&mut self, comp: &str, seq_num: u64) -> Client {
        let mut client = self.connect();
        let logon = client.logon(comp, seq_num);
        client.stream.write_all(&logon).unwrap();
        let test = self.hear_type(&mut client, "1");
        let id = get(&test, "112").unwrap().to_owned();
        client.say("0", &format!("112={id}|"));
        self.goes_on(&mut client);
        client
    }

    fn goes_on(&mut self, client: &mut Client) {
        client.say("1", "112=still|");
        assert!(self.hear_type(client, "0").contains("112=still"));
    }

    fn token(&self) -> Token {
        let tokens = self.door.connections.tokens();
        assert_eq!(tokens.len(), 1);
        tokens[0]
    }
}

fn has_heard(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let heard = !matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    heard
}

#[test]
fn f6_handshakes_of_strangers_do_not_fill_a_turn() {
    const STRANGERS: usize = 40;
    let certifies = Certifies::new();
    let tls = certifies.server(None);
    let mut turns = Turns::new(|fix| {
        let behind_tls = FixListener { name: "tls".to_owned(), ..listener(100) };
        fix.listeners.push((behind_tls, Some(tls)));
    });
    let mut client = turns.logged_on("ABC001N", 1);
    let config = certifies.client(None);
    let strangers: Vec<TcpStream> = (0..STRANGERS)
        .map(|_| {
            let mut stream = TcpStream::connect(turns.bound[1].address).unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let mut session = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
            session.write_tls(&mut stream).unwrap();
            stream
        })
        .collect();
    let began = std::time::Instant::now();
    let answered = || strangers.iter().filter(|stream| has_heard(stream)).count();
    while turns.door.connections.len() <= STRANGERS {
        assert!(began.elapsed() < SOON);
        turns.turn();
    }
    client.say("1", "112=meanwhile|");
    let mut before = answered();
    while before < STRANGERS {
        assert!(began.elapsed() < SOON);
        turns.turn();
        let now = answered();
        assert!(now - before <= 8, "{} in one turn", now - before);
        before = now;
    }
    assert!(turns.hear_type(&mut client, "0").contains("112=meanwhile"));
}

#[test]
fn f8_a_turn_that_brings_much_is_stored_before_it_ends() {
    let mut turns = Turns::new(|_| {});
    let (mut client, mut late) = (turns.logged_on("ABC001N", 1), turns.connect());
    turns.turn();
    turns.door.shared.batch_bytes_max = 4_096;
    // Once the second one is read, the disk takes nothing more: what the first one sent is stored by then.
    let disk_full = Arc::clone(&turns.world.disk_full);
    *turns.world.authority.boom.lock().unwrap() =
        Some(Box::new(move || disk_full.store(true, Ordering::Relaxed)));
    let orders: Vec<u8> =
        (0..50).flat_map(|n| client.build("D", &ORDER.replace("o1", &format!("o{n}")))).collect();
    client.stream.write_all(&orders).unwrap();
    let logon = late.logon("BOO001N", 1);
    late.stream.write_all(&logon).unwrap();
    turns.turn();
    assert!(turns.world.disk_full.load(Ordering::Relaxed), "both came in one turn");
    for n in 0..50 {
        let report = turns.hear_type(&mut client, "8");
        assert!(report.contains(&format!("|11=o{n}|")), "{report}");
    }
}

#[test]
fn no_password_stays_in_the_buffer_that_was_read_into() {
    let mut turns = Turns::new(|fix| fix.listeners[0].0.profile = FixProfile::TraderOtp);
    let mut client = turns.connect();
    client.comp = "alice".to_owned();
    let logon = client.build("A", "98=0|108=30|553=alice|554=correct horse battery|");
    client.stream.write_all(&logon[..logon.len() - 9]).unwrap();
    turns.turn();
    turns.turn();
    client.stream.write_all(&logon[logon.len() - 9..]).unwrap();
    turns.wait_for(&client);
    let is_password = |part: &[u8]| part == b"correct horse";
    assert!(!turns.door.buffer.windows(13).any(is_password), "wiped");
    assert_eq!(turns.door.buffer.len(), 64 * 1024);
}

#[test]
fn a_machine_that_breaks_off_ends_its_own_connection_and_its_stream_goes_on() {
    let mut turns = Turns::new(|_| {});
    let mut client = turns.logged_on("ABC001N", 1);
    client.say("D", ORDER);
    turns.hear_type(&mut client, "8");
    let token = turns.token();
    let mut other = turns.logged_on("ABC002N", 1);
    let now = turns.world.clock.now();
    let connection = turns.door.connections.get_mut(token).unwrap();
    connection.tell(|_| panic!("planted"));
    turns.door.drain(token, now);
    turns.wait_for(&client);
    assert_eq!(client.hear_or_end(), None, "without a word");
    turns.goes_on(&mut other);
    assert!(turns.world.noted().contains(&Deny::ServerFault));
    let next = client.next;
    let mut back = turns.logged_on("ABC001N", next);
    back.say("F", "11=c1|41=o1|55=ES|54=1|60=20261121-00:00:00|");
    let report = turns.hear_type(&mut back, "8");
    assert!(report.contains("|150=4|"), "the venue knows its orders: {report}");
}
