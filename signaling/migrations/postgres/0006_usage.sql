-- Usage and histories, folded from the events.
SELECT 1;
