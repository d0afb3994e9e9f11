//! Walks the frames of a segment in memory and judges what stands where they end. Pure: bytes in, verdict out.

use super::segment::{ALIGN, FRAME_MAGIC, FrameHead, HEADER_BYTES, Records, SEAL_BYTES, SECTOR};

/// The part of a segment that holds frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frames<'a> {
    /// The segment up to where its seal begins.
    bytes: &'a [u8],
    salt: u32,
}

/// What stands where the frames end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Zeros up to the seal's place.
    Clean,
    /// A batch whose write a crash cut short: `bytes` up to the last that is not zero.
    Torn { bytes: usize },
    /// No crash leaves this; `next` is where a valid frame follows, if one does.
    Damaged { next: Option<usize>, why: &'static str },
}

impl<'a> Frames<'a> {
    /// The first frame's place.
    pub(crate) const BEGIN: usize = HEADER_BYTES;

    /// Over a whole segment; one shorter than header and seal has no frames.
    pub(crate) fn new(segment: &'a [u8], salt: u32) -> Self {
        let end = segment.len().saturating_sub(SEAL_BYTES);
        Self { bytes: &segment[..end.max(HEADER_BYTES).min(segment.len())], salt }
    }

    /// The valid frame at `at`; the error says why there is none.
    pub(crate) fn at(&self, at: usize) -> Result<(FrameHead, Records<'a>), &'static str> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let Some(head) = FrameHead::parse(rest, rest.len()) else { return Err("no batch begins here") };
        head.records(rest, self.salt).map(|records| (head, records))
    }

    /// The frame's fixed part at `at`, whether or not the frame is valid.
    pub(crate) fn head_at(&self, at: usize) -> Option<FrameHead> {
        let rest = self.bytes.get(at..)?;
        FrameHead::parse(rest, rest.len())
    }

    /// The first valid frame behind `at`.
    pub(crate) fn next_valid(&self, at: usize) -> Option<usize> {
        let from = (at + 1).next_multiple_of(ALIGN);
        (from..self.bytes.len()).step_by(ALIGN).find(|&at| {
            self.bytes.get(at..at + FRAME_MAGIC.len()) == Some(&FRAME_MAGIC[..]) && self.at(at).is_ok()
        })
    }

    /// Judges the bytes from `at` on, where no valid frame begins.
    pub(crate) fn tail(&self, at: usize) -> Tail {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let used = used(rest);
        if used == 0 {
            return Tail::Clean;
        }
        if let Some(next) = self.next_valid(at) {
            let why = self.at(at).err().unwrap_or("no batch begins here");
            return Tail::Damaged { next: Some(next), why };
        }
        match self.not_torn(at) {
            Some(why) => Tail::Damaged { next: None, why },
            None => Tail::Torn { bytes: used },
        }
    }

    /// Why what stands at `at` cannot be a write that a crash cut short.
    ///
    /// The place was zero before, and a crash leaves each sector as it was, as it should be, or (one whose
    /// write was under way) new up to some byte and zero from there. So some sector must end in a zero where
    /// the frame has none.
    fn not_torn(&self, at: usize) -> Option<&'static str> {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let first_sector = &rest[..rest.len().min(SECTOR - at % SECTOR)];
        let used = first_sector.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        let magic = used.min(FRAME_MAGIC.len());
        // Recovery wipes what begins a torn batch last, and may itself be cut short there.
        let wiped = rest.iter().skip(ALIGN).all(|&b| b == 0)
            && rest.iter().zip(&FRAME_MAGIC).all(|(&is, &magic)| is == 0 || is == magic);
        if wiped {
            return None;
        }
        if first_sector[..magic] != FRAME_MAGIC[..magic] {
            return Some("bytes behind the end that no batch begins with");
        }
        // Without a length that can be one, only the first sector is known to belong to the batch.
        let frame = &rest[..FrameHead::extent(rest).unwrap_or(first_sector.len())];
        let (begun, whole) = frame.split_at(first_sector.len().min(frame.len()));
        let cut_short = std::iter::once(begun).chain(whole.chunks(SECTOR)).any(|s| s.last() == Some(&0));
        (!cut_short).then_some("the batch is complete but was changed after it was written")
    }
}

/// Of a segment most bytes are zero: they are compared block by block.
const ZEROS: [u8; 4096] = [0; 4096];

/// Whether all bytes are zero.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|block| *block == ZEROS[..block.len()])
}

/// How many bytes there are before the zeros at the end.
pub(super) fn used(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    while let Some(begin) = end.checked_sub(ZEROS.len())
        && bytes[begin..end] == ZEROS
    {
        end = begin;
    }
    bytes[..end].iter().rposition(|&b| b != 0).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::super::Head;
    use super::super::segment::encode_frame;
    use super::*;

    const SALT: u32 = 7;

    fn segment(records: &[&[u8]]) -> (Vec<u8>, usize) {
        let mut out = vec![0; 8192];
        let mut frame = Vec::new();
        encode_frame(&mut frame, Head::EMPTY, records, SALT);
        out[512..512 + frame.len()].copy_from_slice(&frame);
        (out, frame.len())
    }

    #[test]
    fn every_byte_prefix_of_a_frame_is_a_torn_tail() {
        let record = [b'x'; 1500];
        let (whole, length) = segment(&[&record, b"{}"]);
        for kept in 1..length - 2 {
            let mut bytes = whole.clone();
            bytes[512 + kept..].fill(0);
            let frames = Frames::new(&bytes, SALT);
            assert!(frames.at(512).is_err());
            assert!(matches!(frames.tail(512), Tail::Torn { .. }), "kept {kept}: {:?}", frames.tail(512));
        }
    }

    #[test]
    fn every_lost_sector_of_a_frame_is_a_torn_tail() {
        let (whole, length) = segment(&[&[b'x'; 1500], b"{}"]);
        let sectors = length.div_ceil(512);
        for lost in 1..(1 << sectors) - 1_u32 {
            let mut bytes = whole.clone();
            for sector in (0..sectors).filter(|s| lost & (1 << s) != 0) {
                bytes[512 + sector * 512..1024 + sector * 512].fill(0);
            }
            assert!(matches!(Frames::new(&bytes, SALT).tail(512), Tail::Torn { .. }), "lost {lost:b}");
        }
    }

    #[test]
    fn q7_a_changed_byte_of_the_last_frame_is_not_a_torn_tail() {
        let (whole, length) = segment(&[&[b'x'; 1500], b"{}"]);
        // Not the length itself: a longer one looks like a batch whose end is missing.
        for at in (0..length).filter(|at| !(4..8).contains(at)) {
            let mut bytes = whole.clone();
            bytes[512 + at] ^= 0x40;
            let frames = Frames::new(&bytes, SALT);
            assert!(frames.at(512).is_err());
            assert!(matches!(frames.tail(512), Tail::Damaged { next: None, .. }), "changed {at}");
        }
    }

    #[test]
    fn a_record_that_looks_like_a_frame_is_not_taken_for_one() {
        let mut inner = Vec::new();
        encode_frame(&mut inner, Head::EMPTY, &[b"forged"], SALT + 1);
        inner.resize(1024, b'x');
        let mut record = vec![b'x'; 4];
        for _ in 0..4 {
            record.extend_from_slice(&inner);
        }
        let (mut bytes, _) = segment(&[&record]);
        bytes[512..1024].fill(0);
        assert!(matches!(Frames::new(&bytes, SALT).tail(512), Tail::Torn { .. }));
    }

    #[test]
    fn zeros_at_the_end_are_not_counted_wherever_they_begin() {
        for len in [0, 1, 4095, 4096, 4097, 12_288, 12_300] {
            assert_eq!(used(&vec![0; len]), 0);
            assert!(is_blank(&vec![0; len]));
            for last in [0, 1, 4095, 4096, 8191, 8192, 12_287, 12_299].into_iter().filter(|last| *last < len)
            {
                let mut bytes = vec![0; len];
                bytes[last] = 1;
                assert_eq!(used(&bytes), last + 1, "{len}");
                assert!(!is_blank(&bytes), "{len}: {last}");
            }
        }
    }
}
