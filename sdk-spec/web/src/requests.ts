/**
 * What one session asked the server for by itself and not by the room: actions and renewals.
 *
 * @module
 */

import { ActionError, type ConclaveError, ConnectionError } from './errors.js';
import { REQUEST_MS } from './limits.js';
import type { ActedMessage, Action, ActionResult, ClientMessage } from './protocol.js';

interface Pending<T> {
  resolve(value: T): void;
  reject(error: ConclaveError): void;
}

/** Requests of one session that wait for their answer. */
export class Requests {
  #id = 0;
  #closed = false;
  readonly #acting = new Map<number, Pending<ActionResult>>();
  /** In order: the server answers renewals without a number, one after the other. */
  readonly #renewing: Pending<void>[] = [];

  constructor(private readonly send: (message: ClientMessage) => void) {}

  /** Asks for an action. */
  act(action: Action): Promise<ActionResult> {
    this.#id += 1;
    const id = this.#id;
    return this.#ask<ActionResult>((pending) => this.#acting.set(id, pending), {
      type: 'act',
      id,
      action,
    }).finally(() => this.#acting.delete(id));
  }

  /** Asks for role and grants of a new token. */
  renew(token: string): Promise<void> {
    return this.#ask<void>((pending) => this.#renewing.push(pending), { type: 'renew', token });
  }

  /** The server answered an action. */
  handleActed({ id, result, refused }: ActedMessage): void {
    const pending = this.#acting.get(id);
    if (refused) pending?.reject(ActionError.refused(refused));
    else pending?.resolve(result ?? { version: 0, participants: 0 });
  }

  /** The server took a new token. */
  handleRenewed(): void {
    this.#renewing.shift()?.resolve();
  }

  /** The server reported an error. Returns whether it was the answer to a renewal. */
  handleError(error: ConclaveError): boolean {
    if (error.code !== 'token_refused') return false;
    const pending = this.#renewing.shift();
    pending?.reject(error);
    return pending !== undefined;
  }

  /** The session is over: nothing is answered any more. */
  close(): void {
    this.#closed = true;
    for (const each of [...this.#acting.values(), ...this.#renewing]) {
      each.reject(ConnectionError.lost());
    }
    this.#acting.clear();
    this.#renewing.length = 0;
  }

  #ask<T>(keep: (pending: Pending<T>) => void, message: ClientMessage): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed) return reject(ConnectionError.lost());
      const timer = setTimeout(() => reject(ConnectionError.unanswered()), REQUEST_MS);
      const settled =
        <A>(settle: (value: A) => void) =>
        (value: A) => {
          clearTimeout(timer);
          settle(value);
        };
      keep({ resolve: settled(resolve), reject: settled(reject) });
      this.send(message);
    });
  }
}
