//! One case against a server.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Map, Value};
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::Message;

use super::{
    case::{Answer, Case, Closed, Expect, Http, Never, Send, Step},
    pattern,
    socket::{Received, Socket},
    vars::Vars,
};

/// How often a request above the rate is sent again before the case fails.
const RATE_TRIES: u32 = 20;
/// Pause between requests that wait for something to become so.
const AGAIN: Duration = Duration::from_millis(50);
/// Longest wait for a close.
const CLOSE: Duration = Duration::from_secs(20);

/// The server and what gives access to it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Such as `http://127.0.0.1:7880`.
    pub url: String,
    /// API key with every scope.
    pub key: String,
    /// API key of another project.
    pub other_key: Option<String>,
}

/// An answer, in full.
struct Answered {
    status: u16,
    headers: Map<String, Value>,
    text: String,
    body: Option<Value>,
}

/// The state of a case that runs.
pub(super) struct Run<'a> {
    target: &'a Target,
    client: &'a Client,
    vars: Vars,
    sockets: HashMap<String, Socket>,
    /// Messages of each socket that no step has asked for yet, in order.
    unasked: HashMap<String, Vec<Value>>,
    /// Places of connections that were cut.
    places: HashMap<String, (u64, u64)>,
    /// What was made and by whom.
    made: Vec<(String, String)>,
}

impl<'a> Run<'a> {
    pub(super) fn new(target: &'a Target, client: &'a Client, vars: Vars) -> Self {
        let (sockets, unasked, places) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { target, client, vars, sockets, unasked, places, made: Vec::new() }
    }

    /// Runs the steps; takes away what was made in any case.
    pub(super) async fn case(mut self, case: &Case) -> Result<()> {
        let mut result = Ok(());
        for (number, step) in case.steps.iter().enumerate() {
            result = self.step(step).await.with_context(|| format!("step {}", number + 1));
            if result.is_err() {
                break;
            }
        }
        for (_, socket) in self.sockets.drain() {
            socket.close().await;
        }
        for (path, bearer) in self.made.iter().rev() {
            let url = format!("{}{path}", self.target.url);
            let _ = self.client.delete(url).bearer_auth(bearer).send().await; // May be gone.
        }
        result
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Http(http) => {
                let what = || format!("{} {}", http.method, http.path);
                self.http(http).await.with_context(what)
            }
            Step::Connect(connect) => {
                let place = match &connect.resumes {
                    Some(name) => *self.places.get(name).context("no such cut connection")?,
                    None => (0, 0),
                };
                let url = self.target.url.replacen("http", "ws", 1) + "/v1/ws";
                let socket = Socket::connect(&url, place).await?;
                self.sockets.insert(connect.socket.clone(), socket);
                Ok(())
            }
            Step::Send(send) => self.send(send).await,
            Step::Expect(expect) => {
                let what = || format!("{} waits for {}", expect.socket, expect.message);
                self.expect(expect).await.with_context(what)
            }
            Step::Never(never) => self.never(never).await,
            Step::Closed(closed) => self.closed(closed).await,
            Step::Cut(cut) => {
                let socket = self.sockets.remove(&cut.socket).context("no such socket")?;
                self.places.insert(cut.socket.clone(), socket.place);
                Ok(())
            }
            Step::Same(values) => self.compare(values, true),
            Step::Different(values) => self.compare(values, false),
        }
    }

    fn compare(&self, values: &[Value], same: bool) -> Result<()> {
        let values = values.iter().map(|one| self.vars.fill(one)).collect::<Result<Vec<_>>>()?;
        let equal = values.windows(2).all(|pair| pair[0] == pair[1]);
        ensure!(equal == same, "equal: {equal}, want {same}: {values:?}");
        Ok(())
    }

    fn bearer(&self, auth: &str) -> Result<Option<String>> {
        Ok(match auth {
            "none" => None,
            "key" => Some(self.target.key.clone()),
            "other" => Some(self.target.other_key.clone().context("no --other-key")?),
            other => Some(self.vars.text(other)?),
        })
    }

    async fn http(&mut self, http: &Http) -> Result<()> {
        let end = Instant::now() + Duration::from_millis(http.within_ms);
        for _ in 1..http.repeat {
            self.once(http).await?;
        }
        loop {
            let answered = self.patiently(http).await?;
            match self.judge(&http.expect, &answered) {
                Ok(()) => return self.save_answer(&http.save, &answered),
                Err(_) if Instant::now() < end => sleep(AGAIN).await,
                Err(error) => return Err(error),
            }
        }
    }

    /// A request above the rate waits as it is told to, unless that is what the case is about.
    async fn patiently(&mut self, http: &Http) -> Result<Answered> {
        for _ in 0..RATE_TRIES {
            let answered = self.once(http).await?;
            if answered.status != 429 || http.expect.status == 429 {
                return Ok(answered);
            }
            let told = answered.headers.get("retry-after").and_then(Value::as_str);
            let seconds = told.and_then(|text| text.parse().ok()).unwrap_or(1_u64);
            sleep(Duration::from_secs(seconds.min(10))).await;
        }
        bail!("above the rate {RATE_TRIES} times")
    }

    async fn once(&mut self, http: &Http) -> Result<Answered> {
        let path = self.vars.text(&http.path)?;
        let method = Method::from_bytes(http.method.as_bytes())?;
        let mut request = self.client.request(method, format!("{}{path}", self.target.url));
        let bearer = self.bearer(&http.auth)?;
        if let Some(bearer) = &bearer {
            request = request.bearer_auth(bearer);
        }
        for (name, value) in &http.headers {
            request = request.header(name, self.vars.text(value)?);
        }
        if let Some(body) = &http.body {
            if !http.headers.contains_key("content-type") {
                request = request.header("content-type", "application/json");
            }
            request = request.body(self.vars.fill(body)?.to_string());
        } else if let Some(text) = &http.text {
            request = request.body(self.vars.text(text)?);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        let shown = |value: &reqwest::header::HeaderValue| {
            Value::String(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers: Map<_, _> =
            headers.iter().map(|(name, value)| (name.to_string(), shown(value))).collect();
        if let (StatusCode::CREATED, Some(Value::String(place)), Some(bearer)) =
            (status, headers.get("location"), bearer)
        {
            self.made.push((place.clone(), bearer));
        }
        let body = serde_json::from_str(&text).ok();
        Ok(Answered { status: status.as_u16(), headers, text, body })
    }

    fn judge(&self, expect: &Answer, got: &Answered) -> Result<()> {
        let begin: String = got.text.chars().take(600).collect();
        ensure!(got.status == expect.status, "want {}, got {}: {begin}", expect.status, got.status);
        for (name, pattern) in &expect.headers {
            let pattern = self.vars.fill(pattern)?;
            pattern::check(&pattern, got.headers.get(name))
                .map_err(|error| anyhow::anyhow!("header {name}{error}"))?;
        }
        if let Some(pattern) = &expect.body {
            let pattern = self.vars.fill(pattern)?;
            pattern::check(&pattern, got.body.as_ref())
                .map_err(|error| anyhow::anyhow!("body{error} in {begin}"))?;
        }
        match &expect.problem {
            Some(code) => judge_problem(code, expect, got).with_context(|| begin),
            None => Ok(()),
        }
    }

    fn save_answer(&mut self, save: &BTreeMap<String, String>, got: &Answered) -> Result<()> {
        for (name, place) in save {
            let value = match place.strip_prefix("header:") {
                Some(header) => got.headers.get(header).cloned(),
                None if place == "text" => Some(Value::String(got.text.clone())),
                None => got.body.as_ref().and_then(|body| body.pointer(place)).cloned(),
            };
            self.vars.set(name, value.with_context(|| format!("no {place} to save"))?);
        }
        Ok(())
    }

    fn socket(&mut self, name: &str) -> Result<&mut Socket> {
        self.sockets.get_mut(name).with_context(|| format!("no socket {name}"))
    }

    async fn send(&mut self, send: &Send) -> Result<()> {
        let message = send.message.as_ref().map(|one| self.vars.fill(one)).transpose()?;
        let text = send.text.as_ref().map(|one| self.vars.text(one)).transpose()?;
        for _ in 0..send.repeat {
            let socket = self.socket(&send.socket)?;
            // A server that has closed meanwhile is what a case may be about.
            let _ = match (&message, &text, &send.binary) {
                (Some(message), None, None) => socket.send(message.clone()).await,
                (None, Some(text), None) => socket.raw(Message::text(text.clone())).await,
                (None, None, Some(bytes)) => socket.raw(Message::binary(bytes.clone())).await,
                _ => bail!("a send has one of message, text and binary"),
            };
        }
        Ok(())
    }

    async fn expect(&mut self, expect: &Expect) -> Result<()> {
        let pattern = self.vars.fill(&expect.message)?;
        let end = Instant::now() + Duration::from_millis(expect.within_ms);
        let mut unasked = self.unasked.remove(&expect.socket).unwrap_or_default();
        let like = |message: &Value| pattern::check(&pattern, Some(message)).is_ok();
        let message = match unasked.iter().position(like) {
            Some(at) if at == 0 || !expect.next => unasked.remove(at),
            _ => loop {
                let left = end.saturating_duration_since(Instant::now());
                let next = self.socket(&expect.socket)?.next(left).await;
                match next.with_context(|| format!("after {}", types(&unasked)))? {
                    Received::Message(message) => match pattern::check(&pattern, Some(&message)) {
                        Ok(()) => break message,
                        Err(error) if expect.next => bail!("{error} in {message}"),
                        Err(_) => unasked.push(message),
                    },
                    Received::Closed(code) => bail!("closed with {code} after {}", types(&unasked)),
                }
            },
        };
        self.unasked.insert(expect.socket.clone(), unasked);
        for (name, place) in &expect.save {
            let value = message.pointer(place).cloned();
            self.vars.set(name, value.with_context(|| format!("no {place} to save"))?);
        }
        Ok(())
    }

    async fn never(&mut self, never: &Never) -> Result<()> {
        let pattern = self.vars.fill(&never.message)?;
        let end = Instant::now() + Duration::from_millis(never.for_ms);
        let mut unasked = self.unasked.remove(&never.socket).unwrap_or_default();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.socket(&never.socket)?.next(left).await {
                Err(_) => break, // Nothing more came.
                Ok(Received::Closed(code)) => bail!("closed with {code}"),
                Ok(Received::Message(message)) => unasked.push(message),
            }
        }
        let like = |message: &&Value| pattern::check(&pattern, Some(message)).is_ok();
        if let Some(message) = unasked.iter().find(like) {
            bail!("{} got {message}", never.socket);
        }
        self.unasked.insert(never.socket.clone(), unasked);
        Ok(())
    }

    async fn closed(&mut self, closed: &Closed) -> Result<()> {
        let end = Instant::now() + CLOSE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if let Received::Closed(code) = self.socket(&closed.socket)?.next(left).await? {
                ensure!(code == closed.code, "closed with {code}, want {}", closed.code);
                return Ok(());
            }
        }
    }
}

/// A problem is whole: RFC 9457 and what we promise besides.
fn judge_problem(code: &str, expect: &Answer, got: &Answered) -> Result<()> {
    let media = got.headers.get("content-type").and_then(Value::as_str);
    ensure!(media == Some("application/problem+json"), "media type {media:?}");
    let body = got.body.as_ref().context("no JSON")?;
    let text = |member: &str| body[member].as_str().unwrap_or_default();
    ensure!(text("code") == code, "want the problem {code}");
    ensure!(body["status"] == got.status, "`status` is not the status");
    ensure!(text("type").ends_with(code), "`type` does not name the code");
    ensure!(!text("title").is_empty() && !text("remedy").is_empty(), "no title or no remedy");
    if let Some(field) = &expect.field {
        let errors = body["errors"].as_array().into_iter().flatten();
        let named = errors.into_iter().any(|error| error["field"] == field.as_str());
        ensure!(named, "`errors` does not name {field}");
    }
    Ok(())
}

/// Types of messages, for people.
fn types(messages: &[Value]) -> String {
    let types = messages.iter().map(|message| message["type"].as_str().unwrap_or("?"));
    format!("[{}]", types.collect::<Vec<_>>().join(", "))
}
