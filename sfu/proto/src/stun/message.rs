//! Reads a Binding message.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use arrayvec::ArrayVec;

use super::{
    ATTRIBUTE_HEADER_LEN, BINDING, FINGERPRINT_XOR, INTEGRITY_LEN, MAGIC_COOKIE, attribute,
    crc::crc32,
};

/// Bytes of the message header (RFC 8489 section 5).
pub const HEADER_LEN: usize = 20;

/// Unknown comprehension-required attributes that are remembered; a 420 answer needs no more.
pub const UNKNOWN_ATTRIBUTES_MAX: usize = 8;

/// Longest USERNAME, bytes (RFC 8489 section 14.3: fewer than 509).
const USERNAME_LEN_MAX: usize = 508;

/// Why a datagram is not a usable Binding message. The sender is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StunError {
    /// Header or attribute lengths do not match the datagram.
    #[error("STUN length does not match the datagram")]
    Length,
    /// No magic cookie: not STUN, or of RFC 3489.
    #[error("no STUN magic cookie")]
    Cookie,
    /// A method other than Binding.
    #[error("STUN method is not Binding")]
    Method,
    /// A known attribute has an impossible value.
    #[error("malformed STUN attribute {kind:#06x}")]
    Attribute {
        /// Its type.
        kind: u16,
    },
    /// FINGERPRINT is wrong or not the last attribute.
    #[error("wrong STUN fingerprint")]
    Fingerprint,
}

/// Message class (RFC 8489 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// Answers well.
    Success,
    /// Answers with an error code.
    Error,
}

/// Pairs a response with its request; 96 random bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// What the sender of a request believes its ICE role is, with its tie-breaker (RFC 8445
/// section 7.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceRole {
    /// ICE-CONTROLLING.
    Controlling(u64),
    /// ICE-CONTROLLED.
    Controlled(u64),
}

/// The MESSAGE-INTEGRITY attribute: not yet compared with anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Integrity<'a> {
    /// What the HMAC covers.
    pub covered: Covered<'a>,
    /// The sender's HMAC-SHA1. Compare in constant time.
    pub value: [u8; INTEGRITY_LEN],
}

/// The input of MESSAGE-INTEGRITY: the message before the attribute, with a length field that
/// ends behind the attribute (RFC 8489 section 14.5). In two parts, as the length field differs
/// from the one received.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Covered<'a> {
    /// The header with the adjusted length; first HMAC input.
    pub header: [u8; HEADER_LEN],
    /// Everything between header and attribute; second HMAC input.
    pub attributes: &'a [u8],
}

/// A parsed Binding message. Known attributes only, the first of each kind (RFC 8489 section 14);
/// what follows MESSAGE-INTEGRITY is not authenticated and therefore ignored, FINGERPRINT apart.
///
/// No `Debug`: user name and mapped address stay out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Class.
    pub class: Class,
    /// Transaction.
    pub transaction: TransactionId,
    /// USERNAME.
    pub username: Option<&'a str>,
    /// PRIORITY of the peer-reflexive candidate (RFC 8445 section 7.1.1).
    pub priority: Option<u32>,
    /// USE-CANDIDATE: the controlling agent nominates (RFC 8445 section 7.1.2).
    pub use_candidate: bool,
    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub role: Option<IceRole>,
    /// XOR-MAPPED-ADDRESS.
    pub mapped_address: Option<SocketAddr>,
    /// ERROR-CODE, 300 to 699.
    pub error_code: Option<u16>,
    /// MESSAGE-INTEGRITY, to be verified by the caller.
    pub integrity: Option<Integrity<'a>>,
    /// Whether a right FINGERPRINT ends the message. A wrong one is an error.
    pub fingerprint: bool,
    /// Comprehension-required attributes (below 0x8000) that we do not know; a request with any
    /// is answered with 420 (RFC 8489 section 6.3.1), an indication or response is dropped.
    pub unknown: ArrayVec<u16, UNKNOWN_ATTRIBUTES_MAX>,
}

impl<'a> Message<'a> {
    /// Parses a datagram that demultiplexing called STUN.
    ///
    /// # Errors
    /// [`StunError`]. Silence is the right answer to each: the sender is not authenticated.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, StunError> {
        let (header, body) = datagram.split_first_chunk().ok_or(StunError::Length)?;
        let mut message = Self::from_header(header, body.len())?;
        let mut at = HEADER_LEN;
        while at < datagram.len() {
            let (kind, value, next) = split_attribute(datagram, at)?;
            if message.integrity.is_none() {
                message.read_attribute(kind, value, datagram, at)?;
            } else if kind == attribute::FINGERPRINT {
                message.read_fingerprint(value, datagram, at)?;
            }
            at = next;
        }
        Ok(message)
    }

    /// The two halves of USERNAME: the receiver's fragment, then the sender's (RFC 8445 section
    /// 7.2.2).
    pub fn ufrags(&self) -> Option<(&'a str, &'a str)> {
        self.username?.split_once(':')
    }

    fn from_header(header: &[u8; HEADER_LEN], body_len: usize) -> Result<Self, StunError> {
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if u32::from_be_bytes([header[4], header[5], header[6], header[7]]) != MAGIC_COOKIE {
            return Err(StunError::Cookie);
        }
        if len != body_len || !len.is_multiple_of(4) {
            return Err(StunError::Length);
        }
        let mut transaction = TransactionId([0; 12]);
        transaction.0.copy_from_slice(&header[8..]);
        Ok(Self {
            class: class_of(kind)?,
            transaction,
            username: None,
            priority: None,
            use_candidate: false,
            role: None,
            mapped_address: None,
            error_code: None,
            integrity: None,
            fingerprint: false,
            unknown: ArrayVec::new(),
        })
    }

    fn read_attribute(
        &mut self,
        kind: u16,
        value: &'a [u8],
        datagram: &'a [u8],
        at: usize,
    ) -> Result<(), StunError> {
        let bad = StunError::Attribute { kind };
        match kind {
            attribute::USERNAME => keep_first(&mut self.username, username(value).ok_or(bad)?),
            attribute::PRIORITY => keep_first(&mut self.priority, number(value).ok_or(bad)?),
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::ICE_CONTROLLING => {
                keep_first(&mut self.role, IceRole::Controlling(tie_breaker(value).ok_or(bad)?));
            }
            attribute::ICE_CONTROLLED => {
                keep_first(&mut self.role, IceRole::Controlled(tie_breaker(value).ok_or(bad)?));
            }
            attribute::XOR_MAPPED_ADDRESS => {
                let address = xor_address(value, self.transaction).ok_or(bad)?;
                keep_first(&mut self.mapped_address, address);
            }
            attribute::ERROR_CODE => {
                keep_first(&mut self.error_code, error_code(value).ok_or(bad)?);
            }
            attribute::UNKNOWN_ATTRIBUTES => {}
            attribute::MESSAGE_INTEGRITY => {
                let value = *value.as_array().ok_or(bad)?;
                self.integrity = Some(Integrity { covered: covered(datagram, at), value });
            }
            attribute::FINGERPRINT => self.read_fingerprint(value, datagram, at)?,
            // RFC 8489 section 14: types from 0x8000 may be ignored.
            0x8000.. => {}
            // Beyond the capacity further ones change nothing.
            _ => _ = self.unknown.try_push(kind),
        }
        Ok(())
    }

    /// RFC 8489 section 14.7: the last attribute, CRC-32 of everything before it.
    fn read_fingerprint(&mut self, value: &[u8], all: &[u8], at: usize) -> Result<(), StunError> {
        let is_last = at + ATTRIBUTE_HEADER_LEN + value.len() == all.len();
        let is_right = number(value) == Some(crc32(&all[..at]) ^ FINGERPRINT_XOR);
        if !is_last || !is_right {
            return Err(StunError::Fingerprint);
        }
        self.fingerprint = true;
        Ok(())
    }
}

fn keep_first<T>(slot: &mut Option<T>, value: T) {
    if slot.is_none() {
        *slot = Some(value);
    }
}

/// RFC 8489 section 5: two class bits between the twelve method bits; the top two are zero.
fn class_of(kind: u16) -> Result<Class, StunError> {
    let method = kind & 0x000f | (kind & 0x00e0) >> 1 | (kind & 0x3e00) >> 2;
    if method != BINDING || kind & 0xc000 != 0 {
        return Err(StunError::Method);
    }
    Ok(match kind & 0x0110 {
        0x0000 => Class::Request,
        0x0010 => Class::Indication,
        0x0100 => Class::Success,
        _ => Class::Error,
    })
}

/// Type, value and the offset behind the padding of the attribute at `at`.
fn split_attribute(datagram: &[u8], at: usize) -> Result<(u16, &[u8], usize), StunError> {
    let rest = datagram.get(at..).unwrap_or_default();
    let (head, rest) = rest.split_first_chunk::<ATTRIBUTE_HEADER_LEN>().ok_or(StunError::Length)?;
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let padded = len.next_multiple_of(4);
    if padded > rest.len() {
        return Err(StunError::Length);
    }
    let kind = u16::from_be_bytes([head[0], head[1]]);
    Ok((kind, &rest[..len], at + ATTRIBUTE_HEADER_LEN + padded))
}

/// What MESSAGE-INTEGRITY at `at` covers. `at` is at least [`HEADER_LEN`] and inside the datagram.
fn covered(datagram: &[u8], at: usize) -> Covered<'_> {
    let (head, attributes) = datagram[..at].split_at(HEADER_LEN);
    let mut header = [0; HEADER_LEN];
    header.copy_from_slice(head);
    let len = attributes.len() + ATTRIBUTE_HEADER_LEN + INTEGRITY_LEN;
    // Not above the length field that the datagram had, so it fits.
    header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    Covered { header, attributes }
}

fn username(value: &[u8]) -> Option<&str> {
    if value.len() > USERNAME_LEN_MAX { None } else { str::from_utf8(value).ok() }
}

fn number(value: &[u8]) -> Option<u32> {
    value.as_array().map(|bytes| u32::from_be_bytes(*bytes))
}

fn tie_breaker(value: &[u8]) -> Option<u64> {
    value.as_array().map(|bytes| u64::from_be_bytes(*bytes))
}

/// RFC 8489 section 14.8: class in hundreds (three bits), number below 100.
fn error_code(value: &[u8]) -> Option<u16> {
    let head = value.first_chunk::<4>()?;
    let (class, number) = (head[2] & 0x07, head[3]);
    ((3..=6).contains(&class) && number < 100).then(|| u16::from(class) * 100 + u16::from(number))
}

/// RFC 8489 section 14.2: XORed with the cookie and, for IPv6, the transaction.
fn xor_address(value: &[u8], transaction: TransactionId) -> Option<SocketAddr> {
    let (&[_, family, p0, p1], address) = value.split_first_chunk::<4>()?;
    let ip = match family {
        1 => IpAddr::V4(Ipv4Addr::from_bits(number(address)? ^ MAGIC_COOKIE)),
        2 => {
            let bits = u128::from_be_bytes(*address.as_array()?);
            IpAddr::V6(Ipv6Addr::from_bits(bits ^ xor_mask(transaction)))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([p0, p1]) ^ (MAGIC_COOKIE >> 16) as u16))
}

/// Cookie and transaction as one 128-bit number.
pub(super) fn xor_mask(transaction: TransactionId) -> u128 {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&MAGIC_COOKIE.to_be_bytes());
    bytes[4..].copy_from_slice(&transaction.0);
    u128::from_be_bytes(bytes)
}
