//! The project's event log, as the partner reads it.

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::server::Server;

/// All events, in order.
pub(super) struct Events(Vec<Value>);

impl Events {
    pub(super) async fn read(server: &Server) -> Result<Self> {
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let page = server.get(&format!("/v1/events?after={after}&limit=200")).await?;
            after = page["next"].as_u64().context("next")?;
            all.extend(page["events"].as_array().context("events")?.iter().cloned());
            if page["more"] != true {
                return Ok(Self(all));
            }
        }
    }

    pub(super) fn count(&self, kind: &str, recording: &str) -> usize {
        self.of(kind, recording).count()
    }

    /// Those of a kind about a recording, in order.
    pub(super) fn of(&self, kind: &str, recording: &str) -> impl Iterator<Item = &Value> {
        let is =
            move |event: &&Value| event["type"] == kind && event["data"]["recording"] == recording;
        self.0.iter().filter(is)
    }
}
