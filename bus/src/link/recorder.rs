//! The recorder's end: takes connections of media processes that it knows, and hands their batches over.
//!
//! ```text
//!  accept ─▶ TLS ─▶ hello ─▶ ┌ read: batches ─▶ ring; full: nothing is read until it has room, except that
//!                            │ what is for a lane that hangs is dropped
//!    5 s each                 └ write: acknowledgements, status each second, answers
//! ```
//! Before both keys are proven a connection costs a place and a TLS handshake, nothing else.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sfu_proto::{
    link::{Frame, LOOK},
    tap::Batch,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Cut, Trust,
    handed::{Handed, Session, Sessions, Turn},
    read, read_hello,
    tls::fingerprint_of,
};
use crate::{
    limits::{
        LINK_ASKS_MAX, LINK_BODY_BYTES_MAX, LINK_CONNECT, LINK_CONNECTIONS_MAX, LINK_FULL_LOOK,
        LINK_HANDSHAKES_MAX, LINK_LIFE, LINK_SILENCE, LINK_TICK,
    },
    tap::TapSender,
};

/// Time after which a media process that is not heard is not counted any more.
pub(super) const DEAD: Duration = LINK_SILENCE;
/// Pause after the system refused a connection: it has no files left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Time between two lines of the log about connections that were refused.
const REFUSED_TELL: Duration = Duration::from_secs(10);

/// An answer that takes a while.
pub type Answer = Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;

/// Who answers questions of media processes.
pub trait Answers: Send + Sync + 'static {
    /// The answer to a question; empty: not understood.
    fn answer(&self, body: Vec<u8>) -> Answer;
}

/// The link as the recorder has it.
pub struct RecorderEnd {
    trust: TlsAcceptor,
    peer: Peer,
}

/// What all connections share.
#[derive(Clone)]
struct Peer {
    ring: TapSender,
    sessions: Arc<Sessions>,
    status: watch::Receiver<Arc<[u8]>>,
    answers: Arc<dyn Answers>,
    /// For connections of servers that are known.
    places: Arc<Semaphore>,
    /// When the log was last told of somebody who was not let in.
    told: Arc<Mutex<Option<Instant>>>,
}

impl RecorderEnd {
    /// `ring`: where batches go. `sessions`: see [`Sessions::has_all_until`]. `status`: what media processes
    /// are told, at once when it changes; at most [`LINK_BODY_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// The key cannot be used.
    pub fn new(
        trust: &Trust,
        ring: TapSender,
        sessions: Arc<Sessions>,
        status: watch::Receiver<Arc<[u8]>>,
        answers: Arc<dyn Answers>,
    ) -> io::Result<Self> {
        let tls = trust.server().map_err(io::Error::other)?;
        let places = Arc::new(Semaphore::new(LINK_CONNECTIONS_MAX));
        let peer = Peer { ring, sessions, status, answers, places, told: Arc::default() };
        Ok(Self { trust: TlsAcceptor::from(Arc::new(tls)), peer })
    }

    /// Takes connections until it is dropped.
    pub async fn serve(self, listener: TcpListener) {
        let doors = Arc::new(Semaphore::new(LINK_HANDSHAKES_MAX));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, _)) = accepted else {
                sleep(ACCEPT_AGAIN).await;
                continue;
            };
            // The newest is the one that goes.
            let Ok(door) = Arc::clone(&doors).try_acquire_owned() else { continue };
            connections.spawn(self.peer.clone().connection(self.trust.clone(), stream, door));
        }
    }
}

async fn told(to: &mut (impl AsyncWrite + Unpin), frame: Frame<'_>) -> Result<(), Cut> {
    let mut bytes = Vec::new();
    frame.write(&mut bytes);
    send(to, &bytes).await
}

async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), Cut> {
    let write = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    Ok(timeout(LINK_SILENCE, write).await.map_err(|_| Cut::Silent)??)
}

async fn accept(tls: &TlsAcceptor, stream: TcpStream) -> Result<TlsStream<TcpStream>, Cut> {
    stream.set_nodelay(true)?;
    Ok(tls.accept(stream).await?)
}

impl Peer {
    async fn connection(self, tls: TlsAcceptor, stream: TcpStream, door: OwnedSemaphorePermit) {
        let accepted = timeout(LINK_CONNECT, accept(&tls, stream)).await;
        let stream = match accepted.unwrap_or(Err(Cut::Silent)) {
            Ok(stream) => stream,
            Err(cut) => return self.refused(&cut),
        };
        // Whoever is known leaves the door to others.
        let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        drop(door);
        match Box::pin(self.talk(stream)).await {
            Ok(()) => {}
            Err(Cut::Superseded) => tracing::debug!("a media process has connected again"),
            Err(cut) => tracing::warn!(%cut, "a link from a media process ended"),
        }
    }

    /// Strangers must not fill the log.
    fn refused(&self, cut: &Cut) {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|at| now.saturating_duration_since(at) >= REFUSED_TELL) {
            *told = Some(now);
            tracing::warn!(%cut, "somebody was not let in as a media process");
        }
    }

    async fn talk(self, mut stream: TlsStream<TcpStream>) -> Result<(), Cut> {
        let key = fingerprint_of(stream.get_ref().1.peer_certificates()).ok_or(Cut::Order)?;
        let mut bytes = Vec::new();
        let (id, next) = read_hello(&mut stream, &mut bytes, LINK_CONNECT).await?;
        if id == LOOK {
            return told(&mut stream, Frame::Hello { session: id, next }).await;
        }
        let (session, turn) = self.sessions.connect(id, key, next, Instant::now());
        told(&mut stream, Frame::Hello { session: id, next: turn.next }).await?;
        tracing::info!("a link from a media process is up");
        let (from, to) = tokio::io::split(stream);
        let (tell, answered) = mpsc::channel(LINK_ASKS_MAX);
        tokio::select! {
            ended = self.read(from, &session, turn, tell) => ended,
            ended = self.write(to, &session, turn, answered) => ended,
        }
    }

    async fn read(
        &self,
        mut from: impl AsyncRead + Unpin,
        session: &Arc<Session>,
        turn: Turn,
        tell: mpsc::Sender<(u64, Vec<u8>)>,
    ) -> Result<(), Cut> {
        let (mut bytes, mut asked) = (Vec::new(), JoinSet::new());
        loop {
            read(&mut from, &mut bytes, LINK_SILENCE).await?;
            while asked.try_join_next().is_some() {}
            match Frame::parse(&bytes)? {
                Some(Frame::Batch { number, recording, records }) => {
                    let batch = Batch { recording, bytes: records.to_vec() };
                    self.hand(session, turn, number, batch).await?;
                }
                Some(Frame::Mark { time_ms }) if session.mark(turn, time_ms, Instant::now()) => {}
                Some(Frame::Mark { .. }) => return Err(Cut::Superseded),
                Some(Frame::Ask { number, body }) => {
                    if asked.len() >= LINK_ASKS_MAX || body.len() > LINK_BODY_BYTES_MAX {
                        return Err(Cut::Order);
                    }
                    let (answer, tell) = (self.answers.answer(body.to_vec()), tell.clone());
                    asked.spawn(async move {
                        let _ = tell.send((number, answer.await)).await; // The connection may be over.
                    });
                }
                None => {}
                Some(_) => return Err(Cut::Order),
            }
        }
    }

    /// Waits while the ring is full: what is not read waits where it was sent.
    async fn hand(
        &self,
        session: &Arc<Session>,
        turn: Turn,
        number: u64,
        mut batch: Batch,
    ) -> Result<(), Cut> {
        loop {
            match session.hand(turn, number, batch, &self.ring, Instant::now()) {
                Handed::Yes => return Ok(()),
                Handed::Superseded => return Err(Cut::Superseded),
                Handed::Full(back) => batch = back,
            }
            sleep(LINK_FULL_LOOK).await;
        }
    }

    async fn write(
        &self,
        mut to: impl AsyncWrite + Unpin,
        session: &Session,
        turn: Turn,
        mut answered: mpsc::Receiver<(u64, Vec<u8>)>,
    ) -> Result<(), Cut> {
        let (mut status, mut ticks) = (self.status.clone(), interval(LINK_TICK));
        let (mut bytes, mut told): (Vec<u8>, Option<Instant>) = (Vec::new(), None);
        loop {
            bytes.clear();
            tokio::select! {
                _ = ticks.tick() => {}
                Some((number, body)) = answered.recv() => {
                    Frame::Answer { number, body: &body }.write(&mut bytes);
                }
            }
            for run in session.due(turn) {
                Frame::Ack { first: *run.start(), last: *run.end() }.write(&mut bytes);
            }
            let is_news = status.has_changed().unwrap_or(false);
            if is_news || told.is_none_or(|at| at.elapsed() >= LINK_LIFE) {
                Frame::Status(&status.borrow_and_update()).write(&mut bytes);
                told = Some(Instant::now());
            }
            if !bytes.is_empty() {
                send(&mut to, &bytes).await?;
            }
        }
    }
}
