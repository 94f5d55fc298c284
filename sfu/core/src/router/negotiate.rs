//! What an offer asks for, checked and decided; pure. The shard carries it out.

use sfu_proto::{
    control::{Permissions, Publish},
    sdp::{
        Direction, ExtensionMap, Kind, Mid, Offer, OfferedMedia, PayloadFormat, Refusal, Rid,
        accept_extensions, accept_formats, accept_simulcast,
    },
};

use crate::{
    limits::{FORMATS_MAX, SECTIONS_MAX},
    router::permission::check_publish,
};

/// What becomes of an offered m-section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use<'a> {
    /// Port 0.
    Refused,
    /// Neither direction, but kept.
    Inactive,
    /// Receives this track.
    Track(&'a Publish),
    /// Sends others' tracks.
    Slot(Kind),
}

/// One decided m-section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided<'a> {
    /// Its use.
    pub purpose: Use<'a>,
    /// Accepted formats; not empty unless refused.
    pub formats: Vec<PayloadFormat>,
    /// Accepted extensions.
    pub extensions: Vec<ExtensionMap>,
    /// Accepted layers of a track; empty without simulcast.
    pub simulcast: Vec<Rid>,
}

/// Decides a whole offer. `before` are the sections of the last negotiation: MID, and whether the
/// section was refused and may be recycled (RFC 8829 section 5.2.2).
///
/// # Errors
/// Nothing of the offer can be accepted; the session stays as it was.
pub fn decide<'a>(
    before: &[(&Mid, bool)],
    offer: &'a Offer,
    publish: &'a [Publish],
    permissions: &Permissions,
) -> Result<Vec<Decided<'a>>, Refusal> {
    if offer.media.len() > SECTIONS_MAX {
        return Err(Refusal::TooManySections);
    }
    check_continuity(before, &offer.media)?;
    check_publish(permissions, publish)?;
    let decided: Vec<Decided<'a>> = offer
        .media
        .iter()
        .map(|media| decide_section(media, publish, permissions))
        .collect::<Result<_, _>>()?;
    let tracks = decided.iter().filter(|d| matches!(d.purpose, Use::Track(_))).count();
    if tracks < publish.len() { Err(Refusal::TrackWithoutSection) } else { Ok(decided) }
}

/// Sections stay in place; only refused ones may come back as something else.
fn check_continuity(before: &[(&Mid, bool)], media: &[OfferedMedia]) -> Result<(), Refusal> {
    if media.len() < before.len() {
        return Err(Refusal::SectionsChanged);
    }
    let moved = |((mid, recyclable), media): (&(&Mid, bool), &OfferedMedia)| {
        !recyclable && **mid != media.mid
    };
    if before.iter().zip(media).any(moved) {
        return Err(Refusal::SectionsChanged);
    }
    let twice = |(n, section): (usize, &OfferedMedia)| {
        media[..n].iter().any(|other| other.mid == section.mid)
    };
    if media.iter().enumerate().any(twice) { Err(Refusal::SectionsChanged) } else { Ok(()) }
}

fn decide_section<'a>(
    media: &'a OfferedMedia,
    publish: &'a [Publish],
    permissions: &Permissions,
) -> Result<Decided<'a>, Refusal> {
    let refused = Decided {
        purpose: Use::Refused,
        formats: Vec::new(),
        extensions: Vec::new(),
        simulcast: Vec::new(),
    };
    let wish = publish.iter().find(|wish| wish.mid == media.mid);
    let Some(kind) = media.kind.filter(|_| !media.stopped) else {
        return if wish.is_some() { Err(Refusal::TrackWithoutSection) } else { Ok(refused) };
    };
    let mut formats = accept_formats(media);
    formats.truncate(FORMATS_MAX);
    let sends = matches!(media.direction, Direction::SendOnly | Direction::SendRecv);
    let purpose = match (wish, media.direction) {
        (Some(wish), _) if !sends || wish.source.kind() != kind => {
            return Err(Refusal::TrackWithoutSection);
        }
        (Some(_), _) if formats.is_empty() => return Err(Refusal::NoCodec),
        (Some(wish), _) => Use::Track(wish),
        (None, _) if formats.is_empty() => return Ok(refused),
        (None, Direction::RecvOnly) if permissions.subscribe => Use::Slot(kind),
        (None, _) => Use::Inactive,
    };
    if matches!(purpose, Use::Slot(_)) {
        formats.iter_mut().for_each(|format| without_vain_requests(kind, format));
    }
    let is_track = matches!(purpose, Use::Track(_));
    let simulcast = if is_track { accept_simulcast(media) } else { Vec::new() };
    Ok(Decided { purpose, formats, extensions: accept_extensions(media), simulcast })
}

/// Takes from a slot's format the requests that would not be served: audio is not repeated, as it
/// would come too late, and video only as RTX. A receiver without NACK asks for a key frame at
/// once.
fn without_vain_requests(kind: Kind, format: &mut PayloadFormat) {
    if kind == Kind::Audio {
        format.rtx = None;
    }
    format.nack &= format.rtx.is_some();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use sfu_proto::{
        control::Source,
        id::TrackId,
        sdp::{Codec, Fingerprint, IceCredentials},
    };

    use super::*;

    fn media(mid: &str, kind: Kind, direction: Direction) -> OfferedMedia {
        let codec = if kind == Kind::Audio { Codec::Opus } else { Codec::Vp8 };
        let format = PayloadFormat {
            payload_type: 96,
            codec,
            rtx: None,
            fmtp: None,
            nack: true,
            pli: true,
            transport_cc: true,
        };
        OfferedMedia {
            mid: mid.parse().unwrap(),
            kind: Some(kind),
            refused_line: String::new(),
            stopped: false,
            direction,
            formats: vec![format],
            extensions: Vec::new(),
            ssrcs: Vec::new(),
            simulcast: Vec::new(),
        }
    }

    fn offer(media: Vec<OfferedMedia>) -> Offer {
        Offer {
            ice: IceCredentials { ufrag: String::new(), pwd: String::new() },
            fingerprint: Fingerprint([0; 32]),
            active: true,
            extmap_allow_mixed: true,
            media,
        }
    }

    fn wish(mid: &str, source: Source) -> Publish {
        let track = TrackId::from_bits(source as u128);
        Publish { mid: mid.parse().unwrap(), track, source, muted: false }
    }

    fn all() -> Permissions {
        Permissions { publish: Source::ALL.to_vec(), subscribe: true }
    }

    #[test]
    fn sections_become_tracks_slots_or_nothing() {
        let mut stopped = media("3", Kind::Video, Direction::SendRecv);
        stopped.stopped = true;
        let offer = offer(vec![
            media("0", Kind::Video, Direction::SendRecv),
            media("1", Kind::Audio, Direction::RecvOnly),
            media("2", Kind::Video, Direction::SendOnly),
            stopped,
        ]);
        let publish = [wish("0", Source::Camera)];
        let purposes = |permissions: Permissions| -> Vec<_> {
            let decided = decide(&[], &offer, &publish, &permissions).unwrap();
            decided.into_iter().map(|d| d.purpose).collect()
        };
        let slot = Use::Slot(Kind::Audio);
        let rest = [Use::Inactive, Use::Refused];
        assert_eq!(purposes(all()), [[Use::Track(&publish[0]), slot], rest].concat());
        let deaf = Permissions { subscribe: false, ..all() };
        assert_eq!(purposes(deaf)[1], Use::Inactive);
    }

    #[test]
    fn a_slot_promises_only_the_repetitions_it_serves() {
        let nack = |kind, rtx, direction| {
            let mut media = media("0", kind, direction);
            media.formats[0].rtx = rtx;
            let (offer, publish) = (offer(vec![media]), [wish("0", Source::Camera)]);
            let publish = if direction == Direction::RecvOnly { &[][..] } else { &publish };
            let decided = decide(&[], &offer, publish, &all()).unwrap();
            (decided[0].formats[0].nack, decided[0].formats[0].rtx)
        };
        let receive = Direction::RecvOnly;
        assert_eq!(nack(Kind::Video, Some(97), receive), (true, Some(97)));
        assert_eq!(nack(Kind::Video, None, receive), (false, None));
        assert_eq!(nack(Kind::Audio, Some(97), receive), (false, None));
        // A publisher repeats as it likes.
        assert_eq!(nack(Kind::Video, None, Direction::SendOnly), (true, None));
    }

    #[test]
    fn impossible_wishes_are_refused_by_name() {
        let offer = offer(vec![
            media("0", Kind::Video, Direction::SendOnly),
            media("1", Kind::Video, Direction::RecvOnly),
        ]);
        let refusal = |publish: &[Publish]| decide(&[], &offer, publish, &all()).unwrap_err();
        assert_eq!(refusal(&[wish("9", Source::Camera)]), Refusal::TrackWithoutSection);
        assert_eq!(refusal(&[wish("1", Source::Camera)]), Refusal::TrackWithoutSection);
        assert_eq!(refusal(&[wish("0", Source::Microphone)]), Refusal::TrackWithoutSection);
        let twice = [wish("0", Source::Camera), wish("1", Source::Camera)];
        assert_eq!(refusal(&twice), Refusal::Duplicate);
        let none = Permissions::default();
        let publish = [wish("0", Source::Camera)];
        assert_eq!(decide(&[], &offer, &publish, &none), Err(Refusal::NotPermitted));
    }

    #[test]
    fn sections_keep_their_place() {
        let (a, b): (Mid, Mid) = ("a".parse().unwrap(), "b".parse().unwrap());
        let offer = offer(vec![media("b", Kind::Audio, Direction::RecvOnly)]);
        let decide = |before: &[_]| decide(before, &offer, &[], &all()).map(|_| ());
        assert_eq!(decide(&[(&a, false)]), Err(Refusal::SectionsChanged));
        assert_eq!(decide(&[(&a, true)]), Ok(()));
        assert_eq!(decide(&[(&b, false)]), Ok(()));
        assert_eq!(decide(&[(&b, false), (&a, true)]), Err(Refusal::SectionsChanged));
    }
}
