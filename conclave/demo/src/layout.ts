/** How tiles fill a rectangle. */

/** Size of each tile and number of columns. */
export interface Layout {
  columns: number;
  width: number;
  height: number;
}

/** Shapes that a tile may have, width by height. */
const ASPECTS = [16 / 9, 4 / 3, 1];

/**
 * The columns and the shape that make `count` tiles largest in `width` × `height` pixels. Wide
 * shapes win when there is no gain in area worth cutting pictures for.
 */
export function arrange(count: number, width: number, height: number, gap: number): Layout {
  let best: Layout = { columns: 1, width: 0, height: 0 };
  let bestArea = 0;
  for (let columns = 1; columns <= Math.max(1, count); columns += 1) {
    const rows = Math.ceil(Math.max(1, count) / columns);
    const roomX = (width - gap * (columns - 1)) / columns;
    const roomY = (height - gap * (rows - 1)) / rows;
    for (const aspect of ASPECTS) {
      const tile = Math.max(0, Math.floor(Math.min(roomX, roomY * aspect)));
      const area = (tile * tile) / aspect;
      if (area <= bestArea * 1.08) continue;
      bestArea = area;
      best = { columns, width: tile, height: Math.floor(tile / aspect) };
    }
  }
  return best;
}
