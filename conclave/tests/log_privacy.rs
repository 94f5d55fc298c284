//! Whatever the log level, what a client says is in no log line.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// Stands in what a client sends where its token is.
const MARK: &str = "eyJhbGciOiJFZERTQSJ9-mark";
/// The most talkative level that can be asked for.
const LEVEL: &str = "trace,tungstenite=trace,tungstenite::protocol=trace,hyper=trace";

/// Ends the server with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A text frame of a client, masked with zeros (RFC 6455 section 5.2); up to 125 bytes.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// Says `text` over a WebSocket and waits until the server closes it.
fn say(port: u16, text: &str) {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: conclave.v1\r\n\r\n";
    socket.write_all(request.as_bytes()).unwrap();
    let mut start = [0; 12];
    socket.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 101");
    socket.write_all(&frame(text)).unwrap();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest);
    assert!(rest.windows(5).any(|bytes| bytes == b"error"), "the server read what was said");
}

#[test]
fn what_a_client_says_is_in_no_log_line() {
    let dir = std::env::temp_dir().join(format!("conclave-log-{}", std::process::id()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_conclave"))
        .args(["serve", "--listen", "127.0.0.1:0", "--media-port", "0", "--workers", "1"])
        .args(["--log-format", "json", "--log-level", LEVEL, "--data-dir"])
        .arg(&dir)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut server = Server(child);
    let ready = lines.find(|line| line.contains("\"ready\"")).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    let port = u16::try_from(ready["port"].as_u64().unwrap()).unwrap();

    let rest = thread::spawn(move || lines.collect::<Vec<_>>());
    say(port, &format!(r#"{{"seq":1,"ack":0,"type":"join","token":"{MARK}"}}"#));
    server.0.kill().unwrap();
    let rest = rest.join().unwrap();
    assert!(!rest.iter().any(|line| line.contains(MARK)), "{rest:#?}");
    fs::remove_dir_all(&dir).unwrap();
}
