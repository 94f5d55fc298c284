/**
 * The recording of a room: what everybody in it is told, and what those do who may record.
 *
 * @module
 */

import { Emitter } from './emitter.js';
import type { RoomEvents } from './options.js';
import type { Action, ActionResult, ClientMessage, RecordingInfo, Source } from './protocol.js';

/** A recording that runs, or is paused. A change makes a new object: `recording`. */
export interface RecordingDetails {
  /** `rc_…`. */
  readonly id: string;
  /** Whether it is paused: nothing is recorded. */
  readonly paused: boolean;
  /** Whether only those are recorded who consent: see {@link Recorded.consent}. */
  readonly consentNeeded: boolean;
  /** What is recorded of those who are. */
  readonly sources: readonly Source[];
  /** Whether the texts are recorded too that they send to everybody, or to each other. */
  readonly data: boolean;
}

/** What a room knows of its recording. */
export abstract class Recorded extends Emitter<RoomEvents> {
  #recording: RecordingDetails | null = null;
  #consents = false;

  /** What is recorded now; null: nothing. `recording` tells of every change, and at the join. */
  get recording(): RecordingDetails | null {
    return this.#recording;
  }

  /** Whether this client said that it consents. A new session begins without: ask again. */
  get consents(): boolean {
    return this.#consents;
  }

  /**
   * Starts a recording as the room's and the project's rules say. Everybody is told before anything
   * is recorded. Needs the grant `record`, like the other three.
   *
   * @throws {@link ActionError}, `not_configured` when the project cannot record
   */
  startRecording(): Promise<ActionResult> {
    return this.act({ type: 'start_recording' });
  }

  /** Records nothing for a while. */
  pauseRecording(): Promise<ActionResult> {
    return this.act({ type: 'pause_recording' });
  }

  /** Goes on after a pause. */
  resumeRecording(): Promise<ActionResult> {
    return this.act({ type: 'resume_recording' });
  }

  /** Ends the recording. */
  stopRecording(): Promise<ActionResult> {
    return this.act({ type: 'stop_recording' });
  }

  /**
   * Consents to being recorded in this session from now on, or takes that back: then nothing more of
   * this client is recorded. For rooms in which `recording.consentNeeded`.
   */
  consent(granted: boolean): void {
    this.say({ type: 'consent', granted });
    this.#consents = granted;
  }

  /** @internal Carries out an action. */
  protected abstract act(action: Action): Promise<ActionResult>;

  /** @internal Says something to the server. */
  protected abstract say(message: ClientMessage): void;

  /**
   * @internal A new session: the consent was for the one before. Told soon: at the first join nobody
   * can listen yet.
   */
  protected recordingAtJoin(info: RecordingInfo | null | undefined): void {
    const before = this.#recording;
    this.#recording = details(info);
    this.#consents = false;
    if (before ?? this.#recording) setTimeout(() => this.#tell());
  }

  /** @internal What is recorded now. */
  protected recordingIs(info: RecordingInfo | null | undefined): void {
    const before = JSON.stringify(this.#recording);
    this.#recording = details(info);
    if (JSON.stringify(this.#recording) !== before) this.#tell();
  }

  /** @internal The server says so: nothing is recorded of us before it knows that we know. */
  protected recordingTold(info: RecordingInfo | null | undefined): void {
    this.recordingIs(info);
    if (info) this.say({ type: 'ping' });
  }

  #tell(): void {
    this.emit('recording', this.#recording);
  }
}

function details(info: RecordingInfo | null | undefined): RecordingDetails | null {
  if (!info) return null;
  const { id, paused, consent, sources, data } = info;
  return { id, paused, consentNeeded: consent, sources, data };
}
