-- Webhook endpoints and deliveries.
SELECT 1;
