// All end-to-end tests in one process, so that they share one server and one Chromium.
//
//   node --test e2e/run.test.mjs                     everything
//   node --test --test-name-pattern=codec e2e/run.test.mjs

import { after, before } from 'node:test';
import { world } from './lib/world.mjs';

before(() => world.open());
after(() => world.close());

await import('./tests/calls.mjs');
await import('./tests/moderation.mjs');
await import('./tests/network.mjs');
await import('./tests/hostile.mjs');
await import('./tests/clients.mjs');
await import('./tests/recording.mjs');
await import('./tests/demo.mjs');
await import('./tests/privacy.mjs');
