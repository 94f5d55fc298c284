// Reads a recorded file back with ffmpeg: the code and the flash in its pictures, the beeps and the
// silences in its sound. Times are milliseconds on the file's own clock.

import { spawn } from 'node:child_process';
import path from 'node:path';
import { HERE } from './base.mjs';
import '../page/code.js';

/** Pictures are read at this size, whatever they were sent with. */
const [WIDTH, HEIGHT] = [320, 180];
const RATE = 48_000;
/** Samples of 5 ms: one period of the lowest difference between 1 kHz and anything else in the source. */
const WINDOW = 240;
/** Level of the beep (sent with 0.5) at which it begins, and below which it is over. */
const [BEEP_ON, BEEP_OFF] = [0.2, 0.08];
/** Level of the tone under the beeps. */
const TONE = 0.03;
/** Level below which nothing sounds. */
const SILENT = 0.004;

/** Runs a program to its end; what it wrote. Fails with its errors when it does. */
export async function run(program, args, { ms = 120_000, ...options } = {}) {
  const child = spawn(program, args, { timeout: ms, stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const [out, errors] = [[], []];
  child.stdout.on('data', (data) => out.push(data));
  child.stderr.on('data', (data) => errors.push(data));
  const code = await new Promise((done, fail) => {
    child.on('error', (error) => fail(new Error(`${program} is needed by this test: ${error.message}`)));
    child.on('close', done);
  });
  const told = Buffer.concat(errors).toString();
  if (code !== 0) throw new Error(`${program} ${args.join(' ')}: code ${code}\n${told}\n${Buffer.concat(out).toString().slice(-2000)}`);
  return { out: Buffer.concat(out), told };
}

/** What ffprobe says: format and streams. */
export async function probe(file) {
  const { out } = await run('ffprobe', ['-v', 'error', '-show_streams', '-show_format', '-of', 'json', file]);
  return JSON.parse(out.toString());
}

/** What a decoder complains about; empty when the file is sound. */
export async function complaints(file) {
  // Pictures come when they come: with a frame rate of ffmpeg's own guess two would be at the same time.
  const asTheyCome = ['-fps_mode', 'passthrough', '-enc_time_base', '-1'];
  return (await run('ffmpeg', ['-v', 'error', '-i', file, ...asTheyCome, '-f', 'null', '-'])).told.trim();
}

/** Every picture: `{ at, code, flash }`, where `code` is `{ clock, frame }` or null. */
export async function pictures(file, decoder) {
  return (await mosaic(file, 1, 1, decoder)).map(({ at, tiles: [tile] }) => ({ at, ...tile }));
}

/**
 * Every picture of a file that shows `columns` x `rows` coded ones: `{ at, tiles }`, row by row; `decoder` are
 * ffmpeg's options before its input.
 */
export async function mosaic(file, columns, rows, decoder = []) {
  const [width, height] = [WIDTH * columns, HEIGHT * rows];
  const { out, told } = await run('ffmpeg', [
    '-hide_banner', '-nostats', '-copyts', ...decoder, '-i', file, '-map', '0:v:0', '-vf', `scale=${width}:${height},format=gray,showinfo`,
    '-fps_mode', 'passthrough', '-f', 'rawvideo', '-',
  ]);
  const times = [...told.matchAll(/ pts_time:([-\d.]+)/g)].map(([, seconds]) => Number(seconds) * 1000);
  const { read, flash } = globalThis.pictureCode;
  const corners = Array.from({ length: columns * rows }, (_, i) =>
    Math.floor(i / columns) * HEIGHT * width + (i % columns) * WIDTH);
  return times.slice(0, Math.floor(out.length / (width * height))).map((at, n) => ({
    at,
    tiles: corners.map((corner) => {
      const luma = (x, y) => out[n * width * height + corner + y * width + x];
      return { code: read(luma, WIDTH, HEIGHT), flash: flash(luma, WIDTH, HEIGHT) };
    }),
  }));
}

/** Sizes of the pictures that a decoder shows, `1280x720`, in order. */
export async function sizes(file, decoder = []) {
  const { told } = await run('ffmpeg', [
    '-hide_banner', '-nostats', ...decoder, '-i', file, '-vf', 'showinfo', '-fps_mode', 'passthrough', '-f', 'null', '-',
  ]);
  return [...told.matchAll(/ pts_time:.* s:(\d+x\d+)/g)].map(([, size]) => size);
}

/**
 * When the flash comes on. Where the picture before is not the one that was painted before (lost, left out by the
 * encoder, or somebody else's) nobody can tell: such a flash does not count.
 */
export const flashes = (seen) => seen.filter(({ flash, code }, i) => {
  const before = seen[i - 1];
  return flash && before && !before.flash && code && before.code && code.frame - before.code.frame === 1;
}).map(({ at }) => at);

/**
 * When beeps begin, the stretches of 100 ms in which nothing sounds, and the length. `voices` sound at once: the
 * tones under the beeps add up.
 */
export async function sounds(file, voices = 1) {
  const { out } = await run('ffmpeg', [
    '-v', 'error', '-copyts', '-i', file, '-map', '0:a:0', '-af', 'aresample=48000:async=1:first_pts=0',
    '-ac', '1', '-f', 's16le', '-',
  ]);
  const samples = new Int16Array(out.buffer, out.byteOffset, Math.floor(out.length / 2));
  return { beeps: beeps(samples, voices), silences: silences(samples), ms: (samples.length / RATE) * 1000 };
}

function beeps(samples, voices) {
  const off = BEEP_OFF + TONE * (voices - 1);
  const found = [];
  let on = false;
  for (let from = 0; from + WINDOW <= samples.length; from += WINDOW) {
    let [re, im] = [0, 0];
    for (let k = 0; k < WINDOW; k++) {
      const angle = (2 * Math.PI * 1000 * k) / RATE;
      re += samples[from + k] * Math.cos(angle);
      im += samples[from + k] * Math.sin(angle);
    }
    const level = (2 * Math.hypot(re, im)) / WINDOW / 32_768;
    if (!on && level > Math.max(BEEP_ON, 1.5 * off)) found.push((from / RATE) * 1000);
    on = on ? level > off : level > Math.max(BEEP_ON, 1.5 * off);
  }
  return found;
}

function silences(samples) {
  const [found, step] = [[], RATE / 10];
  for (let from = 0; from + step <= samples.length; from += step) {
    let sum = 0;
    for (let k = from; k < from + step; k++) sum += (samples[k] / 32_768) ** 2;
    if (Math.sqrt(sum / step) < SILENT) found.push((from / RATE) * 1000);
  }
  return found;
}

/** For each flash how much later its beep comes, which is the nearest; both on one clock. */
export function soundAfterPicture(flashTimes, beepTimes) {
  const nearest = (at) => beepTimes.reduce((best, beep) => (Math.abs(beep - at) < Math.abs(best - at) ? beep : best), Infinity);
  return flashTimes.map((at) => nearest(at) - at);
}

/** Puts a picture and its sound, each with its `offset_ms`, into one file without touching either. */
export async function pair(picture, sound, file) {
  const input = ({ path: from, offset_ms: offset }) => ['-itsoffset', String(offset / 1000), '-i', from];
  await run('ffmpeg', ['-v', 'error', '-copyts', ...input(picture), ...input(sound), '-map', '0:v', '-map', '1:a', '-c', 'copy', file]);
}

/** One tile of a composite, with the sound of all, from one time to another: nothing of either is changed. */
export async function tile(composite, crop, [from, to], file) {
  const picture = ['-vf', `crop=${crop}`, '-fps_mode', 'passthrough', '-c:v', 'libx264', '-preset', 'ultrafast', '-qp', '0'];
  const span = ['-ss', String(from / 1000), '-to', String(to / 1000)];
  await run('ffmpeg', ['-v', 'error', '-i', composite, ...span, ...picture, '-c:a', 'pcm_s16le', file]);
}

/**
 * What a judge says who knows nothing of this product: py/avcheck.py, written before it, which reads the
 * same flash and beep in its own way. ms by which each beat is heard after it is seen.
 */
export async function avcheck(file) {
  const { out } = await run('python3', [path.join(HERE, 'py/avcheck.py'), file]);
  const said = JSON.parse(out.toString());
  return said['av_offset_ms (audio late = +)'].each;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.length === 0 ? NaN : sorted[sorted.length >> 1];
}
