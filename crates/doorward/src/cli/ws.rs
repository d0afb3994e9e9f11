//! `doorward ws`: what programs say at the WebSocket door. `login` asks for what is missing.

#[path = "ws_serving.rs"]
mod serving;

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use doorward_client::password::Challenge;
use doorward_client::totp::Totp;
use doorward_client::ws::{ChangeAnswer, ConnectOptions, LoginAnswer, Reply, WsClient, tls_from_ca_file};
use doorward_client::{Closing, printable};
use doorward_core::ask::Padding;
use doorward_core::secret::Secret;
use serde_json::{Value, json};

use super::terminal::{PasswordFrom, Question, ask, secret_env, secret_file};
use super::{CliError, Exit};
use crate::clock::Clock;

/// Log in over WebSocket, as a venue's program does; verify customers and serve users, as a web back end does
#[derive(Args, Debug)]
pub struct WsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Log in and say what the server answers; asks for what is missing
    Login(LoginArgs),
    /// Verify a customer's login, as a service user
    Verify(serving::VerifyArgs),
    /// Ask whose a token is and until when it is good, as a service user
    CheckToken(serving::TokenArgs),
    /// End a token, as a service user
    RevokeToken(serving::TokenArgs),
    /// Show what is known of a trader who is served, or of oneself
    GetUser(serving::GetUserArgs),
    /// Add a trader, as a service user or an administrator
    AddUser(serving::AddUserArgs),
    /// Change a trader: what is known of them, password, one-time passwords; as a service user or an administrator
    UpdateUser(serving::UpdateUserArgs),
}

#[derive(Args, Debug)]
struct LoginArgs {
    /// Where the WebSocket door is
    #[arg(long, default_value = "ws://127.0.0.1:7402/")]
    url: String,
    /// The user id [default: asked]
    #[arg(long, value_name = "USERID")]
    user: Option<String>,
    #[command(flatten)]
    password: PasswordFrom,
    /// The one-time password
    #[arg(long, conflicts_with = "seed_env")]
    code: Option<String>,
    /// Make the one-time password from the seed in this environment variable
    #[arg(long, value_name = "NAME")]
    seed_env: Option<String>,
    /// Send the one-time password only when the server asks for it
    #[arg(long)]
    two_steps: bool,
    /// PKCS1 or OAEP-SHA256 [default: the best that the server offers]
    #[arg(long, value_parser = parse_padding)]
    padding: Option<Padding>,
    /// Trust the root certificates of this PEM file (needed for wss://)
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Stay until the server closes or Ctrl-C
    #[arg(long)]
    hold: bool,
    /// Change the password to the one in this file after the login
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// Log in with the token in this environment variable, in place of password and one-time password
    #[arg(long, value_name = "NAME", conflicts_with_all = ["password_source", "code", "seed_env", "new_password_file"])]
    token_env: Option<String>,
    /// Print each answer as it came, one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn parse_padding(text: &str) -> Result<Padding, String> {
    Padding::from_name(&text.to_ascii_uppercase())
        .ok_or_else(|| String::from("neither PKCS1 nor OAEP-SHA256"))
}

const USER: Question = Question { prompt: "User: ", option: "--user", hidden: false };
const PASSWORD: Question =
    Question { prompt: "Password: ", option: "--password-file or --password-env", hidden: true };
const CODE: Question =
    Question { prompt: "One-time password: ", option: "--code or --seed-env", hidden: false };
const NEW_PASSWORD: Question =
    Question { prompt: "New password: ", option: "--new-password-file", hidden: true };
const NEW_AGAIN: Question =
    Question { prompt: "New password again: ", option: "--new-password-file", hidden: true };

/// How often a busy server, or one that is down, is tried again.
const RETRIES_MAX: u32 = 3;
/// The longest wait between two tries, in milliseconds.
const RETRY_MS_MAX: u64 = 5_000;

/// Asks the person; another one in tests.
type Ask = fn(Question) -> Result<Secret<String>, CliError>;

pub(super) async fn run(args: WsArgs) -> Result<Exit, CliError> {
    let out = &mut io::stdout();
    match args.command {
        Command::Login(args) => login(&args, out, ask).await,
        Command::Verify(args) => serving::verify(&args, out, ask).await,
        Command::CheckToken(args) => serving::token(&args, false, out, ask).await,
        Command::RevokeToken(args) => serving::token(&args, true, out, ask).await,
        Command::GetUser(args) => serving::get_user(&args, out, ask).await,
        Command::AddUser(args) => serving::add_user(&args, out, ask).await,
        Command::UpdateUser(args) => serving::update_user(&args, out, ask).await,
    }
}

async fn login(args: &LoginArgs, out: &mut (dyn Write + Send), ask: Ask) -> Result<Exit, CliError> {
    let user = match &args.user {
        Some(user) => user.clone(),
        None => ask(USER)?.expose().clone(),
    };
    let token = match &args.token_env {
        Some(name) => Some(secret_env("--token-env", name)?),
        None => None,
    };
    let password = match (&token, args.password.read()?) {
        // Not asked for, and not sent.
        (Some(_), _) => Secret::new(String::new()),
        (None, Some(password)) => password,
        (None, None) => ask(PASSWORD)?,
    };
    let new_password = match &args.new_password_file {
        Some(path) => Some(secret_file("--new-password-file", path)?),
        None => None,
    };
    let seed = match &args.seed_env {
        Some(name) => Some(Totp::parse(secret_env("--seed-env", name)?.expose())?),
        None => None,
    };
    let options = ConnectOptions {
        tls: args.ca.as_deref().map(tls_from_ca_file).transpose()?,
        padding: args.padding,
        ..ConnectOptions::default()
    };
    let client = WsClient::connect(&args.url, &options).await?;
    let code = args.code.clone();
    let session = Session { client, out, ask, json: args.json, seed, code, user };
    match token {
        Some(token) => session.run_by_token(args, &token).await,
        None => session.run(args, password, new_password).await,
    }
}

/// One login from the first message to the close.
struct Session<'a> {
    client: WsClient,
    out: &'a mut (dyn Write + Send),
    ask: Ask,
    json: bool,
    seed: Option<Totp>,
    code: Option<String>,
    user: String,
}

impl Session<'_> {
    async fn run(
        mut self,
        args: &LoginArgs,
        password: Secret<String>,
        new_password: Option<Secret<String>>,
    ) -> Result<Exit, CliError> {
        let mut reply = self.log_in(&password, args.two_steps).await?;
        let mut asked = false;
        let must_change = loop {
            match reply.answer {
                LoginAnswer::In { must_change } => break must_change,
                LoginAnswer::CodeRequired => {
                    self.say("the password is right; a one-time password is needed")?;
                }
                LoginAnswer::InvalidToken if asked => self.say("that code is wrong or used; try another")?,
                LoginAnswer::InvalidToken
                | LoginAnswer::Refused
                | LoginAnswer::RegistrationRequired { .. }
                | LoginAnswer::ChallengeRequired
                | LoginAnswer::Busy { .. }
                | LoginAnswer::TryAgainLater { .. }
                | LoginAnswer::Other(_) => return self.refused(&reply).await,
            }
            let code = match self.known_code() {
                Some(code) => code,
                None => {
                    asked = true;
                    self.ask_meanwhile(CODE).await?.expose().clone()
                }
            };
            reply = self.client.send_code(&code).await?;
            self.show(&reply.raw)?;
        };
        let user = printable(&self.user).into_owned();
        self.say(&format!("logged in as {user}"))?;
        if must_change || new_password.is_some() {
            self.change_password(&password, new_password, must_change).await?;
        }
        self.leave(args.hold).await
    }

    async fn run_by_token(mut self, args: &LoginArgs, token: &Secret<String>) -> Result<Exit, CliError> {
        let reply = self.client.login_by_token(&self.user, token).await?;
        self.show(&reply.raw)?;
        if !matches!(reply.answer, LoginAnswer::In { .. }) {
            return self.refused(&reply).await;
        }
        let user = printable(&self.user).into_owned();
        self.say(&format!("logged in as {user}"))?;
        self.leave(args.hold).await
    }

    async fn log_in(
        &mut self,
        password: &Secret<String>,
        two_steps: bool,
    ) -> Result<Reply<LoginAnswer>, CliError> {
        let code = if two_steps { None } else { self.known_code() };
        let mut tries = 0;
        loop {
            let reply = self.try_log_in(password, code.as_deref()).await?;
            let (LoginAnswer::Busy { retry_ms } | LoginAnswer::TryAgainLater { retry_ms }) = reply.answer
            else {
                return Ok(reply);
            };
            tries += 1;
            if tries > RETRIES_MAX {
                return Ok(reply);
            }
            self.say(&format!("{}; trying again in {retry_ms} ms", result(&reply.raw)))?;
            tokio::time::sleep(Duration::from_millis(retry_ms.min(RETRY_MS_MAX))).await;
        }
    }

    /// One challenge and one login; where the server has no key to give, its answer to that.
    async fn try_log_in(
        &mut self,
        password: &Secret<String>,
        code: Option<&str>,
    ) -> Result<Reply<LoginAnswer>, CliError> {
        let raw = self.client.request(json!({"type": "challenge"})).await?;
        self.show(&raw)?;
        if raw.get("key").is_none() {
            return Ok(Reply { answer: LoginAnswer::read(&raw), raw });
        }
        let challenge = Challenge::from_answer(&raw)?;
        if let Some(keyid) = challenge.keyid() {
            self.say(&format!("challenge key {}", keyid.as_str()))?;
        }
        self.client.use_challenge(challenge);
        let reply = self.client.login(&self.user, password, code).await?;
        self.show(&reply.raw)?;
        Ok(reply)
    }

    /// The code that was given, once, or the seed's, once: a code counts once, so a second try would be in vain.
    fn known_code(&mut self) -> Option<String> {
        let seed = self.seed.take();
        self.code.take().or_else(|| seed.map(|seed| seed.code(Clock::system().now().wall)))
    }

    async fn change_password(
        &mut self,
        old: &Secret<String>,
        new: Option<Secret<String>>,
        must_change: bool,
    ) -> Result<(), CliError> {
        if must_change {
            self.say("the password must be changed before anything else is served")?;
        }
        let given = new.is_some();
        let mut new = match new {
            Some(new) => new,
            None => self.ask_new_password().await?,
        };
        loop {
            let reply = self.client.change_password(old, &new).await?;
            self.show(&reply.raw)?;
            match reply.answer {
                ChangeAnswer::Changed => return self.say("the password is changed"),
                ChangeAnswer::PasswordIssue { reason } if !given => {
                    self.say(&format!("the new password is not taken: {}", printable(&reason)))?;
                    new = self.ask_new_password().await?;
                }
                ChangeAnswer::PasswordIssue { reason } => {
                    let reason = printable(&reason).into_owned();
                    return Err(CliError::refused(format!("the new password is not taken: {reason}")));
                }
                ChangeAnswer::Refused
                | ChangeAnswer::ChallengeRequired
                | ChangeAnswer::Busy { .. }
                | ChangeAnswer::TryAgainLater { .. }
                | ChangeAnswer::Other(_) => {
                    let text = format!("the password is not changed: {}", result(&reply.raw));
                    return Err(CliError::refused(text));
                }
            }
        }
    }

    async fn ask_new_password(&mut self) -> Result<Secret<String>, CliError> {
        loop {
            let first = self.ask_meanwhile(NEW_PASSWORD).await?;
            let second = self.ask_meanwhile(NEW_AGAIN).await?;
            if first.expose() == second.expose() {
                return Ok(first);
            }
            self.say("the two differ; once more")?;
        }
    }

    /// Asks the person while pings are answered; ends early where the server closes.
    async fn ask_meanwhile(&mut self, question: Question) -> Result<Secret<String>, CliError> {
        let ask = self.ask;
        let (tell, mut told) = tokio::sync::oneshot::channel();
        // A thread of its own, since nothing can interrupt a person: the process ends without waiting for it.
        std::thread::spawn(move || tell.send(ask(question)));
        let closing = tokio::select! {
            biased;
            answer = &mut told => {
                return answer.unwrap_or_else(|_| Err(CliError::usage("terminal: gone")));
            }
            closing = self.client.closed() => closing,
        };
        if question.hidden {
            // The terminal shows what is typed again only once the question is answered.
            writeln!(io::stderr(), "\nthe server closed the connection; press Enter")?;
            let _ = told.await;
        }
        Err(CliError::unreachable(format!("the server closed the connection: {closing}")))
    }

    async fn refused(mut self, reply: &Reply<LoginAnswer>) -> Result<Exit, CliError> {
        self.say(&refusal(reply))?;
        let closes = matches!(reply.answer, LoginAnswer::Refused | LoginAnswer::RegistrationRequired { .. });
        if closes {
            let limit = Duration::from_secs(5);
            if let Ok(closing) = tokio::time::timeout(limit, self.client.closed()).await {
                self.show_closing(&closing)?;
            }
        } else {
            let closing = self.client.logout().await?;
            show_closing(self.out, self.json, &closing)?;
        }
        Ok(Exit::Refused)
    }

    async fn leave(mut self, hold: bool) -> Result<Exit, CliError> {
        if hold {
            self.say("staying until the server closes; Ctrl-C logs out")?;
            let closing = tokio::select! {
                closing = self.client.closed() => Some(closing),
                signal = tokio::signal::ctrl_c() => { signal?; None }
            };
            if let Some(closing) = closing {
                self.show_closing(&closing)?;
                return Ok(Exit::Done);
            }
        }
        let closing = self.client.logout().await?;
        show_closing(self.out, self.json, &closing)?;
        Ok(Exit::Done)
    }

    /// Tells a person; says nothing where raw answers are wanted.
    fn say(&mut self, text: &str) -> Result<(), CliError> {
        if !self.json {
            writeln!(self.out, "{text}")?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn show(&mut self, raw: &Value) -> Result<(), CliError> {
        if self.json {
            writeln!(self.out, "{raw}")?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn show_closing(&mut self, closing: &Closing) -> Result<(), CliError> {
        show_closing(self.out, self.json, closing)
    }
}

fn refusal(reply: &Reply<LoginAnswer>) -> String {
    let why = match &reply.answer {
        LoginAnswer::RegistrationRequired { url: Some(url) } => {
            format!("an authenticator must be registered first, at {}", printable(url))
        }
        LoginAnswer::RegistrationRequired { url: None } => {
            String::from("an authenticator must be registered first")
        }
        LoginAnswer::InvalidToken if reply.raw["type"] == "login" && reply.raw.get("2fa").is_none() => {
            String::from("the token is not good")
        }
        LoginAnswer::InvalidToken => String::from("the code is wrong or used"),
        LoginAnswer::Refused
        | LoginAnswer::ChallengeRequired
        | LoginAnswer::Busy { .. }
        | LoginAnswer::TryAgainLater { .. }
        | LoginAnswer::Other(_)
        | LoginAnswer::CodeRequired
        | LoginAnswer::In { .. } => result(&reply.raw),
    };
    format!("refused: {why}")
}

fn show_closing(out: &mut (dyn Write + Send), json: bool, closing: &Closing) -> Result<(), CliError> {
    if json {
        writeln!(out, "{}", json!({"type": "close", "code": closing.code, "reason": closing.reason}))?;
    } else {
        writeln!(out, "closed: {closing}")?;
    }
    Ok(())
}

fn result(raw: &Value) -> String {
    printable(raw["result"].as_str().unwrap_or("no result in the answer")).into_owned()
}

#[cfg(test)]
#[path = "ws_tests.rs"]
mod tests;
