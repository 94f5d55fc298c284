/**
 * The room itself as an application sees it.
 *
 * @module
 */

import type { Breakout, Mode, RoomInfo, Source } from './protocol.js';

/** A breakout room. */
export interface BreakoutRoom {
  /** `rm_…`. */
  readonly room: string;
  /** The partner's own name for it. */
  readonly reference: string | null;
  /** When everybody is moved back, if it was said. */
  readonly endsAt: Date | null;
}

/** What is known of a room. A change makes a new object: `roomUpdated`. */
export interface RoomDetails {
  /** `rm_…`. */
  readonly id: string;
  /** Counts changes. */
  readonly version: number;
  /** Who may publish: `group` as granted, `lecture` moderators and who holds the floor. */
  readonly mode: Mode;
  /** Whether nobody new gets in. */
  readonly locked: boolean;
  /** Whether newcomers have to be let in. */
  readonly knock: boolean;
  /** When it ends, if that is known. */
  readonly endsAt: Date | null;
  /** The room that it is a breakout of. */
  readonly parent: string | null;
  /** Its breakout rooms. */
  readonly breakouts: readonly BreakoutRoom[];
  /** What is muted of everybody who is no moderator; in `participant.mutedByServer` too. */
  readonly muted: readonly Source[];
  /** Ids of participants shown to everybody first, most important first. */
  readonly spotlight: readonly string[];
  /** Ids of tracks shown to everybody first, most important first. */
  readonly pinned: readonly string[];
  /** The partner's own opaque text. */
  readonly data: string | null;
}

/** @internal With every default filled in. */
export function details(info: RoomInfo): RoomDetails {
  return {
    id: info.id,
    version: info.version ?? 0,
    mode: info.mode ?? 'group',
    locked: info.locked ?? false,
    knock: info.knock ?? false,
    endsAt: date(info.ends_at),
    parent: info.parent ?? null,
    breakouts: (info.breakouts ?? []).map(breakoutRoom),
    muted: info.muted ?? [],
    spotlight: info.spotlight ?? [],
    pinned: info.pinned ?? [],
    data: info.data ?? null,
  };
}

function breakoutRoom({ room, reference, ends_at }: Breakout): BreakoutRoom {
  return { room, reference: reference ?? null, endsAt: date(ends_at) };
}

function date(text: string | null | undefined): Date | null {
  return text ? new Date(text) : null;
}
