//! Where administrators and operators begin: what waits for them, and the way to it.

use askama::Template;
use axum::extract::State;
use doorward_core::identity::person::{Kind, Right};
use doorward_core::identity::restore::Reach;

use super::super::WebState;
use super::super::asking::OnConsole;
use super::super::reply::{Answer, page};
use super::super::shell::{Shell, When};
use super::super::visit::Visit;
use super::{Thrown, oops};
use crate::gate::UnsurePairs;
use crate::gate::web::Asker;
use crate::gate::web::home::{FirmsHome, Home, PeopleHome};
use crate::gate::web::people::Tally;

/// Something to do next.
struct Next {
    text: String,
    path: String,
    button: &'static str,
}

/// A number with the list behind it.
struct Figure {
    number: String,
    text: &'static str,
    path: &'static str,
    colour: &'static str,
}

/// A restore, and what it leaves unsure.
struct RestoredThen {
    at: When,
    reach: When,
    pairs: Vec<UnsureRow>,
}

/// A key pair that may not be as it was.
struct UnsureRow {
    firm: String,
    session: String,
    id: String,
    done: &'static str,
    at: When,
}

impl RestoredThen {
    fn of(reach: Reach, unsure: &[UnsurePairs]) -> Self {
        let rows = unsure.iter().flat_map(|of| {
            of.pairs.iter().map(|pair| UnsureRow {
                firm: of.firm.to_string(),
                session: pair.session.to_string(),
                id: pair.id.to_string(),
                done: if pair.deleted { "deleted" } else { "made" },
                at: When(pair.at),
            })
        });
        Self { at: When(reach.restored_at), reach: When(reach.reach), pairs: rows.collect() }
    }
}

#[derive(Template)]
#[template(path = "console/home.html")]
struct HomePage {
    shell: Shell,
    greeting: String,
    halts: Vec<Thrown>,
    may_switch: bool,
    restored: Option<RestoredThen>,
    next: Vec<Next>,
    figures: Vec<Figure>,
}

/// `GET /console`.
pub(super) async fn show(State(web): State<WebState>, visit: Visit, OnConsole(asker): OnConsole) -> Answer {
    let home = web.gate.console_home(&asker).map_err(oops)?;
    let is_desk = asker.kind == Kind::Desk;
    let greeting = match &asker.firm {
        Some(firm) => format!("What waits for you at {firm}."),
        None => "What waits for the desk.".to_owned(),
    };
    let mut figures = Vec::new();
    if let Some(firms) = &home.firms {
        of_firms(&mut figures, firms);
    }
    if let Some(people) = &home.people {
        of_people(&mut figures, people, is_desk);
    }
    if let Some(failed) = home.failed_mails {
        let text = "mails did not go through";
        figures.push(figure(failed, text, "/console/mails", "bad"));
    }
    page(&HomePage {
        shell: Shell::of(&web, &visit, &asker, "Console"),
        greeting,
        halts: home.halts.iter().map(|(scope, halt)| Thrown::of(scope, halt)).collect(),
        may_switch: is_desk,
        restored: home.reach.map(|reach| RestoredThen::of(reach, &home.unsure)),
        next: next(&asker, &home),
        figures,
    })
}

fn of_firms(figures: &mut Vec<Figure>, firms: &FirmsHome) {
    let whole = |count| Tally { count, is_more: false };
    figures.push(Figure { colour: "", ..figure(whole(firms.count), "firms", "/console/firms", "") });
    if firms.closed > 0 {
        figures.push(figure(whole(firms.closed), "firms are closed", "/console/firms", "warn"));
    }
}

fn of_people(figures: &mut Vec<Figure>, people: &PeopleHome, is_desk: bool) {
    let unregistered =
        if is_desk { "administrators without an authenticator" } else { "have no authenticator yet" };
    figures.extend([
        figure(people.not_registered, unregistered, "/console/people?show=not-registered", "warn"),
        figure(people.locked, "are locked", "/console/people?show=locked", "bad"),
        figure(
            people.link_expired,
            "let their setup link expire",
            "/console/people?show=link-expired",
            "warn",
        ),
        figure(people.never_signed_in, "never signed in", "/console/people?show=never", ""),
    ]);
}

fn figure(tally: Tally, text: &'static str, path: &'static str, colour: &'static str) -> Figure {
    let colour = if tally.is_none() { "" } else { colour };
    Figure { number: number(tally), text, path, colour }
}

/// A number as people read it.
pub(super) fn number(tally: Tally) -> String {
    let digits = tally.count.to_string();
    let split = digits.len().saturating_sub(3);
    let (thousands, rest) = digits.split_at(split);
    let text = if thousands.is_empty() { rest.to_owned() } else { format!("{thousands},{rest}") };
    if tally.is_more { format!("{text}+") } else { text }
}

/// What is to be done next, the most urgent first.
fn next(asker: &Asker, home: &Home) -> Vec<Next> {
    let mut next = Vec::new();
    let mut say = |text: String, path: &str, button: &'static str| {
        next.push(Next { text, path: path.to_owned(), button });
    };
    let edits = asker.kind == Kind::Desk || asker.has(Right::EditPeople);
    if let Some(firms) = &home.firms {
        if firms.count == 0 {
            let text = "The venue has no firm yet. Its people come with it.".to_owned();
            say(text, "/console/firms/new", "Set up the first firm");
        }
        for code in &firms.unserved {
            let text = format!("Firm {code} has no administrator: nobody adds or serves its traders.");
            let path = format!("/console/people/new?kind=admin&firm={code}");
            say(text, &path, "Add its administrator");
        }
    } else if edits && home.people.is_some_and(|people| people.is_empty) {
        let text = "Your firm has no traders yet.".to_owned();
        say(text, "/console/people/new", "Add the first trader");
    }
    if edits && home.is_alone {
        match asker.kind {
            Kind::Desk => say(
                "You are the only operator. A second one can serve you, should you lose your authenticator."
                    .to_owned(),
                "/console/people/new?kind=desk",
                "Add an operator",
            ),
            Kind::Administrator | Kind::Trader | Kind::Service => say(
                "Nobody else of your firm can serve you, should you lose your authenticator.".to_owned(),
                "/console/people/new?kind=admin",
                "Add an administrator",
            ),
        }
    }
    if let Some(people) = home.people.filter(|people| edits && !people.not_registered.is_none()) {
        let who = match people.not_registered {
            Tally { count: 1, is_more: false } => "1 person has".to_owned(),
            tally => format!("{} people have", number(tally)),
        };
        let mail = if home.has_mail { " A mailed setup link takes them there." } else { "" };
        let text = format!("{who} no authenticator yet.{mail}");
        say(text, "/console/people?show=not-registered", "Show who");
    }
    next
}
