/** Faces for opaque handles: a colour and a symmetric pattern, the same on every page. */

/** Letters without look-alikes. */
const LETTERS = 'abcdefghjkmnpqrstuvwxyz23456789';

/** A random handle: it says nothing about anybody. */
export function randomHandle(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(8));
  return `guest-${[...bytes].map((byte) => LETTERS[byte % LETTERS.length]).join('')}`;
}

/** What to show of a handle. */
export function shortHandle(handle: string): string {
  return handle.length <= 14 ? handle : `${handle.slice(0, 6)}…${handle.slice(-6)}`;
}

/** FNV-1a, 32 bits: spreads similar handles. */
export function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const char of text) {
    value ^= char.codePointAt(0) ?? 0;
    value = Math.imul(value, 0x01000193) >>> 0;
  }
  // FNV mixes its low bits badly for short texts.
  value ^= value >>> 15;
  value = Math.imul(value, 0x2c1b3c6d) >>> 0;
  return (value ^ (value >>> 12)) >>> 0;
}

/** Hue in degrees. */
export function hue(handle: string): number {
  return hash(handle) % 360;
}

/** Cells of a 5 × 5 pattern, mirrored left to right, as `[x, y]`. */
export function pattern(handle: string): [number, number][] {
  const bits = hash(`${handle}/pattern`);
  const cells: [number, number][] = [];
  for (let y = 0; y < 5; y += 1) {
    for (let x = 0; x < 3; x += 1) {
      if (((bits >>> (y * 3 + x)) & 1) === 0) continue;
      cells.push([x, y]);
      if (x < 2) cells.push([4 - x, y]);
    }
  }
  return cells;
}
