//! The media process's end: empties the ring, keeps what was not acknowledged, connects again.
//!
//! ```text
//!  thread: ring ─▶ kept          task: connect ─▶ hello ─▶ ┌ write: kept, questions
//!     waits while kept is full         ▲  backoff          └ read: acknowledgements, status, answers
//!                                      └──────────────────────── either ends
//! ```

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustls::pki_types::ServerName;
use sfu_proto::link::Frame;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Notify, oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Cut, Trust,
    kept::{Kept, Next, Unknown},
    read, read_hello,
};
use crate::{
    limits::{
        LINK_AGAIN_MAX, LINK_AGAIN_MIN, LINK_ASKS_MAX, LINK_BODY_BYTES_MAX, LINK_CONNECT, LINK_END,
        LINK_MARK, LINK_SILENCE, LINK_WRITE_BYTES,
    },
    tap::TapReceiver,
};

/// Longest sleep of the thread, so that it sees the end.
const LOOK: Duration = Duration::from_millis(50);

/// How the link is, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Whether the recorder is connected.
    pub is_up: bool,
    /// Bytes of batches that it has not acknowledged.
    pub kept_bytes: usize,
    /// Connections so far.
    pub connections: u64,
}

/// The link as the media process has it. Dropped, it ends without waiting.
pub struct MediaEnd {
    shared: Arc<Shared>,
    thread: thread::JoinHandle<()>,
    task: JoinHandle<()>,
}

struct Shared {
    session: u128,
    state: Mutex<State>,
    /// Something was acknowledged, or the end.
    room: Condvar,
    /// There is something to send.
    news: Notify,
    status: watch::Sender<Option<Arc<[u8]>>>,
    is_up: AtomicBool,
    is_ending: AtomicBool,
    connections: AtomicU64,
}

#[derive(Default)]
struct State {
    kept: Kept,
    /// Questions to send.
    asks: Vec<(u64, Vec<u8>)>,
    /// Who waits for answers.
    asked: HashMap<u64, oneshot::Sender<Vec<u8>>>,
    next_ask: u64,
}

impl Shared {
    /// No code of others runs under the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MediaEnd {
    /// Starts to send what comes out of the ring to the recorder at `to` (`host:port`), within a Tokio runtime.
    ///
    /// # Errors
    /// The key cannot be used, or the system has no room for a thread.
    pub fn start(tap: TapReceiver, to: String, trust: &Trust) -> io::Result<Self> {
        let tls = trust.client().map_err(io::Error::other)?;
        let mut session = [0; 16];
        aws_lc_rs::rand::fill(&mut session).map_err(io::Error::other)?;
        let shared = Arc::new(Shared {
            session: u128::from_le_bytes(session),
            state: Mutex::default(),
            room: Condvar::new(),
            news: Notify::new(),
            status: watch::Sender::new(None),
            is_up: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            connections: AtomicU64::new(0),
        });
        let ours = Arc::clone(&shared);
        let thread = thread::Builder::new().name("link".to_owned());
        let thread = thread.spawn(move || empty(&tap, &ours))?;
        let link =
            Dialing { shared: Arc::clone(&shared), to, tls: TlsConnector::from(Arc::new(tls)) };
        Ok(Self { shared, thread, task: tokio::spawn(link.run()) })
    }

    /// What the recorder last said of itself; none: it never did. See [`Self::is_up`].
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Option<Arc<[u8]>>> {
        self.shared.status.subscribe()
    }

    /// Whether the recorder is connected.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.shared.is_up.load(Relaxed)
    }

    /// For metrics.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            is_up: self.is_up(),
            kept_bytes: self.shared.lock().kept.bytes(),
            connections: self.shared.connections.load(Relaxed),
        }
    }

    /// Asks the recorder. None: it is not connected, is cut off before it answers, or too much is asked.
    pub async fn ask(&self, body: Vec<u8>) -> Option<Vec<u8>> {
        if !self.is_up() || body.len() > LINK_BODY_BYTES_MAX {
            return None;
        }
        let (tell, answer) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            state.asked.retain(|_, waiting| !waiting.is_closed());
            if state.asked.len() >= LINK_ASKS_MAX {
                return None;
            }
            state.next_ask += 1;
            let number = state.next_ask;
            state.asked.insert(number, tell);
            state.asks.push((number, body));
        }
        self.shared.news.notify_one();
        answer.await.ok()
    }

    /// Takes no more of the ring, and waits until the recorder has what this end holds, up to [`LINK_END`].
    /// To be called when nobody fills the ring any more.
    pub async fn finish(&self) {
        self.shared.is_ending.store(true, Relaxed);
        let until = Instant::now() + LINK_END;
        while Instant::now() < until && !self.is_done() {
            sleep(LOOK).await;
        }
        let left = self.shared.lock().kept.bytes();
        if left > 0 {
            tracing::warn!(bytes = left, "the recorder does not have all of the last media");
        }
    }

    fn is_done(&self) -> bool {
        // A link that is cut may come back in this time.
        self.thread.is_finished() && self.shared.lock().kept.bytes() == 0
    }
}

impl Drop for MediaEnd {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Relaxed);
        self.task.abort();
    }
}

/// Brings what the ring gives to what is kept, while that has room, and notes now and then that all until
/// then was brought.
fn empty(tap: &TapReceiver, shared: &Shared) {
    let mut marked = Instant::now();
    // A mark that waits until what the ring had then is brought.
    let mut mark: Option<(u64, usize)> = None;
    loop {
        if mark.is_none() && marked.elapsed() >= LINK_MARK {
            // The time first: what comes after is not promised.
            mark = Some((now_ms(), tap.waiting()));
        }
        if let Some((time_ms, _)) = mark.take_if(|(_, left)| *left == 0) {
            shared.lock().kept.mark(time_ms);
            shared.news.notify_one();
            marked = Instant::now();
        }
        let is_ending = shared.is_ending.load(Relaxed);
        let Some(batch) = tap.recv(LOOK) else {
            if is_ending {
                return;
            }
            mark = mark.map(|(time_ms, _)| (time_ms, 0));
            continue;
        };
        mark = mark.map(|(time_ms, left)| (time_ms, left.saturating_sub(batch.bytes.len())));
        let mut state = shared.lock();
        while !state.kept.has_room() {
            if shared.is_ending.load(Relaxed) {
                return;
            }
            let wait = shared.room.wait_timeout(state, LOOK);
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.kept.push(batch);
        drop(state);
        shared.news.notify_one();
    }
}

/// Wall clock, milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

struct Dialing {
    shared: Arc<Shared>,
    to: String,
    tls: TlsConnector,
}

impl Dialing {
    async fn run(self) {
        let (mut wait, mut told) = (LINK_AGAIN_MIN, String::new());
        loop {
            let before = self.shared.connections.load(Relaxed);
            let Err(cut) = Box::pin(self.connection()).await;
            let was_up = self.shared.is_up.swap(false, Relaxed);
            {
                let mut state = self.shared.lock();
                state.asked.clear();
                state.asks.clear();
            }
            let why = cut.to_string();
            if was_up {
                tracing::warn!(why, "the link to the recorder is cut");
            } else if why != told {
                tracing::warn!(why, "no link to the recorder"); // Once for each reason.
            }
            told = why;
            if self.shared.connections.load(Relaxed) != before {
                wait = LINK_AGAIN_MIN;
            }
            sleep(wait).await;
            wait = (wait * 2).min(LINK_AGAIN_MAX);
        }
    }

    async fn connection(&self) -> Result<std::convert::Infallible, Cut> {
        let mut stream = timeout(LINK_CONNECT, self.dial()).await.map_err(|_| Cut::Silent)??;
        let mut bytes = Vec::new();
        let next = self.shared.lock().kept.first();
        Frame::Hello { session: self.shared.session, next }.write(&mut bytes);
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        let (session, next) = read_hello(&mut stream, &mut bytes, LINK_CONNECT).await?;
        if session != self.shared.session {
            return Err(Cut::Order);
        }
        self.shared.lock().kept.resume(next).map_err(|Unknown| Cut::Order)?;
        let (from, to) = tokio::io::split(stream);
        tokio::select! {
            cut = self.read(from) => cut,
            cut = self.write(to) => cut,
        }
    }

    async fn dial(&self) -> Result<TlsStream<TcpStream>, Cut> {
        let stream = TcpStream::connect(&self.to).await?;
        stream.set_nodelay(true)?;
        // No name is vouched for: the key is.
        let name = ServerName::try_from("recorder").map_err(io::Error::other)?;
        Ok(self.tls.connect(name, stream).await?)
    }

    async fn read(
        &self,
        mut from: impl AsyncRead + Unpin,
    ) -> Result<std::convert::Infallible, Cut> {
        let mut bytes = Vec::new();
        loop {
            read(&mut from, &mut bytes, LINK_SILENCE).await?;
            match Frame::parse(&bytes)? {
                Some(Frame::Ack { first, last }) => {
                    self.shared.lock().kept.acked(first, last).map_err(|Unknown| Cut::Order)?;
                    self.shared.room.notify_one();
                }
                Some(Frame::Status(body)) => self.on_status(body),
                Some(Frame::Answer { number, body }) => {
                    if let Some(waiting) = self.shared.lock().asked.remove(&number) {
                        let _ = waiting.send(body.to_vec()); // Whoever asked may be gone.
                    }
                }
                None => {}
                Some(_) => return Err(Cut::Order),
            }
        }
    }

    /// The first one says that the recorder is ready.
    fn on_status(&self, body: &[u8]) {
        self.shared.status.send_if_modified(|status| {
            let is_news = status.as_deref() != Some(body);
            if is_news {
                *status = Some(body.into());
            }
            is_news
        });
        if !self.shared.is_up.swap(true, Relaxed) {
            self.shared.connections.fetch_add(1, Relaxed);
            tracing::info!("the link to the recorder is up");
        }
    }

    async fn write(
        &self,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<std::convert::Infallible, Cut> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            self.gather(&mut bytes);
            if bytes.is_empty() {
                self.shared.news.notified().await;
            } else {
                to.write_all(&bytes).await?;
                to.flush().await?;
            }
        }
    }

    /// What is to be sent, up to a bound. The marks of the thread are the signs of life.
    fn gather(&self, bytes: &mut Vec<u8>) {
        let mut state = self.shared.lock();
        for (number, body) in std::mem::take(&mut state.asks) {
            Frame::Ask { number, body: &body }.write(bytes);
        }
        while bytes.len() < LINK_WRITE_BYTES {
            match state.kept.next() {
                Some(Next::Batch(number, batch)) => {
                    let recording = batch.recording;
                    Frame::Batch { number, recording, records: &batch.bytes }.write(bytes);
                }
                Some(Next::Mark(time_ms)) => Frame::Mark { time_ms }.write(bytes),
                None => break,
            }
        }
    }
}
