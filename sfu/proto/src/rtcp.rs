//! RTCP (RFC 3550 section 6, RFC 4585, RFC 5104, RFC 5506, transport-wide feedback), read and
//! written without allocation.
//!
//! Reading takes a decrypted compound, or a single packet of reduced size (RFC 5506), as
//! [`packets`]. Every count in a packet is checked against its bytes before anything is handed out.

mod compound;
mod feedback;
mod report;
mod transport;
mod transport_write;
mod write;

pub use compound::{Compound, Packet, RtcpError, Ssrcs, packets};
pub use feedback::{FirEntry, Firs, LostSeqs};
pub use report::{ReportBlock, ReportBlocks, SenderInfo};
pub use transport::{Statuses, TransportFeedback, TransportStatus};
pub use transport_write::{Arrival, TRANSPORT_TICK_US};
pub use write::{CompoundWriter, NoRoom};

/// Bytes of the header of every packet (RFC 3550 section 6.4).
const HEADER_LEN: usize = 4;

/// Packet types (RFC 3550 section 12.1, RFC 4585 section 6.1).
mod packet_type {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const SOURCE_DESCRIPTION: u8 = 202;
    pub(super) const BYE: u8 = 203;
    pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
    pub(super) const PAYLOAD_FEEDBACK: u8 = 206;
}

/// Feedback message types: the count field of types 205 and 206.
mod format {
    /// RFC 4585 section 6.2.1.
    pub(super) const NACK: u8 = 1;
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1.
    pub(super) const TRANSPORT_CC: u8 = 15;
    /// RFC 4585 section 6.3.1.
    pub(super) const PLI: u8 = 1;
    /// RFC 5104 section 4.3.1.
    pub(super) const FIR: u8 = 4;
    /// RFC 4585 section 6.4: application layer feedback, here REMB.
    pub(super) const APPLICATION: u8 = 15;
}

/// A big-endian number at `at`, or `None` past the end.
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_be_bytes(*word))
}
