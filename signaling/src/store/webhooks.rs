//! Webhook endpoints, as partners see and change them.

use sdk_spec::{
    event::What,
    rest::webhooks::{CreateWebhook, Scheme, UpdateWebhook},
};
use serde_json::json;
use sqlx::{Row as _, any::AnyRow};

use super::{Change, NewEvent, Store, StoreError, Tx, deliveries::Payload, int, unsigned};
use crate::{
    domain::Actor,
    vault::Vault,
    webhook::{Health, Secrets, Stop, Target},
};

/// Whether an endpoint is sent anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Enabled,
    /// By the partner.
    Disabled,
    /// By its own answers.
    Stopped(Stop),
}

impl Standing {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Stopped(Stop::Gone) => "gone",
            Self::Stopped(Stop::GivenUp) => "given_up",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let all = [
            Self::Enabled,
            Self::Disabled,
            Self::Stopped(Stop::Gone),
            Self::Stopped(Stop::GivenUp),
        ];
        all.into_iter().find(|standing| standing.as_str() == text)
    }
}

/// An endpoint. No `Debug`: it holds secrets.
#[derive(Clone)]
pub(crate) struct WebhookRow {
    pub(crate) id: String,
    pub(crate) project: String,
    pub(crate) created_at_ms: u64,
    pub(crate) target: Target,
    pub(crate) types: Vec<String>,
    pub(crate) room: Option<String>,
    pub(crate) standing: Standing,
    pub(crate) health: Health,
    /// Counts what others than its owner change.
    pub(crate) version: u64,
    /// Events up to this number were taken up.
    pub(crate) after: u64,
}

impl WebhookRow {
    /// What was set, for the audit log.
    fn canonical(&self) -> Vec<u8> {
        let value = json!({
            "url": self.target.url,
            "types": self.types,
            "room": self.room,
            "enabled": self.standing == Standing::Enabled,
            "signatures": self.target.schemes,
        });
        value.to_string().into_bytes()
    }

    fn apply(&mut self, wish: UpdateWebhook) {
        if let Some(url) = wish.url {
            self.target.url = url;
            self.health = Health::default();
        }
        self.types = wish.types.unwrap_or(std::mem::take(&mut self.types));
        self.room = wish.room.unwrap_or(self.room.take());
        let schemes = std::mem::take(&mut self.target.schemes);
        self.target.schemes = wish.signatures.unwrap_or(schemes);
        match wish.enabled {
            Some(true) if self.standing != Standing::Enabled => {
                self.standing = Standing::Enabled;
                self.health = Health::default();
            }
            // Why it was stopped stays known.
            Some(false) if self.standing == Standing::Enabled => self.standing = Standing::Disabled,
            _ => {}
        }
    }
}

/// Who changes an endpoint, and when.
#[derive(Clone, Copy)]
pub(crate) struct By<'a> {
    pub(crate) project: &'a str,
    pub(crate) actor: &'a Actor,
    pub(crate) now_ms: u64,
}

/// Columns of [`read`].
macro_rules! columns {
    () => {
        "id, project, created_at, url, types, room, signatures, state, secrets, previous, \
         previous_until, version, after_seq, failures, failing_since, probes, open_until"
    };
}

impl Store {
    /// Stores an endpoint that gets what happens from now on. `None` when the project has
    /// `webhooks_max` already.
    pub(crate) async fn create_webhook(
        &self,
        id: &str,
        wish: CreateWebhook,
        webhooks_max: u32,
        by: By<'_>,
    ) -> Result<Option<WebhookRow>, StoreError> {
        let mut tx = self.write().await?;
        let end = lock_project(&mut tx, by.project).await?;
        let count = sqlx::query("SELECT COUNT(*) AS n FROM webhooks WHERE project = $1")
            .bind(by.project)
            .fetch_one(&mut *tx)
            .await?;
        if count.try_get::<i64, _>("n")? >= i64::from(webhooks_max) {
            return Ok(None);
        }
        let row = WebhookRow {
            id: id.to_owned(),
            project: by.project.to_owned(),
            created_at_ms: by.now_ms,
            target: Target {
                url: wish.url,
                schemes: wish.signatures,
                secrets: Secrets::random(),
                previous: None,
            },
            types: wish.types,
            room: wish.room,
            standing: if wish.enabled { Standing::Enabled } else { Standing::Disabled },
            health: Health::default(),
            version: 1,
            after: end,
        };
        insert(&mut tx, &row).await?;
        audit(&mut tx, "webhook.create", id, (None, Some(row.canonical())), by).await?;
        tx.commit().await?;
        Ok(Some(row))
    }

    /// The endpoints of a project, oldest first.
    pub(crate) async fn webhooks(&self, project: &str) -> Result<Vec<WebhookRow>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM webhooks WHERE project = $1 ORDER BY created_at, id"
        ))
        .bind(project)
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(|row| read(row, &self.vault)).collect()
    }

    /// An endpoint of a project.
    pub(crate) async fn webhook(
        &self,
        project: &str,
        id: &str,
    ) -> Result<Option<WebhookRow>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM webhooks WHERE id = $1 AND project = $2"
        ))
        .bind(id)
        .bind(project)
        .fetch_optional(&self.readers)
        .await?;
        row.map(|row| read(&row, &self.vault)).transpose()
    }

    /// An endpoint of whatever project, for its owner.
    pub(crate) async fn webhook_to_serve(
        &self,
        id: &str,
    ) -> Result<Option<WebhookRow>, StoreError> {
        let row = sqlx::query(concat!("SELECT ", columns!(), " FROM webhooks WHERE id = $1"))
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        row.map(|row| read(&row, &self.vault)).transpose()
    }

    /// Changes an endpoint. `None` when there is none.
    pub(crate) async fn update_webhook(
        &self,
        id: &str,
        wish: UpdateWebhook,
        by: By<'_>,
    ) -> Result<Option<WebhookRow>, StoreError> {
        let mut tx = self.write().await?;
        let Some(mut row) = lock(&mut tx, by.project, id).await? else { return Ok(None) };
        let before = row.canonical();
        row.apply(wish);
        write(&mut tx, &row, by.now_ms).await?;
        // Whatever is waiting may work now.
        sqlx::query(
            "UPDATE deliveries SET next_at = $1 WHERE webhook = $2 AND project = $3 \
             AND state = 'pending' AND next_at > $1",
        )
        .bind(int(by.now_ms))
        .bind(id)
        .bind(by.project)
        .execute(&mut *tx)
        .await?;
        let change = (Some(before), Some(row.canonical()));
        audit(&mut tx, "webhook.update", id, change, by).await?;
        tx.commit().await?;
        Ok(Some(row))
    }

    /// Gives an endpoint new secrets; the old ones sign too until `until_ms`. `None` when there is
    /// no such endpoint.
    pub(crate) async fn rotate_webhook(
        &self,
        id: &str,
        until_ms: u64,
        by: By<'_>,
    ) -> Result<Option<WebhookRow>, StoreError> {
        let mut tx = self.write().await?;
        let Some(mut row) = lock(&mut tx, by.project, id).await? else { return Ok(None) };
        let old = std::mem::replace(&mut row.target.secrets, Secrets::random());
        row.target.previous = (until_ms > by.now_ms).then_some((old, until_ms));
        write(&mut tx, &row, by.now_ms).await?;
        audit(&mut tx, "webhook.rotate", id, (None, None), by).await?;
        tx.commit().await?;
        Ok(Some(row))
    }

    /// Deletes an endpoint and its deliveries. `false` when there is none.
    pub(crate) async fn delete_webhook(&self, id: &str, by: By<'_>) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let Some(row) = lock(&mut tx, by.project, id).await? else { return Ok(false) };
        for sql in [
            "DELETE FROM deliveries WHERE webhook = $1 AND project = $2",
            "DELETE FROM webhooks WHERE id = $1 AND project = $2",
        ] {
            sqlx::query(sql).bind(id).bind(by.project).execute(&mut *tx).await?;
        }
        audit(&mut tx, "webhook.delete", id, (Some(row.canonical()), None), by).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Records a `webhook.test` event. `None` when there is no such endpoint.
    pub(crate) async fn record_webhook_test(
        &self,
        id: &str,
        by: By<'_>,
    ) -> Result<Option<(WebhookRow, Payload)>, StoreError> {
        let mut tx = self.write().await?;
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM webhooks WHERE id = $1 AND project = $2"
        ))
        .bind(id)
        .bind(by.project)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let row = read(&row, &self.vault)?;
        let what = What::WebhookTest { webhook: id.to_owned() };
        let event = NewEvent { room: None, time_ms: by.now_ms, what };
        tx.record(by.project, &event).await?;
        let payload = Payload::last(&mut tx, by.project).await?;
        audit(&mut tx, "webhook.test", id, (None, None), by).await?;
        tx.commit().await?;
        Ok(Some((row, payload)))
    }
}

#[cfg(test)]
impl Store {
    /// Makes a row unreadable.
    #[allow(clippy::unwrap_used, reason = "tests")]
    pub(crate) async fn spoil_webhook(&self, id: &str) {
        let sql = "UPDATE webhooks SET signatures = 'none' WHERE id = $1";
        sqlx::query(sql).bind(id).execute(&self.writer).await.unwrap();
    }
}

/// Holds a project until the end of the transaction; tells the last number of its event log.
async fn lock_project(tx: &mut Tx<'_>, project: &str) -> Result<u64, StoreError> {
    let row =
        sqlx::query("UPDATE projects SET event_seq = event_seq WHERE id = $1 RETURNING event_seq")
            .bind(project)
            .fetch_one(&mut **tx)
            .await?;
    unsigned(row.try_get("event_seq")?, "projects.event_seq")
}

/// Holds an endpoint until the end of the transaction and tells its owner that it changes.
pub(super) async fn lock(
    tx: &mut Tx<'_>,
    project: &str,
    id: &str,
) -> Result<Option<WebhookRow>, StoreError> {
    let row = sqlx::query(concat!(
        "UPDATE webhooks SET version = version + 1 WHERE id = $1 AND project = $2 RETURNING ",
        columns!()
    ))
    .bind(id)
    .bind(project)
    .fetch_optional(&mut **tx)
    .await?;
    row.map(|row| read(&row, tx.vault())).transpose()
}

pub(super) async fn audit(
    tx: &mut Tx<'_>,
    action: &str,
    id: &str,
    (before, after): (Option<Vec<u8>>, Option<Vec<u8>>),
    by: By<'_>,
) -> Result<(), StoreError> {
    tx.audit(&Change {
        tree: by.project,
        actor: by.actor,
        action,
        object: id,
        before: before.as_deref(),
        after: after.as_deref(),
        now_ms: by.now_ms,
    })
    .await
}

async fn insert(tx: &mut Tx<'_>, row: &WebhookRow) -> Result<(), StoreError> {
    let url = tx.vault().seal(&place("url", &row.id), row.target.url.as_bytes());
    let secrets = tx.vault().seal(&place("secrets", &row.id), &row.target.secrets.to_bytes());
    sqlx::query(
        "INSERT INTO webhooks (id, project, created_at, url, types, room, signatures, state, \
         secrets, after_seq) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(&row.id)
    .bind(&row.project)
    .bind(int(row.created_at_ms))
    .bind(url)
    .bind(row.types.join(" "))
    .bind(row.room.as_deref())
    .bind(write_schemes(&row.target.schemes))
    .bind(row.standing.as_str())
    .bind(secrets)
    .bind(int(row.after))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Writes what a partner can change. Its owner looks at it again now.
async fn write(tx: &mut Tx<'_>, row: &WebhookRow, now_ms: u64) -> Result<(), StoreError> {
    let vault = tx.vault();
    let url = vault.seal(&place("url", &row.id), row.target.url.as_bytes());
    let secrets = vault.seal(&place("secrets", &row.id), &row.target.secrets.to_bytes());
    let previous = row.target.previous.as_ref();
    let sealed = previous.map(|(old, _)| vault.seal(&place("previous", &row.id), &old.to_bytes()));
    sqlx::query(
        "UPDATE webhooks SET url = $1, types = $2, room = $3, signatures = $4, state = $5, \
         secrets = $6, previous = $7, previous_until = $8, failures = $9, failing_since = $10, \
         probes = $11, open_until = $12, next_at = $13 WHERE id = $14 AND project = $15",
    )
    .bind(url)
    .bind(row.types.join(" "))
    .bind(row.room.as_deref())
    .bind(write_schemes(&row.target.schemes))
    .bind(row.standing.as_str())
    .bind(secrets)
    .bind(sealed)
    .bind(previous.map(|(_, until_ms)| int(*until_ms)))
    .bind(i64::from(row.health.failures))
    .bind(row.health.failing_since_ms.map(int))
    .bind(i64::from(row.health.probes))
    .bind(row.health.open_until_ms.map(int))
    .bind(int(now_ms))
    .bind(&row.id)
    .bind(&row.project)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Where something sealed stands, so that it opens nowhere else.
fn place(column: &str, id: &str) -> String {
    format!("webhooks.{column}:{id}")
}

fn write_schemes(schemes: &[Scheme]) -> String {
    let name = |scheme: &Scheme| match scheme {
        Scheme::V1 => "v1",
        Scheme::V1a => "v1a",
    };
    schemes.iter().map(name).collect::<Vec<_>>().join(" ")
}

fn read_schemes(text: &str) -> Result<Vec<Scheme>, StoreError> {
    let scheme = |name: &str| match name {
        "v1" => Ok(Scheme::V1),
        "v1a" => Ok(Scheme::V1a),
        _ => Err(StoreError::Corrupt("webhooks.signatures")),
    };
    text.split_whitespace().map(scheme).collect()
}

fn open(vault: &Vault, column: &str, id: &str, sealed: &[u8]) -> Result<Vec<u8>, StoreError> {
    vault.open(&place(column, id), sealed).map_err(|_| StoreError::Sealed)
}

fn open_secrets(
    vault: &Vault,
    column: &str,
    id: &str,
    sealed: &[u8],
) -> Result<Secrets, StoreError> {
    let bytes = open(vault, column, id, sealed)?;
    Secrets::from_bytes(&bytes).ok_or(StoreError::Corrupt("webhooks.secrets"))
}

fn read_target(row: &AnyRow, id: &str, vault: &Vault) -> Result<Target, StoreError> {
    let url: Vec<u8> = row.try_get("url")?;
    let url = String::from_utf8(open(vault, "url", id, &url)?);
    let signatures: String = row.try_get("signatures")?;
    let secrets: Vec<u8> = row.try_get("secrets")?;
    let previous: Option<Vec<u8>> = row.try_get("previous")?;
    let until: Option<i64> = row.try_get("previous_until")?;
    let previous = match previous.zip(until) {
        None => None,
        Some((sealed, until)) => {
            let old = open_secrets(vault, "previous", id, &sealed)?;
            Some((old, unsigned(until, "webhooks.previous_until")?))
        }
    };
    Ok(Target {
        url: url.map_err(|_| StoreError::Corrupt("webhooks.url"))?,
        schemes: read_schemes(&signatures)?,
        secrets: open_secrets(vault, "secrets", id, &secrets)?,
        previous,
    })
}

fn read(row: &AnyRow, vault: &Vault) -> Result<WebhookRow, StoreError> {
    let id: String = row.try_get("id")?;
    let state: String = row.try_get("state")?;
    let types: String = row.try_get("types")?;
    Ok(WebhookRow {
        target: read_target(row, &id, vault)?,
        id,
        project: row.try_get("project")?,
        created_at_ms: unsigned(row.try_get("created_at")?, "webhooks.created_at")?,
        types: types.split_whitespace().map(str::to_owned).collect(),
        room: row.try_get("room")?,
        standing: Standing::parse(&state).ok_or(StoreError::Corrupt("webhooks.state"))?,
        health: read_health(row)?,
        version: unsigned(row.try_get("version")?, "webhooks.version")?,
        after: unsigned(row.try_get("after_seq")?, "webhooks.after_seq")?,
    })
}

fn read_health(row: &AnyRow) -> Result<Health, StoreError> {
    let count = |column: &'static str| -> Result<u32, StoreError> {
        u32::try_from(row.try_get::<i64, _>(column)?).map_err(|_| StoreError::Corrupt(column))
    };
    let time = |column: &'static str| -> Result<Option<u64>, StoreError> {
        let value: Option<i64> = row.try_get(column)?;
        value.map(|value| unsigned(value, column)).transpose()
    };
    Ok(Health {
        failures: count("failures")?,
        failing_since_ms: time("failing_since")?,
        probes: count("probes")?,
        open_until_ms: time("open_until")?,
    })
}
