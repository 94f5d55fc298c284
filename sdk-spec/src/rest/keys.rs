//! API keys, token keys, bans and revocations of a project.
