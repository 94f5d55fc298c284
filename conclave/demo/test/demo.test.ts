import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  BackendError,
  fetchReceipt,
  fetchRecordings,
  fetchTicket,
  type RecordingLine,
} from '../src/backend.js';
import { hue, pattern, randomHandle, shortHandle } from '../src/identity.js';
import { arrange } from '../src/layout.js';
import { inviteLink, readParams } from '../src/params.js';
import {
  describeReceipt,
  describeRecording,
  isUnderWay,
  openingCommands,
} from '../src/recording-row.js';

describe('address', () => {
  it('is read with its options, and unknown values are ignored', () => {
    expect(readParams('#room=demo&code=a%2Bb&auto=1&source=generated&codec=vp9')).toEqual({
      room: 'demo',
      code: 'a+b',
      auto: true,
      source: 'generated',
      codec: 'VP9',
      handle: null,
      role: null,
    });
    expect(readParams('#role=viewer').role).toBe('viewer');
    expect(readParams('#source=x&codec=H265&handle=a%20b&role=king')).toMatchObject({
      room: '',
      auto: false,
      source: null,
      codec: null,
      handle: null,
      role: null,
    });
  });

  it('of the invite has room and code in the fragment only, and brings them back', () => {
    const link = inviteLink('https://a.example/demo/?x=1#room=old&auto=1', {
      room: 'r',
      code: 'c&d=',
    });
    expect(link.split('#')[0]).toBe('https://a.example/demo/');
    expect(readParams(new URL(link).hash)).toMatchObject({ room: 'r', code: 'c&d=', auto: false });
  });
});

describe('identity', () => {
  it('is random and of the allowed characters', () => {
    const handles = new Set(Array.from({ length: 100 }, randomHandle));
    expect(handles.size).toBe(100);
    for (const handle of handles) expect(handle).toMatch(/^guest-[a-z2-9]{8}$/);
  });

  it('gives similar handles different colours and patterns', () => {
    const handles = Array.from({ length: 12 }, (_, i) => `guest-${i}`);
    expect(new Set(handles.map((handle) => Math.floor(hue(handle) / 30))).size).toBeGreaterThan(5);
    expect(new Set(handles.map((handle) => JSON.stringify(pattern(handle)))).size).toBe(12);
    for (const [x, y] of pattern('a')) expect(pattern('a')).toContainEqual([4 - x, y]);
  });

  it('shortens long handles in the middle', () => {
    expect(shortHandle('guest-abcdefgh')).toBe('guest-abcdefgh');
    expect(shortHandle('0123456789abcdefghij')).toBe('012345…efghij');
  });
});

describe('arrange', () => {
  it.each([
    [1, 1200, 700],
    [4, 1200, 700],
    [5, 344, 560],
    [9, 1200, 300],
    [16, 360, 500],
  ])('fits %i tiles into %i × %i', (count, width, height) => {
    const tile = arrange(count, width, height, 8);
    const rows = Math.ceil(count / tile.columns);
    expect(tile.width).toBeGreaterThan(40);
    expect(tile.columns * (tile.width + 8) - 8).toBeLessThanOrEqual(width);
    expect(rows * (tile.height + 8) - 8).toBeLessThanOrEqual(height);
  });

  it('puts four into two rows on a wide page and two people below each other on a phone', () => {
    expect(arrange(4, 1200, 700, 8).columns).toBe(2);
    expect(arrange(2, 344, 560, 8).columns).toBe(1);
  });

  it('survives a hidden page', () => {
    expect(arrange(3, 0, 0, 8)).toEqual({ columns: 1, width: 0, height: 0 });
  });
});

describe('fetchTicket', () => {
  afterEach(() => void vi.unstubAllGlobals());
  const request = { code: 'c', room: 'r', handle: 'h' };

  it('posts what the server wants and gives its answer', async () => {
    const answer = { url: 'wss://x/v1/ws', token: 't' };
    const fetch = vi.fn().mockResolvedValue(new Response(JSON.stringify(answer)));
    vi.stubGlobal('fetch', fetch);
    expect(await fetchTicket(request)).toEqual(answer);
    const [path, init] = fetch.mock.calls[0] as [string, { method: string; body: string }];
    expect([path, init.method]).toEqual(['/demo/join', 'POST']);
    expect(JSON.parse(init.body)).toEqual(request);
  });

  it('says what to do when it is refused or the server is away', async () => {
    vi.stubGlobal('fetch', vi.fn().mockResolvedValue(new Response('', { status: 403 })));
    await expect(fetchTicket(request)).rejects.toThrow(/join code is not right/);
    vi.stubGlobal('fetch', vi.fn().mockResolvedValue(new Response('', { status: 500 })));
    await expect(fetchTicket(request)).rejects.toThrow(/500/);
    vi.stubGlobal('fetch', vi.fn().mockRejectedValue(new TypeError('x')));
    await expect(fetchTicket(request)).rejects.toBeInstanceOf(BackendError);
  });
});

describe('recordings', () => {
  afterEach(() => void vi.unstubAllGlobals());
  const line: RecordingLine = {
    id: 'rc_1',
    state: 'finalizing',
    progress: 43,
    started_at: '2026-11-21T20:00:00.000Z',
    files: 0,
    blocked: null,
    purge_reason: null,
  };
  const receipt = {
    receipt: JSON.stringify({
      project: 'pj_1',
      room: 'rm_1',
      recording: 'rc_1',
      purged_at_ms: 1,
      keys: { kind: 'pending' },
    }),
    signature: 'c2ln',
    key: 'k',
  };

  it('are asked for with the code in a header and never in the address', async () => {
    const found = { opens: true, recordings: [line] };
    const fetch = vi.fn().mockResolvedValue(new Response(JSON.stringify(found)));
    vi.stubGlobal('fetch', fetch);
    expect(await fetchRecordings('c&d', 'rm_1&x')).toEqual(found);
    const [path, init] = fetch.mock.calls[0] as [string, { headers: { authorization: string } }];
    expect(path).toBe('/demo/recordings?room=rm_1%26x');
    expect(init.headers.authorization).toBe('Bearer c&d');
    vi.stubGlobal('fetch', vi.fn().mockResolvedValue(new Response('', { status: 403 })));
    await expect(fetchRecordings('c', 'rm_1')).rejects.toBeInstanceOf(BackendError);
  });

  it('say where they stand and who must act', () => {
    expect(describeRecording(line)).toBe('the files are being made · 43 %');
    const gone = { ...line, state: 'purged' as const, progress: null, files: 5 };
    expect(describeRecording({ ...gone, purge_reason: 'delivered' })).toBe(
      'delivered, and deleted here · 5 files',
    );
    expect(describeRecording({ ...gone, files: 0, purge_reason: 'expired' })).toMatch(
      /^deleted: too/,
    );
    const blocked = { reason: 'full', blame: 'partner' };
    const refused = { ...line, state: 'push_blocked' as const, progress: null, files: 2, blocked };
    expect(describeRecording(refused)).toBe(
      'the storage refuses it · full, the partner must act · 2 files',
    );
  });

  it('have a receipt that is asked for like them, and commands that open them', async () => {
    const fetch = vi.fn().mockResolvedValue(new Response(JSON.stringify(receipt)));
    vi.stubGlobal('fetch', fetch);
    expect(await fetchReceipt('c', 'rc_1/x')).toEqual(receipt);
    expect(fetch.mock.calls[0]?.[0]).toBe('/demo/recordings/rc_1%2Fx/receipt');
    expect(describeReceipt(receipt)).toMatch(/could open a copy of it follows\. Signed by k\.$/);
    expect(openingCommands(receipt)).toContain('F=data/delivered/pj_1/rm_1/rc_1\n');
    expect(openingCommands(receipt)).toContain('age -d -i data/demo-identity.txt');
  });

  it('are looked at until nothing of them is here any more', () => {
    expect(isUnderWay(line) && isUnderWay({ state: 'delivered' })).toBe(true);
    expect(isUnderWay({ state: 'purged' })).toBe(false);
  });
});
