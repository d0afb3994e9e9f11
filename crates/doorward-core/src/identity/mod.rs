//! Who there is, what is known of them, and the rules that decide.

pub mod sealed;
