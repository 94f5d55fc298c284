//! The dispatcher with the real store, in virtual time.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, sync::Mutex};

use prometheus::Registry;
use sdk_spec::{
    event::{Event, What},
    rest::webhooks::{CreateWebhook, DeliveryState, UpdateWebhook, Wanted},
    room::{Kind, RoomSettings},
};
use sfu_proto::id::RoomId;

use super::*;
use crate::{
    admin,
    domain::{Actor, Charter},
    store::{
        By, NewEvent, NewRoom,
        testing::{Place, on_both},
    },
    webhook::Stop,
};

on_both!(
    nothing_is_lost_in_72_hours_down_with_a_kill_between,
    what_was_sent_but_not_noted_is_sent_again_with_the_same_id,
    a_refused_event_holds_up_its_room_only_and_dies_after_three_days,
    a_refused_event_in_a_quiet_hour_does_not_close_the_endpoint_to_other_rooms,
    an_edit_between_look_and_write_doubles_nothing,
    an_endpoint_that_cannot_be_read_does_not_stop_the_others,
    endpoints_that_wait_for_a_probe_make_room,
    an_endpoint_that_always_fails_is_given_up_and_goes_on_when_enabled,
    gone_disables_at_once_and_others_are_told,
    filters_hold_and_move_on,
    processes_share_the_work_and_take_over,
    a_dead_endpoint_does_not_hold_up_another,
    events_are_replayed_within_the_filter_and_in_order,
);

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const T0: u64 = 1_800_000_000_000;

/// What a receiver got.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Got {
    at: u64,
    url: String,
    event: String,
    seq: u64,
    room: Option<String>,
}

#[derive(Default)]
struct Rules {
    /// By URL: what it answers until when.
    down: HashMap<String, (DeliveryResult, u64)>,
    /// Event ids that are always refused.
    refused: HashSet<String>,
    got: Vec<Got>,
    attempts: Vec<(u64, String)>,
}

/// All receivers.
#[derive(Default)]
struct Receivers(Mutex<Rules>);

impl Carrier for Receivers {
    async fn carry(&self, attempt: Attempt) -> Option<Attempted> {
        let mut rules = self.0.lock().unwrap();
        let (at, url) = (attempt.now_ms, attempt.target.url.clone());
        let event: Event = serde_json::from_slice(&attempt.body).unwrap();
        assert!(event.id == attempt.event && attempt.body.len() < 20_000);
        rules.attempts.push((at, attempt.event.clone()));
        if let Some((result, until)) = rules.down.get(&url)
            && at < *until
        {
            return Some(Attempted::of(*result));
        }
        if rules.refused.contains(&attempt.event) {
            return Some(Attempted::of(DeliveryResult::Rejected));
        }
        let (seq, room) = (event.seq, event.room);
        rules.got.push(Got { at, url, event: attempt.event, seq, room });
        Some(Attempted::of(DeliveryResult::Delivered))
    }
}

struct World {
    place: Place,
    store: Store,
    project: String,
    rooms: Vec<RoomId>,
    receivers: Arc<Receivers>,
    now: u64,
}

fn url(id: &str) -> String {
    format!("https://{id}.example.com/")
}

impl World {
    async fn new(place: Place) -> Self {
        let store = place.open().await;
        let project = admin::create_project(&store, "test").await.unwrap().id;
        let receivers = Arc::default();
        Self { place, store, project, rooms: Vec::new(), receivers, now: T0 }
    }

    fn by(&self) -> By<'_> {
        By { project: &self.project, actor: &Actor::System, now_ms: self.now }
    }

    async fn endpoint(&self, id: &str, types: &[&str]) {
        let wish = CreateWebhook {
            url: url(id),
            types: types.iter().map(|&t| t.to_owned()).collect(),
            room: None,
            enabled: true,
            signatures: sdk_spec::rest::webhooks::SCHEMES_DEFAULT.to_vec(),
        };
        self.store.create_webhook(id, wish, 16, self.by()).await.unwrap().unwrap();
    }

    async fn rooms(&mut self, count: usize) {
        for _ in 0..count {
            let id = RoomId::from_bits(secret::random_bits());
            let charter = Charter::new(Kind::Permanent, &RoomSettings::default());
            let project = self.project.clone();
            let room = NewRoom { id, project, created_at_ms: self.now, charter, commits: 0 };
            self.store.create_room(&room, &Actor::System, 100, None).await.unwrap();
            self.rooms.push(id);
        }
    }

    /// Something happens in a room, or in none.
    async fn event(&self, room: Option<usize>) {
        let what = What::RoomUpdated { changed: Vec::new(), version: 1 };
        let room = room.map(|i| self.rooms[i]);
        let mut tx = self.store.write().await.unwrap();
        let event = NewEvent { room, time_ms: self.now, what };
        tx.record(&self.project, &event).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Ids of all events, by their number.
    async fn ids(&self) -> Vec<String> {
        let mut ids = Vec::new();
        while let Some(payload) =
            self.store.webhook_payload(&self.project, ids.len() as u64 + 1).await.unwrap()
        {
            ids.push(payload.event);
        }
        ids
    }

    fn dispatcher(&self) -> Dispatcher<Receivers> {
        let meters = Arc::new(Meters::new(&Registry::new()).unwrap());
        Dispatcher::new(self.store.clone(), Arc::clone(&self.receivers), meters)
    }

    /// Lets time pass until `until`, with everything that happens at its time.
    async fn drive(&mut self, dispatcher: &mut Dispatcher<Receivers>, until: u64) {
        loop {
            let next = dispatcher.turn(self.now).await.unwrap();
            if !dispatcher.flights.is_empty() {
                while !dispatcher.flights.is_empty() {
                    dispatcher.landing().await;
                }
                continue;
            }
            if self.now >= until && next != Some(self.now) {
                return;
            }
            // As the real loop, which looks each second, only with longer steps.
            let look = self.now + 5 * MINUTE;
            self.now = next.unwrap_or(look).min(look).min(until);
        }
    }

    /// The process dies without a word: nothing is written, the store is opened anew.
    async fn kill(&mut self, dispatcher: Dispatcher<Receivers>) -> Dispatcher<Receivers> {
        drop(dispatcher);
        self.store.close().await;
        self.store = self.place.open().await;
        self.store.forget_webhook_owners().await.unwrap();
        self.dispatcher()
    }

    fn got(&self) -> Vec<Got> {
        self.receivers.0.lock().unwrap().got.clone()
    }

    async fn of_state(&self, id: &str, state: DeliveryState) -> Vec<u64> {
        let state = Some(state);
        let found = self.store.deliveries(&self.project, id, state, u64::MAX, 10_000).await;
        found.unwrap().into_iter().map(|delivery| delivery.seq).collect()
    }

    async fn standing(&self, id: &str) -> Standing {
        self.store.webhook(&self.project, id).await.unwrap().unwrap().standing
    }

    async fn enable(&self, id: &str) {
        let wish = UpdateWebhook { enabled: Some(true), ..UpdateWebhook::default() };
        self.store.update_webhook(id, wish, self.by()).await.unwrap().unwrap();
    }
}

/// In each room (and among events without one) the first arrivals are in order.
fn assert_order(got: &[Got]) {
    let mut last: HashMap<Option<String>, u64> = HashMap::new();
    let mut seen = HashSet::new();
    for one in got.iter().filter(|one| seen.insert(one.event.clone())) {
        let before = last.insert(one.room.clone(), one.seq).unwrap_or(0);
        assert!(before < one.seq, "{} after {before} in {:?}", one.seq, one.room);
    }
}

async fn nothing_is_lost_in_72_hours_down_with_a_kill_between(place: Place) {
    let mut world = World::new(place).await;
    world.endpoint("wh_a", &[]).await;
    world.rooms(3).await;
    let down = (DeliveryResult::Timeout, T0 + 72 * HOUR);
    world.receivers.0.lock().unwrap().down.insert(url("wh_a"), down);
    let mut dispatcher = world.dispatcher();
    for hour in 0..72 {
        for room in [Some(0), Some(1), Some(2), None] {
            world.event(room).await;
        }
        if hour == 36 {
            world.event(Some(0)).await;
            dispatcher.turn(world.now).await.unwrap();
            dispatcher = world.kill(dispatcher).await;
        }
        world.drive(&mut dispatcher, T0 + (hour + 1) * HOUR).await;
    }
    assert_eq!(world.got(), []);
    let attempts = world.receivers.0.lock().unwrap().attempts.len();
    assert!((250..450).contains(&attempts), "{attempts} attempts while down: one per probe");

    world.drive(&mut dispatcher, T0 + 72 * HOUR + 20 * MINUTE).await;
    let (got, ids) = (world.got(), world.ids().await);
    let distinct: BTreeSet<_> = got.iter().map(|one| &one.event).collect();
    assert_eq!(ids.len(), 3 + 72 * 4 + 1);
    assert_eq!(distinct, ids.iter().collect(), "every event arrived");
    assert_eq!(got.len(), ids.len(), "once");
    assert_order(&got);
    assert!(world.of_state("wh_a", DeliveryState::Pending).await.is_empty());
}

async fn what_was_sent_but_not_noted_is_sent_again_with_the_same_id(place: Place) {
    let mut world = World::new(place).await;
    world.endpoint("wh_a", &[]).await;
    world.rooms(3).await;
    let mut dispatcher = world.dispatcher();
    let mut doubles = 0;
    for round in 0..5 {
        for i in 0..30 {
            world.event(Some(i % 3)).await;
        }
        // Some arrive, nothing of it is noted.
        let before = world.got().len();
        while world.got().len() == before {
            dispatcher.turn(world.now).await.unwrap();
            tokio::task::yield_now().await;
        }
        dispatcher = world.kill(dispatcher).await;
        world.now += MINUTE;
        world.drive(&mut dispatcher, T0 + (round + 1) * HOUR).await;
        let (got, ids) = (world.got(), world.ids().await);
        let distinct: BTreeSet<_> = got.iter().map(|one| &one.event).collect();
        assert_eq!(distinct, ids.iter().collect(), "every event arrived");
        assert_order(&got);
        for one in &got {
            assert_eq!(ids[one.seq as usize - 1], one.event, "an id stays with its event");
        }
        doubles = got.len() - ids.len();
    }
    assert!(doubles >= 5, "the kills came too late to show anything");
}

async fn a_refused_event_holds_up_its_room_only_and_dies_after_three_days(place: Place) {
    let mut world = World::new(place).await;
    world.rooms(2).await;
    world.endpoint("wh_a", &[]).await;
    world.event(Some(0)).await; // 3: always refused
    world.event(Some(0)).await; // 4: behind it
    let refused = world.ids().await[2].clone();
    world.receivers.0.lock().unwrap().refused.insert(refused.clone());
    let mut dispatcher = world.dispatcher();
    for step in 0..300 {
        world.event(Some(1)).await;
        let at = world.now;
        world.drive(&mut dispatcher, T0 + (step + 1) * 20 * MINUTE).await;
        let got = world.got();
        assert!(got.iter().any(|one| one.at == at), "the other room waits for nobody");
        let is_dead = !world.of_state("wh_a", DeliveryState::Dead).await.is_empty();
        assert_eq!(is_dead, got.iter().any(|one| one.seq == 4), "order within the room");
    }
    let tries: Vec<u64> = {
        let rules = world.receivers.0.lock().unwrap();
        rules.attempts.iter().filter(|(_, id)| *id == refused).map(|(at, _)| at - T0).collect()
    };
    assert!(tries.len() >= 10 && *tries.last().unwrap() >= 72 * HOUR, "{tries:?}");
    assert_eq!(world.of_state("wh_a", DeliveryState::Dead).await, [3]);
    assert_order(&world.got());

    // The partner mends it and asks for what failed.
    world.receivers.0.lock().unwrap().refused.clear();
    let queued = world.store.replay("wh_a", Wanted::Failed, world.by()).await.unwrap().unwrap();
    assert_eq!(queued.count, 1);
    let until = world.now + MINUTE;
    world.drive(&mut dispatcher, until).await;
    assert_eq!(world.got().last().unwrap().event, refused);
    assert!(world.of_state("wh_a", DeliveryState::Dead).await.is_empty());
}

async fn a_refused_event_in_a_quiet_hour_does_not_close_the_endpoint_to_other_rooms(place: Place) {
    let mut world = World::new(place).await;
    world.rooms(2).await;
    world.endpoint("wh_a", &[]).await;
    world.event(Some(0)).await;
    let refused = world.ids().await[2].clone();
    world.receivers.0.lock().unwrap().refused.insert(refused);
    let mut dispatcher = world.dispatcher();
    world.drive(&mut dispatcher, T0 + 12 * HOUR).await;
    let row = world.store.webhook(&world.project, "wh_a").await.unwrap().unwrap();
    assert!(row.health.is_open() && world.got().is_empty());
    world.event(Some(1)).await;
    let until = world.now + 20 * MINUTE;
    world.drive(&mut dispatcher, until).await;
    assert_eq!(world.got().len(), 1, "a probe was another room's event");
    let row = world.store.webhook(&world.project, "wh_a").await.unwrap().unwrap();
    assert!(!row.health.is_open());
}

async fn an_edit_between_look_and_write_doubles_nothing(place: Place) {
    let mut world = World::new(place).await;
    world.rooms(2).await;
    world.endpoint("wh_a", &[]).await;
    for i in 0..20 {
        world.event(Some(i % 2)).await;
    }
    let mut dispatcher = world.dispatcher();
    // It is known, with nothing taken up.
    dispatcher.turn(world.now).await.unwrap();
    let owned = dispatcher.survey(world.now).await.unwrap();
    let taken_up = dispatcher.look_ahead(world.now).await.unwrap();
    assert_eq!(taken_up["wh_a"].len(), 20);
    let room = Some(Some(world.rooms[1].to_string()));
    let wish = UpdateWebhook { room, ..UpdateWebhook::default() };
    world.store.update_webhook("wh_a", wish, world.by()).await.unwrap().unwrap();
    dispatcher.write(taken_up, world.now).await.unwrap();
    dispatcher.reconcile(owned).await.unwrap();
    dispatcher.begin(world.now);
    assert!(dispatcher.flights.is_empty(), "what is not written is not sent");
    let until = world.now + HOUR;
    world.drive(&mut dispatcher, until).await;
    let got = world.got();
    assert_eq!(got.len(), 10, "once each, those of the room that is wanted now");
    assert_order(&got);
}

async fn endpoints_that_wait_for_a_probe_make_room(place: Place) {
    let mut world = World::new(place).await;
    world.rooms(2).await;
    world.endpoint("wh_dead", &[]).await;
    world.event(Some(0)).await;
    world.event(Some(1)).await;
    let down = (DeliveryResult::Timeout, T0 + 6 * HOUR);
    world.receivers.0.lock().unwrap().down.insert(url("wh_dead"), down);
    let mut dispatcher = world.dispatcher();
    dispatcher.owned_max = 1;
    world.drive(&mut dispatcher, T0 + HOUR).await;
    world.endpoint("wh_live", &[]).await;
    world.event(Some(0)).await;
    world.drive(&mut dispatcher, T0 + 2 * HOUR).await;
    let live = |got: Vec<Got>| got.iter().filter(|one| one.url == url("wh_live")).count();
    assert_eq!(live(world.got()), 1, "it is served though there was no room");
    world.drive(&mut dispatcher, T0 + 8 * HOUR).await;
    let got = world.got();
    assert_eq!((got.len(), live(got)), (4, 1), "and the other when it works again");
}

async fn an_endpoint_that_cannot_be_read_does_not_stop_the_others(place: Place) {
    let mut world = World::new(place).await;
    world.rooms(1).await;
    for id in ["wh_a", "wh_b"] {
        world.endpoint(id, &[]).await;
    }
    world.store.spoil_webhook("wh_a").await;
    world.event(Some(0)).await;
    let mut dispatcher = world.dispatcher();
    world.drive(&mut dispatcher, T0 + MINUTE).await;
    let urls: Vec<_> = world.got().into_iter().map(|one| one.url).collect();
    assert_eq!(urls, [url("wh_b")]);
}

async fn an_endpoint_that_always_fails_is_given_up_and_goes_on_when_enabled(place: Place) {
    let mut world = World::new(place).await;
    world.rooms(1).await;
    world.endpoint("wh_a", &[]).await;
    world.event(Some(0)).await;
    world.event(Some(0)).await;
    let down = (DeliveryResult::ServerError, u64::MAX);
    world.receivers.0.lock().unwrap().down.insert(url("wh_a"), down);
    let mut dispatcher = world.dispatcher();
    world.drive(&mut dispatcher, T0 + 119 * HOUR).await;
    assert_eq!(world.standing("wh_a").await, Standing::Enabled);
    world.drive(&mut dispatcher, T0 + 121 * HOUR).await;
    assert_eq!(world.standing("wh_a").await, Standing::Stopped(Stop::GivenUp));
    assert!(dispatcher.endpoints.is_empty());
    let tried = world.receivers.0.lock().unwrap().attempts.len();
    world.drive(&mut dispatcher, T0 + 125 * HOUR).await;
    assert_eq!(world.receivers.0.lock().unwrap().attempts.len(), tried, "left alone");

    world.receivers.0.lock().unwrap().down.clear();
    world.enable("wh_a").await;
    let until = world.now + MINUTE;
    world.drive(&mut dispatcher, until).await;
    let seqs: Vec<_> = world.got().iter().map(|one| one.seq).collect();
    assert!(seqs.contains(&2) && seqs.contains(&3), "nothing was lost: {seqs:?}");
    assert_order(&world.got());
}

async fn gone_disables_at_once_and_others_are_told(place: Place) {
    let mut world = World::new(place).await;
    world.rooms(1).await;
    world.endpoint("wh_a", &[]).await;
    world.endpoint("wh_b", &["webhook.disabled"]).await;
    world.event(Some(0)).await;
    let down = (DeliveryResult::Gone, u64::MAX);
    world.receivers.0.lock().unwrap().down.insert(url("wh_a"), down);
    let mut dispatcher = world.dispatcher();
    world.drive(&mut dispatcher, T0 + HOUR).await;
    assert_eq!(world.standing("wh_a").await, Standing::Stopped(Stop::Gone));
    assert_eq!(world.receivers.0.lock().unwrap().attempts.len(), 2);
    let got = world.got();
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].url.as_str(), got[0].seq), (url("wh_b").as_str(), 3));
    let payload = world.store.webhook_payload(&world.project, 3).await.unwrap().unwrap();
    let event: Event = serde_json::from_slice(&payload.body).unwrap();
    assert!(matches!(event.what, What::WebhookDisabled { webhook, reason }
        if webhook == "wh_a" && reason == "gone"));
}

async fn filters_hold_and_move_on(place: Place) {
    let mut world = World::new(place).await;
    world.endpoint("wh_types", &["room.created"]).await;
    world.rooms(2).await;
    world.endpoint("wh_room", &[]).await;
    let room = Some(Some(world.rooms[1].to_string()));
    let wish = UpdateWebhook { room, ..UpdateWebhook::default() };
    world.store.update_webhook("wh_room", wish, world.by()).await.unwrap().unwrap();
    for i in 0..600 {
        world.event(Some(i % 2)).await;
    }
    let what = What::WebhookTest { webhook: String::from("wh_types") };
    let mut tx = world.store.write().await.unwrap();
    let event = NewEvent { room: None, time_ms: world.now, what };
    tx.record(&world.project, &event).await.unwrap();
    tx.commit().await.unwrap();
    let mut dispatcher = world.dispatcher();
    world.drive(&mut dispatcher, T0 + HOUR).await;
    let of = |id: &str| -> Vec<u64> {
        let got = world.got().into_iter().filter(|one| one.url == url(id));
        got.map(|one| one.seq).collect::<BTreeSet<_>>().into_iter().collect()
    };
    assert_eq!(of("wh_types"), [1, 2]);
    assert_eq!(of("wh_room"), (2..=301).map(|i| 2 * i).collect::<Vec<u64>>());
    // Its place is noted even if nothing passes the filter, so that nobody looks at it again.
    world.drive(&mut dispatcher, T0 + 2 * HOUR).await;
    for id in ["wh_types", "wh_room"] {
        let row = world.store.webhook(&world.project, id).await.unwrap().unwrap();
        assert_eq!(row.after, 603, "{id}");
    }
    assert!(dispatcher.endpoints.is_empty(), "idle ones are forgotten");
}

async fn processes_share_the_work_and_take_over(place: Place) {
    let mut world = World::new(place).await;
    for id in ["wh_a", "wh_b", "wh_c", "wh_d"] {
        world.endpoint(id, &[]).await;
    }
    world.rooms(4).await;
    for i in 0..96 {
        world.event(Some(i % 4)).await;
    }
    let (mut one, mut two) = (world.dispatcher(), world.dispatcher());
    for _ in 0..200 {
        let (a, b) = tokio::join!(one.turn(world.now), two.turn(world.now));
        a.unwrap();
        b.unwrap();
        for dispatcher in [&mut one, &mut two] {
            while !dispatcher.flights.is_empty() {
                dispatcher.landing().await;
            }
        }
        if world.got().len() == 400 {
            break;
        }
    }
    // What arrived is noted.
    one.turn(world.now).await.unwrap();
    two.turn(world.now).await.unwrap();
    let got = world.got();
    let distinct: HashSet<_> = got.iter().map(|one| (&one.url, &one.event)).collect();
    assert_eq!((got.len(), distinct.len()), (400, 400), "each once to each endpoint");
    for id in ["wh_a", "wh_b", "wh_c", "wh_d"] {
        let own: Vec<_> = got.iter().filter(|one| one.url == url(id)).cloned().collect();
        assert_order(&own);
    }
    // One dies; its endpoints are the other's when the lease is over, no earlier.
    let lost = one.endpoints.len();
    drop(one);
    world.event(Some(0)).await;
    let until = world.now + limits::WEBHOOK_LEASE_MS - SECOND;
    world.drive(&mut two, until).await;
    assert_eq!(world.got().len(), 400 + 4 - lost);
    let until = world.now + 10 * SECOND;
    world.drive(&mut two, until).await;
    assert_eq!(world.got().len(), 404);
}

async fn a_dead_endpoint_does_not_hold_up_another(place: Place) {
    let mut world = World::new(place).await;
    world.endpoint("wh_dead", &[]).await;
    world.endpoint("wh_live", &[]).await;
    world.rooms(20).await;
    let down = (DeliveryResult::Timeout, u64::MAX);
    world.receivers.0.lock().unwrap().down.insert(url("wh_dead"), down);
    let mut dispatcher = world.dispatcher();
    for step in 0..30 {
        for room in 0..20 {
            world.event(Some(room)).await;
        }
        world.drive(&mut dispatcher, T0 + (step + 1) * MINUTE).await;
    }
    let got = world.got();
    assert_eq!(got.len(), 20 + 30 * 20);
    assert!(got.iter().all(|one| (one.at - T0).is_multiple_of(MINUTE)), "at once, each");
    let pending = world.of_state("wh_dead", DeliveryState::Pending).await.len();
    assert!(pending <= limits::WEBHOOK_BATCH, "{pending} rows while nothing can be sent");
    let row = world.store.webhook(&world.project, "wh_dead").await.unwrap().unwrap();
    assert!(row.health.is_open() && row.health.failing_since_ms == Some(T0));
}

async fn events_are_replayed_within_the_filter_and_in_order(place: Place) {
    let mut world = World::new(place).await;
    world.endpoint("wh_a", &["room.updated"]).await;
    world.rooms(1).await; // 1: filtered out
    for _ in 0..9 {
        world.event(Some(0)).await;
    }
    let mut dispatcher = world.dispatcher();
    world.drive(&mut dispatcher, T0 + HOUR).await;
    assert_eq!(world.got().len(), 9);
    let ids = world.ids().await;
    for (wanted, count, seqs) in [
        (Wanted::Range(0, 4), 3, vec![2, 3, 4]),
        (Wanted::Range(8, u64::MAX), 2, vec![9, 10]),
        (Wanted::One(ids[4].clone()), 1, vec![5]),
        (Wanted::One(ids[0].clone()), 1, vec![1]), // by its name, whatever the filter says
        (Wanted::Failed, 0, vec![]),
    ] {
        world.receivers.0.lock().unwrap().got.clear();
        let queued = world.store.replay("wh_a", wanted, world.by()).await.unwrap().unwrap();
        assert_eq!((queued.count, queued.next_after), (count, None));
        let until = world.now + MINUTE;
        world.drive(&mut dispatcher, until).await;
        let got: Vec<_> = world.got().iter().map(|one| one.seq).collect();
        assert_eq!(got, seqs);
    }
    let unknown = Wanted::One(String::from("ev_nobody"));
    assert!(world.store.replay("wh_a", unknown, world.by()).await.unwrap().is_none());
    let foreign = By { project: "pj_other", ..world.by() };
    assert!(world.store.replay("wh_a", Wanted::Failed, foreign).await.unwrap().is_none());
}
