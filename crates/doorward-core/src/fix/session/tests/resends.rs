//! Resend Requests of the client.

use super::{Script, logged_on, play};

/// Mid-week with what was stored while the client was away: our Logon is 14, 10 to 13 were not fetched.
fn with_undelivered() -> Script {
    let mut s = play(
        "
        logon 34=5
        > judge
        judged ok
        > claim cgw/ABC/001 34=5
        yours 5/14 unsent=10..14
        > save logon-granted 6/14
        saved
        > 35=A|34=14|369=5|108=30|1603=SYS|1604=1.0|1605=VEN|
        > 35=1|34=15|369=5|112=15|
        ",
    );
    for number in 10..14 {
        s.put(number, "8", &format!("37=o{number}|58=bytes \u{fc}|"));
    }
    s
}

#[test]
fn undelivered_messages_are_fetched_with_the_body_as_it_was() {
    let mut s = with_undelivered();
    s.play(
        "
        35=2|34=6|7=10|16=0|
        > read 10-15
        stored
        > 35=8|34=10|43=Y|122=20261124-19:00:00.000|369=6|37=o10|58=bytes \u{fc}|
        > 35=8|34=11|43=Y|122=20261124-19:00:00.000|369=6|37=o11|58=bytes \u{fc}|
        > 35=8|34=12|43=Y|122=20261124-19:00:00.000|369=6|37=o12|58=bytes \u{fc}|
        > 35=8|34=13|43=Y|122=20261124-19:00:00.000|369=6|37=o13|58=bytes \u{fc}|
        > read 14-15
        stored
        > 35=4|34=14|43=Y|122=NOW|369=6|36=16|123=Y|
        ",
    );
    let numbers = s.session.numbers().unwrap();
    assert_eq!(numbers.unsent_from, numbers.unsent_to);
}

#[test]
fn a_part_that_is_fetched_is_not_counted_as_left_behind() {
    let mut s = with_undelivered();
    s.feed("35=2|34=6|7=10|16=11|\n stored");
    let numbers = s.session.numbers().unwrap();
    assert_eq!((numbers.unsent_from, numbers.unsent_to), (12, 14));
}

#[test]
fn session_level_messages_and_holes_become_gap_fills() {
    let mut s = with_undelivered();
    s.store.retain(|(_, number), _| *number != 11);
    s.play(
        "
        35=2|34=6|7=1|16=13|
        > read 1-13
        stored
        > 35=4|34=1|43=Y|122=NOW|369=6|36=10|123=Y|
        > 35=8|34=10|43=Y|122=20261124-19:00:00.000|369=6|37=o10|58=bytes \u{fc}|
        > 35=4|34=11|43=Y|122=NOW|369=6|36=12|123=Y|
        > 35=8|34=12|43=Y|122=20261124-19:00:00.000|369=6|37=o12|58=bytes \u{fc}|
        > 35=8|34=13|43=Y|122=20261124-19:00:00.000|369=6|37=o13|58=bytes \u{fc}|
        ",
    );
}

#[test]
fn what_cannot_be_asked_for_is_rejected() {
    for (request, tag, expected) in [
        ("7=3|16=0|", "BeginSeqNo (7) has an incorrect value: 3 should be 1 to 2", 7),
        ("7=0|16=0|", "BeginSeqNo (7) has an incorrect value: 0 should be 1 to 2", 7),
        ("7=-1|16=0|", "BeginSeqNo (7) has an incorrect value: -1 should be 1 to 2", 7),
        ("7=2|16=1|", "EndSeqNo (16) has an incorrect value: 1 should be 0, or at least 2", 16),
    ] {
        logged_on().play(&format!(
            "
            35=2|34=2|{request}
            > 35=3|34=3|369=2|45=2|58={tag}|371={expected}|372=2|373=5|
            35=1|34=3|112=a|
            > 35=0|34=4|369=3|112=a|
            "
        ));
    }
    logged_on().play(
        "35=2|34=2|16=0|\n> 35=3|34=3|369=2|45=2|58=BeginSeqNo (7) tag is not present|371=7|372=2|373=1|",
    );
    logged_on().play(
        "35=2|34=2|7=1|\n> 35=3|34=3|369=2|45=2|58=EndSeqNo (16) tag is not present|371=16|372=2|373=1|",
    );
}

#[test]
fn another_request_meanwhile_is_rejected_and_duplicates_are_dropped() {
    with_undelivered().play(
        "
        35=2|34=6|7=10|16=0|
        > read 10-15
        35=2|34=7|7=10|16=0|
        > 35=3|34=16|369=7|45=7|58=Resend in progress|372=2|
        35=2|34=6|43=Y|7=10|16=0|
        35=2|34=8|43=Y|7=10|16=0|
        35=1|34=9|112=a|
        > 35=0|34=17|369=9|112=a|
        ",
    );
}

#[test]
fn the_first_2500_messages_of_a_range_are_answered() {
    let mut s = play(
        "
        logon 34=5
        > judge
        judged ok
        > claim cgw/ABC/001 34=5
        yours 5/4000 unsent=1..4000
        > save logon-granted 6/4000
        saved
        > 35=A|34=4000|369=5|108=30|1603=SYS|1604=1.0|1605=VEN|
        > 35=1|34=4001|369=5|112=4001|
        ",
    );
    for number in 1..4_000 {
        s.put(number, "8", "37=o|");
    }
    for (begin, last) in [(1, 2_500), (2_501, 4_001)] {
        let from = s.sent.len();
        s.feed(&format!("35=2|34={}|7={begin}|16=0|", if begin == 1 { 6 } else { 7 }));
        while s.read.is_some() {
            s.feed("stored");
        }
        let numbers: Vec<u64> = s.sent[from..]
            .iter()
            .filter(|line| line.starts_with("35=8|"))
            .map(|line| line.split("34=").nth(1).unwrap().split('|').next().unwrap().parse().unwrap())
            .collect();
        assert!(numbers.iter().copied().eq(begin..=last.min(3_999)), "{} numbers", numbers.len());
    }
    assert_eq!(s.sent.last().unwrap(), "35=4|34=4000|43=Y|122=NOW|369=7|36=4002|123=Y|");
    assert!(s.session.memory() < 64 * 1024, "{}", s.session.memory());
}

#[test]
fn what_is_sent_during_a_resend_is_not_lost() {
    with_undelivered().play(
        "
        35=2|34=6|7=12|16=0|
        > read 12-15
        app 8 37=new|
        > save-out 16 8
        > 35=8|34=16|369=6|37=new|
        stored
        > 35=8|34=12|43=Y|122=20261124-19:00:00.000|369=6|37=o12|58=bytes \u{fc}|
        > 35=8|34=13|43=Y|122=20261124-19:00:00.000|369=6|37=o13|58=bytes \u{fc}|
        > read 14-15
        stored
        > 35=4|34=14|43=Y|122=NOW|369=6|36=16|123=Y|
        35=2|34=7|7=16|16=16|
        > read 16-16
        stored
        > 35=8|34=16|43=Y|122=NOW|369=7|37=new|
        ",
    );
}

#[test]
fn an_answer_of_the_store_after_a_reset_is_dropped() {
    let mut s = with_undelivered();
    s.play("35=2|34=6|7=10|16=0|\n> read 10-15");
    let (ask, read) = (s.ask, s.read);
    s.feed("logon 34=1|141=Y\n judged ok\n saved");
    (s.ask, s.read) = (ask, read);
    s.play("stored");
}
