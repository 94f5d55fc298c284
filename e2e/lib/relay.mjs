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
  const relay = {
    target, upstream, client: null, blocked: false, onClient: null, up: 0, down: 0, port: 0,
    close() { inner.close(); upstream.close(); },
  };
  inner.on('message', (datagram, from) => {
    relay.client = from;
    if (relay.blocked) return;
    relay.up += 1;
    relay.onClient?.(datagram, target);
    upstream.send(datagram, target, '127.0.0.1');
  });
  upstream.on('message', (datagram) => {
    if (relay.blocked || !relay.client) return;
    relay.down += 1;
    inner.send(datagram, relay.client.port, relay.client.address);
  });
  await new Promise((done) => inner.bind(0, '127.0.0.1', done));
  await new Promise((done) => upstream.bind(0, '127.0.0.1', done));
  relay.port = inner.address().port;
  return relay;
}
