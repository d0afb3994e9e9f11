//! What is around every page: title, ways to other pages, who is signed in.

use std::fmt;

use askama::filters::HtmlSafe;
use doorward_core::audit::Door;
use doorward_core::id::UserId;
use doorward_core::identity::person::{Kind, Right};
use doorward_core::time::Wall;

use super::WebState;
use super::assets::{Paths, paths};
use super::visit::Visit;
use crate::gate::web::Asker;

/// One page that is always near.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Its path; also of what lies below.
    pub path: &'static str,
    /// What it is called.
    pub label: &'static str,
}

/// For whom a link is shown.
#[derive(Clone, Copy, Debug)]
struct Entry {
    link: Link,
    kinds: &'static [Kind],
    /// An administrator must have been given it.
    right: Option<Right>,
}

impl Entry {
    fn is_for(&self, asker: &Asker) -> bool {
        let allowed = self.right.is_none_or(|right| asker.kind == Kind::Desk || asker.has(right));
        allowed && self.kinds.contains(&asker.kind)
    }
}

/// Where the console begins.
const HOME: &str = "/console";
const CONSOLE: &[Kind] = &[Kind::Desk, Kind::Administrator];

/// The navigation, in order: a page is one row.
#[rustfmt::skip]
const NAVIGATION: &[Entry] = &[
    Entry { link: Link { path: HOME, label: "Home" }, kinds: CONSOLE, right: None },
    Entry { link: Link { path: "/console/firms", label: "Firms" }, kinds: &[Kind::Desk], right: None },
    Entry { link: Link { path: "/console/people", label: "People" }, kinds: CONSOLE, right: Some(Right::ViewPeople) },
    Entry { link: Link { path: "/console/events", label: "Events" }, kinds: CONSOLE, right: Some(Right::ViewAudit) },
    Entry { link: Link { path: "/console/events?attempts=1", label: "Attempts" }, kinds: CONSOLE, right: Some(Right::ViewAudit) },
    Entry { link: Link { path: "/console/mails", label: "Mails" }, kinds: CONSOLE, right: Some(Right::ViewPeople) },
    Entry { link: Link { path: "/console/switch", label: "Switch" }, kinds: &[Kind::Desk], right: None },
    Entry { link: Link { path: "/account", label: "My account" }, kinds: &[Kind::Desk, Kind::Administrator, Kind::Trader], right: None },
];

/// Where somebody begins.
pub const fn home(kind: Kind) -> &'static str {
    match kind {
        Kind::Desk | Kind::Administrator => HOME,
        Kind::Trader | Kind::Service => "/account",
    }
}

/// A kind of person, for people.
pub const fn role(kind: Kind) -> &'static str {
    match kind {
        Kind::Desk => "Desk operator",
        Kind::Administrator => "Administrator",
        Kind::Trader => "Trader",
        Kind::Service => "Program",
    }
}

/// A door, for people.
pub const fn door(door: Door) -> &'static str {
    match door {
        Door::WebSocket => "WebSocket",
        Door::Fix => "FIX",
        Door::Portal => "Portal",
        Door::Console => "Console",
        Door::Local | Door::Node => "Server",
    }
}

/// Who is signed in, as the head of a page shows it.
#[derive(Clone, Debug)]
pub struct Who {
    /// The user id.
    pub userid: UserId,
    /// What they are, in a word or two.
    pub role: String,
}

/// The hidden field that a form brings back, as HTML.
#[derive(Clone, Debug, Default)]
pub struct Csrf(String);

impl Csrf {
    /// The token alone, for scripts.
    pub fn token(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Csrf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Base64url needs no escaping.
        write!(f, r#"<input type="hidden" name="csrf" value="{}">"#, self.0)
    }
}

impl HtmlSafe for Csrf {}

/// Every template of a whole page has a field `shell` of this type.
#[derive(Clone, Debug)]
pub struct Shell {
    /// The page's title.
    pub title: String,
    /// Files.
    pub files: &'static Paths,
    /// `{{ shell.csrf }}` inside every form.
    pub csrf: Csrf,
    /// Who is signed in.
    pub who: Option<Who>,
    /// What went well just now, for the head of the page.
    pub done: Option<String>,
    links: Vec<Link>,
    path: String,
    query: String,
}

impl Shell {
    /// For a page that anybody sees.
    pub fn open(web: &WebState, visit: &Visit, title: impl Into<String>) -> Self {
        let csrf = Csrf(web.tokens.csrf(web.gate.binding(&visit.token())));
        let whole = visit.path_and_query();
        let (path, query) = whole.split_once('?').unwrap_or((whole, ""));
        Self { csrf, path: path.to_owned(), query: query.to_owned(), ..Self::bare(title) }
    }

    /// For a page of somebody who is signed in.
    pub fn of(web: &WebState, visit: &Visit, asker: &Asker, title: impl Into<String>) -> Self {
        let entries = NAVIGATION.iter().filter(|entry| entry.is_for(asker));
        let role = match &asker.firm {
            Some(firm) => format!("{}, {firm}", role(asker.kind)),
            None => role(asker.kind).to_owned(),
        };
        let who = Some(Who { userid: asker.userid.clone(), role });
        Self { who, links: entries.map(|entry| entry.link).collect(), ..Self::open(web, visit, title) }
    }

    /// For a page that knows nothing of who sees it.
    pub fn bare(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            files: paths(),
            csrf: Csrf::default(),
            who: None,
            done: None,
            links: Vec::new(),
            path: String::new(),
            query: String::new(),
        }
    }

    /// The same, with what went well just now.
    #[must_use]
    pub fn with_done(mut self, done: Option<impl Into<String>>) -> Self {
        self.done = done.map(Into::into);
        self
    }

    /// The navigation.
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// Whether a link leads to this page or to one above it.
    pub fn is_current(&self, link: &Link) -> bool {
        let below = |path: &str| {
            self.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        // A page that two links lead to is that of the one that says more.
        let asks = |query: &str| self.query.split('&').any(|part| part == query);
        match link.path.split_once('?') {
            Some((path, query)) => self.path == path && asks(query),
            None if link.path == HOME => self.path == HOME,
            None => {
                let more =
                    |other: &Link| other.path.split_once('?').is_some_and(|(path, _)| path == link.path);
                below(link.path) && !self.links.iter().any(|other| more(other) && self.is_current(other))
            }
        }
    }
}

/// An instant, as HTML: the script shows it in the viewer's zone, with UTC in the title. `{{ When(instant) }}` or a
/// field of this type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct When(pub Wall);

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let full = self.0.to_string();
        let (date, time) = full.split_once('T').unwrap_or((full.as_str(), ""));
        let minute = time.get(..5).unwrap_or(time);
        write!(f, r#"<time datetime="{full}">{date} {minute} UTC</time>"#)
    }
}

impl HtmlSafe for When {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_readable_without_the_script_too() {
        let when = When(Wall::parse("2026-11-22T02:05:09Z").unwrap());
        let html = r#"<time datetime="2026-11-22T02:05:09.000Z">2026-11-22 02:05 UTC</time>"#;
        assert_eq!(when.to_string(), html);
    }
}
