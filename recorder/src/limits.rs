//! Every limit of the recorder: its name, unit and reason.

// seal

/// Recipients of a recording. Each costs 100 bytes of every artifact; a partner with more hands its
/// key on.
pub const RECIPIENTS_MAX: usize = 32;
/// Characters of a recipient: an X25519 one has 62.
pub const RECIPIENT_CHARS_MAX: usize = 128;
/// Identities tried on an artifact by `conclave recording verify`.
pub const IDENTITIES_MAX: usize = 100;
/// Bytes of the header of an `age` file that is opened: ten times that of [`RECIPIENTS_MAX`]
/// recipients. The parser's work grows with its square.
pub const AGE_HEADER_BYTES_MAX: u64 = 64 * 1024;

// evidence

/// Bytes of an artifact's name, folders included: file systems and object stores take 255 and more.
pub const ARTIFACT_NAME_BYTES_MAX: usize = 200;
/// Artifacts of a recording: a day of HLS pieces of six seconds in one rendition, and tracks.
pub const ARTIFACTS_MAX: usize = 20_000;
/// Bytes of a manifest and of each other text of evidence that is written or read: some kB for each
/// of [`ARTIFACTS_MAX`].
pub const EVIDENCE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Published keys of a recorder, and keys that a verifier is given: one a week for ten years.
pub const PUBLISHED_KEYS_MAX: usize = 1000;
/// Bytes of a file of public keys: [`PUBLISHED_KEYS_MAX`] of 512 bytes.
pub const KEYS_BYTES_MAX: u64 = 512 * 1024;
/// Bytes of the file of a private signing key: one of Ed25519 has 48.
pub const SIGNING_KEY_BYTES_MAX: u64 = 256;
/// Files in a folder that verification names as belonging to nothing.
pub const UNLISTED_NAMED_MAX: usize = 20;
/// Bytes of a deletion receipt: digests of [`ARTIFACTS_MAX`] artifacts.
pub const RECEIPT_BYTES_MAX: u64 = 16 * 1024 * 1024;
