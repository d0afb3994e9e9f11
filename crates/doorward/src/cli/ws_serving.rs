//! `doorward ws verify`, `check-token`, `revoke-token`, `get-user`, `add-user`, `update-user`: one thing asked for
//! others on a connection of its own.
//!
//! Passwords, one-time passwords and tokens come by environment variables or from the terminal, never as arguments.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use doorward_client::printable;
use doorward_client::totp::Totp;
use doorward_client::ws::{
    ConnectOptions, Declined, LoginAnswer, PasswordStep, StepAnswer, StepDone, TokenAnswer, UserAnswer,
    UserDetails, VerifiedLogin, VerifyAnswer, VerifyLogin, WsClient, tls_from_ca_file,
};
use doorward_core::ask::Padding;
use doorward_core::secret::Secret;
use serde_json::{Map, Value, json};

use super::super::server::{cell, facts, json_line};
use super::super::terminal::{PasswordFrom, Question, secret_env};
use super::{Ask, CODE, CliError, Exit, PASSWORD, USER, parse_padding, refusal};
use crate::clock::Clock;

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(Args, Debug)]
struct AskerArgs {
    /// Where the WebSocket door is
    #[arg(long, default_value = "ws://127.0.0.1:7402/")]
    url: String,
    /// The service user or administrator who asks [default: asked]
    #[arg(long, value_name = "USERID")]
    user: Option<String>,
    #[command(flatten)]
    password: PasswordFrom,
    /// Make the asker's own one-time password from the seed in this environment variable
    #[arg(long, value_name = "NAME")]
    seed_env: Option<String>,
    /// PKCS1 or OAEP-SHA256 [default: the best that the server offers]
    #[arg(long, value_parser = parse_padding)]
    padding: Option<Padding>,
    /// Trust the root certificates of this PEM file (needed for wss://)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print the answer as it came, as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
pub(super) struct VerifyArgs {
    /// The customer's user id
    customer: String,
    /// Read the customer's password from this environment variable [default: asked]
    #[arg(long, value_name = "NAME")]
    customer_password_env: Option<String>,
    /// Read the customer's one-time password from this environment variable
    #[arg(long, value_name = "NAME", conflicts_with = "customer_seed_env")]
    customer_code_env: Option<String>,
    /// Make the customer's one-time password from the seed in this environment variable
    #[arg(long, value_name = "NAME")]
    customer_seed_env: Option<String>,
    /// Have a token made; it is printed once
    #[arg(long)]
    token: bool,
    /// The customer's address, by which wrong passwords are counted
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
    #[command(flatten)]
    asker: AskerArgs,
}

#[derive(Args, Debug)]
pub(super) struct TokenArgs {
    /// Read the token from this environment variable [default: asked]
    #[arg(long, value_name = "NAME")]
    token_env: Option<String>,
    /// Whose it must be
    #[arg(long, value_name = "USERID")]
    of: Option<String>,
    #[command(flatten)]
    asker: AskerArgs,
}

#[derive(Args, Debug)]
pub(super) struct GetUserArgs {
    /// The user id [default: the asker's own]
    userid: Option<String>,
    #[command(flatten)]
    asker: AskerArgs,
}

#[derive(Args, Debug)]
pub(super) struct AddUserArgs {
    /// The user id to log in with
    userid: String,
    /// The firm [default: the only one that the asker serves]
    #[arg(long, value_name = "CODE")]
    firm: Option<String>,
    /// Read the first password from this environment variable [default: asked]
    #[arg(long, value_name = "NAME")]
    new_password_env: Option<String>,
    #[command(flatten)]
    details: DetailArgs,
    #[command(flatten)]
    asker: AskerArgs,
}

#[derive(Args, Debug)]
pub(super) struct UpdateUserArgs {
    /// The user id
    userid: String,
    /// Set another password, with the present one beside it
    #[arg(long, conflicts_with = "reset_password")]
    change_password: bool,
    /// Set another password without the present one, which ends sessions and tokens (service users with the right to it)
    #[arg(long)]
    reset_password: bool,
    /// Read the present password from this environment variable [default: asked]
    #[arg(long, value_name = "NAME", requires = "change_password")]
    present_password_env: Option<String>,
    /// Read the new password from this environment variable [default: asked]
    #[arg(long, value_name = "NAME")]
    new_password_env: Option<String>,
    #[command(flatten)]
    details: DetailArgs,
    #[command(flatten)]
    asker: AskerArgs,
}

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(Args, Debug)]
struct DetailArgs {
    /// The venue's positional string
    #[arg(long)]
    roles: Option<String>,
    /// The commission rate (service users)
    #[arg(long, value_name = "RATE")]
    broker_comm_rate: Option<String>,
    /// A JSON object of the venue's, at most 4 KiB
    #[arg(long, value_name = "JSON", value_parser = parse_object)]
    attr: Option<Map<String, Value>>,
    /// Whether a one-time password is asked for; Y makes a new seed and prints it once
    #[arg(long, value_name = "Y|N", value_parser = parse_flag)]
    use2fa: Option<bool>,
    /// The new password need not be changed (service users with the right to it)
    #[arg(long)]
    not_initial: bool,
    /// Why; it is written down
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl DetailArgs {
    fn details(&self, firm: Option<String>) -> UserDetails {
        UserDetails {
            firm,
            roles: self.roles.clone(),
            broker_comm_rate: self.broker_comm_rate.clone(),
            attr: self.attr.clone(),
            use2fa: self.use2fa,
            initial: self.not_initial.then_some(false),
            reason: self.reason.clone(),
        }
    }
}

fn parse_object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            Err(String::from("JSON, but no object"))
        }
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

fn parse_flag(text: &str) -> Result<bool, String> {
    match text {
        "Y" => Ok(true),
        "N" => Ok(false),
        _ => Err(String::from("neither Y nor N")),
    }
}

const CUSTOMER_PASSWORD: Question =
    Question { prompt: "Customer's password: ", option: "--customer-password-env", hidden: true };
const CUSTOMER_CODE: Question =
    Question { prompt: "Customer's one-time password: ", option: "--customer-code-env", hidden: false };
const TOKEN: Question = Question { prompt: "Token: ", option: "--token-env", hidden: true };
const PRESENT: Question =
    Question { prompt: "Present password: ", option: "--present-password-env", hidden: true };
const NEW: Question = Question { prompt: "New password: ", option: "--new-password-env", hidden: true };

/// A secret from an environment variable where one is named, else from the terminal.
fn secret(name: Option<&String>, question: Question, ask: Ask) -> Result<Secret<String>, CliError> {
    match name {
        Some(name) => secret_env(question.option, name),
        None => ask(question),
    }
}

/// A code from the seed in an environment variable.
fn code_of(option: &str, name: &str) -> Result<Secret<String>, CliError> {
    let seed = Totp::parse(secret_env(option, name)?.expose())?;
    Ok(Secret::new(seed.code(Clock::system().now().wall)))
}

/// What a command ends with: what is printed for a person, or the answer as it came.
struct Told {
    text: String,
    raw: Value,
    exit: Exit,
}

impl Told {
    fn done(text: String, raw: Value) -> Self {
        Self { text, raw, exit: Exit::Done }
    }

    fn refused(why: &str, raw: Value) -> Self {
        Self { text: format!("refused: {why}\n"), raw, exit: Exit::Refused }
    }

    fn declined(why: &Declined, raw: Value) -> Self {
        let text = super::result(&raw);
        let text = match why {
            Declined::PermissionDenied { field: Some(field) }
            | Declined::MissingField { field }
            | Declined::InvalidField { field } => format!("{text}: {}", printable(field)),
            Declined::Busy { retry_ms } | Declined::TryAgainLater { retry_ms } => {
                format!("{text}; try again in {retry_ms} ms")
            }
            Declined::PermissionDenied { field: None } | Declined::ChallengeRequired | Declined::Other(_) => {
                text
            }
        };
        Self::refused(&text, raw)
    }
}

/// A connection on which somebody is logged in who asks for others.
struct Asker<'a> {
    client: WsClient,
    json: bool,
    out: &'a mut (dyn Write + Send),
}

impl<'a> Asker<'a> {
    async fn enter(args: &AskerArgs, out: &'a mut (dyn Write + Send), ask: Ask) -> Result<Self, CliError> {
        let user = match &args.user {
            Some(user) => user.clone(),
            None => ask(USER)?.expose().clone(),
        };
        let password = match args.password.read()? {
            Some(password) => password,
            None => ask(PASSWORD)?,
        };
        let options = ConnectOptions {
            tls: args.ca.as_deref().map(tls_from_ca_file).transpose()?,
            padding: args.padding,
            ..ConnectOptions::default()
        };
        let mut client = WsClient::connect(&args.url, &options).await?;
        let mut reply = client.login(&user, &password, None).await?;
        if reply.answer == LoginAnswer::CodeRequired {
            let code = match &args.seed_env {
                Some(name) => code_of("--seed-env", name)?,
                None => ask(Question { option: "--seed-env", ..CODE })?,
            };
            reply = client.send_code(code.expose()).await?;
        }
        match reply.answer {
            LoginAnswer::In { must_change: false } => Ok(Self { client, json: args.json, out }),
            LoginAnswer::In { must_change: true } => Err(CliError::refused(format!(
                "the password of {} must be changed first: doorward ws login",
                printable(&user)
            ))),
            LoginAnswer::CodeRequired
            | LoginAnswer::Refused
            | LoginAnswer::InvalidToken
            | LoginAnswer::RegistrationRequired { .. }
            | LoginAnswer::ChallengeRequired
            | LoginAnswer::Busy { .. }
            | LoginAnswer::TryAgainLater { .. }
            | LoginAnswer::Other(_) => {
                Err(CliError::refused(format!("login of {} {}", printable(&user), refusal(&reply))))
            }
        }
    }

    async fn leave(self, told: Told) -> Result<Exit, CliError> {
        let text = if self.json { json_line(&told.raw) } else { told.text };
        self.out.write_all(text.as_bytes())?;
        self.out.flush()?;
        self.client.logout().await?;
        Ok(told.exit)
    }
}

pub(super) async fn verify(
    args: &VerifyArgs,
    out: &mut (dyn Write + Send),
    ask: Ask,
) -> Result<Exit, CliError> {
    let password = secret(args.customer_password_env.as_ref(), CUSTOMER_PASSWORD, ask)?;
    let mut asker = Asker::enter(&args.asker, out, ask).await?;
    let code = match (&args.customer_code_env, &args.customer_seed_env) {
        (Some(name), _) => Some(secret_env("--customer-code-env", name)?),
        (None, Some(name)) => Some(code_of("--customer-seed-env", name)?),
        (None, None) => None,
    };
    let mut customer = VerifyLogin {
        userid: &args.customer,
        password: &password,
        code: code.as_ref(),
        wants_token: args.token,
        source: args.source,
    };
    let mut reply = asker.client.verify_login(&customer).await?;
    let asked;
    if reply.answer == VerifyAnswer::CodeMissing && code.is_none() {
        asked = ask(CUSTOMER_CODE)?;
        customer.code = Some(&asked);
        reply = asker.client.verify_login(&customer).await?;
    }
    let raw = reply.raw;
    let told = match &reply.answer {
        VerifyAnswer::Verified(verified) => verified_told(verified, raw),
        VerifyAnswer::Refused => Told::refused("invalid user/password", raw),
        VerifyAnswer::InvalidToken => Told::refused("the one-time password is wrong or used", raw),
        VerifyAnswer::CodeMissing => Told::refused("a one-time password is needed for a token", raw),
        VerifyAnswer::Declined(why) => Told::declined(why, raw),
    };
    asker.leave(told).await
}

fn verified_told(verified: &VerifiedLogin, mut raw: Value) -> Told {
    let what = match (verified.active, verified.must_change, verified.must_register) {
        (false, _, _) => "disabled: may not come in",
        (true, true, _) => "the password must be changed first",
        (true, false, true) => "an authenticator must be registered first",
        (true, false, false) => "may come in",
    };
    let level = match verified.verify_level {
        0 => String::from("0 (password)"),
        1 => String::from("1 (password and one-time password)"),
        other => other.to_string(),
    };
    let token = verified.token.as_ref();
    let text = facts(&[
        ("user id", cell(&json!(verified.userid))),
        ("verified", String::from(what)),
        ("level", level),
        ("attr", cell(&verified.attr.clone().map_or(Value::Null, Value::Object))),
        ("token", token.map(|made| printable(made.token.expose()).into_owned()).unwrap_or_default()),
        ("good until", token.and_then(|made| made.expires).map(|end| end.to_string()).unwrap_or_default()),
    ]);
    if let Some(made) = token {
        raw["token"] = json!(made.token.expose());
    }
    let exit = if verified.active { Exit::Done } else { Exit::Refused };
    Told { text, raw, exit }
}

pub(super) async fn token(
    args: &TokenArgs,
    revoke: bool,
    out: &mut (dyn Write + Send),
    ask: Ask,
) -> Result<Exit, CliError> {
    let token = secret(args.token_env.as_ref(), TOKEN, ask)?;
    let mut asker = Asker::enter(&args.asker, out, ask).await?;
    let of = args.of.as_deref();
    let reply = if revoke {
        asker.client.revoke_token(&token, of).await?
    } else {
        asker.client.check_token(&token, of).await?
    };
    let raw = reply.raw;
    let told = match &reply.answer {
        TokenAnswer::Good { userid, expires } => {
            let until = expires.map(|end| end.to_string()).unwrap_or_default();
            let name = if revoke { "ended" } else { "good until" };
            let value = if revoke { String::from("now") } else { until };
            Told::done(facts(&[("user id", cell(&json!(userid))), (name, value)]), raw)
        }
        TokenAnswer::InvalidToken => Told::refused("the token is not good", raw),
        TokenAnswer::Declined(why) => Told::declined(why, raw),
    };
    asker.leave(told).await
}

pub(super) async fn get_user(
    args: &GetUserArgs,
    out: &mut (dyn Write + Send),
    ask: Ask,
) -> Result<Exit, CliError> {
    let mut asker = Asker::enter(&args.asker, out, ask).await?;
    let reply = asker.client.user(args.userid.as_deref()).await?;
    let raw = reply.raw;
    let told = match &reply.answer {
        UserAnswer::Known(user) => {
            let yes = |set: bool| String::from(if set { "yes" } else { "no" });
            let text = |text: &Option<String>| cell(&json!(text));
            let shown = facts(&[
                ("user id", cell(&json!(user.userid))),
                ("firm", text(&user.firm)),
                ("roles", text(&user.roles)),
                ("active", yes(user.active)),
                ("one-time password", yes(user.use2fa)),
                ("registered", yes(user.registered)),
                ("attr", cell(&user.attr.clone().map_or(Value::Null, Value::Object))),
            ]);
            Told::done(shown, raw)
        }
        UserAnswer::Unknown => Told::refused("unknown user", raw),
        UserAnswer::Declined(why) => Told::declined(why, raw),
    };
    asker.leave(told).await
}

pub(super) async fn add_user(
    args: &AddUserArgs,
    out: &mut (dyn Write + Send),
    ask: Ask,
) -> Result<Exit, CliError> {
    let password = secret(args.new_password_env.as_ref(), NEW, ask)?;
    let mut asker = Asker::enter(&args.asker, out, ask).await?;
    let details = args.details.details(args.firm.clone());
    let reply = asker.client.add_user(&args.userid, &password, &details).await?;
    asker.leave(step_told("added", &args.userid, &reply.answer, reply.raw)).await
}

pub(super) async fn update_user(
    args: &UpdateUserArgs,
    out: &mut (dyn Write + Send),
    ask: Ask,
) -> Result<Exit, CliError> {
    let sets = args.change_password || args.reset_password;
    if args.new_password_env.is_some() && !sets {
        return Err(CliError::usage(
            "--new-password-env: give --change-password or --reset-password with it",
        ));
    }
    let present = match args.change_password {
        true => Some(secret(args.present_password_env.as_ref(), PRESENT, ask)?),
        false => None,
    };
    let new = if sets { Some(secret(args.new_password_env.as_ref(), NEW, ask)?) } else { None };
    let password = match (&present, &new) {
        (Some(present), Some(new)) => PasswordStep::Change { present, new },
        (None, Some(new)) => PasswordStep::Reset { new },
        (_, None) => PasswordStep::Keep,
    };
    let mut asker = Asker::enter(&args.asker, out, ask).await?;
    let reply = asker.client.update_user(&args.userid, password, &args.details.details(None)).await?;
    asker.leave(step_told("changed", &args.userid, &reply.answer, reply.raw)).await
}

fn step_told(done: &str, userid: &str, answer: &StepAnswer, mut raw: Value) -> Told {
    match answer {
        StepAnswer::Done(step) => {
            let StepDone { broker_comm_rate, seed } = &**step;
            if let Some(seed) = seed {
                raw["2faseed"] = json!(seed.base32.expose());
                raw["2fauri"] = json!(seed.uri.expose());
            }
            let shown = |of: fn(&doorward_client::ws::NewSeed) -> &String| {
                seed.as_ref().map(|seed| printable(of(seed)).into_owned()).unwrap_or_default()
            };
            let text = facts(&[
                (done, printable(userid).into_owned()),
                ("commission rate", cell(&json!(broker_comm_rate))),
                ("seed", shown(|seed| seed.base32.expose())),
                ("for an app", shown(|seed| seed.uri.expose())),
            ]);
            Told::done(text, raw)
        }
        StepAnswer::PasswordIssue { reason } => {
            Told::refused(&format!("the new password is not taken: {}", printable(reason)), raw)
        }
        StepAnswer::UserExists | StepAnswer::UnknownUser | StepAnswer::UnknownFirm => {
            Told::refused(&super::result(&raw), raw)
        }
        StepAnswer::Declined(why) => Told::declined(why, raw),
    }
}

#[cfg(test)]
#[path = "ws_serving_tests.rs"]
mod tests;
