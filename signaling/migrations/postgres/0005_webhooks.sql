-- Webhook endpoints. url, secrets, previous: sealed. types, signatures: names, separated by a space.
-- state: enabled, disabled, gone, given_up. version: counts what others than its owner change.
-- after_seq: events up to it were taken up. next_at: when there is something to send, none is never.
-- owner: the process that sends, until owner_until.
CREATE TABLE webhooks (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    created_at BIGINT NOT NULL,
    url BYTEA NOT NULL,
    types TEXT NOT NULL,
    room TEXT,
    signatures TEXT NOT NULL,
    state TEXT NOT NULL,
    secrets BYTEA NOT NULL,
    previous BYTEA,
    previous_until BIGINT,
    version BIGINT NOT NULL DEFAULT 1,
    after_seq BIGINT NOT NULL,
    next_at BIGINT,
    failures BIGINT NOT NULL DEFAULT 0,
    failing_since BIGINT,
    probes BIGINT NOT NULL DEFAULT 0,
    open_until BIGINT,
    owner TEXT,
    owner_until BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX webhooks_project ON webhooks (project, created_at, id);
CREATE INDEX webhooks_owner ON webhooks (owner) WHERE owner IS NOT NULL;

-- Events on their way to an endpoint, and what became of them. lane: the room, or empty; sent in
-- order within it. state: pending, delivered, dead.
CREATE TABLE deliveries (
    webhook TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    seq BIGINT NOT NULL,
    project TEXT NOT NULL,
    event TEXT NOT NULL,
    lane TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    next_at BIGINT NOT NULL,
    last_at BIGINT,
    last_result TEXT,
    PRIMARY KEY (webhook, seq)
);
CREATE INDEX deliveries_pending ON deliveries (webhook, seq) WHERE state = 'pending';
CREATE INDEX deliveries_dead ON deliveries (webhook, seq) WHERE state = 'dead';
CREATE INDEX deliveries_over ON deliveries (state, last_at) WHERE state <> 'pending';
