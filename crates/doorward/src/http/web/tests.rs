//! Rules of the pages, each by its id, over a real listener.

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse as _;
use axum::routing::post;
use doorward_core::ask::{Ask, Encrypted, GivenPassword, KeyId, Padding, Verdict};
use doorward_core::audit::{Actor, Deny, Door, Event};
use doorward_core::id::{FirmCode, UserId};
use doorward_core::identity::decide::person::Edit;
use doorward_core::identity::net::Network;
use doorward_core::identity::person::{Grant, Kind, Profile, Standing};
use doorward_core::identity::policy::AuthSystem;
use doorward_core::limits::Limit;
use hyper::header::{CONTENT_TYPE, COOKIE, HOST, ORIGIN};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::WebState;
use super::asking::{OnConsole, SignedIn, Watching};
use super::form::Form;
use super::reply::{Answer, Oops, go};
use super::testing::{Seen, Served, Tab, borrowed, encoded, request, sealed, served, served_as, served_with};
use super::tokens::tag;
use super::visit::Visit;
use crate::doors::admission::raise_descriptors;
use crate::gate::admin::{NewPassword, NewPerson};
use crate::gate::testing::{GOOD, TEST_MAX, secret};

/// The one text for whoever is not let in.
const REFUSED: &str = "User name or password are not right";

async fn with_julian(auth_system: AuthSystem) -> Served {
    let served = served().await;
    served.world.person("julian", auth_system, false).await;
    served
}

/// A tab in which Julian is signed in by his password alone.
async fn signed_in(served: &Served) -> Tab {
    let mut tab = served.tab();
    assert_eq!(tab.sign_in("julian", GOOD).await.location(), "/account");
    tab
}

async fn is_signed_in(tab: &Tab) -> bool {
    tab.clone().get("/account").await.status == 200
}

#[tokio::test]
async fn s6_signing_in_gives_a_new_token_in_a_cookie_that_only_our_pages_bring() {
    let served = with_julian(AuthSystem::Password).await;
    let mut tab = served.tab();
    let first = tab.get("/signin").await;
    let set = first.field("set-cookie").unwrap().to_owned();
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{set}");
    let stranger = tab.cookie.clone();
    assert!(tab.get("/signin").await.field("set-cookie").is_none(), "a cookie that is there is kept");
    let seen = tab.sign_in("julian", GOOD).await;
    assert_eq!(seen.location(), "/account");
    assert_ne!(tab.cookie, stranger);
    assert!(is_signed_in(&tab).await);
    let mut before = served.tab();
    before.cookie = stranger;
    assert_eq!(before.get("/account").await.location(), "/signin?next=%2Faccount");
    let page = tab.get("/account").await.body;
    assert!(
        page.contains("<b>julian</b>") && page.contains("ACME") && page.contains("This browser"),
        "{page}"
    );
    served.stop().await;
}

#[tokio::test]
async fn s6_where_browsers_reach_us_by_tls_the_cookie_is_a_secure_host_cookie() {
    let served = served_as(Router::new(), Some("https://portal.example.com")).await;
    let mut tab = served.tab();
    let asked = |host: &str| request("GET", "/signin").header(HOST, host).body(String::new()).unwrap();
    let seen = tab.send(asked("portal.example.com")).await;
    let set = seen.field("set-cookie").unwrap().to_owned();
    assert!(set.starts_with("__Host-doorward="), "{set}");
    assert!(set.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"), "{set}");
    assert_eq!(seen.field("strict-transport-security"), Some("max-age=31536000"));
    // A plain cookie, which a neighbour could have planted, is not looked at.
    tab.cookie = Some(set["__Host-doorward=".len()..].split(';').next().unwrap().to_owned());
    assert!(tab.send(asked("portal.example.com")).await.field("set-cookie").is_some());
    served.stop().await;
}

#[tokio::test]
async fn s6_session_fixation_a_planted_cookie_is_nobodys_session_afterwards() {
    let served = with_julian(AuthSystem::Password).await;
    let mut attacker = served.tab();
    attacker.get("/signin").await;
    let mut victim = served.tab();
    victim.cookie = attacker.cookie.clone();
    victim.sign_in("julian", GOOD).await.location();
    assert!(is_signed_in(&victim).await && !is_signed_in(&attacker).await);
    // Two cookies of one name, as a neighbour could plant one: neither is believed.
    let both =
        format!("dw_session={}; dw_session={}", attacker.cookie.unwrap(), victim.cookie.clone().unwrap());
    let twice = request("GET", "/account").header(COOKIE, both).body(String::new()).unwrap();
    assert_eq!(served.tab().send(twice).await.status, 303);
    served.stop().await;
}

#[tokio::test]
async fn s6_signing_in_anew_ends_the_session_before() {
    let served = with_julian(AuthSystem::Password).await;
    let mut tab = signed_in(&served).await;
    let before = tab.clone();
    // The sign-in page sends whoever is signed in on; a form that was open before is still taken.
    assert_eq!(tab.get("/signin").await.location(), "/account");
    assert_eq!(tab.sign_in("julian", GOOD).await.location(), "/account");
    assert!(is_signed_in(&tab).await && !is_signed_in(&before).await);
    assert!(served.world.entries(4).iter().any(|entry| entry.reason == Some(Deny::SessionSuperseded)));
    served.stop().await;
}

#[tokio::test]
async fn s1_whoever_is_not_let_in_sees_one_page() {
    let served = with_julian(AuthSystem::Password).await;
    served.world.person("gone", AuthSystem::Password, false).await;
    let gone = Edit { standing: Some(Standing::Disabled), ..Edit::default() };
    served.world.gate.edit_person(&UserId::parse("gone").unwrap(), gone, &Actor::Node).await.unwrap();
    program(&served).await;
    let page = |seen: Seen, userid: &str| {
        assert_eq!(seen.status, 422, "{userid}");
        assert!(seen.body.contains(REFUSED), "{}", seen.body);
        let csrf = seen.input("csrf").to_owned();
        seen.body.replace(&csrf, "").replace(userid, "")
    };
    let mut pages = Vec::new();
    for (userid, password, reason) in [
        ("julian", "not the password", Deny::WrongPassword),
        ("nobody", GOOD, Deny::UnknownUser),
        ("gone", GOOD, Deny::Disabled),
        ("program", GOOD, Deny::WrongKind),
    ] {
        let seen = served.tab().sign_in(userid, password).await;
        let entry = served.world.entries(1).remove(0);
        assert_eq!((entry.reason, entry.door), (Some(reason), Door::Portal));
        pages.push(page(seen, userid));
    }
    let mut tab = served.tab();
    let mut fields = tab.envelope("/signin", "julian", "password", GOOD).await;
    fields[2].1 = "no base64".to_owned();
    fields.push(("userid".to_owned(), "julian".to_owned()));
    pages.push(page(tab.post_bare("/signin", &borrowed(&fields)).await, "julian"));
    assert_eq!(served.world.entries(1)[0].reason, Some(Deny::BadCiphertext));
    assert!(pages.windows(2).all(|two| two[0] == two[1]), "{pages:#?}");
    served.stop().await;
}

/// A service user who may come from anywhere.
async fn program(served: &Served) {
    let grant = Grant {
        firms: [FirmCode::parse("ACME").unwrap()].into(),
        sources: vec![Network::parse("127.0.0.0/8").unwrap()],
        ..Grant::default()
    };
    let new = NewPerson {
        userid: UserId::parse("program").unwrap(),
        kind: Kind::Service,
        firm: None,
        auth_system: None,
        password: NewPassword::Clear(secret(GOOD)),
        initial: false,
        profile: Profile { grant: Some(grant), ..Profile::default() },
    };
    served.world.gate.add_person(new, Actor::Node).await.unwrap();
}

/// Posts a ciphertext to the sign-in page and tells why it was refused.
async fn refused_for(served: &Served, tab: &mut Tab, fields: &[(&str, &str)]) -> Option<Deny> {
    let seen = tab.post_bare("/signin", fields).await;
    assert_eq!(seen.status, 422, "{}", seen.body);
    served.world.entries(1)[0].reason
}

#[tokio::test]
async fn e8_a_password_for_another_action_visitor_user_or_door_is_a_bad_ciphertext() {
    let served = with_julian(AuthSystem::Password).await;
    served.world.person("jane", AuthSystem::Password, false).await;
    let mut tab = served.tab();
    let here = tab.challenge("/signin").await;
    let there = tab.challenge("/password").await;
    let other = served.tab().challenge("/signin").await;
    let [nonce, of_other_page, of_other_visitor] =
        [&here, &there, &other].map(|challenge| challenge["nonce"].as_str().unwrap().to_owned());
    let sign_in = tag("/signin", "julian");
    for (label, plain) in [
        ("portal", format!("{of_other_page}{sign_in}{GOOD}")),
        ("portal", format!("{of_other_visitor}{sign_in}{GOOD}")),
        ("portal", format!("{nonce}{}{GOOD}", tag("/password", "julian"))),
        ("portal", format!("{nonce}{}{GOOD}", tag("/signin", "jane"))),
        ("portal", GOOD.to_owned()),
        ("portal", String::new()),
        ("", format!("{nonce}{sign_in}{GOOD}")),
        ("api", format!("{nonce}{sign_in}{GOOD}")),
    ] {
        let ciphertext = sealed(&here, label.as_bytes(), &plain);
        let fields = [
            ("csrf", here["csrf"].as_str().unwrap()),
            ("keyid", here["keyid"].as_str().unwrap()),
            ("userid", "julian"),
            ("password.ciphertext", &ciphertext),
        ];
        assert_eq!(refused_for(&served, &mut tab, &fields).await, Some(Deny::BadCiphertext), "{plain}");
        // Wrong ones count; the source is let off for the next.
        served.world.gate.unlock(&UserId::parse("julian").unwrap(), Actor::Node).await.unwrap();
    }
    assert_eq!(tab.sign_in("julian", GOOD).await.location(), "/account");
    served.stop().await;
}

#[tokio::test]
async fn e8_what_a_page_encrypted_opens_at_no_other_door_and_e4_counts_once() {
    let served = with_julian(AuthSystem::Password).await;
    let mut tab = served.tab();
    let fields = tab.envelope("/signin", "julian", "password", GOOD).await;
    let key = KeyId::parse(&fields[1].1).unwrap();
    let ciphertext = data_encoding::BASE64.decode(fields[2].1.as_bytes()).unwrap();
    let password = GivenPassword::Encrypted(Encrypted { key, padding: Padding::OaepSha256, ciphertext });
    let ask = Ask::Login { userid: "julian".to_owned(), password, code: None };
    assert_eq!(served.world.ask(9, ask).await, Verdict::Refused);
    let mut once = tab.envelope("/signin", "julian", "password", GOOD).await;
    once.push(("userid".to_owned(), "julian".to_owned()));
    let visitor = tab.clone();
    assert_eq!(tab.post_bare("/signin", &borrowed(&once)).await.location(), "/account");
    let reason = refused_for(&served, &mut visitor.clone(), &borrowed(&once)).await;
    assert_eq!(reason, Some(Deny::ReplayedCiphertext));
    served.stop().await;
}

#[tokio::test]
async fn a_key_that_is_gone_is_told_to_the_script_and_counts_nothing() {
    let served = with_julian(AuthSystem::Password).await;
    let mut tab = served.tab();
    let mut fields = tab.envelope("/signin", "julian", "password", GOOD).await;
    fields[1].1 = "gone".to_owned();
    fields.push(("userid".to_owned(), "julian".to_owned()));
    let seen = tab.post_bare("/signin", &borrowed(&fields)).await;
    assert_eq!((seen.status, seen.field("dw-challenge")), (409, Some("gone")));
    let without = tab.post("/signin", &[("userid", "julian"), ("password", GOOD)]).await;
    assert_eq!(without.status, 422, "a password in clear is not even looked at");
    assert!(without.body.contains("JavaScript"), "{}", without.body);
    served.stop().await;
}

#[tokio::test]
async fn csrf_a_form_without_the_visitors_token_does_nothing() {
    let served = with_julian(AuthSystem::Password).await;
    let mut tab = signed_in(&served).await;
    let mut other = served.tab();
    let others = other.challenge("/signout").await["csrf"].as_str().unwrap().to_owned();
    for fields in [&[][..], &[("csrf", "")], &[("csrf", "AAAA")], &[("csrf", others.as_str())]] {
        let seen = tab.post_bare("/signout", fields).await;
        assert_eq!(seen.status, 403, "{fields:?}");
        assert!(seen.body.contains("out of date"), "{}", seen.body);
        assert!(is_signed_in(&tab).await);
    }
    assert_eq!(tab.get("/signout").await.status, 405, "no link signs anybody out");
    let before = tab.clone();
    assert_eq!(tab.post("/signout", &[]).await.location(), "/signin?out=1");
    assert!(!is_signed_in(&before).await && !is_signed_in(&tab).await);
    let entry = served.world.entries(1).remove(0);
    assert_eq!((entry.event, entry.reason, entry.door), (Event::LoggedOut, None, Door::Portal));
    assert!(tab.get("/signin?out=1").await.body.contains("You are signed out."));
    served.stop().await;
}

#[tokio::test]
async fn s13_only_a_page_of_our_own_origin_posts() {
    let served = with_julian(AuthSystem::Password).await;
    let tab = signed_in(&served).await;
    let csrf = tab.clone().challenge("/signout").await["csrf"].as_str().unwrap().to_owned();
    let own = format!("http://{}", served.at);
    let port = format!("http://127.0.0.1:{}", served.at.port() ^ 1);
    let cases: [(Option<&str>, Option<&str>); 9] = [
        (None, None),
        (None, Some("same-origin")),
        (Some("null"), None),
        (Some("https://evil.test"), None),
        (Some(&port), None),
        (Some("https://evil.test"), Some("same-origin")),
        (Some(&own), Some("cross-site")),
        (Some(&own), Some("same-site")),
        (Some("null"), Some("none")),
    ];
    for (origin, fetch_site) in cases {
        let mut post = request("POST", "/signout").header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(origin) = origin {
            post = post.header(ORIGIN, origin);
        }
        if let Some(site) = fetch_site {
            post = post.header("sec-fetch-site", site);
        }
        let post = post.body(encoded(&[("csrf", csrf.as_str())])).unwrap();
        assert_eq!(tab.clone().send(post).await.status, 403, "{origin:?} {fetch_site:?}");
        assert!(is_signed_in(&tab).await);
    }
    // A browser's form: our pages send no Referer, so its origin is null.
    let post = request("POST", "/signout")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ORIGIN, "null")
        .header("sec-fetch-site", "same-origin")
        .body(encoded(&[("csrf", csrf.as_str())]));
    assert_eq!(tab.clone().send(post.unwrap()).await.status, 303);
    served.stop().await;
}

#[tokio::test]
async fn s13_a_host_that_is_not_ours_is_refused_and_never_repeated() {
    let served = served().await;
    for host in ["evil.test", "rebound.example:80", "127.0.0.1.evil.test", "", "a b"] {
        let asked = request("GET", "/signin").header(HOST, host).body(String::new()).unwrap();
        let seen = served.tab().send(asked).await;
        assert_eq!(seen.status, 403, "{host:?}");
        assert!(seen.field("set-cookie").is_none());
        assert!(host.is_empty() || !seen.body.contains(host), "{host:?}");
    }
    let twice = request("GET", "/signin").header(HOST, served.at.to_string()).header(HOST, "evil.test");
    assert_ne!(served.tab().send(twice.body(String::new()).unwrap()).await.status, 200);
    let whole = request("GET", "http://evil.test/signin").body(String::new()).unwrap();
    assert_eq!(served.tab().send(whole).await.status, 403, "an absolute target names another host");
    let forwarded = request("GET", "/").header("x-forwarded-host", "evil.test").body(String::new()).unwrap();
    assert_eq!(served.tab().send(forwarded).await.location(), "/signin");
    let local = request("GET", "/signin").header(HOST, format!("localhost:{}", served.at.port()));
    assert_eq!(served.tab().send(local.body(String::new()).unwrap()).await.status, 200);
    served.stop().await;
}

#[tokio::test]
async fn clickjacking_every_answer_forbids_frames_sniffing_and_foreign_content() {
    let served = served().await;
    let css = super::assets::paths().css.clone();
    for path in
        ["/", "/signin", "/nothing", "/account", "/challenge?page=/signin", "/challenge", css.as_str()]
    {
        let seen = served.tab().get(path).await;
        let policy = seen.field("content-security-policy").unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(seen.field("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(seen.field("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(seen.field("referrer-policy"), Some("no-referrer"), "{path}");
        assert!(seen.field("permissions-policy").is_some(), "{path}");
        let cached = seen.field("cache-control").unwrap();
        assert_eq!(cached.contains("no-store"), !path.starts_with("/assets/"), "{path}: {cached}");
        // Nothing inline that the policy would forbid.
        for inline in [" style=", "<style", " onclick=", " onsubmit=", "javascript:", "<script>"] {
            assert!(path.starts_with("/assets/") || !seen.body.contains(inline), "{path}: {inline}");
        }
    }
    served.stop().await;
}

#[tokio::test]
async fn open_redirect_signing_in_leads_to_a_path_of_ours_only() {
    let served = with_julian(AuthSystem::Password).await;
    for (next, to) in [
        ("/account?x=1", "/account?x=1"),
        ("//evil.test/", "/account"),
        ("https://evil.test/", "/account"),
        ("/\\evil.test", "/account"),
        ("/%0d%0aset-cookie:x=1", "/%0d%0aset-cookie:x=1"),
        ("/\r\nset-cookie: x=1", "/account"),
    ] {
        let mut tab = served.tab();
        let query = encoded(&[("next", next)]);
        let page = tab.get(&format!("/signin?{query}")).await;
        let kept = page.input("next").to_owned();
        assert_eq!(kept.is_empty(), to == "/account", "{next:?}");
        let mut fields = tab.envelope("/signin", "julian", "password", GOOD).await;
        fields.extend([("userid".to_owned(), "julian".to_owned()), ("next".to_owned(), next.to_owned())]);
        let seen = tab.post_bare("/signin", &borrowed(&fields)).await;
        assert_eq!(seen.location(), to, "{next:?}");
        assert_eq!(seen.headers.get_all("set-cookie").iter().count(), 1);
    }
    served.stop().await;
}

#[tokio::test]
async fn l1_a_form_has_64_kib_and_512_fields_and_no_more() {
    let served = with_julian(AuthSystem::Password).await;
    let mut tab = signed_in(&served).await;
    let max = usize::try_from(Limit::WebBodyBytes.max()).unwrap();
    let csrf = tab.challenge("/signout").await["csrf"].as_str().unwrap().to_owned();
    let filled = |bytes: usize| {
        let begin = format!("csrf={csrf}&a=");
        format!("{begin}{}", "x".repeat(bytes - begin.len()))
    };
    let mut send = async |path: &str, kind: &str, body: String| {
        let post = request("POST", path)
            .header(ORIGIN, format!("http://{}", served.at))
            .header(CONTENT_TYPE, kind)
            .body(body);
        tab.send(post.unwrap()).await.status
    };
    let form = "application/x-www-form-urlencoded; charset=utf-8";
    assert_eq!(send("/account/sessions/end", form, filled(max + 1)).await, 413);
    assert_eq!(
        send("/account/sessions/end", form, filled(max)).await,
        404,
        "it was read: there is no such session"
    );
    let fields = |count: usize| format!("csrf={csrf}{}", "&a=".repeat(count - 1));
    let most = usize::try_from(Limit::WebFields.max()).unwrap();
    assert_eq!(send("/account/sessions/end", form, fields(most + 1)).await, 422);
    assert_eq!(send("/account/sessions/end", form, fields(most)).await, 404);
    assert_eq!(send("/account/sessions/end", "multipart/form-data; boundary=x", filled(100)).await, 415);
    assert_eq!(send("/account/sessions/end", "application/json", "{}".to_owned()).await, 415);
    served.stop().await;
}

#[tokio::test]
async fn s9_people_see_and_end_their_own_sessions() {
    let served = with_julian(AuthSystem::Password).await;
    served.world.person("jane", AuthSystem::Password, false).await;
    let (mut one, two, three) =
        (signed_in(&served).await, signed_in(&served).await, signed_in(&served).await);
    let mut jane = served.tab();
    jane.sign_in("jane", GOOD).await.location();
    let page = one.get("/account").await;
    assert_eq!(page.body.matches("name=\"session\"").count(), 2, "two others: {}", page.body);
    let number = page.input("session").to_owned();
    let hers = jane.post("/account/sessions/end", &[("session", number.as_str())]).await;
    assert_eq!(hers.status, 404, "not hers");
    assert!(is_signed_in(&two).await && is_signed_in(&three).await);
    let seen = one.post("/account/sessions/end", &[("session", number.as_str())]).await;
    assert_eq!(seen.location(), "/account?done=ended");
    assert!(is_signed_in(&two).await && !is_signed_in(&three).await, "the newest other stands first");
    assert_eq!(served.world.entries(1)[0].reason, Some(Deny::SessionDismissed));
    one.post("/account/sessions/end-others", &[]).await.location();
    assert!(is_signed_in(&one).await && !is_signed_in(&two).await && is_signed_in(&jane).await);
    served.stop().await;
}

#[tokio::test]
async fn s8_whom_an_administrator_disables_is_signed_out_at_once() {
    let served = with_julian(AuthSystem::Password).await;
    let tab = signed_in(&served).await;
    let edit = Edit { standing: Some(Standing::Disabled), ..Edit::default() };
    served.world.gate.edit_person(&UserId::parse("julian").unwrap(), edit, &Actor::Node).await.unwrap();
    assert!(!is_signed_in(&tab).await);
    let entry = served.world.entries(1).remove(0);
    assert_eq!((entry.event, entry.reason), (Event::LoggedOut, Some(Deny::SessionEnded)));
    served.stop().await;
}

#[tokio::test]
async fn t17_after_the_right_password_the_owner_hears_why_a_code_was_not_taken() {
    let served = with_julian(AuthSystem::Otp).await;
    let totp = served.world.seed("julian").await;
    let mut tab = served.tab();
    assert_eq!(tab.get("/signin/code").await.location(), "/signin", "not before the password");
    assert_eq!(tab.sign_in("julian", GOOD).await.location(), "/signin/code");
    let before = tab.clone();
    assert!(!is_signed_in(&tab).await);
    let code = totp.code(served.world.now());
    let wrong = tab.post("/signin/code", &[("code", "12345")]).await;
    assert!(wrong.status == 422 && wrong.body.contains("That code is not right."), "{}", wrong.body);
    let spaced = format!("{} {}", &code[..3], &code[3..]);
    assert_eq!(tab.post("/signin/code", &[("code", spaced.as_str())]).await.location(), "/account");
    assert!(is_signed_in(&tab).await);
    assert_ne!(tab.cookie, before.cookie, "S6: a new token at each step");
    assert_eq!(before.clone().get("/signin/code").await.location(), "/signin");
    let mut again = served.tab();
    again.sign_in("julian", GOOD).await.location();
    let used = again.post("/signin/code", &[("code", code.as_str())]).await;
    assert!(used.status == 422 && used.body.contains("used already"), "{}", used.body);
    served.stop().await;
}

#[tokio::test]
async fn stages_lead_to_where_they_go_on() {
    let served = served().await;
    served.world.person("fresh", AuthSystem::Otp, true).await;
    served.world.person("initial", AuthSystem::Password, true).await;
    for (userid, path) in [("fresh", "/register"), ("initial", "/password")] {
        let mut tab = served.tab();
        assert_eq!(tab.sign_in(userid, GOOD).await.location(), path);
        assert_eq!(tab.get("/").await.location(), path);
        assert_eq!(tab.get("/account").await.location(), "/signin?next=%2Faccount", "not signed in");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_link_from_another_site_does_not_take_the_cookie_away() {
    let served = with_julian(AuthSystem::Password).await;
    let link = |path: &str, site: &str| {
        let link = request("GET", path).header("sec-fetch-site", site).header("sec-fetch-mode", "navigate");
        link.body(String::new()).unwrap()
    };
    // A SameSite=Strict cookie stays at home: without one, the page goes on to itself from our own site.
    for site in ["cross-site", "same-site"] {
        let seen = served.tab().send(link("/signin?next=/account%3Fa%3D%22b", site)).await;
        assert_eq!(seen.status, 200);
        assert!(seen.field("set-cookie").is_none(), "it would take the place of the one at home");
        assert!(seen.body.contains("data-bounce") && !seen.body.contains("<form"), "{}", seen.body);
        assert!(seen.body.contains("href=\"/signin?next=/account%3Fa%3D%22b\""), "{}", seen.body);
    }
    for site in ["none", "same-origin"] {
        let seen = served.tab().send(link("/signin", site)).await;
        assert!(seen.field("set-cookie").is_some() && seen.body.contains("<form"), "{site}");
    }
    served.stop().await;
}

#[tokio::test]
async fn q8_what_a_visitor_calls_themselves_is_shown_as_text() {
    let served = with_julian(AuthSystem::Password).await;
    let seen = served.tab().sign_in("\"><script>alert(1)</script>", GOOD).await;
    assert!(seen.body.contains(REFUSED) && !seen.body.contains("<script>alert"), "{}", seen.body);
    let mut tab = served.tab();
    let mut fields = tab.envelope("/signin", "julian", "password", GOOD).await;
    fields.push(("userid".to_owned(), "julian".to_owned()));
    let post = request("POST", "/signin")
        .header(ORIGIN, format!("http://{}", served.at))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("user-agent", "<b>Mozilla</b> Firefox/1 \u{2}")
        .body(encoded(&borrowed(&fields)));
    // A control character is not even taken as a field.
    if let Ok(post) = post {
        tab.send(post).await;
    }
    assert!(!tab.get("/account").await.body.contains("<b>Mozilla"));
    served.stop().await;
}

#[tokio::test]
async fn assets_are_kept_for_ever_under_names_of_their_content() {
    let served = served().await;
    let files = super::assets::paths();
    for (path, kind) in [
        (&files.css, "text/css; charset=utf-8"),
        (&files.js, "text/javascript; charset=utf-8"),
        (&files.htmx, "text/javascript; charset=utf-8"),
        (&files.icon, "image/svg+xml"),
    ] {
        let mut tab = served.tab();
        let seen = tab.get(path).await;
        assert_eq!((seen.status, seen.field("content-type")), (200, Some(kind)));
        assert!(seen.field("cache-control").unwrap().contains("immutable") && tab.cookie.is_none());
        let tag = seen.field("etag").unwrap().to_owned();
        let again = request("GET", path).header("if-none-match", tag).body(String::new()).unwrap();
        let again = tab.send(again).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
    }
    assert_eq!(served.tab().get("/assets/doorward.0000000000000000.css").await.status, 404);
    assert_eq!(served.tab().get("/assets/..%2f..%2fCargo.toml").await.status, 404);
    let files = [&files.css, &files.js, &files.htmx, &files.icon];
    let mut bytes = served.tab().get("/signin").await.body.len();
    for file in files {
        bytes += served.tab().get(file).await.body.len();
    }
    assert!(bytes <= 100 * 1024, "a page has {bytes} bytes in all");
    served.stop().await;
}

#[tokio::test]
async fn errors_are_calm_pages_fragments_for_htmx_and_name_the_attempt() {
    let served = served().await;
    let page = served.tab().get("/nothing").await;
    assert!(page.status == 404 && page.body.contains("<h1>Nothing here</h1>"), "{}", page.body);
    let htmx = request("GET", "/nothing").header("hx-request", "true").body(String::new()).unwrap();
    let fragment = served.tab().send(htmx).await;
    assert_eq!((fragment.status, fragment.field("hx-retarget")), (404, Some("#notice")));
    assert!(!fragment.body.contains("<html"), "{}", fragment.body);
    let account = request("GET", "/account").header("hx-request", "true").body(String::new()).unwrap();
    let away = served.tab().send(account).await;
    assert_eq!((away.status, away.field("hx-redirect")), (204, Some("/signin?next=%2Faccount")));
    let script = request("GET", "/account").header("dw-fetch", "1").body(String::new()).unwrap();
    let away = served.tab().send(script).await;
    assert_eq!((away.status, away.field("dw-go")), (204, Some("/signin?next=%2Faccount")));
    served.world.vault_down(true);
    let busy = served.tab().get("/challenge?page=/signin").await;
    assert_eq!((busy.status, busy.field("retry-after")), (503, Some("2")));
    served.stop().await;
}

async fn dangerous(
    State(web): State<WebState>,
    visit: Visit,
    SignedIn(asker): SignedIn,
    form: Form,
) -> Answer {
    match (form.step_up(&web, &visit, &asker).await?, form.reason()) {
        (Ok(()), Ok(_)) => Ok(go("/done")),
        (Err(text), _) | (_, Err(text)) => Err(Oops::Invalid(text.to_owned())),
    }
}

async fn console(OnConsole(asker): OnConsole) -> Answer {
    Ok(asker.userid.to_string().into_response())
}

async fn watched(Watching(asker): Watching) -> Answer {
    Ok(asker.userid.to_string().into_response())
}

fn more() -> Router<WebState> {
    Router::new()
        .route("/dangerous", post(dangerous))
        .route("/console/test", axum::routing::get(console))
        .route("/watched", axum::routing::get(watched))
}

#[tokio::test]
async fn t14_a_dangerous_action_asks_for_a_reason_and_a_fresh_code_and_s6_gives_a_new_token() {
    let served = served_with(more()).await;
    served.world.person("julian", AuthSystem::Password, false).await;
    // Signed in by the password alone, then an authenticator is registered: no code was proved in this session.
    let mut tab = signed_in(&served).await;
    let reason = ("reason", "asked for by telephone");
    let seen = tab.post("/dangerous", &[reason]).await;
    assert!(seen.status == 422 && seen.body.contains("Enter the code"), "{}", seen.body);
    let totp = served.world.seed("julian").await;
    let code = totp.code(served.world.now());
    let mut tab = served.tab();
    assert_eq!(
        tab.sign_in("julian", GOOD).await.location(),
        "/signin/code",
        "a pending seed asks for its code"
    );
    tab.post("/signin/code", &[("code", code.as_str())]).await.location();
    assert_eq!(tab.post("/dangerous", &[reason]).await.location(), "/done", "the sign-in's code counts");
    let seen = tab.post("/dangerous", &[("reason", "  ")]).await;
    assert!(seen.status == 422 && seen.body.contains("Say why"), "{}", seen.body);
    served.stop().await;
}

#[tokio::test]
async fn t14_a_code_in_the_form_is_as_good_and_gives_a_new_token() {
    let served = served_with(more()).await;
    served.world.person("julian", AuthSystem::Password, false).await;
    let totp = served.world.seed("julian").await;
    let first = totp.code(served.world.now());
    assert!(matches!(served.world.login("julian", GOOD, Some(&first)).await, Verdict::Granted(_)));
    let edit = Edit { auth_system: Some(AuthSystem::Otp), ..Edit::default() };
    served.world.gate.edit_person(&UserId::parse("julian").unwrap(), edit, &Actor::Node).await.unwrap();
    served.world.clock.advance(std::time::Duration::from_secs(60));
    served.world.gate.clock_moved();
    let mut tab = served.tab();
    tab.sign_in("julian", GOOD).await.location();
    let second = totp.code(served.world.now());
    tab.post("/signin/code", &[("code", second.as_str())]).await.location();
    // As if more than 5 minutes had gone by.
    let token = crate::gate::web::Token::parse(tab.cookie.as_deref().unwrap()).unwrap();
    let stage = crate::gate::web::Stage::SignedIn { factor_at: None };
    let token = served.world.gate.advance_session(&token, stage).unwrap().unwrap();
    tab.cookie = Some(token.expose().to_owned());
    let reason = ("reason", "asked for by telephone");
    assert_eq!(tab.post("/dangerous", &[reason]).await.status, 422);
    let used = tab.post("/dangerous", &[reason, ("code", second.as_str())]).await;
    assert!(used.status == 422 && used.body.contains("used already"), "{}", used.body);
    served.world.clock.advance(std::time::Duration::from_secs(60));
    served.world.gate.clock_moved();
    let before = tab.cookie.clone();
    let third = totp.code(served.world.now());
    let form = tab.get("/account").await.input("csrf").to_owned();
    assert_eq!(tab.post("/dangerous", &[reason, ("code", third.as_str())]).await.location(), "/done");
    assert_ne!(tab.cookie, before);
    assert!(is_signed_in(&tab).await);
    // A form that was open in another tab is still good.
    let seen = tab.post_bare("/dangerous", &[("csrf", form.as_str()), reason]).await;
    assert_eq!(seen.location(), "/done");
    served.stop().await;
}

#[tokio::test]
async fn q1_to_a_trader_there_is_no_console() {
    let served = served_with(more()).await;
    served.world.person("julian", AuthSystem::Password, false).await;
    let mut tab = signed_in(&served).await;
    assert_eq!(tab.get("/console/test").await.status, 404);
    assert_eq!(served.tab().get("/console/test").await.location(), "/signin?next=%2Fconsole%2Ftest");
    assert_eq!(tab.get("/watched").await.body, "julian");
    let htmx = request("GET", "/watched").header("hx-request", "true").body(String::new()).unwrap();
    assert_eq!(served.tab().send(htmx).await.field("hx-refresh"), Some("true"));
    served.stop().await;
}

#[tokio::test]
async fn l1_s10_silent_connections_make_room() {
    raise_descriptors();
    let served = served().await;
    let max = usize::try_from(Limit::WebConnections.max()).unwrap();
    let asking = async {
        let mut silent = Vec::new();
        for _ in 0..max + 8 {
            silent.push(TcpStream::connect(served.at).await.unwrap());
        }
        let mut asking = TcpStream::connect(served.at).await.unwrap();
        let asked = format!("GET /signin HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", served.at);
        asking.write_all(asked.as_bytes()).await.unwrap();
        let mut answer = String::new();
        asking.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        let mut oldest = silent.swap_remove(0);
        assert_eq!(oldest.read(&mut [0; 1]).await.unwrap_or(0), 0, "it was told to go");
    };
    tokio::time::timeout(TEST_MAX, asking).await.unwrap();
    served.stop().await;
}
