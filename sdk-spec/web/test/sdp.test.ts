import { describe, expect, it } from 'vitest';
import { sendingMids, withoutAddresses } from '../src/sdp.js';

const OFFER = [
  'v=0',
  'o=- 46117 2 IN IP4 192.168.7.9',
  's=-',
  't=0 0',
  'a=group:BUNDLE 0 1',
  'm=audio 51472 UDP/TLS/RTP/SAVPF 111',
  'c=IN IP4 192.168.7.9',
  'a=rtcp:9 IN IP4 192.168.7.9',
  'a=candidate:1 1 udp 2122260223 192.168.7.9 51472 typ host',
  'a=end-of-candidates',
  'a=ice-ufrag:abcd',
  'a=mid:0',
  'm=video 0 UDP/TLS/RTP/SAVPF 96',
  'c=IN IP6 fe80::1',
  'a=bundle-only',
  'a=mid:1',
  '',
].join('\r\n');

describe('withoutAddresses', () => {
  it('leaves no address and no candidate', () => {
    const sent = withoutAddresses(OFFER);
    expect(sent).not.toMatch(/192\.168|fe80|51472|candidate/);
  });

  it('keeps everything else, above all which sections are refused', () => {
    const lines = withoutAddresses(OFFER).split('\r\n');
    expect(lines).toContain('m=audio 9 UDP/TLS/RTP/SAVPF 111');
    expect(lines).toContain('m=video 0 UDP/TLS/RTP/SAVPF 96');
    expect(lines).toContain('a=ice-ufrag:abcd');
    expect(lines.length).toBe(OFFER.split('\r\n').length - 2);
    expect(lines.at(-1)).toBe('');
  });
});

describe('sendingMids', () => {
  it('names sections that send, and no others', () => {
    const section = (mid: string, direction: string): string =>
      `m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:${mid}\r\na=${direction}\r\n`;
    const sections = ['sendonly', 'recvonly', 'inactive', 'sendrecv'];
    const sdp = sections.map((direction, at) => section(String(at), direction)).join('');
    expect([...sendingMids(`v=0\r\na=sendonly\r\n${sdp}`)]).toEqual(['0', '3']);
    expect(sendingMids('').size).toBe(0);
  });
});
