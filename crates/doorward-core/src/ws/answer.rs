//! Answers: their texts, in one table, and how they are written.

use serde::Serialize;
use serde_json::Value;

use crate::table::table;

table! {
    /// The `result` of an answer. The id is the text on the wire.
    pub enum Refusal {
        InvalidUserOrPassword = "invalid user/password", "The login is refused, whatever the reason; the connection closes.";
        InvalidToken = "invalid token", "The one-time password is wrong or used, another may be sent; or the token is not good.";
        RegistrationRequired = "2fa registration required", "The password was right; an authenticator is needed first; closes.";
        CodeRequired = "2fa token required", "The password was right; only a one-time password is taken now.";
        PasswordChangeRequired = "password change required", "Only a change of the own password is taken now.";
        ChallengeRequired = "challenge required", "The ciphertext's key is not held; ask for a challenge and encrypt again.";
        AlreadyLoggedIn = "already logged in", "Somebody is logged in on this connection.";
        LoginInProgress = "login in progress", "An earlier login on this connection is being decided.";
        LoginRequired = "login required", "Nobody is logged in on this connection.";
        PasswordIssue = "password issue", "The new password breaks the rule in `reason`, or the present one is wrong.";
        PermissionDenied = "permission denied", "Whoever is logged in may not do this.";
        MissingField = "missing field", "The field in `field` is missing.";
        InvalidField = "invalid field", "The value of the field in `field` is not allowed.";
        CodeMissing = "2fa token missing", "A token was asked for, and the customer's one-time password is missing.";
        UserExists = "user already exists", "Somebody has this user id.";
        UnknownUser = "unknown user", "Nobody whom the asker serves has this user id.";
        UnknownFirm = "unknown firm", "No firm that the asker serves has this code.";
        UnknownMessageType = "unknown message type", "No message has this type.";
        Busy = "busy", "Too much is waiting; try again after `retry_ms`.";
        TryAgainLater = "try again later", "Something that the answer depends on is not there; try again after `retry_ms`.";
    }
}

/// An answer being written: `result`, `type`, then further fields, then the request's `id`.
#[derive(Debug)]
pub struct Answer {
    out: Vec<u8>,
}

impl Answer {
    /// An answer with a text of its own.
    pub fn text(result: &str, message_type: &str) -> Self {
        Self { out: b"{".to_vec() }.with("result", result).with("type", message_type)
    }

    /// `OK`.
    pub fn ok(message_type: &str) -> Self {
        Self::text("OK", message_type)
    }

    /// A refusal of the table.
    pub fn refusal(refusal: Refusal, message_type: &str) -> Self {
        Self::text(refusal.id(), message_type)
    }

    /// The same with one field more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        if self.out.len() > 1 {
            self.out.push(b',');
        }
        // Writing JSON of strings, numbers and values into memory cannot fail.
        let _ = serde_json::to_writer(&mut self.out, name);
        self.out.push(b':');
        if serde_json::to_writer(&mut self.out, &value).is_err() {
            self.out.extend_from_slice(b"null");
        }
        self
    }

    /// The same with one field more, where there is a value.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The bytes to send, with the request's `id` where it had one.
    pub fn finish(self, id: Option<&Value>) -> Vec<u8> {
        let mut whole = match id {
            Some(id) => self.with("id", id),
            None => self,
        };
        whole.out.push(b'}');
        whole.out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_result_type_fields_and_the_requests_id() {
        let bytes =
            Answer::ok("challenge").with("key", "MI\"").with("expires", 5).finish(Some(&Value::from(7)));
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            r#"{"result":"OK","type":"challenge","key":"MI\"","expires":5,"id":7}"#
        );
    }
}
