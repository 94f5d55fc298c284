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

/** Where a recording stands. */
export type RecordingState =
  | 'recording'
  | 'paused'
  | 'recorded'
  | 'finalizing'
  | 'pushing'
  | 'push_blocked'
  | 'delivered'
  | 'purging'
  | 'purged';

/** Why nothing of a recording is on the server any more. */
export type PurgeReason = 'delivered' | 'expired' | 'deleted' | 'empty' | 'unreadable' | 'lost';

/** A recording as the demo's server tells of it. */
export interface RecordingLine {
  id: string;
  state: RecordingState;
  progress: number | null;
  started_at: string;
  files: number;
  blocked: { reason: string; blame: string } | null;
  purge_reason: PurgeReason | null;
}

/** Recordings of a room. */
export interface Recordings {
  /** Whether the identity in the server's data directory opens them. */
  opens: boolean;
  /** Newest first. */
  recordings: RecordingLine[];
}

/** What proves that a recording is gone: a signed text. */
export interface Receipt {
  receipt: string;
  signature: string;
  key: string;
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

/** The recordings of a room. */
export async function fetchRecordings(code: string, room: string): Promise<Recordings> {
  return (await look(code, `?room=${encodeURIComponent(room)}`)) as Recordings;
}

/** The receipt of a recording that is gone. */
export async function fetchReceipt(code: string, recording: string): Promise<Receipt> {
  return (await look(code, `/${encodeURIComponent(recording)}/receipt`)) as Receipt;
}

async function look(code: string, what: string): Promise<unknown> {
  const response = await fetch(`/demo/recordings${what}`, {
    // Not in the address, which is logged on the way.
    headers: { authorization: `Bearer ${code}` },
  });
  if (!response.ok) throw new BackendError(`The recordings are not known (${response.status}).`);
  return response.json();
}
