/**
 * Moderating a room: the same actions as by REST, with the same rules.
 *
 * @module
 */

import type { Participant } from './participant.js';
import type {
  Action,
  ActionResult,
  Audience,
  BreakoutSpec,
  Grants,
  Role,
  RoomSettings,
  Source,
} from './protocol.js';
import type { RemoteTrack } from './tracks.js';

/** Somebody, or the id of somebody. */
export type Who = Participant | string;

/** How {@link Moderation.eject} removes somebody. */
export interface EjectOptions {
  /** Seconds for which the handle may not come back; 0 is no ban. Default: as long as the room lives. */
  banSeconds?: number;
}

/** A breakout room to be created. */
export interface BreakoutOptions {
  /** The partner's own opaque name for it. */
  reference?: string;
  /** Who is moved into it at once. */
  participants?: readonly Who[];
}

/** Whom somebody sees and hears. */
export type AudienceRule =
  'all' | 'moderators' | { only: readonly Who[] } | { except: readonly Who[] };

/**
 * What moderators can do. Every call resolves when the server has done it, and rejects with an
 * {@link ActionError} when it refuses; then nothing was changed.
 */
export class Moderation {
  /** @internal */
  constructor(
    /** Carries out any action of the protocol. */
    readonly act: (action: Action) => Promise<ActionResult>,
  ) {}

  /** Changes settings of the room: lock, knock, lecture mode, data… What is not named stays. */
  update(settings: RoomSettings): Promise<ActionResult> {
    return this.act({ type: 'update', settings });
  }

  /** Lets those who wait in: these, or everybody. */
  admit(...who: Who[]): Promise<ActionResult> {
    return this.act({ type: 'admit', participants: who.map(id) });
  }

  /** Sends those who wait away: these, or everybody. */
  deny(...who: Who[]): Promise<ActionResult> {
    return this.act({ type: 'deny', participants: who.map(id) });
  }

  /** Removes somebody, and bans the handle from this room unless `banSeconds` is 0. */
  eject(who: Who, { banSeconds }: EjectOptions = {}): Promise<ActionResult> {
    const ban = banSeconds === undefined ? {} : { ban_seconds: banSeconds };
    return this.act({ type: 'eject', participant: id(who), ...ban });
  }

  /** Changes somebody's role and, if named, grants. Those of the token hold otherwise. */
  setRole(who: Who, role: Role, grants?: Grants): Promise<ActionResult> {
    const wanted = grants === undefined ? {} : { grants };
    return this.act({ type: 'set_role', participant: id(who), role, ...wanted });
  }

  /** Mutes somebody at the server: these sources, or everything. */
  mute(who: Who, ...sources: Source[]): Promise<ActionResult> {
    return this.act({ type: 'mute', participant: id(who), sources, muted: true });
  }

  /** Lifts that. It does not unmute: only people themselves do. */
  unmute(who: Who, ...sources: Source[]): Promise<ActionResult> {
    return this.act({ type: 'mute', participant: id(who), sources, muted: false });
  }

  /** Mutes everybody but moderators at the server, those who come later too. */
  muteAll(...sources: Source[]): Promise<ActionResult> {
    return this.act({ type: 'mute', sources, muted: true });
  }

  /** Lifts that. */
  unmuteAll(...sources: Source[]): Promise<ActionResult> {
    return this.act({ type: 'mute', sources, muted: false });
  }

  /** Gives somebody the floor, asked for or not. */
  grantFloor(who: Who): Promise<ActionResult> {
    return this.act({ type: 'grant_floor', participant: id(who) });
  }

  /** Refuses somebody's request for the floor. */
  denyFloor(who: Who): Promise<ActionResult> {
    return this.act({ type: 'deny_floor', participant: id(who) });
  }

  /** Takes the floor back from somebody; from nobody named: from all, and forgets every request. */
  releaseFloor(who?: Who): Promise<ActionResult> {
    return this.act({ type: 'release_floor', ...(who && { participant: id(who) }) });
  }

  /** Shows these to everybody first, most important first. None ends it. */
  spotlight(...who: Who[]): Promise<ActionResult> {
    return this.act({ type: 'spotlight', participants: who.map(id) });
  }

  /** Shows these tracks to everybody first, most important first. None ends it. */
  pin(...tracks: (RemoteTrack | string)[]): Promise<ActionResult> {
    return this.act({ type: 'pin', tracks: tracks.map(id) });
  }

  /** Decides whom somebody sees and hears. */
  setAudience(who: Who, rule: AudienceRule): Promise<ActionResult> {
    return this.act({ type: 'set_audience', participant: id(who), audience: audience(rule) });
  }

  /** Lets a room that has an end last longer. */
  extend(seconds: number): Promise<ActionResult> {
    return this.act({ type: 'extend', seconds });
  }

  /** Ends the room for everybody. */
  close(): Promise<ActionResult> {
    return this.act({ type: 'close' });
  }

  /**
   * Creates breakout rooms; `result.breakouts` are they.
   *
   * @param durationSeconds - after which everybody is moved back
   */
  createBreakouts(rooms: BreakoutOptions[], durationSeconds?: number): Promise<ActionResult> {
    const duration = durationSeconds === undefined ? {} : { duration_seconds: durationSeconds };
    return this.act({ type: 'create_breakouts', rooms: rooms.map(breakout), ...duration });
  }

  /** Moves somebody to a breakout room of this room, or from one to its parent. */
  move(who: readonly Who[], room: string): Promise<ActionResult> {
    return this.act({ type: 'move', participants: who.map(id), room });
  }

  /** Invites somebody to a breakout room. */
  invite(who: readonly Who[], room: string): Promise<ActionResult> {
    return this.act({ type: 'invite', participants: who.map(id), room });
  }

  /** Moves everybody back from the breakout rooms and closes them. */
  closeBreakouts(): Promise<ActionResult> {
    return this.act({ type: 'close_breakouts' });
  }
}

function id(of: { id: string } | string): string {
  return typeof of === 'string' ? of : of.id;
}

function breakout({ reference, participants = [] }: BreakoutOptions): BreakoutSpec {
  return { participants: participants.map(id), ...(reference && { reference }) };
}

function audience(rule: AudienceRule): Audience {
  if (typeof rule === 'string') return { rule };
  if ('only' in rule) return { rule: 'only', participants: rule.only.map(id) };
  return { rule: 'except', participants: rule.except.map(id) };
}
