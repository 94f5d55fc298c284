//! API keys, token keys, bans and revocations of a project.

use utoipa::OpenApi;

use crate::rest::{
    Page,
    keys::{
        Ban, BanList, CreateBan, CreateKey, CreateTokenKey, CreatedKey, CreatedTokenKey, Key,
        KeyList, ProjectInfo, RevokeToken, RotateKey, TokenKey, TokenKeyList,
    },
};

#[derive(OpenApi)]
#[openapi(
    paths(
        create_key, list_keys, read_key, revoke_key, rotate_key,
        create_token_key, list_token_keys, read_token_key, revoke_token_key, revoke_token,
        create_ban, list_bans, read_ban, lift_ban, read_project,
    ),
    tags(
        (name = "keys", description = "API keys and token keys of the project, bans, quotas."),
    ),
)]
pub(super) struct Api;

/// Create an API key. Scope `keys:write`.
///
/// A key can give only scopes that it has itself. The secret is in this answer only.
#[utoipa::path(post, path = "/v1/keys", tag = "keys",
    operation_id = "createKey", extensions(("x-scope" = json!("keys:write"))),
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,128}$",
        description = "A retry with the same key and body within 24 h is answered as the first was, or, where that told a secret, with 409 `secret_not_repeated`.")),
    request_body = CreateKey,
    responses((status = 201, body = CreatedKey, headers(("Location" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn create_key() {}

/// List API keys that are not revoked, newest first. Scope `keys:write`.
#[utoipa::path(get, path = "/v1/keys", tag = "keys",
    operation_id = "listKeys", extensions(("x-scope" = json!("keys:write"))),
    params(Page),
    responses((status = 200, body = KeyList)),
    security(("key" = []), ("key_basic" = [])))]
fn list_keys() {}

/// Read an API key. Scope `keys:write`.
#[utoipa::path(get, path = "/v1/keys/{key}", tag = "keys",
    operation_id = "readKey", extensions(("x-scope" = json!("keys:write"))),
    params(("key" = String, Path, description = "`ck_…`")),
    responses((status = 200, body = Key)),
    security(("key" = []), ("key_basic" = [])))]
fn read_key() {}

/// Revoke an API key: it is refused from the next request on. Scope `keys:write`; a key needs none
/// to revoke itself.
#[utoipa::path(delete, path = "/v1/keys/{key}", tag = "keys",
    operation_id = "revokeKey", extensions(("x-scope" = json!("keys:write"))),
    params(("key" = String, Path, description = "`ck_…`")),
    responses((status = 204, description = "Revoked")),
    security(("key" = []), ("key_basic" = [])))]
fn revoke_key() {}

/// Give an API key a new secret. Scope `keys:write`, and every scope of the key.
///
/// The old secret is good until the overlap ends; the new one is in this answer only.
#[utoipa::path(post, path = "/v1/keys/{key}/rotate", tag = "keys",
    operation_id = "rotateKey", extensions(("x-scope" = json!("keys:write"))),
    params(("key" = String, Path, description = "`ck_…`"),
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,128}$",
        description = "A retry with the same key and body within 24 h is answered as the first was, or, where that told a secret, with 409 `secret_not_repeated`.")),
    request_body = RotateKey,
    responses((status = 200, body = CreatedKey, headers(("Location" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn rotate_key() {}

/// Register a token key. Scopes `keys:write` and `tokens:mint`.
///
/// Tokens that are signed with it are accepted without a request to us. `EdDSA`: the partner keeps the
/// private key. `HS256`: we make the secret, and it is in this answer only. Replace a key by having two
/// for a while.
#[utoipa::path(post, path = "/v1/token-keys", tag = "keys",
    operation_id = "createTokenKey", extensions(("x-scope" = json!("keys:write"))),
    params(("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,128}$",
        description = "A retry with the same key and body within 24 h is answered as the first was, or, where that told a secret, with 409 `secret_not_repeated`.")),
    request_body = CreateTokenKey,
    responses((status = 201, body = CreatedTokenKey, headers(("Location" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn create_token_key() {}

/// List token keys that are not revoked, newest first. Scope `keys:write`.
#[utoipa::path(get, path = "/v1/token-keys", tag = "keys",
    operation_id = "listTokenKeys", extensions(("x-scope" = json!("keys:write"))),
    params(Page),
    responses((status = 200, body = TokenKeyList)),
    security(("key" = []), ("key_basic" = [])))]
fn list_token_keys() {}

/// Read a token key. Scope `keys:write`.
#[utoipa::path(get, path = "/v1/token-keys/{key}", tag = "keys",
    operation_id = "readTokenKey", extensions(("x-scope" = json!("keys:write"))),
    params(("key" = String, Path, description = "`tk_… or sk_…`")),
    responses((status = 200, body = TokenKey)),
    security(("key" = []), ("key_basic" = [])))]
fn read_token_key() {}

/// Revoke a token key: its tokens are refused from the next join on. Scope `keys:write`.
///
/// A new key takes the place of one of ours.
#[utoipa::path(delete, path = "/v1/token-keys/{key}", tag = "keys",
    operation_id = "revokeTokenKey", extensions(("x-scope" = json!("keys:write"))),
    params(("key" = String, Path, description = "`tk_… or sk_…`")),
    responses((status = 204, description = "Revoked")),
    security(("key" = []), ("key_basic" = [])))]
fn revoke_token_key() {}

/// Revoke a room token that was not used yet. Scope `participants:moderate`.
#[utoipa::path(post, path = "/v1/token-revocations", tag = "keys",
    operation_id = "revokeToken", extensions(("x-scope" = json!("participants:moderate"))),
    request_body = RevokeToken,
    responses((status = 204, description = "Revoked")),
    security(("key" = []), ("key_basic" = [])))]
fn revoke_token() {}

/// Ban a handle. Scope `participants:moderate`.
///
/// Stored when answered: no token of the handle is accepted, and whoever has it is removed. To ban
/// again sets a new end and is otherwise harmless.
#[utoipa::path(post, path = "/v1/bans", tag = "keys",
    operation_id = "createBan", extensions(("x-scope" = json!("participants:moderate"))),
    request_body = CreateBan,
    responses((status = 201, body = Ban, headers(("Location" = String)))),
    security(("key" = []), ("key_basic" = [])))]
fn create_ban() {}

/// List bans that hold, newest first. Scope `participants:moderate`.
#[utoipa::path(get, path = "/v1/bans", tag = "keys",
    operation_id = "listBans", extensions(("x-scope" = json!("participants:moderate"))),
    params(Page),
    responses((status = 200, body = BanList)),
    security(("key" = []), ("key_basic" = [])))]
fn list_bans() {}

/// Read a ban. Scope `participants:moderate`.
#[utoipa::path(get, path = "/v1/bans/{ban}", tag = "keys",
    operation_id = "readBan", extensions(("x-scope" = json!("participants:moderate"))),
    params(("ban" = String, Path, description = "`bn_…`")),
    responses((status = 200, body = Ban)),
    security(("key" = []), ("key_basic" = [])))]
fn read_ban() {}

/// Lift a ban. Scope `participants:moderate`.
#[utoipa::path(delete, path = "/v1/bans/{ban}", tag = "keys",
    operation_id = "liftBan", extensions(("x-scope" = json!("participants:moderate"))),
    params(("ban" = String, Path, description = "`bn_…`")),
    responses((status = 204, description = "Lifted")),
    security(("key" = []), ("key_basic" = [])))]
fn lift_ban() {}

/// Read the project of the asking key: quotas, and what is used of them. Scope `usage:read`.
#[utoipa::path(get, path = "/v1/project", tag = "keys",
    operation_id = "readProject", extensions(("x-scope" = json!("usage:read"))),
    responses((status = 200, body = ProjectInfo)),
    security(("key" = []), ("key_basic" = [])))]
fn read_project() {}
