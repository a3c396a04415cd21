//! access(2) and chdir(2), where the kernel does not check permissions by itself.

use super::adapter::Adapter;
use super::errno;
use super::virtual_files::VirtualFile;
use crate::vfs::{Op, VfsError};
use fuser::{AccessFlags, ReplyEmpty, Request};
use meta_core::attr::{Attr, Caller, FileKind};
use meta_core::ids::Ino;
use meta_core::outcome::Refusal;
use meta_core::read::{may_open, may_search};

impl Adapter {
    pub(super) fn check_access(
        &self,
        request: &Request,
        file: Ino,
        mask: AccessFlags,
        reply: ReplyEmpty,
    ) {
        let call = self.call(Op::Access, request, format_args!("{file},{mask}"));
        if VirtualFile::of(file).is_some() {
            if mask.contains(AccessFlags::W_OK) {
                return reply.error(errno::READ_ONLY_FILE);
            }
            return reply.ok();
        }
        let (vfs, caller) = (self.vfs.clone(), self.callers.of(request));
        let work = async move {
            let attr = vfs.get_attr(&Caller::root(), file).await?;
            check(&attr, &caller, mask)
        };
        self.serve(call, reply, work, |reply, ()| reply.ok());
    }
}

fn check(attr: &Attr, caller: &Caller, mask: AccessFlags) -> Result<(), VfsError> {
    let (read, write) = (AccessFlags::R_OK, AccessFlags::W_OK);
    match may_open(attr, caller, mask.contains(read), mask.contains(write)) {
        // To write to a directory is to change its names.
        Ok(()) | Err(Refusal::IsDirectory) => {}
        Err(refusal) => return Err(refusal.into()),
    }
    if mask.contains(AccessFlags::X_OK) {
        may_execute(attr, caller)?;
    }
    Ok(())
}

/// Whether a caller may execute a file, or search it if it is a directory: both are one bit.
pub(super) fn may_execute(file: &Attr, caller: &Caller) -> Result<(), Refusal> {
    let as_directory = Attr {
        kind: FileKind::Directory,
        ..file.clone()
    };
    may_search(&as_directory, caller)
}
