//! The audit log: entries, checkpoints, proofs.
