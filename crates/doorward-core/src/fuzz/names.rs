//! Names, addresses, instants and passwords, from any bytes.

use std::time::Duration;

use crate::ask::KeyId;
use crate::calendar::{Date, DayTime, WeekTime};
use crate::id::{AccessKeyId, CompId, FirmCode, OperatorId, PersonId, UserId};
use crate::identity::halt::HaltScope;
use crate::identity::link::LinkHash;
use crate::identity::net::Network;
use crate::identity::password::{self, Against};
use crate::identity::token::TokenHash;
use crate::stream::{Epoch, StreamKey};
use crate::time::Wall;

/// Reads bytes as each kind of name and as a new password: never panics, and what was taken reads back as itself.
pub fn names(bytes: &[u8]) {
    session(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    kept(text);
    if let Ok(userid) = UserId::parse(text) {
        assert_eq!(UserId::parse(userid.as_str()).as_ref(), Ok(&userid), "not canonical");
        assert!((1..=UserId::CHARS_MAX).contains(&userid.as_str().chars().count()));
        assert!(!userid.as_str().chars().any(|c| c.is_control() || c.is_whitespace()));
    }
    if let Ok(code) = FirmCode::parse(text) {
        assert_eq!(FirmCode::parse(code.as_str()), Ok(code));
    }
    if let Some(id) = PersonId::parse(text) {
        assert_eq!(id.to_string(), text);
        assert!(i64::try_from(id.as_u64()).is_ok(), "a database cannot hold it");
    }
    if let Some(key) = KeyId::parse(text) {
        assert_eq!(key.as_str(), text);
    }
    if let Ok(network) = Network::parse(text) {
        assert_eq!(Network::parse(&network.to_string()), Ok(network));
    }
    if let Some(instant) = Wall::parse(text) {
        // Printed with milliseconds.
        let again = Wall::parse(&instant.to_string());
        let close = again
            .is_some_and(|again| instant.since(again).max(again.since(instant)) < Duration::from_millis(1));
        assert!(close, "{instant} for {text:?}");
    }
    new_password(text);
}

/// Names of a FIX session, which are bytes on the wire.
fn session(bytes: &[u8]) {
    if let Some(id) = CompId::parse(bytes) {
        assert_eq!(id.to_bytes().as_slice(), bytes);
        assert_eq!(id.to_string().as_bytes(), bytes);
    }
    if let Some(id) = OperatorId::parse(bytes) {
        assert_eq!(OperatorId::parse(id.as_str().as_bytes()).as_ref(), Some(&id), "not canonical");
        assert!(id.as_str().as_bytes().eq_ignore_ascii_case(bytes));
    }
    if let Some(id) = AccessKeyId::parse(bytes) {
        assert_eq!(id.to_string().as_bytes(), bytes);
    }
}

/// What is written down by us, in one way only.
fn kept(text: &str) {
    if let Some(stream) = StreamKey::parse(text) {
        assert_eq!(stream.to_string(), text);
    }
    if let Some(scope) = HaltScope::parse(text) {
        assert_eq!(HaltScope::parse(&scope.to_string()), Some(scope));
    }
    if let Some(epoch) = Epoch::parse(text) {
        assert_eq!(Epoch::parse(&epoch.to_string()), Some(epoch));
    }
    if let Some(hash) = LinkHash::parse(text) {
        assert_eq!(hash.to_string(), text);
    }
    if let Some(hash) = TokenHash::parse(text) {
        assert_eq!(hash.to_string(), text);
    }
    if let Ok(time) = DayTime::parse(text) {
        assert_eq!(time.to_string(), text);
    }
    if let Ok(time) = WeekTime::parse(text) {
        assert_eq!(WeekTime::parse(&time.to_string()), Ok(time));
    }
    if let Ok(date) = Date::parse(text) {
        assert_eq!(date.to_string(), text);
    }
}

fn new_password(text: &str) {
    let normal = password::normalise(text);
    assert_eq!(password::normalise(normal.expose()).expose(), normal.expose(), "two normal forms");
    let Ok(userid) = UserId::parse("julian@example.com") else { panic!("a user id") };
    let against = Against { chars_min: 15, bytes_max: 150, userid: &userid, firm: None, products: &[] };
    if password::check(normal.expose(), &against, &|_| false).is_ok() {
        assert!(password::fits(normal.expose()) && normal.expose().chars().count() >= 15);
        assert!(!normal.expose().chars().any(char::is_control) && !normal.expose().contains("julian"));
    }
}
