/** Everybody's tiles, kept in step with the room. */

import type { LocalTrack, Participant, RemoteTrack, Room } from '@conclave/web';
import { byId } from './dom.js';
import { arrange } from './layout.js';
import { raised } from './people.js';
import { Tile } from './tile.js';

type AnyTrack = RemoteTrack | LocalTrack;

/** The stage of the call. */
export class Grid {
  readonly #grid = byId('grid');
  readonly #screens = byId('screens');
  readonly #tiles = new Map<string, Tile>();
  readonly #observer = new ResizeObserver(() => this.#arrange());

  constructor(private readonly room: Room) {
    this.#observer.observe(this.#grid);
  }

  /** Brings the tiles in step with the room. Cheap: what is right stays untouched. */
  update(): void {
    const people = this.room.participantsInOrder;
    const wanted = new Set<string>();
    for (const person of people) {
      this.#show(person, 'camera', find(person, 'camera'), wanted);
      const screen = find(person, 'screen');
      if (screen) this.#show(person, 'screen', screen, wanted);
    }
    for (const [key, tile] of [...this.#tiles]) if (!wanted.has(key)) this.#drop(key, tile);
    this.#reorder(people);
    this.#screens.hidden = this.#screens.childElementCount === 0;
    this.#arrange();
  }

  /** Takes everything away. */
  close(): void {
    this.#observer.disconnect();
    for (const [key, tile] of [...this.#tiles]) this.#drop(key, tile);
  }

  #show(
    person: Participant,
    kind: 'camera' | 'screen',
    track: AnyTrack | null,
    wanted: Set<string>,
  ): void {
    const key = `${person.id}/${kind}`;
    wanted.add(key);
    const tile = this.#tiles.get(key) ?? this.#add(key, new Tile(person, kind));
    tile.show(track);
    const sound = find(person, 'microphone');
    tile.showMuted((sound?.muted ?? true) || person.mutedByServer.has('microphone'));
    tile.showRaised(raised(this.room, person));
    tile.showSpotlight(person.spotlighted);
    tile.showSpeaking(person.speaking);
  }

  #add(key: string, tile: Tile): Tile {
    this.#tiles.set(key, tile);
    (tile.kind === 'screen' ? this.#screens : this.#grid).append(tile.element);
    return tile;
  }

  /** Moves only what is not in its place: an element that moves starts its video anew. */
  #reorder(people: Participant[]): void {
    people.forEach(({ id }, at) => {
      const tile = this.#tiles.get(`${id}/camera`);
      const there = this.#grid.children[at] ?? null;
      if (tile && there !== tile.element) this.#grid.insertBefore(tile.element, there);
    });
  }

  #drop(key: string, tile: Tile): void {
    this.#tiles.delete(key);
    tile.remove();
  }

  #arrange(): void {
    const { clientWidth, clientHeight, childElementCount } = this.#grid;
    const gap = parseFloat(getComputedStyle(this.#grid).columnGap) || 0;
    const { width, height } = arrange(childElementCount, clientWidth, clientHeight, gap);
    this.#grid.style.setProperty('--tile-width', `${width}px`);
    this.#grid.style.setProperty('--tile-height', `${height}px`);
  }
}

function find(person: Participant, source: AnyTrack['source']): AnyTrack | null {
  for (const track of person.tracks) if (track.source === source) return track;
  return null;
}
