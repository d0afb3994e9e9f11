//! `doorward sign`: what a FIX Logon signs, and its signature.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use doorward_client::fix::{SignError, Signed, Signing, shown, sign};
use doorward_client::printable;
use doorward_core::fix::tag;
use doorward_core::id::AccessKeyId;

use super::terminal::SecretKeyFrom;
use super::{CliError, Exit};

/// Sign a FIX Logon that you paste: canonical message, signature, complete message, and what is missing
#[derive(Args, Debug)]
pub struct SignArgs {
    /// The Logon, with | or SOH between its fields and any 9 and 10 (`-` for standard input)
    #[arg(default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    secret_key: SecretKeyFrom,
    /// The access key ID, tag 355 [default: the one of the message]
    #[arg(long, value_name = "ID", value_parser = parse_access_key_id)]
    access_key_id: Option<AccessKeyId>,
    /// Print nothing but the complete message, with SOH, ready to be sent
    #[arg(long)]
    raw: bool,
}

pub(super) fn parse_access_key_id(text: &str) -> Result<AccessKeyId, String> {
    AccessKeyId::parse(text.as_bytes()).ok_or_else(|| String::from("not 20 characters of A-Z, a-z and 0-9"))
}

/// Longest text that is read.
const PASTED_BYTES_MAX: u64 = 64 * 1024;

pub(super) fn run(args: &SignArgs) -> Result<Exit, CliError> {
    let pasted = read(&args.file)?;
    let signing = Signing { secret_key: args.secret_key.read()?, access_key_id: args.access_key_id };
    let signed = sign(&pasted, &signing).map_err(|error| match error {
        SignError::Key(error) => CliError::usage(format!("--secret-key-env or --secret-key-file: {error}")),
        SignError::Empty | SignError::Field(_) | SignError::NotLogon(_) | SignError::TooLong { .. } => {
            CliError::usage(error.to_string())
        }
    })?;
    let mut out = io::stdout();
    if args.raw {
        out.write_all(&signed.message)?;
        out.flush()?;
    } else {
        out.write_all(text(&signed).as_bytes())?;
    }
    let with_key = signing.secret_key.is_some();
    Ok(if signed.is_complete() || !with_key { Exit::Done } else { Exit::Refused })
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    let fail = |error: io::Error| CliError::usage(format!("{}: {error}", path.display()));
    let mut pasted = Vec::new();
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(fail)?)
    };
    source.take(PASTED_BYTES_MAX).read_to_end(&mut pasted).map_err(fail)?;
    Ok(pasted)
}

fn text(signed: &Signed) -> String {
    let mut text = String::from("canonical message (its lines are joined by \\n, without one at the end):\n");
    for line in String::from_utf8_lossy(&signed.canonical).split('\n') {
        text += &format!("  {}\n", printable(line));
    }
    match &signed.signature {
        Some(signature) => text += &format!("signature (1402): {signature}\n"),
        None => text += "signature (1402): no secret key given (--secret-key-env or --secret-key-file)\n",
    }
    if let Some(before) = &signed.had_signature {
        let same = signed.signature.as_ref().map(|signature| signature == before);
        text += match same {
            Some(true) => "the message had this signature already\n",
            Some(false) => "the message had another signature\n",
            None => "the message has a signature, which was not checked\n",
        };
    }
    text += &format!("complete message:\n  {}\n", with_bars(&signed.message));
    for (title, tags) in [("missing", &signed.missing), ("more than once", &signed.repeated)] {
        for missing in tags {
            text += &format!("{title}: {missing} {}\n", tag::name(*missing).unwrap_or(""));
        }
    }
    text
}

/// The message with `|` for SOH: here the signature is what was asked for, and is not masked.
fn with_bars(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message);
    if text.contains("\u{1}96=") || text.contains("\u{1}554=") {
        return shown(message);
    }
    printable(&text.replace('\u{1}', "|")).into_owned()
}

#[cfg(test)]
mod tests {
    use doorward_core::secret::Secret;

    use super::*;

    #[test]
    fn what_is_printed_names_what_is_missing() {
        let signed = sign(b"35=A|34=1|49=B08004N|96=pw|", &Signing::default()).unwrap();
        let text = text(&signed);
        assert!(text.contains("\n  1\n  B08004N\n  \n"), "{text}");
        assert!(text.contains("no secret key given"), "{text}");
        assert!(
            text.contains("missing: 50 SenderSubID\n") && text.contains("missing: 355 EncodedText\n"),
            "{text}"
        );
        assert!(text.contains("|96=***|"), "{text}");
    }

    #[test]
    fn a_signature_that_was_there_is_compared() {
        let key = Secret::new("2HlZ7exg8jTKltXnURjKvm3GS5iF5n4ClzHiEm_ocv4".to_owned());
        let signing = Signing { secret_key: Some(key), access_key_id: None };
        let first = sign(b"35=A|34=1|1402=x|", &signing).unwrap();
        assert!(text(&first).contains("the message had another signature"));
        let again = sign(&first.message, &signing).unwrap();
        assert!(text(&again).contains("the message had this signature already"));
    }
}
