//! Tokens: how long they are good, what they let in to, and everything that ends them (rule 9).

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::acting::ALL_RIGHTS;
use crate::support::peer::Heard;
use crate::support::{Peer, Server, User, WAIT_MAX, shared_demo, source};

/// What ends a connection does it within this (S8).
const AT_ONCE: Duration = Duration::from_secs(1);

fn invalid(message_type: &str) -> Value {
    json!({"result": "invalid token", "type": message_type})
}

/// A connection that came by a token.
async fn inside(demo: &Server, userid: &str, token: &str) -> Peer {
    let mut peer = demo.connect(source()).await;
    let answer = peer.ask(json!({"type": "login", "userid": userid, "token": token})).await;
    assert_eq!(answer, json!({"result": "OK", "type": "login"}));
    peer
}

/// The token lets nobody in any more, and nothing knows it.
async fn assert_ended(demo: &Server, web: &mut Peer, customer: &User, token: &str, what: &str) {
    assert_eq!(web.token_state(token).await, "invalid token", "{what}");
    assert_eq!(
        web.ask(json!({"type": "revoketoken", "token": token})).await,
        invalid("revoketoken"),
        "{what}"
    );
    assert_eq!(demo.token_login(&customer.userid, token).await, invalid("login"), "{what}");
}

#[tokio::test]
async fn rule_9_a_token_is_asked_for_used_and_ended() {
    let demo = shared_demo().await;
    let service = demo.service(&["verify", "token"]).await;
    let mut web = demo.enter(&service).await;
    let trader = demo.registered().await;
    let code = trader.code();
    let made = web.verify(&trader, json!({"2fatoken": code, "gentoken": true})).await;
    let (token, expires) = (made["token"].as_str().unwrap(), &made["expires"]);
    let known = |message_type: &str| json!({"result": "OK", "type": message_type, "userid": trader.userid, "expires": expires});
    assert_eq!(web.ask(json!({"type": "checktoken", "token": token})).await, known("checktoken"));
    let of = trader.userid.to_uppercase();
    assert_eq!(
        web.ask(json!({"type": "checktoken", "token": token, "userid": of})).await,
        known("checktoken")
    );
    let of_another = json!({"type": "checktoken", "token": token, "userid": service.userid});
    assert_eq!(web.ask(of_another).await, invalid("checktoken"));
    let broken = format!("{}A", &token[..42]);
    for other in [&broken, "x", &token[..42]] {
        assert_eq!(web.ask(json!({"type": "checktoken", "token": other})).await, invalid("checktoken"));
    }
    let mut peer = inside(demo, &trader.userid, token).await;
    let shown = peer.ask(json!({"type": "getuser"})).await;
    assert_eq!((&shown["result"], &shown["userid"]), (&json!("OK"), &json!(trader.userid)));
    let entry = &demo.audit(&format!("event=login-granted&userid={}", trader.userid)).await[0];
    assert_eq!((&entry["factor"], &entry["detail"]), (&json!("token"), &json!("level 1")));

    let revoked = json!({"type": "revoketoken", "token": token, "userid": trader.userid});
    assert_eq!(web.ask(revoked).await, known("revoketoken"));
    assert_eq!(peer.closed().await, 1008, "S8: what it opened ends with it");
    assert_ended(demo, &mut web, &trader, token, "revoked").await;
    let entry = &demo.audit(&format!("event=token-revoked&userid={}", trader.userid)).await[0];
    assert_eq!(entry["actor"]["userid"], service.userid, "{entry}");
}

#[tokio::test]
async fn rule_9_a_token_lets_in_as_often_as_wanted_and_changes_neither_password_nor_factor() {
    let demo = shared_demo().await;
    let mut web = demo.enter(&demo.service(&ALL_RIGHTS).await).await;
    let trader = demo.registered().await;
    let token = web.token_for(&trader).await;
    for _ in 0..3 {
        let mut peer = inside(demo, &trader.userid, &token).await;
        peer.challenge().await;
        let changed = peer.change_password(&trader.password, "a wholly new pass phrase").await;
        assert_eq!(changed, json!({"result": "permission denied", "type": "adduser"}));
        for field in ["use2fa", "resetpass"] {
            let answer = peer.ask(json!({"type": "adduser", "updateprof": true, field: "Y"})).await;
            assert_eq!(answer["result"], "permission denied", "{answer}");
        }
    }
    assert_eq!(demo.login(source(), &trader, None).await["2fa"], "required", "the password is as it was");
}

#[tokio::test]
async fn rule_9_a_wrong_token_counts_and_the_third_closes() {
    let demo = shared_demo().await;
    let mut web = demo.enter(&demo.service(&ALL_RIGHTS).await).await;
    let (trader, other) = (demo.trader().await, demo.trader().await);
    let token = web.token_for(&trader).await;
    let from = source();
    let mut peer = demo.connect(from).await;
    let login = |userid: &str, token: &str| json!({"type": "login", "userid": userid, "token": token});
    for (userid, token) in [(&other.userid, &*token), (&trader.userid, "x")] {
        assert_eq!(peer.ask(login(userid, token)).await, invalid("login"));
    }
    assert_eq!(peer.ask(login("nobody@north.example", &token)).await, invalid("login"));
    assert_eq!(peer.closed().await, 1008, "as a third wrong code would");
    let reasons: Vec<Value> =
        demo.audit_from(from).await.iter().map(|entry| entry["reason"].clone()).collect();
    assert!(
        reasons.contains(&json!("unknown-user")) && reasons.contains(&json!("token-unknown")),
        "{reasons:?}"
    );
    assert_eq!(demo.known(&trader).await["attempts"]["wrong"], 1, "S5: a token is a secret like any other");
    for _ in 0..2 {
        let mut peer = demo.connect(from).await;
        for _ in 0..2 {
            assert_eq!(peer.ask(login(&trader.userid, "x")).await, invalid("login"));
        }
    }
    let mut peer = demo.connect(from).await;
    assert_eq!(peer.ask(login(&trader.userid, &token)).await, invalid("login"), "the right one waits, too");
    assert_eq!(demo.audit_from(from).await[0]["reason"], "backed-off");
    assert_eq!(demo.token_login(&trader.userid, &token).await["result"], "OK", "no other address does");
}

#[tokio::test]
async fn rule_9_a_token_is_good_for_12_hours() {
    let demo = Server::demo(&[]).await;
    let mut web = demo.enter(&demo.service(&ALL_RIGHTS).await).await;
    let trader = demo.trader().await;
    let token = web.token_for(&trader).await;
    demo.advance(12 * 3_600 - 60).await;
    assert_eq!(web.token_state(&token).await, "OK");
    assert_eq!(demo.token_login(&trader.userid, &token).await["result"], "OK");
    demo.advance(60).await;
    assert_ended(&demo, &mut web, &trader, &token, "over").await;
}

#[tokio::test]
async fn l1_a_person_has_16_tokens_and_one_more_ends_the_oldest() {
    let demo = shared_demo().await;
    let mut web = demo.enter(&demo.service(&ALL_RIGHTS).await).await;
    let trader = demo.trader().await;
    let mut tokens = Vec::new();
    for _ in 0..17 {
        tokens.push(web.token_for(&trader).await);
    }
    assert_eq!(web.token_state(&tokens[0]).await, "invalid token");
    for token in &tokens[1..] {
        assert_eq!(web.token_state(token).await, "OK");
    }
}

#[tokio::test]
async fn rule_9_tokens_belong_to_whom_the_program_serves() {
    let demo = shared_demo().await;
    let mut web = demo.enter(&demo.service(&ALL_RIGHTS).await).await;
    let mut south = demo.enter(&demo.service_of(&["SOUTH"], &ALL_RIGHTS).await).await;
    let mut second = demo.enter(&demo.service(&["token"]).await).await;
    let trader = demo.trader().await;
    let token = web.token_for(&trader).await;
    assert_eq!(south.token_state(&token).await, "invalid token", "another firm's is none");
    assert_eq!(south.ask(json!({"type": "revoketoken", "token": token})).await, invalid("revoketoken"));
    assert_eq!(second.token_state(&token).await, "OK", "another program of the firm's may look");
    let refused = second.verify(&trader, json!({"gentoken": true})).await;
    assert_eq!(refused, json!({"result": "permission denied", "type": "verifylogin"}));
}

/// Everything that ends a token, as it is done.
#[derive(Clone, Copy, PartialEq, Debug)]
enum End {
    OwnPassword,
    ChangedPassword,
    ResetPassword,
    SetPassword,
    Disable,
    ResetAuthenticator,
    NewSeed,
    NoMoreCodes,
    NewSeedByTheDesk,
    UseCodes,
}

impl End {
    const ALL: [Self; 10] = [
        Self::OwnPassword,
        Self::ChangedPassword,
        Self::ResetPassword,
        Self::SetPassword,
        Self::Disable,
        Self::ResetAuthenticator,
        Self::NewSeed,
        Self::NoMoreCodes,
        Self::NewSeedByTheDesk,
        Self::UseCodes,
    ];

    /// Whether the customer has an authenticator.
    const fn of_registered(self) -> bool {
        matches!(self, Self::ResetAuthenticator | Self::NewSeed | Self::NoMoreCodes)
    }

    /// Whether it ends connections as well (S8): a change of one's own password leaves them to whoever made it.
    const fn ends_connections(self) -> bool {
        !matches!(self, Self::OwnPassword | Self::NewSeedByTheDesk | Self::UseCodes)
    }

    async fn carry_out(self, demo: &Server, web: &mut Peer, customer: &User) {
        let path = format!("/api/v1/people/{}", customer.userid.replace('@', "%40"));
        let new = "a wholly new pass phrase";
        let set = json!({"userid": customer.userid, "updateprof": true});
        let with = |field: &str, value: Value| {
            let mut set = set.clone();
            set[field] = value;
            set
        };
        let answer = match self {
            Self::OwnPassword => {
                let mut own = demo.enter(customer).await;
                own.change_password(&customer.password, new).await
            }
            Self::ChangedPassword => web.step(set, &[("pass", &customer.password), ("newpass", new)]).await,
            Self::ResetPassword => web.step(with("resetpass", json!(true)), &[("newpass", new)]).await,
            Self::NewSeed | Self::UseCodes => web.step(with("use2fa", json!("Y")), &[]).await,
            Self::NoMoreCodes => web.step(with("use2fa", json!("N")), &[]).await,
            Self::SetPassword => {
                demo.api().post(&format!("{path}/password"), &json!({})).await.unwrap();
                json!({"result": "OK"})
            }
            Self::Disable => {
                demo.edit(customer, json!({"standing": "disabled"})).await;
                json!({"result": "OK"})
            }
            Self::ResetAuthenticator => {
                demo.api().delete(&format!("{path}/authenticator"), None).await.unwrap();
                json!({"result": "OK"})
            }
            Self::NewSeedByTheDesk => {
                demo.new_seed(customer).await;
                json!({"result": "OK"})
            }
        };
        assert_eq!(answer["result"], "OK", "{self:?}: {answer}");
    }
}

#[tokio::test]
async fn rule_9_s8_everything_that_ends_a_token_and_the_connection_that_came_by_it_within_a_second() {
    let demo = shared_demo().await;
    let mut web = demo.enter(&demo.service(&ALL_RIGHTS).await).await;
    for end in End::ALL {
        let customer = if end.of_registered() { demo.registered().await } else { demo.trader().await };
        let beside = demo.trader().await;
        let (token, other) = (web.token_for(&customer).await, web.token_for(&beside).await);
        let mut peer = inside(demo, &customer.userid, &token).await;
        assert_eq!(web.token_state(&token).await, "OK");
        let begun = Instant::now();
        end.carry_out(demo, &mut web, &customer).await;
        if end.ends_connections() {
            let closed = tokio::time::timeout(WAIT_MAX, peer.hear()).await.unwrap();
            let took = begun.elapsed();
            assert!(matches!(closed, Heard::Closed(Some(1008))), "{end:?}: {closed:?}");
            assert!(took < AT_ONCE, "{end:?}: it took {took:?}");
        }
        assert_ended(demo, &mut web, &customer, &token, &format!("{end:?}")).await;
        if end == End::Disable {
            demo.edit(&customer, json!({"standing": "active"})).await;
            assert_ended(demo, &mut web, &customer, &token, "enabled again").await;
        }
        assert_eq!(web.token_state(&other).await, "OK", "{end:?}: nobody else's");
    }
}

#[tokio::test]
async fn rule_9_t10_a_lock_ends_tokens() {
    let demo = Server::demo(&[]).await;
    let mut web = demo.enter(&demo.service(&["verify", "token"]).await).await;
    let trader = demo.registered().await;
    let token = web.token_for(&trader).await;
    let wrong = trader.wrong_code();
    let state = async || demo.known(&trader).await["authenticator"]["state"].clone();
    for nth in 0..10 {
        assert_eq!(web.token_state(&token).await, "OK", "wrong codes alone end nothing: {nth}");
        if nth >= 5 {
            demo.advance(30).await;
        }
        // Another key: the demo's clock has moved.
        web.challenge().await;
        let answer = web.verify(&trader, json!({"2fatoken": wrong})).await;
        assert_eq!(answer["result"], "invalid token", "{answer}");
    }
    assert_eq!(state().await, "locked");
    assert_ended(&demo, &mut web, &trader, &token, "locked").await;
    demo.unlock(&trader).await;
    assert_ended(&demo, &mut web, &trader, &token, "unlocked").await;
    let right = web.verify(&trader, json!({})).await;
    assert_eq!((&right["result"], &right["active"]), (&json!("OK"), &json!("Y")));
}

#[tokio::test]
async fn rule_9_where_more_is_demanded_than_a_token_proved_it_is_not_good() {
    let demo = Server::demo(&[]).await;
    let mut web = demo.enter(&demo.service(&ALL_RIGHTS).await).await;
    let trader = demo.trader().await;
    let token = web.token_for(&trader).await;
    assert_eq!(web.token_state(&token).await, "OK");
    demo.set_policy("/api/v1/firms/NORTH/policy", &json!({"otp_demanded": true})).await;
    assert_eq!(web.token_state(&token).await, "invalid token");
    assert_eq!(demo.token_login(&trader.userid, &token).await, invalid("login"));
    // It sleeps, and is ended all the same: it does not wake when less is demanded again.
    let ended = web.ask(json!({"type": "revoketoken", "token": token})).await;
    assert_eq!((&ended["result"], &ended["userid"]), (&json!("OK"), &json!(trader.userid)), "{ended}");
    demo.set_policy("/api/v1/firms/NORTH/policy", &json!({"otp_demanded": false})).await;
    assert_ended(&demo, &mut web, &trader, &token, "ended while it slept").await;
}
