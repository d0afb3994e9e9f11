//! Certificates of the listeners that a configuration names.

use super::StartError;
use crate::clock::Clock;
use crate::config::{Config, TlsFiles};
use crate::doors::certificates::Certificates;
use crate::doors::tls::Tls;

/// `section` is the part of both keys before their last name, such as `ws.tls`.
pub(super) fn open_tls(
    section: &str,
    files: Option<&TlsFiles>,
    clock: &Clock,
) -> Result<Option<Tls>, StartError> {
    let Some(files) = files else { return Ok(None) };
    let tls = Tls::load(files).map_err(|fault| StartError::Config(format!("{section}: {fault}")))?;
    if let Some(warning) = tls.warning(clock.now().wall) {
        tracing::warn!("{warning}");
    }
    Ok(Some(tls))
}

/// The certificates of all listeners.
pub(super) struct OpenTls {
    pub(super) ws: Option<Tls>,
    pub(super) metrics: Option<Tls>,
    pub(super) web: Option<Tls>,
    /// In the order of the listeners.
    pub(super) fix: Vec<Option<Tls>>,
    pub(super) all: Certificates,
}

impl OpenTls {
    pub(super) fn open(config: &Config, clock: &Clock) -> Result<Self, StartError> {
        let ws = open_tls("ws.tls", config.ws.tls.as_ref(), clock)?;
        let metrics = open_tls("metrics.tls", config.metrics.tls.as_ref(), clock)?;
        let web = open_tls("web.tls", config.web.tls.as_ref(), clock)?;
        let mut all = Certificates::default();
        for (section, tls) in [("ws.tls", &ws), ("metrics.tls", &metrics), ("web.tls", &web)] {
            tls.iter().for_each(|tls| all.add(section.to_owned(), tls));
        }
        let mut fix = Vec::new();
        for listener in &config.fix.listeners {
            let tls = open_tls("fix.listeners.tls", listener.tls.as_ref(), clock)?;
            tls.iter().for_each(|tls| all.add(format!("fix.listeners.tls of {}", listener.name), tls));
            fix.push(tls);
        }
        Ok(Self { ws, metrics, web, fix, all })
    }
}
