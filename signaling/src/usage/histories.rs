//! Random histories for tests: also such as no room would write (twice joined, left without a
//! join, tracks of strangers).

use proptest::prelude::*;
use sdk_spec::{
    event::{Event, RoomEnd, What},
    handle::Handle,
    recording::StopReason,
    rest::Timestamp,
    ws::{LeaveReason, Role, Source},
};

pub(crate) const HOUR_MS: u64 = 3_600_000;
pub(crate) const SOURCES: [Source; 4] =
    [Source::Camera, Source::Microphone, Source::Screen, Source::ScreenAudio];
/// Participants; each is in the room of its number by three.
pub(crate) const PEOPLE: u8 = 9;

/// One event: hours since the one before, and what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) hours: u8,
    pub(crate) act: Act,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Act {
    Join(u8),
    Leave(u8),
    Publish(u8, u8),
    Unpublish(u8, u8),
    Bytes(u8, u16),
    End(u8),
    Record(u8, Turn),
    Other,
}

/// What a recording does. A room has one of its number; it may start again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Start,
    Pause,
    Resume,
    Stop,
}

/// One of three is hidden.
pub(crate) fn is_hidden(who: u8) -> bool {
    who >= 6
}

pub(crate) fn room_of(who: u8) -> u8 {
    who % 3
}

pub(crate) fn participant(who: u8) -> String {
    format!("pa_{who}")
}

pub(crate) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let who = 0..PEOPLE;
    let act = prop_oneof![
        4 => who.clone().prop_map(Act::Join),
        3 => who.clone().prop_map(Act::Leave),
        4 => (who.clone(), 0..4u8).prop_map(|(who, source)| Act::Publish(who, source)),
        2 => (who.clone(), 0..4u8).prop_map(|(who, source)| Act::Unpublish(who, source)),
        3 => (who, any::<u16>()).prop_map(|(who, bytes)| Act::Bytes(who, bytes)),
        1 => (0..3u8).prop_map(Act::End),
        4 => (0..3u8, 0..4usize).prop_map(|(room, turn)| {
            Act::Record(room, [Turn::Start, Turn::Pause, Turn::Resume, Turn::Stop][turn])
        }),
        1 => Just(Act::Other),
    ];
    let step = (0..9u8, act).prop_map(|(hours, act)| Step { hours, act });
    prop::collection::vec(step, 0..most)
}

fn handle(who: u8) -> Handle {
    Handle::parse(&format!("user-{who}")).expect("a handle")
}

/// What a step writes, and in which room.
pub(crate) fn what(act: Act) -> (Option<u8>, What) {
    let track = |who: u8, source: u8| format!("tr_{who}_{source}");
    match act {
        Act::Join(who) => {
            let (participant, handle) = (participant(who), handle(who));
            let (role, hidden) = (Role::Participant, is_hidden(who));
            (Some(room_of(who)), What::ParticipantJoined { participant, handle, role, hidden })
        }
        Act::Leave(who) => {
            let (participant, handle) = (participant(who), handle(who));
            let (reason, hidden) = (LeaveReason::Left, is_hidden(who));
            (Some(room_of(who)), What::ParticipantLeft { participant, handle, reason, hidden })
        }
        Act::Publish(who, n) => {
            let source = SOURCES[usize::from(n)];
            let (track, participant) = (track(who, n), participant(who));
            (Some(room_of(who)), What::TrackPublished { track, participant, source })
        }
        Act::Unpublish(who, n) => {
            let source = SOURCES[usize::from(n)];
            let (track, participant) = (track(who, n), participant(who));
            (Some(room_of(who)), What::TrackUnpublished { track, participant, source })
        }
        Act::Bytes(who, bytes) => {
            let (received, sent) = (u64::from(bytes), 3 * u64::from(bytes));
            let participant = participant(who);
            (Some(room_of(who)), What::MediaTransferred { participant, received, sent })
        }
        Act::End(room) => (Some(room), What::RoomEnded { reason: RoomEnd::Closed }),
        Act::Record(room, turn) => {
            let recording = format!("rc_{room}");
            let what = match turn {
                Turn::Start => What::RecordingStarted { recording },
                Turn::Pause => What::RecordingPaused { recording },
                Turn::Resume => What::RecordingResumed { recording },
                Turn::Stop => What::RecordingStopped { recording, reason: StopReason::Requested },
            };
            (Some(room), what)
        }
        Act::Other => (None, What::WebhookTest { webhook: "wh_1".to_owned() }),
    }
}

/// The log of these steps, from 1970-01-01 on.
pub(crate) fn log(steps: &[Step]) -> Vec<Event> {
    let mut time_ms = 0;
    let events = steps.iter().zip(1..).map(|(step, seq)| {
        time_ms += u64::from(step.hours) * HOUR_MS;
        let (room, what) = what(step.act);
        Event {
            id: format!("ev_{seq}"),
            seq,
            time: Timestamp(time_ms),
            room: room.map(|room| format!("rm_{room}")),
            room_seq: room.map(|_| seq),
            what,
        }
    });
    events.collect()
}
