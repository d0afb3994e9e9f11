//! `doorward totp code`: the one-time password of a seed.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use doorward_client::totp::{Algorithm, Totp};
use doorward_core::secret::Secret;
use doorward_core::time::Wall;
use serde_json::json;

use super::terminal::{secret_env, secret_file};
use super::{CliError, Exit};
use crate::clock::Clock;

/// One-time passwords without an authenticator, for scripts and tests
#[derive(Args, Debug)]
pub struct TotpArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Print the one-time password of a seed
    Code(CodeArgs),
}

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(Args, Debug)]
#[group(id = "seed_source", required = true, multiple = false)]
struct SeedFrom {
    /// The seed in base32, or an otpauth:// address; other users of this machine can see it while this runs
    #[arg(long, value_name = "BASE32")]
    seed: Option<String>,
    /// Read the seed from this environment variable
    #[arg(long, value_name = "NAME")]
    seed_env: Option<String>,
    /// Read the seed from this file (`-` for standard input)
    #[arg(long, value_name = "FILE")]
    seed_file: Option<PathBuf>,
}

impl SeedFrom {
    fn read(&self) -> Result<Secret<String>, CliError> {
        match (&self.seed, &self.seed_env, &self.seed_file) {
            (Some(seed), _, _) => Ok(Secret::new(seed.clone())),
            (None, Some(name), _) => secret_env("--seed-env", name),
            (None, None, Some(path)) => secret_file("--seed-file", path),
            (None, None, None) => Err(CliError::usage("give --seed, --seed-env or --seed-file")),
        }
    }
}

#[derive(Args, Debug)]
struct CodeArgs {
    #[command(flatten)]
    seed: SeedFrom,
    /// The instant, such as 2026-11-21T20:00:00Z [default: now]
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    at: Option<Wall>,
    /// Length of the code, 6 to 8 [default: the otpauth address's, or 6]
    #[arg(long)]
    digits: Option<u32>,
    /// SHA1, SHA256 or SHA512 [default: the otpauth address's, or SHA1]
    #[arg(long, value_parser = parse_algorithm)]
    algorithm: Option<Algorithm>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn parse_instant(text: &str) -> Result<Wall, String> {
    Wall::parse(text).ok_or_else(|| String::from("not an RFC 3339 instant such as 2026-11-21T20:00:00Z"))
}

fn parse_algorithm(text: &str) -> Result<Algorithm, String> {
    Algorithm::from_name(text).ok_or_else(|| String::from("none of SHA1, SHA256, SHA512"))
}

pub(super) fn run(args: &TotpArgs) -> Result<Exit, CliError> {
    let Command::Code(args) = &args.command;
    let at = args.at.unwrap_or_else(|| Clock::system().now().wall);
    code(args, at, &mut io::stdout(), &mut io::stderr())
}

fn code(args: &CodeArgs, at: Wall, out: &mut impl Write, notes: &mut impl Write) -> Result<Exit, CliError> {
    let mut totp = Totp::parse(args.seed.read()?.expose())?;
    if let Some(digits) = args.digits {
        totp = totp.with_digits(digits)?;
    }
    if let Some(algorithm) = args.algorithm {
        totp = totp.with_algorithm(algorithm);
    }
    let (code, good_for) = (totp.code(at), totp.good_for(at));
    if args.json {
        let good_for_ms = u64::try_from(good_for.as_millis()).unwrap_or(u64::MAX);
        writeln!(out, "{}", json!({"code": code, "step": totp.step(at), "good_for_ms": good_for_ms}))?;
    } else {
        writeln!(out, "{code}")?;
        writeln!(notes, "the newest for {} s", good_for.as_millis().div_ceil(1_000))?;
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TotpArgs,
    }

    fn run_line(words: &[&str]) -> Result<(String, String), String> {
        let line = ["totp", "code"].iter().chain(words);
        let Line { args } = Line::try_parse_from(line).map_err(|error| error.to_string())?;
        let Command::Code(args) = args.command;
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        code(&args, args.at.unwrap(), &mut out, &mut notes).map_err(|error| error.to_string())?;
        Ok((String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap()))
    }

    const SEED: &str = "gezd gnbv gy3t qojq gezd gnbv gy3t qojq";

    #[test]
    fn the_code_goes_out_alone_and_its_time_beside_it() {
        let (out, notes) = run_line(&["--seed", SEED, "--at", "1970-01-01T00:00:59Z"]).unwrap();
        assert_eq!((out.as_str(), notes.as_str()), ("287082\n", "the newest for 1 s\n"));
        let (out, _) = run_line(&["--seed", SEED, "--at", "1970-01-01T00:00:59Z", "--digits", "8"]).unwrap();
        assert_eq!(out, "94287082\n");
        let (out, notes) = run_line(&["--seed", SEED, "--at", "1970-01-01T00:00:59Z", "--json"]).unwrap();
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json, json!({"code": "287082", "step": 1, "good_for_ms": 1000}));
        assert_eq!(notes, "");
    }

    #[test]
    fn wrong_words_are_refused() {
        let at = ["--at", "1970-01-01T00:00:59Z"];
        for words in [
            &["--at", "yesterday", "--seed", SEED][..],
            &at,
            &["--seed", SEED, "--seed-env", "X", at[0], at[1]],
            &["--seed", SEED, "--digits", "9", at[0], at[1]],
            &["--seed", SEED, "--algorithm", "MD5", at[0], at[1]],
            &["--seed", "189", at[0], at[1]],
        ] {
            assert!(run_line(words).is_err(), "{words:?}");
        }
    }
}
