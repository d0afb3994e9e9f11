//! The words of a Logout (35=5) and a Reject (35=3), in one table. The wire says no more than a row of it.

use crate::table::table;

table! {
    /// Text (58) of a Logout or Reject. The id is the text on the wire; what stands in `<…>` is filled in.
    pub enum Refusal {
        MissingTag = "Invalid Logon. All Required Fields are not Present. Missing Tag <number>. Logout Forced",
            "A required tag is missing; of several the first in the page's order is named.";
        InvalidLogon = "Invalid Logon. Logout Forced", "The Logon is refused; which credential or field was wrong is not said.";
        WrongScheme = "Invalid Logon. Invalid EncryptedPasswordMethod(tag 1400). Logout Forced",
            "Tag 1400 is not the name of the signature scheme.";
        InProgress = "Invalid Logon. Logon Already in Progress. Logout Forced",
            "Another Logon for the stream, or on this connection, is being verified.";
        TryAgainLater = "Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced",
            "The Logon could not be verified or written down in time.";
        FirstOfWeek = "Failed to reset sequence numbers at beginning of the week. Logout forced.",
            "The first Logon of the week must have 34=1.";
        ResetFlag = "Invalid Logon. ResetSeqNumFlag (141) must not be Y. Logout Forced", "An initial Logon must not have 141=Y.";
        TooLow = "MsgSeqNum too low, expecting <n> but received <m>. Logout forced.",
            "MsgSeqNum is lower than the next one, and PossDupFlag is not Y.";
        InSessionSequence = "In session logon message must have 34=1. Logout forced.", "An in-session Logon must have 34=1.";
        InSessionReset = "In session logon message must have 141=Y. Logout forced.", "An in-session Logon must have 141=Y.";
        InitialIndicator = "Received initial logon message with Primary Indication = <x> + Expected U or N",
            "An initial Logon must have the indicator U or N.";
        WrongIndicator = "Received invalid fault tolerance indicator = (<x>) Logout forced.",
            "A message in session must have the indicator in force.";
        AlreadyLoggedOn = "Invalid Logon. Already logged on. Logout forced.", "Another connection holds the stream and is alive.";
        HeartBtIntMissing = "Error during logon. Heartbeat tag invalid.", "HeartBtInt (108) is missing.";
        HeartBtIntRange = "Error during logon. Heartbeat value invalid. Received: <n>, expected value in range <range>",
            "HeartBtInt (108) is out of range.";
        NotPresent = "<Name> (<tag>) tag is not present", "A header field is missing or empty.";
        IncorrectValue = "<Name> (<tag>) has an incorrect value: <v> should be <w>", "A field has another value than it must have.";
        ClosedUntil = "Session closed until <UTC>. Logout forced.", "The trading week is closed; it opens at that time.";
        Closed = "Session closed. Logout forced.", "The trading week has closed.";
        Stopping = "Server is stopping. Please reconnect. Logout forced.", "The node is stopping.";
        PortClosed = "(1000) <venue> Administered Port Closure Due to Invalid Number of Login Attempts Being Exceeded",
            "Too many refused Logons: the FIX session is locked until an administrator reopens it.";
        Ended = "Session ended. Logout forced.",
            "The key pair was deleted, or the FIX session or person was disabled or logged out by an operator.";
        Garbled = "Too many garbled messages. Logout forced.", "More than 10 garbled messages came in a row.";
        TooLong = "Message too long. Logout forced.", "A message is longer than the limit.";
        ResendInProgress = "Resend in progress", "Another Resend Request is still being answered.";
        PasswordMustChange = "password must be changed", "The password is initial or expired, and no good new one came along in 925.";
        CodeRequired = "one-time password required", "The password was right; a one-time password must come along.";
        RegisterFirst = "register an authenticator first: <portal address>",
            "The password was right; an authenticator must be registered first.";
        InvalidCode = "invalid one-time password", "The password was right; the one-time password was wrong or used.";
        InvalidUser = "invalid user or password", "Who it is or the password is wrong, or something else that is not said.";
    }
}

/// Longest value of a peer that a text repeats, in bytes.
const VALUE_LEN_MAX: usize = 200;

impl Refusal {
    /// The text with its placeholders filled in, in their order. What a peer sent is cut to 200 bytes, and bytes that
    /// are not printable ASCII become `?`.
    pub fn text(self, values: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.id().len() + 16);
        let mut values = values.iter();
        let mut rest = self.id();
        while let Some((before, behind)) = rest.split_once('<') {
            out.extend_from_slice(before.as_bytes());
            let Some((_, behind)) = behind.split_once('>') else { break };
            let value = values.next().copied().unwrap_or_default();
            let shown = value.iter().take(VALUE_LEN_MAX);
            out.extend(shown.map(|byte| if matches!(byte, b' '..=b'~') { *byte } else { b'?' }));
            rest = behind;
        }
        out.extend_from_slice(rest.as_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_their_order_and_a_peers_bytes_are_made_safe() {
        let text = Refusal::IncorrectValue.text(&[b"TargetSubID", b"57", b"x\x02\xff\x7f", b"G"]);
        assert_eq!(text, b"TargetSubID (57) has an incorrect value: x??? should be G");
        assert_eq!(
            Refusal::TooLow.text(&[b"7", b"3"]),
            b"MsgSeqNum too low, expecting 7 but received 3. Logout forced."
        );
        let long = Refusal::WrongIndicator.text(&[&[b'y'; 500]]);
        assert_eq!(long.len(), Refusal::WrongIndicator.id().len() - "<x>".len() + VALUE_LEN_MAX);
    }
}
