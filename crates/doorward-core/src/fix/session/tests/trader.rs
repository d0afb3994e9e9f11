//! People who log on with password and one-time password.

use super::{Script, frame, trader};

const LOGON: &str = "trader 34=1|49=julian|52=NOW|56=CME|98=0|108=30|554=secret|20030=123456|";

fn play(lines: &str) -> Script {
    let mut s = trader();
    s.play(&lines.replace("LOGON", LOGON));
    s
}

#[test]
fn a_right_password_and_code_are_let_in() {
    play(
        "
        LOGON
        > login julian secret 123456
        verdict granted
        > claim trader/p0000000000000015 34=1
        yours 1/1
        > numbers 2/1 durable
        > 35=A|34=1|98=0|108=30|
        ",
    );
}

#[test]
fn numbers_go_on_and_141_begins_anew() {
    let accepted = |fields: &str, yours: &str, answer: &str| {
        play(&format!(
            "
            trader {fields}49=julian|52=NOW|56=CME|98=0|108=30|554=secret|
            > login julian secret -
            verdict granted
            > claim trader/p0000000000000015 34={}
            yours {yours}
            {answer}
            ",
            fields.trim_start_matches("34=").split('|').next().unwrap()
        ))
    };
    accepted("34=7|", "7/9", "> numbers 8/9 durable\n> 35=A|34=9|98=0|108=30|");
    accepted("34=9|", "7/9", "> numbers 7/9 durable\n> 35=A|34=9|98=0|108=30|\n> 35=2|34=10|7=7|16=8|");
    accepted("34=5|", "1/1", "> numbers 1/1 durable\n> 35=A|34=1|98=0|108=30|\n> 35=2|34=2|7=1|16=4|");
    let s = accepted(
        "34=1|141=Y|",
        "7/9 unsent=4..9",
        "> numbers 2/1 durable
        > note stream-reset
        > note undelivered-left 4-8
        > 35=A|34=1|98=0|108=30|141=Y|",
    );
    assert_eq!(s.session.numbers().unwrap().epoch.reset, 1);
    accepted(
        "34=3|",
        "7/9",
        "> note logon-refused sequence-too-low
        > 35=5|34=9|58=MsgSeqNum too low, expecting 7 but received 3. Logout forced.|
        > close sequence-too-low",
    );
}

#[test]
fn another_connection_of_the_same_person_is_unharmed() {
    play(
        "
        LOGON
        > login julian secret 123456
        verdict granted
        > claim trader/p0000000000000015 34=1
        live
        > note logon-refused already-logged-on
        > 35=5|34=1|58=Invalid Logon. Already logged on. Logout forced.|
        > close already-logged-on
        ",
    );
}

#[test]
fn fix_4_2_and_4_4_are_answered_alike_each_in_its_own_version() {
    for version in ["FIX.4.2", "FIX.4.4"] {
        let mut s = trader();
        let logon = LOGON.trim_start_matches("trader ").replace("NOW", &s.time());
        s.receive(&frame(version, &format!("35=A|{logon}")));
        s.play("> login julian secret 123456\n verdict granted\n> claim trader/p0000000000000015 34=1");
        let state = s.state("1/1");
        s.session.claimed(s.ask, super::Claimed::Yours(state), s.now);
        assert_eq!(s.next().unwrap(), "numbers 2/1 durable");
        match s.session.poll() {
            Some(super::Output::Send(bytes)) => {
                assert!(bytes.starts_with(format!("8={version}\x01").as_bytes()));
            }
            other => panic!("{other:?}"),
        }
    }
    let mut s = trader();
    s.receive(&frame("FIXT.1.1", "35=A|34=1|49=julian|52=20261124-20:00:00|56=CME|98=0|108=30|554=x|"));
    s.feed("");
    s.play(
        "
        > 35=5|34=1|58=BeginString (8) has an incorrect value: FIXT.1.1 should be FIX.4.2 or FIX.4.4|
        > note logon-refused wrong-header
        > close wrong-header",
    );
}

#[test]
fn user_name_and_password_may_stand_in_other_fields() {
    for (fields, asked) in [
        ("49=desk7|553=julian|554=secret|", "julian secret -"),
        ("49=julian|95=6|96=secret|", "julian secret -"),
        ("49=julian|95=7|96=sec\u{1}ret|", "julian sec\u{1}ret -"),
        ("49=julian|", "julian  -"),
        ("49=julian|554=secret|20030=1|", "julian secret 1"),
    ] {
        play(&format!("trader 34=1|{fields}52=NOW|56=CME|98=0|108=30|\n> login {asked}"));
    }
}

#[test]
fn the_tag_of_the_code_is_configured() {
    let mut s = trader();
    let mut settings = (*s.settings).clone();
    settings.code_tag = 9_999;
    s.session = super::Session::new(std::sync::Arc::new(settings), s.now);
    s.play("trader 34=1|49=julian|52=NOW|56=CME|98=0|108=30|554=secret|9999=77|20030=88|\n> login julian secret 77");
}

#[test]
fn refusals_tell_what_the_page_lets_them_tell() {
    for (verdict, text, why) in [
        ("refused", "invalid user or password", "wrong-password"),
        ("code-needed", "one-time password required", "not-verified"),
        ("code-refused", "invalid one-time password", "wrong-code"),
        ("register", "register an authenticator first: https://portal.example", "not-registered"),
        ("must-change", "password must be changed", "password-expired"),
        (
            "busy",
            "Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced",
            "not-verified",
        ),
        (
            "later",
            "Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced",
            "not-verified",
        ),
        (
            "challenge",
            "Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced",
            "not-verified",
        ),
        (
            "changed",
            "Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced",
            "not-verified",
        ),
    ] {
        play(&format!(
            "LOGON\n> login julian secret 123456\n verdict {verdict}\n> 35=5|34=1|58={text}|\n> close {why}"
        ));
    }
}

#[test]
fn a_password_is_changed_at_the_logon_and_answered_with_1409() {
    let logon = format!("{LOGON}925=other|");
    for verdict in ["granted", "must-change"] {
        play(&format!(
            "
            {logon}
            > login julian secret 123456
            verdict {verdict}
            > change secret other
            verdict changed
            > claim trader/p0000000000000015 34=1
            yours 1/1
            > numbers 2/1 durable
            > 35=A|34=1|98=0|108=30|1409=1|
            "
        ));
    }
    play(&format!(
        "
        {logon}
        > login julian secret 123456
        verdict granted
        > change secret other
        verdict issue
        > claim trader/p0000000000000015 34=1
        yours 1/1
        > numbers 2/1 durable
        > 35=A|34=1|98=0|108=30|1409=3|
        "
    ));
    play(&format!(
        "
        {logon}
        > login julian secret 123456
        verdict must-change
        > change secret other
        verdict issue
        > 35=5|34=1|58=password must be changed|1409=3|
        > close password-rule
        "
    ));
}

#[test]
fn what_is_wrong_with_the_message_itself_is_refused_without_an_attempt() {
    for (fields, text, why) in [
        ("34=1|52=NOW|56=CME|108=30|", "EncryptMethod (98) tag is not present", "wrong-header"),
        (
            "34=1|52=NOW|56=CME|98=1|108=30|",
            "EncryptMethod (98) has an incorrect value: 1 should be 0",
            "wrong-header",
        ),
        ("34=1|52=NOW|98=0|108=30|", "TargetCompID (56) tag is not present", "wrong-header"),
        (
            "34=1|52=NOW|56=X|98=0|108=30|",
            "TargetCompID (56) has an incorrect value: X should be CME",
            "wrong-header",
        ),
        ("34=1|52=NOW|56=CME|98=0|", "Error during logon. Heartbeat tag invalid.", "wrong-heart-bt-int"),
        (
            "34=1|52=NOW|56=CME|98=0|108=9|",
            "Error during logon. Heartbeat value invalid. Received: 9, expected value in range 10-3600",
            "wrong-heart-bt-int",
        ),
        (
            "52=NOW|56=CME|98=0|108=30|",
            "Invalid Logon. All Required Fields are not Present. Missing Tag 34. Logout Forced",
            "missing-tag",
        ),
        ("34=1|34=1|52=NOW|56=CME|98=0|108=30|", "invalid user or password", "repeated-tag"),
        ("34=1|43=Y|52=NOW|56=CME|98=0|108=30|", "invalid user or password", "tag-not-permitted"),
        ("34=1|52=NOW|56=CME|98=0|108=30|95=9|96=secret|", "invalid user or password", "length-differs"),
    ] {
        play(&format!(
            "trader 49=julian|554=secret|{fields}
            > 35=5|34=1|58={text}|
            > note logon-refused {why}
            > close {why}"
        ));
    }
}

#[test]
fn a_verification_of_a_password_has_fifteen_seconds() {
    play(
        "
        LOGON
        > login julian secret 123456
        wait 14.999
        wait 0.001
        > 35=5|34=1|58=Logon Could not be Authenticated at This Time. Please Try Again Later. Logout Forced|
        > note logon-refused not-verified
        > close not-verified
        verdict granted
        ",
    );
}

#[test]
fn f7_credentials_are_never_echoed_nor_printed() {
    let mut s = play(&format!("{LOGON}925=hidden|\n> login julian secret 123456"));
    let shown = format!("{:?}", s.session);
    assert!(!shown.contains("hidden") && !shown.contains("123456"), "{shown}");
    s.feed("verdict granted\n verdict changed\n yours 1/1");
    for sent in &s.sent {
        for secret in ["secret", "123456", "hidden", "|95=", "|96=", "|553=", "|554=", "|925=", "|20030="] {
            assert!(!sent.contains(secret), "{sent}");
        }
    }
}

#[test]
fn a_second_logon_of_a_trader_who_is_logged_on_logs_out() {
    let mut s = play(
        "
        LOGON
        > login julian secret 123456
        verdict granted
        > claim trader/p0000000000000015 34=1
        yours 1/1
        > numbers 2/1 durable
        > 35=A|34=1|98=0|108=30|
        ",
    );
    s.play(&format!(
        "{}
        > 35=5|34=2|58=Invalid Logon. Already logged on. Logout forced.|
        > numbers 2/3 exact
        > note logged-out already-logged-on
        > close already-logged-on",
        LOGON.replace("34=1", "34=2")
    ));
}

#[test]
fn without_a_portal_no_address_is_given() {
    let mut s = trader();
    let mut settings = (*s.settings).clone();
    settings.portal = None;
    s.session = super::Session::new(std::sync::Arc::new(settings), s.now);
    s.feed(&format!("{LOGON}\n verdict register"));
    assert_eq!(s.sent, ["35=5|34=1|58=register an authenticator first|"]);
}

#[test]
fn v6_a_session_prints_no_byte_of_its_peer_and_takes_a_password_in_pieces() {
    let mut s = trader();
    let logon = LOGON.trim_start_matches("trader ").replace("NOW", &s.time());
    let logon = frame("FIX.4.4", &format!("35=A|{logon}"));
    let cut = logon.len() - 9;
    for piece in logon[..cut].chunks(7) {
        s.receive(piece);
        let printed = format!("{:?}", s.session);
        assert!(!printed.contains("secret") && !printed.contains("115, 101, 99"), "{printed}");
    }
    assert!(format!("{:?}", s.session).contains(&format!("inbound_bytes: {cut}")));
    s.receive(&logon[cut..]);
    let printed = format!("{:?}", s.session);
    assert!(!printed.contains("secret") && !printed.contains("115, 101, 99"), "{printed}");
    s.play("> login julian secret 123456");
}
