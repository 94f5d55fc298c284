//! What an operator does from the command line: projects and API keys.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sdk_spec::scope::Scope;

pub use crate::store::{ApiKeyInfo, Project};
use crate::{
    clock,
    secret::{self, SECRET_BYTES, SecretHash},
    store::{SigningKey, Store, StoreError},
    token::EDDSA,
};

/// Characters of a project's label at most.
pub const LABEL_CHARS_MAX: usize = 64;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Caller: no such project.
    #[error("there is no such project; `conclave project list` shows them")]
    NoProject,
    /// Caller: no such key.
    #[error("there is no such key, or it is revoked already")]
    NoKey,
    /// Caller: not a label.
    #[error("a label has 1 to {LABEL_CHARS_MAX} printable characters")]
    Label,
    /// Environment: the cryptographic library gave no key.
    #[error("a signing key could not be made")]
    Crypto,
    /// Environment.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A fresh API key. The text exists only here: what is stored cannot give it back.
pub struct NewKey {
    /// Public part, for `conclave key revoke`.
    pub id: String,
    /// `ck_<id>_<secret>`, to be shown once.
    pub secret: String,
}

/// Creates a project with a signing key of its own.
///
/// # Errors
/// [`AdminError::Label`], or the store's.
pub async fn create_project(store: &Store, label: &str) -> Result<Project, AdminError> {
    let chars = label.chars().count();
    if chars == 0 || chars > LABEL_CHARS_MAX || label.chars().any(char::is_control) {
        return Err(AdminError::Label);
    }
    let project = Project {
        id: secret::opaque_id("pj_"),
        label: label.to_owned(),
        created_at_ms: clock::now_ms(),
    };
    let pair = Ed25519KeyPair::generate().map_err(|_| AdminError::Crypto)?;
    let private_key = pair.to_pkcs8().map_err(|_| AdminError::Crypto)?;
    let key = SigningKey {
        id: secret::opaque_id("sk_"),
        project: project.id.clone(),
        algorithm: EDDSA.to_owned(),
        private_key: private_key.as_ref().to_vec(),
        public_key: pair.public_key().as_ref().to_vec(),
    };
    store.insert_project(&project, &key).await?;
    Ok(project)
}

/// All projects, oldest first.
///
/// # Errors
/// The store's.
pub async fn list_projects(store: &Store) -> Result<Vec<Project>, AdminError> {
    Ok(store.projects().await?)
}

/// Creates an API key for a project that may do what `scopes` name, nothing else.
///
/// # Errors
/// [`AdminError::NoProject`], or the store's.
pub async fn create_key(
    store: &Store,
    project: &str,
    scopes: &[Scope],
) -> Result<NewKey, AdminError> {
    let mut scopes = scopes.to_vec();
    scopes.sort_unstable();
    scopes.dedup();
    let secret: [u8; SECRET_BYTES] = secret::random();
    let id = secret::opaque_id("");
    let info = ApiKeyInfo {
        id: id.clone(),
        project: project.to_owned(),
        scopes,
        created_at_ms: clock::now_ms(),
        revoked: false,
    };
    let text = BASE64.encode(secret);
    let stored = store.insert_api_key(&info, SecretHash::of(text.as_bytes())).await?;
    if !stored {
        return Err(AdminError::NoProject);
    }
    Ok(NewKey { secret: format!("ck_{id}_{text}"), id })
}

/// API keys of a project, oldest first.
///
/// # Errors
/// The store's.
pub async fn list_keys(store: &Store, project: &str) -> Result<Vec<ApiKeyInfo>, AdminError> {
    Ok(store.api_keys(project).await?)
}

/// Revokes an API key; takes effect with the next request.
///
/// # Errors
/// [`AdminError::NoKey`], or the store's.
pub async fn revoke_key(store: &Store, id: &str) -> Result<(), AdminError> {
    let revoked = store.revoke_api_key(id, clock::now_ms()).await?;
    if revoked { Ok(()) } else { Err(AdminError::NoKey) }
}
