//! Usage: the state of the fold and what it counted, changed in one transaction with the checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use sdk_spec::{
    event::{Event, What},
    rest::{Day, usage::UsageGroup},
};
use sfu_proto::id::RoomId;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row as _, any::AnyRow, query::Query};

use super::{
    Dialect, Store, StoreError, Tx,
    events::{self, Following},
    histories, int, unsigned,
};
use crate::usage::fold::{Amounts, Fold, Run, Stay, TrackMs, Usage};

/// Which usage of a project.
pub(crate) struct UsageWanted {
    pub(crate) days: (Day, Day),
    pub(crate) room: Option<RoomId>,
    pub(crate) group: UsageGroup,
    /// Rows after this room and day.
    pub(crate) after: Option<(String, Day)>,
    pub(crate) limit: u32,
}

impl Store {
    /// Projects with events that are not counted, some at a time.
    pub(crate) async fn unfolded(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT id FROM projects LEFT JOIN usage_checkpoints ON project = id \
             WHERE event_seq > COALESCE(seq, 0) LIMIT 1000",
        )
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| Ok(row.try_get("id")?)).collect()
    }

    /// Events of all projects that are not counted.
    pub(crate) async fn uncounted(&self) -> Result<u64, StoreError> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(event_seq - COALESCE(seq, 0)), 0) AS BIGINT) AS n \
             FROM projects LEFT JOIN usage_checkpoints ON project = id \
             WHERE event_seq > COALESCE(seq, 0)",
        )
        .fetch_one(&self.readers)
        .await?;
        unsigned(row.try_get("n")?, "projects.event_seq")
    }

    /// Counts the next events of a project, `limit` at most. Returns how many there were.
    pub(crate) async fn fold(&self, project: &str, limit: u32) -> Result<u32, StoreError> {
        let (tx, count) = self.fold_open(project, limit).await?;
        tx.commit().await?;
        Ok(count)
    }

    /// As [`Self::fold`], not yet made to last.
    pub(super) async fn fold_open(
        &self,
        project: &str,
        limit: u32,
    ) -> Result<(Tx<'_>, u32), StoreError> {
        let mut tx = self.write().await?;
        let (seq, time) = lock(&mut tx, project).await?;
        let Following { events, last, rows } =
            events::following(&mut tx, project, seq, limit).await?;
        if let Some(last) = last {
            let stays = load(&mut tx, project, &events).await?;
            let recordings = load_recordings(&mut tx, project, &events).await?;
            let mut fold = Fold { stays, recordings, ..Fold::default() };
            events.iter().for_each(|event| fold.apply(event));
            save(&mut tx, project, &fold).await?;
            histories::write(&mut tx, project, &events, &fold.tracks).await?;
            let newest = events.iter().map(|event| int(event.time.0)).max().unwrap_or(0);
            sqlx::query("UPDATE usage_checkpoints SET seq = $1, time = $2 WHERE project = $3")
                .bind(last)
                .bind(time.max(newest))
                .bind(project)
                .execute(&mut *tx)
                .await?;
        }
        Ok((tx, u32::try_from(rows).unwrap_or(u32::MAX)))
    }

    /// Up to which event a project's usage is counted.
    pub(crate) async fn folded(&self, project: &str) -> Result<u64, StoreError> {
        let mut connection = self.readers.acquire().await?;
        folded(&mut connection, project).await
    }

    /// Up to which event a project's usage is counted, its usage and, if `running`, the stays that
    /// go on, of one moment: a stay that ends is in one of the two.
    pub(crate) async fn usage_at_once(
        &self,
        project: &str,
        wanted: &UsageWanted,
        running: bool,
    ) -> Result<(u64, Usage, Option<Fold>), StoreError> {
        let begin = match self.dialect {
            Dialect::Sqlite => "BEGIN",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        let mut tx = self.readers.begin_with(begin).await?;
        let seq = folded(&mut tx, project).await?;
        let usage = usage(&mut tx, project, wanted).await?;
        let open = if running { Some(going_on(&mut tx, project).await?) } else { None };
        tx.rollback().await?;
        Ok((seq, usage, open))
    }

    /// Everything that is counted, and up to which event, at one moment.
    pub(crate) async fn whole_usage(&self, project: &str) -> Result<(Usage, u64), StoreError> {
        let mut tx = self.write().await?;
        let (seq, _) = lock(&mut tx, project).await?;
        let columns = COLUMNS.join(", ");
        let sql = format!(
            "SELECT room AS g_room, day AS g_day, {columns} FROM usage_days WHERE project = $1"
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(project).fetch_all(&mut *tx).await?;
        tx.commit().await?;
        let usage: Result<_, StoreError> = rows.iter().map(amounts).collect();
        Ok((usage?, unsigned(seq, "usage_checkpoints.seq")?))
    }
}

async fn folded(connection: &mut AnyConnection, project: &str) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT seq FROM usage_checkpoints WHERE project = $1")
        .bind(project)
        .fetch_optional(connection)
        .await?;
    row.map_or(Ok(0), |row| unsigned(row.try_get("seq")?, "usage_checkpoints.seq"))
}

/// Usage of a project in groups, in their order. A group without rooms has the room ``, one
/// without days the first day.
async fn usage(
    connection: &mut AnyConnection,
    project: &str,
    wanted: &UsageWanted,
) -> Result<Usage, StoreError> {
    let (room, day) = match wanted.group {
        UsageGroup::Project => ("CAST('' AS TEXT)", "CAST(0 AS BIGINT)"),
        UsageGroup::Day => ("CAST('' AS TEXT)", "day"),
        UsageGroup::Room => ("room", "CAST(0 AS BIGINT)"),
        UsageGroup::RoomDay => ("room", "day"),
    };
    let sums = COLUMNS.map(|name| format!("CAST(SUM({name}) AS BIGINT) AS {name}")).join(", ");
    let sql = format!(
        "SELECT * FROM (SELECT {room} AS g_room, {day} AS g_day, {sums} FROM usage_days \
         WHERE project = $1 AND day >= $2 AND day <= $3 AND ($4 = '' OR room = $4) \
         GROUP BY 1, 2) AS g WHERE g_room > $5 OR (g_room = $5 AND g_day > $6) \
         ORDER BY g_room, g_day LIMIT $7",
    );
    let (room, day) =
        wanted.after.clone().map_or((String::new(), -1), |(room, day)| (room, i64::from(day.0)));
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(project)
        .bind(i64::from(wanted.days.0.0))
        .bind(i64::from(wanted.days.1.0))
        .bind(wanted.room.map(|room| room.to_string()).unwrap_or_default())
        .bind(room)
        .bind(day)
        .bind(i64::from(wanted.limit))
        .fetch_all(connection)
        .await?;
    rows.iter().map(amounts).collect()
}

/// The stays and recordings of a project that go on.
async fn going_on(connection: &mut AnyConnection, project: &str) -> Result<Fold, StoreError> {
    let rows = sqlx::query(
        "SELECT participant, room, hidden, joined_at, left_at, tracks FROM usage_stays \
         WHERE project = $1 AND left_at IS NULL",
    )
    .bind(project)
    .fetch_all(&mut *connection)
    .await?;
    let stays: Result<_, StoreError> = rows.iter().map(stay).collect();
    let rows =
        sqlx::query("SELECT recording, room, since FROM usage_recordings WHERE project = $1")
            .bind(project)
            .fetch_all(connection)
            .await?;
    let recordings: Result<_, StoreError> = rows.iter().map(run).collect();
    Ok(Fold { stays: stays?, recordings: recordings?, ..Fold::default() })
}

const COLUMNS: [&str; 9] = [
    "stays",
    "participant_ms",
    "camera_ms",
    "microphone_ms",
    "screen_ms",
    "screen_audio_ms",
    "recorded_ms",
    "bytes_received",
    "bytes_sent",
];

/// Holds a project's checkpoint until the end of the transaction: one counts at a time. Returns its
/// seq and time.
pub(super) async fn lock(tx: &mut AnyConnection, project: &str) -> Result<(i64, i64), StoreError> {
    sqlx::query(
        "INSERT INTO usage_checkpoints (project, seq, time) VALUES ($1, 0, 0) \
         ON CONFLICT (project) DO NOTHING",
    )
    .bind(project)
    .execute(&mut *tx)
    .await?;
    let row = sqlx::query(
        "UPDATE usage_checkpoints SET seq = seq WHERE project = $1 RETURNING seq, time",
    )
    .bind(project)
    .fetch_one(&mut *tx)
    .await?;
    Ok((row.try_get("seq")?, row.try_get("time")?))
}

/// The stays that these events can touch.
async fn load(
    tx: &mut AnyConnection,
    project: &str,
    events: &[Event],
) -> Result<BTreeMap<String, Stay>, StoreError> {
    let mut named = BTreeSet::new();
    let mut ended = BTreeSet::new();
    for event in events {
        match &event.what {
            What::RoomEnded { .. } => ended.extend(event.room.clone()),
            What::ParticipantJoined { participant, .. }
            | What::ParticipantLeft { participant, .. }
            | What::TrackPublished { participant, .. }
            | What::TrackUnpublished { participant, .. }
            | What::MediaTransferred { participant, .. } => {
                named.insert(participant.clone());
            }
            _ => {}
        }
    }
    let mut stays = BTreeMap::new();
    for (condition, values) in
        [("participant = $2", named), ("room = $2 AND left_at IS NULL", ended)]
    {
        let sql = format!(
            "SELECT participant, room, hidden, joined_at, left_at, tracks FROM usage_stays \
             WHERE project = $1 AND {condition}"
        );
        for value in values {
            let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(project).bind(value);
            for row in query.fetch_all(&mut *tx).await? {
                stays.extend([stay(&row)?]);
            }
        }
    }
    Ok(stays)
}

/// The recordings that these events can touch. Without a row it is over, or never was.
async fn load_recordings(
    tx: &mut AnyConnection,
    project: &str,
    events: &[Event],
) -> Result<BTreeMap<String, Option<Run>>, StoreError> {
    let mut runs = BTreeMap::new();
    for event in events {
        let (sql, value) = match &event.what {
            What::RoomEnded { .. } => (
                "SELECT recording, room, since FROM usage_recordings \
                 WHERE project = $1 AND room = $2",
                event.room.clone().unwrap_or_default(),
            ),
            What::RecordingStarted { recording }
            | What::RecordingPaused { recording }
            | What::RecordingResumed { recording }
            | What::RecordingStopped { recording, .. } => (
                "SELECT recording, room, since FROM usage_recordings \
                 WHERE project = $1 AND recording = $2",
                recording.clone(),
            ),
            _ => continue,
        };
        for row in sqlx::query(sql).bind(project).bind(value).fetch_all(&mut *tx).await? {
            runs.extend([run(&row)?]);
        }
    }
    Ok(runs)
}

fn run(row: &AnyRow) -> Result<(String, Option<Run>), StoreError> {
    let since: Option<i64> = row.try_get("since")?;
    let since_ms = since.map(|since| unsigned(since, "usage_recordings.since")).transpose()?;
    Ok((row.try_get("recording")?, Some(Run { room: row.try_get("room")?, since_ms })))
}

async fn save_recordings(
    tx: &mut AnyConnection,
    project: &str,
    recordings: &BTreeMap<String, Option<Run>>,
) -> Result<(), StoreError> {
    for (recording, run) in recordings {
        let query = match run {
            None => {
                sqlx::query("DELETE FROM usage_recordings WHERE project = $1 AND recording = $2")
                    .bind(project)
                    .bind(recording)
            }
            Some(run) => sqlx::query(
                "INSERT INTO usage_recordings (project, recording, room, since) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT (project, recording) \
                 DO UPDATE SET since = excluded.since",
            )
            .bind(project)
            .bind(recording)
            .bind(&run.room)
            .bind(run.since_ms.map(int)),
        };
        query.execute(&mut *tx).await?;
    }
    Ok(())
}

async fn save(tx: &mut AnyConnection, project: &str, fold: &Fold) -> Result<(), StoreError> {
    save_recordings(tx, project, &fold.recordings).await?;
    for (participant, stay) in &fold.stays {
        sqlx::query(
            "INSERT INTO usage_stays (project, participant, room, hidden, joined_at, left_at, \
             tracks) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (project, participant) \
             DO UPDATE SET left_at = excluded.left_at, tracks = excluded.tracks",
        )
        .bind(project)
        .bind(participant)
        .bind(&stay.room)
        .bind(i64::from(stay.hidden))
        .bind(int(stay.joined_ms))
        .bind(stay.left_ms.map(int))
        .bind(serde_json::to_string(&stay.tracks).unwrap_or_default())
        .execute(&mut *tx)
        .await?;
    }
    let sums = COLUMNS.map(|name| format!("{name} = usage_days.{name} + excluded.{name}"));
    let sql = format!(
        "INSERT INTO usage_days (project, room, day, {}) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT (project, room, day) DO UPDATE SET {}",
        COLUMNS.join(", "),
        sums.join(", "),
    );
    for ((room, day), amounts) in &fold.usage {
        let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(project).bind(room);
        bind(query.bind(i64::from(day.0)), amounts).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Binds the amounts in the order of [`COLUMNS`].
fn bind<'q>(
    query: Query<'q, Any, <Any as sqlx::Database>::Arguments>,
    amounts: &Amounts,
) -> Query<'q, Any, <Any as sqlx::Database>::Arguments> {
    query
        .bind(int(amounts.stays))
        .bind(int(amounts.participant_ms))
        .bind(int(amounts.tracks.camera))
        .bind(int(amounts.tracks.microphone))
        .bind(int(amounts.tracks.screen))
        .bind(int(amounts.tracks.screen_audio))
        .bind(int(amounts.recorded_ms))
        .bind(int(amounts.received))
        .bind(int(amounts.sent))
}

fn amounts(row: &AnyRow) -> Result<((String, Day), Amounts), StoreError> {
    let number = |name: &'static str| unsigned(row.try_get(name)?, "usage_days");
    let day = u32::try_from(number("g_day")?).map_err(|_| StoreError::Corrupt("usage_days.day"))?;
    let amounts = Amounts {
        stays: number("stays")?,
        participant_ms: number("participant_ms")?,
        tracks: tracks(row)?,
        recorded_ms: number("recorded_ms")?,
        received: number("bytes_received")?,
        sent: number("bytes_sent")?,
    };
    Ok(((row.try_get("g_room")?, Day(day)), amounts))
}

/// Reads the columns camera_ms, microphone_ms, screen_ms, screen_audio_ms.
pub(super) fn tracks(row: &AnyRow) -> Result<TrackMs, StoreError> {
    let number = |name: &'static str| unsigned(row.try_get(name)?, name);
    Ok(TrackMs {
        camera: number("camera_ms")?,
        microphone: number("microphone_ms")?,
        screen: number("screen_ms")?,
        screen_audio: number("screen_audio_ms")?,
    })
}

fn stay(row: &AnyRow) -> Result<(String, Stay), StoreError> {
    let tracks: String = row.try_get("tracks")?;
    let hidden: i64 = row.try_get("hidden")?;
    let left: Option<i64> = row.try_get("left_at")?;
    let stay = Stay {
        room: row.try_get("room")?,
        hidden: hidden != 0,
        joined_ms: unsigned(row.try_get("joined_at")?, "usage_stays.joined_at")?,
        left_ms: left.map(|left| unsigned(left, "usage_stays.left_at")).transpose()?,
        tracks: serde_json::from_str(&tracks)
            .map_err(|_| StoreError::Corrupt("usage_stays.tracks"))?,
    };
    Ok((row.try_get("participant")?, stay))
}

#[cfg(test)]
mod tests;
