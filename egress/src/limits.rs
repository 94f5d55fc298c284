//! Every limit of the way out, with its unit and its reason.

use std::time::Duration;

/// How long one address may take to accept a connection.
pub const CONNECT: Duration = Duration::from_secs(5);
/// How long a TLS handshake may take: some round trips, and a receiver under load.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// Addresses of a name that are tried in one attempt.
pub const ADDRESSES_MAX: usize = 3;
/// Name lookups at the same time; each holds a thread for as long as the system's resolver takes.
pub const LOOKUPS_MAX: usize = 64;
/// Of them, those of one project, whose name servers may be slow on purpose.
pub const PROJECT_LOOKUPS_MAX: usize = 8;
/// How long an attempt waits for its turn to look a name up.
pub const LOOKUP_WAIT: Duration = Duration::from_secs(4);
/// Bytes of a URL or host that are looked at; longer ones are refused.
pub const URL_BYTES_MAX: usize = 16 * 1024;
