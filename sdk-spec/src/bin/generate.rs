//! Writes `openapi.json` and `asyncapi.json` beside this package's manifest, and `docs/errors.md`.

use std::{fs, io, path::Path};

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let openapi = serde_json::to_value(sdk_spec::openapi::document())?;
    for (name, document) in
        [("openapi.json", openapi), ("asyncapi.json", sdk_spec::asyncapi::document())]
    {
        fs::write(folder.join(name), serde_json::to_string_pretty(&document)? + "\n")?;
    }
    fs::write(folder.join("../docs/errors.md"), sdk_spec::docs::errors_md())
}
