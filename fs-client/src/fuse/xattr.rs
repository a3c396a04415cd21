//! Extended attributes.

use super::adapter::Adapter;
use super::errno;
use super::reply::Refuse;
use super::shows::Shows;
use super::virtual_files::VirtualFile;
use crate::vfs::{Op, VfsError};
use fuser::{Errno, ReplyEmpty, ReplyXattr, Request};
use meta_core::acl::AclKind;
use meta_core::command::XattrMode;
use meta_core::ids::Ino;
use meta_core::outcome::Refusal;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

impl Adapter {
    pub(super) fn set_xattr(
        &self,
        request: &Request,
        file: Ino,
        (name, value): (&OsStr, &[u8]),
        flags: i32,
        reply: ReplyEmpty,
    ) {
        let what = format_args!("{file},{name:?},{} bytes,{flags:#x}", value.len());
        let call = self.call(Op::SetXattr, request, what);
        if VirtualFile::of(file).is_some() {
            return reply.error(errno::RESERVED);
        }
        let mode = match flags {
            0 => Ok(XattrMode::Set),
            libc::XATTR_CREATE => Ok(XattrMode::Create),
            libc::XATTR_REPLACE => Ok(XattrMode::Replace),
            _ => Err(Refusal::InvalidArgument),
        };
        let (vfs, caller) = (self.vfs.clone(), self.callers.of(request));
        let (name, value) = (name.as_bytes().to_vec(), value.to_vec());
        let work = async move { vfs.set_xattr(&caller, file, name, value, mode?).await };
        self.serve(call, reply, work, |reply, ()| reply.ok());
    }

    pub(super) fn get_xattr(
        &self,
        request: &Request,
        file: Ino,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        let call = self.call(
            Op::GetXattr,
            request,
            format_args!("{file},{name:?},{size}"),
        );
        let own = VirtualFile::of(file).is_some();
        let (vfs, caller) = (self.vfs.clone(), self.callers.of(request));
        let name = name.as_bytes().to_vec();
        let acl = AclKind::of(&name).filter(|_| !own);
        let is_acl = acl.is_some();
        let reply = AclReply {
            reply,
            shows: self.shows.clone(),
            acl: acl.map(|kind| (file, kind)),
        };
        let work = async move {
            if own {
                return Err(Refusal::NoAttribute.into());
            }
            match vfs.get_xattr(&caller, file, name).await {
                // A node of an earlier version knows of no ACLs. The kernel, which asks before it lets
                // anybody pass, takes that for an error, but not that there is none.
                Err(VfsError::Refused(Refusal::NotSupported)) if is_acl => {
                    Err(Refusal::NoAttribute.into())
                }
                answer => answer,
            }
        };
        self.serve(call, reply, work, move |reply, value| {
            reply.value(&value, size);
        });
    }

    pub(super) fn list_xattr(&self, request: &Request, file: Ino, size: u32, reply: ReplyXattr) {
        let call = self.call(Op::ListXattr, request, format_args!("{file},{size}"));
        let own = VirtualFile::of(file).is_some();
        let (vfs, caller) = (self.vfs.clone(), self.callers.of(request));
        let work = async move {
            if own {
                return Ok(Vec::new());
            }
            vfs.list_xattr(&caller, file).await
        };
        self.serve(call, reply, work, move |reply, names| {
            let ended = names.into_iter().flat_map(|mut name| {
                name.push(0);
                name
            });
            answer_xattr(reply, &ended.collect::<Vec<u8>>(), size);
        });
    }

    pub(super) fn remove_xattr(
        &self,
        request: &Request,
        file: Ino,
        name: &OsStr,
        reply: ReplyEmpty,
    ) {
        let call = self.call(Op::RemoveXattr, request, format_args!("{file},{name:?}"));
        if VirtualFile::of(file).is_some() {
            return reply.error(errno::RESERVED);
        }
        let (vfs, caller) = (self.vfs.clone(), self.callers.of(request));
        let name = name.as_bytes().to_vec();
        let work = async move { vfs.remove_xattr(&caller, file, name).await };
        self.serve(call, reply, work, |reply, ()| reply.ok());
    }
}

/// The way to answer with the value of an attribute, which may be one of a file's ACLs.
struct AclReply {
    reply: ReplyXattr,
    shows: Shows,
    acl: Option<(Ino, AclKind)>,
}

impl AclReply {
    fn value(self, value: &[u8], room: u32) {
        let Self { reply, shows, acl } = self;
        let answer = || answer_xattr(reply, value, room);
        match acl {
            Some((file, kind)) => shows.with_acl(file, kind, Some(value), answer),
            None => answer(),
        }
    }
}

impl Refuse for AclReply {
    /// Of refusals the kernel keeps one: that there is no ACL.
    fn refuse(self, errno: Errno) {
        let Self { reply, shows, acl } = self;
        let answer = || reply.error(errno);
        match acl {
            Some((file, kind)) => shows.with_acl(file, kind, None, answer),
            None => answer(),
        }
    }
}

/// Bytes for a caller that may only have asked how many they are.
fn answer_xattr(reply: ReplyXattr, bytes: &[u8], room: u32) {
    let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    if room == 0 {
        reply.size(size);
    } else if size <= room {
        reply.data(bytes);
    } else {
        reply.error(errno::BUFFER_TOO_SMALL);
    }
}
