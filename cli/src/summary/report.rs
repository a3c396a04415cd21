//! What `curlew summary` says.

use crate::output::{bytes, file_kind, plain, table};
use crate::troubles::Troubles;
use meta_core::attr::FileKind;
use meta_core::outcome::Refusal;
use meta_core::quota::Amount;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// All of it, as `--json` tells it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    pub(super) volume: String,
    /// Each directory before what is in it.
    pub(super) entries: Vec<Line>,
    #[serde(flatten)]
    pub(super) troubles: Troubles,
    /// The lines about these.
    #[serde(skip)]
    pub(super) notes: Vec<String>,
}

/// What a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum What {
    File(FileKind),
    /// All names of a directory that are not shown.
    Others,
}

/// One line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    /// The file's path; for others their directory's.
    pub(super) path: String,
    /// Directories above it, from the first one shown on.
    pub(super) depth: u32,
    pub(super) what: What,
    pub(super) amount: Amount,
    /// How many names others are.
    pub(super) names: Option<u64>,
}

impl Line {
    /// Its path for people: a slash ends a directory's, and dots stand for others.
    pub(super) fn shown_path(&self) -> String {
        let base = self.path.trim_end_matches('/');
        match self.what {
            What::Others => format!("{base}/..."),
            What::File(FileKind::Directory) => format!("{base}/"),
            What::File(_) => self.path.clone(),
        }
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self.what {
            What::File(kind) => file_kind(kind),
            What::Others => "others",
        };
        let mut line = serializer.serialize_struct("Line", 7)?;
        line.serialize_field("path", &self.path)?;
        line.serialize_field("depth", &self.depth)?;
        line.serialize_field("type", kind)?;
        line.serialize_field("bytes", &self.amount.bytes)?;
        line.serialize_field("directories", &self.amount.directories)?;
        line.serialize_field("files", &self.amount.files)?;
        line.serialize_field("names", &self.names)?;
        line.end()
    }
}

impl Report {
    /// Notes a directory that cannot be listed.
    pub(super) fn fail(&mut self, path: String, why: Refusal) {
        let what_to_do = match why {
            Refusal::AccessDenied => {
                "it must be readable, and what is above it searchable, for you: run this as its \
                 owner or as root"
            }
            _ => "run this again",
        };
        let line = self.troubles.add(path, format!("{why}; {what_to_do}"));
        self.notes.push(line);
    }

    /// For people.
    pub(super) fn render(&self) -> String {
        let row = |line: &Line| {
            vec![
                bytes(line.amount.bytes),
                line.amount.directories.to_string(),
                line.amount.files.to_string(),
                plain(&line.shown_path()),
            ]
        };
        let rows: Vec<_> = self.entries.iter().map(row).collect();
        table(&["SIZE", "DIRS", "FILES", "PATH"], &rows)
    }

    /// Comma-separated values, with a line that names them.
    pub(super) fn csv(&self) -> String {
        let mut text = "PATH,SIZE,DIRS,FILES\n".to_owned();
        for line in &self.entries {
            let Amount {
                files,
                directories,
                bytes,
            } = line.amount;
            let path = quoted(&plain(&line.shown_path()));
            text += &format!("{path},{bytes},{directories},{files}\n");
        }
        text
    }
}

/// A value in quotes, if it would not be one without.
fn quoted(value: &str) -> String {
    if value.contains([',', '"']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let line = |path: &str, depth, what, bytes, names| Line {
            path: path.to_owned(),
            depth,
            what,
            amount: Amount {
                files: 3,
                directories: 1,
                bytes,
            },
            names,
        };
        let directory = What::File(FileKind::Directory);
        Report {
            volume: "v".to_owned(),
            entries: vec![
                line("/", 0, directory, 3 << 20, None),
                line("/a,\"b\n", 1, directory, 2 << 20, None),
                line("/c", 1, What::File(FileKind::Regular), 4096, None),
                line("/", 1, What::Others, 512 << 10, Some(8)),
            ],
            ..Report::default()
        }
    }

    #[test]
    fn a_summary_is_a_table() {
        let expected = "  SIZE       DIRS  FILES  PATH\n  \
                        3.0 MiB    1     3      /\n  \
                        2.0 MiB    1     3      /a,\"b?/\n  \
                        4.0 KiB    1     3      /c\n  \
                        512.0 KiB  1     3      /...\n";
        assert_eq!(report().render(), expected);
    }

    #[test]
    fn a_summary_is_comma_separated_values() {
        let expected = "PATH,SIZE,DIRS,FILES\n\
                        /,3145728,1,3\n\
                        \"/a,\"\"b?/\",2097152,1,3\n\
                        /c,4096,1,3\n\
                        /...,524288,1,3\n";
        assert_eq!(report().csv(), expected);
    }

    #[test]
    fn the_shape_of_summary_json_is_frozen() {
        let mut report = report();
        report.entries.drain(1..3);
        report.fail("/x".to_owned(), Refusal::AccessDenied);
        let json = serde_json::to_string(&report).expect("JSON");
        let beginning = "{\"volume\":\"v\",\"entries\":[\
             {\"path\":\"/\",\"depth\":0,\"type\":\"directory\",\"bytes\":3145728,\"directories\":1,\
             \"files\":3,\"names\":null},\
             {\"path\":\"/\",\"depth\":1,\"type\":\"others\",\"bytes\":524288,\"directories\":1,\
             \"files\":3,\"names\":8}],\"failed\":1,\"errors\":[{\"path\":\"/x\",";
        assert!(json.starts_with(beginning), "{json}");
        assert!(report.notes[0].contains("as root"), "{:?}", report.notes);
    }
}
