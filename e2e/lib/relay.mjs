// A UDP relay between one page and the server's media ports: the test's hand on the network.
// What it sends to the server comes from the 5-tuple of the live session.

import dgram from 'node:dgram';

/** `ports` are the server's UDP ports; `relay.map` is for `patch.relays` in the page. */
export async function startRelay(ports) {
  const relays = await Promise.all(ports.map(relayTo));
  return {
    map: Object.fromEntries(relays.map((relay) => [relay.target, relay.port])),
    /** Drops everything, both ways, while true. */
    set blocked(value) { for (const relay of relays) relay.blocked = value; },
    /** Called with each datagram of the client and the function that sends to the server. */
    set onClient(f) { for (const relay of relays) relay.onClient = f; },
    /** A function of each datagram and whether the client sent it: ms by which it is late, null when it is lost. */
    set path(f) { for (const relay of relays) relay.path = f; },
    /** Sends to the server from the live session's socket. */
    inject(datagram) {
      const live = relays.find((relay) => relay.client);
      live.upstream.send(datagram, live.target, '127.0.0.1');
    },
    get counts() {
      return relays.reduce((sum, r) => ({ up: sum.up + r.up, down: sum.down + r.down }), { up: 0, down: 0 });
    },
    close() { for (const relay of relays) relay.close(); },
  };
}

async function relayTo(target) {
  const [inner, upstream] = [dgram.createSocket('udp4'), dgram.createSocket('udp4')];
  let open = true;
  const carry = (datagram, isUp, send) => {
    const late = relay.path ? relay.path(datagram, isUp) : 0;
    if (late === null) return;
    if (late === 0) send();
    else setTimeout(() => open && send(), late);
  };
  const relay = {
    target, upstream, client: null, blocked: false, onClient: null, path: null, up: 0, down: 0, port: 0,
    close() { open = false; inner.close(); upstream.close(); },
  };
  inner.on('message', (datagram, from) => {
    relay.client = from;
    if (relay.blocked) return;
    relay.up += 1;
    relay.onClient?.(datagram, target);
    carry(datagram, true, () => upstream.send(datagram, target, '127.0.0.1'));
  });
  upstream.on('message', (datagram) => {
    if (relay.blocked || !relay.client) return;
    relay.down += 1;
    carry(datagram, false, () => inner.send(datagram, relay.client.port, relay.client.address));
  });
  await new Promise((done) => inner.bind(0, '127.0.0.1', done));
  await new Promise((done) => upstream.bind(0, '127.0.0.1', done));
  relay.port = inner.address().port;
  return relay;
}

/** A path that loses `share` of everything, both ways; the same ones for the same seed. */
export function losing(share, seed) {
  let state = seed;
  return () => {
    // xorshift32
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32 < share ? null : 0;
  };
}

/** A path on which what is sent with this RTP payload type, and its sender reports, come `ms` later. */
export function delaying(payloadType, ms) {
  let source = null;
  const path = (datagram, isUp) => {
    // RTP and RTCP are told apart by RFC 5761 section 4; STUN and DTLS are neither (RFC 7983).
    if (!isUp || (datagram[0] & 0xc0) !== 0x80) return 0;
    const isControl = datagram[1] >= 192 && datagram[1] <= 223;
    if (isControl) return datagram.readUInt32BE(4) === source ? ms : 0;
    if ((datagram[1] & 0x7f) !== payloadType) return 0;
    source = datagram.readUInt32BE(8);
    path.delayed += 1;
    return ms;
  };
  return Object.assign(path, { delayed: 0 });
}

/** A path that is all of these. */
export const along = (...paths) => (datagram, isUp) =>
  paths.map((path) => path(datagram, isUp)).reduce((sum, late) => (sum === null || late === null ? null : sum + late), 0);
