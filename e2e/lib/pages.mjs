// A web server for the test page and the built SDK: the partner's site, on an origin of its own.

import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { HERE, ROOT } from './base.mjs';

const SDK = path.join(ROOT, 'sdk-spec/web/dist');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.map': 'application/json' };

/** Serves `/` from e2e/page and `/sdk/` from the SDK's build. */
export async function servePages() {
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    const [base, name] = pathname.startsWith('/sdk/')
      ? [SDK, pathname.slice('/sdk/'.length)]
      : [path.join(HERE, 'page'), pathname === '/' ? 'index.html' : pathname.slice(1)];
    const file = path.join(base, name);
    if (!file.startsWith(base) || !fs.existsSync(file)) return response.writeHead(404).end();
    response.setHeader('content-type', TYPES[path.extname(file)] ?? 'application/octet-stream');
    response.end(fs.readFileSync(file));
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => { server.closeAllConnections(); server.close(); },
  };
}
