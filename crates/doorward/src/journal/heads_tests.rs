//! Q6, Q7, Q9: signed heads are written in order over any crash, and show what a walk alone cannot see.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use doorward_core::time::Wall;

use super::recover::segments;
use super::segment::{encode_frame, name_of, stored_salt};
use super::walk::Frames;
use super::*;
use FindingKind::{Anchor, Book, Head as BadHead, MissingSegment};

const SEGMENT: u64 = 4096;

struct Signer {
    pair: Ed25519KeyPair,
    key: HeadKey,
}

impl Signer {
    fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let key = HeadKey::new(pair.public_key().as_ref().try_into().unwrap());
        Self { pair, key }
    }

    fn sign(&self, count: u64, kind: HeadKind, head: Head) -> SignedHead {
        let checkpoint = Checkpoint::new("node a", count, kind, head, Wall::from_s(1_800_000_000));
        let signature = self.pair.sign(checkpoint.text(&self.key).as_bytes());
        SignedHead::new(checkpoint, &self.key, signature.as_ref().try_into().unwrap())
    }
}

fn settings() -> Settings {
    Settings { node: "node a".to_owned(), segment_bytes: SEGMENT }
}

fn record(no: u64) -> Vec<u8> {
    format!("{{\"no\":{no},\"pad\":\"{}\"}}", "x".repeat(500)).into_bytes()
}

/// 13 records, five to a segment; heads of 2, 5, 8 and 12.
struct Sample {
    disk: PowerDisk,
    signer: Signer,
    heads: Vec<SignedHead>,
}

impl Sample {
    fn new() -> Self {
        let (disk, signer) = (PowerDisk::new(), Signer::new(1));
        let (mut journal, _) = Journal::open(Arc::new(disk.clone()), settings()).unwrap();
        let mut file = Heads::open(Arc::new(disk.clone())).unwrap();
        let mut heads = Vec::new();
        for no in 1..=13 {
            journal.append(&[record(no)]).unwrap();
            if [2, 5, 8, 12].contains(&no) {
                let head = signer.sign(file.next_count(), HeadKind::At, journal.head());
                file.append(head.clone()).unwrap();
                heads.push(head);
            }
        }
        Self { disk, signer, heads }
    }

    fn verified(&self, noted: &[Noted]) -> (Report, Anchoring) {
        verify_anchored(&self.disk, noted, &[self.signer.key]).unwrap()
    }

    fn kinds(&self) -> Vec<FindingKind> {
        let (report, _) = self.verified(&[]);
        assert_eq!(report.intact, report.findings.is_empty());
        report.findings.iter().map(|finding| finding.kind).collect()
    }

    /// Puts the file together anew from lines.
    fn write(&self, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.disk.tamper(HEADS_FILE, text.into_bytes());
    }

    fn lines(&self) -> Vec<String> {
        self.heads.iter().map(ToString::to_string).collect()
    }

    /// Replaces records 12 and 13, with every checksum and hash right.
    fn chain_anew(&self) {
        let before = read_from(Arc::new(self.disk.clone()), 11, 11).next().unwrap().unwrap();
        let mut bytes = self.disk.bytes_of(&name_of(11)).unwrap();
        let salt = stored_salt(&bytes);
        let first = Frames::new(&bytes, salt).at(Frames::BEGIN).unwrap().0.bytes();
        let mut head = Head { no: 11, hash: before.hash };
        let mut at = Frames::BEGIN + first;
        bytes[at..].fill(0);
        for forged in [b"forged 12", b"forged 13"] {
            let mut frame = Vec::new();
            head = encode_frame(&mut frame, head, &[forged], salt);
            bytes[at..at + frame.len()].copy_from_slice(&frame);
            at += frame.len();
        }
        self.disk.tamper(&name_of(11), bytes);
    }
}

#[test]
fn a_line_reads_back_and_nothing_else_does() {
    let signer = Signer::new(1);
    let head = Head { no: 7, hash: [0xAB; 32] };
    for kind in [HeadKind::At, HeadKind::DroppedTo { book: [0x5C; 32] }] {
        let signed = signer.sign(3, kind, head);
        let line = signed.to_string();
        assert!(line.starts_with(&format!("doorward-head-1 node%20a 3 {kind} 7:abab")), "{line}");
        assert!(line.contains(" 2027-01-15T08:00:00.000Z "), "{line}");
        assert_eq!(SignedHead::parse(&line), Some(signed.clone()));
        assert!(signed.is_signed_by(&signer.key) && !signed.is_signed_by(&Signer::new(2).key));
        for at in 0..line.len() {
            let mut bytes = line.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(SignedHead::parse(&changed).is_none_or(|head| !head.is_signed_by(&signer.key)), "{at}");
            assert!(SignedHead::parse(&line[..at]).is_none(), "cut at {at}");
        }
        for other in [format!(" {line}"), format!("{line} "), line.replacen("-1 node", "-1  node", 1)] {
            assert_eq!(SignedHead::parse(&other), None);
        }
    }
}

#[test]
fn a_line_is_found_in_a_log() {
    let signed = Signer::new(1).sign(3, HeadKind::At, Head { no: 7, hash: [1; 32] });
    for log in [
        format!("{{\"level\":\"INFO\",\"fields\":{{\"head\":\"{signed}\",\"no\":7}}}}"),
        format!("2026-11-22 INFO audit: the journal stands head={signed} no=7"),
        format!("head: {signed}\u{1b}[0m"),
        signed.to_string(),
    ] {
        assert_eq!(SignedHead::find_in(&log), Some(signed.clone()), "{log}");
    }
    assert_eq!(SignedHead::find_in("doorward-head-1 but no more"), None);
}

#[test]
fn the_longest_line_is_within_its_limit() {
    let head = Head { no: u64::MAX, hash: [0xFF; 32] };
    let signer = Signer::new(1);
    let checkpoint = Checkpoint::new(
        &"\u{ff}".repeat(32),
        u64::MAX,
        HeadKind::DroppedTo { book: [9; 32] },
        head,
        Wall::from_s(0),
    );
    let signed = SignedHead::new(checkpoint, &signer.key, [0xFF; 64]);
    assert!((signed.to_string().len() as u64) < heads::LINE_BYTES_MAX, "with its end");
    assert_eq!(SignedHead::parse(&signed.to_string()), Some(signed));
}

#[test]
fn public_keys_are_pem_that_others_read() {
    // The example of RFC 8410, 10.1.
    let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
               -----END PUBLIC KEY-----\n";
    let [key] = HeadKey::parse_all(pem.as_bytes()).unwrap()[..] else { panic!("one key") };
    assert_eq!(key.pem(), pem);
    let two = Signer::new(1).key.pem() + pem;
    assert_eq!(HeadKey::parse_all(two.as_bytes()).unwrap(), [Signer::new(1).key, key]);
    for wrong in ["", "no key", &pem.replace("MCowBQYDK2Vw", "MCowBQYDK2Vx"), &pem.replace("VwAyEA", "VwAyE")]
    {
        assert!(HeadKey::parse_all(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn q6_over_any_power_cut_no_head_is_lost_that_was_acknowledged() {
    let signer = Signer::new(1);
    let run = |disk: &PowerDisk| {
        let mut acknowledged = 0;
        let Ok(mut file) = Heads::open(Arc::new(disk.clone())) else { return 0 };
        for no in 1..=4 {
            let count = file.next_count();
            let head = signer.sign(count, HeadKind::At, Head { no, hash: [no as u8; 32] });
            if file.append(head).is_err() {
                break;
            }
            acknowledged = count;
        }
        acknowledged
    };
    let whole = PowerDisk::new();
    assert_eq!(run(&whole), 4);
    for cut in 1..=whole.operations() {
        for seed in 0..16 {
            let disk = PowerDisk::new();
            disk.cut_at(cut);
            let acknowledged = run(&disk);
            disk.restore(seed);
            let mut file = Heads::open(Arc::new(disk.clone())).unwrap();
            let found = file.last().map_or(0, |last| last.checkpoint.count);
            assert!(found == acknowledged || found == acknowledged + 1, "cut {cut} seed {seed}");
            let count = file.next_count();
            file.append(signer.sign(count, HeadKind::At, Head { no: 9, hash: [9; 32] })).unwrap();
            let text = String::from_utf8(disk.bytes_of(HEADS_FILE).unwrap()).unwrap();
            let lines: Vec<_> = text.lines().filter(|line| !line.is_empty()).collect();
            let counts: Vec<_> =
                lines.iter().map(|line| SignedHead::parse(line).unwrap().checkpoint.count).collect();
            assert_eq!(counts, (1..=count).collect::<Vec<_>>(), "cut {cut} seed {seed}");
        }
    }
}

#[test]
fn q6_over_any_power_cut_the_journal_holds_every_signed_head() {
    let signer = Signer::new(1);
    let run = |disk: &PowerDisk| {
        let (mut journal, _) = Journal::open(Arc::new(disk.clone()), settings()).ok()?;
        let mut file = Heads::open(Arc::new(disk.clone())).ok()?;
        for no in 1..=12 {
            journal.append(&[record(no)]).ok()?;
            if no % 3 == 0 {
                file.append(signer.sign(file.next_count(), HeadKind::At, journal.head())).ok()?;
            }
        }
        Some(())
    };
    let whole = PowerDisk::new();
    run(&whole).unwrap();
    for cut in 1..=whole.operations() {
        for seed in 0..4 {
            let disk = PowerDisk::new();
            disk.cut_at(cut);
            assert_eq!(run(&disk), None);
            disk.restore(seed);
            if segments(&disk).unwrap().is_empty() {
                // Cut before there was a journal.
                assert!(verify_anchored(&disk, &[], &[]).is_err());
                continue;
            }
            // A node tells its keys once it has signed a head.
            let heads = verify_anchored(&disk, &[], &[]).unwrap().1.heads;
            let keys = if heads > 0 { vec![signer.key] } else { Vec::new() };
            let (report, _) = verify_anchored(&disk, &[], &keys).unwrap();
            assert!(report.intact, "cut {cut} seed {seed}: {:?}", report.findings);
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            let (journal, _) = Journal::open(Arc::clone(&shared), settings()).unwrap();
            let file = Heads::open(Arc::clone(&shared)).unwrap();
            assert!(file.last().is_none_or(|last| holds(&shared, journal.head(), last).unwrap()));
            let (report, anchoring) = verify_anchored(&disk, &[], &keys).unwrap();
            assert_eq!((report.intact, report.torn_tail, anchoring.torn), (true, None, None));
        }
    }
}

#[test]
fn q6_after_a_failed_write_the_next_head_takes_its_place() {
    let (disk, signer) = (PowerDisk::new(), Signer::new(1));
    let mut file = Heads::open(Arc::new(disk.clone())).unwrap();
    let head = |count, no| signer.sign(count, HeadKind::At, Head { no, hash: [1; 32] });
    disk.syncs_fail(true);
    assert!(file.append(head(1, 9)).is_err());
    disk.syncs_fail(false);
    disk.full(true);
    assert!(file.append(head(1, 10)).is_err());
    disk.full(false);
    assert_eq!(file.next_count(), 1);
    file.append(head(1, 11)).unwrap();
    assert_eq!(disk.bytes_of(HEADS_FILE).unwrap(), format!("{}\n", head(1, 11)).into_bytes());
}

#[test]
fn q7_an_untouched_journal_is_anchored_up_to_its_last_head() {
    let sample = Sample::new();
    let (report, anchoring) = sample.verified(&[]);
    assert!(report.intact, "{:?}", report.findings);
    assert_eq!((report.anchored, report.head.no), (Some(12), 13));
    assert_eq!((anchoring.heads, anchoring.good, anchoring.unchecked), (4, 4, 0));
    assert_eq!(anchoring.last.as_ref(), sample.heads.last());
    let (_, unchecked) = verify_anchored(&sample.disk, &[], &[]).unwrap();
    assert_eq!((unchecked.good, unchecked.unchecked), (0, 4));
    for head in &sample.heads {
        assert!(holds(&(Arc::new(sample.disk.clone()) as Arc<dyn Disk>), report.head, head).unwrap());
    }
}

#[test]
fn q7_a_chain_computed_anew_is_found_by_the_signed_head() {
    let sample = Sample::new();
    sample.chain_anew();
    assert!(verify(&sample.disk, &[]).unwrap().intact, "a walk alone does not see it");
    assert_eq!(sample.kinds(), [Anchor]);
    let end = verify(&sample.disk, &[]).unwrap().head;
    let disk: Arc<dyn Disk> = Arc::new(sample.disk.clone());
    assert!(!holds(&disk, end, &sample.heads[3]).unwrap() && holds(&disk, end, &sample.heads[2]).unwrap());
}

#[test]
fn q7_a_tail_cut_off_is_found_by_the_signed_head() {
    let sample = Sample::new();
    sample.disk.lose(&name_of(11));
    assert_eq!(sample.kinds(), [Anchor]);
    // Cut off the file as well, only a head that was kept elsewhere tells.
    sample.write(&sample.lines()[..3]);
    assert_eq!(sample.kinds(), []);
    let (report, _) = sample.verified(&[Noted::Signed(sample.heads[3].clone())]);
    assert_eq!(report.findings[0].kind, Anchor);
    let (report, _) = sample.verified(&[Noted::Plain(sample.heads[3].checkpoint.head)]);
    assert_eq!(report.findings[0].kind, Anchor);
}

#[test]
fn q7_q9_a_beginning_cut_off_is_found_unless_a_signed_head_says_it_was_dropped() {
    let sample = Sample::new();
    sample.disk.lose(&name_of(1));
    assert_eq!(sample.kinds(), [MissingSegment]);

    let head = sample.heads[1].checkpoint.head;
    assert_eq!(head.no, 5, "the last of the first segment");
    let mut lines = sample.lines();
    let book = |upto| lay_book(&sample.disk, upto, &mut &b"a book"[..]).unwrap();
    let dropped = HeadKind::DroppedTo { book: book(5) };
    lines.push(sample.signer.sign(5, dropped, head).to_string());
    sample.write(&lines);
    assert_eq!(sample.kinds(), []);
    assert_eq!(sample.verified(&[]).1.dropped.map(|signed| signed.checkpoint.head), Some(head));
    // The file keeps heads of records that are gone.
    assert_eq!(sample.verified(&[]).1.heads, 5);

    sample.disk.lose(&name_of(6));
    assert_eq!(sample.kinds(), [MissingSegment], "more is gone than it says");
    let dropped = HeadKind::DroppedTo { book: book(10) };
    let forged = sample.signer.sign(5, dropped, Head { no: 10, hash: [7; 32] });
    lines.pop();
    lines.push(forged.to_string());
    sample.write(&lines);
    assert_eq!(sample.kinds(), [Anchor], "not what the next segment follows on");
}

#[test]
fn q9_a_book_that_was_set_aside_and_is_gone_or_changed_is_found() {
    let sample = Sample::new();
    let shared: Arc<dyn Disk> = Arc::new(sample.disk.clone());
    let head = sample.heads[1].checkpoint.head;
    let kind = HeadKind::DroppedTo { book: lay_book(&sample.disk, 5, &mut &b"a book"[..]).unwrap() };
    let mut file = Heads::open(Arc::clone(&shared)).unwrap();
    file.append(sample.signer.sign(5, kind, head)).unwrap();
    assert_eq!(sample.kinds(), [], "before anything is dropped");
    let (mut journal, _) = Journal::open(Arc::clone(&shared), settings()).unwrap();
    assert!(journal.drop_oldest(5).unwrap() && !journal.drop_oldest(5).unwrap());
    assert_eq!((sample.kinds(), first_record(&sample.disk).unwrap()), (vec![], 6));
    // What stands last says where the journal stood all the same, and its first record may be the one behind a head.
    let file = Heads::open(Arc::clone(&shared)).unwrap();
    assert_eq!(file.last_at(), sample.heads.last());
    for head in file.last().into_iter().chain(&sample.heads) {
        assert!(holds(&shared, journal.head(), head).unwrap(), "{head}");
    }
    let other = sample.signer.sign(1, HeadKind::At, Head { hash: [1; 32], ..head });
    assert!(!holds(&shared, journal.head(), &other).unwrap());

    let mut taken = Vec::new();
    take_book(&sample.disk, &mut taken).unwrap();
    assert_eq!(taken, b"a book");
    let name = "00000000000000000005.book";
    sample.disk.tamper(name, b"a b00k".to_vec());
    assert_eq!(sample.kinds(), [Book]);
    assert!(take_book(&sample.disk, &mut Vec::new()).is_err());
    sample.disk.lose(name);
    assert_eq!(sample.kinds(), [Book]);
    let lost = take_book(&sample.disk, &mut Vec::new()).unwrap_err().to_string();
    assert!(lost.contains(name), "{lost}");
}

#[test]
fn q7_any_change_of_the_signed_heads_is_found() {
    let sample = Sample::new();
    let lines = sample.lines();
    let tampered = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        sample.write(&lines);
        sample.kinds()
    };
    assert_eq!(tampered(&|_| {}), []);
    assert_eq!(tampered(&|lines| drop(lines.remove(0))), [BadHead], "the first deleted");
    assert_eq!(tampered(&|lines| drop(lines.remove(2))), [BadHead], "one deleted");
    assert!(!tampered(&|lines| lines.swap(1, 2)).is_empty(), "reordered");
    assert_eq!(tampered(&|lines| lines.insert(1, lines[0].clone())), [BadHead], "inserted");
    assert!(tampered(&|lines| lines[1].truncate(40)).contains(&BadHead), "unreadable in the middle");
    let another = Signer::new(2);
    assert_eq!(
        tampered(
            &|lines| lines[3] = another.sign(4, HeadKind::At, sample.heads[3].checkpoint.head).to_string()
        ),
        [BadHead],
        "signed with another key"
    );
    for at in 0..lines[1].len() {
        let kinds = tampered(&|lines| {
            let mut bytes = lines[1].clone().into_bytes();
            bytes[at] ^= 1;
            lines[1] = String::from_utf8(bytes).unwrap();
        });
        assert!(kinds.contains(&BadHead), "byte {at}: {kinds:?}");
    }
}

#[test]
fn q7_signed_heads_that_are_gone_altogether_are_found_by_the_key() {
    let sample = Sample::new();
    sample.disk.lose(HEADS_FILE);
    assert_eq!(sample.kinds(), [BadHead]);
    sample.write(&[]);
    assert_eq!(sample.kinds(), [BadHead], "emptied");
    sample.disk.tamper(HEADS_FILE, b"\n\n".to_vec());
    assert_eq!(sample.kinds(), [BadHead], "emptied as a node does it with an unfinished line");
    // A node that crashed before its first head has no keys beside it either.
    assert!(verify_anchored(&sample.disk, &[], &[]).unwrap().0.intact);
}

#[test]
fn q7_segments_that_are_gone_altogether_are_found_by_what_lies_beside() {
    let sample = Sample::new();
    for first in [1, 6, 11] {
        sample.disk.lose(&name_of(first));
    }
    assert!(sample.kinds().contains(&MissingSegment));
    sample.disk.lose(HEADS_FILE);
    let noted = Noted::Plain(sample.heads[0].checkpoint.head);
    assert!(!sample.verified(&[noted]).0.intact, "a noted head tells of them");
    for (name, kinds) in
        [(HEAD_KEYS_FILE, &[MissingSegment, BadHead][..]), ("00000000000000000005.book", &[MissingSegment])]
    {
        sample.disk.tamper(name, b"x".to_vec());
        assert_eq!(sample.kinds(), kinds, "{name}");
        assert!(!verify_anchored(&sample.disk, &[], &[]).unwrap().0.intact, "{name}, without keys");
        sample.disk.lose(name);
    }
    let fault = verify_anchored(&sample.disk, &[], &[sample.signer.key]).unwrap_err().to_string();
    assert!(fault.contains("there is no journal here"), "{fault}");
}

#[test]
fn q7_heads_of_another_node_and_two_heads_of_one_record_are_found() {
    let sample = Sample::new();
    let checkpoint =
        Checkpoint::new("node b", 5, HeadKind::At, sample.heads[3].checkpoint.head, Wall::from_s(0));
    let signature = sample.signer.pair.sign(checkpoint.text(&sample.signer.key).as_bytes());
    let stranger = SignedHead::new(checkpoint, &sample.signer.key, signature.as_ref().try_into().unwrap());
    let (report, _) = sample.verified(&[Noted::Signed(stranger.clone())]);
    assert_eq!(report.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [BadHead]);
    // In the file they are found whatever else there is.
    let mut lines = sample.lines();
    lines.push(stranger.to_string());
    sample.write(&lines);
    assert_eq!(sample.kinds(), [BadHead]);
    sample.write(&sample.lines());
    let (report, _) = sample.verified(&[Noted::Plain(Head { no: 5, hash: [3; 32] })]);
    assert!(report.findings.iter().any(|finding| finding.kind == Anchor), "{:?}", report.findings);
}

#[test]
fn q7_of_a_log_that_many_nodes_write_the_heads_of_others_are_passed_over() {
    let (sample, other) = (Sample::new(), Signer::new(2));
    let theirs = |no| {
        let head = Head { no, hash: [9; 32] };
        let checkpoint = Checkpoint::new("node b", 1, HeadKind::At, head, Wall::from_s(0));
        let signature = other.pair.sign(checkpoint.text(&other.key).as_bytes());
        Noted::Signed(SignedHead::new(checkpoint, &other.key, signature.as_ref().try_into().unwrap()))
    };
    // One of a record that this journal has, and one of a record that it has not.
    let (report, anchoring) =
        sample.verified(&[theirs(8), Noted::Signed(sample.heads[2].clone()), theirs(99)]);
    assert!(report.intact, "{:?}", report.findings);
    assert_eq!((anchoring.strangers, anchoring.good, report.anchored), (2, 5, Some(12)));
    let (report, _) = sample.verified(&[theirs(8), theirs(99)]);
    assert_eq!(report.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [BadHead]);
    assert!(report.findings[0].text.contains("node%20b"), "{:?}", report.findings);
}

#[test]
fn q7_of_very_many_findings_a_thousand_are_kept_and_the_rest_is_counted() {
    let sample = Sample::new();
    let head = sample.heads[0].checkpoint.head;
    let of = |count| sample.signer.sign(count, HeadKind::At, head).to_string();
    sample.write(&(1..=1_500).map(of).collect::<Vec<_>>());
    let (report, _) = verify_anchored(&sample.disk, &[], &[Signer::new(2).key]).unwrap();
    assert_eq!((report.intact, report.findings.len(), report.more), (false, 1_000, 500));
    // A wrong key hides no other file's first finding.
    let mut bytes = sample.disk.bytes_of(&name_of(11)).unwrap();
    bytes[Frames::BEGIN + 70] ^= 1;
    sample.disk.tamper(&name_of(11), bytes);
    let noted: Vec<_> = (1..=3_000).map(|no| Noted::Plain(Head { no: 1_000 + no, ..head })).collect();
    let (report, _) = verify_anchored(&sample.disk, &noted, &[Signer::new(2).key]).unwrap();
    let places: std::collections::BTreeSet<_> =
        report.findings.iter().map(|finding| finding.segment.as_str()).collect();
    assert_eq!(places.into_iter().collect::<Vec<_>>(), [name_of(11).as_str(), HEADS_FILE]);
    assert_eq!((report.findings.len(), report.more), (1_001, 1 + 3_000 + 1_500 - 1_001));
}

#[test]
fn q7_an_unfinished_last_line_is_no_tampering() {
    let sample = Sample::new();
    let whole = sample.disk.bytes_of(HEADS_FILE).unwrap();
    let last = whole.len() - sample.lines()[3].len() - 1;
    for kept in last + 1..whole.len() {
        sample.disk.tamper(HEADS_FILE, whole[..kept].to_vec());
        let (report, anchoring) = sample.verified(&[]);
        assert!(report.intact, "{kept}: {:?}", report.findings);
        assert_eq!((report.anchored, anchoring.torn), (Some(8), Some(last as u64)));
        let mut zeros = whole[..kept].to_vec();
        zeros.resize(whole.len(), 0);
        sample.disk.tamper(HEADS_FILE, zeros);
        assert!(sample.verified(&[]).0.intact);
        let file = Heads::open(Arc::new(sample.disk.clone())).unwrap();
        assert_eq!(file.next_count(), 4);
        assert_eq!(sample.verified(&[]).1.torn, None, "mended");
    }
}

#[test]
fn a_file_that_no_crash_leaves_is_not_opened() {
    let sample = Sample::new();
    let mut bytes = sample.disk.bytes_of(HEADS_FILE).unwrap();
    bytes.extend_from_slice(&[b'x'; 700]);
    sample.disk.tamper(HEADS_FILE, bytes);
    let fault = Heads::open(Arc::new(sample.disk.clone())).unwrap_err();
    assert!(matches!(fault, crate::fault::Fault::Damaged(_)), "{fault}");
    assert_eq!(sample.kinds(), [BadHead]);
}
