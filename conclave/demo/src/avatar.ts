/** The face of a handle as SVG. */

import { svg } from './dom.js';
import { hue, pattern } from './identity.js';

/** A round avatar. */
export function avatar(handle: string): SVGElement {
  const tone = hue(handle);
  const face = svg('svg', { class: 'avatar', viewBox: '0 0 9 9', 'aria-hidden': 'true' });
  face.append(svg('circle', { cx: 4.5, cy: 4.5, r: 4.5, fill: `hsl(${tone} 46% 32%)` }));
  for (const [x, y] of pattern(handle)) {
    face.append(
      svg('rect', {
        x: x + 2,
        y: y + 2,
        width: 1.02,
        height: 1.02,
        rx: 0.18,
        fill: `hsl(${tone} 78% 82%)`,
      }),
    );
  }
  return face;
}
