//! The recorder's ledger in the store of signaling: its words on one side, the contract's on the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use prometheus::IntGauge;
use recorder::{
    composite::{Canvas, Layout, Mask, Region},
    evidence::ArtifactKind,
    finalize::{Handle, Pause, Stay},
    service::ledger::{
        ArtifactRow, Block, Composite, Entry, Ledger, LedgerError, News, Outputs, Purge, State,
        Step, Stop, Timeline, Work,
    },
    storage::Target,
};
use sdk_spec::{
    event::{ERASED_HANDLE, What},
    recording::{BlockReason, Output, PurgeReason, RecordingRule, RecordingState, StopReason},
    rest::{
        Timestamp,
        recordings::{Artifact, Blocked, Receipt},
    },
    ws,
};
use sfu_proto::{
    control::Source,
    id::{ParticipantId, RecordingId},
};
use signaling::{
    Store,
    store::{Moment, Purged, RecordingRow, RecordingStep, Stepped, StoreError, Wish},
};
use tokio::sync::{mpsc, watch};

use super::target;

/// Rows of recordings, by the store.
pub(super) struct StoreLedger {
    pub(super) store: Store,
    /// Names this recorder over restarts.
    pub(super) recorder: String,
    /// Where the operator lets recordings go, for targets of that kind.
    pub(super) local: Option<std::path::PathBuf>,
    /// Rows that cannot be read, as of the last look.
    pub(super) unreadable: Mutex<BTreeSet<String>>,
    /// How many.
    pub(super) metric: IntGauge,
    /// Rooms whose recording failed.
    pub(super) tell: mpsc::Sender<super::Failed>,
}

fn unavailable(error: StoreError) -> LedgerError {
    tracing::warn!(%error, "the recorder cannot use the store");
    LedgerError::Unavailable
}

#[async_trait]
impl Ledger for StoreLedger {
    /// What cannot be read is left out: nothing is decided about it, and it keeps nobody else waiting.
    async fn open(&self) -> Result<Vec<Entry>, LedgerError> {
        let (mut all, mut after, mut unreadable) = (Vec::new(), None, BTreeSet::new());
        loop {
            let now_ms = super::now_ms();
            let found =
                self.store.recordings_to_work(&self.recorder, after.as_deref(), now_ms).await;
            let found = found.map_err(unavailable)?;
            unreadable.extend(found.unreadable);
            for row in found.rows {
                match entry(row) {
                    Ok(entry) => all.push(entry),
                    Err(Unreadable(id)) => {
                        unreadable.insert(id.to_string());
                    }
                }
            }
            if found.next.is_none() {
                self.note(unreadable);
                return Ok(all);
            }
            after = found.next;
        }
    }

    async fn entry(&self, recording: RecordingId) -> Result<Option<Entry>, LedgerError> {
        let row = self.store.recording(recording).await.map_err(unavailable)?;
        row.map(entry).transpose().map_err(|Unreadable(id)| {
            tracing::error!(recording = %id, "what the recorder noted of a recording cannot be read");
            LedgerError::Unavailable
        })
    }

    async fn step(
        &self,
        recording: RecordingId,
        version: u64,
        step: Step,
    ) -> Result<u64, LedgerError> {
        let step = self.translate(recording, step).await?;
        match self.store.step_recording(recording, version, step, super::now_ms()).await {
            Ok(Stepped::Done(version)) => Ok(version),
            Ok(Stepped::Stale) => Err(LedgerError::Changed),
            Ok(Stepped::Held) => Err(LedgerError::Held),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn begun(&self, recording: RecordingId) -> Result<(), LedgerError> {
        match self.store.claim_recording(recording, &self.recorder).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(LedgerError::Changed),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn stop(&self, recording: RecordingId, why: Stop) -> Result<(), LedgerError> {
        let Some(row) = self.store.recording(recording).await.map_err(unavailable)? else {
            return Ok(());
        };
        if !row.state.is_live() {
            return Ok(());
        }
        let reason = match why {
            Stop::DiskFull => StopReason::DiskFull,
            Stop::NoCapacity => StopReason::NoCapacity,
            Stop::Failed => StopReason::RecorderFailed,
            Stop::Lost => StopReason::NodeLost,
        };
        let _ = self.tell.try_send((row.room, recording, reason)); // Full: the row says it too.
        let step = RecordingStep { stopped: Some(reason), ..RecordingStep::default() };
        match self.store.step_recording(recording, row.version, step, super::now_ms()).await {
            Ok(Stepped::Done(_)) => Ok(()),
            Ok(Stepped::Stale | Stepped::Held) => Err(LedgerError::Changed),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn timeline(&self, recording: RecordingId) -> Result<Timeline, LedgerError> {
        let found = self.store.recording_timeline(recording).await.map_err(unavailable)?;
        Ok(found.map(timeline).unwrap_or_default())
    }

    async fn target(&self, project: &str, id: &str) -> Result<Option<Target>, LedgerError> {
        let found = self.store.storage_target(project, id).await.map_err(unavailable)?;
        Ok(found.and_then(|found| target::of(&found.storage, project, self.local.as_deref())))
    }

    fn news(&self) -> watch::Receiver<u64> {
        self.store.recordings_news()
    }
}

impl StoreLedger {
    /// Tells the operator of rows that cannot be read: each once, and how many there are.
    fn note(&self, unreadable: BTreeSet<String>) {
        let mut known = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        for id in unreadable.difference(&known) {
            tracing::error!(recording = id, "a recording's row cannot be read: it is left alone");
        }
        self.metric.set(i64::try_from(unreadable.len()).unwrap_or(i64::MAX));
        *known = unreadable;
    }

    async fn translate(
        &self,
        recording: RecordingId,
        step: Step,
    ) -> Result<RecordingStep, LedgerError> {
        let mut out = RecordingStep {
            recorder: Some(self.recorder.clone()),
            state: step.state.and_then(state),
            progress: step.progress,
            artifacts: step.artifacts.as_ref().map(|rows| rows.iter().map(artifact).collect()),
            work: step.work.as_ref().and_then(|work| serde_json::to_vec(work).ok()),
            served: step.served,
            ..RecordingStep::default()
        };
        let id = recording.to_string();
        match step.news {
            None => {}
            Some(News::Finalized { bytes, seconds, missing, flawed_tracks }) => {
                let artifacts = step.artifacts.map_or(0, |rows| rows.len() as u32);
                let missing = missing.into_iter().filter_map(output).collect();
                out.event = Some(What::RecordingFinalized {
                    recording: id,
                    artifacts,
                    bytes,
                    seconds,
                    missing,
                    flawed_tracks,
                });
            }
            Some(News::Blocked { block, retry_at_ms }) => {
                let reason = reason_of(block);
                let blame = reason.blame();
                let retry_at = Some(Timestamp(retry_at_ms));
                // One event when it becomes blocked or the reason changes, not one for each try.
                let before = self.store.recording(recording).await.map_err(unavailable)?;
                let known = before.and_then(|row| row.blocked).map(|blocked| blocked.reason);
                out.event = (known != Some(reason)).then_some(What::RecordingPushBlocked {
                    recording: id,
                    reason,
                    blame,
                });
                out.blocked = Some(Blocked { reason, blame, retry_at });
            }
            Some(News::Delivered) => {
                let rows = step.artifacts.unwrap_or_default();
                let bytes = rows.iter().map(|row| row.bytes).sum();
                let artifacts = rows.len() as u32;
                out.event = Some(What::RecordingDelivered { recording: id, artifacts, bytes });
            }
            Some(News::Expiring { age_percent }) => {
                let row = self.store.recording(recording).await.map_err(unavailable)?;
                let expires_at = row.and_then(|row| row.expires_at_ms).map(Timestamp);
                out.warned_percent = Some(age_percent);
                out.event = expires_at.map(|expires_at| What::RecordingExpiring {
                    recording: id,
                    age_percent,
                    expires_at,
                });
            }
            Some(News::Purged { reason, receipt, signature, key, .. }) => {
                let receipt = Receipt { receipt, signature, key };
                out.purged = Some(Purged { reason: purge_of(reason), receipt });
                out.state = None;
            }
        }
        Ok(out)
    }
}

/// What the recorder noted of this recording is not as it should be: never taken for nothing.
struct Unreadable(RecordingId);

fn entry(row: RecordingRow) -> Result<Entry, Unreadable> {
    let work = match row.work.as_deref() {
        Some(work) => serde_json::from_slice::<Work>(work).map_err(|_| Unreadable(row.id))?,
        None => Work::default(),
    };
    let outputs = outputs(&row.rule);
    Ok(Entry {
        id: row.id,
        project: row.project,
        room: row.room,
        state: match row.state {
            RecordingState::Recording | RecordingState::Paused => State::Live,
            RecordingState::Recorded => State::Recorded,
            RecordingState::Finalizing => State::Finalizing,
            RecordingState::Pushing => State::Pushing,
            RecordingState::PushBlocked => State::PushBlocked,
            RecordingState::Delivered => State::Delivered,
            RecordingState::Purging => State::Purging,
            RecordingState::Purged => State::Purged,
        },
        version: row.version,
        started_at_ms: row.started_at_ms,
        stopped_at_ms: row.stopped_at_ms,
        expires_at_ms: row.expires_at_ms,
        held: row.held,
        is_deleted: row.wanted == Some(Wish::Purge),
        push_wanted: row.wanted == Some(Wish::Push),
        warned_percent: row.warned_percent,
        has_journal: row.recorder.is_some(),
        recipients: row.terms.recipients,
        sealed: row.terms.sealed,
        path: row.terms.path,
        target: row.terms.target,
        outputs,
        artifacts: row.artifacts.iter().filter_map(artifact_row).collect(),
        work,
    })
}

fn outputs(rule: &RecordingRule) -> Outputs {
    let has = |output| rule.outputs.contains(&output);
    let layout = match rule.layout.unwrap_or_default() {
        sdk_spec::recording::Layout::Grid => Layout::Grid,
        sdk_spec::recording::Layout::Speaker => Layout::Speaker,
    };
    let canvas = if rule.height == Some(1080) { Canvas::FULL_HD } else { Canvas::HD };
    let mask = |mask: &sdk_spec::recording::Mask| {
        let sdk_spec::recording::Mask { source, ref handle, x, y, width, height, solid } = *mask;
        let handle = handle.as_ref().map(|handle| Handle(handle.as_str().to_owned()));
        let region = Region { x, y, width, height, solid };
        Mask { source: source_of(source), handle, region }
    };
    Outputs {
        tracks: rule.outputs.is_empty() || has(Output::Tracks),
        composite: has(Output::Composite).then_some(Composite { layout, canvas }),
        audio_mix: has(Output::AudioMix),
        hls: has(Output::Hls),
        journal: has(Output::Journal),
        data: rule.data.unwrap_or_default(),
        masks: rule.masks.iter().map(mask).collect(),
        unmasked_recipients: rule.unmasked_recipients.clone(),
    }
}

const fn source_of(source: ws::Source) -> Source {
    match source {
        ws::Source::Camera => Source::Camera,
        ws::Source::Microphone => Source::Microphone,
        ws::Source::Screen => Source::Screen,
        ws::Source::ScreenAudio => Source::ScreenAudio,
    }
}

const fn output(kind: ArtifactKind) -> Option<Output> {
    match kind {
        ArtifactKind::Track => Some(Output::Tracks),
        ArtifactKind::Composite => Some(Output::Composite),
        ArtifactKind::AudioMix => Some(Output::AudioMix),
        ArtifactKind::Hls => Some(Output::Hls),
        ArtifactKind::Journal => Some(Output::Journal),
        ArtifactKind::Layout | ArtifactKind::Events | ArtifactKind::Messages => None,
    }
}

fn state(state: State) -> Option<RecordingState> {
    Some(match state {
        State::Live => return None,
        State::Recorded => RecordingState::Recorded,
        State::Finalizing => RecordingState::Finalizing,
        State::Pushing => RecordingState::Pushing,
        State::PushBlocked => RecordingState::PushBlocked,
        State::Delivered => RecordingState::Delivered,
        State::Purging => RecordingState::Purging,
        State::Purged => RecordingState::Purged,
    })
}

fn artifact(row: &ArtifactRow) -> Artifact {
    Artifact {
        name: row.name.clone(),
        media_type: row.media_type.clone(),
        track: row.track.map(|track| track.to_string()),
        participant: row.participant.map(|participant| participant.to_string()),
        source: row.source.map(|source| match source {
            Source::Camera => ws::Source::Camera,
            Source::Microphone => ws::Source::Microphone,
            Source::Screen => ws::Source::Screen,
            Source::ScreenAudio => ws::Source::ScreenAudio,
        }),
        bytes: row.bytes,
        sha256: row.sha256.clone(),
        pushed_bytes: row.pushed_bytes,
        verified: row.verified,
    }
}

fn artifact_row(artifact: &Artifact) -> Option<ArtifactRow> {
    Some(ArtifactRow {
        name: artifact.name.clone(),
        media_type: artifact.media_type.clone(),
        track: artifact.track.as_ref().and_then(|track| track.parse().ok()),
        participant: artifact.participant.as_ref().and_then(|one| one.parse().ok()),
        source: artifact.source.map(source_of),
        bytes: artifact.bytes,
        sha256: artifact.sha256.clone(),
        pushed_bytes: artifact.pushed_bytes,
        verified: artifact.verified,
    })
}

fn reason_of(block: Block) -> BlockReason {
    match block {
        Block::NoTarget => BlockReason::NoTarget,
        Block::Credentials => BlockReason::Credentials,
        Block::NotFound => BlockReason::NotFound,
        Block::AddressForbidden => BlockReason::AddressForbidden,
        Block::Full => BlockReason::Full,
        Block::Checksum => BlockReason::Checksum,
        Block::Refused => BlockReason::Refused,
        Block::LocalFolder => BlockReason::LocalFolder,
        Block::SpoolMissing => BlockReason::SpoolMissing,
        Block::SpoolFull => BlockReason::SpoolFull,
    }
}

fn purge_of(purge: Purge) -> PurgeReason {
    match purge {
        Purge::Delivered => PurgeReason::Delivered,
        Purge::Expired => PurgeReason::Expired,
        Purge::Deleted => PurgeReason::Deleted,
        Purge::Empty => PurgeReason::Empty,
        Purge::Unreadable => PurgeReason::Unreadable,
        Purge::Lost => PurgeReason::Lost,
    }
}

/// Stays and pauses out of what happened.
fn timeline(found: signaling::store::Timeline) -> Timeline {
    let mut out = Timeline::default();
    let mut open: BTreeMap<ParticipantId, usize> = BTreeMap::new();
    for event in found.events {
        let at_us = event.at_ms.saturating_mul(1000);
        match event.moment {
            Moment::Joined { participant, handle, .. } => {
                let Ok(participant) = participant.parse() else { continue };
                open.insert(participant, out.stays.len());
                // Whoever was erased may be the one that a mask named.
                let is_known = handle.as_str() != ERASED_HANDLE;
                let handle = is_known.then(|| Handle(handle.as_str().to_owned()));
                out.stays.push(Stay { participant, handle, joined_us: at_us, left_us: None });
            }
            Moment::Left { participant } => {
                let at = participant.parse().ok().and_then(|id: ParticipantId| open.remove(&id));
                if let Some(stay) = at.and_then(|at| out.stays.get_mut(at)) {
                    stay.left_us = Some(at_us);
                }
            }
            Moment::Paused => out.pauses.push(Pause { from_us: at_us, to_us: None }),
            Moment::Resumed => {
                if let Some(pause) = out.pauses.last_mut() {
                    pause.to_us.get_or_insert(at_us);
                }
            }
            Moment::Updated { .. }
            | Moment::Published { .. }
            | Moment::Unpublished { .. }
            | Moment::Consent { .. } => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use sdk_spec::ws::Role;
    use signaling::store::TimelineEvent;

    use super::*;

    #[test]
    fn whoever_was_erased_is_hidden_by_every_mask_of_one_person() {
        let joined = |n, handle: &str| {
            let participant = ParticipantId::from_bits(n).to_string();
            let handle = sdk_spec::handle::Handle::parse(handle).unwrap();
            let moment = Moment::Joined { participant, handle, role: Role::Participant };
            TimelineEvent { at_ms: 1, moment }
        };
        let events = vec![joined(1, "ann"), joined(2, ERASED_HANDLE)];
        let stays = timeline(signaling::store::Timeline { events, is_whole: true }).stays;
        let mask = Mask {
            source: Source::Camera,
            handle: Some(Handle("ben".to_owned())),
            region: Region { x: 0, y: 0, width: 1000, height: 1000, solid: true },
        };
        let is_hidden = |stay: &Stay| mask.hides(Source::Camera, stay.handle.as_ref());
        assert_eq!(stays.iter().map(is_hidden).collect::<Vec<_>>(), [false, true]);
    }
}
