/** Short messages that go away by themselves. */

import { byId, make } from './dom.js';

/** Time on the page, in milliseconds: long enough to read two sentences. */
const SHOWN_MS = 6_000;
/** Most at once; older ones go. */
const TOASTS_MAX = 3;

/** Shows a message. */
export function toast(text: string): void {
  const all = byId('toasts');
  const shown = make('div', 'toast', text);
  all.append(shown);
  while (all.childElementCount > TOASTS_MAX) all.firstElementChild?.remove();
  setTimeout(() => shown.remove(), SHOWN_MS);
}
