// Firefox ESR by puppeteer-core over WebDriver BiDi. Its AudioContext needs a sound device, so a
// private PulseAudio with a null sink runs beside it.

import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import puppeteer from 'puppeteer-core';
import { until } from './base.mjs';

const PREFERENCES = {
  'media.navigator.streams.fake': true,
  'media.navigator.permission.disabled': true,
  'media.autoplay.default': 0,
  'media.autoplay.blocking_policy': 0,
  'media.autoplay.block-webaudio': false,
  'media.peerconnection.ice.loopback': true,
  'media.peerconnection.ice.obfuscate_host_addresses': false,
  'network.captive-portal-service.enabled': false,
  'network.connectivity-service.enabled': false,
  'app.update.enabled': false,
  'app.normandy.enabled': false,
  'browser.safebrowsing.downloads.enabled': false,
  'browser.region.update.enabled': false,
  'media.gmp-manager.updateEnabled': false,
  'datareporting.policy.dataSubmissionEnabled': false,
  'toolkit.telemetry.enabled': false,
  'services.settings.server': 'data:,#remote-settings-dummy/v1',
};

/** Starts PulseAudio and Firefox; `close()` ends both. */
export async function launchFirefox() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave-ff-'));
  const socket = path.join(dir, 'sound.socket');
  const environment = { ...process.env, HOME: dir, XDG_RUNTIME_DIR: dir, PULSE_SERVER: `unix:${socket}` };
  const pulse = spawn(
    'pulseaudio',
    ['-n', '--daemonize=no', '--exit-idle-time=-1', '-L', 'module-null-sink',
      '-L', `module-native-protocol-unix socket=${socket} auth-anonymous=1`],
    { env: environment, stdio: 'ignore' },
  );
  const silence = () => {
    pulse.kill('SIGTERM');
    fs.rmSync(dir, { recursive: true, force: true });
  };
  let browser;
  try {
    await until('PulseAudio listens', () => fs.existsSync(socket), 20_000);
    browser = await puppeteer.launch({
      browser: 'firefox',
      executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
      headless: true,
      timeout: 240_000,
      protocolTimeout: 240_000,
      env: { ...process.env, PULSE_SERVER: `unix:${socket}` },
      extraPrefsFirefox: PREFERENCES,
    });
  } catch (error) {
    silence();
    throw error;
  }
  return {
    open: async (url) => {
      const page = await browser.newPage();
      page.setDefaultNavigationTimeout(240_000);
      page.setDefaultTimeout(120_000);
      await page.goto(url);
      return page;
    },
    close: async () => {
      await browser.close().finally(silence);
    },
  };
}
