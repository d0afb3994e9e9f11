//! Routes with their paths kept beside them: what is served and what is proved of it is one list.

use axum::Router;
use axum::routing::MethodRouter;

use super::WebState;

/// A set of pages.
pub(super) struct Pages {
    router: Router<WebState>,
    paths: Vec<&'static str>,
}

impl Pages {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { router: Router::new(), paths: Vec::new() }
    }

    /// The same with one more path.
    pub(super) fn route(mut self, path: &'static str, methods: MethodRouter<WebState>) -> Self {
        self.paths.push(path);
        Self { router: self.router.route(path, methods), ..self }
    }

    /// The same with the pages of another set.
    pub(super) fn merge(mut self, other: Self) -> Self {
        self.paths.extend(other.paths);
        Self { router: self.router.merge(other.router), ..self }
    }

    pub(super) fn into_router(self) -> Router<WebState> {
        self.router
    }

    pub(super) fn into_paths(self) -> Vec<&'static str> {
        self.paths
    }
}
