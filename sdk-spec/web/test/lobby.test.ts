import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Room } from '../src/room.js';
import { FakeServer, join, JOINED, nextServer, record, soon, stubBrowser } from './fake-server.js';
import { FakeSocket } from './fake-socket.js';

beforeEach(stubBrowser);
afterEach(() => void vi.unstubAllGlobals());

const WAITING = { type: 'waiting', participant: 'pa_me', ticket: 'ticket-0', reason: 'knock' };

/** A join that waits in the lobby. */
function knock(signal?: AbortSignal) {
  const onWaiting = vi.fn();
  const joining = Room.join('wss://x', 'token', { onWaiting, ...(signal && { signal }) });
  joining.catch(() => undefined);
  FakeSocket.last.onopen?.();
  const server = new FakeServer(FakeSocket.last);
  server.say(WAITING);
  return { joining, server, onWaiting };
}

describe('who knocks', () => {
  it('is told why it waits, and is in when a moderator admits it', async () => {
    const { joining, server, onWaiting } = knock();
    expect(onWaiting).toHaveBeenCalledExactlyOnceWith('knock');
    server.say(JOINED);
    const room = await joining;
    expect(room.localParticipant.id).toBe('pa_me');
    expect(room.connectionState).not.toBe('waiting');
  });

  it('fails with `denied` when it is sent away, and with `left` when it does not want to wait', async () => {
    const sent = knock();
    sent.server.say({ type: 'left', reason: 'denied' });
    await expect(sent.joining).rejects.toMatchObject({ name: 'LeftError', reason: 'denied' });

    const abort = new AbortController();
    const tired = knock(abort.signal);
    abort.abort();
    await expect(tired.joining).rejects.toMatchObject({ name: 'LeftError', reason: 'left' });
    expect(tired.server.heard('leave')).toBeDefined();
    expect(tired.server.socket.closed).toBe(true);
  });

  it('waits longer than a join may take, and resumes after a cut', async () => {
    vi.useFakeTimers();
    try {
      const { joining, server } = knock();
      await vi.advanceTimersByTimeAsync(10_000);
      server.say({ type: 'pong' });
      await vi.advanceTimersByTimeAsync(10_000);
      expect(server.heard('ping')).toBeDefined();
      server.socket.break();
      await vi.advanceTimersByTimeAsync(1_000);
      const { last } = FakeSocket;
      last.onopen?.();
      expect(last.sent[0]).toEqual({ type: 'resume', ticket: 'ticket-0', received: 2 });
      last.say({ type: 'resumed', received: 9, ticket: 'ticket-1' });
      last.say({ ...JOINED, seq: 3, ack: 0 });
      expect((await joining).id).toBe('rm_1');
    } finally {
      vi.useRealTimers();
    }
  });

  it('after a lost session waits again, and ends as denied when it is sent away', async () => {
    const onWaiting = vi.fn();
    const refreshToken = vi.fn(() => Promise.resolve('fresh'));
    const { room, server } = await join({}, { refreshToken, onWaiting });
    const events = record(room, 'connectionState', 'left');
    const next = nextServer();
    server.say({ type: 'left', reason: 'timeout' });
    const again = await next;
    expect(refreshToken).toHaveBeenCalledExactlyOnceWith('rm_1');
    again.say(WAITING);
    expect(room.connectionState).toBe('waiting');
    again.say({ type: 'left', reason: 'denied' });
    await soon();
    expect(events.at(-1)).toEqual(['left', 'denied']);
    expect(onWaiting).toHaveBeenCalledOnce();
  });
});

describe('refusals', () => {
  const codes = ['room_locked', 'room_not_open', 'banned', 'duplicate_handle', 'no_capacity'];
  it.each(codes)('%s', async (code) => {
    const joining = Room.join('wss://x', 'token');
    FakeSocket.last.onopen?.();
    new FakeServer(FakeSocket.last).refuse(code);
    await expect(joining).rejects.toMatchObject({ name: 'JoinRefusedError', code });
  });

  it('a ban ends the attempts to come back at once', async () => {
    const refreshToken = vi.fn(() => Promise.resolve('fresh'));
    const { room, server } = await join({}, { refreshToken });
    const left = vi.fn();
    room.on('left', left);
    const next = nextServer();
    server.say({ type: 'left', reason: 'timeout' });
    (await next).refuse('banned');
    await soon();
    expect(left).toHaveBeenCalledOnce();
    expect(refreshToken).toHaveBeenCalledOnce();
  });

  it.each(['denied', 'replaced', 'removed', 'moved', 'room_closed'])('left: %s', async (reason) => {
    const { room, server } = await join();
    const events = record(room, 'left');
    server.say({ type: 'left', reason });
    expect(events).toEqual([['left', reason]]);
    expect(() => room.send('x')).toThrow(expect.objectContaining({ code: 'left' }));
  });
});

it('moderators see the whole lobby at each change, and no longer once they are none', async () => {
  const moderator = { id: 'pa_me', handle: 'me', role: 'moderator' };
  const { room, server } = await join({ participant: moderator });
  const events = record(room, 'lobby');
  const waiting = [{ id: 'pa_3', handle: 'h-3', role: 'participant' }];
  server.say({ type: 'lobby', waiting });
  expect(room.lobby.map(({ handle }) => handle)).toEqual(['h-3']);
  server.say({ type: 'lobby', waiting: [] });
  expect(room.lobby).toEqual([]);
  expect(events).toHaveLength(2);
  server.say({ type: 'lobby', waiting });
  server.say({ type: 'grants_changed', role: 'participant', grants: { subscribe: true } });
  expect([room.isModerator, room.lobby]).toEqual([false, []]);
});
