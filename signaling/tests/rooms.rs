//! Rooms by REST against a running server: filters, entity tags, changes, breakout rooms, and what
//! the event log has of them.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Log, World, json_of, problem};
use reqwest::Method;
use serde_json::{Value, json};

async fn patch(world: &World, room: &str, tag: Option<&str>, settings: Value) -> reqwest::Response {
    let request = world.ask(Method::PATCH, &format!("/v1/rooms/{room}"));
    let request = match tag {
        Some(tag) => request.header("if-match", tag),
        None => request,
    };
    let body = json!({ "settings": settings }).to_string();
    request.header("content-type", "application/json").body(body).send().await.unwrap()
}

#[tokio::test]
async fn a_list_holds_what_its_filters_name_over_its_pages() {
    let world = World::start().await;
    let mut lessons = Vec::new();
    for i in 0..5 {
        let kind = if i % 2 == 0 { "permanent" } else { "ad_hoc" };
        let room = world.room_with(&json!({ "reference": "lesson-7", "kind": kind })).await;
        lessons.insert(0, (room, kind));
        world.room_with(&json!({ "reference": format!("other-{i}") })).await;
    }
    let list = async |query: &str| {
        let page = world.ask(Method::GET, &format!("/v1/rooms{query}")).send().await.unwrap();
        assert_eq!(page.status(), 200, "{query}");
        let page = json_of(page).await;
        let rooms = page["rooms"].as_array().unwrap().iter();
        let ids: Vec<_> = rooms.map(|r| r["id"].as_str().unwrap().to_owned()).collect();
        (ids, page["next_cursor"].as_str().map(str::to_owned))
    };
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    let all = |wanted: &str| {
        let some = lessons.iter().filter(|(_, kind)| wanted.is_empty() || *kind == wanted);
        sorted(some.map(|(id, _)| id.clone()).collect())
    };
    assert_eq!(sorted(list("?reference=lesson-7").await.0), all(""));
    assert_eq!(sorted(list("?reference=lesson-7&kind=permanent").await.0), all("permanent"));
    assert_eq!(list("?reference=lesson-8").await.0.len(), 0);
    assert_eq!(list("").await.0.len(), 10);
    let (mut ids, next) = list("?reference=lesson-7&limit=3").await;
    ids.extend(list(&format!("?reference=lesson-7&limit=3&cursor={}", next.unwrap())).await.0);
    assert_eq!(sorted(ids), all(""));
    for bad in ["?reference=", "?reference=Anna%20Schmidt"] {
        let answer = world.ask(Method::GET, &format!("/v1/rooms{bad}")).send().await.unwrap();
        problem(answer, 422, "invalid_field").await;
    }
    let answer = world.ask(Method::GET, "/v1/rooms?kind=weekly").send().await.unwrap();
    problem(answer, 400, "malformed_request").await;
}

#[tokio::test]
async fn a_room_is_changed_by_who_knows_its_version_and_every_change_is_an_event() {
    let world = World::start().await;
    let created = world.post("/v1/rooms", &json!({})).await;
    assert_eq!(created.headers()["etag"], "\"1\"");
    let room = json_of(created).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/rooms/{room}");

    let changed = patch(&world, &room, Some("\"1\""), json!({ "locked": true })).await;
    assert_eq!(changed.status(), 200);
    assert_eq!(changed.headers()["etag"], "\"2\"");
    let changed = json_of(changed).await;
    assert_eq!((&changed["version"], &changed["settings"]["locked"]), (&json!(2), &json!(true)));
    assert_eq!(changed["settings"]["participants_max"], 100, "what is not named stays");

    let stale = patch(&world, &room, Some("\"1\""), json!({ "locked": false })).await;
    problem(stale, 412, "version_mismatch").await;
    let junk = patch(&world, &room, Some("locked"), json!({ "locked": false })).await;
    problem(junk, 412, "version_mismatch").await;
    let wrong = patch(&world, &room, None, json!({ "participants_max": 0 })).await;
    problem(wrong, 422, "invalid_field").await;
    let mail = patch(&world, &room, None, json!({ "data": "ask ann@example.org" })).await;
    problem(mail, 422, "invalid_field").await;
    assert_eq!(patch(&world, &room, None, json!({ "knock": true })).await.status(), 200);

    let read = world.ask(Method::GET, &path).send().await.unwrap();
    assert_eq!(read.headers()["etag"], "\"3\"");
    let again = world.ask(Method::GET, &path).header("if-none-match", "\"3\"");
    let again = again.send().await.unwrap();
    assert_eq!(
        (again.status().as_u16(), again.headers()["etag"].to_str().unwrap()),
        (304, "\"3\"")
    );
    assert!(again.bytes().await.unwrap().is_empty());
    let old = world.ask(Method::GET, &path).header("if-none-match", "\"2\"").send().await.unwrap();
    assert_eq!(old.status(), 200);

    let stale = world.ask(Method::DELETE, &path).header("if-match", "\"2\"").send().await.unwrap();
    problem(stale, 412, "version_mismatch").await;
    let gone = world.ask(Method::DELETE, &path).header("if-match", "\"3\"").send().await.unwrap();
    assert_eq!(gone.status(), 204);
    for method in [Method::GET, Method::DELETE] {
        problem(world.ask(method, &path).send().await.unwrap(), 404, "not_found").await;
    }
    problem(patch(&world, &room, None, json!({ "knock": false })).await, 404, "not_found").await;

    let log = Log::open(&world).await;
    let told = log.of_room(&room).await;
    let kinds: Vec<_> = told.iter().map(|event| event.0.as_str()).collect();
    assert_eq!(kinds, ["room.created", "room.updated", "room.updated", "room.ended"]);
    assert_eq!(told[1].1, json!({ "changed": ["locked"], "version": 2 }));
    assert_eq!(told[3].1, json!({ "reason": "closed" }));
}

#[tokio::test]
async fn who_is_in_a_room_is_listed_and_counted() {
    let world = World::start().await;
    let room = world.room().await;
    let (_ann, joined) = world.join(&room, "ann-1").await;
    let (_bob, _) = world.join(&room, "bob-1").await;
    let path = format!("/v1/rooms/{room}/participants");
    let list = json_of(world.ask(Method::GET, &path).send().await.unwrap()).await;
    let all = list["participants"].as_array().unwrap();
    assert_eq!(all.len(), 2);
    let ann = all.iter().find(|p| p["handle"] == "ann-1").unwrap();
    assert_eq!(ann["id"], joined["participant"]["id"]);
    assert_eq!((&ann["role"], &ann["waiting"]), (&json!("participant"), &json!(false)));
    assert_eq!(world.participants(&room).await, 2);
    let unknown = "/v1/rooms/rm_00000000000000000000000000/participants";
    problem(world.ask(Method::GET, unknown).send().await.unwrap(), 404, "not_found").await;
}

#[tokio::test]
async fn who_waits_is_counted_apart_resumes_and_is_let_in() {
    let world = World::start().await;
    let room = world.room_with(&json!({ "settings": { "knock": true } })).await;
    let token = world.token(&room, "ann-1").await;
    let mut ann = world.connect().await;
    let waiting = ann.join(&token).await;
    assert_eq!((&waiting["type"], &waiting["reason"]), (&json!("waiting"), &json!("knock")));
    let read = async || {
        let answer = world.ask(Method::GET, &format!("/v1/rooms/{room}")).send().await.unwrap();
        let room = json_of(answer).await;
        (room["participants"].as_u64().unwrap(), room["waiting"].as_u64().unwrap())
    };
    assert_eq!(read().await, (0, 1));
    let ticket = waiting["ticket"].as_str().unwrap().to_owned();
    let received = ann.received;
    drop(ann);
    let mut ann = world.connect().await;
    ann.received = received;
    assert_eq!(ann.resume(&ticket, received).await["type"], "resumed");
    let admit = json!({ "type": "admit", "participants": [] });
    let admitted = world.post(&format!("/v1/rooms/{room}/actions"), &admit).await;
    assert_eq!(json_of(admitted).await["participants"], 1);
    assert_eq!(ann.wait("joined").await["participant"]["handle"], "ann-1");
    assert_eq!(read().await, (1, 0));
}

/// `refused` for a join that must not succeed.
async fn refusal(world: &World, token: &str) -> String {
    let mut socket = world.connect().await;
    socket.text(json!({ "type": "join", "token": token }).to_string()).await;
    socket.refused().await.1
}

#[tokio::test]
async fn who_comes_again_replaces_itself_in_a_full_room() {
    let world = World::start().await;
    let settings = json!({ "participants_max": 2, "duplicate_handles": "replace" });
    let room = world.room_with(&json!({ "settings": settings })).await;
    let (_ann, _) = world.join(&room, "ann-1").await;
    let (_bob, _) = world.join(&room, "bob-1").await;
    let (_again, _) = world.join(&room, "ann-1").await;
    assert_eq!(world.participants(&room).await, 2);
    assert_eq!(refusal(&world, &world.token(&room, "eve-1").await).await, "room_full");

    let settings = json!({ "participants_max": 2, "duplicate_handles": "reject" });
    let room = world.room_with(&json!({ "settings": settings })).await;
    let (ann, _) = world.join(&room, "ann-1").await;
    let (_bob, _) = world.join(&room, "bob-1").await;
    drop(ann); // A reload.
    common::until("the cut is noticed, and the reload let in", async || {
        let mut socket = world.connect().await;
        let token = world.token(&room, "ann-1").await;
        socket.text(json!({ "type": "join", "token": token }).to_string()).await;
        let answer = socket.next().await;
        assert_ne!(answer["code"], "room_full", "{answer}");
        answer["type"] == "joined"
    })
    .await;
}

#[tokio::test]
async fn who_must_knock_waits_at_a_full_room() {
    let world = World::start().await;
    let wish = json!({ "settings": { "participants_max": 1 } });
    let room = world.room_with(&wish).await;
    let (_ann, _) = world.join(&room, "ann-1").await;
    assert_eq!(patch(&world, &room, None, json!({ "knock": true })).await.status(), 200);
    let token = world.token(&room, "bob-1").await;
    let waiting = world.connect().await.join(&token).await;
    assert_eq!((&waiting["type"], &waiting["reason"]), (&json!("waiting"), &json!("knock")));
}

#[tokio::test]
async fn a_room_that_is_ended_twice_at_once_ends_once() {
    let world = World::start().await;
    let log = Log::open(&world).await;
    for _ in 0..5 {
        let room = world.room().await;
        let (_ann, _) = world.join(&room, "ann-1").await;
        let path = format!("/v1/rooms/{room}");
        let end = async || world.ask(Method::DELETE, &path).send().await.unwrap().status().as_u16();
        let (one, two, three) = tokio::join!(end(), end(), end());
        let answers = [one, two, three];
        assert!(
            answers.contains(&204) && answers.iter().all(|s| [204, 404].contains(s)),
            "{answers:?}"
        );
        let told = log.of_room(&room).await;
        let kinds: Vec<_> = told.iter().map(|event| event.0.as_str()).collect();
        let ends = ["participant.left", "room.ended"];
        assert_eq!(kinds.iter().filter(|kind| ends.contains(kind)).count(), 2, "{kinds:?}");
        assert_eq!(told.last().unwrap().1["reason"], "closed");
    }
}

#[tokio::test]
async fn the_retry_of_a_close_gets_its_answer() {
    let world = World::start().await;
    let room = world.room().await;
    let close = async || {
        let request = world.ask(Method::POST, &format!("/v1/rooms/{room}/actions"));
        let request = request.header("content-type", "application/json");
        let request = request.header("idempotency-key", "close-lesson-7-0001");
        request.body(json!({ "type": "close" }).to_string()).send().await.unwrap()
    };
    let first = close().await;
    assert_eq!(first.status(), 200);
    let first = json_of(first).await;
    common::until("over", async || {
        let room = world.ask(Method::GET, &format!("/v1/rooms/{room}")).send().await.unwrap();
        room.status() == 404
    })
    .await;
    let again = close().await;
    assert_eq!(again.status(), 200);
    assert_eq!(json_of(again).await, first);
}

#[tokio::test]
async fn a_scheduled_room_knows_its_times_and_is_not_open_before() {
    let world = World::start().await;
    let wish = json!({ "kind": "scheduled", "starts_at": "2999-01-01T00:00:00.000Z",
        "duration_seconds": 3600 });
    let room = json_of(world.post("/v1/rooms", &wish).await).await;
    assert_eq!((&room["state"], &room["kind"]), (&json!("scheduled"), &json!("scheduled")));
    assert_eq!(room["ends_at"], "2999-01-01T01:00:00.000Z");
    let id = room["id"].as_str().unwrap();
    let token = world.token(id, "ann-1").await;
    let mut ann = world.connect().await;
    ann.text(json!({ "type": "join", "token": token }).to_string()).await;
    assert_eq!(ann.refused().await.1, "room_not_open");
}

#[tokio::test]
async fn breakouts_are_rooms_with_a_parent_and_end_with_it() {
    let world = World::start().await;
    let room = world.room().await;
    let (mut ann, joined) = world.join(&room, "ann-1").await;
    let me = joined["participant"]["id"].clone();
    let create = json!({ "type": "create_breakouts",
        "rooms": [{ "reference": "table-1", "participants": [me] }, {}] });
    let acted = world.post(&format!("/v1/rooms/{room}/actions"), &create).await;
    assert_eq!(acted.status(), 200);
    let acted = json_of(acted).await;
    let first = acted["breakouts"][0]["room"].as_str().unwrap().to_owned();
    let path = format!("/v1/rooms/{room}/breakouts");
    let list = json_of(world.ask(Method::GET, &path).send().await.unwrap()).await;
    let list = list["breakouts"].as_array().unwrap().clone();
    assert_eq!(list.len(), 2);
    assert!(list.iter().all(|child| child["parent"] == room.as_str()));

    // Who is moved gets a token for a room that is there already.
    let moved = ann.wait("move").await;
    assert_eq!((&moved["room"], &moved["invited"]), (&json!(first), &json!(false)));
    let mut there = world.connect().await;
    let joined = there.join(moved["token"].as_str().unwrap()).await;
    assert_eq!((&joined["type"], &joined["room"]["parent"]), (&json!("joined"), &json!(room)));
    assert_eq!(joined["participant"]["handle"], "ann-1");
    ann.send(json!({ "type": "leave" })).await;
    ann.closed().await;

    // Called back, and the breakout rooms are over.
    let call = json!({ "type": "close_breakouts" });
    let back = world.post(&format!("/v1/rooms/{room}/actions"), &call).await;
    assert_eq!(back.status(), 200);
    let moved = there.wait("move").await;
    assert_eq!(moved["room"], room.as_str());
    let mut home = world.connect().await;
    assert_eq!(home.join(moved["token"].as_str().unwrap()).await["type"], "joined");
    for child in &list {
        let path = format!("/v1/rooms/{}", child["id"].as_str().unwrap());
        common::until("the breakout room is over", async || {
            world.ask(Method::GET, &path).send().await.unwrap().status() == 404
        })
        .await;
    }
    let log = Log::open(&world).await;
    let told = log.of_room(&first).await;
    assert_eq!(told[0].0, "room.created");
    assert_eq!(told[0].1["parent"], room.as_str());
    assert_eq!(told.last().unwrap().0, "room.ended");
    let joins = told.iter().filter(|e| e.0 == "participant.joined").count();
    let leaves = told.iter().filter(|e| e.0 == "participant.left").count();
    assert_eq!((joins, leaves), (1, 1));
}

#[tokio::test]
async fn a_room_whose_time_passed_while_the_server_was_down_ends_with_its_event() {
    let mut world = World::start().await;
    let room = world.room_with(&json!({ "duration_seconds": 60 })).await;
    let kept = world.room_with(&json!({ "kind": "permanent" })).await;
    let (ann, _) = world.join(&room, "ann-1").await;
    common::until("the end is known", async || {
        let answer = world.ask(Method::GET, &format!("/v1/rooms/{room}")).send().await.unwrap();
        json_of(answer).await["ends_at"].is_string()
    })
    .await;
    let log = Log::open(&world).await;
    log.run(&format!("UPDATE rooms SET ends_at = 1 WHERE id = '{room}'")).await;
    world.take_over().await;
    drop(ann);
    common::until("over", async || {
        let answer = world.ask(Method::GET, &format!("/v1/rooms/{room}")).send().await.unwrap();
        answer.status() == 404
    })
    .await;
    let told = log.of_room(&room).await;
    let kinds: Vec<_> = told.iter().map(|event| event.0.as_str()).collect();
    assert_eq!(kinds.last(), Some(&"room.ended"), "{kinds:?}");
    assert_eq!(told.last().unwrap().1["reason"], "duration");
    assert!(kinds.contains(&"participant.left"), "ended with the process: {kinds:?}");
    let open = world.ask(Method::GET, &format!("/v1/rooms/{kept}")).send().await.unwrap();
    assert_eq!(open.status(), 200);
}

/// Figures of many joins into one room: `cargo test -p signaling --test rooms figures -- --ignored
/// --nocapture`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figures, not a check"]
async fn figures_of_a_thousand_joins_into_one_room() {
    const JOINS: usize = 1000;
    let world = World::start().await;
    let wish = json!({ "kind": "permanent", "settings": { "participants_max": JOINS } });
    let room = world.room_with(&wish).await;
    let tokens = world.many_tokens(&room, JOINS).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let log = Log::open(&world).await;
    let began = std::time::Instant::now();
    let mut ends = Vec::new();
    let mut sockets = Vec::new();
    for token in tokens {
        let mut socket = world.connect().await;
        let at = std::time::Instant::now();
        assert_eq!(socket.join(&token).await["type"], "joined");
        ends.push(at.elapsed());
        sockets.push(tokio::spawn(socket.listen(stopped.clone())));
    }
    let joined = began.elapsed();
    common::until("all stored", async || log.count("participant.joined").await == JOINS as i64)
        .await;
    let stored = began.elapsed();
    ends.sort();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let metrics = world.metrics().await;
    let find = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    println!(
        "{JOINS} joins in {joined:?}, stored after {stored:?}; one: median {:?}, p99 {:?}; \
         journal transactions {}",
        ends[JOINS / 2],
        ends[JOINS * 99 / 100],
        find("conclave_journal_commit_seconds_count"),
    );
    stop.send_replace(true);
    let mut messages = 0;
    for socket in sockets {
        messages += socket.await.unwrap();
    }
    // Everybody but the last hears of everybody after it, once.
    let announced = (JOINS * (JOINS - 1) / 2) as u64;
    println!("{messages} messages in all, of them {announced} announcements of a join");
    assert!(messages < announced + 20 * JOINS as u64, "updates stay O(changes)");
}
