/**
 * A room as an application uses it.
 *
 * @module
 */

import { openCamera, openMicrophone, openScreen } from './capture.js';
import { Emitter } from './emitter.js';
import {
  type ConclaveError,
  type ConclaveErrorCode,
  ConnectionError,
  LeftError,
  PublishError,
} from './errors.js';
import { TRACKS_WANTED_MAX } from './limits.js';
import type { RoomStats } from './monitor.js';
import type { ConnectionState, JoinOptions, PublishOptions, RoomEvents } from './options.js';
import { Participant } from './participant.js';
import { Playback } from './playback.js';
import type { Grants, JoinedMessage, LeaveReason, ServerMessage, Source } from './protocol.js';
import type { Quality } from './quality.js';
import { rejoin } from './rejoin.js';
import { Roster } from './roster.js';
import { Session, type SessionHandlers } from './session.js';
import type { SlotChange } from './slots.js';
import { type Capture, LocalTrack, type RemoteTrack } from './tracks.js';
import { socketUrl } from './url.js';
import { SDK } from './version.js';

/** Reasons after which a new join makes sense. */
const RECOVERABLE: readonly LeaveReason[] = ['timeout', 'server_error'];

/** Ends of a publication that are not the track's fault: its device must stay open. */
const INTERRUPTED: readonly ConclaveErrorCode[] = ['unpublished', 'connection_lost'];

/** A room that this client has joined. Make one with {@link Room.join}. */
export class Room extends Emitter<RoomEvents> {
  readonly #url: string;
  readonly #options: JoinOptions;
  readonly #roster: Roster;
  readonly #local = new Map<Source, LocalTrack>();
  readonly #playback = new Playback(() => this.emit('playbackBlocked'));
  #session: Session | null = null;
  #me: Participant | null = null;
  #roomId = '';
  #grants: Grants = {};
  #speakers: Participant[] = [];
  #state: ConnectionState = 'connecting';
  #leaveReason: LeaveReason | null = null;
  #rejoining = false;
  #muting: Promise<void> = Promise.resolve();

  private constructor(url: string, options: JoinOptions) {
    super();
    this.#url = socketUrl(url);
    this.#options = options;
    this.#roster = new Roster({
      participantJoined: (participant) => this.emit('participantJoined', participant),
      participantLeft: (participant, reason) => this.emit('participantLeft', participant, reason),
      trackPublished: (track) => this.#trackPublished(track),
      trackUnpublished: (track) => this.#trackUnpublished(track),
    });
  }

  /**
   * Joins a room.
   *
   * @param url - `wss://host/v1/ws`, or just `https://host`
   * @param token - a room token, single use
   * @throws {@link JoinRefusedError} when the server says no, {@link ConnectionError} when it
   * cannot be reached
   */
  static async join(url: string, token: string, options: JoinOptions = {}): Promise<Room> {
    const room = new Room(url, options);
    await room.#open(token);
    room.#watchPage(true);
    return room;
  }

  /** `rm_…`. */
  get id(): string {
    return this.#roomId;
  }

  /** This client in the room. */
  get localParticipant(): Participant {
    if (!this.#me) throw ConnectionError.lost();
    return this.#me;
  }

  /** Everybody else, by participant id. */
  get participants(): ReadonlyMap<string, Participant> {
    return this.#roster.participants;
  }

  /** Everybody else's tracks, by track id, received or not. */
  get tracks(): ReadonlyMap<string, RemoteTrack> {
    return this.#roster.tracks;
  }

  /** Own tracks, by source. */
  get localTracks(): ReadonlyMap<Source, LocalTrack> {
    return this.#local;
  }

  /** What the token grants. */
  get grants(): Readonly<Grants> {
    return this.#grants;
  }

  /** Who speaks now, loudest first. */
  get activeSpeakers(): readonly Participant[] {
    return this.#speakers;
  }

  /** State of the connection. */
  get connectionState(): ConnectionState {
    return this.#state;
  }

  /** Quality of the connection. */
  get quality(): Quality {
    return this.#session?.monitor.quality ?? 'poor';
  }

  /** Opens the camera and publishes it. Muting it closes the device. */
  async publishCamera(
    constraints?: MediaTrackConstraints,
    options?: PublishOptions,
  ): Promise<LocalTrack> {
    this.#mayPublish('camera');
    const capture = (): Promise<MediaStreamTrack> => openCamera(constraints);
    return this.#publish(await capture(), 'camera', options, capture);
  }

  /** Opens the microphone and publishes it. */
  async publishMicrophone(
    constraints?: MediaTrackConstraints,
    options?: PublishOptions,
  ): Promise<LocalTrack> {
    this.#mayPublish('microphone');
    return this.#publish(await openMicrophone(constraints), 'microphone', options, null);
  }

  /**
   * Asks the user for a screen, window or tab and publishes it, with its sound when the user
   * gives it and the token permits it.
   */
  async publishScreen(options?: DisplayMediaStreamOptions): Promise<LocalTrack[]> {
    this.#mayPublish('screen');
    const { video, audio } = await openScreen(options);
    const screen = this.#publish(video, 'screen', {}, null);
    const wantsSound = audio && this.#grants.publish?.includes('screen_audio');
    if (!wantsSound) {
      audio?.stop();
      return [await screen];
    }
    return Promise.all([screen, this.#publish(audio, 'screen_audio', {}, null)]);
  }

  /** Publishes media of any origin, a canvas for example. At most one track of each source. */
  async publishTrack(
    media: MediaStreamTrack,
    source: Source,
    options?: PublishOptions,
  ): Promise<LocalTrack> {
    this.#mayPublish(source);
    return this.#publish(media, source, options, null);
  }

  /** Ends an own track and stops its device. Screen sound ends with the screen. */
  unpublish(track: LocalTrack): void {
    if (this.#local.get(track.source) !== track) return;
    this.#session?.media.unpublish(track);
    this.#forget(track);
    const sound = this.#local.get('screen_audio');
    if (track.source === 'screen' && sound) this.unpublish(sound);
  }

  /** Sends other media in an own track, without the others noticing more than the picture. */
  async replaceMedia(track: LocalTrack, media: MediaStreamTrack): Promise<void> {
    await this.#session?.media.replace(track, media);
    this.#watchEnd(track, media);
    media.enabled = !track.muted;
    track.setMedia(media);
  }

  /** Mutes or unmutes an own track. A camera that the SDK opened is closed meanwhile. */
  setMuted(track: LocalTrack, muted: boolean): Promise<void> {
    const change = this.#muting.then(() => this.#setMuted(track, muted));
    this.#muting = change.catch(() => undefined);
    return change;
  }

  /** Names the tracks to receive first, most wanted first. Others follow in the server's order. */
  want(trackIds: string[]): void {
    this.#session?.link.send({ type: 'want', tracks: trackIds.slice(0, TRACKS_WANTED_MAX) });
  }

  /**
   * Plays the sound of everybody, now and later. Browsers may want a click first: then
   * `playbackBlocked` is emitted, and this is to be called again from a click.
   */
  playAudio(): void {
    this.#playback.start();
  }

  /** Statistics of the connection. */
  async stats(): Promise<RoomStats> {
    if (!this.#session) throw new LeftError(this.#leaveReason ?? 'timeout');
    return this.#session.monitor.stats();
  }

  /** Leaves the room and closes every device. */
  leave(): void {
    this.#end('left');
  }

  async #open(token: string): Promise<void> {
    const { session, joined } = await Session.open(
      this.#url,
      token,
      SDK,
      this.#options,
      this.#handlers(),
    );
    if (this.#leaveReason) return session.close();
    this.#session = session;
    this.#adopt(joined);
    session.start(joined);
    this.#setState(session.state);
  }

  #adopt(joined: JoinedMessage): void {
    this.#roomId = joined.room.id;
    this.#grants = joined.grants;
    this.#me = new Participant(joined.participant, true);
    for (const track of this.#local.values()) this.#me.tracks.add(track);
    this.#roster.sync(joined);
  }

  #handlers(): SessionHandlers {
    return {
      message: (message) => this.#hear(message),
      slotsChanged: (changes) => this.#slotsChanged(changes),
      audioSlot: (media) => this.#playback.add(media),
      isLive: (track) => this.#roster.tracks.get(track)?.muted === false,
      state: (state) => this.#setState(state),
      quality: (quality) => this.emit('quality', quality),
      failed: (error) => this.emit('error', error),
      lost: (error) => void this.#lost(error),
    };
  }

  #hear(message: ServerMessage): void {
    switch (message.type) {
      case 'participant_joined':
        return this.#roster.join(message.participant);
      case 'participant_left':
        return this.#roster.leave(message.participant, message.reason);
      case 'track_published':
        return this.#roster.publish(message.track);
      case 'track_unpublished':
        return this.#roster.unpublish(message.track);
      case 'track_muted':
        return this.#trackMuted(message.track, message.muted);
      case 'speakers':
        return this.#setSpeakers(message.participants);
      case 'left':
        return this.#leftByServer(message.reason);
    }
  }

  #slotsChanged(changes: SlotChange[]): void {
    for (const { track: id, mid } of changes) {
      const track = this.#roster.tracks.get(id);
      if (track) this.#setSlot(track, mid);
    }
  }

  #setSlot(track: RemoteTrack, mid: string | null): void {
    const before = track.subscribed;
    track.setMedia(mid === null ? null : (this.#session?.media.mediaOf(mid) ?? null));
    if (track.subscribed && !before) this.emit('trackSubscribed', track);
    if (!track.subscribed && before) this.emit('trackUnsubscribed', track);
  }

  #trackPublished(track: RemoteTrack): void {
    track.onPlaybackBlocked = () => this.emit('playbackBlocked');
    this.emit('trackPublished', track);
    const mid = this.#session?.media.slots.midOf(track.id);
    if (mid !== undefined) this.#setSlot(track, mid);
  }

  #trackUnpublished(track: RemoteTrack): void {
    this.#setSlot(track, null);
    track.detach();
    this.emit('trackUnpublished', track);
  }

  #trackMuted(id: string, muted: boolean): void {
    const remote = this.#roster.tracks.get(id);
    if (remote?.setMuted(muted)) this.emit('trackMuted', remote, muted);
    const own = [...this.#local.values()].find((track) => track.id === id);
    // Only towards silence: nobody else may open a microphone.
    if (own && muted && !own.muted) void this.setMuted(own, true);
  }

  #setSpeakers(ids: string[]): void {
    const everybody = [this.localParticipant, ...this.#roster.participants.values()];
    const speaking = new Set(ids);
    for (const each of everybody) each.speaking = speaking.has(each.id);
    this.#speakers = everybody
      .filter(({ id }) => speaking.has(id))
      .sort((a, b) => ids.indexOf(a.id) - ids.indexOf(b.id));
    this.emit('activeSpeakers', this.#speakers);
  }

  #mayPublish(source: Source): void {
    if (this.#leaveReason) throw new LeftError(this.#leaveReason);
    if (!this.#grants.publish?.includes(source)) throw PublishError.notPermitted(source);
    if (this.#local.has(source)) throw PublishError.duplicate(source);
  }

  async #publish(
    media: MediaStreamTrack,
    source: Source,
    { muted = false }: PublishOptions = {},
    capture: Capture | null,
  ): Promise<LocalTrack> {
    const track = new LocalTrack(source, media, muted, capture);
    try {
      // Opening the device took time; the room may have changed.
      this.#mayPublish(source);
      this.#local.set(source, track);
      this.#watchEnd(track, media);
      await this.#session?.media.publish(track);
    } catch (error) {
      if (this.#local.get(source) === track) this.#local.delete(source);
      media.stop();
      throw error;
    }
    this.#me?.tracks.add(track);
    this.emit('localTrackPublished', track);
    return track;
  }

  #watchEnd(track: LocalTrack, media: MediaStreamTrack): void {
    media.addEventListener('ended', () => {
      if (track.mediaStreamTrack === media) this.unpublish(track);
    });
  }

  async #setMuted(track: LocalTrack, muted: boolean): Promise<void> {
    if (this.#local.get(track.source) !== track || track.muted === muted) return;
    if (track.capture && !muted) await this.#reopen(track, track.capture);
    track.setMutedState(muted);
    if (track.id) this.#session?.link.send({ type: 'mute', track: track.id, muted });
    if (track.capture && muted) {
      track.mediaStreamTrack?.stop();
      track.setMedia(null);
      await this.#session?.media.replace(track, null);
    }
    this.emit('trackMuted', track, muted);
  }

  async #reopen(track: LocalTrack, capture: Capture): Promise<void> {
    const media = await capture();
    if (this.#local.get(track.source) !== track) return media.stop();
    await this.replaceMedia(track, media);
  }

  #forget(track: LocalTrack): void {
    this.#local.delete(track.source);
    this.#me?.tracks.delete(track);
    track.mediaStreamTrack?.stop();
    track.detach();
    this.emit('localTrackUnpublished', track);
  }

  #leftByServer(reason: LeaveReason): void {
    if (RECOVERABLE.includes(reason) && this.#options.refreshToken) {
      void this.#lost(ConnectionError.lost());
    } else {
      this.#end(reason);
    }
  }

  /** The session is over. Joins anew when the application can give a token, else leaves. */
  async #lost(error: ConclaveError): Promise<void> {
    this.#dropSession();
    const { refreshToken } = this.#options;
    if (this.#leaveReason || this.#rejoining) return;
    this.#rejoining = true;
    this.#setState('reconnecting');
    try {
      // A new session would not find a way through the firewall either.
      if (!refreshToken || error.code === 'media_unreachable') throw error;
      await rejoin({
        refreshToken,
        join: (token) => this.#open(token),
        cancelled: () => this.#leaveReason !== null,
      });
    } catch (last) {
      if (this.#leaveReason) return;
      this.emit('error', last as ConclaveError);
      return this.#end('timeout');
    }
    this.#rejoining = false;
    await this.#republish();
  }

  async #republish(): Promise<void> {
    const session = this.#session;
    for (const track of [...this.#local.values()]) {
      // Lost once more: the next join publishes everything again.
      if (this.#session !== session) return;
      await session?.media.publish(track).catch((error: ConclaveError) => {
        if (INTERRUPTED.includes(error.code)) return;
        this.#forget(track);
        this.emit('error', error);
      });
    }
    if (this.#session === session) this.emit('reconnected', { rejoined: true });
  }

  #dropSession(): void {
    this.#session?.close();
    this.#session = null;
    for (const track of this.#local.values()) track.setId(null);
    for (const track of this.#roster.tracks.values()) this.#setSlot(track, null);
    this.#playback.reset();
  }

  #setState(state: ConnectionState): void {
    const before = this.#state;
    if (state === before) return;
    this.#state = state;
    this.emit('connectionState', state);
    if (state === 'reconnecting') this.emit('reconnecting');
    if (before === 'reconnecting' && state === 'connected' && !this.#rejoining) {
      this.emit('reconnected', { rejoined: false });
    }
  }

  #end(reason: LeaveReason): void {
    if (this.#leaveReason) return;
    this.#leaveReason = reason;
    this.#watchPage(false);
    this.#dropSession();
    for (const track of [...this.#local.values()]) this.#forget(track);
    this.#setState('left');
    this.emit('left', reason);
  }

  #watchPage(on: boolean): void {
    const change = on ? 'addEventListener' : 'removeEventListener';
    globalThis.window?.[change]('online', this.#wake);
    globalThis.document?.[change]('visibilitychange', this.#wake);
    if (this.#options.leaveOnPageHide ?? true) globalThis.window?.[change]('pagehide', this.#hide);
  }

  readonly #wake = (): void => {
    if (document.visibilityState !== 'hidden') this.#session?.wake();
  };

  readonly #hide = (): void => this.leave();
}
