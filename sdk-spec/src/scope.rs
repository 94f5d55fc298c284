//! Scopes: what an API key may do. Nothing unless granted.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

macro_rules! scopes {
    ($(#[$about:meta])* $set:ident { $($(#[$doc:meta])* $name:ident = $text:literal;)* }) => {
        $(#[$about])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        pub enum $set {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl $set {
            /// Every scope.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As written: the resource and what is done with it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }

        impl fmt::Display for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $set {
            type Err = ScopeError;

            fn from_str(text: &str) -> Result<Self, ScopeError> {
                let error = ScopeError(const { &[$($text),*] });
                Self::ALL.iter().copied().find(|scope| scope.as_str() == text).ok_or(error)
            }
        }
    };
}

scopes! {
    /// One right of an API key.
    Scope {
        /// Read and list rooms and who is in them.
        RoomsRead = "rooms:read";
        /// Create, change and delete rooms.
        RoomsWrite = "rooms:write";
        /// Mint room tokens.
        TokensMint = "tokens:mint";
        /// Moderate: everything that a moderator can do in a room; bans and revocations.
        ParticipantsModerate = "participants:moderate";
        /// Read recordings.
        RecordingsRead = "recordings:read";
        /// Start, stop and delete recordings.
        RecordingsWrite = "recordings:write";
        /// Read the event log.
        EventsRead = "events:read";
        /// Read and change webhook endpoints; send again what failed.
        WebhooksWrite = "webhooks:write";
        /// Read usage.
        UsageRead = "usage:read";
        /// Read histories by handle and the audit log.
        PrivacyRead = "privacy:read";
        /// Erase what is kept about a handle.
        PrivacyErase = "privacy:erase";
        /// Create, rotate and revoke API keys and token keys of the project.
        KeysWrite = "keys:write";
    }
}

scopes! {
    /// One right of an operator's key.
    OperatorScope {
        /// Read and list partners, projects and keys.
        Read = "operator:read";
        /// Create and change partners and projects, create and revoke keys.
        Write = "operator:write";
    }
}

/// By hand: the derive does not see names that a macro passes to `serde`.
impl PartialSchema for Scope {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(Self::ALL.iter().map(|scope| scope.as_str())))
            .description(Some("What an API key may do."))
            .into()
    }
}

impl ToSchema for Scope {}

/// Not the name of a scope. Blame: whoever creates the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope; there are: {}", .0.join(", "))]
pub struct ScopeError(&'static [&'static str]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused_with_the_list() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse(), Ok(*scope));
        }
        let told = "rooms".parse::<Scope>().expect_err("no scope").to_string();
        assert!(told.contains("rooms:read, rooms:write, tokens:mint"));
        assert!("rooms:read".parse::<OperatorScope>().is_err());
    }
}
