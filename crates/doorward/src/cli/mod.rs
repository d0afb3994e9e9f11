//! The command line: one file a command.

#[cfg(test)]
mod admin_tests;
mod audit;
mod audit_export;
mod audit_key;
mod audit_verify;
mod backup;
mod book;
mod config;
mod demo;
mod demo_clock;
mod exit;
mod firm;
mod fix;
mod fix_connect;
mod halt;
mod init;
mod key;
mod load;
mod load_fix;
mod load_fix_ping;
mod load_fix_plan;
mod load_fix_report;
mod load_fix_run;
mod load_fix_seats;
mod load_report;
mod load_users;
mod load_ws;
mod policy;
mod restore;
mod restore_since;
mod serve;
mod server;
mod server_process;
mod session;
mod sign;
mod status;
mod terminal;
#[cfg(test)]
mod test_venue;
mod totp;
mod user;
mod venue;
mod ws;

pub use audit::AuditListArgs;
pub use audit_export::ExportArgs;
pub use audit_key::AuditKeyArgs;
pub use audit_verify::VerifyArgs;
pub use backup::BackupArgs;
pub use book::BookArgs;
pub use config::{ConfigArgs, ConfigFile};
pub use demo::DemoArgs;
pub use demo_clock::DemoClockArgs;
pub use exit::{CliError, Exit};
pub use firm::FirmArgs;
pub use fix::FixArgs;
pub use halt::HaltArgs;
pub use init::InitArgs;
pub use key::KeyArgs;
pub use load::LoadArgs;
pub use policy::PolicyArgs;
pub use restore::RestoreArgs;
pub use serve::ServeArgs;
pub use session::SessionArgs;
pub use sign::SignArgs;
pub use status::StatusArgs;
pub use totp::TotpArgs;
pub use user::UserArgs;
pub use venue::VenueArgs;
pub use ws::WsArgs;

/// Runs `doorward ws …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_ws(args: WsArgs) -> Result<Exit, CliError> {
    ws::run(args).await
}

/// Runs `doorward fix …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_fix(args: FixArgs) -> Result<Exit, CliError> {
    fix::run(args).await
}

/// Runs `doorward sign`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub fn run_sign(args: &SignArgs) -> Result<Exit, CliError> {
    sign::run(args)
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

/// Runs `doorward serve …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_serve(args: &ServeArgs) -> Result<Exit, CliError> {
    serve::run(args).await
}

/// Runs `doorward init …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub fn run_init(args: &InitArgs) -> Result<Exit, CliError> {
    init::run(args)
}

/// Runs `doorward demo …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_demo(args: DemoArgs) -> Result<Exit, CliError> {
    demo::run(args).await
}

/// Runs `doorward config …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub fn run_config(args: &ConfigArgs) -> Result<Exit, CliError> {
    config::run(args)
}

/// Runs `doorward backup`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub fn run_backup(args: &BackupArgs) -> Result<Exit, CliError> {
    backup::run(args)
}

/// Runs `doorward restore`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub fn run_restore(args: &RestoreArgs) -> Result<Exit, CliError> {
    restore::run(args)
}

/// Runs `doorward book …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub fn run_book(args: &BookArgs) -> Result<Exit, CliError> {
    book::run(args)
}

/// Runs `doorward audit verify`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub fn run_audit_verify(args: &VerifyArgs) -> Result<Exit, CliError> {
    audit_verify::run(args)
}

/// Runs `doorward audit export`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub fn run_audit_export(args: &ExportArgs) -> Result<Exit, CliError> {
    audit_export::run(args)
}

/// Runs `doorward audit key`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub fn run_audit_key(args: &AuditKeyArgs) -> Result<Exit, CliError> {
    audit_key::run(args)
}

/// Runs `doorward firm …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_firm(args: FirmArgs) -> Result<Exit, CliError> {
    firm::run(args).await
}

/// Runs `doorward user …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_user(args: UserArgs) -> Result<Exit, CliError> {
    user::run(args).await
}

/// Runs `doorward halt …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_halt(args: HaltArgs) -> Result<Exit, CliError> {
    halt::run(args).await
}

/// Runs `doorward session …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_session(args: SessionArgs) -> Result<Exit, CliError> {
    session::run(args).await
}

/// Runs `doorward key …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_key(args: KeyArgs) -> Result<Exit, CliError> {
    key::run(args).await
}

/// Runs `doorward policy …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_policy(args: PolicyArgs) -> Result<Exit, CliError> {
    policy::run(args).await
}

/// Runs `doorward audit list`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_audit_list(args: AuditListArgs) -> Result<Exit, CliError> {
    audit::run(args).await
}

/// Runs `doorward status`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_status(args: StatusArgs) -> Result<Exit, CliError> {
    status::run(args).await
}

/// Runs `doorward demo-clock …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_demo_clock(args: DemoClockArgs) -> Result<Exit, CliError> {
    demo_clock::run(args).await
}

/// Runs `doorward venue …`.
///
/// # Errors
/// [`CliError`] with the exit code to leave with.
pub async fn run_venue(args: &VenueArgs) -> Result<Exit, CliError> {
    venue::run(args).await
}
