//! Challenge keys, as the doors hand them out.

use std::sync::Arc;

use doorward_core::ask::{Challenge, Padding};

use super::Gate;
use crate::fault::Fault;
use crate::{metrics, vault};

impl Gate {
    /// The present challenge key; where none is ready, the calling thread makes it, for some 100 ms.
    pub fn challenge(&self) -> Result<Challenge, Fault> {
        self.vault.challenge(self.clock.now()).map(|challenge| self.offered(challenge))
    }

    /// The present challenge key; whoever asks before a node's first one is made waits for it, and no thread that serves
    /// connections does.
    pub async fn challenge_when_made(&self) -> Result<Challenge, Fault> {
        let now = self.clock.now();
        if let Some(challenge) = self.vault.ready_challenge(now)? {
            return Ok(self.offered(challenge));
        }
        let vault = Arc::clone(&self.vault);
        let made = tokio::task::spawn_blocking(move || vault.challenge(now)).await;
        let made = made.map_err(|error| Fault::Vault(format!("no challenge key: {error}")))?;
        made.map(|challenge| self.offered(challenge))
    }

    /// Destroys challenge keys that are over and makes the next one ahead of time; called each second.
    pub(super) async fn turn_keys_over(&self) {
        let (vault, now) = (Arc::clone(&self.vault), self.clock.now());
        // Making a key takes a while: not on a thread that serves connections.
        if let Ok(Err(fault)) = tokio::task::spawn_blocking(move || vault.tick(now)).await {
            metrics::vault_failed("tick");
            tracing::warn!(%fault, "vault");
        }
    }

    fn offered(&self, challenge: vault::Challenge) -> Challenge {
        let pkcs1 = self.settings.pkcs1;
        let allowed = |padding: &Padding| pkcs1 || *padding != Padding::Pkcs1;
        Challenge {
            key: challenge.key_id,
            spki_base64: challenge.spki_base64.to_string(),
            paddings: Padding::ALL.into_iter().filter(allowed).collect(),
            expires: challenge.serve_until,
        }
    }
}
