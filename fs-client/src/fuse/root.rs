//! Which directory of the volume a mount shows as its root.

use fuser::INodeNo;
use meta_core::ids::Ino;

/// The directory that the kernel has as its root.
///
/// The kernel's root is always number 1, as is the volume's. Where another directory is shown, the two
/// numbers change places: so no number is two files, also if a directory is moved out of the mount to
/// the volume's root while somebody works in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Root(Ino);

impl Root {
    pub(super) const fn of(ino: Ino) -> Self {
        Self(ino)
    }

    /// The engine's number of the kernel's root.
    pub(super) const fn ino(self) -> Ino {
        self.0
    }

    /// What the engine calls a file of the kernel's.
    pub(super) fn engine(self, file: INodeNo) -> Ino {
        self.exchanged(Ino(file.0))
    }

    /// What the kernel calls a file of the engine's.
    pub(super) fn kernel(self, file: Ino) -> INodeNo {
        INodeNo(self.exchanged(file).0)
    }

    /// What a directory shows as `..`: nothing is above the root.
    pub(super) fn above(self, directory: Ino, parent: Ino) -> Ino {
        if directory == self.0 {
            directory
        } else {
            parent
        }
    }

    fn exchanged(self, file: Ino) -> Ino {
        match file {
            Ino::ROOT => self.0,
            file if file == self.0 => Ino::ROOT,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_the_kernel_and_of_the_volume_change_places() {
        let (root, shown) = (Root::of(Ino(7)), Ino(7));
        assert_eq!(root.engine(INodeNo::ROOT), shown);
        assert_eq!(root.kernel(shown), INodeNo::ROOT);
        for file in [1, 2, 7, 9, u64::MAX] {
            assert_eq!(root.engine(root.kernel(Ino(file))), Ino(file));
        }
        assert_eq!(root.above(shown, Ino(3)), shown);
        assert_eq!(root.above(Ino(9), shown), shown);
        let whole = Root::of(Ino::ROOT);
        assert_eq!(whole.kernel(Ino::ROOT), INodeNo::ROOT);
        assert_eq!(whole.engine(INodeNo(7)), Ino(7));
    }
}
