//! The session layer: heartbeats, silence, numbers, gaps, resets, garbled messages, logouts.

use super::{logged_on, opened, trader};
use crate::fix::session::Output;

/// A trader who is logged on: the client's next number is 2, ours is 2.
const TRADER: &str = "
    trader 34=1|49=julian|52=NOW|56=CME|98=0|108=30|554=secret|
    > login julian secret -
    verdict granted
    > claim trader/p0000000000000015 34=1
    yours 1/1
    > numbers 2/1 durable
    > 35=A|34=1|98=0|108=30|
";

#[test]
fn a_heartbeat_goes_out_when_nothing_else_did_for_108_seconds() {
    logged_on().play(
        "
        35=0|34=2|
        wait 20
        35=0|34=3|
        wait 10
        > 35=0|34=3|369=3|
        35=0|34=4|
        wait 15
        35=1|34=5|112=x|
        > 35=0|34=4|369=5|112=x|
        wait 29
        35=0|34=6|
        wait 1
        > 35=0|34=5|369=6|
        ",
    );
}

#[test]
fn after_108_seconds_of_silence_a_test_request_and_after_as_long_again_the_end() {
    logged_on().play(
        "
        wait 29
        35=0|34=2|
        wait 1
        > 35=0|34=3|369=2|
        wait 29
        > 35=1|34=4|369=2|112=4|
        wait 29.999
        35=0|34=3|
        wait 0.001
        > 35=0|34=5|369=3|
        ",
    );
    logged_on().play(
        "
        wait 29
        35=0|34=2|
        wait 1
        > 35=0|34=3|369=2|
        wait 29
        > 35=1|34=4|369=2|112=4|
        wait 30
        > numbers 3/5 exact
        > note logged-out not-answering
        > close not-answering
        ",
    );
}

#[test]
fn a_trader_is_tested_after_one_and_a_fifth_of_108() {
    let mut s = trader();
    s.play(TRADER).play(
        "
        wait 30
        > 35=0|34=2|
        wait 6
        > 35=1|34=3|112=3|
        wait 30
        > 35=0|34=4|
        wait 6
        > numbers 2/5 exact
        > note logged-out not-answering
        > close not-answering
        ",
    );
}

#[test]
fn a_test_request_is_answered_with_its_id_and_one_without_is_rejected() {
    logged_on().play(
        "
        35=1|34=2|112=are you there|
        > 35=0|34=3|369=2|112=are you there|
        35=1|34=3|
        > 35=3|34=4|369=3|45=3|58=TestReqID (112) tag is not present|371=112|372=1|373=1|
        ",
    );
}

#[test]
fn no_test_request_is_sent_while_a_resend_runs() {
    let mut s = logged_on();
    s.play(
        "
        app 8 37=a|
        > save-out 3 8
        > 35=8|34=3|369=1|37=a|
        35=2|34=2|7=1|16=0|
        > read 1-3
        wait 30
        > 35=0|34=4|369=2|
        wait 5
        stored
        > 35=4|34=1|43=Y|122=NOW|369=2|36=3|123=Y|
        > 35=8|34=3|43=Y|122=20261124-20:00:00.000|369=2|37=a|
        wait 0
        > 35=1|34=5|369=2|112=5|
        ",
    );
}

#[test]
fn f6_who_asks_for_a_resend_and_falls_silent_is_dropped_as_anybody_else() {
    let mut s = logged_on();
    s.play(
        "
        35=2|34=2|7=1|16=0|
        > read 1-2
        wait 30
        > 35=0|34=3|369=2|
        wait 29.999
        wait 0.001
        > numbers 3/4 exact
        > note logged-out not-answering
        > close not-answering
        ",
    );
    assert!(s.session.release().is_some());
}

#[test]
fn f8_application_messages_are_saved_before_they_are_delivered_and_before_they_are_sent() {
    logged_on().play(
        "
        35=D|34=2|11=a|
        > save-in 2 D
        > deliver 2 D
        app 8 37=a|
        > save-out 3 8
        > 35=8|34=3|369=2|37=a|
        35=UX|34=3|9999=anything|
        > save-in 3 UX
        > deliver 3 UX
        ",
    );
}

#[test]
fn an_application_message_without_its_header_is_rejected_and_counted() {
    for (tag, name) in [("50", "SenderSubID"), ("57", "TargetSubID"), ("142", "SenderLocationID")] {
        logged_on().play(&format!(
            "
            35=D|34=2|11=a|-{tag}|
            > 35=3|34=3|369=2|45=2|58={name} ({tag}) tag is not present|371={tag}|372=D|373=1|
            35=0|34=3|-{tag}|
            35=D|34=4|11=b|
            > save-in 4 D
            > deliver 4 D
            "
        ));
    }
}

#[test]
fn a_message_that_is_not_from_this_peer_or_not_for_us_logs_out() {
    for (field, text) in [
        ("49=ABC001P", "Received invalid fault tolerance indicator = (P) Logout forced."),
        ("49=XYZ001N", "SenderCompID (49) has an incorrect value: XYZ001N should be ABC001N"),
        ("56=ICE", "TargetCompID (56) has an incorrect value: ICE should be CME"),
        ("57=92", "TargetSubID (57) has an incorrect value: 92 should be G"),
    ] {
        logged_on().play(&format!(
            "
            35=D|34=2|{field}|11=a|
            > 35=5|34=3|369=1|58={text}|789=2|
            > numbers 2/4 exact
            > note logged-out wrong-header
            > close wrong-header
            "
        ));
    }
}

#[test]
fn f8_too_low_without_possdup_logs_out_and_with_it_is_dropped() {
    logged_on().play(
        "
        35=0|34=2|
        35=D|34=2|43=Y|11=again|
        35=D|34=1|43=Y|122=20261124-19:00:00.000|11=again|
        35=D|34=2|11=again|
        > 35=5|34=3|369=2|58=MsgSeqNum too low, expecting 3 but received 2. Logout forced.|789=3|
        > numbers 3/4 exact
        > note logged-out sequence-too-low
        > close sequence-too-low
        ",
    );
}

#[test]
fn a_message_without_a_good_number_logs_out() {
    for (field, text) in [
        ("", "MsgSeqNum (34) tag is not present"),
        ("34=-2|", "MsgSeqNum (34) has an incorrect value: -2 should be 2"),
        ("34=1000000000000000000|", "MsgSeqNum (34) has an incorrect value: 1000000000000000000 should be 2"),
        ("34=0|", "MsgSeqNum too low, expecting 2 but received 0. Logout forced."),
    ] {
        let mut s = logged_on();
        s.feed(&format!("35=D|{field}11=a|"));
        assert_eq!(s.sent[2], format!("35=5|34=3|369=1|58={text}|789=2|"));
        assert!(s.session.is_closed());
    }
}

#[test]
fn too_high_asks_again_and_queues() {
    logged_on().play(
        "
        35=D|34=4|11=c|
        > 35=2|34=3|369=1|7=2|16=3|
        35=1|34=6|112=e|
        35=0|34=7|
        35=D|34=2|43=Y|11=a|
        > save-in 2 D
        > deliver 2 D
        35=D|34=3|43=Y|11=b|
        > save-in 3 D
        > deliver 3 D
        > save-in 4 D
        > deliver 4 D
        > 35=2|34=4|369=4|7=5|16=5|
        35=4|34=5|43=Y|123=Y|36=6|
        > 35=0|34=5|369=6|112=e|
        35=D|34=8|11=f|
        > save-in 8 D
        > deliver 8 D
        ",
    );
}

#[test]
fn a_gap_that_stays_is_asked_for_again_after_108_seconds() {
    let mut s = logged_on();
    s.play("35=D|34=4|11=c|\n> 35=2|34=3|369=1|7=2|16=3|\n wait 29\n 35=D|34=5|11=d|");
    s.feed("wait 2");
    s.play("35=D|34=6|11=e|\n> 35=2|34=5|369=1|7=2|16=3|");
}

#[test]
fn l1_what_waits_behind_a_gap_is_bounded_and_asked_for_again() {
    let mut s = logged_on();
    s.feed("35=D|34=3|11=first|");
    for number in 4..2_000 {
        s.feed(&format!("35=D|34={number}|11={}|", "x".repeat(60)));
    }
    assert!(s.session.memory() < 256 * 1024, "{}", s.session.memory());
    s.feed("35=D|34=2|43=Y|11=missed|");
    let next = s.session.numbers().unwrap().next_in;
    assert!((100..1_003).contains(&next), "{next}");
    let last = s.sent.len();
    s.feed("35=0|34=2000|");
    assert_eq!(s.sent[last], format!("35=2|34=4|369={}|7={next}|16=1999|", next - 1));
}

#[test]
fn a_resend_request_behind_a_gap_is_answered_at_once() {
    logged_on().play(
        "
        35=2|34=3|7=1|16=0|
        > read 1-2
        > 35=2|34=3|369=1|7=2|16=2|
        stored
        > 35=4|34=1|43=Y|122=NOW|369=1|36=3|123=Y|
        35=4|34=2|43=Y|123=Y|36=3|
        35=1|34=4|112=a|
        > 35=0|34=4|369=4|112=a|
        ",
    );
}

#[test]
fn a_sequence_reset_fills_gaps_or_sets_the_number() {
    logged_on().play(
        "
        35=4|34=2|123=Y|36=10|
        35=1|34=10|112=a|
        > 35=0|34=3|369=10|112=a|
        35=4|34=1|36=20|
        35=1|34=20|112=b|
        > 35=0|34=4|369=20|112=b|
        35=4|34=1|123=N|36=21|
        35=1|34=21|112=c|
        > 35=0|34=5|369=21|112=c|
        35=4|34=22|
        > 35=3|34=6|369=21|45=22|58=NewSeqNo (36) tag is not present|371=36|372=4|373=1|
        ",
    );
}

#[test]
fn a_sequence_reset_to_a_lower_number_logs_out_and_a_traders_is_rejected() {
    for (message, least) in
        [("35=4|34=9|36=1|", 2), ("35=4|34=2|123=Y|36=2|", 3), ("35=4|34=2|123=Y|36=x|", 3)]
    {
        let mut s = logged_on();
        s.feed(message);
        let new = message.rsplit("36=").next().unwrap().trim_end_matches('|');
        let text = format!("NewSeqNo (36) has an incorrect value: {new} should be at least {least}");
        assert_eq!(s.sent[2], format!("35=5|34=3|369=1|58={text}|789=2|"));
        assert_eq!(s.session.release().unwrap().1.numbers.next_in, 2);
    }
    let mut s = trader();
    s.play(TRADER).feed("");
    let reset = super::frame("FIX.4.4", &format!("35=4|34=2|49=julian|52={}|56=CME|123=Y|36=1|", s.time()));
    s.receive(&reset);
    s.play("> 35=3|34=2|45=2|58=NewSeqNo (36) has an incorrect value: 1 should be at least 3|371=36|372=4|373=5|");
    assert_eq!(s.session.numbers().unwrap().next_in, 3);
}

#[test]
fn a_reset_past_what_waits_drops_it_and_one_up_to_it_goes_on() {
    logged_on().play(
        "
        35=D|34=4|11=c|
        > 35=2|34=3|369=1|7=2|16=3|
        35=4|34=1|36=4|
        > save-in 4 D
        > deliver 4 D
        35=1|34=5|112=a|
        > 35=0|34=4|369=5|112=a|
        ",
    );
}

#[test]
fn garbled_messages_are_dropped_and_more_than_ten_in_a_row_log_out() {
    let mut s = logged_on();
    let garbled = "raw 8=FIX.4.2|9=5|35=0|10=000|\n";
    s.play(&garbled.repeat(10)).play("35=1|34=2|112=a|\n> 35=0|34=3|369=2|112=a|");
    s.play(&garbled.repeat(10));
}

#[test]
fn the_eleventh_garbled_message_logs_out() {
    let mut s = logged_on();
    let garbled = "raw 8=FIX.4.2|9=5|35=0|10=000|\n";
    s.play(&garbled.repeat(10)).play(&format!(
        "{garbled}
        > 35=5|34=3|369=1|58=Too many garbled messages. Logout forced.|789=2|
        > numbers 2/4 exact
        > note logged-out garbled
        > close garbled"
    ));
}

#[test]
fn a_message_with_a_bad_tag_is_garbled() {
    logged_on().play(
        "
        35=D|34=2|0=x|
        35=D|34=2|01=x|
        35=D|34=2|12345678901234567890=x|
        35=D|34=2|x=1|
        35=D|34=2|354=99|355=abc|
        35=1|34=2|112=a|
        > 35=0|34=3|369=2|112=a|
        ",
    );
}

#[test]
fn a_message_longer_than_64_kib_logs_out() {
    logged_on().play(
        "
        raw 8=FIX.4.2|9=65536|35=D|
        > 35=5|34=3|369=1|58=Message too long. Logout forced.|789=2|
        > numbers 2/4 exact
        > note logged-out too-long
        > close too-long
        ",
    );
}

#[test]
fn the_clients_logout_is_confirmed_then_closed_and_the_numbers_are_kept() {
    let mut s = logged_on();
    s.play(
        "
        35=5|34=2|58=good night|
        > 35=5|34=3|369=2|789=3|
        > numbers 3/4 exact
        > note logged-out
        > close
        35=D|34=3|11=late|
        ",
    );
    let (_, state) = s.session.release().unwrap();
    assert_eq!((state.numbers.next_in, state.numbers.next_out), (3, 4));
}

#[test]
fn our_logout_waits_two_seconds_for_the_peers() {
    let mut s = logged_on();
    s.play(
        "
        end week-closed
        > 35=5|34=3|369=1|58=Session closed. Logout forced.|789=2|
        35=D|34=2|11=too late|
        app 8 37=a|
        > save-out 4 8
        35=5|34=2|
        > numbers 3/5 exact
        > note logged-out week-closed
        > close week-closed
        ",
    );
    let (_, state) = s.session.release().unwrap();
    assert_eq!((state.numbers.unsent_from, state.numbers.unsent_to), (4, 5));
    logged_on().play(
        "
        end key
        > 35=5|34=3|369=1|58=Session ended. Logout forced.|789=2|
        wait 2
        > numbers 2/4 exact
        > note logged-out access-key-deleted
        > close access-key-deleted
        ",
    );
}

#[test]
fn a_trader_is_logged_on_over_the_weekend() {
    let mut s = trader();
    s.play(TRADER).play("end week-closed\n app 8 37=a|\n> save-out 2 8\n> 35=8|34=2|37=a|");
}

#[test]
fn what_cannot_be_written_down_is_not_sent() {
    let mut s = logged_on();
    s.play("end not-saved\n> numbers 2/3 exact\n> note logged-out not-verified\n> close not-verified");
}

#[test]
fn a_half_open_connection_is_probed_and_dropped_after_two_seconds() {
    let mut s = logged_on();
    s.play(
        "
        probe
        > 35=1|34=3|369=1|112=3|
        probe
        wait 1.999
        ",
    );
    assert!(s.session.is_probed());
    s.play("wait 0.001\n> numbers 2/4 exact\n> note logged-out not-answering\n> close not-answering");
    assert!(s.session.release().is_some());
}

#[test]
fn a_connection_that_answers_the_probe_is_unharmed() {
    let mut s = logged_on();
    s.play("probe\n> 35=1|34=3|369=1|112=3|\n 35=0|34=2|112=3|");
    assert!(!s.session.is_probed());
    s.play("wait 3\n 35=D|34=3|11=a|\n> save-in 3 D\n> deliver 3 D");
}

#[test]
fn f8_no_number_is_sent_that_a_durable_ceiling_does_not_cover() {
    let mut s = logged_on();
    let mut durable = s.session.numbers().unwrap().ceiling;
    let mut stated = durable;
    for number in 2..1_000 {
        // Several in one input, so that what is only stated does not count.
        let burst: Vec<u8> = (0..5)
            .flat_map(|step| s.message(&format!("35=1|34={}|112=x|", (number - 2) * 5 + step + 2)))
            .collect();
        s.receive(&burst);
        while let Some(output) = s.session.poll() {
            match output {
                Output::SaveNumbers { numbers, durable: true } => durable = numbers.ceiling,
                Output::SaveNumbers { numbers, durable: false } => stated = numbers.ceiling,
                Output::Send(bytes) => {
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    let number: u64 =
                        text.split("\x0134=").nth(1).unwrap().split('\x01').next().unwrap().parse().unwrap();
                    assert!(number < durable, "{number} below {durable}");
                }
                other => panic!("{other:?}"),
            }
        }
        durable = durable.max(stated);
    }
}

#[test]
fn f8_a_ceiling_that_was_only_stated_holds_from_the_next_turn() {
    let mut s = logged_on();
    let burst = |s: &super::Script, from: u64, count: u64| -> Vec<u8> {
        (from..from + count).flat_map(|number| s.message(&format!("35=1|34={number}|112=x|"))).collect()
    };
    let statements = |s: &mut super::Script| -> Vec<String> {
        std::iter::from_fn(|| s.next()).filter(|line| line.starts_with("numbers")).collect()
    };
    // 64 were reserved with the Logon, of which it and the Test Request took two.
    s.receive(&burst(&s, 2, 31));
    assert_eq!(statements(&mut s), ["numbers 33/34"]);
    // In the same turn it does not count yet: at the old ceiling the disk is waited for.
    s.receive(&burst(&s, 33, 40));
    assert_eq!(statements(&mut s), ["numbers 65/66 durable"]);
    s.receive(&burst(&s, 73, 30));
    assert_eq!(statements(&mut s), ["numbers 98/99"]);
    s.now = s.now + std::time::Duration::from_millis(1);
    s.receive(&burst(&s, 103, 20));
    assert_eq!(statements(&mut s), Vec::<String>::new());
}

#[test]
fn no_memory_is_asked_for_by_further_messages() {
    let mut s = logged_on();
    let mut taken = Vec::new();
    for number in 2..200 {
        let bytes = s.message(&format!("35=D|34={number}|11=order|"));
        s.receive(&bytes);
        while s.session.poll().is_some() {}
        s.session.send_application(b"8", b"37=x\x01", s.now);
        while s.session.poll().is_some() {}
        taken.push(s.session.memory());
    }
    assert!(taken[3..].iter().all(|memory| *memory == taken[3]), "{taken:?}");
}

#[test]
fn an_idle_session_takes_less_than_two_kib() {
    let mut s = logged_on();
    let many: Vec<u8> = (2..500).flat_map(|number| s.message(&format!("35=D|34={number}|11=abc|"))).collect();
    s.receive(&many);
    while s.session.poll().is_some() {}
    s.feed("wait 31");
    assert!(s.session.memory() < 2_048, "{}", s.session.memory());
    assert!(opened().session.memory() < 1_024);
}
