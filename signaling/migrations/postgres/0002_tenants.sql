-- A partner has projects. label: the operator's name for it, a company's at most.
CREATE TABLE partners (
    id TEXT NOT NULL PRIMARY KEY,
    label TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX partners_created ON partners (created_at, id);

-- Quotas: NULL is the default of the binary. suspended_at: nothing of it is accepted.
ALTER TABLE projects ADD COLUMN partner TEXT REFERENCES partners (id);
ALTER TABLE projects ADD COLUMN suspended_at BIGINT;
ALTER TABLE projects ADD COLUMN rooms_max BIGINT;
ALTER TABLE projects ADD COLUMN participants_max BIGINT;
ALTER TABLE projects ADD COLUMN requests_per_second BIGINT;
ALTER TABLE projects ADD COLUMN webhooks_max BIGINT;
ALTER TABLE projects ADD COLUMN keys_max BIGINT;
INSERT INTO partners (id, label, created_at)
    SELECT 'pt_' || SUBSTR(id, 4), label, created_at FROM projects;
UPDATE projects SET partner = 'pt_' || SUBSTR(id, 4);
CREATE INDEX projects_partner ON projects (partner);
CREATE INDEX projects_created ON projects (created_at, id);

-- secret_hash: keyed (1) with the data key, or from before (0), keyed at the next start. old_hash is
-- good until old_until: the overlap of a rotation.
ALTER TABLE api_keys ADD COLUMN name TEXT;
ALTER TABLE api_keys ADD COLUMN expires_at BIGINT;
ALTER TABLE api_keys ADD COLUMN rotated_at BIGINT;
ALTER TABLE api_keys ADD COLUMN old_hash BYTEA;
ALTER TABLE api_keys ADD COLUMN old_until BIGINT;
ALTER TABLE api_keys ADD COLUMN keyed BIGINT NOT NULL DEFAULT 0;

-- origin: platform (we sign; private_key is sealed) or partner (algorithm EdDSA: public_key only;
-- HS256: private_key is the sealed secret). sealed: 0 from before, sealed at the next start.
ALTER TABLE signing_keys ADD COLUMN origin TEXT NOT NULL DEFAULT 'platform';
ALTER TABLE signing_keys ADD COLUMN name TEXT;
ALTER TABLE signing_keys ADD COLUMN not_after BIGINT;
ALTER TABLE signing_keys ADD COLUMN revoked_at BIGINT;
ALTER TABLE signing_keys ADD COLUMN sealed BIGINT NOT NULL DEFAULT 0;

-- A token that is revoked counts as used.
ALTER TABLE used_tokens ADD COLUMN revoked BIGINT NOT NULL DEFAULT 0;

-- room: empty for every room of the project. until: NULL for as long as room or project live.
CREATE TABLE bans (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    room TEXT NOT NULL,
    handle TEXT NOT NULL,
    until BIGINT,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX bans_handle ON bans (project, handle, room);
CREATE INDEX bans_created ON bans (project, created_at, id);
CREATE INDEX bans_room ON bans (room);
CREATE INDEX bans_until ON bans (until) WHERE until IS NOT NULL;

-- The operator's own keys. secret_hash is keyed with the data key. scopes as of api_keys.
CREATE TABLE operator_keys (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    secret_hash BYTEA NOT NULL,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);
