//! The corpus, and seeded mutations of it, through the fuzz bodies.

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

/// The files of a folder in the order of their names; none where there is no folder.
#[expect(clippy::disallowed_methods, reason = "a test may read its corpus")]
fn folder(path: PathBuf) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The named inputs of a body.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let mut inputs = folder(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name));
    for input in &mut inputs {
        // The newline at the end is the file's, not the input's.
        if input.last() == Some(&b'\n') {
            input.pop();
        }
    }
    assert!(inputs.len() >= 10, "{} files of {name}", inputs.len());
    assert!(inputs.iter().map(Vec::len).sum::<usize>() <= 16 * 1024);
    inputs
}

/// What libFuzzer found worth keeping, byte by byte.
fn found(name: &str) -> Vec<Vec<u8>> {
    let inputs = folder(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name));
    assert!(inputs.iter().map(Vec::len).sum::<usize>() <= 1024 * 1024);
    inputs
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
            4 => {
                let begin = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[begin..]);
            }
            _ => {
                let end = at + random.below(bytes.len() + 1 - at);
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes.truncate(20_000);
    bytes
}

fn replay(name: &str, mutations: usize, body: fn(&[u8])) {
    let inputs = corpus(name);
    inputs.iter().chain(&found(name)).for_each(|bytes| body(bytes));
    let mut random = Random(0x5EED_0002);
    for _ in 0..mutations {
        let (from, other) = (random.below(inputs.len()), random.below(inputs.len()));
        body(&mutated(&mut random, &inputs[from], &inputs[other]));
    }
}

#[test]
fn any_bytes_are_a_message_or_are_said_not_to_be() {
    replay("json", 20_000, super::json);
}

#[test]
fn any_text_is_a_name_that_reads_back_or_none() {
    replay("names", 20_000, super::names);
}

#[test]
fn any_text_is_shown_without_what_cannot_be_seen() {
    replay("text", 20_000, super::text);
}

#[test]
fn any_hours_make_weeks_that_follow_each_other() {
    replay("calendar", 5_000, super::calendar);
}

#[test]
fn any_attempts_are_admitted_by_the_rules() {
    replay("attempts", 20_000, super::attempts);
}

#[test]
fn any_record_is_written_in_one_way() {
    replay("record", 20_000, super::record);
}

#[test]
fn any_stream_is_cut_alike_in_any_pieces() {
    replay("frame", 20_000, super::frame);
}

#[test]
fn any_bytes_are_fields_or_are_said_not_to_be() {
    replay("message", 20_000, super::message);
}

#[test]
fn any_signed_message_has_one_canonical_form() {
    replay("canonical", 20_000, super::canonical);
}

#[test]
fn any_script_leaves_the_machine_in_order() {
    replay("machine", 20_000, super::machine);
}

#[test]
fn scripts_of_pure_chance_leave_the_machine_in_order() {
    let mut random = Random(0x5EED_0003);
    for _ in 0..5_000 {
        let script: Vec<u8> = (0..random.below(120)).map(|_| random.next() as u8).collect();
        super::machine(&script);
    }
}

#[test]
fn any_script_leaves_the_fix_session_in_order() {
    replay("fix_session", 5_000, super::fix_session);
}

#[test]
fn scripts_of_pure_chance_leave_the_fix_session_in_order() {
    let mut random = Random(0x5EED_0004);
    for _ in 0..5_000 {
        let script: Vec<u8> = (0..random.below(150)).map(|_| random.next() as u8).collect();
        super::fix_session(&script);
    }
}
