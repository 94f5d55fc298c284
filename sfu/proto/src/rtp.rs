//! RTP (RFC 3550): headers and their extensions (RFC 8285), read and written without allocation.
//!
//! Parsing works on the encrypted datagram: SRTP leaves the header in clear (RFC 3711 section
//! 3.1). What depends on decrypted bytes (padding, RTX) is a function of its own on the payload.
//! Payloads themselves are never looked into.

mod extension;
mod header;
mod payload;
mod sequence;
mod write;

pub use extension::{AudioLevel, Extensions, abs_send_time, read_abs_send_time, stream_id};
pub use extension::{read_transport_sequence, transport_sequence};
pub use header::{ExtensionBlock, FIXED_HEADER_LEN, Header, RtpError};
pub use payload::{RTX_OSN_LEN, rtx_payload, without_padding, write_rtx_osn};
pub use sequence::SeqUnwrapper;
pub use write::{HeaderWriter, WriteError};
