//! Power cuts, tampering, failing disks, and what is read back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::segment::{HEADER_BYTES, SEAL_BYTES, frame_bytes, name_of};
use super::*;
use crate::fault::Fault;

const NODE: &str = "node-a";

fn settings(segment_bytes: u64) -> Settings {
    Settings { node: NODE.to_owned(), segment_bytes }
}

fn open(disk: &PowerDisk) -> Result<(Journal, Recovery), Fault> {
    Journal::open(Arc::new(disk.clone()), settings(4096))
}

/// A record whose content is told by its number.
fn record(no: u64) -> Vec<u8> {
    let length = 40 + (no * 193 % 700) as usize;
    let mut text = format!("{{\"no\":{no},\"pad\":\"");
    text.extend(std::iter::repeat_n('x', length));
    text.push_str("\"}");
    text.into_bytes()
}

fn records(after: u64, count: u64) -> Vec<Vec<u8>> {
    (after + 1..=after + count).map(record).collect()
}

/// The size of the batch that follows on record `no`.
fn batch_after(no: u64) -> u64 {
    1 + no % 4
}

/// Appends batches until record `upto` or a failure; the answer is the last acknowledged head.
fn run(disk: &PowerDisk, upto: u64, acknowledged: &mut Head) -> Result<(), Fault> {
    let (mut journal, _) = open(disk)?;
    while journal.head().no < upto {
        let no = journal.head().no;
        *acknowledged = journal.append(&records(no, batch_after(no)))?;
    }
    Ok(())
}

fn read_all(disk: &PowerDisk, upto: u64) -> Vec<Entry> {
    read_from(Arc::new(disk.clone()), 1, upto).map(|entry| entry.unwrap()).collect()
}

/// What must hold after any crash: nothing acknowledged lost, no half batch, the chain whole, and going on works.
fn check_after_crash(disk: &PowerDisk, acknowledged: Head, case: &str) {
    let before = verify(disk, &[acknowledged]).unwrap();
    assert!(before.intact, "{case}: {:?}", before.findings);
    let (mut journal, recovery) = open(disk).unwrap_or_else(|fault| panic!("{case}: {fault}"));
    let head = journal.head();
    assert_eq!(before.torn_tail.is_some(), recovery.torn.is_some(), "{case}");
    let batch = batch_after(acknowledged.no);
    assert!(
        head == acknowledged || head.no == acknowledged.no + batch,
        "{case}: {head} after {acknowledged}"
    );
    for entry in read_all(disk, head.no) {
        assert_eq!(entry.bytes, record(entry.no), "{case}");
    }
    // Going on: durable from its first answer on, whatever the first crash left behind.
    let head = journal.append(&records(head.no, batch_after(head.no))).unwrap();
    disk.restore(head.no);
    let report = verify(disk, &[head]).unwrap();
    assert!(report.intact && report.torn_tail.is_none(), "{case}: {report:?}");
    assert_eq!((report.first, report.head, report.anchored), (1, head, Some(head.no)), "{case}");
}

fn operations_of_a_run(upto: u64) -> u64 {
    let disk = PowerDisk::new();
    run(&disk, upto, &mut Head::EMPTY.clone()).unwrap();
    assert!(disk.list().unwrap().len() >= 5, "the run crosses several segments");
    disk.operations()
}

#[test]
fn f8_a_power_cut_at_any_write_loses_nothing_acknowledged() {
    let operations = operations_of_a_run(40);
    for cut in 1..=operations {
        for seed in 0..12 {
            let disk = PowerDisk::new();
            disk.cut_at(cut);
            let mut acknowledged = Head::EMPTY;
            let ended = run(&disk, 40, &mut acknowledged);
            assert!(ended.is_err() && disk.is_off());
            disk.restore(seed);
            check_after_crash(&disk, acknowledged, &format!("cut {cut} seed {seed}"));
        }
    }
}

#[test]
fn f8_recovery_itself_may_be_cut_at_any_write() {
    let operations = operations_of_a_run(40);
    for cut in 1..=operations {
        let disk = PowerDisk::new();
        disk.cut_at(cut);
        let mut acknowledged = Head::EMPTY;
        assert!(run(&disk, 40, &mut acknowledged).is_err());
        disk.restore(cut);
        for again in 1.. {
            let disk = disk.copy();
            disk.cut_at(again);
            if open(&disk).is_ok() {
                break;
            }
            for second in 1..6 {
                let disk = disk.copy();
                disk.restore(cut * 31 + again + second);
                disk.cut_at(1 + second % 5);
                drop(open(&disk));
                disk.restore(second * 77);
                check_after_crash(&disk, acknowledged, &format!("cut {cut} again {again} second {second}"));
            }
        }
    }
}

#[test]
fn f8_a_process_killed_at_any_write_and_then_a_power_cut() {
    let operations = operations_of_a_run(40);
    for cut in 1..=operations {
        let disk = PowerDisk::new();
        disk.cut_at(cut);
        let mut acknowledged = Head::EMPTY;
        assert!(run(&disk, 40, &mut acknowledged).is_err());
        // The copy has power and still all that was written: the process died, not the machine.
        let disk = disk.copy();
        let (journal, _) = open(&disk).unwrap();
        let shown = journal.head();
        disk.restore(cut);
        let (journal, _) = open(&disk).unwrap();
        assert_eq!(journal.head(), shown, "what recovery showed lasts");
        drop(journal);
        check_after_crash(&disk, if shown.no > acknowledged.no { shown } else { acknowledged }, "killed");
    }
}

#[test]
fn after_a_failed_sync_nothing_is_appended_until_it_is_opened_again() {
    for at in 0..20 {
        let disk = PowerDisk::new();
        let (mut journal, _) = open(&disk).unwrap();
        while journal.head().no < at {
            let no = journal.head().no;
            journal.append(&records(no, batch_after(no))).unwrap();
        }
        let acknowledged = journal.head();
        disk.syncs_fail(true);
        let batch = records(acknowledged.no, batch_after(acknowledged.no));
        assert!(matches!(journal.append(&batch), Err(Fault::Disk(_))));
        disk.syncs_fail(false);
        assert_eq!(journal.head(), acknowledged);
        assert!(journal.append(&batch).unwrap_err().to_string().contains("opened again"));
        assert!(journal.stopped().is_some());
        let shown = journal.reopen().unwrap().head;
        assert!(shown.no == acknowledged.no || shown.no == acknowledged.no + batch.len() as u64);
        disk.restore(at);
        assert_eq!(open(&disk).unwrap().1.head, shown, "what reopening showed is durable");
        check_after_crash(&disk, shown, "failed sync");
    }
}

#[test]
fn a_full_disk_is_refused_clearly_loses_nothing_and_passes() {
    for upto in 0..24 {
        let disk = PowerDisk::new();
        let full = Arc::new(AtomicBool::new(false));
        let filling: Arc<dyn Disk> = Arc::new(FullDisk::new(Arc::new(disk.clone()), Arc::clone(&full)));
        let (mut journal, _) = Journal::open(Arc::clone(&filling), settings(4096)).unwrap();
        while journal.head().no < upto {
            journal.append(&records(journal.head().no, 1)).unwrap();
        }
        let head = journal.head();
        full.store(true, Ordering::Relaxed);
        let text = journal.append(&records(head.no, 1)).unwrap_err().to_string();
        assert!(text.contains(".seg") && text.contains("no storage space"), "{text}");
        assert_eq!(filling.free_bytes().unwrap(), 0);
        assert!(journal.reopen().is_err(), "still full");
        full.store(false, Ordering::Relaxed);
        assert_eq!(journal.reopen().unwrap().head, head);
        journal.append(&records(head.no, 1)).unwrap();
        assert_eq!(read_all(&disk, head.no + 1).len() as u64, head.no + 1);
        assert!(verify(&disk, &[journal.head()]).unwrap().intact);
    }
}

#[test]
fn a_disk_full_half_way_through_a_new_segment_recovers() {
    let disk = PowerDisk::new();
    disk.full(true);
    assert!(open(&disk).is_err());
    disk.full(false);
    let (mut journal, _) = open(&disk).unwrap();
    journal.append(&records(0, 1)).unwrap();
}

#[test]
fn records_and_batches_beyond_the_limits_are_refused_and_change_nothing() {
    let disk = PowerDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    let large = vec![b'x'; 4096];
    assert_eq!(journal.fitting(&[&large]), 0);
    assert!(journal.append(&[&large]).is_err());
    assert!(journal.append(&[vec![0; RECORD_BYTES_MAX + 1]]).unwrap_err().to_string().contains("1048577"));
    let many = records(0, 40);
    let fitting = journal.fitting(&many);
    assert!((1..40).contains(&fitting));
    assert!(journal.append(&many).is_err());
    assert_eq!(journal.head(), Head::EMPTY);
    assert_eq!(journal.append(&many[..fitting]).unwrap().no, fitting as u64);
    assert_eq!(journal.append::<Vec<u8>>(&[]).unwrap().no, fitting as u64);
    // A record that fills a segment to the byte.
    let exact = vec![b'y'; 4096 - HEADER_BYTES - SEAL_BYTES - frame_bytes([0].into_iter()) + 4];
    journal.append(&[&exact]).unwrap();
    journal.append(&[b"after"]).unwrap();
    let report = verify(&disk, &[]).unwrap();
    assert!(report.intact, "{:?}", report.findings);
    assert_eq!((report.segments, report.head), (3, journal.head()));
}

#[test]
fn a_journal_of_another_node_or_with_impossible_settings_is_refused() {
    let disk = PowerDisk::new();
    drop(open(&disk).unwrap());
    let other = Settings { node: "node-b".to_owned(), segment_bytes: 4096 };
    let text = Journal::open(Arc::new(disk.clone()), other).err().unwrap().to_string();
    assert!(text.contains("node-a") && text.contains("node-b"), "{text}");
    for (node, segment_bytes) in [("", 4096), (NODE, 4095), (NODE, SEGMENT_BYTES_MAX + 1)] {
        let wrong = Settings { node: node.to_owned(), segment_bytes };
        assert!(Journal::open(Arc::new(PowerDisk::new()), wrong).is_err());
    }
}

#[test]
fn segments_of_another_size_go_on() {
    let disk = PowerDisk::new();
    let mut head = Head::EMPTY;
    for size in [4096, 16384, 8192, 5000, 4096] {
        let (mut journal, _) = Journal::open(Arc::new(disk.clone()), settings(size)).unwrap();
        for _ in 0..7 {
            head = journal.append(&records(journal.head().no, 3)).unwrap();
        }
    }
    assert!(verify(&disk, &[head]).unwrap().intact);
    assert_eq!(read_all(&disk, head.no).len() as u64, head.no);
}

#[test]
fn a_reader_beside_the_owner_sees_what_was_acknowledged_and_goes_on() {
    let disk = PowerDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    let mut reader = read_from(Arc::new(disk.clone()), 1, 0);
    let mut seen = 0;
    for _ in 0..30 {
        let no = journal.head().no;
        let head = journal.append(&records(no, batch_after(no))).unwrap();
        assert!(reader.next().is_none());
        reader.extend(head.no);
        for entry in reader.by_ref() {
            let entry = entry.unwrap();
            seen += 1;
            assert_eq!((entry.no, entry.bytes), (seen, record(seen)));
        }
        assert_eq!(seen, head.no);
    }
    for from in 1..=seen {
        let entry = read_from(Arc::new(disk.clone()), from, seen).next().unwrap().unwrap();
        assert_eq!((entry.no, entry.bytes), (from, record(from)));
    }
}

#[test]
fn reading_what_is_not_there_is_a_fault_once() {
    let disk = PowerDisk::new();
    run(&disk, 40, &mut Head::EMPTY.clone()).unwrap();
    let head = verify(&disk, &[]).unwrap().head;
    let mut beyond = read_from(Arc::new(disk.clone()), head.no, head.no + 1);
    assert!(beyond.next().unwrap().is_ok());
    assert!(matches!(beyond.next(), Some(Err(Fault::Damaged(_)))));
    assert!(beyond.next().is_none());
    disk.lose(&name_of(1));
    let mut dropped = read_from(Arc::new(disk), 1, head.no);
    assert!(dropped.next().unwrap().unwrap_err().to_string().contains("record 1 is not there"));
}

#[test]
fn the_chain_is_computed_as_the_format_says() {
    let disk = PowerDisk::new();
    let (mut journal, _) = open(&disk).unwrap();
    journal.append(&[b"one".as_slice(), b"two"]).unwrap();
    let sum = |parts: &[&[u8]]| digest::digest(&digest::SHA256, &parts.concat()).as_ref().to_vec();
    let one = sum(&[&[0; 32], &[0, 0, 0, 0, 0, 0, 0, 1], b"one"]);
    let two = sum(&[&one, &[0, 0, 0, 0, 0, 0, 0, 2], b"two"]);
    assert_eq!(journal.head().hash.to_vec(), two);
    let bytes = disk.bytes_of(&name_of(1)).unwrap();
    assert_eq!(bytes.len(), 4096);
    assert_eq!(bytes[..12], *b"\xF5DWJRNL\n\0\x01\0\x06");
    let salt = crc32fast::hash(&bytes[..508]).to_be_bytes();
    assert_eq!(bytes[508..512], salt);
    assert_eq!(bytes[512..520], *b"\xF5DWF\0\0\0\x0E");
    assert_eq!(bytes[524..536], *b"\0\0\0\x02\0\0\0\0\0\0\0\x01");
    assert_eq!(bytes[536..568], two);
    assert_eq!(bytes[568..584], *b"\0\0\0\x03one\0\0\0\x03two\0\0");
    let crc = crc32fast::hash(&[&salt, &bytes[512..520], &bytes[524..584]].concat());
    assert_eq!(bytes[520..524], crc.to_be_bytes());
    assert!(bytes[584..].iter().all(|&b| b == 0));
}

#[test]
fn a_head_is_read_back_from_its_text() {
    let head = Head::EMPTY.next(b"x");
    assert_eq!(Head::parse(&format!(" {head}\n")), Some(head));
    for wrong in ["", "1", "1:", "x:00", &format!("{head}0"), &format!("-{head}")] {
        assert_eq!(Head::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_real_directory_holds_the_journal_and_refuses_a_second_instance() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let (mut journal, _) = Journal::open(disk.clone(), settings(8192)).unwrap();
    for _ in 0..20 {
        journal.append(&records(journal.head().no, 2)).unwrap();
    }
    let head = journal.head();
    assert!(RealDisk::open(dir.path()).unwrap_err().to_string().contains(&std::process::id().to_string()));
    let beside = RealDisk::open_to_read(dir.path()).unwrap();
    let report = verify(&beside, &[head]).unwrap();
    assert!(report.intact && report.segments > 2, "{report:?}");
    drop((journal, disk));
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let (journal, recovery) = Journal::open(disk.clone(), settings(8192)).unwrap();
    assert_eq!((journal.head(), recovery.torn), (head, None));
    assert_eq!(read_from(disk, 1, head.no).filter(Result::is_ok).count() as u64, head.no);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_read_is_what_was_appended(
        batches in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 1..6), 1..20),
        from in 1_u64..60,
    ) {
        let disk = PowerDisk::new();
        let (mut journal, _) = open(&disk).unwrap();
        for batch in &batches {
            let fitting = journal.fitting(batch);
            journal.append(&batch[..fitting]).unwrap();
            journal.append(&batch[fitting..]).unwrap();
        }
        let head = journal.head();
        let expected: Vec<Vec<u8>> = batches.concat().split_off((from as usize - 1).min(head.no as usize));
        let entries: Vec<Entry> =
            read_from(Arc::new(disk.clone()), from, head.no).collect::<Result<_, _>>().unwrap();
        prop_assert_eq!(entries.iter().map(|e| e.bytes.clone()).collect::<Vec<_>>(), expected);
        prop_assert!(entries.iter().zip(from..).all(|(entry, no)| entry.no == no));
        prop_assert!(entries.last().is_none_or(|last| last.hash == head.hash));
        disk.restore(from);
        prop_assert_eq!(open(&disk).unwrap().1.head, head);
    }

    #[test]
    fn any_bytes_are_read_without_panic(data in prop::collection::vec(any::<u8>(), 0..6000)) {
        fuzz_frames(&data);
    }

    #[test]
    fn mutated_segments_are_read_without_panic(
        upto in 0_u64..12,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        moved in prop::option::of((0_usize..512, 0_usize..512, 0_usize..128)),
    ) {
        let disk = PowerDisk::new();
        let (mut journal, _) = open(&disk).unwrap();
        while journal.head().no < upto {
            journal.append(&records(journal.head().no, 1)).unwrap();
        }
        let mut bytes = disk.bytes_of(&name_of(1)).unwrap();
        if let Some((from, to, length)) = moved {
            bytes.copy_within(from * 7..from * 7 + length, to * 7);
        }
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fuzz_frames(&bytes);
    }
}
