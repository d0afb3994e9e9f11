//! No password, seed or token is echoed, written, told or measured (Q3), and the wire shows a secret once where it must.

use serde_json::{Value, json};

use crate::support::acting::ALL_RIGHTS;
use crate::support::search::Secrets;
use crate::support::{Peer, Server, User, source};

const FIRST: &str = "canary of a first password";
const NEW: &str = "canary of a reset password";
const GUESS: &str = "canary of a wrong password";

/// A connection that keeps what went over it.
struct Recorded {
    peer: Peer,
    sent: Vec<String>,
    heard: Vec<String>,
}

impl Recorded {
    async fn say(&mut self, message: Value) -> Value {
        self.sent.push(message.to_string());
        let answer = self.peer.ask(message).await;
        self.heard.push(answer.to_string());
        answer
    }

    async fn verify(&mut self, customer: &User, more: &Value) -> Value {
        let message = self.peer.verify_message(customer, more);
        self.say(message).await
    }

    async fn step(&mut self, mut fields: Value, secrets: &[(&str, &str)]) -> Value {
        fields["type"] = "adduser".into();
        fields["padding"] = self.peer.padding.name().into();
        for (field, password) in secrets {
            fields[*field] = self.peer.encrypted(password).into();
        }
        self.say(fields).await
    }
}

/// What was secret in all that was asked, and what of it the wire had to show.
#[derive(Default)]
struct Told {
    secrets: Vec<String>,
    shown: Vec<String>,
}

/// Every message that serves others, with every outcome that handles a secret.
async fn everything(server: &Server, web: &mut Recorded) -> Told {
    let mut told = Told::default();
    let text = |answer: &Value, field: &str| {
        answer[field].as_str().unwrap_or_else(|| panic!("no {field}: {answer}")).to_owned()
    };
    let trader = server.registered().await;
    let guess = User { password: GUESS.to_owned(), ..trader.clone() };
    assert_eq!(web.verify(&guess, &json!({})).await["result"], "invalid user/password");
    let wrong = json!({"2fatoken": "canary-of-a-code"});
    assert_eq!(web.verify(&trader, &wrong).await["result"], "invalid token");
    let made = web.verify(&trader, &json!({"2fatoken": trader.code(), "gentoken": true})).await;
    let token = text(&made, "token");
    for kind in ["checktoken", "revoketoken"] {
        assert_eq!(web.say(json!({"type": kind, "token": token})).await["result"], "OK");
    }
    let unknown = json!({"type": "checktoken", "token": "canary-of-a-token-that-is-none"});
    assert_eq!(web.say(unknown).await["result"], "invalid token");

    let userid = "canary-customer@north.example";
    let added =
        web.step(json!({"userid": userid, "use2fa": "Y", "reason": "asked for"}), &[("pass", FIRST)]).await;
    let (first, uri) = (text(&added, "2faseed"), text(&added, "2fauri"));
    let step = |more: Value| {
        let mut step = json!({"userid": userid, "updateprof": true});
        more.as_object().unwrap().iter().for_each(|(name, value)| step[name] = value.clone());
        step
    };
    let again = web.step(step(json!({"use2fa": "Y"})), &[]).await;
    let second = text(&again, "2faseed");
    let wrong = web.step(step(json!({})), &[("pass", GUESS), ("newpass", NEW)]).await;
    assert_eq!(wrong["result"], "password issue");
    let short = web.step(step(json!({"resetpass": true})), &[("newpass", "qz-canary")]).await;
    assert_eq!(short["result"], "password issue");
    let reset = web.step(step(json!({"resetpass": true})), &[("newpass", NEW)]).await;
    assert_eq!(reset["result"], "OK", "{reset}");
    let refused =
        web.step(json!({"userid": "canary@south.example", "firm": "NONE"}), &[("pass", FIRST)]).await;
    assert_eq!(refused["result"], "unknown firm");
    assert_eq!(web.say(json!({"type": "getuser", "userid": userid})).await["result"], "OK");

    // A token that is in use while everything is searched.
    let plain = server.trader().await;
    let live = text(&web.verify(&plain, &json!({"gentoken": true})).await, "token");
    assert_eq!(server.token_login(&plain.userid, &live).await["result"], "OK");
    assert_eq!(
        server.token_login(&plain.userid, "canary-of-a-wrong-token-at-login").await["result"],
        "invalid token"
    );

    told.shown.extend([token, live, first, second, uri, again["2fauri"].as_str().unwrap().to_owned()]);
    told.secrets.extend([GUESS, FIRST, NEW, "qz-canary", "canary-of-a-code"].map(str::to_owned));
    told.secrets
        .extend(["canary-of-a-token-that-is-none", "canary-of-a-wrong-token-at-login"].map(str::to_owned));
    told.secrets.extend([trader.password.clone(), plain.password.clone()]);
    told.secrets.extend(trader.seed);
    told
}

#[tokio::test]
async fn q3_no_password_seed_or_token_is_written_told_or_echoed() {
    let server = Server::serve("log.level = \"trace\"\njournal.segment_bytes = 1048576\n").await;
    let service = server.service(&ALL_RIGHTS).await;
    let peer = server.enter_from(source(), &service).await;
    let mut web = Recorded { peer, sent: Vec::new(), heard: Vec::new() };
    let Told { mut secrets, shown } = everything(&server, &mut web).await;

    // On the wire: what came in is nowhere in the answers; what is shown, is shown in one answer.
    let came_in = Secrets::of(&secrets);
    for answer in &web.heard {
        assert_eq!(came_in.found(answer.as_bytes()), None, "{answer}");
    }
    for secret in &shown {
        let answers = web.heard.iter().filter(|answer| answer.contains(secret.as_str())).count();
        assert_eq!(answers, 1, "once, and no more: {secret}");
    }
    let passwords = Secrets::of([GUESS, FIRST, NEW, "qz-canary", service.password.as_str()]);
    for message in &web.sent {
        assert_eq!(passwords.found(message.as_bytes()), None, "a password in clear on the wire: {message}");
    }

    // Anywhere else: nothing at all.
    secrets.extend(shown);
    secrets.push(service.password);
    let secrets = Secrets::of(secrets);
    let told = [
        ("the audit trail", Value::from(server.audit("").await).to_string()),
        ("the people", server.api().get("/api/v1/people").await.unwrap().to_string()),
        ("the measurements", server.measurements().await),
    ];
    let mut places: Vec<(String, Vec<u8>)> =
        told.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    places.extend(server.written().into_iter().map(|(path, bytes)| (path.display().to_string(), bytes)));
    for (place, text) in [
        ("/journal/", "login-verified"),
        ("/journal/", "canary-customer"),
        ("the people", "canary-customer"),
        ("stderr", "WebSocket"),
    ] {
        let known = Secrets::of([text]);
        let seen = places.iter().any(|(name, bytes)| name.contains(place) && known.found(bytes).is_some());
        assert!(seen, "the search does not find what is in {place}");
    }
    for (name, bytes) in &places {
        assert_eq!(secrets.found(bytes), None, "{name}");
    }
}
