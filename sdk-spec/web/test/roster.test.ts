import { describe, expect, it } from 'vitest';
import { Roster, type RosterHandlers } from '../src/roster.js';

const person = (id: string) => ({ id, handle: `h-${id}`, role: 'participant' as const });
const track = (id: string, participant: string) => ({
  id,
  participant,
  source: 'camera' as const,
  muted: false,
});

function setUp(): { roster: Roster; log: string[] } {
  const log: string[] = [];
  const handlers: RosterHandlers = {
    participantJoined: ({ id }) => void log.push(`+${id}`),
    participantUpdated: ({ id }) => void log.push(`~${id}`),
    participantLeft: ({ id }) => void log.push(`-${id}`),
    trackPublished: ({ id }) => void log.push(`+${id}`),
    trackUnpublished: ({ id }) => void log.push(`-${id}`),
  };
  return { roster: new Roster(handlers), log };
}

describe('Roster', () => {
  it('ends the tracks of somebody who left first', () => {
    const { roster, log } = setUp();
    roster.sync({ participants: [person('a'), person('b')], tracks: [track('t', 'a')] });
    roster.leave('a', 'left');
    expect(log).toEqual(['+a', '+b', '+t', '-t', '-a']);
    expect(roster.tracks.size).toBe(0);
    expect([...roster.participants.keys()]).toEqual(['b']);
  });

  it('tells the difference after a new join, and keeps what is the same', () => {
    const { roster, log } = setUp();
    roster.sync({ participants: [person('a'), person('b')], tracks: [track('t', 'a')] });
    const kept = roster.tracks.get('t');
    log.length = 0;
    roster.sync({ participants: [person('a'), person('c')], tracks: [track('t', 'a')] });
    expect(log).toEqual(['-b', '+c']);
    expect(roster.tracks.get('t')).toBe(kept);
  });

  it('ignores what it does not know or knows already', () => {
    const { roster, log } = setUp();
    roster.unpublish('x');
    roster.leave('x', 'left');
    roster.publish(track('t', 'nobody'));
    roster.join(person('a'));
    roster.join(person('a'));
    expect(log).toEqual(['+a']);
  });

  it('notes a mute once', () => {
    const { roster } = setUp();
    roster.sync({ participants: [person('a')], tracks: [track('t', 'a')] });
    const [published] = [...roster.tracks.values()];
    expect(published?.setMuted(true)).toBe(true);
    expect(published?.setMuted(true)).toBe(false);
    expect(published?.muted).toBe(true);
  });
});
