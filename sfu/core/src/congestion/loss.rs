//! What a subscriber's transport-wide feedback says about loss. Counted only; it will feed the
//! send-side estimate.

use sfu_proto::rtcp::{TransportFeedback, TransportStatus};

/// Packets of one feedback.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// Reported received.
    pub received: u64,
    /// Reported lost.
    pub lost: u64,
}

/// Counts a feedback's statuses. `next` is the next transport-wide number that we will send: what
/// was not sent yet, or not within the last half cycle, is not believed (SECURITY.md M7).
pub fn count(feedback: &TransportFeedback<'_>, next: u16) -> Reported {
    let mut reported = Reported::default();
    for (seq, status) in feedback.statuses() {
        let age = next.wrapping_sub(1).wrapping_sub(seq);
        if age >= 1 << 15 {
            continue;
        }
        match status {
            TransportStatus::Received { .. } => reported.received += 1,
            TransportStatus::Lost => reported.lost += 1,
        }
    }
    reported
}
