//! Offers as clients write them, hostile ones, and our answers read by `rtc-sdp`.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use proptest::prelude::*;
use rtc_sdp::description::session::SessionDescription;
use sfu_proto::{
    limits::{SDP_LEN_MAX, SDP_LINE_LEN_MAX, SDP_LINES_MAX, SDP_SECTIONS_MAX},
    sdp::{
        Answer, AnsweredMedia, Candidate, Codec, Direction, Extension, ExtensionMap, Fingerprint,
        IceCredentials, Kind, Offer, OfferedMedia, PayloadFormat, Rid, SdpError, SsrcPair,
        accept_extensions, accept_formats, accept_simulcast,
    },
};

const CHROMIUM: &str = include_str!("data/chromium.sdp");
const CHROMIUM_SIMULCAST: &str = include_str!("data/chromium_simulcast.sdp");
const FIREFOX: &str = include_str!("data/firefox.sdp");
const AIORTC: &str = include_str!("data/aiortc.sdp");
const GSTREAMER: &str = include_str!("data/gstreamer.sdp");
const WEBRTC_RS: &str = include_str!("data/webrtc_rs.sdp");
const RFC8866: &str = include_str!("data/rfc8866.sdp");
const ALL: [&str; 6] = [CHROMIUM, CHROMIUM_SIMULCAST, FIREFOX, AIORTC, GSTREAMER, WEBRTC_RS];

fn format(media: &OfferedMedia, payload_type: u8) -> &PayloadFormat {
    media.formats.iter().find(|format| format.payload_type == payload_type).unwrap()
}

fn payload_types(formats: &[PayloadFormat]) -> Vec<u8> {
    formats.iter().map(|format| format.payload_type).collect()
}

const fn h264(profile: u16, packetization_mode: u8) -> Codec {
    Codec::H264 { profile, packetization_mode }
}

#[test]
fn every_client_is_understood() {
    let print = std::array::from_fn(|i| ((10 + i) % 16 * 0x11) as u8);
    for text in ALL {
        let offer = Offer::parse(text).unwrap();
        assert!(offer.active);
        assert_eq!(offer.fingerprint, Fingerprint(print));
        for media in offer.media.iter().filter(|media| media.kind.is_some()) {
            assert!(!media.stopped && !accept_formats(media).is_empty());
            assert!(accept_formats(media).iter().all(|f| Some(f.codec.kind()) == media.kind));
        }
        // Line ends may be LF alone, and the last one may be missing.
        let lf = text.replace("\r\n", "\n");
        assert_eq!(Offer::parse(&lf), Ok(offer.clone()));
        assert_eq!(Offer::parse(lf.trim_end()), Ok(offer));
    }
}

#[test]
fn chromium_in_detail() {
    let offer = Offer::parse(CHROMIUM).unwrap();
    assert_eq!((offer.ice.ufrag.as_str(), offer.ice.pwd.len()), ("Zk3p", 24));
    assert!(offer.extmap_allow_mixed);
    let [audio, video, slot, data] = &offer.media[..] else { panic!("four sections") };

    assert_eq!(
        (audio.mid.as_str(), audio.kind, audio.direction),
        ("0", Some(Kind::Audio), Direction::SendOnly)
    );
    assert_eq!(audio.formats.len(), 1, "Opus only");
    let opus = format(audio, 111);
    assert_eq!((opus.codec, opus.rtx), (Codec::Opus, None));
    assert_eq!(opus.fmtp.as_deref(), Some("minptime=10;useinbandfec=1"));
    assert!(opus.transport_cc && !opus.nack && !opus.pli);
    assert_eq!(audio.ssrcs, [SsrcPair { media: 2_876_545_432, rtx: None }]);
    assert!(audio.extensions.contains(&ExtensionMap { id: 1, extension: Extension::AudioLevel }));

    assert_eq!(payload_types(&video.formats), [96, 103, 107, 109, 115, 117, 39, 45, 98, 100]);
    let vp8 = format(video, 96);
    assert_eq!((vp8.codec, vp8.rtx), (Codec::Vp8, Some(97)));
    assert!(vp8.transport_cc && vp8.nack && vp8.pli && vp8.fmtp.is_none());
    assert_eq!(format(video, 109).codec, h264(0x42e0, 1));
    assert_eq!(format(video, 39).codec, h264(0x4d00, 0));
    assert_eq!(format(video, 45).codec, Codec::Av1 { profile: 0 });
    assert_eq!(format(video, 100).codec, Codec::Vp9 { profile: 2 });
    assert_eq!(video.ssrcs, [SsrcPair { media: 3_463_951_252, rtx: Some(1_461_041_037) }]);
    assert!(
        video
            .extensions
            .contains(&ExtensionMap { id: 9, extension: Extension::DependencyDescriptor })
    );
    assert_eq!(video.extensions.len(), 6, "what we do not know is left out");

    assert_eq!((slot.direction, slot.ssrcs.len()), (Direction::RecvOnly, 0));
    assert_eq!((data.kind, data.formats.len()), (None, 0));
    assert_eq!(data.refused_line, "application UDP/DTLS/SCTP webrtc-datachannel");
}

#[test]
fn others_in_detail() {
    let simulcast = Offer::parse(CHROMIUM_SIMULCAST).unwrap();
    assert!(simulcast.media[0].ssrcs.is_empty());
    let rids: Vec<&str> = simulcast.media[0].simulcast.iter().map(Rid::as_str).collect();
    assert_eq!(rids, ["q", "h", "f"]);

    let firefox = Offer::parse(FIREFOX).unwrap();
    assert!(!firefox.media[1].stopped, "port 0 with bundle-only is not stopped");
    assert_eq!(format(&firefox.media[1], 97).codec, h264(0x42e0, 0));
    assert_eq!(format(&firefox.media[1], 99).codec, Codec::Av1 { profile: 0 });

    let aiortc = Offer::parse(AIORTC).unwrap();
    assert_eq!(aiortc.media[1].direction, Direction::SendRecv);

    let gstreamer = Offer::parse(GSTREAMER).unwrap();
    assert_eq!(gstreamer.media[0].mid.as_str(), "video0");
    assert_eq!(gstreamer.media[1].formats[0].codec, Codec::Opus, "names are case-insensitive");

    let webrtc_rs = Offer::parse(WEBRTC_RS).unwrap();
    let vp8 = format(&webrtc_rs.media[1], 96);
    assert!(vp8.nack && vp8.pli && vp8.transport_cc, "trailing blanks do not matter");
}

#[test]
fn accepted_formats_and_extensions() {
    let offer = Offer::parse(CHROMIUM).unwrap();
    let [audio, video, slot, data] = &offer.media[..] else { panic!("four sections") };
    // H.264 with packetization mode 1, and in it Constrained Baseline, moves ahead inside the
    // places of H.264; VP9 profile 2 goes.
    assert_eq!(payload_types(&accept_formats(video)), [96, 109, 103, 117, 115, 107, 39, 45, 98]);
    // Nor VP9 profile 1, AV1 profile 1, H.264 High 4:4:4 in a receiving section.
    assert_eq!(payload_types(&accept_formats(slot)), [96, 109, 103, 117, 115, 107, 39, 45, 98]);
    assert_eq!(payload_types(&accept_formats(audio)), [111]);
    assert!(accept_formats(data).is_empty());
    let names = |media| -> Vec<Extension> {
        accept_extensions(media).iter().map(|map| map.extension).collect()
    };
    use Extension::{AbsSendTime, AudioLevel, DependencyDescriptor, Mid, TransportSequence};
    assert_eq!(names(audio), [AudioLevel, AbsSendTime, TransportSequence, Mid]);
    assert_eq!(names(video), [AbsSendTime, TransportSequence, Mid, DependencyDescriptor]);
}

#[test]
fn which_streams_a_receiver_takes() {
    assert!(Codec::Opus.compatible_with(&Codec::Opus));
    assert!(!Codec::Vp8.compatible_with(&Codec::Vp9 { profile: 0 }));
    assert!(!Codec::Vp9 { profile: 0 }.compatible_with(&Codec::Vp9 { profile: 2 }));
    // Constrained Baseline, written in three ways.
    assert!(h264(0x42e0, 1).compatible_with(&h264(0x42c0, 1)));
    assert!(h264(0x42e0, 1).compatible_with(&h264(0x4d80, 1)));
    // Baseline is in practice the same, and a subset of Main, which is no subset of it.
    for profile in [0x4200, 0x42c0, 0x42e0] {
        for receiver in [0x4200, 0x42c0, 0x42e0, 0x4d00] {
            assert!(h264(profile, 1).compatible_with(&h264(receiver, 1)));
        }
        assert!(!h264(0x4d00, 1).compatible_with(&h264(profile, 1)));
    }
    // Mode 0 may go to a receiver of mode 1, not the reverse.
    assert!(h264(0x42e0, 0).compatible_with(&h264(0x42e0, 1)));
    assert!(!h264(0x42e0, 1).compatible_with(&h264(0x42e0, 0)));
    assert!(!h264(0x6400, 1).compatible_with(&h264(0x6400, 1)), "High is not ours");
}

/// The offer with every occurrence replaced; fails the test when there is none.
fn with(from: &str, to: &str) -> Result<Offer, SdpError> {
    assert!(CHROMIUM.contains(from), "{from}");
    Offer::parse(&CHROMIUM.replace(from, to))
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let ufrag = "a=ice-ufrag:Zk3p\r\n";
    assert_eq!(with(ufrag, ""), Err(SdpError::Ice));
    assert_eq!(with(ufrag, "a=ice-ufrag:Zk3\r\n"), Err(SdpError::Ice));
    assert_eq!(with(ufrag, "a=ice-ufrag:Zk 3p\r\n"), Err(SdpError::Ice));
    assert_eq!(with("a=ice-pwd:8Tz4q0V1mWvN5rXcYbKd9sLe", "a=ice-pwd:short"), Err(SdpError::Ice));
    assert_eq!(with("fingerprint:sha-256", "fingerprint:sha-1"), Err(SdpError::Fingerprint));
    assert_eq!(with(":88:99\r\n", ":88\r\n"), Err(SdpError::Fingerprint));
    assert_eq!(with(":88:99\r\n", ":88:99:AA\r\n"), Err(SdpError::Fingerprint));
    assert_eq!(with(":88:99\r\n", ":88:+9\r\n"), Err(SdpError::Fingerprint));
    assert_eq!(with("a=setup:actpass", "a=setup:passive"), Err(SdpError::Setup));
    assert_eq!(with("a=setup:actpass\r\n", ""), Err(SdpError::Setup));
    assert_eq!(with("BUNDLE 0 1 2 3", "BUNDLE 0 1 3"), Err(SdpError::Bundle));
    assert_eq!(with("BUNDLE 0 1 2 3", "BUNDLE 0 1 1 3"), Err(SdpError::Bundle));
    assert_eq!(with("a=group:BUNDLE 0 1 2 3\r\n", ""), Err(SdpError::Bundle));
    assert_eq!(with("a=rtcp-mux\r\n", ""), Err(SdpError::RtcpMux { section: 0 }));
    assert_eq!(with("a=mid:1", "a=mid:0"), Err(SdpError::DuplicateMid { section: 1 }));
    assert_eq!(with("a=mid:1\r\n", ""), Err(SdpError::Mid { section: 1 }));
    assert_eq!(with("a=mid:2", "a=mid:01234567890123456"), Err(SdpError::Mid { section: 2 }));
    assert_eq!(with("SAVPF 111", "SAVPF 128 111"), Err(SdpError::PayloadType { section: 0 }));
    assert_eq!(with("SAVPF 111", "SAVPF opus"), Err(SdpError::PayloadType { section: 0 }));
    for protocol in ["RTP/AVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF/X"] {
        assert_eq!(with("UDP/TLS/RTP/SAVPF", protocol), Err(SdpError::Protocol { section: 0 }));
    }
    assert_eq!(
        with("a=ssrc:3463951252 ", "a=ssrc:2876545432 "),
        Err(SdpError::DuplicateSsrc { section: 1 })
    );
    assert_eq!(
        with("a=extmap:9 https", "a=extmap:1 https"),
        Err(SdpError::ExtensionConflict { section: 1 })
    );
    assert_eq!(with("s=-\r\n", ""), Err(SdpError::Syntax));
    assert_eq!(
        with("t=0 0\r\n", "t=0 0\r\na=x\ry\r\n"),
        Err(SdpError::ControlCharacter { line: 5 })
    );
    assert_eq!(
        with("t=0 0\r\n", "t=0 0\r\na=x\0y\r\n"),
        Err(SdpError::ControlCharacter { line: 5 })
    );
    assert_eq!(Offer::parse(""), Err(SdpError::Syntax));
    assert_eq!(
        Offer::parse("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"),
        Err(SdpError::NoMedia)
    );
}

#[test]
fn tolerated_deviations() {
    let tcp = with("UDP/TLS/RTP/SAVPF", "TCP/TLS/RTP/SAVPF").unwrap();
    assert!(tcp.media[0].refused_line.starts_with("audio TCP/TLS/RTP/SAVPF 111"));
    // A wrong apt costs the retransmission, not the format.
    assert_eq!(format(&with("apt=96", "apt=5").unwrap().media[1], 96).rtx, None);
    assert_eq!(format(&with("apt=96", "apt=").unwrap().media[1], 96).rtx, None);
    assert_eq!(format(&with("apt=96", "apt=98").unwrap().media[1], 98).rtx, Some(97));
    // Formats that we cannot read are left out.
    assert!(with("profile-level-id=42001f", "profile-level-id=42").is_ok());
    assert!(with("profile-id=0", "profile-id=x").is_ok());
    let long = with("minptime=10", &"x".repeat(300)).unwrap();
    assert!(long.media[0].formats.is_empty());
    // A payload type between 64 and 95 would look like RTCP (RFC 5761).
    let low = CHROMIUM.replace(" 111", " 72").replace(":111 ", ":72 ");
    assert!(Offer::parse(&low).unwrap().media[0].formats.is_empty());
    // Stopped sections need not be bundled.
    let stopped = with("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "m=video 0 UDP/TLS/RTP/SAVPF 96 97");
    assert!(stopped.unwrap().media[1].stopped);
    let stopped =
        CHROMIUM.replacen("m=video 9", "m=video 0", 1).replace("BUNDLE 0 1 2", "BUNDLE 0 2");
    assert!(Offer::parse(&stopped).unwrap().media[1].stopped);
    // Session-level transport attributes.
    let lines = "a=ice-ufrag:Zk3p\r\na=ice-pwd:8Tz4q0V1mWvN5rXcYbKd9sLe\r\n";
    let session = CHROMIUM.replace(lines, "").replace("t=0 0\r\n", &format!("t=0 0\r\n{lines}"));
    assert_eq!(Offer::parse(&session), Offer::parse(CHROMIUM));
    // The direction's default (RFC 8866 section 6.7).
    assert_eq!(with("a=sendonly\r\n", "").unwrap().media[0].direction, Direction::SendRecv);
}

/// RFC 8866 section 5 example: syntax is fine; it is refused for what it means.
#[test]
fn rfc8866_example_parses() {
    assert_eq!(Offer::parse(RFC8866), Err(SdpError::Protocol { section: 0 }));
}

#[test]
fn oversized_offers_are_refused_by_the_limit_they_break() {
    let megabyte = format!("{CHROMIUM}{}", "a=x:y\r\n".repeat(150_000));
    assert!(megabyte.len() > 1 << 20);
    assert_eq!(Offer::parse(&megabyte), Err(SdpError::TooLong));
    let lines = format!("{CHROMIUM}{}", "a=x\r\n".repeat(10_000));
    assert_eq!(Offer::parse(&lines), Err(SdpError::TooManyLines));
    let most = SDP_LINES_MAX - CHROMIUM.lines().count();
    assert!(Offer::parse(&format!("{CHROMIUM}{}", "a=x\r\n".repeat(most))).is_ok());
    let more = format!("{CHROMIUM}{}", "a=x\r\n".repeat(most + 1));
    assert_eq!(Offer::parse(&more), Err(SdpError::TooManyLines));
    let line = format!("{CHROMIUM}a=x:{}\r\n", "y".repeat(SDP_LINE_LEN_MAX));
    let number = CHROMIUM.lines().count() + 1;
    assert_eq!(Offer::parse(&line), Err(SdpError::LineTooLong { line: number }));
    let sections = format!("{CHROMIUM}{}", "m=audio 0 X 0\r\n".repeat(SDP_SECTIONS_MAX));
    assert_eq!(Offer::parse(&sections), Err(SdpError::TooManySections));
    let ssrcs: String = (0..40).map(|n| format!("a=ssrc:{n} cname:x\r\n")).collect();
    let ssrcs = CHROMIUM_SIMULCAST.to_owned() + &ssrcs;
    assert_eq!(Offer::parse(&ssrcs), Err(SdpError::TooManySsrcs { section: 0 }));
}

/// The worst offers that the limits let through. The bound is a hundred times what they take, so
/// that a busy machine does not fail it, and a hundredth of what quadratic time would take.
#[test]
fn the_worst_offer_within_limits_takes_little_time() {
    let head = &CHROMIUM_SIMULCAST[..CHROMIUM_SIMULCAST.find("a=rid").unwrap()];
    let fill = |line: &dyn Fn(usize) -> String| {
        let mut text = head.to_owned();
        for n in 0.. {
            let line = line(n);
            if text.lines().count() >= SDP_LINES_MAX || text.len() + line.len() > SDP_LEN_MAX {
                return text;
            }
            text += &line;
        }
        text
    };
    let formats: String = (0..1000).map(|n| format!(" {}", n % 128)).collect();
    let worst = [
        fill(&|n| format!("a=rtpmap:{} VP8/90000\r\n", n % 128)),
        fill(&|n| format!("a=rtcp-fb:{} nack\r\na=fmtp:{} apt={}\r\n", n % 128, n % 64, n % 96)),
        fill(&|n| format!("a=extmap:{} {}\r\n", n % 256, Extension::Mid.uri())),
        fill(&|n| format!("a=ssrc-group:FID {n} {}\r\n", n + 1)),
        fill(&|_| format!("a=fingerprint:sha-1 {}\r\n", "AA:".repeat(1000))),
        fill(&|n| format!("a=rtpmap:{} H264/90000\r\n", n % 128)).replacen(" 96 97", &formats, 1),
    ];
    for (index, text) in worst.iter().enumerate() {
        let start = Instant::now();
        let result = Offer::parse(text);
        let taken = start.elapsed();
        assert!(taken < Duration::from_secs(1), "{index}: {taken:?}, {:?}", result.err());
    }
}

fn answer(offer: &Offer) -> Answer {
    let media = offer.media.iter().enumerate().map(|(index, media)| {
        let formats = accept_formats(media);
        let is_slot = media.direction == Direction::RecvOnly;
        let ssrc = 1000 + 2 * u32::try_from(index).unwrap();
        AnsweredMedia {
            mid: media.mid.clone(),
            kind: media.kind,
            refused_line: media.refused_line.clone(),
            refused: media.stopped || formats.is_empty(),
            direction: if is_slot { Direction::SendOnly } else { Direction::RecvOnly },
            formats,
            extensions: accept_extensions(media),
            simulcast: accept_simulcast(media),
            ssrcs: is_slot.then_some(SsrcPair { media: ssrc, rtx: Some(ssrc + 1) }),
            msid: is_slot.then(|| ("stream7".to_owned(), "track7".to_owned())),
        }
    });
    Answer {
        ice: IceCredentials { ufrag: "serverufrag".into(), pwd: "0123456789abcdefghijklmn".into() },
        fingerprint: Fingerprint([0xab; 32]),
        candidates: vec![
            Candidate { tcp: false, address: "192.0.2.1:5000".parse().unwrap() },
            Candidate { tcp: false, address: "[2001:db8::1]:5000".parse().unwrap() },
            Candidate { tcp: true, address: "192.0.2.1:5001".parse().unwrap() },
        ],
        cname: "randomcname".into(),
        extmap_allow_mixed: offer.extmap_allow_mixed,
        media: media.collect(),
    }
}

fn parsed(text: &str) -> SessionDescription {
    SessionDescription::unmarshal(&mut std::io::Cursor::new(text)).unwrap()
}

#[test]
fn the_answer_to_chromium() {
    let text = answer(&Offer::parse(CHROMIUM).unwrap()).write();
    let session = text.split("m=").next().unwrap();
    assert!(text.starts_with("v=0\r\no=- ") && text.ends_with("\r\n") && !text.contains("\n\n"));
    assert!(session.contains(
        "a=ice-lite\r\na=group:BUNDLE 0 1 2\r\na=msid-semantic:WMS *\r\na=extmap-allow-mixed\r\n"
    ));
    let description = parsed(&text);
    let [audio, video, slot, data] = &description.media_descriptions[..] else { panic!() };
    assert_eq!(audio.media_name.to_string(), "audio 9 UDP/TLS/RTP/SAVPF 111");
    assert_eq!(
        video.media_name.to_string(),
        "video 9 UDP/TLS/RTP/SAVPF 96 97 109 114 103 104 117 118 115 116 107 108 39 40 45 46 98 99"
    );
    assert_eq!(data.media_name.to_string(), "application 0 UDP/DTLS/SCTP webrtc-datachannel");
    for media in [audio, video, slot] {
        for flag in ["rtcp-mux", "rtcp-rsize"] {
            assert_eq!(media.attribute(flag), Some(None), "{flag}");
        }
        assert_eq!(media.attribute("setup"), Some(Some("passive")));
        assert_eq!(media.attribute("ice-ufrag"), Some(Some("serverufrag")));
        let print = format!("sha-256 AB{}", ":AB".repeat(31));
        assert_eq!(media.attribute("fingerprint"), Some(Some(print.as_str())));
    }
    assert!(audio.has_attribute("recvonly") && video.has_attribute("recvonly"));
    assert!(slot.has_attribute("sendonly"));
    assert!(audio.has_attribute("end-of-candidates") && !video.has_attribute("candidate"));
    for line in [
        "a=candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host\r\n",
        "a=candidate:2 1 udp 2130706175 2001:db8::1 5000 typ host\r\n",
        "a=candidate:3 1 tcp 1520434687 192.0.2.1 5001 typ host tcptype passive\r\n",
        "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\na=rtcp-fb:111 transport-cc\r\n",
        "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n",
        "a=fmtp:109 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n",
        "a=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n",
        "a=msid:stream7 track7\r\na=ssrc-group:FID 1004 1005\r\na=ssrc:1004 cname:randomcname\r\n",
        "a=ssrc:1005 msid:stream7 track7\r\n",
        "a=extmap:9 https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension\r\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    for absent in
        ["rid", "simulcast", "goog-remb", "red/", "ulpfec", "video-timing", "profile-id=2"]
    {
        assert!(!text.contains(absent), "{absent}");
    }
}

/// RFC 8853 section 5.6.1, and its extensions of RFC 8852.
#[test]
fn simulcast_is_answered_with_at_most_three_layers() {
    let text = answer(&Offer::parse(CHROMIUM_SIMULCAST).unwrap()).write();
    for line in [
        "a=rid:q recv\r\na=rid:h recv\r\na=rid:f recv\r\na=simulcast:recv q;h;f\r\n",
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n",
        "a=extmap:11 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id\r\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    let lists = |from: &str, to: &str| {
        let offer = Offer::parse(&CHROMIUM_SIMULCAST.replace(from, to)).unwrap();
        let text = answer(&offer).write();
        let line = text.lines().find_map(|line| line.strip_prefix("a=simulcast:"));
        assert_eq!(line.is_some(), text.contains("a=rid:") && text.contains("rtp-stream-id"));
        line.map(str::to_owned)
    };
    let four = "a=rid:x send\r\na=simulcast:send q;h;f;x";
    assert_eq!(lists("a=simulcast:send q;h;f", four).as_deref(), Some("recv q;h;f"));
    let paused = "a=simulcast:send ~f,h;q";
    assert_eq!(lists("a=simulcast:send q;h;f", paused).as_deref(), Some("recv f;q"));
    assert_eq!(lists("a=simulcast:send q;h;f", "a=simulcast:send q"), None);
    assert_eq!(lists("a=simulcast:send q;h;f\r\n", ""), None);
    assert_eq!(lists("a=sendonly", "a=recvonly"), None);
    let without = lists("a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n", "");
    assert_eq!(without, None);
}

#[test]
fn every_client_gets_an_answer_with_its_sections() {
    for text in ALL {
        let offer = Offer::parse(text).unwrap();
        let answer = answer(&offer);
        let theirs = parsed(&answer.write());
        assert_eq!(theirs.media_descriptions.len(), offer.media.len());
        for (theirs, media) in theirs.media_descriptions.iter().zip(&offer.media) {
            assert_eq!(theirs.attribute("mid"), Some(Some(media.mid.as_str())));
        }
        let (first, second) = (parsed(&answer.write_version(1)), parsed(&answer.write_version(2)));
        assert_eq!(first.origin.session_id, second.origin.session_id);
        assert_eq!((first.origin.session_version, second.origin.session_version), (1, 2));
    }
}

#[test]
fn refused_sections_keep_kind_and_protocol() {
    let offer = with("UDP/TLS/RTP/SAVPF", "TCP/TLS/RTP/SAVPF").unwrap();
    let mut answer = answer(&offer);
    answer.media[0].refused = true;
    let theirs = parsed(&answer.write());
    assert_eq!(theirs.media_descriptions[0].media_name.to_string(), "audio 0 TCP/TLS/RTP/SAVPF 0");
    assert!(theirs.media_descriptions[1].media_name.to_string().starts_with("video 9 TCP/TLS/"));
    assert!(theirs.media_descriptions[1].has_attribute("end-of-candidates"));
    assert_eq!(theirs.attribute("group").unwrap(), "BUNDLE 1 2");
    answer.media.iter_mut().for_each(|media| media.refused = true);
    assert!(parsed(&answer.write()).attribute("group").is_none());
}

#[test]
fn offers_and_answers_cross_a_process_as_json() {
    let offer = Offer::parse(CHROMIUM).unwrap();
    let text = serde_json::to_string(&offer).unwrap();
    assert_eq!(serde_json::from_str::<Offer>(&text).unwrap(), offer);
    let answer = answer(&offer);
    let text = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
}

/// What an answer repeats of an offer cannot add a line to it.
fn answer_has_no_foreign_lines(offer: &Offer) -> bool {
    let text = answer(offer).write();
    let clean = text.split("\r\n").all(|line| !line.contains(['\r', '\n', '\0']));
    let sections = text.split("\r\n").filter(|line| line.starts_with("m=")).count();
    clean && sections == offer.media.len()
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,300}", tail in any::<String>()) {
        let _ = Offer::parse(&text);
        let head = &CHROMIUM[..CHROMIUM.find("m=video").unwrap()];
        let _ = Offer::parse(&format!("{head}{tail}"));
    }

    #[test]
    fn mutated_lines_never_panic(
        which in 0..ALL.len(),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..6, any::<prop::sample::Index>(), "\\PC{0,8}"), 1..8),
    ) {
        let mut lines: Vec<String> = ALL[which].lines().map(str::to_owned).collect();
        for (line, kind, at, text) in changes {
            let index = line.index(lines.len());
            let line = lines[index].clone();
            let cut = at.index(line.len() + 1); // All are ASCII until changed.
            let cut = (0..=cut).rev().find(|cut| line.is_char_boundary(*cut)).unwrap();
            match kind {
                0 => lines[index].truncate(cut),
                1 => lines[index].insert_str(cut, &text),
                2 => lines.insert(index, line),
                3 => drop(lines.remove(index)),
                4 => lines[index] = format!("{}{}", &line[..cut], text),
                _ => lines.swap(index, cut % 8),
            }
            if lines.len() < 10 {
                break;
            }
        }
        if let Ok(offer) = Offer::parse(&lines.join("\r\n")) {
            prop_assert!(answer_has_no_foreign_lines(&offer));
        }
    }

    #[test]
    fn hostile_values_never_become_lines(
        value in prop::collection::vec(any::<u8>(), 0..40),
        place in 0..5usize,
    ) {
        let value = String::from_utf8_lossy(&value).into_owned();
        let places = ["minptime=10", "a=mid:0", "SAVPF 111", "webrtc-datachannel", "opus/48000/2"];
        if let Ok(offer) = Offer::parse(&CHROMIUM.replace(places[place], &value)) {
            prop_assert!(answer_has_no_foreign_lines(&offer));
        }
    }
}
