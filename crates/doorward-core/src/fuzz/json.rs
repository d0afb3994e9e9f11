//! Messages of the WebSocket door, from any bytes.

use serde_json::Value;

use crate::limits::Limit;
use crate::ws::answer::Answer;
use crate::ws::message::{self, Ciphered, Malformed, Message, Request};

/// Longest text that says what is wrong with a message, in bytes.
const WHAT_LEN_MAX: usize = 80;

/// Reads bytes as a message: never panics, and what it says of them holds.
pub fn json(bytes: &[u8]) {
    match message::parse(bytes) {
        Ok(message) => well_formed(bytes, &message),
        Err(malformed) => said_in_a_few_words(&malformed),
    }
}

fn well_formed(bytes: &[u8], message: &Message) {
    let whole: Result<Value, _> = serde_json::from_slice(bytes);
    if let Ok(whole) = &whole {
        assert!(whole.is_object(), "a message that is no object");
        assert_eq!(whole.get("type").and_then(Value::as_str), Some(message.message_type.as_str()));
        assert_eq!(whole.get("id").filter(|id| !id.is_null()), message.id.as_ref());
        assert!(depth(whole) <= Limit::WsJsonDepth.max(), "too deep");
    }
    match &message.request {
        Request::Login { password, code, .. } => {
            ciphered(password);
            assert!(code.as_ref().is_none_or(|code| !code.expose().is_empty()), "an empty code");
            hidden(message, code.as_ref().map(|code| code.expose().as_str()));
        }
        Request::Code(code) => {
            assert!(!code.expose().is_empty(), "an empty code");
            hidden(message, Some(code.expose()));
        }
        Request::AddUser(user) => user.present.iter().chain(&user.new).for_each(ciphered),
        Request::Verify(verify) => {
            verify.password.iter().for_each(ciphered);
            hidden(message, verify.code.as_ref().map(|code| code.expose().as_str()));
        }
        Request::TokenLogin { token, .. } => assert!(!token.expose().is_empty(), "an empty token"),
        Request::Token(token) => {
            assert!(token.token.as_ref().is_none_or(|token| !token.expose().is_empty()), "an empty token");
        }
        Request::Challenge | Request::Person { .. } | Request::Logout | Request::Ping | Request::Unknown => {}
    }
    let answer = Answer::ok(&message.message_type).finish(message.id.as_ref());
    reads_back(&answer, &message.message_type, message.id.as_ref());
    assert!(message::parse(bytes).is_ok(), "read twice, told twice");
}

fn ciphered(ciphered: &Ciphered) {
    assert!(!ciphered.ciphertext.is_empty(), "an empty ciphertext");
}

/// A code of some length is not in what is printed; a short one may be there by chance.
fn hidden(message: &Message, code: Option<&str>) {
    let Some(code) = code.filter(|code| code.len() >= 6 && code.bytes().all(|b| b.is_ascii_digit())) else {
        return;
    };
    let shown = match &message.request {
        Request::Code(code) => format!("{code:?}"),
        Request::Login { code, .. } => format!("{code:?}"),
        Request::Verify(verify) => format!("{:?}", verify.code),
        Request::Challenge
        | Request::TokenLogin { .. }
        | Request::AddUser(_)
        | Request::Token(_)
        | Request::Person { .. }
        | Request::Logout
        | Request::Ping
        | Request::Unknown => String::new(),
    };
    assert!(!shown.contains(code), "a code was printed");
}

fn said_in_a_few_words(malformed: &Malformed) {
    let what = &malformed.what;
    assert!(!what.is_empty() && what.len() <= WHAT_LEN_MAX, "{what:?}");
    assert!(what.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{what:?}");
    let answer = Answer::text(what, &malformed.message_type).finish(malformed.id.as_ref());
    reads_back(&answer, &malformed.message_type, malformed.id.as_ref());
}

fn reads_back(answer: &[u8], message_type: &str, id: Option<&Value>) {
    assert!(answer.len() <= 2 * 1024, "an answer of {} bytes", answer.len());
    let answer: Result<Value, _> = serde_json::from_slice(answer);
    let Ok(answer) = answer else { panic!("an answer that is no JSON") };
    assert_eq!(answer.get("type").and_then(Value::as_str), Some(message_type));
    match (answer.get("id"), id) {
        // A number with a fraction may lose its last bit when it is read again.
        (Some(Value::Number(said)), Some(Value::Number(due))) if due.is_f64() => {
            let (said, due) = (said.as_f64().unwrap_or(f64::NAN), due.as_f64().unwrap_or(f64::NAN));
            assert!((said - due).abs() <= due.abs() * 1e-12, "{said} for {due}");
        }
        (said, due) => assert_eq!(said, due),
    }
}

fn depth(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}
