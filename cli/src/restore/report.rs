//! What `curlew restore` and `curlew trash` say.

use crate::output::{self, file_kind};
use crate::troubles::Troubles;
use crate::when::rfc3339;
use meta_core::attr::FileKind;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use meta_core::query::TrashEntry;
use serde::Serialize;

/// What came back and what did not, as `--json` tells it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Anything but directories.
    pub(super) files: u64,
    pub(super) directories: u64,
    /// Files that stay in the trash because something has their names.
    pub(super) taken: u64,
    /// Files that could not be put back.
    #[serde(flatten)]
    pub(super) troubles: Troubles,
}

impl Report {
    pub(super) fn render(&self) -> String {
        let Self {
            files,
            directories,
            taken,
            troubles: Troubles { failed, .. },
        } = self;
        let mut text = format!("restored {files} files and {directories} directories");
        if *taken > 0 {
            text += &format!(", left {taken} in the trash whose names are taken");
        }
        if *failed > 0 {
            text += &format!(", and {failed} could not be restored");
        }
        text + "\n"
    }
}

/// A path from the volume's root, for people.
pub(super) fn shown(names: &[Name]) -> String {
    if names.is_empty() {
        return "/".to_owned();
    }
    names.iter().map(|name| format!("/{name}")).collect()
}

/// A file in the trash, as `--list --json` tells it.
#[derive(Debug, Serialize)]
struct Line {
    removed: String,
    removed_by: u32,
    id: u64,
    kind: &'static str,
    uid: u32,
    bytes: u64,
    path: String,
}

/// The line about a file in the trash, which was removed from the directory `above`.
pub(super) fn line(above: &[Name], entry: &TrashEntry, json: bool) -> String {
    let mut names = above.to_vec();
    names.push(entry.name.clone());
    let bytes = match entry.attr.kind {
        FileKind::Regular => entry.attr.length,
        _ => 0,
    };
    let line = Line {
        removed: rfc3339(entry.removed),
        removed_by: entry.uid,
        id: entry.attr.ino.0,
        kind: file_kind(entry.attr.kind),
        uid: entry.attr.uid,
        bytes,
        path: shown(&names),
    };
    if json {
        // Numbers and text always fit.
        return serde_json::to_string(&line).unwrap_or_default() + "\n";
    }
    let slash = if entry.attr.kind == FileKind::Directory {
        "/"
    } else {
        ""
    };
    let size = output::bytes(bytes);
    let path = output::plain(&line.path);
    format!(
        "{}  {size:>10}  {:<20}  {path}{slash}\n",
        line.removed, line.id
    )
}

/// Why something stays in the trash, and what to do.
pub(super) fn advice(why: Refusal) -> String {
    let what_to_do = match why {
        Refusal::NotPermitted => "only its owner may restore it: run this as the owner or as root",
        Refusal::AccessDenied => {
            "its directory must be readable, writable and searchable for you: run this as its owner \
             or as root"
        }
        Refusal::TooManyLinks => "its directory holds as many directories as it can",
        Refusal::OverQuota => {
            "raise the limit that it is past, make room under it, or restore it elsewhere with --to"
        }
        Refusal::NoSpace => "give the volume space, and run this again",
        _ => "run this again",
    };
    format!("{why}; {what_to_do}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::attr::{Attr, Timestamp};
    use meta_core::ids::Ino;

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    fn entry(kind: FileKind) -> TrashEntry {
        TrashEntry {
            parent: Ino(2),
            name: name("c"),
            removed: Timestamp {
                seconds: 1_795_424_400,
                nanos: 5,
            },
            uid: 7,
            attr: Attr {
                ino: Ino(9),
                kind,
                mode: 0o644,
                uid: 8,
                gid: 8,
                rdev: 0,
                nlink: 0,
                length: 2048,
                atime: Timestamp::default(),
                mtime: Timestamp::default(),
                ctime: Timestamp::default(),
                parent: Ino(2),
                btime: None,
                access_acl: false,
                default_acl: false,
            },
        }
    }

    #[test]
    fn a_line_tells_when_how_large_which_and_where() {
        let above = [name("a"), name("b")];
        let file = line(&above, &entry(FileKind::Regular), false);
        let expected = "2026-11-23T09:00:00.000000005Z     2.0 KiB  9                     /a/b/c\n";
        assert_eq!(file, expected);
        let dir = line(&[], &entry(FileKind::Directory), false);
        assert!(dir.ends_with("  /c/\n") && dir.contains(" 0 B "), "{dir}");
        let json = line(&above, &entry(FileKind::Regular), true);
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!((&json["path"], &json["id"]), (&"/a/b/c".into(), &9.into()));
        assert_eq!(json["bytes"], 2048);
    }

    #[test]
    fn a_report_tells_what_came_back_and_what_did_not() {
        let mut report = Report {
            files: 3,
            directories: 1,
            ..Report::default()
        };
        assert_eq!(report.render(), "restored 3 files and 1 directories\n");
        report.taken = 2;
        let line = report
            .troubles
            .add("/a".to_owned(), advice(Refusal::NotPermitted));
        assert!(line.contains("as the owner or as root"), "{line}");
        let text = report.render();
        assert!(text.contains("left 2 in the trash"), "{text}");
        assert!(text.contains("1 could not be restored"), "{text}");
    }
}
