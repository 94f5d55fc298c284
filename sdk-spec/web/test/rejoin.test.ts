import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConnectionError, JoinRefusedError } from '../src/errors.js';
import { rejoin } from '../src/rejoin.js';

const refused = new JoinRefusedError('token_refused', 'no', 'mint');

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('rejoin', () => {
  it('uses a fresh token each time until it works', async () => {
    let tokens = 0;
    const join = vi
      .fn<(token: string) => Promise<string>>()
      .mockRejectedValueOnce(ConnectionError.unreachable())
      .mockResolvedValueOnce('in');
    const refreshToken = () => Promise.resolve(`t${++tokens}`);
    const promise = rejoin({ refreshToken, join, cancelled: () => false });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await promise).toBe('in');
    expect(join.mock.calls).toEqual([['t1'], ['t2']]);
  });

  it('stops when several tokens were refused', async () => {
    const join = vi.fn().mockRejectedValue(refused);
    const promise = rejoin({
      refreshToken: () => Promise.resolve('t'),
      join,
      cancelled: () => false,
    });
    const expected = expect(promise).rejects.toBe(refused);
    await vi.advanceTimersByTimeAsync(120_000);
    await expected;
    expect(join).toHaveBeenCalledTimes(3);
  });

  it('goes on while the room is full or no media node is free', async () => {
    const join = vi.fn<() => Promise<string>>();
    for (const code of ['no_media_node', 'room_full', 'no_media_node', 'room_full'] as const) {
      join.mockRejectedValueOnce(new JoinRefusedError(code, 'no', 'wait'));
    }
    join.mockResolvedValueOnce('in');
    const promise = rejoin({
      refreshToken: () => Promise.resolve('t'),
      join,
      cancelled: () => false,
    });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await promise).toBe('in');
  });

  it('stops after its time, with a typed error whatever the application threw', async () => {
    const refreshToken = () => Promise.reject(new TypeError('fetch failed'));
    const promise = rejoin({ refreshToken, join: vi.fn(), cancelled: () => false });
    const expected = expect(promise).rejects.toBeInstanceOf(ConnectionError);
    await vi.advanceTimersByTimeAsync(200_000);
    await expected;
  });

  it('stops when the application leaves', async () => {
    let left = false;
    const join = vi.fn().mockRejectedValue(ConnectionError.unreachable());
    const promise = rejoin({
      refreshToken: () => Promise.resolve('t'),
      join,
      cancelled: () => left,
    });
    const expected = expect(promise).rejects.toBeInstanceOf(ConnectionError);
    await vi.advanceTimersByTimeAsync(1);
    left = true;
    await vi.advanceTimersByTimeAsync(60_000);
    await expected;
    expect(join).toHaveBeenCalledOnce();
  });
});
