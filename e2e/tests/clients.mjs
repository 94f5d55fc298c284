// Clients that nobody here wrote: Firefox, aiortc over WHIP and WHEP, webrtc-rs.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import path from 'node:path';
import { test } from 'node:test';
import { allMeet, Client } from '../lib/client.mjs';
import { launchFirefox } from '../lib/firefox.mjs';
import { HERE, ROOT } from '../lib/base.mjs';
import { world } from '../lib/world.mjs';

const PYTHON = process.env.PYTHON ?? path.join(ROOT, '.venv/bin/python');
const LOADTEST = process.env.LOADTEST_BINARY ?? path.join(ROOT, 'target/debug/loadtest');
/** Frame numbers of py/client.py begin here; as in e2e/py/client.py. */
const PYTHON_OFFSET = 50_000;
const PYTHON_TONE = 540;

test('Firefox and Chromium see and hear each other', async (t) => {
  const firefox = await launchFirefox();
  try {
    await world.withClients(1, async (ann) => {
      const fox = new Client(await firefox.open(world.pages.url), 'guest-fox', 910);
      const room = await world.server.createRoom();
      await ann.join(world.server, room, { codec: 'VP8' });
      await fox.join(world.server, room, { codec: 'VP8' });
      await allMeet([ann, fox], { frames: 20, ms: 60_000 });
      const transport = (await fox.stats()).find((s) => s.type === 'transport');
      t.diagnostic(`DTLS ${transport?.tlsVersion}, SRTP ${transport?.srtpCipher}`);
      await fox.leave();
      await ann.isWith([]);
    });
  } finally {
    await firefox.close();
  }
});

/** Runs a program that prints one JSON object; fails with its output when it does not. */
async function run(program, args, ms = 60_000) {
  const child = spawn(program, args, { cwd: HERE, timeout: ms });
  let [out, errors] = ['', ''];
  child.stdout.on('data', (data) => { out += data; });
  child.stderr.on('data', (data) => { errors += data; });
  const code = await new Promise((done, fail) => child.on('error', fail).on('close', done));
  assert.equal(code, 0, `${path.basename(program)}: ${errors || out}`);
  return JSON.parse(out.trim().split('\n').at(-1));
}

const aiortc = async (mode, room, handle, seconds) => {
  const token = await world.server.token(room, handle);
  return run(PYTHON, [path.join(HERE, 'py/client.py'), mode, `${world.server.origin}/v1/${mode}`, token, String(seconds)]);
};

test('aiortc publishes over WHIP and a page sees and hears it', (t) =>
  world.withClients(1, async (ann) => {
    const room = await world.server.createRoom();
    await ann.join(world.server, room, { source: null });
    const publisher = { handle: 'guest-py', tone: PYTHON_TONE, offset: PYTHON_OFFSET };
    const [report] = await Promise.all([
      aiortc('whip', room, publisher.handle, 12),
      ann.sees(publisher, { frames: 30, ms: 30_000 }).then(() => ann.hears(publisher)),
    ]);
    t.diagnostic(JSON.stringify(report));
    assert.equal(report.deleted, 200);
    await ann.isWith([]);
  }));

test('aiortc watches over WHEP what a page publishes', (t) =>
  world.withClients(1, async (ann) => {
    const room = await world.server.createRoom();
    await ann.join(world.server, room, { codec: 'VP8' });
    const report = await aiortc('whep', room, 'guest-py', 8);
    t.diagnostic(JSON.stringify(report));
    assert.ok(report.distinct >= 40, 'coded pictures');
    assert.ok(report.bad <= report.frames * 0.1);
    assert.ok(report.first >= ann.offset && report.last < ann.offset + 12_000, 'pictures of ann');
    assert.ok(Math.abs(report.tone_hz - ann.tone) < 15, 'the tone of ann');
  }));

test('a webrtc-rs peer and a page exchange media', (t) =>
  world.withClients(1, async (ann) => {
    const room = await world.server.createRoom();
    await ann.join(world.server, room, { codec: 'VP8' });
    const peer = async (role, handle, ...more) => {
      const token = await world.server.token(room, handle);
      const url = `${world.server.origin}/v1/${role}`;
      return run(LOADTEST, ['peer', `--${role}`, url, '--token', token, ...more]);
    };
    const watched = await peer('whep', 'guest-rs-watcher', '--seconds', '5');
    await ann.isWith([]);
    const [published] = await Promise.all([
      peer('whip', 'guest-rs', '--seconds', '8'),
      ann.isWith([{ handle: 'guest-rs' }]),
    ]);
    t.diagnostic(JSON.stringify({ published, watched }));
    assert.ok(published.video_sent > 100 && published.audio_sent > 300);
    assert.ok(watched.video.packets > 0 && watched.audio.packets > 0, 'media of the page');
    assert.equal(watched.video.corrupt + watched.audio.corrupt, 0);
    await ann.isWith([]);
  }));
