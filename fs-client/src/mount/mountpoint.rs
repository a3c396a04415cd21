//! What is mounted where, and whether a mount point can be used.

use super::MountError;
use rustix::io::Errno;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// How the kernel's table of mounts names ours.
const KIND: &str = "fuse.curlew";

/// A line of the table of mounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountEntry {
    /// Where.
    pub path: PathBuf,
    /// The file system's type.
    pub kind: String,
    /// What is mounted.
    pub source: String,
    /// The device, `MAJOR:MINOR`.
    pub device: String,
}

impl MountEntry {
    /// Whether it is a mount of Curlew.
    pub fn is_curlew(&self) -> bool {
        self.kind == KIND
    }
}

/// The mount of Curlew at exactly this path, dead or alive.
///
/// # Errors
/// If the table of mounts cannot be read.
pub fn curlew_mount_at(path: &Path) -> io::Result<Option<MountEntry>> {
    Ok(mount_at(&absolute(path)?)?.filter(MountEntry::is_curlew))
}

/// The topmost mount at a path.
pub(super) fn mount_at(path: &Path) -> io::Result<Option<MountEntry>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    let mut lines = table.split(|byte| *byte == b'\n').filter_map(parse);
    Ok(lines.rfind(|entry| entry.path == path))
}

/// Reads one line: id, parent, device, root, path, options, optional fields, "-", type, source.
fn parse(line: &[u8]) -> Option<MountEntry> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    Some(MountEntry {
        device: text(fields.get(2)?),
        path: PathBuf::from(std::ffi::OsString::from_vec(unescape(fields.get(4)?))),
        kind: text(fields.get(dash + 1)?),
        source: text(fields.get(dash + 2)?),
    })
}

/// Undoes the table's `\040` for a space and the like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let code = behind.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

/// The path as the table of mounts has it, also if the mount there is dead.
pub(super) fn absolute(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if is_dead(&error) => {
            let absolute = std::path::absolute(path)?;
            match (absolute.parent(), absolute.file_name()) {
                (Some(parent), Some(name)) => Ok(parent.canonicalize()?.join(name)),
                _ => Err(error),
            }
        }
        result => result,
    }
}

/// How a mount answers whose process is gone.
fn is_dead(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOTCONN)
}

/// Whether one can mount here. Gives the path to mount at.
pub(super) fn check(path: &Path, nonempty: bool) -> Result<PathBuf, MountError> {
    let failed = |error| MountError::Mountpoint {
        path: path.to_owned(),
        error,
    };
    let path = match absolute(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(MountError::NoMountpoint(path.to_owned()));
        }
        result => result.map_err(failed)?,
    };
    let mounted = mount_at(&path).map_err(failed)?;
    match path.metadata() {
        Err(error) if is_dead(&error) => return Err(MountError::Dead(path)),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.is_dir() => return Err(MountError::NotDirectory(path)),
        Ok(_) => {}
    }
    if let Some(entry) = mounted {
        if entry.is_curlew() {
            return Err(MountError::AlreadyMounted {
                path,
                source_name: entry.source,
            });
        }
        if !nonempty {
            return Err(MountError::Busy {
                path,
                source_name: entry.source,
                kind: entry.kind,
            });
        }
    }
    let mut names = std::fs::read_dir(&path).map_err(failed)?;
    if names.next().is_some() && !nonempty {
        return Err(MountError::NotEmpty(path));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_taken_apart() {
        let line =
            br"95 29 0:47 / /mnt/a\040b rw,nosuid shared:5 master:1 - fuse.curlew curlew:v rw";
        let entry = parse(line).expect("a line");
        assert_eq!(entry.path, Path::new("/mnt/a b"));
        assert_eq!(
            (entry.source.as_str(), entry.is_curlew()),
            ("curlew:v", true)
        );
        assert_eq!(entry.device, "0:47");
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn a_mount_point_must_be_an_empty_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        assert!(check(dir.path(), false).is_ok());
        std::fs::write(&file, "x").expect("a file");
        assert!(matches!(
            check(dir.path(), false),
            Err(MountError::NotEmpty(_))
        ));
        assert!(check(dir.path(), true).is_ok());
        assert!(matches!(
            check(&file, false),
            Err(MountError::NotDirectory(_))
        ));
        let none = dir.path().join("none");
        assert!(matches!(
            check(&none, false),
            Err(MountError::NoMountpoint(_))
        ));
        let busy = check(Path::new("/proc"), false);
        assert!(matches!(busy, Err(MountError::Busy { .. })), "{busy:?}");
    }
}
