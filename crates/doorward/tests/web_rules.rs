//! What `security.md` asks of portal and console, from outside: a real node, real connections.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::web::{Browser, Page, fields};
use support::{Server, User, source};

/// Whose a page is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Of {
    /// Strangers see it, too.
    Anybody,
    /// Of those between the password and being signed in.
    Underway,
    /// About whoever is signed in, and nobody else; with the field that names what is theirs.
    Oneself(&'static str),
    /// Administrators and the desk, each of what is theirs.
    Console,
    /// One person, whose id is in the path.
    Person,
    /// The desk alone.
    Desk,
    /// The desk alone; a program, whose id is in the path.
    Program,
}

/// Every path that the node serves.
const PATHS: &[(&str, Of)] = &[
    ("/", Of::Anybody),
    ("/signin", Of::Anybody),
    ("/challenge", Of::Anybody),
    ("/assets/{name}", Of::Anybody),
    ("/setup", Of::Anybody),
    ("/claim", Of::Anybody),
    ("/claim/code", Of::Anybody),
    ("/signin/code", Of::Underway),
    ("/signin/recovery", Of::Underway),
    ("/register", Of::Underway),
    ("/register/code", Of::Underway),
    ("/signout", Of::Oneself("")),
    ("/password", Of::Oneself("")),
    ("/account", Of::Oneself("")),
    ("/account/attempts", Of::Oneself("")),
    ("/account/recovery-codes", Of::Oneself("")),
    ("/account/sessions/end-others", Of::Oneself("")),
    ("/account/sessions/end", Of::Oneself("session")),
    ("/account/connections/end", Of::Oneself("connection")),
    ("/console/people", Of::Console),
    ("/console/people/new", Of::Console),
    ("/console/people/send-links", Of::Console),
    ("/console/events", Of::Console),
    ("/console", Of::Console),
    ("/console/events/new", Of::Console),
    ("/console/mails", Of::Console),
    ("/console/mails/again", Of::Console),
    ("/console/firms", Of::Desk),
    ("/console/firms/new", Of::Desk),
    ("/console/firms/{code}", Of::Desk),
    ("/console/firms/{code}/close", Of::Desk),
    ("/console/firms/{code}/open", Of::Desk),
    ("/console/firms/{code}/policy", Of::Desk),
    ("/console/policy", Of::Desk),
    ("/console/switch", Of::Desk),
    ("/console/switch/back", Of::Desk),
    ("/console/people/{id}", Of::Person),
    ("/console/people/{id}/{act}", Of::Person),
    ("/console/people/{id}/grant", Of::Program),
];

/// Every step on a person.
const STEPS: [&str; 13] = [
    "send-link",
    "show-link",
    "revoke-link",
    "reset-authenticator",
    "reset-all",
    "unlock",
    "disable",
    "enable",
    "email",
    "rights",
    "notices",
    "use-codes",
    "use-password",
];

/// What would bring every form to an end if nobody minded who asks.
const EVERYTHING: [(&str, &str); 15] = [
    ("reason", "because I say so"),
    ("userid", "mallory"),
    ("email", "mallory@evil.example"),
    ("kind", "admin"),
    ("firm", "NORTH"),
    ("code", "NORTH"),
    ("name", "Northwind Futures"),
    ("hand", "mail"),
    ("box", "edit-people"),
    ("box", "locked"),
    ("scope", "venue"),
    ("send", "on"),
    ("firms", "NORTH SOUTH"),
    ("sources", "0.0.0.0/0"),
    ("version", "1"),
];

#[test]
fn q1_every_path_that_is_served_is_in_the_list() {
    let listed: BTreeSet<&str> = PATHS.iter().map(|(path, _)| *path).collect();
    let served: BTreeSet<&str> = doorward::http::web::paths().into_iter().collect();
    let missing: Vec<&&str> = served.difference(&listed).collect();
    assert!(missing.is_empty(), "say in PATHS whose these are: {missing:?}");
    assert_eq!(listed.len(), PATHS.len(), "each once");
}

/// The paths with an id and each step put in.
fn paths_of(of: impl Fn(Of) -> bool, id: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (path, whose) in PATHS.iter().filter(|(_, whose)| of(*whose)) {
        let path = path.replace("{id}", id).replace("{name}", "x.css").replace("{code}", "NORTH");
        if path.contains("{act}") {
            all.extend(STEPS.iter().map(|step| path.replace("{act}", step)));
        } else {
            all.push(path);
        }
        assert!(!all.last().unwrap().contains('{'), "{whose:?}: what is put in there? {all:?}");
    }
    all
}

/// All that the node knows of firms and people, but for counts of attempts; and its mails.
async fn everything(demo: &Server) -> Value {
    let mut all = Vec::new();
    for path in ["/people?limit=500", "/firms", "/policy", "/halts", "/sessions?limit=500"] {
        all.push(demo.api().get(&format!("/api/v1{path}")).await.unwrap());
    }
    all.push(json!(std::fs::read_dir(demo.ready["mailbox"].as_str().unwrap()).unwrap().count()));
    Value::from(all)
}

/// The id of the last mail to an address.
fn mail_to(demo: &Server, to: &str) -> String {
    let mut files = std::fs::read_dir(demo.ready["mailbox"].as_str().unwrap()).unwrap();
    let path = files.find_map(|file| {
        let path = file.unwrap().path();
        std::fs::read_to_string(&path).unwrap().contains(&format!("To: {to}")).then_some(path)
    });
    path.unwrap().file_stem().unwrap().to_str().unwrap().split_once('-').unwrap().1.to_owned()
}

async fn id_of(demo: &Server, userid: &str) -> String {
    demo.api().get(&format!("/api/v1/people/{}", userid.replace('@', "%40"))).await.unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Somebody who asks for what is not theirs; each request comes from an address of its own, by which its record is
/// found.
struct Asker {
    name: &'static str,
    browser: Browser,
    csrf: String,
    /// Where requests came from that are to be written down, and what they were.
    refused: Vec<(String, String)>,
}

impl Asker {
    async fn new(name: &'static str, mut browser: Browser) -> Self {
        let csrf = browser.csrf().await;
        Self { name, browser, csrf, refused: Vec::new() }
    }

    async fn ask(&mut self, method: &str, path: &str, more: &[(&str, &str)]) -> Page {
        let mut browser = self.browser.elsewhere();
        let page = if method == "GET" {
            browser.get(path).await
        } else {
            let mut all = EVERYTHING.to_vec();
            all.extend(more);
            all.push(("csrf", &self.csrf));
            browser.post_bare(path, &fields(&all)).await
        };
        // What a page asks by itself every few seconds would fill the audit trail.
        if [403, 404].contains(&page.status) && !path.starts_with("/console/events/new") {
            self.refused.push((browser.from.to_string(), format!("{method} {path} by {}", self.name)));
        }
        page
    }

    /// Asks in both ways and is refused so.
    async fn is_refused(&mut self, path: &str, status: u16) {
        let mut taken = 0;
        for method in ["GET", "POST"] {
            let page = self.ask(method, path, &[]).await;
            let what = format!("{method} {path} by {}: {page:?}", self.name);
            assert!(page.status == status || page.status == 405, "{what}");
            taken += usize::from(page.status != 405);
            assert!(!page.body.contains("north.example") && !page.body.contains("Northwind"), "{what}");
        }
        assert!(taken > 0, "{path} takes neither");
    }
}

/// Sources of all refusals that were written down.
async fn refused_from(demo: &Server) -> BTreeSet<String> {
    let (mut all, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let path = format!("/api/v1/audit?limit=500&event=step-refused{cursor}");
        let page = demo.api().get(&path).await.unwrap();
        for entry in page["items"].as_array().unwrap() {
            assert_eq!(entry["outcome"], "refused");
            all.insert(entry["source"].as_str().unwrap().to_owned());
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

/// An administrator whom nobody gave a right, with an authenticator and an own password.
async fn without_rights(demo: &Server) -> Browser {
    let userid = "powerless@south.example".to_owned();
    let new = json!({"kind": "admin", "firm": "SOUTH", "userid": userid});
    let added = demo.api().post("/api/v1/people", &new).await.unwrap();
    let user = User { userid, password: added["password"].as_str().unwrap().to_owned(), seed: None };
    let user = demo.new_seed(&user).await;
    let mut browser = demo.browser();
    assert_eq!(browser.password(&user.userid, &user.password).await.location(), "/signin/code");
    let code = user.code_of(demo).await;
    assert_eq!(browser.post("/signin/code", &[("code", &code)]).await.location(), "/password");
    let password = format!("changed {}", user.password);
    let seen = browser.post_secret("/password", &user.userid, &[("new", &password)], &[]).await;
    assert_eq!(seen.status, 303, "{seen:?}");
    assert!(browser.is_in().await);
    browser
}

/// The table: each route, each asker, each of what is not theirs.
#[tokio::test]
async fn q1_no_route_gives_or_changes_what_is_anothers_and_each_try_is_written_down() {
    let demo = Server::demo(&[]).await;
    let ids = async |userid: &str| id_of(&demo, userid).await;
    let (trader, admin) = (ids("trader@north.example").await, ids("admin@north.example").await);
    let (joiner, desk) = (ids("joiner@north.example").await, ids("desk").await);
    let (own, nobody) = (ids("trader@south.example").await, "p00000000deadbeef".to_owned());
    let program = ids("web-backend").await;

    // Whose sessions and connections nobody else ends.
    let victim = demo.trader().await;
    let mut at_home = demo.signed_in(&victim).await;
    demo.signed_in(&victim).await;
    let mut open = demo.connect(source()).await;
    open.challenge().await;
    assert_eq!(open.login(&victim.userid, &victim.password, None).await["result"], "OK");
    let account = at_home.get("/account").await;
    let [session, connection] = ["session", "connection"].map(|name| account.input(name).unwrap());

    let foreign = demo.signed_in(&demo.sample("admin@south.example")).await;
    let mut trading = Asker::new("a trader", demo.signed_in(&demo.trader().await).await).await;
    let mut powerless = Asker::new("an administrator without rights", without_rights(&demo).await).await;
    let mut at_desk = Asker::new("the desk", demo.signed_in(&demo.sample("desk")).await).await;
    let mut foreign = Asker::new("another firm's administrator", foreign).await;
    let mut stranger = Asker::new("a stranger", demo.browser()).await;
    let before = everything(&demo).await;

    for path in paths_of(|of| of != Of::Anybody, &trader) {
        for method in ["GET", "POST"] {
            let page = stranger.ask(method, &path, &[]).await;
            let to_sign_in = page.status == 303 && page.location().starts_with("/signin");
            assert!(to_sign_in || page.status == 405, "{method} {path} by a stranger: {page:?}");
        }
    }
    for path in paths_of(|of| of == Of::Anybody, "") {
        for method in ["GET", "POST"] {
            let page = stranger.ask(method, &path, &[]).await;
            let what = format!("{method} {path} by a stranger: {page:?}");
            assert!([200, 303, 404, 405, 409, 422].contains(&page.status), "{what}");
            assert!(page.status != 303 || ["/signin", "/claim"].contains(&page.location()), "{what}");
        }
    }
    for path in paths_of(|of| matches!(of, Of::Console | Of::Person | Of::Desk), &trader) {
        trading.is_refused(&path, 404).await;
    }
    for path in paths_of(|of| of == Of::Program, &program) {
        trading.is_refused(&path, 404).await;
    }
    for id in [&trader, &admin, &joiner, &desk, &nobody, &program] {
        for path in paths_of(|of| matches!(of, Of::Person | Of::Program), id) {
            foreign.is_refused(&path, 404).await;
            powerless.is_refused(&path, 404).await;
        }
    }
    // The desk serves administrators and operators, and firms their traders.
    for id in [&trader, &joiner, &own, &nobody] {
        for path in paths_of(|of| matches!(of, Of::Person | Of::Program), id) {
            at_desk.is_refused(&path, 404).await;
        }
    }
    // Of the own firm: there, but not for whoever was given no right.
    for path in paths_of(|of| of == Of::Person, &own) {
        powerless.is_refused(&path, 403).await;
    }
    for path in paths_of(|of| of == Of::Desk, "") {
        foreign.is_refused(&path, 404).await;
    }
    let recorded = refused_from(&demo).await;
    let all = [&trading, &powerless, &at_desk, &foreign];
    for (from, what) in all.iter().flat_map(|asker| &asker.refused) {
        assert!(recorded.contains(from), "not written down: {what}");
    }
    assert!(all.iter().all(|asker| asker.refused.len() > 20));

    // Lists show what is one's own.
    for path in [
        "/console",
        "/console/people",
        "/console/people?kind=desk",
        "/console/people?firm=NORTH",
        "/console/people/new",
        "/console/people/new?kind=administrator&firm=NORTH",
        "/console/events",
        "/console/events?attempts=1",
        "/console/events?firm=NORTH",
        "/console/events/new?after=0",
        "/console/events/new?after=0&firm=NORTH",
        "/console/mails",
    ] {
        let page = foreign.ask("GET", path, &[]).await;
        let is_narrowed = path.contains("firm=") || path.contains("kind=");
        assert!(page.status == 200 || (is_narrowed && page.status == 404), "{path}: {page:?}");
        assert!(is_narrowed || page.body.contains("south.example"), "{path}: {page:?}");
        assert!(!page.body.contains("north.example") && !page.body.contains("Northwind"), "{path}: {page:?}");
        let page = powerless.ask("GET", path, &[]).await;
        assert!([200, 403, 404].contains(&page.status), "{path}: {page:?}");
        assert!(!page.body.contains("trader@"), "{path}: {page:?}");
    }
    for query in [format!("person={trader}"), format!("person={desk}"), format!("person={nobody}")] {
        assert_eq!(foreign.ask("GET", &format!("/console/events?{query}"), &[]).await.status, 404, "{query}");
    }
    for query in ["user=trader%40north.example", "user=desk"] {
        let page = foreign.ask("GET", &format!("/console/events?{query}"), &[]).await;
        assert!(!page.body.contains("<td"), "{query}: {page:?}");
    }
    // What a form names of another firm is not there either, whatever else it says.
    let mail = mail_to(&demo, "joiner@north.example");
    for (path, more) in
        [("/console/people/send-links", ("", "")), ("/console/mails/again", ("mail", mail.as_str()))]
    {
        for asker in [&mut foreign, &mut powerless] {
            let page = asker.ask("POST", path, &[more]).await;
            assert_eq!(page.status, 404, "{path} by {}: {page:?}", asker.name);
        }
    }
    let page = powerless.ask("POST", "/console/people/new", &[]).await;
    assert!([403, 404, 422].contains(&page.status), "{page:?}");
    let recorded = refused_from(&demo).await;
    for asker in [&foreign, &powerless] {
        let (from, what) = asker.refused.iter().rfind(|(_, what)| what.contains("/mails/again")).unwrap();
        assert!(recorded.contains(from), "not written down: {what}");
    }

    // What is one's own has a number; of somebody else it is none.
    for asker in [&mut trading, &mut powerless, &mut at_desk, &mut foreign] {
        for (path, of) in PATHS {
            let Of::Oneself(field) = of else { continue };
            let number = if *field == "session" { session } else { connection };
            if !field.is_empty() {
                let page = asker.ask("POST", path, &[(field, number)]).await;
                assert_eq!(page.status, 404, "{path} by {}: {page:?}", asker.name);
            }
        }
        assert!(asker.browser.is_in().await);
    }
    assert_eq!(everything(&demo).await, before);
    assert!(at_home.is_in().await);
    assert_eq!(open.ask(json!({"type": "ping"})).await["result"], "OK");

    // And all of it would have been found.
    assert_eq!(foreign.ask("GET", &format!("/console/people/{own}"), &[]).await.status, 200);
    let ended = at_home.post("/account/connections/end", &[("connection", connection)]).await;
    assert_eq!(ended.status, 303);
    let own_steps = STEPS.iter().map(|step| format!("/console/people/{own}/{step}"));
    for path in own_steps {
        assert_eq!(foreign.ask("GET", &path, &[]).await.status, 200, "{path}");
    }
    // Somebody new is of the adder's own firm, whatever firm the form names.
    foreign.ask("POST", "/console/people/new", &[]).await;
    let added = demo.api().get("/api/v1/people/mallory").await;
    assert!(added.is_err() || added.unwrap()["firm"] == "SOUTH");
    let unlocked = foreign.ask("POST", &format!("/console/people/{own}/email"), &[]).await;
    assert_eq!(unlocked.status, 303, "{unlocked:?}");
    assert_ne!(everything(&demo).await, before);
}
