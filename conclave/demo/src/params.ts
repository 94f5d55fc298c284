/** What the address says: `/demo/#room=<name>&code=<code>`, and options for tests. */

import type { Role, VideoCodec } from '@conclave/web';

/** Where the picture comes from. */
export type Picture = 'camera' | 'generated';

/** The parsed fragment. */
export interface Params {
  room: string;
  code: string;
  /** Joins at once, without the first screen. */
  auto: boolean;
  /** Picture and, with `generated`, a tone; null leaves the choice to the visitor. */
  source: Picture | null;
  codec: VideoCodec | null;
  /** Handle to use instead of a random one. */
  handle: string | null;
  /** Role to ask for; null lets the server choose: who comes first moderates. */
  role: Role | null;
}

const CODECS: readonly string[] = ['VP8', 'VP9', 'H264', 'AV1'];
const ROLES: readonly string[] = ['moderator', 'participant', 'viewer'];
const HANDLE = /^[A-Za-z0-9._~-]{1,64}$/;

/** Reads the fragment. It never reaches a server, so the join code is in no log. */
export function readParams(hash: string): Params {
  const given = new URLSearchParams(hash.replace(/^#/, ''));
  const source = given.get('source');
  const codec = given.get('codec')?.toUpperCase() ?? '';
  const handle = given.get('handle') ?? '';
  const role = given.get('role') ?? '';
  return {
    room: given.get('room') ?? '',
    code: given.get('code') ?? '',
    auto: given.get('auto') === '1',
    source: source === 'camera' || source === 'generated' ? source : null,
    codec: CODECS.includes(codec) ? (codec as VideoCodec) : null,
    handle: HANDLE.test(handle) ? handle : null,
    role: ROLES.includes(role) ? (role as Role) : null,
  };
}

/** The address for others: room and code, no options of this page. */
export function inviteLink(page: string, { room, code }: { room: string; code: string }): string {
  const url = new URL(page);
  url.search = '';
  url.hash = new URLSearchParams({ room, code }).toString();
  return url.href;
}
