import { describe, expect, it } from 'vitest';
import { growth, SlotMap } from '../src/slots.js';

const state = (version: number, ...slots: [string, string | null][]) => ({
  version,
  slots: slots.map(([mid, track]) => ({ mid, track })),
});

describe('SlotMap', () => {
  it('tells what came, what moved, and first what went', () => {
    const slots = new SlotMap();
    expect(slots.apply(state(1, ['3', 'a'], ['4', 'b'], ['5', null]))).toEqual([
      { track: 'a', mid: '3' },
      { track: 'b', mid: '4' },
    ]);
    expect(slots.apply(state(2, ['3', 'b'], ['4', 'c'], ['5', null]))).toEqual([
      { track: 'a', mid: null },
      { track: 'b', mid: '3' },
      { track: 'c', mid: '4' },
    ]);
    expect(slots.midOf('b')).toBe('3');
    expect(slots.midOf('a')).toBeUndefined();
  });

  it('ignores an older version', () => {
    const slots = new SlotMap();
    slots.apply(state(7, ['3', 'a']));
    expect(slots.apply(state(6, ['3', null]))).toBeNull();
    expect(slots.midOf('a')).toBe('3');
  });

  it('is silent when nothing changed', () => {
    const slots = new SlotMap();
    slots.apply(state(1, ['3', 'a']));
    expect(slots.apply(state(2, ['3', 'a']))).toEqual([]);
  });
});

describe('growth', () => {
  it('offers a slot for each waiting video track, up to the limit', () => {
    expect(growth({ audio: 0, video: 3 }, { offered: 4, known: 4, max: 16 })).toBe(3);
    expect(growth({ audio: 0, video: 3 }, { offered: 15, known: 15, max: 16 })).toBe(1);
    expect(growth({ audio: 0, video: 3 }, { offered: 20, known: 20, max: 16 })).toBe(0);
  });

  it('counts slots on their way', () => {
    expect(growth({ audio: 0, video: 3 }, { offered: 6, known: 4, max: 16 })).toBe(1);
    expect(growth({ audio: 0, video: 1 }, { offered: 6, known: 4, max: 16 })).toBe(0);
  });

  it('does not grow for audio', () => {
    expect(growth({ audio: 9, video: 0 }, { offered: 4, known: 4, max: 16 })).toBe(0);
  });
});
