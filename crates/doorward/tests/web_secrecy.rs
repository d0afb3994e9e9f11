//! What travels and what is kept, from the claim of a new node to the registration of a trader: no password, and no
//! seed but its one showing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::path::PathBuf;

use doorward_core::time::Wall;
use serde_json::json;
use support::search::Secrets;
use support::web::{Browser, Page, Tape, code_of};
use support::{Server, until};

/// Everything that was secret, and where it may be.
#[derive(Default)]
struct Kept {
    /// Never on a connection.
    passwords: Vec<String>,
    /// Shown on one answer each.
    shown: Vec<String>,
    /// Travel as they are, and are written nowhere.
    tokens: Vec<String>,
}

fn now() -> Wall {
    Wall::from_us(i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap())
}

fn mailbox(server: &Server) -> PathBuf {
    server.dir.join("mails")
}

/// The token of the setup link in the mail to somebody, once it is there.
async fn mailed_token(server: &Server, to: &str) -> String {
    until("the mail with the link", async || {
        let mails = std::fs::read_dir(mailbox(server)).ok()?.flatten();
        let mut texts = mails.map(|mail| String::from_utf8(std::fs::read(mail.path()).unwrap()).unwrap());
        let mail = texts.find(|mail| mail.contains(&format!("To: {to}")) && mail.contains("/setup#"))?;
        let rest = mail.replace("=\r\n", "");
        let rest = rest.split_once("/setup#").unwrap().1;
        let is_token = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        Some(rest[..rest.find(|c| !is_token(c)).unwrap()].to_owned())
    })
    .await
}

impl Kept {
    /// Goes on from where a browser is asked for an own password: that, the authenticator, the recovery codes; all of
    /// these.
    async fn register(&mut self, browser: &mut Browser, userid: &str, own: &str) -> Vec<String> {
        assert_eq!(browser.get("/register").await.location(), "/password");
        let short = browser.post_secret("/password", userid, &[("new", "ten chars!")], &[]).await;
        assert_eq!(short.status, 422, "{short:?}");
        let chosen = browser.post_secret("/password", userid, &[("new", own)], &[]).await;
        assert_eq!(chosen.location(), "/register");
        self.passwords.extend([own.to_owned(), "ten chars!".to_owned()]);
        // One that is begun anew is shown once, too.
        let first = browser.post("/register", &[]).await.seed().unwrap();
        let seed = browser.post("/register", &[]).await.seed().unwrap();
        assert_ne!(first, seed);
        let wrong = browser.post("/register/code", &[("code", "12345")]).await;
        assert!(wrong.status == 422 && wrong.seed().is_none(), "T11: {wrong:?}");
        let done = browser.post("/register/code", &[("code", &code_of(&seed, now()))]).await;
        self.shown.extend([first, seed]);
        self.keep_codes(browser, &done)
    }

    fn keep_codes(&mut self, browser: &Browser, page: &Page) -> Vec<String> {
        assert_eq!(page.status, 200, "{page:?}");
        let codes = page.recovery_codes();
        assert_eq!(codes.len(), 10, "{page:?}");
        self.tokens.extend(codes.clone());
        self.tokens.extend(browser.cookie.clone());
        codes
    }
}

async fn claimed(server: &Server, tape: &Tape, kept: &mut Kept) -> Browser {
    let out = std::fs::read_to_string(server.dir.join("stdout")).unwrap();
    let token = out.split_once("/claim#").unwrap().1.lines().next().unwrap().trim().to_owned();
    let mut browser = server.browser().on(tape);
    browser.get("/claim").await;
    let password = "nine lanterns over the delta";
    let fields = [("link", token.as_str()), ("userid", "olga"), ("email", "olga@venue.example")];
    let shown = browser.post_secret("/claim", "olga", &[("password", password)], &fields).await;
    let seed = shown.seed().unwrap_or_else(|| panic!("{shown:?}"));
    let done = browser.post("/claim/code", &[("code", &code_of(&seed, now()))]).await;
    kept.passwords.push(password.to_owned());
    kept.shown.push(seed);
    kept.tokens.push(token);
    kept.keep_codes(&browser, &done);
    browser
}

/// The way of everybody, in four browsers; what was secret about it.
async fn whole_way(server: &Server, tape: &Tape) -> Kept {
    let mut kept = Kept::default();
    let desk = claimed(server, tape, &mut kept).await;
    assert!(desk.is_in().await);
    let api = server.api();
    let new = json!({"kind": "admin", "firm": "NORTH", "userid": "anna", "email": "anna@north.example",
        "grant": {"rights": ["view-people", "edit-people", "reset-authenticator", "view-audit"]}});
    let initial = api.post("/api/v1/people", &new).await.unwrap()["password"].as_str().unwrap().to_owned();
    server.set_policy("/api/v1/policy", &json!({"registration_needs_link": false})).await;
    server.set_policy("/api/v1/firms/NORTH/policy", &json!({"show_setup_link": true})).await;

    // The firm's administrator registers with name and initial password.
    let mut anna = server.browser().on(tape);
    assert_eq!(anna.password("anna", "not hers at all, sorry").await.status, 422);
    assert_eq!(anna.password("anna", &initial).await.location(), "/register");
    kept.passwords.extend(["not hers at all, sorry".to_owned(), initial]);
    kept.register(&mut anna, "anna", "copper kettle on a glacier").await;

    // A trader whose initial password is typed, and whose link is mailed.
    let typed = "seventeen paper herons";
    let userid = "tom@north.example";
    let fields = [("userid", userid), ("email", userid), ("how", "typed"), ("send", "on")];
    let added = anna.post_secret("/console/people/new", userid, &[("password", typed)], &fields).await;
    assert!(added.status == 200 && !added.body.contains(typed), "{added:?}");
    let token = mailed_token(server, userid).await;
    kept.passwords.push(typed.to_owned());
    let mut tom = server.browser().on(tape);
    tom.get("/setup").await;
    for (password, status) in [("a wrong one, to begin with", 422), (typed, 303)] {
        let fields = [("userid", userid), ("link", token.as_str())];
        let page = tom.post_secret("/setup", userid, &[("password", password)], &fields).await;
        assert_eq!(page.status, status, "{page:?}");
        kept.passwords.push(password.to_owned());
    }
    kept.tokens.push(token);
    let codes = kept.register(&mut tom, userid, "violet tram to the quarry").await;
    let changed = "harvest moon and a bicycle";
    let typed = [("present", "violet tram to the quarry"), ("new", changed)];
    assert_eq!(tom.post_secret("/password", userid, &typed, &[]).await.status, 303);
    kept.passwords.push(changed.to_owned());
    tom.post("/signout", &[]).await.location();
    assert_eq!(tom.password(userid, changed).await.location(), "/signin/code");
    assert_eq!(tom.post("/signin/code", &[("code", "000000")]).await.status, 422);
    assert_eq!(tom.post("/signin/recovery", &[("code", &codes[0])]).await.status, 303);
    assert!(tom.is_in().await);
    kept.tokens.extend(tom.cookie.clone());

    // One whose password is made, reset, and whose link is shown: each on one answer.
    let fields = [("userid", "una@north.example"), ("email", "")];
    let added = anna.post("/console/people/new", &fields).await;
    let id =
        added.body.split_once("href=\"/console/people/p").unwrap().1.split('"').next().unwrap().to_owned();
    kept.shown.push(added.element("the-password").unwrap().to_owned());
    let reason = [("reason", "asked for by telephone"), ("hand", "show")];
    let link = anna.post(&format!("/console/people/p{id}/show-link"), &reason).await;
    kept.shown.push(link.element("the-link").unwrap().split_once('#').unwrap().1.to_owned());
    let reset = anna.post(&format!("/console/people/p{id}/reset-all"), &reason).await;
    kept.shown.push(reset.element("the-password").unwrap_or_else(|| panic!("{reset:?}")).to_owned());
    kept.shown.push(reset.element("the-link").unwrap().split_once('#').unwrap().1.to_owned());
    for path in ["/console/people", "/console/events", "/console/events?attempts=1", "/account"] {
        assert_eq!(anna.get(path).await.status, 200, "{path}");
    }
    anna.get(&format!("/console/people/p{id}")).await;
    kept
}

#[tokio::test]
async fn q3_k1_t11_v6_no_connection_carries_a_password_nor_a_seed_but_once_and_nothing_keeps_them() {
    let server = Server::serve(
        "log.level = \"trace\"\njournal.segment_bytes = 1048576\nweb.listen = [\"127.0.0.1:0\"]\n\
         mail.folder = \"mails\"\nmail.from = \"Doorward <no-reply@venue.example>\"\n",
    )
    .await;
    let tape = Tape::default();
    let kept = whole_way(&server, &tape).await;
    let exchanges = tape.all();

    let passwords = Secrets::of(&kept.passwords);
    for exchange in &exchanges {
        let head = String::from_utf8_lossy(&exchange.sent);
        let what = head.lines().next().unwrap().to_owned();
        assert_eq!(passwords.found(&exchange.sent), None, "sent: {what}");
        assert_eq!(passwords.found(&exchange.received), None, "received: {what}");
        // K1: a link's token is in no address, and in nobody's field that names where they came from.
        let head = head.split("\r\n\r\n").next().unwrap().to_owned();
        let head = head.lines().filter(|line| !line.starts_with("cookie: ")).collect::<Vec<_>>().join("\n");
        let tokens = Secrets::of(kept.tokens.iter().chain(&kept.shown));
        assert_eq!(tokens.found(head.as_bytes()), None, "{head}");
    }
    for secret in &kept.shown {
        let one = Secrets::of([secret]);
        let carrying = |bytes: fn(&support::web::Exchange) -> &[u8]| {
            exchanges.iter().filter(|exchange| one.found(bytes(exchange)).is_some()).count()
        };
        assert_eq!((carrying(|own| &own.sent), carrying(|own| &own.received)), (0, 1), "{secret}");
    }
    let known = Secrets::of(["violet+tram", "/signin/recovery", "seventeen"]);
    assert!(exchanges.iter().any(|exchange| known.found(&exchange.sent).is_some()), "the tape is not empty");

    let everything = Secrets::of(kept.passwords.iter().chain(&kept.shown).chain(&kept.tokens));
    let told = [
        ("the audit trail", json!(server.audit("").await).to_string()),
        ("the people", server.api().get("/api/v1/people").await.unwrap().to_string()),
        ("the measurements", server.measurements().await),
    ];
    let mut places: Vec<(String, Vec<u8>)> =
        told.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect();
    places.extend(server.written().into_iter().map(|(path, bytes)| (path.display().to_string(), bytes)));
    for (place, text) in [
        ("/journal/", "link-made"),
        ("the audit trail", "password-changed"),
        ("the people", "tom@north.example"),
        ("stderr", "portal and console"),
        ("book", "tom@north.example"),
        ("/mails/", "register"),
    ] {
        let known = Secrets::of([text]);
        let seen = places.iter().any(|(name, bytes)| name.contains(place) && known.found(bytes).is_some());
        assert!(seen, "the search does not find {text} in {place}");
    }
    for (name, bytes) in &places {
        // The claim link is printed for the operator; of mails see below.
        if !name.contains("/mails/") && !name.ends_with("/stdout") {
            assert_eq!(everything.found(bytes), None, "{name}");
        }
    }
    let in_mails = kept.tokens.iter().chain(&kept.passwords).chain(&kept.shown).filter(|secret| {
        let one = Secrets::of([secret]);
        places.iter().any(|(name, bytes)| name.contains("/mails/") && one.found(bytes).is_some())
    });
    assert_eq!(in_mails.count(), 1, "one link was mailed, and nothing else that is secret");
}
