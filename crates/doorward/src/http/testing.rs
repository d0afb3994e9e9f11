//! The gate's test world, with what the API stands on.

use std::sync::Arc;

use super::api::ApiState;
pub(crate) use crate::gate::testing::{TEST_MAX, World, world};

impl World {
    /// What the API stands on; its clock may be moved.
    pub(crate) fn api(&self) -> ApiState {
        ApiState {
            gate: Arc::clone(&self.gate),
            node: "node1".into(),
            demo_clock: Some(Arc::clone(&self.clock)),
            fix: None,
        }
    }
}
