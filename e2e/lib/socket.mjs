// Raw WebSockets and TCP, for tests that say what no SDK would.

import net from 'node:net';
import WebSocket from 'ws';
import { until } from './base.mjs';

/** An open WebSocket that keeps what it hears. */
export async function openSocket(url, protocols = ['conclave.v1'], options = {}) {
  const socket = new WebSocket(url, protocols, { perMessageDeflate: false, ...options });
  const heard = [];
  const state = { closed: null };
  socket.on('message', (data) => heard.push(JSON.parse(data)));
  socket.on('close', (code, reason) => { state.closed = { code, reason: reason.toString() }; });
  socket.on('error', () => {});
  await until('the socket opens or closes', () => socket.readyState === WebSocket.OPEN || state.closed);
  return {
    socket,
    heard,
    get closed() { return state.closed; },
    send: (message) => socket.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message)),
    hears: (type, ms) => until(`a message ${type}`, () => heard.find((m) => m.type === type), ms),
    closes: (ms = 10_000) => until('the socket closes', () => state.closed, ms),
    close: () => socket.terminate(),
  };
}

/** A TCP connection that has just asked for a WebSocket by hand. */
export async function rawUpgrade(port, head = []) {
  const socket = net.connect(port, '127.0.0.1');
  const state = { text: '', closed: false };
  socket.on('data', (data) => { state.text += data.toString('latin1'); });
  socket.on('close', () => { state.closed = true; });
  socket.on('error', () => {});
  socket.write([
    'GET /v1/ws HTTP/1.1', 'Host: localhost', 'Connection: Upgrade', 'Upgrade: websocket',
    'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Protocol: conclave.v1', ...head, '', '',
  ].join('\r\n'));
  await until('an answer to the upgrade', () => state.text.includes('\r\n\r\n') || state.closed);
  return { socket, state };
}

/** A masked client frame (RFC 6455 section 5.2) with `opcode`, whose length field may lie. */
export function frame(opcode, payload, { length = payload.length, fin = true, masked = true } = {}) {
  const first = Buffer.from([(fin ? 0x80 : 0) | opcode]);
  const bit = masked ? 0x80 : 0;
  const size = length < 126
    ? Buffer.from([bit | length])
    : Buffer.concat([Buffer.from([bit | 127]), Buffer.from(BigInt(length).toString(16).padStart(16, '0'), 'hex')]);
  return Buffer.concat([first, size, masked ? Buffer.alloc(4) : Buffer.alloc(0), payload]);
}
