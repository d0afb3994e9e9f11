//! Q7: every kind of tampering is found by `verify`, and told from a torn tail.

use std::io;
use std::sync::{Arc, Mutex};

use super::recover::segments;
use super::segment::{HEADER_BYTES, Header, SEAL_BYTES, Seal, encode_frame, name_of, stored_salt};
use super::walk::Frames;
use super::*;
use FindingKind::{AfterEnd, Anchor, Chain, Checksum, Gap, MissingSegment, Order, Seal as BadSeal};

const SEGMENT: usize = 4096;
const SEAL_AT: usize = SEGMENT - SEAL_BYTES;

fn settings() -> Settings {
    Settings { node: "node-a".to_owned(), segment_bytes: SEGMENT as u64 }
}

fn record(no: u64) -> Vec<u8> {
    format!("{{\"no\":{no},\"pad\":\"{}\"}}", "x".repeat(500)).into_bytes()
}

/// A journal of 13 records, a frame each, five to a segment: two sealed segments and three frames in the open one.
struct Sample {
    disk: PowerDisk,
    head: Head,
}

impl Sample {
    fn new() -> Self {
        let disk = PowerDisk::new();
        let (mut journal, _) = Journal::open(Arc::new(disk.clone()), settings()).unwrap();
        for no in 1..=13 {
            journal.append(&[record(no)]).unwrap();
        }
        assert_eq!(segments(&disk).unwrap(), [1, 6, 11]);
        Self { disk, head: journal.head() }
    }

    fn bytes(&self, first: u64) -> Vec<u8> {
        self.disk.bytes_of(&name_of(first)).unwrap()
    }

    /// Where each frame of a segment begins, and where they end.
    fn places(&self, first: u64) -> Vec<usize> {
        let bytes = self.bytes(first);
        let frames = Frames::new(&bytes, stored_salt(&bytes));
        let mut places = vec![Frames::BEGIN];
        while let Ok((head, _)) = frames.at(places[places.len() - 1]) {
            places.push(places[places.len() - 1] + head.bytes());
        }
        places
    }

    fn change(&self, first: u64, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.bytes(first);
        change(&mut bytes);
        self.disk.tamper(&name_of(first), bytes);
    }

    /// What `verify` finds without a noted head; never a torn tail.
    fn kinds(&self) -> Vec<FindingKind> {
        let report = verify(&self.disk, &[]).unwrap();
        assert_eq!(report.torn_tail, None, "{:?}", report.findings);
        assert_eq!(report.intact, report.findings.is_empty());
        assert_eq!((report.first, report.segments > 0), (report.first.max(1), true));
        report.findings.iter().map(|finding| finding.kind).collect()
    }

    fn opens(&self) -> bool {
        match Journal::open(Arc::new(self.disk.copy()), settings()) {
            Ok(_) => true,
            Err(fault) => {
                let text = fault.to_string();
                assert!(text.starts_with("damaged: ") && text.contains(".seg at offset "), "{text}");
                assert!(text.contains("doorward audit verify"), "{text}");
                false
            }
        }
    }

    /// Removes the nth frame of a segment, moving up those behind it.
    fn delete(&self, first: u64, nth: usize) {
        let places = self.places(first);
        self.change(first, |bytes| {
            let removed = places[nth + 1] - places[nth];
            bytes.copy_within(places[nth + 1]..SEAL_AT, places[nth]);
            bytes[SEAL_AT - removed..SEAL_AT].fill(0);
        });
    }
}

#[test]
fn q7_an_untouched_journal_is_intact_and_anchored() {
    let sample = Sample::new();
    let report = verify(&sample.disk, &[sample.head, Head::EMPTY]).unwrap();
    assert!(report.intact && sample.opens());
    assert_eq!((report.first, report.head, report.records, report.segments), (1, sample.head, 13, 3));
    assert_eq!(report.anchored, Some(13));
}

#[test]
fn q7_any_changed_byte_of_any_batch_is_found() {
    let sample = Sample::new();
    for (first, last) in [(1, 5), (6, 5), (11, 3)] {
        let places = sample.places(first);
        for nth in 0..last {
            // Every byte of head and record would take long in a debug build: each of the head, some behind.
            let head = (places[nth]..places[nth] + 60).chain((places[nth] + 60..places[nth + 1]).step_by(37));
            for at in head {
                let changed = Sample { disk: sample.disk.copy(), head: sample.head };
                changed.change(first, |bytes| bytes[at] ^= 0x11);
                if first == 11 && nth == last - 1 && (places[nth] + 4..places[nth] + 8).contains(&at) {
                    continue; // A longer length is what a missing end looks like; only a noted head tells.
                }
                assert!(!changed.kinds().is_empty(), "segment {first} byte {at}");
                assert!(first != 11 || !changed.opens(), "segment {first} byte {at}");
            }
        }
    }
}

#[test]
fn q7_a_changed_record_is_one_finding_that_names_it() {
    let sample = Sample::new();
    let place = sample.places(6)[2];
    sample.change(6, |bytes| bytes[place + 100] ^= 1);
    let report = verify(&sample.disk, &[]).unwrap();
    let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
    assert_eq!((finding.kind, finding.no, finding.offset), (Checksum, 8, place as u64));
    assert_eq!(finding.segment, name_of(6));
}

#[test]
fn q7_a_record_rewritten_with_its_checksum_breaks_the_chain() {
    for (first, nth) in [(1, 0), (6, 2), (6, 4), (11, 0)] {
        let sample = Sample::new();
        let place = sample.places(first)[nth];
        sample.change(first, |bytes| {
            let salt = stored_salt(bytes);
            let no = first + nth as u64;
            let mut forged = record(no);
            forged[20] = b'y';
            let mut frame = Vec::new();
            encode_frame(&mut frame, Head { no: no - 1, hash: [9; 32] }, &[forged], salt);
            bytes[place..place + frame.len()].copy_from_slice(&frame);
        });
        assert!(sample.kinds().contains(&Chain), "{:?}", sample.kinds());
        assert!(first != 11 || !sample.opens());
    }
}

#[test]
fn q7_a_deleted_record_is_found_at_head_middle_and_tail() {
    for (first, nth) in [(1, 0), (1, 2), (1, 4), (6, 0), (6, 1), (6, 4), (11, 0), (11, 1)] {
        let sample = Sample::new();
        sample.delete(first, nth);
        assert_eq!(sample.kinds(), [Gap], "segment {first} frame {nth}");
        assert!(first != 11 || !sample.opens());
    }
}

#[test]
fn q7_a_wiped_record_is_found() {
    for (first, nth) in [(1, 0), (6, 2), (11, 0), (11, 1)] {
        let sample = Sample::new();
        let places = sample.places(first);
        sample.change(first, |bytes| bytes[places[nth]..places[nth + 1]].fill(0));
        assert_eq!(sample.kinds(), [Checksum], "segment {first} frame {nth}");
        assert!(first != 11 || !sample.opens());
    }
}

#[test]
fn q7_a_missing_segment_is_found() {
    let sample = Sample::new();
    sample.disk.lose(&name_of(6));
    assert_eq!(sample.kinds(), [MissingSegment]);
    assert!(!sample.opens());
    let sample = Sample::new();
    sample.disk.lose(&name_of(11));
    let report = verify(&sample.disk, &[sample.head]).unwrap();
    assert_eq!(report.findings[0].kind, Anchor, "the last one is missed by a noted head alone");
}

#[test]
fn q7_segments_dropped_by_retention_are_no_finding() {
    let sample = Sample::new();
    sample.disk.lose(&name_of(1));
    let report = verify(&sample.disk, &[sample.head, Head { no: 2, hash: [1; 32] }]).unwrap();
    assert!(report.intact && sample.opens());
    assert_eq!((report.first, report.anchored), (6, Some(13)));
}

#[test]
fn q7_an_inserted_record_is_found() {
    let sample = Sample::new();
    let places = sample.places(11);
    sample.change(11, |bytes| {
        let copy = bytes[places[1]..places[2]].to_vec();
        bytes.copy_within(places[2]..places[3], places[2] + copy.len());
        bytes[places[2]..places[2] + copy.len()].copy_from_slice(&copy);
    });
    assert!(sample.kinds().contains(&Order), "{:?}", sample.kinds());
    assert!(!sample.opens());
}

#[test]
fn q7_reordered_records_and_segments_are_found() {
    let sample = Sample::new();
    let places = sample.places(6);
    sample.change(6, |bytes| {
        let (one, two) = (bytes[places[1]..places[2]].to_vec(), bytes[places[2]..places[3]].to_vec());
        bytes[places[1]..places[3]].copy_from_slice(&[two, one].concat());
    });
    assert!(sample.kinds().contains(&Order), "{:?}", sample.kinds());

    let sample = Sample::new();
    let (one, two) = (sample.bytes(1), sample.bytes(6));
    sample.change(1, |bytes| *bytes = two);
    sample.change(6, |bytes| *bytes = one);
    assert!(sample.kinds().contains(&FindingKind::Header) && sample.kinds().contains(&Order));
    assert!(!sample.opens());
}

#[test]
fn q7_a_batch_moved_from_another_segment_is_found() {
    let sample = Sample::new();
    let (from, to) = (sample.places(1)[0], sample.places(11)[3]);
    let frame = sample.bytes(1)[from..sample.places(1)[1]].to_vec();
    sample.change(11, |bytes| bytes[to..to + frame.len()].copy_from_slice(&frame));
    assert_eq!(sample.kinds(), [AfterEnd]);
    assert!(!sample.opens());
}

#[test]
fn q7_bytes_after_the_end_are_found() {
    for (first, behind) in [(1, 0), (1, 40), (6, 8), (11, 0), (11, 1), (11, 8)] {
        let sample = Sample::new();
        let end = *sample.places(first).last().unwrap();
        sample.change(first, |bytes| bytes[end + behind..end + behind + 20].fill(b'z'));
        assert_eq!(sample.kinds(), [AfterEnd], "segment {first} behind {behind}");
        assert!(first != 11 || !sample.opens());
    }
    let sample = Sample::new();
    sample.change(11, |bytes| bytes.extend_from_slice(b"more"));
    assert!(!sample.kinds().is_empty() && !sample.opens());
}

#[test]
fn q7_a_damaged_missing_or_forged_seal_is_found() {
    for at in [0, 9, 20, 30, 35, 50, 100, 511] {
        let sample = Sample::new();
        sample.change(6, |bytes| bytes[SEAL_AT + at] ^= 1);
        assert_eq!(sample.kinds(), [BadSeal], "byte {at}");
        assert!(!sample.opens());
    }
    let sample = Sample::new();
    sample.change(1, |bytes| bytes[SEAL_AT..].fill(0));
    assert_eq!(sample.kinds(), [BadSeal]);
    assert!(!sample.opens());

    let sample = Sample::new();
    sample.change(6, |bytes| {
        let head = Head { no: 10, hash: [3; 32] };
        let seal = Seal { first: 6, frames: 5, end: 3000, head };
        let sealed = seal.encode(stored_salt(bytes));
        bytes[SEAL_AT..].copy_from_slice(&sealed);
    });
    assert!(sample.kinds().contains(&BadSeal));
    assert!(!sample.opens());
}

#[test]
fn q7_a_changed_header_or_a_cut_segment_is_found() {
    for first in [1, 6, 11] {
        for at in [0, 9, 17, 25, 40, 70, 200, 511] {
            let sample = Sample::new();
            sample.change(first, |bytes| bytes[at] ^= 1);
            assert!(sample.kinds().contains(&FindingKind::Header), "segment {first} byte {at}");
            assert!(!sample.opens());
        }
        for length in [0, 100, 512, 2000, 4000] {
            let sample = Sample::new();
            sample.change(first, |bytes| bytes.truncate(length));
            if first == 11 && length <= 512 {
                continue; // Looks like a segment being made: a noted head tells, below.
            }
            assert!(!sample.kinds().is_empty(), "segment {first} cut to {length}");
            assert!(!sample.opens());
        }
    }
}

#[test]
fn q7_a_segment_of_another_node_is_found() {
    let sample = Sample::new();
    sample.change(11, |bytes| {
        let (mut header, _) = Header::parse(bytes).unwrap();
        header.node = "node-b".to_owned();
        bytes[..HEADER_BYTES].copy_from_slice(&header.encode().0);
    });
    assert!(sample.kinds().contains(&FindingKind::Header));
}

#[test]
fn q7_what_only_a_noted_head_can_tell_is_told_by_it() {
    // Chained anew from record 12 on, all checksums right.
    let sample = Sample::new();
    let places = sample.places(11);
    let before = verify(&sample.disk, &[]).unwrap();
    sample.change(11, |bytes| {
        let salt = stored_salt(bytes);
        let head = read_from(Arc::new(sample.disk.clone()), 11, 11).next().unwrap().unwrap();
        let mut head = Head { no: 11, hash: head.hash };
        let mut at = places[1];
        for forged in [b"forged 12", b"forged 13"] {
            let mut frame = Vec::new();
            head = encode_frame(&mut frame, head, &[forged], salt);
            bytes[at..at + frame.len()].copy_from_slice(&frame);
            at += frame.len();
        }
        bytes[at..].fill(0);
    });
    assert!(sample.kinds().is_empty() && sample.opens());
    let report = verify(&sample.disk, &[before.head]).unwrap();
    assert_eq!(report.findings[0].kind, Anchor);

    // The last records cut off, as if they had never been.
    for keep in [SEGMENT, HEADER_BYTES, 0] {
        let sample = Sample::new();
        let end = sample.places(11)[1];
        sample.change(11, |bytes| {
            bytes[end..].fill(0);
            bytes.truncate(keep);
        });
        assert!(verify(&sample.disk, &[]).unwrap().intact);
        let report = verify(&sample.disk, &[sample.head]).unwrap();
        assert_eq!(report.findings.iter().map(|f| f.kind).collect::<Vec<_>>(), [Anchor]);
        assert!(report.findings[0].text.contains("record 13"), "{}", report.findings[0]);
    }
}

#[test]
fn q7_a_torn_tail_is_not_tampering() {
    let sample = Sample::new();
    let places = sample.places(11);
    sample.change(11, |bytes| bytes[places[2] + 300..].fill(0));
    let report = verify(&sample.disk, &[]).unwrap();
    assert!(report.intact);
    assert_eq!(report.torn_tail.as_ref().map(|torn| torn.offset), Some(places[2] as u64));
    let (journal, recovery) = Journal::open(Arc::new(sample.disk.clone()), settings()).unwrap();
    assert_eq!((journal.head().no, recovery.torn), (12, report.torn_tail));
    assert_eq!(sample.kinds(), []);
}

#[test]
fn q7_an_unfinished_batch_in_a_sealed_segment_is_tampering() {
    let sample = Sample::new();
    let places = sample.places(6);
    sample.change(6, |bytes| bytes[places[4] + 300..SEAL_AT].fill(0));
    assert!(!sample.kinds().is_empty());
}

/// A disk that at first shows the last segment as it never was: as a reader may see it while two batches are written.
struct BeingWritten {
    disk: PowerDisk,
    /// What is shown, each once, the last first.
    shown: Mutex<Vec<Vec<u8>>>,
}

impl Disk for BeingWritten {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let shown = if name == name_of(11) { self.shown.lock().unwrap().pop() } else { None };
        let Some(bytes) = shown else { return self.disk.open(name) };
        let other = PowerDisk::new();
        other.tamper(name, bytes);
        other.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.create(name)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }

    fn place(&self) -> String {
        self.disk.place()
    }
}

#[test]
fn q7_what_looks_damaged_only_while_it_is_written_is_no_tampering() {
    let sample = Sample::new();
    let places = sample.places(11);
    let without = |nth: usize| {
        let mut bytes = sample.bytes(11);
        bytes[places[nth]..places[nth] + 100].fill(0);
        bytes
    };
    let seen = |shown: Vec<Vec<u8>>| {
        let disk = BeingWritten { disk: sample.disk.clone(), shown: Mutex::new(shown) };
        let report = verify(&disk, &[sample.head]).unwrap();
        (report.findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), report.anchored)
    };
    assert_eq!(seen(vec![]), (vec![], Some(13)));
    assert_eq!(seen(vec![without(1)]), (vec![], Some(13)), "the beginning of one batch, and the next whole");
    assert_eq!(seen(vec![without(1), without(0)]), (vec![], Some(13)), "and once more, further back");
    let mut sealed = sample.bytes(11);
    sealed[places[1]..SEAL_AT].fill(0);
    let seal = Seal { first: 11, frames: 3, end: places[3] as u64, head: sample.head };
    sealed[SEAL_AT..].copy_from_slice(&seal.encode(stored_salt(&sample.bytes(11))));
    assert_eq!(seen(vec![sealed]), (vec![], Some(13)), "its seal, and its batches not yet");
    assert_eq!(seen(vec![without(1), without(1)]).0, [Checksum], "twice at one place");
}
