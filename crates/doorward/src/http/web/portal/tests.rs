//! Rules of the portal, each by its id, over a real listener.

use std::time::Duration;

use doorward_client::totp::Totp;
use doorward_core::ask::{Ask, Padding, Verdict};
use doorward_core::audit::{Actor, Deny, Event};
use doorward_core::id::UserId;
use doorward_core::identity::link::{Handed, LinkState, SetupLink};
use doorward_core::identity::person::{Kind, Password, Person};
use doorward_core::identity::policy::{AuthSystem, Policy};

use crate::gate::link_hash;
use crate::gate::testing::{GOOD, origin, secret};
use crate::http::web::testing::{Seen, Served, Tab, borrowed, request, served};

/// Another password that keeps every rule.
const OWN: &str = "amber harbour 62 kites";
/// The token of a setup link.
const TOKEN: &str = "b3BlbiBzZXNhbWUsIHBsZWFzZSBk";
const STEP: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

fn person(served: &Served, name: &str) -> Person {
    served.world.gate.person(&UserId::parse(name).unwrap()).unwrap()
}

/// Julian with the password [`GOOD`], who is to register; `initial`: he must change it.
async fn with_newcomer(initial: bool) -> Served {
    let served = served().await;
    at_the_start_of_a_step(&served);
    served.world.person("julian", AuthSystem::Otp, initial).await;
    served
}

/// A step ends in the midst of no test.
fn at_the_start_of_a_step(served: &Served) {
    let into_us = served.world.now().as_us().rem_euclid(30_000_000);
    served.world.gate.advance_clock(STEP - Duration::from_micros(into_us.unsigned_abs()));
}

/// The same with a live setup link.
async fn with_link(initial: bool) -> Served {
    let served = with_newcomer(initial).await;
    give_link(&served, "julian").await;
    served
}

async fn give_link(served: &Served, name: &str) {
    let made_at = served.world.now();
    let link = SetupLink {
        hash: link_hash(TOKEN),
        made_at,
        expires_at: made_at + HOUR,
        handed: Handed::Mailed,
        by: None,
        wrong: 0,
        state: LinkState::Live,
    };
    served.world.set_link(&person(served, name), link).await;
}

/// Sends the form of the setup link.
async fn set_up(tab: &mut Tab, token: &str, userid: &str, password: &str) -> Seen {
    let mut fields = tab.envelope("/setup", userid, "password", password).await;
    fields.extend([("userid", userid), ("link", token)].map(|(name, value)| (name.into(), value.into())));
    tab.post_bare("/setup", &borrowed(&fields)).await
}

/// Sends the form of the password page; without a present one where an initial one is replaced.
async fn change(tab: &mut Tab, present: Option<&str>, new: &str, more: &[(&str, &str)]) -> Seen {
    let mut fields = tab.envelope("/password", "julian", "new", new).await;
    if let Some(present) = present {
        fields.push(tab.envelope("/password", "julian", "present", present).await.remove(2));
    }
    fields.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    tab.post_bare("/password", &borrowed(&fields)).await
}

/// The authenticator of a page that shows a seed.
fn authenticator(seen: &Seen) -> Totp {
    let uri = seen.body.split_once("href=\"otpauth://").unwrap_or_else(|| panic!("{}", seen.body)).1;
    let uri = uri.split_once('"').unwrap().0.replace("&#38;", "&").replace("&amp;", "&");
    Totp::parse(&format!("otpauth://{uri}")).unwrap()
}

fn shows_a_seed(seen: &Seen) -> bool {
    seen.body.contains("otpauth:") || seen.body.contains("id=\"key\"")
}

fn code(served: &Served, totp: &Totp) -> String {
    totp.code(served.world.now()).to_string()
}

/// The recovery codes of a page.
fn codes_of(seen: &Seen) -> Vec<String> {
    let list = seen.body.split_once("<ul class=\"codes\"").unwrap_or_else(|| panic!("{}", seen.body)).1;
    let items = list.split_once("</ul>").unwrap().0.split("<li>").skip(1);
    items.map(|item| item.split_once("</li>").unwrap().0.to_owned()).collect()
}

/// Registers Julian, who has chosen his password; the tab in which he is signed in.
async fn registered(served: &Served) -> (Tab, Totp, Vec<String>) {
    let mut tab = served.tab();
    assert_eq!(tab.sign_in("julian", GOOD).await.location(), "/register");
    let totp = authenticator(&tab.post("/register", &[]).await);
    let done = tab.post("/register/code", &[("code", &code(served, &totp))]).await;
    assert_eq!(done.status, 200, "{}", done.body);
    (tab, totp, codes_of(&done))
}

async fn is_signed_in(tab: &Tab) -> bool {
    tab.clone().get("/account").await.status == 200
}

#[tokio::test]
async fn workflow_3_from_the_link_to_the_recovery_codes() {
    let served = with_link(true).await;
    let mut tab = served.tab();
    assert_eq!(set_up(&mut tab, TOKEN, "Julian", GOOD).await.location(), "/register");
    assert_eq!(tab.get("/register").await.location(), "/password", "P11");
    assert_eq!(change(&mut tab, None, OWN, &[]).await.location(), "/register");
    let intro = tab.get("/register").await;
    assert!(intro.status == 200 && !shows_a_seed(&intro), "{}", intro.body);
    let totp = authenticator(&tab.post("/register", &[]).await);
    let wrong = tab.post("/register/code", &[("code", "000000")]).await;
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("That code is not right") && !shows_a_seed(&wrong), "T11: {}", wrong.body);
    assert!(!is_signed_in(&tab).await, "T12");
    let before = tab.cookie.clone();
    let spaced = code(&served, &totp);
    let (one, two) = spaced.split_at(3);
    let done = tab.post("/register/code", &[("code", &format!("{one} {two}"))]).await;
    assert_eq!((done.status, codes_of(&done).len()), (200, 10), "{}", done.body);
    assert!(
        done.body.contains("download=\"doorward-recovery-codes.txt\"") && done.body.contains("data-copy")
    );
    assert_ne!(tab.cookie, before, "S6");
    assert!(is_signed_in(&tab).await);
    let account = tab.get("/account").await.body;
    assert!(account.contains("Registered") && account.contains("10 left"), "{account}");
    assert!(codes_of(&done).iter().all(|code| !account.contains(code.as_str())), "T16: shown once");
    assert!(matches!(person(&served, "julian").link.unwrap().state, LinkState::Used { .. }));
    served.stop().await;
}

#[tokio::test]
async fn k3_looking_at_a_link_never_uses_it() {
    let served = with_link(false).await;
    for method in ["GET", "HEAD", "OPTIONS", "GET"] {
        for path in ["/setup", "/register", "/register/code", "/claim"] {
            served.tab().send(request(method, path).body(String::new()).unwrap()).await;
        }
    }
    assert_eq!(served.world.entries(1)[0].event, Event::LinkMade, "nothing was written down");
    let mut tab = served.tab();
    assert_eq!(set_up(&mut tab, TOKEN, "julian", GOOD).await.location(), "/register");
    served.stop().await;
}

#[tokio::test]
async fn k3_a_closed_page_loses_nothing() {
    let served = with_link(true).await;
    let mut tab = served.tab();
    set_up(&mut tab, TOKEN, "julian", GOOD).await.location();
    assert_eq!(tab.get("/").await.location(), "/register", "where it was");
    drop(tab);
    let mut tab = served.tab();
    set_up(&mut tab, TOKEN, "julian", GOOD).await.location();
    change(&mut tab, None, OWN, &[]).await.location();
    let lost = authenticator(&tab.post("/register", &[]).await);
    drop(tab);
    let mut tab = served.tab();
    set_up(&mut tab, TOKEN, "julian", OWN).await.location();
    let totp = authenticator(&tab.post("/register", &[]).await);
    let old = tab.post("/register/code", &[("code", &code(&served, &lost))]).await;
    assert_eq!(old.status, 422, "T11: another seed each time");
    assert_eq!(tab.post("/register/code", &[("code", &code(&served, &totp))]).await.status, 200);
    served.stop().await;
}

#[tokio::test]
async fn k4_the_link_alone_shows_no_seed_and_every_refusal_is_the_same_page() {
    let served = with_link(false).await;
    served.world.person("jane", AuthSystem::Otp, false).await;
    let mut pages = Vec::new();
    for (token, userid, password) in [
        (TOKEN, "julian", "not the password"),
        (TOKEN, "jane", GOOD),
        (TOKEN, "nobody", GOOD),
        ("c29tZXRoaW5nIGVsc2UsIGp1c3Q", "julian", GOOD),
        ("", "julian", GOOD),
    ] {
        let mut tab = served.tab();
        let seen = set_up(&mut tab, token, userid, password).await;
        assert_eq!(seen.status, 422);
        assert!(!shows_a_seed(&seen));
        assert_eq!(tab.get("/register").await.location(), "/signin");
        assert_eq!(tab.post("/register", &[]).await.location(), "/signin");
        let csrf = seen.input("csrf").to_owned();
        let plain = seen.body.replace(&csrf, "").replace(&format!("value=\"{userid}\""), "value=\"\"");
        pages.push(plain.replace(&format!("value=\"{token}\""), "value=\"\""));
    }
    assert!(pages.windows(2).all(|two| two[0] == two[1]), "{pages:#?}");
    assert!(pages[0].contains("does not work any more"), "{}", pages[0]);
    served.stop().await;
}

#[tokio::test]
async fn k8_five_wrong_passwords_take_the_link_back() {
    let served = with_link(false).await;
    for n in 0..4 {
        set_up(&mut served.tab(), TOKEN, "julian", &format!("wrong guess number {n}")).await;
    }
    assert!(matches!(person(&served, "julian").link.unwrap().state, LinkState::Live));
    set_up(&mut served.tab(), TOKEN, "julian", "wrong guess number 5").await;
    assert!(matches!(person(&served, "julian").link.unwrap().state, LinkState::Revoked { .. }));
    assert_eq!(set_up(&mut served.tab(), TOKEN, "julian", GOOD).await.status, 422);
    served.stop().await;
}

#[tokio::test]
async fn k9_an_enrolment_is_confirmed_in_the_browser_that_began_it() {
    let served = with_newcomer(false).await;
    let (mut one, mut other) = (served.tab(), served.tab());
    one.sign_in("julian", GOOD).await.location();
    other.sign_in("julian", GOOD).await.location();
    let totp = authenticator(&one.post("/register", &[]).await);
    let foreign = other.post("/register/code", &[("code", &code(&served, &totp))]).await;
    assert!(foreign.status == 422 && foreign.body.contains("This QR code is over"), "{}", foreign.body);
    let stranger = served.tab().post("/register/code", &[("code", &code(&served, &totp))]).await;
    assert_eq!(stranger.location(), "/signin");
    assert!(!person(&served, "julian").authenticator.is_registered());
    assert_eq!(one.post("/register/code", &[("code", &code(&served, &totp))]).await.status, 200);
    served.stop().await;
}

#[tokio::test]
async fn t11_a_seed_is_on_one_answer_alone_and_never_in_the_audit() {
    let served = with_newcomer(false).await;
    let mut tab = served.tab();
    tab.sign_in("julian", GOOD).await.location();
    let shown = tab.post("/register", &[]).await;
    let base32 = shown.body.split_once("secret=").unwrap().1.split(['&', '"']).next().unwrap().to_owned();
    assert!(base32.len() >= 32, "160 bits: {base32}");
    let groups = base32.as_bytes().chunks(4).map(|group| std::str::from_utf8(group).unwrap());
    let groups: String = groups.map(|group| format!("<span>{group}</span>")).collect();
    assert!(shown.body.contains(&groups), "{}", shown.body);
    assert_eq!(shown.field("cache-control"), Some("no-store"));
    for path in ["/register", "/register/code", "/account", "/"] {
        assert!(!tab.get(path).await.body.contains(&base32), "{path}");
    }
    let audit = format!("{:?}", served.world.entries(100));
    assert!(!audit.contains(&base32));
    assert!(!tab.post("/register", &[]).await.body.contains(&base32), "another one each time");
    served.stop().await;
}

#[tokio::test]
async fn t12_five_wrong_codes_begin_anew_and_let_nobody_in() {
    let served = with_newcomer(false).await;
    let mut tab = served.tab();
    tab.sign_in("julian", GOOD).await.location();
    let totp = authenticator(&tab.post("/register", &[]).await);
    for _ in 0..4 {
        let wrong = tab.post("/register/code", &[("code", "12345")]).await;
        assert!(wrong.body.contains("That code is not right"), "{}", wrong.body);
    }
    let fifth = tab.post("/register/code", &[("code", "12345")]).await;
    assert!(fifth.body.contains("This QR code is over") && fifth.body.contains("Show the QR code"));
    let late = tab.post("/register/code", &[("code", &code(&served, &totp))]).await;
    assert_eq!(late.status, 422);
    assert!(!is_signed_in(&tab).await);
    served.stop().await;
}

#[tokio::test]
async fn t13_nobody_registers_a_second_authenticator() {
    let served = with_newcomer(false).await;
    let mut late = served.tab();
    late.sign_in("julian", GOOD).await.location();
    let (mut tab, ..) = registered(&served).await;
    let refused = late.post("/register", &[]).await;
    assert!(refused.status == 422 && !shows_a_seed(&refused), "{}", refused.body);
    assert!(refused.body.contains("An authenticator is registered for you already"), "{}", refused.body);
    assert_eq!(
        tab.post("/register", &[]).await.location(),
        "/signin",
        "who is signed in has nothing to register"
    );
    assert_eq!(served.tab().sign_in("julian", GOOD).await.location(), "/signin/code");
    served.stop().await;
}

#[tokio::test]
async fn where_a_link_is_needed_the_page_says_so_at_once() {
    let served = with_newcomer(false).await;
    let policy = Policy { registration_needs_link: Some(true), ..Policy::default() };
    served.world.gate.set_venue_policy(&policy, Actor::Node).await.unwrap();
    let mut tab = served.tab();
    tab.sign_in("julian", GOOD).await.location();
    let seen = tab.get("/register").await;
    assert!(seen.body.contains("Ask your administrator to send you one"), "{}", seen.body);
    assert!(!shows_a_seed(&tab.post("/register", &[]).await));
    give_link(&served, "julian").await;
    let mut tab = served.tab();
    set_up(&mut tab, TOKEN, "julian", GOOD).await.location();
    assert!(shows_a_seed(&tab.post("/register", &[]).await));
    served.stop().await;
}

/// A tab that came in by a recovery code: what it proved is no fresh one-time password.
async fn by_recovery_code(served: &Served, given: &str) -> Tab {
    let mut tab = served.tab();
    assert_eq!(tab.sign_in("julian", GOOD).await.location(), "/signin/code");
    let page = tab.get("/signin/code").await.body;
    assert!(page.contains("href=\"/signin/recovery\""), "{page}");
    let seen = tab.post("/signin/recovery", &[("code", given)]).await;
    assert_eq!(seen.location(), "/account?done=recovery");
    tab
}

#[tokio::test]
async fn t14_new_recovery_codes_take_a_fresh_one_time_password() {
    let served = with_newcomer(false).await;
    let (mut fresh, totp, codes) = registered(&served).await;
    let mut stale = by_recovery_code(&served, &codes[0]).await;
    let asked = stale.post("/account/recovery-codes", &[]).await;
    assert!(asked.status == 422 && asked.body.contains("Enter the code"), "{}", asked.body);
    let used = stale.post("/account/recovery-codes", &[("code", &code(&served, &totp))]).await;
    assert!(used.status == 422 && used.body.contains("used already"), "T17: {}", used.body);
    served.world.gate.advance_clock(STEP);
    let before = stale.cookie.clone();
    let made = stale.post("/account/recovery-codes", &[("code", &code(&served, &totp))]).await;
    assert_eq!((made.status, codes_of(&made).len()), (200, 10), "{}", made.body);
    assert_ne!(stale.cookie, before, "S6");
    assert!(codes_of(&made).iter().all(|code| !codes.contains(code)));
    let without = fresh.get("/account/recovery-codes").await.body;
    assert!(!without.contains("name=\"code\""), "the sign-in's code counts: {without}");
    served.stop().await;
}

#[tokio::test]
async fn t16_a_recovery_code_signs_in_once() {
    let served = with_newcomer(false).await;
    let (_, _, codes) = registered(&served).await;
    let mut tab = by_recovery_code(&served, &codes[3].to_lowercase()).await;
    let account = tab.get("/account?done=recovery").await.body;
    assert!(account.contains("The recovery code is used up now") && account.contains("9 left"), "{account}");
    let mut again = served.tab();
    again.sign_in("julian", GOOD).await.location();
    let refused = again.post("/signin/recovery", &[("code", &codes[3])]).await;
    assert!(refused.status == 422 && refused.body.contains("Each works once"), "{}", refused.body);
    served.stop().await;
}

#[tokio::test]
async fn p6_a_change_takes_the_present_password_and_offers_to_end_other_sessions() {
    let served = served().await;
    served.world.person("julian", AuthSystem::Password, false).await;
    let (mut tab, mut other) = (served.tab(), served.tab());
    tab.sign_in("julian", GOOD).await.location();
    other.sign_in("julian", GOOD).await.location();
    let page = tab.get("/password").await.body;
    assert!(page.contains("name=\"end_others\" value=\"1\" checked"), "{page}");
    let wrong = change(&mut tab, Some("not the present one"), OWN, &[("end_others", "1")]).await;
    assert!(
        wrong.status == 422 && wrong.body.contains("Your present password is not right"),
        "{}",
        wrong.body
    );
    assert!(is_signed_in(&other).await);
    assert_eq!(change(&mut tab, Some(GOOD), OWN, &[]).await.location(), "/account?done=password");
    assert!(is_signed_in(&other).await, "not asked for");
    let ended = change(&mut tab, Some(OWN), GOOD, &[("end_others", "1")]).await;
    assert_eq!(ended.location(), "/account?done=password-alone");
    assert!(is_signed_in(&tab).await && !is_signed_in(&other).await);
    assert!(tab.get("/account?done=password-alone").await.body.contains("signed out everywhere else"));
    assert_eq!(served.tab().sign_in("julian", OWN).await.status, 422);
    assert_eq!(served.tab().sign_in("julian", GOOD).await.location(), "/account");
    assert_eq!(change(&mut served.tab(), Some(GOOD), OWN, &[]).await.location(), "/signin");
    served.stop().await;
}

#[tokio::test]
async fn p11_an_initial_password_is_changed_first_and_a_broken_rule_is_told_in_words() {
    let served = served().await;
    served.world.person("julian", AuthSystem::Password, true).await;
    let mut tab = served.tab();
    assert_eq!(tab.sign_in("julian", GOOD).await.location(), "/password");
    assert!(!is_signed_in(&tab).await);
    let page = tab.get("/password").await.body;
    assert!(page.contains("At least 15 characters") && !page.contains("Present password"), "{page}");
    for (password, words) in [
        ("too short", "at least 15 characters"),
        (GOOD, "the password that you have now"),
        ("julian amber harbour", "holds your user name"),
        ("acme amber harbour 62", "the name of your firm"),
        ("passwordpassword", "Too easy to guess"),
    ] {
        let seen = change(&mut tab, None, password, &[]).await;
        assert!(seen.status == 422 && seen.body.contains(words), "{password}: {}", seen.body);
        assert!(!seen.body.contains(password), "a password never comes back");
    }
    assert_eq!(change(&mut tab, None, OWN, &[]).await.location(), "/account");
    assert!(is_signed_in(&tab).await);
    assert!(matches!(person(&served, "julian").password, Password::Own { .. }));
    served.stop().await;
}

/// Whoever else came in with the initial password, and waits, has nothing of it once its owner has chosen their own.
#[tokio::test]
async fn p11_an_initial_password_is_good_for_one_choice_whoever_else_came_in_with_it() {
    let served = with_newcomer(true).await;
    let (mut thief, mut late, mut owner) = (served.tab(), served.tab(), served.tab());
    for tab in [&mut thief, &mut late, &mut owner] {
        assert_eq!(tab.sign_in("julian", GOOD).await.location(), "/register");
    }
    assert_eq!(change(&mut owner, None, OWN, &[]).await.location(), "/register");
    let chosen = person(&served, "julian").password;
    let seen = change(&mut thief, None, "velvet anchors of the sea", &[]).await;
    assert_eq!(seen.location(), "/signin", "{}", seen.body);
    let seen = late.post("/register", &[]).await;
    assert!(!shows_a_seed(&seen), "{}", seen.body);
    assert_eq!(late.get("/register").await.location(), "/signin");
    let now = person(&served, "julian");
    assert!(now.password == chosen && !now.authenticator.is_registered());
    let totp = authenticator(&owner.post("/register", &[]).await);
    assert_eq!(owner.post("/register/code", &[("code", &code(&served, &totp))]).await.status, 200);

    // The same where a password is all that is asked for.
    served.world.person("jane", AuthSystem::Password, true).await;
    let (mut thief, mut owner) = (served.tab(), served.tab());
    for tab in [&mut thief, &mut owner] {
        assert_eq!(tab.sign_in("jane", GOOD).await.location(), "/password");
    }
    for (tab, password, to) in
        [(&mut owner, OWN, "/account"), (&mut thief, "velvet anchors of the sea", "/signin")]
    {
        let fields = tab.envelope("/password", "jane", "new", password).await;
        assert_eq!(tab.post_bare("/password", &borrowed(&fields)).await.location(), to);
    }
    assert!(is_signed_in(&owner).await && !is_signed_in(&thief).await);
    assert!(is_signed_in(&signed_in_with(&served, "jane", OWN).await).await);
    served.stop().await;
}

async fn signed_in_with(served: &Served, userid: &str, password: &str) -> Tab {
    let mut tab = served.tab();
    tab.sign_in(userid, password).await.location();
    tab
}

#[tokio::test]
async fn p12_password_managers_and_paste_work_on_every_page_that_takes_a_password() {
    let served = with_newcomer(true).await;
    served.world.person("jane", AuthSystem::Password, false).await;
    let (mut first, mut own) = (served.tab(), served.tab());
    first.sign_in("julian", GOOD).await.location();
    own.sign_in("jane", GOOD).await.location();
    for (tab, path, current, new) in [
        (&mut served.tab(), "/signin", 1, 0),
        (&mut served.tab(), "/setup", 1, 0),
        (&mut served.tab(), "/claim", 0, 2),
        (&mut first, "/password", 0, 2),
        (&mut own, "/password", 1, 2),
    ] {
        let page = tab.get(path).await.body;
        let count = |text: &str| page.matches(text).count();
        assert_eq!(count("type=\"password\""), current + new, "{path}: {page}");
        assert_eq!(count("autocomplete=\"current-password\""), current, "{path}");
        assert_eq!(count("autocomplete=\"new-password\""), new, "{path}");
        assert_eq!(count("autocomplete=\"username\""), 1, "{path}: a manager knows whose it is");
        assert_eq!(count("onpaste") + count("autocomplete=\"off\""), 0, "{path}");
        for input in page.split("<input").filter(|input| input.contains("type=\"password\"")) {
            let input = input.split('>').next().unwrap();
            assert!(!input.contains("maxlength") && !input.contains(" name="), "{path}: {input}");
        }
        assert!(page.contains("<noscript>"), "{path}");
    }
    served.stop().await;
}

#[tokio::test]
async fn s9_people_see_and_end_what_they_have_open_at_every_door() {
    let served = with_newcomer(false).await;
    let (mut tab, totp, _) = registered(&served).await;
    served.world.gate.advance_clock(STEP);
    let elsewhere = origin(9);
    let ask = Ask::Login {
        userid: "julian".to_owned(),
        password: served.world.encrypted(GOOD, Padding::OaepSha256).into(),
        code: Some(secret(&code(&served, &totp))),
    };
    assert!(matches!(served.world.gate.ask(ask, &elsewhere).await, Verdict::Granted(_)));
    let page = tab.get("/account").await;
    assert!(page.body.contains("WebSocket connection") && page.body.contains("127.0.0.9"), "{}", page.body);
    let number = page.input("connection").to_owned();
    served.world.person("jane", AuthSystem::Password, false).await;
    let mut jane = served.tab();
    jane.sign_in("jane", GOOD).await.location();
    let hers = jane.post("/account/connections/end", &[("connection", &number)]).await;
    assert!(hers.status == 404 && !elsewhere.connection.is_ended(), "somebody else's");
    let ended = tab.post("/account/connections/end", &[("connection", &number)]).await;
    assert_eq!(ended.location(), "/account?done=ended");
    assert!(elsewhere.connection.is_ended());
    assert!(!tab.get("/account").await.body.contains("WebSocket connection"));
    served.stop().await;
}

#[tokio::test]
async fn the_own_attempts_are_told_in_plain_words_and_by_pages() {
    let served = with_newcomer(false).await;
    let (mut tab, totp, _) = registered(&served).await;
    let slow = totp.code(served.world.now() - Duration::from_secs(120)).to_string();
    assert!(matches!(served.world.login("julian", GOOD, Some(&slow)).await, Verdict::CodeRefused(_)));
    let newest = tab.get("/account/attempts").await.body;
    assert!(newest.contains("about 120 s slow") && newest.contains("WebSocket"), "{newest}");
    assert!(newest.contains("The password was right.") && newest.contains("Failed: "), "{newest}");
    for n in 0..25 {
        served.world.login_from(n + 10, "julian", "not the password", None).await;
    }
    let newest = tab.get("/account/attempts").await.body;
    assert_eq!(newest.matches("<details>").count(), 20);
    let older = newest.split_once("href=\"/account/attempts?before=").unwrap().1.split_once('"').unwrap().0;
    let older = tab.get(&format!("/account/attempts?before={older}")).await.body;
    assert!(older.contains("about 120 s slow") && older.contains("To the newest"), "{older}");
    let end = tab.get("/account/attempts?before=1").await.body;
    assert!(end.contains("There is nothing older"), "{end}");
    assert_eq!(tab.get("/account/attempts?before=x").await.status, 404);
    served.stop().await;
}

/// Sends the first form of the claim.
async fn claim(tab: &mut Tab, token: &str, userid: &str, email: &str, password: &str) -> Seen {
    let mut fields = tab.envelope("/claim", userid, "password", password).await;
    let more = [("userid", userid), ("email", email), ("link", token)];
    fields.extend(more.map(|(name, value)| (name.into(), value.into())));
    tab.post_bare("/claim", &borrowed(&fields)).await
}

#[tokio::test]
async fn s11_the_claim_link_makes_the_first_desk_operator() {
    let served = served().await;
    at_the_start_of_a_step(&served);
    let link = served.world.gate.open_claim().await.unwrap().unwrap();
    let token = link.expose().split_once('#').unwrap().1.to_owned();
    let mut tab = served.tab();
    assert_eq!(tab.get("/claim").await.status, 200);
    let no_link = claim(&mut tab, "c29tZXRoaW5nIGVsc2UsIGp1c3Q", "dora", "", GOOD).await;
    assert!(no_link.body.contains("This claim link does not work"), "{}", no_link.body);
    let bad = claim(&mut tab, &token, "dora", "no address", GOOD).await;
    assert!(bad.status == 422 && bad.body.contains("id=\"email-wrong\""), "{}", bad.body);
    assert_eq!((bad.input("userid"), bad.input("link")), ("dora", token.as_str()), "nothing is typed twice");
    let bad = claim(&mut tab, &token, "d ra", "", GOOD).await;
    assert!(bad.body.contains("id=\"userid-wrong\""), "{}", bad.body);
    let bad = claim(&mut tab, &token, "dora", "", "too short").await;
    assert!(bad.body.contains("id=\"new-wrong\""), "{}", bad.body);
    let totp = authenticator(&claim(&mut tab, &token, "dora", "dora@desk.example", GOOD).await);
    let wrong = tab.post("/claim/code", &[("code", "000000")]).await;
    assert!(wrong.status == 422 && !shows_a_seed(&wrong), "T11: {}", wrong.body);
    let foreign = served.tab().post("/claim/code", &[("code", &code(&served, &totp))]).await;
    assert_eq!(foreign.location(), "/claim", "K9");
    let done = tab.post("/claim/code", &[("code", &code(&served, &totp))]).await;
    assert_eq!((done.status, codes_of(&done).len()), (200, 10), "{}", done.body);
    assert!(is_signed_in(&tab).await);
    let dora = person(&served, "dora");
    assert!(dora.kind == Kind::Desk && dora.authenticator.is_registered());
    let again = claim(&mut served.tab(), &token, "mallory", "", GOOD).await;
    assert!(again.body.contains("This claim link does not work"), "{}", again.body);
    assert_eq!(served.world.entries(1)[0].reason, Some(Deny::LinkUnknown));
    served.stop().await;
}

#[tokio::test]
async fn no_page_of_the_portal_is_heavy_or_has_inline_script_or_style() {
    let served = with_newcomer(false).await;
    let mut tab = served.tab();
    tab.sign_in("julian", GOOD).await.location();
    let mut pages = vec![tab.get("/register").await, tab.post("/register", &[]).await];
    for path in ["/setup", "/claim", "/signin"] {
        pages.push(served.tab().get(path).await);
    }
    let (mut tab, ..) = registered(&served).await;
    for path in ["/account", "/account/attempts", "/account/recovery-codes", "/password"] {
        pages.push(tab.get(path).await);
    }
    for page in &pages {
        assert_eq!(page.status, 200);
        assert!(page.body.len() < 24 * 1024, "{} bytes: {}", page.body.len(), page.body);
        for inline in [" style=", "<style", " onclick", " onsubmit", "javascript:"] {
            assert!(!page.body.contains(inline), "{inline}: {}", page.body);
        }
        for script in page.body.split("<script").skip(1) {
            assert!(script.starts_with(" src=\"/assets/"), "{script}");
        }
    }
    served.stop().await;
}
