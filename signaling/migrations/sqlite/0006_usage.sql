-- Usage and histories, folded from the events. Only histories.handle is about a person.

-- Up to which event a project's usage is counted, and the newest time of these events.
CREATE TABLE usage_checkpoints (
    project TEXT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL,
    time BIGINT NOT NULL
);

-- What was used in a room on a day of UTC (days since 1970), in milliseconds and bytes.
CREATE TABLE usage_days (
    project TEXT NOT NULL,
    room TEXT NOT NULL,
    day BIGINT NOT NULL,
    stays BIGINT NOT NULL,
    participant_ms BIGINT NOT NULL,
    camera_ms BIGINT NOT NULL,
    microphone_ms BIGINT NOT NULL,
    screen_ms BIGINT NOT NULL,
    screen_audio_ms BIGINT NOT NULL,
    recorded_ms BIGINT NOT NULL,
    bytes_received BIGINT NOT NULL,
    bytes_sent BIGINT NOT NULL,
    PRIMARY KEY (project, room, day)
);
CREATE INDEX usage_days_day ON usage_days (project, day);
CREATE INDEX usage_days_age ON usage_days (day);

-- Where the fold stands: stays that go on, and for a while those that ended. tracks: JSON of what is
-- published.
CREATE TABLE usage_stays (
    project TEXT NOT NULL,
    participant TEXT NOT NULL,
    room TEXT NOT NULL,
    hidden BIGINT NOT NULL,
    joined_at BIGINT NOT NULL,
    left_at BIGINT,
    tracks TEXT NOT NULL,
    PRIMARY KEY (project, participant)
);
CREATE INDEX usage_stays_open ON usage_stays (project, room) WHERE left_at IS NULL;
CREATE INDEX usage_stays_left ON usage_stays (left_at) WHERE left_at IS NOT NULL;

-- Who was in which room, when, and why it left.
CREATE TABLE histories (
    project TEXT NOT NULL,
    participant TEXT NOT NULL,
    room TEXT NOT NULL,
    handle TEXT NOT NULL,
    role TEXT NOT NULL,
    hidden BIGINT NOT NULL,
    joined_at BIGINT NOT NULL,
    left_at BIGINT,
    reason TEXT,
    camera_ms BIGINT NOT NULL DEFAULT 0,
    microphone_ms BIGINT NOT NULL DEFAULT 0,
    screen_ms BIGINT NOT NULL DEFAULT 0,
    screen_audio_ms BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (project, participant)
);
CREATE INDEX histories_room ON histories (project, room, joined_at, participant);
CREATE INDEX histories_handle ON histories (project, handle, joined_at, participant);
CREATE INDEX histories_left ON histories (left_at) WHERE left_at IS NOT NULL;
