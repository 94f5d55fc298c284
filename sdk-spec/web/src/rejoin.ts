/**
 * Joining anew, with fresh tokens, after a session was lost.
 *
 * @module
 */

import { backoff } from './backoff.js';
import { ConclaveError, type ConclaveErrorCode, ConnectionError, LeftError } from './errors.js';
import { REJOIN_MS, REJOIN_REFUSALS_MAX } from './limits.js';
import type { LeaveReason } from './protocol.js';

/** Reasons after which a new join makes sense. */
export const RECOVERABLE: readonly LeaveReason[] = ['timeout', 'server_error'];

/** A join attempt that may be repeated. */
export interface Rejoin<T> {
  /** Fetches a fresh token. */
  refreshToken: () => Promise<string>;
  /** Joins with it. */
  join: (token: string) => Promise<T>;
  /** Whether the application has left meanwhile. */
  cancelled: () => boolean;
}

/**
 * Tries until it works, the time is over, the server refuses several tokens in a row, or the
 * application leaves. A full or locked room, a missing media node, or the own older session that
 * the server has not given up yet may be better in a moment.
 *
 * @throws ConclaveError - the last failure
 */
export async function rejoin<T>({ refreshToken, join, cancelled }: Rejoin<T>): Promise<T> {
  const since = Date.now();
  let refusals = 0;
  let last: unknown;
  for (let attempt = 0; Date.now() - since < REJOIN_MS && !cancelled(); attempt += 1) {
    try {
      return await join(await refreshToken());
    } catch (error) {
      last = error;
      // Sent away from the lobby, or banned: asking again is no use.
      if (error instanceof LeftError || isCode(error, 'banned')) break;
      refusals = isCode(error, 'token_refused') ? refusals + 1 : 0;
      if (refusals >= REJOIN_REFUSALS_MAX) break;
    }
    await new Promise((resolve) => setTimeout(resolve, backoff(attempt)));
  }
  throw last instanceof ConclaveError ? last : ConnectionError.lost(last);
}

function isCode(error: unknown, code: ConclaveErrorCode): boolean {
  return error instanceof ConclaveError && error.code === code;
}
