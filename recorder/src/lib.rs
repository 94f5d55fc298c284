//! Recorder: stores a session briefly and encrypted, pushes it to the partner's storage, verifies
//! the receipt, purges, and can prove it.
//!
//! ```text
//! tap ─▶ journal ─▶ finalize ─▶ seal ─▶ push ─▶ verify ─▶ purge ─▶ receipt
//! ```
//!
//! Empty on purpose until recording has its own issue: the package holds its place in the
//! dependency table (it may use `sfu-proto` and `bus`, never `sfu-core` or `signaling`).
