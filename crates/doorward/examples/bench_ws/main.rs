//! Rows 8, 9, 10, 13 and 14 of the page of figures: connections, password logins, one-time passwords, many people.
//!
//! `bench_ws [--rows 8,9,10,13,14] [--rounds 7] [--seconds 5] [--idle 10000] [--node-ws FOLDER] [--people 1000000]
//! [--records 10000000] [--folder DIR]` after `cargo build --release -p doorward --bin doorward --example bench_ws`.
//! The method is in `bench/README.md`.

mod bare;
mod clients;
mod rows;
#[path = "../support/seed.rs"]
mod seed;
#[path = "../support/server.rs"]
mod server;
mod site;

use std::process::{Command, ExitCode};

use doorward::doors::admission::raise_descriptors;

use server::{CLIENT_CORE, option};

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Set in the program that measures: it runs on the clients' core.
const PINNED: &str = "DOORWARD_BENCH_PINNED";

fn main() -> Fallible<ExitCode> {
    if std::env::args().nth(1).as_deref() == Some("bare") {
        return bare::run().map(|()| ExitCode::SUCCESS);
    }
    if std::env::var_os(PINNED).is_none() {
        let status = Command::new("taskset")
            .args(["-c", CLIENT_CORE])
            .arg(std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .env(PINNED, "1")
            .status()?;
        return Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    raise_descriptors();
    let folder = match option("--folder", String::new()) {
        folder if folder.is_empty() => tempfile::tempdir()?,
        folder => tempfile::tempdir_in(folder)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(rows::measure(folder.path()))?;
    Ok(ExitCode::SUCCESS)
}

/// A median with the least and the most.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    least: f64,
    most: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |at: usize| values.get(at).copied().unwrap_or(f64::NAN);
        Self { median: at(values.len() / 2), least: at(0), most: at(values.len().saturating_sub(1)) }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { median, least, most } = self;
        write!(f, "{median:.2} | {least:.2} to {most:.2}")
    }
}

/// A line of a table.
pub(crate) fn told(what: &str, values: Vec<f64>) -> Spread {
    let spread = Spread::of(values);
    println!("| {what} | {spread} |");
    spread
}

/// The head of a table.
pub(crate) fn heading(what: &str) {
    println!("\n| {what} | median | least to most |\n|---|---:|---:|");
}
