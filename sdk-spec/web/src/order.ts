/**
 * Who and what is shown first, when the application has no order of its own.
 *
 * @module
 */

import type { RoomDetails } from './details.js';
import type { Participant } from './participant.js';
import type { LocalTrack, RemoteTrack } from './tracks.js';

type AnyTrack = RemoteTrack | LocalTrack;
type ShownFirst = Pick<RoomDetails, 'spotlight' | 'pinned'>;

/** In the spotlight first, then with a pinned track, then with the floor, then as they came. */
export function participantsInOrder(
  people: readonly Participant[],
  { spotlight, pinned }: ShownFirst,
  holders: readonly Participant[],
): Participant[] {
  const pin = (each: Participant): number =>
    Math.min(...[...each.tracks].map((track) => place(pinned, track.id)));
  return sorted(people, (each) => [
    place(spotlight, each.id),
    pin(each),
    holders.includes(each) ? 0 : 1,
  ]);
}

/** Pinned first, then of those in the spotlight, then screens, then as they came. */
export function tracksInOrder<T extends AnyTrack>(
  tracks: readonly T[],
  { spotlight, pinned }: ShownFirst,
  ownerOf: (track: T) => string,
): T[] {
  return sorted(tracks, (each) => [
    place(pinned, each.id),
    place(spotlight, ownerOf(each)),
    each.source === 'screen' ? 0 : 1,
  ]);
}

/** Infinity behind everything that is named. */
function place(ids: readonly string[], id: string | null): number {
  const at = id === null ? -1 : ids.indexOf(id);
  return at < 0 ? Infinity : at;
}

/** Stable: what is equal stays as it came. */
function sorted<T>(items: readonly T[], rank: (item: T) => number[]): T[] {
  const ranks = new Map(items.map((item) => [item, rank(item)]));
  return [...items].sort((a, b) => compare(ranks.get(a) ?? [], ranks.get(b) ?? []));
}

function compare(a: number[], b: number[]): number {
  const at = a.findIndex((value, i) => value !== b[i]);
  return at < 0 ? 0 : (a[at] ?? 0) < (b[at] ?? 0) ? -1 : 1;
}

/** Those who speak, loudest first. */
export function speakersInOrder(everybody: Participant[], ids: string[]): Participant[] {
  const speaking = everybody.filter(({ id }) => ids.includes(id));
  return speaking.sort((a, b) => ids.indexOf(a.id) - ids.indexOf(b.id));
}
