/**
 * Every bound and interval of the SDK, with unit and reason.
 *
 * @module
 */

/** Receiving audio m-sections at first: the loudest speakers share them. */
export const AUDIO_SLOTS_START = 3;
/** Receiving video m-sections at first; more are added when tracks wait. */
export const VIDEO_SLOTS_START = 4;
/** Time to wait for the socket to open and the server to say `joined`, in milliseconds. */
export const JOIN_MS = 15_000;
/** Time to wait for one resume attempt, in milliseconds: several fit into the resume window. */
export const RESUME_ATTEMPT_MS = 6_000;
/** First retry delay, in milliseconds; doubles from there. */
export const BACKOFF_MIN_MS = 250;
/** Longest retry delay, in milliseconds: short, because media goes on meanwhile. */
export const BACKOFF_MAX_MS = 4_000;
/** Time in which a new join with a fresh token is attempted, in milliseconds. */
export const REJOIN_MS = 120_000;
/** Tokens that may be refused in a row before a new join is given up. */
export const REJOIN_REFUSALS_MAX = 3;
/** Unacknowledged messages kept for a resume. Acks come with every message, pings every 5 s. */
export const RESEND_MESSAGES_MAX = 512;
/** Time to wait for an answer, in milliseconds: longer than the resume window. */
export const ANSWER_MS = 45_000;
/** Times that an offer is made again after a temporary failure; with the retry delays, some 8 s. */
export const OFFER_RETRIES_MAX = 5;
/** Times that an offer is made again when no answer came: each has waited `ANSWER_MS`. */
export const UNANSWERED_RETRIES_MAX = 1;
/** Time that `disconnected` may last before ICE restarts, in milliseconds; it often heals. */
export const DISCONNECTED_MS = 1_500;
/** Time between ICE restarts while the path is down, in milliseconds: checks need some round trips. */
export const ICE_RESTART_MS = 5_000;
/** Time after which an interrupted media path is given up for a new join, in milliseconds. */
export const MEDIA_LOST_MS = 30_000;
/** Time that a suspected socket has to answer a ping, in milliseconds. */
export const PROBE_MS = 3_000;
/** Time between quality samples, in milliseconds. */
export const QUALITY_MS = 2_000;
/** Camera bit rate, in bits per second: 720p30 with headroom. */
export const CAMERA_BITRATE_MAX = 1_700_000;
/** Screen bit rate, in bits per second: sharp text at up to 1080p. */
export const SCREEN_BITRATE_MAX = 2_500_000;
/**
 * Simulcast layers from the lowest to the highest, which is what their order tells the server. With
 * a mode, as browsers otherwise put the sizes of VP9 into one stream.
 */
export const SIMULCAST_LAYERS = [
  { rid: 'q', scaleResolutionDownBy: 4, scalabilityMode: 'L1T1' },
  { rid: 'h', scaleResolutionDownBy: 2, scalabilityMode: 'L1T1' },
  { rid: 'f', scaleResolutionDownBy: 1, scalabilityMode: 'L1T1' },
] as const;
/** Share of the bit rate that a picture of half the width needs. */
export const HALF_SIZE_SHARE = 1 / 3;
/** Tracks named in one `want`; the server refuses more. */
export const TRACKS_WANTED_MAX = 100;
/** Time to wait for the answer to an action, in milliseconds: longer than the resume window. */
export const REQUEST_MS = 45_000;
/** Largest text to others, in bytes of UTF-8; the server refuses more. */
export const DATA_BYTES_MAX = 4096;
/** Largest own state, in bytes of UTF-8; the server refuses more. */
export const STATE_BYTES_MAX = 1024;
