/** A peer connection that knows its transceivers and writes just enough of a description. */
export class FakePeer {
  signalingState: RTCSignalingState = 'stable';
  localDescription: { type: string; sdp: string } | null = null;
  readonly #all: FakeTransceiver[] = [];
  #mids = 0;

  addTransceiver(
    of: 'audio' | 'video' | MediaStreamTrack,
    init: RTCRtpTransceiverInit = {},
  ): FakeTransceiver {
    const kind = typeof of === 'string' ? of : of.kind;
    const made = new FakeTransceiver(kind, init.direction ?? 'sendrecv', init.sendEncodings ?? []);
    this.#all.push(made);
    return made;
  }

  getTransceivers(): FakeTransceiver[] {
    return this.#all.filter(({ stopped }) => !stopped);
  }

  setLocalDescription(description?: { type: string }): Promise<void> {
    if (description?.type === 'rollback') {
      for (const each of this.#all) if (each.currentDirection === null) each.mid = null;
      this.signalingState = 'stable';
      return Promise.resolve();
    }
    const sections = this.getTransceivers().map((each) => {
      each.mid ??= String(this.#mids++);
      return `m=${each.receiver.track.kind} 9 X 96\r\na=mid:${each.mid}\r\na=${each.direction}\r\n`;
    });
    this.localDescription = { type: 'offer', sdp: `v=0\r\n${sections.join('')}` };
    this.signalingState = 'have-local-offer';
    return Promise.resolve();
  }

  setRemoteDescription(): Promise<void> {
    for (const each of this.getTransceivers()) each.currentDirection = each.direction;
    this.signalingState = 'stable';
    return Promise.resolve();
  }

  restartIce(): void {}

  close(): void {}
}

class FakeTransceiver {
  mid: string | null = null;
  currentDirection: string | null = null;
  stopped = false;
  readonly sender = {
    replaceTrack: () => Promise.resolve(),
    getParameters: () => ({ encodings: this.encodings }),
    setParameters: () => Promise.resolve(),
  };
  readonly receiver: { track: { kind: string } };

  constructor(
    kind: string,
    public direction: string,
    readonly encodings: RTCRtpEncodingParameters[],
  ) {
    this.receiver = { track: { kind } };
  }

  stop(): void {
    this.stopped = true;
  }
}
