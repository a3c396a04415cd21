//! The permissions that a new file is asked for with.

use meta_core::attr::mode;

/// Permissions that the umask may take.
const PERMISSIONS: u32 = 0o777;

/// Permission bits of a new file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewMode {
    /// After the umask.
    pub(super) bits: u32,
    /// Those that the umask took away. A directory's default ACL stands in for the umask.
    pub(super) masked: u32,
}

impl NewMode {
    /// What a caller with this umask asks for.
    pub fn asked(asked: u32, umask: u32) -> Self {
        let umask = umask & PERMISSIONS;
        Self {
            bits: asked & mode::MASK & !umask,
            masked: asked & umask,
        }
    }
}

impl From<u32> for NewMode {
    /// Without a umask.
    fn from(bits: u32) -> Self {
        Self::asked(bits, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_umask_takes_permissions_and_nothing_else() {
        let made = NewMode::asked(0o100_6775, 0o7027);
        assert_eq!((made.bits, made.masked), (0o6750, 0o025));
        let made = NewMode::from(0o100_644);
        assert_eq!((made.bits, made.masked), (0o644, 0));
    }
}
