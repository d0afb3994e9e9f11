//! What the console does reaches everything that is open, at every door, at once (S8, S9, T15): real node, real sockets.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::fix::{FixPeer, Gateway, Seat};
use support::peer::Heard;
use support::web::{Browser, Page};
use support::{Peer, Server, User, shared_demo, source};

/// What an administrator does is in force everywhere within this.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Somebody with a connection at each door.
struct Everywhere {
    ws: Peer,
    fix: FixPeer,
    browser: Browser,
}

impl Everywhere {
    async fn open(demo: &Server, user: &User) -> Self {
        let code = async || match user.seed {
            Some(_) => Some(user.code_of(demo).await),
            None => None,
        };
        let browser = demo.signed_in(user).await;
        // Each code counts once, at all doors together.
        demo.advance(30).await;
        let mut ws = demo.connect(source()).await;
        ws.challenge().await;
        let answer = ws.login(&user.userid, &user.password, code().await.as_deref()).await;
        assert_eq!(answer["result"], "OK", "{answer}");
        demo.advance(30).await;
        let mut fix = demo.fix(&Server::trader_seat(user)).await;
        let logon = fix.trader_logon(&user.password, code().await.as_deref());
        fix.send(&logon).await;
        fix.expect("A").await;
        fix.next = 2;
        Self { ws, fix, browser }
    }

    /// All of it is there.
    async fn assert_open(&mut self) {
        assert_eq!(self.ws.ask(json!({"type": "ping"})).await["result"], "OK");
        self.fix.ping("there").await;
        assert!(self.browser.is_in().await);
    }

    /// All of it ends within [`AT_ONCE`] of `begun`.
    async fn assert_ends(mut self, what: &str, begun: Instant) {
        let by_hand = async {
            tokio::join!(
                async {
                    while let Heard::Answer(answer) = self.ws.hear().await {
                        assert_ne!(answer["result"], "OK", "{what}: {answer}");
                    }
                },
                async {
                    let logout = self.fix.hear_type("5").await;
                    logout.assert(&[(58, Some("Session ended. Logout forced."))]);
                },
                async { assert!(!self.browser.is_in().await, "{what}: the browser goes on") },
            )
        };
        tokio::time::timeout(support::WAIT_MAX, by_hand)
            .await
            .unwrap_or_else(|_| panic!("{what}: it stays open"));
        let took = begun.elapsed();
        assert!(took < AT_ONCE, "{what}: it took {took:?}");
    }
}

async fn administrator(demo: &Server) -> Browser {
    demo.signed_in(&demo.sample("admin@north.example")).await
}

/// A step of the console on somebody.
async fn step(by: &mut Browser, demo: &Server, user: &User, step: &str) -> Page {
    let id = demo.known(user).await["id"].as_str().unwrap().to_owned();
    by.post(
        &format!("/console/people/{id}/{step}"),
        &[("reason", "told by telephone"), ("email", "moved@north.example")],
    )
    .await
}

#[tokio::test]
async fn s8_t15_what_an_administrator_does_ends_all_that_is_open_within_a_second() {
    let demo = Server::demo(&[]).await;
    let mut admin = administrator(&demo).await;
    let mut people = Vec::new();
    for _ in 0..4 {
        people.push(demo.registered().await);
    }
    let mut besides = Everywhere::open(&demo, &demo.trader().await).await;
    let steps = [
        ("disable", 303, "disabled", "active"),
        ("reset-authenticator", 303, "active", "revoked"),
        ("reset-all", 200, "active", "revoked"),
        ("use-password", 303, "active", "revoked"),
    ];
    for ((name, status, standing, authenticator), user) in steps.into_iter().zip(people) {
        let mut everywhere = Everywhere::open(&demo, &user).await;
        everywhere.assert_open().await;
        let begun = Instant::now();
        let page = step(&mut admin, &demo, &user, name).await;
        assert_eq!(page.status, status, "{name}: {page:?}");
        everywhere.assert_ends(name, begun).await;
        besides.assert_open().await;
        let known = demo.known(&user).await;
        assert_eq!(
            (&known["standing"], &known["authenticator"]["state"]),
            (&json!(standing), &json!(authenticator))
        );
    }
}

#[tokio::test]
async fn s8_what_ends_nothing_leaves_everything_open() {
    let demo = Server::demo(&[]).await;
    let mut admin = administrator(&demo).await;
    let user = demo.registered().await;
    let mut everywhere = Everywhere::open(&demo, &user).await;
    for name in ["unlock", "email"] {
        let page = step(&mut admin, &demo, &user, name).await;
        assert_eq!(page.status, 303, "{name}: {page:?}");
        everywhere.assert_open().await;
    }
}

#[tokio::test]
async fn s9_p6_people_end_what_they_have_open_elsewhere() {
    let demo = Server::demo(&[]).await;
    let people = [demo.registered().await, demo.registered().await];
    for (how, user) in ["end-others", "password"].into_iter().zip(people) {
        let everywhere = Everywhere::open(&demo, &user).await;
        demo.advance(30).await;
        let mut here = demo.signed_in(&user).await;
        demo.advance(30).await;
        let begun = Instant::now();
        if how == "password" {
            let new = "a wholly new pass phrase";
            let typed = [("present", user.password.as_str()), ("new", new)];
            let page = here.post_secret("/password", &user.userid, &typed, &[("end_others", "1")]).await;
            assert_eq!(page.status, 303, "{page:?}");
        } else {
            assert_eq!(here.post("/account/sessions/end-others", &[]).await.status, 303);
        }
        everywhere.assert_ends(how, begun).await;
        assert!(here.is_in().await, "{how}: this one stays");
    }
}

#[tokio::test]
async fn s8_an_administrator_whom_the_desk_disables_is_out_at_the_next_click() {
    let demo = shared_demo().await;
    let admin = demo.sample("admin@south.example");
    let mut browser = demo.signed_in(&admin).await;
    assert_eq!(browser.get("/console/people").await.status, 200);
    let mut desk = demo.signed_in(&demo.sample("desk")).await;
    let colleague = json!({"kind": "admin", "firm": "SOUTH", "userid": "second@south.example",
        "grant": {"rights": ["view-people", "edit-people"]}});
    // The last one of a firm who can serve others stays.
    let refused = step(&mut desk, demo, &admin, "disable").await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(browser.get("/console/people").await.status, 200);
    demo.api().post("/api/v1/people", &colleague).await.unwrap();
    assert_eq!(step(&mut desk, demo, &admin, "disable").await.status, 303);
    assert_eq!(browser.get("/console/people").await.location(), "/signin?next=%2Fconsole%2Fpeople");
    assert_eq!(browser.post("/console/people/new", &[("userid", "mallory")]).await.location(), "/signin");
    assert!(demo.api().get("/api/v1/people/mallory").await.is_err());
}

/// A trader of SOUTH with a password alone, changed already.
async fn of_south(demo: &Server) -> User {
    let new = json!({"kind": "trader", "firm": "SOUTH", "userid": "other@south.example", "auth_system": "password"});
    let added = demo.api().post("/api/v1/people", &new).await.unwrap();
    let userid = "other@south.example".to_owned();
    let initial = added["password"].as_str().unwrap();
    let mut browser = demo.browser();
    assert_eq!(browser.password(&userid, initial).await.location(), "/password");
    let password = "a wholly own pass phrase".to_owned();
    let chosen = browser.post_secret("/password", &userid, &[("new", &password)], &[]).await;
    assert_eq!(chosen.status, 303, "{chosen:?}");
    User { userid, password, seed: None }
}

async fn at_desk(desk: &mut Browser, path: &str, fields: &[(&str, &str)]) {
    let mut all = fields.to_vec();
    all.push(("reason", "a drill"));
    let page = desk.post(path, &all).await;
    assert_eq!(page.status, 303, "{path} {fields:?}: {page:?}");
}

#[tokio::test]
async fn s8_what_the_desk_does_ends_all_that_is_open_within_a_second() {
    let demo = Server::demo(&[]).await;
    let mut desk = demo.signed_in(&demo.sample("desk")).await;
    let mut people = Vec::new();
    for _ in 0..3 {
        people.push(demo.trader().await);
    }
    let south = of_south(&demo).await;
    let mut besides = Everywhere::open(&demo, &south).await;
    let switch = [("scope", "firm"), ("firm", "NORTH"), ("ends", "all")];
    for (what, path, fields, back, back_fields) in [
        ("firm closed", "/console/firms/NORTH/close", &[][..], "/console/firms/NORTH/open", &[][..]),
        ("firm's switch", "/console/switch", &switch[..], "/console/switch/back", &[("scope", "firm/NORTH")]),
    ] {
        let user = people.pop().unwrap();
        let mut everywhere = Everywhere::open(&demo, &user).await;
        let seat = demo.seat(firm_seat(&demo, "NORTH", 0), Gateway::Cgw);
        let mut session = demo.logged_on(&seat, next_of(&demo, &seat).await).await;
        everywhere.assert_open().await;
        let begun = Instant::now();
        at_desk(&mut desk, path, fields).await;
        let took = async {
            session.hear_type("5").await;
            begun.elapsed()
        };
        let (took, ()) = tokio::join!(took, everywhere.assert_ends(what, begun));
        assert!(took < AT_ONCE, "{what}: the FIX session took {took:?}");
        // Nor is anybody let in anew; the other firm is as before.
        assert_eq!(demo.login(source(), &user, None).await["result"], "invalid user/password", "{what}");
        assert_eq!(demo.browser().password(&user.userid, &user.password).await.status, 422, "{what}");
        let text = demo.trader_refused(&user, &user.password, None).await;
        assert_eq!(text, "invalid user or password", "{what}");
        besides.assert_open().await;
        at_desk(&mut desk, back, back_fields).await;
        assert_eq!(demo.login(source(), &user, None).await["result"], "OK", "{what} is over");
    }
    // No new logons, and an end to none.
    let mut everywhere = Everywhere::open(&demo, &people.pop().unwrap()).await;
    at_desk(&mut desk, "/console/switch", &[("scope", "venue")]).await;
    everywhere.assert_open().await;
    besides.assert_open().await;
    assert_eq!(demo.login(source(), &south, None).await["result"], "invalid user/password");
    at_desk(&mut desk, "/console/switch/back", &[("scope", "venue")]).await;
    let begun = Instant::now();
    at_desk(&mut desk, "/console/switch", &[("scope", "venue"), ("ends", "all")]).await;
    tokio::join!(everywhere.assert_ends("venue", begun), besides.assert_ends("venue", begun));
    assert!(desk.is_in().await, "the desk goes on");
    at_desk(&mut desk, "/console/switch/back", &[("scope", "venue")]).await;
}

/// The number that a stream expects next.
async fn next_of(demo: &Server, seat: &Seat) -> u64 {
    if demo.stream_of(seat).await.is_some() { demo.numbers(seat).await.0 } else { 1 }
}

/// The sample FIX session of a firm.
fn firm_seat(demo: &Server, firm: &str, nth: usize) -> usize {
    let sessions = demo.ready["fix_sessions"].as_array().unwrap();
    let mut own = sessions.iter().enumerate().filter(|(_, session)| session["firm"] == firm);
    own.nth(nth).unwrap().0
}

#[tokio::test]
async fn s8_a_session_of_the_switch_ends_and_a_policy_holds_for_the_next_login_at_once() {
    let demo = Server::demo(&[]).await;
    let mut desk = demo.signed_in(&demo.sample("desk")).await;
    let [seat, other] = [0, 1].map(|nth| demo.seat(firm_seat(&demo, "NORTH", nth), Gateway::Cgw));
    let mut session = demo.logged_on(&seat, 1).await;
    let mut stays = demo.logged_on(&other, 1).await;
    let begun = Instant::now();
    let fields = [("scope", "session"), ("session", seat.session.as_str()), ("ends", "all")];
    at_desk(&mut desk, "/console/switch", &fields).await;
    session.hear_type("5").await;
    let took = begun.elapsed();
    assert!(took < AT_ONCE, "it took {took:?}");
    stays.ping("there").await;

    // From now on a one-time password is demanded: at the next login at every door, whoever is in stays in.
    let user = demo.trader().await;
    let mut everywhere = Everywhere::open(&demo, &user).await;
    let form = desk.get("/console/firms/NORTH/policy").await;
    let mut fields = form.fields_of_form();
    fields.retain(|(name, _)| !["csrf", "otp_demanded", "reason", "code"].contains(&name.as_str()));
    fields.extend(support::web::fields(&[("otp_demanded", "yes"), ("reason", "a drill")]));
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let set = desk.post("/console/firms/NORTH/policy", &fields).await;
    assert_eq!(set.status, 303, "{set:?}");
    assert_eq!(demo.login(source(), &user, None).await["result"], "2fa registration required");
    assert_eq!(demo.browser().password(&user.userid, &user.password).await.location(), "/register");
    let text = demo.trader_refused(&user, &user.password, None).await;
    assert!(text.contains("register"), "{text}");
    everywhere.assert_open().await;
}
