//! Faults in the server.

use crate::mutants::Fault;

/// The faults.
pub(super) const FAULTS: &[Fault] = &[];
