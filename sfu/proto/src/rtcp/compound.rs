//! Walks a compound packet.

use super::{
    HEADER_LEN,
    feedback::{Firs, LostSeqs},
    format, packet_type,
    report::{ReportBlocks, SenderInfo},
    transport::TransportFeedback,
    u32_at,
};
use crate::{
    limits::RTCP_PACKETS_MAX,
    unit::{Bitrate, Ssrc},
};

/// Why a packet cannot be read. The sender is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RtcpError {
    /// Version, length or padding of a packet contradict the datagram: the rest is not readable.
    #[error("RTCP packet does not fit its datagram")]
    Framing,
    /// Counts inside a packet contradict its length; others may still be read.
    #[error("malformed RTCP packet of type {packet_type}")]
    Malformed {
        /// RTCP packet type, 192 to 223.
        packet_type: u8,
    },
    /// More than [`RTCP_PACKETS_MAX`]; the rest is not read.
    #[error("more than {RTCP_PACKETS_MAX} RTCP packets in one compound")]
    TooManyPackets,
}

/// One packet of a compound. `sender` is the SSRC of the packet's sender, which browsers that only
/// receive set to 1.
#[derive(Debug, Clone)]
pub enum Packet<'a> {
    /// RFC 3550 section 6.4.1.
    SenderReport {
        /// What the sender says about its stream.
        info: SenderInfo,
        /// What it says about others.
        reports: ReportBlocks<'a>,
    },
    /// RFC 3550 section 6.4.2.
    ReceiverReport {
        /// Who reports.
        sender: Ssrc,
        /// What it received.
        reports: ReportBlocks<'a>,
    },
    /// RFC 3550 section 6.5; not looked into: a CNAME of a client is of no use to us.
    SourceDescription,
    /// RFC 3550 section 6.6.
    Bye(Ssrcs<'a>),
    /// Generic NACK, RFC 4585 section 6.2.1.
    Nack {
        /// Who asks.
        sender: Ssrc,
        /// Whose packets are missing.
        media: Ssrc,
        /// Which.
        lost: LostSeqs<'a>,
    },
    /// Picture loss indication, RFC 4585 section 6.3.1.
    Pli {
        /// Who asks.
        sender: Ssrc,
        /// Of whom a key frame is wanted.
        media: Ssrc,
    },
    /// Full intra request, RFC 5104 section 4.3.1.
    Fir {
        /// Who asks.
        sender: Ssrc,
        /// Of whom key frames are wanted.
        entries: Firs<'a>,
    },
    /// Transport-wide congestion control feedback.
    TransportFeedback(TransportFeedback<'a>),
    /// Receiver estimated maximum bit rate (draft-alvestrand-rmcat-remb-03).
    Remb(Bitrate),
    /// Anything else.
    Unknown {
        /// RTCP packet type.
        packet_type: u8,
    },
}

/// The packets of a decrypted datagram.
pub fn packets(datagram: &[u8]) -> Compound<'_> {
    Compound { rest: datagram, left: RTCP_PACKETS_MAX }
}

/// Iterates over a compound. Ends after the first [`RtcpError::Framing`] or
/// [`RtcpError::TooManyPackets`]; goes on after [`RtcpError::Malformed`].
#[derive(Debug, Clone)]
pub struct Compound<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Packet<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        if self.left == 0 {
            self.rest = &[];
            return Some(Err(RtcpError::TooManyPackets));
        }
        self.left -= 1;
        let Some((frame, rest)) = split(self.rest) else {
            self.rest = &[];
            return Some(Err(RtcpError::Framing));
        };
        self.rest = rest;
        let packet_type = frame.packet_type;
        Some(parse(&frame).ok_or(RtcpError::Malformed { packet_type }))
    }
}

/// One packet: its header's fields and its body without padding.
struct Frame<'a> {
    count: u8,
    packet_type: u8,
    body: &'a [u8],
}

/// RFC 3550 section 6.4.1: length in words without the first; padding counts itself.
fn split(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (&[first, packet_type, l0, l1], rest) = bytes.split_first_chunk::<HEADER_LEN>()?;
    if first >> 6 != 2 {
        return None;
    }
    let len = 4 * usize::from(u16::from_be_bytes([l0, l1]));
    let (mut body, rest) = rest.split_at_checked(len)?;
    if first & 0x20 != 0 {
        let padding = usize::from(*body.last()?);
        body = &body[..body.len().checked_sub(padding).filter(|_| padding != 0)?];
    }
    Some((Frame { count: first & 0x1f, packet_type, body }, rest))
}

fn parse<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    let body = frame.body;
    match frame.packet_type {
        packet_type::SENDER_REPORT => {
            let (info, rest) = SenderInfo::parse(body)?;
            Some(Packet::SenderReport { info, reports: ReportBlocks::new(frame.count, rest)? })
        }
        packet_type::RECEIVER_REPORT => {
            let (sender, rest) = split_ssrc(body)?;
            Some(Packet::ReceiverReport { sender, reports: ReportBlocks::new(frame.count, rest)? })
        }
        packet_type::SOURCE_DESCRIPTION => Some(Packet::SourceDescription),
        packet_type::BYE => {
            let words = body.as_chunks().0.get(..usize::from(frame.count))?;
            Some(Packet::Bye(Ssrcs { words }))
        }
        packet_type::TRANSPORT_FEEDBACK => transport_layer(frame),
        packet_type::PAYLOAD_FEEDBACK => payload_specific(frame),
        packet_type => Some(Packet::Unknown { packet_type }),
    }
}

/// RFC 4585 section 6.2.
fn transport_layer<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    let (sender, rest) = split_ssrc(frame.body)?;
    let (media, information) = split_ssrc(rest)?;
    match frame.count {
        format::NACK => Some(Packet::Nack { sender, media, lost: LostSeqs::new(information)? }),
        format::TRANSPORT_CC => {
            TransportFeedback::parse(sender, media, information).map(Packet::TransportFeedback)
        }
        _ => Some(Packet::Unknown { packet_type: frame.packet_type }),
    }
}

/// RFC 4585 section 6.3.
fn payload_specific<'a>(frame: &Frame<'a>) -> Option<Packet<'a>> {
    let (sender, rest) = split_ssrc(frame.body)?;
    let (media, information) = split_ssrc(rest)?;
    match frame.count {
        format::PLI => Some(Packet::Pli { sender, media }),
        format::FIR => Some(Packet::Fir { sender, entries: Firs::new(information)? }),
        format::APPLICATION if information.starts_with(b"REMB") => {
            // Section 2.2 of the draft: one byte of count, 6 bits exponent, 18 bits mantissa.
            let word = u32_at(information, 4)? & 0x00ff_ffff;
            let (exponent, mantissa) = (word >> 18, u64::from(word & 0x3_ffff));
            let bits = mantissa.checked_shl(exponent).filter(|bits| bits >> exponent == mantissa);
            Some(Packet::Remb(Bitrate(bits.unwrap_or(u64::MAX))))
        }
        _ => Some(Packet::Unknown { packet_type: frame.packet_type }),
    }
}

fn split_ssrc(bytes: &[u8]) -> Option<(Ssrc, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((Ssrc(u32::from_be_bytes(*word)), rest))
}

/// A list of SSRCs.
#[derive(Debug, Clone)]
pub struct Ssrcs<'a> {
    words: &'a [[u8; 4]],
}

impl Iterator for Ssrcs<'_> {
    type Item = Ssrc;

    fn next(&mut self) -> Option<Ssrc> {
        let (word, rest) = self.words.split_first()?;
        self.words = rest;
        Some(Ssrc(u32::from_be_bytes(*word)))
    }
}
