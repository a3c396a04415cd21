//! The log as a file: JSON lines for us, EDN for the checkers of others.

use super::entry::Entry;
use super::pairing::{HistoryError, validate};
use serde_json::Value;
use std::fmt::{self, Write as _};
use std::io::{self, BufRead, Write};

/// One JSON object a line.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json_lines(entries: &[Entry], mut to: impl Write) -> io::Result<()> {
    for entry in entries {
        serde_json::to_writer(&mut to, entry)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Reads what [`write_json_lines`] wrote.
///
/// # Errors
/// When the file cannot be read, a line is no entry, or begins and ends do not fit together.
pub fn read_json_lines(from: impl BufRead) -> Result<Vec<Entry>, HistoryError> {
    let mut entries = Vec::new();
    for (place, line) in from.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let entry = serde_json::from_str(&line).map_err(|source| HistoryError::Line {
            line: place + 1,
            source,
        })?;
        entries.push(entry);
    }
    validate(&entries)?;
    Ok(entries)
}

/// One EDN map a line, in Jepsen's form.
///
/// # Errors
/// When the file cannot be written.
pub fn write_edn(entries: &[Entry], mut to: impl Write) -> io::Result<()> {
    for entry in entries {
        writeln!(to, "{}", EdnEntry(entry))?;
    }
    to.flush()
}

struct EdnEntry<'a>(&'a Entry);

impl fmt::Display for EdnEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        write!(
            f,
            "{{:index {}, :process {}, :type :{}, :f :{}, :key ",
            entry.index,
            entry.process,
            entry.kind.word(),
            entry.f
        )?;
        if entry.key.is_empty() {
            f.write_str("nil")?;
        } else {
            write_string(f, &entry.key)?;
        }
        f.write_str(", :value ")?;
        write_value(f, &entry.value)?;
        write!(f, ", :time {}", entry.time_ns)?;
        if let Some(error) = &entry.error {
            f.write_str(", :error ")?;
            write_string(f, error)?;
        }
        f.write_char('}')
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Null => f.write_str("nil"),
        Value::Bool(flag) => write!(f, "{flag}"),
        Value::Number(number) => write!(f, "{number}"),
        Value::String(text) => write_string(f, text),
        Value::Array(values) => {
            f.write_char('[')?;
            for (place, value) in values.iter().enumerate() {
                if place > 0 {
                    f.write_char(' ')?;
                }
                write_value(f, value)?;
            }
            f.write_char(']')
        }
        Value::Object(fields) => {
            f.write_char('{')?;
            for (place, (name, value)) in fields.iter().enumerate() {
                if place > 0 {
                    f.write_str(", ")?;
                }
                // Names of fields can be anything; only a string can hold that.
                write_string(f, name)?;
                f.write_char(' ')?;
                write_value(f, value)?;
            }
            f.write_char('}')
        }
    }
}

fn write_string(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for letter in text.chars() {
        match letter {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            control if control.is_control() => write!(f, "\\u{:04x}", u32::from(control))?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}
