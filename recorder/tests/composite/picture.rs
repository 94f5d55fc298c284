//! Everybody in place, in time.

use recorder::{
    composite::{Canvas, Layout, Mask, Region},
    finalize::{Handle, Pause, Request, Stay},
};
use sfu_proto::{
    control::Source,
    id::ParticipantId,
    sdp::Codec,
    tap::{Body, write_speakers},
};

use crate::{
    checks::{OnDisk, beeps, lateness, probe},
    kitchen::{BLACK, BLUE, GREEN, PLAIN, RED, Wanted, YELLOW, coloured, compose, is, try_compose},
    media,
    tape::{START, Sent, Tape, bytes, try_make},
};

const FRAME: i64 = 33_333;
const H264: Codec = Codec::H264 { profile: 0x42e0, packetization_mode: 1 };
const CODECS: [Codec; 4] = [Codec::Vp8, Codec::Vp9 { profile: 0 }, H264, Codec::Av1 { profile: 0 }];
const COLOURS: [(&str, [u8; 3]); 4] =
    [("red", RED), ("green", GREEN), ("blue", BLUE), ("yellow", YELLOW)];
/// Tiles of a grid of four, left and right half of each.
const TILES: [(usize, usize); 4] = [(40, 45), (200, 45), (40, 135), (200, 135)];
const RIGHT: usize = 80;

fn film(n: usize, codec: Codec, seconds: u32) -> Vec<Vec<u8>> {
    let filter = coloured(COLOURS[n].0);
    media::video_of(codec, "160x90", seconds, 30, &["-vf", &filter])
}

fn camera(n: usize, codec: Codec) -> Sent {
    let sent = Sent::new(n as u16, Source::Camera, codec);
    Sent { participant: n as u128 + 1, ..sent }
}

fn microphone(index: u16, participant: u128) -> Sent {
    Sent { participant, ..Sent::new(index, Source::Microphone, Codec::Opus) }
}

#[track_caller]
fn in_step(flashes: &[f64], beeps: &[f64], at_least: usize) {
    let late = lateness(flashes, beeps);
    assert!(late.len() >= at_least, "{flashes:?} {beeps:?}");
    assert!(late.iter().all(|ms| ms.abs() <= 40), "{late:?}");
}

#[test]
fn four_codecs_that_join_one_after_another_are_in_place_and_in_step() {
    const JOIN: [i64; 4] = [0, 2, 1, 3];
    let mut sent: Vec<Sent> = (0..4)
        .map(|n| {
            let frames = film(n, CODECS[n], 6 - JOIN[n] as u32);
            let mut sent = camera(n, CODECS[n]).play(JOIN[n] * 1_000_000, FRAME, &frames);
            (sent.jitter_us, sent.doubles_per_mille) = (40_000, 10);
            sent
        })
        .collect();
    // The sound's way is longer by 400 ms; reports tell.
    let sound = microphone(4, 1).play(0, 20_000, &media::audio(6));
    sent.push(Sent { delay_us: 420_000, ..sound });
    let (events, files) = compose(&Tape::of(&sent, vec![]), Wanted::default());
    let looked = files.composite();
    assert_eq!(looked.streams[0], "h264,320,180,30/1");
    assert!(looked.streams[1].starts_with("aac,48000"), "{:?}", looked.streams);
    assert_eq!(looked.frames.len() as u64, (events.duration_ms * 30).div_ceil(1000));
    let said = probe(files.bytes("composite.mp4"));
    assert_eq!((said.complaints.as_str(), said.frames), ("", looked.frames.len() as u64));
    assert!((said.seconds - 6.0).abs() < 0.6, "{said:?}");
    for (n, (x, y)) in TILES.into_iter().enumerate() {
        let join = JOIN[n] as f64;
        for second in [0.4, 1.4, 2.4, 3.4, 4.4, 5.4] {
            let wanted = if second < join { PLAIN } else { COLOURS[n].1 };
            let colour = looked.colour(second, x, y);
            assert!(is(colour, wanted), "{n} at {second}: {colour:?} instead of {wanted:?}");
        }
    }
    let beeps = beeps(files.bytes("composite.mp4"));
    for (n, (x, y)) in TILES.into_iter().enumerate() {
        in_step(&looked.flashes(x + RIGHT, y), &beeps, 4 - JOIN[n] as usize);
    }
}

#[test]
fn a_mute_is_plain_and_silent_and_what_follows_stays_in_place() {
    let (frames, packets) = (film(0, Codec::Vp8, 8), media::audio(8));
    let kept = |at: i64| !(3_000_000..5_000_000).contains(&at);
    let mut video = camera(0, Codec::Vp8).play(0, FRAME, &frames);
    let mut sound = microphone(1, 1).play(0, 20_000, &packets);
    video.frames.retain(|(at, _)| kept(*at));
    sound.frames.retain(|(at, _)| kept(*at));
    sound.delay_us = 300_000;
    let mute =
        |at: i64, index, muted| (START + at, bytes(START + at, Body::Muted { index, muted }));
    let more = vec![
        mute(3_150_000, 0, true),
        mute(3_150_000 + 200_000, 1, true),
        mute(4_950_000, 0, false),
        mute(4_950_000, 1, false),
    ];
    let (_, files) = compose(&Tape::of(&[video, sound], more), Wanted::default());
    let looked = files.composite();
    for (second, wanted) in [(2.5, RED), (3.3, PLAIN), (4.7, PLAIN), (5.3, RED), (7.5, RED)] {
        let colour = looked.colour(second, 80, 90);
        assert!(is(colour, wanted), "at {second}: {colour:?} instead of {wanted:?}");
    }
    let beeps = beeps(files.bytes("composite.mp4"));
    assert!(!beeps.iter().any(|at| (3.5..4.8).contains(at)), "{beeps:?}");
    in_step(&looked.flashes(240, 90), &beeps, 5);
    assert!(beeps.iter().filter(|at| **at > 4.9).count() >= 2, "{beeps:?}");
}

/// Decoders end while there is nothing to decode for them, and others begin behind.
#[test]
fn after_a_long_mute_everything_is_where_it_would_have_been() {
    // A key frame each second and nowhere else, so that sight begins with the one at 37 s.
    let more = ["-vf", &coloured("red"), "-keyint_min", "30"];
    let frames = media::video_of(Codec::Vp8, "160x90", 40, 30, &more);
    let packets = media::audio(40);
    let kept = |at: i64| !(2_500_000..36_990_000).contains(&at);
    let mut video = camera(0, Codec::Vp8).play(0, FRAME, &frames);
    let mut sound = microphone(1, 1).play(0, 20_000, &packets);
    video.frames.retain(|(at, _)| kept(*at));
    sound.frames.retain(|(at, _)| kept(*at));
    let mute =
        |at: i64, index, muted| (START + at, bytes(START + at, Body::Muted { index, muted }));
    let more = [(2_700_000, true), (36_900_000, false)];
    let more = more.iter().flat_map(|(at, is)| [mute(*at, 0, *is), mute(*at, 1, *is)]).collect();
    let canvas = Canvas { width: 160, height: 90 };
    let tape = Tape::of(&[video, sound], more);
    let (_, files) = compose(&tape, Wanted { canvas, ..Wanted::default() });
    let looked = files.composite();
    for (second, wanted) in [(1.5, RED), (5.0, PLAIN), (36.0, PLAIN), (37.5, RED), (39.5, RED)] {
        let colour = looked.colour(second, 40, 45);
        assert!(is(colour, wanted), "at {second}: {colour:?} instead of {wanted:?}");
    }
    let (beeps, flashes) = (beeps(files.bytes("composite.mp4")), looked.flashes(120, 45));
    in_step(&flashes, &beeps, 5);
    let after = |times: &[f64]| times.iter().filter(|at| **at > 36.0).count();
    assert!(after(&beeps) >= 2 && after(&flashes) >= 2, "{beeps:?} {flashes:?}");
    let near = |at: &&f64| (**at - 38.0).abs() < 0.1;
    assert!(beeps.iter().any(|at| near(&at)), "{beeps:?}");
}

#[test]
fn a_picture_that_comes_into_sight_again_is_the_one_of_that_time() {
    comes_into_sight_again(Codec::Vp8);
}

#[test]
fn so_does_one_of_h264_which_lies_in_another_container() {
    comes_into_sight_again(H264);
}

/// Sight begins between two key frames, far behind the beginning.
fn comes_into_sight_again(codec: Codec) {
    let frames = media::video_of(codec, "160x90", 40, 90, &["-vf", &coloured("red")]);
    let sent = [
        camera(0, codec).play(0, FRAME, &frames),
        microphone(1, 1).play(0, 20_000, &media::audio(40)),
    ];
    let tape = Tape::of(&sent, vec![]);
    let at = |us: i64| (START + us) as u64;
    let pauses = vec![Pause { from_us: at(1_500_000), to_us: Some(at(37_400_000)) }];
    let request = Request { pauses, ..Request::default() };
    let events = try_make(&tape, &request).unwrap().events;
    let canvas = Canvas { width: 160, height: 90 };
    let wanted = Wanted { canvas, ..Wanted::default() };
    let (files, done) = try_compose(&tape, &events, wanted, &|| false).unwrap();
    assert_eq!(done.flawed, 0);
    let looked = files.composite();
    for (second, wanted) in [(1.0, RED), (20.0, BLACK), (37.0, BLACK), (37.6, RED), (39.5, RED)] {
        let colour = looked.colour(second, 40, 45);
        assert!(is(colour, wanted), "at {second}: {colour:?} instead of {wanted:?}");
    }
    let flashes: Vec<f64> = looked.flashes(120, 45).into_iter().filter(|at| *at > 37.6).collect();
    in_step(&flashes, &beeps(files.bytes("composite.mp4")), 2);
}

/// A screen that does not change sends nothing: what it showed last is to be seen, also when it was hidden
/// for long.
#[test]
fn a_still_screen_that_comes_into_sight_again_stands_as_it_was() {
    // Its last key frame comes while it is hidden.
    let frames = media::video_of(Codec::Vp8, "160x90", 8, 90, &["-vf", &coloured("red")]);
    let sent = [
        Sent { source: Source::Screen, ..camera(0, Codec::Vp8).play(0, FRAME, &frames) },
        microphone(1, 1).play(0, 20_000, &media::audio(40)),
    ];
    let tape = Tape::of(&sent, vec![]);
    let at = |us: i64| (START + us) as u64;
    let pauses = vec![Pause { from_us: at(1_500_000), to_us: Some(at(37_400_000)) }];
    let request = Request { pauses, ..Request::default() };
    let events = try_make(&tape, &request).unwrap().events;
    let canvas = Canvas { width: 160, height: 90 };
    let wanted = Wanted { canvas, ..Wanted::default() };
    let (files, done) = try_compose(&tape, &events, wanted, &|| false).unwrap();
    assert_eq!(done.flawed, 0);
    let looked = files.composite();
    // Beside it is a plain tile of its owner.
    for (second, wanted) in [(1.0, RED), (20.0, BLACK), (37.6, RED), (39.5, RED)] {
        let colour = looked.colour(second, 20, 45);
        assert!(is(colour, wanted), "at {second}: {colour:?} instead of {wanted:?}");
    }
}

#[test]
fn changes_of_resolution_and_loss_of_sound_move_nothing() {
    let parts = [("160x90", 2), ("320x180", 2), ("90x160", 2)].map(|(size, seconds)| {
        let filter = coloured("blue");
        media::video_of(Codec::Vp8, size, seconds, 30, &["-vf", &filter])
    });
    let mut video = camera(0, Codec::Vp8);
    for (n, frames) in parts.iter().enumerate() {
        video = video.play(n as i64 * 2_000_000, FRAME, frames);
    }
    let sound = microphone(1, 1).play(0, 20_000, &media::audio(6));
    let sound = Sent { loss_per_mille: 100, ..sound };
    let (events, files) = compose(&Tape::of(&[video, sound], vec![]), Wanted::default());
    let looked = files.composite();
    assert_eq!(looked.frames.len() as u64, (events.duration_ms * 30).div_ceil(1000));
    for second in [0.5, 1.5, 2.5, 3.5] {
        assert!(is(looked.colour(second, 80, 90), BLUE), "at {second}");
    }
    // Upright: in the middle, with nothing beside it.
    assert!(is(looked.colour(4.5, 80, 90), BLACK) && is(looked.colour(4.5, 135, 90), BLUE));
    in_step(&looked.flashes(180, 90), &beeps(files.bytes("composite.mp4")), 5);
}

#[test]
fn who_speaks_is_large_and_the_other_small() {
    let sent: Vec<Sent> =
        (0..2).map(|n| camera(n, CODECS[n]).play(0, FRAME, &film(n, CODECS[n], 4))).collect();
    let speaks = |at: i64, index: u16| {
        let mut out = Vec::new();
        write_speakers(&mut out, (START + at) as u64, [index].into_iter());
        (START + at, out)
    };
    let tape = Tape::of(&sent, vec![speaks(0, 0), speaks(2_000_000, 1)]);
    let wanted = Wanted { layout: Layout::Speaker, ..Wanted::default() };
    let (_, files) = compose(&tape, wanted);
    let looked = files.composite();
    // Large: 240 × 135; beside: 80 × 44.
    let told: serde_json::Value = serde_json::from_slice(files.bytes("layout.json")).unwrap();
    assert_eq!((&told["width"], &told["height"]), (&320.into(), &180.into()));
    let tracks = |second: u64| {
        let at = |ms: &serde_json::Value| ms.as_u64().unwrap();
        let during = |told: &&serde_json::Value| {
            (at(&told["from_ms"])..at(&told["to_ms"])).contains(&(second * 1000 + 500))
        };
        let mut intervals = told["intervals"].as_array().unwrap().iter();
        let tiles = intervals.find(during).unwrap()["tiles"].as_array().unwrap();
        let wide = |tile: &serde_json::Value| (tile["width"].clone(), tile["track"].clone());
        tiles.iter().map(wide).collect::<Vec<_>>()
    };
    let names = ["0000-0-camera.webm", "0001-0-camera.mp4"];
    let of = |large: usize, small: usize| {
        vec![(240.into(), names[large].into()), (80.into(), names[small].into())]
    };
    assert_eq!([tracks(1), tracks(2), tracks(3)], [of(0, 1), of(1, 0), of(1, 0)]);
    for (second, large, small) in [(1.5, RED, GREEN), (2.5, GREEN, RED), (3.5, GREEN, RED)] {
        assert!(is(looked.colour(second, 100, 40), large), "at {second}");
        assert!(is(looked.colour(second, 255, 90), small), "at {second}");
    }
}

#[test]
fn masks_are_burnt_into_every_picture_of_their_source_only() {
    let mut sent: Vec<Sent> =
        (0..2).map(|n| camera(n, CODECS[n]).play(0, FRAME, &film(n, CODECS[n], 3))).collect();
    sent[1].source = Source::Screen;
    let region = Region { x: 0, y: 0, width: 500, height: 1000, solid: true };
    let masks = [Mask { source: Source::Camera, handle: None, region }];
    let wanted = Wanted { masks: &masks, ..Wanted::default() };
    let (_, files) = compose(&Tape::of(&sent, vec![]), wanted);
    let looked = files.composite();
    // Of a grid of three: the screen, the camera beside it, below a plain tile of the screen's owner.
    for n in 0..looked.frames.len() - 2 {
        let second = n as f64 / 30.0;
        let has_begun = n >= 6;
        assert!(!has_begun || is(looked.colour(second, 40, 45), GREEN), "frame {n}");
        for (x, y) in [(166, 6), (200, 45), (234, 84)] {
            let colour = looked.colour(second, x, y);
            assert!(is(colour, BLACK) || !has_begun && is(colour, PLAIN), "frame {n}: {colour:?}");
        }
    }
}

#[test]
fn a_mask_of_one_person_is_on_that_ones_picture_only() {
    let sent: Vec<Sent> =
        (0..3).map(|n| camera(n, CODECS[n]).play(0, FRAME, &film(n, CODECS[n], 2))).collect();
    let tape = Tape::of(&sent, vec![]);
    let named = |participant, handle: Option<&str>| Stay {
        participant: ParticipantId::from_bits(participant),
        handle: handle.map(|handle| Handle(handle.to_owned())),
        joined_us: START as u64,
        left_us: None,
    };
    // Who has no handle may be the one who is meant.
    let people = vec![named(1, Some("ann")), named(2, Some("ben")), named(3, None)];
    let events = try_make(&tape, &Request { people, ..Request::default() }).unwrap().events;
    let region = Region { x: 0, y: 0, width: 1000, height: 1000, solid: true };
    let masks = [Mask { source: Source::Camera, handle: Some(Handle("ben".to_owned())), region }];
    let wanted = Wanted { masks: &masks, ..Wanted::default() };
    let (files, done) = try_compose(&tape, &events, wanted, &|| false).unwrap();
    assert_eq!(done.flawed, 0);
    let looked = files.composite();
    let colours = TILES[..2].iter().map(|(x, y)| looked.colour(1.5, *x, *y)).collect::<Vec<_>>();
    assert!(is(colours[0], RED) && is(colours[1], BLACK), "{colours:?}");
    // The third is in the middle of its row.
    assert!(is(looked.colour(1.5, 120, 135), BLACK), "{:?}", looked.colour(1.5, 120, 135));
}

/// Within the encoder's limits of time and memory.
#[test]
fn the_largest_composite_has_its_size_and_all_its_pictures() {
    let sent = [
        camera(0, Codec::Vp8).play(0, FRAME, &film(0, Codec::Vp8, 2)),
        microphone(1, 1).play(0, 20_000, &media::audio(2)),
    ];
    let wanted = Wanted { canvas: Canvas::FULL_HD, ..Wanted::default() };
    let (events, files) = compose(&Tape::of(&sent, vec![]), wanted);
    let composite = files.bytes("composite.mp4");
    let said = probe(composite);
    assert_eq!(said.complaints, "");
    assert_eq!(said.frames, (events.duration_ms * 30).div_ceil(1000));
    let file = OnDisk::new(composite);
    let args = ["-v", "error", "-select_streams", "v", "-show_entries", "stream=width,height"];
    let (size, _) = media::run("ffprobe", &[&args[..], &["-of", "csv=p=0", file.path()]].concat());
    assert_eq!(String::from_utf8(size).unwrap().trim(), "1920,1080");
}

#[test]
fn hls_plays_as_long_as_the_composite() {
    let sent = [
        camera(0, Codec::Vp8).play(0, FRAME, &film(0, Codec::Vp8, 15)),
        microphone(1, 1).play(0, 20_000, &media::audio(15)),
    ];
    let canvas = Canvas { width: 160, height: 90 };
    let wanted = Wanted { hls: true, canvas, ..Wanted::default() };
    let (_, files) = compose(&Tape::of(&sent, vec![]), wanted);
    let names: Vec<_> = files.0.keys().map(String::as_str).collect();
    let segments = ["hls/00001.m4s", "hls/00002.m4s", "hls/00003.m4s"];
    let rest = ["hls/index.m3u8", "hls/init.mp4", "layout.json"];
    assert_eq!(names, [&["composite.mp4"][..], &segments, &rest].concat());
    let folder = std::env::temp_dir().join(format!("composite-hls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (name, (bytes, _)) in &files.0 {
        if let Some(name) = name.strip_prefix("hls/") {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }
    let playlist = folder.join("index.m3u8");
    let args = ["-v", "error", "-count_packets", "-select_streams", "v", "-show_entries"];
    let more = ["stream=nb_read_packets", "-of", "csv=p=0", playlist.to_str().unwrap()];
    let (count, complaints) = media::run("ffprobe", &[&args[..], &more].concat());
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(complaints, "");
    let count: u64 =
        String::from_utf8(count).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(count, probe(files.bytes("composite.mp4")).frames);
    assert!((449..=452).contains(&count), "{count}");
}
