//! `adduser` as far as it is a person's own: the password (rules 7 and 10).

use super::*;

fn denied(field: &str) -> String {
    format!(r#"{{"result":"permission denied","type":"adduser","field":"{field}"}}"#)
}

#[test]
fn rule_10_a_person_changes_the_own_password() {
    logged_in().send(CHANGE).asks_change().verdict(password_changed()).says(CHANGED).is_logged_in();
}

#[test]
fn rule_10_the_fields_given_are_echoed_but_never_a_password() {
    let mut s = logged_in();
    s.send(r#"{"type":"adduser","userid":"Julian","updateprof":"Y","pass":"QUJD","newpass":"REVG","id":3}"#);
    s.asks_change().verdict(Verdict::PasswordChanged { broker_comm_rate: Some("0.25".into()) });
    s.says(r#"{"result":"OK","type":"adduser","userid":"Julian","updateprof":true,"broker_comm_rate":"0.25","id":3}"#);
}

#[test]
fn rule_7_until_the_password_is_changed_nothing_else_is_served() {
    let mut s = must_change();
    s.is_logged_in();
    for (message, name) in [(LOGIN, "login"), (r#"{"type":"order"}"#, "order")] {
        s.send(message).says(&format!(r#"{{"result":"password change required","type":"{name}"}}"#));
    }
    s.send(CODE).says(r#"{"result":"already logged in","type":"send2fatoken"}"#);
    s.send(CHALLENGE).asks_for_a_key().verdict(key("k1")).says_something();
    s.send(r#"{"type":"order"}"#).says(r#"{"result":"password change required","type":"order"}"#);
    s.send(CHANGE).asks_change().verdict(password_changed()).says(CHANGED);
    s.send(r#"{"type":"order"}"#).says(r#"{"result":"unknown message type","type":"order"}"#);
    s.send(LOGIN).says(LOGIN_TWICE);
}

#[test]
fn rule_7_a_change_that_fails_leaves_it_required() {
    let mut s = must_change();
    s.send(CHANGE).asks_change().verdict(Verdict::PasswordIssue { reason: "too-short" });
    s.says(r#"{"result":"password issue","type":"adduser","reason":"too-short"}"#);
    s.send(CHANGE).asks_change().verdict(busy());
    s.says(r#"{"result":"busy","type":"adduser","retry_ms":250}"#);
    s.send(CHANGE).asks_change().verdict(later());
    s.says(r#"{"result":"try again later","type":"adduser","retry_ms":5000}"#);
    s.send(r#"{"type":"order"}"#).says(r#"{"result":"password change required","type":"order"}"#);
    s.send(CHANGE).asks_change().verdict(password_changed()).says(CHANGED);
}

#[test]
fn rule_10_each_missing_field_is_named() {
    for mut s in [must_change(), logged_in()] {
        for message in [
            r#"{"type":"adduser","updateprof":true,"newpass":"REVG"}"#,
            r#"{"type":"adduser","updateprof":true,"pass":"","newpass":"REVG"}"#,
            r#"{"type":"adduser","updateprof":true,"pass":null,"newpass":"REVG"}"#,
            r#"{"type":"adduser","updateprof":true}"#,
        ] {
            s.send(message).says(r#"{"result":"missing field","type":"adduser","field":"pass"}"#);
        }
        s.send(r#"{"type":"adduser","updateprof":true,"pass":"QUJD"}"#)
            .says(r#"{"result":"missing field","type":"adduser","field":"newpass"}"#);
    }
}

#[test]
fn rule_10_without_updateprof_it_would_be_an_addition_and_is_denied() {
    for message in [
        r#"{"type":"adduser","pass":"QUJD","newpass":"REVG"}"#,
        r#"{"type":"adduser","updateprof":false,"pass":"QUJD","newpass":"REVG"}"#,
        r#"{"type":"adduser","updateprof":"N","pass":"QUJD","newpass":"REVG"}"#,
    ] {
        logged_in().send(message).says(r#"{"result":"permission denied","type":"adduser"}"#);
    }
}

#[test]
fn rule_10_fields_that_only_others_may_set_are_denied_by_name() {
    for (field, value) in [
        ("resetpass", "true"),
        ("resetpass", r#""Y""#),
        ("use2fa", r#""N""#),
        ("use2fa", r#""Y""#),
        ("firm", r#""FINT""#),
        ("roles", r#""XX""#),
        ("broker_comm_rate", r#""0""#),
        ("attr", "{}"),
        ("initial", "false"),
        ("reason", r#""x""#),
    ] {
        let message = format!(
            r#"{{"type":"adduser","updateprof":true,"pass":"QUJD","newpass":"REVG","{field}":{value}}}"#
        );
        must_change().send(&message).says(&denied(field)).silent();
        logged_in().send(&message).says(&denied(field)).silent();
    }
}

#[test]
fn a_null_is_a_field_that_is_not_there() {
    for field in
        ["resetpass", "use2fa", "firm", "roles", "broker_comm_rate", "attr", "initial", "reason", "userid"]
    {
        let message = format!(
            r#"{{"type":"adduser","updateprof":true,"pass":"QUJD","newpass":"REVG","{field}":null}}"#
        );
        logged_in().send(&message).asks_change();
    }
    let mut s = logged_in();
    s.send(r#"{"type":"adduser","updateprof":true,"pass":"QUJD","newpass":"REVG","resetpass":false}"#)
        .asks_change();
}

#[test]
fn rule_10_somebody_elses_password_is_denied() {
    for other in ["andrea", "", "julian\\u0000", "julian2"] {
        let message = format!(
            r#"{{"type":"adduser","userid":"{other}","updateprof":true,"pass":"QUJD","newpass":"REVG"}}"#
        );
        logged_in().send(&message).says(r#"{"result":"permission denied","type":"adduser"}"#).silent();
        let first = r#"{"result":"password change required","type":"adduser"}"#;
        must_change().send(&message).says(first).silent();
    }
}

#[test]
fn rule_2_a_change_needs_a_challenge_too() {
    let mut s = opened();
    s.send(r#"{"type":"login","userid":"julian","pass":"QUJD","keyid":"k1"}"#).asks_login("julian", None);
    s.verdict(granted()).says(LOGIN_OK);
    s.send(CHANGE).says(r#"{"result":"challenge required","type":"adduser"}"#);
    s.send(r#"{"type":"adduser","updateprof":true,"pass":"QUJD","newpass":"REVG","keyid":"k1"}"#)
        .asks_change();
}

#[test]
fn what_comes_while_a_change_is_decided_waits_and_is_judged_after_it() {
    let mut s = must_change();
    s.send(CHANGE).asks_change().send(r#"{"type":"order"}"#).send(CHANGE).silent();
    s.verdict(password_changed()).says(CHANGED);
    s.says(r#"{"result":"unknown message type","type":"order"}"#).asks_change().silent();
}

#[test]
fn a_wrong_field_type_is_named() {
    for (message, what) in [
        (r#"{"type":"adduser","updateprof":1}"#, "field updateprof: not Y, N, true or false"),
        (
            r#"{"type":"adduser","updateprof":true,"resetpass":"maybe"}"#,
            "field resetpass: not Y, N, true or false",
        ),
        (r#"{"type":"adduser","updateprof":true,"userid":7}"#, "field userid: not a string"),
        (r#"{"type":"adduser","updateprof":true,"newpass":["x"]}"#, "field newpass: not a string"),
        (r#"{"type":"adduser","updateprof":true,"newpass":"x"}"#, "field newpass: not base64"),
    ] {
        let mut s = logged_in();
        for _ in 0..5 {
            s.send(message).says(&format!(r#"{{"result":"{what}","type":"adduser"}}"#)).silent();
        }
        s.is_logged_in();
    }
}
