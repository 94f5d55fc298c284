//! Every limit that a partner or a client can meet, with its unit and its reason.
//!
//! Limits of the WebSocket timing stand beside the protocol in [`crate::ws`].

/// A limit as listed for documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Name of the constant.
    pub name: &'static str,
    /// Value in [`Limit::unit`].
    pub value: u64,
    /// Unit of the value.
    pub unit: &'static str,
    /// Why it is what it is.
    pub reason: &'static str,
}

macro_rules! limits {
    ($($name:ident: $type:ty = $value:expr, $unit:literal, $reason:literal;)*) => {
        $(
            #[doc = $reason]
            #[doc = concat!("\n\nUnit: ", $unit, ".")]
            pub const $name: $type = $value;
        )*

        /// All of them, in order of this file.
        pub const ALL: &[Limit] = &[$(
            Limit { name: stringify!($name), value: $name as u64, unit: $unit, reason: $reason },
        )*];
    };
}

limits! {
    BODY_BYTES_MAX: usize = 64 * 1024, "bytes",
        "Largest REST request body. Bodies are a few hundred bytes; this bounds memory per request.";
    SDP_BYTES_MAX: usize = 256 * 1024, "bytes",
        "Largest session description. A browser writes up to 6 kB per video section; all slots and tracks of one client fit.";
    FRAGMENT_BYTES_MAX: usize = 8 * 1024, "bytes",
        "Largest body of a request to a WHIP or WHEP session. ICE credentials and candidates take about 1 kB.";
    HEADER_BYTES_MAX: usize = 16 * 1024, "bytes",
        "Largest request head. Tokens are below 2 kB; more is an attack on memory.";
    TOKEN_BYTES_MAX: usize = 4 * 1024, "bytes",
        "Largest room token. Ours are below 1 kB; nothing longer is decoded.";
    HANDLE_CHARS_MAX: usize = 64, "characters",
        "Longest handle or reference. A UUID has 36; a base64url SHA-256 has 43.";
    PARTICIPANTS_MAX: u32 = 1000, "participants",
        "Most participants that a room may allow. Joins are announced to everybody, so cost grows with the square.";
    PARTICIPANTS_MAX_DEFAULT: u32 = 100, "participants",
        "Most participants of a room that names no number.";
    EMPTY_TIMEOUT_SECONDS_MIN: u32 = 10, "seconds",
        "Shortest time for which an empty room stays open. Below it a reload of the only page would end the room.";
    EMPTY_TIMEOUT_SECONDS_MAX: u32 = 7 * 24 * 3600, "seconds",
        "Longest time for which an empty room stays open. Rooms are cheap to create again; forgotten ones must end.";
    EMPTY_TIMEOUT_SECONDS_DEFAULT: u32 = 300, "seconds",
        "Time for which an empty room stays open when it names none.";
    DURATION_SECONDS_MIN: u32 = 60, "seconds",
        "Shortest duration of a room.";
    DURATION_SECONDS_MAX: u32 = 7 * 24 * 3600, "seconds",
        "Longest duration of a room; a longer one is a permanent room.";
    OPENS_EARLY_SECONDS: u32 = 15 * 60, "seconds",
        "How long before its start a scheduled room opens.";
    MODERATOR_TIMEOUT_SECONDS_MAX: u32 = 24 * 3600, "seconds",
        "Longest time that a room may be told to wait for a moderator to come back.";
    FLOOR_HOLDERS_MAX: u32 = 100, "participants",
        "Most holders of the floor that a lecture may allow.";
    ROOM_DATA_BYTES_MAX: usize = 4096, "bytes",
        "Largest room data. Everybody in the room gets it at each change.";
    MASKS_MAX: u32 = 8, "masks",
        "Most masks of a recording. Each costs a filter per picture.";
    RECIPIENTS_MAX: u32 = 10, "recipients",
        "Most public keys that recordings are sealed to. Each adds 100 bytes to every file.";
    PATH_BYTES_MAX: usize = 256, "bytes",
        "Longest path template of recordings; S3 keys may have 1024 bytes when it is filled in.";
    RECORDING_AGE_HOURS_DEFAULT: u32 = 72, "hours",
        "Age at which a recording is purged, delivered or not, unless the policy says otherwise.";
    RECORDING_AGE_HOURS_MAX: u32 = 30 * 24, "hours",
        "Largest such age. Recordings are here to be delivered, not to be kept.";
    RECORDING_SECONDS_MAX: u32 = 12 * 3600, "seconds",
        "Longest recording. One by a room's rule is followed by the next.";
    RECORDING_EMPTY_SECONDS: u32 = 30, "seconds",
        "Time after which a recording ends when nobody is in the room: as long as a cut client may take to come back.";
    RECORDINGS_PER_HOUR_MAX: usize = 60, "recordings",
        "Recordings of a room that are asked for in an hour. Each is a row, files and a delivery.";
    STORAGE_TARGETS_MAX: u32 = 20, "targets",
        "Most storage targets of a project.";
    RECORDINGS_LIVE_MAX: u32 = 20, "recordings",
        "Recordings of a project that run at the same time. One more does not start.";
    STATE_BYTES_MAX: usize = 1024, "bytes",
        "Largest state of a participant. Everybody in the room gets it at each change.";
    DATA_BYTES_MAX: usize = 4096, "bytes",
        "Largest text from one participant to others.";
    NAMED_MAX: usize = 100, "participants",
        "Participants named in one action. More is said by an empty list: everybody.";
    SHOWN_FIRST_MAX: usize = 10, "participants or tracks",
        "Participants in the spotlight or tracks pinned. More than a page shows is not first.";
    BREAKOUTS_MAX: usize = 50, "rooms",
        "Breakout rooms of a room.";
    AUDIT_SEQ_MAX: u64 = 1 << 48, "entries",
        "Most entries of an audit log: more than a project makes in its life.";
    LOBBY_MAX: usize = 100, "participants",
        "Participants that wait to be let in. Moderators get the whole list at each change.";
    FLOOR_REQUESTS_MAX: usize = 100, "participants",
        "Requests for the floor that are remembered. Moderators get the whole list at each change.";
    EXTEND_SECONDS_MAX: u32 = 24 * 3600, "seconds",
        "By how much a room is extended at once. What was meant to last is a permanent room.";
    BREAKOUT_SECONDS_MIN: u32 = 10, "seconds",
        "Shortest duration of breakout rooms. Below it nobody would have arrived.";
    BREAKOUT_SECONDS_MAX: u32 = 24 * 3600, "seconds",
        "Longest duration of breakout rooms: a day's workshop.";
    MOVE_SECONDS: u32 = 10, "seconds",
        "Time in which a client that is moved joins the other room; then it is removed from this one.";
    ROOMS_OPEN_MAX: u32 = 10_000, "rooms",
        "Open rooms of a project, unless the operator sets another quota. Each costs about 2 kB of memory on its node.";
    PARTICIPANTS_AT_ONCE_DEFAULT: u32 = 10_000, "participants",
        "Participants of a project at once, unless the operator sets another quota: more than one machine serves.";
    PROJECT_REQUESTS_PER_SECOND_DEFAULT: u32 = 200, "requests per second",
        "Sustained REST requests of a project, unless the operator sets another quota: four busy keys.";
    PROJECT_BURST_SECONDS: u32 = 4, "seconds",
        "Requests of a project at once, after a pause, as seconds of its rate; as for a key.";
    KEYS_DEFAULT: u32 = 50, "keys",
        "API keys of a project, unless the operator sets another quota: one for each server and rotation.";
    TOKEN_KEYS_MAX: u32 = 20, "keys",
        "Token keys of a project: one for each of its servers, and two where one follows the other.";
    BANS_MAX: u32 = 10_000, "bans",
        "Bans of a project that hold at the same time. More belong into the partner's own rules for minting.";
    BAN_SECONDS_MAX: u32 = 365 * 24 * 3600, "seconds",
        "Longest ban with an end; a longer one has none.";
    KEY_OVERLAP_SECONDS_DEFAULT: u32 = 3600, "seconds",
        "How long the old secret of a rotated key stays good when the request says nothing: time to deploy.";
    KEY_OVERLAP_SECONDS_MAX: u32 = 7 * 24 * 3600, "seconds",
        "How long the old secret of a rotated key can stay good. A longer overlap is a second key.";
    QUOTA_MAX: u32 = 1_000_000, "of anything",
        "Largest number that a quota can be set to: a typing mistake must not be without limit.";
    LABEL_CHARS_MAX: usize = 64, "characters",
        "Longest label that an operator gives a partner or project.";
    PEM_CHARS_MAX: usize = 1024, "characters",
        "Longest public key in PEM. One of Ed25519 has 113.";
    TOKEN_SECONDS_MAX: u32 = 15 * 60, "seconds",
        "Longest life of a room token. It is used once, at once; a leaked one must die soon.";
    TOKEN_SECONDS_DEFAULT: u32 = 5 * 60, "seconds",
        "Life of a room token when the request names none.";
    CLOCK_SKEW_SECONDS_MAX: u32 = 10, "seconds",
        "How far a partner's clock may differ from ours when a token's times are compared.";
    PAGE_SIZE_DEFAULT: u32 = 50, "items",
        "Items in a page of a list when the request names no number.";
    PAGE_SIZE_MAX: u32 = 200, "items",
        "Most items in a page of a list: about 60 kB of JSON.";
    IDEMPOTENCY_KEY_CHARS_MAX: usize = 128, "characters",
        "Longest `Idempotency-Key`. A UUID has 36.";
    IDEMPOTENCY_SECONDS: u32 = 24 * 3600, "seconds",
        "How long the answer to an `Idempotency-Key` is kept: a day of retries.";
    EVENTS_WAIT_SECONDS_MAX: u32 = 30, "seconds",
        "Longest time that `GET /v1/events` waits for an event. Proxies cut silent requests after a minute.";
    EVENTS_WAITING_MAX: usize = 8, "requests",
        "Requests of a project that wait for events at the same time. A consumer needs one; a second takes over.";
    EVENTS_DAYS_DEFAULT: u32 = 30, "days",
        "How long events are kept when the operator says nothing: a month to catch up with.";
    HISTORY_DAYS_DEFAULT: u32 = 30, "days",
        "How long it is kept who was in which room, when the operator says nothing.";
    USAGE_DAYS_DEFAULT: u32 = 400, "days",
        "How long usage is kept when the operator says nothing: a year and the month in which its bill is checked.";
    USAGE_DAYS_ASKED_MAX: u32 = 400, "days",
        "Most days of usage in one request.";
    REQUESTS_PER_SECOND: u32 = 50, "requests per second",
        "Sustained REST requests of one API key. A busy partner starts a few rooms per second.";
    REQUESTS_BURST: u32 = 200, "requests",
        "REST requests of one API key at once, after a pause.";
    MESSAGES_PER_SECOND: u32 = 50, "messages per second",
        "Sustained WebSocket messages of one client. An SDK sends a few per second at most.";
    MESSAGES_BURST: u32 = 200, "messages",
        "WebSocket messages of one client at once, after a pause; a resume sends again what was lost.";
    MESSAGES_RESUMABLE_MAX: usize = 1024, "messages",
        "Messages kept for a client that is away. One that missed more joins anew.";
    BYTES_RESUMABLE_MAX: usize = 1024 * 1024, "bytes",
        "Memory for messages kept for a client that is away.";
    TRACKS_OFFERED_MAX: usize = 4, "tracks",
        "Tracks of one participant: one of each source.";
    TRACKS_WANTED_MAX: usize = 100, "tracks",
        "Tracks named in one `want`. A page shows fewer; the rest follows in the server's order.";
    AUDIO_SLOTS_MAX: u32 = 16, "media sections",
        "Receiving audio sections of one client. The loudest share them; more than a few cannot be told apart by ear.";
    VIDEO_SLOTS_MAX: u32 = 25, "media sections",
        "Receiving video sections of one client: a 5 by 5 grid. An offer of all of them fits into one message.";
    SDK_CHARS_MAX: usize = 64, "characters",
        "Longest SDK name and version in `join`.";
    OFFER_SECONDS_MAX: u32 = 5, "seconds",
        "Time in which a media node answers an offer; it takes milliseconds.";
    WEBHOOKS_MAX: u32 = 16, "endpoints",
        "Webhook endpoints of a project, unless the operator sets another quota. Every event is sent to each, so cost grows with their number.";
    WEBHOOK_URL_BYTES_MAX: usize = 2048, "bytes",
        "Longest URL of a webhook endpoint; what common servers take.";
    WEBHOOK_OVERLAP_SECONDS_MAX: u32 = 7 * 24 * 3600, "seconds",
        "Longest time for which an endpoint's old secret signs beside the new one.";
    WEBHOOK_OVERLAP_SECONDS_DEFAULT: u32 = 24 * 3600, "seconds",
        "Time for which an endpoint's old secret signs beside the new one when the rotation names none.";
    WEBHOOK_REPLAY_MAX: u32 = 1000, "events",
        "Events that one replay request takes up; the answer tells where to go on.";
    WEBHOOK_LOG_DAYS: u32 = 7, "days",
        "How long a delivery that succeeded stays in the list of deliveries.";
}

const _: () = {
    assert!(PARTICIPANTS_MAX_DEFAULT <= PARTICIPANTS_MAX);
    assert!(EMPTY_TIMEOUT_SECONDS_MIN <= EMPTY_TIMEOUT_SECONDS_DEFAULT);
    assert!(EMPTY_TIMEOUT_SECONDS_DEFAULT <= EMPTY_TIMEOUT_SECONDS_MAX);
    assert!(TOKEN_SECONDS_DEFAULT <= TOKEN_SECONDS_MAX);
    assert!(PAGE_SIZE_DEFAULT <= PAGE_SIZE_MAX);
    assert!(SDP_BYTES_MAX <= crate::ws::MESSAGE_BYTES_MAX);
    // Every promised slot fits into one offer, with a camera, a screen and their sound. Chromium
    // writes 4.6 kB in 145 lines for a video section and 1.1 kB in 30 for audio; room for more
    // codecs. JSON escapes the end of each line with two more bytes.
    let video = (VIDEO_SLOTS_MAX as usize + 2) * (6 * 1024 + 2 * 200);
    let audio = (AUDIO_SLOTS_MAX as usize + 2) * (2 * 1024 + 2 * 60);
    assert!(video + audio + 8 * 1024 <= crate::ws::MESSAGE_BYTES_MAX);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_value_a_unit_and_a_reason() {
        for limit in ALL {
            assert!(limit.value > 0, "{}", limit.name);
            assert!(!limit.unit.is_empty() && limit.reason.len() > 20, "{}", limit.name);
        }
    }
}
