/**
 * Texts of the application that go through the server.
 *
 * @module
 */

import { SendError } from './errors.js';
import { DATA_BYTES_MAX, STATE_BYTES_MAX } from './limits.js';
import type { Grants } from './protocol.js';

/** Throws when a text may not be sent to others. */
export function checkText(text: string, grants: Readonly<Grants>): void {
  if (!grants.data) throw SendError.notPermitted('sending texts', 'data');
  checkSize('the text', text, DATA_BYTES_MAX);
}

/** Throws when an own state may not be set. */
export function checkState(state: string | null, grants: Readonly<Grants>): void {
  if (!grants.update_own) throw SendError.notPermitted('an own state', 'update_own');
  checkSize('the state', state ?? '', STATE_BYTES_MAX);
}

function checkSize(what: string, text: string, bytesMax: number): void {
  if (new TextEncoder().encode(text).length > bytesMax) throw SendError.tooLarge(what, bytesMax);
}
