import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ProtocolError } from '../src/errors.js';
import { Negotiation, type NegotiationHost } from '../src/negotiation.js';

/** A peer connection that only knows its signaling state. */
class FakePeer {
  signalingState: RTCSignalingState = 'stable';
  localDescription: RTCSessionDescription | null = null;
  answers: string[] = [];
  restarts = 0;
  rollbacks = 0;

  setLocalDescription(description?: RTCLocalSessionDescriptionInit): Promise<void> {
    if (description?.type === 'rollback') {
      this.rollbacks += 1;
      this.signalingState = 'stable';
    } else {
      if (this.signalingState !== 'stable') return Promise.reject(new Error('glare'));
      this.signalingState = 'have-local-offer';
      this.localDescription = { type: 'offer', sdp: 'v=0\r\n' } as RTCSessionDescription;
    }
    return Promise.resolve();
  }

  setRemoteDescription({ sdp }: RTCSessionDescriptionInit): Promise<void> {
    if (sdp === 'bad') return Promise.reject(new Error('cannot parse'));
    this.answers.push(sdp ?? '');
    this.signalingState = 'stable';
    return Promise.resolve();
  }

  restartIce(): void {
    this.restarts += 1;
  }
}

type Spied = { [K in keyof NegotiationHost]: ReturnType<typeof vi.fn<NegotiationHost[K]>> };

function setUp(): { peer: FakePeer; host: Spied; negotiation: Negotiation } {
  const peer = new FakePeer();
  const host: Spied = {
    offeredTracks: vi.fn(() => [{ mid: '0', source: 'camera' as const }]),
    sendOffer: vi.fn(),
    answered: vi.fn(),
    refused: vi.fn(),
  };
  return { peer, host, negotiation: new Negotiation(peer, host) };
}

const turn = (): Promise<unknown> => vi.advanceTimersByTimeAsync(1);

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('Negotiation', () => {
  it('puts changes of one task into one offer', async () => {
    const { host, negotiation } = setUp();
    negotiation.request();
    negotiation.request();
    await turn();
    expect(host.sendOffer).toHaveBeenCalledOnce();
    expect(host.sendOffer.mock.calls[0]?.[0]).toMatchObject({ id: 1, tracks: [{ mid: '0' }] });
  });

  it('has one offer in flight, then offers the newest state once', async () => {
    const { peer, host, negotiation } = setUp();
    negotiation.request();
    await turn();
    negotiation.request();
    negotiation.request({ iceRestart: true });
    await turn();
    expect(host.sendOffer).toHaveBeenCalledOnce();
    negotiation.handleAnswer(1, 'one', []);
    await turn();
    expect(host.answered).toHaveBeenCalledOnce();
    expect(host.sendOffer).toHaveBeenCalledTimes(2);
    expect(peer.restarts).toBe(1);
    negotiation.handleAnswer(2, 'two', []);
    await turn();
    expect(peer.answers).toEqual(['one', 'two']);
    expect(host.sendOffer).toHaveBeenCalledTimes(2);
  });

  it('ignores an answer to another offer', async () => {
    const { peer, negotiation } = setUp();
    negotiation.request();
    await turn();
    negotiation.handleAnswer(9, 'nine', []);
    await turn();
    expect(peer.answers).toEqual([]);
  });

  it('rolls a refused offer back and can offer again', async () => {
    const { peer, host, negotiation } = setUp();
    negotiation.request();
    await turn();
    const error = new ProtocolError('offer_refused', 'no', 'do');
    negotiation.handleRefusal(1, error);
    await turn();
    expect(peer.rollbacks).toBe(1);
    expect(host.refused).toHaveBeenCalledWith(error, [{ mid: '0', source: 'camera' }]);
    negotiation.request();
    await turn();
    expect(host.sendOffer).toHaveBeenCalledTimes(2);
  });

  it('rolls back when the answer cannot be used or does not come', async () => {
    const { peer, host, negotiation } = setUp();
    negotiation.request();
    await turn();
    negotiation.handleAnswer(1, 'bad', []);
    await turn();
    expect(host.refused).toHaveBeenCalledTimes(1);
    negotiation.request();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(host.refused).toHaveBeenCalledTimes(2);
    expect(peer.signalingState).toBe('stable');
  });

  it('calls nothing after it was closed', async () => {
    const { host, negotiation } = setUp();
    negotiation.request();
    await turn();
    negotiation.close();
    negotiation.handleAnswer(1, 'one', []);
    negotiation.request();
    await turn();
    expect(host.answered).not.toHaveBeenCalled();
    expect(host.refused).not.toHaveBeenCalled();
    expect(host.sendOffer).toHaveBeenCalledOnce();
  });
});
