//! `serve --demo DIR`: the demo page, and the part that a partner's server would play for it.
//!
//! ```text
//! page ── POST /demo/join {code, room, handle} ──▶ partner ── REST /v1, API key ──▶ signaling
//!      ◀─ {url, token} ───────────────────────────
//!      ── GET /demo/recordings?room=rm_… ─────────▶
//!      ── GET /demo/recordings/rc_…/receipt ──────▶
//! ```
//!
//! The partner uses nothing but the public REST API, with a key of a project of its own. Whoever
//! has the join code gets in; the code is random for each data directory and printed at the start.

mod api;
mod credentials;
mod failure;
mod pages;
mod partner;
mod reach;
mod recordings;
#[cfg(test)]
mod tests;

pub(crate) use credentials::Credentials;
pub(crate) use reach::Reach;

use std::path::Path;

use anyhow::ensure;
use axum::{Router, extract::DefaultBodyLimit, routing::post};
use sdk_spec::scope::Scope;
use signaling::{Store, admin};

use crate::config::Config;

/// Label of the project that the demo makes for itself.
const PROJECT: &str = "demo";
/// What its partner server does.
const SCOPES: [Scope; 5] = [
    Scope::RoomsRead,
    Scope::RoomsWrite,
    Scope::TokensMint,
    Scope::RecordingsRead,
    Scope::RecordingsWrite,
];

/// Bytes of a join request at most: three short texts. It is read before the join code is known.
const JOIN_BYTES_MAX: usize = 4 * 1024;

/// The demo's credentials, made on the first start. When the database was removed meanwhile, the
/// key is made anew and the join code stays, so that invitations still hold.
///
/// # Errors
/// When the page was not built, or the disk or database refuses.
pub(crate) async fn credentials(
    config: &Config,
    store: &Store,
    dir: &Path,
) -> anyhow::Result<Credentials> {
    let built = dir.join("index.html").exists();
    ensure!(built, "{} holds no demo page: build it with `make web`", dir.display());
    let known = credentials::load(&config.storage.data_dir)?;
    let join_code = match known {
        Some(known) if is_valid(store, &known.api_key).await? => {
            let recipient = credentials::recipient(&config.storage.data_dir)?;
            return Ok(Credentials { recipient, ..known });
        }
        Some(known) => {
            tracing::warn!("the demo's key is not in the database; it gets a new one");
            known.join_code
        }
        None => credentials::join_code()?,
    };
    let project = admin::create_project(store, PROJECT).await?;
    let key = admin::create_key(store, &project.id, &SCOPES).await?;
    let recipient = credentials::recipient(&config.storage.data_dir)?;
    let made = Credentials { api_key: key.secret, join_code, recipient };
    credentials::save(&config.storage.data_dir, &made)?;
    Ok(made)
}

/// Whether the key is one of the database and may do what the demo needs.
async fn is_valid(store: &Store, api_key: &str) -> anyhow::Result<bool> {
    let Some((id, _)) = api_key.strip_prefix("ck_").and_then(|key| key.split_once('_')) else {
        return Ok(false);
    };
    for project in admin::list_projects(store).await? {
        let keys = admin::list_keys(store, &project.id).await?;
        if let Some(key) = keys.iter().find(|key| key.id == id) {
            return Ok(!key.revoked && SCOPES.iter().all(|scope| key.scopes.contains(scope)));
        }
    }
    Ok(false)
}

/// The routes of the demo: `/demo/`, `POST /demo/join`, `GET /demo/recordings` and receipts below it.
///
/// `rest` is the public API, `dir` holds the built page, `reach` says how clients reach us. Must run
/// inside a tokio runtime.
pub(crate) fn router(rest: Router, credentials: Credentials, dir: &Path, reach: Reach) -> Router {
    let rest = api::Rest::new(rest, credentials.api_key);
    let shelf = recordings::Shelf::new(rest.clone(), credentials.join_code.clone());
    tokio::spawn(shelf.clone().set_up(credentials.recipient));
    let partner = partner::spawn(rest, credentials.join_code, reach.clone());
    Router::new()
        .route("/demo/join", post(partner::join).layer(DefaultBodyLimit::max(JOIN_BYTES_MAX)))
        .with_state(partner)
        .merge(recordings::router(shelf))
        .merge(pages::router(dir, reach))
}
