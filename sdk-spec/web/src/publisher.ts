/**
 * What this client publishes, over every session of its stay.
 *
 * @module
 */

import { openCamera, openMicrophone, openScreen } from './capture.js';
import { type ConclaveError, type ConclaveErrorCode, LeftError, PublishError } from './errors.js';
import type { PublishOptions, UnpublishReason } from './options.js';
import type { Grants, LeaveReason, Source } from './protocol.js';
import type { Session } from './session.js';
import { type Capture, LocalTrack } from './tracks.js';

/** Ends of a publication that are not the track's fault: its device must stay open. */
const INTERRUPTED: readonly ConclaveErrorCode[] = ['unpublished', 'connection_lost'];

/** What a {@link Publisher} needs and tells. */
export interface PublisherHost {
  /** The present session, null while there is none. */
  session(): Pick<Session, 'media' | 'link'> | null;
  /** What may be done now. */
  grants(): Readonly<Grants>;
  /** Sources that a moderator muted. */
  mutedByServer(): ReadonlySet<Source>;
  /** Why the room was left, null while it is not. */
  leaveReason(): LeaveReason | null;
  published(track: LocalTrack): void;
  unpublished(track: LocalTrack, reason: UnpublishReason): void;
  muted(track: LocalTrack, muted: boolean): void;
  /** Something failed that no call was waiting for. */
  failed(error: ConclaveError): void;
}

/** Own tracks, at most one of each source. */
export class Publisher {
  /** The tracks, by source. */
  readonly tracks = new Map<Source, LocalTrack>();
  #muting: Promise<void> = Promise.resolve();

  constructor(private readonly host: PublisherHost) {}

  /** Opens the camera and publishes it. */
  async camera(constraints?: MediaTrackConstraints, options?: PublishOptions): Promise<LocalTrack> {
    this.#mayPublish('camera');
    const capture = (): Promise<MediaStreamTrack> => openCamera(constraints);
    return this.#publish(await capture(), 'camera', options, capture);
  }

  /** Opens the microphone and publishes it. */
  async microphone(
    constraints?: MediaTrackConstraints,
    options?: PublishOptions,
  ): Promise<LocalTrack> {
    this.#mayPublish('microphone');
    return this.#publish(await openMicrophone(constraints), 'microphone', options, null);
  }

  /** Asks the user for a screen and publishes it, with its sound when that may be. */
  async screen(options?: DisplayMediaStreamOptions): Promise<LocalTrack[]> {
    this.#mayPublish('screen');
    const { video, audio } = await openScreen(options);
    const screen = this.#publish(video, 'screen', {}, null);
    const wantsSound = audio && this.host.grants().publish?.includes('screen_audio');
    if (!wantsSound) {
      audio?.stop();
      return [await screen];
    }
    return Promise.all([screen, this.#publish(audio, 'screen_audio', {}, null)]);
  }

  /** Publishes media of any origin. */
  async track(
    media: MediaStreamTrack,
    source: Source,
    options?: PublishOptions,
  ): Promise<LocalTrack> {
    this.#mayPublish(source);
    return this.#publish(media, source, options, null);
  }

  /** Ends a track and stops its device. Screen sound ends with the screen. */
  unpublish(track: LocalTrack, reason: UnpublishReason = 'unpublished'): void {
    if (this.tracks.get(track.source) !== track) return;
    this.host.session()?.media.unpublish(track);
    this.#forget(track, reason);
    const sound = this.tracks.get('screen_audio');
    if (track.source === 'screen' && sound) this.unpublish(sound, reason);
  }

  /** Sends other media in a track. */
  async replaceMedia(track: LocalTrack, media: MediaStreamTrack): Promise<void> {
    await this.host.session()?.media.replace(track, media);
    this.#watchEnd(track, media);
    media.enabled = !track.muted;
    track.setMedia(media);
  }

  /** Mutes or unmutes a track, in the order of the calls. */
  setMuted(track: LocalTrack, muted: boolean): Promise<void> {
    const change = this.#muting.then(() => this.#setMuted(track, muted));
    this.#muting = change.catch(() => undefined);
    return change;
  }

  /** The server says that a track is muted. Only towards silence: nobody else may open a microphone. */
  mutedBy(matches: (track: LocalTrack) => boolean): void {
    for (const track of this.tracks.values()) {
      if (matches(track) && !track.muted) void this.setMuted(track, true).catch(() => undefined);
    }
  }

  /** Ends what may not be published any more. */
  applyGrants(): void {
    const { publish = [] } = this.host.grants();
    for (const track of [...this.tracks.values()]) {
      if (!publish.includes(track.source)) this.unpublish(track, 'not_permitted');
    }
  }

  /** Publishes everything in a new session. Returns false when that was lost once more. */
  async republish(): Promise<boolean> {
    this.applyGrants();
    const session = this.host.session();
    for (const track of [...this.tracks.values()]) {
      // Lost once more: the next session publishes everything again.
      if (this.host.session() !== session) return false;
      await session?.media.publish(track).catch((error: ConclaveError) => {
        if (INTERRUPTED.includes(error.code)) return;
        this.#forget(track, 'failed');
        this.host.failed(error);
      });
    }
    return this.host.session() === session;
  }

  /** The session is gone; the tracks stay. */
  detach(): void {
    for (const track of this.tracks.values()) track.setId(null);
  }

  /** Ends everything and closes every device. */
  close(): void {
    for (const track of [...this.tracks.values()]) this.#forget(track, 'left');
  }

  #mayPublish(source: Source): void {
    const reason = this.host.leaveReason();
    if (reason) throw new LeftError(reason);
    if (!this.host.grants().publish?.includes(source)) throw PublishError.notPermitted(source);
    if (this.tracks.has(source)) throw PublishError.duplicate(source);
  }

  async #publish(
    media: MediaStreamTrack,
    source: Source,
    { muted = false, simulcast = false }: PublishOptions = {},
    capture: Capture | null,
  ): Promise<LocalTrack> {
    const held = this.host.mutedByServer().has(source);
    const track = new LocalTrack(source, media, muted || held, capture, simulcast);
    const session = this.host.session();
    try {
      // Opening the device took time; the room may have changed.
      this.#mayPublish(source);
      this.tracks.set(source, track);
      this.#watchEnd(track, media);
      await session?.media.publish(track);
    } catch (error) {
      if (!this.#isCarriedOver(track, session, error)) {
        if (this.tracks.get(source) === track) this.tracks.delete(source);
        media.stop();
        throw error;
      }
    }
    this.host.published(track);
    return track;
  }

  /** The session ended meanwhile, and the next one publishes the track. */
  #isCarriedOver(track: LocalTrack, session: unknown, error: unknown): boolean {
    const interrupted = INTERRUPTED.includes((error as ConclaveError).code);
    const wanted = this.tracks.get(track.source) === track && !this.host.leaveReason();
    return interrupted && wanted && this.host.session() !== session;
  }

  #watchEnd(track: LocalTrack, media: MediaStreamTrack): void {
    media.addEventListener('ended', () => {
      if (track.mediaStreamTrack === media) this.unpublish(track, 'ended');
    });
  }

  async #setMuted(track: LocalTrack, muted: boolean): Promise<void> {
    if (this.tracks.get(track.source) !== track || track.muted === muted) return;
    const held = !muted && this.host.mutedByServer().has(track.source);
    if (held) throw PublishError.mutedByServer(track.source);
    if (track.capture && !muted) await this.#reopen(track, track.capture);
    track.setMutedState(muted);
    if (track.id) this.host.session()?.link.send({ type: 'mute', track: track.id, muted });
    if (track.capture && muted) {
      track.mediaStreamTrack?.stop();
      track.setMedia(null);
      await this.host.session()?.media.replace(track, null);
    }
    this.host.muted(track, muted);
  }

  async #reopen(track: LocalTrack, capture: Capture): Promise<void> {
    const media = await capture();
    if (this.tracks.get(track.source) !== track) return media.stop();
    await this.replaceMedia(track, media);
  }

  #forget(track: LocalTrack, reason: UnpublishReason): void {
    this.tracks.delete(track.source);
    track.mediaStreamTrack?.stop();
    track.detach();
    this.host.unpublished(track, reason);
  }
}
