//! One worker thread: sockets, a shard, and nothing shared on the packet path.
//!
//! ```text
//!        ┌──────────────────────────── until told to stop ─────────────────────────────┐
//!  poll ─▶ commands ─▶ UDP batches ─▶ TCP frames ─▶ timers ─▶ send ─▶ events to the bus ─┘
//!   sleeps until readable, woken by the mailbox, or the next deadline
//! ```

use std::{
    io::ErrorKind,
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bus::tap::TapSender;
use mio::{Events, Poll, Token, event::Event as Ready};
use sfu_core::{path::Carrier, shard::Shard, transport::outbound::TxBatch};
use sfu_proto::control::{Command, EndReason, Event};

use crate::{
    dispatch::Dispatcher,
    guard::Guard,
    io::{
        tcp::{Frames, Tcp},
        udp::{Received, Receiver, Run, Sender},
    },
    limits,
    mailbox::Letters,
    outbox::Outbox,
    stats::IoStats,
};

/// The mailbox's waker.
pub(crate) const MAILBOX: Token = Token(0);
/// The UDP socket.
pub(crate) const UDP: Token = Token(1);
/// The TCP listener.
pub(crate) const LISTENER: Token = Token(2);
/// The first TCP connection.
pub(crate) const FIRST_CONNECTION: usize = 3;

/// Readiness events taken from one poll; the rest comes with the next.
const READY_MAX: usize = 256;

/// Everything a worker thread owns.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) poll: Poll,
    pub(crate) letters: Letters,
    pub(crate) receiver: Receiver,
    pub(crate) output: Output,
    pub(crate) shard: Guard<Shard>,
    pub(crate) outbox: Outbox,
    pub(crate) dispatcher: Arc<Dispatcher>,
    pub(crate) stats: Arc<IoStats>,
    pub(crate) pending: Pending,
    /// Of the TCP connection that was read last.
    pub(crate) frames: Frames,
}

/// Where a shard's packets go.
pub(crate) struct Output {
    pub(crate) udp: Sender,
    pub(crate) tcp: Option<Tcp>,
    /// To the recorder, if there is one.
    pub(crate) tap: Option<TapSender>,
}

/// What is left to do: after a turn, `udp` and `commands` mean that a limit cut it short, and the
/// next poll must not sleep.
#[derive(Default)]
pub(crate) struct Pending {
    udp: bool,
    commands: bool,
    /// The node's load may have changed. Asking takes the dispatcher's lock, so not every turn.
    report: bool,
}

impl Worker {
    /// Runs until told to stop, then ends its rooms.
    pub(crate) fn run(mut self) {
        let mut ready = Events::with_capacity(READY_MAX);
        while !self.letters.stopped() {
            let timeout = self.timeout(Instant::now());
            match self.poll.poll(&mut ready, timeout) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    tracing::error!(%error, worker = self.index, "cannot poll, worker ends");
                    break;
                }
                _ => self.turn(&ready),
            }
        }
        self.close_rooms(Instant::now());
    }

    /// How long nothing can happen by itself.
    fn timeout(&self, now: Instant) -> Option<Duration> {
        let tcp = self.output.tcp.as_ref();
        if self.pending.udp || self.pending.commands || tcp.is_some_and(Tcp::is_busy) {
            return Some(Duration::ZERO);
        }
        let deadlines = [
            self.shard.state().poll_timeout(),
            tcp.and_then(Tcp::poll_timeout),
            self.outbox.poll_timeout(),
        ];
        deadlines.into_iter().flatten().min().map(|at| at.saturating_duration_since(now))
    }

    fn turn(&mut self, ready: &Events) {
        ready.iter().for_each(|event| self.on_ready(event));
        self.take_commands(Instant::now());
        self.receive_udp();
        let now = Instant::now();
        self.receive_tcp(now);
        self.handle_timeouts(now);
        self.flush(now);
        self.publish(now);
    }

    fn on_ready(&mut self, event: &Ready) {
        match event.token() {
            MAILBOX => self.pending.commands = true,
            UDP => self.pending.udp = true,
            LISTENER => self.output.tcp.iter_mut().for_each(Tcp::on_acceptable),
            token => {
                if let Some(tcp) = &mut self.output.tcp {
                    let readable = event.is_readable() || event.is_read_closed();
                    tcp.on_ready(token, readable || event.is_error(), event.is_writable());
                }
            }
        }
    }

    fn take_commands(&mut self, now: Instant) {
        if !self.pending.commands {
            return;
        }
        for _ in 0..limits::COMMANDS_PER_TURN_MAX {
            let Some(command) = self.letters.next() else {
                self.pending.commands = false;
                return;
            };
            self.pending.report = true;
            self.shard.run(now, |shard| shard.handle_command(command, now));
        }
    }

    fn receive_udp(&mut self) {
        let mut unflushed = 0;
        for _ in 0..limits::RECEIVES_PER_TURN_MAX {
            if !self.pending.udp {
                return;
            }
            self.pending.udp = self.receiver.receive() == Received::More;
            let now = Instant::now();
            for (path, datagram) in self.receiver.packets() {
                self.shard.run(now, |shard| shard.handle_datagram(path, datagram, now));
                unflushed += 1;
                if unflushed == limits::DATAGRAMS_PER_FLUSH_MAX {
                    self.output.flush(&mut self.shard, now);
                    unflushed = 0;
                }
            }
        }
    }

    fn receive_tcp(&mut self, now: Instant) {
        let Some(tcp) = &mut self.output.tcp else { return };
        tcp.accept(self.poll.registry(), now);
        let mut unflushed = 0;
        for _ in 0..tcp.readable() {
            // Present at every step: `flush` does not take it away.
            let Some(tcp) = &mut self.output.tcp else { return };
            tcp.receive(&mut self.frames);
            for (path, datagram) in self.frames.datagrams() {
                self.shard.run(now, |shard| shard.handle_datagram(path, datagram, now));
                unflushed += 1;
                if unflushed == limits::DATAGRAMS_PER_FLUSH_MAX {
                    self.output.flush(&mut self.shard, now);
                    unflushed = 0;
                }
            }
        }
    }

    fn handle_timeouts(&mut self, now: Instant) {
        if self.shard.state().poll_timeout().is_some_and(|at| at <= now) {
            self.shard.run(now, |shard| shard.handle_timeout(now));
        }
        if let Some(tcp) = &mut self.output.tcp {
            tcp.handle_timeout(now);
        }
        self.outbox.handle_timeout(now);
    }

    fn flush(&mut self, now: Instant) {
        self.output.flush(&mut self.shard, now);
        // Sending may have closed connections, and what the shard makes of that is sent too.
        while let Some(path) = self.output.tcp.as_mut().and_then(Tcp::pop_closed) {
            self.shard.run(now, |shard| shard.handle_path_closed(path, now));
            self.output.flush(&mut self.shard, now);
        }
        if self.shard.take_reset() {
            self.start_over(now);
        }
    }

    fn publish(&mut self, now: Instant) {
        while let Some(Some(event)) = self.shard.run(now, Shard::poll_event) {
            if let Event::SessionEnded { session, .. } = &event {
                self.dispatcher.session_ended(*session);
                self.pending.report = true;
            }
            self.outbox.push(event, now);
        }
        if mem::take(&mut self.pending.report) {
            self.outbox.report(self.dispatcher.load());
        }
    }

    /// The shard is a new one: its rooms are opened again, its sessions are lost.
    fn start_over(&mut self, now: Instant) {
        self.stats.shard_resets.add(1);
        let lost = self.dispatcher.worker_lost(self.index);
        for (room, sessions_max) in lost.rooms {
            let command = Command::OpenRoom { room, sessions_max };
            self.shard.run(now, |shard| shard.handle_command(command, now));
        }
        self.pending.report = true;
        for session in lost.sessions {
            self.outbox.push(Event::SessionEnded { session, reason: EndReason::Internal }, now);
        }
    }

    /// Ends every session properly: peers are told by DTLS, the bus by events.
    fn close_rooms(&mut self, now: Instant) {
        for room in self.dispatcher.rooms_of(self.index) {
            self.shard.run(now, |shard| shard.handle_command(Command::CloseRoom { room }, now));
        }
        self.flush(now);
        self.publish(now);
    }
}

impl Output {
    /// Sends everything that the shard wants to send.
    fn flush(&mut self, shard: &mut Guard<Shard>, now: Instant) {
        // Before the packets: what is refused may ask for key frames.
        self.record(shard, now);
        let mut more = true;
        while more {
            let step = |shard: &mut Shard| match shard.poll_transmit(now) {
                Some(batch) => {
                    self.send(batch, now);
                    true
                }
                None => false,
            };
            more = shard.run(now, step) == Some(true);
        }
    }

    /// Hands the recorder what there is for it; it never waits for the recorder.
    fn record(&self, shard: &mut Guard<Shard>, now: Instant) {
        let Some(tap) = &self.tap else { return };
        while let Some(Some(batch)) = shard.run(now, Shard::poll_tap) {
            if let Err(batch) = tap.send(batch) {
                shard.run(now, |shard| shard.tap_refused(&batch, now));
            }
        }
    }

    fn send(&mut self, batch: &TxBatch, now: Instant) {
        let over_udp = batch.runs().iter().filter_map(|run| match run.path.carrier {
            Carrier::Udp(local) => Some(Run {
                peer: run.path.peer,
                local,
                bytes: batch.bytes(run),
                segment: run.segment,
            }),
            Carrier::Tcp(_) => None,
        });
        self.udp.send(over_udp, now);
        let Some(tcp) = &mut self.tcp else { return };
        for run in batch.runs() {
            // Runs over UDP are not its own.
            tcp.send(run.path, batch.bytes(run), run.segment, now);
        }
    }
}
