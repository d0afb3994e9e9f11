//! Whoever guesses at the pages: counted, held back and locked out together with the other doors.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use serde_json::{Value, json};
use support::web::{Browser, Page};
use support::{Peer, Server, User, shared_demo, source};

/// Nobody's password.
const GUESS: &str = "a guess like any other";

/// A browser between the right password and the code.
async fn code_due(demo: &Server, user: &User) -> Browser {
    let mut browser = demo.browser();
    assert_eq!(browser.password(&user.userid, &user.password).await.location(), "/signin/code");
    browser
}

async fn give(browser: &mut Browser, code: &str) -> Page {
    browser.post("/signin/code", &[("code", code)]).await
}

/// A WebSocket login up to the second step.
async fn second_step(demo: &Server, user: &User) -> Peer {
    let mut peer = demo.connect(source()).await;
    peer.challenge().await;
    let answer = peer.login(&user.userid, &user.password, None).await;
    assert_eq!(answer["2fa"], "required", "{answer}");
    peer
}

async fn authenticator(demo: &Server, user: &User) -> Value {
    demo.known(user).await["authenticator"].clone()
}

#[tokio::test]
async fn t6_one_code_at_the_portal_and_the_other_doors_at_once_lets_in_exactly_once() {
    const POSTS: usize = 12;
    let demo = shared_demo().await;
    let trader = demo.registered().await;
    let (mut browsers, mut sockets, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..POSTS {
        let mut browser = code_due(demo, &trader).await;
        let csrf = browser.csrf().await;
        browsers.push((browser, csrf));
        sockets.push(second_step(demo, &trader).await);
        sessions.push(demo.fix(&Server::trader_seat(&trader)).await);
    }
    let code = trader.code(); // good for at least the 30 s that follow
    let at_pages = browsers.iter_mut().map(async |(browser, csrf)| {
        let fields = support::web::fields(&[("code", &code), ("csrf", csrf)]);
        browser.post_bare("/signin/code", &fields).await.status == 303
    });
    let over_sockets = sockets.iter_mut().map(async |peer| peer.code(&code).await["result"] == "OK");
    let over_fix = sessions.iter_mut().map(async |peer| {
        let logon = peer.trader_logon(&trader.password, Some(&code));
        peer.send(&logon).await;
        peer.hear().await.is("A")
    });
    let all = tokio::join!(
        futures_util::future::join_all(at_pages),
        futures_util::future::join_all(over_sockets),
        futures_util::future::join_all(over_fix)
    );
    let granted = all.0.into_iter().chain(all.1).chain(all.2).filter(|is_in| *is_in).count();
    assert_eq!(granted, 1);
    let mut inside = 0;
    for (browser, _) in &browsers {
        inside += usize::from(browser.is_in().await);
    }
    let records = demo.audit(&format!("event=login-granted&userid={}", trader.userid)).await;
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(inside == 1, records[0]["door"] == "portal", "{records:?}");
}

#[tokio::test]
async fn t10_wrong_codes_of_all_doors_lock_one_authenticator_and_the_console_unlocks_it() {
    let demo = Server::demo(&[]).await;
    let trader = demo.registered().await;
    let wrong = trader.wrong_code();
    let mut stranger = demo.browser();
    assert_eq!(stranger.password(&trader.userid, GUESS).await.status, 422);
    assert_eq!(give(&mut stranger, &wrong).await.location(), "/signin", "no code without the password");
    assert_eq!(authenticator(&demo, &trader).await["wrong"], 0);
    let mut inside = demo.signed_in(&trader).await;
    demo.advance(30).await;
    for n in 0..10 {
        if n >= 5 {
            assert_eq!(authenticator(&demo, &trader).await["state"], "backed-off", "{n}");
            demo.advance(30).await;
        }
        if n % 2 == 0 {
            let page = give(&mut code_due(&demo, &trader).await, &wrong).await;
            assert!(page.status == 422, "{n}: {page:?}");
        } else {
            assert_eq!(second_step(&demo, &trader).await.code(&wrong).await["result"], "invalid token");
        }
    }
    assert_eq!(authenticator(&demo, &trader).await["state"], "locked");
    // At once, at every door, and without saying so; what is open stays (S3).
    let code = trader.code_of(&demo).await;
    let refused = demo.browser().password(&trader.userid, &trader.password).await;
    assert!(refused.status == 422 && !refused.body.contains("locked"), "{refused:?}");
    assert_eq!(demo.login(source(), &trader, None).await["result"], "invalid user/password");
    let text = demo.trader_refused(&trader, &trader.password, Some(&code)).await;
    assert_eq!(text, "invalid user or password");
    assert!(inside.is_in().await);
    let account = inside.get("/account").await;
    assert!(account.body.contains("Locked"), "the owner sees it: {account:?}");

    let mut admin = demo.signed_in(&demo.sample("admin@north.example")).await;
    let id = demo.known(&trader).await["id"].as_str().unwrap().to_owned();
    let locked = admin.get("/console/people?show=locked").await;
    assert!(locked.body.contains(&trader.userid), "{locked:?}");
    let path = format!("/console/people/{id}/unlock");
    assert_eq!(admin.post(&path, &[("reason", "a test")]).await.status, 303);
    let code = trader.code_of(&demo).await;
    assert_eq!(give(&mut code_due(&demo, &trader).await, &code).await.status, 303);
}

#[tokio::test]
async fn t17_that_a_code_was_used_is_told_at_the_portal_alone_and_after_the_password_alone() {
    let demo = shared_demo().await;
    let trader = demo.registered().await;
    let code = trader.code();
    let mut peer = second_step(demo, &trader).await;
    assert_eq!(peer.code(&code).await["result"], "OK");
    let told = give(&mut code_due(demo, &trader).await, &code).await;
    assert!(told.status == 422 && told.body.contains("used already"), "{told:?}");
    assert_eq!(second_step(demo, &trader).await.code(&code).await["result"], "invalid token");
    let text = demo.trader_refused(&trader, &trader.password, Some(&code)).await;
    assert_eq!(text, "invalid one-time password");
    let guessed = demo.browser().password(&trader.userid, GUESS).await;
    assert!(guessed.status == 422 && !guessed.body.contains("code was"), "{guessed:?}");
}

#[tokio::test]
async fn s3_a_source_is_held_back_at_the_portal_and_the_other_doors_alike() {
    let demo = shared_demo().await;
    let trader = demo.trader().await;
    let mut strange = demo.browser();
    let before = demo.hashes().await;
    for _ in 0..5 {
        assert_eq!(strange.password(&trader.userid, GUESS).await.status, 422);
    }
    let hashed = demo.hashes().await;
    assert!(hashed >= before + 5);
    let held = strange.password(&trader.userid, &trader.password).await;
    assert_eq!(held.status, 422, "even the right one waits there: {held:?}");
    assert_eq!(demo.audit_from(strange.from).await[0]["reason"], "backed-off");
    assert_eq!(demo.login(strange.from, &trader, None).await["result"], "invalid user/password");
    assert_eq!(demo.login(source(), &trader, None).await["result"], "OK", "others are not held back");
    assert!(demo.signed_in(&trader).await.is_in().await);
}

/// Every page that has a code compared; a wrong one counts at each, whoever is signed in.
#[tokio::test]
async fn s5_every_page_that_takes_a_code_counts_wrong_ones() {
    let demo = Server::demo(&[]).await;
    let trader = demo.registered().await;
    let wrong = trader.wrong_code();
    let count = async || authenticator(&demo, &trader).await["wrong"].as_u64().unwrap();
    assert_eq!(give(&mut code_due(&demo, &trader).await, &wrong).await.status, 422);
    assert_eq!(count().await, 1, "sign-in");
    let mut lost = code_due(&demo, &trader).await;
    let page = lost.post("/signin/recovery", &[("code", "AAAAA-AAAAA")]).await;
    assert_eq!(page.status, 422, "{page:?}");
    assert_eq!(count().await, 2, "recovery code");
    demo.advance(60).await;
    let mut inside = demo.signed_in(&trader).await;
    assert_eq!(count().await, 0, "a right one ends the row");
    // The sign-in's code is fresh, and no other is asked for: a wrong one beside it is not looked at.
    assert_eq!(inside.post("/account/recovery-codes", &[("code", &wrong)]).await.status, 200);
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn s1_whoever_is_refused_gets_the_same_page_for_the_same_work() {
    let server = Server::serve("web.listen = [\"127.0.0.1:0\"]\n").await;
    let (trader, disabled) = (server.trader().await, server.trader().await);
    server.edit(&disabled, json!({"standing": "disabled"})).await;
    let mut pages = Vec::new();
    for (userid, password, reason) in [
        (trader.userid.as_str(), GUESS, "wrong-password"),
        ("nobody@north.example", GUESS, "unknown-user"),
        ("nobody@north.example", trader.password.as_str(), "unknown-user"),
        (disabled.userid.as_str(), disabled.password.as_str(), "disabled"),
    ] {
        let mut browser = server.browser();
        let before = server.hashes().await;
        let page = browser.password(userid, password).await;
        assert_eq!(server.hashes().await - before, 1, "{reason}");
        let entry = &server.audit_from(browser.from).await[0];
        assert_eq!((&entry["reason"], &entry["door"]), (&json!(reason), &json!("portal")));
        let csrf = page.input("csrf").unwrap().to_owned();
        let fields = page.fields.into_iter().filter(|(name, _)| name != "date" && name != "content-length");
        pages.push((
            page.status,
            fields.collect::<Vec<_>>(),
            page.body.replace(&csrf, "").replace(userid, ""),
        ));
    }
    assert!(pages.windows(2).all(|two| two[0] == two[1]), "{pages:#?}");
}
