//! Limits of the public contract and of the media node belong together: what the one promises, the
//! other has to take. Only this package sees both.

#![allow(clippy::unwrap_used, reason = "tests")]

use sdk_spec::{
    limits::{AUDIO_SLOTS_MAX, SDP_BYTES_MAX, TRACKS_OFFERED_MAX, VIDEO_SLOTS_MAX},
    ws::MESSAGE_BYTES_MAX,
};
use sfu_proto::{
    limits::{
        AUDIO_SECTION_LEN, AUDIO_SECTION_LINES, AUDIO_SECTIONS_PROMISED, SDP_LEN_MAX,
        VIDEO_SECTION_LEN, VIDEO_SECTION_LINES, VIDEO_SECTIONS_PROMISED,
    },
    sdp::Offer,
};

/// As Chromium wrote it: audio, video with its stream, a video slot, data.
const CHROMIUM: &str = include_str!("../../sfu/proto/tests/data/chromium.sdp");

const _: () = {
    assert!(VIDEO_SECTIONS_PROMISED >= VIDEO_SLOTS_MAX as usize + TRACKS_OFFERED_MAX / 2);
    assert!(AUDIO_SECTIONS_PROMISED >= AUDIO_SLOTS_MAX as usize + TRACKS_OFFERED_MAX / 2);
    assert!(SDP_LEN_MAX >= SDP_BYTES_MAX);
};

fn parts() -> (&'static str, Vec<String>) {
    let mut parts = CHROMIUM.split("\nm=");
    (parts.next().unwrap(), parts.map(|section| format!("m={section}")).collect())
}

/// What Chromium offers with all slots open and every source published.
fn fullest_offer() -> String {
    let (head, sections) = parts();
    let kinds = [(0, AUDIO_SECTIONS_PROMISED), (2, VIDEO_SECTIONS_PROMISED)];
    let all = kinds.iter().flat_map(|(of, count)| std::iter::repeat_n(&sections[*of], *count));
    let mids: Vec<String> =
        (0..AUDIO_SECTIONS_PROMISED + VIDEO_SECTIONS_PROMISED).map(|mid| mid.to_string()).collect();
    let mut offer =
        with_line(head, "a=group:BUNDLE", &format!("a=group:BUNDLE {}", mids.join(" ")));
    for (section, mid) in all.zip(&mids) {
        offer += &with_line(section, "a=mid:", &format!("a=mid:{mid}"));
    }
    offer
}

fn with_line(text: &str, start: &str, new: &str) -> String {
    let line = |line: &str| if line.starts_with(start) { new.to_owned() } else { line.to_owned() };
    // Streams are declared once; the copies of a section have none.
    let lines = text.trim_end().lines().filter(|line| !line.starts_with("a=ssrc"));
    lines.map(|each| line(each) + "\r\n").collect()
}

#[test]
fn a_browser_can_offer_every_slot_it_was_promised() {
    let offer = fullest_offer();
    let sections = Offer::parse(&offer).map(|parsed| parsed.media.len());
    assert_eq!(sections, Ok(AUDIO_SECTIONS_PROMISED + VIDEO_SECTIONS_PROMISED));
    let message = serde_json::json!({ "type": "offer", "id": 1, "sdp": offer }).to_string();
    assert!(message.len() < MESSAGE_BYTES_MAX, "{} bytes", message.len());
    assert!(offer.lines().count() > 4000, "as long as what was once refused");
}

#[test]
fn sections_of_a_real_browser_are_not_longer_than_assumed() {
    let (_, sections) = parts();
    for section in sections.iter().filter(|section| section.starts_with("m=video")) {
        assert!(section.lines().count() <= VIDEO_SECTION_LINES);
        assert!(section.len() <= VIDEO_SECTION_LEN);
    }
    let audio = &sections[0];
    assert!(audio.lines().count() <= AUDIO_SECTION_LINES && audio.len() <= AUDIO_SECTION_LEN);
}
