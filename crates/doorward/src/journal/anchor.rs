//! Holds the chain to heads that were signed: what a walk alone cannot see, a chain computed anew or a cut end, they show.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::disk::{Disk, fault};
use super::heads::{
    HEAD_KEYS_FILE, HEADS_FILE, HeadKey, HeadKind, LINE_BYTES_MAX, Line, SignedHead, line_of,
};
use super::recover::segments;
use super::retention::{BOOK, book_hash, book_name, head_before, header_of};
use super::segment::name_of;
use super::verify::{Finding, FindingKind, Report, keep, verify_noted};
use super::{Hash, Head, read_from};
use crate::fault::Fault;

/// How often the whole is looked at, where a node drops records meanwhile.
const TRIES: u32 = 4;
/// How much of the file is read at a time, in bytes.
const CHUNK: usize = 64 * 1024;

/// A head that was kept elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Noted {
    /// Nobody vouches for it but whoever kept it.
    Plain(Head),
    /// A line of the log, or of a copy of the file.
    Signed(SignedHead),
}

/// What the signed heads showed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Anchoring {
    /// How many heads the file has.
    pub heads: u64,
    /// The last of them.
    pub last: Option<SignedHead>,
    /// How many signatures were found good, those of noted heads included.
    pub good: u64,
    /// How many were not checked, for want of any key.
    pub unchecked: u64,
    /// How many noted heads are of other nodes and were passed over: a log may be that of many.
    pub strangers: u64,
    /// The last that tells of dropped records.
    pub dropped: Option<SignedHead>,
    /// Where the unfinished last line begins that a crash left (or a write under way).
    pub torn: Option<u64>,
}

/// Walks the journal as [`verify`](super::verify()) does, held to the signed heads beside it and to `noted` ones.
///
/// Without `keys` signatures are not checked: then only noted heads prove anything against whoever could write both files.
/// Beside a writing instance it is right as well: heads are read first, and the journal is never behind them.
/// [`Fault::Disk`] where there is no journal, nor anything that tells of one.
pub fn verify_anchored(
    disk: &dyn Disk,
    noted: &[Noted],
    keys: &[HeadKey],
) -> Result<(Report, Anchoring), Fault> {
    for _ in 1..TRIES {
        let (before, looked) = (segments(disk)?, look(disk, noted, keys));
        if segments(disk)?.first() == before.first() {
            return looked;
        }
        // Records were dropped meanwhile: what was missed is no finding.
    }
    look(disk, noted, keys)
}

fn look(disk: &dyn Disk, noted: &[Noted], keys: &[HeadKey]) -> Result<(Report, Anchoring), Fault> {
    let mut lines =
        Lines { keys, findings: Vec::new(), more: 0, anchors: BTreeMap::new(), of: Anchoring::default() };
    let mut file = File::default();
    read_pieces(disk, |at, piece| file.piece(&mut lines, at, piece))?;
    file.finish(&mut lines);
    let node = node_of(disk)?;
    let is_strange = |signed: &SignedHead| node.as_ref().is_some_and(|node| !signed.checkpoint.is_of(node));
    let mut strangers = BTreeMap::new();
    for noted in noted {
        match noted {
            Noted::Plain(head) => lines.anchor("noted", 0, *head),
            Noted::Signed(signed) if is_strange(signed) => {
                lines.of.strangers += 1;
                strangers.entry(signed.checkpoint.node()).or_insert(signed);
            }
            Noted::Signed(signed) => lines.signed("noted", 0, signed),
        }
    }
    if lines.of.strangers == noted.len() as u64 {
        // Not one is of this node: so it is not the journal that was meant, or was put in its place.
        strangers.values().for_each(|signed| lines.stranger("noted", signed, node.as_deref()));
    }
    let in_file = file.nodes.values().filter(|signed| is_strange(signed));
    in_file.for_each(|signed| lines.stranger(HEADS_FILE, signed, node.as_deref()));
    // A line a minute, of years: there is one copy of them.
    let mut report = verify_noted(disk, std::mem::take(&mut lines.anchors))?;
    lines.findings.extend(dropped_unsaid(segments(disk)?.first().copied(), file.dropped));
    lines.findings.extend(book_lost(disk, file.dropped)?);
    let beside = Beside::look(disk)?;
    if report.segments == 0 {
        lines.findings.push(segments_lost(disk, &beside, noted)?);
    }
    if lines.of.heads == 0 && (beside.keys || report.records > 0 && !keys.is_empty()) {
        // A node signs a head at its start, and lays its keys beside it only then.
        let text = "there is no signed head, though there are keys that sign heads".to_owned();
        lines.find(HEADS_FILE, 0, 0, FindingKind::Head, text);
    }
    for finding in lines.findings {
        keep(&mut report.findings, &mut report.more, finding);
    }
    report.more = report.more.saturating_add(lines.more);
    report.intact = report.findings.is_empty();
    Ok((report, lines.of))
}

/// Whether a journal that ends with `end` still holds a head that was signed.
///
/// Of one that tells of dropped records only the number is compared: what it names is gone.
pub fn holds(disk: &Arc<dyn Disk>, end: Head, signed: &SignedHead) -> Result<bool, Fault> {
    let head = signed.checkpoint.head;
    let first = segments(&**disk)?.first().copied().unwrap_or(1);
    match signed.checkpoint.kind {
        HeadKind::DroppedTo { .. } => Ok(head.no <= end.no),
        HeadKind::At if head.no == 0 => Ok(head == Head::EMPTY),
        HeadKind::At if head.no > end.no => Ok(false),
        HeadKind::At if head.no.saturating_add(1) == first => Ok(head_before(&**disk, first)? == head),
        // Dropped: whoever signed that had looked.
        HeadKind::At if head.no < first => Ok(true),
        HeadKind::At => {
            let entry = read_from(Arc::clone(disk), head.no, head.no).next().transpose()?;
            Ok(entry.is_some_and(|entry| entry.hash == head.hash))
        }
    }
}

/// Calls for each piece of the file up to and with a line feed, with its offset; what is absurdly long comes in parts.
pub(super) fn read_pieces(disk: &dyn Disk, mut each: impl FnMut(u64, &[u8])) -> Result<(), Fault> {
    let failed = |error: std::io::Error| fault(disk, HEADS_FILE, &error);
    let file = match disk.open(HEADS_FILE) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(failed)?,
    };
    let (mut held, mut begins, mut chunk) = (Vec::new(), 0_u64, vec![0; CHUNK]);
    loop {
        let read = file.read_at(begins + held.len() as u64, &mut chunk).map_err(failed)?;
        held.extend_from_slice(&chunk[..read]);
        let mut done = 0;
        for piece in held.split_inclusive(|&b| b == b'\n') {
            let whole = piece.ends_with(b"\n") || read == 0 || piece.len() >= CHUNK;
            if whole {
                each(begins + done as u64, piece);
                done += piece.len();
            }
        }
        held.drain(..done);
        begins += done as u64;
        if read == 0 {
            return Ok(());
        }
    }
}

/// What holds for each signed head, wherever it was kept.
struct Lines<'k> {
    keys: &'k [HeadKey],
    findings: Vec<Finding>,
    /// How many more there are.
    more: u64,
    anchors: BTreeMap<u64, Hash>,
    of: Anchoring,
}

impl Lines<'_> {
    fn find(&mut self, place: &str, offset: u64, no: u64, kind: FindingKind, text: String) {
        let finding = Finding { segment: place.to_owned(), offset, no, kind, text };
        keep(&mut self.findings, &mut self.more, finding);
    }

    fn signed(&mut self, place: &str, offset: u64, signed: &SignedHead) {
        let head = signed.checkpoint.head;
        if self.keys.is_empty() {
            self.of.unchecked += 1;
        } else if self.keys.iter().any(|key| signed.is_signed_by(key)) {
            self.of.good += 1;
        } else {
            let known = self.keys.iter().any(|key| key.id() == signed.key);
            let key = &signed.key;
            let text = match known {
                true => format!("the signature with key {key} is not good"),
                false => format!("signed with key {key}, which is none of those given"),
            };
            self.find(place, offset, head.no, FindingKind::Head, text);
        }
        self.anchor(place, offset, head);
    }

    /// A head of another node than the journal's.
    fn stranger(&mut self, place: &str, signed: &SignedHead, node: Option<&str>) {
        let (of, node) = (signed.checkpoint.node(), node.unwrap_or_default());
        let text = format!("a head of node {of:?}, the journal is that of {node:?}");
        self.find(place, 0, signed.checkpoint.head.no, FindingKind::Head, text);
    }

    fn anchor(&mut self, place: &str, offset: u64, head: Head) {
        if self.anchors.insert(head.no, head.hash).is_some_and(|hash| hash != head.hash) {
            let no = head.no;
            let text = format!("another head of record {no} was noted as well");
            self.find(place, offset, no, FindingKind::Anchor, text);
        }
    }
}

/// What holds for the lines of the file among themselves.
#[derive(Default)]
struct File {
    /// Where lines began and ended that are no heads, since the last one that is.
    unreadable: Option<(u64, u64)>,
    /// The number in the last line that says where the journal stood.
    at: u64,
    /// The last line that says what was dropped.
    dropped: Option<(Head, Hash)>,
    /// A line of each node, by the node.
    nodes: BTreeMap<String, SignedHead>,
}

impl File {
    fn piece(&mut self, lines: &mut Lines<'_>, at: u64, piece: &[u8]) {
        match line_of(piece) {
            Line::Empty => {}
            Line::Unreadable => {
                let from = self.unreadable.map_or(at, |(from, _)| from);
                self.unreadable = Some((from, at + piece.len() as u64));
            }
            Line::Head(signed) => {
                if let Some((from, _)) = self.unreadable.take() {
                    self.unread(lines, from);
                }
                self.follows(lines, at, &signed);
                lines.signed(HEADS_FILE, at, &signed);
                self.nodes
                    .entry(signed.checkpoint.node().to_owned())
                    .or_insert_with(|| SignedHead::clone(&signed));
                lines.of.heads += 1;
                lines.of.last = Some(*signed);
            }
        }
    }

    /// Whether a head follows on the one before it.
    fn follows(&mut self, lines: &mut Lines<'_>, at: u64, signed: &SignedHead) {
        let (count, no) = (signed.checkpoint.count, signed.checkpoint.head.no);
        let expected = lines.of.last.as_ref().map_or(1, |last| last.checkpoint.count.saturating_add(1));
        let mut find = |text| lines.find(HEADS_FILE, at, no, FindingKind::Head, text);
        if count != expected {
            find(format!("head {count} comes where {expected} was expected"));
        }
        match signed.checkpoint.kind {
            HeadKind::At => {
                if no < self.at {
                    find(format!("stands at record {no}, the one before at {}", self.at));
                }
                self.at = no;
            }
            HeadKind::DroppedTo { book } => {
                if no > self.at || self.dropped.as_ref().is_some_and(|(dropped, _)| dropped.no > no) {
                    find(format!("tells of records dropped up to {no}, which cannot be"));
                }
                self.dropped = Some((signed.checkpoint.head, book));
                lines.of.dropped = Some(signed.clone());
            }
        }
    }

    fn unread(&self, lines: &mut Lines<'_>, from: u64) {
        let text = "no signed head is to be read here".to_owned();
        lines.find(HEADS_FILE, from, self.at, FindingKind::Head, text);
    }

    /// An unreadable end that is as long as one line at most is what a crash leaves.
    fn finish(&self, lines: &mut Lines<'_>) {
        match self.unreadable {
            Some((from, to)) if to - from <= LINE_BYTES_MAX => lines.of.torn = Some(from),
            Some((from, _)) => self.unread(lines, from),
            None => {}
        }
    }
}

/// Whose journal it is, as the first header says that reads back.
fn node_of(disk: &dyn Disk) -> Result<Option<String>, Fault> {
    for first in segments(disk)? {
        if let Some(header) = header_of(disk, first)? {
            return Ok(Some(header.node));
        }
    }
    Ok(None)
}

/// What lies beside the segments and was never there without them.
struct Beside {
    heads: bool,
    keys: bool,
    book: bool,
}

impl Beside {
    fn look(disk: &dyn Disk) -> Result<Self, Fault> {
        let names = disk.list().map_err(|error| fault(disk, "", &error))?;
        let is_there = |of: &str| names.iter().any(|name| name == of);
        let book = names.iter().any(|name| name.ends_with(BOOK));
        Ok(Self { heads: is_there(HEADS_FILE), keys: is_there(HEAD_KEYS_FILE), book })
    }
}

/// That no segment is there, which a node makes before anything else; a fault where nothing tells of any.
fn segments_lost(disk: &dyn Disk, beside: &Beside, noted: &[Noted]) -> Result<Finding, Fault> {
    if !beside.heads && !beside.keys && !beside.book && noted.is_empty() {
        return Err(Fault::Disk(format!("{}: there is no journal here", disk.place())));
    }
    Ok(Finding {
        segment: name_of(1),
        offset: 0,
        no: 1,
        kind: FindingKind::MissingSegment,
        text: "no segment is there, and what lies beside or was noted tells of some".to_owned(),
    })
}

/// Records that are missing at the beginning must have been dropped by retention, which says so and signs it (Q9).
fn dropped_unsaid(first: Option<u64>, dropped: Option<(Head, Hash)>) -> Option<Finding> {
    let first = first.filter(|&first| first > 1)?;
    if dropped.is_some_and(|(dropped, _)| dropped.no.saturating_add(1) >= first) {
        return None;
    }
    Some(Finding {
        segment: name_of(first),
        offset: 0,
        no: 1,
        kind: FindingKind::MissingSegment,
        text: format!(
            "the journal begins with record {first}, and no signed head says that older ones were dropped"
        ),
    })
}

/// The book that was set aside for dropped records, without which no other can be made: not there, or changed.
fn book_lost(disk: &dyn Disk, dropped: Option<(Head, Hash)>) -> Result<Option<Finding>, Fault> {
    let Some((head, signed)) = dropped else { return Ok(None) };
    let text = match book_hash(disk, head.no)? {
        Some(hash) if hash == signed => return Ok(None),
        Some(_) => "the book that was set aside is not the one that was signed",
        None => "the book that was set aside is not there",
    };
    let (segment, no) = (book_name(head.no), head.no);
    Ok(Some(Finding { segment, offset: 0, no, kind: FindingKind::Book, text: text.to_owned() }))
}
