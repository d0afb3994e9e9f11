//! Doors: what happens to a connection before, around and after its machine.
//!
//! [`accept`] takes connections as far as [`admission`] lets them in; [`link`] makes each a plain or TLS stream with
//! a [`source`]; [`origin`] says which web pages may come. [`fix`] has a thread and connections of its own.

pub mod accept;
pub mod admission;
pub mod certificates;
mod drive;
pub mod fix;
pub mod link;
pub mod origin;
pub mod proxy_header;
pub mod source;
pub mod tls;
pub mod ws;
