/**
 * Offers, one in flight. Changes that come meanwhile are gathered into the next one, so the
 * newest state wins.
 *
 * ```text
 *  idle ──request──▶ offering ──answer──▶ idle, or again when something changed meanwhile
 *                       └──refusal, timeout──▶ rolled back
 * ```
 *
 * @module
 */

import { type ConclaveError, ConnectionError } from './errors.js';
import { ANSWER_MS } from './limits.js';
import type { OfferedTrack, PublishedTrack } from './protocol.js';
import { withoutAddresses } from './sdp.js';

/** What a {@link Negotiation} needs from its owner. */
export interface NegotiationHost {
  /** Tracks that the local description carries; called when every mid is known. */
  offeredTracks(): OfferedTrack[];
  /** Sends the offer. */
  sendOffer(offer: { id: number; sdp: string; tracks: OfferedTrack[] }): void;
  /** The offer was answered and applied. */
  answered(tracks: PublishedTrack[], offered: OfferedTrack[]): void;
  /** The offer failed and was rolled back; null when the browser could not even make it. */
  refused(error: unknown, offered: OfferedTrack[] | null): void;
}

type Outcome = { sdp: string; tracks: PublishedTrack[] } | { error: ConclaveError };

/** The part of a peer connection that negotiating needs. */
export type NegotiatingPeer = Pick<
  RTCPeerConnection,
  | 'localDescription'
  | 'restartIce'
  | 'setLocalDescription'
  | 'setRemoteDescription'
  | 'signalingState'
>;

/** Serializes the offers of one peer connection. */
export class Negotiation {
  #id = 0;
  #wanted = false;
  #running = false;
  #closed = false;
  #waiting: { id: number; settle(outcome: Outcome): void } | null = null;

  constructor(
    private readonly pc: NegotiatingPeer,
    private readonly host: NegotiationHost,
  ) {}

  /** Offers the present state soon: changes of the same task go together. */
  request(options: { iceRestart?: boolean } = {}): void {
    this.#wanted = true;
    if (options.iceRestart && !this.#closed) this.pc.restartIce();
    if (this.#running || this.#closed) return;
    this.#running = true;
    setTimeout(() => void this.#run(), 0);
  }

  /** An answer arrived. One to an offer that is not in flight is ignored. */
  handleAnswer(id: number, sdp: string, tracks: PublishedTrack[]): void {
    if (this.#waiting?.id === id) this.#waiting.settle({ sdp, tracks });
  }

  /** The server refused an offer. */
  handleRefusal(id: number, error: ConclaveError): void {
    if (this.#waiting?.id === id) this.#waiting.settle({ error });
  }

  /** Stops; nothing is called any more. */
  close(): void {
    this.#closed = true;
    this.#waiting?.settle({ error: ConnectionError.lost() });
  }

  async #run(): Promise<void> {
    while (this.#wanted && !this.#closed) {
      this.#wanted = false;
      await this.#offer();
    }
    this.#running = false;
  }

  async #offer(): Promise<void> {
    let offered: OfferedTrack[] | null = null;
    try {
      // Without an argument, creating and applying is one step: no change can come between.
      await this.pc.setLocalDescription();
      if (this.#closed) return;
      offered = this.host.offeredTracks();
      const sdp = withoutAddresses(this.pc.localDescription?.sdp ?? '');
      const outcome = await this.#ask(sdp, offered);
      if (this.#closed) return;
      if ('error' in outcome) throw outcome.error;
      await this.pc.setRemoteDescription({ type: 'answer', sdp: outcome.sdp });
      if (!this.#closed) this.host.answered(outcome.tracks, offered);
    } catch (error) {
      if (this.#closed) return;
      await this.#rollBack();
      this.host.refused(error, offered);
    }
  }

  #ask(sdp: string, tracks: OfferedTrack[]): Promise<Outcome> {
    this.#id += 1;
    const id = this.#id;
    return new Promise((resolve) => {
      const settle = (outcome: Outcome): void => {
        clearTimeout(timer);
        this.#waiting = null;
        resolve(outcome);
      };
      const timer = setTimeout(() => settle({ error: ConnectionError.lost() }), ANSWER_MS);
      this.#waiting = { id, settle };
      this.host.sendOffer({ id, sdp, tracks });
    });
  }

  async #rollBack(): Promise<void> {
    if (this.pc.signalingState !== 'have-local-offer') return;
    await this.pc.setLocalDescription({ type: 'rollback' }).catch(() => undefined);
  }
}
