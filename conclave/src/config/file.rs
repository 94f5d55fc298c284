//! The tables of the configuration file with their defaults. The comments are also those of the
//! sample file (`conclave config sample`), so they speak to the operator.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::section::section;

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object on each line, for log collectors.
    Json,
}

/// What shuts in the `ffmpeg` that makes composites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sandbox {
    /// `bwrap`: no network, no files.
    #[default]
    Bwrap,
    /// Only limits of memory and time.
    None,
}

/// Where the database is. It may hold a password, so it is not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct DatabaseUrl(pub(crate) String);

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseUrl(..)")
    }
}

section! {
    /// What is kept on disk.
    Storage = "storage" {
        /// Directory of the database and its key. Made if missing, for its owner only; one that
        /// exists must be closed to others (chmod 700).
        data_dir: PathBuf = PathBuf::from("data");
        /// PostgreSQL 12 or newer in place of the SQLite file in data_dir. With a password in it, close
        /// this file to others, or set CONCLAVE_DATABASE_URL in the environment instead. A server on
        /// another machine must have a valid certificate (sslmode=verify-full) unless sslmode says
        /// otherwise; sslrootcert names the file of its authority.
        database_url: Option<DatabaseUrl> = None, example "\"postgres://conclave@db.example/conclave\"";
        /// File of the data key, which seals secrets in the database; made if missing. Left out:
        /// data.key in data_dir. CONCLAVE_DATA_KEY in the environment holds the key itself instead.
        data_key_file: Option<PathBuf> = None, example "\"/etc/conclave/data.key\"";
    }
}

section! {
    /// REST, WebSocket, WHIP and WHEP, health and metrics.
    Http = "http" {
        /// Address and TCP port. An address other than loopback needs a certificate.
        listen: SocketAddr = server().listen;
        /// PEM file with the certificate chain, the server's certificate first. Read again when it
        /// changes.
        certificate: Option<PathBuf> = None, example "\"/etc/conclave/fullchain.pem\"";
        /// PEM file with the private key of the certificate.
        private_key: Option<PathBuf> = None, example "\"/etc/conclave/privkey.pem\"";
        /// How clients reach the server, for the address in minted tokens. Left out: as listened.
        public_url: Option<String> = None, example "\"https://conclave.example\"";
        /// Web origins whose pages may use WebSocket, WHIP and WHEP; "*" lets every page. Tokens,
        /// not origins, decide who gets in.
        allowed_origins: Vec<String> = server().allowed_origins;
        /// Open TCP connections at most.
        connections_max: u32 = server().connections_max;
        /// Open TCP connections from one address at most; loopback (a proxy) has no such limit.
        connections_per_address_max: u32 = server().connections_per_address_max;
    }
}

section! {
    /// The operator's API: partners, projects, quotas, first keys. Its keys: `conclave operator key
    /// create`; there are none by default.
    Operator = "operator" {
        /// Address and TCP port, a loopback one. Left out: it is not served.
        listen: Option<SocketAddr> = None, example "\"127.0.0.1:7881\"";
    }
}

fn server() -> signaling::Config {
    signaling::Config::default()
}

impl Http {
    /// Signaling's own settings. Half a certificate counts as none; the check says what is missing.
    pub(crate) fn server(&self) -> signaling::Config {
        let files = self.certificate.clone().zip(self.private_key.clone());
        signaling::Config {
            listen: self.listen,
            public_url: self.public_url.clone(),
            tls: files
                .map(|(certificate, private_key)| signaling::Tls { certificate, private_key }),
            allowed_origins: self.allowed_origins.clone(),
            connections_max: self.connections_max,
            connections_per_address_max: self.connections_per_address_max,
            ..server()
        }
    }
}

section! {
    /// Webhooks go to the internet over HTTPS. What stands elsewhere must be allowed here.
    Webhooks = "webhooks" {
        /// Hosts that are allowed wherever they are, over plain HTTP and on any port too.
        allow_hosts: Vec<String> = Vec::new();
        /// Networks outside of the internet that are allowed, such as "10.1.0.0/16" or "fd00::/8".
        allow_networks: Vec<String> = Vec::new();
        /// Ports that are allowed besides 443 and 8443.
        ports: Vec<u16> = Vec::new();
        /// PEM file with certificates of authorities that are trusted besides the public ones.
        ca_file: Option<PathBuf> = None, example "\"/etc/conclave/partners-ca.pem\"";
    }
}

impl Webhooks {
    /// Signaling's own settings.
    pub(crate) fn server(&self) -> signaling::WebhooksConfig {
        signaling::WebhooksConfig {
            allow_hosts: self.allow_hosts.clone(),
            allow_networks: self.allow_networks.clone(),
            ports: self.ports.clone(),
            ca_file: self.ca_file.clone(),
        }
    }
}

section! {
    /// Media over UDP, and over TCP for networks without UDP.
    Media = "media" {
        /// Address to listen on. Left out: every IPv6 and IPv4 address of the machine.
        bind: Option<IpAddr> = None, example "\"192.0.2.1\"";
        /// UDP and TCP port of the first worker; each worker takes the next one: with 4 workers
        /// 7882 to 7885. Open them in the firewall. 0 lets the system choose.
        port: u16 = node().port;
        /// Whether clients may connect over TCP when their network blocks UDP.
        tcp: bool = node().tcp;
        /// Worker threads. 0: one per processor.
        workers: usize = node().workers;
        /// Addresses that clients are told to reach. Empty: those of the network interfaces. Set
        /// the public address when the machine is behind a NAT.
        announce: Vec<IpAddr> = node().announce;
        /// Whether 127.0.0.1 is told too, for browsers on this machine. It always is when there is
        /// no other address, and with `serve --demo`.
        announce_loopback: bool = node().announce_loopback;
        /// Most rooms per worker.
        rooms_max: usize = node().rooms_max;
        /// Most sessions (participants) per worker.
        sessions_max: usize = node().sessions_max;
        /// Packets that a worker keeps for retransmission, 1.5 kB of memory each.
        cache_packets: usize = node().cache_packets;
        /// Socket buffers to ask for, in bytes. The system may grant less: see `conclave doctor`.
        socket_buffer_bytes: usize = node().socket_buffer_bytes;
        /// Most TCP connections per worker.
        tcp_connections_max: usize = node().tcp_connections_max;
        /// Most TCP connections per worker from one address.
        tcp_connections_per_peer_max: usize = node().tcp_connections_per_peer_max;
    }
}

fn node() -> sfu::Config {
    sfu::Config::default()
}

impl Media {
    /// The media node's own settings; `local` adds 127.0.0.1 for browsers on this machine.
    pub(crate) fn node(&self, local: bool) -> sfu::Config {
        sfu::Config {
            node: None,
            bind: self.bind,
            port: self.port,
            workers: self.workers,
            announce: self.announce.clone(),
            announce_loopback: self.announce_loopback || local,
            tcp: self.tcp,
            rooms_max: self.rooms_max,
            sessions_max: self.sessions_max,
            cache_packets: self.cache_packets,
            socket_buffer_bytes: self.socket_buffer_bytes,
            tcp_connections_max: self.tcp_connections_max,
            tcp_connections_per_peer_max: self.tcp_connections_per_peer_max,
        }
    }
}

section! {
    /// Recordings: journals and sealed files until they are at the partner's storage.
    Recorder = "recorder" {
        /// Whether recordings can be made on this server.
        enabled: bool = true;
        /// Folder that storage targets of the kind "local" write to, a folder for each project. Left
        /// out: there are no such targets. `serve --demo` uses data_dir/delivered.
        local_folder: Option<PathBuf> = None, example "\"/srv/conclave/delivered\"";
        /// Bytes per second that all pushes together take at most. 0: as many as there are.
        push_bytes_per_second: u64 = 0;
        /// Most recordings that are written at once.
        recordings_max: usize = 100;
        /// For how long no recording grows too old by a clock that jumped ahead by more than an hour, also
        /// while the recorder was off. 0: it is believed at once.
        clock_doubt_minutes: u64 = recorder::limits::CLOCK_DOUBT.as_secs() / 60;
        /// What shuts in the program ffmpeg, which decodes media of strangers for composites: "bwrap"
        /// (package bubblewrap), or "none" where something else does. Without ffmpeg or bwrap there are
        /// no composites and audio mixes.
        sandbox: Sandbox = Sandbox::Bwrap;
    }
}

section! {
    /// The recorder in a process of its own: `conclave recorder` listens, `conclave serve` connects to it and
    /// records nothing itself. Both need the same database; docs/OPERATING.md has the steps.
    Link = "link" {
        /// Address and TCP port at which `conclave recorder` takes links from servers.
        listen: Option<SocketAddr> = None, example "\"192.0.2.7:7890\"";
        /// Host and TCP port of the recorder that `conclave serve` uses. Left out: it records itself.
        connect: Option<String> = None, example "\"recorder.example:7890\"";
        /// Fingerprints of keys that may be the recorder of this server, as `conclave recorder fingerprint` prints
        /// them there. Empty: the key of data_dir, for two processes that share it.
        recorders: Vec<String> = Vec::new();
        /// Fingerprints of servers that this recorder serves. Empty: the key of data_dir. No key of a server may
        /// be a recorder for others unless they name it in recorders.
        servers: Vec<String> = Vec::new();
        /// Seconds without the recorder, 5 to 3600, after which `conclave serve` ends recordings as failed, so that
        /// nobody reads for long that a call is recorded which is not.
        away_seconds: u32 = 60;
        /// Address and TCP port of `conclave recorder`'s metrics, a loopback one. Left out: they are not served.
        metrics: Option<SocketAddr> = None, example "\"127.0.0.1:7891\"";
    }
}

section! {
    /// How long things are kept.
    Retention = "retention" {
        /// Days of the event log: what partners can catch up with. At least 6: webhooks wait there for 5.
        events_days: u32 = server().retention.events_days;
        /// Days of histories: which handle was in which room.
        history_days: u32 = server().retention.history_days;
        /// Days of usage by room and day, which names nobody. Not less than events_days.
        usage_days: u32 = server().retention.usage_days;
    }
}

impl Retention {
    /// Signaling's own settings.
    pub(crate) fn server(&self) -> signaling::Retention {
        signaling::Retention {
            events_days: self.events_days,
            history_days: self.history_days,
            usage_days: self.usage_days,
        }
    }
}

section! {
    /// Logs go to standard error. They hold no addresses, tokens, keys or handles.
    Log = "log" {
        /// "text" for people, "json" for log collectors.
        format: LogFormat = LogFormat::Text;
        /// "error", "warn", "info", "debug" or "trace"; also per area: "info,sfu=debug".
        level: String = "info".to_owned();
    }
}
