//! What kind of packet a datagram is (RFC 7983, RFC 5761), and the framing that carries datagrams
//! over TCP (RFC 4571, used by ICE-TCP, RFC 6544).
//!
//! Classification looks at two bytes and the length only; it vouches for nothing.

use arrayvec::ArrayVec;

use crate::limits::DATAGRAM_LEN_MAX;

/// Shortest STUN message, bytes: its header (RFC 8489 section 5).
pub const STUN_LEN_MIN: usize = 20;
/// Shortest DTLS record, bytes: DTLS 1.3's unified header, a one-byte record, a short tag. The
/// first byte of older records starts a 13-byte header; the DTLS library checks which it is.
pub const DTLS_LEN_MIN: usize = 11;
/// Shortest RTP packet, bytes: its fixed header (RFC 3550 section 5.1).
pub const RTP_LEN_MIN: usize = 12;
/// Shortest RTCP packet, bytes: header and sender SSRC (RFC 3550 section 6.4); SRTCP keeps both in
/// clear (RFC 3711 section 3.4).
pub const RTCP_LEN_MIN: usize = 8;

/// Kind of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// STUN (RFC 8489).
    Stun,
    /// DTLS (RFC 6347, RFC 9147).
    Dtls,
    /// RTP, still encrypted.
    Rtp,
    /// RTCP, still encrypted.
    Rtcp,
    /// Nothing we speak, or outside the length bounds: to be dropped.
    Unknown,
}

/// The kind of a datagram. Total: every input has an answer.
pub fn classify(datagram: &[u8]) -> Class {
    let &[first, second, ..] = datagram else { return Class::Unknown };
    if datagram.len() > DATAGRAM_LEN_MAX {
        return Class::Unknown;
    }
    // RFC 7983 section 7; RFC 9443 leaves these four ranges as they are.
    let (class, len_min) = match first {
        0..=3 => (Class::Stun, STUN_LEN_MIN),
        20..=63 => (Class::Dtls, DTLS_LEN_MIN),
        128..=191 if is_rtcp(second) => (Class::Rtcp, RTCP_LEN_MIN),
        128..=191 => (Class::Rtp, RTP_LEN_MIN),
        _ => return Class::Unknown,
    };
    if datagram.len() < len_min { Class::Unknown } else { class }
}

/// RFC 5761 section 4: RTCP packet types 192 to 223; RTP payload types 64 to 95 are not used, so
/// marker and payload type never give these values.
const fn is_rtcp(second: u8) -> bool {
    matches!(second, 192..=223)
}

/// Bytes of an RFC 4571 length field.
pub const FRAME_HEADER_LEN: usize = 2;

/// Why a byte stream is not RFC 4571 framing for us. The connection cannot be resynchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The peer announced, or the caller gave, a frame longer than a datagram.
    #[error("frame of {len} bytes exceeds {DATAGRAM_LEN_MAX}")]
    TooLong {
        /// Its length, bytes.
        len: usize,
    },
    /// The caller's buffer is too small.
    #[error("no room for the frame")]
    NoRoom,
}

/// Cuts a TCP byte stream into datagrams. Holds at most one incomplete frame; never allocates.
#[derive(Debug, Default)]
pub struct FrameReader {
    /// An incomplete frame with its length field; empty when the stream stands between frames.
    partial: ArrayVec<u8, { FRAME_HEADER_LEN + DATAGRAM_LEN_MAX }>,
}

impl FrameReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the stream and hands every completed frame to `each`, in order.
    /// Empty frames (RFC 4571 section 2 allows them) are skipped.
    ///
    /// # Errors
    /// [`FrameError::TooLong`]: close the connection; frames before the bad one were delivered.
    pub fn read(
        &mut self,
        mut input: &[u8],
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), FrameError> {
        while !input.is_empty() {
            if self.partial.is_empty()
                && let Some((frame, rest)) = split_frame(input)?
            {
                deliver(frame, &mut each);
                input = rest;
                continue;
            }
            input = self.fill(input)?;
            if let Some((frame, _)) = split_frame(&self.partial)? {
                deliver(frame, &mut each);
                self.partial.clear();
            }
        }
        Ok(())
    }

    /// Whether the stream stands inside a frame, so that its end now would cut one.
    pub fn is_inside_frame(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Moves bytes from `input` until the length field, then the frame, is complete.
    fn fill<'a>(&mut self, input: &'a [u8]) -> Result<&'a [u8], FrameError> {
        let wanted = match frame_len(&self.partial)? {
            None => FRAME_HEADER_LEN,
            Some(len) => FRAME_HEADER_LEN + len,
        };
        let missing = wanted.saturating_sub(self.partial.len());
        let (now, rest) = input.split_at(missing.min(input.len()));
        // Cannot fail: `frame_len` refused what does not fit.
        self.partial.try_extend_from_slice(now).map_err(|_| FrameError::TooLong { len: wanted })?;
        Ok(rest)
    }
}

fn deliver(frame: &[u8], each: &mut impl FnMut(&[u8])) {
    if !frame.is_empty() {
        each(frame);
    }
}

/// The announced length, once both bytes are there.
fn frame_len(stream: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some(&header) = stream.first_chunk::<FRAME_HEADER_LEN>() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes(header));
    if len > DATAGRAM_LEN_MAX { Err(FrameError::TooLong { len }) } else { Ok(Some(len)) }
}

/// A whole frame and what follows it.
type Split<'a> = Option<(&'a [u8], &'a [u8])>;

fn split_frame(stream: &[u8]) -> Result<Split<'_>, FrameError> {
    let Some(len) = frame_len(stream)? else { return Ok(None) };
    Ok(stream[FRAME_HEADER_LEN..].split_at_checked(len))
}

/// The length field to send before a datagram of `len` bytes.
///
/// # Errors
/// [`FrameError::TooLong`] above [`DATAGRAM_LEN_MAX`].
pub fn frame_header(len: usize) -> Result<[u8; FRAME_HEADER_LEN], FrameError> {
    match u16::try_from(len) {
        Ok(wire) if len <= DATAGRAM_LEN_MAX => Ok(wire.to_be_bytes()),
        _ => Err(FrameError::TooLong { len }),
    }
}

/// Writes a datagram as a frame into `out`; returns the bytes written.
///
/// # Errors
/// [`FrameError::TooLong`] above [`DATAGRAM_LEN_MAX`], [`FrameError::NoRoom`] when `out` is short.
pub fn write_frame(datagram: &[u8], out: &mut [u8]) -> Result<usize, FrameError> {
    let header = frame_header(datagram.len())?;
    let len = FRAME_HEADER_LEN + datagram.len();
    let out = out.get_mut(..len).ok_or(FrameError::NoRoom)?;
    out[..FRAME_HEADER_LEN].copy_from_slice(&header);
    out[FRAME_HEADER_LEN..].copy_from_slice(datagram);
    Ok(len)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn datagram(first: u8, second: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        bytes[0] = first;
        bytes[1] = second;
        bytes
    }

    /// RFC 7983 section 7, figure 3.
    #[test]
    fn first_byte_ranges() {
        for first in 0..=255u8 {
            let want = match first {
                0..=3 => Class::Stun,
                20..=63 => Class::Dtls,
                128..=191 => Class::Rtp,
                _ => Class::Unknown,
            };
            assert_eq!(classify(&datagram(first, 96, 100)), want, "first byte {first}");
        }
    }

    /// RFC 5761 section 4.
    #[test]
    fn rtcp_is_told_from_rtp_by_packet_type() {
        for second in 0..=255u8 {
            let want = if (192..=223).contains(&second) { Class::Rtcp } else { Class::Rtp };
            assert_eq!(classify(&datagram(0x80, second, 100)), want, "second byte {second}");
        }
    }

    #[test]
    fn length_bounds_per_class() {
        for (first, second, len_min, class) in [
            (0, 1, STUN_LEN_MIN, Class::Stun),
            (22, 254, DTLS_LEN_MIN, Class::Dtls),
            (0x80, 96, RTP_LEN_MIN, Class::Rtp),
            (0x80, 200, RTCP_LEN_MIN, Class::Rtcp),
        ] {
            for len in 2..=DATAGRAM_LEN_MAX + 10 {
                let fits = (len_min..=DATAGRAM_LEN_MAX).contains(&len);
                let want = if fits { class } else { Class::Unknown };
                assert_eq!(classify(&datagram(first, second, len)), want, "{class:?} of {len}");
            }
        }
        assert_eq!(classify(&[]), Class::Unknown);
        assert_eq!(classify(&[0x80]), Class::Unknown);
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_before_its_body() {
        let len = DATAGRAM_LEN_MAX + 1;
        let header = u16::try_from(len).unwrap().to_be_bytes();
        let mut reader = FrameReader::new();
        assert_eq!(reader.read(&header[..1], |_| ()), Ok(()));
        assert_eq!(reader.read(&header[1..], |_| ()), Err(FrameError::TooLong { len }));
        assert_eq!(frame_header(len), Err(FrameError::TooLong { len }));
    }

    #[test]
    fn empty_frames_are_skipped() {
        let mut frames = Vec::new();
        FrameReader::new().read(&[0, 0, 0, 1, 7, 0, 0], |f| frames.push(f.to_vec())).unwrap();
        assert_eq!(frames, [[7]]);
    }

    proptest! {
        #[test]
        fn frames_survive_any_segmentation(
            sent in prop::collection::vec(
                prop::collection::vec(any::<u8>(), 1..=DATAGRAM_LEN_MAX), 0..8),
            cuts in prop::collection::vec(1usize..2000, 1..64),
        ) {
            let mut stream = Vec::new();
            let mut out = [0; FRAME_HEADER_LEN + DATAGRAM_LEN_MAX];
            for datagram in &sent {
                let len = write_frame(datagram, &mut out).unwrap();
                stream.extend_from_slice(&out[..len]);
            }
            let (mut reader, mut got, mut rest) = (FrameReader::new(), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                reader.read(now, |f| got.push(f.to_vec())).unwrap();
                rest = later;
            }
            prop_assert!(!reader.is_inside_frame());
            prop_assert_eq!(got, sent);
        }

        #[test]
        fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..4000)) {
            let _ = classify(&input);
            let mut reader = FrameReader::new();
            let mut delivered = 0;
            let _ = reader.read(&input, |frame| delivered += frame.len());
            prop_assert!(delivered <= input.len());
        }
    }
}
