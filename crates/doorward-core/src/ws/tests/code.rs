//! `send2fatoken` and `2fatoken`: logins in two steps (rule 5).

use super::*;

#[test]
fn rule_5_the_code_may_come_with_the_password() {
    let mut s = challenged();
    s.send(LOGIN_AND_CODE)
        .asks_login("julian", Some("123456"))
        .verdict(granted())
        .says(LOGIN_OK)
        .is_logged_in();
}

#[test]
fn rule_5_or_after_it() {
    let mut s = code_awaited();
    s.is_not_logged_in();
    s.send(CODE).asks_code("123456").is_not_logged_in().verdict(granted()).says(CODE_OK).is_logged_in();
}

#[test]
fn an_empty_code_is_none() {
    let mut s = challenged();
    s.send(r#"{"type":"login","userid":"julian","pass":"QUJD","2fatoken":""}"#).asks_login("julian", None);
    code_awaited()
        .send(r#"{"type":"send2fatoken","2fatoken":""}"#)
        .says(r#"{"result":"missing field: 2fatoken","type":"send2fatoken"}"#);
}

#[test]
fn rule_5_until_the_code_is_good_nothing_but_a_code_a_logout_or_a_ping_is_taken() {
    let mut s = code_awaited();
    for (message, name) in [
        (CHALLENGE, "challenge"),
        (LOGIN, "login"),
        (LOGIN_AND_CODE, "login"),
        (CHANGE, "adduser"),
        (r#"{"type":"order"}"#, "order"),
    ] {
        s.send(message).says(&format!(r#"{{"result":"2fa token required","type":"{name}"}}"#)).silent();
    }
    s.is_not_logged_in().send(CODE).asks_code("123456");
}

#[test]
fn rule_5_a_wrong_code_may_be_followed_by_a_right_one() {
    let mut s = code_awaited();
    s.send(CODE).asks_code("123456").verdict(code_refused()).says(CODE_REFUSED).is_not_logged_in();
    s.send(CODE).asks_code("123456").verdict(granted()).says(CODE_OK).is_logged_in();
}

#[test]
fn rule_5_a_wrong_code_beside_the_password_is_followed_by_send2fatoken() {
    let mut s = challenged();
    s.send(LOGIN_AND_CODE).asks_login("julian", Some("123456")).verdict(code_refused());
    s.says(r#"{"result":"invalid token","type":"login","2fa":"required"}"#).is_not_logged_in();
    s.send(LOGIN_AND_CODE).says(r#"{"result":"2fa token required","type":"login"}"#);
    s.send(CODE).asks_code("123456").verdict(granted()).says(CODE_OK);
}

#[test]
fn l1_rule_5_the_third_wrong_code_in_one_connection_closes_it() {
    let mut s = code_awaited();
    for _ in 0..2 {
        s.send(CODE).asks_code("123456").verdict(code_refused()).says(CODE_REFUSED).silent();
    }
    s.send(CODE).asks_code("123456").verdict(code_refused()).says(CODE_REFUSED);
    s.notes(Event::ConnectionRefused, Some(Deny::TooManyCodes)).closes(1008);
}

#[test]
fn rule_5_the_code_beside_the_password_is_one_of_the_three() {
    let mut s = challenged();
    s.send(LOGIN_AND_CODE).asks_login("julian", Some("123456")).verdict(code_refused()).says_something();
    s.send(CODE).asks_code("123456").verdict(code_refused()).says(CODE_REFUSED);
    s.send(CODE).asks_code("123456").verdict(code_refused()).says(CODE_REFUSED);
    s.notes(Event::ConnectionRefused, Some(Deny::TooManyCodes)).closes(1008);
}

#[test]
fn busy_and_try_again_later_count_no_code_and_keep_waiting() {
    let mut s = code_awaited();
    for _ in 0..5 {
        s.send(CODE).asks_code("123456").verdict(busy());
        s.says(r#"{"result":"busy","type":"send2fatoken","retry_ms":250}"#);
        s.send(CODE).asks_code("123456").verdict(later());
        s.says(r#"{"result":"try again later","type":"send2fatoken","retry_ms":5000}"#).is_not_logged_in();
    }
    s.send(CODE).asks_code("123456").verdict(granted()).says(CODE_OK);
}

#[test]
fn what_is_refused_at_the_second_step_is_an_invalid_token_and_the_end() {
    code_awaited()
        .send(CODE)
        .asks_code("123456")
        .verdict(Verdict::Refused)
        .says(r#"{"result":"invalid token","type":"send2fatoken"}"#)
        .closes(1008);
}

#[test]
fn while_a_code_is_decided_another_waits_for_nothing() {
    let mut s = code_awaited();
    s.send(CODE)
        .asks_code("123456")
        .send(CODE)
        .says(r#"{"result":"login in progress","type":"send2fatoken"}"#);
    s.send(LOGIN).says(LOGIN_IN_PROGRESS);
    s.verdict(granted()).says(CODE_OK).silent();
}

#[test]
fn p11_rule_5_and_7_a_good_code_still_leaves_the_password_to_be_changed() {
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None).verdict(Verdict::CodeNeeded(julian(true))).says(CODE_NEEDED);
    s.send(CODE).asks_code("123456").verdict(granted_initial());
    s.says(r#"{"result":"OK","type":"send2fatoken","password":"change required"}"#);
    s.send(r#"{"type":"order"}"#).says(r#"{"result":"password change required","type":"order"}"#);
}
