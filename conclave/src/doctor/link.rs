//! The link between servers and a recorder in a process of its own: its port, and whether both sides know each
//! other. Without it a server runs, and records nothing.

use std::net::{SocketAddr, TcpListener};

use bus::link::{LookError, Trust, look};

use super::Finding;
use crate::{
    config::Config,
    recorder::key::{Peer, trust},
};

/// Where `conclave recorder` will listen. It may run already: servers are looked at beside it.
pub(super) fn port(listen: SocketAddr) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => Finding::ok(format!("{listen} is free")),
        Err(error) => Finding::warn(
            format!("{listen}: {error}"),
            "all is well if that is conclave recorder; or end the program that has it, or set \
             link.listen",
        ),
    }
}

/// What `conclave serve` will connect to at `to`.
pub(super) fn to_recorder(config: &Config, to: &str) -> Finding {
    let trust = match trust(config, Peer::Recorder) {
        Ok(trust) => trust,
        Err(error) => {
            return Finding::fail(
                format!("{error:#}"),
                "mend or remove link.key in storage.data_dir; then name the new fingerprint on the \
                 other side",
            );
        }
    };
    match looked(to, &trust) {
        Ok(()) => Finding::ok(format!("{to} answers, and both sides know each other")),
        Err(error) => Finding::warn(
            format!("{to}: {error}; nothing is recorded"),
            remedy(error, &trust.identity.fingerprint().to_string()),
        ),
    }
}

fn looked(to: &str, trust: &Trust) -> Result<(), LookError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| LookError::Unreachable(error.kind()))?.block_on(look(to, trust))
}

/// `own`: this server's fingerprint.
fn remedy(error: LookError, own: &str) -> String {
    match error {
        LookError::Key => "remove link.key in storage.data_dir: another one is made".to_owned(),
        LookError::Unreachable(_) => {
            "start `conclave recorder` there, open its port (link.listen) \
                                      to this machine, or set link.connect"
                .to_owned()
        }
        LookError::Silent => {
            "look for a firewall between both, and whether the recorder hangs".to_owned()
        }
        LookError::Stranger => {
            "write what `conclave recorder fingerprint` prints there into link.recorders here"
                .to_owned()
        }
        LookError::NoRecorder => {
            "set link.connect to host and port of the recorder's link.listen".to_owned()
        }
        LookError::Unknown => format!("add \"{own}\" to link.servers of the recorder"),
        LookError::Version(_) => "run the same release of Conclave on both".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::{path::PathBuf, sync::Arc};

    use bus::{
        link::{Answer, Answers, RecorderEnd, Sessions},
        tap::tap,
    };
    use tokio::sync::watch;

    use super::*;

    struct Nothing;

    impl Answers for Nothing {
        fn answer(&self, _: Vec<u8>) -> Answer {
            Box::pin(async { Vec::new() })
        }
    }

    /// A machine's configuration and its fingerprint.
    fn machine(dir: &PathBuf) -> (Config, String) {
        std::fs::create_dir_all(dir).unwrap();
        let mut config = Config::default();
        config.storage.data_dir.clone_from(dir);
        let own = trust(&config, Peer::Server).unwrap().identity.fingerprint().to_string();
        (config, own)
    }

    /// Its recorder's end of the link, for as long as the runtime lives; gives where.
    fn listening(runtime: &tokio::runtime::Runtime, config: &Config) -> String {
        let trust = trust(config, Peer::Server).unwrap();
        let status = watch::channel(Arc::from(*b"{}")).1;
        let sessions = Arc::<Sessions>::default();
        let end = RecorderEnd::new(&trust, tap(1000).0, sessions, status, Arc::new(Nothing));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let at = listener.local_addr().unwrap().to_string();
        runtime.spawn(end.unwrap().serve(listener));
        at
    }

    #[test]
    fn each_side_is_told_what_it_lacks_of_the_other() {
        let dir = std::env::temp_dir().join(format!("conclave-doctor-{}", std::process::id()));
        let (mut server, own) = machine(&dir.join("server"));
        let (mut away, recorder) = machine(&dir.join("recorder"));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let told = |server: &Config, to: &str| match to_recorder(server, to) {
            Finding::Ok(what) => what,
            Finding::Warn(what, remedy) => format!("{what} → {remedy}"),
            Finding::Fail(what, _) => panic!("{what}"),
        };
        let at = listening(&runtime, &away);
        let stranger = told(&server, &at);
        assert!(stranger.contains("into link.recorders here"), "{stranger}");
        server.link.recorders = vec![recorder];
        let unknown = told(&server, &at);
        assert!(unknown.ends_with(&format!("add \"{own}\" to link.servers of the recorder")));
        away.link.servers = vec![own];
        let at = listening(&runtime, &away);
        assert!(told(&server, &at).ends_with("both sides know each other"));
        assert!(matches!(port(at.parse().unwrap()), Finding::Warn(..)), "it runs");
        drop(runtime);
        assert!(matches!(port(at.parse().unwrap()), Finding::Ok(_)));
        let nobody = told(&server, &at);
        assert!(nobody.contains("start `conclave recorder` there"), "{nobody}");
        std::fs::write(dir.join("server/link.key"), b"no key").unwrap();
        assert!(matches!(to_recorder(&server, &at), Finding::Fail(..)));
        std::fs::remove_dir_all(dir).unwrap();
    }
}
