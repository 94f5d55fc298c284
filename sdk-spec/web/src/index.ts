/**
 * Web SDK of Conclave.
 *
 * No cookies, no storage, no request to anybody but the server that `Room.join` is given.
 *
 * @packageDocumentation
 */

export { Attachable } from './attachable.js';
export type { BreakoutRoom, RoomDetails } from './details.js';
export {
  ActionError,
  CaptureError,
  type ClientErrorCode,
  ConclaveError,
  type ConclaveErrorCode,
  ConnectionError,
  JoinRefusedError,
  LeftError,
  ProtocolError,
  PublishError,
  SendError,
} from './errors.js';
export { Emitter, type EventMap, type Listener } from './emitter.js';
export { Floor } from './floor.js';
export type { MediaOptions, VideoCodec } from './media.js';
export {
  type AudienceRule,
  type BreakoutOptions,
  type EjectOptions,
  Moderation,
  type Who,
} from './moderation.js';
export type { RoomStats } from './monitor.js';
export type {
  ConnectionState,
  Invitation,
  JoinOptions,
  PublishOptions,
  RoomEvents,
  UnpublishReason,
} from './options.js';
export { Participant } from './participant.js';
export type {
  Action,
  ActionRefusal,
  ActionResult,
  Breakout,
  ClientLimits,
  Grants,
  LeaveReason,
  Mode,
  Role,
  RoomSettings,
  ServerErrorCode,
  Source,
  WaitReason,
} from './protocol.js';
export type { Measured, Quality } from './quality.js';
export { Recorded, type RecordingDetails } from './recording.js';
export { Room } from './room.js';
export { LocalTrack, RemoteTrack } from './tracks.js';
export { SDK } from './version.js';
