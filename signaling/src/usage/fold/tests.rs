//! The fold against known days, and against a second count made another way.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;
use sdk_spec::ws::LeaveReason;

use super::*;
use crate::usage::histories::{
    self, Act, HOUR_MS, PEOPLE, SOURCES, Step, Turn, is_hidden, log, room_of, steps,
};

const DAY_HOURS: u64 = 24;

fn folded(events: &[Event]) -> Fold {
    let mut fold = Fold::default();
    events.iter().for_each(|event| fold.apply(event));
    fold
}

fn at(room: u8, day: u32, usage: &Usage) -> Amounts {
    usage.get(&(format!("rm_{room}"), Day(day))).copied().unwrap_or_default()
}

fn history(acts: &[(u8, Act)]) -> Vec<Event> {
    log(&acts.iter().map(|&(hours, act)| Step { hours, act }).collect::<Vec<_>>())
}

#[test]
fn a_stay_over_midnight_counts_on_both_days() {
    let events = history(&[
        (20, Act::Join(0)),
        (1, Act::Publish(0, 0)),
        (2, Act::Unpublish(0, 0)),
        (7, Act::Leave(0)),
    ]);
    let usage = folded(&events).usage;
    let first = at(0, 0, &usage);
    assert_eq!((first.stays, first.participant_ms), (1, 4 * HOUR_MS));
    assert_eq!(first.tracks.camera, 2 * HOUR_MS);
    let second = at(0, 1, &usage);
    assert_eq!((second.stays, second.participant_ms), (0, 6 * HOUR_MS));
    assert_eq!(second.tracks, TrackMs::default());
}

#[test]
fn a_recording_counts_without_its_pauses_and_on_both_sides_of_midnight() {
    let turns = [(22, Turn::Start), (1, Turn::Pause), (2, Turn::Resume), (3, Turn::Stop)];
    let fold = folded(&history(&turns.map(|(hours, turn)| (hours, Act::Record(0, turn)))));
    let hours = |day| at(0, day, &fold.usage).recorded_ms / HOUR_MS;
    assert_eq!((hours(0), hours(1)), (1, 3));
    assert_eq!(at(0, 1, &fold.usage).row(None, None).recorded_seconds, 3 * 3600);
    let open = folded(&history(
        &turns[..3].iter().map(|t| (t.0, Act::Record(0, t.1))).collect::<Vec<_>>(),
    ));
    assert_eq!(at(0, 1, &open.usage).recorded_ms, 0);
    assert_eq!(at(0, 1, &open.running(27 * HOUR_MS)).recorded_ms, 2 * HOUR_MS);
}

#[test]
fn an_open_stay_counts_only_in_the_running_state() {
    let fold = folded(&history(&[(1, Act::Join(0)), (0, Act::Publish(0, 1))]));
    assert_eq!(at(0, 0, &fold.usage).participant_ms, 0);
    let running = fold.running(3 * HOUR_MS);
    assert_eq!(at(0, 0, &running).participant_ms, 2 * HOUR_MS);
    assert_eq!(at(0, 0, &running).tracks.microphone, 2 * HOUR_MS);
    assert_eq!(at(0, 0, &running).stays, 0, "counted when it began");
}

#[test]
fn who_never_came_in_and_who_is_hidden_is_not_counted() {
    let mut events = history(&[
        (0, Act::Leave(0)),
        (0, Act::Publish(0, 0)),
        (0, Act::Bytes(0, 9)),
        (0, Act::Join(6)),
        (0, Act::Bytes(6, 9)),
        (5, Act::Leave(6)),
    ]);
    let handle = sdk_spec::handle::Handle::parse("user-1").unwrap();
    let participant = histories::participant(1);
    let lobby = [
        What::ParticipantWaiting { participant: participant.clone(), handle: handle.clone() },
        What::ParticipantTurnedAway { participant, handle, reason: LeaveReason::Denied },
    ];
    for what in lobby {
        events.push(Event { what, time: sdk_spec::rest::Timestamp(9), ..events[0].clone() });
    }
    assert_eq!(folded(&events).usage, Usage::new());
}

#[test]
fn the_last_bytes_come_after_the_stay_but_not_much_later() {
    let mut events = history(&[
        (0, Act::Join(0)),
        (1, Act::Leave(0)),
        (0, Act::Bytes(0, 7)),
        (1, Act::Bytes(0, 9)),
    ]);
    events[2].time.0 += LATE_BYTES_MS;
    let day = at(0, 0, &folded(&events).usage);
    assert_eq!((day.received, day.sent), (7, 21));
}

#[test]
fn a_clock_that_goes_back_takes_nothing_away() {
    let mut events = history(&[(5, Act::Join(0)), (0, Act::Publish(0, 0)), (1, Act::Leave(0))]);
    events[2].time.0 = HOUR_MS;
    let day = at(0, 0, &folded(&events).usage);
    assert_eq!((day.stays, day.participant_ms, day.tracks.camera), (1, 0, 0));
}

#[test]
fn seconds_are_rounded_once_and_half_up() {
    let ms = |participant_ms| Amounts { participant_ms, ..Amounts::default() };
    let told = |participant_ms| ms(participant_ms).row(None, None).participant_seconds;
    assert_eq!([0, 499, 500, 1499, 1500].map(told), [0, 0, 1, 1, 2]);
    let mut sum = ms(400);
    sum.add(&ms(400));
    assert_eq!(sum.row(None, None).participant_seconds, 1);
    assert_eq!(told(u64::MAX), u64::MAX / 1000);
}

/// Whether `who` is in (or its track up) in the hour after `until` events, told by looking back.
fn present(steps: &[Step], until: usize, who: u8) -> bool {
    let seen = &steps[..until];
    let Some(joined) = seen.iter().position(|s| matches!(s.act, Act::Join(w) if w == who)) else {
        return false;
    };
    !seen[joined..].iter().any(|s| match s.act {
        Act::Leave(w) => w == who,
        Act::End(room) => room == room_of(who),
        _ => false,
    })
}

fn publishing(steps: &[Step], until: usize, who: u8, source: u8) -> bool {
    let mine = |s: &Step| match s.act {
        Act::Publish(w, n) => (w == who && n == source).then_some(true),
        Act::Unpublish(w, n) => (w == who && n == source).then_some(false),
        _ => None,
    };
    // Only what is said while it is in counts.
    let mut said = (0..until).filter(|&i| present(steps, i, who)).filter_map(|i| mine(&steps[i]));
    present(steps, until, who) && said.next_back().unwrap_or(false)
}

/// Whether the recording of a room runs in the hour after `until` events.
fn is_recorded(steps: &[Step], until: usize, room: u8) -> bool {
    let (mut is_made, mut runs) = (false, false);
    for step in &steps[..until] {
        (is_made, runs) = match step.act {
            Act::Record(r, Turn::Start) if r == room && !is_made => (true, true),
            Act::Record(r, Turn::Pause) if r == room => (is_made, false),
            Act::Record(r, Turn::Resume) if r == room => (is_made, is_made),
            Act::Record(r, Turn::Stop) if r == room => (false, false),
            Act::End(r) if r == room => (false, false),
            _ => (is_made, runs),
        };
    }
    runs
}

/// Hour by hour, who was in.
fn counted_by_the_hour(steps: &[Step]) -> Usage {
    let mut usage = Usage::new();
    let mut hour = 0;
    for (i, step) in steps.iter().enumerate() {
        for _ in 0..step.hours {
            let day = Day(u32::try_from(hour / DAY_HOURS).unwrap());
            for who in (0..PEOPLE).filter(|&who| !is_hidden(who) && is_over(steps, who)) {
                let room = format!("rm_{}", room_of(who));
                if present(steps, i, who) {
                    usage.entry((room, day)).or_default().participant_ms += HOUR_MS;
                }
            }
            for who in (0..PEOPLE).filter(|&who| !is_hidden(who)) {
                for n in 0..4u8 {
                    if publishing(steps, i, who, n) && is_unpublished(steps, i, who, n) {
                        let key = (format!("rm_{}", room_of(who)), day);
                        let tracks = &mut usage.entry(key).or_default().tracks;
                        *tracks.of(SOURCES[usize::from(n)]) += HOUR_MS;
                    }
                }
            }
            for room in 0..3u8 {
                let stops = (i..=steps.len()).any(|until| !is_recorded(steps, until, room));
                if is_recorded(steps, i, room) && stops {
                    usage.entry((format!("rm_{room}"), day)).or_default().recorded_ms += HOUR_MS;
                }
            }
            hour += 1;
        }
        let day = Day(u32::try_from(hour / DAY_HOURS).unwrap());
        match step.act {
            Act::Join(who)
                if !is_hidden(who)
                    && !steps[..i].iter().any(|s| matches!(s.act, Act::Join(w) if w == who)) =>
            {
                usage.entry((format!("rm_{}", room_of(who)), day)).or_default().stays += 1;
            }
            Act::Bytes(who, bytes) if !is_hidden(who) && counts_bytes(steps, i, who) => {
                let entry = usage.entry((format!("rm_{}", room_of(who)), day)).or_default();
                entry.received += u64::from(bytes);
                entry.sent += 3 * u64::from(bytes);
            }
            _ => {}
        }
    }
    usage
}

/// Its stay has ended in the end: only then it is counted.
fn is_over(steps: &[Step], who: u8) -> bool {
    !present(steps, steps.len(), who)
}

/// The track that is up before event `i` ends with a later event.
fn is_unpublished(steps: &[Step], i: usize, who: u8, source: u8) -> bool {
    (i..=steps.len()).any(|until| !publishing(steps, until, who, source))
}

/// It is in, or left in this same hour.
fn counts_bytes(steps: &[Step], i: usize, who: u8) -> bool {
    let hours = |index: usize| steps[..=index].iter().map(|s| u64::from(s.hours)).sum::<u64>();
    let was_in = |index: &usize| present(steps, *index, who);
    // The event after which it was not in any more.
    let last = (0..=i).rfind(was_in);
    last.is_some_and(|last| last == i || hours(last) == hours(i))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn it_agrees_with_a_count_by_the_hour(steps in steps(40)) {
        let usage: Usage =
            folded(&log(&steps)).usage.into_iter().filter(|(_, a)| *a != Amounts::default()).collect();
        prop_assert_eq!(usage, counted_by_the_hour(&steps));
    }

    #[test]
    fn it_can_be_interrupted_anywhere(steps in steps(40), cut in 0..40usize) {
        let log = log(&steps);
        let cut = cut.min(log.len());
        let whole = folded(&log);
        let mut usage = Usage::new();
        let mut fold = Fold::default();
        for part in [&log[..cut], &log[cut..]] {
            let (stays, recordings) = (fold.stays, fold.recordings);
            fold = Fold { stays, recordings, ..Fold::default() };
            part.iter().for_each(|event| fold.apply(event));
            for (key, amounts) in &fold.usage {
                usage.entry(key.clone()).or_default().add(amounts);
            }
        }
        prop_assert_eq!(usage, whole.usage);
        prop_assert_eq!(fold.stays, whole.stays);
        prop_assert_eq!(fold.recordings, whole.recordings);
    }
}
