// Each example against the real server: a token of it joins, a webhook of the server reaches it, a
// forged one does not.
//
//   CONCLAVE_BINARY=target/debug/conclave node --test examples/test.mjs

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import WebSocket from 'ws';
import { OUT, ROOT, until } from '../e2e/lib/base.mjs';
import { startServer } from '../e2e/lib/server.mjs';

const HERE = path.join(ROOT, 'examples');
const PYTHON = process.env.PYTHON ?? path.join(ROOT, '.venv/bin/python');
const GO_PROGRAM = path.join(OUT, 'example-go');

const APPS = {
  node: () => [process.execPath, [path.join(HERE, 'node/server.mjs')]],
  python: () => [PYTHON, [path.join(HERE, 'python/server.py')]],
  go: () => {
    const go = fs.existsSync(path.join(ROOT, '.venv/bin/go')) ? path.join(ROOT, '.venv/bin/go') : 'go';
    execFileSync(go, ['build', '-o', GO_PROGRAM, '.'], { cwd: path.join(HERE, 'go') });
    return [GO_PROGRAM, []];
  },
};

let server;
before(async () => {
  // The examples listen on this machine, which a webhook must not reach unless the operator says so.
  server = await startServer('examples', {
    scopes: 'rooms:write,tokens:mint,webhooks:write',
    config: '[webhooks]\nallow_hosts = ["127.0.0.1"]\n',
  });
});
after(() => server?.stop());

async function freePort() {
  const probe = net.createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  return port;
}

/** Starts an app; returns where it listens, what it printed, and how to end it. */
async function start(name, port, secret) {
  const [program, args] = APPS[name]();
  const env = { ...process.env, CONCLAVE_URL: server.origin, CONCLAVE_KEY: server.key,
    CONCLAVE_WEBHOOK_SECRET: secret, APP_SECRET: randomBytes(32).toString('hex'), PORT: `${port}` };
  const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const app = { origin: `http://127.0.0.1:${port}`, printed: '', stop: () => child.kill() };
  child.stdout.on('data', (text) => (app.printed += text));
  const answers = () => fetch(app.origin).then(() => true, () => false);
  await until(`the ${name} example listens`, answers, 30_000);
  return app;
}

/** Joins with a token; returns `joined` and the socket. */
async function join(token) {
  const socket = new WebSocket(server.ws, 'conclave.v1');
  await once(socket, 'open');
  socket.send(JSON.stringify({ type: 'join', token }));
  const [data] = await once(socket, 'message');
  return { joined: JSON.parse(data), socket };
}

for (const name of Object.keys(APPS)) {
  test(`${name}: a user joins, the webhook arrives, a forged one is refused`, async () => {
    const port = await freePort();
    const url = `http://127.0.0.1:${port}/webhook`;
    const endpoint = await server.json('POST', '/v1/webhooks', { body: { url } });
    const app = await start(name, port, endpoint.secret);
    try {
      const room = await server.createRoom();
      const body = JSON.stringify({ room, user: 'ada@example.org' });
      const answer = await fetch(`${app.origin}/token`, { method: 'POST', body });
      assert.equal(answer.status, 201);
      const { joined, socket } = await join((await answer.json()).token);
      assert.equal(joined.type, 'joined');
      assert.match(joined.participant.handle, /^[\w-]{43}$/);
      await until('the webhook', () => app.printed.includes(`participant.joined ${room} ev_`), 60_000);
      socket.close();
      await forged(app, endpoint.secret);
    } finally {
      app.stop();
    }
  });
}

/** A signature of another secret, of another body, and none. */
async function forged(app, secret) {
  const body = JSON.stringify({ type: 'forged.event', id: 'ev_x' });
  const other = `whsec_${randomBytes(32).toString('base64')}`;
  const headers = (key, text) => ({ 'webhook-id': 'ev_x', 'webhook-timestamp': `${Math.floor(Date.now() / 1000)}`,
    'webhook-signature': new Webhook(key).sign('ev_x', new Date(), text) });
  for (const head of [headers(other, body), headers(secret, `${body} `), {}]) {
    const answer = await fetch(`${app.origin}/webhook`, { method: 'POST', body, headers: head });
    assert.equal(answer.status, 400);
  }
  assert.ok(!app.printed.includes('forged.event'));
}
