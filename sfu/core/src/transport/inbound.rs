//! One received RTP packet, before and after the cipher: header and extension elements parsed
//! once, payload opened out of place.

use sfu_proto::{
    rtp::{Header, RTX_OSN_LEN, without_padding},
    unit::SeqNo,
};

use crate::{
    router::subscription::ExtensionIds,
    transport::session::{Drop, Session},
};

/// The elements that we read, as they stand in the datagram: to be believed only once the packet
/// was opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Elements<'a> {
    /// MID (RFC 9143).
    pub mid: Option<&'a [u8]>,
    /// RID: the layer of a track that has several.
    pub rid: Option<&'a [u8]>,
    /// RID of the stream that is repaired: marks a retransmission.
    pub repaired_rid: Option<&'a [u8]>,
    /// Audio level byte.
    pub audio_level: Option<u8>,
    /// Transport-wide sequence number.
    pub transport_sequence: Option<u16>,
    /// Dependency descriptor.
    pub dependency_descriptor: Option<&'a [u8]>,
}

impl<'a> Elements<'a> {
    /// Collects the elements of a packet in one pass.
    #[inline]
    pub fn parse(header: &Header, datagram: &'a [u8], ids: &ExtensionIds) -> Self {
        let mut found = Self::default();
        for (id, data) in header.extensions(datagram) {
            let id = Some(id);
            if id == ids.transport_sequence {
                found.transport_sequence = sfu_proto::rtp::read_transport_sequence(data);
            } else if id == ids.mid {
                found.mid = Some(data);
            } else if id == ids.audio_level {
                found.audio_level = data.first().copied();
            } else if id == ids.dependency_descriptor {
                found.dependency_descriptor = Some(data);
            } else if id == ids.rid {
                found.rid = Some(data);
            } else if id == ids.repaired_rid {
                found.repaired_rid = Some(data);
            }
        }
        found
    }
}

/// An authenticated packet.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    /// Its index under its SSRC.
    pub index: SeqNo,
    /// Bytes without padding.
    pub len: usize,
}

/// Opens a packet into `out` and takes off its padding.
///
/// # Errors
/// Why it must be dropped. [`Drop::Malformed`] (impossible padding) is the only one that follows
/// authentication: the peer's fault.
#[inline]
pub fn open(
    transport: &mut Session,
    datagram: &[u8],
    header: &Header,
    out: &mut [u8],
) -> Result<Opened, Drop> {
    let (ssrc, seq) = (header.ssrc.0, header.seq.0);
    let (index, len) = transport.open_rtp(datagram, header.header_len, ssrc, seq, out)?;
    let payload = out.get(..len).ok_or(Drop::Limit)?;
    let len = without_padding(payload, header.padding).map_err(|_| Drop::Malformed)?.len();
    Ok(Opened { index, len })
}

/// Bytes of media in an opened retransmission; `None` for probes of padding only.
pub fn rtx_len(opened: &Opened) -> Option<usize> {
    opened.len.checked_sub(RTX_OSN_LEN).filter(|len| *len > 0)
}
