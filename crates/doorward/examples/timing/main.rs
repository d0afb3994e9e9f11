//! Measures what could tell an attacker apart what must look alike (S1, E3); `cargo xtask timing` runs it and judges.
//!
//! ```text
//! timing ciphertexts --tries 20000                       the vault alone
//! timing logins --tries 10000 [--folder DIR] [--only WORD]
//!                                                        the gate, in this process; kinds with this in their name
//! timing door --tries 1000 [--folder DIR]                a server of its own, over its WebSocket door
//! ```
//! Each try is one line on standard output: kind, nanoseconds and, for logins, nanoseconds without the password hash.
//! Kinds take turns in an order that chance makes anew for each round. The first kind is what the others are held
//! against; the second is the same again; the third is the same and a planted difference.

mod ciphertexts;
mod door;
mod logins;
mod modulus;
mod people;
#[path = "../support/seed.rs"]
mod seed;
#[path = "../support/server.rs"]
mod server;

use std::io::Write as _;
use std::time::{Duration, Instant};

/// What is planted: the judge must find it.
const PLANTED: Duration = Duration::from_micros(5);

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Chance without a seed that is kept: xorshift64*.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self(now.map_or(1, |since| since.as_nanos() as u64) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 33) as usize) % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        (self.next() >> 56) as u8
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// Where the tries go.
struct Tries(std::io::BufWriter<std::io::Stdout>);

impl Tries {
    fn new() -> Self {
        Self(std::io::BufWriter::with_capacity(1 << 20, std::io::stdout()))
    }

    fn tell(&mut self, kind: &str, took: Duration, around: Option<Duration>) -> Fallible<()> {
        match around {
            Some(around) => writeln!(self.0, "{kind}\t{}\t{}", took.as_nanos(), around.as_nanos())?,
            None => writeln!(self.0, "{kind}\t{}", took.as_nanos())?,
        }
        Ok(())
    }
}

/// Works for as long as the planted difference takes.
fn plant() {
    let began = Instant::now();
    while began.elapsed() < PLANTED {
        std::hint::spin_loop();
    }
}

fn option(name: &str) -> Option<String> {
    let mut args = std::env::args();
    args.find(|arg| arg == name)?;
    args.next()
}

fn main() -> Fallible<()> {
    let tries = |preset| option("--tries").map_or(Ok(preset), |text| text.parse());
    let mut out = Tries::new();
    match std::env::args().nth(1).as_deref() {
        Some("ciphertexts") => ciphertexts::measure(tries(20_000)?, &mut out)?,
        Some("logins") => logins::measure(tries(10_000)?, &mut out)?,
        Some("door") => door::measure(tries(1_000)?, &mut out)?,
        _ => return Err("ciphertexts, logins or door".into()),
    }
    out.0.flush()?;
    Ok(())
}
