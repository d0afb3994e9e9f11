//! A new authenticator, as pages show it: its seed, the confirming code, the recovery codes.

use askama::Template;
use axum::http::StatusCode;
use doorward_core::secret::Secret;
use doorward_core::text::percent_encoded;

use crate::gate::web::register::ShownSeed;
use crate::http::web::reply::{Answer, again, page, page_with};
use crate::http::web::shell::Shell;

/// Letters of the seed's text that stand together.
const GROUP: usize = 4;

/// A seed, with its picture. It is on one answer alone (T11).
pub(super) struct SeedView {
    shown: ShownSeed,
    /// The side of the picture, in modules.
    side: usize,
    /// The picture, as the path of an SVG.
    path: String,
}

impl SeedView {
    pub(super) fn new(shown: ShownSeed) -> Self {
        let (side, path) = crate::qr::svg_path(shown.uri.expose()).unwrap_or_default();
        Self { shown, side, path }
    }

    fn uri(&self) -> &str {
        self.shown.uri.expose()
    }

    /// The text in groups, for who types it.
    fn groups(&self) -> impl Iterator<Item = &str> {
        let text = self.shown.base32.expose();
        // Base32 is ASCII: every place is a boundary.
        (0..text.len()).step_by(GROUP).map(move |at| &text[at..text.len().min(at + GROUP)])
    }
}

/// The page with the seed and the field for its code; without the seed where a code was wrong.
#[derive(Template)]
#[template(path = "portal/seed.html")]
pub(super) struct SeedPage {
    pub(super) shell: Shell,
    /// Where the code goes.
    pub(super) action: &'static str,
    /// Where another seed is asked for; none where that needs the link again.
    pub(super) anew: Option<&'static str>,
    pub(super) seed: Option<SeedView>,
    pub(super) problem: Option<&'static str>,
    pub(super) step: usize,
}

impl SeedPage {
    pub(super) fn answer(&self) -> Answer {
        if self.problem.is_some() { again(self) } else { page(self) }
    }
}

/// Recovery codes, shown this once (T16).
#[derive(Template)]
#[template(path = "portal/codes.html")]
pub(super) struct CodesPage {
    pub(super) shell: Shell,
    pub(super) userid: String,
    pub(super) codes: Vec<Secret<String>>,
    /// Whether an authenticator was registered just now.
    pub(super) is_new: bool,
    pub(super) next: &'static str,
    pub(super) step: usize,
}

impl CodesPage {
    pub(super) fn answer(&self) -> Answer {
        page(self)
    }

    /// The codes as a file that the browser makes of the page alone.
    fn file(&self) -> String {
        let mut text = format!("Doorward recovery codes of {}\r\nEach works once.\r\n\r\n", self.userid);
        for code in &self.codes {
            text.push_str(code.expose());
            text.push_str("\r\n");
        }
        format!("data:text/plain;charset=utf-8,{}", percent_encoded(&text))
    }
}

/// Something that does not go on here, and where it does.
#[derive(Template)]
#[template(path = "portal/stop.html")]
pub(super) struct StopPage {
    pub(super) shell: Shell,
    pub(super) text: &'static str,
    /// Path and label of the way on.
    pub(super) way: (&'static str, &'static str),
}

impl StopPage {
    pub(super) fn answer(&self) -> Answer {
        page_with(StatusCode::UNPROCESSABLE_ENTITY, self)
    }
}
