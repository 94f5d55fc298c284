//! The public contract of Conclave, once: REST v1, the WebSocket protocol `conclave.v1`, token
//! claims and grants, problems, limits. `openapi.json` and `asyncapi.json` are generated from here.
//!
//! Depends on nothing of ours, so that any server or SDK can be held against it.

pub mod action;
pub mod asyncapi;
pub mod docs;
pub mod event;
pub mod handle;
pub mod limits;
pub mod object;
pub mod openapi;
pub mod problem;
pub mod recording;
pub mod rest;
pub mod room;
pub mod scope;
pub mod token;
pub mod ws;
