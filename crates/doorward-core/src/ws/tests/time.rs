//! Time: 30 s to log in, answers of the gate, pings.

use super::*;

#[test]
fn a_connection_has_thirty_seconds_in_all() {
    for mut s in [opened(), challenged(), code_awaited()] {
        s.after_s(20).pings().pong();
        s.after_ms(9_999).silent();
        s.after_ms(1).notes(Event::ConnectionRefused, Some(Deny::TooSlow)).closes(1008);
    }
}

#[test]
fn nothing_that_the_peer_does_makes_the_thirty_seconds_longer() {
    let mut s = opened();
    for _ in 0..14 {
        s.after_s(1)
            .send(CHALLENGE)
            .asks_for_a_key()
            .verdict(key("k1"))
            .says_something()
            .send(PING)
            .says_something();
    }
    s.send(LOGIN).asks_login("julian", None).after_s(5).verdict(code_needed()).says(CODE_NEEDED);
    s.after_s(1).pings().pong().send(CODE).asks_code("123456").after_s(9).silent();
    s.after_s(1).notes(Event::ConnectionRefused, Some(Deny::TooSlow)).closes(1008);
    s.verdict(granted()).silent().is_not_logged_in();
}

#[test]
fn the_thirty_seconds_began_with_the_first_byte() {
    let first_byte = Mono::from_ns(1_000_000_000);
    let now = Now { wall: START, mono: first_byte + Duration::from_secs(12) };
    let mut s = Script { machine: WsLogin::new(Settings::default(), first_byte, now), now, ask: None };
    s.after_ms(17_999).silent();
    s.after_ms(1).notes(Event::ConnectionRefused, Some(Deny::TooSlow)).closes(1008);
}

#[test]
fn who_is_logged_in_has_no_such_limit() {
    for mut s in [must_change(), logged_in()] {
        for _ in 0..50 {
            s.after_s(20).pings().pong();
        }
        s.is_logged_in();
    }
}

#[test]
fn pings_come_every_twenty_seconds_and_two_missed_pongs_close() {
    let mut s = logged_in();
    s.after_ms(19_999).silent().after_ms(1).pings();
    s.after_s(20).pings();
    s.after_ms(19_999).silent();
    s.after_ms(1).notes(Event::LoggedOut, Some(Deny::NotAnswering)).closes(1008);
}

#[test]
fn one_pong_makes_up_for_a_missed_one() {
    let mut s = logged_in();
    for _ in 0..10 {
        s.after_s(20).pings();
        s.after_s(20).pings().pong();
    }
    s.is_logged_in();
}

#[test]
fn a_gate_that_does_not_answer_in_fifteen_seconds_is_tried_again_later() {
    opened()
        .send(CHALLENGE)
        .asks_for_a_key()
        .after_ms(14_999)
        .silent()
        .after_ms(1)
        .says(r#"{"result":"try again later","type":"challenge","retry_ms":1000}"#)
        .send(CHALLENGE)
        .asks_for_a_key();
    challenged()
        .send(LOGIN)
        .asks_login("julian", None)
        .after_s(15)
        .says(r#"{"result":"try again later","type":"login","retry_ms":1000}"#)
        .send(LOGIN)
        .asks_login("julian", None);
    code_awaited()
        .send(CODE)
        .asks_code("123456")
        .after_s(15)
        .says(r#"{"result":"try again later","type":"send2fatoken","retry_ms":1000}"#)
        .send(CODE)
        .asks_code("123456");
    must_change()
        .send(CHANGE)
        .asks_change()
        .after_s(15)
        .says(r#"{"result":"try again later","type":"adduser","retry_ms":1000}"#)
        .send(CHANGE)
        .asks_change();
}

#[test]
fn a_late_verdict_is_dropped_and_does_not_answer_the_next_ask() {
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None);
    let first = s.ask.unwrap();
    s.after_s(15).says_something().verdict_to(first, granted()).silent().is_not_logged_in();
    s.send(LOGIN).asks_login("julian", None).verdict_to(first, granted()).silent().is_not_logged_in();
    s.verdict(granted()).says(LOGIN_OK).is_logged_in();
    let last = s.ask.unwrap();
    s.verdict_to(last, Verdict::Refused).silent().is_logged_in();
}

#[test]
fn what_waited_for_a_challenge_goes_on_when_it_did_not_come() {
    let mut s = challenged();
    s.send(CHALLENGE).asks_for_a_key().send(LOGIN).after_s(15);
    s.says(r#"{"result":"try again later","type":"challenge","retry_ms":1000}"#).asks_login("julian", None);
}

#[test]
fn timeouts_before_their_time_change_nothing() {
    let mut s = code_awaited();
    for _ in 0..5 {
        s.machine.timeout(s.now);
        s.silent().after_ms(10);
    }
    s.send(CODE).asks_code("123456");
}
