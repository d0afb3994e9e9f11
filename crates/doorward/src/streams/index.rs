//! Where the messages of a segment stand: whole in memory while it grows, in a file beside it afterwards.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;

use doorward_core::stream::Epoch;
use doorward_core::time::Wall;

use super::entry::{Direction, Name, StreamNo};

/// Where an outbound message stands in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) number: u64,
    /// Of its record.
    pub(super) offset: u32,
}

/// What a segment holds of one stream and epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) stream: StreamNo,
    pub(super) epoch: Epoch,
    /// Inbound messages, and the highest of their numbers.
    pub(super) inbound: u32,
    pub(super) inbound_last: u64,
    /// Outbound messages, and the lowest and highest of their numbers.
    pub(super) outbound: u32,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Range {
    /// The numbers of `range` that this segment may hold.
    pub(super) fn overlap(&self, range: &RangeInclusive<u64>) -> Option<RangeInclusive<u64>> {
        let (from, to) = (self.first.max(*range.start()), self.last.min(*range.end()));
        (self.outbound > 0 && from <= to).then_some(from..=to)
    }
}

/// What is kept in memory of every segment: a range for each stream and epoch, in that order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Summary {
    /// Instant of the newest message.
    pub(super) newest: Option<Wall>,
    pub(super) messages: u64,
    pub(super) ranges: Vec<Range>,
}

impl Summary {
    /// The epochs of a stream with outbound messages.
    pub(super) fn epochs(&self, stream: StreamNo) -> impl Iterator<Item = Epoch> {
        let from = self.ranges.partition_point(|range| range.stream < stream);
        let own = self.ranges[from..].iter().take_while(move |range| range.stream == stream);
        own.filter(|range| range.outbound > 0).map(|range| range.epoch)
    }

    /// Which range is of this stream and epoch.
    pub(super) fn find(&self, stream: StreamNo, epoch: Epoch) -> Option<usize> {
        self.ranges.binary_search_by_key(&(stream, epoch), |range| (range.stream, range.epoch)).ok()
    }
}

/// The whole index of a segment.
#[derive(Debug, Default)]
pub(super) struct Index {
    series: Vec<Series>,
    of: HashMap<(StreamNo, Epoch), usize>,
    /// For each stream the series that was added to last, so that most messages need no search.
    recent: Vec<usize>,
    newest: Option<Wall>,
    messages: u64,
    places: u64,
}

#[derive(Debug)]
struct Series {
    stream: StreamNo,
    epoch: Epoch,
    inbound: u32,
    inbound_last: u64,
    /// By number, which is the order in which they come.
    outbound: Vec<Place>,
}

impl Index {
    /// Notes a message; of two with one number the later is found.
    pub(super) fn add(&mut self, name: &Name, offset: u32) {
        let nth = self.series_of(name.stream, name.epoch);
        let series = &mut self.series[nth]; // holds: `series_of` answers with a place in it
        self.newest = self.newest.max(Some(name.at));
        self.messages += 1;
        match name.direction {
            Direction::Inbound => {
                series.inbound += 1;
                series.inbound_last = series.inbound_last.max(name.number);
            }
            Direction::Outbound => {
                let place = Place { number: name.number, offset };
                self.places += u64::from(series.insert(place));
            }
        }
    }

    fn series_of(&mut self, stream: StreamNo, epoch: Epoch) -> usize {
        let recent = self.recent.get(stream as usize).copied();
        let is_it = |nth: &usize| {
            self.series.get(*nth).is_some_and(|series| (series.stream, series.epoch) == (stream, epoch))
        };
        if let Some(nth) = recent.filter(is_it) {
            return nth;
        }
        let nth = *self.of.entry((stream, epoch)).or_insert_with(|| {
            self.series.push(Series { stream, epoch, inbound: 0, inbound_last: 0, outbound: Vec::new() });
            self.series.len() - 1
        });
        if self.recent.len() <= stream as usize {
            self.recent.resize(stream as usize + 1, usize::MAX);
        }
        self.recent[stream as usize] = nth;
        nth
    }

    /// How many places are held in memory.
    pub(super) fn places(&self) -> u64 {
        self.places
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// The outbound messages of a stream and epoch, ascending.
    pub(super) fn outbound(&self, stream: StreamNo, epoch: Epoch) -> &[Place] {
        self.of.get(&(stream, epoch)).map_or(&[], |&nth| &self.series[nth].outbound)
    }

    /// The epochs of a stream with outbound messages.
    pub(super) fn epochs(&self, stream: StreamNo) -> impl Iterator<Item = Epoch> {
        let own = self.series.iter().filter(move |series| series.stream == stream);
        own.filter(|series| !series.outbound.is_empty()).map(|series| series.epoch)
    }

    /// What stays in memory when the segment is full, and all places in the same order.
    pub(super) fn summary(&self) -> Summary {
        let ranges = self.ordered().map(Series::range).collect();
        Summary { newest: self.newest, messages: self.messages, ranges }
    }

    /// The places behind each range of the summary.
    pub(super) fn places_in_order(&self) -> impl Iterator<Item = &[Place]> {
        self.ordered().map(|series| series.outbound.as_slice())
    }

    fn ordered(&self) -> impl Iterator<Item = &Series> {
        let order: BTreeMap<_, _> = self.of.iter().collect();
        order.into_values().map(|&nth| &self.series[nth])
    }
}

impl Series {
    /// Whether the number is new.
    fn insert(&mut self, place: Place) -> bool {
        if self.outbound.last().is_none_or(|last| last.number < place.number) {
            self.outbound.push(place);
            return true;
        }
        match self.outbound.binary_search_by_key(&place.number, |place| place.number) {
            Ok(nth) => {
                self.outbound[nth] = place;
                false
            }
            Err(nth) => {
                self.outbound.insert(nth, place);
                true
            }
        }
    }

    fn range(&self) -> Range {
        Range {
            stream: self.stream,
            epoch: self.epoch,
            inbound: self.inbound,
            inbound_last: self.inbound_last,
            outbound: u32::try_from(self.outbound.len()).unwrap_or(u32::MAX),
            first: self.outbound.first().map_or(0, |place| place.number),
            last: self.outbound.last().map_or(0, |place| place.number),
        }
    }
}

/// Those of `places` whose numbers are in `range`.
pub(super) fn within<'a>(places: &'a [Place], range: &RangeInclusive<u64>) -> &'a [Place] {
    let from = places.partition_point(|place| place.number < *range.start());
    let to = places.partition_point(|place| place.number <= *range.end());
    places.get(from..to).unwrap_or_default()
}

/// Merges places of several segments, the oldest first: of one number the later holds, and at most `most` stay.
#[derive(Debug, Default)]
pub(super) struct Merged(BTreeMap<u64, (usize, u32)>);

impl Merged {
    pub(super) fn add(&mut self, segment: usize, places: &[Place], most: usize) {
        for place in places.iter().take(most) {
            self.0.insert(place.number, (segment, place.offset));
        }
        while self.0.len() > most {
            self.0.pop_last();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are so many that numbers from `first` on change nothing.
    pub(super) fn is_settled(&self, first: u64, most: usize) -> bool {
        self.0.len() >= most && self.0.last_key_value().is_none_or(|(&last, _)| last < first)
    }

    /// Number, segment and offset, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, usize, u32)> {
        self.0.iter().map(|(&number, &(segment, offset))| (number, segment, offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(direction: Direction, number: u64) -> Name {
        let epoch = Epoch { week: 1, reset: 0 };
        Name { direction, stream: 2, epoch, number, at: Wall::from_s(number as i64) }
    }

    #[test]
    fn places_are_found_by_number_and_the_later_of_two_holds() {
        let mut index = Index::default();
        for (number, offset) in [(5, 10), (7, 20), (9, 30), (7, 40), (6, 50)] {
            index.add(&name(Direction::Outbound, number), offset);
        }
        index.add(&name(Direction::Inbound, 12), 60);
        assert_eq!((index.places(), index.messages()), (4, 6));
        let epoch = Epoch { week: 1, reset: 0 };
        let offsets = |range| -> Vec<u32> {
            within(index.outbound(2, epoch), &range).iter().map(|place| place.offset).collect()
        };
        assert_eq!(offsets(0..=u64::MAX), [10, 50, 40, 30]);
        assert_eq!(offsets(6..=8), [50, 40]);
        assert!(offsets(10..=20).is_empty());
        #[expect(clippy::reversed_empty_ranges, reason = "a caller may ask for it")]
        let reversed = 8..=6;
        assert!(offsets(reversed).is_empty());
        assert!(index.outbound(3, epoch).is_empty());
        let summary = index.summary();
        assert_eq!(summary.newest, Some(Wall::from_s(12)));
        let range = &summary.ranges[summary.find(2, epoch).unwrap()];
        assert_eq!((range.outbound, range.first, range.last), (4, 5, 9));
        assert_eq!((range.inbound, range.inbound_last), (1, 12));
        assert_eq!((range.overlap(&(8..=20)), range.overlap(&(10..=20))), (Some(8..=9), None));
    }

    #[test]
    fn of_several_segments_the_first_numbers_stay_and_the_later_content() {
        let mut merged = Merged::default();
        let place = |number, offset| Place { number, offset };
        merged.add(0, &[place(3, 1), place(4, 2), place(5, 3)], 3);
        merged.add(1, &[place(1, 4), place(4, 5), place(9, 6)], 3);
        assert_eq!(merged.iter().collect::<Vec<_>>(), [(1, 1, 4), (3, 0, 1), (4, 1, 5)]);
        assert_eq!(merged.len(), 3);
        assert!(merged.is_settled(5, 3) && !merged.is_settled(4, 3) && !merged.is_settled(5, 4));
    }
}
