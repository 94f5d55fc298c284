//! Opus in RTP (RFC 7587): a payload is an Opus packet; its first byte tells its length (RFC 6716
//! section 3.1).

/// RTP ticks (48 kHz) of an Opus packet. None: not an Opus packet.
pub(crate) fn packet_ticks(packet: &[u8]) -> Option<u32> {
    let &toc = packet.first()?;
    let frame = match toc >> 3 {
        config @ 0..12 => [480, 960, 1920, 2880][usize::from(config % 4)],
        config @ 12..16 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    // "the audio duration contained within a packet MUST NOT exceed 120 ms" (section 3.2.5)
    (1..=5760).contains(&(frame * frames)).then_some(frame * frames)
}

/// Whether the packet codes two channels.
pub(crate) fn is_stereo(packet: &[u8]) -> bool {
    packet.first().is_some_and(|toc| toc & 4 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_rfc_6716() {
        assert_eq!(packet_ticks(&[0b0000_0000]), Some(480), "SILK, 10 ms");
        assert_eq!(packet_ticks(&[0b0001_1000]), Some(2880), "SILK, 60 ms");
        assert_eq!(packet_ticks(&[0b0111_1001]), Some(1920), "hybrid, two of 20 ms");
        assert_eq!(packet_ticks(&[0b1111_1011, 6]), Some(5760), "CELT, six of 20 ms");
        assert_eq!(packet_ticks(&[0b1111_1011, 7]), None);
        assert_eq!(packet_ticks(&[0b1111_1011]), None);
        assert_eq!(packet_ticks(&[]), None);
    }
}
