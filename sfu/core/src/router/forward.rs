//! The forwarding step: one cached packet to one slot. Runs once per packet and subscriber, so it
//! neither allocates nor copies payload bytes other than through the cipher.

use std::time::Instant;

use arrayvec::ArrayVec;
use sfu_proto::{
    rtp::{HeaderWriter, write_rtx_osn},
    sdp::Kind,
    unit::{RtpSeq, SeqNo, Ssrc},
};

use crate::{
    limits::HEADER_BYTES_MAX,
    media::{
        frame::Descriptor,
        layer::{HEADROOM, Layer, Packet},
    },
    path::Path,
    router::{
        subscription::{Mapped, Slot},
        track::clock_rate,
    },
    slab::Slab,
    transport::{outbound::TxBatch, session::Session},
};

/// Numbers left out when a video slot changes its source; see [`crate::media::rewrite`].
const VIDEO_GAP: u64 = 1;

/// Where the packets of one subscriber go.
pub struct Outbound<'a> {
    /// Seals.
    pub transport: &'a mut Session,
    /// Where to.
    pub path: Path,
    /// Takes the datagrams.
    pub batch: &'a mut TxBatch,
    /// Next transport-wide sequence number of the session.
    pub transport_seq: &'a mut u16,
    /// `abs-send-time` of this turn.
    pub send_time: [u8; 3],
    /// Now.
    pub now: Instant,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It lies in the batch; bytes of the datagram.
    Sent(usize),
    /// Not for this slot, or not any more.
    Skipped,
    /// No room: send the batch, then try again.
    Full,
}

/// Forwards packet `seq` of `layer` to `slot`.
pub fn forward(
    slot: &mut Slot,
    layer: &Layer,
    seq: SeqNo,
    slab: &Slab,
    out: &mut Outbound<'_>,
) -> Outcome {
    let Some(entry) = layer.cached(seq) else { return Outcome::Skipped };
    let packet = entry.packet;
    if slot.epoch != Some(layer.epoch) {
        if packet.late {
            // A beginning in the past would make all since then look lost.
            return Outcome::Skipped;
        }
        let gap = if slot.kind == Kind::Video { VIDEO_GAP } else { 0 };
        slot.rewriter.begin(seq, packet.timestamp, gap, clock_rate(slot.kind), out.now);
        slot.epoch = Some(layer.epoch);
    }
    let mapped = slot.map.get(usize::from(packet.format)).copied().flatten();
    let (Some(mapped), true) = (mapped, packet.len > 0) else {
        slot.rewriter.skip(seq);
        return Outcome::Skipped;
    };
    if !out.batch.has_room(datagram_max(&packet, out)) {
        return Outcome::Full;
    }
    let Some(number) = slot.rewriter.take(seq, packet.timestamp, out.now) else {
        return Outcome::Skipped;
    };
    let bytes = slab.bytes(entry.slot());
    slot.rewriter.frames.on_packet(descriptor_of(&packet, bytes));
    let body = Body { payload: HEADROOM, bytes, packet: &packet };
    let stream = Stream { ssrc: slot.ssrc, payload_type: mapped.payload_type, number };
    let sent = seal(slot, stream, body, out);
    slot.packets = slot.packets.wrapping_add(1);
    slot.octets = slot.octets.wrapping_add(u32::from(packet.len));
    sent.map_or(Outcome::Skipped, Outcome::Sent)
}

/// Repeats outgoing packet `number` as a retransmission (RFC 4588). The slot has the right to it.
pub fn resend(
    slot: &mut Slot,
    layer: &Layer,
    number: SeqNo,
    slab: &mut Slab,
    out: &mut Outbound<'_>,
) -> Outcome {
    let Some(entry) = cached(slot, layer, number) else { return Outcome::Skipped };
    let packet = entry.packet;
    let Some(Some(Mapped { rtx: Some(payload_type), .. })) =
        slot.map.get(usize::from(packet.format)).copied()
    else {
        return Outcome::Skipped;
    };
    if !out.batch.has_room(datagram_max(&packet, out)) {
        return Outcome::Full;
    }
    slab.bytes_mut(entry.slot())[..HEADROOM].copy_from_slice(&write_rtx_osn(number.wire()));
    let bytes = slab.bytes(entry.slot());
    let stream = Stream { ssrc: slot.rtx_ssrc, payload_type, number: SeqNo(slot.rtx_next) };
    slot.rtx_next += 1;
    let body = Body { payload: 0, bytes, packet: &packet };
    seal(slot, stream, body, out).map_or(Outcome::Skipped, Outcome::Sent)
}

/// The cached packet that went out as `number`, if it still can be repeated.
pub fn cached<'a>(
    slot: &Slot,
    layer: &'a Layer,
    number: SeqNo,
) -> Option<&'a crate::media::layer::Entry> {
    if slot.epoch != Some(layer.epoch) {
        return None;
    }
    layer.cached(slot.rewriter.source_of(number)?)
}

/// Bytes that the datagram takes at most.
fn datagram_max(packet: &Packet, out: &Outbound<'_>) -> usize {
    HEADER_BYTES_MAX + HEADROOM + usize::from(packet.len) + out.transport.rtp_overhead()
}

/// How a packet is called on its way out.
struct Stream {
    ssrc: u32,
    payload_type: u8,
    number: SeqNo,
}

/// A packet's slot in the slab; the sealed part begins at `payload`.
struct Body<'a> {
    payload: usize,
    bytes: &'a [u8],
    packet: &'a Packet,
}

/// The dependency descriptor behind the payload; empty if the packet had none.
pub(crate) fn descriptor_of<'a>(packet: &Packet, bytes: &'a [u8]) -> &'a [u8] {
    let at = HEADROOM + usize::from(packet.len);
    bytes.get(at..at + usize::from(packet.descriptor_len)).unwrap_or_default()
}

/// Writes header and extensions, then seals the payload behind them, in the batch's arena.
fn seal(slot: &Slot, stream: Stream, body: Body<'_>, out: &mut Outbound<'_>) -> Option<usize> {
    let packet = body.packet;
    let end = HEADROOM + usize::from(packet.len);
    let payload = body.bytes.get(body.payload..end)?;
    let mut descriptor = Descriptor::new();
    if packet.descriptor_len > 0 {
        slot.rewriter.frames.rewrite(descriptor_of(packet, body.bytes), &mut descriptor);
    }
    let transport_seq = out.transport_seq.to_be_bytes();
    let level = [packet.level.unwrap_or_default()];
    // Fixed lengths first, so that packets of a frame are equal in size and form one GSO run.
    let mut extensions = ArrayVec::<(u8, &[u8]), 5>::new();
    if let Some(id) = slot.ids.transport_sequence {
        extensions.push((id, &transport_seq));
    }
    if let Some(id) = slot.ids.abs_send_time {
        extensions.push((id, &out.send_time));
    }
    if let Some(id) = slot.ids.mid {
        extensions.push((id, slot.mid.as_str().as_bytes()));
    }
    if let (Some(id), Some(_)) = (slot.ids.audio_level, packet.level) {
        extensions.push((id, &level));
    }
    if let Some(id) = slot.ids.dependency_descriptor
        && !descriptor.is_empty()
        // Longer ones need the two-byte form.
        && (slot.mixed || descriptor.len() <= 16)
    {
        extensions.push((id, &descriptor));
    }
    let header = HeaderWriter {
        payload_type: stream.payload_type,
        marker: packet.marker,
        padding: false,
        seq: RtpSeq(stream.number.wire().0),
        timestamp: slot.rewriter.timestamp(packet.timestamp),
        ssrc: Ssrc(stream.ssrc),
        csrcs: &[],
        extensions: &extensions,
    };
    let space = out.batch.space();
    let header_len = header.write(space).ok()?;
    let len = out.transport.seal_rtp(stream.ssrc, stream.number, header_len, payload, space)?;
    out.batch.commit(out.path, len);
    *out.transport_seq = out.transport_seq.wrapping_add(1);
    Some(len)
}
