//! The task of one room: feeds the domain, carries out its effects.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use bus::{Registration, SendError};
use sdk_spec::ws::LeaveReason;
use sfu_proto::{
    control,
    id::{RecordingId, RoomId, SessionId},
};
use tokio::sync::{mpsc, oneshot};

use super::{
    Counts, Hello, Input, Rooms,
    commits::{After, Commits, News},
    owed::Owed,
    policy,
    socket::{Message, Socket},
    transfer::{Target, transfer},
};
use crate::{
    clock,
    domain::{
        self, Charter, Command, ConnectionId, Effect, Policy, Refusal, Reply, RequestId, Room,
        refusal,
    },
    limits,
    recorder::RecordedText,
    secret::Capability,
    store::{IdempotentRequest, RoomRow, Store},
};

struct Task {
    rooms: Arc<Rooms>,
    id: RoomId,
    /// The room that it is a breakout of.
    parent: Option<RoomId>,
    room: Room,
    commits: Commits,
    /// The request being handled, to be remembered with the commit that it brings.
    request: Option<IdempotentRequest>,
    /// The request for a recording that waits for the project's policy.
    starting: Option<IdempotentRequest>,
    sockets: HashMap<ConnectionId, Socket>,
    replies: HashMap<RequestId, oneshot::Sender<Result<Reply, Refusal>>>,
    requests: u64,
    /// The node that carries the room while somebody is in it.
    node: Option<Registration>,
    /// Sessions that a node has, or is about to have.
    sessions: HashSet<SessionId>,
    owed: Owed,
    /// Texts that a recording should have and the recorder did not take, until it is told.
    untaken: Option<(RecordingId, u32)>,
    counts: Arc<Counts>,
    over: bool,
    /// Whether the end of the room is, or will be, stored by a commit of its own.
    is_ended: bool,
    /// Whether its end closed sessions on a media node, which tells their last traffic then.
    had_media: bool,
}

/// Lives until the room is over. Dropping it (also in a panic) takes the room out of the table.
pub(super) async fn run(
    rooms: Arc<Rooms>,
    (id, parent): (RoomId, Option<RoomId>),
    room: Room,
    commits: Commits,
    mut queue: mpsc::Receiver<Input>,
    counts: Arc<Counts>,
) {
    let mut task = Task {
        rooms,
        id,
        parent,
        room,
        commits,
        request: None,
        starting: None,
        sockets: HashMap::new(),
        replies: HashMap::new(),
        requests: 0,
        node: None,
        sessions: HashSet::new(),
        owed: Owed::default(),
        untaken: None,
        counts,
        over: false,
        is_ended: false,
        had_media: false,
    };
    task.count();
    task.live(&mut queue).await;
    // Nobody waits for a room that is over, whatever the store and the media node do.
    let late = task.rooms.linger(id);
    task.rooms.remove(id);
    drop(queue);
    task.finish().await;
    if !task.is_ended {
        end_stored(&task.rooms.store, &task.rooms.node, (task.commits.project(), id)).await;
    }
    if let Some(parent) = parent {
        task.rooms.send(parent, Input::BreakoutEnded(id)).await;
    }
    if task.had_media {
        task.last_traffic(late).await;
    }
}

/// Stores the end of a room that could not do it itself, unless another process carries it now. A
/// store that fails is tried again.
async fn end_stored(store: &Store, node: &str, (project, id): (&str, RoomId)) {
    let mut pause = limits::STORE_AGAIN;
    for _ in 0..limits::STORE_TRIES_MAX {
        let now = clock::now_ms();
        let ended = match store.carries(node, (project, id)).await {
            Ok(true) => store.end_room((project, id), LeaveReason::ServerError, None, now).await,
            other => other,
        };
        match ended {
            Ok(_) => return,
            Err(error) if error.is_closed() => return,
            Err(error) => tracing::warn!(room = %id, %error, "the end of a room is not stored yet"),
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(limits::STORE_AGAIN_MAX);
    }
    tracing::error!(room = %id, "the end of a room could not be stored");
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

impl Task {
    /// Until the room is over. It hears what is said whatever the store does: who takes a consent back
    /// must not wait for it.
    async fn live(&mut self, queue: &mut mpsc::Receiver<Input>) {
        while !self.over {
            tokio::select! {
                input = queue.recv() => match input {
                    Some(input) => self.on_input(input),
                    None => return,
                },
                () = self.commits.progress() => self.on_stored(),
                () = sleep_until(self.room.deadline()) => self.apply(Command::Tick),
                () = sleep_until(self.owed.due()) => self.settle(),
            }
        }
    }

    fn settle(&mut self) {
        self.owed.settle(&self.rooms.media, Instant::now());
    }

    /// Until everything is stored, and every media node has taken what ends the room's media, or is
    /// gone.
    async fn finish(&mut self) {
        while !self.commits.is_done() || self.owed.due().is_some() {
            tokio::select! {
                () = self.commits.progress() => self.on_stored(),
                () = sleep_until(self.owed.due()) => self.settle(),
                () = tokio::time::sleep(limits::STORE_AGAIN) => {} // The server may have stopped.
            }
        }
    }

    /// What the media node counted of the sessions that the room's end closed.
    async fn last_traffic(&mut self, mut late: mpsc::Receiver<control::Event>) {
        let until = tokio::time::Instant::now() + limits::LAST_TRAFFIC;
        while let Ok(Some(event)) = tokio::time::timeout_at(until, late.recv()).await {
            self.apply(Command::Media(event));
        }
        self.finish().await;
    }

    fn on_stored(&mut self) {
        while let Some(news) = self.commits.take() {
            match news {
                News::Committed(number) => self.apply(Command::Committed(number)),
                News::Do(after) => self.follow(after),
                News::Refused(rooms) => self.apply(Command::BreakoutsRefused(rooms)),
                News::Unrecorded(refused) => self.apply(Command::RecordingsRefused(refused)),
                News::Broken => self.give_up(),
            }
        }
    }

    fn follow(&mut self, after: After) {
        match after {
            After::Open(rooms) => self.open_breakouts(rooms),
            After::Transfer { participants, room, invited } => {
                let from = (Arc::clone(self.commits.project()), self.id);
                let rooms = Arc::clone(&self.rooms);
                let to = Target { room, is_parent: self.parent == Some(room) };
                tokio::spawn(transfer(rooms, from, participants, to, invited));
            }
            After::Ban { rooms, ban } => self.tell(rooms, move || Input::Banned(ban.clone())),
            After::Recall { rooms, parent_ended } => {
                self.tell(rooms, move || Input::Recall { parent_ended });
            }
        }
    }

    fn open_breakouts(&self, breakouts: Vec<(RoomId, Charter)>) {
        for (id, charter) in breakouts {
            let project = self.commits.project().to_string();
            let row = RoomRow { id, project, created_at_ms: clock::now_ms(), charter, commits: 0 };
            self.rooms.open(row, Vec::new());
        }
    }

    /// The store will never have what the room is: it ends.
    fn give_up(&mut self) {
        for after in self.commits.abandon().collect::<Vec<_>>() {
            // Those that are open must not stay behind; the others are not there.
            if let After::Recall { .. } = after {
                self.follow(after);
            }
        }
        self.apply(Command::MediaLost);
        self.over = true;
        self.is_ended = false;
    }

    fn on_input(&mut self, input: Input) {
        match input {
            Input::Hello { connection, hello, socket } => self.on_hello(connection, hello, socket),
            Input::Client { connection, input } => {
                self.apply(Command::Client { connection, input });
            }
            Input::Detach { connection } => {
                self.sockets.remove(&connection);
                self.apply(Command::Detach { connection });
            }
            Input::Ask { ask, request, reply } => self.on_ask(ask, request, reply),
            Input::Media { from, event } if self.node == Some(from) => {
                self.apply(Command::Media(event));
            }
            // The last count of a session may come after the node has nothing of the room any more.
            Input::Media { event: event @ control::Event::Traffic { .. }, .. } => {
                self.apply(Command::Media(event));
            }
            Input::NodeDown(node) if self.node == Some(node) => self.lose_node(),
            // News of a node that does not carry this room (any more).
            Input::Media { .. } | Input::NodeDown(_) => {}
            Input::Missed => self.on_missed(),
            Input::Close => self.apply(Command::Close),
            Input::Renew { connection, admission } => {
                self.apply(Command::Renew { connection, admission });
            }
            Input::RenewRefused { connection } => self.apply(Command::RenewRefused { connection }),
            Input::Banned(ban) => self.apply(Command::Banned(ban)),
            Input::Unbanned(handle) => self.apply(Command::Unbanned(handle)),
            Input::Ticket { participant, room, token, invited } => {
                self.apply(Command::Ticket { participant, room, token, invited });
            }
            Input::Recall { parent_ended } => self.apply(Command::Recall { parent_ended }),
            Input::BreakoutEnded(room) => self.apply(Command::BreakoutEnded(room)),
            Input::Policy(policy) => {
                self.request = self.starting.take();
                self.apply(Command::Policy(policy));
                self.request = None;
            }
            Input::RecordingFailed { recording, reason } => {
                self.apply(Command::RecordingFailed { recording, reason });
            }
            Input::RecorderLost => self.apply(Command::RecorderLost),
        }
    }

    fn on_hello(&mut self, connection: ConnectionId, hello: Hello, socket: Socket) {
        self.sockets.insert(connection, socket);
        match hello {
            Hello::Join(_) if !self.place() => {
                let effects = refusal(connection, domain::NO_MEDIA_NODE);
                self.carry_out(effects);
            }
            Hello::Join(admission) => {
                self.rooms.metrics.joins.with_label_values(&["websocket"]).inc();
                self.apply(Command::Join { connection, admission });
            }
            Hello::Resume { proof, received } => {
                self.apply(Command::Resume { connection, proof, received });
            }
        }
    }

    fn on_ask(
        &mut self,
        ask: domain::Ask,
        remembered: Option<IdempotentRequest>,
        reply: oneshot::Sender<Result<Reply, Refusal>>,
    ) {
        if matches!(ask, domain::Ask::Open { .. }) {
            if !self.place() {
                let _ = reply.send(Err(Refusal::NoMediaNode)); // The client may be gone.
                return;
            }
            self.rooms.metrics.joins.with_label_values(&["http"]).inc();
        }
        self.requests += 1;
        let request = RequestId(self.requests);
        self.replies.insert(request, reply);
        self.request = remembered;
        self.apply(Command::Standard { request, ask });
        // Refused, or nothing was to be changed.
        self.request = None;
    }

    /// Events were lost: a node may have gone unseen, and answers will not come.
    fn on_missed(&mut self) {
        match self.node {
            Some(node) if !self.rooms.media.is_up(node) => self.lose_node(),
            _ => self.apply(Command::MediaMissed),
        }
    }

    /// Makes sure that a media node carries the room.
    fn place(&mut self) -> bool {
        if self.node.is_none() {
            self.node = self.rooms.media.place();
        }
        self.node.is_some()
    }

    fn lose_node(&mut self) {
        self.apply(Command::MediaLost);
        self.node = None;
    }

    fn apply(&mut self, command: Command) {
        // Before the command, which may end the recording.
        self.tell_untaken();
        self.room.jam(self.commits.is_full());
        let effects = self.room.handle(command, Instant::now());
        self.carry_out(effects);
        self.count();
        if self.room.participants() == 0 {
            self.node = None; // Placed anew by the next who joins.
        }
    }

    fn count(&self) {
        let now = self.room.participants();
        let before = self.counts.participants.swap(now, Relaxed);
        self.rooms.metrics.participants.add(i64::from(now) - i64::from(before));
        self.counts.waiting.store(self.room.waiting(), Relaxed);
        self.counts.participants_max.store(self.room.participants_max(), Relaxed);
        self.counts.records(self.room.recording());
    }

    /// Effects in order. Slow sockets found on the way are detached afterwards, which gives more.
    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Send { to, seq, ack, body } => {
                    if !self.send(to, Message { seq, ack, body }) {
                        queue.extend(self.detach(to));
                    }
                }
                Effect::Disconnect { connection, close } => {
                    if let Some(socket) = self.sockets.remove(&connection) {
                        socket.close(close);
                    }
                }
                Effect::Media(command) => queue.extend(self.command(command)),
                Effect::Reply { to, result } => {
                    queue.extend(self.reply(to, result));
                }
                Effect::Text(text) => self.record(&text),
                Effect::Commit(commit) => {
                    self.is_ended |= commit.ended;
                    self.commits.put(*commit, self.request.take());
                }
                Effect::Transfer { participants, room, invited } => {
                    self.commits.then(After::Transfer { participants, room, invited });
                }
                Effect::FindPolicy => self.find_policy(),
                Effect::Ban { rooms, ban } => self.commits.then(After::Ban { rooms, ban }),
                Effect::Recall { rooms, parent_ended } => {
                    self.commits.then(After::Recall { rooms, parent_ended });
                }
                Effect::Ended => self.over = true,
            }
        }
    }

    /// What the recorder did not take is told as soon as there is room, also when no text comes any more.
    fn tell_untaken(&mut self) {
        if let (Some((recording, lost)), Some(recorder)) = (self.untaken, &self.rooms.recorder)
            && recorder.texts_lost(recording, lost)
        {
            self.untaken = None;
        }
    }

    /// What the recorder has no room for is lost, and told when it has room again.
    fn record(&mut self, text: &RecordedText) {
        let Some(recorder) = self.rooms.recorder.as_deref() else { return };
        let of_it = self.untaken.filter(|(recording, _)| *recording == text.recording);
        let lost = of_it.map_or(0, |(_, lost)| lost);
        let is_taken = recorder.take_text(text, lost);
        if !is_taken {
            self.rooms.metrics.recorded_texts_lost.inc();
        }
        self.untaken = (!is_taken).then_some((text.recording, lost.saturating_add(1)));
    }

    /// Not from here: this room's own task must not wait for the store.
    fn find_policy(&mut self) {
        self.starting = self.request.take().or(self.starting.take());
        let (rooms, id, project) =
            (Arc::clone(&self.rooms), self.id, Arc::clone(self.commits.project()));
        tokio::spawn(async move {
            let policy = match rooms.recorder.as_deref() {
                Some(recorder) => policy::find(&rooms.store, recorder, &project).await,
                None => Policy::Missing,
            };
            rooms.send(id, Input::Policy(policy)).await;
        });
    }

    /// Not from here: this room's own task must not wait for another's.
    fn tell(&self, breakouts: Vec<RoomId>, input: impl Fn() -> Input + Send + 'static) {
        let rooms = Arc::clone(&self.rooms);
        tokio::spawn(async move {
            for room in breakouts {
                rooms.send(room, input()).await;
            }
        });
    }

    /// Answers a request. A session whose address nobody got can be ended by nobody else.
    fn reply(&mut self, to: RequestId, result: Result<Reply, Refusal>) -> Vec<Effect> {
        let unheard = self.replies.remove(&to).and_then(|reply| reply.send(result).err());
        let Some(Ok(Reply::Opened { resource, .. })) = unheard else { return Vec::new() };
        let Some(Capability { participant, .. }) = Capability::parse(&resource) else {
            return Vec::new();
        };
        self.room.handle(Command::Unclaimed(participant), Instant::now())
    }

    fn detach(&mut self, connection: ConnectionId) -> Vec<Effect> {
        self.sockets.remove(&connection);
        self.room.handle(Command::Detach { connection }, Instant::now())
    }

    /// `false` when the socket is gone or too much waits for it.
    fn send(&self, to: ConnectionId, message: Message) -> bool {
        let is_taken = self.sockets.get(&to).is_none_or(|socket| socket.send(message));
        if !is_taken {
            self.rooms.metrics.slow_sockets.inc();
        }
        is_taken
    }

    fn command(&mut self, command: control::Command) -> Vec<Effect> {
        if !self.note(&command) {
            return Vec::new();
        }
        let Some(node) = self.node else { return Vec::new() };
        self.owed.supersede(&command);
        if self.owed.holds_back(node) {
            self.settle();
        }
        let again = matters(&command).then(|| command.clone());
        let sent = match self.owed.holds_back(node) {
            true => Err(SendError::Busy),
            false => self.rooms.media.send(node, command),
        };
        match sent {
            Ok(()) => Vec::new(),
            Err(SendError::Busy) => self.on_busy(node, again),
            Err(SendError::Gone) => {
                self.node = None;
                self.room.handle(Command::MediaLost, Instant::now())
            }
        }
    }

    /// A node does not take a command now.
    fn on_busy(&mut self, node: Registration, command: Option<control::Command>) -> Vec<Effect> {
        let now = Instant::now();
        match command {
            Some(control::Command::OpenRoom { .. }) => {
                self.node = None; // It has nothing of the room, so there is nothing to end.
                self.room.handle(Command::RoomRefused, now)
            }
            Some(control::Command::OpenSession { session, .. }) => {
                self.forget(session);
                self.room.handle(Command::SessionRefused(session), now)
            }
            Some(command) => {
                self.owed.keep(node, command, now);
                Vec::new()
            }
            // An offer that is lost here runs into its deadline and is told to the client.
            None => {
                self.rooms.metrics.commands_dropped.inc();
                Vec::new()
            }
        }
    }

    /// Keeps the tables of sessions in step with a command, whether or not a node gets it. `false`
    /// when it would end a session that no node has.
    fn note(&mut self, command: &control::Command) -> bool {
        match command {
            control::Command::OpenSession { session, .. } => {
                self.sessions.insert(*session);
                self.rooms.media.enter(*session, self.id);
            }
            control::Command::CloseSession { session } => return self.forget(*session),
            control::Command::CloseRoom { .. } => {
                self.had_media |= !self.sessions.is_empty();
                for session in self.sessions.drain() {
                    self.rooms.media.forget(session);
                }
            }
            _ => {}
        }
        true
    }

    fn forget(&mut self, session: SessionId) -> bool {
        self.rooms.media.forget(session);
        self.sessions.remove(&session)
    }
}

/// Whether a command is not simply lost when a node is busy.
fn matters(command: &control::Command) -> bool {
    use control::Command as C;
    match command {
        C::OpenRoom { .. }
        | C::CloseRoom { .. }
        | C::OpenSession { .. }
        | C::CloseSession { .. }
        | C::SetMuted { .. }
        | C::SetPermissions { .. }
        | C::SetAudience { .. }
        | C::SetTap { .. }
        | C::Sync { .. } => true,
        C::Offer { .. } | C::Want { .. } => false,
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.rooms.remove(self.id);
        self.rooms.lingering.remove(&self.id);
        self.rooms.metrics.participants.sub(i64::from(self.counts.participants.load(Relaxed)));
        if std::thread::panicking() {
            self.after_panic();
        }
    }
}

impl Task {
    /// A defect of ours must leave neither media nor a stored room behind.
    fn after_panic(&mut self) {
        for session in self.sessions.drain() {
            self.rooms.media.forget(session);
        }
        if let Some(node) = self.node {
            let close = control::Command::CloseRoom { room: self.id };
            let _ = self.rooms.media.send(node, close); // Nothing more can be done.
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (store, id) = (self.rooms.store.clone(), self.id);
            let project = Arc::clone(self.commits.project());
            let node = Arc::clone(&self.rooms.node);
            runtime.spawn(async move { end_stored(&store, &node, (&project, id)).await });
        }
    }
}
