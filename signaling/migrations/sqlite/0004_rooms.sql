-- kind: ad_hoc, scheduled, permanent. settings: JSON, defaults included. parent: the room that it is
-- a breakout of. version: counts changes.
ALTER TABLE rooms ADD COLUMN kind TEXT NOT NULL DEFAULT 'ad_hoc';
ALTER TABLE rooms ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
ALTER TABLE rooms ADD COLUMN starts_at BIGINT;
ALTER TABLE rooms ADD COLUMN duration_seconds BIGINT;
ALTER TABLE rooms ADD COLUMN ends_at BIGINT;
ALTER TABLE rooms ADD COLUMN parent TEXT;
ALTER TABLE rooms ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
-- Commits of the room's task that are stored, so that one that is tried again is not stored twice.
ALTER TABLE rooms ADD COLUMN commits BIGINT NOT NULL DEFAULT 0;
-- Signaling process that stores the room's commits; '' is whoever comes first.
ALTER TABLE rooms ADD COLUMN carrier TEXT NOT NULL DEFAULT '';
UPDATE rooms SET settings = '{"participants_max":' || participants_max
    || ',"empty_timeout_seconds":' || empty_timeout_seconds || '}';
ALTER TABLE rooms DROP COLUMN participants_max;
ALTER TABLE rooms DROP COLUMN empty_timeout_seconds;
CREATE INDEX rooms_reference ON rooms (project, reference)
    WHERE reference IS NOT NULL AND closed_at IS NULL;
CREATE INDEX rooms_parent ON rooms (parent) WHERE parent IS NOT NULL AND closed_at IS NULL;

-- Participants that came in (or wait to) and have not left: closed with an event when a node dies.
CREATE TABLE stays (
    participant TEXT NOT NULL PRIMARY KEY,
    project TEXT NOT NULL,
    room TEXT NOT NULL,
    handle TEXT NOT NULL,
    hidden BIGINT NOT NULL,
    waiting BIGINT NOT NULL,
    node TEXT NOT NULL,
    joined_at BIGINT NOT NULL
);
CREATE INDEX stays_room ON stays (room);
CREATE INDEX stays_project ON stays (project, waiting);
CREATE INDEX stays_node ON stays (node, joined_at);

-- Signaling processes and when they last were alive.
CREATE TABLE heartbeats (
    node TEXT NOT NULL PRIMARY KEY,
    seen_at BIGINT NOT NULL
);
