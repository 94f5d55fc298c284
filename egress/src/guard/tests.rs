#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;
use crate::dial::Dialer;

/// Each must end in a refusal or at an address that is not connected to. `PORT` is one that the
/// operator allows and that somebody listens on, so that neither port nor silence is the reason.
const BYPASSES: &[&str] = &[
    // Loopback by name and address.
    "https://localhost:PORT/",
    "https://LOCALHOST:PORT/",
    "https://localhost.:PORT/",
    "https://foo.localhost:PORT/",
    "https://localhost.localdomain:PORT/",
    "https://127.0.0.1:PORT/",
    "https://127.0.0.1.:PORT/",
    "https://127.1:PORT/",
    "https://127.0.1:PORT/",
    "https://127.255.255.254:PORT/",
    "https://0.0.0.0:PORT/",
    "https://0:PORT/",
    "https://[::]:PORT/",
    "https://[::1]:PORT/",
    "https://[0:0:0:0:0:0:0:1]:PORT/",
    "https://[0000:0000:0000:0000:0000:0000:0000:0001]:PORT/",
    // Other number systems.
    "https://2130706433:PORT/",
    "https://0x7f000001:PORT/",
    "https://0x7f.1:PORT/",
    "https://0x7f.0x0.0x0.0x1:PORT/",
    "https://017700000001:PORT/",
    "https://0177.0.0.1:PORT/",
    "https://0177.0x0.0.01:PORT/",
    "https://00000177.00000000.0.1:PORT/",
    "https://0X7F000001:PORT/",
    // Percent signs, wide and enclosed digits, other dots, soft hyphens.
    "https://%31%32%37.0.0.1:PORT/",
    "https://127%2e0%2e0%2e1:PORT/",
    "https://%6c%6f%63%61%6c%68%6f%73%74:PORT/",
    "https://１２７.0.0.1:PORT/",
    "https://127。0。0。1:PORT/",
    "https://①②⑦.⓪.⓪.①:PORT/",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:PORT/",
    "https://local\u{ad}host:PORT/",
    "https://127.0.0.1\u{200b}:PORT/",
    // IPv4 inside of IPv6.
    "https://[::ffff:127.0.0.1]:PORT/",
    "https://[::ffff:7f00:1]:PORT/",
    "https://[0:0:0:0:0:ffff:127.0.0.1]:PORT/",
    "https://[::127.0.0.1]:PORT/",
    "https://[::ffff:0:127.0.0.1]:PORT/",
    "https://[64:ff9b::127.0.0.1]:PORT/",
    "https://[64:ff9b:1::7f00:1]:PORT/",
    "https://[2002:7f00:1::]:PORT/",
    "https://[2001:0:7f00:1::]:PORT/",
    // Inner networks and metadata services.
    "https://169.254.169.254:PORT/latest/meta-data/",
    "https://2852039166:PORT/",
    "https://0xa9fea9fe:PORT/",
    "https://0251.0376.0251.0376:PORT/",
    "https://[::ffff:169.254.169.254]:PORT/",
    "https://[fe80::a9fe:a9fe]:PORT/",
    "https://[fd00:ec2::254]:PORT/",
    "https://100.100.100.200:PORT/",
    "https://168.63.129.16:PORT/",
    "https://192.0.0.192:PORT/",
    "https://metadata.google.internal:PORT/",
    "https://metadata:PORT/",
    "https://10.0.0.1:PORT/",
    "https://172.16.0.1:PORT/",
    "https://192.168.1.1:PORT/",
    "https://198.18.0.1:PORT/",
    "https://224.0.0.1:PORT/",
    "https://255.255.255.255:PORT/",
    "https://printer.local:PORT/",
    "https://db.corp:PORT/",
    "https://1.0.0.127.in-addr.arpa:PORT/",
    // Names that lead inside.
    "https://loopback.example.com:PORT/",
    "https://mapped.example.com:PORT/",
    "https://six.example.com:PORT/",
    "https://private.example.com:PORT/",
    "https://metadata.example.com:PORT/",
    "https://nat64.example.com:PORT/",
    "https://sixtofour.example.com:PORT/",
    "https://zero.example.com:PORT/",
    "https://both.example.com:PORT/",
    "https://own.example.com:PORT/",
    "https://loopback.example.com.:PORT/",
    // What a URL can hide.
    "https://example.com@127.0.0.1:PORT/",
    "https://example.com:443@127.0.0.1:PORT/",
    "https://user:password@loopback.example.com:PORT/",
    "https://@loopback.example.com:PORT/",
    "https://127.0.0.1:PORT#@example.com/",
    "https://127.0.0.1:PORT\\@example.com/",
    "https://example.com\\@127.0.0.1:PORT/",
    "https:\\\\127.0.0.1:PORT/",
    "https:127.0.0.1:PORT/",
    "https:/127.0.0.1:PORT/",
    "https:///127.0.0.1:PORT/",
    "https://127.0.0.1:PORT\t/",
    "ht\ntps://127.0.0.1:PORT/",
    " https://127.0.0.1:PORT/",
    "https://loopback.example.com:PORT/\r\nX-Header: 1",
    // Other schemes.
    "http://127.0.0.1:PORT/",
    "http://loopback.example.com:PORT/",
    "HTTP://localhost:PORT/",
    "gopher://127.0.0.1:PORT/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:PORT/",
    "ws://127.0.0.1:PORT/",
    "unix:/run/conclave.sock",
    "data:text/plain,x",
    "//127.0.0.1:PORT/",
    "127.0.0.1:PORT",
    "",
];

/// Where the names of [`BYPASSES`] lead.
fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    let addresses: &[&str] = match name.trim_end_matches('.') {
        "loopback.example.com" => &["127.0.0.1"],
        "mapped.example.com" => &["::ffff:127.0.0.1"],
        "six.example.com" => &["::1"],
        "private.example.com" => &["10.0.0.1", "192.168.0.1", "fd00::1"],
        "metadata.example.com" => &["169.254.169.254"],
        "nat64.example.com" => &["64:ff9b::7f00:1"],
        "sixtofour.example.com" => &["2002:7f00:1::1"],
        "zero.example.com" => &["0.0.0.0", "::"],
        "both.example.com" => &["127.0.0.1", "::1"],
        "own.example.com" => return Ok(own_addresses()),
        // As a resolver with a search list, or /etc/hosts, could answer.
        _ => &["127.0.0.1", "::1"],
    };
    Ok(addresses.iter().map(|address| address.parse().unwrap()).collect())
}

fn dialer(
    rules: &Rules,
    lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
) -> Dialer {
    Dialer::new(Arc::new(Guard::with_names(rules, lookup).unwrap()), None).unwrap()
}

/// Everything from the URL to the connection; what would be sent does not matter.
async fn dial(dialer: &Dialer, url: &str) -> Result<(), DialError> {
    let place = dialer.guard().parse(url).map_err(|_| DialError::Forbidden)?;
    let admission = dialer.guard().admit(&place, "pj_1").await.unwrap();
    dialer.dial(&place, admission).await.map(drop)
}

/// Counts connections to an address.
async fn count(address: &str, port: u16) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(format!("{address}:{port}")).await.unwrap();
    let (port, counter) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&counter);
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counted.fetch_add(1, Relaxed);
        }
    });
    (port, counter)
}

#[tokio::test]
async fn no_spelling_reaches_an_inner_address() {
    assert!(BYPASSES.len() >= 60);
    // 0.0.0.0 hears every IPv4 address of this machine, [::] every IPv6 one.
    let (port, four) = count("0.0.0.0", 0).await;
    let (_, six) = count("[::1]", port).await;
    let ways = dialer(&Rules { ports: vec![port], ..Rules::default() }, lookup);
    let rules = ways.guard();
    let (mut by_url, mut by_address) = (0, 0);
    for spelling in BYPASSES {
        let url = spelling.replace("PORT", &port.to_string());
        let found = match rules.parse(&url) {
            Err(_) => Err(DialError::Forbidden),
            Ok(place) => {
                let admission = rules.admit(&place, "pj_1").await.unwrap();
                rules.addresses(&place, admission).await
            }
        };
        match (rules.parse(&url).is_err(), found) {
            (true, _) => by_url += 1,
            (false, Err(DialError::Forbidden)) => by_address += 1,
            (false, other) => panic!("{url} leads to {other:?}"),
        }
        // And through everything, as if it had been stored before the rules.
        assert_eq!(dial(&ways, &url).await, Err(DialError::Forbidden), "{url}");
    }
    assert!(by_url >= 60 && by_address >= 9, "{by_url} by URL, {by_address} by address");
    let heard = (four.load(Relaxed), six.load(Relaxed));
    assert_eq!(heard, (0, 0), "connections to inner addresses");

    // The listeners do hear what is allowed.
    let hosts = vec![String::from("127.0.0.1"), String::from("::1")];
    let ways = dialer(&Rules { allow_hosts: hosts, ..Rules::default() }, lookup);
    for url in [format!("https://127.0.0.1:{port}/"), format!("https://[::1]:{port}/")] {
        assert_eq!(dial(&ways, &url).await, Err(DialError::Tls), "it was connected to");
    }
    assert_eq!((four.load(Relaxed), six.load(Relaxed)), (1, 1));
}

#[tokio::test]
async fn a_name_that_changes_its_answer_is_looked_up_once_and_held_to_it() {
    // Stands for the internet: allowed. The other one is not.
    let (port, outer) = count("127.0.0.2", 0).await;
    let (_, inner) = count("127.0.0.1", port).await;
    let rules = Rules {
        allow_networks: vec![String::from("127.0.0.2/32")],
        ports: vec![port],
        ..Rules::default()
    };
    let answers = ["127.0.0.2", "127.0.0.1", "127.0.0.2", "127.0.0.1"];
    let asked = Arc::new(Mutex::new(0));
    let lookups = Arc::clone(&asked);
    let rebinding = move |name: &str| {
        assert_eq!(name, "rebind.example.com.");
        let mut asked = lookups.lock().unwrap();
        *asked += 1;
        Ok(vec![answers[*asked - 1].parse().unwrap()])
    };
    let ways = dialer(&rules, rebinding);
    let url = format!("https://rebind.example.com:{port}/");
    for (turn, wanted) in [1, 1, 2, 2].into_iter().enumerate() {
        let dialed = dial(&ways, &url).await;
        assert_eq!(dialed == Err(DialError::Forbidden), turn % 2 == 1, "{dialed:?}");
        assert_eq!((outer.load(Relaxed), *asked.lock().unwrap()), (wanted, turn + 1));
    }
    assert_eq!(inner.load(Relaxed), 0);
}

#[tokio::test]
async fn slow_name_servers_of_one_project_cost_others_nothing() {
    let (port, _) = count("127.0.0.2", 0).await;
    let rules = Rules {
        allow_networks: vec![String::from("127.0.0.2")],
        ports: vec![port],
        ..Rules::default()
    };
    let slow = |name: &str| {
        if name.starts_with("slow") {
            std::thread::sleep(std::time::Duration::from_secs(7));
        }
        Ok(vec!["127.0.0.2".parse().unwrap()])
    };
    let ways = dialer(&rules, slow);
    let began = std::time::Instant::now();
    let send = |project: &'static str, host: &str| {
        let (ways, url) = (ways.clone(), format!("https://{host}.example.com:{port}/"));
        tokio::spawn(async move {
            let place = ways.guard().parse(&url).unwrap();
            let admission = ways.guard().admit(&place, project).await?;
            Some(ways.dial(&place, admission).await.map(drop))
        })
    };
    let slow: Vec<_> = (0..2 * limits::LOOKUPS_MAX).map(|_| send("pj_1", "slow")).collect();
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let quick = send("pj_2", "quick").await.unwrap();
    assert_eq!(quick, Some(Err(DialError::Tls)), "it was connected to");
    assert!(began.elapsed().as_secs() < 4, "it waited for the others");
    let mut made = 0;
    for one in slow {
        made += usize::from(one.await.unwrap().is_some());
    }
    assert_eq!(made, limits::PROJECT_LOOKUPS_MAX, "the rest was not made");
}

#[tokio::test]
async fn of_several_addresses_only_the_allowed_are_tried() {
    let (port, outer) = count("127.0.0.2", 0).await;
    let (_, inner) = count("127.0.0.1", port).await;
    let rules = Rules {
        allow_networks: vec![String::from("127.0.0.2")],
        ports: vec![port],
        ..Rules::default()
    };
    let both = |_: &str| Ok(vec!["127.0.0.1".parse().unwrap(), "127.0.0.2".parse().unwrap()]);
    let url = format!("https://both.example.com:{port}/");
    assert_eq!(dial(&dialer(&rules, both), &url).await, Err(DialError::Tls));
    assert_eq!((outer.load(Relaxed), inner.load(Relaxed)), (1, 0));
}

#[test]
fn what_the_operator_allows_is_allowed_and_nothing_beside() {
    let rules = Rules {
        allow_hosts: vec![String::from("Hooks.Lan"), String::from("fd00::7")],
        allow_networks: vec![String::from("10.1.0.0/16")],
        ports: vec![9443],
    };
    let guard = Guard::with_names(&rules, lookup).unwrap();
    for good in [
        "https://hooks.example.com/x?y=z",
        "https://hooks.example.com:8443/",
        "https://hooks.example.com:9443/",
        "http://hooks.lan:8080/x",
        "http://[fd00::7]/x",
        "https://10.1.2.3/x",
    ] {
        assert!(guard.parse(good).is_ok(), "{good}");
    }
    for (bad, refusal) in [
        ("http://hooks.example.com/", UrlRefusal::Scheme),
        ("https://hooks.example.com:22/", UrlRefusal::Port),
        ("https://10.2.0.1/", UrlRefusal::Literal),
        ("http://10.1.2.3/", UrlRefusal::Scheme),
        ("https://other.lan/", UrlRefusal::InnerName),
        ("https://8.8.8.8/", UrlRefusal::Literal),
        ("https://hooks.example.com/#x", UrlRefusal::Fragment),
        ("https://a:b@hooks.example.com/", UrlRefusal::UserInfo),
    ] {
        assert_eq!(guard.parse(bad).err(), Some(refusal), "{bad}");
    }
    let place = guard.parse("https://hooks.example.com/a/b?c=d").unwrap();
    assert_eq!((place.path(), place.authority()), ("/a/b?c=d", "hooks.example.com"));
    for wrong in [
        Rules { allow_networks: vec![String::from("10.1.0.0/33")], ..Rules::default() },
        Rules { allow_hosts: vec![String::from("a b")], ..Rules::default() },
    ] {
        assert!(Guard::new(&wrong).is_err());
    }
}

#[test]
fn hosts_without_a_url_obey_the_same_rules() {
    let rules = Rules {
        allow_hosts: vec![String::from("nas.lan")],
        allow_networks: vec![String::from("10.1.0.0/16")],
        ports: vec![2200],
    };
    let guard = Guard::with_names(&rules, lookup).unwrap();
    let parse = |host: &str, port| guard.parse_host(host, port, &[22]).err();
    for (host, port) in
        [("sftp.example.com", 22), ("sftp.example.com", 2200), ("nas.lan", 4022), ("10.1.2.3", 22)]
    {
        assert_eq!(parse(host, port), None, "{host}:{port}");
    }
    for (host, port, refusal) in [
        ("sftp.example.com", 443, UrlRefusal::Port),
        ("127.0.0.1", 22, UrlRefusal::Literal),
        ("::1", 22, UrlRefusal::Literal),
        ("[::1]", 22, UrlRefusal::Literal),
        ("0x7f.1", 22, UrlRefusal::Literal),
        ("2130706433", 22, UrlRefusal::Literal),
        ("8.8.8.8", 22, UrlRefusal::Literal),
        ("localhost", 22, UrlRefusal::InnerName),
        ("db.corp", 22, UrlRefusal::InnerName),
        ("a@b.example.com", 22, UrlRefusal::Syntax),
        ("%31%32%37.0.0.1", 22, UrlRefusal::Syntax),
        ("sftp.example.com/x", 22, UrlRefusal::Syntax),
        ("sftp.example.com:22", 22, UrlRefusal::Syntax),
        ("a b", 22, UrlRefusal::Syntax),
        ("", 22, UrlRefusal::Syntax),
    ] {
        assert_eq!(parse(host, port), Some(refusal), "{host}:{port}");
    }
    assert_eq!(guard.parse_host("fd00::7", 22, &[22]).err(), Some(UrlRefusal::Literal));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_without_panic(text in "\\PC{0,60}") {
        let _ = Guard::new(&Rules::default()).unwrap().parse(&text);
    }

    /// Whatever is accepted is a name under https.
    #[test]
    fn what_is_accepted_is_a_name(text in "https?://[a-f0-9x.:%\\[\\]@]{1,24}(:443)?/") {
        if let Ok(place) = Guard::new(&Rules::default()).unwrap().parse(&text) {
            prop_assert!(place.is_tls && matches!(place.host, Host::Domain(_)), "{}", text);
            prop_assert!(!place.authority.contains('@'));
        }
    }
}
