//! Hashing pool
