//! Both ends with real TLS over loopback, and a wire between them that can be cut.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use sfu_proto::{id::RecordingId, tap::Batch};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use super::*;
use crate::tap::{Hold, TapReceiver, TapSender, tap};

/// Longest wait for anything: the machine may be busy.
const SOON: Duration = Duration::from_secs(30);

fn identity() -> Identity {
    Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap()
}

/// Two sides that know each other.
fn pair() -> (Trust, Trust) {
    let (media, recorder) = (identity(), identity());
    let known = |of: &Identity| vec![of.fingerprint()];
    let (to_recorder, to_media) = (known(&recorder), known(&media));
    (Trust { identity: media, peers: to_recorder }, Trust { identity: recorder, peers: to_media })
}

struct Echo;

impl Answers for Echo {
    fn answer(&self, body: Vec<u8>) -> Answer {
        Box::pin(async move { [b"re: ", &body[..]].concat() })
    }
}

/// A recorder's process: its end of the link and its ring.
struct Process {
    at: SocketAddr,
    out: TapReceiver,
    sessions: Arc<Sessions>,
    status: watch::Sender<Arc<[u8]>>,
    task: JoinHandle<()>,
}

impl Process {
    async fn start(trust: &Trust, ring_bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (ring, out) = tap(ring_bytes);
        let sessions = Arc::new(Sessions::default());
        let (status, told) = watch::channel(Arc::from(*b"fine"));
        let end = RecorderEnd::new(trust, ring, Arc::clone(&sessions), told, Arc::new(Echo));
        let task = tokio::spawn(end.unwrap().serve(listener));
        Self { at, out, sessions, status, task }
    }

    /// Numbers in what came out, until `count` are there; each is let go of at once.
    async fn take(&self, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        while numbers.len() < count
            && let Some((number, _)) = self.next().await
        {
            numbers.push(number);
        }
        numbers
    }

    /// The same, held.
    async fn take_held(&self, count: usize) -> Vec<(u32, Hold)> {
        let mut held = Vec::new();
        while held.len() < count
            && let Some(next) = self.next().await
        {
            held.push(next);
        }
        held
    }

    /// None: nothing came in time.
    async fn next(&self) -> Option<(u32, Hold)> {
        let until = Instant::now() + SOON;
        while Instant::now() < until {
            match self.out.recv_held(Duration::ZERO) {
                Some((batch, hold)) => {
                    return Some((u32::from_le_bytes(*batch.bytes.first_chunk()?), hold));
                }
                None => sleep(Duration::from_millis(2)).await,
            }
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A wire from its own port to wherever it leads now; cut, nothing goes through.
struct Wire {
    at: SocketAddr,
    to: watch::Sender<Option<SocketAddr>>,
    /// Connections that were and are no more.
    ended: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Wire {
    async fn lay(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (to, leads) = watch::channel(Some(to));
        let ended = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&ended);
        let task = tokio::spawn(async move {
            let mut wires = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let (mut leads, count) = (leads.clone(), Arc::clone(&count));
                wires.spawn(async move {
                    let Some(to) = *leads.borrow_and_update() else { return };
                    let Ok(mut far) = TcpStream::connect(to).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = leads.changed() => {}
                    }
                    count.fetch_add(1, Relaxed);
                });
            }
        });
        Self { at, to, ended, task }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn send(ring: &TapSender, number: u32, len: usize) -> bool {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(len.max(4), 7);
    ring.send(Batch { recording: RecordingId::from_bits(1), bytes }).is_ok()
}

async fn until(mut is: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is() {
        assert!(Instant::now() < end, "not in time");
        sleep(Duration::from_millis(5)).await;
    }
}

fn count(numbers: std::ops::Range<u32>) -> Vec<u32> {
    numbers.collect()
}

#[tokio::test]
async fn batches_come_in_order_and_status_and_answers_too() {
    let (media, recorder) = pair();
    let process = Process::start(&recorder, 1 << 20).await;
    let (ring, receiver) = tap(1 << 20);
    let link = MediaEnd::start(receiver, process.at.to_string(), &media).unwrap();
    assert_eq!(link.ask(b"now?".to_vec()).await, None, "not connected yet");
    (0..100).for_each(|number| assert!(send(&ring, number, 1000)));
    let sent_ms = now_ms();
    assert_eq!(process.take(100).await, count(0..100));
    until(|| link.is_up()).await;
    assert_eq!(link.status().borrow().as_deref(), Some(&b"fine"[..]));
    process.status.send_replace(Arc::from(*b"full"));
    until(|| link.status().borrow().as_deref() == Some(&b"full"[..])).await;
    assert_eq!(link.ask(b"who?".to_vec()).await.unwrap(), b"re: who?");
    until(|| process.sessions.has_all_until(sent_ms)).await;
    assert!(!process.sessions.has_all_until(sent_ms + 3_600_000));
    until(|| link.counts().kept_bytes == 0).await;
    assert_eq!((process.sessions.count(), link.counts().connections), (1, 1));
    assert!(send(&ring, 100, 4));
    let ((), last) = tokio::join!(link.finish(), process.take(1));
    assert_eq!(last, [100]);
    assert_eq!(link.counts().kept_bytes, 0, "the end waits for the last");
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as u64
}

#[tokio::test]
async fn a_cut_costs_nothing() {
    let (media, recorder) = pair();
    let process = Process::start(&recorder, 1 << 20).await;
    let wire = Wire::lay(process.at).await;
    let (ring, receiver) = tap(1 << 20);
    let link = MediaEnd::start(receiver, wire.at.to_string(), &media).unwrap();
    let mut number = 0;
    for _ in 0..4 {
        until(|| link.is_up()).await;
        for _ in 0..50 {
            assert!(send(&ring, number, 2000));
            number += 1;
            if number % 50 == 25 {
                wire.to.send_replace(None);
            }
            sleep(Duration::from_millis(2)).await;
        }
        until(|| !link.is_up()).await;
        wire.to.send_replace(Some(process.at));
    }
    assert_eq!(process.take(200).await, count(0..200), "all of them, each once, in order");
    until(|| link.counts().kept_bytes == 0).await;
    assert!(link.counts().connections >= 5);
}

#[tokio::test]
async fn what_a_process_held_at_its_end_goes_to_the_next_and_nothing_else_does() {
    let (media, recorder) = pair();
    let first = Process::start(&recorder, 1 << 20).await;
    let wire = Wire::lay(first.at).await;
    let (ring, receiver) = tap(1 << 20);
    let link = MediaEnd::start(receiver, wire.at.to_string(), &media).unwrap();
    (0..20).for_each(|number| assert!(send(&ring, number, 100)));
    let mut held = first.take_held(20).await;
    assert!(held.iter().map(|(number, _)| *number).eq(0..20));
    // On disk are the first ten, and every other one after them.
    held.retain(|(number, _)| *number >= 10 && number % 2 == 1);
    until(|| link.counts().kept_bytes == 500).await;
    // Killed.
    wire.to.send_replace(None);
    drop(first);
    (20..30).for_each(|number| assert!(send(&ring, number, 100)));
    let second = Process::start(&recorder, 1 << 20).await;
    wire.to.send_replace(Some(second.at));
    let expected: Vec<u32> = [11, 13, 15, 17, 19].into_iter().chain(20..30).collect();
    assert_eq!(second.take(15).await, expected);
    until(|| link.counts().kept_bytes == 0).await;
}

#[tokio::test]
async fn a_recorder_that_is_full_is_waited_for_and_loses_nothing_of_what_was_taken() {
    const BATCH: usize = 512 * 1024 - 16;
    let (media, recorder) = pair();
    let process = Process::start(&recorder, 2 * BATCH).await;
    let (ring, receiver) = tap(4 * BATCH);
    let link = MediaEnd::start(receiver, process.at.to_string(), &media).unwrap();
    until(|| link.is_up()).await;
    let (mut taken, mut refused) = (Vec::new(), 0);
    for number in 0..1000 {
        if send(&ring, number, BATCH) {
            taken.push(number);
        } else {
            refused += 1;
            if refused > 20 {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(refused > 20, "both are full: the worker hears of it");
    assert!(link.is_up() && link.counts().kept_bytes >= crate::limits::LINK_KEPT_BYTES_MAX);
    assert_eq!(process.take(taken.len()).await, taken);
    assert!(send(&ring, 5000, 10) && process.take(1).await == [5000]);
}

#[tokio::test]
async fn nobody_but_the_known_keys_gets_in() {
    let (media, recorder) = pair();
    let process = Process::start(&recorder, 1 << 20).await;
    // A key that the recorder does not know; a recorder that we do not know.
    let unknown = Trust { identity: identity(), peers: vec![recorder.identity.fingerprint()] };
    let wary = Trust { identity: media.identity, peers: vec![identity().fingerprint()] };
    for trust in [&unknown, &wary] {
        let tls = tokio_rustls::TlsConnector::from(Arc::new(trust.client().unwrap()));
        let refused = async {
            let stream = TcpStream::connect(process.at).await?;
            tls.connect("recorder".try_into().unwrap(), stream).await?.read(&mut [0; 9]).await
        };
        assert!(timeout(SOON, refused).await.unwrap().is_err(), "the handshake fails");
        let wire = Wire::lay(process.at).await;
        let (ring, receiver) = tap(1 << 20);
        let link = MediaEnd::start(receiver, wire.at.to_string(), trust).unwrap();
        assert!(send(&ring, 1, 100));
        until(|| wire.ended.load(Relaxed) >= 2 && link.counts().kept_bytes > 0).await;
        assert!(!link.is_up() && link.counts().connections == 0);
        assert!(link.status().borrow().is_none());
        assert_eq!(link.counts().kept_bytes, 100, "not sent to whoever that is");
    }
    assert!(process.out.recv(Duration::ZERO).is_none() && process.sessions.count() == 0);
}

#[tokio::test]
async fn garbage_and_plain_frames_end_their_connection_and_no_other() {
    let (media, recorder) = pair();
    let process = Process::start(&recorder, 1 << 20).await;
    let (ring, receiver) = tap(1 << 20);
    let link = MediaEnd::start(receiver, process.at.to_string(), &media).unwrap();
    until(|| link.is_up()).await;
    let mut hello = Vec::new();
    Frame::Hello { session: 9, next: 0 }.write(&mut hello);
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096], &[0; 64], &hello] {
        let mut stream = TcpStream::connect(process.at).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut told = Vec::new();
        // Refused at once, or, when too little came to tell, after the time for the handshake.
        let read = timeout(SOON, stream.read_to_end(&mut told)).await.unwrap();
        assert!(read.is_err() || told.len() < 100, "an alert at most");
    }
    assert!(link.is_up() && link.counts().connections == 1);
    assert!(send(&ring, 3, 10) && process.take(1).await == [3]);
}

#[tokio::test]
async fn one_who_only_looks_is_answered_and_counts_as_nobody() {
    let (media, recorder) = pair();
    let process = Process::start(&recorder, 1 << 20).await;
    look(&process.at.to_string(), &media).await.unwrap();
    assert_eq!(process.sessions.count(), 0);
    for (trust, why) in [
        (&Trust { identity: identity(), peers: media.peers.clone() }, LookError::Unknown),
        (
            &Trust { identity: identity(), peers: vec![identity().fingerprint()] },
            LookError::Stranger,
        ),
    ] {
        assert_eq!(look(&process.at.to_string(), trust).await, Err(why));
    }
    let at = process.at.to_string();
    drop(process);
    until_refused(&at).await;
    assert!(matches!(look(&at, &media).await, Err(LookError::Unreachable(_))));
    let deaf = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let looked = look(&deaf.local_addr().unwrap().to_string(), &media).await;
    assert_eq!(looked, Err(LookError::Silent));
}

/// Until nobody listens there any more.
async fn until_refused(at: &str) {
    let end = Instant::now() + SOON;
    while TcpStream::connect(at).await.is_ok() {
        assert!(Instant::now() < end, "not in time");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn frames_out_of_turn_end_the_connection_also_of_those_who_are_known() {
    let (media, recorder) = pair();
    let process = Process::start(&recorder, 1 << 20).await;
    let tls = tokio_rustls::TlsConnector::from(Arc::new(media.client().unwrap()));
    let batch =
        |number| Frame::Batch { number, recording: RecordingId::from_bits(1), records: b"x" };
    let hello = |session| Frame::Hello { session, next: 0 };
    let cases: [&[Frame<'_>]; 4] = [
        &[batch(0)],
        &[hello(2), Frame::Ack { first: 0, last: 0 }],
        &[hello(3), hello(3)],
        &[hello(4), Frame::Status(b"")],
    ];
    for frames in cases {
        let stream = TcpStream::connect(process.at).await.unwrap();
        let mut stream = tls.connect("recorder".try_into().unwrap(), stream).await.unwrap();
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes));
        stream.write_all(&bytes).await.unwrap();
        let ended = timeout(SOON, async {
            while stream.read(&mut [0; 1000]).await.is_ok_and(|count| count > 0) {}
        });
        ended.await.unwrap();
    }
    assert!(process.out.recv(Duration::ZERO).is_none());
}
