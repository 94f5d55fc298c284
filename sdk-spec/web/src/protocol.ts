/**
 * The WebSocket protocol `conclave.v1` as types. Mirrors `sdk-spec/src/ws.rs`, which is the
 * contract; `test/contract.test.ts` compares the two through `asyncapi.json`.
 *
 * @module
 */

/** WebSocket subprotocol name. */
export const SUBPROTOCOL = 'conclave.v1';
/** Time between pings, in milliseconds. */
export const PING_MS = 5_000;
/** Silence after which the socket is given up, in milliseconds. */
export const DEAD_MS = 15_000;
/** Time for which a cut session can be resumed, in milliseconds. */
export const RESUME_MS = 30_000;

/** What a track shows or carries. At most one of each is published by a participant. */
export type Source = 'camera' | 'microphone' | 'screen' | 'screen_audio';

/** Role of a participant, from the token. */
export type Role = 'moderator' | 'participant' | 'viewer';

/** State of the media path as the server sees it. */
export type MediaState = 'connected' | 'interrupted';

/** Why somebody left. */
export type LeaveReason =
  'left' | 'timeout' | 'room_closed' | 'removed' | 'protocol_error' | 'server_error';

/** Codes of errors that the server reports. */
export type ServerErrorCode =
  | 'token_refused'
  | 'resume_refused'
  | 'room_full'
  | 'malformed_message'
  | 'unexpected_message'
  | 'message_too_large'
  | 'rate_limited'
  | 'timeout'
  | 'malformed_sdp'
  | 'offer_refused'
  | 'not_permitted'
  | 'unknown_track'
  | 'no_media_node'
  | 'internal';

/** A participant as the others see it. */
export interface ParticipantInfo {
  /** `pa_…`, for this stay. */
  id: string;
  /** The partner's opaque handle from the token. */
  handle: string;
  /** Role from the token. */
  role: Role;
}

/** A published track. */
export interface TrackInfo {
  /** `tr_…`. */
  id: string;
  /** Participant id of the publisher. */
  participant: string;
  /** What it shows. */
  source: Source;
  /** Whether it is muted. */
  muted: boolean;
}

/** What a token lets its bearer do. */
export interface Grants {
  /** Sources that may be published. */
  publish?: Source[];
  /** Whether the tracks of others are received. */
  subscribe?: boolean;
}

/** Limits that the server announces. */
export interface ClientLimits {
  /** Most receiving audio m-sections. */
  audio_slots_max: number;
  /** Most receiving video m-sections. */
  video_slots_max: number;
  /** Largest message in bytes. */
  message_bytes_max: number;
}

/** A track in an offer. */
export interface OfferedTrack {
  /** `a=mid` of its m-section. */
  mid: string;
  /** What it shows. */
  source: Source;
  /** Whether it starts muted. */
  muted?: boolean;
}

/** An own track in an answer. */
export interface PublishedTrack {
  /** `a=mid` from the offer. */
  mid: string;
  /** `tr_…`. */
  id: string;
}

/** A receiving m-section and the track shown in it. */
export interface Slot {
  /** `a=mid`. */
  mid: string;
  /** Track id, or null while empty. */
  track: string | null;
}

/** Tracks that have no slot. */
export interface Waiting {
  /** Audio tracks. */
  audio: number;
  /** Video tracks. */
  video: number;
}

/** What went wrong and what to do about it. */
export interface ErrorInfo {
  /** Machine-readable. */
  code: ServerErrorCode;
  /** For a developer; may change. */
  message: string;
  /** What to do. */
  remedy: string;
}

/** First message of a socket. */
export type FirstMessage =
  | { type: 'join'; token: string; sdk?: string | null }
  | { type: 'resume'; ticket: string; received: number };

/** What the client says after its first message; each goes in an {@link Envelope}. */
export type ClientMessage =
  | { type: 'offer'; id: number; sdp: string; tracks: OfferedTrack[] }
  | { type: 'mute'; track: string; muted: boolean }
  | { type: 'want'; tracks: string[] }
  | { type: 'ping' }
  | { type: 'leave' };

/** The snapshot that opens a session. */
export interface JoinedMessage {
  type: 'joined';
  participant: ParticipantInfo;
  room: { id: string };
  participants: ParticipantInfo[];
  tracks: TrackInfo[];
  ticket: string;
  grants: Grants;
  limits: ClientLimits;
}

/** Answer to the offer with the same `id`. */
export interface AnswerMessage {
  type: 'answer';
  id: number;
  sdp: string;
  tracks: PublishedTrack[];
}

/** The whole state of the client's slots. */
export interface SlotsMessage {
  type: 'slots';
  version: number;
  slots: Slot[];
  waiting: Waiting;
}

/** An error report; the session goes on unless `fatal`. */
export interface ErrorMessage {
  type: 'error';
  error: ErrorInfo;
  offer?: number | null;
  fatal: boolean;
}

/** What the server says. */
export type ServerMessage =
  | JoinedMessage
  | { type: 'resumed'; received: number; ticket: string }
  | AnswerMessage
  | { type: 'participant_joined'; participant: ParticipantInfo }
  | { type: 'participant_left'; participant: string; reason: LeaveReason }
  | { type: 'track_published'; track: TrackInfo }
  | { type: 'track_unpublished'; track: string }
  | { type: 'track_muted'; track: string; muted: boolean }
  | SlotsMessage
  | { type: 'speakers'; participants: string[] }
  | { type: 'media'; state: MediaState }
  | { type: 'pong' }
  | ErrorMessage
  | { type: 'left'; reason: LeaveReason };

/** A message's place in its sender's sequence. */
export interface Envelope {
  /** Counts the sender's messages of one session from 1, over resumes. */
  seq: number;
  /** Highest `seq` received from the other side, 0 at first. */
  ack: number;
}

/** Every message type of the server, for the contract test and for unknown ones. */
export const SERVER_MESSAGE_TYPES: readonly ServerMessage['type'][] = [
  'joined',
  'resumed',
  'answer',
  'participant_joined',
  'participant_left',
  'track_published',
  'track_unpublished',
  'track_muted',
  'slots',
  'speakers',
  'media',
  'pong',
  'error',
  'left',
];

/** A parsed server message with its envelope, when it has one. */
export interface Incoming extends Partial<Envelope> {
  /** The message. */
  message: ServerMessage;
}

/**
 * Parses one WebSocket text.
 *
 * @returns the message, or `null` for text that is not of this protocol, also for types of a
 * later version, which are to be ignored.
 */
export function parseServerMessage(text: string): Incoming | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null) return null;
  const { seq, ack, type } = value as Record<string, unknown>;
  if (!SERVER_MESSAGE_TYPES.includes(type as ServerMessage['type'])) return null;
  const incoming: Incoming = { message: value as ServerMessage };
  if (isCount(seq)) incoming.seq = seq;
  if (isCount(ack)) incoming.ack = ack;
  return incoming;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
