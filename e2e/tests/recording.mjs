// What is recorded of real browsers: everybody, every second, in step, sealed to the partner, gone from here.
//
// A picture says when it was painted and whose it is, so files are judged by what is in them, not by
// what is told about them.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { sleep, until } from '../lib/base.mjs';
import {
  avcheck, complaints, flashes, median, mosaic, pair, pictures, probe, sizes, soundAfterPicture, sounds, tile,
} from '../lib/media.mjs';
import { along, delaying, losing } from '../lib/relay.mjs';
import { openStudio } from '../lib/studio.mjs';
import { world } from '../lib/world.mjs';
import { relayFor } from './network.mjs';

/** One of each that Chromium sends, and ffprobe's word for it. */
const CODECS = ['VP8', 'H264', 'AV1', 'VP9'];
/** ms that one person's sound comes later than the picture, on the way to the server. */
const SOUND_LATE_MS = 400;
/** ms that sound may be off its picture in a recording; the beep itself comes 10 ms after the flash. */
const OFFSET_MS_MAX = 40;
/** Share of the pictures that can be read, and of the beats that are within that. */
const [READABLE, IN_STEP] = [0.9, 0.9];
/** The same as avcheck.py sees it: where the encoder left out the first picture of a flash, it takes the second for it. */
const IN_STEP_BY_AVCHECK = 0.75;
/** ms between the beats of one and the next, so that it is known whose is heard. */
const PHASE_MS = 250;
/**
 * ms from being told to the first picture: a key frame, which the encoder makes with its next picture. A lost one is asked
 * for again after half a second, and that may be lost too. And before the end: what is still on its way.
 */
const edges = (share) => (share > 0 ? { begins: 2000, ends: 500 } : { begins: 1000, ends: 250 });
/**
 * Share of a composite's pictures in which all four can be read. A tile is plain until its first picture, and stands still
 * where one is lost: 5 % of the packets both ways costs some, and the asking for a new one takes its time.
 */
const [COMPLETE, COMPLETE_AT_LOSS] = [0.9, 0.7];
/** ms from painting a picture to its time in the recording, either way. */
const CAPTURE_MS_MAX = 50;
/** ms within which whoever took the consent back is gone. */
const WITHDRAWAL_MS = 1000;
/** ms that a viewer may wait for the next picture when a size stops: the silence until that is noticed, a key frame, load. */
const PAUSE_MS_MAX = 1500;
/** ms from a packet's capture to its arrival: what a first packet may be older than the word that it is recorded. */
const ON_THE_WAY_MS = 200;

/** Codecs with spatial layers: the decoder that shows the topmost, and one that shows each. */
const LAYERED = [
  { codec: 'VP9', topmost: ['-c:v', 'libvpx-vp9'], each: ['-c:v', 'vp9'] },
  { codec: 'AV1', topmost: ['-c:v', 'libdav1d'], each: ['-c:v', 'libdav1d', '-alllayers', '1'] },
];

let studio;

/** Joins and waits until pictures and sounds leave the page. */
async function join(client, room, options = {}) {
  await client.join(studio.server, room, { watches: false, ...options, source: { beat: true, ...options.source } });
  await sends(client);
}

const sends = (client) => until(`${client.handle} sends`, async () => {
  const { pictures: shown, sounds: heard } = await client.page.evaluate(() => window.client.sent());
  return shown >= 10 && heard >= 20;
}, 30_000, 100);

/** Waits until a page was told; when. */
const told = (client, what, check) => until(`${client.handle} is told: ${what}`, async () => {
  const { events } = await client.report();
  const last = events.filter(([name]) => name === 'recording').at(-1);
  return last && check(last[1]) && last[2];
}, 15_000, 50);
const toldOfStart = (client) => told(client, 'it is recorded', (recording) => recording !== null);
const toldOfEnd = (client) => told(client, 'it ended', (recording) => recording === null);

/** What is in the files of one stay: camera and microphone, on the clock of the machine. */
async function stays(recording) {
  const { events, tracks } = recording;
  return Promise.all(tracks.filter(({ source }) => source === 'camera').map(async (camera) => {
    const microphone = tracks.find((t) => t.participant === camera.participant && t.source === 'microphone');
    assert.ok(microphone, `the sound of ${camera.handle}`);
    const zero = ({ offset_ms: offset }) => events.started_at_ms + offset;
    const [seen, heard] = await Promise.all([pictures(camera.path), sounds(microphone.path)]);
    const onClock = (track) => (at) => zero(track) + at;
    return {
      handle: camera.handle, camera, microphone,
      seen: seen.map((picture) => ({ ...picture, at: zero(camera) + picture.at })),
      flashes: flashes(seen).map(onClock(camera)),
      beeps: heard.beeps.map(onClock(microphone)),
      silences: heard.silences.map(onClock(microphone)),
      sound: [zero(microphone), zero(microphone) + heard.ms],
    };
  }));
}

const clocks = (stay) => stay.seen.filter(({ code }) => code).map(({ code }) => code.clock);

/** Every file is what it says, plays without a complaint and has the length that is told. */
async function filesAreSound(recording) {
  for (const track of recording.tracks) {
    const { format, streams } = await probe(track.path);
    assert.equal(streams.length, 1, track.name);
    assert.equal(streams[0].codec_name, track.codec, track.name);
    const ms = Number(format.duration) * 1000;
    assert.ok(Math.abs(ms - track.duration_ms) <= 100, `${track.name} takes ${ms} ms, told are ${track.duration_ms}`);
    assert.equal(await complaints(track.path), '', `${track.name} decodes`);
  }
}

/**
 * From `from` to `to` on the machine's clock there is never a second without a picture, and never one of silence but where
 * `isMuted`.
 */
function noSecondMissing(t, stay, from, to, isMuted = () => false) {
  const seen = clocks(stay);
  const edges = [seen[0] - from, seen.at(-1) - to, stay.sound[0] - from, stay.sound[1] - to].map(Math.round);
  const hole = Math.max(...seen.slice(1).map((clock, i) => clock - seen[i]));
  const silent = stay.silences.filter((at) => at >= from && at <= to - 100 && !isMuted(at)).length * 100;
  t.diagnostic(`${stay.handle}: pictures ${edges[0]} to ${edges[1]}, sound ${edges[2]} to ${edges[3]} ms around what is asked for, `
    + `longest hole ${hole} ms, silent for ${silent} ms`);
  assert.ok(edges[0] <= 0 && edges[1] >= 0, `${stay.handle}: pictures from ${edges[0]} to ${edges[1]}`);
  assert.ok(edges[2] <= 0 && edges[3] >= 0, `${stay.handle}: sound from ${edges[2]} to ${edges[3]}`);
  assert.ok(hole < 1000, `${stay.handle}: ${hole} ms without a picture`);
  assert.ok(silent < 1000, `${stay.handle}: ${silent} ms without sound`);
}

/**
 * Enough beats, and nearly all of them heard as they are seen: one may have met a lost packet, or a page that stood still
 * between flash and beep.
 */
function beatsTogether(who, apart, atLeast, share = IN_STEP) {
  assert.ok(apart.length >= atLeast, `${who}: ${apart.length} beats were found`);
  const off = apart.filter((ms) => Math.abs(ms) > OFFSET_MS_MAX).length;
  assert.ok(off <= Math.max(1, (1 - share) * apart.length), `${who}: ${off} of ${apart.length} beats are apart: ${apart.map(Math.round)}`);
  assert.ok(Math.abs(median(apart)) <= OFFSET_MS_MAX, `${who}: sound ${median(apart)} ms after the picture`);
}

/** Pictures can be read, stand at the time at which they were painted, and the sound is with them. */
function isInStep(t, stay, isMuted) {
  const readable = clocks(stay).length / stay.seen.length;
  assert.ok(readable >= READABLE, `${stay.handle}: ${readable} of the pictures can be read`);
  const late = median(stay.seen.filter(({ code }) => code).map(({ at, code }) => at - code.clock));
  // A beat at the edge of the sound may have lost its beep.
  const audible = (at) => at >= stay.sound[0] + 100 && at <= stay.sound[1] - 200 && !isMuted(at);
  const apart = soundAfterPicture(stay.flashes.filter(audible), stay.beeps);
  t.diagnostic(`${stay.handle} ${stay.camera.codec}: sound ${Math.round(median(apart))} ms after the picture `
    + `(${apart.map(Math.round).join(' ')}), placed ${Math.round(late)} ms after painting, `
    + `${stay.seen.length} pictures from ${stay.camera.offset_ms} ms on, ${stay.camera.frames_left_out} left out, reports ${stay.camera.sr_fit?.reports}/${stay.microphone.sr_fit?.reports}`);
  beatsTogether(stay.handle, apart, 3);
  assert.ok(Math.abs(late) <= CAPTURE_MS_MAX, `${stay.handle}: placed ${late} ms after it was painted`);
}

/** Two seconds of one's microphone are muted, another leaves and comes back; when that was. */
async function callGoesOn(room, [, ben, cal]) {
  await sleep(4500);
  const times = {};
  times.muted = await ben.page.evaluate(() => { window.client.setMuted('microphone', true); return Date.now(); });
  times.left = await cal.page.evaluate(() => { window.client.leave(); return Date.now(); });
  await sleep(2000);
  times.unmuted = await ben.page.evaluate(() => { window.client.setMuted('microphone', false); return Date.now(); });
  await join(cal, room, joining(2));
  times.back = Date.now();
  times.toldAgain = await toldOfStart(cal);
  // Long enough for a second sender report of the sound, of which there is one in 2.5 to 7.5 s, and for some beats.
  await sleep(9000);
  return times;
}

/** Each has a codec of its own, and beats at a moment of its own. */
const joining = (i) => ({ codec: CODECS[i], source: { phase: i * PHASE_MS } });

function callOfFour(share) {
  return (t) => world.withClients(4, async (...clients) => {
    const relays = await Promise.all(clients.map((client) => relayFor(client, studio.server)));
    try {
      const room = await studio.server.createRoom();
      await Promise.all(clients.map((client, i) => join(client, room, joining(i))));
      const opus = await clients[0].page.evaluate(() =>
        Number(/a=rtpmap:(\d+) opus/.exec(window.patch.connections[0].localDescription.sdp)[1]));
      const late = delaying(opus, SOUND_LATE_MS);
      relays.forEach((relay, i) => {
        const loses = losing(share, 7 + i);
        relay.path = i === 0 ? along(loses, late) : loses;
      });
      const { id } = await studio.start(room, { outputs: ['tracks', 'composite'] });
      const toldAt = await Promise.all(clients.map(toldOfStart));
      const times = await callGoesOn(room, clients);
      const ended = Date.now();
      await studio.stop(id);
      await Promise.all(clients.map(toldOfEnd));
      const percents = new Set();
      const purged = await studio.purged(id, ({ state, progress }) => state === 'finalizing' && percents.add(progress));
      assert.equal(purged.purge_reason, 'delivered');
      assert.ok([...percents].some((percent) => percent > 0 && percent < 100), `told while files are made: ${[...percents]} %`);
      t.diagnostic(`stopped to purged: ${Date.now() - ended} ms; ${late.delayed} packets of sound came late`);
      assert.ok(late.delayed > 200, 'the sound of one came late all the time');
      const recording = await studio.open({ id, room });
      const call = { share, clients, ended, times, toldAt, lastTold: Math.max(...toldAt) };
      await judge(t, recording, call);
      await judgeComposite(t, recording, call);
    } finally {
      for (const relay of relays) relay.close();
    }
  });
}

/** A camera in three sizes of which the largest comes and goes. */
function callOfSizes(codec) {
  return (t) => world.withClients(2, async (ann, ben) => {
    const room = await studio.server.createRoom();
    const [large, middle] = ['960x540', '480x270'];
    await join(ann, room, { codec, source: { width: 960, height: 540, simulcast: true } });
    await ben.join(studio.server, room, { source: null });
    const camera = async () => (await ben.report()).people[ann.handle]?.camera;
    const shows = (size) => until(`${size} is seen`, async () => (await camera())?.size === size, 30_000, 50);
    await shows(large);
    const { id } = await studio.start(room);
    const from = await toldOfStart(ann);
    await ben.page.evaluate(() => window.client.reset());
    for (let round = 0; round < 2; round++) {
      for (const [active, size] of [[false, middle], [true, large]]) {
        await sleep(2000);
        await ann.page.evaluate((on) => window.client.setSize('f', on), active);
        await shows(size);
      }
    }
    await sleep(2000);
    const { pauseMs, frames, bad } = await camera();
    const ended = Date.now();
    await studio.stop(id);
    await studio.purged(id);
    const recording = await studio.open({ id, room });
    await filesAreSound(recording);
    const [stay, ...others] = await stays(recording);
    assert.equal(others.length, 0, 'one file goes on through all switches');
    assert.equal(stay.camera.codec, codec.toLowerCase());
    const shown = await sizes(stay.camera.path);
    const recorded = shown.filter((size, i) => size !== shown[i - 1]);
    t.diagnostic(`sizes ${recorded.join(' ')}; the viewer waited ${Math.round(pauseMs)} ms at most, ${bad} of ${frames} pictures unreadable`);
    assert.deepEqual(recorded, [large, middle, large, middle, large]);
    noSecondMissing(t, stay, from + 2000, ended - 1000);
    isInStep(t, stay, () => false);
    assert.ok(pauseMs <= PAUSE_MS_MAX && bad <= 0.05 * frames, `${pauseMs} ms without a picture, ${bad} of ${frames} unreadable`);
  });
}

async function judge(t, recording, { share, clients, ended, times, toldAt, lastTold }) {
  const handles = recording.events.participants.map(({ handle }) => handle).sort();
  assert.deepEqual(handles, [...clients.map(({ handle }) => handle), clients[2].handle].sort(), 'who comes back is there twice');
  await filesAreSound(recording);
  const [ann, ben, cal, dee] = clients;
  // A word to the server takes its time on either side of the mute.
  const isMuted = (stay) => (at) => stay.handle === ben.handle && at >= times.muted - 200 && at <= times.unmuted + 500;
  const all = (await stays(recording)).sort((a, b) => a.camera.offset_ms - b.camera.offset_ms);
  for (const stay of all) {
    const i = clients.findIndex(({ handle }) => handle === stay.handle);
    assert.equal(stay.camera.codec, CODECS[i].toLowerCase());
    const [seen, heard] = [clocks(stay)[0], stay.sound[0] + (i === 0 ? SOUND_LATE_MS : 0)];
    const first = Math.min(seen, heard);
    const wasTold = first > times.left ? times.toldAgain : toldAt[i];
    assert.ok(first >= wasTold - ON_THE_WAY_MS, `${stay.handle}: recorded ${wasTold - first} ms before being told`);
    isInStep(t, stay, isMuted(stay));
    const file = path.join(recording.opened, `pair-${stay.camera.track}.mkv`);
    await pair(stay.camera, stay.microphone, file);
    beatsTogether(`${stay.handle} by avcheck.py`, await avcheck(file), 3, IN_STEP_BY_AVCHECK);
  }
  const of = (client) => all.filter(({ handle }) => handle === client.handle);
  const { begins, ends } = edges(share);
  const [from, to] = [lastTold + begins, ended - ends];
  for (const client of [ann, ben, dee]) {
    assert.equal(of(client).length, 1);
    const late = client === ann ? SOUND_LATE_MS : 0;
    noSecondMissing(t, of(client)[0], from, to - late, isMuted(of(client)[0]));
  }
  assert.equal(of(cal).length, 2, 'two stays');
  noSecondMissing(t, of(cal)[0], from, times.left - ends);
  noSecondMissing(t, of(cal)[1], times.toldAgain + begins, to);
  const inTheMute = (at) => at >= times.muted + 500 && at <= times.unmuted - 200;
  const [quiet] = of(ben);
  assert.ok(quiet.silences.filter(inTheMute).length >= 10, 'the mute is silence');
  assert.ok(quiet.beeps.some((at) => at < times.muted) && quiet.beeps.some((at) => at > times.back), 'before and after it there is sound');
  const { gaps } = quiet.microphone;
  assert.ok(gaps.some(({ kind, from_ms: begin, to_ms: end }) => kind === 'muted' && end - begin > 1000), JSON.stringify(gaps));
}

/** Whether the tiles of a grid of four, row by row, are of those of whom layout.json says so. */
function isAsTold({ events, layout }, at, handles) {
  // A picture is shown at the first thirtieth of a second that has begun.
  const told = layout.intervals.filter(({ from_ms: from, to_ms: to }) => from <= at + 34 && to > at - 34);
  const handle = (id) => events.participants.find((participant) => participant.id === id).handle;
  return told.some(({ tiles }) => tiles.map(({ participant }) => handle(participant)).join() === handles.join());
}

/** Everybody has a tile, shows in it what was painted at that time, and is heard with it. */
async function judgeComposite(t, recording, { share, clients, ended, times, lastTold }) {
  const { opened, events, manifest } = recording;
  const { name } = manifest.artifacts.find(({ kind }) => kind === 'composite');
  const file = path.join(opened, name.replace(/\.age$/, ''));
  const { streams } = await probe(file);
  assert.deepEqual(streams.map(({ codec_name: codec }) => codec).sort(), ['aac', 'h264']);
  const picture = streams.find(({ codec_type: kind }) => kind === 'video');
  assert.deepEqual([picture.width, picture.height], [1280, 720]);
  const [seen, heard] = await Promise.all([mosaic(file, 2, 2), sounds(file, clients.length)]);
  assert.ok(Math.abs(seen.at(-1).at - events.duration_ms) < 500 && Math.abs(heard.ms - events.duration_ms) < 500);
  const onClock = (at) => events.started_at_ms + at;
  const among = (at, [from, to]) => onClock(at) >= from && onClock(at) <= to;
  const { begins, ends } = edges(share);
  const whole = [[lastTold + begins, times.left - ends], [times.toldAgain + begins, ended - SOUND_LATE_MS - ends]];
  const owner = (code) => clients.findIndex(({ offset }) => code.frame >= offset && code.frame < offset + 12_000);
  const scenes = seen.filter(({ at }) => whole.some((span) => among(at, span)));
  const complete = scenes.filter(({ tiles }) => new Set(tiles.map(({ code }) => code && owner(code))).size === 4
    && tiles.every(({ code }) => code));
  const wanted = (share > 0 ? COMPLETE_AT_LOSS : COMPLETE) * scenes.length;
  assert.ok(complete.length >= wanted, `all four are seen in ${complete.length} of ${scenes.length} pictures`);
  assert.deepEqual(complete.filter(({ at, tiles }) => !isAsTold(recording, at, tiles.map(({ code }) => clients[owner(code)].handle))), [],
    'everybody is where layout.json says');
  const late = clients.map((_, i) => median(complete.flatMap(({ at, tiles }) =>
    tiles.filter(({ code }) => owner(code) === i).map(({ code }) => onClock(at) - code.clock))));
  const apart = [0, 1, 2, 3].map((i) => {
    const lit = flashes(seen.map(({ at, tiles }) => ({ at, ...tiles[i] })));
    return soundAfterPicture(lit.filter((at) => whole.some((span) => among(at, span))), heard.beeps);
  });
  t.diagnostic(`composite: sound after the picture (${apart.map((tile) => tile.map(Math.round).join(' ')).join(', ')}), `
    + `tiles ${late.map(Math.round).join(' ')} ms after painting, complete ${complete.length}/${scenes.length}`);
  assert.ok(late.every((ms) => Math.abs(ms) <= 2 * CAPTURE_MS_MAX), `tiles are ${late} ms late`);
  apart.forEach((tile, i) => beatsTogether(`tile ${i}`, tile, 4));
  const corner = path.join(opened, 'lower-left.mkv');
  await tile(file, 'iw/2:ih/2:0:ih/2', whole[1].map((at) => at - events.started_at_ms), corner);
  const said = await avcheck(corner);
  t.diagnostic(`composite by avcheck.py: ${said.join(' ')}`);
  beatsTogether('the lower left tile by avcheck.py', said, 4, IN_STEP_BY_AVCHECK);
}

describe('recording', () => {
  before(async () => { studio = await openStudio('recording'); });
  after(() => studio?.close());

  test('a call of four in four codecs, one with late sound, is recorded second by second and in step',
    callOfFour(0));
  test('the same with 5 % of the packets lost, both ways', callOfFour(0.05));
  for (const codec of ['VP8', 'H264']) {
    test(`a ${codec} camera in three sizes is seen and recorded on while the largest comes and goes`, callOfSizes(codec));
  }

  test('only who consented is recorded, from then on, and not after it is taken back', (t) =>
    world.withClients(3, async (ann, ben, cal) => {
      const room = await studio.server.createRoom({ settings: { recording: { consent: true } } });
      const grants = { record: true };
      const token = await studio.server.token(room, ann.handle, { grants });
      await join(ann, room, { codec: 'VP8', token });
      await Promise.all([ben, cal].map((client) => join(client, room, { codec: 'VP8' })));
      assert.equal((await ben.page.evaluate(() => window.client.ask('startRecording'))).refused, 'not_permitted');
      assert.deepEqual((await ann.page.evaluate(() => window.client.ask('startRecording'))).refused, undefined);
      await Promise.all([ann, ben, cal].map(toldOfStart));
      const { id } = await ben.page.evaluate(() => window.client.room().recording);
      const consents = (client, granted) => client.page.evaluate((yes) => { window.client.room().consent(yes); return Date.now(); }, granted);
      await sleep(1500);
      const granted = new Map([[ann.handle, await consents(ann, true)], [cal.handle, await consents(cal, true)]]);
      await sleep(4000);
      const withdrawn = await consents(cal, false);
      await sleep(3000);
      await studio.stop(id);
      await studio.purged(id);
      const recording = await studio.open({ id, room });
      const all = await stays(recording);
      assert.deepEqual(all.map(({ handle }) => handle).sort(), [ann.handle, cal.handle], 'who agreed');
      const files = recording.tracks.map(({ handle }) => handle);
      assert.ok(!files.includes(ben.handle), 'nothing of who said nothing');
      for (const stay of all) {
        const first = Math.min(clocks(stay)[0], stay.sound[0]);
        assert.ok(first >= granted.get(stay.handle) - ON_THE_WAY_MS, `${stay.handle} was recorded before the consent`);
      }
      const last = (client) => {
        const stay = all.find(({ handle }) => handle === client.handle);
        return Math.max(...clocks(stay), stay.sound[1]);
      };
      t.diagnostic(`recorded for ${last(cal) - withdrawn} ms after the consent was taken back`);
      assert.ok(last(cal) <= withdrawn + WITHDRAWAL_MS, `${last(cal) - withdrawn} ms after it was taken back`);
      assert.ok(last(ann) >= withdrawn + 2 * WITHDRAWAL_MS, 'the others are recorded on');
    }));

  test('of one role the sound alone, and nothing of a pause', (t) =>
    world.withClients(2, async (ann, ben) => {
      const room = await studio.server.createRoom();
      const token = await studio.server.token(room, ann.handle, { role: 'moderator' });
      await join(ann, room, { codec: 'VP8', token });
      await join(ben, room, { codec: 'VP8' });
      const { id } = await studio.start(room, { sources: ['microphone'], roles: ['moderator'] });
      await toldOfStart(ann);
      await sleep(3000);
      await studio.pause(id);
      const paused = Date.now();
      assert.equal((await studio.read(id)).state, 'paused');
      await sleep(3000);
      const resumes = Date.now();
      await studio.resume(id);
      await sleep(3000);
      await studio.stop(id);
      await studio.purged(id);
      const { events, tracks } = await studio.open({ id, room });
      assert.deepEqual(tracks.map(({ handle, source, codec }) => [handle, source, codec]), [[ann.handle, 'microphone', 'opus']]);
      const at = (type) => events.events.filter((event) => event.type === type).map((event) => events.started_at_ms + event.at_ms);
      const [[pausedAt], [resumedAt]] = [at('paused'), at('resumed')];
      assert.ok(Math.abs(pausedAt - paused) <= 500 && Math.abs(resumedAt - resumes) <= 500, `${pausedAt - paused} ${resumedAt - resumes}`);
      const { beeps, silences } = await sounds(tracks[0].path);
      const [heard, silent] = [beeps, silences].map((times) => times.map((ms) => events.started_at_ms + tracks[0].offset_ms + ms));
      // What was heard before is recorded up to the pause, not a packet of what was heard in it.
      const within = (time) => time >= paused + 100 && time <= resumes - 100;
      t.diagnostic(`beeps at ${heard.map((time) => Math.round(time - paused))} ms from the pause on, which took ${resumes - paused} ms`);
      assert.equal(heard.filter(within).length, 0);
      assert.ok(silent.filter(within).length >= 25, `${silent.filter(within).length} stretches of 100 ms are silent`);
      assert.ok(heard.filter((time) => time < paused).length >= 2 && heard.filter((time) => time > resumes).length >= 2);
      assert.ok(tracks[0].gaps.some(({ kind, from_ms: from, to_ms: to }) => kind === 'not_recorded' && to - from > 2500));
    }));

  for (const { codec, topmost, each } of LAYERED) test(`of ${codec} in three layers the topmost is in the file`, (t) =>
    world.withClients(1, async (ann) => {
      const room = await studio.server.createRoom();
      await join(ann, room, { codec, source: { width: 960, height: 540 } });
      await ann.page.evaluate(() => window.patch.layer('L3T3_KEY'));
      await until('three layers are sent', async () => {
        const sent = (await ann.stats()).find(({ type, kind }) => type === 'outbound-rtp' && kind === 'video');
        return sent.scalabilityMode === 'L3T3_KEY' && sent.frameHeight === 540;
      }, 30_000);
      const { id } = await studio.start(room);
      await toldOfStart(ann);
      await sleep(4000);
      await studio.stop(id);
      await studio.purged(id);
      const recording = await studio.open({ id, room });
      const { path: file, resolutions } = recording.tracks.find(({ source }) => source === 'camera');
      const [top, every] = [await sizes(file, topmost), new Set(await sizes(file, each))];
      t.diagnostic(`${top.length} pictures, sizes ${[...every]}, told are ${JSON.stringify(resolutions)}`);
      assert.deepEqual([...every].sort(), ['240x136', '480x270', '960x540'], 'there are three layers');
      // For a moment the encoder may have time for two layers only.
      const large = top.filter((size) => size === '960x540').length;
      assert.ok(top.length >= 30 && large >= READABLE * top.length, `${top}`);
      const readable = (await pictures(file, topmost)).filter(({ code }) => code).length;
      assert.ok(readable >= READABLE * top.length, `${readable} of ${top.length} pictures can be read`);
    }));

  test('texts are recorded where the rule says so, of and to those who consent', () =>
    world.withClients(2, async (ann, ben) => {
      const room = await studio.server.createRoom();
      for (const client of [ann, ben]) {
        const token = await studio.server.token(room, client.handle, { grants: { data: true } });
        await join(client, room, { codec: 'VP8', token });
      }
      const { id } = await studio.start(room, { data: true, consent: true });
      await Promise.all([ann, ben].map((client) => told(client, 'with texts', (recording) => recording?.data)));
      const [annId, benId] = await Promise.all([ann, ben].map((client) => client.page.evaluate(() => window.client.room().localParticipant.id)));
      const say = async (client, body, to) => {
        await client.page.evaluate(([text, named]) => window.client.room().send(text, { to: named }), [body, to]);
        return Date.now();
      };
      const agree = (client) => client.page.evaluate(() => window.client.room().consent(true));
      await say(ann, 'nobody agreed yet', []);
      await agree(ann);
      // The consent counts once it is stored.
      await sleep(1000);
      const said = await say(ann, 'to everybody', []);
      await say(ann, 'only one agreed', [benId]);
      await agree(ben);
      await sleep(1000);
      await say(ben, 'in private', [annId]);
      await sleep(1000);
      await studio.stop(id);
      await studio.purged(id);
      const { opened, events, manifest } = await studio.open({ id, room });
      const data = JSON.parse(fs.readFileSync(path.join(opened, 'data.json'), 'utf8'));
      assert.deepEqual(data.entries.map(({ handle, to, body }) => [handle, to, body]), [
        [ann.handle, [], 'to everybody'],
        [ben.handle, [annId], 'in private'],
      ]);
      const at = events.started_at_ms + data.entries[0].at_ms;
      assert.ok(Math.abs(at - said) <= 500, `it is placed ${at - said} ms after it was said`);
      assert.ok(manifest.artifacts.some(({ kind }) => kind === 'messages') && data.lost === 0);
    }));

  test('neither media nor its key is ever on the disk in the clear', (t) =>
    world.withClients(1, async (ann) => {
      const planted = Buffer.from('planted-pattern-6f1d0c2b9e-of-the-recording-test');
      const room = await studio.server.createRoom();
      await ann.page.evaluate((text) => { window.patch.plants = text; }, planted.toString());
      await join(ann, room, { codec: 'VP8' });
      // ffmpeg makes the composite: then there is media in the clear, in pipes, and more time to catch it.
      const { id } = await studio.start(room, { outputs: ['tracks', 'composite'] });
      await toldOfStart(ann);
      await sleep(1000);
      const key = await studio.dataKey(id);
      assert.equal(key.length, 32);
      const needles = [planted, key, Buffer.from(key.toString('hex')), Buffer.from(key.toString('base64').replace(/=+$/, ''))];
      const searched = new Map();
      const look = ({ state }) => {
        assert.deepEqual(studio.searchDisk(needles), [], state);
        searched.set(state, (searched.get(state) ?? 0) + 1);
      };
      const until3s = performance.now() + 3000;
      while (performance.now() < until3s || searched.get('recording') < 5) {
        look(await studio.read(id));
        await sleep(200);
      }
      assert.ok(studio.searchDisk([Buffer.from('CNCLVJNL')]).some((file) => file.endsWith('.journal')), 'the journal is searched');
      await studio.stop(id);
      await studio.purged(id, look);
      look({ state: 'after the purge' });
      t.diagnostic(`searches: ${JSON.stringify(Object.fromEntries(searched))}`);
      assert.ok(searched.get('recording') >= 5 && searched.get('finalizing') >= 1, 'the states are caught');
      assert.deepEqual(studio.searchDisk([Buffer.from('CNCLVJNL')]).filter((file) => file.includes('spool')), [], 'no journal is left');
      const { tracks, manifest } = await studio.open({ id, room });
      assert.ok(manifest.artifacts.some(({ kind }) => kind === 'composite'));
      for (const track of tracks) {
        assert.ok(fs.readFileSync(track.path).includes(planted), `the partner has it: ${track.name}`);
      }
    }));
});
