//! `curlew`, the command that people and scripts type: it parses arguments, connects the rooms
//! that do the work, and says how it went. It knows nothing of Raft, RocksDB or what goes over
//! the network. Start reading at `args.rs`; each command is a module of its name.

mod args;
mod atomic_file;
mod caller;
mod changelog;
mod clone;
mod compact;
mod config;
mod detach;
mod dump;
mod duration;
mod exit;
mod format;
mod info;
mod load;
mod logging;
mod mdtest;
mod mirror;
mod mount;
mod mount_table;
mod output;
mod patience;
mod playground;
mod process;
mod progress;
mod quota;
mod read_from;
mod restore;
mod rmr;
mod runtime;
mod size;
mod status;
mod summary;
mod target;
mod troubles;
mod version;
mod volume_path;
mod when;

use crate::args::{Args, Command};
use crate::exit::Finding;
use crate::runtime::block_on;
use anyhow::Result;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    if mount::is_helper(std::env::args_os().next().as_deref()) {
        return mount::run_helper(std::env::args_os());
    }
    match run(Args::parse().command) {
        Ok(finding) => finding.into(),
        Err(error) => {
            eprintln!("curlew: {error:#}");
            exit::code_of(&error)
        }
    }
}

fn run(command: Command) -> Result<Finding> {
    match command {
        Command::LaunchDetached(args) => match detach::run_launcher(args)? {},
        Command::Mount(args) => mount::run(args),
        Command::Umount(args) => mount::run_umount(&args),
        Command::Format(args) => block_on(format::run(args)),
        Command::Status(args) => block_on(status::run(args)),
        Command::Info(args) => block_on(info::run(args)),
        Command::Summary(args) => block_on(summary::run(args)),
        Command::Rmr(args) => block_on(rmr::run(args)),
        Command::Clone(args) => block_on(clone::run(args)),
        Command::Compact(args) => block_on(compact::run(args)),
        Command::Restore(args) => block_on(restore::run(args)),
        Command::Trash(args) => block_on(restore::run_trash(args)),
        Command::Config(args) => block_on(config::run(args)),
        Command::Quota(args) => block_on(quota::run(args)),
        Command::Changelog(args) => block_on(changelog::run(args)),
        Command::Dump(args) => block_on(dump::run(args)),
        Command::Load(args) => block_on(load::run(args)),
        Command::Mirror(args) => block_on(mirror::run(args)),
        Command::Mdtest(args) => mdtest::run(&args),
        Command::Playground(args) => block_on(playground::run(args)),
        Command::Version => version::run().map(|()| Finding::Fine),
    }
}
