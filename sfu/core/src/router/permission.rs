//! What a session may do. Signaling decides it; the node enforces it a second time.

use sfu_proto::control::{Permissions, Publish, Source};
use sfu_proto::sdp::Refusal;

/// Whether tracks of this source may be published.
pub fn may_publish(permissions: &Permissions, source: Source) -> bool {
    permissions.publish.contains(&source)
}

/// Checks a whole list of wishes: each source granted, no source and no track twice.
///
/// # Errors
/// The first violation.
pub fn check_publish(permissions: &Permissions, publish: &[Publish]) -> Result<(), Refusal> {
    for (n, wish) in publish.iter().enumerate() {
        if !may_publish(permissions, wish.source) {
            return Err(Refusal::NotPermitted);
        }
        let same = |other: &Publish| {
            other.source == wish.source || other.track == wish.track || other.mid == wish.mid
        };
        if publish[..n].iter().any(same) {
            return Err(Refusal::Duplicate);
        }
    }
    Ok(())
}
