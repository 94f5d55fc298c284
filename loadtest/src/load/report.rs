//! The table: what was measured, what it should be.

use std::{fmt, time::Duration};

/// Bound of a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Debug)]
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    bound: Option<Bound>,
}

/// What was measured.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.rows.push(Row { name: name.into(), value, unit, bound: None });
    }

    pub(crate) fn judge(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        bound: Bound,
    ) {
        self.rows.push(Row { name: name.into(), value, unit, bound: Some(bound) });
    }

    /// Whether every target is met.
    pub fn met(&self) -> bool {
        self.rows.iter().all(|row| row.bound.is_none_or(|bound| holds(bound, row.value)))
    }
}

fn holds(bound: Bound, value: f64) -> bool {
    match bound {
        Bound::AtMost(most) => value <= most,
        Bound::AtLeast(least) => value >= least,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<52} {:>11} {:<12} {:>12}  ratio", "measure", "value", "unit", "target")?;
        for Row { name, value, unit, bound } in &self.rows {
            let shown = if *value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") };
            write!(f, "{name:<52} {shown:>11} {unit:<12}")?;
            match bound {
                None => writeln!(f)?,
                Some(bound) => {
                    let (sign, limit) = match bound {
                        Bound::AtMost(most) => ("≤", most),
                        Bound::AtLeast(least) => ("≥", least),
                    };
                    let end = if holds(*bound, *value) { "" } else { "  MISSED" };
                    let target = format!("{sign} {limit}");
                    let ratio = if *limit == 0.0 { *value } else { value / limit };
                    writeln!(f, " {target:>12}  {ratio:.2}{end}")?;
                }
            }
        }
        Ok(())
    }
}

/// The value below which `part` of the durations lie, in milliseconds.
pub(crate) fn quantile_ms(durations: &mut [Duration], part: f64) -> f64 {
    durations.sort_unstable();
    let last = durations.len().saturating_sub(1);
    let at = (last as f64 * part).round() as usize;
    durations.get(at).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_target_is_told() {
        let mut report = Report::default();
        report.judge("a", 24.0, "KiB", Bound::AtMost(24.0));
        assert!(report.met());
        report.judge("b", 9.0, "sockets", Bound::AtLeast(10.0));
        assert!(!report.met());
        let text = report.to_string();
        assert!(text.contains("≥ 10  0.90  MISSED") && !text.contains("1.00  MISSED"), "{text}");
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut durations: Vec<_> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile_ms(&mut durations, 0.5), 51.0);
        assert_eq!(quantile_ms(&mut durations, 0.99), 99.0);
        assert!(quantile_ms(&mut [], 0.5).is_nan());
    }
}
