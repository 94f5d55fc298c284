//! What can be told of a file without its key: chunks, lengths, the chain head. Nothing of it is
//! authentic before it is compared with a checkpoint.

use std::io::{self, Read};

use super::{
    chain::Chain,
    format::{Header, HeaderError, Kind},
    frames::{Ending, Frames},
};

/// Shape of a file.
#[derive(Debug)]
pub struct Structure {
    /// Its header.
    pub header: Header,
    /// Chunks with tap records.
    pub batches: u64,
    /// Bytes in them, without what encryption adds.
    pub plain_bytes: u64,
    /// Chunks with signatures.
    pub checkpoints: u64,
    /// How it ends; a wrong tag or signature is not noticed.
    pub ending: Ending,
    /// Hash of everything up to its end.
    pub chain: [u8; 32],
}

impl Structure {
    /// Reads a file to its end.
    ///
    /// # Errors
    /// What is wrong with the header, or the input's.
    pub fn read(input: impl Read) -> io::Result<Result<Self, HeaderError>> {
        let (header, mut frames) = match Frames::open(input)? {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        let mut chain = Chain::start(&header);
        let (mut batches, mut plain_bytes, mut checkpoints) = (0, 0, 0);
        let mut chunk = Vec::new();
        let ending = loop {
            let head = match frames.next(&mut chunk) {
                Ok(frame) => frame.head,
                Err(ending) => break ending,
            };
            chain = chain.after(&chunk);
            if head.kind == Kind::Batch {
                batches += 1;
                plain_bytes += head.length as u64;
            } else {
                checkpoints += 1;
            }
        };
        Ok(Ok(Self { header, batches, plain_bytes, checkpoints, ending, chain: chain.0 }))
    }
}
