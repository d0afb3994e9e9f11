//! The limit of a login: one RSA-2048 private operation and one Argon2id with the floor's parameters, and nothing else.

use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
};

use super::Fallible;
use super::server::{Pinned, SERVER_CORE, cpu_s};

/// `bench_ws bare SECONDS`: prints how often, and the processor's seconds.
pub(crate) fn run() -> Fallible<()> {
    let span = Duration::from_secs(std::env::args().nth(2).ok_or("seconds")?.parse()?);
    let private = PrivateDecryptingKey::generate(KeySize::Rsa2048)?;
    let public = OaepPublicEncryptingKey::new(private.public_key())?;
    let key = OaepPrivateDecryptingKey::new(private)?;
    let mut sealed = vec![0; public.ciphertext_size()];
    public.encrypt(&OAEP_SHA256_MGF1SHA256, b"a password of usual length", &mut sealed, None)?;
    let params = Params::new(19_456, 2, 1, Some(32)).map_err(|error| error.to_string())?;
    let mut memory = vec![Block::default(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (began, cpu) = (Instant::now(), cpu_s("self")?);
    let mut count = 0_u64;
    while began.elapsed() < span {
        let mut opened = vec![0; key.min_output_size()];
        let password = key.decrypt(&OAEP_SHA256_MGF1SHA256, &sealed, &mut opened, None)?;
        let mut hash = [0; 32];
        argon2.hash_password_into_with_memory(password, b"sixteen byte salt", &mut hash, &mut memory)?;
        std::hint::black_box(hash);
        count += 1;
    }
    println!("{count} {}", cpu_s("self")? - cpu);
    Ok(())
}

/// Runs the loop on the servers' core; processor milliseconds each.
pub(crate) fn cpu_ms(seconds: u64) -> Fallible<f64> {
    let program = std::env::current_exe()?;
    let words = [program.into_os_string(), "bare".into(), seconds.to_string().into()];
    let mut process = Pinned::start(SERVER_CORE, words, |command| {
        command.stdout(std::process::Stdio::piped());
    })?;
    let line = process.lines()?.next().ok_or("the bare loop said nothing")?;
    let (count, cpu) = line.split_once(' ').ok_or("the bare loop said something else")?;
    Ok(cpu.parse::<f64>()? * 1_000.0 / count.parse::<f64>()?)
}
