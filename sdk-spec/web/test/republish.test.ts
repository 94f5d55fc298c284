import { beforeEach, expect, it, vi } from 'vitest';
import { PublishError } from '../src/errors.js';
import { Room } from '../src/room.js';
import type { Session, SessionHandlers } from '../src/session.js';
import type { LocalTrack } from '../src/tracks.js';

/** Sessions that were opened, with what the test does to them. */
const opened: { handlers: SessionHandlers; publish: ReturnType<typeof vi.fn> }[] = [];
/** What `publish` of the next sessions does. */
let publishing: (() => Promise<void>)[] = [];

vi.mock('../src/session.js', () => ({
  Session: {
    open: (_entry: object, _options: object, handlers: never) => {
      const publish = vi.fn(publishing.shift() ?? (() => Promise.resolve()));
      opened.push({ handlers, publish });
      const media = { publish, slots: { midOf: () => undefined } };
      const session = { media, state: 'connected', start: () => undefined, close: () => undefined };
      const participant = { id: 'pa_1', handle: 'me', role: 'participant', tracks: [] };
      const grants = { publish: ['camera'], subscribe: true };
      const joined = { room: { id: 'rm_1' }, participant, participants: [], tracks: [], grants };
      return Promise.resolve({ session: session as unknown as Session, joined });
    },
  },
}));

beforeEach(() => {
  opened.length = 0;
  publishing = [];
});

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

async function joinWithCamera(): Promise<{ room: Room; track: LocalTrack; stop: () => void }> {
  const refreshToken = (): Promise<string> => Promise.resolve('fresh');
  const room = await Room.join('wss://conclave.example', 'token', { refreshToken });
  const stop = vi.fn();
  const listener = { addEventListener: () => undefined };
  const media = { kind: 'video', enabled: true, stop, ...listener } as unknown as MediaStreamTrack;
  return { room, track: await room.publishTrack(media, 'camera'), stop };
}

it('a camera stays open when the connection is lost again during publishing anew', async () => {
  let refuse: (error: unknown) => void = () => undefined;
  publishing = [
    () => Promise.resolve(),
    () => new Promise((_, reject) => (refuse = reject)),
    () => Promise.resolve(),
  ];
  const { room, track, stop } = await joinWithCamera();
  const reconnected = vi.fn();
  room.on('reconnected', reconnected);
  opened[0]?.handlers.lost(new PublishError('connection_lost', 'lost', 'join'));
  await settle();
  expect(opened[1]?.publish).toHaveBeenCalledOnce();

  opened[1]?.handlers.lost(new PublishError('connection_lost', 'lost', 'join'));
  refuse(PublishError.unpublished('camera'));
  await settle();
  expect(opened[2]?.publish).toHaveBeenCalledWith(track);
  expect(room.localTracks.get('camera')).toBe(track);
  expect(stop).not.toHaveBeenCalled();
  expect(reconnected).toHaveBeenCalledOnce();
});

it('a camera that the server refuses at publishing anew is closed and told', async () => {
  publishing = [
    () => Promise.resolve(),
    () => Promise.reject(new PublishError('offer_refused', 'no', 'do')),
  ];
  const { room, stop } = await joinWithCamera();
  const error = vi.fn();
  room.on('error', error);
  opened[0]?.handlers.lost(new PublishError('connection_lost', 'lost', 'join'));
  await settle();
  expect(stop).toHaveBeenCalledOnce();
  expect(error).toHaveBeenCalledOnce();
  expect(room.localTracks.size).toBe(0);
});
