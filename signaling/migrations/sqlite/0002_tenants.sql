-- Partners, quotas, names and ends of keys, keys of partners, bans, revocations.
SELECT 1;
