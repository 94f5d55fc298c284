//! Each codec's files, whole and with holes.

use recorder::finalize::{CodecName, Container, GapKind, Request, What};
use sfu_proto::{control::Source, sdp::Codec, tap::Body};

use crate::{
    checks::{OnDisk, probe},
    media,
    tape::{Made, START, Sent, Tape, bytes, make, try_make},
};

const FRAME: i64 = 33_333;
pub(crate) const VP9: Codec = Codec::Vp9 { profile: 0 };
pub(crate) const H264: Codec = Codec::H264 { profile: 0x42e0, packetization_mode: 1 };
pub(crate) const AV1: Codec = Codec::Av1 { profile: 0 };
const ALL: [(Codec, &str); 4] = [(Codec::Vp8, "vp8"), (VP9, "vp9"), (H264, "h264"), (AV1, "av1")];

fn camera(codec: Codec) -> Sent {
    Sent::new(0, Source::Camera, codec)
}

#[test]
fn every_codec_plays_whole_after_jitter_and_doubles() {
    for (codec, name) in ALL {
        let frames = media::video(codec, "160x120", 4);
        let mut sent = camera(codec).play(0, FRAME, &frames);
        (sent.jitter_us, sent.doubles_per_mille) = (60_000, 20);
        let tape = Tape::of(&[sent], vec![]);
        for as_webm in [false, true] {
            let request = Request { video_as_webm: as_webm, ..Request::default() };
            let made = try_make(&tape, &request).unwrap();
            let (track, said) = (made.track(0, 0), probe(made.file(0, 0)));
            assert_eq!(said.complaints, "", "{name}");
            assert_eq!((said.codec.as_str(), said.frames), (name, frames.len() as u64), "{name}");
            assert!((said.seconds - 4.0).abs() < 0.1, "{name}: {said:?}");
            assert_eq!((track.frames, track.frames_left_out), (120, 0), "{name}");
            assert!((3_950..4_050).contains(&track.duration_ms), "{name}: {track:?}");
            assert!((4..=5).contains(&track.key_frames), "{name}: {track:?}");
            assert_eq!(track.gaps, [], "{name}");
            assert_eq!((track.resolutions[0].width, track.resolutions[0].height), (160, 120));
        }
    }
}

#[test]
fn sound_plays_whole_as_ogg_and_as_webm() {
    let packets = media::audio(5);
    let mut sent = Sent::new(0, Source::Microphone, Codec::Opus).play(0, 20_000, &packets);
    (sent.jitter_us, sent.doubles_per_mille) = (60_000, 20);
    let tape = Tape::of(&[sent], vec![]);
    for audio_as_webm in [false, true] {
        let made = try_make(&tape, &Request { audio_as_webm, ..Request::default() }).unwrap();
        let said = probe(made.file(0, 0));
        assert_eq!((said.complaints.as_str(), said.codec.as_str()), ("", "opus"));
        assert_eq!(said.frames, packets.len() as u64);
        assert!((said.seconds - 5.0).abs() < 0.05, "{said:?}");
        let wanted = if audio_as_webm { Container::Webm } else { Container::Ogg };
        assert_eq!(made.track(0, 0).file.container, wanted);
        assert_eq!(made.track(0, 0).gaps, []);
    }
}

/// Nothing that a decoder complains about is in a file; what is not there is told.
#[test]
fn with_losses_only_what_decodes_is_kept_and_the_rest_is_told() {
    for (codec, name) in ALL {
        let frames = media::video(codec, "160x120", 6);
        for loss_per_mille in [20, 50] {
            let sent = Sent { loss_per_mille, jitter_us: 30_000, ..camera(codec) };
            let made = make(&Tape::of(&[sent.play(0, FRAME, &frames)], vec![]));
            let (track, said) = (made.track(0, 0), probe(made.file(0, 0)));
            assert_eq!(said.complaints, "", "{name}");
            assert_eq!(said.frames, track.frames, "{name}");
            assert!(track.frames < 180 && track.frames > 20, "{name}: {}", track.frames);
            assert!(track.gaps.iter().all(|gap| gap.kind == GapKind::Loss), "{name}");
            let missing: u64 = track.gaps.iter().map(|gap| gap.to_ms - gap.from_ms).sum();
            let kept = track.duration_ms - missing;
            assert!(kept.abs_diff(track.frames * 1000 / 30) < 150, "{name}: {track:?}");
            let gaps = made.events.events.iter().filter(|it| matches!(it.what, What::Gap { .. }));
            assert_eq!(gaps.count(), track.gaps.len());
        }
    }
}

#[test]
fn lost_sound_is_a_gap_in_time_and_what_follows_stays_in_place() {
    let packets = media::audio(8);
    let mut sent = Sent::new(0, Source::Microphone, Codec::Opus).play(0, 20_000, &packets);
    sent.loss_per_mille = 50;
    let tape = Tape::of(&[sent], vec![]);
    for audio_as_webm in [false, true] {
        let made = try_make(&tape, &Request { audio_as_webm, ..Request::default() }).unwrap();
        let (track, said) = (made.track(0, 0), probe(made.file(0, 0)));
        assert_eq!(said.complaints, "");
        assert!(track.frames < 400 && track.gaps.iter().all(|gap| gap.kind == GapKind::Loss));
        assert!((said.seconds - 8.0).abs() < 0.1, "{said:?}");
        assert!(track.duration_ms.abs_diff(8_000) < 50, "{}", track.duration_ms);
    }
}

#[test]
fn a_change_of_resolution_stays_in_one_file() {
    for (codec, name) in ALL {
        let small = media::video(codec, "160x120", 2);
        let large = media::video(codec, "320x240", 2);
        let sent = camera(codec)
            .play(0, FRAME, &small)
            .play(2_000_000, FRAME, &large)
            .play(4_000_000, FRAME, &small);
        let made = make(&Tape::of(&[sent], vec![]));
        let (track, said) = (made.track(0, 0), probe(made.file(0, 0)));
        assert_eq!(said.complaints, "", "{name}");
        assert_eq!(said.frames, 180, "{name}");
        assert!((said.seconds - 6.0).abs() < 0.1, "{name}: {said:?}");
        let sizes: Vec<_> =
            track.resolutions.iter().map(|it| (it.at_ms / 1000, it.width)).collect();
        assert_eq!(sizes, [(0, 160), (2, 320), (4, 160)], "{name}");
    }
}

#[test]
fn another_codec_is_another_file() {
    let first = camera(Codec::Vp8).play(0, FRAME, &media::video(Codec::Vp8, "160x120", 2));
    let second = camera(H264).play(2_000_000, FRAME, &media::video(H264, "160x120", 2));
    let mut tape = Tape::of(&[first], vec![]);
    let mut rest = vec![(START, second.began())];
    rest.extend(second.records(5));
    tape.0.push(rest.into_iter().flat_map(|(_, record)| record).collect());
    let made = make(&tape);
    assert_eq!(made.events.tracks.len(), 2);
    assert_eq!(made.track(0, 0).file.codec, CodecName::Vp8);
    assert_eq!(made.track(0, 1).file.codec, CodecName::H264);
    assert_eq!(probe(made.file(0, 0)).frames, 60);
    assert_eq!(probe(made.file(0, 1)).frames, 60);
    let offset = made.track(0, 1).offset_ms - made.track(0, 0).offset_ms;
    assert!((1_990..=2_010).contains(&offset), "{offset}");
    assert!(made.events.events.iter().any(|it| matches!(it.what, What::CodecChanged { .. })));
}

#[test]
fn another_ssrc_or_simulcast_layer_goes_on_in_the_same_file() {
    let small = media::video(Codec::Vp8, "160x120", 2);
    let large = media::video(Codec::Vp8, "320x240", 4);
    let first = camera(Codec::Vp8).play(0, FRAME, &small);
    let mut second = camera(Codec::Vp8).play(2_000_000, FRAME, &large);
    (second.seq, second.timestamp) = (77, 1_234_567);
    let mut tape = Tape::of(std::slice::from_ref(&first), vec![]);
    let mut rest = vec![(START, second.began_at(START + 2_000_000))];
    rest.extend(second.records(5));
    let plain = |records: &[(i64, Vec<u8>)]| -> Vec<u8> {
        records.iter().flat_map(|(_, record)| record.clone()).collect()
    };
    tape.0.push(plain(&rest[..rest.len() / 8]));
    // Given again after a crash of the recorder's process: the end of the first, whose numbers are higher, and
    // what came of the second.
    let before = first.records(1);
    tape.0.push(plain(&before[before.len() - 50..]));
    tape.0.push(plain(&rest));
    let made = make(&tape);
    let said = probe(made.file(0, 0));
    assert_eq!((made.events.tracks.len(), said.frames), (1, 180));
    assert_eq!(said.complaints, "");
    assert!((said.seconds - 6.0).abs() < 0.1, "{said:?}");
}

/// The layers of a picture in one superframe: libvpx shows the topmost (each layer here is a key frame,
/// as ffmpeg's encoder makes no spatial layers).
#[test]
fn spatial_layers_of_vp9_become_superframes() {
    let small = media::video_of(VP9, "160x120", 1, 1, &[]);
    let large = media::video_of(VP9, "320x240", 1, 1, &[]);
    let mut records = vec![(START, camera(VP9).began())];
    let mut seq = 100;
    for (n, layers) in small.iter().zip(&large).enumerate() {
        for (layer, frame) in [layers.0, layers.1].into_iter().enumerate() {
            let chunks: Vec<_> = frame.chunks(1_000).collect();
            for (k, chunk) in chunks.iter().enumerate() {
                let [first, last] = [k == 0, k + 1 == chunks.len()].map(u8::from);
                // I, L, B, E; picture id of 15 bits; SID with D; TL0PICIDX.
                let mut payload = vec![0xa0 | first << 3 | last << 2, 0x80, n as u8];
                payload.extend([(layer as u8) << 1 | layer as u8, n as u8]);
                payload.extend_from_slice(chunk);
                seq += 1;
                let at = START + n as i64 * FRAME;
                let packet = sfu_proto::tap::Packet {
                    index: 0,
                    seq: sfu_proto::unit::SeqNo(seq),
                    timestamp: sfu_proto::unit::RtpTimestamp(n as u32 * 3_000),
                    marker: last == 1 && layer == 1,
                    level: None,
                    descriptor: &[],
                    payload: &payload,
                };
                records.push((at, bytes(at, Body::Packet(packet))));
            }
        }
    }
    let made = make(&Tape(vec![records.into_iter().flat_map(|(_, record)| record).collect()]));
    assert_eq!((made.track(0, 0).frames, made.track(0, 0).resolutions[0].width), (30, 320));
    let file = OnDisk::new(made.file(0, 0));
    assert_eq!(shown(&file), vec!["320x240"; 30]);
}

fn shown(file: &OnDisk) -> Vec<String> {
    let args =
        ["-nostats", "-c:v", "libvpx-vp9", "-i", file.path(), "-vf", "showinfo", "-f", "null", "-"];
    let (_, text) = media::run("ffmpeg", &args);
    let sizes = text.lines().filter(|line| line.contains("pts_time:"));
    let sizes = sizes.filter_map(|line| line.split(" s:").nth(1)?.split_whitespace().next());
    sizes.map(str::to_owned).collect()
}

#[test]
fn players_can_seek_without_reading_the_end() {
    let frames = media::video(Codec::Vp8, "160x120", 8);
    let made = make(&Tape::of(&[camera(Codec::Vp8).play(0, FRAME, &frames)], vec![]));
    let whole = made.file(0, 0);
    let position = |id: &[u8]| whole.windows(id.len()).position(|window| window == id).unwrap();
    let (cues, cluster) =
        (position(&[0x1c, 0x53, 0xbb, 0x6b, 1]), position(&[0x1f, 0x43, 0xb6, 0x75]));
    assert!(cues < cluster);
    let file = OnDisk::new(whole);
    let args = [
        "-v",
        "error",
        "-read_intervals",
        "5.5%+#1",
        "-show_entries",
        "packet=pts_time",
        "-of",
        "csv=p=0",
    ];
    let (text, complaints) = media::run("ffprobe", &[&args[..], &[file.path()]].concat());
    assert_eq!(complaints, "");
    let at: f64 = String::from_utf8(text).unwrap().trim().trim_end_matches(',').parse().unwrap();
    assert!((4.9..5.1).contains(&at), "the key frame before 5.5 s, not {at}");
}

/// A made recording's JSON reads back.
#[test]
fn events_read_back_as_they_were_written() {
    let packets = media::audio(2);
    let sent = Sent::new(0, Source::Microphone, Codec::Opus).play(0, 20_000, &packets);
    let Made { events, .. } = make(&Tape::of(&[sent], vec![]));
    let json = serde_json::to_string(&events).unwrap();
    assert!(serde_json::from_str::<recorder::finalize::Events>(&json).unwrap() == events);
    assert!(json.contains("\"type\":\"track_began\""), "{json}");
}

/// Two temporal layers; of the upper one picture 21 is lost, and from 41 on it needs the base alone.
/// The base goes on, and every picture that is kept decodes to what was encoded.
#[test]
fn a_loss_in_an_upper_temporal_layer_costs_that_layer_alone() {
    let layers = "ts_number_layers=2:ts_target_bitrate=240,400:ts_rate_decimator=2,1:\
                  ts_periodicity=2:ts_layer_id=0,1:ts_layering_mode=2";
    let more = ["-error-resilient", "1", "-ts-parameters", layers];
    let frames = media::video_of(Codec::Vp8, "160x120", 4, 300, &more);
    let whole = make(&layered(&frames, None));
    let holed = make(&layered(&frames, Some(21)));
    let (all, kept) = (pictures(whole.file(0, 0)), pictures(holed.file(0, 0)));
    assert_eq!((all.len(), kept.len()), (120, 110));
    let wanted = (0..120).filter(|n| n % 2 == 0 || *n < 21 || *n >= 41);
    assert_eq!(kept, wanted.map(|n| all[n].clone()).collect::<Vec<_>>());
    assert_eq!(probe(holed.file(0, 0)).complaints, "");
    assert_eq!(holed.track(0, 0).frames_left_out, 9, "23 to 39; of 21 nothing came");
}

/// Pictures in alternating temporal layers, but without the one numbered `lost`.
fn layered(frames: &[Vec<u8>], lost: Option<usize>) -> Tape {
    let mut records = vec![camera(Codec::Vp8).began()];
    let mut seq = 0;
    for (n, frame) in frames.iter().enumerate() {
        let chunks: Vec<_> = frame.chunks(1_000).collect();
        for (k, chunk) in chunks.iter().enumerate() {
            seq += 1;
            if lost == Some(n) {
                continue;
            }
            // X, S; I L T; picture id of 15 bits; TL0PICIDX; TID and Y.
            let (layer, sync) = ((n % 2) as u8, u8::from(n == 41));
            let head = [if k == 0 { 0x90 } else { 0x80 }, 0xe0, 0x80, n as u8, (n / 2) as u8];
            let payload = [&head[..], &[layer << 6 | sync << 5], chunk].concat();
            let packet = sfu_proto::tap::Packet {
                index: 0,
                seq: sfu_proto::unit::SeqNo(seq),
                timestamp: sfu_proto::unit::RtpTimestamp(n as u32 * 3_000),
                marker: k + 1 == chunks.len(),
                level: None,
                descriptor: &[],
                payload: &payload,
            };
            records.push(bytes(START + n as i64 * FRAME, Body::Packet(packet)));
        }
    }
    Tape(vec![records.concat()])
}

/// A digest of each picture.
fn pictures(file: &[u8]) -> Vec<String> {
    let file = OnDisk::new(file);
    let args =
        ["-v", "error", "-i", file.path(), "-fps_mode", "passthrough", "-f", "framemd5", "-"];
    let (text, complaints) = media::run("ffmpeg", &args);
    assert_eq!(complaints, "");
    let text = String::from_utf8(text).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit(',').next()?.trim().to_owned())).collect()
}
