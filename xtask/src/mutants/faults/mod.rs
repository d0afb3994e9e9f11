//! The table of planted faults, a file for each part of the tree.

mod core;
mod server;

use super::{Fault, Tests};

/// All faults, in the order of the page.
pub(super) fn all() -> Vec<Fault> {
    [core::FAULTS, server::FAULTS].concat()
}

/// Tests beside the code of the core.
const fn core(words: &'static [&'static str]) -> Tests {
    Tests { package: "doorward-core", target: "lib", words }
}

/// Tests beside the code of the server.
const fn server(words: &'static [&'static str]) -> Tests {
    Tests { package: "doorward", target: "lib", words }
}
