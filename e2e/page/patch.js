// What a test may change in the browser before the SDK runs; the SDK itself stays as it ships.
//
//   patch.transport  'tcp' leaves only the server's ICE-TCP candidates
//   patch.stays      true: connections do not close, whatever the SDK wants, so that what the server does is seen
//   patch.relays     { server's UDP port: port on 127.0.0.1 }: media goes through the test's relay

(() => {
  const patch = { transport: null, relays: null, stays: false, connections: [], sockets: [], ticket: null };
  window.patch = patch;
  const Native = window.RTCPeerConnection;

  window.RTCPeerConnection = class extends Native {
    constructor(...parameters) {
      super(...parameters);
      patch.connections.push(this);
    }

    close() {
      if (!patch.stays) super.close();
    }

    setRemoteDescription(description) {
      const lines = description.sdp.split('\r\n').flatMap(change);
      return super.setRemoteDescription({ type: description.type, sdp: lines.join('\r\n') });
    }
  };

  const NativeSocket = window.WebSocket;

  window.WebSocket = class extends NativeSocket {
    constructor(...parameters) {
      super(...parameters);
      patch.sockets.push(this);
      this.addEventListener('message', ({ data }) => { patch.ticket = JSON.parse(data).ticket ?? patch.ticket; });
      this.addEventListener('close', () => { this.closedAt = performance.timeOrigin + performance.now(); });
    }
  };

  /** Polls a connection for `ms`: bytes of media each way, and when the last of them came in. */
  patch.measure = async (ms, connection = patch.connections.at(-1)) => {
    const until = performance.now() + ms;
    const seen = { first: null, received: 0, sent: 0, lastAt: null };
    while (performance.now() < until) {
      const { received, sent } = await total(connection);
      seen.first ??= { received, sent };
      if (received > seen.received) seen.lastAt = performance.timeOrigin + performance.now();
      Object.assign(seen, { received, sent });
      await new Promise((done) => setTimeout(done, 20));
    }
    return { ...seen, grown: { received: seen.received - seen.first.received, sent: seen.sent - seen.first.sent } };
  };

  async function total(connection) {
    const sum = { received: 0, sent: 0 };
    for (const stat of (await connection.getStats()).values()) {
      if (stat.type === 'inbound-rtp') sum.received += stat.bytesReceived ?? 0;
      if (stat.type === 'outbound-rtp') sum.sent += stat.bytesSent ?? 0;
    }
    return sum;
  }

  // a=candidate:<foundation> <component> <transport> <priority> <address> <port> typ host …
  function change(line) {
    if (!line.startsWith('a=candidate:')) return [line];
    const parts = line.split(' ');
    const transport = parts[2].toLowerCase();
    if (patch.transport && transport !== patch.transport) return [];
    if (!patch.relays) return [line];
    const relay = transport === 'udp' && parts[4].includes('.') && patch.relays[parts[5]];
    return relay ? [[...parts.slice(0, 4), '127.0.0.1', relay, ...parts.slice(6)].join(' ')] : [];
  }
})();
