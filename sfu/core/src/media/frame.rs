//! Frame numbers in the dependency descriptors of one outgoing stream (AV1 RTP payload format 1.0,
//! appendix A), continuous over changes of its source.
//!
//! A receiver takes a key frame whose number is below that of the last one for an old packet and
//! drops it (libwebrtc: `ParseGenericDependenciesExtension`), so numbers must only ever rise. And
//! a frame names those it depends on by distance, so a gap must lie between two sources: else the
//! new one's first delta frames would be taken for continuations of the old one's picture.
//!
//! ```text
//! source A:  … 900 901            source B:  17 18 …
//! outgoing:  … 900 901                       4998 4999 …
//! ```

use arrayvec::ArrayVec;

/// Numbers left out between two sources: a distance has 12 bits (section A.8.3,
/// `fdiff_minus_one`), so the farthest reference is 4,096 frames back.
const FRAME_GAP: u16 = 4_096;
/// Bytes of a descriptor at most: an extension element's length has 8 bits (RFC 8285).
const DESCRIPTOR_BYTES_MAX: usize = 255;

/// A descriptor as it goes out.
pub type Descriptor = ArrayVec<u8, DESCRIPTOR_BYTES_MAX>;

/// The frame numbers of one outgoing stream.
#[derive(Debug, Default)]
pub struct FrameNumbers {
    /// Added to the source's numbers.
    offset: u16,
    /// Highest number given out.
    highest: Option<u16>,
    /// A new source began, and none of its descriptors was seen yet.
    begins: bool,
}

impl FrameNumbers {
    /// Another source begins: its numbers will follow those given out.
    pub fn begin(&mut self) {
        self.begins = true;
    }

    /// A packet with this descriptor goes out, for the first time.
    pub fn on_packet(&mut self, descriptor: &[u8]) {
        let Some(number) = frame_number(descriptor) else { return };
        if std::mem::take(&mut self.begins)
            && let Some(highest) = self.highest
        {
            self.offset = highest.wrapping_add(1 + FRAME_GAP).wrapping_sub(number);
        }
        let out = number.wrapping_add(self.offset);
        let is_newer = |highest: u16| out.wrapping_sub(highest) < 1 << 15;
        if self.highest.is_none_or(is_newer) {
            self.highest = Some(out);
        }
    }

    /// Appends the source's descriptor, with the outgoing number, to `out`, which is empty.
    pub fn rewrite(&self, descriptor: &[u8], out: &mut Descriptor) {
        // The length comes from one byte, so it fits.
        let _ = out.try_extend_from_slice(descriptor);
        if let (Some(number), Some(place)) = (frame_number(descriptor), out.get_mut(1..3)) {
            place.copy_from_slice(&number.wrapping_add(self.offset).to_be_bytes());
        }
    }
}

/// `frame_number`: 16 bits behind two flags and the template's id of 6 bits (section A.8.2,
/// `mandatory_descriptor_fields`).
fn frame_number(descriptor: &[u8]) -> Option<u16> {
    let (_, rest) = descriptor.split_first()?;
    rest.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(numbers: &mut FrameNumbers, number: u16) -> u16 {
        let [high, low] = number.to_be_bytes();
        let descriptor = [0xc0, high, low, 0x80, 7];
        numbers.on_packet(&descriptor);
        let mut out = Descriptor::new();
        numbers.rewrite(&descriptor, &mut out);
        assert_eq!((out[0], &out[3..]), (0xc0, &[0x80, 7][..]));
        u16::from_be_bytes([out[1], out[2]])
    }

    #[test]
    fn the_first_source_keeps_its_numbers_and_each_further_one_continues_upward() {
        let mut numbers = FrameNumbers::default();
        numbers.begin();
        assert_eq!([65_534, 0, 65_535].map(|n| sent(&mut numbers, n)), [65_534, 0, 65_535]);
        // The highest is 0; a distance of 4096 back from the next source's first ends at 1.
        numbers.begin();
        assert_eq!([60_000, 60_001].map(|n| sent(&mut numbers, n)), [4_097, 4_098]);
        numbers.begin();
        assert_eq!(sent(&mut numbers, 3), 4_098 + 4_097);
    }

    #[test]
    fn packets_without_a_number_pass_unchanged() {
        let mut numbers = FrameNumbers::default();
        assert_eq!(sent(&mut numbers, 9), 9);
        numbers.begin();
        for short in [&[][..], &[1], &[1, 2]] {
            numbers.on_packet(short);
            let mut out = Descriptor::new();
            numbers.rewrite(short, &mut out);
            assert_eq!(&out[..], short);
        }
        assert_eq!(sent(&mut numbers, 1), 9 + 4_097);
    }
}
