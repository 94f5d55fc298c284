/**
 * Connection quality from `getStats`, as a pure fold.
 *
 * @module
 */

/** How good the connection is. */
export type Quality = 'good' | 'fair' | 'poor';

/** Totals read from one statistics report. */
export interface Sample {
  /** When, in milliseconds. */
  at: number;
  /** Round trip time of the selected path in milliseconds, if known. */
  rttMs: number | null;
  /** Packets received so far. */
  received: number;
  /** Packets lost so far on the way here. */
  lost: number;
  /** Fraction that the server lost of what we sent, 0 to 1. */
  lossUp: number;
  /** Time that pictures stood still so far, in seconds, by `mid`. */
  frozen: Map<string, number>;
  /** Bytes received so far. */
  bytesIn: number;
  /** Bytes sent so far. */
  bytesOut: number;
}

/** What happened between two samples. */
export interface Measured {
  /** Round trip time in milliseconds, if known. */
  rttMs: number | null;
  /** Lost of the expected packets, the worse direction, 0 to 1. */
  loss: number;
  /** Part of the time in which some picture stood still, 0 to 1. */
  frozen: number;
  /** Bits per second. */
  bitrateIn: number;
  /** Bits per second. */
  bitrateOut: number;
}

/** One entry of a statistics report. */
export interface Stat {
  id: string;
  type: string;
  [key: string]: unknown;
}

const num = (value: unknown): number => (typeof value === 'number' ? value : 0);

/** Reads a report. */
export function sample(stats: Iterable<Stat>, at: number): Sample {
  const result: Sample = {
    at,
    rttMs: null,
    received: 0,
    lost: 0,
    lossUp: 0,
    frozen: new Map(),
    bytesIn: 0,
    bytesOut: 0,
  };
  for (const stat of stats) read(result, stat);
  return result;
}

function read(result: Sample, stat: Stat): void {
  if (stat.type === 'inbound-rtp') {
    result.received += num(stat.packetsReceived);
    result.lost += num(stat.packetsLost);
    result.frozen.set(String(stat.mid), num(stat.totalFreezesDuration));
  } else if (stat.type === 'remote-inbound-rtp') {
    result.lossUp = Math.max(result.lossUp, num(stat.fractionLost));
  } else if (stat.type === 'candidate-pair' && (stat.nominated || stat.selected)) {
    if (stat.state !== 'succeeded') return;
    result.bytesIn += num(stat.bytesReceived);
    result.bytesOut += num(stat.bytesSent);
    if (typeof stat.currentRoundTripTime === 'number') {
      result.rttMs = stat.currentRoundTripTime * 1000;
    }
  }
}

/**
 * What happened from one sample to the next. Totals that shrink were reset: they count as 0.
 *
 * @param steady - whether a slot (`mid`) has shown the same live track all the time; a track that
 * comes back after a pause would count the pause as a freeze
 */
export function measure(before: Sample, now: Sample, steady: (mid: string) => boolean): Measured {
  const seconds = Math.max(0.001, (now.at - before.at) / 1000);
  const delta = (key: 'received' | 'lost' | 'bytesIn' | 'bytesOut'): number =>
    Math.max(0, now[key] - before[key]);
  const lost = delta('lost');
  const expected = delta('received') + lost;
  const froze = [...now.frozen]
    .filter(([mid]) => steady(mid) && before.frozen.has(mid))
    .map(([mid, total]) => total - (before.frozen.get(mid) ?? 0));
  return {
    rttMs: now.rttMs,
    loss: Math.max(now.lossUp, expected > 0 ? lost / expected : 0),
    frozen: Math.min(1, Math.max(0, ...froze) / seconds),
    bitrateIn: (delta('bytesIn') * 8) / seconds,
    bitrateOut: (delta('bytesOut') * 8) / seconds,
  };
}

/** Judges a measurement. */
export function judge({ rttMs, loss, frozen }: Measured): Quality {
  const rtt = rttMs ?? 0;
  if (rtt > 500 || loss > 0.08 || frozen > 0.3) return 'poor';
  if (rtt > 200 || loss > 0.02 || frozen > 0.05) return 'fair';
  return 'good';
}

/** Keeps the shown quality calm: a change needs two judgements in a row. */
export class QualityFilter {
  #shown: Quality = 'good';
  #last: Quality = 'good';

  /** The quality to show. */
  get shown(): Quality {
    return this.#shown;
  }

  /** Takes a judgement. Returns whether the shown quality changed. */
  add(judged: Quality): boolean {
    const changed = judged === this.#last && judged !== this.#shown;
    this.#last = judged;
    if (changed) this.#shown = judged;
    return changed;
  }
}
