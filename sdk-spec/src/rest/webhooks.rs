//! Webhook endpoints and deliveries.
