//! Writes a Binding message into the caller's buffer.

use std::net::SocketAddr;

use super::{
    ATTRIBUTE_HEADER_LEN, BINDING, Class, FINGERPRINT_XOR, HEADER_LEN, INTEGRITY_LEN, IceRole,
    MAGIC_COOKIE, TransactionId, attribute, crc::crc32, message::xor_mask,
};

/// The caller's buffer is too small, or the message would exceed its 16-bit length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for the STUN message")]
pub struct NoRoom;

/// Appends attributes one by one; [`finish`](Self::finish) authenticates and ends the message.
pub struct MessageWriter<'a> {
    out: &'a mut [u8],
    len: usize,
    transaction: TransactionId,
}

impl<'a> MessageWriter<'a> {
    /// Starts a message.
    ///
    /// # Errors
    /// [`NoRoom`] when `out` does not hold a header.
    pub fn new(
        out: &'a mut [u8],
        class: Class,
        transaction: TransactionId,
    ) -> Result<Self, NoRoom> {
        let header = out.first_chunk_mut::<HEADER_LEN>().ok_or(NoRoom)?;
        let class_bits: u16 = match class {
            Class::Request => 0x0000,
            Class::Indication => 0x0010,
            Class::Success => 0x0100,
            Class::Error => 0x0110,
        };
        header[..2].copy_from_slice(&(BINDING | class_bits).to_be_bytes());
        header[2..4].fill(0);
        header[4..8].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
        header[8..].copy_from_slice(&transaction.0);
        Ok(Self { out, len: HEADER_LEN, transaction })
    }

    /// Appends any attribute.
    ///
    /// # Errors
    /// [`NoRoom`]; the message is then as before, as for every method below.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> Result<&mut Self, NoRoom> {
        let end = self.len + ATTRIBUTE_HEADER_LEN + value.len().next_multiple_of(4);
        let body_len = u16::try_from(end - HEADER_LEN).map_err(|_| NoRoom)?;
        let value_len = u16::try_from(value.len()).map_err(|_| NoRoom)?;
        let place = self.out.get_mut(self.len..end).ok_or(NoRoom)?;
        let (head, rest) = place.split_at_mut(ATTRIBUTE_HEADER_LEN);
        head[..2].copy_from_slice(&kind.to_be_bytes());
        head[2..].copy_from_slice(&value_len.to_be_bytes());
        let (data, padding) = rest.split_at_mut(value.len());
        data.copy_from_slice(value);
        padding.fill(0);
        self.out[2..4].copy_from_slice(&body_len.to_be_bytes());
        self.len = end;
        Ok(self)
    }

    /// USERNAME: `receiver's ufrag:sender's ufrag` in requests.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn username(&mut self, username: &str) -> Result<&mut Self, NoRoom> {
        self.attribute(attribute::USERNAME, username.as_bytes())
    }

    /// PRIORITY.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn priority(&mut self, priority: u32) -> Result<&mut Self, NoRoom> {
        self.attribute(attribute::PRIORITY, &priority.to_be_bytes())
    }

    /// USE-CANDIDATE.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn use_candidate(&mut self) -> Result<&mut Self, NoRoom> {
        self.attribute(attribute::USE_CANDIDATE, &[])
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn role(&mut self, role: IceRole) -> Result<&mut Self, NoRoom> {
        let (kind, tie_breaker) = match role {
            IceRole::Controlling(value) => (attribute::ICE_CONTROLLING, value),
            IceRole::Controlled(value) => (attribute::ICE_CONTROLLED, value),
        };
        self.attribute(kind, &tie_breaker.to_be_bytes())
    }

    /// XOR-MAPPED-ADDRESS (RFC 8489 section 14.2).
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn mapped_address(&mut self, address: SocketAddr) -> Result<&mut Self, NoRoom> {
        let mut value = [0; 20];
        let port = address.port() ^ (MAGIC_COOKIE >> 16) as u16;
        value[2..4].copy_from_slice(&port.to_be_bytes());
        let len = match address {
            SocketAddr::V4(address) => {
                value[1] = 1;
                let bits = address.ip().to_bits() ^ MAGIC_COOKIE;
                value[4..8].copy_from_slice(&bits.to_be_bytes());
                8
            }
            SocketAddr::V6(address) => {
                value[1] = 2;
                let bits = address.ip().to_bits() ^ xor_mask(self.transaction);
                value[4..].copy_from_slice(&bits.to_be_bytes());
                20
            }
        };
        self.attribute(attribute::XOR_MAPPED_ADDRESS, &value[..len])
    }

    /// ERROR-CODE without a reason phrase: 300 to 699 (RFC 8489 section 14.8).
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn error_code(&mut self, code: u16) -> Result<&mut Self, NoRoom> {
        let (class, number) = ((code / 100) & 0x07, code % 100);
        self.attribute(attribute::ERROR_CODE, &[0, 0, class as u8, number as u8])
    }

    /// UNKNOWN-ATTRIBUTES of a 420 answer (RFC 8489 section 14.13).
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn unknown_attributes(&mut self, kinds: &[u16]) -> Result<&mut Self, NoRoom> {
        let mut value = arrayvec::ArrayVec::<u8, { 2 * super::UNKNOWN_ATTRIBUTES_MAX }>::new();
        for kind in kinds {
            value.try_extend_from_slice(&kind.to_be_bytes()).map_err(|_| NoRoom)?;
        }
        self.attribute(attribute::UNKNOWN_ATTRIBUTES, &value)
    }

    /// Appends MESSAGE-INTEGRITY and FINGERPRINT; returns the message's length. `hmac` computes
    /// HMAC-SHA1 of the given bytes with the receiver's password.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn finish(
        mut self,
        hmac: impl FnOnce(&[u8]) -> [u8; INTEGRITY_LEN],
    ) -> Result<usize, NoRoom> {
        let start = self.len;
        // The HMAC covers a length field that already counts the attribute (RFC 8489 section
        // 14.5): append it with zeros, which sets that length, then fill the value in.
        self.attribute(attribute::MESSAGE_INTEGRITY, &[0; INTEGRITY_LEN])?;
        let (covered, place) = self.out.split_at_mut(start);
        let value = hmac(covered);
        place[ATTRIBUTE_HEADER_LEN..][..INTEGRITY_LEN].copy_from_slice(&value);
        self.finish_without_integrity()
    }

    /// Appends FINGERPRINT only; returns the message's length. For indications and for errors
    /// that precede authentication.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn finish_without_integrity(mut self) -> Result<usize, NoRoom> {
        let start = self.len;
        self.attribute(attribute::FINGERPRINT, &[0; 4])?;
        let value = crc32(&self.out[..start]) ^ FINGERPRINT_XOR;
        self.out[start + ATTRIBUTE_HEADER_LEN..self.len].copy_from_slice(&value.to_be_bytes());
        Ok(self.len)
    }
}
