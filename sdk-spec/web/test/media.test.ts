import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ConnectionError, fromServer } from '../src/errors.js';
import { ANSWER_MS, OFFER_RETRIES_MAX, UNANSWERED_RETRIES_MAX } from '../src/limits.js';
import { type MediaHost, MediaSession } from '../src/media.js';
import type { ErrorCode, SlotsMessage } from '../src/protocol.gen.js';
import { LocalTrack } from '../src/tracks.js';
import { FakePeer } from './fake-peer.js';

const LIMITS = { audio_slots_max: 3, video_slots_max: 25, message_bytes_max: 262144 };
type Spied = { [K in keyof MediaHost]: ReturnType<typeof vi.fn<MediaHost[K]>> };

let host: Spied;
let media: MediaSession;
let session: number;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal('RTCPeerConnection', FakePeer);
  vi.stubGlobal('RTCRtpSender', { getCapabilities: () => null });
  host = {
    sendOffer: vi.fn(),
    sendMute: vi.fn(),
    slotOpened: vi.fn(),
    failed: vi.fn(),
    transportChanged: vi.fn(),
  };
  media = new MediaSession(host, LIMITS, {});
  session = 0;
});
afterEach(() => {
  media.close();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const offers = (): number => host.sendOffer.mock.calls.length;
/** The last offer's video sections. */
const videos = (): number => host.sendOffer.mock.lastCall?.[0].sdp.match(/^m=video/gm)?.length ?? 0;
const soon = (): Promise<unknown> => vi.advanceTimersByTimeAsync(1);
const last = (): number => host.sendOffer.mock.lastCall?.[0].id ?? 0;

async function answer(): Promise<void> {
  const tracks = host.sendOffer.mock.lastCall?.[0].tracks ?? [];
  const published = tracks.map(({ mid, source }) => ({ mid, source, id: `tr_${mid}` }));
  media.handleAnswer({ type: 'answer', id: last(), sdp: 'v=0', tracks: published });
  await soon();
}

async function refuse(code: ErrorCode): Promise<void> {
  media.handleRefusal(last(), fromServer({ code, message: 'no', remedy: 'do' }));
  await soon();
}

async function open(): Promise<void> {
  media.openSlots();
  await soon();
}

/** The server says that so many cameras have no slot. */
async function wait(video: number): Promise<void> {
  session += 1;
  const slots = media.pc.getTransceivers().map(({ mid }) => ({ mid: mid ?? '', track: null }));
  const state = { version: session, slots, waiting: { audio: 0, video } };
  media.handleSlots({ type: 'slots', ...state } as unknown as SlotsMessage);
  await soon();
}

function microphone(): LocalTrack {
  return new LocalTrack('microphone', { kind: 'audio' } as MediaStreamTrack, false, null);
}

function camera(simulcast: boolean): LocalTrack {
  return new LocalTrack('camera', { kind: 'video' } as MediaStreamTrack, false, null, simulcast);
}

async function publish(track: LocalTrack): Promise<void> {
  const published = media.publish(track);
  await soon();
  await answer();
  await published;
}

describe('simulcast', () => {
  it('sends three sizes, the smallest first, and otherwise one', async () => {
    await open();
    await answer();
    await publish(camera(true));
    const sent = (): RTCRtpEncodingParameters[][] =>
      media.pc
        .getTransceivers()
        .filter(({ direction }) => direction === 'sendonly')
        .map(({ sender }) => sender.getParameters().encodings);
    expect(sent()).toEqual([
      [
        { rid: 'q', scaleResolutionDownBy: 4, scalabilityMode: 'L1T1', maxBitrate: 188_889 },
        { rid: 'h', scaleResolutionDownBy: 2, scalabilityMode: 'L1T1', maxBitrate: 566_667 },
        { rid: 'f', scaleResolutionDownBy: 1, scalabilityMode: 'L1T1', maxBitrate: 1_700_000 },
      ],
    ]);
  });

  it('takes no section that was made for one size, nor the other way round', async () => {
    await open();
    await answer();
    for (const simulcast of [false, true, false, true]) {
      const track = camera(simulcast);
      await publish(track);
      media.unpublish(track);
      await soon();
      await answer();
    }
    const sections = media.pc.getTransceivers().filter(({ sender }) => {
      return sender.getParameters().encodings.length > 0;
    });
    expect(sections.map(({ sender }) => sender.getParameters().encodings.length)).toEqual([1, 3]);
  });
});

describe('a temporary failure', () => {
  it('of the first offer is followed by the same offer, and media comes', async () => {
    await open();
    expect(videos()).toBe(4);
    await refuse('internal');
    await vi.advanceTimersByTimeAsync(5_000);
    expect([offers(), videos()]).toEqual([2, 4]);
    await answer();
    await wait(2);
    expect(videos()).toBe(6);
    expect(host.failed).not.toHaveBeenCalled();
  });

  it('like a lost answer is no reason to drop slots or publications', async () => {
    await open();
    const published = media.publish(microphone());
    await vi.advanceTimersByTimeAsync(60_000);
    expect([offers(), videos()]).toEqual([2, 4]);
    await answer();
    await published;
  });

  it('that stays is told after a bounded number of offers', async () => {
    await open();
    const published = media.publish(microphone());
    const expected = expect(published).rejects.toBeInstanceOf(ConnectionError);
    await vi.advanceTimersByTimeAsync(60 * 60_000);
    await expected;
    expect(host.failed).toHaveBeenCalledOnce();
    expect(offers()).toBe(2 * (UNANSWERED_RETRIES_MAX + 1));
  });

  it('told by the server is retried a few times, a full server among them', async () => {
    await open();
    for (let i = 0; i < OFFER_RETRIES_MAX; i += 1) {
      await refuse('no_capacity');
      expect(host.failed).not.toHaveBeenCalled();
      await vi.advanceTimersByTimeAsync(10_000);
      expect([offers(), videos()]).toEqual([i + 2, 4]);
    }
    await refuse('no_capacity');
    await vi.advanceTimersByTimeAsync(10_000);
    expect(host.failed).toHaveBeenCalledOnce();
    expect(offers()).toBe(OFFER_RETRIES_MAX + 1);
  });

  it('does not let a publication without answers wait for minutes', async () => {
    await open();
    await answer();
    const published = media.publish(microphone());
    const expected = expect(published).rejects.toBeInstanceOf(ConnectionError);
    await vi.advanceTimersByTimeAsync((UNANSWERED_RETRIES_MAX + 1) * (ANSWER_MS + 1_000));
    await expected;
  });

  it('is not followed by an offer of a closed session', async () => {
    await open();
    await refuse('internal');
    media.close();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(offers()).toBe(1);
  });
});

describe('an offer of too many slots', () => {
  it('is halved until the server takes it', async () => {
    await open();
    await answer();
    await wait(40);
    expect(videos()).toBe(25);
    await refuse('malformed_sdp');
    expect(videos()).toBe(4 + 10);
    await refuse('offer_refused');
    expect(videos()).toBe(4 + 5);
    await answer();
    await wait(30);
    expect(videos()).toBe(9);
    expect(host.failed).not.toHaveBeenCalled();
  });

  it('does not cost a publication that came with it', async () => {
    await open();
    await answer();
    const published = media.publish(microphone());
    await wait(8);
    await refuse('malformed_sdp');
    expect(videos()).toBe(8);
    await answer();
    await published;
  });

  it('that not even the smallest may follow is told', async () => {
    await open();
    for (let i = 0; i < 4; i += 1) await refuse('offer_refused');
    expect(videos()).toBe(0);
    expect(offers()).toBe(4);
    expect(host.failed).toHaveBeenCalledOnce();
  });
});
