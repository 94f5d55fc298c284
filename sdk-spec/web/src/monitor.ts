/**
 * Watches a peer connection's statistics.
 *
 * @module
 */

import { QUALITY_MS } from './limits.js';
import {
  judge,
  measure,
  type Measured,
  type Quality,
  QualityFilter,
  type Sample,
  sample,
  type Stat,
} from './quality.js';

/** Numbers about the connection. */
export interface RoomStats extends Measured {
  /** As the `quality` event tells it. */
  quality: Quality;
  /** The browser's own report. */
  report: RTCStatsReport;
}

/** Samples a peer connection every {@link QUALITY_MS}. */
export class Monitor {
  readonly #filter = new QualityFilter();
  readonly #timer: ReturnType<typeof setInterval>;
  #before: Sample | null = null;
  #measured: Measured = { rttMs: null, loss: 0, frozen: 0, bitrateIn: 0, bitrateOut: 0 };
  #steady = new Map<string, string>();
  #steadyNow = new Map<string, string>();

  /**
   * @param pc - what to watch
   * @param shown - track id by mid of the slots that show an unmuted track now
   * @param changed - called when the quality changed
   */
  constructor(
    private readonly pc: RTCPeerConnection,
    private readonly shown: () => Map<string, string>,
    private readonly changed: (quality: Quality) => void,
  ) {
    this.#timer = setInterval(() => void this.#sample(), QUALITY_MS);
  }

  /** Present quality. */
  get quality(): Quality {
    return this.#filter.shown;
  }

  /** A fresh report, with what the last sample said. */
  async stats(): Promise<RoomStats> {
    const report = await this.pc.getStats();
    return { ...this.#measured, quality: this.quality, report };
  }

  /** Stops. */
  close(): void {
    clearInterval(this.#timer);
  }

  async #sample(): Promise<void> {
    if (this.pc.connectionState !== 'connected') return;
    const report = await this.pc.getStats();
    const stats: Stat[] = [];
    report.forEach((stat: Stat) => stats.push(stat));
    const before = this.#before;
    const isSteady = this.#steadySlots();
    this.#before = sample(stats, performance.now());
    if (!before) return;
    this.#measured = measure(before, this.#before, isSteady);
    if (this.#filter.add(judge(this.#measured))) this.changed(this.quality);
  }

  /** A slot is steady when it showed the same unmuted track in the last two samples. */
  #steadySlots(): (mid: string) => boolean {
    const earlier = this.#steady;
    this.#steady = this.#steadyNow;
    this.#steadyNow = this.shown();
    const [a, b, c] = [earlier, this.#steady, this.#steadyNow];
    return (mid) => c.has(mid) && c.get(mid) === b.get(mid) && c.get(mid) === a.get(mid);
  }
}
