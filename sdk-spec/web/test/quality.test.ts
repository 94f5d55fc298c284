import { describe, expect, it } from 'vitest';
import { judge, measure, QualityFilter, sample, type Stat } from '../src/quality.js';

const report = (at: number, over: { frozen?: number; lost?: number; received?: number } = {}) =>
  sample(
    [
      {
        id: 'p',
        type: 'candidate-pair',
        nominated: true,
        state: 'succeeded',
        currentRoundTripTime: 0.05,
        bytesReceived: at * 125,
        bytesSent: at * 12.5,
      },
      {
        id: 'i',
        type: 'inbound-rtp',
        mid: '3',
        packetsReceived: over.received ?? at / 10,
        packetsLost: over.lost ?? 0,
        totalFreezesDuration: over.frozen ?? 0,
      },
      { id: 'x', type: 'codec' },
    ] satisfies Stat[],
    at,
  );
const always = (): boolean => true;

describe('measure', () => {
  it('computes rates between two samples', () => {
    const measured = measure(report(0), report(2_000), always);
    expect(measured).toEqual({
      rttMs: 50,
      loss: 0,
      frozen: 0,
      bitrateIn: 1_000_000,
      bitrateOut: 100_000,
    });
    expect(judge(measured)).toBe('good');
  });

  it('sees loss on the way here and, from the reports of the server, on the way there', () => {
    expect(measure(report(0), report(2_000, { lost: 22 }), always).loss).toBeCloseTo(0.099);
    const up = sample([{ id: 'r', type: 'remote-inbound-rtp', fractionLost: 0.2 }], 2_000);
    expect(measure(report(0), up, always).loss).toBe(0.2);
  });

  it('counts freezes of steady slots only', () => {
    const [before, now] = [report(0), report(2_000, { frozen: 1 })];
    expect(measure(before, now, always).frozen).toBe(0.5);
    expect(measure(before, now, () => false).frozen).toBe(0);
    expect(measure(sample([], 0), now, always).frozen).toBe(0);
  });

  it('survives totals that were reset', () => {
    const measured = measure(report(2_000, { frozen: 3 }), report(2_000), always);
    expect(measured).toMatchObject({ loss: 0, frozen: 0, bitrateIn: 0 });
  });
});

describe('judge', () => {
  const fine = { rttMs: 20, loss: 0, frozen: 0, bitrateIn: 0, bitrateOut: 0 };
  it.each([
    [{ ...fine, rttMs: null }, 'good'],
    [{ ...fine, rttMs: 300 }, 'fair'],
    [{ ...fine, loss: 0.05 }, 'fair'],
    [{ ...fine, loss: 0.2 }, 'poor'],
    [{ ...fine, frozen: 0.5 }, 'poor'],
  ] as const)('%o is %s', (measured, quality) => {
    expect(judge(measured)).toBe(quality);
  });
});

describe('QualityFilter', () => {
  it('changes at the second judgement in a row', () => {
    const filter = new QualityFilter();
    expect(filter.add('poor')).toBe(false);
    expect(filter.add('good')).toBe(false);
    expect(filter.add('poor')).toBe(false);
    expect(filter.add('poor')).toBe(true);
    expect(filter.shown).toBe('poor');
    expect(filter.add('poor')).toBe(false);
  });
});
