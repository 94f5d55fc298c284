//! Feedback about the network, both ways. Congestion control (estimate, pacer, probes) will live
//! here; until then, feedback that arrives is counted only.

pub mod feedback;
pub mod loss;
