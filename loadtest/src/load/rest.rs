//! REST requests per second and how long they take, one kind at a time, beside the floor: a request
//! that only says that the server lives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Options, report::Report, report::quantile_ms, server::Target};

/// A kind of request.
struct Kind {
    name: &'static str,
    method: Method,
    /// Path for the room of a key.
    path: fn(&str) -> String,
    body: Option<Value>,
}

fn kinds() -> [Kind; 4] {
    let grants = json!({ "publish": ["camera"], "subscribe": true });
    let token = json!({ "handle": "load", "grants": grants });
    [
        Kind {
            name: "GET /livez (floor)",
            method: Method::GET,
            path: |_| "/livez".into(),
            body: None,
        },
        Kind {
            name: "GET /v1/rooms/{room}",
            method: Method::GET,
            path: |room| format!("/v1/rooms/{room}"),
            body: None,
        },
        Kind {
            name: "POST /v1/rooms/{room}/tokens",
            method: Method::POST,
            path: |room| format!("/v1/rooms/{room}/tokens"),
            body: Some(token),
        },
        Kind {
            name: "POST /v1/rooms",
            method: Method::POST,
            path: |_| "/v1/rooms".into(),
            body: Some(json!({})),
        },
    ]
}

pub(super) async fn measure(target: &Target, options: &Options, report: &mut Report) -> Result<()> {
    let mut rooms = Vec::new();
    for key in 0..target.keys.len() {
        let room = target.post("/v1/rooms", &json!({}), key).await?;
        rooms.push(room["id"].as_str().unwrap_or_default().to_owned());
    }
    let rooms = Arc::new(rooms);
    let mut floor = None;
    for kind in kinds() {
        let kind = Arc::new(kind);
        let run =
            Hammer { target: target.clone(), kind: Arc::clone(&kind), rooms: Arc::clone(&rooms) };
        let mut done = run.go(options).await?;
        let per_second = done.took.len() as f64 / done.seconds;
        report.add(format!("{}: requests/s", kind.name), per_second, "1/s");
        report.add(format!("{}: p50", kind.name), quantile_ms(&mut done.took, 0.5), "ms");
        report.add(format!("{}: p99", kind.name), quantile_ms(&mut done.took, 0.99), "ms");
        report.add(format!("{}: above the rate", kind.name), done.limited as f64, "answers");
        let floor = *floor.get_or_insert(per_second);
        report.add(format!("{}: of the floor", kind.name), per_second / floor, "ratio");
    }
    Ok(())
}

struct Hammer {
    target: Target,
    kind: Arc<Kind>,
    rooms: Arc<Vec<String>>,
}

struct Done {
    took: Vec<Duration>,
    limited: usize,
    seconds: f64,
}

impl Hammer {
    async fn go(self, options: &Options) -> Result<Done> {
        let (hammer, next) = (Arc::new(self), Arc::new(AtomicUsize::new(0)));
        let begin = Instant::now();
        let end = begin + Duration::from_secs(options.seconds);
        let mut tasks = JoinSet::new();
        for _ in 0..options.concurrency {
            let (hammer, next) = (Arc::clone(&hammer), Arc::clone(&next));
            tasks.spawn(async move { hammer.until(end, &next).await });
        }
        let mut done = Done { took: Vec::new(), limited: 0, seconds: 0.0 };
        while let Some(part) = tasks.join_next().await {
            let (took, limited) = part??;
            done.took.extend(took);
            done.limited += limited;
        }
        done.seconds = begin.elapsed().as_secs_f64();
        ensure!(!done.took.is_empty(), "{}: no answer in time", hammer.kind.name);
        Ok(done)
    }

    async fn until(&self, end: Instant, next: &AtomicUsize) -> Result<(Vec<Duration>, usize)> {
        let (mut took, mut limited) = (Vec::new(), 0);
        while Instant::now() < end {
            let key = next.fetch_add(1, Relaxed);
            let path = (self.kind.path)(&self.rooms[key % self.rooms.len()]);
            let mut request = self.target.ask(self.kind.method.clone(), &path, key);
            if let Some(body) = &self.kind.body {
                request = request.header("content-type", "application/json").body(body.to_string());
            }
            let began = Instant::now();
            let response = request.send().await?;
            let status = response.status();
            let text = response.text().await?;
            match status.as_u16() {
                200..=299 => took.push(began.elapsed()),
                429 => limited += 1,
                _ => anyhow::bail!("{}: {status}: {text}", self.kind.name),
            }
        }
        Ok((took, limited))
    }
}
