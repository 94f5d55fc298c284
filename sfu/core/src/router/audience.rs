//! Whose tracks a session is given. Signaling decides it; slots are allocated by it.

use sfu_proto::{control, id::ParticipantId};

/// A rule about publishers; its lists are in order and without repetitions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Audience {
    /// Everybody.
    #[default]
    All,
    /// These.
    Only(Vec<ParticipantId>),
    /// All but these.
    Except(Vec<ParticipantId>),
}

impl Audience {
    /// Whether a participant's tracks are given.
    pub fn includes(&self, participant: ParticipantId) -> bool {
        match self {
            Self::All => true,
            Self::Only(list) => list.binary_search(&participant).is_ok(),
            Self::Except(list) => list.binary_search(&participant).is_err(),
        }
    }
}

impl From<control::Audience> for Audience {
    fn from(rule: control::Audience) -> Self {
        match rule {
            control::Audience::All => Self::All,
            control::Audience::Only(list) => Self::Only(ordered(list)),
            control::Audience::Except(list) => Self::Except(ordered(list)),
        }
    }
}

fn ordered(mut list: Vec<ParticipantId>) -> Vec<ParticipantId> {
    list.sort_unstable();
    list.dedup();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_any_order_includes_or_excludes_who_is_on_it() {
        let ids = |bits: [u128; 4]| bits.map(ParticipantId::from_bits).to_vec();
        let only = Audience::from(control::Audience::Only(ids([9, 2, 5, 2])));
        let except = Audience::from(control::Audience::Except(ids([9, 2, 5, 2])));
        for bits in 0..12 {
            let (id, listed) = (ParticipantId::from_bits(bits), [2, 5, 9].contains(&bits));
            assert_eq!((only.includes(id), except.includes(id)), (listed, !listed), "{bits}");
            assert!(Audience::All.includes(id));
        }
    }
}
