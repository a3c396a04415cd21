//! What `curlew quota` says, for programs and for people.

use crate::output::{bytes, plain, table};
use meta_core::quota::{Subject, Usage};
use serde::Serialize;

/// A limit and what is used of it, as `--json` tells it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct QuotaReport {
    /// `volume`, `directory`, `user` or `group`.
    subject: &'static str,
    /// A directory's, from the volume's root; null if it is not known, and for all else.
    path: Option<String>,
    /// A directory's inode, or the number of a user or group; null for the volume.
    id: Option<u64>,
    bytes: Measure,
    /// Files and directories.
    inodes: Measure,
    /// Whether all files are in what is used; else it is more than that.
    counted: bool,
}

/// One kind of limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
struct Measure {
    used: u64,
    /// Null for no limit.
    limit: Option<u64>,
}

impl Measure {
    /// `1.0 GiB of 2.0 GiB (50.0%)`.
    fn text(self, at_least: &str, number: impl Fn(u64) -> String) -> String {
        let used = number(self.used);
        match self.limit {
            Some(limit) => format!("{at_least}{used} of {} ({})", number(limit), self.percent()),
            None => format!("{at_least}{used}, no limit"),
        }
    }

    fn percent(self) -> String {
        match self.limit {
            None => "-".to_owned(),
            // Nothing of nothing is full.
            Some(0) => "100.0%".to_owned(),
            Some(limit) => {
                let permille = u128::from(self.used) * 1000 / u128::from(limit);
                format!("{}.{}%", permille / 10, permille % 10)
            }
        }
    }
}

impl QuotaReport {
    /// A directory's has its path, if it is known.
    pub(crate) fn new(usage: &Usage, path: Option<String>) -> Self {
        let (subject, id) = match usage.subject {
            Subject::Volume => ("volume", None),
            Subject::Directory(ino) => ("directory", Some(ino.0)),
            Subject::User(uid) => ("user", Some(uid.into())),
            Subject::Group(gid) => ("group", Some(gid.into())),
        };
        Self {
            subject,
            path,
            id,
            bytes: Measure {
                used: usage.amount.bytes,
                limit: usage.limit.bytes,
            },
            inodes: Measure {
                used: usage.amount.inodes(),
                limit: usage.limit.inodes,
            },
            counted: usage.is_counted,
        }
    }

    /// What it is about.
    pub(super) fn name(&self) -> String {
        match (&self.path, self.id) {
            (Some(path), _) => plain(path),
            (None, Some(id)) if self.subject == "directory" => format!("directory (inode {id})"),
            (None, Some(id)) => format!("{} {id}", self.subject),
            (None, None) => format!("the {}", self.subject),
        }
    }

    fn has_limit(&self) -> bool {
        self.bytes.limit.is_some() || self.inodes.limit.is_some()
    }

    fn at_least(&self) -> &'static str {
        if self.counted { "" } else { "at least " }
    }

    /// What is used of bytes, for people.
    pub(crate) fn bytes_text(&self) -> String {
        self.bytes.text(self.at_least(), bytes)
    }

    /// What is used of inodes, for people.
    pub(crate) fn inodes_text(&self) -> String {
        self.inodes.text(self.at_least(), |count| count.to_string())
    }

    /// All of it, for people.
    pub(super) fn render(&self) -> String {
        let mut text = format!(
            "{}\n  bytes: {}\n  inodes: {}\n",
            self.name(),
            self.bytes_text(),
            self.inodes_text()
        );
        if self.counted {
            return text;
        }
        let is_owner = matches!(self.subject, "user" | "group");
        text += if is_owner && !self.has_limit() {
            "  users and groups are counted once one of them has a limit, and not all files are\n"
        } else {
            "  the volume's files are still being counted: look again later\n"
        };
        text
    }

    fn row(&self) -> Vec<String> {
        let more = if self.counted { "" } else { ">" };
        let limit = |limit: Option<u64>, number: fn(u64) -> String| {
            limit.map_or_else(|| "-".to_owned(), number)
        };
        vec![
            more.to_owned() + &bytes(self.bytes.used),
            limit(self.bytes.limit, bytes),
            self.bytes.percent(),
            format!("{more}{}", self.inodes.used),
            limit(self.inodes.limit, |count| count.to_string()),
            self.inodes.percent(),
            self.name(),
        ]
    }
}

/// One limit, as `--json` tells it.
#[derive(Debug, Serialize)]
pub(super) struct OneReport {
    pub(super) volume: String,
    #[serde(flatten)]
    pub(super) quota: QuotaReport,
}

/// All limits, as `--json` tells them.
#[derive(Debug, Serialize)]
pub(super) struct ListReport {
    pub(super) volume: String,
    pub(super) limits: Vec<QuotaReport>,
}

impl ListReport {
    pub(super) fn render(&self) -> String {
        if self.limits.is_empty() {
            return format!("volume {} has no limits\n", plain(&self.volume));
        }
        let header = ["USED", "LIMIT", "USE%", "INODES", "LIMIT", "USE%", "OF"];
        let rows: Vec<_> = self.limits.iter().map(QuotaReport::row).collect();
        let mut text = table(&header, &rows);
        if self.limits.iter().any(|one| !one.counted) {
            text += "  >: the volume's files are still being counted\n";
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta_core::ids::Ino;
    use meta_core::quota::{Amount, Limit};

    fn usage(subject: Subject, bytes: Option<u64>, inodes: Option<u64>) -> Usage {
        Usage {
            subject,
            amount: Amount {
                files: 10,
                directories: 2,
                bytes: 1 << 30,
            },
            limit: Limit { bytes, inodes },
            is_counted: true,
        }
    }

    #[test]
    fn a_limit_is_told_with_what_is_used_of_it() {
        let limited = usage(Subject::Directory(Ino(7)), Some(3 << 30), None);
        let report = QuotaReport::new(&limited, Some("/a\n".to_owned()));
        assert_eq!(
            report.render(),
            "/a?\n  bytes: 1.0 GiB of 3.0 GiB (33.3%)\n  inodes: 12, no limit\n"
        );
        let over = usage(Subject::Volume, Some(1), Some(8));
        let over = QuotaReport::new(&over, None);
        assert_eq!(over.inodes_text(), "12 of 8 (150.0%)");
        assert_eq!(over.name(), "the volume");
        let zero = Measure {
            used: 0,
            limit: Some(0),
        };
        assert_eq!(zero.percent(), "100.0%");
        let full = Measure {
            used: u64::MAX,
            limit: Some(1),
        };
        assert!(full.percent().ends_with("00.0%"));
    }

    #[test]
    fn what_is_not_counted_yet_is_said() {
        let of = |subject, limit| {
            let mut usage = usage(subject, limit, None);
            usage.is_counted = false;
            QuotaReport::new(&usage, None).render()
        };
        let user = of(Subject::User(7), None);
        assert!(
            user.starts_with("user 7\n  bytes: at least 1.0 GiB,"),
            "{user}"
        );
        assert!(user.contains("once one of them has a limit"), "{user}");
        for text in [
            of(Subject::Group(7), Some(1)),
            of(Subject::Directory(Ino(9)), None),
        ] {
            assert!(text.contains("still being counted"), "{text}");
        }
    }

    #[test]
    fn limits_are_listed_in_columns() {
        let mut list = ListReport {
            volume: "v".to_owned(),
            limits: Vec::new(),
        };
        assert_eq!(list.render(), "volume v has no limits\n");
        let directory = usage(Subject::Directory(Ino(7)), Some(2 << 30), Some(100));
        let mut group = usage(Subject::Group(5), None, Some(12));
        group.is_counted = false;
        list.limits = vec![
            QuotaReport::new(&directory, Some("/a b".to_owned())),
            QuotaReport::new(&group, None),
        ];
        let expected = "  USED      LIMIT    USE%   INODES  LIMIT  USE%    OF\n  \
                        1.0 GiB   2.0 GiB  50.0%  12      100    12.0%   /a b\n  \
                        >1.0 GiB  -        -      >12     12     100.0%  group 5\n  \
                        >: the volume's files are still being counted\n";
        assert_eq!(list.render(), expected);
    }

    #[test]
    fn the_shape_of_quota_json_is_frozen() {
        let of = |subject, path| {
            let quota = QuotaReport::new(&usage(subject, Some(5), None), path);
            let volume = "v".to_owned();
            serde_json::to_string(&OneReport { volume, quota }).expect("JSON")
        };
        assert_eq!(
            of(Subject::Directory(Ino(7)), Some("/a".to_owned())),
            "{\"volume\":\"v\",\"subject\":\"directory\",\"path\":\"/a\",\"id\":7,\
             \"bytes\":{\"used\":1073741824,\"limit\":5},\"inodes\":{\"used\":12,\"limit\":null},\
             \"counted\":true}"
        );
        let volume = of(Subject::Volume, None);
        assert!(
            volume.contains("\"volume\",\"path\":null,\"id\":null"),
            "{volume}"
        );
    }
}
