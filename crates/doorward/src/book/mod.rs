//! The store: what is known, to be queried.
use std::net::IpAddr as _;
