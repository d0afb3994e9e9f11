//! Damage is named and never cut silently; what a crash leaves is told from it.

use super::*;
use crate::journal::parts::{FRAME_HEAD_BYTES, Frames, HEADER_BYTES, Header, SEAL_BYTES};

/// A log of several full segments, the newest with three frames.
fn sample() -> (PowerDisk, u64) {
    let disk = PowerDisk::new();
    let (mut log, _) = open(&disk).unwrap();
    for number in 2..60 {
        log.outbound(&key(number), epoch(7, 0), number, at(number), &[b'x'; 300]);
        log.inbound(&key(0), epoch(7, 0), number, at(number), &[b'y'; 40]);
        log.commit().unwrap();
        if log.active.frames == 3 && log.sealed.len() == 3 {
            let newest = log.active.segment.sequence;
            drop(log);
            return (disk, newest);
        }
    }
    panic!("the run is too short");
}

fn changed(disk: &PowerDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> PowerDisk {
    let disk = disk.copy();
    let mut bytes = disk.bytes_of(name).unwrap();
    change(&mut bytes);
    disk.tamper(name, bytes);
    disk
}

fn refused(disk: &PowerDisk, name: &str, case: &str) {
    let files = |disk: &PowerDisk| -> Vec<_> {
        disk.list().unwrap().into_iter().map(|name| (disk.bytes_of(&name), name)).collect()
    };
    let before = files(disk);
    let text = open(disk).err().unwrap_or_else(|| panic!("{case}: opens")).to_string();
    assert!(text.starts_with("damaged: ") && text.contains(name), "{case}: {text}");
    assert!(text.contains("nothing was changed") && files(disk) == before, "{case}");
}

/// Where each frame of a segment begins, and where they end.
fn frames(bytes: &[u8]) -> Vec<usize> {
    let (_, salt) = Header::parse(bytes).unwrap();
    let frames = Frames::new(bytes, salt);
    let mut places = vec![HEADER_BYTES];
    while let Ok((head, _)) = frames.at(places[places.len() - 1]) {
        places.push(places[places.len() - 1] + head.bytes());
    }
    places
}

#[test]
fn in_the_newest_segment_is_named_and_never_cut() {
    let (disk, newest) = sample();
    let name = name_of(newest);
    let bytes = disk.bytes_of(&name).unwrap();
    let places = frames(&bytes);
    let end = places[places.len() - 1];
    assert_eq!(places.len(), 4);
    for at in (0..end).step_by(3).chain([bytes.len() - 1]) {
        if (places[2] + 4..places[2] + 8).contains(&at) {
            continue; // A longer length is what a missing end looks like.
        }
        let changed = changed(&disk, &name, |bytes| bytes[at] ^= 0x11);
        let last = (places[2]..end).contains(&at) && open(&changed.copy()).is_ok();
        let zero = |sector: usize| sector < end && bytes[sector] == 0;
        let ends_in_zero = (1..=end / 512).any(|nth| zero(nth * 512 - 1) && nth * 512 > places[2]);
        assert!(!last || ends_in_zero, "byte {at}");
        if !last {
            refused(&changed, &name, &format!("byte {at}"));
        }
    }
}

#[test]
fn a_torn_last_frame_is_dropped_and_reported() {
    let (disk, newest) = sample();
    let name = name_of(newest);
    let places = frames(&disk.bytes_of(&name).unwrap());
    let (_, whole) = open(&disk.copy()).unwrap();
    for keep in [places[2] + 1, places[2] + 100, places[3] - 20] {
        let torn = changed(&disk, &name, |bytes| bytes[keep..].fill(0));
        let (_, recovered) = open(&torn).unwrap();
        assert_eq!(recovered.messages, whole.messages - 2);
        let torn_at = recovered.torn.unwrap();
        assert_eq!((torn_at.segment.as_str(), torn_at.offset), (name.as_str(), places[2] as u64));
        assert_eq!(open(&torn).unwrap().1.torn, None);
    }
}

#[test]
fn in_a_full_segment_is_named_when_it_is_read() {
    let (disk, _) = sample();
    let name = name_of(2);
    let places = frames(&disk.bytes_of(&name).unwrap());
    let at = places[1] + FRAME_HEAD_BYTES + 60;
    let hit = changed(&disk, &name, |bytes| bytes[at] ^= 1);
    let (log, _) = open(&hit).unwrap();
    let reads = (0..4).map(|stream| log.read(&key(stream), epoch(7, 0), 0..=99, 99, usize::MAX));
    let faults: Vec<String> = reads.filter_map(Result::err).map(|fault| fault.to_string()).collect();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].contains(&name) && faults[0].contains("does not read back"), "{faults:?}");
    let mut replayed = log.replay_inbound(0).skip_while(Result::is_ok);
    let text = replayed.next().unwrap().unwrap_err().to_string();
    assert!(text.contains(&name) && text.contains(&places[1].to_string()), "{text}");
    assert!(replayed.next().is_none());
    // Without its index the whole segment is walked.
    hit.lose(&numbered(2, ".idx"));
    refused(&hit, &name, "walked");
}

#[test]
fn an_index_that_is_lost_or_changed_is_made_anew() {
    let (disk, _) = sample();
    let index = numbered(2, ".idx");
    let good = disk.bytes_of(&index).unwrap();
    let lost = disk.copy();
    lost.lose(&index);
    let (_, whole) = open(&lost).unwrap();
    assert_eq!(lost.bytes_of(&index).as_ref(), Some(&good));
    for at in 0..good.len() {
        let hit = changed(&disk, &index, |bytes| bytes[at] ^= 1);
        let (log, recovered) = open(&hit).unwrap();
        assert_eq!(recovered.messages, whole.messages);
        let reads = (0..4).map(|stream| log.read(&key(stream), epoch(7, 0), 0..=99, 99, usize::MAX));
        let faults: Vec<Fault> = reads.filter_map(Result::err).collect();
        let anew = hit.bytes_of(&index).as_ref() == Some(&good);
        assert!(anew || faults.len() == 1 && faults[0].to_string().contains(&index), "byte {at}");
    }
    for length in [0, 10, 64, good.len() - 1] {
        let cut = changed(&disk, &index, |bytes| bytes.truncate(length));
        open(&cut).unwrap();
        assert_eq!(cut.bytes_of(&index).as_ref(), Some(&good));
    }
}

#[test]
fn a_segment_that_is_not_there_is_named() {
    let (disk, newest) = sample();
    for lost in 2..=newest {
        let disk = disk.copy();
        disk.lose(&name_of(lost));
        disk.lose(&name_of(newest + 1));
        refused(&disk, &name_of(lost), "lost");
    }
    for lost in 1..=newest {
        disk.lose(&name_of(lost));
    }
    disk.tamper(&name_of(newest + 1), vec![0; 4096]);
    refused(&disk, &name_of(newest), "only the one made ahead");
}

#[test]
fn files_of_others_and_frames_from_elsewhere_do_not_pass() {
    let (disk, newest) = sample();
    let name = name_of(newest);
    // A segment of the journal.
    let journal = PowerDisk::new();
    let of_journal = crate::journal::Settings { node: NODE.to_owned(), segment_bytes: 4096 };
    crate::journal::Journal::open(Arc::new(journal.clone()), of_journal).unwrap().0.append(&[b"x"]).unwrap();
    let theirs = journal.bytes_of(&numbered(1, ".seg")).unwrap();
    refused(&changed(&disk, &name, |bytes| *bytes = theirs), &name, "journal");
    // A full segment in place of the newest.
    let full = disk.bytes_of(&name_of(2)).unwrap();
    refused(&changed(&disk, &name, |bytes| *bytes = full.clone()), &name, "moved");
    // Its frames behind the header of the newest.
    let moved = changed(&disk, &name, |bytes| bytes[512..].copy_from_slice(&full[512..]));
    refused(&moved, &name, "frames");
    let reserved = changed(&disk, &name, |bytes| bytes[4096 - SEAL_BYTES] = 1);
    refused(&reserved, &name, "reserved");
    for length in [0, 511, 512, 2000, 4095, 5000] {
        let cut = changed(&disk, &name, |bytes| bytes.resize(length, 0));
        cut.lose(&name_of(newest + 1));
        refused(&cut, &name, &format!("{length} bytes"));
    }
}
