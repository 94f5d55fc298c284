//! Findings and how they are shown.

use std::io::Write as _;

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// As it should be.
    Ok(String),
    /// The server runs, but something is worse than it could be: what, and what to do.
    Warn(String, String),
    /// The server cannot run: what, and what to do.
    Fail(String, String),
}

impl Finding {
    pub(super) fn ok(what: impl Into<String>) -> Self {
        Self::Ok(what.into())
    }

    pub(super) fn warn(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Warn(what.into(), remedy.into())
    }

    pub(super) fn fail(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Fail(what.into(), remedy.into())
    }
}

/// All findings, in the order of the looks.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<(&'static str, Finding)>);

impl Report {
    pub(super) fn add(&mut self, name: &'static str, finding: Finding) {
        self.0.push((name, finding));
    }

    /// Whether nothing failed.
    pub(super) fn sound(&self) -> bool {
        !self.0.iter().any(|(_, finding)| matches!(finding, Finding::Fail(..)))
    }

    /// Writes the report to standard output; a closed pipe ends it.
    pub(super) fn print(&self) {
        let mut out = std::io::stdout().lock();
        for (name, finding) in &self.0 {
            let (mark, what, remedy) = match finding {
                Finding::Ok(what) => ("ok  ", what, None),
                Finding::Warn(what, remedy) => ("warn", what, Some(remedy)),
                Finding::Fail(what, remedy) => ("fail", what, Some(remedy)),
            };
            let written = writeln!(out, "{mark}  {name:<20} {what}").and_then(|()| match remedy {
                Some(remedy) => writeln!(out, "      {:<20} → {remedy}", ""),
                None => Ok(()),
            });
            if written.is_err() {
                return;
            }
        }
    }
}
