/**
 * A small typed event emitter.
 *
 * @module
 */

/** Names and argument lists of events. */
export type EventMap<E> = { [K in keyof E]: unknown[] };

/** A function that is called with an event's arguments. */
export type Listener<A extends unknown[]> = (...args: A) => void;

/** Emits the events of `E`, a map of event names to argument tuples. */
export class Emitter<E extends EventMap<E>> {
  readonly #listeners = new Map<keyof E, Set<Listener<never>>>();

  /** Calls `listener` at each `event`. Returns a function that removes it again. */
  on<K extends keyof E>(event: K, listener: Listener<E[K]>): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners);
    listeners.add(listener);
    return () => this.off(event, listener);
  }

  /** Calls `listener` at the next `event` only. Returns a function that removes it again. */
  once<K extends keyof E>(event: K, listener: Listener<E[K]>): () => void {
    const remove = this.on(event, (...args) => {
      remove();
      listener(...args);
    });
    return remove;
  }

  /** Removes a listener. */
  off<K extends keyof E>(event: K, listener: Listener<E[K]>): void {
    this.#listeners.get(event)?.delete(listener);
  }

  /** Calls the listeners in order. One that throws is reported and does not stop the others. */
  protected emit<K extends keyof E>(event: K, ...args: E[K]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        (listener as Listener<E[K]>)(...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
