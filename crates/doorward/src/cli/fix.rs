//! `doorward fix`: log on over FIX as a trading system or a trader, and send what is asked for.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use doorward_client::fix::{
    Body, ConnectOptions, Credentials, Direction, Ending, Event, FixClient, FixError, MemoryStore,
    SequenceStore, shown,
};
use doorward_client::printable;
use doorward_core::fix::tag;
use doorward_core::secret::Secret;
use tokio::time::{Instant, timeout_at};

use super::fix_connect::{ConnectArgs, Prepared};
use super::terminal::{Question, ask};
use super::{CliError, Exit};
use crate::clock::Clock;

/// Log on over FIX, as a trading system or a trader does
#[derive(Args, Debug)]
pub struct FixArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Log on, print every message, stay, log out
    Logon(LogonArgs),
    /// Log on, send orders, print what is reported, log out
    Order(OrderArgs),
}

#[derive(Args, Debug)]
struct LogonArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Send this message once logged on, such as 'D|11=A1|55=ESZ6|54=1|38=1|40=1'; may be given several times
    #[arg(long, value_name = "TYPE|TAG=VALUE|…", value_parser = parse_message)]
    send: Vec<ToSend>,
    /// Begin both sequences anew in the session (Test Request, then a Logon with 141=Y)
    #[arg(long)]
    reset: bool,
    /// Stay so many seconds before logging out; 0 for as long as the server or you want
    #[arg(long, value_name = "SECONDS", default_value_t = 1)]
    stay: u64,
}

#[derive(Args, Debug)]
struct OrderArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    /// Symbol (55)
    #[arg(long, default_value = "ESZ6")]
    symbol: String,
    /// Side (54)
    #[arg(long, value_enum, default_value = "buy")]
    side: Side,
    /// OrderQty (38)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    quantity: u32,
    /// Price (44) of a limit order [default: a market order]
    #[arg(long)]
    price: Option<String>,
    /// Send so many orders
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// ClOrdID (11) is this and a number [default: from the clock]
    #[arg(long, value_name = "PREFIX")]
    id: Option<String>,
    /// Stay so many more seconds before logging out
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    stay: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Side {
    /// 54=1
    Buy,
    /// 54=2
    Sell,
}

/// A message from the command line.
#[derive(Clone, Debug)]
struct ToSend {
    msg_type: String,
    body: Body,
}

fn parse_message(text: &str) -> Result<ToSend, String> {
    let mut fields = text.split('|').filter(|field| !field.is_empty());
    let msg_type = fields.next().unwrap_or_default();
    let msg_type = msg_type.strip_prefix("35=").unwrap_or(msg_type).to_owned();
    let mut body = Body::new();
    for field in fields {
        let (tag, value) = field.split_once('=').ok_or_else(|| format!("{field}: not TAG=VALUE"))?;
        let tag = tag.parse().map_err(|_| format!("{tag}: not a tag"))?;
        body = body.field(tag, value);
    }
    Ok(ToSend { msg_type, body })
}

/// How long a report of an order is waited for.
const REPORT_LIMIT: Duration = Duration::from_secs(10);
const CODE: Question =
    Question { prompt: "One-time password: ", option: "--code or --seed-env", hidden: false };
/// How the server asks a trader for a code.
const CODE_WANTED: &str = "one-time password required";

pub(super) async fn run(args: FixArgs) -> Result<Exit, CliError> {
    let out: Out = Arc::new(Mutex::new(Box::new(io::stdout())));
    match args.command {
        Command::Logon(args) => logon(&args, &out, ask).await,
        Command::Order(args) => order(&args, &out, ask).await,
    }
}

/// Where messages and notes are printed, shared with what watches the wire.
type Out = Arc<Mutex<Box<dyn Write + Send>>>;

fn say(out: &Out, text: &str) -> Result<(), CliError> {
    let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

/// Logs on; asks for a code where the server wants one and none was given.
async fn log_on(args: &ConnectArgs, out: &Out, ask: Ask) -> Result<FixClient, CliError> {
    let mut prepared = args.prepare(ask, Clock::system().now().wall)?;
    loop {
        let asks = match &prepared.settings.credentials {
            Credentials::Trader(trader) => trader.code.is_none(),
            Credentials::Secure(_) => false,
        };
        match connect(&prepared, out).await {
            Ok(client) => return Ok(client),
            Err(FixError::Ended(Ending::Refused(refusal)))
                if asks && refusal.text.starts_with(CODE_WANTED) =>
            {
                say(out, "the password is right; a one-time password is needed")?;
                if let Credentials::Trader(trader) = &mut prepared.settings.credentials {
                    trader.code = Some(ask(CODE)?);
                }
            }
            Err(FixError::Ended(Ending::Refused(refusal))) => {
                return Err(CliError::refused(format!("the server refused the logon: {refusal}")));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn connect(prepared: &Prepared, out: &Out) -> Result<FixClient, FixError> {
    let store: Box<dyn SequenceStore> = match &prepared.sequence_file {
        Some(path) => Box::new(doorward_client::fix::FileStore::open(path)?),
        None => Box::new(MemoryStore::default()),
    };
    let printer = Arc::clone(out);
    let options = ConnectOptions {
        tls: prepared.tls.clone(),
        source: None,
        strict: prepared.strict,
        watch: Some(Box::new(move |direction, message| {
            let sign = match direction {
                Direction::Out => '>',
                Direction::In => '<',
            };
            // A reader that has gone is told of with the next note.
            let _ = say(&printer, &format!("{sign} {}", shown(message)));
        })),
    };
    FixClient::connect(&prepared.host, prepared.port, prepared.settings.clone(), store, options).await
}

async fn logon(args: &LogonArgs, out: &Out, ask: Ask) -> Result<Exit, CliError> {
    let mut client = log_on(&args.connect, out, ask).await?;
    if let Some(ending) =
        take_until(&mut client, out, None, |event| matches!(event, Event::LoggedOn { .. })).await?
    {
        return ended(out, &ending);
    }
    if args.reset {
        client.reset().await?;
        let reset = take_until(&mut client, out, None, |event| *event == Event::Reset).await?;
        if let Some(ending) = reset {
            return ended(out, &ending);
        }
    }
    for message in &args.send {
        client.send(&message.msg_type, &message.body).await?;
    }
    stay(client, out, args.stay, args.stay == 0).await
}

async fn order(args: &OrderArgs, out: &Out, ask: Ask) -> Result<Exit, CliError> {
    let mut client = log_on(&args.connect, out, ask).await?;
    let prefix = args.id.clone().unwrap_or_else(|| format!("{:x}-", Clock::system().now().wall.as_ms()));
    for n in 1..=args.count {
        let id = format!("{prefix}{n}");
        client.send("D", &new_order(args, &id)).await?;
        let deadline = Instant::now() + REPORT_LIMIT;
        let mut rejected = None;
        let answered = take_until(&mut client, out, Some(deadline), |event| match event {
            Event::Message(message) => {
                let ours = message.get(tag::CL_ORD_ID) == Some(id.as_bytes())
                    || message.get(tag::BUSINESS_REJECT_REF_ID) == Some(id.as_bytes());
                if ours && (message.msg_type() == b"j" || message.get(tag::ORD_STATUS) == Some(b"8")) {
                    rejected = Some(message.text(tag::TEXT).unwrap_or_default());
                }
                ours
            }
            Event::Rejected(message) => {
                rejected = Some(message.text(tag::TEXT).unwrap_or_default());
                true
            }
            Event::LoggedOn { .. } | Event::NotResent { .. } | Event::Reset | Event::Ended(_) => false,
        });
        if let Some(ending) = answered.await? {
            return ended(out, &ending);
        }
        if let Some(text) = rejected {
            client.log_out().await?;
            return Err(CliError::refused(format!("order {id} was rejected: {}", printable(&text))));
        }
    }
    stay(client, out, args.stay, false).await
}

fn new_order(args: &OrderArgs, id: &str) -> Body {
    let at = super::fix_connect::utc_timestamp(Clock::system().now().wall);
    let side = match args.side {
        Side::Buy => "1",
        Side::Sell => "2",
    };
    let body = Body::new()
        .field(tag::CL_ORD_ID, id)
        .field(tag::HANDL_INST, "1")
        .field(tag::SYMBOL, &args.symbol)
        .field(tag::SIDE, side)
        .field(tag::TRANSACT_TIME, at)
        .field(tag::ORDER_QTY, args.quantity.to_string());
    match &args.price {
        Some(price) => body.field(tag::ORD_TYPE, "2").field(tag::PRICE, price),
        None => body.field(tag::ORD_TYPE, "1"),
    }
}

/// Takes events until one is it; gives how the session ended where it did instead.
async fn take_until(
    client: &mut FixClient,
    out: &Out,
    deadline: Option<Instant>,
    mut is_it: impl FnMut(&Event) -> bool,
) -> Result<Option<Ending>, CliError> {
    loop {
        let event = match deadline {
            Some(deadline) => match timeout_at(deadline, client.next()).await {
                Ok(event) => event?,
                Err(_) => return Err(CliError::unreachable("no report of the order came in time")),
            },
            None => client.next().await?,
        };
        note(out, &event)?;
        if let Event::Ended(ending) = event {
            return Ok(Some(ending));
        }
        if is_it(&event) {
            return Ok(None);
        }
    }
}

fn note(out: &Out, event: &Event) -> Result<(), CliError> {
    match event {
        Event::LoggedOn { comp_id, session_status } => {
            say(out, &format!("logged on as {}", printable(comp_id)))?;
            match session_status {
                Some(1) => say(out, "the password is changed"),
                Some(status) => say(out, &format!("SessionStatus (1409) is {status}")),
                None => Ok(()),
            }
        }
        Event::NotResent { from, to } => {
            say(out, &format!("the server asked for messages {from} to {to}, which are not sent again"))
        }
        Event::Reset => say(out, "both sequences begin anew"),
        // The messages themselves were printed as they came.
        Event::Message(_) | Event::Rejected(_) | Event::Ended(_) => Ok(()),
    }
}

/// Stays logged on and logs out.
async fn stay(mut client: FixClient, out: &Out, stay_s: u64, for_ever: bool) -> Result<Exit, CliError> {
    let until = tokio::time::sleep(Duration::from_secs(stay_s));
    tokio::pin!(until);
    if for_ever {
        say(out, "staying until the server logs us out; Ctrl-C logs out")?;
    }
    loop {
        tokio::select! {
            biased;
            signal = tokio::signal::ctrl_c() => {
                signal?;
                break;
            }
            event = client.next() => {
                let event = event?;
                note(out, &event)?;
                if let Event::Ended(ending) = event {
                    return ended(out, &ending);
                }
            }
            () = &mut until, if !for_ever => break,
        }
    }
    let ending = client.log_out().await?;
    ended(out, &ending)
}

fn ended(out: &Out, ending: &Ending) -> Result<Exit, CliError> {
    say(out, &ending.to_string())?;
    Ok(match ending {
        Ending::LoggedOut(_) | Ending::Unconfirmed => Exit::Done,
        Ending::Refused(_) | Ending::ByServer(_) => Exit::Refused,
        Ending::NoAnswer | Ending::Silent | Ending::Closed(_) | Ending::Peer(_) | Ending::Store(_) => {
            Exit::Unreachable
        }
    })
}

impl From<FixError> for CliError {
    fn from(error: FixError) -> Self {
        match error {
            FixError::Connection(error) => error.into(),
            FixError::Ended(Ending::Refused(_) | Ending::ByServer(_)) => Self::refused(error.to_string()),
            FixError::Ended(_) => Self::unreachable(error.to_string()),
            FixError::Store(_) | FixError::Key(_) | FixError::Misuse(_) => Self::usage(error.to_string()),
        }
    }
}

/// Asks the person; another one in tests.
pub(super) type Ask = fn(Question) -> Result<Secret<String>, CliError>;

#[cfg(test)]
#[path = "fix_tests.rs"]
mod tests;
