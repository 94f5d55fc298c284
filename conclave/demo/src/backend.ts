/** The partner's server of this demo: checks the join code and mints a token. */

import type { Role } from '@conclave/web';

/** Where to join, and with what. */
export interface Ticket {
  url: string;
  token: string;
}

/** Who wants in where. */
export interface JoinRequest {
  code: string;
  room: string;
  handle: string;
  /** Instead of: moderator who comes first, then participant. */
  role?: Role | null;
}

/** The demo's server said no. */
export class BackendError extends Error {
  override name = 'BackendError';
}

const BY_STATUS: Record<number, string> = {
  403: 'The join code is not right. Ask for a new invite link.',
  404: 'This server does not serve the demo.',
  422: 'The room name cannot be used. Letters, digits, dots and dashes are fine.',
  429: 'Too many attempts. Wait a moment and try again.',
  503: 'The server is busy. Try again in a moment.',
};

/** Asks for a token. */
export async function fetchTicket(request: JoinRequest): Promise<Ticket> {
  let response: Response;
  try {
    response = await fetch('/demo/join', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(request),
    });
  } catch {
    throw new BackendError('The server cannot be reached. Check the network and try again.');
  }
  if (response.ok) return (await response.json()) as Ticket;
  throw new BackendError(
    BY_STATUS[response.status] ?? `The server could not let you in (${response.status}).`,
  );
}
