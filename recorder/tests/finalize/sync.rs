//! Time: picture and sound together, through delay, loss, mute, silence and drift.

use recorder::finalize::{GapKind, Handle, Pause, Request, Stay, What};
use sfu_proto::{
    control::Source,
    id::ParticipantId,
    sdp::Codec,
    tap::{self, Body},
};

use crate::{
    checks::{beeps, flashes, lateness, probe},
    media,
    tape::{Made, START, Sent, Tape, bytes, make, try_make},
};

const FRAME: i64 = 33_333;

fn call(seconds: u32) -> [Sent; 2] {
    let camera = Sent::new(0, Source::Camera, Codec::Vp8);
    let microphone = Sent::new(1, Source::Microphone, Codec::Opus);
    [
        camera.play(0, FRAME, &media::video(Codec::Vp8, "160x120", seconds)),
        microphone.play(0, 20_000, &media::audio(seconds)),
    ]
}

/// How late each beep is, ms, by the files' own times and their offsets.
fn late(made: &Made) -> Vec<i64> {
    let shift = |index: u16, times: Vec<f64>| {
        let offset = made.track(index, 0).offset_ms as f64 / 1000.0;
        times.into_iter().map(|at| at + offset).collect::<Vec<_>>()
    };
    let (video, audio) = (flashes(made.file(0, 0)), beeps(made.file(1, 0)));
    lateness(&shift(0, video), &shift(1, audio))
}

fn assert_in_sync(late: &[i64], at_least: usize) {
    assert!(late.len() >= at_least, "{late:?}");
    assert!(late.iter().all(|late| late.abs() <= 40), "{late:?}");
}

#[test]
fn sound_that_came_400_ms_late_is_in_its_place() {
    let mut sent = call(8);
    sent[1].delay_us += 400_000;
    sent[1].jitter_us = 40_000;
    sent[0].jitter_us = 40_000;
    let tape = Tape::of(&sent, vec![]);
    for audio_as_webm in [false, true] {
        let made = try_make(&tape, &Request { audio_as_webm, ..Request::default() }).unwrap();
        assert_in_sync(&late(&made), 7);
        assert!(made.track(1, 0).sr_fit.unwrap().reports >= 6);
    }
}

/// The check can fail: without sender reports nothing can know better.
#[test]
fn without_reports_late_sound_stays_late() {
    let mut sent = call(5);
    sent[1].delay_us += 400_000;
    sent.iter_mut().for_each(|sent| sent.reports_every_us = 0);
    let made = make(&Tape::of(&sent, vec![]));
    assert!(late(&made).iter().all(|late| (370..450).contains(late)), "{:?}", late(&made));
    assert_eq!(made.track(0, 0).sr_fit, None);
}

#[test]
fn losses_move_nothing() {
    for (loss_per_mille, at_least) in [(20, 8), (50, 5)] {
        let mut sent = call(10);
        sent.iter_mut().for_each(|sent| sent.loss_per_mille = loss_per_mille);
        let made = make(&Tape::of(&sent, vec![]));
        // All is pinned, encoder and losses: one fewer may be left than there are.
        assert_in_sync(&late(&made), at_least);
        assert_eq!(probe(made.file(1, 0)).complaints, "");
    }
}

/// From second 3.5 to 6.5 both tracks are muted: nothing is tapped.
#[test]
fn after_a_mute_everything_is_in_its_place() {
    let mut sent = call(10);
    let muted = 3_500_000..6_500_000;
    sent.iter_mut().for_each(|sent| sent.frames.retain(|(at, _)| !muted.contains(at)));
    let mut more = Vec::new();
    for index in [0, 1] {
        for (at, is_muted) in [(muted.start, true), (muted.end, false)] {
            let at = START + at + 15_000;
            more.push((at, bytes(at, Body::Muted { index, muted: is_muted })));
        }
    }
    let tape = Tape::of(&sent, more);
    for audio_as_webm in [false, true] {
        let made = try_make(&tape, &Request { audio_as_webm, ..Request::default() }).unwrap();
        assert_in_sync(&late(&made), 6);
        for index in [0, 1] {
            let gaps = &made.track(index, 0).gaps;
            assert!(gaps.iter().all(|gap| gap.kind == GapKind::Muted), "{gaps:?}");
            let missing: u64 = gaps.iter().map(|gap| gap.to_ms - gap.from_ms).sum();
            assert!((2_900..4_100).contains(&missing), "{gaps:?}");
            assert!(probe(made.file(index, 0)).seconds > 9.8);
        }
        let muted =
            made.events.events.iter().filter(|it| matches!(it.what, What::TrackMuted { .. }));
        assert_eq!(muted.count(), 2);
    }
}

/// Discontinuous transmission: numbers go on, timestamps leap.
#[test]
fn silence_that_was_not_sent_is_silence() {
    let mut sent = call(8);
    // What is sent is the beep, and a packet of comfort noise each 400 ms.
    sent[1].frames.retain(|(at, _)| at % 1_000_000 < 160_000 || at % 400_000 == 0);
    let made = make(&Tape::of(&sent, vec![]));
    assert_in_sync(&late(&made), 6);
    let track = made.track(1, 0);
    assert!(track.gaps.len() >= 8 && track.gaps.iter().all(|gap| gap.kind == GapKind::Dtx));
    assert!(made.events.events.iter().all(|it| !matches!(it.what, What::Gap { .. })));
    assert_eq!(probe(made.file(1, 0)).complaints, "");
}

/// Half an hour with a media clock 50 ppm fast or slow: 90 ms at the end.
#[test]
fn drift_is_measured_and_taken_out() {
    let packets = media::audio(2);
    let packets: Vec<_> = packets.iter().cycle().take(90_000).cloned().collect();
    for ppm in [50, -50] {
        let mut sent = Sent::new(0, Source::Microphone, Codec::Opus).play(0, 20_000, &packets);
        (sent.ppm, sent.jitter_us, sent.reports_every_us) = (ppm, 30_000, 5_000_000);
        let tape = Tape::of(&[sent], vec![]);
        let made = try_make(&tape, &Request { audio_as_webm: true, ..Request::default() }).unwrap();
        let fit = made.track(0, 0).sr_fit.unwrap();
        assert!((fit.ppm.unwrap() - ppm as f64).abs() < 0.5, "{fit:?}");
        let duration = made.track(0, 0).duration_ms;
        assert!(duration.abs_diff(1_800_000) < 10, "{duration}");
    }
}

#[test]
fn who_was_there_is_told_and_a_rejoin_is_another_track() {
    let packets = media::audio(2);
    let first = Sent::new(0, Source::Microphone, Codec::Opus).play(0, 20_000, &packets);
    let mut again = Sent::new(1, Source::Microphone, Codec::Opus).play(5_000_000, 20_000, &packets);
    again.participant = 2;
    let us = |at: i64| (START + at) as u64;
    let stay = |id: u128, joined: i64, left: Option<i64>| Stay {
        participant: ParticipantId::from_bits(id),
        handle: Some(Handle("desk-7".into())),
        joined_us: us(joined),
        left_us: left.map(us),
    };
    let request = Request {
        people: vec![stay(1, 0, Some(2_100_000)), stay(2, 4_900_000, None)],
        pauses: vec![Pause { from_us: us(3_000_000), to_us: Some(us(4_000_000)) }],
        ..Request::default()
    };
    let at = START + 2_050_000;
    let mut speakers = Vec::new();
    tap::write_speakers(&mut speakers, (START + 1_000_000) as u64, [0u16].into_iter());
    let more = vec![(at, bytes(at, Body::Ended { index: 0 })), (START + 1_000_000, speakers)];
    let made = try_make(&Tape::of(&[first, again], more), &request).unwrap();
    let told: Vec<_> = made.events.events.iter().map(|it| (it.at_ms / 100, &it.what)).collect();
    let has = |at: i64, what: &What| told.iter().any(|it| it.0.abs_diff(at) <= 1 && it.1 == what);
    let person = |id| ParticipantId::from_bits(id);
    assert!(has(0, &What::ParticipantJoined { participant: person(1) }), "{told:?}");
    assert!(has(21, &What::ParticipantLeft { participant: person(1) }), "{told:?}");
    assert!(has(49, &What::ParticipantJoined { participant: person(2) }), "{told:?}");
    assert!(has(10, &What::Speakers { participants: vec![person(1)] }), "{told:?}");
    assert!(has(30, &What::Paused) && has(40, &What::Resumed), "{told:?}");
    assert!(has(20, &What::TrackEnded { track: made.track(0, 0).file.track }), "{told:?}");
    assert!(made.events.participants.iter().all(|it| it.handle.as_ref().unwrap().0 == "desk-7"));
    assert!(made.track(1, 0).offset_ms.abs_diff(5_000) < 30, "{}", made.track(1, 0).offset_ms);
}
