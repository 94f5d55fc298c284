-- Where recordings are pushed to. config: JSON with credentials, sealed.
CREATE TABLE storage_targets (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    config BLOB NOT NULL
);
CREATE INDEX storage_targets_project ON storage_targets (project, created_at, id);

-- How a project records: JSON. Recipients are public keys.
CREATE TABLE recording_policies (
    project TEXT NOT NULL PRIMARY KEY REFERENCES projects (id),
    policy TEXT NOT NULL
);

-- Recordings. node: the signaling process that carries the room. rule, terms: JSON, as they were when
-- it started; max_age in milliseconds. blocked, artifacts: JSON. work: the recorder's own state. warned:
-- percent of its age that was warned of. wanted: what the partner asks the recorder for: push, purge.
-- version: counts changes. recorder: the one that wrote its journal, on whose disk it is.
CREATE TABLE recordings (
    id TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL REFERENCES projects (id),
    room TEXT NOT NULL,
    node TEXT NOT NULL,
    state TEXT NOT NULL,
    rule TEXT NOT NULL,
    terms TEXT NOT NULL,
    max_age BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    stopped_at BIGINT,
    stop_reason TEXT,
    expires_at BIGINT,
    held BIGINT NOT NULL DEFAULT 0,
    progress BIGINT,
    blocked TEXT,
    artifacts TEXT NOT NULL DEFAULT '[]',
    work BLOB,
    warned BIGINT NOT NULL DEFAULT 0,
    wanted TEXT,
    purged_at BIGINT,
    purge_reason TEXT,
    receipt TEXT,
    receipt_signature TEXT,
    receipt_key TEXT,
    version BIGINT NOT NULL DEFAULT 1,
    recorder TEXT
);
CREATE INDEX recordings_project ON recordings (project, started_at, id);
CREATE INDEX recordings_work ON recordings (id) WHERE state <> 'purged';
CREATE INDEX recordings_live ON recordings (project, room) WHERE state IN ('recording', 'paused');
CREATE INDEX recordings_room ON recordings (room) WHERE state <> 'purged';
CREATE INDEX recordings_purged ON recordings (purged_at) WHERE purged_at IS NOT NULL;

-- Where the fold of usage stands: recordings that go on. since: none while paused.
CREATE TABLE usage_recordings (
    project TEXT NOT NULL,
    recording TEXT NOT NULL,
    room TEXT NOT NULL,
    since BIGINT,
    PRIMARY KEY (project, recording)
);
CREATE INDEX usage_recordings_room ON usage_recordings (project, room);
