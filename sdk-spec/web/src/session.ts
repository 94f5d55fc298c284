/**
 * One stay in the room from `joined` to its end: signaling link, media, their supervision.
 *
 * @module
 */

import { type ConclaveError, ConnectionError, fromServer } from './errors.js';
import { Link } from './link.js';
import { type MediaHost, type MediaOptions, MediaSession } from './media.js';
import { Monitor } from './monitor.js';
import type { Grants, JoinedMessage, ServerMessage, WaitReason } from './protocol.js';
import type { Quality } from './quality.js';
import { Requests } from './requests.js';
import type { SlotChange } from './slots.js';
import { PathWatch } from './watch.js';

/** State of a session's connection. */
export type SessionState = 'connecting' | 'connected' | 'reconnecting';

/** What a {@link Session} tells its owner. */
export interface SessionHandlers {
  /** A message about the room. */
  message(message: ServerMessage): void;
  /** The client has to wait to be let in. */
  waiting(reason: WaitReason): void;
  /** Tracks came into slots or went out of them. */
  slotsChanged(changes: SlotChange[]): void;
  /** An audio slot exists. */
  audioSlot(media: MediaStreamTrack): void;
  /** Whether the track is known and unmuted, so that a frozen picture means a bad connection. */
  isLive(track: string): boolean;
  /** The state changed. */
  state(state: SessionState): void;
  /** The quality changed. */
  quality(quality: Quality): void;
  /** Something failed; the session goes on. */
  failed(error: ConclaveError): void;
  /** The session is over and cannot be resumed. */
  lost(error: ConclaveError): void;
}

/** Where to go in, and with what. */
export interface Entry {
  url: string;
  token: string;
  /** Name and version of the SDK. */
  sdk: string;
  /** Ends the attempt. */
  signal: AbortSignal;
}

/** One session with its link and media. */
export class Session {
  readonly link: Link;
  readonly media: MediaSession;
  readonly monitor: Monitor;
  readonly requests: Requests;
  readonly #path: PathWatch;
  #linkUp = true;
  #state: SessionState = 'connecting';

  private constructor(
    link: Link,
    joined: JoinedMessage,
    options: MediaOptions,
    private readonly handlers: SessionHandlers,
  ) {
    this.link = link;
    this.requests = new Requests((message) => link.send(message));
    this.media = this.#newMedia(joined, options);
    this.monitor = new Monitor(
      this.media.pc,
      () => this.media.slots.shown((track) => handlers.isLive(track)),
      (quality) => handlers.quality(quality),
    );
    this.#path = new PathWatch({
      changed: () => this.#update(),
      restart: () => this.#linkUp && this.media.active && this.media.restartIce(),
      lost: (wasUp) => this.handleLost(wasUp ? ConnectionError.lost() : ConnectionError.noMedia()),
    });
  }

  /** Joins the room. May take as long as somebody has to wait in the lobby; `signal` ends that. */
  static async open(
    { url, token, sdk, signal }: Entry,
    options: MediaOptions,
    handlers: SessionHandlers,
  ): Promise<{ session: Session; joined: JoinedMessage }> {
    // Set before the link tells anything: it speaks only after `joined`.
    const made: { session?: Session } = {};
    const link = new Link(url, {
      message: (message) => made.session?.handleMessage(message),
      waiting: (reason) => handlers.waiting(reason),
      cut: () => made.session?.handleLink(false),
      resumed: () => made.session?.handleLink(true),
      lost: (error) => made.session?.handleLost(error),
    });
    const leave = (): void => link.close();
    signal.addEventListener('abort', leave);
    const joining = link.join(token, sdk);
    if (signal.aborted) leave();
    const joined = await joining.finally(() => signal.removeEventListener('abort', leave));
    made.session = new Session(link, joined, options, handlers);
    return { session: made.session, joined };
  }

  /** Present state. */
  get state(): SessionState {
    return this.#state;
  }

  /** Starts receiving, when the token grants it. Called when the owner knows the participants. */
  start(joined: JoinedMessage): void {
    this.setGrants(joined.grants);
    this.#update();
  }

  /** Takes over what the client may do now. */
  setGrants(grants: Grants): void {
    if (grants.subscribe) this.media.openSlots();
  }

  /** The network may have changed. */
  wake(): void {
    this.link.wake();
    this.#path.wake(this.media.pc.connectionState);
  }

  /** Ends the session; nothing is told any more. */
  close(): void {
    this.#path.close();
    this.requests.close();
    this.monitor.close();
    this.media.close();
    this.link.close();
  }

  #newMedia(joined: JoinedMessage, options: MediaOptions): MediaSession {
    const host: MediaHost = {
      sendOffer: (offer) => this.link.send({ type: 'offer', ...offer }),
      sendMute: (track, muted) => this.link.send({ type: 'mute', track, muted }),
      slotOpened: (kind, media) => {
        if (kind === 'audio') this.handlers.audioSlot(media);
      },
      failed: (error) => this.handlers.failed(error),
      transportChanged: () => this.#path.handleTransport(this.media.pc.connectionState),
    };
    return new MediaSession(host, joined.limits, options);
  }

  private handleMessage(message: ServerMessage): void {
    switch (message.type) {
      case 'answer':
        return this.media.handleAnswer(message);
      case 'slots':
        return this.handlers.slotsChanged(this.media.handleSlots(message));
      case 'media':
        if (message.state === 'interrupted') this.#path.handleDown();
        else this.#path.handleUp();
        return;
      case 'acted':
        return this.requests.handleActed(message);
      case 'renewed':
        return this.requests.handleRenewed();
      case 'error':
        return this.#handleError(fromServer(message.error), message.offer);
      default:
        this.handlers.message(message);
    }
  }

  #handleError(error: ConclaveError, offer: number | null | undefined): void {
    if (typeof offer === 'number') return this.media.handleRefusal(offer, error);
    if (!this.requests.handleError(error)) this.handlers.failed(error);
  }

  private handleLink(up: boolean): void {
    this.#linkUp = up;
    // An ICE restart that came due during the cut was not asked for.
    if (up && this.#path.state === 'down' && this.media.active) this.media.restartIce();
    this.#update();
  }

  #update(): void {
    const state = this.#next();
    if (state === this.#state) return;
    this.#state = state;
    this.handlers.state(state);
  }

  #next(): SessionState {
    if (!this.#linkUp || this.#path.state === 'down') return 'reconnecting';
    return this.#path.state === 'up' || !this.media.active ? 'connected' : 'connecting';
  }

  private handleLost(error: ConclaveError): void {
    this.close();
    this.handlers.lost(error);
  }
}
