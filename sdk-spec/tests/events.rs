//! Events of every type: valid against the generated schema, and the same after a round trip.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use sdk_spec::{
    event::{ERASED_HANDLE, Event, What},
    handle::Handle,
};
use serde_json::{Value, json};

const ROOM: &str = "rm_01hzx3m8q7v5k2c9d4e6f8g0hj";
const PARTICIPANT: &str = "pa_01hzx3m8q7v5k2c9d4e6f8g0hj";
const RECORDING: &str = "rc_01hzx3m8q7v5k2c9d4e6f8g0hj";
const TIME: &str = "2026-11-21T20:00:00.000Z";

/// An instance of each type with every field, and one without those that may be missing.
fn samples() -> Vec<(&'static str, Value, Value)> {
    let who = json!({ "participant": PARTICIPANT, "handle": "user-1" });
    let with = |more: Value| {
        let mut all = who.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let recording = |more: Value| {
        let mut all = json!({ "recording": RECORDING });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let same = |kind, data: Value| (kind, data.clone(), data);
    let track = json!({ "track": "tr_1", "participant": PARTICIPANT, "source": "screen_audio" });
    vec![
        (
            "room.created",
            json!({ "kind": "ad_hoc", "parent": ROOM }),
            json!({ "kind": "permanent" }),
        ),
        same("room.updated", json!({ "changed": ["locked"], "version": 2 })),
        same("room.started", json!({ "mode": "lecture" })),
        same("room.extended", json!({ "ends_at": TIME })),
        same("room.ended", json!({ "reason": "no_moderator" })),
        same("participant.waiting", who.clone()),
        same("participant.turned_away", with(json!({ "reason": "denied" }))),
        (
            "participant.joined",
            with(json!({ "role": "moderator", "hidden": true })),
            with(json!({ "role": "viewer" })),
        ),
        same("participant.updated", json!({ "participant": PARTICIPANT, "role": "viewer" })),
        (
            "participant.left",
            with(json!({ "reason": "server_error", "hidden": true })),
            with(json!({ "reason": "left" })),
        ),
        same("track.published", track.clone()),
        same("track.unpublished", track),
        (
            "participant.muted",
            json!({ "participant": PARTICIPANT, "sources": ["camera"] }),
            json!({ "sources": [] }),
        ),
        same("floor.changed", json!({ "participant": PARTICIPANT, "state": "granted" })),
        (
            "handle.banned",
            json!({ "handle": "user-1", "until": TIME }),
            json!({ "handle": "user-1" }),
        ),
        same("handle.unbanned", json!({ "handle": "user-1" })),
        same("participant.moved", json!({ "participant": PARTICIPANT, "to": ROOM })),
        same(
            "media.transferred",
            json!({ "participant": PARTICIPANT, "received": u32::MAX, "sent": 0 }),
        ),
        same("consent.changed", with(json!({ "granted": false }))),
        same("recording.started", recording(json!({}))),
        same("recording.paused", recording(json!({}))),
        same("recording.resumed", recording(json!({}))),
        same("recording.stopped", recording(json!({ "reason": "disk_full" }))),
        same(
            "recording.finalized",
            recording(json!({ "artifacts": 3, "bytes": 1_u64 << 40, "seconds": 600 })),
        ),
        same(
            "recording.push_blocked",
            recording(json!({ "reason": "spool_missing", "blame": "operator" })),
        ),
        same("recording.delivered", recording(json!({ "artifacts": 3, "bytes": 7 }))),
        same("recording.expiring", recording(json!({ "age_percent": 50, "expires_at": TIME }))),
        same("recording.held", recording(json!({ "held": true }))),
        same(
            "recording.purged",
            recording(json!({
                "reason": "unreadable", "receipt": "{}", "signature": "c2ln", "key": "a key",
            })),
        ),
        same("webhook.disabled", json!({ "webhook": "wh_1", "reason": "gone" })),
        same("webhook.test", json!({ "webhook": "wh_1" })),
        same("key.changed", json!({ "key": "k", "change": "revoked" })),
    ]
}

fn event(kind: &str, data: Value) -> Value {
    json!({
        "id": "ev_1", "seq": 7, "time": TIME, "room": ROOM, "room_seq": 1, "type": kind, "data": data,
    })
}

fn validator() -> jsonschema::Validator {
    let mut document = serde_json::to_value(sdk_spec::openapi::document()).unwrap();
    document["$ref"] = json!("#/components/schemas/Event");
    jsonschema::draft202012::new(&document).unwrap()
}

#[test]
fn every_type_is_valid_against_the_schema_and_round_trips() {
    let validator = validator();
    let mut seen = BTreeSet::new();
    for (kind, whole, short) in samples() {
        for data in [&whole, &short] {
            let text = event(kind, data.clone()).to_string();
            let read: Event = serde_json::from_str(&text).unwrap();
            assert_eq!(read.what.kind(), kind);
            let written = serde_json::to_value(&read).unwrap();
            for document in [&written, &serde_json::from_str(&text).unwrap()] {
                let errors: Vec<_> =
                    validator.iter_errors(document).map(|e| e.to_string()).collect();
                assert!(errors.is_empty(), "{kind}: {errors:?}");
            }
            let again: Event = serde_json::from_value(written.clone()).unwrap();
            assert!(again == read && serde_json::to_value(&again).unwrap() == written, "{kind}");
        }
        assert_eq!(
            serde_json::from_value::<Event>(event(kind, whole.clone()))
                .map(|event| { serde_json::to_value(event).unwrap()["data"].clone() })
                .unwrap(),
            whole,
            "{kind}: a field is lost"
        );
        seen.insert(kind);
    }
    assert_eq!(seen, What::TYPES.iter().copied().collect());
}

#[test]
fn what_is_no_event_is_not_valid() {
    let validator = validator();
    for (kind, data) in [
        ("room.exploded", json!({})),
        ("RoomCreated", json!({ "kind": "ad_hoc" })),
        ("room.created", json!({ "kind": "eternal" })),
        ("room.created", json!({})),
        ("participant.joined", json!({ "participant": PARTICIPANT, "role": "viewer" })),
    ] {
        assert!(!validator.is_valid(&event(kind, data.clone())), "{kind} {data}");
    }
    let mut unnumbered = event("webhook.test", json!({ "webhook": "wh_1" }));
    unnumbered.as_object_mut().unwrap().remove("seq");
    assert!(!validator.is_valid(&unnumbered));
}

#[test]
fn what_stands_for_an_erased_handle_is_read_as_a_handle() {
    assert!(Handle::parse(ERASED_HANDLE).is_ok());
}
