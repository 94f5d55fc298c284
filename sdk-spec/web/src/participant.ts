/**
 * People in the room.
 *
 * @module
 */

import type { ParticipantInfo, Role, Source } from './protocol.js';
import type { LocalTrack, RemoteTrack } from './tracks.js';

/** Somebody in the room, the local participant included. */
export class Participant {
  /** `pa_…`, for this stay. */
  readonly id: string;
  /** The partner's opaque handle from the token. */
  readonly handle: string;
  /** Whether it is this client. */
  readonly isLocal: boolean;
  /** Whether it speaks now. */
  speaking = false;
  /** Whether it is shown to everybody first. */
  spotlighted = false;
  /** What it publishes. */
  readonly tracks = new Set<RemoteTrack | LocalTrack>();
  #role: Role = 'participant';
  #state: string | null = null;
  /** By a moderator: this participant, and everybody who is none. */
  #muted: readonly Source[] = [];
  #mutedAll: readonly Source[] = [];

  /** @internal */
  constructor(info: ParticipantInfo, isLocal: boolean) {
    this.id = info.id;
    this.handle = info.handle;
    this.isLocal = isLocal;
    this.update(info);
  }

  /** Its role now. */
  get role(): Role {
    return this.#role;
  }

  /** The app's own opaque text, set by itself with `room.setState`. */
  get state(): string | null {
    return this.#state;
  }

  /**
   * What a moderator muted, of this participant or of everybody who is no moderator: it is not
   * forwarded, whatever the participant sends.
   */
  get mutedByServer(): ReadonlySet<Source> {
    return new Set([...this.#muted, ...(this.#role === 'moderator' ? [] : this.#mutedAll)]);
  }

  /** @internal Takes the whole over, as it is now. Returns whether that is a change. */
  update({ role, state, muted }: ParticipantInfo): boolean {
    const before = this.#fingerprint();
    this.#role = role;
    this.#state = state ?? null;
    this.#muted = muted ?? [];
    return before !== this.#fingerprint();
  }

  /** @internal What is muted of everybody who is no moderator. Returns whether that is a change. */
  setMutedAll(sources: readonly Source[]): boolean {
    const before = this.#fingerprint();
    this.#mutedAll = sources;
    return before !== this.#fingerprint();
  }

  /** @internal */
  setRole(role: Role): void {
    this.#role = role;
  }

  /** @internal */
  setState(state: string | null): void {
    this.#state = state;
  }

  #fingerprint(): string {
    return JSON.stringify([this.#role, this.#state, [...this.mutedByServer].sort()]);
  }
}
