//! The event log, usage, histories and erasure as a partner meets them, on both databases.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::{
    World,
    databases::{Place, on_both},
    json_of,
    past::{self, HOUR_MS},
    problem,
};
use reqwest::{Method, StatusCode};
use sdk_spec::{limits::EVENTS_WAITING_MAX, scope::Scope};
use serde_json::{Value, json};
use signaling::admin;

on_both!(
    a_poll_is_woken_by_an_event_and_ends_with_the_server,
    what_cannot_be_read_is_told_with_the_oldest,
    usage_is_told_in_groups_and_as_csv,
    histories_are_read_and_erased,
    a_stay_in_a_room_is_in_history_and_usage,
);

async fn get(world: &World, path: &str) -> Value {
    let response = world.ask(Method::GET, path).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    json_of(response).await
}

async fn a_poll_is_woken_by_an_event_and_ends_with_the_server(place: Place) {
    let world = World::build_on(place, past::config(), true).await;
    let room = world.room().await;
    let page = get(&world, "/v1/events").await;
    // The first tells of the key.
    assert_eq!(page["events"][1]["type"], "room.created", "{page}");
    assert_eq!(page["events"][1]["room"], room.as_str());
    let next = page["next"].as_u64().unwrap();
    assert_eq!(page["more"], false);
    // Nothing new: at once, or after the wait.
    let began = Instant::now();
    assert_eq!(get(&world, &format!("/v1/events?after={next}")).await["events"], json!([]));
    let path = format!("/v1/events?after={next}&wait_seconds=1");
    assert_eq!(get(&world, &path).await["next"], next);
    assert!(began.elapsed() >= Duration::from_secs(1));
    // Woken, and only by what is wanted.
    let path = format!("/v1/events?after={next}&wait_seconds=30&type=room.created");
    let waiting = tokio::spawn(world.ask(Method::GET, &path).send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    let second = world.room().await;
    let page = json_of(waiting.await.unwrap().unwrap()).await;
    assert_eq!(page["events"][0]["room"], second.as_str(), "{page}");
    assert!(began.elapsed() < Duration::from_secs(15), "woken, not timed out");
    let next = page["next"].as_u64().unwrap();
    // As many as may, then a clear answer; all end with the server.
    let path = format!("/v1/events?after={next}&wait_seconds=30");
    let waiting: Vec<_> = (0..EVENTS_WAITING_MAX)
        .map(|_| tokio::spawn(world.ask(Method::GET, &path).send()))
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let refused = world.ask(Method::GET, &path).send().await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 429, "rate_limited").await;
    let began = Instant::now();
    world.server.shutdown().await;
    for poll in waiting {
        let response = poll.await.unwrap().unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(json_of(response).await["next"], next);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

async fn what_cannot_be_read_is_told_with_the_oldest(place: Place) {
    let world = World::build_on(place, past::config(), true).await;
    for _ in 0..3 {
        world.room().await;
    }
    let pool = past::pool(&world.place.url).await;
    sqlx::query("DELETE FROM events WHERE seq < 3").execute(&pool).await.unwrap();
    pool.close().await;
    let expired = world.ask(Method::GET, "/v1/events?after=1").send().await.unwrap();
    assert_eq!(problem(expired, 410, "cursor_expired").await["oldest_seq"], 3);
    assert_eq!(get(&world, "/v1/events?after=2").await["events"][0]["seq"], 3);
    assert_eq!(get(&world, "/v1/events").await["events"][0]["seq"], 3);
    for bad in [
        "after=5",
        "after=99999999999999999999",
        "limit=201",
        "wait_seconds=31",
        "type=x",
        "room=x",
    ] {
        let response = world.ask(Method::GET, &format!("/v1/events?{bad}")).send().await.unwrap();
        let expected =
            if bad.len() > 20 { (400, "malformed_request") } else { (422, "invalid_field") };
        problem(response, expected.0, expected.1).await;
    }
    // Another project sees nothing of it, and a key without the scope is told so.
    let other = admin::create_project(&world.store, "other").await.unwrap().id;
    let scopes = [Scope::EventsRead];
    let key = admin::create_key(&world.store, &other, &scopes).await.unwrap().secret;
    let ask = |path: &str| world.http.get(world.url(path)).bearer_auth(&key);
    let page = json_of(ask("/v1/events").send().await.unwrap()).await;
    assert_eq!((&page["events"][0]["type"], &page["next"]), (&json!("key.changed"), &json!(1)));
    for path in ["/v1/usage", "/v1/sessions?handle=u-1"] {
        problem(ask(path).send().await.unwrap(), 403, "scope_missing").await;
    }
}

/// A stay of `who` from an hour to another, with its microphone up for the first of them.
fn stay(who: &str, room: &str, from: i64, to: i64) -> Vec<(i64, String, &'static str, Value)> {
    let participant = format!("pa_{}", who.replace('-', ""));
    let joined = json!({
        "participant": participant, "handle": who, "role": "participant", "hidden": false,
    });
    let track = json!({ "track": format!("tr_of_{participant}"), "participant": participant, "source": "microphone" });
    let bytes = json!({ "participant": participant, "received": 1000, "sent": 2000 });
    let left =
        json!({ "participant": participant, "handle": who, "reason": "left", "hidden": false });
    [
        (from, "participant.joined", joined),
        (from, "track.published", track.clone()),
        (from + 1, "track.unpublished", track),
        (to, "participant.left", left),
        (to, "media.transferred", bytes),
    ]
    .map(|(hour, kind, data)| (hour * HOUR_MS, room.to_owned(), kind, data))
    .into()
}

async fn record(world: &World, events: &[(i64, String, &'static str, Value)]) {
    let pool = past::pool(&world.place.url).await;
    let events: Vec<_> = events
        .iter()
        .map(|(at, room, kind, data)| (*at, room.as_str(), *kind, data.clone()))
        .collect();
    past::write(&pool, &world.project, &events).await;
    pool.close().await;
}

async fn usage_is_told_in_groups_and_as_csv(place: Place) {
    let world = World::build_on(place, past::config(), true).await;
    let mut rooms = [world.room().await, world.room().await];
    rooms.sort();
    // 20,000 days after 1970 is 2024-10-04; from 22:00 to 02:00.
    let night = 20_000 * 24 + 22;
    record(&world, &stay("u-1", &rooms[0], night, night + 4)).await;
    record(&world, &stay("u-2", &rooms[1], night, night + 1)).await;
    let days = "from=2024-10-04&to=2024-10-05";
    let usage = get(&world, &format!("/v1/usage?{days}")).await;
    assert_eq!(usage["rows"].as_array().unwrap().len(), 2, "{usage}");
    let first = &usage["rows"][0];
    assert_eq!((&first["day"], &first["stays"]), (&json!("2024-10-04"), &json!(2)));
    assert_eq!(
        (&first["participant_seconds"], &first["bytes_sent"]),
        (&json!(3 * 3600), &json!(2000))
    );
    assert_eq!(first["track_seconds"]["microphone"], 2 * 3600);
    assert_eq!(usage["rows"][1]["participant_seconds"], 2 * 3600);
    assert_eq!(usage["seq"], get(&world, "/v1/events").await["next"]);
    let total = get(&world, &format!("/v1/usage?{days}&group=project")).await;
    assert_eq!(total["rows"][0]["participant_seconds"], 5 * 3600);
    let one = get(&world, &format!("/v1/usage?{days}&group=room&room={}", rooms[1])).await;
    assert_eq!(one["rows"][0]["room"], rooms[1].as_str());
    // Pages of CSV, by the link.
    let mut path = format!("/v1/usage?{days}&group=room_day&limit=1");
    let mut lines = Vec::new();
    for _ in 0..3 {
        let response =
            world.ask(Method::GET, &path).header("accept", "text/csv").send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/csv; charset=utf-8");
        let link = response.headers().get("link").map(|v| v.to_str().unwrap().to_owned());
        lines.extend(response.text().await.unwrap().lines().skip(1).map(str::to_owned));
        match link {
            Some(link) => path = link[1..].split('>').next().unwrap().to_owned(),
            None => path.clear(),
        }
    }
    assert!(path.is_empty(), "the third is the last");
    let [one, two] = [&rooms[0], &rooms[1]];
    let expected = [
        format!("{one},2024-10-04,1,7200,0,3600,0,0,0,0,0"),
        format!("{one},2024-10-05,0,7200,0,0,0,0,0,1000,2000"),
        format!("{two},2024-10-04,1,3600,0,3600,0,0,0,1000,2000"),
    ];
    assert_eq!(lines, expected);
    for bad in ["from=2024-10-05&to=2024-10-04", "from=2020-01-01", "cursor=!", "limit=0"] {
        let response = world.ask(Method::GET, &format!("/v1/usage?{bad}")).send().await.unwrap();
        problem(response, 422, "invalid_field").await;
    }
    let check = signaling::verify_usage(&world.store, &world.project).await.unwrap();
    assert!(check.differences.is_empty() && check.rooms == 2, "{check:?}");
    // Somebody is in since a minute ago: counted when that is asked for.
    let since = now_ms() - 60_000;
    let joined = stay("u-3", &rooms[0], 0, 1).swap_remove(0);
    record(&world, &[(since, joined.1, joined.2, joined.3)]).await;
    let seconds = async |query: &str| {
        let usage = get(&world, &format!("/v1/usage?group=project{query}")).await;
        usage["rows"][0]["participant_seconds"].as_u64().unwrap()
    };
    assert_eq!(seconds("").await, 0);
    assert!((60..600).contains(&seconds("&running=true").await));
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

async fn histories_are_read_and_erased(place: Place) {
    let world = World::build_on(place, past::config(), true).await;
    let room = world.room().await;
    for (who, hour) in [("u-1", 1), ("u-2", 2), ("u-3", 3)] {
        record(&world, &stay(who, &room, hour, hour + 5)).await;
    }
    let mut path = format!("/v1/rooms/{room}/sessions?limit=2");
    let mut handles = Vec::new();
    for _ in 0..2 {
        let page = get(&world, &path).await;
        let sessions = page["sessions"].as_array().unwrap().clone();
        handles.extend(sessions.iter().map(|s| s["handle"].as_str().unwrap().to_owned()));
        path = format!(
            "/v1/rooms/{room}/sessions?limit=2&cursor={}",
            page["next_cursor"].as_str().unwrap_or("-")
        );
        assert_eq!(sessions[0]["reason"], "left");
        assert_eq!(sessions[0]["track_seconds"]["microphone"], 3600);
    }
    assert_eq!(handles, ["u-3", "u-2", "u-1"]);
    let unknown = world.ask(Method::GET, "/v1/rooms/rm_00000000000000000000000000/sessions");
    problem(unknown.send().await.unwrap(), 404, "not_found").await;
    let other = admin::create_project(&world.store, "other").await.unwrap().id;
    let key = admin::create_key(&world.store, &other, Scope::ALL).await.unwrap().secret;
    let foreign =
        world.http.get(world.url(&format!("/v1/rooms/{room}/sessions"))).bearer_auth(&key);
    problem(foreign.send().await.unwrap(), 404, "not_found").await;
    let mine = "/v1/sessions?handle=u-2&from=1970-01-01T02:00:00.000Z&to=1970-01-01T02:00:00.001Z";
    assert_eq!(get(&world, mine).await["sessions"].as_array().unwrap().len(), 1);

    let usage = get(&world, "/v1/usage?from=1970-01-01&to=1970-01-02&group=room_day").await;
    let erased = world.post("/v1/erasures", &json!({ "handle": "u-2" })).await;
    assert_eq!(erased.status(), 200);
    let erased = json_of(erased).await;
    assert_eq!((&erased["sessions"], &erased["events"]), (&json!(1), &json!(2)), "{erased}");
    let again = json_of(world.post("/v1/erasures", &json!({ "handle": "u-2" })).await).await;
    assert_eq!((&again["sessions"], &again["events"]), (&json!(0), &json!(0)));
    assert_eq!(get(&world, "/v1/sessions?handle=u-2").await["sessions"], json!([]));
    let log = get(&world, "/v1/events?limit=200").await;
    assert!(!log.to_string().contains("u-2") && log.to_string().contains("~erased~"));
    let seqs: Vec<_> =
        log["events"].as_array().unwrap().iter().map(|e| e["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).map(Some).collect::<Vec<_>>());
    assert_eq!(
        get(&world, "/v1/usage?from=1970-01-01&to=1970-01-02&group=room_day").await["rows"],
        usage["rows"]
    );
}

async fn a_stay_in_a_room_is_in_history_and_usage(place: Place) {
    let world = World::start_on(place).await;
    let room = world.room().await;
    let (mut ann, _) = world.join(&room, "u-1").await;
    let (_bob, _) = world.join(&room, "u-2").await;
    let sdp = common::offer("annUfrag", &[("audio", "0", "sendonly")]);
    ann.offer(1, &sdp, json!([{ "mid": "0", "source": "microphone" }])).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    ann.send(json!({ "type": "leave" })).await;
    let path = format!("/v1/rooms/{room}/sessions");
    let mut sessions = Value::Null;
    for _ in 0..100 {
        sessions = get(&world, &path).await["sessions"].clone();
        if sessions[1]["left_at"].is_string() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((&sessions[0]["handle"], &sessions[0]["left_at"]), (&json!("u-2"), &Value::Null));
    let ann = &sessions[1];
    assert_eq!((&ann["handle"], &ann["reason"]), (&json!("u-1"), &json!("left")), "{sessions}");
    assert!(ann["track_seconds"]["microphone"].as_u64().unwrap() >= 1, "{sessions}");
    let usage = get(&world, "/v1/usage?group=room").await;
    let row = &usage["rows"][0];
    assert_eq!((&row["room"], &row["stays"]), (&json!(room), &json!(2)), "{usage}");
    assert!(row["participant_seconds"].as_u64().unwrap() >= 1);
    let refused = world.post("/v1/erasures", &json!({ "handle": "u-2" })).await;
    problem(refused, 409, "action_refused").await;
    let check = signaling::verify_usage(&world.store, &world.project).await.unwrap();
    assert!(check.differences.is_empty() && check.rooms == 1, "{check:?}");
}
