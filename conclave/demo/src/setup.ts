/** The first screen: preview, choice of picture and sound, join. */

import { avatar } from './avatar.js';
import { byId } from './dom.js';
import { generatedPicture } from './generated.js';
import { randomHandle, shortHandle } from './identity.js';
import type { Params } from './params.js';

/** What the visitor chose. */
export interface Choice {
  room: string;
  code: string;
  handle: string;
  picture: 'camera' | 'generated' | 'off';
  sound: 'microphone' | 'tone' | 'off';
}

/** What goes wrong with a camera most often, by name of the exception. */
const CAMERA_NOTES: Record<string, string> = {
  NotAllowedError:
    'The camera is blocked. Allow it in the address bar, or use a generated picture.',
  NotFoundError: 'No camera was found. Use a generated picture, or join without.',
  NotReadableError: 'The camera is in use by another program.',
};

/** The first screen. */
export class Setup {
  readonly #root = byId('setup');
  readonly #form = byId<HTMLFormElement>('setup-form');
  readonly #video = byId<HTMLVideoElement>('preview-video');
  readonly #join = byId<HTMLButtonElement>('setup-join');
  #handle: string;
  #preview: MediaStreamTrack | null = null;
  #previewing = 0;

  /** @param joined - called with the choice; its failure is shown */
  constructor(
    params: Params,
    private readonly onJoin: (choice: Choice) => Promise<void>,
  ) {
    this.#handle = params.handle ?? randomHandle();
    byId<HTMLInputElement>('setup-room').value = params.room;
    byId<HTMLInputElement>('setup-code').value = params.code;
    byId('setup-address').hidden = params.room !== '' && params.code !== '';
    if (params.room) byId('setup-title').textContent = `Join “${params.room}”`;
    this.#choose('picture', params.source ?? 'camera');
    this.#choose('sound', params.source === 'generated' ? 'tone' : 'microphone');
    byId('setup-reroll').addEventListener('click', () => this.#reroll());
    this.#form.addEventListener('change', (event) => {
      if ((event.target as HTMLInputElement).name === 'picture') void this.#showPreview();
    });
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.submit();
    });
    this.#showIdentity();
  }

  /** Shows the screen. */
  show(): void {
    this.#root.hidden = false;
    void this.#showPreview();
  }

  /** Hides it and closes the preview. */
  hide(): void {
    this.#root.hidden = true;
    this.#stopPreview();
  }

  /** Joins with the present choice. */
  async submit(): Promise<void> {
    const problem = byId('setup-problem');
    problem.textContent = '';
    this.#join.disabled = true;
    this.#join.textContent = 'Joining…';
    try {
      await this.onJoin(this.#choice());
    } catch (error) {
      this.#root.hidden = false;
      byId('setup-address').hidden = false;
      problem.textContent = describe(error);
    } finally {
      this.#join.disabled = false;
      this.#join.textContent = 'Join';
    }
  }

  #choice(): Choice {
    const form = new FormData(this.#form);
    return {
      room: byId<HTMLInputElement>('setup-room').value.trim(),
      code: byId<HTMLInputElement>('setup-code').value.trim(),
      handle: this.#handle,
      picture: form.get('picture') as Choice['picture'],
      sound: form.get('sound') as Choice['sound'],
    };
  }

  #choose(name: string, value: string): void {
    const radio = this.#form.querySelector<HTMLInputElement>(`[name=${name}][value=${value}]`);
    if (radio) radio.checked = true;
  }

  #reroll(): void {
    this.#handle = randomHandle();
    this.#showIdentity();
    void this.#showPreview();
  }

  #showIdentity(): void {
    byId('setup-face').replaceChildren(avatar(this.#handle));
    byId('setup-handle').textContent = shortHandle(this.#handle);
    byId('preview-off').replaceChildren(avatar(this.#handle));
  }

  async #showPreview(): Promise<void> {
    this.#stopPreview();
    const turn = ++this.#previewing;
    const { picture } = this.#choice();
    let note = picture === 'off' ? 'Others see your avatar.' : '';
    try {
      const track = await this.#openPreview(picture);
      // Chosen otherwise, or joined, while the camera opened.
      if (turn !== this.#previewing || this.#root.hidden) return track?.stop();
      this.#preview = track;
    } catch (error) {
      note = CAMERA_NOTES[(error as Error).name] ?? 'The camera cannot be opened on this page.';
    }
    byId('preview-note').textContent = note;
    this.#video.hidden = this.#preview === null;
    byId('preview-off').hidden = this.#preview !== null;
    this.#video.classList.toggle('mirrored', picture === 'camera');
    this.#video.srcObject = this.#preview && new MediaStream([this.#preview]);
  }

  async #openPreview(picture: Choice['picture']): Promise<MediaStreamTrack | null> {
    if (picture === 'off') return null;
    if (picture === 'generated') return generatedPicture(this.#handle);
    const stream = await navigator.mediaDevices.getUserMedia({ video: true });
    return stream.getVideoTracks()[0] ?? null;
  }

  #stopPreview(): void {
    this.#previewing += 1;
    this.#preview?.stop();
    this.#preview = null;
    this.#video.srcObject = null;
  }
}

/** An error in a sentence or two, with the remedy when it has one. */
export function describe(error: unknown): string {
  if (!(error instanceof Error)) return 'Something went wrong. Try again.';
  const remedy = 'remedy' in error && typeof error.remedy === 'string' ? ` ${error.remedy}` : '';
  const text = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  return `${text.replace(/\.?$/, '.')}${remedy}`;
}
