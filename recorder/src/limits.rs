//! Every limit of the recorder: its name, unit and reason.

use std::{num::NonZeroU64, time::Duration};

// seal

/// Recipients of a recording. Each costs 100 bytes of every artifact; a partner with more hands its
/// key on.
pub const RECIPIENTS_MAX: usize = 32;
/// Characters of a recipient: an X25519 one has 62.
pub const RECIPIENT_CHARS_MAX: usize = 128;
/// Identities tried on an artifact by `conclave recording verify`.
pub const IDENTITIES_MAX: usize = 100;
/// Bytes of the header of an `age` file that is opened: ten times that of [`RECIPIENTS_MAX`]
/// recipients. The parser's work grows with its square.
pub const AGE_HEADER_BYTES_MAX: u64 = 64 * 1024;

// evidence

/// Bytes of an artifact's name, folders included: file systems and object stores take 255 and more.
pub const ARTIFACT_NAME_BYTES_MAX: usize = 200;
/// Artifacts of a recording: a day of HLS pieces of six seconds in one rendition, tracks, and journal files.
pub const ARTIFACTS_MAX: usize = 30_000;
/// Bytes of a manifest and of each other text of evidence that is written or read: some kB for each
/// of [`ARTIFACTS_MAX`].
pub const EVIDENCE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Published keys of a recorder, and keys that a verifier is given: one a week for ten years.
pub const PUBLISHED_KEYS_MAX: usize = 1000;
/// Bytes of a file of public keys: [`PUBLISHED_KEYS_MAX`] of 512 bytes.
pub const KEYS_BYTES_MAX: u64 = 512 * 1024;
/// Bytes of the file of a private signing key: one of Ed25519 has 48.
pub const SIGNING_KEY_BYTES_MAX: u64 = 256;
/// Files in a folder that verification names as belonging to nothing.
pub const UNLISTED_NAMED_MAX: usize = 20;
/// Bytes of a deletion receipt: digests of [`ARTIFACTS_MAX`] artifacts.
pub const RECEIPT_BYTES_MAX: u64 = 16 * 1024 * 1024;

// finalize: texts

/// Records, apart from packets and reports, by which one that comes again is known: of hours, and some MB.
pub(crate) const REPEATS_MAX: usize = 65_536;
/// Texts in `data.json`: 12 hours of 23 a second.
pub(crate) const TEXTS_MAX: u64 = 1_000_000;
/// Bytes of its entries: what a reader may take into memory at once.
pub(crate) const TEXTS_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Bytes of one entry, at most: a text of 4,096 control characters, each six characters in JSON, and a
/// hundred ids.
pub(crate) const TEXT_JSON_BYTES: usize = 32 * 1024;

// finalize: align

/// Most sender reports kept of a stretch; of more every second, fourth, … is kept. 256 over hours fix a
/// slope to well below 1 ppm.
pub(crate) const FIT_POINTS_MAX: usize = 256;
/// Most points whose pairs are compared for a slope: 20,000 pairs, below a millisecond.
pub(crate) const FIT_SLOPES_POINTS_MAX: usize = 200;
/// Shortest span of sender reports that tells a slope, µs: a report is good to about a millisecond, so
/// less would make ppm of noise.
pub(crate) const FIT_SPAN_US_MIN: i64 = 10_000_000;
/// Largest drift of a media clock that is believed, ppm. Crystals are below 100.
pub(crate) const FIT_PPM_MAX: f64 = 1_000.0;
/// Stretch of which the least delayed report or packet counts, µs.
pub(crate) const FLOOR_BUCKET_US: i64 = 30_000_000;
/// Most such stretches; more are joined in pairs.
pub(crate) const FLOOR_BUCKETS_MAX: usize = 1_024;
/// Shortest span that tells a drift between a publisher's clock and ours, µs: delays change by tens of
/// milliseconds, which over ten minutes are tens of ppm at most.
pub(crate) const FLOOR_SPAN_US_MIN: i64 = 600_000_000;
/// Largest such drift that is believed, ppm: twice what clocks under NTP may be steered.
pub(crate) const FLOOR_PPM_MAX: f64 = 1_000.0;
/// Sender reports that differ by more from the ones before tell of a clock that was set anew, µs.
pub(crate) const REPORT_JUMP_US: i64 = 500_000;
/// Most such changes of one epoch; a publisher who makes more has no usable clock.
pub(crate) const STRETCHES_MAX: usize = 64;
/// Farthest that a packet is placed before its arrival, µs. Buffers of bad networks hold seconds.
pub(crate) const ALIGN_EARLY_US_MAX: i64 = 10_000_000;
/// Farthest that a packet is placed after its arrival, µs: nothing arrives before it is sent, so more
/// than rounding and drift is a lie.
pub(crate) const ALIGN_LATE_US_MAX: i64 = 1_000_000;
/// Most epochs of a recording whose clocks are kept; packets of more are placed by arrival.
pub(crate) const EPOCHS_MAX: usize = 16_384;

// finalize: depacketize

/// How long a missing packet is waited for, µs: the forwarding unit asks for it for 1 to 2 s.
pub(crate) const REORDER_WAIT_US: i64 = 2_000_000;
/// How long the first packet of an epoch waits for one before it, µs.
pub(crate) const REORDER_START_US: i64 = 200_000;
/// Most packets of a track behind a hole: 2 s at 2,000 packets/s.
pub(crate) const REORDER_PACKETS_MAX: usize = 4_096;
/// Most bytes of a track behind a hole.
pub(crate) const REORDER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest picture, bytes. A 4K key frame is below 1 MiB.
pub(crate) const PICTURE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most frames of a VP9 superframe (bitstream specification, annex B.2: three bits).
pub(crate) const VP9_FRAMES_PER_PICTURE_MAX: usize = 8;
/// Most bytes of H.264 parameter sets in use at once. Real ones have less than 200.
pub(crate) const PARAMETER_SETS_BYTES_MAX: usize = 8 * 1024;

// finalize: mux

/// Largest cluster of a WebM file, bytes; also what a file holds in memory.
pub(crate) const CLUSTER_BYTES_MAX: u64 = 1024 * 1024;
/// Longest cluster, µs. Block times are 16 bits of milliseconds: 32 s.
pub(crate) const CLUSTER_US_MAX: i64 = 5_000_000;
/// A key frame begins a cluster when the last one is at least this long, µs.
pub(crate) const CLUSTER_KEY_US_MIN: i64 = 1_000_000;
/// Least time between two cues, µs.
pub(crate) const CUE_US_MIN: i64 = 1_000_000;
/// Most cues: 69 bytes each in front of the file.
pub(crate) const CUES_MAX: usize = 65_536;
/// Longest Ogg page, samples of 48 kHz: one second (RFC 7845 section 3 wants no more).
pub(crate) const OGG_PAGE_TICKS_MAX: i64 = 48_000;
/// Largest MP4 fragment, bytes; also what a file holds in memory.
pub(crate) const FRAGMENT_BYTES_MAX: usize = 1024 * 1024;
/// A fragment this long ends, 90 kHz.
pub(crate) const FRAGMENT_TICKS_MAX: u64 = 180_000;
/// Ticks of a millisecond in an MP4, 90 kHz.
pub(crate) const FRAGMENT_TICKS_PER_MS: u64 = 90;
/// A key frame begins a fragment when the last one is at least this long, 90 kHz.
pub(crate) const FRAGMENT_KEY_TICKS_MIN: u64 = 90_000;
/// Most samples of a fragment: two seconds at 120/s, and room.
pub(crate) const FRAGMENT_SAMPLES_MAX: usize = 512;
/// Most sample entries of an MP4 file: every rung of simulcast and of bandwidth adaptation, and room.
/// Pictures that need another are left out.
pub(crate) const SAMPLE_ENTRIES_MAX: usize = 64;

// finalize: files and events

/// Longest recording, µs: two days.
pub(crate) const RECORDING_US_MAX: i64 = 48 * 3_600 * 1_000_000;
/// Most files of a recording; tracks that would need more are left out.
pub(crate) const FILES_MAX: usize = 4_096;
/// Most gaps listed for a file; more are counted.
pub(crate) const GAPS_MAX: usize = 10_000;
/// Shortest gap that is listed, µs: half an audio packet.
pub(crate) const GAP_US_MIN: i64 = 10_000;
/// Silences (DTX) nearer than this are one, µs: between them a comfort noise packet of 20 ms or so.
pub(crate) const DTX_JOIN_US: i64 = 100_000;
/// Most resolution changes listed for a file.
pub(crate) const RESOLUTIONS_MAX: usize = 1_000;
/// Most events of a recording; more are counted.
pub(crate) const EVENTS_MAX: usize = 200_000;
/// Most speakers of one event, as the forwarding unit names.
pub(crate) const SPEAKERS_MAX: usize = 16;

// key

/// Bytes of an armored wrap to [`RECIPIENTS_MAX`] recipients, about 130 each, and some.
pub const PARTNER_WRAP_BYTES_MAX: usize = 16 * 1024;

// journal

/// Longest time that what was appended waits for the disk: what a crash may cost.
pub const JOURNAL_FLUSH: Duration = Duration::from_millis(250);
/// Plaintext bytes of a chunk, and of a batch: at 16 Mbit/s as much as [`JOURNAL_FLUSH`] brings.
/// Readers allocate no more than this on the word of a file.
pub const JOURNAL_CHUNK_BYTES_MAX: usize = 512 * 1024;
/// Time between signed checkpoints: how much of the end of a file is not yet signed for.
pub const JOURNAL_CHECKPOINT: Duration = Duration::from_secs(10);
/// Bytes of a file after which the next one is begun: an hour of four people, half a minute to read.
pub const JOURNAL_FILE_BYTES_MAX: u64 = 1 << 30;
/// Files of a recording: ten terabytes, or a crash every minute for a week.
pub const JOURNAL_FILES_MAX: usize = 10_000;
/// Age of a journal file that is pushed while its recording goes on, after which the next one is begun: what
/// is left to push at the end.
pub const LIVE_FILE_AFTER: Duration = Duration::from_secs(20);
/// Bytes of such a file: with the last chunk and sealed it is one part of a push.
pub const LIVE_FILE_BYTES: u64 = 15 * 1024 * 1024;
/// After so many such files of a recording they grow to twice the age and size, then to thrice, and so on: two
/// days are 3,700 files.
pub const LIVE_FILES_STEP: u32 = 1_000;
/// After so many, at 300 GB, they are as large as those of other recordings: a fast one must not end because
/// it has [`JOURNAL_FILES_MAX`].
pub const LIVE_FILES_MAX: u32 = 6_000;
/// Files begun anew for one chunk when the disk fails. A disk that fails three times running will
/// not heal within the seconds that memory can bridge.
pub const JOURNAL_ROTATIONS_MAX: u32 = 3;
/// Bytes of the file of wrapped keys that a reader accepts.
pub const KEYS_FILE_BYTES_MAX: u64 = 64 * 1024;

const _: () = {
    assert!(CLUSTER_US_MAX + ALIGN_EARLY_US_MAX + ALIGN_LATE_US_MAX < 32_000_000);
    assert!(PICTURE_BYTES_MAX < 1 << 28, "a SimpleBlock's size has four bytes");
    assert!(OGG_PAGE_TICKS_MAX / 120 <= 255 * 2, "a page has 255 segments");
    assert!(JOURNAL_CHUNK_BYTES_MAX < u32::MAX as usize / 2);
    assert!(JOURNAL_FILE_BYTES_MAX > 4 * JOURNAL_CHUNK_BYTES_MAX as u64);
    assert!((LIVE_FILES_MAX as usize) < JOURNAL_FILES_MAX);
    assert!(LIVE_FILE_BYTES + (JOURNAL_CHUNK_BYTES_MAX as u64) < PART_BYTES - PART_BYTES / 64);
    assert!(JOURNAL_FLUSH.as_millis() < JOURNAL_CHECKPOINT.as_millis());
    assert!(KEYS_FILE_BYTES_MAX > 2 * PARTNER_WRAP_BYTES_MAX as u64);
};

// storage

/// Bytes of a part: above the 5 MiB that S3 asks for, small enough to be held and sent again.
pub const PART_BYTES: u64 = 16 * 1024 * 1024;
/// Parts of an object, as many as S3 takes. Parts grow when there would be more.
pub const PARTS_MAX: usize = 10_000;
/// Bytes that parts may grow to: they are held in memory. A file may so have 1.25 TiB.
pub const PART_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Characters of the name of an object, below the storage's own 1024.
pub const KEY_BYTES_MAX: usize = 512;
/// Characters between two slashes: what file systems take, with room for `.part` and numbers.
pub const KEY_SEGMENT_BYTES_MAX: usize = 200;
/// Characters of a path template.
pub const TEMPLATE_BYTES_MAX: usize = 256;
/// Characters of a credential; the JSON key of a service account has about 2400.
pub const SECRET_BYTES_MAX: usize = 16 * 1024;
/// Characters of another setting of a storage.
pub const TARGET_TEXT_BYTES_MAX: usize = 1024;
/// Bytes that go out in one piece under the bandwidth cap.
pub const PUSH_SLICE_BYTES: usize = 64 * 1024;
/// What may go out at once after a pause, as time at the capped rate.
pub const PUSH_BURST: Duration = Duration::from_millis(200);
/// Bytes per second below which a cap makes no sense: a slice would take longer than a receiver waits.
pub const PUSH_RATE_MIN: NonZeroU64 = NonZeroU64::new(256 * 1024).unwrap();
/// First delay before a push is tried again; doubled from then on.
pub const PUSH_DELAY_FIRST: Duration = Duration::from_secs(1);
/// Longest delay before a push is tried again: what a storage that comes back waits for us.
pub const PUSH_DELAY_MAX: Duration = Duration::from_secs(3600);
/// How long a storage may do nothing. Amazon takes a minute to put large objects together.
pub const STALL: Duration = Duration::from_secs(120);
/// Bytes of the head of an answer.
pub const ANSWER_HEAD_BYTES: usize = 32 * 1024;
/// Headers of an answer.
pub const ANSWER_HEADERS_MAX: usize = 100;
/// Bytes of an answer that says why something was refused.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of one read or write of SFTP: what every server takes.
pub const SFTP_BLOCK_BYTES: usize = 32 * 1024;
/// Of them, how many are under way: 2 MiB, enough for 20 MB/s at 100 ms.
pub const SFTP_BLOCKS_MAX: usize = 64;

const _: () = {
    assert!(PART_BYTES >= 5 * 1024 * 1024 && PART_BYTES <= PART_BYTES_MAX);
    assert!(KEY_SEGMENT_BYTES_MAX + ".00000.part".len() <= 255);
};

// service

/// Recordings whose batches are known to be refused: those of the last hours, far more than run.
pub const LIVE_REFUSED_MAX: usize = 10_000;
/// Time between two looks at the free space of the spool: one call of microseconds.
pub const SPACE_LOOK: Duration = Duration::from_secs(1);
/// Longest time that a writer may take to bring all its journals to disk before no more recordings are
/// taken: near [`JOURNAL_FLUSH`] it falls behind.
pub const ROUND_MAX: Duration = Duration::from_millis(200);
/// Time after which a writer's last round says nothing any more: it has had no journal to write.
pub const ROUND_IDLE: Duration = Duration::from_secs(2);
/// Threads that write journals: the syncs of as many recordings run at once. A round of 100 recordings at
/// 1.5 Mbit/s took 424 ms with one, 89 with 4, 60 with 8, 39 with 16 (median, ext4, load 10:
/// `cargo test -p recorder --test journal_full -- --ignored --nocapture rounds`).
pub const WRITERS: usize = 16;
/// Recordings of a writer whose journals are about to begin; each is asked for in a task.
pub const WAITING_MAX: usize = 256;
/// Bytes of a recording that wait for its journal: 6 s at 10 Mbit/s, while the store or the disk stands
/// still.
pub const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of all recordings that wait for their journals: as many as the ring holds.
pub const WAITING_TOTAL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of all recordings beyond which those keep no more that wait for the disk: new ones need the rest.
pub const STUCK_TOTAL_BYTES_MAX: usize = WAITING_TOTAL_BYTES_MAX / 2;
/// How long a journal is waited for that the disk does not give: it is mounted late, or too many files
/// are open. Then the recording ends, so that its room knows.
pub const STUCK_WAIT: Duration = Duration::from_secs(30);
/// Longest time that the ledger may take to answer a task.
pub const LEDGER_WAIT: Duration = Duration::from_secs(10);
/// Time after which the ledger is asked or told again when the store stood still.
pub const LEDGER_AGAIN: Duration = Duration::from_secs(1);
/// How long the end of the process waits for journals that are about to begin.
pub const END_WAIT: Duration = Duration::from_secs(3);
/// Longest sleep of a writer: so late it hears an order.
pub const TAP_WAIT: Duration = Duration::from_millis(50);
/// Time between two notes of progress: one small transaction each.
pub const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// Time from a recording's end to the closing of its journal: media workers hand over what they have
/// within 20 ms, a room hears of the end before them.
pub const CLOSE_AFTER: Duration = Duration::from_millis(500);
/// Longest time from a recording's end to the closing of its journal when its media come over a link that is
/// cut: a media process that was not heard for half of it has said all that it will.
pub const CLOSE_AFTER_MAX: Duration = Duration::from_secs(60);
/// A wall clock that is so much ahead of the time that passed has jumped: no daemon corrects by as much, and
/// no age is shorter.
pub const CLOCK_JUMP: Duration = Duration::from_secs(3600);
/// How long such a clock is doubted, unless the operator says otherwise: until a daemon or somebody who hears
/// the alarm sets it right.
pub const CLOCK_DOUBT: Duration = Duration::from_secs(30 * 60);
/// Time between two looks for operator's keys that nobody needs; an hour's key lives so much longer
/// than its hour, so that every wrap is on disk when keys are counted. Folders that belong to nothing
/// are looked for at the same time.
pub const EPOCHS_LOOK: Duration = Duration::from_secs(300);
/// Recordings that are pushed at once: pushing waits for networks, a part of each is in memory.
/// Making files has places of its own, one for each core.
pub const PUSHES_MAX: usize = 16;
/// Of them, those of one project: a storage that trickles leaves places for the others.
pub const PUSHES_PER_PROJECT_MAX: usize = 4;
/// Of both, places that recordings may have which still go on: the others wait for their receipt.
pub const LIVE_PUSHES_MAX: usize = PUSHES_MAX / 2;
/// See [`LIVE_PUSHES_MAX`].
pub const LIVE_PUSHES_PER_PROJECT_MAX: usize = PUSHES_PER_PROJECT_MAX / 2;
/// Time between two looks for journal files of a live recording that are to be pushed.
pub const LIVE_LOOK: Duration = Duration::from_secs(5);
/// Files that a live recording pushes before others have their turn.
pub const LIVE_TURN_FILES: usize = 16;
/// Longest pause before a live recording's push is tried again: what waits then is what is left at the end.
pub const LIVE_AGAIN_MAX: Duration = Duration::from_secs(60);
/// The row of a live recording is told of pushed files when they are more by this part.
pub const LIVE_TOLD_PART: usize = 50;
/// Pushed files that the row of a live recording names, the newest: all rows are read at every look.
pub const LIVE_TOLD_FILES: usize = 50;
/// Recordings that are purged at once: each removes a folder and may wait [`TAKE_BACK_WAIT`].
pub const PURGES_MAX: usize = 256;
/// Time that a push which is to stop has for the part that is under way: a local folder needs less, and
/// with other storages nothing is left behind that the purge does not take back.
pub const PUSH_END: Duration = Duration::from_secs(2);
/// How long the receipt of a recording that arrived in part waits to be put beside these files: everything
/// is destroyed by then, and one of [`PURGES_MAX`] places is taken.
pub const RECEIPT_WAIT: Duration = Duration::from_secs(10);
/// Pause between two attempts at it.
pub const RECEIPT_AGAIN: Duration = Duration::from_secs(2);
/// How long a purge waits for a storage to take back what did not become whole there.
pub const TAKE_BACK_WAIT: Duration = Duration::from_secs(30);
/// Least time between two looks at all rows: news come with every event of the server.
pub const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long the supervisor waits for journals to be closed before it goes on with other recordings.
pub const CLOSE_WAIT: Duration = Duration::from_millis(250);
/// Time that jobs have to stop when the process ends; each looks several times a second.
pub const JOBS_END: Duration = Duration::from_secs(10);
/// Time that the supervisor has then: its jobs' and some.
pub const SUPERVISOR_END: Duration = Duration::from_secs(12);
/// Time that writers have to close their journals when the process ends: a disk that hangs must not keep
/// it. More than [`END_WAIT`].
pub const WRITERS_END: Duration = Duration::from_secs(10);
/// Most bytes of a file that holds room on the disk for the database's commits, and hundredths of the disk
/// when that is less: thousands of steps of rows.
pub const RESERVE_BYTES: u64 = 64 << 20;
/// Times that a step is taken again when others change the row meanwhile: they are people and rare.
pub const STEP_TRIES: u32 = 5;
/// Attempts to make files, about an hour, after which what cannot be made into files is handed over as
/// it is: that destroys nothing.
pub const MAKE_TRIES: u32 = 12;
/// Failed attempts, over [`MAKE_WAIT`] and with half of its age over, after which what cannot be read is
/// passed over: a passing error must not cost what the journal holds.
pub const MAKE_TRIES_LATE: u32 = 5;
/// Time since the first of them, less when the age is short: a host that comes up late has hiccups.
pub const MAKE_WAIT: Duration = Duration::from_secs(3600);
/// Attempts that end by a defect, after which the journal is handed over: a third would end so too.
pub const MAKE_DEFECTS: u32 = 2;
/// Attempts to read the names of the wraps' hours for the receipt before it says that they are not
/// known: the purge must not wait for them for ever.
pub const WRAPS_TRIES: u32 = 3;
/// Most bytes that stay free for live recordings when files are made, and twentieths of the disk when
/// that is less: below 5 % recordings are about to stop.
pub const SPOOL_RESERVE_BYTES: u64 = 1 << 30;
/// Time between two looks at all rows when nobody says that one changed.
pub const LOOK: Duration = Duration::from_secs(1);
/// Percents of its largest age at which an undelivered recording is warned of.
pub const WARN_PERCENTS: [u32; 3] = [50, 75, 90];
/// Times that the push of a file begins anew before somebody must look at the storage.
pub const PUSH_RESTARTS_MAX: u32 = 3;
/// What arrived this long before its recording is delivered is looked at once more: the journal is purged
/// then.
pub const ARRIVED_LOOK_AFTER: Duration = Duration::from_secs(300);
/// Such looks at once: half of the name lookups that a project may have. 3,700 files, 50 ms each, are seen
/// within a minute.
pub const ARRIVED_LOOKS: usize = 4;
/// Files that are looked at before what was seen is written down; an SFTP session is opened for as many.
pub const ARRIVED_LOOK_FILES: usize = 32;
/// How often a file is looked at when the storage fails: at one failure in 500, all of 3,700 are seen.
pub const ARRIVED_LOOK_TRIES: u32 = 3;
/// Time between two of them.
pub const ARRIVED_LOOK_PAUSE: Duration = Duration::from_secs(2);
/// Times that what is gone is pushed anew in one attempt before somebody must look at the storage.
pub const ARRIVED_ROUNDS: u32 = 4;

// composite

/// Tiles of a grid: five by five, each 256 pixels wide at 720 lines.
pub const COMPOSITE_TILES_MAX: usize = 25;
/// Tiles beside a speaker: 160 pixels wide at 720 lines.
pub const STRIP_TILES_MAX: usize = 8;
/// How long the picture of a camera that stalls stands still before its tile is plain.
pub const PICTURE_HOLD_MS: u64 = 2_000;
/// Whoever is the loudest for less time is not shown large.
pub const SPEAKER_HOLD_MS: u64 = 800;
/// Frames between two key frames of a composite: two seconds.
pub const KEY_FRAMES_EVERY: u64 = 60;
/// Pictures that are decoded at once: a program each, with 14 MB of its own at 720 lines. More have plain
/// tiles.
pub const FILMS_MAX: usize = 49;
/// Sounds that are decoded at once: a program each, with 10 MB of its own; 40 MB of libraries they all share.
/// Of more, those who began later are not heard, and are counted.
pub const VOICES_MAX: usize = 100;
/// Frames by which decoders are started before they are needed: time for their programs to begin.
pub const DECODERS_AHEAD_FRAMES: u64 = 300;
/// Frames for which a picture that is out of sight is decoded on; else decoding begins anew at a key frame
/// when it is seen again.
pub const FILM_HOLD_FRAMES: u64 = 900;
/// A silence that is as long, ms, ends a decoder of sound; another one begins behind it.
pub const VOICE_HOLD_MS: u64 = 30_000;
/// What is decoded of such a silence at both of its ends, ms: some packets.
pub const VOICE_EDGE_MS: u64 = 200;
/// Bytes of a track that are sealed at once into the work file; also what each open track holds in memory.
/// 10 GB are 320,000 pieces, of which 16 bytes each are kept in memory.
pub const WORK_PIECE_BYTES: usize = 32 * 1024;
/// Priority of threads that make composites, as `nice` counts: as that of its programs.
pub const COMPOSITE_NICE: i32 = 10;
/// Largest bit rate of a composite: the encoder's `-maxrate` of 6 Mbit/s, sound, containers and seal.
pub const COMPOSITE_BITS_PER_SECOND: u64 = 6_300_000;
/// Largest bit rate of an audio mix: 96 kbit/s, container and seal.
pub const AUDIO_MIX_BITS_PER_SECOND: u64 = 110_000;
/// A decoder that gives no whole picture or piece of sound for so long, and [`DECODER_STALL_EACH`], is ended:
/// its tile is plain, its voice silent. Bad media are decoded at once or not at all.
pub const DECODER_STALL: Duration = Duration::from_secs(30);
/// And for each decoder that a processor has: a program begins in 0.3 s of CPU time, ten times that beside live
/// calls, which go first.
pub const DECODER_STALL_EACH: Duration = Duration::from_secs(4);
/// A composite that does nothing for so long beyond what a decoder may is given up: its encoder stands still.
pub const COMPOSITE_STALL: Duration = Duration::from_secs(90);
/// Time in which composite and mix are made, tries included, besides [`COMPOSITE_TIME_PER_TIME`]; what else
/// there is then goes without.
pub const COMPOSITE_TIME_MIN: Duration = Duration::from_secs(1800);
/// And for each time that the recording is long: beside live calls a large composite takes as long as the call.
pub const COMPOSITE_TIME_PER_TIME: u32 = 4;
/// Largest bit rate of a voice of whom no more is known, container and seal included: browsers send speech
/// with 32 to 48 kbit/s.
pub const VOICE_BITS_PER_SECOND: u64 = 64_000;
/// Times that a composite is tried.
pub const COMPOSITE_TRIES_MAX: u32 = 3;
/// Memory that a decoder may map: pictures of 4K of each codec take less than 700 MiB, most of it for
/// libraries that all share.
pub const DECODER_MEMORY_BYTES_MAX: u64 = 1 << 30;
/// Memory that an encoder may map: several times what 1080 lines take.
pub const ENCODER_MEMORY_BYTES_MAX: u64 = 4 << 30;
/// Descriptors that it may open: its pipes and its libraries.
pub const CHILD_FILES_MAX: u64 = 64;
/// Processes and threads that it may have, counted within its sandbox.
pub const CHILD_PROCESSES_MAX: u64 = 512;
/// CPU seconds of a decoder, and for each second of its track: a phone decodes in real time.
pub const DECODER_CPU_SECONDS_MIN: u64 = 120;
/// See [`DECODER_CPU_SECONDS_MIN`].
pub const DECODER_CPU_PER_SECOND: u64 = 3;
/// CPU seconds of an encoder, and for each second: ten times what 1080 lines take.
pub const ENCODER_CPU_SECONDS_MIN: u64 = 120;
/// See [`ENCODER_CPU_SECONDS_MIN`].
pub const ENCODER_CPU_PER_SECOND: u64 = 20;
/// Bytes of a box of the encoder's output: two seconds at fifty times its bit rate; held in memory.
pub const COMPOSITE_BOX_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Segments of an HLS stream: below [`ARTIFACTS_MAX`], with room for tracks.
pub const HLS_SEGMENTS_MAX: u64 = 15_000;

const _: () = {
    assert!(HLS_SEGMENTS_MAX as usize + FILES_MAX + JOURNAL_FILES_MAX + 10 < ARTIFACTS_MAX);
    assert!(VOICE_HOLD_MS > 2 * VOICE_EDGE_MS);
};
