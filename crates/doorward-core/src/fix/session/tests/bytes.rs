//! Any cut of the bytes gives the same outputs.

use super::{Script, opened, trader};

/// Plays a connection whose bytes come in pieces that begin at `cuts`; everything that the machine did.
fn outputs(mut s: Script, phases: &[(&str, Vec<u8>)], cut: &dyn Fn(usize) -> usize) -> Vec<String> {
    let mut lines = Vec::new();
    for (inputs, bytes) in phases {
        let mut at = 0;
        while at < bytes.len() {
            let len = cut(at).clamp(1, bytes.len() - at);
            s.receive(&bytes[at..at + len]);
            at += len;
            while let Some(line) = s.next() {
                lines.push(line);
            }
        }
        for input in inputs.lines().map(str::trim).filter(|line| !line.is_empty()) {
            s.input(input);
            while let Some(line) = s.next() {
                lines.push(line);
            }
        }
    }
    lines
}

fn cme() -> (Script, Vec<(&'static str, Vec<u8>)>) {
    let s = opened();
    let mut live = Vec::new();
    for text in [
        "35=0|34=2|43=Y|",
        "35=D|34=3|11=a|354=5|355=a\u{1}b\u{1}c|",
        "35=D|34=5|11=c|",
        "35=2|34=6|7=1|16=0|",
        "35=4|34=4|43=Y|123=Y|36=5|",
    ] {
        live.extend(s.message(text));
    }
    live.extend_from_slice(b"some garbage\x01and more\x018=FIX.4.2\x019=5\x0135=0\x0110=000\x01");
    live.extend_from_slice(b"8=FIX.4.2\x01garbled again");
    live.extend(s.message("35=1|34=7|112=x|"));
    live.extend(s.message("35=5|34=8|"));
    live.extend(s.message("35=D|34=9|11=late|"));
    // What comes behind a pending Logon is held.
    let mut logon = s.logon("34=1");
    logon.extend(s.message("35=0|34=2|"));
    (s, vec![("judged ok\n yours 1/1\n saved", logon), ("", live)])
}

#[test]
fn any_two_pieces() {
    let (s, phases) = cme();
    let whole = outputs(s.clone(), &phases, &|_| usize::MAX);
    assert!(whole.len() > 12, "{whole:?}");
    let longest = phases.iter().map(|(_, bytes)| bytes.len()).max().unwrap();
    for split in 1..longest {
        let pieces = outputs(s.clone(), &phases, &|at| if at < split { split - at } else { usize::MAX });
        assert_eq!(pieces, whole, "cut at {split}");
    }
}

#[test]
fn pieces_of_one_size_from_one_byte_up() {
    let (s, phases) = cme();
    let whole = outputs(s.clone(), &phases, &|_| usize::MAX);
    for size in 1..64 {
        assert_eq!(outputs(s.clone(), &phases, &|_| size), whole, "pieces of {size}");
    }
}

#[test]
fn pieces_of_a_second_logon_a_trader_and_a_refusal() {
    let s = opened();
    let two = [s.logon("34=1"), s.message("35=D|34=2|"), s.logon("34=3")].concat();
    let bad = s.logon("354=99|1400=x");
    let t = trader();
    let text = format!("35=A|34=1|49=julian|52={}|56=CME|98=0|108=30|95=5|96=a\u{1}b\u{1}c|", t.time());
    let person = super::frame("FIX.4.2", &text);
    for (s, phases) in [
        (s.clone(), vec![("judged ok", two)]),
        (s, vec![("judged refused\n saved", bad)]),
        (t, vec![("verdict granted\n yours 1/1", person)]),
    ] {
        let whole = outputs(s.clone(), &phases, &|_| usize::MAX);
        for size in 1..40 {
            assert_eq!(outputs(s.clone(), &phases, &|_| size), whole, "pieces of {size}");
        }
    }
}

#[test]
fn a_burst_of_100_000_messages_leaves_no_memory_behind() {
    let mut s = super::logged_on();
    let mut delivered = 0;
    for block in 0..1_000 {
        let bytes: Vec<u8> =
            (0..100).flat_map(|at| s.message(&format!("35=D|34={}|11=a|", block * 100 + at + 2))).collect();
        s.receive(&bytes);
        while let Some(output) = s.session.poll() {
            delivered += usize::from(matches!(output, super::Output::Deliver { .. }));
        }
    }
    assert_eq!(delivered, 100_000);
    s.feed("wait 31");
    assert!(s.session.memory() < 2_048);
}
