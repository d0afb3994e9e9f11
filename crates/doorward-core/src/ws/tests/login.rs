//! `login` and `logout`.

use super::*;

#[test]
fn a_right_password_is_ok() {
    let mut s = challenged();
    s.send(LOGIN).is_not_logged_in().asks_login("julian", None).verdict(granted()).says(LOGIN_OK).silent();
    s.is_logged_in();
}

#[test]
fn the_requests_id_is_echoed() {
    let mut s = challenged();
    s.send(r#"{"id":"a\"7","type":"login","userid":"julian","pass":"QUJD"}"#).asks_login("julian", None);
    s.verdict(granted()).says(r#"{"result":"OK","type":"login","id":"a\"7"}"#);
}

#[test]
fn rule_4_a_refused_login_gets_one_text_then_the_close() {
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None).verdict(Verdict::Refused).says(LOGIN_REFUSED).closes(1008);
}

#[test]
fn rule_6_registration_is_asked_for_with_its_address_then_the_connection_closes() {
    let mut s = challenged();
    let register_url = Some("https://portal.example/register".to_owned());
    s.send(LOGIN)
        .asks_login("julian", None)
        .verdict(Verdict::RegistrationNeeded { who: julian(false), register_url });
    s.says(r#"{"result":"2fa registration required","type":"login","register_url":"https://portal.example/register"}"#);
    s.closes(1008);
}

#[test]
fn rule_6_without_a_portal_there_is_no_address() {
    let mut s = challenged();
    let verdict = Verdict::RegistrationNeeded { who: julian(false), register_url: None };
    s.send(LOGIN).asks_login("julian", None).verdict(verdict);
    s.says(r#"{"result":"2fa registration required","type":"login"}"#).closes(1008);
}

#[test]
fn busy_and_try_again_later_keep_the_connection_for_another_login() {
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None).verdict(busy());
    s.says(r#"{"result":"busy","type":"login","retry_ms":250}"#);
    s.send(LOGIN).asks_login("julian", None).verdict(later());
    s.says(r#"{"result":"try again later","type":"login","retry_ms":5000}"#).is_not_logged_in();
    s.send(LOGIN).asks_login("julian", None).verdict(granted()).says(LOGIN_OK);
}

#[test]
fn a_second_login_while_one_is_decided_is_in_progress() {
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None);
    s.send(LOGIN).says(LOGIN_IN_PROGRESS);
    s.send(CHALLENGE).says(r#"{"result":"login in progress","type":"challenge"}"#);
    s.send(CHANGE).says(r#"{"result":"login in progress","type":"adduser"}"#);
    s.send(PING).says(r#"{"result":"OK","type":"ping","time":1795291200000}"#);
    s.verdict(granted()).says(LOGIN_OK).silent();
}

#[test]
fn a_login_after_a_login_is_told_so() {
    logged_in().send(LOGIN).says(LOGIN_TWICE).is_logged_in();
}

#[test]
fn before_a_login_everything_else_is_told_that_one_is_required() {
    for mut s in [opened(), challenged()] {
        s.send(CODE).says(LOGIN_REQUIRED);
        s.send(CHANGE).says(r#"{"result":"login required","type":"adduser"}"#);
        for other in ["verifylogin", "getuser", "order", ""] {
            s.send(&format!(r#"{{"type":"{other}"}}"#));
            s.says(&format!(r#"{{"result":"login required","type":"{other}"}}"#));
        }
        s.silent().is_not_logged_in();
    }
}

#[test]
fn rule_13_after_a_login_other_types_are_unknown() {
    logged_in()
        .send(r#"{"type":"order","id":1}"#)
        .says(r#"{"result":"unknown message type","type":"order","id":1}"#);
    logged_in().send(CODE).says(r#"{"result":"already logged in","type":"send2fatoken"}"#);
}

#[test]
fn logout_closes_at_once_in_every_state() {
    opened().send(LOGOUT).closes(1000);
    challenged().send(LOGOUT).closes(1000);
    code_awaited().send(LOGOUT).closes(1000);
    opened().send(CHALLENGE).asks_for_a_key().send(LOGOUT).closes(1000);
    challenged().send(LOGIN).asks_login("julian", None).send(LOGOUT).closes(1000);
    code_awaited().send(CODE).asks_code("123456").send(LOGOUT).closes(1000);
    for mut s in [must_change(), logged_in()] {
        s.send(LOGOUT).notes(Event::LoggedOut, None).closes(1000);
    }
    must_change().send(CHANGE).asks_change().send(LOGOUT).notes(Event::LoggedOut, None).closes(1000);
}

#[test]
fn nothing_is_done_after_a_logout() {
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None).send(LOGOUT).closes(1000);
    s.verdict(granted()).silent().is_not_logged_in();
    s.send(PING).silent().stop().silent().fail(Deny::NotReading).silent().lost().silent();
    s.after_s(3600).silent();
}

#[test]
fn ping_is_answered_with_the_time_in_every_state() {
    let pong = r#"{"result":"OK","type":"ping","time":1795291200000}"#;
    for mut s in [opened(), challenged(), code_awaited(), must_change(), logged_in()] {
        s.send(PING).says(pong).silent();
    }
    opened().send(CHALLENGE).asks_for_a_key().send(PING).says(pong).silent();
    code_awaited().send(CODE).asks_code("123456").send(PING).says(pong).silent();
    logged_in().send(CHANGE).asks_change().send(PING).says(pong).silent();
    opened()
        .send(r#"{"type":"ping","id":9}"#)
        .says(r#"{"result":"OK","type":"ping","time":1795291200000,"id":9}"#);
}

#[test]
fn the_end_of_a_login_is_written_down_however_the_peer_goes() {
    for mut s in [must_change(), logged_in()] {
        s.lost().notes(Event::LoggedOut, None).silent();
        assert!(s.machine.is_closed());
        s.lost().silent();
    }
    logged_in().send(CHANGE).asks_change().lost().notes(Event::LoggedOut, None).silent();
    for mut s in [opened(), code_awaited()] {
        s.lost().silent().is_not_logged_in();
    }
}

#[test]
fn a_verdict_that_answers_another_question_lets_nobody_in() {
    opened()
        .send(CHALLENGE)
        .asks_for_a_key()
        .verdict(granted())
        .says(r#"{"result":"try again later","type":"challenge","retry_ms":1000}"#)
        .is_not_logged_in();
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None).verdict(password_changed());
    s.says(r#"{"result":"try again later","type":"login","retry_ms":1000}"#).is_not_logged_in();
}
