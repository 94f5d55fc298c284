//! Payloads that tell their number and can be checked byte by byte.
//!
//! ```text
//! VP8   │ descriptor, 4 bytes │ VP8 header, 3 or 10 │ body │
//! Opus  │ TOC                                       │ body │
//! body  │ "CNCL" │ number u32 │ length u16 │ pattern of the number ... │
//! ```

/// Marks a body.
const MAGIC: &[u8; 4] = b"CNCL";
/// Bytes of a body before its pattern.
const BODY_HEADER_LEN: usize = 10;
/// Opus table of contents: CELT, full band, 20 ms, stereo, one frame (RFC 6716 section 3.1).
const OPUS_TOC: u8 = 0xfc;
/// VP8 key frame header: show, one partition, start code, 640x480 (RFC 6386 section 9.1).
const VP8_KEY: [u8; 10] = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01];
/// VP8 inter frame header.
const VP8_INTER: [u8; 3] = [0x11, 0, 0];

/// What a received payload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Ours and intact, with its number.
    Intact(u32),
    /// Ours by its mark, but changed.
    Corrupt,
    /// Somebody else's.
    Foreign,
}

/// An Opus payload of `len` body bytes.
pub(super) fn opus(number: u32, len: u16) -> Vec<u8> {
    let mut payload = vec![OPUS_TOC];
    write_body(number, len, &mut payload);
    payload
}

/// Place of a packet in its VP8 frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vp8 {
    /// 15 bits.
    pub(super) picture: u16,
    /// Whether it begins the frame.
    pub(super) first: bool,
    /// Whether the frame is a key frame.
    pub(super) key: bool,
}

/// A VP8 payload of `len` body bytes, with a picture id (RFC 7741 section 4.2).
pub(super) fn vp8(number: u32, len: u16, place: Vp8) -> Vec<u8> {
    let [high, low] = (place.picture & 0x7fff | 0x8000).to_be_bytes();
    // X, and S for the beginning of partition 0; I: a picture id follows, 15 bits long.
    let mut payload = vec![0x80 | u8::from(place.first) << 4, 0x80, high, low];
    match (place.first, place.key) {
        (true, true) => payload.extend(VP8_KEY),
        (true, false) => payload.extend(VP8_INTER),
        (false, _) => {}
    }
    write_body(number, len, &mut payload);
    payload
}

/// Finds and checks a body. What precedes it may be rewritten on the way (VP8 picture ids are).
pub(super) fn check(payload: &[u8]) -> Content {
    /// Longest of the prefixes above.
    const PREFIX_MAX: usize = 4 + VP8_KEY.len();
    let mut prefixes = payload.windows(MAGIC.len()).take(PREFIX_MAX + 1);
    let Some(start) = prefixes.position(|window| window == MAGIC) else { return Content::Foreign };
    let body = &payload[start..];
    let Some((header, pattern)) = body.split_first_chunk::<BODY_HEADER_LEN>() else {
        return Content::Corrupt;
    };
    let number = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
    let len = usize::from(u16::from_be_bytes([header[8], header[9]]));
    let intact = body.len() == len && pattern.iter().zip(0..).all(|(b, i)| *b == byte(number, i));
    if intact { Content::Intact(number) } else { Content::Corrupt }
}

fn write_body(number: u32, len: u16, out: &mut Vec<u8>) {
    let len = usize::from(len).max(BODY_HEADER_LEN);
    out.extend(MAGIC);
    out.extend(number.to_be_bytes());
    out.extend((len as u16).to_be_bytes());
    out.extend((0..len - BODY_HEADER_LEN).map(|i| byte(number, i)));
}

fn byte(number: u32, place: usize) -> u8 {
    (number.wrapping_mul(2_654_435_761) >> 24) as u8 ^ (place as u8).wrapping_mul(31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> [Vec<u8>; 4] {
        let place = |first, key| Vp8 { picture: 9, first, key };
        [
            opus(7, 80),
            vp8(7, 1000, place(true, true)),
            vp8(7, 1000, place(true, false)),
            vp8(7, 1000, place(false, true)),
        ]
    }

    #[test]
    fn payloads_are_recognised() {
        for payload in samples() {
            assert_eq!(check(&payload), Content::Intact(7));
        }
    }

    #[test]
    fn every_changed_bit_of_a_body_is_noticed() {
        for payload in samples() {
            let body = payload.windows(4).position(|w| w == MAGIC).unwrap_or(0);
            for place in body..payload.len() {
                let mut bad = payload.clone();
                bad[place] ^= 1;
                assert_ne!(check(&bad), Content::Intact(7), "byte {place}");
            }
            assert_eq!(check(&payload[..payload.len() - 1]), Content::Corrupt);
            assert_eq!(check(&[&payload[..], &[0]].concat()), Content::Corrupt);
        }
    }

    #[test]
    fn other_payloads_are_foreign() {
        assert_eq!(check(&[]), Content::Foreign);
        assert_eq!(check(&[0; 1200]), Content::Foreign);
    }
}
