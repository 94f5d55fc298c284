import { describe, expect, it } from 'vitest';
import { backoff } from '../src/backoff.js';
import { Sequence } from '../src/sequence.js';

describe('Sequence', () => {
  it('counts from 1 and forgets what is acknowledged', () => {
    const sequence = new Sequence(10);
    expect(sequence.wrap({ type: 'ping' })).toEqual({ seq: 1, ack: 0, type: 'ping' });
    sequence.wrap({ type: 'ping' });
    sequence.acknowledge(1);
    expect(sequence.pending).toBe(1);
    expect(sequence.resend(1)).toEqual([{ seq: 2, ack: 0, type: 'ping' }]);
  });

  it('acknowledges what it received, also in repeated messages', () => {
    const sequence = new Sequence(10);
    sequence.wrap({ type: 'ping' });
    expect(sequence.accept(1)).toBe('new');
    expect(sequence.accept(2)).toBe('new');
    expect(sequence.accept(2)).toBe('repeated');
    expect(sequence.accept(1)).toBe('repeated');
    expect(sequence.accept(4)).toBe('gap');
    expect(sequence.received).toBe(2);
    expect(sequence.resend(0)).toEqual([{ seq: 1, ack: 2, type: 'ping' }]);
  });

  it('ignores an acknowledgement of what was never sent', () => {
    const sequence = new Sequence(10);
    sequence.wrap({ type: 'ping' });
    sequence.acknowledge(99);
    expect(sequence.pending).toBe(1);
  });

  it('is bounded', () => {
    const sequence = new Sequence(2);
    sequence.wrap({ type: 'ping' });
    sequence.wrap({ type: 'ping' });
    expect(sequence.wrap({ type: 'ping' })).toBeNull();
    expect(sequence.pending).toBe(2);
  });
});

describe('backoff', () => {
  it('grows, is bounded, and never zero', () => {
    const most = [0, 1, 2, 10, 1_000].map((attempt) => backoff(attempt, () => 1));
    expect(most).toEqual([250, 500, 1_000, 4_000, 4_000]);
    expect(backoff(0, () => 0)).toBe(50);
  });
});
