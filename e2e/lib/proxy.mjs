// A TCP proxy before the server, whose connections can be cut as a network does it: without a word.

import net from 'node:net';

export async function startProxy(port) {
  const open = new Set();
  let refusing = false;
  let accepted = 0;
  const server = net.createServer((client) => {
    if (refusing) return client.destroy();
    accepted += 1;
    const upstream = net.connect(port, '127.0.0.1');
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      open.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => { open.delete(from); to.destroy(); });
      from.pipe(to);
    }
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `ws://127.0.0.1:${server.address().port}/v1/ws`,
    get accepted() { return accepted; },
    /** Resets every connection and, for `ms`, every new one. */
    cut(ms = 0) {
      refusing = ms > 0;
      for (const socket of open) socket.resetAndDestroy();
      if (ms > 0) setTimeout(() => { refusing = false; }, ms);
    },
    close() {
      for (const socket of open) socket.destroy();
      server.close();
    },
  };
}
