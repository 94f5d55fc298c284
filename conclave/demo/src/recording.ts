/** The recording of the call: the sign, the button, the consent, and where each recording stands. */

import type { Room } from '@conclave/web';
import { fetchRecordings, type RecordingLine, type RecordingState } from './backend.js';
import { byId, make } from './dom.js';

/** Time between two looks at recordings that are on their way, in milliseconds. */
const LOOK_MS = 3_000;
/** The same after a look that failed. */
const LOOK_AGAIN_MS = 15_000;

const STATES: Record<RecordingState, string> = {
  recording: 'being recorded',
  paused: 'paused',
  recorded: 'recorded',
  finalizing: 'files are being made',
  pushing: 'on its way to the storage',
  push_blocked: 'the storage refuses it',
  delivered: 'delivered and verified',
  purged: 'nothing of it is here any more',
};

/** What a line of the list says. */
export function describeRecording({ state, progress, files, blocked }: RecordingLine): string {
  const words = [STATES[state] ?? state];
  if (typeof progress === 'number') words.push(`${progress} %`);
  if (blocked) words.push(`${blocked.reason}, the ${blocked.blame} must act`);
  if (files > 0) words.push(files === 1 ? '1 file' : `${files} files`);
  return words.join(' · ');
}

/** Whether something of a recording still changes by itself. */
export function isUnderWay({ state }: Pick<RecordingLine, 'state'>): boolean {
  return state !== 'purged';
}

/** Shows it all, and asks for the consent. */
export class RecordingView {
  readonly #dialog = byId<HTMLDialogElement>('consent');
  readonly #list = byId('recording-list');
  #timer: ReturnType<typeof setTimeout> | null = null;
  #closed = false;
  /** Looks are counted: an answer to an older one is not shown. */
  #looks = 0;
  #known: RecordingLine[] = [];
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
    const nothing = this.#known.length === 0 && byId('consent-row').hidden && pause.hidden;
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
      (lines) => this.#show(number, lines),
      () => this.#again(number, LOOK_AGAIN_MS),
    );
  }

  #show(number: number, lines: RecordingLine[]): void {
    if (this.#closed || number !== this.#looks) return;
    this.#known = lines;
    this.#list.replaceChildren(...lines.map(row));
    this.update();
    if (lines.some(isUnderWay)) this.#again(number, LOOK_MS);
  }

  #again(number: number, pause: number): void {
    if (this.#closed || number !== this.#looks) return;
    this.#timer = setTimeout(() => this.#look(), pause);
  }
}

function row(line: RecordingLine): HTMLElement {
  const time = new Date(line.started_at);
  const began = time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  const item = make(
    'li',
    'recording-line',
    make('strong', '', began),
    make('span', '', describeRecording(line)),
  );
  item.dataset.state = line.state;
  item.dataset.recording = line.id;
  return item;
}
