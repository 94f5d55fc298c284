//! Opus in Ogg (RFC 7845). The format counts samples, so time without packets is filled with packets
//! that hold no audio and ask the decoder for concealment, as section 4.1 demands ("Repairing Gaps in
//! Real-Time Streams"): silence after some milliseconds, never invented sound. A publisher's clock that
//! runs slow is evened out the same way, 20 ms at a time; one that runs fast is not, as that would mean
//! to drop audio: WebM keeps exact times.

use std::io::Write;

use super::{Counted, MuxError, Placed, opus_head};
use crate::{depacketize::packet_ticks, limits::OGG_PAGE_TICKS_MAX};

/// 2.5 ms, the shortest Opus frame.
const STEP: i64 = 120;
/// 20 ms, the commonest one.
const FRAME: i64 = 960;
/// The longest packet: six frames of 20 ms.
const FILL_MAX: i64 = 6 * FRAME;

/// An Ogg file being written.
pub(crate) struct Ogg<W> {
    out: Counted<W>,
    serial: u32,
    sequence: u32,
    /// End of the last packet, samples.
    granule: i64,
    page: Page,
}

#[derive(Default)]
struct Page {
    start: i64,
    lacing: Vec<u8>,
    data: Vec<u8>,
}

impl<W: Write> Ogg<W> {
    /// Writes the head. `serial` tells streams of one file apart.
    pub(crate) fn new(out: W, serial: u32, is_stereo: bool) -> Result<Self, MuxError> {
        let (out, page) = (Counted::new(out), Page::default());
        let mut ogg = Self { out, serial, sequence: 0, granule: 0, page };
        ogg.page.add(&opus_head(is_stereo));
        ogg.flush(2)?; // begins the stream
        let mut tags = b"OpusTags\x08\0\0\0conclave".to_vec();
        tags.extend_from_slice(&0u32.to_le_bytes());
        ogg.page.add(&tags);
        ogg.flush(0)?;
        Ok(ogg)
    }

    pub(crate) fn write(&mut self, placed: &Placed) -> Result<(), MuxError> {
        let ticks = i64::from(packet_ticks(&placed.unit.bytes).unwrap_or(0));
        let missing = placed.at_us.saturating_mul(48) / 1_000 - self.granule;
        if missing >= FRAME || (placed.after_gap && missing >= STEP) {
            self.fill(missing, placed.unit.bytes.first().copied().unwrap_or(0))?;
        }
        self.packet(&placed.unit.bytes, ticks)
    }

    /// Concealment for `samples`, as near as frames can come.
    fn fill(&mut self, samples: i64, toc: u8) -> Result<(), MuxError> {
        let mut rest = samples;
        // CELT, full band, 2.5 to 20 ms (RFC 6716 section 3.1); channels as in the next packet.
        let toc = |config: u8, code: u8| config << 3 | toc & 4 | code;
        while rest >= FRAME {
            let frames = (rest / FRAME).min(FILL_MAX / FRAME);
            self.packet(&[toc(31, 3), frames as u8], frames * FRAME)?;
            rest -= frames * FRAME;
        }
        for (config, ticks) in [(30, 480), (29, 240), (28, STEP)] {
            if rest >= ticks {
                self.packet(&[toc(config, 0)], ticks)?;
                rest -= ticks;
            }
        }
        Ok(())
    }

    fn packet(&mut self, packet: &[u8], ticks: i64) -> Result<(), MuxError> {
        let is_full = self.page.lacing.len() + packet.len() / 255 + 1 > 255;
        if is_full || self.granule - self.page.start + ticks > OGG_PAGE_TICKS_MAX {
            self.flush(0)?;
        }
        self.page.add(packet);
        self.granule += ticks;
        Ok(())
    }

    /// Writes the page (RFC 3533 section 6).
    fn flush(&mut self, flags: u8) -> Result<(), MuxError> {
        let mut page = b"OggS\0".to_vec();
        page.push(flags);
        page.extend_from_slice(&self.granule.to_le_bytes());
        page.extend_from_slice(&self.serial.to_le_bytes());
        page.extend_from_slice(&self.sequence.to_le_bytes());
        page.extend_from_slice(&[0; 4]);
        page.push(self.page.lacing.len() as u8);
        page.extend_from_slice(&self.page.lacing);
        page.extend_from_slice(&self.page.data);
        let sum = checksum(&page);
        page[22..26].copy_from_slice(&sum.to_le_bytes());
        self.out.put(&page)?;
        self.sequence = self.sequence.wrapping_add(1);
        self.page = Page { start: self.granule, ..Page::default() };
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Counted<W>, MuxError> {
        self.flush(4)?; // ends the stream
        Ok(self.out)
    }
}

impl Page {
    fn add(&mut self, packet: &[u8]) {
        self.lacing.extend(std::iter::repeat_n(255, packet.len() / 255));
        self.lacing.push((packet.len() % 255) as u8);
        self.data.extend_from_slice(packet);
    }
}

/// CRC-32 of Ogg: polynomial 0x04c11db7, not reflected, nothing inverted.
fn checksum(page: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let mut sum = (n as u32) << 24;
            let mut bit = 0;
            while bit < 8 {
                sum = if sum >> 31 == 1 { sum << 1 ^ 0x04c1_1db7 } else { sum << 1 };
                bit += 1;
            }
            table[n] = sum;
            n += 1;
        }
        table
    };
    page.iter().fold(0, |sum, &byte| sum << 8 ^ TABLE[(sum >> 24) as usize ^ usize::from(byte)])
}
