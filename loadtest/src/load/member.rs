//! A participant that joins, keeps alive and counts what it is told.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle, time::MissedTickBehavior};

use super::server::Target;
use crate::conformance::socket::{Received, Socket};

/// Between pings; a server gives up after 15 s of silence.
const PING: Duration = Duration::from_secs(8);
/// Longest wait for `joined`.
const JOIN: Duration = Duration::from_secs(30);

/// What a participant was told since it joined.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Messages, `joined` and answers to pings excluded.
    pub(super) changes: AtomicU64,
    /// Messages with a whole list of participants in them, `joined` excluded.
    pub(super) wholes: AtomicU64,
}

/// A participant that is in its room.
pub(super) struct Member {
    pub(super) told: Arc<Told>,
    /// Those who were there before.
    pub(super) before: usize,
    /// From the first message to `joined`.
    pub(super) took: Duration,
    task: JoinHandle<Result<()>>,
}

impl Member {
    /// Joins; stays until `stop` is true.
    pub(super) async fn join(
        target: &Target,
        token: &str,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Self> {
        let url = target.url.replacen("http", "ws", 1) + "/v1/ws";
        let mut socket = Socket::connect(&url, (0, 0)).await?;
        let began = Instant::now();
        socket.send(json!({ "type": "join", "token": token, "sdk": "load/1" })).await?;
        let joined = match socket.next(JOIN).await? {
            Received::Message(message) if message["type"] == "joined" => message,
            Received::Message(message) => bail!("refused: {message}"),
            Received::Closed(code) => bail!("closed with {code}"),
        };
        let took = began.elapsed();
        let before = joined["participants"].as_array().context("participants")?.len();
        drop(joined);
        let told = Arc::<Told>::default();
        let counted = Arc::clone(&told);
        let task = tokio::spawn(async move {
            let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
            tokio::select! {
                end = stay(&mut socket, &counted) => return end,
                () = stopped => {}
            }
            socket.send(json!({ "type": "leave" })).await?;
            socket.close().await;
            Ok(())
        });
        Ok(Self { told, before, took, task })
    }

    /// Whether it is still there.
    pub(super) fn is_in(&self) -> bool {
        !self.task.is_finished()
    }

    /// Waits until it has left.
    pub(super) async fn leave(self) {
        let _ = tokio::time::timeout(Duration::from_secs(10), self.task).await;
    }
}

/// Pings and counts. Ends with the connection.
async fn stay(socket: &mut Socket, told: &Told) -> Result<()> {
    let mut pings = tokio::time::interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings.tick().await;
    loop {
        tokio::select! {
            _ = pings.tick() => socket.send(json!({ "type": "ping" })).await?,
            next = socket.next(Duration::from_secs(60)) => match next? {
                Received::Message(message) => count(&message, told),
                Received::Closed(code) => bail!("closed with {code}"),
            },
        }
    }
}

fn count(message: &Value, told: &Told) {
    if message["type"] != "pong" {
        told.changes.fetch_add(1, Relaxed);
        let whole = message["participants"].is_array() || message["waiting"].is_array();
        told.wholes.fetch_add(u64::from(whole), Relaxed);
    }
}
