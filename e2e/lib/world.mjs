// What tests share: the server, the partner's site, one Chromium. Rooms and pages are their own.

import { Client } from './client.mjs';
import { closePage, launchChromium, openPage } from './chromium.mjs';
import { servePages } from './pages.mjs';
import { startServer } from './server.mjs';

/** Tones that a phone's speaker and an 8192-point FFT at 48 kHz tell apart. */
const TONES = [440, 620, 830, 1070, 1330, 1610];

export const world = {
  async open() {
    this.server = await startServer('main');
    this.pages = await servePages();
    this.chromium = await launchChromium();
  },

  async close() {
    await this.chromium?.close();
    this.pages?.close();
    await this.server?.stop();
  },

  /** Runs `body` with `count` participants, each a fresh page, and closes them. */
  async withClients(count, body, { browser = this.chromium, options } = {}) {
    const clients = [];
    try {
      for (let i = 0; i < count; i++) {
        const page = await openPage(browser, this.pages.url, options);
        clients.push(new Client(page, `guest-${i + 1}`, TONES[i]));
      }
      return await body(...clients);
    } finally {
      await Promise.all(clients.map((client) => closePage(client.page)));
    }
  },
};
