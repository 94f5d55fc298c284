/** The panel at the side: lobby, people, room. */

import type { Participant, Room } from '@conclave/web';
import { avatar } from './avatar.js';
import { byId, make } from './dom.js';
import { shortHandle } from './identity.js';
import { personRow, raised, rowState } from './people.js';
import { updateRooms, wireRooms } from './rooms.js';
import { describe } from './setup.js';
import { toast } from './toast.js';

/** Lists that follow the room. */
export class Panel {
  readonly #root = byId('panel');
  readonly #button = byId('call-people');
  readonly #rows = new Map<string, { state: string; row: HTMLElement }>();

  constructor(
    private readonly room: Room,
    signal: AbortSignal,
  ) {
    this.#button.addEventListener('click', () => this.#toggle(), { signal });
    byId('lobby-all').addEventListener('click', () => this.#run(() => room.moderate.admit()), {
      signal,
    });
    wireRooms(room, this.#run, signal);
  }

  /** Brings everything in step with the room. */
  update(): void {
    const people = this.room.participantsInOrder;
    const hands = people.filter((person) => raised(this.room, person)).length;
    const waiting = this.room.lobby.length;
    this.#button.dataset.calls = String(hands + waiting);
    byId('call-people-text').textContent = label(people.length, hands, waiting);
    this.#updateLobby(this.room.lobby);
    this.#updatePeople(people);
    updateRooms(this.room, this.#run);
  }

  /** Forgets everything. */
  close(): void {
    this.#rows.clear();
    byId('people-list').replaceChildren();
    byId('lobby-list').replaceChildren();
    delete byId('breakout-list').dataset.state;
    this.#root.hidden = true;
    this.#button.setAttribute('aria-expanded', 'false');
  }

  #toggle(): void {
    this.#root.hidden = !this.#root.hidden;
    this.#button.setAttribute('aria-expanded', String(!this.#root.hidden));
  }

  readonly #run = (act: () => Promise<unknown>): void => {
    act().catch((error: unknown) => {
      toast(describe(error));
      // A switch shows again what is, not what was wanted.
      this.update();
    });
  };

  #updateLobby(waiting: readonly Participant[]): void {
    byId('panel-lobby').hidden = waiting.length === 0;
    const list = byId('lobby-list');
    const state = waiting.map(({ id }) => id).join();
    if (list.dataset.state === state) return;
    list.dataset.state = state;
    list.replaceChildren(...waiting.map((person) => this.#lobbyRow(person)));
  }

  #lobbyRow(person: Participant): HTMLElement {
    const { moderate } = this.room;
    return make(
      'li',
      'person-head',
      make('span', 'face', avatar(person.handle)),
      make('strong', 'person-name', shortHandle(person.handle)),
      this.#action('Admit', () => moderate.admit(person)),
      this.#action('Deny', () => moderate.deny(person)),
    );
  }

  #action(text: string, act: () => Promise<unknown>): HTMLElement {
    const button = make('button', 'tool wide', text);
    button.type = 'button';
    button.addEventListener('click', () => this.#run(act));
    return button;
  }

  #updatePeople(people: Participant[]): void {
    const ids = new Set(people.map(({ id }) => id));
    for (const id of [...this.#rows.keys()]) if (!ids.has(id)) this.#rows.delete(id);
    const rows = people.map((person) => this.#row(person));
    const list = byId('people-list');
    const same =
      rows.length === list.childElementCount && rows.every((row, i) => row === list.children[i]);
    if (!same) list.replaceChildren(...rows);
  }

  #row(person: Participant): HTMLElement {
    const state = rowState(this.room, person);
    const known = this.#rows.get(person.id);
    if (known?.state === state) return known.row;
    const row = personRow(this.room, person, this.#run);
    this.#rows.set(person.id, { state, row });
    return row;
  }
}

function label(people: number, hands: number, waiting: number): string {
  const words = [`People ${people}`];
  if (waiting > 0) words.push(`${waiting} waiting`);
  if (hands > 0) words.push(`${hands} raised`);
  return words.join(' · ');
}
