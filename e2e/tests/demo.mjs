// The demo page as a stranger meets it: `serve --demo`, the printed URL, four windows.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { OUT, ROOT, until } from '../lib/base.mjs';
import { closePage, openPage } from '../lib/chromium.mjs';
import { startServer } from '../lib/server.mjs';
import { world } from '../lib/world.mjs';

const PAGE = path.join(ROOT, 'conclave/demo/dist');

test('the demo page shows four participants', async (t) => {
  const server = await startServer('demo', { args: ['--demo', PAGE] });
  const pages = [];
  try {
    const url = await until('the URL is printed', () =>
      /http:\/\/localhost:\S+/.exec(fs.readFileSync(path.join(server.dir, 'stdout.log'), 'utf8'))?.[0]);
    for (let i = 0; i < 4; i++) pages.push(await openPage(world.chromium, url, { viewport: { width: 1280, height: 800 } }));
    // One camera, three generated pictures: both ways of the first screen.
    for (const page of pages.slice(1)) await page.getByText('Generated').click();
    for (const page of pages) await page.locator('#setup-join').click();
    for (const page of pages) {
      await page.waitForFunction(() => [...document.querySelectorAll('video')].filter((v) => v.videoWidth > 0).length >= 4, null, { timeout: 60_000 });
    }
    await pages[0].screenshot({ path: path.join(OUT, 'demo-four.png') });
    await pages[0].setViewportSize({ width: 390, height: 844 });
    await pages[0].screenshot({ path: path.join(OUT, 'demo-phone.png') });
    for (const page of pages) assert.deepEqual(page.errors, [], 'no error, nothing against the content security policy');
  } finally {
    await Promise.all(pages.map(closePage));
    t.diagnostic(`exit code ${await server.stop()}`);
  }
});

test('the demo lets nobody in without the join code', async () => {
  const server = await startServer('demo-code', { args: ['--demo', PAGE] });
  try {
    const join = (code) => fetch(`${server.origin}/demo/join`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ code, room: 'lobby', handle: 'guest-1' }),
    });
    assert.equal((await join('')).status, 403);
    assert.equal((await join('0'.repeat(20))).status, 403);
    const printed = await until('the URL', () => /code=(\w+)/.exec(fs.readFileSync(path.join(server.dir, 'stdout.log'), 'utf8')));
    const good = await join(printed[1]);
    assert.equal(good.status, 200);
    assert.deepEqual(Object.keys(await good.json()).sort(), ['token', 'url']);
    const page = await fetch(`${server.origin}/demo/`);
    const policy = page.headers.get('content-security-policy');
    assert.ok(page.ok && policy.includes("script-src 'self'") && !policy.includes('unsafe'), policy);
    assert.equal((await fetch(`${server.origin}/demo/../demo.json`)).status, 404);
  } finally {
    assert.equal(await server.stop(), 0, 'SIGTERM ends it well');
  }
});
