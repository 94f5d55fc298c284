import { describe, expect, it, vi } from 'vitest';
import manifest from '../package.json' with { type: 'json' };
import { Emitter } from '../src/emitter.js';
import { CaptureError, fromServer } from '../src/errors.js';
import { socketUrl } from '../src/url.js';
import { SDK } from '../src/version.js';

class Bell extends Emitter<{ ring: [times: number] }> {
  ring(times: number): void {
    this.emit('ring', times);
  }
}

describe('Emitter', () => {
  it('calls, calls once, and stops', () => {
    const bell = new Bell();
    const [always, once] = [vi.fn(), vi.fn()];
    const stop = bell.on('ring', always);
    bell.once('ring', once);
    bell.ring(1);
    bell.ring(2);
    stop();
    bell.ring(3);
    expect(always.mock.calls).toEqual([[1], [2]]);
    expect(once.mock.calls).toEqual([[1]]);
  });

  it('goes on when a listener throws, and reports it', () => {
    const bell = new Bell();
    const reported = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation(() => undefined);
    const second = vi.fn();
    bell.on('ring', () => {
      throw new Error('of the application');
    });
    bell.on('ring', second);
    bell.ring(1);
    expect(second).toHaveBeenCalledOnce();
    expect(reported).toHaveBeenCalledOnce();
    reported.mockRestore();
  });
});

describe('socketUrl', () => {
  it.each([
    ['wss://a.example/v1/ws', 'wss://a.example/v1/ws'],
    ['https://a.example', 'wss://a.example/v1/ws'],
    ['http://127.0.0.1:7880/', 'ws://127.0.0.1:7880/v1/ws'],
    ['wss://u:p@a.example/x?token=secret#y', 'wss://a.example/x'],
  ])('%s', (given, expected) => expect(socketUrl(given)).toBe(expected));

  it('refuses what is no address of a server', () => {
    for (const bad of ['', 'nonsense', 'ftp://a', 'javascript:1']) {
      expect(() => socketUrl(bad)).toThrow('not valid');
    }
  });
});

describe('errors', () => {
  it('say what to do', () => {
    const denied = CaptureError.from(new DOMException('x', 'NotAllowedError'));
    expect(denied).toMatchObject({ code: 'permission_denied', name: 'CaptureError' });
    expect(denied.remedy).toContain('Allow access');
    expect(CaptureError.from('junk').code).toBe('capture_failed');
  });

  it('of the server keep their code', () => {
    const error = fromServer({ code: 'rate_limited', message: 'm', remedy: 'r' });
    expect(error).toMatchObject({ code: 'rate_limited', name: 'ProtocolError', remedy: 'r' });
  });
});

it('the server is told the version of the package', () => {
  expect(SDK).toBe(`conclave-web/${manifest.version}`);
});
