//! `doorward policy`: what the venue, or a firm, asks of its people.

use clap::{Args, Subcommand};
use doorward_core::text::percent_encoded;
use serde_json::{Map, Value};

use super::server::{ServerArgs, cell, print, table};
use super::{CliError, Exit};

/// Policies of the venue and of firms
#[derive(Args, Debug)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Show what is set and what is in force
    Show {
        #[command(flatten)]
        of: Level,
    },
    /// Set some values; the others stay
    Set {
        /// A value, such as otp_demanded=true; KEY= goes back to the level above
        #[arg(value_name = "KEY=VALUE", required = true, value_parser = parse_setting)]
        settings: Vec<(String, Value)>,
        #[command(flatten)]
        of: Level,
    },
}

#[derive(Args, Debug)]
struct Level {
    /// The policy of this firm [default: the venue's]
    #[arg(long, value_name = "CODE")]
    firm: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

impl Level {
    fn path(&self) -> String {
        match &self.firm {
            Some(code) => format!("/api/v1/firms/{}/policy", percent_encoded(code)),
            None => String::from("/api/v1/policy"),
        }
    }
}

fn parse_setting(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("not KEY=VALUE")?;
    let value = match value {
        "" => Value::Null,
        // Numbers and true, false are JSON already; whatever is not, is text.
        text => serde_json::from_str(text)
            .ok()
            .filter(|value: &Value| value.is_number() || value.is_boolean())
            .unwrap_or_else(|| Value::String(text.to_owned())),
    };
    Ok((key.to_owned(), value))
}

pub(super) async fn run(args: PolicyArgs) -> Result<Exit, CliError> {
    print(&told(&args).await?)
}

pub(super) async fn told(args: &PolicyArgs) -> Result<String, CliError> {
    match &args.command {
        Command::Show { of } => {
            let policy = of.server.client()?.get(&of.path()).await?;
            Ok(of.server.say(&policy, shown))
        }
        Command::Set { settings, of } => {
            let client = of.server.client()?;
            let mut present = client.get(&of.path()).await?;
            let mut policy = match present["policy"].take() {
                Value::Object(policy) => policy,
                _ => Map::new(),
            };
            policy.extend(settings.iter().cloned());
            // Its version goes along: who changed the policy meanwhile is not overwritten.
            let policy = client.put(&of.path(), &Value::Object(policy)).await?;
            Ok(of.server.say(&policy, shown))
        }
    }
}

fn shown(policy: &Value) -> String {
    let in_force = policy["in_force"].as_object().into_iter().flatten();
    let rows = in_force.map(|(key, value)| vec![key.clone(), cell(&policy["policy"][key]), cell(value)]);
    format!(
        "version {}\n{}",
        cell(&policy["policy"]["version"]),
        table(&["key", "set here", "in force"], rows)
    )
}
