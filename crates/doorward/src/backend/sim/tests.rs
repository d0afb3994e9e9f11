//! The simulated venue by what it says, a line a message: MsgType and a few fields.

use doorward_core::fix::build::Builder;
use doorward_core::fix::message::Fields;
use doorward_core::stream::{Epoch, StreamKey};
use doorward_core::time::Wall;

use super::*;

struct Venue {
    sim: Sim,
    given: Vec<(StreamKey, u64, Vec<u8>)>,
}

fn stream(text: &str) -> StreamKey {
    StreamKey::parse(text).unwrap()
}

impl Venue {
    fn new() -> Self {
        Self { sim: Sim::default(), given: Vec::new() }
    }

    /// Delivers `35=…|11=…|…`; gives what was said, `stream` before each message.
    fn say(&mut self, from: &str, text: &str) -> Vec<String> {
        self.say_in("FIX.4.2", from, text)
    }

    fn say_in(&mut self, version: &str, from: &str, text: &str) -> Vec<String> {
        let (msg_type, body) = text.split_once('|').unwrap_or((text, ""));
        let mut bytes = Vec::new();
        let body: String = body.split_terminator('|').map(|field| format!("{field}\x01")).collect();
        let _ = Builder::begin(&mut bytes, version.as_bytes(), msg_type.trim_start_matches("35=").as_bytes())
            .raw(body.as_bytes())
            .finish();
        let number = self.given.len() as u64 + 2;
        self.given.push((stream(from), number, bytes.clone()));
        deliver(&mut self.sim, &stream(from), number, &bytes)
    }
}

fn deliver(sim: &mut Sim, from: &StreamKey, number: u64, bytes: &[u8]) -> Vec<String> {
    let mut fields = Fields::new();
    let message = fields.read(bytes).unwrap();
    let mut replies = Replies::default();
    let at = Wall::parse("2026-11-23T15:00:00Z").unwrap();
    let from = From { stream: from, epoch: Epoch { week: 9, reset: 0 }, number, at };
    sim.deliver(&from, &message, &mut replies);
    (0..replies.len())
        .map(|at| {
            let (to, msg_type, body) = replies.at(at).unwrap();
            let body = String::from_utf8_lossy(body).replace('\x01', "|");
            format!("{to} {}|{body}", String::from_utf8_lossy(msg_type))
        })
        .collect()
}

/// The value of a tag in a printed message.
fn get<'a>(message: &'a str, tag: &str) -> Option<&'a str> {
    message.split('|').skip(1).find_map(|field| field.strip_prefix(tag)?.strip_prefix('='))
}

fn seen(message: &str, tags: &[&str]) -> String {
    let fields = tags.iter().map(|tag| format!("{tag}={}", get(message, tag).unwrap_or("-")));
    format!("{} {}", message.split('|').next().unwrap_or_default(), fields.collect::<Vec<_>>().join(" "))
}

const A: &str = "cgw/ABC/001";
const B: &str = "msgw-92/XYZ/002";

#[test]
fn an_order_that_meets_nobody_is_new_and_stands() {
    let mut venue = Venue::new();
    let said = venue.say(A, "35=D|11=o1|1=ACC|21=1|55=ESZ6|54=1|38=10|40=2|44=4000.25|");
    let expected = "cgw/ABC/001 8|37=ABC001G-9.0-2|11=o1|17=ABC001G-9.0-2-1|20=0|150=0|39=0|1=ACC|55=ESZ6|54=1|38=10|40=2|\
                    44=4000.25|151=10|14=0|6=0|60=20261123-15:00:00.000|";
    assert_eq!(said, [expected]);
}

#[test]
fn a_marketable_order_fills_by_price_and_then_by_time_and_both_sides_hear_of_it() {
    let mut venue = Venue::new();
    venue.say(A, "35=D|11=late|55=ES|54=2|38=5|40=2|44=101|");
    venue.say(A, "35=D|11=first|55=ES|54=2|38=5|40=2|44=100|");
    venue.say(B, "35=D|11=second|55=ES|54=2|38=5|40=2|44=100|");
    let said = venue.say(B, "35=D|11=buy|55=ES|54=1|38=12|40=2|44=101|");
    let tags = ["11", "150", "39", "32", "31", "151", "14", "6"];
    assert_eq!(
        said.iter().map(|message| seen(message, &tags)).collect::<Vec<_>>(),
        [
            "msgw-92/XYZ/002 8 11=buy 150=0 39=0 32=- 31=- 151=12 14=0 6=0",
            "msgw-92/XYZ/002 8 11=buy 150=1 39=1 32=5 31=100 151=7 14=5 6=100",
            "cgw/ABC/001 8 11=first 150=2 39=2 32=5 31=100 151=0 14=5 6=100",
            "msgw-92/XYZ/002 8 11=buy 150=1 39=1 32=5 31=100 151=2 14=10 6=100",
            "msgw-92/XYZ/002 8 11=second 150=2 39=2 32=5 31=100 151=0 14=5 6=100",
            "msgw-92/XYZ/002 8 11=buy 150=2 39=2 32=2 31=101 151=0 14=12 6=100.16666666",
            "cgw/ABC/001 8 11=late 150=1 39=1 32=2 31=101 151=3 14=2 6=101",
        ]
    );
    let ids: Vec<&str> = said.iter().filter_map(|message| get(message, "17")).collect();
    assert_eq!(ids.len(), ids.iter().collect::<std::collections::BTreeSet<_>>().len(), "each ExecID once");
}

#[test]
fn fix_4_4_has_no_exec_trans_type_and_reports_trades_as_f() {
    let mut venue = Venue::new();
    venue.say_in("FIX.4.4", A, "35=D|11=a|55=ES|54=2|38=5|40=2|44=100|");
    let said = venue.say(B, "35=D|11=b|55=ES|54=1|38=2|40=1|");
    assert_eq!(seen(&said[1], &["20", "150", "39"]), "msgw-92/XYZ/002 8 20=0 150=2 39=2");
    assert_eq!(seen(&said[2], &["20", "150", "39"]), "cgw/ABC/001 8 20=- 150=F 39=1");
    let said = venue.say_in("FIX.4.4", A, "35=G|11=c|41=a|55=ES|54=2|38=9|40=2|44=100|");
    assert_eq!(seen(&said[0], &["11", "41", "150", "39", "151"]), "cgw/ABC/001 8 11=c 41=a 150=5 39=1 151=7");
}

#[test]
fn what_a_market_or_immediate_order_does_not_get_is_cancelled() {
    let mut venue = Venue::new();
    venue.say(A, "35=D|11=s|55=ES|54=2|38=5|40=2|44=100|");
    for (order, filled) in [
        ("35=D|11=m1|55=ES|54=1|38=2|40=1|", 1),
        ("35=D|11=k1|55=ES|54=1|38=4|40=2|44=100|59=4|", 0),
        ("35=D|11=i1|55=ES|54=1|38=4|40=2|44=100|59=3|", 1),
        ("35=D|11=m2|55=ES|54=1|38=2|40=1|", 0),
    ] {
        let said = venue.say(B, order);
        let fills =
            said.iter().filter(|message| get(message, "32").is_some() && message.starts_with(B)).count();
        assert_eq!(fills, filled, "{order}");
        let last = said.iter().rfind(|message| message.starts_with(B)).unwrap();
        let is_whole = get(last, "39") == Some("2");
        assert!(is_whole || get(last, "39") == Some("4") && get(last, "151") == Some("0"), "{last}");
    }
    assert!(venue.sim.orders.is_empty() && venue.sim.books.is_empty() && venue.sim.by_client.is_empty());
}

#[test]
fn a_cancel_names_the_order_and_a_late_or_unknown_one_is_rejected() {
    let mut venue = Venue::new();
    venue.say(A, "35=D|11=o|55=ES|54=2|38=5|40=2|44=100|");
    let tags = ["37", "11", "41", "39", "434", "102"];
    let foreign = venue.say(B, "35=F|11=x|41=o|55=ES|54=2|");
    assert_eq!(seen(&foreign[0], &tags), "msgw-92/XYZ/002 9 37=NONE 11=x 41=o 39=8 434=1 102=1");
    let said = venue.say(A, "35=F|11=c|41=o|55=ES|54=2|");
    assert_eq!(
        seen(&said[0], &["37", "11", "41", "150", "151"]),
        "cgw/ABC/001 8 37=ABC001G-9.0-2 11=c 41=o 150=4 151=0"
    );
    let late = venue.say(A, "35=F|11=d|41=o|55=ES|54=2|");
    assert_eq!(seen(&late[0], &tags), "cgw/ABC/001 9 37=NONE 11=d 41=o 39=2 434=1 102=0");
    assert!(venue.sim.books.is_empty());
    let missing = venue.say(A, "35=F|11=d|");
    assert_eq!(
        seen(&missing[0], &["372", "380", "58"]),
        "cgw/ABC/001 j 372=F 380=5 58=OrigClOrdID (41) is missing"
    );
}

#[test]
fn a_replaced_order_keeps_its_place_only_for_no_more_at_the_same_price() {
    let mut venue = Venue::new();
    venue.say(A, "35=D|11=a|55=ES|54=2|38=5|40=2|44=100|");
    venue.say(A, "35=D|11=b|55=ES|54=2|38=5|40=2|44=100|");
    let said = venue.say(A, "35=G|11=a2|41=a|55=ES|54=2|38=3|40=2|44=100|");
    assert_eq!(seen(&said[0], &["11", "41", "150", "39", "38"]), "cgw/ABC/001 8 11=a2 41=a 150=5 39=5 38=3");
    let said = venue.say(B, "35=D|11=m|55=ES|54=1|38=1|40=1|");
    assert_eq!(get(&said[2], "11"), Some("a2"), "it kept its place");
    venue.say(A, "35=G|11=a3|41=a2|55=ES|54=2|38=9|40=2|44=100|");
    let said = venue.say(B, "35=D|11=n|55=ES|54=1|38=1|40=1|");
    assert_eq!(get(&said[2], "11"), Some("b"), "more goes to the end");
    let said = venue.say(A, "35=G|11=a4|41=a3|55=ES|54=2|38=1|40=2|44=100|");
    assert_eq!(seen(&said[0], &["434", "102", "39"]), "cgw/ABC/001 9 434=2 102=2 39=1");
    venue.say(B, "35=D|11=bid|55=ES|54=1|38=2|40=2|44=90|");
    let said = venue.say(A, "35=G|11=a5|41=a3|55=ES|54=2|38=9|40=2|44=90|");
    assert_eq!(get(&said[1], "31"), Some("90"), "marketable now");
}

#[test]
fn bad_orders_are_rejected_in_words() {
    let mut venue = Venue::new();
    for (order, told) in [
        ("35=D|55=ES|54=1|38=1|40=1|", "j 380=5 103=- 58=ClOrdID (11) is missing"),
        ("35=D|11=a|54=1|38=1|40=1|", "j 380=5 103=- 58=Symbol (55) is missing"),
        ("35=D|11=a|55=ES|38=1|40=1|", "j 380=5 103=- 58=Side (54) is missing"),
        ("35=D|11=a|55=ES|54=1|38=1|", "j 380=5 103=- 58=OrdType (40) is missing"),
        ("35=D|11=a|55=ES|54=1|40=1|", "8 380=- 103=0 58=OrderQty (38) is missing"),
        ("35=D|11=a|55=ES|54=1|38=1|40=2|", "8 380=- 103=0 58=Price (44) is missing"),
        ("35=D|11=a|55=ES|54=9|38=1|40=1|", "8 380=- 103=0 58=Side (54) must be 1 or 2"),
        ("35=D|11=a|55=ES|54=1|38=1|40=7|", "8 380=- 103=0 58=OrdType (40) must be 1 or 2"),
        (
            "35=D|11=a|55=ES|54=1|38=-1|40=1|",
            "8 380=- 103=0 58=OrderQty (38) must be a whole number from 1 to 999999999",
        ),
        ("35=D|11=a|55=ES|54=1|38=1|40=2|44=1e9|", "8 380=- 103=0 58=Price (44) is no price"),
        ("35=D|11=a|55=ES|54=1|38=1|40=1|59=6|", "8 380=- 103=0 58=TimeInForce (59) must be 0, 1, 3 or 4"),
        ("35=Z|", "j 380=3 103=- 58=the simulated venue does not know this MsgType (35)"),
    ] {
        let said = venue.say(A, order);
        assert_eq!(said.len(), 1, "{order}");
        assert_eq!(seen(&said[0], &["380", "103", "58"]), format!("cgw/ABC/001 {told}"), "{order}");
        assert!(get(&said[0], "150").is_none_or(|exec_type| exec_type == "8"));
    }
    venue.say(A, "35=D|11=a|55=ES|54=2|38=5|40=2|44=100|");
    let said = venue.say(A, "35=D|11=a|55=ES|54=2|38=5|40=2|44=100|");
    assert_eq!(seen(&said[0], &["39", "103"]), "cgw/ABC/001 8 39=8 103=6");
}

#[test]
fn f8_the_same_messages_after_a_restart_make_the_same_book_and_the_same_reports() {
    let mut venue = Venue::new();
    let mut said = Vec::new();
    let mut chance = 0x9e37_79b9_u64;
    for no in 0..2_000_u64 {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let of = |max: u64, shift: u32| (chance >> shift) % max;
        let (stream, side, price) = ([A, B][of(2, 20) as usize], of(2, 24) + 1, 90 + of(20, 30));
        let message = match of(8, 40) {
            0 => format!("35=F|11=c{no}|41=o{}|", of(no + 1, 33)),
            1 => format!("35=G|11=o{no}|41=o{}|38={}|44={price}|", of(no + 1, 33), of(50, 36) + 1),
            _ => format!("35=D|11=o{no}|55=ES|54={side}|38={}|40=2|44={price}|", of(50, 36) + 1),
        };
        said.push(venue.say(stream, &message));
    }
    let mut sim = Sim::default();
    sim.deliver_nothing();
    sim.restart();
    let again: Vec<_> =
        venue.given.iter().map(|(from, number, bytes)| deliver(&mut sim, from, *number, bytes)).collect();
    assert_eq!(said, again);
    assert_eq!(format!("{:?}", sim.books), format!("{:?}", venue.sim.books));
    assert!(said.iter().any(|messages| messages.len() > 3), "there were fills");
    for (no, order) in &sim.orders {
        assert!(order.open() > 0 && sim.by_client[&order.key()] == *no);
    }
    assert_eq!(sim.orders.len(), sim.by_client.len());
}

#[test]
fn l1_orders_have_a_limit_and_so_has_what_is_remembered_of_those_that_are_over() {
    let mut venue = Venue::new();
    venue.sim.next = 1;
    for no in 0..DONE_MAX + 10 {
        let order = format!("35=D|11=m{no}|55=ES|54=1|38=1|40=1|");
        deliver_text(&mut venue.sim, &order);
    }
    assert_eq!((venue.sim.done.len(), venue.sim.done_keys.len()), (DONE_MAX, DONE_MAX));
    for no in 0..=ORDERS_MAX {
        let said = deliver_text(&mut venue.sim, &format!("35=D|11=o{no}|55=ES|54=1|38=1|40=2|44=5|"));
        assert_eq!(get(&said[0], "103"), (no == ORDERS_MAX).then_some("3"), "{no}");
    }
    assert_eq!(venue.sim.orders.len(), ORDERS_MAX);
}

fn deliver_text(sim: &mut Sim, text: &str) -> Vec<String> {
    let mut venue = Venue { sim: std::mem::take(sim), given: Vec::new() };
    let said = venue.say(A, text);
    *sim = venue.sim;
    said
}

impl Sim {
    /// Dirt that a restart must clear.
    fn deliver_nothing(&mut self) {
        deliver_text(self, "35=D|11=dirt|55=ES|54=1|38=1|40=2|44=95|");
    }
}
