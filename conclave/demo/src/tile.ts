/** A tile: somebody's camera or avatar, or a shared screen. */

import { type LocalTrack, type Participant, RemoteTrack } from '@conclave/web';
import { avatar } from './avatar.js';
import { icon, make } from './dom.js';
import { shortHandle } from './identity.js';

type AnyTrack = RemoteTrack | LocalTrack;

/** One tile. */
export class Tile {
  readonly element: HTMLElement;
  readonly #video = make('video', '');
  readonly #cover = make('div', 'cover');
  readonly #label = make('span', '');
  readonly #muted = icon('mic-off');
  readonly #raised = icon('hand');
  #track: AnyTrack | null = null;

  constructor(
    readonly participant: Participant,
    readonly kind: 'camera' | 'screen',
  ) {
    this.#video.muted = true;
    this.#video.hidden = true;
    this.#cover.append(avatar(participant.handle));
    this.#label.textContent = this.#title();
    this.element = make(
      'article',
      'tile',
      this.#video,
      this.#cover,
      make('div', 'tag', this.#muted, this.#raised, this.#label),
    );
    this.element.dataset.participant = participant.id;
    this.element.dataset.kind = kind;
    this.#muted.toggleAttribute('hidden', true);
    this.#raised.classList.add('raised');
    this.#raised.toggleAttribute('hidden', true);
  }

  /** Shows a track, or the avatar. Call it again when the track was muted or got a slot. */
  show(track: AnyTrack | null): void {
    if (track !== this.#track) this.#track?.detach(this.#video);
    if (track && track !== this.#track) track.attach(this.#video);
    this.#track = track;
    const seen = track !== null && track.mediaStreamTrack !== null && !track.muted;
    this.#video.hidden = !seen;
    this.#cover.hidden = seen;
    this.#video.classList.toggle('mirrored', isOwnCamera(track));
  }

  /** Shows whether the microphone is muted or missing. */
  showMuted(muted: boolean): void {
    this.#muted.toggleAttribute('hidden', !muted || this.kind === 'screen');
    const words = [
      this.#title(),
      muted ? 'muted' : '',
      this.participant.speaking ? 'speaking' : '',
    ];
    this.element.setAttribute('aria-label', words.filter(Boolean).join(', '));
  }

  /** Shows a raised hand. */
  showRaised(raised: boolean): void {
    this.#raised.toggleAttribute('hidden', !raised || this.kind === 'screen');
  }

  /** Marks the tile that everybody sees first. */
  showSpotlight(spotlit: boolean): void {
    this.element.classList.toggle('spotlit', spotlit && this.kind === 'camera');
  }

  /** Outlines the tile while its participant speaks. */
  showSpeaking(speaking: boolean): void {
    this.element.classList.toggle('speaking', speaking && this.kind === 'camera');
  }

  /** Takes it away. */
  remove(): void {
    this.#track?.detach(this.#video);
    this.element.remove();
  }

  #title(): string {
    const who = this.participant.isLocal ? 'You' : shortHandle(this.participant.handle);
    return this.kind === 'screen' ? `${who} · screen` : who;
  }
}

/** Only a real camera is a mirror: writing in generated pictures stays readable. */
function isOwnCamera(track: AnyTrack | null): boolean {
  return track !== null && !(track instanceof RemoteTrack) && track.capture !== null;
}
