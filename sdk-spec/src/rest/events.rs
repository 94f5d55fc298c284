//! The event log: `GET /v1/events`.
