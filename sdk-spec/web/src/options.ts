/**
 * Options and events of a room.
 *
 * @module
 */

import type { RoomDetails } from './details.js';
import type { ConclaveError } from './errors.js';
import type { Floor } from './floor.js';
import type { MediaOptions } from './media.js';
import type { Participant } from './participant.js';
import type { Grants, LeaveReason, Role, WaitReason } from './protocol.js';
import type { Quality } from './quality.js';
import type { RecordingDetails } from './recording.js';
import type { LocalTrack, RemoteTrack } from './tracks.js';

/** State of the connection to the room; `waiting`: to be let in. */
export type ConnectionState = 'connecting' | 'waiting' | 'connected' | 'reconnecting' | 'left';

/**
 * Why an own track ended: by the application; by the user or the device; because it is not
 * permitted any more; because it could not be published again; with the stay in the room.
 */
export type UnpublishReason = 'unpublished' | 'ended' | 'not_permitted' | 'failed' | 'left';

/** A moderator invites to a breakout room. To decline, do nothing. */
export interface Invitation {
  /** `rm_…`. */
  readonly room: string;
  /** Goes there; local tracks go along. */
  accept(): Promise<void>;
}

/** How to join. */
export interface JoinOptions extends MediaOptions {
  /**
   * Fetches a fresh token for a room (`rm_…`) from the partner's server. Without it, a session that
   * cannot be resumed (cut for more than 30 s, server restarted) ends with `left`.
   */
  refreshToken?: (room: string) => Promise<string>;
  /** Called when the client has to wait: to be let in, or for a moderator. */
  onWaiting?: (reason: WaitReason) => void;
  /** Leaves when it is aborted, also while waiting. */
  signal?: AbortSignal;
  /** Leaves when the page is closed, so that the others see it at once. Default: true. */
  leaveOnPageHide?: boolean;
}

/** How to publish. */
export interface PublishOptions {
  /** Starts muted. */
  muted?: boolean;
  /**
   * Sends video in three sizes: full, half and a quarter of its width. Default: false. Everybody is
   * shown the largest that arrives, so it saves nobody anything yet; but when the uplink gets too
   * thin for the largest, others go on to see a smaller picture instead of a bad one.
   */
  simulcast?: boolean;
}

/** Events of a {@link Room} and their arguments. */
export interface RoomEvents {
  /** Somebody came. Those who were there at the join are in `room.participants`. */
  participantJoined: [participant: Participant];
  /** Somebody's role, state or muting by a moderator changed, also the own one. */
  participantUpdated: [participant: Participant];
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
  /**
   * An own track ended, also because the user stopped sharing, a device was unplugged, or because
   * it may not be published any more.
   */
  localTrackUnpublished: [track: LocalTrack, reason: UnpublishReason];
  /** What this client may do, or its role, changed. What it may not publish any more ends by itself. */
  grantsChanged: [grants: Readonly<Grants>, role: Role];
  /** The room changed: mode, lock, end, breakout rooms, spotlight, pins, data. */
  roomUpdated: [info: RoomDetails];
  /** Who waits to be let in changed; for moderators. */
  lobby: [waiting: readonly Participant[]];
  /** Who has or wants the floor changed. */
  floor: [floor: Floor];
  /**
   * What is recorded changed: told before anything is recorded, and after the last of it. Told soon
   * after the join too, if something is. Show it to the user.
   */
  recording: [recording: RecordingDetails | null];
  /** A text of somebody; null when the sender is not shown. */
  data: [body: string, from: Participant | null];
  /** A moderator invites to a breakout room. */
  invited: [invitation: Invitation];
  /** A moderator moved this client to another room, or an invitation was accepted. */
  moved: [rooms: { from: string; to: string }];
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
