//! A straight line through noisy points, robust against some that lie.

use crate::limits::FIT_SLOPES_POINTS_MAX;

/// `y` as a function of `x`, both microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Line {
    x0: i64,
    y0: i64,
    slope: f64,
}

impl Line {
    /// `y` at `x`.
    pub(crate) fn at(&self, x: i64) -> i64 {
        let run = x.saturating_sub(self.x0) as f64;
        self.y0.saturating_add((self.slope * run).round() as i64)
    }

    /// Change of `y` per `x`.
    #[cfg(test)]
    pub(crate) const fn slope(&self) -> f64 {
        self.slope
    }

    /// The line of `slope` below every point that touches the lowest. None without points.
    pub(crate) fn below(points: &[(i64, i64)], slope: f64) -> Option<Self> {
        let &(x0, y) = points.first()?;
        let flat = Self { x0, y0: 0, slope };
        let y0 = points.iter().map(|&(x, y)| y.saturating_sub(flat.at(x))).min().unwrap_or(y);
        Some(Self { x0, y0, slope })
    }

    /// The line of `slope` with as many points above as below. None without points.
    pub(crate) fn amid(points: &[(i64, i64)], slope: f64) -> Option<Self> {
        let &(x0, _) = points.first()?;
        let flat = Self { x0, y0: 0, slope };
        let mut rests: Vec<i64> =
            points.iter().map(|&(x, y)| y.saturating_sub(flat.at(x))).collect();
        let middle = rests.len() / 2;
        let (_, &mut y0, _) = rests.select_nth_unstable(middle);
        Some(Self { x0, y0, slope })
    }
}

/// The median of the slopes between all pairs (Theil and Sen): up to 29 % of the points may be
/// anywhere. 0 when there are no two.
pub(crate) fn median_slope(points: &[(i64, i64)]) -> f64 {
    let step = points.len().div_ceil(FIT_SLOPES_POINTS_MAX).max(1);
    let few: Vec<_> = points.iter().step_by(step).collect();
    let mut slopes = Vec::with_capacity(few.len() * few.len() / 2);
    for (n, &&(x1, y1)) in few.iter().enumerate() {
        for &&(x2, y2) in &few[n + 1..] {
            let run = x2.saturating_sub(x1);
            if run != 0 {
                slopes.push(y2.saturating_sub(y1) as f64 / run as f64);
            }
        }
    }
    if slopes.is_empty() {
        return 0.0;
    }
    let middle = slopes.len() / 2;
    *slopes.select_nth_unstable_by(middle, f64::total_cmp).1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_fifth_of_wild_points_does_not_move_the_line() {
        let points: Vec<(i64, i64)> = (0..100)
            .map(|n| {
                let x = n * 1_000_000;
                (x, if n % 5 == 0 { n * n * 7919 % 100_000 } else { 1_000 + x / 20_000 })
            })
            .collect();
        let slope = median_slope(&points);
        assert!((slope - 50e-6).abs() < 1e-6, "{slope}");
        let line = Line::amid(&points, slope).unwrap();
        assert!((line.at(50_000_000) - 3_500).abs() < 100, "{line:?}");
    }

    #[test]
    fn the_floor_lies_below_every_point_and_touches_one() {
        let points = [(0, 90), (10, 50), (20, 70)];
        let line = Line::below(&points, 0.0).unwrap();
        assert!(points.iter().all(|&(x, y)| line.at(x) <= y));
        assert_eq!(line.at(10), 50);
        assert_eq!(Line::below(&[], 0.0), None);
    }
}
