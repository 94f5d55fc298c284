//! The one way out to addresses that partners choose: to nobody's inner network, least of all ours.
//!
//! ```text
//!  URL or host ─▶ Guard: parse ─▶ Place ─▶ admit ─▶ Dialer: look up, check, connect to what was
//!                 (when it is set, and at each attempt)      checked, TLS ─▶ Stream
//! ```
//!
//! What is sent lives elsewhere: webhooks in `signaling`, recordings in `recorder`.

mod dial;
mod guard;
pub mod limits;
mod networks;
mod shares;

pub use self::{
    dial::{DialError, Dialer, Stream, TrustError},
    guard::{Admission, Guard, Place, Rules, RulesError, UrlRefusal},
    shares::{Share, Shares},
};
