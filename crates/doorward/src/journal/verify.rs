//! Walks the whole journal and tells a torn tail from tampering (`doorward audit verify`).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::append::{Journal, Settings};
use super::disk::{Disk, read_whole};
use super::power_disk::PowerDisk;
use super::recover::segments;
use super::segment::{
    HEADER_BYTES, Header, SEAL_BYTES, SEGMENT_BYTES_MAX, Seal, WRONG_VERSION, name_of, stored_salt,
};
use super::walk::{Frames, Tail};
use super::{Hash, Head, Torn, read_from};
use crate::fault::Fault;

/// How often the last segment is read where it looks damaged.
const TRIES: usize = 4;

/// What is wrong at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// A segment's header does not read back, or contradicts its name, its size or its neighbours.
    Header,
    /// A batch does not read back as it was written.
    Checksum,
    /// A batch or segment does not follow on the records before it: one of them was changed.
    Chain,
    /// Records are missing inside or at the end of a segment.
    Gap,
    /// A whole segment is missing.
    MissingSegment,
    /// Records come again, or in another order.
    Order,
    /// Bytes where nothing was ever written.
    AfterEnd,
    /// A seal is missing, does not read back, or does not say what the segment holds.
    Seal,
    /// The journal does not hold what a head noted elsewhere says.
    Anchor,
    /// A signed head does not read back, is not signed by a known key, or is not where it was written.
    Head,
    /// The book that was set aside for dropped records is not there, or not the one that was signed.
    Book,
}

impl FindingKind {
    /// The word for tables and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Checksum => "checksum",
            Self::Chain => "chain",
            Self::Gap => "gap",
            Self::MissingSegment => "missing-segment",
            Self::Order => "order",
            Self::AfterEnd => "after-end",
            Self::Seal => "seal",
            Self::Anchor => "anchor",
            Self::Head => "head",
            Self::Book => "book",
        }
    }
}

/// How many findings are kept, besides the first of each file: more would say nothing that these do not.
const FINDINGS_MAX: usize = 1_000;

/// One thing that no crash explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// File name of the segment.
    pub segment: String,
    /// Where in it.
    pub offset: u64,
    /// The record that was to be there.
    pub no: u64,
    /// What kind.
    pub kind: FindingKind,
    /// The same in words, with what was expected.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segment, offset, no, kind, text } = self;
        write!(f, "{segment} at offset {offset}, record {no}: {}: {text}", kind.name())
    }
}

/// What a walk over the whole journal found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// No findings. A torn tail is none: opening drops it.
    pub intact: bool,
    /// The node's name, where a header says it.
    pub node: Option<String>,
    /// The first record there is; retention drops older ones. 0 when there is none.
    pub first: u64,
    /// The last record, with its hash.
    pub head: Head,
    /// How many records read back well.
    pub records: u64,
    /// How many segments there are.
    pub segments: u64,
    /// The unfinished end that a crash left (or a write under way).
    pub torn_tail: Option<Torn>,
    /// Up to which record a noted head vouches for the chain, all that comes before the first finding.
    pub anchored: Option<u64>,
    /// What no crash explains, in order of place: the first thousand, and the first of each file behind them.
    pub findings: Vec<Finding>,
    /// How many more there are, which are not kept.
    pub more: u64,
}

/// Keeps a finding, or counts it in `more` where there are very many.
pub(super) fn keep(findings: &mut Vec<Finding>, more: &mut u64, finding: Finding) {
    let is_first = findings.last().is_none_or(|last| last.segment != finding.segment);
    if is_first || findings.len() < FINDINGS_MAX {
        findings.push(finding);
    } else {
        *more = more.saturating_add(1);
    }
}

/// Walks every segment: checksums, numbers, chain, seals, and the bytes where nothing should be.
///
/// `noted` are heads that were kept elsewhere; without one, records cut off the end of the last segment and a
/// chain computed anew from some record on cannot be seen. Holds one segment in memory. Needs no lock; beside
/// a writing instance the last batch may show as torn, and what is only being written is no finding.
pub fn verify(disk: &dyn Disk, noted: &[Head]) -> Result<Report, Fault> {
    verify_noted(disk, noted.iter().map(|head| (head.no, head.hash)).collect())
}

/// The same with the hashes of noted heads by their numbers, which may be very many.
pub(super) fn verify_noted(disk: &dyn Disk, noted: BTreeMap<u64, Hash>) -> Result<Report, Fault> {
    let firsts = segments(disk)?;
    let mut walk = Walk::new(noted, firsts.len());
    let Some((&last, sealed)) = firsts.split_last() else { return Ok(walk.finish()) };
    for &first in sealed {
        walk.segment(first, &read_whole(disk, &name_of(first), SEGMENT_BYTES_MAX)?, false);
    }
    Ok(walk.last(disk, last)?.finish())
}

#[derive(Clone)]
struct Walk {
    report: Report,
    /// Noted heads not come by yet.
    noted: BTreeMap<u64, Hash>,
    node: Option<String>,
    segment: String,
    /// The record before the next one; its hash is `None` where damage hides it.
    no: u64,
    hash: Option<Hash>,
    /// Damage hides which number comes next.
    lost_count: bool,
}

impl Walk {
    fn new(noted: BTreeMap<u64, Hash>, segments: usize) -> Self {
        let report = Report {
            intact: true,
            node: None,
            first: 0,
            head: Head::EMPTY,
            records: 0,
            segments: segments as u64,
            torn_tail: None,
            anchored: None,
            findings: Vec::new(),
            more: 0,
        };
        Self { report, noted, node: None, segment: String::new(), no: 0, hash: None, lost_count: true }
    }

    fn find(&mut self, offset: usize, kind: FindingKind, text: impl Into<String>) {
        let (segment, no) = (self.segment.clone(), self.no.saturating_add(1));
        let finding = Finding { segment, offset: offset as u64, no, kind, text: text.into() };
        keep(&mut self.report.findings, &mut self.report.more, finding);
    }

    fn torn(&mut self, offset: usize, bytes: usize) {
        let segment = self.segment.clone();
        self.report.torn_tail = Some(Torn { segment, offset: offset as u64, bytes: bytes as u64 });
    }

    fn go_on(&mut self, head: Head) {
        (self.no, self.hash, self.lost_count) = (head.no, Some(head.hash), false);
    }

    /// The segment that may be written to meanwhile: reads and writes are not atomic to each other, so what looks damaged
    /// is read again, and believed when it is found twice at one place.
    fn last(self, disk: &dyn Disk, first: u64) -> Result<Self, Fault> {
        let mut found = None;
        for _ in 1..TRIES {
            let mut walk = self.clone();
            walk.segment(first, &read_whole(disk, &name_of(first), SEGMENT_BYTES_MAX)?, true);
            let new = walk.report.findings.iter().find(|finding| finding.segment == walk.segment);
            let place = new.map(|finding| (finding.kind, finding.offset));
            if place.is_none() || place == found {
                return Ok(walk);
            }
            found = place;
        }
        let mut walk = self;
        walk.segment(first, &read_whole(disk, &name_of(first), SEGMENT_BYTES_MAX)?, true);
        Ok(walk)
    }

    fn segment(&mut self, first: u64, bytes: &[u8], is_last: bool) {
        self.segment = name_of(first);
        let blank = bytes.get(HEADER_BYTES..).unwrap_or_default().iter().all(|&b| b == 0);
        let salt = match Header::parse(bytes) {
            Ok((header, salt)) => {
                self.header(first, &header);
                if header.size > bytes.len() as u64 && blank && is_last {
                    return self.unfinished(bytes);
                }
                if header.size != bytes.len() as u64 {
                    let (is, says) = (bytes.len(), header.size);
                    self.find(bytes.len(), FindingKind::Header, format!("{is} bytes long, not {says}"));
                }
                salt
            }
            Err(what) if is_last && blank && what != WRONG_VERSION => {
                self.number(first, 0);
                return self.unfinished(bytes);
            }
            Err(what) => {
                self.number(first, 0);
                self.find(0, FindingKind::Header, what);
                if bytes.len() < HEADER_BYTES + SEAL_BYTES {
                    return;
                }
                stored_salt(bytes)
            }
        };
        let seal_at = bytes.len().saturating_sub(SEAL_BYTES).max(HEADER_BYTES).min(bytes.len());
        let seal = Seal::parse(&bytes[seal_at..], salt);
        let unsealed = is_last && seal == Ok(None);
        let (frames, end) = self.frames(&Frames::new(bytes, salt), unsealed);
        self.seal(seal, first, frames, seal_at, end, is_last);
    }

    fn unfinished(&mut self, bytes: &[u8]) {
        let used = bytes.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        self.torn(0, used);
    }

    fn header(&mut self, first: u64, header: &Header) {
        if header.first != first {
            let says = header.first;
            self.find(0, FindingKind::Header, format!("the header says it begins with record {says}"));
        }
        if self.node.as_ref().is_some_and(|node| *node != header.node) {
            self.find(0, FindingKind::Header, format!("belongs to node {:?}", header.node));
        }
        self.node.get_or_insert_with(|| header.node.clone());
        self.number(header.first, 0);
        let before = header.head_before();
        if self.hash.is_some_and(|hash| hash != before.hash) || (before.no == 0 && before != Head::EMPTY) {
            self.find(0, FindingKind::Chain, "the segment does not follow on the record before it");
        }
        self.anchor(before, 0);
        self.go_on(before);
    }

    /// Compares the number that comes next with what was expected, and goes on from it. At offset 0, where a
    /// segment begins, a jump means that a segment is missing.
    fn number(&mut self, next: u64, offset: usize) {
        let expected = self.no.saturating_add(1);
        if next != expected && !self.lost_count {
            let kind = match next > expected {
                true if offset == 0 => FindingKind::MissingSegment,
                true => FindingKind::Gap,
                false => FindingKind::Order,
            };
            self.find(offset, kind, format!("record {next} comes where {expected} was expected"));
        }
        if next != expected {
            (self.no, self.hash) = (next.saturating_sub(1), None);
        }
        self.lost_count = false;
    }

    /// Walks the frames; the answer is how many, and where they end.
    fn frames(&mut self, frames: &Frames<'_>, may_be_torn: bool) -> (u64, usize) {
        let (mut at, mut count) = (Frames::BEGIN, 0);
        loop {
            while let Ok((head, records)) = frames.at(at) {
                self.number(head.first, at);
                let mut chain = self.hash.map(|hash| Head { no: self.no, hash });
                for record in records {
                    chain = chain.map(|chain| chain.next(record));
                    if let Some(chain) = chain {
                        self.anchor(chain, at);
                    }
                }
                if chain.is_some_and(|chain| chain != head.head()) {
                    self.find(at, FindingKind::Chain, "the batch does not follow on the record before it");
                }
                if self.report.records == 0 {
                    self.report.first = head.first;
                }
                self.report.records += u64::from(head.count);
                self.report.head = head.head();
                self.go_on(head.head());
                (at, count) = (at + head.bytes(), count + 1);
            }
            let (next, why) = match frames.tail(at) {
                Tail::Clean => return (count, at),
                Tail::Torn { bytes } if may_be_torn => {
                    self.torn(at, bytes);
                    return (count, at);
                }
                Tail::Torn { .. } => (None, "an unfinished batch, but the segment was sealed or followed"),
                Tail::Damaged { next, why } => (next, why),
            };
            self.damage(frames, at, next, why);
            let Some(next) = next else { return (count, at) };
            at = next;
        }
    }

    /// Notes a batch that does not read back, and what can be told of how the records go on behind it.
    fn damage(&mut self, frames: &Frames<'_>, at: usize, next: Option<usize>, why: &str) {
        let claimed = frames.head_at(at).filter(|head| head.first == self.no.saturating_add(1));
        let kind = match (claimed, next) {
            (None, None) => FindingKind::AfterEnd,
            _ => FindingKind::Checksum,
        };
        self.find(at, kind, why);
        match claimed.filter(|head| next.is_none_or(|next| at + head.bytes() == next)) {
            Some(head) => (self.no, self.hash) = (head.head().no, None),
            None => (self.hash, self.lost_count) = (None, true),
        }
    }

    fn anchor(&mut self, chain: Head, at: usize) {
        match self.noted.remove(&chain.no) {
            // Behind what was changed the chain goes on, but it vouches for nothing before.
            Some(hash) if hash == chain.hash && self.report.findings.is_empty() => {
                self.report.anchored = Some(chain.no);
            }
            Some(hash) if hash == chain.hash => {}
            Some(_) => {
                let no = chain.no;
                self.find(
                    at,
                    FindingKind::Anchor,
                    format!("record {no} is not the one whose head was noted"),
                );
            }
            None => {}
        }
    }

    fn seal(
        &mut self,
        seal: Result<Option<Seal>, &'static str>,
        first: u64,
        frames: u64,
        seal_at: usize,
        end: usize,
        is_last: bool,
    ) {
        match seal {
            Ok(Some(seal)) => {
                if seal.head.no > self.no && !self.lost_count {
                    let (says, last) = (seal.head.no, self.no);
                    let text = format!("the segment ends with record {last}, its seal says {says}");
                    self.find(end, FindingKind::Gap, text);
                } else if self.hash.is_some() && self.found_none_here() {
                    let head = Head { no: self.no, hash: self.hash.unwrap_or_default() };
                    if seal != (Seal { first, frames, end: end as u64, head }) {
                        self.find(seal_at, FindingKind::Seal, "the seal does not say what the segment holds");
                    }
                }
                self.go_on(seal.head);
            }
            Ok(None) if is_last => {}
            Ok(None) => {
                self.find(seal_at, FindingKind::Seal, "the segment has no seal, but another follows it");
            }
            // A crash may tear the seal too, but only where all frames before it are sound.
            Err(_) if is_last && frames > 0 && self.found_none_here() && self.report.torn_tail.is_none() => {
                self.torn(seal_at, SEAL_BYTES);
            }
            Err(what) => self.find(seal_at, FindingKind::Seal, what),
        }
    }

    fn found_none_here(&self) -> bool {
        self.report.findings.last().is_none_or(|finding| finding.segment != self.segment)
    }

    fn finish(mut self) -> Report {
        let head = self.report.head;
        let missing = std::mem::take(&mut self.noted).split_off(&head.no.saturating_add(1));
        for no in missing.into_keys() {
            let last = head.no;
            self.find(
                0,
                FindingKind::Anchor,
                format!("the head of record {no} was noted, the journal ends with {last}"),
            );
        }
        self.report.intact = self.report.findings.is_empty();
        self.report.node = self.node;
        self.report
    }
}

/// Reads any bytes as a segment in every way there is. For fuzzing: it must neither panic nor contradict
/// itself.
///
/// # Panics
///
/// Where opening takes a segment in which [`verify`] finds damage, or appending to it breaks it.
pub fn fuzz_frames(data: &[u8]) {
    let disk = PowerDisk::new();
    disk.tamper(&name_of(1), data.to_vec());
    let report = verify(&disk, &[]);
    let read = read_from(Arc::new(disk.clone()), 1, u64::MAX).take(1000).filter(Result::is_ok).count();
    let node = Header::parse(data).map_or_else(|_| "fuzz".to_owned(), |(header, _)| header.node);
    let settings = Settings { node, segment_bytes: super::SEGMENT_BYTES_MIN };
    let opened = Journal::open(Arc::new(disk.clone()), settings);
    let (Ok(report), Ok((mut journal, recovery))) = (report, opened) else { return };
    assert!(report.intact, "opened although {:?}", report.findings);
    assert_eq!((report.head, report.torn_tail), (recovery.head, recovery.torn));
    assert!(read as u64 >= report.records.min(1000));
    if journal.append(&[b"one more"]).is_ok() {
        let report = verify(&disk, &[journal.head()]);
        assert!(report.is_ok_and(|report| report.intact && report.torn_tail.is_none()));
    }
}
