// What the SDK asks of the network and leaves in the browser: its own server, and nothing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { world } from '../lib/world.mjs';

test('a call asks no other origin and leaves nothing behind in the browser', () =>
  world.withClients(2, async (ann, ben) => {
    const asked = { http: [], sockets: [] };
    ann.page.on('request', (request) => asked.http.push(new URL(request.url())));
    ann.page.on('websocket', (socket) => asked.sockets.push(socket.url()));
    await ann.page.reload();
    const room = await world.server.createRoom();
    await ann.join(world.server, room);
    await ben.join(world.server, room);
    await ann.sees(ben);
    await ben.hears(ann);
    await ann.leave();
    await ben.isWith([]);

    const site = new URL(world.pages.url).origin;
    assert.ok(asked.http.some(({ pathname }) => pathname === '/sdk/index.js'), 'requests are seen');
    assert.deepEqual(asked.http.filter(({ protocol }) => protocol !== 'blob:' && protocol !== 'data:')
      .map(({ origin }) => origin).filter((origin) => origin !== site), []);
    assert.deepEqual(asked.sockets, [world.server.ws]);
    assert.deepEqual(await ann.page.context().cookies(), []);
    assert.deepEqual(await ann.page.evaluate(kept), { local: 0, session: 0, databases: 0, caches: 0, workers: 0 });
  }));

/** Runs in the page: how much its site keeps. */
async function kept() {
  return {
    local: localStorage.length,
    session: sessionStorage.length,
    databases: (await indexedDB.databases()).length,
    caches: (await caches.keys()).length,
    workers: (await navigator.serviceWorker.getRegistrations()).length,
  };
}
