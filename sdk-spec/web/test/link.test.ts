import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConclaveError } from '../src/errors.js';
import { Link, type LinkHandlers } from '../src/link.js';
import { DEAD_MS, PING_MS, RESUME_MS } from '../src/protocol.js';
import { FakeSocket, fakeSocket } from './fake-socket.js';

const JOINED = {
  type: 'joined',
  seq: 1,
  ack: 0,
  participant: { id: 'pa_1', handle: 'a', role: 'participant' },
  room: { id: 'rm_1' },
  participants: [],
  tracks: [],
  ticket: 'ticket-1',
  grants: { publish: [], subscribe: true },
  limits: { audio_slots_max: 3, video_slots_max: 16, message_bytes_max: 262144 },
};

type Spied = { [K in keyof LinkHandlers]: ReturnType<typeof vi.fn<LinkHandlers[K]>> };

async function joined(): Promise<{ link: Link; handlers: Spied; socket: FakeSocket }> {
  const handlers: Spied = {
    message: vi.fn(),
    waiting: vi.fn(),
    cut: vi.fn(),
    resumed: vi.fn(),
    lost: vi.fn(),
  };
  const link = new Link('wss://x/v1/ws', handlers, fakeSocket);
  const promise = link.join('token', 'sdk');
  FakeSocket.last.onopen?.();
  FakeSocket.last.say(JOINED);
  await promise;
  return { link, handlers, socket: FakeSocket.last };
}

beforeEach(() => {
  FakeSocket.all = [];
  vi.useFakeTimers();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('joining', () => {
  it('sends the token in the first message and never in the URL', async () => {
    const { socket } = await joined();
    expect(socket.sent[0]).toEqual({ type: 'join', token: 'token', sdk: 'sdk' });
    expect(socket.url).toBe('wss://x/v1/ws');
    expect(socket.protocol).toBe('conclave.v1');
  });

  it('fails with the code and the remedy of the server', async () => {
    const link = new Link('wss://x', spies(), fakeSocket);
    const promise = link.join('bad', 'sdk');
    const error = { code: 'token_refused', message: 'no', remedy: 'mint a token' };
    FakeSocket.last.say({ type: 'error', error, fatal: true, seq: 0, ack: 0 });
    await expect(promise).rejects.toMatchObject({
      name: 'JoinRefusedError',
      code: 'token_refused',
      remedy: 'mint a token',
    });
  });

  it('fails when the socket closes, and when nothing is said', async () => {
    const closed = new Link('wss://x', spies(), fakeSocket).join('t', 'sdk');
    FakeSocket.last.break();
    await expect(closed).rejects.toMatchObject({ code: 'unreachable' });
    const silent = new Link('wss://x', spies(), fakeSocket).join('t', 'sdk');
    const expected = expect(silent).rejects.toBeInstanceOf(ConclaveError);
    await vi.advanceTimersByTimeAsync(60_000);
    await expected;
    expect(FakeSocket.last.closed).toBe(true);
  });
});

describe('a cut', () => {
  it('resumes with the ticket and sends again what the server has not received', async () => {
    const { link, handlers, socket } = await joined();
    link.send({ type: 'want', tracks: ['a'] });
    link.send({ type: 'want', tracks: ['b'] });
    socket.break();
    expect(handlers.cut).toHaveBeenCalledOnce();
    link.send({ type: 'want', tracks: ['c'] });
    await vi.advanceTimersByTimeAsync(300);
    const second = FakeSocket.last;
    expect(second).not.toBe(socket);
    second.onopen?.();
    expect(second.sent).toEqual([{ type: 'resume', ticket: 'ticket-1', received: 1 }]);
    second.say({ type: 'resumed', received: 1, ticket: 'ticket-2' });
    expect(second.sent.slice(1)).toEqual([
      { seq: 2, ack: 1, type: 'want', tracks: ['b'] },
      { seq: 3, ack: 1, type: 'want', tracks: ['c'] },
      { seq: 4, ack: 1, type: 'ping' },
    ]);
    expect(handlers.resumed).toHaveBeenCalledOnce();
  });

  it('delivers repeated messages once, and uses each ticket once', async () => {
    const { handlers, socket } = await joined();
    socket.say({ type: 'speakers', participants: ['x'], seq: 2, ack: 0 });
    socket.break();
    await vi.advanceTimersByTimeAsync(300);
    FakeSocket.last.onopen?.();
    FakeSocket.last.say({ type: 'resumed', received: 0, ticket: 'ticket-2' });
    FakeSocket.last.say({ type: 'speakers', participants: ['x'], seq: 2, ack: 0 });
    FakeSocket.last.say({ type: 'speakers', participants: ['y'], seq: 3, ack: 0 });
    expect(handlers.message).toHaveBeenCalledTimes(2);
    FakeSocket.last.break();
    await vi.advanceTimersByTimeAsync(300);
    FakeSocket.last.onopen?.();
    expect(FakeSocket.last.sent[0]).toEqual({ type: 'resume', ticket: 'ticket-2', received: 3 });
  });

  it('is noticed by silence, though the socket does not close', async () => {
    const { handlers, socket } = await joined();
    await vi.advanceTimersByTimeAsync(PING_MS);
    expect(socket.types).toEqual(['join', 'ping']);
    await vi.advanceTimersByTimeAsync(DEAD_MS);
    expect(handlers.cut).toHaveBeenCalledOnce();
    expect(socket.closed).toBe(true);
  });

  it('is retried until the resume time is over, and no longer', async () => {
    const { handlers, socket } = await joined();
    socket.break();
    const step = 500;
    for (let ms = 0; ms < RESUME_MS + 10_000; ms += step) {
      FakeSocket.last.break();
      await vi.advanceTimersByTimeAsync(step);
    }
    expect(handlers.lost).toHaveBeenCalledOnce();
    const attempts = FakeSocket.all.length;
    expect(attempts).toBeGreaterThan(5);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.all.length).toBe(attempts);
  });

  it('is over when the server refuses the ticket', async () => {
    const { handlers, socket } = await joined();
    socket.break();
    await vi.advanceTimersByTimeAsync(300);
    const error = { code: 'resume_refused', message: 'late', remedy: 'join' };
    FakeSocket.last.say({ type: 'error', error, fatal: true });
    expect(handlers.lost.mock.calls[0]?.[0].code).toBe('resume_refused');
  });

  it.each([1003, 1008, 1009, 4001])('with close code %i is not resumed', async (code) => {
    const { handlers, socket } = await joined();
    socket.break(code);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(handlers.lost).toHaveBeenCalledOnce();
    expect(FakeSocket.all.length).toBe(1);
  });

  it.each([1000, 1001, 1006, 1011, 4000])('with close code %i is resumed', async (code) => {
    const { socket } = await joined();
    socket.break(code);
    await vi.advanceTimersByTimeAsync(300);
    expect(FakeSocket.all.length).toBe(2);
  });

  it('is resumed at once when the network comes back', async () => {
    const { link, socket } = await joined();
    socket.break();
    link.wake();
    expect(FakeSocket.all.length).toBe(2);
    await vi.advanceTimersByTimeAsync(1_000);
    expect(FakeSocket.all.length).toBe(2);
  });
});

describe('an open link', () => {
  it('gives a silent socket up soon after the network changed', async () => {
    const { link, handlers } = await joined();
    await vi.advanceTimersByTimeAsync(1_000);
    link.wake();
    await vi.advanceTimersByTimeAsync(3_100);
    expect(handlers.cut).toHaveBeenCalledOnce();
  });

  it('ignores what is not of the protocol', async () => {
    const { handlers, socket } = await joined();
    for (const data of [
      '',
      '{',
      'null',
      '[]',
      '{"type":"later"}',
      '{"type":5}',
      new ArrayBuffer(1),
    ]) {
      socket.onmessage?.({ data });
    }
    expect(handlers.message).not.toHaveBeenCalled();
    expect(handlers.lost).not.toHaveBeenCalled();
  });

  it('treats a gap as a defect, a repetition as nothing, an unknown type as counted', async () => {
    const { handlers, socket } = await joined();
    socket.say({ type: 'of_a_later_version', seq: 2, ack: 0 });
    socket.say({ type: 'speakers', participants: [], seq: 3, ack: 0 });
    socket.say({ type: 'speakers', participants: [], seq: 3, ack: 0 });
    expect(handlers.message).toHaveBeenCalledOnce();
    expect(handlers.lost).not.toHaveBeenCalled();
    socket.say({ type: 'speakers', participants: [], seq: 5, ack: 0 });
    expect(handlers.lost.mock.calls[0]?.[0].name).toBe('ProtocolError');
  });

  it('says leave and then is silent', async () => {
    const { link, handlers, socket } = await joined();
    link.close();
    expect(socket.types).toEqual(['join', 'leave']);
    link.send({ type: 'ping' });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(FakeSocket.all.length).toBe(1);
    expect(handlers.lost).not.toHaveBeenCalled();
  });

  it('gives up instead of gathering messages without end', async () => {
    const { link, handlers } = await joined();
    for (let i = 0; i < 1_000; i += 1) link.send({ type: 'ping' });
    await vi.advanceTimersByTimeAsync(0);
    expect(handlers.lost).toHaveBeenCalledOnce();
  });
});

function spies(): LinkHandlers {
  return {
    message: vi.fn(),
    waiting: vi.fn(),
    cut: vi.fn(),
    resumed: vi.fn(),
    lost: vi.fn(),
  };
}
