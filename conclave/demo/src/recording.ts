/** The recording of the call: the sign, the button, the consent, and where each recording stands. */

import type { Room } from '@conclave/web';
import { fetchRecordings, type Recordings } from './backend.js';
import { byId } from './dom.js';
import { isUnderWay, RecordingRow } from './recording-row.js';

/** Time between two looks at recordings that are on their way, in milliseconds. */
const LOOK_MS = 3_000;
/** The same after a look that failed. */
const LOOK_AGAIN_MS = 15_000;

/** Shows it all, and asks for the consent. */
export class RecordingView {
  readonly #dialog = byId<HTMLDialogElement>('consent');
  readonly #list = byId('recording-list');
  #timer: ReturnType<typeof setTimeout> | null = null;
  #closed = false;
  /** Looks are counted: an answer to an older one is not shown. */
  #looks = 0;
  /** Rows by recording: they stay open while what they say changes. */
  #rows = new Map<string, RecordingRow>();
  /** The recording that the visitor does not agree to: not asked about again. */
  #refused: string | null = null;

  constructor(
    private readonly room: Room,
    private readonly code: string,
    private readonly failed: (error: unknown) => void,
    signal: AbortSignal,
  ) {
    const on = (id: string, event: string, act: () => void): void =>
      byId(id).addEventListener(event, act, { signal });
    on('consent-yes', 'click', () => this.#answer(true));
    on('consent-no', 'click', () => this.#answer(false));
    // Escape is no consent.
    on('consent', 'cancel', () => this.#answer(false));
    on('consent-switch', 'change', () =>
      this.#answer(byId<HTMLInputElement>('consent-switch').checked),
    );
    on('recording-pause', 'click', () => {
      const paused = room.recording?.paused === true;
      (paused ? room.resumeRecording() : room.pauseRecording()).catch(failed);
    });
    this.#look();
  }

  /** Starts a recording, or ends it. */
  toggle(): Promise<unknown> {
    return this.room.recording ? this.room.stopRecording() : this.room.startRecording();
  }

  /** What is recorded changed, or this client came in while something is. */
  changed(): void {
    const { recording, consents } = this.room;
    if (recording?.consentNeeded && !consents && recording.id !== this.#refused) {
      byId('consent-what').textContent = recording.data
        ? 'Your picture, sound and texts are'
        : 'Your picture and sound are';
      if (!this.#dialog.open) this.#dialog.showModal();
    } else if (this.#dialog.open) {
      this.#dialog.close();
    }
    this.update();
    this.#look();
  }

  /** Brings sign and panel in step with the room. */
  update(): void {
    const { recording, grants, consents } = this.room;
    const sign = byId('call-recording');
    sign.hidden = recording === null;
    sign.dataset.paused = String(recording?.paused === true);
    const text = recording?.paused ? 'Recording paused' : 'Recording';
    const shown = byId('call-recording-text');
    // Only when it changes: it is read aloud then.
    if (shown.textContent !== text) shown.textContent = text;
    byId('consent-row').hidden = recording?.consentNeeded !== true;
    byId<HTMLInputElement>('consent-switch').checked = consents;
    const pause = byId('recording-pause');
    pause.hidden = recording === null || grants.record !== true;
    pause.textContent = recording?.paused ? 'Go on recording' : 'Pause recording';
    const nothing = this.#rows.size === 0 && byId('consent-row').hidden && pause.hidden;
    byId('panel-recordings').hidden = nothing;
  }

  /** Forgets everything. */
  close(): void {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#dialog.open) this.#dialog.close();
    this.#list.replaceChildren();
  }

  #answer(granted: boolean): void {
    if (this.#dialog.open) this.#dialog.close();
    this.#refused = granted ? null : (this.room.recording?.id ?? null);
    try {
      this.room.consent(granted);
    } catch (error) {
      this.failed(error);
    }
    this.update();
  }

  #look(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#looks += 1;
    const number = this.#looks;
    fetchRecordings(this.code, this.room.id).then(
      (found) => this.#show(number, found),
      () => this.#again(number, LOOK_AGAIN_MS),
    );
  }

  #show(number: number, { opens, recordings }: Recordings): void {
    if (this.#closed || number !== this.#looks) return;
    const rows = recordings.map((line): [string, RecordingRow] => {
      const row = this.#rows.get(line.id) ?? new RecordingRow(this.code);
      row.show(line, opens);
      return [line.id, row];
    });
    this.#rows = new Map(rows);
    const elements = rows.map(([, row]) => row.element);
    // Moving an element closes what is open in it.
    const isSame = (element: Element, i: number): boolean => element === this.#list.children[i];
    if (elements.length !== this.#list.children.length || !elements.every(isSame)) {
      this.#list.replaceChildren(...elements);
    }
    this.update();
    // One that has just begun may not be in the list yet.
    if (this.room.recording !== null || recordings.some(isUnderWay)) this.#again(number, LOOK_MS);
  }

  #again(number: number, pause: number): void {
    if (this.#closed || number !== this.#looks) return;
    this.#timer = setTimeout(() => this.#look(), pause);
  }
}
