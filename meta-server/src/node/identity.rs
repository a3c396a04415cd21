//! Keeps a node from running on another node's data, where it would vote in its name.

use super::StartError;
use meta_core::failpoint::{self, Point};
use raft_store::{Incarnation, NodeId};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

const FILE: &str = "node-id";

/// The log's directory. Where it is gone, so is what the node has acknowledged.
const LOG_DIR: &str = "log";

/// Makes the data directory and marks it as this node's, or checks the mark. Tells which data are in
/// it: other ones than before if they were lost.
pub(super) fn claim(dir: &Path, node_id: NodeId) -> Result<Incarnation, StartError> {
    let failed = |source| StartError::DataDir {
        dir: dir.to_path_buf(),
        source,
    };
    raft_store::make_dir(dir).map_err(|error| failed(io::Error::other(error)))?;
    let path = dir.join(FILE);
    let mark = match fs::read_to_string(&path) {
        Ok(text) => Some(Mark::read(&text).ok_or_else(|| {
            let message = format!("its file {FILE} is not what was written: {text:?}");
            failed(io::Error::new(io::ErrorKind::InvalidData, message))
        })?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    match mark {
        Some(mark) if mark.node_id != node_id => Err(StartError::OtherNode {
            dir: dir.to_path_buf(),
            owner: mark.node_id,
            node_id,
        }),
        Some(mark) if dir.join(LOG_DIR).exists() => Ok(mark.incarnation),
        _ => {
            let incarnation = renew(dir, node_id).map_err(failed)?;
            failpoint::pass(Point::Claimed);
            Ok(incarnation)
        }
    }
}

/// Gives the data in a directory a new incarnation: who knows them by the old one is refused.
pub(crate) fn renew(dir: &Path, node_id: NodeId) -> io::Result<Incarnation> {
    let incarnation = Incarnation(rand::random_range(1..=u64::MAX));
    let path = dir.join(FILE);
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(format!("{node_id}\n{incarnation}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(dir)?.sync_all()?;
    Ok(incarnation)
}

/// What the file holds: the node's number, and the incarnation in hexadecimal. A directory of the
/// time before incarnations has none.
struct Mark {
    node_id: NodeId,
    incarnation: Incarnation,
}

impl Mark {
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let node_id = lines.next()?.trim().parse().ok()?;
        let incarnation = match lines.next() {
            Some(digits) if digits.len() == 16 => u64::from_str_radix(digits, 16).ok()?,
            Some(_) => return None,
            None => 0,
        };
        Some(Self {
            node_id,
            incarnation: Incarnation(incarnation),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_serves_one_node_only() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let first = claim(&data, 1).unwrap();
        fs::create_dir(data.join(LOG_DIR)).unwrap();
        assert_eq!(claim(&data, 1).unwrap(), first);
        let error = claim(&data, 2).unwrap_err().to_string();
        assert!(
            error.contains("belongs to node 1, and this is node 2"),
            "{error}"
        );
    }

    #[test]
    fn data_without_their_log_are_other_data() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join(LOG_DIR);
        let first = claim(dir.path(), 1).unwrap();
        fs::create_dir(&log).unwrap();
        fs::remove_dir(&log).unwrap();
        let second = claim(dir.path(), 1).unwrap();
        assert_ne!(first, second);
        assert!(!first.admits(second) && first.admits(first));
    }

    #[test]
    fn a_directory_of_the_time_before_incarnations_is_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(LOG_DIR)).unwrap();
        fs::write(dir.path().join(FILE), "7\n").unwrap();
        assert_eq!(claim(dir.path(), 7).unwrap(), Incarnation::default());
        fs::write(dir.path().join(FILE), "7\n12\n").unwrap();
        let error = claim(dir.path(), 7).unwrap_err().to_string();
        assert!(error.contains("not what was written"), "{error}");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let error = claim(Path::new("/proc/nowhere"), 1)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("data_dir: /proc/nowhere"), "{error}");
    }
}
