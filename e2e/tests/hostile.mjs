// Bad input: each gets its stated answer, nothing dies, media goes on, memory does not grow.

import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { test } from 'node:test';
import { sleep, until } from '../lib/base.mjs';
import { frame, openSocket, rawUpgrade } from '../lib/socket.mjs';
import { relayFor } from './network.mjs';
import { world } from '../lib/world.mjs';

/** Bytes by which the server may be larger after an attack: caches, allocator, log buffers. */
const GROWTH_BYTES_MAX = 24 * 1024 * 1024;
const FIRST_MESSAGE_MS_MAX = 8_000;
/** Packets of a live call that are forged in four ways. */
const PACKETS = 300;

async function withoutGrowth(t, attack) {
  const { server } = world;
  const before = server.rss();
  await attack();
  assert.ok(server.alive, 'the server lives');
  assert.ok(await server.ready(), 'the server is ready');
  assert.equal(await server.metric('conclave_sfu_panics_total'), 0);
  const grown = server.rss() - before;
  t.diagnostic(`memory grew by ${Math.round(grown / 1024)} kB`);
  assert.ok(grown < GROWTH_BYTES_MAX, `memory grew by ${grown} bytes`);
}

async function refusedJoin(token) {
  const socket = await openSocket(world.server.ws);
  try {
    socket.send({ type: 'join', token });
    const { error, fatal } = await socket.hears('error');
    await socket.closes();
    assert.equal(fatal, true);
    return error;
  } finally {
    socket.close();
  }
}

const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const read = (text) => JSON.parse(Buffer.from(text, 'base64url'));

test('wrong, expired, replayed and foreign tokens get one and the same answer', async () => {
  const { server } = world;
  const [room, gone] = [await server.createRoom(), await server.createRoom()];
  const good = await server.token(room, 'guest-x');
  const [head, claims, signature] = good.split('.');
  const expired = await server.token(room, 'guest-x', { ttl_seconds: 1 });
  const orphan = await server.token(gone, 'guest-x');
  await server.json('DELETE', `/v1/rooms/${gone}`);
  const used = await server.token(room, 'guest-x');
  const first = await openSocket(server.ws);
  first.send({ type: 'join', token: used });
  await first.hears('joined');
  await sleep(12_500); // The expired token's second and the clock skew that is allowed.
  const none = part({ ...read(head), alg: 'none' });
  const attempts = {
    'no token': '',
    'no JWT': 'x'.repeat(100),
    'wrong signature': `${head}.${claims}.${'A'.repeat(signature.length)}`,
    'other room, old signature': `${head}.${part({ ...read(claims), room: gone })}.${signature}`,
    'alg none': `${none}.${claims}.`,
    'alg none with signature': `${none}.${claims}.${signature}`,
    'other algorithm': `${part({ ...read(head), alg: 'RS256' })}.${claims}.${signature}`,
    expired,
    'of a room that is gone': orphan,
    replayed: used,
    'longer than any token': `${good}${'A'.repeat(8192)}`,
  };
  const answers = new Set();
  for (const [name, token] of Object.entries(attempts)) {
    const error = await refusedJoin(token);
    assert.equal(error.code, 'token_refused', name);
    answers.add(JSON.stringify(error));
  }
  assert.equal(answers.size, 1, 'the answer does not tell what was wrong');
  first.close();
});

test('REST answers unknown and foreign rooms alike, and refuses handles that name people', async () => {
  const { server } = world;
  const room = await server.createRoom();
  const unknown = await server.request('GET', `/v1/rooms/${room.slice(0, -1)}${room.endsWith('0') ? '1' : '0'}`);
  assert.equal(unknown.status, 404);
  assert.equal((await server.request('GET', `/v1/rooms/${room}`, { key: 'ck_no' })).status, 401);
  for (const handle of ['ann@mail.example', '+49 170 1234567', 'Ann Example', '192.0.2.1']) {
    const body = { handle, grants: { subscribe: true } };
    const response = await server.request('POST', `/v1/rooms/${room}/tokens`, { body });
    assert.ok([400, 422].includes(response.status), `${handle}: ${response.status}`);
    const text = await response.text();
    assert.ok(!text.includes(handle), 'the answer does not repeat it');
  }
});

test('a 1 MB SDP and one of 10,000 lines are refused', (t) => withoutGrowth(t, async () => {
  const { server } = world;
  const room = await server.createRoom();
  const join = async () => {
    const socket = await openSocket(server.ws);
    socket.send({ type: 'join', token: await server.token(room, 'guest-x') });
    await socket.hears('joined');
    return socket;
  };
  const offer = (sdp) => ({ seq: 1, ack: 1, type: 'offer', id: 1, sdp, tracks: [] });

  const lines = await join();
  lines.send(offer(`v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n${'a=x\r\n'.repeat(10_000)}`));
  const { error, fatal } = await lines.hears('error');
  assert.deepEqual([error.code, fatal], ['malformed_sdp', false]);
  lines.close();

  const large = await join();
  large.send(offer('a'.repeat(1024 * 1024)));
  await large.closes();
  large.close();

  for (const sdp of ['a'.repeat(1024 * 1024), 'a=x\r\n'.repeat(10_000), '', 'nonsense']) {
    const response = await fetch(`${server.origin}/v1/whip`, {
      method: 'POST',
      headers: { 'content-type': 'application/sdp', authorization: `Bearer ${await server.token(room, 'guest-y')}` },
      body: sdp,
    });
    assert.ok(response.status >= 400 && response.status < 500, String(response.status));
    assert.match(response.headers.get('content-type') ?? '', /problem\+json/);
  }
}));

test('slow, huge and malformed WebSocket frames end only their own socket', (t) => withoutGrowth(t, async () => {
  const { server } = world;
  const cases = {
    'no first message': [],
    'half a frame': [frame(1, Buffer.from('{"type":'), { length: 400 })],
    'a frame of 1 TB': [frame(1, Buffer.alloc(1000), { length: 2 ** 40 })],
    'an endless message': Array.from({ length: 2000 }, (_, i) => frame(i ? 0 : 1, Buffer.alloc(1000, 'a'), { fin: false })),
    'an unmasked frame': [frame(1, Buffer.from('{}'), { masked: false })],
    'a reserved opcode': [frame(5, Buffer.from('{}'))],
    'no UTF-8': [frame(1, Buffer.from([0xff, 0xfe]))],
    'no JSON': [frame(1, Buffer.from('{'))],
    'no known type': [frame(1, Buffer.from('{"type":"hack"}'))],
    'deep JSON': [frame(1, Buffer.from('['.repeat(60_000)))],
    'a binary frame': [frame(2, Buffer.from('{"type":"ping"}'))],
    'a join of the wrong shape': [frame(1, Buffer.from('{"type":"join","token":7}'))],
    'a ping flood before the join': Array.from({ length: 5000 }, () => frame(9, Buffer.alloc(10))),
  };
  const sockets = await Promise.all(Object.values(cases).map(async (frames) => {
    const raw = await rawUpgrade(server.http);
    for (const bytes of frames) if (!raw.state.closed) raw.socket.write(bytes);
    return raw;
  }));
  await until('all are closed', () => sockets.every(({ state }) => state.closed), FIRST_MESSAGE_MS_MAX)
    .catch(() => assert.fail(`still open: ${Object.keys(cases).filter((_, i) => !sockets[i].state.closed)}`))
    .finally(() => sockets.forEach(({ socket }) => socket.destroy()));
}));

test('a session survives its own malformed messages as stated', async () => {
  const { server } = world;
  const room = await server.createRoom();
  const socket = await openSocket(server.ws);
  socket.send({ type: 'join', token: await server.token(room, 'guest-x') });
  await socket.hears('joined');
  socket.send({ seq: 1, ack: 0, type: 'mute', track: 'tr_00000000000000000000000000', muted: true });
  const { error, fatal } = await socket.hears('error');
  assert.deepEqual([error.code, fatal], ['unknown_track', false]);
  socket.send({ seq: 2, ack: 0, type: 'ping' });
  await socket.hears('pong');
  socket.close();
});

test('junk for every first byte and length, from strangers and from the live 5-tuple', (t) =>
  world.withClients(2, async (ann, ben) => {
    const relay = await relayFor(ann);
    const stranger = dgram.createSocket('udp4');
    try {
      const room = await world.server.createRoom();
      await ann.join(world.server, room);
      await ben.join(world.server, room);
      await ben.sees(ann);
      const before = await world.server.metric('conclave_sfu_packets_in_total');
      const junk = Buffer.from(Array.from({ length: 1500 }, (_, i) => (i * 167 + 13) & 0xff));
      await withoutGrowth(t, async () => {
        let sent = 0;
        for (let length = 0; length <= 1500; length++) {
          for (let first = 0; first < 256; first++) {
            const datagram = Buffer.from(junk.subarray(0, length));
            if (length) datagram[0] = first;
            const port = world.server.media + (first % 2);
            stranger.send(datagram, port, '127.0.0.1');
            // One length in sixteen also comes from the live session's own address.
            if (length % 16 === 4) relay.inject(datagram);
            sent += 1;
          }
          await new Promise((done) => setImmediate(done));
        }
        await ben.sees(ann, { frames: 20 });
        const arrived = (await world.server.metric('conclave_sfu_packets_in_total')) - before;
        t.diagnostic(`${sent} datagrams sent, ${arrived} read by the server`);
        assert.ok(arrived > sent * 0.8, 'the junk arrived');
      });
      await ben.hears(ann);
      assert.equal((await ann.report()).state, 'connected');
    } finally {
      stranger.close();
      relay.close();
    }
  }));

test('RTP with a broken tag from the live 5-tuple changes nothing', (t) =>
  world.withClients(2, async (ann, ben) => {
    const relay = await relayFor(ann);
    try {
      const room = await world.server.createRoom();
      const captured = [];
      relay.onClient = (datagram) => {
        const rtp = datagram[0] >> 6 === 2 && (datagram[1] < 192 || datagram[1] > 223); // RFC 5761 section 4
        if (rtp && captured.length < PACKETS) captured.push(Buffer.from(datagram));
      };
      await ann.join(world.server, room);
      await ben.join(world.server, room);
      await ben.sees(ann);
      await until('enough packets', () => captured.length === PACKETS);
      const drops = async () => ({
        all: await world.server.metric('conclave_sfu_drops_total'),
        broken: await world.server.metric('conclave_sfu_drops_total', 'reason="authentication"'),
        replayed: await world.server.metric('conclave_sfu_drops_total', 'reason="replay"'),
      });
      const before = await drops();
      await withoutGrowth(t, async () => {
        for (const packet of captured) {
          relay.inject(packet); // a replay
          relay.inject(changed(packet, packet.length - 1)); // the tag
          relay.inject(changed(packet, 11)); // another SSRC
          relay.inject(ahead(packet)); // a sequence number that nothing sent yet has
        }
        await ben.sees(ann, { frames: 30 });
        await ben.hears(ann);
      });
      const after = await drops();
      const [all, broken, replayed] = ['all', 'broken', 'replayed'].map((kind) => after[kind] - before[kind]);
      t.diagnostic(`${PACKETS * 4} forged: ${all} dropped, ${broken} for their tag, ${replayed} as replays`);
      assert.ok(all >= PACKETS * 4 * 0.95, 'every forged packet was dropped for a reason');
      assert.ok(broken >= PACKETS * 0.9 && replayed >= PACKETS * 0.9);
      const lost = (await ben.stats()).filter((s) => s.type === 'inbound-rtp' && s.kind === 'video');
      assert.equal(lost.reduce((sum, s) => sum + s.packetsLost, 0), 0, 'no packet was lost');
    } finally {
      relay.close();
    }
  }));

/** With a sequence number far ahead of what was sent (RFC 3550 section 5.1, bytes 2 and 3). */
function ahead(packet) {
  const copy = Buffer.from(packet);
  copy.writeUInt16BE((packet.readUInt16BE(2) + 3000) & 0xffff, 2);
  return copy;
}

function changed(packet, at) {
  const copy = Buffer.from(packet);
  copy[at] ^= 0x55;
  return copy;
}

test('a ClientHello from a foreign address during the handshake is ignored', (t) =>
  world.withClients(2, async (ann, ben) => {
    const relay = await relayFor(ann);
    const stranger = dgram.createSocket('udp4');
    let answers = 0;
    stranger.on('message', () => { answers += 1; });
    let sent = 0;
    relay.onClient = (datagram, target) => {
      if (datagram[0] < 20 || datagram[0] > 63) return;
      for (const copy of [datagram, changed(datagram, datagram.length - 1), changed(datagram, 20)]) {
        stranger.send(copy, target, '127.0.0.1');
        sent += 1;
      }
    };
    try {
      const room = await world.server.createRoom();
      await ann.join(world.server, room);
      await ben.join(world.server, room);
      await ben.sees(ann);
      await ann.hears(ben);
      t.diagnostic(`${sent} foreign handshake datagrams, ${answers} answers`);
      assert.ok(sent >= 6, 'the handshake was attacked');
      assert.equal(answers, 0, 'a stranger gets no answer: no reflection');
    } finally {
      stranger.close();
      relay.close();
    }
  }));

test('logs hold no address, token, key or handle of the calls before', () => {
  const { server } = world;
  const text = server.lines().map((line) => JSON.stringify(line)).join('\n');
  assert.ok(!text.includes('guest-'), 'a handle');
  assert.ok(!text.includes(server.key), 'the key');
  assert.ok(!/eyJ[A-Za-z0-9_-]{10}/.test(text), 'a token');
  assert.ok(!/(candidate|ufrag)/i.test(text), 'SDP');
});
