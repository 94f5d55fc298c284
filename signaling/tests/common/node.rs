//! A scripted media node: keeps what it is told, answers offers, says what a test wants said.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use bus::{Bus, Inbox, InboxFull, Membership};
use sfu_proto::{
    control::{Command, Event, SlotState},
    id::{NodeId, SessionId},
    sdp::{
        Answer, AnsweredMedia, Candidate, Direction, Fingerprint, IceCredentials, Offer,
        accept_extensions, accept_formats,
    },
};
use tokio::sync::mpsc;

struct Mailbox(mpsc::UnboundedSender<Command>, Arc<AtomicBool>);

impl Inbox for Mailbox {
    fn deliver(&self, command: Command) -> Result<(), InboxFull> {
        if self.1.load(Relaxed) {
            return Err(InboxFull);
        }
        self.0.send(command).map_err(|_| InboxFull)
    }

    fn superseded(&self) {}
}

pub struct Node {
    pub membership: Arc<dyn Membership>,
    commands: Arc<Mutex<Vec<Command>>>,
    /// Whether offers are answered.
    pub answers: Arc<AtomicBool>,
    /// Whether the mailbox is full.
    pub busy: Arc<AtomicBool>,
}

impl Node {
    pub async fn start(bus: &Arc<dyn Bus>) -> Self {
        let (sender, mut inbox) = mpsc::unbounded_channel();
        let id = NodeId::from_bits(7);
        let busy = Arc::new(AtomicBool::new(false));
        let mailbox = Mailbox(sender, Arc::clone(&busy));
        let membership = bus.register(id, Arc::new(mailbox)).await.unwrap();
        let commands = Arc::new(Mutex::new(Vec::new()));
        let answers = Arc::new(AtomicBool::new(true));
        let node = Self {
            membership: Arc::clone(&membership),
            commands: Arc::clone(&commands),
            answers: Arc::clone(&answers),
            busy,
        };
        let membership = Arc::downgrade(&membership);
        tokio::spawn(async move {
            while let Some(command) = inbox.recv().await {
                commands.lock().unwrap().push(command.clone());
                let Some(membership) = membership.upgrade() else { return };
                if let Command::Offer { session, request, offer, .. } = command
                    && answers.load(Relaxed)
                {
                    reply(&*membership, session, request, &offer);
                }
            }
        });
        node
    }

    pub fn publish(&self, event: Event) {
        self.membership.publish(event).unwrap();
    }

    pub fn commands(&self) -> Vec<Command> {
        self.commands.lock().unwrap().clone()
    }

    /// The newest session that was opened.
    pub fn last_session(&self) -> SessionId {
        let find = |c: &Command| match c {
            Command::OpenSession { session, .. } => Some(*session),
            _ => None,
        };
        self.commands().iter().rev().find_map(find).unwrap()
    }
}

fn reply(membership: &dyn Membership, session: SessionId, request: u64, offer: &Offer) {
    let answer = Box::new(answer(offer));
    let slots: Vec<_> = offer
        .media
        .iter()
        .filter(|m| m.direction == Direction::RecvOnly)
        .map(|m| SlotState { mid: m.mid.clone(), track: None })
        .collect();
    membership.publish(Event::Answered { session, request, answer }).unwrap();
    membership.publish(Event::Connected { session }).unwrap();
    if !slots.is_empty() {
        let waiting = (0, 0);
        membership.publish(Event::SlotsChanged { session, version: 1, slots, waiting }).unwrap();
    }
}

pub fn answer(offer: &Offer) -> Answer {
    let media = offer.media.iter().map(|m| AnsweredMedia {
        mid: m.mid.clone(),
        kind: m.kind,
        refused_line: m.refused_line.clone(),
        refused: m.kind.is_none() || m.stopped,
        direction: match m.direction {
            Direction::SendOnly | Direction::SendRecv => Direction::RecvOnly,
            Direction::RecvOnly => Direction::SendOnly,
            Direction::Inactive => Direction::Inactive,
        },
        formats: accept_formats(m),
        extensions: accept_extensions(m),
        ssrcs: None,
        msid: None,
        simulcast: Vec::new(),
    });
    Answer {
        ice: IceCredentials {
            ufrag: format!("srv{}", offer.ice.ufrag),
            pwd: "bsd88fgpdd777uzjYhagZg12".to_owned(),
        },
        fingerprint: Fingerprint([7; 32]),
        candidates: vec![Candidate { tcp: false, address: "127.0.0.1:5000".parse().unwrap() }],
        cname: "c".to_owned(),
        extmap_allow_mixed: offer.extmap_allow_mixed,
        media: media.collect(),
    }
}
