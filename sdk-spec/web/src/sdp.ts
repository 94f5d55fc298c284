/**
 * What the client reads from its own session description, and what it takes out before sending.
 *
 * @module
 */

/**
 * Removes the client's addresses from an offer: candidate lines, the default connection address
 * and port. The server is ICE lite and learns the address from the connectivity check itself,
 * so that no address of the local network ever leaves the browser through signaling.
 */
export function withoutAddresses(sdp: string): string {
  return sdp
    .split('\r\n')
    .filter((line) => !/^a=(candidate|end-of-candidates)/.test(line))
    .map(withoutAddress)
    .join('\r\n');
}

/** `a=mid` of the sections in which the writer of a description sends. */
export function sendingMids(sdp: string): Set<string> {
  const mids = new Set<string>();
  for (const section of sdp.split(/^m=/m).slice(1)) {
    const mid = /^a=mid:(\S+)/m.exec(section)?.[1];
    if (mid !== undefined && /^a=send(only|recv)\s*$/m.test(section)) mids.add(mid);
  }
  return mids;
}

function withoutAddress(line: string): string {
  if (line.startsWith('c=')) return 'c=IN IP4 0.0.0.0';
  if (line.startsWith('a=rtcp:')) return 'a=rtcp:9 IN IP4 0.0.0.0';
  if (line.startsWith('o=')) return line.replace(/IN IP[46] \S+$/, 'IN IP4 0.0.0.0');
  // Port 0 has a meaning of its own: the section is stopped, or bundle-only.
  const media = /^(m=\w+ )(\d+)( .*)$/.exec(line);
  return media && media[2] !== '0' ? `${media[1]}9${media[3]}` : line;
}
