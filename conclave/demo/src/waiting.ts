/** The lobby as a newcomer sees it. */

import type { WaitReason } from '@conclave/web';
import { byId } from './dom.js';

const TEXTS: Record<WaitReason, string> = {
  knock: 'A moderator will let you in.',
  moderator: 'The call begins when a moderator is there.',
};

/** The page while somebody waits to be let in. */
export class Waiting {
  #abort = new AbortController();

  constructor() {
    byId('waiting-leave').addEventListener('click', () => this.#abort.abort());
  }

  /** For a new attempt: its signal is aborted when the visitor does not want to wait. */
  reset(): { signal: AbortSignal } {
    this.#abort = new AbortController();
    return { signal: this.#abort.signal };
  }

  /** Shows why. */
  show(reason: WaitReason): void {
    byId('waiting-text').textContent = TEXTS[reason];
    byId('waiting').hidden = false;
  }

  /** Hides it. */
  hide(): void {
    byId('waiting').hidden = true;
  }
}
