//! STUN (RFC 8489) as far as ICE uses it (RFC 8445): Binding messages, read and written without
//! allocation.
//!
//! No keys live here. A reader gets the bytes that MESSAGE-INTEGRITY covers and compares itself; a
//! writer is handed the HMAC as a closure. Why not `rtc-stun`: docs/decisions/0002-own-stun-codec.md.

mod crc;
mod message;
mod write;

pub use message::{
    Class, Covered, HEADER_LEN, IceRole, Integrity, Message, StunError, TransactionId,
    UNKNOWN_ATTRIBUTES_MAX,
};
pub use write::{MessageWriter, NoRoom};

/// Fixed value in bytes 4 to 8 of every message (RFC 8489 section 5).
pub const MAGIC_COOKIE: u32 = 0x2112_A442;

/// The Binding method, the only one that ICE uses (RFC 8489 section 3).
const BINDING: u16 = 0x001;

/// XORed into the CRC-32 of FINGERPRINT: "STUN" (RFC 8489 section 14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Bytes of an attribute's type and length.
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// Bytes of the HMAC-SHA1 in MESSAGE-INTEGRITY.
const INTEGRITY_LEN: usize = 20;

/// Attribute types (RFC 8489 section 18.3, RFC 8445 section 16.1).
mod attribute {
    pub(super) const USERNAME: u16 = 0x0006;
    pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(super) const ERROR_CODE: u16 = 0x0009;
    pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000A;
    pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(super) const PRIORITY: u16 = 0x0024;
    pub(super) const USE_CANDIDATE: u16 = 0x0025;
    pub(super) const FINGERPRINT: u16 = 0x8028;
    pub(super) const ICE_CONTROLLED: u16 = 0x8029;
    pub(super) const ICE_CONTROLLING: u16 = 0x802A;
}
