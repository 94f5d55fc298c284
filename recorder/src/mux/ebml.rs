//! EBML elements (RFC 8794), as far as WebM needs them. Numbers have fixed widths, so that the length
//! of what is written in front does not depend on values that are known later.

/// Appends an element id, which carries its own length marker.
pub(crate) fn id(out: &mut Vec<u8>, id: u32) {
    let bytes = id.to_be_bytes();
    let skip = (id.leading_zeros() / 8) as usize;
    out.extend_from_slice(&bytes[skip.min(3)..]);
}

/// Appends a data size of eight bytes.
pub(crate) fn size(out: &mut Vec<u8>, size: u64) {
    out.extend_from_slice(&(size & 0x00ff_ffff_ffff_ffff | 0x0100_0000_0000_0000).to_be_bytes());
}

/// Appends an element.
pub(crate) fn bytes(out: &mut Vec<u8>, element: u32, data: &[u8]) {
    id(out, element);
    size(out, data.len() as u64);
    out.extend_from_slice(data);
}

/// Appends an element that holds what `write` writes.
pub(crate) fn master(out: &mut Vec<u8>, element: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    bytes(out, element, &inner);
}

/// Appends an unsigned integer of eight bytes.
pub(crate) fn uint(out: &mut Vec<u8>, element: u32, value: u64) {
    bytes(out, element, &value.to_be_bytes());
}

/// Appends a 64-bit float.
pub(crate) fn float(out: &mut Vec<u8>, element: u32, value: f64) {
    bytes(out, element, &value.to_be_bytes());
}

/// Appends a text.
pub(crate) fn text(out: &mut Vec<u8>, element: u32, value: &str) {
    bytes(out, element, value.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_keep_their_length_and_sizes_are_eight_bytes() {
        let mut out = Vec::new();
        uint(&mut out, 0x4286, 1);
        assert_eq!(out, [0x42, 0x86, 0x01, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]);
        let mut out = Vec::new();
        bytes(&mut out, 0xa3, &[]);
        bytes(&mut out, 0x1a45_dfa3, &[]);
        assert_eq!(out[..2], [0xa3, 0x01]);
        assert_eq!(out[9..14], [0x1a, 0x45, 0xdf, 0xa3, 0x01]);
    }
}
