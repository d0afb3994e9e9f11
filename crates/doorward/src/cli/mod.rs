//! The command line: one file a command.

mod exit;
mod load;
mod load_report;
mod load_users;
mod load_ws;
mod terminal;
mod totp;
mod ws;

pub use exit::{CliError, Exit};
pub use load::LoadArgs;
pub use totp::TotpArgs;
pub use ws::WsArgs;

/// Runs `doorward ws …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_ws(args: WsArgs) -> Result<Exit, CliError> {
    ws::run(args).await
}

/// Runs `doorward totp …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub fn run_totp(args: &TotpArgs) -> Result<Exit, CliError> {
    totp::run(args)
}

/// Runs `doorward load …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_load(args: LoadArgs) -> Result<Exit, CliError> {
    load::run(args).await
}
