//! Places of tiles. Everything is even: colours have half the picture's resolution.

/// Size of a composite, pixels; both even.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Canvas {
    /// Columns.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

impl Canvas {
    /// 1280 × 720.
    pub const HD: Self = Self { width: 1280, height: 720 };
    /// 1920 × 1080.
    pub const FULL_HD: Self = Self { width: 1920, height: 1080 };
}

/// A rectangle of a picture, pixels; all even.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rect {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

/// Tiles of 16:9 beside an enlarged one: at least so many fit below each other.
const STRIP_ROWS_MIN: usize = 4;

pub(super) const fn even(n: u32) -> u32 {
    n & !1
}

/// The largest rectangle of the shape `width` × `height` in the middle of `room`.
pub(super) fn fit((width, height): (u32, u32), room: Rect) -> Rect {
    let (wide, high) = (u64::from(width.max(1)), u64::from(height.max(1)));
    let (room_wide, room_high) = (u64::from(room.width), u64::from(room.height));
    // Rounded up to even, so that a shape within a pixel of the room fills it.
    let up = |n: u64, most: u32| even(u32::try_from(n + 1).unwrap_or(most).min(most)).max(2);
    let (width, height) = if wide * room_high >= high * room_wide {
        (room.width, up((room_wide * high).div_ceil(wide), room.height))
    } else {
        (up((room_high * wide).div_ceil(high), room.width), room.height)
    };
    let x = room.x + even((room.width - width) / 2);
    let y = room.y + even((room.height - height) / 2);
    Rect { x, y, width, height }
}

/// Size of the largest 16:9 tile in `width` × `height`.
fn tile(width: u32, height: u32) -> (u32, u32) {
    let width = even(width.min(height * 16 / 9));
    (width, even((width * 9 / 16).min(height)))
}

/// `n` places of one size; the last row is in the middle.
pub(super) fn grid(n: usize, canvas: Canvas) -> Vec<Rect> {
    let columns = (1usize..).find(|columns| columns * columns >= n).unwrap_or(1).max(1);
    let rows = n.div_ceil(columns).max(1);
    let (columns_u, rows_u) = (columns as u32, rows as u32); // Tiles are limited.
    let (width, height) = tile(canvas.width / columns_u, canvas.height / rows_u);
    let top = even((canvas.height - rows_u * height) / 2);
    (0..n)
        .map(|i| {
            let (row, column) = (i / columns, (i % columns) as u32);
            let in_row = (n - row * columns).min(columns) as u32;
            let left = even((canvas.width - in_row * width) / 2);
            let (x, y) = (left + column * width, top + row as u32 * height);
            Rect { x, y, width, height }
        })
        .collect()
}

/// The first place is large, the others are a column at its right.
pub(super) fn speaker(n: usize, canvas: Canvas) -> Vec<Rect> {
    let whole = Rect { x: 0, y: 0, width: canvas.width, height: canvas.height };
    let others = n.saturating_sub(1);
    if others == 0 {
        return [whole].into_iter().take(n).collect();
    }
    let rows = others.max(STRIP_ROWS_MIN) as u32; // Tiles are limited.
    let (width, height) = tile(canvas.width, canvas.height / rows);
    let main = Rect { width: even(canvas.width - width), ..whole };
    let top = even((canvas.height - others as u32 * height) / 2);
    let beside = (0..others as u32).map(|row| {
        let (x, y) = (main.width, top + row * height);
        Rect { x, y, width, height }
    });
    [fit((16, 9), main)].into_iter().chain(beside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_even_within_the_canvas_and_do_not_overlap() {
        for canvas in [Canvas::HD, Canvas::FULL_HD, Canvas { width: 320, height: 180 }] {
            for n in 0..=26 {
                for places in [grid(n, canvas), speaker(n.min(9), canvas)] {
                    for (i, a) in places.iter().enumerate() {
                        assert!(a.x + a.width <= canvas.width && a.y + a.height <= canvas.height);
                        assert!([a.x, a.y, a.width, a.height].iter().all(|n| n % 2 == 0), "{a:?}");
                        assert!(a.width >= 2 && a.height >= 2, "{n} {a:?}");
                        for b in &places[..i] {
                            let apart = a.x >= b.x + b.width
                                || b.x >= a.x + a.width
                                || a.y >= b.y + b.height
                                || b.y >= a.y + a.height;
                            assert!(apart, "{n}: {a:?} {b:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn four_are_quarters_and_a_speaker_has_four_beside() {
        let rect = |x, y, width, height| Rect { x, y, width, height };
        let four = [(0, 0), (640, 0), (0, 360), (640, 360)].map(|(x, y)| rect(x, y, 640, 360));
        assert_eq!(grid(4, Canvas::HD), four);
        let three = grid(3, Canvas::HD);
        assert_eq!(three[2], rect(320, 360, 640, 360), "the last row is in the middle");
        let places = speaker(5, Canvas::HD);
        assert_eq!(places[0], rect(0, 90, 960, 540));
        assert_eq!((places[1], places[4]), (rect(960, 0, 320, 180), rect(960, 540, 320, 180)));
    }

    #[test]
    fn a_shape_is_kept() {
        let room = Rect { x: 100, y: 50, width: 640, height: 360 };
        assert_eq!(fit((1280, 720), room), room);
        assert_eq!(fit((360, 640), room), Rect { x: 318, y: 50, width: 204, height: 360 });
        assert_eq!(fit((640, 100), room), Rect { x: 100, y: 180, width: 640, height: 100 });
        assert_eq!(fit((0, 0), Rect { width: 2, height: 2, ..room }).width, 2);
        assert_eq!(fit((65_535, 1), room).height, 2);
    }
}
