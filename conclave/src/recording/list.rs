//! `conclave recording list`: what is still here, how far it is, and what it waits for.

use std::{io::Write as _, time::Duration};

use signaling::{Store, store::RecordingRow};

use crate::{config::file::Storage, data, recorder::now_ms};

/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(1);

/// Lists recordings that are not purged.
///
/// # Errors
/// When the database refuses.
pub(crate) async fn run(
    storage: &Storage,
    project: Option<&str>,
    watch: bool,
) -> anyhow::Result<()> {
    let store = data::open(storage).await?;
    loop {
        print(&store, project).await?;
        if !watch {
            break;
        }
        tokio::time::sleep(WATCH).await;
        writeln!(std::io::stdout())?;
    }
    store.close().await;
    Ok(())
}

async fn print(store: &Store, project: Option<&str>) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let (mut after, mut count) = (None, 0);
    loop {
        let rows = store.recordings_here(project, after).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.id);
        count += rows.len();
        for row in &rows {
            writeln!(out, "{}", line(row, now_ms()))?;
        }
    }
    writeln!(out, "{count} recordings are here")?;
    Ok(())
}

/// One recording: nothing that names a person, an address or a storage.
fn line(row: &RecordingRow, now_ms: u64) -> String {
    let mut text = format!("{}  {}  {}", row.id, row.project, row.state.as_str());
    if let Some(percent) = row.progress {
        text.push_str(&format!(" {percent} %"));
    }
    if let Some(blocked) = &row.blocked {
        let (reason, blame) = (word(&blocked.reason), word(&blocked.blame));
        text.push_str(&format!(" ({reason}; the {blame} must act)"));
    }
    let bytes: u64 = row.artifacts.iter().map(|artifact| artifact.bytes).sum();
    if bytes > 0 {
        text.push_str(&format!("  {:.1} MB", bytes as f64 / 1e6));
    }
    let pushed: u64 = row.artifacts.iter().map(|artifact| artifact.pushed_bytes).sum();
    if pushed > 0 && (pushed < bytes || row.state.is_live()) {
        text.push_str(&format!(", {:.1} pushed", pushed as f64 / 1e6));
    }
    match (row.held, row.expires_at_ms) {
        (true, _) => text.push_str("  held"),
        (false, Some(at)) => {
            let hours = at.saturating_sub(now_ms) as f64 / 3_600_000.0;
            text.push_str(&format!("  purged in {hours:.1} h at the latest"));
        }
        (false, None) => {}
    }
    text
}

/// A word of the contract, as on the wire.
fn word<T: serde::Serialize>(value: &T) -> String {
    let json = serde_json::to_value(value).ok();
    json.and_then(|json| json.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use sdk_spec::{
        recording::{BlockReason, RecordingRule, RecordingState},
        rest::recordings::{Artifact, Blocked},
    };
    use sfu_proto::id::{RecordingId, RoomId};
    use signaling::store::Terms;

    use super::*;

    fn row(state: RecordingState) -> RecordingRow {
        let terms = Terms {
            recipients: vec!["age1secretary".to_owned()],
            target: None,
            path: String::new(),
            sealed: false,
        };
        RecordingRow {
            id: RecordingId::from_bits(1),
            project: "pj_1".to_owned(),
            room: RoomId::from_bits(2),
            state,
            rule: RecordingRule::default(),
            terms,
            started_at_ms: 0,
            stopped_at_ms: Some(0),
            stop_reason: None,
            expires_at_ms: Some(72 * 3_600_000),
            held: false,
            progress: None,
            blocked: None,
            artifacts: Vec::new(),
            work: None,
            warned_percent: 0,
            wanted: None,
            purged_at_ms: None,
            purge_reason: None,
            receipt: None,
            version: 1,
            recorder: None,
        }
    }

    #[test]
    fn a_line_says_how_far_it_is_and_who_must_act() {
        let id = RecordingId::from_bits(1);
        let busy = RecordingRow { progress: Some(43), ..row(RecordingState::Finalizing) };
        let end = "purged in 71.0 h at the latest";
        assert_eq!(line(&busy, 3_600_000), format!("{id}  pj_1  finalizing 43 %  {end}"));
        let artifact = |name: &str, pushed_bytes| Artifact {
            name: name.to_owned(),
            media_type: String::new(),
            track: None,
            participant: None,
            source: None,
            bytes: 2_000_000,
            sha256: String::new(),
            pushed_bytes,
            verified: false,
        };
        let artifacts = vec![artifact("a", 2_000_000), artifact("b", 500_000)];
        let live =
            RecordingRow { artifacts, expires_at_ms: None, ..row(RecordingState::Recording) };
        assert_eq!(line(&live, 0), format!("{id}  pj_1  recording  4.0 MB, 2.5 pushed"));
        let reason = BlockReason::Credentials;
        let blocked = Some(Blocked { reason, blame: reason.blame(), retry_at: None });
        let waits = RecordingRow { blocked, held: true, ..row(RecordingState::PushBlocked) };
        let why = "push_blocked (credentials; the partner must act)  held";
        assert_eq!(line(&waits, 0), format!("{id}  pj_1  {why}"));
    }
}
