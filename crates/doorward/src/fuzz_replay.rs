//! The fuzz bodies of the server's parsers over a kept corpus and seeded mutations of it.
//!
//! Each body stands beside its parser; a folder of `corpus` holds inputs for it. A finding becomes a file there.

use std::path::PathBuf;

/// A mutation that goes the same way each time: xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize
    }

    fn below(&mut self, end: usize) -> usize {
        self.next() % end.max(1)
    }
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 5, "{} files of {name}", paths.len());
    let inputs = paths.iter().map(|path| std::fs::read(path).unwrap());
    // The newline at the end is the file's, not the input's.
    inputs.map(|bytes| bytes.strip_suffix(b"\n").unwrap_or(&bytes).to_vec()).collect()
}

fn mutated(random: &mut Random, from: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = from.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.insert(at, random.next() as u8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            4 => bytes.splice(at.., other[random.below(other.len() + 1)..].iter().copied()).for_each(drop),
            _ => {
                let end = at + random.below(bytes.len() + 1 - at);
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again).for_each(drop);
            }
        }
    }
    bytes.truncate(8_192);
    bytes
}

fn replay(name: &str, mutations: usize, body: fn(&[u8])) {
    let inputs = corpus(name);
    inputs.iter().for_each(|bytes| body(bytes));
    let mut random = Random(0x5EED_0005);
    for _ in 0..mutations {
        let (from, other) = (random.below(inputs.len()), random.below(inputs.len()));
        body(&mutated(&mut random, &inputs[from], &inputs[other]));
    }
}

#[test]
fn q7_any_line_is_a_signed_head_or_none() {
    replay("heads", 10_000, crate::journal::fuzz_heads);
}

#[test]
fn p7_any_text_is_a_hash_within_its_bounds_or_none() {
    replay("phc", 20_000, crate::hashing::fuzz_phc);
}

#[test]
fn e2_any_block_is_unpadded_as_the_standard_says() {
    replay("unpad", 3_000, crate::vault::unpad::fuzz);
}

#[test]
fn any_text_is_a_configuration_or_faults_that_can_be_read() {
    replay("config", 3_000, crate::config::fuzz);
}

#[test]
fn s13_no_origin_comes_in_that_is_not_listed() {
    replay("origin", 20_000, crate::doors::origin::fuzz);
}

#[test]
fn any_forwarded_fields_are_an_address_or_malformed() {
    replay("forwarded", 20_000, crate::doors::source::fuzz);
}

#[test]
fn any_proxy_header_is_an_address_or_malformed() {
    replay("proxy-header", 20_000, crate::doors::proxy_header::fuzz);
}

#[test]
fn l1_any_body_is_fields_within_their_limits() {
    replay("form", 10_000, crate::http::web::form::fuzz);
}

#[test]
fn s6_any_cookies_hold_one_token_or_none() {
    replay("cookie", 20_000, crate::http::web::visit::fuzz);
}

#[test]
fn any_record_of_the_stream_log_is_written_in_one_way() {
    replay("entry", 20_000, crate::streams::fuzz_entry);
}
