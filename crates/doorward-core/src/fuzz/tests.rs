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

#[expect(clippy::disallowed_methods, reason = "a test may read its corpus")]
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let bytes = std::fs::read(&path).unwrap();
            // The newline at the end is the file's, not the input's.
            let input = bytes.strip_suffix(b"\n").unwrap_or(&bytes).to_vec();
            (path.file_name().unwrap().to_string_lossy().into_owned(), input)
        })
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{} files of {name}", files.len());
    assert!(files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() <= 16 * 1024);
    files
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
    let files = corpus(name);
    for (_, bytes) in &files {
        body(bytes);
    }
    let mut random = Random(0x5EED_0002);
    for _ in 0..mutations {
        let (from, other) = (random.below(files.len()), random.below(files.len()));
        body(&mutated(&mut random, &files[from].1, &files[other].1));
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
