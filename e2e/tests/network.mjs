// What a network does to a call: path lost, socket cut, no UDP, large and small DTLS hellos.

import assert from 'node:assert/strict';
import os from 'node:os';
import { test } from 'node:test';
import { allMeet } from '../lib/client.mjs';
import { launchChromium } from '../lib/chromium.mjs';
import { startProxy } from '../lib/proxy.mjs';
import { startRelay } from '../lib/relay.mjs';
import { until } from '../lib/base.mjs';
import { startServer } from '../lib/server.mjs';
import { world } from '../lib/world.mjs';

const MEDIA_PORTS = 4;

export async function relayFor(client, { media } = world.server) {
  const relay = await startRelay(Array.from({ length: MEDIA_PORTS }, (_, i) => media + i));
  await client.page.evaluate((map) => { window.patch.relays = map; }, relay.map);
  return relay;
}

test('ICE restarts when the path was lost, and media goes on', (t) =>
  world.withClients(2, async (ann, ben) => {
    const relay = await relayFor(ann);
    try {
      const room = await world.server.createRoom();
      await ann.join(world.server, room);
      await ben.join(world.server, room);
      await allMeet([ann, ben]);
      const before = await credentials(ann);
      const lost = performance.now();
      relay.blocked = true;
      await until('the page notices', async () => (await ann.report()).state === 'reconnecting', 30_000);
      t.diagnostic(`path lost, noticed after ${Math.round(performance.now() - lost)} ms`);
      relay.blocked = false;
      await until('the page is back', async () => (await ann.report()).state === 'connected', 30_000);
      await allMeet([ann, ben]);
      assert.notEqual(await credentials(ann), before, 'ICE has new credentials');
      assert.deepEqual(await connections(ann), 1, 'the same peer connection');
    } finally {
      relay.close();
    }
  }));

const credentials = (client) =>
  client.page.evaluate(() => /a=ice-ufrag:(.*)/.exec(window.patch.connections[0].remoteDescription.sdp)[1].trim());
const connections = (client) => client.page.evaluate(() => window.patch.connections.length);

test('a cut WebSocket is resumed while media flows, and nothing is missed', () =>
  world.withClients(3, async (ann, ben, late) => {
    const proxy = await startProxy(world.server.http);
    try {
      const room = await world.server.createRoom();
      await ann.join(world.server, room, { url: proxy.url });
      await ben.join(world.server, room);
      await allMeet([ann, ben]);
      proxy.cut(3000);
      await until('the page notices', async () => (await ann.report()).state === 'reconnecting');
      await late.join(world.server, room, { source: null });
      await ben.sees(ann);
      await ann.sees(ben);
      await until('the page is back', async () => (await ann.report()).state === 'connected');
      await ann.isWith([ben, late]);
      const { events } = await ann.report();
      assert.ok(events.some(([name]) => name === 'reconnected'), JSON.stringify(events));
      assert.equal(await connections(ann), 1, 'the media session was not touched');
      assert.equal(proxy.accepted, 2, 'one socket before the cut, one after');
      await ben.isWith([ann, late]);
    } finally {
      proxy.close();
    }
  }));

test('a page without UDP talks over ICE-TCP', () =>
  world.withClients(2, async (ann, ben) => {
    await ann.page.evaluate(() => { window.patch.transport = 'tcp'; });
    const room = await world.server.createRoom();
    await ann.join(world.server, room);
    await ben.join(world.server, room);
    await allMeet([ann, ben], { frames: 30 });
    const stats = await ann.stats();
    const { selectedCandidatePairId } = stats.find((s) => s.type === 'transport');
    const pair = stats.find((s) => s.id === selectedCandidatePairId);
    assert.equal(stats.find((s) => s.id === pair.remoteCandidateId).protocol, 'tcp');
  }));

test('DTLS with a small hello (no ML-KEM) connects as the large one does', async (t) => {
  const browser = await launchChromium(['--disable-features=WebRtcPqcForDtls']);
  try {
    await world.withClients(2, async (ann, ben) => {
      const [relay, hellos] = [await relayFor(ann), []];
      relay.onClient = (datagram) => { if (datagram[0] === 22) hellos.push(datagram.length); };
      try {
        const room = await world.server.createRoom();
        await ann.join(world.server, room);
        await ben.join(world.server, room);
        await allMeet([ann, ben]);
        t.diagnostic(`DTLS records of the client, bytes: ${hellos.join(', ')}`);
        assert.ok(hellos[0] < 600, 'the hello is small');
      } finally {
        relay.close();
      }
    }, { browser });
  } finally {
    await browser.close();
  }
});

test('DTLS with the ML-KEM hello in two datagrams connects', (t) =>
  world.withClients(2, async (ann, ben) => {
    const [relay, hellos] = [await relayFor(ann), []];
    relay.onClient = (datagram) => { if (datagram[0] === 22) hellos.push(datagram.length); };
    try {
      const room = await world.server.createRoom();
      await ann.join(world.server, room);
      await ben.join(world.server, room);
      await allMeet([ann, ben]);
      t.diagnostic(`DTLS records of the client, bytes: ${hellos.join(', ')}`);
      assert.ok(hellos[0] + hellos[1] > 1300, 'the hello has the ML-KEM key share');
    } finally {
      relay.close();
    }
  }));

/** An IPv6 address of this machine that a browser uses too: neither loopback nor link-local. */
const ipv6 = Object.values(os.networkInterfaces()).flat()
  .find(({ family, internal, scopeid }) => family === 'IPv6' && !internal && !scopeid)?.address;

test('a call over IPv6 alone', { skip: !ipv6 && 'no IPv6 address' }, () =>
  world.withClients(2, async (ann, ben) => {
    const server = await startServer('ipv6', { args: ['--announce', ipv6] });
    try {
      const room = await server.createRoom();
      await ann.join(server, room);
      await ben.join(server, room);
      await allMeet([ann, ben]);
      for (const client of [ann, ben]) {
        const stats = await client.stats();
        const of = (id) => stats.find((stat) => stat.id === id);
        const transport = stats.find(({ type }) => type === 'transport');
        const { remoteCandidateId } = of(transport.selectedCandidatePairId);
        assert.match(of(remoteCandidateId).address, /:/);
      }
    } finally {
      await server.stop();
    }
  }));
