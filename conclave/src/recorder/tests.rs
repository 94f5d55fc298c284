//! What the contract promises of storages, and what the recorder does with it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod paths;
mod storages;
