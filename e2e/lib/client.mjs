// One participant: a page of any browser that runs page/page.js.

import assert from 'node:assert/strict';
import { until } from './base.mjs';

/** Hz by which a tone may be off: one bin of the FFT and some drift. */
const TONE_HZ = 8;
const FRAMES_BETWEEN_PARTICIPANTS = 12_000;

let count = 0;

export class Client {
  /** `page` of playwright or puppeteer; `tone` in Hz must differ within a room. */
  constructor(page, handle, tone) {
    Object.assign(this, { page, handle, tone, offset: (count++ % 5) * FRAMES_BETWEEN_PARTICIPANTS });
  }

  /** Joins `room` and publishes, unless `source` is null. */
  async join(server, room, { url = server.ws, source = {}, token, ...options } = {}) {
    const ticket = token ?? (await server.token(room, this.handle));
    const shape = source && { tone: this.tone, offset: this.offset, ...source };
    await until('the page is ready', () => this.page.evaluate(() => window.ready === true), 120_000);
    await this.page.evaluate((o) => window.client.join(o), { url, token: ticket, source: shape, ...options });
  }

  report() {
    return this.page.evaluate(() => window.client.report());
  }

  stats() {
    return this.page.evaluate(() => window.client.stats());
  }

  async leave() {
    await this.page.evaluate(() => window.client.leave());
  }

  /** Waits for `frames` different coded pictures of `other`, counted from now; returns the report. */
  async sees(other, { frames = 15, ms = 20_000 } = {}) {
    await this.page.evaluate(() => window.client.reset());
    let camera;
    try {
      await until(`${this.handle} sees ${other.handle}`, async () => {
        camera = (await this.report()).people[other.handle]?.camera;
        return camera?.distinct >= frames;
      }, ms, 200);
    } catch (error) {
      throw new Error(`${error.message}; ${JSON.stringify(camera)}`);
    }
    const [first, last] = [other.offset, other.offset + FRAMES_BETWEEN_PARTICIPANTS];
    assert.ok(camera.first >= first && camera.last < last, `pictures of ${other.handle}: ${JSON.stringify(camera)}`);
    assert.ok(camera.bad <= camera.frames * 0.1, `pictures are readable: ${JSON.stringify(camera)}`);
    return camera;
  }

  /** Waits until the tone of `other` is the loudest thing in its track. */
  async hears(other, ms = 20_000) {
    let heard = null;
    try {
      await until(`${this.handle} hears ${other.handle}`, async () => {
        heard = (await this.report()).people[other.handle]?.toneHz ?? null;
        return heard !== null && Math.abs(heard - other.tone) <= TONE_HZ;
      }, ms, 200);
    } catch (error) {
      throw new Error(`${error.message}; heard ${heard} Hz, not ${other.tone}`);
    }
    return heard;
  }

  /** Waits until the participants are exactly `others`. */
  async isWith(others, ms = 20_000) {
    const wanted = others.map((o) => o.handle).sort().join();
    await until(`${this.handle} is with ${wanted || 'nobody'}`, async () => {
      const { people } = await this.report();
      return Object.keys(people).sort().join() === wanted;
    }, ms, 100);
  }
}

/** Everybody sees and hears everybody else. */
export async function allMeet(clients, options) {
  for (const one of clients) {
    for (const other of clients.filter((c) => c !== one)) {
      await one.sees(other, options);
      await one.hears(other);
    }
  }
}
