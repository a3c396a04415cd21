//! Real mounts over the engine's twin: one file per topic. They need root and /dev/fuse, and say
//! so loudly where these are missing.

#[path = "../twin/mod.rs"]
mod twin;

mod access_times;
mod acl;
mod append;
mod basic_io;
mod consistency;
mod copy_range;
mod df;
mod ending;
mod interrupt;
mod lifecycle;
mod links;
mod locks;
mod mmap;
mod mounted;
mod permissions;
mod quota;
mod readdir;
mod rename;
mod special;
mod squash;
mod subdir;
mod trash;
mod unlinked;
mod virtual_files;
mod xattr;
