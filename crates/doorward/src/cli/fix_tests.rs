use clap::Parser;

use super::*;
use crate::cli::test_venue::TestVenue;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: FixArgs,
}

/// What was printed, to be read while others still hold it.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Somebody who knows the code and nothing else.
fn answer(question: Question) -> Result<Secret<String>, CliError> {
    match question.option {
        "--code or --seed-env" => Ok(Secret::new(String::from("123456"))),
        option => Err(CliError::usage(format!("asked for {option}"))),
    }
}

async fn run_line(words: &[&str]) -> (Result<Exit, String>, String) {
    let line = ["fix"].iter().chain(words);
    let Line { args } = match Line::try_parse_from(line) {
        Ok(line) => line,
        Err(error) => return (Err(error.to_string()), String::new()),
    };
    let printed = Printed::default();
    let out: Out = Arc::new(Mutex::new(Box::new(printed.clone())));
    let result = match args.command {
        Command::Logon(args) => logon(&args, &out, answer).await,
        Command::Order(args) => order(&args, &out, answer).await,
    };
    let text = String::from_utf8(printed.0.lock().unwrap().clone()).unwrap();
    (result.map_err(|error| error.to_string()), text)
}

fn clean_up(ready: &std::path::Path, session: &str) {
    let _ = std::fs::remove_file(
        super::super::load_fix_seats::Ready::read(ready).unwrap().sequence_path(session),
    );
    let _ = std::fs::remove_file(ready);
}

#[tokio::test]
async fn orders_are_sent_and_what_comes_is_printed() {
    let venue = TestVenue::start();
    let ready = venue.ready_file("fix-order", 3);
    let path = ready.to_str().unwrap();
    for _ in 0..2 {
        let words =
            ["order", "--ready", path, "--session", "S01", "--price", "10", "--count", "2", "--id", "K"];
        let (result, text) = run_line(&words).await;
        assert_eq!(result, Ok(Exit::Done), "{text}");
        assert!(text.contains("logged on as S01001N\n"), "{text}");
        assert_eq!(text.matches("> 8=FIX.4.2|").count() + text.matches("< 8=FIX.4.2|").count(), 10, "{text}");
        assert!(text.contains("|1402=***|") && text.contains("|11=K2|"), "{text}");
        assert!(text.ends_with("logged out\n"), "{text}");
    }
    let heard = venue.heard.lock().unwrap().clone();
    let logons: Vec<_> = heard.iter().filter(|text| text.contains("|35=A|")).collect();
    assert!(logons[0].contains("|34=1|") && logons[1].contains("|34=6|"), "the numbers went on: {logons:?}");
    clean_up(&ready, "S01001N-G");
}

#[tokio::test]
async fn a_rejected_order_is_no_success() {
    let venue = TestVenue::start();
    let ready = venue.ready_file("fix-rejected", 1);
    let words = ["order", "--ready", ready.to_str().unwrap(), "--symbol", "NONE", "--id", "K"];
    let (result, text) = run_line(&words).await;
    assert_eq!(result, Err(String::from("order K1 was rejected: no such symbol")), "{text}");
    clean_up(&ready, "S00001N-G");
}

#[tokio::test]
async fn a_session_is_reset_and_messages_of_ones_own_are_sent() {
    let venue = TestVenue::start();
    let ready = venue.ready_file("fix-reset", 1);
    let words = [
        "logon",
        "--ready",
        ready.to_str().unwrap(),
        "--reset",
        "--send",
        "D|11=X|55=Y",
        "--send",
        "35=D|11=Z|",
        "--gateway",
        "msgw",
    ];
    let (result, text) = run_line(&words).await;
    assert_eq!(result, Ok(Exit::Done), "{text}");
    assert!(text.contains("both sequences begin anew\n"), "{text}");
    assert!(text.contains("|34=2|") && text.contains("|57=92|"), "{text}");
    clean_up(&ready, "S00001N-92");
}

#[tokio::test]
async fn a_trader_gives_the_code_or_is_asked_for_it() {
    let venue = TestVenue::start();
    let ready = venue.ready_file("fix-trader", 1);
    let secret = std::env::temp_dir().join(format!("doorward-fix-pw-{}", std::process::id()));
    std::fs::write(&secret, "pass phrase\n").unwrap();
    let base = [
        "logon",
        "--profile",
        "trader-otp",
        "--ready",
        ready.to_str().unwrap(),
        "--user",
        "trader",
        "--password-file",
        secret.to_str().unwrap(),
        "--stay",
        "1",
    ];
    let (result, text) = run_line(&[&base[..], &["--code", "123456"]].concat()).await;
    assert_eq!(result, Ok(Exit::Done), "{text}");
    assert!(text.contains("|95=11|96=***|20030=***|"), "{text}");
    let (result, _) = run_line(&[&base[..], &["--code", "000000"]].concat()).await;
    assert_eq!(result, Err(String::from("the server refused the logon: invalid one-time password")));
    let (result, text) = run_line(&base).await;
    assert!(text.contains("the password is right; a one-time password is needed\n"), "{text}");
    assert_eq!(result, Ok(Exit::Done), "{text}");
    std::fs::remove_file(&secret).unwrap();
    clean_up(&ready, "747261646572");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let venue = TestVenue::start();
    let ready = venue.ready_file("fix-missing", 1);
    let path = ready.to_str().unwrap();
    let id = "oNDxM33uE81ohWuV0000";
    for (words, why) in [
        (&[][..], "where to? give --address, or --ready"),
        (&["--address", "x"], "--address: x: not HOST:PORT"),
        (&["--address", "127.0.0.1:1"], "who? give --sender, or --ready"),
        (&["--ready", path, "--session", "XYZ"], "--session: XYZ is not in the ready file"),
        (&["--ready", path, "--sender", "XYZ001N"], "which operator? give --operator"),
        (
            &["--address", "127.0.0.1:1", "--sender", "S00001", "--operator", "O"],
            "--sender: S00001: not a Session ID (3), a Firm ID (3) and an indicator (1)",
        ),
        (
            &["--address", "127.0.0.1:1", "--sender", "S00001N", "--operator", "O"],
            "which key pair? give --access-key-id and --secret-key-env or --secret-key-file",
        ),
        (
            &["--address", "127.0.0.1:1", "--sender", "S00001N", "--operator", "O", "--access-key-id", id],
            "asked for --secret-key-file or --secret-key-env",
        ),
    ] {
        let (result, _) = run_line(&[&["logon"], words].concat()).await;
        assert_eq!(result, Err(why.to_owned()), "{words:?}");
    }
    let (result, _) = run_line(&["logon", "--ready", path, "--send", "D|11"]).await;
    assert!(result.unwrap_err().contains("11: not TAG=VALUE"));
    clean_up(&ready, "S00001N-G");
}
