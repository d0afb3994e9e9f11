//! Setup links and fresh one-time passwords, from the console's form to the mailed link and back: real node, real
//! mailbox.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use serde_json::{Value, json};
use support::web::{Browser, Page};
use support::{Server, User, shared_demo, until};

/// Somebody's initial password, as the console showed it, and who it is.
struct Newcomer {
    userid: String,
    id: String,
    password: String,
}

/// A firm's administrator at work.
struct Desk<'a> {
    demo: &'a Server,
    browser: Browser,
}

impl<'a> Desk<'a> {
    async fn new(demo: &'a Server) -> Self {
        Self { demo, browser: demo.signed_in(&demo.sample("admin@north.example")).await }
    }

    /// Adds a trader whose address is their name.
    async fn newcomer(&mut self, userid: &str) -> Newcomer {
        let fields = [("userid", userid), ("email", userid), ("kind", "trader"), ("auth_system", "otp")];
        let page = self.browser.post("/console/people/new", &fields).await;
        let password = page.element("the-password").unwrap_or_else(|| panic!("{page:?}")).to_owned();
        let path = format!("/api/v1/people/{}", userid.replace('@', "%40"));
        let id = self.demo.api().get(&path).await.unwrap()["id"].as_str().unwrap().to_owned();
        Newcomer { userid: userid.to_owned(), id, password }
    }

    async fn step(&mut self, who: &Newcomer, step: &str, more: &[(&str, &str)]) -> Page {
        let mut fields = vec![("reason", "asked for by telephone")];
        fields.extend(more);
        self.browser.post(&format!("/console/people/{}/{step}", who.id), &fields).await
    }

    async fn done(&mut self, who: &Newcomer, step: &str, more: &[(&str, &str)]) {
        let page = self.step(who, step, more).await;
        assert!([200, 303].contains(&page.status), "{step}: {page:?}");
    }

    /// Mails a link; its token, as it came.
    async fn mailed(&mut self, who: &Newcomer) -> String {
        let before = tokens(self.demo, &who.userid);
        self.done(who, "send-link", &[]).await;
        until("the mail", async || {
            tokens(self.demo, &who.userid).into_iter().find(|token| !before.contains(token))
        })
        .await
    }
}

/// Tokens of all links that were mailed to an address.
fn tokens(demo: &Server, to: &str) -> Vec<String> {
    let files = std::fs::read_dir(demo.ready["mailbox"].as_str().unwrap()).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap_or_default());
    let texts = texts.filter(|text| text.contains(&format!("To: {to}\r\n")));
    let token = |text: String| {
        let text = text.replace("=\r\n", "");
        let rest = text.split_once("/setup#")?.1.to_owned();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_')?;
        Some(rest[..end].to_owned())
    };
    texts.filter_map(token).collect()
}

/// Sends the form of the setup link from a browser that has never been there.
async fn set_up(demo: &Server, token: &str, userid: &str, password: &str) -> Page {
    let fields = [("userid", userid), ("link", token)];
    demo.browser().post_secret("/setup", userid, &[("password", password)], &fields).await
}

/// Whether a link goes on with the right name and password; it is not used up by that.
async fn works(demo: &Server, token: &str, who: &Newcomer) -> bool {
    let page = set_up(demo, token, &who.userid, &who.password).await;
    assert!(page.status == 422 || page.location() == "/register", "{page:?}");
    page.status == 303
}

/// The newest entry of an event about somebody.
async fn last(demo: &Server, event: &str, who: &Newcomer) -> Value {
    let entries = demo.audit(&format!("event={event}&userid={}", who.userid)).await;
    entries.into_iter().next().unwrap_or_else(|| panic!("no {event}"))
}

#[tokio::test]
async fn k2_k3_looking_never_uses_a_link_and_every_step_that_replaces_it_takes_it_back() {
    let demo = Server::demo(&[]).await;
    let mut desk = Desk::new(&demo).await;
    let who = desk.newcomer("uma@north.example").await;
    let first = desk.mailed(&who).await;
    // What a mail scanner does with it.
    for method in ["GET", "HEAD", "OPTIONS", "GET"] {
        let path = format!("/setup?link={first}");
        demo.browser().request(method, &path, &[("user-agent", "mail scanner")], "").await;
    }
    assert!(works(&demo, &first, &who).await);
    assert!(works(&demo, &first, &who).await, "whoever closes the page half-way comes back");
    let second = desk.mailed(&who).await;
    assert!(!works(&demo, &first, &who).await && works(&demo, &second, &who).await, "one live link");
    let entry = last(&demo, "link-made", &who).await;
    assert_eq!(
        (&entry["actor"]["userid"], &entry["door"]),
        (&json!("admin@north.example"), &json!("console"))
    );

    for step in ["revoke-link", "email", "disable", "reset-all"] {
        demo.advance(3_600).await;
        let token = desk.mailed(&who).await;
        assert!(works(&demo, &token, &who).await, "{step}");
        if step == "reset-all" {
            let page = desk.step(&who, step, &[]).await;
            let password = page.element("the-password").unwrap().to_owned();
            assert!(!works(&demo, &token, &Newcomer { password, ..desk_copy(&who) }).await, "{step}");
            continue;
        }
        desk.done(&who, step, &[("email", "uma.new@north.example")]).await;
        if step == "disable" {
            desk.done(&who, "enable", &[]).await;
        }
        assert!(!works(&demo, &token, &who).await, "{step}");
        if step == "email" {
            desk.done(&who, "email", &[("email", &who.userid)]).await;
        }
    }
}

fn desk_copy(who: &Newcomer) -> Newcomer {
    Newcomer { userid: who.userid.clone(), id: who.id.clone(), password: who.password.clone() }
}

#[tokio::test]
async fn k5_k7_a_link_lasts_as_long_as_the_desk_says_and_there_are_five_an_hour() {
    let demo = Server::demo(&[]).await;
    let mut desk = Desk::new(&demo).await;
    demo.set_policy("/api/v1/firms/NORTH/policy", &json!({"setup_link_min": 15})).await;
    let who = desk.newcomer("vic@north.example").await;
    let token = desk.mailed(&who).await;
    demo.advance(14 * 60).await;
    assert!(works(&demo, &token, &who).await);
    demo.advance(61).await;
    assert!(!works(&demo, &token, &who).await);
    let expired = until("the record of its end", async || {
        let entries = demo.audit(&format!("event=link-expired&userid={}", who.userid)).await;
        (!entries.is_empty()).then_some(entries)
    })
    .await;
    assert_eq!(expired.len(), 1, "{expired:?}");
    demo.advance(3_600).await;
    for _ in 0..5 {
        desk.mailed(&who).await;
    }
    let sixth = desk.step(&who, "send-link", &[]).await;
    assert_eq!(sixth.status, 422, "{sixth:?}");
    assert_eq!(last(&demo, "link-refused", &who).await["reason"], "links-used-up");
    demo.advance(3_600).await;
    assert!(works(&demo, &desk.mailed(&who).await, &who).await);
    assert_eq!(demo.audit(&format!("event=link-expired&userid={}", who.userid)).await.len(), 1 + 1);
}

#[tokio::test]
async fn k6_a_link_is_shown_where_the_desk_lets_it_and_who_saw_it_is_written_down() {
    let demo = Server::demo(&[]).await;
    let mut desk = Desk::new(&demo).await;
    let who = desk.newcomer("wim@north.example").await;
    let refused = desk.step(&who, "show-link", &[]).await;
    assert!(refused.status == 422 && refused.element("the-link").is_none(), "{refused:?}");
    demo.set_policy("/api/v1/firms/NORTH/policy", &json!({"show_setup_link": true, "split_handover": true}))
        .await;
    let refused = desk.step(&who, "show-link", &[]).await;
    assert!(
        refused.status == 422 && refused.element("the-link").is_none(),
        "who saw the password: {refused:?}"
    );
    demo.set_policy("/api/v1/firms/NORTH/policy", &json!({"split_handover": false})).await;
    let shown = desk.step(&who, "show-link", &[]).await;
    let token = shown.element("the-link").unwrap().split_once("/setup#").unwrap().1.to_owned();
    assert!(works(&demo, &token, &who).await);
    let entry = last(&demo, "link-made", &who).await;
    assert_eq!(entry["actor"]["userid"], "admin@north.example", "{entry}");
    assert!(entry["detail"].as_str().unwrap().contains("shown"), "{entry}");
    assert!(entry["detail"].as_str().unwrap().contains("asked for by telephone"), "{entry}");
    assert!(!entry.to_string().contains(&token));
    assert!(tokens(&demo, &who.userid).is_empty(), "it is not mailed as well");
}

#[tokio::test]
async fn k4_k8_the_link_alone_gives_nothing_and_five_wrong_passwords_take_it_back() {
    let demo = shared_demo().await;
    let mut desk = Desk::new(demo).await;
    let who = desk.newcomer("xia@north.example").await;
    let token = desk.mailed(&who).await;
    let mut pages = Vec::new();
    for (token, userid, password) in [
        (token.as_str(), who.userid.as_str(), "a guess like any other"),
        ("b3BlbiBzZXNhbWUsIHBsZWFzZSBk", who.userid.as_str(), who.password.as_str()),
        (token.as_str(), "trader@south.example", who.password.as_str()),
        (token.as_str(), "nobody@north.example", who.password.as_str()),
        ("", who.userid.as_str(), who.password.as_str()),
    ] {
        let before = demo.hashes().await;
        let page = set_up(demo, token, userid, password).await;
        assert!(page.status == 422 && page.seed().is_none(), "{page:?}");
        assert!(demo.hashes().await > before, "the same work");
        let csrf = page.input("csrf").unwrap().to_owned();
        let plain = page.body.replace(&csrf, "").replace(&format!("value=\"{userid}\""), "value=\"\"");
        pages.push(plain.replace(&format!("value=\"{token}\""), "value=\"\""));
    }
    assert!(pages.windows(2).all(|two| two[0] == two[1]), "{pages:#?}");
    // Three of these were with the link itself.
    assert!(works(demo, &token, &who).await);
    for n in 0..2 {
        let guess = format!("another guess, number {n}");
        assert_eq!(set_up(demo, &token, &who.userid, &guess).await.status, 422);
    }
    assert!(!works(demo, &token, &who).await);
    assert!(demo.known(&user(&who)).await["attempts"]["wrong"].as_u64().unwrap() > 0, "S5");
    let another = desk.mailed(&who).await;
    assert!(works(demo, &another, &who).await, "another link is good");
}

fn user(who: &Newcomer) -> User {
    User { userid: who.userid.clone(), password: who.password.clone(), seed: None }
}

/// An administrator who came in by a recovery code has proved no fresh one-time password.
#[tokio::test]
async fn q2_t14_t16_dangerous_steps_ask_for_a_fresh_code_and_a_recovery_code_is_none() {
    let demo = Server::demo(&[]).await;
    let admin = demo.sample("admin@north.example");
    let target = demo.registered().await;
    let mut first = demo.signed_in(&admin).await;
    let codes = first.post("/account/recovery-codes", &[]).await.recovery_codes();
    assert_eq!(codes.len(), 10);
    let mut browser = demo.browser();
    for status in [303, 422] {
        browser = demo.browser();
        assert_eq!(browser.password(&admin.userid, &admin.password).await.location(), "/signin/code");
        let page = browser.post("/signin/recovery", &[("code", &codes[0])]).await;
        assert_eq!(page.status, status, "each once: {page:?}");
        if status == 303 {
            first = browser.clone();
        }
    }
    drop(browser);
    let mut browser = first;
    let before = demo.known(&target).await;
    let id = before["id"].as_str().unwrap().to_owned();
    let own = demo.known(&admin).await["id"].as_str().unwrap().to_owned();
    let dangerous =
        ["reset-authenticator", "reset-all", "disable", "unlock", "use-password", "show-link", "enable"];
    for step in dangerous {
        let path = format!("/console/people/{id}/{step}");
        for fields in [&[("reason", "a drill")][..], &[("reason", "a drill"), ("code", "123456")], &[]] {
            let page = browser.post(&path, fields).await;
            assert!([403, 422].contains(&page.status), "{step} {fields:?}: {page:?}");
            if fields.len() == 2 {
                demo.unlock(&admin).await;
            }
        }
    }
    assert_eq!(demo.known(&target).await, before);
    assert_eq!(browser.post("/account/recovery-codes", &[]).await.status, 422);
    // A fresh one in the form is as good; the cookie is a new one (S6).
    demo.advance(30).await;
    let code = admin.code_of(&demo).await;
    let old = browser.cookie.clone();
    let fields = [("reason", "a drill"), ("code", code.as_str())];
    let page = browser.post(&format!("/console/people/{id}/reset-authenticator"), &fields).await;
    assert_eq!(page.status, 303, "{page:?}");
    assert_ne!(browser.cookie, old);
    assert_eq!(demo.known(&target).await["authenticator"]["state"], "revoked");
    // Nobody does it to themselves.
    let before = demo.known(&admin).await;
    for step in dangerous.into_iter().chain(["rights", "notices", "use-codes"]) {
        let fields = [("reason", "a drill"), ("box", "edit-people")];
        let page = browser.post(&format!("/console/people/{own}/{step}"), &fields).await;
        assert!([403, 422].contains(&page.status), "{step}: {page:?}");
    }
    assert_eq!(demo.known(&admin).await, before);
}
