//! Names, addresses, instants and passwords, from any bytes.

use std::time::Duration;

use crate::ask::KeyId;
use crate::id::{FirmCode, PersonId, UserId};
use crate::identity::net::Network;
use crate::identity::password::{self, Against};
use crate::time::Wall;

/// Reads bytes as each kind of name and as a new password: never panics, and what was taken reads back as itself.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
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
