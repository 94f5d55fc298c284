/** The call: bar, tiles, controls. */

import {
  type Invitation,
  type LeaveReason,
  LocalTrack,
  type Quality,
  type Room,
} from '@conclave/web';
import { byId, icon } from './dom.js';
import { generatedPicture, generatedTone } from './generated.js';
import { Grid } from './grid.js';
import { Panel } from './panel.js';
import { inviteLink } from './params.js';
import { HAND } from './people.js';
import { RecordingView } from './recording.js';
import { describe, type Choice } from './setup.js';
import { toast } from './toast.js';

const QUALITY_TEXT: Record<Quality, string> = { good: 'Good', fair: 'Fair', poor: 'Poor' };

type BannerKind = 'reconnecting' | 'sound' | 'invited' | 'waiting' | 'alone';

/** Text and button. */
const BANNERS: Record<BannerKind, [string, string]> = {
  reconnecting: ['The connection was interrupted. Reconnecting…', ''],
  sound: ['The browser holds the sound back.', 'Play sound'],
  invited: ['A moderator invites you to a breakout room.', 'Go there'],
  waiting: ['A moderator will let you in again.', ''],
  alone: ['Nobody else is here yet.', 'Copy invite link'],
};

/** A call in progress. */
export class Call {
  readonly #root = byId('call');
  readonly #grid: Grid;
  readonly #abort = new AbortController();
  readonly #panel: Panel;
  readonly #recording: RecordingView;
  #invitation: Invitation | null = null;
  #media: Pick<Choice, 'picture' | 'sound'>;
  #busy = new Set<string>();
  #soundBlocked = false;

  /** @param ended - called once when the call is over */
  constructor(
    private readonly room: Room,
    private readonly choice: Choice,
    ended: (reason: LeaveReason) => void,
  ) {
    this.#grid = new Grid(room);
    this.#panel = new Panel(room, this.#abort.signal);
    const failed = (error: unknown): void => toast(describe(error));
    this.#recording = new RecordingView(room, choice.code, failed, this.#abort.signal);
    this.#media = {
      picture: choice.picture === 'off' ? 'camera' : choice.picture,
      sound: choice.sound === 'off' ? 'microphone' : choice.sound,
    };
    this.#listen(ended);
    this.#wire();
    this.#root.hidden = false;
    this.#update();
    room.playAudio();
  }

  /** Publishes what was chosen on the first screen. What fails is told and can be tried again. */
  async start(): Promise<void> {
    const { picture, sound } = this.choice;
    await Promise.all([
      sound === 'off' ? null : this.#try('mic', () => this.#publishSound()),
      picture === 'off' ? null : this.#try('cam', () => this.#publishPicture()),
    ]);
  }

  #listen(ended: (reason: LeaveReason) => void): void {
    const { room } = this;
    const update = (): void => this.#update();
    room.on('participantJoined', update);
    room.on('participantUpdated', update);
    room.on('participantLeft', update);
    room.on('roomUpdated', update);
    room.on('lobby', update);
    room.on('floor', update);
    room.on('recording', () => {
      this.#recording.changed();
      this.#update();
    });
    room.on('grantsChanged', update);
    room.on('trackPublished', update);
    room.on('trackUnpublished', update);
    room.on('trackSubscribed', update);
    room.on('trackUnsubscribed', update);
    room.on('trackMuted', update);
    room.on('localTrackPublished', update);
    room.on('localTrackUnpublished', (track, reason) => {
      if (reason === 'not_permitted')
        toast(`Your ${track.source} was turned off: not permitted now.`);
      this.#update();
    });
    room.on('moved', () => this.#onMoved());
    room.on('invited', (invitation) => {
      this.#invitation = invitation;
      this.#update();
    });
    room.on('connectionState', update);
    room.on('quality', update);
    room.on('reconnected', update);
    room.on('activeSpeakers', () => this.#onSpeakers());
    room.on('playbackBlocked', () => this.#setSoundBlocked(true));
    room.on('error', (error) => toast(describe(error)));
    room.on('left', (reason) => {
      this.#close();
      ended(reason);
    });
  }

  #wire(): void {
    const on = (id: string, act: () => void): void =>
      byId(id).addEventListener('click', act, { signal: this.#abort.signal });
    on('control-mic', () => void this.#toggleMic());
    on('control-cam', () => void this.#toggleCam());
    on('control-screen', () => void this.#toggleScreen());
    on('control-hand', () => this.#toggleHand());
    on('control-record', () => void this.#try('record', () => this.#recording.toggle()));
    on('control-leave', () => this.room.leave());
    on('call-invite', () => void this.#copyInvite());
    on('banner-button', () => this.#onBanner());
    document.addEventListener('keydown', (event) => this.#onKey(event), {
      signal: this.#abort.signal,
    });
  }

  #onKey(event: KeyboardEvent): void {
    // A letter in a menu of the panel chooses there.
    if (event.target instanceof HTMLSelectElement) return;
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key === 'm') void this.#toggleMic();
    if (event.key === 'v') void this.#toggleCam();
    if (event.key === 'h') this.#toggleHand();
    if (event.key === 's') void this.#toggleScreen();
  }

  async #toggleMic(): Promise<void> {
    const track = this.room.localTracks.get('microphone');
    await this.#try('mic', () =>
      track ? this.room.setMuted(track, !track.muted) : this.#publishSound(),
    );
  }

  async #toggleCam(): Promise<void> {
    const track = this.room.localTracks.get('camera');
    await this.#try('cam', () =>
      track ? this.room.setMuted(track, !track.muted) : this.#publishPicture(),
    );
  }

  async #toggleScreen(): Promise<void> {
    const track = this.room.localTracks.get('screen');
    await this.#try('screen', () =>
      track ? Promise.resolve(this.room.unpublish(track)) : this.room.publishScreen(),
    );
  }

  /** In a lecture the hand asks for the floor, or gives it back; else it is a state to be seen. */
  #toggleHand(): void {
    const { room } = this;
    try {
      if (this.#floorRules()) {
        if (room.floor.held || room.floor.requested) room.floor.release();
        else room.floor.request();
      } else {
        room.setState(room.localParticipant.state === HAND ? null : HAND);
      }
    } catch (error) {
      toast(describe(error));
    }
  }

  #floorRules(): boolean {
    return this.room.info.mode === 'lecture' && this.room.localParticipant.role === 'participant';
  }

  #onMoved(): void {
    const { info } = this.room;
    toast(info.parent ? 'You are in a breakout room.' : 'You are back in the main room.');
    this.#invitation = null;
    this.#update();
  }

  #publishSound(): Promise<LocalTrack> {
    if (this.#media.sound === 'microphone') return this.room.publishMicrophone();
    return this.room.publishTrack(generatedTone(this.choice.handle), 'microphone');
  }

  #publishPicture(): Promise<LocalTrack> {
    if (this.#media.picture === 'camera') return this.room.publishCamera();
    return this.room.publishTrack(generatedPicture(this.choice.handle), 'camera');
  }

  /** Runs one action of a button at a time; a failure is told. */
  async #try(button: string, act: () => Promise<unknown>): Promise<void> {
    if (this.#busy.has(button)) return;
    this.#busy.add(button);
    this.#update();
    try {
      await act();
    } catch (error) {
      // Closing the browser's screen picker is an answer, not a failure.
      if (button !== 'screen' || !isDenied(error)) toast(describe(error));
    } finally {
      this.#busy.delete(button);
      this.#update();
    }
  }

  #onSpeakers(): void {
    this.#update();
    const hidden = [...this.room.tracks.values()].some(
      (each) => each.kind === 'video' && !each.subscribed,
    );
    if (!hidden) return;
    const cameras = this.room.activeSpeakers.flatMap(({ tracks }) => [...tracks]);
    const wanted = cameras.filter((each) => !(each instanceof LocalTrack) && each.kind === 'video');
    this.room.want(wanted.map((track) => track.id ?? '').filter(Boolean));
  }

  async #copyInvite(): Promise<void> {
    const link = inviteLink(location.href, this.choice);
    try {
      await navigator.clipboard.writeText(link);
      toast('Invite link copied. Whoever opens it gets in.');
    } catch {
      window.prompt('Copy this invite link:', link);
    }
  }

  #setSoundBlocked(blocked: boolean): void {
    this.#soundBlocked = blocked;
    this.#update();
  }

  #update(): void {
    if (this.room.connectionState === 'left') return;
    this.#grid.update();
    this.#panel.update();
    this.#recording.update();
    const people = this.room.participants.size + 1;
    byId('call-room').textContent = this.choice.room + (this.room.info.parent ? ' · breakout' : '');
    byId('call-count').textContent = people === 1 ? 'only you' : `${people} people`;
    this.#updateControls();
    this.#updateQuality();
    this.#updateBanner();
  }

  #updateControls(): void {
    const { localTracks, grants, localParticipant: me } = this.room;
    const live = (source: 'microphone' | 'camera'): boolean =>
      localTracks.get(source)?.muted === false && !me.mutedByServer.has(source);
    this.#control('mic', live('microphone'), ['Mute', 'Unmute'], ['mic', 'mic-off']);
    this.#control('cam', live('camera'), ['Camera off', 'Camera on'], ['cam', 'cam-off']);
    const sharing = localTracks.has('screen');
    const screen = byId<HTMLButtonElement>('control-screen');
    fill(screen, 'screen', sharing ? 'Stop sharing' : 'Share');
    screen.dataset.on = String(sharing);
    const can = typeof navigator.mediaDevices?.getDisplayMedia === 'function';
    screen.disabled = !can || !grants.publish?.includes('screen') || this.#busy.has('screen');
    this.#updateHand();
    this.#updateRecord();
    fill(byId('control-leave'), 'leave', 'Leave');
  }

  #updateHand(): void {
    const { floor, localParticipant: me } = this.room;
    const button = byId<HTMLButtonElement>('control-hand');
    const text = this.#floorRules()
      ? floor.held
        ? 'End speaking'
        : floor.requested
          ? 'Take back'
          : 'Ask to speak'
      : me.state === HAND
        ? 'Lower hand'
        : 'Raise hand';
    fill(button, 'hand', text);
    const on = this.#floorRules() ? floor.held || floor.requested : me.state === HAND;
    button.dataset.on = String(on);
  }

  #updateRecord(): void {
    const { grants, recording } = this.room;
    const button = byId<HTMLButtonElement>('control-record');
    button.hidden = grants.record !== true;
    fill(button, 'record', recording ? 'Stop rec.' : 'Record');
    button.setAttribute('aria-label', recording ? 'Stop recording' : 'Record');
    button.dataset.on = String(recording !== null);
    button.setAttribute('aria-busy', String(this.#busy.has('record')));
  }

  #control(name: string, on: boolean, text: [string, string], icons: [string, string]): void {
    const button = byId<HTMLButtonElement>(`control-${name}`);
    fill(button, on ? icons[0] : icons[1], on ? text[0] : text[1]);
    button.setAttribute('aria-pressed', String(on));
    // Not `disabled`: the focus would be lost while a device opens.
    button.setAttribute('aria-busy', String(this.#busy.has(name)));
  }

  #updateQuality(): void {
    const shown = byId('call-quality');
    const { connectionState, quality } = this.room;
    const connected = connectionState === 'connected';
    shown.dataset.level = connected ? quality : 'none';
    const text = connected ? QUALITY_TEXT[quality] : 'Connecting';
    byId('call-quality-text').textContent = text;
    shown.setAttribute('aria-label', connected ? `Connection: ${text}` : text);
  }

  #updateBanner(): void {
    const banner = byId('banner');
    const kind = this.#bannerKind();
    banner.hidden = kind === null;
    if (kind === null || banner.dataset.kind === kind) return;
    banner.dataset.kind = kind;
    const [text, action] = BANNERS[kind];
    byId('banner-text').textContent = text;
    byId('banner-button').hidden = action === '';
    byId('banner-button').textContent = action;
  }

  /** The most pressing one. */
  #bannerKind(): BannerKind | null {
    if (this.room.connectionState === 'reconnecting') return 'reconnecting';
    if (this.room.connectionState === 'waiting') return 'waiting';
    if (this.#soundBlocked) return 'sound';
    if (this.#invitation) return 'invited';
    return this.room.participants.size === 0 ? 'alone' : null;
  }

  #onBanner(): void {
    if (this.#bannerKind() === 'alone') return void this.#copyInvite();
    if (this.#bannerKind() === 'invited') return this.#acceptInvitation();
    this.#setSoundBlocked(false);
    this.room.playAudio();
  }

  #acceptInvitation(): void {
    const invitation = this.#invitation;
    this.#invitation = null;
    this.#update();
    invitation?.accept().catch((error: unknown) => toast(describe(error)));
  }

  #close(): void {
    this.#abort.abort();
    this.#panel.close();
    this.#recording.close();
    this.#grid.close();
    this.#root.hidden = true;
  }
}

/** Sets icon and label, touching the page only when they change: focus and clicks survive. */
function fill(button: HTMLElement, name: string, label: string): void {
  if (button.dataset.icon === name && button.title === label) return;
  button.dataset.icon = name;
  button.title = label;
  const text = document.createElement('span');
  text.textContent = label;
  button.replaceChildren(icon(name), text);
}

function isDenied(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'permission_denied';
}
