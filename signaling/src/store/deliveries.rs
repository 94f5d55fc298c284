//! Events on their way to webhook endpoints: what partners list, and what the process that owns an
//! endpoint reads and writes.

use sdk_spec::rest::{
    Timestamp,
    webhooks::{Delivery, DeliveryResult, DeliveryState},
};
use serde::Serialize;
use serde_json::Value;
use sqlx::{AnyConnection, Row as _, any::AnyRow};

use super::{
    Dialect, NewEvent, Store, StoreError, Tx, int, unsigned,
    webhooks::{By, Standing, WebhookRow, audit},
};
use crate::{
    domain::Actor,
    limits,
    webhook::{Entry, Health, Stop},
};

/// An event as it is sent. No `Debug`: it holds a handle.
pub(crate) struct Payload {
    /// Event id.
    pub(crate) event: String,
    /// [`sdk_spec::event::Event`] as JSON.
    pub(crate) body: Vec<u8>,
}

/// An endpoint of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) id: String,
    pub(crate) version: u64,
    pub(crate) until_ms: u64,
    /// Last number of the project's event log.
    pub(crate) end: u64,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) seq: u64,
    pub(crate) state: DeliveryState,
    pub(crate) attempts: u32,
    pub(crate) next_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) result: DeliveryResult,
}

/// What the owner of an endpoint writes in one step.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) id: String,
    pub(crate) project: String,
    /// As read; what was changed since by others is not overwritten.
    pub(crate) version: u64,
    pub(crate) health: Health,
    pub(crate) stop: Option<Stop>,
    /// It works again: nothing waits for its time any longer.
    pub(crate) hurries: bool,
    /// When there is something to send; none is never.
    pub(crate) next_ms: Option<u64>,
    pub(crate) settled: Vec<Settled>,
    /// Events up to this number were taken up.
    pub(crate) after: u64,
    pub(crate) taken_up: Vec<Entry>,
}

/// What of a [`Step`] is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    Whole,
    /// What became of deliveries: others changed the endpoint since it was read.
    Settled,
    /// It is no longer the owner's.
    Nothing,
}

/// Filters of an endpoint, by the names of their parameters, hold for an event.
macro_rules! filter {
    ($types:literal, $room:literal) => {
        concat!(
            // Each endpoint is sent its own tests, at once.
            " type <> 'webhook.test' AND (",
            $types,
            " = '' OR ' ' || ",
            $types,
            " || ' ' LIKE '% ' || type || ' %') AND (",
            $room,
            " = '' OR room = ",
            $room,
            ") "
        )
    };
}
pub(super) use filter;

impl Store {
    /// Deliveries of an endpoint with lower numbers than `before`, highest first.
    pub(crate) async fn deliveries(
        &self,
        project: &str,
        webhook: &str,
        state: Option<DeliveryState>,
        before: u64,
        limit: u32,
    ) -> Result<Vec<Delivery>, StoreError> {
        let rows = sqlx::query(
            "SELECT seq, event, state, attempts, created_at, next_at, last_at, last_result \
             FROM deliveries WHERE webhook = $1 AND project = $2 AND seq < $3 \
             AND ($4 = '' OR state = $4) ORDER BY seq DESC LIMIT $5",
        )
        .bind(webhook)
        .bind(project)
        .bind(int(before))
        .bind(state.map_or("", DeliveryState::as_str))
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read_delivery).collect()
    }

    /// Forgets who owned which endpoint, where no other process can own any.
    pub(crate) async fn forget_webhook_owners(&self) -> Result<(), StoreError> {
        if self.dialect == Dialect::Sqlite {
            let mut tx = self.write().await?;
            sqlx::query("UPDATE webhooks SET owner = NULL WHERE owner IS NOT NULL")
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Gives up what `owner` owns, so that others can have it at once.
    pub(crate) async fn release_webhooks(&self, owner: &str) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        sqlx::query("UPDATE webhooks SET owner = NULL WHERE owner = $1")
            .bind(owner)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Whether nobody owns an endpoint that has something to send and no open breaker.
    pub(crate) async fn has_waiting_webhooks(&self, now_ms: u64) -> Result<bool, StoreError> {
        let found = sqlx::query(
            "SELECT w.id FROM webhooks w JOIN projects p ON p.id = w.project \
             WHERE w.state = 'enabled' AND (w.owner IS NULL OR w.owner_until <= $1) \
             AND (w.open_until IS NULL OR w.open_until <= $1) \
             AND (w.after_seq < p.event_seq OR w.next_at <= $1) LIMIT 1",
        );
        Ok(found.bind(int(now_ms)).fetch_optional(&self.readers).await?.is_some())
    }

    /// Gives up some of them.
    pub(crate) async fn release_some_webhooks(
        &self,
        owner: &str,
        ids: &[String],
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for id in ids {
            sqlx::query("UPDATE webhooks SET owner = NULL WHERE id = $1 AND owner = $2")
                .bind(id)
                .bind(owner)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await
    }

    /// Makes `owner` the owner, until `until_ms`, of up to `limit` endpoints that nobody owns and
    /// that have something to send, those with an open breaker last. Returns how many there were.
    pub(crate) async fn claim_webhooks(
        &self,
        owner: &str,
        until_ms: u64,
        limit: usize,
        now_ms: u64,
    ) -> Result<u64, StoreError> {
        const FREE: &str = "SELECT w.id FROM webhooks w JOIN projects p ON p.id = w.project \
            WHERE w.state = 'enabled' AND (w.owner IS NULL OR w.owner_until <= $1) \
            AND (w.after_seq < p.event_seq OR w.next_at <= $1) LIMIT $2";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = sqlx::query(FREE).bind(int(now_ms)).bind(limit);
        if found.fetch_optional(&self.readers).await?.is_none() {
            return Ok(0);
        }
        let mut tx = self.write().await?;
        let sql = match tx.dialect() {
            Dialect::Sqlite => CLAIM_SQLITE,
            Dialect::Postgres => CLAIM_POSTGRES,
        };
        let done = sqlx::query(sql)
            .bind(int(now_ms))
            .bind(limit)
            .bind(owner)
            .bind(int(until_ms))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }

    /// What `owner` owns now.
    pub(crate) async fn owned_webhooks(
        &self,
        owner: &str,
        now_ms: u64,
    ) -> Result<Vec<Owned>, StoreError> {
        let rows = sqlx::query(
            "SELECT w.id, w.version, w.owner_until, p.event_seq FROM webhooks w \
             JOIN projects p ON p.id = w.project \
             WHERE w.owner = $1 AND w.owner_until > $2 AND w.state = 'enabled' ORDER BY w.id",
        )
        .bind(owner)
        .bind(int(now_ms))
        .fetch_all(&self.readers)
        .await?;
        let read = |row: &AnyRow| {
            Ok(Owned {
                id: row.try_get("id")?,
                version: unsigned(row.try_get("version")?, "webhooks.version")?,
                until_ms: unsigned(row.try_get("owner_until")?, "webhooks.owner_until")?,
                end: unsigned(row.try_get("event_seq")?, "projects.event_seq")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Pending deliveries of an endpoint, oldest events first.
    pub(crate) async fn pending_deliveries(
        &self,
        webhook: &str,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let rows = sqlx::query(
            "SELECT seq, event, lane, attempts, created_at, next_at, last_at FROM deliveries \
             WHERE webhook = $1 AND state = 'pending' ORDER BY seq LIMIT $2",
        )
        .bind(webhook)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(read_entry).collect()
    }

    /// The next events for an endpoint after number `after` and up to `end`.
    pub(crate) async fn next_for_webhook(
        &self,
        row: &WebhookRow,
        (after, end): (u64, u64),
        limit: usize,
        now_ms: u64,
    ) -> Result<Vec<Entry>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT seq, id, COALESCE(room, '') AS lane FROM events WHERE project = $1 \
             AND seq > $2 AND seq <= $3 AND",
            filter!("$4", "$5"),
            "ORDER BY seq LIMIT $6"
        ))
        .bind(&row.project)
        .bind(int(after))
        .bind(int(end))
        .bind(row.types.join(" "))
        .bind(row.room.as_deref().unwrap_or_default())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.readers)
        .await?;
        let read = |row: &AnyRow| {
            Ok(Entry {
                seq: unsigned(row.try_get("seq")?, "events.seq")?,
                event: row.try_get("id")?,
                lane: row.try_get::<String, _>("lane")?.into(),
                attempts: 0,
                created_ms: now_ms,
                next_ms: now_ms,
                last_ms: None,
            })
        };
        rows.iter().map(read).collect()
    }

    /// An event of a project, as it is sent. `None` when it is no longer kept.
    pub(crate) async fn webhook_payload(
        &self,
        project: &str,
        seq: u64,
    ) -> Result<Option<Payload>, StoreError> {
        let row = sqlx::query(
            "SELECT id, seq, time, room, room_seq, type, data FROM events \
             WHERE project = $1 AND seq = $2",
        )
        .bind(project)
        .bind(int(seq))
        .fetch_optional(&self.readers)
        .await?;
        row.as_ref().map(Payload::read).transpose()
    }

    /// Writes what the owner of endpoints did, and keeps them until `until_ms`. Tells of each step
    /// what was written.
    pub(crate) async fn step_webhooks(
        &self,
        owner: &str,
        steps: &[Step],
        until_ms: u64,
        now_ms: u64,
    ) -> Result<Vec<Written>, StoreError> {
        let mut tx = self.write().await?;
        let (mut all, mut stops) = (Vec::new(), Vec::new());
        for step in steps {
            let is_current = write_step(&mut tx, owner, step, until_ms).await?;
            if !is_current && !keep(&mut tx, owner, &step.id, until_ms, now_ms).await? {
                all.push(Written::Nothing);
                continue;
            }
            for settled in &step.settled {
                settle(&mut tx, step, settled).await?;
            }
            if is_current {
                take_up(&mut tx, step, now_ms).await?;
                stops.extend(step.stop.map(|stop| (step, stop)));
            }
            all.push(if is_current { Written::Whole } else { Written::Settled });
        }
        // Endpoints are held before projects, and projects in one order, by everybody.
        stops.sort_by(|(a, _), (b, _)| a.project.cmp(&b.project));
        for (step, stop) in stops {
            tell_stop(&mut tx, step, stop, now_ms).await?;
        }
        tx.commit().await?;
        Ok(all)
    }
}

const CLAIM_SQLITE: &str = "UPDATE webhooks SET owner = $3, owner_until = $4 WHERE id IN (\
    SELECT w.id FROM webhooks w JOIN projects p ON p.id = w.project \
    WHERE w.state = 'enabled' AND (w.owner IS NULL OR w.owner_until <= $1) \
    AND (w.after_seq < p.event_seq OR w.next_at <= $1) \
    ORDER BY CASE WHEN w.open_until > $1 THEN 1 ELSE 0 END, w.owner_until LIMIT $2)";
/// Without `SKIP LOCKED` two processes would claim the same rows.
const CLAIM_POSTGRES: &str = "UPDATE webhooks SET owner = $3, owner_until = $4 WHERE id IN (\
    SELECT w.id FROM webhooks w JOIN projects p ON p.id = w.project \
    WHERE w.state = 'enabled' AND (w.owner IS NULL OR w.owner_until <= $1) \
    AND (w.after_seq < p.event_seq OR w.next_at <= $1) \
    ORDER BY CASE WHEN w.open_until > $1 THEN 1 ELSE 0 END, w.owner_until LIMIT $2 \
    FOR UPDATE OF w SKIP LOCKED)";

/// `false` when others changed the endpoint, or own it.
async fn write_step(
    tx: &mut Tx<'_>,
    owner: &str,
    step: &Step,
    until_ms: u64,
) -> Result<bool, StoreError> {
    let standing = step.stop.map_or(Standing::Enabled, Standing::Stopped);
    let done = sqlx::query(
        "UPDATE webhooks SET after_seq = $1, next_at = $2, failures = $3, failing_since = $4, \
         probes = $5, open_until = $6, state = $7, owner_until = $8 \
         WHERE id = $9 AND owner = $10 AND version = $11 AND state = 'enabled'",
    )
    .bind(int(step.after))
    .bind(step.next_ms.map(int))
    .bind(i64::from(step.health.failures))
    .bind(step.health.failing_since_ms.map(int))
    .bind(i64::from(step.health.probes))
    .bind(step.health.open_until_ms.map(int))
    .bind(standing.as_str())
    .bind(int(until_ms))
    .bind(&step.id)
    .bind(owner)
    .bind(int(step.version))
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Keeps an endpoint that was changed meanwhile, and holds it for the transaction.
async fn keep(
    tx: &mut Tx<'_>,
    owner: &str,
    id: &str,
    until_ms: u64,
    now_ms: u64,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE webhooks SET owner_until = $1, next_at = $2 WHERE id = $3 AND owner = $4",
    )
    .bind(int(until_ms))
    .bind(int(now_ms))
    .bind(id)
    .bind(owner)
    .execute(&mut **tx)
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn settle(tx: &mut Tx<'_>, step: &Step, settled: &Settled) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE deliveries SET state = $1, attempts = $2, next_at = $3, last_at = $4, \
         last_result = $5 WHERE webhook = $6 AND seq = $7 AND state = 'pending'",
    )
    .bind(settled.state.as_str())
    .bind(i64::from(settled.attempts))
    .bind(int(settled.next_ms))
    .bind(int(settled.last_ms))
    .bind(settled.result.as_str())
    .bind(&step.id)
    .bind(int(settled.seq))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn take_up(tx: &mut Tx<'_>, step: &Step, now_ms: u64) -> Result<(), StoreError> {
    for entry in &step.taken_up {
        sqlx::query(
            "INSERT INTO deliveries (webhook, seq, project, event, lane, state, attempts, \
             created_at, next_at) VALUES ($1, $2, $3, $4, $5, 'pending', 0, $6, $6) \
             ON CONFLICT (webhook, seq) DO NOTHING",
        )
        .bind(&step.id)
        .bind(int(entry.seq))
        .bind(&step.project)
        .bind(&entry.event)
        .bind(&*entry.lane)
        .bind(int(now_ms))
        .execute(&mut **tx)
        .await?;
    }
    if step.hurries {
        sqlx::query(
            "UPDATE deliveries SET next_at = $1 WHERE webhook = $2 AND state = 'pending' \
             AND next_at > $1",
        )
        .bind(int(now_ms))
        .bind(&step.id)
        .execute(&mut **tx)
        .await?;
    }
    Ok(())
}

/// Tells the partner that an endpoint was disabled.
async fn tell_stop(
    tx: &mut Tx<'_>,
    step: &Step,
    stop: Stop,
    now_ms: u64,
) -> Result<(), StoreError> {
    let reason = Standing::Stopped(stop).as_str().to_owned();
    let what = sdk_spec::event::What::WebhookDisabled { webhook: step.id.clone(), reason };
    tx.record(&step.project, &NewEvent { room: None, time_ms: now_ms, what }).await?;
    let by = By { project: &step.project, actor: &Actor::System, now_ms };
    audit(tx, "webhook.disable", &step.id, (None, None), by).await
}

impl Payload {
    /// The event that this transaction recorded last.
    pub(super) async fn last(tx: &mut AnyConnection, project: &str) -> Result<Self, StoreError> {
        let row = sqlx::query(
            "SELECT id, seq, time, room, room_seq, type, data FROM events \
             WHERE project = $1 AND seq = (SELECT event_seq FROM projects WHERE id = $1)",
        )
        .bind(project)
        .fetch_one(&mut *tx)
        .await?;
        Self::read(&row)
    }

    /// Written from the row, without a detour by [`sdk_spec::event::Event`]: what an older or newer
    /// version recorded is sent as it is.
    fn read(row: &AnyRow) -> Result<Self, StoreError> {
        #[derive(Serialize)]
        struct Event<'a> {
            id: &'a str,
            seq: i64,
            time: Timestamp,
            #[serde(skip_serializing_if = "Option::is_none")]
            room: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            room_seq: Option<i64>,
            #[serde(rename = "type")]
            kind: String,
            data: Value,
        }
        let event: String = row.try_get("id")?;
        let data: String = row.try_get("data")?;
        let body = serde_json::to_vec(&Event {
            id: &event,
            seq: row.try_get("seq")?,
            time: Timestamp(unsigned(row.try_get("time")?, "events.time")?),
            room: row.try_get("room")?,
            room_seq: row.try_get("room_seq")?,
            kind: row.try_get("type")?,
            data: serde_json::from_str(&data).map_err(|_| StoreError::Corrupt("events.data"))?,
        });
        Ok(Self { body: body.map_err(|_| StoreError::Corrupt("events"))?, event })
    }
}

fn read_entry(row: &AnyRow) -> Result<Entry, StoreError> {
    let last: Option<i64> = row.try_get("last_at")?;
    let attempts = u32::try_from(row.try_get::<i64, _>("attempts")?);
    Ok(Entry {
        seq: unsigned(row.try_get("seq")?, "deliveries.seq")?,
        event: row.try_get("event")?,
        lane: row.try_get::<String, _>("lane")?.into(),
        attempts: attempts.map_err(|_| StoreError::Corrupt("deliveries.attempts"))?,
        created_ms: unsigned(row.try_get("created_at")?, "deliveries.created_at")?,
        next_ms: unsigned(row.try_get("next_at")?, "deliveries.next_at")?,
        last_ms: last.map(|last| unsigned(last, "deliveries.last_at")).transpose()?,
    })
}

fn read_delivery(row: &AnyRow) -> Result<Delivery, StoreError> {
    const STATES: [DeliveryState; 3] =
        [DeliveryState::Pending, DeliveryState::Delivered, DeliveryState::Dead];
    let corrupt = StoreError::Corrupt;
    let state: String = row.try_get("state")?;
    let state = STATES.into_iter().find(|s| s.as_str() == state);
    let state = state.ok_or(corrupt("deliveries.state"))?;
    let result: Option<String> = row.try_get("last_result")?;
    let result = result.map(|text| {
        let mut all = DeliveryResult::ALL.iter().copied();
        all.find(|r| r.as_str() == text).ok_or(corrupt("deliveries.last_result"))
    });
    let last: Option<i64> = row.try_get("last_at")?;
    let next = unsigned(row.try_get("next_at")?, "deliveries.next_at")?;
    let attempts = u32::try_from(row.try_get::<i64, _>("attempts")?);
    Ok(Delivery {
        event: row.try_get("event")?,
        seq: unsigned(row.try_get("seq")?, "deliveries.seq")?,
        state,
        attempts: attempts.map_err(|_| corrupt("deliveries.attempts"))?,
        created_at: Timestamp(unsigned(row.try_get("created_at")?, "deliveries.created_at")?),
        last_attempt_at: match last {
            Some(last) => Some(Timestamp(unsigned(last, "deliveries.last_at")?)),
            None => None,
        },
        last_result: result.transpose()?,
        next_attempt_at: (state == DeliveryState::Pending).then_some(Timestamp(next)),
    })
}

/// What is deleted in time, for [`Store::purge`].
pub(super) fn expired(now_ms: u64) -> [(&'static str, &'static str, u64); 2] {
    let before = |kept_ms| now_ms.saturating_sub(kept_ms);
    [
        (
            "deliveries",
            "state = 'delivered' AND last_at < $1",
            before(limits::WEBHOOK_DELIVERED_MS),
        ),
        ("deliveries", "state = 'dead' AND last_at < $1", before(limits::WEBHOOK_DEAD_MS)),
    ]
}
