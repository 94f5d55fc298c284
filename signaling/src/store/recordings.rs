//! Recordings: a row each, from the start until long after nothing of them is here any more.
//!
//! ```text
//!  room's commit ─▶ begin.rs ─▶ row ─▶ work.rs ◀─ recorder (claim, step)
//!  dead process ──▶   end         │ ▲
//!  partner ─────▶ hold, wish ─────┘ └─ policy.rs: what is recorded for whom
//! ```
//!
//! Each change of a row is one transaction with the events and the audit entry that tell of it, and
//! counts its version.

mod begin;
mod policy;
#[cfg(test)]
mod tests;
mod timeline;
mod work;

use sdk_spec::{
    event::What,
    recording::{PurgeReason, RecordingRule, RecordingState, StopReason},
    rest::recordings::{Artifact, Blocked, Receipt},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sfu_proto::id::{RecordingId, RoomId};
use sqlx::{Row as _, any::AnyRow};

pub(crate) use policy::MayRecord;
pub use timeline::{Moment, Timeline, TimelineEvent};
pub use work::{Purged, RecordingStep, Stepped, ToWork};

use super::{After, Author, NewEvent, Store, StoreError, Tx, int, storage_targets, unsigned};

/// On what terms a recording was made: the policy's, as they were when it started.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Public keys (`age1…`) that its files are sealed to.
    pub recipients: Vec<String>,
    /// Storage target (`st_…`) that they are pushed to.
    pub target: Option<String>,
    /// Where they are put there.
    pub path: String,
    /// Whether only the recipients can ever read what is written down.
    pub sealed: bool,
}

/// What the partner asks the recorder for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Push now instead of at the next try.
    Push,
    /// Purge now, delivered or not.
    Purge,
}

/// A recording. No `Debug`: `work` holds what is the recorder's own.
#[derive(Clone)]
pub struct RecordingRow {
    /// Its id.
    pub id: RecordingId,
    /// Whose it is.
    pub project: String,
    /// Of which room.
    pub room: RoomId,
    /// Where it stands.
    pub state: RecordingState,
    /// What is recorded and what it is made into: the room's rule over the policy's.
    pub rule: RecordingRule,
    /// On what terms.
    pub terms: Terms,
    /// Milliseconds since 1970, like all times here.
    pub started_at_ms: u64,
    /// When it stopped.
    pub stopped_at_ms: Option<u64>,
    /// Why.
    pub stop_reason: Option<StopReason>,
    /// When it is purged, delivered or not, unless it is held.
    pub expires_at_ms: Option<u64>,
    /// Whether it must not be purged.
    pub held: bool,
    /// Percent of the state's work that is done.
    pub progress: Option<u32>,
    /// Why it is not pushed.
    pub blocked: Option<Blocked>,
    /// Its files.
    pub artifacts: Vec<Artifact>,
    /// The recorder's own state.
    pub work: Option<Vec<u8>>,
    /// Percent of its age that was warned of.
    pub warned_percent: u32,
    /// What the partner asks for.
    pub wanted: Option<Wish>,
    /// When it was purged.
    pub purged_at_ms: Option<u64>,
    /// Why.
    pub purge_reason: Option<PurgeReason>,
    /// Proves that.
    pub receipt: Option<Receipt>,
    /// Counts its changes from 1.
    pub version: u64,
    /// The recorder that wrote its journal, if one was begun.
    pub recorder: Option<String>,
}

/// Which recordings are listed.
#[derive(Clone, Copy, Default)]
pub(crate) struct RecordingFilter {
    pub(crate) room: Option<RoomId>,
    pub(crate) state: Option<RecordingState>,
}

/// What became of a partner's change.
pub(crate) enum Changed {
    Done(Box<RecordingRow>),
    /// There is no such recording.
    Missing,
    /// It is live, held or purged.
    Unfit(&'static str),
    /// The project has no such storage target.
    NoTarget,
}

/// A query for whole recordings.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, project, room, state, rule, terms, started_at, stopped_at, stop_reason, ",
            "expires_at, held, progress, blocked, artifacts, work, warned, wanted, purged_at, ",
            "purge_reason, receipt, receipt_signature, receipt_key, version, recorder ",
            "FROM recordings ",
            $tail
        )
    };
}
use select;

impl Store {
    /// A recording of a project.
    pub(crate) async fn recording_of(
        &self,
        project: &str,
        id: RecordingId,
    ) -> Result<Option<RecordingRow>, StoreError> {
        let row = sqlx::query(select!("WHERE id = $1 AND project = $2"))
            .bind(id.to_string())
            .bind(project)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Recordings of a project, newest first.
    pub(crate) async fn recordings(
        &self,
        project: &str,
        filter: RecordingFilter,
        after: Option<After>,
        limit: u32,
    ) -> Result<Vec<RecordingRow>, StoreError> {
        let (before_ms, id) = After::bounds(after);
        let rows = sqlx::query(select!(
            "WHERE project = $1 AND ($2 = '' OR room = $2) AND ($3 = '' OR state = $3) \
             AND (started_at < $4 OR (started_at = $4 AND id < $5)) \
             ORDER BY started_at DESC, id DESC LIMIT $6"
        ))
        .bind(project)
        .bind(filter.room.map(|room| room.to_string()).unwrap_or_default())
        .bind(filter.state.map_or("", RecordingState::as_str))
        .bind(before_ms)
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        Ok(rows.iter().filter_map(readable).collect())
    }

    /// Holds a recording, so that it is not purged, or ends that. A wish to purge it is void then.
    pub(crate) async fn hold_recording(
        &self,
        project: &str,
        id: RecordingId,
        held: bool,
        by: &Author,
    ) -> Result<Changed, StoreError> {
        let mut tx = self.write_in(project).await?;
        let Some(mut row) = tx.recording(id, project).await? else { return Ok(Changed::Missing) };
        if matches!(row.state, RecordingState::Purging | RecordingState::Purged) {
            return Ok(Changed::Unfit("What is purged cannot be held."));
        }
        if row.held == held {
            return Ok(Changed::Done(Box::new(row)));
        }
        row.held = held;
        row.wanted = row.wanted.filter(|wish| !held || *wish != Wish::Purge);
        tx.write_recording(&mut row).await?;
        let what = What::RecordingHeld { recording: id.to_string(), held };
        tx.record(project, &of_room(&row, by.now_ms, what)).await?;
        let action = if held { "recording.hold" } else { "recording.release" };
        tx.note(by, project, (action, &id.to_string()), None).await?;
        tx.commit().await?;
        Ok(Changed::Done(Box::new(row)))
    }

    /// Asks the recorder for something, which it does when it sees it: to push with another `target`
    /// from now on, if one is named.
    pub(crate) async fn wish_for_recording(
        &self,
        project: &str,
        id: RecordingId,
        (wish, target): (Wish, Option<String>),
        by: &Author,
    ) -> Result<Changed, StoreError> {
        let mut tx = self.write_in(project).await?;
        let Some(mut row) = tx.recording(id, project).await? else { return Ok(Changed::Missing) };
        if let Some(why) = unfit(&row, wish) {
            return Ok(Changed::Unfit(why));
        }
        if let Some(target) = &target
            && !storage_targets::exists(&mut tx, project, target).await?
        {
            return Ok(Changed::NoTarget);
        }
        let is_moved = target.is_some() && target != row.terms.target;
        row.terms.target = target.or(row.terms.target);
        let is_done = wish == Wish::Purge && row.state == RecordingState::Purged;
        if is_moved {
            tx.write_target(&row).await?;
        } else if is_done || row.wanted == Some(wish) || row.wanted == Some(Wish::Purge) {
            return Ok(Changed::Done(Box::new(row)));
        }
        row.wanted = row.wanted.filter(|wanted| *wanted == Wish::Purge).or(Some(wish));
        tx.write_recording(&mut row).await?;
        let action = match wish {
            Wish::Push => "recording.push",
            Wish::Purge => "recording.delete",
        };
        let after = is_moved.then(|| json(&row.terms.target));
        let after = after.as_deref().map(str::as_bytes);
        tx.note(by, project, (action, &id.to_string()), after).await?;
        // No event, but the recorder waits for news.
        tx.has_events = true;
        tx.commit().await?;
        Ok(Changed::Done(Box::new(row)))
    }
}

fn unfit(row: &RecordingRow, wish: Wish) -> Option<&'static str> {
    match wish {
        _ if row.state.is_live() => Some("The recording goes on: stop it first."),
        Wish::Purge if row.held => Some("The recording is held: end that first."),
        Wish::Push if row.state == RecordingState::Purging => Some("It is being purged."),
        Wish::Push if row.state == RecordingState::Purged => Some("Nothing of it is here."),
        Wish::Push if row.state == RecordingState::Delivered => Some("It is delivered."),
        _ => None,
    }
}

impl Tx<'_> {
    /// A recording of a project, which stays as it is until the end of the transaction.
    async fn recording(
        &mut self,
        id: RecordingId,
        project: &str,
    ) -> Result<Option<RecordingRow>, StoreError> {
        // The project is held, and whoever changes a recording holds it too.
        let row = sqlx::query(select!("WHERE id = $1 AND project = $2"))
            .bind(id.to_string())
            .bind(project)
            .fetch_optional(&mut **self)
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Writes where it is pushed to.
    async fn write_target(&mut self, row: &RecordingRow) -> Result<(), StoreError> {
        sqlx::query("UPDATE recordings SET terms = $1 WHERE id = $2 AND project = $3")
            .bind(json(&row.terms))
            .bind(row.id.to_string())
            .bind(&row.project)
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    /// Writes what can change of a recording, and counts the change.
    async fn write_recording(&mut self, row: &mut RecordingRow) -> Result<(), StoreError> {
        row.version += 1;
        let receipt = row.receipt.as_ref();
        sqlx::query(
            "UPDATE recordings SET state = $3, stopped_at = $4, stop_reason = $5, expires_at = $6, \
             held = $7, progress = $8, blocked = $9, artifacts = $10, work = $11, warned = $12, \
             wanted = $13, purged_at = $14, purge_reason = $15, receipt = $16, \
             receipt_signature = $17, receipt_key = $18, version = $19 \
             WHERE id = $1 AND project = $2",
        )
        .bind(row.id.to_string())
        .bind(&row.project)
        .bind(row.state.as_str())
        .bind(row.stopped_at_ms.map(int))
        .bind(row.stop_reason.as_ref().map(name))
        .bind(row.expires_at_ms.map(int))
        .bind(i64::from(row.held))
        .bind(row.progress.map(i64::from))
        .bind(row.blocked.as_ref().map(json))
        .bind(json(&row.artifacts))
        .bind(row.work.clone())
        .bind(i64::from(row.warned_percent))
        .bind(row.wanted.as_ref().map(name))
        .bind(row.purged_at_ms.map(int))
        .bind(row.purge_reason.as_ref().map(name))
        .bind(receipt.map(|r| r.receipt.clone()))
        .bind(receipt.map(|r| r.signature.clone()))
        .bind(receipt.map(|r| r.key.clone()))
        .bind(int(row.version))
        .execute(&mut **self)
        .await?;
        Ok(())
    }
}

/// An event of a recording belongs to its room, whose row is kept until the recording is purged.
fn of_room(row: &RecordingRow, time_ms: u64, what: What) -> NewEvent {
    NewEvent { room: Some(row.room), time_ms, what }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The name of a value, as on the wire.
fn name<T: Serialize>(value: &T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn named<T: DeserializeOwned>(text: String, place: &'static str) -> Result<T, StoreError> {
    serde_json::from_value(serde_json::Value::String(text)).map_err(|_| StoreError::Corrupt(place))
}

fn parsed<T: DeserializeOwned>(text: &str, place: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt(place))
}

fn read(row: &AnyRow) -> Result<RecordingRow, StoreError> {
    let text = |column: &'static str| -> Result<String, StoreError> { Ok(row.try_get(column)?) };
    let maybe =
        |column: &'static str| -> Result<Option<String>, StoreError> { Ok(row.try_get(column)?) };
    let number = |column: &'static str| -> Result<Option<u64>, StoreError> {
        let value: Option<i64> = row.try_get(column)?;
        value.map(|value| unsigned(value, column)).transpose()
    };
    let percent = |value: u64| u32::try_from(value).map_err(|_| StoreError::Corrupt("recordings"));
    let id = |place| move |_| StoreError::Corrupt(place);
    Ok(RecordingRow {
        id: text("id")?.parse().map_err(id("recordings.id"))?,
        project: text("project")?,
        room: text("room")?.parse().map_err(id("recordings.room"))?,
        state: named(text("state")?, "recordings.state")?,
        rule: parsed(&text("rule")?, "recordings.rule")?,
        terms: parsed(&text("terms")?, "recordings.terms")?,
        started_at_ms: number("started_at")?.unwrap_or_default(),
        stopped_at_ms: number("stopped_at")?,
        stop_reason: maybe("stop_reason")?
            .map(|reason| named(reason, "recordings.stop_reason"))
            .transpose()?,
        expires_at_ms: number("expires_at")?,
        held: number("held")? == Some(1),
        progress: number("progress")?.map(percent).transpose()?,
        blocked: maybe("blocked")?
            .map(|blocked| parsed(&blocked, "recordings.blocked"))
            .transpose()?,
        artifacts: parsed(&text("artifacts")?, "recordings.artifacts")?,
        work: row.try_get("work")?,
        warned_percent: percent(number("warned")?.unwrap_or_default())?,
        wanted: maybe("wanted")?.map(|wish| named(wish, "recordings.wanted")).transpose()?,
        purged_at_ms: number("purged_at")?,
        purge_reason: maybe("purge_reason")?
            .map(|reason| named(reason, "recordings.purge_reason"))
            .transpose()?,
        receipt: receipt(maybe("receipt")?, maybe("receipt_signature")?, maybe("receipt_key")?),
        version: number("version")?.unwrap_or_default(),
        recorder: maybe("recorder")?,
    })
}

/// A row for a list: one that is not as it should be is left out, or nobody would see the others.
fn readable(row: &AnyRow) -> Option<RecordingRow> {
    let id = row.try_get::<String, _>("id").unwrap_or_default();
    read(row)
        .inspect_err(
            |error| tracing::error!(recording = id, %error, "a recording's row is left out"),
        )
        .ok()
}

fn receipt(
    receipt: Option<String>,
    signature: Option<String>,
    key: Option<String>,
) -> Option<Receipt> {
    Some(Receipt { receipt: receipt?, signature: signature?, key: key? })
}
