/**
 * What the client takes out of its own session description before it is sent.
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

function withoutAddress(line: string): string {
  if (line.startsWith('c=')) return 'c=IN IP4 0.0.0.0';
  if (line.startsWith('a=rtcp:')) return 'a=rtcp:9 IN IP4 0.0.0.0';
  if (line.startsWith('o=')) return line.replace(/IN IP[46] \S+$/, 'IN IP4 0.0.0.0');
  // Port 0 has a meaning of its own: the section is stopped, or bundle-only.
  const media = /^(m=\w+ )(\d+)( .*)$/.exec(line);
  return media && media[2] !== '0' ? `${media[1]}9${media[3]}` : line;
}
