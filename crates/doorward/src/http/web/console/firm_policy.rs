//! The policy of a firm or of the venue: every switch with what stands above it and what is in force (workflow 9).

use std::str::FromStr;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use doorward_core::id::FirmCode;
use doorward_core::identity::decide::MisuseKind;
use doorward_core::identity::policy::{Effective, Policy};
use doorward_core::identity::totp::Algorithm;
use serde::Deserialize;

use super::super::WebState;
use super::super::asking::AtDesk;
use super::super::form::Form;
use super::super::reply::{Answer, Oops, go, page, page_with};
use super::super::shell::Shell;
use super::super::visit::Visit;
use super::{Why, at_field, oops, sure, told};
use crate::gate::web::desk::PolicyView;
use crate::gate::web::{Asker, Unserved};

/// What somebody may set in a field.
#[derive(Clone, Copy)]
enum Shape {
    /// A whole number, with its unit.
    Number(&'static str),
    /// Yes or no; what each means.
    Yes(&'static str, &'static str),
    /// One of these values.
    Choice(&'static [(&'static str, &'static str)]),
}

/// A switch of the policy.
struct Switch {
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    shape: Shape,
    given: fn(&Policy) -> Option<String>,
    held: fn(&Effective) -> Option<String>,
    set: fn(&mut Policy, &str) -> Result<(), &'static str>,
}

struct Group {
    title: &'static str,
    switches: &'static [Switch],
}

const MINUTES: &str = "minutes";
const YES: &str = "yes";
const NO: &str = "no";
const ON_OFF: Shape = Shape::Yes("On", "Off");
const DIGITS: Shape = Shape::Choice(&[("6", "6"), ("8", "8")]);
const ALGORITHMS: Shape = Shape::Choice(&[("SHA1", "SHA-1"), ("SHA256", "SHA-256"), ("SHA512", "SHA-512")]);

fn yes(on: bool) -> String {
    (if on { YES } else { NO }).to_owned()
}

fn number<T: FromStr>(text: &str) -> Result<Option<T>, &'static str> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| "Give a whole number.") }
}

fn on(text: &str) -> Result<Option<bool>, &'static str> {
    match text {
        "" => Ok(None),
        YES => Ok(Some(true)),
        NO => Ok(Some(false)),
        _ => Err("Choose one of the list."),
    }
}

fn algorithm(text: &str) -> Result<Option<Algorithm>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let all = [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512];
    all.into_iter().find(|one| one.name() == text).map(Some).ok_or("Choose one of the list.")
}

macro_rules! switch {
    ($name:ident, $label:literal, $hint:literal, $shape:expr, $shown:expr, $held:expr, $read:expr) => {
        Switch {
            name: stringify!($name),
            label: $label,
            hint: $hint,
            shape: $shape,
            given: |policy| policy.$name.map($shown),
            held: $held,
            set: |policy, text| {
                policy.$name = $read(text)?;
                Ok(())
            },
        }
    };
    (number $name:ident, $label:literal, $unit:literal, $hint:literal) => {
        switch!(
            $name,
            $label,
            $hint,
            Shape::Number($unit),
            |number| number.to_string(),
            |held| Some(held.$name.to_string()),
            number
        )
    };
    (yes $name:ident, $label:literal, $hint:literal) => {
        switch!($name, $label, $hint, ON_OFF, yes, |held| Some(yes(held.$name)), on)
    };
}

#[rustfmt::skip]
const GROUPS: &[Group] = &[
    Group { title: "How people sign in", switches: &[
        switch!(yes otp_demanded, "Everybody needs a one-time password", "Programs are left out."),
        switch!(yes password_alone, "A password alone may be chosen", "For people of whom no one-time password is demanded."),
        switch!(number portal_idle_min, "Browser sessions end when idle for", "minutes", "1 to 30; at the console 15 at most."),
    ] },
    Group { title: "Setup links and registration", switches: &[
        switch!(number setup_link_min, "A setup link works for", "minutes", "15 to 43,200; 72 hours are 4,320."),
        switch!(yes show_setup_link, "Administrators may see a setup link to copy it",
            "On for a firm that is given it; off for the venue switches it off for all firms."),
        switch!(yes split_handover, "Who knows the initial password does not see the link", "The link is mailed then."),
        switch!(registration_needs_link, "Nobody registers without a setup link",
            "Where nobody says, it is on wherever mail is set up.", ON_OFF, yes, |held| held.registration_needs_link.map(yes), on),
        switch!(yes recovery_codes, "Recovery codes", "Ten codes that take the place of an authenticator once each."),
        switch!(number initial_password_h, "An initial password works for", "hours", ""),
    ] },
    Group { title: "Passwords", switches: &[
        switch!(number password_chars_min, "Fewest characters of a password alone", "characters", "Up to 128."),
        switch!(number password_chars_min_with_otp, "Fewest characters beside a one-time password", "characters", "Up to 128."),
        switch!(yes pkcs1_allowed, "Older programs may encrypt by PKCS#1 v1.5", "Off leaves RSA-OAEP alone."),
    ] },
    Group { title: "Wrong tries", switches: &[
        switch!(number wrong_passwords_source_max, "Wrong passwords from one address until it waits", "tries", ""),
        switch!(number wrong_passwords_person_max, "Wrong passwords of a person from all addresses", "tries",
            "At least 5; past it only known addresses get through."),
        switch!(number wrong_codes_back_off, "Wrong codes in a row until the authenticator waits", "codes", ""),
        switch!(number wrong_codes_lock, "Wrong codes in a row until it is locked", "codes", "At least 2."),
    ] },
    Group { title: "New authenticators", switches: &[
        switch!(totp_digits, "Digits of a code", "Not every app can do 8.", DIGITS,
            |digits| digits.to_string(), |held| Some(held.totp_digits.to_string()), number),
        switch!(totp_algorithm, "Algorithm", "Not every app can do more than SHA-1.", ALGORITHMS,
            |algorithm| algorithm.name().to_owned(), |held| Some(held.totp_algorithm.name().to_owned()), algorithm),
    ] },
];

fn switches() -> impl Iterator<Item = &'static Switch> {
    GROUPS.iter().flat_map(|group| group.switches)
}

impl Switch {
    /// A value, as people read it.
    fn words(&self, value: Option<&str>) -> String {
        let Some(value) = value else { return "where mail is set up".to_owned() };
        match self.shape {
            Shape::Number(unit) => match value.parse::<u32>() {
                Ok(minutes) if unit == MINUTES && minutes >= 120 && minutes.is_multiple_of(60) => {
                    format!("{} hours", minutes / 60)
                }
                Ok(_) | Err(_) => format!("{value} {unit}"),
            },
            Shape::Yes(on, off) => (if value == YES { on } else { off }).to_lowercase(),
            Shape::Choice(choices) => {
                let found = choices.iter().find(|(name, _)| *name == value);
                found.map_or(value, |(_, words)| words).to_owned()
            }
        }
    }
}

/// A line of what is in force.
pub(super) struct Held {
    pub(super) label: &'static str,
    pub(super) text: String,
    pub(super) is_own: bool,
}

/// What is in force for a firm, with what it has of its own.
pub(super) fn in_force(own: &Policy, held: &Effective) -> Vec<Held> {
    let line = |switch: &'static Switch| Held {
        label: switch.label,
        text: switch.words((switch.held)(held).as_deref()),
        is_own: (switch.given)(own).is_some(),
    };
    switches().map(line).collect()
}

/// Whether a policy sets anything.
pub(super) fn says_anything(policy: &Policy) -> bool {
    switches().any(|switch| (switch.given)(policy).is_some())
}

/// A field of the form.
struct Field {
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    unit: Option<&'static str>,
    options: Vec<(&'static str, &'static str)>,
    /// As it was set, or typed.
    value: String,
    above: String,
    held: String,
    /// What somebody else set meanwhile.
    meanwhile: Option<String>,
    problem: Option<String>,
}

struct Fields {
    title: &'static str,
    fields: Vec<Field>,
}

#[derive(Template)]
#[template(path = "console/policy.html")]
struct PolicyPage {
    shell: Shell,
    title: String,
    action: String,
    back: String,
    above_is: &'static str,
    version: u32,
    groups: Vec<Fields>,
    problem: Option<String>,
    why: Why,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Behind {
    done: String,
}

/// Whose policy.
#[derive(Clone)]
struct Whose {
    code: Option<FirmCode>,
    name: String,
}

impl Whose {
    const fn venue() -> Self {
        Self { code: None, name: String::new() }
    }

    fn firm(web: &WebState, asker: &Asker, code: &str) -> Result<Self, Oops> {
        let code = FirmCode::parse(code).ok().filter(|parsed| parsed.as_str() == code);
        let code = code.ok_or(Oops::NotFound)?;
        let view = web.gate.desk_firm(asker, &code).map_err(oops)?;
        Ok(Self { code: Some(code), name: view.firm.name })
    }

    fn title(&self) -> String {
        match self.code {
            Some(_) => format!("Policy of {}", self.name),
            None => "Policy of the venue".to_owned(),
        }
    }

    fn path(&self) -> String {
        match &self.code {
            Some(code) => format!("/console/firms/{code}/policy"),
            None => "/console/policy".to_owned(),
        }
    }

    fn back(&self) -> String {
        match &self.code {
            Some(code) => format!("/console/firms/{code}"),
            None => "/console/firms".to_owned(),
        }
    }
}

/// The page with what is set; `typed` takes its place where a form came back.
fn filled(
    web: &WebState,
    visit: &Visit,
    asker: &Asker,
    whose: &Whose,
    view: &PolicyView,
    typed: Option<&Form>,
) -> PolicyPage {
    let field = |switch: &'static Switch| {
        let given = (switch.given)(&view.given).unwrap_or_default();
        let value = typed.map_or_else(|| given.clone(), |form| form.text(switch.name).trim().to_owned());
        Field {
            name: switch.name,
            label: switch.label,
            hint: switch.hint,
            unit: match switch.shape {
                Shape::Number(unit) => Some(unit),
                Shape::Yes(..) | Shape::Choice(_) => None,
            },
            options: match switch.shape {
                Shape::Number(_) => Vec::new(),
                Shape::Yes(on, off) => vec![(YES, on), (NO, off)],
                Shape::Choice(choices) => choices.to_vec(),
            },
            above: switch.words((switch.held)(&view.above).as_deref()),
            held: switch.words((switch.held)(&view.in_force).as_deref()),
            value,
            meanwhile: None,
            problem: None,
        }
    };
    let groups = GROUPS
        .iter()
        .map(|group| Fields { title: group.title, fields: group.switches.iter().map(field).collect() });
    PolicyPage {
        shell: Shell::of(web, visit, asker, whose.title()),
        title: whose.title(),
        action: whose.path(),
        back: whose.back(),
        above_is: if whose.code.is_some() { "Venue" } else { "Built in" },
        version: view.given.version,
        groups: groups.collect(),
        problem: None,
        why: typed.map_or_else(|| Why::of(asker), |form| Why::typed(asker, form)),
    }
}

impl PolicyPage {
    /// With what is wrong, at its field where there is one of this name.
    fn with_problem(mut self, name: &str, text: String) -> Self {
        let mut fields = self.groups.iter_mut().flat_map(|group| &mut group.fields);
        match fields.find(|field| field.name == name) {
            Some(field) => field.problem = Some(text),
            None => self.problem = Some(text),
        }
        self
    }

    /// After somebody else has set it: what was typed stays, and stands beside what they set.
    fn after_another(mut self, present: &Policy) -> Self {
        for switch in switches() {
            let now = (switch.given)(present).unwrap_or_default();
            let mut fields = self.groups.iter_mut().flat_map(|group| &mut group.fields);
            if let Some(field) = fields.find(|field| field.name == switch.name && field.value != now) {
                let is_set = Some(now.as_str()).filter(|now| !now.is_empty());
                field.meanwhile =
                    Some(is_set.map_or_else(|| "as above".to_owned(), |now| switch.words(Some(now))));
            }
        }
        let text = "Somebody else has set this policy meanwhile; nothing of yours was saved. Where theirs differs it \
                    stands at the field: look at it, and save again.";
        self.problem = Some(text.to_owned());
        self
    }
}

fn again(page: &PolicyPage) -> Answer {
    page_with(StatusCode::UNPROCESSABLE_ENTITY, page)
}

/// `GET /console/policy`.
pub(super) async fn show_venue(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    behind: Result<Query<Behind>, QueryRejection>,
) -> Answer {
    let done = behind.is_ok_and(|Query(behind)| behind.done == "policy");
    show(&web, &visit, &asker, &Whose::venue(), done)
}

/// `GET /console/firms/{code}/policy`.
pub(super) async fn show_firm(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    Path(code): Path<String>,
) -> Answer {
    let whose = Whose::firm(&web, &asker, &code)?;
    show(&web, &visit, &asker, &whose, false)
}

fn show(web: &WebState, visit: &Visit, asker: &Asker, whose: &Whose, done: bool) -> Answer {
    let view = web.gate.desk_policy(asker, whose.code.as_ref()).map_err(oops)?;
    let filled = filled(web, visit, asker, whose, &view, None);
    let shell = filled.shell.clone().with_done(done.then_some("The policy is in force."));
    page(&PolicyPage { shell, ..filled })
}

/// `POST /console/policy`.
pub(super) async fn set_venue(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    form: Form,
) -> Answer {
    set(&web, &visit, asker, &Whose::venue(), &form).await
}

/// `POST /console/firms/{code}/policy`.
pub(super) async fn set_firm(
    State(web): State<WebState>,
    visit: Visit,
    AtDesk(asker): AtDesk,
    Path(code): Path<String>,
    form: Form,
) -> Answer {
    let whose = Whose::firm(&web, &asker, &code)?;
    set(&web, &visit, asker, &whose, &form).await
}

async fn set(web: &WebState, visit: &Visit, asker: Asker, whose: &Whose, form: &Form) -> Answer {
    let view = web.gate.desk_policy(&asker, whose.code.as_ref()).map_err(oops)?;
    let typed = |asker: &Asker, view: &PolicyView| filled(web, visit, asker, whose, view, Some(form));
    let version = form.text("version").parse().map_err(|_| Oops::StaleForm)?;
    let mut given = Policy { version, ..Policy::default() };
    for switch in switches() {
        if let Err(text) = (switch.set)(&mut given, form.text(switch.name).trim()) {
            return again(&typed(&asker, &view).with_problem(switch.name, text.to_owned()));
        }
    }
    let conflict = |asker: &Asker| -> Answer {
        let view = web.gate.desk_policy(asker, whose.code.as_ref()).map_err(oops)?;
        page_with(StatusCode::CONFLICT, &typed(asker, &view).after_another(&view.given))
    };
    if version != view.given.version {
        return conflict(&asker);
    }
    if let Err(bad) = view.above.admits(&given) {
        let text = format!("{} is not allowed: {}.", bad.given, bad.allowed.replace("..=", " to "));
        return again(&typed(&asker, &view).with_problem(bad.field, text));
    }
    let (asker, reason) = match sure(web, visit, &asker, form).await? {
        Ok(sure) => sure,
        Err(why) => return again(&PolicyPage { why, ..typed(&asker, &view) }),
    };
    match web.gate.desk_set_policy(&asker, whose.code.as_ref(), &given, &reason, visit.browser()).await {
        Ok(()) => {
            Ok(go(format!("{}?done=policy", whose.code.as_ref().map_or(whose.path(), |_| whose.back()))))
        }
        Err(Unserved::Misuse(misuse)) if misuse.kind == MisuseKind::Conflict => conflict(&asker),
        Err(Unserved::Misuse(misuse)) => {
            again(&typed(&asker, &view).with_problem(misuse.field, at_field(&misuse)))
        }
        Err(unserved) => again(&typed(&asker, &view).with_problem("", told(unserved)?)),
    }
}
