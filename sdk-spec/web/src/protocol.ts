/**
 * The WebSocket protocol `conclave.v1`: timing, envelope, parsing. The messages themselves are
 * generated from the contract, see `protocol.gen.ts`.
 *
 * @module
 */

import {
  type AnyClientMessage,
  type JoinMessage,
  type ResumeMessage,
  SERVER_MESSAGE_TYPES,
  type ServerMessage,
} from './protocol.gen.js';

export type {
  ActedMessage,
  Action,
  ActionRefusal,
  ActionResult,
  AnswerMessage,
  Audience,
  Breakout,
  BreakoutSpec,
  ClientLimits,
  ErrorCode as ServerErrorCode,
  ErrorInfo,
  FloorMessage,
  Grants,
  JoinedMessage,
  LeaveReason,
  Mode,
  MoveMessage,
  OfferedTrack,
  Participant as ParticipantInfo,
  PublishedTrack,
  RecordingInfo,
  Role,
  RoomInfo,
  RoomSettings,
  ServerMessage,
  SlotsMessage,
  Source,
  Track as TrackInfo,
  Waiting,
  WaitReason,
} from './protocol.gen.js';

/** WebSocket subprotocol name. */
export const SUBPROTOCOL = 'conclave.v1';
/** Time between pings, in milliseconds. */
export const PING_MS = 5_000;
/** Silence after which the socket is given up, in milliseconds. */
export const DEAD_MS = 15_000;
/** Time for which a cut session can be resumed, in milliseconds. */
export const RESUME_MS = 30_000;
/** Close codes after which a resume is refused or pointless: a defect, or resumed elsewhere. */
export const FINAL_CLOSE_CODES: readonly number[] = [1003, 1008, 1009, 4001];

/** First message of a socket; stands outside the sequence. */
export type FirstMessage = JoinMessage | ResumeMessage;

/** What the client says after its first message; each goes in an {@link Envelope}. */
export type ClientMessage = Exclude<AnyClientMessage, FirstMessage>;

/** A message's place in its sender's sequence. */
export interface Envelope {
  /** Counts the sender's messages of one session from 1, over resumes. */
  seq: number;
  /** Highest `seq` received from the other side, 0 at first. */
  ack: number;
}

/** A parsed server message. */
export interface Incoming {
  /** Its number, null outside the sequence. */
  seq: number | null;
  /** Highest `seq` that the server has received. */
  ack: number;
  /** The message. */
  message: ServerMessage;
}

/**
 * Parses one WebSocket text.
 *
 * @returns the message, or `null` for text that is not of this protocol
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
  if (typeof type !== 'string') return null;
  return {
    seq: isCount(seq) && seq > 0 ? seq : null,
    ack: isCount(ack) ? ack : 0,
    message: value as ServerMessage,
  };
}

/** Whether this version knows the message. Unknown ones are numbered, but otherwise ignored. */
export function isKnown({ type }: ServerMessage): boolean {
  return SERVER_MESSAGE_TYPES.includes(type);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
