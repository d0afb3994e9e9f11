//! The machine alone: scripted bytes of a server, time as an argument.

use doorward_core::fix::message::Message;
use doorward_core::id::{CompId, OperatorId};
use doorward_core::secret::Secret;
use doorward_core::stream::Gateway;
use doorward_core::time::Wall;

use super::*;
use crate::fix::settings::{Application, Resend, SecureLogon, TraderLogon};
use crate::fix::{KeyPair, Refusal};

const SECRET: &str = "2HlZ7exg8jTKltXnURjKvm3GS5iF5n4ClzHiEm_ocv4";

fn secure() -> Settings {
    Settings::new(Credentials::Secure(SecureLogon {
        comp_id: CompId::parse(b"B08004N").unwrap(),
        operator: OperatorId::parse(b"MSG").unwrap(),
        gateway: Gateway::Cgw,
        location: String::from("US,NY"),
        application: Application { name: "BRIO".into(), version: "8.0".into(), vendor: "ABC".into() },
        key: KeyPair::new("oNDxM33uE81ohWuVRtWT", &Secret::new(SECRET.to_owned())).unwrap(),
    }))
}

fn at(s: u64) -> Now {
    Now {
        wall: Wall::from_us(1_795_291_200_000_000) + Duration::from_secs(s),
        mono: Mono::from_ns(s * 1_000_000_000),
    }
}

fn numbers(next_out: u64, next_in: u64) -> Numbers {
    Numbers { next_out, next_in }
}

/// A message of the server: `A 1 108=30` is a Logon with number 1; `+` before the number marks PossDupFlag.
fn server(text: &str) -> Vec<u8> {
    let mut words = text.split(' ');
    let msg_type = words.next().unwrap();
    let number = words.next().unwrap();
    let (number, poss_dup) = number.strip_prefix('+').map_or((number, false), |number| (number, true));
    let mut out = Vec::new();
    let mut builder = Builder::begin(&mut out, b"FIX.4.2", msg_type.as_bytes()).field(34, number);
    if poss_dup {
        builder = builder.field(43, "Y");
    }
    builder = builder.field(49, "CME").field(50, "G").field(56, "B08004N").field(57, "MSG");
    for word in words {
        let (tag, value) = word.split_once('=').unwrap();
        builder = builder.field(tag.parse().unwrap(), value.replace('_', " "));
    }
    builder.finish();
    out
}

fn servers(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| server(text)).collect()
}

/// One output as a line: `save 2 1`, `send A 34=1 …` with the telling fields, or the event.
fn line(output: Output) -> String {
    match output {
        Output::Save(Numbers { next_out, next_in }) => format!("save {next_out} {next_in}"),
        Output::Send(bytes) => {
            let mut fields = Fields::new();
            let message: Message<'_> = fields.read(&bytes).unwrap();
            let mut text = format!("send {}", message.msg_type().escape_ascii());
            for (tag, value) in message.fields() {
                if !matches!(tag, 8 | 9 | 10 | 35 | 49 | 50 | 52 | 56 | 57 | 142 | 369 | 122) {
                    text += &format!(" {tag}={}", value.escape_ascii());
                }
            }
            text
        }
        Output::Event(Event::Message(message)) => {
            format!("message {} {}", message.msg_type().escape_ascii(), message.seq_num())
        }
        Output::Event(Event::Ended(ending)) => format!("ended: {ending}"),
        Output::Event(event) => format!("{event:?}"),
        Output::Received(bytes) => format!("received {}", bytes.len()),
    }
}

fn drain(machine: &mut Initiator) -> Vec<String> {
    std::iter::from_fn(|| machine.poll()).map(line).collect()
}

fn hear(machine: &mut Initiator, s: u64, texts: &[&str]) -> Vec<String> {
    machine.receive(&servers(texts), at(s));
    drain(machine)
}

/// A machine that is logged on with these numbers: what came before is drained.
fn logged_on(numbers: Numbers, settings: Settings) -> Initiator {
    let mut machine = Initiator::new(settings, numbers).unwrap();
    machine.log_on(at(0));
    drain(&mut machine);
    let logon = format!("A {} 108=30", numbers.next_in);
    let heard = hear(&mut machine, 0, &[&logon]);
    assert!(heard.iter().any(|line| line.starts_with("LoggedOn")), "{heard:?}");
    machine
}

fn order() -> Body {
    Body::new().field(11, "A1").field(55, "ESZ6")
}

#[test]
fn a_signed_logon_says_all_that_is_required_and_its_signature_is_good() {
    let mut machine = Initiator::new(secure(), numbers(1, 1)).unwrap();
    machine.log_on(at(0));
    let Some(Output::Send(bytes)) = machine.poll() else { panic!("no Logon") };
    let mut fields = Fields::new();
    let logon = fields.read(&bytes).unwrap();
    let expected = [
        (8, "FIX.4.2"),
        (35, "A"),
        (34, "1"),
        (49, "B08004N"),
        (50, "MSG"),
        (52, "20261121-20:00:00.000"),
        (56, "CME"),
        (57, "G"),
        (142, "US,NY"),
        (369, "0"),
        (108, "30"),
        (1603, "BRIO"),
        (1604, "8.0"),
        (1605, "ABC"),
        (354, "20"),
        (355, "oNDxM33uE81ohWuVRtWT"),
        (1400, "CME-1-SHA-256"),
        (1401, "43"),
    ];
    for (tag, value) in expected {
        assert_eq!(logon.get(tag), Some(value.as_bytes()), "{tag}");
    }
    assert_eq!((logon.get(98), logon.get(141), logon.has_repeated()), (None, None, None));
    let canonical = b"1\nB08004N\nMSG\n20261121-20:00:00.000\nG\n30\nUS,NY\n0\nBRIO\n8.0\nABC";
    let pair = KeyPair::new("oNDxM33uE81ohWuVRtWT", &Secret::new(SECRET.to_owned())).unwrap();
    assert_eq!(logon.get(1402), Some(pair.sign(canonical).as_bytes()));
    assert_eq!(machine.poll(), None, "no number is counted before the answer");
}

#[test]
fn a_number_is_kept_before_the_message_and_after_the_event() {
    let mut machine = Initiator::new(secure(), numbers(1, 1)).unwrap();
    machine.log_on(at(0));
    drain(&mut machine);
    let heard = hear(&mut machine, 0, &["A 1 108=30", "1 2 112=hello", "8 3 11=A1"]);
    let logged_on = "LoggedOn { comp_id: \"B08004N\", session_status: None }";
    assert_eq!(
        heard,
        [
            "save 2 1",
            logged_on,
            "save 2 2",
            "save 3 2",
            "send 0 34=2 112=hello",
            "save 3 3",
            "message 8 3",
            "save 3 4"
        ]
    );
    assert_eq!(machine.send(b"D", &order(), at(1)), Ok(3));
    assert_eq!(drain(&mut machine), ["save 4 4", "send D 34=3 11=A1 55=ESZ6"]);
}

#[test]
fn a_refused_logon_moves_no_number() {
    let mut machine = Initiator::new(secure(), numbers(7, 9)).unwrap();
    machine.log_on(at(0));
    drain(&mut machine);
    machine.receive(
        &server("5 1 58=MsgSeqNum_too_low,_expecting_8_but_received_7._Logout_forced. 789=8"),
        at(0),
    );
    let refusal = Refusal {
        text: "MsgSeqNum too low, expecting 8 but received 7. Logout forced.".into(),
        next_expected: Some(8),
    };
    assert_eq!(machine.poll(), Some(Output::Event(Event::Ended(Ending::Refused(refusal)))));
    assert_eq!((machine.poll(), machine.numbers()), (None, numbers(7, 9)));
}

#[test]
fn a_logon_that_is_not_answered_ends() {
    let mut machine = Initiator::new(secure(), Numbers::FIRST).unwrap();
    machine.log_on(at(0));
    drain(&mut machine);
    assert_eq!(machine.deadline(), Some(at(10).mono));
    machine.timeout(at(10));
    assert_eq!(drain(&mut machine), ["ended: the server did not answer the Logon in time"]);
    assert_eq!(machine.deadline(), None);
}

#[test]
fn any_cut_of_the_bytes_gives_the_same_outputs() {
    let bytes = [
        servers(&["A 3 108=30", "1 4 112=x", "8 5 11=A"]),
        b"8=FIX.4.2\x019=5\x0135=0\x0110=000\x01garbage".to_vec(),
        servers(&["8 6 58=z"]),
        servers(&["2 7 7=1 16=0", "8 9 11=C", "8 +8 11=B", "5 10 58=bye"]),
    ]
    .concat();
    let run = |cuts: &[usize]| {
        let mut machine = Initiator::new(secure(), numbers(1, 1)).unwrap();
        machine.log_on(at(0));
        let mut lines = drain(&mut machine);
        let mut from = 0;
        for to in cuts.iter().copied().chain([bytes.len()]) {
            machine.receive(&bytes[from..to], at(0));
            lines.extend(drain(&mut machine));
            from = to;
        }
        lines
    };
    let whole = run(&[]);
    assert!(whole.iter().any(|line| line.starts_with("ended")), "{whole:#?}");
    for cut in 0..bytes.len() {
        assert_eq!(run(&[cut]), whole, "cut at {cut}");
    }
    let ones: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(run(&ones), whole);
}

#[test]
fn undelivered_messages_are_asked_for_after_a_mid_week_logon() {
    let mut machine = Initiator::new(secure(), numbers(5, 4)).unwrap();
    machine.log_on(at(0));
    drain(&mut machine);
    let heard = hear(&mut machine, 0, &["A 7 108=30", "1 8 112=t"]);
    assert_eq!(heard[0], "save 6 4");
    assert_eq!(
        &heard[2..],
        ["save 7 4", "send 2 34=6 7=4 16=6", "save 8 4", "send 0 34=7 112=t"],
        "the Test Request is answered at once"
    );
    let heard = hear(&mut machine, 1, &["8 +4 11=A", "8 +5 11=B", "4 +6 123=Y 36=7"]);
    assert_eq!(
        heard,
        ["message 8 4", "save 8 5", "message 8 5", "save 8 6", "save 8 7", "save 8 8", "save 8 9"]
    );
    assert_eq!(hear(&mut machine, 2, &["8 9 11=C"]), ["message 8 9", "save 8 10"]);
}

#[test]
fn messages_behind_a_gap_are_kept_and_come_in_order_once() {
    let mut machine = logged_on(numbers(1, 1), secure());
    assert_eq!(hear(&mut machine, 1, &["8 4 11=C"]), ["save 3 2", "send 2 34=2 7=2 16=3"]);
    assert_eq!(hear(&mut machine, 1, &["8 5 11=D", "8 4 11=C"]), [""; 0], "asked for once");
    let heard = hear(&mut machine, 1, &["8 +2 11=A", "8 +3 11=B", "8 +4 11=C"]);
    let messages: Vec<_> = heard.iter().filter(|line| line.starts_with("message")).collect();
    assert_eq!(messages, ["message 8 2", "message 8 3", "message 8 4", "message 8 5"]);
    assert_eq!(machine.numbers(), numbers(3, 6));
}

#[test]
fn a_gap_of_more_than_2500_is_asked_for_in_parts() {
    let mut machine = logged_on(numbers(1, 1), secure());
    let heard = hear(&mut machine, 1, &["8 6000 11=Z"]);
    assert_eq!(heard, ["save 3 2", "send 2 34=2 7=2 16=2501"]);
    let heard = hear(&mut machine, 1, &["4 +2 123=Y 36=2502"]);
    assert_eq!(heard, ["save 3 2502", "save 4 2502", "send 2 34=3 7=2502 16=5001"]);
    let heard = hear(&mut machine, 1, &["4 +2502 123=Y 36=5002"]);
    assert_eq!(heard, ["save 4 5002", "save 5 5002", "send 2 34=4 7=5002 16=5999"]);
    let heard = hear(&mut machine, 1, &["4 +5002 123=Y 36=6000"]);
    assert_eq!(heard, ["save 5 6000", "message 8 6000", "save 5 6001"]);
}

#[test]
fn what_does_not_fit_behind_a_gap_is_asked_for_again() {
    let mut machine = logged_on(numbers(1, 1), secure());
    for number in 3..8_000_u64 {
        hear(&mut machine, 1, &[&format!("8 {number} 11=x")]);
    }
    let State::On(on) = &machine.state else { panic!() };
    assert_eq!((on.ahead.messages.len(), on.ahead.highest), (5_000, 7_999));
    let heard = hear(&mut machine, 1, &["8 +2 11=A"]);
    assert_eq!(heard.last().unwrap(), "send 2 34=3 7=5003 16=7502");
}

#[test]
fn a_gap_that_is_never_filled_ends_the_session() {
    let mut machine = logged_on(numbers(1, 1), secure());
    hear(&mut machine, 0, &["8 4 11=C"]);
    let mut lines = Vec::new();
    for s in 1..200 {
        // A server that lives and does not send what is missing.
        hear(&mut machine, s, &[&format!("0 {}", s + 4)]);
        machine.timeout(at(s));
        lines.extend(drain(&mut machine).into_iter().filter(|line| !line.starts_with("save")));
    }
    let requests = lines.iter().filter(|line| line.starts_with("send 2")).count();
    assert_eq!(requests, 2, "with the first one three");
    assert_eq!(
        lines.last().unwrap(),
        "ended: the server broke the session: messages from 2 on are missing and were not sent again"
    );
}

#[test]
fn a_resend_brings_application_messages_again_and_passes_over_the_rest() {
    let mut machine = logged_on(numbers(1, 1), secure());
    machine.send(b"D", &order(), at(1)).unwrap();
    machine.test(at(1)).unwrap();
    machine.send(b"F", &Body::new().field(41, "A1"), at(2)).unwrap();
    drain(&mut machine);
    let heard = hear(&mut machine, 9, &["2 2 7=1 16=0"]);
    assert_eq!(
        heard,
        [
            "send 4 34=1 43=Y 123=Y 36=2",
            "send D 34=2 43=Y 11=A1 55=ESZ6",
            "send 4 34=3 43=Y 123=Y 36=4",
            "send F 34=4 43=Y 41=A1",
            "save 5 3",
        ]
    );
    assert_eq!(hear(&mut machine, 9, &["2 3 7=3 16=3"]), ["send 4 34=3 43=Y 123=Y 36=4", "save 5 4"]);
    let heard = hear(&mut machine, 9, &["2 4 7=9 16=0"]);
    assert_eq!(heard[1], "send 3 34=5 45=4 371=7 372=2 373=5 58=BeginSeqNo out of range");
}

#[test]
fn a_resent_message_carries_when_it_was_sent_first() {
    let mut machine = logged_on(numbers(1, 1), secure());
    machine.send(b"D", &order(), at(1)).unwrap();
    drain(&mut machine);
    machine.receive(&server("2 2 7=2 16=2"), at(9));
    let Some(Output::Send(bytes)) = machine.poll() else { panic!() };
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains("\u{1}52=20261121-20:00:09.000\u{1}"), "{text}");
    assert!(text.contains("\u{1}122=20261121-20:00:01.000\u{1}"), "{text}");
}

#[test]
fn what_a_process_before_this_one_sent_is_passed_over_and_told() {
    let mut machine = logged_on(numbers(40, 1), secure());
    let heard = hear(&mut machine, 1, &["2 2 7=30 16=0"]);
    assert_eq!(heard, ["NotResent { from: 30, to: 39 }", "send 4 34=30 43=Y 123=Y 36=41", "save 41 3"]);
}

#[test]
fn orders_are_not_sent_again_where_that_is_not_wanted() {
    let mut machine = logged_on(numbers(1, 1), Settings { resend: Resend::PassOver, ..secure() });
    machine.send(b"D", &order(), at(1)).unwrap();
    drain(&mut machine);
    let heard = hear(&mut machine, 9, &["2 2 7=2 16=0"]);
    assert_eq!(heard, ["NotResent { from: 2, to: 2 }", "send 4 34=2 43=Y 123=Y 36=3", "save 3 3"]);
}

#[test]
fn messages_are_kept_over_a_reconnection() {
    let mut machine = logged_on(numbers(1, 1), secure());
    machine.send(b"D", &order(), at(1)).unwrap();
    drain(&mut machine);
    machine.closed("", at(2));
    assert_eq!(drain(&mut machine), ["ended: the connection was closed without a Logout"]);
    machine.log_on(at(3));
    assert!(drain(&mut machine)[0].starts_with("send A 34=3 "));
    let heard = hear(&mut machine, 3, &["A 2 108=30", "2 3 7=2 16=0"]);
    assert_eq!(heard[3..], ["send D 34=2 43=Y 11=A1 55=ESZ6", "send 4 34=3 43=Y 123=Y 36=4", "save 4 4"]);
}

#[test]
fn duplicates_are_dropped_and_too_low_numbers_end_the_session() {
    let mut machine = logged_on(numbers(1, 1), secure());
    hear(&mut machine, 1, &["8 2 11=A"]);
    assert_eq!(hear(&mut machine, 1, &["8 +2 11=A", "4 +1 123=Y 36=2"]), [""; 0]);
    let heard = hear(&mut machine, 1, &["8 2 11=A"]);
    let text = "MsgSeqNum too low, expecting 3 but received 2";
    assert_eq!(
        heard[1..],
        [format!("send 5 34=2 58={text}"), format!("ended: the server broke the session: {text}")]
    );
}

#[test]
fn a_sequence_reset_goes_forward_only() {
    let mut machine = logged_on(numbers(1, 1), secure());
    assert_eq!(hear(&mut machine, 1, &["4 99 36=20"]), ["save 2 20"], "whatever its own number");
    assert_eq!(hear(&mut machine, 1, &["8 20 11=A"]), ["message 8 20", "save 2 21"]);
    let heard = hear(&mut machine, 1, &["4 21 36=5"]);
    assert_eq!(heard[1], "send 3 34=2 45=21 371=36 372=4 373=5 58=NewSeqNo too low");
    let heard = hear(&mut machine, 1, &["4 21 123=Y 36=21"]);
    assert_eq!(heard[1], "send 3 34=3 45=21 371=36 372=4 373=5 58=NewSeqNo too low");
    assert_eq!(machine.numbers().next_in, 22);
}

#[test]
fn silence_is_broken_by_heartbeats_probed_and_then_ended() {
    let mut machine = logged_on(numbers(1, 1), secure());
    assert_eq!(machine.deadline(), Some(at(30).mono));
    machine.timeout(at(30));
    assert_eq!(drain(&mut machine), ["save 3 2", "send 0 34=2"]);
    assert_eq!(machine.deadline(), Some(at(36).mono));
    machine.timeout(at(36));
    assert_eq!(drain(&mut machine), ["save 4 2", "send 1 34=3 112=test-3"]);
    hear(&mut machine, 37, &["0 2 112=test-3"]);
    machine.timeout(at(66));
    assert_eq!(drain(&mut machine), ["save 5 3", "send 0 34=4"]);
    machine.timeout(at(73));
    assert_eq!(drain(&mut machine), ["save 6 3", "send 1 34=5 112=test-5"]);
    machine.timeout(at(110));
    assert_eq!(drain(&mut machine), ["ended: nothing came from the server any more"]);
}

#[test]
fn an_in_session_reset_probes_first_and_begins_anew() {
    let mut machine = logged_on(numbers(1, 1), secure());
    machine.send(b"D", &order(), at(1)).unwrap();
    machine.reset(at(1)).unwrap();
    assert_eq!(drain(&mut machine)[2..], ["save 4 2", "send 1 34=3 112=reset-3"]);
    assert_eq!(machine.send(b"D", &order(), at(1)), Err(Misuse::UnderWay("reset")));
    let heard = hear(&mut machine, 1, &["8 2 11=A", "0 3 112=reset-3"]);
    assert_eq!(
        heard[..4],
        ["message 8 2", "save 4 3", "save 4 4", "save 4 1"],
        "good whether it is taken or not"
    );
    assert!(heard[4].starts_with("send A 34=1 108=30 141=Y 1603=BRIO "), "{}", heard[4]);
    let heard = hear(&mut machine, 2, &["8 4 11=B", "A 1 108=30 141=Y"]);
    assert_eq!(heard, ["message 8 4", "save 4 1", "save 2 2", "Reset"]);
    assert_eq!(machine.send(b"D", &order(), at(3)), Ok(2));
    assert_eq!(hear(&mut machine, 3, &["8 2 11=A1"])[2..], ["message 8 2", "save 3 3"]);
    // What was sent before the reset is not sent again under a number of the new series.
    let heard = hear(&mut machine, 4, &["2 3 7=1 16=0"]);
    assert_eq!(heard[..2], ["send 4 34=1 43=Y 123=Y 36=2", "send D 34=2 43=Y 11=A1 55=ESZ6"]);
}

#[test]
fn a_reset_waits_until_no_gap_is_open() {
    let mut machine = logged_on(numbers(1, 1), secure());
    machine.reset(at(1)).unwrap();
    drain(&mut machine);
    assert_eq!(hear(&mut machine, 1, &["0 4 112=reset-2"]), ["save 4 2", "send 2 34=3 7=2 16=3"]);
    let heard = hear(&mut machine, 1, &["8 +2 11=A", "8 +3 11=B"]);
    assert!(heard.last().unwrap().starts_with("send A 34=1 "), "{heard:?}");
}

#[test]
fn a_reset_that_is_not_answered_ends() {
    let mut machine = logged_on(numbers(1, 1), secure());
    machine.reset(at(1)).unwrap();
    drain(&mut machine);
    machine.timeout(at(11));
    assert_eq!(drain(&mut machine), ["ended: the server did not answer the Logon in time"]);
}

#[test]
fn a_logon_that_nobody_asked_for_ends_the_session() {
    for text in ["A 2 108=30", "A 1 108=30 141=Y"] {
        let mut machine = logged_on(numbers(1, 1), secure());
        let heard = hear(&mut machine, 1, &[text]);
        assert_eq!(heard.last().unwrap(), "ended: the server broke the session: an unexpected Logon");
    }
    let mut machine = Initiator::new(secure(), numbers(5, 5)).unwrap();
    machine.log_on(at(0));
    drain(&mut machine);
    let heard = hear(&mut machine, 1, &["A 1 108=30 141=Y"]);
    assert_eq!(heard.last().unwrap(), "ended: the server broke the session: an unexpected Logon");
}

#[test]
fn a_logout_either_way_is_confirmed_and_numbers_are_kept() {
    let mut machine = logged_on(numbers(1, 1), secure());
    machine.log_out(at(1));
    machine.log_out(at(1));
    assert_eq!(drain(&mut machine), ["save 3 2", "send 5 34=2"]);
    let heard = hear(&mut machine, 1, &["8 2 11=A", "5 3 789=3"]);
    assert_eq!(heard, ["message 8 2", "save 3 3", "save 3 4", "ended: logged out"]);

    let mut machine = logged_on(numbers(1, 1), secure());
    let heard = hear(&mut machine, 1, &["5 2 58=Session_closed._Logout_forced. 789=2"]);
    let said = "Session closed. Logout forced. (next expected: 2)";
    assert_eq!(
        heard,
        ["save 2 3", "save 3 3", "send 5 34=2", &format!("ended: the server logged us out: {said}")]
    );

    let mut machine = logged_on(numbers(1, 1), secure());
    machine.log_out(at(1));
    drain(&mut machine);
    machine.timeout(at(11));
    assert_eq!(drain(&mut machine), ["ended: logged out, which the server did not confirm"]);
}

#[test]
fn what_the_server_said_before_it_closed_is_heard() {
    let mut machine = logged_on(numbers(1, 1), secure());
    machine.receive(&servers(&["8 2 11=A", "5 3 58=bye"]), at(1));
    machine.closed("reset by peer", at(1));
    assert_eq!(drain(&mut machine).last().unwrap(), "ended: the server logged us out: bye");
}

#[test]
fn garbage_is_borne_ten_times_in_a_row() {
    let mut machine = logged_on(numbers(1, 1), secure());
    let mut wrong = server("8 2 11=A");
    let at_sum = wrong.len() - 2;
    wrong[at_sum] = if wrong[at_sum] == b'0' { b'1' } else { b'0' };
    machine.receive(&wrong.repeat(10), at(1));
    assert_eq!(drain(&mut machine), [""; 0]);
    assert_eq!(hear(&mut machine, 1, &["8 2 11=A"]), ["message 8 2", "save 2 3"]);
    machine.receive(&wrong.repeat(11), at(1));
    assert_eq!(drain(&mut machine).last().unwrap(), "ended: the server broke the session: garbled bytes");
}

#[test]
fn hostile_messages_end_the_session_and_never_more() {
    let cases = [
        ("8 0 11=A", "a message without MsgSeqNum (34)"),
        ("8 x 11=A", "a message without MsgSeqNum (34)"),
        ("8 1000000000000000000 11=A", "a message without MsgSeqNum (34)"),
        ("8 2 49=EVIL", ""),
        ("8 999999999999999999 11=A", ""),
        ("4 999999999999999999 36=999999999999999999", ""),
        ("4 2 123=Y", ""),
        ("2 2", ""),
        ("2 2 7=999999999999999999 16=1", ""),
        ("5 999999999999999999", ""),
        ("3 2 373=99999", ""),
    ];
    for (text, why) in cases {
        let mut machine = logged_on(numbers(1, 1), secure());
        let heard = hear(&mut machine, 1, &[text]);
        if !why.is_empty() {
            assert_eq!(
                heard.last().unwrap(),
                &format!("ended: the server broke the session: {why}"),
                "{text}"
            );
        }
        for s in 2..400 {
            machine.timeout(at(s));
            drain(&mut machine);
        }
        assert!(matches!(machine.state, State::Off), "{text}");
    }
    let mut machine = logged_on(numbers(1, 1), secure());
    machine.receive(b"8=FIX.4.2\x019=99999999\x01", at(1));
    let ended = "ended: the server broke the session: a message of more than 65536 bytes";
    assert_eq!(drain(&mut machine).last().unwrap(), ended);
}

#[test]
fn a_message_of_another_session_ends_it() {
    let mut machine = Initiator::new(secure(), Numbers::FIRST).unwrap();
    machine.log_on(at(0));
    drain(&mut machine);
    let mut out = Vec::new();
    Builder::begin(&mut out, b"FIX.4.2", b"A").number(34, 1).field(49, "CME").field(56, "XXX004N").finish();
    machine.receive(&out, at(0));
    let ended = "ended: the server broke the session: a message of another session: 49=CME 56=XXX004N";
    assert_eq!(drain(&mut machine), [ended]);
}

#[test]
fn the_indicator_that_the_server_gives_holds() {
    let mut settings = secure();
    let Credentials::Secure(secure) = &mut settings.credentials else { panic!() };
    secure.comp_id = CompId::parse(b"B08004U").unwrap();
    let mut machine = Initiator::new(settings, Numbers::FIRST).unwrap();
    machine.log_on(at(0));
    drain(&mut machine);
    let mut out = Vec::new();
    Builder::begin(&mut out, b"FIX.4.2", b"A").number(34, 1).field(49, "CME").field(56, "B08004P").finish();
    machine.receive(&out, at(0));
    assert!(drain(&mut machine)[1].starts_with("LoggedOn { comp_id: \"B08004P\""));
    machine.test(at(1)).unwrap();
    let Some(Output::Send(bytes)) =
        std::iter::from_fn(|| machine.poll()).find(|o| matches!(o, Output::Send(_)))
    else {
        panic!()
    };
    assert!(String::from_utf8(bytes).unwrap().contains("\u{1}49=B08004P\u{1}"));
}

fn trader(reset: bool) -> Settings {
    let mut trader = TraderLogon::new("julian@example.com", Secret::new("pw".to_owned()));
    trader.code = Some(Secret::new("123456".to_owned()));
    trader.reset = reset;
    Settings::new(Credentials::Trader(trader))
}

fn to_trader(text: &str) -> Vec<u8> {
    let text = server(text);
    let text = String::from_utf8(text).unwrap();
    let mut out = Vec::new();
    let mut builder =
        Builder::begin(&mut out, b"FIX.4.4", &text.split("\u{1}35=").nth(1).unwrap().as_bytes()[..1]);
    for field in text.split('\u{1}').skip(3).filter(|field| !field.is_empty()) {
        let (tag, value) = field.split_once('=').unwrap();
        match tag {
            "10" | "50" | "57" => {}
            "56" => builder = builder.field(56, "julian@example.com"),
            _ => builder = builder.field(tag.parse().unwrap(), value),
        }
    }
    builder.finish();
    out
}

#[test]
fn a_trader_logs_on_with_password_and_code() {
    let mut machine = Initiator::new(trader(false), numbers(4, 6)).unwrap();
    machine.log_on(at(0));
    let lines = drain(&mut machine);
    assert_eq!(lines, ["send A 34=4 98=0 108=30 95=2 96=pw 20030=123456"]);
    machine.receive(&to_trader("A 6 98=0 108=30 1409=1"), at(0));
    let heard = drain(&mut machine);
    assert_eq!(
        heard,
        ["save 5 6", "LoggedOn { comp_id: \"julian@example.com\", session_status: Some(1) }", "save 5 7"]
    );
}

#[test]
fn a_trader_may_begin_anew_with_the_logon() {
    let mut machine = Initiator::new(trader(true), numbers(4, 6)).unwrap();
    machine.log_on(at(0));
    assert_eq!(drain(&mut machine), ["send A 34=1 98=0 108=30 95=2 96=pw 141=Y 20030=123456"]);
    machine.receive(&to_trader("A 1 98=0 108=30 141=Y"), at(0));
    assert_eq!(drain(&mut machine).last().unwrap(), "save 2 2");
}

#[test]
fn what_cannot_be_sent_is_told_and_changes_nothing() {
    let mut machine = Initiator::new(secure(), Numbers::FIRST).unwrap();
    assert_eq!(machine.send(b"D", &order(), at(0)), Err(Misuse::NotLoggedOn));
    let mut machine = logged_on(numbers(1, 1), secure());
    assert_eq!(machine.send(b"A", &order(), at(0)), Err(Misuse::MsgType));
    assert_eq!(machine.send(b"D|", &order(), at(0)), Err(Misuse::MsgType));
    let body = Body::new().field(58, "x".repeat(70_000));
    assert!(matches!(machine.send(b"D", &body, at(0)), Err(Misuse::TooLong { .. })));
    assert_eq!((drain(&mut machine).len(), machine.numbers()), (0, numbers(2, 2)));
    assert!(Initiator::new(Settings { heartbeat_s: 0, ..secure() }, Numbers::FIRST).is_err());
    assert!(Initiator::new(Settings { venue: "C\u{1}".into(), ..secure() }, Numbers::FIRST).is_err());
}

#[test]
fn spoilt_bytes_never_panic_and_memory_stays_bounded() {
    let whole = servers(&[
        "A 3 108=30",
        "1 4 112=x",
        "8 5 11=A",
        "2 6 7=1 16=0",
        "4 7 123=Y 36=9",
        "8 12 11=C",
        "3 9 45=1 58=no",
        "4 10 36=11",
        "8 +2 11=B",
        "A 1 141=Y 108=30",
        "0 11",
        "5 12 58=bye 789=3",
    ]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for _ in 0..3_000 {
        let mut bytes = whole.clone();
        for _ in 0..random(6) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = u8::try_from(random(256)).unwrap(),
                1 => drop(bytes.drain(at..(at + random(40)).min(bytes.len()))),
                _ => bytes[at] = b"0123456789=\x01"[random(12)],
            }
        }
        let mut machine = Initiator::new(secure(), numbers(1, 1)).unwrap();
        machine.log_on(at(0));
        let mut s = 0;
        for piece in bytes.chunks(1 + random(200)) {
            s += random(20) as u64;
            machine.receive(piece, at(s));
            drain(&mut machine);
            let _ = machine.send(b"D", &order(), at(s));
            machine.timeout(at(s));
            assert!(drain(&mut machine).len() < 100);
            assert!(machine.input.len() <= bytes.len());
        }
        machine.closed("", at(s));
        drain(&mut machine);
        assert!(matches!(machine.state, State::Off));
    }
}
