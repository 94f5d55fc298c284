/**
 * Options and events of a room.
 *
 * @module
 */

import type { ConclaveError } from './errors.js';
import type { MediaOptions } from './media.js';
import type { Participant } from './participant.js';
import type { LeaveReason } from './protocol.js';
import type { Quality } from './quality.js';
import type { LocalTrack, RemoteTrack } from './tracks.js';

/** State of the connection to the room. */
export type ConnectionState = 'connecting' | 'connected' | 'reconnecting' | 'left';

/** How to join. */
export interface JoinOptions extends MediaOptions {
  /**
   * Fetches a fresh token from the partner's server. Without it, a session that cannot be resumed
   * (cut for more than 30 s, server restarted) ends with `left`.
   */
  refreshToken?: () => Promise<string>;
  /** Leaves when the page is closed, so that the others see it at once. Default: true. */
  leaveOnPageHide?: boolean;
}

/** How to publish. */
export interface PublishOptions {
  /** Starts muted. */
  muted?: boolean;
}

/** Events of a {@link Room} and their arguments. */
export interface RoomEvents {
  /** Somebody came. Those who were there at the join are in `room.participants`. */
  participantJoined: [participant: Participant];
  /** Somebody left. */
  participantLeft: [participant: Participant, reason: LeaveReason];
  /** Somebody published a track. It is received when it gets a slot: `trackSubscribed`. */
  trackPublished: [track: RemoteTrack];
  /** A track ended. */
  trackUnpublished: [track: RemoteTrack];
  /** A track is received now; `track.mediaStreamTrack` is set. */
  trackSubscribed: [track: RemoteTrack];
  /** A track is not received any more, because it ended or others are wanted more. */
  trackUnsubscribed: [track: RemoteTrack];
  /** A track was muted or unmuted, also an own one. */
  trackMuted: [track: RemoteTrack | LocalTrack, muted: boolean];
  /** An own track was accepted by the server. */
  localTrackPublished: [track: LocalTrack];
  /** An own track ended, also because the user stopped sharing or a device was unplugged. */
  localTrackUnpublished: [track: LocalTrack];
  /** Who speaks now, loudest first. */
  activeSpeakers: [participants: Participant[]];
  /** The connection state changed. */
  connectionState: [state: ConnectionState];
  /** The connection quality changed. */
  quality: [quality: Quality];
  /** The connection was interrupted; the SDK is at it. */
  reconnecting: [];
  /** The connection is back. Ids are new when `rejoined`. */
  reconnected: [info: { rejoined: boolean }];
  /** The browser wants a click before sound plays; call `room.playAudio()` from one. */
  playbackBlocked: [];
  /** The room was left for good. */
  left: [reason: LeaveReason];
  /** Something failed that no call was waiting for. */
  error: [error: ConclaveError];
}
