/**
 * What the browser tells about the page: the network is back, the page is shown, or closed.
 *
 * @module
 */

/** Watches the page while a room is joined. Does nothing where there is none. */
export class PageWatch {
  /**
   * @param wake - called when the network may have changed
   * @param hide - called when the page is closed
   */
  constructor(
    private readonly wake: () => void,
    private readonly hide: () => void,
  ) {}

  /** Begins. */
  start(): void {
    globalThis.window?.addEventListener('online', this.#wake);
    globalThis.document?.addEventListener('visibilitychange', this.#wake);
    globalThis.window?.addEventListener('pagehide', this.hide);
  }

  /** Ends. */
  stop(): void {
    globalThis.window?.removeEventListener('online', this.#wake);
    globalThis.document?.removeEventListener('visibilitychange', this.#wake);
    globalThis.window?.removeEventListener('pagehide', this.hide);
  }

  readonly #wake = (): void => {
    if (document.visibilityState !== 'hidden') this.wake();
  };
}
