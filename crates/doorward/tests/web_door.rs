//! The listener of portal and console towards browsers, foreign pages and whoever is neither: fields, limits, origins.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::time::Instant;

use data_encoding::BASE64URL_NOPAD;
use doorward_core::limits::Limit;
use support::web::{Browser, Page, fields};
use support::{Server, User, shared_demo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Beside the browser's own: where a form of ours comes from.
fn origin(browser: &Browser) -> String {
    format!("http://{}", browser.host)
}

/// A node that is reached by TLS under a name, and a browser that knows its certificate.
async fn with_tls() -> (Server, Browser, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["portal.test".to_owned()]).unwrap();
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Server::serve(&format!(
        "web.listen = [\"127.0.0.1:0\"]\nweb.tls.certificate = {certificate:?}\nweb.tls.key = {key:?}\n\
         portal.public_url = \"https://portal.test\"\n"
    ))
    .await;
    let mut browser = Browser::secure(server.pages(), "portal.test", made.cert.der());
    "portal.test".clone_into(&mut browser.host);
    (server, browser, dir)
}

/// What every answer has, whatever it says.
fn assert_protected(what: &str, page: &Page) {
    let policy = page.field("content-security-policy").unwrap_or_else(|| panic!("{what}: {page:?}"));
    let mut parts: Vec<&str> = policy.split(';').map(str::trim).collect();
    parts.sort_unstable();
    let expected = [
        "base-uri 'none'",
        "connect-src 'self'",
        "default-src 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "img-src 'self' data:",
        "script-src 'self'",
        "style-src 'self'",
    ];
    assert_eq!(parts, expected, "{what}");
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("strict-transport-security", "max-age=31536000"),
    ] {
        assert_eq!(page.field(name), Some(value), "{what}: {name}");
    }
    assert!(page.field("permissions-policy").is_some(), "{what}");
    assert_eq!(page.field("server"), None, "{what}");
    if !what.contains(" /assets/") {
        assert_eq!(page.field("cache-control"), Some("no-store"), "{what}");
    }
    if let Some(kind) = page.field("content-type") {
        let known = ["text/html; charset=utf-8", "application/json", "text/css; charset=utf-8"];
        assert!(known.contains(&kind), "{what}: {kind}");
    }
    for inline in ["<script>", "<style", " style=", " onclick=", " onload=", "javascript:"] {
        assert!(!page.body.contains(inline), "{what}: {inline}");
    }
}

#[tokio::test]
async fn clickjacking_and_content_policy_are_on_every_answer_of_every_path() {
    let (server, mut stranger, _dir) = with_tls().await;
    let mut trader = stranger.clone();
    trader.sign_in(&server, &server.trader().await).await;
    let style = {
        let page = stranger.get("/signin").await;
        page.body.split_once("href=\"/assets/doorward.").unwrap().1.split('"').next().unwrap().to_owned()
    };
    let mut paths: Vec<String> = doorward::http::web::paths().into_iter().map(str::to_owned).collect();
    paths.extend(["/nothing".to_owned(), "/%00%ff".to_owned(), format!("/assets/doorward.{style}")]);
    for path in paths {
        let path = path.replace("{id}", "p00000000deadbeef").replace("{act}", "disable");
        let path = path.replace("{name}", "x.css").replace("{code}", "NORTH");
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
            for browser in [&mut stranger, &mut trader] {
                let what = format!("{method} {path}");
                let page = browser.request(method, &path, &[], "").await;
                assert_protected(&what, &page);
                let is_safe = ["GET", "HEAD", "OPTIONS"].contains(&method);
                assert!(is_safe || page.status == 403 || page.status == 405, "{what}: {page:?}");
                assert!(!["OPTIONS", "TRACE"].contains(&method) || page.status != 200, "{what}: {page:?}");
            }
        }
    }
    assert!(trader.is_in().await);
    let host = stranger.request("GET", "/signin", &[("host", "evil.test")], "").await;
    assert_eq!(host.status, 403);
    assert_protected("another host", &host);
    let bounce = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    let mut fresh = stranger.clone();
    fresh.cookie = None;
    assert_protected("a link from elsewhere", &fresh.request("GET", "/signin", &bounce, "").await);
}

#[tokio::test]
async fn s6_over_tls_the_cookie_is_a_host_cookie_and_nothing_is_said_without_tls() {
    let (server, mut browser, _dir) = with_tls().await;
    let user = server.trader().await;
    let page = browser.get("/signin").await;
    let set = page.field("set-cookie").unwrap();
    let (name, rest) = set.split_once('=').unwrap();
    let (token, attributes) = rest.split_once(';').unwrap();
    assert_eq!(name, "__Host-doorward");
    assert_eq!(attributes, " Path=/; HttpOnly; SameSite=Strict; Secure");
    assert_eq!(BASE64URL_NOPAD.decode(token.as_bytes()).unwrap().len(), 32, "256 bits");
    browser.sign_in(&server, &user).await;
    assert!(browser.is_in().await);
    // The same token under a name that a neighbour, or a page without TLS, could set.
    for planted in ["dw_session", "__host-doorward", "__Secure-doorward", "doorward"] {
        let field = format!("{planted}={}", browser.cookie.as_ref().unwrap());
        let page = browser.clone().request("GET", "/account", &[("cookie", &field)], "").await;
        assert_eq!(page.location(), "/signin?next=%2Faccount", "{planted}");
    }
    let mut plain = Browser::at(server.pages()).tcp().await;
    let asked = b"GET /signin HTTP/1.1\r\nhost: portal.test\r\n\r\n";
    plain.write_all(asked).await.unwrap();
    let mut heard = Vec::new();
    let _ = plain.read_to_end(&mut heard).await;
    assert!(!heard.windows(4).any(|four| four == b"HTTP"), "{heard:?}");
}

#[tokio::test]
async fn s6_a_cookie_that_somebody_planted_is_nobodys_session_afterwards() {
    let demo = shared_demo().await;
    let user = demo.trader().await;
    // One that the attacker chose, and one that the server gave out.
    let mut given = demo.browser();
    given.get("/signin").await;
    let chosen = BASE64URL_NOPAD.encode(&[7; 32]);
    for planted in [chosen, given.cookie.unwrap()] {
        let mut victim = demo.browser();
        victim.cookie = Some(planted.clone());
        let before = victim.csrf().await;
        victim.sign_in(demo, &user).await;
        assert_ne!(victim.cookie.as_ref(), Some(&planted));
        let mut attacker = demo.browser();
        attacker.cookie = Some(planted);
        assert!(!attacker.is_in().await && victim.is_in().await);
        assert_eq!(attacker.post("/account/sessions/end-others", &[]).await.location(), "/signin");
        // Nor is the attacker's form token good for the victim.
        assert_eq!(victim.post_bare("/signout", &fields(&[("csrf", &before)])).await.status, 403);
        assert!(victim.is_in().await);
    }
}

#[tokio::test]
async fn csrf_only_a_form_of_the_visitors_own_session_and_our_own_origin_counts() {
    let demo = shared_demo().await;
    let user = demo.trader().await;
    let mut victim = demo.signed_in(&user).await;
    let (own, here) = (victim.csrf().await, origin(&victim));
    let others = demo.signed_in(&demo.trader().await).await.csrf().await;
    let of_another_tab = demo.signed_in(&user).await.csrf().await;
    let stranger = demo.browser().csrf().await;
    let near = format!("http://127.0.0.1:{}", demo.pages().port() ^ 1);
    let sent = async |csrf: &str, more: &[(&str, &str)]| {
        let mut all = vec![FORM];
        all.extend(more);
        let body = if csrf.is_empty() { String::new() } else { format!("csrf={csrf}") };
        victim.clone().request("POST", "/signout", &all, &body).await.status
    };
    let ours = [("origin", here.as_str()), ("sec-fetch-site", "same-origin")];
    for csrf in ["", "AAAA", &others, &of_another_tab, &stranger, &own[1..], &own.to_lowercase()] {
        assert_eq!(sent(csrf, &ours).await, 403, "{csrf}");
    }
    for fields in [
        &[][..],
        &[("sec-fetch-site", "same-origin")],
        &[("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")],
        &[("origin", "https://evil.test"), ("sec-fetch-site", "same-origin")],
        &[("origin", &near), ("sec-fetch-site", "same-site")],
        &[("origin", &near)],
        &[("origin", "null")],
        &[("origin", "null"), ("sec-fetch-site", "cross-site")],
        &[("origin", &here), ("origin", "https://evil.test")],
        &[("origin", &here), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
        &[("referer", &here)],
    ] {
        assert_eq!(sent(&own, fields).await, 403, "{fields:?}");
    }
    // In the address a token is none.
    let path = format!("/signout?csrf={own}");
    let more = [FORM, ("origin", &here)];
    assert_eq!(victim.clone().request("POST", &path, &more, "").await.status, 403);
    assert!(victim.is_in().await);
    assert_eq!(sent(&own, &ours).await, 303);
    assert!(!victim.is_in().await);
}

#[tokio::test]
async fn s13_host_header_another_name_is_refused_and_never_repeated() {
    let demo = shared_demo().await;
    let mut browser = demo.browser();
    let port = demo.pages().port();
    for host in [
        "evil.test".to_owned(),
        format!("evil.test:{port}"),
        format!("127.0.0.1:{port}@evil.test"),
        format!("127.0.0.1.evil.test:{port}"),
        format!("localhost.evil.test:{port}"),
        "127.0.0.1/evil.test".to_owned(),
        String::new(),
        "a b".to_owned(),
    ] {
        let page = browser.request("GET", "/signin", &[("host", &host)], "").await;
        assert!([400, 403].contains(&page.status), "{host}: {page:?}");
        assert!(!page.body.contains("evil.test") && page.field("set-cookie").is_none(), "{host}: {page:?}");
        let page = browser.request("GET", "/account", &[("host", &host)], "").await;
        assert_eq!(page.field("location"), None, "{host}");
    }
    let twice = browser
        .request("GET", "/signin", &[("host", &browser.host.clone()), ("host", "evil.test")], "")
        .await;
    assert!([400, 403].contains(&twice.status), "{twice:?}");
    for (name, value) in [
        ("x-forwarded-host", "evil.test"),
        ("forwarded", "host=evil.test;proto=https"),
        ("x-forwarded-proto", "https"),
        ("x-original-url", "/console/people"),
        ("x-http-method-override", "POST"),
    ] {
        let page = browser.request("GET", "/account", &[(name, value)], "").await;
        assert_eq!(page.location(), "/signin?next=%2Faccount", "{name}");
    }
    let whole = browser.request("GET", "http://evil.test/signin", &[], "").await;
    assert_eq!(whole.status, 403, "{whole:?}");
    let none = browser.raw(b"GET /signin HTTP/1.1\r\nconnection: close\r\n\r\n").await;
    assert!(!none.starts_with(b"HTTP/1.1 200"), "{none:?}");
    let old = browser.raw(b"GET /signin HTTP/1.0\r\n\r\n").await;
    assert!(!String::from_utf8_lossy(&old).contains(" 200 "), "{old:?}");
}

#[tokio::test]
async fn open_redirect_no_answer_leads_anywhere_else() {
    let demo = shared_demo().await;
    let user = demo.trader().await;
    let bad = [
        "//evil.test",
        "///evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "/%5cevil.test/..",
        "https://evil.test",
        "https:evil.test",
        "javascript:alert(1)",
        "/\t/evil.test",
        "/account\r\nlocation: https://evil.test",
        "/@evil.test",
        "/.//evil.test",
        "data:text/html,x",
    ];
    for next in bad {
        let mut browser = demo.browser();
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let page = browser.get(&format!("/signin?{query}")).await;
        let passwords = [("password", user.password.as_str())];
        let mut more = vec![("userid", user.userid.as_str()), ("next", next)];
        let seen = browser.post_secret("/signin", &user.userid, &passwords, &more).await;
        let to = seen.location().to_owned();
        let is_ours = |to: &str| to.starts_with('/') && !to.starts_with("//") && !to.contains('\\');
        assert!(is_ours(&to), "{next:?}: {to}");
        assert_eq!(seen.fields.iter().filter(|(name, _)| name == "location").count(), 1);
        // Whoever is signed in is sent on at once.
        let on = browser.get(&format!("/signin?{query}")).await;
        assert!(is_ours(on.location()), "{next:?}: {on:?}");
        assert!(!page.body.contains("href=\"//") && !page.body.contains("href=\"https:"), "{next:?}");
        more.clear();
    }
    for path in ["//evil.test/account", "/\\evil.test/account", "//evil.test/%2e%2e"] {
        let page = demo.browser().get(path).await;
        let to = page.field("location").unwrap_or("/");
        assert!(to.starts_with("/signin") || to == "/", "{path}: {page:?}");
        let bounce = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        let page = demo.browser().request("GET", path, &bounce, "").await;
        assert!(!page.body.contains("href=\"//evil"), "{path}: {page:?}");
    }
}

/// The answer to bytes that are sent as they are, as far as it is one.
async fn status_of(browser: &Browser, bytes: &[u8]) -> String {
    let heard = browser.raw(bytes).await;
    String::from_utf8_lossy(&heard).split(' ').nth(1).unwrap_or("none").to_owned()
}

#[tokio::test]
async fn upload_limits_bodies_heads_and_kinds() {
    let demo = shared_demo().await;
    let mut browser = demo.signed_in(&demo.trader().await).await;
    let (csrf, here) = (browser.csrf().await, origin(&browser));
    let cookie = format!("dw_session={}", browser.cookie.clone().unwrap());
    let path = "/account/sessions/end";
    let most = usize::try_from(Limit::WebBodyBytes.max()).unwrap();
    let filled = |bytes: usize| {
        let begin = format!("csrf={csrf}&a=");
        format!("{begin}{}", "x".repeat(bytes - begin.len()))
    };
    let form = [FORM, ("origin", here.as_str())];
    let post = async |more: &[(&str, &str)], body: &str| {
        let mut browser = browser.clone();
        browser.request("POST", path, more, body).await.status
    };
    assert_eq!(post(&form, &filled(most)).await, 404, "read, and there is no such session");
    assert_eq!(post(&form, &filled(most + 1)).await, 413);
    assert_eq!(post(&form, &filled(20 * most)).await, 413);
    for kind in [
        "application/json",
        "multipart/form-data; boundary=x",
        "text/plain",
        "application/x-www-form-urlencoded2",
        "",
        "image/png",
    ] {
        assert_eq!(post(&[("content-type", kind), form[1]], &filled(100)).await, 415, "{kind}");
    }
    assert_eq!(post(&form[1..], &filled(100)).await, 415, "no kind at all");
    let long = "y".repeat(17 * 1024);
    assert_eq!(post(&[form[0], form[1], ("x-long", &long)], &filled(100)).await, 431);
    let many = vec![("x-many", "1"); 80];
    assert_eq!(post(&many, &filled(100)).await, 431);

    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\norigin: {here}\r\ncookie: {cookie}\r\n\
         content-type: application/x-www-form-urlencoded\r\n",
        browser.host
    );
    // A length that promises more than there may be is not waited for.
    let begun = Instant::now();
    let asked = format!("{head}content-length: 1099511627776\r\n\r\ncsrf={csrf}");
    let mut stream = browser.tcp().await;
    stream.write_all(asked.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; most + 1]).await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first[9..], b"413");
    assert!(begun.elapsed().as_secs() < 8);
    // One without a length, that never ends.
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000)).repeat(20);
    let asked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}");
    assert_eq!(status_of(&browser, asked.as_bytes()).await, "413");
    // Two lengths, or two ways to say it: nobody reads another request out of this one's body.
    let hidden = "GET /signin HTTP/1.1\r\nhost: x\r\n\r\n";
    for lengths in [
        "content-length: 4\r\ncontent-length: 40\r\n",
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "transfer-encoding: xchunked\r\n",
        "content-length: +4\r\n",
    ] {
        let heard = browser.raw(format!("{head}{lengths}\r\n0\r\n\r\n{hidden}").as_bytes()).await;
        let text = String::from_utf8_lossy(&heard);
        let answers = text.matches("HTTP/1.1 ").count();
        assert!(answers <= 1 && !text.contains(" 200 "), "{lengths}: {text}");
    }
    for broken in [
        "GET /sign in HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /signin HTTP/9.9\r\nhost: x\r\n\r\n",
        "GET /signin\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}",
        "GET /signin HTTP/1.1\r\nhost : x\r\n\r\n",
        "GET /signin HTTP/1.1\r\nhost: x\r\n folded: y\r\n\r\n",
        "GET /signin HTTP/1.1\r\nx\u{0}y: z\r\n\r\n",
    ] {
        let mut stream = browser.tcp().await;
        stream.write_all(broken.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard).await;
        assert!(!heard.starts_with(b"HTTP/1.1 200"), "{broken:?}");
    }
    assert!(browser.is_in().await);
    assert_eq!(browser.get("/signin").await.status, 303);
}

#[tokio::test]
async fn l1_slow_heads_and_bodies_are_not_waited_for() {
    let demo = shared_demo().await;
    let mut browser = demo.signed_in(&demo.trader().await).await;
    let (csrf, here) = (browser.csrf().await, origin(&browser));
    let head = format!(
        "POST /signout HTTP/1.1\r\nhost: {}\r\norigin: {here}\r\ncookie: dw_session={}\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: 1000\r\n\r\ncsrf={csrf}&a=",
        browser.host,
        browser.cookie.clone().unwrap()
    );
    let body = async {
        let mut stream = browser.tcp().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first[9..], b"408");
    };
    let slow_head = async {
        let mut stream = browser.tcp().await;
        support::drip(&mut stream, b"GET /signin HTTP/1.1\r\nx-slow: a").await;
    };
    let silent = async {
        let mut stream = browser.tcp().await;
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_or(0), 0);
    };
    let all = async { tokio::join!(body, slow_head, silent) };
    tokio::time::timeout(support::WAIT_MAX, all).await.unwrap();
    assert!(browser.is_in().await, "a form that did not come whole does nothing");
}

#[tokio::test]
async fn q4_whoever_asks_cannot_name_another_source() {
    let demo = shared_demo().await;
    let user = demo.trader().await;
    let guess = User { password: "a guess like any other".to_owned(), ..user.clone() };
    let mut browser = demo.browser();
    for more in [("forwarded", "for=192.0.2.7"), ("x-forwarded-for", "192.0.2.7"), ("x-real-ip", "192.0.2.7")]
    {
        let sent = browser.challenge("/signin").await;
        drop(sent);
        browser.request("GET", "/signin", &[more], "").await;
    }
    assert_eq!(browser.password(&guess.userid, &guess.password).await.status, 422);
    let entry = &demo.audit(&format!("userid={}", user.userid)).await[0];
    assert_eq!((&entry["source"], &entry["door"]), (&browser.from.to_string().into(), &"portal".into()));
}

#[tokio::test]
async fn header_injection_what_is_typed_breaks_no_header_of_an_answer_nor_of_a_mail() {
    let demo = Server::demo(&[]).await;
    let mut admin = demo.signed_in(&demo.sample("admin@north.example")).await;
    let mailbox = std::path::PathBuf::from(demo.ready["mailbox"].as_str().unwrap());
    let mails = || -> Vec<String> {
        let all = std::fs::read_dir(&mailbox).unwrap();
        all.map(|file| String::from_utf8(std::fs::read(file.unwrap().path()).unwrap()).unwrap()).collect()
    };
    let before = mails().len();
    for (userid, email) in [
        ("mallory", "a@b.example\r\nBcc: eve@evil.test"),
        ("mallory", "a@b.example\nBcc: eve@evil.test"),
        ("mallory", "a@b.example, eve@evil.test"),
        ("mallory", "a@b.example>\r\nRCPT TO:<eve@evil.test"),
        ("mallory", "\"a\r\nBcc: eve@evil.test\r\n\"@b.example"),
        ("mallory", "eve@evil.test\u{0}@b.example"),
        ("mall\r\nBcc: eve@evil.test", "a@b.example"),
        ("mall\u{202e}ory", "a@b.example"),
        ("mall\u{1b}[31mory", "a@b.example"),
    ] {
        let page =
            admin.post("/console/people/new", &[("userid", userid), ("email", email), ("send", "on")]).await;
        assert_eq!(page.status, 422, "{userid:?} {email:?}: {page:?}");
    }
    assert!(demo.api().get("/api/v1/people/mallory").await.is_err());
    let user = demo.registered().await;
    let id = demo.known(&user).await["id"].as_str().unwrap().to_owned();
    let path = format!("/console/people/{id}/email");
    for email in ["a@b.example\r\nBcc: eve@evil.test", "a@b.example\u{2028}x", "nobody"] {
        let page = admin.post(&path, &[("email", email)]).await;
        assert_eq!(page.status, 422, "{email:?}: {page:?}");
    }
    // A reason is in the mail and on the page as text, on one line.
    let path = format!("/console/people/{id}/unlock");
    for reason in ["line\r\nBcc: eve@evil.test", "\u{1b}[2Jgone", "\u{202e}backwards"] {
        assert_eq!(admin.post(&path, &[("reason", reason)]).await.status, 422, "{reason:?}");
    }
    let reason = "<script>alert(1)</script> & \"more\"";
    assert_eq!(admin.post(&path, &[("reason", reason)]).await.status, 303);
    let events = admin.get("/console/events").await;
    assert!(events.body.contains("&#60;script&#62;alert(1)"), "Q8: {events:?}");
    assert!(!events.body.contains("<script>alert"), "{events:?}");
    // Where there is something to tell, it is told; never to somebody else.
    let path = format!("/console/people/{id}/email");
    assert_eq!(admin.post(&path, &[("email", "moved@north.example")]).await.status, 303);
    let sent = support::until("the mails of the change", async || {
        let all = mails();
        (all.len() > before).then_some(all)
    })
    .await;
    for mail in &sent {
        let head = mail.split("\r\n\r\n").next().unwrap();
        assert!(!mail.contains("evil.test") && !head.contains("\nBcc"), "{mail}");
    }
    // An answer's fields hold nothing that was typed.
    for (name, value) in [("next", "/a\r\nset-cookie: x=1"), ("done", "x\r\nset-cookie: x=1")] {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
        for path in ["/signin", "/account", "/console/people", "/"] {
            let page = admin.clone().get(&format!("{path}?{query}")).await;
            assert_eq!(page.field("set-cookie"), None, "{path} {page:?}");
            let page = demo.browser().get(&format!("{path}?{query}")).await;
            assert!(
                page.field("set-cookie").is_none_or(|set| set.starts_with("dw_session=")),
                "{path} {page:?}"
            );
        }
    }
}
