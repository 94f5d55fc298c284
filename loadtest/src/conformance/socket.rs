//! A WebSocket client that keeps the sequence of `conclave.v1`.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use sdk_spec::ws::SUBPROTOCOL;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

/// What came off it.
pub(crate) enum Received {
    /// A message, its place in the sequence checked.
    Message(Value),
    /// Closed with this code.
    Closed(u16),
}

/// The client.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Sequence numbers sent and received.
    pub(crate) place: (u64, u64),
}

impl Socket {
    pub(crate) async fn connect(url: &str, place: (u64, u64)) -> Result<Self> {
        let mut request = url.into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse()?);
        let (stream, answer) = connect_async(request).await.context("the WebSocket")?;
        let protocol = answer.headers().get("sec-websocket-protocol");
        ensure!(protocol.is_some_and(|name| name == SUBPROTOCOL), "no subprotocol {SUBPROTOCOL}");
        Ok(Self { stream, place })
    }

    /// Sends a message; `join`, `resume` and one with a `seq` stand outside of the sequence.
    pub(crate) async fn send(&mut self, mut message: Value) -> Result<()> {
        let first = ["join", "resume"].iter().any(|kind| message["type"] == *kind);
        if !first && message.get("seq").is_none() {
            self.place.0 += 1;
            message["seq"] = json!(self.place.0);
            message["ack"] = json!(self.place.1);
        }
        self.raw(Message::text(message.to_string())).await
    }

    pub(crate) async fn raw(&mut self, message: Message) -> Result<()> {
        Ok(self.stream.send(message).await?)
    }

    /// The next message, or the close code; 1006 when the connection broke.
    pub(crate) async fn next(&mut self, patience: Duration) -> Result<Received> {
        loop {
            let read = timeout(patience, self.stream.next()).await;
            let Ok(read) = read else { bail!("nothing came in {} ms", patience.as_millis()) };
            match read {
                Some(Ok(Message::Text(text))) => return self.sequenced(text.as_str()),
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.map_or(1005, |frame| frame.code.into());
                    return Ok(Received::Closed(code));
                }
                Some(Ok(Message::Binary(_))) => bail!("the server sent a binary message"),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Ok(Received::Closed(1006)),
            }
        }
    }

    fn sequenced(&mut self, text: &str) -> Result<Received> {
        let message: Value = serde_json::from_str(text).context("a message that is no JSON")?;
        let seq = message["seq"].as_u64().unwrap_or(0);
        if seq > 0 {
            let due = self.place.1 + 1;
            ensure!(seq == due, "seq {seq} came where {due} is due: {}", message["type"]);
            self.place.1 = seq;
        }
        Ok(Received::Message(message))
    }

    /// Ends it in order.
    pub(crate) async fn close(mut self) {
        let _ = timeout(Duration::from_secs(1), self.stream.close(None)).await;
    }
}
