/**
 * The floor of a lecture: who may speak, who asks for it.
 *
 * @module
 */

import type { Participant } from './participant.js';
import type { FloorMessage } from './protocol.js';

/** What a {@link Floor} needs from its room. */
export interface FloorHost {
  /** Asks for the floor, or gives it or the request back. */
  ask(wanted: boolean): void;
  /** Who has an id. */
  find(id: string): Participant | undefined;
  /** Own participant id. */
  me(): string;
}

/** The floor, in lecture mode. */
export class Floor {
  #holders: readonly string[] = [];
  #requests: readonly string[] = [];

  /** @internal */
  constructor(private readonly host: FloorHost) {}

  /** Asks for the floor; `floor` is emitted when it is given or refused. */
  request(): void {
    this.host.ask(true);
  }

  /** Gives the floor back, or takes the request back. */
  release(): void {
    this.host.ask(false);
  }

  /** Who holds it. */
  get holders(): Participant[] {
    return this.#find(this.#holders);
  }

  /** Who asks for it, in order. Only moderators see others than themselves. */
  get requests(): Participant[] {
    return this.#find(this.#requests);
  }

  /** Whether this client holds it. */
  get held(): boolean {
    return this.#holders.includes(this.host.me());
  }

  /** Whether this client asks for it. */
  get requested(): boolean {
    return this.#requests.includes(this.host.me());
  }

  /** @internal */
  update({ holders, requests }: Pick<FloorMessage, 'holders' | 'requests'>): void {
    this.#holders = holders;
    this.#requests = requests;
  }

  #find(ids: readonly string[]): Participant[] {
    return ids.map((id) => this.host.find(id)).filter((each) => each !== undefined);
  }
}
