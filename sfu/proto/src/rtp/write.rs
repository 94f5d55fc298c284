//! Writes an RTP header into the caller's buffer.

use crate::{
    limits::CSRC_MAX,
    rtp::{
        extension::{ONE_BYTE_PROFILE, TWO_BYTE_PROFILE},
        header::FIXED_HEADER_LEN,
    },
    unit::{RtpSeq, RtpTimestamp, Ssrc},
};

/// Why a header cannot be written. We are to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The buffer is too small.
    #[error("no room for the RTP header")]
    NoRoom,
    /// A value does not fit its field: payload type above 127, more than 15 sources, extension id
    /// 0, data above 255 bytes.
    #[error("a value does not fit the RTP header")]
    Field,
}

/// Everything that stands in an RTP header. Extensions are written in one-byte form where all of
/// them allow it, else in two-byte form (RFC 8285 section 4.1.2: one form per packet).
#[derive(Debug, Clone, Copy)]
pub struct HeaderWriter<'a> {
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Marker bit.
    pub marker: bool,
    /// Padding bit; the caller writes the padding.
    pub padding: bool,
    /// Sequence number.
    pub seq: RtpSeq,
    /// Timestamp.
    pub timestamp: RtpTimestamp,
    /// Synchronization source.
    pub ssrc: Ssrc,
    /// Contributing sources, at most 15.
    pub csrcs: &'a [Ssrc],
    /// Extension elements as (id, data). Ids 1 to 255.
    pub extensions: &'a [(u8, &'a [u8])],
}

impl HeaderWriter<'_> {
    /// Bytes that [`write`](Self::write) will write.
    pub fn header_len(&self) -> usize {
        let block = match self.extensions {
            [] => 0,
            _ => 4 + self.body_len().next_multiple_of(4),
        };
        FIXED_HEADER_LEN + 4 * self.csrcs.len() + block
    }

    /// Writes the header at the start of `out`; returns its length.
    ///
    /// # Errors
    /// [`WriteError`]; `out` is then unchanged.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, WriteError> {
        self.check()?;
        let out = out.get_mut(..self.header_len()).ok_or(WriteError::NoRoom)?;
        let (fixed, rest) = out.split_first_chunk_mut().ok_or(WriteError::NoRoom)?;
        self.write_fixed(fixed);
        let (csrcs, block) = rest.split_at_mut(4 * self.csrcs.len());
        for (word, csrc) in csrcs.chunks_exact_mut(4).zip(self.csrcs) {
            word.copy_from_slice(&csrc.0.to_be_bytes());
        }
        self.write_block(block);
        Ok(FIXED_HEADER_LEN + csrcs.len() + block.len())
    }

    fn check(&self) -> Result<(), WriteError> {
        let elements_fit = self.extensions.iter().all(|(id, data)| *id != 0 && data.len() <= 255);
        // The block's length field counts words in 16 bits.
        let block_fits = self.body_len().div_ceil(4) <= usize::from(u16::MAX);
        let fits =
            self.payload_type < 128 && self.csrcs.len() <= CSRC_MAX && elements_fit && block_fits;
        if fits { Ok(()) } else { Err(WriteError::Field) }
    }

    fn write_fixed(&self, out: &mut [u8; FIXED_HEADER_LEN]) {
        let extension = u8::from(!self.extensions.is_empty());
        // At most 15, as checked.
        let csrc_count = self.csrcs.len() as u8;
        out[0] = 2 << 6 | u8::from(self.padding) << 5 | extension << 4 | csrc_count;
        out[1] = u8::from(self.marker) << 7 | self.payload_type;
        out[2..4].copy_from_slice(&self.seq.0.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.0.to_be_bytes());
        out[8..].copy_from_slice(&self.ssrc.0.to_be_bytes());
    }

    /// `block` has exactly the length that the elements need.
    fn write_block(&self, block: &mut [u8]) {
        let Some((head, body)) = block.split_first_chunk_mut::<4>() else { return };
        let two_byte = self.is_two_byte();
        let profile = if two_byte { TWO_BYTE_PROFILE } else { ONE_BYTE_PROFILE };
        let words = (body.len() / 4) as u16;
        head[..2].copy_from_slice(&profile.to_be_bytes());
        head[2..].copy_from_slice(&words.to_be_bytes());
        let mut at = 0;
        for (id, data) in self.extensions {
            if two_byte {
                body[at] = *id;
                body[at + 1] = data.len() as u8;
                at += 2;
            } else {
                body[at] = id << 4 | (data.len() - 1) as u8;
                at += 1;
            }
            body[at..at + data.len()].copy_from_slice(data);
            at += data.len();
        }
        body[at..].fill(0);
    }

    /// RFC 8285 section 4.2: one-byte elements have ids 1 to 14 and 1 to 16 bytes of data.
    fn is_two_byte(&self) -> bool {
        self.extensions.iter().any(|(id, data)| *id > 14 || data.is_empty() || data.len() > 16)
    }

    /// Elements with their headers, before padding to a word.
    fn body_len(&self) -> usize {
        let head = if self.is_two_byte() { 2 } else { 1 };
        self.extensions.iter().map(|(_, data)| head + data.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: HeaderWriter<'_> = HeaderWriter {
        payload_type: 96,
        marker: false,
        padding: false,
        seq: RtpSeq(1),
        timestamp: RtpTimestamp(2),
        ssrc: Ssrc(3),
        csrcs: &[],
        extensions: &[],
    };

    fn profile_of(extensions: &[(u8, &[u8])]) -> [u8; 2] {
        let mut out = [0; 400];
        let writer = HeaderWriter { extensions, ..PLAIN };
        assert_eq!(writer.write(&mut out), Ok(writer.header_len()));
        [out[12], out[13]]
    }

    #[test]
    fn two_byte_form_only_where_needed() {
        assert_eq!(profile_of(&[(14, &[0; 16])]), [0xbe, 0xde]);
        assert_eq!(profile_of(&[(1, &[0]), (15, &[0])]), [0x10, 0x00]);
        assert_eq!(profile_of(&[(1, &[0; 17])]), [0x10, 0x00]);
        assert_eq!(profile_of(&[(1, &[])]), [0x10, 0x00]);
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        let mut out = [0; 2000];
        let wrong = [
            HeaderWriter { payload_type: 128, ..PLAIN },
            HeaderWriter { csrcs: &[Ssrc(0); 16], ..PLAIN },
            HeaderWriter { extensions: &[(0, &[1])], ..PLAIN },
            HeaderWriter { extensions: &[(1, &[0; 256])], ..PLAIN },
        ];
        for writer in wrong {
            assert_eq!(writer.write(&mut out), Err(WriteError::Field));
        }
        assert_eq!(out, [0; 2000]);
    }

    #[test]
    fn a_short_buffer_is_refused() {
        let writer = HeaderWriter { csrcs: &[Ssrc(1)], extensions: &[(1, &[1, 2])], ..PLAIN };
        for len in 0..writer.header_len() {
            assert_eq!(writer.write(&mut vec![0; len]), Err(WriteError::NoRoom));
        }
        assert_eq!(writer.write(&mut vec![0; writer.header_len()]), Ok(24));
    }
}
