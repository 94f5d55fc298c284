// A partner's page on the real SDK: joins, publishes a coded source, reads back what others send.

import { Room } from './sdk/index.js';

let room = null;
let own = null;
/** Whether what others send is decoded and read: most of the work of a page. */
let watching = true;
const watches = new Map();
const events = [];

/** Times of the last join, on performance.now(). */
const times = {};

window.client = {
  async join({ url, token, codec, source: shape, tokens = [], watches: reads = true }) {
    watching = reads;
    times.join = performance.now();
    const onWaiting = (reason) => events.push(['waiting', reason, clock()]);
    const options = { videoCodec: codec, onWaiting, refreshToken: tokens.length ? async () => tokens.shift() : undefined };
    room = await Room.join(url, token, options);
    times.joined = performance.now();
    note();
    for (const track of room.tracks.values()) follow(track);
    if (shape) await publish(shape);
  },

  report() {
    const people = {};
    for (const person of room.participants.values()) people[person.handle] = describe(person);
    return { state: room.connectionState, people, events: [...events], times: { ...times } };
  },

  /** Statistics as an array of plain objects. */
  async stats() {
    const { report } = await room.stats();
    return [...report.values()].map((stat) => ({ ...stat }));
  },

  /** What this client is and may do, and what it knows of the room. */
  standing() {
    const { grants, info, lobby, floor, isModerator } = room;
    const handles = (people) => people.map(({ handle }) => handle);
    return {
      id: room.localParticipant.id,
      role: room.localParticipant.role,
      grants,
      isModerator,
      room: { ...info },
      lobby: handles(lobby),
      floor: { held: floor.held, requested: floor.requested, holders: handles(floor.holders), requests: handles(floor.requests) },
      mutedByServer: [...room.localParticipant.mutedByServer],
      publishes: [...room.localTracks.keys()],
    };
  },

  /** One call of `room.moderate`: `{ at, result }`, or `{ at, refused }` with the code. */
  async moderate(call, ...args) {
    const at = clock();
    try {
      return { at, result: await room.moderate[call](...args) };
    } catch (error) {
      return { at, refused: error.code };
    }
  },

  /** Publishes the coded source now, or says with what code that is refused. */
  async publish(shape) {
    try {
      await publish(shape);
      return null;
    } catch (error) {
      await own?.stop();
      return error.code;
    }
  },

  /** The own tracks cannot be silenced in this page any more: a client that does not obey. */
  disobey() {
    for (const track of room.localTracks.values()) {
      Object.defineProperty(track.mediaStreamTrack, 'enabled', { get: () => true, set: () => {} });
    }
  },

  room: () => room,

  /** Calls a function of the room; its time, and the code of a refusal. */
  async ask(call, ...args) {
    const at = clock();
    try {
      await room[call](...args);
      return { at };
    } catch (error) {
      return { at, refused: error.code };
    }
  },

  /** What has left this page: pictures and sounds. */
  async sent() {
    const { report } = await room.stats();
    const count = (kind, field) => [...report.values()].find((s) => s.type === 'outbound-rtp' && s.kind === kind)?.[field] ?? 0;
    return { pictures: count('video', 'framesSent'), sounds: count('audio', 'packetsSent') };
  },

  reset() {
    for (const { watch } of watches.values()) watch.reset();
  },

  /** Switches one size of the simulcast camera on or off, as the browser does when something gets short. */
  async setSize(rid, active) {
    const sender = window.patch.connections.at(-1).getSenders().find(({ track }) => track?.kind === 'video');
    const parameters = sender.getParameters();
    parameters.encodings.find((encoding) => encoding.rid === rid).active = active;
    await sender.setParameters(parameters);
  },

  setMuted: (source, muted) => room.setMuted(room.localTracks.get(source), muted),

  async leave() {
    room.leave();
    for (const { watch } of watches.values()) await watch.close();
    watches.clear();
    await own?.stop();
    own = null;
  },
};
window.ready = true;

/** Milliseconds that mean the same in every page of a machine. */
function clock() {
  return performance.timeOrigin + performance.now();
}

async function publish(shape) {
  own = window.source(shape);
  await room.publishTrack(own.video, 'camera', { simulcast: shape.simulcast });
  await room.publishTrack(own.audio, 'microphone');
  times.published = performance.now();
}

function note() {
  const names = [
    'participantJoined', 'participantLeft', 'reconnecting', 'reconnected', 'left', 'error', 'moved', 'data', 'grantsChanged',
    'recording',
  ];
  for (const name of names) {
    room.on(name, (detail) => events.push([name, detail?.handle ?? detail?.code ?? detail ?? null, clock()]));
  }
  room.on('localTrackUnpublished', (track, reason) => events.push(['unpublished', `${track.source}: ${reason}`, clock()]));
  room.on('invited', (invitation) => { window.client.invitation = invitation; });
  room.on('trackSubscribed', follow);
  room.on('trackUnsubscribed', unfollow);
}

function follow(track) {
  const media = track.mediaStreamTrack;
  if (!watching || !media || watches.get(track.id)?.media === media) return;
  unfollow(track);
  const watch = media.kind === 'video' ? window.watch(media, null) : window.watch(null, media);
  watches.set(track.id, { media, watch });
}

function unfollow(track) {
  watches.get(track.id)?.watch.close();
  watches.delete(track.id);
}

function describe(person) {
  const found = { id: person.id, role: person.role, state: person.state, camera: null, toneHz: null, muted: [], mutedByServer: [...person.mutedByServer] };
  for (const track of person.tracks) {
    follow(track);
    const report = watches.get(track.id)?.watch.report() ?? null;
    if (track.muted) found.muted.push(track.source);
    if (track.source === 'camera') found.camera = report;
    if (track.source === 'microphone') found.toneHz = report?.toneHz ?? null;
  }
  return found;
}
