//! Scopes: what an API key may do. Nothing unless granted.

use std::{fmt, str::FromStr};

/// One right of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Read and list rooms.
    RoomsRead,
    /// Create and delete rooms.
    RoomsWrite,
    /// Mint room tokens.
    TokensMint,
}

/// Not the name of a scope. Blame: whoever creates the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope; there are: {}", Scope::ALL.map(Scope::as_str).join(", "))]
pub struct ScopeError;

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 3] = [Self::RoomsRead, Self::RoomsWrite, Self::TokensMint];

    /// As written: the resource and what is done with it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoomsRead => "rooms:read",
            Self::RoomsWrite => "rooms:write",
            Self::TokensMint => "tokens:mint",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(ScopeError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused_with_the_list() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        assert_eq!("rooms".parse::<Scope>(), Err(ScopeError));
        assert!(ScopeError.to_string().contains("rooms:read, rooms:write, tokens:mint"));
    }
}
