//! What is mounted where, as the kernel says it in `/proc/self/mountinfo`.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MountEntry {
    /// Unique among the mounts that exist now.
    pub(crate) id: u64,
    /// Where.
    pub(crate) point: PathBuf,
    /// The device as `stat` shows it.
    pub(crate) device: u64,
    /// For example `fuse.curlew`.
    pub(crate) fs_type: String,
}

impl MountEntry {
    /// Whether a Curlew mount process serves it.
    pub(crate) fn is_curlew(&self) -> bool {
        self.fs_type == "fuse.curlew"
    }
}

/// All mounts, the ones mounted later (and so on top) last.
pub(crate) fn read() -> Result<Vec<MountEntry>> {
    let bytes = std::fs::read("/proc/self/mountinfo").context("cannot read the mount table")?;
    Ok(parse(&bytes))
}

/// The topmost mount exactly at `point`, which must be absolute and without symlinks.
pub(crate) fn at(point: &Path) -> Result<Option<MountEntry>> {
    Ok(read()?.into_iter().rev().find(|entry| entry.point == point))
}

/// The mount that `path` is on.
pub(crate) fn containing(path: &Path) -> Result<Option<MountEntry>> {
    let entries = read()?;
    Ok(path
        .ancestors()
        .find_map(|dir| entries.iter().rev().find(|entry| entry.point == dir))
        .cloned())
}

/// `path` made absolute and without symlinks. What a last component that is no link names is not
/// asked for: it may be a mount point whose server is dead.
pub(crate) fn normalise(path: &Path) -> Result<PathBuf> {
    let path = normalise_unfollowed(path)?;
    match path.read_link() {
        Ok(_target) => path
            .canonicalize()
            .with_context(|| format!("{}", path.display())),
        Err(_not_a_link) => Ok(path),
    }
}

/// `path` made absolute, with symlinks resolved in its parent only.
pub(crate) fn normalise_unfollowed(path: &Path) -> Result<PathBuf> {
    let absolute =
        std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))?;
    // `absolute` keeps "..": only the file system knows what it means behind a symlink.
    let Some(name) = absolute.file_name() else {
        return absolute
            .canonicalize()
            .with_context(|| format!("{}", absolute.display()));
    };
    let parent = absolute.parent().unwrap_or(Path::new("/"));
    let parent = parent
        .canonicalize()
        .with_context(|| format!("cannot go to {}", parent.display()))?;
    Ok(parent.join(name))
}

fn parse(bytes: &[u8]) -> Vec<MountEntry> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(parse_line)
        .collect()
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw`: the optional fields before
/// the dash vary in number.
fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = parse_device(std::str::from_utf8(fields.nth(1)?).ok()?)?;
    let point = unescape(fields.nth(1)?);
    let fs_type = fields.skip_while(|field| *field != b"-").nth(1)?;
    let fs_type = String::from_utf8_lossy(fs_type).into_owned();
    Some(MountEntry {
        id,
        point: PathBuf::from(point),
        device,
        fs_type,
    })
}

fn parse_device(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(rustix::fs::makedev(
        major.parse().ok()?,
        minor.parse().ok()?,
    ))
}

/// The kernel writes space, tab, line end and backslash as `\` and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\')
            .then(|| tail.get(..3).and_then(octal_byte))
            .flatten();
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

fn octal_byte(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok()?;
    u8::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_mount_table_is_read_with_its_escapes() {
        let line =
            b"300 29 0:51 / /tmp/a\\040b\\134c rw,nosuid shared:9 x:1 - fuse.curlew curlew rw";
        let entry = parse_line(line).expect("a whole line");
        assert_eq!(entry.id, 300);
        assert_eq!(entry.device, 51);
        assert_eq!(entry.point, Path::new("/tmp/a b\\c"));
        assert!(entry.is_curlew());
    }

    #[test]
    fn lines_that_are_cut_off_are_left_out() {
        assert!(parse(b"\n300 29\n300 29 0:51 / /tmp rw -\nx y z\n").is_empty());
    }

    #[test]
    fn the_root_holds_every_path() {
        let entry = containing(Path::new("/proc/self/mountinfo")).expect("a table");
        let entry = entry.expect("a mount");
        assert_eq!(entry.point, Path::new("/proc"));
        let data = entry.point.metadata().expect("metadata");
        assert_eq!(entry.device, std::os::unix::fs::MetadataExt::dev(&data));
    }

    #[test]
    fn normalising_resolves_the_parent_and_keeps_the_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let real = dir.path().canonicalize().expect("it exists");
        std::fs::create_dir(real.join("real")).expect("a directory");
        std::os::unix::fs::symlink(real.join("real"), real.join("link")).expect("a link");
        let name = normalise(&real.join("link").join("mnt")).expect("a path");
        assert_eq!(name, real.join("real").join("mnt"));
        assert_eq!(
            normalise(&real.join("link")).expect("a path"),
            real.join("real")
        );
        let unfollowed = normalise_unfollowed(&real.join("link"));
        assert_eq!(unfollowed.expect("a path"), real.join("link"));
        assert_eq!(normalise(Path::new("/")).expect("a path"), Path::new("/"));
    }
}
