//! The WebSocket of `conclave.v1`: bytes to inputs of a room, outputs to bytes.
//!
//! ```text
//!  upgrade ─▶ first message (5 s) ─▶ token or ticket ─▶ session ─▶ close
//! ```

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{
        State,
        ws::{
            CloseFrame, Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection,
        },
    },
    http::{HeaderMap, header},
    response::Response,
};
use sdk_spec::{
    limits::{MESSAGES_BURST, MESSAGES_PER_SECOND, SDK_CHARS_MAX},
    object,
    problem::Code,
    ws::{ClientMessage, Envelope, ErrorCode, MESSAGE_BYTES_MAX, SUBPROTOCOL, ServerMessage},
};
use serde::Deserialize;
use sfu_proto::{id::RoomId, sdp::Offer};
use tokio::{sync::watch, task::JoinHandle, time::timeout};
use tokio_tungstenite::tungstenite;

use super::{
    App, Failure, Peer, Shared,
    limit::{Bucket, Rate},
};
use crate::{
    clock,
    domain::{self, Body, ClientInput, Close, ConnectionId, Fault, Proof},
    limits::{self, MESSAGE_BYTES_PER_TOKEN, SOCKET_READ_BUFFER},
    rooms::{self, Hello, Input, Outgoing, Outgoings},
    secret::Capability,
    token::{self, TokenError},
};

/// Close codes; the table is in [`sdk_spec::ws`].
mod code {
    pub(super) const DONE: u16 = 1000;
    pub(super) const GOING_AWAY: u16 = 1001;
    pub(super) const BINARY: u16 = 1003;
    pub(super) const REFUSED: u16 = 1008;
    pub(super) const TOO_LARGE: u16 = 1009;
    pub(super) const INTERNAL: u16 = 1011;
    pub(super) const SLOW_OR_SILENT: u16 = 4000;
    pub(super) const SUPERSEDED: u16 = 4001;
}

/// `GET /v1/ws`.
pub(super) async fn upgrade(
    State(app): State<Shared>,
    peer: Peer,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let origin = headers.get(header::ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
    if origin.is_some_and(|origin| !app.config.allows_origin(origin)) {
        return Err(Failure::new(Code::NotPermitted).detail("pages of this origin may not connect"));
    }
    let malformed = |detail: &str| Failure::new(Code::MalformedRequest).detail(detail);
    let upgrade = upgrade.map_err(|error| malformed(&error.body_text()))?.protocols([SUBPROTOCOL]);
    if upgrade.selected_protocol().is_none() {
        return Err(malformed("the WebSocket must offer the subprotocol conclave.v1"));
    }
    let upgrade = upgrade
        .read_buffer_size(SOCKET_READ_BUFFER)
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |socket| serve(app, peer, socket)))
}

async fn serve(app: Shared, peer: Peer, mut socket: WebSocket) {
    app.metrics.websockets.inc();
    let mut stopping = app.stopping.subscribe();
    let close = tokio::select! {
        close = session(&app, peer, &mut socket) => close,
        () = stopped(&mut stopping) => code::GOING_AWAY,
    };
    let frame = CloseFrame { code: close, reason: "".into() };
    let goodbye = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {} // Until the peer closes too.
        }
    };
    // A peer that does not answer the closing handshake is cut off.
    let _ = timeout(limits::SOCKET_CLOSE, goodbye).await;
    app.metrics.websockets.dec();
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    if stopping.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// From the first message to the close code.
async fn session(app: &Shared, peer: Peer, socket: &mut WebSocket) -> u16 {
    let first = timeout(limits::FIRST_MESSAGE, next(socket));
    let read = match first.await {
        Ok(read) => read,
        Err(_) => return refuse(socket, domain::NO_FIRST_MESSAGE, code::REFUSED).await,
    };
    let text = match read {
        Read::Text(text) => text,
        Read::Binary => return refuse(socket, domain::MALFORMED, code::BINARY).await,
        Read::TooLarge => return refuse(socket, domain::TOO_LARGE, code::TOO_LARGE).await,
        Read::Over => return code::DONE,
    };
    let (room, hello) = match hello(app, peer, &text).await {
        Ok(found) => found,
        Err(fault) => return refuse(socket, fault, code::REFUSED).await,
    };
    let connection = app.rooms.connection();
    let (sender, outgoing) = rooms::socket();
    let fault = match &hello {
        Hello::Join(_) => domain::TOKEN_REFUSED,
        Hello::Resume { .. } => domain::RESUME_REFUSED,
    };
    if !app.rooms.send(room, Input::Hello { connection, hello, socket: sender }).await {
        return refuse(socket, fault, code::REFUSED).await;
    }
    let mut session = Session { app, peer, room, connection, outgoing, renewal: None };
    let close = session.run(socket).await;
    app.rooms.send(room, Input::Detach { connection }).await;
    close
}

/// What the first message asks for.
async fn hello(app: &Shared, peer: Peer, text: &str) -> Result<(RoomId, Hello), Fault> {
    match object::from_slice::<ClientMessage>(text.as_bytes()) {
        Ok(ClientMessage::Join { token, sdk }) => {
            if sdk.is_some_and(|sdk| sdk.len() > SDK_CHARS_MAX) {
                return Err(domain::MALFORMED);
            }
            let (room, admission) = admit(app, peer, &token).await?;
            Ok((room, Hello::Join(admission)))
        }
        Ok(ClientMessage::Resume { ticket, received }) => {
            app.metrics.resumes.inc();
            let Some(ticket) = Capability::parse(&ticket) else {
                let _ = app.count_guess(peer); // One answer: the session is over either way.
                return Err(domain::RESUME_REFUSED);
            };
            let proof = Proof { participant: ticket.participant, secret: ticket.secret };
            Ok((ticket.room, Hello::Resume { proof, received }))
        }
        Ok(_) => Err(domain::NOT_FIRST),
        Err(_) => Err(domain::MALFORMED),
    }
}

/// The token is right; its bearer may not come in.
const BANNED: Fault = (
    ErrorCode::Banned,
    "the handle is banned",
    "The partner can lift the ban (DELETE /v1/bans/{ban}); come with a new token then.",
);

async fn admit(app: &App, peer: Peer, text: &str) -> Result<(RoomId, domain::Admission), Fault> {
    let fault = |error| count_refusal(app, peer, &error);
    let verified = token::verify(&app.store, text, clock::now_ms()).await.map_err(fault)?;
    // A token must not be used up by a room that would take nobody.
    let vacancy = app.rooms.check_vacancy(&verified.project, verified.room, &verified.admission);
    vacancy.await.map_err(domain::fault)?;
    let project = verified.project.clone();
    let redeemed = verified.redeem(&app.store).await.map_err(fault)?;
    app.rooms.seat(&project, redeemed.participants_max);
    Ok((redeemed.room, redeemed.admission))
}

/// Who a new token of an open session admits: to the room where it is, and used up like any other.
async fn admit_again(
    app: &App,
    peer: Peer,
    room: RoomId,
    text: &str,
) -> Result<domain::Admission, Fault> {
    let fault = |error| count_refusal(app, peer, &error);
    let verified = token::verify(&app.store, text, clock::now_ms()).await.map_err(fault)?;
    if verified.room != room {
        return Err(count_refusal(app, peer, &TokenError::Refused("room")));
    }
    // Only a room of the token's project is found: it is the session's project too.
    Ok(verified.redeem(&app.store).await.map_err(fault)?.admission)
}

fn count_refusal(app: &App, peer: Peer, error: &TokenError) -> Fault {
    match error {
        TokenError::Store(error) => {
            tracing::error!(%error, "store");
            return domain::INTERNAL;
        }
        TokenError::Refused(_) if error.is_guess() => {
            let _ = app.count_guess(peer); // One answer, whatever it was.
        }
        _ => {}
    }
    app.metrics.tokens_refused.with_label_values(&[error.reason()]).inc();
    match error {
        TokenError::Banned => BANNED,
        TokenError::Refused(_) | TokenError::Store(_) => domain::TOKEN_REFUSED,
    }
}

/// Tells a fault outside of the sequence.
async fn refuse(socket: &mut WebSocket, fault: Fault, close: u16) -> u16 {
    let message: ServerMessage = domain::error(fault, None, true);
    let text = serde_json::to_string(&message).unwrap_or_default();
    let _ = timeout(limits::SOCKET_WRITE, socket.send(Message::text(text))).await;
    close
}

/// What came off a socket.
enum Read {
    Text(String),
    Binary,
    TooLarge,
    Over,
}

/// The next message that means something. Pings of the WebSocket itself are answered by the
/// library.
async fn next(socket: &mut WebSocket) -> Read {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => return Read::Text(text.as_str().to_owned()),
            Some(Ok(Message::Binary(_))) => return Read::Binary,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Err(error)) => return broken(error),
            Some(Ok(Message::Close(_))) | None => return Read::Over,
        }
    }
}

/// The library refuses a frame by its header, before it allocates.
fn broken(error: axum::Error) -> Read {
    match error.into_inner().downcast::<tungstenite::Error>() {
        Ok(error) if matches!(*error, tungstenite::Error::Capacity(_)) => Read::TooLarge,
        _ => Read::Over,
    }
}

/// An open connection of a participant, or of one who is being refused.
struct Session<'a> {
    app: &'a Shared,
    peer: Peer,
    room: RoomId,
    connection: ConnectionId,
    outgoing: Outgoings,
    /// The check of a new token.
    renewal: Option<JoinHandle<()>>,
}

impl Session<'_> {
    /// Until the room, the client or a fault ends it; returns the close code.
    async fn run(&mut self, socket: &mut WebSocket) -> u16 {
        let mut bucket = Bucket::full(Instant::now());
        // Set by input that cannot be gone on from: then only the room's last words are awaited.
        let mut close = None;
        loop {
            tokio::select! {
                outgoing = self.outgoing.next() => match outgoing {
                    Some(Outgoing::Message(message)) => {
                        if let Err(code) = write(socket, message.text()).await {
                            return code;
                        }
                    }
                    Some(Outgoing::Close(reason)) => return close.unwrap_or(close_code(reason)),
                    None => return code::SLOW_OR_SILENT,
                },
                read = next(socket), if close.is_none() => {
                    let (said, fatal) = match read {
                        Read::Over => return code::DONE,
                        _ if !is_within(&mut bucket, &read) => {
                            (Body::TooMany.into(), Some(code::REFUSED))
                        }
                        Read::Text(text) => (parse(&text), None),
                        Read::Binary => (Body::Malformed.into(), Some(code::BINARY)),
                        Read::TooLarge => (Body::TooLarge.into(), Some(code::TOO_LARGE)),
                    };
                    close = fatal;
                    self.tell(said.input).await;
                    if let Some(token) = said.token {
                        self.renew(token).await;
                    }
                }
            }
        }
    }

    async fn tell(&self, input: ClientInput) {
        if matches!(input.body, Body::Offer { .. }) {
            self.app.metrics.offers.with_label_values(&["websocket"]).inc();
        }
        let connection = self.connection;
        self.app.rooms.send(self.room, Input::Client { connection, input }).await;
    }

    /// Has a new token checked beside the session, which goes on meanwhile: one at a time.
    async fn renew(&mut self, token: String) {
        let (app, peer) = (Arc::clone(self.app), self.peer);
        let (room, connection) = (self.room, self.connection);
        if self.renewal.as_ref().is_some_and(|check| !check.is_finished()) {
            app.rooms.send(room, Input::RenewRefused { connection }).await;
            return;
        }
        self.renewal = Some(tokio::spawn(async move {
            let input = match admit_again(&app, peer, room, &token).await {
                Ok(admission) => Input::Renew { connection, admission },
                Err(_) => Input::RenewRefused { connection },
            };
            app.rooms.send(room, input).await;
        }));
    }
}

/// Writes a message. `Err` is the close code.
async fn write(socket: &mut WebSocket, text: String) -> Result<(), u16> {
    match timeout(limits::SOCKET_WRITE, socket.send(Message::text(text))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(code::INTERNAL),
        Err(_) => Err(code::SLOW_OR_SILENT),
    }
}

/// Takes what was read from the rate. A large message is a large offer, which is work to parse: it
/// counts for several.
fn is_within(bucket: &mut Bucket, read: &Read) -> bool {
    let rate = Rate { per_second: MESSAGES_PER_SECOND, burst: MESSAGES_BURST };
    let cost = match read {
        Read::Text(text) => 1 + (text.len() / MESSAGE_BYTES_PER_TOKEN) as u32,
        Read::Binary | Read::TooLarge | Read::Over => 1,
    };
    bucket.take(cost, rate, Instant::now()).is_ok()
}

fn close_code(close: Close) -> u16 {
    match close {
        Close::Done => code::DONE,
        Close::Refused => code::REFUSED,
        Close::Silent => code::SLOW_OR_SILENT,
        Close::Superseded => code::SUPERSEDED,
    }
}

/// A message as the room hears it, and the token that came with it, which the room must not see.
struct Said {
    input: ClientInput,
    token: Option<String>,
}

impl From<Body> for Said {
    fn from(body: Body) -> Self {
        Self { input: ClientInput { seq: 0, ack: 0, body }, token: None }
    }
}

/// A message of an open session. What is at least an envelope keeps its place in the sequence.
fn parse(text: &str) -> Said {
    #[derive(Deserialize)]
    struct Place {
        seq: u64,
        ack: u64,
    }
    match serde_json::from_str::<Envelope<ClientMessage>>(text) {
        Ok(Envelope { seq, ack, message }) => {
            let (body, token) = translate(message);
            Said { input: ClientInput { seq, ack, body }, token }
        }
        Err(_) => match object::from_slice::<Place>(text.as_bytes()) {
            Ok(Place { seq, ack }) => {
                Said { input: ClientInput { seq, ack, body: Body::Unknown }, token: None }
            }
            Err(_) => Body::Malformed.into(),
        },
    }
}

fn translate(message: ClientMessage) -> (Body, Option<String>) {
    let body = match message {
        ClientMessage::Renew { token } => return (Body::Renewing, Some(token)),
        ClientMessage::Join { .. } | ClientMessage::Resume { .. } => Body::Repeated,
        ClientMessage::Offer { id, sdp, tracks } => {
            let sdp = Offer::parse(&sdp).map(Box::new).map_err(|error| error.to_string());
            Body::Offer { id, sdp, tracks }
        }
        ClientMessage::Mute { track, muted } => Body::Mute { track, muted },
        ClientMessage::Want { tracks } => Body::Want { tracks },
        ClientMessage::Act { id, action } => Body::Act { id, action: Box::new(action) },
        ClientMessage::Consent { granted } => Body::Consent { granted },
        ClientMessage::Floor { wanted } => Body::Floor { wanted },
        ClientMessage::SetState { state } => Body::SetState { state },
        ClientMessage::Data { to, body } => Body::Data { to, body },
        ClientMessage::Ping {} => Body::Ping,
        ClientMessage::Leave {} => Body::Leave,
    };
    (body, None)
}
