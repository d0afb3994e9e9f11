//! What is no message: the answer names what is wrong, and before a login the third one closes.

use super::*;
use crate::limits::Limit;

fn wrong(what: &str, message_type: &str) -> String {
    format!(r#"{{"result":"{what}","type":"{message_type}"}}"#)
}

#[test]
fn l1_the_third_malformed_message_before_a_login_closes() {
    for mut s in [opened(), challenged(), code_awaited()] {
        for n in 1..=3 {
            s.send("{").says(&wrong("malformed JSON: it ends too early", "error"));
            if n < 3 {
                s.silent();
            }
        }
        s.notes(Event::ConnectionRefused, Some(Deny::TooManyMalformed)).closes(1008);
    }
}

#[test]
fn malformed_messages_count_over_both_steps_and_while_a_login_is_decided() {
    let mut s = challenged();
    s.send("[").says_something().send(LOGIN).asks_login("julian", None).send("{").says_something();
    s.verdict(code_needed()).says(CODE_NEEDED).send("x").says_something();
    s.notes(Event::ConnectionRefused, Some(Deny::TooManyMalformed)).closes(1008);
}

#[test]
fn who_is_logged_in_is_told_every_time_and_stays() {
    for mut s in [must_change(), logged_in()] {
        for _ in 0..10 {
            s.send(r#"{"type":5}"#).says(&wrong("field type: not a string", "error")).silent();
        }
        s.is_logged_in();
    }
}

#[test]
fn what_is_no_json_object_is_said_without_the_peers_own_text() {
    for (text, what) in [
        ("", "malformed JSON: it ends too early"),
        ("{", "malformed JSON: it ends too early"),
        (r#"{"type":"ping""#, "malformed JSON: it ends too early"),
        ("[]", "not a JSON object"),
        ("7", "not a JSON object"),
        (r#""ping""#, "not a JSON object"),
        ("null", "not a JSON object"),
        ("ping", "malformed JSON at line 1 column 1"),
        ("{type:ping}", "malformed JSON at line 1 column 2"),
        (r#"{"type":"ping"} x"#, "malformed JSON at line 1 column 17"),
        (r#"{"type":"ping",}"#, "malformed JSON at line 1 column 16"),
        ("{\u{201c}type\u{201d}:\u{201c}ping\u{201d}}", "malformed JSON at line 1 column 2"),
        ("\u{feff}{\"type\":\"ping\"}", "malformed JSON at line 1 column 1"),
        ("{\"type\":\"pi\nng\"}", "malformed JSON at line 2 column 0"),
        ("{\"type\":\"pi\u{0}ng\"}", "malformed JSON at line 1 column 12"),
        (r#"{"type":"\ud800"}"#, "malformed JSON at line 1 column 16"),
        ("{}", "missing field: type"),
        (r#"{"Type":"ping"}"#, "missing field: type"),
        (r#"{"type":null}"#, "field type: not a string"),
        (r#"{"type":{"type":"ping"}}"#, "field type: not a string"),
    ] {
        opened().send(text).says(&wrong(what, "error")).silent();
    }
}

#[test]
fn l1_json_nests_eight_levels_and_no_more() {
    let nested = |levels: usize| {
        format!(r#"{{"type":"ping","x":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
    };
    opened().send(&nested(8)).says(r#"{"result":"OK","type":"ping","time":1795291200000}"#);
    opened().send(&nested(9)).says(&wrong("JSON deeper than 8", "error"));
    opened().send(&"[".repeat(16_000)).says(&wrong("JSON deeper than 8", "error"));
    let brackets_in_text = format!(r#"{{"type":"ping","x":"\\\"{}"}}"#, "[{".repeat(20));
    opened().send(&brackets_in_text).says(r#"{"result":"OK","type":"ping","time":1795291200000}"#);
}

#[test]
fn l1_a_message_has_sixteen_kibibytes_and_no_more() {
    let sized = |bytes: usize| format!(r#"{{"type":"ping","x":"{}"}}"#, "y".repeat(bytes - 22));
    assert_eq!(sized(16_384).len(), 16_384);
    opened().send(&sized(16_384)).says_something().silent();
    opened().send(&sized(16_385)).notes(Event::ConnectionRefused, Some(Deny::TooLong)).closes(1009);
    logged_in().send(&sized(16_385)).notes(Event::LoggedOut, Some(Deny::TooLong)).closes(1009);
}

#[test]
fn what_is_not_utf_8_closes_with_1007() {
    for bytes in [&b"\xff"[..], b"{\"type\":\"ping\xc3\"}", b"\xed\xa0\x80"] {
        let mut s = opened();
        s.machine.receive(bytes, s.now);
        s.notes(Event::ConnectionRefused, Some(Deny::NotUtf8)).closes(1007);
    }
}

#[test]
fn unknown_fields_are_ignored_whatever_they_hold() {
    let mut s = opened();
    for text in [
        r#"{"x":1,"type":"ping","y":[{"z":null}],"":""}"#,
        r#"{"type":"ping","x":1,"x":2}"#,
        r#"{"type":"ping","x":1e999999}"#,
        r#"{"type":"ping","pass":5,"userid":[]}"#,
    ] {
        s.send(text).says(r#"{"result":"OK","type":"ping","time":1795291200000}"#).silent();
    }
}

#[test]
fn a_repeated_field_is_named_however_it_is_spelt() {
    for (text, what, message_type) in [
        (r#"{"type":"login","userid":"a","userid":"b","pass":"QUJD"}"#, "repeated field: userid", "login"),
        (
            r#"{"type":"login","userid":"a","pass":"QUJD","p\u0061ss":"REVG"}"#,
            "repeated field: pass",
            "login",
        ),
        (
            r#"{"type":"login","userid":"a","2fatoken":"1","2fatoken":"2"}"#,
            "repeated field: 2fatoken",
            "login",
        ),
        (r#"{"type":"ping","typ\u0065":"login"}"#, "repeated field: type", "error"),
        (r#"{"type":"ping","id":1,"id":2}"#, "repeated field: id", "ping"),
        (r#"{"type":5,"id":1,"id":2}"#, "repeated field: id", "error"),
    ] {
        challenged().send(text).says(&wrong(what, message_type)).silent();
    }
    challenged()
        .send(r#"{"id":7,"type":"ping","pass":"","pass":""}"#)
        .says(r#"{"result":"repeated field: pass","type":"ping","id":7}"#);
}

#[test]
fn a_wrong_type_names_the_field_and_echoes_type_and_id() {
    for (text, what) in [
        (r#"{"type":"login","userid":5,"pass":"QUJD"}"#, "field userid: not a string"),
        (r#"{"type":"login","userid":"a","pass":["QUJD"]}"#, "field pass: not a string"),
        (r#"{"type":"login","userid":"a","pass":"QUJD","2fatoken":123456}"#, "field 2fatoken: not a string"),
        (r#"{"type":"login","userid":"a","pass":"QUJD","keyid":1}"#, "field keyid: not a string"),
        (
            r#"{"type":"login","userid":"a","pass":"QUJD","keyid":"../k"}"#,
            "field keyid: no key has such a name",
        ),
        (r#"{"type":"login","userid":"a","pass":"QUJD","padding":true}"#, "field padding: not a string"),
        (r#"{"type":"login","userid":"a","pass":"Q"}"#, "field pass: not base64"),
        (r#"{"type":"login","userid":"a","pass":"Q*JD"}"#, "field pass: not base64"),
        (r#"{"type":"login","userid":"a","pass":"Q=JD"}"#, "field pass: not base64"),
        (r#"{"type":"login","userid":"a"}"#, "missing field: pass"),
        (r#"{"type":"login","pass":"QUJD"}"#, "missing field: userid"),
    ] {
        challenged().send(text).says(&wrong(what, "login")).silent();
    }
    challenged()
        .send(r#"{"type":"login","id":"q","userid":5}"#)
        .says(r#"{"result":"field userid: not a string","type":"login","id":"q"}"#);
}

#[test]
fn an_id_is_a_string_or_a_number_and_comes_back_as_it_was() {
    for id in
        ["0", "-1", "18446744073709551615", "-9223372036854775808", "1.5", "\"\"", "\"\\u0000\"", "\"é\""]
    {
        opened()
            .send(&format!(r#"{{"type":"ping","id":{id}}}"#))
            .says(&format!(r#"{{"result":"OK","type":"ping","time":1795291200000,"id":{id}}}"#));
    }
    opened()
        .send(r#"{"type":"ping","id":null}"#)
        .says(r#"{"result":"OK","type":"ping","time":1795291200000}"#);
}

#[test]
fn l1_an_id_that_could_not_come_back_is_malformed() {
    let long = "x".repeat(Limit::WsIdChars.max() as usize);
    opened().send(&format!(r#"{{"type":"ping","id":"{long}"}}"#)).says_something().silent();
    let longer = format!("\"{long}x\"");
    for (id, what) in [
        (longer.as_str(), "field id: longer than 128 characters"),
        ("18446744073709551616", "field id: a number beyond 64 bits"),
        ("-9223372036854775809", "field id: a number beyond 64 bits"),
        ("123456789012345678901234567890123456789", "field id: a number beyond 64 bits"),
        ("1e300", "field id: a number beyond 64 bits"),
        ("true", "field id: not a string or number"),
        ("[1]", "field id: not a string or number"),
        ("{}", "field id: not a string or number"),
    ] {
        opened().send(&format!(r#"{{"type":"ping","id":{id}}}"#)).says(&wrong(what, "ping")).silent();
    }
    opened()
        .send(r#"{"type":"ping","id":1e400}"#)
        .says(&wrong("malformed JSON at line 1 column 25", "error"));
}

#[test]
fn a_type_is_echoed_as_json_up_to_64_bytes() {
    let escaped = r#"a\"\\\u0000\u001b"#;
    opened()
        .send(&format!(r#"{{"type":"{escaped}"}}"#))
        .says(&format!(r#"{{"result":"login required","type":"{escaped}"}}"#));
    let fits = "t".repeat(64);
    opened().send(&format!(r#"{{"type":"{fits}"}}"#)).says(&wrong("login required", &fits));
    opened()
        .send(&format!(r#"{{"type":"{fits}t"}}"#))
        .says(&wrong("field type: longer than 64 bytes", "error"));
    opened()
        .send(&format!(r#"{{"type":"{fits}t","id":4}}"#))
        .says(r#"{"result":"field type: longer than 64 bytes","type":"error","id":4}"#);
}

#[test]
fn a_userid_is_passed_on_as_it_came_for_the_gate_to_judge() {
    for userid in ["", "a\\u0000b", "\\u001b[31m", "josé"] {
        let sent: String = serde_json::from_str(&format!("\"{userid}\"")).unwrap();
        let mut s = challenged();
        s.send(&format!(r#"{{"type":"login","userid":"{userid}","pass":"QUJD"}}"#)).asks_login(&sent, None);
    }
    let long = "x".repeat(10_240);
    let mut s = challenged();
    s.send(&format!(r#"{{"type":"login","userid":"{long}","pass":"QUJD"}}"#)).asks_login(&long, None);
}

#[test]
fn q3_no_code_is_printed_with_a_message_or_an_ask() {
    let message = crate::ws::message::parse(LOGIN_AND_CODE.as_bytes()).unwrap();
    assert!(!format!("{message:?}").contains("123456"), "{message:?}");
    let mut s = challenged();
    s.send(LOGIN_AND_CODE);
    assert!(!format!("{:?}", s.machine).contains("123456"));
    assert!(!format!("{:?}", s.next_ask()).contains("123456"));
}
