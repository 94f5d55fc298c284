//! The lines of a backup file, and its digest.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read as _, Write},
};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{BackupError, Table};
use crate::{limits, vault::Vault};

/// How the file is written.
pub(super) const VERSION: u32 = 1;

/// The first line.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) conclave_backup: u32,
    /// Version of the schema.
    pub(super) schema: i64,
    /// Each after those that its rows refer to.
    pub(super) tables: Vec<Table>,
}

/// The last line.
#[derive(Serialize, Deserialize)]
struct Trailer {
    rows: u64,
    /// Of all bytes before this line.
    sha256: String,
    /// Keyed hash of the digest: shows that the file is ours and that the data key fits.
    seal: String,
}

/// Writes a backup.
pub(super) struct Writer<W> {
    out: W,
    digest: Context,
    rows: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn begin(out: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self { out, digest: Context::new(&SHA256), rows: 0 };
        writer.line(header)?;
        Ok(writer)
    }

    pub(super) fn row(&mut self, values: &[Value]) -> io::Result<()> {
        self.rows += 1;
        self.line(&values)
    }

    /// Returns the number of rows.
    pub(super) fn end(mut self, vault: &Vault) -> io::Result<u64> {
        let digest = self.digest.clone().finish();
        let (sha256, seal) = (hex(digest.as_ref()), seal(vault, digest.as_ref()));
        let rows = self.rows;
        self.line(&Trailer { rows, sha256, seal })?;
        self.out.flush()?;
        Ok(rows)
    }

    fn line<T: Serialize>(&mut self, value: &T) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.digest.update(&line);
        self.out.write_all(&line)
    }
}

/// Reads the whole file and holds it against its digest, before anything of it is used.
pub(super) fn verify(mut from: impl BufRead, vault: &Vault) -> Result<(), BackupError> {
    let mut digest = Context::new(&SHA256);
    let (mut lines, mut last) = (0u64, Vec::new());
    loop {
        let line = read_line(&mut from)?;
        if line.is_empty() {
            break;
        }
        digest.update(&last);
        lines += 1;
        last = line;
    }
    let digest = digest.finish();
    let trailer: Trailer = serde_json::from_slice(&last).map_err(|_| BackupError::Damaged)?;
    // The header and the trailer are no rows.
    if trailer.sha256 != hex(digest.as_ref()) || lines != trailer.rows.saturating_add(2) {
        return Err(BackupError::Damaged);
    }
    match trailer.seal == seal(vault, digest.as_ref()) {
        true => Ok(()),
        false => Err(BackupError::OtherKey),
    }
}

/// Reads the rows of a verified backup.
pub(super) struct Reader {
    from: BufReader<fs::File>,
    line: u64,
}

impl Reader {
    pub(super) fn begin(mut from: BufReader<fs::File>) -> Result<(Header, Self), BackupError> {
        let line = read_line(&mut from)?;
        let header: Header = serde_json::from_slice(&line).map_err(|_| BackupError::Format(1))?;
        match header.conclave_backup {
            VERSION => Ok((header, Self { from, line: 1 })),
            _ => Err(BackupError::Format(1)),
        }
    }

    /// The next row; `None` at the trailer.
    pub(super) fn row(&mut self) -> Result<Option<Vec<Value>>, BackupError> {
        let line = read_line(&mut self.from)?;
        self.line += 1;
        if line.first() != Some(&b'[') {
            return Ok(None);
        }
        serde_json::from_slice(&line).map(Some).map_err(|_| BackupError::Format(self.line))
    }

    /// Number of the line that was read last, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }
}

/// A line with its end; empty at the end of the file.
fn read_line(from: &mut impl BufRead) -> Result<Vec<u8>, BackupError> {
    let mut line = Vec::new();
    let limit = limits::BACKUP_LINE_BYTES_MAX;
    from.take(limit).read_until(b'\n', &mut line)?;
    match line.last() {
        None | Some(b'\n') => Ok(line),
        Some(_) => Err(BackupError::Damaged),
    }
}

fn seal(vault: &Vault, digest: &[u8]) -> String {
    hex(&vault.hash(&[b"conclave backup\0", digest].concat()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
