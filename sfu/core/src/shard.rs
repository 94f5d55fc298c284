//! Shard
use std::{sync::Arc, time::Instant};

use rand::{SeedableRng, rngs::StdRng};

use crate::{
    config::ShardConfig,
    event::{Command, Event},
    path::Path,
    stats::Stats,
    transport::{dtls::Identity, outbound::TxBatch},
};

/// Owner of rooms, sessions, packet cache and timers.
pub struct Shard {
    config: ShardConfig,
    identity: Arc<Identity>,
    stats: Arc<Stats>,
    rng: StdRng,
    batch: TxBatch,
}

#[allow(unused_variables, missing_docs)]
impl Shard {
    pub fn new(config: ShardConfig, identity: Arc<Identity>, stats: Arc<Stats>, seed: [u8; 32], now: Instant) -> Self {
        Self { config, identity, stats, rng: StdRng::from_seed(seed), batch: TxBatch::new() }
    }
    pub fn handle_command(&mut self, command: Command, now: Instant) {}
    pub fn handle_datagram(&mut self, path: Path, datagram: &[u8], now: Instant) {}
    pub fn handle_path_closed(&mut self, path: Path, now: Instant) {}
    pub fn handle_timeout(&mut self, now: Instant) {}
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub fn poll_transmit(&mut self, now: Instant) -> Option<&TxBatch> {
        None
    }
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
    pub fn handle_panic(&mut self, now: Instant) {}
}
