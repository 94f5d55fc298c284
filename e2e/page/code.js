// The code in a picture, the same for the page that paints it and for the test that reads a recorded file.
//
//   16 x 5 black or white blocks in the upper half = 48 bits sender's clock in ms, 16 bits frame
//   number, 16 bits checksum. A picture counts only when its checksum matches.

globalThis.pictureCode = (() => {
  const COLUMNS = 16;
  const ROWS = 5;
  const CODE_BITS = COLUMNS * ROWS;
  const CLOCK_BITS = 48;
  const NUMBER_BITS = 16;
  const WHITE = 128;

  const bits = (value, count) => Array.from({ length: count }, (_, i) => Math.floor(value / 2 ** (count - 1 - i)) % 2);
  const number = (from) => from.reduce((value, bit) => value * 2 + bit, 0);

  function encode(clock, frame) {
    const payload = [...bits(clock, CLOCK_BITS), ...bits(frame % 65536, NUMBER_BITS)];
    let sum = 0x1d0f;
    for (let i = 0; i < payload.length; i += 8) sum = (sum * 31 + number(payload.slice(i, i + 8))) & 0xffff;
    return [...payload, ...bits(sum, 16)];
  }

  function decode(code) {
    const clock = number(code.slice(0, CLOCK_BITS));
    const frame = number(code.slice(CLOCK_BITS, CLOCK_BITS + NUMBER_BITS));
    return encode(clock, frame).every((bit, i) => bit === code[i]) ? { clock, frame } : null;
  }

  /** Left upper corner and size of block `i` in a picture. */
  function block(i, width, height) {
    const [w, h] = [width / COLUMNS, (height * 0.5) / ROWS];
    return { x: (i % COLUMNS) * w, y: Math.floor(i / COLUMNS) * h, w, h };
  }

  /** What a picture says, or null; `luma(x, y)` is 0 to 255. */
  function read(luma, width, height) {
    return decode(Array.from({ length: CODE_BITS }, (_, i) => {
      const { x, y, w, h } = block(i, width, height);
      return luma(Math.floor(x + 0.5 * w), Math.floor(y + 0.5 * h)) > WHITE ? 1 : 0;
    }));
  }

  /** The middle of what is white while the beat sounds: the lower left quarter. */
  const flash = (luma, width, height) => luma(Math.floor(width * 0.12), Math.floor(height * 0.75)) > WHITE;

  return { encode, block, read, flash };
})();
