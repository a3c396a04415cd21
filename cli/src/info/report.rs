//! What `curlew info` says, for programs and for people.

use crate::output::{bytes, file_kind, plain};
use crate::when::rfc3339;
use meta_core::attr::Attr;
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
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::attr::FileKind;
    use meta_core::attr::Timestamp;
    use meta_core::ids::Ino;

    #[test]
    fn the_shape_of_info_json_is_frozen() {
        let time = Timestamp {
            seconds: 0,
            nanos: 0,
        };
        let attr = Attr {
            ino: Ino(7),
            kind: FileKind::Regular,
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
        };
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
             \"data\":{\"chunks\":1,\"slices\":2,\"slices_in_a_chunk_max\":2,\"slice_bytes\":12}}"
        );
        assert!(report.render().contains("Length      10 bytes (10 B)\n"));
    }
}
