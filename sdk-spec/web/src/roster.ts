/**
 * Who is in the room and what they publish. Holds no media.
 *
 * @module
 */

import type { RoomDetails } from './details.js';
import { Participant } from './participant.js';
import type { JoinedMessage, LeaveReason, ParticipantInfo, TrackInfo } from './protocol.js';
import { RemoteTrack } from './tracks.js';

/** What a {@link Roster} tells its owner. */
export interface RosterHandlers {
  participantJoined(participant: Participant): void;
  participantUpdated(participant: Participant): void;
  participantLeft(participant: Participant, reason: LeaveReason): void;
  trackPublished(track: RemoteTrack): void;
  trackUnpublished(track: RemoteTrack): void;
}

/** What of a room marks participants and tracks. */
export type RoomMarks = Pick<RoomDetails, 'spotlight' | 'pinned' | 'muted'>;

/** The other participants and their tracks. */
export class Roster {
  /** The others, by id. */
  readonly participants = new Map<string, Participant>();
  /** Their tracks, by id. */
  readonly tracks = new Map<string, RemoteTrack>();

  #room: RoomMarks = { spotlight: [], pinned: [], muted: [] };

  constructor(private readonly handlers: RosterHandlers) {}

  /** Marks who and what is shown first or muted, now and of those who come. */
  setRoom(room: RoomMarks): void {
    this.#room = room;
    for (const each of this.tracks.values()) each.pinned = room.pinned.includes(each.id);
    for (const each of this.participants.values()) {
      each.spotlighted = room.spotlight.includes(each.id);
      if (each.setMutedAll(room.muted)) this.handlers.participantUpdated(each);
    }
  }

  /**
   * Takes the snapshot of a join over. After a new join it differs from what was known; the
   * difference is told like any other change.
   *
   * @param reason - why those left who are not in it
   */
  sync(
    snapshot: Pick<JoinedMessage, 'participants' | 'tracks'>,
    reason: LeaveReason = 'left',
  ): void {
    const present = new Set(snapshot.participants.map(({ id }) => id));
    const published = new Set(snapshot.tracks.map(({ id }) => id));
    for (const id of [...this.tracks.keys()]) if (!published.has(id)) this.unpublish(id);
    for (const id of [...this.participants.keys()]) if (!present.has(id)) this.leave(id, reason);
    for (const info of snapshot.participants) {
      this.update(info);
      this.join(info);
    }
    for (const info of snapshot.tracks) this.publish(info);
  }

  /** Somebody came. */
  join(info: ParticipantInfo): void {
    if (this.participants.has(info.id)) return;
    const participant = new Participant(info, false);
    participant.spotlighted = this.#room.spotlight.includes(info.id);
    participant.setMutedAll(this.#room.muted);
    this.participants.set(info.id, participant);
    this.handlers.participantJoined(participant);
  }

  /** Somebody changed. */
  update(info: ParticipantInfo): void {
    const participant = this.participants.get(info.id);
    if (participant?.update(info)) this.handlers.participantUpdated(participant);
  }

  /** Somebody left, and their tracks with them. */
  leave(id: string, reason: LeaveReason): void {
    const participant = this.participants.get(id);
    if (!participant) return;
    for (const [track, { participant: owner }] of [...this.tracks]) {
      if (owner === participant) this.unpublish(track);
    }
    this.participants.delete(id);
    this.handlers.participantLeft(participant, reason);
  }

  /** Somebody published a track. */
  publish(info: TrackInfo): void {
    const participant = this.participants.get(info.participant);
    if (!participant || this.tracks.has(info.id)) return;
    const track = new RemoteTrack(info, participant);
    track.pinned = this.#room.pinned.includes(info.id);
    this.tracks.set(track.id, track);
    participant.tracks.add(track);
    this.handlers.trackPublished(track);
  }

  /** A track ended. */
  unpublish(id: string): void {
    const track = this.tracks.get(id);
    if (!track) return;
    this.tracks.delete(id);
    track.participant.tracks.delete(track);
    this.handlers.trackUnpublished(track);
  }
}
