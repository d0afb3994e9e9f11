//! Certificates of listeners, read again when their files change.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use doorward_core::time::Wall;
use tokio::sync::Notify;

use super::tls::Tls;
use crate::clock::Clock;

/// How often the files are looked at where nobody asks.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The certificates of a node's listeners.
#[derive(Default)]
pub struct Certificates {
    all: Vec<Kept>,
    asked: Notify,
}

struct Kept {
    /// Where the configuration names the files.
    section: String,
    tls: Tls,
    /// What was wrong with them when they were read last.
    fault: Mutex<Option<String>>,
}

impl Certificates {
    /// Adds those that a section of the configuration names.
    pub fn add(&mut self, section: String, tls: &Tls) {
        self.all.push(Kept { section, tls: tls.clone(), fault: Mutex::default() });
    }

    /// Has the files read again soon.
    pub fn renew(&self) {
        self.asked.notify_one();
    }

    /// Takes over what the files hold, each minute and when asked, until the node stops.
    pub async fn keep(self: Arc<Self>, clock: Arc<Clock>, stopped: impl Future<Output = ()>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tokio::pin!(stopped);
        loop {
            let asked = tokio::select! {
                biased;
                () = &mut stopped => return,
                () = self.asked.notified() => true,
                _ = looks.tick() => false,
            };
            let (these, now) = (Arc::clone(&self), clock.now().wall);
            let looked =
                tokio::task::spawn_blocking(move || these.all.iter().for_each(|kept| kept.look(now, asked)));
            if let Err(error) = looked.await {
                tracing::error!(%error, "certificates could not be read again");
            }
        }
    }
}

impl Kept {
    /// A fault is told once, and to whoever asks.
    fn look(&self, now: Wall, asked: bool) {
        let section = self.section.as_str();
        let mut last = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match self.tls.renew() {
            Ok(changed) => {
                if changed {
                    tracing::info!(section, "a certificate was taken over");
                    self.tls.warning(now).inspect(|warning| tracing::warn!(section, "{warning}"));
                } else if last.is_some() {
                    tracing::info!(section, "the files of a certificate are again as they were");
                }
                *last = None;
            }
            Err(fault) => {
                let fault = fault.to_string();
                if asked || last.as_ref() != Some(&fault) {
                    tracing::error!(section, "{fault}; the certificate stays as it was");
                }
                *last = Some(fault);
            }
        }
    }
}
