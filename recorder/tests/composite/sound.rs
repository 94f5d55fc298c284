//! The sound alone.

use recorder::composite::{Mask, Region};
use sfu_proto::{control::Source, sdp::Codec};

use crate::{
    checks::{beeps, probe},
    kitchen::{Wanted, compose},
    media,
    tape::{Sent, Tape},
};

#[test]
fn voices_are_mixed_each_at_its_time_and_a_masked_one_is_not_heard() {
    let packets = media::audio(4);
    let sent = [
        Sent::new(0, Source::Microphone, Codec::Opus).play(0, 20_000, &packets),
        Sent { participant: 2, ..Sent::new(1, Source::Microphone, Codec::Opus) }
            .play(2_500_000, 20_000, &packets),
        Sent { participant: 2, ..Sent::new(2, Source::ScreenAudio, Codec::Opus) }
            .play(250_000, 20_000, &packets),
    ];
    let tape = Tape::of(&sent, vec![]);
    let region = Region { x: 0, y: 0, width: 1000, height: 1000, solid: true };
    let masks = [Mask { source: Source::ScreenAudio, handle: None, region }];
    let near = |heard: &[f64], wanted: &[f64]| {
        let found = |at: &f64| heard.iter().any(|beep| (beep - at).abs() < 0.03);
        assert!(wanted.iter().all(found), "{heard:?} instead of {wanted:?}");
    };
    let own = [1.0, 2.0, 3.0, 3.5, 4.5, 5.5];
    let screen = [1.25, 2.25, 3.25];
    for masks in [&[][..], &masks] {
        let wanted = Wanted { only_sound: true, masks, ..Wanted::default() };
        let (_, files) = compose(&tape, wanted);
        assert_eq!(files.0.len(), 1);
        let mixed = files.bytes("audio-mix.ogg");
        let said = probe(mixed);
        assert_eq!((said.complaints.as_str(), said.codec.as_str()), ("", "opus"));
        assert!((said.seconds - 6.5).abs() < 0.1, "{said:?}");
        let heard = beeps(mixed);
        near(&heard, &own);
        match masks.is_empty() {
            true => near(&heard, &screen),
            false => assert!(heard.iter().all(|at| screen.iter().all(|no| (at - no).abs() > 0.1))),
        }
    }
}
