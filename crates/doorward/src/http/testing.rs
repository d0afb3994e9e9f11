//! A gate over real parts in a folder of its own, for tests of what stands on it.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::api::ApiState;
use crate::book::sqlite;
use crate::clock::Clock;
use crate::gate::{BreachList, Gate, Settings};
use crate::hashing::{HashParams, HashPool, HashSettings};
use crate::journal::RealDisk;
use crate::vault::{ChallengeSettings, FaultyVault, SoftVault, Vault};

/// The longest that a test waits for what must happen.
pub(super) const TEST_MAX: Duration = Duration::from_secs(30);

/// The parts; the folder goes when this does.
pub(super) struct World {
    pub(super) gate: Arc<Gate>,
    pub(super) clock: Arc<Clock>,
    pub(super) folder: TempDir,
    vault: Arc<FaultyVault>,
}

pub(super) fn world() -> World {
    let folder = TempDir::new().unwrap();
    let disk = Arc::new(RealDisk::open(&folder.path().join("journal")).unwrap());
    let settings = sqlite::Settings { segment_bytes: 1 << 20, ..sqlite::Settings::default() };
    let store = sqlite::open(folder.path(), disk, "node1".to_owned(), &settings).unwrap();
    let soft: Arc<dyn Vault> = Arc::new(SoftVault::in_memory(ChallengeSettings::default()).unwrap());
    let vault = Arc::new(FaultyVault::new(soft, false));
    let hashes = HashSettings {
        threads: 1,
        queue_max: 100,
        queue_per_source_max: 100,
        queue_deadline: TEST_MAX,
        params: HashParams::tiny(),
    };
    let hashes = HashPool::new(Arc::<FaultyVault>::clone(&vault), hashes).unwrap();
    let clock = Arc::new(Clock::system());
    let shared: Arc<dyn Vault> = Arc::<FaultyVault>::clone(&vault);
    let breached = BreachList::default();
    let gate = Gate::new(Arc::new(store), shared, hashes, Arc::clone(&clock), breached, Settings::default())
        .unwrap();
    World { gate: Arc::new(gate), clock, folder, vault }
}

impl World {
    /// What the API stands on; its clock may be moved.
    pub(super) fn api(&self) -> ApiState {
        ApiState {
            gate: Arc::clone(&self.gate),
            node: "node1".into(),
            demo_clock: Some(Arc::clone(&self.clock)),
        }
    }

    pub(super) fn vault_down(&self, down: bool) {
        self.vault.set_down(down);
    }
}
