//! Writes packets one after the other into the caller's buffer.

use super::{
    HEADER_LEN, format, packet_type,
    report::{ReportBlock, SenderInfo},
    transport_write::{Arrival, Encoder},
};
use crate::unit::{RtpSeq, Ssrc};

/// The caller's buffer is too small, or a list is longer than its count field can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for the RTCP packet")]
pub struct NoRoom;

/// Most blocks, chunks or sources of one packet: a five-bit count.
const COUNT_MAX: usize = 31;
/// SDES item type of a canonical name (RFC 3550 section 6.5.1).
const SDES_CNAME: u8 = 1;

/// A compound under construction. A failed method leaves it as it was.
#[derive(Debug)]
pub struct CompoundWriter<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl<'a> CompoundWriter<'a> {
    /// An empty compound in `out`.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    /// Bytes written so far.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The compound.
    pub fn finish(self) -> &'a [u8] {
        &self.out[..self.len]
    }

    /// Sender report (RFC 3550 section 6.4.1) with at most 31 blocks.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn sender_report(
        &mut self,
        info: SenderInfo,
        reports: &[ReportBlock],
    ) -> Result<(), NoRoom> {
        self.report(packet_type::SENDER_REPORT, &info.to_bytes(), reports)
    }

    /// Receiver report (RFC 3550 section 6.4.2) with at most 31 blocks, or none.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn receiver_report(&mut self, sender: Ssrc, reports: &[ReportBlock]) -> Result<(), NoRoom> {
        self.report(packet_type::RECEIVER_REPORT, &sender.0.to_be_bytes(), reports)
    }

    fn report(
        &mut self,
        packet_type: u8,
        head: &[u8],
        reports: &[ReportBlock],
    ) -> Result<(), NoRoom> {
        let mut packet = self.packet(packet_type, reports.len())?;
        packet.push(head)?;
        reports.iter().try_for_each(|report| packet.push(&report.to_bytes()))?;
        packet.end()
    }

    /// Source description with a canonical name of at most 255 bytes (RFC 3550 section 6.5.1).
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn cname(&mut self, ssrc: Ssrc, cname: &str) -> Result<(), NoRoom> {
        let len = u8::try_from(cname.len()).map_err(|_| NoRoom)?;
        let mut packet = self.packet(packet_type::SOURCE_DESCRIPTION, 1)?;
        packet.push(&ssrc.0.to_be_bytes())?;
        packet.push(&[SDES_CNAME, len])?;
        packet.push(cname.as_bytes())?;
        packet.push(&[0])?; // Ends the list of items.
        packet.end()
    }

    /// Goodbye (RFC 3550 section 6.6) of at most 31 sources.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn bye(&mut self, ssrcs: &[Ssrc]) -> Result<(), NoRoom> {
        let mut packet = self.packet(packet_type::BYE, ssrcs.len())?;
        ssrcs.iter().try_for_each(|ssrc| packet.push(&ssrc.0.to_be_bytes()))?;
        packet.end()
    }

    /// Generic NACK (RFC 4585 section 6.2.1). `lost` in rising order packs best. Writes nothing
    /// when it is empty.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn nack(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        lost: impl IntoIterator<Item = RtpSeq>,
    ) -> Result<(), NoRoom> {
        let mut lost = lost.into_iter().peekable();
        if lost.peek().is_none() {
            return Ok(());
        }
        let mut packet =
            self.feedback(packet_type::TRANSPORT_FEEDBACK, format::NACK, sender, media)?;
        while let Some(RtpSeq(base)) = lost.next() {
            let mut following: u16 = 0;
            // Those up to 16 behind the base go into the bit mask.
            let bit = |seq: &RtpSeq| seq.0.wrapping_sub(base).wrapping_sub(1);
            while let Some(seq) = lost.next_if(|seq| bit(seq) < 16 || seq.0 == base) {
                following |= 1u16.checked_shl(u32::from(bit(&seq))).unwrap_or(0);
            }
            packet.push(&base.to_be_bytes())?;
            packet.push(&following.to_be_bytes())?;
        }
        packet.end()
    }

    /// Picture loss indication (RFC 4585 section 6.3.1).
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn pli(&mut self, sender: Ssrc, media: Ssrc) -> Result<(), NoRoom> {
        self.feedback(packet_type::PAYLOAD_FEEDBACK, format::PLI, sender, media)?.end()
    }

    /// Full intra request (RFC 5104 section 4.3.1) for one source. `command` grows with each new
    /// request.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn fir(&mut self, sender: Ssrc, media: Ssrc, command: u8) -> Result<(), NoRoom> {
        // Section 4.3.1.1: the media SSRC of the packet is zero, the entry names it.
        let mut packet =
            self.feedback(packet_type::PAYLOAD_FEEDBACK, format::FIR, sender, Ssrc(0))?;
        packet.push(&media.0.to_be_bytes())?;
        packet.push(&[command, 0, 0, 0])?;
        packet.end()
    }

    /// Transport-wide feedback about `arrivals`, which are in strictly rising order of sequence
    /// number; gaps are reported as lost. Returns how many were reported, at least one: call again
    /// (in a new buffer, with the next `feedback_count`) for the rest. Writes nothing and returns
    /// 0 when there are none.
    ///
    /// # Errors
    /// [`NoRoom`] when not even the first fits.
    pub fn transport_feedback(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        feedback_count: u8,
        arrivals: &[Arrival],
    ) -> Result<usize, NoRoom> {
        if arrivals.is_empty() {
            return Ok(0);
        }
        let mut packet =
            self.feedback(packet_type::TRANSPORT_FEEDBACK, format::TRANSPORT_CC, sender, media)?;
        // Whole words, so that padding fits too.
        let encoder = Encoder::new(arrivals, packet.room() / 4 * 4).ok_or(NoRoom)?;
        let place = packet.take(encoder.len().next_multiple_of(4))?;
        encoder.write(feedback_count, place);
        packet.end()?;
        Ok(encoder.arrivals())
    }

    /// A feedback packet up to its control information (RFC 4585 section 6.1).
    fn feedback(
        &mut self,
        packet_type: u8,
        format: u8,
        sender: Ssrc,
        media: Ssrc,
    ) -> Result<PacketWriter<'_, 'a>, NoRoom> {
        let mut packet = self.packet(packet_type, usize::from(format))?;
        packet.push(&sender.0.to_be_bytes())?;
        packet.push(&media.0.to_be_bytes())?;
        Ok(packet)
    }

    /// A packet up to its header, whose length is filled in at the end.
    fn packet(&mut self, packet_type: u8, count: usize) -> Result<PacketWriter<'_, 'a>, NoRoom> {
        if count > COUNT_MAX {
            return Err(NoRoom);
        }
        let end = self.len;
        let mut packet = PacketWriter { compound: self, end };
        packet.push(&[2 << 6 | count as u8, packet_type, 0, 0])?;
        Ok(packet)
    }
}

/// A packet behind the compound's end; it becomes part of it by [`end`](Self::end).
struct PacketWriter<'w, 'a> {
    compound: &'w mut CompoundWriter<'a>,
    end: usize,
}

impl PacketWriter<'_, '_> {
    fn room(&self) -> usize {
        self.compound.out.len() - self.end
    }

    fn take(&mut self, len: usize) -> Result<&mut [u8], NoRoom> {
        let place = self.compound.out.get_mut(self.end..self.end + len).ok_or(NoRoom)?;
        self.end += len;
        Ok(place)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        self.take(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// Fills up with zeros to a word, writes the length (RFC 3550 section 6.4.1: words without
    /// the first).
    fn end(mut self) -> Result<(), NoRoom> {
        let start = self.compound.len;
        let len = self.end - start;
        self.take(len.next_multiple_of(4) - len)?.fill(0);
        let words = u16::try_from((self.end - start - HEADER_LEN) / 4).map_err(|_| NoRoom)?;
        self.compound.out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
        self.compound.len = self.end;
        Ok(())
    }
}
