import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Invitation } from '../src/options.js';
import type { Room } from '../src/room.js';
import {
  fakeMedia,
  type FakeServer,
  join,
  JOINED,
  nextServer,
  record,
  soon,
  stubBrowser,
} from './fake-server.js';
import { FakeSocket } from './fake-socket.js';

beforeEach(stubBrowser);
afterEach(() => void vi.unstubAllGlobals());

const MOVE = { type: 'move', room: 'rm_2', token: 'there', invited: false };
const THERE = {
  ...JOINED,
  room: { id: 'rm_2', parent: 'rm_1' },
  participant: { id: 'pa_new', handle: 'me', role: 'participant' },
  participants: [{ id: 'pa_9', handle: 'h-9', role: 'participant' }],
};

async function onAir(options = {}) {
  const joined = await join({}, options);
  await soon();
  joined.server.answer();
  await soon();
  const media = fakeMedia('video');
  const publishing = joined.room.publishTrack(media, 'camera');
  await soon();
  joined.server.answer();
  return { ...joined, media, track: await publishing };
}

async function moved(server: FakeServer): Promise<FakeServer> {
  const next = nextServer();
  server.say(MOVE);
  const there = await next;
  expect(there.heard('join')).toMatchObject({ token: 'there' });
  return there;
}

const camera = (room: Room): unknown => room.localTracks.get('camera');

describe('a move', () => {
  it('joins there, then leaves here, and takes the tracks along without opening devices', async () => {
    const { room, server, media, track } = await onAir();
    const names = [
      'moved',
      'participantLeft',
      'participantJoined',
      'localTrackUnpublished',
      'left',
    ] as const;
    const events = record(room, ...names);
    const there = await moved(server);
    expect(server.heard('leave')).toBeUndefined();
    there.say(THERE);
    await soon();
    expect(server.heard('leave')).toBeDefined();
    expect(events.map(([name]) => name)).toEqual(['participantLeft', 'participantJoined', 'moved']);
    expect(events[0]?.[2]).toBe('moved');
    expect(events[2]?.[1]).toEqual({ from: 'rm_1', to: 'rm_2' });
    expect([room.id, room.info.parent, room.localParticipant.id]).toEqual([
      'rm_2',
      'rm_1',
      'pa_new',
    ]);
    await soon();
    expect(there.heard('offer')).toMatchObject({ tracks: [{ source: 'camera' }] });
    there.answer();
    await soon();
    expect(camera(room)).toBe(track);
    expect(track.id).toMatch(/^tr_/);
    expect(room.localParticipant.tracks.has(track)).toBe(true);
    expect(media.stop).not.toHaveBeenCalled();
  });

  it('goes on when the old room removes the client first', async () => {
    const { room, server, track } = await onAir();
    const events = record(room, 'left', 'moved');
    const there = await moved(server);
    server.say({ type: 'left', reason: 'moved' });
    there.say(THERE);
    await soon();
    expect(events.map(([name]) => name)).toEqual(['moved']);
    expect(camera(room)).toBe(track);
  });

  it('does not hear the old room any more', async () => {
    const { room, server } = await onAir();
    const there = await moved(server);
    there.say(THERE);
    await soon();
    server.say({ type: 'left', reason: 'removed' });
    server.say({ type: 'participant_joined', participant: { ...THERE.participant, id: 'pa_x' } });
    expect(room.participants.has('pa_x')).toBe(false);
    expect(room.connectionState).not.toBe('left');
  });

  it('that is refused is told; the client stays, or is out when the old room is over', async () => {
    const stays = await onAir();
    const errors = record(stays.room, 'error');
    (await moved(stays.server)).refuse('room_full');
    await soon();
    expect(errors).toMatchObject([['error', { code: 'room_full' }]]);
    expect([stays.room.id, camera(stays.room)]).toEqual(['rm_1', stays.track]);

    const out = await onAir();
    const left = record(out.room, 'left');
    const there = await moved(out.server);
    out.server.say({ type: 'left', reason: 'moved' });
    there.refuse('room_full');
    await soon();
    expect(left).toEqual([['left', 'moved']]);
    expect(out.media.stop).toHaveBeenCalledOnce();
  });

  it('that is refused when the old room is over joins anew with a fresh token', async () => {
    const { room, server, media } = await onAir({ refreshToken: () => Promise.resolve('fresh') });
    const there = await moved(server);
    server.say({ type: 'left', reason: 'moved' });
    const next = nextServer();
    there.refuse('token_refused');
    const back = await next;
    expect(back.heard('join')).toMatchObject({ token: 'fresh' });
    back.say(JOINED);
    await soon();
    expect(room.id).toBe('rm_1');
    expect(media.stop).not.toHaveBeenCalled();
  });

  it('closes what the new room does not grant', async () => {
    const { room, server, media } = await onAir();
    const events = record(room, 'localTrackUnpublished');
    (await moved(server)).say({ ...THERE, grants: { subscribe: true } });
    await soon();
    expect(events).toMatchObject([['localTrackUnpublished', {}, 'not_permitted']]);
    expect(media.stop).toHaveBeenCalledOnce();
  });

  it('while leaving ends the attempt', async () => {
    const { room, server } = await onAir();
    const there = await moved(server);
    room.leave();
    await soon();
    expect(there.socket.closed).toBe(true);
    expect(room.connectionState).toBe('left');
  });
});

describe('an invitation', () => {
  it('is declined by doing nothing, and accepted by going there', async () => {
    const { room, server } = await onAir();
    const events = record(room, 'invited', 'moved');
    server.say({ ...MOVE, invited: true });
    const sockets = FakeSocket.all.length;
    await soon();
    expect(FakeSocket.all.length).toBe(sockets);
    const [[, invitation] = []] = events as [string, Invitation][];
    expect(invitation?.room).toBe('rm_2');
    const next = nextServer();
    const accepted = invitation?.accept();
    const there = await next;
    there.say(THERE);
    await soon();
    there.answer();
    await accepted;
    expect(events.at(-1)).toEqual(['moved', { from: 'rm_1', to: 'rm_2' }]);
  });

  it('that fails is told to the call', async () => {
    const { room, server } = await onAir();
    const errors = record(room, 'error');
    let invitation: Invitation | undefined;
    room.on('invited', (given) => (invitation = given));
    server.say({ ...MOVE, invited: true });
    const next = nextServer();
    const accepted = invitation?.accept();
    (await next).refuse('token_refused');
    await expect(accepted).rejects.toMatchObject({ code: 'token_refused' });
    expect(errors).toEqual([]);
    expect(room.id).toBe('rm_1');
  });
});
