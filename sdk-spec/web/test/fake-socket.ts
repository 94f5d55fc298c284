/** A WebSocket whose other end is the test. */
export class FakeSocket {
  static all: FakeSocket[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  readonly sent: Record<string, unknown>[] = [];
  closed = false;

  constructor(
    readonly url: string,
    readonly protocol: string,
  ) {
    FakeSocket.all.push(this);
  }

  static get last(): FakeSocket {
    const last = FakeSocket.all.at(-1);
    if (!last) throw new Error('no socket was made');
    return last;
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }

  close(): void {
    this.closed = true;
  }

  /** The server says something. */
  say(message: object): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** The network closes the socket. */
  break(code = 1006): void {
    this.onclose?.({ code });
  }

  /** Types of what was sent. */
  get types(): unknown[] {
    return this.sent.map(({ type }) => type);
  }
}

/** As the SDK calls it. */
export const fakeSocket = (url: string, protocol: string): WebSocket =>
  new FakeSocket(url, protocol) as unknown as WebSocket;
