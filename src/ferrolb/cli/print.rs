//! Documents to standard output.

use std::io::{ErrorKind, Write};

use serde::Serialize;

/// Indented JSON with a line end.
///
/// # Errors
/// One line, where the document can't be written as JSON.
pub fn json(document: &impl Serialize) -> Result<String, String> {
    let text = serde_json::to_string_pretty(document).map_err(|e| format!("can't write JSON: {e}"))?;
    Ok(text + "\n")
}

/// YAML with a line end.
///
/// # Errors
/// One line, where the document can't be written as YAML.
pub fn yaml(document: &impl Serialize) -> Result<String, String> {
    let text = serde_saphyr::to_string(document).map_err(|e| format!("can't write YAML: {e}"))?;
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

/// To standard output, whole. A reader that went away (`| head`) is no error.
///
/// # Errors
/// One line, where standard output can't be written.
pub fn stdout(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(format!("can't write to standard output: {e}")),
        _ => Ok(()),
    }
}
