//! What plans choose from.

/// Components of most paths.
pub(super) const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Paths that few programs use.
pub(super) const STRANGE: [&str; 16] = [
    "",
    ".",
    "a/.",
    "a/",
    "b//c",
    "a/../b",
    "c/..",
    "@255",
    "@256",
    "a/@255",
    "@deep",
    "\u{ff}\u{1}x",
    "none/x",
    "a/b/c/d/e",
    "b/",
    "a/b/../c",
];
/// What symlinks lead to. None of them leads to the directory of the plan, so that no path leads out of it.
pub(super) const TARGETS: [&str; 9] = [
    "a",
    "b",
    "c",
    "d",
    "./a",
    "nowhere",
    "a/b",
    "@255",
    "/proc/nowhere",
];
pub(super) const MODES: [u32; 12] = [
    0o644, 0o755, 0o777, 0o666, 0o600, 0o700, 0, 0o4755, 0o2755, 0o1777, 0o2775, 0o555,
];
pub(super) const UIDS: [u32; 3] = [0, 1_501, 1_502];
pub(super) const GIDS: [u32; 5] = [0, 1_501, 1_502, 1_600, 1_601];
pub(super) const LENGTHS: [usize; 13] = [
    0, 1, 2, 100, 511, 512, 513, 4_095, 4_096, 4_097, 10_000, 65_536, 131_073,
];
pub(super) const PLACES: [i64; 11] = [
    0, 1, 100, 4_095, 4_096, 4_097, 8_192, 20_000, 65_536, 4_194_300, 1_048_577,
];
/// Places at which no file system has room, and some that are none.
pub(super) const FAR: [i64; 6] = [-1, i64::MAX, i64::MAX - 4_096, 1 << 62, i64::MIN, 10 << 30];
pub(super) const XATTRS: [&str; 14] = [
    "user.a",
    "user.b",
    "user.c",
    "trusted.t",
    "security.s",
    "security.capability",
    "user.",
    "nonsense",
    "system.posix_acl_access",
    "system.posix_acl_access",
    "system.posix_acl_default",
    "system.posix_acl_default",
    "user.@250",
    "user.@251",
];
