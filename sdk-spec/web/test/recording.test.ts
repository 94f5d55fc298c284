import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { join, nextServer, record, soon, stubBrowser, JOINED } from './fake-server.js';

beforeEach(stubBrowser);
afterEach(() => void vi.unstubAllGlobals());

const RUNS = {
  id: 'rc_1',
  paused: false,
  consent: true,
  sources: ['camera', 'microphone'],
  data: true,
};
const SHOWN = {
  id: 'rc_1',
  paused: false,
  consentNeeded: true,
  sources: ['camera', 'microphone'],
  data: true,
};

describe('a recording', () => {
  it('is told at every change, once', async () => {
    const { room, server } = await join();
    const events = record(room, 'recording');
    expect(room.recording).toBeNull();
    server.say({ type: 'recording', recording: RUNS });
    expect(room.recording).toEqual(SHOWN);
    server.say({ type: 'room_updated', room: { id: 'rm_1', recording: RUNS } });
    server.say({ type: 'recording', recording: { ...RUNS, paused: true } });
    server.say({ type: 'recording', recording: null });
    expect(events).toEqual([
      ['recording', SHOWN],
      ['recording', { ...SHOWN, paused: true }],
      ['recording', null],
    ]);
    await soon();
    expect(events).toHaveLength(3);
  });

  it('that runs already is told to who listens right after the join', async () => {
    const { room } = await join({ room: { id: 'rm_1', recording: RUNS } });
    const events = record(room, 'recording');
    expect(room.recording).toEqual(SHOWN);
    await soon();
    expect(events).toEqual([['recording', SHOWN]]);
  });

  it('is acknowledged at once, when the page was told', async () => {
    const { room, server } = await join();
    const pings = (): number => server.socket.sent.filter(({ type }) => type === 'ping').length;
    const before = pings();
    let told = -1;
    room.on('recording', () => (told = pings()));
    server.say({ type: 'recording', recording: RUNS });
    expect([told, pings()]).toEqual([before, before + 1]);
    server.say({ type: 'recording', recording: null });
    expect(pings()).toBe(before + 1);
  });

  it('is known from room_updated too, and its end', async () => {
    const { room, server } = await join();
    const events = record(room, 'recording');
    server.say({ type: 'room_updated', room: { id: 'rm_1', recording: RUNS } });
    server.say({ type: 'room_updated', room: { id: 'rm_1' } });
    expect(events).toEqual([
      ['recording', SHOWN],
      ['recording', null],
    ]);
  });
});

describe('consent', () => {
  it('is said to the server, and not carried into another session', async () => {
    const refreshToken = vi.fn(() => Promise.resolve('token-2'));
    const parts = { room: { id: 'rm_1', recording: RUNS } };
    const { room, server } = await join(parts, { refreshToken });
    room.consent(true);
    expect(server.heard('consent')).toMatchObject({ granted: true });
    expect(room.consents).toBe(true);
    const events = record(room, 'recording');
    await soon();
    const next = nextServer();
    server.say({ type: 'left', reason: 'server_error' });
    const second = await next;
    second.say({ ...JOINED, ...parts });
    await soon();
    expect(room.consents).toBe(false);
    expect(second.heard('consent')).toBeUndefined();
    expect(events, 'so that the page asks again').toEqual([
      ['recording', SHOWN],
      ['recording', SHOWN],
    ]);
  });

  it('can be taken back', async () => {
    const { room, server } = await join();
    room.consent(true);
    room.consent(false);
    expect(server.heard('consent')).toMatchObject({ granted: false });
    expect(room.consents).toBe(false);
  });
});

it('is started, paused, resumed and stopped by the action of its name', async () => {
  const { room, server } = await join();
  const calls = [
    room.startRecording(),
    room.pauseRecording(),
    room.resumeRecording(),
    room.stopRecording(),
  ];
  const acts = server.socket.sent.filter(({ type }) => type === 'act');
  const types = acts.map(({ action }) => (action as { type: string }).type);
  const names = ['start', 'pause', 'resume', 'stop'];
  expect(types).toEqual(names.map((name) => `${name}_recording`));
  for (const { id } of acts) {
    server.say({ type: 'acted', id, result: { version: 1, participants: 1, recording: 'rc_1' } });
  }
  expect((await Promise.all(calls)).map(({ recording }) => recording)).toEqual(
    names.map(() => 'rc_1'),
  );
});
