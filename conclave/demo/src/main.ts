/** The demo page: first screen → call → end. */

import { LeftError, type LeaveReason, Room, type WaitReason } from '@conclave/web';
import { fetchTicket } from './backend.js';
import { Call } from './call.js';
import { byId } from './dom.js';
import { readParams } from './params.js';
import { type Choice, Setup } from './setup.js';
import { Waiting } from './waiting.js';

/** Video slots on a phone: more cannot be told apart, and each costs decoding. */
const PHONE_SLOTS_MAX = 6;
/** Video slots elsewhere: a demo room holds 16 people and a screen or two. */
const VIDEO_SLOTS_MAX = 18;

const ENDINGS: Record<LeaveReason, [string, string]> = {
  left: ['You left the room', 'Your camera and microphone are off.'],
  timeout: [
    'The connection was lost',
    'It could not be restored. Check the network and join again.',
  ],
  room_closed: ['The room was closed', 'Somebody ended it for everybody.'],
  denied: ['You were not let in', 'A moderator decided so.'],
  replaced: ['You joined in another window', 'This one has left.'],
  moved: ['You were moved to another room', 'It could not be reached. Join again.'],
  removed: ['You were removed from the room', 'Ask for a new invite if that was a mistake.'],
  protocol_error: ['This page does not fit the server', 'Reload it to get the present version.'],
  server_error: ['The server had to end the call', 'Join again in a moment.'],
};

/** For tests: the SDK's room of this page. */
interface ConclaveDemo {
  room: Room | null;
  Room: typeof Room;
}

declare global {
  interface Window {
    conclaveDemo: ConclaveDemo;
  }
}

const params = readParams(location.hash);
window.conclaveDemo = { room: null, Room };

const setup = new Setup(params, join);
const waiting = new Waiting();

async function join(choice: Choice): Promise<void> {
  const { room: name, code, handle } = choice;
  const ticket = { code, room: name, handle, role: params.role };
  const first = await fetchTicket(ticket);
  const { signal } = waiting.reset();
  const room = await Room.join(first.url, first.token, {
    // From a breakout room too it is the main room that one comes back to.
    refreshToken: async () => (await fetchTicket(ticket)).token,
    videoSlotsMax: window.innerWidth < 720 ? PHONE_SLOTS_MAX : VIDEO_SLOTS_MAX,
    onWaiting: (reason) => wait(reason),
    signal,
    ...(params.codec ? { videoCodec: params.codec } : {}),
  }).catch((error: unknown) => {
    if (error instanceof LeftError) return showEnd(error.reason);
    waiting.hide();
    throw error;
  });
  if (!room) return;
  waiting.hide();
  window.conclaveDemo.room = room;
  history.replaceState(null, '', location.href.split('#')[0] + fragment(choice));
  setup.hide();
  const call = new Call(room, choice, showEnd);
  await call.start();
}

function wait(reason: WaitReason): void {
  // Coming back after a loss may lead through the lobby again: the call stays on the page.
  if (window.conclaveDemo.room) return;
  setup.hide();
  waiting.show(reason);
}

/** The address keeps what it had and gets the room: a reload comes back to the same place. */
function fragment({ room, code }: Choice): string {
  const kept = new URLSearchParams(location.hash.slice(1));
  kept.set('room', room);
  kept.set('code', code);
  return `#${kept.toString()}`;
}

function showEnd(reason: LeaveReason): void {
  const [title, text] = ENDINGS[reason];
  window.conclaveDemo.room = null;
  setup.hide();
  waiting.hide();
  byId('ended-title').textContent = title;
  byId('ended-text').textContent = text;
  byId('ended').hidden = false;
  byId('ended-again').focus();
}

byId('ended-again').addEventListener('click', () => {
  byId('ended').hidden = true;
  setup.show();
});

// Another invite link pasted into the address bar of this page.
window.addEventListener('hashchange', () => location.reload());

if (params.auto) void setup.submit();
else setup.show();
