//! What a stream log must do, on every disk; power cuts, failing disks, damage; a model beside it.

mod damage;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use doorward_core::stream::{Epoch, Numbers, StreamKey};
use doorward_core::time::Wall;
use proptest::prelude::*;

use super::segment::name_of;
use super::*;
use crate::fault::Fault;
use crate::journal::parts::{be_u32, numbered};
use crate::journal::{Disk, FullDisk, PowerDisk, RealDisk};

const NODE: &str = "node-a";
const STREAMS: [&str; 4] = ["cgw/ABC/001", "msgw-92/ABC/001", "cgw/XYZ/001", "trader/p00000000000000ff"];

fn settings(ahead: bool) -> Settings {
    Settings { node: NODE.to_owned(), segment_bytes: 4096, ahead }
}

fn open(disk: &PowerDisk) -> Result<(StreamLog, Recovered), Fault> {
    StreamLog::open(Arc::new(disk.clone()), settings(false))
}

fn key(nth: u64) -> StreamKey {
    StreamKey::parse(STREAMS[(nth % 4) as usize]).unwrap()
}

fn epoch(week: u32, reset: u32) -> Epoch {
    Epoch { week, reset }
}

fn at(number: u64) -> Wall {
    Wall::from_s(1_700_000_000 + number as i64)
}

/// A message whose content is told by what names it.
fn text(stream: u64, epoch: Epoch, number: u64) -> Vec<u8> {
    let mut text = format!("8=FIX.4.2|{}|{}.{}|34={number}|", key(stream), epoch.week, epoch.reset);
    text.extend(std::iter::repeat_n('x', (number * 71 % 190) as usize));
    text.into_bytes()
}

#[derive(Debug, Clone)]
enum Op {
    Inbound { stream: u64, epoch: Epoch, number: u64 },
    Outbound { stream: u64, epoch: Epoch, number: u64 },
    Numbers { stream: u64, numbers: Numbers },
    Acknowledged { stream: u64, epoch: Epoch, number: u64 },
}

fn push(log: &mut StreamLog, op: &Op) {
    match *op {
        Op::Inbound { stream, epoch, number } => {
            log.inbound(&key(stream), epoch, number, at(number), &text(stream, epoch, number));
        }
        Op::Outbound { stream, epoch, number } => {
            log.outbound(&key(stream), epoch, number, at(number), &text(stream, epoch, number));
        }
        Op::Numbers { stream, ref numbers } => log.numbers(&key(stream), numbers),
        Op::Acknowledged { stream, epoch, number } => log.acknowledged(&key(stream), epoch, number),
    }
}

/// What a log must hold, told without a file.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    numbers: BTreeMap<StreamKey, Numbers>,
    outbound: BTreeMap<(StreamKey, Epoch), BTreeMap<u64, Vec<u8>>>,
    inbound: Vec<InboundMessage>,
    acknowledged: BTreeMap<StreamKey, (Epoch, u64)>,
}

impl Model {
    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Inbound { stream, epoch, number } => {
                let bytes = text(stream, epoch, number);
                let stream = key(stream);
                self.inbound.push(InboundMessage { stream, epoch, number, at: at(number), bytes });
                self.found(stream, Numbers { next_in: number + 1, ..Numbers::new(epoch) });
            }
            Op::Outbound { stream, epoch, number } => {
                let bytes = text(stream, epoch, number);
                self.outbound.entry((key(stream), epoch)).or_default().insert(number, bytes);
                self.found(key(stream), Numbers { next_out: number + 1, ..Numbers::new(epoch) });
            }
            Op::Numbers { stream, numbers } => {
                let old = self.numbers.get(&key(stream)).copied().unwrap_or(Numbers::new(numbers.epoch));
                if (numbers.epoch, numbers.rev) >= (old.epoch, old.rev) {
                    self.numbers.insert(key(stream), numbers);
                    self.found(key(stream), old);
                }
            }
            Op::Acknowledged { stream, epoch, number } => {
                let mark = self.acknowledged.entry(key(stream)).or_default();
                *mark = (*mark).max((epoch, number));
            }
        }
    }

    fn found(&mut self, stream: StreamKey, found: Numbers) {
        let numbers = self.numbers.entry(stream).or_insert(Numbers::new(found.epoch));
        if found.epoch > numbers.epoch {
            *numbers = Numbers::new(found.epoch);
        }
        if found.epoch == numbers.epoch {
            numbers.next_in = numbers.next_in.max(found.next_in);
            numbers.next_out = numbers.next_out.max(found.next_out);
        }
    }

    fn lacked(&self) -> Vec<InboundMessage> {
        let mark = |stream: &StreamKey| self.acknowledged.get(stream).copied();
        let lacked =
            |message: &&InboundMessage| Some((message.epoch, message.number)) > mark(&message.stream);
        self.inbound.iter().filter(lacked).cloned().collect()
    }
}

/// All outbound messages of a stream and epoch, a few at a time.
fn read_all(log: &StreamLog, stream: &StreamKey, epoch: Epoch) -> BTreeMap<u64, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut from = 0;
    loop {
        let some = log.read(stream, epoch, from..=u64::MAX, 7, usize::MAX).unwrap();
        let Some(last) = some.last() else { return all };
        from = last.number + 1;
        assert!(some.windows(2).all(|pair| pair[0].number < pair[1].number));
        assert!(some.iter().all(|message| message.at == at(message.number)));
        all.extend(some.into_iter().map(|message| (message.number, message.bytes)));
    }
}

fn inbound(reader: InboundReader<'_>) -> Vec<InboundMessage> {
    reader.collect::<Result<_, _>>().unwrap()
}

/// Whether a log that was just opened holds what the model says.
fn check(log: &StreamLog, recovered: &Recovered, model: &Model, case: &str) {
    assert_eq!(recovered.streams, model.numbers, "{case}");
    for ((stream, epoch), messages) in &model.outbound {
        assert_eq!(read_all(log, stream, *epoch), *messages, "{case}: {stream}");
        for range in [0..=u64::MAX, 3..=9, 1..=1] {
            let expected = messages.range(range.clone()).count() as u64;
            assert_eq!(log.count(stream, *epoch, range).unwrap(), expected, "{case}: {stream}");
        }
    }
    assert_eq!(inbound(log.unacknowledged()), model.lacked(), "{case}");
    assert_eq!(inbound(log.replay_inbound(0)), model.inbound, "{case}");
    let second_week: Vec<_> = model.inbound.iter().filter(|m| m.epoch.week >= 8).cloned().collect();
    assert_eq!(inbound(log.replay_inbound(8)), second_week, "{case}");
}

/// The nth batch of a run over several streams: messages both ways, statements, resets, a weekly roll.
fn batch(nth: u64) -> Vec<Op> {
    let reset = |stream: u64| if stream == 1 { (nth / 13) as u32 } else { 0 };
    let week = if nth < 26 { 7 } else { 8 };
    let mut ops = Vec::new();
    for turn in 0..=nth % 3 {
        let stream = (nth + turn) % 4;
        let epoch = epoch(week, reset(stream));
        let number = nth * 4 + turn + 2;
        match (nth + turn) % 5 {
            0 | 1 => {
                ops.push(Op::Inbound { stream, epoch, number });
                ops.push(Op::Outbound { stream, epoch, number });
            }
            2 => ops.push(Op::Outbound { stream, epoch, number }),
            3 => {
                let rev = nth as u32;
                let numbers =
                    Numbers { rev, ceiling: number + 64, next_in: number / 2, ..Numbers::new(epoch) };
                ops.push(Op::Numbers { stream, numbers });
            }
            _ => ops.push(Op::Acknowledged { stream, epoch, number: number.saturating_sub(20) }),
        }
    }
    ops
}

fn model_after(batches: u64) -> Model {
    let mut model = Model::default();
    (0..batches).flat_map(batch).for_each(|op| model.apply(&op));
    model
}

/// Commits the batches `from..upto`; `committed` counts those that were.
fn run(log: &mut StreamLog, from: u64, upto: u64, committed: &mut u64) -> Result<(), Fault> {
    for nth in from..upto {
        batch(nth).iter().for_each(|op| push(log, op));
        log.commit()?;
        *committed = nth + 1;
    }
    Ok(())
}

const BATCHES: u64 = 44;

fn run_on(disk: &PowerDisk, ahead: bool, committed: &mut u64) -> Result<(), Fault> {
    let (mut log, _) = StreamLog::open(Arc::new(disk.clone()), settings(ahead))?;
    run(&mut log, 0, BATCHES, committed)
}

fn operations_of_a_run() -> u64 {
    let disk = PowerDisk::new();
    run_on(&disk, false, &mut 0).unwrap();
    let segments = disk.list().unwrap().iter().filter(|name| name.ends_with(".str")).count();
    assert!(segments >= 4, "the run crosses several segments: {segments}");
    disk.operations()
}

/// What must hold after any crash: nothing committed lost, no half batch, and going on works.
fn check_after_crash(disk: &PowerDisk, committed: u64, case: &str) {
    let (mut log, recovered) = open(disk).unwrap_or_else(|fault| panic!("{case}: {fault}"));
    let whole = recovered.streams == model_after(committed).numbers
        && inbound(log.replay_inbound(0)).len() == model_after(committed).inbound.len();
    // A batch of acknowledgements alone shows in neither.
    let held = if whole && inbound(log.unacknowledged()) == model_after(committed).lacked() {
        committed
    } else {
        committed + 1
    };
    let held = [held, committed + 1].into_iter().find(|&held| {
        let model = model_after(held);
        model.outbound.iter().all(|((stream, epoch), all)| read_all(&log, stream, *epoch) == *all)
    });
    let held = held.unwrap_or_else(|| panic!("{case}: half a batch after {committed}"));
    check(&log, &recovered, &model_after(held), case);
    for (stream, before) in &model_after(committed).numbers {
        let after = recovered.streams[stream].after_crash();
        assert!((before.epoch, before.next_in) <= (after.epoch, after.next_in), "{case}");
        assert!(before.epoch < after.epoch || before.next_out <= after.next_out, "{case}");
        assert!(before.epoch < after.epoch || before.ceiling <= after.next_out, "{case}");
    }
    // Going on: durable from its first answer on, whatever the first crash left behind.
    let mut on = held;
    run(&mut log, held, held + 3, &mut on).unwrap();
    drop(log);
    disk.restore(held);
    let (log, recovered) = open(disk).unwrap_or_else(|fault| panic!("{case}: {fault}"));
    assert_eq!(recovered.torn, None, "{case}");
    check(&log, &recovered, &model_after(on), case);
}

#[test]
fn f8_a_power_cut_at_any_write_loses_nothing_committed_and_no_number_goes_back() {
    let operations = operations_of_a_run();
    for cut in 1..=operations {
        for seed in 0..5 {
            let disk = PowerDisk::new();
            disk.cut_at(cut);
            let mut committed = 0;
            // What is done ahead may fail without harm; then the next commit fails.
            let ended = run_on(&disk, false, &mut committed);
            assert!(disk.is_off() && (ended.is_err() || committed == BATCHES));
            disk.restore(seed);
            check_after_crash(&disk, committed, &format!("cut {cut} seed {seed}"));
        }
    }
}

#[test]
fn f8_a_power_cut_while_a_thread_works_ahead_loses_nothing_committed() {
    let operations = operations_of_a_run();
    for cut in (1..=operations).step_by(2) {
        let disk = PowerDisk::new();
        disk.cut_at(cut);
        let mut committed = 0;
        let _ = run_on(&disk, true, &mut committed);
        disk.restore(cut);
        check_after_crash(&disk, committed, &format!("cut {cut}"));
    }
}

#[test]
fn f8_recovery_itself_may_be_cut_at_any_write() {
    let operations = operations_of_a_run();
    for cut in 1..=operations {
        let disk = PowerDisk::new();
        disk.cut_at(cut);
        let mut committed = 0;
        let _ = run_on(&disk, false, &mut committed);
        disk.restore(cut);
        for again in 1.. {
            let disk = disk.copy();
            disk.cut_at(again);
            if open(&disk).is_ok() {
                break;
            }
            disk.restore(cut * 31 + again);
            disk.cut_at(1 + cut % 5);
            drop(open(&disk));
            disk.restore(again * 77);
            check_after_crash(&disk, committed, &format!("cut {cut} again {again}"));
        }
    }
}

#[test]
fn f8_a_process_killed_at_any_write_and_then_a_power_cut() {
    for cut in 1..=operations_of_a_run() {
        let disk = PowerDisk::new();
        disk.cut_at(cut);
        let mut committed = 0;
        let _ = run_on(&disk, false, &mut committed);
        // The copy has power and still all that was written: the process died, not the machine.
        let disk = disk.copy();
        let (log, recovered) = open(&disk).unwrap();
        let shown = (recovered.streams, inbound(log.replay_inbound(0)));
        drop(log);
        disk.restore(cut);
        let (log, recovered) = open(&disk).unwrap();
        assert_eq!((recovered.streams, inbound(log.replay_inbound(0))), shown, "what recovery showed lasts");
        drop(log);
        check_after_crash(&disk, committed, &format!("killed {cut}"));
    }
}

/// What every disk, with and without a thread, must come to.
fn conformance(disk: &Arc<dyn Disk>, settings: &Settings) {
    let open = || StreamLog::open(Arc::clone(disk), settings.clone()).unwrap();
    let (mut log, recovered) = open();
    assert_eq!((recovered.streams.len(), recovered.segments, recovered.torn), (0, 1, None));
    assert!(log.is_empty());
    log.commit().unwrap();
    let nobody = log.read(&key(0), epoch(7, 0), 1..=9, 9, 9).unwrap();
    assert_eq!((nobody, log.count(&key(0), epoch(7, 0), 1..=9).unwrap()), (Vec::new(), 0));
    // Not found before it is committed.
    push(&mut log, &Op::Outbound { stream: 0, epoch: epoch(7, 0), number: 2 });
    assert!(!log.is_empty() && log.waiting_bytes() > 0);
    assert!(read_all(&log, &key(0), epoch(7, 0)).is_empty());
    drop(log);
    let (mut log, recovered) = open();
    assert_eq!(recovered.streams.len(), 0, "nor after a start");
    let mut committed = 0;
    for upto in [1, 2, 20, 21, 40, BATCHES] {
        run(&mut log, committed, upto, &mut committed).unwrap();
        assert!(log.is_empty());
        let model = model_after(upto);
        let streams = model.numbers.clone();
        let messages = log.status().messages;
        check(&log, &Recovered { streams, torn: None, segments: 0, messages: 0 }, &model, "running");
        drop(log);
        let (again, recovered) = open();
        assert_eq!((recovered.torn.clone(), recovered.messages), (None, messages));
        check(&again, &recovered, &model, "opened again");
        log = again;
    }
    assert!(log.status().segments > 3 && log.status().streams == 4, "{:?}", log.status());
}

#[test]
fn the_log_holds_what_was_committed_on_every_disk() {
    for ahead in [false, true] {
        conformance(&(Arc::new(PowerDisk::new()) as Arc<dyn Disk>), &settings(ahead));
        let dir = tempfile::tempdir().unwrap();
        let real: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).unwrap());
        conformance(&real, &settings(ahead));
    }
}

#[test]
fn a_second_instance_another_node_and_impossible_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let (log, _) = StreamLog::open(disk, settings(true)).unwrap();
    let text = RealDisk::open(dir.path()).unwrap_err().to_string();
    assert!(text.contains(&format!("in use by process {}", std::process::id())), "{text}");
    drop(log);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(dir.path()).unwrap());
    let other = Settings { node: "node-b".to_owned(), ..settings(false) };
    let text = StreamLog::open(Arc::clone(&disk), other).unwrap_err().to_string();
    assert!(!text.starts_with("damaged") || text.contains("node-a"), "{text}");
    for (node, segment_bytes) in [("", 4096), (NODE, 4095), (NODE, SEGMENT_BYTES_MAX + 1)] {
        let wrong = Settings { node: node.to_owned(), segment_bytes, ahead: false };
        assert!(StreamLog::open(Arc::clone(&disk), wrong).is_err());
    }
}

#[test]
fn reads_end_at_their_limits_and_holes_are_absent() {
    let disk = PowerDisk::new();
    let (mut log, _) = open(&disk).unwrap();
    let epoch = epoch(7, 0);
    for number in (2..200).filter(|number| number % 5 != 0) {
        log.outbound(&key(0), epoch, number, at(number), &[b'x'; 100]);
        log.outbound(&key(1), epoch, number * 10, at(number), b"other");
        log.commit().unwrap();
    }
    assert!(log.status().segments > 5);
    let numbers = |range: RangeInclusive<u64>, count, bytes| -> Vec<u64> {
        log.read(&key(0), epoch, range, count, bytes).unwrap().iter().map(|message| message.number).collect()
    };
    assert_eq!(numbers(4..=11, 100, usize::MAX), [4, 6, 7, 8, 9, 11]);
    assert_eq!(numbers(4..=199, 3, usize::MAX), [4, 6, 7]);
    assert_eq!(numbers(4..=199, 100, 250), [4, 6]);
    assert_eq!(numbers(4..=199, 100, 200), [4, 6]);
    assert_eq!(numbers(4..=199, 100, 1), [4], "one in any case");
    assert_eq!(numbers(196..=u64::MAX, 100, usize::MAX), [196, 197, 198, 199]);
    assert!(numbers(200..=300, 9, 9).is_empty() && numbers(5..=5, 9, 9).is_empty());
    assert!(numbers(0..=199, 0, usize::MAX).is_empty());
    #[expect(clippy::reversed_empty_ranges, reason = "a caller may ask for it")]
    let reversed = 9..=4;
    assert!(numbers(reversed.clone(), 9, 999).is_empty());
    assert_eq!(log.count(&key(0), epoch, reversed).unwrap(), 0);
    assert_eq!(log.count(&key(0), epoch, 4..=11).unwrap(), 6);
    assert_eq!(log.count(&key(0), epoch, 0..=u64::MAX).unwrap(), 159);
    assert!(log.read(&key(0), Epoch { reset: 1, ..epoch }, 0..=999, 9, 999).unwrap().is_empty());
}

#[test]
fn a_number_stored_again_is_one_message_and_the_later_one() {
    let disk = PowerDisk::new();
    let (mut log, _) = open(&disk).unwrap();
    let epoch = epoch(7, 0);
    for round in 0..5_u8 {
        for number in 2..30 {
            log.outbound(&key(0), epoch, number, at(0), &[b'a' + round; 150]);
        }
        log.commit().unwrap();
    }
    for log in [log, open(&disk).unwrap().0] {
        let messages = log.read(&key(0), epoch, 0..=99, 99, usize::MAX).unwrap();
        assert_eq!((messages.len() as u64, log.count(&key(0), epoch, 0..=99).unwrap()), (28, 28));
        assert!(messages.iter().all(|message| message.bytes == [b'e'; 150]));
    }
}

#[test]
fn a_batch_larger_than_a_segment_makes_a_larger_one_and_the_largest_is_refused() {
    let disk = PowerDisk::new();
    let (mut log, _) = open(&disk).unwrap();
    for number in 1..=3 {
        for nth in 0..20 {
            log.outbound(&key(0), epoch(7, 0), number * 100 + nth, at(0), &[b'x'; 1000]);
        }
        log.commit().unwrap();
        log.outbound(&key(0), epoch(7, 0), number * 100 + 50, at(0), b"x");
        log.commit().unwrap();
    }
    let (mut log, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.messages, 63);
    log.outbound(&key(0), epoch(7, 0), 900, at(0), &vec![b'x'; 1 << 20]);
    let text = log.commit().unwrap_err().to_string();
    assert!(text.contains("above the limit of 1048576"), "{text}");
    log.outbound(&key(0), epoch(7, 0), 901, at(0), b"x");
    assert!(log.commit().is_err() && log.stopped().is_some());
    assert_eq!(log.reopen().unwrap().messages, 63);
    for nth in 0..70 {
        log.outbound(&key(0), epoch(7, 0), 1000 + nth, at(0), &vec![b'x'; 1_000_000]);
    }
    assert!(log.commit().unwrap_err().to_string().contains("does not fit one segment"));
    assert_eq!(log.reopen().unwrap().messages, 63);
}

#[test]
fn after_a_failed_sync_nothing_is_committed_until_it_is_opened_again() {
    for upto in 0..30 {
        let disk = PowerDisk::new();
        let (mut log, _) = open(&disk).unwrap();
        let mut committed = 0;
        run(&mut log, 0, upto, &mut committed).unwrap();
        disk.syncs_fail(true);
        batch(upto).iter().for_each(|op| push(&mut log, op));
        assert!(matches!(log.commit(), Err(Fault::Disk(_))));
        disk.syncs_fail(false);
        batch(upto).iter().for_each(|op| push(&mut log, op));
        assert!(log.commit().unwrap_err().to_string().contains("opened again"));
        let shown = log.reopen().unwrap();
        drop(log);
        disk.restore(upto);
        assert_eq!(open(&disk).unwrap().1.streams, shown.streams, "what opening again showed is durable");
        check_after_crash(&disk, committed, "failed sync");
    }
}

#[test]
fn a_full_disk_is_refused_clearly_loses_nothing_and_passes() {
    for upto in 0..30 {
        let disk = PowerDisk::new();
        let full = Arc::new(AtomicBool::new(false));
        let filling: Arc<dyn Disk> = Arc::new(FullDisk::new(Arc::new(disk.clone()), Arc::clone(&full)));
        let (mut log, _) = StreamLog::open(filling, settings(upto % 2 == 0)).unwrap();
        let mut committed = 0;
        run(&mut log, 0, upto, &mut committed).unwrap();
        full.store(true, Ordering::Relaxed);
        batch(upto).iter().for_each(|op| push(&mut log, op));
        let text = log.commit().unwrap_err().to_string();
        assert!(text.contains(".str") && text.contains("no storage space"), "{text}");
        assert!(log.reopen().is_err() && log.commit().is_err(), "still full");
        full.store(false, Ordering::Relaxed);
        let recovered = log.reopen().unwrap();
        check(&log, &recovered, &model_after(upto), "full");
        run(&mut log, upto, upto + 2, &mut committed).unwrap();
    }
}

#[test]
fn pruning_drops_what_is_old_but_never_what_the_back_end_lacks_or_the_numbers() {
    let disk = PowerDisk::new();
    let (mut log, _) = open(&disk).unwrap();
    let first = epoch(7, 0);
    log.numbers(&key(2), &Numbers { rev: 9, next_out: 70, ceiling: 70, ..Numbers::new(first) });
    for number in 2..100 {
        log.inbound(&key(0), first, number, at(number), &[b'i'; 100]);
        log.outbound(&key(1), first, number, at(number), &[b'o'; 100]);
        log.commit().unwrap();
    }
    log.acknowledged(&key(0), first, 50);
    log.commit().unwrap();
    let (full, numbers) = (log.status(), open(&disk.copy()).unwrap().1.streams);
    assert_eq!(log.prune(at(1)).unwrap(), Pruned::default());
    let some = log.prune(at(30)).unwrap();
    assert!(some.segments > 0 && !some.kept_for_back_end, "{some:?}");
    assert_eq!(log.status().messages + some.messages, full.messages);
    assert_eq!(log.status().bytes + some.bytes, full.bytes);
    let read = |log: &StreamLog| log.read(&key(1), first, 0..=99, 1, usize::MAX).unwrap()[0].number;
    assert!((3..=30).contains(&read(&log)));
    let more = log.prune(at(1000)).unwrap();
    assert!(more.kept_for_back_end && more.segments > 0);
    assert_eq!(inbound(log.unacknowledged()).first().unwrap().number, 51);
    log.acknowledged(&key(0), first, 99);
    log.commit().unwrap();
    let rest = log.prune(at(1000)).unwrap();
    assert!(!rest.kept_for_back_end && inbound(log.unacknowledged()).is_empty());
    drop(log);
    disk.tamper(&numbered(1, ".idx"), b"left by a crash".to_vec());
    let (log, recovered) = open(&disk).unwrap();
    assert_eq!(recovered.streams, numbers, "the newest segment says them all");
    assert_eq!(disk.bytes_of(&numbered(1, ".idx")), None);
    assert_eq!(log.status().streams, 3);
    let files: BTreeSet<String> = disk.list().unwrap().into_iter().collect();
    assert!(files.len() <= 2, "{files:?}");
}

#[test]
fn what_is_long_past_is_not_read_again_and_what_is_lacked_is() {
    let disk = PowerDisk::new();
    let (mut log, _) = open(&disk).unwrap();
    for number in 2..300 {
        let week = if number < 200 { 7 } else { 8 };
        log.inbound(&key(0), epoch(week, 0), number, at(number), &[b'i'; 100]);
        log.commit().unwrap();
    }
    let numbers = |log: &StreamLog| -> Vec<u64> {
        inbound(log.replay_present(8, at(250))).iter().map(|message| message.number).collect()
    };
    assert_eq!(numbers(&log), (2..300).collect::<Vec<_>>(), "all are lacked");
    log.acknowledged(&key(0), epoch(8, 0), 299);
    log.commit().unwrap();
    let read = numbers(&log);
    assert!((150..=200).contains(&read[0]), "{read:?}");
    assert_eq!(read, (read[0]..300).collect::<Vec<_>>());
    let since: Vec<_> = inbound(log.replay_present(9, at(250)));
    assert!((200..=250).contains(&since[0].number), "by their instant, where they have no week");
}

#[test]
fn f8_a_power_cut_while_pruning_leaves_a_log_that_opens() {
    let disk = PowerDisk::new();
    run_on(&disk, false, &mut 0).unwrap();
    let (mut log, recovered) = open(&disk).unwrap();
    for stream in 0..4 {
        log.acknowledged(&key(stream), epoch(9, 0), 0);
    }
    log.commit().unwrap();
    drop(log);
    let before = disk.operations();
    for cut in 1.. {
        let disk = disk.copy();
        let (mut log, _) = open(&disk).unwrap();
        disk.cut_at(disk.operations() + cut);
        let ended = log.prune(at(1_000_000)).is_ok();
        let done = ended && !disk.is_off();
        disk.restore(cut);
        let (log, after) = open(&disk).unwrap();
        assert_eq!(after.streams, recovered.streams);
        assert_eq!(inbound(log.unacknowledged()), []);
        if done {
            assert!(cut > 6 && before > 0);
            break;
        }
    }
}

#[test]
fn of_a_million_messages_only_those_of_the_open_segment_are_in_memory() {
    let disk = PowerDisk::new();
    let settings = Settings { segment_bytes: 1 << 20, ..settings(true) };
    let (mut log, _) = StreamLog::open(Arc::new(disk.clone()), settings.clone()).unwrap();
    let epoch = epoch(7, 0);
    let (most, batches) = (1_000_000, 200);
    for nth in 0..batches {
        for number in nth * (most / batches)..(nth + 1) * (most / batches) {
            log.outbound(&key(number), epoch, number / 4, at(0), b"8=");
        }
        log.commit().unwrap();
    }
    drop(log);
    let (log, recovered) = StreamLog::open(Arc::new(disk), settings).unwrap();
    let status = log.status();
    assert_eq!((recovered.messages, status.messages), (most, most));
    assert!(status.places < 50_000, "{status:?}");
    assert_eq!(status.ranges, (status.segments - 1) * 4);
    assert_eq!(log.count(&key(3), epoch, 0..=u64::MAX).unwrap(), most / 4);
    let some = log.read(&key(3), epoch, 1234..=u64::MAX, 2500, usize::MAX).unwrap();
    assert!(some.iter().map(|message| message.number).eq(1234..3734));
}

fn op() -> impl Strategy<Value = Op> {
    let place = (0_u64..4, 7_u32..9, 0_u32..2, 1_u64..40);
    (0_u8..6, place, 0_u32..30).prop_map(|(kind, (stream, week, reset, number), rev)| {
        let epoch = epoch(week, reset);
        match kind {
            0 => Op::Inbound { stream, epoch, number },
            1 | 2 => Op::Outbound { stream, epoch, number },
            3 | 4 => {
                let (next_in, next_out) = (number, u64::from(rev) + number);
                let numbers =
                    Numbers { rev, next_in, next_out, ceiling: next_out + 9, ..Numbers::new(epoch) };
                Op::Numbers { stream, numbers }
            }
            _ => Op::Acknowledged { stream, epoch, number },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_is_what_the_model_says(batches in prop::collection::vec(prop::collection::vec(op(), 0..12), 1..25)) {
        let disk = PowerDisk::new();
        let mut model = Model::default();
        let (mut log, _) = open(&disk).unwrap();
        for ops in &batches {
            for op in ops {
                push(&mut log, op);
                model.apply(op);
            }
            log.commit().unwrap();
        }
        let running = Recovered { streams: model.numbers.clone(), torn: None, segments: 0, messages: 0 };
        check(&log, &running, &model, "running");
        drop(log);
        disk.restore(batches.len() as u64);
        let (log, recovered) = open(&disk).unwrap();
        check(&log, &recovered, &model, "opened again");
    }

    #[test]
    fn mutated_files_are_read_without_panic(
        batches in 1_u64..30,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..5),
        cut in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let disk = PowerDisk::new();
        let (mut log, _) = open(&disk).unwrap();
        run(&mut log, 0, batches, &mut 0).unwrap();
        drop(log);
        let names = disk.list().unwrap();
        for (file, at, value) in changes {
            let name = file.get(&names);
            let mut bytes = disk.bytes_of(name).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = value;
            disk.tamper(name, bytes);
        }
        if let Some((file, cut)) = cut {
            let name = file.get(&names);
            let mut bytes = disk.bytes_of(name).unwrap();
            bytes.truncate(cut.index(bytes.len()));
            disk.tamper(name, bytes);
        }
        if let Ok((mut log, _)) = open(&disk) {
            for stream in 0..4 {
                let _ = log.read(&key(stream), epoch(7, 0), 0..=u64::MAX, 99, usize::MAX);
                let _ = log.count(&key(stream), epoch(7, 0), 0..=9);
            }
            let _ = log.replay_inbound(0).count();
            run(&mut log, batches, batches + 2, &mut 0).unwrap();
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let disk = PowerDisk::new();
    let (mut log, _) = open(&disk).unwrap();
    log.outbound(&key(0), epoch(0, 1), 300, Wall::from_us(127), b"8=FIX");
    log.commit().unwrap();
    let bytes = disk.bytes_of(&name_of(1)).unwrap();
    assert_eq!(bytes[..8], *b"\xF5DWJRNL\n");
    assert_eq!(bytes[24..64], *b"\0\0\0\0\0\0\0\x01doorward: stream log, version 1\0");
    assert_eq!(bytes[512..520], *b"\xF5DWF\0\0\0\x26");
    assert_eq!(bytes[524..536], *b"\0\0\0\x02\0\0\0\0\0\0\0\x01");
    assert_eq!(bytes[536..568], [0; 32]);
    assert_eq!(bytes[568..585], *b"\0\0\0\x0D\x01\x01cgw/ABC/001");
    let head = b"\x05\x01\x01\x02\xAD\x02\x80\x01";
    assert_eq!(bytes[585..597], [b"\0\0\0\x11".as_slice(), head].concat());
    assert_eq!(be_u32(&bytes, 597), crc32fast::hash(&[head.as_slice(), b"8=FIX"].concat()));
    assert_eq!(bytes[601..606], *b"8=FIX");
    assert!(bytes[606..].iter().all(|&b| b == 0));
}

#[test]
fn messages_that_wait_for_the_commit_are_counted_and_each_number_once() {
    let (mut log, _) = open(&PowerDisk::new()).unwrap();
    let (stream, epochs) = (key(0), [epoch(7, 0), epoch(7, 1)]);
    for number in [3, 5] {
        log.outbound(&stream, epochs[0], number, Wall::from_s(1), b"stored");
    }
    log.commit().unwrap();
    for number in [5, 9] {
        log.outbound(&stream, epochs[0], number, Wall::from_s(1), b"waits");
    }
    log.outbound(&stream, epochs[1], 4, Wall::from_s(1), b"waits");
    log.inbound(&stream, epochs[0], 6, Wall::from_s(1), b"waits");
    assert_eq!(log.count(&stream, epochs[0], 1..=9).unwrap(), 3);
    assert_eq!(log.count(&stream, epochs[0], 4..=8).unwrap(), 1);
    assert_eq!(log.epochs(&stream), [epochs[0]]);
    log.commit().unwrap();
    assert_eq!(log.count(&stream, epochs[0], 1..=9).unwrap(), 3);
    assert_eq!((log.epochs(&stream), log.epochs(&key(1))), (epochs.to_vec(), Vec::new()));
}
