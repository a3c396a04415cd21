//! Keeps a node from running on another node's data, where it would vote in its name.

use super::StartError;
use raft_store::NodeId;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

const FILE: &str = "node-id";

/// Makes the data directory, marks it as this node's, or checks the mark.
pub(super) fn claim(dir: &Path, node_id: NodeId) -> Result<(), StartError> {
    let failed = |source| StartError::DataDir {
        dir: dir.to_path_buf(),
        source,
    };
    raft_store::make_dir(dir).map_err(|error| failed(io::Error::other(error)))?;
    let path = dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim().parse::<NodeId>() {
            Ok(owner) if owner == node_id => Ok(()),
            Ok(owner) => Err(StartError::OtherNode {
                dir: dir.to_path_buf(),
                owner,
                node_id,
            }),
            Err(_) => {
                let message = format!("its file {FILE} holds no number: {text:?}");
                Err(failed(io::Error::new(io::ErrorKind::InvalidData, message)))
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            mark(dir, &path, node_id).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn mark(dir: &Path, path: &Path, node_id: NodeId) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(format!("{node_id}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_serves_one_node_only() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        claim(&data, 1).unwrap();
        claim(&data, 1).unwrap();
        let error = claim(&data, 2).unwrap_err().to_string();
        assert!(
            error.contains("belongs to node 1, and this is node 2"),
            "{error}"
        );
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let error = claim(Path::new("/proc/nowhere"), 1)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("data_dir: /proc/nowhere"), "{error}");
    }
}
