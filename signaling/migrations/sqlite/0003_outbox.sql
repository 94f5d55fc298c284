-- The event log: what happened, per project in the order of seq, without gaps. data: JSON of the
-- event's `data`; ids, states, numbers, the partner's handles; no other personal data. handle: the
-- one in data, so that it can be found and erased.
CREATE TABLE events (
    project TEXT NOT NULL REFERENCES projects (id),
    seq BIGINT NOT NULL,
    id TEXT NOT NULL,
    time BIGINT NOT NULL,
    room TEXT,
    room_seq BIGINT,
    type TEXT NOT NULL,
    data TEXT NOT NULL,
    handle TEXT,
    PRIMARY KEY (project, seq)
);
CREATE UNIQUE INDEX events_id ON events (id);
CREATE INDEX events_room ON events (room, room_seq) WHERE room IS NOT NULL;
CREATE INDEX events_handle ON events (project, handle) WHERE handle IS NOT NULL;

-- Last numbers given.
ALTER TABLE projects ADD COLUMN event_seq BIGINT NOT NULL DEFAULT 0;
ALTER TABLE rooms ADD COLUMN event_seq BIGINT NOT NULL DEFAULT 0;
