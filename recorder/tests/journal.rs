//! The journal as its users see it: what a crash, a flipped bit and a curious reader get.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "journal/place.rs"]
mod place;

use std::{fs, time::Duration};

use place::{Place, batch};
use proptest::prelude::*;
use recorder::{
    finalize::Source as _,
    journal::{Ending, Entry, OpenError, Reader, Replay, Structure},
    key::DataKey,
    limits::{JOURNAL_CHECKPOINT, JOURNAL_FLUSH},
    recorded::Recorded,
};

/// A small file with everything in it: three batches, a checkpoint, the end.
fn small(place: &Place) -> Vec<u8> {
    let mut writer = place.writer();
    for n in 0..3u64 {
        writer.append(&batch(n)).unwrap();
        writer.tick(place.at(JOURNAL_FLUSH * (u32::try_from(n).unwrap() + 1))).unwrap();
    }
    writer.tick(place.at(JOURNAL_CHECKPOINT)).unwrap();
    writer.close(place.at(JOURNAL_CHECKPOINT + JOURNAL_FLUSH)).unwrap();
    fs::read(&place.folder.files().unwrap()[0].1).unwrap()
}

/// Batches of a file's bytes and how it ends.
fn read(bytes: &[u8], key: &DataKey) -> Result<(Vec<Vec<u8>>, Ending), OpenError> {
    let mut reader = Reader::new(bytes, key)?;
    let batches = reader.by_ref().map(|batch| batch.bytes.to_vec()).collect();
    assert!(reader.next().is_none() && reader.next_entry().is_none(), "it stays at its end");
    let ending = match reader.ending().unwrap() {
        Ending::Whole { last } => Ending::Whole { last: *last },
        Ending::Truncated { offset, rest } => Ending::Truncated { offset: *offset, rest: *rest },
        Ending::Tampered { offset, seq, flaw } => {
            Ending::Tampered { offset: *offset, seq: *seq, flaw: *flaw }
        }
        Ending::Unreadable { error, .. } => panic!("{error}"),
    };
    Ok((batches, ending))
}

#[test]
fn what_was_written_is_read_and_signed_for() {
    let place = Place::new("whole");
    let bytes = small(&place);
    let (batches, ending) = read(&bytes, &place.key).unwrap();
    assert_eq!(batches, [batch(0), batch(1), batch(2)]);
    assert!(matches!(ending, Ending::Whole { last: true }));

    let mut reader = Reader::new(&bytes[..], &place.key).unwrap();
    let mut signed = Vec::new();
    while let Some(entry) = reader.next_entry() {
        if let Entry::Checkpoint(one) = entry {
            signed.push(one);
        }
    }
    let seqs: Vec<u64> = signed.iter().map(|one| one.seq).collect();
    assert_eq!(seqs, [0, 4, 5], "opening, after ten seconds, end");
    let ten_seconds = signed[1].time_ms - signed[0].time_ms;
    assert_eq!(u128::from(ten_seconds), JOURNAL_CHECKPOINT.as_millis());
    assert!(signed.iter().all(|one| one.verify(&place.capture_public())));
    assert!(!signed[1].verify(&[9; 32]));
    let mut forged = signed[1].clone();
    forged.time_ms += 1;
    assert!(!forged.verify(&place.capture_public()));
    assert_eq!(reader.header().capture_key, place.capture_public());

    let structure = Structure::read(&bytes[..]).unwrap().unwrap();
    assert_eq!((structure.batches, structure.checkpoints), (3, 3));
    assert_eq!(structure.chain, reader.head(), "the chain needs no key");
    assert!(matches!(structure.ending, Ending::Whole { last: true }));
}

#[test]
fn cut_anywhere_it_loses_the_cut_chunk_at_most() {
    let place = Place::new("cut");
    let bytes = small(&place);
    // Where chunks end, and how many batches are whole by then.
    let mut ends = vec![(152, 0)];
    let (mut at, mut whole) = (152, 0);
    while at < bytes.len() {
        let length = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        whole += usize::from(bytes[at + 12] == 1);
        at += 16 + length + 16;
        ends.push((at, whole));
    }
    assert_eq!((ends.len(), at), (7, bytes.len()));
    for len in 0..bytes.len() {
        let cut = &bytes[..len];
        let Some((_, whole)) = ends.iter().rev().find(|(end, _)| *end <= len) else {
            assert!(matches!(read(cut, &place.key), Err(OpenError::Header(_))), "{len}");
            continue;
        };
        let (batches, ending) = read(cut, &place.key).unwrap();
        assert_eq!(batches.len(), *whole, "cut at {len}");
        assert!(batches.iter().enumerate().all(|(n, one)| *one == batch(n as u64)));
        let Ending::Truncated { offset, rest } = ending else { panic!("{ending:?} at {len}") };
        assert_eq!(offset + rest, len as u64);
        // A length that was reserved and never written.
        let zeros = [cut, &[0; 5000]].concat();
        if ends.iter().any(|(end, _)| *end == len) {
            let (again, ending) = read(&zeros, &place.key).unwrap();
            assert!(again == batches && matches!(ending, Ending::Truncated { rest: 5000, .. }));
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let place = Place::new("flip");
    let bytes = small(&place);
    let good = [batch(0), batch(1), batch(2)];
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        match read(&bad, &place.key) {
            Err(OpenError::Header(_) | OpenError::Key(_)) => assert!(bit / 8 < 48, "bit {bit}"),
            Err(other) => panic!("{other}"),
            Ok((batches, ending)) => {
                assert!(!matches!(ending, Ending::Whole { .. }), "bit {bit} is not noticed");
                assert!(good.starts_with(&batches), "bit {bit} changes what is read");
            }
        }
    }
}

#[test]
fn chunks_cannot_be_swapped_repeated_dropped_or_added() {
    let place = Place::new("swap");
    let bytes = small(&place);
    let one = 16 + batch(0).len() + 16;
    let (front, rest) = bytes.split_at(152 + 104);
    let (a, b, behind) = (&rest[..one], &rest[one..2 * one], &rest[2 * one..]);
    assert_eq!((a[12], b[12]), (1, 1), "both are batches");
    let renumbered = |chunk: &[u8], seq: u8| [&[seq], &chunk[1..]].concat();
    for (name, forged) in [
        ("swapped", [front, b, a, behind].concat()),
        ("swapped and renumbered", [front, &renumbered(b, 1), &renumbered(a, 2), behind].concat()),
        ("repeated", [front, a, a, b, behind].concat()),
        ("repeated and renumbered", [front, a, &renumbered(a, 2), behind].concat()),
        ("dropped", [front, b, behind].concat()),
        ("dropped and renumbered", [front, &renumbered(b, 1), behind].concat()),
        ("added behind", [&bytes[..], b].concat()),
        ("a byte behind", [&bytes[..], &[0]].concat()),
        ("zeros behind", [&bytes[..], &[0; 64]].concat()),
    ] {
        let (batches, ending) = read(&forged, &place.key).unwrap();
        assert!(matches!(ending, Ending::Tampered { .. }), "{name}: {ending:?}");
        assert!([batch(0), batch(1), batch(2)].starts_with(&batches), "{name}");
    }
}

/// Whoever has the data key can seal what he likes, but not sign it.
#[test]
fn a_signature_of_somebody_else_is_noticed() {
    let place = Place::new("signature");
    let bytes = small(&place);
    let other = Place::with_key("other", place.key.clone(), 99);
    let forged = small(&other);
    assert!(matches!(read(&forged, &place.key), Ok((_, Ending::Whole { .. }))));
    let header = |bytes: &[u8]| Structure::read(bytes).unwrap().unwrap().header.capture_key;
    assert_ne!(header(&forged), header(&bytes), "the header says whose it is");
}

#[test]
fn another_key_is_told_from_damage() {
    let place = Place::new("key");
    let bytes = small(&place);
    let error = read(&bytes, &DataKey::generate()).unwrap_err();
    assert!(matches!(error, OpenError::Key(id) if id == place.key.id()), "{error}");
}

#[test]
fn files_of_another_place_are_refused() {
    let place = Place::new("place");
    small(&place);
    let files = place.folder.files().unwrap();
    let moved = files[0].1.with_file_name("00000002.journal");
    fs::rename(&files[0].1, moved).unwrap();
    let mut replay = Replay::of(&place.folder, &place.key).unwrap();
    assert!(replay.next().is_none());
    assert!(matches!(replay.reports()[0].found, Err(OpenError::Place)));
}

#[test]
fn neither_media_nor_keys_lie_in_the_clear() {
    let place = Place::new("pattern");
    let pattern: Vec<u8> = (0..64).map(|n: u8| n.wrapping_mul(37).wrapping_add(11)).collect();
    let mut writer = place.writer();
    for n in 1..=40u32 {
        writer.append(&pattern.repeat(20)).unwrap();
        writer.tick(place.at(JOURNAL_FLUSH * n)).unwrap();
    }
    writer.close(place.at(JOURNAL_FLUSH * 41)).unwrap();
    let mut files = 0;
    for entry in fs::read_dir(place.folder.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for needle in pattern.windows(8).chain(place.secret.windows(8)) {
            let found = bytes.windows(8).any(|window| window == needle);
            assert!(!found, "a part of the pattern or of the key lies on the disk");
        }
        files += 1;
    }
    assert_eq!(files, 1);
    let read: u64 =
        Replay::of(&place.folder, &place.key).unwrap().map(|b| b.bytes.len() as u64).sum();
    assert_eq!(read, 40 * 20 * 64, "it is there");
}

#[test]
fn a_forged_file_cannot_make_others_be_passed_over() {
    let place = Place::new("forged");
    let bytes = small(&place);
    // The header of the real file as number 2, of the same run and base, with nothing valid behind.
    let mut forged = bytes[..152].to_vec();
    forged[12] = 2;
    forged.extend([0xee; 500]);
    fs::write(place.folder.path().join("00000002.journal"), &forged).unwrap();
    let mut replay = Replay::of(&place.folder, &place.key).unwrap();
    assert_eq!(replay.by_ref().count(), 3);
    let endings: Vec<bool> = replay
        .reports()
        .iter()
        .map(|report| matches!(report.found.as_ref().unwrap().ending, Ending::Whole { .. }))
        .collect();
    assert_eq!(endings, [true, false]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any batches at any times, cut anywhere: whole batches in order, no more lost than is unwritten.
    #[test]
    fn batches_come_back_whole_and_in_order(
        steps in prop::collection::vec((1usize..3000, 0u64..400), 1..40),
        cut in 0.0..1.0f64,
    ) {
        let place = Place::new("random");
        let mut writer = place.writer();
        let (mut passed, mut all) = (Duration::ZERO, Vec::new());
        for (n, (length, wait)) in steps.iter().enumerate() {
            let bytes: Vec<u8> = (0..*length).map(|i| (i ^ n) as u8).collect();
            writer.append(&bytes).unwrap();
            all.push(bytes);
            passed += Duration::from_millis(*wait);
            writer.tick(place.at(passed)).unwrap();
        }
        let stats = writer.close(place.at(passed)).unwrap();
        prop_assert_eq!(stats.plain_bytes as usize, all.concat().len());
        let file = fs::read(&place.folder.files().unwrap()[0].1).unwrap();
        let (chunks, ending) = read(&file, &place.key).unwrap();
        let whole = matches!(ending, Ending::Whole { last: true });
        prop_assert!(whole);
        prop_assert_eq!(chunks.concat(), all.concat());
        // Each chunk ends where a batch ends.
        let mut ends: Vec<usize> = Vec::new();
        for batch in &all { ends.push(ends.last().unwrap_or(&0) + batch.len()); }
        let mut at = 0;
        for chunk in &chunks { at += chunk.len(); prop_assert!(ends.contains(&at)); }

        let cut = (file.len() as f64 * cut) as usize;
        if let Ok((some, ending)) = read(&file[..cut], &place.key) {
            prop_assert!(chunks.starts_with(&some));
            let truncated = matches!(ending, Ending::Truncated { .. });
            prop_assert!(truncated);
        } else {
            prop_assert!(cut < 152);
        }
    }

    /// Any bytes behind a good header: no panic, nothing is given out.
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 1..2000)) {
        let place = Place::new("bytes");
        let good = small(&place);
        let (batches, ending) = read(&[&good[..152], &bytes].concat(), &place.key).unwrap();
        prop_assert!(batches.is_empty());
        let whole = matches!(ending, Ending::Whole { .. });
        prop_assert!(!whole);
        let _ = Structure::read(&bytes[..]);
    }
}

/// What finalize and evidence take of a journal of two runs, one of them cut off.
#[test]
fn the_journal_is_a_source_and_gives_its_heads() {
    let place = Place::new("source");
    for closes in [false, true] {
        let mut writer = place.writer();
        writer.append(&batch(u64::from(closes))).unwrap();
        writer.tick(place.at(JOURNAL_FLUSH)).unwrap();
        if closes {
            writer.close(place.at(JOURNAL_FLUSH)).unwrap();
        }
    }
    let source = Recorded::new(&place.folder, &place.key);
    assert!(source.bytes().unwrap() > 2 * batch(0).len() as u64);
    for _ in 0..2 {
        let given = source.batches().unwrap().map(|one| one.unwrap().as_ref().to_vec());
        assert_eq!(given.collect::<Vec<_>>(), [batch(0), batch(1)]);
    }
    let mut replay = Replay::of(&place.folder, &place.key).unwrap();
    assert_eq!(replay.by_ref().count(), 2);
    for (report, (number, path)) in replay.reports().iter().zip(place.folder.files().unwrap()) {
        let head = report.found.as_ref().unwrap().journal_head();
        let alone = Structure::read(&fs::read(path).unwrap()[..]).unwrap().unwrap();
        assert_eq!((head.file, head.head.0), (number, alone.chain));
        assert_eq!(head.chunks, alone.batches + alone.checkpoints);
    }
    // A directory opens like a file and cannot be read.
    fs::create_dir(place.folder.path().join("00000003.journal")).unwrap();
    let all: Vec<bool> = source.batches().unwrap().map(|one| one.is_ok()).collect();
    assert_eq!(all, [true, true, false]);
    let all = source.past_unreadable();
    assert!(all.batches().unwrap().all(|one| one.is_ok()));
}
