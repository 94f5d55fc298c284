//! A WebSocket client that keeps the sequence, and can be made to break it.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest as _, protocol::CloseFrame},
};

const PATIENCE: Duration = Duration::from_secs(10);

pub struct Socket {
    pub stream: WebSocketStream<TcpStream>,
    pub sent: u64,
    pub received: u64,
}

impl Socket {
    pub async fn connect(address: SocketAddr) -> Self {
        let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
        let protocol = "conclave.v1".parse().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let tcp = TcpStream::connect(address).await.unwrap();
        let (stream, response) = client_async(request, tcp).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "conclave.v1");
        Self { stream, sent: 0, received: 0 }
    }

    /// `None` when nobody is there.
    pub async fn try_connect(address: SocketAddr) -> Option<Self> {
        let mut request = format!("ws://{address}/v1/ws").into_client_request().ok()?;
        let protocol = "conclave.v1".parse().ok()?;
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let tcp = TcpStream::connect(address).await.ok()?;
        let (stream, _) = client_async(request, tcp).await.ok()?;
        Some(Self { stream, sent: 0, received: 0 })
    }

    /// The answer to the first message; `None` when the server is gone.
    pub async fn try_join(&mut self, token: &str) -> Option<Value> {
        let hello = json!({ "type": "join", "token": token }).to_string();
        self.stream.send(Message::text(hello)).await.ok()?;
        let answer = timeout(PATIENCE, self.stream.next()).await.ok()??.ok()?;
        let value: Value = serde_json::from_str(answer.to_text().ok()?).ok()?;
        self.received = value["seq"].as_u64()?;
        Some(value)
    }

    pub async fn raw(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    pub async fn text(&mut self, text: impl Into<String>) {
        self.raw(Message::text(text.into())).await;
    }

    /// Sends the next message of the sequence.
    pub async fn send(&mut self, mut message: Value) {
        self.sent += 1;
        message["seq"] = json!(self.sent);
        message["ack"] = json!(self.received);
        self.text(message.to_string()).await;
    }

    /// Sends the first message and returns the answer.
    pub async fn join(&mut self, token: &str) -> Value {
        self.text(json!({ "type": "join", "token": token, "sdk": "test/1" }).to_string()).await;
        self.next().await
    }

    pub async fn resume(&mut self, ticket: &str, received: u64) -> Value {
        let hello = json!({ "type": "resume", "ticket": ticket, "received": received });
        self.text(hello.to_string()).await;
        self.next().await
    }

    /// The next message; checks the sequence.
    pub async fn next(&mut self) -> Value {
        match self.read().await {
            Message::Text(text) => {
                let value: Value = serde_json::from_str(text.as_str()).unwrap();
                let seq = value["seq"].as_u64().unwrap_or(0);
                if seq > 0 {
                    assert_eq!(seq, self.received + 1, "sequence: {value}");
                    self.received = seq;
                }
                value
            }
            other => panic!("no text: {other:?}"),
        }
    }

    /// The next message of this type; others before it are skipped.
    pub async fn wait(&mut self, kind: &str) -> Value {
        loop {
            let value = self.next().await;
            if value["type"] == kind {
                return value;
            }
        }
    }

    async fn read(&mut self) -> Message {
        let read = timeout(PATIENCE, self.stream.next()).await;
        read.expect("a message in time").expect("not the end").expect("no error")
    }

    /// Reads to the close frame and returns its code and the messages before it.
    pub async fn closed(&mut self) -> (u16, Vec<Value>) {
        let mut before = Vec::new();
        loop {
            match self.read().await {
                Message::Text(text) => before.push(serde_json::from_str(text.as_str()).unwrap()),
                Message::Close(Some(CloseFrame { code, .. })) => return (code.into(), before),
                Message::Close(None) => return (1005, before),
                _ => {}
            }
        }
    }

    /// Reads to the fatal error and the close frame.
    pub async fn refused(&mut self) -> (u16, String) {
        let (code, before) = self.closed().await;
        let error = before.iter().find(|m| m["type"] == "error").expect("an error");
        assert_eq!(error["fatal"], true, "{error}");
        assert!(error["error"]["remedy"].as_str().is_some_and(|t| !t.is_empty()));
        (code, error["error"]["code"].as_str().unwrap().to_owned())
    }

    /// Sends an offer and returns the answer (or error).
    pub async fn offer(&mut self, id: u64, sdp: &str, tracks: Value) -> Value {
        self.send(json!({ "type": "offer", "id": id, "sdp": sdp, "tracks": tracks })).await;
        loop {
            let value = self.next().await;
            if value["type"] == "answer" || value["type"] == "error" {
                return value;
            }
        }
    }

    /// Reads and pings until `stop` says so; returns how many messages came.
    pub async fn listen(mut self, mut stop: tokio::sync::watch::Receiver<bool>) -> u64 {
        let mut pings = tokio::time::interval(Duration::from_secs(4));
        let mut count = 0;
        loop {
            tokio::select! {
                message = self.stream.next() => match message {
                    Some(Ok(Message::Text(text))) => {
                        count += 1;
                        let rest = text.as_str().strip_prefix("{\"seq\":").unwrap_or_default();
                        let seq = rest.split(',').next().and_then(|seq| seq.parse().ok());
                        self.received = seq.unwrap_or(self.received).max(self.received);
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return count,
                },
                _ = pings.tick() => self.send(json!({ "type": "ping" })).await,
                _ = stop.changed() => return count,
            }
        }
    }
}
