// A partner's server: gives its users room tokens, takes Conclave's webhooks.
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { Webhook } from 'standardwebhooks';

const { CONCLAVE_URL, CONCLAVE_KEY, CONCLAVE_WEBHOOK_SECRET, APP_SECRET, PORT = '8080' } = process.env;
const BODY_BYTES_MAX = 64 * 1024;

/** Conclave knows people by an opaque handle that only this server can resolve. */
const handleOf = (user) => createHmac('sha256', APP_SECRET).update(user).digest('base64url');

async function mint({ room, user }) {
  const answer = await fetch(`${CONCLAVE_URL}/v1/rooms/${encodeURIComponent(room)}/tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${CONCLAVE_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      handle: handleOf(user),
      grants: { publish: ['camera', 'microphone', 'screen'], subscribe: true },
    }),
  });
  return [answer.status, await answer.text()]; // A problem tells the remedy.
}

async function read(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new Error('too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

async function handle(request) {
  const body = await read(request);
  // Your own login decides who `user` is: never take it from the page as this example does.
  if (request.url === '/token') return mint(JSON.parse(body));
  if (request.url === '/webhook') {
    const event = new Webhook(CONCLAVE_WEBHOOK_SECRET).verify(body, request.headers);
    console.log(`${event.type} ${event.room ?? ''} ${event.id}`); // The same id may come again.
    return [204, ''];
  }
  return [404, ''];
}

createServer(async (request, response) => {
  const [status, body] = await handle(request).catch(() => [400, '']);
  response.writeHead(status, { 'content-type': 'application/json' }).end(body);
}).listen(Number(PORT), '127.0.0.1');
