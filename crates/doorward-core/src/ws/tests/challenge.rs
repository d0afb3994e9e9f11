//! `challenge`, and what depends on its key (rule 2).

use super::*;

#[test]
fn challenge_gives_key_keyid_padding_and_expiry() {
    opened().send(CHALLENGE).asks_for_a_key().verdict(key("k1")).says(
        r#"{"result":"OK","type":"challenge","key":"MIIB","keyid":"k1","padding":["PKCS1","OAEP-SHA256"],"expires":1795291260000}"#,
    ).silent();
}

#[test]
fn challenge_may_be_asked_again_before_and_after_a_login() {
    for mut s in [challenged(), must_change(), logged_in()] {
        s.send(CHALLENGE).asks_for_a_key().verdict(key("k2")).says_something().silent();
    }
    code_awaited().send(CHALLENGE).says(r#"{"result":"2fa token required","type":"challenge"}"#).silent();
}

#[test]
fn rule_2_without_a_challenge_a_login_gets_challenge_required_and_nothing_is_asked() {
    let mut s = opened();
    s.send(LOGIN).says(r#"{"result":"challenge required","type":"login"}"#);
    s.send(CHALLENGE).asks_for_a_key().verdict(key("k1")).says_something();
    s.send(LOGIN).asks_login("julian", None);
}

#[test]
fn rule_2_a_keyid_stands_for_the_challenge() {
    let mut s = opened();
    s.send(r#"{"type":"login","userid":"julian","pass":"QUJD","keyid":"k1"}"#).asks_login("julian", None);
}

#[test]
fn rule_2_the_last_challenge_counts() {
    let mut s = opened();
    s.send(CHALLENGE).asks_for_a_key().verdict(key("k0")).says_something();
    s.send(CHALLENGE).asks_for_a_key().verdict(key("k1")).says_something();
    s.send(LOGIN).asks_login("julian", None);
}

#[test]
fn rule_2_a_dead_key_gets_challenge_required_and_the_connection_stays() {
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None).verdict(Verdict::ChallengeNeeded);
    s.says(r#"{"result":"challenge required","type":"login"}"#);
    s.send(CHALLENGE).asks_for_a_key().verdict(key("k1")).says_something();
    s.send(LOGIN).asks_login("julian", None).verdict(granted()).says(LOGIN_OK).is_logged_in();
}

#[test]
fn rule_2_a_dead_key_for_a_password_change_leaves_it_open() {
    let mut s = must_change();
    s.send(CHANGE).asks_change().verdict(Verdict::ChallengeNeeded);
    s.says(r#"{"result":"challenge required","type":"adduser"}"#);
    s.send(CHANGE).asks_change().verdict(password_changed()).says(CHANGED);
}

#[test]
fn rule_1_the_padding_is_the_one_that_the_request_names() {
    let mut s = challenged();
    s.send(r#"{"type":"login","userid":"julian","pass":"QUJD","padding":"OAEP-SHA256"}"#);
    let Ask::Login { password, .. } = s.next_ask() else { panic!("no login") };
    assert_eq!(password.padding(), Some(Padding::OaepSha256));
    let mut s = challenged();
    s.send(r#"{"type":"login","userid":"julian","pass":"QUJD","padding":"PKCS1"}"#)
        .asks_login("julian", None);
    let mut s = challenged();
    s.send(r#"{"type":"login","userid":"julian","pass":"QUJD","padding":"none"}"#);
    s.says(r#"{"result":"field padding: not PKCS1 or OAEP-SHA256","type":"login"}"#);
}

#[test]
fn rule_1_white_space_inside_base64_is_dropped() {
    let mut s = challenged();
    s.send(r#"{"type":"login","userid":"julian","pass":" Q\r\nU\tJ D "}"#).asks_login("julian", None);
}

#[test]
fn a_login_sent_before_the_challenge_is_answered_waits_for_the_answer() {
    let mut s = opened();
    s.send(CHALLENGE).asks_for_a_key();
    s.send(r#"{"type":"login","userid":"julian","pass":"QUJD","keyid":"k1"}"#).silent();
    s.verdict(key("k2")).says_something().asks_login("julian", None).silent();
}

#[test]
fn rule_2_a_message_that_waits_is_opened_with_the_key_that_its_sender_knew() {
    let mut s = opened();
    s.send(CHALLENGE).asks_for_a_key().send(LOGIN).silent();
    s.verdict(key("k1")).says_something().says(r#"{"result":"challenge required","type":"login"}"#).silent();
    s.send(CHALLENGE).asks_for_a_key().send(LOGIN).silent();
    s.verdict(key("k2")).says_something().asks_login("julian", None);
}

#[test]
fn l1_messages_that_wait_are_few_and_each_is_answered_in_order() {
    let mut s = logged_in();
    s.send(CHALLENGE).asks_for_a_key();
    for n in 1..=4 {
        s.send(&format!(r#"{{"type":"order","id":{n}}}"#)).silent();
    }
    s.send(r#"{"type":"order","id":5}"#).says(r#"{"result":"busy","type":"order","retry_ms":1000,"id":5}"#);
    s.send(PING).says_something();
    s.verdict(key("k1")).says_something();
    for n in 1..=4 {
        s.says(&format!(r#"{{"result":"unknown message type","type":"order","id":{n}}}"#));
    }
    s.silent();
}

#[test]
fn two_logins_behind_a_challenge_are_one_login_and_one_in_progress() {
    let mut s = challenged();
    s.send(CHALLENGE).asks_for_a_key().send(LOGIN).send(LOGIN).send(CODE);
    s.verdict(key("k2")).says_something().asks_login("julian", None);
    s.says(LOGIN_IN_PROGRESS).says(r#"{"result":"login in progress","type":"send2fatoken"}"#).silent();
}

#[test]
fn busy_and_try_again_later_leave_a_challenge_to_be_asked_again() {
    let mut s = opened();
    s.send(CHALLENGE).asks_for_a_key().verdict(busy());
    s.says(r#"{"result":"busy","type":"challenge","retry_ms":250}"#);
    s.send(CHALLENGE).asks_for_a_key().verdict(later());
    s.says(r#"{"result":"try again later","type":"challenge","retry_ms":5000}"#);
    s.send(CHALLENGE).asks_for_a_key().verdict(key("k1")).says_something();
}
