/**
 * Web SDK of Conclave.
 *
 * No cookies, no storage, no request to anybody but the server that `Room.join` is given.
 *
 * @packageDocumentation
 */

export { Attachable } from './attachable.js';
export {
  CaptureError,
  type ClientErrorCode,
  ConclaveError,
  type ConclaveErrorCode,
  ConnectionError,
  JoinRefusedError,
  LeftError,
  ProtocolError,
  PublishError,
} from './errors.js';
export { Emitter, type EventMap, type Listener } from './emitter.js';
export type { MediaOptions, VideoCodec } from './media.js';
export type { RoomStats } from './monitor.js';
export type { ConnectionState, JoinOptions, PublishOptions, RoomEvents } from './options.js';
export { Participant } from './participant.js';
export type {
  ClientLimits,
  Grants,
  LeaveReason,
  Role,
  ServerErrorCode,
  Source,
} from './protocol.js';
export type { Measured, Quality } from './quality.js';
export { Room } from './room.js';
export { LocalTrack, RemoteTrack } from './tracks.js';
export { SDK } from './version.js';
