//! What somebody asks for others: `verifylogin`, `checktoken`, `revoketoken`, `getuser`, `adduser` (rules 9 to 12), and
//! the login by token.

use super::*;
use crate::ask::{
    Acting, Declined, MadeToken, NewSecret, OnceShown, PersonShown, ShownSeed, StepDone, Verified,
};
use crate::id::FirmCode;
use crate::secret::Secret;

const VERIFY: &str = r#"{"type":"verifylogin","userid":"Andrea","pass":"QUJD"}"#;
const TOKEN_LOGIN: &str = r#"{"type":"login","userid":"julian","token":"dG9rZW4"}"#;
const RESET: &str =
    r#"{"type":"adduser","userid":"andrea","updateprof":true,"resetpass":true,"pass":"","newpass":"REVG"}"#;

/// A connection of somebody who serves others.
fn serving() -> Script {
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None);
    s.verdict(Verdict::Granted(Granted { serves: true, ..julian(false) })).says(LOGIN_OK).silent();
    s
}

fn by_token() -> Script {
    let mut s = opened();
    s.send(TOKEN_LOGIN);
    let ask = s.next_ask();
    let Ask::TokenLogin { userid, token } = ask else { panic!("{ask:?}") };
    assert_eq!((userid.as_str(), token.expose().as_str()), ("julian", "dG9rZW4"));
    s.verdict(granted()).says(LOGIN_OK).silent();
    s
}

fn declined(why: Declined) -> Verdict {
    Verdict::Declined(why)
}

fn shown(text: &str) -> OnceShown {
    OnceShown::new(Secret::new(text.to_owned()))
}

fn andrea() -> UserId {
    UserId::parse("andrea").unwrap()
}

fn verified() -> Verified {
    Verified {
        userid: andrea(),
        active: true,
        level: 0,
        attr: None,
        token: None,
        must_register: false,
        must_change: false,
    }
}

fn verdict_of(verified: Verified) -> Verdict {
    Verdict::Verified(Box::new(verified))
}

impl Script {
    fn asks(&mut self, is: fn(&Ask) -> bool) -> &mut Self {
        let ask = self.next_ask();
        assert!(is(&ask), "{ask:?}");
        self
    }

    fn asks_verify(&mut self) -> &mut Self {
        self.asks(|ask| matches!(ask, Ask::Verify(_)))
    }

    fn asks_step(&mut self) -> &mut Self {
        self.asks(|ask| matches!(ask, Ask::AddTrader(_) | Ask::ChangeTrader(_)))
    }
}

fn answer(result: &str, message_type: &str, more: &str) -> String {
    format!(r#"{{"result":"{result}","type":"{message_type}"{more}}}"#)
}

#[test]
fn rule_9_a_customers_login_is_asked_with_all_that_came_along() {
    let mut s = serving();
    s.send(r#"{"type":"verifylogin","userid":"Andrea","pass":"QUJD","2fatoken":"123456","gentoken":"Y","source":"2001:db8::7"}"#);
    let ask = s.next_ask();
    let Ask::Verify(verify) = ask else { panic!("{ask:?}") };
    assert_eq!(verify.asker, Acting { person: julian(false).person, factor_at: None });
    assert_eq!((verify.userid.as_str(), verify.wants_token), ("Andrea", true));
    assert_eq!(verify.code.as_ref().map(|code| code.expose().as_str()), Some("123456"));
    assert_eq!(verify.source, Some("2001:db8::7".parse().unwrap()));
    let GivenPassword::Encrypted(password) = &verify.password else { panic!("not encrypted") };
    assert_eq!((password.key.as_str(), password.ciphertext.as_slice()), ("k1", b"ABC".as_slice()));
}

#[test]
fn rule_9_every_answer_to_verifylogin_leaves_the_connection() {
    let mut attr = serde_json::Map::new();
    attr.insert("n".to_owned(), 1.into());
    let token = Some(MadeToken { token: shown("dG9rZW4"), expires: START });
    let known = r#","active":"Y","userid":"andrea","verify_level":"#;
    for (verdict, said) in [
        (verdict_of(verified()), answer("OK", "verifylogin", &format!("{known}0"))),
        (
            verdict_of(Verified { level: 1, attr: Some(attr), token, ..verified() }),
            answer(
                "OK",
                "verifylogin",
                &format!(r#"{known}1,"attr":{{"n":1}},"token":"dG9rZW4","expires":1795291200000"#),
            ),
        ),
        (
            verdict_of(Verified { active: false, ..verified() }),
            answer("OK", "verifylogin", r#","active":"N","userid":"andrea","verify_level":0"#),
        ),
        (
            verdict_of(Verified { must_register: true, ..verified() }),
            answer("OK", "verifylogin", &format!(r#"{known}0,"2fa":"registration required""#)),
        ),
        (
            verdict_of(Verified { must_change: true, ..verified() }),
            answer("OK", "verifylogin", &format!(r#"{known}0,"password":"change required""#)),
        ),
        (Verdict::Refused, answer("invalid user/password", "verifylogin", r#","userid":"Andrea""#)),
        (declined(Declined::InvalidToken), answer("invalid token", "verifylogin", "")),
        (declined(Declined::CodeMissing), answer("2fa token missing", "verifylogin", "")),
        (declined(Declined::NotPermitted { field: None }), answer("permission denied", "verifylogin", "")),
        (
            declined(Declined::NotPermitted { field: Some("gentoken") }),
            answer("permission denied", "verifylogin", r#","field":"gentoken""#),
        ),
        (Verdict::ChallengeNeeded, answer("challenge required", "verifylogin", "")),
        (busy(), answer("busy", "verifylogin", r#","retry_ms":250"#)),
        (later(), answer("try again later", "verifylogin", r#","retry_ms":5000"#)),
    ] {
        let mut s = serving();
        for _ in 0..4 {
            s.send(VERIFY).asks_verify().verdict(verdict.clone()).says(&said).silent();
        }
        s.is_logged_in();
    }
}

#[test]
fn rule_9_a_verdict_on_a_login_lets_nobody_in_in_answer_to_verifylogin() {
    for verdict in [granted(), code_needed(), code_refused(), password_changed()] {
        let mut s = serving();
        s.send(VERIFY).asks_verify().verdict(verdict);
        s.says(r#"{"result":"try again later","type":"verifylogin","retry_ms":1000}"#).is_logged_in();
        s.send(VERIFY).asks_verify();
    }
}

#[test]
fn rules_9_and_10_an_ordinary_user_asks_for_nobody_else() {
    let mut s = logged_in();
    for (message, name) in [
        (VERIFY, "verifylogin"),
        (r#"{"type":"verifylogin"}"#, "verifylogin"),
        (r#"{"type":"checktoken","token":"dG9rZW4"}"#, "checktoken"),
        (r#"{"type":"revoketoken","token":"dG9rZW4"}"#, "revoketoken"),
        (r#"{"type":"getuser","userid":"andrea"}"#, "getuser"),
        (RESET, "adduser"),
        (r#"{"type":"adduser","userid":"andrea","pass":"QUJD"}"#, "adduser"),
    ] {
        s.send(message).says(&answer("permission denied", name, "")).silent();
    }
    s.is_logged_in();
}

#[test]
fn before_a_login_and_between_its_steps_nothing_is_asked_for_others() {
    let messages = [
        ("verifylogin", r#","userid":"andrea","pass":"QUJD""#),
        ("checktoken", r#","token":"dG9rZW4""#),
        ("revoketoken", ""),
        ("getuser", ""),
        ("adduser", r#","userid":"andrea","pass":"QUJD""#),
    ];
    for (mut s, due) in [
        (opened(), "login required"),
        (challenged(), "login required"),
        (code_awaited(), "2fa token required"),
    ] {
        for (name, more) in messages {
            s.send(&format!(r#"{{"type":"{name}"{more}}}"#)).says(&answer(due, name, "")).silent();
        }
    }
    let mut s = challenged();
    s.send(LOGIN).asks_login("julian", None);
    s.verdict(Verdict::Granted(Granted { serves: true, ..julian(true) })).says_something();
    for (name, more) in messages {
        s.send(&format!(r#"{{"type":"{name}"{more}}}"#));
        s.says(&answer("password change required", name, "")).silent();
    }
    s.send(CHANGE).asks_change().verdict(password_changed()).says(CHANGED);
    s.send(VERIFY).asks_verify();
}

#[test]
fn each_missing_field_is_named_and_nothing_is_asked() {
    for (message, name, field) in [
        (r#"{"type":"verifylogin","pass":"QUJD"}"#, "verifylogin", "userid"),
        (r#"{"type":"verifylogin","userid":"andrea","pass":""}"#, "verifylogin", "pass"),
        (r#"{"type":"checktoken"}"#, "checktoken", "token"),
        (r#"{"type":"revoketoken","token":""}"#, "revoketoken", "token"),
        (r#"{"type":"adduser","pass":"QUJD"}"#, "adduser", "userid"),
        (r#"{"type":"adduser","userid":"andrea"}"#, "adduser", "pass"),
        (r#"{"type":"adduser","userid":"andrea","updateprof":true,"resetpass":true}"#, "adduser", "newpass"),
        (r#"{"type":"adduser","userid":"andrea","updateprof":true,"newpass":"REVG"}"#, "adduser", "pass"),
        (r#"{"type":"adduser","userid":"andrea","updateprof":true,"pass":"QUJD"}"#, "adduser", "newpass"),
    ] {
        serving()
            .send(message)
            .says(&answer("missing field", name, &format!(r#","field":"{field}""#)))
            .silent();
    }
    for (message, field) in [
        (
            r#"{"type":"adduser","userid":"a","updateprof":true,"resetpass":true,"pass":"QUJD","newpass":"REVG"}"#,
            "pass",
        ),
        (r#"{"type":"adduser","userid":"a","resetpass":true,"newpass":"REVG"}"#, "resetpass"),
        (r#"{"type":"adduser","userid":"a","pass":"QUJD","newpass":"REVG"}"#, "newpass"),
    ] {
        serving()
            .send(message)
            .says(&answer("invalid field", "adduser", &format!(r#","field":"{field}""#)))
            .silent();
    }
}

#[test]
fn a_wrong_field_type_is_named_for_others_too() {
    for (message, name, what) in [
        (r#"{"type":"verifylogin","source":"nowhere"}"#, "verifylogin", "field source: not an address"),
        (r#"{"type":"verifylogin","gentoken":1}"#, "verifylogin", "field gentoken: not Y, N, true or false"),
        (r#"{"type":"adduser","attr":[]}"#, "adduser", "field attr: not an object"),
        (r#"{"type":"adduser","roles":1}"#, "adduser", "field roles: not a string"),
        (r#"{"type":"checktoken","token":1}"#, "checktoken", "field token: not a string"),
        (
            r#"{"type":"login","userid":"a","pass":"QUJD","token":"x"}"#,
            "login",
            "fields pass and token: only one of them",
        ),
    ] {
        serving().send(message).says(&answer(what, name, "")).silent();
    }
}

#[test]
fn rule_10_a_reset_is_asked_and_all_but_passwords_comes_back() {
    let mut s = serving();
    s.send(concat!(
        r#"{"type":"adduser","userid":"Andrea+1@x.y","roles":"XXSSS","updateprof":true,"firm":"FINT","#,
        r#""resetpass":true,"pass":"","newpass":"REVG","attr":{"b":1,"a":2.50},"reason":"by phone","#,
        r#""initial":"N","use2fa":"Y","id":7}"#,
    ));
    let ask = s.next_ask();
    let Ask::ChangeTrader(change) = ask else { panic!("{ask:?}") };
    assert!(
        matches!(&change.password, Some(NewSecret::Reset(GivenPassword::Encrypted(new))) if new.ciphertext == b"DEF")
    );
    assert_eq!((change.userid.as_str(), change.firm.as_deref()), ("Andrea+1@x.y", Some("FINT")));
    assert_eq!((change.details.otp, change.details.initial), (Some(true), Some(false)));
    assert_eq!(change.details.reason.as_deref(), Some("by phone"));
    let seed = Some(ShownSeed { base32: shown("JBSWY3DP"), uri: shown("otpauth://totp/x") });
    s.verdict(Verdict::StepDone(Box::new(StepDone { broker_comm_rate: None, seed })));
    s.says(
        concat!(
            r#"{"result":"OK","type":"adduser","userid":"Andrea+1@x.y","firm":"FINT","roles":"XXSSS","#,
            r#""updateprof":true,"resetpass":true,"use2fa":"Y","initial":false,"attr":{"a":2.5,"b":1},"#,
            r#""reason":"by phone","broker_comm_rate":"0","2faseed":"JBSWY3DP","2fauri":"otpauth://totp/x","id":7}"#,
        ),
    );
    s.silent().is_logged_in();
}

#[test]
fn rule_10_an_addition_takes_pass_or_newpass_for_the_first_password() {
    for field in ["pass", "newpass"] {
        let mut s = serving();
        s.send(&format!(r#"{{"type":"adduser","userid":"andrea","firm":"FINT","{field}":"QUJD"}}"#));
        let ask = s.next_ask();
        let Ask::AddTrader(new) = ask else { panic!("{ask:?}") };
        assert!(matches!(&new.password, GivenPassword::Encrypted(first) if first.ciphertext == b"ABC"));
        let done = StepDone { broker_comm_rate: Some("0.25".into()), seed: None };
        s.verdict(Verdict::StepDone(Box::new(done)));
        s.says(
            r#"{"result":"OK","type":"adduser","userid":"andrea","firm":"FINT","broker_comm_rate":"0.25"}"#,
        );
    }
}

#[test]
fn rule_10_every_refusal_of_a_step_leaves_the_connection() {
    for (verdict, result, more) in [
        (
            declined(Declined::NotPermitted { field: Some("use2fa") }),
            "permission denied",
            r#","field":"use2fa""#,
        ),
        (declined(Declined::UserExists), "user already exists", ""),
        (declined(Declined::UnknownUser), "unknown user", ""),
        (declined(Declined::UnknownFirm), "unknown firm", ""),
        (declined(Declined::Missing { field: "firm" }), "missing field", r#","field":"firm""#),
        (declined(Declined::Invalid { field: "attr" }), "invalid field", r#","field":"attr""#),
        (Verdict::PasswordIssue { reason: "common" }, "password issue", r#","reason":"common""#),
        (Verdict::ChallengeNeeded, "challenge required", ""),
        (Verdict::Refused, "try again later", r#","retry_ms":1000"#),
        (granted(), "try again later", r#","retry_ms":1000"#),
    ] {
        let mut s = serving();
        s.send(RESET).asks_step().verdict(verdict).says(&answer(result, "adduser", more)).silent();
        s.is_logged_in().send(RESET).asks_step();
    }
}

#[test]
fn rule_10_nobody_changes_the_own_roles_or_second_factor() {
    for (field, value) in [("roles", r#""X""#), ("use2fa", r#""N""#), ("attr", "{}"), ("resetpass", "true")] {
        for who in ["", r#""userid":"JULIAN","#] {
            let message = format!(
                r#"{{"type":"adduser",{who}"updateprof":true,"pass":"QUJD","newpass":"REVG","{field}":{value}}}"#
            );
            let more = format!(r#","field":"{field}""#);
            serving().send(&message).says(&answer("permission denied", "adduser", &more)).silent();
        }
    }
    serving().send(CHANGE).asks_change().verdict(password_changed()).says(CHANGED);
}

#[test]
fn what_is_told_of_somebody_and_of_a_token() {
    let person = PersonShown {
        userid: andrea(),
        firm: Some(FirmCode::parse("FINT").unwrap()),
        roles: Some("XX".into()),
        active: true,
        otp: true,
        registered: false,
        attr: None,
    };
    let mut s = serving();
    s.send(r#"{"type":"getuser","userid":"andrea"}"#);
    s.asks(|ask| matches!(ask, Ask::Person { userid: Some(of), .. } if of == "andrea"));
    s.verdict(Verdict::Person(Box::new(person)));
    let told =
        r#","userid":"andrea","firm":"FINT","roles":"XX","active":"Y","use2fa":"Y","2faregistered":"N""#;
    s.says(&answer("OK", "getuser", told));
    for (name, revokes) in [("checktoken", false), ("revoketoken", true)] {
        s.send(&format!(r#"{{"type":"{name}","token":"dG9rZW4","userid":"andrea"}}"#));
        let ask = s.next_ask();
        let Ask::Token { token, userid, revoke, .. } = ask else { panic!("{ask:?}") };
        assert_eq!(
            (token.expose().as_str(), userid.as_deref(), revoke),
            ("dG9rZW4", Some("andrea"), revokes)
        );
        s.verdict(Verdict::TokenKnown { userid: andrea(), expires: START });
        s.says(&answer("OK", name, r#","userid":"andrea","expires":1795291200000"#));
        s.send(&format!(r#"{{"type":"{name}","token":"x"}}"#)).asks(|ask| matches!(ask, Ask::Token { .. }));
        s.verdict(declined(Declined::InvalidToken)).says(&answer("invalid token", name, "")).silent();
    }
    for message in [r#"{"type":"getuser"}"#, r#"{"type":"getuser","userid":"Julian"}"#] {
        logged_in().send(message).asks(|ask| matches!(ask, Ask::Person { userid: None, .. }));
    }
}

#[test]
fn rule_9_a_token_lets_in_but_changes_no_password() {
    by_token().send(CHANGE).says(&answer("permission denied", "adduser", "")).silent().is_logged_in();
    by_token().send(LOGIN).says(LOGIN_TWICE);
    let mut s = opened();
    for wrong in 1..=3 {
        s.send(TOKEN_LOGIN).asks(|ask| matches!(ask, Ask::TokenLogin { .. }));
        s.verdict(declined(Declined::InvalidToken)).says(&answer("invalid token", "login", ""));
        if wrong < 3 {
            s.silent().is_not_logged_in();
        }
    }
    s.notes(Event::ConnectionRefused, Some(Deny::TooManyCodes)).closes(1008);
}

#[test]
fn one_ask_at_a_time_for_others_too() {
    let mut s = serving();
    s.send(VERIFY).asks_verify().send(VERIFY).send(RESET).send(PING).says_something().silent();
    s.verdict(Verdict::Refused).says_something().asks_verify();
    s.verdict(verdict_of(verified())).says_something().asks_step();
    s.verdict(declined(Declined::UnknownUser)).says(&answer("unknown user", "adduser", "")).silent();
}

#[test]
fn t14_a_code_at_the_login_goes_along_with_what_is_asked_for_others() {
    let mut s = code_awaited();
    let factor_at = Some(START);
    s.send(CODE).asks_code("123456");
    s.verdict(Verdict::Granted(Granted { serves: true, factor_at, ..julian(false) })).says(CODE_OK);
    s.send(RESET);
    let ask = s.next_ask();
    let Ask::ChangeTrader(change) = ask else { panic!("{ask:?}") };
    assert_eq!(change.asker.factor_at, factor_at);
}
