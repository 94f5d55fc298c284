//! The rules: which URLs and hosts are refused as they stand, and which addresses of a name.
//!
//! A URL is checked when it is set. An address is checked at each attempt, and the connection is made
//! to the address that was checked, so that a name cannot lead elsewhere between check and use.

use std::{
    borrow::Cow,
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::Arc,
};

use url::{Host, Url};

use crate::{
    dial::DialError,
    limits,
    networks::{Network, is_global},
    shares::{Share, Shares},
};

/// Ports of HTTPS that partners may use without the operator's word.
const HTTPS_PORTS: [u16; 2] = [443, 8443];

/// Ends of names that mean something only inside of a network.
const INNER_NAMES: &[&str] = &[
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "arpa",
    "onion",
];

/// What the operator allows besides the internet over HTTPS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// Hosts that are allowed wherever they are, by plain HTTP and on any port too.
    pub allow_hosts: Vec<String>,
    /// Networks outside of the internet whose addresses are allowed, `10.1.0.0/16`.
    pub allow_networks: Vec<String>,
    /// Ports besides the usual ones.
    pub ports: Vec<u16>,
}

/// What of [`Rules`] cannot be understood. Begins with the name of the setting. Blame: the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// Not a network.
    #[error("allow_networks: {0:?} is no network like \"10.1.0.0/16\" or \"fd00::/8\"")]
    Network(String),
    /// Not a host.
    #[error("allow_hosts: {0:?} is no host name or address")]
    Host(String),
}

/// Why a URL is refused. Blame: the partner; the texts are for its developer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefusal {
    /// Not a URL, or written in a way that two readers could understand differently.
    #[error("must be a URL of visible ASCII characters without backslash")]
    Syntax,
    /// Neither https nor allowed otherwise.
    #[error("must begin with https://")]
    Scheme,
    /// User or password.
    #[error("must have no user or password")]
    UserInfo,
    /// What is never sent.
    #[error("must have no fragment")]
    Fragment,
    /// A port for something else.
    #[error("must have the port 443 or 8443, or another one that the operator allows")]
    Port,
    /// An address in any spelling.
    #[error("must name a host, not an address")]
    Literal,
    /// A name of an inner network.
    #[error("must name a host of the internet")]
    InnerName,
}

/// A URL that was checked. No `Debug`: its path may be a secret.
pub struct Place {
    pub(crate) is_tls: bool,
    pub(crate) host: Host<String>,
    port: u16,
    authority: String,
    path: String,
    /// Allowed by the operator, wherever it is.
    is_allowed: bool,
}

impl Place {
    /// Name or address, as a URL writes it, and the port where it is not the usual one: what a
    /// `Host` header says.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query; empty for what was no URL.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the connection is TLS.
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }
}

/// Leave to look a name up, where there is one.
pub struct Admission(#[allow(dead_code, reason = "held")] Option<Share>);

type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// The rules, ready to be asked.
pub struct Guard {
    hosts: HashSet<String>,
    networks: Vec<Network>,
    ports: Vec<u16>,
    lookup: Arc<Lookup>,
    /// Lookups under way: each holds a thread, even after its attempt was given up.
    lookups: Shares,
}

impl Guard {
    /// The operator's rules, and names as the system resolves them.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn new(rules: &Rules) -> Result<Self, RulesError> {
        Self::with_names(rules, system_lookup)
    }

    /// The operator's rules, and names as `lookup` resolves them; it may block.
    ///
    /// # Errors
    /// What cannot be understood.
    pub fn with_names(
        rules: &Rules,
        lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    ) -> Result<Self, RulesError> {
        let network =
            |text: &String| Network::parse(text).ok_or_else(|| RulesError::Network(text.clone()));
        let host = |text: &String| {
            let parsed = Host::parse(&bracketed(text));
            parsed.map(|host| host.to_string()).map_err(|_| RulesError::Host(text.clone()))
        };
        Ok(Self {
            hosts: rules.allow_hosts.iter().map(host).collect::<Result<_, _>>()?,
            networks: rules.allow_networks.iter().map(network).collect::<Result<_, _>>()?,
            ports: rules.ports.clone(),
            lookup: Arc::new(lookup),
            lookups: Shares::new(limits::LOOKUPS_MAX, limits::PROJECT_LOOKUPS_MAX),
        })
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// [`UrlRefusal`]
    pub fn parse(&self, text: &str) -> Result<Place, UrlRefusal> {
        // The URL standard drops tabs and line ends, takes `\` for `/` and maps wide digits to
        // digits: nobody writes so by accident.
        if !is_plain(text) {
            return Err(UrlRefusal::Syntax);
        }
        let url = Url::parse(text).map_err(|_| UrlRefusal::Syntax)?;
        let is_tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(UrlRefusal::Scheme),
        };
        let rest = text.split_once("://").map(|(_, rest)| rest).ok_or(UrlRefusal::Syntax)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRefusal::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(UrlRefusal::Fragment);
        }
        let host = url.host().ok_or(UrlRefusal::Syntax)?.to_owned();
        let port = url.port_or_known_default().ok_or(UrlRefusal::Port)?;
        let is_allowed = self.hosts.contains(&host.to_string());
        if !is_allowed {
            if !is_tls {
                return Err(UrlRefusal::Scheme);
            }
            self.check(&host, port, &HTTPS_PORTS)?;
        }
        let path = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
        let authority = url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        Ok(Place { is_tls, host, port, authority, path, is_allowed })
    }

    /// Reads a host and a port of something that is not HTTP and protects itself, as SSH does.
    /// `usual` are the ports that need no word of the operator.
    ///
    /// # Errors
    /// [`UrlRefusal`]
    pub fn parse_host(&self, text: &str, port: u16, usual: &[u16]) -> Result<Place, UrlRefusal> {
        if !is_plain(text) || text.contains(['@', '/', '?', '#', '%']) {
            return Err(UrlRefusal::Syntax);
        }
        let host = Host::parse(&bracketed(text)).map_err(|_| UrlRefusal::Syntax)?;
        let is_allowed = self.hosts.contains(&host.to_string());
        if !is_allowed {
            self.check(&host, port, usual)?;
        }
        let authority = format!("{host}:{port}");
        Ok(Place { is_tls: false, host, port, authority, path: String::new(), is_allowed })
    }

    fn check(&self, host: &Host<String>, port: u16, usual: &[u16]) -> Result<(), UrlRefusal> {
        if !usual.contains(&port) && !self.ports.contains(&port) {
            return Err(UrlRefusal::Port);
        }
        match host {
            Host::Ipv4(ip) if self.is_in_allowed((*ip).into()) => Ok(()),
            Host::Ipv6(ip) if self.is_in_allowed((*ip).into()) => Ok(()),
            Host::Ipv4(_) | Host::Ipv6(_) => Err(UrlRefusal::Literal),
            Host::Domain(name) => {
                let mut labels = name.rsplit('.');
                let last = labels.next().unwrap_or_default();
                let is_inner = labels.next().is_none() || last.is_empty();
                let is_inner = is_inner || INNER_NAMES.contains(&last);
                if is_inner { Err(UrlRefusal::InnerName) } else { Ok(()) }
            }
        }
    }

    fn is_in_allowed(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(ip.to_canonical()))
    }

    /// Whether a connection may be made to this address, which was found now.
    fn permits(&self, ip: IpAddr, own: &[IpAddr]) -> bool {
        self.is_in_allowed(ip) || (is_global(ip) && !own.contains(&ip))
    }

    /// Lets an attempt of `project` ask for addresses. `None` when too many are asked for now, by
    /// this project or by all: not the receiver's fault.
    pub async fn admit(&self, place: &Place, project: &str) -> Option<Admission> {
        match &place.host {
            Host::Ipv4(_) | Host::Ipv6(_) => Some(Admission(None)),
            Host::Domain(_) => {
                let share = self.lookups.take(project, limits::LOOKUP_WAIT).await?;
                Some(Admission(Some(share)))
            }
        }
    }

    /// Where to connect to: addresses that were looked up now and are allowed.
    ///
    /// # Errors
    /// [`DialError::Forbidden`] or [`DialError::Unreachable`].
    pub async fn addresses(
        &self,
        place: &Place,
        admission: Admission,
    ) -> Result<Vec<SocketAddr>, DialError> {
        let found = match &place.host {
            Host::Ipv4(ip) => vec![IpAddr::from(*ip)],
            Host::Ipv6(ip) => vec![IpAddr::from(*ip)],
            // The operator's own names may stand in /etc/hosts. A name with a dot at its end is
            // never completed by a search list of this machine.
            Host::Domain(name) if place.is_allowed => self.look_up(name.clone(), admission).await?,
            Host::Domain(name) => self.look_up(format!("{name}."), admission).await?,
        };
        let own = own_addresses();
        let allowed = found.iter().filter(|ip| place.is_allowed || self.permits(**ip, &own));
        let allowed: Vec<_> = allowed.map(|ip| SocketAddr::new(*ip, place.port)).collect();
        match (found.is_empty(), allowed.is_empty()) {
            (true, _) => Err(DialError::Unreachable),
            (_, true) => Err(DialError::Forbidden),
            _ => Ok(allowed),
        }
    }

    async fn look_up(&self, name: String, admission: Admission) -> Result<Vec<IpAddr>, DialError> {
        let unreachable = DialError::Unreachable;
        let lookup = Arc::clone(&self.lookup);
        let found = tokio::task::spawn_blocking(move || {
            let _admission = admission;
            lookup(&name)
        });
        found.await.map_err(|_| unreachable)?.map_err(|_| unreachable)
    }
}

/// No more than what anybody would type, and no character that two readers could take differently.
fn is_plain(text: &str) -> bool {
    text.len() <= limits::URL_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
}

/// An IPv6 address stands in brackets in a URL, and without them in a configuration.
fn bracketed(text: &str) -> Cow<'_, str> {
    let bare = text.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
    if bare { Cow::Owned(format!("[{text}]")) } else { Cow::Borrowed(text) }
}

fn system_lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    let found = (name, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

/// Addresses of this machine: what listens there may trust who comes from here.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces.iter().map(if_addrs::Interface::ip).collect()
}

#[cfg(test)]
mod tests;
