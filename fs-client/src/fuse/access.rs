//! access(2) and chdir(2), where the kernel does not check permissions by itself.

use super::adapter::Adapter;
use super::errno;
use super::virtual_files::VirtualFile;
use crate::vfs::{Op, Vfs, VfsError};
use fuser::{AccessFlags, ReplyEmpty, Request};
use meta_core::acl::{self, Acl, needs_acl};
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
            let file = Guarded::of(&vfs, file, &caller).await?;
            check(&file, &caller, mask)
        };
        self.serve(call, reply, work, |reply, ()| reply.ok());
    }
}

/// How often a file is asked about of which the answers do not fit together.
const ASKED_MAX: u32 = 4;

/// A file, with its access ACL where a caller's permissions depend on it.
pub(super) struct Guarded {
    attr: Attr,
    acl: Option<Acl>,
}

impl Guarded {
    pub(super) async fn of(vfs: &Vfs, file: Ino, caller: &Caller) -> Result<Self, VfsError> {
        let root = Caller::root();
        for _ in 0..ASKED_MAX {
            let attr = vfs.get_attr(&root, file).await?;
            if !needs_acl(&attr, caller) {
                return Ok(Self { attr, acl: None });
            }
            match vfs.get_xattr(&root, file, acl::ACCESS.to_vec()).await {
                Ok(value) => {
                    let acl = Acl::parse(&value)?;
                    return Ok(Self { attr, acl });
                }
                // It lost it between the two questions: its mode bits decide again, but not those that
                // it had with the ACL, of which the group's were the mask.
                Err(VfsError::Refused(Refusal::NoAttribute)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Refusal::AccessDenied.into())
    }
}

fn check(file: &Guarded, caller: &Caller, mask: AccessFlags) -> Result<(), VfsError> {
    let (read, write) = (AccessFlags::R_OK, AccessFlags::W_OK);
    let (acl, wants) = (file.acl.as_ref(), |flag| mask.contains(flag));
    match may_open(&file.attr, acl, caller, wants(read), wants(write)) {
        // To write to a directory is to change its names.
        Ok(()) | Err(Refusal::IsDirectory) => {}
        Err(refusal) => return Err(refusal.into()),
    }
    if mask.contains(AccessFlags::X_OK) {
        may_execute(file, caller)?;
    }
    Ok(())
}

/// Whether a caller may execute a file, or search it if it is a directory: both are one bit.
pub(super) fn may_execute(file: &Guarded, caller: &Caller) -> Result<(), Refusal> {
    let as_directory = Attr {
        kind: FileKind::Directory,
        ..file.attr.clone()
    };
    may_search(&as_directory, file.acl.as_ref(), caller)
}
