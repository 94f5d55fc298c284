//! STUN messages: what a reader understood, a writer can say, and it is understood the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sfu_proto::stun::{Message, MessageWriter, NoRoom};

fuzz_target!(|datagram: &[u8]| {
    check(datagram);
    // Most random changes break lengths, cookie or fingerprint: mend the first two.
    if datagram.len() > 20 {
        let mut mended = datagram[..datagram.len() / 4 * 4].to_vec();
        let len = u16::try_from(mended.len() - 20).unwrap_or(0);
        mended[2..4].copy_from_slice(&len.to_be_bytes());
        mended[4..8].copy_from_slice(&sfu_proto::stun::MAGIC_COOKIE.to_be_bytes());
        check(&mended);
    }
});

fn check(datagram: &[u8]) {
    let Ok(message) = Message::parse(datagram) else { return };
    if let Some(integrity) = message.integrity {
        assert!(integrity.covered.attributes.len() + 20 + 24 <= datagram.len());
    }
    let mut out = vec![0; datagram.len() + 64];
    let len = write(&message, &mut out).expect("it fitted before");
    let Ok(again) = Message::parse(&out[..len]) else { panic!("written, so it can be read") };
    let same = again.class == message.class
        && again.transaction == message.transaction
        && again.username == message.username
        && again.priority == message.priority
        && again.use_candidate == message.use_candidate
        && again.role == message.role
        && again.mapped_address == message.mapped_address
        && again.error_code == message.error_code
        && again.fingerprint;
    assert!(same);
}

fn write(message: &Message<'_>, out: &mut [u8]) -> Result<usize, NoRoom> {
    let mut writer = MessageWriter::new(out, message.class, message.transaction)?;
    if let Some(username) = message.username {
        writer.username(username)?;
    }
    if let Some(priority) = message.priority {
        writer.priority(priority)?;
    }
    if message.use_candidate {
        writer.use_candidate()?;
    }
    if let Some(role) = message.role {
        writer.role(role)?;
    }
    if let Some(address) = message.mapped_address {
        writer.mapped_address(address)?;
    }
    if let Some(code) = message.error_code {
        writer.error_code(code)?;
    }
    if message.integrity.is_some() {
        writer.finish(|_| [7; 20])
    } else {
        writer.finish_without_integrity()
    }
}
