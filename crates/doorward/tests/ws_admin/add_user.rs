//! `adduser` in all forms, as a service user (rules 7, 10, 11, 12), and `getuser`.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use crate::support::acting::{ALL_RIGHTS, with};
use crate::support::{Peer, Server, User, shared_demo, source};

const FIRST: &str = "handed over on paper 31";
const NEW: &str = "a wholly new pass phrase";

fn fresh() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("w{}@north.example", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn web(demo: &Server) -> Peer {
    demo.enter(&demo.service(&ALL_RIGHTS).await).await
}

fn person(userid: &str, password: &str) -> User {
    User { userid: userid.to_owned(), password: password.to_owned(), seed: None }
}

fn refused(result: &str) -> Value {
    json!({"result": result, "type": "adduser"})
}

fn with_field(result: &str, field: &str) -> Value {
    json!({"result": result, "type": "adduser", "field": field})
}

#[tokio::test]
async fn rule_10_a_new_user_is_echoed_and_must_change_the_password() {
    let demo = shared_demo().await;
    let mut web = web(demo).await;
    let userid = fresh();
    let fields = json!({"userid": userid, "firm": "NORTH", "roles": "T,,R", "broker_comm_rate": "0.25",
        "attr": {"desk": [1, {"a": null}]}, "use2fa": "N", "initial": true, "reason": "asked for", "id": 7});
    let mut expected = with(fields.clone(), &json!({"result": "OK", "type": "adduser"}));
    assert_eq!(web.step(fields, &[("pass", FIRST)]).await, expected);
    let shown = json!({"result": "OK", "type": "getuser", "userid": userid, "firm": "NORTH", "roles": "T,,R",
        "active": "Y", "use2fa": "N", "2faregistered": "N", "attr": {"desk": [1, {"a": null}]}});
    assert_eq!(web.ask(json!({"type": "getuser", "userid": userid})).await, shown);
    let answer = demo.login(source(), &person(&userid, FIRST), None).await;
    assert_eq!(answer, json!({"result": "OK", "type": "login", "password": "change required"}));

    // The least that is needed: the firm is the only one that is served, `newpass` does as well, rate `0`.
    let userid = fresh();
    expected = json!({"result": "OK", "type": "adduser", "userid": userid, "broker_comm_rate": "0"});
    assert_eq!(web.step(json!({"userid": userid}), &[("newpass", FIRST)]).await, expected);
    assert_eq!(demo.known(&person(&userid, FIRST)).await["firm"], "NORTH");
    let entry = &demo.audit(&format!("userid={userid}&event=person-added")).await[0];
    assert!(entry["actor"]["userid"].as_str().unwrap().starts_with("service"), "{entry}");
}

#[tokio::test]
async fn rule_7_a_password_by_a_superuser_is_initial_unless_the_desk_allows_otherwise() {
    let demo = shared_demo().await;
    let mut web = web(demo).await;
    let userid = fresh();
    let lasting = json!({"userid": userid, "initial": false});
    assert_eq!(web.step(lasting, &[("pass", FIRST)]).await["initial"], false);
    assert_eq!(
        demo.login(source(), &person(&userid, FIRST), None).await,
        json!({"result": "OK", "type": "login"})
    );
    let reset = json!({"userid": userid, "updateprof": true, "resetpass": "Y"});
    let answer = web.step(reset.clone(), &[("newpass", NEW)]).await;
    assert_eq!((&answer["result"], &answer["resetpass"]), (&json!("OK"), &json!(true)), "{answer}");
    let login = demo.login(source(), &person(&userid, NEW), None).await;
    assert_eq!(login["password"], "change required");
    let answer = web.step(with(reset, &json!({"initial": "N"})), &[("newpass", FIRST)]).await;
    assert_eq!(answer["initial"], false, "{answer}");
    assert_eq!(
        demo.login(source(), &person(&userid, FIRST), None).await,
        json!({"result": "OK", "type": "login"})
    );
}

#[tokio::test]
async fn rule_10_what_cannot_be_added_is_told_by_the_table() {
    let demo = shared_demo().await;
    let mut web = web(demo).await;
    let there = demo.trader().await;
    let long = json!({"text": "x".repeat(4_096)});
    let new = |fields: Value| with(json!({"userid": fresh(), "firm": "NORTH"}), &fields);
    for (fields, secrets, expected) in [
        (
            json!({"userid": there.userid.to_uppercase()}),
            vec![("pass", FIRST)],
            refused("user already exists"),
        ),
        (new(json!({"userid": "two words"})), vec![("pass", FIRST)], with_field("invalid field", "userid")),
        (new(json!({"userid": null})), vec![("pass", FIRST)], with_field("missing field", "userid")),
        (new(json!({})), vec![], with_field("missing field", "pass")),
        (new(json!({})), vec![("pass", FIRST), ("newpass", NEW)], with_field("invalid field", "newpass")),
        (new(json!({"resetpass": true})), vec![("newpass", NEW)], with_field("invalid field", "resetpass")),
        (new(json!({"firm": "no code"})), vec![("pass", FIRST)], with_field("invalid field", "firm")),
        (new(json!({"firm": "SOUTH"})), vec![("pass", FIRST)], refused("unknown firm")),
        (new(json!({"attr": long})), vec![("pass", FIRST)], with_field("invalid field", "attr")),
        (new(json!({"reason": "a\nb"})), vec![("pass", FIRST)], with_field("invalid field", "reason")),
    ] {
        let shown = fields.to_string();
        assert_eq!(web.step(fields, &secrets).await, expected, "{shown}");
    }
    let common = web.step(new(json!({})), &[("pass", "passwordpassword")]).await;
    assert_eq!(common["result"], "password issue", "{common}");
    let short = web.step(new(json!({})), &[("pass", "short")]).await;
    assert_eq!((&short["result"], &short["reason"]), (&json!("password issue"), &json!("too-short")));
    let own_name = fresh();
    let named = web.step(json!({"userid": own_name}), &[("pass", &format!("it is {own_name}"))]).await;
    assert_eq!(named["result"], "password issue", "{named}");
    for malformed in [json!({"attr": []}), json!({"attr": "{}"}), json!({"use2fa": "y"}), json!({"roles": 1})]
    {
        let answer = web.step(new(malformed.clone()), &[("pass", FIRST)]).await;
        let field = malformed.as_object().unwrap().keys().next().unwrap().clone();
        assert!(answer["result"].as_str().unwrap().contains(&field), "{answer}");
    }
    let mut both = demo.enter(&demo.service_of(&["NORTH", "SOUTH"], &ALL_RIGHTS).await).await;
    let answer = both.step(json!({"userid": fresh()}), &[("pass", FIRST)]).await;
    assert_eq!(answer, with_field("missing field", "firm"), "which of the two?");
}

#[tokio::test]
async fn rule_10_of_two_who_add_the_same_user_at_once_one_does() {
    let demo = shared_demo().await;
    let service = demo.service(&ALL_RIGHTS).await;
    let (mut one, mut other) = (demo.enter(&service).await, demo.enter(&service).await);
    for _ in 0..3 {
        let userid = fresh();
        let secrets = [("pass", FIRST)];
        let (first, second) = tokio::join!(
            one.step(json!({"userid": userid}), &secrets),
            other.step(json!({"userid": userid}), &secrets)
        );
        let mut results = [first["result"].clone(), second["result"].clone()];
        results.sort_by_key(ToString::to_string);
        assert_eq!(results, ["OK", "user already exists"]);
    }
}

#[tokio::test]
async fn rule_10_fields_given_are_set_and_fields_absent_are_kept() {
    let demo = shared_demo().await;
    let mut web = web(demo).await;
    let trader = demo.trader().await;
    let step = |fields: Value| with(json!({"userid": trader.userid, "updateprof": true}), &fields);
    let all = json!({"roles": "T", "broker_comm_rate": "0.5", "attr": {"a": 1}});
    let answer = web.step(step(all.clone()), &[]).await;
    let expected = with(step(all), &json!({"result": "OK", "type": "adduser"}));
    assert_eq!(answer, expected);
    let answer = web.step(step(json!({"roles": "R", "updateprof": "Y"})), &[]).await;
    assert_eq!(
        answer,
        json!({"result": "OK", "type": "adduser", "userid": trader.userid, "roles": "R", "updateprof": true,
            "broker_comm_rate": "0.5"}),
        "the rate is told as it is kept"
    );
    let known = demo.known(&trader).await;
    assert_eq!((&known["roles"], &known["attr"]), (&json!("R"), &json!({"a": 1})));
    assert_eq!(demo.login(source(), &trader, None).await["result"], "OK", "the password is as it was");

    for (fields, field) in [(json!({"firm": "SOUTH"}), "firm"), (json!({"firm": "?"}), "firm")] {
        assert_eq!(
            web.step(step(fields), &[]).await,
            with_field("invalid field", field),
            "the firm never changes"
        );
    }
    assert_eq!(web.step(step(json!({"firm": "NORTH"})), &[]).await["result"], "OK", "the same is no change");
    assert_eq!(demo.known(&trader).await["firm"], "NORTH");
}

#[tokio::test]
async fn rule_10_with_the_present_password_the_new_one_is_the_customers_own() {
    let demo = shared_demo().await;
    let mut web = web(demo).await;
    let trader = demo.trader().await;
    let step = json!({"userid": trader.userid, "updateprof": true});
    let both =
        |present: &str| vec![("pass".to_owned(), present.to_owned()), ("newpass".to_owned(), NEW.to_owned())];
    let ask = async |web: &mut Peer, secrets: Vec<(String, String)>| {
        let secrets: Vec<(&str, &str)> = secrets.iter().map(|(field, of)| (&**field, &**of)).collect();
        web.step(step.clone(), &secrets).await
    };
    let only_one = ask(&mut web, both("x")[1..].to_vec()).await;
    assert_eq!(only_one, with_field("missing field", "pass"));
    let wrong = ask(&mut web, both("not the password at all")).await;
    assert_eq!(wrong["result"], "password issue", "{wrong}");
    assert_eq!(demo.known(&trader).await["attempts"]["wrong"], 1, "S5: it counts");
    assert_eq!(ask(&mut web, both(&trader.password)).await["result"], "OK");
    let renewed = person(&trader.userid, NEW);
    assert_eq!(demo.login(source(), &renewed, None).await, json!({"result": "OK", "type": "login"}));

    let from = source();
    let mut held = demo.enter_from(from, &demo.service(&ALL_RIGHTS).await).await;
    for _ in 0..5 {
        assert_eq!(ask(&mut held, both("not the password at all")).await["result"], "password issue");
    }
    let right = ask(&mut held, vec![("pass".into(), NEW.into()), ("newpass".into(), FIRST.into())]).await;
    assert_eq!(right["result"], "password issue", "S5: the right one waits, too");
    assert_eq!(demo.login(source(), &renewed, None).await["result"], "OK");
}

#[tokio::test]
async fn rule_10_a_reset_needs_no_old_password_ends_sessions_and_is_mailed() {
    let demo = shared_demo().await;
    let mut web = web(demo).await;
    let trader = demo.trader().await;
    demo.edit(&trader, json!({"email": "owner@north.example"})).await;
    let mut inside = demo.enter(&trader).await;
    let reset =
        json!({"userid": trader.userid, "updateprof": true, "resetpass": true, "reason": "lost", "pass": ""});
    let with_present = web.step(reset.clone(), &[("pass", &trader.password), ("newpass", NEW)]).await;
    assert_eq!(with_present, with_field("invalid field", "pass"));
    assert_eq!(web.step(reset.clone(), &[]).await, with_field("missing field", "newpass"));
    assert_eq!(web.step(reset.clone(), &[("newpass", "short")]).await["reason"], "too-short");
    let answer = web.step(reset, &[("newpass", NEW)]).await;
    let expected = json!({"result": "OK", "type": "adduser", "userid": trader.userid, "updateprof": true,
        "resetpass": true, "reason": "lost", "broker_comm_rate": "0"});
    assert_eq!(answer, expected);
    assert_eq!(inside.closed().await, 1008);
    let entry = &demo.audit(&format!("userid={}&event=password-set", trader.userid)).await[0];
    assert!(entry["detail"].as_str().unwrap().ends_with("lost"), "{entry}");
    let mails = demo.ready["mailbox"].as_str().unwrap().to_owned();
    crate::support::until("the mail to the owner", async || {
        let files = std::fs::read_dir(&mails).ok()?.flatten();
        let texts = files.filter_map(|file| std::fs::read_to_string(file.path()).ok());
        texts.into_iter().any(|text| text.contains("owner@north.example")).then_some(())
    })
    .await;
    assert_eq!(demo.login(source(), &trader, None).await["result"], "invalid user/password");
}

#[tokio::test]
async fn rule_10_a_superuser_changes_the_own_password_and_nothing_else_of_the_own() {
    let demo = shared_demo().await;
    let service = demo.service(&ALL_RIGHTS).await;
    let mut web = demo.enter(&service).await;
    for fields in
        [json!({"roles": "1"}), json!({"use2fa": "Y"}), json!({"userid": service.userid, "resetpass": true})]
    {
        let field = fields.as_object().unwrap().keys().find(|name| *name != "userid").unwrap().clone();
        let answer = web.step(with(json!({"updateprof": true}), &fields), &[("newpass", NEW)]).await;
        assert_eq!(answer, with_field("permission denied", &field));
    }
    let answer = web.change_password(&service.password, NEW).await;
    assert_eq!(answer["result"], "OK", "{answer}");
    assert_eq!(demo.login(source(), &person(&service.userid, NEW), None).await["result"], "OK");
}

#[tokio::test]
async fn rule_11_a_seed_is_shown_once_pending_and_confirmed_by_the_first_code() {
    let demo = shared_demo().await;
    let mut web = web(demo).await;
    let userid = fresh();
    let added =
        web.step(json!({"userid": userid, "use2fa": true, "initial": false}), &[("pass", FIRST)]).await;
    assert_eq!((&added["result"], &added["use2fa"]), (&json!("OK"), &json!("Y")), "{added}");
    let seed = |answer: &Value| answer["2faseed"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    let first = seed(&added);
    assert!(added["2fauri"].as_str().unwrap().contains(&first), "{added}");
    let shown = async |web: &mut Peer| web.ask(json!({"type": "getuser", "userid": userid})).await;
    let known = shown(&mut web).await;
    assert_eq!((&known["use2fa"], &known["2faregistered"]), (&json!("Y"), &json!("N")));
    assert!(known.get("2faseed").is_none(), "T11: once");

    let again = web.step(json!({"userid": userid, "updateprof": true, "use2fa": "Y"}), &[]).await;
    let second = seed(&again);
    assert_ne!(first, second, "another one, and the first is void");
    let of = |seed: &str| User { seed: Some(seed.to_owned()), ..person(&userid, FIRST) };
    let (void, user) = (of(&first), of(&second));
    let mut peer = demo.connect(source()).await;
    peer.challenge().await;
    assert_eq!(peer.login(&userid, FIRST, None).await["2fa"], "required");
    assert_eq!(peer.code(&void.code()).await["result"], "invalid token");
    let code = user.code();
    assert_eq!(peer.code(&code).await["result"], "OK");
    assert_eq!(shown(&mut web).await["2faregistered"], "Y");
    let used = web.verify(&user, json!({"2fatoken": code})).await;
    assert_eq!(used["result"], "invalid token", "T7: the confirming code is used up");

    let off = web.step(json!({"userid": userid, "updateprof": true, "use2fa": "N"}), &[]).await;
    assert_eq!((&off["result"], &off["use2fa"], off.get("2faseed")), (&json!("OK"), &json!("N"), None));
    let known = shown(&mut web).await;
    assert_eq!((&known["use2fa"], &known["2faregistered"]), (&json!("N"), &json!("N")));
}

#[tokio::test]
async fn rule_11_where_one_time_passwords_are_demanded_nobody_switches_them_off() {
    let demo = Server::demo(&[]).await;
    let mut web = web(&demo).await;
    let trader = demo.registered().await;
    demo.set_policy("/api/v1/firms/NORTH/policy", &json!({"otp_demanded": true})).await;
    let denied = with_field("permission denied", "use2fa");
    let off = json!({"userid": trader.userid, "updateprof": true, "use2fa": "N"});
    assert_eq!(web.step(off, &[]).await, denied);
    let new = json!({"userid": fresh(), "use2fa": "N"});
    assert_eq!(web.step(new, &[("pass", FIRST)]).await, denied);
    let userid = fresh();
    assert_eq!(web.step(json!({"userid": userid}), &[("pass", FIRST)]).await["result"], "OK");
    let known = web.ask(json!({"type": "getuser", "userid": userid})).await;
    assert_eq!((&known["use2fa"], &known["2faregistered"]), (&json!("Y"), &json!("N")));
}
