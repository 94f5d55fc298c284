/**
 * Which track is shown in which slot, from versioned `slots` messages.
 *
 * @module
 */

import type { SlotsMessage, Waiting } from './protocol.js';

/** A track that came into or went out of a slot. */
export interface SlotChange {
  /** Track id. */
  track: string;
  /** `a=mid` of its slot now, or null when it has none. */
  mid: string | null;
}

/** The slot state of one session. */
export class SlotMap {
  #version = -1;
  #midOf = new Map<string, string>();

  /** The slot of a track, if it has one. */
  midOf(track: string): string | undefined {
    return this.#midOf.get(track);
  }

  /** Tracks in slots, by mid, those that pass `live`. */
  shown(live: (track: string) => boolean): Map<string, string> {
    return new Map(
      [...this.#midOf].filter(([track]) => live(track)).map(([track, mid]) => [mid, track]),
    );
  }

  /**
   * Takes a new state over.
   *
   * @returns what changed, tracks that lost their slot first; `null` when the message is older
   * than the state
   */
  apply(message: Pick<SlotsMessage, 'version' | 'slots'>): SlotChange[] | null {
    if (message.version < this.#version) return null;
    this.#version = message.version;
    const next = new Map<string, string>();
    for (const { mid, track } of message.slots) if (track) next.set(track, mid);
    const before = this.#midOf;
    this.#midOf = next;
    const gone = [...before.keys()].filter((track) => !next.has(track));
    const moved = [...next].filter(([track, mid]) => before.get(track) !== mid);
    return [
      ...gone.map((track) => ({ track, mid: null })),
      ...moved.map(([track, mid]) => ({ track, mid })),
    ];
  }
}

/** The video slots of this client. */
export interface VideoSlots {
  /** Slots that the client has offered or is about to offer. */
  offered: number;
  /** Those of them that the server already knows. */
  known: number;
  /** Most that this client offers. */
  max: number;
}

/**
 * How many more video slots to offer. Slots on their way count as given to waiting tracks. Audio
 * does not grow: the loudest speakers share the slots that there are.
 */
export function growth(waiting: Waiting, video: VideoSlots): number {
  const wanted = waiting.video - (video.offered - video.known);
  return Math.max(0, Math.min(wanted, video.max - video.offered));
}
