//! A picture in memory and what is drawn into it: planar YUV 4:2:0, 8 bits, limited range, as the
//! `rawvideo` of ffmpeg has it.

use super::place::{Canvas, Rect, even};

/// Luma and both chroma of the ground between tiles and of a tile without a picture.
pub(super) const GROUND: [u8; 3] = [16, 128, 128];
pub(super) const PLAIN: [u8; 3] = [52, 130, 126];

/// Smallest side of a block of a blurred region, pixels: wider than strokes of letters at any size that
/// is read.
const BLOCK_MIN: u32 = 16;
/// Most blocks along the longer side of a blurred region, and along the height of the whole picture:
/// a face has a few of them, a line of text is within one.
const BLOCKS_MAX: u32 = 8;
const BLOCKS_OF_PICTURE_MAX: u32 = 12;

/// A picture; both sides even.
pub(super) struct Picture {
    size: Canvas,
    data: Vec<u8>,
}

/// Region of a picture that is not shown, in thousandths of its width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
    /// Black, instead of blocks of its colours.
    pub solid: bool,
}

impl Picture {
    pub(super) fn new(size: Canvas) -> Self {
        let mut picture = Self { size, data: vec![0; bytes(size)] };
        picture.fill(whole(size), GROUND);
        picture
    }

    pub(super) const fn size(&self) -> Canvas {
        self.size
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    pub(super) fn data_mut(&mut self) -> &mut [u8] {
        &mut self.data
    }

    /// Where a plane begins, its columns, and its lines.
    const fn plane(&self, plane: usize) -> (usize, usize, usize) {
        let (width, height) = (self.size.width as usize, self.size.height as usize);
        match plane {
            0 => (0, width, height),
            _ => (width * height + (plane - 1) * (width * height / 4), width / 2, height / 2),
        }
    }

    /// One colour.
    pub(super) fn fill(&mut self, place: Rect, colour: [u8; 3]) {
        for (plane, value) in colour.into_iter().enumerate() {
            let (start, stride, _) = self.plane(plane);
            let (x, y, width, height) = part(place, plane);
            for line in y..y + height {
                let from = start + line * stride + x;
                self.data[from..from + width].fill(value);
            }
        }
    }

    /// `other`, as large as `place`.
    pub(super) fn draw(&mut self, other: &Self, place: Rect) {
        for plane in 0..3 {
            let (start, stride, _) = self.plane(plane);
            let (from, width, height) = other.plane(plane);
            let source = Plane { data: &other.data[from..from + width * height], width, height };
            let (x, y, width, height) = part(place, plane);
            source.draw(&mut self.data[start..], stride, (x, y, width, height));
        }
    }

    /// Makes a region unreadable, for good: it is drawn over before anything is encoded.
    pub(super) fn hide(&mut self, region: &Region) {
        let place = self.region(region);
        if region.solid {
            return self.fill(place, GROUND);
        }
        let side = (place.width.max(place.height) / BLOCKS_MAX)
            .max(self.size.height / BLOCKS_OF_PICTURE_MAX)
            .max(BLOCK_MIN);
        let side = even(side + 1);
        for y in (place.y..place.y + place.height).step_by(side as usize) {
            for x in (place.x..place.x + place.width).step_by(side as usize) {
                let (width, height) =
                    (side.min(place.x + place.width - x), side.min(place.y + place.height - y));
                let block = Rect { x, y, width, height };
                let colour = [0, 1, 2].map(|plane| self.mean(block, plane));
                self.fill(block, colour);
            }
        }
    }

    /// The region in pixels, not smaller.
    fn region(&self, region: &Region) -> Rect {
        let span = |from: u32, length: u32, size: u32| {
            let at = |thousandths: u32| u64::from(thousandths.min(1000)) * u64::from(size);
            let from_px = even((at(from) / 1000) as u32).min(size - 2);
            let to_px = at(from.saturating_add(length)).div_ceil(1000) as u32;
            let to_px = even(to_px + 1).clamp(from_px + 2, size);
            (from_px, to_px - from_px)
        };
        let (x, width) = span(region.x, region.width, self.size.width);
        let (y, height) = span(region.y, region.height, self.size.height);
        Rect { x, y, width, height }
    }

    /// Coarse: so that a block that moves over something does not tell it step by step.
    fn mean(&self, place: Rect, plane: usize) -> u8 {
        let (start, stride, _) = self.plane(plane);
        let (x, y, width, height) = part(place, plane);
        let lines = (y..y + height).map(|line| start + line * stride + x);
        let sum: usize =
            lines.flat_map(|from| &self.data[from..from + width]).map(|v| usize::from(*v)).sum();
        let mean = (sum / (width * height).max(1)) as u8;
        (mean & 0xf0) | 8
    }
}

/// Bytes of a picture.
pub(super) const fn bytes(size: Canvas) -> usize {
    size.width as usize * size.height as usize * 3 / 2
}

pub(super) const fn whole(size: Canvas) -> Rect {
    Rect { x: 0, y: 0, width: size.width, height: size.height }
}

/// A place within a plane: x, y, columns, lines.
const fn part(place: Rect, plane: usize) -> (usize, usize, usize, usize) {
    let by = if plane == 0 { 1 } else { 2 };
    let Rect { x, y, width, height } = place;
    (x as usize / by, y as usize / by, width as usize / by, height as usize / by)
}

/// Part of a picture that is drawn from.
struct Plane<'a> {
    data: &'a [u8],
    width: usize,
    height: usize,
}

impl Plane<'_> {
    fn draw(
        &self,
        out: &mut [u8],
        stride: usize,
        (x, y, width, height): (usize, usize, usize, usize),
    ) {
        if (width, height) == (self.width, self.height) {
            for (line, source) in self.data.chunks_exact(width).enumerate() {
                let from = (y + line) * stride + x;
                out[from..from + width].copy_from_slice(source);
            }
            return;
        }
        let columns: Vec<_> = (0..width).map(|i| range(i, width, self.width)).collect();
        let mut sums = vec![0u32; self.width];
        for line in 0..height {
            let (first, last) = range(line, height, self.height);
            sums.fill(0);
            for source in self.data[first * self.width..last * self.width].chunks_exact(self.width)
            {
                for (sum, value) in sums.iter_mut().zip(source) {
                    *sum += u32::from(*value);
                }
            }
            let from = (y + line) * stride + x;
            for (value, (left, right)) in out[from..from + width].iter_mut().zip(&columns) {
                let sum: u32 = sums[*left..*right].iter().sum();
                *value = (sum / ((right - left) * (last - first)) as u32) as u8;
            }
        }
    }
}

/// Which of `from` samples make the `i`th of `to`: at least one.
const fn range(i: usize, to: usize, from: usize) -> (usize, usize) {
    let first = i * from / to;
    let last = (i + 1) * from / to;
    (first, if last > first { last } else { first + 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Canvas = Canvas { width: 320, height: 180 };

    fn checkered(size: Canvas) -> Picture {
        let mut picture = Picture::new(size);
        let width = size.width as usize;
        for (i, value) in picture.data[..width * size.height as usize].iter_mut().enumerate() {
            *value = if (i % width + i / width).is_multiple_of(2) { 16 } else { 235 };
        }
        picture
    }

    fn luma(picture: &Picture, place: Rect) -> Vec<u8> {
        let lines = place.y..place.y + place.height;
        lines
            .flat_map(|y| {
                let from = (y * picture.size.width + place.x) as usize;
                picture.data[from..from + place.width as usize].to_vec()
            })
            .collect()
    }

    #[test]
    fn a_picture_is_copied_or_averaged_and_touches_nothing_else() {
        let source = checkered(SMALL);
        let canvas = Canvas { width: 640, height: 360 };
        for place in [
            Rect { x: 320, y: 180, width: 320, height: 180 },
            Rect { x: 2, y: 4, width: 160, height: 90 },
            Rect { x: 100, y: 100, width: 500, height: 260 },
        ] {
            let mut picture = Picture::new(canvas);
            picture.draw(&source, place);
            let inside = luma(&picture, place);
            match place.width {
                320 => assert_eq!(inside, source.data[..320 * 180]),
                160 => assert!(inside.iter().all(|value| (124..=126).contains(value))),
                _ => assert!(inside.iter().all(|value| [16, 235].contains(value))),
            }
            let all = luma(&picture, whole(canvas));
            let touched = all.iter().filter(|value| **value != 16).count();
            assert!(touched <= inside.len());
            picture.fill(place, GROUND);
            assert!(picture.data == Picture::new(canvas).data);
        }
    }

    /// Two pictures that differ only in what a region shows in detail are the same after hiding it.
    #[test]
    fn what_a_region_showed_cannot_be_told_and_the_rest_is_as_it_was() {
        for solid in [true, false] {
            let region = Region { x: 251, y: 0, width: 498, height: 1000, solid };
            let mut one = checkered(SMALL);
            let mut other = checkered(SMALL);
            let place = one.region(&region);
            assert_eq!(place, Rect { x: 80, y: 0, width: 160, height: 180 });
            for y in 0..180usize {
                let line = &mut other.data[y * 320 + 80..y * 320 + 240];
                line.iter_mut().for_each(|value| *value = 251 - *value); // The letters inverted.
            }
            one.hide(&region);
            other.hide(&region);
            assert!(one.data == other.data, "solid {solid}");
            let beside = Rect { x: 240, y: 0, width: 80, height: 180 };
            assert_eq!(luma(&one, beside), luma(&checkered(SMALL), beside));
            let hidden = luma(&one, place);
            let blocks = hidden.chunks(160).filter(|line| line.windows(2).any(|w| w[0] != w[1]));
            assert_eq!(blocks.count(), 0, "a checkered picture has no shape left");
        }
    }

    #[test]
    fn no_region_reaches_beyond_a_picture() {
        for size in [SMALL, Canvas { width: 2, height: 2 }, Canvas { width: 18, height: 400 }] {
            for (x, y, width, height) in [
                (0, 0, 1000, 1000),
                (999, 999, 1, 1),
                (999, 0, 5000, 1),
                (u32::MAX, 0, u32::MAX, 0),
            ] {
                for solid in [true, false] {
                    let mut picture = Picture::new(size);
                    picture.hide(&Region { x, y, width, height, solid });
                }
            }
        }
    }
}
