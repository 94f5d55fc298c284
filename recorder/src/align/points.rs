//! Collections of points that stay small however long a recording is.

use super::line::{Line, median_slope};
use crate::limits::{
    FIT_POINTS_MAX, FIT_PPM_MAX, FIT_SPAN_US_MIN, FLOOR_BUCKET_US, FLOOR_BUCKETS_MAX,
    FLOOR_PPM_MAX, FLOOR_SPAN_US_MIN,
};

/// The least `y` of each stretch of `x`.
#[derive(Debug, Clone)]
pub(crate) struct Floor {
    width_us: i64,
    least: Vec<(i64, i64)>,
}

impl Default for Floor {
    fn default() -> Self {
        Self { width_us: FLOOR_BUCKET_US, least: Vec::new() }
    }
}

impl Floor {
    pub(crate) fn add(&mut self, x: i64, y: i64) {
        let stretch = |x: i64, width: i64| x.div_euclid(width);
        match self.least.last_mut() {
            Some(last) if stretch(x, self.width_us) <= stretch(last.0, self.width_us) => {
                if y < last.1 {
                    *last = (x, y);
                }
            }
            _ => self.least.push((x, y)),
        }
        if self.least.len() > FLOOR_BUCKETS_MAX {
            self.width_us = self.width_us.saturating_mul(2);
            for (x, y) in std::mem::take(&mut self.least) {
                self.add(x, y);
            }
            self.least.truncate(FLOOR_BUCKETS_MAX); // they lie a bucket apart at least
        }
    }

    /// The least `y` ever, and how it drifts when there is enough to tell. None without points.
    pub(crate) fn line(&self) -> Option<Line> {
        let slope = slope(&self.least, FLOOR_SPAN_US_MIN, FLOOR_PPM_MAX).unwrap_or(0.0);
        Line::below(&self.least, slope)
    }

    /// The least `y` so far.
    pub(crate) fn least(&self) -> Option<i64> {
        self.least.iter().map(|&(_, y)| y).min()
    }
}

/// Every so many-th point, never more than [`FIT_POINTS_MAX`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Points {
    kept: Vec<(i64, i64)>,
    seen: u64,
    halvings: u32,
}

impl Points {
    pub(crate) fn add(&mut self, x: i64, y: i64) {
        if self.seen.is_multiple_of(1 << self.halvings.min(63)) {
            self.kept.push((x, y));
        }
        self.seen += 1;
        if self.kept.len() > FIT_POINTS_MAX {
            let mut keep = false;
            self.kept.retain(|_| {
                keep = !keep;
                keep
            });
            self.halvings += 1;
        }
    }

    /// The line amid them; its slope is known only from [`FIT_SPAN_US_MIN`] on, 0 before.
    pub(crate) fn line(&self) -> Option<Line> {
        Line::amid(&self.kept, self.slope().unwrap_or(0.0))
    }

    /// The slope, if the points span enough to tell.
    pub(crate) fn slope(&self) -> Option<f64> {
        slope(&self.kept, FIT_SPAN_US_MIN, FIT_PPM_MAX)
    }

    /// How many were added.
    pub(crate) const fn seen(&self) -> u64 {
        self.seen
    }
}

/// None: too short a span to tell, or more than any crystal drifts.
fn slope(points: &[(i64, i64)], span_us_min: i64, ppm_max: f64) -> Option<f64> {
    let (first, last) = (points.first()?.0, points.last()?.0);
    if last.saturating_sub(first) < span_us_min {
        return None;
    }
    let slope = median_slope(points);
    (slope.abs() * 1e6 <= ppm_max).then_some(slope)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_long_recording_keeps_few_points_and_their_slope() {
        let mut points = Points::default();
        let mut floor = Floor::default();
        for n in 0..200_000i64 {
            let x = n * 1_000_000;
            points.add(x, x / 20_000);
            floor.add(x, x / 20_000 + n * 7919 % 40_000);
        }
        assert!(points.kept.len() <= FIT_POINTS_MAX && floor.least.len() <= FLOOR_BUCKETS_MAX);
        assert!((points.slope().unwrap() - 50e-6).abs() < 1e-7);
        assert!((floor.line().unwrap().slope() - 50e-6).abs() < 3e-6);
    }

    #[test]
    fn a_short_one_does_not_guess_a_slope() {
        let mut points = Points::default();
        (0..5).for_each(|n| points.add(n * 1_000_000, n * 400));
        assert_eq!(points.slope(), None);
        assert_eq!(points.line().unwrap().at(77), 800);
    }
}
