import { vi } from 'vitest';
import type { JoinOptions } from '../src/options.js';
import type { ServerMessage } from '../src/protocol.gen.js';
import { Room } from '../src/room.js';
import { FakePeer } from './fake-peer.js';
import { FakeSocket } from './fake-socket.js';

/** What the tests say in `joined`; parts may be replaced. */
export const JOINED = {
  type: 'joined',
  participant: { id: 'pa_me', handle: 'me', role: 'participant' },
  room: { id: 'rm_1' },
  participants: [{ id: 'pa_2', handle: 'h-2', role: 'participant' }],
  tracks: [],
  ticket: 'ticket-1',
  grants: { publish: ['camera', 'microphone'], subscribe: true },
  limits: { audio_slots_max: 3, video_slots_max: 16, message_bytes_max: 262144 },
};

/** The server's side of one socket, with its numbers. */
export class FakeServer {
  #seq = 0;

  constructor(readonly socket: FakeSocket) {}

  /** Says the next message. */
  say(message: Partial<ServerMessage> | object): void {
    this.#seq += 1;
    this.socket.say({ seq: this.#seq, ack: 0, ...message });
  }

  /** Refuses the first message. */
  refuse(code: string): void {
    const error = { code, message: 'no', remedy: 'do' };
    this.socket.say({ type: 'error', error, fatal: true, seq: 0, ack: 0 });
  }

  /** What the client said last of a type. */
  heard(type: string): Record<string, unknown> | undefined {
    return this.socket.sent.findLast((message) => message['type'] === type);
  }

  /** Answers the client's last offer. */
  answer(): void {
    const { id, tracks } = this.heard('offer') as { id: number; tracks: { mid: string }[] };
    const published = tracks.map(({ mid }) => ({ mid, id: `tr_me_${mid}` }));
    this.say({ type: 'answer', id, sdp: 'v=0', tracks: published });
  }
}

/** Puts the fakes in place of the browser. */
export function stubBrowser(): void {
  FakeSocket.all = [];
  vi.stubGlobal('WebSocket', FakeSocket);
  vi.stubGlobal('RTCPeerConnection', FakePeer);
  vi.stubGlobal('RTCRtpSender', { getCapabilities: () => null });
}

/** Lets promises and short timers run. */
export const soon = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

/** The socket that the client opens next. */
export async function nextServer(): Promise<FakeServer> {
  const before = FakeSocket.all.length;
  await vi.waitUntil(() => FakeSocket.all.length > before);
  FakeSocket.last.onopen?.();
  return new FakeServer(FakeSocket.last);
}

/** Joins; `parts` replace parts of `joined`. */
export async function join(
  parts: object = {},
  options: JoinOptions = {},
): Promise<{ room: Room; server: FakeServer }> {
  const joining = Room.join('wss://conclave.example', 'token', options);
  FakeSocket.last.onopen?.();
  const server = new FakeServer(FakeSocket.last);
  server.say({ ...JOINED, ...parts });
  return { room: await joining, server };
}

/** A track as a browser gives it, with what happened to it. */
export function fakeMedia(kind: 'audio' | 'video'): MediaStreamTrack {
  const media = {
    kind,
    enabled: true,
    readyState: 'live',
    stop: vi.fn(),
    addEventListener: vi.fn(),
  };
  return media as unknown as MediaStreamTrack;
}

/** Every event of the names, in order. */
export function record(room: Room, ...names: Parameters<Room['on']>[0][]): unknown[][] {
  const events: unknown[][] = [];
  for (const name of names) room.on(name, (...args: unknown[]) => events.push([name, ...args]));
  return events;
}
