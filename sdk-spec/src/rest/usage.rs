//! Usage and histories.
