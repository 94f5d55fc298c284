/**
 * A room as an application uses it.
 *
 * @module
 */

import { details, type RoomDetails } from './details.js';
import { type ConclaveError, ConnectionError, JoinRefusedError, LeftError } from './errors.js';
import { Floor } from './floor.js';
import { TRACKS_WANTED_MAX } from './limits.js';
import { Moderation, type Who } from './moderation.js';
import type { RoomStats } from './monitor.js';
import type { ConnectionState, JoinOptions, PublishOptions } from './options.js';
import { participantsInOrder, speakersInOrder, tracksInOrder } from './order.js';
import { PageWatch } from './page.js';
import { Participant } from './participant.js';
import { Playback } from './playback.js';
import type {
  Action,
  ActionResult,
  ClientMessage,
  Grants,
  JoinedMessage,
  LeaveReason,
  MoveMessage,
  ParticipantInfo,
  Role,
  RoomInfo,
  ServerMessage,
  Source,
  WaitReason,
} from './protocol.js';
import { Publisher } from './publisher.js';
import type { Quality } from './quality.js';
import { Recorded } from './recording.js';
import { RECOVERABLE, rejoin } from './rejoin.js';
import { Roster } from './roster.js';
import { Session, type SessionHandlers } from './session.js';
import type { SlotChange } from './slots.js';
import { checkState, checkText } from './text.js';
import type { LocalTrack, RemoteTrack } from './tracks.js';
import { socketUrl } from './url.js';
import { SDK } from './version.js';

/** A room that this client has joined. Make one with {@link Room.join}. */
export class Room extends Recorded {
  /** What moderators can do. */
  readonly moderate = new Moderation((action) => this.act(action));
  /** The floor, in lecture mode. */
  readonly floor = new Floor({
    ask: (wanted) => this.say({ type: 'floor', wanted }),
    find: (id) => this.#find(id),
    me: () => this.#me?.id ?? '',
  });
  readonly #url: string;
  readonly #options: JoinOptions;
  readonly #roster: Roster;
  readonly #publisher: Publisher;
  readonly #playback = new Playback(() => this.emit('playbackBlocked'));
  readonly #leaving = new AbortController();
  readonly #page = new PageWatch(
    () => this.#session?.wake(),
    () => (this.#options.leaveOnPageHide ?? true) && this.leave(),
  );
  #session: Session | null = null;
  /** Sessions are counted: what one says that is not the present one is not heard. */
  #sessions = 0;
  #present = 0;
  #me: Participant | null = null;
  #info: RoomDetails = details({ id: '' });
  #grants: Grants = {};
  #lobby: readonly Participant[] = [];
  #speakers: Participant[] = [];
  #state: ConnectionState = 'connecting';
  #leaveReason: LeaveReason | null = null;
  #rejoining = false;
  /** Whether the way to another room is under way, and whether this one is gone already. */
  #move: 'none' | 'going' | 'gone' = 'none';

  private constructor(url: string, options: JoinOptions) {
    super();
    this.#url = socketUrl(url);
    this.#options = options;
    this.#publisher = this.#newPublisher();
    this.#roster = new Roster({
      participantJoined: (participant) => this.emit('participantJoined', participant),
      participantUpdated: (participant) => this.emit('participantUpdated', participant),
      participantLeft: (participant, reason) => this.emit('participantLeft', participant, reason),
      trackPublished: (track) => this.#trackPublished(track),
      trackUnpublished: (track) => this.#trackUnpublished(track),
    });
  }

  /**
   * Joins a room. Who has to be let in waits for that: see `onWaiting` and `signal` of the options.
   *
   * @param url - `wss://host/v1/ws`, or just `https://host`
   * @param token - a room token, single use
   * @throws {@link JoinRefusedError} when the server says no, {@link LeftError} when a moderator
   * does or the application does not want to wait, {@link ConnectionError} when the server cannot
   * be reached
   */
  static async join(url: string, token: string, options: JoinOptions = {}): Promise<Room> {
    const room = new Room(url, options);
    if (options.signal?.aborted) throw new LeftError('left');
    options.signal?.addEventListener('abort', () => room.leave(), { once: true });
    await room.#enter(token);
    room.#page.start();
    return room;
  }

  /** `rm_…`. A move changes it. */
  get id(): string {
    return this.#info.id;
  }

  /** The room itself: mode, lock, end, breakout rooms, data. `roomUpdated` tells of changes. */
  get info(): RoomDetails {
    return this.#info;
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

  /** Everybody, in the order in which to show them: the spotlight first, then pins and the floor. */
  get participantsInOrder(): Participant[] {
    const everybody = [this.localParticipant, ...this.#roster.participants.values()];
    return participantsInOrder(everybody, this.#info, this.floor.holders);
  }

  /** Everybody else's tracks, by track id, received or not. */
  get tracks(): ReadonlyMap<string, RemoteTrack> {
    return this.#roster.tracks;
  }

  /** Everybody else's tracks in the order in which to show them: pins, the spotlight, screens. */
  get tracksInOrder(): RemoteTrack[] {
    const owner = (track: RemoteTrack): string => track.participant.id;
    return tracksInOrder([...this.#roster.tracks.values()], this.#info, owner);
  }

  /** Own tracks, by source. */
  get localTracks(): ReadonlyMap<Source, LocalTrack> {
    return this.#publisher.tracks;
  }

  /** What this client may do now. */
  get grants(): Readonly<Grants> {
    return this.#grants;
  }

  /** Whether this client may moderate. */
  get isModerator(): boolean {
    return this.#me?.role === 'moderator' || this.#grants.moderate === true;
  }

  /** Who waits to be let in, in order of arrival. Only moderators know. */
  get lobby(): readonly Participant[] {
    return this.#lobby;
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
  publishCamera(
    constraints?: MediaTrackConstraints,
    options?: PublishOptions,
  ): Promise<LocalTrack> {
    return this.#publisher.camera(constraints, options);
  }

  /** Opens the microphone and publishes it. */
  publishMicrophone(
    constraints?: MediaTrackConstraints,
    options?: PublishOptions,
  ): Promise<LocalTrack> {
    return this.#publisher.microphone(constraints, options);
  }

  /**
   * Asks the user for a screen, window or tab and publishes it, with its sound when the user
   * gives it and the grants permit it.
   */
  publishScreen(options?: DisplayMediaStreamOptions): Promise<LocalTrack[]> {
    return this.#publisher.screen(options);
  }

  /** Publishes media of any origin, a canvas for example. At most one track of each source. */
  publishTrack(
    media: MediaStreamTrack,
    source: Source,
    options?: PublishOptions,
  ): Promise<LocalTrack> {
    return this.#publisher.track(media, source, options);
  }

  /** Ends an own track and stops its device. Screen sound ends with the screen. */
  unpublish(track: LocalTrack): void {
    this.#publisher.unpublish(track);
  }

  /** Sends other media in an own track, without the others noticing more than the picture. */
  replaceMedia(track: LocalTrack, media: MediaStreamTrack): Promise<void> {
    return this.#publisher.replaceMedia(track, media);
  }

  /**
   * Mutes or unmutes an own track. A camera that the SDK opened is closed meanwhile. What a
   * moderator muted cannot be unmuted.
   */
  setMuted(track: LocalTrack, muted: boolean): Promise<void> {
    return this.#publisher.setMuted(track, muted);
  }

  /** Names the tracks to receive first, most wanted first. Others follow in the server's order. */
  want(trackIds: string[]): void {
    this.#session?.link.send({ type: 'want', tracks: trackIds.slice(0, TRACKS_WANTED_MAX) });
  }

  /**
   * Sends a text of at most 4096 bytes to everybody, or to some. It is not received by oneself, and
   * stored nowhere but in a recording of which {@link RecordingDetails.data} says so.
   *
   * @throws {@link SendError} without the grant `data`, or when it is too large
   */
  send(body: string, { to = [] }: { to?: readonly Who[] } = {}): void {
    const session = this.#open();
    checkText(body, this.#grants);
    const ids = to.map((each) => (typeof each === 'string' ? each : each.id));
    session.link.send({ type: 'data', body, to: ids });
  }

  /**
   * Sets the own opaque text of at most 1024 bytes that the others see in `participant.state`.
   *
   * @throws {@link SendError} without the grant `update_own`, or when it is too large
   */
  setState(state: string | null): void {
    const session = this.#open();
    checkState(state, this.#grants);
    session.link.send({ type: 'set_state', state });
    this.localParticipant.setState(state);
    this.emit('participantUpdated', this.localParticipant);
  }

  /**
   * Takes role and grants of a new token of the same room and handle over, without leaving.
   *
   * @param token - fetched with `refreshToken` when it is not given
   * @throws {@link JoinRefusedError} when it is refused or missing; nothing changes
   */
  async renew(token?: string): Promise<void> {
    const fresh = token ?? (await this.#options.refreshToken?.(this.id));
    if (!fresh) throw JoinRefusedError.noToken();
    await this.#open().requests.renew(fresh);
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
    return this.#open().monitor.stats();
  }

  /** Leaves the room and closes every device. */
  leave(): void {
    this.#end('left');
  }

  /** The present session, for calls that need one. */
  #open(): Session {
    if (this.#leaveReason) throw new LeftError(this.#leaveReason);
    if (!this.#session) throw ConnectionError.lost();
    return this.#session;
  }

  protected override async act(action: Action): Promise<ActionResult> {
    return this.#open().requests.act(action);
  }

  protected override say(message: ClientMessage): void {
    this.#open().link.send(message);
  }

  #find(id: string): Participant | undefined {
    return id === this.#me?.id ? this.#me : this.#roster.participants.get(id);
  }

  /** Joins, and takes the new session over from the one that there was. */
  async #enter(token: string): Promise<void> {
    this.#sessions += 1;
    const number = this.#sessions;
    const entry = { url: this.#url, token, sdk: SDK, signal: this.#leaving.signal };
    const handlers = this.#handlers(() => number === this.#present);
    const { session, joined } = await Session.open(entry, this.#options, handlers);
    if (this.#leaveReason) {
      session.close();
      throw new LeftError(this.#leaveReason);
    }
    this.#dropSession();
    this.#present = number;
    this.#session = session;
    this.#adopt(joined);
    session.start(joined);
    this.#setState(session.state);
  }

  #adopt(joined: JoinedMessage): void {
    this.#grants = joined.grants;
    this.#me = new Participant(joined.participant, true);
    for (const track of this.#publisher.tracks.values()) this.#me.tracks.add(track);
    this.#setInfo(joined.room);
    this.recordingAtJoin(joined.room.recording);
    this.#lobby = [];
    this.#speakers = [];
    this.floor.update({ holders: [], requests: [] });
    this.#roster.sync(joined, this.#move === 'none' ? 'left' : 'moved');
    this.#publisher.applyGrants();
  }

  #setInfo(info: RoomInfo): void {
    this.#info = details(info);
    this.#roster.setRoom(this.#info);
    if (!this.#me) return;
    this.#me.spotlighted = this.#info.spotlight.includes(this.#me.id);
    if (this.#me.setMutedAll(this.#info.muted)) this.emit('participantUpdated', this.#me);
    this.#obeyMutes(this.#me);
  }

  #obeyMutes({ mutedByServer }: Participant): void {
    this.#publisher.mutedBy(({ source }) => mutedByServer.has(source));
  }

  #handlers(isPresent: () => boolean): SessionHandlers {
    const heard = <A extends unknown[]>(handle: (...args: A) => void) => {
      return (...args: A): void => {
        if (isPresent()) handle(...args);
      };
    };
    return {
      message: heard((message) => this.#hear(message)),
      waiting: (reason) => this.#waits(reason),
      slotsChanged: heard((changes) => this.#slotsChanged(changes)),
      audioSlot: heard((media) => this.#playback.add(media)),
      isLive: (track) => this.#roster.tracks.get(track)?.muted === false,
      state: heard((state) => this.#setState(state)),
      quality: heard((quality) => this.emit('quality', quality)),
      failed: heard((error) => this.emit('error', error)),
      lost: heard((error) => void this.#lost(error)),
    };
  }

  #newPublisher(): Publisher {
    return new Publisher({
      session: () => this.#session,
      grants: () => this.#grants,
      mutedByServer: () => this.#me?.mutedByServer ?? new Set(),
      leaveReason: () => this.#leaveReason,
      published: (track) => {
        this.#me?.tracks.add(track);
        this.emit('localTrackPublished', track);
      },
      unpublished: (track, reason) => {
        this.#me?.tracks.delete(track);
        this.emit('localTrackUnpublished', track, reason);
      },
      muted: (track, muted) => this.emit('trackMuted', track, muted),
      failed: (error) => this.emit('error', error),
    });
  }

  #hear(message: ServerMessage): void {
    switch (message.type) {
      case 'participant_joined':
        return this.#roster.join(message.participant);
      case 'participant_updated':
        return this.#participantUpdated(message.participant);
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
      case 'room_updated':
        this.#setInfo(message.room);
        this.recordingIs(message.room.recording);
        return this.emit('roomUpdated', this.#info);
      case 'recording':
        return this.recordingTold(message.recording);
      case 'grants_changed':
        return this.#setGrants(message.role, message.grants);
      case 'floor':
        this.floor.update(message);
        return this.emit('floor', this.floor);
      case 'lobby':
        this.#lobby = message.waiting.map((info) => new Participant(info, false));
        return this.emit('lobby', this.#lobby);
      case 'data':
        return this.emit('data', message.body, this.#find(message.from) ?? null);
      case 'move':
        return this.#called(message);
      case 'left':
        return this.#leftByServer(message.reason);
    }
  }

  #waits(reason: WaitReason): void {
    if (this.#leaveReason) return;
    this.#setState('waiting');
    this.#options.onWaiting?.(reason);
  }

  #participantUpdated(info: ParticipantInfo): void {
    if (info.id !== this.#me?.id) return this.#roster.update(info);
    if (this.#me.update(info)) this.emit('participantUpdated', this.#me);
    this.#obeyMutes(this.#me);
  }

  #setGrants(role: Role, grants: Grants): void {
    this.#grants = grants;
    this.localParticipant.setRole(role);
    this.#obeyMutes(this.localParticipant);
    this.#session?.setGrants(grants);
    if (!this.isModerator) this.#lobby = [];
    this.emit('grantsChanged', grants, role);
    this.#publisher.applyGrants();
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
    if (muted) this.#publisher.mutedBy((own) => own.id === id);
  }

  #setSpeakers(ids: string[]): void {
    const everybody = [this.localParticipant, ...this.#roster.participants.values()];
    for (const each of everybody) each.speaking = ids.includes(each.id);
    this.#speakers = speakersInOrder(everybody, ids);
    this.emit('activeSpeakers', this.#speakers);
  }

  /** The server calls to another room. */
  #called({ room, token, invited }: MoveMessage): void {
    const go = (): Promise<void> => this.#goTo(room, token);
    if (invited) return this.emit('invited', { room, accept: go });
    void go().catch((error: ConclaveError) => this.emit('error', error));
  }

  /** Joins the other room first, then leaves this one: local tracks and their devices stay. */
  async #goTo(room: string, token: string): Promise<void> {
    if (this.#move !== 'none') throw ConnectionError.lost();
    this.#open();
    const from = this.id;
    this.#move = 'going';
    try {
      await this.#enter(token);
    } catch (error) {
      if (this.#moveEnded() && !this.#leaveReason) {
        // Neither in the old room any more nor in the new one.
        if (this.#options.refreshToken) void this.#lost(error as ConclaveError);
        else this.#end('moved');
      }
      throw error;
    }
    this.#moveEnded();
    this.emit('moved', { from, to: room });
    await this.#publisher.republish();
  }

  /** Returns whether the old room is gone. */
  #moveEnded(): boolean {
    const gone = this.#move === 'gone';
    this.#move = 'none';
    return gone;
  }

  #leftByServer(reason: LeaveReason): void {
    if (RECOVERABLE.includes(reason) && this.#options.refreshToken) {
      void this.#lost(ConnectionError.lost());
    } else if (this.#move !== 'none') {
      this.#move = 'gone';
    } else {
      this.#end(reason);
    }
  }

  /** The session is over. Joins anew when the application can give a token, else leaves. */
  async #lost(error: ConclaveError): Promise<void> {
    if (this.#move === 'going') this.#move = 'gone';
    this.#dropSession();
    if (this.#move === 'gone') return;
    const { refreshToken } = this.#options;
    if (this.#leaveReason || this.#rejoining) return;
    this.#rejoining = true;
    this.#setState('reconnecting');
    try {
      // A new session would not find a way through the firewall either.
      if (!refreshToken || error.code === 'media_unreachable') throw error;
      await rejoin({
        refreshToken: () => refreshToken(this.id),
        join: (token) => this.#enter(token),
        cancelled: () => this.#leaveReason !== null,
      });
    } catch (last) {
      if (this.#leaveReason) return;
      this.emit('error', last as ConclaveError);
      return this.#end(last instanceof LeftError ? last.reason : 'timeout');
    }
    this.#rejoining = false;
    if (await this.#publisher.republish()) this.emit('reconnected', { rejoined: true });
  }

  #dropSession(): void {
    this.#session?.close();
    this.#session = null;
    this.#publisher.detach();
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
    this.#leaving.abort();
    this.#page.stop();
    this.#dropSession();
    this.#publisher.close();
    this.#setState('left');
    this.emit('left', reason);
  }
}
