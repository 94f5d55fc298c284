/**
 * The signaling connection: one session over as many WebSockets as it takes.
 *
 * ```text
 *            joined                    cut, silence
 *  joining ─────────▶ open ──────────────────────────────▶ waiting ◀──┐ socket failed
 *     │                ▲    resumed                           │ backoff│
 *     │ refused        └──────────────────────── resuming ◀───┘────────┘
 *     ▼                                              │ refused, or 30 s over
 *   closed ◀─────────────────────────────────────────┘
 * ```
 *
 * Who has to wait to be let in is `open` too, with pings and resumes, before `joined` comes.
 *
 * @module
 */

import { backoff } from './backoff.js';
import {
  type ConclaveError,
  ConnectionError,
  fromServer,
  LeftError,
  ProtocolError,
} from './errors.js';
import { JOIN_MS, PROBE_MS, RESEND_MESSAGES_MAX, RESUME_ATTEMPT_MS } from './limits.js';
import {
  type ClientMessage,
  DEAD_MS,
  FINAL_CLOSE_CODES,
  type FirstMessage,
  isKnown,
  type JoinedMessage,
  parseServerMessage,
  PING_MS,
  RESUME_MS,
  type ServerMessage,
  SUBPROTOCOL,
  type WaitReason,
} from './protocol.js';
import { Sequence } from './sequence.js';

/** What a {@link Link} tells its owner. */
export interface LinkHandlers {
  /** A message that is not the link's own business. */
  message(message: ServerMessage): void;
  /** The client has to wait to be let in. */
  waiting(reason: WaitReason): void;
  /** The socket is gone; the link tries to resume. */
  cut(): void;
  /** The session goes on; nothing was lost. */
  resumed(): void;
  /** The session cannot be resumed. Nothing follows. */
  lost(error: ConclaveError): void;
}

type Phase = 'joining' | 'open' | 'waiting' | 'resuming' | 'closed';

/** How to make a socket; tests pass their own. */
export type SocketFactory = (url: string, protocol: string) => WebSocket;

const browserSocket: SocketFactory = (url, protocol) => new WebSocket(url, protocol);

/** One session with the signaling server. */
export class Link {
  #phase: Phase = 'joining';
  #socket: WebSocket | null = null;
  #sequence = new Sequence(RESEND_MESSAGES_MAX);
  #ticket = '';
  #heardAt = 0;
  #cutAt = 0;
  #attempt = 0;
  #pingTimer: ReturnType<typeof setInterval> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #probeTimer: ReturnType<typeof setTimeout> | undefined;
  #joining: { resolve(joined: JoinedMessage): void; reject(error: ConclaveError): void } | null =
    null;

  /**
   * @param url - of the WebSocket
   * @param handlers - called from socket and timer callbacks, never from within a call
   */
  constructor(
    readonly url: string,
    private readonly handlers: LinkHandlers,
    private readonly newSocket: SocketFactory = browserSocket,
  ) {}

  /** Opens the session. The token is spent by this, whether it succeeds or not. */
  join(token: string, sdk: string): Promise<JoinedMessage> {
    return new Promise((resolve, reject) => {
      this.#joining = { resolve, reject };
      this.#timer = setTimeout(() => this.#fail(ConnectionError.unreachable()), JOIN_MS);
      this.#open({ type: 'join', token, sdk });
    });
  }

  /** Sends a message now, or after the resume. */
  send(message: ClientMessage): void {
    if (this.#phase === 'closed') return;
    const wrapped = this.#sequence.wrap(message);
    if (!wrapped) return queueMicrotask(() => this.#fail(ConnectionError.lost()));
    if (this.#phase === 'open') this.#socket?.send(JSON.stringify(wrapped));
  }

  /** Leaves for good. A join that was under way fails. */
  close(): void {
    if (this.#phase === 'open') this.send({ type: 'leave' });
    this.#joining?.reject(new LeftError('left'));
    this.#stop();
  }

  /**
   * The network may have changed: retries at once when cut, or asks the server for a sign of life
   * that must come within {@link PROBE_MS}.
   */
  wake(): void {
    if (this.#phase === 'waiting') {
      clearTimeout(this.#timer);
      this.#attempt = 0;
      this.#resume();
    } else if (this.#phase === 'open') {
      const asked = Date.now();
      this.send({ type: 'ping' });
      clearTimeout(this.#probeTimer);
      this.#probeTimer = setTimeout(() => {
        if (this.#phase === 'open' && this.#heardAt < asked) this.#cut();
      }, PROBE_MS);
    }
  }

  #open(first: FirstMessage): void {
    let socket: WebSocket;
    try {
      socket = this.newSocket(this.url, SUBPROTOCOL);
    } catch {
      queueMicrotask(() => this.#gone());
      return;
    }
    this.#socket = socket;
    const current = (): boolean => this.#socket === socket;
    socket.onopen = () => current() && socket.send(JSON.stringify(first));
    socket.onmessage = (event) => {
      if (current() && typeof event.data === 'string') this.#hear(event.data);
    };
    socket.onclose = ({ code }) => current() && this.#gone(code);
  }

  #hear(text: string): void {
    this.#heardAt = Date.now();
    const incoming = parseServerMessage(text);
    if (!incoming) return;
    this.#sequence.acknowledge(incoming.ack);
    // Outside the sequence stand only `resumed` and the refusal of a join or resume.
    const order = incoming.seq === null ? 'new' : this.#sequence.accept(incoming.seq);
    if (order === 'gap') return this.#fail(ProtocolError.gap());
    if (order === 'new') this.#take(incoming.message);
  }

  #take(message: ServerMessage): void {
    if (message.type === 'joined') return this.#joined(message);
    if (message.type === 'resumed') return this.#resumed(message.received, message.ticket);
    if (message.type === 'waiting') return this.#waits(message.ticket, message.reason);
    if (message.type === 'pong' || !isKnown(message)) return;
    if (message.type === 'error' && (message.fatal || this.#phase !== 'open')) {
      return this.#fail(fromServer(message.error, this.#joining !== null));
    }
    if (this.#phase !== 'open') return;
    if (message.type === 'left') {
      this.#joining?.reject(new LeftError(message.reason));
      if (this.#joining) return this.#stop();
      this.#stop();
    }
    this.handlers.message(message);
  }

  #joined(message: JoinedMessage): void {
    if (!this.#joining) return;
    this.#ticket = message.ticket;
    if (this.#phase === 'joining') this.#up();
    this.#joining.resolve(message);
    this.#joining = null;
  }

  /** In the lobby: the join goes on until somebody decides. */
  #waits(ticket: string, reason: WaitReason): void {
    if (!this.#joining) return;
    this.#ticket = ticket;
    if (this.#phase === 'joining') this.#up();
    this.handlers.waiting(reason);
  }

  #resumed(received: number, ticket: string): void {
    if (this.#phase !== 'resuming') return;
    this.#ticket = ticket;
    this.#up();
    for (const message of this.#sequence.resend(received)) {
      this.#socket?.send(JSON.stringify(message));
    }
    // Tells the server that the new ticket has arrived; until then the one before stays good.
    this.send({ type: 'ping' });
    this.handlers.resumed();
  }

  #up(): void {
    clearTimeout(this.#timer);
    this.#phase = 'open';
    this.#attempt = 0;
    this.#pingTimer = setInterval(() => {
      if (Date.now() - this.#heardAt >= DEAD_MS) this.#cut();
      else this.send({ type: 'ping' });
    }, PING_MS);
  }

  /** The socket closed by itself. */
  #gone(code?: number): void {
    if (this.#phase === 'joining') this.#fail(ConnectionError.unreachable());
    else if (code && FINAL_CLOSE_CODES.includes(code)) this.#fail(ConnectionError.lost());
    else if (this.#phase === 'open') this.#cut();
    else if (this.#phase === 'resuming') this.#retry();
  }

  #cut(): void {
    this.#dropSocket();
    this.#cutAt = Date.now();
    this.#retry();
    this.handlers.cut();
  }

  #retry(): void {
    this.#dropSocket();
    clearTimeout(this.#timer);
    this.#phase = 'waiting';
    if (Date.now() - this.#cutAt >= RESUME_MS) return this.#fail(ConnectionError.lost());
    this.#timer = setTimeout(() => this.#resume(), backoff(this.#attempt));
    this.#attempt += 1;
  }

  #resume(): void {
    this.#phase = 'resuming';
    this.#timer = setTimeout(() => this.#retry(), RESUME_ATTEMPT_MS);
    this.#open({ type: 'resume', ticket: this.#ticket, received: this.#sequence.received });
  }

  #fail(error: ConclaveError): void {
    if (this.#phase === 'closed') return;
    const joining = this.#joining;
    this.#stop();
    if (joining) joining.reject(error);
    else this.handlers.lost(error);
  }

  #stop(): void {
    this.#phase = 'closed';
    this.#joining = null;
    clearTimeout(this.#timer);
    this.#dropSocket();
  }

  /** Forgets the socket; a dead one may take minutes to say that it is closed. */
  #dropSocket(): void {
    clearInterval(this.#pingTimer);
    clearTimeout(this.#probeTimer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
  }
}
