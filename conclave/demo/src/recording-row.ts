/** One recording in the list: where it stands, and, once it is gone from here, how to open it. */

import {
  fetchReceipt,
  type PurgeReason,
  type Receipt,
  type RecordingLine,
  type RecordingState,
} from './backend.js';
import { make } from './dom.js';

const STATES: Record<RecordingState, string> = {
  recording: 'being recorded',
  paused: 'paused',
  recorded: 'ended, the files come next',
  finalizing: 'the files are being made',
  pushing: 'on its way to the storage',
  push_blocked: 'the storage refuses it',
  delivered: 'arrived and verified',
  purging: 'is being deleted here',
  purged: 'deleted here',
};

const ENDINGS: Record<PurgeReason, string> = {
  delivered: 'delivered, and deleted here',
  expired: 'deleted: too old, it could not be delivered',
  deleted: 'deleted on request',
  empty: 'nothing was recorded',
  unreadable: 'deleted: it could not be read',
  lost: 'lost: the disk that it was on is missing',
};

/** What a line of the list says. */
export function describeRecording(line: RecordingLine): string {
  const { state, progress, files, blocked, purge_reason: reason } = line;
  const words = [(state === 'purged' && reason && ENDINGS[reason]) || STATES[state] || state];
  if (typeof progress === 'number') words.push(`${progress} %`);
  if (blocked) words.push(`${blocked.reason}, the ${blocked.blame} must act`);
  if (files > 0) words.push(files === 1 ? '1 file' : `${files} files`);
  return words.join(' · ');
}

/** What a receipt says, in short. */
export function describeReceipt({ receipt, key }: Receipt): string {
  const { purged_at_ms: at, keys } = JSON.parse(receipt) as {
    purged_at_ms: number;
    keys: { kind: string };
  };
  const follows = keys.kind === 'pending' ? ' The key that could open a copy of it follows.' : '';
  const time = new Date(at).toLocaleTimeString();
  return `Deleted here at ${time}: its key and its files.${follows} Signed by ${key}.`;
}

/** Whether something of a recording still changes by itself. */
export function isUnderWay({ state }: Pick<RecordingLine, 'state'>): boolean {
  return state !== 'purged';
}

/** Commands, run where `make run` was called, that check and open what was delivered. */
export function openingCommands({ receipt }: Receipt): string {
  const { project, room, recording } = JSON.parse(receipt) as Record<string, string>;
  const identity = 'data/demo-identity.txt';
  return [
    `F=data/delivered/${project}/${room}/${recording}`,
    '# whole, unchanged, and signed by this server?',
    'target/release/conclave recording verify $F \\',
    `  --key data/recorder/evidence/keys.json --identity ${identity}`,
    '# decrypted by stock age (apt-get install age)',
    'mkdir -p opened',
    'for f in $F/*.age; do',
    `  age -d -i ${identity} -o "opened/$(basename "$f" .age)" "$f"`,
    'done',
  ].join('\n');
}

/** An entry of the list. */
export class RecordingRow {
  readonly element = make('li', 'recording-line');
  readonly #time = make('strong', '');
  readonly #text = make('span', '');
  readonly #bar = make('progress', '');
  readonly #more = make('details', '');
  readonly #receipt = make('p', '');
  readonly #commands = make('pre', '');
  readonly #signed = make('pre', '');
  #isAsked = false;

  constructor(private readonly code: string) {
    this.#bar.max = 100;
    const head = make('div', 'recording-head', this.#time, this.#text);
    const sealed = make(
      'p',
      '',
      'The files are sealed. To open them, where “make run” was called:',
    );
    const text = make('details', '', make('summary', '', 'The signed receipt'), this.#signed);
    const summary = make('summary', '', 'Receipt, and how to open it');
    this.#more.append(summary, this.#receipt, sealed, this.#commands, text);
    this.#more.hidden = true;
    this.#more.addEventListener('toggle', () => this.#ask());
    this.element.append(head, this.#bar, this.#more);
  }

  /** Brings the entry in step; `opens`: the identity in the data directory opens it. */
  show(line: RecordingLine, opens: boolean): void {
    this.element.dataset.state = line.state;
    this.element.dataset.recording = line.id;
    const time = new Date(line.started_at);
    this.#time.textContent = time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
    this.#text.textContent = describeRecording(line);
    this.#bar.hidden = line.progress === null;
    this.#bar.value = line.progress ?? 0;
    this.#more.hidden = !opens || line.purge_reason !== 'delivered';
  }

  #ask(): void {
    if (!this.#more.open || this.#isAsked) return;
    this.#isAsked = true;
    fetchReceipt(this.code, this.element.dataset.recording ?? '').then(
      (receipt) => this.#tell(receipt),
      () => {
        this.#isAsked = false;
        this.#receipt.textContent = 'The receipt cannot be read now. Close this and try again.';
      },
    );
  }

  #tell(receipt: Receipt): void {
    this.#receipt.textContent = describeReceipt(receipt);
    this.#commands.textContent = openingCommands(receipt);
    this.#signed.textContent = receipt.receipt;
    this.#more.scrollIntoView({ block: 'nearest' });
  }
}
