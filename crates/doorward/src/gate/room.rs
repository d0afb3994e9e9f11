//! Room on the journal's disk: while it is scarce, less is written down, and readiness warns (Q10).

use std::sync::atomic::Ordering;

use doorward_core::limits::Limit;

use super::Gate;
use crate::metrics;

const MIB: u64 = 1 << 20;

impl Gate {
    /// Takes note of the room that is left, in bytes.
    pub(super) fn spare(&self, free_bytes: u64) {
        metrics::journal_free_bytes(free_bytes);
        let scarce = is_scarce(free_bytes);
        if self.scarce.swap(scarce, Ordering::AcqRel) != scarce {
            tracing::warn!(scarce, free_bytes, "room on the journal's disk");
        }
        self.refusals.set_scarce(scarce);
        self.logon_refusals.set_scarce(scarce);
    }

    /// What an operator ought to look at though the node is ready; `/readyz` says it.
    pub fn warning(&self) -> Option<String> {
        let free = self.store.status().ok()?.free_bytes.filter(|&free| is_scarce(free))?;
        let (free_mib, limit) = (free / MIB, Limit::DiskFreeMiB.max());
        Some(format!(
            "the journal's disk is nearly full: {free_mib} MiB are free; under {limit} refusals are only counted"
        ))
    }
}

fn is_scarce(free_bytes: u64) -> bool {
    free_bytes < Limit::DiskFreeMiB.max() * MIB
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use crate::gate::testing::world;

    use super::*;

    #[tokio::test]
    async fn q10_under_512_mib_refusals_are_only_counted_and_readiness_warns() {
        let world = world();
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let written = || world.gate.refusals.count(source, world.gate.clock.now().mono);
        assert!(written());
        world.gate.spare(512 * MIB - 1);
        assert!(!written());
        world.gate.spare(512 * MIB);
        assert!(written());
        assert_eq!(world.gate.warning(), None, "this machine's disk has room");
        world.disk_full(true);
        let warning = world.gate.warning().unwrap();
        assert!(warning.contains("0 MiB are free; under 512"), "{warning}");
    }
}
