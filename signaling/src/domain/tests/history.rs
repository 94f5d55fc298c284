//! Random histories of a room: after every command the tables, the clients' pictures and the media
//! node's orders agree ([`Scene::check`]).

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Join,
    Detach(usize),
    Resume(usize),
    Publish(usize, u8),
    Answer,
    Mute(usize, bool),
    Want(usize),
    Ping(usize),
    Leave(usize),
    Repeat(usize),
    Gap(usize),
    Whip,
    Slots(usize),
    EndSession(usize),
    Speakers,
    MediaLost,
    Missed,
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..8_usize;
    prop_oneof![
        4 => Just(Step::Join),
        2 => who.clone().prop_map(Step::Detach),
        2 => who.clone().prop_map(Step::Resume),
        5 => (who.clone(), 0..16_u8).prop_map(|(w, s)| Step::Publish(w, s)),
        5 => Just(Step::Answer),
        2 => (who.clone(), any::<bool>()).prop_map(|(w, m)| Step::Mute(w, m)),
        1 => who.clone().prop_map(Step::Want),
        3 => who.clone().prop_map(Step::Ping),
        1 => who.clone().prop_map(Step::Leave),
        1 => who.clone().prop_map(Step::Repeat),
        1 => who.clone().prop_map(Step::Gap),
        2 => Just(Step::Whip),
        1 => who.clone().prop_map(Step::Slots),
        1 => who.prop_map(Step::EndSession),
        1 => Just(Step::Speakers),
        1 => Just(Step::MediaLost),
        1 => Just(Step::Missed),
        2 => (0..20_u64).prop_map(Step::Wait),
    ]
}

fn pick<T: Copy>(list: impl Iterator<Item = T>, index: usize) -> Option<T> {
    let list: Vec<_> = list.collect();
    (!list.is_empty()).then(|| list[index % list.len()])
}

fn perform(scene: &mut Scene, step: Step) {
    let live = |scene: &Scene, n| pick(scene.clients.keys().copied(), n);
    let session = |scene: &Scene, n| pick(scene.sessions.iter().copied(), n);
    match step {
        Step::Join => {
            scene.join();
        }
        Step::Detach(n) => {
            if let Some(c) = live(scene, n) {
                scene.detach(c);
            }
        }
        Step::Resume(n) if !scene.cut.is_empty() => {
            let index = n % scene.cut.len();
            let mirror = scene.cut.swap_remove(index);
            scene.resume(mirror);
        }
        Step::Publish(n, bits) => {
            let sources: Vec<_> = ALL
                .into_iter()
                .enumerate()
                .filter(|(i, _)| bits >> i & 1 == 1)
                .map(|(_, s)| s)
                .collect();
            if let Some(c) = live(scene, n) {
                scene.publish(c, &sources);
            }
        }
        Step::Answer => scene.answer(),
        Step::Mute(n, muted) => {
            let track =
                scene.room.tracks.keys().next().map(ToString::to_string).unwrap_or_default();
            if let Some(c) = live(scene, n) {
                scene.say(c, Body::Mute { track, muted });
            }
        }
        Step::Want(n) => {
            let tracks = scene.room.tracks.keys().map(ToString::to_string).collect();
            if let Some(c) = live(scene, n) {
                scene.say(c, Body::Want { tracks });
            }
        }
        Step::Ping(n) => {
            if let Some(c) = live(scene, n) {
                scene.say(c, Body::Ping);
            }
        }
        Step::Leave(n) => {
            if let Some(c) = live(scene, n) {
                scene.say(c, Body::Leave);
            }
        }
        Step::Repeat(n) => {
            if let Some(c) = live(scene, n) {
                let seq = scene.clients[&c].sent;
                let input = ClientInput { seq, ack: 0, body: Body::Ping };
                scene.apply(Command::Client { connection: c, input });
            }
        }
        Step::Gap(n) => {
            if let Some(c) = live(scene, n) {
                scene.clients.get_mut(&c).unwrap().sent += 1;
                scene.say(c, Body::Ping);
            }
        }
        Step::Whip => {
            let sections = [("a", Kind::Audio, Direction::SendOnly)];
            let ask = Ask::Open {
                kind: Standard::Whip,
                admission: admission(&format!("encoder-{}", scene.replies.len())),
                offer: offer(&sections),
            };
            scene.apply(Command::Standard { request: RequestId(1), ask });
        }
        Step::Slots(n) => {
            if let Some(session) = session(scene, n) {
                let slots = vec![SlotState { mid: "9".parse().unwrap(), track: None }];
                let waiting = (1, 1);
                let event = Event::SlotsChanged { session, version: 1, slots, waiting };
                scene.apply(Command::Media(event));
            }
        }
        Step::EndSession(n) => {
            if let Some(session) = session(scene, n) {
                let reason = control::EndReason::ConsentLost;
                scene.apply(Command::Media(Event::SessionEnded { session, reason }));
            }
        }
        Step::Speakers => {
            let tracks = scene.room.tracks.keys().copied().collect();
            let room = scene.room.id;
            scene.apply(Command::Media(Event::SpeakersChanged { room, tracks }));
        }
        Step::MediaLost => scene.apply(Command::MediaLost),
        Step::Missed => scene.apply(Command::MediaMissed),
        Step::Wait(seconds) => scene.wait(seconds),
        Step::Resume(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// [`Scene::check`] holds after every command of every history.
    #[test]
    fn any_history_keeps_the_tables_and_the_clients_in_agreement(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut scene = Scene::new(6);
        for step in steps {
            perform(&mut scene, step);
            if scene.ended { break; }
        }
        if !scene.ended {
            scene.apply(Command::Close);
        }
        prop_assert!(scene.sessions.is_empty() && !scene.room_open && scene.ended);
    }
}
