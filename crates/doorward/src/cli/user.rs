//! `doorward user`: people and programs.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use doorward_client::api::AdminClient;
use doorward_core::identity::person::{Kind, Right};
use doorward_core::secret::Secret;
use serde_json::{Map, Value, json};

use super::server::{ServerArgs, cell, encrypted, facts, list, person, print, table};
use super::terminal::{secret_env, secret_file};
use super::{CliError, Exit};

/// People and programs: who they are and what they prove themselves with
#[derive(Args, Debug)]
pub struct UserArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Add somebody; without a password one is generated and shown once
    Add(Box<AddArgs>),
    /// List people
    List(ListArgs),
    /// Show somebody
    Show(OnePerson),
    /// Refuse somebody from now on and end their connections
    Disable(OnePerson),
    /// Let somebody in again
    Enable(OnePerson),
    /// Change what is known of somebody; what is not given stays, an empty value clears
    Set(Box<SetArgs>),
    /// Set an initial password, or have one generated and shown once; their connections end
    Password(PasswordArgs),
    /// Make a new seed for an authenticator and show it once; the first good code registers it
    Otp(OnePerson),
    /// Take the authenticator away; their connections end
    OtpReset(OnePerson),
    /// Unlock the authenticator and forget wrong passwords
    Unlock(OnePerson),
    /// Recover an operator of the desk who has lost everything: a new initial password and a setup link, shown once
    Recover(RecoverArgs),
}

#[derive(Args, Debug)]
struct RecoverArgs {
    /// The user id
    userid: String,
    /// Why; it is written down and mailed to all operators
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
struct OnePerson {
    /// The user id
    userid: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
struct AddArgs {
    /// The user id to log in with
    userid: String,
    /// What they are
    #[arg(long, value_parser = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.id())))]
    kind: String,
    /// Their firm
    #[arg(long, value_name = "CODE")]
    firm: Option<String>,
    #[command(flatten)]
    known: KnownArgs,
    #[command(flatten)]
    password: NewPassword,
    /// The password need not be changed (service users only)
    #[arg(long)]
    not_initial: bool,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
struct SetArgs {
    /// The user id
    userid: String,
    #[command(flatten)]
    known: KnownArgs,
    #[command(flatten)]
    server: ServerArgs,
}

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(Args, Debug)]
struct KnownArgs {
    /// How they prove themselves
    #[arg(long, value_parser = ["otp", "password"])]
    auth_system: Option<String>,
    /// Where mail goes
    #[arg(long)]
    email: Option<String>,
    /// The venue's positional string
    #[arg(long)]
    roles: Option<String>,
    /// The commission rate
    #[arg(long, value_name = "RATE")]
    broker_comm_rate: Option<String>,
    /// A JSON object of the venue's
    #[arg(long, value_name = "JSON", value_parser = parse_attr)]
    attr: Option<Value>,
    /// Of a service user: on which firms' people it acts
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    grant_firms: Option<Vec<String>>,
    /// Of a service user: what it may do
    #[arg(long, value_name = "RIGHTS", value_delimiter = ',',
        value_parser = PossibleValuesParser::new(Right::ALL.iter().map(|right| right.id())))]
    grant_rights: Option<Vec<String>>,
    /// Of a service user: from which addresses and networks it comes
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',')]
    grant_sources: Option<Vec<String>>,
}

fn parse_attr(text: &str) -> Result<Value, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(attr)) => Ok(Value::Object(attr)),
        Ok(_) => Err(String::from("JSON, but no object")),
        Err(_) if text.is_empty() => Ok(Value::Null),
        Err(error) => Err(format!("not JSON: {error}")),
    }
}

impl KnownArgs {
    /// The fields that are given. What of a grant is not given stays as in `granted`.
    fn fields(&self, granted: &Value) -> Map<String, Value> {
        let text = |text: &Option<String>| {
            text.as_ref().map(|text| if text.is_empty() { Value::Null } else { json!(text) })
        };
        let grant = self.grants().then(|| {
            let part = |given: &Option<Vec<String>>, name: &str| match given {
                Some(words) => json!(words.iter().filter(|word| !word.is_empty()).collect::<Vec<_>>()),
                None if granted[name].is_array() => granted[name].clone(),
                None => json!([]),
            };
            json!({
                "firms": part(&self.grant_firms, "firms"),
                "rights": part(&self.grant_rights, "rights"),
                "sources": part(&self.grant_sources, "sources"),
            })
        });
        let fields = [
            ("auth_system", self.auth_system.as_ref().map(|system| json!(system))),
            ("email", text(&self.email)),
            ("roles", text(&self.roles)),
            ("broker_comm_rate", text(&self.broker_comm_rate)),
            ("attr", self.attr.clone()),
            ("grant", grant),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    const fn grants(&self) -> bool {
        self.grant_firms.is_some() || self.grant_rights.is_some() || self.grant_sources.is_some()
    }
}

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(Args, Debug)]
#[group(id = "new_password", multiple = false)]
struct NewPassword {
    /// Read the password from standard input; one line end is dropped
    #[arg(long)]
    password_stdin: bool,
    /// Read the password from this file
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Read the password from this environment variable
    #[arg(long, value_name = "NAME")]
    password_env: Option<String>,
}

impl NewPassword {
    fn read(&self) -> Result<Option<Secret<String>>, CliError> {
        match (self.password_stdin, &self.password_file, &self.password_env) {
            (true, _, _) => secret_file("--password-stdin", Path::new("-")).map(Some),
            (false, Some(path), _) => secret_file("--password-file", path).map(Some),
            (false, None, Some(name)) => secret_env("--password-env", name).map(Some),
            (false, None, None) => Ok(None),
        }
    }

    /// The field `password`, where one is given.
    async fn field(&self, client: &AdminClient) -> Result<Map<String, Value>, CliError> {
        match self.read()? {
            Some(password) => {
                Ok(Map::from_iter([(String::from("password"), encrypted(client, &password).await?)]))
            }
            None => Ok(Map::new()),
        }
    }
}

#[derive(Args, Debug)]
struct PasswordArgs {
    /// The user id
    userid: String,
    #[command(flatten)]
    password: NewPassword,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Of this firm
    #[arg(long, value_name = "CODE")]
    firm: Option<String>,
    /// Of this kind
    #[arg(long, value_parser = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.id())))]
    kind: Option<String>,
    /// Who may, or may not, come in
    #[arg(long, value_parser = ["active", "disabled"])]
    standing: Option<String>,
    /// Whose user id begins so
    #[arg(long)]
    text: Option<String>,
    /// Who have, or do not have, a registered authenticator
    #[arg(long)]
    registered: Option<bool>,
    #[command(flatten)]
    server: ServerArgs,
}

pub(super) async fn run(args: UserArgs) -> Result<Exit, CliError> {
    print(&told(&args).await?)
}

pub(super) async fn told(args: &UserArgs) -> Result<String, CliError> {
    match &args.command {
        Command::Add(args) => add(args).await,
        Command::List(args) => listed(args).await,
        Command::Show(one) => {
            let answer = one.server.client()?.get(&person(&one.userid)).await?;
            Ok(one.server.say(&answer, shown))
        }
        Command::Disable(one) => change(&one.server, &one.userid, json!({ "standing": "disabled" })).await,
        Command::Enable(one) => change(&one.server, &one.userid, json!({ "standing": "active" })).await,
        Command::Set(args) => set(args).await,
        Command::Password(args) => password(args).await,
        Command::Otp(one) => otp(one).await,
        Command::OtpReset(one) => {
            let path = format!("{}/authenticator", person(&one.userid));
            let answer = one.server.client()?.delete(&path, None).await?;
            Ok(one.server.say(&answer, shown))
        }
        Command::Unlock(one) => {
            let path = format!("{}/unlock", person(&one.userid));
            let answer = one.server.client()?.post(&path, &json!({})).await?;
            Ok(one.server.say(&answer, shown))
        }
        Command::Recover(args) => recover(args).await,
    }
}

async fn add(args: &AddArgs) -> Result<String, CliError> {
    let client = args.server.client()?;
    let mut fields = args.known.fields(&Value::Null);
    fields.insert("userid".into(), json!(args.userid));
    fields.insert("kind".into(), json!(args.kind));
    fields.extend(args.firm.iter().map(|firm| (String::from("firm"), json!(firm))));
    if args.not_initial {
        fields.insert("initial".into(), json!(false));
    }
    fields.extend(args.password.field(&client).await?);
    let added = client.post("/api/v1/people", &Value::Object(fields)).await?;
    Ok(args.server.say(&added, |added| shown(&added["person"]) + &generated(added)))
}

async fn set(args: &SetArgs) -> Result<String, CliError> {
    let mut granted = Value::Null;
    if args.known.grants() {
        granted = args.server.client()?.get(&person(&args.userid)).await?["grant"].take();
    }
    let fields = args.known.fields(&granted);
    if fields.is_empty() {
        return Err(CliError::usage("nothing to change: give --email, --roles or another option"));
    }
    change(&args.server, &args.userid, Value::Object(fields)).await
}

async fn change(server: &ServerArgs, userid: &str, fields: Value) -> Result<String, CliError> {
    let answer = server.client()?.patch(&person(userid), &fields).await?;
    Ok(server.say(&answer, shown))
}

async fn password(args: &PasswordArgs) -> Result<String, CliError> {
    let client = args.server.client()?;
    let fields = Value::Object(args.password.field(&client).await?);
    let answer = client.post(&format!("{}/password", person(&args.userid)), &fields).await?;
    Ok(args.server.say(&answer, |answer| match generated(answer) {
        told if told.is_empty() => {
            String::from("the password is set; it must be changed at the first login\n")
        }
        told => told,
    }))
}

async fn recover(args: &RecoverArgs) -> Result<String, CliError> {
    let path = format!("{}/recover", person(&args.userid));
    let answer = args.server.client()?.post(&path, &json!({ "reason": args.reason })).await?;
    Ok(args.server.say(&answer, |answer| {
        let (password, link) = (cell(&answer["password"]), cell(&answer["link"]));
        format!("password: {password}\nlink:     {link}\nThey are shown this once; both must be used before they expire.\n")
    }))
}

/// The password that was generated, if one was.
fn generated(answer: &Value) -> String {
    match answer["password"].as_str() {
        Some(password) => format!("\npassword: {password}\nIt is shown this once.\n"),
        None => String::new(),
    }
}

async fn otp(one: &OnePerson) -> Result<String, CliError> {
    let path = format!("{}/authenticator", person(&one.userid));
    let issued = one.server.client()?.post(&path, &json!({})).await?;
    Ok(one.server.say(&issued, |issued| {
        let uri = cell(&issued["uri"]);
        let drawn = crate::qr::drawn(&uri);
        let seed = cell(&issued["seed"]);
        format!("{drawn}\nseed: {seed}\nuri:  {uri}\nThey are shown this once; the first good code registers them.\n")
    }))
}

async fn listed(args: &ListArgs) -> Result<String, CliError> {
    let registered = args.registered.map(|registered| registered.to_string());
    let filters = [
        ("firm", args.firm.as_deref()),
        ("kind", args.kind.as_deref()),
        ("standing", args.standing.as_deref()),
        ("text", args.text.as_deref()),
        ("registered", registered.as_deref()),
    ];
    let people = list(&args.server.client()?, "people", &filters, usize::MAX).await?;
    Ok(args.server.say(&people, rows))
}

fn rows(people: &Value) -> String {
    let rows = people["items"].as_array().into_iter().flatten().map(|person| {
        vec![
            cell(&person["userid"]),
            cell(&person["kind"]),
            cell(&person["firm"]),
            cell(&person["standing"]),
            cell(&person["auth_system"]),
            cell(&person["password"]["origin"]),
            cell(&person["authenticator"]["state"]),
            cell(&person["authenticator"]["last_used"]),
        ]
    });
    let header =
        ["userid", "kind", "firm", "standing", "auth system", "password", "authenticator", "last code used"];
    table(&header, rows)
}

/// Somebody, a fact a line.
fn shown(person: &Value) -> String {
    let (password, authenticator) = (&person["password"], &person["authenticator"]);
    let with = |word: &str, value: &Value| match value {
        Value::Null => String::new(),
        value => format!(", {word} {}", cell(value)),
    };
    let waiting = person["attempts"]["waiting"].as_array().into_iter().flatten();
    let waiting =
        waiting.map(|wait| format!(", {} waits until {}", cell(&wait["source"]), cell(&wait["until"])));
    facts(&[
        ("userid", cell(&person["userid"])),
        ("id", cell(&person["id"])),
        ("kind", cell(&person["kind"])),
        ("firm", cell(&person["firm"])),
        ("standing", cell(&person["standing"])),
        ("added", cell(&person["added"])),
        ("auth system", cell(&person["auth_system"])),
        (
            "password",
            cell(&password["origin"])
                + &with("set", &password["set"])
                + &with("expires", &password["expires"]),
        ),
        (
            "authenticator",
            cell(&authenticator["state"])
                + &with("since", &authenticator["since"])
                + &with("last used", &authenticator["last_used"])
                + &with("wrong codes", &authenticator["wrong"])
                + &with("until", &authenticator["until"])
                + &with("locked", &authenticator["locked"]),
        ),
        ("wrong passwords", cell(&person["attempts"]["wrong"]) + &waiting.collect::<String>()),
        ("email", cell(&person["email"])),
        ("roles", cell(&person["roles"])),
        ("broker comm rate", cell(&person["broker_comm_rate"])),
        ("attr", cell(&person["attr"])),
        ("grant firms", cell(&person["grant"]["firms"])),
        ("grant rights", cell(&person["grant"]["rights"])),
        ("grant sources", cell(&person["grant"]["sources"])),
    ])
}
