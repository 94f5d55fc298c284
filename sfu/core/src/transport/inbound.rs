//! Inbound
