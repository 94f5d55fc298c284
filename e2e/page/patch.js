// What a test may change in the browser before the SDK runs; the SDK itself stays as it ships.
//
//   patch.transport  'tcp' leaves only the server's ICE-TCP candidates
//   patch.stays      true: connections do not close, whatever the SDK wants, so that what the server does is seen
//   patch.plants     text that goes into everything that is sent: sounds become nothing else, pictures end with it. It
//                    travels encrypted like any other media; whoever has the media in the clear has this text
//   patch.relays     { server's UDP port: port on 127.0.0.1 }: media goes through the test's relay

(() => {
  const patch = { transport: null, relays: null, stays: false, plants: null, connections: [], sockets: [], ticket: null };
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

    addTransceiver(...parameters) {
      const transceiver = super.addTransceiver(...parameters);
      if (patch.plants) plant(transceiver);
      return transceiver;
    }

    setRemoteDescription(description) {
      const lines = description.sdp.split('\r\n').flatMap(change);
      return super.setRemoteDescription({ type: description.type, sdp: lines.join('\r\n') });
    }
  };

  // Before the first frame, or Chromium goes round it.
  function plant({ sender, receiver }) {
    const program = `onrtctransform = ({ transformer: { readable, writable, options } }) => {
      const planted = new TextEncoder().encode(options.text);
      const transform = (frame, out) => {
        const data = new Uint8Array(frame.data);
        // The first byte of Opus says how long the sound is (RFC 6716 section 3.1): one frame of it.
        const kept = options.kind === 'audio' ? [data[0] & 0xfc] : data;
        frame.data = Uint8Array.of(...kept, ...planted).buffer;
        out.enqueue(frame);
      };
      readable.pipeThrough(new TransformStream({ transform })).pipeTo(writable);
    };`;
    const worker = new Worker(URL.createObjectURL(new Blob([program], { type: 'text/javascript' })));
    sender.transform = new RTCRtpScriptTransform(worker, { text: patch.plants, kind: receiver.track.kind });
  }

  const NativeSocket = window.WebSocket;

  window.WebSocket = class extends NativeSocket {
    constructor(...parameters) {
      super(...parameters);
      patch.sockets.push(this);
      this.addEventListener('message', ({ data }) => { patch.ticket = JSON.parse(data).ticket ?? patch.ticket; });
      this.addEventListener('close', () => { this.closedAt = performance.timeOrigin + performance.now(); });
    }
  };

  /** From now on the camera is sent in these layers (`L3T3_KEY`), at its full size. */
  patch.layer = async (mode, connection = patch.connections.at(-1)) => {
    const sender = connection.getSenders().find(({ track }) => track?.kind === 'video');
    const parameters = sender.getParameters();
    parameters.encodings[0].scalabilityMode = mode;
    await sender.setParameters({ ...parameters, degradationPreference: 'maintain-resolution' });
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
