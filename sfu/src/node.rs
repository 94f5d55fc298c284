//! A running media node: [`Node::start`] opens sockets, registers on the bus and spawns workers.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Instant, SystemTime},
};

use bus::{Bus, Membership, RegisterError, Registration, tap::TapSender};
use mio::{Interest, Poll, Waker};
use sfu_core::{
    config::ShardConfig,
    shard::Shard,
    stats::Stats,
    transport::dtls::{Identity, IdentityError},
};
use sfu_proto::{
    control::{EndReason, Event},
    id::NodeId,
    sdp::Candidate,
};

use crate::{
    address,
    config::{Config, ConfigError},
    dispatch::{Dispatcher, Route},
    guard::Guard,
    io::{
        bind::{self, Sockets},
        tcp::{Frames, Tcp, TcpLimits},
        udp::{Locals, Receiver, Sender},
    },
    mailbox::{Letters, Mailbox, mailbox},
    metrics::{Metrics, WorkerStats},
    outbox::Outbox,
    stats::IoStats,
    worker::{FIRST_CONNECTION, LISTENER, MAILBOX, Output, Pending, UDP, Worker},
};

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operator's settings are wrong.
    #[error("configuration: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<ConfigError>),
    /// A port could not be opened, typically because it is taken.
    #[error("cannot open UDP and TCP port {port}: {error}")]
    Port {
        /// As asked for.
        port: u16,
        /// The system's reason.
        error: io::Error,
    },
    /// The system refused a thread, a descriptor or randomness.
    #[error("cannot start a worker: {0}")]
    System(#[from] io::Error),
    /// No certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The bus refused the node.
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// What a worker got from the system, for `doctor` and the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerInfo {
    /// UDP port, and TCP port if `tcp`.
    pub port: u16,
    /// Whether ICE-TCP is offered.
    pub tcp: bool,
    /// Whether IPv6 peers can be reached.
    pub ipv6: bool,
    /// Receive buffer granted, in bytes of the kernel's accounting (twice the usable size).
    pub receive_buffer_bytes: usize,
    /// Send buffer granted, in bytes of the kernel's accounting (twice the usable size).
    pub send_buffer_bytes: usize,
    /// Whether sent runs are segmented by the kernel or device (GSO).
    pub segments: bool,
    /// Whether received datagrams are coalesced (GRO).
    pub coalesces: bool,
    /// Announced in every answer.
    pub candidates: Vec<Candidate>,
}

/// The media node of this process.
pub enum Node {}

impl Node {
    /// Starts a node: sockets, certificate, place on the bus, one thread per worker. When it
    /// returns, clients can be sent to it. `tap`: takes what is recorded; without one, nothing is.
    ///
    /// # Errors
    /// [`StartError`]; nothing stays behind then.
    pub async fn start(
        config: Config,
        bus: &dyn Bus,
        tap: Option<TapSender>,
    ) -> Result<NodeHandle, StartError> {
        config.validate().map_err(StartError::Config)?;
        let parts = Parts::open_all(&config)?;
        let identity = Arc::new(Identity::generate()?);
        let routes = parts.iter().map(Parts::route).collect();
        let dispatcher = Arc::new(Dispatcher::new(routes, config.rooms_max, config.sessions_max));
        let node = config.node.map_or_else(random_id, Ok)?;
        let inbox: Arc<Dispatcher> = Arc::clone(&dispatcher);
        let membership = bus.register(node, inbox).await?;
        let mut handle = NodeHandle {
            registration: membership.registration(),
            workers: parts.iter().map(|part| part.info.clone()).collect(),
            metrics: Metrics::new(parts.iter().map(Parts::stats).collect()),
            dispatcher: Arc::clone(&dispatcher),
            threads: Vec::new(),
        };
        let epoch = (Instant::now(), SystemTime::now());
        for (index, part) in parts.into_iter().enumerate() {
            let (config, identity) = (&config, &identity);
            let shared = Shared { config, identity, membership: &membership, tap: tap.as_ref() };
            let worker = part.build(index, shared, &dispatcher, epoch)?;
            let exit =
                Exit { index, dispatcher: dispatcher.clone(), membership: membership.clone() };
            handle.spawn(index, worker, exit)?;
        }
        tracing::info!(node = %node, workers = handle.workers.len(), "media node started");
        Ok(handle)
    }
}

/// A running node. Dropping it stops the node.
pub struct NodeHandle {
    registration: Registration,
    workers: Vec<WorkerInfo>,
    metrics: Metrics,
    dispatcher: Arc<Dispatcher>,
    threads: Vec<JoinHandle<()>>,
}

impl NodeHandle {
    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.registration.node
    }

    /// The node's place on the bus.
    pub fn registration(&self) -> Registration {
        self.registration
    }

    /// What each worker got from the system.
    pub fn workers(&self) -> &[WorkerInfo] {
        &self.workers
    }

    /// Counters of all workers, a collector to be registered with Prometheus.
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Whether every worker runs: not after another node took this one's id.
    pub fn is_running(&self) -> bool {
        !self.threads.is_empty() && self.threads.iter().all(|thread| !thread.is_finished())
    }

    /// Ends every session and waits for the workers, some milliseconds.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.dispatcher.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker had panicked outside its shard");
            }
        }
    }

    fn spawn(&mut self, index: usize, worker: Worker, exit: Exit) -> io::Result<()> {
        let thread = thread::Builder::new().name(format!("sfu-worker-{index}"));
        let run = move || {
            let _exit = exit; // Dropped last, also when the worker panics.
            worker.run();
        };
        self.threads.push(thread.spawn(run)?);
        Ok(())
    }
}

impl Drop for NodeHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What a worker's thread does last, however it ends. When all have ended, nobody holds the
/// membership any more: the node leaves the bus, is not chosen for rooms, and its readiness ends.
struct Exit {
    index: usize,
    dispatcher: Arc<Dispatcher>,
    membership: Arc<dyn Membership>,
}

impl Drop for Exit {
    fn drop(&mut self) {
        for session in self.dispatcher.worker_ended(self.index) {
            let event = Event::SessionEnded { session, reason: EndReason::Internal };
            // A bus that is busy now loses it; signaling finds out by `Command::Sync`.
            let _ = self.membership.publish(event);
        }
        self.membership.report(self.dispatcher.load());
    }
}

/// What all workers share.
#[derive(Clone, Copy)]
struct Shared<'a> {
    config: &'a Config,
    identity: &'a Arc<Identity>,
    membership: &'a Arc<dyn Membership>,
    tap: Option<&'a TapSender>,
}

/// What a worker is built from: everything that can fail is done before the node registers.
struct Parts {
    poll: Poll,
    mailbox: Mailbox,
    letters: Letters,
    receiver: Receiver,
    sender: Sender,
    tcp: Option<Tcp>,
    shard_stats: Arc<Stats>,
    io_stats: Arc<IoStats>,
    info: WorkerInfo,
}

impl Parts {
    fn open_all(config: &Config) -> Result<Vec<Self>, StartError> {
        let interfaces = address::interfaces();
        let open = |index: usize| {
            // Cannot overflow: `Config::validate` looked at the last port.
            let port = if config.port == 0 { 0 } else { config.port + index as u16 };
            let buffer_bytes = config.socket_buffer_bytes;
            let sockets = bind::open(config.bind, port, config.tcp, buffer_bytes)
                .map_err(|error| StartError::Port { port, error })?;
            Ok(Self::new(config, sockets, &interfaces)?)
        };
        (0..config.worker_count()).map(open).collect()
    }

    fn new(config: &Config, sockets: Sockets, interfaces: &[IpAddr]) -> io::Result<Self> {
        let poll = Poll::new()?;
        let (mailbox, letters) = mailbox(Waker::new(poll.registry(), MAILBOX)?);
        let Sockets { mut udp, mut tcp, port, ipv6, .. } = sockets;
        poll.registry().register(&mut udp, UDP, Interest::READABLE)?;
        if let Some(listener) = &mut tcp {
            poll.registry().register(listener, LISTENER, Interest::READABLE)?;
        }
        let (udp, io_stats) = (Arc::new(udp), Arc::<IoStats>::default());
        let receiver = Receiver::new(Arc::clone(&udp), Arc::clone(&io_stats))?;
        let sender = Sender::new(udp, ipv6, receiver.segments(), Arc::clone(&io_stats));
        let addresses = address::announced(config, interfaces, ipv6);
        let locals = Locals::new(&address::locals(config, interfaces, &addresses));
        let (receiver, sender) =
            (receiver.with_locals(locals.clone()), sender.with_locals(locals)?);
        let tcp_port = tcp.is_some().then_some(port);
        let info = WorkerInfo {
            port,
            tcp: tcp.is_some(),
            ipv6,
            receive_buffer_bytes: sockets.receive_buffer_bytes,
            send_buffer_bytes: sockets.send_buffer_bytes,
            segments: sender.segments(),
            coalesces: receiver.coalesces(),
            candidates: address::candidates(&addresses, port, tcp_port),
        };
        let limits = TcpLimits {
            connections: config.tcp_connections_max,
            per_peer: config.tcp_connections_per_peer_max,
        };
        let stats = Arc::clone(&io_stats);
        let tcp = tcp.map(|listener| Tcp::new(listener, limits, FIRST_CONNECTION, stats));
        let shard_stats = Arc::default();
        Ok(Self { poll, mailbox, letters, receiver, sender, tcp, shard_stats, io_stats, info })
    }

    fn route(&self) -> Route {
        Route { mailbox: self.mailbox.clone(), stats: Arc::clone(&self.io_stats) }
    }

    fn stats(&self) -> WorkerStats {
        WorkerStats { shard: Arc::clone(&self.shard_stats), io: Arc::clone(&self.io_stats) }
    }

    fn build(
        self,
        index: usize,
        shared: Shared<'_>,
        dispatcher: &Arc<Dispatcher>,
        epoch: (Instant, SystemTime),
    ) -> io::Result<Worker> {
        let stats = || Arc::clone(&self.io_stats);
        Ok(Worker {
            index,
            letters: self.letters,
            receiver: self.receiver,
            shard: shard(shared, self.info.candidates, self.shard_stats, epoch)?,
            outbox: Outbox::new(Arc::clone(shared.membership), stats()),
            stats: stats(),
            output: Output { udp: self.sender, tcp: self.tcp, tap: shared.tap.cloned() },
            dispatcher: Arc::clone(dispatcher),
            pending: Pending::default(),
            frames: Frames::default(),
            poll: self.poll,
        })
    }
}

/// A shard that survives its panics.
fn shard(
    shared: Shared<'_>,
    candidates: Vec<Candidate>,
    stats: Arc<Stats>,
    epoch: (Instant, SystemTime),
) -> io::Result<Guard<Shard>> {
    let config = ShardConfig {
        rooms_max: shared.config.rooms_max,
        sessions_max: shared.config.sessions_max,
        cache_packets: shared.config.cache_packets,
        taps: shared.tap.is_some(),
        ..ShardConfig::new(candidates, epoch)
    };
    let identity = Arc::clone(shared.identity);
    random_seed()?; // So that the system's refusal shows at start, not after a panic.
    let build = move |now| {
        // Without randomness there is no secure session: the worker's thread ends.
        #[expect(clippy::expect_used, reason = "the call above has succeeded once")]
        let seed = random_seed().expect("the system's randomness");
        let (identity, stats) = (Arc::clone(&identity), Arc::clone(&stats));
        Shard::new(config.clone(), identity, stats, seed, now)
    };
    Ok(Guard::new(Box::new(build), Shard::handle_panic, epoch.0))
}

fn random_seed() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

fn random_id() -> io::Result<NodeId> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(io::Error::other)?;
    Ok(NodeId::from_bits(u128::from_ne_bytes(bits)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::{net::Ipv4Addr, time::Duration};

    use bus::{InProcessBus, Notice, SendError};
    use sfu_proto::{
        control::{Command, Permissions},
        id::{ParticipantId, RoomId, SessionId},
    };

    use super::*;

    fn eventually(what: &str, mut done: impl FnMut() -> bool) {
        let start = Instant::now();
        while !done() {
            assert!(start.elapsed() < Duration::from_secs(10), "not in time: {what}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn a_worker_that_ends_is_noticed_and_the_last_one_takes_the_node_off_the_bus() {
        let bus = InProcessBus::new();
        let bind = Some(Ipv4Addr::LOCALHOST.into());
        let config = Config { bind, port: 0, workers: 2, ..Config::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let node = runtime.block_on(Node::start(config, &bus, None)).unwrap();
        let (to, room) = (node.registration(), RoomId::from_bits(1));
        bus.send(to, Command::OpenRoom { room, sessions_max: 4 }).unwrap();
        let open = |session| Command::OpenSession {
            room,
            session: SessionId::from_bits(session),
            participant: ParticipantId::from_bits(session),
            permissions: Permissions::default(),
        };
        bus.send(to, open(1)).unwrap();
        let mut notices = bus.subscribe();
        node.dispatcher.stop_worker(0);
        let ended = |notice: &Notice| {
            matches!(notice, Notice::Event { event: Event::SessionEnded { .. }, .. })
        };
        assert!(std::iter::from_fn(|| notices.blocking_next()).any(|notice| ended(&notice)));
        eventually("the thread ends", || !node.is_running());
        bus.send(to, open(2)).unwrap();
        eventually("the room lives on", || node.metrics().workers()[1].shard.sessions.value() == 1);
        assert_eq!(node.metrics().total("worker_ended"), 1.0);
        assert_eq!(bus.nodes().len(), 1);
        node.dispatcher.stop_worker(1);
        eventually("the node leaves", || bus.nodes().is_empty());
        assert_eq!(bus.send(to, open(3)), Err(SendError::Gone));
    }
}
