//! The client against a server that a test plays by hand.

use std::sync::Mutex;

use doorward_core::fix::build::Builder;
use doorward_core::fix::frame::{Cut, Cutter};
use doorward_core::id::{CompId, OperatorId};
use doorward_core::secret::Secret;
use doorward_core::stream::Gateway;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::fix::settings::{Application, SecureLogon};
use crate::fix::{KeyPair, MemoryStore, Refusal, StoreError};

/// A store that the test can look into.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<(Numbers, bool)>>);

impl Shared {
    fn numbers(&self) -> (u64, u64) {
        let numbers = self.0.lock().unwrap().0;
        (numbers.next_out, numbers.next_in)
    }

    fn fill_up(&self) {
        self.0.lock().unwrap().1 = true;
    }
}

impl SequenceStore for Shared {
    fn load(&mut self) -> Result<Numbers, StoreError> {
        Ok(self.0.lock().unwrap().0)
    }

    fn save(&mut self, numbers: Numbers) -> Result<(), StoreError> {
        let mut kept = self.0.lock().unwrap();
        if kept.1 {
            return Err(StoreError { path: None, why: String::from("no space") });
        }
        kept.0 = numbers;
        Ok(())
    }
}

struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
    next: u64,
}

impl Peer {
    async fn accept(listener: &TcpListener, next: u64) -> Self {
        Self { stream: listener.accept().await.unwrap().0, input: Vec::new(), next }
    }

    /// The next message, as text with `|`; empty where the client has closed.
    async fn hear(&mut self) -> String {
        let mut cutter = Cutter::new(65_536);
        loop {
            if let Cut::Message { len } = cutter.cut(&self.input) {
                let message: Vec<u8> = self.input.drain(..len).collect();
                return String::from_utf8(message).unwrap().replace('\u{1}', "|");
            }
            let mut buffer = [0; 4_096];
            match self.stream.read(&mut buffer).await {
                Ok(count @ 1..) => self.input.extend_from_slice(&buffer[..count]),
                Ok(0) | Err(_) => return String::new(),
            }
        }
    }

    async fn say(&mut self, msg_type: &str, fields: &[(u32, &str)]) {
        let mut out = Vec::new();
        let mut builder = Builder::begin(&mut out, b"FIX.4.2", msg_type.as_bytes())
            .number(34, self.next)
            .field(49, "CME")
            .field(56, "B08004N");
        for (tag, value) in fields {
            builder = builder.field(*tag, value);
        }
        builder.finish();
        self.next += 1;
        self.stream.write_all(&out).await.unwrap();
    }
}

fn settings() -> Settings {
    let secret = Secret::new("2HlZ7exg8jTKltXnURjKvm3GS5iF5n4ClzHiEm_ocv4".to_owned());
    Settings::new(Credentials::Secure(SecureLogon {
        comp_id: CompId::parse(b"B08004N").unwrap(),
        operator: OperatorId::parse(b"MSG").unwrap(),
        gateway: Gateway::Cgw,
        location: String::from("US,NY"),
        application: Application::default(),
        key: KeyPair::new("oNDxM33uE81ohWuVRtWT", &secret).unwrap(),
    }))
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn connect(port: u16, store: Shared) -> Result<FixClient, FixError> {
    FixClient::connect("127.0.0.1", port, settings(), Box::new(store), ConnectOptions::default()).await
}

/// A client that is logged on, with the server's side and its numbers.
async fn logged_on() -> (FixClient, Peer, Shared) {
    let (listener, port) = listen().await;
    let store = Shared::default();
    let (client, peer) = tokio::join!(connect(port, store.clone()), async {
        let mut peer = Peer::accept(&listener, 1).await;
        assert!(peer.hear().await.contains("|35=A|34=1|49=B08004N|"));
        peer.say("A", &[(108, "30")]).await;
        peer
    });
    let mut client = client.unwrap();
    assert!(matches!(client.next().await, Ok(Event::LoggedOn { .. })));
    (client, peer, store)
}

fn order() -> Body {
    Body::new().field(11, "A1")
}

#[tokio::test]
async fn an_order_goes_out_and_its_report_comes_back() {
    let (mut client, mut peer, store) = logged_on().await;
    assert_eq!(client.send("D", &order()).await.unwrap(), 2);
    assert!(peer.hear().await.contains("|35=D|34=2|"));
    peer.say("8", &[(11, "A1")]).await;
    let Ok(Event::Message(report)) = client.next().await else { panic!("no report") };
    assert_eq!((report.msg_type(), report.get(11)), (&b"8"[..], Some(&b"A1"[..])));
    assert_eq!(store.numbers(), (3, 2), "the report counts once the next event is asked for");
    peer.say("5", &[(58, "Session closed. Logout forced.")]).await;
    let ended = client.next().await.unwrap();
    let refusal = Refusal { text: "Session closed. Logout forced.".into(), next_expected: None };
    assert_eq!(ended, Event::Ended(Ending::ByServer(refusal)));
    assert!(peer.hear().await.contains("|35=5|34=3|"), "confirmed");
    assert_eq!(store.numbers(), (4, 4));
    assert!(matches!(client.next().await, Err(FixError::Ended(Ending::ByServer(_)))));
    assert!(matches!(client.send("D", &order()).await, Err(FixError::Ended(_))));
}

#[tokio::test]
async fn what_nobody_heard_does_not_count_as_received() {
    let (mut client, mut peer, store) = logged_on().await;
    for id in ["A", "B", "C"] {
        peer.say("8", &[(11, id)]).await;
    }
    let Ok(Event::Message(first)) = client.next().await else { panic!() };
    assert_eq!(first.get(11), Some(&b"A"[..]));
    // Sending takes in what is there without telling of it.
    client.send("D", &order()).await.unwrap();
    assert!(store.numbers().1 <= 3, "{:?}", store.numbers());
    let (ending, ()) = tokio::join!(client.log_out(), async {
        assert!(peer.hear().await.contains("|35=D|"));
        assert!(peer.hear().await.contains("|35=5|"));
        peer.say("5", &[]).await;
    });
    assert_eq!(ending.unwrap(), Ending::LoggedOut(Refusal::default()));
    assert_eq!(store.numbers(), (4, 3), "B and C come again");
}

#[tokio::test]
async fn the_number_that_the_server_names_is_taken_once() {
    let (listener, port) = listen().await;
    let store = Shared::default();
    let too_low = "MsgSeqNum too low, expecting 9 but received 1. Logout forced.";
    let (client, ()) = tokio::join!(connect(port, store.clone()), async {
        let mut peer = Peer::accept(&listener, 1).await;
        assert!(peer.hear().await.contains("|34=1|"));
        peer.say("5", &[(58, too_low), (789, "9")]).await;
        drop(peer);
        let mut peer = Peer::accept(&listener, 1).await;
        assert!(peer.hear().await.contains("|34=9|"));
        peer.say("A", &[(108, "30")]).await;
    });
    assert_eq!(client.unwrap().numbers().next_out, 10);
    assert_eq!(store.numbers(), (10, 1));
}

#[tokio::test]
async fn a_new_week_begins_at_one() {
    let (listener, port) = listen().await;
    let store = Shared::default();
    store.0.lock().unwrap().0 = Numbers { next_out: 70, next_in: 80 };
    let text = "Failed to reset sequence numbers at beginning of the week. Logout forced.";
    let (client, ()) = tokio::join!(connect(port, store.clone()), async {
        let mut peer = Peer::accept(&listener, 1).await;
        assert!(peer.hear().await.contains("|34=70|"));
        peer.say("5", &[(58, text)]).await;
        drop(peer);
        let mut peer = Peer::accept(&listener, 1).await;
        assert!(peer.hear().await.contains("|34=1|"));
        peer.say("A", &[(108, "30")]).await;
    });
    assert_eq!(client.unwrap().numbers(), Numbers { next_out: 2, next_in: 2 });
}

#[tokio::test]
async fn another_refusal_is_not_tried_again() {
    let (listener, port) = listen().await;
    let store = Shared::default();
    let (client, ()) = tokio::join!(connect(port, store.clone()), async {
        let mut peer = Peer::accept(&listener, 1).await;
        peer.hear().await;
        peer.say("5", &[(58, "Invalid Logon. Logout Forced")]).await;
    });
    let error = client.unwrap_err();
    assert_eq!(error.to_string(), "the server refused the logon: Invalid Logon. Logout Forced");
    assert_eq!(store.numbers(), (1, 1));
}

#[tokio::test]
async fn a_session_goes_on_over_a_new_connection() {
    let (listener, port) = listen().await;
    let store = Shared::default();
    let (client, mut peer) = tokio::join!(connect(port, store.clone()), async {
        let mut peer = Peer::accept(&listener, 1).await;
        peer.hear().await;
        peer.say("A", &[(108, "30")]).await;
        peer
    });
    let mut client = client.unwrap();
    assert!(matches!(client.reconnect().await, Err(FixError::Misuse(Misuse::UnderWay("session")))));
    client.send("D", &order()).await.unwrap();
    peer.hear().await;
    drop(peer);
    let ended = loop {
        if let Event::Ended(ending) = client.next().await.unwrap() {
            break ending;
        }
    };
    assert!(matches!(ended, Ending::Closed(_)), "{ended:?}");
    let (again, ()) = tokio::join!(client.reconnect(), async {
        let mut peer = Peer::accept(&listener, 2).await;
        assert!(peer.hear().await.contains("|35=A|34=3|"));
        peer.say("A", &[(108, "30")]).await;
        peer.say("2", &[(7, "2"), (16, "0")]).await;
    });
    again.unwrap();
    assert!(matches!(client.next().await, Ok(Event::LoggedOn { .. })));
    assert_eq!(client.numbers(), Numbers { next_out: 4, next_in: 3 });
}

#[tokio::test]
async fn numbers_that_cannot_be_kept_end_the_session_before_anything_is_sent() {
    let (mut client, mut peer, store) = logged_on().await;
    store.fill_up();
    let error = client.send("D", &order()).await.unwrap_err();
    assert_eq!(error.to_string(), "sequence numbers: no space");
    assert_eq!(peer.hear().await, "", "the connection is closed and no order was sent");
    assert!(matches!(client.next().await, Ok(Event::Ended(Ending::Store(_)))));
}

#[tokio::test]
async fn a_call_that_is_dropped_loses_nothing() {
    let (mut client, mut peer, _) = logged_on().await;
    for n in 0..20_u32 {
        // The first poll waits for bytes; it is dropped there.
        let dropped = std::future::poll_fn(|cx| {
            let mut next = Box::pin(client.next());
            std::task::Poll::Ready(next.as_mut().poll(cx).is_pending())
        });
        assert!(dropped.await);
        let id = n.to_string();
        peer.say("8", &[(11, &id)]).await;
        let Ok(Event::Message(message)) = client.next().await else { panic!() };
        assert_eq!(message.text(11), Some(id));
    }
}

#[tokio::test]
async fn messages_can_be_watched_both_ways() {
    let (listener, port) = listen().await;
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let watched = Arc::clone(&seen);
    let options = ConnectOptions {
        watch: Some(Box::new(move |direction, message| {
            watched.lock().unwrap().push(format!("{direction:?} {}", crate::fix::shown(message)));
        })),
        ..ConnectOptions::default()
    };
    let store = Box::new(MemoryStore::default());
    let (client, _peer) =
        tokio::join!(FixClient::connect("127.0.0.1", port, settings(), store, options), async {
            let mut peer = Peer::accept(&listener, 1).await;
            peer.hear().await;
            peer.say("A", &[(108, "30")]).await;
            peer
        });
    client.unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen[0].starts_with("Out 8=FIX.4.2|") && seen[0].contains("|1402=***|"), "{seen:?}");
    assert!(seen[1].starts_with("In 8=FIX.4.2|") && seen[1].contains("|35=A|34=1|"), "{seen:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_address() {
    let (listener, port) = listen().await;
    drop(listener);
    let error = connect(port, Shared::default()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot connect to 127.0.0.1:{port}: ")), "{error}");
}
