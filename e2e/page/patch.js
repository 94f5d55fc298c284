// What a test may change in the browser before the SDK runs; the SDK itself stays as it ships.
//
//   patch.transport  'tcp' leaves only the server's ICE-TCP candidates
//   patch.relays     { server's UDP port: port on 127.0.0.1 }: media goes through the test's relay

(() => {
  const patch = { transport: null, relays: null, connections: [], offers: 0 };
  window.patch = patch;
  const Native = window.RTCPeerConnection;

  window.RTCPeerConnection = class extends Native {
    constructor(...parameters) {
      super(...parameters);
      patch.connections.push(this);
    }

    setRemoteDescription(description) {
      const lines = description.sdp.split('\r\n').flatMap(change);
      return super.setRemoteDescription({ type: description.type, sdp: lines.join('\r\n') });
    }
  };

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
