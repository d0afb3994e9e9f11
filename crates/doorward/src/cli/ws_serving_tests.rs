//! What is asked for others, against a small server that answers from a list.

use tokio::net::TcpListener;

use super::super::Command;
use super::super::tests::{command, serve};
use super::*;

/// Answers to what is asked of a person.
fn answer(question: Question) -> Result<Secret<String>, CliError> {
    Ok(Secret::new(String::from(match question.option {
        "--user" => "web-backend",
        "--customer-code-env" => "654321",
        "--seed-env" => "123456",
        "--token-env" => "t0ken",
        _ => "pass phrase",
    })))
}

/// Runs a command against a server with these answers; gives its end, what it printed and what the server saw.
async fn run(words: &[&str], answers: Vec<Value>) -> (Result<Exit, CliError>, String, Vec<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(serve(listener, answers, Vec::new()));
    let (kind, rest) = words.split_first().unwrap();
    let command = command(&[&[*kind, "--url", &url], rest].concat()).unwrap();
    let mut out = Vec::new();
    let end = match command {
        Command::Login(_) => panic!("not one of these"),
        Command::Verify(args) => verify(&args, &mut out, answer).await,
        Command::CheckToken(args) => token(&args, false, &mut out, answer).await,
        Command::RevokeToken(args) => token(&args, true, &mut out, answer).await,
        Command::GetUser(args) => get_user(&args, &mut out, answer).await,
        Command::AddUser(args) => add_user(&args, &mut out, answer).await,
        Command::UpdateUser(args) => update_user(&args, &mut out, answer).await,
    };
    let seen = server.await.unwrap();
    (end, String::from_utf8(out).unwrap(), seen)
}

fn ok(fields: &Value) -> Value {
    let mut answer = json!({"result": "OK"});
    fields.as_object().unwrap().iter().for_each(|(name, value)| answer[name] = value.clone());
    answer
}

#[tokio::test]
async fn a_customer_is_verified_and_the_token_is_printed_once() {
    let verified = ok(&json!({"active": "Y", "userid": "jane", "verify_level": 1, "token": "t0ken",
        "expires": 1_800_000_000_000i64}));
    let missing = json!({"result": "2fa token missing", "type": "verifylogin"});
    let words = ["verify", "Jane", "--token", "--source", "192.0.2.7"];
    let (end, out, seen) = run(&words, vec![ok(&json!({})), missing.clone(), verified.clone()]).await;
    assert_eq!(end.unwrap(), Exit::Done);
    assert_eq!(
        out,
        "user id     jane\nverified    may come in\nlevel       1 (password and one-time password)\n\
         token       t0ken\ngood until  2027-01-15T08:00:00.000Z\n"
    );
    assert_eq!((&seen[1]["type"], &seen[1]["userid"]), (&json!("login"), &json!("web-backend")));
    let (first, second) = (&seen[2], &seen[3]);
    assert_eq!(
        (first.get("2fatoken"), &second["2fatoken"]),
        (None, &json!("654321")),
        "asked for when missing"
    );
    for message in [first, second] {
        assert_eq!(
            (&message["userid"], &message["gentoken"], &message["source"]),
            (&json!("Jane"), &json!(true), &json!("192.0.2.7"))
        );
    }
    let (_, out, _) = run(&["verify", "jane", "--token", "--json"], vec![ok(&json!({})), verified]).await;
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["token"], "t0ken");
}

#[tokio::test]
async fn what_keeps_a_customer_out_is_told_with_the_exit_code() {
    let verified = |fields: Value| {
        let mut answer = ok(&json!({"active": "Y", "userid": "jane", "verify_level": 0}));
        fields.as_object().unwrap().iter().for_each(|(name, value)| answer[name] = value.clone());
        answer
    };
    for (given, exit, text) in [
        (verified(json!({})), Exit::Done, "level       0 (password)\n"),
        (verified(json!({"active": "N"})), Exit::Refused, "verified    disabled: may not come in\n"),
        (verified(json!({"password": "change required"})), Exit::Done, "the password must be changed first"),
        (
            verified(json!({"2fa": "registration required"})),
            Exit::Done,
            "an authenticator must be registered",
        ),
        (json!({"result": "invalid user/password"}), Exit::Refused, "refused: invalid user/password\n"),
        (
            json!({"result": "invalid token"}),
            Exit::Refused,
            "refused: the one-time password is wrong or used\n",
        ),
        (
            json!({"result": "permission denied", "field": "gentoken"}),
            Exit::Refused,
            "refused: permission denied: gentoken\n",
        ),
        (json!({"result": "busy", "retry_ms": 7}), Exit::Refused, "refused: busy; try again in 7 ms\n"),
        (json!({"result": "a\u{1b}[2Jb"}), Exit::Refused, "refused: a\\u{1b}[2Jb\n"),
    ] {
        let (end, out, _) = run(&["verify", "jane"], vec![ok(&json!({})), given.clone()]).await;
        assert_eq!(end.unwrap(), exit, "{given}");
        assert!(out.contains(text), "{out}");
    }
}

#[tokio::test]
async fn an_asker_who_cannot_come_in_is_told_why() {
    for (given, text) in [
        (json!({"result": "invalid user/password"}), "login of web-backend refused: invalid user/password"),
        (ok(&json!({"password": "change required"})), "must be changed first: doorward ws login"),
    ] {
        let (end, _, _) = run(&["get-user"], vec![given]).await;
        let error = end.unwrap_err();
        assert_eq!(error.exit(), Exit::Refused);
        assert!(error.to_string().contains(text), "{error}");
    }
    let (end, _, seen) = run(
        &["get-user", "--user", "admin"],
        vec![ok(&json!({"2fa": "required"})), ok(&json!({})), json!({"result": "unknown user"})],
    )
    .await;
    assert_eq!(end.unwrap(), Exit::Refused);
    assert_eq!(seen[2]["2fatoken"], "123456", "an administrator's own code");
}

#[tokio::test]
async fn tokens_are_looked_at_and_ended() {
    let good = ok(&json!({"userid": "jane", "expires": 1_800_000_000_000i64}));
    let (end, out, seen) = run(&["check-token", "--of", "jane"], vec![ok(&json!({})), good.clone()]).await;
    assert_eq!(
        (end.unwrap(), &*out),
        (Exit::Done, "user id     jane\ngood until  2027-01-15T08:00:00.000Z\n")
    );
    assert_eq!((&seen[2]["token"], &seen[2]["userid"]), (&json!("t0ken"), &json!("jane")));
    let (end, out, seen) = run(&["revoke-token"], vec![ok(&json!({})), good]).await;
    assert_eq!((end.unwrap(), &*out), (Exit::Done, "user id  jane\nended    now\n"));
    assert_eq!((&seen[2]["type"], seen[2].get("userid")), (&json!("revoketoken"), None));
    let (end, out, _) = run(&["check-token"], vec![ok(&json!({})), json!({"result": "invalid token"})]).await;
    assert_eq!((end.unwrap(), &*out), (Exit::Refused, "refused: the token is not good\n"));
}

#[tokio::test]
async fn what_is_known_of_somebody_is_shown() {
    let known = ok(&json!({"userid": "jane", "firm": "NORTH", "roles": "T,,R", "active": "Y", "use2fa": "Y",
        "2faregistered": "N", "attr": {"desk": 1}}));
    let (end, out, _) = run(&["get-user", "jane"], vec![ok(&json!({})), known]).await;
    assert_eq!(end.unwrap(), Exit::Done);
    assert_eq!(
        out,
        "user id            jane\nfirm               NORTH\nroles              T,,R\nactive             yes\n\
         one-time password  yes\nregistered         no\nattr               {\"desk\":1}\n"
    );
}

#[tokio::test]
async fn a_trader_is_added_and_the_seed_is_printed_once() {
    let done = ok(
        &json!({"userid": "jane", "broker_comm_rate": "0", "2faseed": "JBSWY3DP", "2fauri": "otpauth://x"}),
    );
    let words =
        ["add-user", "jane", "--firm", "NORTH", "--roles", "T", "--attr", "{\"a\":1}", "--use2fa", "Y"];
    let (end, out, seen) = run(&words, vec![ok(&json!({})), done.clone()]).await;
    assert_eq!(end.unwrap(), Exit::Done);
    assert_eq!(
        out,
        "added            jane\ncommission rate  0\nseed             JBSWY3DP\nfor an app       otpauth://x\n"
    );
    let sent = &seen[2];
    assert_eq!(
        (&sent["firm"], &sent["roles"], &sent["attr"], &sent["use2fa"], sent.get("initial")),
        (&json!("NORTH"), &json!("T"), &json!({"a": 1}), &json!("Y"), None)
    );
    let words = [&words[..], &["--json", "--not-initial"]].concat();
    let (_, out, seen) = run(&words, vec![ok(&json!({})), done]).await;
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["2faseed"], "JBSWY3DP");
    assert_eq!(seen[2]["initial"], false);
}

#[tokio::test]
async fn a_trader_is_changed_in_every_form() {
    let done = || vec![ok(&json!({})), ok(&json!({"broker_comm_rate": "0.5"}))];
    let (end, out, seen) = run(&["update-user", "jane", "--broker-comm-rate", "0.5"], done()).await;
    assert_eq!((end.unwrap(), &*out), (Exit::Done, "changed          jane\ncommission rate  0.5\n"));
    let last = &seen[2];
    assert_eq!((&last["updateprof"], last.get("pass"), last.get("newpass")), (&json!(true), None, None));

    let (_, _, seen) = run(&["update-user", "jane", "--change-password"], done()).await;
    assert!(seen[2]["pass"].is_string() && seen[2]["newpass"].is_string(), "{:?}", seen[2]);
    let (_, _, seen) = run(&["update-user", "jane", "--reset-password", "--reason", "lost"], done()).await;
    let last = &seen[2];
    assert_eq!((&last["resetpass"], last.get("pass"), &last["reason"]), (&json!(true), None, &json!("lost")));
    let issue = json!({"result": "password issue", "reason": "too short"});
    let (end, out, _) = run(&["update-user", "jane", "--reset-password"], vec![ok(&json!({})), issue]).await;
    assert_eq!((end.unwrap(), &*out), (Exit::Refused, "refused: the new password is not taken: too short\n"));
    let unknown = json!({"result": "unknown user"});
    let (_, out, _) = run(&["update-user", "jane", "--use2fa", "N"], vec![ok(&json!({})), unknown]).await;
    assert_eq!(out, "refused: unknown user\n");
}

#[test]
fn secrets_are_no_arguments_and_wrong_words_are_refused() {
    for words in [
        &["verify"][..],
        &["verify", "jane", "--customer-code", "123456"],
        &["verify", "jane", "--customer-code-env", "C", "--customer-seed-env", "S"],
        &["verify", "jane", "--source", "somewhere"],
        &["check-token", "t0ken"],
        &["add-user", "jane", "--attr", "[]"],
        &["add-user", "jane", "--use2fa", "maybe"],
        &["update-user", "jane", "--change-password", "--reset-password"],
        &["update-user", "jane", "--present-password-env", "P"],
    ] {
        assert!(command(words).is_err(), "{words:?}");
    }
}
