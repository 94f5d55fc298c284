//! What comes over the link is acknowledged when a journal's disk has it, and not before.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Condvar, PoisonError},
    thread,
};

use bus::link::{Answer, Answers, Identity, MediaEnd, RecorderEnd, Sessions, Trust};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

use super::*;
use crate::journal::{Disk, Replay, Sink, SystemDisk};

const ID: RecordingId = RecordingId::from_bits(7);
/// Bytes of a batch here.
const BATCH: usize = 100;
/// Longest wait: the machine may be busy.
const SOON: Duration = Duration::from_secs(30);

/// A disk that may hang: its syncs wait then.
#[derive(Clone, Default)]
struct Hanging(Arc<(Mutex<Hang>, Condvar)>);

#[derive(Default)]
struct Hang {
    hangs: bool,
    /// Syncs that wait.
    waiting: usize,
}

impl Hanging {
    fn hang(&self, hangs: bool) {
        self.0.0.lock().unwrap().hangs = hangs;
        self.0.1.notify_all();
    }

    fn waiting(&self) -> usize {
        self.0.0.lock().unwrap().waiting
    }
}

impl Disk for Hanging {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Sink>> {
        Ok(Box::new(HangingFile { file: SystemDisk.create(path)?, disk: self.clone() }))
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        SystemDisk.sync_dir(dir)
    }
}

struct HangingFile {
    file: Box<dyn Sink>,
    disk: Hanging,
}

impl Sink for HangingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let (state, changed) = &*self.disk.0;
        let mut state = state.lock().unwrap();
        state.waiting += 1;
        let mut state =
            changed.wait_while(state, |state| state.hangs).unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        drop(state);
        self.file.sync()
    }
}

struct Silent;

impl Answers for Silent {
    fn answer(&self, _: Vec<u8>) -> Answer {
        Box::pin(async { Vec::new() })
    }
}

/// A recorder's process: its end of the link, and a lane that writes one recording.
struct Process {
    dir: PathBuf,
    at: SocketAddr,
    folder: crate::journal::Folder,
    key: Arc<DataKey>,
    serving: JoinHandle<()>,
    sessions: Arc<Sessions>,
    lane: mpsc::Sender<Message>,
    thread: thread::JoinHandle<()>,
}

impl Process {
    async fn start(name: &str, at: &str, trust: &Trust, disk: Option<Hanging>) -> Self {
        let dir = std::env::temp_dir().join(format!("conclave-{name}-{}", std::process::id()));
        let common = common(&dir, Arc::default());
        let (ring, receiver) = tap(1 << 20);
        let (own, messages) = mpsc::channel();
        let mut lane = Lane::new(0, receiver, (own.clone(), messages), Arc::clone(&common));
        let mut live = live(&common, ID);
        if let Some(disk) = disk {
            let (key, capture) = (Arc::clone(&live.key), Arc::clone(&common.capture));
            live.writer = crate::journal::Writer::on(
                Box::new(disk),
                &live.folder,
                key,
                capture,
                Moment::now(),
            )
            .unwrap();
        }
        let (folder, key) = (live.folder.clone(), Arc::clone(&live.key));
        lane.on_live(ID, live);
        let thread = thread::spawn(move || lane.run());
        let listener = TcpListener::bind(at).await.unwrap();
        let at = listener.local_addr().unwrap();
        let sessions = Arc::<Sessions>::default();
        let status = watch::channel(Arc::from(*b"fine")).1;
        let end = RecorderEnd::new(trust, ring, Arc::clone(&sessions), status, Arc::new(Silent));
        let serving = tokio::spawn(end.unwrap().serve(listener));
        Self { dir, at, folder, key, serving, sessions, lane: own, thread }
    }

    /// Ends its link; its lane writes on.
    async fn cut(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await; // Aborted.
        self.sessions.end();
    }

    /// The first byte of each batch of its journal, once the lane has ended.
    async fn written(self) -> Vec<u8> {
        self.lane.send(Message::Order(Order::End)).unwrap();
        until(|| self.thread.is_finished()).await;
        let journal = Replay::of(&self.folder, &self.key).unwrap();
        let bytes: Vec<u8> = journal.flat_map(|chunk| chunk.bytes.to_vec()).collect();
        std::fs::remove_dir_all(self.dir).unwrap();
        bytes.chunks(BATCH).map(|batch| batch[0]).collect()
    }
}

async fn until(is: impl Fn() -> bool) {
    let end = Instant::now() + SOON;
    while !is() {
        assert!(Instant::now() < end, "not in time");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_a_hanging_disk_does_not_have_is_not_acknowledged_and_goes_to_the_next_process() {
    let key = Identity::generate().unwrap();
    let known = || {
        let identity = Identity::from_pkcs8(&key).unwrap();
        let peers = vec![identity.fingerprint()];
        Trust { identity, peers }
    };
    let disk = Hanging::default();
    let mut first = Process::start("hangs", "127.0.0.1:0", &known(), Some(disk.clone())).await;
    let (ring, receiver) = tap(1 << 20);
    let link = MediaEnd::start(receiver, first.at.to_string(), &known()).unwrap();
    let send = |number: u8| {
        assert!(ring.send(Batch { recording: ID, bytes: vec![number; BATCH] }).is_ok());
    };
    // Nothing is kept before the link has taken it from the ring, either: first all of it must be.
    disk.hang(true);
    (0..5).for_each(send);
    until(|| link.counts().kept_bytes == 5 * BATCH).await;
    disk.hang(false);
    until(|| link.counts().kept_bytes == 0).await;
    disk.hang(true);
    (5..10).for_each(send);
    until(|| disk.waiting() == 1).await;
    (10..15).for_each(send);
    sleep(Duration::from_secs(1)).await; // Several times what an acknowledgement takes.
    assert_eq!(link.counts().kept_bytes, 10 * BATCH, "none of it is safe");
    first.cut().await;
    let second = Process::start("next", &first.at.to_string(), &known(), None).await;
    until(|| link.counts().kept_bytes == 0).await;
    assert!(second.written().await.into_iter().eq(5..15), "all that the first had not on disk");
    disk.hang(false);
    assert!(first.written().await.starts_with(&[0, 1, 2, 3, 4]));
}
