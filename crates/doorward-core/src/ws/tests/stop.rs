//! The node stops; the shell ends a connection.

use super::*;

#[test]
fn a_stopping_node_closes_with_1001_in_every_state() {
    for mut s in [opened(), challenged(), code_awaited()] {
        s.stop().notes(Event::ConnectionRefused, Some(Deny::Stopping)).closes(1001);
    }
    for mut s in [must_change(), logged_in()] {
        s.stop().notes(Event::LoggedOut, Some(Deny::Stopping)).closes(1001);
    }
}

#[test]
fn a_login_during_a_shutdown_is_answered_first() {
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None).stop().silent().verdict(granted()).says(LOGIN_OK);
    s.notes(Event::LoggedOut, Some(Deny::Stopping)).closes(1001);
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None).stop().verdict(code_needed()).says(CODE_NEEDED);
    s.notes(Event::ConnectionRefused, Some(Deny::Stopping)).closes(1001);
    let mut s = challenged();
    s.send(LOGIN)
        .asks_login("julian", None)
        .stop()
        .verdict(Verdict::Refused)
        .says(LOGIN_REFUSED)
        .closes(1008);
}

#[test]
fn whatever_is_being_decided_is_answered_first() {
    opened()
        .send(CHALLENGE)
        .asks_for_a_key()
        .stop()
        .silent()
        .verdict(key("k1"))
        .says_something()
        .notes(Event::ConnectionRefused, Some(Deny::Stopping))
        .closes(1001);
    code_awaited()
        .send(CODE)
        .asks_code("123456")
        .stop()
        .silent()
        .verdict(granted())
        .says(CODE_OK)
        .notes(Event::LoggedOut, Some(Deny::Stopping))
        .closes(1001);
    logged_in()
        .send(CHANGE)
        .asks_change()
        .stop()
        .stop()
        .silent()
        .verdict(password_changed())
        .says(CHANGED)
        .notes(Event::LoggedOut, Some(Deny::Stopping))
        .closes(1001);
}

#[test]
fn messages_that_wait_are_not_begun_any_more() {
    challenged()
        .send(CHALLENGE)
        .asks_for_a_key()
        .send(LOGIN)
        .stop()
        .verdict(key("k1"))
        .says_something()
        .notes(Event::ConnectionRefused, Some(Deny::Stopping))
        .closes(1001);
}

#[test]
fn a_gate_that_does_not_answer_holds_no_shutdown_up_for_ever() {
    challenged()
        .send(LOGIN)
        .asks_login("julian", None)
        .stop()
        .after_s(15)
        .says(r#"{"result":"try again later","type":"login","retry_ms":1000}"#)
        .notes(Event::ConnectionRefused, Some(Deny::Stopping))
        .closes(1001);
}

#[test]
fn every_reason_has_its_close_code() {
    for deny in Deny::ALL.iter().copied() {
        let code = match deny {
            Deny::Stopping => 1001,
            Deny::BrokenProtocol => 1002,
            Deny::BinaryFrame => 1003,
            Deny::NotUtf8 => 1007,
            Deny::TooLong => 1009,
            Deny::Full | Deny::Evicted => 1013,
            _ => 1008,
        };
        opened().fail(deny).notes(Event::ConnectionRefused, Some(deny)).closes(code);
        logged_in().fail(deny).notes(Event::LoggedOut, Some(deny)).closes(code);
        let mut s = challenged();
        s.send(LOGIN)
            .asks_login("julian", None)
            .fail(deny)
            .notes(Event::ConnectionRefused, Some(deny))
            .closes(code);
        s.verdict(granted()).silent();
    }
}

#[test]
fn a_session_that_is_ended_while_the_password_is_being_changed_is_written_down() {
    logged_in()
        .send(CHANGE)
        .asks_change()
        .fail(Deny::SessionEnded)
        .notes(Event::LoggedOut, Some(Deny::SessionEnded))
        .closes(1008);
}
