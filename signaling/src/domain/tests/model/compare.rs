//! Everything that is shown, told and ordered against the model.

use super::{world::fold, *};

pub(super) fn compare(scene: &mut Scene, model: &Model, node: &mut Node) {
    scene.apply(Command::Standard { request: RequestId(9), ask: Ask::Participants });
    let Some(Ok(Reply::Participants(list))) = scene.replies.pop() else { panic!("a list") };
    assert_eq!(list.len(), model.people.len(), "nobody more, nobody less");
    node.hear(&scene.commands);
    for p in &model.people {
        let shown = list.iter().find(|shown| shown.id == p.id).expect("known");
        assert_eq!((shown.waiting, shown.role), (p.waits, p.role));
        let mirror = &scene.clients[&p.connection];
        assert_eq!(mirror.waits, p.waits, "it was told");
        if p.waits {
            continue;
        }
        assert_eq!(numbers(&shown.grants.publish), model.publishable(p), "in {:?}", p.role);
        assert!(shown.grants == mirror.grants, "its client knows");
        assert_eq!(numbers(&shown.muted), model.silenced(p));
        assert_eq!(shown.holds_floor, model.holders.contains(&p.id));
        let tracks: BTreeMap<_, _> =
            shown.tracks.iter().map(|t| (number(t.source), t.muted)).collect();
        assert_eq!(tracks, p.tracks);
        compare_client(mirror, model, p);
        if let Some((session, (_, may))) = node.sessions.iter().find(|(_, s)| s.0 == p.id) {
            assert_eq!(*may, model.publishable(p), "the media node knows");
            let silenced = model.silenced(p);
            let theirs = node.tracks.values().filter(|(s, ..)| s == session);
            let heard: BTreeMap<_, _> = theirs.map(|(_, source, m)| (*source, *m)).collect();
            let wanted = p.tracks.iter().map(|(s, own)| (*s, *own || silenced.contains(s)));
            assert_eq!(heard, wanted.collect(), "muted at the media node");
        }
    }
    let inside: BTreeSet<_> = model.inside().map(|p| p.id.clone()).collect();
    assert!(node.sessions.values().all(|(id, _)| inside.contains(id)), "no media of others");
    let (present, tracks, waiting) = fold(&scene.commits);
    assert_eq!(present, inside, "the events tell who is in");
    assert_eq!(waiting, model.people.iter().filter(|p| p.waits).map(|p| p.id.clone()).collect());
    compare_tap(scene, model, node);
    assert_eq!(tracks.len(), model.people.iter().map(|p| p.tracks.len()).sum::<usize>());
}

/// The recorder is given what the model says, and everybody was told.
fn compare_tap(scene: &Scene, model: &Model, node: &Node) {
    let given = scene.tap.as_ref().map(|tap| {
        let of = |track: &TrackId| {
            let (session, source, _) = node.tracks.get(track).expect("on the media node");
            (node.sessions[session].0.clone(), *source)
        };
        tap.tracks.iter().map(of).collect::<BTreeSet<_>>()
    });
    assert_eq!(given, model.tapped(), "the recorder is given this");
    let recording = model.recording.as_ref().map(|(_, paused)| *paused);
    for p in model.inside() {
        let told = scene.clients[&p.connection].room.as_ref().unwrap().recording.as_ref();
        assert_eq!(told.map(|told| told.paused), recording);
    }
    let mut live = None;
    for change in scene.commits.iter().flat_map(|commit| &commit.recordings) {
        live = match (change, live) {
            (RecordingChange::Started { id, .. }, None) => Some((*id, false)),
            (RecordingChange::Paused(id), Some((other, false))) if *id == other => {
                Some((*id, true))
            }
            (RecordingChange::Resumed(id), Some((other, true))) if *id == other => {
                Some((*id, false))
            }
            (RecordingChange::Stopped { id, .. }, Some((other, _))) if *id == other => None,
            _ => panic!("out of order"),
        };
    }
    assert_eq!(live.map(|(_, paused)| paused), recording, "the store is told the same");
}

fn compare_client(mirror: &Mirror, model: &Model, p: &Person) {
    if p.moderates() {
        let waiting: Vec<_> = model.people.iter().filter(|p| p.waits).map(|p| &p.id).collect();
        assert_eq!(mirror.lobby.iter().collect::<Vec<_>>(), waiting, "moderators know the lobby");
        assert_eq!(mirror.floor.1, model.requests);
    } else {
        assert_eq!(mirror.floor.1.contains(&p.id), model.requests.contains(&p.id));
    }
    assert_eq!(mirror.floor.0, model.holders);
    let room = mirror.room.as_ref().unwrap();
    assert_eq!(Some(room.mode), model.settings.mode);
    assert_eq!(Some(room.locked), model.settings.locked);
    assert_eq!(numbers(&room.muted), model.all_silenced);
}
