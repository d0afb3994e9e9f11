//! Secrets from files and the environment, and questions to the person at the terminal.

use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use doorward_core::secret::Secret;

use super::CliError;

/// Longest secret file, in bytes.
const SECRET_FILE_BYTES_MAX: u64 = 4_096;

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(clap::Args, Debug, Clone, Default)]
#[group(id = "password_source", multiple = false)]
pub(super) struct PasswordFrom {
    /// Read the password from this file (`-` for standard input); one line end is dropped
    #[arg(long, value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,
    /// Read the password from this environment variable
    #[arg(long, value_name = "NAME")]
    pub(super) password_env: Option<String>,
}

impl PasswordFrom {
    /// The password, or `None` where neither option is given.
    pub(super) fn read(&self) -> Result<Option<Secret<String>>, CliError> {
        match (&self.password_file, &self.password_env) {
            (Some(path), _) => secret_file("--password-file", path).map(Some),
            (None, Some(name)) => secret_env("--password-env", name).map(Some),
            (None, None) => Ok(None),
        }
    }
}

// No doc comment: clap would print it as the help of the command that holds it.
#[derive(clap::Args, Debug, Clone, Default)]
#[group(id = "secret_key_source", multiple = false)]
pub(super) struct SecretKeyFrom {
    /// Read the secret key from this environment variable
    #[arg(long, value_name = "NAME")]
    pub(super) secret_key_env: Option<String>,
    /// Read the secret key from this file; one line end is dropped
    #[arg(long, value_name = "FILE")]
    pub(super) secret_key_file: Option<PathBuf>,
}

impl SecretKeyFrom {
    /// The secret key, or `None` where neither option is given.
    pub(super) fn read(&self) -> Result<Option<Secret<String>>, CliError> {
        match (&self.secret_key_env, &self.secret_key_file) {
            (Some(name), _) => secret_env("--secret-key-env", name).map(Some),
            (None, Some(path)) => secret_file("--secret-key-file", path).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Reads a secret from an environment variable.
pub(super) fn secret_env(option: &str, name: &str) -> Result<Secret<String>, CliError> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(Secret::new(value)),
        Ok(_) => Err(CliError::usage(format!("{option}: the environment variable {name} is empty"))),
        Err(error) => Err(CliError::usage(format!("{option}: {name}: {error}"))),
    }
}

/// Reads a secret from a file, or from standard input where the path is `-`; one line end is dropped.
pub(super) fn secret_file(option: &str, path: &Path) -> Result<Secret<String>, CliError> {
    let fail = |why: &dyn std::fmt::Display| CliError::usage(format!("{option} {}: {why}", path.display()));
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| fail(&error))?)
    };
    let mut text = Secret::new(String::new());
    read_secret(source, &mut text).map_err(|error| fail(&error))?;
    if text.expose().is_empty() {
        return Err(fail(&"empty"));
    }
    Ok(text)
}

fn read_secret(source: Box<dyn Read>, into: &mut Secret<String>) -> io::Result<()> {
    let mut text = String::new();
    source.take(SECRET_FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SECRET_FILE_BYTES_MAX {
        return Err(io::Error::other(format!("longer than {SECRET_FILE_BYTES_MAX} bytes")));
    }
    let kept =
        text.strip_suffix('\n').map_or(text.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    text.truncate(kept);
    *into = Secret::new(text);
    Ok(())
}

/// What is asked of the person, with the option that would have said it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Question {
    /// Stands before the answer.
    pub(super) prompt: &'static str,
    /// The option to name where nobody can be asked.
    pub(super) option: &'static str,
    /// Whether the answer must not be seen.
    pub(super) hidden: bool,
}

/// Asks the person at the terminal; where there is none, the error names the option.
pub(super) fn ask(question: Question) -> Result<Secret<String>, CliError> {
    if !io::stdin().is_terminal() {
        let what = question.prompt.trim_end_matches([':', ' ']).to_lowercase();
        return Err(CliError::usage(format!(
            "{what} needed and no terminal to ask at: give {}",
            question.option
        )));
    }
    let answer =
        if question.hidden { rpassword::prompt_password(question.prompt) } else { line(question.prompt) };
    let answer = answer.map_err(|error| CliError::usage(format!("terminal: {error}")))?;
    if answer.is_empty() {
        return Err(CliError::usage(format!("nothing entered; or give {}", question.option)));
    }
    Ok(Secret::new(answer))
}

fn line(prompt: &str) -> io::Result<String> {
    let mut screen = io::stderr();
    screen.write_all(prompt.as_bytes())?;
    screen.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8]) -> Result<String, String> {
        let mut text = Secret::new(String::new());
        read_secret(Box::new(bytes), &mut text).map_err(|error| error.to_string())?;
        Ok(text.expose().clone())
    }

    #[test]
    fn a_secret_file_loses_one_line_end_and_no_more() {
        assert_eq!(read(b"pass phrase").unwrap(), "pass phrase");
        assert_eq!(read(b" pass phrase \n").unwrap(), " pass phrase ");
        assert_eq!(read(b"pass phrase\r\n").unwrap(), "pass phrase");
        assert_eq!(read(b"pass\n\n").unwrap(), "pass\n");
        assert_eq!(read(&[b'x'; 4_097]).unwrap_err(), "longer than 4096 bytes");
        assert!(read(b"\xff").is_err());
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_option() {
        let error = secret_file("--password-file", "/nonexistent/pw".as_ref()).unwrap_err().to_string();
        assert!(error.starts_with("--password-file /nonexistent/pw: "), "{error}");
        let error = secret_env("--password-env", "DOORWARD_NO_SUCH_VARIABLE").unwrap_err().to_string();
        assert_eq!(error, "--password-env: DOORWARD_NO_SUCH_VARIABLE: environment variable not found");
    }
}
