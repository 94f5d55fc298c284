import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { fakeMedia, join, record, soon, stubBrowser } from './fake-server.js';

beforeEach(stubBrowser);
afterEach(() => void vi.unstubAllGlobals());

const TWO = { id: 'pa_2', handle: 'h-2', role: 'participant' };
const THREE = { id: 'pa_3', handle: 'h-3', role: 'participant' };
const camera = (id: string, participant: string, source = 'camera') => ({
  id,
  participant,
  source,
  muted: false,
});

/** Joins and publishes a camera that the server has accepted. */
async function onAir(parts = {}) {
  const joined = await join(parts);
  const { room, server } = joined;
  await soon();
  server.answer();
  await soon();
  const media = fakeMedia('video');
  const publishing = room.publishTrack(media, 'camera');
  await soon();
  server.answer();
  return { ...joined, media, track: await publishing };
}

describe('grants that change', () => {
  it('end what may not be published any more, with an event, and close the device', async () => {
    const { room, server, media, track } = await onAir();
    const events = record(room, 'grantsChanged', 'localTrackUnpublished');
    const grants = { publish: ['microphone'], subscribe: true };
    server.say({ type: 'grants_changed', role: 'viewer', grants });
    expect(events).toEqual([
      ['grantsChanged', grants, 'viewer'],
      ['localTrackUnpublished', track, 'not_permitted'],
    ]);
    expect(media.stop).toHaveBeenCalledOnce();
    expect(room.localParticipant.role).toBe('viewer');
    expect(room.localParticipant.tracks.size).toBe(0);
    await soon();
    expect(server.heard('offer')).toMatchObject({ tracks: [] });
    await expect(room.publishTrack(fakeMedia('video'), 'camera')).rejects.toMatchObject({
      code: 'not_permitted',
    });
  });

  it('that begin to give others open the slots, once', async () => {
    const { room, server } = await join({ grants: {} });
    await soon();
    expect(server.heard('offer')).toBeUndefined();
    for (let i = 0; i < 2; i += 1) {
      server.say({ type: 'grants_changed', role: 'participant', grants: { subscribe: true } });
    }
    await soon();
    const { sdp } = server.heard('offer') as { sdp: string };
    expect([sdp.match(/^m=audio/gm)?.length, sdp.match(/^m=video/gm)?.length]).toEqual([3, 4]);
    expect(room.grants.subscribe).toBe(true);
  });
});

describe('muting by a moderator', () => {
  it('is shown, mutes the own track and holds it', async () => {
    const { room, server, track } = await onAir();
    const events = record(room, 'participantUpdated', 'trackMuted');
    const me = { id: 'pa_me', handle: 'me', role: 'participant' };
    server.say({ type: 'participant_updated', participant: { ...me, muted: ['camera'] } });
    await soon();
    expect(events.map(([name]) => name)).toEqual(['participantUpdated', 'trackMuted']);
    expect(room.localParticipant.mutedByServer.has('camera')).toBe(true);
    expect(track.muted).toBe(true);
    expect(server.heard('mute')).toMatchObject({ track: track.id, muted: true });
    await expect(room.setMuted(track, false)).rejects.toMatchObject({ code: 'not_permitted' });

    // Lifted: nobody opens the camera but the user.
    server.say({ type: 'participant_updated', participant: me });
    await soon();
    expect(track.muted).toBe(true);
    await room.setMuted(track, false);
    expect(server.heard('mute')).toMatchObject({ muted: false });
  });

  it('of another is shown at the participant and the track', async () => {
    const { room, server } = await join({ tracks: [camera('tr_2', 'pa_2')] });
    const events = record(room, 'participantUpdated');
    const update = { type: 'participant_updated', participant: { ...TWO, muted: ['camera'] } };
    server.say(update);
    server.say(update);
    expect(events).toHaveLength(1);
    expect(room.tracks.get('tr_2')?.mutedByServer).toBe(true);
    expect(room.tracks.get('tr_2')?.muted).toBe(false);
    server.say({ type: 'participant_updated', participant: TWO });
    expect(room.tracks.get('tr_2')?.mutedByServer).toBe(false);
  });
});

describe('muting of everybody', () => {
  it('holds for who is no moderator, also for who comes later and for new tracks', async () => {
    const { room, server, track } = await onAir();
    const events = record(room, 'participantUpdated');
    const muted = { type: 'room_updated', room: { id: 'rm_1', muted: ['camera', 'microphone'] } };
    server.say(muted);
    server.say(muted);
    expect(events).toEqual([
      ['participantUpdated', room.participants.get('pa_2')],
      ['participantUpdated', room.localParticipant],
    ]);
    await soon();
    expect(track.muted).toBe(true);
    server.say({ type: 'participant_joined', participant: THREE });
    server.say({
      type: 'participant_joined',
      participant: { ...THREE, id: 'pa_4', role: 'moderator' },
    });
    const held = (id: string) => room.participants.get(id)?.mutedByServer.has('camera');
    expect([held('pa_3'), held('pa_4')]).toEqual([true, false]);

    const publishing = room.publishTrack(fakeMedia('audio'), 'microphone');
    await soon();
    expect(server.heard('offer')).toMatchObject({
      tracks: [{}, { source: 'microphone', muted: true }],
    });
    server.answer();
    expect((await publishing).muted).toBe(true);

    server.say({ type: 'room_updated', room: { id: 'rm_1' } });
    expect(room.localParticipant.mutedByServer.size).toBe(0);
    await room.setMuted(track, false);
    expect(track.muted).toBe(false);
  });
});

describe('a room in which something is muted of everybody', () => {
  it('is joined with that known, for oneself, the others and own tracks', async () => {
    const { room, server } = await join({ room: { id: 'rm_1', muted: ['camera'] } });
    expect(room.info.muted).toEqual(['camera']);
    expect(room.localParticipant.mutedByServer.has('camera')).toBe(true);
    expect(room.participants.get('pa_2')?.mutedByServer.has('camera')).toBe(true);
    await soon();
    server.answer();
    await soon();
    const publishing = room.publishTrack(fakeMedia('video'), 'camera');
    await soon();
    expect(server.heard('offer')).toMatchObject({ tracks: [{ source: 'camera', muted: true }] });
    server.answer();
    expect((await publishing).muted).toBe(true);
  });
});

describe('the floor', () => {
  it('is asked for and given back', async () => {
    const { room, server } = await join();
    room.floor.request();
    expect(server.heard('floor')).toMatchObject({ wanted: true });
    room.floor.release();
    expect(server.heard('floor')).toMatchObject({ wanted: false });
  });

  it('tells who holds it and who asks', async () => {
    const { room, server } = await join();
    const events = record(room, 'floor');
    server.say({ type: 'floor', holders: ['pa_2', 'pa_gone'], requests: ['pa_me'] });
    expect(events).toEqual([['floor', room.floor]]);
    expect(room.floor.holders.map(({ id }) => id)).toEqual(['pa_2']);
    expect([room.floor.held, room.floor.requested]).toEqual([false, true]);
    server.say({ type: 'floor', holders: ['pa_me'], requests: [] });
    expect([room.floor.held, room.floor.requested]).toEqual([true, false]);
  });
});

describe('the room', () => {
  it('has defaults, and its changes are told whole', async () => {
    const { room, server } = await join();
    expect(room.info).toMatchObject({ mode: 'group', locked: false, endsAt: null, data: null });
    const before = room.info;
    const events = record(room, 'roomUpdated');
    server.say({
      type: 'room_updated',
      room: {
        id: 'rm_1',
        version: 3,
        mode: 'lecture',
        locked: true,
        ends_at: '2026-11-21T20:00:00.000Z',
        data: 'topic-7',
        breakouts: [{ room: 'rm_2', reference: 'one' }],
      },
    });
    expect(events).toEqual([['roomUpdated', room.info]]);
    expect(room.info).toMatchObject({ version: 3, mode: 'lecture', locked: true, data: 'topic-7' });
    expect(room.info.endsAt?.getTime()).toBe(Date.UTC(2026, 10, 21, 20));
    expect(room.info.breakouts).toEqual([{ room: 'rm_2', reference: 'one', endsAt: null }]);
    expect(before.locked).toBe(false);
  });

  it('shows the spotlight first, then pins, then the floor; also those who come later', async () => {
    const people = [TWO, THREE, { ...THREE, id: 'pa_4' }];
    const tracks = [
      camera('tr_2', 'pa_2'),
      camera('tr_3', 'pa_3'),
      camera('tr_4', 'pa_4', 'screen'),
    ];
    const { room, server } = await join({ participants: people, tracks });
    const order = (): string[] => room.participantsInOrder.map(({ id }) => id);
    const shown = (): string[] => room.tracksInOrder.map(({ id }) => id);
    expect([order(), shown()]).toEqual([
      ['pa_me', 'pa_2', 'pa_3', 'pa_4'],
      ['tr_4', 'tr_2', 'tr_3'],
    ]);
    server.say({ type: 'floor', holders: ['pa_4'], requests: [] });
    const first = { spotlight: ['pa_3', 'pa_5'], pinned: ['tr_2'] };
    server.say({ type: 'room_updated', room: { id: 'rm_1', ...first } });
    expect(order()).toEqual(['pa_3', 'pa_2', 'pa_4', 'pa_me']);
    expect(shown()).toEqual(['tr_2', 'tr_3', 'tr_4']);
    expect(room.tracks.get('tr_2')?.pinned).toBe(true);
    server.say({ type: 'participant_joined', participant: { ...TWO, id: 'pa_5' } });
    expect(room.participants.get('pa_5')?.spotlighted).toBe(true);
    expect(order().slice(0, 2)).toEqual(['pa_3', 'pa_5']);
  });
});

describe('texts and states', () => {
  const grants = { data: true, update_own: true };

  it('go to everybody or to some, and come with their sender', async () => {
    const { room, server } = await join({ grants });
    room.send('hello');
    expect(server.heard('data')).toMatchObject({ body: 'hello', to: [] });
    room.send('psst', { to: [...room.participants.values()] });
    expect(server.heard('data')).toMatchObject({ body: 'psst', to: ['pa_2'] });
    const events = record(room, 'data');
    server.say({ type: 'data', from: 'pa_2', body: 'hi' });
    server.say({ type: 'data', from: 'pa_hidden', body: 'boo' });
    expect(events).toEqual([
      ['data', 'hi', room.participants.get('pa_2')],
      ['data', 'boo', null],
    ]);
  });

  it('need their grants and must not be too large, in bytes', async () => {
    const bare = (await join({ grants: {} })).room;
    expect(() => bare.send('x')).toThrow(expect.objectContaining({ code: 'not_permitted' }));
    expect(() => bare.setState('x')).toThrow(expect.objectContaining({ code: 'not_permitted' }));
    const { room, server } = await join({ grants });
    const tooLarge: unknown = expect.objectContaining({
      name: 'SendError',
      code: 'message_too_large',
    });
    expect(() => room.send('ä'.repeat(2049))).toThrow(tooLarge);
    expect(() => room.setState('ä'.repeat(513))).toThrow(tooLarge);
    expect(server.heard('data')).toBeUndefined();
    room.send('ä'.repeat(2048));
    expect(server.heard('data')).toBeDefined();
  });

  it('a state is shown at once, and that of another when it changes', async () => {
    const { room, server } = await join({ grants });
    const events = record(room, 'participantUpdated');
    room.setState('hand');
    expect(server.heard('set_state')).toMatchObject({ state: 'hand' });
    expect(room.localParticipant.state).toBe('hand');
    server.say({ type: 'participant_updated', participant: { ...TWO, state: 'away' } });
    expect(room.participants.get('pa_2')?.state).toBe('away');
    server.say({ type: 'participant_updated', participant: TWO });
    expect(room.participants.get('pa_2')?.state).toBeNull();
    expect(events).toHaveLength(3);
  });
});

describe('renewal', () => {
  it('takes a given token, or one of the application, and tells when it is done', async () => {
    const refreshToken = vi.fn(() => Promise.resolve('fetched'));
    const { room, server } = await join({}, { refreshToken });
    const given = room.renew('given');
    await soon();
    expect(server.heard('renew')).toMatchObject({ token: 'given' });
    server.say({ type: 'renewed' });
    await given;
    const fetched = room.renew();
    await soon();
    expect(server.heard('renew')).toMatchObject({ token: 'fetched' });
    expect(refreshToken).toHaveBeenCalledExactlyOnceWith('rm_1');
    server.say({ type: 'renewed' });
    await fetched;
  });

  it('that is refused changes nothing and is told to the call only', async () => {
    const { room, server } = await join();
    const errors = record(room, 'error', 'left');
    const renewing = room.renew('used');
    await soon();
    const error = { code: 'token_refused', message: 'no', remedy: 'mint' };
    server.say({ type: 'error', error, fatal: false });
    await expect(renewing).rejects.toMatchObject({ code: 'token_refused' });
    expect(errors).toEqual([]);
    expect(room.grants.publish).toEqual(['camera', 'microphone']);
    const nothing = { name: 'JoinRefusedError', code: 'token_missing' };
    await expect(room.renew()).rejects.toMatchObject(nothing);
  });
});
