/**
 * Media that can be shown or played by elements of the page.
 *
 * @module
 */

/** A track whose media may change while elements show it. */
export abstract class Attachable {
  #elements = new Set<HTMLMediaElement>();
  #media: MediaStreamTrack | null = null;

  /** @internal Called when the browser does not let an element play yet. */
  onPlaybackBlocked: (() => void) | null = null;

  /** The browser's track, or null while there is none. It changes; `attach` follows it. */
  get mediaStreamTrack(): MediaStreamTrack | null {
    return this.#media;
  }

  /** Shows or plays the track in an element, also when its media changes or comes later. */
  attach(element: HTMLMediaElement): void {
    this.#elements.add(element);
    this.#fill(element);
  }

  /** Stops showing the track in an element, or in all of them. */
  detach(element?: HTMLMediaElement): void {
    for (const each of element ? [element] : [...this.#elements]) {
      if (this.#elements.delete(each)) each.srcObject = null;
    }
  }

  /** Elements that show the track. */
  get attachedElements(): HTMLMediaElement[] {
    return [...this.#elements];
  }

  /** @internal */
  setMedia(media: MediaStreamTrack | null): void {
    if (media === this.#media) return;
    this.#media = media;
    for (const element of this.#elements) this.#fill(element);
  }

  #fill(element: HTMLMediaElement): void {
    element.autoplay = true;
    element.setAttribute('playsinline', '');
    element.srcObject = this.#media ? new MediaStream([this.#media]) : null;
    if (this.#media) play(element, () => this.onPlaybackBlocked?.());
  }
}

/**
 * @internal Plays an element. `blocked` is called when the browser wants a click or key press
 * first; other failures mean that the element was changed meanwhile, and are ignored.
 */
export function play(element: HTMLMediaElement, blocked: () => void): void {
  element.play().catch((error: unknown) => {
    if (error instanceof Error && error.name === 'NotAllowedError') blocked();
  });
}
