/** A row of the people panel: who, what is raised or muted, and what a moderator can do. */

import type { Participant, Role, Room } from '@conclave/web';
import { avatar } from './avatar.js';
import { icon, make } from './dom.js';
import { shortHandle } from './identity.js';
import { breakoutName } from './rooms.js';

/** State text by which this page shows a raised hand. */
export const HAND = 'hand';

const ROLES: Record<Role, string> = {
  moderator: 'Moderator',
  participant: 'Participant',
  viewer: 'Viewer',
};

/** Carries an action out; a failure is told. */
export type Run = (act: () => Promise<unknown>) => void;

/** What a row shows; when it is the same, the row stays untouched and keeps the focus. */
export function rowState(room: Room, person: Participant): string {
  return JSON.stringify([
    ...[person.id, person.role, person.state, person.spotlighted, room.isModerator],
    ...[...person.mutedByServer],
    raised(room, person),
    room.floor.holders.includes(person),
    room.info.mode,
    room.info.breakouts.map((each) => each.room),
    room.info.parent,
  ]);
}

/** Whether somebody has a hand up, or asks for the floor. */
export function raised(room: Room, person: Participant): boolean {
  return person.state === HAND || room.floor.requests.includes(person);
}

/** Makes the row. */
export function personRow(room: Room, person: Participant, run: Run): HTMLElement {
  const name = make('strong', '', person.isLocal ? 'You' : shortHandle(person.handle));
  const who = make('span', 'person-name', name, make('small', '', describe(room, person)));
  const face = make('span', 'face', avatar(person.handle));
  const row = make('li', 'person', make('div', 'person-head', face, who, ...marks(room, person)));
  row.dataset.participant = person.id;
  if (room.isModerator && !person.isLocal) row.append(tools(room, person, run));
  return row;
}

function describe(room: Room, person: Participant): string {
  const words = [ROLES[person.role]];
  if (room.floor.holders.includes(person)) words.push('has the floor');
  else if (raised(room, person)) words.push('hand raised');
  if (person.mutedByServer.size > 0) words.push('muted by a moderator');
  return words.join(' · ');
}

function marks(room: Room, person: Participant): Element[] {
  const names: string[] = [];
  if (raised(room, person)) names.push('hand');
  if (person.spotlighted) names.push('star');
  if (person.mutedByServer.has('microphone')) names.push('mic-off');
  return names.map((name) => icon(name));
}

function tools(room: Room, person: Participant, run: Run): HTMLElement {
  const { moderate } = room;
  const muted = person.mutedByServer.size > 0;
  const shown = room.info.spotlight.filter((id) => id !== person.id);
  const all = [
    tool('mic-off', muted ? 'Lift the mute' : 'Mute', muted, () =>
      run(() => (muted ? moderate.unmute(person) : moderate.mute(person, 'microphone'))),
    ),
    tool('star', person.spotlighted ? 'End the spotlight' : 'Spotlight', person.spotlighted, () =>
      run(() => moderate.spotlight(...(person.spotlighted ? shown : [person.id, ...shown]))),
    ),
  ];
  if (room.info.mode === 'lecture' && person.role === 'participant')
    all.push(floor(room, person, run));
  all.push(roleMenu(room, person, run));
  const places = placeMenu(room, person, run);
  if (places) all.push(places);
  all.push(tool('x', 'Remove', false, () => run(() => moderate.eject(person))));
  return make('div', 'person-tools', ...all);
}

function floor(room: Room, person: Participant, run: Run): HTMLElement {
  const held = room.floor.holders.includes(person);
  return tool('hand', held ? 'Take the floor back' : 'Give the floor', held, () =>
    run(() => (held ? room.moderate.releaseFloor(person) : room.moderate.grantFloor(person))),
  );
}

function tool(name: string, label: string, on: boolean, act: () => void): HTMLElement {
  const button = make('button', 'tool', icon(name));
  button.type = 'button';
  button.title = label;
  button.setAttribute('aria-label', label);
  button.setAttribute('aria-pressed', String(on));
  button.addEventListener('click', act);
  return button;
}

function roleMenu(room: Room, person: Participant, run: Run): HTMLElement {
  const options = Object.entries(ROLES).map(([role, text]) => option(role, text));
  return menu('Role', options, person.role, (role) =>
    run(() => room.moderate.setRole(person, role as Role)),
  );
}

/** Where somebody can be moved, when there is anywhere. */
function placeMenu(room: Room, person: Participant, run: Run): HTMLElement | null {
  const { breakouts, parent } = room.info;
  const places = breakouts.map((each, at) => option(each.room, breakoutName(each, at)));
  if (parent) places.push(option(parent, 'Main room'));
  if (places.length === 0) return null;
  return menu('Move to', [option('', 'Move…'), ...places], '', (to) =>
    run(() => room.moderate.move([person], to)),
  );
}

function option(value: string, text: string): HTMLOptionElement {
  const made = make('option', '', text);
  made.value = value;
  return made;
}

function menu(
  label: string,
  options: HTMLOptionElement[],
  value: string,
  changed: (value: string) => void,
): HTMLElement {
  const select = make('select', 'tool', ...options);
  select.setAttribute('aria-label', label);
  select.value = value;
  select.addEventListener('change', () => {
    const wanted = select.value;
    // Shown as chosen when the room says so.
    select.value = value;
    if (wanted !== '') changed(wanted);
  });
  return select;
}
