//! `doorward audit key`: the public keys with which heads of the journal are verified.

use clap::Args;

use super::config::ConfigFile;
use super::server::print;
use super::{CliError, Exit};
use crate::fault::Fault;
use crate::journal::HeadKey;
use crate::serve::{challenge_settings, protection};
use crate::vault::{SoftVault, Vault as _};

/// `doorward audit key`
#[derive(Args, Debug)]
pub struct AuditKeyArgs {
    #[command(flatten)]
    file: ConfigFile,
}

pub(super) fn run(args: &AuditKeyArgs) -> Result<Exit, CliError> {
    let config = args.file.load()?;
    let refused = |fault: Fault| CliError::refused(fault.to_string());
    let vault = SoftVault::open(&config.vault.key_file, &protection(&config), challenge_settings(&config))
        .map_err(refused)?;
    let keys = vault.audit_keys().map_err(refused)?;
    print(&keys.into_iter().map(|key| HeadKey::new(key).pem()).collect::<String>())
}
