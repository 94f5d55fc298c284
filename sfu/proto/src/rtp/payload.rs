//! The little that is read from a decrypted payload: padding and the RTX prefix.

use crate::{rtp::header::RtpError, unit::RtpSeq};

/// Bytes of the original sequence number before a retransmitted payload (RFC 4588 section 4).
pub const RTX_OSN_LEN: usize = 2;

/// A decrypted payload without its padding. `padding` is the header's bit.
///
/// The result may be empty: packets of padding only are bandwidth probes.
///
/// # Errors
/// [`RtpError::Padding`] when the count is zero or exceeds the payload (RFC 3550 section 5.1: the
/// last byte counts itself).
#[inline]
pub fn without_padding(payload: &[u8], padding: bool) -> Result<&[u8], RtpError> {
    if !padding {
        return Ok(payload);
    }
    let count = usize::from(*payload.last().ok_or(RtpError::Padding)?);
    if count == 0 {
        return Err(RtpError::Padding);
    }
    let len = payload.len().checked_sub(count).ok_or(RtpError::Padding)?;
    Ok(&payload[..len])
}

/// The original sequence number and payload of a retransmission (RFC 4588 section 4), padding
/// already removed. `None` when it is too short to be one; an empty one is a probe.
#[inline]
pub fn rtx_payload(payload: &[u8]) -> Option<(RtpSeq, &[u8])> {
    let (osn, rest) = payload.split_first_chunk::<RTX_OSN_LEN>()?;
    Some((RtpSeq(u16::from_be_bytes(*osn)), rest))
}

/// The prefix of a retransmission of packet `original`.
pub fn write_rtx_osn(original: RtpSeq) -> [u8; RTX_OSN_LEN] {
    original.0.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SECURITY M2: every length 0 to 64 with every padding count.
    #[test]
    fn padding_is_removed_or_refused() {
        for len in 0..=64usize {
            for count in 0..=255u8 {
                let mut payload = vec![7; len];
                if let Some(last) = payload.last_mut() {
                    *last = count;
                }
                let want = match usize::from(count) {
                    0 => Err(RtpError::Padding),
                    n if n > len => Err(RtpError::Padding),
                    n => Ok(len - n),
                };
                assert_eq!(without_padding(&payload, true).map(<[u8]>::len), want);
                assert_eq!(without_padding(&payload, false).map(<[u8]>::len), Ok(len));
            }
        }
    }

    #[test]
    fn rtx_needs_its_prefix() {
        assert_eq!(rtx_payload(&[]), None);
        assert_eq!(rtx_payload(&[1]), None);
        assert_eq!(rtx_payload(&[1, 2]), Some((RtpSeq(0x102), &[][..])));
        assert_eq!(rtx_payload(&[1, 2, 3]), Some((RtpSeq(0x102), &[3][..])));
        assert_eq!(write_rtx_osn(RtpSeq(0x102)), [1, 2]);
    }
}
