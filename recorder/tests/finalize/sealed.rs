//! From a journal on disk.

use std::{fs, sync::Arc};

use recorder::{
    evidence::SigningKey,
    finalize::{Request, finalize},
    journal::{Folder, Moment, Writer},
    key::DataKey,
    recorded::Recorded,
};
use sfu_proto::{control::Source, id::RecordingId, sdp::Codec};

use crate::{
    media,
    tape::{Sent, Shelf, Tape, make},
};

/// The same files come out of a journal, sealed on disk and cut anywhere, as out of the records.
#[test]
fn a_journal_gives_the_files_that_its_records_give() {
    let frames = media::video(Codec::Vp8, "160x120", 2);
    let sent = [
        Sent::new(0, Source::Camera, Codec::Vp8).play(0, 33_333, &frames),
        Sent::new(1, Source::Microphone, Codec::Opus).play(0, 20_000, &media::audio(2)),
    ];
    let tape = Tape::of(&sent, vec![]);
    let parent = std::env::temp_dir().join(format!("recorded-{}", std::process::id()));
    fs::create_dir_all(&parent).unwrap();
    let folder = Folder::create(&parent, RecordingId::from_bits(9)).unwrap();
    let key = Arc::new(DataKey::generate());
    let capture = Arc::new(SigningKey::generate().unwrap());
    let mut writer = Writer::create(&folder, key.clone(), capture, Moment::now()).unwrap();
    for batch in &tape.0 {
        writer.append(batch).unwrap();
    }
    writer.close(Moment::now()).unwrap();

    let (mut shelf, mut percents) = (Shelf::default(), Vec::new());
    let recorded = Recorded::new(&folder, &key);
    let request = Request::default();
    let events = finalize(&recorded, &mut shelf, &request, &mut |now| percents.push(now)).unwrap();
    fs::remove_dir_all(&parent).unwrap();
    let plain = make(&tape);
    assert!(events == plain.events && shelf.files == plain.files);
    assert!(percents.is_sorted() && percents.len() > 4, "{percents:?}");
}
