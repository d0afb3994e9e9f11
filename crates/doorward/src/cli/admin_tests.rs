//! The commands of administration against a server of their own, over its socket.

use std::sync::Arc;

use clap::Parser;
use doorward_client::totp::Totp;
use serde_json::Value;
use tokio::sync::oneshot;

use super::*;
use crate::http::api::router;
use crate::http::local::LocalSocket;
use crate::http::testing::{TEST_MAX, World, world};

#[derive(Parser)]
enum Line {
    Firm(FirmArgs),
    User(UserArgs),
    Halt(HaltArgs),
    Session(SessionArgs),
    Key(KeyArgs),
    Policy(PolicyArgs),
    Audit(AuditListArgs),
    Status(StatusArgs),
    DemoClock(DemoClockArgs),
}

/// A server and its socket.
struct Desk {
    world: World,
}

impl Desk {
    /// Runs a command line; what it says, or its error.
    async fn run(&self, line: &str, more: &[&str]) -> Result<String, CliError> {
        let socket = self.world.folder.path().join("admin.sock");
        let words = ["doorward"].into_iter().chain(line.split(' ')).chain(more.iter().copied());
        let words = words.map(std::ffi::OsString::from).chain(["--socket".into(), socket.into()]);
        let line = Line::try_parse_from(words).map_err(|error| CliError::usage(error.to_string()))?;
        match line {
            Line::Firm(args) => firm::told(&args).await,
            Line::User(args) => user::told(&args).await,
            Line::Halt(args) => halt::told(&args).await,
            Line::Session(args) => session::told(&args).await,
            Line::Key(args) => key::told(&args).await,
            Line::Policy(args) => policy::told(&args).await,
            Line::Audit(args) => audit::told(&args).await,
            Line::Status(args) => status::told(&args).await.map(|status| status::shown(&status)),
            Line::DemoClock(args) => demo_clock::told(&args).await,
        }
    }

    async fn ok(&self, line: &str) -> String {
        self.run(line, &[]).await.unwrap()
    }

    async fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.run(line, &["--json"]).await.unwrap()).unwrap()
    }

    async fn refused(&self, line: &str) -> (Exit, String) {
        let error = self.run(line, &[]).await.unwrap_err();
        (error.exit(), error.to_string())
    }
}

/// Runs a test against a server that serves meanwhile.
async fn at_a_desk(test: impl AsyncFnOnce(&Desk)) {
    let desk = Desk { world: world() };
    let socket = LocalSocket::bind(&desk.world.folder.path().join("admin.sock")).await.unwrap();
    let (stop, stopping) = oneshot::channel::<()>();
    let api = router(desk.world.api());
    let serving = socket.serve(api, Arc::clone(&desk.world.gate), async { drop(stopping.await) });
    let testing = async {
        test(&desk).await;
        drop(stop);
    };
    let both = async { tokio::join!(serving, testing) };
    tokio::time::timeout(TEST_MAX, both).await.unwrap();
}

#[tokio::test]
async fn firms_and_policies_on_the_command_line() {
    at_a_desk(async |desk| {
        let added = desk.run("firm add acme --name", &["Acme Brokers"]).await.unwrap();
        assert!(
            added.contains("code            ACME\n") && added.contains("state           open\n"),
            "{added}"
        );
        assert!(desk.ok("firm list").await.contains("Acme Brokers"));
        assert!(desk.ok("firm close ACME").await.contains("closed"));
        assert_eq!(desk.json("firm open ACME").await["closed"], false);
        assert_eq!(desk.json("firm show ACME").await["code"], "ACME");
        let again = desk.refused("firm add ACME --name x").await;
        assert_eq!(again, (Exit::Refused, "code: firm ACME exists already (status 409)".to_owned()));

        let set = desk.ok("policy set password_chars_min=20 otp_demanded=true").await;
        assert!(set.starts_with("version 1\n") && set.contains("otp_demanded"), "{set}");
        let firm = desk.json("policy set totp_algorithm=SHA256 --firm ACME").await;
        assert_eq!(firm["policy"]["totp_algorithm"], "SHA256");
        let back = desk.json("policy set totp_algorithm= --firm ACME").await;
        assert_eq!(
            (back["policy"].get("totp_algorithm"), &back["in_force"]["totp_algorithm"]),
            (None, &"SHA1".into())
        );
        assert_eq!(desk.json("policy show").await["in_force"]["password_chars_min"], 20);
        let (exit, error) = desk.refused("policy set password_chars_min=3").await;
        assert_eq!(
            (exit, error.contains("only 20..=128") || error.contains("only 15..=128")),
            (Exit::Refused, true),
            "{error}"
        );
        assert!(desk.refused("policy set nonsense=1").await.1.starts_with("nonsense: unknown field"));
        assert_eq!(desk.refused("policy set nonsense").await.0, Exit::Usage);
    })
    .await;
}

#[tokio::test]
async fn the_emergency_switch_on_the_command_line() {
    at_a_desk(async |desk| {
        desk.ok("firm add ACME --name Acme").await;
        let thrown = desk.run("halt throw --firm ACME --end-all --reason", &["an order loop"]).await.unwrap();
        assert!(thrown.starts_with("firm/ACME: thrown since "), "{thrown}");
        let listed = desk.json("halt list").await;
        assert_eq!(listed["items"][0]["scope"], "firm/ACME");
        assert_eq!(listed["items"][0]["reason"], "an order loop");
        assert_eq!(desk.refused("halt throw --firm ACME --reason again").await.0, Exit::Refused);
        assert_eq!(desk.refused("halt throw --session B08 --reason unknown").await.0, Exit::Refused);
        assert_eq!(desk.refused("halt throw --reason everywhere").await.0, Exit::Usage);
        assert_eq!(desk.refused("halt throw --venue --firm ACME --reason both").await.0, Exit::Usage);
        assert_eq!(desk.ok("halt lift --firm ACME --reason mended").await, "firm/ACME: taken back\n");
        assert_eq!(desk.refused("halt lift --venue --reason nothing").await.0, Exit::Refused);
        assert!(desk.ok("halt list").await.starts_with("SCOPE"));
    })
    .await;
}

#[tokio::test]
async fn people_on_the_command_line() {
    at_a_desk(async |desk| {
        desk.ok("firm add ACME --name Acme").await;
        let file = desk.world.folder.path().join("password");
        std::fs::write(&file, "handed over on paper 31\n").unwrap();
        let line = "user add newcomer --firm ACME --kind trader --auth-system password --password-file";
        let added = desk.run(line, &[file.to_str().unwrap()]).await.unwrap();
        assert!(added.contains("auth system       password\n") && !added.contains("password:"), "{added}");
        let made = desk
            .json("user add julian --firm ACME --kind trader --email julian@acme.example --attr {\"a\":1}")
            .await;
        assert!(made["password"].as_str().unwrap().len() > 20);
        assert_eq!(
            (&made["person"]["attr"]["a"], &made["person"]["email"]),
            (&1.into(), &"julian@acme.example".into())
        );
        let bot = desk
            .json("user add bot --kind service --not-initial --grant-firms ACME --grant-rights verify,token")
            .await;
        assert_eq!(bot["person"]["grant"]["rights"], serde_json::json!(["verify", "token"]));
        let bot = desk.json("user set bot --grant-sources 127.0.0.1,10.0.0.0/8").await;
        assert_eq!(bot["grant"]["firms"], serde_json::json!(["ACME"]), "what is not given stays");
        assert_eq!(bot["grant"]["sources"], serde_json::json!(["127.0.0.1/32", "10.0.0.0/8"]));
        let weaker = "verify,reset-password,reset-authenticator,lasting-password,token-on-password";
        let bot = desk.json(&format!("user set bot --grant-rights {weaker}")).await;
        assert_eq!(bot["grant"]["rights"].as_array().unwrap().len(), 5, "{bot}");
        let written = desk.json("audit --event rights-changed --userid bot").await;
        let words = written["items"][0]["detail"].as_str().unwrap();
        assert!(
            words.contains("reset-authenticator; firms: ACME; from: 127.0.0.1/32, 10.0.0.0/8"),
            "{words}"
        );
        assert_eq!(desk.refused("user set bot --grant-rights edit-people").await.0, Exit::Refused);

        let table = desk.ok("user list --kind trader").await;
        assert!(table.starts_with("USERID") && table.lines().count() == 3, "{table}");
        assert_eq!(
            desk.json("user list --registered false --firm acme").await["items"].as_array().unwrap().len(),
            2
        );
        assert!(desk.ok("user disable julian").await.contains("disabled"));
        assert_eq!(desk.json("user enable julian").await["standing"], "active");
        let set = desk.run("user set julian --roles 0101 --email", &[""]).await.unwrap();
        assert!(set.contains("0101") && !set.contains("acme.example"), "{set}");
        assert_eq!(desk.refused("user set julian").await.0, Exit::Usage);
        assert!(desk.ok("user password julian").await.contains("shown this once"));
        let set = desk.run("user password julian --password-file", &[file.to_str().unwrap()]).await.unwrap();
        assert!(set.contains("the password is set"), "{set}");

        let issued = desk.ok("user otp julian").await;
        let seed = issued.lines().find_map(|line| line.strip_prefix("seed: ")).unwrap();
        assert_eq!(Totp::parse(seed).unwrap().code(desk.world.clock.now().wall).len(), 6);
        assert!(issued.contains("uri:  otpauth://totp/") && issued.contains('█'), "{issued}");
        assert!(desk.ok("user show julian").await.contains("authenticator     pending"));
        assert!(desk.ok("user otp-reset julian").await.contains("revoked"));
        assert!(desk.ok("user unlock julian").await.contains("wrong passwords   0"));
        let gone = desk.refused("user show nobody").await;
        assert_eq!(gone, (Exit::Refused, "user nobody is not known (status 404)".to_owned()));
        assert_eq!(desk.refused("user add x --kind boss").await.0, Exit::Usage);
        std::fs::write(&file, "short\n").unwrap();
        let rule =
            desk.run("user password julian --password-file", &[file.to_str().unwrap()]).await.unwrap_err();
        assert!(rule.to_string().starts_with("password: too-short: "), "{rule}");
    })
    .await;
}

#[tokio::test]
async fn sessions_and_key_pairs_on_the_command_line() {
    at_a_desk(async |desk| {
        desk.ok("firm add ACME --name Acme").await;
        let line = "session add B08 --firm ACME --environment test --sender-comp-ids B08004,B08005 --operator-ids 0j4l";
        let added = desk.ok(line).await;
        assert!(added.contains("sender comp ids  B08004, B08005\n") && added.contains("0J4L"), "{added}");
        let again = desk.refused(line).await;
        assert_eq!(again, (Exit::Refused, "session_id: FIX session B08 exists already (status 409)".to_owned()));
        let foreign = line.replace("B08005", "C08005").replace("add B08", "add B09");
        assert!(desk.refused(&foreign).await.1.starts_with("sender_comp_ids: "));
        let set = desk.json("session set B08 --sources 127.0.0.1,10.0.0.0/8 --standing disabled").await;
        assert_eq!((&set["standing"], &set["sources"][0]), (&"disabled".into(), &"127.0.0.1/32".into()));
        let set = desk.run("session set B08 --standing active --sources", &[""]).await.unwrap();
        assert!(!set.contains("10.0.0.0"), "{set}");
        assert_eq!(desk.refused("session set B08").await.0, Exit::Usage);
        assert!(desk.ok("session lock B08 --reason loud").await.contains("locked since"));
        assert!(desk.ok("session list --firm acme").await.contains("active, locked"));
        assert!(desk.refused("session lock B08 --reason loud").await.1.contains("is locked since"));
        assert_eq!(desk.json("session reopen B08 --reason quiet").await["locked"], Value::Null);
        assert!(desk.ok("session end B08 --reason maintenance").await.contains("session"));
        let no_door = desk.refused("session set-next B08 --stream cgw/B08/004 --in 5 --reason asked").await;
        assert!(no_door.1.contains("no FIX listener"), "{no_door:?}");
        for (line, words) in [
            ("session set-next B08 --stream cgw/C08/004 --in 5 --reason asked", "none of session B08"),
            ("session set-next B08 --stream x --in 5 --reason asked", "is no stream"),
            ("session set-next B08 --stream cgw/B08/004 --reason asked", "give it, or next_out"),
            ("session set-next B08 --stream cgw/B08/004 --out 0 --reason asked", "out of range"),
            ("session show ZZZ", "FIX session ZZZ is not known"),
            ("session show zz", "not 3 characters"),
        ] {
            let (_, error) = desk.refused(line).await;
            assert!(error.contains(words), "{line}: {error}");
        }

        let clock = &desk.world.clock;
        let admin = "user add anna --firm ACME --kind admin --auth-system otp --grant-rights manage-key-pairs";
        let password = desk.json(admin).await["password"].as_str().unwrap().to_owned();
        let issued = desk.ok("user otp anna").await;
        let seed = issued.lines().find_map(|line| line.strip_prefix("seed: ")).unwrap();
        let totp = Totp::parse(seed).unwrap();
        let code = || {
            clock.advance(std::time::Duration::from_secs(30));
            desk.world.gate.clock_moved();
            totp.code(clock.now().wall).to_string()
        };
        let first = desk.world.login("anna", &password, Some(&code())).await;
        assert!(matches!(first, doorward_core::ask::Verdict::Granted(_)), "{first:?}");

        let create = |code: String| format!("key create --session B08 --as anna --code {code}");
        let made = desk.ok(&create(code())).await;
        let lines: Vec<&str> = made.lines().collect();
        let at = |header: &str| lines[0].find(header).unwrap();
        assert_eq!((at("Access ID"), at("Secret Key"), at("Creation Date")), (12, 34, 79), "{made}");
        assert_eq!(&lines[1][..3], "B08");
        let (key, secret) = (lines[1][12..32].to_owned(), lines[1][34..77].to_owned());
        assert!(lines[1].ends_with("test"), "{made}");
        let download = |code: String, format: &str| {
            format!("key download --session B08 --as anna --code {code} --format {format}")
        };
        let env = desk.ok(&download(code(), "env")).await;
        assert!(env.contains(&format!("FIX_ACCESS_KEY_ID={key}\nFIX_SECRET_KEY={secret}\n")), "{env}");
        let json: Value = serde_json::from_str(&desk.ok(&download(code(), "json")).await).unwrap();
        assert_eq!((&json["secret_key"], &json["environment"]), (&secret.as_str().into(), &"test".into()));
        let (exit, error) = desk.refused("key download --session B08 --as anna --code 000000").await;
        assert!(exit == Exit::Refused && error.contains("wrong-code"), "{error}");
        let list = desk.ok("key list --session B08").await;
        assert!(list.contains(&key) && list.contains("active") && !list.contains(&secret), "{list}");
        let two = desk.json(&create(code())).await["access_key_id"].as_str().unwrap().to_owned();
        assert!(desk.refused(&create(code())).await.1.contains("pairs-full"));
        assert!(desk.refused(&download(code(), "table")).await.1.contains("two key pairs are good"));
        desk.ok(&format!("{} --delete {key}", create(code()))).await;
        let gone = desk.ok(&format!("key delete {two} --session B08 --as anna --reason leaked")).await;
        assert_eq!(gone.matches("deleted").count(), 2, "{gone}");
        assert_eq!(desk.refused("key list --session ZZZ").await.1, "FIX session ZZZ is not known (status 404)");
        assert!(desk.ok("key hours --firm ACME --reason leaked").await.starts_with("key pairs of ACME until"));
        let shown = desk.ok("session show B08").await;
        assert!(shown.contains("ACCESS KEY") && shown.contains(&two), "{shown}");
        assert_eq!(desk.json("audit --session B08 --event key-pair-created").await["items"].as_array().unwrap().len(), 3);
        let trail = desk.json("audit --limit 500").await.to_string();
        assert!(!trail.contains(&secret), "Q3");
    })
    .await;
}

#[tokio::test]
async fn audit_status_and_the_demos_clock_on_the_command_line() {
    at_a_desk(async |desk| {
        for n in 0..3 {
            desk.ok(&format!("firm add F{n} --name x")).await;
        }
        let entries = desk.json("audit --event firm-added --limit 2").await;
        assert_eq!(entries["items"].as_array().unwrap().len(), 2);
        assert_eq!((&entries["items"][0]["firm"], entries["next"].is_string()), (&"F2".into(), true));
        let table = desk.ok("audit --firm F1").await;
        assert!(table.starts_with("NO") && table.contains("firm-added") && table.contains("uid "), "{table}");
        let (exit, error) = desk.refused("audit --event firm-aded").await;
        assert_eq!((exit, error.contains("did you mean firm-added?")), (Exit::Refused, true), "{error}");

        let status = desk.ok("status").await;
        assert!(status.contains("ready       yes\n") && status.contains("soft, no HSM"), "{status}");
        desk.world.vault_down(true);
        assert!(desk.ok("status").await.contains("no: vault degraded"));

        let before = desk.ok("demo-clock show").await;
        let after = desk.ok("demo-clock advance 2h").await;
        let instant = |text: &str| doorward_core::time::Wall::parse(text.trim()).unwrap();
        assert!(instant(&after).since(instant(&before)).as_secs() >= 7_199);
        assert!(desk.ok("demo-clock set 2090-01-01T00:00:00Z").await.starts_with("2090-01-01T00:00:"));
        assert!(desk.refused("demo-clock set 2001-01-01T00:00:00Z").await.1.contains("forward only"));
        assert_eq!(desk.refused("demo-clock advance soon").await.0, Exit::Usage);
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_in_one_line() {
    let desk = Desk { world: world() };
    let (exit, error) = desk.refused("status").await;
    assert_eq!(exit, Exit::Unreachable);
    assert!(error.contains("is it running?") && !error.contains('\n'), "{error}");
}
