//! What `curlew info` says, for programs and for people.

use crate::output::{bytes, file_kind, plain};
use crate::quota::QuotaReport;
use crate::when::rfc3339;
use meta_core::attr::Attr;
use meta_core::quota::{Amount, Subject};
use serde::Serialize;
use std::fmt::Write as _;

/// The object of `curlew info --json`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(super) struct InfoReport {
    /// From the volume's root; null if the file has no name any more.
    pub(super) path: Option<String>,
    pub(super) volume: String,
    pub(super) inode: u64,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// Octal.
    pub(super) mode: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) nlink: u32,
    /// Bytes of a file, or names in a directory.
    pub(super) length: u64,
    pub(super) parent: u64,
    pub(super) atime: String,
    pub(super) mtime: String,
    pub(super) ctime: String,
    /// When it was made; null where that was not noted.
    pub(super) btime: Option<String>,
    /// Null for all but regular files.
    pub(super) data: Option<DataReport>,
    /// What lies below a directory; null for other files, and where that is not known.
    pub(super) below: Option<BelowReport>,
    /// What a directory may be, the root as much as the volume; null without a limit.
    pub(super) quota: Option<QuotaReport>,
    /// Why it is not known what lies below a directory.
    #[serde(skip)]
    unknown: Option<&'static str>,
}

/// What lies below a directory, itself left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(super) struct BelowReport {
    /// Of every kind but directories.
    files: u64,
    directories: u64,
    /// Of regular files, each rounded up to 4 KiB.
    bytes: u64,
}

/// What is known of that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Below {
    Known(Amount),
    /// The volume's level has no totals.
    NotKept,
    /// Some files are not in the totals yet.
    BeingCounted,
}

/// How a regular file's data lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub(super) struct DataReport {
    /// Chunks of 64 MiB that have data.
    pub(super) chunks: u64,
    /// Parts of slices in them; many in one chunk make reading slow.
    pub(super) slices: u64,
    pub(super) slices_in_a_chunk_max: u64,
    /// Bytes of those parts: more than the length if written over, less if there are holes.
    pub(super) slice_bytes: u64,
}

impl InfoReport {
    pub(super) fn new(
        volume: &str,
        path: Option<String>,
        attr: &Attr,
        data: Option<DataReport>,
    ) -> Self {
        Self {
            path,
            volume: volume.to_owned(),
            inode: attr.ino.0,
            kind: file_kind(attr.kind),
            mode: format!("{:04o}", attr.mode),
            uid: attr.uid,
            gid: attr.gid,
            nlink: attr.nlink,
            length: attr.length,
            parent: attr.parent.0,
            atime: rfc3339(attr.atime),
            mtime: rfc3339(attr.mtime),
            ctime: rfc3339(attr.ctime),
            btime: attr.btime.map(rfc3339),
            data,
            below: None,
            quota: None,
            unknown: None,
        }
    }

    /// Adds what lies below a directory.
    pub(super) fn tell_below(&mut self, below: Below) {
        match below {
            Below::Known(amount) => {
                self.below = Some(BelowReport {
                    files: amount.files,
                    directories: amount.directories,
                    bytes: amount.bytes,
                });
            }
            Below::NotKept => {
                self.unknown = Some("not known: volumes have totals from level 4 on");
            }
            Below::BeingCounted => {
                self.unknown = Some("not known yet: the volume's files are still being counted");
            }
        }
    }

    /// The path to tell with a limit: the volume has none.
    pub(super) fn path_of(&self, subject: Subject) -> Option<String> {
        match subject {
            Subject::Directory(_) => self.path.clone(),
            Subject::Volume | Subject::User(_) | Subject::Group(_) => None,
        }
    }

    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        let mut fact = |name: &str, value: &str| {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "{name:<12}{value}");
        };
        fact(
            "Path",
            &self.path.as_deref().map_or("(has no name)".into(), plain),
        );
        fact("Volume", &self.volume);
        fact("Inode", &self.inode.to_string());
        fact("Type", self.kind);
        fact("Mode", &self.mode);
        fact("Owner", &format!("{}:{}", self.uid, self.gid));
        fact("Links", &self.nlink.to_string());
        let length = match self.kind {
            "directory" => format!("{} names", self.length),
            _ => format!("{} bytes ({})", self.length, bytes(self.length)),
        };
        fact("Length", &length);
        fact("Parent", &self.parent.to_string());
        fact("Accessed", &self.atime);
        fact("Modified", &self.mtime);
        fact("Changed", &self.ctime);
        fact("Born", self.btime.as_deref().unwrap_or("(not noted)"));
        if let Some(data) = &self.data {
            let DataReport {
                chunks,
                slices,
                slices_in_a_chunk_max,
                slice_bytes,
            } = data;
            fact(
                "Data",
                &format!(
                    "{slices} slice(s) in {chunks} chunk(s), at most {slices_in_a_chunk_max} in \
                     one; {} stored",
                    bytes(*slice_bytes)
                ),
            );
        }
        if let Some(below) = &self.below {
            let BelowReport {
                files,
                directories,
                bytes: below,
            } = below;
            let below = bytes(*below);
            fact(
                "Below",
                &format!("{files} files, {directories} directories, {below}"),
            );
        }
        if let Some(unknown) = self.unknown {
            fact("Below", unknown);
        }
        if let Some(quota) = &self.quota {
            fact("Quota", &format!("bytes {}", quota.bytes_text()));
            fact("", &format!("inodes {}", quota.inodes_text()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::attr::FileKind;
    use meta_core::attr::Timestamp;
    use meta_core::ids::Ino;
    use meta_core::quota::{Limit, Usage};

    fn attr(kind: FileKind) -> Attr {
        let time = Timestamp {
            seconds: 0,
            nanos: 0,
        };
        Attr {
            ino: Ino(7),
            kind,
            mode: 0o644,
            uid: 1,
            gid: 2,
            rdev: 0,
            nlink: 1,
            length: 10,
            atime: time,
            mtime: time,
            ctime: time,
            parent: Ino::ROOT,
            btime: Some(time),
            access_acl: false,
            default_acl: false,
        }
    }

    #[test]
    fn the_shape_of_info_json_is_frozen() {
        let attr = attr(FileKind::Regular);
        let data = DataReport {
            chunks: 1,
            slices: 2,
            slices_in_a_chunk_max: 2,
            slice_bytes: 12,
        };
        let report = InfoReport::new("v", Some("/a".into()), &attr, Some(data));
        assert_eq!(
            serde_json::to_string(&report).expect("JSON"),
            "{\"path\":\"/a\",\"volume\":\"v\",\"inode\":7,\"type\":\"file\",\"mode\":\"0644\",\
             \"uid\":1,\"gid\":2,\"nlink\":1,\"length\":10,\"parent\":1,\
             \"atime\":\"1970-01-01T00:00:00.000000000Z\",\
             \"mtime\":\"1970-01-01T00:00:00.000000000Z\",\
             \"ctime\":\"1970-01-01T00:00:00.000000000Z\",\
             \"btime\":\"1970-01-01T00:00:00.000000000Z\",\
             \"data\":{\"chunks\":1,\"slices\":2,\"slices_in_a_chunk_max\":2,\"slice_bytes\":12},\
             \"below\":null,\"quota\":null}"
        );
        assert!(report.render().contains("Length      10 bytes (10 B)\n"));
    }

    #[test]
    fn a_directory_tells_what_lies_below_it_and_its_limit() {
        let directory =
            || InfoReport::new("v", Some("/a".into()), &attr(FileKind::Directory), None);
        let amount = Amount {
            files: 3,
            directories: 1,
            bytes: 8192,
        };
        let mut report = directory();
        report.tell_below(Below::Known(amount));
        let usage = Usage {
            subject: Subject::Directory(Ino(7)),
            amount,
            limit: Limit {
                bytes: Some(16384),
                inodes: None,
            },
            is_counted: true,
        };
        report.quota = Some(QuotaReport::new(&usage, report.path_of(usage.subject)));
        let text = report.render();
        let expected = "Below       3 files, 1 directories, 8.0 KiB\n\
                        Quota       bytes 8.0 KiB of 16.0 KiB (50.0%)\n            inodes 4, no limit\n";
        assert!(text.ends_with(expected), "{text}");
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["below"]["files"], 3);
        assert_eq!(
            (&json["quota"]["path"], &json["quota"]["id"]),
            (&"/a".into(), &7.into())
        );
        for (below, why) in [
            (Below::NotKept, "from level 4 on"),
            (Below::BeingCounted, "still being counted"),
        ] {
            let mut report = directory();
            report.tell_below(below);
            let text = report.render();
            assert!(
                text.contains("Below       not known") && text.contains(why),
                "{text}"
            );
            assert!(serde_json::to_value(&report).expect("JSON")["below"].is_null());
        }
    }
}
