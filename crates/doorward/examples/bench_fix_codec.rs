//! Reading an order and preparing a signed Logon, beside the least work that either could be.
//!
//! `cargo run --release -p doorward --example bench_fix_codec -- [--rounds N] [--count N]`. See `bench/README.md`.

use std::hint::black_box;
use std::time::Instant;

use aws_lc_rs::hmac;
use doorward_core::fix::build::Builder;
use doorward_core::fix::frame::{Cut, Cutter};
use doorward_core::fix::message::{Fields, Message, sending_time, seq_num};
use doorward_core::fix::signature::{CME_1_SHA_256, canonical, decode_signature, encode_signature};
use doorward_core::fix::tag;
use doorward_core::time::Wall;

type Fallible<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Length of the order, in bytes.
const ORDER_LEN: usize = 185;
/// 2026-11-21 20:00:00.250 UTC.
const AT: Wall = Wall::from_us(1_795_291_200_250_000);
const KEY: &[u8; 32] = b"a secret key of thirty-two bytes";

/// A NewOrderSingle of [`ORDER_LEN`] bytes.
fn order() -> Vec<u8> {
    let mut out = Vec::new();
    Builder::begin(&mut out, b"FIX.4.2", b"D")
        .number(tag::MSG_SEQ_NUM, 4_711)
        .field(tag::SENDER_COMP_ID, "ABC001N")
        .field(tag::SENDER_SUB_ID, "OP1")
        .time(tag::SENDING_TIME, AT)
        .field(tag::TARGET_COMP_ID, "CME")
        .field(tag::TARGET_SUB_ID, "92")
        .field(tag::SENDER_LOCATION_ID, "US,NY")
        .field(tag::ACCOUNT, "ACC1")
        .field(tag::CL_ORD_ID, "ORD-04711")
        .field(tag::HANDL_INST, "1")
        .number(tag::ORDER_QTY, 10)
        .field(tag::ORD_TYPE, "2")
        .field(tag::PRICE, "4321.25")
        .field(tag::SIDE, "1")
        .field(tag::SYMBOL, "ES")
        .time(tag::TRANSACT_TIME, AT)
        .finish();
    out
}

/// A Logon as the scheme signs it, without its credentials: they are not signed.
fn logon() -> Vec<u8> {
    let mut out = Vec::new();
    Builder::begin(&mut out, b"FIX.4.2", b"A")
        .number(tag::MSG_SEQ_NUM, 1)
        .field(tag::SENDER_COMP_ID, "ABC001N")
        .field(tag::SENDER_SUB_ID, "OP1")
        .time(tag::SENDING_TIME, AT)
        .field(tag::TARGET_COMP_ID, "CME")
        .field(tag::TARGET_SUB_ID, "G")
        .field(tag::SENDER_LOCATION_ID, "US,NY")
        .number(tag::HEART_BT_INT, 30)
        .number(tag::LAST_MSG_SEQ_NUM_PROCESSED, 0)
        .field(tag::APPLICATION_SYSTEM_NAME, "BENCH")
        .field(tag::APPLICATION_SYSTEM_VERSION, "1.0")
        .field(tag::APPLICATION_SYSTEM_VENDOR, "DOORWARD")
        .data(tag::ENCODED_TEXT_LEN, b"dipfNf8kZOOuk7Wz0ZUn")
        .field(tag::ENCRYPTED_PASSWORD_METHOD, CME_1_SHA_256.name)
        .data(tag::ENCRYPTED_PASSWORD_LEN, encode_signature(&[7; 32]).as_bytes())
        .finish();
    out
}

/// The least that could be called reading: the sum of the bytes, split at SOH, split at `=`, the tag as a number.
fn naive<'m>(bytes: &'m [u8], fields: &mut Vec<(u32, &'m [u8])>) -> u8 {
    fields.clear();
    for field in bytes.split(|byte| *byte == 1) {
        if let Some(at) = field.iter().position(|byte| *byte == b'=') {
            let tag = field[..at].iter().fold(0_u32, |tag, byte| tag * 10 + u32::from(byte - b'0'));
            fields.push((tag, &field[at + 1..]));
        }
    }
    bytes[..bytes.len() - 7].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte))
}

/// Cuts and reads one message: length, checksum, every tag, the first three and the last.
fn read<'m>(bytes: &'m [u8], fields: &'m mut Fields) -> Option<Message<'m>> {
    match Cutter::new(65_536).cut(bytes) {
        Cut::Message { len } => fields.read(&bytes[..len]).ok(),
        Cut::Incomplete | Cut::Garbled { .. } | Cut::Skip { .. } | Cut::TooLong => None,
    }
}

/// What a session looks at in every message.
fn checks(message: &Message<'_>) -> Option<(u64, Wall)> {
    let expected = |tag, value: &[u8]| message.get(tag) == Some(value);
    let same = message.begin_string() == b"FIX.4.2"
        && expected(tag::SENDER_COMP_ID, b"ABC001N")
        && expected(tag::SENDER_SUB_ID, b"OP1")
        && expected(tag::TARGET_COMP_ID, b"CME")
        && expected(tag::TARGET_SUB_ID, b"92")
        && message.get(tag::POSS_DUP_FLAG).is_none()
        && message.msg_type() == b"D";
    let number = seq_num(message.get(tag::MSG_SEQ_NUM)?)?;
    let at = sending_time(message.get(tag::SENDING_TIME)?)?;
    same.then_some((number, at))
}

/// Nanoseconds each.
fn timed(count: u32, mut work: impl FnMut()) -> f64 {
    let began = Instant::now();
    for _ in 0..count {
        work();
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}

fn told(what: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let (median, least, most) = (values[values.len() / 2], values[0], values[values.len() - 1]);
    println!("{what:<48} {median:>8.2}   ({least:.2} to {most:.2})");
}

fn option<T: std::str::FromStr>(name: &str, preset: T) -> T {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|arg| arg == name);
    at.and_then(|at| args.get(at + 1)?.parse().ok()).unwrap_or(preset)
}

/// One round of each: naive, read, read and checks, bare HMAC, canonical message and HMAC, the same with all before it.
fn round(count: u32, order: &[u8], logon: &[u8]) -> [f64; 6] {
    let (mut fields, mut seen, mut canon) = (Fields::new(), Vec::new(), Vec::new());
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
    let split = timed(count, || {
        let sum = naive(black_box(order), &mut seen);
        black_box((sum, seen.len()));
    });
    let whole = timed(count, || {
        black_box(read(black_box(order), &mut fields).map(|message| message.fields().count()));
    });
    let checked = timed(count, || {
        black_box(read(black_box(order), &mut fields).as_ref().and_then(checks));
    });
    let signed = fields.read(logon).map(|message| {
        canonical(&CME_1_SHA_256, &message, &mut canon);
        canon.clone()
    });
    let signed = signed.unwrap_or_default();
    let bare = timed(count / 4, || {
        black_box(hmac::sign(&key, black_box(&signed)));
    });
    let (mut again, logon_fields) = (Fields::new(), logon);
    let Ok(message) = again.read(logon_fields) else { return [f64::NAN; 6] };
    let with_canonical = timed(count / 4, || {
        canon.clear();
        canonical(&CME_1_SHA_256, black_box(&message), &mut canon);
        black_box(hmac::sign(&key, &canon));
    });
    let from_bytes = timed(count / 4, || {
        if let Some(message) = read(black_box(logon), &mut fields) {
            canon.clear();
            canonical(&CME_1_SHA_256, &message, &mut canon);
            black_box(message.has_repeated());
            black_box(message.get(tag::ENCRYPTED_PASSWORD).and_then(decode_signature));
            black_box(hmac::sign(&key, &canon));
        }
    });
    [split, whole, checked, bare, with_canonical, from_bytes]
}

fn main() -> Fallible<()> {
    let (rounds, count) = (option("--rounds", 401_usize), option("--count", 4_000_u32));
    let (order, logon) = (order(), logon());
    if order.len() != ORDER_LEN {
        return Err(format!("the order has {} bytes instead of {ORDER_LEN}", order.len()).into());
    }
    let mut fields = Fields::new();
    read(&order, &mut fields).as_ref().and_then(checks).ok_or("the order does not pass its checks")?;
    println!("{rounds} rounds of {count}; an order of {ORDER_LEN} bytes, a Logon of {}", logon.len());
    let all: Vec<[f64; 6]> = (0..rounds).map(|_| round(count, &order, &logon)).collect();
    let each = |of: fn(&[f64; 6]) -> f64| all.iter().map(of).collect::<Vec<_>>();
    println!("{:<48} {:>8}   (least to most)", "", "median");
    told("order: naive split and sum, ns", each(|ns| ns[0]));
    told("order: cut and read, ns", each(|ns| ns[1]));
    told("order: cut, read and checks, ns", each(|ns| ns[2]));
    told("order: cut, read and checks / naive", each(|ns| ns[2] / ns[0]));
    told("logon: bare HMAC, ns", each(|ns| ns[3]));
    told("logon: canonical and HMAC, ns", each(|ns| ns[4]));
    told("logon: canonical and HMAC / bare", each(|ns| ns[4] / ns[3]));
    told("logon: cut, read, repeats, canonical, HMAC, ns", each(|ns| ns[5]));
    told("logon: all that / bare", each(|ns| ns[5] / ns[3]));
    Ok(())
}
