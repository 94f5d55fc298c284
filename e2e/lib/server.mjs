// The real binary on free ports with an empty data directory, and its REST API.

import { execFileSync, spawn } from 'node:child_process';
import dgram from 'node:dgram';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { once } from 'node:events';
import { OUT, ROOT, sleep, until } from './base.mjs';

const BINARY = path.resolve(process.env.CONCLAVE_BINARY ?? path.join(ROOT, 'target/release/conclave'));
const STOP_MS = 10_000;
const SCOPES = 'rooms:write,rooms:read,tokens:mint';

/** Starts `conclave serve`; the caller must `stop()` it. */
export async function startServer(name, { args = [], level = 'info', scopes = SCOPES, config = '' } = {}) {
  const dir = path.join(OUT, name);
  fs.rmSync(dir, { recursive: true, force: true });
  fs.mkdirSync(dir, { recursive: true });
  const [http, media] = [await freePorts(1), await freePorts(4)];
  const data = ['--data-dir', path.join(dir, 'data')];
  const run = (...words) => execFileSync(BINARY, [...words, ...data], { encoding: 'utf8' }).trim();
  const project = run('project', 'create', 'e2e');
  const key = run('key', 'create', '--project', project, '--scope', scopes);
  const file = path.join(dir, 'conclave.toml');
  fs.writeFileSync(file, config);
  const log = path.join(dir, 'server.log');
  const child = spawn(
    BINARY,
    ['serve', ...data, '--config', file, '--listen', `127.0.0.1:${http}`, '--media-port', media,
      '--log-format', 'json', '--log-level', level, ...args].map(String),
    { stdio: ['ignore', fs.openSync(path.join(dir, 'stdout.log'), 'w'), fs.openSync(log, 'w')] },
  );
  const server = new Server({ binary: BINARY, child, dir, log, http, media, project, key });
  await until('the server is ready', () => server.ready(), 20_000);
  return server;
}

class Server {
  constructor(parts) {
    Object.assign(this, parts);
    this.origin = `http://127.0.0.1:${this.http}`;
    this.ws = `ws://127.0.0.1:${this.http}/v1/ws`;
  }

  async ready() {
    if (this.child.exitCode !== null) throw new Error(`the server ended; see ${this.log}`);
    try {
      return (await fetch(`${this.origin}/readyz`)).ok;
    } catch {
      return false;
    }
  }

  get alive() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** One REST request with the test's key; `body` is sent as JSON. */
  request(method, where, { body, headers = {}, key = this.key } = {}) {
    return fetch(this.origin + where, {
      method,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }

  async json(method, where, options) {
    const response = await this.request(method, where, options);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${where}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  async createRoom(body = {}) {
    return (await this.json('POST', '/v1/rooms', { body })).id;
  }

  async token(room, handle, { publish = ['camera', 'microphone', 'screen'], grants = {}, ...rest } = {}) {
    const body = { handle, grants: { publish, subscribe: true, ...grants }, ...rest };
    return (await this.json('POST', `/v1/rooms/${room}/tokens`, { body })).token;
  }

  /** Sum of a metric over all workers, and of those with `labels` in their line. */
  async metric(name, labels = '') {
    const text = await (await fetch(`${this.origin}/metrics`)).text();
    const lines = text.split('\n').filter((l) => l.startsWith(`${name}{`) && l.includes(labels));
    if (lines.length === 0) throw new Error(`no metric ${name} ${labels}`);
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  }

  /** Resident memory in bytes. */
  rss() {
    const status = fs.readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024;
  }

  /** Lines of the log so far, parsed. */
  lines() {
    const text = fs.readFileSync(this.log, 'utf8');
    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  /** Ends it as an operator would; returns its exit code. */
  async stop() {
    if (!this.alive) return this.child.exitCode;
    const ended = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS);
    const [code, signal] = await ended;
    clearTimeout(timer);
    return code ?? signal;
  }
}

/** The first of `count` neighbouring ports that are free for UDP and TCP. */
async function freePorts(count) {
  for (let attempt = 0; attempt < 100; attempt++) {
    const first = 20_000 + Math.floor(Math.random() * 10_000);
    const free = [];
    for (let port = first; port < first + count; port++) free.push(await isFree(port));
    if (free.every(Boolean)) return first;
    await sleep(1);
  }
  throw new Error('no free ports');
}

async function isFree(port) {
  const udp = dgram.createSocket('udp4');
  const tcp = net.createServer();
  try {
    await Promise.all([
      new Promise((done, fail) => udp.once('error', fail).bind(port, done)),
      new Promise((done, fail) => tcp.once('error', fail).listen(port, done)),
    ]);
    return true;
  } catch {
    return false;
  } finally {
    try { udp.close(); } catch { /* never bound */ }
    tcp.close();
  }
}
