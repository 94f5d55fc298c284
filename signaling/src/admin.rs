//! What an operator does from the command line: partners, projects, API keys, keys of its own.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use sdk_spec::{
    handle::Handle,
    limits::{KEY_OVERLAP_SECONDS_MAX, LABEL_CHARS_MAX, PAGE_SIZE_MAX},
    rest::operator::{Quotas, SetQuotas, is_label},
    scope::{OperatorScope, Scope},
};

pub use crate::store::{ApiKeyInfo, OperatorKeyInfo, Partner, Project};
use crate::{
    clock,
    domain::Actor,
    secret::{self, SECRET_BYTES},
    store::{After, Author, Creation, Store, StoreError},
    token::key,
};

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Caller: no such partner.
    #[error("there is no such partner; `conclave partner list` shows them")]
    NoPartner,
    /// Caller: no such project.
    #[error("there is no such project; `conclave project list` shows them")]
    NoProject,
    /// Caller: no such key.
    #[error("there is no such key, or it is revoked already")]
    NoKey,
    /// Caller: not a label.
    #[error("a label has 1 to {LABEL_CHARS_MAX} printable characters")]
    Label,
    /// Caller: not a name of a key.
    #[error("a key's name is an opaque word such as backend-1: no person's name, no address")]
    Name,
    /// Caller: no scope, or an end that is past.
    #[error("a key needs at least one scope, and an end in the future if it has one")]
    Key,
    /// Caller: too long an overlap.
    #[error("the overlap is at most {KEY_OVERLAP_SECONDS_MAX} seconds")]
    Overlap,
    /// Caller: a quota is used up.
    #[error("the project has as many keys as it may")]
    Full,
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

/// A key to be made.
#[derive(Debug, Clone)]
pub struct KeyWish<S> {
    /// What it is for.
    pub name: Option<String>,
    /// What it may do.
    pub scopes: Vec<S>,
    /// Milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
}

/// The command line.
fn by() -> Author {
    Author::new(Actor::Operator(String::from("cli")), clock::now_ms())
}

/// A random secret as text.
pub(crate) fn fresh_secret() -> String {
    BASE64.encode(secret::random::<SECRET_BYTES>())
}

/// Creates a partner.
///
/// # Errors
/// [`AdminError::Label`], or the store's.
pub async fn create_partner(store: &Store, label: &str) -> Result<Partner, AdminError> {
    if !is_label(label) {
        return Err(AdminError::Label);
    }
    let (id, created_at_ms) = (secret::opaque_id("pt_"), clock::now_ms());
    let partner = Partner { id, label: label.to_owned(), created_at_ms };
    store.insert_partner(&partner, &by(), None).await?;
    Ok(partner)
}

/// All partners, oldest first.
///
/// # Errors
/// The store's.
pub async fn list_partners(store: &Store) -> Result<Vec<Partner>, AdminError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.partners(after.take(), PAGE_SIZE_MAX).await?;
        let Some(last) = page.last() else { break };
        after = Some(After { created_at_ms: last.created_at_ms, id: last.id.clone() });
        all.extend(page);
    }
    all.reverse();
    Ok(all)
}

/// Creates a partner with one project, both of this label.
///
/// # Errors
/// [`AdminError::Label`], or the store's.
pub async fn create_project(store: &Store, label: &str) -> Result<Project, AdminError> {
    let partner = create_partner(store, label).await?;
    create_project_of(store, &partner.id, label).await
}

/// Creates a project of a partner, with a signing key of its own.
///
/// # Errors
/// [`AdminError::Label`], [`AdminError::NoPartner`], or the store's.
pub async fn create_project_of(
    store: &Store,
    partner: &str,
    label: &str,
) -> Result<Project, AdminError> {
    if !is_label(label) {
        return Err(AdminError::Label);
    }
    let project = Project {
        id: secret::opaque_id("pj_"),
        partner: partner.to_owned(),
        label: label.to_owned(),
        created_at_ms: clock::now_ms(),
        suspended: false,
        quotas: Quotas::default(),
    };
    let key = key::generate(&project.id).ok_or(AdminError::Crypto)?;
    let quotas = SetQuotas::default();
    match store.insert_project(&project, &quotas, &key, &by(), None).await? {
        Creation::Made => Ok(project),
        _ => Err(AdminError::NoPartner),
    }
}

/// All projects, oldest first.
///
/// # Errors
/// The store's.
pub async fn list_projects(store: &Store) -> Result<Vec<Project>, AdminError> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.projects(None, after.take(), PAGE_SIZE_MAX).await?;
        let Some(last) = page.last() else { break };
        after = Some(After { created_at_ms: last.created_at_ms, id: last.id.clone() });
        all.extend(page);
    }
    all.reverse();
    Ok(all)
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
    let wish = KeyWish { name: None, scopes: scopes.to_vec(), expires_at_ms: None };
    create_key_as(store, project, wish).await
}

/// Creates an API key with a name and an end.
///
/// # Errors
/// [`AdminError::NoProject`], [`AdminError::Name`], [`AdminError::Key`], [`AdminError::Full`], or the
/// store's.
pub async fn create_key_as(
    store: &Store,
    project: &str,
    wish: KeyWish<Scope>,
) -> Result<NewKey, AdminError> {
    let by = by();
    if wish.name.as_deref().is_some_and(|name| Handle::parse(name).is_err()) {
        return Err(AdminError::Name);
    }
    if wish.expires_at_ms.is_some_and(|end| end <= by.now_ms) {
        return Err(AdminError::Key);
    }
    let (info, text) = new_key(project, wish, by.now_ms);
    let hash = store.vault().hash_secret(text.as_bytes());
    match store.insert_api_key(&info, &hash, &by, None).await? {
        Creation::Made => Ok(NewKey { secret: format!("ck_{}_{text}", info.id), id: info.id }),
        Creation::Full => Err(AdminError::Full),
        _ => Err(AdminError::NoProject),
    }
}

/// An API key and its secret.
pub(crate) fn new_key(project: &str, wish: KeyWish<Scope>, now_ms: u64) -> (ApiKeyInfo, String) {
    let mut scopes = wish.scopes;
    scopes.sort_unstable();
    scopes.dedup();
    let info = ApiKeyInfo {
        id: secret::opaque_id(""),
        project: project.to_owned(),
        name: wish.name,
        scopes,
        created_at_ms: now_ms,
        expires_at_ms: wish.expires_at_ms,
        rotated_at_ms: None,
        old_until_ms: None,
        revoked: false,
    };
    (info, fresh_secret())
}

/// API keys of a project, oldest first.
///
/// # Errors
/// The store's.
pub async fn list_keys(store: &Store, project: &str) -> Result<Vec<ApiKeyInfo>, AdminError> {
    Ok(store.api_keys(project).await?)
}

/// Gives an API key a new secret; the old one is good for `overlap_seconds` more.
///
/// # Errors
/// [`AdminError::NoKey`], [`AdminError::Overlap`], or the store's.
pub async fn rotate_key(
    store: &Store,
    (project, id): (&str, &str),
    overlap_seconds: u32,
) -> Result<NewKey, AdminError> {
    if overlap_seconds > KEY_OVERLAP_SECONDS_MAX {
        return Err(AdminError::Overlap);
    }
    let (by, text, id) = (by(), fresh_secret(), bare(id, "ck_"));
    let hash = store.vault().hash_secret(text.as_bytes());
    let until = by.now_ms + u64::from(overlap_seconds) * 1000;
    match store.rotate_api_key((project, id), &hash, until, &by, None).await? {
        Ok(_) => Ok(NewKey { id: id.to_owned(), secret: format!("ck_{id}_{text}") }),
        Err(_) => Err(AdminError::NoKey),
    }
}

/// Revokes an API key; takes effect with the next request.
///
/// # Errors
/// [`AdminError::NoKey`], or the store's.
pub async fn revoke_key(store: &Store, id: &str) -> Result<(), AdminError> {
    let revoked = store.revoke_api_key(None, bare(id, "ck_"), &by()).await?;
    if revoked { Ok(()) } else { Err(AdminError::NoKey) }
}

/// Creates a key for the operator's API.
///
/// # Errors
/// [`AdminError::Name`], [`AdminError::Key`], or the store's.
pub async fn create_operator_key(
    store: &Store,
    wish: KeyWish<OperatorScope>,
) -> Result<NewKey, AdminError> {
    let (by, text) = (by(), fresh_secret());
    let name = wish.name.filter(|name| Handle::parse(name).is_ok()).ok_or(AdminError::Name)?;
    if wish.scopes.is_empty() || wish.expires_at_ms.is_some_and(|end| end <= by.now_ms) {
        return Err(AdminError::Key);
    }
    let info = OperatorKeyInfo {
        id: secret::opaque_id(""),
        name,
        scopes: wish.scopes,
        created_at_ms: by.now_ms,
        expires_at_ms: wish.expires_at_ms,
        revoked: false,
    };
    let hash = store.vault().hash_secret(text.as_bytes());
    store.insert_operator_key(&info, &hash, &by).await?;
    Ok(NewKey { secret: format!("co_{}_{text}", info.id), id: info.id })
}

/// The operator's keys, oldest first.
///
/// # Errors
/// The store's.
pub async fn list_operator_keys(store: &Store) -> Result<Vec<OperatorKeyInfo>, AdminError> {
    Ok(store.operator_keys().await?)
}

/// Revokes a key of the operator; takes effect with the next request.
///
/// # Errors
/// [`AdminError::NoKey`], or the store's.
pub async fn revoke_operator_key(store: &Store, id: &str) -> Result<(), AdminError> {
    let revoked = store.revoke_operator_key(bare(id, "co_"), &by()).await?;
    if revoked { Ok(()) } else { Err(AdminError::NoKey) }
}

/// An id with or without its prefix.
pub(crate) fn bare<'a>(id: &'a str, prefix: &str) -> &'a str {
    id.strip_prefix(prefix).unwrap_or(id)
}
