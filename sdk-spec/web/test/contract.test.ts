import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { generate } from '../scripts/protocol.mjs';
import { DATA_BYTES_MAX, STATE_BYTES_MAX, TRACKS_WANTED_MAX } from '../src/limits.js';
import { DEAD_MS, PING_MS, RESUME_MS, SUBPROTOCOL } from '../src/protocol.js';

const read = (path: string): string => readFileSync(new URL(path, import.meta.url), 'utf8');

it('the message types are generated from the present contract', async () => {
  expect(read('../src/protocol.gen.ts')).toBe(await generate());
});

it('names and times are those of the contract', () => {
  const contract = read('../../src/ws.rs');
  const limits = read('../../src/limits.rs');
  expect(limits).toContain(`TRACKS_WANTED_MAX: usize = ${TRACKS_WANTED_MAX},`);
  expect(limits).toContain(`DATA_BYTES_MAX: usize = ${DATA_BYTES_MAX},`);
  expect(limits).toContain(`STATE_BYTES_MAX: usize = ${STATE_BYTES_MAX},`);
  const constant = (name: string): string | undefined =>
    new RegExp(`pub const ${name}: [^=]*= "?([^";]+)"?;`).exec(contract)?.[1];
  expect(constant('SUBPROTOCOL')).toBe(SUBPROTOCOL);
  expect(constant('PING_SECONDS')).toBe(String(PING_MS / 1000));
  expect(constant('DEAD_SECONDS')).toBe(String(DEAD_MS / 1000));
  expect(constant('RESUME_SECONDS')).toBe(String(RESUME_MS / 1000));
});
