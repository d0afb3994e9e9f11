//! The ready file: what a program needs to know of a demo, written once all doors listen.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use doorward_core::stream::Gateway;
use serde_json::json;

use super::fix_sessions::FixSample;
use super::people::{Sample, firm_codes};
use crate::config::PublicUrl;
use crate::fault::Fault;
use crate::serve::Node;

/// Writes the ready file, whole or not at all.
pub(super) fn write(
    path: &Path,
    node: &Node,
    mailbox: &Path,
    samples: &[Sample],
    sessions: &[FixSample],
) -> Result<(), Fault> {
    let firms: Vec<_> = firm_codes().map(|code| json!({ "code": code })).collect();
    let ready = json!({
        "pid": std::process::id(),
        "websocket": node.ws.first().map(|at| format!("ws://{at}/")),
        "admin_socket": node.admin_socket,
        "metrics": format!("http://{}", node.metrics),
        "portal": node.public_url.as_ref().map(PublicUrl::as_str),
        "console": node.public_url.as_ref().map(|url| format!("{url}/console")),
        "mailbox": mailbox,
        "fix": {
            "cgw": listener(node, super::CGW),
            "msgw": listener(node, super::MSGW),
            "trader": listener(node, super::TRADER),
        },
        "venue": "CME",
        "fix_sessions": sessions,
        "firms": firms,
        "users": samples,
    });
    let text = serde_json::to_vec_pretty(&ready).map_err(|error| Fault::Disk(error.to_string()))?;
    write_private(path, &text)
}

fn listener(node: &Node, name: &str) -> serde_json::Value {
    let Some(bound) = node.fix.iter().find(|bound| bound.name == name) else { return json!(null) };
    let mut listener = json!({ "host": bound.address.ip(), "port": bound.address.port() });
    if let Gateway::Msgw(segment) = bound.gateway {
        listener["segment"] = json!(String::from_utf8_lossy(&segment));
    }
    listener
}

/// Writes a file that only its owner may read, by way of another name.
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Fault> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let aside = path.with_file_name(name);
    let written = (|| {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        file.write_all(bytes)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&aside, path)
    })();
    written.map_err(|error| Fault::disk(path, &error))
}
