//! Which media node carries a room. Pure.

use bus::{NodeStatus, Registration};

/// The node with the fewest sessions, then the fewest rooms; the first of equals.
pub(crate) fn choose(nodes: &[NodeStatus]) -> Option<Registration> {
    let weight = |node: &&NodeStatus| (node.load.sessions, node.load.rooms);
    nodes.iter().min_by_key(weight).map(|node| node.registration)
}

#[cfg(test)]
mod tests {
    use bus::Load;
    use sfu_proto::id::NodeId;

    use super::*;

    fn node(id: u128, sessions: u32, rooms: u32) -> NodeStatus {
        let registration = Registration { node: NodeId::from_bits(id), fence: 1 };
        NodeStatus { registration, load: Load { rooms, sessions } }
    }

    #[test]
    fn the_least_loaded_node_is_chosen() {
        assert_eq!(choose(&[]), None);
        let nodes = [node(1, 5, 1), node(2, 3, 9), node(3, 3, 2)];
        assert_eq!(choose(&nodes).map(|r| r.node), Some(NodeId::from_bits(3)));
    }
}
