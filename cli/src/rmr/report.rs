//! What `curlew rmr` says.

use crate::troubles::Troubles;
use meta_client::Stays;
use meta_core::name::Name;
use meta_core::outcome::Refusal;
use serde::Serialize;
use std::path::Path;

/// What was removed and what was not, as `--json` tells it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Names of anything but directories.
    pub(super) files: u64,
    pub(super) directories: u64,
    /// Names that could not be removed, without the directories above them.
    #[serde(flatten)]
    pub(super) troubles: Troubles,
}

impl Report {
    pub(super) fn render(&self) -> String {
        let Self {
            files,
            directories,
            troubles: Troubles { failed, .. },
        } = self;
        let mut text = format!("removed {files} files and {directories} directories\n");
        if *failed > 0 {
            text.pop();
            text += &format!(", and {failed} names could not be removed\n");
        }
        text
    }
}

/// The path of a name in a tree: `named` is what the user called its first name.
pub(super) fn path_text(named: &Path, names: &[Name]) -> String {
    let mut path = named.display().to_string();
    for name in names.iter().skip(1) {
        path.push('/');
        path.push_str(&name.to_string());
    }
    path
}

/// Why a name stays, and what to do.
pub(super) fn advice(why: Stays) -> String {
    let what_to_do = match why {
        Stays::NotListed(Refusal::AccessDenied) => {
            "run this as its owner after `chmod u+rwx`, or as root"
        }
        Stays::Refused(Refusal::AccessDenied) => {
            "its directory must be writable and searchable for you: `chmod u+rwx` it, or run this as \
             its owner or as root"
        }
        Stays::Refused(Refusal::NotPermitted) => {
            "its directory is sticky, and both belong to others: run this as the owner of one of them \
             or as root"
        }
        Stays::Refused(Refusal::NotEmpty) => {
            "names appear in it as fast as they are removed: end what makes them, and run this again"
        }
        Stays::Refused(_) | Stays::NotListed(_) => "run this again",
    };
    format!("{why}; {what_to_do}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_what_was_removed_and_what_was_not() {
        let mut report = Report {
            files: 3,
            directories: 1,
            ..Report::default()
        };
        assert_eq!(report.render(), "removed 3 files and 1 directories\n");
        report.troubles.add("/m/1".to_owned(), "no".to_owned());
        let text = report.render();
        assert!(
            text.ends_with("and 1 names could not be removed\n"),
            "{text}"
        );
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!((&json["failed"], &json["files"]), (&1.into(), &3.into()));
        assert_eq!(json["errors"][0]["path"], "/m/1");
    }

    #[test]
    fn a_path_begins_as_the_user_named_it() {
        let names = ["top", "a", "b"].map(|text| Name::new(text).expect("a name"));
        assert_eq!(path_text(Path::new("./top"), &names), "./top/a/b");
        assert_eq!(path_text(Path::new("/m/top"), &names[..1]), "/m/top");
    }

    #[test]
    fn every_error_says_what_to_do() {
        let sticky = advice(Stays::Refused(Refusal::NotPermitted));
        assert!(sticky.contains("sticky"), "{sticky}");
        let closed = advice(Stays::NotListed(Refusal::AccessDenied));
        assert!(closed.contains("cannot be listed"), "{closed}");
        let busy = advice(Stays::Refused(Refusal::NotEmpty));
        assert!(busy.starts_with("directory not empty; "), "{busy}");
    }
}
