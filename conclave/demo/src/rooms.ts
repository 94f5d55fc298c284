/** The room section of the panel: modes and breakout rooms, for moderators. */

import type { BreakoutRoom, Room, RoomSettings } from '@conclave/web';
import { byId, make } from './dom.js';
import type { Run } from './people.js';

/** Breakout rooms that one click creates. */
const BREAKOUTS = 2;

const SWITCHES: Record<string, (on: boolean) => RoomSettings> = {
  'room-lecture': (on) => ({ mode: on ? 'lecture' : 'group' }),
  'room-locked': (locked) => ({ locked }),
  'room-knock': (knock) => ({ knock }),
};

/** What a breakout room is called. */
export function breakoutName({ reference }: Pick<BreakoutRoom, 'reference'>, at: number): string {
  return reference ?? `Room ${at + 1}`;
}

/** Connects switches and buttons. */
export function wireRooms(room: Room, run: Run, signal: AbortSignal): void {
  const { moderate } = room;
  const on = (id: string, act: () => Promise<unknown>): void =>
    byId(id).addEventListener('click', () => run(act), { signal });
  for (const [id, settings] of Object.entries(SWITCHES)) {
    const box = byId<HTMLInputElement>(id);
    box.addEventListener('change', () => run(() => moderate.update(settings(box.checked))), {
      signal,
    });
  }
  on('room-mute-all', () => moderate.muteAll('microphone'));
  on('room-unmute-all', () => moderate.unmuteAll());
  on('breakout-create', () =>
    moderate.createBreakouts(
      Array.from({ length: BREAKOUTS }, (_, i) => ({ reference: `room-${i + 1}` })),
    ),
  );
  on('breakout-close', () => moderate.closeBreakouts());
  on('breakout-return', () => moderate.move([room.localParticipant], room.info.parent ?? ''));
}

/** Shows what the room is like now. */
export function updateRooms(room: Room, run: Run): void {
  const { info, isModerator } = room;
  byId('panel-room').hidden = !isModerator;
  byId('panel-breakouts').hidden = !isModerator;
  byId<HTMLInputElement>('room-lecture').checked = info.mode === 'lecture';
  byId<HTMLInputElement>('room-locked').checked = info.locked;
  byId<HTMLInputElement>('room-knock').checked = info.knock;
  const some = info.breakouts.length > 0;
  byId('breakout-create').hidden = some || info.parent !== null;
  byId('breakout-close').hidden = !some;
  byId('breakout-return').hidden = info.parent === null;
  const list = byId('breakout-list');
  const state = JSON.stringify(info.breakouts);
  if (list.dataset.state === state) return;
  list.dataset.state = state;
  list.replaceChildren(...info.breakouts.map((each, at) => breakoutRow(room, each, at, run)));
}

function breakoutRow(room: Room, each: BreakoutRoom, at: number, run: Run): HTMLElement {
  const go = make('button', 'tool wide', 'Go there');
  go.type = 'button';
  go.addEventListener('click', () =>
    run(() => room.moderate.move([room.localParticipant], each.room)),
  );
  const row = make('li', 'person-head', make('strong', 'person-name', breakoutName(each, at)), go);
  row.dataset.room = each.room;
  return row;
}
