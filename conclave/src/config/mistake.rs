//! Everything that is wrong with a configuration, told at once.

use std::fmt;

/// One wrong value.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mistake {
    place: String,
    problem: String,
}

/// All mistakes found; empty when the configuration is sound.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// Notes that `place` (`section.key`, a flag, or a line of the file) has a `problem`.
    pub(crate) fn add(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Mistake { place: place.into(), problem: problem.into() });
    }

    /// `value` when there are no mistakes.
    ///
    /// # Errors
    /// All mistakes.
    pub(crate) fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "mistake" } else { "mistakes" };
        write!(f, "the configuration has {} {plural}:", self.0.len())?;
        self.0.iter().try_for_each(|m| write!(f, "\n  {}: {}", m.place, m.problem))
    }
}

impl std::error::Error for Mistakes {}
