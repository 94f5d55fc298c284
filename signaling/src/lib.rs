//! Signaling: REST for partners, WebSocket, WHIP and WHEP for clients, the rules of rooms, and the
//! store. Knows no media: media nodes are told what to do over the [`bus`].
//!
//! ```text
//!  HTTP ─▶ server ─▶ api (translates) ─▶ rooms (a task each) ─▶ domain (pure rules)
//!                       │                     │
//!                       ├─▶ token             └─▶ media ─▶ bus ─▶ media nodes
//!                       └─▶ store (the only SQL)
//! ```
//!
//! Begin reading at `domain/mod.rs`.

pub mod admin;
mod api;
pub mod audit;
mod clock;
mod config;
mod domain;
pub mod limits;
mod media;
mod metrics;
mod placement;
mod recorder;
mod rooms;
mod secret;
mod server;
pub mod store;
mod token;
mod usage;
mod vault;
mod webhook;

pub use config::{Config, ConfigError, Retention, Tls, Webhooks as WebhooksConfig, WebhooksError};
pub use recorder::{Answer, RecordedText, RecorderPort};
pub use server::{Server, StartError, serve, serve_recording, serve_with};
pub use store::Store;
pub use usage::{UsageCheck, verify_usage};
pub use vault::{Vault, VaultError};
