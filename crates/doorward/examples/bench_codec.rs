//! What the work on a message's bytes costs beside the least that it could be: reading an order, verifying a Logon.
//!
//! `--rounds N` (7), `--times N` (200000): the method is in `bench/README.md`.

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::hmac;
use doorward_core::fix::frame::{Cut, Cutter};
use doorward_core::fix::message::{Fields, seq_num, utc_timestamp};
use doorward_core::fix::signature::{CME_1_SHA_256, canonical, decode_signature, encode_signature};
use doorward_core::fix::{SOH, build::Builder};

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// An order of 185 bytes, as performance.md has it.
fn order() -> Vec<u8> {
    let mut out = Vec::new();
    Builder::begin(&mut out, b"FIX.4.2", b"D")
        .field(34, "1234567")
        .field(49, "ABCFIRN")
        .field(50, "OPERATOR1")
        .field(52, "20261121-14:48:42.855")
        .field(56, "CME")
        .field(57, "G")
        .field(142, "US,IL")
        .field(11, "ORDER-00012")
        .field(38, "25")
        .field(40, "2")
        .field(44, "9725.25")
        .field(54, "1")
        .field(55, "GEZ6")
        .field(60, "20261121-14:48:42.851")
        .finish();
    out
}

/// A signed Logon; its secret key is `key`.
fn logon(key: &hmac::Key) -> Fallible<Vec<u8>> {
    let build = |signature: &str| {
        let mut out = Vec::new();
        Builder::begin(&mut out, b"FIX.4.2", b"A")
            .field(34, "1")
            .field(49, "ABCFIRN")
            .field(50, "OPERATOR1")
            .field(52, "20261121-14:48:42.855")
            .field(56, "CME")
            .field(57, "G")
            .field(142, "US,IL")
            .field(108, "30")
            .data(354, b"oNDxM33uE81ohWuVRtWT")
            .field(1400, "CME-1-SHA-256")
            .data(1401, signature.as_bytes())
            .field(1603, "Doorward bench")
            .field(1604, "1.0")
            .field(1605, "Doorward")
            .finish();
        out
    };
    let (mut fields, mut text) = (Fields::new(), Vec::new());
    let unsigned = build("none");
    canonical(&CME_1_SHA_256, &fields.read(&unsigned).map_err(|flaw| format!("{flaw:?}"))?, &mut text);
    let tag = hmac::sign(key, &text);
    Ok(build(&encode_signature(tag.as_ref().try_into()?)))
}

/// What every message costs here: cut, CheckSum, index of all fields, and the header's values as a session reads them.
fn read(cutter: &mut Cutter, fields: &mut Fields, bytes: &[u8]) -> u64 {
    let Cut::Message { len } = cutter.cut(bytes) else { return 0 };
    let Ok(message) = fields.read(&bytes[..len]) else { return 0 };
    let number = message.get(34).and_then(seq_num).unwrap_or(0);
    let at = message.get(52).and_then(utc_timestamp).map_or(0, |time| time.wall.as_us().unsigned_abs());
    let fit = message.get(49) == Some(b"ABCFIRN")
        && message.get(56) == Some(b"CME")
        && message.get(43).is_none()
        && message.first_empty().is_none();
    number + at + u64::from(fit)
}

/// The least: the sum of the bytes, and one pass that cuts fields and reads their tags.
fn naive(bytes: &[u8], index: &mut Vec<(u32, usize, usize)>) -> u64 {
    let sum = bytes[..bytes.len() - 7].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    index.clear();
    let (mut tag, mut start, mut in_tag) = (0_u32, 0, true);
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'=' if in_tag => (start, in_tag) = (at + 1, false),
            &SOH => {
                index.push((tag, start, at));
                (tag, in_tag) = (0, true);
            }
            digit if in_tag => tag = tag * 10 + u32::from(digit - b'0'),
            _ => {}
        }
    }
    u64::from(sum) + index.len() as u64
}

/// Nanoseconds of one call, over many.
fn each_ns(times: u32, mut call: impl FnMut() -> u64) -> f64 {
    let began = Instant::now();
    for _ in 0..times {
        black_box(call());
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(times)
}

fn told(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let (least, most) = (values[0], values[values.len() - 1]);
    println!("{what:<52} {:>9.2}   ({least:.2} to {most:.2})", values[values.len() / 2]);
}

fn option(name: &str, preset: u32) -> u32 {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|arg| arg == name);
    at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(preset)
}

fn main() -> Fallible<()> {
    let (rounds, times) = (option("--rounds", 7), option("--times", 200_000));
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let (order, logon) = (order(), logon(&key)?);
    let (mut cutter, mut fields, mut index) = (Cutter::new(65_536), Fields::new(), Vec::new());
    let mut logon_fields = Fields::new();
    let logon_message = logon_fields.read(&logon).map_err(|flaw| format!("{flaw:?}"))?;
    let (mut text, mut again) = (Vec::new(), Vec::new());
    canonical(&CME_1_SHA_256, &logon_message, &mut text);
    println!("an order of {} bytes, a Logon of {}", order.len(), logon.len());
    assert!(read(&mut cutter, &mut fields, &order) > 1, "the order is a good one");

    let mut took = [const { Vec::new() }; 4];
    for _ in 0..rounds {
        took[0].push(each_ns(times, || naive(black_box(&order), &mut index)));
        took[1].push(each_ns(times, || read(&mut cutter, &mut fields, black_box(&order))));
        took[2].push(each_ns(times, || u64::from(hmac::sign(&key, black_box(&text)).as_ref()[0])));
        took[3].push(each_ns(times, || {
            let message = black_box(&logon_message);
            again.clear();
            canonical(&CME_1_SHA_256, message, &mut again);
            let Some(stated) = message.get(1402).and_then(decode_signature) else { return 0 };
            u64::from(hmac::verify(&key, &again, &stated).is_ok())
        }));
    }
    let [naive, read, bare, verified] = took;
    told("order: naive pass and sum, ns", naive);
    told("order: cut, read and looked at, ns", read);
    told("Logon: ratio of the two below", ratios(&verified, &bare));
    told("Logon: bare HMAC over the canonical message, ns", bare);
    told("Logon: canonical message, HMAC compared, ns", verified);
    Ok(())
}

fn ratios(ours: &[f64], bare: &[f64]) -> Vec<f64> {
    ours.iter().zip(bare).map(|(ours, bare)| ours / bare).collect()
}
