// Paths and waiting. A test waits for a condition with a deadline, never for luck.

import fs from 'node:fs';
import path from 'node:path';

export const HERE = path.resolve(import.meta.dirname, '..');
export const ROOT = path.resolve(HERE, '..');
export const OUT = path.join(HERE, 'out');

fs.mkdirSync(OUT, { recursive: true });

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** Polls `condition` until it is truthy and returns that value; fails after `ms`. */
export async function until(what, condition, ms = 15_000, everyMs = 50) {
  const end = performance.now() + ms;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(`not in ${ms} ms: ${what}`);
    await sleep(everyMs);
  }
}
