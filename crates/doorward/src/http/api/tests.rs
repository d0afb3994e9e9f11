//! Each route, as it should be used and not.

use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::http::header::{CONTENT_TYPE, HeaderMap};
use data_encoding::BASE32_NOPAD;
use doorward_client::password::encrypt_for_api;
use doorward_core::audit::Actor;
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::super::testing::{World, world};
use super::*;

/// A desk: asks as root does over the local socket.
struct Desk {
    world: World,
    router: Router,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.body);
        self.body
    }

    /// Status, field and detail of a problem.
    fn problem(self) -> (u16, String, String) {
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json", "{}: {}", self.status, self.body);
        assert_eq!(self.body["status"], self.status);
        let text = |member: &str| self.body[member].as_str().unwrap_or_default().to_owned();
        assert!(text("type").starts_with("urn:doorward:problem:") && !text("title").is_empty());
        (self.status, text("field"), text("detail"))
    }
}

fn desk() -> Desk {
    let world = world();
    let router = router(world.api()).layer(Extension(Actor::Local { uid: 0 }));
    Desk { world, router }
}

impl Desk {
    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status, headers, body }
    }

    async fn raw(&self, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        self.send(request.header(CONTENT_TYPE, "application/json").body(body.into()).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, Body::empty()).await
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        self.raw(method, path, body.to_string()).await
    }

    async fn encrypted(&self, password: &str) -> Value {
        let challenge = self.get("/challenge").await.ok();
        json!(encrypt_for_api(&challenge, &Secret::new(password.to_owned())).unwrap())
    }

    async fn firm(&self, code: &str) {
        self.ask("POST", "/firms", json!({"code": code, "name": format!("{code} Brokers")})).await.ok();
    }

    async fn trader(&self, userid: &str, firm: &str) -> Value {
        self.ask("POST", "/people", json!({"userid": userid, "kind": "trader", "firm": firm})).await.ok()
    }
}

#[tokio::test]
async fn firms_are_added_listed_closed_and_opened() {
    let desk = desk();
    let added = desk.ask("POST", "/firms", json!({"code": "acme", "name": " Acme "})).await;
    assert_eq!((added.status, &added.headers["location"]), (201, &"/api/v1/firms/ACME".parse().unwrap()));
    assert_eq!(added.headers["cache-control"], "no-store");
    assert_eq!((added.body["code"].as_str(), added.body["name"].as_str()), (Some("ACME"), Some("Acme")));
    assert!(Wall::parse(added.body["added"].as_str().unwrap()).is_some());
    desk.firm("B-1").await;
    let codes = desk.get("/firms").await.ok();
    assert_eq!(codes["items"][0]["code"], "ACME");
    assert_eq!(codes["items"][1]["code"], "B-1");
    assert_eq!(desk.raw("POST", "/firms/ACME/close", "").await.ok()["closed"], true);
    assert_eq!(desk.get("/firms/acme").await.ok()["closed"], true);
    assert_eq!(desk.ask("POST", "/firms/ACME/open", json!({})).await.ok()["closed"], false);

    let again = desk.ask("POST", "/firms", json!({"code": "ACME", "name": "x"})).await.problem();
    assert_eq!(again, (409, "code".into(), "firm ACME exists already".into()));
    assert_eq!(
        desk.get("/firms/NONE").await.problem(),
        (404, String::new(), "firm NONE is not known".into())
    );
    assert_eq!(desk.raw("POST", "/firms/NONE/close", "").await.problem().0, 404);
    let named = desk.ask("POST", "/firms", json!({"code": "a b", "name": "x"})).await.problem();
    assert_eq!(named, (422, "code".into(), "\"a b\" is not 1 to 16 of A-Z, 0-9, - and _".into()));
    let unnamed = desk.ask("POST", "/firms", json!({"code": "X", "name": " "})).await.problem();
    assert_eq!((unnamed.0, unnamed.1.as_str()), (422, "name"));
    assert!(!unnamed.2.starts_with("name:"), "the field is not told twice: {}", unnamed.2);
}

#[tokio::test]
async fn a_request_that_does_not_fit_is_answered_with_the_field_that_does_not() {
    let desk = desk();
    for (body, status, field, detail) in [
        (r#"{"code":"#, 422, "", "the body is not JSON"),
        (r#"["ACME"]"#, 422, "", "no object"),
        (
            r#"{"code":"A","name":"x","colour":1}"#,
            422,
            "colour",
            "unknown field `colour`, expected `code` or `name`",
        ),
        (r#"{"code":5,"name":"x"}"#, 422, "code", "invalid type: integer `5`, expected a string"),
        (r#"{"code":"A","code":"B","name":"x"}"#, 422, "", "duplicate field `code`"),
        (r#"{"name":"x"}"#, 422, "code", "missing"),
        ("", 422, "code", "missing"),
    ] {
        let (seen_status, seen_field, seen) = desk.raw("POST", "/firms", body).await.problem();
        assert_eq!((seen_status, seen_field.as_str()), (status, field), "{body}: {seen}");
        assert!(seen.contains(detail), "{body}: {seen}");
    }
    let deep = format!(r#"{{"code":{}"#, "[".repeat(20_000));
    assert_eq!(desk.raw("POST", "/firms", deep).await.problem().0, 422);
    let form = Request::builder().method("POST").uri("/api/v1/firms").body(Body::from("code=A")).unwrap();
    assert_eq!(desk.send(form).await.problem().0, 415);
}

#[tokio::test]
async fn l1_a_body_has_64_kib_and_no_more() {
    let desk = desk();
    let sized = |bytes: usize| format!(r#"{{"code":"A","name":"Acme"{}}}"#, " ".repeat(bytes - 26));
    assert_eq!(sized(BODY_BYTES_MAX).len(), 64 * 1024);
    assert_eq!(desk.raw("POST", "/firms", sized(BODY_BYTES_MAX + 1)).await.problem().0, 413);
    assert_eq!(desk.raw("POST", "/firms", sized(BODY_BYTES_MAX)).await.ok()["code"], "A");
}

#[tokio::test]
async fn unknown_routes_methods_parameters_and_askers_are_refused() {
    let desk = desk();
    for path in ["/nothing", "/people/x/y/z", ""] {
        assert_eq!(desk.get(path).await.problem().0, 404, "{path}");
    }
    let wrong = desk.ask("DELETE", "/firms", json!({})).await;
    let allow = wrong.headers["allow"].to_str().unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    assert_eq!(wrong.problem().0, 405);
    assert_eq!(desk.get("/firms?x=1").await.problem().0, 422);
    assert_eq!(desk.ask("POST", "/people?x=1", json!({})).await.problem().0, 422);
    let (status, field, detail) = desk.get("/people?frim=A").await.problem();
    assert_eq!((status, field.as_str()), (422, "frim"));
    assert!(detail.contains("firm, kind, standing"), "{detail}");
    assert_eq!(desk.get("/people?limit=1&limit=2").await.problem().1, "limit");
    for limit in ["0", "501", "-1", "x"] {
        assert_eq!(desk.get(&format!("/people?limit={limit}")).await.problem().1, "limit");
        assert_eq!(desk.get(&format!("/audit?limit={limit}")).await.problem().1, "limit");
    }
    assert_eq!(desk.get("/people/%ff").await.problem().0, 422);
    assert_eq!(desk.get("/people/a%0ab").await.problem().1, "userid");

    let nobody = Desk { router: router(desk.world.api()), world: desk.world };
    let asked = nobody.ask("POST", "/firms", json!({"code": "A", "name": "x"})).await;
    assert_eq!(asked.problem().0, 403, "a listener that does not say who asks opens nothing");
}

#[tokio::test]
async fn policies_are_read_set_and_never_loosened() {
    let desk = desk();
    desk.firm("ACME").await;
    let read = desk.get("/policy").await;
    assert_eq!(read.headers["etag"], "\"0\"");
    assert_eq!(
        (&read.body["policy"], &read.body["in_force"]["password_chars_min"]),
        (&json!({"version": 0}), &json!(15))
    );
    let set = json!({"version": 0, "password_chars_min": 20, "otp_demanded": true});
    let set = desk.ask("PUT", "/policy", set).await.ok();
    assert_eq!((&set["policy"]["version"], &set["in_force"]["password_chars_min"]), (&json!(1), &json!(20)));
    assert_eq!(set["in_force"]["totp_algorithm"], "SHA1");

    let stale = desk.ask("PUT", "/policy", json!({"version": 0})).await.problem();
    assert_eq!((stale.0, stale.1.as_str()), (409, "version"));
    let request = |tag: &str| {
        let request =
            Request::builder().method("PUT").uri("/api/v1/firms/ACME/policy").header("if-match", tag);
        let request = request.header(CONTENT_TYPE, "application/json");
        request.body(Body::from(r#"{"password_chars_min":24}"#)).unwrap()
    };
    assert_eq!(desk.send(request("\"7\"")).await.problem().0, 412);
    assert_eq!(desk.send(request("seven")).await.problem().1, "If-Match");
    let firm = desk.send(request("\"0\"")).await.ok();
    assert_eq!(
        (&firm["in_force"]["password_chars_min"], &firm["in_force"]["otp_demanded"]),
        (&json!(24), &json!(true))
    );
    assert_eq!(desk.get("/firms/ACME/policy").await.ok(), firm);
    let loose = desk
        .ask("PUT", "/firms/ACME/policy", json!({"version": 1, "password_chars_min": 16}))
        .await
        .problem();
    assert_eq!(loose, (422, "password_chars_min".into(), "16 is not allowed, only 20..=128".into()));
    let typed = desk.ask("PUT", "/policy", json!({"version": 1, "otp_demanded": "yes"})).await.problem();
    assert_eq!((typed.0, typed.1.as_str()), (422, "otp_demanded"));
    assert_eq!(desk.get("/firms/NONE/policy").await.problem().0, 404);
    assert_eq!(desk.ask("PUT", "/firms/NONE/policy", json!({})).await.problem().0, 404);
}

#[tokio::test]
async fn a_person_is_added_with_a_password_that_is_generated_and_shown_once() {
    let desk = desk();
    desk.firm("ACME").await;
    let added = desk
        .ask("POST", "/people", json!({"userid": "Julian@Home/1", "kind": "trader", "firm": "acme"}))
        .await;
    assert_eq!(
        (added.status, &added.headers["location"]),
        (201, &"/api/v1/people/julian%40home%2F1".parse().unwrap())
    );
    let added = added.ok();
    assert!(added["password"].as_str().unwrap().len() >= 20, "{added}");
    let person = desk.get("/people/julian%40home%2F1").await;
    assert_eq!(person.headers["etag"], "\"1\"");
    assert_eq!(person.body, added["person"]);
    assert_eq!(person.body["auth_system"], "otp");
    assert_eq!(person.body["password"]["origin"], "initial");
    assert!(Wall::parse(person.body["password"]["expires"].as_str().unwrap()).is_some());
    assert_eq!(person.body["authenticator"], json!({"state": "none"}));
    assert_eq!(person.body["attempts"], json!({"wrong": 0, "waiting": []}));

    let again =
        desk.ask("POST", "/people", json!({"userid": "JULIAN@home/1", "kind": "desk"})).await.problem();
    assert_eq!(again, (409, "userid".into(), "user julian@home/1 exists already".into()));
    for (body, status, field) in [
        (json!({"kind": "trader"}), 422, "userid"),
        (json!({"userid": "x"}), 422, "kind"),
        (json!({"userid": "x", "kind": "boss"}), 422, "kind"),
        (json!({"userid": "x y", "kind": "desk"}), 422, "userid"),
        (json!({"userid": "x", "kind": "trader"}), 422, "firm"),
        (json!({"userid": "x", "kind": "trader", "firm": "NONE"}), 404, ""),
        (json!({"userid": "x", "kind": "desk", "auth_system": "card"}), 422, "auth_system"),
        (json!({"userid": "x", "kind": "desk", "email": "nowhere"}), 422, "email"),
        (json!({"userid": "x", "kind": "desk", "initial": false}), 422, "initial"),
        (json!({"userid": "x", "kind": "desk", "attr": "{}"}), 422, "attr"),
        (json!({"userid": "x", "kind": "desk", "grant": {}}), 422, "grant"),
        (json!({"userid": "x", "kind": "service", "grant": {"rights": ["fly"]}}), 422, "grant.rights"),
        (json!({"userid": "x", "kind": "service", "grant": {"firms": ["NONE"]}}), 422, "grant.firms"),
        (json!({"userid": "x", "kind": "service", "grant": {"sources": ["::1/8"]}}), 422, "grant.sources"),
    ] {
        let (seen_status, seen_field, detail) = desk.ask("POST", "/people", body.clone()).await.problem();
        assert_eq!((seen_status, seen_field.as_str()), (status, field), "{body}: {detail}");
    }
}

#[tokio::test]
async fn e8_a_password_comes_encrypted_for_the_api_or_not_at_all() {
    let desk = desk();
    let add = |password: Value| json!({"userid": "olga", "kind": "desk", "password": password});
    let clear = desk.ask("POST", "/people", add(json!("correct horse battery staple"))).await;
    assert_eq!(clear.status, 422);
    let remedy =
        "encrypt it with the key of GET /api/v1/challenge, label api, or leave it out to have one generated";
    assert_eq!((&clear.body["field"], &clear.body["remedy"]), (&json!("password"), &json!(remedy)));
    assert!(!clear.body.to_string().contains("horse"), "{}", clear.body);
    for wrong in [json!({"clear": "horse"}), json!(["horse"]), json!({"keyid": "k", "ciphertext": 5})] {
        let (status, _, detail) = desk.ask("POST", "/people", add(wrong)).await.problem();
        assert!(status == 422 && !detail.contains("horse"), "{detail}");
    }
    let dead = json!({"keyid": "gone", "ciphertext": "AAAA"});
    let dead = desk.ask("POST", "/people", add(dead)).await;
    assert!(dead.body["remedy"].as_str().unwrap().contains("GET /api/v1/challenge"));
    assert_eq!(dead.problem().0, 409);
    let short = desk.ask("POST", "/people", add(desk.encrypted("too short").await)).await;
    assert_eq!((&short.body["rule"], &short.body["field"]), (&json!("too-short"), &json!("password")));
    assert!(short.body["detail"].as_str().unwrap().contains("too few characters"));
    assert_eq!(short.problem().0, 422);

    let password = desk.encrypted("an entirely fresh phrase").await;
    let added = desk.ask("POST", "/people", add(password.clone())).await.ok();
    assert!(added.get("password").is_none(), "only what was generated is shown: {added}");
    let replayed = desk.ask("POST", "/people/olga/password", json!({"password": password})).await.problem();
    assert_eq!((replayed.0, replayed.1.as_str()), (422, "password"), "e4: once");
    let set = desk.ask(
        "POST",
        "/people/olga/password",
        json!({"password": desk.encrypted("another phrase entirely").await}),
    );
    assert_eq!(set.await.ok(), json!({}));
    assert!(desk.raw("POST", "/people/olga/password", "").await.ok()["password"].is_string());
    assert_eq!(desk.raw("POST", "/people/none/password", "").await.problem().0, 404);
}

#[tokio::test]
async fn what_is_absent_stays_and_null_is_cleared() {
    let desk = desk();
    desk.firm("ACME").await;
    let new = json!({"userid": "bot", "kind": "service", "firm": "ACME", "initial": false, "email": "bot@acme.example",
        "roles": "1010", "attr": {"desk": 4}, "grant": {"firms": ["ACME"], "rights": ["verify"], "sources": ["127.0.0.1"]}});
    let added = desk.ask("POST", "/people", new).await.ok()["person"].take();
    assert_eq!(added["grant"], json!({"firms": ["ACME"], "rights": ["verify"], "sources": ["127.0.0.1/32"]}));
    let changed = json!({"roles": "1111", "email": null, "attr": null, "standing": "disabled"});
    let changed = desk.ask("PATCH", "/people/bot", changed).await.ok();
    assert_eq!(
        (&changed["roles"], &changed["email"], &changed["attr"]),
        (&json!("1111"), &Value::Null, &Value::Null)
    );
    assert_eq!((&changed["standing"], &changed["grant"]), (&json!("disabled"), &added["grant"]));
    let cleared = desk.ask("PATCH", "/people/bot", json!({"standing": "active", "grant": null})).await.ok();
    assert_eq!((&cleared["standing"], &cleared["grant"]), (&json!("active"), &Value::Null));
    assert_eq!(desk.ask("PATCH", "/people/bot", json!({})).await.ok(), cleared, "nothing to do is no change");

    assert_eq!(
        desk.ask("PATCH", "/people/bot", json!({"auth_system": "otp"})).await.problem().1,
        "auth_system"
    );
    assert_eq!(desk.ask("PATCH", "/people/bot", json!({"standing": "away"})).await.problem().1, "standing");
    assert_eq!(desk.ask("PATCH", "/people/bot", json!({"firm": "B"})).await.problem().1, "firm");
    assert_eq!(desk.ask("PATCH", "/people/none", json!({})).await.problem().0, 404);
    let request = |tag: String| {
        let request = Request::builder().method("PATCH").uri("/api/v1/people/bot").header("if-match", tag);
        request.header(CONTENT_TYPE, "application/json").body(Body::from(r#"{"roles":"0000"}"#)).unwrap()
    };
    assert_eq!(desk.send(request("\"1\"".to_owned())).await.problem().0, 412);
    assert_eq!(desk.send(request(format!("\"{}\"", cleared["version"]))).await.ok()["roles"], "0000");
}

#[tokio::test]
async fn s11_an_operator_of_the_desk_is_recovered_with_a_reason_and_nobody_else() {
    let desk = desk();
    desk.firm("ACME").await;
    desk.trader("julian", "ACME").await;
    desk.ask("POST", "/people", json!({"userid": "dora", "kind": "desk"})).await.ok();
    let why = json!({"reason": "telephone and recovery codes lost"});
    let recovered = desk.ask("POST", "/people/dora/recover", why.clone()).await.ok();
    assert!(recovered["link"].as_str().unwrap().contains("/setup#"), "{recovered}");
    assert_eq!(recovered["password"].as_str().unwrap().len(), 23);
    assert!(!desk.get("/people/dora").await.ok().to_string().contains("/setup#"), "shown once");
    assert_eq!(desk.ask("POST", "/people/julian/recover", why.clone()).await.problem().0, 422);
    assert_eq!(desk.ask("POST", "/people/none/recover", why).await.problem().0, 404);
    assert_eq!(desk.ask("POST", "/people/dora/recover", json!({})).await.problem().1, "reason");
    assert_eq!(desk.ask("POST", "/people/dora/recover", json!({"reason": ""})).await.problem().1, "reason");
}

#[tokio::test]
async fn t11_a_seed_is_shown_once_and_an_authenticator_taken_away() {
    let desk = desk();
    desk.firm("ACME").await;
    desk.trader("julian", "ACME").await;
    let issued = desk.raw("POST", "/people/julian/authenticator", "").await;
    assert_eq!(issued.status, 201);
    let seed = issued.body["seed"].as_str().unwrap();
    assert_eq!(BASE32_NOPAD.decode(seed.as_bytes()).unwrap().len(), 20);
    assert!(issued.body["uri"].as_str().unwrap().starts_with("otpauth://totp/"), "{}", issued.body);
    let shown = desk.get("/people/julian").await.ok();
    assert_eq!(shown["authenticator"]["state"], "pending");
    assert_eq!(shown["authenticator"]["digits"], 6);
    let revoked = desk.raw("DELETE", "/people/julian/authenticator", "").await.ok();
    assert_eq!(revoked["authenticator"]["state"], "revoked");
    let nothing = desk.raw("DELETE", "/people/julian/authenticator", "").await.problem();
    assert_eq!((nothing.0, nothing.1.as_str()), (409, "authenticator"));
    assert_eq!(desk.raw("POST", "/people/julian/unlock", "").await.ok()["userid"], "julian");
    assert_eq!(desk.raw("POST", "/people/none/unlock", "").await.problem().0, 404);
    assert_eq!(desk.raw("POST", "/people/none/authenticator", "").await.problem().0, 404);
    assert_eq!(desk.ask("POST", "/people/julian/unlock", json!({"x": 1})).await.problem().1, "x");
    desk.ask("POST", "/people", json!({"userid": "bot", "kind": "service"})).await.ok();
    assert_eq!(desk.raw("POST", "/people/bot/authenticator", "").await.problem().0, 422);
}

#[tokio::test]
async fn people_are_listed_in_pages_and_by_what_they_are() {
    let desk = desk();
    desk.firm("ACME").await;
    for n in 0..7 {
        desk.trader(&format!("trader{n}"), "ACME").await;
    }
    desk.ask("POST", "/people", json!({"userid": "operator", "kind": "desk"})).await.ok();
    desk.ask("PATCH", "/people/trader3", json!({"standing": "disabled"})).await.ok();
    let names = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap();
        items.iter().map(|item| item["userid"].as_str().unwrap().to_owned()).collect()
    };
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = desk.get(&format!("/people?limit=3{cursor}")).await.ok();
        seen.extend(names(&page));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 8);
    assert!(seen.is_sorted());
    let list = async |query: &str| names(&desk.get(&format!("/people?{query}")).await.ok());
    assert_eq!(list("kind=desk").await, ["operator"]);
    assert_eq!(list("firm=acme&standing=disabled").await, ["trader3"]);
    assert_eq!(list("text=TRADER6").await, ["trader6"]);
    assert_eq!(list("registered=true").await, Vec::<String>::new());
    assert_eq!(list("registered=false&kind=trader&limit=500").await.len(), 7);
    for wrong in ["kind=boss", "standing=x", "registered=maybe", "firm=a%20b", "cursor=!"] {
        let field = wrong.split('=').next().unwrap();
        assert_eq!(desk.get(&format!("/people?{wrong}")).await.problem().1, field);
    }
}

#[tokio::test]
async fn q4_what_was_done_is_in_the_audit_with_who_when_and_why() {
    let desk = desk();
    desk.firm("ACME").await;
    desk.trader("julian", "ACME").await;
    desk.trader("jane", "ACME").await;
    desk.world.gate.refuse_local(77).await;
    let all = desk.get("/audit").await.ok();
    assert_eq!((all["items"].as_array().unwrap().len(), &all["next"]), (4, &Value::Null));
    let newest = &all["items"][0];
    assert_eq!((&newest["event"], &newest["outcome"]), (&json!("administration-refused"), &json!("refused")));
    assert_eq!(
        (&newest["actor"], &newest["reason"]),
        (&json!({"kind": "local", "uid": 77}), &json!("source-not-permitted"))
    );
    assert_eq!((&newest["node"], &newest["door"]), (&json!("node1"), &json!("local")));
    assert!(Wall::parse(newest["at"].as_str().unwrap()).is_some());
    let on_jane = desk.get("/audit?userid=Jane").await.ok();
    assert_eq!(on_jane["items"].as_array().unwrap().len(), 1);
    assert_eq!(on_jane["items"][0]["subject"]["userid"], "jane");
    assert_eq!(on_jane["items"][0]["factor"], "local-user");
    let attempt = newest["attempt"].as_str().unwrap();
    assert_eq!(desk.get(&format!("/audit?attempt={attempt}")).await.ok()["items"][0]["no"], newest["no"]);
    let page = desk.get("/audit?event=person-added&firm=ACME&outcome=allowed&door=local&limit=1").await.ok();
    assert_eq!(page["items"][0]["subject"]["userid"], "jane");
    let next = page["next"].as_str().unwrap();
    let page = desk.get(&format!("/audit?event=person-added&limit=1&cursor={next}")).await.ok();
    assert_eq!((&page["items"][0]["subject"]["userid"], &page["next"]), (&json!("julian"), &Value::Null));
    assert_eq!(desk.get("/audit?until=2000-01-01T00:00:00Z").await.ok()["items"], json!([]));
    assert_eq!(
        desk.get("/audit?since=2000-01-01T00:00:00Z").await.ok()["items"].as_array().unwrap().len(),
        4
    );
    let (_, field, detail) = desk.get("/audit?event=login-grant").await.problem();
    assert_eq!(
        (field.as_str(), detail.as_str()),
        ("event", "\"login-grant\" is not known; did you mean login-granted?")
    );
    for wrong in
        ["outcome=x", "door=x", "attempt=xyz", "since=yesterday", "until=1", "cursor=x", "firm=a%20b"]
    {
        let field = wrong.split('=').next().unwrap();
        assert_eq!(desk.get(&format!("/audit?{wrong}")).await.problem().1, field);
    }
}

#[test]
fn q4_a_trace_shows_every_check_of_its_walk() {
    use doorward_core::audit::{Context, Deny, Door, Entry, Event};
    use doorward_core::trace::{Check, Trace, Walk};
    let context =
        Context { at: Wall::from_s(0), door: Door::WebSocket, source: None, attempt: Default::default() };
    let mut trace = Trace::of(Walk::Code);
    trace.skip(Check::FirmActive);
    let trace = trace.fail(Check::CodeMatches, "a step within the window", "no step nearby");
    let entry = Entry::new(&context, Event::CodeRefused, Actor::unknown("hunter2")).refused(Deny::WrongCode);
    let shown = show::entry(9, &Entry { trace: Some(trace), ..entry });
    assert_eq!(shown["actor"], json!({"kind": "unknown", "begins": "hun", "chars": 7}));
    assert_eq!(shown["at"], "1970-01-01T00:00:00.000Z");
    let steps = shown["trace"]["steps"].as_array().unwrap();
    assert_eq!((&shown["trace"]["walk"], steps.len()), (&json!("code"), Walk::Code.checks().len()));
    let find = |check: &str| steps.iter().find(|step| step["check"] == check).unwrap();
    assert_eq!(find("person-active")["result"], "passed");
    assert_eq!(find("firm-active")["result"], "not-needed");
    assert_eq!(find("code-unused")["result"], "not-reached");
    let failed = json!({"check": "code-matches", "result": "failed", "expected": "a step within the window",
        "seen": "no step nearby"});
    assert_eq!(*find("code-matches"), failed);
}

#[tokio::test]
async fn q3_no_answer_holds_a_hash_or_a_seed_after_it_was_shown() {
    let desk = desk();
    desk.firm("ACME").await;
    let password = desk.trader("julian", "ACME").await["password"].as_str().unwrap().to_owned();
    let seed =
        desk.raw("POST", "/people/julian/authenticator", "").await.ok()["seed"].as_str().unwrap().to_owned();
    let unlocked = desk.raw("POST", "/people/julian/unlock", "").await.ok();
    let edited = desk.ask("PATCH", "/people/julian", json!({"roles": "1"})).await.ok();
    let mut answers = vec![unlocked.to_string(), edited.to_string()];
    for path in ["/people/julian", "/people", "/audit", "/firms", "/status", "/policy", "/firms/ACME/policy"]
    {
        answers.push(desk.get(path).await.ok().to_string());
    }
    for answer in answers {
        for secret in
            ["argon2", "$v=", "phc", "sealed", "blob", "_us\"", "otpauth", password.as_str(), seed.as_str()]
        {
            assert!(!answer.contains(secret), "{secret} in {answer}");
        }
    }
}

#[tokio::test]
async fn the_node_says_how_it_is_and_a_fault_is_told_with_what_to_do() {
    let desk = desk();
    desk.firm("ACME").await;
    let status = desk.get("/status").await.ok();
    assert_eq!(
        (&status["node"], &status["head"]["no"], &status["sessions"]),
        (&json!("node1"), &json!(1), &json!(0))
    );
    assert_eq!(status["head"]["hash"].as_str().unwrap().len(), 64);
    assert_eq!(status["vault"], json!({"provider": "soft", "hsm": false, "challenge_bits": 2048}));
    assert_eq!((&status["ready"], &status["clock_good"]), (&json!(true), &json!(true)));

    desk.world.vault_down(true);
    let status = desk.get("/status").await.ok();
    assert_eq!(status["ready"], false);
    assert!(status["not_ready"].as_str().unwrap().contains("vault"), "{status}");
    let down = desk.get("/challenge").await;
    assert!(down.headers.contains_key("retry-after"));
    assert_eq!(down.problem().0, 503);
    desk.world.vault_down(false);
    desk.world.gate.stop();
    let stopping = desk.ask("POST", "/people", json!({"userid": "x", "kind": "desk"})).await.problem();
    assert_eq!(stopping, (503, String::new(), "the server is stopping".into()));
}

#[test]
fn what_is_busy_says_when_to_come_back() {
    let response = Problem::from(crate::fault::Fault::Busy("too many password checks wait")).into_response();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
}

#[tokio::test]
async fn a_demos_clock_moves_forward_only_and_t4_does_not_mind() {
    let desk = desk();
    let at = |answer: &Value| Wall::parse(answer["now"].as_str().unwrap()).unwrap();
    let before = at(&desk.get("/demo/clock").await.ok());
    let after = at(&desk.ask("POST", "/demo/clock", json!({"advance_s": 3600})).await.ok());
    assert!(after.since(before).as_secs() >= 3599);
    let to = Wall::parse("2090-01-01T00:00:00Z").unwrap();
    let set = at(&desk.ask("POST", "/demo/clock", json!({"set": to.to_string()})).await.ok());
    assert!(set >= to && set.since(to).as_secs() < 60);
    assert_eq!(desk.get("/status").await.ok()["clock_good"], true, "a move counts as agreed");
    for (body, field) in [
        (json!({"set": "2001-01-01T00:00:00Z"}), "set"),
        (json!({"set": "soon"}), "set"),
        (json!({"set": "2101-01-01T00:00:00Z"}), "set"),
        (json!({"advance_s": u64::MAX}), "advance_s"),
        (json!({"advance_s": -1}), "advance_s"),
        (json!({}), ""),
        (json!({"advance_s": 1, "set": "2095-01-01T00:00:00Z"}), ""),
    ] {
        let (status, seen, detail) = desk.ask("POST", "/demo/clock", body).await.problem();
        assert_eq!((status, seen.as_str()), (422, field), "{detail}");
    }
    let state = ApiState { demo_clock: None, ..desk.world.api() };
    let serious = Desk { router: router(state).layer(Extension(Actor::Local { uid: 0 })), world: desk.world };
    assert_eq!(serious.get("/demo/clock").await.problem().0, 404);
    assert_eq!(serious.ask("POST", "/demo/clock", json!({"advance_s": 1})).await.problem().0, 404);
}

#[tokio::test]
async fn s8_a_change_is_done_to_its_end_although_its_caller_goes_away() {
    let desk = desk();
    desk.firm("ACME").await;
    let session = json!({
        "session_id": "B08", "firm": "ACME", "kind": "order", "environment": "test",
        "sender_comp_ids": ["B08004"], "operator_ids": ["0J4L"],
    });
    desk.ask("POST", "/sessions", session).await.ok();
    let (told, ended) = std::sync::mpsc::channel();
    desk.world.gate.on_end(Box::new(move |what| told.send(what).unwrap()));
    {
        let asked = desk.ask("POST", "/sessions/B08/lock", json!({"reason": "too loud"}));
        // Begun, and broken off while the journal writes.
        tokio::select! {
            biased;
            _ = asked => {}
            () = std::future::ready(()) => {}
        }
    }
    desk.world.gate.idle().await;
    let id = doorward_core::id::SessionId::parse(b"B08").unwrap();
    assert_eq!(ended.try_iter().collect::<Vec<_>>(), [crate::gate::fix::EndOf::Session(id)]);
}
