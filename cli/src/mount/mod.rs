//! `curlew mount` and `curlew umount`: the words that users type. The mount itself is
//! `fs_client::mount`.

mod args;
mod atime;
mod command;
mod detached;
mod helper;
mod options;
mod server;
mod umount;
mod words;

pub(crate) use args::MountArgs;
pub(crate) use command::run;
pub(crate) use detached::start_detached;
pub(crate) use helper::{is_helper, run_helper};
pub(crate) use server::Server;
pub(crate) use umount::{Detach, UmountArgs, detach, run_umount};
