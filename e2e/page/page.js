// A partner's page on the real SDK: joins, publishes a coded source, reads back what others send.

import { Room } from './sdk/index.js';

let room = null;
let own = null;
const watches = new Map();
const events = [];

/** Times of the last join, on performance.now(). */
const times = {};

window.client = {
  async join({ url, token, codec, source: shape, tokens = [] }) {
    times.join = performance.now();
    const options = { videoCodec: codec, refreshToken: tokens.length ? async () => tokens.shift() : undefined };
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

  reset() {
    for (const { watch } of watches.values()) watch.reset();
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

async function publish(shape) {
  own = window.source(shape);
  await room.publishTrack(own.video, 'camera');
  await room.publishTrack(own.audio, 'microphone');
  times.published = performance.now();
}

function note() {
  const names = ['participantJoined', 'participantLeft', 'reconnecting', 'reconnected', 'left', 'error'];
  for (const name of names) {
    room.on(name, (detail) => events.push([name, detail?.handle ?? detail?.code ?? detail ?? null]));
  }
  room.on('trackSubscribed', follow);
  room.on('trackUnsubscribed', unfollow);
}

function follow(track) {
  const media = track.mediaStreamTrack;
  if (!media || watches.get(track.id)?.media === media) return;
  unfollow(track);
  const watch = media.kind === 'video' ? window.watch(media, null) : window.watch(null, media);
  watches.set(track.id, { media, watch });
}

function unfollow(track) {
  watches.get(track.id)?.watch.close();
  watches.delete(track.id);
}

function describe(person) {
  const found = { id: person.id, camera: null, toneHz: null, muted: [] };
  for (const track of person.tracks) {
    follow(track);
    const report = watches.get(track.id)?.watch.report() ?? null;
    if (track.muted) found.muted.push(track.source);
    if (track.source === 'camera') found.camera = report;
    if (track.source === 'microphone') found.toneHz = report?.toneHz ?? null;
  }
  return found;
}
