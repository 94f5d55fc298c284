//! Messages of a WebSocket client: what was read can be written and reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sdk_spec::ws::{ClientMessage, Envelope};

fuzz_target!(|text: &[u8]| {
    let Ok(message) = serde_json::from_slice::<Envelope<ClientMessage>>(text) else { return };
    let written = serde_json::to_string(&message).expect("plain data");
    let again: Envelope<ClientMessage> = serde_json::from_str(&written).expect("just written");
    assert!(again == message);
});
