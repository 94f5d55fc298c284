/**
 * Sound of all slots. The loudest speakers share the audio slots, so an element per slot, not
 * per track, plays everybody: nothing is rebuilt when the speakers change.
 *
 * @module
 */

import { play } from './attachable.js';

/** Plays the audio slots of a room. */
export class Playback {
  #media: MediaStreamTrack[] = [];
  #elements: HTMLAudioElement[] = [];
  #on = false;

  /** @param blocked - called when the browser wants a click or key press first */
  constructor(private readonly blocked: () => void) {}

  /** A new slot. */
  add(media: MediaStreamTrack): void {
    this.#media.push(media);
    if (this.#on) this.#play(media);
  }

  /** Starts, or starts again what the browser had blocked. Call it from a click. */
  start(): void {
    if (this.#on) {
      for (const element of this.#elements) play(element, this.blocked);
      return;
    }
    this.#on = true;
    for (const media of this.#media) this.#play(media);
  }

  /** Stops and forgets every slot: the session is over. Later slots play again. */
  reset(): void {
    for (const element of this.#elements) {
      element.pause();
      element.srcObject = null;
    }
    this.#elements = [];
    this.#media = [];
  }

  /** Sends the sound to another output, where the browser can. */
  async setOutput(deviceId: string): Promise<void> {
    for (const element of this.#elements) await element.setSinkId(deviceId);
  }

  #play(media: MediaStreamTrack): void {
    const element = new Audio();
    element.srcObject = new MediaStream([media]);
    this.#elements.push(element);
    play(element, this.blocked);
  }
}
