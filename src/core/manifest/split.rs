//! Cuts a file into documents, so that each can be judged alone, and read on another thread.

use std::sync::Arc;

use serde_json::Value;

use super::{ManifestError, Origin, Parsed, json, object};

/// One document of a file, not yet read.
#[derive(Clone, Debug)]
pub struct RawDocument<'a> {
    /// Where its content begins.
    pub origin: Origin,
    content: Content<'a>,
}

#[derive(Clone, Debug)]
enum Content<'a> {
    /// Text with directives and markers, and the line in the file that it begins on.
    Yaml { text: &'a [u8], line: usize },
    /// A JSON value; where it was read, its text.
    Json { value: Value, text: &'a [u8] },
    /// JSON that couldn't be read.
    Broken(ManifestError, &'a [u8]),
}

impl RawDocument<'_> {
    /// Its text; a document with the same text holds the same objects.
    pub fn text(&self) -> &[u8] {
        match &self.content {
            Content::Yaml { text, .. } | Content::Json { text, .. } | Content::Broken(_, text) => text,
        }
    }

    /// Reads it.
    pub fn read(self) -> Parsed {
        let mut parsed = Parsed::default();
        match self.content {
            Content::Yaml { text, line } => match yaml_value(text) {
                Ok(value) => object::read_document(value, &self.origin, &mut parsed),
                Err((error_line, message)) => {
                    let line =
                        error_line.map_or(self.origin.line, |l| line.saturating_add(l.saturating_sub(1)));
                    let origin = Origin { line, ..self.origin };
                    parsed.errors.push(ManifestError::new(origin, None, &format!("bad YAML: {message}")));
                }
            },
            Content::Json { value, .. } => object::read_document(value, &self.origin, &mut parsed),
            Content::Broken(error, _) => parsed.errors.push(error),
        }
        parsed
    }
}

/// Cuts a file into documents; empty ones are left out, but counted. See [`super::parse`] for `file`.
pub fn split<'a>(file: &str, bytes: &'a [u8]) -> Vec<RawDocument<'a>> {
    let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
    let file: Arc<str> = file.into();
    let must_be_json = file.ends_with(".json");
    let looks_like_json =
        bytes.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| matches!(b, b'{' | b'['));
    if must_be_json || looks_like_json {
        let documents = split_json(&file, bytes);
        // What begins like JSON may be YAML in flow style.
        if must_be_json || !documents.iter().any(|d| matches!(d.content, Content::Broken(..))) {
            return documents;
        }
    }
    split_yaml(&file, bytes)
}

const BOM: &[u8] = b"\xef\xbb\xbf";

fn split_json<'a>(file: &Arc<str>, bytes: &'a [u8]) -> Vec<RawDocument<'a>> {
    let mut documents = Vec::new();
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<json::StrictValue>();
    // Lines are counted from one value to the next, not from the file's start each time.
    let (mut counted_to, mut line) = (0, 1_usize);
    for document in 1.. {
        let from = values.byte_offset();
        let rest = bytes.get(from..).unwrap_or_default();
        let blank = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        let start = from.saturating_add(blank);
        line = line.saturating_add(count_newlines(bytes.get(counted_to..start).unwrap_or_default()));
        counted_to = start;
        let origin = Origin { file: file.clone(), document, line };
        let content = match values.next() {
            None => break,
            Some(Ok(value)) => {
                let text = bytes.get(start..values.byte_offset()).unwrap_or_default();
                Content::Json { value: value.0, text }
            }
            Some(Err(error)) => {
                let text = bytes.get(start..).unwrap_or_default();
                let at = Origin { line: error.line().max(1), ..origin.clone() };
                let message = error.to_string();
                // The place is in the origin already.
                let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
                Content::Broken(ManifestError::new(at, None, &format!("bad JSON: {message}")), text)
            }
        };
        let broken = matches!(content, Content::Broken(..));
        documents.push(RawDocument { origin, content });
        if broken {
            break;
        }
    }
    documents
}

fn count_newlines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b == b'\n').count()
}

/// Documents of a YAML stream (YAML 1.2, chapter 9). A line that begins with `---` or `...` and a blank is a marker wherever it
/// stands, even inside a block scalar, so lines are all that has to be looked at.
fn split_yaml<'a>(file: &Arc<str>, bytes: &'a [u8]) -> Vec<RawDocument<'a>> {
    let mut documents = Vec::new();
    let mut number = 1;
    let mut current = Chunk::new(0, 1);
    for (index, (offset, mut text)) in lines(bytes).enumerate() {
        let line = index.saturating_add(1);
        let end_of_line = offset.saturating_add(text.len());
        let mut start = offset;
        // Files that were joined have a byte order mark before a document.
        if let Some(rest) = text.strip_prefix(BOM)
            && is_marker(Some(rest), b"---")
        {
            text = rest;
            start = start.saturating_add(BOM.len());
        }
        if is_marker(Some(text), b"---") {
            if current.marker || current.content.is_some() {
                current.end(file, bytes, offset, &mut number, &mut documents);
                current = Chunk::new(start, line);
            } else if start != offset {
                current = Chunk { start, line, ..current };
            }
            current.marker = true;
            if !is_blank(text.get(3..).unwrap_or_default()) {
                current.content = Some(line);
            }
        } else if is_marker(Some(text), b"...") {
            current.end(file, bytes, end_of_line, &mut number, &mut documents);
            current = Chunk::new(end_of_line, line.saturating_add(1));
        } else if current.content.is_none() && !is_blank(text) {
            if !current.marker && text.starts_with(b"%") {
                current.directive = true;
            } else {
                current.content = Some(line);
            }
        } else if current.content.is_none() && !current.marker && !current.directive {
            // What stands above a document is no part of it.
            current = Chunk::new(end_of_line, line.saturating_add(1));
        }
    }
    current.end(file, bytes, bytes.len(), &mut number, &mut documents);
    documents
}

/// The document that is being cut.
struct Chunk {
    /// Where its text begins, directives and marker included.
    start: usize,
    /// The line of `start`.
    line: usize,
    /// Whether it began with directives (`%YAML 1.2`).
    directive: bool,
    /// Whether it began with `---`.
    marker: bool,
    /// The first line that holds more than comments, directives and the marker.
    content: Option<usize>,
}

impl Chunk {
    fn new(start: usize, line: usize) -> Chunk {
        Chunk { start, line, directive: false, marker: false, content: None }
    }

    fn end<'a>(
        &self,
        file: &Arc<str>,
        bytes: &'a [u8],
        end: usize,
        number: &mut usize,
        documents: &mut Vec<RawDocument<'a>>,
    ) {
        if let Some(content_line) = self.content {
            let origin = Origin { file: file.clone(), document: *number, line: content_line };
            let text = bytes.get(self.start..end).unwrap_or_default();
            documents.push(RawDocument { origin, content: Content::Yaml { text, line: self.line } });
        }
        if self.marker || self.content.is_some() {
            *number = number.saturating_add(1);
        }
    }
}

/// Each line's offset, and its bytes with the line break: LF, CR LF, or CR.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut offset = 0_usize;
    std::iter::from_fn(move || {
        let rest = bytes.get(offset..).filter(|r| !r.is_empty())?;
        let length = match rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            None => rest.len(),
            Some(at) if rest.get(at..at.saturating_add(2)) == Some(b"\r\n") => at.saturating_add(2),
            Some(at) => at.saturating_add(1),
        };
        let line = (offset, rest.get(..length)?);
        offset = offset.saturating_add(length);
        Some(line)
    })
}

fn is_marker(line: Option<&[u8]>, marker: &[u8]) -> bool {
    line.and_then(|l| l.strip_prefix(marker))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b' ' | b'\t' | b'\r' | b'\n')))
}

/// Whether a line holds nothing, or nothing but a comment.
fn is_blank(line: &[u8]) -> bool {
    matches!(line.iter().find(|b| !b.is_ascii_whitespace()), None | Some(b'#'))
}

/// The value, or what is wrong, in which line of `text`.
fn yaml_value(text: &[u8]) -> Result<Value, (Option<usize>, String)> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = text.get(..error.valid_up_to()).unwrap_or_default();
        (Some(count_newlines(before).saturating_add(1)), "it isn't UTF-8 text".to_owned())
    })?;
    let mut value = parse_yaml(text, false)?;
    if has_short_boolean(text)
        && let Ok(strict) = parse_yaml(text, true)
    {
        keep_short_booleans_text(&mut value, strict);
    }
    Ok(value)
}

/// With `strict_booleans`, `yes`, `on`, `y` and the like are texts.
fn parse_yaml(text: &str, strict_booleans: bool) -> Result<Value, (Option<usize>, String)> {
    // A document has fewer nodes than bytes: that is limit enough, where the library's own is for unknown input.
    // What aliases are expanded to, and the depth, keep their limits.
    let size = text.len().saturating_add(1000);
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: size.saturating_mul(3),
            max_nodes: size,
            max_total_scalar_bytes: size,
        },
        emit_comments: false,
        strict_booleans: strict_booleans,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().and_then(|l| usize::try_from(l.line()).ok()).filter(|l| *l > 0);
        let message = error.render_with_options(serde_saphyr::render_options! {
            formatter: &serde_saphyr::UserMessageFormatter,
            snippets: serde_saphyr::SnippetMode::Off,
        });
        (line, message)
    })
}

/// Whether a line holds `y` or `n` by itself, as far as can be told without parsing it.
fn has_short_boolean(text: &str) -> bool {
    let separates = |b: Option<&u8>| {
        b.is_none_or(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'_' | b'.' | b'/' | b'-'))
    };
    let bytes = text.as_bytes();
    bytes.iter().enumerate().any(|(at, b)| {
        matches!(b, b'y' | b'Y' | b'n' | b'N')
            && separates(bytes.get(at.saturating_add(1)))
            && separates(at.checked_sub(1).and_then(|before| bytes.get(before)))
    })
}

/// `y` and `n` are names of nodes and values of labels far more often than they are booleans.
fn keep_short_booleans_text(value: &mut Value, strict: Value) {
    match (value, strict) {
        (Value::Array(items), Value::Array(strict)) => {
            items.iter_mut().zip(strict).for_each(|(item, strict)| keep_short_booleans_text(item, strict));
        }
        (Value::Object(fields), Value::Object(mut strict)) => {
            for (key, field) in fields {
                if let Some(strict) = strict.remove(key) {
                    keep_short_booleans_text(field, strict);
                }
            }
        }
        (value @ Value::Bool(_), Value::String(text)) if matches!(text.as_str(), "y" | "Y" | "n" | "N") => {
            *value = Value::String(text);
        }
        _ => {}
    }
}
