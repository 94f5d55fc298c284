-- Times are milliseconds since 1970. Ids are opaque. No personal data.
CREATE TABLE projects (
    id TEXT NOT NULL PRIMARY KEY,
    label TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

-- secret_hash: SHA-256 of 256 random bits. scopes: names, separated by a space.
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    secret_hash BYTEA NOT NULL,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX api_keys_project ON api_keys (project);

-- The algorithm is a property of the key: a token's header must agree with it.
CREATE TABLE signing_keys (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    algorithm TEXT NOT NULL,
    private_key BYTEA NOT NULL,
    public_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX signing_keys_project ON signing_keys (project, created_at);

CREATE TABLE rooms (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    created_at BIGINT NOT NULL,
    participants_max BIGINT NOT NULL,
    empty_timeout_seconds BIGINT NOT NULL,
    reference TEXT,
    closed_at BIGINT
);
CREATE INDEX rooms_open ON rooms (project, created_at, id) WHERE closed_at IS NULL;
CREATE INDEX rooms_closed ON rooms (closed_at) WHERE closed_at IS NOT NULL;

-- Tokens that were used, until they would have expired anyway.
CREATE TABLE used_tokens (
    signing_key TEXT NOT NULL,
    jti TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (signing_key, jti)
);
CREATE INDEX used_tokens_expiry ON used_tokens (expires_at);

-- id: hash of project, route and key; fingerprint: of the body, keyed with the idempotency key,
-- which is not kept.
CREATE TABLE idempotency (
    id BYTEA NOT NULL PRIMARY KEY,
    fingerprint BYTEA NOT NULL,
    answer TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX idempotency_expiry ON idempotency (expires_at);
