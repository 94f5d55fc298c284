//! The RTP header: fixed part, contributing sources, place of the extension block.

use crate::{
    rtp::extension::Extensions,
    unit::{RtpSeq, RtpTimestamp, Ssrc},
};

/// Bytes of the fixed header (RFC 3550 section 5.1).
pub const FIXED_HEADER_LEN: usize = 12;

/// Why bytes are not an RTP packet. The sender is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtpError {
    /// Shorter than its header says.
    #[error("RTP packet is shorter than its header")]
    Truncated,
    /// Not version 2.
    #[error("RTP version is not 2")]
    Version,
    /// Padding count is zero or larger than the payload (RFC 3550 section 5.1).
    #[error("RTP padding count is impossible")]
    Padding,
}

/// Place of the extension block's body in the datagram (RFC 3550 section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionBlock {
    /// "Defined by profile": 0xBEDE for one-byte elements, 0x1000 to 0x100F for two-byte ones.
    pub profile: u16,
    /// First byte after profile and length, as an offset into the datagram.
    pub start: usize,
    /// One past the last byte; equals the header's length.
    pub end: usize,
}

/// A parsed RTP header. Plain offsets, no borrow: it outlives the datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Marker bit.
    pub marker: bool,
    /// Padding bit; see [`without_padding`](super::without_padding) once the payload is decrypted.
    pub padding: bool,
    /// Sequence number.
    pub seq: RtpSeq,
    /// Timestamp.
    pub timestamp: RtpTimestamp,
    /// Synchronization source.
    pub ssrc: Ssrc,
    /// Number of contributing sources, 0 to 15.
    pub csrc_count: u8,
    /// The extension block, if the X bit stands.
    pub extension: Option<ExtensionBlock>,
    /// Bytes of the fixed header, contributing sources and extension block together: where the
    /// (encrypted) payload starts. Never above the datagram's length.
    pub header_len: usize,
}

impl Header {
    /// Parses the header of a datagram that demultiplexing called RTP.
    ///
    /// # Errors
    /// [`RtpError::Version`], or [`RtpError::Truncated`] when any announced part does not fit.
    #[inline]
    pub fn parse(datagram: &[u8]) -> Result<Self, RtpError> {
        let fixed = datagram.first_chunk::<FIXED_HEADER_LEN>().ok_or(RtpError::Truncated)?;
        if fixed[0] >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let csrc_count = fixed[0] & 0x0f;
        let csrc_end = FIXED_HEADER_LEN + 4 * usize::from(csrc_count);
        let extension = if fixed[0] & 0x10 == 0 { None } else { Some(block(datagram, csrc_end)?) };
        let header_len = extension.map_or(csrc_end, |block| block.end);
        if header_len > datagram.len() {
            return Err(RtpError::Truncated);
        }
        Ok(Self {
            payload_type: fixed[1] & 0x7f,
            marker: fixed[1] & 0x80 != 0,
            padding: fixed[0] & 0x20 != 0,
            seq: RtpSeq(u16::from_be_bytes([fixed[2], fixed[3]])),
            timestamp: RtpTimestamp(u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]])),
            ssrc: Ssrc(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
            csrc_count,
            extension,
            header_len,
        })
    }

    /// The contributing sources. `datagram` is the one that was parsed.
    pub fn csrcs<'a>(&self, datagram: &'a [u8]) -> impl Iterator<Item = Ssrc> + use<'a> {
        let end = FIXED_HEADER_LEN + 4 * usize::from(self.csrc_count);
        let words = datagram.get(FIXED_HEADER_LEN..end).unwrap_or_default().as_chunks::<4>().0;
        words.iter().map(|word| Ssrc(u32::from_be_bytes(*word)))
    }

    /// The extension elements as (id, data), in order, up to the first malformed one.
    /// `datagram` is the one that was parsed.
    #[inline]
    pub fn extensions<'a>(&self, datagram: &'a [u8]) -> Extensions<'a> {
        match self.extension {
            Some(block) => {
                let body = datagram.get(block.start..block.end).unwrap_or_default();
                Extensions::new(block.profile, body)
            }
            None => Extensions::new(0, &[]),
        }
    }

    /// The data of the first element with this id.
    pub fn extension<'a>(&self, datagram: &'a [u8], id: u8) -> Option<&'a [u8]> {
        self.extensions(datagram).find(|(i, _)| *i == id).map(|(_, data)| data)
    }
}

/// RFC 3550 section 5.3.1: profile, length in 32-bit words without these four bytes, body.
#[inline]
fn block(datagram: &[u8], at: usize) -> Result<ExtensionBlock, RtpError> {
    let head = datagram.get(at..).and_then(<[u8]>::first_chunk::<4>).ok_or(RtpError::Truncated)?;
    let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let start = at + 4;
    Ok(ExtensionBlock {
        profile: u16::from_be_bytes([head[0], head[1]]),
        start,
        end: start + 4 * words,
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtp::HeaderWriter;

    /// As Chromium sends: marker, PT 111, one-byte extensions: audio level (1) and MID "0" (4).
    const OPUS: [u8; 24] = [
        0x90, 0xef, 0x12, 0x34, 0, 0, 0x03, 0xc0, 0xde, 0xad, 0xbe, 0xef, // fixed
        0xbe, 0xde, 0x00, 0x01, 0x10, 0x85, 0x40, b'0', // block of one word
        1, 2, 3, 4,
    ];

    #[test]
    fn fixed_header_and_extensions() {
        let header = Header::parse(&OPUS).unwrap();
        assert_eq!((header.payload_type, header.marker, header.padding), (111, true, false));
        assert_eq!(header.seq, RtpSeq(0x1234));
        assert_eq!(header.timestamp, RtpTimestamp(960));
        assert_eq!(header.ssrc, Ssrc(0xdead_beef));
        assert_eq!(header.header_len, 20);
        let elements: Vec<_> = header.extensions(&OPUS).collect();
        assert_eq!(elements, [(1, &[0x85][..]), (4, &b"0"[..])]);
        assert_eq!(header.extension(&OPUS, 4), Some(&b"0"[..]));
        assert_eq!(header.extension(&OPUS, 5), None);
    }

    #[test]
    fn every_truncation_is_an_error_or_ends_inside_the_payload() {
        for len in 0..OPUS.len() {
            let parsed = Header::parse(&OPUS[..len]);
            assert_eq!(parsed.is_ok(), len >= 20, "length {len}: {parsed:?}");
        }
    }

    /// RFC 3550 section 5.1: 15 sources need 72 bytes of header.
    #[test]
    fn csrcs_must_fit() {
        let mut packet = [0u8; 72];
        packet[0] = 0x8f;
        packet[71] = 9;
        let header = Header::parse(&packet).unwrap();
        assert_eq!(header.header_len, 72);
        assert_eq!(header.csrcs(&packet).count(), 15);
        assert_eq!(header.csrcs(&packet).last(), Some(Ssrc(9)));
        assert_eq!(Header::parse(&packet[..71]), Err(RtpError::Truncated));
    }

    #[test]
    fn other_versions_are_refused() {
        for version in [0u8, 1, 3] {
            let mut packet = OPUS;
            packet[0] = version << 6 | 0x10;
            assert_eq!(Header::parse(&packet), Err(RtpError::Version));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = bytes.first_mut() {
                *first = *first & 0x3f | 0x80;
            }
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert!(header.header_len <= bytes.len());
                let total: usize = header.extensions(&bytes).map(|(_, data)| data.len()).sum();
                prop_assert!(total <= bytes.len());
                prop_assert_eq!(header.csrcs(&bytes).count(), usize::from(header.csrc_count));
                // A header never reads outside a shorter buffer that it was not parsed from.
                prop_assert!(header.extensions(&[]).next().is_none());
            }
        }

        #[test]
        fn written_headers_parse_back(
            (pt, marker, padding) in (0u8..128, any::<bool>(), any::<bool>()),
            (seq, timestamp, ssrc) in (any::<u16>(), any::<u32>(), any::<u32>()),
            csrcs in prop::collection::vec(any::<u32>().prop_map(Ssrc), 0..=15),
            elements in prop::collection::vec(
                (1u8..=255, prop::collection::vec(any::<u8>(), 0..40)), 0..6),
        ) {
            let elements: Vec<(u8, &[u8])> = elements.iter().map(|(i, d)| (*i, &d[..])).collect();
            let writer = HeaderWriter {
                payload_type: pt,
                marker,
                padding,
                seq: RtpSeq(seq),
                timestamp: RtpTimestamp(timestamp),
                ssrc: Ssrc(ssrc),
                csrcs: &csrcs,
                extensions: &elements,
            };
            let mut out = [0xff; 1500];
            let len = writer.write(&mut out).unwrap();
            prop_assert_eq!(len, writer.header_len());
            let header = Header::parse(&out[..len]).unwrap();
            prop_assert_eq!(header.header_len, len);
            prop_assert_eq!((header.payload_type, header.marker, header.padding), (pt, marker, padding));
            prop_assert_eq!(header.seq, RtpSeq(seq));
            prop_assert_eq!(header.timestamp, RtpTimestamp(timestamp));
            prop_assert_eq!(header.ssrc, Ssrc(ssrc));
            prop_assert_eq!(header.csrcs(&out).collect::<Vec<_>>(), csrcs);
            prop_assert_eq!(header.extensions(&out).collect::<Vec<_>>(), elements);
        }
    }
}
