/**
 * Decides when the media path is down, and what is done about it.
 *
 * ```text
 *  starting ──up──▶ up ──disconnected for 1.5 s, failed, or interrupted──▶ down
 *     │              ▲                                                      │ ICE restart,
 *     │              └────────────────── up again ──────────────────────────┤ again every 5 s
 *     └──failed──▶ down                                                     └─30 s─▶ given up
 * ```
 *
 * @module
 */

import { DISCONNECTED_MS, ICE_RESTART_MS, MEDIA_LOST_MS } from './limits.js';

/** State of the media path. */
export type PathState = 'starting' | 'up' | 'down';

/** What a {@link PathWatch} asks of its owner. */
export interface PathHandlers {
  /** The state changed. */
  changed(state: PathState): void;
  /** ICE is to be restarted. */
  restart(): void;
  /** The path did not come back, or, when it never was up, cannot be made. */
  lost(wasUp: boolean): void;
}

/** Watches the media path of one session. */
export class PathWatch {
  #state: PathState = 'starting';
  #wasUp = false;
  #doubt: ReturnType<typeof setTimeout> | undefined;
  #restarts: ReturnType<typeof setInterval> | undefined;
  #end: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly handlers: PathHandlers) {}

  /** Present state. */
  get state(): PathState {
    return this.#state;
  }

  /** `connectionState` of the peer connection changed. */
  handleTransport(state: RTCPeerConnectionState): void {
    clearTimeout(this.#doubt);
    if (state === 'connected') this.handleUp();
    else if (state === 'failed') this.handleDown();
    else if (state === 'disconnected') {
      this.#doubt = setTimeout(() => this.handleDown(), DISCONNECTED_MS);
    }
  }

  /** Media flows, says the browser or the server. */
  handleUp(): void {
    this.#stopTimers();
    this.#wasUp = true;
    this.#become('up');
  }

  /** Media does not flow, says the browser or the server. */
  handleDown(): void {
    if (this.#state === 'down') return;
    this.#stopTimers();
    this.#restarts = setInterval(() => this.handlers.restart(), ICE_RESTART_MS);
    this.#end = setTimeout(() => {
      this.#stopTimers();
      this.handlers.lost(this.#wasUp);
    }, MEDIA_LOST_MS);
    this.#become('down');
    this.handlers.restart();
  }

  /** The network changed: restarts at once when the path is down or in doubt. */
  wake(transport: RTCPeerConnectionState): void {
    if (this.#state === 'down') this.handlers.restart();
    else if (transport === 'disconnected') this.handleDown();
  }

  /** Stops. */
  close(): void {
    this.#stopTimers();
  }

  #become(state: PathState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.handlers.changed(state);
  }

  #stopTimers(): void {
    clearTimeout(this.#doubt);
    clearInterval(this.#restarts);
    clearTimeout(this.#end);
  }
}
