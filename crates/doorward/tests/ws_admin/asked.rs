//! Who may ask what: each message as each asker (rules 5, 7, 9, 10).

use serde_json::{Value, json};

use crate::support::acting::ALL_RIGHTS;
use crate::support::{Peer, Server, User, shared_demo, source, until};

/// The messages by which something is asked for others, about a customer whose password is known.
async fn answers(peer: &mut Peer, customer: &User) -> [Value; 5] {
    let verify = json!({"type": "verifylogin", "userid": customer.userid, "pass": "AAAA"});
    let token = |kind: &str| json!({"type": kind, "token": "x"});
    let add = json!({"type": "adduser", "userid": customer.userid, "updateprof": true, "roles": "1"});
    let see = json!({"type": "getuser", "userid": customer.userid});
    let mut heard = Vec::new();
    for message in [verify, token("checktoken"), token("revoketoken"), see, add] {
        let answer = peer.ask(message.clone()).await;
        assert_eq!(answer["type"], message["type"]);
        heard.push(answer["result"].clone());
    }
    heard.try_into().unwrap()
}

fn all(result: &str) -> [Value; 5] {
    [(); 5].map(|()| result.into())
}

#[tokio::test]
async fn rules_5_7_9_who_is_not_let_in_whole_asks_for_nobody() {
    let demo = shared_demo().await;
    let customer = demo.trader().await;
    let mut nobody = demo.connect(source()).await;
    assert_eq!(answers(&mut nobody, &customer).await, all("login required"));

    let administrator = demo.administrator(&["edit-people", "view-people"]).await;
    let mut half_way = demo.connect(source()).await;
    half_way.challenge().await;
    let asked = half_way.login(&administrator.userid, &administrator.password, None).await;
    assert_eq!(asked["2fa"], "required");
    assert_eq!(answers(&mut half_way, &customer).await, all("2fa token required"));

    let grant = json!({"firms": ["NORTH"], "rights": ALL_RIGHTS, "sources": ["127.0.0.0/8"]});
    let initial = demo.newcomer("service", json!({"kind": "service", "grant": grant})).await;
    let mut must_change = demo.connect(source()).await;
    must_change.challenge().await;
    let asked = must_change.login(&initial.userid, &initial.password, None).await;
    assert_eq!(asked["password"], "change required");
    assert_eq!(answers(&mut must_change, &customer).await, all("password change required"));
    let changed = must_change.change_password(&initial.password, "a wholly new pass phrase").await;
    assert_eq!(changed["result"], "OK", "{changed}");
    assert_eq!(must_change.verify(&customer, json!({})).await["result"], "OK");
}

#[tokio::test]
async fn rules_9_10_a_trader_asks_for_nobody_else() {
    let demo = shared_demo().await;
    let (trader, customer) = (demo.trader().await, demo.trader().await);
    let mut peer = demo.enter(&trader).await;
    assert_eq!(answers(&mut peer, &customer).await, all("permission denied"));
    assert_eq!(peer.verify(&trader, json!({})).await["result"], "permission denied", "not even oneself");
    for field in ["roles", "use2fa", "attr", "broker_comm_rate", "initial", "firm", "reason", "resetpass"] {
        let value = match field {
            "attr" => json!({}),
            "initial" | "use2fa" | "resetpass" => json!("N"),
            _ => json!("1"),
        };
        let message = json!({"type": "adduser", "updateprof": true, field: value});
        let answer = peer.ask(message).await;
        // A switch that is off is as one that is not there.
        let expected = if field == "resetpass" {
            json!({"result": "missing field", "type": "adduser", "field": "pass"})
        } else {
            json!({"result": "permission denied", "type": "adduser", "field": field})
        };
        assert_eq!(answer, expected, "{field}");
    }
    let own = json!({"result": "OK", "type": "getuser", "userid": trader.userid, "firm": "NORTH", "active": "Y",
        "use2fa": "N", "2faregistered": "N"});
    assert_eq!(peer.ask(json!({"type": "getuser"})).await, own);
    assert_eq!(peer.ask(json!({"type": "getuser", "userid": trader.userid.to_uppercase()})).await, own);
}

#[tokio::test]
async fn rules_9_10_each_right_of_a_service_user_is_asked_for() {
    let demo = shared_demo().await;
    let (customer, registered) = (demo.trader().await, demo.registered().await);
    let denied = |message_type: &str, field: Option<&str>| {
        let mut answer = json!({"result": "permission denied", "type": message_type});
        if let Some(field) = field {
            answer["field"] = field.into();
        }
        answer
    };
    let without = |right: &str| -> Vec<&str> { ALL_RIGHTS.into_iter().filter(|of| *of != right).collect() };
    let step = json!({"userid": customer.userid, "updateprof": true});
    let of = |base: &Value, field: &str, value: Value| {
        let mut step = base.clone();
        step[field] = value;
        step
    };
    for right in ALL_RIGHTS {
        let mut web = demo.enter(&demo.service(&without(right)).await).await;
        let new = "a wholly new pass phrase";
        let answer = match right {
            "verify" => web.verify(&customer, json!({})).await,
            "token" => {
                assert_eq!(
                    web.ask(json!({"type": "checktoken", "token": "x"})).await,
                    denied("checktoken", None)
                );
                assert_eq!(web.verify(&customer, json!({})).await["result"], "OK", "without a token");
                web.verify(&customer, json!({"gentoken": true})).await
            }
            "token-on-password" => web.verify(&customer, json!({"gentoken": true})).await,
            "add" => {
                web.step(json!({"userid": "new@north.example", "firm": "NORTH"}), &[("pass", new)]).await
            }
            "change" => web.step(of(&step, "roles", json!("1")), &[]).await,
            "reset-password" => web.step(of(&step, "resetpass", json!(true)), &[("newpass", new)]).await,
            "lasting-password" => {
                let lasting = of(&of(&step, "resetpass", json!(true)), "initial", json!(false));
                web.step(lasting, &[("newpass", new)]).await
            }
            "reset-authenticator" => {
                let step = of(&step, "userid", json!(registered.userid));
                web.step(of(&step, "use2fa", json!("Y")), &[]).await
            }
            other => panic!("{other}"),
        };
        let expected = match right {
            "verify" => denied("verifylogin", None),
            "token" => denied("verifylogin", Some("gentoken")),
            "token-on-password" => json!({"result": "2fa token missing", "type": "verifylogin"}),
            "add" | "change" => denied("adduser", None),
            "reset-password" => denied("adduser", Some("resetpass")),
            "lasting-password" => denied("adduser", Some("initial")),
            _ => denied("adduser", Some("use2fa")),
        };
        assert_eq!(answer, expected, "without {right}");
        assert_eq!(demo.login(source(), &customer, None).await["result"], "OK", "{right}: all is as it was");
    }
    let mut none = demo.enter(&demo.service(&[]).await).await;
    assert_eq!(answers(&mut none, &customer).await, all("permission denied"));
}

#[tokio::test]
async fn rule_10_who_is_out_of_reach_is_not_there() {
    let demo = Server::demo(&[]).await;
    let mut web = demo.enter(&demo.service(&ALL_RIGHTS).await).await;
    let foreign = demo.sample("plain@south.example");
    let beyond = [
        ("another firm's trader", foreign.clone()),
        ("the desk", demo.sample("desk")),
        ("another service user", demo.sample("web-backend")),
        ("nobody", User { userid: "nobody@north.example".to_owned(), ..foreign.clone() }),
        ("no user id at all", User { userid: "not a user id".to_owned(), ..foreign.clone() }),
    ];
    for (who, user) in &beyond {
        let verified = web.verify(user, json!({})).await;
        let expected =
            json!({"result": "invalid user/password", "type": "verifylogin", "userid": user.userid});
        assert_eq!(verified, expected, "{who}: not even with the right password");
        let seen = web.ask(json!({"type": "getuser", "userid": user.userid})).await;
        assert_eq!(seen, json!({"result": "unknown user", "type": "getuser"}), "{who}");
        for (fields, secrets) in [
            (json!({"roles": "1"}), vec![]),
            (json!({"resetpass": true}), vec![("newpass", "a wholly new pass phrase")]),
            (json!({}), vec![("pass", &*user.password), ("newpass", "a wholly new pass phrase")]),
            (json!({"use2fa": "Y"}), vec![]),
        ] {
            let mut step = json!({"userid": user.userid, "updateprof": true});
            fields.as_object().unwrap().iter().for_each(|(name, value)| step[name] = value.clone());
            let answer = web.step(step, &secrets).await;
            assert_eq!(answer, json!({"result": "unknown user", "type": "adduser"}), "{who}");
        }
    }
    // An administrator of a firm that is served is known, and nothing is done to them.
    let administrator = demo.sample("admin@north.example");
    let denied = |message_type: &str| json!({"result": "permission denied", "type": message_type});
    assert_eq!(web.ask(json!({"type": "getuser", "userid": administrator.userid})).await, denied("getuser"));
    let step = json!({"userid": administrator.userid, "updateprof": true, "resetpass": true});
    assert_eq!(web.step(step, &[("newpass", "a wholly new pass phrase")]).await, denied("adduser"));
    let verified = web.verify(&administrator, json!({})).await;
    assert_eq!(verified["result"], "invalid user/password");

    let add = |firm: &str| json!({"userid": "new@south.example", "firm": firm});
    for firm in ["SOUTH", "NONE"] {
        let answer = web.step(add(firm), &[("pass", "handed over on paper")]).await;
        assert_eq!(answer, json!({"result": "unknown firm", "type": "adduser"}), "{firm}");
    }
    assert_eq!(demo.login(source(), &foreign, None).await["result"], "OK", "all is as it was");
}

#[tokio::test]
async fn rule_10_only_from_the_listed_addresses() {
    let demo = shared_demo().await;
    let here = source();
    let grant = |sources: Value| json!({"firms": ["NORTH"], "rights": ALL_RIGHTS, "sources": sources});
    let fields = json!({"kind": "service", "initial": false, "grant": grant(json!([here.to_string()]))});
    let service = demo.newcomer("service", fields).await;
    let customer = demo.trader().await;
    let elsewhere = source();
    let refused = demo.login(elsewhere, &service, None).await;
    assert_eq!(refused, json!({"result": "invalid user/password", "type": "login"}));
    let mut web = demo.enter_from(here, &service).await;
    assert_eq!(web.verify(&customer, json!({})).await["result"], "OK");

    // What the desk takes back holds for a connection that is open already.
    demo.edit(&service, json!({"grant": grant(json!(["192.0.2.0/24"]))})).await;
    let denied = json!({"result": "permission denied", "type": "verifylogin"});
    assert_eq!(web.verify(&customer, json!({})).await, denied);
    let entry = &demo.audit_from(here).await[0];
    assert_eq!(entry["reason"], "source-not-permitted", "{entry}");
    demo.edit(&service, json!({"grant": null})).await;
    assert_eq!(web.verify(&customer, json!({})).await, denied);
}

#[tokio::test]
async fn s8_a_service_user_who_is_disabled_is_out_within_a_second() {
    let demo = shared_demo().await;
    let service = demo.service(&ALL_RIGHTS).await;
    let mut web = demo.enter(&service).await;
    let begun = std::time::Instant::now();
    demo.edit(&service, json!({"standing": "disabled"})).await;
    assert_eq!(web.closed().await, 1008);
    assert!(begun.elapsed().as_secs() < 1, "{:?}", begun.elapsed());
    assert_eq!(demo.login(source(), &service, None).await["result"], "invalid user/password");
}

#[tokio::test]
async fn rule_10_an_administrator_serves_the_own_firms_traders_and_verifies_nobody() {
    let demo = shared_demo().await;
    let administrator = demo.administrator(&["edit-people", "view-people"]).await;
    let mut admin = demo.enter(&administrator).await;
    let customer = demo.trader().await;
    let denied = |message_type: &str, field: Option<&str>| {
        let mut answer = json!({"result": "permission denied", "type": message_type});
        if let Some(field) = field {
            answer["field"] = field.into();
        }
        answer
    };
    assert_eq!(admin.verify(&customer, json!({})).await, denied("verifylogin", None));
    for kind in ["checktoken", "revoketoken"] {
        assert_eq!(admin.ask(json!({"type": kind, "token": "x"})).await, denied(kind, None));
    }
    let shown = admin.ask(json!({"type": "getuser", "userid": customer.userid})).await;
    assert_eq!((&shown["result"], &shown["firm"]), (&json!("OK"), &json!("NORTH")), "{shown}");
    let foreign = admin.ask(json!({"type": "getuser", "userid": "plain@south.example"})).await;
    assert_eq!(foreign["result"], "unknown user");

    let step =
        |field: &str, value: Value| json!({"userid": customer.userid, "updateprof": true, field: value});
    assert_eq!(admin.step(step("roles", json!("T,,R")), &[]).await["result"], "OK");
    assert_eq!(demo.known(&customer).await["roles"], "T,,R");
    assert_eq!(
        admin.step(step("broker_comm_rate", json!("0.5")), &[]).await,
        denied("adduser", Some("broker_comm_rate"))
    );
    let reset = admin.step(step("resetpass", json!(true)), &[("newpass", "a wholly new pass phrase")]).await;
    assert_eq!(reset, denied("adduser", Some("resetpass")));
    let added = json!({"userid": format!("by-admin-{}", customer.userid)});
    let mut lasting = added.clone();
    lasting["initial"] = false.into();
    assert_eq!(
        admin.step(lasting, &[("pass", "handed over on paper")]).await,
        denied("adduser", Some("initial"))
    );
    let answer = admin.step(added, &[("pass", "handed over on paper")]).await;
    assert_eq!(answer["result"], "OK", "the own firm is meant: {answer}");

    // K2: where setup links are mailed and not shown, no seed is shown either.
    assert_eq!(admin.step(step("use2fa", json!("Y")), &[]).await, denied("adduser", Some("use2fa")));
    let registered = demo.registered().await;
    let take = |reason: Value| json!({"userid": registered.userid, "updateprof": true, "use2fa": "N", "reason": reason});
    assert_eq!(admin.step(take(json!("lost the phone")), &[]).await, denied("adduser", Some("use2fa")));
    let other = demo.administrator(&["view-people"]).await;
    let mut other = demo.enter(&other).await;
    assert_eq!(other.step(step("roles", json!("1")), &[]).await, denied("adduser", None));
}

#[tokio::test]
async fn t14_an_administrators_code_is_fresh_for_five_minutes() {
    let demo = Server::demo(&[]).await;
    let rights = ["edit-people", "view-people", "reset-authenticator"];
    let mut admin = demo.enter(&demo.administrator(&rights).await).await;
    // The firm's people register without a link, and administrators may see what they register with.
    let shown = json!({"show_setup_link": true, "registration_needs_link": false});
    demo.set_policy("/api/v1/firms/NORTH/policy", &shown).await;
    let first = json!({"userid": demo.trader().await.userid, "updateprof": true, "use2fa": "Y"});
    let seed = admin.step(first, &[]).await;
    assert!(seed["2faseed"].is_string(), "this login gave a code: {seed}");
    let registered = demo.registered().await;
    let take = |fields: Value| {
        let step = json!({"userid": registered.userid, "updateprof": true, "use2fa": "Y"});
        crate::support::acting::with(step, &fields)
    };
    let missing = admin.step(take(json!({})), &[]).await;
    assert_eq!(missing, json!({"result": "missing field", "type": "adduser", "field": "reason"}));
    demo.advance(300).await;
    let stale = admin.step(take(json!({"reason": "lost the phone"})), &[]).await;
    assert_eq!(stale, json!({"result": "permission denied", "type": "adduser", "field": "use2fa"}));
    assert_eq!(demo.known(&registered).await["authenticator"]["state"], "active");
    let entry = &demo.audit("event=step-refused").await[0];
    assert_eq!(entry["reason"], "factor-stale", "{entry}");
}

#[tokio::test]
async fn q4_what_was_refused_and_what_was_done_name_the_program_and_the_customer() {
    let demo = shared_demo().await;
    let service = demo.service(&["verify"]).await;
    let from = source();
    let mut web = demo.enter_from(from, &service).await;
    let customer = demo.trader().await;
    web.verify(&customer, json!({"source": "192.0.2.50"})).await;
    web.verify(&customer, json!({"gentoken": true})).await;
    let entries = until("the records", async || {
        let entries = demo.audit_from(from).await;
        (entries.len() >= 3).then_some(entries)
    })
    .await;
    let events: Vec<&Value> = entries.iter().rev().map(|entry| &entry["event"]).collect();
    assert_eq!(events, ["login-granted", "login-verified", "step-refused"]);
    let verified = &entries[1];
    assert_eq!(
        (
            &verified["actor"]["userid"],
            &verified["subject"]["userid"],
            &verified["firm"],
            &verified["factor"]
        ),
        (&json!(service.userid), &json!(customer.userid), &json!("NORTH"), &json!("password")),
        "{verified}"
    );
    assert_eq!(verified["detail"], "level 0; for 192.0.2.50");
    let refused = &entries[0];
    assert_eq!(
        (&refused["reason"], &refused["outcome"]),
        (&json!("right-missing"), &json!("refused")),
        "{refused}"
    );
}
