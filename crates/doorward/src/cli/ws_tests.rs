//! `ws login` against a small server that answers from a list.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeySize, PrivateDecryptingKey};
use clap::Parser;
use data_encoding::BASE64;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpListener;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};

use super::*;

/// Base64 of one public key for all tests here, since making one takes a while.
static KEY: LazyLock<String> = LazyLock::new(|| {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
    BASE64.encode(der.as_ref())
});

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: WsArgs,
}

/// The command of a line.
pub(super) fn command(words: &[&str]) -> Result<Command, clap::Error> {
    Line::try_parse_from(["ws"].iter().chain(words)).map(|line| line.args.command)
}

fn login_args(words: &[&str]) -> LoginArgs {
    match command(&[&["login"], words].concat()).unwrap() {
        Command::Login(args) => args,
        other => panic!("{other:?}"),
    }
}

/// Serves one connection: the answers in order, to challenges those of their own before a key; after one with
/// `"close"` it closes. Gives what it was sent.
pub(super) async fn serve(listener: TcpListener, answers: Vec<Value>, no_keys: Vec<Value>) -> Vec<Value> {
    let challenge = json!({"result": "OK", "type": "challenge", "key": *KEY, "keyid": "k1"});
    let mut ws = accept_async(listener.accept().await.unwrap().0).await.unwrap();
    let (mut answers, mut no_keys, mut seen) = (answers.into_iter(), no_keys.into_iter(), Vec::new());
    while let Some(Ok(message)) = ws.next().await {
        let Message::Text(text) = message else { continue };
        let request: Value = serde_json::from_str(&text).unwrap();
        seen.push(request.clone());
        let close =
            |code: u16, reason: &'static str| Some(CloseFrame { code: code.into(), reason: reason.into() });
        let mut answer = match request["type"].as_str().unwrap() {
            "challenge" => no_keys.next().unwrap_or_else(|| challenge.clone()),
            "logout" => {
                ws.close(close(1000, "logout")).await.unwrap();
                continue;
            }
            _ => answers.next().expect("a message past the list"),
        };
        answer["id"] = request["id"].clone();
        ws.send(Message::text(answer.to_string())).await.unwrap();
        if answer["close"] == true {
            ws.close(close(1008, "refused")).await.unwrap();
        }
    }
    seen
}

/// Runs `ws login` with these words; gives its end, what it printed, and what the server saw.
async fn run_line(
    words: &[&str],
    answers: Vec<Value>,
    ask: Ask,
) -> (Result<Exit, CliError>, String, Vec<Value>) {
    run_line_with(words, answers, Vec::new(), ask).await
}

async fn run_line_with(
    words: &[&str],
    answers: Vec<Value>,
    no_keys: Vec<Value>,
    ask: Ask,
) -> (Result<Exit, CliError>, String, Vec<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let server = tokio::spawn(serve(listener, answers, no_keys));
    let args = login_args(&[&["--url", &url], words].concat());
    let mut out = Vec::new();
    let end = login(&args, &mut out, ask).await;
    (end, String::from_utf8(out).unwrap(), server.await.unwrap())
}

fn answer(question: Question) -> Result<Secret<String>, CliError> {
    Ok(Secret::new(String::from(match question.option {
        "--user" => "asked",
        "--code or --seed-env" => "123456",
        "--new-password-file" => "a new pass phrase",
        _ => "pass phrase",
    })))
}

fn nobody(question: Question) -> Result<Secret<String>, CliError> {
    Err(CliError::usage(question.option))
}

#[tokio::test]
async fn what_is_missing_is_asked_for() {
    let answers = vec![json!({"result": "OK", "2fa": "required"}), json!({"result": "OK"})];
    let (end, out, seen) = run_line(&[], answers, answer).await;
    assert_eq!(end.unwrap(), Exit::Done);
    assert_eq!(
        out,
        "challenge key k1\nthe password is right; a one-time password is needed\nlogged in as asked\n\
         closed: code 1000 (logout)\n"
    );
    assert_eq!((&seen[1]["userid"], &seen[2]["2fatoken"]), (&json!("asked"), &json!("123456")));
}

#[tokio::test]
async fn a_given_code_goes_in_one_step_unless_two_are_wanted() {
    let (end, _, seen) =
        run_line(&["--user", "u", "--code", "1"], vec![json!({"result": "OK"})], answer).await;
    assert_eq!(end.unwrap(), Exit::Done);
    assert_eq!(seen[1]["2fatoken"], "1");
    let answers = vec![json!({"result": "OK", "2fa": "required"}), json!({"result": "OK"})];
    let (end, _, seen) = run_line(&["--user", "u", "--code", "1", "--two-steps"], answers, answer).await;
    assert_eq!(end.unwrap(), Exit::Done);
    assert_eq!((seen[1].get("2fatoken"), &seen[2]["2fatoken"]), (None, &json!("1")));
}

#[tokio::test]
async fn a_refusal_is_told_with_the_close_and_exit_code_1() {
    let refusal = json!({"result": "invalid user/password", "close": true});
    let (end, out, _) = run_line(&["--user", "u"], vec![refusal.clone()], answer).await;
    assert_eq!(end.unwrap(), Exit::Refused);
    assert!(out.ends_with("refused: invalid user/password\nclosed: code 1008 (refused)\n"), "{out}");

    let (end, out, _) = run_line(&["--user", "u", "--json"], vec![refusal], answer).await;
    assert_eq!(end.unwrap(), Exit::Refused);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&lines[0]["type"], &lines[1]["result"]),
        (&json!("challenge"), &json!("invalid user/password"))
    );
    assert_eq!(lines[2], json!({"type": "close", "code": 1008, "reason": "refused"}));
}

#[tokio::test]
async fn each_other_refusal_is_told() {
    let register =
        json!({"result": "2fa registration required", "register_url": "https://p/r", "close": true});
    let wrong = json!({"result": "invalid token", "2fa": "required"});
    for (words, given, expected) in [
        (
            &["--user", "u"][..],
            register,
            "refused: an authenticator must be registered first, at https://p/r\n",
        ),
        (&["--user", "u", "--code", "1"], wrong, "refused: the code is wrong or used\n"),
        (&["--user", "u"], json!({"result": "challenge required"}), "refused: challenge required\n"),
        (&["--user", "u"], json!({"result": "a\u{1b}[2Jb"}), "refused: a\\u{1b}[2Jb\n"),
    ] {
        let (end, out, _) = run_line(words, vec![given.clone(), given], answer).await;
        assert_eq!(end.unwrap(), Exit::Refused);
        assert!(out.contains(expected), "{out}");
    }
}

#[tokio::test]
async fn a_code_that_was_typed_wrong_is_asked_for_again() {
    let wrong = json!({"result": "invalid token", "2fa": "required"});
    let answers = vec![json!({"result": "OK", "2fa": "required"}), wrong, json!({"result": "OK"})];
    let (end, out, _) = run_line(&["--user", "u"], answers, answer).await;
    assert_eq!(end.unwrap(), Exit::Done);
    assert!(out.contains("that code is wrong or used; try another\n"), "{out}");
}

#[tokio::test]
async fn p11_a_password_that_must_be_changed_is_changed() {
    let must = json!({"result": "OK", "password": "change required"});
    let issue = json!({"result": "password issue", "reason": "too short"});
    let answers = vec![must, issue, json!({"result": "OK", "type": "adduser"})];
    let (end, out, seen) = run_line(&["--user", "u"], answers, answer).await;
    assert_eq!(end.unwrap(), Exit::Done);
    assert!(out.contains("the new password is not taken: too short\nthe password is changed\n"), "{out}");
    assert_eq!(seen[2]["type"], "adduser");
}

#[tokio::test]
async fn a_busy_server_is_tried_again() {
    let busy = json!({"result": "busy", "retry_ms": 0});
    let (end, out, _) = run_line(&["--user", "u"], vec![busy.clone(), json!({"result": "OK"})], answer).await;
    assert_eq!(end.unwrap(), Exit::Done);
    assert!(out.contains("busy; trying again in 0 ms\n"), "{out}");
    let (end, out, _) = run_line(&["--user", "u"], vec![busy; 4], answer).await;
    assert_eq!(end.unwrap(), Exit::Refused);
    assert!(out.contains("refused: busy\n"), "{out}");
}

#[tokio::test]
async fn a_challenge_that_is_refused_is_told_like_a_login() {
    let later = json!({"result": "try again later", "retry_ms": 0});
    let words = ["--user", "u"];
    let (end, out, _) = run_line_with(&words, vec![], vec![later; 4], answer).await;
    assert_eq!(end.unwrap(), Exit::Refused);
    assert!(out.contains("try again later; trying again in 0 ms\n"), "{out}");
    assert!(out.contains("refused: try again later\n"), "{out}");
}

#[tokio::test]
async fn where_nobody_can_be_asked_the_option_is_named() {
    let args = login_args(&["--user", "u"]);
    let error = login(&args, &mut Vec::new(), nobody).await.unwrap_err();
    assert_eq!(
        (error.exit(), error.to_string().as_str()),
        (Exit::Usage, "--password-file or --password-env")
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_exit_code_3() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    let args = login_args(&["--user", "u", "--url", &url]);
    let error = login(&args, &mut Vec::new(), answer).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
}

#[test]
fn wrong_words_are_refused() {
    for words in [
        &["--padding", "OAEP"][..],
        &["--password-file", "f", "--password-env", "E"],
        &["--code", "1", "--seed-env", "E"],
        &["--token-env", "T", "--code", "1"],
        &["--token-env", "T", "--password-env", "E"],
    ] {
        assert!(command(&[&["login"], words].concat()).is_err(), "{words:?}");
    }
}

#[tokio::test]
async fn a_token_takes_the_place_of_password_and_code() {
    // A variable that is always there stands for the token's.
    let token = std::env::var("PATH").unwrap();
    let words = ["--user", "u", "--token-env", "PATH"];
    let (end, out, seen) = run_line(&words, vec![json!({"result": "OK"})], nobody).await;
    assert_eq!(end.unwrap(), Exit::Done);
    assert_eq!(out, "logged in as u\nclosed: code 1000 (logout)\n");
    assert_eq!(seen[0], json!({"type": "login", "userid": "u", "token": token, "id": 1}));

    let refused = json!({"result": "invalid token", "type": "login"});
    let (end, out, _) = run_line(&words, vec![refused], nobody).await;
    assert_eq!(end.unwrap(), Exit::Refused);
    assert!(out.starts_with("refused: the token is not good\n"), "{out}");
}
