// The demo page as a stranger meets it: `serve --demo`, the printed URL, four windows.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { OUT, ROOT, sleep, until } from '../lib/base.mjs';
import { closePage, openPage } from '../lib/chromium.mjs';
import { probe, run } from '../lib/media.mjs';
import { startServer } from '../lib/server.mjs';
import { world } from '../lib/world.mjs';

const PAGE = path.join(ROOT, 'conclave/demo/dist');

/** Starts a demo of its own and runs `body` with `count` pages at its printed URL. */
async function withDemo(name, count, options, body) {
  const server = await startServer(name, { args: ['--demo', PAGE] });
  const pages = [];
  try {
    const url = await until('the URL is printed', () =>
      /http:\/\/localhost:\S+/.exec(fs.readFileSync(path.join(server.dir, 'stdout.log'), 'utf8'))?.[0]);
    for (let i = 0; i < count; i++) pages.push(await openPage(world.chromium, url, options));
    await body(...pages, server);
    for (const page of pages) assert.deepEqual(page.errors, []);
  } finally {
    await Promise.all(pages.map(closePage));
    await server.stop();
  }
}

/** Tile of the only other participant, with its camera. */
const other = (page) => page.locator('#grid article:not([aria-label^="You"])');
const mutedIcon = (page) => other(page).locator('.tag svg:not(.raised)');
/** Pixels that the page is wider than its window. */
const overflow = (page) => page.evaluate(() => document.scrollingElement.scrollWidth - innerWidth);

async function bothJoin(...pages) {
  for (const page of pages) await page.getByText('Generated').click();
  for (const page of pages) await page.locator('#setup-join').click();
  for (const page of pages) await other(page).locator('video').waitFor();
}

test('the demo page mutes, tells the quality and leaves', () =>
  withDemo('demo-controls', 2, {}, async (ann, ben) => {
    await bothJoin(ann, ben);
    await mutedIcon(ben).waitFor({ state: 'hidden' });
    await ann.locator('#control-mic').click();
    await mutedIcon(ben).waitFor({ state: 'visible' });
    assert.match(await other(ben).getAttribute('aria-label'), /, muted$/);
    await ann.locator('#control-mic').click();
    await mutedIcon(ben).waitFor({ state: 'hidden' });

    await ann.locator('#call-quality[data-level]:not([data-level="none"])').waitFor();
    assert.match(await ann.locator('#call-quality').getAttribute('aria-label'), /^Connection: (Good|Fair|Poor)$/);

    await ann.locator('#control-leave').click();
    await ann.locator('#ended').waitFor();
    await other(ben).waitFor({ state: 'detached' });
    assert.equal(await ben.locator('#call-count').textContent(), 'only you');
  }));

/** Row of the only other participant in the people panel. */
const row = (page) => page.locator('#people-list li:not(:has(strong:text-is("You")))');
const tool = (page, label) => row(page).getByRole('button', { name: label });
const shot = (page, name) => page.screenshot({ path: path.join(OUT, `${name}.png`) });

test('who comes first moderates: mute, spotlight, hands, lecture, lobby, remove', () =>
  withDemo('demo-moderator', 3, { viewport: { width: 1280, height: 800 } }, async (ann, ben, late) => {
    for (const page of [ann, ben]) {
      await page.getByText('Generated').click();
      await page.locator('#setup-join').click();
      await page.locator('#call').waitFor();
    }
    await other(ann).locator('video').waitFor();
    await ann.locator('#call-people').click();
    await ben.locator('#call-people').click();
    assert.equal(await ben.locator('#panel-room').isVisible(), false, 'who comes later does not moderate');

    await tool(ann, 'Mute').click();
    await row(ann).getByText('muted by a moderator').waitFor();
    await ben.locator('#control-mic[aria-pressed="false"]').waitFor();
    await tool(ann, 'Lift the mute').click();
    await tool(ann, 'Spotlight').click();
    await ben.locator('#grid article.spotlit[aria-label^="You"]').waitFor();
    await ben.locator('#control-hand').click();
    await row(ann).getByText('hand raised').waitFor();
    await ben.locator('#control-hand').click();

    await ann.getByText('Lecture:').click();
    await ben.locator('#control-hand').getByText('Ask to speak').waitFor();
    await other(ann).locator('.cover').waitFor();
    await ben.locator('#control-hand').click();
    await tool(ann, 'Give the floor').click();
    await ben.locator('#control-hand').getByText('End speaking').waitFor();
    await ben.locator('#control-cam').click();
    await other(ann).locator('video').waitFor();
    await shot(ann, 'demo-lecture');

    await ann.getByText('Lobby: newcomers').click();
    await late.getByText('Generated').click();
    await late.locator('#setup-join').click();
    await late.locator('#waiting').waitFor();
    await shot(late, 'demo-waiting');
    await ann.locator('#lobby-list').getByText('Admit').waitFor();
    await shot(ann, 'demo-moderator');
    await ann.locator('#lobby-list').getByText('Deny').click();
    await late.getByText('You were not let in').waitFor();

    await tool(ann, 'Remove').click();
    await ben.getByText('You were removed from the room').waitFor();
    assert.equal(await ann.locator('#call-count').textContent(), 'only you');
  }));

test('the demo page goes to a breakout room and back', () =>
  withDemo('demo-breakout', 2, { viewport: { width: 390, height: 844 } }, async (ann, ben) => {
    for (const page of [ann, ben]) {
      await page.getByText('Generated').click();
      await page.locator('#setup-join').click();
      await page.locator('#call').waitFor();
    }
    await other(ann).locator('video').waitFor();
    await ann.locator('#call-people').click();
    await ann.getByText('Create 2 rooms').click();
    await ann.locator('#breakout-list').getByText('room-2').waitFor();
    await row(ann).getByLabel('Move to').selectOption({ label: 'room-1' });
    await ben.locator('#call-room').getByText('breakout').waitFor();
    await other(ben).waitFor({ state: 'detached' });
    await ann.locator('[data-room]').filter({ hasText: 'room-1' }).getByText('Go there').click();
    await other(ben).locator('video').waitFor();
    assert.ok(await overflow(ann) <= 0, 'the panel fits a phone');
    await shot(ann, 'demo-breakout');
    await ann.getByText('Back to the main room').click();
    await ann.getByText('Bring everybody back').click();
    await ben.locator('#call-room:not(:has-text("breakout"))').waitFor();
    await other(ben).locator('video').waitFor();
  }));

test('the demo page records, tells everybody, and says how to open what arrived', () =>
  withDemo('demo-recording', 2, { viewport: { width: 1280, height: 800 } }, async (ann, ben, server) => {
    for (const page of [ann, ben]) {
      await page.getByText('Generated').click();
      await page.locator('#setup-join').click();
      await page.locator('#call').waitFor();
    }
    await other(ann).locator('video').waitFor();
    assert.equal(await ben.locator('#control-record').isVisible(), false, 'who comes later does not record');
    await ann.locator('#call-people').click();
    await ann.locator('#control-record').click();
    for (const page of [ann, ben]) await page.locator('#call-recording').getByText('Recording').waitFor();
    await ann.locator('#recording-list [data-state="recording"]').waitFor();
    await shot(ann, 'demo-recording');
    await ben.setViewportSize({ width: 360, height: 640 });
    assert.ok(await overflow(ben) <= 0, 'the sign fits a phone');
    await shot(ben, 'demo-recording-phone');
    await sleep(2000);
    await ann.locator('#control-record').click();
    for (const page of [ann, ben]) await page.locator('#call-recording').waitFor({ state: 'hidden' });
    await ann.locator('#recording-list').getByText('delivered, and deleted here · 5 files').waitFor();
    await ann.getByText('Receipt, and how to open it').click();
    const commands = ann.locator('#recording-list pre').first();
    await commands.filter({ hasText: 'age -d' }).waitFor();
    await shot(ann, 'demo-recorded');
    const opened = await openAsToldIn(server, await commands.textContent());
    assert.deepEqual(opened.map(({ codec_name: codec }) => codec).sort(), ['opus', 'opus', 'vp8', 'vp8']);
  }));

/** Runs what the page says, where `make run` would have been called; gives the streams of the files. */
async function openAsToldIn(server, commands) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave-make-run-'));
  try {
    fs.symlinkSync(path.join(server.dir, 'data'), path.join(folder, 'data'));
    fs.mkdirSync(path.join(folder, 'target/release'), { recursive: true });
    fs.symlinkSync(server.binary, path.join(folder, 'target/release/conclave'));
    await run('bash', ['-euo', 'pipefail', '-c', commands], { cwd: folder });
    const names = fs.readdirSync(path.join(folder, 'opened')).filter((name) => name !== 'events.json');
    const probes = await Promise.all(names.map((name) => probe(path.join(folder, 'opened', name))));
    return probes.flatMap(({ streams }) => streams);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

test('the demo page fits a window 360 pixels wide', () =>
  withDemo('demo-narrow', 2, { viewport: { width: 360, height: 640 } }, async (ann, ben) => {
    assert.ok(await overflow(ann) <= 0, 'the first screen');
    await bothJoin(ann, ben);
    assert.ok(await overflow(ann) <= 0, 'the call');
    await ann.locator('#control-leave').click();
    await ann.locator('#ended').waitFor();
    assert.ok(await overflow(ann) <= 0, 'the end');
  }));

test('the demo page shares a screen and ends it', () =>
  withDemo('demo-share', 2, {}, async (ann, ben) => {
    await bothJoin(ann, ben);
    await ann.locator('#control-screen').click();
    await ben.waitForFunction(() => document.querySelector('#screens article video')?.videoWidth > 0);
    await ann.locator('#control-screen').click();
    await ben.locator('#screens article').waitFor({ state: 'detached' });
  }));

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
