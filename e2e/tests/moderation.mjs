// What moderators do, in real browsers: it holds against clients that do not obey, and it is fast.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allMeet, Client } from '../lib/client.mjs';
import { launchFirefox } from '../lib/firefox.mjs';
import { until } from '../lib/base.mjs';
import { openSocket } from '../lib/socket.mjs';
import { world } from '../lib/world.mjs';

/** The promise: media and socket are gone this soon after an eject. */
const GONE_MS_MAX = 500;
/** Time in which a muted or ejected participant is watched for media that should not come. */
const WATCHED_MS = 2000;
/** Bytes in `WATCHED_MS` that are no media: none of it is counted by RTP statistics but padding. */
const SILENCE_BYTES_MAX = 4000;

const MODERATOR = { role: 'moderator' };
const standing = (client) => client.page.evaluate(() => window.client.standing());
const measure = (client, ms = WATCHED_MS) => client.page.evaluate((time) => window.patch.measure(time), ms);
const publish = (client) => client.page.evaluate((shape) => window.client.publish(shape), { tone: client.tone, offset: client.offset });

/** One call of `room.moderate` that must be carried out; returns when it was asked for. */
async function moderate(client, call, ...args) {
  const { at, refused, result } = await client.page.evaluate((all) => window.client.moderate(...all), [call, ...args]);
  assert.equal(refused, undefined, `${call} is refused: ${refused}`);
  return { at, result };
}

const idOf = async (client, other) => (await client.report()).people[other.handle].id;
const is = (client, what, check, ms = 15_000) =>
  until(`${client.handle}: ${what}`, async () => check(await standing(client)), ms);
const event = (client, name, ms = 15_000) =>
  until(`${client.handle}: ${name}`, async () => (await client.report()).events.find((one) => one[0] === name), ms);

async function joinAs(client, room, token = {}, options = {}) {
  await client.join(world.server, room, { token: await world.server.token(room, client.handle, token), ...options });
}

/** How the server answers a first message: the code of its error, or null when it lets the client in. */
async function answerTo(message) {
  const socket = await openSocket(world.server.ws);
  try {
    socket.send(message);
    const heard = await until('an answer', () => socket.heard.find(({ type }) => type === 'error' || type === 'joined'));
    return heard.error?.code ?? null;
  } finally {
    socket.close();
  }
}

test('an ejected participant is gone within 500 ms and does not come back, by any door', (t) =>
  world.withClients(2, async (ann, ben) => {
    const { server } = world;
    const room = await server.createRoom();
    const token = await server.token(room, ben.handle);
    await joinAs(ann, room, MODERATOR);
    await ben.page.evaluate(() => { window.patch.stays = true; });
    await ben.join(server, room, { token });
    await allMeet([ann, ben]);
    const ticket = await ben.page.evaluate(() => window.patch.ticket);

    // Both pages watch their packets: this one's connection stays open against the SDK's will.
    const watching = [measure(ben, 3000), measure(ann, 3000)];
    const { at } = await moderate(ann, 'eject', await idOf(ann, ben));
    const [, reason, toldAt] = await event(ben, 'left');
    const closedAt = await until('the socket is closed', () => ben.page.evaluate(() => window.patch.sockets[0].closedAt));
    const [[, , seenAt]] = (await ann.report()).events.filter(([name]) => name === 'participantLeft');
    const [down, up] = await Promise.all(watching);
    const after = { told: toldAt - at, socket: closedAt - at, seen: seenAt - at, down: down.lastAt - at, up: up.lastAt - at };
    t.diagnostic(`ms after the call: ${JSON.stringify(after, (_, v) => (typeof v === 'number' ? Math.round(v) : v))}`);
    assert.equal(reason, 'removed');
    for (const [what, ms] of Object.entries(after)) assert.ok(ms < GONE_MS_MAX, `${what}: ${ms} ms`);
    assert.ok((await measure(ben, 1000)).grown.received === 0, 'nothing comes any more');

    assert.equal(await answerTo({ type: 'join', token }), 'banned', 'the same token');
    assert.equal(await answerTo({ type: 'resume', ticket, received: 1 }), 'resume_refused', 'the resume ticket');
    const again = () => server.token(room, ben.handle);
    assert.equal(await answerTo({ type: 'join', token: await again() }), 'banned', 'a new token');
    await ann.isWith([]);
  }));

test('a short ban ends, and who was ejected without one may come back at once', () =>
  world.withClients(1, async (ann) => {
    const { server } = world;
    const room = await server.createRoom();
    await joinAs(ann, room, MODERATOR, { source: null });
    for (const [handle, banSeconds] of [['guest-x', 0], ['guest-y', 2]]) {
      const socket = await openSocket(server.ws);
      const used = await server.token(room, handle);
      socket.send({ type: 'join', token: used });
      const { participant } = await socket.hears('joined');
      await moderate(ann, 'eject', participant.id, { banSeconds });
      await socket.hears('left');
      const again = await answerTo({ type: 'join', token: used });
      assert.equal(again, banSeconds === 0 ? 'token_refused' : 'banned', 'the same token');
      const join = async () => answerTo({ type: 'join', token: await server.token(room, handle) });
      assert.equal(await join(), banSeconds === 0 ? null : 'banned');
      await until('the ban is over', async () => (await join()) === null, 6000, 500);
    }
  }));

test('who knocks sees nothing before a moderator admits it, and is sent away by one', () =>
  world.withClients(3, async (ann, ben, cleo) => {
    const room = await world.server.createRoom({ settings: { knock: true } });
    await joinAs(ann, room, MODERATOR);
    const entering = joinAs(ben, room);
    const turned = joinAs(cleo, room).catch((error) => String(error));
    await is(ann, 'both wait', ({ lobby }) => lobby.length === 2);
    assert.deepEqual((await ann.report()).people, {}, 'who waits is not in the room');
    const connections = await ben.page.evaluate(() => window.patch.connections.length);
    assert.equal(connections, 0, 'who waits has no media');
    const { result } = await ann.page.evaluate(
      (handle) => window.client.moderate('admit', ...window.client.room().lobby.filter((one) => one.handle === handle)),
      ben.handle,
    );
    assert.equal(result.participants, 1);
    await entering;
    await allMeet([ann, ben]);
    await moderate(ann, 'deny');
    assert.match(await turned, /denied/);
    await is(ann, 'nobody waits', ({ lobby }) => lobby.length === 0);
    await ann.isWith([ben]);
  }));

test('in a lecture nobody is seen or heard without the floor, and with it is', (t) =>
  world.withClients(3, async (ann, ben, cleo) => {
    const room = await world.server.createRoom({ settings: { mode: 'lecture' } });
    await joinAs(ann, room, MODERATOR, { source: null });
    await joinAs(ben, room, {}, { source: null });
    await joinAs(cleo, room, {}, { source: null });
    assert.equal(await publish(ben), 'not_permitted');
    const silence = await measure(cleo);
    assert.equal(silence.received, 0, 'bytes received without the floor');

    await ben.page.evaluate(() => window.client.room().floor.request());
    await is(ann, 'ben asks', ({ floor }) => floor.requests.includes(ben.handle));
    await is(ben, 'it asks', ({ floor }) => floor.requested);
    await moderate(ann, 'grantFloor', await idOf(ann, ben));
    await is(ben, 'it may publish', ({ grants, floor }) => floor.held && grants.publish?.includes('camera'));
    assert.equal(await publish(ben), null);
    await cleo.sees(ben);
    await cleo.hears(ben);

    await moderate(ann, 'releaseFloor', await idOf(ann, ben));
    await is(ben, 'it publishes nothing', ({ publishes }) => publishes.length === 0);
    const { events } = await ben.report();
    assert.ok(events.some(([name, what]) => name === 'unpublished' && what === 'camera: not_permitted'), JSON.stringify(events));
    await until('cleo gets nothing', async () => (await measure(cleo, 500)).grown.received === 0);
    t.diagnostic(`without: ${silence.received} bytes`);
  }));

test('a mute at the server holds against a client that keeps sending', (t) =>
  world.withClients(2, async (ann, ben) => {
    const room = await world.server.createRoom();
    await joinAs(ann, room, MODERATOR, { source: null });
    await joinAs(ben, room);
    await ann.sees(ben);
    await ann.hears(ben);
    await ben.page.evaluate(() => window.client.disobey());
    await moderate(ann, 'mute', await idOf(ann, ben));
    await until('it is shown', async () => (await ann.report()).people[ben.handle].mutedByServer.includes('camera'));
    await is(ben, 'it knows', ({ mutedByServer }) => mutedByServer.includes('microphone'));
    await until('silence', async () => (await measure(ann, 300)).grown.received < SILENCE_BYTES_MAX);
    const [received, sent] = await Promise.all([measure(ann), measure(ben)]);
    t.diagnostic(`in ${WATCHED_MS} ms: ${sent.grown.sent} bytes sent, ${received.grown.received} received`);
    assert.ok(sent.grown.sent > 8_000, 'the client keeps sending');
    assert.ok(received.grown.received < SILENCE_BYTES_MAX, 'nothing of it is forwarded');
    const unmute = () => ben.page.evaluate(() =>
      window.client.setMuted('microphone', false).then(() => 'unmuted', (error) => error.code));
    assert.equal(await unmute(), 'not_permitted');

    await moderate(ann, 'unmute', await idOf(ann, ben));
    await is(ben, 'it is lifted', ({ mutedByServer }) => mutedByServer.length === 0);
    assert.equal(await unmute(), 'unmuted');
    await ben.page.evaluate(() => window.client.setMuted('camera', false));
    await ann.hears(ben);
    await ann.sees(ben);
  }));

test('a role that changes ends what it does not allow, and gives it back', () =>
  world.withClients(2, async (ann, ben) => {
    const room = await world.server.createRoom();
    await joinAs(ann, room, MODERATOR);
    await joinAs(ben, room);
    await allMeet([ann, ben]);
    await moderate(ann, 'setRole', await idOf(ann, ben), 'viewer');
    await is(ben, 'it is a viewer without tracks', ({ role, publishes }) => role === 'viewer' && publishes.length === 0);
    await until('ann sees nothing of it', async () => (await ann.report()).people[ben.handle].camera === null);
    assert.equal(await publish(ben), 'not_permitted');
    await ben.sees(ann);
    await moderate(ann, 'setRole', await idOf(ann, ben), 'participant');
    await is(ben, 'it may publish', ({ grants }) => grants.publish?.includes('camera'));
    assert.equal(await publish(ben), null);
    await allMeet([ann, ben]);
    const refused = await ben.page.evaluate(() => window.client.moderate('close'));
    assert.equal(refused.refused, 'not_permitted', 'only moderators moderate');
  }));

test('breakout rooms: moved with video, apart from the others, and back', (t) =>
  world.withClients(3, async (ann, ben, cleo) => {
    const room = await world.server.createRoom();
    await joinAs(ann, room, MODERATOR);
    await joinAs(ben, room);
    await joinAs(cleo, room);
    await allMeet([ann, ben, cleo], { frames: 5, ms: 30_000 });
    const people = [await idOf(ann, ben), await idOf(ann, cleo)];
    const { result, at } = await moderate(ann, 'createBreakouts', [{ reference: 'one', participants: people }, { reference: 'two' }]);
    assert.deepEqual(result.breakouts.map(({ reference }) => reference), ['one', 'two']);
    for (const client of [ben, cleo]) {
      const [, , movedAt] = await event(client, 'moved');
      t.diagnostic(`${client.handle} moved after ${Math.round(movedAt - at)} ms`);
      await is(client, 'in the breakout', (now) => now.room.id === result.breakouts[0].room && now.room.parent === room);
      assert.deepEqual((await standing(client)).publishes, ['camera', 'microphone']);
    }
    await ben.isWith([cleo]);
    await ann.isWith([]);
    await allMeet([ben, cleo], { frames: 5 });

    await moderate(ann, 'closeBreakouts');
    for (const client of [ben, cleo]) await is(client, 'back', (now) => now.room.id === room);
    await ann.isWith([ben, cleo]);
    await allMeet([ann, ben, cleo], { frames: 5, ms: 30_000 });
    await is(ann, 'no breakouts are left', (now) => now.room.breakouts.length === 0);
  }));

test('an invitation is followed when it is accepted', () =>
  world.withClients(2, async (ann, ben) => {
    const room = await world.server.createRoom();
    await joinAs(ann, room, MODERATOR, { source: null });
    await joinAs(ben, room);
    const { result } = await moderate(ann, 'createBreakouts', [{}]);
    const [{ room: there }] = result.breakouts;
    await moderate(ann, 'invite', [await idOf(ann, ben)], there);
    await ben.page.waitForFunction(() => window.client.invitation);
    await ann.isWith([ben]);
    await ben.page.evaluate(() => window.client.invitation.accept());
    await is(ben, 'there', (now) => now.room.id === there);
    await ann.isWith([]);
  }));

test('a renewed token changes what a client may do, in its session', () =>
  world.withClients(2, async (ann, ben) => {
    const { server } = world;
    const room = await server.createRoom();
    await joinAs(ann, room, {}, { source: null });
    await joinAs(ben, room, { publish: [] }, { source: null });
    assert.equal(await publish(ben), 'not_permitted');
    const renew = (token) => ben.page.evaluate((fresh) =>
      window.client.room().renew(fresh).then(() => 'renewed', (error) => error.code), token);
    assert.equal(await renew(await server.token(room, 'guest-other')), 'token_refused', 'of another handle');
    const token = await server.token(room, ben.handle);
    assert.equal(await renew(token), 'renewed');
    assert.equal(await renew(token), 'token_refused', 'used');
    await is(ben, 'it may publish', ({ grants }) => grants.publish?.includes('camera'));
    assert.equal(await publish(ben), null);
    await ann.sees(ben);
    assert.equal(await ben.page.evaluate(() => window.patch.sockets.length), 1, 'the same session');
  }));

test('Firefox and Chromium: knock, floor, breakout, eject', async () => {
  const firefox = await launchFirefox();
  try {
    await world.withClients(1, async (ann) => {
      const fox = new Client(await firefox.open(world.pages.url), 'guest-fox', 910);
      const room = await world.server.createRoom({ settings: { knock: true } });
      await joinAs(ann, room, MODERATOR, { codec: 'VP8' });
      const entering = joinAs(fox, room, {}, { codec: 'VP8' });
      await is(ann, 'it knocks', ({ lobby }) => lobby.includes(fox.handle), 30_000);
      await moderate(ann, 'admit');
      await entering;
      await allMeet([ann, fox], { frames: 10, ms: 60_000 });

      const { result } = await moderate(ann, 'createBreakouts', [{}]);
      const [{ room: there }] = result.breakouts;
      const both = [await idOf(ann, fox), (await standing(ann)).id];
      await moderate(ann, 'move', both, there);
      for (const client of [ann, fox]) await is(client, 'moved', (now) => now.room.id === there, 30_000);
      await allMeet([ann, fox], { frames: 10, ms: 60_000 });

      await moderate(ann, 'eject', await idOf(ann, fox));
      assert.equal((await event(fox, 'left'))[1], 'removed');
      await ann.isWith([]);
    });
  } finally {
    await firefox.close();
  }
});
