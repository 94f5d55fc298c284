/**
 * The address of the WebSocket.
 *
 * @module
 */

import { ConnectionError } from './errors.js';

const SOCKET_PROTOCOLS: Record<string, string> = {
  'http:': 'ws:',
  'https:': 'wss:',
  'ws:': 'ws:',
  'wss:': 'wss:',
};

/**
 * Accepts `wss://host/v1/ws` and, for convenience, `https://host`. Query and fragment are cut:
 * nothing secret may stand in a URL, and the server reads none.
 */
export function socketUrl(url: string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch (cause) {
    throw badUrl(cause);
  }
  const protocol = SOCKET_PROTOCOLS[parsed.protocol];
  if (!protocol) throw badUrl();
  const path = parsed.pathname === '/' ? '/v1/ws' : parsed.pathname;
  return `${protocol}//${parsed.host}${path}`;
}

function badUrl(cause?: unknown): ConnectionError {
  return new ConnectionError(
    'unreachable',
    'the server URL is not valid',
    'Pass an address such as wss://conclave.example/v1/ws.',
    cause,
  );
}
