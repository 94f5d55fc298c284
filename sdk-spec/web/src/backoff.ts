/**
 * Retry delays.
 *
 * @module
 */

import { BACKOFF_MAX_MS, BACKOFF_MIN_MS } from './limits.js';

/**
 * Delay before retry `attempt` (from 0) in milliseconds: doubling, bounded, with full jitter so
 * that the clients of a restarted server do not come back all at once.
 */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(attempt, 16));
  return Math.round(ceiling * (0.2 + 0.8 * random()));
}
