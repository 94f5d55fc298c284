/**
 * Tracks as the application sees them. They keep their identity while slots and media change.
 *
 * @module
 */

import { Attachable } from './attachable.js';
import type { Participant } from './participant.js';
import type { Source, TrackInfo } from './protocol.js';

/** Whether a source is heard or seen. */
export function kindOf(source: Source): 'audio' | 'video' {
  return source === 'camera' || source === 'screen' ? 'video' : 'audio';
}

/** A track that another participant publishes. */
export class RemoteTrack extends Attachable {
  /** `tr_…`. */
  readonly id: string;
  /** Its publisher. */
  readonly participant: Participant;
  /** What it shows or carries. */
  readonly source: Source;
  /** Whether it is shown to everybody first. */
  pinned = false;
  #muted: boolean;

  /** @internal */
  constructor(info: TrackInfo, participant: Participant) {
    super();
    this.id = info.id;
    this.participant = participant;
    this.source = info.source;
    this.#muted = info.muted;
  }

  /** Whether it is heard or seen. */
  get kind(): 'audio' | 'video' {
    return kindOf(this.source);
  }

  /** Whether its publisher has muted it. */
  get muted(): boolean {
    return this.#muted;
  }

  /** Whether a moderator muted it: it is not forwarded, whatever its publisher does. */
  get mutedByServer(): boolean {
    return this.participant.mutedByServer.has(this.source);
  }

  /** Whether it is received now, which means that it has a slot. */
  get subscribed(): boolean {
    return this.mediaStreamTrack !== null;
  }

  /** @internal Returns whether that is a change. */
  setMuted(muted: boolean): boolean {
    const changed = this.#muted !== muted;
    this.#muted = muted;
    return changed;
  }
}

/** How to open the device of a track anew. */
export type Capture = () => Promise<MediaStreamTrack>;

/** A track that this client publishes. */
export class LocalTrack extends Attachable {
  /** What it shows or carries. */
  readonly source: Source;
  #id: string | null = null;
  #muted: boolean;

  /**
   * @internal
   * @param capture - given when the SDK opened the device; muting then closes it
   * @param simulcast - whether video is sent in several sizes
   */
  constructor(
    source: Source,
    media: MediaStreamTrack,
    muted: boolean,
    readonly capture: Capture | null,
    readonly simulcast = false,
  ) {
    super();
    this.source = source;
    this.#muted = muted;
    media.enabled = !muted;
    this.setMedia(media);
  }

  /** `tr_…`, null until the server has accepted the track. A new join gives a new one. */
  get id(): string | null {
    return this.#id;
  }

  /** Whether it is heard or seen. */
  get kind(): 'audio' | 'video' {
    return kindOf(this.source);
  }

  /** Whether it is muted. */
  get muted(): boolean {
    return this.#muted;
  }

  /** @internal */
  setId(id: string | null): void {
    this.#id = id;
  }

  /** @internal */
  setMutedState(muted: boolean): void {
    this.#muted = muted;
    if (this.mediaStreamTrack) this.mediaStreamTrack.enabled = !muted;
  }
}
