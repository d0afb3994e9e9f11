//! Pages of the console, each rule by its id or workflow, over a real listener.

use std::collections::BTreeSet;
use std::time::Duration;

use doorward_core::ask::Verdict;
use doorward_core::audit::{Actor, Deny, Event};
use doorward_core::id::{AccessKeyId, FirmCode, SessionId, UserId};
use doorward_core::identity::decide::person::Edit;
use doorward_core::identity::fix_session::{FixSession, SessionKind};
use doorward_core::identity::key_pair::{Environment, Kept, KeyPair};
use doorward_core::identity::mail::{Mail, MailId, MailKind};
use doorward_core::identity::person::{Grant, Kind, Person, Profile, Right, Standing};
use doorward_core::identity::policy::{AuthSystem, Policy};
use doorward_core::identity::sealed::Sealed;
use doorward_core::time::Wall;

use crate::gate::admin::{NewPassword, NewPerson};
use crate::gate::testing::{GOOD, secret, world};
use crate::hashing::HashParams;
use crate::http::web::testing::{Seen, Served, Tab, borrowed, request, served, served_of, served_with_mail};

const STEP: Duration = Duration::from_secs(30);

fn code(text: &str) -> FirmCode {
    FirmCode::parse(text).unwrap()
}

fn person(served: &Served, name: &str) -> Person {
    served.world.gate.person(&UserId::parse(name).unwrap()).unwrap()
}

async fn firm(served: &Served, text: &str) {
    served.world.gate.add_firm(code(text), &format!("Firm {text}"), Actor::Node).await.unwrap();
}

/// Adds somebody with the password [`GOOD`] and all rights of their kind.
async fn somebody(served: &Served, name: &str, kind: Kind, firm: Option<&str>) -> Person {
    let rights: BTreeSet<Right> = Right::ADMINISTRATOR.iter().copied().collect();
    let grant = (kind == Kind::Administrator).then(|| Grant { rights, ..Grant::default() });
    let new = NewPerson {
        userid: UserId::parse(name).unwrap(),
        kind,
        firm: firm.map(code),
        auth_system: (kind != Kind::Service).then_some(AuthSystem::Otp),
        password: NewPassword::Clear(secret(GOOD)),
        initial: false,
        profile: Profile { email: Some(format!("{name}@example.test")), grant, ..Profile::default() },
    };
    served.world.gate.add_person(new, Actor::Node).await.unwrap().0
}

/// A tab in which somebody is signed in with a code of just now.
async fn signed_in(served: &Served, name: &str) -> Tab {
    let totp = served.world.seed(name).await;
    let mut tab = served.tab();
    assert_eq!(tab.sign_in(name, GOOD).await.location(), "/signin/code");
    served.world.next_step();
    let shown = totp.code(served.world.now()).to_string();
    let home = tab.post("/signin/code", &[("code", &shown)]).await;
    let expected = if person(served, name).kind == Kind::Trader { "/account" } else { "/console" };
    assert_eq!(home.location(), expected);
    tab
}

/// Olga of the desk.
async fn olga(served: &Served) -> Tab {
    somebody(served, "olga", Kind::Desk, None).await;
    signed_in(served, "olga").await
}

/// Anna of ACME.
async fn anna(served: &Served) -> Tab {
    firm(served, "ACME").await;
    somebody(served, "anna", Kind::Administrator, Some("ACME")).await;
    signed_in(served, "anna").await
}

/// The values of the inputs and select boxes of a form that are set, as a browser would send them.
fn filled(seen: &Seen) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for input in seen.body.split("<input ").skip(1).map(|rest| rest.split_once('>').unwrap().0) {
        let value = |name: &str| {
            let (_, rest) = input.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"').unwrap().0.to_owned())
        };
        let Some(name) = value(" name").or_else(|| value("name")) else { continue };
        let is_box = input.contains("type=\"checkbox\"") || input.contains("type=\"radio\"");
        if name != "csrf" && (!is_box || input.contains(" checked")) {
            fields.push((name, value("value").unwrap_or_default()));
        }
    }
    for select in seen.body.split("<select ").skip(1).map(|rest| rest.split_once("</select>").unwrap().0) {
        let name = select.split_once("name=\"").unwrap().1.split_once('"').unwrap().0;
        let chosen = select.split("<option").find(|option| option.contains(" selected"));
        let value = chosen.and_then(|option| option.split_once("value=\""));
        let value = value.map_or("", |(_, rest)| rest.split_once('"').unwrap().0);
        fields.push((name.to_owned(), value.to_owned()));
    }
    fields
}

/// Sends a form as it came, but for what is given.
async fn send(tab: &mut Tab, path: &str, form: &Seen, given: &[(&str, &str)]) -> Seen {
    let mut fields = filled(form);
    for (name, value) in given {
        fields.retain(|(own, _)| own != name);
        fields.push(((*name).to_owned(), (*value).to_owned()));
    }
    tab.post(path, &borrowed(&fields)).await
}

#[tokio::test]
async fn q1_what_is_the_desks_is_not_there_for_others_and_nothing_is_changed() {
    let served = served_with_mail().await;
    let mut anna = anna(&served).await;
    served.world.person("julian", AuthSystem::Otp, false).await;
    let mut julian = signed_in(&served, "julian").await;
    let policy = served.world.gate.firm_policy(&code("ACME")).unwrap().0;
    for path in [
        "/console/firms",
        "/console/firms/new",
        "/console/firms/ACME",
        "/console/firms/ACME/close",
        "/console/firms/ACME/open",
        "/console/firms/ACME/policy",
        "/console/policy",
        "/console/switch",
        "/console/switch/back?scope=venue",
        "/console/people/new?kind=desk",
        "/console/people?firm=OTHER",
        "/console/events?firm=OTHER",
    ] {
        assert_eq!(served.tab().get(path).await.status, 303, "a stranger signs in first: {path}");
        for tab in [&mut anna, &mut julian] {
            assert_eq!(tab.get(path).await.status, 404, "{path}");
        }
    }
    let all = [("reason", "because"), ("version", "0"), ("scope", "venue"), ("firm", "NEW"), ("name", "New")];
    for path in [
        "/console/firms/new",
        "/console/firms/ACME/close",
        "/console/firms/ACME/policy",
        "/console/policy",
        "/console/switch",
        "/console/switch/back",
    ] {
        for tab in [&mut anna, &mut julian] {
            assert_eq!(tab.post(path, &all).await.status, 404, "{path}");
        }
    }
    for kind in ["desk", "service", "nonsense"] {
        let given = [("kind", kind), ("userid", "mallory")];
        assert_eq!(anna.post("/console/people/new", &given).await.status, 404, "{kind}");
    }
    assert!(served.world.gate.halts().is_empty());
    assert_eq!(served.world.gate.firm_policy(&code("ACME")).unwrap().0, policy);
    assert!(!served.world.gate.firm(&code("ACME")).unwrap().closed);
    for path in ["/console", "/console/mails", "/console/events", "/console/people"] {
        assert_eq!(anna.get(path).await.status, 200, "{path}");
        assert_eq!(julian.get(path).await.status, 404, "{path}");
    }
    served.stop().await;
}

#[tokio::test]
async fn workflow_1_from_an_empty_venue_to_a_firm_with_its_first_administrator() {
    let served = served_with_mail().await;
    let mut olga = olga(&served).await;
    let home = olga.get("/console").await.body;
    assert!(home.contains("Set up the first firm") && home.contains("the only operator"), "{home}");
    assert!(olga.get("/console/firms").await.body.contains("Set up the first firm"));
    let form = olga.get("/console/firms/new").await;
    let bad = send(&mut olga, "/console/firms/new", &form, &[("name", "North"), ("firm", "NO RTH")]).await;
    assert!(bad.status == 422 && bad.body.contains("id=\"firm-wrong\""), "{}", bad.body);
    let added = send(&mut olga, "/console/firms/new", &form, &[("name", "North"), ("firm", "north")]).await;
    assert_eq!(added.location(), "/console/firms/NORTH?done=added");
    let twice = send(&mut olga, "/console/firms/new", &form, &[("name", "North"), ("firm", "NORTH")]).await;
    assert!(twice.status == 422 && twice.body.contains("exists already"), "{}", twice.body);
    let page = olga.get("/console/firms/NORTH?done=added").await.body;
    assert!(page.contains("Add the first administrator") && page.contains("72 hours"), "{page}");
    assert!(olga.get("/console").await.body.contains("NORTH has no administrator"));
    let path = "/console/people/new";
    let form = olga.get("/console/people/new?kind=admin&firm=NORTH").await;
    let nowhere = send(&mut olga, path, &form, &[("userid", "nora"), ("firm", "SOUTH")]).await;
    assert!(nowhere.body.contains("There is no firm of this code."), "{}", nowhere.body);
    let given = [("userid", "nora"), ("email", "nora@north.example"), ("send", "on")];
    let shown = send(&mut olga, path, &form, &given).await;
    assert!(shown.status == 200 && shown.body.contains("on its way to nora@north.example"), "{}", shown.body);
    assert!(shown.body.contains("id=\"the-password\""), "{}", shown.body);
    let nora = person(&served, "nora");
    assert_eq!((nora.kind, &nora.firm), (Kind::Administrator, &Some(code("NORTH"))));
    assert!(nora.link.is_some() && nora.profile.grant.is_some());
    let page = olga.get("/console/firms/NORTH").await.body;
    assert!(page.contains(&format!("/console/people/{}", nora.id)), "{page}");
    assert!(page.contains("authenticator not registered"), "{page}");
    served.stop().await;
}

#[tokio::test]
async fn workflow_11_an_operator_is_added_by_another_and_served_like_an_administrator() {
    let served = served_with_mail().await;
    let mut olga = olga(&served).await;
    let form = olga.get("/console/people/new?kind=desk").await;
    assert!(!form.body.contains("name=\"box\"") && !form.body.contains("name=\"firm\""), "{}", form.body);
    let given = [("userid", "otto"), ("email", "otto@venue.example"), ("send", "on")];
    assert_eq!(send(&mut olga, "/console/people/new", &form, &given).await.status, 200);
    let otto = person(&served, "otto");
    assert_eq!((otto.kind, &otto.firm), (Kind::Desk, &None));
    assert!(olga.get("/console/people?kind=desk").await.body.contains("otto"));
    assert!(!olga.get("/console/people").await.body.contains("otto"), "administrators");
    assert_eq!(olga.get("/console/people?kind=trader").await.status, 404, "traders are the firms' own");
    served.stop().await;
}

#[tokio::test]
async fn workflow_8_an_administrator_gives_another_no_right_that_they_have_not() {
    let served = served_with_mail().await;
    let mut anna = anna(&served).await;
    let rights = [Right::ViewPeople, Right::EditPeople].into();
    let profile =
        Profile { grant: Some(Grant { rights, ..Grant::default() }), ..person(&served, "anna").profile };
    let edit = Edit { profile: Some(profile), ..Edit::default() };
    served.world.gate.edit_person(&UserId::parse("anna").unwrap(), edit, &Actor::Node).await.unwrap();
    let form = anna.get("/console/people/new?kind=admin").await;
    assert!(form.body.contains("value=\"edit-people\" checked"), "{}", form.body);
    assert!(!form.body.contains("value=\"view-audit\""), "{}", form.body);
    let bert = [("kind", "admin"), ("userid", "bert"), ("box", "view-people"), ("box", "view-audit")];
    let more = anna.post("/console/people/new", &bert).await;
    assert!(more.status == 422 && more.body.contains("You were not given the right"), "{}", more.body);
    assert_eq!(anna.post("/console/people/new", &bert[..3]).await.status, 200);
    let given = person(&served, "bert").profile.grant.unwrap().rights;
    assert_eq!(given, [Right::ViewPeople].into());
    let nav = anna.get("/console").await.body;
    assert!(!nav.contains("href=\"/console/events\"") && nav.contains("href=\"/console/people\""), "{nav}");
    assert_eq!(anna.get("/console/events").await.status, 403);
    served.stop().await;
}

#[tokio::test]
async fn rule_10_the_desk_says_what_a_program_may_do_for_whom_and_from_where() {
    let served = served_with_mail().await;
    let mut anna = anna(&served).await;
    firm(&served, "OTHER").await;
    let shop = somebody(&served, "shop", Kind::Service, None).await;
    let own = somebody(&served, "own", Kind::Service, Some("ACME")).await;
    let kim = somebody(&served, "kim", Kind::Trader, Some("ACME")).await;
    let mut olga = olga(&served).await;
    let path = format!("/console/people/{}/grant", shop.id);
    let page = olga.get(&format!("/console/people/{}", shop.id)).await.body;
    assert!(page.contains("nowhere") && page.contains(&path), "{page}");
    let form = olga.get(&path).await;
    assert_eq!(form.body.matches("name=\"box\"").count(), Right::PROGRAM.len(), "{}", form.body);
    assert!(!form.body.contains(" checked"), "reset rights, too, are off by default: {}", form.body);
    let version = form.input("version").to_owned();
    let given = |more: &[(&'static str, &'static str)]| {
        let mut all = vec![("version".to_owned(), version.clone())];
        all.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        all
    };
    let good = [
        ("box", "verify"),
        ("box", "lasting-password"),
        ("firms", "acme, OTHER"),
        ("sources", "192.0.2.0/24 10.0.0.1"),
    ];
    for (more, told) in [
        (vec![("box", "verify"), ("reason", "x"), ("firms", "NONE")], "There is no firm NONE"),
        (vec![("reason", "x"), ("firms", "no/firm")], "no/firm is no code of a firm."),
        (vec![("reason", "x"), ("sources", "192.0.2.1/24")], "has bits behind its prefix"),
        (vec![("reason", "x"), ("box", "view-people")], "is for administrators"),
        (good.to_vec(), "id=\"reason-wrong\""),
    ] {
        let seen = olga.post(&path, &borrowed(&given(&more))).await;
        assert!(seen.status == 422 && seen.body.contains(told), "{told}: {}", seen.body);
    }
    assert_eq!(person(&served, "shop"), shop);
    let with_reason: Vec<_> = good.into_iter().chain([("reason", "contract 7")]).collect();
    let set = olga.post(&path, &borrowed(&given(&with_reason))).await;
    assert_eq!(set.location(), format!("/console/people/{}?done=grant", shop.id), "{}", set.body);
    let granted = person(&served, "shop").profile.grant.unwrap();
    assert_eq!(granted.rights, [Right::Verify, Right::LastingPassword].into());
    assert_eq!(granted.firms, [code("ACME"), code("OTHER")].into());
    let entry = served.world.entries(1).remove(0);
    assert_eq!((entry.event, entry.factor.id()), (Event::RightsChanged, "password-and-code"));
    let words =
        "rights: verify, lasting-password; firms: ACME, OTHER; from: 192.0.2.0/24, 10.0.0.1/32: contract 7";
    assert_eq!(entry.detail.as_deref(), Some(words));
    assert_eq!(entry.subject.unwrap().userid.as_str(), "shop");
    let late = olga.post(&path, &borrowed(&given(&[("reason", "x")]))).await;
    assert!(late.status == 422 && late.body.contains("changed meanwhile"), "{}", late.body);
    let again = olga.get(&path).await;
    assert_eq!(again.body.matches(" checked").count(), 2, "{}", again.body);
    assert_eq!((again.input("firms"), again.input("sources")), ("ACME, OTHER", "192.0.2.0/24, 10.0.0.1/32"));
    let page = olga.get(&format!("/console/people/{}?done=grant", shop.id)).await.body;
    assert!(page.contains("ACME; OTHER") && page.contains("were changed"), "{page}");
    // Q1: it is the desk's alone, and of programs alone.
    for id in [shop.id, own.id, kim.id] {
        let path = format!("/console/people/{id}/grant");
        let all = [("version", "1"), ("reason", "x"), ("box", "verify")];
        assert_eq!((anna.get(&path).await.status, anna.post(&path, &all).await.status), (404, 404), "{id}");
    }
    for id in [kim.id, person(&served, "anna").id] {
        assert_eq!(olga.get(&format!("/console/people/{id}/grant")).await.status, 404);
    }
    assert_eq!(person(&served, "own").profile.grant, None);
    served.stop().await;
}

#[tokio::test]
async fn a_trader_may_have_a_password_alone_where_the_firm_allows_both() {
    let served = served_with_mail().await;
    let mut anna = anna(&served).await;
    let form = anna.get("/console/people/new").await;
    assert!(form.body.contains("id=\"auth_system-password\""), "{}", form.body);
    let given = [("userid", "kim"), ("auth_system", "password")];
    let shown = send(&mut anna, "/console/people/new", &form, &given).await;
    assert!(shown.status == 200 && !shown.body.contains("setup link was mailed"), "{}", shown.body);
    assert_eq!(person(&served, "kim").auth_system, AuthSystem::Password);
    let policy =
        Policy { otp_demanded: Some(true), ..served.world.gate.firm_policy(&code("ACME")).unwrap().0 };
    served.world.gate.set_firm_policy(&code("ACME"), &policy, Actor::Node).await.unwrap();
    assert!(!anna.get("/console/people/new").await.body.contains("auth_system"));
    let refused = [("kind", "trader"), ("userid", "lea"), ("auth_system", "password")];
    assert_eq!(anna.post("/console/people/new", &refused).await.status, 422);
    served.stop().await;
}

#[tokio::test]
async fn workflow_9_every_switch_of_the_policy_is_a_field_with_what_is_above_and_in_force() {
    let served = served_with_mail().await;
    firm(&served, "ACME").await;
    let mut olga = olga(&served).await;
    // A field that is new stands here, too.
    let Policy {
        version: _,
        password_chars_min: _,
        password_chars_min_with_otp: _,
        otp_demanded: _,
        pkcs1_allowed: _,
        initial_password_h: _,
        wrong_passwords_source_max: _,
        wrong_passwords_person_max: _,
        wrong_codes_back_off: _,
        wrong_codes_lock: _,
        totp_digits: _,
        totp_algorithm: _,
        setup_link_min: _,
        show_setup_link: _,
        split_handover: _,
        registration_needs_link: _,
        recovery_codes: _,
        password_alone: _,
        portal_idle_min: _,
    } = Policy::default();
    let path = "/console/firms/ACME/policy";
    let form = olga.get(path).await;
    let given = [
        ("password_chars_min", "20"),
        ("password_chars_min_with_otp", "14"),
        ("otp_demanded", "yes"),
        ("pkcs1_allowed", "no"),
        ("initial_password_h", "24"),
        ("wrong_passwords_source_max", "4"),
        ("wrong_passwords_person_max", "50"),
        ("wrong_codes_back_off", "3"),
        ("wrong_codes_lock", "6"),
        ("totp_digits", "8"),
        ("totp_algorithm", "SHA256"),
        ("setup_link_min", "60"),
        ("show_setup_link", "yes"),
        ("split_handover", "yes"),
        ("registration_needs_link", "yes"),
        ("recovery_codes", "no"),
        ("password_alone", "no"),
        ("portal_idle_min", "10"),
    ];
    for (name, _) in given {
        assert!(form.body.contains(&format!("id=\"{name}\" name=\"{name}\"")), "{name}: {}", form.body);
    }
    let whole: Vec<_> = given.into_iter().chain([("reason", "agreed by letter")]).collect();
    let set = send(&mut olga, path, &form, &whole).await;
    assert_eq!(set.location(), "/console/firms/ACME?done=policy", "{}", set.body);
    let policy = served.world.gate.firm_policy(&code("ACME")).unwrap().0;
    let doc = serde_json::to_value(&policy).unwrap();
    assert_eq!(doc.as_object().unwrap().len(), 19, "every field is set: {doc}");
    assert!(served.world.entries(1)[0].detail.as_ref().unwrap().ends_with("agreed by letter"));
    // It comes back as it is, and shows the venue's beside it.
    let form = olga.get(path).await;
    assert_eq!(send(&mut olga, path, &form, &[("reason", "again")]).await.status, 303);
    let after = Policy { version: policy.version + 1, ..policy };
    assert_eq!(served.world.gate.firm_policy(&code("ACME")).unwrap().0, after);
    assert!(form.body.contains("Venue: 30 minutes. In force: <b>10 minutes</b>"), "{}", form.body);
    assert!(olga.get("/console/firms").await.body.contains("its own"));
    served.stop().await;
}

#[tokio::test]
async fn a_bad_value_is_told_at_its_field_and_what_was_typed_stays() {
    let served = served_with_mail().await;
    let mut olga = olga(&served).await;
    let path = "/console/policy";
    let form = olga.get(path).await;
    for (name, value, text) in [
        ("portal_idle_min", "31", "31 is not allowed: 1 to 30."),
        ("portal_idle_min", "soon", "Give a whole number."),
        ("password_chars_min", "8", "8 is not allowed: 15 to 128."),
        ("setup_link_min", "99999", "Give a whole number."),
        ("totp_digits", "7", "7 is not allowed"),
        ("otp_demanded", "perhaps", "Choose one of the list."),
        ("totp_algorithm", "MD5", "Choose one of the list."),
    ] {
        let given = [(name, value), ("reason", "a try"), ("wrong_codes_lock", "7")];
        let seen = send(&mut olga, path, &form, &given).await;
        assert_eq!(seen.status, 422, "{name}");
        let field = seen.body.split_once(&format!("<label for=\"{name}\"")).unwrap().1;
        let field = field.split_once("</div>").unwrap().0;
        assert!(field.contains(text) && field.contains("aria-invalid"), "{name}: {field}");
        assert_eq!(seen.body.matches("aria-invalid").count(), 1, "{name}: {}", seen.body);
        assert!(seen.body.contains("name=\"wrong_codes_lock\" value=\"7\""), "{}", seen.body);
    }
    let lacking = send(&mut olga, path, &form, &[("wrong_codes_lock", "7")]).await;
    assert!(lacking.status == 422 && lacking.body.contains("id=\"reason-wrong\""), "{}", lacking.body);
    assert_eq!(served.world.gate.venue_policy().unwrap().0, Policy::default());
    served.stop().await;
}

#[tokio::test]
async fn of_two_operators_at_once_the_second_sees_what_the_first_has_set() {
    let served = served_with_mail().await;
    let mut olga = olga(&served).await;
    somebody(&served, "otto", Kind::Desk, None).await;
    let mut otto = signed_in(&served, "otto").await;
    let path = "/console/policy";
    let (hers, his) = (olga.get(path).await, otto.get(path).await);
    let set = send(&mut olga, path, &hers, &[("portal_idle_min", "10"), ("reason", "first")]).await;
    assert_eq!(set.location(), "/console/policy?done=policy");
    let late = send(&mut otto, path, &his, &[("wrong_codes_lock", "7"), ("reason", "second")]).await;
    assert_eq!(late.status, 409, "{}", late.body);
    assert!(late.body.contains("Somebody else has set this policy meanwhile"), "{}", late.body);
    assert!(late.body.contains("set meanwhile: 10 minutes"), "{}", late.body);
    assert!(late.body.contains("name=\"wrong_codes_lock\" value=\"7\""), "{}", late.body);
    assert_eq!(served.world.gate.venue_policy().unwrap().0.wrong_codes_lock, None);
    let once_more = send(&mut otto, path, &late, &[("portal_idle_min", "10"), ("reason", "second")]).await;
    assert_eq!(once_more.status, 303, "{}", once_more.body);
    let both = served.world.gate.venue_policy().unwrap().0;
    assert_eq!((both.portal_idle_min, both.wrong_codes_lock), (Some(10), Some(7)));
    served.stop().await;
}

#[tokio::test]
async fn a_firm_is_closed_and_opened_with_a_reason() {
    let served = served_with_mail().await;
    let mut anna = anna(&served).await;
    let mut olga = olga(&served).await;
    let form = olga.get("/console/firms/ACME/close").await;
    let bare = send(&mut olga, "/console/firms/ACME/close", &form, &[]).await;
    assert!(bare.status == 422 && bare.body.contains("id=\"reason-wrong\""), "{}", bare.body);
    assert_eq!(anna.get("/console").await.status, 200);
    let closed = send(&mut olga, "/console/firms/ACME/close", &form, &[("reason", "unpaid")]).await;
    assert_eq!(closed.location(), "/console/firms/ACME?done=closed");
    assert_eq!(anna.get("/console").await.location(), "/signin?next=%2Fconsole", "S8");
    assert!(olga.get("/console/firms").await.body.contains("<span class=\"tag bad\">closed</span>"));
    let twice = send(&mut olga, "/console/firms/ACME/close", &form, &[("reason", "unpaid")]).await;
    assert!(twice.status == 422 && twice.body.contains("closed already"), "{}", twice.body);
    let opened = send(&mut olga, "/console/firms/ACME/open", &form, &[("reason", "paid")]).await;
    assert_eq!(opened.location(), "/console/firms/ACME?done=opened");
    assert!(!served.world.gate.firm(&code("ACME")).unwrap().closed);
    served.stop().await;
}

#[tokio::test]
async fn workflow_15_the_switch_is_thrown_and_taken_back_and_everybody_sees_it() {
    let served = served_with_mail().await;
    let mut anna = anna(&served).await;
    served.world.person("plain", AuthSystem::Password, false).await;
    let mut olga = olga(&served).await;
    let path = "/console/switch";
    let form = olga.get("/console/switch?firm=ACME").await;
    assert!(
        form.body.contains("None: logons are served everywhere.") && form.body.contains("value=\"ACME\"")
    );
    for (given, told) in [
        ([("scope", "firm"), ("firm", "NOBODY")], "There is no firm of this code."),
        ([("scope", "firm"), ("firm", "")], "Give the code of the firm."),
        ([("scope", "session"), ("session", "ZZZ")], "There is no FIX session of this ID."),
        ([("scope", "session"), ("session", "?")], "Give the Session ID"),
        ([("scope", ""), ("firm", "")], "Choose for whom it is thrown."),
    ] {
        let all: Vec<_> = given.into_iter().chain([("reason", "a drill")]).collect();
        let seen = send(&mut olga, path, &form, &all).await;
        assert!(seen.status == 422 && seen.body.contains(told), "{told}: {}", seen.body);
    }
    let thrown = send(&mut olga, path, &form, &[("ends", "none"), ("reason", "a drill")]).await;
    assert_eq!(thrown.location(), "/console/switch?done=thrown");
    assert!(matches!(served.world.login("plain", GOOD, None).await, Verdict::Refused));
    assert_eq!(served.world.entries(1)[0].reason, Some(Deny::Halted));
    let hers = anna.get("/console").await.body;
    assert!(hers.contains("Firm ACME: no new logons") && !hers.contains("a drill"), "{hers}");
    assert!(!hers.contains("/console/switch/back"), "{hers}");
    for page in ["/console", "/console/switch", "/console/firms/ACME"] {
        let body = olga.get(page).await.body;
        assert!(body.contains("/console/switch/back?scope=firm/ACME") && body.contains("a drill"), "{body}");
    }
    let form = olga.get("/console/switch/back?scope=firm/ACME").await;
    let back = send(&mut olga, "/console/switch/back", &form, &[("reason", "over")]).await;
    assert_eq!(back.location(), "/console/switch?done=back");
    assert!(matches!(served.world.login("plain", GOOD, None).await, Verdict::Granted(_)));
    assert_eq!(olga.get("/console/switch/back?scope=firm/ACME").await.status, 409);
    let form = olga.get(path).await;
    let all = [("scope", "venue"), ("ends", "all"), ("reason", "worse")];
    assert_eq!(send(&mut olga, path, &form, &all).await.status, 303);
    assert_eq!(anna.get("/console").await.status, 303, "S8: she is out");
    assert_eq!(olga.get("/console").await.status, 200, "the desk never is");
    served.stop().await;
}

#[tokio::test]
async fn t14_without_a_fresh_code_nothing_of_the_desk_is_changed() {
    let served = served_with_mail().await;
    firm(&served, "ACME").await;
    let new = NewPerson {
        userid: UserId::parse("olga").unwrap(),
        kind: Kind::Desk,
        firm: None,
        auth_system: Some(AuthSystem::Password),
        password: NewPassword::Clear(secret(GOOD)),
        initial: false,
        profile: Profile::default(),
    };
    served.world.gate.add_person(new, Actor::Node).await.unwrap();
    let mut olga = served.tab();
    assert_eq!(olga.sign_in("olga", GOOD).await.location(), "/console");
    let shop = somebody(&served, "shop", Kind::Service, None).await;
    let grant = format!("/console/people/{}/grant", shop.id);
    for (path, given) in [
        (grant.as_str(), vec![("reason", "why not"), ("box", "verify")]),
        ("/console/firms/new", vec![("name", "New"), ("firm", "NEW")]),
        ("/console/firms/ACME/close", vec![("reason", "why not")]),
        ("/console/firms/ACME/policy", vec![("reason", "why not"), ("otp_demanded", "yes")]),
        ("/console/policy", vec![("reason", "why not"), ("otp_demanded", "yes")]),
        ("/console/switch", vec![("reason", "why not"), ("scope", "venue")]),
    ] {
        let form = olga.get(path).await;
        assert!(form.body.contains("id=\"code\""), "{path}: {}", form.body);
        for more in [vec![], vec![("code", "000000")]] {
            let all: Vec<_> = given.iter().copied().chain(more).collect();
            let seen = send(&mut olga, path, &form, &all).await;
            assert!(seen.status == 422 && seen.body.contains("id=\"code-wrong\""), "{path}: {}", seen.body);
        }
    }
    assert!(served.world.gate.halts().is_empty());
    assert_eq!(served.world.gate.venue_policy().unwrap().0, Policy::default());
    assert!(served.world.gate.firm(&code("NEW")).is_err());
    assert_eq!(person(&served, "shop"), shop);
    served.stop().await;
}

#[tokio::test]
async fn the_list_of_people_is_filtered_and_bulk_goes_by_its_filters() {
    let served = served_with_mail().await;
    let mut anna = anna(&served).await;
    let fresh = anna.get("/console").await.body;
    assert!(fresh.contains("Add the first trader"), "{fresh}");
    for name in ["kim", "karl", "lea"] {
        somebody(&served, name, Kind::Trader, Some("ACME")).await;
    }
    somebody(&served, "kurt", Kind::Administrator, Some("ACME")).await;
    let of = |body: &str| -> Vec<&'static str> {
        let names = ["anna", "karl", "kim", "kurt", "lea"];
        names.into_iter().filter(|name| body.contains(&format!(">{name}</a>"))).collect()
    };
    let all = anna.get("/console/people").await.body;
    assert_eq!(of(&all), ["anna", "karl", "kim", "kurt", "lea"]);
    assert!(all.contains("5 in this list"), "{all}");
    assert_eq!(of(&anna.get("/console/people?kind=admin").await.body), ["anna", "kurt"]);
    let path = "/console/people?q=K&kind=trader&show=not-registered";
    let form = anna.get(path).await;
    assert_eq!(of(&form.body), ["karl", "kim"]);
    assert!(form.body.contains("2 in this list"));
    let given = filled(&form);
    let sent = anna.post("/console/people/send-links", &borrowed(&given)).await;
    assert!(sent.status == 200 && sent.body.contains("2 mailed, 0 left out"), "{}", sent.body);
    assert!(person(&served, "lea").link.is_none() && person(&served, "kurt").link.is_none());
    let live = anna.get("/console/people?show=link-live").await.body;
    assert_eq!(of(&live), ["karl", "kim"]);
    let none = anna.get("/console/people?q=zz").await.body;
    assert!(none.contains("Nobody like this.") && none.contains("href=\"/console/people\""), "{none}");
    let home = anna.get("/console").await.body;
    assert!(home.contains("4 people have no authenticator yet"), "{home}");
    assert_eq!(anna.get("/console/people?kind=nonsense").await.status, 404);
    served.stop().await;
}

fn mail(served: &Served, bits: u64, firm: Option<&str>) -> Mail {
    Mail {
        id: MailId::from_random(bits << 1),
        to: format!("somebody{bits}@example.test"),
        kind: MailKind::PasswordChanged,
        queued_at: served.world.now(),
        firm: firm.map(code),
        about: None,
        userid: None,
        values: std::collections::BTreeMap::new(),
        secret: None,
    }
}

#[tokio::test]
async fn mails_that_wait_are_seen_and_tried_again_each_firm_its_own() {
    let served = served().await;
    let mut anna = anna(&served).await;
    assert!(anna.get("/console/mails").await.body.contains("Nothing waits"));
    firm(&served, "OTHER").await;
    for (bits, firm) in [(1, Some("ACME")), (2, Some("OTHER")), (3, None)] {
        served.world.queue(mail(&served, bits, firm)).await;
    }
    let page = anna.get("/console/mails").await;
    assert!(page.body.contains("somebody1@example.test") && page.body.contains("Waits to be sent"));
    assert!(!page.body.contains("somebody2@") && !page.body.contains("somebody3@"), "Q1: {}", page.body);
    let again = "/console/mails/again";
    assert_eq!(
        anna.post(again, &[("mail", page.input("mail"))]).await.location(),
        "/console/mails?done=again"
    );
    let entry = served.world.entries(1).remove(0);
    assert_eq!((entry.event, entry.firm), (Event::MailQueued, Some(code("ACME"))));
    for bits in [2, 3, 4] {
        let id = MailId::from_random(bits << 1).to_string();
        assert_eq!(anna.post(again, &[("mail", &id)]).await.status, 404, "Q1");
    }
    let mut olga = olga(&served).await;
    let page = olga.get("/console/mails").await.body;
    assert!(["1@", "2@", "3@"].iter().all(|to| page.contains(&format!("somebody{to}"))), "{page}");
    served.stop().await;
}

/// Where a page asks for what is new.
fn live_path(body: &str) -> String {
    let path = body.split_once("hx-get=\"").unwrap_or_else(|| panic!("{body}")).1.split_once('"').unwrap().0;
    path.replace("&#38;", "&").replace("&amp;", "&")
}

async fn ask_htmx(tab: &mut Tab, path: &str) -> Seen {
    tab.send(request("GET", path).header("hx-request", "true").body(String::new()).unwrap()).await
}

#[tokio::test]
async fn events_come_in_by_themselves_once_each_and_by_the_filters() {
    let served = served_with_mail().await;
    let mut anna = anna(&served).await;
    served.world.person("julian", AuthSystem::Otp, false).await;
    let page = anna.get("/console/events?attempts=1&user=julian").await;
    assert!(page.body.contains("<h1>Attempts</h1>") && page.body.contains("aria-live=\"polite\""));
    assert!(page.body.contains("data-pause=\"live\""), "WCAG 2.2.2: {}", page.body);
    let live = live_path(&page.body);
    assert_eq!(ask_htmx(&mut anna, &live).await.status, 204);
    served.world.login("julian", "a wrong one it is", None).await;
    served.world.login("nobody", "a wrong one it is", None).await;
    let news = ask_htmx(&mut anna, &live).await;
    assert_eq!(news.status, 200);
    assert!(news.body.contains("1 new attempt<") && news.body.contains("The password was wrong."));
    assert!(news.body.contains("<li class=\"failed\">") && !news.body.contains("<html"), "{}", news.body);
    assert_eq!(ask_htmx(&mut anna, &live_path(&news.body)).await.status, 204, "told once");
    let older = anna.get("/console/events?before=9").await.body;
    assert!(!older.contains("hx-get"), "what is past does not move: {older}");
    let mut stranger = served.tab();
    let gone = ask_htmx(&mut stranger, &live).await;
    assert_eq!(gone.field("hx-refresh"), Some("true"), "who is signed out is told");
    served.stop().await;
}

#[tokio::test]
async fn events_are_filtered_by_what_who_where_when_and_how_they_ended() {
    let served = served_with_mail().await;
    let mut anna = anna(&served).await;
    served.world.person("julian", AuthSystem::Otp, false).await;
    served.world.login("julian", "a wrong one it is", None).await;
    let today = served.world.now().to_string()[..10].to_owned();
    let rows = |body: &str| body.matches("<tr data-no").count();
    for (filter, is_found) in [
        ("event=login%20refused", true),
        ("event=login-refused&outcome=refused&door=websocket&user=julian", true),
        ("event=login-refused&outcome=allowed", false),
        ("event=login-refused&door=fix", false),
        ("outcome=refused&since=2000-01-01", true),
        (&format!("outcome=refused&since={today}&until={today}"), true),
        ("outcome=refused&until=2000-01-01", false),
        ("outcome=refused&since=2999-01-01", false),
    ] {
        let seen = anna.get(&format!("/console/events?{filter}")).await;
        assert_eq!(seen.status, 200, "{filter}");
        assert_eq!(rows(&seen.body) > 0, is_found, "{filter}: {}", seen.body);
    }
    for bad in ["event=nonsense", "door=nowhere", "since=yesterday", "before=x", "person=p1", "firm=a%20b"] {
        assert_eq!(anna.get(&format!("/console/events?{bad}")).await.status, 404, "{bad}");
    }
    served.stop().await;
}

#[tokio::test]
async fn a_page_of_the_console_is_100_kib_at_most_with_its_files() {
    let served = served_with_mail().await;
    let mut anna = anna(&served).await;
    for n in 0..60 {
        somebody(&served, &format!("trader-with-a-long-name-{n}"), Kind::Trader, Some("ACME")).await;
        served.world.login(&format!("trader-with-a-long-name-{n}"), "a wrong one it is", None).await;
    }
    let mut olga = olga(&served).await;
    let files = crate::http::web::assets::paths();
    let mut sizes = Vec::new();
    for file in [&files.css, &files.js, &files.icon, &files.htmx] {
        sizes.push(served.tab().get(file).await.body.len());
    }
    let id = person(&served, "trader-with-a-long-name-1").id;
    for path in [
        "/console".to_owned(),
        "/console/people".to_owned(),
        "/console/people/new".to_owned(),
        format!("/console/people/{id}"),
        "/console/events".to_owned(),
        "/console/events?attempts=1".to_owned(),
        "/console/mails".to_owned(),
    ] {
        let seen = anna.get(&path).await;
        assert_eq!(seen.status, 200, "{path}");
        let files: usize = sizes[..3].iter().sum();
        let live = if seen.body.contains(&crate::http::web::assets::paths().htmx) { sizes[3] } else { 0 };
        let whole = seen.body.len() + files + live;
        assert!(whole <= 100 * 1024, "{path}: {whole} bytes, {} of them the page", seen.body.len());
    }
    for path in ["/console/firms/ACME", "/console/firms/ACME/policy", "/console/switch", "/console/events"] {
        let seen = olga.get(path).await;
        let whole = seen.body.len() + sizes.iter().sum::<usize>();
        assert!(seen.status == 200 && whole <= 100 * 1024, "{path}: {whole} bytes");
    }
    served.world.gate.advance_clock(STEP);
    served.stop().await;
}

/// A FIX session of ACME with a key pair that was made a minute ago.
fn session_with_a_new_pair(now: Wall) -> FixSession {
    let made_at = now - 2 * STEP;
    let sealed = Sealed { key: "none".into(), blob: String::new() };
    let pair = KeyPair {
        id: AccessKeyId::parse(b"T0000000000000000007").unwrap(),
        made_at,
        ends_at: now + 1_000 * STEP,
        replaced: false,
        noted_at: made_at,
        secret: Kept::Secret { sealed },
    };
    FixSession {
        id: SessionId::parse(b"ABC").unwrap(),
        firm: code("ACME"),
        kind: SessionKind::Order,
        environment: Environment::Test,
        added_at: made_at,
        standing: Standing::Active,
        sender_comp_ids: BTreeSet::new(),
        operator_ids: BTreeSet::new(),
        sources: Vec::new(),
        pairs: vec![pair],
        version: 1,
    }
}

#[tokio::test]
async fn disaster_the_first_page_says_how_far_the_data_reach_and_which_key_pairs_are_unsure() {
    let world = world();
    world.gate.add_firm(code("ACME"), "Acme", Actor::Node).await.unwrap();
    assert_eq!((world.gate.reach(), world.gate.unsure_pairs(None)), (None, Vec::new()));
    world.put_back(session_with_a_new_pair(world.now())).await;
    let served = served_of(world.reopened(HashParams::tiny()), axum::Router::new(), None).await;
    let mut olga = olga(&served).await;
    let home = olga.get("/console").await.body;
    let told =
        ["put back from a backup", "T0000000000000000007", "FIX session ABC", "Firm ACME", "made <time"];
    for text in told {
        assert!(home.contains(text), "{text}: {home}");
    }
    somebody(&served, "anna", Kind::Administrator, Some("ACME")).await;
    let mut anna = signed_in(&served, "anna").await;
    assert!(anna.get("/console").await.body.contains("T0000000000000000007"), "her firm's");
    firm(&served, "OTHER").await;
    somebody(&served, "otto", Kind::Administrator, Some("OTHER")).await;
    let mut otto = signed_in(&served, "otto").await;
    let home = otto.get("/console").await.body;
    assert!(home.contains("put back from a backup") && !home.contains("T0000000000000000007"), "Q1: {home}");
    served.world.clock.advance(15 * 24 * 120 * STEP);
    served.world.gate.clock_moved();
    assert_eq!(served.world.gate.reach(), None, "it is told of for two weeks");
    served.stop().await;
}
