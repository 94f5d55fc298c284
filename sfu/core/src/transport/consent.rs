//! Consent to receive media (RFC 7675), seen from the side that only answers checks: every good
//! check on the selected path is consent.
//!
//! ```text
//!          select             15 s quiet, path closed            30 s
//! Absent ────────▶ Fresh ───────────────────────────▶ Lost ────────────▶ Over
//!                    ▲                                  │
//!                    └────────── check or nomination ───┘
//! ```

use std::time::Instant;

use super::limits::{CONSENT_MAX, RECOVERY_MAX};

/// Where consent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Consent {
    /// No path was selected yet.
    Absent,
    /// May send until then.
    Fresh { until: Instant },
    /// Must not send; over at `end`.
    Lost { end: Instant },
    /// Lost for good.
    Over,
}

impl Consent {
    /// A good check on the selected path, or its selection. Whether consent was lost before.
    pub(super) fn refresh(&mut self, now: Instant) -> bool {
        let came_back = matches!(self, Self::Lost { .. });
        if !matches!(self, Self::Over) {
            *self = Self::Fresh { until: now + CONSENT_MAX };
        }
        came_back
    }

    /// The selected path is gone. Whether consent was fresh.
    pub(super) fn lose(&mut self, now: Instant) -> bool {
        let was_fresh = self.is_fresh();
        if was_fresh {
            *self = Self::Lost { end: now + RECOVERY_MAX };
        }
        was_fresh
    }

    /// Whether media may be sent.
    pub(super) const fn is_fresh(self) -> bool {
        matches!(self, Self::Fresh { .. })
    }

    /// Advances to `now`; whether the state changed. One step per call.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        match *self {
            // Recovery is counted from when consent ended, however late the call comes.
            Self::Fresh { until } if until <= now => {
                *self = Self::Lost { end: until + RECOVERY_MAX }
            }
            Self::Lost { end } if end <= now => *self = Self::Over,
            Self::Absent | Self::Fresh { .. } | Self::Lost { .. } | Self::Over => return false,
        }
        true
    }

    /// When it changes by itself.
    pub(super) const fn poll_timeout(self) -> Option<Instant> {
        match self {
            Self::Fresh { until: at } | Self::Lost { end: at } => Some(at),
            Self::Absent | Self::Over => None,
        }
    }
}
