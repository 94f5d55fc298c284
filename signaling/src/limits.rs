//! Bounds of signaling that are not part of the public contract ([`sdk_spec::limits`] are).

use std::time::Duration;

use sdk_spec::{limits as public, ws};

/// Silence after which a socket is given up.
pub const DEAD: Duration = Duration::from_secs(ws::DEAD_SECONDS);
/// How long a cut session can be resumed.
pub const RESUME: Duration = Duration::from_secs(ws::RESUME_SECONDS);
/// How long the first message may take.
pub const FIRST_MESSAGE: Duration = Duration::from_secs(ws::FIRST_MESSAGE_SECONDS);
/// How long a media node may take to answer an offer.
pub const OFFER: Duration = Duration::from_secs(public::OFFER_SECONDS_MAX as u64);

/// Commits of a room that are not stored yet, above which nothing more is accepted that would make
/// one: seconds of changes of a busy room. What nobody decides (a connection is lost) is still taken,
/// and bounded by who is in.
pub const COMMITS_PENDING_MAX: u64 = 1024;
/// Bans that a room remembers. The store has all of them and is asked before a join; these are for
/// the moment between both.
pub const BANS_KEPT_MAX: usize = 1000;
/// Handles that a room sent to its breakout rooms and expects back: as many as it may have.
pub const EXPECTED_MAX: usize = public::PARTICIPANTS_MAX as usize;
/// Breakout rooms that a room creates in an hour: four times as many as it may have at once. Each is a row
/// and a task.
pub const BREAKOUTS_PER_HOUR_MAX: usize = 4 * public::BREAKOUTS_MAX;
/// Closed sessions of a room of which a last count of traffic may come: a full room that ends.
pub const DEPARTED_MAX: usize = public::PARTICIPANTS_MAX as usize;

/// Commands waiting for one room. A room takes some microseconds for each; senders wait, so a
/// flood slows down its own connection.
pub const ROOM_QUEUE_MAX: usize = 1024;
/// Messages waiting for one socket. A slower reader is cut and resumes; more than this would be
/// seconds of news for a client that cannot follow anyway. A join or resume may send as many as
/// [`public::MESSAGES_RESUMABLE_MAX`] at once.
pub const SOCKET_QUEUE_MAX: usize = public::MESSAGES_RESUMABLE_MAX + 64;
/// Bytes of such messages: what a resume may send at once, and news meanwhile. What many hear is in memory
/// once.
pub const SOCKET_QUEUE_BYTES_MAX: usize = public::BYTES_RESUMABLE_MAX + 256 * 1024;
/// Bytes of a WebSocket message that count as one message of its rate. A browser's offer of a few
/// sections has about this; the largest message counts for 33, so a client can have 1.5 of them
/// parsed per second, about 10 ms of work.
pub const MESSAGE_BYTES_PER_TOKEN: usize = 8 * 1024;
/// When a command that ends media is sent again to a node that was too busy for it. A removed
/// participant may be heard so much longer; a node takes thousands of commands in this time.
pub const CLOSE_AGAIN: Duration = Duration::from_millis(50);
/// First pause before the end of a broken room is stored again; each further one is twice as long.
pub const STORE_AGAIN: Duration = Duration::from_secs(1);
/// Longest such pause.
pub const STORE_AGAIN_MAX: Duration = Duration::from_secs(60);
/// How often the end of a broken room is tried to be stored: for about a quarter of an hour. Then
/// the room is left to the next start, which gives every open one its task.
pub const STORE_TRIES_MAX: u32 = 20;
/// Commits of all rooms that wait for the store: 10 MB of a few hundred bytes each, or some seconds
/// of a store that stands still.
pub const JOURNAL_QUEUE_MAX: usize = 8192;
/// Commits stored in one transaction. One costs about 0.3 ms besides the sync to disk, and a
/// transaction must not keep other writers waiting for long.
pub const JOURNAL_BATCH_MAX: usize = 256;
/// First pause before commits are stored again; each further one is twice as long.
pub const JOURNAL_AGAIN: Duration = Duration::from_millis(50);
/// Longest such pause: what waits is stored so soon after the store is back.
pub const JOURNAL_AGAIN_MAX: Duration = Duration::from_secs(2);
/// Commits that a room keeps itself while the journal's queue is full, above which it takes nothing
/// new until some are stored, as above [`COMMITS_PENDING_MAX`].
pub const ROOM_COMMITS_MAX: usize = 64;
/// How long a room that is over waits for what the media node counted of its sessions: it tells it as it
/// closes them.
pub const LAST_TRAFFIC: Duration = Duration::from_secs(1);
/// How long the journal gets to store what waits when the server stops.
pub const JOURNAL_DRAIN: Duration = Duration::from_secs(5);
/// How often a signaling process says that it lives: a stay that a crash ended is this long too short at
/// most.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence in milliseconds after which another process of the same database takes one for dead: longer than
/// a statement waits for a lock and a transaction takes.
pub const NODE_DEAD_MS: u64 = 15_000;
/// How long a process that starts waits for the end of another one of its database: a little longer than
/// one that crashed counts as alive.
pub const TAKE_OVER_WAIT: Duration = Duration::from_millis(NODE_DEAD_MS + 5000);
/// How often it looks.
pub const TAKE_OVER_AGAIN: Duration = Duration::from_millis(250);
/// How long a room's second end waits for the first one: the last traffic, and a store that is busy.
pub const ROOM_END_WAIT: Duration = Duration::from_secs(10);
/// How often it looks.
pub const ROOM_END_POLL: Duration = Duration::from_millis(20);
/// How often dead processes are looked for.
pub const RECOVER_EVERY: Duration = Duration::from_secs(5);
/// Stays of a dead process ended in one transaction.
pub const STAYS_AT_ONCE: i64 = 256;
/// How often tokens for a move to another room are tried to be minted.
pub const TRANSFER_TRIES_MAX: u32 = 5;
/// How long one write to a socket may block before its reader counts as too slow.
pub const SOCKET_WRITE: Duration = Duration::from_secs(10);
/// How long a closing handshake of a WebSocket may take.
pub const SOCKET_CLOSE: Duration = Duration::from_secs(2);

/// How long a request may take to be answered, body included. Longer than [`OFFER`].
pub const REQUEST: Duration = Duration::from_secs(15);
/// How long a request may take that may wait for events.
pub const REQUEST_WAITING: Duration =
    Duration::from_secs(REQUEST.as_secs() + public::EVENTS_WAIT_SECONDS_MAX as u64);
/// Requests that wait for events at the same time, of all projects: each looks into the database
/// once a second, 0.1 ms each.
pub const POLLS_MAX: usize = 512;
/// How often a waiting request looks for events of other nodes.
pub const POLL_LOOK: Duration = Duration::from_secs(1);
/// How long a waiting request that was woken for nothing sleeps at least.
pub const POLL_PAUSE: Duration = Duration::from_millis(100);
/// Events that one request looks at: 10 ms of the database for a filter that finds nothing.
pub const EVENTS_SCANNED_MAX: u64 = 10_000;
/// Days of the event log at least: longer than an endpoint of webhooks may fail (5 days), whose events
/// wait there.
pub const EVENTS_DAYS_MIN: u32 = 6;
/// Events of a project that one purge deletes: some 100 ms in which SQLite writes nothing else.
pub const EVENTS_PURGED_MAX: u64 = 20_000;
/// Events counted in one transaction: some 10 ms in which SQLite writes nothing else.
pub const FOLD_BATCH: u32 = 200;
/// Transactions of counting before one answer: what a busy project writes in a minute.
pub const FOLD_AT_ONCE: u32 = 50;
/// How often usage is counted while events come.
pub const FOLD_EVERY: Duration = Duration::from_secs(5);
/// How often usage is looked after when this process writes no events.
pub const FOLD_IDLE: Duration = Duration::from_secs(60);
/// How long an ended stay is kept for the bytes that are told of late; in time of the log.
pub const ENDED_STAY_MS: u64 = 24 * 3600 * 1000;

/// How long the head of a request may take (slowloris).
pub const REQUEST_HEAD: Duration = Duration::from_secs(5);
/// Headers of a request. Browsers send about twenty.
pub const HEADERS_MAX: usize = 64;
/// Streams of one HTTP/2 connection. More wait at the client; each may have a body in memory.
pub const STREAMS_MAX: u32 = 16;
/// Bytes that a client may send ahead on one HTTP/2 stream: a REST body at once.
pub const STREAM_WINDOW: u32 = 64 * 1024;
/// Bytes that a client may send ahead on one HTTP/2 connection: the largest SDP at once. Bounds what
/// is kept of bodies that nobody reads.
pub const CONNECTION_WINDOW: u32 = 256 * 1024;
/// SDP bodies being read at the same time, one for each token: 32 MiB at most. Above it WHIP and WHEP are unavailable
/// for the moment.
pub const SDP_READING_MAX: usize = 128;
/// How long an SDP body may take. A place among [`SDP_READING_MAX`] is held so long.
pub const SDP_BODY: Duration = Duration::from_secs(5);
/// Read buffer of a WebSocket; it grows with a message. The library's default is 128 KiB, which
/// everybody could claim before the first message.
pub const SOCKET_READ_BUFFER: usize = 4 * 1024;
/// How long a TLS handshake may take.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(10);
/// How long open connections get to finish when the server stops.
pub const SHUTDOWN: Duration = Duration::from_secs(5);

/// API keys whose rate is remembered: 200 bytes each. Only accepted keys are counted, so this is
/// reached by a partner with as many keys, not by guessing.
pub const RATED_KEYS_MAX: usize = 10_000;

/// How long the store has to tell of an API key before a recording is stopped with what was known of
/// the key: people were promised that it stops within a second.
pub const KEY_ANSWER: Duration = Duration::from_millis(400);
/// How long what the store told of an API key may be used so: a partner's server asks at least daily.
pub const KNOWN_KEY: Duration = Duration::from_secs(24 * 3600);
/// API keys remembered for it: 400 bytes each.
pub const KNOWN_KEYS_MAX: usize = 10_000;
/// How long a request that stops, pauses or resumes a recording waits until that is stored.
pub const RECORDING_TURN: Duration = Duration::from_secs(5);

/// Unknown or forged credentials of one address (IPv6: one /64) in a second, sustained. Right ones are
/// always taken.
pub const FAILED_PER_SECOND: u32 = 5;
/// Unknown or forged credentials of one address at once: a class behind one address whose partner
/// replaced its signing key.
pub const FAILED_BURST: u32 = 100;
/// Addresses whose failures are remembered: 50 bytes each. At the bound all are forgotten, which
/// helps nobody who has so many addresses anyway.
pub const FAILED_ADDRESSES_MAX: usize = 50_000;

/// How often expired rows are deleted.
pub const PURGE_EVERY: Duration = Duration::from_secs(60);
/// Rows of a table that one transaction of a purge deletes: some 20 ms in which SQLite writes nothing
/// else, far below [`STORE_STATEMENT`].
pub const PURGE_BATCH: u64 = 2_000;
/// Such transactions for a table in one purge: 200,000 rows a minute.
pub const PURGE_BATCHES_MAX: u32 = 100;
/// How long a closed room's row is kept.
pub const CLOSED_ROOM_MS: u64 = 24 * 3600 * 1000;
/// How long the row of a revoked key is kept: for the operator's questions.
pub const REVOKED_KEY_MS: u64 = 30 * 24 * 3600 * 1000;
/// How long a room waits before it asks again for a policy that cannot be had.
pub const POLICY_AGAIN: Duration = Duration::from_secs(3);
/// How long after the end of a recording its journal may yet begin: what was sent last waits in the
/// ring and for the store, seconds each.
pub const JOURNAL_LATE_MS: u64 = 10_000;
/// How long after the end of its age a recording that its recorder has not purged is anybody's to be purged as
/// lost: a recorder that is down for a day is not gone.
pub const RECORDER_LOST_MS: u64 = 24 * 3600 * 1000;
/// Recordings that the recorder reads at once; it asks again for more.
pub const RECORDINGS_READ: u32 = 200;
/// Events of a room that the timeline of a recording has at most, 200 bytes each: two days of a room in
/// which somebody joins, publishes or leaves each second.
pub const TIMELINE_EVENTS_MAX: u32 = 200_000;
/// Tests of storage targets at the same time; each connects to somebody's storage.
pub const STORAGE_TESTS_MAX: usize = 16;
/// Of them, those of one project: none can keep all others from testing.
pub const STORAGE_PROJECT_TESTS_MAX: usize = 2;
/// How long a test of a storage target may take. Shorter than [`REQUEST`], which waits for it.
pub const STORAGE_TEST: Duration = Duration::from_secs(12);
/// Projects whose participants' places are remembered, above which those without an open room are
/// forgotten: 150 bytes each.
pub const SEATED_PROJECTS_MAX: usize = 10_000;
/// Projects whose rate is remembered; as [`RATED_KEYS_MAX`].
pub const RATED_PROJECTS_MAX: usize = 10_000;
/// Connections to the database that read at the same time; SQLite has one writer beside them.
pub const STORE_READERS: u32 = 4;
/// Connections to PostgreSQL.
pub const STORE_CONNECTIONS: u32 = 10;
/// How long a statement waits for a connection or a lock of the database.
pub const STORE_WAIT: Duration = Duration::from_secs(5);
/// How long a statement may take; PostgreSQL ends a longer one. Requests are answered within
/// [`REQUEST`].
pub const STORE_STATEMENT: Duration = Duration::from_secs(10);
/// How long a transaction may wait for us; PostgreSQL ends a longer one, so that a node that hangs
/// holds no locks.
pub const STORE_IDLE_TRANSACTION: Duration = Duration::from_secs(30);
/// Bytes of a line of a backup: a row. The largest values (idempotent answers, settings) have kilobytes.
pub const BACKUP_LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How long a connection to PostgreSQL is used, so that a change of servers reaches all of them.
pub const STORE_CONNECTION_LIFE: Duration = Duration::from_secs(30 * 60);

/// How long an attempt to deliver a webhook may take, name lookup included.
pub const WEBHOOK_ATTEMPT: Duration = Duration::from_secs(15);
/// How long a test of a webhook endpoint may take. Shorter than [`REQUEST`], which waits for it.
pub const WEBHOOK_TEST: Duration = Duration::from_secs(10);
/// Tests of webhook endpoints at the same time.
pub const WEBHOOK_TESTS_MAX: usize = 32;
/// Of them, those of one project: none can keep all others from testing.
pub const WEBHOOK_PROJECT_TESTS_MAX: usize = 4;
/// Bytes of the head of a receiver's answer.
pub const WEBHOOK_ANSWER_HEAD: usize = 16 * 1024;
/// Bytes of the body of a receiver's answer that are read, and thrown away.
pub const WEBHOOK_ANSWER_BYTES: usize = 4 * 1024;
/// How long a receiver may take for the body of its answer; the status has decided already.
pub const WEBHOOK_ANSWER: Duration = Duration::from_secs(1);
/// Attempts under way in this process: about 50 kB each.
pub const WEBHOOK_FLIGHTS_MAX: usize = 512;
/// Attempts under way to one endpoint. While half of [`WEBHOOK_FLIGHTS_MAX`] are taken an endpoint
/// has one, so that slow receivers do not hold up the others.
pub const WEBHOOK_ENDPOINT_FLIGHTS_MAX: usize = 8;
/// Events that are taken up for one endpoint in one step: 30 kB of memory.
pub const WEBHOOK_BATCH: usize = 256;
/// Pending deliveries of one endpoint, 200 bytes of memory each. So many are reached when many rooms
/// have an event that the receiver refuses; then the rest of the log waits.
pub const WEBHOOK_PENDING_MAX: usize = 10_000;
/// Endpoints that one process sends to at a time.
pub const WEBHOOK_OWNED_MAX: usize = 2_000;
/// How long an endpoint belongs to a process that is not heard of: after a crash deliveries stand
/// still for so long when others share the database. Longer than [`WEBHOOK_ATTEMPT`].
pub const WEBHOOK_LEASE_MS: u64 = 45_000;
/// What must be left of a lease for an attempt to begin.
pub const WEBHOOK_LEASE_LEFT_MS: u64 = 20_000;
/// A lease with less than this left is renewed.
pub const WEBHOOK_LEASE_RENEW_MS: u64 = 35_000;
/// How often the outbox is looked at without a word of news: other nodes write to it too.
pub const WEBHOOK_LOOK: Duration = Duration::from_secs(1);
/// How long a delivery that succeeded is kept, for the list of deliveries.
pub const WEBHOOK_DELIVERED_MS: u64 = public::WEBHOOK_LOG_DAYS as u64 * 24 * 3600 * 1000;
/// How long a dead letter is kept.
pub const WEBHOOK_DEAD_MS: u64 = 30 * 24 * 3600 * 1000;

const _: () = assert!(WEBHOOK_TEST.as_secs() < REQUEST.as_secs());
const _: () = assert!(STORAGE_TEST.as_secs() < REQUEST.as_secs());
const _: () = assert!(
    WEBHOOK_LEASE_LEFT_MS
        > (WEBHOOK_ATTEMPT.as_millis() + egress::limits::LOOKUP_WAIT.as_millis()) as u64
);
const _: () = assert!(WEBHOOK_LEASE_MS > WEBHOOK_LEASE_RENEW_MS);
const _: () = assert!(WEBHOOK_LEASE_RENEW_MS > WEBHOOK_LEASE_LEFT_MS + 10_000);

const _: () = assert!(REQUEST.as_secs() > OFFER.as_secs());
const _: () = assert!(REQUEST.as_secs() > RECORDING_TURN.as_secs() + STORE_WAIT.as_secs());
const _: () = assert!(REQUEST.as_secs() > STORE_STATEMENT.as_secs());
const _: () = assert!(ENDED_STAY_MS > crate::usage::fold::LATE_BYTES_MS);
const _: () = assert!(DEAD.as_secs() > ws::PING_SECONDS);

/// How often checkpoints of audit logs that grew are signed. A partner can prove a change this late.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(5);
/// Entries that one checkpoint covers at most beyond the one before: bounds a transaction.
pub const CHECKPOINT_ENTRIES_MAX: u32 = 2000;
