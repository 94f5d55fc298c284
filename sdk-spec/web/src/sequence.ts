/**
 * Sequence numbers of both directions and the messages that may have to be sent again.
 *
 * @module
 */

import type { ClientMessage, Envelope } from './protocol.js';

/** A client message in its envelope. */
export type SentMessage = Envelope & ClientMessage;

/** One session's sequence state; survives cuts of the socket. */
export class Sequence {
  #sent = 0;
  #received = 0;
  #unacknowledged: { seq: number; message: ClientMessage }[] = [];

  /** @param capacity - most messages kept for sending again */
  constructor(readonly capacity: number) {}

  /** Highest `seq` received. */
  get received(): number {
    return this.#received;
  }

  /** Messages that the other side has not acknowledged. */
  get pending(): number {
    return this.#unacknowledged.length;
  }

  /**
   * Numbers a message and keeps it until it is acknowledged.
   *
   * @returns the envelope to send, or `null` when too many messages wait: the session is lost.
   */
  wrap(message: ClientMessage): SentMessage | null {
    if (this.#unacknowledged.length >= this.capacity) return null;
    this.#sent += 1;
    this.#unacknowledged.push({ seq: this.#sent, message });
    return { seq: this.#sent, ack: this.#received, ...message };
  }

  /** Forgets messages up to `ack`. A number that was never sent changes nothing. */
  acknowledge(ack: number): void {
    if (ack > this.#sent) return;
    this.#unacknowledged = this.#unacknowledged.filter(({ seq }) => seq > ack);
  }

  /** Judges and notes a received number: numbers come without gaps, repeated after a resume. */
  accept(seq: number): 'new' | 'repeated' | 'gap' {
    if (seq <= this.#received) return 'repeated';
    if (seq > this.#received + 1) return 'gap';
    this.#received = seq;
    return 'new';
  }

  /** Messages after `received`, with present acks, to send again after a resume. */
  resend(received: number): SentMessage[] {
    this.acknowledge(received);
    return this.#unacknowledged.map(({ seq, message }) => ({
      seq,
      ack: this.#received,
      ...message,
    }));
  }
}
