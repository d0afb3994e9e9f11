//! What is asked for others: what leaves, and how every answer is told apart.

use doorward_core::ask::OnceShown;
use doorward_core::time::Wall;
use serde_json::Map;

use super::*;

fn shown(text: &str) -> OnceShown {
    OnceShown::new(secret(text))
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// The answers that every one of these messages may have.
fn declined() -> Vec<(Value, Declined)> {
    let permission = |field: Option<&str>| Declined::PermissionDenied { field: field.map(str::to_owned) };
    vec![
        (json!({"result": "permission denied"}), permission(None)),
        (json!({"result": "permission denied", "field": "gentoken"}), permission(Some("gentoken"))),
        (
            json!({"result": "missing field", "field": "pass"}),
            Declined::MissingField { field: "pass".into() },
        ),
        (
            json!({"result": "invalid field", "field": "attr"}),
            Declined::InvalidField { field: "attr".into() },
        ),
        (json!({"result": "challenge required"}), Declined::ChallengeRequired),
        (json!({"result": "busy", "retry_ms": 5}), Declined::Busy { retry_ms: 5 }),
        (json!({"result": "try again later"}), Declined::TryAgainLater { retry_ms: 1_000 }),
        (json!({"result": "login required"}), Declined::Other("login required".into())),
        (json!({"result": 7}), Declined::Other(String::new())),
    ]
}

fn verified(raw: &Value) -> VerifiedLogin {
    let VerifyAnswer::Verified(verified) = VerifyAnswer::read(&mut raw.clone()) else { panic!("{raw}") };
    *verified
}

#[test]
fn every_answer_to_verifylogin_is_told_apart() {
    let known = VerifiedLogin {
        userid: "jane".into(),
        active: true,
        verify_level: 0,
        attr: None,
        token: None,
        must_register: false,
        must_change: false,
    };
    let ok = json!({"result": "OK", "userid": "jane", "active": "Y", "verify_level": 0});
    assert_eq!(verified(&ok), known);
    let with = |fields: Value| {
        let mut raw = ok.clone();
        fields.as_object().unwrap().iter().for_each(|(name, value)| raw[name] = value.clone());
        verified(&raw)
    };
    assert_eq!(with(json!({"active": "N"})), VerifiedLogin { active: false, ..known.clone() });
    assert_eq!(
        with(json!({"2fa": "registration required"})),
        VerifiedLogin { must_register: true, ..known.clone() }
    );
    assert_eq!(
        with(json!({"password": "change required"})),
        VerifiedLogin { must_change: true, ..known.clone() }
    );
    let token = LoginToken { token: shown("t0ken"), expires: Some(Wall::from_s(1_800_000_000)) };
    let attr = object(&json!({"desk": [1]}));
    assert_eq!(
        with(
            json!({"verify_level": 1, "attr": {"desk": [1]}, "token": "t0ken", "expires": 1_800_000_000_000i64})
        ),
        VerifiedLogin { verify_level: 1, attr: Some(attr), token: Some(token), ..known }
    );
    let mut rows = vec![
        (json!({"result": "invalid user/password", "userid": "jane"}), VerifyAnswer::Refused),
        (json!({"result": "invalid token"}), VerifyAnswer::InvalidToken),
        (json!({"result": "2fa token missing"}), VerifyAnswer::CodeMissing),
    ];
    rows.extend(declined().into_iter().map(|(raw, declined)| (raw, VerifyAnswer::Declined(declined))));
    for (mut raw, expected) in rows {
        assert_eq!(VerifyAnswer::read(&mut raw), expected, "{raw}");
    }
}

#[tokio::test]
async fn q3_a_token_and_a_seed_are_taken_out_of_what_may_be_shown() {
    let answers = vec![
        Act::Answer(json!({"result": "OK", "active": "Y", "verify_level": 1, "token": "t0ken-in-clear"})),
        Act::Answer(
            json!({"result": "OK", "2faseed": "JBSWY3DP", "2fauri": "otpauth://totp/x?secret=JBSWY3DP"}),
        ),
    ];
    let (mut client, _server) = connect(answers).await;
    let password = secret("a right one");
    let customer =
        VerifyLogin { userid: "j", password: &password, code: None, wants_token: true, source: None };
    let reply = client.verify_login(&customer).await.unwrap();
    assert!(!format!("{reply:?}").contains("t0ken-in"), "{reply:?}");
    let VerifyAnswer::Verified(verified) = reply.answer else { panic!("{:?}", reply.raw) };
    assert_eq!(verified.token.unwrap().token, shown("t0ken-in-clear"));

    let wanted = UserDetails { use2fa: Some(true), ..UserDetails::default() };
    let reply = client.update_user("j", PasswordStep::Keep, &wanted).await.unwrap();
    assert!(!format!("{reply:?}").contains("JBSW"), "{reply:?}");
    let StepAnswer::Done(done) = reply.answer else { panic!("{:?}", reply.raw) };
    let seed = done.seed.unwrap();
    assert_eq!((seed.base32, seed.uri), (shown("JBSWY3DP"), shown("otpauth://totp/x?secret=JBSWY3DP")));
}

#[tokio::test]
async fn verifylogin_carries_what_the_page_documents() {
    let refused = || Act::Answer(json!({"result": "invalid user/password"}));
    let (mut client, server) = connect(vec![refused(), refused()]).await;
    let (password, code) = (secret("pässwörd"), secret("123456"));
    let bare = VerifyLogin { userid: "j", password: &password, code: None, wants_token: false, source: None };
    client.verify_login(&bare).await.unwrap();
    let source = Some("192.0.2.7".parse().unwrap());
    let full = VerifyLogin { code: Some(&code), wants_token: true, source, ..bare };
    client.verify_login(&full).await.unwrap();
    drop(client);
    let seen = server.await.unwrap();
    let (bare, full) = (&seen[1], &seen[2]);
    assert_eq!(
        (&bare["type"], &bare["userid"], &bare["keyid"]),
        (&json!("verifylogin"), &json!("j"), &json!("k-1"))
    );
    for absent in ["2fatoken", "gentoken", "source"] {
        assert_eq!(bare.get(absent), None, "{absent}");
    }
    assert_eq!(
        (&full["2fatoken"], &full["gentoken"], &full["source"]),
        (&json!("123456"), &json!(true), &json!("192.0.2.7"))
    );
    for message in [bare, full] {
        assert_eq!(opened(message, "pass").as_deref(), Some("pässwörd"));
    }
    assert_ne!(bare["pass"], full["pass"], "encrypted anew each time");
}

#[tokio::test]
async fn a_program_that_stays_connected_gets_another_challenge_when_its_own_is_over() {
    let ok = || Act::Answer(json!({"result": "OK", "active": "Y", "verify_level": 0}));
    let gone = Act::Answer(json!({"result": "challenge required"}));
    let (mut client, server) = connect(vec![ok(), gone, ok()]).await;
    let password = secret("a right one");
    let customer =
        VerifyLogin { userid: "j", password: &password, code: None, wants_token: false, source: None };
    for _ in 0..2 {
        let reply = client.verify_login(&customer).await.unwrap();
        assert!(matches!(reply.answer, VerifyAnswer::Verified(_)), "{:?}", reply.raw);
    }
    drop(client);
    let seen = server.await.unwrap();
    let types: Vec<_> = seen.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["challenge", "verifylogin", "verifylogin", "challenge", "verifylogin"]);
}

#[tokio::test]
async fn tokens_are_logged_in_with_asked_for_and_ended() {
    let good = json!({"result": "OK", "userid": "jane", "expires": 1_800_000_000_000i64});
    let (mut client, server) = connect(vec![
        Act::Answer(json!({"result": "OK"})),
        Act::Answer(good.clone()),
        Act::Answer(good),
        Act::Answer(json!({"result": "invalid token"})),
    ])
    .await;
    let token = secret("t0ken");
    let login = client.login_by_token("jane", &token).await.unwrap();
    assert_eq!(login.answer, LoginAnswer::In { must_change: false });
    let good = TokenAnswer::Good { userid: "jane".into(), expires: Some(Wall::from_s(1_800_000_000)) };
    assert_eq!(client.check_token(&token, None).await.unwrap().answer, good);
    assert_eq!(client.revoke_token(&token, Some("jane")).await.unwrap().answer, good);
    assert_eq!(client.check_token(&token, None).await.unwrap().answer, TokenAnswer::InvalidToken);
    for (raw, expected) in declined() {
        assert_eq!(TokenAnswer::read(&raw), TokenAnswer::Declined(expected), "{raw}");
    }
    drop(client);
    let seen = server.await.unwrap();
    assert_eq!(
        seen[..3],
        [
            json!({"type": "login", "userid": "jane", "token": "t0ken", "id": 1}),
            json!({"type": "checktoken", "token": "t0ken", "id": 2}),
            json!({"type": "revoketoken", "token": "t0ken", "userid": "jane", "id": 3}),
        ]
    );
}

#[tokio::test]
async fn getuser_tells_what_is_known() {
    let raw = json!({"result": "OK", "userid": "jane", "firm": "NORTH", "roles": "T,,R", "active": "Y",
        "use2fa": "Y", "2faregistered": "N", "attr": {"desk": 1}});
    let (mut client, server) =
        connect(vec![Act::Answer(raw), Act::Answer(json!({"result": "unknown user"}))]).await;
    let expected = KnownUser {
        userid: "jane".into(),
        firm: Some("NORTH".into()),
        roles: Some("T,,R".into()),
        active: true,
        use2fa: true,
        registered: false,
        attr: Some(object(&json!({"desk": 1}))),
    };
    assert_eq!(client.user(Some("jane")).await.unwrap().answer, UserAnswer::Known(Box::new(expected)));
    assert_eq!(client.user(None).await.unwrap().answer, UserAnswer::Unknown);
    for (raw, expected) in declined() {
        assert_eq!(UserAnswer::read(&raw), UserAnswer::Declined(expected), "{raw}");
    }
    drop(client);
    let seen = server.await.unwrap();
    assert_eq!(seen[0], json!({"type": "getuser", "userid": "jane", "id": 1}));
    assert_eq!(seen[1], json!({"type": "getuser", "id": 2}));
}

#[tokio::test]
async fn every_form_of_adduser_carries_what_it_sets_and_no_more() {
    let done = || Act::Answer(json!({"result": "OK", "broker_comm_rate": "0.5"}));
    let (mut client, server) = connect(vec![done(), done(), done(), done(), done()]).await;
    let (old, new) = (secret("the present one"), secret("the new one"));
    let none = UserDetails::default();
    let all = UserDetails {
        firm: Some("NORTH".into()),
        roles: Some("T,,R".into()),
        broker_comm_rate: Some("0.5".into()),
        attr: Some(object(&json!({"desk": 1}))),
        use2fa: Some(true),
        initial: Some(false),
        reason: Some("asked for by phone".into()),
    };
    let answer = client.add_user("jane", &new, &all).await.unwrap().answer;
    assert_eq!(answer, StepAnswer::Done(Box::new(StepDone { broker_comm_rate: "0.5".into(), seed: None })));
    let off = UserDetails { use2fa: Some(false), ..none.clone() };
    client.update_user("jane", PasswordStep::Keep, &off).await.unwrap();
    client.update_user("jane", PasswordStep::Change { present: &old, new: &new }, &none).await.unwrap();
    client.update_user("jane", PasswordStep::Reset { new: &new }, &none).await.unwrap();
    client.add_user("joe", &new, &none).await.unwrap();
    drop(client);
    let seen = server.await.unwrap();
    let without_ciphertext = |message: &Value| {
        let mut fields = object(message);
        for name in ["pass", "newpass", "padding", "keyid", "id"] {
            fields.remove(name);
        }
        Value::Object(fields)
    };
    let steps: Vec<Value> = seen[1..].iter().map(without_ciphertext).collect();
    assert_eq!(
        steps,
        [
            json!({"type": "adduser", "userid": "jane", "firm": "NORTH", "roles": "T,,R",
                "broker_comm_rate": "0.5", "attr": {"desk": 1}, "use2fa": "Y", "initial": false,
                "reason": "asked for by phone"}),
            json!({"type": "adduser", "userid": "jane", "updateprof": true, "use2fa": "N"}),
            json!({"type": "adduser", "userid": "jane", "updateprof": true}),
            json!({"type": "adduser", "userid": "jane", "updateprof": true, "resetpass": true}),
            json!({"type": "adduser", "userid": "joe"}),
        ]
    );
    let passwords = |message: &Value| {
        let of = |name| message.get(name).and_then(|_| opened(message, name));
        (of("pass"), of("newpass"))
    };
    let (old, new) = (Some(old.expose().clone()), Some(new.expose().clone()));
    let sent: Vec<_> = seen[1..].iter().map(passwords).collect();
    assert_eq!(
        sent,
        [(new.clone(), None), (None, None), (old, new.clone()), (None, new.clone()), (new, None)]
    );
}

#[test]
fn every_answer_to_adduser_is_told_apart() {
    let issue = StepAnswer::PasswordIssue { reason: "too short".into() };
    let mut rows = vec![
        (json!({"result": "password issue", "reason": "too short"}), issue),
        (json!({"result": "user already exists"}), StepAnswer::UserExists),
        (json!({"result": "unknown user"}), StepAnswer::UnknownUser),
        (json!({"result": "unknown firm"}), StepAnswer::UnknownFirm),
    ];
    rows.extend(declined().into_iter().map(|(raw, declined)| (raw, StepAnswer::Declined(declined))));
    for (mut raw, expected) in rows {
        assert_eq!(StepAnswer::read(&mut raw), expected, "{raw}");
    }
}

#[test]
fn only_what_was_not_decided_may_be_tried_again() {
    let again: Vec<Option<u64>> = declined().iter().map(|(_, declined)| declined.retry_ms()).collect();
    assert_eq!(again, [None, None, None, None, None, Some(5), Some(1_000), None, None]);
}
