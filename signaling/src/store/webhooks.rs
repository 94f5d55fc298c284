//! Webhook endpoints, deliveries and their attempts.
