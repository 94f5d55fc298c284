/**
 * People in the room.
 *
 * @module
 */

import type { ParticipantInfo, Role } from './protocol.js';
import type { LocalTrack, RemoteTrack } from './tracks.js';

/** Somebody in the room, the local participant included. */
export class Participant {
  /** `pa_…`, for this stay. */
  readonly id: string;
  /** The partner's opaque handle from the token. */
  readonly handle: string;
  /** Role from the token. */
  readonly role: Role;
  /** Whether it is this client. */
  readonly isLocal: boolean;
  /** Whether it speaks now. */
  speaking = false;
  /** What it publishes. */
  readonly tracks = new Set<RemoteTrack | LocalTrack>();

  /** @internal */
  constructor(info: ParticipantInfo, isLocal: boolean) {
    this.id = info.id;
    this.handle = info.handle;
    this.role = info.role;
    this.isLocal = isLocal;
  }
}
