//! Offers: nothing that a client wrote becomes a line of its own in the answer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_proto::sdp::{
    Answer, AnsweredMedia, Direction, Fingerprint, IceCredentials, Offer, accept_extensions,
    accept_formats, accept_simulcast,
};

fuzz_target!(|text: &str| {
    let Ok(offer) = Offer::parse(text) else { return };
    assert!(offer.active && offer.ice.ufrag.len() >= 4 && offer.ice.pwd.len() >= 22);
    let answer = answer(&offer).write();
    assert!(answer.split("\r\n").all(|line| !line.contains(|c: char| c.is_ascii_control())));
    let sections = answer.split("\r\n").filter(|line| line.starts_with("m=")).count();
    assert_eq!(sections, offer.media.len());
});

fn answer(offer: &Offer) -> Answer {
    let media = offer.media.iter().map(|media| {
        let formats = accept_formats(media);
        AnsweredMedia {
            mid: media.mid.clone(),
            kind: media.kind,
            refused_line: media.refused_line.clone(),
            refused: media.stopped || formats.is_empty(),
            direction: Direction::RecvOnly,
            formats,
            extensions: accept_extensions(media),
            simulcast: accept_simulcast(media),
            ssrcs: media.ssrcs.first().copied(),
            msid: None,
        }
    });
    Answer {
        ice: IceCredentials { ufrag: "u".repeat(8), pwd: "p".repeat(24) },
        fingerprint: Fingerprint([1; 32]),
        candidates: Vec::new(),
        cname: "cname".to_owned(),
        extmap_allow_mixed: offer.extmap_allow_mixed,
        media: media.collect(),
    }
}
