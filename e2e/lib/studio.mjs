// A server that records into a local folder, and the partner that gets the recordings: opens them with
// stock `age`, and looks for what must not be on the server's disk.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { until } from './base.mjs';
import { run } from './media.mjs';
import { startServer } from './server.mjs';

const SCOPES = 'rooms:write,rooms:read,tokens:mint,recordings:read,recordings:write';

export async function openStudio(name) {
  const delivered = fs.mkdtempSync(path.join(os.tmpdir(), 'conclave-delivered-'));
  const config = `[recorder]\nlocal_folder = ${JSON.stringify(delivered)}\n`;
  const server = await startServer(name, { scopes: SCOPES, config });
  const identity = path.join(delivered, 'identity.txt');
  await run('age-keygen', ['-o', identity]);
  const recipient = (await run('age-keygen', ['-y', identity])).out.toString().trim();
  const target = await server.json('POST', '/v1/storage-targets', { body: { name: 'folder', storage: { kind: 'local' } } });
  await server.json('PUT', '/v1/recording-policy', { body: { recipients: [recipient], target: target.id } });
  return new Studio({ server, delivered, identity });
}

class Studio {
  constructor(parts) {
    Object.assign(this, parts);
  }

  start(room, rule = {}) {
    return this.server.json('POST', `/v1/rooms/${room}/recordings`, { body: { rule } });
  }

  read(id) {
    return this.server.json('GET', `/v1/recordings/${id}`);
  }

  stop(id) {
    return this.server.json('POST', `/v1/recordings/${id}/stop`, { body: {} });
  }

  pause(id) {
    return this.server.json('POST', `/v1/recordings/${id}/pause`, { body: {} });
  }

  resume(id) {
    return this.server.json('POST', `/v1/recordings/${id}/resume`, { body: {} });
  }

  /** Waits until a recording is delivered and purged; `look` is called with each state on the way. */
  async purged(id, look = () => {}) {
    return until(`${id} is purged`, async () => {
      const recording = await this.read(id);
      await look(recording);
      return recording.state === 'purged' && recording;
    }, 120_000);
  }

  /** Opens what was delivered, as a partner does: verified, then decrypted into a folder beside it. */
  async open({ id, room }) {
    const { server, delivered, identity } = this;
    const sealed = path.join(delivered, server.project, room, id);
    await this.verify(sealed, id);
    const opened = path.join(delivered, 'opened', id);
    fs.mkdirSync(opened, { recursive: true });
    const names = fs.readdirSync(sealed).filter((name) => name.endsWith('.age'));
    await Promise.all(names.map((name) =>
      run('age', ['-d', '-i', identity, '-o', path.join(opened, name.replace(/\.age$/, '')), path.join(sealed, name)])));
    const events = JSON.parse(fs.readFileSync(path.join(opened, 'events.json'), 'utf8'));
    const handles = new Map(events.participants.map(({ id: who, handle }) => [who, handle]));
    const tracks = events.tracks.map((track) =>
      ({ ...track, handle: handles.get(track.participant), path: path.join(opened, track.name) }));
    const manifest = JSON.parse(fs.readFileSync(path.join(sealed, 'manifest.json'), 'utf8'));
    const layout = path.join(opened, 'layout.json');
    return { sealed, opened, events, manifest, tracks, layout: fs.existsSync(layout) && JSON.parse(fs.readFileSync(layout, 'utf8')) };
  }

  /** With the stock tools of verify.sh, and by the command line, with the receipt. */
  async verify(sealed, id) {
    const { server, delivered, identity } = this;
    const keys = path.join(server.dir, 'data/recorder/evidence/keys.json');
    const pems = ['capture', 'export'].map((role) => {
      const file = path.join(delivered, `${role}.pem`);
      const key = JSON.parse(fs.readFileSync(keys, 'utf8')).keys.find((k) => k.role === role);
      fs.writeFileSync(file, key.pem);
      return file;
    });
    await run('sh', ['verify.sh', ...pems, identity], { cwd: sealed });
    // What the API answers is as good a key as the operator's file.
    const answer = path.join(delivered, 'evidence-keys.json');
    fs.writeFileSync(answer, JSON.stringify(await server.json('GET', '/v1/evidence-keys')));
    await run(server.binary, ['recording', 'verify', sealed, '--key', answer, '--identity', identity]);
    const receipt = path.join(delivered, `${id}.receipt.json`);
    fs.writeFileSync(receipt, JSON.stringify(await server.json('GET', `/v1/recordings/${id}/receipt`)));
    await run(server.binary, ['recording', 'receipt', receipt, '--key', keys, '--of', sealed]);
  }

  /** Files of the server in which one of `needles` stands: its folder with database and logs, and what it has open. */
  searchDisk(needles) {
    const { dir, child } = this.server;
    const files = fs.readdirSync(dir, { recursive: true }).map((name) => path.join(dir, name));
    const open = fs.readdirSync(`/proc/${child.pid}/fd`).map((fd) => `/proc/${child.pid}/fd/${fd}`);
    return [...files, ...open.filter(isUnlinked)].filter((file) => {
      const bytes = readIfThere(file);
      return bytes && needles.some((needle) => bytes.includes(needle));
    });
  }

  /** The recording's folder on the server while it is not purged. */
  spool(id) {
    return path.join(this.server.dir, 'data/recorder/spool', id);
  }

  /** The key that everything of a recording is encrypted with on the server: the partner's wrap opens to it. */
  async dataKey(id) {
    const { partner } = JSON.parse(fs.readFileSync(path.join(this.spool(id), 'keys.json'), 'utf8'));
    const wrap = path.join(this.delivered, `${id}.key.age`);
    fs.writeFileSync(wrap, partner);
    return (await run('age', ['-d', '-i', this.identity, wrap])).out;
  }

  async close() {
    await this.server.stop();
    fs.rmSync(this.delivered, { recursive: true, force: true });
  }
}

/** An open file that has no name any more. */
function isUnlinked(link) {
  try {
    return fs.readlinkSync(link).endsWith(' (deleted)');
  } catch {
    return false;
  }
}

/** Files come and go while they are looked at. */
function readIfThere(file) {
  try {
    return fs.readFileSync(file);
  } catch {
    return null;
  }
}
