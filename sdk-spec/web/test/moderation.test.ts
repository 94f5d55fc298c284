import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ActionError } from '../src/errors.js';
import { Moderation } from '../src/moderation.js';
import { Participant } from '../src/participant.js';
import type { Action, ActionRefusal } from '../src/protocol.js';
import { join, stubBrowser } from './fake-server.js';

beforeEach(stubBrowser);
afterEach(() => void vi.unstubAllGlobals());

const RESULT = { version: 2, participants: 1 };
const ann = new Participant({ id: 'pa_a', handle: 'a', role: 'participant' }, false);

/** Each call and the action that it is. */
const CALLS: [(m: Moderation) => Promise<unknown>, Action][] = [
  [(m) => m.update({ locked: true }), { type: 'update', settings: { locked: true } }],
  [(m) => m.admit(ann, 'pa_b'), { type: 'admit', participants: ['pa_a', 'pa_b'] }],
  [(m) => m.admit(), { type: 'admit', participants: [] }],
  [(m) => m.deny(ann), { type: 'deny', participants: ['pa_a'] }],
  [(m) => m.eject(ann), { type: 'eject', participant: 'pa_a' }],
  [(m) => m.eject(ann, { banSeconds: 0 }), { type: 'eject', participant: 'pa_a', ban_seconds: 0 }],
  [(m) => m.setRole(ann, 'viewer'), { type: 'set_role', participant: 'pa_a', role: 'viewer' }],
  [
    (m) => m.setRole('pa_b', 'participant', { publish: ['camera'] }),
    {
      type: 'set_role',
      participant: 'pa_b',
      role: 'participant',
      grants: { publish: ['camera'] },
    },
  ],
  [
    (m) => m.mute(ann, 'microphone'),
    { type: 'mute', participant: 'pa_a', sources: ['microphone'], muted: true },
  ],
  [(m) => m.unmute(ann), { type: 'mute', participant: 'pa_a', sources: [], muted: false }],
  [(m) => m.muteAll('camera'), { type: 'mute', sources: ['camera'], muted: true }],
  [(m) => m.unmuteAll(), { type: 'mute', sources: [], muted: false }],
  [(m) => m.grantFloor(ann), { type: 'grant_floor', participant: 'pa_a' }],
  [(m) => m.denyFloor(ann), { type: 'deny_floor', participant: 'pa_a' }],
  [(m) => m.releaseFloor(ann), { type: 'release_floor', participant: 'pa_a' }],
  [(m) => m.releaseFloor(), { type: 'release_floor' }],
  [(m) => m.spotlight(ann), { type: 'spotlight', participants: ['pa_a'] }],
  [(m) => m.spotlight(), { type: 'spotlight', participants: [] }],
  [(m) => m.pin('tr_1'), { type: 'pin', tracks: ['tr_1'] }],
  [
    (m) => m.setAudience(ann, 'moderators'),
    { type: 'set_audience', participant: 'pa_a', audience: { rule: 'moderators' } },
  ],
  [
    (m) => m.setAudience('pa_b', { except: [ann] }),
    {
      type: 'set_audience',
      participant: 'pa_b',
      audience: { rule: 'except', participants: ['pa_a'] },
    },
  ],
  [
    (m) => m.setAudience('pa_b', { only: [ann] }),
    {
      type: 'set_audience',
      participant: 'pa_b',
      audience: { rule: 'only', participants: ['pa_a'] },
    },
  ],
  [(m) => m.extend(60), { type: 'extend', seconds: 60 }],
  [(m) => m.close(), { type: 'close' }],
  [
    (m) => m.createBreakouts([{ reference: 'one', participants: [ann] }, {}], 600),
    {
      type: 'create_breakouts',
      rooms: [{ reference: 'one', participants: ['pa_a'] }, { participants: [] }],
      duration_seconds: 600,
    },
  ],
  [(m) => m.move([ann], 'rm_2'), { type: 'move', participants: ['pa_a'], room: 'rm_2' }],
  [(m) => m.invite(['pa_b'], 'rm_2'), { type: 'invite', participants: ['pa_b'], room: 'rm_2' }],
  [(m) => m.closeBreakouts(), { type: 'close_breakouts' }],
];

const RECORDING = ['start', 'pause', 'resume', 'stop'].map((what) => `${what}_recording`);

it.each(CALLS)('%s', async (call, action) => {
  const act = vi.fn(() => Promise.resolve(RESULT));
  await call(new Moderation(act));
  expect(act).toHaveBeenCalledExactlyOnceWith(action);
});

it('there is a call for every action of the contract', () => {
  const file = new URL('../../asyncapi.json', import.meta.url);
  const { components } = JSON.parse(readFileSync(file, 'utf8')) as {
    components: { schemas: { Action: { oneOf: { properties: { type: { const: string } } }[] } } };
  };
  const types = components.schemas.Action.oneOf.map(({ properties }) => properties.type.const);
  // Recording has calls of its own: see recording.test.ts.
  const called = new Set<string>([...CALLS.map(([, { type }]) => type), ...RECORDING]);
  expect(types.filter((type) => !called.has(type))).toEqual([]);
});

describe('an action', () => {
  it('gives what the server says, each to its own call, in any order', async () => {
    const { room, server } = await join();
    const both = Promise.all([room.moderate.spotlight('pa_2'), room.moderate.close()]);
    const ids = server.socket.sent.filter(({ type }) => type === 'act').map(({ id }) => id);
    expect(ids).toEqual([1, 2]);
    server.say({ type: 'acted', id: 2, result: { version: 8, participants: 3 } });
    server.say({ type: 'acted', id: 1, result: { version: 7, participants: 1 } });
    expect((await both).map(({ version }) => version)).toEqual([7, 8]);
  });

  it.each<ActionRefusal>([
    'not_permitted',
    'unknown_participant',
    'unknown_track',
    'unknown_room',
    'out_of_range',
    'wrong_state',
    'floor_taken',
    'not_configured',
    'version_mismatch',
    'unavailable',
    'quota_exceeded',
  ])('refused as %s fails with the code and a remedy', async (refused) => {
    const { room, server } = await join();
    const acting = room.moderate.extend(60);
    server.say({ type: 'acted', id: 1, refused });
    const error: unknown = await acting.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ActionError);
    expect(error).toMatchObject({ name: 'ActionError', code: refused });
    expect((error as ActionError).remedy.length).toBeGreaterThan(10);
  });

  it('survives a cut, and fails when the session is lost', async () => {
    const { room, server } = await join();
    const acting = room.moderate.close();
    server.socket.break(1008);
    await expect(acting).rejects.toMatchObject({ code: 'connection_lost' });
    await expect(room.moderate.close()).rejects.toMatchObject({ code: 'left' });
  });

  it('that is never answered fails after a while', async () => {
    const { room, server } = await join();
    vi.useFakeTimers();
    try {
      const acting = expect(room.moderate.close()).rejects.toMatchObject({ code: 'timeout' });
      for (let i = 0; i < 6; i += 1) {
        await vi.advanceTimersByTimeAsync(8_000);
        server.say({ type: 'pong' });
      }
      await acting;
    } finally {
      vi.useRealTimers();
    }
  });
});
