//! Partners, their projects, and how much a project may have.

use sdk_spec::rest::{
    keys::Used,
    operator::{Quotas, SetQuotas, UpdateProject},
};
use sqlx::{Row as _, any::AnyRow};

use super::{
    After, Author, Creation, IdempotentRequest, OPERATOR_TREE, SigningKey, Store, StoreError, Tx,
    int, unsigned,
};

/// Who has projects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    /// `pt_…`.
    pub id: String,
    /// The operator's name for it.
    pub label: String,
    /// Milliseconds since 1970.
    pub created_at_ms: u64,
}

/// A partner's project: what keys, rooms and tokens belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// `pj_…`.
    pub id: String,
    /// Partner id.
    pub partner: String,
    /// The operator's name for it.
    pub label: String,
    /// Milliseconds since 1970.
    pub created_at_ms: u64,
    /// Whether its keys and tokens are refused.
    pub suspended: bool,
    /// How much it may have.
    pub quotas: Quotas,
}

/// A query for whole projects.
macro_rules! select {
    ($tail:literal) => {
        concat!(
            "SELECT id, partner, label, created_at, suspended_at, rooms_max, participants_max, ",
            "requests_per_second, webhooks_max, keys_max FROM projects ",
            $tail
        )
    };
}

impl Store {
    /// Stores a partner.
    pub(crate) async fn insert_partner(
        &self,
        partner: &Partner,
        by: &Author,
        request: Option<&IdempotentRequest>,
    ) -> Result<Creation, StoreError> {
        let mut tx = self.write().await?;
        if let Some(known) = tx.recall(request).await? {
            return Ok(known);
        }
        sqlx::query("INSERT INTO partners (id, label, created_at) VALUES ($1, $2, $3)")
            .bind(&partner.id)
            .bind(&partner.label)
            .bind(int(partner.created_at_ms))
            .execute(&mut *tx)
            .await?;
        tx.remember(request).await?;
        let label = Some(partner.label.as_bytes());
        tx.note(by, OPERATOR_TREE, ("partner.create", &partner.id), label).await?;
        tx.commit().await?;
        Ok(Creation::Made)
    }

    /// A partner.
    pub(crate) async fn partner(&self, id: &str) -> Result<Option<Partner>, StoreError> {
        let row = sqlx::query("SELECT id, label, created_at FROM partners WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        row.as_ref().map(partner).transpose()
    }

    /// Partners, newest first.
    pub(crate) async fn partners(
        &self,
        after: Option<After>,
        limit: u32,
    ) -> Result<Vec<Partner>, StoreError> {
        let (time, id) = After::bounds(after);
        let rows = sqlx::query(
            "SELECT id, label, created_at FROM partners \
             WHERE created_at < $1 OR (created_at = $1 AND id < $2) \
             ORDER BY created_at DESC, id DESC LIMIT $3",
        )
        .bind(time)
        .bind(id)
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(partner).collect()
    }

    /// Gives a partner another label. `false` when there is none.
    pub(crate) async fn rename_partner(
        &self,
        id: &str,
        label: &str,
        by: &Author,
    ) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let done = sqlx::query("UPDATE partners SET label = $1 WHERE id = $2")
            .bind(label)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        tx.note(by, OPERATOR_TREE, ("partner.update", id), Some(label.as_bytes())).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Deletes a partner that has no projects: `Some(false)` when it has some, `None` when there is
    /// no such partner.
    pub(crate) async fn delete_partner(
        &self,
        id: &str,
        by: &Author,
    ) -> Result<Option<bool>, StoreError> {
        let mut tx = self.write().await?;
        let found = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM partners WHERE id = $1) AS partners, \
             (SELECT COUNT(*) FROM projects WHERE partner = $1) AS projects",
        )
        .bind(id)
        .fetch_one(&mut *tx)
        .await?;
        if count(&found, "partners")? == 0 {
            return Ok(None);
        }
        if count(&found, "projects")? > 0 {
            return Ok(Some(false));
        }
        sqlx::query("DELETE FROM partners WHERE id = $1").bind(id).execute(&mut *tx).await?;
        tx.note(by, OPERATOR_TREE, ("partner.delete", id), None).await?;
        tx.commit().await?;
        Ok(Some(true))
    }

    /// Stores a project together with its first signing key.
    pub(crate) async fn insert_project(
        &self,
        project: &Project,
        quotas: &SetQuotas,
        key: &SigningKey,
        by: &Author,
        request: Option<&IdempotentRequest>,
    ) -> Result<Creation, StoreError> {
        let mut tx = self.write().await?;
        if let Some(known) = tx.recall(request).await? {
            return Ok(known);
        }
        let done = sqlx::query(
            "INSERT INTO projects (id, partner, label, created_at, rooms_max, participants_max, \
             requests_per_second, webhooks_max, keys_max) \
             SELECT $1, id, $2, $3, $4, $5, $6, $7, $8 FROM partners WHERE id = $9",
        )
        .bind(&project.id)
        .bind(&project.label)
        .bind(int(project.created_at_ms))
        .bind(quotas.rooms.map(i64::from))
        .bind(quotas.participants.map(i64::from))
        .bind(quotas.requests_per_second.map(i64::from))
        .bind(quotas.webhooks.map(i64::from))
        .bind(quotas.keys.map(i64::from))
        .bind(&project.partner)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(Creation::Missing);
        }
        tx.insert_signing_key(key, by.now_ms).await?;
        tx.remember(request).await?;
        let label = Some(project.label.as_bytes());
        for tree in [&project.id, OPERATOR_TREE] {
            tx.note(by, tree, ("project.create", &project.id), label).await?;
        }
        tx.commit().await?;
        Ok(Creation::Made)
    }

    /// A project.
    pub(crate) async fn project(&self, id: &str) -> Result<Option<Project>, StoreError> {
        let row =
            sqlx::query(select!("WHERE id = $1")).bind(id).fetch_optional(&self.readers).await?;
        row.as_ref().map(project).transpose()
    }

    /// Projects, of one partner or all, newest first.
    pub(crate) async fn projects(
        &self,
        partner: Option<&str>,
        after: Option<After>,
        limit: u32,
    ) -> Result<Vec<Project>, StoreError> {
        let (time, id) = After::bounds(after);
        let rows = sqlx::query(select!(
            "WHERE (created_at < $1 OR (created_at = $1 AND id < $2)) \
             AND ($3 = '' OR partner = $3) ORDER BY created_at DESC, id DESC LIMIT $4"
        ))
        .bind(time)
        .bind(id)
        .bind(partner.unwrap_or_default())
        .bind(i64::from(limit))
        .fetch_all(&self.readers)
        .await?;
        rows.iter().map(project).collect()
    }

    /// Changes a project. `None` when there is none.
    pub(crate) async fn update_project(
        &self,
        id: &str,
        wish: &UpdateProject,
        by: &Author,
    ) -> Result<Option<Project>, StoreError> {
        use sdk_spec::rest::keys::ProjectState;
        let mut tx = self.write().await?;
        let suspended = wish.state.map(|state| state == ProjectState::Suspended);
        let row = sqlx::query(
            "UPDATE projects SET label = COALESCE($1, label), \
             rooms_max = COALESCE($2, rooms_max), \
             participants_max = COALESCE($3, participants_max), \
             requests_per_second = COALESCE($4, requests_per_second), \
             webhooks_max = COALESCE($5, webhooks_max), keys_max = COALESCE($6, keys_max), \
             suspended_at = CASE WHEN $7 = 0 THEN NULL WHEN $7 = 1 THEN \
             COALESCE(suspended_at, $8) ELSE suspended_at END WHERE id = $9 \
             RETURNING id, partner, label, created_at, suspended_at, rooms_max, participants_max, \
             requests_per_second, webhooks_max, keys_max",
        )
        .bind(wish.label.as_deref())
        .bind(wish.quotas.rooms.map(i64::from))
        .bind(wish.quotas.participants.map(i64::from))
        .bind(wish.quotas.requests_per_second.map(i64::from))
        .bind(wish.quotas.webhooks.map(i64::from))
        .bind(wish.quotas.keys.map(i64::from))
        .bind(suspended.map_or(2_i64, i64::from))
        .bind(int(by.now_ms))
        .bind(id)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let wished = serde_json::to_vec(wish).unwrap_or_default();
        for tree in [id, OPERATOR_TREE] {
            tx.note(by, tree, ("project.update", id), Some(&wished)).await?;
        }
        tx.commit().await?;
        project(&row).map(Some)
    }

    /// How much a project has now.
    pub(crate) async fn used(&self, project: &str, now_ms: u64) -> Result<Used, StoreError> {
        let row = sqlx::query(
            "SELECT \
             (SELECT COUNT(*) FROM rooms WHERE project = $1 AND closed_at IS NULL) AS rooms, \
             (SELECT COUNT(*) FROM stays WHERE project = $1 AND waiting = 0) AS participants, \
             (SELECT COUNT(*) FROM api_keys WHERE project = $1 AND revoked_at IS NULL) AS keys, \
             (SELECT COUNT(*) FROM signing_keys WHERE project = $1 AND revoked_at IS NULL) \
             AS token_keys, \
             (SELECT COUNT(*) FROM bans WHERE project = $1 AND (until IS NULL OR until > $2)) \
             AS bans",
        )
        .bind(project)
        .bind(int(now_ms))
        .fetch_one(&self.readers)
        .await?;
        Ok(Used {
            rooms: count(&row, "rooms")?,
            participants: count(&row, "participants")?,
            keys: count(&row, "keys")?,
            token_keys: count(&row, "token_keys")?,
            bans: count(&row, "bans")?,
        })
    }
}

impl Tx<'_> {
    /// A project's quotas; holds its row until the end of the transaction, so that what is counted
    /// against them cannot change meanwhile. `None` when there is no such project.
    pub(crate) async fn quotas(&mut self, project: &str) -> Result<Option<Quotas>, StoreError> {
        let row = sqlx::query(
            "UPDATE projects SET label = label WHERE id = $1 \
             RETURNING rooms_max, participants_max, requests_per_second, webhooks_max, keys_max",
        )
        .bind(project)
        .fetch_optional(&mut **self)
        .await?;
        row.as_ref().map(quotas).transpose()
    }
}

/// A count of a row.
pub(super) fn count(row: &AnyRow, column: &'static str) -> Result<u32, StoreError> {
    let count: i64 = row.try_get(column)?;
    u32::try_from(count).map_err(|_| StoreError::Corrupt(column))
}

fn partner(row: &AnyRow) -> Result<Partner, StoreError> {
    Ok(Partner {
        id: row.try_get("id")?,
        label: row.try_get("label")?,
        created_at_ms: unsigned(row.try_get("created_at")?, "partners.created_at")?,
    })
}

fn project(row: &AnyRow) -> Result<Project, StoreError> {
    Ok(Project {
        id: row.try_get("id")?,
        partner: row.try_get::<Option<String>, _>("partner")?.unwrap_or_default(),
        label: row.try_get("label")?,
        created_at_ms: unsigned(row.try_get("created_at")?, "projects.created_at")?,
        suspended: row.try_get::<Option<i64>, _>("suspended_at")?.is_some(),
        quotas: quotas(row)?,
    })
}

/// What is not set is the default.
pub(super) fn quotas(row: &AnyRow) -> Result<Quotas, StoreError> {
    let read = |column: &'static str, default: u32| -> Result<u32, StoreError> {
        let value: Option<i64> = row.try_get(column)?;
        value.map_or(Ok(default), |v| u32::try_from(v).map_err(|_| StoreError::Corrupt(column)))
    };
    let default = Quotas::default();
    Ok(Quotas {
        rooms: read("rooms_max", default.rooms)?,
        participants: read("participants_max", default.participants)?,
        requests_per_second: read("requests_per_second", default.requests_per_second)?,
        webhooks: read("webhooks_max", default.webhooks)?,
        keys: read("keys_max", default.keys)?,
    })
}
