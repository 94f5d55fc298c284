//! The operator's API, on a listener of its own: partners, projects, first keys.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Page, Timestamp, collect, keys::ProjectState, range};
use crate::{limits, problem::FieldError};

/// How much a project may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Quotas {
    /// Open rooms, breakout rooms among them.
    pub rooms: u32,
    /// Participants in all rooms at once.
    pub participants: u32,
    /// Sustained REST requests per second of all its keys; four times as many at once.
    pub requests_per_second: u32,
    /// Webhook endpoints.
    pub webhooks: u32,
    /// API keys that are not revoked.
    pub keys: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            rooms: limits::ROOMS_OPEN_MAX,
            participants: limits::PARTICIPANTS_AT_ONCE_DEFAULT,
            requests_per_second: limits::PROJECT_REQUESTS_PER_SECOND_DEFAULT,
            webhooks: limits::WEBHOOKS_MAX,
            keys: limits::KEYS_DEFAULT,
        }
    }
}

/// New quotas: what is not named stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetQuotas {
    /// Open rooms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000000)]
    pub rooms: Option<u32>,
    /// Participants in all rooms at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000000)]
    pub participants: Option<u32>,
    /// Sustained REST requests per second of all its keys; four times as many at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000000)]
    pub requests_per_second: Option<u32>,
    /// Webhook endpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000000)]
    pub webhooks: Option<u32>,
    /// API keys that are not revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1000000)]
    pub keys: Option<u32>,
}

impl SetQuotas {
    fn check(&self) -> [Option<FieldError>; 5] {
        let one =
            |field, value: Option<u32>| range(field, value.unwrap_or(1), 1, limits::QUOTA_MAX);
        [
            one("quotas.rooms", self.rooms),
            one("quotas.participants", self.participants),
            one("quotas.requests_per_second", self.requests_per_second),
            one("quotas.webhooks", self.webhooks),
            one("quotas.keys", self.keys),
        ]
    }
}

/// Request to create a partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "label": "Example School" }))]
pub struct CreatePartner {
    /// What the operator calls it.
    #[schema(min_length = 1, max_length = 64)]
    pub label: String,
}

impl CreatePartner {
    /// Checks the label.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        collect([label(Some(&self.label))])
    }
}

/// New label of a partner.
pub type UpdatePartner = CreatePartner;

/// A partner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "pt_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "label": "Example School",
    "created_at": "2026-11-21T20:00:00.000Z"
}))]
pub struct Partner {
    /// `pt_…`.
    pub id: String,
    /// What the operator calls it.
    pub label: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// A page of partners, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PartnerList {
    /// The partners.
    pub partners: Vec<Partner>,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// Request to create a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "partner": "pt_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "label": "classroom",
    "quotas": { "participants": 500 }
}))]
pub struct CreateProject {
    /// Whose it is.
    pub partner: String,
    /// What the operator calls it.
    #[schema(min_length = 1, max_length = 64)]
    pub label: String,
    /// Quotas other than the default.
    #[serde(default, deserialize_with = "crate::object::read")]
    pub quotas: SetQuotas,
}

impl CreateProject {
    /// Checks label and quotas.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let [a, b, c, d, e] = self.quotas.check();
        collect([label(Some(&self.label)), a, b, c, d, e])
    }
}

/// Change of a project: what is not named stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "state": "suspended" }))]
pub struct UpdateProject {
    /// What the operator calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 64)]
    pub label: Option<String>,
    /// `suspended`: no API key and no token of it is accepted from the next request on. Who is in a
    /// room stays until the room ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ProjectState>,
    /// New quotas. What is above one already stays.
    #[serde(default, deserialize_with = "crate::object::read")]
    pub quotas: SetQuotas,
}

impl UpdateProject {
    /// Checks label and quotas.
    ///
    /// # Errors
    /// Every field that is not as it must be.
    pub fn check(&self) -> Result<(), Vec<FieldError>> {
        let [a, b, c, d, e] = self.quotas.check();
        collect([label(self.label.as_deref()), a, b, c, d, e])
    }
}

/// A project, as the operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(example = json!({
    "id": "pj_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "partner": "pt_01hzx3m8q7v5k2c9d4e6f8g0hj",
    "label": "classroom",
    "state": "active",
    "created_at": "2026-11-21T20:00:00.000Z",
    "quotas": { "rooms": 10000, "participants": 500, "requests_per_second": 200, "webhooks": 16, "keys": 50 }
}))]
pub struct Project {
    /// `pj_…`.
    pub id: String,
    /// Whose it is.
    pub partner: String,
    /// What the operator calls it.
    pub label: String,
    /// Whether its keys and tokens are accepted.
    pub state: ProjectState,
    /// When it was created.
    pub created_at: Timestamp,
    /// How much it may have.
    pub quotas: Quotas,
}

/// A page of projects, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectList {
    /// The projects.
    pub projects: Vec<Project>,
    /// For the next page; null on the last.
    pub next_cursor: Option<String>,
}

/// Which page of the projects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProjectPage {
    /// Only those of this partner.
    #[serde(default)]
    pub partner: Option<String>,
    /// Items at most.
    #[serde(default)]
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(default)]
    #[param(max_length = 200)]
    pub cursor: Option<String>,
}

impl ProjectPage {
    /// The page without the filter.
    pub fn page(&self) -> Page {
        Page { limit: self.limit, cursor: self.cursor.clone() }
    }
}

/// Whether `text` can be a label.
pub fn is_label(text: &str) -> bool {
    let chars = text.chars().count();
    (1..=limits::LABEL_CHARS_MAX).contains(&chars) && !text.chars().any(char::is_control)
}

fn label(text: Option<&str>) -> Option<FieldError> {
    let wrong = text.is_some_and(|text| !is_label(text));
    wrong.then(|| {
        let most = limits::LABEL_CHARS_MAX;
        FieldError::new("label", format!("must be 1 to {most} printable characters"))
    })
}
