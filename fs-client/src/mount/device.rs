//! Whether this process can mount at all: what the kernel and the machine must have for FUSE.

use super::MountError;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The way to the kernel.
const DEVICE: &str = "/dev/fuse";
/// Root's hand for everybody's mounts, by its names.
const HELPERS: [&str; 2] = ["fusermount3", "fusermount"];
/// Where it is looked for beside `PATH`.
const PLACES: [&str; 2] = ["/sbin", "/bin"];
/// The capability that mounting takes.
const CAP_SYS_ADMIN: u64 = 1 << 21;
/// Says in its place where it is.
const HELPER_PATH: &str = "FUSERMOUNT_PATH";

/// Tells what is missing before anything else is begun.
///
/// # Errors
/// [`MountError::NoDevice`] and [`MountError::NoHelper`].
pub(super) fn check() -> Result<(), MountError> {
    let opened = std::fs::File::options().read(true).write(true).open(DEVICE);
    opened.map_err(|error| MountError::NoDevice {
        hint: hint(&error),
        error,
    })?;
    if mounts_itself() || helper_is_there(&|name: &str| std::env::var_os(name)) {
        Ok(())
    } else {
        Err(MountError::NoHelper)
    }
}

/// Whether the kernel lets this process mount. If that is not told, the kernel is asked by mounting.
pub(super) fn mounts_itself() -> bool {
    let told = std::fs::read_to_string("/proc/thread-self/status");
    told.ok()
        .and_then(|status| may_mount(&status))
        .unwrap_or(true)
}

fn may_mount(status: &str) -> Option<bool> {
    let mut lines = status.lines();
    let sets = lines.find_map(|line| line.strip_prefix("CapEff:"))?;
    let sets = u64::from_str_radix(sets.trim(), 16).ok()?;
    Some(sets & CAP_SYS_ADMIN != 0)
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "load the module with `modprobe fuse`; a container needs the device passed in"
        }
        io::ErrorKind::PermissionDenied => {
            "this user, or this container, is not allowed to use FUSE"
        }
        // No such device, or it has no driver.
        _ => "load the module with `modprobe fuse`",
    }
}

fn helper_is_there(variable: &dyn Fn(&str) -> Option<OsString>) -> bool {
    if let Some(said) = variable(HELPER_PATH) {
        return is_program(Path::new(&said));
    }
    let path = variable("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(PLACES.map(PathBuf::from));
    let mut programs = places.flat_map(|place| HELPERS.map(|helper| place.join(helper)));
    programs.any(|program| is_program(&program))
}

fn is_program(path: &Path) -> bool {
    let found = path.metadata();
    found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helper_is_a_program_that_is_named_or_in_the_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let helper = dir.path().join(HELPERS[0]);
        let named = |name: &str| (name == HELPER_PATH).then(|| helper.clone().into_os_string());
        assert!(!helper_is_there(&named), "there is none");
        std::fs::write(&helper, "").expect("a file");
        assert!(!helper_is_there(&named), "it is no program");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&helper, mode).expect("chmod");
        assert!(helper_is_there(&named));
        let in_path = |name: &str| (name == "PATH").then(|| dir.path().as_os_str().to_owned());
        assert!(helper_is_there(&in_path));
    }

    #[test]
    fn who_may_mount_is_read_from_the_capabilities() {
        assert_eq!(
            may_mount("Name:\tx\nCapEff:\t000001ffffffffff\n"),
            Some(true)
        );
        assert_eq!(may_mount("CapEff:\t000001ffffdfffff\n"), Some(false));
        assert_eq!(may_mount("CapPrm:\t000001ffffffffff\n"), None);
    }

    #[test]
    fn what_to_do_is_told_by_what_is_wrong() {
        let of = |errno: i32| hint(&io::Error::from_raw_os_error(errno));
        assert!(of(libc::ENOENT).contains("container"));
        assert!(of(libc::ENODEV).contains("modprobe"));
        assert!(of(libc::EPERM).contains("not allowed"));
    }
}
