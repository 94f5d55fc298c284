//! The contract of the bus, against the in-process implementation.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use bus::{
    Bus, InProcessBus, Inbox, InboxFull, Load, Notice, PublishError, RegisterError, Registration,
    SendError, limits,
};
use sfu_proto::{
    control::{Command, EndReason, Event},
    id::{NodeId, RoomId, SessionId},
};

#[derive(Default)]
struct TestInbox {
    commands: Mutex<Vec<Command>>,
    superseded: AtomicBool,
}

impl Inbox for TestInbox {
    fn deliver(&self, command: Command) -> Result<(), InboxFull> {
        let mut commands = self.commands.lock().unwrap();
        if commands.len() == 2 {
            return Err(InboxFull);
        }
        commands.push(command);
        Ok(())
    }

    fn superseded(&self) {
        self.superseded.store(true, Ordering::SeqCst);
    }
}

const NODE: NodeId = NodeId::from_bits(7);

fn close(room: u128) -> Command {
    Command::CloseRoom { room: RoomId::from_bits(room) }
}

fn ended(session: u128) -> Event {
    Event::SessionEnded { session: SessionId::from_bits(session), reason: EndReason::Closed }
}

#[tokio::test]
async fn commands_arrive_in_order_and_a_full_inbox_is_busy() {
    let (bus, inbox) = (InProcessBus::new(), Arc::new(TestInbox::default()));
    let member = bus.register(NODE, inbox.clone()).await.unwrap();
    let to = member.registration();
    assert_eq!(bus.send(to, close(1)), Ok(()));
    assert_eq!(bus.send(to, close(2)), Ok(()));
    assert_eq!(bus.send(to, close(3)), Err(SendError::Busy));
    assert_eq!(*inbox.commands.lock().unwrap(), [close(1), close(2)]);
}

#[tokio::test]
async fn unknown_and_departed_nodes_are_gone() {
    let bus = InProcessBus::new();
    let member = bus.register(NODE, Arc::new(TestInbox::default())).await.unwrap();
    let to = member.registration();
    let other = Registration { node: NodeId::from_bits(8), fence: to.fence };
    assert_eq!(bus.send(other, close(1)), Err(SendError::Gone));
    drop(member);
    assert_eq!(bus.send(to, close(1)), Err(SendError::Gone));
    assert!(bus.nodes().is_empty());
}

#[tokio::test]
async fn a_second_registration_fences_off_the_first() {
    let bus = InProcessBus::new();
    let (old_inbox, new_inbox) = (Arc::new(TestInbox::default()), Arc::new(TestInbox::default()));
    let old = bus.register(NODE, old_inbox.clone()).await.unwrap();
    let mut notices = bus.subscribe();
    let new = bus.register(NODE, new_inbox.clone()).await.unwrap();

    assert!(new.registration().fence > old.registration().fence);
    assert!(old_inbox.superseded.load(Ordering::SeqCst));
    assert!(!new_inbox.superseded.load(Ordering::SeqCst));
    assert_eq!(old.publish(ended(1)), Err(PublishError::Superseded));
    assert_eq!(bus.send(old.registration(), close(1)), Err(SendError::Gone));
    old.report(Load { rooms: 9, sessions: 9 });
    let stale = old.registration();
    drop(old); // Must not unregister the new one.

    assert_eq!(new.publish(ended(2)), Ok(()));
    let nodes = bus.nodes();
    assert_eq!(nodes.len(), 1);
    assert_eq!((nodes[0].registration, nodes[0].load), (new.registration(), Load::default()));
    assert_eq!(notices.next().await, Some(Notice::NodeDown(stale)));
    assert_eq!(notices.next().await, Some(Notice::NodeUp(nodes[0])));
    let event = Notice::Event { from: new.registration(), event: ended(2) };
    assert_eq!(notices.next().await, Some(event));
}

#[tokio::test]
async fn the_fencing_number_grows_over_a_restart() {
    let bus = InProcessBus::new();
    let first = bus.register(NODE, Arc::new(TestInbox::default())).await.unwrap();
    let before = first.registration();
    drop(first);
    let second = bus.register(NODE, Arc::new(TestInbox::default())).await.unwrap();
    assert!(second.registration().fence > before.fence);
}

#[tokio::test]
async fn every_subscriber_receives_events_and_load_is_listed() {
    let bus = InProcessBus::new();
    let member = bus.register(NODE, Arc::new(TestInbox::default())).await.unwrap();
    let mut subscribers = [bus.subscribe(), bus.subscribe()];
    member.report(Load { rooms: 2, sessions: 5 });
    member.publish(ended(1)).unwrap();
    for subscriber in &mut subscribers {
        let expected = Notice::Event { from: member.registration(), event: ended(1) };
        assert_eq!(subscriber.next().await, Some(expected));
    }
    assert_eq!(bus.nodes()[0].load, Load { rooms: 2, sessions: 5 });
}

#[tokio::test]
async fn a_slow_subscriber_is_told_how_much_it_missed() {
    let bus = InProcessBus::new();
    let member = bus.register(NODE, Arc::new(TestInbox::default())).await.unwrap();
    let mut notices = bus.subscribe();
    for n in 0..limits::NOTICES_MAX as u128 + 3 {
        member.publish(ended(n)).unwrap();
    }
    assert_eq!(notices.next().await, Some(Notice::Missed(3)));
    let next = Notice::Event { from: member.registration(), event: ended(3) };
    assert_eq!(notices.next().await, Some(next));
}

#[tokio::test]
async fn the_number_of_nodes_is_bounded_but_a_known_one_may_return() {
    let bus = InProcessBus::new();
    let mut members = Vec::new();
    for n in 0..limits::NODES_MAX as u128 {
        let node = NodeId::from_bits(n);
        members.push(bus.register(node, Arc::new(TestInbox::default())).await.unwrap());
    }
    let one_more = NodeId::from_bits(u128::MAX);
    let refused = bus.register(one_more, Arc::new(TestInbox::default())).await;
    assert_eq!(refused.err(), Some(RegisterError::TooMany));
    let known = NodeId::from_bits(3);
    assert!(bus.register(known, Arc::new(TestInbox::default())).await.is_ok());
}

#[tokio::test]
async fn a_subscription_ends_with_the_bus() {
    let bus = InProcessBus::new();
    let mut notices = bus.subscribe();
    drop(bus);
    assert_eq!(notices.next().await, None);
}

#[test]
fn threads_can_subscribe_and_publish_without_a_runtime() {
    let bus = InProcessBus::new();
    let mut notices = bus.subscribe();
    let publisher = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let member = runtime.block_on(bus.register(NODE, Arc::new(TestInbox::default()))).unwrap();
        drop(runtime);
        member.publish(ended(1)).unwrap();
    });
    assert!(matches!(notices.blocking_next(), Some(Notice::NodeUp(_))));
    assert!(matches!(notices.blocking_next(), Some(Notice::Event { .. })));
    assert!(matches!(notices.blocking_next(), Some(Notice::NodeDown(_))));
    publisher.join().unwrap();
}
