import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PathWatch } from '../src/watch.js';

const setUp = () => {
  const handlers = { changed: vi.fn(), restart: vi.fn(), lost: vi.fn() };
  return { handlers, watch: new PathWatch(handlers) };
};

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('PathWatch', () => {
  it('bears a short disconnection', () => {
    const { handlers, watch } = setUp();
    watch.handleTransport('connected');
    watch.handleTransport('disconnected');
    vi.advanceTimersByTime(1_000);
    watch.handleTransport('connected');
    vi.advanceTimersByTime(60_000);
    expect(handlers.restart).not.toHaveBeenCalled();
    expect(handlers.changed.mock.calls).toEqual([['up']]);
  });

  it('restarts ICE when it lasts, again and again, until it heals', () => {
    const { handlers, watch } = setUp();
    watch.handleTransport('connected');
    watch.handleTransport('disconnected');
    vi.advanceTimersByTime(1_500);
    expect(handlers.restart).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(10_000);
    expect(handlers.restart).toHaveBeenCalledTimes(3);
    watch.handleTransport('connected');
    vi.advanceTimersByTime(60_000);
    expect(handlers.restart).toHaveBeenCalledTimes(3);
    expect(handlers.lost).not.toHaveBeenCalled();
    expect(handlers.changed.mock.calls).toEqual([['up'], ['down'], ['up']]);
  });

  it('restarts at once when the transport failed, the server says so, or the network is back', () => {
    for (const act of [
      (watch: PathWatch) => watch.handleTransport('failed'),
      (watch: PathWatch) => watch.handleDown(),
      (watch: PathWatch) => watch.wake('disconnected'),
    ]) {
      const { handlers, watch } = setUp();
      watch.handleTransport('connected');
      act(watch);
      expect(handlers.restart).toHaveBeenCalledTimes(1);
      watch.close();
    }
  });

  it('gives up after its time, once', () => {
    const { handlers, watch } = setUp();
    watch.handleDown();
    vi.advanceTimersByTime(120_000);
    expect(handlers.lost.mock.calls).toEqual([[false]]);
    expect(handlers.restart.mock.calls.length).toBeLessThan(8);
  });

  it('tells whether the path ever was up', () => {
    const { handlers, watch } = setUp();
    watch.handleTransport('connected');
    watch.handleTransport('failed');
    vi.advanceTimersByTime(120_000);
    expect(handlers.lost.mock.calls).toEqual([[true]]);
  });
});
