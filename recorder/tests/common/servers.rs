//! Real storage servers on free ports of the loopback, for as long as the test process lives.
//!
//! ```text
//! test process ──stdin──▶ sh ──▶ server        when stdin closes, however the test ended,
//!                                              sh ends the server
//! ```

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread::sleep,
    time::{Duration, Instant},
};

const KEEPER: &str = r#""$@" & pid=$!; read -r _; kill "$pid"; wait "$pid""#;
/// Until a server answers; the machine may be busy with builds.
const START: Duration = Duration::from_secs(120);

/// A server, ended when it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// A folder that is removed with its owner, or with the process: those of statics are never dropped.
pub(crate) struct Folder(pub(crate) PathBuf, Child);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("conclave-{name}-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        let mut keeper = Command::new("sh");
        keeper.args(["-c", r#"read -r _; rm -rf "$1""#, "sh"]).arg(&path);
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(path, keeper.spawn().unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.1.stdin.take());
        let _ = self.1.wait();
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What `.ci/setup` installs.
fn program(path: &Path) -> PathBuf {
    assert!(path.exists(), "{} is missing: run .ci/setup", path.display());
    path.to_owned()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn start(port: u16, command: &mut Command) -> Server {
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "sh"]).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        keeper.env(name, value.unwrap_or_default());
    }
    keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = keeper.spawn().unwrap();
    let server = Server { port, stdin: child.stdin.take(), child };
    let began = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(began.elapsed() < START, "{:?} did not start", command.get_program());
        sleep(Duration::from_millis(100));
    }
    server
}

/// S3. `strict`: whether credentials are checked after the first request, which makes the bucket.
pub(crate) fn moto(strict: bool) -> Server {
    let port = free_port();
    let mut command = Command::new(program(&root().join(".venv/bin/moto_server")));
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
    if strict {
        command.env("INITIAL_NO_AUTH_ACTION_COUNT", "1");
    }
    let server = start(port, &mut command);
    let made = http(port, "PUT", "/bucket", &[], b"");
    assert!(made.starts_with("HTTP/1.1 200"), "{made}");
    server
}

/// Azure Blob Storage.
pub(crate) fn azurite() -> Server {
    let port = free_port();
    let main =
        program(&root().join("recorder/tests/azurite/node_modules/azurite/dist/src/blob/main.js"));
    let mut command = Command::new("node");
    command.arg(main).args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
    command.args(["--inMemoryPersistence", "--disableTelemetry", "--silent"]);
    command.arg("--skipApiVersionCheck");
    let server = start(port, &mut command);
    let made = make_container(port);
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    server
}

/// The key that every Azurite has.
pub(crate) const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

fn azure_signature(signed: &str) -> String {
    use aws_lc_rs::hmac;
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(AZURE_KEY).unwrap());
    STANDARD.encode(hmac::sign(&key, signed.as_bytes()))
}

/// A shared access signature of the container, for reading, creating, writing and deleting.
pub(crate) fn azure_sas() -> String {
    let (may, until, version) = ("rcwd", "2100-01-01T00:00:00Z", "2021-08-06");
    let place = "/blob/devstoreaccount1/container";
    let signed = format!("{may}\n\n{until}\n{place}\n\n\n\n{version}\nc\n\n\n\n\n\n\n");
    let signature = azure_signature(&signed);
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("sp={may}&se={until}&sv={version}&sr=c&sig={signature}")
}

fn make_container(port: u16) -> String {
    let mut date = Command::new("date");
    date.env("LC_ALL", "C").args(["-u", "+%a, %d %b %Y %H:%M:%S GMT"]);
    let date = String::from_utf8(date.output().unwrap().stdout).unwrap();
    let (date, account) = (date.trim(), "devstoreaccount1");
    let signed = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:2021-08-06\n\
         /{account}/{account}/container\nrestype:container"
    );
    let authorization = format!("SharedKey {account}:{}", azure_signature(&signed));
    let headers =
        [("x-ms-date", date), ("x-ms-version", "2021-08-06"), ("authorization", &authorization)];
    http(port, "PUT", &format!("/{account}/container?restype=container"), &headers, b"")
}

/// The key of a service account of Google's, in PEM; nobody knows the account.
pub(crate) fn rsa_key() -> String {
    output("openssl", &["genpkey", "-algorithm", "RSA"])
}

/// The password that logs in wherever one does.
pub(crate) const PASSWORD: &str = "CANARY-password";

/// What a client of an SSH server needs to know.
pub(crate) struct Ssh {
    pub(crate) server: Server,
    /// Private key that may log in, Ed25519.
    pub(crate) key: String,
    /// Another one, ECDSA.
    pub(crate) ecdsa_key: String,
    /// Private key that may not.
    pub(crate) other_key: String,
    /// Public key of the server.
    pub(crate) host_key: String,
    pub(crate) user: String,
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|_| panic!("{program} is missing: run .ci/setup"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// OpenSSH with its own keys, as the user of the test, for `folder`. It looks passwords up in a file of its
/// own, laid over that of the system: the user logs in by key or with [`PASSWORD`].
pub(crate) fn sshd(port: u16, folder: &Path) -> Ssh {
    let keys = folder.join("keys");
    fs::create_dir_all(&keys).unwrap();
    let path = |name: &str| keys.join(name).to_str().unwrap().to_owned();
    for name in ["host", "user", "other"] {
        if !keys.join(name).exists() {
            output("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path(name)]);
        }
    }
    if !keys.join("ecdsa").exists() {
        output("ssh-keygen", &["-q", "-t", "ecdsa", "-N", "", "-f", &path("ecdsa")]);
    }
    let public = |name: &str| fs::read_to_string(keys.join(name)).unwrap();
    fs::write(keys.join("authorized"), public("user.pub") + &public("ecdsa.pub")).unwrap();
    let (user, is_root) = (output("id", &["-un"]), output("id", &["-u"]) == "0");
    let hash = output("openssl", &["passwd", "-6", PASSWORD]);
    fs::write(keys.join("shadow"), format!("{user}:{hash}:19000:0:99999:7:::\n")).unwrap();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\n\
         PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication yes\n\
         PermitRootLogin yes\nSubsystem sftp internal-sftp\n",
        path("host"),
        path("authorized"),
    );
    fs::write(keys.join("config"), config).unwrap();
    let mut command = Command::new(program(Path::new("/usr/bin/bwrap")));
    command.arg("--die-with-parent");
    command.args(["--dev-bind", "/", "/", "--ro-bind", &path("shadow"), "/etc/shadow"]);
    if is_root {
        fs::create_dir_all("/run/sshd").unwrap();
        command.args(["--cap-add", "ALL"]);
    }
    command.arg(program(Path::new("/usr/sbin/sshd"))).args(["-D", "-e", "-f", &path("config")]);
    Ssh {
        server: start(port, &mut command),
        key: public("user"),
        ecdsa_key: public("ecdsa"),
        other_key: public("other"),
        host_key: public("host.pub").trim().to_owned(),
        user,
    }
}

/// WebDAV for `folder`, for the user `partner` with [`PASSWORD`].
pub(crate) fn wsgidav(port: u16, folder: &Path) -> Server {
    wsgidav_with(port, folder, &serde_json::json!({}))
}

/// The same with TLS, by files in PEM.
pub(crate) fn wsgidav_tls(port: u16, folder: &Path, certificate: &Path, key: &Path) -> Server {
    let tls = serde_json::json!({ "ssl_certificate": certificate, "ssl_private_key": key });
    wsgidav_with(port, folder, &tls)
}

fn wsgidav_with(port: u16, folder: &Path, more: &serde_json::Value) -> Server {
    let (files, config) = (folder.join("files"), folder.join("wsgidav.json"));
    fs::create_dir_all(&files).unwrap();
    let users = serde_json::json!({ "partner": { "password": PASSWORD } });
    let mut text = serde_json::json!({
        "host": "127.0.0.1", "port": port, "server": "cheroot", "verbose": 0,
        "provider_mapping": { "/": files },
        "http_authenticator":
            { "accept_basic": true, "accept_digest": false, "default_to_digest": false },
        "simple_dc": { "user_mapping": { "*": users } },
    });
    if let (Some(text), Some(more)) = (text.as_object_mut(), more.as_object()) {
        text.extend(more.clone());
    }
    fs::write(&config, text.to_string()).unwrap();
    let mut command = Command::new(program(&root().join(".venv/bin/wsgidav")));
    start(port, command.arg("--config").arg(config))
}

/// A request of the test's own; the answer as text.
pub(crate) fn http(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> String {
    use std::io::Read as _;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
