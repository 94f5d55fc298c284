//! RTP header extensions (RFC 8285): the elements of a block, and the values that we read or write.

use std::time::Duration;

use crate::limits::STREAM_ID_LEN_MAX;

/// Profile of a block of one-byte elements (RFC 8285 section 4.2).
pub(super) const ONE_BYTE_PROFILE: u16 = 0xBEDE;
/// Profile of a block of two-byte elements with application bits zero (section 4.3).
pub(super) const TWO_BYTE_PROFILE: u16 = 0x1000;
/// In one-byte form this id ends the block (section 4.2).
const ONE_BYTE_STOP_ID: u8 = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    OneByte,
    TwoByte,
}

/// Elements of an extension block as (id, data). Ends at the first malformed element; blocks of
/// unknown profile have none.
#[derive(Debug, Clone)]
pub struct Extensions<'a> {
    form: Form,
    rest: &'a [u8],
}

impl<'a> Extensions<'a> {
    /// Elements of a block with this profile and body.
    #[inline]
    pub fn new(profile: u16, body: &'a [u8]) -> Self {
        match profile {
            ONE_BYTE_PROFILE => Self { form: Form::OneByte, rest: body },
            // The low four bits are application bits, free for anyone (section 4.3).
            p if p & 0xfff0 == TWO_BYTE_PROFILE => Self { form: Form::TwoByte, rest: body },
            _ => Self { form: Form::OneByte, rest: &[] },
        }
    }

    /// The next element's id, data length and header length, or `None` at the end.
    #[inline]
    fn element(&self) -> Option<(u8, usize, usize)> {
        match self.form {
            Form::OneByte => {
                let byte = *self.rest.first()?;
                let (id, len) = (byte >> 4, usize::from(byte & 0x0f) + 1);
                // Section 4.2: id 15, and id 0 with a length, end processing of the whole block.
                (id != 0 && id != ONE_BYTE_STOP_ID).then_some((id, len, 1))
            }
            Form::TwoByte => {
                let &[id, len] = self.rest.first_chunk::<2>()?;
                Some((id, usize::from(len), 2))
            }
        }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        // Padding: zero bytes between elements, in both forms (section 4.1.1).
        while let [0, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let element = self.element().and_then(|(id, len, head)| {
            let (data, rest) = self.rest.get(head..)?.split_at_checked(len)?;
            Some((id, data, rest))
        });
        let Some((id, data, rest)) = element else {
            self.rest = &[];
            return None;
        };
        self.rest = rest;
        Some((id, data))
    }
}

/// Client-to-mixer audio level (RFC 6464).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioLevel {
    /// Whether the sender believes that the packet holds voice.
    pub voice: bool,
    /// Level below overload, in −dBov: 0 is the loudest, 127 is silence.
    pub minus_dbov: u8,
}

impl AudioLevel {
    /// Reads an element's data. RFC 6464 section 3 allows further bytes in the two-byte form.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let byte = *data.first()?;
        Some(Self { voice: byte & 0x80 != 0, minus_dbov: byte & 0x7f })
    }

    /// The element's data. Levels above 127 are written as 127.
    pub fn to_bytes(self) -> [u8; 1] {
        [u8::from(self.voice) << 7 | self.minus_dbov.min(127)]
    }
}

/// `abs-send-time`: 24 bits, 6.18 fixed point seconds, wrapping every 64 s. `since_epoch` counts
/// from any instant that stays the same during the session.
pub fn abs_send_time(since_epoch: Duration) -> [u8; 3] {
    // Seconds below 64 in six bits, then nanoseconds · 2^18 / 10^9 (fits: 2^30 · 2^18 < 2^64).
    let seconds = (since_epoch.as_secs() & 63) << 18;
    let fraction = (u64::from(since_epoch.subsec_nanos()) << 18) / 1_000_000_000;
    let [.., a, b, c] = (seconds | fraction).to_be_bytes();
    [a, b, c]
}

/// The 24 bits of an `abs-send-time` element, in units of 2^-18 s.
pub fn read_abs_send_time(data: &[u8]) -> Option<u32> {
    let &[a, b, c] = data else { return None };
    Some(u32::from_be_bytes([0, a, b, c]))
}

/// Data of a transport-wide sequence number element (draft-holmer-rmcat-transport-wide-cc-01).
pub fn transport_sequence(sequence: u16) -> [u8; 2] {
    sequence.to_be_bytes()
}

/// The transport-wide sequence number. Version 2 of the extension appends two bytes, unused here.
pub fn read_transport_sequence(data: &[u8]) -> Option<u16> {
    data.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

/// The text of a MID (RFC 9143) or RID (RFC 8852) element: visible ASCII, bounded.
pub fn stream_id(data: &[u8]) -> Option<&str> {
    let fits = !data.is_empty() && data.len() <= STREAM_ID_LEN_MAX;
    let visible = data.iter().all(u8::is_ascii_graphic);
    if fits && visible { str::from_utf8(data).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn elements(profile: u16, body: &[u8]) -> Vec<(u8, Vec<u8>)> {
        Extensions::new(profile, body).map(|(id, data)| (id, data.to_vec())).collect()
    }

    /// RFC 8285 section 4.2, figure 2: three one-byte elements with padding between them.
    #[test]
    fn one_byte_example() {
        let body = [0x10, 0xaa, 0x21, 0xbb, 0xbb, 0, 0, 0x33, 1, 2, 3, 4];
        let want = [(1, vec![0xaa]), (2, vec![0xbb; 2]), (3, vec![1, 2, 3, 4])];
        assert_eq!(elements(ONE_BYTE_PROFILE, &body), want);
    }

    /// RFC 8285 section 4.3, figure 3: an empty element, padding, a long one.
    #[test]
    fn two_byte_example() {
        let body = [1, 0, 2, 1, 0xbb, 0, 3, 4, 1, 2, 3, 4];
        let want = [(1, vec![]), (2, vec![0xbb]), (3, vec![1, 2, 3, 4])];
        for profile in 0x1000..=0x100f {
            assert_eq!(elements(profile, &body), want);
        }
    }

    /// RFC 8285 section 4.2: "processing of the entire extension MUST terminate at that point".
    #[test]
    fn id_15_and_id_0_with_length_end_the_block() {
        assert_eq!(elements(ONE_BYTE_PROFILE, &[0x10, 7, 0xf0, 8, 0x20, 9]), [(1, vec![7])]);
        assert_eq!(elements(ONE_BYTE_PROFILE, &[0x10, 7, 0x01, 8, 0x20, 9]), [(1, vec![7])]);
    }

    #[test]
    fn an_element_past_the_end_is_left_out() {
        assert_eq!(elements(ONE_BYTE_PROFILE, &[0x10, 7, 0x2f, 8]), [(1, vec![7])]);
        assert_eq!(elements(TWO_BYTE_PROFILE, &[1, 1, 7, 2, 200]), [(1, vec![7])]);
        assert_eq!(elements(TWO_BYTE_PROFILE, &[1, 1, 7, 2]), [(1, vec![7])]);
    }

    #[test]
    fn unknown_profiles_have_no_elements() {
        assert_eq!(elements(0x0000, &[0x10, 7]), []);
        assert_eq!(elements(0x1010, &[1, 1, 7]), []);
    }

    #[test]
    fn audio_level_values() {
        let level = AudioLevel { voice: true, minus_dbov: 5 };
        assert_eq!(level.to_bytes(), [0x85]);
        assert_eq!(AudioLevel::parse(&[0x85]), Some(level));
        assert_eq!(AudioLevel::parse(&[]), None);
        assert_eq!(AudioLevel { voice: false, minus_dbov: 255 }.to_bytes(), [127]);
    }

    #[test]
    fn abs_send_time_values() {
        assert_eq!(abs_send_time(Duration::ZERO), [0, 0, 0]);
        assert_eq!(abs_send_time(Duration::from_secs(1)), [0x04, 0, 0]);
        assert_eq!(abs_send_time(Duration::from_millis(500)), [0x02, 0, 0]);
        assert_eq!(abs_send_time(Duration::new(63, 999_999_999)), [0xff, 0xff, 0xff]);
        assert_eq!(abs_send_time(Duration::from_secs(64)), [0, 0, 0]);
        assert_eq!(abs_send_time(Duration::from_secs(u64::MAX)), [0xfc, 0, 0]);
        assert_eq!(read_abs_send_time(&[0x04, 0, 1]), Some(1 << 18 | 1));
        assert_eq!(read_abs_send_time(&[0x04, 0]), None);
    }

    #[test]
    fn stream_ids_are_short_and_visible() {
        assert_eq!(stream_id(b"audio-0"), Some("audio-0"));
        assert_eq!(stream_id(b""), None);
        assert_eq!(stream_id(b"a b"), None);
        assert_eq!(stream_id(b"abcdefghijklmnopq"), None);
        assert_eq!(stream_id(&[0xff]), None);
    }

    proptest! {
        #[test]
        fn any_block_ends_and_stays_inside(
            profile in prop_oneof![Just(ONE_BYTE_PROFILE), 0x1000u16..=0x100f, any::<u16>()],
            body in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let total: usize = Extensions::new(profile, &body).map(|(_, d)| d.len() + 1).sum();
            prop_assert!(total <= body.len());
        }
    }
}
