//! WebSocket administration over real sockets: logins verified, tokens, users added and changed for others.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "ws_admin/add_user.rs"]
mod add_user;
#[path = "ws_admin/asked.rs"]
mod asked;
#[path = "ws_admin/secrecy.rs"]
mod secrecy;
mod support;
#[path = "ws_admin/tokens.rs"]
mod tokens;
#[path = "ws_admin/verify.rs"]
mod verify;
